#!/usr/bin/env python3
"""Writes conversations.jsonl: items whose words hold answers (docs/formats/leaves.md), what must be asked
at a step of them, and bodies in every dialect that ask it. Written from the formats' descriptions, without
Parley's code."""
import hashlib
import json
import os


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text(value):
    return {"type": "text", "text": value}


def said(role, *parts):
    return {"role": role, "parts": list(parts)}


ANSWER = said("assistant", {"type": "answer"})
CALL = {"type": "tool_call", "call": 0, "name": "weather", "arguments": {"city": "Oslo"}}
RESULT = {"type": "tool_result", "call": 0, "parts": [text("rain")]}
TOOL = {"name": "weather", "parameters": {"type": "object"}}


def item(*turns, system=None, tools=None):
    messages = [turn if isinstance(turn, dict) else said("user", text(turn)) for turn in turns]
    value = {"messages": messages}
    if system:
        value["system"] = [text(system)]
    if tools:
        value["tools"] = tools
    return value


def filled(words, answers):
    """The words asked after these answers, each a list of parts."""
    messages, given = [], 0
    for message in words["messages"]:
        if message == ANSWER:
            if given == len(answers):
                break
            message = said("assistant", *answers[given])
            given += 1
        messages.append(message)
    return {**words, "messages": messages}


# ---- the six dialects ----


def anthropic(words):
    def block(part):
        if part["type"] == "tool_call":
            return {"type": "tool_use", "id": "a", "name": part["name"], "input": part["arguments"]}
        if part["type"] == "tool_result":
            return {"type": "tool_result", "tool_use_id": "a", "content": part["parts"]}
        return part
    body = {"model": "m", "max_tokens": 16, "messages": [
        {"role": message["role"], "content": [block(part) for part in message["parts"]]}
        for message in words["messages"]]}
    if "system" in words:
        body["system"] = words["system"]
    if "tools" in words:
        body["tools"] = [{"name": tool["name"], "input_schema": tool["parameters"]} for tool in words["tools"]]
    return body


def openai(words):
    messages = [{"role": "system", "content": part["text"]} for part in words.get("system", [])]
    for message in words["messages"]:
        texts = [part["text"] for part in message["parts"] if part["type"] == "text"]
        calls = [{"id": "a", "type": "function", "function": {"name": part["name"], "arguments":
                  json.dumps(part["arguments"])}} for part in message["parts"] if part["type"] == "tool_call"]
        for part in message["parts"]:
            if part["type"] == "tool_result":
                messages.append({"role": "tool", "tool_call_id": "a", "content": part["parts"][0]["text"]})
        if calls:
            messages.append({"role": message["role"], "content": "".join(texts) or None, "tool_calls": calls})
        elif texts or not any(part["type"] == "tool_result" for part in message["parts"]):
            content = [text(value) for value in texts] if len(texts) != 1 else texts[0]
            messages.append({"role": message["role"], "content": content})
    body = {"model": "m", "max_completion_tokens": 16, "messages": messages}
    if "tools" in words:
        body["tools"] = [{"type": "function", "function": tool} for tool in words["tools"]]
    return body


def mistral(words):
    body = openai(words)
    body["max_tokens"] = body.pop("max_completion_tokens")
    return body


def responses(words):
    items = []
    for message in words["messages"]:
        kind = "output_text" if message["role"] == "assistant" else "input_text"
        texts = [{"type": kind, "text": part["text"]} for part in message["parts"] if part["type"] == "text"]
        rest = [part for part in message["parts"] if part["type"] != "text"]
        if texts or not rest:
            items.append({"type": "message", "role": message["role"], "content": texts})
        for part in rest:
            if part["type"] == "tool_call":
                items.append({"type": "function_call", "call_id": "a", "name": part["name"],
                              "arguments": json.dumps(part["arguments"])})
            else:
                items.append({"type": "function_call_output", "call_id": "a",
                              "output": part["parts"][0]["text"]})
    body = {"model": "m", "max_output_tokens": 16, "input": items}
    if "system" in words:
        body["instructions"] = words["system"][0]["text"]
    if "tools" in words:
        body["tools"] = [{"type": "function", **tool} for tool in words["tools"]]
    return body


