"""openai (Responses) against the gateway: what it gets, what it raises, how often it tries."""

from every_dialect import EveryDialect
from sdk_test import need_packages
import sdk_cases
import test_sdk_openai_chat
from parley_test import main
from scripted_upstream import Reply, events, streamed

TOOL = {"type": "function", "name": "get_weather", "description": "The weather of a city.",
        "strict": False,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"},
                                                        "days": {"type": "integer"}}}}
USAGE = {"input_tokens": 50, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 20,
         "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 70}
CALL = {"id": "fc_01", "type": "function_call", "status": "completed", "call_id": "call_01",
        "name": "get_weather", "arguments": '{"city": "Paris", "days": 2}'}


def response(output, status="completed", usage=None):
    return {"id": "resp_01", "object": "response", "created_at": 1790000000, "status": status,
            "error": None, "incomplete_details": None, "model": "responses-2026", "output": output,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage}


def said(text):
    return {"id": "msg_01", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "annotations": [], "text": text}]}


class Wire(test_sdk_openai_chat.Wire):
    def body(self, prompt="Hello", max_output=64, model="north-r", **members):
        return {"model": model, "max_output_tokens": max_output, "input": prompt, **members}

    def asking_usage(self):
        return self.body()

    def wrong_parameter(self):
        return {**self.body(), "max_output_tokens": "many"}

    def text(self, answer):
        return answer["output_text"]

    def streamed_text(self, received):
        return "".join(event["delta"] for event in received
                       if event["type"] == "response.output_text.delta")

    def usage(self, answer):
        return answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]

    def check_stream(self, case, received):
        kinds = [event["type"] for event in received]
        case.assertEqual((kinds[0], kinds[-1]), ("response.created", "response.incomplete"))
        case.assertEqual([event["sequence_number"] for event in received],
                         list(range(len(received))))
        case.assertEqual(received[-1]["response"]["usage"]["output_tokens"], 64)

    def error_event(self, text):
        return events({"type": "error", "sequence_number": 4, "code": "server_error",
                       "message": text, "param": None}, named=True)

    def stream_start(self, text):
        return events(
            {"type": "response.created", "sequence_number": 0,
             "response": response([], "in_progress")},
            {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
             "item": {**said(""), "content": [], "status": "in_progress"}},
            {"type": "response.content_part.added", "sequence_number": 2, "output_index": 0,
             "item_id": "msg_01", "content_index": 0,
             "part": {"type": "output_text", "annotations": [], "text": ""}},
            {"type": "response.output_text.delta", "sequence_number": 3, "output_index": 0,
             "item_id": "msg_01", "content_index": 0, "delta": text}, named=True)

    def text_reply(self, text):
        return Reply(200, response([said(text)], usage=USAGE))

    def tool_body(self, prompt):
        return self.body(prompt, tools=[TOOL])

    def tool_reply(self):
        return Reply(200, response([CALL], usage=USAGE))

    def tool_stream(self):
        pieces = ['{"ci', 'ty": "Paris', '", "days"', ": 2}"]
        deltas = [{"type": "response.function_call_arguments.delta", "sequence_number": 2 + number,
                   "item_id": "fc_01", "output_index": 0, "delta": piece}
                  for number, piece in enumerate(pieces)]
        return streamed(events(
            {"type": "response.created", "sequence_number": 0,
             "response": response([], "in_progress")},
            {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
             "item": {**CALL, "arguments": "", "status": "in_progress"}},
            *deltas,
            {"type": "response.function_call_arguments.done", "sequence_number": 6,
             "item_id": "fc_01", "output_index": 0, "name": "get_weather",
             "arguments": CALL["arguments"]},
            {"type": "response.output_item.done", "sequence_number": 7, "output_index": 0,
             "item": CALL},
            {"type": "response.completed", "sequence_number": 8,
             "response": response([CALL], usage=USAGE)}, named=True))

    def tool_call(self, answer):
        call, = [item for item in answer["output"] if item["type"] == "function_call"]
        return call["name"], sdk_cases.parsed(call["arguments"])

    def streamed_tool_call(self, received):
        item, = [event["item"] for event in received
                 if event["type"] == "response.output_item.added"]
        text = "".join(event["delta"] for event in received
                       if event["type"] == "response.function_call_arguments.delta")
        return item["name"], sdk_cases.parsed(text)

    def tool_result_body(self, answer, result):
        return self.body([{"role": "user", "content": "plain-weather"}, *answer["output"],
                          {"type": "function_call_output", "call_id": "call_01",
                           "output": result}], tools=[TOOL])


class Responses(EveryDialect):
    sdk_name = "openai_responses"
    wire = Wire()


class ResponsesAnswers(sdk_cases.Answers, Responses):
    pass


class ResponsesProviderErrors(sdk_cases.ProviderErrors, Responses):
    pass


class ResponsesRefusals(sdk_cases.Refusals, Responses):
    pass


class ResponsesLimits(sdk_cases.Limits, Responses):
    pass


class ResponsesRevocation(sdk_cases.Revocation, Responses):
    pass


if __name__ == "__main__":
    need_packages()
    main()
