"""What perf/gateway/compare.py tells of samples, some of which had to be thrown away."""

import contextlib
import io
import os
import sys
import unittest

from parley_test import main

sys.path.insert(0, os.path.join(os.environ["PARLEY_SOURCE"], "perf", "gateway"))
import compare  # noqa: E402
import measure  # noqa: E402


class Samples(unittest.TestCase):
    names = ("direct", "nginx", "strict")

    def table(self, count, script, **options):
        """What is printed where `script(name, number)` gives p50 and steal of a name's sample."""
        taken = dict.fromkeys(self.names, 0)

        def sample(name):
            p50, steal = script(name, taken[name])
            taken[name] += 1
            return measure.Sample(cpu_us=None if name == "direct" else 10.0, p50_us=p50, p99_us=2 * p50,
                                  rate=1000.0, other_core=0.5, steal=steal)

        scenario = compare.Latency(None)
        samples, thrown_away = measure.rounds(list(self.names), count, sample, lambda *_: None, **options)
        summary = {name: measure.summarize(samples[name]) for name in self.names}
        scenario.conclude(summary)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            compare.print_table(scenario, summary, "latency")
        rows = {}
        for line in out.getvalue().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows[cells[0]] = cells[1:]
        steal_max = options.get("steal_max", measure.STEAL_MAX)
        return rows, compare.remarks(scenario, summary, thrown_away, steal_max), summary

    def test_a_name_without_a_sample_takes_nothing_from_the_others(self):
        def script(name, number):
            return {"direct": 100.0, "nginx": 150.0, "strict": 400.0}[name], \
                0.05 + number / 1000 if name == "strict" else 0.0

        rows, remarks, _ = self.table(3, script)
        self.assertEqual(rows["nginx"], ["1,000", "150", "300", "50", "100", "10.0", "0.50"])
        self.assertEqual(rows["strict"], ["-"] * 7)
        self.assertEqual(len(remarks), 1, remarks)
        self.assertIn("strict: nothing was kept: during each of its 6 samples 5.0 to 5.5 %", remarks[0])
        rows, remarks, _ = self.table(3, script, steal_max=0.1)
        self.assertEqual((rows["strict"][3], remarks), ("300", []))

    def test_what_is_added_is_of_one_round(self):
        """The machine becomes slower by 1,000 us a round: only within a round does it cancel out."""
        rounds_of = {"direct": (0, 1, 2, 3), "nginx": (0, 1, 2, 3), "strict": (0, 1, 2, 3)}
        thrown = {("direct", 0), ("nginx", 1)}

        def script(name, number):
            base = 1000.0 * rounds_of[name][number]
            return base + {"direct": 0.0, "nginx": 50.0, "strict": 300.0}[name], \
                0.02 if (name, number) in thrown else 0.0

        _, remarks, summary = self.table(3, script)
        self.assertEqual(summary["nginx"]["added_p50_us"],
                         {"median": 50.0, "samples": [50.0, 50.0], "rounds": [2, 3]})
        self.assertEqual(summary["strict"]["added_p50_us"]["samples"], [300.0, 300.0])
        self.assertEqual(remarks, [])

    def test_without_a_common_round_nothing_is_added(self):
        def script(name, number):
            return 100.0, 0.02 if (name, number) in {("direct", 0), ("nginx", 1)} else 0.0

        rows, remarks, _ = self.table(1, script)
        self.assertEqual((rows["nginx"][1], rows["nginx"][3]), ("100", "-"))
        self.assertEqual(remarks, [f"{name}: nothing is added to direct: no round kept a sample of both"
                                   for name in ("nginx", "strict")])


if __name__ == "__main__":
    main()
