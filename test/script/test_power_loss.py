"""A file system that dies under the gateway, as when the power goes: what was acknowledged is there.

FS_IOC_SHUTDOWN on an ext4 of its own throws away what was not synced, journal and all, and fails every
later write; then it is mounted again. Needs root, loop devices and mkfs.ext4.
"""

import fcntl
import os
import random
import shutil
import subprocess
import time

from parley_test import Gateway, main, product, run
from recorder import Recorded

ROUNDS = int(os.environ.get("PARLEY_POWER_ROUNDS", "3"))
FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = (2).to_bytes(4, "little")
SIZE = 400 << 20


class PowerLoss(Recorded):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can mount a file system and shut it down")
        if not shutil.which("mkfs.ext4"):
            self.skipTest("mkfs.ext4 is not installed")
        self.image, self.disk = self.directory / "image", self.directory / "disk"
        self.disk.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(SIZE)
        self.command("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", self.image)
        self.mount()
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=False)

    def command(self, *arguments):
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"{arguments[0]}: {done.stderr.strip()}")

    def mount(self):
        self.command("mount", "-o", "loop", self.image, self.disk)

    def lose_power(self):
        disk = os.open(self.disk, os.O_RDONLY)
        try:
            fcntl.ioctl(disk, FS_IOC_SHUTDOWN, NO_LOG_FLUSH)
        except OSError as error:
            self.skipTest(f"FS_IOC_SHUTDOWN: {error}")
        finally:
            os.close(disk)

    def one_round(self, seed):
        def end():
            time.sleep(random.Random(seed).uniform(0.05, 0.6))
            self.lose_power()
            self.status = self.gate.process.wait()

        self.record_until_it_ends(seed, end)
        self.assertEqual(self.status, 3, "a log that cannot be written ends the process")
        subprocess.run(["umount", self.disk], check=True)
        self.mount()
        self.gate.start()
        self.client.port = self.gate.port

    def test_what_was_acknowledged_survives(self):
        gate = Gateway(self.disk / "gateway", self.sim("--output-tokens", 32).url)
        self.addCleanup(self.check_end, gate)
        gate.start()
        gate.apply(product())
        self.begin_recording(gate)
        for number in range(ROUNDS):
            self.one_round(number)
            self.check_log()
        print(f"{ROUNDS} losses of power: {len(self.whole)} whole answers, {len(self.lines)} records")
        self.assertGreater(len(self.whole), ROUNDS)
        self.assertEqual(gate.stop(), 0)
        for log in ("evaluation", "usage"):
            done = run("verify", gate.directory / "log" / log)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    main()
