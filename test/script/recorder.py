"""A recorder outside of the gateway: clients that keep what was acknowledged to them, and the comparison
of it with the log after whatever happened to the process.
"""

import http.client
import json
import random
import threading

from parley_test import (DIALECTS, PATHS, Case, anthropic, encode, openai, sha256, split_entries,
                         tile_path, wait_until)

CLIENTS = 8
ALL = 10  # every so many comparisons the whole log is read again


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


class Recorded(Case):
    """Without tests of its own."""

    def begin_recording(self, gate):
        self.gate = gate
        self.client = gate.client("prod", "acme")
        self.begun, self.whole, self.lines, self.records, self.looks = set(), {}, [], [], 0

    def record_until_it_ends(self, seed, end):
        """Eight clients ask; `end()` ends the gateway; what they were told is kept."""
        clients = [Recorder(self.client, seed * CLIENTS + number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        end()
        for client in clients:
            client.join()
            self.begun.update(client.begun)
            self.whole.update((record, (nonce, body)) for record, nonce, body in client.whole)

    def read_on(self):
        """The log's lines: what is new, and now and then all of it."""
        self.looks += 1
        series = 'parley_log_records{log="usage"}'
        wait_until(lambda: self.gate.checkpoint_size("usage") >= self.gate.metric(series),
                   "a checkpoint over every record")
        size = self.gate.checkpoint_size("usage")
        self.assertGreaterEqual(size, len(self.lines), "the log has become shorter")
        first = 0 if self.looks % ALL == 0 else len(self.lines) // 256
        for number in range(first, (size + 255) // 256):
            width = min(256, size - number * 256)
            partial = f".p/{width}" if width < 256 else ""
            answer = self.gate.admin(f"/log/usage/tile/entries/{tile_path(number)}{partial}")
            self.assertEqual(answer.status, 200, answer)
            lines = split_entries(answer.body)
            known = self.lines[number * 256:number * 256 + width]
            self.assertEqual(lines[:len(known)], known, "the log's past has changed")
            self.lines += lines[len(known):]
            self.records += [json.loads(line) for line in lines[len(known):]]

    def check_log(self):
        """Everything acknowledged is on record; returns the records of unknown outcomes."""
        self.read_on()
        admits = {entry["id"] for entry in self.records if entry["kind"] == "admit"}
        ends = [entry for entry in self.records if entry["kind"] in ("settle", "unknown")]
        self.assertEqual(sorted(entry["admit"] for entry in ends), sorted(admits),
                         "every admitted request has one end, a settle or an unknown record")
        self.assertEqual(self.begun - admits, set(), "an answer began without a durable record")
        settles = {entry["admit"]: entry for entry in ends if entry["kind"] == "settle"}
        for record, (nonce, body) in self.whole.items():
            self.assertIn(record, settles, "an answer was whole without a durable record")
            self.assertEqual(settles[record]["response"], sha256(nonce, body))
        return [entry for entry in ends if entry["kind"] == "unknown"]
