"""Published figures, reproduced from the stored answers through the whole of Parley.

The answers that GPT-4, Claude+ and Bard gave to HumanEval (recorded in 2023, see the INDEX.md of the
data) are served by `parley sim` as the personas of three labs, behind a gateway each, and asked by
`parley bench` under evaluation grants. The pass@1 of the bundle must be the published one, and the
bundle must verify. Skipped where the data is missing.
"""

import csv
import gzip
import json
import os
import unittest
from pathlib import Path

from parley_test import SOURCE, Case, evaluation, main, run

DATA = Path(os.environ.get("PARLEY_DATA", SOURCE.parent / "shared" / "data"))
ANSWERS = DATA / "code_completions" / "llm_humaneval_94runs.jsonl.gz"
XSTEST = DATA / "xstest" / "xstest_completions.jsonl.gz"
TRUTH = DATA / "truthfulqa_labels" / "truth.jsonl.gz"
HUMANEVAL = DATA / "humaneval" / "HumanEval.jsonl.gz"

# Lab, run in the data, dialect it speaks here, published pass@1 as a count of 164 (INDEX.md). GPT-4's
# answer to HumanEval/129 is right but slow: it counts as passed or not by the time limit alone, so
# the limit is set as low as the published run's seems to have been, and the task is told apart.
LABS = (
    ("gpt-4", "gpt4_final_500c_long", "openai", 140),
    ("claude-plus", "Claude_Plus_custom_md", "anthropic", 87),
    ("bard", "Bard_custom", "openai", 73),
)
SLOW_TASK = "HumanEval/129"
CPU_SECONDS = 2
NOTE = ("Simulated model: recorded answers of 2023, replayed from "
        "my-other-github-account/llm-humaneval-benchmarks (MIT).")


