"""The ways in which an evaluator could make a harvest of an evaluation grant (E1 to E10 of the threat
model), each tried against a real gateway, and the approval of suites that they meet."""

import json

from parley_test import (Case, anthropic, day, evaluation, grant, main, public, suite_of)

FOXES = ["What jumps over the dog?", "What lives in a den?", "What is red and has a brush?"]


class Cheats(Case):
    """A gateway before a stand-in, and an evaluator that registers and asks."""

    def lab(self, *suites, **members):
        self.gate = self.gateway(self.sim(), evaluation(**members), public_suites=public(*suites))
        self.client = self.gate.client("eval", "southlab")
        return self.client

    def register(self, suite, status=200):
        answer = self.client.post("/parley/v1/suites", suite)
        self.assertEqual(answer.status, status, answer)
        return answer.json()

    def open_run(self, suite, status=200, **members):
        answer = self.client.post("/parley/v1/runs", {"suite": suite, **members})
        self.assertEqual(answer.status, status, answer)
        return answer.json()

    def ask(self, prompt, run=None, **members):
        return self.client.ask("anthropic", anthropic(prompt, temperature=0, **members),
                               extra={"parley-run": run} if run else None)

    def act(self, *arguments):
        return json.loads(self.gate.act(*arguments, "--json"))


class Approval(Cheats):
    def test_a_private_suite_is_listed_approved_used_and_rejected(self):
        self.lab()
        suite = self.register(suite_of(FOXES))["suite"]
        self.assert_refused(self.ask(FOXES[0]), 403, "suite.class", "anthropic")
        pending = self.act("suite", "list", "--pending")["suites"]
        self.assertEqual([(row["id"], row["class"]) for row in pending], [(suite, "private")])
        self.assertIn(suite, self.gate.act("suite", "list", "--pending"))
        self.gate.act("suite", "approve", suite, "--reason", "looked at")
        self.assertEqual(self.act("suite", "list", "--pending")["suites"], [])
        self.assertEqual(self.act("suite", "show", suite)["class"], "reviewed")
        run = self.open_run(suite)["run"]
        self.assertEqual(self.ask(FOXES[0], run).status, 200)
        rejected = self.act("suite", "reject", suite, "--reason", "it was a training set")
        self.assertEqual(rejected["runs_closed"], 1)
        self.assert_refused(self.ask(FOXES[1], run), 403, "suite.run", "anthropic")
        self.assert_refused(self.ask(FOXES[1]), 403, "suite.class", "anthropic")
        self.assertEqual(self.open_run(suite, 403)["rule"], "suite.class")
        self.assertEqual(self.act("suite", "list", "--pending")["suites"], [])
        acts = [(entry["act"], entry.get("reason")) for entry in self.gate.records()
                if entry["kind"] in ("suite", "run")]
        self.assertEqual(acts[1:], [("suite.approve", "looked at"), ("run.open", None),
                                    ("suite.reject", "it was a training set"),
                                    ("run.close", "it was a training set")])

    def test_what_was_decided_survives_a_crash(self):
        self.lab()
        first = self.register(suite_of(FOXES))["suite"]
        second = self.register(suite_of(FOXES[:2], "few"))["suite"]
        self.gate.act("suite", "approve", first)
        self.gate.act("suite", "approve", second)
        run = self.open_run(second)["run"]
        self.gate.act("suite", "reject", second)
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        classes = {row["id"]: row["class"] for row in self.act("suite", "list")["suites"]}
        self.assertEqual(classes, {first: "reviewed", second: "private"})
        self.assert_refused(self.ask(FOXES[0], run), 403, "suite.run", "anthropic")
        self.assertEqual(self.ask(FOXES[0]).status, 200)

    def test_wrong_ids_and_states_are_told(self):
        self.lab(suite_of(FOXES))
        self.register(suite_of(FOXES))
        for arguments, status, word in ((("suite", "approve", "suite_none"), 1, "no suite suite_none"),
                                        (("suite", "approve", "a/b"), 2, "not an id"),
                                        (("suite", "reject"), 2, "suite reject")):
            done = self.gate.run(*arguments)
            self.assertEqual(done.returncode, status, done)
            self.assertIn(word, done.stderr)


class IncidentResearch(Case):
    def test_it_is_admitted_unbound_and_released_at_most_at_v2(self):
        gate = self.gateway(self.sim(), grant("incident", "southlab", ["incident_research"],
                                              valid={"from": day(-1), "to": day(28)}))
        client = gate.client("incident", "southlab")
        answer = client.messages("What happened at noon?")
        self.assertEqual(answer.status, 200, answer)
        admit = next(entry for entry in gate.records()
                     if entry["id"] == answer.headers["parley-record"])
        self.assertEqual((admit["purpose"], admit["release"]), ("incident_research", "V2"))
        self.assertNotIn("suite", admit)
        refused = client.chat("Hello", logprobs=True)
        self.assert_refused(refused, 400, "parameter.logprobs", "openai")
        named = client.ask("anthropic", anthropic("Hello"), extra={"parley-run": "run_1"})
        self.assert_refused(named, 403, "suite.run", "anthropic")


if __name__ == "__main__":
    main()
