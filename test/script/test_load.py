"""The load generator against the stand-in, over real sockets: what it counts is what happened."""

import json
import os
import signal
import time

from parley_test import PARLEY, Case, Process, main, run, wait_until


class Load(Case):
    def load(self, sim, *options, **environment):
        done = run("load", "--target", sim.url, "--json", *options,
                   env={**os.environ, **environment})
        self.assertTrue(done.stdout, done.stderr)
        return done.returncode, json.loads(done.stdout)

    def test_a_closed_loop(self):
        sim = self.sim()
        for dialect in ("anthropic", "openai"):
            status, report = self.load(sim, "--dialect", dialect, "--connections", 8, "--ramp", 0, "--requests",
                                       500, "--warmup", 0)
            self.assertEqual(status, 0)
            self.assertEqual((report["requests"], report["failed"]), (500, 0))
            self.assertEqual(report["statuses"], {"200": 500})
            latency = report["latency_ns"]
            self.assertEqual(latency["count"], 500)
            self.assertTrue(0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"])
        self.assertTrue(1000 <= sim.end_and_count() <= 1016)

    def test_an_open_loop_starts_what_was_meant(self):
        for options in ((), ("--poisson",)):
            sim = self.sim()
            status, report = self.load(sim, "--rate", 400, "--requests", 300, "--warmup", 0.2,
                                       *options)
            self.assertEqual((status, report["failed"]), (0, 0))
            self.assertEqual(report["requests"], 300)
            self.assertEqual(report["start_delay_ns"]["count"], 300)

    def test_streams_and_their_events(self):
        sim = self.sim("--events-per-second", 20, "--events", 1000000, "--event-bytes", 100,
                       "--stamp")
        status, report = self.load(sim, "--streams", 300, "--max-tokens", 1000000, "--seconds", 1,
                                   "--warmup", 0.2)
        self.assertEqual((status, report["failed"], report["open"]), (0, 0, 300))
        self.assertGreater(report["events"], 300)
        self.assertEqual(report["events"], report["stamped_events"])
        self.assertEqual(report["event_delay_ns"]["count"], report["events"])
        self.assertGreater(report["event_delay_ns"]["min"], 0)

    def test_short_streams(self):
        sim = self.sim("--output-tokens", 10)
        for dialect in ("anthropic", "openai"):
            status, report = self.load(sim, "--dialect", dialect, "--stream", "--requests", 40,
                                       "--connections", 4, "--warmup", 0)
            self.assertEqual((status, report["requests"], report["failed"]), (0, 40, 0))
            self.assertGreaterEqual(report["events"], 36 * 11)

    def test_the_key_comes_from_the_environment(self):
        sim = self.sim("--key", "right")
        some = ("--requests", 20, "--connections", 2, "--warmup", 0)
        status, report = self.load(sim, "--key-env", "LOAD_KEY", *some, LOAD_KEY="right")
        self.assertEqual((status, report["requests"]), (0, 20))
        status, report = self.load(sim, "--key-env", "LOAD_KEY", *some, LOAD_KEY="wrong")
        self.assertEqual((status, report["requests"], report["failed"]), (1, 0, 20))
        self.assertEqual(report["statuses"], {"401": 20})
        self.assertIn("wrong key", report["first_failure"])
        done = run("load", "--target", sim.url, "--key-env", "LOAD_NONE")
        self.assertEqual(done.returncode, 2)
        self.assertIn("LOAD_NONE", done.stderr)

    def test_the_text_names_failures(self):
        sim = self.sim("--error-rate", 0.5, "--seed", 3)
        done = run("load", "--target", sim.url, "--requests", 100, "--connections", 4, "--warmup", 0)
        self.assertEqual(done.returncode, 0, done.stderr)
        for pattern in (r"^requests +\d+ in ", r"^latency +p50 [\d.]+ us, .*p99.9", r"^status +\d+ ",
                        r"^status 529 +\d+", r"^the first +529: .*told to fail", r"^generator +[\d.]+ %"):
            self.assertRegex(done.stdout, f"(?m){pattern}")

    def test_a_dead_target(self):
        sim = self.sim()
        sim.end()
        done = run("load", "--target", sim.url, "--seconds", 0.3, "--warmup", 0)
        self.assertEqual(done.returncode, 3, done.stdout)
        self.assertIn("cannot connect", done.stderr)

    def test_an_interrupt_prints_what_was_measured(self):
        sim = self.sim()
        load = Process(self.directory, "load", [PARLEY, "load", "--target", sim.url, "--seconds",
                                                "600", "--warmup", "0", "--json", "--marks"])
        try:
            load.wait_for_line("^begin$")
            wait_until(lambda: b"x" if sim_has_answered(sim) else None, "some answers")
            load.send(signal.SIGINT)
            self.assertEqual(load.wait(), 0)
        finally:
            load.end()
        report = json.loads(load.stdout.split("end\n", 1)[1])
        self.assertTrue(report["interrupted"])
        self.assertGreater(report["requests"], 0)
        self.assertLess(report["seconds"], 600)

    def test_wrong_use(self):
        for options in (("--dialect", "morse"), ("--streams", 5, "--rate", 3), ("--poisson",),
                        ("--connections", 0), ("--path", "v1"), ("--rate", "fast")):
            done = run("load", *options)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn("load --help", done.stderr)


def sim_has_answered(sim):
    """Its processor time moves when it answers."""
    with open(f"/proc/{sim.child.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    time.sleep(0.05)
    return int(fields[11]) + int(fields[12]) > 3


if __name__ == "__main__":
    main()
