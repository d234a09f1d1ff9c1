"""openai (Chat Completions) against the gateway: what it gets, what it raises, how often it tries."""

from sdk_test import SdkCase, need_packages
import sdk_cases
from parley_test import main
from scripted_upstream import Reply, events, streamed

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"},
                                                    "days": {"type": "integer"}}}}}
USAGE = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}


def completion(message, finish="stop"):
    return {"id": "chatcmpl-01", "object": "chat.completion", "created": 1790000000,
            "model": "north-o", "choices": [
                {"index": 0, "message": {"role": "assistant", "refusal": None, **message},
                 "logprobs": None, "finish_reason": finish}], "usage": USAGE}


def chunk(delta=None, finish=None, usage=None):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None,
                                         "finish_reason": finish}]
    return {"id": "chatcmpl-01", "object": "chat.completion.chunk", "created": 1790000000,
            "model": "north-o", "choices": choices, "usage": usage}


class Wire(sdk_cases.Wire):
    listed = ["north-1", "north-o"]
    raised = {
        400: ("BadRequestError", 1), 404: ("NotFoundError", 1), 413: ("APIError", 1),
        422: ("UnprocessableEntityError", 1), 429: ("RateLimitError", 3),
        500: ("InternalServerError", 3), 502: ("InternalServerError", 3),
        503: ("InternalServerError", 3), 504: ("InternalServerError", 3),
    }
    refused = {
        400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError",
        404: "NotFoundError", 413: "APIError", 429: "RateLimitError",
    }
    in_stream = "APIError"

    def body(self, prompt="Hello", max_output=64, model="north-o", **members):
        return {"model": model, "max_completion_tokens": max_output,
                "messages": [{"role": "user", "content": prompt}], **members}

    def asking_usage(self):
        return self.body(stream_options={"include_usage": True})

    def wrong_parameter(self):
        return {**self.body(), "max_completion_tokens": "many"}

    def text(self, answer):
        return answer["choices"][0]["message"]["content"]

    def streamed_text(self, received):
        return "".join(choice["delta"].get("content") or ""
                       for event in received for choice in event["choices"])

    def usage(self, answer):
        return answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]

    def check_stream(self, case, received):
        case.assertEqual({event["object"] for event in received}, {"chat.completion.chunk"})
        case.assertEqual([len(event["choices"]) for event in received], [1] * len(received),
                         "the usage chunk that nobody asked for came through")
        case.assertEqual(received[0]["choices"][0]["delta"]["role"], "assistant")
        case.assertEqual(received[-1]["choices"][0]["finish_reason"], "length")

    def error(self, status, text):
        return {"error": {"message": text, "type": "server_error", "param": None, "code": None}}

    def error_event(self, text):
        return events(self.error(500, text))

    def stream_start(self, text):
        return events(chunk({"role": "assistant", "content": ""}), chunk({"content": text}))

    def text_reply(self, text):
        return Reply(200, completion({"content": text}))

    # -- tool use --

    def tool_body(self, prompt):
        return self.body(prompt, tools=[TOOL])

    def tool_reply(self):
        return Reply(200, completion({"content": None, "tool_calls": [
            {"id": "call_01", "type": "function", "function": {
                "name": "get_weather", "arguments": '{"city": "Paris", "days": 2}'}}]},
            "tool_calls"))

    def tool_stream(self):
        def call(**members):
            return chunk({"tool_calls": [{"index": 0, **members}]})

        pieces = ['{"ci', 'ty": "Paris', '", "days"', ": 2}"]
        return streamed(events(
            chunk({"role": "assistant", "content": None}),
            call(id="call_01", type="function",
                 function={"name": "get_weather", "arguments": ""}),
            *[call(function={"arguments": piece}) for piece in pieces],
            chunk({}, "tool_calls"), chunk(usage=USAGE), "[DONE]"))

    def tool_call(self, answer):
        call, = answer["choices"][0]["message"]["tool_calls"]
        return call["function"]["name"], sdk_cases.parsed(call["function"]["arguments"])

    def streamed_tool_call(self, received):
        calls = [call for event in received for choice in event["choices"]
                 for call in choice["delta"].get("tool_calls", [])]
        return (calls[0]["function"]["name"],
                sdk_cases.parsed("".join(call["function"]["arguments"] for call in calls)))

    def tool_result_body(self, answer, result):
        body = self.tool_body("plain-weather")
        body["messages"] += [answer["choices"][0]["message"],
                             {"role": "tool", "tool_call_id": "call_01", "content": result}]
        return body

    # -- what the gateway says by itself --

    def names_record(self, failure):
        return len(failure.request_id or "") == 32

    def check_limit_error(self, case, failure):
        case.assertEqual(failure.code, "rate_limit_exceeded")

    def check_revocation_error(self, case, failure):
        case.assertEqual(failure.code, "grant_revoked")


class Chat(SdkCase):
    sdk_name = "openai_chat"
    wire = Wire()


class ChatAnswers(sdk_cases.Answers, Chat):
    def test_usage_that_was_asked_for(self):
        self.ready()
        call = self.start(self.client, "stream", body=self.wire.asking_usage())
        call.value()
        self.assertEqual(call.events[-1]["choices"], [])
        self.assertEqual(call.events[-1]["usage"]["completion_tokens"], 64)


class ChatProviderErrors(sdk_cases.ProviderErrors, Chat):
    pass


class ChatEvaluations(sdk_cases.Evaluations, Chat):
    pass


class ChatRefusals(sdk_cases.Refusals, Chat):
    pass


class ChatLimits(sdk_cases.Limits, Chat):
    pass


class ChatRevocation(sdk_cases.Revocation, Chat):
    pass


if __name__ == "__main__":
    need_packages()
    main()
