"""Killed at each step of an act, the gateway has done it or not, as its log says, and nothing brings back
what was revoked.

A revocation and an apply that changes the same grant run at once, while strace kills the gateway at its
first write, sync or removal of a file, its second, and so on: before and after the change is staged in
the store, its record is in the log, and it is moved into the documents. After each start the document
in the store is the one that the last record of the grant committed, the grant is revoked exactly if the
log says so, and the same file applied again changes nothing of that.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing

from crash import kill_at, need_strace
from parley_test import Case, grant, main

STEPS = int(os.environ.get("PARLEY_CRASH_STEPS", "40"))
CALLS = "pwrite64,pwritev,pwritev2,fdatasync,fsync,ftruncate,unlink"


class Crash(Case):
    def setUp(self):
        super().setUp()
        need_strace(self)
        self.grants = [grant(f"g{step}", "acme", ["interop_test"]) for step in range(1, STEPS + 1)]
        self.gate = self.gateway(self.sim(), *self.grants)
        self.clients = {row["id"]: self.gate.client(row["id"], "acme") for row in self.grants}
        self.seen = {"acknowledged": 0, "done, not acknowledged": 0, "not done": 0, "left staged": 0}

    def act_and_die(self, step, name):
        """Revokes and applies at once; whether the revocation was acknowledged."""
        changed = [{**row, "limits": {"rpm": 1000 + step}} if row["id"] == name else row
                   for row in self.grants]
        file = self.gate.directory / "changed.yaml"
        file.write_text(json.dumps({"grants": changed}))
        done = {}

        def run(key, *arguments):
            done[key] = self.gate.run(*arguments)

        threads = [threading.Thread(target=run, args=("revoke", "grant", "revoke", name)),
                   threading.Thread(target=run, args=("apply", "apply", file))]
        strace = kill_at(self, self.gate, CALLS, step)
        for thread in threads if step % 2 else reversed(threads):
            thread.start()
        for thread in threads:
            thread.join()
        self.gate.kill()  # where it outlived so many calls
        strace.wait()
        self.assertIn(done["revoke"].returncode, (0, 3), done["revoke"].stderr)
        return done["revoke"].returncode == 0

    def staged(self):
        """How many changes the crash left staged, read from a copy."""
        copy = self.directory / "copy"
        copy.mkdir()
        for path in self.gate.directory.glob("*.db*"):
            shutil.copy(path, copy)
        with closing(sqlite3.connect(next(copy.glob("*.db")))) as database:
            count = database.execute("SELECT count(*) FROM staged").fetchone()[0]
        shutil.rmtree(copy)
        return count

    def last_act(self, name):
        acts = [entry for entry in self.gate.records()
                if entry["kind"] == "act" and entry.get("grant") == name and "document" in entry
                and entry["act"].startswith("grant.")]
        return acts[-1]

    def check_document(self, name):
        """The stored document is the one that the last act on the grant committed."""
        act = self.last_act(name)
        self.gate.kill()
        with closing(sqlite3.connect(next(self.gate.directory.glob("*.db")))) as database:
            text = database.execute("SELECT document FROM grants WHERE id = ?", (name,)).fetchone()[0]
            left = database.execute("SELECT count(*) FROM staged").fetchone()[0]
        self.gate.start()
        self.assertEqual(hashlib.sha256(text.encode()).hexdigest(), act["document"])
        self.assertEqual(left, 0, "something stayed staged after recovery")
        return act["act"] == "grant.revoke"

    def state(self, name):
        return json.loads(self.gate.act("grant", "show", name))["state"]

    def status(self, name):
        self.clients[name].port = self.gate.port
        return self.clients[name].messages(max_tokens=1).status

    def one_step(self, step):
        name = f"g{step}"
        acknowledged = self.act_and_die(step, name)
        self.seen["left staged"] += self.staged() > 0
        self.gate.start()
        revoked = self.check_document(name)
        self.assertTrue(revoked or not acknowledged, "an acknowledged revocation was lost")
        self.assertEqual(self.state(name), "revoked" if revoked else "active")
        self.assertEqual(self.status(name), 403 if revoked else 200)
        path = self.gate.directory / "access.yaml"
        self.gate.run("apply", path)  # as it was before: refused where it would change what is revoked
        self.assertEqual(self.state(name), "revoked" if revoked else "active")
        self.assertEqual(self.status(name), 403 if revoked else 200)
        self.seen["acknowledged" if acknowledged else "done, not acknowledged" if revoked
                  else "not done"] += 1

    def test_killed_at_every_step_of_a_revocation(self):
        for step in range(1, STEPS + 1):
            self.one_step(step)
        print(f"{STEPS} kills: {self.seen}")
        for what, count in self.seen.items():
            self.assertGreater(count, 0, f"no kill met this: {what}")


if __name__ == "__main__":
    main()
