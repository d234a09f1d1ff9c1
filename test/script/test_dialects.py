"""Every provider API besides the first two: answers, streams, refusals, revocation, broken upstreams.

Anthropic Messages and OpenAI Chat Completions have the other files; here are OpenAI Responses, Gemini,
Mistral's and xAI's Chat Completions, and what all of them must have in common.
"""

import json
import socket
import threading

from parley_test import (PATIENCE, Answer, Case, Client, Stream, ask, canonical, encode, evaluation,
                         main, parse_events, product, public, run, sha256, suite_of)


class Responses:
    model, credential = "north-r", "authorization"

    def path(self, stream=False, model=None):
        return "/v1/responses"

    def body(self, prompt, stream=False, most=64, model=None, **members):
        body = {"model": model or self.model, "input": prompt, "max_output_tokens": most, **members}
        return {**body, "stream": True} if stream else body

    def text(self, value):
        return "".join(part["text"] for item in value["output"] for part in item["content"])

    def streamed(self, events):
        return "".join(json.loads(data)["delta"] for name, data in events
                       if name == "response.output_text.delta")

    def finish(self, value):
        return "length" if value["status"] == "incomplete" else "stop"

    def usage(self, value):
        return value["usage"]["input_tokens"], value["usage"]["output_tokens"]

    def error(self, value):
        error = value["error"]
        assert {"message", "type", "param", "code"} <= set(error), value
        return error["message"], error["code"]

    revoked = "grant_revoked"
    limited = "rate_limit_exceeded"


class Chat(Responses):
    most = "max_completion_tokens"

    def __init__(self, model):
        self.model = model

    def path(self, stream=False, model=None):
        return "/v1/chat/completions"

    def body(self, prompt, stream=False, most=64, model=None, **members):
        body = {"model": model or self.model, self.most: most,
                "messages": [{"role": "user", "content": prompt}], **members}
        return {**body, "stream": True} if stream else body

    def text(self, value):
        return value["choices"][0]["message"]["content"]

    def streamed(self, events):
        return "".join(choice["delta"].get("content", "") for _, data in events if data != "[DONE]"
                       for choice in json.loads(data)["choices"])

    def finish(self, value):
        return value["choices"][0]["finish_reason"]

    def usage(self, value):
        return value["usage"]["prompt_tokens"], value["usage"]["completion_tokens"]


class Mistral(Chat):
    most = "max_tokens"

    def error(self, value):
        assert value["object"] == "error" and "error" not in value, value
        assert {"message", "type", "param", "code"} <= set(value), value
        return value["message"], value["code"]


class Gemini(Responses):
    model, credential = "north-g", "x-goog-api-key"

    def path(self, stream=False, model=None):
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model or self.model}:{verb}"

    def body(self, prompt, stream=False, most=64, model=None, **members):
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}],
                "generationConfig": {"maxOutputTokens": most, **members}}

    def text(self, value):
        return "".join(part["text"] for part in value["candidates"][0]["content"]["parts"])

    def streamed(self, events):
        return "".join(self.text(json.loads(data)) for _, data in events)

    def finish(self, value):
        return {"MAX_TOKENS": "length", "STOP": "stop"}[value["candidates"][0]["finishReason"]]

    def usage(self, value):
        usage = value["usageMetadata"]
        return usage["promptTokenCount"], usage["candidatesTokenCount"]

    def error(self, value):
        error = value["error"]
        assert isinstance(error["code"], int), value
        return error["message"], error["status"]

    revoked = "PERMISSION_DENIED"
    limited = "RESOURCE_EXHAUSTED"


APIS = {"responses": Responses(), "gemini": Gemini(), "mistral": Mistral("north-m"),
        "xai": Chat("north-x")}
PROVIDERS = {"responses": "openai", "gemini": "gemini", "mistral": "mistral", "xai": "xai"}
MODELS = [api.model for api in APIS.values()]


def grant_all(make, **members):
    return make(models=MODELS, **members)


