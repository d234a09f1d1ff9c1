"""Messages that readers are known to read differently, replayed against the running gateway.

Public collections of differences between HTTP/1.1 readers (the HTTP Garden's list of what it has found,
the parser tests of Node's llhttp) say where two readers of one stream have seen different messages; the
cases here are our own, made from those facts. As a server the gateway answers such a request once, closes
the connection, and sends nothing upstream; a request that hides behind it is never answered. As a client
it takes no such answer for one.
"""

import re
import socket

from parley_test import PATIENCE, Case, anthropic, encode, main, product
from raw_upstream import RawUpstream, answer, plain

BODY = encode(anthropic())
HIDDEN = b"GET /v1/models HTTP/1.1\r\nhost: hidden\r\n\r\n"
REFUSED = (400, 405, 414, 417, 431, 501, 505)

# Values of Content-Length that one reader takes for a number and another does not.
LENGTHS = (
    b"1Z", b"5,", b",5", b"5;", b"5 5", b"4\t2", b"\xa05", b"5\xa0", b"\x855", b"5\x00", b"5\x0b", b"0x10",
    b"0b11", b"0o17", b"1e1", b"1.0", b"1_0", b"+10", b"-0", b"-48", b"--5", b"\xd9\xa3", b"\xef\xbc\x95",
    b"'5'", b'"5"', b"", b"18446744073709551621", b"4294967301" + b"0" * 11, b"five", b"infinity", b"nan",
)
# Values of Transfer-Encoding: only `chunked` by itself says one thing to everybody.
CODINGS = (
    b",chunked", b"chunked,", b",", b", chunked", b"chunked ,", b"chunkedchunked", b"chunked chunked",
    b"chunked\x00", b"\x00chunked", b"chunked\x0b", b"\x0bchunked", b"\x0cchunked", b"\xa0chunked\xa0",
    b"\x85chunked", b"\xffchunked\xff", b"chunked\xff", b"chunked, identity", b"identity, chunked",
    b"chunked, deflate", b"deflate, chunked", b"gzip", b"blegh", b"pigeons", b"x-chunked", b"chunke",
    b"chunkedd", b"chunked;", b"chunked; a=b", b"'chunked'", b"chun\tked", b"c\xcc\xa7hunked",
    b"\xe2\x84\xaachunked", b"identity", b"",
)
# Fields that stand beside a good Content-Length.
FIELDS = (
    b"content-length : 5", b"content-length\x85: 5", b"content-length\xa0: 5", b"content\rlength: 5",
    b"content-length 5", b"\tcontent-length: 5", b" x: y", b"\x0bx: y", b"\x0cx: y", b"x\x0b: y",
    b"transfer-\r\nencoding: chunked", b"transfer-encoding\t: chunked", b"transfer-encoding\x00: chunked",
    b"transfer-encoding\xa0: chunked", b"\xefoo: bar", b":", b": x", b":: x", b"=: x;", b"x", b"x y",
    b"te\nst: x", b"x:\n\nGET / HTTP/1.1", b"x:\rtransfer-encoding: chunked",
    b"x:\ntransfer-encoding: chunked", b"x: y\rz", b"x: y\r\rz", b"x: \x00\ry",
    b"x: y\x00 bytes that get lost", b"x: y\x00", b"x: \x01", b"x: \x1b[2J", b"x: y\r\n\tz: folded",
    b"x: y\r\n \r\nz: w", b"\rZGET /evil: HTTP/1.1", b"x\r\n : y", b"connection\r\x1b\x35\xd5eep-alive",
    b"host: b", b"host:", b"content-length: 5", b"content-type: a\r\ncontent-type: b",
    b"authorization: Bearer a\r\nauthorization: Bearer b", b"connection: content-type, content-length",
    b"connection: transfer-encoding", b"expect: 100-continue, x", b"expect: ", b"expect: 100-continue;q=1",
) + tuple(b"a%cb: c" % byte for byte in b'"(),/;<=>?@[\\]{}' + bytes(range(9)) + b"\x0e\x1f\x7f\x80\xff")
HOSTS = (
    b"", b"a b", b"a,b", b"a\x00.b", b"\xffa", b"a\x85", b"a/b", b"a?b", b"a#b", b"a@b", b"a:b", b"a:1:2",
    b"a:-1", b"[::1", b"a]", b"<a>",
)
LINES = (
    b"POST /v1/messages HTTP/1.32", b"POST /v1/messages HTTP/1.1.1", b"POST /v1/messages HTTP/4294967295.255",
    b"POST /v1/messages HTTP/4294967297.1", b"POST /v1/messages HTTP/\r\r1.1", b"POST /v1/messages HTTP/1,1",
    b"POST /v1/messages HTTP/01.1", b"POST /v1/messages HTTP/1.01", b"POST /v1/messages HTTP/11.1",
    b"POST /v1/messages HTTP/1.", b"POST /v1/messages HTTP/.1", b"POST /v1/messages HTTP/1",
    b"POST /v1/messages HTTP/", b"POST /v1/messages HTTP/5.6", b"POST /v1/messages HTTP/0.9",
    b"POST /v1/messages HTTP/3", b"POST /v1/messages HTTP/\xb9.1", b"POST /v1/messages http/1.1",
    b"POST /v1/messages IHTTP/1.1", b"POST /v1/messages ICE/1.0", b"POST /v1/messages RTSP/1.0",
    b"POST /v1/messages HTTP /1.1", b"POST /v1/messages HTTP/1.1 x", b"POST /v1/messages\tHTTP/1.1",
    b"POST\t/v1/messages HTTP/1.1", b"POST /v1/messages HTTP/1.1\t", b"POST /v1/messages  HTTP/1.1",
    b"POST /v1/messages HTTP/1.1 ", b"POST /v1/messages\x0bHTTP/1.1", b"POST /v1/messages\x00 HTTP/1.1",
    b"POST /v1/messages\nHTTP/1.1", b"POST\n/v1/messages HTTP/1.1", b"POST /v1/\rmessages HTTP/1.1",
    b"POST ! HTTP/1.1", b"POST v1/messages HTTP/1.1", b"POST \\v1\\messages HTTP/1.1",
    b"POST /v1/messages# HTTP/1.1", b"POST /v1/m\xc3\xa9ssages HTTP/1.1", b"POST /v1/messages\x7f HTTP/1.1",
    b"POST ftp://gateway/v1/messages HTTP/1.1", b"POST http://other/v1/messages HTTP/1.1",
    b"POST http://u:p@gateway/v1/messages HTTP/1.1", b"POST //gateway/v1/messages HTTP/1.1.",
    b"\x00 /v1/messages HTTP/1.1", b'P="(e),[T];?" /v1/messages HTTP/1.1', b"PO\x00ST /v1/messages HTTP/1.1",
    b"P\xd6ST /v1/messages HTTP/1.1", b"POST:/v1/messages HTTP/1.1", b" POST /v1/messages HTTP/1.1", b"POST",
    b"PRI * HTTP/2.0", b"CONNECT gateway:80 HTTP/1.1", b"OPTIONS * HTTP/1.1", b"* /v1/messages",
)
# Chunked bodies whose end is not where everybody sees it.
CHUNKS = (
    b"0_2e\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"0X0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n", b"-0\r\n\r\n", b"1these-bytes-are-nobody's\r\nZ\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n", b"5\t\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n",
    b"2 ext\r\naa\r\n0\r\n\r\n", b"5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\n", b"5\rXhello\r\n0\r\n\r\n",
    b"5;a=b\r\rXhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5;a=\"b\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"b;\r\n\"\r\nhello\r\n0\r\n\r\n", b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
    b"5;a=b\rc\r\nhello\r\n0\r\n\r\n", b"5\x00\r\nhello\r\n0\r\n\r\n", b"\x005\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n", b"\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n", b";a=b\r\n\r\n",
    b"INVALID!!!\r\n", b"g\r\nhello\r\n0\r\n\r\n", b"1\r0\n", b"5\nhello\n0\n\n", b"0\n\r\n", b"0\r\n\n",
    b"0\r\nX\r\n\r\n", b"0\r\n x: y\r\n\r\n", b"0\r\nx: y\n\r\n", b"0\r\nx: y\rz\r\n\r\n",
    b"0\r\nx: y\x00\r\n\r\n", b"0\r\nXX", b"000000005\r\nhello\r\n0\r\n\r\n", b"100000000\r\nhello\r\n",
    b"ffffffffffffffff\r\nhello\r\n", b"fffffffffffffff1\r\nhello\r\n", b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"a" * 65 + b"\r\nhello\r\n0\r\n\r\n", b"0\r\n" + b"x: y\r\n" * 400 + b"\r\n",
)
# Heads of answers, before a body that would do.
ANSWERS = (
    b"HTP/1.1 200 OK", b"HTTP/01.1 200 OK", b"HTTP/11.1 200 OK", b"HTTP/1.01 200 OK", b"HTTP/5.6 200 OK",
    b"HTTP/2 200 OK", b"http/1.1 200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 2 OK",
    b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 2e2 OK", b"HTTP/1.1 +20 OK", b"HTTP/1.1 0x8 OK",
    b"HTTP/1.1 099 OK", b"HTTP/1.1 600 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1 200OK", b"HTTP/1.1 OK",
    b"\rHTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK", b" HTTP/1.1 200 OK", b"HTTP/1.1 200 O\x00K",
    b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 OK\n", b"HTTP/1.1 200 OK\r\n x: y",
    b"HTTP/1.1 101 Switching Protocols", b"ICY 200 OK", b"200 OK",
)
# Fields of answers, after which the body could end in two places.
FRAMES = (
    b"transfer-encoding: chunked, deflate", b"transfer-encoding: deflate, chunked",
    b"transfer-encoding: chunkedchunked", b"transfer-encoding: chunked\r\ntransfer-encoding: identity",
    b"transfer-encoding: identity\r\ntransfer-encoding: chunked",
    b"transfer-encoding: chunked\r\ncontent-length: %d", b"content-length: %d\r\ntransfer-encoding: chunked",
    b"transfer-encoding: ,chunked", b"transfer-encoding:\r\ncontent-length: %d",
    b"transfer-encoding: chunked\r\n  abc", b"transfer-encoding: identity\r\ncontent-length: %d",
    b"content-length: %d\r\ncontent-length: %d", b"content-length: %d, %d", b"content-length: +%d",
    b"content-length: -%d", b"content-length: 0x%d", b"content-length: 1000000000000000000000",
    b"content-length: %d 5", b"content-length:", b"content-length: \r\ncontent-length: %d",
    b"content-length : %d", b"content-length: %d\rx: y", b"content-length: %d\nx: y",
    b"x:\rcontent-length: %d", b"content-length: %d\r\n x: y", b"content-length: %d\r\nx\x00: y",
    b"content-length: %d\r\nx: \x00", b"content-length: %d\r\n: y", b"content-length: %d\r\nx y",
)


