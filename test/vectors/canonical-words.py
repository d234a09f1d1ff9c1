#!/usr/bin/env python3
"""Writes canonical-words.jsonl: requests in every dialect, and the words and settings they must have.

The expected trees are written by hand from docs/formats/canonical-words.md; only their serialisation
(sorted keys, no white space) and the digests are computed, without Parley's code. All keys are ASCII
and all numbers integers or short decimals, for which json.dumps writes what RFC 8785 asks for.
"""
import hashlib
import json
import os


def text(value):
    return {"type": "text", "text": value}


def user(*parts):
    return {"role": "user", "parts": list(parts)}


def assistant(*parts):
    return {"role": "assistant", "parts": list(parts)}


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}

# name, Anthropic body, OpenAI body, words, settings (of both)
EQUAL = [
    ("a string is one text part",
     {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "What jumps over the dog?"}]},
     {"model": "other", "max_tokens": 64,
      "messages": [{"role": "user", "content": [{"type": "text", "text": "What jumps over the dog?"}]}]},
     {"messages": [user(text("What jumps over the dog?"))]},
     {"max_output": 64}),
    ("system prompt and settings",
     {"model": "m", "max_tokens": 16, "temperature": 0, "top_p": 0.5, "system": "Be brief.",
      "messages": [{"role": "user", "content": "Hi"}]},
     {"model": "m", "max_completion_tokens": 16, "temperature": 0.0, "top_p": 0.5,
      "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
     {"system": [text("Be brief.")], "messages": [user(text("Hi"))]},
     {"max_output": 16, "temperature": 0, "top_p": 0.5}),
    ("several system parts",
     {"model": "m", "max_tokens": 1, "system": [text("One."), {**text("Two."), "cache_control": {"type": "ephemeral"}}],
      "messages": [{"role": "user", "content": "Hi"}]},
     {"model": "m", "max_tokens": 1,
      "messages": [{"role": "developer", "content": "One."}, {"role": "system", "content": "Two."},
                   {"role": "user", "content": "Hi"}]},
     {"system": [text("One."), text("Two.")], "messages": [user(text("Hi"))]},
     {"max_output": 1}),
    ("absent, null and empty are the same",
     {"model": "m", "max_tokens": 1, "system": "", "tools": [], "temperature": None,
      "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": []},
                   {"role": "user", "content": ""}]},
     {"model": "m", "max_tokens": 1, "tools": None, "response_format": {"type": "text"}, "n": 1, "logit_bias": {},
      "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "Hi"},
                   {"role": "assistant", "content": None}, {"role": "user", "content": []}]},
     {"messages": [user(text("Hi")), assistant(), user()]},
     {"max_output": 1}),
    ("what does not bind",
     {"model": "m", "max_tokens": 9, "stream": True, "metadata": {"user_id": "u"}, "stop_sequences": ["END"],
      "messages": [{"role": "user", "content": [{**text("Hi"), "cache_control": {"type": "ephemeral"}}]}]},
     {"model": "m", "max_tokens": 9, "stream": True, "stream_options": {"include_usage": True}, "seed": 7,
      "user": "u", "stop": "END", "metadata": {"a": "b"}, "messages": [{"role": "user", "content": "Hi"}]},
     {"messages": [user(text("Hi"))]},
     {"max_output": 9}),
    ("parts are kept apart, messages as given",
     {"model": "m", "max_tokens": 2,
      "messages": [{"role": "user", "content": [text("a"), text("b")]}, {"role": "user", "content": "c"},
                   {"role": "assistant", "content": "d"}]},
     {"model": "m", "max_tokens": 2,
      "messages": [{"role": "user", "content": [text("a"), text("b")]}, {"role": "user", "content": "c"},
                   {"role": "assistant", "content": "d"}]},
     {"messages": [user(text("a"), text("b")), user(text("c")), assistant(text("d"))]},
     {"max_output": 2}),
    ("characters",
     {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "\u20ac \"q\" \\ /\n\t\u0001\u007f \U0001f600 e\u0301"}]},
     {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "\u20ac \"q\" \\ /\n\t\u0001\u007f \U0001f600 e\u0301"}]},
     {"messages": [user(text("\u20ac \"q\" \\ /\n\t\u0001\u007f \U0001f600 e\u0301"))]},
     {"max_output": 2}),
    ("tools, calls and results",
     {"model": "m", "max_tokens": 50,
      "tools": [{"name": "weather", "description": "Looks out.", "input_schema": WEATHER}],
      "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
      "messages": [
          {"role": "user", "content": "Rain in Oslo or Rome?"},
          {"role": "assistant", "content": [
              text("I look."),
              {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {"city": "Oslo"}},
              {"type": "tool_use", "id": "toolu_02", "name": "weather", "input": {"city": "Rome"}}]},
          {"role": "user", "content": [
              {"type": "tool_result", "tool_use_id": "toolu_01", "content": "rain"},
              {"type": "tool_result", "tool_use_id": "toolu_02", "content": [text("sun")], "is_error": False}]}]},
     {"model": "m", "max_tokens": 50,
      "tools": [{"type": "function", "function": {"name": "weather", "description": "Looks out.", "parameters": WEATHER}}],
      "tool_choice": "required", "parallel_tool_calls": False,
      "messages": [
          {"role": "user", "content": "Rain in Oslo or Rome?"},
          {"role": "assistant", "content": "I look.", "refusal": None, "tool_calls": [
              {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}},
              {"id": "call_b", "type": "function", "function": {"name": "weather", "arguments": "{ \"city\":\"Rome\" }"}}]},
          {"role": "tool", "tool_call_id": "call_a", "content": "rain"},
          {"role": "tool", "tool_call_id": "call_b", "content": "sun"}]},
     {"messages": [
         user(text("Rain in Oslo or Rome?")),
         assistant(text("I look."),
                   {"type": "tool_call", "call": 0, "name": "weather", "arguments": {"city": "Oslo"}},
                   {"type": "tool_call", "call": 1, "name": "weather", "arguments": {"city": "Rome"}}),
         user({"type": "tool_result", "call": 0, "parts": [text("rain")]},
              {"type": "tool_result", "call": 1, "parts": [text("sun")]})],
      "tools": [{"name": "weather", "description": "Looks out.", "parameters": WEATHER}]},
     {"max_output": 50, "tool_choice": "required", "parallel_tool_calls": False}),
    ("a call without arguments, one tool demanded",
     {"model": "m", "max_tokens": 5, "tools": [{"type": "custom", "name": "now", "input_schema": {"type": "object"}}],
      "tool_choice": {"type": "tool", "name": "now"},
      "messages": [{"role": "user", "content": "?"},
                   {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "now", "input": {}}]},
                   {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
     {"model": "m", "max_tokens": 5,
      "tools": [{"type": "function", "function": {"name": "now", "parameters": {"type": "object"}, "strict": False}}],
      "tool_choice": {"type": "function", "function": {"name": "now"}},
      "messages": [{"role": "user", "content": "?"},
                   {"role": "assistant", "content": None, "tool_calls": [
                       {"id": "y", "type": "function", "function": {"name": "now", "arguments": ""}}]},
                   {"role": "tool", "tool_call_id": "y", "content": ""}]},
     {"messages": [user(text("?")),
                   assistant({"type": "tool_call", "call": 0, "name": "now", "arguments": {}}),
                   user({"type": "tool_result", "call": 0, "parts": []})],
      "tools": [{"name": "now", "parameters": {"type": "object"}}]},
     {"max_output": 5, "tool_choice": {"name": "now"}}),
    ("format by schema",
     {"model": "m", "max_tokens": 5, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
      "messages": [{"role": "user", "content": "n?"}]},
     {"model": "m", "max_tokens": 5,
      "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
      "messages": [{"role": "user", "content": "n?"}]},
     {"format": {"type": "json_schema", "schema": SCHEMA}, "messages": [user(text("n?"))]},
     {"max_output": 5}),
]