def gemini(words):
    def part_of(part):
        if part["type"] == "tool_call":
            return {"functionCall": {"name": part["name"], "args": part["arguments"]}}
        if part["type"] == "tool_result":
            return {"functionResponse": {"name": "weather", "response": {"result": part["parts"][0]["text"]}}}
        return {"text": part["text"]}
    body = {"generationConfig": {"maxOutputTokens": 16}, "contents": [
        {"role": "model" if message["role"] == "assistant" else "user",
         "parts": [part_of(part) for part in message["parts"]]} for message in words["messages"]]}
    if "system" in words:
        body["systemInstruction"] = {"parts": [{"text": part["text"]} for part in words["system"]]}
    if "tools" in words:
        body["tools"] = [{"functionDeclarations": [{"name": tool["name"], "parameters": tool["parameters"]}
                                                   for tool in words["tools"]]}]
    return body


DIALECTS = {"anthropic": anthropic, "openai": openai, "responses": responses, "gemini": gemini,
            "mistral": mistral, "xai": openai}

TALK = item("What jumps over the dog?", ANSWER, "Why does it?", ANSWER, "And the dog?")
BRIEF = item(said("user", text("Say one.")), said("assistant", text("One.")), "Say two.", ANSWER,
             "Übersetze „fox“.", system="Be brief.")
TOOLS = item("What is the weather?", ANSWER, said("user", RESULT), tools=[TOOL])
FOX, DOG = [text("A fox.")], [text("It is “quick”.\n\\o/ \U0001f98a")]

CASES = [
    ("the first turn", TALK, []),
    ("the second turn", TALK, [FOX]),
    ("the third turn", TALK, [FOX, DOG]),
    ("an answer in two parts is what they say together", TALK, [[text("A "), text("fox.")]]),
    ("a turn that is registered stays before the first answer", BRIEF, [DOG]),
    ("a tool call is part of the answer", TOOLS, [[text("I will look."), CALL]]),
]
JUDGES = [
    ("two slots", ["Which is better?\n\nA: ", {"leaf": 3}, "\n\nB: ", {"leaf": 3}, "\n\nOne letter."],
     ["A fox.", "It is “quick”.\n\\o/"]),
    ("a slot at the end", ["Is this true? ", {"leaf": 0}], ["A fox."]),
    ("an answer that holds the template's own words", ["A: ", {"leaf": 3}, "B: ", {"leaf": 3}],
     ["one B: two", "B: "]),
]


def row(name, words, asked, **members):
    return {"name": name, "item": canonical(words), **members, "asked": canonical(asked),
            "sha256": hashlib.sha256(canonical(asked).encode()).hexdigest(),
            "bodies": {dialect: json.dumps(build(asked), ensure_ascii=False)
                       for dialect, build in DIALECTS.items()}}


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "conversations.jsonl"), "w",
          encoding="utf-8") as out:
    for name, words, answers in CASES:
        line = row(name, words, filled(words, answers), step=len(answers), answers=[
            {"text": "".join(part["text"] for part in answer if part["type"] == "text"), "tool_calls":
             [{"arguments": part["arguments"], "name": part["name"]}
              for part in answer if part["type"] == "tool_call"]} for answer in answers])
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
    for name, pieces, answers in JUDGES:
        words = {"messages": [said("user", {"type": "template", "pieces": pieces})]}
        left = list(answers)
        asked = item("".join(piece if isinstance(piece, str) else left.pop(0) for piece in pieces))
        out.write(json.dumps(row(name, words, asked, slots=answers), ensure_ascii=False) + "\n")
