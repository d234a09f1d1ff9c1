#!/usr/bin/env python3
"""What strict durability adds: to a plain request at a fixed rate, and to the time until a stream begins
where the upstream takes a while itself.

    perf/log/strict.py --parley build-perf/src/cmd/parley [--rounds 5] [--seconds 4] [--directory DIR]

Two gateways, strict and relaxed, and none, in front of one stand-in, measured in turn; open loop, timed from
each request's intended start. DIR must be on the disk that is to be measured. Medians over the rounds, in ms.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "gateway"))
from measure import Load  # noqa: E402
from peers import LOAD_CORE, Bench  # noqa: E402

NAMES = ("direct", "relaxed", "strict")
# What the upstream takes, the generator's options, and the figure that counts.
CASES = {"plain": (0, [], "latency_ns"), "stream": (5, ["--stream"], "head_ns")}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--parley", required=True, type=Path)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--directory", type=Path, default=Path("perf/out/strict"))
    return parser.parse_args()


def measure(options, case):
    first_token_ms, more, figure = CASES[case]
    folder = options.directory.resolve() / case
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = {name: {"p50": [], "p99": []} for name in NAMES}
    with Bench(str(options.parley.resolve()), None, str(folder),
               ["--first-token-ms", first_token_ms, "--output-tokens", 16]) as bench:
        peers = {name: bench.add(name) for name in NAMES}
        load = Load(str(options.parley.resolve()), LOAD_CORE, {})
        for number in range(options.rounds):
            for name in NAMES if number % 2 == 0 else reversed(NAMES):
                peer = peers[name]
                report = load.run(peer.url, peer.key, [*peer.options(), "--rate", options.rate, "--seconds",
                                                       options.seconds, *more])
                if report["failed"]:
                    sys.exit(f"{name}: {report['failed']} requests failed: {report['first_failure']}")
                for share, values in found[name].items():
                    values.append(report[figure][share] / 1e6)
    shutil.rmtree(folder)
    result = {name: {share: round(statistics.median(values), 3) for share, values in shares.items()}
              for name, shares in found.items()}
    result["strict_adds"] = {share: round(result["strict"][share] - result["relaxed"][share], 3)
                             for share in ("p50", "p99")}
    return result


def main():
    options = parse()
    print(json.dumps({f"{case}, {options.rate} a second, upstream {CASES[case][0]} ms": measure(options, case)
                      for case in CASES}, indent=1))


if __name__ == "__main__":
    main()
