"""The gateway in front of a model: what passes, what it says of it, what it refuses and how."""

import http.client
import json

from parley_test import (APPEAL, CLAUSE, DIALECTS, PATIENCE, PATHS, Case, Client, anthropic, ask,
                         canonical, encode, evaluation, grant, main, openai, parse_events, product,
                         sha256, suite_of, wait_until)

GENERATE = {"anthropic": anthropic, "openai": openai}


def text_of(dialect, body):
    """What the model said, of a plain answer."""
    if dialect == "anthropic":
        return body["content"][0]["text"]
    return body["choices"][0]["message"]["content"]


def streamed_text(dialect, events):
    """The same, of a stream."""
    values = [json.loads(data) for _, data in events if data != "[DONE]"]
    if dialect == "anthropic":
        return "".join(value["delta"]["text"] for value in values
                       if value["type"] == "content_block_delta")
    return "".join(choice["delta"].get("content") or ""
                   for value in values for choice in value["choices"])


def output_tokens(dialect, body):
    usage = body["usage"]
    return usage["output_tokens"] if dialect == "anthropic" else usage["completion_tokens"]


def answer_digest(nonce, text, finish="length"):
    """Of the canonical answer: text, tool calls and finish, the same for streamed and plain."""
    return sha256(nonce, canonical([text, [], finish]))


