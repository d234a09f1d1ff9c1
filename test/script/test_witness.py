"""parley witness as an operator runs it: its file, its statuses over HTTP and TLS, kill -9, and the
wrong things people do. Checkpoints are made here, from the C2SP specifications."""

import base64
import http.client
import json
import signal
import ssl

import tlog
from certificates import Authority
from parley_test import PARLEY, PATIENCE, Case, Process, ask, main, run


class Witness(Case):
    def setUp(self):
        super().setUp()
        self.log = tlog.Log("north.example/parley", b"\1" * 32, self.directory)
        self.key = self.directory / "witness.key"
        self.public = run("keygen", "-o", self.key).stdout.strip()
        self.starts = 0
        self.write()

    def write(self, **changes):
        facts = {"name": "south.example/w", "listen": "127.0.0.1:0", "key": "witness.key",
                 "logs": [self.log.vkey()], **changes}
        lines = [f"{key}: {json.dumps(value)}" for key, value in facts.items() if value is not None]
        self.file = self.directory / "witness.yaml"
        self.file.write_text("\n".join(lines) + "\n")
        return self.file

    def start(self, *more):
        self.starts += 1
        program = Process(self.directory, f"witness-{self.starts}",
                          [PARLEY, "witness", "-c", str(self.file), *more])
        self.addCleanup(program.end)
        return program

    def running(self):
        program = self.start("--json")
        program.wait_for_line("listening")
        hello = json.loads(program.stdout.splitlines()[0])
        self.vkey = hello["vkey"]
        self.port = int(hello["listening"].rsplit(":", 1)[1])
        return program

    def refused(self, status, words):
        done = run("witness", "-c", self.file)
        self.assertEqual((done.returncode, done.stdout), (status, ""))
        self.assertIn(words, done.stderr)

    def add(self, old, size, **changes):
        return ask(self.port, "POST", "/add-checkpoint", body=self.log.request(old, size, **changes))

    def test_statuses(self):
        program = self.running()
        self.log.grow(300)
        answer = self.add(0, 7)
        self.assertEqual((answer.status, answer.headers["content-type"]),
                         (200, "text/plain; charset=utf-8"))
        self.assertEqual(tlog.cosigners(self.log.checkpoint(7) + answer.body, [self.vkey]),
                         ["south.example/w"])
        self.assertEqual(self.add(7, 300).status, 200)
        answer = self.add(7, 300)
        self.assertEqual((answer.status, answer.body, answer.headers["content-type"]),
                         (409, b"300\n", "text/x.tlog.size"))
        self.assertEqual(self.add(300, 299).status, 400)
        self.log.grow(301)
        self.assertEqual(self.add(300, 301, proof=[]).status, 422)
        self.assertEqual(self.add(300, 300, root=b"x" * 32).status, 422)
        self.assertEqual(self.add(300, 301, sign=False).status, 403)
        self.assertEqual(self.add(300, 301, origin="west.example").status, 404)
        refused = ask(self.port, "GET", "/add-checkpoint")
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "POST"))
        self.assertEqual(ask(self.port, "POST", "/other", body=b"x").status, 404)
        self.assertEqual(ask(self.port, "POST", "/add-checkpoint", body=b"old 1\n").status, 400)
        self.assertEqual(ask(self.port, "POST", "/add-checkpoint", body=b"x" * 200000).status, 413)
        told = [json.loads(line) for line in program.stdout.splitlines()[1:]]
        self.assertEqual([line["status"] for line in told],
                         [200, 200, 409, 400, 422, 422, 403, 404, 400])
        self.assertIn("FORK", told[5]["reason"])
        self.assertEqual((told[1]["origin"], told[1]["old"], told[1]["size"]),
                         ("north.example/parley", 7, 300))

    def test_killed_witness_remembers(self):
        """What was answered with 200 is there after kill -9, every time."""
        self.log.grow(20)
        size = 0
        for more in (1, 3, 9, 20):
            program = self.running()
            self.assertEqual(self.add(size, more).status, 200)
            program.end(signal.SIGKILL)
            size = more
        self.running()
        self.assertEqual((self.add(0, 20).status, self.add(9, 20).body), (409, b"20\n"))

    def test_second_process_is_refused(self):
        self.running()
        self.refused(3, "another witness uses this state")

    def test_tls(self):
        certificate, key = Authority(self.directory).issue("localhost")
        self.write(tls={"certificate": str(certificate), "key": str(key)})
        match = self.start().wait_for_line(r"on https://127\.0\.0\.1:(\d+)")
        context = ssl.create_default_context(cafile=str(self.directory / "authority" / "ca.pem"))
        self.log.grow(3)
        connection = http.client.HTTPSConnection("localhost", int(match.group(1)), timeout=PATIENCE,
                                                 context=context)
        connection.request("POST", "/add-checkpoint", self.log.request(0, 3))
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_wrong_files(self):
        for changes, words in (
                ({"logs": []}, "names 1 to"),
                ({"logs": ["north.example"]}, "witness.yaml:4: logs[0]: not a verifier key"),
                ({"logs": None}, "logs"),
                ({"name": "two words"}, "witness.yaml:1: name:"),
                ({"key": "missing.key"}, "witness.yaml:3: key: cannot be read"),
                ({"key": "witness.yaml"}, "parley keygen -o FILE"),
                ({"liste": "x"}, "liste"),
                ({"listen": "nowhere"}, "witness.yaml:2: listen:"),
                ({"logs": [tlog.vkey("south.example/w", 1, base64.b64decode(self.public))]},
                 "a key of its own"),
                ({"logs": [tlog.vkey("south.example/w", 4, base64.b64decode(self.public))]},
                 "not an Ed25519 key of a log")):
            with self.subTest(changes=changes):
                self.write(**changes)
                self.refused(2, words)
        done = run("witness", "-c", self.directory / "none.yaml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("none.yaml", done.stderr)

    def test_vkey(self):
        self.assertEqual(run("witness", "-c", self.file, "--vkey").stdout.strip(),
                         tlog.vkey("south.example/w", 4, base64.b64decode(self.public)))

    def test_damaged_state_is_not_passed_over(self):
        program = self.running()
        self.log.grow(3)
        self.assertEqual(self.add(0, 3).status, 200)
        program.end(signal.SIGKILL)
        state = self.directory / "state" / "cosigned"
        state.write_text(state.read_text()[:-5])
        self.refused(1, "cosigned:2: damaged")


if __name__ == "__main__":
    main()
