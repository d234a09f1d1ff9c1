"""TLS on the model listener and towards providers: who is let in, who is talked to, which versions and
ciphers, sessions that are resumed, and certificates that are changed by SIGHUP under live streams."""

import http.client
import http.server
import json
import re
import signal
import socket
import ssl
import subprocess
import threading

from certificates import Authority
from parley_test import PATHS, PATIENCE, Answer, Case, Client, encode, main, openai, product, run, wait_until

ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "north-o",
          "choices": [{"index": 0, "finish_reason": "stop",
                       "message": {"role": "assistant", "content": "hello"}}],
          "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}


def trusting(authority, certificate=None):
    context = ssl.create_default_context(cafile=str(authority.path))
    if certificate:
        context.load_cert_chain(*map(str, certificate))
    return context


def ask_tls(port, key, context, body=None):
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
    try:
        connection.request("POST", PATHS["openai"], encode(body or openai()),
                           Client(port, key).headers("openai"))
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def serial(port, context):
    """The serial number of the certificate that a new connection is shown."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            return connection.getpeercert()["serialNumber"]


class Listener(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.directory)
        self.files = self.authority.issue("server")

    def serve(self, upstream=None, client_ca=None, **config):
        tls = {"certificate": str(self.files[0]), "key": str(self.files[1])}
        if client_ca:
            tls["client_ca"] = str(client_ca.path)
        self.gate = self.gateway(upstream or self.sim(), product(), tls=tls, **config)
        self.key = self.gate.key("prod", "acme")
        return self.gate

    def reload(self, pattern):
        before = len(self.gate.process.stderr)
        self.gate.process.send(signal.SIGHUP)
        return wait_until(lambda: re.search(pattern, self.gate.process.stderr[before:]),
                          f"{pattern} on stderr")

    def test_a_plain_answer_and_a_stream(self):
        gate = self.serve()
        context = trusting(self.authority)
        self.assertEqual(ask_tls(gate.port, self.key, context).status, 200)
        streamed = ask_tls(gate.port, self.key, context, openai(stream=True))
        self.assertEqual(streamed.status, 200)
        self.assertIn(b"data: [DONE]", streamed.body)

    def test_private_keys_that_anybody_can_read_are_told(self):
        ours, towards, grader = self.files[1], *(self.authority.issue(name)[1]
                                                 for name in ("towards", "grader"))
        url = "https://127.0.0.1:1"
        self.gate = self.gateway(
            url, product(models=["north-o"]), tls=self.pair(ours),
            grade={"url": url, "tls": {**self.pair(grader), "ca": str(self.authority.path)}},
            providers=[{"name": "north-open", "dialect": "openai", "url": url,
                        "tls": self.pair(towards)}],
            models=[{"name": "north-o", "provider": "north-open"}])
        for key in (ours, towards, grader):
            self.assertNotIn(str(key), self.gate.process.stderr)
            key.chmod(0o644)
            self.reload(re.escape(f"{key} (mode 0644): chmod 600 {key}"))
        self.gate.stop()
        self.gate.start()
        for key in (ours, towards, grader):
            self.assertIn(f"open {key} (mode 0644)", self.gate.process.stderr)
            key.chmod(0o640)  # a group is somebody's choice
        self.reload("reloaded")
        self.assertEqual(self.gate.process.stderr.count("chmod"), 3)

    @staticmethod
    def pair(key):
        return {"certificate": str(key.with_suffix(".pem")), "key": str(key)}

    def test_a_large_answer_reaches_a_slow_reader_whole(self):
        answer = {**ANSWER, "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "".join(f"{i:07d} " for i in range(500000))}}]}
        provider = Provider(self, None, answer=answer)
        gate = self.serve(provider.url)
        with socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain:
            # Smaller ones than this are opened again by timers, which take their time.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            with trusting(self.authority).wrap_socket(plain, server_hostname="localhost") as own:
                body = encode(openai())
                own.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: "
                            b"close\r\ncontent-type: application/json\r\nauthorization: Bearer " +
                            self.key.encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                wait_until(lambda: gate.metric("parley_buffered_bytes") > 0, "an answer held up")
                received = bytearray()
                while piece := own.recv(3000):
                    received += piece
        self.assertEqual(received.partition(b"\r\n\r\n")[2], encode(answer))
        wait_until(lambda: gate.metric("parley_buffered_bytes") == 0,
                   "the memory of plain and sealed bytes to be given back")

    def test_a_session_is_resumed_by_whichever_worker_takes_it(self):
        gate = self.serve(workers=2)
        context = trusting(self.authority)
        session, resumed = None, 0
        for _ in range(12):
            with socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as own:
                    own.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    while own.recv(65536):
                        pass
                    resumed += own.session_reused
                    session = own.session
        self.assertEqual(resumed, 11)
        self.assertEqual(serial(gate.port, context), "1000")

    def s_client(self, *options, data=b"", ok=True):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.gate.port}",
                               "-CAfile", str(self.authority.path), *options], input=data,
                              capture_output=True, timeout=PATIENCE, check=False)
        text = (done.stdout + done.stderr).decode(errors="replace")
        if ok is not None:
            self.assertEqual("Cipher is (NONE)" not in text, ok, text)
        return text

    def test_versions_ciphers_and_protocols(self):
        self.serve()
        text = self.s_client("-tls1_3", "-alpn", "h2,http/1.1")
        self.assertIn("TLS_AES_128_GCM_SHA256", text)
        self.assertIn("X25519", text)
        self.assertIn("ALPN protocol: http/1.1", text)
        text = self.s_client("-tls1_2")
        self.assertIn("ECDHE-ECDSA-AES128-GCM-SHA256", text)
        self.assertIn("Secure Renegotiation IS supported", text)
        for options in (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
                        ("-tls1_2", "-cipher", "AES128-SHA"), ("-alpn", "h2"),
                        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")):
            with self.subTest(options):
                self.assertRegex(self.s_client(*options, ok=False), "alert|no protocols available")

    def test_renegotiation_is_refused(self):
        self.serve()
        # "R" on a line asks for it (TLS 1.2).
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.gate.port}",
                               "-tls1_2"], input=b"R\n", capture_output=True, timeout=PATIENCE,
                              check=False)
        self.assertRegex(done.stderr.decode(), "no renegotiation")

    def test_what_is_no_handshake(self):
        gate = self.serve(timeouts={"head": 2})
        with socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            received = b""
            while piece := plain.recv(65536):
                received += piece
            self.assertNotIn(b"HTTP/", received)
        with socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as silent:
            # It says nothing and is cut by the deadline for heads.
            try:
                self.assertEqual(silent.recv(1), b"")
            except ConnectionResetError:
                pass
        self.assertEqual(ask_tls(gate.port, self.key, trusting(self.authority)).status, 200)

    def test_client_certificates(self):
        clients, stranger = Authority(self.directory, "clients"), Authority(self.directory, "other")
        gate = self.serve(client_ca=clients)
        good = trusting(self.authority, clients.issue("alice"))
        self.assertEqual(ask_tls(gate.port, self.key, good).status, 200)
        for name, certificate in (("none", None), ("of a stranger", stranger.issue("mallory")),
                                  ("expired", clients.issue("old", expired=True))):
            with self.subTest(name):
                with self.assertRaises(OSError):
                    ask_tls(gate.port, self.key, trusting(self.authority, certificate))
                own = ["-cert", str(certificate[0]), "-key", str(certificate[1])] if certificate else []
                self.assertRegex(self.s_client("-tls1_2", *own, ok=None),
                                 "alert (handshake failure|unknown ca|certificate expired)")
        self.assertEqual(ask_tls(gate.port, self.key, good).status, 200)
        self.assertEqual(gate.metric("parley_requests_total"), 2)

    def test_reload_swaps_the_certificate_under_a_live_stream(self):
        gate = self.serve(self.sim("--tokens-per-second", "20", "--output-tokens", "60"))
        context = trusting(self.authority)
        connection = http.client.HTTPSConnection("127.0.0.1", gate.port, timeout=PATIENCE,
                                                 context=context)
        self.addCleanup(connection.close)
        connection.request("POST", PATHS["openai"], encode(openai(stream=True)),
                           Client(gate.port, self.key).headers("openai"))
        response = connection.getresponse()
        received = response.read1(65536)
        self.assertEqual(serial(gate.port, context), "1000")
        fresh = self.authority.issue("fresh")
        for old, new in zip(self.files, fresh):
            old.write_bytes(new.read_bytes())
        self.reload("reloaded .*parley.yaml\n")
        self.assertEqual(serial(gate.port, context), "1001")
        self.assertNotIn(b"[DONE]", received)
        received += response.read()
        self.assertIn(b"data: [DONE]", received)
        # The connection that began with the old one goes on with it.
        connection.request("POST", PATHS["openai"], encode(openai(max_completion_tokens=2)),
                           Client(gate.port, self.key).headers("openai"))
        self.assertEqual(connection.getresponse().status, 200)

    def test_a_reload_with_an_unusable_certificate_changes_nothing(self):
        gate = self.serve()
        context = trusting(self.authority)
        good = [path.read_bytes() for path in self.files]
        other = self.authority.issue("other")
        for spoilt, words in ((b"", "certificate"), (other[1].read_bytes(), "key|certificate")):
            self.files[0].write_bytes(good[0] if spoilt else b"")
            self.files[1].write_bytes(spoilt or good[1])
            found = self.reload(r"not reloaded, the old configuration stays in force: (.*)\n")
            self.assertRegex(found.group(1), r"parley\.yaml:1: tls: cannot use the TLS")
            self.assertRegex(found.group(1), words)
            self.assertEqual(serial(gate.port, context), "1000")
            self.assertEqual(ask_tls(gate.port, self.key, context).status, 200)

    def test_a_damaged_certificate_is_not_passed_over(self):
        """A chain without it would be another one, and so would a list of authorities."""
        clients = Authority(self.directory, "clients")
        gate = self.serve(client_ca=clients)
        context = trusting(self.authority, clients.issue("alice"))
        for path, what in ((self.files[0], "TLS certificate, number 2"),
                           (clients.path, "certificate of an authority for clients, number 2")):
            good, more = path.read_bytes(), self.authority.path.read_bytes()
            path.write_bytes(good + more)
            self.reload("reloaded .*parley.yaml\n")
            path.write_bytes(good + more.replace(b"M", b"?", 1) + more)
            found = self.reload(r"not reloaded, the old configuration stays in force: (.*)\n")
            self.assertRegex(found.group(1), rf"parley\.yaml:1: tls: cannot use the {what}")
            self.assertEqual(ask_tls(gate.port, self.key, context).status, 200)
            path.write_bytes(good)

    def test_other_authorities_after_a_reload_ask_resumed_clients_again(self):
        first, second = Authority(self.directory, "first"), Authority(self.directory, "second")
        gate = self.serve(client_ca=first)
        context = trusting(self.authority, first.issue("alice"))

        def connect(session):
            with socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as own:
                    own.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                    while own.recv(65536):
                        pass
                    return own.session, own.session_reused

        session, _ = connect(None)
        session, reused = connect(session)
        self.assertTrue(reused)
        first.path.write_bytes(second.path.read_bytes())
        self.reload("reloaded ")
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            connect(session)


class Provider:
    """A provider's API of the test's own, behind TLS where a context is given."""

    def __init__(self, case, context, answer=None):
        provider = self
        self.requests, self.handshakes, self.resumed = 0, 0, 0
        body = encode(answer or ANSWER)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                provider.requests += 1
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, address):
                if context:
                    try:
                        request = context.wrap_socket(request, server_side=True)
                    except OSError:
                        request.close()
                        return
                    provider.handshakes += 1
                    provider.resumed += request.session_reused
                super().finish_request(request, address)
                if context:
                    try:
                        request.unwrap().close()
                    except (OSError, ValueError):
                        pass

            def handle_error(self, request, address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if context else ''}://localhost:{self.port}"
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        case.addCleanup(thread.join)
        case.addCleanup(self.server.server_close)
        case.addCleanup(self.server.shutdown)


class Upstream(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.directory)

    def provider(self, files, clients=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, files))
        if clients:
            context.load_verify_locations(str(clients.path))
            context.verify_mode = ssl.CERT_REQUIRED
        return Provider(self, context)

    def serve(self, provider, name="gateway", **tls):
        providers = [{"name": "north-open", "dialect": "openai", "url": provider.url,
                      "key": "upstream-secret",
                      "tls": {key: str(value) for key, value in tls.items()}}]
        if not tls:
            del providers[0]["tls"]
        gate = self.gateway(provider.url, product(models=["north-o"]), providers=providers,
                            models=[{"name": "north-o", "provider": "north-open"}], workers=1,
                            name=name)
        return gate, gate.client("prod", "acme")

    def refused(self, gate, client, provider):
        answer = client.chat()
        self.assertEqual(answer.status, 502, answer)
        self.assertEqual(provider.requests, 0)
        settled = gate.settled(answer.headers.get("parley-record") or
                               re.search(r"record (\w{32})", answer.message()).group(1))
        self.assertEqual(settled["ending"], "upstream_error")
        self.assertEqual(settled["usage"]["input"] + settled["usage"]["output"], 0)

    def test_a_named_authority_is_trusted_and_sessions_resume(self):
        provider = self.provider(self.authority.issue("server"))
        _, client = self.serve(provider, ca=self.authority.path)
        for _ in range(4):  # the provider closes each time: a handshake each time
            self.assertEqual(client.chat().status, 200)
        self.assertEqual((provider.requests, provider.handshakes, provider.resumed), (4, 4, 3))

    def test_a_large_body_leaves_no_memory_behind(self):
        gate, client = self.serve(self.provider(self.authority.issue("server")),
                                  ca=self.authority.path)
        self.assertEqual(client.chat("0123456789" * 400000).status, 200)
        wait_until(lambda: gate.metric("parley_buffered_bytes") == 0,
                   "the memory of plain and sealed bytes to be given back")

    def test_who_is_not_talked_to(self):
        stranger = Authority(self.directory, "stranger")
        for name, files in (("expired", self.authority.issue("old", expired=True)),
                            ("wrong name", self.authority.issue("else", names="DNS:north.example")),
                            ("unknown authority", stranger.issue("server"))):
            with self.subTest(name):
                provider = self.provider(files)
                gate, client = self.serve(provider, name, ca=self.authority.path)
                self.refused(gate, client, provider)

    def test_without_a_named_authority_the_systems_are_asked(self):
        provider = self.provider(self.authority.issue("server"))
        gate, client = self.serve(provider)
        self.refused(gate, client, provider)

    def test_our_certificate_for_the_provider(self):
        clients = Authority(self.directory, "clients")
        provider = self.provider(self.authority.issue("server"), clients=clients)
        certificate, key = clients.issue("gateway")
        gate, client = self.serve(provider, ca=self.authority.path, certificate=certificate, key=key)
        self.assertEqual(client.chat().status, 200)
        _, client = self.serve(provider, "without", ca=self.authority.path)
        self.assertEqual(client.chat().status, 502)
        self.assertEqual(provider.requests, 1)


class Reload(Case):
    """SIGHUP, for what is no certificate."""

    def reload(self, gate, pattern):
        before = len(gate.process.stderr)
        gate.process.send(signal.SIGHUP)
        return wait_until(lambda: re.search(pattern, gate.process.stderr[before:]),
                          f"{pattern} on stderr")

    def test_providers_models_and_limits_of_size(self):
        first, second = self.sim("--tokens-per-second", "20", "--output-tokens", "50"), self.sim()
        gate = self.gateway(first, product(models=["north-o", "north-1"]), workers=2)
        client = gate.client("prod", "acme")
        stream = client.stream("openai")
        stream.read_until(b"data: ")
        gate.write_config(second.url, max_body=2048)
        # Also where the providers are numbered anew.
        config = json.loads(gate.config_path.read_text())
        config["providers"].reverse()
        gate.config_path.write_text(json.dumps(config))
        self.reload(gate, r"reloaded .*parley.yaml\n")
        for _ in range(8):
            self.assertEqual(client.chat().status, 200)
        self.assertEqual(client.messages().status, 200)
        self.assertEqual(client.chat("x" * 3000).status, 413)
        self.assertIn(b"data: [DONE]", stream.rest())
        acts = [record for record in gate.records() if record.get("act") == "configuration.reload"]
        self.assertEqual([(act["person"], act["detail"]) for act in acts], [("SIGHUP", {
            "max_body": 2048, "models": 2, "providers": 2, "tls": False})])
        self.assertEqual(run("verify", gate.directory / "log" / "evaluation").returncode, 0)
        self.assertEqual(first.end_and_count(), 1)
        self.assertEqual(second.end_and_count(), 9)

    def test_an_invalid_file_changes_nothing(self):
        gate = self.gateway(self.sim(), product())
        client = gate.client("prod", "acme")
        good = gate.config_path.read_text()
        gate.config_path.write_text("name: n/p\nlisten: 127.0.0.1:0\ntypo: 1\n")
        found = self.reload(gate, r"not reloaded, the old configuration stays in force: (.*)\n")
        self.assertIn("parley.yaml:3: typo", found.group(1))
        self.assertEqual(client.chat().status, 200)
        gate.config_path.unlink()
        self.reload(gate, r"not reloaded")
        self.assertEqual(client.chat().status, 200)
        gate.config_path.write_text(good)
        self.reload(gate, r"reloaded .*parley.yaml\n")
        self.assertEqual(client.chat().status, 200)

    def test_keys_that_need_a_restart_are_told_by_name(self):
        sim = self.sim()
        gate = self.gateway(sim, product(), workers=2)
        client = gate.client("prod", "acme")
        gate.write_config(sim.url, name="elsewhere.example/other", workers=3, durability="relaxed")
        found = self.reload(gate, r"reloaded .*; these keys keep their old values until a restart: (.*)\n")
        self.assertEqual(found.group(1), "name, workers, durability")
        answer = client.chat()
        self.assertEqual(answer.status, 200)
        self.assertTrue(gate.settled(answer.headers["parley-record"]))
        # The administrative side goes on as well, over the names that were kept.
        gate.write_config(sim.url)
        gate.act("grant", "revoke", "prod", "--reason", "test")
        self.assertEqual(client.chat().status, 403)

    def test_many_signals(self):
        gate = self.gateway(self.sim(), product(), workers=2)
        client = gate.client("prod", "acme")
        for _ in range(10):
            gate.process.send(signal.SIGHUP)
            self.assertEqual(client.chat().status, 200)
        self.reload(gate, "reloaded ")
        self.assertEqual(client.chat().status, 200)


if __name__ == "__main__":
    main()