class Requests(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.sim()
        self.gate = self.gateway(self.upstream, product())
        self.key = b"x-api-key: " + self.gate.key("prod", "acme").encode()

    def say(self, text):
        """All that is answered to these bytes; a connection that is cut after it is closed too."""
        with socket.create_connection(("127.0.0.1", self.gate.port), timeout=PATIENCE) as connection:
            received = b""
            try:
                connection.sendall(text)
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionResetError:
                pass
        return received

    def statuses(self, received):
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) [A-Z]", received)]

    def head(self, *fields, line=b"POST /v1/messages HTTP/1.1", host=b"host: gateway"):
        return b"\r\n".join((line, host, self.key) + fields) + b"\r\n\r\n"

    def check_refused(self, name, text):
        with self.subTest(name):
            received = self.say(text + HIDDEN)
            statuses = self.statuses(received)
            self.assertEqual(len(statuses), 1, received)
            self.assertIn(statuses[0], REFUSED, received)
            self.assertIn(b"connection: close", received.lower())

    def check_nothing_upstream(self):
        self.gate.stop()
        self.assertEqual(self.upstream.end_and_count(), 0, "an unclear request went upstream")

    def test_lengths(self):
        for value in LENGTHS:
            self.check_refused(value, self.head(b"content-length: " + value) + BODY)
            self.check_refused((value, "first"), self.head(
                b"content-length: " + value, b"content-length: %d" % len(BODY)) + BODY)
            self.check_refused((value, "last"), self.head(
                b"content-length: %d" % len(BODY), b"content-length: " + value) + BODY)
        self.check_nothing_upstream()

    def test_codings(self):
        chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        for value in CODINGS:
            coding = b"transfer-encoding: " + value
            self.check_refused(value, self.head(coding) + chunked)
            self.check_refused((value, "and a length"), self.head(
                coding, b"content-length: %d" % len(chunked)) + chunked)
            self.check_refused((value, "before chunked"), self.head(
                coding, b"transfer-encoding: chunked") + chunked)
            self.check_refused((value, "after chunked"), self.head(
                b"transfer-encoding: chunked", coding) + chunked)
        self.check_nothing_upstream()

    def test_fields(self):
        length = b"content-length: %d" % len(BODY)
        for field in FIELDS:
            self.check_refused(field, self.head(field, length) + BODY)
            self.check_refused((field, "last"), self.head(length, field) + BODY)
        for value in HOSTS:
            self.check_refused((value, "host"), self.head(length, host=b"host: " + value) + BODY)
        self.check_refused("no host", self.head(length, host=b"hosts: a") + BODY)
        self.check_nothing_upstream()

    def test_request_lines(self):
        for line in LINES:
            self.check_refused(line, self.head(b"content-length: %d" % len(BODY), line=line) + BODY)
        self.check_nothing_upstream()

    def test_chunks(self):
        head = self.head(b"transfer-encoding: chunked")
        whole = b"%x\r\n%s\r\n" % (len(BODY), BODY)
        for chunks in CHUNKS:
            self.check_refused(chunks[:80], head + chunks)
            self.check_refused((chunks[:80], "after a good one"), head + whole + chunks)
        self.check_nothing_upstream()

    def test_what_all_readers_read_alike_is_taken(self):
        size = len(BODY)
        chunked = b"transfer-encoding: chunked"
        half = b"%x\r\n%s\r\n%X\r\n%s\r\n" % (10, BODY[:10], size - 10, BODY[10:])
        for name, fields, body in (
                ("zeros before a length", (b"content-length: 00%d" % size,), BODY),
                ("white space around it", (b"content-length: \t %d \t" % size,), BODY),
                ("no white space", (b"content-length:%d" % size,), BODY),
                ("names in capitals", (b"CONTENT-LENGTH: %d" % size,), BODY),
                ("an empty value", (b"x:", b"content-length: %d" % size), BODY),
                ("bytes beyond ASCII in a value", (b"x: \xe4\xff", b"content-length: %d" % size), BODY),
                ("a name with an underscore", (b"content_length: 3", b"content-length: %d" % size), BODY),
                ("chunked in capitals", (b"transfer-encoding: CHUNKED",), half + b"0\r\n\r\n"),
                ("zeros before a size", (chunked,), b"%08x\r\n%s\r\n000\r\n\r\n" % (size, BODY)),
                ("an extension", (chunked,), b"%x;a;b=c\r\n%s\r\n0;d\r\n\r\n" % (size, BODY)),
                ("trailers", (chunked,), half + b"0\r\nVary: *\r\nX:POST / HTTP/1.1\r\n\r\n"),
                ("a trailer that names a length", (chunked,), half + b"0\r\ncontent-length: 5\r\n\r\n")):
            with self.subTest(name):
                closing = self.head(*fields, b"connection: close") + body
                self.assertEqual(self.statuses(self.say(closing)), [200])
                # What follows is the next request, no more and no less.
                twice = self.head(*fields) + body + closing
                self.assertEqual(self.statuses(self.say(twice)), [200, 200])

    def test_nothing_is_read_behind_the_last_request(self):
        last = self.head(b"content-length: %d" % len(BODY), b"connection: close") + BODY
        for behind in (HIDDEN, b"Invalid\r\n\r\n", last):
            self.assertEqual(self.statuses(self.say(last + behind)), [200])
        # No body is no body, whatever follows in the same packet.
        empty = self.head(b"content-length: 0", line=b"POST /v1/messages HTTP/1.1")
        self.assertEqual(self.statuses(self.say(empty + last)), [400, 200])


