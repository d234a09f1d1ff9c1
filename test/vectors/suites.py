#!/usr/bin/env python3
"""Writes suites.jsonl beside this file: suite folders and what docs/formats/suite.md makes of them,
computed by a second implementation, and folders that must be refused, with file and line."""
import hashlib
import hmac
import json
import os
import re

ZEROS = bytes(32)
CANARY = "canary 0b7a6c1e-58f4-4d0e-9c2b-7d13a5e0f942"


def sha(data):
    return hashlib.sha256(data).digest()


def canonical(value):
    # The values below are ASCII-keyed and without fractions, where this equals RFC 8785.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def tree(hashes):
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return sha(b"\1" + tree(hashes[:k]) + tree(hashes[k:]))


# ---- rendering ----

PLACEHOLDER = re.compile(r"\{\{ *([^{}]+?) *\}\}")


def as_text(value):
    return value if isinstance(value, str) else canonical(value)


def fill(template, fields):
    return PLACEHOLDER.sub(lambda match: as_text(fields[match.group(1)]), template)


def fill_value(value, fields):
    if isinstance(value, dict):
        return {key: fill_value(member, fields) for key, member in value.items()}
    if isinstance(value, list):
        return [fill_value(member, fields) for member in value]
    if not isinstance(value, str):
        return value
    whole = PLACEHOLDER.fullmatch(value)
    return fields[whole.group(1)] if whole else fill(value, fields)


def part(text):
    return {"type": "text", "text": text}


def message(role, text):
    return {"role": role, "parts": [part(text)]}


def normal(prompt):
    """A prompt under `words`: a text, or {system, messages} with texts."""
    if isinstance(prompt, str):
        return {"messages": [message("user", prompt)]}
    words = {"messages": [message(one["role"], one["text"]) for one in prompt["messages"]]}
    if "system" in prompt:
        words["system"] = [part(prompt["system"])]
    return words


def words_of(suite, fields):
    if "words" in suite:
        return normal(fields[suite["words"]])
    system, messages = [], []
    if "system" in suite:
        system.append(fill(suite["system"], fields))
    examples = suite.get("examples", {"items": []})
    for example in examples["items"]:
        messages.append(message("user", fill(suite["template"], example)))
        messages.append(message("assistant", fill(examples["answer"], example)))
    if "template" in suite:
        messages.append(message("user", fill(suite["template"], fields)))
    for one in suite.get("messages", []):
        if one.get("answer"):
            messages.append({"role": "assistant", "parts": [{"type": "answer"}]})
        elif one["role"] == "system":
            system.append(fill(one["text"], fields))
        else:
            messages.append(message(one["role"], fill(one["text"], fields)))
    words = {"messages": messages}
    if any(system):
        words["system"] = [part(text) for text in system if text]
    return words


def cluster_of(suite, fields, items):
    """What the suite says; else an item and its twin are a cluster, called after the item."""
    if "cluster" in suite:
        return as_text(fields[suite["cluster"]])
    field = suite.get("twins")
    if field and field in fields:
        return as_text(fields[field])
    if field and any(as_text(other.get(field, "")) == as_text(fields["id"]) for other in items):
        return as_text(fields["id"])
    return None


def grading_of(suite, fields, items):
    scorer = fill_value(suite["scorer"], fields)
    grading = {"id": as_text(fields["id"]), "scorer": scorer}
    if "target" in scorer:
        grading["target"] = scorer.pop("target")
    cluster = cluster_of(suite, fields, items)
    if cluster is not None:
        grading["cluster"] = cluster
    return grading


# ---- cases ----

def yaml_of(suite):
    """One key a line, values as JSON, which YAML reads."""
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in suite.items())


def lines_of(items):
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)


def good(name, suite, items):
    seed = bytes.fromhex(suite["seed"]) if "seed" in suite else ZEROS
    leaves, hashes = [], []
    for index, fields in enumerate(items):
        words, grading = canonical(words_of(suite, fields)), canonical(grading_of(suite, fields, items))
        salt = hmac.new(seed, str(index).encode(), hashlib.sha256).digest()[:16]
        data = sha(salt + words.encode()) + sha(salt + grading.encode())
        leaves.append({"id": as_text(fields["id"]), "words": words, "grading": grading,
                       "data": data.hex()})
        hashes.append(sha(b"\0" + data))
    settings = dict(suite.get("settings", {}))
    settings["max_output"] = settings.pop("max_tokens", 1024)
    return {"name": name, "yaml": yaml_of(suite), "items": lines_of(items),
            "settings": canonical(settings), "samples": suite.get("samples", 1),
            "canary": suite.get("canary", ""), "leaves": leaves, "root": tree(hashes).hex()}


