"""What the tests of the request path's cost share: a gateway with one worker and a grant that nothing
holds up, loaded with an exact number of requests."""

import json
import os

from parley_test import Case, product, run

BOUNDLESS = 1_000_000_000_000


class SteadyCase(Case):
    def steady(self, sim, prefix=(), **config):
        """A gateway and the key of a product grant; what runs once has run."""
        limits = {"rpm": BOUNDLESS, "input_tpm": BOUNDLESS, "output_tpm": BOUNDLESS,
                  "tokens_per_day": BOUNDLESS, "concurrency": 100000}
        gate = self.gateway(sim, product(limits=limits), workers=1, prefix=prefix, **config)
        return gate, gate.key("prod", "acme")

    def load(self, gate, key, requests, connections, *options):
        """Exactly `requests` requests, all of which must be answered."""
        done = run("load", "--target", f"http://127.0.0.1:{gate.port}", "--key-env", "LOAD_KEY",
                   "--requests", requests, "--connections", connections, "--warmup", 0, "--ramp", 0,
                   "--json", *options, env={**os.environ, "LOAD_KEY": key})
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["failed"], 0, report)
        self.assertGreaterEqual(report["requests"], requests)
        return report

    def threads(self, gate):
        """{thread id: name} of the gateway."""
        folder = f"/proc/{gate.process.child.pid}/task"
        names = {}
        for thread in os.listdir(folder):
            with open(f"{folder}/{thread}/comm", encoding="ascii") as comm:
                names[int(thread)] = comm.read().strip()
        return names
