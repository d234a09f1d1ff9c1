"""Runs that survive: what a provider does to them, what they may cost, and what they need not ask."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from parley_test import PARLEY, Case, Process, main, run, wait_until

SUITE = ('name: {name}\nversion: 1\nlicence: Apache-2.0\nkind: qa\ntemplate: "{{{{question}}}}"\n'
         'settings: {{ max_tokens: 64, temperature: 0 }}\nsamples: 1\n'
         'scorer: {{ kind: contains, target: "{{{{answer}}}}" }}\n')
KEYS = {"PARLEY_TEST_KEY": "any"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 64, "total_tokens": 74}


class Provider:
    """Chat Completions; `answer(question, times asked before)` gives None to answer, or (status, headers)
    or "cut" or "hang". Counts what it would bill."""

    def __init__(self, answer=None, seconds=0):
        self.answer, self.seconds = answer or (lambda question, before: None), seconds
        self.lock = threading.Lock()
        self.asked, self.under_way, self.most, self.billed = {}, 0, 0, 0
        self.peaks, self.answered, self.change = [], 0, lambda body, number: None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.respond(404, b"{}")

            def do_POST(self):
                question = json.loads(self.rfile.read(int(self.headers["content-length"])))[
                    "messages"][-1]["content"]
                with provider.lock:
                    before = provider.asked.get(question, 0)
                    provider.asked[question] = before + 1
                    provider.under_way += 1
                    provider.most = max(provider.most, provider.under_way)
                    provider.peaks.append(provider.most)
                time.sleep(provider.seconds)
                act = provider.answer(question, before)
                with provider.lock:
                    provider.under_way -= 1
                    provider.billed += USAGE["total_tokens"] if act in (None, "cut") else 0
                if act == "hang":
                    provider.closing.wait()
                if act in ("cut", "hang"):
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif act:
                    self.respond(act[0], json.dumps({"error": {"message": "no", "type": "x"}}).encode(),
                                 act[1])
                else:
                    body = {"id": "1", "object": "chat.completion", "model": "m", "usage": {**USAGE},
                            "choices": [{"index": 0, "finish_reason": "stop",
                                         "message": {"role": "assistant", "content": "a fox"}}]}
                    with provider.lock:
                        provider.change(body, provider.answered)
                        provider.answered += 1
                    self.respond(200, json.dumps(body).encode())

            def respond(self, status, body, headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, *_):
                pass

        self.closing = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def total(self):
        return sum(self.asked.values())

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class Runs(Case):
    def setUp(self):
        super().setUp()
        self.out = self.directory / "out"

    def provider(self, *arguments, **named):
        provider = Provider(*arguments, **named)
        self.addCleanup(provider.close)
        return provider

    def suite(self, count, name="foxes"):
        folder = self.directory / name
        folder.mkdir()
        (folder / "suite.yaml").write_text(SUITE.format(name=name))
        (folder / "items.jsonl").write_text("".join(json.dumps(
            {"id": str(number), "question": f"q{number}", "answer": "fox"}) + "\n"
            for number in range(count)))
        return folder

    def bench(self, *arguments, status=0):
        done = run("bench", *map(str, arguments), env={**os.environ, **KEYS})
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def ask(self, suite, provider, *more, status=0, out=None):
        return self.bench("run", "--suite", suite, "--model",
                          f"m=openai@{provider.url}#PARLEY_TEST_KEY", "-o", out or self.out, *more,
                          status=status)

    def row(self, out=None):
        return json.loads(((out or self.out) / "summary.json").read_text())["results"][0]


class Pace(Runs):
    def test_it_starts_slowly_and_grows_to_what_is_allowed(self):
        provider = self.provider(seconds=0.1)
        self.ask(self.suite(150), provider, "--concurrency", 40)
        self.assertEqual(provider.total(), 150)
        self.assertLessEqual(provider.peaks[7], 8)
        self.assertGreater(provider.most, 8)
        self.assertLessEqual(provider.most, 40)

    def test_too_many_requests_cost_no_sample(self):
        lock, left = threading.Lock(), [30]

        def answer(question, before):
            with lock:
                left[0] -= 1
                return (429, [("retry-after-ms", "20")]) if left[0] >= 0 else None

        provider = self.provider(answer)
        self.ask(self.suite(40), provider)
        row = self.row()
        self.assertEqual((row["n"], row["failed"], row["value"]), (40, 0, 1))
        self.assertEqual(provider.total(), 70)


class Poison(Runs):
    def test_one_item_never_wedges_a_run(self):
        """What cannot get better is asked once, what may is asked a bounded number of times."""
        soon = [("retry-after-ms", "1")]
        poison = {"q3": (400, []), "q5": (500, soon), "q7": (503, soon), "q9": "hang", "q11": (422, []),
                  "q13": (500, [("x-should-retry", "false")])}
        provider = self.provider(lambda question, before: poison.get(question))
        self.ask(self.suite(30), provider, "--timeout", 1)
        row = self.row()
        self.assertEqual((row["n"], row["failed"]), (30, len(poison)))
        self.assertAlmostEqual(row["value"], 24 / 30)
        self.assertEqual([provider.asked[item] for item in poison], [1, 6, 6, 2, 1, 1])
        self.assertTrue(all(count == 1 for item, count in provider.asked.items() if item not in poison))
        done = run("verify", self.out / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)


class Budget(Runs):
    def test_tokens_are_never_passed_and_resume_goes_on(self):
        provider = self.provider(seconds=0.01)
        suite = self.suite(60)
        done = self.ask(suite, provider, "--budget-tokens", 2000, "--concurrency", 32, status=1)
        self.assertIn("budget", done.stderr)
        self.assertLessEqual(provider.billed, 2000)
        self.assertGreater(provider.billed, 1500)
        self.bench("resume", self.out, "--budget-tokens", 100000)
        self.assertEqual(self.row()["n"], 60)
        self.assertEqual(provider.total(), 60)

    def test_what_nobody_told_is_counted_at_its_most(self):
        """A connection that breaks may have been billed; and a resumed run remembers."""
        provider = self.provider(lambda question, before: "cut" if int(question[1:]) % 2 else None)
        suite = self.suite(60)
        self.ask(suite, provider, "--budget-tokens", 3000, status=1)
        self.assertLessEqual(provider.billed, 3000)
        asked = provider.total()
        done = self.bench("resume", self.out, "--budget-tokens", 3001, status=1)
        self.assertIn("at their most", done.stderr)
        self.assertEqual(provider.total(), asked)

    def test_an_answer_without_a_usage_that_can_be_is_counted_at_its_most(self):
        """Nothing told, or nonsense: the budget holds, and no such figure gets into the report."""
        told = ({}, {"completion_tokens": 10**15}, {"prompt_tokens": 10**15}, {"total_tokens": 10**14},
                {"completion_tokens": 1.5}, {"completion_tokens": -64}, {"prompt_tokens": None})
        provider = self.provider()
        provider.change = lambda body, number: body.update(
            usage={**USAGE, **told[number % len(told)]} if told[number % len(told)] else None)
        self.ask(self.suite(60), provider, "--budget-tokens", 3000, "--concurrency", 4, status=1)
        self.assertLessEqual(provider.billed, 3000)
        self.assertGreater(provider.total(), len(told))
        asked = provider.total()
        done = self.bench("resume", self.out, "--budget-tokens", 3001, status=1)
        self.assertIn("at their most", done.stderr)
        self.assertEqual(provider.total(), asked)
        self.bench("resume", self.out, "--budget-tokens", 100000)
        self.assertEqual((self.row()["n"], provider.total()), (60, 60))
        lines = (self.out / "bundle" / "transcripts.jsonl").read_text().splitlines()
        self.assertEqual({json.dumps(json.loads(line)["usage"]) for line in lines}, {"{}"})
        summary = json.loads((self.out / "summary.json").read_text())
        self.assertEqual([(row["input_tokens"], row["output_tokens"]) for row in summary["models"]],
                         [(0, 0)])
        self.assertEqual(run("verify", self.out / "bundle").returncode, 0)

    def test_a_budget_that_comes_later_holds_for_all_that_was_asked(self):
        """A run without one is resumed with one: what nobody told counts at its most all the same."""
        provider = self.provider(
            lambda question, before: "cut" if int(question[1:]) % 3 == 2 and not before else None,
            seconds=0.02)
        provider.change = lambda body, number: body.update(usage=None)
        process = Process(self.directory, "bench", [
            PARLEY, "bench", "run", "--suite", str(self.suite(60)), "--model",
            f"m=openai@{provider.url}#PARLEY_TEST_KEY", "-o", str(self.out), "--concurrency", "1"],
            environment=KEYS)
        self.addCleanup(process.end)
        wait_until(lambda: provider.total() >= 20, "answers")
        process.end(signal.SIGKILL)
        asked = provider.total()
        # Each of them took 64 tokens and its body: no other one fits into so much.
        done = self.bench("resume", self.out, "--budget-tokens", 64 * asked + 500, status=1)
        self.assertIn("at their most", done.stderr)
        self.assertEqual(provider.total(), asked)
        # And none of them counts more than it can have cost.
        self.bench("resume", self.out, "--budget-tokens", 300 * 90)
        self.assertEqual(self.row()["n"], 60)
        summary = json.loads((self.out / "summary.json").read_text())
        self.assertEqual([row["output_tokens"] for row in summary["models"]], [0])
        self.assertEqual(run("verify", self.out / "bundle").returncode, 0)

    def test_money(self):
        plan = self.directory / "plan.yaml"
        provider = self.provider()
        plan.write_text(json.dumps({
            "suites": [str(self.suite(50))],
            "models": [{"name": "m", "dialect": "openai", "url": provider.url,
                        "key_env": "PARLEY_TEST_KEY", "price": {"input": 10.0, "output": 100.0}}],
            "budget": {"usd": 0.1}}))
        self.bench("run", plan, "-o", self.out, status=1)
        cost = provider.total() * (10 * 10.0 + 64 * 100.0) / 1e6
        self.assertLessEqual(cost, 0.1)
        self.assertGreater(cost, 0.08)


class Again(Runs):
    def test_a_cache_asks_nothing_twice(self):
        provider, cache = self.provider(), self.directory / "cache"
        suite = self.suite(20)
        self.ask(suite, provider, "--cache", cache, "--samples", 2)
        self.assertEqual((provider.total(), len(list(cache.iterdir()))), (40, 40))
        self.assertNotIn("unasked", run("verify", self.out / "bundle").stdout)
        torn = sorted(cache.iterdir())[3]
        torn.write_bytes(torn.read_bytes()[:-9])
        again = self.directory / "again"
        self.ask(suite, provider, "--cache", cache, "--samples", 2, out=again)
        self.assertEqual(provider.total(), 41)
        self.assertEqual(self.row(again)["value"], self.row()["value"])
        done = run("verify", again / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("39 answers are responses to earlier requests, out of a cache", done.stdout)

    def test_a_finished_run_answers(self):
        provider = self.provider(lambda question, before: (400, []) if question == "q4" else None)
        suite = self.suite(20)
        self.ask(suite, provider, "--samples", 2)
        for number, source in enumerate((self.out, self.out / "bundle")):
            out = self.directory / f"replayed-{number}"
            self.bench("run", "--suite", suite, "--samples", 2, "--model", f"m=replay@{source}", "-o", out)
            self.assertEqual(self.row(out)["value"], self.row()["value"])
            self.assertEqual(self.row(out)["failed"], 2)
            self.assertEqual(run("verify", out / "bundle").returncode, 0)
        self.assertEqual(provider.total(), 40)
        done = self.bench("run", "--suite", suite, "--model", f"other=replay@{self.out}",
                          "-o", self.directory / "wrong", status=2)
        self.assertIn('named "other"', done.stderr)


class Signs(Runs):
    def verified(self, provider, *more):
        self.ask(self.suite(6), provider, "--samples", 2, *more)
        done = run("verify", self.out / "bundle")
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_what_a_provider_lets_see_of_itself(self):
        """Another model in the middle, tokens that nobody saw, one prompt counted in two ways."""
        provider = self.provider()
        provider.change = lambda body, number: body.update(
            model="m" if number < 9 else "m-small",
            usage={**body["usage"], "prompt_tokens": 10 + number % 5})
        told = self.verified(provider, "--concurrency", 1)
        self.assertIn("m: answers name more than one model, m and m-small", told)
        self.assertIn("m: 12 of 12 answers are billed more output tokens than they have bytes", told)
        self.assertIn("m: 6 of 6 prompts that were asked again were billed another number", told)

    def test_an_even_provider_is_not_accused(self):
        provider = self.provider()
        provider.change = lambda body, number: body["usage"].update(completion_tokens=3,
                                                                      total_tokens=13)
        told = self.verified(provider)
        self.assertNotIn("more than one model", told)
        self.assertNotIn("are billed", told)
        self.assertIn("(12 answers) and the input tokens of repeated prompts (6)", told)


class Large(Runs):
    def peak(self, count):
        """Peak memory in KB of a run of so many samples."""
        suite = self.suite(count, f"large{count}")
        child = subprocess.Popen(
            [PARLEY, "bench", "run", "--suite", str(suite), "--model",
             f"sim=openai@{self.sim.url}#PARLEY_TEST_KEY", "--concurrency", "64", "--json", "-o",
             str(self.directory / f"out{count}")], env={**os.environ, **KEYS}, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(child.returncode, 0)
        return usage.ru_maxrss

    def test_memory_is_flat(self):
        """So that 100,000 samples fit into 64 MB, each may hold but little of it."""
        with open(PARLEY, "rb") as binary:
            sanitized = b"__asan_init" in binary.read()
        if sanitized:
            self.skipTest("a sanitizer's own memory is measured")
        self.sim = Case.sim(self, "--output-tokens", "4")
        small, large = self.peak(1000), self.peak(11000)
        each = max(0, large - small) * 1024 / 10000
        self.assertLess(small * 1024 + each * 99000, 64 << 20, f"{small} KB, {each} bytes a sample")


if __name__ == "__main__":
    main()
