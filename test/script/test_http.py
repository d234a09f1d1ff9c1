"""HTTP on the model listener: what is unclear is refused, the connection closed, nothing forwarded."""

import json
import re
import socket
import time

from parley_test import (PATIENCE, Case, anthropic, ask, encode, evaluation, main, product,
                         send_raw, sha256, wait_until)

BODY = encode(anthropic())


class Smuggling(Case):
    """Two readers of one byte stream must never see two different requests."""

    def setUp(self):
        super().setUp()
        self.upstream = self.sim()
        self.gate = self.gateway(self.upstream, product())
        self.key = self.gate.key("prod", "acme")

    def tearDown(self):
        self.gate.stop()
        self.assertEqual(self.upstream.end_and_count(), 0, "an unclear request went upstream")
        super().tearDown()

    def head(self, *lines, request="POST /v1/messages HTTP/1.1", host="host: gateway"):
        fields = [request, host, f"x-api-key: {self.key}", *lines]
        return "\r\n".join(fields).encode() + b"\r\n\r\n"

    def check(self, text, *statuses):
        """Answered once, with one of these statuses, and the connection closed."""
        received = send_raw(self.gate.port, text)
        answers = re.findall(rb"HTTP/1\.1 (\d\d\d) ", received)
        self.assertEqual(len(answers), 1, received)
        self.assertIn(int(answers[0]), statuses or (400,), received)
        self.assertIn(b"connection: close", received.split(b"\r\n\r\n")[0].lower())

    def test_length_and_transfer_coding(self):
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        length = f"content-length: {len(BODY)}"
        self.check(self.head(length, "transfer-encoding: chunked") + chunked)
        self.check(self.head("transfer-encoding: chunked", length) + chunked)

    def test_two_lengths(self):
        self.check(self.head(f"content-length: {len(BODY)}", "content-length: 0") + BODY)
        self.check(self.head(f"content-length: {len(BODY)}", f"content-length: {len(BODY)}") + BODY)
        self.check(self.head(f"content-length: {len(BODY)}, {len(BODY)}") + BODY)

    def test_lengths_that_are_no_plain_number(self):
        for value in (f"+{len(BODY)}", f"-{len(BODY)}", f"0x{len(BODY):x}", f"{len(BODY)}.0", "",
                      f"{len(BODY)} 0", "99999999999999999999"):
            with self.subTest(value):
                self.check(self.head(f"content-length: {value}") + BODY)

    def test_transfer_codings_that_are_not_chunked(self):
        for value in ("identity", "gzip, chunked", "chunked, chunked", "xchunked", "chunked;q=1"):
            with self.subTest(value):
                self.check(self.head(f"transfer-encoding: {value}") + b"0\r\n\r\n", 400, 501)

    def test_bare_line_feeds(self):
        self.check(self.head(f"content-length: {len(BODY)}").replace(b"\r\n", b"\n") + BODY)
        self.check(self.head("a: b\nc: d", f"content-length: {len(BODY)}") + BODY)
        self.check(self.head("a: b\rc: d", f"content-length: {len(BODY)}") + BODY)

    def test_folded_fields(self):
        self.check(self.head("a: b\r\n c", f"content-length: {len(BODY)}") + BODY)
        self.check(self.head("a: b\r\n\tc", f"content-length: {len(BODY)}") + BODY)

    def test_a_space_before_the_colon(self):
        self.check(self.head(f"content-length : {len(BODY)}") + BODY)
        self.check(self.head("transfer-encoding : chunked") + b"0\r\n\r\n")

    def test_names_and_values_with_control_bytes(self):
        for field in ("a\x00b: c", "a: b\x00c", "a b: c", ": c", "a: b\x7fc", "a\xe9: c"):
            with self.subTest(repr(field)):
                text = self.head(field, f"content-length: {len(BODY)}") + BODY
                self.check(text)

    def test_hosts(self):
        length = f"content-length: {len(BODY)}"
        self.check(self.head("host: other", length) + BODY)
        self.check(self.head(length, host="x: y") + BODY)

    def test_two_keys(self):
        """A field twice is refused whatever stands in it; beside another one, where that is no bearer of
        the same key."""
        length = f"content-length: {len(BODY)}"
        self.check(self.head("x-api-key: plk_other", length) + BODY)
        self.check(self.head(f"X-Api-Key: {self.key}", length) + BODY)
        for name, value in (("authorization", f"Bearer {self.key}"), ("x-goog-api-key", self.key)):
            self.check(self.head(*[f"{name}: {value}"] * 2, length) + BODY)
        for field in ("authorization: Bearer plk_other", "x-goog-api-key: plk_other",
                      f"authorization: Basic {self.key}", f"authorization: {self.key}",
                      "authorization: Bearer", "x-goog-api-key:"):
            with self.subTest(field):
                answer = ask(self.gate.port, "POST", "/v1/messages",
                             {"x-api-key": self.key, **dict([field.split(":")])}, BODY)
                self.assertEqual(answer.status, 400, answer)
                self.assertIn("rule request.syntax", answer.message())

    def test_connection_names_what_must_reach_its_end(self):
        length = f"content-length: {len(BODY)}"
        for name in ("host", "content-length", "x-api-key", "authorization", "close, transfer-encoding",
                     "anthropic-version", "Anthropic-Beta, close", "parley-run", "parley-leaf",
                     "signature-input"):
            with self.subTest(name):
                self.check(self.head(length, f"connection: {name}") + BODY)

    def test_expectations_that_are_unknown(self):
        self.check(self.head(f"content-length: {len(BODY)}", "expect: 200-ok") + BODY, 417)

    def test_bodies_that_are_too_large_are_told_before_they_are_sent(self):
        self.check(self.head("content-length: 9999999999", "expect: 100-continue"), 413)
        self.check(self.head("content-length: 99999999999"))

    def test_chunks_that_are_malformed(self):
        for chunks in (b"-1\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n", b"5 \r\nabcde\r\n0\r\n\r\n",
                       b"5\nabcde\r\n0\r\n\r\n", b"5\r\nabcdeX0\r\n\r\n", b"fffffffff\r\n",
                       b"\r\n", b"1_0\r\n", b"+5\r\nabcde\r\n0\r\n\r\n", b"5;" + b"x" * 100000,
                       b'5;a="\r\nabcde\r\n0\r\n\r\n', b"0\r\na : b\r\n\r\n",
                       b"0\r\n" + b"a: b\r\n" * 10000):
            with self.subTest(repr(chunks)):
                self.check(self.head("transfer-encoding: chunked") + chunks)

    def test_request_lines(self):
        length = f"content-length: {len(BODY)}"
        for request in ("POST /v1/messages", "POST  /v1/messages HTTP/1.1", "POST /v1/messages HTTP/1.2x",
                        "POST v1/messages HTTP/1.1", " POST /v1/messages HTTP/1.1",
                        "POST /v1/mess ages HTTP/1.1", "P(ST /v1/messages HTTP/1.1",
                        "POST http:///v1/messages HTTP/1.1", "POST /v1/messages HTTP/2.0",
                        "CONNECT gateway:443 HTTP/1.1"):
            with self.subTest(request):
                self.check(self.head(length, request=request) + BODY, 400, 405, 505)

    def test_heads_that_are_too_large(self):
        self.check(self.head(f"a: {'x' * 17000}"), 431)
        self.check(self.head(*(f"a{number}: b" for number in range(100))), 431)
        self.check(self.head(request=f"POST /{'x' * 9000} HTTP/1.1"), 414)

    def test_a_second_request_hidden_in_the_first_one_s_body_is_no_request(self):
        hidden = b"GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n"
        self.check(self.head("content-length: 5", "connection: close") + b"{}   " + hidden)


