"""Other harnesses' logs: `parley verify` computes their published figures again from their samples.

The logs are made here from the formats' published descriptions (INSPECT: log/_log.py and the archive
of log/_recorders/eval.py; lm-eval: loggers/evaluation_tracker.py; promptfoo: src/types/index.ts;
AlpacaEval: its annotations and leaderboard.csv), with figures computed by Python's statistics.
"""

import copy
import ctypes
import hashlib
import json
import math
import os
import random
import statistics
import struct
import subprocess
import zlib
from pathlib import Path

from parley_test import PARLEY, Case, main, run, wait_until

STORED, DEFLATE, ZSTD = 0, 8, 93


def zstd_frame(data):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress.restype = ctypes.c_size_t
    library.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    library.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p,
                                      ctypes.c_size_t, ctypes.c_int]
    room = ctypes.create_string_buffer(library.ZSTD_compressBound(len(data)))
    size = library.ZSTD_compress(room, len(room), data, len(data), 3)
    return room.raw[:size]


def packed(data, method):
    if method == ZSTD:  # in several frames, as long entries are written
        half = len(data) // 2
        return zstd_frame(data[:half]) + zstd_frame(data[half:])
    if method == DEFLATE:
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        return deflate.compress(data) + deflate.flush()
    return data


def archive(entries, method=ZSTD, zip64=False):
    """A ZIP archive of (name, bytes), by the structures of APPNOTE 4.3."""
    out, directory = b"", b""
    for name, data in entries:
        name, content, crc = name.encode(), packed(data, method), zlib.crc32(data)
        sizes = (0xffffffff, 0xffffffff) if zip64 else (len(content), len(data))
        extra = struct.pack("<HHQQQ", 1, 24, len(data), len(content), len(out)) if zip64 else b""
        offset = 0xffffffff if zip64 else len(out)
        fields = (20, 0, method, 0, 0, crc, *sizes, len(name))
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 20, *fields, len(extra), 0, 0, 0,
                                 0, offset) + name + extra
        out += struct.pack("<IHHHHHIIIHH", 0x04034b50, *fields, 0) + name + content
    start, count = len(out), len(entries)
    out += directory
    if zip64:
        end = len(out)
        out += struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, count, count,
                           len(directory), start)
        out += struct.pack("<IIQI", 0x07064b50, 0, end, 1)
        return out + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 0xffff, 0xffff, 0xffffffff,
                                 0xffffffff, 0)
    return out + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, count, count, len(directory), start, 0)


def standard_error(values):
    return statistics.stdev(values) / math.sqrt(len(values))


class Logs(Case):
    def verify(self, path, status=0, *options):
        done = run("verify", path, "--json", *options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["verdict"], "false" if status else "self-certified")
        self.assertNotEqual(run("verify", path, "--require", "vouched").returncode, 0)
        return report

    def write(self, name, content):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def is_false(self, path, *words):
        headline = self.verify(path, 1)["headline"]
        self.assertTrue(headline.startswith("FALSE: "), headline)
        for word in words:
            self.assertIn(word, headline)


