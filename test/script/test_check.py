#!/usr/bin/env python3
"""parley grant check and GET /parley/v1/self: what would be said to a request, by which rule and
clause, and what it would reserve; what a key's holder is told of itself. Nothing is used up, sent
upstream or logged by asking."""

import json
import subprocess

from parley_test import APPEAL, CLAUSE, PARLEY, Case, anthropic, evaluation, main, openai, product, suite_of

MODELS = [{"name": "north-1", "provider": "north", "upstream": "north-1-20261001",
           "max_output": 8192, "price": {"input": 3, "output": 15}},
          {"name": "north-o", "provider": "north-open", "max_output": 8192}]


class Check(Case):
    def setUp(self):
        super().setUp()
        self.place = self.gateway("http://127.0.0.1:9", evaluation(), product(
            limits={"rpm": 2, "output_tpm": 5000, "concurrency": 3}), models=MODELS)
        self.holder = self.place.client("eval", "southlab")
        self.customer = self.place.client("prod", "acme")

    def check(self, question, *arguments, status):
        """The answer as JSON, asked on the standard input."""
        text = question if isinstance(question, str) else json.dumps(question)
        done = subprocess.run(
            [PARLEY, "grant", "check", *arguments, "-", "--json", "-c", str(self.place.config_path)],
            input=text, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stderr + done.stdout)
        return json.loads(done.stdout)

    def test_what_would_be_reserved(self):
        body = json.dumps(anthropic("Hello " * 50, max_tokens=4000, stream=True))
        before = len(self.place.records("usage"))
        for _ in range(10):  # rpm is 2: asking uses nothing up
            answer = self.check(body, "prod", "--path", "/v1/messages", status=0)
        self.assertEqual(answer["outcome"], "admitted")
        self.assertEqual((answer["grant"], answer["org"], answer["model"], answer["purpose"], answer["release"]),
                         ("prod", "acme", "north-1", "product", "V2"))
        reserves = answer["reserves"]
        self.assertEqual((reserves["requests"], reserves["output"], answer["output_most"]), (1, 1024, 4000))
        self.assertGreaterEqual(reserves["input"], 100)
        self.assertAlmostEqual(reserves["usd"], (reserves["input"] * 3 + 1024 * 15) / 1e6, places=9)
        self.assertAlmostEqual(reserves["usd_most"], (reserves["input"] * 3 + 4000 * 15) / 1e6, places=9)
        left = {row["limit"]: row["remaining"] for row in answer["limits"] if row["of"] == "grant"}
        self.assertEqual((left["rpm"], left["output_tpm"], left["concurrency"]), (2, 5000, 3))
        # Those of interop_test are shown where the grant has it.
        self.assertEqual({row["of"] for row in answer["limits"]}, {"grant"})
        self.assertEqual(len(self.place.records("usage")), before)
        self.assertEqual(self.place.metric("parley_requests_total"), 0)

    def test_a_limit_that_is_too_low(self):
        answer = self.check({"path": "/v1/messages", "body": anthropic(max_tokens=8000)}, "prod", status=1)
        self.assertEqual((answer["rule"], answer["status"]), ("limit.output_tpm", 429))
        self.assertIn("8000 at once pass the grant's limit of 5000", answer["message"])

    def test_words_of_no_suite(self):
        path = self.place.directory / "request.json"
        path.write_text(json.dumps({"path": "/v1/chat/completions", "body": openai("Write my training data")}))
        done = self.place.run("grant", "check", "eval", path)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("refused by suite.unbound (HTTP 403): these words are no leaf", done.stdout)
        self.assertIn(f"clause    {CLAUSE} (prohibition): No use to build a competing product", done.stdout)
        self.assertIn(f"appeal    {APPEAL}", done.stdout)
        self.assertNotIn("training data", done.stdout.split("clause")[0])

    def test_a_leaf_by_its_holders_key(self):
        made = self.holder.post("/parley/v1/suites", suite_of(["What jumps over the dog?", "Second"]))
        self.assertEqual(made.status, 200, made.body)
        suite = made.json()["suite"]
        self.place.act("suite", "approve", suite)
        question = {"path": "/v1/messages", "headers": {"X-Api-Key": self.holder.key},
                    "body": anthropic("Second", max_tokens=64)}
        answer = self.check(question, status=0)
        self.assertEqual((answer["suite"], answer["leaf"], answer["opens_run"]), (suite, 1, True))
        self.assertEqual(answer["output_most"], 64)
        # No run was opened by asking, and no sample is used.
        self.assertEqual(self.place.act("suite", "show", suite).count("open"), 0)
        self.assertEqual(self.check(question, status=0)["opens_run"], True)
        question["body"]["max_tokens"] = 32000
        answer = self.check(question, status=1)
        self.assertEqual(answer["rule"], "suite.settings")
        self.assertIn("leaf 1, but max output 32000 > 64", answer["message"])

    def test_what_cannot_be_admitted_at_all(self):
        for question, rule in (
                ({"path": "/v1/files", "body": {}}, "endpoint.unknown"),
                ({"path": "/v1/messages", "body": "not JSON"}, "request.syntax"),
                ({"path": "/v1/messages", "body": {"model": "north-1", "messages": 3}}, "request.syntax"),
                ({"path": "/v1/messages", "body": anthropic(model="north-9")}, "model.unknown")):
            self.assertEqual(self.check(question, "prod", status=1)["rule"], rule)
        answer = self.check({"path": "/v1/messages", "body": anthropic()}, status=1)
        self.assertEqual(answer["rule"], "key.missing")
        answer = self.check({"path": "/v1/messages", "headers": {"authorization": "Bearer plk_no"},
                             "body": anthropic()}, status=1)
        self.assertEqual(answer["rule"], "key.unknown")

    def test_wrong_use(self):
        directory = self.place.directory
        (directory / "body.json").write_text(json.dumps(anthropic()))
        for arguments, status, told in (
                (("prod", directory / "body.json"), 2, "for a body alone give --path /v1/messages"),
                (("nobody", directory / "body.json", "--path", "/v1/messages"), 1, "there is no grant nobody"),
                (("prod", directory / "missing.json"), 2, "cannot open"),
                ((), 2, "grant check --help"),
                (("eval", directory / "body.json", "--path", "/v1/messages", "--key", "key_no"), 1,
                 "there is no key key_no")):
            done = self.place.run("grant", "check", *arguments)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(told, done.stderr)

    def test_a_suspended_grant(self):
        self.place.act("grant", "suspend", "prod", "--reason", "a question")
        answer = self.check({"path": "/v1/messages", "body": anthropic()}, "prod", status=1)
        self.assertEqual((answer["rule"], answer["status"]), ("grant.suspended", 403))
        me = self.customer.get("/parley/v1/self")
        self.assertEqual(me.status, 200, me.body)
        self.assertEqual(me.json()["standing"], {"admitted": False, "rule": "grant.suspended",
                                                 "detail": "grant prod"})
        self.assertEqual(me.json()["grant"]["state"], "suspended")