UGLY = "\u20ac \"q\" \\ /\n\t\u0001\u007f \U0001f600 e\u0301"


def turn(role, *parts):
    """One of Gemini's contents, of texts and finished parts."""
    return {"role": role, "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def said(type_, *texts):
    return [{"type": type_, "text": value} for value in texts]


def chat(dialect, body):
    """The OpenAI body as Mistral or xAI takes it."""
    body = dict(body)
    if dialect == "mistral":
        for name in ("stream_options", "user", "logit_bias"):
            body.pop(name, None)
        if "max_completion_tokens" in body:
            body["max_tokens"] = body.pop("max_completion_tokens")
        if "seed" in body:
            body["random_seed"] = body.pop("seed")
    return body


# The same cases of EQUAL, by name, as Responses and Gemini say them (None: it cannot)
OTHERS = {
    "a string is one text part": (
        {"model": "m", "max_output_tokens": 64, "input": "What jumps over the dog?"},
        {"generationConfig": {"maxOutputTokens": 64}, "contents": [{"parts": [{"text": "What jumps over the dog?"}]}]}),
    "system prompt and settings": (
        {"model": "m", "max_output_tokens": 16, "temperature": 0, "top_p": 0.5, "instructions": "Be brief.",
         "input": [{"type": "message", "role": "user", "content": "Hi"}]},
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [turn("user", "Hi")],
         "generationConfig": {"maxOutputTokens": 16, "temperature": 0.0, "topP": 0.5}}),
    "several system parts": (
        {"model": "m", "max_output_tokens": 1, "input": [{"role": "developer", "content": "Two."},
                                                         {"role": "user", "content": "Hi"}], "instructions": "One."},
        {"systemInstruction": {"role": "user", "parts": [{"text": "One."}, {"text": "Two."}]},
         "contents": [turn("user", "Hi")], "generationConfig": {"maxOutputTokens": 1}}),
    "absent, null and empty are the same": (
        {"model": "m", "max_output_tokens": 1, "instructions": "", "tools": [], "temperature": None, "store": None,
         "previous_response_id": None, "include": [], "text": {"format": {"type": "text"}}, "tool_choice": "auto",
         "truncation": "disabled", "reasoning": {"effort": None},
         "input": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": []}, {"role": "user", "content": ""}]},
        {"systemInstruction": {"parts": []}, "tools": None, "cachedContent": None, "toolConfig": {},
         "generationConfig": {"maxOutputTokens": 1, "temperature": None, "candidateCount": 1,
                              "responseMimeType": "text/plain", "responseModalities": ["TEXT"]},
         "contents": [turn("user", "Hi"), turn("model"), {"role": "user", "parts": None}]}),
    "what does not bind": (
        {"model": "m", "max_output_tokens": 9, "stream": True, "stream_options": {"include_obfuscation": False}, "user": "u",
         "metadata": {"a": "b"}, "service_tier": "auto", "store": False, "background": False, "prompt_cache_key": "k",
         "input": [{"role": "user", "id": "msg_1", "status": "completed", "content": said("input_text", "Hi")}]},
        {"labels": {"a": "b"}, "serviceTier": "x", "contents": [turn("user", "Hi")],
         "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["END"], "seed": 7}}),
    "parts are kept apart, messages as given": (
        {"model": "m", "max_output_tokens": 2,
         "input": [{"role": "user", "content": said("input_text", "a", "b")}, {"role": "user", "content": "c"},
                   {"role": "assistant", "content": [{**said("output_text", "d")[0], "annotations": []}]}]},
        {"contents": [turn("user", "a", "b"), turn("user", "c"), turn("model", "d")],
         "generationConfig": {"maxOutputTokens": 2}}),
    "characters": (
        {"model": "m", "max_output_tokens": 2, "input": UGLY},
        {"contents": [turn("user", UGLY)], "generationConfig": {"maxOutputTokens": 2}}),
    "tools, calls and results": (
        {"model": "m", "max_output_tokens": 50, "tool_choice": "required", "parallel_tool_calls": False,
         "tools": [{"type": "function", "name": "weather", "description": "Looks out.", "parameters": WEATHER}],
         "input": [{"role": "user", "content": "Rain in Oslo or Rome?"},
                   {"type": "message", "role": "assistant", "content": said("output_text", "I look.")},
                   {"type": "function_call", "id": "fc_1", "call_id": "call_a", "name": "weather", "arguments": "{\"city\": \"Oslo\"}"},
                   {"type": "function_call", "call_id": "call_b", "name": "weather", "arguments": "{ \"city\":\"Rome\" }"},
                   {"type": "function_call_output", "call_id": "call_a", "output": "rain"},
                   {"type": "function_call_output", "call_id": "call_b", "output": said("input_text", "sun")}]},
        None),
    "a call without arguments, one tool demanded": (
        {"model": "m", "max_output_tokens": 5, "tool_choice": {"type": "function", "name": "now"},
         "tools": [{"type": "function", "name": "now", "parameters": {"type": "object"}, "strict": False}],
         "input": [{"role": "user", "content": "?"},
                   {"type": "function_call", "call_id": "y", "name": "now", "arguments": ""},
                   {"type": "function_call_output", "call_id": "y", "output": ""}]},
        {"generationConfig": {"maxOutputTokens": 5},
         "tools": [{"functionDeclarations": [{"name": "now", "parametersJsonSchema": {"type": "object"}}]}],
         "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["now"]}},
         "contents": [turn("user", "?"), turn("model", {"functionCall": {"name": "now"}}),
                      turn("user", {"functionResponse": {"name": "now", "response": {}}})]}),
    "format by schema": (
        {"model": "m", "max_output_tokens": 5, "input": "n?",
         "text": {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}}},
        {"generationConfig": {"maxOutputTokens": 5, "responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
         "contents": [turn("user", "n?")]}),
}

# name, dialect, body, words, settings: what only one dialect can say
SINGLE = [
    ("a system message between others", "openai",
     {"model": "m", "messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]},
     {"messages": [user(text("a")), {"role": "system", "parts": [text("b")]}]}, {}),
    ("format without schema", "openai",
     {"model": "m", "response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "a"}]},
     {"format": {"type": "json_object"}, "messages": [user(text("a"))]}, {}),
    ("named format that is not strict", "openai",
     {"model": "m", "response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": SCHEMA}},
      "messages": [{"role": "user", "content": "a"}]},
     {"format": {"type": "json_schema", "name": "n", "description": "d", "strict": False, "schema": SCHEMA},
      "messages": [user(text("a"))]}, {}),
    ("all settings", "openai",
     {"model": "m", "messages": [{"role": "user", "content": "a"}], "frequency_penalty": 0.5, "presence_penalty": -1,
      "logprobs": True, "top_logprobs": 3, "logit_bias": {"50256": -100}, "reasoning_effort": "low",
      "verbosity": "low", "tool_choice": "none"},
     {"messages": [user(text("a"))]},
     {"frequency_penalty": 0.5, "presence_penalty": -1, "logprobs": True, "top_logprobs": 3,
      "logit_bias": {"50256": -100}, "reasoning": {"effort": "low"}, "verbosity": "low", "tool_choice": "none"}),
    ("arguments that are not JSON stay text", "openai",
     {"model": "m", "messages": [
         {"role": "user", "content": "a"},
         {"role": "assistant", "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{broken"}}]}]},
     {"messages": [user(text("a")), assistant({"type": "tool_call", "call": 0, "name": "f", "arguments": "{broken"})]}, {}),
    ("failed tool, thinking budget, top_k", "anthropic",
     {"model": "m", "max_tokens": 4000, "top_k": 5, "thinking": {"type": "enabled", "budget_tokens": 2000},
      "messages": [{"role": "user", "content": "a"},
                   {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]},
                   {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "is_error": True, "content": "no"},
                                                text("and?")]}]},
     {"messages": [user(text("a")), assistant({"type": "tool_call", "call": 0, "name": "f", "arguments": {}}),
                   user({"type": "tool_result", "call": 0, "error": True, "parts": [text("no")]}, text("and?"))]},
     {"max_output": 4000, "top_k": 5, "reasoning": {"budget": 2000}}),
]

