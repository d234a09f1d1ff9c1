"""`parley bench proxy`: a harness of another make, run unmodified behind a local port, leaves a bundle
that verifies."""

import json
import shlex
import os
import signal
import sys
import threading
from pathlib import Path

from certificates import Authority, openssl
from parley_test import PARLEY, SOURCE, Process, evaluation, main, product, run, wait_until
from raw_upstream import RawUpstream
from test_bench import Bench

HARNESS = SOURCE / "test" / "script" / "proxy_harness.py"


def question(number, name="foxes"):
    return f"{name}: what is {number}?"


class Proxy(Bench):
    def setUp(self):
        super().setUp()
        self.lines = self.directory / "harness.jsonl"

    def command(self, questions, *options):
        return [sys.executable, HARNESS, *options, self.lines, *questions]

    def model(self, url, *, signing=None, name="north-1", dialect="anthropic"):
        return f"{name}={dialect}@{url}#PARLEY_TEST_KEY" + (f"#{signing}" if signing else "")

    def proxy(self, suite, url, command, *options, status=0, keys=None, signing=None, models=None):
        """Runs the command behind the proxy; `status` is what it must end with."""
        models = models or [self.model(url, signing=signing)]
        return self.bench("bench", "proxy", "--suite", suite,
                          *[part for model in models for part in ("--model", model)],
                          "-o", self.out, *options, "--", *command, status=status, keys=keys)

    def heard(self):
        """What the harness wrote down."""
        return [json.loads(line) for line in self.lines.read_text().splitlines()]

    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    def transcripts(self):
        return [json.loads(line) for line in
                (self.out / "bundle" / "transcripts.jsonl").read_text().splitlines()]

    def vouched(self, gate, text):
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(done.stdout.startswith("VOUCHED by northlab.example/test"), done.stdout)
        self.assertIn(text, done.stdout)
        return done.stdout

    def url(self, gate):
        return f"http://127.0.0.1:{gate.port}"

    def questions(self, count):
        return [question(number) for number in range(count)]


