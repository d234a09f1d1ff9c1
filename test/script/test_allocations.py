"""What a request takes from the heap, once the gateway is warm.

A small library is preloaded into the gateway and counts every allocation of every thread. The same
load is run twice on one set of connections' worth of memory: what the first run had to make, the
second one finds.
"""

import os
import socket
import struct
import time

from parley_test import PATIENCE, encode, main, openai, wait_until
from steady import SteadyCase

PRELOAD = os.environ.get("PARLEY_PRELOAD", "")
ROW = struct.Struct("=4Qq")
REQUESTS = 1000

# Allocations of the worker a request, beside what the connections cost.
PLAIN_MAX = 0.0
STREAM_MAX = 0.0
# The log thread's: it signs checkpoints by the clock, so that slow requests seem to cost it more.
LOG_MAX = 1.5
# Each connection of the client has objects of its own and of its upstream's, made with it.
CONNECTION_MAX = 40
# How many of these objects there are depends on how many requests happen to be under way at once:
# two runs may differ by so many for each connection, far less than one for each request.
LUCK = 12


STREAMS = 256
GROUP = 16  # so few at a time that the stock of what their beginnings need stays as it is
# Of the heap, with what it keeps for itself, for a stream under way between two events.
STREAM_BYTES_MAX = 2048


class Allocations(SteadyCase):
    def setUp(self):
        super().setUp()
        if not os.path.exists(PRELOAD):
            self.skipTest("PARLEY_PRELOAD names no library (a sanitizer build has none)")
        self.table = self.directory / "allocations"

    def read(self, gate):
        """{thread name: (allocations, frees, bytes)}"""
        data = self.table.read_bytes()
        threads = self.threads(gate)
        out = {}
        for thread, allocations, frees, size, _ in ROW.iter_unpack(data):
            name = threads.get(thread)
            if name:
                old = out.get(name, (0, 0, 0))
                out[name] = (old[0] + allocations, old[1] + frees, old[2] + size)
        return out

    def held(self):
        """Bytes of the heap that are in use."""
        return sum(row[4] for row in ROW.iter_unpack(self.table.read_bytes()))

    def counted(self, sim, **config):
        """A gateway whose heap is counted, and a key."""
        return self.steady(sim, prefix=["env", f"LD_PRELOAD={PRELOAD}",
                                        f"ALLOCATIONS_FILE={self.table}"], **config)

    def measure(self, connections, requests, *options, durability="strict", sim_options=()):
        sim = self.sim(*sim_options)
        gate, key = self.counted(sim, durability=durability)
        used = []
        for count in (requests, requests, 2 * requests):
            before = self.read(gate)
            self.load(gate, key, count, connections, *options)
            after = self.read(gate)
            used.append({name: tuple(b - a for a, b in zip(before.get(name, (0, 0, 0)), row))
                         for name, row in after.items()})
        return used[1], used[2]

    def check(self, what, most, connections, requests, *options, **where):
        """The cost of a request is what twice as many on as many connections cost more."""
        once, twice = self.measure(connections, requests, *options, **where)
        hot = [name for name in twice if name.startswith(("worker", "log"))]
        self.assertEqual(len(hot), 2, twice)
        each = {name: (twice[name][0] - once[name][0]) / requests for name in hot}
        print(f"\n{what}, {connections} connections: "
              + ", ".join(f"{name} {value:.3f} allocations a request" for name, value in each.items())
              + f"\n  {requests} requests: {once}\n  {2 * requests} requests: {twice}", flush=True)
        self.assertGreater(sum(row[0] for row in twice.values()), 0, "nothing was counted")
        self.assertLess(LUCK * connections, requests / 2, "one for each request would not show")
        bounds = {name: most if name.startswith("worker") else LOG_MAX for name in hot}
        for name in hot:
            self.assertLessEqual(twice[name][0] - once[name][0],
                                 bounds[name] * requests + LUCK * connections, name)
            self.assertLessEqual(once[name][0],
                                 bounds[name] * requests + CONNECTION_MAX * connections, name)

    def test_plain(self):
        self.check("plain", PLAIN_MAX, 8, REQUESTS)

    def check_streams(self, durability):
        self.check(f"20 events, {durability}", STREAM_MAX, 8, REQUESTS // 4, "--stream",
                   "--max-tokens", 1000, durability=durability,
                   sim_options=("--events-per-second", 1000, "--events", 20, "--event-bytes", 16))

    def test_a_stream_of_20_events(self):
        self.check_streams("strict")

    def test_relaxed(self):
        """Its requests are over before their records are written, whose texts stay with the log."""
        self.check("plain, relaxed", PLAIN_MAX, 8, REQUESTS, durability="relaxed")

    def test_a_stream_of_20_events_relaxed(self):
        self.check_streams("relaxed")

    def open_streams(self, gate, key, count):
        """Streams under way, each of which has given its first event."""
        body = encode(openai(stream=True, max_completion_tokens=4000))
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n"
                f"content-length: {len(body)}\r\n\r\n").encode()
        for _ in range(count // GROUP):
            group = [socket.create_connection(("127.0.0.1", gate.port), timeout=PATIENCE)
                     for _ in range(GROUP)]
            for stream in group:
                self.addCleanup(stream.close)
                stream.sendall(head + body)
            for stream in group:
                seen = b""
                while b"data:" not in seen:
                    seen += stream.recv(65536)
                    self.assertTrue(seen.startswith(b"HTTP/1.1 200"), seen)

    def settled(self, gate, streams):
        """The heap once so many streams are under way and nothing but them is."""
        wait_until(lambda: gate.metric("parley_streams") == streams, "all streams")
        seen = [self.held()]
        while len(seen) < 5 or len(set(seen[-5:])) > 1:
            time.sleep(0.05)
            seen.append(self.held())
            self.assertLess(len(seen), 2000, seen[-10:])
        return seen[-1]

    def test_bytes_of_a_further_stream(self):
        sim = self.sim("--events-per-second", 2, "--events", 100000, "--event-bytes", 16)
        gate, key = self.counted(sim)
        self.open_streams(gate, key, STREAMS)
        some = self.settled(gate, STREAMS)
        self.open_streams(gate, key, STREAMS)
        each = (self.settled(gate, 2 * STREAMS) - some) / STREAMS
        print(f"\n{each:.0f} bytes of the heap for each of {STREAMS} further streams", flush=True)
        self.assertLess(each, STREAM_BYTES_MAX)
        self.assertGreater(each, 500, "less than it has fields")


if __name__ == "__main__":
    main()
