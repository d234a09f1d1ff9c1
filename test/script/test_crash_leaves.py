"""Killed at each step of a registration, the gateway has the suite with all its leaves, or neither.

A suite is registered while strace kills the gateway at its first write, sync, rename or removal of a file,
its second, and so on: while the file of leaves is written, before and after the document is staged, its
record is in the log, and it is moved in. After each start every suite has its file and every file its
suite, what was acknowledged is there, and the suite can be registered (again) and used. In the end the
wrong things that may happen to a file: the start is refused, and says which file and what to do.
"""

import hashlib
import os
import sqlite3
from contextlib import closing

from crash import kill_at, need_strace
from parley_test import Case, anthropic, evaluation, main, public, suite_of

# The last is never come to: then it is killed as soon as it has answered.
STEPS = [*range(1, int(os.environ.get("PARLEY_CRASH_LEAVES", "28"))), 10000]
CALLS = "pwrite64,pwritev,pwritev2,fdatasync,fsync,ftruncate,unlink,rename,chmod,fchmodat"
LEAF = 16


class Crash(Case):
    def setUp(self):
        super().setUp()
        need_strace(self)
        self.prompts = {step: [f"What is {step} and {place}?" for place in range(3)]
                        for step in STEPS}
        self.suites = {step: suite_of(prompts, f"suite{step}") for step, prompts in self.prompts.items()}
        self.gate = self.gateway(self.sim(), evaluation(suites={
            "classes": ["public"], "max_leaves": 100000, "samples_per_leaf": 5,
            "new_leaves_per_week": 100000}), public_suites=public(*self.suites.values()))
        self.client = self.gate.client("eval", "southlab")
        self.seen = {"acknowledged": 0, "done, not acknowledged": 0, "not done": 0}

    def register(self, step):
        self.client.port = self.gate.port
        return self.client.post("/parley/v1/suites", self.suites[step])

    def register_and_die(self, step):
        """Whether it was acknowledged."""
        strace = kill_at(self, self.gate, CALLS, step)
        try:
            acknowledged = self.register(step).status == 200
        except OSError:
            acknowledged = False
        self.gate.kill()  # where it outlived so many calls
        strace.wait()
        return acknowledged

    def files(self):
        directory = self.gate.directory / "suites"
        return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}

    def check_files(self):
        """Every suite has its leaves in its file, as the database says, and there are no others."""
        self.gate.kill()
        with closing(sqlite3.connect(next(self.gate.directory.glob("*.db")))) as database:
            rows = dict(database.execute("SELECT id, blob FROM suites"))
        files = self.files()
        self.assertEqual(set(rows), set(files))
        for name, blob in rows.items():
            header, leaves = files[name].split(b"\n", 1)
            digest = b"sha256:" + hashlib.sha256(leaves).hexdigest().encode()
            self.assertEqual((len(leaves), bytes(blob)), (3 * LEAF, digest))
            self.assertTrue(header.endswith(digest), header)
        self.gate.start()
        return len(rows)

    def one_step(self, step, before):
        acknowledged = self.register_and_die(step)
        self.gate.start()
        count = self.check_files()
        self.assertIn(count - before, (1,) if acknowledged else (0, 1))
        self.seen["acknowledged" if acknowledged else
                  "done, not acknowledged" if count > before else "not done"] += 1
        again = self.register(step)
        self.assertEqual(again.status, 200, again)
        self.assertEqual(again.json()["created"], count == before)
        answer = self.client.ask("anthropic", anthropic(self.prompts[step][1], temperature=0))
        self.assertEqual(answer.status, 200, answer)
        return before + 1

    def damaged(self, name, change, why):
        path = self.gate.directory / "suites" / name
        whole = path.read_bytes()
        change(path, whole)
        done = self.gate.run("serve")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(name, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertIn("restore the data directory from a backup", done.stderr)
        path.write_bytes(whole)

    def test_killed_at_every_step_of_a_registration(self):
        count = 0
        for step in STEPS:
            count = self.one_step(step, count)
        print(f"{len(STEPS)} kills: {self.seen}")
        for what, times in self.seen.items():
            self.assertGreater(times, 0, f"no kill met this: {what}")
        self.gate.kill()
        first, second = sorted(self.files())[:2]
        other = self.files()[second]
        self.damaged(first, lambda path, whole: path.unlink(), "missing")
        self.damaged(first, lambda path, whole: path.write_bytes(whole[:-1]), "fewer or more leaves")
        self.damaged(first, lambda path, whole: path.write_bytes(other), "not what the database says")
        self.damaged(first, lambda path, whole: path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])),
                     "do not have the digest")
        self.gate.start()


if __name__ == "__main__":
    main()
