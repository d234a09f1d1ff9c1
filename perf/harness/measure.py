#!/usr/bin/env python3
"""What `parley bench` costs: CPU and memory of a run of trivial samples against a local stand-in, and
the start-up of the binary. Medians of several runs.

    perf/harness/measure.py --parley build/src/cmd/parley [--samples 1000] [--runs 5]
"""
import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def write_suite(folder, samples):
    suite = os.path.join(folder, "trivial")
    os.mkdir(suite)
    with open(os.path.join(suite, "suite.yaml"), "w") as out:
        out.write('name: trivial\nversion: 1\nlicence: Apache-2.0\nkind: qa\n'
                  'template: "{{question}}"\nsettings: { max_tokens: 16, temperature: 0 }\nsamples: 1\n'
                  'scorer: { kind: contains, target: "{{answer}}" }\n')
    with open(os.path.join(suite, "items.jsonl"), "w") as out:
        for number in range(samples):
            out.write(json.dumps({"id": str(number), "question": f"What comes after {number}?",
                                  "answer": "e"}) + "\n")
    return suite


def run_once(command, env):
    """CPU seconds, peak RSS in MB and wall seconds of one process and its children."""
    started = time.monotonic()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parley", required=True)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    parley = os.path.abspath(options.parley)
    folder = tempfile.mkdtemp(prefix="parley-perf-")
    port = free_port()
    sim = subprocess.Popen([parley, "sim", "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        suite = write_suite(folder, options.samples)
        env = dict(os.environ, PERF_KEY="k")
        rows = []
        for number in range(options.runs):
            out = os.path.join(folder, f"out-{number}")
            rows.append(run_once([parley, "bench", "run", "--suite", suite, "--model",
                                  f"sim=openai@http://127.0.0.1:{port}#PERF_KEY", "--json", "-o", out], env))
        cpu, memory, wall = (statistics.median(column) for column in zip(*rows))
        print(f"{options.samples} trivial samples: {cpu:.2f} s CPU, {memory:.1f} MB peak, {wall:.2f} s wall "
              f"(medians of {options.runs})")
        starts = [run_once([parley, "--version"], env) for _ in range(21)]
        print(f"--version: {1000 * statistics.median(row[2] for row in starts):.1f} ms wall, "
              f"{1000 * statistics.median(row[0] for row in starts):.1f} ms CPU (median of 21)")
        print(f"load average {os.getloadavg()[0]:.1f}")
    finally:
        sim.send_signal(signal.SIGTERM)
        sim.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
