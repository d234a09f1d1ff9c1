"""Suite binding: under an evaluation grant a request is admitted only as a leaf of a suite."""

import json

from parley_test import (CLAUSE, DIALECTS, Case, Client, SealedSuite, anthropic, evaluation, main,
                         openai, public, sha256, suite_of, wait_until, words_of)

FOXES = ["What jumps over the dog?", "What lives in a den?", "What is red and has a brush?"]
OWLS = ["What hunts at night?", "What turns its head around?"]


class Binding(Case):
    def setUp(self):
        super().setUp()
        self.foxes, self.owls = suite_of(FOXES), suite_of(OWLS, "owls", samples=2)
        self.upstream = self.sim()
        self.gate = self.gateway(self.upstream, evaluation(),
                                 public_suites=public(self.foxes, self.owls))
        self.client = self.gate.client("eval", "southlab")

    def register(self, suite):
        answer = self.client.post("/parley/v1/suites", suite)
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def open_run(self, suite, **members):
        answer = self.client.post("/parley/v1/runs", {"suite": suite, **members})
        self.assertEqual(answer.status, 200, answer)
        return answer.json()["run"]

    def ask(self, prompt, dialect="anthropic", run=None, **members):
        make = anthropic if dialect == "anthropic" else openai
        return self.client.ask(dialect, make(prompt, temperature=0, **members),
                               extra={"parley-run": run} if run else None)

    def test_a_registered_leaf_is_admitted_and_nothing_else(self):
        suite = self.register(self.foxes)
        self.assertEqual((suite["class"], suite["leaves"], suite["created"]), ("public", 3, True))
        run = self.open_run(suite["suite"])
        for index, prompt in enumerate(FOXES):
            answer = self.ask(prompt, run=run)
            self.assertEqual(answer.status, 200, answer)
            admit = self.admit_of(answer)
            self.assertEqual((admit["suite"], admit["run"], admit["leaf"], admit["sample"]),
                             (suite["suite"], run, index, 0))
            self.assertEqual(admit["purpose"], "capability_benchmark")
        for stranger in ("What jumps over the dog", "what jumps over the dog?", "", FOXES[0] + " "):
            answer = self.ask(stranger, run=run)
            self.assert_refused(answer, 403, "suite.unbound", "anthropic")
            self.assertIn(f"clause {CLAUSE}", answer.message())

    def admit_of(self, answer):
        record = answer.headers["parley-record"]
        return next(entry for entry in self.gate.records() if entry["id"] == record)

    def test_the_words_bind_the_same_in_every_dialect_and_spelling(self):
        run = self.open_run(self.register(self.owls)["suite"])
        parts = [{"type": "text", "text": OWLS[0]}]
        self.assertEqual(self.ask(OWLS[0], "anthropic", run).status, 200)
        self.assertEqual(self.ask(parts, "anthropic", run).status, 200)
        self.assertEqual(self.ask(OWLS[1], "openai", run).status, 200)
        self.assertEqual(self.ask(OWLS[1], "openai", run, stream=True).status, 200)
        for dialect in DIALECTS:
            refused = self.ask([*parts, {"type": "text", "text": "And why?"}], dialect, run)
            self.assert_refused(refused, 403, "suite.unbound", dialect)

    def test_more_words_than_the_leaf_are_no_leaf(self):
        run = self.open_run(self.register(self.foxes)["suite"])
        tool = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
        for members in ({"system": "You are a fox."}, {"tools": [tool]}):
            answer = self.ask(FOXES[0], run=run, **members)
            self.assert_refused(answer, 403, "suite.unbound", "anthropic")
        several = anthropic(FOXES[0])
        several["messages"] += [{"role": "assistant", "content": "A fox."},
                                {"role": "user", "content": FOXES[1]}]
        self.assert_refused(self.client.ask("anthropic", several), 403, "suite.unbound", "anthropic")

    def test_settings_are_the_suites(self):
        run = self.open_run(self.register(self.foxes)["suite"])
        answer = self.ask(FOXES[1], run=run, max_tokens=32000)
        self.assert_refused(answer, 403, "suite.settings", "anthropic")
        self.assertIn("leaf 1", answer.message())
        self.assertIn("max output 32000 > 64", answer.message())
        warm = self.client.ask("anthropic", anthropic(FOXES[1], temperature=1),
                               extra={"parley-run": run})
        self.assert_refused(warm, 403, "suite.settings", "anthropic")
        self.assertEqual(self.ask(FOXES[1], run=run, max_tokens=16).status, 200)

    def test_what_does_not_bind_passes(self):
        run = self.open_run(self.register(self.foxes)["suite"])
        answer = self.ask(FOXES[0], run=run, stop_sequences=["\n\n"], metadata={"user_id": "u"})
        self.assertEqual(answer.status, 200, answer)
        answer = self.ask(FOXES[1], "openai", run, stop=["\n\n"], seed=7, user="u")
        self.assertEqual(answer.status, 200, answer)

    def test_samples_are_used_up(self):
        run = self.open_run(self.register(self.owls)["suite"], samples=2)
        samples = [self.admit_of(self.ask(OWLS[0], run=run))["sample"] for _ in range(2)]
        self.assertEqual(samples, [0, 1])
        self.assert_refused(self.ask(OWLS[0], run=run), 403, "suite.samples", "anthropic")
        self.assertEqual(self.ask(OWLS[1], run=run).status, 200)

    def test_a_failed_answer_uses_up_no_sample(self):
        failing = self.sim("--error-rate", 1)
        gate = self.gateway(failing, evaluation(), name="failing", public_suites=public(self.foxes))
        client = gate.client("eval", "southlab")
        suite = client.post("/parley/v1/suites", self.foxes).json()["suite"]
        self.assertEqual(client.post("/parley/v1/runs", {"suite": suite}).status, 200)
        for _ in range(3):
            answer = client.ask("anthropic", anthropic(FOXES[0], temperature=0))
            self.assertEqual(answer.status, 529, answer)

    def test_a_run_opens_by_itself(self):
        self.register(self.foxes)
        answer = self.ask(FOXES[2])
        self.assertEqual(answer.status, 200, answer)
        records = self.gate.records()
        opened = [entry for entry in records if entry["kind"] == "run"]
        self.assertEqual(len(opened), 1)
        admit = self.admit_of(answer)
        self.assertEqual(admit["run"], opened[0]["run"])
        self.assertLess(records.index(opened[0]), records.index(admit))
        self.assertEqual(self.admit_of(self.ask(FOXES[1]))["run"], admit["run"])

    def test_the_item_list_is_logged_before_the_first_request(self):
        suite = self.register(self.foxes)["suite"]
        run = self.open_run(suite)
        self.ask(FOXES[0], run=run)
        kinds = [(entry["kind"], entry.get("suite")) for entry in self.gate.records()
                 if entry["kind"] in ("suite", "run", "admit")]
        self.assertEqual(kinds, [("suite", suite), ("run", suite), ("admit", suite)])

    def test_suite_and_run_have_receipts_too(self):
        """A result rests on them: they show that the items stood before the first request."""
        suite = self.client.post("/parley/v1/suites", self.foxes).json()
        run = self.client.post("/parley/v1/runs", {"suite": suite["suite"]}).json()
        for answer, kind in ((suite, "suite"), (run, "run")):
            path = f"/parley/v1/receipts/{answer['record']}"
            wait_until(lambda where=path: self.client.get(where).status != 425, "a receipt")
            receipts = self.client.get(path).json()["receipts"]
            self.assertEqual(len(receipts), 1)
            record = json.loads(receipts[0]["record"])
            self.assertEqual((record["id"], record["kind"]), (answer["record"], kind))
        self.gate.apply(evaluation(), evaluation("other"), public_suites=public(self.foxes))
        other = Client(self.gate.port, self.gate.key("other", "southlab"))
        self.assertEqual(other.get(f"/parley/v1/receipts/{run['record']}").status, 404)

    def test_a_closed_run_admits_nothing(self):
        run = self.open_run(self.register(self.foxes)["suite"])
        self.assertEqual(self.ask(FOXES[0], run=run).status, 200)
        self.assertEqual(self.client.post(f"/parley/v1/runs/{run}/close", {}).status, 200)
        self.assert_refused(self.ask(FOXES[1], run=run), 403, "suite.run", "anthropic")

    def test_registering_again_changes_nothing(self):
        first, second = self.register(self.foxes), self.register(self.foxes)
        self.assertEqual(first["suite"], second["suite"])
        self.assertFalse(second["created"])

    def test_a_wrong_root_registers_nothing(self):
        suite = {**self.foxes, "root": "00" * 32}
        answer = self.client.post("/parley/v1/suites", suite)
        self.assertEqual(answer.status, 400, answer)
        self.assertIn(self.foxes["root"], answer.message())
        self.assertEqual([entry for entry in self.gate.records() if entry["kind"] == "suite"], [])

    def test_registrations_that_make_no_sense(self):
        wrong = [{"purpose": "product"}, {"settings": {}}, {"items": []}, {"items": "all"},
                 {"version": []}, {"name": ""}, {"surprise": 1}, {"samples": 0}]
        for members in wrong:
            with self.subTest(str(members)):
                answer = self.client.post("/parley/v1/suites", {**self.foxes, **members})
                self.assertEqual(answer.status, 400, answer)
                self.assertEqual(answer.headers["content-type"], "application/problem+json")

    def test_a_private_suite_waits_for_approval(self):
        private = suite_of(["What is this?"], "mystery")
        suite = self.register(private)
        self.assertEqual((suite["class"], suite["usable"]), ("private", False))
        answer = self.ask("What is this?")
        self.assert_refused(answer, 403, "suite.class", "anthropic")

    def test_budgets_of_suites(self):
        gate = self.gateway(self.upstream, evaluation(suites={
            "classes": ["public"], "max_leaves": 4, "samples_per_leaf": 1}), name="small",
            public_suites=public(self.foxes, self.owls))
        client = gate.client("eval", "southlab")
        suite = client.post("/parley/v1/suites", self.foxes).json()["suite"]
        answer = client.post("/parley/v1/suites", self.owls)
        self.assertEqual(answer.status, 403, answer)
        self.assertIn("5 leaves", answer.message())
        answer = client.post("/parley/v1/runs", {"suite": suite, "samples": 2})
        self.assertEqual(answer.status, 403, answer)

    def test_another_grants_runs_are_not_there(self):
        run = self.open_run(self.register(self.foxes)["suite"])
        self.gate.apply(evaluation(), evaluation("other"), public_suites=public(self.foxes))
        other = Client(self.gate.port, self.gate.key("other", "southlab"))
        answer = other.ask("anthropic", anthropic(FOXES[0], temperature=0),
                           extra={"parley-run": run})
        self.assertEqual(answer.status, 403, answer)
        self.assertEqual(other.post(f"/parley/v1/runs/{run}/close", {}).status, 404)

    def test_suites_runs_and_samples_survive_a_restart(self):
        run = self.open_run(self.register(self.owls)["suite"], samples=2)
        self.assertEqual(self.ask(OWLS[0], run=run).status, 200)
        self.assertEqual(self.gate.stop(), 0)
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.admit_of(self.ask(OWLS[0], run=run))["sample"], 1)
        self.assert_refused(self.ask(OWLS[0], run=run), 403, "suite.samples", "anthropic")
        self.assertEqual(self.ask(OWLS[1], run=run).status, 200)


