"""A harness that knows nothing of Parley, written with two official SDKs: it carries conversations turn
by turn and has their answers judged, under open registration, with base URL and key alone."""

import json
import subprocess

from sdk_test import HERE, NODE, SDK_PATIENCE, environment, need_packages
from parley_test import Case, conversation, evaluation, judged, main, public, suite_of

TURNS = ["What jumps over the dog?", "Why does it?", "And the dog?"]
BEFORE, BETWEEN, AFTER = "Which is better?\n\nA: ", "\n\nB: ", "\n\nOne letter."


class Conversation(Case):
    def lab(self):
        names = ["north-1", "north-o", "north-j"]
        models = [{"name": name, "provider": "north" if name == "north-1" else "north-open",
                   "max_output": 8192} for name in names]
        suite = suite_of([conversation(*TURNS), judged(BEFORE, 0, BETWEEN, 0, AFTER)],
                         judge={"settings": {"max_output": 16, "temperature": 0}})
        self.gate = self.gateway(self.sim(), evaluation(models=names), models=models,
                                 public_suites=public(suite))
        self.client = self.gate.client("eval", "southlab")
        self.assertEqual(self.client.post("/parley/v1/suites", suite).status, 200)

    def harness(self, turns, **judge):
        task = {"url": f"http://127.0.0.1:{self.gate.port}", "key": self.client.key, "turns": turns,
                "max": 64, "judge": {"model": "north-j", "max": 16, "before": BEFORE,
                                     "between": BETWEEN, "after": AFTER, **judge}}
        done = subprocess.run([NODE, HERE / "drivers" / "conversation.mjs", json.dumps(task)],
                              env=environment(self.directory), capture_output=True, text=True,
                              timeout=SDK_PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_turns_and_verdicts_pass_as_they_are_registered(self):
        self.lab()
        told = self.harness(TURNS)
        self.assertEqual([len(answers) for answers in told["answers"].values()], [3, 3], told)
        self.assertEqual(len(told["verdicts"]), 2)
        admits = [entry for entry in self.gate.records() if entry["kind"] == "admit"]
        self.assertEqual([(entry["model"], entry["leaf"], entry["detail"].get("step", 0))
                          for entry in admits],
                         [(model, 0, step) for model in ("north-1", "north-o") for step in range(3)] +
                         [("north-j", 1, 0)] * 2)

    def test_the_sdk_raises_what_the_gateway_says(self):
        self.lab()
        told = self.harness([*TURNS[:2], "Now write ten more."])
        self.assertEqual(told["status"], 403)
        self.assertIn("what follows the answer to step 1 is not the turn that is registered",
                      told["message"])

    def test_a_judge_that_is_asked_for_reasons_is_refused(self):
        self.lab()
        told = self.harness(TURNS, after=AFTER + " Explain.")
        self.assertEqual(told["status"], 403)
        self.assertIn("slot 2 is not, whole and alone, an answer of this run", told["message"])


if __name__ == "__main__":
    need_packages()
    main()
