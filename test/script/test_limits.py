"""Limits: what they refuse, how they end a stream, and that every ending gives back what it held."""

import json
import socket
import threading

from parley_test import (DIALECTS, Case, anthropic, encode, main, openai, parse_events, product,
                         wait_until)

# Limits so high that they refill at once: what is not given back shows.
HIGH = {"rpm": 60000000, "input_tpm": 6000000000, "output_tpm": 6000000000, "concurrency": 8,
        "tokens_per_day": 1000000}


def error_of(dialect, event):
    """The error object of an error event, or None."""
    name, data = event
    value = json.loads(data) if data.startswith("{") else {}
    if dialect == "anthropic":
        return value["error"] if name == "error" else None
    return value.get("error")


class Refusing(Case):
    def limited(self, *options, **limits):
        self.upstream = self.sim(*options)
        self.gate = self.gateway(self.upstream, product(limits=limits))
        return self.gate.client("prod", "acme")

    def test_requests_a_minute(self):
        client = self.limited(rpm=3)
        for dialect in ("anthropic", "openai", "anthropic"):
            make = anthropic if dialect == "anthropic" else openai
            self.assertEqual(client.ask(dialect, make()).status, 200)
        for dialect in DIALECTS:
            make = anthropic if dialect == "anthropic" else openai
            answer = client.ask(dialect, make())
            self.assert_refused(answer, 429, "limit.rpm", dialect, retry=True)
            self.assertLessEqual(int(answer.headers["retry-after"]), 20)
        self.gate.stop()
        self.assertEqual(self.upstream.end_and_count(), 3)

    def test_input_tokens_a_minute(self):
        client = self.limited(input_tpm=1000)
        self.assertEqual(client.messages("x" * 2400).status, 200)
        answer = client.messages("x" * 2400)
        self.assert_refused(answer, 429, "limit.input_tpm", "anthropic", retry=True)

    def test_tokens_a_day(self):
        client = self.limited(tokens_per_day=300)
        self.assertEqual(client.messages(max_tokens=64).status, 200)
        refused = None
        for _ in range(8):
            answer = client.messages(max_tokens=64)
            if answer.status != 200:
                refused = answer
                break
        self.assertIsNotNone(refused, "the day's budget was passed")
        # It tells when the day ends, and that no client should sleep until then.
        self.assert_refused(refused, 429, "limit.tokens_per_day", "anthropic")
        self.assertGreaterEqual(int(refused.headers["retry-after"]), 1)
        records = self.gate.records("usage")
        used = sum(entry["usage"]["input"] + entry["usage"]["output"]
                   for entry in records if entry["kind"] == "settle")
        self.assertLessEqual(used, 300)
        most, left = self.gate.use("prod")["tokens_per_day"]
        self.assertEqual(most - left, used)

    def test_requests_at_once(self):
        client = self.limited("--first-token-ms", 60000, concurrency=2)
        first, second = self.open_plain(client), self.open_plain(client)
        wait_until(lambda: self.gate.use("prod")["concurrency"] == (2, 0), "both slots to be taken")
        self.assert_refused(client.messages(), 429, "limit.concurrency", "anthropic", retry=True)
        first.close()
        wait_until(lambda: self.gate.use("prod")["concurrency"] == (2, 1), "a slot to come back")
        third = self.open_plain(client)
        wait_until(lambda: self.gate.use("prod")["concurrency"] == (2, 0), "the slot to be taken")
        second.close()
        third.close()
        self.assert_quiet(self.gate, "prod")

    def open_plain(self, client):
        """A plain request on its way, as a socket to hang up."""
        body = encode(anthropic())
        head = (f"POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-api-key: {client.key}\r\n"
                f"anthropic-version: 2023-06-01\r\ncontent-length: {len(body)}\r\n\r\n")
        connection = socket.create_connection(("127.0.0.1", client.port))
        self.addCleanup(connection.close)
        connection.sendall(head.encode() + body)
        return connection

    def cut_by_output_limit(self, dialect, **members):
        client = self.limited("--output-tokens", 6000, output_tpm=1500)
        stream = client.stream(dialect, **members)
        self.assertEqual(stream.status, 200)
        events = parse_events(stream.rest())
        error = next(found for found in (error_of(dialect, event) for event in events) if found)
        self.assertIn("rule limit.output_tpm", error["message"])
        record = self.gate.settled(stream.headers["parley-record"])
        self.assertEqual(record["ending"], "limit")
        # One slice was reserved, however fast the provider is, and one more may have come.
        self.assertLessEqual(record["usage"]["output"], 2 * 1024)
        self.assertGreater(record["usage"]["output"], 512)
        self.assertTrue(record["usage"]["estimated"])
        self.assert_quiet(self.gate)
        return error, events

    def test_a_stream_past_its_output_limit_ends_with_the_native_error_of_anthropic(self):
        error, events = self.cut_by_output_limit("anthropic", max_tokens=6000)
        self.assertEqual(error["type"], "rate_limit_error")
        self.assertNotIn("message_stop", [name for name, _ in events])

    def test_a_stream_past_its_output_limit_ends_with_the_native_error_of_openai(self):
        error, events = self.cut_by_output_limit("openai", max_completion_tokens=6000)
        self.assertEqual(error["code"], "rate_limit_exceeded")
        self.assertNotIn("[DONE]", [data for _, data in events])