class Self(Case):
    def test_what_the_holder_is_told(self):
        sim = self.sim()
        place = self.gateway(sim.url, evaluation(), product(limits={"rpm": 100, "tokens_per_day": 100000}))
        customer = place.client("prod", "acme")
        answer = customer.messages("Hello")
        self.assertEqual(answer.status, 200, answer.body)
        place.settled(answer.headers["parley-record"])
        me = customer.get("/parley/v1/self").json()
        self.assertEqual(me["standing"], {"admitted": True})
        self.assertEqual((me["key"]["state"], me["key"]["binding"], me["key"]["staff"]), ("active", "none", False))
        self.assertEqual((me["grant"]["id"], me["grant"]["state"], me["grant"]["appeal"]), ("prod", "active", APPEAL))
        self.assertEqual(me["grant"]["valid"].keys(), {"from", "to"})
        self.assertEqual([(row["id"], row["overridden"]) for row in me["terms"]["clauses"]], [(CLAUSE, False)])
        self.assertEqual(me["since_start"]["admitted"], 1)
        self.assertGreater(me["since_start"]["output_tokens"], 0)
        left = {row["limit"]: row["remaining"] for row in me["limits"] if row["of"] == "grant"}
        self.assertLess(left["tokens_per_day"], 100000)
        holder = place.client("eval", "southlab")
        me = holder.get("/parley/v1/self").json()
        self.assertEqual([(row["id"], row["overridden"]) for row in me["terms"]["clauses"]], [(CLAUSE, True)])
        self.assertEqual(me["grant"]["overrides"], [CLAUSE])
        self.assertNotIn("person", me["grant"])
        place.act("org", "block", "southlab")
        me = holder.get("/parley/v1/self").json()
        self.assertEqual(me["standing"]["rule"], "org.blocked")


if __name__ == "__main__":
    main()