SINGLE += [
    ("all settings", "responses",
     {"model": "m", "input": "a", "top_logprobs": 3, "include": ["message.output_text.logprobs"], "reasoning": {"effort": "low"},
      "text": {"verbosity": "low"}, "tool_choice": "none"},
     {"messages": [user(text("a"))]},
     {"logprobs": True, "top_logprobs": 3, "reasoning": {"effort": "low"}, "verbosity": "low", "tool_choice": "none"}),
    ("formats", "responses", {"model": "m", "input": "a", "text": {"format": {"type": "json_object"}}},
     {"format": {"type": "json_object"}, "messages": [user(text("a"))]}, {}),
    ("named format that is not strict", "responses",
     {"model": "m", "input": "a", "text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": SCHEMA}}},
     {"format": {"type": "json_schema", "name": "n", "description": "d", "strict": False, "schema": SCHEMA},
      "messages": [user(text("a"))]}, {}),
    ("a call joins the message before it, a system message keeps its place", "responses",
     {"model": "m", "input": [
         {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
         {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{broken"},
         {"type": "function_call_output", "call_id": "x", "output": "c"}, {"role": "system", "content": "d"}]},
     {"messages": [user(text("a")),
                   assistant(text("b"), {"type": "tool_call", "call": 0, "name": "f", "arguments": "{broken"}),
                   user({"type": "tool_result", "call": 0, "parts": [text("c")]}),
                   {"role": "system", "parts": [text("d")]}]}, {}),
    ("all settings", "gemini",
     {"contents": [turn("user", "a")], "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
      "generationConfig": {"topK": 5, "frequencyPenalty": 0.5, "presencePenalty": -1, "responseLogprobs": True, "logprobs": 3,
                           "thinkingConfig": {"thinkingBudget": 100, "thinkingLevel": "LOW", "includeThoughts": False}}},
     {"messages": [user(text("a"))]},
     {"top_k": 5, "frequency_penalty": 0.5, "presence_penalty": -1, "logprobs": True, "top_logprobs": 3,
      "reasoning": {"budget": 100, "effort": "low"}, "tool_choice": "none"}),
    ("format without schema", "gemini",
     {"contents": [turn("user", "a")], "generationConfig": {"responseMimeType": "application/json"}},
     {"format": {"type": "json_object"}, "messages": [user(text("a"))]}, {}),
    ("calls of one name are answered in order, or by id", "gemini",
     {"tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": WEATHER}]}],
      "contents": [turn("user", "a"),
                   turn("model", "b", {"functionCall": {"name": "f", "args": {"n": 1}}},
                        {"functionCall": {"id": "x", "name": "f", "args": {"n": 2}}}),
                   turn("user", {"functionResponse": {"id": "x", "name": "f", "response": {"result": "two"}}},
                        {"functionResponse": {"name": "f", "response": {"output": "one"}}})]},
     {"messages": [user(text("a")),
                   assistant(text("b"), {"type": "tool_call", "call": 0, "name": "f", "arguments": {"n": 1}},
                             {"type": "tool_call", "call": 1, "name": "f", "arguments": {"n": 2}}),
                   user({"type": "tool_result", "call": 1, "parts": [text("two")]},
                        {"type": "tool_result", "call": 0, "parts": [text("one")]})],
      "tools": [{"name": "f", "description": "d", "parameters": WEATHER}]}, {}),
    ("a failed tool, and one whose result is an object", "gemini",
     {"contents": [turn("user", "a"), turn("model", {"functionCall": {"name": "f"}}, {"functionCall": {"name": "g"}}),
                   turn("function", {"functionResponse": {"name": "f", "response": {"error": "no"}}},
                        {"functionResponse": {"name": "g", "response": {"b": 1, "a": [True]}}})]},
     {"messages": [user(text("a")), assistant({"type": "tool_call", "call": 0, "name": "f", "arguments": {}},
                                              {"type": "tool_call", "call": 1, "name": "g", "arguments": {}}),
                   user({"type": "tool_result", "call": 0, "error": True, "parts": [text("no")]},
                        {"type": "tool_result", "call": 1, "parts": [text("{\"a\":[true],\"b\":1}")]})]}, {}),
    ("any tool is a required one; no prompt of the provider's", "mistral",
     {"model": "m", "messages": [{"role": "user", "content": "a"}], "tool_choice": "any", "safe_prompt": False, "random_seed": 3},
     {"messages": [user(text("a"))]}, {"tool_choice": "required"}),
]

