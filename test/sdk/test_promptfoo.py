"""promptfoo, pointed at the gateway by base URL and key alone, completes an evaluation."""

import json
import subprocess

from sdk_test import NODE, PACKAGES, environment, need_packages
from parley_test import PATIENCE, Case, evaluation, main, product, public, run, suite_of

QUESTIONS = {"What jumps over the dog?": "The quick brown fox.",
             "What lives in a den?": "A fox, or a bear.",
             "What hunts at night?": "An owl."}
SETTINGS = {"max_tokens": 64, "temperature": 0}
STRANGE = "What is the weather like?"
EXPECTED = [True, True, False]  # whether the answer names a fox

# promptfoo asks nobody but the gateway. Where it would tell its maker that telemetry is switched off,
# it meets a proxy that is not there.
QUIET = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1",
         "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1", "HTTPS_PROXY": "http://127.0.0.1:9",
         "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}


class Promptfoo(Case):
    def persona(self):
        path = self.directory / "persona.jsonl"
        path.write_text("".join(json.dumps({"prompt": question, "answers": [answer]}) + "\n"
                                for question, answer in QUESTIONS.items()))
        return self.sim("--persona", path)

    def verify(self, path):
        """Its totals follow from its rows, or `parley verify` says which do not: promptfoo 0.123.1
        leaves out of them a request that its OpenAI provider was forbidden."""
        results = json.loads(path.read_text())["results"]
        errors = sum(row["failureReason"] == 2 for row in results["results"])
        verified = run("verify", path)
        agrees = results["stats"]["errors"] == errors
        self.assertEqual(verified.returncode, 0 if agrees else 1, verified.stdout + verified.stderr)
        self.assertIn("of promptfoo" if agrees else
                      f"stats.errors: published {results['stats']['errors']}, the samples give {errors}",
                      verified.stdout)

    def evaluate(self, client, questions=tuple(QUESTIONS)):
        """Runs `promptfoo eval`; returns {provider: [row of results by question]} and its output."""
        directory = self.directory / "promptfoo"
        directory.mkdir(exist_ok=True)
        url = f"http://127.0.0.1:{client.port}"
        config = {
            "prompts": ["{{question}}"],
            "providers": [
                {"id": "openai:chat:north-o",
                 "config": {"apiBaseUrl": f"{url}/v1", "apiKey": client.key, **SETTINGS}},
                {"id": "anthropic:messages:north-1",
                 "config": {"apiBaseUrl": url, "apiKey": client.key, **SETTINGS}},
            ],
            "tests": [{"vars": {"question": question},
                       "assert": [{"type": "contains", "value": "fox"}]}
                      for question in questions],
        }
        (directory / "promptfooconfig.json").write_text(json.dumps(config))
        done = subprocess.run(
            [NODE, PACKAGES / "promptfoo" / "dist" / "src" / "main.js", "eval",
             "-c", "promptfooconfig.json", "-o", "out.json", "--no-cache", "--no-progress-bar",
             "--no-table", "--no-share"],
            cwd=directory, env={**environment(directory), **QUIET,
                                "PROMPTFOO_CONFIG_DIR": str(directory / "state")},
            capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
        output = done.stdout + done.stderr
        path = directory / "out.json"
        self.assertTrue(path.exists(), output)
        self.verify(path)
        rows = {}
        for row in json.loads(path.read_text())["results"]["results"]:
            rows.setdefault(row["provider"]["id"], []).append(row)
        for found in rows.values():
            found.sort(key=lambda row: questions.index(row["vars"]["question"]))
        self.assertEqual(set(rows), {"openai:chat:north-o", "anthropic:messages:north-1"}, output)
        return rows, output

    def assert_graded(self, rows, expected):
        for provider, found in rows.items():
            for row, passes in zip(found, expected, strict=True):
                self.assertEqual(row["response"].get("error"), None, provider)
                self.assertEqual(row["response"]["output"], QUESTIONS[row["vars"]["question"]])
                self.assertEqual(row["success"], passes, f"{provider} {row['vars']}")
                self.assertGreater(row["response"]["tokenUsage"]["total"], 10)

    def test_an_evaluation_under_a_product_grant(self):
        upstream = self.persona()
        gate = self.gateway(upstream, product())
        rows, _ = self.evaluate(gate.client("prod", "acme"))
        self.assert_graded(rows, EXPECTED)
        self.assert_quiet(gate)
        self.assertEqual(gate.metric("parley_admitted_total"), 2 * len(QUESTIONS))
        self.assertEqual(gate.metric("parley_refused_total"), 0)
        gate.stop()
        self.assertEqual(upstream.end_and_count(), 2 * len(QUESTIONS))

    def test_an_evaluation_under_an_evaluation_grant(self):
        """The suite is registered openly; promptfoo knows nothing of it, nor of the run that is
        opened for it. The fourth question stands in no suite."""
        suite = suite_of(list(QUESTIONS))
        upstream = self.persona()
        gate = self.gateway(upstream, evaluation(), public_suites=public(suite))
        client = gate.client("eval", "southlab")
        registered = client.post("/parley/v1/suites", suite)
        self.assertEqual(registered.status, 200, registered)
        rows, _ = self.evaluate(client, (*QUESTIONS, STRANGE))
        for found in rows.values():
            refused = found.pop()
            self.assertFalse(refused["success"])
            self.assertIn("(rule suite.unbound; clause", refused["error"])
        self.assert_graded(rows, EXPECTED)
        self.assert_quiet(gate)
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(sorted((entry["leaf"], entry["sample"], entry["model"]) for entry in admits),
                         [(leaf, 0, model) for leaf in range(3) for model in ("north-1", "north-o")])
        self.assertEqual({entry["suite"] for entry in admits}, {registered.json()["suite"]})
        gate.stop()
        self.assertEqual(upstream.end_and_count(), 2 * len(QUESTIONS))


if __name__ == "__main__":
    need_packages()
    main()
