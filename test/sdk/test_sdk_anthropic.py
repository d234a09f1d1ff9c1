"""@anthropic-ai/sdk against the gateway: what it gets, what it raises, how often it tries."""

from sdk_test import SdkCase, need_packages
import sdk_cases
from parley_test import main, product
from scripted_upstream import Reply, events, streamed

TOOL = {"name": "get_weather", "description": "The weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"},
                                                          "days": {"type": "integer"}}}}
USAGE = {"input_tokens": 50, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
         "output_tokens": 20}


def message(content, stop_reason="end_turn", usage=None):
    return {"id": "msg_01", "type": "message", "role": "assistant", "model": "north-1-20261001",
            "content": content, "stop_reason": stop_reason, "stop_sequence": None,
            "usage": usage or USAGE}


class Wire(sdk_cases.Wire):
    listed = ["north-1", "north-o"]
    raised = {
        400: ("BadRequestError", 1), 404: ("NotFoundError", 1), 413: ("ContentTooLargeError", 1),
        429: ("RateLimitError", 3), 500: ("InternalServerError", 3),
        502: ("InternalServerError", 3), 503: ("ServiceUnavailableError", 3),
        504: ("GatewayTimeoutError", 3), 529: ("OverloadedError", 3),
    }
    refused = {
        400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError",
        404: "NotFoundError", 413: "ContentTooLargeError", 429: "RateLimitError",
    }
    in_stream = "APIError"

    def body(self, prompt="Hello", max_output=64, model="north-1", **members):
        return {"model": model, "max_tokens": max_output,
                "messages": [{"role": "user", "content": prompt}], **members}

    def wrong_parameter(self):
        return {**self.body(), "max_tokens": "many"}

    def text(self, answer):
        return "".join(block["text"] for block in answer["content"] if block["type"] == "text")

    def streamed_text(self, received):
        return "".join(event["delta"]["text"] for event in received
                       if event["type"] == "content_block_delta")

    def usage(self, answer):
        return answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]

    def check_stream(self, case, received):
        kinds = [event["type"] for event in received]
        deltas = kinds.count("content_block_delta")
        case.assertEqual(kinds, ["message_start", "content_block_start",
                                 *["content_block_delta"] * deltas, "content_block_stop",
                                 "message_delta", "message_stop"])
        case.assertEqual(received[-2]["usage"]["output_tokens"], 64)
        case.assertEqual(received[-2]["delta"]["stop_reason"], "max_tokens")

    def error(self, status, text):
        return {"type": "error", "error": {"type": "api_error", "message": text}}

    def error_event(self, text):
        return events({"type": "error", "error": {"type": "overloaded_error", "message": text}},
                      named=True)

    def stream_start(self, text):
        return events({"type": "message_start", "message": message([], None)},
                      {"type": "content_block_start", "index": 0,
                       "content_block": {"type": "text", "text": ""}},
                      {"type": "ping"},
                      {"type": "content_block_delta", "index": 0,
                       "delta": {"type": "text_delta", "text": text}}, named=True)

    def text_reply(self, text):
        return Reply(200, message([{"type": "text", "text": text}]))

    # -- tool use --

    def tool_body(self, prompt):
        return self.body(prompt, tools=[TOOL])

    def tool_reply(self):
        return Reply(200, message([
            {"type": "text", "text": "I will look it up."},
            {"type": "tool_use", "id": "toolu_01", "name": "get_weather",
             "input": {"city": "Paris", "days": 2}}], "tool_use"))

    def tool_stream(self):
        pieces = ["", '{"city"', ': "Par', 'is", "da', 'ys": 2}']
        return streamed(events(
            {"type": "message_start", "message": message([], None, {**USAGE, "output_tokens": 1})},
            {"type": "content_block_start", "index": 0,
             "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0,
             "delta": {"type": "text_delta", "text": "I will look it up."}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {
                "type": "tool_use", "id": "toolu_01", "name": "get_weather", "input": {}}},
            *[{"type": "content_block_delta", "index": 1,
               "delta": {"type": "input_json_delta", "partial_json": piece}} for piece in pieces],
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
             "usage": {"output_tokens": 20}},
            {"type": "message_stop"}, named=True))

    def tool_call(self, answer):
        block, = [block for block in answer["content"] if block["type"] == "tool_use"]
        return block["name"], block["input"]

    def streamed_tool_call(self, received):
        start, = [event["content_block"] for event in received
                  if event["type"] == "content_block_start" and event["index"] == 1]
        text = "".join(event["delta"]["partial_json"] for event in received
                       if event["type"] == "content_block_delta" and event["index"] == 1)
        return start["name"], sdk_cases.parsed(text)

    def tool_result_body(self, answer, result):
        body = self.tool_body("plain-weather")
        body["messages"] += [
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01",
                                          "content": result}]}]
        return body

    # -- what the gateway says by itself --

    def names_record(self, failure):
        return failure.request_id == failure.body["request_id"]

    def check_limit_error(self, case, failure):
        case.assertEqual(failure.type, "rate_limit_error")

    def check_revocation_error(self, case, failure):
        case.assertEqual(failure.type, "permission_error")


class Anthropic(SdkCase):
    sdk_name = "anthropic"
    wire = Wire()


class AnthropicAnswers(sdk_cases.Answers, Anthropic):
    def test_count_of_tokens(self):
        self.ready()
        counted = self.start(self.client, "count", body={
            "model": "north-1", "messages": [{"role": "user", "content": "x" * 400}]}).value()
        self.assertGreaterEqual(counted["input_tokens"], 100)
        self.assertLess(counted["input_tokens"], 200)

    def test_beta_names_reach_the_provider(self):
        upstream = self.scripted()
        upstream.say("beta-names", self.wire.text_reply("Yes."))
        client = self.gateway(upstream.url, product()).client("prod", "acme")
        self.start(client, "plain", body=self.wire.body("beta-names"),
                   headers={"anthropic-beta": "one-2026-01-01,two-2026-02-02"}).value()
        (path, fields, _), = upstream.requests["beta-names"]
        self.assertEqual(path, "/v1/messages")
        self.assertEqual(fields["anthropic-beta"], "one-2026-01-01,two-2026-02-02")
        self.assertRegex(fields["anthropic-version"], r"^20\d\d-\d\d-\d\d$")
        self.assertEqual(fields["x-api-key"], "upstream-secret")
        self.assertFalse([name for name in fields if name.startswith("x-stainless")])


class AnthropicProviderErrors(sdk_cases.ProviderErrors, Anthropic):
    pass


class AnthropicEvaluations(sdk_cases.Evaluations, Anthropic):
    pass


class AnthropicRefusals(sdk_cases.Refusals, Anthropic):
    pass


class AnthropicLimits(sdk_cases.Limits, Anthropic):
    pass


class AnthropicRevocation(sdk_cases.Revocation, Anthropic):
    pass


if __name__ == "__main__":
    need_packages()
    main()