class Answers(Case):
    """Under a grant for plain use, answers pass unchanged and leave their records."""

    def setUp(self):
        super().setUp()
        self.upstream = self.sim()
        self.gate = self.gateway(self.upstream, product())
        self.client = self.gate.client("prod", "acme")

    def test_plain_answers_are_the_providers_own_bytes(self):
        for dialect in DIALECTS:
            with self.subTest(dialect):
                body = encode(GENERATE[dialect]())
                answer = self.client.ask(dialect, body)
                self.assertEqual(answer.status, 200, answer)
                self.assertIn("no real model", answer.headers["x-parley-simulated"])
                self.assertEqual(answer.headers["content-type"], "application/json")
                self.assertEqual(len(text_of(dialect, answer.json())), 256)
                record = self.gate.settled(answer.headers["parley-record"], "usage")
                nonce = bytes.fromhex(answer.headers["parley-nonce"])
                self.assertEqual(len(nonce), 16)
                self.assertEqual(record["response"], sha256(nonce, answer.body))
                self.assertEqual(record["ending"], "finish")
                self.assertEqual(record["status"], 200)
                self.assertEqual(record["usage"]["output"], output_tokens(dialect, answer.json()))
                self.assertEqual(record["answer"], answer_digest(
                    nonce, text_of(dialect, answer.json())))
                admit = next(entry for entry in self.gate.records("usage")
                             if entry["id"] == answer.headers["parley-record"])
                self.assertEqual(admit["request"], sha256(nonce, body))
                self.assertEqual(admit["kind"], "admit")

    def test_streams_say_the_same_and_are_recorded_whole(self):
        for dialect in DIALECTS:
            with self.subTest(dialect):
                plain = self.client.ask(dialect, GENERATE[dialect]())
                body = encode(GENERATE[dialect](stream=True))
                answer = self.client.ask(dialect, body)
                self.assertEqual(answer.status, 200, answer)
                self.assertTrue(answer.headers["content-type"].startswith("text/event-stream"))
                # The stand-in's generator is seeded by the body, so only the length is the same.
                self.assertEqual(len(streamed_text(dialect, answer.events())),
                                 len(text_of(dialect, plain.json())))
                record = self.gate.settled(answer.headers["parley-record"], "usage")
                nonce = bytes.fromhex(answer.headers["parley-nonce"])
                self.assertEqual(record["response"], sha256(nonce, answer.body))
                self.assertEqual(record["answer"], answer_digest(
                    nonce, streamed_text(dialect, answer.events())))
                self.assertEqual(record["usage"]["output"], 64)
                self.assertEqual(record["usage"]["input"],
                                 self.gate.settled(plain.headers["parley-record"],
                                                   "usage")["usage"]["input"])

    def test_a_stream_ends_with_the_dialects_own_last_event(self):
        last = {"anthropic": ("message_stop", '{"type":"message_stop"}'), "openai": (None, "[DONE]")}
        for dialect in DIALECTS:
            answer = self.client.ask(dialect, GENERATE[dialect](stream=True))
            name, data = answer.events()[-1]
            self.assertEqual((name, data.replace(" ", "")), last[dialect])

    def test_a_usage_chunk_nobody_asked_for_is_removed(self):
        unasked = self.client.chat(stream=True)
        asked = self.client.chat(stream=True, stream_options={"include_usage": True})
        self.assertEqual(asked.status, 200, asked)

        def usage_of(answer):
            return [value["usage"] for value in
                    (json.loads(data) for _, data in answer.events() if data != "[DONE]")
                    if value.get("usage")]

        self.assertEqual(usage_of(unasked), [])
        self.assertEqual(len(usage_of(asked)), 1)
        self.assertEqual(usage_of(asked)[0]["completion_tokens"], 64)
        record = self.gate.settled(unasked.headers["parley-record"], "usage")
        self.assertEqual(record["usage"]["output"], 64)
        self.assertNotIn("estimated", record["usage"])

    def test_only_the_models_name_is_rewritten(self):
        answer = self.client.messages()
        self.assertEqual(answer.json()["model"], "north-1-20261001")
        self.assertEqual(self.gate.settled(answer.headers["parley-record"], "usage")["served"],
                         "north-1-20261001")
        self.assertEqual(self.client.chat().json()["model"], "north-o")

    def test_tokens_can_be_counted(self):
        answer = self.client.ask("anthropic", anthropic("x" * 400), "/v1/messages/count_tokens")
        self.assertEqual(answer.status, 200, answer)
        self.assertGreaterEqual(answer.json()["input_tokens"], 100)
        self.assertLess(answer.json()["input_tokens"], 200)
        record = self.gate.settled(answer.headers["parley-record"], "usage")
        self.assertEqual(record["usage"], {"input": 0, "cache_read": 0, "cache_write": 0,
                                           "output": 0})

    def test_model_lists_name_what_the_grant_names(self):
        listed = self.client.get("/v1/models", "anthropic").json()
        self.assertEqual([model["id"] for model in listed["data"]], ["north-1", "north-o"])
        self.assertEqual(listed["data"][0]["type"], "model")
        self.assertIn("has_more", listed)
        listed = self.client.get("/v1/models").json()
        self.assertEqual(listed["object"], "list")
        self.assertEqual({model["object"] for model in listed["data"]}, {"model"})

    def test_cached_input_is_told_apart(self):
        system = [{"type": "text", "text": "y" * 400, "cache_control": {"type": "ephemeral"}}]
        first = self.client.messages(system=system)
        second = self.client.messages(system=system)
        written = self.gate.settled(first.headers["parley-record"], "usage")["usage"]
        read = self.gate.settled(second.headers["parley-record"], "usage")["usage"]
        self.assertGreater(written["cache_write"], 100)
        self.assertEqual(written["cache_read"], 0)
        self.assertEqual(read["cache_read"], written["cache_write"])
        self.assertEqual(read["cache_write"], 0)
        self.assertEqual(read["input"], written["input"])

    def test_the_log_holds_no_word_of_a_prompt_an_answer_or_a_key(self):
        answer = self.client.messages("The heron stands in the reeds.")
        self.gate.settled(answer.headers["parley-record"], "usage")
        self.gate.stop()
        secrets = [b"heron", text_of("anthropic", answer.json())[:40].encode(),
                   self.client.key.encode(), b"upstream-secret"]
        for path in self.gate.directory.rglob("*"):
            if path.is_file() and path.name != "parley.yaml":
                data = path.read_bytes()
                for secret in secrets:
                    self.assertNotIn(secret, data, f"{path} holds {secret!r}")

    def test_many_requests_share_a_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=PATIENCE)
        for number in range(50):
            connection.request("POST", PATHS["anthropic"], encode(anthropic(f"Number {number}")),
                               self.client.headers("anthropic"))
            response = connection.getresponse()
            self.assertEqual(response.status, 200)
            response.read()
        connection.close()
        self.assert_quiet(self.gate)
        self.assertEqual(self.gate.metric("parley_admitted_total"), 50)