def configuration(url, mistral_url=None):
    """One provider and model for each API."""
    return {
        "providers": [{"name": name, "dialect": PROVIDERS[name], "key": "upstream-secret",
                       "url": mistral_url if name == "mistral" and mistral_url else url}
                      for name in APIS],
        "models": [{"name": api.model, "provider": name, "upstream": f"{name}-2026",
                    "max_output": 8192} for name, api in APIS.items()]}


def headers(api, key):
    value = f"Bearer {key}" if api.credential == "authorization" else key
    return {api.credential: value, "content-type": "application/json"}


def generate(port, api, key, prompt="Hello", stream=False, extra=None, **members):
    return ask(port, "POST", api.path(stream), {**headers(api, key), **(extra or {})},
               encode(api.body(prompt, stream, **members)))


def open_stream(port, api, key, most):
    return Stream(port, api.path(True), headers(api, key), encode(api.body("Hello", True, most)))


class Gated(Case):
    OPTIONS = ()

    def start(self, *grants, options=()):
        self.upstream = self.sim("--key", "upstream-secret", *options)
        self.mistral = self.sim("--key", "upstream-secret", "--chat", "mistral", *options)
        self.gate = self.gateway(self.upstream, *grants,
                                 **configuration(self.upstream.url, self.mistral.url))
        return self.gate

    def settled(self, answer, log="usage"):
        return self.gate.settled(answer.headers["parley-record"], log)

    def check_refusal(self, api, answer, status, rule):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"], "application/json")
        message, code = api.error(answer.json())
        self.assertIn(f"(rule {rule}", message)
        return code


class StandIn(Case):
    """`parley sim` alone: exact usage, limits, keys and failures in every API."""

    def test_usage_is_exact(self):
        sims = self.sims("--output-tokens", 40)
        for name, api in APIS.items():
            with self.subTest(name):
                answer = generate(sims[name].port, api, "any", "x" * 400)
                read, written = api.usage(answer.json())
                self.assertEqual((written, len(api.text(answer.json()))), (40, 160))
                more = generate(sims[name].port, api, "any", "x" * 440)
                self.assertEqual(api.usage(more.json())[0], read + 10)
                short = generate(sims[name].port, api, "any", "x", most=7).json()
                self.assertEqual((api.finish(short), api.usage(short)[1]), ("length", 7))

    def test_it_reasons_when_it_is_told_to(self):
        sims = self.sims("--output-tokens", 40, "--reasoning-tokens", 16)
        for name, api in APIS.items():
            with self.subTest(name):
                for stream in (False, True):
                    answer = generate(sims[name].port, api, "any", "x" * 400, stream=stream)
                    self.assertIn(b"Simulated reasoning: ", answer.body)
                    self.assertIn("simulated", answer.headers["x-parley-simulated"])
                # Answer and reasoning stay within what was asked for together.
                short = generate(sims[name].port, api, "any", "x", most=10)
                self.assertIn(b"Simulated reasoning", short.body)

    def test_keys_failures_and_unknown_endpoints(self):
        sims = self.sims("--key", "secret", "--error-rate", 1)
        for name, api in APIS.items():
            with self.subTest(name):
                port = sims[name].port
                rows = ((401, "other", api.path()), (503, "secret", api.path()),
                        (404, "secret", api.path() + "s"))
                for status, key, path in rows:
                    answer = ask(port, "POST", path, headers(api, key), encode(api.body("Hi")))
                    self.assertEqual(answer.status, status, answer)
                    api.error(answer.json())

    def test_an_unknown_chat_is_refused(self):
        done = run("sim", "--chat", "gemini")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("mistral", done.stderr)

    def sims(self, *options):
        plain, mistral = self.sim(*options), self.sim("--chat", "mistral", *options)
        return {name: mistral if name == "mistral" else plain for name in APIS}


