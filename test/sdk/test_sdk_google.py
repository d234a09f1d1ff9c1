"""@google/genai against the gateway: what it gets, what it raises, how often it tries."""

from every_dialect import EveryDialect
from sdk_test import need_packages
import sdk_cases
from parley_test import main
from scripted_upstream import Reply, events, streamed

TOOL = {"functionDeclarations": [{
    "name": "get_weather", "description": "The weather of a city.",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"},
                                                    "days": {"type": "INTEGER"}}}}]}
CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Paris", "days": 2}}}
STATUS = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
          503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


def answer_of(*parts, finish="STOP"):
    value = {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0}],
             "modelVersion": "gemini-2026"}
    if finish:
        value["candidates"][0]["finishReason"] = finish
        value["usageMetadata"] = {"promptTokenCount": 50, "candidatesTokenCount": 20,
                                  "totalTokenCount": 70}
    return value


def parts_of(answer):
    return answer["candidates"][0].get("content", {}).get("parts", [])


class Wire(sdk_cases.Wire):
    listed = ["north-g"]
    raised = {status: ("ApiError", 1) for status in (400, 404, 413, 429, 500, 502, 503, 504)}
    refused = {status: "ApiError" for status in (400, 401, 403, 404, 413, 429)}
    in_stream = "ApiError"
    retries = False

    def body(self, prompt="Hello", max_output=64, model="north-g", **config):
        return {"model": model, "contents": prompt,
                "config": {"maxOutputTokens": max_output, **config}}

    def wrong_parameter(self):
        return self.body(max_output="many")

    def text(self, answer):
        return "".join(part.get("text", "") for part in parts_of(answer))

    def streamed_text(self, received):
        return "".join(self.text(chunk) for chunk in received)

    def usage(self, answer):
        usage = answer["usageMetadata"]
        return usage["promptTokenCount"], usage["candidatesTokenCount"]

    def check_stream(self, case, received):
        case.assertEqual(received[-1]["candidates"][0]["finishReason"], "MAX_TOKENS")
        case.assertEqual(received[-1]["usageMetadata"]["candidatesTokenCount"], 64)

    def error(self, status, text):
        return {"error": {"code": status, "message": text, "status": STATUS.get(status, "INTERNAL")}}

    def error_event(self, text):
        return events(self.error(503, text))

    def stream_start(self, text):
        return events(answer_of({"text": text}, finish=None))

    def text_reply(self, text):
        return Reply(200, answer_of({"text": text}))

    def tool_body(self, prompt):
        return self.body(prompt, tools=[TOOL])

    def tool_reply(self):
        return Reply(200, answer_of(CALL))

    def tool_stream(self):
        return streamed(events(answer_of(CALL, finish=None), answer_of({"text": ""})))

    def tool_call(self, answer):
        call, = [part["functionCall"] for part in parts_of(answer) if "functionCall" in part]
        return call["name"], call["args"]

    def streamed_tool_call(self, received):
        return self.tool_call(received[0])

    def tool_result_body(self, answer, result):
        return {**self.tool_body("plain-weather"), "contents": [
            {"role": "user", "parts": [{"text": "plain-weather"}]},
            answer["candidates"][0]["content"],
            {"role": "user", "parts": [{"functionResponse": {
                "name": "get_weather", "response": {"output": result}}}]}]}

    def names_record(self, failure):
        return True  # this SDK shows no field of an error's head

    def check_limit_error(self, case, failure):
        case.assertIn("RESOURCE_EXHAUSTED", failure.message)

    def check_revocation_error(self, case, failure):
        case.assertIn("PERMISSION_DENIED", failure.message)


class Google(EveryDialect):
    sdk_name = "google"
    wire = Wire()


class GoogleAnswers(sdk_cases.Answers, Google):
    def test_count_of_tokens(self):
        self.ready()
        counted = self.start(self.client, "count",
                             body={"model": "north-g", "contents": "x" * 400}).value()
        self.assertGreaterEqual(counted["totalTokens"], 100)
        self.assertLess(counted["totalTokens"], 200)


class GoogleProviderErrors(sdk_cases.ProviderErrors, Google):
    pass


class GoogleRefusals(sdk_cases.Refusals, Google):
    pass


class GoogleLimits(sdk_cases.Limits, Google):
    pass


class GoogleRevocation(sdk_cases.Revocation, Google):
    pass


if __name__ == "__main__":
    need_packages()
    main()