class Refusals(Case):
    """Default deny: every refusal in the caller's dialect, with its rule, and nothing upstream."""

    def setUp(self):
        super().setUp()
        self.upstream = self.sim()
        self.gate = self.gateway(self.upstream, product(), evaluation(), grant(
            "narrow", "acme", ["product"], models=["north-1"]), max_body=100000)
        self.client = self.gate.client("prod", "acme")

    def tearDown(self):
        self.gate.stop()
        self.assertEqual(self.upstream.end_and_count(), 0, "a refused request went upstream")
        super().tearDown()

    def refused(self, dialect, status, rule, body=None, key=None, **options):
        client = Client(self.gate.port, key) if key is not None else self.client
        answer = client.ask(dialect, GENERATE[dialect]() if body is None else body, **options)
        self.assert_refused(answer, status, rule, dialect)
        return answer

    def test_an_unknown_key(self):
        for dialect in DIALECTS:
            self.refused(dialect, 401, "key.unknown", key="plk_unknown")
            self.refused(dialect, 401, "key.unknown", key="'; DROP TABLE keys; --")

    def test_no_key(self):
        for dialect in DIALECTS:
            headers = self.client.headers(dialect)
            headers.pop("x-api-key", None)
            headers.pop("authorization", None)
            answer = ask(self.gate.port, "POST", PATHS[dialect], headers,
                         encode(GENERATE[dialect]()))
            self.assert_refused(answer, 401, "key.missing", dialect)

    def test_a_model_that_is_not_there_or_not_granted_or_of_the_other_dialect(self):
        for dialect in DIALECTS:
            self.refused(dialect, 404, "model.unknown", GENERATE[dialect](model="gpt-none"))
        narrow = self.gate.key("narrow", "acme")
        self.refused("openai", 404, "model.not_granted", key=narrow)
        self.refused("openai", 404, "model.dialect", openai(model="north-1"))
        self.refused("anthropic", 404, "model.dialect", anthropic(model="north-o"))

    def test_side_doors_are_closed(self):
        doors = [("POST", "/v1/messages/batches"), ("POST", "/v1/files"), ("GET", "/v1/files"),
                 ("POST", "/v1/fine_tuning/jobs"), ("POST", "/v1/embeddings"),
                 ("POST", "/v1/batches"), ("DELETE", "/v1/models/north-1"),
                 ("POST", "/v1/messages/../files"), ("POST", "//v1/messages"), ("GET", "/"),
                 ("POST", "/v1/chat/completions/"), ("PUT", "/v1/messages")]
        for method, path in doors:
            with self.subTest(f"{method} {path}"):
                answer = ask(self.gate.port, method, path, self.client.headers("openai"), b"{}")
                self.assertEqual(answer.status, 404, answer)
                self.assertIn("endpoint.unknown", answer.body.decode())

    def test_a_body_that_is_no_request(self):
        for dialect in DIALECTS:
            bodies = [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"model": 7}', b"{}",
                      encode(GENERATE[dialect]())[:-1], encode(GENERATE[dialect]()) + b"x",
                      b"[" * 5000]
            for body in bodies:
                with self.subTest(f"{dialect} {body[:20]!r}"):
                    answer = self.client.ask(dialect, body)
                    self.assertIn(answer.status, (400, 404), answer)
                    self.assert_error_shape(answer, dialect)

    def test_a_member_named_twice(self):
        """Two readers could take two different models from it."""
        for dialect in DIALECTS:
            body = encode(GENERATE[dialect]())
            self.refused(dialect, 400, "request.syntax", body[:-1] + b', "model": "north-1"}')
            self.refused(dialect, 400, "request.syntax", body[:-1] + b', "mod\\u0065l": "north-1"}')

    def test_a_body_that_is_too_large(self):
        for dialect in DIALECTS:
            body = GENERATE[dialect]("x" * 100000)
            self.refused(dialect, 413, "request.too_large", body)

    def test_a_compressed_body(self):
        self.refused("openai", 400, "request.syntax", extra={"content-encoding": "gzip"})

    def test_an_evaluation_grant_tells_rule_clause_and_appeal(self):
        key = self.gate.key("eval", "southlab")
        for dialect in DIALECTS:
            answer = self.refused(dialect, 403, "suite.unbound", key=key)
            self.assertTrue(
                answer.message().endswith(f"(rule suite.unbound; clause {CLAUSE}; appeal {APPEAL})"),
                answer.message())

    def test_what_an_evaluation_grant_does_not_allow(self):
        key = self.gate.key("eval", "southlab")
        self.refused("openai", 400, "parameter.n", openai(n=2), key)
        self.refused("openai", 400, "parameter.logit_bias", openai(logit_bias={"1": 1}), key)
        self.refused("openai", 400, "parameter.logprobs", openai(logprobs=True), key)
        self.refused("anthropic", 400, "parameter.unknown", anthropic(surprise=True), key)
        image = [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}]
        self.refused("anthropic", 400, "parameter.parts", anthropic(image), key)

    def test_a_refusal_has_a_record(self):
        key = self.gate.key("eval", "southlab")
        answer = self.refused("anthropic", 403, "suite.unbound", key=key)
        # A refusal does not wait for its record.
        record = wait_until(lambda: next((entry for entry in self.gate.records("evaluation") if
                                          entry.get("id") == answer.headers["parley-record"]), None),
                            "the record of the refusal")
        self.assertEqual((record["kind"], record["rule"], record["clause"], record["status"]),
                         ("refuse", "suite.unbound", CLAUSE, 403))

    def test_strangers_cannot_fill_the_log(self):
        before = len(self.gate.records("usage"))
        for _ in range(200):
            self.refused("openai", 401, "key.unknown", key="plk_unknown")
        records = wait_until(lambda: [entry for entry in self.gate.records("usage")[before:]
                                      if entry["kind"] == "refuse"], "a record")
        self.assertLess(len(records), 100)

    def test_parleys_own_endpoints_want_a_key_too(self):
        for method, path in (("GET", "/parley/v1/self"), ("POST", "/parley/v1/suites"),
                             ("POST", "/parley/v1/runs"), ("GET", "/parley/v1/receipts/00")):
            answer = ask(self.gate.port, method, path, {"authorization": "Bearer plk_unknown"},
                         b"{}" if method == "POST" else None)
            self.assertEqual(answer.status, 401, f"{path}: {answer}")
            self.assertEqual(answer.headers["content-type"], "application/problem+json")


