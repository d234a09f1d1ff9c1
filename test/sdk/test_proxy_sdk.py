"""Unmodified harnesses behind `parley bench proxy`: promptfoo, and a script with every official SDK."""

import json
import os

from sdk_test import HERE, NODE, PACKAGES, environment, need_packages
from parley_test import Case, evaluation, main, run
from test_promptfoo import QUIET

QUESTIONS = {"What jumps over the dog?": "The quick brown fox.",
             "What lives in a den?": "A fox, or a bear.",
             "What hunts at night?": "An owl."}
SUITE = ('name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\ntemplate: "{{question}}"\n'
         'settings: { max_tokens: 64, temperature: 0 }\nsamples: 1\n'
         'scorer: { kind: contains, target: fox }\n')
SEED = 'seed: "%s"\n' % ("5a" * 32)
DIALECTS = {"north-1": "anthropic", "north-o": "openai", "north-r": "responses", "north-g": "gemini",
            "north-m": "mistral"}


class Harnesses(Case):
    def suite(self, sealed):
        folder = self.directory / "foxes"
        folder.mkdir()
        (folder / "suite.yaml").write_text(SUITE + (SEED if sealed else ""))
        (folder / "items.jsonl").write_text("".join(
            json.dumps({"id": str(number), "question": text}) + "\n"
            for number, text in enumerate(QUESTIONS)))
        return folder

    def gate_for(self, models, suite):
        persona = self.directory / "persona.jsonl"
        persona.write_text("".join(json.dumps({"prompt": text, "answers": [answer]}) + "\n"
                                   for text, answer in QUESTIONS.items()))
        sims = {}
        for name, dialect in models.items():
            provider = "openai" if dialect == "responses" else dialect
            if provider not in sims:
                chat = ("--chat", provider) if provider == "mistral" else ()
                sims[provider] = self.sim("--persona", persona, "--key", "upstream-secret", *chat)
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(
            next(iter(sims.values())), evaluation(models=list(models)),
            public_suites=[{"name": "s", "root": root}],
            providers=[{"name": name, "dialect": name, "url": sim.url, "key": "upstream-secret"}
                       for name, sim in sims.items()],
            models=[{"name": name, "max_output": 8192,
                     "provider": "openai" if dialect == "responses" else dialect}
                    for name, dialect in models.items()])
        return gate, sims

    def bound_key(self, gate):
        """A key that is good only with signatures, and the file of the key that makes them."""
        done = run("keygen", "-o", self.directory / "client.key")
        (self.directory / "client.pub").write_text(done.stdout)
        return (gate.act("key", "issue", "--org", "southlab", "--grant", "eval", "--public-key",
                         self.directory / "client.pub").splitlines()[-1],
                f"#{self.directory / 'client.key'}")

    def check(self, models, command, *options, sealed=False, bound=False, extra=None, status=0):
        suite = self.suite(sealed)
        gate, sims = self.gate_for(models, suite)
        key, signing = self.bound_key(gate) if bound else (gate.key("eval", "southlab"), "")
        named = [part for name, dialect in models.items() for part in
                 ("--model", f"{name}={dialect}@http://127.0.0.1:{gate.port}#PARLEY_KEY{signing}")]
        out = self.directory / "out"
        done = run("bench", "proxy", "--suite", suite, *named, "-o", out, *options,
                   *(["--sealed"] if sealed else []), "--", *command,
                   env={**environment(self.directory), "PARLEY_KEY": key, **(extra or {})})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        vkey = gate.admin("/log/evaluation/vkey").body.decode().strip()
        verified = run("verify", out / "bundle", "--key", vkey, "--require", "vouched")
        count = len(models) * len(QUESTIONS)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)
        self.assertTrue(verified.stdout.startswith(
            f"VOUCHED by northlab.example/test; {count} of {count}"), verified.stdout)
        summary = json.loads((out / "summary.json").read_text())
        for row in summary["results"]:
            self.assertAlmostEqual(row["value"], 2 / 3)
        self.assertEqual(summary["proxy"]["items"], count)
        self.assertEqual(sum(sim.end_and_count() for sim in sims.values()), count)
        return done, summary

    def script(self, models):
        """The command, and the models by name and API as the run names them."""
        return [NODE, HERE / "drivers" / "evaluation.mjs", json.dumps(models),
                json.dumps(list(QUESTIONS))]

    def answers(self, done):
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for line in lines:
            self.assertEqual(line["answer"], QUESTIONS[line["question"]])
        return len(lines)

    def test_a_script_with_every_sdk(self):
        done, _ = self.check(DIALECTS, self.script(DIALECTS))
        self.assertEqual(self.answers(done), 15)

    def test_streams_sealed_and_signed(self):
        models = {name: DIALECTS[name] for name in ("north-1", "north-o", "north-g")}
        streamed = {name: f"{api}+" for name, api in models.items()}
        done, _ = self.check(models, self.script(streamed), sealed=True, bound=True)
        self.assertEqual(self.answers(done), 9)

    def promptfoo(self):
        directory = self.directory / "promptfoo"
        directory.mkdir()
        settings = {"max_tokens": 64, "temperature": 0}
        (directory / "promptfooconfig.json").write_text(json.dumps({
            "prompts": ["{{question}}"],
            "providers": [{"id": "openai:chat:north-o", "config": settings},
                          {"id": "anthropic:messages:north-1", "config": settings}],
            "tests": [{"vars": {"question": text}} for text in QUESTIONS]}))
        return [NODE, PACKAGES / "promptfoo" / "dist" / "src" / "main.js", "eval", "-c",
                directory / "promptfooconfig.json", "--no-cache", "--no-progress-bar", "--no-table",
                "--no-share"], {**QUIET, "PROMPTFOO_CONFIG_DIR": str(directory / "state")}

    def test_promptfoo_under_open_registration(self):
        command, extra = self.promptfoo()
        self.check({name: DIALECTS[name] for name in ("north-1", "north-o")}, command, extra=extra)

    def test_promptfoo_sealed_and_signed(self):
        command, extra = self.promptfoo()
        self.check({name: DIALECTS[name] for name in ("north-1", "north-o")}, command, sealed=True,
                   bound=True, extra=extra)


if __name__ == "__main__":
    need_packages()
    main()
