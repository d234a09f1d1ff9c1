"""Release V1: the final answer alone leaves, as a body and as a stream, in every dialect."""

import hashlib
import json

import test_dialects
from parley_test import Case, Client, ask, encode, evaluation, main, parse_events, public, suite_of
from raw_upstream import RawUpstream

SECRET = "QUOKKA-reasons"
PROMPT = "What jumps over the dog?"

# Of each API: dialect of the provider, path, request, how reasoning and text stand in bodies and
# streams, and how a client reads the text of either.
MESSAGES = [("message_start", {"type": "message_start", "message": {
    "id": "m", "type": "message", "role": "assistant", "model": "n", "content": [],
    "usage": {"input_tokens": 9, "output_tokens": 1}}}),
    ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {
        "type": "thinking", "thinking": "", "signature": ""}}),
    ("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {
        "type": "thinking_delta", "thinking": SECRET}}),
    ("content_block_stop", {"type": "content_block_stop", "index": 0}),
    ("content_block_start", {"type": "content_block_start", "index": 1, "content_block": {
        "type": "text", "text": ""}}),
    ("content_block_delta", {"type": "content_block_delta", "index": 1, "delta": {
        "type": "text_delta", "text": "A fox."}}),
    ("content_block_stop", {"type": "content_block_stop", "index": 1}),
    ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
                       "usage": {"output_tokens": 20}}),
    ("message_stop", {"type": "message_stop"})]
CHAT = [(None, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        (None, {"choices": [{"index": 0, "delta": {"reasoning_content": SECRET}}]}),
        (None, {"choices": [{"index": 0, "delta": {"content": "A fox."},
                             "logprobs": {"content": [{"token": SECRET}]}}]}),
        (None, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        (None, {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 20}}),
        (None, "[DONE]")]
NAMED = {"id": "c", "object": "chat.completion", "created": 1, "model": "n"}
MISTRAL = [(None, {**NAMED, "choices": [{"index": 0, "finish_reason": None, "delta": {
    "role": "assistant", "content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": SECRET}]}]}}]}),
    (None, {**NAMED, "choices": [{"index": 0, "delta": {
        "content": [{"type": "text", "text": "A fox."}]}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29}}),
    (None, "[DONE]")]
RESPONSE = {"id": "r", "status": "completed", "model": "n", "output": [
    {"type": "reasoning", "id": "x", "summary": [{"type": "summary_text", "text": SECRET}]},
    {"type": "message", "id": "y", "role": "assistant", "status": "completed", "content": [
        {"type": "output_text", "text": "A fox.", "annotations": [],
         "logprobs": [{"token": SECRET}]}]}],
    "usage": {"input_tokens": 9, "output_tokens": 20}}