class Pings(Case):
    """`ping_seconds`: quiet streams get comments, between events, and never without being asked for."""

    PING = b": ping\n\n"

    def stream(self, dialect, *sim, **config):
        gate = self.gateway(self.sim("--output-tokens", 4, *sim), product(), name=f"gate-{dialect}",
                            **config)
        stream = gate.client("prod", "acme").stream(dialect)
        self.assertEqual(stream.status, 200)
        self.assertFalse(stream.received)
        body = stream.rest()
        record = gate.settled(stream.headers["parley-record"], "usage")
        self.assertEqual(record["response"], sha256(bytes.fromhex(stream.headers["parley-nonce"]), body))
        self.assertEqual(record["ending"], "finish")
        return body

    def test_quiet_streams_are_pinged_between_events(self):
        for dialect in DIALECTS:
            with self.subTest(dialect):
                body = self.stream(dialect, "--tokens-per-second", 2, ping_seconds=0.05)
                self.assertGreater(body.count(self.PING), 3)
                for block in body.split(b"\n\n")[:-1]:
                    self.assertTrue(block == b": ping" or b": ping" not in block, block)
                self.assertTrue(body.endswith({"anthropic": b'{"type":"message_stop"}\n\n',
                                               "openai": b"data: [DONE]\n\n"}[dialect]), body[-100:])
                text = "".join(delta(dialect, json.loads(data)) for name, data in
                               parse_events(body.replace(self.PING, b"")) if data != "[DONE]")
                self.assertEqual(len(text), 16)

    def test_nothing_is_sent_before_the_provider_has_answered(self):
        body = self.stream("openai", "--first-token-ms", 400, ping_seconds=0.05)
        self.assertTrue(body.startswith(b"data:"), body[:100])

    def test_they_are_off_by_default(self):
        self.assertNotIn(b"ping\n\n", self.stream("openai", "--tokens-per-second", 8))


