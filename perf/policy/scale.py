#!/usr/bin/env python3
"""What a large policy costs a gateway: `scale.py --parley build/src/cmd/parley`.

Applies ORGS organisations with a grant each (and the same file again), then stops the gateway, writes KEYS keys and a suite
of LEAVES leaves into its database as an earlier build had them (issuing them one by one would be as many acts), and starts it
again: once to move the leaves into a file, then ROUNDS times, each with an act of each kind and a minute's tick waited for.
Printed are wall time and the gateway's CPU time of each (the median of the rounds), and its memory. Wall time counts on an
idle machine only.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path


def documents(orgs):
    grants = [{"id": f"grant-{i}", "org": f"org-{i}", "team": "evals", "purposes": ["capability_benchmark"],
               "models": ["north-1"], "release": "V2", "notice_hours": 72, "appeal": "mailto:access@northlab.example",
               "suites": {"classes": ["public", "reviewed"], "max_leaves": 1000000, "samples_per_leaf": 5},
               "limits": {"rpm": 600, "input_tpm": 400000, "output_tpm": 80000, "concurrency": 64},
               "valid": {"from": time.strftime("%Y-%m-%d", time.gmtime()),
                         "to": time.strftime("%Y-%m-%d", time.gmtime(time.time() + 60 * 86400))}}
              for i in range(orgs)]
    return {"orgs": [{"id": f"org-{i}", "name": f"Organisation {i}"} for i in range(orgs)], "grants": grants}


class Gateway:
    def __init__(self, parley, directory):
        self.parley, self.directory = parley, Path(directory)
        subprocess.run([parley, "init", directory], check=True, stdout=subprocess.DEVNULL)
        self.config = self.directory / "parley.yaml"
        self.config.write_text(json.dumps({
            "name": "northlab.example/parley", "listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "data": ".",
            "workers": 1, "providers": [{"name": "north", "dialect": "anthropic", "url": "http://127.0.0.1:9",
                                         "key": "none"}],
            "models": [{"name": "north-1", "provider": "north", "max_output": 8192}]}))
        self.child = None

    def start(self):
        """Until it says that it is ready."""
        log = self.directory / "serve.log"
        with open(log, "wb") as out:
            self.child = subprocess.Popen([self.parley, "serve", "-c", str(self.config)], stdout=out, stderr=out)
        while True:
            port = re.search(r"admin on http://127\.0\.0\.1:(\d+)", log.read_text())
            model = re.search(r"listening on http://127\.0\.0\.1:(\d+)", log.read_text())
            self.port = int(model.group(1)) if model else 0
            if port:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port.group(1)}/readyz", timeout=5).read()
                    return
                except OSError:
                    pass
            if self.child.poll() is not None:
                raise SystemExit(f"the gateway ended: {log.read_text()}")
            time.sleep(0.005)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()

    def cpu(self):
        """Seconds that its threads have used."""
        return sum(int(path.read_text().split()[0])
                   for path in Path(f"/proc/{self.child.pid}/task").glob("*/schedstat")) / 1e9

    def memory(self):
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def act(self, *arguments):
        done = subprocess.run([self.parley, *arguments, "-c", str(self.config)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout.splitlines()[-1]

    def open_run(self, suite):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/parley/v1/runs", method="POST",
                                         data=json.dumps({"suite": suite, "samples": 1}).encode(),
                                         headers={"x-api-key": "plk_0", "content-type": "application/json"})
        urllib.request.urlopen(request, timeout=60).read()


def canonical(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def fill(database, orgs, keys, leaves):
    """Keys and a suite as the gateway itself would have stored them."""

    def outer(spec, state):
        return canonical({"changed": 1, "person": "perf", "salt": os.urandom(16).hex(), "spec": spec, "state": state})

    store = sqlite3.connect(database)
    rows = []
    for i in range(keys):
        name = f"key_{i:020x}"
        rows.append((name, outer({"digest": hashlib.sha256(b"plk_%d" % i).hexdigest(), "grant": f"grant-{i % orgs}",
                                  "id": name, "org": f"org-{i % orgs}", "team": "evals"}, "active")))
    store.executemany("INSERT INTO keys (id, document) VALUES (?, ?)", rows)
    name = "suite_" + "0" * 20
    spec = {"grant": "grant-0", "org": "org-0", "key": rows[0][0], "id": name, "leaves": leaves, "name": "large",
            "purpose": "capability_benchmark", "registered_ms": 1, "root": "00" * 32, "samples": 1,
            "settings": {"max_output": 64}, "version": "1"}
    store.execute("INSERT INTO suites (id, document, blob) VALUES (?, ?, ?)",
                  (name, outer(spec, "reviewed"), os.urandom(16 * leaves)))
    store.commit()
    store.close()


def timed(gateway, what, run, fresh=False):
    cpu = 0 if fresh else gateway.cpu()
    started = time.monotonic()
    run()
    took = time.monotonic() - started
    row = (took, gateway.cpu() - cpu, gateway.memory())
    if what:
        show(what, row)
    return row


def show(what, row):
    took, cpu, memory = row
    print(f"{what:44} {1000 * took:8.1f} ms   cpu {1000 * cpu:8.1f} ms   {memory:6.0f} MB", flush=True)


ACTS = {
    "a key issued": lambda gateway: gateway.act("key", "issue", "--org", "org-1", "--grant", "grant-1"),
    "a grant suspended": lambda gateway: gateway.act("grant", "suspend", "grant-7"),
    "a grant restored": lambda gateway: gateway.act("grant", "restore", "grant-7"),
    "an organisation blocked": lambda gateway: gateway.act("org", "block", "org-9"),
    "an organisation unblocked": lambda gateway: gateway.act("org", "unblock", "org-9"),
    "a run opened over all leaves": lambda gateway: gateway.open_run("suite_" + "0" * 20),
    "a link (a world built whole)": lambda gateway: gateway.act("org", "link", "org-20", "controls", "org-21",
                                                                "--status", "confirmed"),
    "a grant suspended, with a link": lambda gateway: gateway.act("grant", "suspend", "grant-8"),
    "it restored": lambda gateway: gateway.act("grant", "restore", "grant-8"),
    "nothing for a minute (its tick)": lambda gateway: time.sleep(61),
}


def rounds(gateway, options):
    rows = {}
    for number in range(options.rounds):
        rows.setdefault("start", []).append(timed(gateway, None, gateway.start, fresh=True))
        for what, act in ACTS.items():
            if ("link (" in what or "minute" in what) and number:
                continue
            rows.setdefault(what, []).append(timed(gateway, None, lambda act=act: act(gateway)))
        gateway.stop()
    for what, measured in rows.items():
        show(what, sorted(measured)[len(measured) // 2])


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--parley", required=True)
    options.add_argument("--orgs", type=int, default=10000)
    options.add_argument("--keys", type=int, default=100000)
    options.add_argument("--leaves", type=int, default=1000000)
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    directory = tempfile.mkdtemp(prefix="parley-scale-")
    try:
        gateway = Gateway(os.path.abspath(options.parley), directory)
        access = Path(directory) / "access.yaml"
        access.write_text(json.dumps(documents(options.orgs)))
        gateway.start()
        timed(gateway, f"apply {options.orgs} organisations and grants", lambda: gateway.act("apply", access))
        timed(gateway, "the same file again", lambda: gateway.act("apply", access))
        gateway.stop()
        fill(Path(directory) / "parley.db", options.orgs, options.keys, options.leaves)
        timed(gateway, f"first start with {options.keys} keys, {options.leaves} leaves", gateway.start, fresh=True)
        gateway.stop()
        rounds(gateway, options)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
