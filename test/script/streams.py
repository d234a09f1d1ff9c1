"""Many streams at once in one thread, and what became of each when access to them was revoked.

The stand-in stamps its events with CLOCK_MONOTONIC (`sim --events-per-second R --stamp`), so that an event
that was made after a command returned is known for certain; the kernel tells when bytes arrived, however
late they are read here.
"""

import re
import selectors
import socket
import struct
import threading
import time

from parley_test import PATHS, anthropic, encode, openai

STAMP = re.compile(rb"stamp:(\d{20})")
ERRORS = re.compile(rb"permission_error|grant_revoked|PERMISSION_DENIED")
TIMESTAMPING = getattr(socket, "SO_TIMESTAMPING", 37)
SOFTWARE = 1 << 3 | 1 << 4  # SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE
TAIL = 4096


class Held:
    """One stream: what came last, and when."""

    def __init__(self, port, dialect, key, max_tokens=8000):
        self.dialect = dialect
        self.status = None
        self.record = None
        self.tail = b""
        self.events = 0  # relayed to us, told by their stamps
        self.last_stamp = 0
        self.after_error = 0  # events of the answer after the error
        self.last_ns = 0  # arrival of the last bytes before the error (CLOCK_REALTIME)
        self.error_ns = None
        self.error = None
        self.over = None  # "end" of a whole body, or "reset"
        body = (anthropic(max_tokens=max_tokens, stream=True) if dialect == "anthropic" else
                openai(max_completion_tokens=max_tokens, stream=True))
        text = encode(body)
        credential = f"x-api-key: {key}\r\nanthropic-version: 2023-06-01" if dialect == "anthropic" \
            else f"authorization: Bearer {key}"
        head = (f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: x\r\n{credential}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n")
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.SOL_SOCKET, TIMESTAMPING, SOFTWARE)
        self.socket.sendall(head.encode() + text)
        self.socket.setblocking(False)

    def read(self):
        """Takes what has arrived; false when nothing more will."""
        try:
            data, extra, _, _ = self.socket.recvmsg(65536, 256)
        except BlockingIOError:
            return True
        except OSError:
            self.over = "reset"
            return False
        self.take(data, arrival(extra))
        if not data or self.tail.endswith(b"\r\n0\r\n\r\n"):
            self.over = "end" if data else "reset"
            return False
        return True

    def take(self, data, when):
        known = len(self.tail)
        text = self.tail + data
        if self.status is None and b"\r\n\r\n" in text:
            self.status = int(text[9:12])
            self.record = re.search(rb"parley-record: (\w+)", text).group(1).decode()
        stamps = [match for match in STAMP.finditer(text) if match.end() > known]
        found = None if self.error is not None else ERRORS.search(text)
        if found:
            self.error = text[found.start() - 200 if found.start() > 200 else 0:]
            self.error_ns = when
            stamps_before = [match for match in stamps if match.start() < found.start()]
            self.after_error += len(stamps) - len(stamps_before)
            stamps = stamps_before
        elif self.error is not None:
            self.after_error += len(stamps)
            stamps = []
        elif data:
            self.last_ns = when
        self.events += len(stamps)
        if stamps:
            self.last_stamp = int(stamps[-1].group(1))
        self.tail = text[-TAIL:]


def arrival(extra):
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == TIMESTAMPING and len(data) >= 16:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return seconds * 1000000000 + nanoseconds
    return time.time_ns()


class Many(threading.Thread):
    """Reads all streams until each is over."""

    def __init__(self, streams):
        super().__init__()
        self.streams = streams
        self.selector = selectors.DefaultSelector()
        for stream in streams:
            self.selector.register(stream.socket, selectors.EVENT_READ, stream)
        self.waiting = len(streams)
        self.stopped = False

    def run(self):
        while self.waiting and not self.stopped:
            for key, _ in self.selector.select(0.2):
                if not key.data.read():
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self.waiting -= 1

    def stop(self):
        """Hangs up on those that still run."""
        self.stopped = True
        self.join()
        for stream in self.streams:
            if stream.over is None:
                stream.socket.close()
        self.selector.close()

    def running(self):
        """Each has had an event."""
        return all(stream.events > 0 or stream.over for stream in self.streams)
