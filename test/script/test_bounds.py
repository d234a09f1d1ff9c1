"""What the gateway never takes more of: connections, memory, and the time of slow peers."""

import concurrent.futures
import json
import os
import re
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

from parley_test import (PARLEY, PATHS, Case, anthropic, encode, main, openai, parse_events,
                         product, wait_until)
from raw_upstream import (LAST_CHUNK, STREAM_HEAD, RawUpstream, answer, chunk, closing, delta,
                          opening, plain, plain_head)

MEGABYTE = 1 << 20


def processor_ticks(pid):
    """User and system time of a process in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime and stime


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class BoundsCase(Case):
    def raw(self, handler=answer):
        self.upstream = RawUpstream(handler)
        self.addCleanup(self.upstream.stop)
        return self.upstream.url

    def start(self, upstream, **config):
        self.gate = self.gateway(upstream, product(limits={"rpm": 1000000, "concurrency": 1000}),
                                 **config)
        self.client = self.gate.client("prod", "acme")
        return self.client

    def connect(self, receive_buffer=None):
        connection = socket.socket()
        self.addCleanup(connection.close)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.gate.port))
        return connection

    def request(self, dialect, **members):
        """The bytes of a request."""
        body = encode((anthropic if dialect == "anthropic" else openai)(**members))
        return self.head(dialect, len(body)) + body

    def head(self, dialect, size):
        fields = "".join(f"{name}: {value}\r\n"
                         for name, value in self.client.headers(dialect).items())
        return (f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: gateway\r\n{fields}"
                f"content-length: {size}\r\n\r\n").encode()

    def buffered(self):
        return self.gate.metric("parley_buffered_bytes")


def without_chunks(answer):
    """The body of a chunked answer."""
    body, pieces, at = answer.partition(b"\r\n\r\n")[2], [], 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if size == 0:
            return b"".join(pieces)
        pieces.append(body[end + 2:end + 2 + size])
        at = end + 2 + size + 2


def read_to_end(connection):
    received = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return received
        received += piece


class Descriptors(BoundsCase):
    LIMIT = 540  # of which 500 are kept: 20 clients

    def setUp(self):
        super().setUp()
        self.start(self.sim("--tokens-per-second", 20, "--output-tokens", 60),
                   prefix=("prlimit", f"--nofile={self.LIMIT}:{self.LIMIT}"))

    def test_a_flood_waits_outside_while_those_inside_are_served(self):
        self.assertRegex(self.gate.process.stdout, r"(?m)^at most 20 clients at once")
        self.assertEqual(self.gate.metric("parley_client_connections_max"), 20)
        stream = self.client.stream("openai", max_completion_tokens=60)
        stream.read_some()
        flood = [self.connect() for _ in range(60)]
        wait_until(lambda: self.gate.metric("parley_client_connections") == 20, "every place to be taken")
        wait_until(lambda: self.gate.metric("parley_accept_pauses_total") >= 2, "accept to pause")
        # The stream goes on to its end, 3 s later. A listener that is not paused would use a whole
        # processor meanwhile; looking for a place now and then uses next to nothing.
        pauses, ticks = self.gate.metric("parley_accept_pauses_total"), self.ticks()
        begun = time.monotonic()
        events = parse_events(stream.rest())
        self.assertEqual(events[-1][1], "[DONE]")
        elapsed = time.monotonic() - begun
        self.assertLess(self.ticks() - ticks, (elapsed + 0.2) * os.sysconf("SC_CLK_TCK") / 2)
        self.assertLess(self.gate.metric("parley_accept_pauses_total") - pauses,
                        2 * (elapsed + 1) * 25)
        self.assertLessEqual(self.gate.metric("parley_client_connections"), 20)
        self.assertLess(open_descriptors(self.gate.process.child.pid), self.LIMIT)
        # Those inside leave, and all the others are let in and answered.
        for connection in flood[:20]:
            connection.close()
        for connection in flood[20:]:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        for connection in flood[20:]:
            self.assertTrue(read_to_end(connection).startswith(b"HTTP/1.1 401 "))
            connection.close()
        wait_until(lambda: self.gate.metric("parley_client_connections") == 0, "all places to be given back")
        self.assert_quiet(self.gate, "prod")

    def ticks(self):
        return processor_ticks(self.gate.process.child.pid)


class Start(BoundsCase):
    def test_the_soft_limit_is_raised_to_the_hard_one(self):
        self.start(self.raw(), prefix=("prlimit", "--nofile=600:1500"))
        self.assertEqual(self.gate.metric("parley_client_connections_max"), 500)

    def test_too_few_descriptors_are_told_at_the_start(self):
        self.start(self.raw())
        self.gate.stop()
        done = subprocess.run(["prlimit", "--nofile=400:400", PARLEY, "serve", "-c",
                               str(self.gate.config_path)], capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 3, done)
        self.assertIn("limit of 400 open files", done.stderr)


class Backpressure(BoundsCase):
    """A client that does not read stops the upstream, and one that reads again has it resumed."""

    EVENTS = 40  # megabytes

    def endless(self, call):
        call.send(STREAM_HEAD)
        call.send(chunk(opening(call.dialect)))
        for _ in range(self.EVENTS):
            for _ in range(16):
                call.send(chunk(delta(call.dialect, "z" * 65536)))
        call.send(chunk(closing(call.dialect)))
        call.send(LAST_CHUNK)
        return True

    def test_a_stream_stops_at_the_mark_and_goes_on(self):
        for dialect in ("anthropic", "openai"):
            with self.subTest(dialect):
                self.start(self.raw(self.endless), name=f"gateway-{dialect}")
                connection = self.connect(receive_buffer=65536)
                connection.sendall(self.request(dialect, stream=True))
                sent = self.settled_bytes()
                # What lies in the kernel's buffers on the way is megabytes; the rest was not read.
                self.assertLess(sent, self.EVENTS * MEGABYTE // 2)
                # Both marks, a buffer that doubles, and no more.
                self.assertLessEqual(self.buffered(), 4 * 65536)
                received = self.read_chunked(connection)
                self.assertGreater(len(received), self.EVENTS * MEGABYTE)
                self.assertEqual(without_chunks(received).count(b"z"), self.EVENTS * MEGABYTE)
                connection.close()
                self.assert_quiet(self.gate, "prod")
                self.assertEqual(self.buffered(), 0)
                settle = [entry for entry in self.gate.records("usage")
                          if entry["kind"] == "settle"]
                self.assertEqual([(entry["ending"], entry["usage"]["output"]) for entry in settle],
                                 [("finish", 5)])

    def settled_bytes(self):
        """How much the upstream could send until it could send no more."""
        wait_until(lambda: self.upstream.calls, "the call")
        call, last, since = self.upstream.calls[0], -1, time.monotonic()

        def stands():
            nonlocal last, since
            if call.sent != last:
                last, since = call.sent, time.monotonic()
            return time.monotonic() - since > 1

        wait_until(stands, "the upstream to be held up")
        return last

    @staticmethod
    def read_chunked(connection):
        pieces, tail = [], b""
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            piece = connection.recv(1 << 20)
            if not piece:
                raise AssertionError("the stream broke off")
            pieces.append(piece)
            tail = (tail + piece)[-16:]
        return b"".join(pieces)

    @staticmethod
    def read_sized(connection):
        """Head and body of an answer with a length."""
        received = bytearray()
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        size = int(re.search(rb"content-length: (\d+)", head).group(1))
        body = bytearray(body)
        while len(body) < size:
            body += connection.recv(1 << 20) or b"x" * size
        return head, bytes(body)

    def test_plain_answers_wait_for_memory_and_then_arrive(self):
        body = {dialect: plain(dialect, "z" * (6 * MEGABYTE)) for dialect in PATHS}

        def large(call):
            call.send(plain_head(len(body[call.dialect])).encode())
            call.send(body[call.dialect])
            return True

        self.start(self.raw(large), memory_max=16 * MEGABYTE, max_body=MEGABYTE)
        readers = [self.connect(receive_buffer=65536) for _ in range(8)]
        dialects = ["anthropic", "openai"] * 4
        for reader, dialect in zip(readers, dialects):
            reader.sendall(self.request(dialect))
        wait_until(lambda: self.buffered() > 16 * MEGABYTE, "the memory to be used up")
        most = 0
        for _ in range(25):
            most = max(most, self.buffered())
            time.sleep(0.02)
        # 8 answers are 48 MB, 64 in buffers that double. Each worker may pass the bound by one
        # answer (8) that is then handed over (8).
        self.assertLess(most, 16 * MEGABYTE + 2 * 16 * MEGABYTE)
        refused = self.client.messages()
        self.assert_refused(refused, 503, "gateway.busy", "anthropic", retry=True)
        with concurrent.futures.ThreadPoolExecutor(len(readers)) as pool:
            answers = list(pool.map(self.read_sized, readers))
        for (head, received), dialect in zip(answers, dialects):
            self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
            self.assertEqual(received, body[dialect])
        for reader in readers:
            reader.close()
        self.assert_quiet(self.gate, "prod")
        self.assertEqual(self.buffered(), 0)
        self.assertEqual(self.gate.metric('parley_settled_total{ending="finish"}'), 8)

    def test_an_answer_for_which_no_memory_comes_free_is_told_so(self):
        body = plain("openai", "z" * (12 * MEGABYTE))
        go, over = threading.Event(), threading.Event()

        def large(call):
            if call.prompt == "late":
                go.wait()
            call.send(plain_head(len(body)).encode() + body)
            return True

        self.start(self.raw(large), memory_max=4 * MEGABYTE, max_body=MEGABYTE, workers=1,
                   timeouts={"write": 1})
        # A reader that takes so little that its answer stands, but enough not to be cut.
        slow = self.connect(receive_buffer=65536)
        late = self.connect()
        late.sendall(self.request("openai", prompt="late"))
        wait_until(lambda: self.upstream.requests == 1, "the late one to be admitted")
        slow.sendall(self.request("openai"))
        wait_until(lambda: self.gate.metric('parley_settled_total{ending="finish"}') == 1,
                   "the first answer to be complete")

        def drip():
            while not over.wait(0.05):
                slow.recv(32768)

        reading = threading.Thread(target=drip)
        reading.start()
        self.addCleanup(reading.join)
        self.addCleanup(over.set)
        go.set()
        received = late.recv(65536)
        over.set()
        self.assertTrue(received.startswith(b"HTTP/1.1 503 "), received[:100])
        self.assertIn(b"the gateway is at its own limit", received)
        wait_until(lambda: self.gate.metric("parley_in_flight") == 0, "the record")
        record = next(entry for entry in self.gate.records("usage")
                      if entry.get("ending") == "limit")
        self.assertNotIn("answer", record)
        self.assertTrue(record["usage"]["estimated"])
        slow.close()
        self.assert_quiet(self.gate, "prod")
        wait_until(lambda: self.buffered() == 0, "the memory to be given back")


class Memory(BoundsCase):
    def test_bodies_beyond_the_memory_are_refused_before_they_are_read(self):
        self.start(self.raw(), memory_max=4 * MEGABYTE, max_body=MEGABYTE)
        prompt = "w" * (900 * 1000)
        whole = {dialect: self.request(dialect, prompt=prompt) for dialect in PATHS}
        # Bodies that stop one byte before their end keep what they have.
        held = []
        while self.buffered() < 2 * MEGABYTE + 200 * 1000:
            dialect = ("anthropic", "openai")[len(held) % 2]
            connection = self.connect()
            connection.sendall(whole[dialect][:-1])
            held.append((connection, dialect))
            before = len(held)
            wait_until(lambda: self.buffered() >= before * 900 * 1000, "the body to be buffered")
        # A large one is refused although nothing of its body was sent; a small one still passes.
        for dialect in PATHS:
            connection = self.connect()
            connection.sendall(self.head(dialect, 950 * 1000))
            received = read_to_end(connection)
            self.assertTrue(received.startswith(b"HTTP/1.1 503 "), received[:200])
            self.assertIn(b"rule gateway.busy", received)
            self.assertIn(b"retry-after: 1\r\n", received)
            self.assertEqual(self.client.ask(dialect, json.loads(
                whole[dialect].partition(b"\r\n\r\n")[2].replace(prompt.encode(), b"hi"))).status,
                200)
        self.assertEqual(
            self.gate.metric('parley_refused_by_rule_total{rule="gateway.busy"}'), 2)
        # Those that were being read are served, and the memory is there again.
        for connection, dialect in held:
            connection.sendall(whole[dialect][-1:])
            received = b""
            while not received.startswith(b"HTTP/1.1 200 "):
                piece = connection.recv(65536)
                self.assertTrue(piece, received)
                received += piece
            connection.close()
        self.assertEqual(self.client.messages(prompt).status, 200)
        self.assert_quiet(self.gate, "prod")
        wait_until(lambda: self.buffered() == 0, "the memory to be given back")

    def test_a_chunked_body_is_stopped_where_memory_ends(self):
        self.start(self.raw(), memory_max=4 * MEGABYTE, max_body=MEGABYTE, workers=1)
        held = []
        fields = "".join(f"{name}: {value}\r\n"
                         for name, value in self.client.headers("openai").items())
        head = (f"POST {PATHS['openai']} HTTP/1.1\r\nhost: gateway\r\n{fields}"
                "transfer-encoding: chunked\r\n\r\n").encode()
        for _ in range(12):  # at most 900 KB each: 10.8 MB that nobody announced
            connection = self.connect()
            connection.sendall(head)
            held.append(connection)
        wait_until(lambda: self.gate.metric("parley_client_connections") == 12, "all to be accepted")
        piece = chunk(b"w" * 45000)
        for connection in held:
            for _ in range(20):
                connection.sendall(piece)
            self.assertLess(self.buffered(), 6 * MEGABYTE)
        refused = 'parley_refused_by_rule_total{rule="gateway.busy"}'
        wait_until(lambda: self.gate.metric(refused) >= 6, "those too many to be refused")
        self.assertLess(self.gate.metric(refused), 12)
        self.assertGreater(self.buffered(), MEGABYTE)  # of those that were not
        self.assertLess(self.buffered(), 6 * MEGABYTE)
        for connection in held:
            connection.close()
        wait_until(lambda: self.buffered() == 0, "the memory to be given back")
        self.assertEqual(self.upstream.requests, 0)


def resident(pid):
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) << 10


class SlowCrowd(BoundsCase):
    """Faults 18: five thousand that send a head or a body byte by byte."""

    PEERS = 5000
    EACH = 8192  # bytes of the gateway's memory

    def setUp(self):
        super().setUp()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limits[1] < 2 * self.PEERS + 1000:
            self.skipTest(f"{limits[1]} descriptors are too few")
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)

    def test_they_cost_little_keep_nobody_waiting_and_are_cut(self):
        self.start(self.raw(), timeouts={"head": 12, "body": 12, "body_rate": 1000})
        self.assertEqual(self.client.chat().status, 200)
        before = resident(self.gate.process.child.pid)
        head = b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-a: "
        body = self.head("openai", 50000) + b"{"
        crowd = []
        for number in range(self.PEERS):
            connection = self.connect()
            connection.sendall(body if number % 2 else head)
            crowd.append(connection)
        wait_until(lambda: self.gate.metric("parley_client_connections") >= self.PEERS,
                   "all to be accepted")
        for connection in crowd[::50]:
            connection.sendall(b"b")
        for _ in range(20):
            self.assertEqual(self.client.chat().status, 200)
        with open(PARLEY, "rb") as binary:
            if b"__asan_init" not in binary.read():
                grown = resident(self.gate.process.child.pid) - before
                self.assertLess(grown, self.PEERS * self.EACH)
        for connection in crowd:
            received = read_to_end(connection)
            self.assertTrue(received.startswith(b"HTTP/1.1 408 "), received)
        self.assertEqual(self.client.chat().status, 200)
        wait_until(lambda: self.buffered() == 0, "the memory to be given back")
        self.assert_quiet(self.gate, "prod")
        self.assertEqual(self.upstream.requests, 22)


class SlowPeers(BoundsCase):
    def test_heads_that_do_not_come_are_cut(self):
        self.start(self.raw(), timeouts={"head": 0.3, "idle": 0.3})
        quiet = [self.connect() for _ in range(20)]
        slow = [self.connect() for _ in range(20)]
        for connection in slow:
            connection.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-a: b")
        for connection in slow:
            received = read_to_end(connection)
            self.assertTrue(received.startswith(b"HTTP/1.1 408 "), received)
            self.assertIn(b"in time: its head was not complete (rule request.timeout", received)
        for connection in quiet:
            self.assertEqual(read_to_end(connection), b"")
        # A byte now and then does not prolong it.
        drip = self.connect()
        with self.assertRaises(OSError):
            for byte in b"POST /v1/messages HTTP/1.1\r\nx-a: " + b"b" * 4000:
                drip.send(bytes([byte]))
                time.sleep(0.02)
        wait_until(lambda: self.gate.metric("parley_client_connections") == 0, "all to be gone")
        self.assertEqual(self.upstream.requests, 0)

    def test_bodies_below_the_least_rate_are_cut_and_others_take_their_time(self):
        self.start(self.raw(), timeouts={"body": 0.4, "body_rate": 20000})
        slow = self.connect()
        slow.sendall(self.head("openai", 50000) + b"{")
        received = read_to_end(slow)
        self.assertTrue(received.startswith(b"HTTP/1.1 408 "), received)
        self.assertIn(b"in time: its body comes too slowly (rule request.timeout", received)
        # 40 pieces of 4 KB over more than 2 s: five times as long as `body`, but above the rate.
        request = self.request("openai", prompt="v" * 160000)
        steady = self.connect()
        begun = time.monotonic()
        for at in range(0, len(request), 4096):
            steady.sendall(request[at:at + 4096])
            time.sleep(0.05)
        self.assertGreater(time.monotonic() - begun, 1)
        self.assertTrue(steady.recv(65536).startswith(b"HTTP/1.1 200 "))
        self.assertEqual(self.upstream.requests, 1)

    def test_readers_that_take_nothing_are_cut_and_the_upstream_with_them(self):
        def endless(call):
            call.send(STREAM_HEAD)
            call.send(chunk(opening(call.dialect)))
            while True:
                call.send(chunk(delta(call.dialect, "y" * 65536)))

        self.start(self.raw(endless), timeouts={"write": 0.4})
        readers = [(self.connect(receive_buffer=65536), dialect) for dialect in PATHS]
        for reader, dialect in readers:
            reader.sendall(self.request(dialect, stream=True))
        wait_until(lambda: self.gate.metric('parley_settled_total{ending="client_gone"}') == 2,
                   "the readers to be cut")
        wait_until(lambda: self.upstream.open == 0, "the upstream to be cancelled")
        self.assert_quiet(self.gate, "prod")
        self.assertEqual(self.buffered(), 0)
        for entry in self.gate.records("usage"):
            if entry["kind"] == "settle":
                self.assertTrue(entry["usage"]["estimated"])
                self.assertGreater(entry["usage"]["output"], 0)
        for reader, _ in readers:
            with self.assertRaises(ConnectionResetError):
                read_to_end(reader)

    def test_an_answer_that_stands_unread_after_its_end_is_cut_too(self):
        body = plain("openai", "z" * (8 * MEGABYTE))

        def large(call):
            call.send(plain_head(len(body)).encode() + body)
            return True

        self.start(self.raw(large), timeouts={"write": 0.4})
        reader = self.connect(receive_buffer=65536)
        reader.sendall(self.request("openai"))
        wait_until(lambda: self.gate.metric('parley_settled_total{ending="finish"}') == 1,
                   "the answer to be complete")
        wait_until(lambda: self.gate.metric("parley_client_connections") == 0, "the reader to be cut")
        self.assertEqual(self.buffered(), 0)


if __name__ == "__main__":
    main()
