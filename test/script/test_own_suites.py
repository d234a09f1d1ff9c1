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


def runs_of(text, length):
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {hash(tuple(words[at:at + length])) for at in range(len(words) - length + 1)}


class Own(Case):
    def test_every_reference_passes_and_every_wrong_solution_fails(self):
        done = run("suite", "check", SOURCE / "suites" / "coding", "--json")
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

    def test_pairs_name_each_other_or_their_model(self):
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
        own = {}
        for name in ("coding", "writing", "safety"):
            for item in items_of(name):
                for found in (runs_of(item["prompt"], WORDS) |
                              runs_of(item.get("reference", ""), CODE_WORDS)):
                    own[found] = item["id"]
        self.assertGreater(len(own), 1000)
        read, alike = 0, set()
        for path in sorted(DATA.rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            if path.suffix == ".gz":
                data = gzip.decompress(data)
            text = data.decode(errors="replace")
            read += 1
            for length in (WORDS, CODE_WORDS):
                alike |= {(own[found], path.name) for found in runs_of(text, length) if found in own}
        self.assertEqual(alike, set())
        self.assertGreater(read, 10)


if __name__ == "__main__":
    main()
