"""The scorer `program`: right and wrong scores, everything such a program can do wrong, what it is
given and what it cannot reach, and who never runs it."""

import hashlib
import json
import os
import shutil
import subprocess

from parley_test import PARLEY, Case, main, run, wait_until
from test_publishing import reseal

YAML = """name: judged
version: 1
licence: Apache-2.0
kind: qa
template: "{{question}}"
canary: 5d7c6d0e-57c3-4f4f-8f42-6f4e1c0a9f7b
scorer: { kind: program, command: [ "./score.py", "--strict" ], target: "{{answer}}", how: "{{how}}", timeout_seconds: 1 }
"""

PROGRAM = r"""#!/usr/bin/python3
import json, os, socket, sys

def surroundings(ask):
    assert sys.argv[1:] == ["--strict"], sys.argv
    assert set(ask) == {"answer", "target", "how"}, ask
    assert dict(os.environ) == {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
                                "HOME": "/nonexistent"} or set(os.environ) == {
        "PATH", "LANG", "HOME", "LC_CTYPE"}, os.environ
    for number in range(4, 64):  # 3 is a pipe that nobody reads
        try:
            os.fstat(number)
        except OSError:
            continue
        raise AssertionError(f"descriptor {number}")
    assert os.stat(".").st_mode & 0o007 == 0  # other users of the machine have no business here
    assert sorted(os.listdir(".")) == ["items.jsonl", "score.py", "suite.yaml"]
    for act in (lambda: open("score.py", "a"), lambda: open("mine", "w"),
                lambda: socket.create_connection(("127.0.0.1", 9), 1), lambda: os.listdir("/root"),
                lambda: os.listdir("/proc"), lambda: os.listdir("/home")):
        try:
            act()
        except OSError:
            continue
        raise AssertionError("the world can be reached")
    open("/tmp/mine", "w").write("its own")

line = sys.stdin.readline()
ask = json.loads(line)
assert sys.stdin.read() == ""
how = ask["how"]
if how == "compare":
    score = {"fox": 1, "half a fox": 0.5}.get(ask["answer"], 0)
    print(json.dumps({"score": score, "explanation": f"{ask['answer']} for {ask['target']}"}))
elif how == "bare":
    print('{"score": 1}')
elif how == "surroundings":
    surroundings(ask)
    print('{"score": 1}')
elif how == "crash":
    raise KeyError("deliberate")
elif how == "status":
    print('{"score": 1}')
    sys.exit(3)
elif how == "endless":
    while True:
        print("x" * 1000)
elif how == "complaints":
    while True:
        print("x" * 1000, file=sys.stderr)
elif how == "spin":
    while True:
        pass
elif how == "two":
    print('{"score": 1}\n{"score": 0}')
else:
    print({"silent": "", "text": "yes", "list": "[1]", "high": '{"score": 1.01}',
           "low": '{"score": -0.5}', "words": '{"score": "1"}', "flag": '{"score": true}',
           "nan": '{"score": NaN}', "none": '{"explanation": "x"}', "twice": '{"score": 0, "score": 1}',
           "more": '{"score": 1, "grade": 1}', "mumble": '{"score": 1, "explanation": 7}'}[how])
"""

# how, answer: score, or what the failure's explanation says.
CASES = [("compare", "fox", 1), ("compare", "owl", 0), ("compare", "half a fox", 0.5),
         ("compare", "f\u00f6x \"quoted\"\nand a line", 0),
         ("bare", "fox", 1), ("surroundings", "fox", 1),
         ("crash", "fox", "status 1: KeyError: 'deliberate'"), ("status", "fox", "status 3"),
         ("endless", "fox", "output limit"), ("complaints", "fox", "output limit"),
         ("spin", "fox", "met its end"), ("two", "fox", "more than one line"),
         ("silent", "fox", "said nothing"), ("text", "fox", "did not say"), ("list", "fox", "did not say"),
         ("high", "fox", "no score from 0 to 1"), ("low", "fox", "no score from 0 to 1"),
         ("words", "fox", "no score from 0 to 1"), ("flag", "fox", "no score from 0 to 1"),
         ("nan", "fox", "did not say"), ("none", "fox", "no score from 0 to 1"),
         ("twice", "fox", "did not say"), ("more", "fox", "did not say"), ("mumble", "fox", "did not say")]