HI = [{"role": "user", "content": "Hi"}]

# name, dialect, body: what cannot be bound
REFUSED = [
    ("no messages", "anthropic", {"model": "m", "max_tokens": 1}),
    ("empty messages", "openai", {"model": "m", "messages": []}),
    ("unknown member", "anthropic", {"model": "m", "max_tokens": 1, "messages": HI, "extra": 1}),
    ("unknown member", "openai", {"model": "m", "messages": HI, "extra": {}}),
    ("unknown member of a message", "openai", {"model": "m", "messages": [{"role": "user", "content": "Hi", "name": "bob"}]}),
    ("unknown member of a part", "anthropic",
     {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{**text("Hi"), "citations": {"enabled": True}}]}]}),
    ("image", "anthropic",
     {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [
         {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]}]}),
    ("image", "openai",
     {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}),
    ("thinking block", "anthropic",
     {"model": "m", "max_tokens": 1, "messages": HI + [{"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": ""}]}]}),
    ("provider's own tool", "anthropic",
     {"model": "m", "max_tokens": 1, "messages": HI, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ("several answers", "openai", {"model": "m", "messages": HI, "n": 2}),
    ("result without a call", "openai",
     {"model": "m", "messages": HI + [{"role": "tool", "tool_call_id": "x", "content": "y"}]}),
    ("two calls of one id", "anthropic",
     {"model": "m", "max_tokens": 1, "messages": HI + [{"role": "assistant", "content": [
         {"type": "tool_use", "id": "x", "name": "f", "input": {}}, {"type": "tool_use", "id": "x", "name": "f", "input": {}}]}]}),
    ("tool use by the user", "anthropic",
     {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]}]}),
    ("unknown role", "openai", {"model": "m", "messages": [{"role": "function", "name": "f", "content": "x"}]}),
    ("audio out", "openai", {"model": "m", "messages": HI, "modalities": ["text", "audio"]}),
    ("predicted output", "openai", {"model": "m", "messages": HI, "prediction": {"type": "content", "content": "x"}}),
    ("provider's own tool", "responses", {"model": "m", "input": "a", "tools": [{"type": "web_search"}]}),
    ("image", "responses", {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}),
    ("reasoning item", "responses", {"model": "m", "input": [{"type": "reasoning", "summary": []}, {"role": "user", "content": "a"}]}),
    ("earlier response", "responses", {"model": "m", "input": "a", "previous_response_id": "resp_1"}),
    ("kept upstream", "responses", {"model": "m", "input": "a", "store": True}),
    ("result without a call", "responses",
     {"model": "m", "input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]}),
    ("two calls of one id", "responses",
     {"model": "m", "input": [{"role": "user", "content": "a"}] + 2 * [
         {"type": "function_call", "call_id": "x", "name": "f", "arguments": "{}"}]}),
    ("summary of reasoning", "responses", {"model": "m", "input": "a", "reasoning": {"summary": "auto"}}),
    ("no messages", "responses", {"model": "m", "input": []}),
    ("unknown member", "responses", {"model": "m", "input": "a", "extra": 1}),
    ("truncation", "responses", {"model": "m", "input": "a", "truncation": "auto"}),
    ("unknown member", "gemini", {"contents": [turn("user", "a")], "generationConfig": {"extra": 1}}),
    ("image", "gemini", {"contents": [turn("user", {"inlineData": {"mimeType": "image/png", "data": ""}})]}),
    ("thought", "gemini", {"contents": [turn("user", "a"), turn("model", {"text": "b", "thought": True})]}),
    ("provider's own tool", "gemini", {"contents": [turn("user", "a")], "tools": [{"googleSearch": {}}]}),
    ("several answers", "gemini", {"contents": [turn("user", "a")], "generationConfig": {"candidateCount": 2}}),
    ("result without a call", "gemini", {"contents": [turn("user", {"functionResponse": {"name": "f", "response": {}}})]}),
    ("one call answered twice", "gemini",
     {"contents": [turn("user", "a"), turn("model", {"functionCall": {"name": "f"}}),
                   turn("user", *2 * [{"functionResponse": {"name": "f", "response": {}}}])]}),
    ("call by the user", "gemini", {"contents": [turn("user", {"functionCall": {"name": "f"}})]}),
    ("unknown role", "gemini", {"contents": [turn("system", "a")]}),
    ("cached content", "gemini", {"contents": [turn("user", "a")], "cachedContent": "cachedContents/1"}),
    ("safety settings", "gemini", {"contents": [turn("user", "a")], "safetySettings": []}),
    ("schema without its type", "gemini", {"contents": [turn("user", "a")], "generationConfig": {"responseSchema": SCHEMA}}),
    ("thoughts in the answer", "gemini",
     {"contents": [turn("user", "a")], "generationConfig": {"thinkingConfig": {"includeThoughts": True}}}),
    ("no messages", "gemini", {"contents": []}),
    ("a prompt of the provider's", "mistral", {"model": "m", "messages": HI, "safe_prompt": True}),
    ("prefix of the answer", "mistral", {"model": "m", "messages": HI + [{"role": "assistant", "content": "a", "prefix": True}]}),
    ("search", "xai", {"model": "m", "messages": HI, "search_parameters": {"mode": "on"}}),
    ("two limits of output", "openai", {"model": "m", "messages": HI, "max_tokens": 1, "max_completion_tokens": 1}),
]


def rows():
    for name, anthropic, openai, words, settings in EQUAL:
        responses, gemini = OTHERS[name]
        bodies = {"anthropic": anthropic, "responses": responses, "gemini": gemini,
                  "mistral": chat("mistral", openai), "xai": openai}
        yield {"name": name, "openai": json.dumps(openai, ensure_ascii=False, indent=1),
               **{dialect: json.dumps(body) for dialect, body in bodies.items() if body is not None},
               **expected(words, settings)}
    for name, dialect, body, words, settings in SINGLE:
        yield {"name": name, dialect: json.dumps(body), **expected(words, settings)}
    for name, dialect, body in REFUSED:
        yield {"name": name, dialect: json.dumps(body), "refused": True}


def expected(words, settings):
    line = canonical(words)
    return {"words": line, "sha256": hashlib.sha256(line.encode()).hexdigest(), "settings": canonical(settings)}


if __name__ == "__main__":
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "canonical-words.jsonl")
    with open(path, "w", encoding="utf-8") as out:
        for row in rows():
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
