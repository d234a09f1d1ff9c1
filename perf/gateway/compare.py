#!/usr/bin/env python3
"""What `parley serve` costs beside bare reverse proxies, in one run on one machine.

Every proxy has one worker and is pinned to processor 0, its other threads (the gateway's log and admin
threads) too; the stand-in upstream and the load generator share processor 1. Rounds are interleaved
(ABBA); a sample in whose time more than --steal-max of the machine was stolen is measured again; medians and
median absolute deviations; what is "added" is the median of differences within a round. CPU is what every
thread of the proxy's processes used between the marks of the generator.

    perf/gateway/compare.py --parley build/src/cmd/parley --scenario plain1k [--rounds 7] [--seconds 6]

Scenarios:
    plain1k, plain64k      64 connections, closed loop, prompts of 1 KB and 64 KB: CPU per request
    rate1000, rate10000    the same at a fixed rate (open loop)
    bound                  evaluation grants: each request a leaf of a registered suite
    latency                open loop at half of what the slowest carries: latency added to direct
    sse                    4,000 streams: CPU per event, memory per stream
    sse500                 500 streams of 20 events/s: delay of an event added to direct
    sse9000                9,000 streams of 1 event/s

Peers: nginx and haproxy (Debian packages); portkey (npm install --no-package-lock --prefix
perf/gateway/portkey); strict and relaxed (parley serve); bare (build with -Dperf=true); direct.
"""
import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import sys
import tempfile

from measure import STEAL_MAX, Load, Sample, differences, memory, rounds, slab, summarize
from peers import Bench, LOAD_CORE

ENDLESS = 1_000_000_000


# ---- what a scenario is ----


class Scenario:
    """A closed or an open loop of plain requests. `figures`: (key, heading, digits)."""

    peers = ("nginx", "haproxy", "bare", "relaxed", "strict")
    base = "nginx"
    ratio = "cpu_us"
    sim = ()
    figures = (("cpu_us", "CPU us/request", 1), ("rate", "requests/s", 0), ("p50_us", "p50 us", 0),
               ("p99_us", "p99 us", 0), ("sim_us", "sim us", 1), ("load_us", "load us", 1),
               ("other_core", "core 1", 2))

    def __init__(self, settings, *options):
        self.settings = settings
        self.options = options

    def prepare(self, bench, load_of):
        """Before the rounds; `load_of(peer)` gives a Load that watches it."""

    def load_options(self, peer):
        return [*peer.options(), "--warmup", self.settings.warmup, "--seconds", self.settings.seconds,
                *self.options]

    def measure(self, peer, load):
        report = load.run(peer.url, peer.key, self.load_options(peer))
        if report["failed"]:
            raise SystemExit(f"{peer.name}: {report['failed']} requests failed: {report['errors']} "
                             f"{report['first_failure']}")
        return self.sample(report, report["requests"])

    def sample(self, report, count):
        cpu = report["cpu"]
        each = {name: cpu[name] * 1e6 / max(1, count) for name in cpu}
        return Sample(
            cpu_us=each.get("proxy"), sim_us=each["sim"], load_us=each["load"],
            rate=report["requests_per_second"], p50_us=report["latency_ns"]["p50"] / 1e3,
            p99_us=report["latency_ns"]["p99"] / 1e3, steal=report["steal"],
            other_core=(cpu["sim"] + cpu["load"]) / report["seconds"])

    def conclude(self, summary):
        """Figures that need more than one peer."""


class Plain(Scenario):
    pass


class AtRate(Scenario):
    def __init__(self, settings, rate, *options):
        super().__init__(settings, "--rate", rate, *options)


class BoundSuite(Scenario):
    peers = ("nginx", "bound relaxed", "bound strict")


class Latency(Scenario):
    """At half the rate of the slowest; Poisson arrivals, the same for all."""

    peers = ("direct", "nginx", "haproxy", "relaxed", "strict")
    ratio = None
    figures = (("rate", "requests/s", 0), ("p50_us", "p50 us", 0), ("p99_us", "p99 us", 0),
               ("added_p50_us", "added p50", 0), ("added_p99_us", "added p99", 0),
               ("cpu_us", "CPU us/request", 1), ("other_core", "core 1", 2))

    def prepare(self, bench, load_of):
        rate = self.settings.rate
        if not rate:
            rates = {}
            for name, peer in bench.peers.items():
                if name != "direct":
                    report = load_of(peer).run(peer.url, peer.key, [
                        *peer.options(), "--warmup", 1, "--seconds", self.settings.seconds])
                    rates[name] = report["requests_per_second"]
            rate = min(rates.values()) / 2
            print("closed loop: " + ", ".join(f"{name} {value:.0f}/s" for name, value in rates.items())
                  + f"; half of the slowest: {rate:.0f}/s", flush=True)
        self.options = ("--rate", f"{rate:.0f}", "--poisson")

    def conclude(self, summary):
        add_to_direct(summary, "p50_us", "p99_us")


