#!/usr/bin/env python3
"""Instructions that the gateway executes for a request and for an event of a stream.

The whole gateway runs in the simulated world (replay.c) under callgrind, once with N and once with 2 N
requests: the difference is what requests cost, without start and end. What the simulated world, client and
upstream execute by themselves is left out (by source file, so the build needs -Ddebug=true), and with it
every memcpy and memset, since the simulated disk copies whole files with them. SHA-NI is unknown to
valgrind: digests count as in plain code. The same
program gives the same numbers each time; another compiler or library does not.

    meson setup BUILD -Dbuildtype=release -Dperf=true -Ddebug=true && ninja -C BUILD
    perf/instructions/measure.py --replay BUILD/perf/replay            compare with baseline.json
    perf/instructions/measure.py --replay BUILD/perf/replay --record   write it

Exit 1 when a number is more than 2 % above the baseline of the same tools, 77 when the tools differ or
valgrind is not there (the numbers are shown all the same).
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(HERE, "baseline.json")
TOLERANCE = 0.02
SKIPPED = 77
OUTSIDE = re.compile(r"(^|/)(env_sim\w*\.c|replay\.c|mem\w+-[\w-]+\.S)$")


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def tools():
    return {"gcc": first_line("gcc", "-dumpfullversion"), "valgrind": first_line("valgrind", "--version"),
            "libc": first_line("ldd", "--version").split()[-1],
            "openssl": first_line("openssl", "version").split()[1]}


def self_cost(path):
    """Instructions of every function but those of the simulated world (callgrind's format: a line of
    numbers after `calls=` is what the callee cost, which stands at the callee already)."""
    names, total, outside, callee = {}, 0, False, False
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = re.match(r"fl=\((\d+)\)(?: (.*))?", line)
            if match:
                if match.group(2):
                    names[match.group(1)] = match.group(2).strip()
                outside = bool(OUTSIDE.search(names.get(match.group(1), "")))
            elif line.startswith(("fi=", "fe=", "cfi=", "cfl=")):
                match = re.match(r"\w+=\((\d+)\) (.*)", line)
                if match:
                    names[match.group(1)] = match.group(2).strip()
            elif line.startswith("calls="):
                callee = True
            elif line[:1].isdigit() or line[:1] in "+-*":
                if not callee and not outside:
                    total += int(line.split()[1])
                callee = False
    return total


def instructions(replay, size, events, requests):
    with tempfile.TemporaryDirectory(prefix="parley-callgrind-") as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", replay,
                               str(size), str(events), str(requests)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            sys.exit(f"replay {size} {events} {requests} failed: {done.stderr}")
        return self_cost(out)


def each(replay, size, events, requests):
    """Instructions a request."""
    once, twice = (instructions(replay, size, events, count) for count in (requests, 2 * requests))
    return (twice - once) / requests


def measure(replay):
    few, many = 10, 110
    short = each(replay, 1024, few, 5)
    long = each(replay, 1024, many, 5)
    return {"plain 1 KB": round(each(replay, 1024, 0, 50)),
            "plain 64 KB": round(each(replay, 65536, 0, 5)),
            "event of a stream": round((long - short) / (many - few), 1)}


def compare(found, baseline):
    """Prints the table; the names that are too dear."""
    dear = []
    for name, value in found.items():
        old = baseline.get(name)
        change = value / old - 1 if old else None
        print(f"{name:20s}{value:12,.0f}" + (f"{old:12,.0f} {change:+8.1%}" if old else "")
              + ("  more than 2 %" if old and abs(change) > TOLERANCE else ""))
        if old and change > TOLERANCE:
            dear.append(name)
    return dear


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replay", required=True)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("SKIP: valgrind is not installed")
        sys.exit(SKIPPED)
    now = tools()
    found = measure(os.path.abspath(options.replay))
    if options.record:
        with open(BASELINE, "w", encoding="utf-8") as out:
            json.dump({"tools": now, "instructions": found}, out, indent=1)
            out.write("\n")
    if not os.path.exists(BASELINE):
        compare(found, {})
        print("SKIP: there is no baseline yet: --record makes it")
        sys.exit(SKIPPED)
    with open(BASELINE, encoding="utf-8") as text:
        baseline = json.load(text)
    dear = compare(found, baseline["instructions"])
    if baseline["tools"] != now:
        print(f"SKIP: the baseline was made with {baseline['tools']}, this is {now}")
        sys.exit(SKIPPED)
    if dear:
        sys.exit(f"{', '.join(dear)}: dearer by more than 2 %. If that is meant: "
                 "perf/instructions/measure.py --replay BUILD/perf/replay --record, and say why in the commit")


if __name__ == "__main__":
    main()
