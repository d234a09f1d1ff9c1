"""Runs held against each other, what a run would show, and that no such number can be forged."""

import json
import shutil

from parley_test import Case, alter_bundle, main, on_the_page, run, seal

SUITE = ('name: {name}\nversion: {version}\nlicence: Apache-2.0\nkind: qa\n'
         'template: "{{{{question}}}}"\nsettings: {{ max_tokens: 64, temperature: 0 }}\n'
         'samples: 1\nscorer: {{ kind: contains, target: "{{{{answer}}}}" }}\n')


class Compare(Case):
    def suite(self, numbers, name="foxes", version=1, first_id=0):
        folder = self.directory / f"{name}-{version}"
        folder.mkdir()
        (folder / "suite.yaml").write_text(SUITE.format(name=name, version=version))
        (folder / "items.jsonl").write_text("".join(
            json.dumps({"id": str(first_id + number), "question": f"what is {number}?",
                        "answer": "fox"}) + "\n" for number in numbers))
        return folder

    def answers(self, name, right, numbers):
        path = self.directory / f"{name}.jsonl"
        path.write_text("".join(json.dumps(
            {"prompt": f"what is {number}?", "answers": ["fox" if right(number) else "owl"]}) + "\n"
            for number in numbers))
        return path

    def run_of(self, out, suite, *models):
        out = self.directory / out
        pairs = [text for name, path in models for text in ("--model", f"{name}=replay@{path}")]
        done = run("bench", "run", "--suite", suite, *pairs, "-o", out)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return out, done.stdout

    def compare(self, *paths):
        done = run("bench", "compare", *paths, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def setUp(self):
        super().setUp()
        self.good = self.answers("good", lambda number: number % 5 != 0, range(60))
        self.fair = self.answers("fair", lambda number: number % 2 == 0, range(60))

    def test_every_run_compares_its_models(self):
        out, table = self.run_of("out", self.suite(range(60)), ("good", self.good),
                                 ("fair", self.fair))
        self.assertIn("foxes: good - fair", table)
        self.assertRegex(table, r"Holm .* detectable \d")
        summary = json.loads((out / "summary.json").read_text())
        [pair] = summary["comparisons"]
        self.assertEqual((pair["how"], pair["items"], pair["test"]), ("paired", 60, "mcnemar"))
        # Right where the other is wrong: odd and no multiple of 5; even multiples of 5.
        self.assertEqual((pair["only_a"], pair["only_b"]), (24, 6))
        self.assertAlmostEqual(pair["difference"], 0.3)
        self.assertLess(pair["p_holm"], 0.01)
        done = run("verify", out / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("1 comparisons of models", done.stdout)

    def test_a_comparison_that_was_changed_is_false(self):
        out, _ = self.run_of("out", self.suite(range(60)), ("good", self.good), ("fair", self.fair))
        path = out / "bundle" / "summary.json"
        summary = json.loads(path.read_text())
        summary["comparisons"][0]["low"] = 0.25
        path.write_text(json.dumps(summary))
        # Its manifest made good again, as whoever lies would.
        seal(out / "bundle")
        done = run("verify", out / "bundle")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout, r"^FALSE: summary.json: comparisons\[0\].low")

    def test_runs_of_one_suite_are_paired(self):
        suite = self.suite(range(60))
        one, _ = self.run_of("one", suite, ("good", self.good))
        two, _ = self.run_of("two", suite, ("fair", self.fair))
        [pair] = self.compare(one, two / "bundle")["comparisons"]
        self.assertEqual((pair["how"], pair["a"], pair["b"]), ("paired", "good", "fair"))
        done = run("bench", "compare", one, two)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("paired, 60 items, McNemar 24:6", done.stdout)
        # The same model twice has the runs' names.
        again, _ = self.run_of("again", suite, ("good", self.fair))
        [pair] = self.compare(one, again)["comparisons"]
        self.assertEqual(pair["a"], f"good @ {one}")
        self.assertAlmostEqual(pair["difference"], 0.3)

    def test_items_of_another_version_are_matched_by_their_words(self):
        one, _ = self.run_of("one", self.suite(range(60)), ("good", self.good))
        two, _ = self.run_of("two", self.suite(range(10, 60), version=2, first_id=1000),
                             ("fair", self.fair))
        found = self.compare(one, two)
        [pair] = found["comparisons"]
        self.assertEqual((pair["how"], pair["items"], pair["items_a"], pair["items_b"]),
                         ("paired", 50, 60, 50))
        self.assertIn("another version", " ".join(found["notes"]))

    def test_other_items_are_unpaired_and_that_is_said(self):
        one, _ = self.run_of("one", self.suite(range(30)), ("good", self.good))
        two, _ = self.run_of("two", self.suite(range(30, 60), version=2), ("fair", self.fair))
        done = run("bench", "compare", one, two)
        self.assertIn("unpaired, 30 and 30 items", done.stdout)

    def test_logs_of_other_harnesses(self):
        path = self.directory / "log.json"

        def sample(number, value):
            return {"id": number, "epoch": 1, "input": f"what is {number}?", "target": "fox",
                    "scores": {"match": {"value": value}}}
        for name, right in (("x", 5), ("y", 2)):
            samples = [sample(number, "C" if number % right else "I") for number in range(20)]
            mean = sum(s["scores"]["match"]["value"] == "C" for s in samples) / 20
            path = self.directory / f"{name}.json"
            path.write_text(json.dumps({
                "version": 2, "status": "success",
                "eval": {"task": "foxes", "model": f"model-{name}", "run_id": name,
                         "created": "2026-11-01T00:00:00Z", "dataset": {}, "config": {}},
                "results": {"total_samples": 20, "completed_samples": 20, "scores": [
                    {"name": "match", "scorer": "match",
                     "metrics": {"accuracy": {"name": "accuracy", "value": mean}}}]},
                "samples": samples}))
        [pair] = self.compare(self.directory / "x.json", self.directory / "y.json")["comparisons"]
        self.assertEqual((pair["how"], pair["items"]), ("paired", 20))
        self.assertAlmostEqual(pair["difference"], 16 / 20 - 10 / 20)

    def writing_suite(self, count, samples=1, item="{}"):
        folder = self.directory / "tales"
        folder.mkdir()
        (folder / "suite.yaml").write_text(
            'name: tales\nversion: 1\nlicence: Apache-2.0\nkind: writing\ntemplate: "{{prompt}}"\n'
            f'settings: {{ max_tokens: 64 }}\nsamples: {samples}\nscorer: {{ kind: pairwise }}\n')
        (folder / "items.jsonl").write_text("".join(
            json.dumps({"id": item.format(n), "prompt": f"tale {n}"}) + "\n" for n in range(count)))
        return folder

    def writer(self, name, count, words, samples=1):
        """A model that has written `words` of each item's number, and an "s" more in each further sample."""
        path = self.directory / f"{name}.jsonl"
        path.write_text("".join(json.dumps(
            {"prompt": f"tale {n}", "answers": [words(n) + k * "s" for k in range(samples)]}) + "\n"
            for n in range(count)))
        return f"{name}=replay@{path}"

    def test_baselines_of_two_runs_are_two_models(self):
        folder = self.writing_suite(8)
        judge, runs = self.sim("--judge").url, []
        for out, baseline in (("one", "fox"), ("two", "a grey fox ran over old hills")):
            new, old = self.writer("new", 8, lambda n: "the old fox ran"), self.writer("old", 8, lambda n: baseline)
            runs.append(self.directory / out)
            done = run("bench", "run", "--suite", folder, "--model", new, "--baseline", old,
                       "--judge", f"j=anthropic@{judge}", "-o", runs[-1])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = self.compare(*runs)
        self.assertEqual([each["models"] for each in found["runs"]], [["new", "old"]] * 2)
        self.assertEqual({(pair["a"], pair["b"], pair["difference"] > 0) for pair in found["comparisons"]},
                         {(f"new @ {runs[0]}", f"old @ {runs[0]}", True),
                          (f"new @ {runs[1]}", f"old @ {runs[1]}", False)})

    def test_judges_are_measured(self):
        folder = self.writing_suite(8)
        rich = self.writer("rich", 8, lambda n: "a grey fox ran over old hills" if n != 3 else "hm")
        plain = self.writer("plain", 8, lambda n: "fox fox fox hen fox fox fox fox fox")
        out, url = self.directory / "out", self.sim("--judge").url
        done = run("bench", "run", "--suite", folder, "--model", rich, "--model", plain,
                   *(text for judge in ("one", "two") for text in (
                       "--judge", f"{judge}=anthropic@{url}")), "-o", out)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\n  one +8 of 8 +0 +0 +0 +0\.0 % \[0\.0, \d+\.\d\] ")
        self.assertRegex(done.stdout, r"\n  null model +rich +\(all\) +\d")
        summary = json.loads((out / "summary.json").read_text())
        [found] = summary["judging"]
        self.assertEqual([row["flips"]["value"] for row in found["judges"]], [0, 0])
        self.assertEqual(found["agreement"]["pairs"][0]["observed"], 1)
        # The plain one is always the longer, and won once of eight.
        self.assertEqual(found["controls"]["longest"]["value"], 0.125)
        # The null model has more different words than either, and stands in no result.
        self.assertEqual(found["controls"]["null"]["n"], 16)
        self.assertEqual({row["model"] for row in summary["results"]}, {"rich", "plain"})
        self.assertEqual(len(summary["comparisons"]), 1)
        self.assertEqual(len(found["prompt"]["sha256"]), 64)
        self.assertIn("lc_win_rate", {row["metric"] for row in summary["results"]})
        self.assertIn("Judges of tales", (out / "report.html").read_text())
        done = run("verify", out / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("how the judges measured", done.stdout)
        # Whoever tells another length is found out.
        scores = out / "bundle" / "scores.jsonl"
        lines = [json.loads(line) for line in scores.read_text().splitlines()]
        lines[0]["lengths"][1] = 5
        scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
        seal(out / "bundle")
        done = run("verify", out / "bundle")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout, "^FALSE: .*lengths")

    def altered(self, bundle, name, alter):
        """The first line of `verify` over a copy of the bundle, sealed again, in which `alter` changed a file."""
        copy = self.directory / "altered"
        alter_bundle(bundle, copy, name, alter)
        done = run("verify", copy)
        return done.returncode, done.stdout.splitlines()[0]

    def says_the_page(self, bundle, verdict, words):
        told = on_the_page(bundle)
        if told:
            self.assertEqual(told["verdict"], verdict, told["headline"])
            self.assertIn(words, told["headline"])

    def test_controls_are_in_every_run(self):
        count, kept = 9, [0, 2, 4, 6]  # ⌊k·9/4⌋
        folder = self.writing_suite(count, samples=2)
        judge = self.sim("--judge")
        out = self.directory / "out"
        plan = self.directory / "plan.yaml"
        plan.write_text(json.dumps({
            "suites": [str(folder)],
            "models": [self.writer("new", count, lambda n: "a fox", 2), self.writer("newer", count, lambda n: "a grey fox", 2)],
            "baseline": self.writer("old", count, lambda n: "the old grey fox", 2),
            "judges": [f"j=anthropic@{judge.url}"], "controls": 4}))
        estimate = json.loads(run("bench", "estimate", plan, "--json").stdout)
        done = run("bench", "run", plan, "-o", out)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        asked = 2 * 2 * 2 * count + 2 * len(kept)
        self.assertEqual(judge.end_and_count(), asked)
        self.assertEqual(estimate["requests"], asked)
        bundle = out / "bundle"
        scores = [json.loads(line) for line in (bundle / "scores.jsonl").read_text().splitlines()]
        own = [line for line in scores if line["model"] == "control:null"]
        self.assertEqual([(line["item"], line["sample"], line["opponent"]) for line in own],
                         [(str(n), 0, "old") for n in kept])
        summary = json.loads((out / "summary.json").read_text())
        self.assertEqual({row["model"] for row in summary["results"]}, {"new", "newer", "old"})
        self.assertEqual(summary["samples"]["total"], 3 * 2 * count)
        self.assertEqual(len(summary["comparisons"]), 3)
        rows = summary["judging"][0]["controls"]["rows"]
        # The baseline's answers are the longest, and the null model has more different words than all.
        self.assertEqual([(row["control"], row["judge"], row["against"], row["n"], row["value"]) for row in rows],
                         [("null", "j", "old", 4, 1), ("longest", "j", "old", 2 * count, 0.5)])
        report = (out / "report.html").read_text()
        self.assertIn("Controls of judges", report)
        self.assertIn("null model", report)
        done = run("verify", bundle)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("the null model said the same to all", done.stdout)

        def lie(row, key, value):
            def alter(lines):
                lines[0]["judging"][0]["controls"]["rows"][row][key] = value
            return alter

        def other_words(lines):
            next(line for line in lines if line["model"] == "control:null" and "judge_model" not in line)["answer"] = "So."

        def other_item(lines):
            next(line for line in lines if line["model"] == "control:null")["item"] = "1"

        def dropped(lines):
            return [line for line in lines if line["model"] != "control:null" or line["item"] != "4"]
        for name, alter, words in (("summary.json", lie(0, "value", 0), "^FALSE: summary.json: judging.*value"),
                                   ("summary.json", lie(1, "low", 0.4), "^FALSE: summary.json: judging.*low"),
                                   ("transcripts.jsonl", other_words, "^FALSE: .*not what the control answers"),
                                   ("scores.jsonl", other_item, "^FALSE: .*none of the 4 that the control is judged on"),
                                   ("scores.jsonl", dropped, "^FALSE: item 4, .*it was left out")):
            status, first = self.altered(bundle, name, alter)
            self.assertEqual(status, 1, first)
            self.assertRegex(first, words)
        self.says_the_page(bundle, "self-certified", "")
        self.altered(bundle, "scores.jsonl", dropped)
        self.says_the_page(self.directory / "altered", "false", "it was left out")
        self.altered(bundle, "transcripts.jsonl", other_words)
        self.says_the_page(self.directory / "altered", "false", "not what the control answers")
        # Left out, the report says so.
        none = self.directory / "none"
        done = run("bench", "run", plan, "--controls", "none", "-o", none)
        self.assertEqual(done.returncode, 1, done.stdout)  # its judge is gone: nothing is judged
        judge = self.sim("--judge")
        plan.write_text(json.dumps({**json.loads(plan.read_text()), "judges": [f"j=anthropic@{judge.url}"]}))
        shutil.rmtree(none)
        done = run("bench", "run", plan, "--controls", "none", "-o", none)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(judge.end_and_count(), asked - 2 * len(kept))
        self.assertIn("no null model: the run was made without controls", done.stdout)
        self.assertIn("made without controls", (none / "report.html").read_text())
        self.assertIn("no null model took part", run("verify", none / "bundle").stdout)

    def tales(self, count, **members):
        """A writing suite, two stored writers and a judge who prefers more different words."""
        folder = self.writing_suite(count, item="t{}")
        models = [self.writer("b", count, lambda n: "a grey fox ran" if n % 4 else "fox"),
                  self.writer("a", count, lambda n: "an owl")]
        plan = self.directory / "plan.yaml"
        plan.write_text(json.dumps({"suites": [str(folder)], "models": models, "controls": "none",
                                    "judges": [f"j=anthropic@{self.sim('--judge').url}"], **members}))
        return plan

    def anchors(self, rows, name="people.jsonl"):
        path = self.directory / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def test_people_are_held_against_judges(self):
        # The judge: b wins but for items 0, 4 and 8. One rater says the same of items 0 to 9 with the models
        # in the other order, two others of items 0 to 3, where they disagree about 1.
        rows = [{"item": f"t{n}", "model": "a", "opponent": "b", "verdict": "opponent" if n % 4 else "model",
                 "rater": "ann"} for n in range(9)] + [
            {"item": "t9", "model": "b", "opponent": "a", "verdict": "tie", "rater": "ann"}] + [
            {"item": f"t{n}", "model": "b", "opponent": "a", "rater": rater, "verdict":
             {"bob": "model", "eve": "tie"}[rater] if n == 1 else "model" if n % 4 else "opponent"}
            for n in range(4) for rater in ("bob", "eve")]
        rows.sort(key=lambda row: row["rater"], reverse=True)  # eve first, who has not rated t11, t10 and so on
        plan, out = self.tales(12, anchors=str(self.anchors(rows))), self.directory / "out"
        done = run("bench", "run", plan, "-o", out)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        [found] = json.loads((out / "summary.json").read_text())["anchors"]
        self.assertEqual((found["suite"], found["of"], found["committed"], found["raters"]), ("tales", "verdicts", True, 3))
        people = found["people"]
        self.assertEqual([people[key] for key in ("ratings", "cases", "draws", "unmatched")], [18, 10, 0, 0])
        self.assertAlmostEqual(people["observed"], 10 / 12)  # of three pairs over four items, two differ
        # All three rated four items: 8 of 12 say b, 3 say a, one a tie.
        self.assertAlmostEqual(people["fleiss"], (10 / 12 - 74 / 144) / (1 - 74 / 144))
        [judge] = found["judges"]
        self.assertEqual((judge["judge"], judge["n"], judge["value"]), ("j", 10, 0.9))
        # People: 6 b, 3 a, 1 tie; the judge: 7 b, 3 a.
        self.assertAlmostEqual(judge["cohen"], (0.9 - 0.51) / (1 - 0.51))
        self.assertLess(judge["low"], 0.9)
        self.assertRegex(done.stdout, r"3 people gave 18 ratings of 10 pairs of answers \(committed to before the run\)")
        self.assertRegex(done.stdout, r"\n  j +90\.0 % \[\d+\.\d, \d+\.\d\] +10 +0\.80 ")
        self.assertIn("Judges of tales and people", (out / "report.html").read_text())
        bundle = out / "bundle"
        done = run("verify", bundle)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("agree with 18 ratings by people (committed to before the run)", done.stdout)

        def other_verdict(lines):
            lines[0]["verdict"] = "tie"

        def better(lines):
            lines[0]["anchors"][0]["judges"][0]["cohen"] = 0.95
        for name, alter, words in (("anchors.jsonl", other_verdict, "^FALSE: anchors.jsonl: .*others than those that plan.json commits to"),
                                   ("summary.json", better, "^FALSE: summary.json: anchors.*cohen")):
            status, first = self.altered(bundle, name, alter)
            self.assertEqual(status, 1, first)
            self.assertRegex(first, words)
        self.altered(bundle, "anchors.jsonl", lambda lines: None)
        copy = self.directory / "altered"
        (copy / "anchors.jsonl").unlink()
        seal(copy)
        self.assertRegex(run("verify", copy).stdout, "^FALSE: anchors.jsonl: it is missing")
        # A run that was begun with them keeps them, and one without takes them later and says so.
        text = (bundle / "anchors.jsonl").read_text()
        self.assertEqual(run("bench", "resume", out).returncode, 0)
        self.assertEqual((bundle / "anchors.jsonl").read_text(), text)
        done = run("bench", "resume", out, "--anchors", self.anchors(rows[:5], "other.jsonl"))
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("begun with other anchors", done.stderr)
        plan.write_text(json.dumps({key: value for key, value in json.loads(plan.read_text()).items() if key != "anchors"}))
        later = self.directory / "later"
        self.assertEqual(run("bench", "run", plan, "-o", later).returncode, 0)
        before = json.loads((later / "summary.json").read_text())
        self.assertNotIn("anchors", before)
        self.assertEqual([model.get("served") for model in before["models"]], [None, None, "j"])
        done = run("bench", "resume", later, "--anchors", self.directory / "people.jsonl")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("added after it began", done.stdout)
        [after] = json.loads((later / "summary.json").read_text())["anchors"]
        self.assertEqual(after, {**found, "committed": False})
        self.assertEqual(json.loads((later / "summary.json").read_text())["models"], before["models"])
        done = run("verify", later / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("(added after the run began)", done.stdout)
        # Withheld items stay withheld, in what people said of them too.
        published = self.directory / "published"
        done = run("bench", "report", out, "--publish", "-o", published, "--withhold", "tales")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("t9", (published / "anchors.jsonl").read_text())
        done = run("verify", published)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("agree with 18 ratings by people", done.stdout)

    def test_wrong_anchors_are_told_by_line(self):
        plan, out = self.tales(3), self.directory / "out"
        right = {"item": "t0", "model": "a", "opponent": "b", "verdict": "tie"}
        for wrong, words in (({**right, "item": "t7"}, 'has no item "t7"'),
                             ({**right, "model": "c"}, 'tests no model "c"'),
                             ({**right, "verdict": "a"}, "none of model, opponent and tie"),
                             ({**right, "sample": 1}, "the run has 1 of each item"),
                             ({**right, "suite": "other"}, 'has no suite "other"'),
                             ({**right, "opponent": "a"}, "are the same"),
                             ({"item": "t0", "model": "a", "score": 1}, 'name the "opponent"'),
                             ({"item": "t0", "model": "a", "score": 2}, "0 to 1, of one"),
                             ({**right, "person": "x"}, "person"),
                             ({"item": "t1", "model": "b", "opponent": "a", "verdict": "model"}, "in line 1")):
            path = self.anchors([{**right, "item": "t1"}, wrong])
            done = run("bench", "run", plan, "--anchors", path, "-o", out)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertIn(f"{path}:2: ", done.stderr)
            self.assertIn(words, done.stderr)
        self.assertFalse(out.exists())

    def test_a_part_by_tags(self):
        suite = self.suite(range(12))
        yaml = suite / "suite.yaml"
        yaml.write_text(yaml.read_text() + "tags: tags\n")
        lines = [json.loads(line) for line in (suite / "items.jsonl").read_text().splitlines()]
        for n, line in enumerate(lines):
            line["tags"] = [["short"], ["long", "hard"], []][n % 3]
        (suite / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        model = ("--suite", suite, "--model", f"good=replay@{self.good}")
        out = self.directory / "part"
        done = run("bench", "run", *model, "--tag", "hard", "--tag", "nobody's", "-o", out)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("a part, 4 of its 12 items, chosen by tags", done.stdout)
        bundle = out / "bundle"
        plan = json.loads((bundle / "plan.json").read_text())
        self.assertEqual(plan["tags"], ["hard", "nobody's"])
        whole = run("suite", "digest", suite).stdout.strip()
        self.assertEqual(plan["suites"][0]["part_of"], {"items": 12, "root": whole})
        self.assertEqual(plan["suites"][0]["root"], run("suite", "digest", bundle / "suite" / plan["suites"][0]["name"]).stdout.strip())
        self.assertEqual(json.loads((out / "summary.json").read_text())["samples"]["total"], 4)
        self.assertIn("Part of a suite", (out / "report.html").read_text())
        done = run("verify", bundle)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("the run was over a part, 4 items tagged hard, nobody's", done.stdout)
        self.assertEqual(run("bench", "resume", out).returncode, 0)

        def other_tag(lines):
            lines[0]["tags"] = ["short"]
        status, first = self.altered(bundle, "plan.json", other_tag)
        self.assertEqual(status, 1, first)
        self.assertRegex(first, "^FALSE: item .*none of the plan's tags")
        estimate = run("bench", "estimate", "--suite", suite, "--model", "m=anthropic@http://127.0.0.1:9", "--tag", "short",
                       "--allow-self-judging", "--json")
        self.assertEqual(json.loads(estimate.stdout)["requests"], 4)
        for arguments, words in ((("--tag", "none"), "none of its 12 items has one of the tags"),
                                 (("--tag", "short", "--sealed"), "registered as a whole")):
            done = run("bench", "run", *model, *arguments, "-o", self.directory / "wrong")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(words, done.stderr)
        yaml.write_text(yaml.read_text().replace("tags: tags\n", ""))
        done = run("bench", "run", *model, "--tag", "short", "-o", self.directory / "wrong")
        self.assertIn("have no tags to choose by", done.stderr)

    def test_estimate(self):
        suite = self.suite(range(60))
        plan = self.directory / "plan.yaml"

        def estimate(*more, budget="", status=0):
            plan.write_text(
                f"suites: [ \"{suite}\" ]\nmodels:\n  - {{ name: m, dialect: anthropic, url: "
                f"\"http://127.0.0.1:9\", key_env: NOT_SET, price: {{ input: 1, output: 10 }} }}\n"
                + budget)
            done = run("bench", "estimate", plan, "--json", *more)
            self.assertEqual(done.returncode, status, done.stderr)
            return json.loads(done.stdout)
        found = estimate()
        self.assertEqual(found["requests"], 60)
        self.assertEqual(found["output_tokens"]["high"], 60 * 64)
        for name in ("input_tokens", "output_tokens", "usd", "seconds"):
            band = found[name]
            self.assertTrue(0 < band["low"] < band["mid"] < band["high"], found)
        self.assertEqual(found["budget"], "none")
        self.assertEqual(estimate(budget="budget: { tokens: 1000000 }\n")["budget"], "fits")
        self.assertEqual(estimate(budget="budget: { usd: 0.02 }\n")["budget"], "may be reached")
        self.assertEqual(estimate(budget="budget: { tokens: 100 }\n", status=1)["budget"],
                         "will be reached")
        # A run tells how long answers are, and says beforehand what it expects.
        out = self.directory / "out"
        done = run("bench", "run", "--suite", suite, "--model", "m=anthropic@" + self.sim().url,
                   "-o", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"Estimate: 60 requests, .* tokens \(.*cost not known")
        total = json.loads((out / "summary.json").read_text())["models"][0]
        found = estimate("--from", out)
        self.assertTrue(found["measured"])
        self.assertEqual(found["output_tokens"]["mid"], total["output_tokens"])
        self.assertTrue(found["input_tokens"]["low"] / 2 <= total["input_tokens"]
                        <= 2 * found["input_tokens"]["high"], (found, total))
        for arguments, status in ((("--suite", "nowhere", "--model", "m=anthropic@http://x"), 2),
                                  ((plan, "-o", out), 2), ((), 2),
                                  ((plan, "--from", self.directory), 2)):
            done = run("bench", "estimate", *arguments)
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            self.assertTrue(done.stderr)

    def test_wrong_use(self):
        out, _ = self.run_of("out", self.suite(range(60)), ("good", self.good))
        for arguments, words in (((), "usage|needs|give"),
                                 ((self.directory / "nothing",), "no such file"),
                                 ((out / "bundle" / "suite" / "foxes" / "suite.yaml",), "no log that is known"),
                                 ((out, out), "named twice"),
                                 ((out,), "nothing to compare")):
            done = run("bench", "compare", *arguments)
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertRegex(done.stderr, words)

    def test_the_names_of_controls_are_reserved(self):
        done = run("bench", "run", "--suite", self.suite(range(3)), "--model",
                   f"control:mine=replay@{self.good}", "-o", self.directory / "out")
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("begins the names of controls", done.stderr)
        done = run("bench", "run", "--suite", self.directory / "foxes-1", "--model", f"good=replay@{self.good}",
                   "--controls", "0", "-o", self.directory / "out")
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("write none, all, or on how many items", done.stderr)

    def test_power(self):
        # Miller (2024), section 5: three points at 80 %, one sample of each item.
        done = run("bench", "power", "--difference", "0.03", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        needed = json.loads(done.stdout)["answers"][0]["needed"]
        self.assertEqual(needed[0], {"samples": 1, "items": 3876})
        self.assertLess(needed[3]["items"], needed[0]["items"])
        suite = self.suite(range(60))
        done = run("bench", "power", "--suite", suite)
        self.assertIn("60 items, 1 sample each: no difference below", done.stdout)
        out, _ = self.run_of("out", suite, ("good", self.good), ("fair", self.fair))
        done = run("bench", "power", "--from", out, "--difference", "0.1", "--json")
        [row] = json.loads(done.stdout)["answers"]
        # (24 + 6 - 60 * 0.3^2) / 59 is the variance of the differences.
        self.assertAlmostEqual(row["omega2"], (30 - 60 * 0.09) / 59)
        for arguments in (("--difference", "0"), (), ("--from", self.directory, "--items", "5")):
            done = run("bench", "power", *arguments)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertTrue(done.stderr)


if __name__ == "__main__":
    main()
