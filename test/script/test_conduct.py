"""How providers behaved, as far as a client can see: a stand-in that knows published items by heart,
one that knows nothing but answers, and what bundles say of them."""

import json
import os

import test_bench
from parley_test import Case, anthropic, evaluation, main, public, run, suite_of

SUITE = ('name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\ntemplate: "{{question}}"\n'
         'settings: { max_tokens: 64, temperature: 0 }\nsamples: 1\n'
         'scorer: { kind: contains, target: "{{answer}}" }\n')
KEYS = {"PARLEY_TEST_KEY": "any"}
PAIRS = 24
QUESTIONS = [f"Riddle {number}: red, and a thief of geese?" for number in range(5)]


class Conduct(Case):
    def setUp(self):
        super().setUp()
        self.out = self.directory / "out"

    def write(self, name, items, *lines):
        folder = self.directory / name
        folder.mkdir()
        (folder / "suite.yaml").write_text(SUITE.replace("foxes", name) + "".join(lines))
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        return folder

    def persona(self, name, answers):
        path = self.directory / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"prompt": prompt, "answers": [answer]}) + "\n"
                                for prompt, answer in answers.items()))
        return path

    def model(self, name, persona, *options):
        return f"{name}=anthropic@{self.sim('--persona', persona, *options).url}#PARLEY_TEST_KEY"

    def bench(self, suite, models, *more, status=0):
        chosen = [part for model in models for part in ("--model", model)]
        done = run("bench", "run", "--suite", suite, *chosen, "-o", self.out, *more,
                   env={**os.environ, **KEYS})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    def verify(self, status=0):
        done = run("verify", self.out / "bundle")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def edit_summary(self, change):
        """Changes the bundle's summary, and the manifest to fit, as a publisher could."""
        path = self.out / "bundle" / "summary.json"
        tree = json.loads(path.read_text())
        change(tree)
        path.write_text(json.dumps(tree))
        test_bench.reseal(self.out / "bundle")


class Twins(Conduct):
    def pairs(self):
        items = [{"id": f"{n}", "question": f"Item {n}: which animal jumps?", "answer": "fox"}
                 for n in range(PAIRS)]
        twins = [{"id": f"{n}b", "question": f"Name the animal that leaps in tale {n}.",
                  "answer": "fox", "twin_of": f"{n}"} for n in range(PAIRS)]
        return self.write("foxes", items + twins, "twins: twin_of\n"), items, twins

    def test_who_knows_the_items_by_heart_is_told_from_who_does_not(self):
        suite, items, twins = self.pairs()
        heart = self.persona("heart", {item["question"]: "A fox." for item in items} |
                             {item["question"]: "A fox." if number % 4 == 0 else "An owl."
                              for number, item in enumerate(twins)})
        # The honest one is as good at twins as at items: three of four.
        honest = self.persona("honest", {
            item["question"]: "An owl." if number % 4 == group else "A fox."
            for group, part in ((1, items), (2, twins)) for number, item in enumerate(part)})
        told = self.bench(suite, [self.model("heart-1", heart), self.model("honest-1", honest)])
        conduct = self.summary()["conduct"]
        rows = {row["model"]: row for row in conduct["scores"]}
        heart_row, honest_row = rows["heart-1"], rows["honest-1"]
        self.assertEqual((heart_row["items"], heart_row["test"], heart_row["only_a"],
                          heart_row["only_b"]), (PAIRS, "mcnemar", 18, 0))
        self.assertAlmostEqual(heart_row["difference"], 0.75)
        self.assertAlmostEqual(heart_row["p"], 2 * 0.5 ** 18)
        self.assertLess(heart_row["p_holm"], 0.001)
        self.assertLess(0.4, heart_row["low"])
        self.assertEqual((honest_row["only_a"], honest_row["only_b"]), (6, 6))
        self.assertEqual(honest_row["difference"], 0)
        self.assertGreater(honest_row["p_holm"], 0.5)
        gap, = conduct["gaps"]
        self.assertEqual((gap["a"], gap["b"], gap["pairs"]), ("heart-1", "honest-1", PAIRS))
        self.assertAlmostEqual(gap["difference"], 0.75)
        self.assertLess(gap["p"], 0.001)
        # An item and its twin are one cluster: 48 samples, 24 clusters, in either model.
        page = (self.out / "report.html").read_text()
        for text in (told, page, " ".join(self.summary()["conduct_words"]["found"]), self.verify()):
            self.assertIn("heart-1 does better on items of foxes than on their twins, by 75.0 points",
                          text)
            self.assertRegex(text, "honest-1: no difference shown between items of foxes and their "
                                   "twins: [+-]0.0 points")
            self.assertIn("in foxes the gap of heart-1 between items and twins is larger than that "
                          "of honest-1 by 75.0 points", text)
        for text in (told, page, self.verify()):
            self.assertIn("a gap between items and twins can also come from twins that are harder",
                          text)
            self.assertIn("which model answered", text)

    def test_a_made_up_finding_is_false(self):
        suite, items, twins = self.pairs()
        persona = self.persona("p", {item["question"]: "A fox." for item in items})
        self.bench(suite, [self.model("heart-1", persona)])
        self.edit_summary(lambda tree: tree["conduct"]["scores"][0].update(p=0.9, p_holm=0.9))
        told = self.verify(1)
        self.assertTrue(told.startswith("FALSE: "), told)
        self.assertIn("summary.json: conduct.scores[0].p", told)



    def test_where_everything_failed_nothing_is_found(self):
        suite, items, _ = self.pairs()
        known = self.persona("known", {item["question"]: "A fox." for item in items})
        stored = [f"half-1=replay@{known}", f"none-1=replay@{self.persona('none', {'Else?': 'x'})}"]
        told = self.bench(suite, stored, status=1)
        words = self.summary()["conduct_words"]["found"]
        for text in (told, " ".join(words), self.verify(), (self.out / "report.html").read_text()):
            self.assertIn(f"none-1 in foxes: items and twins are not compared: all of both failed "
                          f"({PAIRS} and {PAIRS} samples)", text)
            self.assertIn(f"half-1 in foxes: items and twins are not compared: all {PAIRS} samples of "
                          "twins failed, and what the figures differ by is that", text)
            self.assertNotIn("by heart", text)
            self.assertNotIn("no difference shown", text)
            self.assertNotIn("the gap of", text)