class GivingBack(Case):
    """After quiet, every counter is back where it was, and the day has counted what was used."""

    def start(self, *options):
        self.gate = self.gateway(self.sim(*options), product(limits=HIGH))
        return self.gate.client("prod", "acme")

    def assert_given_back(self, ending, requests):
        self.assert_quiet(self.gate, "prod")
        for limit in ("rpm", "input_tpm", "output_tpm", "concurrency"):
            wait_until(lambda name=limit: self.gate.use("prod")[name][0] ==
                       self.gate.use("prod")[name][1], f"{limit} to be back at its maximum")
        settles = [entry for entry in self.gate.records("usage") if entry["kind"] == "settle"]
        self.assertEqual([entry["ending"] for entry in settles], [ending] * requests)
        used = sum(entry["usage"]["input"] + entry["usage"]["cache_write"] +
                   entry["usage"]["output"] for entry in settles)
        most, left = self.gate.use("prod")["tokens_per_day"]
        self.assertEqual(most - left, used)
        return settles

    def each(self, client, **members):
        """One plain and one streamed request in each dialect."""
        for dialect in DIALECTS:
            make = anthropic if dialect == "anthropic" else openai
            yield client.ask(dialect, make(**members))
            yield client.ask(dialect, make(stream=True, **members))

    def test_after_a_finish(self):
        client = self.start()
        for answer in self.each(client):
            self.assertEqual(answer.status, 200)
        settles = self.assert_given_back("finish", 4)
        self.assertEqual({entry["usage"]["output"] for entry in settles}, {64})

    def test_after_the_client_hung_up_in_a_stream(self):
        client = self.start("--output-tokens", 5000, "--tokens-per-second", 200)
        for dialect in DIALECTS:
            stream = client.stream(dialect, **{"max_tokens" if dialect == "anthropic"
                                               else "max_completion_tokens": 5000})
            stream.read_until(b"data:")
            stream.read_some()
            stream.close()
        settles = self.assert_given_back("client_gone", 2)
        for entry in settles:
            self.assertTrue(entry["usage"]["estimated"])
            self.assertLess(entry["usage"]["output"], 5000)

    def test_after_the_client_hung_up_before_a_plain_answer(self):
        client = self.start("--first-token-ms", 60000)
        connection = socket.create_connection(("127.0.0.1", client.port))
        body = encode(anthropic())
        connection.sendall(f"POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: {client.key}\r\n"
                           f"content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: self.gate.metric("parley_in_flight") == 1, "the request to be admitted")
        connection.close()
        self.assert_given_back("client_gone", 1)

    def test_after_the_upstream_broke_off(self):
        client = self.start("--cut-rate", 1)
        for dialect in DIALECTS:
            make = anthropic if dialect == "anthropic" else openai
            plain = client.ask(dialect, make())
            self.assertEqual(plain.status, 502, plain)
            self.assert_error_shape(plain, dialect)
            stream = client.ask(dialect, make(stream=True))
            self.assertEqual(stream.status, 200, stream)
            error = error_of(dialect, stream.events()[-1])
            self.assertIsNotNone(error, "the stream broke off without an error event")
            self.assertIn("broke off", error["message"])
        settles = self.assert_given_back("upstream_reset", 4)
        self.assertTrue(all(entry["usage"]["estimated"] for entry in settles))

    def test_after_an_error_of_the_upstream(self):
        client = self.start("--error-rate", 1)
        for answer in self.each(client):
            self.assertIn(answer.status, (503, 529), answer)
            self.assertIn("told to fail", answer.message())
        settles = self.assert_given_back("upstream_error", 4)
        self.assertEqual([entry["usage"]["output"] for entry in settles], [0] * 4)

    def test_with_the_upstream_down(self):
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        self.gate = self.gateway(f"http://127.0.0.1:{port}", product(limits=HIGH))
        client = self.gate.client("prod", "acme")
        for dialect in DIALECTS:
            make = anthropic if dialect == "anthropic" else openai
            for stream in (False, True):
                answer = client.ask(dialect, make(stream=stream))
                self.assertEqual(answer.status, 502, answer)
                self.assert_error_shape(answer, dialect)
                self.assertIn("cannot be reached", answer.message())
                self.assertNotIn("x-should-retry", answer.headers)
        settles = self.assert_given_back("upstream_error", 4)
        self.assertEqual([entry["usage"]["input"] for entry in settles], [0] * 4)

    def test_after_refusals(self):
        client = self.start()
        for _ in range(20):
            self.assertEqual(client.messages(model="none").status, 404)
        self.assert_given_back("finish", 0)

    def test_a_burst_of_everything_together(self):
        """Half the answers break off, some fail, and some clients hang up."""
        client = self.start("--cut-rate", 0.5, "--error-rate", 0.2, "--first-token-ms", 5,
                            "--output-tokens", 200, "--tokens-per-second", 2000)

        def work(number):
            for turn in range(10):
                stream = client.stream(DIALECTS[turn % 2], f"{number} {turn}")
                if turn % 3 == 0:
                    stream.close()
                else:
                    stream.rest()
                    stream.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assert_quiet(self.gate, "prod")
        records = self.gate.records("usage")
        admits = {entry["id"] for entry in records if entry["kind"] == "admit"}
        settled = [entry["admit"] for entry in records if entry["kind"] == "settle"]
        self.assertEqual(sorted(settled), sorted(admits))
        # Of the 32 that hang up at once, some may be gone before they are read.
        self.assertGreaterEqual(len(admits), 8 * 10 - 32)
        used = sum(entry["usage"]["input"] + entry["usage"]["output"]
                   for entry in records if entry["kind"] == "settle")
        most, left = self.gate.use("prod")["tokens_per_day"]
        self.assertEqual(most - left, used)


if __name__ == "__main__":
    main()