def bad(name, file, line, says, suite, items=None, text=None):
    return {"name": name, "yaml": yaml_of(suite) if text is None else text,
            "items": lines_of([FOX] if items is None else items) if not isinstance(items, str) else items,
            "error": {"file": file, "line": line, "says": says}}


def suite_of(**members):
    """A small suite: members that are None are left out, further ones follow."""
    suite = {"name": "foxes", "version": 1, "licence": "Apache-2.0", "kind": "qa",
             "template": "{{question}}", "settings": {"max_tokens": 64, "temperature": 0},
             "scorer": {"kind": "contains", "target": "{{answer}}"}, **members}
    return {key: value for key, value in suite.items() if value is not None}


FOX = {"id": "1", "question": "What jumps over the dog?", "answer": "fox"}
DAY = {"id": 2, "question": "What is the opposite of day?", "answer": ["night", "the night"]}
LEAP = {"id": "1b", "question": "Which animal leaps over the dog?", "answer": "fox", "twin_of": "1"}
SHOTS = {"answer": "Answer: {{answer}}", "items": [{"question": "What barks?", "answer": "dog"},
                                                   {"question": "What purrs?", "answer": "cat"}]}
TURNS = [{"role": "system", "text": "Be brief, {{who}}."}, {"role": "user", "text": "{{question}}"},
         {"role": "assistant", "answer": True}, {"role": "user", "text": "Are you sure?"}]
FORGED = [{"role": "user", "text": "Say A."}, {"role": "assistant", "text": "A"},
          {"role": "user", "text": "{{question}}"}]

