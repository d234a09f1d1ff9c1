"""`parley log rotate-key`: the log's key handed on, as a reader who trusts the old key sees it; what a
crash leaves; and the wrong keys people start with."""

import base64
import json
import shutil

import tlog
from parley_test import Process, PARLEY, ask, evaluation, main, run, wait_until
from test_bench import Bench
from test_cosigning import ORIGIN, Witnessed


class Rotation(Witnessed, Bench):
    def setUp(self):
        super().setUp()
        self.suite_folder, persona = self.suite(4)
        self.upstream = self.sim("--persona", persona)
        root = run("suite", "digest", self.suite_folder).stdout.strip()
        self.gate = self.gateway(self.upstream, evaluation(),
                                 public_suites=[{"name": "s", "root": root}])
        self.old = self.vkey_of()
        self.log = self.gate.directory / "log" / "evaluation"

    def vkey_of(self):
        return ask(self.gate.port, "GET", "/log/vkey").body.decode().strip()

    def rotate(self):
        done = json.loads(self.gate.act("log", "rotate-key", "--reason", "yearly", "--json"))
        self.assertNotEqual(done["vkey"], self.old)
        wait_until(lambda: tlog.signed_by(ask(self.gate.port, "GET", "/log/checkpoint").body,
                                          done["vkey"]), "a checkpoint by the new key")
        self.assertEqual(self.vkey_of(), done["vkey"])
        return done

    def run_suite(self, name):
        self.out = self.directory / name
        self.bench(*self.arguments(self.suite_folder, f"http://127.0.0.1:{self.gate.port}"),
                   keys={"PARLEY_TEST_KEY": self.gate.key("eval", "southlab")})
        return self.out / "bundle"

    def vouched(self, path, key, status=0, words=f"VOUCHED by {ORIGIN}"):
        done = run("verify", path, "--key", key, "--require", "vouched")
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertIn(words, done.stdout.split("\n")[0])
        return done.stdout

    def test_readers_follow(self):
        before = self.run_suite("before")
        first = self.rotate()
        after = self.run_suite("after")
        second = self.rotate()
        last = self.run_suite("last")
        # Who trusts the first key follows twice; who trusts the last one knows nothing of before.
        for bundle in (before, after, last):
            self.vouched(bundle, self.old)
        self.assertIn("handed on", self.vouched(last, self.old))
        self.vouched(last, second["vkey"])
        self.vouched(after, first["vkey"])
        self.vouched(before, second["vkey"], 1, "FALSE: ")
        self.vouched(last, tlog.vkey(ORIGIN, 1, bytes(31) + b"\3"), 1, "FALSE: ")
        # The note is what the specification says: both keys signed it, in a C2SP signed note.
        note = first["rotation"].encode()
        lines = note.decode().split("\n")
        self.assertEqual((lines[0], lines[1], lines[3], lines[4]),
                         ("parley log key rotation 1", ORIGIN, self.old, first["vkey"]))
        self.assertTrue(tlog.signed_by(note, self.old) and tlog.signed_by(note, first["vkey"]))
        served = ask(self.gate.port, "GET", "/log/key-rotations").body
        self.assertEqual(served, note + second["rotation"].encode())
        # It is on record, with person and reason.
        acts = [entry for entry in self.gate.records() if entry.get("act") == "log.rotate_key"]
        self.assertEqual([act["id"] for act in acts], [first["record"], second["record"]])
        self.assertEqual((acts[0]["reason"], acts[0]["detail"]["evaluation"]),
                         ("yearly", first["rotation"]))
        self.assertTrue(acts[0]["person"])
        # A forged note leads nowhere: one bit of either signature.
        for number in (-1, -2):
            forged = note.splitlines(keepends=True)
            raw = bytearray(base64.b64decode(forged[number].split()[2]))
            raw[-1] ^= 1
            forged[number] = b" ".join([*forged[number].split()[:2],
                                        base64.b64encode(bytes(raw))]) + b"\n"
            copy = self.directory / f"forged{number}"
            shutil.copytree(self.log, copy)
            (copy / "key-rotations").write_bytes(b"".join(forged) + second["rotation"].encode())
            self.vouched(copy, self.old, 1, "FALSE: key-rotations: a rotation of a log's key")
        # The logs' directories and their restart.
        self.assertEqual(self.gate.stop(), 0)
        for log in ("evaluation", "usage"):
            done = run("verify", self.gate.directory / "log" / log)
            self.assertEqual(done.returncode, 0, done.stdout)
        self.vouched(self.log, self.old)
        self.gate.start()
        self.assertEqual(self.vkey_of(), second["vkey"])
        self.assertEqual([path.name for path in self.gate.directory.iterdir()
                          if "next" in path.name or "pending" in path.name], [])

    def test_a_backup_holds_the_way_to_the_key(self):
        new = self.rotate()["vkey"]
        copy = self.directory / "copy"
        self.gate.act("backup", copy)
        self.gate.stop()
        self.vouched(copy / "log" / "evaluation", self.old)
        shutil.rmtree(self.gate.directory)
        shutil.move(copy, self.gate.directory)
        again = Process(self.gate.directory, "restored", [PARLEY, "serve", "--restored", "-c",
                                                          str(self.gate.config_path)])
        self.addCleanup(again.end)
        port = int(again.wait_for_line(r"^listening on http://127\.0\.0\.1:(\d+)").group(1))
        self.assertEqual(ask(port, "GET", "/log/vkey").body.decode().strip(), new)
        self.assertIn(self.old.encode(), ask(port, "GET", "/log/key-rotations").body)

    def test_an_old_copy_of_before_the_rotation(self):
        """A log and a receipt of before it, with the newer key; a receipt of after it, with the older."""
        self.gate.stop()
        before = self.directory / "before"
        shutil.copytree(self.gate.directory, before)
        self.gate.start()
        new = self.rotate()["vkey"]
        old_id, new_id = self.old.split("+")[1], new.split("+")[1]
        self.gate.stop()
        receipts = []
        for name, folder in (("old", before / "log" / "evaluation"), ("new", self.log)):
            receipts.append(self.directory / f"{name}.tlog-proof")
            receipts[-1].write_text(run("log", "prove", folder, "0").stdout)
        for path in (before / "log" / "evaluation", receipts[0]):
            said = self.vouched(path, new, 1, f"FALSE: ")
            self.assertIn(f"({new_id}) but with another ({old_id})", said)
            self.assertIn("give the other one too", said)
        self.assertIn(f"({old_id}) but with another ({new_id})", self.vouched(receipts[1], self.old, 1, "FALSE: "))
        told = self.directory / "new.json"
        told.write_text(run("log", "prove", self.log, "0", "--json").stdout)
        self.assertIn("handed on", self.vouched(told, self.old))
        # The log's notes lead there; from the newer key to the older one nothing does, and that is said.
        notes = self.directory / "keys"
        notes.write_text(self.old + "\n" + (self.log / "key-rotations").read_text())
        self.assertIn("handed on", self.vouched(receipts[1], notes))
        notes.write_text(new + "\n" + (self.log / "key-rotations").read_text())
        said = self.vouched(receipts[0], notes, 1, "FALSE: ")
        self.assertIn(f"with the one before it ({old_id}), which was handed on later", said)
        done = run("verify", receipts[0], "--key", self.gate.directory / "signing.key")
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("signing.key is a private key: keep it", done.stderr)
        for verb, *rest in (("show",), ("prove", "0"), ("checkpoint",)):
            done = run("log", verb, self.gate.directory, *rest)
            self.assertIn("a gateway's logs are in log/evaluation and log/usage", done.stderr)
        # Started with the newer key, the old copy is known as one, by the mark or without it.
        for log in ("evaluation", "usage"):
            shutil.rmtree(self.gate.directory / "log" / log)
            shutil.copytree(before / "log" / log, self.gate.directory / "log" / log)
        done = self.gate.run("serve")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("this is an old copy of the log", done.stderr)
        self.assertIn("restore the newest copy", done.stderr)
        shutil.rmtree(self.gate.directory / "marks")
        done = self.gate.run("serve")
        self.assertEqual(done.returncode, 1, done)
        self.assertIn(f"signed with the key {old_id}, and yours is {new_id}", done.stderr)

    def test_the_wrong_key_is_refused(self):
        old = (self.gate.directory / "signing.key").read_bytes()
        new = self.rotate()
        self.gate.stop()
        right = (self.gate.directory / "signing.key").read_bytes()
        self.assertNotEqual(old, right)
        (self.directory / "x").mkdir()
        run("keygen", "-o", self.directory / "x" / "key")
        for wrong, words in ((old, "it signs no more; put the newest signing.key in place"),
                             ((self.directory / "x" / "key").read_bytes(),
                              "put the signing.key in place that this log was made with")):
            (self.gate.directory / "signing.key").write_bytes(wrong)
            done = self.gate.run("serve")
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(words, done.stderr)
        (self.gate.directory / "signing.key").write_bytes(right)
        self.gate.start()
        self.assertEqual(self.vkey_of(), new["vkey"])

    def test_interrupted_after_the_record(self):
        """The record is there, and the rest could not be done: the next start does it."""
        stone = self.gate.directory / "log" / "usage" / "key-rotations"
        stone.mkdir()
        done = self.gate.run("log", "rotate-key", "--reason", "test")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the next start of the gateway finishes it", done.stderr)
        self.assertEqual(self.vkey_of(), self.old)
        self.gate.kill()
        stone.rmdir()
        self.gate.start()
        new = self.vkey_of()
        self.assertNotEqual(new, self.old)
        self.assertFalse((self.gate.directory / "signing.key.next").exists())
        self.gate.act("grant", "suspend", "eval", "--reason", "test")
        self.gate.records()
        note = ask(self.gate.port, "GET", "/log/checkpoint").body
        self.assertTrue(tlog.signed_by(note, new))
        self.gate.stop()
        self.vouched(self.log, self.old)

    def test_interrupted_before_the_record(self):
        """The new key lies beside without a record: it is given up."""
        self.gate.stop()
        run("keygen", "-o", self.gate.directory / "signing.key.next")
        for pending in (None, "{}", '{"evaluation":"nonsense","usage":""}'):
            if pending:
                (self.gate.directory / "rotation.pending").write_text(pending)
                run("keygen", "-o", self.gate.directory / "signing.key.next")
            self.gate.start()
            self.assertEqual(self.vkey_of(), self.old)
            self.assertFalse((self.gate.directory / "signing.key.next").exists())
            self.assertFalse((self.gate.directory / "rotation.pending").exists())
            self.gate.stop()
        self.gate.start()
        self.rotate()

    def test_killed_at_once(self):
        """kill -9 right after it: whichever key it is, log and key agree."""
        for _ in range(4):
            before = self.vkey_of()
            child = Process(self.gate.directory, "rotate",
                            [PARLEY, "log", "rotate-key", "--reason", "test", "-c",
                             str(self.gate.config_path)])
            wait_until(lambda: child.child.poll() is not None
                       or (self.gate.directory / "signing.key.next").exists(), "it to begin")
            self.gate.kill()
            child.end()
            self.gate.start()
            after = self.vkey_of()
            if child.child.returncode == 0:
                self.assertNotEqual(after, before)
            self.gate.act("grant", "suspend", "eval", "--reason", "test")
            self.gate.act("grant", "restore", "eval", "--reason", "test")
            self.gate.records()
            self.assertTrue(tlog.signed_by(ask(self.gate.port, "GET", "/log/checkpoint").body,
                                           after))
        self.gate.stop()
        self.vouched(self.log, self.old)

    def test_witnesses_need_the_new_key(self):
        self.vkey = self.old
        one = self.witness("south.example/w")
        port = one.url.rsplit(":", 1)[1]
        self.gate.stop()
        self.gate.write_config(self.upstream.url,
                               log={"witnesses": [{"key": one.vkey, "url": one.url}]})
        self.gate.start()
        wait_until(lambda: self.cosigners(self.gate, one), "a cosignature")
        self.vkey = self.rotate()["vkey"]
        wait_until(lambda: "it follows this log with another key" in self.gate.process.stderr,
                   "the operator to be told")
        # What was cosigned under the old key is in nobody's way.
        self.vouched(self.log, self.vkey)
        self.vouched(self.log, self.old)
        one.end()
        again = self.witness("south.example/w", self.old, self.vkey, folder=one.folder,
                             listen=f"127.0.0.1:{port}")
        wait_until(lambda: self.cosigners(self.gate, again), "a cosignature under the new key", 90)

    def test_wrong_use(self):
        done = self.gate.run("log", "rotate-key")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--reason", done.stderr)
        done = self.gate.run("log", "rotate-key", "--reason", "x" * 2000)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("1 to 1000 bytes", done.stderr)
        self.gate.stop()
        done = self.gate.run("log", "rotate-key", "--reason", "test")
        self.assertEqual(done.returncode, 3, done.stderr)


if __name__ == "__main__":
    main()