def delta(dialect, event):
    if dialect == "anthropic":
        return event.get("delta", {}).get("text", "")
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


class Self(Case):
    def test_a_key_can_ask_what_it_may_do(self):
        gate = self.gateway(self.sim(), evaluation(limits={"rpm": 600}))
        answer = gate.client("eval", "southlab").get("/parley/v1/self")
        self.assertEqual(answer.status, 200, answer)
        text = json.dumps(answer.json())
        for part in ("eval", "capability_benchmark", "north-1", "rpm", CLAUSE):
            self.assertIn(part, text)

    def test_another_grants_key_sees_nothing_of_it(self):
        gate = self.gateway(self.sim(), evaluation(), product())
        answer = gate.client("prod", "acme").get("/parley/v1/self")
        self.assertNotIn("southlab", answer.body.decode())

    def test_the_limits_headers_are_the_dialects(self):
        gate = self.gateway(self.sim(), product(limits={"rpm": 6, "output_tpm": 100000}))
        client = gate.client("prod", "acme")
        headers = client.messages().headers
        self.assertEqual(headers["anthropic-ratelimit-requests-limit"], "6")
        self.assertEqual(headers["anthropic-ratelimit-requests-remaining"], "5")
        headers = client.chat().headers
        self.assertEqual(headers["x-ratelimit-limit-requests"], "6")
        self.assertIn("x-ratelimit-reset-requests", headers)


class Interoperability(Case):
    def test_the_purpose_caps_an_answer(self):
        gate = self.gateway(self.sim("--output-tokens", 1000), grant("smoke", "acme", ["interop_test"]))
        client = gate.client("smoke", "acme")
        answer = client.messages(max_tokens=4000)
        self.assertEqual(answer.status, 403, answer)
        self.assertIn("purpose.cap", answer.message())
        self.assertEqual(client.messages(max_tokens=200).status, 200)
        shown = client.get("/parley/v1/self").json()["limits"]
        self.assertEqual({row["limit"]: row["max"] for row in shown if row["of"] == "interop_test"},
                         {"rpm": 60, "tokens_per_day": 100000})

    def test_nothing_of_a_grant_that_binds_to_no_suite_serves_a_run(self):
        gate = self.gateway(self.sim(), product())
        client = gate.client("prod", "acme")
        answer = client.ask("openai", openai(), extra={"parley-run": "run_1"})
        self.assert_refused(answer, 403, "purpose.none", "openai")
        registered = client.post("/parley/v1/suites", suite_of(["What jumps?"]))
        self.assertEqual((registered.status, registered.json()["rule"]), (403, "purpose.none"))


if __name__ == "__main__":
    main()
