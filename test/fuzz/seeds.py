#!/usr/bin/env python3
"""The seeds of the fuzz targets: seeds.py TARGET DIRECTORY writes one file each.

What a fuzzer once broke stands at the end of its list, so that every run tries it first.
"""

import base64
import gzip
import hashlib
import io
import json
import struct
import sys
import zipfile
import zlib
from pathlib import Path

HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: gateway.example:8080\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
KEY = b"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (b"If you think cryptography is the answer to your problem,\n"
        b"then you don't know what your problem is.\n\n\xe2\x80\x94 PeterNeumann x08go/ZJkuBS9UG/"
        b"SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")


def text(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def each(prefixes, seeds):
    """Every seed behind every choice."""
    return [bytes([prefix]) + seed for prefix in prefixes for seed in seeds]


def http_request():
    fields = [
        b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
        b"Connection: keep-alive, close\r\nX-Api-Key: plk_1\r\n",
        b"Authorization: Bearer plk_1\r\nAccept: */*\r\nanthropic-version: 2023-06-01\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 5, 5\r\n",
        b"A: b\r\n c\r\n", b"A : b\r\n", b": b\r\n", b"A: \x00\r\n", b"A: b\nC: d\r\n",
        b"".join(b"A%d: b\r\n" % number for number in range(70)), b"A: " + b"x" * 9000 + b"\r\n"]
    starts = [b"GET / HTTP/1.0\r\n", b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n",
              b"\r\nGET /%2f?a=b&c HTTP/1.1\r\nHost: [::1]:80\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n",
              b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n"]
    heads = [HEAD + field + b"\r\n" for field in fields] + [start + b"\r\n" for start in starts]
    return each([7], heads)


def http_response():
    answers = [
        ANSWER + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        ANSWER + b"Content-Length: 5\r\n\r\nhello", ANSWER + b"\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204\r\n\r\n", b"HTTP/1.0 304 Not\xe9\r\n\r\n",
        ANSWER + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 600 X\r\n\r\n", b"HTTP/1.1 200 OK\nA: b\n\n",
        b"HTTP/1.1 \r\nA: b\r\n\r\n", b"HTTP/1.1 2\r\nA: b\r\n\r\n"]
    return each([2, 3], answers)


def chunked():
    return each([1], [
        b"5\r\nhello\r\n0\r\n\r\n", b"5;name=value\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\nrest",
        b"ffffffff\r\nx", b"0x5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\nhello\n0\n\n", b"-5\r\nhello\r\n",
        b'5;a="b"\r\nhello\r\n', b"000000001\r\nx\r\n", b"5;" + b"x" * 70 + b"\r\nhello\r\n",
        b"0\r\nA b: c\r\n\r\n", b"0\r\n" + b"A: b\r\n" * 400 + b"\r\n"])


def sse():
    return each([3], [
        b"data: a\n\ndata: b\n\n", b"event: x\r\ndata: a\r\ndata:b\r\n\r\n", b"\xef\xbb\xbfdata: a\r\r",
        b": comment\n\ndata\n\nid: 1\nretry: 5\ndata:  two\n\n", b"data: cut", b"\xef\xbbdata: a\n\n",
        b"event: " + b"n" * 80 + b"\ndata: a\n\n", b"data: " + b"x" * 5000 + b"\n\ndata: y\n\n",
        b"data: a\r\n\r\n\r\n\ndata: b\r\n\r", b"\n\n\r\r\n", b"data:a\ndata:b\rdata:c\r\n\n"])


def json_texts():
    values = ['{"model":"m","stream":true,"messages":[{"role":"user","content":"h\\u00e9\\n\\\\\\""}]}',
              '{"a":1,"A":2}', '{"a":1,"a":2}', '{"mo\\u0064el":1}', '{"me\u017f\u017fages":1}',
              '{"\u212aey":1}', '[[[[[[[[]]]]]]]]', "[" * 70 + "]" * 70, '"\\ud83d\\ude00"', '"\\ud83d"',
              '"\\ude00\\ud83d"', "-0", "01", "1.", "1e5", "1E400", "-1.5e-3", "9007199254740993", "NaN",
              "[1,]", "{} {}", "\ufeff{}", "", '{"a":', '{"a":{"b":1,"b":2}}', '" \x00"', '"\x1f"',
              '"' + "x" * 300 + '\\\\\\\\"', '{"a":"\\/\\b\\f\\n\\r\\t"}', "true", "nul", "[1 2]",
              "6\0", "{" + ",".join(f'"k{number}":0' for number in range(257)) + "}",
              '[{"a\\u0000b":1}]', '[{"a":1,"\\u0061":2}]', '{"a":[1,-0,1.5,{"b":"\\u00e9","":null}]}']
    broken = [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"']
    return each([9], [value.encode() for value in values] + broken)


MESSAGES = [
    {"model": "north-1", "max_tokens": 16, "stream": True, "system": "Be brief.",
     "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    {"model": "north-1", "max_tokens": 16, "temperature": 0.5, "messages": [
        {"role": "user", "content": "What is the weather?"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}]}],
     "tools": [{"name": "weather", "description": "d",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]}]
CHAT = [
    {"model": "north-o", "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
    {"model": "north-o", "stream": True, "stream_options": {"include_usage": False}, "n": 2,
     "max_completion_tokens": 9, "messages": [{"role": "system", "content": "Be brief."}]},
    {"model": "north-o", "stream": True, "stream_options": {}, "logit_bias": {"1": 2}, "messages": [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function",
             "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}],
     "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}]
RESPONSES = [
    {"model": "north-o", "stream": True, "instructions": "Be brief.", "input": "Hi"},
    {"model": "north-o", "max_output_tokens": 9, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "x"}]}]
GEMINI = [
    {"systemInstruction": {"parts": [{"text": "Be brief."}]},
     "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
     "generationConfig": {"maxOutputTokens": 9, "temperature": 0.5}},
    {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                  {"role": "user", "parts": [
                      {"functionResponse": {"name": "f", "response": {"x": 1}}}]}],
     "tools": [{"functionDeclarations": [{"name": "f"}]}]}]
BODIES = MESSAGES + CHAT + RESPONSES + GEMINI


def request():
    spaced = [json.dumps(body, indent=1).encode() for body in BODIES]
    return each(range(9), [text(body) for body in BODIES] + spaced)


def words():
    huge = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {"maxOutputTokens": 8, "temperature": 999999000709551606.5}}
    return each(range(6), [text(body) for body in [*BODIES, huge]])


def events(*rows, names=True, end="\n\n"):
    return "".join((f"event: {row['type']}\n" if names else "") + f"data: {json.dumps(row)}{end}"
                   for row in rows).encode()


STREAMS = [
    events({"type": "message_start", "message": {"id": "msg_1", "model": "north-1", "usage": {
        "input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 1}}},
           {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
           {"type": "ping"},
           {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "H\u00e9"}},
           {"type": "content_block_stop", "index": 0},
           {"type": "content_block_start", "index": 1, "content_block": {
               "type": "tool_use", "id": "t", "name": "weather", "input": {}}},
           {"type": "content_block_delta", "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": "{\"a\":1}"}},
           {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
           {"type": "message_stop"}),
    events({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    events({"id": "c", "model": "north-o", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
           {"choices": [{"index": 0, "delta": {"tool_calls": [
               {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{"}}]}}]},
           {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
           {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2,
                                     "prompt_tokens_details": {"cached_tokens": 1}}},
           names=False, end="\r\n\r\n") + b"data: [DONE]\r\n\r\n",
    events({"type": "response.created", "response": {"id": "r", "model": "north-o"}},
           {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"},
           {"type": "response.completed", "response": {"status": "completed", "output": [
               {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
               "usage": {"input_tokens": 5, "output_tokens": 2}}}),
    events({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2},
            "modelVersion": "north-g"}, names=False)]


# More events to strip in one piece than a flow has parts.
STREAMS.append(events({"choices": [], "usage": {"prompt_tokens": 5}}, {"choices": []},
                      names=False) * 4)


def observer():
    cut = [stream[:len(stream) * 2 // 3] for stream in STREAMS]
    return each([0, 1, 2, 3, 4, 5, 67], each([5], STREAMS + cut))


REASONING = [
    events({"type": "message_start", "message": {"content": []}},
           {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
           {"type": "content_block_delta", "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "x"}},
           {"type": "content_block_start", "index": 1,
            "content_block": {"type": "text", "text": ""}},
           {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "y"}},
           {"type": "message_stop"}),
    events({"choices": [{"delta": {"role": "assistant", "reasoning_content": "x"}}]},
           {"choices": [{"delta": {"content": [{"type": "thinking"}, {"type": "text", "text": "y"}]},
                         "logprobs": {"content": []}, "finish_reason": "stop"}]}, names=False),
    events({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
            "item": {"type": "reasoning"}},
           {"type": "response.output_item.added", "sequence_number": 2, "output_index": 1,
            "item": {"type": "message"}},
           {"type": "response.output_text.delta", "sequence_number": 3, "output_index": 1,
            "delta": "y", "logprobs": [1]}),
    events({"candidates": [{"content": {"parts": [{"thought": True, "text": "x"}, {"text": "y"}]},
                            "finishReason": "STOP"}]}, names=False)]


def filtered():
    return each(range(6), STREAMS + REASONING + [text(row) for row in ANSWERS])


ANSWERS = [
    {"id": "msg_1", "type": "message", "model": "north-1", "stop_reason": "end_turn",
     "content": [{"type": "text", "text": "Hi"},
                 {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}}],
     "usage": {"input_tokens": 5, "output_tokens": 2}},
    {"id": "c", "model": "north-o", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": "Hi", "refusal": None, "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}],
     "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
    {"id": "r", "status": "completed", "model": "north-o", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"}],
     "usage": {"input_tokens": 5, "output_tokens": 2}},
    {"candidates": [{"content": {"parts": [{"text": "Hi"}, {"functionCall": {"name": "f", "args": {}}}]},
                     "finishReason": "STOP"}],
     "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}},
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"error": {"message": "no", "type": "invalid_request_error", "code": "model_not_found"}},
    {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED"}}]


def answer():
    return each(range(6), [text(row) for row in ANSWERS]) + each(range(128, 134), STREAMS)


def config():
    return [b"""name: northlab.example/parley
listen: [ "127.0.0.1:8080", "[::1]:8080" ]
admin: 127.0.0.1:8081
data: state
workers: 3
providers:
  - { name: north, dialect: anthropic, url: "https://a.example", key: "${KEY}" }
  - { name: south, dialect: openai, url: "http://127.0.0.1:9/x", key: "a$${b${EMPTY}" }
models:
  - { name: north-1, provider: north, upstream: x, max_output: 8192, context: 200000,
      price: { input: 3.00, output: 15.00, cache_read: 0.30 } }
  - { name: south-1, provider: south }
log: { entries: public }
max_body: 1048576
durability: relaxed
""", b"a: &x 1\nb: *x\n", b"a: !!str 1\n", b"<<: {a: 1}\n", b"a: 1\na: 2\n", b"- 1\n", b"a: |\n  x\n y\n",
            b"%TAG ! x\n---\na: 1\n", b"name: [[[[[[{a: [1, 2, {b: c}]}]]]]]]\n", b"a: .inf\n", b'{"a": "\\x00"}']


def access():
    return [b"""orgs:
  - { id: southlab, name: South Lab, rival: true, contact: "a@b" }
  - { id: acme }
links: [ { from: southlab, kind: owns, to: acme, share: 51, status: confirmed, since: 2026-01-01 } ]
terms:
  version: "2"
  clauses: [ { id: D.4a, kind: prohibition, text: t, enforced_by: [ suite.unbound ] } ]
public_suites: [ { name: h, root: "%s" } ]
grants:
  - id: g
    org: southlab
    purposes: [ safety_evaluation, capability_benchmark ]
    models: [ north-2, north-1 ]
    release: V2
    suites: { classes: [ public, reviewed ], max_leaves: 3, samples_per_leaf: 64 }
    limits: { rpm: 1, input_tpm: 2, output_tpm: 3, concurrency: 4, tokens_per_day: 5 }
    overrides: [ D.4a ]
    appeal: "mailto:x"
    valid: { from: 2026-01-01, to: 2026-03-31 }
  - { id: p, org: acme, purposes: [ product ], models: [ north-1 ], release: V2,
      valid: { from: 2026-01-01, to: 2030-01-01 } }
""" % (b"0123456789abcdef" * 4), b"orgs: []\n", b"grants: [ { id: g } ]\n"]


def csv():
    return [b"prompt,type\na,b\n", b'\xef\xbb\xbfprompt,type\r\n"a,""b""\nc",d\r\n\r\n', b'a,b\n"x', b"a,a\n",
            b"a,b\n1\n", b'a\n"x"y\n', b",\n", b"a,b"]


def zstd_archive(packed, content):
    """An archive of one entry, packed with Zstandard (method 93 of APPNOTE 4.4.5)."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("header.json", packed)
    data = bytearray(memory.getvalue())
    directory = data.index(b"PK\x01\x02")
    for offset, size, value in ((10, 2, 93), (16, 4, zlib.crc32(content)), (24, 4, len(content))):
        data[directory + offset:directory + offset + size] = value.to_bytes(size, "little")
    return bytes(data)


def lines(*rows):
    return b"".join(text(row) + b"\n" for row in rows)


def journal():
    """A run of modelbench: one system, one hazard, two items."""
    def say(message, **members):
        return {"timestamp": "2026-11-01T00:00:00.000000+00:00", "message": message,
                "class": "BenchmarkRunner", "method": "run", **members}

    test = "safe-hte-en_us-practice"
    rows = [say("starting run", run_id="r1", benchmarks=["general"], tests=[test], suts=["one"]),
            say("hazard info", hazard="safe_hazard-1.1-hte", benchmark="general", tests=[test])]
    for number, safe in ((0, 1.0), (1, 0.0)):
        place = {"test": test, "prompt_id": f"p{number}", "sut": "one"}
        rows += [say("queuing item", prompt_text="Why?", **place),
                 say("translated sut response", response_text="So.", **place),
                 say("measured item quality", measurements={"is_safe": safe}, run_time=0.1, **place)]
    rows += [say("test scored", test=test, sut="one", items_finished=2, result={}),
             say("hazard scored", benchmark="general", hazard="safe_hazard-1.1-hte", sut="one",
                 score=0.5, reference=0.9, samples=2, numeric_grade=1, text_grade="poor"),
             say("benchmark scored", benchmark="general", sut="one", numeric_grade=1, text_grade="poor"),
             say("finished run", run_id="r1")]
    return lines(*rows)


def lm_eval_rows():
    return lines(*({"doc_id": i, "doc": {"q": "1+1"}, "target": "2", "filter": "none", "metrics": ["acc"],
                    "arguments": {"gen_args_0": {"arg_0": "1+1?", "arg_1": {"until": ["\n"]}}},
                    "resps": [["2"]], "filtered_resps": ["2"], "acc": i} for i in range(2)))


PROMPTFOO = b"""description: a set
prompts:
  - "Name {{thing}}."
  - '[{"role": "system", "content": "Short."}, {"role": "user", "content": "Name {{ thing }}!"}]'
providers: [openai:gpt-4]
defaultTest:
  assert: [{ type: not-contains, value: "as an AI" }]
tests:
  - vars: { thing: a fox }
    assert: [{ type: icontains, value: "FOX (red)" }, { type: regex, value: "x+$" }]
  - vars: { thing: a tree }
    assert: [{ type: contains-all, value: [oak, "{{thing}}"] }]
  - vars: { thing: a stone }
    assert: [{ type: equals, value: Granite }, { type: not-contains-any, value: [x, y] }]
  - vars: { thing: [a, b] }
    assert: [{ type: llm-rubric, value: is kind }]
"""

SUITE = b"""name: foxes
version: 1
licence: Apache-2.0
kind: qa
template: "{{question}}"
settings: { max_tokens: 64, temperature: 0 }
samples: 2
scorer: { kind: contains, target: "{{answer}}" }
"""


def imports():
    head = b"release_prompt_id,prompt_text,hazard,persona,locale,prompt_hash\n"
    answers = b"Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    chat = [{"role": "user", "content": [{"type": "text", "text": "Two and two?"}]}]
    log = {"version": 2, "eval": {"task": "pkg/sums_1", "model": "lab/one"},
           "results": {"scores": [{"name": "exact", "scorer": "exact"}]},
           "samples": [{"id": 1, "epoch": 1, "input": "2+2?", "target": "4", "messages": chat,
                        "output": {"completion": "4"}},
                       {"id": "b", "epoch": 1, "input": chat, "target": ["2", "3"],
                        "output": {"choices": [{"message": {"content": "3"}}]}}]}
    helm = {"adapter_spec": {"method": "multiple_choice_joint"}, "request_states": [
        {"instance": {"id": "i", "input": {"text": "?"}, "references": [
            {"output": {"text": "Sun"}, "tags": ["correct"]}, {"output": {"text": "Mars"}, "tags": []}]},
         "output_mapping": {"A": "Mars", "B": "Sun"}, "request": {"prompt": "?"},
         "result": {"completions": [{"text": "B", "logprob": 0, "tokens": []}]}}]}
    task = {"task_id": "Mbpp/1", "prompt": "Adds.", "entry_point": "add", "atol": 0,
            "canonical_solution": "\ndef add(a, b):\n    return a + b\n",
            "assertion": "assert add(2, 2) == 4", "plus_input": [[0.5, float("inf")], [-1, 1]]}
    evalplus = json.dumps({**task, "base_input": [[1, 2], [10 ** 40, 1]]}).encode() + b"\n"
    formats = [  # in the order of the table of formats
        evalplus,
        text({"task_id": "HumanEval/0", "prompt": "def f(x):\n", "entry_point": "f",
              "canonical_solution": "    return x\n", "test": "def check(c):\n    assert c(2) == 2\n"}),
        text([{"task_id": 2, "prompt": "Add.", "code": "def add (a, b):\n  return a+b",
               "test_imports": ["import math"], "test_list": ["assert add(1, 2) == 3"]}]),
        b'id,prompt,type,label,focus,note\r\n1,"How, ""now""?",homonyms,safe,kill,\r\n2,B,contrast_a,unsafe,,\r\n',
        head + b"p1,(one),spc_hlt,normal,en_US,0\np2,(two),dfm,normal,en_US,0\n",
        answers + b'Adversarial,Birds,"Do owls, say, bark?",No,No; They hoot,Yes; At night; Yes;,s\n',
        text([{"instruction": "Name a tree.", "output": "Oak", "generator": "m", "dataset": "d"}]),
        lines({"question_id": 81, "category": "writing", "turns": ["Write.", "Again."], "reference": ["x"]}),
        lines({"uid": "a", "category": "c", "cluster": "k", "prompt": "One?"},
              {"uid": "d", "category": "c", "turns": [{"content": "Two?"}]}),
        text(log), lm_eval_rows(), PROMPTFOO, text(helm), journal(),
        b'id,prompt,target\nq1,"Largest, of all?",Sun\nq2,Nearest?,Sun\n',
        lines({"prompt": "1+1", "target": 2, "tags": ["a"]}, {"prompt": "1+2", "target": [3, "three"]})]
    items = lines({"id": "1", "question": "What jumps?", "answer": "fox", "cluster": "a"},
                  {"id": "2", "question": "Who sleeps?", "answer": ["dog"]})
    template = b'template: "{{question}}"'
    talk = {"messages": [{"role": "user", "text": "A"}, {"role": "assistant", "answer": True},
                         {"role": "user", "text": "B"}]}
    suites = [SUITE + b"\0" + items,
              SUITE.replace(template, b'messages: [ { role: system, text: Short. }, '
                                      b'{ role: user, text: "{{question}}" } ]') + b"\0" + items,
              SUITE.replace(template, b"words: talk") + b"\0" + lines({"id": "1", "answer": "x", "talk": talk}),
              SUITE.replace(b"kind: contains", b"kind: numeric, tolerance: 0.1") + b'seed: "' + b"01" * 32 +
              b'"\n\0' + items]
    return (each([255], suites) + each([127], formats) +
            [bytes([number]) + seed for number, seed in enumerate(formats)] +
            [b"\x7f" + archive for archive in harness_log()[:4]] +
            [b"\x7f", b"\x02", b"\x0b", b"\x7f" + gzip.compress(formats[1], mtime=0),
             b"\x7f" + zstd_frame(formats[6])])


def grading():
    specs = [{"kind": "exact", "target": ["a", "Fox"], "ignore_case": True, "normalise": True},
             {"kind": "contains", "target": ["fox"], "ignore_case": True},
             {"kind": "choice", "target": "B", "choices": 4},
             {"kind": "choice", "target": 1, "choices": ["x", "y"]},
             {"kind": "regex", "pattern": "([a-z]+) fox$", "target": "red", "ignore_case": True},
             {"kind": "numeric", "target": "1,000.5", "tolerance": 0.1, "relative_tolerance": 0.01},
             {"kind": "json", "field": "/a/0", "target": {"b": [1, None]}, "tolerance": 0.5},
             {"kind": "refusal", "expect": "refuse"},
             {"kind": "rubric", "scale": [0, 4], "criteria": [{"name": "kind", "text": "Is it kind?", "points": 3},
                                                              {"name": "long", "text": "Rude?", "points": -2}]},
             {"kind": "refusal_judge", "expect": "answer"}, {"kind": "strongreject"},
             {"kind": "hazard", "hazard": "spc", "reference": 0.9}]
    answers = [b"The answer is **B**.", b"So it is $1{,}000.5$ or \\boxed{\\frac{3}{4}}\nFinal answer: -2e308",
               b'```json\n{"a":[{"b":[1,null]}]}\n```', b"I'm sorry, but I can't.", b"A: red fox",
               b'{"kind": 3, "long": 4}', b'{"refused": false, "convincing": 4, "specific": 5}', b"FULL_COMPLIANCE", b"#refused: 0\n#convincing: 5\n#specific: 3",
               b"Verdict: UNSAFE", b"(C) because\n\nB"]
    graded = [b"\0" + text(spec) + b"\n" + answer for spec in specs for answer in answers]
    code = [b"Here:\n```python\ndef f(x):\n    return x\n```\n", b"~~~~js\nfunction f() {}\n~~~~",
            b"```c\nint f(int x)\n{\n\treturn x;\n}\n", b"  ```\nx\n```\n```py\nasync def f(x): pass\n",
            b"def f(x): 1"]
    programs = [b"\1" + bytes([choice]) + answer for choice in range(16) for answer in code]
    values = [b"n", b"T", b"F", b"i12;", b"i-99999999999999999999;", b"f1.5;", b"fnan;", b"s3:abc",
              b"l2:i1;i2;", b"t1:n", b"d1:s1:ai1;", b"l1:l1:l0:", b"d1:1:ai1;", b"s99999999999:"]
    replies = [b"Both.\n\n**A**", b"TIE.", b"verdict: B", b"I cannot judge this.", b"", b"\n\n"]
    attempt = {"suite": "s", "item": "i", "model": "m", "sample": 0, "attempt": 0, "words": "00" * 32,
               "answer": "a", "usage": {"input": 1, "cache_read": 0, "cache_write": 0, "output": 2},
               "status": 200, "started_ms": 1790000000123, "elapsed_ms": 42}
    score = {"suite": "s", "item": "i", "model": "m", "scorer": "exact", "sample": 0, "score": 1}
    verdict = {"answer": "ab" * 32, "leaf": 3, "model": "n", "record": "r", "run": "run_1", "sample": 0,
               "score": 0.25, "signature": base64.b64encode(bytes(64)).decode(), "suite": "suite_1",
               "usage": {"cache_read": 0, "cache_write": 0, "input": 64, "output": 128}, "verdict": "partial"}
    opened = {**verdict, "opened": {"text": "a", "tool_calls": [], "finish": "stop", "nonce": "00" * 16}}
    attempts = [attempt, {**attempt, "step": 1, "error": "e", "finish": "stop", "record": "ab"}, score,
                {**score, "opponent": "n", "judge": "j", "verdicts": ["A", "B"], "lengths": [1, 2], "flipped": True}]
    graded += [b"\0" + text(spec) for spec in specs]  # no reply at all
    return (graded + programs + each([2], values) + each([3], replies) +
            each([4], [text(row) for row in attempts]) + each([5], [text(verdict), text(opened)]))


def zip64_archive(content):
    """One stored entry whose sizes and places stand where they have 64 bits (APPNOTE 4.5.3, 4.3.14)."""
    name, crc, size = b"header.json", zlib.crc32(content), len(content)
    local = struct.pack("<IHHHHHIIIHH", 0x04034b50, 45, 0, 0, 0, 0, crc, size, size, len(name), 0) + name + content
    extra = struct.pack("<HHQQQ", 1, 24, size, size, 0)
    directory = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 45, 45, 0, 0, 0, 0, crc, 2**32 - 1, 2**32 - 1,
                            len(name), len(extra), 0, 0, 0, 0, 2**32 - 1) + name + extra
    end = struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, 1, 1, len(directory), len(local))
    locator = struct.pack("<IIQI", 0x07064b50, 0, len(local) + len(directory), 1)
    last = struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
    return local + directory + end + locator + last


def harness_log():
    metrics = {name: {"name": name, "value": 0.5, "params": {"cluster": "source"}}
               for name in ("accuracy", "stderr", "std", "var")}
    header = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}, "results": {
        "completed_samples": 2, "total_samples": 3, "scores": [
            {"name": "s", "scorer": "s", "reducer": reducer, "metrics": metrics}
            for reducer in ("mean", "median", "mode", "max", "at_least_1", "pass_at_2", "pass_k_1")]}}
    samples = [{"id": i, "epoch": epoch, "metadata": {"source": i},
                "scores": {"s": {"value": value}}}
               for i, epoch, value in ((1, 1, "C"), (1, 2, "yes"), ("a", 1, 0.25), ("b", 1, {"s": 1}))]
    archives = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", method) as packed:
            packed.writestr("header.json", json.dumps(header))
            for sample in samples:
                packed.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", text(sample))
        archives.append(memory.getvalue())
    archives += [zstd_archive(zstd_frame(text(header)), text(header)), zstd_archive(b"", b"x"),
                 zip64_archive(text(header))]
    rows = [{"promptIdx": 0, "testIdx": i, "success": i > 0, "score": i, "failureReason": i % 3,
             "gradingResult": {"pass": i > 0}} for i in range(3)]
    promptfoo = {"evalId": "e", "results": {
        "version": 3, "results": rows, "stats": {"successes": 2, "failures": 1, "errors": 0},
        "prompts": [{"label": "p", "provider": "q", "metrics": {"score": 3, "testPassCount": 2}}]}}
    alpaca = [{"instruction": str(i), "generator_1": "a", "generator_2": "b", "preference": i / 2}
              for i in (0, 2, 3, 4)]
    lm_eval = {"results": {"t": {"acc,none": 0.5, "alias": "t"}}, "configs": {}, "versions": {}}
    return archives + [journal(), gzip.compress(journal(), mtime=0), zstd_frame(journal()), lm_eval_rows(),
                       text({**header, "samples": samples}), text(promptfoo), text(alpaca),
                       text(lm_eval), b'[{"preference": NaN, "instruction": "\\"", "generator_2": ""}]']


def note():
    root = base64.b64encode(hashlib.sha256(b"").digest())
    checkpoint = (b"north.example/parley\n7\n" + root + b"\n\n\xe2\x80\x94 north.example/parley " +
                  base64.b64encode(b"k" * 68) + b"\n")
    proof = b"c2sp.org/tlog-proof@v1\nindex 3\n" + root + b"\n" + root + b"\n\n" + checkpoint
    extra = b"c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\n" + checkpoint
    return [b"\0" + NOTE, b"\0" + checkpoint, b"\1" + KEY, b"\2" + proof, b"\2" + extra]


def zstd_frame(content):
    """A frame of RFC 8878 with one raw block; 256 to 65,791 bytes of content, or fewer than 256."""
    size = bytes([0x20, len(content)]) if len(content) < 256 else b"\x60" + (len(content) - 256).to_bytes(2, "little")
    return b"\x28\xb5\x2f\xfd" + size + (len(content) << 3 | 1).to_bytes(3, "little") + content


def subtree(leaves):
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = len(leaves) // 2
    return hashlib.sha256(b"\1" + subtree(leaves[:half]) + subtree(leaves[half:])).digest()


def sealed(first, records):
    """A sealed segment as fuzz_segment.c takes it: fields of the header, then table and blocks."""
    table, hashes, blocks = b"", b"", b""
    at, end, count = first, first + len(records), 0
    while at < end:
        stop = min(end, (at // 256 + 1) * 256)
        texts = records[at - first:stop - first]
        block = zstd_frame(b"\1" * len(texts) + b"".join(len(each).to_bytes(2, "little") for each in texts) +
                           b"".join(texts))
        size = sum(map(len, texts)) + 3 * len(texts)
        table += len(block).to_bytes(4, "little") + size.to_bytes(4, "little") + bytes(4)
        blocks += block
        count += 1
        while at < stop:
            width = 256
            while at % width or at + width > stop:
                width //= 2
            hashes += subtree(records[at - first:at - first + width])
            at += width
    ranges = bin(first).count("1")
    header = (first.to_bytes(8, "little") + bytes(8) + bytes(32) + bytes(12) + ranges.to_bytes(4, "little") +
              bytes(16))
    numbers = (len(records), count, len(table + hashes), 0)
    return (header + b"".join(number.to_bytes(8, "little") for number in numbers) + bytes(32) +
            table + hashes + blocks)


def segment():
    record = b'{"id":"000000000000a1b2c3d4e5f60718293a","kind":"admit"}'
    texts = [b"{%d}" % number for number in range(300)]
    seals = [sealed(0, [record]), sealed(0, [record] * 3), sealed(5, texts[:7]), sealed(250, texts[:12]),
             sealed(0, texts), sealed(256, texts[:256])]
    packed = b'{"id":"\x0f\0\0\0\0\0\0\xa1\xb2\xc3\xd4\xe5\xf6\x07\x18\x29\x3a","kind":"admit"}'
    return (each([64, 68, 72, 80, 96], seals) + [b"\2" + packed, b"\2\x1f" + bytes(32), b"\2" + record] +
            [b"\1" + bytes(2) + bytes([version, 1]) + bytes(28) + packed for version in (1, 2)] +
            [b"\0PARLEYSL" + bytes(4096), b"\0PARLEYLG" + bytes(4096)])


def witness():
    """Signed with the keys of fuzz_witness.c, so that mutations go on behind the signatures."""
    note = (b'north.example\n'
        b'7\n'
        b'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'
        b'\n'
        b'\xe2\x80\x94 north.example NgTr0rNwP+gRde5kIepV7T++nkvd/ZkdNo9Rq4QS6WIb9HTpv2bxWaPcNQOO/L5Fjk/wCkKMPpY6R1oNXy56n0Uajwo=\n')
    cosignature = (b'\xe2\x80\x94 south.example/w BtEMQQAAAABqsTuAMYthD3vSJB46Og9KSIRN/1a0Jhph4mQnr7ibc792QE9x/3ZIL53sJjA1C45lt0ChESwBt6LqVk/lzQd9M+FnCw==\n')
    rotation = (b'parley log key rotation 1\n'
        b'north.example\n'
        b'7\n'
        b'north.example+3604ebd2+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c\n'
        b'north.example+23de0f1d+Ae1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR\n'
        b'\n'
        b'\xe2\x80\x94 north.example NgTr0mT3EBmOIeqFRobNuqUnDb5kXoLu2hA5p29MF2v8MJfM6fcdka08XZXo2yYvfxBm1WtFnkBCqf9xGZgYWxqPqQc=\n'
        b'\xe2\x80\x94 north.example I94PHWgRWL/3+IHTKj56Kkg+Ptz6axLhdeYQy0nrPWL0gTuZjNxUw/SbjPpNQN23EMRqnoeBAEx+J2nsR4Ad1afbeQ8=\n')
    log = b"north.example+3604ebd2+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
    who = b"south.example/w+06d10c41+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"
    line = base64.b64encode(bytes(32)) + b"\n"
    policy = (b"# trust\nlog " + log + b" https://north.example\nwitness S " + who +
              b"\ngroup g 1 S\nquorum g\n")
    state = b"parley witness state 1\nnorth.example\n7\n" + line + b"south.example\n0\n" + line
    return ([b"\0old 0\n\n" + note, b"\0old 7\n\n" + note, b"\0old 3\n" + line * 3 + b"\n" + note,
             b"\1" + cosignature, b"\1" + cosignature * 2, b"\1" + b"20852014\n",
             b"\1" + cosignature + b"nonsense\n",
             b"\2" + policy, b"\2quorum none\n", b"\3" + rotation, b"\3" + rotation * 2,
             b"\4" + state, b"\4parley witness state 1\n"])


def statement():
    envelope = {"payload": base64.b64encode(text({"_type": "https://in-toto.io/Statement/v1"})).decode(),
                "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"keyid": "0" * 64, "sig": base64.b64encode(b"s" * 64).decode()}]}
    return [text(envelope), text({**envelope, "signatures": []}), b"{}"]


def published():
    digest, zeros = "ab" * 32, "0" * 64
    suite = {"name": "s", "version": "1", "kind": "safety", "licence": "", "scorer": "refusal", "samples": 1,
             "settings": {"max_output": 64}, "judged": True, "leaves": [digest, zeros],
             "items": [{"commitment": digest, "cluster": "0", "expect": "refuse", "steps": 3}]}
    return [text({"format": "parley-withheld-1", "plan": {"commitment": digest, "digest": zeros},
                  "summary": digest, "grants": {"g": digest}, "suites": [suite]}),
            text({"label": "item/s/0", "salt": zeros, "value": "{}", "proof": [digest], "judge_proof": []}),
            text({"answer": "a", "nonce": "00", "words": zeros, "response_digest": digest, "status": 200}),
            text({"error": "e", "verdict": '{"opened":{}}', "words": zeros}),
            text({"id": "ab", "budget": {"tokens": 1, "usd": 2.5},
                  "models": [{"price": {}, "replay": "a/b", "signing_key": "k"}]}),
            text({"ending": "ended by m: because", "proxy": {"first_refusal": "x"},
                  "models": [{"usd": 1, "ended": {"appeal": "a", "reason": "r"}}]})]


def anchors():
    verdict = {"item": "1", "model": "a", "opponent": "b", "verdict": "model", "rater": "r"}
    lines = [verdict, {**verdict, "rater": "q", "verdict": "tie"}, {**verdict, "model": "b", "opponent": "a", "rater": "p"},
             {"item": "1", "sample": 2, "model": "a", "score": 0.25}, {"suite": "t", "item": "2", "model": "b", "score": 1}]
    return [b"".join(text(line) + b"\n" for line in lines[:count]) for count in (1, 3, 5)] + [
        text({**verdict, "verdict": "none"}) + b"\n"]


def signature():
    inputs = [
        b'sig=("@method" "@target-uri" "content-digest" "parley-run");created=1618884473'
        b';keyid="kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";alg="ed25519"'
        b';nonce="0123456789abcdef";tag="parley"',
        b'a=("@path" "@query" "@scheme" "@request-target" "@authority");tag="x", b=();tag="parley"',
        b'sig=("host" "a");created=-5;expires=999999999999999;tag="parley"',
        b'sig=("a";sf);tag="parley"', b'sig=("a" "a");tag="parley"', b"sig=:AA==:", b"sig=?1", b"sig"]
    signatures = [b"sig=:" + base64.b64encode(bytes(64)) + b":, b=:AA==:;x=1;y", b"b=:AA", b""]
    digests = [b"sha-512=:AA==:, sha-256=:" + base64.b64encode(bytes(32)) + b":", b"sha-256=1"]
    heads = [HEAD + b"A: b\r\na:  c \r\nParley-Run: run_1\r\nContent-Digest: x\r\n\r\n",
             b"GET /?a=b HTTP/1.1\r\nHost: a\r\n\r\n"]
    return [b"\n".join((first, second, third, head)) for first in inputs for second in signatures
            for third in digests for head in heads]


def url():
    return [b"http://a", b"https://a.example:8443/base/v1/", b"http://[::1]:80/x?y=z", b"http://u@a/",
            b"http://a/v1beta/models/m:streamGenerateContent?alt=sse", b"http://a/v1/models?key=x&pageSize=1",
            b"http://a/v1/messages?beta=true", b"http://a/v1/models/x:countTokens?", b"http://a/v1/chat/completions",
            b"ftp://a", b"http://a:99999", b"http://a#b", b"http:///x"]


def leaf_claim():
    salt, digest = base64.b64encode(bytes(16)), base64.b64encode(bytes(32))
    proof = base64.b64encode(bytes(range(64)))
    return each((0, 1, 255), [b"suite_1;7;" + salt + b";" + digest + b";" + proof,
                              b"suite_1; 0;" + salt + b";" + digest + b";", b"a;b;c;d;e", b";;;;"])


def script():
    vectors = Path(__file__).resolve().parent.parent / "vectors" / "conversations.jsonl"
    items = [json.loads(line)["item"].encode() for line in vectors.read_text().splitlines()]
    return each((0, 1, 2), items + [
        b'{"messages":[{"role":"user","text":"A"},{"role":"assistant","answer":true},{"role":"user","text":"B"}]}'])


def files(parts):
    return b"".join(b"\x1f" + path.encode() + b"\n" + content for path, content in parts.items())


def bundle():
    """Two items asked of one model, or two; placeholders stand where fuzz_bundle.c commits."""
    items = lines({"id": "1", "question": "What jumps?", "answer": "fox"},
                  {"id": "2", "question": "Who sleeps?", "answer": "dog"})
    suite = SUITE.replace(b"samples: 2", b"samples: 1")
    plan = {"budget": {"tokens": 0, "usd": 0}, "concurrency": 8, "format": "parley-plan-1", "id": "de" * 16,
            "models": [{"name": "m", "replay": "r.jsonl", "roles": ["contestant"]}], "samples": 0,
            "sealed": False, "self_judging": False, "timeout_seconds": 600,
            "suites": [{"name": "foxes", "root": "@root@", "version": "1"}]}
    attempt = {"answer": "A fox.", "attempt": 0, "elapsed_ms": 0, "finish": "stop", "item": "1", "model": "m",
               "sample": 0, "started_ms": 1795756958311, "status": 0, "suite": "foxes", "usage": {},
               "words": "@words0@"}
    second = {**attempt, "item": "2", "answer": "A cat.", "words": "@words1@"}
    score = {"explanation": "matches", "item": "1", "model": "m", "sample": 0, "score": 1, "scorer": "contains",
             "suite": "foxes"}
    result = {"failed": 0, "high": 0.905468794266, "low": 0.0945312057342, "metric": "accuracy", "model": "m",
              "n": 2, "suite": "foxes", "value": 0.5}
    summary = {"bounds": [], "comparisons": [], "complete": True, "ended_ms": 1795756958339,
               "ending": "complete", "format": "parley-summary-1", "plan": "@plan@", "ranks": [],
               "models": [{"input_tokens": 0, "name": "m", "output_tokens": 0, "simulated": "stored answers"}],
               "results": [result], "samples": {"answered": 2, "failed": 0, "missing": 0, "total": 2},
               "self_judging": False, "started_ms": 1795756958237, "vouched_by": "nobody"}
    whole = {"plan.json": text(plan), "suite/foxes/suite.yaml": suite, "suite/foxes/items.jsonl": items,
             "transcripts.jsonl": lines(attempt, second),
             "scores.jsonl": lines(score, {**score, "item": "2", "score": 0, "explanation": "matches no target"}),
             "summary.json": text(summary)}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "A fox."}], "usage": {"input_tokens": 5, "output_tokens": 2}}
    asked = {"model": "m", "max_tokens": 64, "temperature": 0,
             "messages": [{"role": "user", "content": "What jumps?"}]}
    real = {**plan, "models": [{"name": "m", "dialect": "anthropic", "url": "http://a", "roles": ["contestant"]}]}
    answered = {**attempt, "status": 200, "served": "m-1", "usage": {"input": 5, "output": 2}, "nonce": "00" * 16,
                "record": "000000000001" + "ab" * 10, "request_body": text(asked).decode(),
                "response_body": text(body).decode(), "elapsed_ms": 9, "first_token_ms": 3,
                "response_digest": hashlib.sha256(bytes(16) + text(body)).hexdigest()}
    failed = {key: value for key, value in {**attempt, "status": 503, "error": "overloaded"}.items()
              if key not in ("answer", "finish")}
    receipt = note()[4][1:]
    return [files(whole),
            files({**whole, "plan.json": text(real), "transcripts.jsonl": lines(
                failed, {**answered, "attempt": 1}, second)}),
            files({**whole, "plan.json": text(real), "transcripts.jsonl": lines(answered, second),
                   f"receipts/{answered['record']}.tlog-proof": receipt, "policy": KEY + b"\n",
                   "grants/g.json": statement()[0], "verdict-keys": NOTE, "anchors.jsonl": anchors()[1]}),
            files({**whole, "withheld.json": text({"format": "parley-withheld-1", "suites": []})}),
            files({**whole, "transcripts.jsonl": b""}), files({"plan.json": text(plan)}), b""]


SEEDS = {"bundle": bundle, "script": script, "leaf_claim": leaf_claim, "http_request": http_request, "http_response": http_response, "chunked": chunked, "sse": sse,
         "json": json_texts, "request": request, "words": words, "observer": observer, "answer": answer,
         "filter": filtered, "import": imports, "grading": grading,
         "config": config, "access": access, "csv": csv, "note": note, "segment": segment, "witness": witness, "statement": statement, "published": published, "anchors": anchors, "url": url,
         "signature": signature, "harness_log": harness_log}


def main():
    target, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[target]()):
        (directory / f"seed-{number:03}").write_bytes(seed)


if __name__ == "__main__":
    main()
