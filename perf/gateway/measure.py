"""What is measured while a load runs: processor time of the proxy, the stand-in and the generator, time
stolen from the machine, memory. Statistics over rounds."""

import json
import os
import statistics
import subprocess

STEAL_MAX = 0.01  # of the machine's time: a sample above it is thrown away, unless told otherwise


# ---- processes ----


def descendants(pid):
    """The process and all below it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as stat:
                    parents[int(entry)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    found, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def cpu_seconds(pid):
    """Time on a processor of every thread of a process and of those below it, to the nanosecond where
    the kernel tells it (schedstat), else in clock ticks."""
    total = 0.0
    for process in descendants(pid):
        try:
            for thread in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{thread}/schedstat", encoding="ascii") as stat:
                    total += int(stat.read().split()[0]) / 1e9
        except FileNotFoundError:
            with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory(pid):
    """Bytes of user memory: what is resident and private to the process tree."""
    total = 0
    for process in descendants(pid):
        with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
    return total


def slab():
    """Bytes of kernel objects (sockets and what belongs to them), of the whole machine."""
    with open("/proc/meminfo", encoding="ascii") as info:
        for line in info:
            if line.startswith("Slab:"):
                return int(line.split()[1]) * 1024
    return 0


def machine_time():
    """(stolen, all) clock ticks of the machine."""
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(value) for value in stat.readline().split()[1:9]]
    return fields[7], sum(fields)


# ---- one load ----


class Sample(dict):
    """Figures of one load, by name."""


class Load:
    """`parley load` with marks; the rest of the world is looked at as the measurement begins and ends."""

    def __init__(self, parley, core, watched):
        self.parley = parley
        self.core = core
        self.watched = watched  # {name: pid}

    def look(self, pid):
        watched = dict(self.watched, load=pid)
        return {name: cpu_seconds(one) for name, one in watched.items()}, machine_time()

    def run(self, url, key, options, during=None):
        """The generator's report, with `cpu` {name: seconds} and `steal`. `during` is called at the end
        of the measurement, while every connection is still open."""
        command = ["taskset", "-c", str(self.core), self.parley, "load", "--target", url, "--marks",
                   "--json", *map(str, options)]
        environment = dict(os.environ)
        if key:
            command += ["--key-env", "LOAD_KEY"]
            environment["LOAD_KEY"] = key
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            before = after = None
            rest = []
            for line in child.stdout:
                if line == "begin\n":
                    before = self.look(child.pid)
                elif line == "end\n":
                    after = self.look(child.pid)
                    if during:
                        during()
                else:
                    rest.append(line)
        if not before or not after:
            raise SystemExit(f"{' '.join(command)} measured nothing: {''.join(rest)}")
        report = json.loads("".join(rest))
        report["cpu"] = {name: after[0][name] - before[0][name] for name in before[0]}
        report["steal"] = (after[1][0] - before[1][0]) / max(1, after[1][1] - before[1][1])
        return report


# ---- rounds ----


def rounds(names, count, measure, say, steal_max=STEAL_MAX):
    """({name: [sample]}, {name: [steal]}): `count` good samples of each name, in ABBA order, and how much
    was stolen during those thrown away. `measure(name)` gives a Sample with `steal`; one in whose time
    more than `steal_max` of the machine was stolen is told and measured again, at most twice as often as
    asked for. `round` is added to each: what was measured in the same one may be compared in pairs."""
    samples = {name: [] for name in names}
    thrown_away = {name: [] for name in names}
    for number in range(2 * count):
        left = [name for name in names if len(samples[name]) < count]
        if not left:
            break
        for name in left if number % 2 == 0 else reversed(left):
            sample = measure(name)
            good = sample["steal"] <= steal_max
            say(number, name, sample, good)
            if good:
                samples[name].append(Sample(sample, round=number))
            else:
                thrown_away[name].append(sample["steal"])
    return samples, thrown_away


def summarize(samples):
    """{figure: {median, mad, samples, rounds}} of the samples of one name."""
    out = {}
    for figure in samples[0] if samples else ():
        kept = [sample for sample in samples if sample.get(figure) is not None]
        if kept and figure != "round":
            values = [sample[figure] for sample in kept]
            median = statistics.median(values)
            out[figure] = {"median": median,
                           "mad": statistics.median(abs(value - median) for value in values),
                           "samples": values, "rounds": [sample["round"] for sample in kept]}
    return out


def differences(row, other):
    """{median, samples, rounds} of one figure less that of another name, round by round; None where no
    round kept a sample of both."""
    others = dict(zip(other["rounds"], other["samples"]))
    pairs = [(number, value - others[number]) for number, value in zip(row["rounds"], row["samples"])
             if number in others]
    if not pairs:
        return None
    values = [value for _, value in pairs]
    return {"median": statistics.median(values), "samples": values,
            "rounds": [number for number, _ in pairs]}
