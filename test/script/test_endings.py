"""However an answer ends, client, log and limits are told the truth, once.

A scripted upstream drives every ending, in each API, streamed and plain.
"""

import hashlib
import json
import socket
import threading
import zlib

from parley_test import (PATIENCE, Case, Stream, ask, encode, main, parse_events, product, run,
                         wait_until)
from raw_upstream import (LAST_CHUNK, STREAM_HEAD, TERMINALS, Gone, RawUpstream, answer, chunk,
                          closing, delta, event, failure, gemini_value, opening, plain, plain_head)
from test_dialects import Chat, Gemini, Responses, headers

# Limits so high that they refill at once: what is not given back shows.
HIGH = {"rpm": 60000000, "input_tpm": 6000000000, "output_tpm": 6000000000, "concurrency": 16,
        "tokens_per_day": 100000000}
PLAIN_CHUNKED = ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                 "transfer-encoding: chunked\r\n\r\n")
SAID = "some words that were said"  # 25 bytes: an estimate of 9 tokens


class Messages(Responses):
    model, credential = "north-1", "x-api-key"

    def path(self, stream=False, model=None):
        return "/v1/messages"

    def body(self, prompt, stream=False, most=64, model=None, **members):
        body = {"model": model or self.model, "max_tokens": most,
                "messages": [{"role": "user", "content": prompt}], **members}
        return {**body, "stream": True} if stream else body

    def error(self, value):
        assert value["type"] == "error", value
        return value["error"]["message"], value["error"]["type"]


# How a gateway may be asked: by name, as raw_upstream.py names the APIs.
WAYS = {"anthropic": Messages(), "openai": Chat("north-o"), "responses": Responses(),
        "gemini": Gemini()}
PROVIDERS = {"anthropic": "anthropic", "openai": "openai", "responses": "openai",
             "gemini": "gemini"}
KINDS = [(way, stream) for way in WAYS for stream in (True, False)]


def configuration(url):
    """A provider and a model for each way."""
    return {"providers": [{"name": way, "dialect": dialect, "url": url, "key": "upstream-secret"}
                          for way, dialect in PROVIDERS.items()],
            "models": [{"name": api.model, "provider": way, "max_output": 8192}
                       for way, api in WAYS.items()]}


def begin(call):
    """The first events of a stream, or half of a plain answer."""
    if call.streams:
        call.send(STREAM_HEAD)
        call.send(chunk(opening(call.dialect) + delta(call.dialect, SAID)))
    else:
        body = plain(call.dialect, SAID)
        call.send(plain_head(len(body)))
        call.send(body[:len(body) // 2])


# ---- how an upstream may end an answer: what it does, and the ending on record ----


def resets(call):
    begin(call)
    call.reset()


def closes(call):
    begin(call)


def stalls(call):
    begin(call)
    call.wait_for_close()


def says_nothing(call):
    call.wait_for_close()


def closes_before_the_head(call):
    pass


def sends_a_bad_chunk(call):
    if call.streams:
        begin(call)
    else:
        call.send(PLAIN_CHUNKED)
        call.send(chunk(plain(call.dialect)[:30]))
    call.send(b"zz\r\nnot a size\r\n")
    call.wait_for_close()


def ends_without_the_last_chunk(call):
    if call.streams:
        call.send(STREAM_HEAD)
        call.send(chunk(opening(call.dialect) + delta(call.dialect, SAID)))
    else:
        call.send(PLAIN_CHUNKED)
        call.send(chunk(plain(call.dialect)))  # all of it, but nobody can know


def announces_more_than_it_sends(call):
    body = stream_text(call) if call.streams else plain(call.dialect)
    kind = "text/event-stream" if call.streams else "application/json"
    call.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body) + 50}\r\n\r\n")
    call.send(body[:-100] if call.streams else body)


def announces_less_than_it_sends(call):
    body = stream_text(call) if call.streams else plain(call.dialect)
    kind = "text/event-stream" if call.streams else "application/json"
    call.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body) - 60}\r\n\r\n")
    call.send(body)
    return True