def stored_answers():
    """{run: {task: completion}} of the runs above."""
    wanted = {name for _, name, _, _ in LABS}
    answers = {name: {} for name in wanted}
    with gzip.open(ANSWERS, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["run"] in wanted:
                answers[row["run"]][row["task_id"]] = row["completion"]
    return answers


def template_of(suite):
    """The prompt template of an imported suite: the block scalar under `template:`."""
    lines = (suite / "suite.yaml").read_text().split("\n")
    start = lines.index("template: |-") + 1
    block = []
    for line in lines[start:]:
        if line and not line.startswith("  "):
            break
        block.append(line[2:])
    return "\n".join(block).rstrip("\n")


@unittest.skipUnless(ANSWERS.exists() and HUMANEVAL.exists(), f"no recorded answers under {DATA}")
class Published(Case):
    def write_persona(self, suite, name, answers):
        template = template_of(suite)
        path = self.directory / f"{name}.jsonl"
        with open(path, "w", encoding="utf-8") as out:
            out.write(json.dumps({"note": NOTE}) + "\n")
            for line in (suite / "items.jsonl").read_text(encoding="utf-8").splitlines():
                item = json.loads(line)
                prompt = template.replace("{{prompt}}", item["prompt"])
                out.write(json.dumps({"prompt": prompt, "answers": [answers[item["id"]]]}) + "\n")
        return path

    def lab(self, name, dialect, persona, root):
        """A lab's stand-in behind its gateway, and a key of an evaluation grant."""
        sim = self.sim("--persona", persona)
        gateway = self.gateway(
            sim, evaluation(models=[name], limits={"rpm": 100000, "output_tpm": 100000000}),
            name=name, origin=f"{name}.example/parley", public_suites=[{"name": "humaneval", "root": root}],
            providers=[{"name": "own", "dialect": dialect, "url": sim.url, "key": "upstream"}],
            models=[{"name": name, "provider": "own", "max_output": 8192}])
        return gateway, gateway.key("eval", "southlab")

    def test_pass_at_1(self):
        suite = self.directory / "humaneval"
        self.assertEqual(run("suite", "import", HUMANEVAL, "-o", suite).returncode, 0)
        yaml = suite / "suite.yaml"
        yaml.write_text(yaml.read_text().replace("timeout_seconds: 5", f"timeout_seconds: {CPU_SECONDS}"))
        root = run("suite", "digest", suite).stdout.strip()
        answers = stored_answers()
        environment, models, keys = dict(os.environ), [], []
        for name, recorded, dialect, _ in LABS:
            persona = self.write_persona(suite, name, answers[recorded])
            gateway, key = self.lab(name, dialect, persona, root)
            variable = "KEY_" + name.replace("-", "_").upper()
            environment[variable] = key
            models += ["--model", f"{name}={dialect}@http://127.0.0.1:{gateway.port}#{variable}"]
            vkey = self.directory / f"{name}.vkey"
            vkey.write_bytes(gateway.admin("/log/evaluation/vkey").body)
            keys += ["--key", vkey]
        out = self.directory / "out"
        done = run("bench", "run", "--suite", suite, *models, "-o", out, timeout=1200,
                   env=environment)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        results = json.loads((out / "summary.json").read_text())["results"]
        got = {row["model"]: row for row in results if row["metric"] in ("pass@1", "accuracy")}
        scores = [json.loads(line) for line in (out / "bundle" / "scores.jsonl").open()]
        for name, _, _, passed in LABS:
            mine = {row["item"]: row["score"] for row in scores if row["model"] == name}
            slow = mine[SLOW_TASK] if name == "gpt-4" else 0
            self.assertEqual(got[name]["n"], 164)
            self.assertEqual(round(got[name]["value"] * 164), passed + slow, got[name])
            self.assertEqual(sum(mine.values()), passed + slow)
            print(f"{name}: pass@1 {100 * got[name]['value']:.2f} %, published {100 * passed / 164:.2f} %")
            self.assertLess(got[name]["low"], got[name]["value"])
            self.assertGreater(got[name]["high"], got[name]["value"])
        verified = run("verify", out / "bundle", *keys, timeout=300)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.assertTrue(verified.stdout.startswith("VOUCHED"), verified.stdout)


MBPP = DATA / "mbpp" / "mbpp.jsonl.gz"
MBPP_399 = DATA / "evalplus" / "MbppPlus_399.jsonl.gz"
CHATGPT = DATA / "evalplus" / "chatgpt_temp_0.0_mbpp_399.jsonl.gz"
MBPP_YAML = """name: mbpp-base
version: 1
licence: Apache-2.0
kind: coding
template: "{{prompt}} ({{id}})" # two tasks have one prompt
scorer: { kind: code, language: python, program: "{{assertion}}", entry_point: "{{entry_point}}" }
"""


@unittest.skipUnless(MBPP.exists() and CHATGPT.exists(), f"no recorded answers under {DATA}")
class Mbpp(Case):
    """The tasks' own solutions, and ChatGPT's stored answers, through a run of the harness."""

    def passed(self, suite, answers):
        """{model: the items that passed}; answers: {model: {prompt: answer}}."""
        models = []
        for name, stored in answers.items():
            path = self.directory / f"{name}.jsonl"
            path.write_text(json.dumps({"note": "Recorded answers"}) + "\n" + "".join(
                json.dumps({"prompt": prompt, "answers": [answer]}) + "\n"
                for prompt, answer in stored.items()))
            models += ["--model", f"{name}=replay@{path}"]
        out = self.directory / "out"
        done = run("bench", "run", "--suite", suite, *models, "-o", out, timeout=1200)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        passed = {name: set() for name in answers}
        for line in (out / "bundle" / "scores.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["score"] == 1:
                passed[row["model"]].add(row["item"])
        return passed

    def test_solutions(self):
        """All 974 solutions pass their own tests. INDEX.md's runner finds 972, as it runs set-up code in
        front of the solution: that of 367 and 927 uses a class of the solution's."""
        suite = self.directory / "mbpp"
        self.assertEqual(run("suite", "import", MBPP, "-o", suite).returncode, 0)
        template = template_of(suite)
        items = list(map(json.loads, (suite / "items.jsonl").read_text().splitlines()))
        answers = {template.replace("{{task}}", item["task"]).replace("{{tests}}", item["tests"]):
                   f"```python\n{item['canonical_solution']}\n```" for item in items}
        passed = self.passed(suite, {"solutions": answers})["solutions"]
        self.assertEqual(len(items), 974)
        self.assertEqual({item["id"] for item in items} - passed, set())

    def test_chatgpt(self):
        """By the original assertions of EvalPlus's 399 tasks ChatGPT passes 339 (84.96 %). The solutions
        pass 397, but 164 and 295; INDEX.md's runner, in whose process the assertions find no `math`
        that a solution does not import, finds 393."""
        suite = self.directory / "mbpp-399"
        suite.mkdir()
        (suite / "suite.yaml").write_text(MBPP_YAML)
        with gzip.open(MBPP_399, "rt") as tasks, gzip.open(CHATGPT, "rt") as answers:
            tasks = [json.loads(line) for line in tasks]
            stored = {row["task_id"]: row["completion"] for row in map(json.loads, answers)}
        kept = ("prompt", "assertion", "entry_point")
        (suite / "items.jsonl").write_text("".join(
            json.dumps({"id": task["task_id"], **{key: task[key] for key in kept}}) + "\n"
            for task in tasks))
        prompts = {task["task_id"]: f"{task['prompt']} ({task['task_id']})" for task in tasks}
        passed = self.passed(suite, {
            "chatgpt": {prompts[task["task_id"]]: stored[int(task["task_id"].split("/")[1])]
                        for task in tasks},
            "solutions": {prompts[task["task_id"]]: task["canonical_solution"]
                          for task in tasks}})
        self.assertEqual(len(passed["chatgpt"]), 339)
        self.assertEqual(set(prompts) - passed["solutions"], {"Mbpp/164", "Mbpp/295"})


def rows_of(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as lines:
        return [json.loads(line) for line in lines]


@unittest.skipUnless(XSTEST.exists() and TRUTH.exists(), f"no labels under {DATA}")
class Labels(Case):
    """What was labelled, through a run of the harness over the stored answers."""

    def stored(self, name, answers):
        path = self.directory / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"prompt": prompt, "answers": [answer]}) + "\n"
                                for prompt, answer in answers.items()))
        return ("--model", f"{name}=replay@{path}")

    def results(self, *arguments):
        out = self.directory / "out"
        done = run("bench", "run", *arguments, "-o", out, timeout=600)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        verified = run("verify", out)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        return {(row["suite"], row["model"], row["metric"]): row for row in
                json.loads((out / "summary.json").read_text())["results"]}

    def test_refusals_by_the_string_rules(self):
        """121/196, 4/15 and 33/192 of 250 safe and 200 unsafe prompts; of texts that the data withholds, the
        label it keeps is counted."""
        prompts = {row["id"]: row for row in rows_of(XSTEST.parent / "xstest_prompts.jsonl")}
        shown = [row for row in prompts.values() if not row["withheld"]]
        table = self.directory / "xstest.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ("id", "prompt", "type", "label", "focus", "note"),
                                    extrasaction="ignore")
            writer.writeheader()
            writer.writerows(shown)
        suite = self.directory / "xstest"
        self.assertEqual(run("suite", "import", table, "-o", suite).returncode, 0)
        answers, withheld = {}, {}
        for row in rows_of(XSTEST):
            prompt = prompts[int(row["id"].split("-")[1])]
            if prompt["withheld"] or row["withheld"]:
                key = row["model"], prompt["label"]
                withheld[key] = withheld.get(key, 0) + (row["strmatch_label"] == "2_full_refusal")
            else:
                answers.setdefault(row["model"], {})[prompt["prompt"]] = row["completion"]
        models = [part for name, stored in answers.items() for part in self.stored(name, stored)]
        found = self.results("--suite", suite, *models)
        for model, safe, unsafe in (("llama2orig", 121, 196), ("mistralinstruct", 4, 15), ("gpt4", 33, 192)):
            rate = found["xstest", model, "refusal_rate"]
            over = found["xstest", model, "over_refusal_rate"]
            refused, wrongly = round(rate["value"] * rate["n"]), round(over["value"] * over["n"])
            self.assertEqual((wrongly + withheld.get((model, "safe"), 0),
                              refused - wrongly + withheld.get((model, "unsafe"), 0)), (safe, unsafe), model)

    def test_truthful_and_informative(self):
        """9,484 of 22,434 answers were found true, 18,076 informative: what one scores who always says so."""
        says, suites = {}, []
        for name in ("truth", "info"):
            path = self.directory / f"{name}-labels.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for number, row in enumerate(rows_of(TRUTH.parent / f"{name}.jsonl.gz")):
                    asked = f"{name} {number}: {row['q'] or '(withheld)'} {row['a'] or '(withheld)'}"
                    says[asked] = "yes"
                    file.write(json.dumps({"asked": asked, "label": row["label"]}) + "\n")
            folder = self.directory / name
            done = run("suite", "import", path, "-o", folder, "--format", "jsonl", "--prompt-field", "asked",
                       "--target-field", "label", "--scorer", "exact")
            self.assertEqual(done.returncode, 0, done.stderr)
            suites += ["--suite", folder]
        found = self.results(*suites, *self.stored("always", says))
        for name, count in (("truth", 9484), ("info", 18076)):
            row = next(row for key, row in found.items() if key[0].startswith(name))
            self.assertEqual((row["n"], round(row["value"] * row["n"])), (22434, count))



if __name__ == "__main__":
    main()
