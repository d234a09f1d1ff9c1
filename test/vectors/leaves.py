#!/usr/bin/env python3
"""Writes leaves.jsonl beside this file: leaves, roots and proofs by docs/formats/leaves.md, computed
with Python's own hashes, so that the C code is checked against a second implementation."""
import hashlib
import hmac
import json
import os


def sha(data):
    return hashlib.sha256(data).digest()


def canonical(value):
    # The values below are ASCII-keyed and without fractions, where this equals RFC 8785.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def salt(seed, index):
    return hmac.new(seed, str(index).encode(), hashlib.sha256).digest()[:16]


def tree(hashes):
    if not hashes:
        return sha(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return sha(b"\1" + tree(hashes[:k]) + tree(hashes[k:]))


def path(index, hashes):
    if len(hashes) == 1:
        return []
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    if index < k:
        return path(index, hashes[:k]) + [tree(hashes[k:])]
    return path(index - k, hashes[k:]) + [tree(hashes[:k])]


def words(text, system=None):
    value = {"messages": [{"role": "user", "parts": [{"type": "text", "text": text}]}]}
    if system:
        value["system"] = [{"type": "text", "text": system}]
    return canonical(value)


def messages(*turns):
    """A conversation: texts of the user, None where the answer that was served stands."""
    return canonical({"messages": [
        {"role": "assistant", "parts": [{"type": "answer"}]} if turn is None else
        {"role": "user", "parts": [{"type": "text", "text": turn}]} for turn in turns]})


def judge(*pieces):
    """A judge's prompt: texts, and numbers of leaves where answers to them stand."""
    return canonical({"messages": [{"role": "user", "parts": [{"type": "template", "pieces": [
        {"leaf": piece} if isinstance(piece, int) else piece for piece in pieces]}]}]})


def grading(identifier, scorer, target=None, cluster=None):
    value = {"id": identifier, "scorer": scorer}
    if target is not None:
        value["target"] = target
    if cluster is not None:
        value["cluster"] = cluster
    return canonical(value)


def case(name, seed, items):
    leaves, hashes = [], []
    for index, (text, grade) in enumerate(items):
        s = salt(seed, index)
        data = sha(s + text.encode()) + sha(s + grade.encode())
        leaves.append({"words": text, "grading": grade, "salt": s.hex(), "data": data.hex()})
        hashes.append(sha(b"\0" + data))
    return {
        "name": name,
        "seed": seed.hex(),
        "leaves": leaves,
        "root": tree(hashes).hex(),
        "proofs": [[h.hex() for h in path(i, hashes)] for i in range(len(hashes))],
    }


def many(count):
    return [(words("What is %d + %d?" % (i, i)),
             grading(str(i), {"kind": "exact"}, 2 * i, "g%d" % (i % 3))) for i in range(count)]


ZEROS = bytes(32)
CASES = [
    case("foxes: the example of docs/formats/suite.md", ZEROS,
         [(words("What jumps over the dog?"), grading("1", {"kind": "contains"}, "fox")),
          (words("What is the opposite of day?"), grading("2", {"kind": "contains"}, "night"))]),
    case("one leaf", ZEROS, many(1)),
    case("system prompt, no target, private seed", bytes(range(32)),
         [(words("Übersetze „fox“.", "Answer in one word."), grading("a/1", {"kind": "pairwise"})),
          (words("line\nbreak \u2028 \U0001f98a"), grading("a/2", {"kind": "pairwise"}))]),
    case("a conversation and a judge", ZEROS,
         [(messages("What jumps over the dog?", None, "Why does it?"), grading("1", {"kind": "pairwise"})),
          (judge("Which is better?\n\nA: ", 0, "\n\nB: ", 0, "\n\nOne letter."),
           grading("1/judge", {"kind": "verdict"}))]),
    case("seven leaves", ZEROS, many(7)),
    case("thirteen leaves, indexes of two digits", sha(b"seed"), many(13)),
]

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "leaves.jsonl"), "w",
          encoding="utf-8") as out:
    for one in CASES:
        out.write(json.dumps(one, ensure_ascii=False) + "\n")
