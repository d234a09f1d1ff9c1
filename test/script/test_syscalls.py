"""System calls a plain request costs, counted by strace on a gateway that is warm.

At most four calls on sockets (receive and send on both sides), the waits on epoll and the commit to the
log, which many requests share. Nothing else: no allocation of pages, no clock, no descriptor.
"""

import collections
import re
import shutil
import signal
import socket
import subprocess

from parley_test import PATIENCE, main, wait_until
from steady import SteadyCase

DATA = {"recvfrom", "recvmsg", "sendto", "sendmsg"}
WAIT = {"epoll_wait", "epoll_pwait", "epoll_pwait2"}
# Made once for a connection.
CONNECTION = {"accept4", "epoll_ctl", "close", "socket", "connect", "setsockopt", "getsockopt",
              "shutdown", "getpeername"}
# Between the worker and the log thread, by eventfd.
WAKE = {"read", "write", "futex"}

DATA_MAX = 4.0
# Waits and wakes of the worker a request: (connections, most). A connection that is alone shares them
# with nobody: it waits for its request and its answer, for admit and settle to be durable, each time
# looking once before it sleeps (8), and the log thread is woken once and wakes it twice (3).
SHARED_MAX = {1: 11.0, 64: 3.0}
# Everything the log thread does, a request.
COMMIT_MAX = {1: 14.0, 64: 3.0}
# The heap grows by pages when more requests than ever before happen to be under way, as they do where
# their records are written a few milliseconds later; test_allocations.py counts what a request takes.
MEMORY = {"mprotect"}
CONNECTION_MAX = 30  # calls for each connection of the client, both sides together
REQUESTS = {1: 400, 64: 4000}

CALL = re.compile(r"^(\d+) +(\w+)\(")
RECEIVED = re.compile(r"^(\d+) +recvfrom\(.* = (\d+)$")
# Received for one connection before the loop looks at the others: a slice, and what passed its end.
TURN_MAX = 65536 + 16384


class Syscalls(SteadyCase):
    def setUp(self):
        super().setUp()
        if not shutil.which("strace"):
            self.skipTest("strace is not installed")

    def trace(self, gate, work):
        """{thread name: {call: count}} of what the gateway does during `work()`."""
        path = self.directory / "trace"
        threads = self.threads(gate)
        messages = self.directory / "strace.stderr"
        with open(messages, "wb") as out:
            strace = subprocess.Popen(["strace", "-f", "-o", str(path), "-p",
                                       str(gate.process.child.pid)], stderr=out)
        try:
            wait_until(lambda: strace.poll() is not None or
                       "attached" in messages.read_text(), "strace to attach")
            if strace.poll() is not None:
                self.skipTest(f"strace may not attach here: {messages.read_text().strip()}")
            work()
        finally:
            strace.send_signal(signal.SIGINT)
            strace.wait(30)
        counts = collections.defaultdict(collections.Counter)
        for line in path.read_text(errors="replace").splitlines():
            match = CALL.match(line)
            if match:
                name = threads.get(int(match.group(1)), "other")
                counts[re.sub(r"\d+$", "", name).strip("- ")][match.group(2)] += 1
        return counts

    def check(self, connections, durability):
        gate, key = self.steady(self.sim(), durability=durability)
        requests = REQUESTS[connections]
        self.load(gate, key, 2000, connections)
        wait_until(lambda: gate.metric("parley_in_flight") == 0, "the last records")
        counts = self.trace(gate, lambda: self.load(gate, key, requests, connections))
        total = requests + connections - 1  # those under way at the end were sent too
        worker, log = counts["worker"], counts["log"]
        data = sum(worker[call] for call in DATA) / total
        shared = sum(worker[call] for call in WAIT | WAKE) / total
        commit = sum(log.values()) / total
        connection = sum(worker[call] for call in CONNECTION)
        others = {call: count for call, count in worker.items()
                  if call not in DATA | WAIT | WAKE | CONNECTION | MEMORY}
        print(f"\n{connections} connections, {durability}: {data:.2f} calls on sockets a request, "
              f"{shared:.2f} waits and wakes, {commit:.2f} of the log thread, "
              f"{connection / connections:.1f} for each connection\n"
              f"  worker {dict(worker)}\n  log {dict(log)}", flush=True)
        self.assertGreater(data, 3.5, "the requests were not seen")
        # What the last requests leave behind when the client hangs up is no part of a request.
        self.assertLessEqual(data, DATA_MAX + 2 * connections / total)
        self.assertLessEqual(shared, SHARED_MAX[connections])
        self.assertLessEqual(commit, COMMIT_MAX[connections])
        self.assertLessEqual(connection, CONNECTION_MAX * connections)
        self.assertLessEqual(sum(others.values()), 0.02 * total, others)

    def test_one_connection(self):
        self.check(1, "strict")

    def test_many_connections(self):
        self.check(64, "strict")

    def test_relaxed(self):
        self.check(64, "relaxed")


    def send_what_is_not_wanted(self, gate):
        """A body that is too long, which its client sends all the same."""
        with socket.create_connection(("127.0.0.1", gate.port), timeout=PATIENCE) as connection:
            connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: none\r\n"
                               b"content-length: 9999999999\r\n\r\n")
            for _ in range(100):
                connection.sendall(bytes(65536))
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        self.assertTrue(received.startswith(b"HTTP/1.1 4"), received)

    def test_what_a_refused_client_sends_is_thrown_away_in_turns(self):
        gate, _ = self.steady(self.sim(), durability="strict")
        self.trace(gate, lambda: self.send_what_is_not_wanted(gate))
        turn, longest, whole = collections.Counter(), 0, 0
        for line in (self.directory / "trace").read_text(errors="replace").splitlines():
            match, call = RECEIVED.match(line), CALL.match(line)
            if match:
                turn[match.group(1)] += int(match.group(2))
                longest = max(longest, turn[match.group(1)])
                whole += int(match.group(2))
            elif call and call.group(2) in WAIT:
                turn[call.group(1)] = 0
        self.assertGreater(whole, 1000000, "too little of it was seen")
        self.assertLessEqual(longest, TURN_MAX)


if __name__ == "__main__":
    main()
