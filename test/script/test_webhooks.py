"""Notices to webhooks over TLS: who is spoken to, and who is not."""

import http.server
import json
import ssl
import threading

from certificates import Authority
from parley_test import Case, access, evaluation, main, wait_until


class SecureHook:
    """A webhook with TLS on the loopback address; `statuses` are answered first, then 204."""

    def __init__(self, certificate, statuses=(), location=None):
        hook = self
        self.taken, self.handshakes, self.statuses = [], 0, list(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.taken.append((self.path, json.loads(body)))
                self.send_response(hook.statuses.pop(0) if hook.statuses else 204)
                if location:
                    self.send_header("location", location)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self):
                """Handshakes are counted, also those that the client breaks off."""
                hook.handshakes += 1
                connection, address = super().get_request()
                return context.wrap_socket(connection, server_side=True,
                                           do_handshake_on_connect=False), address

            def handle_error(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificate))
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, host="localhost", path="/notices"):
        return f"https://{host}:{self.port}{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Webhooks(Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.directory)
        self.gate = self.gateway(self.sim(), notices={"ca": str(self.authority.path)})

    def hook(self, certificate, **options):
        hook = SecureHook(certificate, **options)
        self.addCleanup(hook.close)
        return hook

    def notify(self, url):
        path = self.gate.directory / "access.yaml"
        file = access(evaluation())
        file["orgs"][0]["notify"] = url
        path.write_text(json.dumps(file))
        self.gate.act("apply", path)

    def suspend(self):
        self.gate.act("grant", "suspend", "eval", "--reason", "a talk")

    def delivered(self):
        return [entry["detail"] for entry in self.gate.records() if entry["kind"] == "notice"]

    def waiting(self):
        return json.loads(self.gate.admin("/admin/v1/notices").body)["notices"]

    def test_a_certificate_of_the_named_authority_is_spoken_to(self):
        hook = self.hook(self.authority.issue("hook"))
        self.notify(hook.url())
        self.suspend()
        record = wait_until(self.delivered, "the record of the notice")[0]
        self.assertEqual((record["event"], record["via"], record["attempts"]),
                         ("grant.suspended", "webhook", 1))
        self.assertEqual([path for path, _ in hook.taken], ["/notices"])
        self.assertIn("certificate", hook.taken[0][1])  # the log vouches for the key that signed it

    def test_nobody_else_is_told_anything(self):
        stranger = Authority(self.directory, "stranger")
        cases = (
            (self.authority.issue("elsewhere", names="DNS:elsewhere.example"), "hostname mismatch"),
            (stranger.issue("hook"), "certificate"),
            (self.authority.issue("old", expired=True), "expired"),
        )
        for place, (certificate, told) in enumerate(cases):
            with self.subTest(told=told):
                hook = self.hook(certificate)
                self.notify(hook.url())
                if place == 0:
                    self.suspend()
                wait_until(lambda hook=hook: hook.handshakes >= 1, "a connection")
                wait_until(lambda told=told: any(told in row.get("problem", "") for row in self.waiting()),
                           told)
                self.assertEqual(hook.taken, [])
        # It is tried again, and taken once the right one is there.
        self.assertEqual(self.delivered(), [])
        hook = self.hook(self.authority.issue("hook"))
        self.notify(hook.url())
        record = wait_until(self.delivered, "the record of the notice")[0]
        self.assertGreaterEqual(record["attempts"], 4)
        self.assertEqual(len(hook.taken), 1)

    def test_a_redirect_is_not_followed(self):
        other = self.hook(self.authority.issue("other"))
        hook = self.hook(self.authority.issue("hook"), statuses=[302, 307], location=other.url())
        self.notify(hook.url())
        self.suspend()
        record = wait_until(self.delivered, "the record of the notice")[0]
        self.assertEqual((record["attempts"], len(hook.taken), other.handshakes), (3, 3, 0))

    def test_a_failing_answer_over_tls_is_asked_again(self):
        hook = self.hook(self.authority.issue("hook"), statuses=[503])
        self.notify(hook.url(host="127.0.0.1"))  # the certificate names the address
        self.suspend()
        record = wait_until(self.delivered, "the record of the notice")[0]
        self.assertEqual((record["attempts"], len(hook.taken)), (2, 2))

    def test_where_no_webhook_can_be_is_refused_by_the_file(self):
        path = self.gate.directory / "access.yaml"
        for url in ("ftp://localhost/x", "https://", "https://user:secret@localhost/x", "localhost:80"):
            file = access(evaluation())
            file["orgs"][0]["notify"] = url
            path.write_text(json.dumps(file))
            done = self.gate.run("apply", path)
            self.assertEqual(done.returncode, 1, url)
            self.assertIn("notify", done.stderr)


main()
