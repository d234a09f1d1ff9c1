"""A harness of another make, as `parley bench proxy` runs one: it knows an address and a key from its
environment, asks one question after another (or several at once) in the API of an official SDK, and
writes down what it got as JSON lines.

    proxy_harness.py OUT [--api anthropic|openai] [--stream] [--threads N] [--model NAME]
                     [--settings JSON] [--exit N] [--after N COMMAND] [--hang-up-at TEXT] QUESTION …

A question "A || B || C" is a conversation: B is asked after the answer to A.
"""

import argparse
import http.client
import json
import os
import signal
import sys
import threading
import time
from urllib.parse import urlsplit

APIS = {"anthropic": ("ANTHROPIC", "/v1/messages", "x-api-key", ""),
        "openai": ("OPENAI", "/chat/completions", "authorization", "Bearer ")}


def connect(api, timeout):
    url = urlsplit(os.environ[APIS[api][0] + "_BASE_URL"])
    return http.client.HTTPConnection(url.hostname, url.port, timeout=timeout), url.path


def read(answer, hang_up_at):
    """The whole body, or as far as one does not hang up because a text stands in it."""
    body = b""
    while piece := answer.read1(65536):
        body += piece
        if hang_up_at and hang_up_at.encode() in body:
            raise ConnectionAbortedError
    return body.decode()


def ask(options, question, timeout=60, key=None):
    """One request; (status, headers, body)."""
    prefix, path, field, scheme = APIS[options.api]
    connection, base = connect(options.api, timeout)
    messages = question if isinstance(question, list) else [{"role": "user", "content": question}]
    body = {"model": options.model, "messages": messages, **json.loads(options.settings)}
    if options.stream:
        body["stream"] = True
    headers = {"content-type": "application/json", "user-agent": "proxy-harness/1",
               field: scheme + (key or os.environ[prefix + "_API_KEY"])}
    if options.api == "anthropic":
        headers["anthropic-version"] = "2023-06-01"
    try:
        connection.request("POST", base + path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = read(answer, options.hang_up_at)
        return answer.status, dict((name.lower(), value) for name, value in answer.getheaders()), text
    finally:
        connection.close()


def text_of(options, body):
    """The answer's text."""
    if options.stream:
        text = ""
        for line in body.splitlines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            if options.api == "anthropic":
                text += event.get("delta", {}).get("text", "")
            else:
                for choice in event["choices"]:
                    text += choice["delta"].get("content") or ""
        return text
    answer = json.loads(body)
    if options.api == "anthropic":
        return "".join(part["text"] for part in answer["content"])
    return answer["choices"][0]["message"]["content"]


class Harness:
    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()
        self.out = open(options.out, "a", encoding="utf-8")
        self.left = list(options.questions)
        self.done = 0

    def note(self, **line):
        with self.lock:
            self.out.write(json.dumps(line) + "\n")
            self.out.flush()
            self.done += 1

    def one(self, question):
        for attempt in range(self.options.tries):
            try:
                status, headers, body = ask(self.options, question, self.options.timeout)
            except OSError as error:
                if attempt + 1 == self.options.tries:
                    self.note(question=question, error=type(error).__name__)
                continue
            if status in (429, 500, 502, 503, 529) and attempt + 1 < self.options.tries:
                continue
            line = {"question": question, "status": status, "attempt": attempt,
                    "record": headers.get("parley-record"), "retry": headers.get("x-should-retry")}
            if status == 200 and not self.options.raw:
                line["answer"] = text_of(self.options, body)
            else:
                line["body"] = body
            self.note(**line)
            return line.get("answer")
        return None

    def work(self):
        while True:
            with self.lock:
                if not self.left:
                    return
                question = self.left.pop(0)
            messages = []
            for turn in question.split(" || "):
                messages.append({"role": "user", "content": turn})
                answer = self.one(list(messages) if " || " in question else question)
                messages.append({"role": "assistant", "content": answer})
                if answer is None:
                    break


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--api", default="anthropic")
    parser.add_argument("--model", default="north-1")
    parser.add_argument("--settings", default='{"max_tokens": 64, "temperature": 0}')
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60)
    parser.add_argument("--hang-up-at")
    parser.add_argument("--exit", type=int, default=0)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--environment")
    parser.add_argument("questions", nargs="*")
    options = parser.parse_intermixed_args()
    if options.environment:
        with open(options.environment, "w", encoding="utf-8") as file:
            json.dump(dict(os.environ), file)
    harness = Harness(options)
    threads = [threading.Thread(target=harness.work) for _ in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("harness: done", flush=True)
    if options.hang:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        while True:
            time.sleep(1)
    sys.exit(options.exit)


if __name__ == "__main__":
    main()