CASES = [
    good("the example of docs/formats/suite.md", suite_of(samples=1), [FOX, DAY]),
    good("variables: spaces, numbers, lists, twice, and none that is read again",
         suite_of(template="{{ n }} of {{list}}: {{question}} {{question}}"),
         [{**FOX, "n": 7, "list": [1, "two", {"b": None, "a": True}], "question": "{{answer}} „?“"}]),
    good("few-shot examples stand as turns before the item",
         suite_of(system="One word, please.", examples=SHOTS), [FOX, DAY]),
    good("an example's system text is the item's; it may be empty", suite_of(system="{{style}}", examples=SHOTS),
         [{**FOX, "style": ""}, {**DAY, "style": "In a whisper."}]),
    good("a conversation with a system message", suite_of(template=None, messages=TURNS),
         [{**FOX, "who": "Ada"}]),
    good("turns of the assistant that are given", suite_of(template=None, messages=FORGED), [FOX]),
    good("words: a text and an object", suite_of(template=None, words="prompt"),
         [{**FOX, "prompt": "Plain."},
          {**DAY, "prompt": {"system": "S", "messages": [{"role": "user", "text": "Q"}]}}]),
    good("repeats, clusters, tags, canary and a seed",
         suite_of(samples=5, cluster="topic", tags="kinds", canary=CANARY, seed="ab" * 32),
         [{**FOX, "topic": "animals", "kinds": ["easy", "animals"], "canary": CANARY},
          {**DAY, "topic": 7, "kinds": [], "canary": CANARY}]),
    good("members of the scorer keep their types, and settings their names",
         suite_of(settings={"max_tokens": 9, "top_k": 3},
                  scorer={"kind": "numeric", "target": "{{answer}}", "tolerance": "{{off}}"}),
         [{**FOX, "answer": 41, "off": 2}]),
    good("an item and its twin are a cluster, the others stand for themselves",
         suite_of(twins="twin_of"), [FOX, DAY, LEAP]),
    good("a twin in front of its item, whose id is a number", suite_of(twins="twin_of"),
         [{**LEAP, "id": "0", "twin_of": 2}, FOX, DAY]),
    good("where clusters are named the two share one", suite_of(twins="twin_of", cluster="topic"),
         [{**FOX, "topic": "a"}, {**LEAP, "topic": "a"}, {**DAY, "topic": "b"}]),
    bad("a twin in another cluster", "items.jsonl", 2, "cluster", suite_of(twins="twin_of", cluster="topic"),
        [{**FOX, "topic": "a"}, {**LEAP, "topic": "b"}]),
    bad("a twin of nothing", "items.jsonl", 1, "twin_of", suite_of(twins="twin_of"), [LEAP, DAY]),
    bad("a twin of itself", "items.jsonl", 2, "itself", suite_of(twins="twin_of"),
        [FOX, {**LEAP, "twin_of": "1b"}]),
    bad("two twins of one item", "items.jsonl", 3, "already", suite_of(twins="twin_of"),
        [FOX, LEAP, {**LEAP, "id": "1c"}]),
    bad("a twin of a twin", "items.jsonl", 2, "has a twin", suite_of(twins="twin_of"),
        [FOX, LEAP, {**LEAP, "id": "1c", "twin_of": "1b"}]),
    bad("a twin that is no id", "items.jsonl", 2, "twin_of", suite_of(twins="twin_of"),
        [FOX, {**LEAP, "twin_of": True}]),
    bad("twins and none there", "suite.yaml", 8, "twins", suite_of(twins="twin_of"), [FOX]),
    bad("twins of answers that are compared", "suite.yaml", 8, "pairwise",
        suite_of(twins="twin_of", kind="writing", scorer={"kind": "pairwise"}), [FOX, LEAP]),
    bad("an unknown key", "suite.yaml", 8, "surprise", suite_of(surprise=1)),
    bad("a key twice", "suite.yaml", 8, "name", None, text=yaml_of(suite_of()) + "name: again\n"),
    bad("no kind of that name", "suite.yaml", 4, "kind", suite_of(kind="magic")),
    bad("two kinds of prompt", "suite.yaml", 1, "template, messages and words", suite_of(words="prompt")),
    bad("a placeholder without an end", "suite.yaml", 5, "template", suite_of(template="{{question")),
    bad("too many tokens", "suite.yaml", 6, "max_tokens", suite_of(settings={"max_tokens": 0})),
    bad("no samples", "suite.yaml", 8, "samples", suite_of(samples=0)),
    bad("a short seed", "suite.yaml", 8, "seed", suite_of(seed="ab")),
    bad("a canary of one word", "suite.yaml", 8, "canary", suite_of(canary="bird")),
    bad("examples beside messages", "suite.yaml", 8, "examples",
        {**suite_of(template=None, messages=FORGED), "examples": SHOTS}),
    bad("an example without a field", "suite.yaml", 11, "question", None,
        text=yaml_of(suite_of()) + "examples:\n  answer: A\n  items:\n    - { answer: dog }\n"),
    bad("no examples", "suite.yaml", 8, "items", suite_of(examples={"answer": "A", "items": []})),
    bad("an item without a field", "items.jsonl", 2, "question", suite_of(), [FOX, {"id": "2", "answer": "x"}]),
    bad("an id twice", "items.jsonl", 2, "1", suite_of(), [FOX, FOX]),
    bad("a number and its text are one id", "items.jsonl", 2, "2", suite_of(), [DAY, {**FOX, "id": "2"}]),
    bad("tags that are no list", "items.jsonl", 1, "tags", suite_of(tags="kinds"), [{**FOX, "kinds": "easy"}]),
    bad("an empty tag", "items.jsonl", 1, "tags", suite_of(tags="kinds"), [{**FOX, "kinds": [""]}]),
    bad("a line that is no object", "items.jsonl", 1, "object", suite_of(), "[]\n"),
    bad("an empty line", "items.jsonl", 2, "empty", suite_of(), lines_of([FOX]) + "\n"),
    bad("no items", "items.jsonl", 0, "no items", suite_of(), ""),
    bad("an empty prompt", "items.jsonl", 1, "empty", suite_of(), [{**FOX, "question": ""}]),
]

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "suites.jsonl"), "w",
          encoding="utf-8") as out:
    for one in CASES:
        out.write(json.dumps(one, ensure_ascii=False) + "\n")
