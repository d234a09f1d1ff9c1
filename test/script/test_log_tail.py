"""`parley log tail`: the last records of a log in use, and those that come."""

import json
import signal

from parley_test import PARLEY, Case, Process, main, product, run, wait_until


class Tail(Case):
    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim("--output-tokens", 4), product())
        self.client = self.gate.client("prod", "acme")
        self.log = self.gate.directory / "log" / "usage"
        for _ in range(6):
            self.assertEqual(self.client.messages().status, 200)
        self.entries = self.gate.records("usage")

    def test_the_last_ones(self):
        for count in (1, 5, len(self.entries), 10000):
            done = run("log", "tail", self.log, "--count", count, "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([json.loads(line) for line in done.stdout.splitlines()],
                             self.entries[-count:])
        done = run("log", "tail", self.log, "--count", 2)
        first = done.stdout.splitlines()[0]
        self.assertTrue(first.startswith(f"{len(self.entries) - 2} {{"), first)
        self.assertEqual(run("log", "tail", self.log, "--count", 0).stdout, "")
        done = run("log", "tail", self.log)
        self.assertEqual(len(done.stdout.splitlines()), 10)

    def test_what_comes(self):
        tail = Process(self.directory, "tail", [PARLEY, "log", "tail", "-f", "--json", "--count", "1",
                                                str(self.log)])
        self.addCleanup(tail.child.kill)
        wait_until(lambda: len(tail.stdout.splitlines()) == 1, "the last one")
        for _ in range(3):
            self.assertEqual(self.client.messages().status, 200)
        entries = self.gate.records("usage")
        wait_until(lambda: len(tail.stdout.splitlines()) == 7, "six more")
        self.assertEqual([json.loads(line) for line in tail.stdout.splitlines()], entries[-7:])
        tail.send(signal.SIGINT)
        tail.wait()

    def test_what_is_no_log(self):
        for words in (("tail",), ("tail", self.log, self.log), ("tail", self.log, "--count", "-1")):
            self.assertEqual(run("log", *words).returncode, 2)
        done = run("log", "tail", self.directory)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("is no log's directory", done.stderr)


if __name__ == "__main__":
    main()