class Items(Proxy):
    def test_through_a_gateway(self):
        """Open registration: the command knows nothing of suite and run."""
        suite, persona = self.suite(20)
        sim = self.sim("--persona", persona)
        gate, keys = self.gate(suite, sim)
        done = self.proxy(suite, self.url(gate), self.command(self.questions(20), "--threads", "5"),
                          keys=keys)
        self.assertIn("harness: done", done.stdout)
        self.assertEqual({line["answer"] for line in self.heard()}, {"a fox", "an owl"})
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"], row["value"]), (20, 0, 0.5))
        told = self.vouched(gate, "20 of 20")
        self.assertIn("another harness's", told)
        proxy = self.summary()["proxy"]
        self.assertEqual((proxy["requests"], proxy["items"], proxy["status"], proxy["refused"]),
                         (20, 20, 0, {}))
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(sorted(entry["leaf"] for entry in admits), list(range(20)))
        runs = [entry for entry in gate.records() if entry.get("act", "").startswith("run.")]
        self.assertEqual([entry["act"] for entry in runs], ["run.open", "run.close"])
        self.assertEqual(sim.end_and_count(), 20)

    def test_every_request_is_a_sample_of_the_suites_own(self):
        """Other words, other settings, an unknown model, a second asking, another API: refused with
        an SDK's kind of error, not sent, and counted."""
        suite, persona = self.suite(6)
        sim = self.sim("--persona", persona)
        gate, keys = self.gate(suite, sim)
        questions = self.questions(5)
        script = self.directory / "harness.sh"
        harness = f"'{sys.executable}' '{HARNESS}'"
        quoted = " ".join(f"'{question}'" for question in questions)
        script.write_text(
            f"{harness} '{self.lines}' {quoted}\n"
            f"{harness} '{self.lines}' 'what is the weather like?' '{questions[0]}'\n"
            f"{harness} '{self.lines}' --settings '{{\"max_tokens\": 64, \"temperature\": 1}}' "
            f"'{question(5)}'\n"
            f"{harness} '{self.lines}' --settings '{{\"max_tokens\": 65}}' '{question(5)}'\n"
            f"{harness} '{self.lines}' --model north-9 '{question(5)}'\n"
            f"{harness} '{self.lines}' --api openai '{question(5)}'\n"
            f"ANTHROPIC_API_KEY=mine {harness} '{self.lines}' '{question(5)}'\n"
            f"{harness} '{self.lines}' --settings '{{\"max_tokens\": 16}}' '{question(5)}'\n")
        done = self.proxy(suite, self.url(gate), ["sh", script], keys=keys)
        heard = self.heard()
        self.assertEqual([line["status"] for line in heard],
                         [200] * 5 + [403, 403, 403, 403, 404, 404, 401, 200])
        for line, told in zip(heard[5:], (
                "these words are no item of foxes", "its 1 sample is answered already",
                "item 5 of foxes, but temperature 1 is not 0", "but max output 65 > 64",
                "no model \\\"north-9\\\": the command may ask north-1",
                "asked through the API openai, and the run names it as anthropic",
                "the key is not the one that the command was given")):
            self.assertIn(told, line["body"])
            self.assertEqual(line["retry"], "false")
        self.assertEqual(json.loads(heard[5]["body"])["error"]["type"], "permission_error")
        self.assertEqual(json.loads(heard[10]["body"])["error"]["code"], "not_found")
        self.assertEqual(self.summary()["proxy"]["refused"],
                         {"unbound": 1, "samples": 1, "settings": 2, "model": 2, "key": 1})
        self.assertIn("7 refused", done.stderr)
        self.assertIn("these words are no item", (self.out / "report.html").read_text())
        self.vouched(gate, "6 of 6")
        self.assertEqual(gate.metric("parley_refused_total"), 0)
        self.assertEqual(sim.end_and_count(), 6)

    def test_what_was_not_asked_is_missing_with_its_bounds(self):
        suite, persona = self.suite(10)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        done = self.proxy(suite, self.url(gate), self.command(self.questions(6)), keys=keys,
                          status=1)
        self.assertIn("4 of 10 samples have no outcome", done.stderr)
        summary = self.summary()
        self.assertEqual(summary["samples"], {"total": 10, "answered": 6, "failed": 0, "missing": 4})
        bounds = summary["bounds"][0]
        self.assertAlmostEqual(bounds["if_failed"], 0.3)
        self.assertAlmostEqual(bounds["if_passed"], 0.7)
        self.vouched(gate, "6 of 10")

    def test_the_commands_exit_status_decides(self):
        suite, persona = self.suite(2)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        done = self.proxy(suite, self.url(gate), self.command(self.questions(2), "--exit", "3"),
                          keys=keys, status=1)
        self.assertIn("the command ended with status 3; every sample has an outcome", done.stderr)
        self.assertEqual(self.summary()["proxy"]["status"], 3)
        self.vouched(gate, "2 of 2")

    def test_a_stream_is_passed_on_as_it_comes_and_kept(self):
        suite, persona = self.suite(8)
        sim = self.sim("--persona", persona)
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(sim, evaluation(models=["north-1", "north-o"]),
                            public_suites=[{"name": "s", "root": root}])
        keys = {"PARLEY_TEST_KEY": gate.key("eval", "southlab")}
        models = [self.model(self.url(gate)),
                  self.model(self.url(gate), name="north-o", dialect="openai")]
        script = self.directory / "harness.sh"
        quoted = " ".join(f"'{question}'" for question in self.questions(8))
        script.write_text(
            f"'{sys.executable}' '{HARNESS}' --stream '{self.lines}' {quoted} || exit 1\n"
            f"'{sys.executable}' '{HARNESS}' --stream --api openai --model north-o '{self.lines}' "
            f"--threads 4 {quoted}\n")
        self.proxy(suite, None, ["sh", script], keys=keys, models=models)
        self.assertEqual(sorted(line["answer"] for line in self.heard()),
                         sorted(["a fox", "an owl"] * 8))
        for line in self.transcripts():
            self.assertTrue(line["stream"])
            self.assertIn("data: ", line["response_body"])
        self.vouched(gate, "16 of 16")

    def test_sealed_registration(self):
        suite, persona = self.suite(9)
        with open(suite / "suite.yaml", "a", encoding="utf-8") as file:
            file.write(f'seed: "{"5a" * 32}"\n')
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.proxy(suite, self.url(gate), self.command(self.questions(9), "--threads", "3"),
                   "--sealed", keys=keys)
        shown = json.loads(gate.act("suite", "list", "--json"))["suites"]
        self.assertEqual([(row["sealed"], row["leaves"]) for row in shown], [(True, 9)])
        self.vouched(gate, "9 of 9")

    def test_a_key_that_is_bound_to_a_signature(self):
        suite, persona = self.suite(5)
        gate, _ = self.gate(suite, self.sim("--persona", persona))
        done = run("keygen", "-o", self.directory / "client.key")
        (self.directory / "client.pub").write_text(done.stdout)
        secret = gate.act("key", "issue", "--org", "southlab", "--grant", "eval", "--public-key",
                          self.directory / "client.pub").splitlines()[-1]
        keys = {"PARLEY_TEST_KEY": secret}
        refused = self.proxy(suite, self.url(gate), self.command(self.questions(5)), keys=keys,
                             status=1)
        self.assertIn("the request is not signed", refused.stderr)
        self.assertIn("was not started", refused.stderr)
        self.assertFalse(self.lines.exists())
        self.out = self.directory / "signed"
        self.proxy(suite, self.url(gate), self.command(self.questions(5), "--stream"), keys=keys,
                   signing=self.directory / "client.key")
        self.vouched(gate, "5 of 5")

    def test_a_key_that_is_bound_to_a_certificate(self):
        suite, persona = self.suite(5)
        authority = Authority(self.directory)
        server, mine = authority.issue("server"), authority.issue("mine")
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(self.sim("--persona", persona), evaluation(),
                            public_suites=[{"name": "s", "root": root}],
                            tls={"certificate": str(server[0]), "key": str(server[1]),
                                 "client_ca": str(authority.path)})
        printed = openssl("x509", "-in", mine[0], "-noout", "-fingerprint", "-sha256").decode()
        secret = gate.act("key", "issue", "--org", "southlab", "--grant", "eval",
                          "--certificate-thumbprint",
                          printed.strip().partition("=")[2]).splitlines()[-1]
        keys, url = {"PARLEY_TEST_KEY": secret}, f"https://localhost:{gate.port}"
        refused = self.proxy(suite, url, self.command(self.questions(5)), "--ca", authority.path,
                             keys=keys, status=3)
        self.assertIn("certificate required", refused.stderr)
        self.out = self.directory / "shown"
        self.proxy(suite, url, self.command(self.questions(5)), "--ca", authority.path,
                   "--client-cert", mine[0], "--client-key", mine[1], keys=keys)
        self.vouched(gate, "5 of 5")

    def test_against_a_bare_provider(self):
        suite, persona = self.suite(6)
        sim = self.sim("--persona", persona, "--key", "upstream-secret")
        self.proxy(suite, sim.url, self.command(self.questions(6)),
                   keys={"PARLEY_TEST_KEY": "upstream-secret"})
        done = run("verify", self.out / "bundle")
        self.assertTrue(done.stdout.startswith("CONSISTENT, SELF-CERTIFIED"), done.stdout)

    def test_several_samples(self):
        suite, persona = self.suite(4)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.proxy(suite, self.url(gate), self.command(self.questions(4) * 3, "--threads", "6"),
                   "--samples", "3", keys=keys)
        self.assertEqual(self.results()["accuracy"]["n"], 12)
        self.vouched(gate, "12 of 12")