class Sealed(Case):
    """A suite registered by its root alone: each request proves that its words are a leaf."""

    SEED = bytes([9]) * 32

    def setUp(self):
        super().setUp()
        self.sealed = self.seal(FOXES)
        self.gate = self.gateway(self.sim(), evaluation(), public_suites=public(self.sealed.body))
        self.client = self.gate.client("eval", "southlab")
        answer = self.client.post("/parley/v1/suites", self.sealed.body)
        self.assertEqual(answer.status, 200, answer)
        self.suite = answer.json()["suite"]

    @classmethod
    def seal(cls, prompts, name="sealed", **members):
        return SealedSuite(prompts, cls.SEED, name, **members)

    def ask(self, prompt, leaf=None, field=None, run=None, client=None, sealed=None, **members):
        extra = {"parley-run": run} if run else {}
        if leaf is not None or field is not None:
            extra["parley-leaf"] = field or (sealed or self.sealed).field(self.suite, leaf)
        return (client or self.client).ask("anthropic", anthropic(prompt, temperature=0, **members),
                                           extra=extra)

    def test_a_proved_leaf_is_admitted_and_nothing_is_stored_of_it(self):
        for index, prompt in enumerate(FOXES):
            answer = self.ask(prompt, index)
            self.assertEqual(answer.status, 200, answer)
        admits = [entry for entry in self.gate.records() if entry["kind"] == "admit"]
        self.assertEqual([entry["leaf"] for entry in admits], [0, 1, 2])
        self.assertEqual(len({entry["words"] for entry in admits}), 3)
        stored = b"".join(path.read_bytes() for path in self.gate.directory.rglob("*")
                          if path.is_file())
        for prompt in FOXES:
            self.assertNotIn(prompt.encode(), stored)
            self.assertNotIn(sha256(words_of(prompt)).encode(), stored)

    def test_what_is_not_proved_is_refused_and_says_how_close_it_was(self):
        self.assert_unbound(self.ask(FOXES[0]), "1 is sealed, and the request shows no parley-leaf")
        self.assert_unbound(self.ask(FOXES[0], 1), "leaf 1, but words, salt, grading and proof")
        self.assert_unbound(self.ask("Something else", 0), "leaf 0, but")
        self.assert_unbound(self.ask(FOXES[0], field=self.sealed.field("suite_other", 0)),
                            "names suite_other")
        beyond = self.sealed.field(self.suite, 0).replace(";0;", ";3;")
        self.assert_unbound(self.ask(FOXES[0], field=beyond), "leaf 3, and suite sealed has 3")
        answer = self.ask(FOXES[0], field="nonsense")
        self.assert_refused(answer, 400, "request.syntax", "anthropic")
        self.assertIn("parley-leaf", answer.message())
        self.assertEqual([entry for entry in self.gate.records() if entry["kind"] == "admit"], [])

    def assert_unbound(self, answer, words):
        self.assert_refused(answer, 403, "suite.unbound", "anthropic")
        self.assertIn(words, answer.message())

    def test_settings_and_samples_bind_as_ever(self):
        answer = self.ask(FOXES[0], 0, max_tokens=65)
        self.assert_refused(answer, 403, "suite.settings", "anthropic")
        self.assertEqual(self.ask(FOXES[0], 0).status, 200)
        self.assert_refused(self.ask(FOXES[0], 0), 403, "suite.samples", "anthropic")

    def test_verdicts_need_the_items(self):
        self.gate.apply(evaluation(), evaluation("verdicts", release="V0"),
                        public_suites=public(self.sealed.body))
        client = Client(self.gate.port, self.gate.key("verdicts", "southlab"))
        answer = client.post("/parley/v1/suites", self.sealed.body)
        self.assertEqual(answer.status, 403, answer)
        self.assertEqual(answer.json()["rule"], "suite.scorers")

    def test_samples_survive_a_crash(self):
        self.assertEqual(self.ask(FOXES[0], 0).status, 200)
        self.gate.records()
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        self.assert_refused(self.ask(FOXES[0], 0), 403, "suite.samples", "anthropic")
        self.assertEqual(self.ask(FOXES[1], 1).status, 200)

    def test_registrations_that_make_no_sense(self):
        body = {key: value for key, value in self.sealed.body.items() if key != "leaves"}
        for members, word in (({}, "leaves"), ({"leaves": 0}, "leaves"),
                              ({"leaves": 1000001}, "leaves"), ({"leaves": 3, "seed": "00" * 32}, "seed"),
                              ({"leaves": 3, "items": []}, "items")):
            answer = self.client.post("/parley/v1/suites", {**body, **members})
            self.assertEqual(answer.status, 400, answer)
            self.assertIn(word, answer.message())


if __name__ == "__main__":
    main()