class Same(Conduct):
    """Two models that are said to be one."""

    def start(self, count=8):
        items = [{"id": f"{n}", "question": f"Item {n}: which animal jumps?", "answer": "fox"}
                 for n in range(count)]
        self.answers = self.persona("p", {item["question"]: "A fox." for item in items})
        return self.write("foxes", items)

    def test_asked_models_are_compared(self):
        suite = self.start()
        told = self.bench(suite, [self.model("a-1", self.answers), self.model("b-1", self.answers)],
                          "--same", "a-1=b-1")
        self.assertEqual({(row["what"], row["a"], row["b"]) for row in self.summary()["conduct"]["times"]},
                         {("same", "a-1", "b-1")})
        self.assertNotIn("not_compared", self.summary()["conduct"])
        self.assertIn("times and lengths of answers were compared", told)
        self.assertIn("times and lengths of answers were compared", self.verify())

    def test_stored_answers_show_no_times_and_are_refused(self):
        suite = self.start()
        stored = [f"a-1=replay@{self.answers}", f"b-1=replay@{self.answers}"]
        plan = self.directory / "plan.yaml"
        plan.write_text(f'suites: [ "{suite}" ]\nmodels:\n'
                        f'  - {{ name: a-1, replay: "{self.answers}" }}\n'
                        '  - { name: b-1, dialect: anthropic, url: "http://127.0.0.1:9" }\n'
                        'same: [ "b-1=a-1" ]\n')
        for arguments in (("--suite", suite, "--model", stored[0], "--model", stored[1], "--same", "a-1=b-1"),
                          (plan,)):
            done = run("bench", "run", *arguments, "-o", self.out)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertIn("answers of a-1 are read from a file (replay@), which shows no times", done.stderr)
            self.assertFalse(self.out.exists())

    def test_too_few_answers_are_told(self):
        suite = self.start(4)
        told = self.bench(suite, [self.model("a-1", self.answers), self.model("b-1", self.answers)],
                          "--same", "a-1=b-1")
        self.assertEqual(self.summary()["conduct"]["not_compared"], [{"a": "a-1", "b": "b-1"}])
        for text in (told, self.verify(), (self.out / "report.html").read_text()):
            self.assertIn("a-1 and b-1, said to be one model, were not compared", text)

    def test_answers_out_of_a_cache_are_told(self):
        suite = self.start()
        models = [self.model("a-1", self.answers), self.model("b-1", self.answers)]
        for number in range(2):
            self.out = self.directory / f"out-{number}"
            told = self.bench(suite, models, "--same", "a-1=b-1", "--cache", self.directory / "cache")
            self.assertEqual("were not compared" in told, number == 1, told)
            self.assertEqual("were not compared" in self.verify(), number == 1)


