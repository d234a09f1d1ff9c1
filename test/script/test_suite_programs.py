"""The scorer `program`: right and wrong scores, everything such a program can do wrong, what it is
given and what it cannot reach, and who never runs it."""

import json
import os

from parley_test import Case, main, run

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
        for more in ((), ("--rerun",)):
            verified = run("verify", self.out / "bundle", *more)
            self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
            self.assertIn(f"{len(CASES)} answers were scored by a program of the suite's own", verified.stdout)
            self.assertIn("their scores are the evaluator's word", verified.stdout)
            self.assertIn(f"{failed} answers could not be graded", verified.stdout)

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
