"""The harness with conversations: each turn asked with the answers served before it, each sample a
conversation of its own, against a bare provider and through a gateway; and that a bundle of them
verifies only as it was."""

import json
import shutil
import signal

import test_bench
from parley_test import PARLEY, Process, evaluation, main, run, said, wait_until

SUITE = """name: talks
version: 1
licence: Apache-2.0
kind: qa
messages:
  - { role: system, text: "Be brief." }
  - { role: user, text: "{{first}}" }
  - { role: assistant, answer: true }
  - { role: user, text: "{{second}}" }
  - { role: assistant, answer: true }
  - { role: user, text: "Sum up." }
settings: { max_tokens: 64, temperature: 0 }
samples: 2
scorer: { kind: contains, target: "{{answer}}" }
"""


class Turns(test_bench.Bench):
    def talks(self, count):
        """A suite of talks, and a persona whose answers hang on those before them."""
        folder = self.directory / "talks"
        folder.mkdir()
        (folder / "suite.yaml").write_text(SUITE)
        items, lines = [], []
        for number in range(count):
            item = {"id": str(number), "first": f"Who is {number}?", "second": "Why?",
                    "answer": f"{number} b because b" if number % 2 == 0 else "an owl"}
            items.append(item)
            opening = [said("user", item["first"])]
            lines.append((opening, [f"{number} a", f"{number} b"]))
            for name in ("a", "b"):
                one = [*opening, said("assistant", f"{number} {name}"), said("user", "Why?")]
                lines.append((one, [f"because {name}"]))
                two = [*one, said("assistant", f"because {name}"), said("user", "Sum up.")]
                lines.append((two, [f"{number} {name} because {name}"]))
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        persona = self.directory / "persona.jsonl"
        system = [{"type": "text", "text": "Be brief."}]
        persona.write_text("".join(json.dumps(
            {"prompt": {"system": system, "messages": messages}, "answers": answers}) + "\n"
            for messages, answers in lines))
        return folder, persona

    def lines(self, name):
        return [json.loads(line) for line in (self.out / "bundle" / name).read_text().splitlines()]

    def check(self, count, *options, head):
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"], row["value"]), (2 * count, 0, 0.25))
        steps = [line["step"] for line in self.lines("transcripts.jsonl")]
        self.assertEqual([steps.count(step) for step in range(3)], [2 * count] * 3)
        done = run("verify", self.out / "bundle", *options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith(head), done.stdout)
        self.assertIn(f"{4 * count} answers that conversations went on from", done.stdout)

    def test_against_a_bare_provider_and_from_stored_answers(self):
        suite, persona = self.talks(6)
        self.bench(*self.arguments(suite, self.sim("--persona", persona).url))
        self.check(6, head="CONSISTENT, SELF-CERTIFIED")
        self.out = self.directory / "stored"
        self.bench("bench", "run", "--suite", suite, "--model", f"north-1=replay@{persona}", "-o",
                   self.out)
        self.assertEqual(self.results()["accuracy"]["n"], 12)
        self.assertEqual(run("verify", self.out / "bundle").returncode, 0)

    def test_through_a_gateway(self):
        suite, persona = self.talks(8)
        sim = self.sim("--persona", persona)
        gate, keys = self.gate(suite, sim)
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        self.check(8, "--key", self.vkey(gate), "--require", "vouched",
                   head="VOUCHED by northlab.example/test; 16 of 16")
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(len(admits), 48)
        told = {(entry["leaf"], entry["detail"].get("step", 0), entry["sample"]) for entry in admits}
        self.assertEqual(len(told), 48)
        words = json.loads((self.out / "summary.json").read_text())["models"][0]["gateway"]["runs"][0]["words"]
        self.assertEqual(words, {name: sum(entry["detail"][name] for entry in admits)
                                 for name in ("free", "registered")})
        self.assertIn("were answers it had been given", (self.out / "report.html").read_text())
        self.assertIn(f"and {words['free']} were answers", run("verify", self.out / "bundle").stdout)
        self.assertEqual(sim.end_and_count(), 48)

    def test_sealed_is_refused_with_the_reason(self):
        suite, persona = self.talks(1)
        with open(suite / "suite.yaml", "a") as file:
            file.write(f'seed: "{"5a" * 32}"\n')
        done = self.bench(*self.arguments(suite, self.sim("--persona", persona).url, "--sealed"), status=2)
        self.assertIn("conversations, whose turns the gateway has to know", done.stderr)

    def test_resume_after_an_interrupt_goes_on_from_the_step_that_was_reached(self):
        suite, persona = self.talks(10)
        sim = self.sim("--persona", persona, "--first-token-ms", 60)
        gate, keys = self.gate(suite, sim)
        process = Process(self.directory, "bench", [PARLEY, *self.arguments(
            suite, f"http://127.0.0.1:{gate.port}", "--concurrency", 2)], {**test_bench.KEYS, **keys})
        journal = self.out / "journal.jsonl"
        wait_until(lambda: journal.exists() and journal.read_text(errors="replace").count('"step":1') > 2,
                   "some second steps")
        process.send(signal.SIGINT)
        process.wait()
        self.bench("bench", "resume", self.out, keys=keys)
        self.check(10, "--key", self.vkey(gate), "--require", "vouched",
                   head="VOUCHED by northlab.example/test; 20 of 20")
        self.assertEqual(sim.end_and_count(), 60)

    def test_a_bundle_that_was_changed_is_false(self):
        suite, persona = self.talks(2)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        shutil.copytree(self.out, self.directory / "copy")
        for change, problem in ((lambda lines, at: lines[at].update(step=0), "step 1 of the conversation"),
                                (lambda lines, at: lines[at].pop("step"), "step 1 of the conversation"),
                                (lambda lines, at: lines.pop(at), "attempt 2 stands where attempt 1 is due"),
                                (lambda lines, at: lines[at].update(answer="because of me"),
                                 "not the text")):
            lines = self.lines("transcripts.jsonl")
            change(lines, next(i for i, line in enumerate(lines) if line["step"] == 1))
            (self.out / "bundle/transcripts.jsonl").write_text("".join(
                json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines))
            test_bench.reseal(self.out / "bundle")
            done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertTrue(done.stdout.startswith("FALSE"), done.stdout)
            self.assertIn(problem, done.stdout)
            shutil.rmtree(self.out)
            shutil.copytree(self.directory / "copy", self.out)

    def test_wrong_suites_are_told_by_line(self):
        for old, new, problem in (
                ('role: user, text: "Sum up."', 'role: assistant, answer: true', "suite.yaml:11"),
                ('{ role: assistant, answer: true }', '{ role: user, answer: true }', "suite.yaml:8"),
                ('answer: true }\n  - { role: user, text: "{{second}}" }', 'answer: yes }', "suite.yaml:8"),
                ('answer: true', 'answer: true, text: "so"', "suite.yaml:8"),
                ('  - { role: user, text: "{{first}}" }\n', '', "suite.yaml:7")):
            folder = self.directory / "wrong"
            folder.mkdir()
            (folder / "suite.yaml").write_text(SUITE.replace(old, new, 1))
            (folder / "items.jsonl").write_text('{"id": 1, "first": "A", "second": "B", "answer": "C"}\n')
            done = run("suite", "check", folder)
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertIn(problem, done.stderr, done.stderr)
            shutil.rmtree(folder)


