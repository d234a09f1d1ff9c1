#!/usr/bin/env python3
"""Instructions of Parley's own code for a request and for an event of a stream.

The whole gateway runs in the simulated world (replay.c) under callgrind, once with N and once with 2 N
requests: the difference is what requests cost, without start and end. Counted is what stands in src/, and
of that neither the simulated world nor what it calls of base/ (its queue, its disk's checksums), nor the
inner block of SHA-256: valgrind does not know SHA-NI, so that it would count as in plain code, which no
machine of today runs. Libraries are left out: what is asked of them the tests of system calls and
allocations bound. The same program gives the same numbers each time, to a tenth of a percent; another
compiler does not.

    scripts/instructions             builds build-instructions, always with the same flags, and compares
    scripts/instructions --record    writes perf/instructions/baseline.json

A change of more than 2 % is shown, in the sum and in the layer that made it. Exit 0 whatever has changed
(1 with --fail where something is dearer), 77 when tools or flags are not those of the baseline or valgrind
is not there (the numbers are shown all the same).
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(HERE, "baseline.json")
TOLERANCE = 0.02
SKIPPED = 77
CALLERS = 3  # of a function of base/, to find out whom it works for
WORLD = re.compile(r"/src/env/env_sim\w*\.c$|/replay\.c$")
LEFT_OUT = re.compile(r"/src/base/sha256_blocks\.c$")
OWN = re.compile(r"/src/(\w+)/[\w.]+$")


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


def flags_of(replay):
    """How the build compiles: the flags of one file, without paths and what decides no code."""
    build = os.path.dirname(os.path.dirname(replay))
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as text:
        command = next(row["command"] for row in json.load(text)
                       if row["file"].endswith("src/gate/request.c"))
    return " ".join(word for word in shlex.split(command)
                    if re.match(r"-(?!I|M|o$|c$|Werror$)", word) and not word.startswith("-DPARLEY_VERSION"))


def tools(replay):
    return {"compiler": first_line("gcc", "--version"), "valgrind": first_line("valgrind", "--version"),
            "flags": flags_of(replay)}


class Profile:
    """A callgrind file: the cost of each function by itself, apart by its callers."""

    def __init__(self, path):
        self.names = {"f": {}, "n": {}}  # compressed names of files and functions
        self.files = {}                  # of a function's name: the files that have one
        self.cost = Counter()            # by (file, function'caller'caller…)
        with open(path, encoding="utf-8", errors="replace") as lines:
            self.read(lines)

    def name(self, kind, text):
        match = re.match(r"\((\d+)\)(?: (.*))?", text)
        if match.group(2):
            self.names[kind][match.group(1)] = match.group(2).strip()
        return self.names[kind][match.group(1)]

    def read(self, lines):
        """A line of numbers after `calls=` is what the callee cost: it stands at the callee already. What
        is inlined from another file (fi, fe) belongs to the function it was inlined into, but for what is
        left out wherever it was inlined."""
        file = function = line_file = None
        callee = False
        for line in lines:
            key, _, rest = line.rstrip("\n").partition("=")
            if key == "fl":
                file = self.name("f", rest)
            elif key in ("fi", "fe"):
                line_file = self.name("f", rest)
            elif key in ("cfi", "cfl"):
                self.name("f", rest)
            elif key == "fn":
                function = self.name("n", rest)
                line_file = file
                self.files.setdefault(function.split("'")[0], set()).add(file)
            elif key == "cfn":
                self.name("n", rest)
            elif key == "calls":
                callee = True
            elif line[:1].isdigit() or line[:1] in "+-*":
                if not callee and not LEFT_OUT.search(line_file or ""):
                    self.cost[file, function] += int(line.split()[1])
                callee = False

    def works_for_the_world(self, function):
        """Whether a function of base/ was called by the simulated world, through base/ alone."""
        for caller in function.split("'")[1:]:
            files = self.files.get(caller, set())
            if files and all(WORLD.search(file) for file in files):
                return True
            if not any("/src/base/" in file for file in files):
                return False
        return False

    def layers(self):
        """Own instructions by layer."""
        found = Counter()
        for (file, function), cost in self.cost.items():
            own = OWN.search(file or "")
            if not own or WORLD.search(file) or LEFT_OUT.search(file):
                continue
            if own.group(1) == "base" and self.works_for_the_world(function):
                continue
            found[own.group(1)] += cost
        return found


def instructions(replay, size, events, requests):
    with tempfile.TemporaryDirectory(prefix="parley-callgrind-") as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(["valgrind", "--tool=callgrind", f"--separate-callers={CALLERS}",
                               f"--callgrind-out-file={out}", replay, str(size), str(events),
                               str(requests)], capture_output=True, text=True, check=False,
                              env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"})
        if done.returncode != 0:
            sys.exit(f"replay {size} {events} {requests} failed: {done.stderr}")
        return Profile(out).layers()


def each(replay, size, events, requests):
    """Instructions a request, by layer."""
    once, twice = (instructions(replay, size, events, count) for count in (requests, 2 * requests))
    return {layer: (twice[layer] - once[layer]) / requests for layer in twice}


def rounded(layers):
    kept = {layer: round(count, 1) for layer, count in sorted(layers.items()) if round(count, 1)}
    return {"sum": round(sum(layers.values()), 1), **kept}


def measure(replay):
    few, many = 10, 110
    short = each(replay, 1024, few, 3)
    long = each(replay, 1024, many, 3)
    event = {layer: (long[layer] - short.get(layer, 0)) / (many - few) for layer in long}
    return {"plain 1 KB": rounded(each(replay, 1024, 0, 10)),
            "plain 64 KB": rounded(each(replay, 65536, 0, 5)),
            "event of a stream": rounded(event)}


def compare(found, baseline):
    """Prints the table; the names whose sums are dearer."""
    dear = []
    for name, layers in found.items():
        before = baseline.get(name, {})
        for layer in [*layers, *(layer for layer in before if layer not in layers)]:
            value, old = layers.get(layer, 0), before.get(layer, 0)
            change = value / old - 1 if old else None
            far = abs(value - old) > TOLERANCE * before.get("sum", 0)
            label = name if layer == "sum" else f"  {layer}"
            print(f"{label:20s}{value:14,.1f}" +
                  (f"{old:14,.1f}" + (f" {change:+8.1%}" if old else "     new") +
                   ("  <- more than 2 %" if far else "") if before else ""))
            if layer == "sum" and before and change > TOLERANCE:
                dear.append(name)
    return dear


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replay", required=True, help="the program of perf/instructions/replay.c")
    parser.add_argument("--record", action="store_true", help="what is found becomes the baseline")
    parser.add_argument("--fail", action="store_true", help="exit 1 where a sum is more than 2 %% dearer")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("SKIP: valgrind is not installed")
        sys.exit(SKIPPED)
    replay = os.path.abspath(options.replay)
    now = tools(replay)
    found = measure(replay)
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
    print(f"{'':20s}{'now':>14s}{'baseline':>14s}")
    dear = compare(found, baseline["instructions"])
    other = [name for name in now if baseline["tools"].get(name) != now[name]]
    if other:
        print(f"SKIP: another {', another '.join(other)} than the baseline was made with")
        sys.exit(SKIPPED)
    if dear:
        print(f"{', '.join(dear)}: dearer by more than 2 %. If that is meant: scripts/instructions --record, "
              "and say why in the commit")
    sys.exit(1 if dear and options.fail else 0)


if __name__ == "__main__":
    main()
