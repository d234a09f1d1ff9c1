"""@mistralai/mistralai against the gateway: what it gets, what it raises, how often it tries."""

from every_dialect import EveryDialect
from sdk_test import need_packages
import sdk_cases
import test_sdk_openai_chat
from parley_test import main
from scripted_upstream import Reply, events, streamed
from test_sdk_openai_chat import TOOL, USAGE, chunk, completion


class Wire(test_sdk_openai_chat.Wire):
    raised = {status: ("SDKError", 1) for status in (400, 404, 413, 429, 500, 502, 503, 504)}
    refused = {status: "SDKError" for status in (400, 401, 403, 404, 413, 429)}
    retries = False

    def body(self, prompt="Hello", max_output=64, model="north-m", **members):
        return {"model": model, "maxTokens": max_output,
                "messages": [{"role": "user", "content": prompt}], **members}

    def usage(self, answer):
        return answer["usage"]["promptTokens"], answer["usage"]["completionTokens"]

    def streamed_text(self, received):
        return super().streamed_text([event["data"] for event in received])

    def check_stream(self, case, received):
        last = received[-1]["data"]
        case.assertEqual(last["choices"][0]["finishReason"], "length")
        case.assertEqual(last["usage"]["completionTokens"], 64)

    def error(self, status, text):
        return {"object": "error", "message": text, "type": "error", "param": None,
                "code": str(status)}

    def tool_call(self, answer):
        call, = answer["choices"][0]["message"]["toolCalls"]
        return call["function"]["name"], sdk_cases.parsed(call["function"]["arguments"])

    def streamed_tool_call(self, received):
        calls = [call for event in received for choice in event["data"]["choices"]
                 for call in choice["delta"].get("toolCalls") or []]
        return (calls[0]["function"]["name"],
                sdk_cases.parsed("".join(call["function"]["arguments"] for call in calls)))

    def tool_stream(self):
        """The provider sends a call whole."""
        call = {"index": 0, "id": "call_01", "function": {
            "name": "get_weather", "arguments": '{"city": "Paris", "days": 2}'}}
        last = chunk({"content": "", "tool_calls": [call]}, "tool_calls", USAGE)
        return streamed(self.stream_start("") + events(last, "[DONE]"))

    def stream_start(self, text):
        first = chunk({"role": "assistant", "content": text})
        del first["usage"]  # null would be an error to this SDK
        return events(first)

    def tool_result_body(self, answer, result):
        body = self.tool_body("plain-weather")
        body["messages"] += [answer["choices"][0]["message"],
                             {"role": "tool", "toolCallId": "call_01", "name": "get_weather",
                              "content": result}]
        return body

    def text_reply(self, text):
        return Reply(200, completion({"content": text}))

    def tool_body(self, prompt):
        return self.body(prompt, tools=[TOOL])

    def names_record(self, failure):
        return True  # the id stands in the head that this SDK keeps beside the error


class Mistral(EveryDialect):
    sdk_name = "mistral"
    sim_options = ("--chat", "mistral")
    wire = Wire()


class MistralAnswers(sdk_cases.Answers, Mistral):
    test_list_of_models = None  # the SDK finds no name in the list, which is OpenAI's


class MistralRefusals(sdk_cases.Refusals, Mistral):
    def test_a_parameter_of_the_wrong_kind(self):
        """The SDK itself refuses to send it."""
        failure = self.start(self.client, "plain",
                             body={**self.wire.body(), "maxTokens": "many"}).failure()
        self.assertEqual(failure.kind, "SDKValidationError", failure)


class MistralErrors(Mistral):
    """Errors before an answer have the gateway's sentence; the SDK cannot read those in a stream."""

    ready = sdk_cases.ProviderErrors.ready
    ask = sdk_cases.ProviderErrors.ask
    limited = sdk_cases.Limits.limited
    refusals = sdk_cases.Limits.refusals
    test_each_status = sdk_cases.ProviderErrors.test_each_status_of_the_provider
    test_recovers = sdk_cases.ProviderErrors.test_a_provider_that_recovers
    test_cut_plain = sdk_cases.ProviderErrors.test_a_plain_answer_that_breaks_off
    test_requests_a_minute = sdk_cases.Limits.test_requests_a_minute_are_waited_for
    test_days_tokens = sdk_cases.Limits.test_the_days_tokens_are_not_tried_again

    def assert_cut(self, call):
        self.assertEqual(call.failure().kind, "ZodError")
        self.assertEqual(self.gate.metric("parley_requests_total"), 1)
        self.assert_quiet(self.gate)

    def test_a_stream_that_breaks_off(self):
        self.ready()
        self.upstream.say("cut-stream", streamed(self.wire.stream_start("One "), cut=True))
        call = self.ask("cut-stream", "stream")
        self.assert_cut(call)
        self.assertEqual(self.wire.streamed_text(call.events), "One ")

    def test_a_limit_reached_in_a_stream(self):
        self.limited("--output-tokens", sdk_cases.LONG, output_tpm=1500)
        self.assert_cut(self.start(self.client, "stream",
                                   body=self.wire.body(max_output=sdk_cases.LONG)))

    def test_a_revoked_grant(self):
        self.limited("--output-tokens", sdk_cases.LONG, "--tokens-per-second", 20)
        call = self.start(self.client, "stream", body=self.wire.body(max_output=sdk_cases.LONG))
        self.assertIsNotNone(call.step(), call.end)
        self.gate.act("grant", "revoke", "prod", "--reason", "a test")
        self.assert_cut(call)


if __name__ == "__main__":
    need_packages()
    main()