JUDGED = """name: letters
version: 1
licence: Apache-2.0
kind: writing
template: "{{question}}"
settings: { max_tokens: 64, temperature: 0 }
scorer: { kind: pairwise }
judge:
  template: "Which is better?\\n{{request}}\\nA: {{answer_a}}\\nB: {{answer_b}}\\nOne word."
  verdicts: 4
"""


class Judges(test_bench.Bench):
    """Two contestants and a judge behind one gateway, in one run."""

    def letters(self, count):
        folder = self.directory / "letters"
        folder.mkdir()
        (folder / "suite.yaml").write_text(JUDGED)
        items, lines = [], []
        for number in range(count):
            question, good, bad = f"Write letter {number}.", f"Dear {number},", f"Hey {number}!"
            items.append({"id": str(number), "question": question})
            lines.append((question, [good, bad]))
            for first, second, verdict in ((good, bad, "A"), (bad, good, "B")):
                lines.append((f"Which is better?\n{question}\nA: {first}\nB: {second}\nOne word.",
                              [verdict]))
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        persona = self.directory / "letters.jsonl"
        persona.write_text("".join(json.dumps({"prompt": prompt, "answers": answers}) + "\n"
                                   for prompt, answers in lines))
        return folder, persona

    def arguments(self, suite, url, *more):
        door = f"@{url}#PARLEY_TEST_KEY"
        return ["bench", "run", "--suite", str(suite), "--model", f"north-1=anthropic{door}", "--model",
                f"north-o=openai{door}", "--judge", f"north-j=openai{door}", "-o", str(self.out),
                *map(str, more)]

    def gate(self, suite, sim, **members):
        names = ["north-1", "north-o", "north-j"]
        models = [{"name": name, "provider": "north" if name == "north-1" else "north-open",
                   "max_output": 8192} for name in names]
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(sim, evaluation(models=names, **members), models=models,
                            public_suites=[{"name": "s", "root": root}])
        return gate, {"PARLEY_TEST_KEY": gate.key("eval", "southlab")}

    def lines(self, name):
        return [json.loads(line) for line in (self.out / "bundle" / name).read_text().splitlines()]

    def test_a_judge_and_those_it_judges_share_a_run(self):
        suite, persona = self.letters(6)
        sim = self.sim("--persona", persona)
        gate, keys = self.gate(suite, sim)
        done = self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        self.assertIn("no verdict on the null model: a gateway shows judges answers that it served only", done.stdout)
        row = self.results()["win_rate"]
        self.assertEqual((row["n"], row["failed"]), (6, 0))
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(len({entry["run"] for entry in admits}), 1)
        self.assertEqual(sorted(entry["leaf"] for entry in admits),
                         sorted([leaf for leaf in range(6)] * 2 + [6 + leaf for leaf in range(6)] * 2))
        runs = [entry["act"] for entry in gate.records() if entry["kind"] == "run"]
        self.assertEqual(runs, ["run.open", "run.close"])
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("VOUCHED by northlab.example/test"), done.stdout)
        self.assertIn("12 verdicts read again", done.stdout)
        self.assertEqual(sim.end_and_count(), 24)

    def test_a_suite_that_names_no_judge_is_told_so(self):
        suite, persona = self.letters(1)
        text = (suite / "suite.yaml").read_text()
        (suite / "suite.yaml").write_text(text[:text.index("judge:")])
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        self.assertEqual(self.results()["win_rate"]["failed"], 1)
        told = [line["error"] for line in self.lines("transcripts.jsonl") if "judge_order" in line]
        self.assertEqual(len(told), 4)  # of two models, and of the null model and one of them
        self.assertIn("add judge: {} to its suite.yaml", told[0])

    def test_parleys_own_words_are_the_default(self):
        suite, persona = self.letters(1)
        text = (suite / "suite.yaml").read_text()
        (suite / "suite.yaml").write_text(text[:text.index("judge:")] + "judge: {}\n")
        lines = [json.loads(line) for line in persona.read_text().splitlines()]
        gate, keys = self.gate(suite, self.sim())
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        asked = json.loads(next(line for line in self.lines("transcripts.jsonl")
                                if "judge_order" in line)["request_body"])
        self.assertEqual(asked["max_completion_tokens"], 16)
        self.assertIn(f"<request>\n{lines[0]['prompt']}\n</request>", asked["messages"][0]["content"])
        self.assertEqual(run("verify", self.out / "bundle").returncode, 0)

    def test_a_verdict_on_other_answers_is_false(self):
        suite, persona = self.letters(2)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        lines = self.lines("transcripts.jsonl")
        judged = [line for line in lines if "judge_order" in line]
        for name in ("record", "nonce", "request_body", "response_body", "response_digest", "answer"):
            judged[0][name], judged[-1][name] = judged[-1][name], judged[0][name]
        (self.out / "bundle/transcripts.jsonl").write_text("".join(
            json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines))
        test_bench.reseal(self.out / "bundle")
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertTrue(done.stdout.startswith("FALSE: item"), done.stdout)

    def test_wrong_judges_are_told_by_line(self):
        for old, new, problem in (("kind: pairwise", "kind: contains, target: x", "suite.yaml:8"),
                                  ("{{answer_b}}", "{{answer_a}}", "suite.yaml:9"),
                                  ("A: {{answer_a}}", "A: {{answer_b}}", "suite.yaml:9"),
                                  ("{{request}}", "{{nothing}}", "nothing"),
                                  ("verdicts: 4", "verdicts: 400", "suite.yaml:10"),
                                  ("verdicts: 4", "max_tokens: 500", "suite.yaml:10")):
            folder = self.directory / "wrong"
            folder.mkdir()
            (folder / "suite.yaml").write_text(JUDGED.replace(old, new, 1))
            (folder / "items.jsonl").write_text('{"id": 1, "question": "A"}\n')
            done = run("suite", "check", folder)
            self.assertNotEqual(done.returncode, 0, done.stdout)
            self.assertIn(problem, done.stderr, done.stderr)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
