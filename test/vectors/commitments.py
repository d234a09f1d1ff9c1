"""Makes commitments.jsonl: commitments of published bundles from docs/formats/published.md alone."""

import hashlib
import json
from pathlib import Path


def commitment(salt, label, value):
    framed = b"".join(len(text).to_bytes(8, "big") + text for text in (label, value))
    return hashlib.sha256(b"parley-commitment-1\n" + salt + framed).hexdigest()


def case(salt, label, value, opened=True, other=None):
    made = {"salt": salt, "label": label, "value": value}
    about = {**made, **(other or {})}
    return {**made, "opened": opened, "commitment": commitment(
        bytes.fromhex(about["salt"]), about["label"].encode(), about["value"].encode())}


def cases():
    zeros, ones, count = "00" * 32, "ff" * 32, bytes(range(32)).hex()
    yield case(zeros, "plan", "")
    yield case(count, "plan", '{"format":"parley-plan-1"}')
    yield case(ones, "item/foxes/0", '{"grading":{},"salt":"00","words":{}}')
    yield case(count, "attempt/foxes/12/345", '{"answer":"Füchse 🦊","words":"ab"}')
    yield case(count, "grant/south-eval-1", "\u0001 a control character, and a line\nmore")
    yield case(count, "summary", "x" * 1000)
    # The frame keeps label and value apart.
    yield case(count, "ab", "c", False, {"label": "a", "value": "bc"})
    yield case(count, "plan", "text", False, {"label": "summary"})
    yield case(count, "item/foxes/1", "text", False, {"label": "item/foxes/2"})
    yield case(count, "plan", "text", False, {"value": "texT"})
    yield case(count, "plan", "text", False, {"value": "text "})
    yield case(count, "plan", "text", False, {"salt": ones})


if __name__ == "__main__":
    Path(__file__).with_suffix(".jsonl").write_text(
        "".join(json.dumps(row, sort_keys=True) + "\n" for row in cases()))
