"""How providers behaved, as far as a client can see: a stand-in that knows published items by heart,
one that knows nothing but answers, and what bundles say of them."""

import json
import os

import test_bench
from parley_test import Case, main, run

SUITE = ('name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\ntemplate: "{{question}}"\n'
         'settings: { max_tokens: 64, temperature: 0 }\nsamples: 1\n'
         'scorer: { kind: contains, target: "{{answer}}" }\n')
KEYS = {"PARLEY_TEST_KEY": "any"}
PAIRS = 24


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


if __name__ == "__main__":
    main()