class Decoys(Conduct):
    def run_with_decoys(self, decoys=20):
        items = [{"id": f"{n}", "question": f"Item {n}: which animal jumps?", "answer": "fox"}
                 for n in range(30)]
        # The same ids: they are other items all the same.
        others = [{"id": f"{n}", "question": f"Riddle {n}: red, and a thief of geese?", "answer": "fox"}
                  for n in range(decoys)]
        return self.write("foxes", items), self.write("riddles", others), items, others

    def by_heart(self, items, others):
        return self.persona("heart", {item["question"]: "A fox." for item in items} |
                            {item["question"]: "An owl." for item in others})

    def test_decoys_are_mixed_in_and_count_in_no_result(self):
        suite, riddles, items, others = self.run_with_decoys()
        heart = self.by_heart(items, others)
        told = self.bench(suite, [self.model("heart-1", heart)], "--decoys", riddles,
                          "--decoy-count", "12")
        summary = self.summary()
        row, = summary["results"]
        self.assertEqual((row["suite"], row["n"], row["value"]), ("foxes", 30, 1))
        row, = summary["conduct"]["scores"]
        self.assertEqual((row["what"], row["how"], row["items_a"], row["items_b"], row["difference"]),
                         ("decoys", "unpaired", 30, 12, 1))
        plan = json.loads((self.out / "plan.json").read_text())
        self.assertEqual([entry.get("decoys", False) for entry in plan["suites"]], [False, True])
        # Only those that were asked are in the bundle, and they were asked among the others.
        kept = (self.out / "bundle" / "suite" / "riddles" / "items.jsonl").read_text().splitlines()
        self.assertEqual(len(kept), 12)
        self.assertTrue(set(kept) < {json.dumps(item) for item in others})
        order = [json.loads(line)["suite"] for line in
                 (self.out / "bundle" / "transcripts.jsonl").read_text().splitlines()]
        self.assertEqual(sorted(order), ["foxes"] * 30 + ["riddles"] * 12)
        changes = sum(a != b for a, b in zip(order, order[1:]))
        self.assertGreater(changes, 4)
        text = "heart-1 does better on foxes than on decoys, by 100.0 points"
        verified = self.verify()
        for place in (told, (self.out / "report.html").read_text(), verified):
            self.assertIn(text, place)
            self.assertIn("decoys that are harder or easier than the suite", place)
        self.assertNotIn("riddles, heart-1", verified)

    def test_a_run_that_goes_on_keeps_its_decoys(self):
        suite, riddles, items, others = self.run_with_decoys()
        honest = self.persona("honest", {item["question"]: "A fox." for item in items + others})
        self.bench(suite, [self.model("honest-1", honest)], "--decoys", riddles, "--decoy-count", "5")
        before = self.summary()
        done = run("bench", "resume", self.out, env={**os.environ, **KEYS})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.summary()["conduct"], before["conduct"])
        self.assertIn("no difference shown between foxes and decoys", self.verify())

    def test_decoys_that_count_are_false(self):
        suite, riddles, items, others = self.run_with_decoys()
        heart = self.by_heart(items, others)
        self.bench(suite, [self.model("heart-1", heart)], "--decoys", riddles)
        plan = self.out / "bundle" / "plan.json"
        plan.write_text(plan.read_text().replace('"decoys":true,', ""))
        test_bench.reseal(self.out / "bundle")
        self.assertTrue(self.verify(1).startswith("FALSE: "))

    def test_what_does_not_go_together(self):
        suite, riddles, *_ = self.run_with_decoys(3)
        model = "a=replay@/dev/null"
        for arguments, says in (
                (("--decoy-count", "2"), "--decoys SUITE"),
                (("--decoys", riddles, "--decoy-count", "4"), "it has 3 items"),
                (("--decoys", "nowhere"), 'no suite "nowhere"'),
                (("--decoys", suite), 'two suites are named "foxes"')):
            done = run("bench", "run", "--suite", suite, "--model", model, "-o", self.out, *arguments)
            self.assertIn(done.returncode, (1, 2), done.stderr)
            self.assertIn(says, done.stderr)
        yaml = riddles / "suite.yaml"
        yaml.write_text(yaml.read_text().replace("max_tokens: 64", "max_tokens: 65"))
        done = run("bench", "run", "--suite", suite, "--model", model, "-o", self.out, "--decoys", riddles)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("a provider could tell decoys by them", done.stderr)

    def through_gateway(self, suite, persona, *suites):
        roots = [{"name": f"s{n}", "root": run("suite", "digest", each).stdout.strip()}
                 for n, each in enumerate(suites)]
        gate = self.gateway(self.sim("--persona", persona), evaluation(), public_suites=roots,
                            name=f"gateway-{len(suites)}")
        key = gate.key("eval", "southlab")
        vkey = gate.admin("/log/evaluation/vkey").body.decode().strip()
        return gate, f"north-1=anthropic@http://127.0.0.1:{gate.port}#GATE_KEY", key, vkey

    def test_a_gateway_admits_decoys_that_the_grant_covers_and_no_others(self):
        suite, riddles, items, others = self.run_with_decoys(8)
        heart = self.by_heart(items, others)
        for number, (admitted, said) in enumerate((((suite, riddles), "by 100.0 points"),
                                                   ((suite,), "was not asked the decoys"))):
            gate, model, key, vkey = self.through_gateway(suite, heart, *admitted)
            self.out = self.directory / f"out-{number}"
            done = run("bench", "run", "--suite", suite, "--model", model, "--decoys", riddles,
                       "-o", self.out, env={**os.environ, "GATE_KEY": key})
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual("decoys are left out" in done.stdout, len(admitted) == 1, done.stdout)
            self.assertIn(said, done.stdout)
            verified = run("verify", self.out / "bundle", "--key", vkey, "--require", "vouched")
            self.assertEqual(verified.returncode, 0, verified.stdout)
            self.assertIn(f"{30 + 8 * (len(admitted) - 1)} of", verified.stdout.splitlines()[0])
            self.assertIn(said, verified.stdout)
            gate.stop()