RESPONSES = [(row["type"], row) for row in [
    {"type": "response.created", "sequence_number": 0,
     "response": {"id": "r", "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
     "item": {"type": "reasoning", "id": "x", "summary": []}},
    {"type": "response.reasoning_summary_text.delta", "sequence_number": 2, "output_index": 0,
     "delta": SECRET},
    {"type": "response.output_item.added", "sequence_number": 3, "output_index": 1,
     "item": {"type": "message", "id": "y", "content": []}},
    {"type": "response.content_part.added", "sequence_number": 4, "output_index": 1,
     "content_index": 0, "item_id": "y",
     "part": {"type": "output_text", "text": "", "annotations": []}},
    {"type": "response.output_text.delta", "sequence_number": 5, "output_index": 1,
     "content_index": 0, "item_id": "y", "delta": "A fox.", "logprobs": []},
    {"type": "response.completed", "sequence_number": 6, "response": RESPONSE}]]
GEMINI = [(None, {"candidates": [{"content": {"role": "model", "parts": [
    {"text": SECRET, "thought": True}]}}]}),
    (None, {"candidates": [{"content": {"role": "model", "parts": [
        {"text": "A fox.", "thoughtSignature": SECRET}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 12,
                          "thoughtsTokenCount": 8}})]

APIS = {
    "anthropic": ("/v1/messages", {"max_tokens": 64}, MESSAGES, {
        "id": "m", "type": "message", "role": "assistant", "model": "n", "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": SECRET, "signature": SECRET},
                    {"type": "text", "text": "A fox."}],
        "usage": {"input_tokens": 9, "output_tokens": 20}}),
    "openai": ("/v1/chat/completions", {"max_completion_tokens": 64}, CHAT, {
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": {"content": [SECRET]},
                     "message": {"role": "assistant", "content": "A fox.", "reasoning": SECRET}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 20}}),
    "responses": ("/v1/responses", {"max_output_tokens": 64}, RESPONSES, RESPONSE),
    "gemini": (None, {}, GEMINI, {
        "candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": SECRET, "thought": True}, {"text": "A fox."}]}}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 12,
                          "thoughtsTokenCount": 8}}),
    "mistral": ("/v1/chat/completions", {"max_tokens": 64}, MISTRAL, {
        **NAMED, "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": SECRET}]},
                {"type": "text", "text": "A fox."}]}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29}}),
    "xai": ("/v1/chat/completions", {"max_completion_tokens": 64}, CHAT, {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": "A fox.", "reasoning_content": SECRET}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 20}}),
}
PROVIDERS = {"responses": "openai"}


def events_text(events):
    return "".join((f"event: {name}\n" if name else "") + "data: " +
                   (data if isinstance(data, str) else json.dumps(data)) + "\n\n"
                   for name, data in events)


def texts(value):
    """Every text of an answer or event, wherever it stands."""
    if isinstance(value, dict):
        return [text for key, inner in value.items()
                for text in ([inner] if isinstance(inner, str) else texts(inner))]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else []


class Provider(Case):
    """A gateway at V1 in front of a provider whose answers reason."""

    def setUp(self):
        super().setUp()
        self.suite = suite_of([PROMPT], samples=40)
        self.suite["settings"].pop("temperature")
        self.sent = []
        self.upstream = RawUpstream(self.answer)
        models = [{"name": f"m-{name}", "provider": name, "max_output": 8192} for name in APIS]
        providers = [{"name": name, "dialect": PROVIDERS.get(name, name), "url": self.upstream.url,
                      "key": "upstream-secret"} for name in APIS]
        self.gate = self.gateway(
            self.upstream.url, evaluation(release="V1", models=[m["name"] for m in models], suites={
                "classes": ["public"], "max_leaves": 5000, "samples_per_leaf": 64}),
            public_suites=public(self.suite), models=models, providers=providers)
        self.client = self.gate.client("eval", "southlab")
        registered = self.client.post("/parley/v1/suites", self.suite)
        self.assertEqual(registered.status, 200, registered)
        opened = self.client.post("/parley/v1/runs", {"suite": registered.json()["suite"],
                                                      "samples": 40})
        self.assertEqual(opened.status, 200, opened)

    tail = ""  # of streams

    def answer(self, call):
        path = call.head.split(" ")[1]
        api = next(name for name, row in APIS.items()
                   if f"m-{name}" in path or f'"m-{name}"' in call.body.decode())
        _, _, events, body = APIS[api]
        stream = call.body.replace(b" ", b"").find(b'"stream":true') >= 0 or "stream" in path
        text = (events_text(events) + self.tail if stream else json.dumps(body)).encode()
        self.sent.append(text)
        kind = "text/event-stream" if stream else "application/json"
        call.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(text)}\r\n\r\n")
        if not stream:
            call.send(text)
            return True
        for at in range(0, len(text), 11):
            call.send(text[at:at + 11])
        return True


class Final(Provider):
    def ask(self, api, stream=False):
        path, members, _, _ = APIS[api]
        credential = {"authorization": f"Bearer {self.client.key}", "content-type": "application/json",
                      "x-api-key": self.client.key}
        if api == "gemini":
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            path = f"/v1beta/models/m-gemini:{verb}"
            body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}],
                    "generationConfig": {"maxOutputTokens": 64}}
        elif api == "responses":
            body = {"model": "m-responses", "input": PROMPT, **members}
        else:
            body = {"model": f"m-{api}", "messages": [{"role": "user", "content": PROMPT}], **members}
        if stream and api != "gemini":
            body["stream"] = True
        return ask(self.gate.port, "POST", path, credential, encode(body))

    def check(self, api, answer, value):
        self.assertEqual(answer.status, 200, answer)
        self.assertNotIn(SECRET.encode(), answer.body)
        self.assertIn("A fox.", texts(value))
        settle = self.gate.settled(answer.headers["parley-record"])
        nonce = bytes.fromhex(answer.headers["parley-nonce"])
        # What was let out, and what the provider sent.
        self.assertEqual(settle["response"], hashlib.sha256(nonce + answer.body).hexdigest())
        self.assertEqual(settle["upstream"], hashlib.sha256(nonce + self.sent[-1]).hexdigest())
        self.assertNotEqual(settle["response"], settle["upstream"])
        self.assertEqual(settle["usage"]["output"], 20)
        return settle["answer"]

    def test_bodies_and_streams_of_every_api(self):
        for api in APIS:
            with self.subTest(api):
                plain = self.ask(api)
                first = self.check(api, plain, plain.json())
                stream = self.ask(api, stream=True)
                events = [json.loads(data) for _, data in stream.events() if data != "[DONE]"]
                second = self.check(api, stream, events)
                self.assertNotEqual(first, second)  # nonces differ
                indices = [e["index"] for e in events if "index" in e]
                indices += [e["output_index"] for e in events if "output_index" in e]
                self.assertLessEqual(set(indices), {0})
                numbers = [e["sequence_number"] for e in events if "sequence_number" in e]
                self.assertEqual(numbers, list(range(len(numbers))))

    def test_what_may_follow_the_end_breaks_nothing(self):
        self.tail = "data: [DONE]\n\n: bye\n\n"
        for api in APIS:
            if api == "gemini":  # whose end the connection's end tells
                continue
            with self.subTest(api):
                stream = self.ask(api, stream=True)
                events = [json.loads(data) for _, data in stream.events() if data != "[DONE]"]
                self.check(api, stream, events)
                self.assertTrue(stream.body.endswith(b"data: [DONE]\n\n"))

    def test_a_request_says_how_long_its_answer_may_be(self):
        path, _, _, _ = APIS["openai"]
        body = {"model": "m-openai", "messages": [{"role": "user", "content": PROMPT}]}
        refused = self.client.ask("openai", body)
        self.assert_refused(refused, 403, "release.level", "openai")
        self.assertIn("at most 64 tokens", refused.message())
        self.assertEqual(self.sent, [])

    def test_what_cannot_be_read_does_not_leave(self):
        broken = events_text([(None, {"choices": [{"index": 0, "delta": {
            "role": "assistant", "content": "A"}}]})]) + f"data: {SECRET}\n\n"

        def answer(call):
            call.send(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                      f"content-length: {len(broken)}\r\n\r\n{broken}")
            return True

        self.upstream.handler = answer
        got = self.ask("openai", stream=True)
        self.assertNotIn(SECRET.encode(), got.body)
        self.assertIn(b'"error"', got.body)
        self.assertEqual(self.gate.settled(got.headers["parley-record"])["ending"],
                         "upstream_error")