class Plain(Gated):
    def setUp(self):
        super().setUp()
        self.start(grant_all(product))
        self.key = self.gate.key("prod", "acme")

    def test_answers_are_the_providers_own_bytes_and_recorded(self):
        for name, api in APIS.items():
            with self.subTest(name):
                body = encode(api.body("Hello"))
                answer = ask(self.gate.port, "POST", api.path(), headers(api, self.key), body)
                self.assertEqual(answer.status, 200, answer)
                value, nonce = answer.json(), bytes.fromhex(answer.headers["parley-nonce"])
                record = self.settled(answer)
                self.assertEqual(record["response"], sha256(nonce, answer.body))
                self.assertEqual(record["served"], f"{name}-2026", "the upstream's name was asked")
                self.assertEqual((record["usage"]["input"], record["usage"]["output"]),
                                 api.usage(value))
                self.assertEqual(record["ending"], "finish")
                self.assertEqual(record["answer"], sha256(nonce, canonical(
                    [api.text(value), [], api.finish(value)])))
                admit = next(entry for entry in self.gate.records("usage")
                             if entry["id"] == answer.headers["parley-record"])
                self.assertEqual(admit["request"], sha256(nonce, body))

    def test_streams_are_recorded_like_plain_answers(self):
        for name, api in APIS.items():
            with self.subTest(name):
                answer = generate(self.gate.port, api, self.key, stream=True, most=9)
                self.assertEqual(answer.status, 200, answer)
                self.assertTrue(answer.headers["content-type"].startswith("text/event-stream"))
                text = api.streamed(answer.events())
                self.assertEqual(len(text), 9 * 4)
                nonce, record = bytes.fromhex(answer.headers["parley-nonce"]), self.settled(answer)
                self.assertEqual(record["response"], sha256(nonce, answer.body))
                self.assertEqual(record["answer"], sha256(nonce, canonical([text, [], "length"])))
                self.assertEqual(record["usage"]["output"], 9)
                self.assertNotIn("estimated", record["usage"])
                self.assertEqual(record["ending"], "finish")

    def test_one_text_has_one_digest_in_every_api_streamed_or_plain(self):
        """The canonical answer, with the same nonce taken out: text, calls and finish alone."""
        persona = self.directory / "persona.jsonl"
        persona.write_text(json.dumps({"prompt": "Say it", "answers": ["The \"fox\"\n jumps."] * 20})
                           + "\n")
        gate = self.gateway(self.sim("--persona", persona), grant_all(product), name="second",
                            **configuration(self.sim("--persona", persona).url))
        key = gate.key("prod", "acme")
        expected = canonical(["The \"fox\"\n jumps.", [], "stop"])
        for name, api in APIS.items():
            for stream in (False, True):
                with self.subTest(name, stream=stream):
                    answer = generate(gate.port, api, key, "Say it", stream)
                    self.assertEqual(answer.status, 200, answer)
                    record = gate.settled(answer.headers["parley-record"], "usage")
                    nonce = bytes.fromhex(answer.headers["parley-nonce"])
                    self.assertEqual(record["answer"], sha256(nonce, expected))

    def test_tokens_are_counted_upstream(self):
        api = APIS["gemini"]
        answer = ask(self.gate.port, "POST", "/v1beta/models/north-g:countTokens",
                     headers(api, self.key), encode({"contents": [{"parts": [{"text": "Hi"}]}]}))
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.json(), {"totalTokens": 8})
        self.assertEqual(self.settled(answer)["usage"]["input"], 0)

    def test_lists_of_models(self):
        listed = ask(self.gate.port, "GET", "/v1beta/models",
                     headers(APIS["gemini"], self.key)).json()["models"]
        self.assertEqual([row["name"] for row in listed], ["models/north-g"])
        self.assertIn("generateContent", listed[0]["supportedGenerationMethods"])
        for api in (APIS["mistral"], APIS["xai"], APIS["responses"]):
            ids = [row["id"] for row in ask(self.gate.port, "GET", "/v1/models",
                                            headers(api, self.key)).json()["data"]]
            self.assertEqual(sorted(ids), sorted(MODELS))

    def test_geminis_first_version_is_served_like_its_beta(self):
        """The official client asks /v1/…; the provider is asked for what the client asked."""
        api = APIS["gemini"]
        for path in ("/v1/models/north-g:generateContent",
                     "/v1/models/north-g:streamGenerateContent?alt=sse",
                     "/v1/models/north-g:countTokens"):
            answer = ask(self.gate.port, "POST", path, headers(api, self.key),
                         encode(api.body("Hello")))
            self.assertEqual(answer.status, 200, answer)
        listed = ask(self.gate.port, "GET", "/v1/models", headers(api, self.key)).json()["models"]
        self.assertEqual([row["name"] for row in listed], ["models/north-g"])

    def test_a_model_is_asked_through_its_own_providers_api(self):
        """An OpenAI provider has two; all others one, Mistral and xAI the first of OpenAI's."""
        served = {"responses": {"/v1/responses", "/v1/chat/completions"},
                  "mistral": {"/v1/chat/completions"}, "xai": {"/v1/chat/completions"},
                  "gemini": {"/v1beta"}}
        asked = [APIS["responses"], APIS["gemini"], APIS["xai"]]
        for name, model in ((name, api.model) for name, api in APIS.items()):
            for api in asked:
                with self.subTest(name, through=api.path()):
                    answer = ask(self.gate.port, "POST", api.path(model=model),
                                 headers(api, self.key), encode(api.body("Hello", model=model)))
                    if any(api.path().startswith(path) for path in served[name]):
                        self.assertEqual(answer.status, 200, answer)
                    else:
                        self.check_refusal(api, answer, 404, "model.dialect")