def stream_text(call):
    return (opening(call.dialect) + delta(call.dialect, SAID) + closing(call.dialect)).encode()


def floods_with_interim_answers(call):
    for _ in range(100000):
        call.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")


def sends_an_endless_head(call):
    call.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        call.send(b"x-more: " + b"y" * 1000 + b"\r\n")


def sends_garbage(call):
    call.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    call.wait_for_close()


def compresses(call):
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = bomb.compress(b"\0" * (20 << 20)) + bomb.flush()
    kind = "text/event-stream" if call.streams else "application/json"
    call.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\n"
              f"content-length: {len(data)}\r\n\r\n")
    call.send(data)
    call.wait_for_close()


def says_what_is_no_answer(call):
    if call.streams:
        call.send(STREAM_HEAD)
        call.send(chunk(opening(call.dialect) + delta(call.dialect, SAID)))
        call.send(LAST_CHUNK)  # in order, but without the terminal event
        return True
    call.send(plain_head(9))
    call.send(b"<html>\r\n\0")
    return True


RESET, ERROR, TIMEOUT = "upstream_reset", "upstream_error", "timeout"
# What the upstream does, the ending of a stream and of a plain answer.
ENDINGS = (
    (resets, RESET, RESET),
    (closes, RESET, RESET),
    (stalls, TIMEOUT, TIMEOUT),
    (says_nothing, TIMEOUT, TIMEOUT),
    (closes_before_the_head, ERROR, ERROR),
    (sends_a_bad_chunk, RESET, RESET),
    (ends_without_the_last_chunk, RESET, RESET),
    (announces_more_than_it_sends, RESET, RESET),
    (announces_less_than_it_sends, RESET, ERROR),
    (floods_with_interim_answers, ERROR, ERROR),
    (sends_an_endless_head, ERROR, ERROR),
    (sends_garbage, ERROR, ERROR),
    (compresses, ERROR, ERROR),
    (says_what_is_no_answer, RESET, ERROR),
)
BEFORE_THE_HEAD = (says_nothing, closes_before_the_head, floods_with_interim_answers,
                   sends_an_endless_head, sends_garbage)


class EndingsCase(Case):
    def start(self, handler, **timeouts):
        self.upstream = RawUpstream(handler)
        self.addCleanup(self.upstream.stop)
        grant = product(limits=HIGH, models=[api.model for api in WAYS.values()])
        self.gate = self.gateway(self.upstream.url, grant, **configuration(self.upstream.url),
                                 timeouts={"stall": 20, "first_byte": 20, **timeouts})
        self.key = self.gate.key("prod", "acme")

    def ask(self, way, stream):
        api = WAYS[way]
        return ask(self.gate.port, "POST", api.path(stream), headers(api, self.key),
                   encode(api.body("Hello", stream)))

    def settles(self):
        return [entry for entry in self.gate.records("usage") if entry["kind"] == "settle"]

    def check_once(self, count):
        """One settle for each admit, and the limits have what the records say."""
        self.assert_quiet(self.gate, "prod")
        records = self.gate.records("usage")
        admits = [entry["id"] for entry in records if entry["kind"] == "admit"]
        settled = [entry["admit"] for entry in records if entry["kind"] == "settle"]
        self.assertEqual(len(admits), count)
        self.assertEqual(sorted(settled), sorted(admits))
        used = sum(entry["usage"]["input"] + entry["usage"]["cache_write"] +
                   entry["usage"]["output"] for entry in records if entry["kind"] == "settle")
        most, left = self.gate.use("prod")["tokens_per_day"]
        self.assertEqual(most - left, used)
        for limit in ("rpm", "input_tpm", "output_tpm"):
            most, left = self.gate.use("prod")[limit]
            self.assertEqual(most, left, limit)


def error_of(way, events):
    """The error of the last event; None if the stream ended as it should."""
    name, data = events[-1]
    value = json.loads(data) if data.startswith("{") else {}
    if way in ("anthropic", "responses") and name != "error":
        return None
    return value.get("error")