class Framing(Case):
    """What is well-formed is understood however its bytes arrive."""

    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim(), product())
        self.key = self.gate.key("prod", "acme")

    def head(self, *lines):
        return "\r\n".join(["POST /v1/messages HTTP/1.1", "host: gateway", f"x-api-key: {self.key}",
                            *lines]).encode() + b"\r\n\r\n"

    def statuses(self, received):
        return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]

    def test_chunked_bodies(self):
        half = len(BODY) // 2
        chunks = b"%x\r\n%s\r\n%X;extension=1\r\n%s\r\n0\r\ntrailer: x\r\n\r\n" % (
            half, BODY[:half], len(BODY) - half, BODY[half:])
        received = send_raw(self.gate.port,
                            self.head("transfer-encoding: chunked", "connection: close") + chunks)
        self.assertEqual(self.statuses(received), [200], received)

    def test_one_byte_at_a_time(self):
        text = self.head(f"content-length: {len(BODY)}", "connection: close") + BODY
        with socket.create_connection(("127.0.0.1", self.gate.port), timeout=PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in text:
                connection.sendall(bytes([byte]))
            received = b""
            while piece := connection.recv(65536):
                received += piece
        self.assertEqual(self.statuses(received), [200], received)

    def test_several_requests_at_once_are_answered_in_order(self):
        length = f"content-length: {len(BODY)}"
        text = (self.head(length) + BODY) * 3 + self.head("content-length: 2", "connection: close") + b"{}"
        received = send_raw(self.gate.port, text)
        self.assertEqual(self.statuses(received), [200, 200, 200, 400], received)

    def test_a_large_body(self):
        """It is read as it comes, and judged as a small one is."""
        large = encode(anthropic("0123456789\\n\u00e9" * 200000))
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in
                          (large[at:at + 50000] for at in range(0, len(large), 50000)))
        length = self.head(f"content-length: {len(large)}", "connection: close")
        coded = self.head("transfer-encoding: chunked", "connection: close")
        for text in (length + large, coded + chunks + b"0\r\n\r\n"):
            received = send_raw(self.gate.port, text)
            self.assertEqual(self.statuses(received), [200], received[:1000])
            record = re.search(rb"parley-record: (\S+)", received).group(1).decode()
            nonce = re.search(rb"parley-nonce: (\S+)", received).group(1).decode()
            admit = next(entry for entry in self.gate.records("usage") if entry.get("id") == record)
            self.assertEqual(admit["request"], sha256(bytes.fromhex(nonce), large))
        damaged = large[:-20] + b"\x01" + large[-19:]
        received = send_raw(self.gate.port, length + damaged)
        self.assertEqual(self.statuses(received), [400], received)
        self.assertIn(f"at byte {len(large) - 20}".encode(), received)

    def test_a_client_that_asks_before_it_sends(self):
        with socket.create_connection(("127.0.0.1", self.gate.port), timeout=PATIENCE) as connection:
            connection.sendall(self.head(f"content-length: {len(BODY)}", "expect: 100-continue",
                                         "connection: close"))
            self.assertEqual(connection.recv(65536), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(BODY)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        self.assertEqual(self.statuses(received), [200], received)

    def test_an_unknown_key_is_told_before_a_large_body_is_sent(self):
        head = self.head("content-length: 10000000", "expect: 100-continue")
        received = send_raw(self.gate.port, head.replace(self.key.encode(), b"plk_unknown"))
        self.assertEqual(self.statuses(received), [401], received)

    def test_a_client_that_hangs_up_in_the_head_or_the_body(self):
        for text in (b"POST /v1/mess", self.head(f"content-length: {len(BODY)}") + BODY[:10]):
            with socket.create_connection(("127.0.0.1", self.gate.port)) as connection:
                connection.sendall(text)
                time.sleep(0.05)
        wait_until(lambda: self.gate.metric("parley_in_flight") == 0, "nothing in flight")
        self.assertEqual(self.gate.metric("parley_admitted_total"), 0)

    def test_http_1_0_closes(self):
        text = (f"POST /v1/messages HTTP/1.0\r\nhost: g\r\nx-api-key: {self.key}\r\n"
                f"content-length: {len(BODY)}\r\n\r\n").encode() + BODY
        received = send_raw(self.gate.port, text)
        self.assertEqual(self.statuses(received), [200], received)


class Expectations(Case):
    """A client that asks before it sends (Expect: 100-continue) is told to go on only where nothing
    that is known by then stands against its request."""

    GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"

    def setUp(self):
        super().setUp()
        self.sims = [self.sim()]
        self.gate = self.gateway(self.sims[0], product(limits={"rpm": 2}),
                                 product("day", limits={"tokens_per_day": 1}),
                                 product("words", limits={"output_tpm": 1}),
                                 product("free"), evaluation())

    def ask_first(self, *lines, request="POST /v1/messages HTTP/1.1", port=None):
        """Sends a head with the expectation alone; returns the connection and the first answer."""
        connection = socket.create_connection(("127.0.0.1", port or self.gate.port),
                                              timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.sendall("\r\n".join([request, "host: gateway", "expect: 100-continue",
                                        *lines]).encode() + b"\r\n\r\n")
        return connection, connection.recv(65536)

    def rest(self, connection):
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received

    def assert_final(self, status, rule, *lines, **options):
        """The first and only answer is a final one, and the connection is closed after it."""
        connection, first = self.ask_first(*lines, **options)
        received = first + self.rest(connection)
        self.assertTrue(received.startswith(b"HTTP/1.1 %d " % status), received)
        self.assertEqual(received.count(b"HTTP/1.1 "), 1, received)
        self.assertIn(b"connection: close", received.lower(), received)
        self.assertIn(rule.encode(), received)
        return received

    def key_of(self, grant, org="acme"):
        return f"x-api-key: {self.gate.key(grant, org)}"

    def length(self, size=len(BODY)):
        return f"content-length: {size}"

    def test_it_goes_on_where_all_is_well(self):
        connection, first = self.ask_first(self.key_of("free"), self.length(), "connection: close")
        self.assertEqual(first, self.GO_ON)
        connection.sendall(BODY)
        self.assertTrue(self.rest(connection).startswith(b"HTTP/1.1 200 "))

    def test_it_goes_on_before_a_chunked_body(self):
        connection, first = self.ask_first(self.key_of("free"), "transfer-encoding: chunked",
                                           "connection: close")
        self.assertEqual(first, self.GO_ON)
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
        self.assertTrue(self.rest(connection).startswith(b"HTTP/1.1 200 "))

    def test_the_key_comes_first(self):
        key = self.gate.key("free", "acme")
        self.assert_final(401, "key.missing", self.length())
        self.assert_final(401, "key.unknown", "x-api-key: plk_other", self.length(9999999999))
        keys = json.loads(self.gate.act("key", "list", "--json"))["keys"]
        name = next(row["id"] for row in keys if row["grant"] == "free")
        self.gate.act("key", "revoke", name, "--reason", "test")
        self.assert_final(401, "key.revoked", f"x-api-key: {key}", self.length())
        self.assert_nothing_upstream()

    def test_organisation_and_grant(self):
        key = self.key_of("free")
        self.gate.act("grant", "suspend", "free", "--reason", "test")
        self.assert_final(403, "grant.suspended", key, self.length())
        self.gate.act("grant", "restore", "free", "--reason", "test")
        self.gate.act("org", "block", "acme", "--reason", "test")
        self.assert_final(403, "org.blocked", key, self.length())
        self.assert_nothing_upstream()

    def test_what_the_head_alone_says(self):
        key = self.key_of("free")
        self.assert_final(404, "endpoint.unknown", key, self.length(),
                          request="POST /v1/files HTTP/1.1")
        self.assert_final(400, "request.syntax", key, self.length(), "content-encoding: gzip")
        for charset in ("charset=utf-16", "CHARSET=utf-16", "charset =utf-16", "charset=utf-8-evil",
                        'charset="utf-16"', "charset=utf-8; charset=utf-16", "a=b;charset=latin1"):
            self.assert_final(400, "request.syntax", key, self.length(),
                              f"content-type: application/json; {charset}")
        self.assert_final(413, "request.too_large", key, self.length(9999999999))
        self.assert_nothing_upstream()

    def test_limits_with_nothing_left(self):
        key = self.key_of("prod")
        for _ in range(2):
            connection, first = self.ask_first(key, self.length(), "connection: close")
            self.assertEqual(first, self.GO_ON)
            connection.sendall(BODY)
            self.assertTrue(self.rest(connection).startswith(b"HTTP/1.1 200 "))
        received = self.assert_final(429, "limit.rpm", key, self.length())
        seconds = int(re.search(rb"retry-after: (\d+)", received).group(1))
        self.assertTrue(1 <= seconds <= 30, seconds)
        self.assert_final(429, "limit.rpm", key, "transfer-encoding: chunked")
        # A length that can never pass is told as such: waiting would not help.
        self.assert_final(413, "request.too_large", key, self.length(9999999999))
        self.assert_final(429, "limit.tokens_per_day", self.key_of("day"), self.length())
        words = self.gate.client("words", "acme")
        self.assertEqual(words.messages(max_tokens=1).status, 200)
        words = f"x-api-key: {words.key}"
        self.assert_final(429, "limit.output_tpm", words, self.length())
        # Counting makes no output.
        connection, first = self.ask_first(words, self.length(),
                                           request="POST /v1/messages/count_tokens HTTP/1.1")
        self.assertEqual(first, self.GO_ON)
        connection.close()
        expected = ["limit.rpm", "limit.rpm", "request.too_large", "limit.tokens_per_day",
                    "limit.output_tpm"]
        # A refusal is told before it is durable.
        wait_until(lambda: expected == [entry["rule"] for entry in self.gate.records("usage")
                                        if entry["kind"] == "refuse"], "five refusals in the log")
        self.gate.stop()
        self.assertEqual(self.sims[0].end_and_count(), 3)

    def test_a_slot_that_another_request_holds(self):
        slow = self.sim("--first-token-ms", 60000)
        gate = self.gateway(slow, product(limits={"concurrency": 1}), name="second")
        key = f"x-api-key: {gate.key('prod', 'acme')}"
        head = "\r\n".join(["POST /v1/messages HTTP/1.1", "host: gateway", key, self.length()])
        with socket.create_connection(("127.0.0.1", gate.port)) as holder:
            holder.sendall(head.encode() + b"\r\n\r\n" + BODY)
            wait_until(lambda: gate.use("prod")["concurrency"] == (1, 0), "the slot to be taken")
            self.assert_final(429, "limit.concurrency", key, self.length(), port=gate.port)
        wait_until(lambda: gate.use("prod")["concurrency"] == (1, 1), "the slot to come back")
        _, first = self.ask_first(key, self.length(), port=gate.port)
        self.assertEqual(first, self.GO_ON)

    def test_asking_takes_nothing(self):
        key = self.key_of("prod")
        for _ in range(5):
            connection, first = self.ask_first(key, self.length())
            self.assertEqual(first, self.GO_ON)
            connection.close()
        self.assertEqual(self.gate.use("prod")["rpm"], (2, 2))

    def test_parleys_own_paths(self):
        path = "POST /parley/v1/suites HTTP/1.1"
        self.assert_final(401, "key.unknown", "x-api-key: plk_other", self.length(), request=path)
        _, first = self.ask_first(self.key_of("eval", "southlab"), self.length(), request=path)
        self.assertEqual(first, self.GO_ON)

    def test_the_operators_listener(self):
        host = f"host: 127.0.0.1:{self.gate.admin_port}"
        token = (self.gate.directory / "admin.token").read_text().strip()
        for extra, status in ((f"authorization: Bearer {token[:-1]}x", 401), ("a: b", 401),
                              ("origin: http://evil.example", 403)):
            text = "\r\n".join(["POST /admin/v1/apply HTTP/1.1", host, extra, self.length(2),
                                "expect: 100-continue"]).encode() + b"\r\n\r\n"
            received = send_raw(self.gate.admin_port, text)
            self.assertTrue(received.startswith(b"HTTP/1.1 %d " % status), received)
        with socket.create_connection(("127.0.0.1", self.gate.admin_port)) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall("\r\n".join([
                "POST /admin/v1/apply HTTP/1.1", host, f"authorization: Bearer {token}",
                self.length(2), "expect: 100-continue"]).encode() + b"\r\n\r\n")
            self.assertEqual(connection.recv(65536), self.GO_ON)

    def assert_nothing_upstream(self):
        self.gate.stop()
        self.assertEqual(self.sims[0].end_and_count(), 0)


class Observing(Case):
    """In mode observe no limit stands in the way, before the body as after it."""

    def test_limits_let_it_go_on(self):
        gate = self.gateway(self.sim(), product(limits={"tokens_per_day": 1}), mode="observe")
        head = "\r\n".join(["POST /v1/messages HTTP/1.1", "host: gateway", "connection: close",
                            f"x-api-key: {gate.key('prod', 'acme')}", "expect: 100-continue",
                            f"content-length: {len(BODY)}"]).encode() + b"\r\n\r\n"
        with socket.create_connection(("127.0.0.1", gate.port), timeout=PATIENCE) as connection:
            connection.sendall(head)
            self.assertEqual(connection.recv(65536), Expectations.GO_ON)
            connection.sendall(BODY)
            self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200 "))


class Operator(Case):
    """The admin listener: metrics for all, the rest for who holds the token and comes by its name."""

    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim(), product())
        self.token = (self.gate.directory / "admin.token").read_text().strip()

    def get(self, path, **headers):
        return ask(self.gate.admin_port, "GET", path,
                   {name.replace("_", "-"): value for name, value in headers.items()})

    def test_health_and_metrics_are_open(self):
        for path in ("/healthz", "/readyz", "/metrics"):
            self.assertEqual(self.get(path).status, 200, path)
        self.assertIn(b"# TYPE parley_requests_total counter", self.get("/metrics").body)

    def test_the_api_wants_the_token(self):
        self.assertEqual((self.gate.directory / "admin.token").stat().st_mode & 0o777, 0o600)
        good = f"Bearer {self.token}"
        self.assertEqual(self.get("/admin/v1/orgs", authorization=good).status, 200)
        for wrong in (None, "Bearer x", f"Bearer {self.token}x", f"Bearer {self.token[:-1]}",
                      f"Basic {self.token}"):
            headers = {"authorization": wrong} if wrong else {}
            self.assertEqual(self.get("/admin/v1/orgs", **headers).status, 401, wrong)

    def test_a_page_of_another_site_is_refused(self):
        good = f"Bearer {self.token}"
        for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"},
                        {"origin": "null"}):
            answer = self.get("/admin/v1/orgs", authorization=good, **headers)
            self.assertEqual(answer.status, 403, headers)

    def test_nothing_of_it_is_on_the_model_listener(self):
        for path in ("/admin/v1/orgs", "/metrics", "/healthz"):
            answer = ask(self.gate.port, "GET", path, {"authorization": f"Bearer {self.token}"})
            self.assertIn(answer.status, (401, 404), path)

    def test_the_socket_is_the_owners(self):
        self.assertEqual((self.gate.directory / "admin.sock").stat().st_mode & 0o777, 0o600)


if __name__ == "__main__":
    main()
