"""Killed at any moment under load, the gateway has lost nothing that a client holds.

An outside recorder, the clients themselves, keeps what was acknowledged: a head that arrived stands
for a durable admit record, a whole answer for a durable settle record with the digest of exactly
these bytes. After each kill -9 the gateway starts again and its log is compared.
"""

import http.client
import os
import random
import threading
import time

from parley_test import DIALECTS, PATHS, Case, anthropic, encode, main, openai, product, sha256

ROUNDS = int(os.environ.get("PARLEY_ROUNDS", "20"))
CLIENTS = 8


class Recorder(threading.Thread):
    """A client that asks until the gateway dies, and remembers what it was told."""

    def __init__(self, client, seed):
        super().__init__()
        self.client, self.random = client, random.Random(seed)
        self.begun, self.whole = [], []  # record ids; (record id, nonce, body)

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.client.port, timeout=60)
        try:
            while True:
                self.ask(connection)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def ask(self, connection):
        dialect = self.random.choice(DIALECTS)
        make = anthropic if dialect == "anthropic" else openai
        stream = self.random.random() < 0.5
        body = make(f"Number {self.random.random()}", stream=stream)
        connection.request("POST", PATHS[dialect], encode(body), self.client.headers(dialect))
        response = connection.getresponse()
        if response.status != 200:
            response.read()
            return
        record = response.getheader("parley-record")
        self.begun.append(record)
        body = response.read()
        if not stream or b"message_stop" in body or b"[DONE]" in body:
            self.whole.append((record, bytes.fromhex(response.getheader("parley-nonce")), body))


class Killed(Case):
    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim("--output-tokens", 32), product())
        self.client = self.gate.client("prod", "acme")
        self.begun, self.whole, self.lines = set(), {}, []

    def one_round(self, seed):
        clients = [Recorder(self.client, seed * CLIENTS + number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(random.Random(seed).uniform(0.02, 0.6))
        self.gate.kill()
        for client in clients:
            client.join()
            self.begun.update(client.begun)
            self.whole.update((record, (nonce, body)) for record, nonce, body in client.whole)
        self.gate.start()
        self.client.port = self.gate.port

    def check_log(self):
        records = self.gate.records("usage")
        lines = self.gate.entries("usage")
        self.assertEqual(lines[:len(self.lines)], self.lines, "the log's past has changed")
        self.lines = lines
        admits = {entry["id"] for entry in records if entry["kind"] == "admit"}
        ends = [entry for entry in records if entry["kind"] in ("settle", "unknown")]
        self.assertEqual(sorted(entry["admit"] for entry in ends), sorted(admits),
                         "every admitted request has one end, a settle or an unknown record")
        self.assertEqual(self.begun - admits, set(), "an answer began without a durable record")
        settles = {entry["admit"]: entry for entry in ends if entry["kind"] == "settle"}
        for record, (nonce, body) in self.whole.items():
            self.assertIn(record, settles, "an answer was whole without a durable record")
            self.assertEqual(settles[record]["response"], sha256(nonce, body))
        return [entry for entry in ends if entry["kind"] == "unknown"]

    def test_kill_at_random_moments_under_load(self):
        unknown = []
        for number in range(ROUNDS):
            self.one_round(number)
            unknown = self.check_log()
        print(f"{ROUNDS} kills: {len(self.whole)} whole answers, {len(self.begun)} begun, "
              f"{len(self.lines)} records, {len(unknown)} of them unknown")
        self.assertGreater(len(self.whole), 10 * ROUNDS)
        self.assertGreater(len(unknown), 0, "no kill met a request in flight: nothing was tested")
        self.assertEqual(self.client.messages().status, 200)
        self.assert_quiet(self.gate)

    def test_acts_that_were_acknowledged_hold(self):
        for number in range(3):
            self.gate.act("grant", "suspend" if number % 2 == 0 else "restore", "prod")
            self.gate.kill()
            self.gate.start()
            self.client.port = self.gate.port
            status = self.client.messages().status
            self.assertEqual(status, 403 if number % 2 == 0 else 200)


if __name__ == "__main__":
    main()