class TooLong(Case):
    """A provider that pays no heed to what was asked for at most: nothing beyond it leaves."""

    WORDS = "word " * 40

    def chunks(self):
        base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "n"}
        for _ in range(200):
            yield {**base, "choices": [{"index": 0, "delta": {"content": self.WORDS},
                                        "finish_reason": None}]}
        yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield {**base, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 8000}}

    def answer(self, call):
        if json.loads(call.body).get("stream"):
            kind, body = "text/event-stream", events_text(
                [(None, chunk) for chunk in self.chunks()] + [(None, "[DONE]")])
        else:
            kind, body = "application/json", json.dumps({
                "id": "c", "object": "chat.completion", "created": 1, "model": "n",
                "choices": [{"index": 0, "finish_reason": "stop", "message": {
                    "role": "assistant", "content": self.WORDS * 200}}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 8000}})
        call.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n"
                  f"content-length: {len(body)}\r\n\r\n{body}")
        return True

    def test_the_rest_stays_here(self):
        suite = suite_of([PROMPT], samples=5)
        gate = self.gateway(RawUpstream(self.answer).url, evaluation(release="V1"),
                            public_suites=public(suite))
        client = gate.client("eval", "southlab")
        registered = client.post("/parley/v1/suites", suite).json()["suite"]
        client.post("/parley/v1/runs", {"suite": registered, "samples": 5})
        for stream in (False, True):
            got = client.chat(PROMPT, temperature=0, stream=stream)
            self.assertIn("longer than what was asked for", got.body.decode())
            # 64 tokens are at most 1,280 bytes of text.
            self.assertLessEqual(got.body.count(b"word"), 256)
            settle = gate.settled(got.headers["parley-record"])
            self.assertEqual(settle["ending"], "upstream_error")
            self.assertGreaterEqual(settle["usage"]["output"], 64)
        self.assert_quiet(gate)


class Messages(test_dialects.Chat):
    """Anthropic's API, as test_dialects has the others'."""

    most, credential = "max_tokens", "x-api-key"

    def path(self, stream=False, model=None):
        return "/v1/messages"

    def text(self, value):
        return "".join(block["text"] for block in value["content"] if block["type"] == "text")

    def streamed(self, events):
        deltas = (json.loads(data).get("delta", {}) for _, data in events)
        return "".join(delta["text"] for delta in deltas if delta.get("type") == "text_delta")


def said(content):
    """Mistral's content of a model that thinks is a list of parts."""
    return content if isinstance(content, str) else "".join(
        part["text"] for part in content if part["type"] == "text")


class Magistral(test_dialects.Mistral):
    def text(self, value):
        return said(super().text(value))

    def streamed(self, events):
        return "".join(said(choice["delta"].get("content", ""))
                       for _, data in events if data != "[DONE]"
                       for choice in json.loads(data)["choices"])


