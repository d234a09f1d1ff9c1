"""What a request takes from the heap, once the gateway is warm.

A small library is preloaded into the gateway and counts every allocation of every thread. The same
load is run twice on one set of connections' worth of memory: what the first run had to make, the
second one finds.
"""

import os
import struct

from parley_test import main
from steady import SteadyCase

PRELOAD = os.environ.get("PARLEY_PRELOAD", "")
ROW = struct.Struct("=4Q")
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
        for thread, allocations, frees, size in ROW.iter_unpack(data):
            name = threads.get(thread)
            if name:
                old = out.get(name, (0, 0, 0))
                out[name] = (old[0] + allocations, old[1] + frees, old[2] + size)
        return out

    def measure(self, connections, requests, *options, durability="strict", sim_options=()):
        sim = self.sim(*sim_options)
        gate, key = self.steady(sim, durability=durability,
                                prefix=["env", f"LD_PRELOAD={PRELOAD}",
                                        f"ALLOCATIONS_FILE={self.table}"])
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


if __name__ == "__main__":
    main()
