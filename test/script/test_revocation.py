"""Revocation: the command returns, and from then on not one byte more is relayed."""

import json
import os
import threading
import time

from parley_test import (DIALECTS, Case, anthropic, main, openai, parse_events, product,
                         wait_until)
from streams import Held, Many

SLOW = ("--output-tokens", 2000, "--tokens-per-second", 20)
LONG = {"anthropic": {"max_tokens": 2000}, "openai": {"max_completion_tokens": 2000}}


class Live(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.sim(*SLOW)
        self.gate = self.gateway(self.upstream, product(), product("other", "surfboard"))
        self.client = self.gate.client("prod", "acme")
        self.other = self.gate.client("other", "surfboard")

    def open_streams(self, client):
        streams = {dialect: client.stream(dialect, **LONG[dialect]) for dialect in DIALECTS}
        for stream in streams.values():
            self.assertEqual(stream.status, 200)
            stream.read_until(b"data:")
            stream.read_some()
        return streams

    def assert_ended(self, dialect, stream, reason):
        """The stream ended with the dialect's own error event, and nothing after it."""
        events = parse_events(stream.rest())
        name, data = events[-1]
        error = json.loads(data)["error"]
        self.assertIn(reason, error["message"])
        if dialect == "anthropic":
            self.assertEqual((name, error["type"]), ("error", "permission_error"))
        else:
            self.assertEqual(error["code"], "grant_revoked")
        record = self.gate.settled(stream.headers["parley-record"], "usage")
        self.assertEqual(record["ending"], "revoked")
        self.assertLess(record["usage"]["output"], 2000)

    def act_on_streams(self, *act):
        """Acts while streams of both grants run; returns those of the one acted on."""
        streams, others = self.open_streams(self.client), self.open_streams(self.other)
        ended = {}

        def read(dialect):
            streams[dialect].rest()
            ended[dialect] = time.monotonic()

        threads = [threading.Thread(target=read, args=(dialect,)) for dialect in DIALECTS]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        printed = self.gate.act(*act, "--reason", "a test")
        for thread in threads:
            thread.join()
        slowest = 1000 * (max(ended.values()) - started)
        print(f"{' '.join(act[:2])}: {printed.strip()}; streams ended {slowest:.1f} ms after the start "
              "of the command")
        for dialect, stream in others.items():
            stream.read_some()
            self.assertNotIn(b"error", stream.received, "another grant's stream was cut")
            stream.close()
        return streams

    def refused_now(self, status, rule):
        for dialect in DIALECTS:
            make = anthropic if dialect == "anthropic" else openai
            self.assert_refused(self.client.ask(dialect, make()), status, rule, dialect)

    def check(self, act, status, rule):
        streams = self.act_on_streams(*act)
        for dialect, stream in streams.items():
            self.assert_ended(dialect, stream, "access was revoked")
        self.refused_now(status, rule)
        self.assert_quiet(self.gate)
        acts = [entry for log in ("usage", "evaluation") for entry in self.gate.records(log)
                if entry["kind"] == "act" and entry.get("act") == ".".join(act[:2])]
        self.assertEqual(len(acts), 1)
        self.assertEqual(acts[0]["reason"], "a test")
        self.assertIn("operator", acts[0]["person"])

    def test_a_revoked_grant(self):
        self.check(("grant", "revoke", "prod"), 403, "grant.revoked")

    def test_a_suspended_grant_and_its_restoration(self):
        self.check(("grant", "suspend", "prod"), 403, "grant.suspended")
        self.gate.act("grant", "restore", "prod")
        self.assertEqual(self.client.messages(max_tokens=1).status, 200)

    def test_a_blocked_organisation_and_its_return(self):
        self.check(("org", "block", "acme"), 403, "org.blocked")
        self.gate.act("org", "unblock", "acme")
        self.assertEqual(self.client.messages(max_tokens=1).status, 200)

    def test_a_revoked_key(self):
        keys = json.loads(self.gate.act("key", "list", "--json"))["keys"]
        name = next(key["id"] for key in keys if key["grant"] == "prod")
        self.check(("key", "revoke", name), 401, "key.revoked")
        fresh = self.gate.client("prod", "acme")
        self.assertEqual(fresh.messages(max_tokens=1).status, 200)

    def test_no_byte_is_relayed_after_the_command_returned(self):
        """What arrived when the command returned is all there ever is, but for the error event."""
        stream = self.open_streams(self.client)["openai"]
        received = []

        def read():
            while stream.read_some():
                received.append((time.monotonic(), stream.received))

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(0.5)
        self.gate.act("grant", "revoke", "prod")
        returned = time.monotonic()
        thread.join()
        late = [text for when, text in received if when > returned + 2]
        self.assertEqual(late, [], "the stream was still running two seconds later")
        self.assert_ended("openai", stream, "access was revoked")

    def test_a_client_that_does_not_read_is_cut(self):
        gate = self.gateway(self.sim("--output-tokens", 1000000), product(), name="fast",
                            models=[{"name": "north-1", "provider": "north",
                                     "max_output": 1000000},
                                    {"name": "north-o", "provider": "north-open"}])
        client = gate.client("prod", "acme")
        stream = client.stream("anthropic", max_tokens=1000000)
        wait_until(lambda: gate.metric("parley_streams") == 1, "the stream to run")
        time.sleep(0.3)
        gate.act("grant", "revoke", "prod")
        wait_until(lambda: gate.metric("parley_streams") == 0, "the stream to end")
        self.assertEqual(gate.settled(stream.headers["parley-record"], "usage")["ending"], "revoked")
        stream.close()

    def test_a_plain_request_in_flight(self):
        gate = self.gateway(self.sim("--first-token-ms", 60000), product(), name="plain")
        client = gate.client("prod", "acme")
        answers = {}

        def work(dialect):
            make = anthropic if dialect == "anthropic" else openai
            answers[dialect] = client.ask(dialect, make())

        threads = [threading.Thread(target=work, args=(dialect,)) for dialect in DIALECTS]
        for thread in threads:
            thread.start()
        wait_until(lambda: gate.metric("parley_in_flight") == 2, "both requests to be admitted")
        gate.act("grant", "revoke", "prod")
        for thread in threads:
            thread.join()
        for dialect, answer in answers.items():
            self.assertEqual(answer.status, 403, answer)
            self.assert_error_shape(answer, dialect)
            self.assertEqual(answer.headers["x-should-retry"], "false")
            self.assertEqual(gate.settled(answer.headers["parley-record"], "usage")["ending"],
                             "revoked")

    def test_revocation_survives_a_restart(self):
        self.gate.act("grant", "revoke", "prod")
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        self.refused_now(403, "grant.revoked")

    def test_a_revoked_grant_stays_revoked(self):
        self.gate.act("grant", "revoke", "prod")
        done = self.gate.run("grant", "restore", "prod")
        self.assertEqual(done.returncode, 1)
        self.assertIn("revoked", done.stderr)
        self.gate.apply(product(), product("other", "surfboard"))
        self.refused_now(403, "grant.revoked")

    def test_receipts_stay_within_reach_of_a_revoked_key(self):
        record = self.client.messages(max_tokens=1).headers["parley-record"]
        self.gate.act("grant", "revoke", "prod")
        answer = wait_until(lambda: (lambda a: a if a.status != 425 else None)(
            self.client.get(f"/parley/v1/receipts/{record}")), "a receipt")
        self.assertEqual(answer.status, 200, answer)


STREAMS = int(os.environ.get("PARLEY_STREAMS", "240"))


class Thousands(Case):
    """Many live streams, cut by each kind of revocation; perf/revocation measures the same with 5,000."""

    def setUp(self):
        super().setUp()
        upstream = self.sim("--events-per-second", 5, "--events", 1000000, "--stamp")
        self.gate = self.gateway(upstream, product(), product("other", "surfboard"))

    def open(self, name, org, count):
        key = self.gate.key(name, org)
        return [Held(self.gate.port, DIALECTS[place % 2], key) for place in range(count)]

    def cut(self, *act):
        """Acts while streams of acme and of surfboard run; both, and when the command returned."""
        mine, others = self.open("prod", "acme", STREAMS), self.open("other", "surfboard", 20)
        many = Many(mine + others)
        self.addCleanup(many.stop)
        many.start()
        wait_until(many.running, "every stream to run")
        self.gate.act(*act, "--reason", "a test")
        returned = time.monotonic_ns()
        wait_until(lambda: all(stream.over for stream in mine), "every stream to end")
        going = {stream: stream.events for stream in others}
        wait_until(lambda: all(stream.events > count or stream.over
                               for stream, count in going.items()), "the others to go on")
        many.stop()
        return mine, others, returned

    def check(self, *act):
        mine, others, returned = self.cut(*act)
        self.assertEqual([stream.status for stream in mine], [200] * STREAMS)
        self.assertEqual(sum(stream.error is not None for stream in mine), STREAMS,
                         "a stream ended without its error")
        self.assertEqual(sum(stream.over == "end" for stream in mine), STREAMS)
        self.assertEqual(sum(stream.after_error for stream in mine), 0,
                         "the answer went on after its error")
        self.assertEqual([stream for stream in mine if stream.last_stamp > returned], [],
                         "an event was relayed that was made after the command had returned")
        self.assertEqual([stream.error for stream in others if stream.error], [])
        for stream in mine:
            native = b"permission_error" if stream.dialect == "anthropic" else b"grant_revoked"
            self.assertIn(native, stream.error)
        self.assert_quiet(self.gate)
        endings = [entry["ending"] for entry in self.gate.records("usage")
                   if entry["kind"] == "settle"]
        self.assertEqual(endings.count("revoked"), STREAMS)

    def test_streams_of_a_grant(self):
        self.check("grant", "revoke", "prod")

    def test_streams_of_an_organisation(self):
        self.check("org", "block", "acme")

    def test_streams_of_an_affiliate(self):
        self.gate.act("org", "link", "southlab", "acquiring", "acme", "--status", "confirmed")
        self.check("org", "block", "southlab", "--affiliates", "--now")


if __name__ == "__main__":
    main()
