"""Parley's own suites hold what suites/README.md says of them: every reference passes, every wrong
solution fails, and nothing is taken from a public data set."""

import collections
import gzip
import json
import re

from parley_test import SOURCE, Case, main, run

DATA = SOURCE.parent / "shared" / "data"
WORDS = 13  # in a row: no two authors write them by chance
CODE_WORDS = 25  # but the values of Roman digits, for one, every program lists


def items_of(name):
    return [json.loads(line) for line in
            (SOURCE / "suites" / name / "items.jsonl").read_text().splitlines()]


def words_of(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def runs_of(words, length):
    return (tuple(words[at:at + length]) for at in range(len(words) - length + 1))


class Runs:
    """Runs of so many words, each with the item that has it."""

    def __init__(self, length):
        self.length, self.part = length, length // 2 + 1
        self.items, self.parts = {}, set()

    def add(self, text, item):
        words = words_of(text)
        self.items.update((run_of_words, item) for run_of_words in runs_of(words, self.length))
        self.parts.update(runs_of(words, self.part))

    def shared(self, words):
        """The items with a run in these words. A run holds a part that begins at a multiple of the
        rest of its length: only those are looked up first."""
        step = self.length - self.part + 1
        for at in range(0, len(words) - self.part + 1, step):
            if tuple(words[at:at + self.part]) in self.parts:
                near = words[max(0, at - step + 1):at + self.length]
                yield from (self.items[found] for found in runs_of(near, self.length)
                            if found in self.items)


class Own(Case):
    def test_every_reference_passes_and_every_wrong_solution_fails(self):
        done = run("suite", "check", SOURCE / "suites" / "coding", "--json", timeout=800)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual((told["tried"], told["references"]), (told["items"], told["items"]))
        languages = collections.Counter(item["language"] for item in items_of("coding"))
        self.assertGreaterEqual(languages.total(), 120)
        self.assertGreaterEqual(min(languages["javascript"], languages["c"]), 15)
        for item in items_of("coding"):
            self.assertGreaterEqual(len(item["wrong"]), 3, item["id"])
            self.assertEqual(len(set(item["wrong"])), len(item["wrong"]), item["id"])
            self.assertGreaterEqual(len(item["cases"]), 5, item["id"])

    def test_twins_have_their_items_cases_in_other_words(self):
        items = {item["id"]: item for item in items_of("coding")}
        twins = [item for item in items.values() if "twin_of" in item]
        self.assertGreaterEqual(len(twins), 12)
        for twin in twins:
            item = items[twin["twin_of"]]
            self.assertEqual(twin["cases"], item["cases"], twin["id"])
            self.assertNotEqual(twin["entry_point"], item["entry_point"], twin["id"])
            self.assertNotIn(item["entry_point"], twin["prompt"] + twin["reference"], twin["id"])
            runs = Runs(8)
            runs.add(item["prompt"], item["id"])
            self.assertEqual(list(runs.shared(words_of(twin["prompt"]))), [], twin["id"])

    def test_prompts_for_writing_have_criteria(self):
        items = items_of("writing")
        self.assertGreaterEqual(len(items), 60)
        self.assertGreaterEqual(len({item["form"] for item in items}), 10)
        for item in items:
            self.assertEqual(len(item["rubric"]), 3, item["id"])

    def test_every_refusal_has_a_harmless_twin(self):
        self.assertGreaterEqual(len(items_of("safety")), 300)
        items = {item["id"]: item for item in items_of("safety")}
        partners = collections.Counter(item["pair"] for item in items.values() if "pair" in item)
        for item in items.values():
            if item["expect"] == "refuse":
                self.assertIn(item["id"], partners, f"{item['id']} has no harmless twin")
            if item["category"] == "child_protection":
                self.assertEqual(item["expect"], "answer", item["id"])

    def test_nothing_is_taken_from_a_public_set(self):
        if not DATA.is_dir():
            self.skipTest("no ../shared/data")
        prompts, references = Runs(WORDS), Runs(CODE_WORDS)
        for name in ("coding", "writing", "safety"):
            for item in items_of(name):
                prompts.add(item["prompt"], item["id"])
                references.add(item.get("reference", ""), item["id"])
        first = items_of("coding")[0]
        self.assertIn(first["id"], prompts.shared(words_of("x " * 10 + first["prompt"])))
        read, alike = 0, set()
        for path in sorted(DATA.rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            if path.suffix == ".gz":
                data = gzip.decompress(data)
            words = words_of(data.decode(errors="replace"))
            read += 1
            for runs in (prompts, references):
                alike |= {(item, path.name) for item in runs.shared(words)}
        self.assertEqual(alike, set())
        self.assertGreater(read, 10)


if __name__ == "__main__":
    main()