class Simulated(Case):
    """The same through the stand-in, which reasons where its persona does: one request under V1 and
    under V2, in every dialect."""

    REASONS = f"{SECRET}: foxes jump, dogs are lazy."
    APIS = {"anthropic": Messages("north-a"), "openai": test_dialects.Chat("north-o"),
            **test_dialects.APIS, "mistral": Magistral("north-m")}

    def setUp(self):
        super().setUp()
        persona = self.directory / "persona.jsonl"
        persona.write_text(json.dumps({"prompt": PROMPT, "answers": ["A fox."],
                                       "reasoning": self.REASONS}) + "\n")
        url = self.sim("--persona", persona).url
        mistral = self.sim("--persona", persona, "--chat", "mistral").url
        dialects = {"responses": "openai"}
        config = {
            "providers": [{"name": name, "dialect": dialects.get(name, name), "key": "k",
                           "url": mistral if name == "mistral" else url} for name in self.APIS],
            "models": [{"name": api.model, "provider": name, "upstream": f"{name}-2026",
                        "max_output": 8192} for name, api in self.APIS.items()]}
        suite = suite_of([PROMPT], samples=2)
        members = {"models": [api.model for api in self.APIS.values()], "suites": {
            "classes": ["public"], "max_leaves": 5000, "samples_per_leaf": 20}}
        self.gate = self.gateway(url, evaluation("V1", release="V1", **members),
                                 evaluation("V2", release="V2", **members),
                                 public_suites=public(suite), **config)
        self.keys = {}
        for release in ("V1", "V2"):
            client = self.gate.client(release, "southlab")
            registered = client.post("/parley/v1/suites", suite)
            self.assertEqual(registered.status, 200, registered)
            opened = client.post("/parley/v1/runs", {"suite": registered.json()["suite"]})
            self.assertEqual(opened.status, 200, opened)
            self.keys[release] = client.key

    def ask(self, api, release, stream):
        members = {} if isinstance(api, test_dialects.Gemini) else {"temperature": 0}
        answer = test_dialects.generate(self.gate.port, api, self.keys[release], PROMPT,
                                        stream=stream, **members)
        self.assertEqual(answer.status, 200, answer)
        self.assertIn("simulated", answer.headers["x-parley-simulated"])
        if release == "V1":
            text = api.streamed(answer.events()) if stream else api.text(answer.json())
            self.assertEqual(text, "A fox.")
        return answer

    def test_reasoning_goes_and_the_answer_stays(self):
        for name, api in self.APIS.items():
            for stream in (False, True):
                with self.subTest(name, stream=stream):
                    full, final = (self.ask(api, release, stream) for release in ("V2", "V1"))
                    self.assertIn(SECRET.encode(), full.body)
                    self.assertIn(b"fox", full.body)
                    self.assertNotIn(SECRET.encode(), final.body)
                    self.assertNotIn(b"-0.25", final.body)  # no log-probability either
                    if name in ("openai", "responses", "xai"):
                        self.assertIn(b"-0.25", full.body)
                    # Both are billed for all of it.
                    used = [self.gate.settled(answer.headers["parley-record"])["usage"]["output"]
                            for answer in (full, final)]
                    self.assertEqual(used, [2 + (len(self.REASONS) + 3) // 4] * 2)


class Everything(Case):
    """Release V3: log-probabilities and all, for the staff that the grant names."""

    def test_log_probabilities_are_for_named_staff(self):
        def answer(call):
            self.asked.append(json.loads(call.body))
            text = json.dumps(APIS["openai"][3])
            call.send(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                      f"content-length: {len(text)}\r\n\r\n{text}")
            return True

        self.asked = []
        suite = suite_of([PROMPT], samples=9)
        suite["settings"] = {"max_output": 64, "logprobs": True}
        members = {"release": "V3", "suites": {
            "classes": ["public"], "max_leaves": 5000, "samples_per_leaf": 9}}
        gate = self.gateway(RawUpstream(answer).url, evaluation(**members),
                            public_suites=public(suite))
        keys = [gate.key("eval", "southlab")]
        (named,) = [row["id"] for row in json.loads(
            gate.act("key", "list", "--json"))["keys"]]
        gate.apply(evaluation(staff=[named], **members), public_suites=public(suite))
        keys.append(gate.key("eval", "southlab"))
        staff, other = (Client(gate.port, key) for key in keys)
        registered = staff.post("/parley/v1/suites", suite)
        self.assertEqual(registered.status, 200, registered)
        self.assertEqual(staff.post("/parley/v1/runs", {
            "suite": registered.json()["suite"], "samples": 9}).status, 200)
        got = staff.chat(PROMPT, logprobs=True)
        self.assertEqual(got.status, 200, got)
        self.assertIn(SECRET.encode(), got.body)
        self.assertTrue(self.asked[0]["logprobs"])
        self.assert_refused(other.chat(PROMPT, logprobs=True), 400, "parameter.logprobs", "openai")
        self.assertEqual(len(self.asked), 1)


if __name__ == "__main__":
    main()