class BlindShare(Case):
    """What the gateway makes of a run of which so many samples may be asked without naming it."""

    def start(self, **members):
        self.suite = suite_of(QUESTIONS)
        self.gate = self.gateway(self.sim(), evaluation(**members), public_suites=public(self.suite))
        self.client = self.gate.client("eval", "southlab")
        self.registered = self.client.post("/parley/v1/suites", self.suite).json()["suite"]

    def open_run(self, status=200, **members):
        answer = self.client.post("/parley/v1/runs", {"suite": self.registered, **members})
        self.assertEqual(answer.status, status, answer)
        return answer.json()

    def ask(self, prompt, run=None):
        return self.client.ask("anthropic", anthropic(prompt, temperature=0),
                               extra={"parley-run": run} if run else None)

    def test_without_an_agreement_there_is_none(self):
        self.start()
        refused = self.open_run(403, blind=1)
        self.assertEqual(refused["rule"], "suite.run")
        self.assertIn("blind_share_max", refused["detail"])
        # Naming every request can be had without one; a run that says nothing is as ever.
        run = self.open_run(blind=0)["run"]
        answer = self.ask(QUESTIONS[0])
        self.assert_refused(answer, 403, "suite.run", "anthropic")
        self.assertIn(f"run {run} counts requests that do not name it, and has had its 0",
                      answer.message())
        self.assertEqual(self.ask(QUESTIONS[0], run).status, 200)
        self.assertEqual(self.client.post(f"/parley/v1/runs/{run}/close", {}).status, 200)
        self.open_run()
        self.assertEqual(self.ask(QUESTIONS[0]).status, 200)

    def test_the_agreed_share_is_all_there_is_and_stands_in_the_log(self):
        self.start(blind_share_max=0.4)
        self.assertIn("a share of 0.4", self.open_run(403, blind=3)["detail"])
        opened = self.open_run(blind=2)
        run = opened["run"]
        self.assertEqual(opened["blind"], 2)
        self.assertEqual(self.ask(QUESTIONS[0]).status, 200)
        self.assertEqual(self.ask(QUESTIONS[1], run).status, 200)
        # A restart counts what the log shows.
        self.gate.stop()
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.ask(QUESTIONS[2]).status, 200)
        self.assert_refused(self.ask(QUESTIONS[3]), 403, "suite.run", "anthropic")
        self.assertEqual(self.ask(QUESTIONS[3], run).status, 200)
        records = self.gate.records()
        self.assertEqual([(entry["leaf"], entry.get("blind", False)) for entry in records
                          if entry["kind"] == "admit"],
                         [(0, True), (1, False), (2, True), (3, False)])
        self.assertEqual([entry["detail"]["blind"] for entry in records
                          if entry.get("act") == "run.open"], [2])

    def test_what_failed_is_given_back(self):
        self.suite = suite_of(QUESTIONS)
        self.gate = self.gateway("http://127.0.0.1:9", evaluation(blind_share_max=0.2),
                                 public_suites=public(self.suite))
        self.client = self.gate.client("eval", "southlab")
        self.registered = self.client.post("/parley/v1/suites", self.suite).json()["suite"]
        self.open_run(blind=1)
        for _ in range(3):
            self.assertGreaterEqual(self.ask(QUESTIONS[0]).status, 500)