class Refusals(Gated):
    """Each status in the caller's own shape."""

    def setUp(self):
        super().setUp()
        self.start(grant_all(product, limits={"rpm": 1000}),
                   grant_all(product, name="tight", limits={"rpm": 1}),
                   product("narrow", models=["north-x"]))

    def test_statuses(self):
        key = self.gate.key("prod", "acme")
        for name, api in APIS.items():
            bad = {**api.body("Hello"), "contents": 1, "input": 1, "messages": 1}
            rows = [
                (401, "key.unknown", headers(api, "plk_none"), api.body("Hello"), api.path()),
                (401, "key.missing", {}, api.body("Hello"), api.path()),
                (404, "endpoint.unknown", headers(api, key), {}, api.path() + "s"),
                (404, "model.unknown", headers(api, key), api.body("Hello", model="none"),
                 api.path(model="none")),
                (400, "request.syntax", headers(api, key), bad, api.path()),
            ]
            for status, rule, fields, body, path in rows:
                # Before the model is known, Chat Completions speaks as OpenAI does.
                speaks = api if status == 400 or not isinstance(api, Chat) else Chat("x")
                if isinstance(api, Mistral) and status == 400:
                    speaks = Chat("x")
                with self.subTest(name, rule=rule):
                    answer = ask(self.gate.port, "POST", path, fields, encode(body))
                    self.check_refusal(speaks, answer, status, rule)
                    self.assertEqual(answer.headers["x-should-retry"], "false")

    def test_a_model_that_is_not_granted(self):
        key = self.gate.key("narrow", "acme")
        for name, api in APIS.items():
            if name != "xai":
                self.check_refusal(api, generate(self.gate.port, api, key), 404,
                                   "model.not_granted")

    def test_limits_and_their_fields(self):
        key = self.gate.key("tight", "acme")
        self.assertEqual(generate(self.gate.port, APIS["xai"], key).status, 200)
        for name, api in APIS.items():
            with self.subTest(name):
                answer = generate(self.gate.port, api, key)
                code = self.check_refusal(api, answer, 429, "limit.rpm")
                self.assertEqual(code, api.limited)
                self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
                self.assertEqual(answer.headers["x-ratelimit-limit-requests"], "1")
                self.assertEqual(answer.headers["x-ratelimit-remaining-requests"], "0")
                if name == "gemini":
                    detail = answer.json()["error"]["details"][0]
                    self.assertTrue(detail["@type"].endswith("google.rpc.RetryInfo"))
                    self.assertEqual(detail["retryDelay"], answer.headers["retry-after"] + "s")

    def test_two_credentials_are_told_apart_or_refused(self):
        key = self.gate.key("prod", "acme")
        for api in APIS.values():
            same = generate(self.gate.port, api, key, extra={"x-api-key": key})
            self.assertEqual(same.status, 200, same)
            differ = generate(self.gate.port, api, key, extra={"x-api-key": "plk_other"})
            self.check_refusal(api if api.path() != "/v1/chat/completions" else Chat("x"), differ,
                               400, "request.syntax")

    def test_a_key_in_the_query_is_refused_in_every_api(self):
        key = self.gate.key("prod", "acme")
        for name, api in APIS.items():
            with self.subTest(name):
                path = api.path() + f"?key={key}"
                answer = ask(self.gate.port, "POST", path, headers(api, key),
                             encode(api.body("Hello")))
                self.assertEqual(answer.status, 400, answer)
                self.assertNotIn(key, answer.message())

    def test_a_key_in_the_query_is_not_read_and_goes_nowhere(self):
        api, key = APIS["gemini"], self.gate.key("prod", "acme")
        path = api.path() + f"?key={key}"
        answer = ask(self.gate.port, "POST", path, {}, encode(api.body("Hello")))
        self.check_refusal(api, answer, 401, "key.missing")
        self.assertIn("x-goog-api-key", answer.message())
        answer = ask(self.gate.port, "POST", path, headers(api, key), encode(api.body("Hello")))
        self.check_refusal(api, answer, 400, "request.syntax")
        self.assertNotIn(key, answer.message())
        self.assertNotIn(key, self.gate.process.stdout + self.gate.process.stderr)
        for log in ("usage", "evaluation"):
            self.assertNotIn(key, json.dumps(self.gate.records(log)))

    def test_a_gemini_stream_comes_as_events_only(self):
        api, key = APIS["gemini"], self.gate.key("prod", "acme")
        for query in ("", "?alt=json", "?alt=sse&fields=candidates"):
            answer = ask(self.gate.port, "POST",
                         "/v1beta/models/north-g:streamGenerateContent" + query,
                         headers(api, key), encode(api.body("Hello")))
            self.check_refusal(api, answer, 400, "request.syntax")
        self.assertIn("alt", answer.message())

    def test_nothing_kept_at_a_provider_is_named(self):
        key = self.gate.key("prod", "acme")
        rows = [("responses", {"previous_response_id": "resp_1"}), ("responses", {"store": True}),
                ("responses", {"conversation": "conv_1"}), ("responses", {"background": True}),
                ("responses", {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}),
                ("responses", {"input": [{"role": "user", "content": [
                    {"type": "input_file", "file_id": "file-1"}]}]}),
                ("gemini", {"cachedContent": "cachedContents/1"}),
                ("gemini", {"contents": [{"parts": [{"fileData": {"fileUri": "files/1"}}]}]}),
                ("xai", {"messages": [{"role": "user", "content": [
                    {"type": "file", "file": {"file_id": "file-1"}}]}]})]
        for name, members in rows:
            with self.subTest(name, members=members):
                api = APIS[name]
                answer = ask(self.gate.port, "POST", api.path(), headers(api, key),
                             encode({**api.body("Hello"), **members}))
                self.check_refusal(api, answer, 400, "request.syntax")
                if "store" in members:
                    self.assertIn("30 days", api.error(answer.json())[0])
        self.assertEqual(self.upstream.end_and_count(), 0)