TALK = """name: talk
version: 1
licence: Apache-2.0
kind: qa
messages:
  - { role: user, text: "{{first}}" }
  - { role: assistant, answer: true }
  - { role: user, text: "{{second}}" }
  - { role: assistant, answer: true }
  - { role: user, text: "And in one word?" }
settings: { max_tokens: 64, temperature: 0 }
scorer: { kind: contains, target: "" }
"""


class Conversations(Proxy):
    """The command leads them: each turn holds the answers before it, and is known by them."""

    def talk(self, count, name="talk"):
        suite = self.directory / name
        suite.mkdir()
        (suite / "suite.yaml").write_text(TALK)
        (suite / "items.jsonl").write_text("".join(json.dumps(
            {"id": str(number), "first": f"Who is {number}?", "second": "And why?"}) + "\n"
            for number in range(count)))
        return suite, [f"Who is {number}? || And why? || And in one word?" for number in range(count)]

    def test_through_a_gateway(self):
        suite, talks = self.talk(6)
        sim = self.sim()
        gate, keys = self.gate(suite, sim)
        self.proxy(suite, self.url(gate), self.command(talks + talks, "--threads", "4"), "--samples", "2",
                   keys=keys)
        self.assertEqual([line["status"] for line in self.heard()], [200] * 36)
        row = self.results()["accuracy"]
        self.assertEqual((row["n"], row["failed"]), (12, 0))
        told = self.vouched(gate, "12 of 12")
        self.assertIn("24 answers that conversations went on from", told)
        self.assertEqual(sorted(line["step"] for line in self.transcripts()),
                         [0] * 12 + [1] * 12 + [2] * 12)
        self.assertEqual(self.summary()["proxy"]["refused"], {})
        self.assertEqual(sim.end_and_count(), 36)

    def test_a_turn_that_no_answer_led_to_is_refused(self):
        suite, talks = self.talk(1)
        sim = self.sim()
        script = (f"{sys.executable} {HARNESS} {self.lines} {shlex.quote(talks[0].split(' || ')[0])}; "
                  f"sed -i s/x/x/ {self.lines}; {sys.executable} - <<'END'\n"
                  "import json, os, sys, urllib.request as r\n"
                  "said = lambda role, text: {'role': role, 'content': text}\n"
                  f"answer = json.loads(open({str(self.lines)!r}).readline())['answer']\n"
                  "def ask(*texts):\n"
                  "    body = {'model': 'north-1', 'max_tokens': 64, 'temperature': 0, 'messages': [\n"
                  "        said('assistant' if n % 2 else 'user', text) for n, text in enumerate(texts)]}\n"
                  "    q = r.Request(os.environ['ANTHROPIC_BASE_URL'] + '/v1/messages', json.dumps(body).encode(),\n"
                  "        {'x-api-key': os.environ['ANTHROPIC_API_KEY'], 'content-type': 'application/json'})\n"
                  "    try: return r.urlopen(q).status\n"
                  "    except r.HTTPError as e: return e.code\n"
                  "print(ask('Who is 0?', answer + '!', 'And why?'), ask('Who is 0?'),\n"
                  "      ask('Who is 0?', answer, 'And how?'), ask('Who is 0?', answer, 'And why?'))\n"
                  "END")
        done = self.proxy(suite, sim.url, ["sh", "-c", script])
        self.assertIn("403 403 403 200", done.stdout)
        self.assertEqual(self.results()["accuracy"]["failed"], 1)
        score = json.loads((self.out / "bundle" / "scores.jsonl").read_text())
        self.assertIn("did not go on with the conversation", score["explanation"])
        told = run("verify", self.out / "bundle")
        self.assertEqual(told.returncode, 0, told.stdout)

    def test_a_command_that_begins_again_is_given_what_is_there(self):
        suite, talks = self.talk(4)
        sim = self.sim("--first-token-ms", "50")
        url = sim.url
        self.proxy(suite, url, self.command([talk.rsplit(" || ", number % 3)[0]
                                             for number, talk in enumerate(talks)]))
        before = self.heard()
        self.assertEqual(len(before), 3 + 2 + 1 + 3)
        for name in ("summary.json", "report.html"):
            (self.out / name).unlink()
        journal = self.out / "journal.jsonl"
        journal.write_text("".join(line for line in journal.read_text().splitlines(True)
                                   if "did not go on" not in line and '"event":"end"' not in line))
        self.lines.unlink()
        self.bench("bench", "proxy", "--resume", "-o", self.out, "--", *self.command(talks))
        self.assertEqual([line["status"] for line in self.heard()], [200] * 12)
        self.assertEqual(self.results()["accuracy"]["failed"], 0)
        self.assertEqual(run("verify", self.out / "bundle").returncode, 0)
        self.assertEqual(sim.end_and_count(), 12)


