"""A gateway that is killed at its n-th call of some kind, by strace."""

import os
import shutil
import subprocess

from parley_test import wait_until


def kill_at(case, gate, calls, step):
    """strace that kills the gateway at the `step`-th of the calls of any one thread."""
    messages = case.directory / f"strace-{step}"
    with open(messages, "wb") as out:
        strace = subprocess.Popen(["strace", "-f", "-o", os.devnull, "-p", str(gate.process.child.pid),
                                   "-e", f"trace={calls}", "-e",
                                   f"inject={calls}:signal=KILL:when={step}"], stderr=out)
    wait_until(lambda: strace.poll() is not None or "attached" in messages.read_text(),
               "strace to attach")
    # (Where it is over already, the gateway met that many calls before it was asked.)
    if "attached" not in messages.read_text():
        case.skipTest(f"strace may not attach here: {messages.read_text().strip()}")
    return strace


def need_strace(case):
    if not shutil.which("strace"):
        case.skipTest("strace is not installed")
