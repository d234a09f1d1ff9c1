"""A gateway whose checkpoints are cosigned: by `parley witness` as other labs run it, and by witnesses
that are away, slow, forgetful or lying."""

import base64
import http.server
import json
import re
import shutil
import signal
import threading

import tlog
from parley_test import (PARLEY, Case, Process, ask, evaluation, main, product, public, run, suite_of,
                         wait_until)

ORIGIN = "northlab.example/test"


class Witnessed(Case):
    """A gateway and real witnesses that follow its log."""

    def setUp(self):
        super().setUp()
        self.upstream = self.sim()
        self.witnesses = 0

    def log_key(self):
        """The key of a gateway that was made by a first start."""
        first = self.gateway(self.upstream, product())
        self.vkey = ask(first.port, "GET", "/log/vkey").body.decode().strip()
        first.stop()
        return first

    def restart(self, gate, **log):
        gate.write_config(self.upstream.url, log=log)
        return gate.start()

    def witness(self, name, *logs, folder=None, listen="127.0.0.1:0"):
        self.witnesses += 1
        folder = folder or self.directory / f"witness-{self.witnesses}"
        folder.mkdir(exist_ok=True)
        if not (folder / "key").exists():
            run("keygen", "-o", folder / "key")
        (folder / "witness.yaml").write_text(json.dumps(
            {"name": name, "key": "key", "listen": listen, "logs": list(logs or [self.vkey])}))
        program = Process(folder, f"run-{self.witnesses}",
                          [PARLEY, "witness", "-c", str(folder / "witness.yaml"), "--json"])
        self.addCleanup(program.end)
        program.wait_for_line("listening")
        hello = json.loads(program.stdout.splitlines()[0])
        program.vkey, program.url, program.folder = hello["vkey"], hello["listening"], folder
        return program

    def cosigners(self, gate, *witnesses):
        """Who cosigned what is served as checkpoint now."""
        note = ask(gate.port, "GET", "/log/checkpoint").body
        self.assertTrue(tlog.signed_by(note, self.vkey))
        return tlog.cosigners(note, [each.vkey for each in witnesses])

    def receipts(self, gate, client, prompt="Hello"):
        answer = client.messages(prompt, temperature=0)
        self.assertEqual(answer.status, 200, answer)
        path = f"/parley/v1/receipts/{answer.headers['parley-record']}"
        found = []

        def there():
            found[:] = [client.get(path)]
            return found[0].status != 425

        wait_until(there, "receipts")
        self.assertEqual(found[0].status, 200, found[0])
        return found[0]


