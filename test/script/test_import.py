"""`parley suite import`: data sets and other harnesses' logs become suites that grade as they did.

Every format gets a small file made here after its published description; where it holds answers, a run
of the suite against the transcript must score them. Published files are counted where they are there.
"""

import csv
import gzip
import io
import json
import os
import unittest
from pathlib import Path

from parley_test import SOURCE, Case, main, run
from test_harness_logs import archive

DATA = Path(os.environ.get("PARLEY_DATA", SOURCE.parent / "shared" / "data"))


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(*rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


class Imports(Case):
    def write(self, name, content):
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def suite(self, name, content, *options, expect=None):
        """Imports a file; the suite's folder, its items by id and what was printed."""
        folder = self.directory / (name.replace(".", "-") + "-suite")
        done = run("suite", "import", self.write(name, content), "-o", folder, "--json", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        if expect:
            self.assertEqual(told["format"], expect)
        checked = run("suite", "digest", folder)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        text = (folder / "items.jsonl").read_text(encoding="utf-8")
        items = [json.loads(line) for line in text.split("\n") if line]
        return folder, {item["id"]: item for item in items}, told, done.stderr

    def refused(self, name, content, *words, options=(), status=2):
        folder = self.directory / "refused"
        done = run("suite", "import", self.write(name, content), "-o", folder, *options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertFalse(folder.exists())

    def scores(self, folder, transcript=None):
        """A run against the transcript: {item: score of the first sample}."""
        out = self.directory / f"{folder.name}-out-{transcript.name if transcript else ''}"
        model = f"m=replay@{transcript or folder / 'transcript.jsonl'}"
        done = run("bench", "run", "--suite", folder, "--model", model, "-o", out, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        rows = map(json.loads, (out / "bundle" / "scores.jsonl").read_text().splitlines())
        self.assertEqual(run("verify", out / "bundle").returncode, 0)
        return {row["item"]: row["score"] for row in rows if row["sample"] == 0}

    # ---- code ----

    def evalplus(self):
        """Tasks as Python's json writes them: large integers and infinities among the inputs."""
        def task(number, name, prompt, solution, base, plus, **more):
            return {"task_id": f"Mbpp/{number}", "prompt": prompt, "entry_point": name,
                    "canonical_solution": solution, "base_input": base, "plus_input": plus,
                    "atol": 0, **more}
        return (
            task(1, "add", "'''Adds.'''", "\ndef add(a, b):\n    return a + b\n",
                 [[1, 2], [10 ** 40, 1]], [[0.5, float("inf")], [-1, 1]],
                 assertion="assert add(2, 2) == 4\nassert add(1, 1) == 2"),
            task(2, "similar_elements", "'''Common ones.'''",
                 "\ndef similar_elements(a, b):\n    return tuple(set(a) & set(b))\n",
                 [[["x", "y", "z"], ["z", "y"]]], [[[], []]], assertion=""),
            task(3, "first_seen", "'''First of pairs.'''",
                 "\ndef first_seen(pairs):\n    return {pair: 1 for pair in pairs}[pairs[0]]\n",
                 [[[[1, 2], [3, 4]]]], {}),
            task(4, "half", "'''Halves.'''", "\ndef half(x):\n    return x / 3 * 1.5\n",
                 [[3], [1e300], ["no number"]], [[7]]))

    def persona(self, folder, items, answers):
        template = "\n".join(line[2:] for line in (folder / "suite.yaml").read_text().split("\n")
                             if line.startswith("  ") or line == "").strip("\n")
        template = template.split("kind: code")[0].rsplit("```", 1)[0] + "```"
        rows = [{"prompt": template.replace("{{prompt}}", item["prompt"])
                 .replace("{{example}}", item["example"]), "answers": [f"```python\n{code}\n```"]}
                for item, code in ((items[key], code) for key, code in answers.items())]
        return self.write(f"persona-{len(list(self.directory.iterdir()))}.jsonl", lines(*rows))

    def test_evalplus(self):
        tasks = self.evalplus()
        folder, items, _, _ = self.suite("plus.jsonl", lines(*tasks), expect="evalplus")
        self.assertEqual(items["Mbpp/1"]["example"], "assert add(2, 2) == 4")
        right = {task["task_id"]: task["canonical_solution"] for task in tasks}
        self.assertEqual(self.scores(folder, self.persona(folder, items, right)),
                         {task["task_id"]: 1 for task in tasks})
        wrong = {
            "Mbpp/1": "def add(a, b):\n    return a + b if b != 1 or a < 9 else a",  # one large input
            "Mbpp/2": "def similar_elements(a, b):\n    return tuple(set(b))[:1]",
            "Mbpp/3": "def first_seen(pairs):\n    return 2",
            "Mbpp/4": "def half(x):\n    return x // 2"}
        self.assertEqual(self.scores(folder, self.persona(folder, items, wrong)),
                         {task["task_id"]: 0 for task in tasks})

    def test_evalplus_refused(self):
        task = self.evalplus()[0]
        self.refused("no.jsonl", lines({**task, "base_input": 1}), "no.jsonl:1:", "must be lists")
        self.refused("no.jsonl", lines({**task, "base_input": [], "plus_input": []}), "no inputs")
        self.refused("no.jsonl", lines({**task, "entry_point": 3}), "no.jsonl:1:", "entry_point")
        self.refused("no.jsonl", lines(task)[:-30], "no.jsonl:1:")

    # ---- questions ----

    def test_truthfulqa(self):
        head = ("Type", "Category", "Question", "Best Answer", "Correct Answers",
                "Incorrect Answers", "Source")
        _, items, _, _ = self.suite("qa.csv", table(head, (
            "Adversarial", "Birds", "Do owls, say, bark?", "No", "No; They hoot",
            "Yes; At night; Yes;", "s")), expect="truthfulqa")
        item = items["1"]
        self.assertEqual(sorted(item["choices"]), ["At night", "No", "Yes"])
        self.assertEqual(item["choices"]["ABC".index(item["answer"])], "No")
        self.assertEqual(item["options"].split("\n")["ABC".index(item["answer"])],
                         item["answer"] + ". No")
        self.refused("no.csv", table(head, ("", "", "Q", "A", "", "", "")), "no.csv:2:")

    def test_mt_bench(self):
        folder, items, _, _ = self.suite("mt.jsonl", lines(
            {"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]},
            {"question_id": 82, "category": "math", "turns": ["Count."]}), expect="mt_bench")
        self.assertEqual([message.get("answer", message.get("text"))
                          for message in items["81"]["conversation"]["messages"]],
                         ["Write.", True, "Again."])
        self.assertIn("conversations of up to 2 answers", run("suite", "check", folder).stdout)
        self.refused("no.jsonl", lines({"question_id": 1, "category": "a", "turns": []}),
                     "no.jsonl:1:")

    def test_arena_hard(self):
        _, items, told, _ = self.suite("arena.jsonl", lines(
            {"uid": "a", "category": "c", "cluster": "k", "prompt": "One?"},
            {"uid": "b", "category": "c", "prompt": None, "withheld": True},
            {"uid": "d", "category": "c", "turns": [{"content": "Two?"}]}), expect="arena_hard")
        self.assertEqual({key: item["prompt"] for key, item in items.items()},
                         {"a": "One?", "d": "Two?"})
        self.assertEqual([items["a"]["cluster"], items["d"]["cluster"]], ["k", "d"])
        self.assertEqual(told["left_out"], 1)

    def test_ailuminate(self):
        head = ("release_prompt_id", "prompt_text", "hazard", "persona", "locale", "prompt_hash")
        folder, items, told, stderr = self.suite("lum.csv", table(
            head, ("p1", "(one)", "spc_hlt", "normal", "en_US", "0"),
            ("p2", "(two)", "cse", "normal", "en_US", "0")), expect="ailuminate")
        self.assertEqual(list(items), ["p1"])
        self.assertEqual((items["p1"]["hazard"], items["p1"]["hazard_group"]), ("spc", "spc_hlt"))
        self.assertIn('scorer: { kind: hazard, hazard: "{{hazard}}" }',
                      (folder / "suite.yaml").read_text())
        self.assertEqual(told["left_out"], 1)
        self.assertIn("cse is never asked", stderr)

    # ---- harnesses ----

    def inspect(self):
        chat = [{"role": "system", "content": "Be short."}, {"role": "user", "content": [
            {"type": "text", "text": "Two and two?"}]}]
        answer = {"role": "assistant", "content": "4"}
        log = {"version": 2, "eval": {"task": "pkg/sums_1", "model": "lab/one"},
               "results": {"scores": [{"name": "exact", "scorer": "exact"}]}}
        samples = [
            {"id": 1, "epoch": 1, "input": "Two and two?", "target": "4",
             "messages": chat + [answer], "output": {"completion": "4"},
             "scores": {"exact": {"value": float("nan")}}},
            {"id": 1, "epoch": 2, "input": "Two and two?", "target": "4",
             "messages": chat + [answer], "output": {"completion": "5"}},
            {"id": "b", "epoch": 1, "input": "Name a prime.", "target": ["2", "3"],
             "output": {"choices": [{"message": {"content": "3"}}]}},
            {"id": "c", "epoch": 1, "input": "Use tools.", "target": "x", "messages": [
                {"role": "user", "content": "Use tools."}, {"role": "tool", "content": "1"}, answer]},
            {"id": "d", "epoch": 1, "input": "No.", "target": "7", "output": {"completion": "8"}}]
        return log, samples

    def test_inspect(self):
        log, samples = self.inspect()
        entries = [("header.json", json.dumps(log).encode())] + [
            (f"samples/{s['id']}_epoch_{s['epoch']}.json", json.dumps(s).encode()) for s in samples]
        for name, content in (("log.json", json.dumps({**log, "samples": samples})),
                              ("log.eval", archive(entries))):
            folder, items, told, stderr = self.suite(name, content, expect="inspect")
            self.assertIn('name: "sums_1"\n', (folder / "suite.yaml").read_text())
            self.assertEqual(sorted(items), ["1", "b", "d"])
            self.assertEqual(items["1"]["prompt"]["system"], "Be short.")
            self.assertEqual((told["left_out"], told["transcript"]), (1, True))
            self.assertIn("sample c are not only text", stderr)
            self.assertEqual(self.scores(folder), {"1": 1, "b": 1, "d": 0})
        self.refused("no.eval", archive([("other.json", b"{}")]), "header.json is missing")
        self.refused("no.eval", archive(entries)[:-9], "no.eval", status=1)

    def test_lm_eval(self):
        def row(document, prompt, target, answer, settings={"until": ["\n"]}, **more):
            return {"doc_id": document, "doc": {"q": prompt}, "target": target,
                    "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": settings}},
                    "resps": [[answer]], "filtered_resps": [answer], "filter": "strict", **more}
        chat = json.dumps([{"role": "user", "content": "Capital of Peru?"}])
        rows = [row(0, "Q: 1+1?\nA:", "2", "It is 2."), row(1, chat, "Lima", "Quito"),
                {**row(0, "Q: 1+1?\nA:", "2", "It is 2."), "filter": "flexible"},
                row(2, "likely?", "x", 0.3, " x"), row(3, "Three?", 3, "3", acc=float("nan"))]
        folder, items, told, stderr = self.suite("samples_sums_2026-01-01T00-00-00.jsonl",
                                                 lines(*rows), expect="lm_eval")
        self.assertIn('name: "sums"\n', (folder / "suite.yaml").read_text())
        self.assertEqual(items["1"]["prompt"]["messages"], [{"role": "user", "text": "Capital of Peru?"}])
        self.assertEqual(told["left_out"], 1)
        self.assertIn("compares log-probabilities", stderr)
        self.assertEqual(self.scores(folder), {"0": 1, "1": 0, "3": 1})

    def test_helm(self):
        def state(number, prompt, right, answer):
            return {"instance": {"id": f"id{number}", "input": {"text": prompt}, "references": [
                {"output": {"text": right}, "tags": ["correct"]},
                {"output": {"text": "Mars"}, "tags": []}]},
                "output_mapping": {"A": "Mars", "B": right},
                "request": {"prompt": prompt},
                "result": {"completions": [{"text": answer, "logprob": 0, "tokens": []}]}}
        folder, items, _, _ = self.suite("scenario_state.json", json.dumps({
            "adapter_spec": {"method": "multiple_choice_joint"},
            "request_states": [state(1, "Largest? A. Mars B. Sun", "Sun", " B"),
                               state(2, "Hottest? A. Mars B. Sun", "Sun", "A")]}), expect="helm")
        self.assertEqual(items["id1"]["target"], ["B"])
        self.assertEqual(self.scores(folder), {"id1": 1, "id2": 0})

    def test_promptfoo(self):
        config = """
description: a set
prompts:
  - "Name {{thing}}."
  - '[{"role": "system", "content": "Short."}, {"role": "user", "content": "Name {{ thing }}!"}]'
providers: [openai:gpt-4]
defaultTest:
  assert: [{ type: not-contains, value: "as an AI" }]
tests:
  - vars: { thing: a fox }
    assert: [{ type: icontains, value: "FOX (red)" }, { type: regex, value: "\\\\d+$" }]
  - vars: { thing: a tree }
    assert: [{ type: contains-all, value: [oak, "{{thing}}"] }]
  - vars: { thing: a stone }
    assert: [{ type: equals, value: Granite }, { type: not-contains-any, value: [x, y] }]
  - vars: { thing: a judge }
    assert: [{ type: llm-rubric, value: is kind }]
  - vars: { thing: [a, b] }
    assert: [{ type: contains, value: a }]
"""
        folder, items, told, stderr = self.suite("promptfooconfig.yaml", config, expect="promptfoo")
        self.assertEqual(sorted(items), ["1-1", "1-2", "1-3", "2-1", "2-2", "2-3"])
        self.assertEqual(told["left_out"], 4)
        self.assertIn("test 1-4 has an assertion", stderr)
        self.assertEqual(items["2-2"]["prompt"]["system"], "Short.")
        answers = {"1-1": "A Fox (Red) 12", "1-2": "oak is a tree", "1-3": "Granite",
                   "2-1": "A fox red 12", "2-2": "oak", "2-3": "Granite, y"}
        persona = self.write("answers.jsonl", lines(*(
            {"prompt": items[key]["prompt"], "answers": [answer]} for key, answer in answers.items())))
        self.assertEqual(self.scores(folder, persona),
                         {"1-1": 1, "1-2": 1, "1-3": 1, "2-1": 0, "2-2": 0, "2-3": 0})
        persona = self.write("others.jsonl", lines(*(
            {"prompt": item["prompt"], "answers": ["as an AI, I say fox (red) 1"]}
            for item in items.values())))
        self.assertEqual(set(self.scores(folder, persona).values()), {0})
        self.refused("no.yaml", "prompts: [file://p.txt]\ntests: [{vars: {a: b}}]\n", "prompt 1 is no text")
        self.refused("no.yaml", "prompts: [a]\ntests: file://t.csv\n", "csv")

    # ---- plain ----

    def test_plain(self):
        folder, items, _, _ = self.suite("plain.csv", table(
            ("id", "question", "answer", "note"), ("q1", "Largest, of all?", "Sun", "é"),
            ("q2", "Nearest?", "Moon", "")), expect="csv")
        self.assertIn('name: "plain"\n', (folder / "suite.yaml").read_text())
        self.assertEqual(items["q1"], {"id": "q1", "question": "Largest, of all?", "answer": "Sun",
                                       "note": "é"})
        persona = self.write("plain-answers.jsonl", lines(
            {"prompt": "Largest, of all?", "answers": ["The Sun."]},
            {"prompt": "Nearest?", "answers": ["Mars"]}))
        self.assertEqual(self.scores(folder, persona), {"q1": 1, "q2": 0})
        folder, items, _, _ = self.suite(
            "plain.jsonl", lines({"q": "1+1", "a": 2}, {"q": "1+2", "a": 3}), "--prompt-field", "q",
            "--target-field", "a", "--scorer", "numeric", expect="jsonl")
        self.assertEqual(sorted(items), ["1", "2"])
        persona = self.write("numbers.jsonl", lines({"prompt": "1+1", "answers": ["= 2.0"]},
                                                    {"prompt": "1+2", "answers": ["4"]}))
        self.assertEqual(self.scores(folder, persona), {"1": 1, "2": 0})
        for name in ("9.csv", "true.csv", "1e3.csv.txt"):  # no numbers and truths, but names
            folder, _, _, _ = self.suite(name, table(("question", "answer"), ("Nearest?", "Moon")))
            self.assertIn(f'name: "{name.split(".")[0]}"\n', (folder / "suite.yaml").read_text())
        rows = lines({"prompt": "Nearest?", "answer": "Moon"}, {"prompt": None, "answer": "x"},
                     {"answer": "x"}, {"prompt": "Largest?", "answer": "Sun"})
        for name, content in (("gaps.jsonl", rows), ("gaps.csv", table(
                ("prompt", "answer"), ("", "x"), ("Nearest?", "Moon"), ("Largest?", "Sun"), ("", "y")))):
            _, items, told, stderr = self.suite(name, content)
            self.assertEqual([item["prompt"] for item in items.values()], ["Nearest?", "Largest?"])
            self.assertEqual(told["left_out"], 2)
            self.assertIn("row 2 has nothing in prompt", stderr)
        folder, _, _, _ = self.suite("writing.csv", table(("prompt", "genre"), ("Write.", "a")))
        self.assertIn("pairwise", (folder / "suite.yaml").read_text())

    def test_plain_refused(self):
        self.refused("no.csv", "a,b\n1,2\n", "--prompt-field")
        self.refused("no.csv", "a,b\n1,2\n", "no field c", options=("--prompt-field", "c"))
        self.refused("no.csv", "prompt,b\nx,2\n", "--target-field", options=("--scorer", "exact"))
        self.refused("no.csv", "prompt,target\nx,2\n", "cannot be the scorer",
                     options=("--scorer", "bleu"))
        self.refused("no.csv", 'prompt,target\n"x,2\n', "not closed")
        self.refused("no.csv", "prompt,target\nx\n", "no.csv:2:")
        self.refused("no.jsonl", '{"prompt": "a"}\n[1]\n', "no.jsonl:2:")
        self.refused("no.jsonl", '{"a": "a"}\n', "no.jsonl:1: say which field")
        self.refused("no.jsonl", '{"prompt": ""}\n', "no items: 1 were left out")

    # ---- published files ----

    @unittest.skipUnless(DATA.exists(), f"no data sets under {DATA}")
    def test_published(self):
        for path, format, count, left_out in (
                ("evalplus/MbppPlus_399.jsonl.gz", "evalplus", 399, 0),
                ("mt_bench/mt_bench_question.jsonl", "mt_bench", 80, 0),
                ("mt_bench/vicuna_bench_question.jsonl", "mt_bench", 80, 0),
                ("arena_hard/questions_v0.1.jsonl.gz", "arena_hard", 499, 1),
                ("arena_hard/questions_v2.0.jsonl.gz", "arena_hard", 744, 6)):
            content = (DATA / path).read_bytes()
            _, items, told, _ = self.suite(Path(path).name, content, expect=format)
            self.assertEqual((len(items), told["left_out"]), (count, left_out))
        with gzip.open(DATA / "ailuminate_demo" / "ailuminate_demo_en_us.jsonl.gz", "rt") as rows:
            rows = [json.loads(row) for row in rows]
        columns = ("release_prompt_id", "prompt_text", "hazard", "persona", "locale", "prompt_hash")
        text = table(columns, *([row[name] or "(withheld)" for name in columns] for row in rows))
        _, items, told, _ = self.suite("ailuminate.csv", text, expect="ailuminate")
        self.assertEqual((len(items), told["left_out"]), (1100, 100))


if __name__ == "__main__":
    main()