class Failures(Proxy):
    def test_a_harness_that_tries_again(self):
        """What the provider fails at is an attempt; the next one is asked of it anew."""
        suite, persona = self.suite(30)
        sim = self.sim("--persona", persona, "--error-rate", 0.3, "--seed", 5)
        gate, keys = self.gate(suite, sim)
        self.proxy(suite, self.url(gate),
                   self.command(self.questions(30), "--tries", "20", "--threads", "3"), keys=keys)
        lines = self.transcripts()
        self.assertEqual(sum("answer" in line for line in lines), 30)
        self.assertGreater(sum("error" in line for line in lines), 3)
        self.vouched(gate, "30 of 30")

    def test_what_failed_and_was_not_tried_again_has_failed(self):
        suite, persona = self.suite(4)
        kept = persona.read_text().splitlines(keepends=True)
        persona.write_text("".join(kept[:3]))
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.proxy(suite, self.url(gate), self.command(self.questions(4)), keys=keys)
        self.assertEqual(self.summary()["samples"],
                         {"total": 4, "answered": 3, "failed": 1, "missing": 0})
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_harness_that_hangs_up_gets_the_answer_when_it_asks_again(self):
        """The request is carried to its end: nothing is asked, or billed, twice."""
        suite, _ = self.suite(1)
        released = threading.Event()

        def handler(call):
            asked.append(call.prompt)
            released.wait(60)
            answer = json.dumps({
                "id": "msg_1", "type": "message", "role": "assistant", "model": "north-1",
                "content": [{"type": "text", "text": "a fox"}], "stop_reason": "end_turn",
                "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 2}})
            call.send(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                      f"content-length: {len(answer)}\r\n\r\n{answer}")
            return True
        asked = []
        upstream = RawUpstream(handler)
        self.addCleanup(upstream.stop)
        gate, keys = self.gate(suite, upstream.url)
        marker = self.directory / "hung-up"
        script = self.directory / "harness.sh"
        script.write_text(
            f"'{sys.executable}' '{HARNESS}' '{self.lines}' --timeout 0.5 '{question(0)}'\n"
            f"touch '{marker}'\n"
            f"'{sys.executable}' '{HARNESS}' '{self.lines}' '{question(0)}'\n")
        process = Process(self.directory, "proxy", [
            PARLEY, "bench", "proxy", "--suite", suite, "--model", self.model(self.url(gate)), "-o",
            self.out, "--", "sh", script], {**os.environ, **keys})
        self.addCleanup(process.end)
        wait_until(marker.exists, "the harness to hang up")
        released.set()
        self.assertEqual(process.wait(), 0, process.stderr)
        self.assertEqual([line.get("answer") for line in self.heard()], [None, "a fox"])
        self.assertEqual(asked, [question(0)])
        self.assertEqual(self.summary()["proxy"]["delivered_again"], 1)
        self.vouched(gate, "1 of 1")

    def test_a_stream_that_nobody_hears_to_its_end_is_told_again(self):
        """From its beginning, to the next who asks: while it goes on, and once it is over."""
        suite, _ = self.suite(2)
        released = {question(number): threading.Event() for number in range(2)}

        def event(name, **members):
            return f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n"

        def handler(call):
            asked.append(call.prompt)
            call.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                      "connection: close\r\n\r\n")
            call.send(event("message_start", message={
                "id": "msg_1", "type": "message", "role": "assistant", "model": "north-1",
                "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}}))
            call.send(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
            call.send(event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a "}))
            released[call.prompt].wait(60)
            call.send(event("content_block_delta", index=0, delta={"type": "text_delta", "text": "fox"}))
            call.send(event("content_block_stop", index=0))
            call.send(event("message_delta", delta={"stop_reason": "end_turn"},
                            usage={"output_tokens": 2}))
            call.send(event("message_stop"))
            return False
        asked = []
        upstream = RawUpstream(handler)
        self.addCleanup(upstream.stop)
        gate, keys = self.gate(suite, upstream.url)
        steps = [self.directory / name for name in ("first", "second", "over")]
        harness = f"'{sys.executable}' '{HARNESS}' --stream '{self.lines}'"
        script = self.directory / "harness.sh"
        script.write_text(
            f"{harness} --hang-up-at text_delta '{question(0)}'\ntouch '{steps[0]}'\n"
            f"{harness} '{question(0)}'\n{harness} --hang-up-at text_delta '{question(1)}'\n"
            f"touch '{steps[1]}'\nwhile ! test -e '{steps[2]}'; do sleep 0.05; done\n"
            f"{harness} '{question(1)}'\n")
        process = Process(self.directory, "proxy", [
            PARLEY, "bench", "proxy", "--suite", suite, "--model", self.model(self.url(gate)), "-o",
            self.out, "--", "sh", script], {**os.environ, **keys})
        self.addCleanup(process.end)
        wait_until(steps[0].exists, "the first to hang up")
        released[question(0)].set()
        wait_until(steps[1].exists, "the second to hang up")
        released[question(1)].set()
        journal = self.out / "journal.jsonl"
        wait_until(lambda: journal.read_text().count('"event":"answer"') == 2, "the second answer")
        steps[2].touch()
        self.assertEqual(process.wait(), 0, process.stderr)
        self.assertEqual([line.get("answer") for line in self.heard()],
                         [None, "a fox", None, "a fox"])
        self.assertEqual(asked, [question(0), question(1)])
        self.assertEqual(self.summary()["proxy"]["delivered_again"], 2)
        self.vouched(gate, "2 of 2")

    def test_a_grant_that_is_revoked_meanwhile(self):
        """The command hears the gateway's own refusal; the bundle says who ended the run, and why."""
        suite, persona = self.suite(4)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        access = gate.directory / "parley.yaml"
        script = self.directory / "harness.sh"
        harness = f"'{sys.executable}' '{HARNESS}' '{self.lines}'"
        script.write_text(f"{harness} '{question(0)}' '{question(1)}'\n"
                          f"'{PARLEY}' grant suspend eval --reason test -c '{access}'\n"
                          f"{harness} '{question(2)}'\n")
        self.proxy(suite, self.url(gate), ["sh", script], keys=keys, status=1)
        refused = self.heard()[-1]
        self.assertEqual(refused["status"], 403)
        self.assertIn("(rule grant.", refused["body"])
        ended = self.summary()["models"][0]["ended"]
        self.assertEqual((ended["by"], ended["rule"]), ("gateway", "grant.suspended"))
        done = run("verify", self.out / "bundle", "--key", self.vkey(gate))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_ctrl_c_ends_the_command_and_leaves_a_bundle(self):
        suite, persona = self.suite(5)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        process = Process(self.directory, "proxy", [
            PARLEY, "bench", "proxy", "--suite", suite, "--model", self.model(self.url(gate)), "-o",
            self.out, "--", *map(str, self.command(self.questions(3), "--hang"))],
            {**os.environ, **keys})
        self.addCleanup(process.end)
        process.wait_for_line("harness: done")
        os.kill(process.child.pid, signal.SIGINT)
        self.assertEqual(process.wait(), 1)
        self.assertIn("go on with `parley bench proxy --resume", process.stderr)
        self.assertEqual(self.summary()["proxy"]["signal"], signal.SIGINT)
        self.vouched(gate, "3 of 5")
        # What is answered is given out again, and only the rest is asked.
        self.lines.unlink()
        done = self.bench("bench", "proxy", "--resume", "-o", self.out, "--",
                          *self.command(self.questions(5)), keys=keys)
        self.assertIn("3 answered from what was there", done.stderr)
        self.assertEqual([line["answer"] for line in self.heard()],
                         ["a fox", "an owl", "a fox", "an owl", "a fox"])
        self.vouched(gate, "5 of 5")
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(len(admits), 5)

    def test_a_kill_of_the_proxy_loses_nothing(self):
        suite, persona = self.suite(5)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        process = Process(self.directory, "proxy", [
            PARLEY, "bench", "proxy", "--suite", suite, "--model", self.model(self.url(gate)), "-o",
            self.out, "--", *map(str, self.command(self.questions(4), "--hang"))],
            {**os.environ, **keys})
        self.addCleanup(process.end)
        process.wait_for_line("harness: done")
        command = int(Path(f"/proc/{process.child.pid}/task/{process.child.pid}/children")
                      .read_text().split()[0])
        process.child.kill()
        process.wait()
        os.kill(command, signal.SIGKILL)
        wrong = self.bench("bench", "resume", self.out, keys=keys, status=2)
        self.assertIn("bench proxy --resume", wrong.stderr)
        self.lines.unlink()
        self.bench("bench", "proxy", "--resume", "-o", self.out, "--",
                   *self.command(self.questions(5)), keys=keys)
        self.vouched(gate, "5 of 5")
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual(len(admits), 5)

    def test_wrong_use(self):
        suite, persona = self.suite(2)
        sim = self.sim("--persona", persona)
        for command, status, told in (
                (["no-such-program"], 2, 'no program "no-such-program" in PATH'),
                (["./nowhere/harness"], 2, "./nowhere/harness cannot be run"),
                (["true"], 1, "ended with status 0 and made no request"),
                (["sh", "-c", "kill -TERM $$"], 1, "was killed by signal 15 and made no request")):
            with self.subTest(command):
                self.out = self.directory / f"out-{len(told)}"
                done = self.proxy(suite, sim.url, command, status=status)
                self.assertIn(told, done.stderr)
        self.out = self.directory / "taken"
        done = self.proxy(suite, sim.url, ["true"], "--port", str(sim.port), status=3)
        self.assertIn(f"127.0.0.1:{sim.port}", done.stderr)
        done = run("bench", "proxy", "--suite", suite, "--model", self.model(sim.url), "-o", self.out)
        self.assertEqual(done.returncode, 2)
        self.assertIn("-- COMMAND", done.stderr)
        done = self.proxy(suite, sim.url, ["true"], "--env", "URL", status=2)
        self.assertIn("NAME=TEXT", done.stderr)


class Environment(Proxy):
    def test_what_the_command_finds(self):
        """Addresses and a made-up key; the real one, and what would lead elsewhere, is gone."""
        suite, persona = self.suite(1)
        sim = self.sim("--persona", persona, "--key", "upstream-secret")
        seen = self.directory / "environment.json"
        self.proxy(suite, sim.url,
                   self.command(self.questions(1), "--environment", str(seen)),
                   "--env", "MY_BASE={url}/x?k={key}",
                   keys={"PARLEY_TEST_KEY": "upstream-secret", "OPENAI_API_HOST": "elsewhere",
                         "NO_PROXY": "example.org", "KEPT": "as it is"})
        found = json.loads(seen.read_text())
        url, key = found["PARLEY_PROXY_URL"], found["PARLEY_PROXY_KEY"]
        self.assertRegex(url, r"^http://127\.0\.0\.1:\d+$")
        self.assertRegex(key, "^parley-proxy-[0-9a-f]{32}$")
        for name in ("ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_API_BASE_URL"):
            self.assertEqual(found[name], url)
        for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE_URL", "MISTRAL_API_BASE_URL",
                     "XAI_API_BASE_URL"):
            self.assertEqual(found[name], f"{url}/v1")
        for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY",
                     "XAI_API_KEY"):
            self.assertEqual(found[name], key)
        self.assertEqual(found["MY_BASE"], f"{url}/x?k={key}")
        self.assertEqual(found["NO_PROXY"], "example.org,127.0.0.1,localhost")
        self.assertEqual(found["KEPT"], "as it is")
        self.assertNotIn("PARLEY_TEST_KEY", found)
        self.assertNotIn("OPENAI_API_HOST", found)
        self.assertNotIn("upstream-secret", seen.read_text())
        for path in self.out.rglob("*"):
            self.assertFalse(path.is_file() and "upstream-secret" in path.read_text(), path)

    def test_other_requests_and_other_keys(self):
        """--pass-others sends on what is no item, --any-key takes any key, but not none; model lists
        and counts of tokens pass by themselves. A plan file does as well as options."""
        suite, persona = self.suite(2)
        with open(persona, "a", encoding="utf-8") as file:
            file.write(json.dumps({"prompt": "another", "answers": ["yes"]}) + "\n")
        sim = self.sim("--persona", persona, "--key", "upstream-secret")
        plan = self.directory / "plan.yaml"
        plan.write_text(json.dumps({"suites": [str(suite)], "models": [
            {"name": "north-1", "dialect": "anthropic", "url": sim.url,
             "key_env": "PARLEY_TEST_KEY"}]}))
        script = self.directory / "harness.py"
        script.write_text(f"""
import http.client, json, os, sys
from urllib.parse import urlsplit
port = urlsplit(os.environ["PARLEY_PROXY_URL"]).port
def ask(method, path, body=None, key="mine"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {{"anthropic-version": "2023-06-01", **({{"x-api-key": key}} if key else {{}})}}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode()[:300], flush=True)
def prompt(text, **more):
    return {{"model": "north-1", "messages": [{{"role": "user", "content": text}}], **more}}
for text in ({question(0)!r}, {question(1)!r}, "another"):
    ask("POST", "/v1/messages", prompt(text, max_tokens=64))
ask("POST", "/v1/messages", prompt("another", max_tokens=64), key=None)
ask("POST", "/v1/messages/count_tokens", prompt({question(0)!r}))
ask("GET", "/v1/models")
ask("GET", "/v1/files")
ask("OPTIONS", "/v1/messages")
ask("POST", "/v1/messages", prompt("another", max_tokens=64, stream=True))
""")
        done = self.bench("bench", "proxy", plan, "-o", self.out, "--any-key", "--pass-others", "--",
                          sys.executable, script, keys={"PARLEY_TEST_KEY": "upstream-secret"})
        lines = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
        self.assertEqual([int(line.split()[0]) for line in lines],
                         [200, 200, 200, 401, 200, 200, 404, 404, 200])
        self.assertIn("yes", lines[2])
        self.assertIn("input_tokens", lines[4])
        self.assertIn("event: message_start", lines[8])
        proxy = self.summary()["proxy"]
        self.assertEqual((proxy["items"], proxy["passed_on"], proxy["refused"]),
                         (2, 4, {"key": 1, "endpoint": 2}))

    def test_json_alone_on_the_standard_output(self):
        suite, persona = self.suite(2)
        done = self.proxy(suite, self.sim("--persona", persona).url,
                          self.command(self.questions(2)), "--json")
        self.assertEqual(json.loads(done.stdout)["proxy"]["items"], 2)
        self.assertIn("harness: done", done.stderr)


class Verdicts(Proxy):
    def sealed_gate(self, persona):
        gate = self.gateway(self.sim("--persona", persona), evaluation(
            release="V0", openings=0,
            suites={"classes": ["private"], "max_leaves": 5000, "samples_per_leaf": 5}),
            grade="spawn")
        return gate, {"PARLEY_TEST_KEY": gate.key("eval", "southlab")}

    def test_the_command_is_told_that_there_are_no_answers(self):
        suite, persona = self.suite(4)
        gate, keys = self.sealed_gate(persona)
        done = self.proxy(suite, self.url(gate), self.command(self.questions(4)), keys=keys,
                          status=1)
        self.assertIn("verdicts only (V0)", done.stderr)
        self.assertIn("--verdicts", done.stderr)
        self.assertFalse(self.lines.exists())

    def test_verdicts_for_a_command_that_wants_them(self):
        suite, persona = self.suite(4)
        gate, keys = self.sealed_gate(persona)
        self.proxy(suite, self.url(gate), self.command(self.questions(4), "--raw"), "--verdicts",
                   keys=keys)
        for line in self.heard():
            self.assertEqual(line["status"], 200)
            self.assertIn("signature", json.loads(line["body"]))
        self.assertEqual(self.results()["accuracy"]["value"], 0.5)
        self.vouched(gate, "4 of 4")


    def test_sealed_on_both_sides(self):
        """The gateway has a root and what answers are graded by, the command verdicts."""
        suite, persona = self.suite(4)
        with open(suite / "suite.yaml", "a", encoding="utf-8") as file:
            file.write(f'seed: "{"5a" * 32}"\n')
        gate, keys = self.sealed_gate(persona)
        self.proxy(suite, self.url(gate), self.command(self.questions(4), "--raw"), "--verdicts",
                   "--sealed", keys=keys)
        self.vouched(gate, "4 of 4")
        taken = self.proxy(suite, self.url(gate), ["true"], status=1)
        self.assertIn("bench proxy --resume -o", taken.stderr)


class Writing(Proxy):
    def test_judges_are_asked_by_the_run_itself(self):
        """The command asks the contestant; the baseline is stored, and the judge is the run's."""
        folder = self.directory / "tales"
        folder.mkdir()
        (folder / "suite.yaml").write_text(
            "name: tales\nversion: 1\nlicence: Apache-2.0\nkind: writing\n"
            'template: "{{question}}"\nsettings: { max_tokens: 64 }\nscorer: { kind: pairwise }\n')
        questions = [f"Tell a tale of {number} foxes." for number in range(5)]
        (folder / "items.jsonl").write_text("".join(
            json.dumps({"id": str(number), "question": text}) + "\n"
            for number, text in enumerate(questions)))
        stored = self.directory / "stored.jsonl"
        stored.write_text("".join(json.dumps({"prompt": text, "answers": ["short"]}) + "\n"
                                  for text in questions))
        judge = self.sim("--judge")
        self.proxy(folder, self.sim().url,
                   self.command(questions, "--settings", '{"max_tokens": 64}'),
                   "--baseline", f"old=replay@{stored}",
                   "--judge", f"j=anthropic@{judge.url}#PARLEY_TEST_KEY")
        self.assertIn("win_rate", self.results())
        self.assertEqual(judge.end_and_count(), 20)  # five pairs and the null model on five items, in both orders
        done = run("verify", self.out / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)


class Recording(Proxy):
    def record(self, command, *options, status=0, keys=None):
        return self.bench("bench", "proxy", "--record", self.directory / "taken", *options, "--",
                          *command, status=status, keys=keys)

    def test_a_suite_of_what_is_asked(self):
        """Nobody is asked; the suite is one that `suite check`, `bench run` and `bench proxy` take."""
        suite, persona = self.suite(6)
        script = self.directory / "harness.sh"
        harness = f"'{sys.executable}' '{HARNESS}' '{self.lines}'"
        quoted = " ".join(f"'{text}'" for text in self.questions(6))
        script.write_text(
            f"{harness} {quoted}\n"
            f"{harness} --api openai --model other '{question(0)}'\n"
            f"{harness} --settings '{{\"max_tokens\": 99}}' '{question(0)}'\n"
            f"{harness} --settings '{{\"max_tokens\": 9, \"temperature\": 1}}' 'warm'\n"
            f"{harness} --settings '{{\"max_tokens\": 9, \"n\": 2}}' --api openai 'twice'\n"
            "exit 1\n")
        done = self.record(["sh", script], "--sealed")
        self.assertIn("6 items in", done.stderr)
        self.assertIn("with 2 samples of each", done.stderr)
        self.assertIn("2 requests are no items; the first: temperature 1, where", done.stderr)
        heard = self.heard()
        self.assertEqual([line["status"] for line in heard], [403] * 9 + [400])
        self.assertIn("recorded as item 1; nobody is asked", heard[0]["body"])
        folder = self.directory / "taken"
        text = (folder / "suite.yaml").read_text()
        self.assertIn('settings: {"max_tokens":99,"temperature":0}', text)
        self.assertRegex(text, 'seed: "[0-9a-f]{64}"')
        found = run("suite", "check", folder, "--skip", "licence", "--skip", "canary",
                    "--skip", "near-duplicate")
        self.assertEqual(found.returncode, 0, found.stdout)
        (folder / "suite.yaml").write_text(text.replace(
            'samples: 2\nscorer: { kind: regex, pattern: "\\\\S" }',
            "samples: 1\nscorer: { kind: contains, target: fox }"))
        sim = self.sim("--persona", persona)
        self.bench(*self.arguments(folder, sim.url))
        self.assertEqual(self.results()["accuracy"]["value"], 0.5)
        self.lines.unlink()
        self.out = self.directory / "behind"
        gate, keys = self.gate(folder, sim)
        self.proxy(folder, self.url(gate), self.command(self.questions(6)), "--sealed", keys=keys)
        self.vouched(gate, "6 of 6")

    def test_with_answers(self):
        suite, persona = self.suite(3)
        sim = self.sim("--persona", persona, "--key", "upstream-secret")
        keys = {"PARLEY_TEST_KEY": "upstream-secret"}
        done = self.record(self.command(self.questions(3) * 2, "--stream"), "--model",
                           self.model(sim.url), "--json", keys=keys)
        shown = json.loads(done.stdout)
        self.assertEqual((shown["items"], shown["samples"], shown["left_out"]), (3, 2, 0))
        self.assertEqual([line["answer"] for line in self.heard()], ["a fox", "an owl", "a fox"] * 2)
        self.assertEqual(sim.end_and_count(), 6)
        again = self.record(["true"], status=1)
        self.assertIn("holds a suite already", again.stderr)

    def test_wrong_use(self):
        self.assertIn("made no request", self.record(["true"], status=1).stderr)
        self.assertFalse((self.directory / "taken").exists())
        self.assertIn("leave out -o", self.record(["true"], "-o", "x", status=2).stderr)


class Registration(Bench):
    """`parley suite register`, and list and show with --gateway: HTTP and a key, nothing else."""

    def call(self, verb, *arguments, status=0, key=None):
        done = run("suite", verb, *arguments,
                   env={**os.environ, **({"PARLEY_TEST_KEY": key} if key else {})})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def test_open_sealed_listed_and_shown(self):
        suite, persona = self.suite(4)
        with open(suite / "suite.yaml", "a", encoding="utf-8") as file:
            file.write(f'seed: "{"5a" * 32}"\n')
        other, _ = self.suite(3, name="owls")
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        key, where = keys["PARLEY_TEST_KEY"], f"http://127.0.0.1:{gate.port}#PARLEY_TEST_KEY"
        done = self.call("register", suite, "--gateway", where, key=key)
        identity = done.stdout.strip()
        self.assertEqual(done.stderr, "foxes 1: 4 items, class public.\n")
        self.assertEqual(self.call("register", suite, "-g", where, key=key).stdout.strip(), identity)
        done = self.call("register", other, "--gateway", where, key=key)
        self.assertIn("owls 1: 3 items, class private.\nIt cannot be run yet:", done.stderr)
        done = self.call("register", other, "--gateway", where, "--sealed", key=key, status=2)
        self.assertIn("needs a seed", done.stderr)
        done = self.call("register", suite, "--gateway", where, "--sealed", "--json", key=key)
        sealed = json.loads(done.stdout)["suite"]
        self.assertNotEqual(sealed, identity)
        rows = json.loads(self.call("list", "--gateway", where, "--json", key=key).stdout)
        self.assertEqual(sorted((row["name"], row["sealed"], row["leaves"]) for row in rows),
                         [("foxes", False, 4), ("foxes", True, 4), ("owls", False, 3)])
        table = self.call("list", "--gateway", where, key=key).stdout.splitlines()
        self.assertEqual(table[0].split(), ["id", "grant", "name", "version", "class", "leaves"])
        self.assertEqual(len(table), 4)
        shown = json.loads(self.call("show", identity, "--gateway", where, key=key).stdout)
        self.assertEqual((shown["id"], shown["name"], shown["class"]), (identity, "foxes", "public"))
        # A harness of one's own needs no proxy then.
        answer = gate.client("eval", "southlab").post("/v1/messages", {
            "model": "north-1", "max_tokens": 64, "temperature": 0,
            "messages": [{"role": "user", "content": question(0)}]})
        self.assertEqual(answer.status, 200)

    def test_wrong_use(self):
        suite, persona = self.suite(2)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        url, key = f"http://127.0.0.1:{gate.port}", keys["PARLEY_TEST_KEY"]
        where = f"{url}#PARLEY_TEST_KEY"
        for arguments, status, told in (
                ((suite,), 2, "--gateway URL#VARIABLE"),
                ((suite, "--gateway", url), 2, "names no key"),
                ((suite, "--gateway", f"{url}#NOT_SET"), 2, "NOT_SET is not set"),
                (("nowhere", "--gateway", where), 2, "nowhere"),
                ((suite, "--gateway", "http://127.0.0.1:1#PARLEY_TEST_KEY"), 3, "cannot connect"),
                ((suite, "--gateway", self.sim().url + "#PARLEY_TEST_KEY"), 1,
                 "is no Parley gateway")):
            with self.subTest(told):
                self.assertIn(told, self.call("register", *arguments, key=key, status=status).stderr)
        done = self.call("register", suite, "--gateway", where, key="plk_wrong", status=1)
        self.assertIn("not known", done.stderr)
        done = self.call("show", "suite_x", "--gateway", where, key=key, status=1)
        self.assertIn("has no suite suite_x", done.stderr)
        gate.apply(evaluation(), product())
        done = self.call("register", suite, "--gateway", where, key=gate.key("prod", "acme"), status=1)
        self.assertIn("no evaluation purpose", done.stderr)

    def test_with_a_key_that_is_bound(self):
        suite, persona = self.suite(2)
        gate, _ = self.gate(suite, self.sim("--persona", persona))
        done = run("keygen", "-o", self.directory / "client.key")
        (self.directory / "client.pub").write_text(done.stdout)
        key = gate.act("key", "issue", "--org", "southlab", "--grant", "eval", "--public-key",
                       self.directory / "client.pub").splitlines()[-1]
        where = f"http://127.0.0.1:{gate.port}#PARLEY_TEST_KEY"
        done = self.call("register", suite, "--gateway", where, key=key, status=1)
        self.assertIn("not signed", done.stderr)
        done = self.call("register", suite, "--gateway", f"{where}#{self.directory}/client.key",
                         key=key)
        self.assertTrue(done.stdout.strip())


if __name__ == "__main__":
    main()