class Programs(Case):
    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o755)  # root's sandbox reads it as nobody
        self.scratch = self.directory / "scratch"
        self.scratch.mkdir(mode=0o755)
        os.environ["TMPDIR"] = str(self.scratch)
        self.addCleanup(os.environ.pop, "TMPDIR")
        self.folder = self.directory / "judged"
        self.folder.mkdir(mode=0o755)
        self.folder.joinpath("suite.yaml").write_text(YAML)
        self.program = self.folder / "score.py"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.out = self.directory / "out"

    def items(self, cases, **more):
        self.folder.joinpath("items.jsonl").write_text("".join(json.dumps(
            {"id": str(number), "question": f"Question {number}?", "answer": "fox", "how": case[0],
             "canary": "5d7c6d0e-57c3-4f4f-8f42-6f4e1c0a9f7b", **more}) + "\n"
            for number, case in enumerate(cases)))
        stored = self.directory / "stored.jsonl"
        stored.write_text("".join(json.dumps(
            {"prompt": f"Question {number}?", "answers": [case[1]]}) + "\n"
            for number, case in enumerate(cases)))
        return stored

    def bench(self, stored, status=0):
        done = run("bench", "run", "--suite", self.folder, "--model", f"m=replay@{stored}", "-o", self.out)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_scores_and_failures(self):
        self.bench(self.items(CASES))
        lines = [json.loads(line) for line in
                 (self.out / "bundle" / "scores.jsonl").read_text().splitlines()]
        by_item = {line["item"]: line for line in lines}
        self.assertEqual(len(lines), len(CASES))
        for number, (how, answer, expected) in enumerate(CASES):
            line = by_item[str(number)]
            with self.subTest(how=how, answer=answer, line=line):
                self.assertEqual(line.get("failed", False), isinstance(expected, str))
                if isinstance(expected, str):
                    self.assertEqual(line["score"], 0)
                    self.assertIn(expected, line["explanation"])
                else:
                    self.assertEqual(line["score"], expected)
        self.assertEqual(by_item["0"]["explanation"], "fox for fox")
        summary = json.loads((self.out / "summary.json").read_text())
        result = summary["results"][0]
        failed = sum(isinstance(case[2], str) for case in CASES)
        self.assertEqual((result["n"], result["failed"]), (len(CASES), failed))
        self.assertEqual((summary["complete"], summary["samples"]["failed"]), (True, failed))
        self.assertAlmostEqual(result["value"], 3.5 / len(CASES))
        for more, told in (((), f"{len(CASES)} answers were scored by a program of its own, SHA-256 "
                                f"{self.digest()} as in the plan, which was not run again"),
                           (("--rerun",), f"{len(CASES)} answers scored again by a program of its own, SHA-256 "
                                          f"{self.digest()} as in the plan, in the sandbox")):
            verified = run("verify", self.out / "bundle", *more)
            self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
            self.assertIn(told, verified.stdout)
            self.assertEqual("are the evaluator's word" in verified.stdout, not more)
            self.assertIn(f"{failed} answers could not be graded", verified.stdout)
        self.assertEqual(self.copies(), [])

    def digest(self):
        """As docs/formats/suite.md has it."""
        lines = subprocess.run(
            "find * -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum", shell=True, cwd=self.folder,
            check=True, capture_output=True).stdout
        return hashlib.sha256(lines).hexdigest()

    def copies(self):
        return [path.name for path in self.scratch.glob("parley-program-*")]

    def verify(self, bundle, status, *more):
        done = run("verify", bundle, *more)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def test_the_plan_commits_to_the_program(self):
        """What is beside the program counts as well; what the bundle holds is checked before it is run, and
        what it says is held against the scores."""
        (self.folder / "data" / "deep").mkdir(parents=True)
        (self.folder / "data" / "deep" / "words.txt").write_text("fox 1\nowl 0.25\n")
        (self.folder / ".git").mkdir()
        (self.folder / ".git" / "config").write_text("not given to it")
        self.program.write_text("#!/usr/bin/python3\nimport json, sys, os\n"
                                "assert not os.path.exists('.git')\n"
                                "words = dict(line.split() for line in open('data/deep/words.txt'))\n"
                                "print(json.dumps({'score': float(words[json.load(sys.stdin)['answer']])}))\n")
        self.bench(self.items([("-", "fox"), ("-", "owl")]))
        shutil.rmtree(self.folder / ".git")
        bundle = self.out / "bundle"
        plan = json.loads((bundle / "plan.json").read_text())
        self.assertEqual(plan["suites"][0]["program"], self.digest())
        told = self.verify(bundle, 0, "--rerun")
        self.assertIn(f"2 answers scored again by a program of its own, SHA-256 {self.digest()}", told)
        self.assertIn("CONSISTENT, SELF-CERTIFIED", told)

        shown = self.directory / "shown"
        done = run("bench", "report", self.out, "--publish", "-o", shown)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2 answers scored again", self.verify(shown, 0, "--rerun"))

        words = bundle / "suite" / "judged" / "data" / "deep" / "words.txt"
        whole = words.read_text()
        words.write_text("fox 1\nowl 1\n")
        reseal(bundle)
        for more in ((), ("--rerun",)):
            told = self.verify(bundle, 1, *more)
            self.assertIn("FALSE", told)
            self.assertIn("the program or a file beside it was altered", told)
        words.write_text(whole)

        scores = (bundle / "scores.jsonl").read_text()
        (bundle / "scores.jsonl").write_text(scores.replace('"score":0.25', '"score":1'))
        reseal(bundle)
        told = self.verify(bundle, 1, "--rerun")
        self.assertIn("the score is 1, asked again the suite's program says 0.25", told)
        (bundle / "scores.jsonl").write_text(scores)

        for path in (words, bundle / "suite" / "judged" / "score.py"):
            path.unlink()
        words.parent.rmdir()
        words.parent.parent.rmdir()
        reseal(bundle)
        told = self.verify(bundle, 0, "--rerun")
        self.assertIn(f"SHA-256 {self.digest()} in the plan, which is not in the bundle", told)
        self.assertEqual(self.copies(), [])

    def test_a_copy_that_kill_9_leaves_is_removed_by_the_next_run_and_no_other(self):
        slow = self.items([("spin", "fox")] * 40)
        arguments = ("bench", "run", "--suite", self.folder, "--model", f"m=replay@{slow}", "-o")
        killed, other = (subprocess.Popen([PARLEY, *map(str, arguments), str(self.directory / name)],
                                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                         for name in ("killed", "other"))
        try:
            for name in ("killed", "other"):
                wait_until(lambda: (self.directory / name / "journal.jsonl").exists(), f"{name} began")
            self.assertEqual(len(self.copies()), 2)
            killed.kill()
            killed.wait()
            self.assertEqual(len(self.copies()), 2)
            (self.scratch / "parley-program-abcdef").write_text("a file of somebody else's")
            self.bench(self.items([("bare", "fox")]))
            copies = self.copies()
            self.assertIn("parley-program-abcdef", copies)
            self.assertEqual(len(copies), 2)
            self.assertIsNone(other.poll())
        finally:
            killed.kill()
            other.terminate()
            other.wait()
            killed.wait()
        self.assertEqual(self.copies(), ["parley-program-abcdef"])

    def test_links_bring_nothing_into_the_bundle(self):
        stored = self.items(CASES[:1])
        (self.directory / "private").mkdir()
        (self.directory / "private" / "key").write_text("secret")
        for target in ("private/key", "private", "nowhere"):
            (self.folder / "link").symlink_to(self.directory / target)
            with self.subTest(target=target):
                self.assertIn("link is a link or no plain file", self.bench(stored, status=2))
                self.assertFalse((self.out / "bundle").exists())
            (self.folder / "link").unlink()
        self.assertEqual(self.copies(), [])

    def test_a_run_goes_on_with_its_program_or_not_at_all(self):
        self.bench(self.items([("bare", "fox"), ("bare", "fox")]))
        shutil.rmtree(self.folder)
        journal = self.out / "journal.jsonl"
        lines = journal.read_text().splitlines(True)
        last = max(n for n, line in enumerate(lines) if line.startswith('{"event":"score"'))
        journal.write_text("".join(lines[:last]))
        self.assertEqual(run("bench", "resume", self.out).returncode, 0)
        self.assertEqual(len((self.out / "bundle" / "scores.jsonl").read_text().splitlines()), 2)
        journal.write_text("".join(lines[:last]))
        with (self.out / "bundle" / "suite" / "judged" / "score.py").open("a") as program:
            program.write("# kinder\n")
        done = run("bench", "resume", self.out)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("was changed since the run began", done.stderr)
        self.assertEqual(self.copies(), [])

    def test_a_program_that_cannot_start_ends_the_run_before_it_begins(self):
        stored = self.items(CASES[:1])
        self.program.chmod(0o644)
        self.assertIn("chmod +x", self.bench(stored, status=3))
        self.program.unlink()
        told = self.bench(stored, status=3)
        self.assertIn("score.py", told)
        self.assertIn("No such file", told)
        self.program.mkdir()
        self.assertIn("cannot be executed", self.bench(stored, status=3))
        self.assertFalse((self.out / "bundle").exists())

    def test_a_missing_interpreter_is_a_failure_of_the_item(self):
        self.program.write_text("#!/usr/bin/no-such-interpreter\n")
        self.bench(self.items(CASES[:1]))
        line = json.loads((self.out / "bundle" / "scores.jsonl").read_text())
        self.assertTrue(line["failed"])
        self.assertIn("ended with status 127", line["explanation"])

    def test_commands_lead_out_of_no_folder(self):
        stored = self.items(CASES[:1])
        for command in ('[ "/usr/bin/true" ]', '[ "./../score.py" ]', '[ "./x/.." ]', '[ "score.py" ]',
                        '[ "./" ]', "[ ]", "./score.py", "[ 7 ]"):
            (self.folder / "suite.yaml").write_text(
                YAML.replace('[ "./score.py", "--strict" ]', command))
            with self.subTest(command=command):
                done = run("bench", "run", "--suite", self.folder, "--model", f"m=replay@{stored}",
                           "-o", self.out)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("command", done.stderr)

    def test_a_check_of_the_suite_does_not_run_it(self):
        """The reference would be scored 0, and wrong answers 1."""
        self.items([("compare", "fox")], reference="owl", wrong=["fox", "fox", "fox"])
        done = run("suite", "check", self.folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    main()
