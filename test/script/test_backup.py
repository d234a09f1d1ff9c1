"""`parley backup`: a copy of a running gateway that verifies, and starts only when told so.

And what else keeps a log from being forked by an older copy of it: marks.
"""

import json
import shutil
import threading

from parley_test import PARLEY, Case, Process, main, product, run

SECRETS = ("signing.key", "grant.key", "verdict.key", "log.secret", "admin.token")


class Backup(Case):
    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim("--output-tokens", 4), product())
        self.client = self.gate.client("prod", "acme")
        self.copy = self.directory / "copy"

    def backup(self, *options):
        return run("backup", self.copy, "-c", self.gate.config_path, *options)

    def ask(self, count):
        for _ in range(count):
            self.assertEqual(self.client.messages().status, 200)

    def move_to_copy(self):
        """The gateway of this test goes on in the backup's directory, told to."""
        gate = self.gate
        gate.directory, gate.config_path = self.copy, self.copy / "parley.yaml"
        gate.process = Process(self.copy, "restored", [PARLEY, "serve", "-c", str(gate.config_path),
                                                       "--restored"])
        gate.admin_port = self.port_of(r"^admin on http://127\.0\.0\.1:(\d+)")
        gate.port = self.port_of(r"^listening on https?://127\.0\.0\.1:(\d+)")
        self.client.port = gate.port

    def port_of(self, pattern):
        return int(self.gate.process.wait_for_line(pattern).group(1))

    def serve(self, *options):
        return run("serve", "-c", self.copy / "parley.yaml", *options)

    def test_a_backup_under_load_verifies_and_starts_when_told(self):
        self.ask(20)
        stop = threading.Event()

        def work():
            while not stop.is_set():
                self.client.messages()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        done = self.backup("--json")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertGreaterEqual(told["usage"], 40)
        for log in ("evaluation", "usage"):
            checked = run("verify", self.copy / "log" / log, "--key", self.vkey(log), "--json")
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
            self.assertIn(f"{told[log]} records", json.loads(checked.stdout)["headline"])
        for name in SECRETS:
            self.assertEqual((self.copy / name).read_bytes(),
                             (self.gate.directory / name).read_bytes())
            self.assertEqual((self.copy / name).stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.gate.stop(), 0)
        refused = self.serve()
        self.assertEqual(refused.returncode, 1, refused.stderr)
        self.assertIn("--restored", refused.stderr)
        self.check_restored(told)

    def test_readers_of_the_disk_take_the_mark(self):
        """A crash leaves the file `checkpoint` up to 0.1 s behind what was signed."""
        self.ask(3)
        vkey = self.vkey("usage")
        log = self.gate.directory / "log" / "usage"
        self.gate.stop()
        behind = (log / "checkpoint").read_bytes()
        older = self.directory / "older"
        shutil.copytree(log, older)
        self.gate.start()
        self.client.port = self.gate.port
        self.ask(3)
        self.gate.stop()
        newest = (log / "checkpoint").read_bytes()
        size = int(newest.split(b"\n")[1])
        self.assertGreater(size, int(behind.split(b"\n")[1]))
        (log / "checkpoint").write_bytes(behind)
        done = run("verify", log, "--key", vkey, "--require", "vouched", "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        told = json.loads(done.stdout)
        self.assertIn(f"; {size} records", told["headline"])
        self.assertEqual(told["unchecked"], [])
        self.assertIn("0 hash tiles and 2 checkpoints against the tree", told["checked"])
        self.assertEqual(run("log", "checkpoint", log).stdout.encode(), newest)
        receipt = self.directory / "last.tlog-proof"
        receipt.write_text(run("log", "prove", log, size - 1).stdout)
        done = run("verify", receipt, "--key", vkey, "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # A log that is older than what was signed; marks of nobody, and of another log.
        shutil.rmtree(log)
        shutil.copytree(older, log)
        done = run("verify", log, "--key", vkey)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(f"covers {size} records and the log has only", done.stdout)
        mark = self.gate.directory / "marks" / "usage.mark"
        for content in (b"", b"PARLEYMK" + bytes(99), mark.with_name("evaluation.mark").read_bytes()):
            mark.write_bytes(content)
            done = run("verify", log, "--key", vkey, "--require", "vouched")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def vkey(self, log):
        return self.gate.admin(f"/log/{log}/vkey").body.decode().strip()

    def check_restored(self, told):
        self.move_to_copy()
        self.ask(3)
        self.assertGreaterEqual(len(self.gate.records("usage")), told["usage"] + 6)
        self.assertEqual(self.gate.stop(), 0)
        self.gate.start()  # it is a gateway like any other now
        self.client.port = self.gate.port
        self.ask(1)

    def test_an_act_after_the_backup_is_not_in_it(self):
        self.ask(1)
        self.assertEqual(self.backup().returncode, 0)
        self.gate.act("grant", "revoke", "prod", "--reason", "a test")
        self.assertEqual(self.gate.stop(), 0)
        self.move_to_copy()
        self.ask(1)

    def test_what_is_done_wrongly(self):
        self.copy.mkdir()
        (self.copy / "mine").write_text("x")
        done = self.backup()
        self.assertEqual(done.returncode, 1)
        self.assertIn("not empty", done.stderr)
        (self.copy / "mine").unlink()
        self.assertEqual(self.gate.stop(), 0)
        done = self.backup()
        self.assertEqual(done.returncode, 3)
        self.assertIn("is `parley serve` running", done.stderr)
        self.assertEqual(run("backup").returncode, 2)
        # What it left is no backup that could be started on.
        shutil.copy(self.gate.config_path, self.copy / "parley.yaml")
        for name in SECRETS:
            shutil.copy(self.gate.directory / name, self.copy / name)
        refused = self.serve("--restored")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("was not finished", refused.stderr)

    def test_an_older_log_beside_its_marks_is_not_signed(self):
        self.ask(3)
        self.assertEqual(self.gate.stop(), 0)
        log = self.gate.directory / "log"
        shutil.copytree(log, self.directory / "older")
        self.gate.start()
        self.client.port = self.gate.port
        self.ask(3)
        self.assertEqual(self.gate.stop(), 0)
        shutil.rmtree(log)
        shutil.copytree(self.directory / "older", log)
        done = run("serve", "-c", self.gate.config_path)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("old copy", done.stderr)
        self.assertIn("usage.mark", done.stderr)


if __name__ == "__main__":
    main()
