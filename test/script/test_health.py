"""/healthz and /readyz tell the truth: with a stuck disk, a full one, and while the gateway ends."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

from parley_test import SANITIZED, Case, ask, main, product, run, wait_until


class Health(Case):
    def get(self, path):
        answer = ask(self.gate.admin_port, "GET", path)
        return answer.status, answer.json()

    def test_a_gateway_that_is_well(self):
        self.gate = self.gateway(self.sim(), product())
        self.assertEqual(self.get("/healthz"), (200, {"status": "alive", "problems": []}))
        self.assertEqual(self.get("/readyz"), (200, {"status": "ready", "problems": []}))

    def test_a_full_disk_is_alive_and_not_ready(self):
        if os.geteuid() != 0:
            self.skipTest("only root can mount a file system to fill")
        if SANITIZED:
            self.skipTest("fifty thousand requests fill the log: in other builds only")
        disk = self.directory / "disk"
        disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "none", disk],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"cannot mount: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        self.gate = self.gateway(self.sim(), product(), name="disk/gateway")
        client = self.gate.client("prod", "acme")
        key = {"LOAD_KEY": self.gate.key("prod", "acme")}
        self.assertEqual(self.get("/readyz")[0], 200)
        with open(disk / "ballast", "wb", buffering=0) as out:
            try:
                while out.write(b"\0" * 4096) == 4096:
                    pass
            except OSError:
                pass
        self.assertEqual(shutil.disk_usage(disk).free, 0)
        # Some more than what this segment and the next one, which was there already, hold.
        run("load", "--target", f"http://127.0.0.1:{self.gate.port}", "--key-env", "LOAD_KEY",
            "--requests", 45200, "--max-tokens", 1, "--connections", 16, "--ramp", 0, "--warmup", 0,
            env={**os.environ, **key})
        for _ in range(20000):
            if client.messages(max_tokens=1).status == 503:
                break
        status, body = self.get("/readyz")
        self.assertEqual((status, body["status"]), (503, "not ready"))
        self.assertIn({"part": "log usage", "problem": "no space is left on the disk"}, body["problems"])
        self.assertEqual(self.get("/healthz")[0], 200)
        (disk / "ballast").unlink()
        wait_until(lambda: self.get("/readyz")[0] == 200, "room again")

    def test_a_loop_that_is_stuck_is_named(self):
        """A thread is stopped as a debugger would: the admin loop asks it in vain, and says so."""
        self.gate = self.gateway(self.sim(), product())
        for name, path, part in (("worker", "/healthz", "worker "), ("log", "/readyz", "log")):
            with self.subTest(name), stopped_thread(self, self.gate.process.child.pid, name):
                status, body = self.get(path)
                self.assertEqual((status, len(body["problems"])), (503, 1), body)
                self.assertTrue(body["problems"][0]["part"].startswith(part), body)
            wait_until(lambda: self.get("/readyz")[0] == 200, "all of them to turn again")


PTRACE_CONT, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 7, 17, 0x4206, 0x4207


@contextlib.contextmanager
def stopped_thread(case, process, name):
    """One thread of the process, by its name, does not run."""
    tasks = Path(f"/proc/{process}/task")
    thread = next(int(task.name) for task in tasks.iterdir()
                  if (task / "comm").read_text().strip() == name)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, thread, None, None) != 0:
        case.skipTest("no right to stop a thread of another process")
    libc.ptrace(PTRACE_INTERRUPT, thread, None, None)
    os.waitpid(thread, 0x40000000)  # __WALL
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, thread, None, None)


if __name__ == "__main__":
    main()
