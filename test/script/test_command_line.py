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
        for name in ("coding", "writing", "safety"):
            done = run("suite", "check", SOURCE / "suites" / name)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(" 0 with the words of another", done.stdout)
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

    def test_a_sound_suite(self):
        done = run("suite", "check", self.suite())
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_unreadable_suites_are_told_by_file_and_line(self):
        good = '{"id": "1", "question": "What?", "answer": "fox"}\n'
        self.unreadable(self.directory / "nowhere", "suite.yaml")
        self.unreadable(self.suite(lambda text: text.replace("kind: qa", "kind: magic")),
                        "suite.yaml:4", "kind")
        self.unreadable(self.suite(lambda text: text + "surprise: 1\n"), "suite.yaml:9", "surprise")
        self.unreadable(self.suite(lambda text: "name: ["), "suite.yaml:")
        self.unreadable(self.suite(items=""), "items.jsonl")
        self.unreadable(self.suite(items=good + "{\n"), "items.jsonl:2")
        self.unreadable(self.suite(items=good + good), "items.jsonl:2", "1")
        self.unreadable(self.suite(items='{"id": "1", "answer": "fox"}\n'), "items.jsonl:1",
                        "question")
        self.unreadable(self.suite(items=b'{"id": "1", "question": "\xff", "answer": "x"}\n'),
                        "items.jsonl:1")

    def test_imports_that_cannot_be(self):
        for data in (b"", b"{", b"\x1f\x8b broken", b"a,b\n1,2\n"):
            path = self.directory / "input"
            path.write_bytes(data)
            done = run("suite", "import", path, "-o", self.directory / "made")
            self.assertEqual(done.returncode, 1, f"{data!r}: {done.stdout}{done.stderr}")
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
