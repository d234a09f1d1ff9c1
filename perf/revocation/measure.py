#!/usr/bin/env python3
"""What DESIGN.md section 5 promises of a revocation, measured at many live streams: of a key, a grant, an
organisation, and an organisation's affiliates.

    CC=gcc meson setup build-perf -Dbuildtype=release -Dperf=true && ninja -C build-perf
    perf/revocation/measure.py --build build-perf [--streams 5000] [--kinds grant,key]

One gateway, one stand-in, one client that holds the streams (hold.c), all on this machine. Printed for
each kind: how long the command took, and the processor time that the gateway used meanwhile; when the
first, the median and the last stream had read its native error, counted from the command's return
(negative: before it), and how far first and last lie apart: so long it took to tell them all. What must be 0: streams without their error, events that were made after the return
and relayed all the same (the stand-in stamps them), events after the error, streams of others that were
touched.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "test" / "script"))

OTHERS = 50
STATUS, STAMP, ERROR, AFTER, OVER = 1, 3, 5, 6, 7  # columns of hold.c


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--build", required=True, type=Path, help="a build with -Dperf=true")
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--kinds", default="grant,key,org,affiliates")
    parser.add_argument("--rate", type=float, default=1.0, help="events a second of each stream")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


class Holder:
    """hold.c with requests of a key in two dialects."""

    def __init__(self, hold, directory, name, port, key, count):
        from parley_test import PATHS, anthropic, encode, openai
        files = []
        for dialect, body in (("anthropic", anthropic(max_tokens=8000, stream=True)),
                              ("openai", openai(max_completion_tokens=8000, stream=True))):
            text = encode(body)
            field = (f"x-api-key: {key}\r\nanthropic-version: 2023-06-01" if dialect == "anthropic"
                     else f"authorization: Bearer {key}")
            path = Path(directory) / f"{name}-{dialect}"
            path.write_bytes((f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: x\r\n{field}\r\n"
                              f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
                              ).encode() + text)
            files.append(str(path))
        self.child = subprocess.Popen([hold, str(port), str(count), *files], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def wait_running(self):
        line = self.child.stdout.readline()
        if line != "running\n":
            raise SystemExit(f"the streams do not run: {line}")

    def result(self, end=False):
        """A row of numbers for each stream, once all are over or (`end`) at once."""
        if end:
            self.child.stdin.close()
        rows = [[int(number) for number in line.split()] for line in self.child.stdout]
        self.child.wait()
        return rows

    def stop(self):
        self.child.kill()
        self.child.wait()


def cpu_ns(process):
    """Processor time that the process's threads have used."""
    total = 0
    for path in Path(f"/proc/{process.child.pid}/task").glob("*/schedstat"):
        total += int(path.read_text().split()[0])
    return total


def act_of(kind, gate):
    if kind == "key":
        keys = json.loads(gate.act("key", "list", "--json"))["keys"]
        return ["key", "revoke", next(key["id"] for key in keys if key["grant"] == "prod")]
    if kind == "affiliates":
        gate.act("org", "link", "southlab", "acquiring", "acme", "--status", "confirmed")
        return ["org", "block", "southlab", "--affiliates", "--now"]
    return {"grant": ["grant", "revoke", "prod"], "org": ["org", "block", "acme"]}[kind]


def outcome(kind, gate, mine, others, times):
    """The figures; times: start, return (CLOCK_MONOTONIC), CPU."""
    returned = times["returned"]
    errors = sorted(row[ERROR] - returned for row in mine if row[ERROR])
    return {
        "kind": kind, "streams": len(mine), "printed": times["printed"],
        "command_ms": (returned - times["started"]) / 1e6, "cpu_ms": times["cpu"] / 1e6,
        "first_error_ms": errors[0] / 1e6, "median_error_ms": errors[len(errors) // 2] / 1e6,
        "p99_error_ms": errors[len(errors) * 99 // 100] / 1e6, "last_error_ms": errors[-1] / 1e6,
        "spread_ms": (errors[-1] - errors[0]) / 1e6,
        "not_200": sum(row[STATUS] != 200 for row in mine),
        "without_error": sum(row[ERROR] == 0 and row[STATUS] == 200 for row in mine),
        "made_after": sum(row[STAMP] > returned for row in mine),
        "after_error": sum(row[AFTER] for row in mine),
        "others_touched": sum(row[ERROR] != 0 or row[OVER] != 0 for row in others),
        "revoked_records": sum(entry["kind"] == "settle" and entry["ending"] == "revoked"
                               for entry in gate.records("usage")),
    }


def act(kind, gate):
    command = act_of(kind, gate)
    time.sleep(1)
    before, started = cpu_ns(gate.process), time.monotonic_ns()
    printed = gate.act(*command, "--reason", "measured")
    returned = time.monotonic_ns()
    return {"started": started, "returned": returned, "cpu": cpu_ns(gate.process) - before,
            "printed": printed.splitlines()[0]}


def measure(kind, options, directory):
    from parley_test import Gateway, Sim, product, wait_until
    hold = str(options.build / "perf" / "hold")
    sim = Sim(directory, "sim", "--events-per-second", options.rate, "--events", 1000000, "--stamp")
    gate = Gateway(Path(directory) / "gateway", sim.url)
    holders = []
    try:
        gate.start()
        gate.apply(product(), product("other", "surfboard"))
        holders.append(Holder(hold, directory, "other", gate.port, gate.key("other", "surfboard"),
                              OTHERS))
        holders.append(Holder(hold, directory, "prod", gate.port, gate.key("prod", "acme"),
                              options.streams))
        for holder in holders:
            holder.wait_running()
        times = act(kind, gate)
        mine = holders[1].result()
        others = holders[0].result(end=True)
        wait_until(lambda: gate.metric("parley_in_flight") == 0, "the gateway to settle", 120)
        return outcome(kind, gate, mine, others, times)
    finally:
        for holder in holders:
            holder.stop()
        gate.stop()
        sim.end()


def show(result):
    print(f"{result['kind']}: {result['streams']} live streams; the command took "
          f"{result['command_ms']:.1f} ms with its process (it printed: {result['printed']}), the "
          f"gateway {result['cpu_ms']:.1f} ms of processor time, "
          f"{1000 * result['cpu_ms'] / result['streams']:.1f} us a stream")
    print(f"  native errors read, from its return: first {result['first_error_ms']:.1f} ms, median "
          f"{result['median_error_ms']:.1f}, p99 {result['p99_error_ms']:.1f}, last "
          f"{result['last_error_ms']:.1f}; {result['spread_ms']:.1f} ms apart")
    print(f"  must be 0: not opened {result['not_200']}, without error {result['without_error']}, made "
          f"after the return {result['made_after']}, after the error {result['after_error']}, others "
          f"touched {result['others_touched']}; settled as revoked: {result['revoked_records']}",
          flush=True)


def main():
    options = parse()
    os.environ["PARLEY"] = str((options.build / "src" / "cmd" / "parley").resolve())
    os.environ["PARLEY_SOURCE"] = str(SOURCE)
    failed = False
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory(prefix="parley-perf-") as directory:
            result = measure(kind, options, directory)
        print(json.dumps(result)) if options.json else show(result)
        failed = failed or any(result[key] for key in ("not_200", "without_error", "made_after", "after_error",
                                                       "others_touched"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
