"""Every command: help, wrong use, exit status, what goes where."""

import json
import re
import subprocess
import unittest

from parley_test import PARLEY, SOURCE, Case, main, product, run

COMMANDS = re.findall(r"^\tX\((\w+),", (SOURCE / "src/table/commands.h").read_text(), re.MULTILINE)


class Use(unittest.TestCase):
    def test_the_table_was_read(self):
        self.assertIn("serve", COMMANDS)
        self.assertGreater(len(COMMANDS), 8)

    def test_help_is_no_error_and_goes_to_stdout(self):
        for words in (["--help"], *([command, "--help"] for command in COMMANDS),
                      ["org", "block", "--help"], ["bench", "run", "--help"],
                      ["suite", "digest", "--help"]):
            with self.subTest(" ".join(words)):
                done = run(*words)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stderr, "")
                self.assertIn("parley", done.stdout)

    def test_the_general_help_names_every_command(self):
        text = run("--help").stdout
        for command in COMMANDS:
            self.assertRegex(text, rf"(?m)^\s+{command}\s")

    def test_the_version_is_one_line(self):
        done = run("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\Aparley \d+\.\d+\.\d+\n\Z")

    def test_wrong_use_exits_2_and_goes_to_stderr(self):
        for words in ([], ["nonsense"], ["--nonsense"], ["serve", "--nonsense"], ["serve", "-x"],
                      ["serve", "extra"], ["serve", "-c"], ["init"], ["init", "a", "b"], ["apply"],
                      ["org"], ["org", "nonsense"], ["org", "block"], ["org", "block", "a/b"],
                      ["grant", "revoke"], ["grant", "revoke", ""], ["key", "issue"],
                      ["key", "issue", "--org", "acme"], ["suite", "digest"], ["suite", "import", "x"],
                      ["sim", "--output-tokens", "many"], ["sim", "--output-tokens", "0"],
                      ["sim", "--error-rate", "2"], ["sim", "--judge", "--persona", "x"],
                      ["sim", "--seed=1.5"], ["keygen"], ["bench"], ["bench", "run"],
                      ["bench", "run", "--suite", "s"], ["verify"], ["verify", "--nonsense", "x"]):
            with self.subTest(" ".join(words)):
                done = run(*words)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertIn("parley", done.stderr)

    def test_output_that_cannot_be_written_is_an_error_or_harmless(self):
        done = subprocess.run(f"exec '{PARLEY}' --help > /dev/full", shell=True, check=False,
                              capture_output=True, text=True)
        self.assertIn(done.returncode, (0, 1, 3))


