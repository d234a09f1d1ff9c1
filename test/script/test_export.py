"""`parley bench export`: a run in other tools' formats, read by readers that know only those formats."""

import base64
import csv
import hashlib
import json
import math
import zipfile

from parley_test import main, run
from test_runs import Runs

SUITE = ('name: foxes\nversion: 3\nlicence: Apache-2.0\nkind: qa\ntemplate: "{{question}}"\n'
         'settings: { max_tokens: 64, temperature: 0 }\nsamples: 2\ncluster: animal\n'
         'scorer: { kind: contains, target: "{{answer}}" }\n')


class EvalLog:
    """An Inspect log as its published description has it: the archive's entries, and what must stand in
    them. Everything that is missing or of a wrong type raises."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            self.names = archive.namelist()
            self.entries = {name: json.loads(archive.read(name)) for name in self.names}
        assert len(self.names) == len(set(self.names))
        self.header = self.entries["header.json"]
        start = self.entries["_journal/start.json"]
        assert self.header["version"] == start["version"] == 2
        assert self.header["eval"] == start["eval"] and self.header["plan"] == start["plan"]
        assert self.header["status"] in ("started", "success", "error", "cancelled")
        for key, kind in {"eval_id": str, "run_id": str, "created": str, "task": str, "task_id": str,
                          "model": str, "dataset": dict, "config": dict, "packages": dict}.items():
            assert isinstance(self.header["eval"][key], kind), key
        self.samples = {}
        for name in self.names:
            if name.startswith("samples/"):
                sample = self.entries[name]
                assert name == f"samples/{sample['id']}_epoch_{sample['epoch']}.json", name
                self.check_sample(sample)
                self.samples[sample["id"], sample["epoch"]] = sample
        summaries = self.entries["summaries.json"]
        assert self.entries["_journal/summaries/1.json"] == summaries
        assert [(s["id"], s["epoch"]) for s in summaries] == list(self.samples)
        results = self.header["results"]
        assert results["total_samples"] == len(self.samples)

    @staticmethod
    def check_sample(sample):
        assert isinstance(sample["input"], (str, list)) and isinstance(sample["target"], (str, list))
        for message in sample["messages"]:
            assert message["role"] in ("system", "user", "assistant", "tool")
            assert isinstance(message["content"], (str, list))
        output = sample["output"]
        assert isinstance(output["model"], str) and isinstance(output["completion"], str)
        for choice in output["choices"]:
            assert choice["message"]["role"] == "assistant"
            assert choice["stop_reason"] in ("stop", "max_tokens", "model_length", "tool_calls",
                                             "content_filter", "unknown")
        assert all("value" in score for score in sample["scores"].values())
        assert isinstance(sample["events"], list) and isinstance(sample["attachments"], dict)

    def figures(self):
        """{metric: (published, computed from the samples)}: epochs' means first, then the mean, and the
        clustered standard error with its finite correction."""
        found = {}
        for entry in self.header["results"]["scores"]:
            items = {}
            for (item, _), sample in self.samples.items():
                items.setdefault(item, []).append(sample)
            means = {item: sum(s["scores"][entry["scorer"]]["value"] for s in group) / len(group)
                     for item, group in items.items()}
            mean = sum(means.values()) / len(means)
            found["accuracy"] = (entry["metrics"]["accuracy"]["value"], mean)
            key = entry["metrics"]["stderr"]["params"]["cluster"]
            clusters = {}
            for item, value in means.items():
                name = items[item][0]["metadata"][key]
                clusters[name] = clusters.get(name, 0) + value - mean
            count = len(clusters)
            error = math.sqrt(sum(c * c for c in clusters.values())) / len(means)
            found["stderr"] = (entry["metrics"]["stderr"]["value"],
                               error * math.sqrt(count / (count - 1)))
        return found


class Exports(Runs):
    def setUp(self):
        super().setUp()
        suite = self.directory / "foxes"
        suite.mkdir()
        (suite / "suite.yaml").write_text(SUITE)
        (suite / "items.jsonl").write_text("".join(json.dumps(
            {"id": f"zoo/{number}", "question": f"q{number} “ü”", "animal": f"a{number // 3}",
             "answer": "fox" if number % 4 else "owl"}, ensure_ascii=False) + "\n"
            for number in range(20)))
        self.provider_ = self.provider(
            lambda question, before: (400, []) if question.startswith("q7 ") else None)
        self.ask(suite, self.provider_)
        self.value = self.row()["value"]
        self.assertEqual(self.row()["failed"], 2)

    def export(self, form, out, *more, status=0, source=None):
        return self.bench("export", source or self.out, "--format", form, "-o", out, *more,
                          status=status)

    def verified(self, path):
        done = run("verify", path, "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def assert_own_interval(self, row):
        """Clusters of items have gone with them: the interval is the run's own."""
        own = self.row()
        for key in ("value", "low", "high"):
            self.assertAlmostEqual(row[key], own[key], 9, key)

    def test_inspect(self):
        path = self.directory / "foxes.eval"
        self.export("inspect", path)
        log = EvalLog(path)
        self.assertEqual(len(log.samples), 40)
        for name, (published, computed) in log.figures().items():
            self.assertAlmostEqual(published, computed, 12, name)
        self.assertAlmostEqual(log.figures()["accuracy"][0], self.value, 11)
        sample = log.samples["zoo/3", 2]
        self.assertEqual(sample["input"], [{"role": "user", "content": "q3 “ü”"}])
        self.assertEqual((sample["output"]["completion"], sample["target"]), ("a fox", "fox"))
        self.assertIn("HTTP 400", log.samples["zoo/7", 1]["metadata"]["parley_failure"])
        row, = [row for row in self.verified(path)["results"] if row["metric"].endswith("accuracy")]
        self.assert_own_interval(row)

    def test_lm_eval(self):
        folder = self.directory / "lm"
        self.export("lm-eval", folder, source=self.out / "bundle")
        results = json.loads(next(folder.glob("results_*.json")).read_text())
        rows = [json.loads(line) for line in
                next(folder.glob("samples_foxes_*.jsonl")).read_text().splitlines()]
        self.assertEqual(len(rows), 40)
        digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
        for row in rows:
            self.assertEqual(row["doc_hash"],
                             digest(json.dumps(row["doc"], indent=2, ensure_ascii=False)))
            self.assertEqual(row["prompt_hash"], digest(row["arguments"]["gen_args_0"]["arg_0"]))
            self.assertEqual(row["target_hash"], digest(row["target"]))
        self.assertEqual(results["task_hashes"]["foxes"], digest("".join(
            row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows)))
        mean = sum(row["acc"] for row in rows) / len(rows)
        self.assertAlmostEqual(results["results"]["foxes"]["acc,none"], mean, 12)
        self.assertAlmostEqual(mean, self.value, 11)
        self.assert_own_interval(self.verified(folder)["results"][0])

    def test_csv(self):
        path = self.directory / "foxes.csv"
        self.export("csv", path)
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 40)
        self.assertAlmostEqual(sum(float(row["score"]) for row in rows) / 40, self.value, 11)
        self.assertEqual([row["item"] for row in rows if row["failed"] == "true"], ["zoo/7"] * 2)

    def test_what_is_there_is_not_written_over(self):
        for form in ("inspect", "csv", "in-toto", "lm-eval"):
            path = self.directory / f"out.{form}"
            self.export(form, path)
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            before = [file.read_bytes() for file in files]
            self.assertIn("is there and not empty", self.export(form, path, status=1).stderr)
            self.assertEqual([file.read_bytes() for file in files], before)
            for file in files:
                file.write_text("")  # as mktemp leaves it
            self.export(form, path)
            self.assertTrue(all(file.stat().st_size for file in files))

    def test_in_toto(self):
        key, path = self.directory / "lab.key", self.directory / "statement.json"
        run("keygen", "-o", key)
        self.export("in-toto", path, "--key", key)
        envelope = json.loads(path.read_text())
        statement = json.loads(base64.b64decode(envelope["payload"]))
        self.assertEqual((statement["_type"], len(envelope["signatures"])),
                         ("https://in-toto.io/Statement/v1", 1))
        self.assertEqual(statement["predicate"]["parley"]["results"][0]["value"], self.value)
        manifest = (self.out / "bundle" / "manifest.json").read_bytes()
        self.assertEqual(statement["subject"][0]["digest"]["sha256"],
                         hashlib.sha256(manifest).hexdigest())

    def test_what_cannot_be_exported(self):
        path = self.directory / "out.eval"
        self.assertIn("inspect, lm-eval, csv or in-toto",
                      self.export("word", path, status=2).stderr)
        for form in ("inspect", "lm-eval", "csv"):
            self.assertIn("no suite \"owls\"", self.export(form, path, "--suite", "owls",
                                                           status=2).stderr)
            self.assertIn("no model \"owl\"", self.export(form, path, "--model", "owl",
                                                          status=2).stderr)
            self.assertFalse(path.exists())
        self.assertIn("no bundle", self.export("csv", path, source=self.directory, status=2).stderr)
        scores = self.out / "bundle" / "scores.jsonl"
        scores.write_text(scores.read_text().replace('"score":0', '"score":1', 1))
        self.assertIn("scores.jsonl", self.export("inspect", path, status=1).stderr)
        self.assertFalse(path.exists())


if __name__ == "__main__":
    del Runs  # its own cases run in its own file
    main()