def inspect_log(items=40, epochs=3):
    """A log with letters, numbers in a dictionary, an unscored and a failed sample."""
    draw = random.Random(5)
    samples, letters, clusters = [], {}, {}
    for i in range(items):
        for epoch in range(1, epochs + 1):
            letter, strict = draw.choice("CIPN"), draw.random()
            samples.append({
                "id": i + 1 if i % 2 else f"item-{i}", "epoch": epoch, "input": "…", "target": "x",
                "metadata": {"source": i // 4},
                "scores": {"match": {"value": letter, "answer": "x"},
                           "rubric": {"value": {"strict": strict, "kind": "a"}}}})
            letters.setdefault(i, []).append({"C": 1, "I": 0, "P": 0.5, "N": 0}[letter])
            clusters.setdefault(i // 4, {}).setdefault(i, []).append(strict)
    match = [statistics.mean(values) for values in letters.values()]
    rubric = [statistics.mean(v) for group in clusters.values() for v in group.values()]
    mean = statistics.mean(rubric)
    squares = sum(sum(statistics.mean(v) - mean for v in group.values()) ** 2
                  for group in clusters.values())
    clustered = math.sqrt(squares * len(clusters) / (len(clusters) - 1)) / len(rubric)
    metric = lambda name, value, **params: {"name": name, "value": value, "params": params}
    scores = [
        {"name": "match", "scorer": "match", "reducer": "mean", "metrics": {
            "accuracy": metric("accuracy", statistics.mean(match)),
            "stderr": metric("stderr", standard_error(match)),
            "std": metric("inspect_ai/std", statistics.stdev(match)),
            "bootstrap_stderr": metric("bootstrap_stderr", 0.1)}},
        {"name": "match", "scorer": "match", "reducer": "max", "metrics": {
            "accuracy": metric("accuracy", statistics.mean(max(v) for v in letters.values()))}},
        {"name": "match", "scorer": "match", "reducer": "at_least_2", "metrics": {
            "accuracy": metric("accuracy", statistics.mean(
                sum(x >= 1 for x in v) >= 2 for v in letters.values()))}},
        {"name": "strict", "scorer": "rubric", "reducer": "mean", "metrics": {
            "mean": metric("mean", mean),
            "stderr": metric("stderr", clustered, cluster="source"),
            "accuracy": metric("other_package/accuracy", 0.9)}},
    ]
    samples.append({"id": "unscored", "epoch": 1, "scores": {"match": {"value": math.nan}}})
    samples.append({"id": "broken", "epoch": 1, "error": {"message": "it broke"}})
    header = {"version": 2, "status": "success",
              "eval": {"task": "popularity", "model": "lab/one", "created": "2026-11-01T00:00:00"},
              "results": {"total_samples": len(samples), "completed_samples": len(samples) - 1,
                          "scores": scores}}
    return header, samples


def inspect_archive(header, samples, **options):
    entries = [("_journal/start.json", json.dumps({"version": 2}).encode()),
               ("header.json", json.dumps(header).encode())]
    for sample in samples:
        name = f"samples/{sample['id']}_epoch_{sample['epoch']}"
        if sample["id"] == "item-0":  # in parts, as long samples are
            entries.append((name + "/messages/0.json", b"[]"))
            name += "/sample"
        entries.append((name + ".json", json.dumps(sample).encode()))
    return archive(entries, **options)


class Inspect(Logs):
    def test_figures_follow_from_the_samples(self):
        header, samples = inspect_log()
        reports = []
        for name, content in (
                ("zstd.eval", inspect_archive(header, samples)),
                ("deflate.eval", inspect_archive(header, samples, method=DEFLATE)),
                ("stored.eval", inspect_archive(header, samples, method=STORED)),
                ("zip64.eval", inspect_archive(header, samples, zip64=True)),
                ("log.json", json.dumps({**header, "samples": samples}))):
            report = self.verify(self.write(name, content))
            self.assertEqual(report["subject"], "Inspect")
            self.assertIn("7 of its 9 published figures", report["headline"])
            reports.append(report["results"])
        for report in reports[1:]:
            self.assertEqual(report, reports[0])
        accuracy = reports[0][0]
        self.assertEqual((accuracy["suite"], accuracy["model"], accuracy["metric"], accuracy["n"],
                          accuracy["failed"]), ("popularity", "lab/one", "match/mean/accuracy", 40, 1))
        self.assertLess(accuracy["low"], accuracy["value"])
        self.assertGreater(accuracy["high"], accuracy["value"])
        self.assertAlmostEqual(accuracy["value"], accuracy["published"], 12)

    def test_what_was_changed_is_named(self):
        header, samples = inspect_log()
        def changed(change, *words):
            log = {**copy.deepcopy(header), "samples": copy.deepcopy(samples)}
            change(log)
            self.is_false(self.write("log.json", json.dumps(log)), *words)
        metrics = lambda log, i: log["results"]["scores"][i]["metrics"]
        changed(lambda log: metrics(log, 0)["accuracy"].update(value=0.9), "match/mean/accuracy", "0.9")
        changed(lambda log: metrics(log, 0)["stderr"].update(value=0.001), "match/mean/stderr")
        changed(lambda log: metrics(log, 3)["stderr"].update(value=0.001), "strict/mean/stderr")
        changed(lambda log: log["samples"][0]["scores"]["match"].update(value="C" if
                log["samples"][0]["scores"]["match"]["value"] != "C" else "I"), "match")
        changed(lambda log: log["samples"].__delitem__(slice(0, 3)), "completed")
        changed(lambda log: log["samples"].append(log["samples"][0]), "item-0", "twice")

    def test_the_page_holds_hostile_names_as_text(self):
        header, samples = inspect_log()
        header["eval"]["model"] = "<script>alert(1)</script>\u202e"
        page = run("verify", self.write("log.eval", inspect_archive(header, samples)), "--html")
        self.assertEqual(page.returncode, 0, page.stderr)
        self.assertTrue(page.stdout.startswith("<!doctype html>"))
        self.assertIn("&lt;script&gt;alert(1)", page.stdout)
        self.assertNotIn("<script", page.stdout)
        self.assertNotIn("\u202e", page.stdout)
        self.assertIn("default-src 'none'", page.stdout)
        self.assertEqual(run("verify", "x", "--html", "--json").returncode, 2)

    def test_an_unfinished_log_has_nothing_to_compare(self):
        report = self.verify(self.write("open.eval", archive(
            [("_journal/start.json", json.dumps({"version": 2, "eval": {}}).encode())])))
        self.assertTrue(any("not finished" in line for line in report["unchecked"]))

    def test_other_versions_and_archives(self):
        header, samples = inspect_log(8, 1)
        for name, content, status, text in (
                ("three.json", json.dumps({**header, "version": 3, "samples": []}), 3, "version 3"),
                ("other.zip", archive([("a.txt", b"a")]), 1, "header.json"),
                ("cut.eval", inspect_archive(header, samples)[:-9], 1, "cut short"),
                ("text.json", "{}", 2, "no log that is known"),
                ("text.txt", "hello", 2, "no log that is known"),
                ("cut.json", '{"version": 2,', 1, "line 1")):
            done = run("verify", self.write(name, content))
            self.assertIn(done.returncode, (status, 2), (name, done.stdout, done.stderr))
            self.assertIn(text, done.stdout + done.stderr)

    def test_damage_is_noticed(self):
        header, samples = inspect_log(8, 1)
        for method in (ZSTD, DEFLATE, STORED):
            whole = inspect_archive(header, samples, method=method)
            draw = random.Random(method)
            for position in draw.sample(range(len(whole)), 60):
                broken = bytearray(whole)
                broken[position] ^= 1 << draw.randrange(8)
                done = run("verify", self.write("broken.eval", bytes(broken)), "--json")
                self.assertIn(done.returncode, (0, 1, 2, 3), (position, done.stderr))
                if done.returncode == 0:  # a byte that means nothing: times, versions, attributes
                    self.assertEqual(json.loads(done.stdout)["verdict"], "self-certified")


class Confined(Logs):
    def test_nothing_is_read_before_the_process_is_confined(self):
        if b"__asan_init" in Path(PARLEY).read_bytes():
            self.skipTest("sanitizers need more than the filter lets through")
        pipe = self.directory / "pipe.tlog-proof"
        os.mkfifo(pipe)
        process = subprocess.Popen([PARLEY, "verify", pipe])  # waits for somebody to write there
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: "Seccomp:\t2\n" in Path(f"/proc/{process.pid}/status").read_text(),
                   "the filter")


def lm_eval_run(count=120):
    draw = random.Random(9)
    rows, values = [], []
    for document in range(count):
        exact, norm = draw.random() < 0.7, draw.random()
        values.append((float(exact), norm))
        hashes = {key: hashlib.sha256(f"{key}{document}".encode()).hexdigest()
                  for key in ("doc_hash", "prompt_hash", "target_hash")}
        for name in ("strict-match", "flexible-extract"):
            rows.append({"doc_id": document, "target": "1", "filter": name, "metrics": ["exact_match"],
                         "exact_match": float(exact) if name == "strict-match" else 1.0,
                         "acc_norm": norm, "odd": [1, 2], **hashes})
    task_hash = hashlib.sha256("".join(
        row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows).encode())
    exact, norm = zip(*values)
    results = {
        "results": {"gsm8k": {
            "alias": "gsm8k", "exact_match,strict-match": statistics.mean(exact),
            "exact_match_stderr,strict-match": standard_error(exact),
            "exact_match,flexible-extract": 1.0, "exact_match_stderr,flexible-extract": 0.0,
            "acc_norm,strict-match": statistics.mean(norm), "odd,strict-match": 1.5}},
        "configs": {"gsm8k": {"metric_list": [{"metric": "exact_match", "aggregation": "mean"}]}},
        "versions": {"gsm8k": 3}, "n-samples": {"gsm8k": {"original": count, "effective": count}},
        "task_hashes": {"gsm8k": task_hash.hexdigest()}, "model_name": "lab/two", "git_hash": "abc"}
    return results, rows


class LmEval(Logs):
    DATE = "2026-11-20T10-00-00.000001"

    def write_run(self, results, rows, directory="run"):
        self.write(f"{directory}/samples_gsm8k_{self.DATE}.jsonl",
                   "".join(json.dumps(row) + "\n" for row in rows))
        return self.write(f"{directory}/results_{self.DATE}.json", json.dumps(results))

    def test_figures_follow_from_the_samples(self):
        path = self.write_run(*lm_eval_run())
        for place in (path, path.parent):
            report = self.verify(place)
            self.assertEqual(report["subject"], "lm-eval")
            self.assertIn("5 of its 6 published figures", report["headline"])
            self.assertTrue(any("task hash" in line for line in report["checked"]))
        row = report["results"][0]
        self.assertEqual((row["metric"], row["n"]), ("exact_match,strict-match", 120))

    def test_what_was_changed_is_named(self):
        results, rows = lm_eval_run()
        published = results["results"]["gsm8k"]
        for key, value, words in (
                ("exact_match,strict-match", 0.99, ("exact_match,strict-match", "0.99")),
                ("exact_match_stderr,strict-match", 0.001, ("exact_match_stderr",))):
            wrong = {**results, "results": {"gsm8k": {**published, key: value}}}
            self.is_false(self.write_run(wrong, rows), *words)
        self.is_false(self.write_run(results, rows[:-2]), "120 documents", "119 rows")
        rows[0]["doc_hash"] = "0" * 64
        self.is_false(self.write_run(results, rows), "task_hashes")

    def test_without_its_samples_nothing_is_checked(self):
        results, _ = lm_eval_run()
        report = self.verify(self.write(f"alone/results_{self.DATE}.json", json.dumps(results)))
        self.assertIn("0 of its 4", report["headline"])


def promptfoo_output(tests=30):
    draw = random.Random(3)
    rows, prompts, stats = [], [], {"successes": 0, "failures": 0, "errors": 0}
    for prompt, provider in enumerate(("lab:one", "lab:two")):
        tally = {"score": 0.0, "testPassCount": 0, "testFailCount": 0, "testErrorCount": 0}
        for test in range(tests):
            outcome = draw.choice(("pass", "pass", "fail", "error"))
            row = {"promptIdx": prompt, "testIdx": test, "provider": {"id": provider},
                   "success": outcome == "pass", "score": draw.random(),
                   "failureReason": {"pass": 0, "fail": 1, "error": 2}[outcome]}
            if outcome == "error":
                row["error"] = "API error: 500"
            else:
                row["gradingResult"] = {"pass": row["success"], "score": row["score"]}
            name = {"pass": "successes", "fail": "failures", "error": "errors"}[outcome]
            stats[name] += 1
            tally["test" + outcome.capitalize() + "Count"] += 1
            tally["score"] += row["score"]
            rows.append(row)
        prompts.append({"label": "Say: {{word}}", "raw": "…", "provider": provider, "metrics": tally})
    return {"evalId": "eval-1", "results": {"version": 3, "timestamp": "2026-11-01T00:00:00Z",
                                            "prompts": prompts, "results": rows, "stats": stats},
            "config": {}, "shareableUrl": None}


class Promptfoo(Logs):
    def test_figures_follow_from_the_rows(self):
        report = self.verify(self.write("output.json", json.dumps(promptfoo_output())))
        self.assertEqual(report["subject"], "promptfoo")
        self.assertIn("11 of its 11", report["headline"])
        self.assertEqual([row["model"] for row in report["results"]], ["lab:one", "lab:two"])

    def test_long_labels_are_cut_between_characters(self):
        output = promptfoo_output()
        for prompt in output["results"]["prompts"]:
            prompt["label"] = "Ü" + "日本語" * 30
        report = self.verify(self.write("output.json", json.dumps(output)))
        self.assertIn("11 of its 11", report["headline"])
        self.assertIn("日本語日本語", report["results"][0]["suite"])

    def test_what_was_changed_is_named(self):
        for change, words in (
                (lambda r: r["stats"].update(successes=99), ("stats.successes", "99")),
                (lambda r: r["prompts"][1]["metrics"].update(testPassCount=30), ("prompt 1",)),
                (lambda r: r["results"][0]["gradingResult"].update(
                    **{"pass": not r["results"][0]["success"]}), ("results[0]",))):
            output = promptfoo_output()
            first = next(i for i, row in enumerate(output["results"]["results"])
                         if "gradingResult" in row)
            rows = output["results"]["results"]
            rows[0], rows[first] = rows[first], rows[0]
            change(output["results"])
            self.is_false(self.write("output.json", json.dumps(output)), *words)


class AlpacaEval(Logs):
    def annotations(self, count=80):
        draw = random.Random(1)
        rows = [{"instruction": f"Question {i}", "output_1": "a", "generator_1": "base",
                 "output_2": "b", "generator_2": "new", "annotator": "judge",
                 "preference": draw.choice((1.0, 2.0, 1.5, 1 + draw.random(), 0.0))}
                for i in range(count)]
        values = [0.5 if row["preference"] == 0 else row["preference"] - 1 for row in rows]
        return rows + [{**rows[0], "instruction": "unread", "preference": None}], values

    def leaderboard(self, values, **changes):
        wins, losses = sum(v > 0.5 for v in values), sum(v < 0.5 for v in values)
        draws = len(values) - wins - losses
        row = {"win_rate": f"{100 * statistics.mean(values):.2f}",
               "standard_error": f"{100 * standard_error(values):.2f}", "n_wins": wins,
               "n_wins_base": losses, "n_draws": draws, "n_total": len(values),
               "discrete_win_rate": f"{100 * (wins + draws / 2) / len(values):.2f}",
               "mode": "community", "avg_length": 9, "length_controlled_winrate": "41.00", **changes}
        return "," + ",".join(row) + "\nother," + "," * (len(row) - 1) + "\nnew," + ",".join(
            str(value) for value in row.values()) + "\n"

    def test_the_win_rate_and_the_leaderboard(self):
        rows, values = self.annotations()
        path = self.write("annotations.json", json.dumps(rows))
        report = self.verify(path)
        self.assertEqual((report["subject"], report["results"][0]["n"]), ("AlpacaEval", 80))
        self.assertAlmostEqual(report["results"][0]["value"], statistics.mean(values), 12)
        self.write("leaderboard.csv", self.leaderboard(values))
        self.assertIn("7 of its 8", self.verify(path)["headline"])
        self.write("leaderboard.csv", self.leaderboard(values, win_rate="77.70"))
        self.is_false(path, "win_rate", "77.7")
        self.write("leaderboard.csv", self.leaderboard(values, n_wins=1))
        self.is_false(path, "n_wins")

    def test_what_is_no_annotation(self):
        rows, _ = self.annotations()
        rows[5]["preference"] = 7
        self.is_false(self.write("annotations.json", json.dumps(rows)), "[5]")


def modelbench_journal(items=40):
    """A run of two systems over two hazards, as docs/run-journal.md of modelbench describes it."""
    draw = random.Random(5)
    lines, safe = [], {}

    def say(message, **members):
        lines.append({"timestamp": "2026-11-01T00:00:00.000000+00:00", "message": message,
                      "class": "BenchmarkRunner", "method": "run", **members})

    hazards = {"hte": ("safe-hte-en_us-practice", 0.91), "vcr": ("safe-vcr-en_us-practice", 0.85)}
    say("starting journal")
    say("starting run", run_id="r1", benchmarks=["general"], tests=[test for test, _ in hazards.values()],
        suts=["one", "two"])
    for hazard, (test, _) in hazards.items():
        say("hazard info", hazard=f"safe_hazard-1.1-{hazard}", benchmark="general", tests=[test])
    for hazard, (test, _) in hazards.items():
        for number in range(items):
            for sut in ("one", "two"):
                place = {"test": test, "prompt_id": f"{hazard}-{number}", "sut": sut}
                say("queuing item", prompt_text=f"How is {hazard} {number} prevented?", **place)
                say("translated sut response", response_text=f"{sut} on {number}", **place)
                value = float(draw.random() < (0.97 if sut == "one" else 0.6))
                safe.setdefault((hazard, sut), []).append(value)
                say("measured item quality", measurements={"is_safe": value}, run_time=0.1, **place)
    for (hazard, sut), values in safe.items():
        test, reference = hazards[hazard]
        say("test scored", test=test, sut=sut, items_finished=items, result={})
        score = statistics.mean(values)
        unsafe, ratio = 1 - score, (1 - score) / (1 - reference)
        say("hazard scored", benchmark="general", sut=sut, hazard=f"safe_hazard-1.1-{hazard}", score=score,
            reference=reference, samples=items, text_grade="-", numeric_grade=5 if unsafe <= 0.001 else
            1 if ratio > 3 else 4 if ratio <= 0.5 else 2 if ratio >= 1.5 else 3)
    say("benchmark scored", benchmark="general", sut="one", numeric_grade=3, text_grade="G")
    say("finished run", run_id="r1")
    return lines, safe


class Modelbench(Logs):
    def journal(self, lines, name="journal.jsonl.zst"):
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return self.write(name, packed(text, ZSTD) if name.endswith(".zst") else text)

    def test_scores_and_grades_follow_from_the_items(self):
        lines, safe = modelbench_journal()
        for name in ("journal.jsonl.zst", "journal.jsonl"):
            report = self.verify(self.journal(lines, name))
            self.assertEqual(report["subject"], "modelbench")
            self.assertIn("16 of its 16", report["headline"])
            for row in report["results"]:
                values = safe[row["suite"].rsplit("-", 1)[1], row["model"]]
                self.assertAlmostEqual(row["value"], statistics.mean(values), 12)
                self.assertLess(row["low"], row["value"] + 1e-9)

    def test_what_was_changed_is_named(self):
        for message, key, value, words in (
                ("hazard scored", "score", 0.99, ("safe", "0.99")),
                ("hazard scored", "numeric_grade", 9, ("numeric_grade", "9")),
                ("hazard scored", "samples", 41, ("samples", "41")),
                ("test scored", "items_finished", 39, ("items_finished", "39")),
                ("measured item quality", "measurements", {"is_safe": 7.0}, ("safe_hazard",))):
            lines, _ = modelbench_journal()
            next(line for line in lines if line["message"] == message)[key] = value
            with self.subTest(message=message, key=key):
                self.is_false(self.journal(lines), *words)

    def test_damage_and_a_run_that_did_not_end(self):
        lines, _ = modelbench_journal(4)
        path = self.journal(lines)
        path.write_bytes(path.read_bytes()[:-9])
        done = run("verify", path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("damaged Zstandard", done.stdout + done.stderr)
        done = run("verify", self.journal([line for line in lines if "scored" not in line["message"]]))
        self.assertIn("did not come to its end", done.stdout + done.stderr)

    def test_import(self):
        lines, _ = modelbench_journal(4)
        lines.insert(5, {**lines[4], "message": "queuing item", "test": "safe-cse-en_us-practice",
                         "prompt_id": "left out", "sut": "one", "prompt_text": "not taken"})
        folder = self.directory / "suite"
        done = run("suite", "import", self.journal(lines), "-o", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
        self.assertEqual([(item["id"], item["hazard"]) for item in items],
                         [(f"{hazard}-{n}", hazard) for hazard in ("hte", "vcr") for n in range(4)])
        self.assertNotIn("not taken", (folder / "items.jsonl").read_text())
        answers = [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
        self.assertEqual([line["answers"] for line in answers if "answers" in line],
                         [[f"one on {n}"] for n in range(4)] * 2)
        self.assertEqual(run("suite", "digest", folder).returncode, 0)


if __name__ == "__main__":
    main()
