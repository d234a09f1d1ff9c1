"""A disk that fails to sync or write: the gateway stops, and acknowledges nothing after it.

After a failed sync the kernel may mark the pages clean though they never reached the disk, so that
the next sync succeeds and means nothing. strace makes the calls fail.
"""

import http.client
import os
import shutil
import subprocess
import threading

from parley_test import PARLEY, Case, main, product, sha256

SEGMENT = "log/usage/segments/000000000000.seg"


class FailingSync(Case):
    def setUp(self):
        super().setUp()
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")
        probe = subprocess.run(["strace", "-f", "-o", os.devnull, PARLEY, "--version"],
                               capture_output=True, text=True, check=False,
                               env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        if probe.returncode != 0:
            self.skipTest(f"strace cannot attach: {probe.stderr.strip()}")

    def failing_gateway(self, call, number, file=None, error="EIO"):
        """A gateway with grants in force whose `number`-th `call` and all later ones fail, of one file
        where that is named."""
        gate = self.gateway(self.sim(), product())
        client = gate.client("prod", "acme")
        self.assertEqual(gate.stop(), 0)
        gate.prefix = ["env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-qq", "-o", os.devnull,
                       "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}+"]
        if file:
            gate.prefix += ["-P", str(gate.directory / file)]
        gate.start()
        client.port = gate.port
        return gate, client

    def ask_until_it_ends(self, gate, client):
        """What was acknowledged, as {record: (nonce, body)}, from four clients at once."""
        acknowledged = {}

        def work():
            try:
                while True:
                    answer = client.messages()
                    if answer.status == 200:
                        nonce = bytes.fromhex(answer.headers["parley-nonce"])
                        acknowledged[answer.headers["parley-record"]] = (nonce, answer.body)
            except (OSError, http.client.HTTPException):
                pass  # a half-sent answer is no acknowledgement

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return acknowledged

    def check(self, call, number, **which):
        gate, client = self.failing_gateway(call, number, **which)
        acknowledged = self.ask_until_it_ends(gate, client)
        self.assertEqual(gate.process.wait(), 3, gate.process.stderr)
        self.assertIn("the log has failed, stopping", gate.process.stderr)
        gate.prefix = []
        gate.start()
        settles = {entry["admit"]: entry for entry in gate.records("usage")
                   if entry["kind"] == "settle"}
        for record, (nonce, body) in acknowledged.items():
            self.assertIn(record, settles)
            self.assertEqual(settles[record]["response"], sha256(nonce, body))
        return len(acknowledged)

    def test_a_sync_that_fails_early(self):
        self.check("fdatasync", 12)

    def test_a_sync_that_fails_under_load(self):
        self.assertGreater(self.check("fdatasync", 75), 0)

    def test_a_write_that_fails(self):
        self.assertGreater(self.check("pwrite64", 12, file=SEGMENT), 0)

    def test_no_space_where_there_must_be(self):
        """The segment was written beforehand: no room there is a disk that lies."""
        self.assertGreater(self.check("pwrite64", 12, file=SEGMENT, error="ENOSPC"), 0)

    def test_a_mark_that_cannot_be_kept(self):
        self.check("fdatasync", 4, file="marks/usage.mark")


if __name__ == "__main__":
    main()
