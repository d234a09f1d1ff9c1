"""The harness as a program: what it refuses, what it survives, and what still verifies after."""

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess

from parley_test import (PARLEY, SOURCE, Case, Process, evaluation, main, run, wait_until)

SUITE = ('name: foxes\nversion: 1\nlicence: Apache-2.0\nkind: qa\ntemplate: "{{question}}"\n'
         'settings: { max_tokens: 64, temperature: 0 }\nsamples: 1\n'
         'scorer: { kind: contains, target: "{{answer}}" }\n')
KEYS = {"PARLEY_TEST_KEY": "any"}


class Bench(Case):
    def setUp(self):
        super().setUp()
        self.out = self.directory / "out"

    def suite(self, count, name="foxes"):
        """A suite of questions, and a persona that answers every other one right."""
        folder = self.directory / name
        folder.mkdir()
        (folder / "suite.yaml").write_text(SUITE.replace("foxes", name))
        items = [{"id": str(number), "question": f"{name}: what is {number}?", "answer": "fox"}
                 for number in range(count)]
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        persona = self.directory / f"{name}.jsonl"
        persona.write_text("".join(json.dumps(
            {"prompt": item["question"], "answers": ["a fox" if number % 2 == 0 else "an owl"]}) + "\n"
            for number, item in enumerate(items)))
        return folder, persona

    def arguments(self, suite, url, *more):
        return ["bench", "run", "--suite", str(suite), "--model",
                f"north-1=anthropic@{url}#PARLEY_TEST_KEY", "-o", str(self.out), *map(str, more)]

    def bench(self, *arguments, status=0, keys=None, **options):
        done = run(*arguments, env={**os.environ, **KEYS, **(keys or {})}, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def results(self):
        return {row["metric"]: row for row in json.loads(
            (self.out / "summary.json").read_text())["results"]}

    def gate(self, suite, sim, **members):
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(sim, evaluation(**members), public_suites=[{"name": "s", "root": root}])
        return gate, {"PARLEY_TEST_KEY": gate.key("eval", "southlab")}

    def vkey(self, gate):
        return gate.admin("/log/evaluation/vkey").body.decode().strip()


class Runs(Bench):
    def test_against_a_bare_provider(self):
        suite, persona = self.suite(10)
        self.bench(*self.arguments(suite, self.sim("--persona", persona).url))
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"], row["value"]), (10, 0, 0.5))
        done = run("verify", self.out / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertTrue(done.stdout.startswith("CONSISTENT, SELF-CERTIFIED"), done.stdout)
        self.assertEqual(run("verify", self.out / "bundle", "--require", "vouched").returncode, 1)

    def test_through_a_gateway(self):
        suite, persona = self.suite(40)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        self.assertEqual(self.results()["accuracy"]["value"], 0.5)
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("VOUCHED by northlab.example/test"), done.stdout)
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(len(admits), 40)
        self.assertEqual(sorted(entry["leaf"] for entry in admits), list(range(40)))

    def test_with_a_key_that_is_bound(self):
        """Registration, requests, receipts and closing are signed; without the key nothing goes."""
        suite, persona = self.suite(20)
        sim = self.sim("--persona", persona)
        gate, _ = self.gate(suite, sim)
        done = run("keygen", "-o", self.directory / "client.key")
        (self.directory / "client.pub").write_text(done.stdout)
        secret = gate.act("key", "issue", "--org", "southlab", "--grant", "eval", "--public-key",
                          self.directory / "client.pub").splitlines()[-1]
        keys = {"PARLEY_TEST_KEY": secret}
        url = f"http://127.0.0.1:{gate.port}"
        unsigned = self.bench(*self.arguments(suite, url), keys=keys, status=1)
        self.assertIn("the request is not signed", unsigned.stdout + unsigned.stderr)
        self.out = self.directory / "signed"
        arguments = self.arguments(suite, url)
        arguments[arguments.index("--model") + 1] += f"#{self.directory / 'client.key'}"
        self.bench(*arguments, keys=keys)
        self.assertEqual(self.results()["accuracy"]["n"], 20)
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("20 of 20", done.stdout)
        self.assertEqual(sim.end_and_count(), 20)
        # The private key goes nowhere.
        private = (self.directory / "client.key").read_text().splitlines()[1]
        for path in self.out.rglob("*"):
            self.assertFalse(path.is_file() and private in path.read_text(errors="replace"), path)

    def test_a_sealed_suite_through_a_gateway(self):
        """The gateway is given a root; the answers are vouched for all the same."""
        suite, persona = self.suite(21)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        arguments = self.arguments(suite, f"http://127.0.0.1:{gate.port}", "--sealed")
        done = self.bench(*arguments, keys=keys, status=2)
        self.assertIn("needs a seed", done.stderr)
        with open(suite / "suite.yaml", "a") as file:
            file.write(f'seed: "{"5a" * 32}"\n')
        root = run("suite", "digest", suite).stdout.strip()
        gate.apply(evaluation(), public_suites=[{"name": "s", "root": root}])
        self.bench(*arguments, keys=keys)
        self.assertEqual(self.results()["accuracy"]["n"], 21)
        shown = json.loads(gate.act("suite", "list", "--json"))["suites"]
        self.assertEqual([(row["sealed"], row["leaves"]) for row in shown], [(True, 21)])
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("21 of 21", done.stdout)

    def test_the_register_says_which_run_it_was_and_what_had_been_seen(self):
        suite, persona = self.suite(12)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        for number, (first, again) in enumerate(((12, 0), (0, 12)), 1):
            self.out = self.directory / f"out-{number}"
            self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
            summary = json.loads((self.out / "summary.json").read_text())
            shown = summary["models"][0]["gateway"]["runs"][0]["register"]
            self.assertEqual(shown, {"run": number, "of": number, "first": first,
                                     "re_exposed": again})
            self.assertIn(f"Run {number} of {number} of foxes", (self.out / "report.html").read_text())
            done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f"run {number} of {number} of foxes on north-1", done.stdout)

    def test_in_every_api(self):
        """A bare provider and a gateway, asked through each of them; both runs verify."""
        suite, persona = self.suite(6)
        sim = self.sim("--persona", persona, "--key", "upstream-secret")
        root = run("suite", "digest", suite).stdout.strip()
        apis = {"responses": "openai", "gemini": "gemini", "mistral": "mistral", "xai": "xai"}
        gate = self.gateway(
            sim, evaluation(models=[f"m-{api}" for api in apis]),
            public_suites=[{"name": "s", "root": root}],
            providers=[{"name": api, "dialect": dialect, "url": sim.url, "key": "upstream-secret"}
                       for api, dialect in apis.items()],
            models=[{"name": f"m-{api}", "provider": api, "max_output": 8192} for api in apis])
        key = gate.key("eval", "southlab")
        for api in apis:
            for url, secret in ((sim.url, "upstream-secret"), (f"http://127.0.0.1:{gate.port}", key)):
                with self.subTest(api, url=url):
                    self.out = self.directory / f"out-{api}-{secret == key}"
                    self.bench("bench", "run", "--suite", suite, "--model",
                               f"m-{api}={api}@{url}#PARLEY_TEST_KEY", "-o", self.out,
                               keys={"PARLEY_TEST_KEY": secret})
                    row = self.results()["accuracy"]
                    self.assertEqual((row["n"], row["failed"], row["value"]), (6, 0, 0.5))
                    done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertTrue(done.stdout.startswith(
                        "VOUCHED" if secret == key else "CONSISTENT"), done.stdout)

    def test_a_strangers_key_vouches_for_nothing(self):
        suite, persona = self.suite(4)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        run("init", self.directory / "home-made", "--name", "northlab.example/test")
        other = self.gateway(self.sim(), evaluation(), name="other")
        done = run("verify", self.out / "bundle", "--key", self.vkey(other))
        self.assertFalse(done.stdout.startswith("VOUCHED"), done.stdout)

    def test_a_provider_that_fails_now_and_then_costs_no_sample(self):
        suite, persona = self.suite(30)
        sim = self.sim("--persona", persona, "--error-rate", 0.2, "--seed", 5)
        self.bench(*self.arguments(suite, sim.url))
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"], row["value"]), (30, 0, 0.5))

    def test_items_that_cannot_be_answered_stay_in_the_denominator(self):
        suite, persona = self.suite(10)
        lines = persona.read_text().splitlines(keepends=True)
        persona.write_text("".join(lines[:8]))
        self.bench(*self.arguments(suite, self.sim("--persona", persona).url))
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"], row["value"]), (10, 2, 0.4))