class Streams(Scenario):
    """Streams held open, each with events at an exact rate."""

    figures = (("cpu_us", "CPU us/event", 2), ("rate", "events/s", 0), ("carried", "carried", 3),
               ("p50_us", "delay p50 us", 0), ("p99_us", "delay p99 us", 0),
               ("stream_bytes", "user B/stream", 0), ("slab_bytes", "slab B/stream", 0),
               ("sim_us", "sim us", 1), ("load_us", "load us", 1), ("other_core", "core 1", 2))

    def __init__(self, settings, streams, per_second, peers=None):
        super().__init__(settings)
        self.streams = settings.streams or streams
        self.per_second = settings.events_per_second or per_second
        self.peers = peers or self.peers
        self.idle = {}  # user memory of each peer before its first stream
        self.sim = ("--events-per-second", self.per_second, "--events", ENDLESS, "--stamp")

    def load_options(self, peer):
        # The generator's ramp spreads the streams over the period of their events.
        ramp = max(self.streams / 2000, 1 / self.per_second)
        return [*peer.options(), "--streams", self.streams, "--max-tokens", 1_000_000, "--warmup",
                self.settings.warmup, "--seconds", self.settings.seconds, "--ramp", f"{ramp:.2f}"]

    def measure(self, peer, load):
        seen = {}

        def look():
            seen["user"] = memory(peer.process.pid) if peer.process else None
            seen["slab"] = slab()

        if peer.process:  # what was freed after earlier streams may still be resident
            self.idle.setdefault(peer.name, memory(peer.process.pid))
        user = self.idle.get(peer.name)
        kernel = slab()
        report = load.run(peer.url, peer.key, self.load_options(peer), look)
        if report["failed"] or report["open"] < self.streams:
            raise SystemExit(f"{peer.name}: {report['open']} of {self.streams} streams open, "
                             f"{report['failed']} failed: {report['errors']} {report['first_failure']}")
        out = self.sample(report, report["events"])
        delay = report["event_delay_ns"]
        out.update(rate=report["events_per_second"],
                   carried=report["events_per_second"] / (self.streams * self.per_second),
                   p50_us=delay["p50"] / 1e3, p99_us=delay["p99"] / 1e3, p999_us=delay["p999"] / 1e3,
                   stream_bytes=(seen["user"] - user) / self.streams if peer.process else None,
                   slab_bytes=(seen["slab"] - kernel) / self.streams)
        return out


class Delay(Streams):
    ratio = None
    figures = (("rate", "events/s", 0), ("p50_us", "delay p50 us", 0), ("p99_us", "delay p99 us", 0),
               ("p999_us", "p99.9 us", 0), ("added_p50_us", "added p50", 0),
               ("added_p99_us", "added p99", 0), ("cpu_us", "CPU us/event", 2),
               ("other_core", "core 1", 2))

    def conclude(self, summary):
        add_to_direct(summary, "p50_us", "p99_us")


def add_to_direct(summary, *figures):
    """Only what was kept of both in the same round is compared."""
    direct = summary.get("direct")
    for name, row in summary.items():
        for figure in figures:
            if direct and name != "direct" and figure in row:
                added = differences(row[figure], direct[figure])
                if added:
                    row["added_" + figure] = added


WITH_DIRECT = ("direct", "nginx", "haproxy", "relaxed", "strict")
SCENARIOS = {
    "plain1k": lambda settings: Plain(settings, "--bytes", 1024),
    "plain64k": lambda settings: Plain(settings, "--bytes", 65536),
    "rate1000": lambda settings: AtRate(settings, 1000, "--bytes", 1024),
    "rate10000": lambda settings: AtRate(settings, 10000, "--bytes", 1024),
    "bound": lambda settings: BoundSuite(settings, "--bytes", 1024),
    "latency": Latency,
    "sse": lambda settings: Streams(settings, 4000, 12),
    "sse500": lambda settings: Delay(settings, 500, 20, WITH_DIRECT),
    "sse9000": lambda settings: Delay(settings, 9000, 1, ("direct", "haproxy", "strict")),
}


# ---- telling ----


def cell(row, key, digits):
    if not row or key not in row:
        return "-"
    return f"{row[key]['median']:,.{digits}f}"