class Binding(Gated):
    def test_one_registered_item_is_asked_through_every_api(self):
        prompts = ["What jumps over the dog?", "And who sleeps?"]
        suite = suite_of(prompts, samples=2 * len(APIS))
        self.start(grant_all(evaluation, release="V2"))
        self.gate.apply(grant_all(evaluation, release="V2"), public_suites=public(suite))
        key = self.gate.key("eval", "southlab")
        answer = Client(self.gate.port, key).post("/parley/v1/suites", suite)
        self.assertEqual(answer.status, 201 if answer.status == 201 else 200, answer)
        for name, api in APIS.items():
            with self.subTest(name):
                for stream in (False, True):
                    answer = generate(self.gate.port, api, key, prompts[0], stream, temperature=0)
                    self.assertEqual(answer.status, 200, answer)
                    admit = next(entry for entry in self.gate.records("evaluation")
                                 if entry["id"] == answer.headers["parley-record"])
                    self.assertEqual(admit["leaf"], 0)
                other = generate(self.gate.port, api, key, "Something else", temperature=0)
                self.check_refusal(api, other, 403, "suite.unbound")
                hotter = generate(self.gate.port, api, key, prompts[0], temperature=1)
                self.check_refusal(api, hotter, 403, "suite.settings")
                unknown = ask(self.gate.port, "POST", api.path(), headers(api, key),
                              encode({**api.body(prompts[0], temperature=0), "brandNew": 1}))
                self.check_refusal(api, unknown, 400, "parameter.unknown")

    def test_more_answers_than_one_and_log_probabilities_are_refused(self):
        self.start(grant_all(evaluation, release="V2"))
        key = self.gate.key("eval", "southlab")
        rows = [("gemini", {"candidateCount": 2}, "parameter.n"),
                ("gemini", {"responseLogprobs": True}, "parameter.logprobs"),
                ("responses", {"top_logprobs": 2}, "parameter.logprobs"),
                ("responses", {"include": ["message.output_text.logprobs"]}, "parameter.logprobs"),
                ("mistral", {"n": 2}, "parameter.n"), ("xai", {"logprobs": True}, "parameter.logprobs")]
        for name, members, rule in rows:
            with self.subTest(name, rule=rule):
                self.check_refusal(APIS[name], generate(self.gate.port, APIS[name], key, **members),
                                   400, rule)