class Verdicts(Bench):
    """Release V0: the harness has verdicts only, and the bundle is vouched for all the same."""

    def sealed_gate(self, persona, **members):
        gate = self.gateway(self.sim("--persona", persona), evaluation(
            release="V0", suites={"classes": ["private"], "max_leaves": 5000,
                                  "samples_per_leaf": 5}, **members), grade="spawn")
        return gate, {"PARLEY_TEST_KEY": gate.key("eval", "southlab")}

    def lines(self, name):
        return [json.loads(line) for line in
                (self.out / "bundle" / name).read_text().splitlines()]

    def rewrite(self, name, lines):
        """Changes a file of the bundle, and the manifest to fit, as a publisher could."""
        (self.out / "bundle" / name).write_text("".join(
            json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines))

    def test_a_sealed_run_verifies(self):
        suite, persona = self.suite(20)
        gate, keys = self.sealed_gate(persona, openings=0)
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        self.assertEqual(self.results()["accuracy"]["value"], 0.5)
        for line in self.lines("transcripts.jsonl"):
            self.assertNotIn("answer", line)
            self.assertNotIn("response_body", line)
            self.assertIn("signature", json.loads(line["verdict"]))
        for path in self.out.rglob("*"):
            if path.is_file() and "suite" not in path.parts:
                self.assertNotIn(b"an owl", path.read_bytes(), path)
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("VOUCHED by northlab.example/test; 20 of 20"),
                        done.stdout)
        self.assertIn("20 verdicts on sealed answers in place of grading: 20 against the verdict "
                      "key's signature", done.stdout)

    def test_a_sealed_suite_is_judged_unseen(self):
        """The gateway has no prompt before it is asked, and the bundle verifies."""
        suite, persona = self.suite(12)
        with open(suite / "suite.yaml", "a") as file:
            file.write(f'seed: "{"5a" * 32}"\n')
        gate, keys = self.sealed_gate(persona, openings=10)
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}", "--sealed"), keys=keys)
        self.assertEqual(self.results()["accuracy"], {**self.results()["accuracy"], "n": 12,
                                                      "value": 0.5, "failed": 0})
        shown = json.loads(gate.act("suite", "list", "--json"))["suites"]
        self.assertEqual([(row["sealed"], row["class"]) for row in shown], [(True, "private")])
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("1 against answers that were opened", done.stdout)

    def test_openings_are_in_the_bundle(self):
        suite, persona = self.suite(50)
        gate, keys = self.sealed_gate(persona)
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        opened = [json.loads(line["verdict"]) for line in self.lines("transcripts.jsonl")
                  if "opened" in json.loads(line["verdict"])]
        self.assertEqual(len(opened), 1)
        self.assertIn(opened[0]["opened"]["text"], ("a fox", "an owl"))
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("1 against answers that were opened", done.stdout)

    def test_a_verdict_that_was_changed_is_false(self):
        suite, persona = self.suite(6)
        gate, keys = self.sealed_gate(persona)
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        shutil.copytree(self.out, self.directory / "copy")
        changes = [("score", 1, "verdict", "pass"), ("answer", "00" * 32), ("leaf", 99)]
        for change in changes:
            lines = self.lines("transcripts.jsonl")
            at = next(i for i, line in enumerate(lines) if '"fail"' in line["verdict"])
            verdict = json.loads(lines[at]["verdict"])
            verdict.update(zip(change[::2], change[1::2]))
            lines[at]["verdict"] = json.dumps(verdict, sort_keys=True, separators=(",", ":"))
            self.rewrite("transcripts.jsonl", lines)
            reseal(self.out / "bundle")
            done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertTrue(done.stdout.startswith("FALSE: item"), done.stdout)
            self.assertIn("verdict", done.stdout)
            shutil.rmtree(self.out)
            shutil.copytree(self.directory / "copy", self.out)

    def test_resume_after_a_kill_asks_for_no_verdict_twice(self):
        suite, persona = self.suite(60)
        gate, keys = self.sealed_gate(persona)
        process = Process(self.directory, "bench", [
            PARLEY, *self.arguments(suite, f"http://127.0.0.1:{gate.port}", "--concurrency", 2)],
            {**KEYS, **keys})
        journal = self.out / "journal.jsonl"
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b'"event":"score"') > 3,
                   "some verdicts")
        process.send(signal.SIGKILL)
        process.wait()
        receipts = sorted((self.out / "bundle/receipts").iterdir())
        self.assertGreater(len(receipts), 1)
        receipts[0].write_bytes(b"")  # the kill came between a file's creation and its writing
        receipts[1].write_bytes(receipts[1].read_bytes()[:-40])
        self.bench("bench", "resume", self.out, keys=keys)
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.results()["accuracy"]["n"], 60)


