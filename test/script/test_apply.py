#!/usr/bin/env python3
"""parley apply: idempotent, with a difference to read; what the file leaves out stays; ten thousand
grants at once (three thousand in a sanitizer's build), however little room the log has for records of one act."""

import json

from parley_test import SANITIZED, Case, access, day, evaluation, main, product, public, suite_of, wait_until


class Difference(Case):
    def setUp(self):
        super().setUp()
        self.place = self.gateway("http://127.0.0.1:9", evaluation(), product())

    def apply(self, content, *options):
        path = self.place.directory / "access.yaml"
        path.write_text(json.dumps(content))
        return self.place.act("apply", path, *options)

    def test_the_same_file_again_changes_nothing(self):
        text = self.apply(access(evaluation(), product()))
        self.assertTrue(text.startswith("0 added, 0 changed, "), text)
        before = len(self.place.records())
        self.apply(access(evaluation(), product()))
        self.assertEqual(len(self.place.records()), before)

    def test_members_that_differ_are_named(self):
        text = self.apply(access(evaluation(limits={"rpm": 7}), product(valid={
            "from": day(-1), "to": day(20)})), "--dry-run")
        self.assertIn("~ grant eval\n    limits: (none) -> {\"rpm\":7}\n", text)
        self.assertIn(f"    valid.to: {day(30)} -> {day(20)}\n", text)
        self.assertIn("(dry run: nothing was done)", text)
        self.assertIn("0 added, 2 changed", text)
        self.assertTrue(self.apply(access(evaluation(), product())).startswith("0 added, 0 changed"))

    def test_another_order_of_everything_changes_nothing(self):
        def turned(value, key=""):
            """The same with members and, but for clauses, elements the other way round."""
            if isinstance(value, dict):
                return {name: turned(value[name], name) for name in reversed(value)}
            if isinstance(value, list):
                rows = [turned(item) for item in value]
                return rows if key == "clauses" else rows[::-1]
            return value

        gate = self.gateway("http://127.0.0.1:9", name="other")
        file = access(evaluation(staff=["red", "blue"], limits={"rpm": 5, "input_tpm": 7}), product(),
                      public_suites=public(suite_of(["a"]), suite_of(["b"], name="other")))
        file["links"] = [{"from": "acme", "kind": "owns", "to": "surfboard", "share": 60,
                          "status": "confirmed", "evidence": "e"},
                         {"from": "surfboard", "kind": "reseller_of", "to": "acme", "evidence": "e",
                          "status": "asserted"}]
        path = gate.directory / "access.yaml"
        path.write_text(json.dumps(file))
        gate.act("apply", path)
        other = turned(file)
        self.assertNotEqual(json.dumps(other), json.dumps(file))
        path.write_text(json.dumps(other))
        before = len(gate.records())
        self.assertIn("0 added, 0 changed", gate.act("apply", path))
        self.assertEqual(len(gate.records()), before)

    def test_an_act_that_changes_nothing_says_so(self):
        gate = self.place
        self.assertIn("record", gate.act("grant", "suspend", "prod"))
        self.assertEqual(gate.act("grant", "suspend", "prod"), "nothing to do: it is suspended\n")

    def test_what_the_file_leaves_out_is_named_and_stays(self):
        content = access(evaluation())
        content["orgs"] = content["orgs"][:1]
        text = self.apply(content)
        self.assertIn("= org acme is not in the file and stays\n", text)
        self.assertIn("= grant prod is not in the file and stays\n", text)
        self.assertIn("3 not in the file\n", text)
        self.assertIn('"state": "active"', self.place.act("grant", "show", "prod"))
        answer = json.loads(self.apply(content, "--json"))
        self.assertEqual(sorted((row["kind"], row["id"]) for row in answer["left_out"]),
                         [("grant", "prod"), ("org", "acme"), ("org", "surfboard")])


