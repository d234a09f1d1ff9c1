"""The ways in which an evaluator could make a harvest of an evaluation grant (E1 to E10 of the threat
model), each tried against a real gateway, and the approval of suites that they meet."""

import json

from parley_test import (Case, access, anthropic, day, evaluation, grant, leaf_hash, leaf_of, main,
                         openai, product, public, suite_of, tree_root)

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
        self.assert_refused(named, 403, "purpose.none", "anthropic")


class Harvest(Cheats):
    """E1, E5, E6 and E8: more answers, more samples, more prompts, larger prompts than agreed."""

    BUDGETS = {"classes": ["public", "reviewed"], "max_leaves": 10, "samples_per_leaf": 2,
               "new_leaves_per_week": 8}

    def test_e1_a_training_corpus_is_no_suite_until_a_person_says_so(self):
        self.lab(suites={"classes": ["public", "reviewed"], "max_leaves": 100})
        corpus = suite_of([f"Explain step {number}." for number in range(90)], "corpus")
        suite = self.register(corpus)
        self.assertEqual((suite["class"], suite["usable"]), ("private", False))
        self.assert_refused(self.ask("Explain step 1."), 403, "suite.class", "anthropic")
        self.assertEqual(self.open_run(suite["suite"], 403)["rule"], "suite.class")
        more = self.register(suite_of([f"Explain {number}." for number in range(11)], "more"), 403)
        self.assertEqual(more["rule"], "suite.budget")
        self.assertIn("101 leaves", more["detail"])

    def test_e5_best_of_n(self):
        suite = suite_of(FOXES, samples=5)
        self.lab(suite, suites=self.BUDGETS)
        registered = self.register(suite)["suite"]
        self.assertEqual(self.open_run(registered, 403, samples=5)["rule"], "suite.budget")
        run = self.open_run(registered, samples=2)["run"]
        for _ in range(2):
            self.assertEqual(self.ask(FOXES[0], run).status, 200)
        refused = self.ask(FOXES[0], run)
        self.assert_refused(refused, 403, "suite.samples", "anthropic")
        self.assertIn("2 of 2 samples", refused.message())
        several = self.client.ask("openai", openai(FOXES[1], n=8, temperature=0),
                                  extra={"parley-run": run})
        self.assert_refused(several, 400, "parameter.n", "openai")

    def test_e5_the_same_words_again_in_one_suite_give_no_more_samples(self):
        doubled = suite_of([FOXES[0], FOXES[0], FOXES[1]])
        self.lab(doubled)
        run = self.open_run(self.register(doubled)["suite"])["run"]
        self.assertEqual(self.ask(FOXES[0], run).status, 200)
        self.assert_refused(self.ask(FOXES[0], run), 403, "suite.samples", "anthropic")

    def test_e6_a_new_manifest_every_day(self):
        suites = [suite_of([f"{name} {number}" for number in range(count)], name)
                  for name, count in (("monday", 5), ("tuesday", 4), ("wednesday", 3))]
        self.lab(*suites, suites=self.BUDGETS)
        self.register(suites[0])
        refused = self.register(suites[1], 403)
        self.assertEqual(refused["rule"], "suite.budget")
        self.assertIn("9 new leaves in seven days, of 8", refused["detail"])
        self.register(suites[2])

    def test_e6_words_count_once_whatever_their_scorer_or_suite(self):
        first = suite_of(FOXES)
        again = suite_of(FOXES, "again")
        for item in again["items"]:
            item["grading"]["scorer"] = {"kind": "exact"}
        again["root"] = tree_root([leaf_hash(leaf_of(index, prompt, again["items"][index]["grading"]))
                                   for index, prompt in enumerate(FOXES)]).hex()
        budgets = {**self.BUDGETS, "max_leaves": 3, "new_leaves_per_week": 3}
        self.lab(first, again, suites=budgets)
        self.register(first)
        self.register(again)  # three leaves of the three that there may be
        refused = self.register(suite_of([*FOXES, "One more?"], "third"), 403)
        self.assertIn("4 leaves", refused["detail"])

    def test_e6_a_suite_cools_down_before_it_is_used(self):
        suite = suite_of(FOXES)
        self.lab(suite, suites={"classes": ["public"], "cooldown_hours": 24})
        registered = self.register(suite)["suite"]
        refused = self.open_run(registered, 403)
        self.assertIn("cools down for 1440 more minutes", refused["detail"])
        self.assert_refused(self.ask(FOXES[0]), 403, "suite.run", "anthropic")

    def test_e8_one_leaf_that_asks_for_everything(self):
        suite = suite_of(FOXES, max_output=64)
        self.lab(suite)
        run = self.open_run(self.register(suite)["suite"])["run"]
        longer = self.ask(FOXES[0], run, max_tokens=32000)
        self.assert_refused(longer, 403, "suite.settings", "anthropic")
        self.assertIn("leaf 0, but max output 32000 > 64", longer.message())
        unknown = self.ask(FOXES[0], run, elicit="everything")
        self.assert_refused(unknown, 400, "parameter.unknown", "anthropic")
        self.assertIn("elicit", unknown.message())
        for members in ({"system": "Think aloud."}, {"thinking": {"type": "enabled",
                                                                  "budget_tokens": 1024}}):
            self.assertEqual(self.ask(FOXES[0], run, **members).status // 100, 4)
        picture = [{"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                                "data": "AAAA"}}]
        self.assert_refused(self.ask(picture, run), 400, "parameter.parts", "anthropic")
        self.assertEqual([entry for entry in self.gate.records() if entry["kind"] == "admit"], [])

    def test_e8_an_answer_is_no_longer_than_the_leaf_allows(self):
        """A client that names no bound gets the suite's, whatever the model could do."""
        suite = suite_of(FOXES, max_output=3)
        self.lab(suite)
        run = self.open_run(self.register(suite)["suite"])["run"]
        answer = self.client.ask("openai", {"model": "north-o", "temperature": 0, "messages": [
            {"role": "user", "content": FOXES[0]}]}, extra={"parley-run": run})
        settle = self.gate.settled(answer.headers["parley-record"])
        self.assertLessEqual(settle["usage"]["output"], 3 + 1024)  # a slice may pass the bound


class Words(Cheats):
    """E2 to E4 with suites of exact words: nothing goes on from an answer. With conversations and judges
    they are tried in test_conversations.py."""

    def conversation(self, answer, following):
        body = anthropic(FOXES[0], temperature=0)
        body["messages"] += [{"role": "assistant", "content": answer},
                             {"role": "user", "content": following}]
        return self.client.ask("anthropic", body)

    def test_e2_free_text_in_a_following_turn(self):
        suite = suite_of(FOXES)
        self.lab(suite)
        self.register(suite)
        served = self.ask(FOXES[0])
        self.assertEqual(served.status, 200)
        text = served.json()["content"][0]["text"]
        for answer in (text, "Of course. Here is all I know:"):
            for following in ("Now explain your reasoning.", FOXES[1]):
                self.assert_refused(self.conversation(answer, following), 403, "suite.unbound",
                                    "anthropic")

    def test_e3_e4_a_prompt_that_has_answers_judged_is_no_leaf(self):
        suite = suite_of(FOXES)
        self.lab(suite)
        self.register(suite)
        text = self.ask(FOXES[0]).json()["content"][0]["text"]
        for slot in (text, "an answer of a model in training"):
            self.assert_refused(self.ask(f"Which is better?\nA: {slot}\nB: nothing"), 403,
                                "suite.unbound", "anthropic")


class Doors(Cheats):
    """E7 and E9: more organisations, more grants, another door."""

    def test_e7_grants_of_one_organisation_are_added_up(self):
        suites = [suite_of([f"{name} {number}" for number in range(6)], name)
                  for name in ("first", "second")]
        budgets = {"classes": ["public"], "max_leaves": 10}
        self.lab(*suites, suites=budgets)
        self.register(suites[0])
        self.gate.apply(evaluation(suites=budgets), evaluation("more", suites=budgets),
                        public_suites=public(*suites))
        self.client = self.gate.client("more", "southlab")
        refused = self.register(suites[1], 403)
        self.assertEqual(refused["rule"], "suite.budget")
        self.assertIn("12 leaves", refused["detail"])
        self.register(suites[0])  # what is counted already is not counted again

    def test_e7_grants_of_affiliates_are_added_up(self):
        suites = [suite_of([f"{name} {number}" for number in range(6)], name)
                  for name in ("first", "second")]
        budgets = {"classes": ["public"], "max_leaves": 10}
        grants = [evaluation(suites=budgets), evaluation("side", "surfboard", suites=budgets)]
        self.lab(*suites, suites=budgets)
        self.register(suites[0])
        text = access(*grants, public_suites=public(*suites))
        path = self.gate.directory / "linked.yaml"
        text["links"] = [{"from": "southlab", "kind": "controls", "to": "surfboard",
                          "status": "confirmed", "evidence": "register of companies"}]
        path.write_text(json.dumps(text))
        self.gate.act("apply", path)
        self.client = self.gate.client("side", "surfboard")
        refused = self.register(suites[1], 403)
        self.assertEqual(refused["rule"], "suite.budget")
        self.assertIn("12 leaves", refused["detail"])

    def test_e9_a_rival_has_no_other_door(self):
        suite = suite_of(FOXES)
        self.lab(suite)
        path = self.gate.directory / "door.yaml"
        path.write_text(json.dumps(access(product("prod", "southlab"))))
        done = self.gate.run("apply", path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("rival", done.stderr)
        for endpoint in ("/v1/messages/batches", "/v1/files", "/v1/fine_tuning/jobs", "/v1/embeddings"):
            self.assertEqual(self.client.post(endpoint, {"model": "north-o"}).status, 404)
        self.assertEqual([entry for entry in self.gate.records() if entry["kind"] == "admit"], [])


class Register(Cheats):
    """E10: only the good run is published. The gateway counts them, and says what was seen before."""

    def run_once(self, suite, prompts=FOXES):
        run = self.open_run(suite)["run"]
        answers = [self.ask(prompt, run) for prompt in prompts]
        self.assertEqual({answer.status for answer in answers}, {200})
        records = [answer.headers["parley-record"] for answer in answers]
        seen = [entry["exposure"] for entry in self.gate.records() if entry["id"] in records]
        return self.client.post(f"/parley/v1/runs/{run}/close", {}).json()["register"], seen

    def row(self, run, of, answers, first, again):
        return [{"model": "north-1", "provider": "north", "run": run, "of": of, "answers": answers,
                 "first": first, "re_exposed": again}]

    def test_e10_every_run_is_counted_and_every_leaf_says_whether_it_was_seen(self):
        suite = suite_of(FOXES)
        self.lab(suite)
        registered = self.register(suite)["suite"]
        self.assertEqual(self.run_once(registered, FOXES[:1]),
                         (self.row(1, 1, 1, 1, 0), ["first"]))
        self.assertEqual(self.run_once(registered),
                         (self.row(2, 2, 3, 2, 1), ["re-exposed", "first", "first"]))
        # Another registration of the same tree, another grant: the suite is the same.
        self.gate.apply(evaluation(), evaluation("more"), public_suites=public(suite))
        self.client = self.gate.client("more", "southlab")
        other = self.register(suite)["suite"]
        self.assertNotEqual(other, registered)
        self.assertEqual(self.run_once(other), (self.row(3, 3, 3, 0, 3), ["re-exposed"] * 3))
        closed = [entry["detail"]["register"] for entry in self.gate.records()
                  if entry.get("act") == "run.close"]
        self.assertEqual([rows[0]["run"] for rows in closed], [1, 2, 3])

    def test_e10_what_was_seen_survives_a_crash(self):
        suite = suite_of(FOXES)
        self.lab(suite)
        registered = self.register(suite)["suite"]
        self.run_once(registered, FOXES[:2])
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.run_once(registered),
                         (self.row(2, 2, 3, 1, 2), ["re-exposed", "re-exposed", "first"]))
        self.gate.stop()
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.run_once(registered)[0], self.row(3, 3, 3, 0, 3))

    def test_a_refused_or_failed_request_is_no_run(self):
        suite = suite_of(FOXES)
        self.lab(suite)
        registered = self.register(suite)["suite"]
        run = self.open_run(registered)["run"]
        self.assert_refused(self.ask("Nothing of it", run), 403, "suite.unbound", "anthropic")
        closed = self.client.post(f"/parley/v1/runs/{run}/close", {}).json()
        self.assertEqual(closed["register"], [])
        self.assertEqual(self.run_once(registered)[0], self.row(1, 1, 3, 3, 0))


if __name__ == "__main__":
    main()
