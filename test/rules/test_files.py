"""Rules for every file of the repository: encoding, line ends, size, no path of somebody's machine."""

import json
import re

from rules import SOURCE, finish, skip, tracked_files

LINES_MAX = 1000
CODE = {".c", ".h", ".py", ".sh", ".build"}
HOME = re.compile(r"(?<![\w.:$}-])/(?:" + "|".join(("home", "ro" + "ot", "wo" + "rk", "Users")) +
                  r")/[\w.]")
EMPTY_PROMISE = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + r"X)\b")


def read_text(path):
    """The text, or None for a binary file."""
    data = path.read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def check_lines(where, path, text):
    is_code = path.suffix in CODE
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith((" ", "\t")) and is_code:
            yield f"{where}:{number}: white space at the end of the line"
        if line.endswith("\r"):
            yield f"{where}:{number}: a carriage return"
        if HOME.search(line):
            yield f"{where}:{number}: an absolute path of somebody's machine"
        if is_code and EMPTY_PROMISE.search(line):
            yield f"{where}:{number}: an empty promise; do it or leave it out"


def check(path):
    where = path.relative_to(SOURCE)
    text = read_text(path)
    if text is None:
        return
    if text and not text.endswith("\n"):
        yield f"{where}: does not end with a newline"
    if path.suffix in (".c", ".h") and text.count("\n") > LINES_MAX:
        yield f"{where}: more than {LINES_MAX} lines; split it"
    yield from check_lines(where, path, text)


def check_json_lines(path):
    for number, line in enumerate(path.read_text().split("\n")[:-1], 1):
        try:
            json.loads(line)
        except ValueError as error:
            yield f"{path.relative_to(SOURCE)}:{number}: {error}"


def main():
    files = tracked_files()
    if files is None:
        skip("this is no git work tree")
    problems = []
    for path in files:
        problems += check(path)
        if path.suffix == ".jsonl":
            problems += check_json_lines(path)
        if path.suffix == ".json":
            try:
                json.loads(path.read_text())
            except ValueError as error:
                problems.append(f"{path.relative_to(SOURCE)}: {error}")
    finish(problems, f"{len(files)} files")


main()