class Files(Case):
    def test_keys_are_made_once_and_for_the_owner_only(self):
        path = self.directory / "my.key"
        done = run("keygen", "-o", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\A[A-Za-z0-9+/]{43}=\n\Z")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        before = path.read_bytes()
        again = run("keygen", "-o", path)
        self.assertEqual(again.returncode, 1)
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual(run("keygen", "-o", self.directory / "no" / "such.key").returncode, 1)

    def test_suites_of_the_source_tree_are_sound(self):
        """Of the programs a sample; all of them are tried by the test `own suites`."""
        for name, least in (("coding", 120), ("writing", 60), ("safety", 300)):
            done = run("suite", "check", SOURCE / "suites" / name, "--every", "25", "--json")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            told = json.loads(done.stdout)
            self.assertEqual((told["findings"], told["licence"]), ([], "Apache-2.0"))
            self.assertGreaterEqual(told["items"], least)
            self.assertEqual(bool(told["tried"]), name == "coding")
            digest = run("suite", "digest", SOURCE / "suites" / name)
            self.assertRegex(digest.stdout, r"\A[0-9a-f]{64}\n\Z")
            told = json.loads(run("suite", "digest", "--json", SOURCE / "suites" / name).stdout)
            self.assertEqual(told["root"] + "\n", digest.stdout)

    def suite(self, yaml=None, items='{"id": "1", "question": "What?", "answer": "fox"}\n'):
        folder = self.directory / "suite"
        folder.mkdir(exist_ok=True)
        text = ('name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\n'
                'template: "{{question}}"\nsettings: { max_tokens: 64, temperature: 0 }\n'
                'samples: 1\nscorer: { kind: contains, target: "{{answer}}" }\n')
        (folder / "suite.yaml").write_text(text if yaml is None else yaml(text))
        if isinstance(items, bytes):
            (folder / "items.jsonl").write_bytes(items)
        else:
            (folder / "items.jsonl").write_text(items)
        return folder

    def unreadable(self, folder, *parts):
        done = run("suite", "check", folder)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_what_cannot_be_used_exits_2(self):
        """What a command is given and cannot use: exit 2, and nothing is made. A check of it is another
        thing."""
        suite, out = self.suite(), self.directory / "out"
        stored = self.directory / "stored.jsonl"
        stored.write_text('{"prompt": "What?", "answers": ["fox"]}\n')
        broken = self.directory / "broken"
        broken.write_text("suites: [ foxes\n")
        (self.directory / "void").mkdir()
        done = self.directory / "done"
        ask = ("--suite", suite, "--model", f"m=replay@{stored}")
        self.assertEqual(run("bench", "run", *ask, "-o", done).returncode, 0)
        none, void = self.directory / "none", self.directory / "void"
        plan = self.directory / "plan.yaml"
        plan.write_text(f'suites: [ "{suite}" ]\nmodels: [ "{ask[3]}" ]\n')
        self.assertEqual(run("bench", "run", plan, "-o", self.directory / "planned").returncode, 0)
        to = ("-o", out)
        for words in (
                *(("bench", verb, plan, *more) for verb, more in (("run", to), ("estimate", ()))
                  for plan in (broken, none, suite, "/dev/null")),
                *(("bench", "run", "--suite", each, "--model", ask[3], *to) for each in (none, void)),
                *(("bench", "run", *ask[:2], "--model", f"m={model}", *to) for model in (
                    f"replay@{none}", f"replay@{broken}", f"replay@{suite}", "openai@nowhere",
                    "openai@http://127.0.0.1:9#NOT_SET")),
                ("bench", "run", *ask, "--tag", "none", *to), ("bench", "run", *ask, "--anchors", none, *to),
                *(("bench", "run", *ask, *to, *more) for more in (
                    ("--key", none), ("--key", broken), ("--ca", none), ("--client-cert", none),
                    ("--client-cert", none, "--client-key", none))),
                ("bench", "resume", done, "--key", none), ("bench", "resume", done, "--ca", none),
                ("bench", "run", *ask, *to, "--judge", f"j=replay@{stored}"),
                ("bench", "run", *ask, *to, "--baseline", f"j=replay@{stored}"),
                ("bench", "run", *ask, *to, "--controls", "5"), ("bench", "run", plan, *to, "--judge", "m"),
                ("bench", "run", *ask, *to, "--", "true"), ("bench", "resume", none), ("bench", "resume", void),
                ("bench", "resume", stored), ("bench", "estimate", *ask, "--from", none),
                ("bench", "power", "--difference", "0.1", "--suite", none),
                ("bench", "power", "--difference", "0.1", "--suite", suite, "--items", "9"),
                ("bench", "compare", none), ("bench", "compare", void),
                *(("bench", "export", each, "--format", "csv", *to) for each in (none, void)),
                ("bench", "export", done, "--format", "csv", "-o", void),
                ("bench", "export", done, "--format", "csv", "-o", none / "x"),
                ("bench", "export", done, "--format", "in-toto", "--key", broken, *to),
                ("bench", "report", void, "--publish", *to),
                ("bench", "report", done, "--publish", *to, "--key", none),
                ("bench", "report", "--salts", none, "--item", "foxes/0", *to),
                ("bench", "proxy", "--resume", "-o", void, "--", "true"),
                *(("suite", verb, each) for verb in ("check", "digest") for each in (none, void, stored)),
                ("suite", "check", suite, "--no-run", "--every", "2"),
                ("suite", "import", none, *to), ("suite", "import", stored, "--format", "none", *to),
                ("suite", "list", "-c", none), ("apply", none, "-c", none), ("org", "list", "-c", broken),
                ("grade", "--listen", "nowhere"),
                *(("log", verb, each, *index) for each in (none, void, broken) for verb, *index in (
                    ("show",), ("tail",), ("prove", "0"), ("checkpoint",))),
                *((verb, "-c", each) for verb in ("serve", "witness") for each in (none, void, broken)),
                *(("grant", "sign", each) for each in (none, void, broken)),
                ("verify", none), ("verify", void), ("verify", done, "--record", stored)):
            with self.subTest(" ".join(map(str, words))):
                told = run(*words)
                self.assertEqual(told.returncode, 2, told.stdout + told.stderr)
                self.assertEqual(told.stdout, "")
                self.assertIn("parley", told.stderr)
                self.assertFalse(out.exists())
        # What is there already is not overwritten, and what does not hold does not.
        self.assertEqual(run("bench", "run", *ask, "-o", done).returncode, 1)
        (done / "bundle" / "scores.jsonl").write_text("")
        self.assertEqual(run("bench", "export", done, "--format", "csv", *to).returncode, 1)
        self.assertEqual(run("verify", done).returncode, 1)

    def test_a_file_that_is_too_large_is_no_verdict(self):
        path = self.directory / "large.json"
        with path.open("wb") as file:
            file.write(b'{"version": 2,')
            file.truncate(1 << 34)
        done = run("verify", path)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)

    def test_behind_two_hyphens_nothing_is_an_option(self):
        path = self.directory / "--json"
        path.mkdir()
        self.assertIn("no bundle", run("verify", "--", "--json", cwd=self.directory).stderr)

    def test_a_sound_suite(self):
        done = run("suite", "check", self.suite(), "--skip", "canary")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "foxes: 1 items; 0 findings\n")

    CANARY = "canary 6f0e2ad3-9f63-4c0c-8a8e-6d1f0b2c7e11"

    def found(self, yaml, *items, options=()):
        """The findings over a suite of these items: (check, file, line), and the messages."""
        lines = [json.dumps({"id": str(number), "canary": self.CANARY, **item})
                 for number, item in enumerate(items, 1)]
        folder = self.suite(lambda text: yaml(text) + f"canary: {self.CANARY}\n",
                            "".join(line + "\n" for line in lines))
        done = run("suite", "check", folder, "--json", *options)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        findings = json.loads(done.stdout)["findings"]
        self.assertEqual(done.returncode, 1 if findings else 0)
        said = run("suite", "check", folder, *options)
        for finding in findings:
            self.assertIn(f"{folder}/{finding['file']}:{finding['line']}: {finding['check']}: "
                          f"{finding['message']}\n", said.stdout)
        return [(row["check"], row["line"]) for row in findings], " ".join(
            row["message"] for row in findings)

    def same(self, text):
        return text

    def test_items_that_say_the_same_are_found(self):
        words = "Explain in a few short sentences how a canal lock lifts a boat from one level to the next"
        ask = [{"question": words + ".", "answer": "x1"}, {"question": "Quite another?", "answer": "x2"},
               {"question": words + ".", "answer": "x3"},
               {"question": words.upper() + "!!", "answer": "x4"},
               {"question": words + " one, please.", "answer": "x5"},
               {"question": words.replace("canal", "river").replace("boat", "barge"), "answer": "x6"}]
        found, told = self.found(self.same, *ask)
        self.assertEqual(found, [("duplicate", 3), ("near-duplicate", 4), ("near-duplicate", 5)])
        self.assertIn("items 1 and 3 have the same words", told)
        ask[4]["pair"] = "1"
        self.assertEqual(self.found(self.same, *ask, options=("--skip", "duplicate"))[0],
                         [("near-duplicate", 4)])

    def test_answers_in_prompts_are_found(self):
        found, told = self.found(self.same,
                                 {"question": "Say Grey  Heron, please.", "answer": "grey heron"},
                                 {"question": "What is a heronry?", "answer": "heron"},
                                 {"question": "Is it A or B?", "answer": "A"})
        self.assertEqual(found, [("leak", 1)])
        self.assertIn("item 1: the prompt holds the target", told)
        examples = ('examples:\n  answer: "{{answer}}"\n  items:\n'
                    '    - { question: "What barks?", answer: dog }\n')
        found, told = self.found(lambda text: text + examples,
                                 {"question": "What barks?", "answer": "dog"},
                                 {"question": "What purrs?", "answer": "cat"})
        self.assertEqual(found, [("leak", 1)])
        self.assertIn("as an example", told)

    def test_missing_licences_and_canaries_are_found(self):
        found, _ = self.found(lambda text: text.replace("licence: Apache-2.0\n", ""),
                              {"question": "What?", "answer": "fox"})
        self.assertEqual(found, [("licence", 1)])
        found, told = self.found(self.same, {"question": "What?", "answer": "fox"},
                                 {"question": "Who?", "answer": "fox", "canary": "none"},
                                 {"question": self.CANARY, "answer": "fox"})
        self.assertEqual(found, [("canary", 2), ("canary", 3)])
        self.assertIn("1 of 3 items do not hold the canary", told)

    def test_pairs_that_are_none_are_found(self):
        refusal = 'scorer: { kind: refusal, expect: "{{answer}}" }'
        found, told = self.found(
            lambda text: text.replace('scorer: { kind: contains, target: "{{answer}}" }', refusal),
            {"question": "One?", "answer": "refuse", "pair": "2"},
            {"question": "Two?", "answer": "refuse", "pair": "1"},
            {"question": "Three?", "answer": "answer", "pair": "9"},
            {"question": "Four?", "answer": "answer", "pair": "4"},
            {"question": "Five?", "answer": "answer", "pair": "1"},
            {"question": "Six?", "answer": "perhaps"})
        self.assertEqual(found, [("pair", 1), ("pair", 2), ("pair", 3), ("pair", 4), ("scorer", 6)])
        self.assertIn("is unbalanced", told)

    def test_few_shot_examples_are_asked_and_verified(self):
        folder = self.suite(lambda text: text + (
            'system: One word.\nexamples:\n  answer: "{{answer}}"\n  items:\n'
            '    - { question: "What barks?", answer: dog }\n'))
        turns = [{"role": "user", "text": "What barks?"}, {"role": "assistant", "text": "dog"},
                 {"role": "user", "text": "What?"}]
        stored = self.directory / "stored.jsonl"
        for system, status in (("One word.", 0), ("Two words.", 1)):
            stored.write_text(json.dumps({"prompt": {"system": system, "messages": turns},
                                          "answers": ["fox"]}) + "\n")
            out = self.directory / f"out-{status}"
            done = run("bench", "run", "--suite", folder, "--model", f"m=replay@{stored}", "-o", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads((out / "summary.json").read_text())["results"][0]
            self.assertEqual((result["value"], result["failed"]), (1 - status, status))
            self.assertEqual(run("verify", out / "bundle").returncode, 0)

    def test_broken_tests_are_found(self):
        code = ('scorer: { kind: code, language: python, cases: "{{cases}}", '
                'entry_point: f }')
        good, bad = "def f(a):\n    return a + 1\n", "def f(a):\n    return a\n"
        cases = [{"args": [1], "expected": 2}]
        items = [{"question": "One.", "answer": "", "cases": cases, "reference": good, "wrong": [bad] * 3},
                 {"question": "Two.", "answer": "", "cases": cases, "reference": bad, "wrong": [bad] * 3},
                 {"question": "Three.", "answer": "", "cases": cases, "reference": good,
                  "wrong": [bad, bad, "def f(a):\n    return 2\n"]},
                 {"question": "Four.\n" + good, "answer": "", "cases": cases, "reference": good,
                  "wrong": [bad]}]
        coding = lambda text: text.replace('scorer: { kind: contains, target: "{{answer}}" }', code)
        found, told = self.found(coding, *items)
        self.assertEqual(found, [("leak", 4), ("reference", 2), ("wrong", 3), ("wrong", 4)])
        self.assertIn("wrong answer 3 passes", told)
        self.assertEqual(self.found(coding, *items, options=("--no-run",))[0], [("leak", 4)])
        self.assertEqual(self.found(coding, *items, options=("--every", "2"))[0],
                         [("leak", 4), ("wrong", 3)])
        for words in (("--skip", "everything"), ("--every", "0"), ()):
            self.assertEqual(run("suite", "check", *words).returncode, 2)

    def test_unreadable_suites_are_told_by_file_and_line(self):
        good = '{"id": "1", "question": "What?", "answer": "fox"}\n'
        self.unreadable(self.suite(lambda text: text.replace("kind: qa", "kind: magic")),
                        "suite.yaml:4", "kind")
        self.unreadable(self.suite(lambda text: text + "surprise: 1\n"), "suite.yaml:9", "surprise")
        self.unreadable(self.suite(lambda text: "name: ["), "suite.yaml:")
        self.unreadable(self.suite(items=""), "items.jsonl")
        self.unreadable(self.suite(items=good + "{\n"), "items.jsonl:2")
        self.unreadable(self.suite(items=good + good), "items.jsonl:2", "1")
        self.unreadable(self.suite(items='{"id": "1", "answer": "fox"}\n'), "items.jsonl:1",
                        "question")
        self.unreadable(self.suite(lambda text: text + "tags: kinds\n", good.replace(
            "}", ', "kinds": "a"}')), "items.jsonl:1", "must be a list")
        self.unreadable(self.suite(lambda text: text + "canary: short\n"), "suite.yaml:9", "canary")
        self.unreadable(self.suite(lambda text: text + "examples:\n  answer: A\n  items:\n"
                                   "    - { answer: B }\n"), "suite.yaml:12", "question")
        self.unreadable(self.suite(items=b'{"id": "1", "question": "\xff", "answer": "x"}\n'),
                        "items.jsonl:1")

    def test_imports_that_cannot_be(self):
        for data, status in ((b"", 2), (b"{", 2), (b"\x1f\x8b broken", 1), (b"a,b\n1,2\n", 2)):
            path = self.directory / "input"
            path.write_bytes(data)
            done = run("suite", "import", path, "-o", self.directory / "made")
            self.assertEqual(done.returncode, status, f"{data!r}: {done.stdout}{done.stderr}")
            self.assertIn(str(path), done.stderr)
            self.assertFalse((self.directory / "made" / "suite.yaml").exists())


class Management(Case):
    def test_lists_and_objects(self):
        gate = self.gateway(self.sim(), product())
        gate.key("prod", "acme")
        self.assertRegex(gate.act("org", "list"), r"(?m)^acme\s+Acme\s")
        self.assertRegex(gate.act("grant", "list"), r"(?m)^prod\s+acme\s+active\s")
        self.assertRegex(gate.act("key", "list"), r"(?m)^\S+\s+acme\s+prod\s")
        self.assertEqual(json.loads(gate.act("org", "show", "acme"))["name"], "Acme")
        self.assertEqual(json.loads(gate.act("grant", "show", "prod"))["state"], "active")
        rows = json.loads(gate.act("grant", "list", "--json"))["grants"]
        self.assertEqual([row["id"] for row in rows], ["prod"])
        json.loads(gate.act("suite", "list", "--json"))

    def test_what_is_not_there(self):
        gate = self.gateway(self.sim(), product())
        for words in (("org", "show", "nobody"), ("org", "block", "nobody"),
                      ("grant", "show", "none"), ("grant", "revoke", "none"),
                      ("key", "revoke", "none")):
            done = gate.run(*words)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(words[2], done.stderr)

    def test_a_key_is_shown_once_and_alone(self):
        gate = self.gateway(self.sim(), product())
        done = gate.run("key", "issue", "--org", "acme", "--grant", "prod")
        self.assertRegex(done.stdout, r"\Aplk_\S+\n\Z")
        self.assertNotIn(done.stdout.strip(), gate.act("key", "list", "--json"))


if __name__ == "__main__":
    main()