class Ends(Gated):
    """Streams that do not end by themselves."""

    def open_all(self, key):
        streams = {}
        for name, api in APIS.items():
            streams[name] = open_stream(self.gate.port, api, key, 2000)
            self.assertEqual(streams[name].status, 200)
            streams[name].read_until(b"data:")
        return streams

    def last_error(self, name, stream):
        event, data = parse_events(stream.received)[-1]
        if name == "responses":
            self.assertEqual(event, "error")
            self.assertEqual(json.loads(data)["type"], "error")
        return APIS[name].error(json.loads(data))

    def test_revocation_ends_each_with_its_own_error(self):
        self.start(grant_all(product), options=("--output-tokens", 2000, "--tokens-per-second", 20))
        streams = self.open_all(self.gate.key("prod", "acme"))
        readers = [threading.Thread(target=stream.rest) for stream in streams.values()]
        for reader in readers:
            reader.start()
        self.gate.act("grant", "revoke", "prod", "--reason", "a test")
        for reader in readers:
            reader.join()
        for name, stream in streams.items():
            with self.subTest(name):
                message, code = self.last_error(name, stream)
                self.assertIn("access was revoked", message)
                self.assertEqual(code, APIS[name].revoked)
                record = self.gate.settled(stream.headers["parley-record"], "usage")
                self.assertEqual(record["ending"], "revoked")
                self.assertGreater(record["usage"]["input"], 0)
        self.assert_quiet(self.gate)

    def test_a_cut_upstream_is_told_as_such(self):
        self.start(grant_all(product), options=("--cut-rate", 1))
        key = self.gate.key("prod", "acme")
        for name, api in APIS.items():
            with self.subTest(name):
                stream = open_stream(self.gate.port, api, key, 64)
                stream.rest()
                message, _ = self.last_error(name, stream)
                self.assertIn("broke off", message)
                record = self.gate.settled(stream.headers["parley-record"], "usage")
                self.assertEqual(record["ending"], "upstream_reset")
                self.assertTrue(record["usage"]["estimated"])
                plain = generate(self.gate.port, api, key)
                self.assertEqual(plain.status, 502, plain)
                api.error(plain.json())
        self.assert_quiet(self.gate)

    def test_a_stream_that_ends_in_order_but_without_its_end_is_cut(self):
        """The connection is closed properly, but no finish reason, no [DONE], no completed event."""
        first = {
            "responses": 'event: response.created\ndata: {"type":"response.created","response":{}}\n\n',
            "gemini": 'data: {"candidates":[{"content":{"parts":[{"text":"A"}]},"index":0}]}\r\n\r\n',
            "mistral": 'data: {"choices":[{"index":0,"delta":{"content":"A"}}]}\n\n',
            "xai": 'data: {"choices":[{"index":0,"delta":{"content":"A"}}]}\n\n'}
        for name, api in APIS.items():
            with self.subTest(name):
                answer, record = self.ask_scripted(name, first[name])
                message, _ = api.error(json.loads(answer.events()[-1][1]))
                self.assertIn("broke off", message)
                self.assertEqual(record["ending"], "upstream_reset")

    def test_usage_after_the_finish_reason_still_counts(self):
        text = ('data: {"candidates":[{"content":{"parts":[{"text":"A"}]},"index":0,"finishReason":'
                '"STOP"}],"usageMetadata":{"promptTokenCount":5}}\r\n\r\n'
                'data: {"usageMetadata":{"promptTokenCount":12,"cachedContentTokenCount":4,'
                '"toolUsePromptTokenCount":3,"candidatesTokenCount":6,"thoughtsTokenCount":7}}\r\n\r\n')
        answer, record = self.ask_scripted("gemini", text)
        self.assertEqual(answer.body.decode(), text)
        self.assertEqual(record["ending"], "finish")
        self.assertEqual(record["usage"], {"input": 11, "cache_read": 4, "cache_write": 0,
                                           "output": 13})

    def test_an_error_in_mid_stream_goes_through_and_counts(self):
        texts = {
            "responses": 'event: response.failed\ndata: {"type":"response.failed","response":{"status":'
                         '"failed","error":{"code":"server_error","message":"m"}}}\n\n',
            "gemini": 'data: {"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}\r\n\r\n',
            "mistral": 'data: {"object":"error","message":"m","type":"t","param":null,"code":"1"}\n\n',
            "xai": 'data: {"error":{"message":"m","type":"t","param":null,"code":null}}\n\n'}
        for name in APIS:
            with self.subTest(name):
                answer, record = self.ask_scripted(name, texts[name])
                self.assertEqual(answer.body.decode(), texts[name])
                self.assertEqual(record["ending"], "upstream_error")

    def ask_scripted(self, name, text):
        """Streams through a gateway whose provider answers with this text."""
        api = APIS[name]
        upstream = Scripted(text)
        self.addCleanup(upstream.close)
        gate = self.gateway(upstream.url, grant_all(product), name=f"scripted-{name}",
                            **configuration(upstream.url))
        answer = generate(gate.port, api, gate.key("prod", "acme"), stream=True)
        self.assertEqual(answer.status, 200, answer)
        wanted = {"gemini": "/v1beta/models/gemini-2026:streamGenerateContent?alt=sse",
                  "responses": "/v1/responses"}.get(name, "/v1/chat/completions")
        self.assertIn(f"POST {wanted} HTTP/1.1\r\n", upstream.request)
        field = "x-goog-api-key: " if name == "gemini" else "authorization: Bearer "
        self.assertIn(f"\r\n{field}upstream-secret\r\n", upstream.request)
        # Mistral tells usage unasked and refuses members it does not know; xAI must be asked.
        self.assertEqual("include_usage" in upstream.request, name == "xai")
        return answer, gate.settled(answer.headers["parley-record"], "usage")


class Scripted:
    """A provider that answers its first request with a stream of this text, and then hangs up."""

    def __init__(self, text):
        self.text, self.request = text, ""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(PATIENCE)
            while not self.complete():
                self.request += connection.recv(65536).decode()
            data = self.text.encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                               b"content-length: %d\r\n\r\n" % len(data) + data)

    def complete(self):
        head, found, body = self.request.partition("\r\n\r\n")
        if not found:
            return False
        size = next(int(line.split(":")[1]) for line in head.split("\r\n")
                    if line.lower().startswith("content-length:"))
        return len(body.encode()) >= size

    def close(self):
        self.listener.close()
        self.thread.join(1)


if __name__ == "__main__":
    main()
