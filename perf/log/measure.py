#!/usr/bin/env python3
"""What the log does: records a second made durable, integrated and provable; how long a start takes after a
crash; bytes on the disk for each request in open and in sealed segments; how fast `parley verify` reads both.

    CC=gcc meson setup build-perf -Dbuildtype=release -Dperf=true && ninja -C build-perf
    perf/log/measure.py --build build-perf [--records 10000000] [--rate 50000] [--directory DIR]

DIR must be on the disk that is to be measured; it is made, and removed again. A record is an admit or a settle of
purpose product, as the gateway writes them. `append` (append.c) is the log alone: what a gateway adds is in
perf/gateway. Sizes are files, without the spare segment and the part of the last one that is not used.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", required=True, type=Path, help="a build with -Dperf=true")
    parser.add_argument("--records", type=int, default=2000000)
    parser.add_argument("--producers", type=int, default=2)
    parser.add_argument("--flight", type=int, default=256, help="records of a producer on their way")
    parser.add_argument("--rate", type=int, default=50000, help="records a second of the paced run")
    parser.add_argument("--directory", type=Path, default=Path("perf/out/log"))
    parser.add_argument("--keep", action="store_true", help="leave the logs")
    return parser.parse_args()


def run(*arguments):
    done = subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode:
        sys.exit(f"{arguments[0]}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def clear(log):
    """A log and its mark."""
    shutil.rmtree(log, ignore_errors=True)
    Path(f"{log}.mark").unlink(missing_ok=True)


def verify(parley, log, records):
    """One check with its processor time and its most memory."""
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(["/usr/bin/env", "LC_ALL=C", parley, "verify", log], stdout=subprocess.PIPE, text=True)
    peak = 0
    while child.poll() is None:
        try:
            for line in Path(f"/proc/{child.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak = max(peak, int(line.split()[1]))
        except OSError:
            pass
        time.sleep(0.05)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode:
        sys.exit(child.stdout.read())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.monotonic() - started, 2), "records_per_cpu_second": round(records / cpu),
            "memory_mb": round(peak / 1024, 1)}


def sizes(log):
    """Bytes of full open segments and of sealed ones, and how many records each have."""
    files = sorted((int(path.name[:12], 16), path) for path in (log / "segments").iterdir()
                   if path.suffix in (".seg", ".seal"))
    found = {}
    for (first, path), (following, _) in zip(files, files[1:]):
        size, records = found.get(path.suffix, (0, 0))
        found[path.suffix] = (size + path.stat().st_size, records + following - first)
    tiles = sum(path.stat().st_size for path in (log / "tile").rglob("*") if path.is_file())
    return {suffix: round(2 * size / records, 1) for suffix, (size, records) in found.items()}, tiles


def main():
    options = parse()
    append, parley = options.build / "perf" / "append", options.build / "src" / "cmd" / "parley"
    log = options.directory
    clear(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    result = {"append": json.loads(run(append, log, options.records, options.producers, options.flight, "open"))}
    # The same at the rate of the bound, in a log of its own.
    paced = log.parent / (log.name + "-paced")
    clear(paced)
    result["append_at_a_fixed_rate"] = {"offered_per_second": options.rate, **json.loads(run(
        append, paced, min(options.records, 10 * options.rate), options.producers, 4096, "open", options.rate))}
    clear(paced)
    result["bytes_a_request_open"] = sizes(log)[0].get(".seg")
    result["verify_open"] = verify(parley, log, options.records)
    result["start_seconds"] = json.loads(run(append, log, "start"))["open_seconds"]
    result["seal"] = json.loads(run(append, log, "seal"))
    found, tiles = sizes(log)
    result["bytes_a_request_sealed"] = found.get(".seal")
    result["bytes_a_request_tiles"] = round(2 * tiles / options.records, 1)
    result["start_sealed_seconds"] = json.loads(run(append, log, "start"))["open_seconds"]
    result["verify_sealed"] = verify(parley, log, options.records)
    print(json.dumps(result, indent=1))
    if not options.keep:
        clear(log)


if __name__ == "__main__":
    main()