def print_table(scenario, summary, title):
    base = summary.get(scenario.base, {}).get(scenario.ratio) if scenario.ratio else None
    headings = [heading for _, heading, _ in scenario.figures]
    if base:
        headings.insert(1, f"x {scenario.base}")
        headings.insert(2, "MAD")
    print(f"\n{title}\n\n| | " + " | ".join(headings) + " |\n|---|" + "---:|" * len(headings))
    for name, row in summary.items():
        cells = [cell(row, key, digits) for key, _, digits in scenario.figures]
        if base:
            ratio = row[scenario.ratio]["median"] / base["median"] if scenario.ratio in row else None
            cells.insert(1, f"{ratio:.2f}" if ratio else "-")
            cells.insert(2, f"{row[scenario.ratio]['mad']:.1f}" if ratio else "-")
        print(f"| {name} | " + " | ".join(cells) + " |")


def remarks(scenario, summary, thrown_away, steal_max):
    """Lines about what the table has no figures of."""
    out = []
    for name, row in summary.items():
        if not row:
            steal = thrown_away[name]
            out.append(f"{name}: nothing was kept: during each of its {len(steal)} samples {100 * min(steal):.1f} to "
                       f"{100 * max(steal):.1f} % of the machine's time was stolen, more than {100 * steal_max:g} % "
                       "(--steal-max)")
        elif "direct" in summary and name != "direct" and any(
                key.startswith("added_") and key not in row for key, _, _ in scenario.figures):
            out.append(f"{name}: nothing is added to direct: no round kept a sample of both")
    return out


def machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "")
    return {"processor": model, "processors": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0]}


def say(number, name, sample, good):
    figures = ", ".join(f"{key} {value:.1f}" for key, value in sample.items()
                        if isinstance(value, (int, float)) and key != "steal")
    print(f"round {number + 1} {name:14s} {figures}, steal {sample['steal']:.3f}"
          + ("" if good else " (thrown away)"), flush=True)


# ---- running ----


def run(settings, name, scenario, folder):
    peers = settings.peers.split(",") if settings.peers else scenario.peers
    with Bench(settings.parley, settings.bare, folder, scenario.sim) as bench:
        for peer in peers:
            bench.add(peer)

        def load_of(peer):
            watched = {"sim": bench.sim.pid}
            if peer.process:
                watched["proxy"] = peer.process.pid
            return Load(settings.parley, LOAD_CORE, watched)

        scenario.prepare(bench, load_of)
        samples, thrown_away = rounds(
            list(peers), settings.rounds,
            lambda one: scenario.measure(bench.peers[one], load_of(bench.peers[one])), say,
            settings.steal_max)
        summary = {one: summarize(samples[one]) for one in peers}
    scenario.conclude(summary)
    command = " ".join(["perf/gateway/compare.py", *map(shlex.quote, sys.argv[1:])])
    allowed = "" if settings.steal_max == STEAL_MAX else f"up to {100 * settings.steal_max:g} % stolen; "
    print_table(scenario, summary, f"{name}: {settings.rounds} rounds of {settings.seconds} s, medians; "
                                   f"{allowed}load average {os.getloadavg()[0]:.1f}\n`{command}`")
    for line in remarks(scenario, summary, thrown_away, settings.steal_max):
        print(line)
    return {"command": command, "machine": machine(), "steal_max": settings.steal_max, "peers": summary,
            "thrown_away": thrown_away}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parley", required=True, help="the release binary")
    parser.add_argument("--bare", help="the program of that name (default: beside the binary's build)")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="repeatable")
    parser.add_argument("--peers", help="comma-separated, instead of the scenario's own")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--warmup", type=float, default=1)
    parser.add_argument("--rate", type=float, help="of latency, instead of half of the slowest")
    parser.add_argument("--streams", type=int, help="of sse*, instead of the scenario's own")
    parser.add_argument("--events-per-second", type=float, help="of each stream of sse*")
    parser.add_argument("--steal-max", type=float, default=STEAL_MAX, metavar="F",
                        help="of the machine's time stolen during a sample that is kept (%(default)s)")
    parser.add_argument("--output", help="where the JSON goes (perf/out/gateway-SCENARIO.json)")
    settings = parser.parse_args()
    settings.parley = os.path.abspath(settings.parley)
    settings.bare = os.path.abspath(settings.bare or os.path.join(
        os.path.dirname(settings.parley), "..", "..", "perf", "bare"))
    for name in settings.scenario or ["plain1k"]:
        folder = tempfile.mkdtemp(prefix="parley-perf-")
        os.chmod(folder, 0o755)
        try:
            result = run(settings, name, SCENARIOS[name](settings), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        path = settings.output or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "out",
                                               f"gateway-{name}.json")
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            json.dump(result, out, indent=1)
            out.write("\n")
        print(f"\n{os.path.relpath(path)}")


if __name__ == "__main__":
    main()
