#!/usr/bin/env python3
"""Bytes of the log that a request takes in an open segment, by a gateway as it runs: under purpose product and
under an evaluation grant with a registered suite and a run.

    perf/log/bytes.py --parley build-perf/src/cmd/parley [--requests 2000] [--directory DIR]

Frames are read as docs/formats/log.md has them. What they take sealed is measured by log/measure.py.
"""

import argparse
import json
import shutil
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "gateway"))
from measure import Load  # noqa: E402
from peers import LOAD_CORE, Bench  # noqa: E402

CASES = {"product": ("strict", "usage"), "evaluation": ("bound strict", "evaluation")}
KINDS = {1: "admit", 2: "settle"}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--parley", required=True, type=Path)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--directory", type=Path, default=Path("perf/out/bytes"))
    return parser.parse_args()


def frames(folder):
    """(kind, bytes) of each frame of the open segments."""
    for path in sorted(folder.glob("*.seg")):
        data, at = path.read_bytes(), 4096
        while data[at:at + 2] == b"PR":
            size = 32 + struct.unpack_from("<H", data, at + 14)[0]
            yield data[at + 3], size
            at += size


def main():
    options = parse()
    parley = str(options.parley.resolve())
    result = {}
    for case, (peer_name, log) in CASES.items():
        folder = options.directory.resolve() / case
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with Bench(parley, None, str(folder), ["--output-tokens", 64]) as bench:
            peer = bench.add(peer_name)
            report = Load(parley, LOAD_CORE, {}).run(peer.url, peer.key, [
                *peer.options(), "--warmup", 0, "--requests", options.requests, "--seconds", 600])
            if report["failed"]:
                sys.exit(f"{case}: {report['failed']} requests failed: {report['first_failure']}")
        sizes = {name: [] for name in KINDS.values()}
        for kind, size in frames(Path(peer.lab) / "log" / log / "segments"):
            if kind in KINDS:
                sizes[KINDS[kind]].append(size)
        means = {name: sum(found) / len(found) for name, found in sizes.items()}
        result[case] = {"requests": len(sizes["settle"]), "bytes_a_request": round(sum(means.values()), 1),
                        **{name: round(mean, 1) for name, mean in means.items()}}
        shutil.rmtree(folder)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