class Upstreams(EndingsCase):
    """What goes wrong upstream is told to the client and put on record as it was."""

    def test_every_ending(self):
        self.drive([row for row in ENDINGS if TIMEOUT not in row], stall=20, first_byte=20)

    def test_every_silence(self):
        self.drive([row for row in ENDINGS if TIMEOUT in row], stall=0.6, first_byte=0.6)

    def drive(self, rows, **timeouts):
        what = {}
        self.start(lambda call: what["now"](call), **timeouts)
        count = 0
        for handler, of_stream, of_plain in rows:
            what["now"] = handler
            for way, stream in KINDS:
                with self.subTest(f"{way} {'stream' if stream else 'plain'} {handler.__name__}"):
                    count += 1
                    answered = self.ask(way, stream)
                    begun = stream and handler not in BEFORE_THE_HEAD + (compresses,)
                    if begun:
                        self.check_stream(way, answered)
                    else:
                        self.check_error(way, answered)
                    self.check_record(answered.headers["parley-record"],
                                      of_stream if stream else of_plain, begun, handler)
        self.check_once(count)
        wait_until(lambda: self.upstream.open <= 2, "connections that are not kept to be closed")

    def check_stream(self, way, answered):
        self.assertEqual(answered.status, 200)
        self.assertIn(SAID.encode(), answered.body)
        error = error_of(way, answered.events())
        self.assertTrue(error and error["message"], answered.body[-300:])
        self.assertNotIn(TERMINALS[way], answered.body)

    def check_error(self, way, answered):
        self.assertIn(answered.status, (502, 504), answered)
        self.assertEqual(answered.headers["content-type"], "application/json")
        message, _ = WAYS[way].error(answered.json())
        self.assertTrue(message, answered)
        self.assertNotIn(SAID.encode(), answered.body)

    def check_record(self, record, ending, begun, handler):
        settle = self.gate.settled(record, "usage")
        self.assertEqual(settle["ending"], ending)
        self.assertTrue(settle["usage"]["estimated"])
        self.assertGreater(settle["usage"]["input"], 0)
        if begun:
            self.assertGreaterEqual(settle["usage"]["output"], 1)
        if handler in BEFORE_THE_HEAD:
            self.assertEqual(settle["usage"]["output"], 0)
        # The digest of an answer says that it was whole: there is none. That of a response is of
        # the bytes the client got, and stands beside an ending that says they are not all.
        if not begun:
            self.assertNotIn("response", settle)
            self.assertNotIn("answer", settle)

    def test_where_only_the_connection_tells_the_end(self):
        """RFC 9112, 6.3: without a length or chunks a break looks like the end, and the record says so."""
        def unframed(call, status="200 OK", cut=None):
            body = stream_text(call) if call.streams else plain(call.dialect)
            kind = "text/event-stream" if call.streams else "application/json"
            call.send(f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n\r\n".encode() + body[:cut])

        def whole(call):
            unframed(call)

        def breaks_in_the_middle(call):
            unframed(call, cut=-60)

        def breaks_in_an_error(call):
            call.send(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\r\n"
                      b'{"error": {"message": "the')

        def breaks_before_the_usage(call):  # Gemini's finish, then perhaps more
            call.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            call.send(opening("gemini") + event(gemini_value(SAID, 7, None, "STOP")))

        what = {}
        self.start(lambda call: what["now"](call))
        marked = {"framed": 0, "unframed": 0}
        for handler, endings in ((answer, ("finish",)), (whole, ("finish",)),
                                 (breaks_in_the_middle, (RESET, ERROR)), (breaks_in_an_error, (ERROR,)),
                                 (breaks_before_the_usage, ("finish",))):
            what["now"] = handler
            for way, stream in KINDS:
                if handler is breaks_before_the_usage and (way, stream) != ("gemini", True):
                    continue
                with self.subTest(f"{way} {'stream' if stream else 'plain'} {handler.__name__}"):
                    answered = self.ask(way, stream)
                    settle = self.gate.settled(answered.headers["parley-record"], "usage")
                    self.assertIn(settle["ending"], endings)
                    self.assertEqual(settle.get("truncated"), None if handler is answer else "possible")
                    marked["framed" if handler is answer else "unframed"] += 1
        self.check_once(sum(marked.values()))
        log = self.gate.directory / "log" / "usage"
        shown = run("log", "show", log, "--count", "1000").stdout
        self.assertEqual(shown.count('"truncated":"possible"'), marked["unframed"])
        self.assertEqual(self.gate.stop(), 0)
        done = run("verify", log)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_comment_goes_on_before_the_event_behind_it(self):
        """A line that keeps a quiet stream open must not wait for what the stream says next."""
        events = {}

        def says_it_is_there(call):
            call.send(STREAM_HEAD)
            call.send(chunk(opening(call.dialect)))
            for number, end in enumerate(("\n", "\r\n", "\r")):
                call.send(chunk(f": still here {number}{end}"))
                if not events["seen"].acquire(timeout=PATIENCE):
                    return
            call.send(chunk("\n" + delta(call.dialect, SAID) + closing(call.dialect)))
            call.send(LAST_CHUNK)

        self.start(says_it_is_there)
        for count, way in enumerate(WAYS, 1):
            with self.subTest(way):
                events["seen"] = threading.Semaphore(0)
                api = WAYS[way]
                stream = Stream(self.gate.port, api.path(True), headers(api, self.key),
                                encode(api.body("Hello", True)))
                for number in range(3):
                    stream.read_until(b": still here %d" % number)
                    events["seen"].release()
                self.assertIn(TERMINALS[way], stream.rest())
                self.assertIn(SAID.encode(), stream.received)
                settle = self.gate.settled(stream.headers["parley-record"], "usage")
                self.assertEqual((settle["ending"], settle["usage"]["output"]), ("finish", 5))
                self.check_once(count)

    def test_an_endless_line_is_cut(self):
        def endless(call):
            call.send(STREAM_HEAD)
            call.send(chunk(opening(call.dialect) + delta(call.dialect, SAID)))
            call.send(chunk("data: "))
            while True:
                call.send(chunk("z" * 65536))

        self.start(endless)
        for count, way in enumerate(WAYS, 1):
            with self.subTest(way):
                answered = self.ask(way, True)
                self.assertLess(len(answered.body), 20 << 20)
                self.assertTrue(answered.events(), (answered.status, answered.body[:300],
                                                    self.gate.process.stderr[-600:]))
                error = error_of(way, answered.events())
                self.assertTrue(error, answered.body[-300:])
                settle = self.gate.settled(answered.headers["parley-record"], "usage")
                self.assertEqual(settle["ending"], ERROR)
                self.check_once(count)
        wait_until(lambda: self.upstream.open == 0, "the upstream to be cancelled")

    def test_an_answer_larger_than_any_is_not_kept(self):
        def endless(call):
            call.send(PLAIN_CHUNKED)
            while True:
                call.send(chunk(b" " * 65536))

        self.start(endless, stall=10, first_byte=10)
        answered = self.ask("openai", False)
        self.assertEqual(answered.status, 502)
        self.assertEqual(self.gate.settled(answered.headers["parley-record"])["ending"], ERROR)
        wait_until(lambda: self.upstream.open == 0, "the upstream to be cancelled")
        self.check_once(1)

    def test_an_answer_that_goes_on_after_its_end_is_over_there(self):
        """What comes then is not metered; Gemini's, which ends with its connection, is."""
        late = "more of it " * 12  # 132 bytes
        went_on = []

        def goes_on(call):
            call.send(STREAM_HEAD)
            call.send(chunk(opening(call.dialect) + delta(call.dialect, SAID) +
                            closing(call.dialect) + ": a comment\n"))
            call.send(chunk(delta(call.dialect, late)))
            if call.dialect == "gemini":
                call.send(LAST_CHUNK)
                return True
            went_on.append(call.dialect)
            while True:  # until the gateway has closed
                call.send(chunk(": on\n"))

        self.start(goes_on)
        for count, way in enumerate(WAYS, 1):
            with self.subTest(way):
                answered = self.ask(way, True)
                self.assertIsNone(error_of(way, answered.events()))
                self.assertIn(TERMINALS[way], answered.body)
                settle = self.gate.settled(answered.headers["parley-record"], "usage")
                self.assertEqual(settle["ending"], "finish")
                counted = way == "gemini"
                self.assertEqual(late.encode() in answered.body, counted)
                self.assertEqual((settle["usage"]["output"], settle["usage"].get("estimated")),
                                 ((25 + 132 + 2) // 3, True) if counted else (5, None))
                if not counted:
                    self.assertTrue(answered.body.endswith(b"\n\n: a comment\n"))
                    nonce = bytes.fromhex(answered.headers["parley-nonce"])
                    self.assertEqual(settle["response"],
                                     hashlib.sha256(nonce + answered.body).hexdigest())
                self.check_once(count)
        self.assertEqual(len(went_on), 3)
        wait_until(lambda: self.upstream.open <= 1, "the upstream to be cancelled")
        for way in went_on:
            self.assertIn(f"provider {way}, record", self.gate.process.stderr)
        self.assertIn("its stream goes on after its end", self.gate.process.stderr)
        for way in went_on:
            series = f'parley_upstream_errors_total{{provider="{way}",kind="protocol"}}'
            self.assertEqual(self.gate.metric(series), 1)

    def test_what_may_follow_the_end_follows_it(self):
        tails = {"anthropic": "data: [DONE]\n\n", "openai": ": cost 7\n\n\n",
                 "responses": "data: [DONE]\n\n: bye\n", "gemini": "\n: bye\n"}

        def adds(call):
            call.send(STREAM_HEAD)
            whole = (opening(call.dialect) + delta(call.dialect, SAID) + closing(call.dialect) +
                     tails[call.dialect])
            for at in range(0, len(whole), 9):
                call.send(chunk(whole[at:at + 9]))
            call.send(LAST_CHUNK)
            return True

        self.start(adds)
        for count, way in enumerate(WAYS, 1):
            with self.subTest(way):
                answered = self.ask(way, True)
                self.assertTrue(answered.body.endswith(b"\n\n" + tails[way].encode()))
                settle = self.gate.settled(answered.headers["parley-record"], "usage")
                self.assertEqual((settle["ending"], settle["usage"]["output"]), ("finish", 5))
                self.check_once(count)
        self.assertNotIn("goes on", self.gate.process.stderr)

    def test_an_error_after_200_passes_and_is_on_record(self):
        def fails(call):
            value, name, plain_value = failure(call.dialect)
            if call.streams:
                call.send(STREAM_HEAD)
                call.send(chunk(opening(call.dialect) + delta(call.dialect, SAID) +
                                event(value, name)))
                call.send(LAST_CHUNK)
            else:
                body = json.dumps(plain_value).encode()
                call.send(plain_head(len(body)).encode() + body)
            return True

        self.start(fails)
        for way, stream in KINDS:
            with self.subTest(f"{way} {stream}"):
                answered = self.ask(way, stream)
                self.assertEqual(answered.status, 200)
                self.assertEqual(answered.body.count(b"Overloaded"), 1)
                settle = self.gate.settled(answered.headers["parley-record"], "usage")
                self.assertEqual(settle["ending"], ERROR)
        self.check_once(len(KINDS))

    def test_an_answer_has_status_200(self):
        """With another it would be neither metered nor cut to its release: it is not passed on."""
        self.start(lambda call: self.answer_with(call))
        count = 0
        for self.status in (201, 202, 203, 206, 226, 299, 300, 302, 307, 399):
            for way, stream in KINDS if self.status == 201 else [("openai", True), ("gemini", False)]:
                with self.subTest(f"{self.status} {way}", stream=stream):
                    count += 1
                    answered = self.ask(way, stream)
                    self.assertEqual(answered.status, 502)
                    self.assertIn("its status is neither 200", WAYS[way].error(answered.json())[0])
                    self.assertNotIn(SAID.encode(), answered.body)
                    settle = self.gate.settled(answered.headers["parley-record"], "usage")
                    self.assertEqual((settle["ending"], settle["status"]), (ERROR, self.status))
                    if self.status < 300:  # it may have been made, and will be billed
                        self.assertTrue(settle["usage"]["estimated"])
                        self.assertGreater(settle["usage"]["input"], 0)
        self.check_once(count)

    def answer_with(self, call):
        head = STREAM_HEAD if call.streams else PLAIN_CHUNKED
        call.send(head.replace("200 OK", f"{self.status} Whatever"))
        call.send(chunk(stream_text(call) if call.streams else plain(call.dialect, SAID)))
        call.send(LAST_CHUNK)
        return True

    def test_a_few_interim_answers_are_nothing(self):
        def hints(call):
            for _ in range(3):
                call.send(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            return answer(call)

        self.start(hints)
        for way, stream in KINDS:
            with self.subTest(f"{way} {stream}"):
                answered = self.ask(way, stream)
                self.assertEqual(answered.status, 200)
                settle = self.gate.settled(answered.headers["parley-record"], "usage")
                self.assertEqual((settle["ending"], settle["usage"]["input"],
                                  settle["usage"]["output"]), ("finish", 7, 5))
                self.assertIn("answer", settle)
        self.check_once(len(KINDS))


class Reuse(EndingsCase):
    """A kept-alive connection that the upstream closes (RFC 9112, 9.6)."""

    def test_one_closed_while_idle_costs_nothing(self):
        self.start(lambda call: answer(call) and False)  # closes after each answer
        for _ in range(3):
            for way in WAYS:
                self.assertEqual(self.ask(way, False).status, 200)
                wait_until(lambda: self.upstream.open == 0, "the connection to be closed")
        self.assertEqual(self.upstream.requests, 3 * len(WAYS))
        self.check_once(3 * len(WAYS))

    def test_one_closed_after_the_request_is_not_tried_again(self):
        """It may have been acted upon: an error, and it is charged once."""
        seen = {}

        def second_is_dropped(call):
            number = seen[call.connection] = seen.get(call.connection, 0) + 1
            return answer(call) if number == 1 else None

        self.start(second_is_dropped)
        self.gate.stop()
        self.gate.write_config(self.upstream.url, **configuration(self.upstream.url), workers=1,
                               timeouts={"first_byte": 5})
        self.gate.start()
        for count, way in enumerate(WAYS, 1):
            self.assertEqual(self.ask(way, False).status, 200)
            dropped = self.ask(way, False)
            self.assertEqual(dropped.status, 502)
            self.assertEqual(self.upstream.requests, 2 * count)
            settle = self.gate.settled(dropped.headers["parley-record"], "usage")
            self.assertEqual((settle["ending"], settle["usage"]["output"]), (ERROR, 0))
            self.assertTrue(settle["usage"]["estimated"])
        self.check_once(2 * len(WAYS))


class ClientsGone(EndingsCase):
    """A client that hangs up has its upstream cancelled, and pays for what was made."""

    def hang_up(self, way, stream, when):
        """Sends a request, waits for `when(connection)` and hangs up."""
        api = WAYS[way]
        body = encode(api.body("Hello", stream))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers(api, self.key).items())
        connection = socket.create_connection(("127.0.0.1", self.gate.port), timeout=30)
        connection.sendall(f"POST {api.path(stream)} HTTP/1.1\r\nhost: gateway\r\n{fields}"
                           f"content-length: {len(body)}\r\n\r\n".encode() + body)
        try:
            when(connection)
        except TimeoutError as error:
            raise AssertionError(f"nothing more from the gateway for 30 s; upstream: "
                                 f"{self.upstream.requests} requests, {self.upstream.open} open\n"
                                 f"{self.gate.whereabouts()}") from error
        connection.close()

    @staticmethod
    def until_said(connection):
        received = b""
        while SAID.encode() not in received:
            piece = connection.recv(65536)
            assert piece, f"the answer ended: {received[-300:]}"
            received += piece

    def check_gone(self, count, output):
        wait_until(lambda: len(self.settles()) == count, "the settle record")
        settle = self.settles()[-1]
        self.assertEqual(settle["ending"], "client_gone")
        self.assertTrue(settle["usage"]["estimated"])
        self.assertGreater(settle["usage"]["input"], 0)
        self.assertEqual(settle["usage"]["output"], output)
        wait_until(lambda: self.upstream.open == 0, "the upstream to be cancelled")

    def test_before_the_first_byte(self):
        self.start(says_nothing, first_byte=60, stall=60)
        for count, (way, stream) in enumerate(KINDS, 1):
            with self.subTest(f"{way} {stream}"):
                self.hang_up(way, stream, lambda connection: wait_until(
                    lambda: self.upstream.requests == count, "the call"))
                self.check_gone(count, 0)
        self.check_once(len(KINDS))

    def test_between_head_and_first_token(self):
        def head_only(call):
            call.send(STREAM_HEAD if call.streams else plain_head(1000))
            heads.release()
            call.wait_for_close()

        heads = threading.Semaphore(0)
        self.start(head_only, stall=60)
        for count, (way, stream) in enumerate(KINDS, 1):
            with self.subTest(f"{way} {stream}"):
                self.hang_up(way, stream, lambda connection: heads.acquire(timeout=30))
                self.check_gone(count, 0)
        self.check_once(len(KINDS))

    def test_in_the_middle_of_a_stream(self):
        self.start(stalls, stall=60)
        for count, way in enumerate(WAYS, 1):
            with self.subTest(way):
                self.hang_up(way, True, self.until_said)
                # ceil(25 bytes / 3): what the provider had said first, 1, is less.
                self.check_gone(count, 9)
                settle = self.settles()[-1]
                if way in ("anthropic", "gemini"):  # they tell the input at the start
                    self.assertEqual(settle["usage"]["input"], 7)
                self.assertNotIn("answer", settle)
        self.check_once(len(WAYS))

    def test_while_the_upstream_is_fast(self):
        """The upstream learns of it although it never waits for anything."""
        sent = []

        def endless(call):
            call.send(STREAM_HEAD)
            call.send(chunk(opening(call.dialect)))
            try:
                while True:
                    call.send(chunk(delta(call.dialect, SAID)))
            except Gone:
                sent.append(call.sent)
                raise

        self.start(endless)
        for count, way in enumerate(WAYS, 1):
            self.hang_up(way, True, self.until_said)
            wait_until(lambda: len(self.settles()) == count, "the settle record")
            wait_until(lambda: self.upstream.open == 0 and len(sent) == count, "the cancel")
            self.assertEqual(self.settles()[-1]["ending"], "client_gone")
            self.assertGreaterEqual(self.settles()[-1]["usage"]["output"], 9)
        self.check_once(len(WAYS))


class Absurd(EndingsCase):
    """A usage that cannot be is no usage: estimated, counted, told, and nobody is locked out by it."""

    ways = {**WAYS, "mistral": Chat("north-m"), "xai": Chat("north-x")}
    # Counts beyond all bounds, by a little and by far; what is no count.
    figures = (16385, 10**12, 2**48, 9 * 10**15, 2**64 - 1, 10**400, -500, 100.5)

    def begin(self, handler, **config):
        self.upstream = RawUpstream(handler)
        self.addCleanup(self.upstream.stop)
        names = {way: PROVIDERS.get(way, way) for way in self.ways}
        self.gate = self.gateway(
            self.upstream.url, product(limits=HIGH, models=[api.model for api in self.ways.values()]),
            providers=[{"name": way, "dialect": dialect, "url": self.upstream.url, "key": "upstream-secret"}
                       for way, dialect in names.items()],
            models=[{"name": api.model, "provider": way, "max_output": 8192, "context": 200000}
                    for way, api in self.ways.items()], **config)
        self.key = self.gate.key("prod", "acme")

    def say(self, call, inputs, outputs):
        if not call.streams:
            body = plain(call.dialect, SAID, inputs, outputs)
            call.send(plain_head(len(body)).encode() + body)
        else:
            call.send(STREAM_HEAD)
            call.send(chunk(opening(call.dialect, inputs) + delta(call.dialect, SAID) +
                            closing(call.dialect, outputs, inputs)))
            call.send(LAST_CHUNK)
        return True

    def ask(self, way, stream):
        api = self.ways[way]
        return ask(self.gate.port, "POST", api.path(stream), headers(api, self.key),
                   encode(api.body("Hello", stream)))

    def each(self, *pairs):
        """What the records of each way say where the provider tells so much input and output."""
        answers = []
        for self.said in pairs:
            for way in self.ways:
                for stream in (True, False):
                    answers.append((self.said, way, stream, self.ask(way, stream)))
        self.check_once(len(answers))
        settles = {entry["admit"]: entry for entry in self.settles()}
        for said, way, stream, answered in answers:
            with self.subTest(f"{way} {'stream' if stream else 'plain'} {said}"):
                settle = settles[answered.headers["parley-record"]]
                self.assertEqual((answered.status, settle["ending"]), (200, "finish"))
                yield said, stream, answered, settle["usage"]

    def test_what_cannot_be(self):
        self.begin(lambda call: self.say(call, *self.said))
        pairs = [(7, figure) for figure in self.figures] + [(figure, 5) for figure in self.figures[1:]]
        count = 0
        for said, stream, answered, usage in self.each(*pairs):
            count += 1
            self.assertTrue(usage["estimated"])
            self.assertIn(usage["output"], (5, 9))  # 9: an estimate of 25 bytes
            self.assertLess(usage["input"] + usage["cache_read"] + usage["cache_write"], 200)
            if not stream:  # byte for byte all the same
                self.assertIn(str(max(said, key=abs)).encode(), answered.body)
        self.assertEqual(self.gate.metric("parley_usage_implausible_total"), count)
        told = [line for line in self.gate.process.stderr.splitlines() if "told a usage" in line]
        self.assertIn(len(told), (1, 2), told)  # once for each worker, then not for a minute
        self.assertRegex(told[0], r"provider \w+ told a usage that record [0-9a-f]{32} of model north-\w+ cannot")

    def test_much_is_believed(self):
        self.begin(lambda call: self.say(call, *self.said))
        # More than was asked for, and more than the window: reasoning, and tools of the provider's.
        for (inputs, outputs), _, _, usage in self.each((1500000, 5), (7, 16384)):
            self.assertEqual(usage, {"input": inputs, "cache_read": 0, "cache_write": 0,
                                     "output": outputs})
        self.assertEqual(self.gate.metric("parley_usage_implausible_total"), 0)

    def test_an_absurd_start_of_a_stream_takes_no_slices(self):
        """A stream's first count, under a limit that it would pass: the stream is not cut for it."""
        def stalls_(call):
            call.send(STREAM_HEAD)
            call.send(chunk(opening("anthropic").replace('"output_tokens": 1}', '"output_tokens": 900000}') +
                            delta("anthropic", SAID)))
            call.wait_for_close()

        self.begin(stalls_, timeouts={"stall": 3, "first_byte": 20})
        self.gate.apply(product(limits={**HIGH, "output_tpm": 2048}, models=["north-1"]))
        api = self.ways["anthropic"]
        answered = ask(self.gate.port, "POST", api.path(True), headers(api, self.key),
                       encode(api.body("Hello", True, most=8192)))
        self.assertIn(SAID.encode(), answered.body)
        settle = self.gate.settled(answered.headers["parley-record"], "usage")
        self.assertEqual((settle["ending"], settle["usage"]["output"]), (TIMEOUT, 9))
        self.assertTrue(settle["usage"]["estimated"])


if __name__ == "__main__":
    main()