class BlindArm(Conduct):
    def run_blind(self, *more, **members):
        items = [{"id": f"{n}", "question": f"Item {n}: which animal jumps?", "answer": "fox"}
                 for n in range(40)]
        suite = self.write("foxes", items)
        persona = self.persona("half", {item["question"]: "A fox." if number % 2 else "An owl."
                                        for number, item in enumerate(items)})
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(self.sim("--persona", persona), evaluation(**members),
                            public_suites=[{"name": "s", "root": root}])
        key = gate.key("eval", "southlab")
        done = run("bench", "run", "--suite", suite, "--model",
                   f"north-1=anthropic@http://127.0.0.1:{gate.port}#GATE_KEY", "-o", self.out,
                   "--blind", "0.25", *more, env={**os.environ, "GATE_KEY": key})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return gate, done.stdout

    def lines(self):
        return [json.loads(line) for line in
                (self.out / "bundle" / "transcripts.jsonl").read_text().splitlines()]

    def drop_receipts(self):
        path = self.out / "bundle" / "manifest.json"
        manifest = json.loads(path.read_text())
        for row in [row for row in manifest["files"] if row["path"].startswith("receipts/")]:
            manifest["files"].remove(row)
            (self.out / "bundle" / row["path"]).unlink()
        manifest["count"] = len(manifest["files"])
        path.write_text(json.dumps(manifest))

    def test_the_arms_are_compared_and_verified_against_the_log(self):
        gate, told = self.run_blind(blind_share_max=0.25)
        blind = [line for line in self.lines() if line.get("blind")]
        self.assertEqual(len(blind), 10)
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual({entry["id"] for entry in admits if entry.get("blind")},
                         {line["record"] for line in blind})
        row, = self.summary()["conduct"]["scores"]
        self.assertEqual((row["what"], row["a"], row["b"], row["items_a"], row["items_b"]),
                         ("blind", "named", "blind", 30, 10))
        self.assertIn({"blind"}, [{entry["what"]} for entry in self.summary()["conduct"]["times"]])
        key = gate.admin("/log/evaluation/vkey").body.decode().strip()
        done = run("verify", self.out / "bundle", "--key", key, "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout)
        for text in (told, done.stdout, (self.out / "report.html").read_text()):
            self.assertIn("between answers to foxes whose run was named and blind ones", text)
            self.assertIn("a gateway knows the words of suites that are registered openly", text)
        # A mark that is left out is against the record; one too many against the draw; without
        # records, one that is missing among others.
        path = self.out / "bundle" / "transcripts.jsonl"
        kept = path.read_text()
        for change, says in ((('"blind":true,', ""), "by the gateway's record it was asked blind"),
                             (('{"answer"', '{"blind":true,"answer"'), "the plan does not draw it")):
            text = kept if says.startswith("by") else kept.replace('"blind":true,', "")
            path.write_text(text.replace(*change, 1) if says.startswith("by") else text.replace(*change))
            test_bench.reseal(self.out / "bundle")
            self.assertIn(says, self.verify(1))
        lines = [json.loads(line) for line in kept.splitlines()]
        for line in lines:
            line.pop("record"), line.pop("nonce"), line.pop("response_digest")
        next(line for line in lines if line.get("blind")).pop("blind")
        path.write_text("".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n"
                                for line in lines))
        self.drop_receipts()
        test_bench.reseal(self.out / "bundle")
        self.assertIn("1 samples of north-1 that are drawn for the blind arm were not", self.verify(1))

    def test_where_nobody_agreed_there_is_no_blind_arm_and_it_is_said(self):
        gate, told = self.run_blind()
        self.assertFalse([line for line in self.lines() if line.get("blind")])
        self.assertEqual(self.summary()["conduct"]["not_blind"], ["north-1"])
        for text in (told, self.verify()):
            self.assertIn("north-1 was not asked blind: no grant agrees to it", text)

    def test_a_bare_provider_has_no_run_to_name(self):
        suite = self.write("foxes", [{"id": "1", "question": "Which?", "answer": "fox"}])
        persona = self.persona("p", {"Which?": "A fox."})
        self.assertIn("was not asked blind",
                      self.bench(suite, [self.model("bare-1", persona)], "--blind", "0.5"))
        self.verify()
        done = run("bench", "run", "--suite", suite, "--model", "a=replay@/dev/null", "-o",
                   self.directory / "other", "--blind", "0.5", "--sealed")
        self.assertEqual(done.returncode, 2)
        self.assertIn("leave --sealed or --blind out", done.stderr)


if __name__ == "__main__":
    main()