class Answers(Case):
    def setUp(self):
        super().setUp()
        self.said, self.keeps = b"", False
        self.upstream = RawUpstream(self.say)
        self.addCleanup(self.upstream.stop)
        self.gate = self.gateway(self.upstream.url, product())
        self.client = self.gate.client("prod", "acme")

    def say(self, call):
        if self.said is None:
            return answer(call)
        call.send(self.said)
        return self.keeps

    def check(self, name, said, taken=False):
        """As a plain answer; what is taken for none is an error, to the client and on record."""
        with self.subTest(name):
            # After a good answer the connection stays open: the next request may come on it.
            self.said, self.keeps = said, taken
            answered = self.client.chat()
            self.assertEqual(answered.status, 200 if taken else 502, answered)
            if not taken:
                self.assertNotIn(b"hello", answered.body)
            self.endings.append("finish" if taken else "error")

    def finish(self):
        """Each has its one record, good ones as good and bad ones not; and the next one is served."""
        self.said = None
        self.assertEqual(self.client.chat().status, 200)
        self.endings.append("finish")
        self.assert_quiet(self.gate)
        settles = [entry for entry in self.gate.records("usage") if entry["kind"] == "settle"]
        endings = [entry["ending"] == "finish" for entry in settles]
        self.assertEqual(endings, [ending == "finish" for ending in self.endings])

    def test_heads(self):
        self.endings, body = [], plain("openai")
        for head in ANSWERS:
            self.check(head, head + b"\r\ncontent-type: application/json\r\n"
                       b"content-length: %d\r\n\r\n" % len(body) + body)
        self.finish()

    def test_frames(self):
        self.endings, body = [], plain("openai")
        for fields in FRAMES:
            values = (len(body),) * fields.count(b"%d")
            for sent in (body, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)):
                self.check((fields, sent[:4]), b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" +
                           fields % values + b"\r\n\r\n" + sent)
        self.finish()

    def test_chunks(self):
        self.endings, body = [], plain("openai")
        head = (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"transfer-encoding: chunked\r\n\r\n")
        for chunks in CHUNKS:
            self.check(chunks[:80], head + b"%x\r\n%s\r\n" % (len(body), body) + chunks)
        self.finish()

    def test_what_all_readers_read_alike_is_taken(self):
        self.endings, body = [], plain("openai")
        size, kind = len(body), b"\r\ncontent-type: application/json\r\n"
        length = kind + b"content-length: %d\r\n\r\n" % size + body
        chunked = b"HTTP/1.1 200 OK" + kind + b"transfer-encoding: chunked\r\n\r\n"
        for name, said in (
                ("no reason", b"HTTP/1.1 200 " + length),
                ("a reason of two blanks", b"HTTP/1.1 200  O K" + length),
                ("a reason beyond ASCII", b"HTTP/1.1 200 \xc3\xa9" + length),
                ("HTTP/1.0", b"HTTP/1.0 200 OK" + length),
                ("zeros before a length", b"HTTP/1.1 200 OK" + length.replace(b"length: ", b"length: 00")),
                ("sizes in both cases", chunked + b"A\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" %
                 (body[:10], size - 10, body[10:])),
                ("an extension", chunked + b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (size, body)),
                ("trailers", chunked + b"%x\r\n%s\r\n0\r\nx: y\r\n\r\n" % (size, body))):
            self.check(name, said, taken=True)
        self.finish()


if __name__ == "__main__":
    main()
