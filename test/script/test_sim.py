"""The stand-in model API: exact usage, personas, a judge, errors and broken answers on demand."""

import http.client
import json

from parley_test import DIALECTS, SOURCE, Case, Client, anthropic, ask, main, openai, run

GENERATE = {"anthropic": anthropic, "openai": openai}


def text_of(dialect, answer):
    body = answer.json()
    if dialect == "anthropic":
        return body["content"][0]["text"]
    return body["choices"][0]["message"]["content"]


def usage_of(dialect, body):
    usage = body["usage"]
    if dialect == "anthropic":
        return usage["input_tokens"], usage["output_tokens"]
    return usage["prompt_tokens"], usage["completion_tokens"]


class Generator(Case):
    def client(self, *options):
        self.upstream = self.sim(*options)
        return Client(self.upstream.port, "any")

    def test_usage_is_exact(self):
        client = self.client("--output-tokens", 40)
        for dialect in DIALECTS:
            answer = client.ask(dialect, GENERATE[dialect]("x" * 400))
            self.assertIn("x-parley-simulated", answer.headers)
            read, written = usage_of(dialect, answer.json())
            self.assertEqual(written, 40)
            self.assertEqual(len(text_of(dialect, answer)), 4 * written)
            self.assertGreaterEqual(read, 100)
            more = client.ask(dialect, GENERATE[dialect]("x" * 440))
            self.assertEqual(usage_of(dialect, more.json())[0], read + 10)

    def test_max_output_is_kept(self):
        client = self.client("--output-tokens", 40)
        answer = client.messages(max_tokens=7)
        self.assertEqual(usage_of("anthropic", answer.json())[1], 7)
        self.assertEqual(answer.json()["stop_reason"], "max_tokens")
        answer = client.chat(max_completion_tokens=7)
        self.assertEqual(answer.json()["choices"][0]["finish_reason"], "length")

    def test_the_same_seed_gives_the_same_answers(self):
        first, second = self.client("--seed", 7), self.client("--seed", 7)
        other = self.client("--seed", 8)
        texts = [text_of("anthropic", client.messages("Hi")) for client in (first, second, other)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_streams_say_the_same_as_plain_answers_to_the_same_body(self):
        client = self.client("--output-tokens", 12)
        answer = client.messages(stream=True)
        values = [json.loads(data) for _, data in answer.events()]
        kinds = [value["type"] for value in values]
        self.assertEqual(kinds[0], "message_start")
        self.assertEqual(kinds[-1], "message_stop")
        self.assertIn("content_block_delta", kinds)
        self.assertEqual([name for name, _ in answer.events()], kinds)
        last = next(value for value in values if value["type"] == "message_delta")
        self.assertEqual(last["usage"]["output_tokens"], 12)

    def test_openai_streams_tell_usage_when_asked(self):
        client = self.client("--output-tokens", 12)
        answer = client.chat(stream=True, stream_options={"include_usage": True})
        values = [json.loads(data) for _, data in answer.events()[:-1]]
        self.assertEqual(answer.events()[-1][1], "[DONE]")
        self.assertEqual(values[-1]["usage"]["completion_tokens"], 12)
        self.assertEqual(values[-1]["choices"], [])

    def test_counting_agrees_with_answering(self):
        client = self.client()
        counted = client.ask("anthropic", anthropic("How many?"), "/v1/messages/count_tokens").json()
        answered = client.messages("How many?").json()
        self.assertEqual(counted["input_tokens"], answered["usage"]["input_tokens"])

    def test_models_are_listed(self):
        client = self.client("--model", "a-1", "--model", "a-2")
        listed = client.get("/v1/models").json()
        self.assertEqual([model["id"] for model in listed["data"]], ["a-1", "a-2"])

    def test_a_key_may_be_insisted_on(self):
        client = self.client("--key", "right")
        for dialect in DIALECTS:
            self.assertEqual(client.ask(dialect, GENERATE[dialect]()).status, 401)
            client.key = "right"
            self.assertEqual(client.ask(dialect, GENERATE[dialect]()).status, 200)
            client.key = "wrong"

    def test_rates(self):
        client = self.client("--error-rate", 0.3, "--cut-rate", 0.3, "--seed", 3)
        good = errors = cut = 0
        for number in range(300):
            try:
                status = client.messages(f"Number {number}").status
                good += status == 200
                errors += status == 529
            except (http.client.HTTPException, OSError):
                cut += 1
        self.assertEqual(good + errors + cut, 300)
        self.assertTrue(60 < errors < 120, errors)
        self.assertTrue(30 < cut < 100, cut)
        self.upstream.end()
        self.assertIn(f"300 requests: {good} answered, {errors} errors, {cut} cut off",
                      self.upstream.stdout)

    def test_what_it_does_not_understand(self):
        client = self.client()
        for dialect in DIALECTS:
            for body in (b"", b"{", b"[]", b'{"model": 7}'):
                answer = client.ask(dialect, body)
                self.assertEqual(answer.status, 400, answer)
                self.assert_error_shape(answer, dialect)
        self.assertEqual(ask(self.upstream.port, "GET", "/nothing").status, 404)


class Persona(Case):
    def test_answers_come_from_the_file_in_turn(self):
        path = self.directory / "persona.jsonl"
        lines = [{"prompt": "Hi", "answers": ["one", "two"],
                  "usage": {"input": 11, "output": 3}},
                 {"prompt": {"system": "Be brief.", "messages": [
                     {"role": "user", "text": "Hi"}]}, "answers": ["three"]}]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        client = Client(self.sim("--persona", path).port, "any")
        first, second = client.messages("Hi"), client.chat("Hi")
        self.assertEqual(text_of("anthropic", first), "one")
        self.assertEqual(usage_of("anthropic", first.json()), (11, 3))
        self.assertEqual(text_of("openai", second), "two")
        brief = client.messages("Hi", system="Be brief.")
        self.assertEqual(text_of("anthropic", brief), "three")
        unknown = client.messages("Who are you?")
        self.assertEqual(unknown.status, 400)
        self.assertIn("no answer to this prompt", unknown.message())

    def test_the_personas_of_the_source_tree_answer_their_suites(self):
        for name in ("north-1", "south-1"):
            path = SOURCE / "demo" / "personas" / f"{name}.jsonl"
            client = Client(self.sim("--persona", path).port, "any")
            prompts = [json.loads(line) for line in path.read_text().splitlines()[1:]]
            self.assertGreaterEqual(len(prompts), 170)
            for line in prompts[::17]:
                answer = client.messages(line["prompt"], max_tokens=4000)
                self.assertEqual(text_of("anthropic", answer), line["answers"][0])

    def test_broken_files(self):
        for text in ("{\n", '{"prompt": "Hi"}\n', '{"prompt": 7, "answers": ["x"]}\n',
                     '{"prompt": "Hi", "answers": "x"}\n'):
            path = self.directory / "broken.jsonl"
            path.write_text(text)
            done = run("sim", "--listen", "127.0.0.1:0", "--persona", path, timeout=20)
            self.assertEqual(done.returncode, 2, f"{text!r}: {done.stdout}{done.stderr}")
            self.assertIn(f"{path}:1", done.stderr)

    def test_a_missing_file_and_a_port_in_use(self):
        done = run("sim", "--persona", self.directory / "nowhere", timeout=20)
        self.assertEqual(done.returncode, 2, done.stderr)
        sim = self.sim()
        done = run("sim", "--listen", f"127.0.0.1:{sim.port}", timeout=20)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(str(sim.port), done.stderr)


class Judge(Case):
    PLAIN = "The cat sat. The cat sat. The cat sat."
    VARIED = "A heron waited, grey above bright water, while evening folded the reeds."

    def verdict(self, client, first, second):
        prompt = (f"Which is better?\n<answer_a>\n{first}\n</answer_a>\n"
                  f"<answer_b>\n{second}\n</answer_b>\n")
        return text_of("anthropic", client.messages(prompt)).rsplit("\n", 1)[1]

    def test_it_is_consistent_in_both_orders(self):
        client = Client(self.sim("--judge").port, "any")
        self.assertEqual(self.verdict(client, self.PLAIN, self.VARIED), "B")
        self.assertEqual(self.verdict(client, self.VARIED, self.PLAIN), "A")
        self.assertEqual(self.verdict(client, self.PLAIN, self.PLAIN), "TIE")

    def test_it_judges_nothing_else(self):
        client = Client(self.sim("--judge").port, "any")
        self.assertEqual(client.messages("Hello").status, 400)


if __name__ == "__main__":
    main()
