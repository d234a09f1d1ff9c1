"""A full disk: requests are refused before they cost anything, and service resumes by itself.

The data directory is a small file system of its own, mounted in memory, which needs root.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import unittest

from parley_test import (PATIENCE, Case, Client, Gateway, encode, anthropic, main, openai, product,
                         wait_until)

PIPELINED = 50  # requests sent at once on a connection
CONNECTIONS = 16


class FullDisk(Case):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can mount a file system to fill")

    def mount(self, megabytes):
        """A directory on a file system of its own."""
        disk = self.directory / "disk"
        disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", disk],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"cannot mount: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        return disk

    def fill(self, disk):
        """Takes all the room that is left; returns the file that holds it."""
        ballast = disk / "ballast"
        with open(ballast, "wb", buffering=0) as out:
            try:
                while out.write(b"\0" * 4096) == 4096:
                    pass
            except OSError:
                pass
        self.assertEqual(shutil.disk_usage(disk).free, 0)
        return ballast

    def test_a_gateway_that_finds_no_room_does_not_start(self):
        gate = Gateway(self.mount(2) / "gateway", "http://127.0.0.1:1")
        gate.write_config("http://127.0.0.1:1")
        done = subprocess.run([os.environ["PARLEY"], "serve", "-c", gate.config_path],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("No space left", done.stderr)
        self.assertIn(str(gate.directory), done.stderr)

    def spend(self, client, full):
        """Asks on one connection until a request is refused; counts the answers by status."""
        body = encode(anthropic(max_tokens=1))
        head = (f"POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: {client.key}\r\n"
                f"content-length: {len(body)}\r\n\r\n").encode()
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) as connection:
            while not full.is_set():
                connection.sendall((head + body) * PIPELINED)
                received = b""
                while received.count(b"HTTP/1.1 ") < PIPELINED:
                    received += connection.recv(1 << 20)
                for status in re.findall(rb"HTTP/1\.1 (\d\d\d)", received):
                    self.statuses.append(int(status))
                if 503 in self.statuses:
                    full.set()

    def use_up(self, client):
        self.statuses = []
        full = threading.Event()
        threads = [threading.Thread(target=self.spend, args=(client, full))
                   for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(self.statuses), {200, 503})

    def test_what_was_granted_can_be_taken_back(self):
        """The log has room for a while, so that requests go on: then they must be stoppable, too."""
        disk = self.mount(160)
        gate = Gateway(disk / "gateway", self.sim().url)
        self.addCleanup(self.check_end, gate)
        gate.start()
        gate.apply(product())
        client = gate.client("prod", "acme")
        issued = [json.loads(gate.act("key", "issue", "--org", "acme", "--grant", "prod", "--json"))
                  for _ in range(8)]
        ballast = self.fill(disk)
        self.assertEqual(client.messages().status, 200)
        for key in issued:
            gate.act("key", "revoke", key["id"], "--reason", "it was found on a train")
            self.assertEqual(Client(gate.port, key["key"]).messages().status, 401)
        for _ in range(4):
            gate.act("grant", "suspend", "prod", "--reason", "it is looked into")
            self.assertEqual(client.messages().status, 403)
            gate.act("grant", "restore", "prod", "--reason", "it was nothing")
            self.assertEqual(client.messages().status, 200)
        gate.act("org", "block", "acme", "--reason", "it was something")
        self.assertEqual(client.messages().status, 403)
        self.assertEqual(shutil.disk_usage(disk).free, 0)
        ballast.unlink()
        gate.kill()
        gate.start()
        client.port = gate.port
        self.assertEqual(client.messages().status, 403)
        self.assertEqual(Client(gate.port, issued[0]["key"]).messages().status, 401)

    def test_requests_are_refused_before_upstream_and_service_resumes(self):
        disk = self.mount(160)
        upstream = self.sim("--output-tokens", 1)
        gate = Gateway(disk / "gateway", upstream.url)
        self.addCleanup(self.check_end, gate)
        gate.start()
        gate.apply(product())
        client = gate.client("prod", "acme")
        self.assertEqual(client.messages().status, 200)
        ballast = self.fill(disk)
        self.use_up(client)
        # What the others had reserved and did not need has come back meanwhile.
        wait_until(lambda: client.messages().status == 503, "the last of the room to be used")
        answers = [client.messages(), client.chat()]
        for answer, dialect in zip(answers, ("anthropic", "openai")):
            self.assertEqual(answer.status, 503, answer)
            self.assertIn("(rule log.unavailable", answer.message())
            self.assert_error_shape(answer, dialect)
            self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
        wait_until(lambda: gate.metric("parley_in_flight") == 0, "the last records")
        ballast.unlink()
        wait_until(lambda: client.messages().status == 200, "service to resume")
        self.assert_quiet(gate)
        records = gate.records("usage")
        admits = {entry["id"] for entry in records if entry["kind"] == "admit"}
        settled = [entry["admit"] for entry in records if entry["kind"] == "settle"]
        self.assertEqual(sorted(settled), sorted(admits))
        self.assertGreaterEqual(len(admits), self.statuses.count(200))
        self.assertEqual(gate.stop(), 0)
        self.assertEqual(upstream.end_and_count(), len(admits), "a refused request went upstream")


if __name__ == "__main__":
    main()
