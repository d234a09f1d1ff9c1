"""`parley verify --policy`: a bundle, a receipt and a log's directory whose checkpoints a witness has
cosigned, read by what the reader trusts."""

import base64
import json
import os

import tlog
from parley_test import ask, evaluation, main, run, wait_until
from test_bench import Bench
from test_cosigning import ORIGIN, Witnessed

STRANGER = tlog.vkey("west.example/w", 4, bytes(31) + b"\2")


class Policies(Witnessed, Bench):
    def setUp(self):
        super().setUp()
        self.suite_folder, persona = self.suite(12)
        self.upstream = self.sim("--persona", persona)
        self.gate_directory = self.log_key()
        self.one = self.witness("south.example/w")
        self.north = self.restart(self.gate_directory, quorum=1,
                                  witnesses=[{"key": self.one.vkey, "url": self.one.url}])
        root = run("suite", "digest", self.suite_folder).stdout.strip()
        self.north.apply(evaluation(), public_suites=[{"name": "s", "root": root}])

    def run_suite(self):
        keys = {"PARLEY_TEST_KEY": self.north.key("eval", "southlab")}
        self.bench(*self.arguments(self.suite_folder, f"http://127.0.0.1:{self.north.port}"),
                   keys=keys)
        return self.out / "bundle"

    def policy(self, *lines):
        path = self.directory / "trusted.policy"
        path.write_text("\n".join(lines) + "\n")
        return path

    def check(self, path, status, words, *lines, more=()):
        done = run("verify", path, "--policy", self.policy(*lines), *more)
        first = done.stdout.split("\n")[0]
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertIn(words, first or done.stderr)
        return done.stdout

    def test_a_bundle(self):
        bundle = self.run_suite()
        log, one = f"log {self.vkey}", f"witness S {self.one.vkey} https://south.example"
        other = f"witness W {STRANGER}"
        shown = self.check(bundle, 0, f"VOUCHED by {ORIGIN} and one witness (south.example/w); "
                           "12 of 12", log, one, "quorum S")
        self.assertIn("the witness south.example/w of your policy", shown)
        self.check(bundle, 0, "and one witness (south.example/w)", log, one, other,
                   "group g any S W", "quorum g")
        self.check(bundle, 0, f"VOUCHED by {ORIGIN}; 12", log, "quorum none")
        self.check(bundle, 1, "CONSISTENT, SELF-CERTIFIED: 1 of the 2 witnesses of your policy",
                   log, one, other, "group g all S W", "quorum g")
        self.check(bundle, 1, "CONSISTENT, SELF-CERTIFIED: 0 of the 1", log, other, "quorum W")
        # The log's key may come by --key; without any the witness alone is not enough.
        self.check(bundle, 0, "and one witness", one, "quorum S", more=["--key", self.vkey])
        self.check(bundle, 1, "CONSISTENT, SELF-CERTIFIED: by a log that calls itself", one,
                   "quorum S")
        # Another log of that name.
        self.check(bundle, 1, "FALSE: ", f"log {tlog.vkey(ORIGIN, 1, bytes(31) + b'4')}", one,
                   "quorum S")
        # The bundle tells whom its gateway asks to trust; nobody has to.
        self.assertEqual((bundle / "policy").read_bytes(),
                         ask(self.north.port, "GET", "/log/policy").body)
        done = run("verify", bundle)
        self.assertEqual(done.returncode, 0)
        self.assertIn("1 of the 1 witnesses that the bundle itself names", done.stdout)

    def test_wrong_policies(self):
        path = self.north.directory / "log" / "evaluation"
        for lines, words in ((["quorum S"], "line 1: no line above defines"),
                             ([f"log {self.vkey}"], "there is no line"),
                             ([f"witness S {self.vkey}", "quorum S"], "line 1"),
                             (["log x", "quorum none"], "trusted.policy: line 1")):
            self.check(path, 2, words, *lines)
        done = run("verify", path, "--policy", self.directory / "none")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("none", done.stderr)
        done = run("verify", path, "--key", self.one.vkey)
        self.assertEqual(done.returncode, 2)
        self.assertIn("is the key of a witness: name it in a policy", done.stderr)

    def test_a_log_directory(self):
        path = self.north.directory / "log" / "evaluation"
        wait_until(lambda: self.north.metric('parley_log_cosigned_records{log="evaluation"}')
                   == self.north.checkpoint_size("evaluation"), "cosignatures")
        self.north.stop()
        lines = [f"log {self.vkey}", f"witness S {self.one.vkey}", "quorum S"]
        self.check(path, 0, f"VOUCHED by {ORIGIN} and one witness (south.example/w); ", *lines)
        cosigned = path / "checkpoint.cosigned"
        note = cosigned.read_bytes()
        # A flipped bit of the witness's signature, and a checkpoint of another tree.
        lines_of = note.splitlines(keepends=True)
        raw = bytearray(base64.b64decode(lines_of[-1].split()[2]))
        raw[-1] ^= 1
        wrong = lines_of[-1].split()[:2] + [base64.b64encode(bytes(raw))]
        cosigned.write_bytes(b"".join(lines_of[:-1]) + b" ".join(wrong) + b"\n")
        self.check(path, 1, "FALSE: the cosignature of \"south.example/w\" is wrong", *lines)
        cosigned.unlink()
        self.check(path, 1, "CONSISTENT, SELF-CERTIFIED: 0 of the 1 witnesses", *lines)

    def test_a_receipt(self):
        client = self.north.client("eval", "southlab")
        suite = json.loads(run("suite", "list", "-c", self.north.config_path, "--json").stdout)
        self.assertEqual(suite.get("suites"), [])
        bundle = self.run_suite()
        proof = next((bundle / "receipts").iterdir())
        lines = [f"log {self.vkey}", f"witness S {self.one.vkey}", "quorum S"]
        self.check(proof, 0, f"VOUCHED by {ORIGIN} and one witness (south.example/w); 1 record",
                   *lines)
        text = proof.read_text()
        stripped = self.directory / "stripped.tlog-proof"
        stripped.write_text("\n".join(text.split("\n")[:-2]) + "\n")
        self.check(stripped, 1, "CONSISTENT, SELF-CERTIFIED: 0 of the 1 witnesses", *lines)
        self.assertTrue(client and os.path.exists(stripped))


if __name__ == "__main__":
    main()