class Cosigning(Witnessed):
    # ---- honest witnesses ----

    def test_two_witnesses(self):
        gate = self.log_key()
        one, two = self.witness("south.example/w"), self.witness("west.example/w")
        self.restart(gate, quorum=2, witnesses=[{"key": one.vkey, "url": one.url},
                                                {"key": two.vkey, "url": two.url + "/"}])
        wait_until(lambda: self.cosigners(gate, one, two) == ["south.example/w", "west.example/w"],
                   "both cosignatures")
        gate.apply(product())
        wait_until(lambda: gate.metric('parley_log_cosigned_records{log="evaluation"}')
                   == gate.checkpoint_size("evaluation") > 2, "the act to be cosigned")
        self.assertGreaterEqual(gate.metric(
            'parley_witness_cosignatures_total{witness="west.example/w"}'), 1)
        self.assertEqual(gate.metric('parley_witness_failing{witness="west.example/w"}'), 0)
        # What it tells readers to trust.
        policy = ask(gate.port, "GET", "/log/policy").body.decode()
        for line in (f"log {self.vkey}", f"witness w1 {one.vkey} {one.url}",
                     "group witnesses 2 w1 w2", "quorum witnesses"):
            self.assertIn(line, policy)
        # On the disk, for those without a gateway.
        gate.stop()
        shown = run("log", "checkpoint", gate.directory / "log" / "evaluation", "--json")
        facts = json.loads(shown.stdout)
        self.assertEqual(sorted(each["name"] for each in facts["cosignatures"]),
                         ["south.example/w", "west.example/w"], shown)
        self.assertRegex(facts["cosignatures"][0]["time"], r"^20\d\d-")

    def test_receipts_are_cosigned(self):
        """A receipt waits for the cosignature, and carries it."""
        gate = self.log_key()
        one = self.witness("south.example/w")
        self.restart(gate, witnesses=[{"key": one.vkey, "url": one.url}])
        suite = suite_of(["What jumps?", "What lies?"])
        gate.apply(evaluation(), public_suites=public(suite))
        client = gate.client("eval", "southlab")
        self.assertIn(client.post("/parley/v1/suites", suite).status, (200, 201))
        found = self.receipts(gate, client, "What jumps?")
        receipts = found.json()["receipts"]
        self.assertEqual(len(receipts), 2)
        for receipt in receipts:
            note = receipt["proof"].encode().split(b"\n\n", 1)[1]
            self.assertEqual(tlog.cosigners(note, [one.vkey]), ["south.example/w"])
        path = self.directory / "receipts.json"
        path.write_bytes(found.body)
        self.assertIn(f"VOUCHED by {ORIGIN}", run("verify", path, "--key", self.vkey).stdout)

    def test_two_labs_witness_each_other(self):
        north, south = self.log_key(), None
        north_key = self.vkey
        south = self.gateway(self.upstream, product(), name="south", origin="southlab.example/test")
        south_key = ask(south.port, "GET", "/log/vkey").body.decode().strip()
        south.stop()
        of_south = self.witness("southlab.example/witness", north_key)
        of_north = self.witness("northlab.example/witness", south_key)
        self.restart(north, witnesses=[{"key": of_south.vkey, "url": of_south.url}])
        south.write_config(self.upstream.url, name="southlab.example/test",
                           log={"witnesses": [{"key": of_north.vkey, "url": of_north.url}]})
        south.start()
        wait_until(lambda: self.cosigners(north, of_south) == ["southlab.example/witness"],
                   "south to cosign north")
        self.vkey = south_key
        wait_until(lambda: self.cosigners(south, of_north) == ["northlab.example/witness"],
                   "north to cosign south")

    # ---- witnesses that are not what they should be ----

    def test_away_and_back(self):
        """Requests and checkpoints go on without it; what it missed it is shown when it is back."""
        gate = self.log_key()
        one = self.witness("south.example/w")
        port = int(one.url.rsplit(":", 1)[1])
        one.end(signal.SIGKILL)
        self.restart(gate, witnesses=[{"key": one.vkey, "url": one.url}])
        client = gate.client("prod", "acme")
        for _ in range(3):
            self.assertEqual(client.messages().status, 200)
        self.receipts(gate, client)
        self.assertEqual(self.cosigners(gate, one), [])
        wait_until(lambda: gate.metric('parley_witness_failing{witness="south.example/w"}') == 1,
                   "the failure to be counted")
        wait_until(lambda: "witness south.example/w does not cosign: " in gate.process.stderr,
                   "the operator to be told")
        again = self.witness("south.example/w", folder=one.folder, listen=f"127.0.0.1:{port}")
        wait_until(lambda: self.cosigners(gate, again) == ["south.example/w"], "its cosignature")
        wait_until(lambda: "south.example/w cosigns again" in gate.process.stderr, "the good news")

    def test_one_of_two_is_enough(self):
        gate = self.log_key()
        one, two = self.witness("south.example/w"), self.witness("west.example/w")
        two.end(signal.SIGKILL)
        self.restart(gate, quorum=1, witnesses=[{"key": one.vkey, "url": one.url},
                                                {"key": two.vkey, "url": two.url}])
        wait_until(lambda: self.cosigners(gate, one, two) == ["south.example/w"], "one cosignature")

    def test_unknown_log(self):
        gate = self.log_key()
        one = self.witness("south.example/w", tlog.vkey("other.example", 1, bytes(31) + b"\1"))
        self.restart(gate, witnesses=[{"key": one.vkey, "url": one.url}])
        wait_until(lambda: "it does not follow this log" in gate.process.stderr, "the reason")

    def test_an_old_copy_of_the_log_is_noticed(self):
        """A restored backup: the witness has seen more."""
        gate = self.log_key()
        one = self.witness("south.example/w")
        saved = self.directory / "saved"
        shutil.copytree(gate.directory, saved)
        self.restart(gate, witnesses=[{"key": one.vkey, "url": one.url}])
        before = gate.checkpoint_size("evaluation")
        gate.apply(product(), product("more"))
        wait_until(lambda: gate.metric('parley_log_cosigned_records{log="evaluation"}') > before,
                   "cosignatures")
        gate.stop()
        gate.directory.rename(self.directory / "newer")
        saved.rename(gate.directory)
        self.restart(gate, witnesses=[{"key": one.vkey, "url": one.url}])
        wait_until(lambda: "this is an old copy of the log" in gate.process.stderr, "the warning")
        # It goes on to sign a fork; nobody cosigns that.
        gate.apply(product(), product("other"), product("another"), product("fourth"))
        wait_until(lambda: "FORK" in gate.process.stderr
                   or "status 422" in gate.process.stderr, "the fork to be seen", 60)
        self.assertEqual(self.cosigners(gate, one), [])

    def test_lying_witnesses(self):
        """Answers from strangers: none of them is taken, and none of them stops the gateway."""
        gate = self.log_key()
        cases = [
            (200, b""), (200, b"nonsense\n"), (200, b"\n\n\n"), (200, b"x" * 100000),
            (200, 72), (200, 8), (200, 64),
            (409, b"99999999\n"), (409, b"nonsense"), (409, b"0\n"), (422, b""), (403, b""),
            (500, b"x"), (302, b""),
        ]
        liars = [Liar(f"liar-{number}.example", self.directory, *case)
                 for number, case in enumerate(cases)]
        for liar in liars:
            self.addCleanup(liar.stop)
        self.restart(gate, witnesses=[{"key": liar.key, "url": liar.url} for liar in liars])
        client = gate.client("prod", "acme")
        wait_until(lambda: all(gate.metric(
            f'parley_witness_failing{{witness="{liar.name}"}}') for liar in liars), "all to fail")
        self.assertEqual(client.messages().status, 200)
        ready = ask(gate.admin_port, "GET", "/readyz")
        self.assertEqual(ready.status, 200)
        told = [each["problem"] for each in ready.json()["warnings"] if each["part"] == "witness"]
        self.assertEqual(len(told), len(liars))
        self.assertTrue(told[0].startswith("liar-0.example does not cosign: "), told[0])
        note = ask(gate.port, "GET", "/log/checkpoint").body
        self.assertEqual(len(tlog.split_note(note)[1]), 1)
        self.assertIn("liar-7.example does not cosign: it has cosigned 99999999 records",
                      gate.process.stderr)
        self.assertIn("liar-10.example does not cosign: FORK", gate.process.stderr)

    # ---- configuration ----

    def test_wrong_configurations(self):
        gate = self.log_key()
        key = tlog.vkey("south.example/w", 4, bytes(31) + b"\1")
        good = {"key": key, "url": "https://south.example"}
        for log, words in (
                ({"witnesses": [{"key": self.vkey, "url": "https://south.example"}]},
                 r"log.witnesses\[0\].key: .*not an Ed25519 key of a witness"),
                ({"witnesses": [{"key": key, "url": "south.example"}]}, "url: must be like"),
                ({"witnesses": [{"key": key}]}, "url"),
                ({"witnesses": [good, good]}, "stands there twice"),
                ({"witnesses": [good], "quorum": 2}, "quorum"),
                ({"quorum": 1}, "none is named"),
                ({"witnesses": ["x"]}, "must be a mapping"),
                ({"witness": []}, "witness")):
            gate.write_config(self.upstream.url, log=log)
            done = gate.run("serve")
            self.assertEqual(done.returncode, 2, done)
            self.assertTrue(re.search(words, done.stderr), done.stderr)


class Liar:
    """A witness with a key that gives one answer to everything; a number stands for a line with so
    many bytes of a wrong signature."""

    def __init__(self, name, folder, status, body):
        public = tlog.Signer(name.encode().ljust(32, b"-"), folder).public
        self.name, self.key = name, tlog.vkey(name, 4, public)
        if isinstance(body, int):
            raw = tlog.key_id(name, 4, public) + bytes(body)
            body = tlog.DASH + f" {name} ".encode() + base64.b64encode(raw) + b"\n"

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    main()
