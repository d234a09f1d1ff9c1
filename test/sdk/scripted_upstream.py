"""A provider that says what a test tells it to, byte for byte: statuses, fields, cuts, event streams.

`parley sim` stands for a provider that behaves; this one for all the others. What it answers is
chosen by a word that stands in the request's body, so that many requests can run side by side.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Reply:
    """One answer. `body` is a value to send as JSON, or bytes; `cut` breaks the connection off after
    them, with the answer still open."""

    def __init__(self, status=200, body=b"", cut=False, **fields):
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.cut = cut
        self.fields = {"content-type": "application/json"}
        self.fields.update({name.replace("_", "-"): value for name, value in fields.items()})


def events(*values, named=False):
    """An event stream of these data, each with its type as the event's name if `named`."""
    text = ""
    for value in values:
        if named:
            text += f"event: {value['type']}\n"
        text += f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"
    return text.encode()


def streamed(body, cut=False, **fields):
    return Reply(200, body, cut, content_type="text/event-stream; charset=utf-8", **fields)


class ScriptedUpstream:
    """Answers on a free port of 127.0.0.1 until `end`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.replies = {}   # word -> [Reply, …]: one for each try, the last for all further ones
        self.requests = {}  # word -> [(path, fields, body), …]
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                fields = {name.lower(): value for name, value in self.headers.items()}
                self.answer(upstream.take(self.path, fields, body))

            def answer(self, reply):
                self.send_response(reply.status)
                for name, value in reply.fields.items():
                    self.send_header(name, value)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                if reply.body:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(reply.body), reply.body))
                if reply.cut:
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, word, *replies):
        """From now on the answers to requests whose body holds `word`."""
        with self.lock:
            self.replies[word] = list(replies)
            self.requests[word] = []

    def take(self, path, fields, body):
        with self.lock:
            # The latest word first: later turns of a conversation hold the earlier ones.
            word = next((word for word in reversed(self.replies) if word.encode() in body), None)
            if word is None:
                return Reply(418, {"error": {"message": f"nothing is said to {body!r}"}})
            self.requests[word].append((path, fields, body))
            replies = self.replies[word]
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def tries(self, word):
        """How many requests with the word came."""
        with self.lock:
            return len(self.requests[word])

    def end(self):
        self.server.shutdown()
        self.server.server_close()
