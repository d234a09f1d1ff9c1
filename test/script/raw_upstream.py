"""An upstream that says exactly what a test wants, byte for byte, and then does what it wants.
It speaks Anthropic Messages, OpenAI Chat Completions and Responses, and Gemini.

`RawUpstream(handler)` listens on a free port of 127.0.0.1 and reads requests; for each one
`handler(call)` runs on a thread of its connection. What the handler sends goes out as it is. When it
returns True the connection waits for another request, else it is closed.
"""

import json
import re
import socket
import struct
import threading


class Gone(Exception):
    """The gateway has closed the connection."""


class Call:
    """One request of the gateway's, and the connection it came on."""

    def __init__(self, connection, head, body):
        self.connection = connection
        self.head = head
        self.body = body
        self.sent = 0
        self.prompt = self.prompt_of(body)

    @staticmethod
    def prompt_of(body):
        try:
            return json.loads(body)["messages"][-1]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            return ""

    @property
    def target(self):
        return self.head.split(" ")[1]

    @property
    def dialect(self):
        """The API of the path: a key of the tables below."""
        for part, dialect in (("/messages", "anthropic"), ("/responses", "responses"),
                              ("/v1beta/", "gemini")):
            if part in self.target:
                return dialect
        return "openai"

    @property
    def streams(self):
        """Whether a stream was asked for."""
        return (b'"stream": true' in self.body or b'"stream":true' in self.body or
                ":streamGenerateContent" in self.target)

    def send(self, data):
        """Sends all of it; Gone if the gateway does not want it any more."""
        view = memoryview(data if isinstance(data, bytes) else data.encode())
        try:
            while view:
                count = self.connection.send(view[:65536])
                self.sent += count
                view = view[count:]
        except OSError as error:
            raise Gone from error

    def reset(self):
        """Closes with a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def wait_for_close(self):
        """Until the gateway closes its side."""
        try:
            while self.connection.recv(65536):
                pass
        except OSError:
            pass


class RawUpstream:
    def __init__(self, handler):
        self.handler = handler
        self.lock = threading.Lock()
        self.requests = 0
        self.open = 0  # connections
        self.calls = []
        self.connections = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.stopping = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.stopping:
                    connection.close()
                    return
                self.open += 1
                self.connections.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            while True:
                call = self.read(connection)
                if not call:
                    return
                with self.lock:
                    self.requests += 1
                    self.calls.append(call)
                if not self.handler(call):
                    return
        except (Gone, OSError):
            pass
        finally:
            connection.close()
            with self.lock:
                self.open -= 1
                self.connections.discard(connection)

    @staticmethod
    def read(connection):
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return None
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        size = int(re.search(rb"content-length: (\d+)", head).group(1))
        while len(body) < size:
            piece = connection.recv(65536)
            if not piece:
                return None
            body += piece
        return Call(connection, head.decode(), body)

    def stop(self):
        with self.lock:
            self.stopping = True
            connections = list(self.connections)
        self.listener.close()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# ---- what providers say ----

STREAM_HEAD = ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
               "transfer-encoding: chunked\r\n\r\n")


def chunk(text):
    data = text if isinstance(text, bytes) else text.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def event(value, name=None):
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {json.dumps(value)}\n\n"


def chat_chunk(**members):
    return event({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "raw-1",
                  **members})


def chat_choice(delta_, finish=None):
    return [{"index": 0, "delta": delta_, "finish_reason": finish}]


def chat_usage(inputs, outputs):
    return {"prompt_tokens": inputs, "completion_tokens": outputs, "total_tokens": inputs + outputs}


def response(kind, **members):
    return event({"type": kind, **members}, kind)


def response_value(text, status, usage):
    output = [{"id": "i1", "type": "message", "role": "assistant", "status": status,
               "content": [{"type": "output_text", "text": text, "annotations": []}]}]
    return {"id": "r1", "object": "response", "created_at": 1, "model": "raw-1", "status": status,
            "error": None, "incomplete_details": None, "output": output if text else [],
            "usage": usage}


def response_usage(inputs, outputs):
    return {"input_tokens": inputs, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": outputs, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": inputs + outputs}


def gemini_value(text, inputs, outputs=None, finish=None):
    usage = {"promptTokenCount": inputs, "totalTokenCount": inputs + (outputs or 0)}
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if outputs is not None:
        usage["candidatesTokenCount"] = outputs
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "raw-1",
            "responseId": "g1"}


def opening(dialect, inputs=7):
    """The events before the first text."""
    if dialect == "anthropic":
        return event({"type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "raw-1", "content": [],
            "stop_reason": None, "stop_sequence": None,
            "usage": {"input_tokens": inputs, "output_tokens": 1}}}, "message_start") + event(
                {"type": "content_block_start", "index": 0,
                 "content_block": {"type": "text", "text": ""}}, "content_block_start")
    if dialect == "responses":
        return (response("response.created", sequence_number=0,
                         response=response_value("", "in_progress", None)) +
                response("response.output_item.added", sequence_number=1, output_index=0,
                         item={"id": "i1", "type": "message", "role": "assistant",
                               "status": "in_progress", "content": []}))
    if dialect == "gemini":
        return event(gemini_value("", inputs))
    return chat_chunk(choices=chat_choice({"role": "assistant", "content": ""}))


def delta(dialect, text):
    if dialect == "anthropic":
        return event({"type": "content_block_delta", "index": 0,
                      "delta": {"type": "text_delta", "text": text}}, "content_block_delta")
    if dialect == "responses":
        return response("response.output_text.delta", sequence_number=2, item_id="i1",
                        output_index=0, content_index=0, delta=text)
    if dialect == "gemini":
        return event({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]},
                                      "index": 0}], "modelVersion": "raw-1"})
    return chat_chunk(choices=chat_choice({"content": text}))


def closing(dialect, outputs=5, inputs=7):
    """The finish, the usage and the terminal event."""
    if dialect == "anthropic":
        return (event({"type": "content_block_stop", "index": 0}, "content_block_stop") +
                event({"type": "message_delta", "delta": {"stop_reason": "end_turn",
                                                          "stop_sequence": None},
                       "usage": {"output_tokens": outputs}}, "message_delta") +
                event({"type": "message_stop"}, "message_stop"))
    if dialect == "responses":
        usage = response_usage(inputs, outputs)
        return response("response.completed", sequence_number=3,
                        response=response_value("", "completed", usage))
    if dialect == "gemini":
        return event(gemini_value("", inputs, outputs, "STOP"))
    return (chat_chunk(choices=chat_choice({}, "stop")) +
            chat_chunk(choices=[], usage=chat_usage(inputs, outputs)) + "data: [DONE]\n\n")


# What stands in the terminal event of a stream, and nowhere else.
TERMINALS = {"anthropic": b"message_stop", "openai": b"[DONE]", "responses": b"response.completed",
             "gemini": b"finishReason"}


def plain(dialect, text="hello", inputs=7, outputs=5):
    """A whole plain answer's body."""
    if dialect == "anthropic":
        value = {"id": "msg_1", "type": "message", "role": "assistant", "model": "raw-1",
                 "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
                 "stop_sequence": None,
                 "usage": {"input_tokens": inputs, "output_tokens": outputs}}
    elif dialect == "responses":
        value = response_value(text, "completed", response_usage(inputs, outputs))
    elif dialect == "gemini":
        value = gemini_value(text, inputs, outputs, "STOP")
    else:
        value = {"id": "c1", "object": "chat.completion", "created": 1, "model": "raw-1",
                 "choices": [{"index": 0, "finish_reason": "stop",
                              "message": {"role": "assistant", "content": text}}],
                 "usage": chat_usage(inputs, outputs)}
    return json.dumps(value).encode()


def failure(dialect):
    """An error as a provider tells it after a 200: an event's value and name, a plain body."""
    error = {"message": "Overloaded", "type": "server_error", "param": None, "code": None}
    if dialect == "anthropic":
        value = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return value, "error", value
    if dialect == "responses":
        body = {**response_value("", "failed", None), "error": {"code": "server_error",
                                                                "message": "Overloaded"}}
        return {"type": "error", "sequence_number": 3, **error}, "error", body
    if dialect == "gemini":
        value = {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}
        return value, None, value
    return {"error": error}, None, {"error": error}


def plain_head(size, extra=""):
    return (f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{extra}"
            f"content-length: {size}\r\n\r\n")


def answer(call, text="hello", outputs=5):
    """A whole answer of the kind that was asked for; keeps the connection."""
    dialect = call.dialect
    if call.streams:
        call.send(STREAM_HEAD)
        call.send(chunk(opening(dialect) + delta(dialect, text) + closing(dialect, outputs)))
        call.send(LAST_CHUNK)
    else:
        body = plain(dialect, text, outputs=outputs)
        call.send(plain_head(len(body)).encode() + body)
    return True
