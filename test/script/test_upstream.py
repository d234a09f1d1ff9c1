"""The way to the provider: through a proxy, over connections that are kept alive and closed under us,
and answers that are no answers."""

import base64
import json
import os
import re
import socket
import ssl
import threading
from unittest import mock

from certificates import Authority
from parley_test import PATIENCE, Case, encode, main, product, wait_until
from test_tls import ANSWER, Provider


class Threads:
    """A listener on 127.0.0.1 that serves each connection in a thread of its own."""

    def __init__(self, case):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        thread = threading.Thread(target=self.accept, daemon=True)
        thread.start()
        case.addCleanup(self.listener.close)
        case.addCleanup(self.listener.shutdown, socket.SHUT_RDWR)

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(PATIENCE)
            threading.Thread(target=self.run, args=(connection, self.connections), daemon=True).start()

    def run(self, connection, number):
        with connection:
            try:
                self.serve(connection, number)
            except OSError:
                pass

    def serve(self, connection, number):
        raise NotImplementedError


def read_head(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionResetError
        data += piece
    return data.split(b"\r\n\r\n", 1)


class Proxy(Threads):
    """A forward proxy that knows CONNECT. `answer` is said instead of opening a tunnel."""

    def __init__(self, case, answer=None):
        self.heads, self.answer = [], answer
        super().__init__(case)

    def serve(self, connection, number):
        head, rest = read_head(connection)
        self.heads.append(head.decode())
        if self.answer is not None:
            connection.sendall(self.answer)
            return
        host, port = re.match(r"CONNECT (\S+):(\d+) HTTP/1\.1\r\n", head.decode()).groups()
        with socket.create_connection((host, int(port)), PATIENCE) as far:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            far.sendall(rest)
            back = threading.Thread(target=self.copy, args=(far, connection), daemon=True)
            back.start()
            self.copy(connection, far)
            back.join()

    @staticmethod
    def copy(source, to):
        try:
            while piece := source.recv(65536):
                to.sendall(piece)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class ThroughAProxy(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.directory)

    def provider(self, names="DNS:localhost"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, self.authority.issue(f"server-{len(names)}", names=names)))
        return Provider(self, context)

    def client(self, url, name="gateway", **environment):
        variables = {"HTTPS_PROXY": "", "https_proxy": "", "NO_PROXY": "", "no_proxy": "",
                     **environment}
        tls = {"tls": {"ca": str(self.authority.path)}} if url.startswith("https") else {}
        with mock.patch.dict(os.environ, variables):
            self.gate = self.gateway(url, product(models=["north-o"]), name=name, workers=1, providers=[
                {"name": "north-open", "dialect": "openai", "url": url, "key": "upstream-secret", **tls}],
                models=[{"name": "north-o", "provider": "north-open"}])
        return self.gate.client("prod", "acme")

    def assert_told(self, problem):
        """The operator reads why, once, and the client does not."""
        line = "provider north-open, record "
        wait_until(lambda: line in self.gate.process.stderr, "the operator to be told")
        self.assertEqual(self.gate.process.stderr.count(line), 1)
        self.assertIn(problem, self.gate.process.stderr)
        self.assertNotIn("upstream-secret", self.gate.process.stderr)

    def test_one_problem_hides_no_other(self):
        proxy = Proxy(self, b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")
        client = self.client(self.provider().url, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
        for answer in (proxy.answer, proxy.answer, b"SSH-2.0\r\n", b"SSH-2.0\r\n"):
            proxy.answer = answer
            self.assertEqual(client.chat().status, 502)
        wait_until(lambda: "answer cannot be read" in self.gate.process.stderr, "the second to be told")
        self.assertEqual(self.gate.process.stderr.count("provider north-open, record "), 2)

    def test_a_tunnel_with_credentials(self):
        provider, proxy = self.provider(), Proxy(self)
        client = self.client(provider.url, HTTPS_PROXY=f"http://us%40er:pass%3Aword@127.0.0.1:{proxy.port}")
        for _ in range(2):
            self.assertEqual(client.chat().status, 200)
        self.assertEqual((provider.requests, provider.resumed), (2, 1))
        self.assertEqual(len(proxy.heads), 2)
        head = proxy.heads[0]
        self.assertTrue(head.startswith(f"CONNECT localhost:{provider.port} HTTP/1.1\r\n"), head)
        self.assertIn(f"host: localhost:{provider.port}\r\n", head)
        self.assertIn("proxy-authorization: Basic " + base64.b64encode(b"us@er:pass:word").decode(), head)
        self.assertNotIn("upstream-secret", "".join(proxy.heads))

    def test_the_certificate_is_verified_through_the_tunnel(self):
        provider, proxy = self.provider("DNS:elsewhere.example"), Proxy(self)
        client = self.client(provider.url, https_proxy=f"http://127.0.0.1:{proxy.port}")
        self.assertEqual(client.chat().status, 502)
        self.assertEqual((provider.requests, len(proxy.heads)), (0, 1))
        self.assert_told("TLS: ")

    def test_a_proxy_that_opens_no_tunnel(self):
        provider = self.provider()
        for number, (answer, problem) in enumerate((
                (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
                 "the proxy refused the tunnel with 407 (user and password belong into HTTPS_PROXY)"),
                (b"HTTP/1.1 200 OK\r\n\r\nmore than its answer", "the proxy sent more than its answer"),
                (b"", "the proxy closed the connection"),
                (b"SSH-2.0\r\n", "the proxy's answer cannot be read"),
                (b"HTTP/1.1 200 OK\r\n", "the proxy closed the connection"),
                (b"HTTP/1.1 100 Continue\r\n\r\n", "the proxy refused the tunnel with 100"),
                (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70000, "the proxy's answer cannot be read"))):
            with self.subTest(answer[:40]):
                proxy = Proxy(self, answer)
                client = self.client(provider.url, f"gateway-{number}",
                                     HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
                answered = client.chat()
                self.assertEqual(answered.status, 502, answered)
                self.assertNotIn("proxy", answered.message())
                self.assertEqual(len(proxy.heads), 1)
                self.assert_told(problem)
        self.assertEqual(provider.requests, 0)

    def test_a_proxy_that_answers_in_clear_is_told_nothing(self):
        """It lets the tunnel be, and then plays the provider."""
        said = []

        class Pretender(Threads):
            def serve(self, connection, number):
                read_head(connection)
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                said.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        proxy = Pretender(self)
        client = self.client(self.provider().url, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
        self.assertEqual(client.chat().status, 502)
        self.assertEqual(len(said), 1)
        self.assertEqual(said[0][:2], b"\x16\x03", "what went in was no handshake")
        self.assertNotIn(b"upstream-secret", said[0])
        self.assert_told("TLS: ")

    def test_a_proxy_or_provider_that_is_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            dead = taken.getsockname()[1]
        client = self.client(self.provider().url, "no-proxy", HTTPS_PROXY=f"http://127.0.0.1:{dead}")
        self.assertEqual(client.chat().status, 502)
        self.assert_told("cannot connect")
        client = self.client(f"http://127.0.0.1:{dead}", "no-provider")
        for _ in range(3):
            self.assertEqual(client.chat().status, 502)
        self.assert_told(f"http://127.0.0.1:{dead}: cannot connect")

    def test_a_provider_that_refuses_the_gateways_key(self):
        body = b'{"error": {"message": "Incorrect API key provided: upstream-secret"}}'
        for number, status in enumerate((401, 403)):
            with self.subTest(status):
                proxy = Proxy(self, b"HTTP/1.1 %d No\r\ncontent-type: application/json\r\n"
                              b"content-length: %d\r\n\r\n%s" % (status, len(body), body))
                client = self.client(f"http://127.0.0.1:{proxy.port}", f"key-{number}")
                answered = client.chat()
                self.assertEqual(answered.status, 502)
                self.assertNotIn(b"upstream-secret", answered.body)
                self.assert_told(f"it refused the gateway's own key with {status}")

    def test_exceptions_and_plain_providers_go_directly(self):
        provider, proxy = self.provider(), Proxy(self, b"")
        variables = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
        for number, no_proxy in enumerate(("localhost", "*", "example.com, .localhost",
                                           f"localhost:{provider.port}")):
            with self.subTest(no_proxy):
                client = self.client(provider.url, f"gateway-{number}", NO_PROXY=no_proxy, **variables)
                self.assertEqual(client.chat().status, 200)
        client = self.client(provider.url, "other", NO_PROXY="localhost:1,ocalhost,127.0.0.1", **variables)
        self.assertEqual(client.chat().status, 502)
        self.assertEqual(len(proxy.heads), 1)
        client = self.client(Provider(self, None).url, "plain", **variables)
        self.assertEqual(client.chat().status, 200)
        self.assertEqual(len(proxy.heads), 1)


class Server(Threads):
    """A provider whose every connection is told what to do, one action for each request on it."""

    def __init__(self, case, script):
        self.script, self.requests = script, []
        super().__init__(case)
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, connection, number):
        for action in self.script[min(number, len(self.script)) - 1]:
            head, body = read_head(connection)
            length = int(re.search(rb"content-length: (\d+)", head).group(1))
            while len(body) < length:
                piece = connection.recv(65536)
                if not piece:
                    return
                body += piece
            self.requests.append(number)
            if action is None:
                return
            connection.sendall(action)


def answer(*lines, body=encode(ANSWER)):
    fields = "".join(f"{line}\r\n" for line in lines)
    return (f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}"
            f"content-length: {len(body)}\r\n\r\n").encode() + body


class KeptAlive(Case):
    """Faults 24: a request is sent again only where nobody can have acted upon it."""

    def serve(self, *script):
        self.server = Server(self, script)
        self.gate = self.gateway(self.server.url, product(), workers=1)
        return self.gate.client("prod", "acme")

    def settled(self):
        records = self.gate.records("usage")
        admits = [record["id"] for record in records if record["kind"] == "admit"]
        settles = [record for record in records if record["kind"] == "settle"]
        self.assertEqual(sorted(admits), sorted(record["admit"] for record in settles))
        return settles

    def test_a_connection_closed_while_idle_costs_nothing(self):
        # The gateway sees the end and takes another connection for the next request.
        client = self.serve([answer()])
        for _ in range(5):
            self.assertEqual(client.chat().status, 200)
            wait_until(lambda: self.gate.metric("parley_upstream_connections") == 0, "the end seen")
        self.assertEqual(self.server.requests, [1, 2, 3, 4, 5])
        self.assertEqual([record["status"] for record in self.settled()], [200] * 5)

    def test_a_request_that_was_read_is_never_sent_again(self):
        client = self.serve([answer(), None], [answer()])
        self.assertEqual(client.chat().status, 200)
        broken = client.chat()  # on the same connection: read, then closed without a word
        self.assertEqual(broken.status, 502, broken)
        self.assertEqual(client.chat().status, 200)
        self.assertEqual(self.server.requests, [1, 1, 2])
        settles = self.settled()
        self.assertEqual([record["ending"] for record in settles],
                         ["finish", "upstream_error", "finish"])
        # Nobody can tell what it cost: it is charged once, by estimate, and says so.
        self.assertTrue(settles[1]["usage"]["estimated"])
        self.assertEqual(self.gate.metric("parley_upstream_retries_total"), 0)

    def test_one_that_was_read_on_a_new_connection_neither(self):
        client = self.serve([None])
        self.assertEqual(client.chat().status, 502)
        self.assertEqual(self.server.requests, [1])
        self.assertEqual(len(self.settled()), 1)


class Strict(Case):
    """Faults 22: what is no answer is never passed on as one."""

    def ask(self, said, stream=False, name="gateway"):
        server = Server(self, [[said]])
        gate = self.gateway(server.url, product(), workers=1, name=name)
        client = gate.client("prod", "acme")
        if stream:
            with_stream = client.stream("openai")
            got = with_stream.rest()
            status = with_stream.status
        else:
            given = client.chat()
            status, got = given.status, given.body
        records = gate.records("usage")
        settle = next(record for record in records if record["kind"] == "settle")
        return status, got, settle, gate

    def refused(self, said, *, name):
        status, got, settle, _ = self.ask(said, name=name)
        self.assertEqual(status, 502, got)
        self.assertNotIn(b"hello", got)
        self.assertNotEqual(settle["ending"], "finish")

    def test_a_coding_that_was_not_asked_for(self):
        for number, coding in enumerate(("gzip", "br", "GZIP", "identity, gzip")):
            with self.subTest(coding):
                self.refused(answer(f"content-encoding: {coding}"), name=f"gate-{number}")
        status, *_ = self.ask(answer("content-encoding: identity"), name="identity")
        self.assertEqual(status, 200)

    def test_an_error_with_a_coding_is_told_in_our_words(self):
        """Its body is not read: without ours the client would have a status and nothing else."""
        for told, code in (("400 Bad Request", "upstream_error"),
                           ("429 Too Many Requests", "upstream_error"),
                           ("401 Unauthorized", "upstream_credential")):
            with self.subTest(told):
                said = answer("content-encoding: gzip").replace(b"200 OK", told.encode())
                status, got, settle, _ = self.ask(said, name=f"gate-{told[:3]}")
                self.assertEqual((status, json.loads(got)["error"]["code"]), (502, code))
                self.assertEqual((settle["status"], settle["ending"]),
                                 (int(told[:3]), "upstream_error"))

    def test_interim_answers_are_skipped_up_to_a_bound(self):
        interim = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
        status, *_ = self.ask(interim * 8 + answer(), name="few")
        self.assertEqual(status, 200)
        self.refused(interim * 9 + answer(), name="many")
        self.refused(interim * 100000, name="flood")

    def test_surplus_bytes_drop_the_connection(self):
        server = Server(self, [[answer() + b"HTTP/1.1 200 OK\r\n", answer()], [answer()]])
        gate = self.gateway(server.url, product(), workers=1)
        client = gate.client("prod", "acme")
        for _ in range(2):
            self.assertEqual(client.chat().status, 200)
        self.assertEqual(server.requests, [1, 2])

    def test_an_answer_that_is_framed_by_the_end_of_the_connection(self):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
        body = encode(ANSWER)
        status, got, settle, _ = self.ask(head + body, name="whole")
        self.assertEqual((status, got, settle["ending"]), (200, body, "finish"))
        for cut in (len(body) - 1, len(body) // 2, 0):  # nothing tells that it is cut but what it says
            with self.subTest(cut):
                self.refused(head + body[:cut], name=f"cut-{cut}")
        stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        event = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
        _, got, settle, _ = self.ask(stream + event * 3, stream=True, name="stream")
        self.assertIn(b"error", got)
        self.assertEqual(settle["ending"], "upstream_reset")

    def test_media_types_are_compared_without_case_and_as_a_whole(self):
        body = (b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
                b"data: [DONE]\n\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        for number, kind in enumerate((b"Text/Event-Stream", b"text/event-stream ; charset=utf-8")):
            _, got, settle, _ = self.ask(head % (kind, len(body)) + body, stream=True,
                                         name=f"stream-{number}")
            self.assertIn(b"[DONE]", got)
            self.assertEqual(settle["ending"], "finish")
        _, got, settle, _ = self.ask(head % (b"text/event-streamx", len(body)) + body, stream=True,
                                     name="other")
        self.assertNotIn(b"[DONE]", got)
        self.assertNotEqual(settle["ending"], "finish")

    def test_when_to_come_back_is_passed_on(self):
        said = (b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 2\r\n"
                b"retry-after-ms: 1500\r\nset-cookie: a=b\r\ncontent-length: 2\r\n\r\n{}")
        gate = self.gateway(Server(self, [[said]]).url, product(), workers=1)
        answer = gate.client("prod", "acme").chat()
        self.assertEqual((answer.status, answer.headers["retry-after"],
                          answer.headers["retry-after-ms"]), (429, "2", "1500"))
        self.assertNotIn("set-cookie", answer.headers)

    def test_a_line_without_an_end_is_cut(self):
        """What is kept of an event is bounded (16 MiB): more of it is no answer."""
        said = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: " +
                b"x" * (17 << 20))
        _, got, settle, _ = self.ask(said, stream=True)
        self.assertNotEqual(settle["ending"], "finish")
        self.assertLessEqual(len(got), 17 << 20)
        self.assertIn(b"error", got[-2000:])

    def test_lengths_and_chunks_that_do_not_hold(self):
        body = encode(ANSWER)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        for name, said in (
                ("short", head + b"content-length: %d\r\n\r\n" % (len(body) + 1) + body),
                ("two lengths", head + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + body),
                ("both", head + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + body),
                ("bad chunk", head + b"transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
                ("cut chunk", head + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
                ("fold", head + b"x: y\r\n z\r\ncontent-length: %d\r\n\r\n" % len(body) + body)):
            with self.subTest(name):
                self.refused(said, name=name.replace(" ", "-"))


if __name__ == "__main__":
    main()