def reseal(bundle):
    """The manifest and the statement made to fit the files again, unsigned."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for row in manifest["files"]:
        data = (bundle / row["path"]).read_bytes()
        row["sha256"] = hashlib.sha256(data).hexdigest()
        row["size"] = len(data)
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    (bundle / "manifest.json").write_bytes(text)
    envelope = json.loads((bundle / "statement.dsse.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(text).hexdigest()
    envelope["payload"] = base64.b64encode(json.dumps(
        statement, sort_keys=True, separators=(",", ":")).encode()).decode()
    (bundle / "statement.dsse.json").write_text(json.dumps(envelope))


class Interrupted(Bench):
    def start(self, suite, url, keys=None):
        process = Process(self.directory, "bench", [PARLEY, *self.arguments(
            suite, url, "--concurrency", 2)], {**KEYS, **(keys or {})})
        self.addCleanup(process.end)
        return process

    def answered(self):
        """How many attempts the journal knows the end of."""
        path = self.out / "journal.jsonl"
        return path.read_text(errors="replace").count('"answer"') if path.exists() else 0

    def test_resume_after_a_kill_bills_nothing_twice(self):
        suite, persona = self.suite(40)
        sim = self.sim("--persona", persona, "--first-token-ms", 100)
        gate, keys = self.gate(suite, sim)
        process = self.start(suite, f"http://127.0.0.1:{gate.port}", keys)
        wait_until(lambda: self.answered() >= 8, "some answers")
        process.send(signal.SIGKILL)
        process.wait()
        wait_until(lambda: gate.metric("parley_in_flight") == 0, "requests under way to end")
        before = self.answered()
        self.assertLess(before, 40)
        self.bench("bench", "resume", self.out, keys=keys)
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"]), (40, 0))
        self.assertEqual(row["value"], 0.5)
        asked = len([entry for entry in gate.records() if entry["kind"] == "admit"])
        self.assertLessEqual(asked, 40 + 4, "what was answered before the kill was asked again")

    def test_an_interrupt_leaves_what_can_go_on(self):
        suite, persona = self.suite(40)
        sim = self.sim("--persona", persona, "--first-token-ms", 100)
        process = self.start(suite, sim.url)
        wait_until(lambda: self.answered() >= 4, "some answers")
        process.send(signal.SIGINT)
        self.assertEqual(process.wait(), 1)
        self.assertIn("resume", process.stderr)
        self.bench("bench", "resume", self.out)
        self.assertEqual(self.results()["accuracy"]["n"], 40)

    def test_a_run_that_is_revoked_still_verifies_and_says_so(self):
        suite, persona = self.suite(60)
        gate, keys = self.gate(suite, self.sim("--persona", persona, "--first-token-ms", 50))
        process = self.start(suite, f"http://127.0.0.1:{gate.port}", keys)
        wait_until(lambda: self.answered() >= 10, "some answers")
        gate.act("grant", "revoke", "eval", "--reason", "a test")
        self.assertEqual(process.wait(), 1, process.stdout + process.stderr)
        self.assertIn("revoked", process.stderr + process.stdout)
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("FALSE", done.stdout.splitlines()[0])


class Refused(Bench):
    def test_what_cannot_be_run(self):
        suite, persona = self.suite(2)
        sim = self.sim("--persona", persona)
        done = self.bench(*self.arguments(self.directory / "nowhere", sim.url), status=2)
        self.assertIn("nowhere", done.stderr)
        done = run(*self.arguments(suite, sim.url), env={"PATH": os.environ["PATH"]})
        self.assertIn(done.returncode, (1, 2, 3))
        self.assertIn("PARLEY_TEST_KEY", done.stderr)
        for model, wrong in (("north-1", "north-1"),
                             ("north-1=cobol@http://127.0.0.1:1#PARLEY_TEST_KEY", "cobol"),
                             ("north-1=anthropic@nowhere#PARLEY_TEST_KEY", "nowhere")):
            done = run("bench", "run", "--suite", suite, "--model", model, "-o", self.out,
                       env={**os.environ, **KEYS})
            self.assertIn(done.returncode, (1, 2), done.stdout)
            self.assertIn(wrong, done.stderr)

    def test_a_provider_that_is_down(self):
        suite, _ = self.suite(2)
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        done = self.bench(*self.arguments(suite, f"http://127.0.0.1:{port}"), status=3)
        self.assertIn(str(port), done.stderr)

    def test_a_directory_that_holds_a_run(self):
        suite, persona = self.suite(2)
        sim = self.sim("--persona", persona)
        self.bench(*self.arguments(suite, sim.url))
        before = (self.out / "summary.json").read_bytes()
        done = self.bench(*self.arguments(suite, sim.url), status=1)
        self.assertIn(str(self.out), done.stderr)
        self.assertEqual((self.out / "summary.json").read_bytes(), before)

    def test_a_wrong_key_and_a_suite_that_the_grant_does_not_allow(self):
        suite, persona = self.suite(2)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        url = f"http://127.0.0.1:{gate.port}"
        done = self.bench(*self.arguments(suite, url), status=1, keys={"PARLEY_TEST_KEY": "plk_no"})
        self.assertIn("key", done.stderr)
        private, _ = self.suite(2, "private")
        self.out = self.directory / "second"
        done = self.bench(*self.arguments(private, url), status=1, keys=keys)
        self.assertRegex(done.stderr, "class|public_suites|approve")

    def test_no_sandbox(self):
        """Where bubblewrap does not work, programs are not run outside of a sandbox instead."""
        hidden = ["unshare", "--mount", "sh", "-c",
                  'mount --bind /dev/null /usr/bin/bwrap && exec "$@"', "sh"]
        probe = subprocess.run([*hidden, "true"], capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            self.skipTest(f"cannot hide bubblewrap: {probe.stderr.strip()}")
        done = subprocess.run(
            [*hidden, PARLEY, "bench", "run", "--suite", SOURCE / "suites" / "coding", "--model",
             f"north-1=replay@{SOURCE}/demo/personas/north-1.jsonl", "-o", self.out],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertRegex(done.stderr, "bwrap|bubblewrap")


if __name__ == "__main__":
    main()