class WhatIf(Case):
    """The log's requests, decided again under a file that is not applied."""

    def setUp(self):
        super().setUp()
        self.suite = suite_of(["One", "Two", "Three"])
        self.grants = (evaluation(), product())
        self.place = self.gateway(self.sim(), *self.grants, public_suites=public(self.suite))
        holder = self.place.client("eval", "southlab")
        self.assertEqual(holder.post("/parley/v1/suites", self.suite).status, 200)
        customer = self.place.client("prod", "acme")
        answers = [holder.messages(prompt, max_tokens=64) for prompt in ("One", "Two")]
        answers += [customer.messages("Hello") for _ in range(3)] + [customer.chat("Hello")]
        for answer in answers:
            self.assertEqual(answer.status, 200, answer.body)
            self.place.settled(answer.headers["parley-record"])
        self.assertEqual(holder.messages("Not a leaf").status, 403)
        wait_until(lambda: any(row["kind"] == "refuse" for row in self.place.records()),
                   "the record of the refusal")

    def what_if(self, *grants, span="7d", public_suites=None):
        suites = public(self.suite) if public_suites is None else public_suites
        path = self.place.directory / "other.yaml"
        path.write_text(json.dumps(access(*grants, public_suites=suites)))
        before = [len(self.place.records(log)) for log in ("evaluation", "usage")]
        answer = json.loads(self.place.act("apply", path, "--what-if", span, "--json"))
        self.assertEqual([len(self.place.records(log)) for log in ("evaluation", "usage")], before)
        return answer["what_if"], answer["text"]

    def rows(self, *grants, **options):
        told, _ = self.what_if(*grants, **options)
        return {(row["org"], row["grant"], row["rule"], row.get("clause")): row["requests"]
                for row in told["rows"]}

    def test_the_same_file_refuses_nothing(self):
        told, text = self.what_if(*self.grants)
        self.assertEqual((told["admitted"], told["settled"], told["refused"], told["anyway"]), (6, 6, 1, 0))
        self.assertEqual(told["rows"], [])
        self.assertIn("of 6 requests admitted then none would have been refused", text)
        self.assertIn("what the log cannot tell:\n  the log holds no words", text)

    def test_who_would_have_been_refused(self):
        self.assertEqual(self.rows(evaluation(models=["north-o"]), product(models=["north-1"])),
                         {("southlab", "eval", "model.not_granted", None): 2,
                          ("acme", "prod", "model.not_granted", None): 1})
        self.assertEqual(self.rows({**evaluation(), "purposes": ["safety_evaluation"]}, product()),
                         {("southlab", "eval", "purpose.not_granted", None): 2})
        self.assertEqual(self.rows(evaluation(suites={"classes": ["reviewed"], "max_leaves": 5000}), product()),
                         {("southlab", "eval", "suite.class", None): 2})
        self.assertEqual(self.rows(evaluation(), product(valid={"from": day(1), "to": day(9)})),
                         {("acme", "prod", "grant.dates", None): 4})

    def test_limits_by_the_recorded_use(self):
        self.assertEqual(self.rows(evaluation(), product(limits={"rpm": 1})),
                         {("acme", "prod", "limit.rpm", None): 3})
        first = next(row["usage"] for row in self.place.records("usage") if row["kind"] == "settle")
        day_tokens = first["input"] + first["cache_write"] + first["output"]
        self.assertGreater(day_tokens, 2)
        self.assertEqual(self.rows(evaluation(), product(limits={"tokens_per_day": day_tokens})),
                         {("acme", "prod", "limit.tokens_per_day", None): 3})

    def test_what_has_ended_since_is_told_apart(self):
        self.place.act("grant", "suspend", "prod")
        told, text = self.what_if(evaluation(models=["north-o"]), product())
        self.assertEqual(told["anyway"], 4)
        self.assertEqual([row["grant"] for row in told["rows"]], ["eval"])
        self.assertIn("4 more would be refused now without this file too", text)

    def test_nothing_is_applied_and_wrong_spans_are_told(self):
        self.rows(evaluation(), product(limits={"rpm": 1}))
        customer = self.place.client("prod", "acme")
        for _ in range(2):
            self.assertEqual(customer.messages("Hello").status, 200)
        for span in ("7", "0d", "1000d", "soon"):
            done = self.place.run("apply", self.place.directory / "other.yaml", "--what-if", span)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("no span of at most 366 days; write 7d or 12h", done.stderr)


class Many(Case):
    """More records in one act than the log has room for at once."""

    COUNT = 3000 if SANITIZED else 10000

    def test_thousands_of_grants(self):
        place = self.gateway("http://127.0.0.1:9", product())
        content = access()
        content["orgs"] += [{"id": f"org-{i}"} for i in range(self.COUNT)]
        content["grants"] = [
            {"id": f"grant-{i}", "org": f"org-{i}", "purposes": ["capability_benchmark"],
             "models": ["north-1"], "suites": {"classes": ["reviewed"], "max_leaves": 10},
             "release": "V2", "valid": {"from": day(-1), "to": day(30)}, "limits": {"rpm": 60},
             "overrides": ["D.4a"]} for i in range(self.COUNT)]
        path = place.directory / "many.yaml"
        path.write_text(json.dumps(content))
        text = place.act("apply", path)
        self.assertIn(f"{2 * self.COUNT} added, 0 changed", text)
        self.assertIn("0 added, 0 changed", place.act("apply", path))
        place.stop()
        place.start()
        self.assertIn("0 added, 0 changed", place.act("apply", path))
        self.assertIn('"state": "active"', place.act("grant", "show", f"grant-{self.COUNT - 1}"))


if __name__ == "__main__":
    main()
