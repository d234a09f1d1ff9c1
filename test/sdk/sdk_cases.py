"""The cases that every official SDK goes through, told once. A test file mixes them with `SdkCase` and
a `Wire`: how that SDK and its dialect say a thing.

What an SDK raises and how often it tries are facts of that SDK's version, written down in its test
file; they are asserted so that a change of the gateway that makes an SDK behave otherwise is seen.
"""

import json
import socket

from parley_test import CLAUSE, Client, evaluation, product, public, suite_of, wait_until
from scripted_upstream import Reply, streamed

LONG = 4000  # output tokens of a stream that something ends before its time


def parsed(text):
    """The arguments of a tool call, as the model's text of JSON."""
    return json.loads(text)


class Wire:
    """How one SDK and its dialect say things; a test file fills in what is missing here.

    raised       status of the provider -> (class raised, tries in all)
    refused      status of a refusal by the gateway -> class raised
    final_tries  tries where the gateway says x-should-retry: false
    in_stream    class raised where a stream ends with an error
    retries      whether the SDK tries again by itself
    """

    final_tries = 1
    retries = True

    def asking_usage(self):
        """A body whose answer tells its usage when it is streamed."""
        return self.body()


class Answers:
    """What passes: the SDK understands it, and it is what the gateway put on record."""

    def ready(self, *options):
        self.gate = self.gateway(self.sim(*options), product())
        self.client = self.gate.client("prod", "acme")

    def settles(self, count):
        """The settle records, once there are so many."""
        def found():
            records = [entry for entry in self.gate.records("usage") if entry["kind"] == "settle"]
            return records if len(records) >= count else None

        return wait_until(found, f"{count} settle records")

    def test_plain(self):
        self.ready()
        answer = self.start(self.client, "plain", body=self.wire.body()).value()
        self.assertEqual(len(self.wire.text(answer)), 256)
        record, = self.settles(1)
        used = record["usage"]
        self.assertEqual(self.wire.usage(answer), (used["input"], used["output"]))
        self.assertEqual(used["output"], 64)

    def test_stream(self):
        self.ready()
        call = self.start(self.client, "stream", body=self.wire.body())
        call.value()
        self.wire.check_stream(self, call.events)
        self.assertEqual(len(self.wire.streamed_text(call.events)), 256)
        record, = self.settles(1)
        self.assertEqual((record["ending"], record["usage"]["output"]), ("finish", 64))

    def test_stream_put_together_by_the_sdk(self):
        if "assembled" not in self.sdk.operations:
            self.skipTest("this SDK has no helper for it")
        self.ready()
        answer = self.start(self.client, "assembled", body=self.wire.asking_usage()).value()
        self.assertEqual(len(self.wire.text(answer)), 256)
        self.assertEqual(self.wire.usage(answer)[1], 64)

    def test_list_of_models(self):
        if "models" not in self.sdk.operations:
            self.skipTest("another test file asks for it")
        self.ready()
        listed = self.start(self.client, "models").value()
        self.assertEqual([name.removeprefix("models/") for name in listed], self.wire.listed)

    def test_one_client_for_many_requests(self):
        self.ready()
        self.start(self.client, "many", body=self.wire.body(), times=20).value()
        self.assertEqual(self.gate.metric("parley_admitted_total"), 20)
        self.assertEqual(self.gate.metric("parley_refused_total"), 0)

    # -- tool use, as the provider's documentation shows it --

    def test_tool_use(self):
        upstream = self.scripted()
        self.gate = self.gateway(upstream.url, product())
        client = self.gate.client("prod", "acme")
        upstream.say("plain-weather", self.wire.tool_reply())
        upstream.say("streamed-weather", self.wire.tool_stream())
        plain = self.start(client, "plain", body=self.wire.tool_body("plain-weather")).value()
        stream = self.start(client, "stream", body=self.wire.tool_body("streamed-weather"))
        stream.value()
        for call in (self.wire.tool_call(plain), self.wire.streamed_tool_call(stream.events)):
            self.assertEqual(call, ("get_weather", {"city": "Paris", "days": 2}))
        if "assembled" in self.sdk.operations:
            whole = self.start(client, "assembled", body=self.wire.tool_body("streamed-weather"))
            self.assertEqual(self.wire.tool_call(whole.value()),
                             ("get_weather", {"city": "Paris", "days": 2}))
        self.assert_recorded_alike()
        # The second turn carries the call and its result.
        upstream.say("18 degrees", self.wire.text_reply("It is mild in Paris."))
        answer = self.start(client, "plain", body=self.wire.tool_result_body(
            plain, "18 degrees")).value()
        self.assertEqual(self.wire.text(answer), "It is mild in Paris.")
        self.assertEqual(upstream.tries("18 degrees"), 1)

    def assert_recorded_alike(self):
        """Streamed or plain, tool calls are an answer like any other, with the provider's usage."""
        for record in self.settles(2):
            self.assertEqual(record["ending"], "finish")
            self.assertEqual((record["usage"]["input"], record["usage"]["output"]), (50, 20))
            self.assertNotIn("estimated", record["usage"])


class ProviderErrors:
    """What goes wrong behind the gateway: which error the SDK raises and how often it tries."""

    def ready(self):
        self.upstream = self.scripted()
        self.gate = self.gateway(self.upstream.url, product())
        self.client = self.gate.client("prod", "acme")

    def ask(self, word, operation="plain"):
        return self.start(self.client, operation, body=self.wire.body(word))

    def test_each_status_of_the_provider(self):
        self.ready()
        calls = {}
        for status in self.wire.raised:
            for operation in ("plain", "stream"):
                word = f"{operation}-{status}"
                self.upstream.say(word, Reply(status, self.wire.error(status, f"no {status}")))
                calls[status, operation] = self.ask(word, operation)
        tries = 0
        for (status, operation), call in calls.items():
            with self.subTest(f"{operation} {status}"):
                kind, expected = self.wire.raised[status]
                failure = call.failure()
                self.assertEqual((failure.kind, failure.status), (kind, status), failure)
                self.assertIn(f"no {status}", failure.message)
                self.assertEqual(self.upstream.tries(f"{operation}-{status}"), expected)
                tries += expected
        self.assertEqual(self.gate.metric("parley_requests_total"), tries)
        self.assert_quiet(self.gate)

    def test_a_refused_credential_of_the_gateways_is_no_fault_of_the_clients(self):
        self.ready()
        for status in (401, 403):
            word = f"upstream-{status}"
            self.upstream.say(word, Reply(status, self.wire.error(status, "wrong key")))
            failure = self.ask(word).failure()
            self.assertEqual((failure.kind, failure.status),
                             (self.wire.raised[502][0], 502), failure)
            self.assertIn("the gateway's own credential", failure.message)
            self.assertNotIn("wrong key", failure.message)
            self.assertEqual(self.upstream.tries(word), self.wire.final_tries)

    def test_a_provider_that_recovers(self):
        self.ready()
        overloaded = Reply(503, self.wire.error(503, "not now"))
        self.upstream.say("recovers", overloaded, self.wire.text_reply("Here I am."))
        if not self.wire.retries:
            self.assertEqual(self.ask("recovers").failure().status, 503)
            self.assertEqual(self.upstream.tries("recovers"), 1)
        self.assertEqual(self.wire.text(self.ask("recovers").value()), "Here I am.")
        self.assertEqual(self.upstream.tries("recovers"), 2)

    def test_the_providers_word_on_retries_is_passed_on(self):
        self.ready()
        self.upstream.say("final", Reply(429, self.wire.error(429, "quota"), x_should_retry="false"))
        self.upstream.say("soon", Reply(429, self.wire.error(429, "busy"), retry_after="1"),
                          self.wire.text_reply("Now."))
        final, soon = self.ask("final"), self.ask("soon")
        self.assertEqual(final.failure().status, 429)
        if not self.wire.retries:
            self.assertEqual(soon.failure().status, 429)
            soon = self.ask("soon")
        self.assertEqual(self.wire.text(soon.value()), "Now.")
        self.assertEqual(self.upstream.tries("final"), self.wire.final_tries)
        self.assertEqual(self.upstream.tries("soon"), 2)

    def test_an_error_event_of_the_provider_after_a_200(self):
        self.ready()
        self.upstream.say("after-200", streamed(
            self.wire.stream_start("One ") + self.wire.error_event("overloaded after all")))
        call = self.ask("after-200", "stream")
        failure = call.failure()
        self.assertEqual(failure.kind, self.wire.in_stream, failure)
        self.assertIn("overloaded after all", failure.message)
        self.assertEqual(self.wire.streamed_text(call.events), "One ")
        self.assertEqual(self.upstream.tries("after-200"), 1)

    def test_a_stream_that_breaks_off(self):
        self.ready()
        self.upstream.say("cut-stream", streamed(self.wire.stream_start("One "), cut=True))
        call = self.ask("cut-stream", "stream")
        failure = call.failure()
        self.assertEqual(failure.kind, self.wire.in_stream, failure)
        self.assertIn("the provider's answer broke off", failure.message)
        self.assertEqual(self.wire.streamed_text(call.events), "One ")
        self.assertEqual(self.upstream.tries("cut-stream"), 1, "an answer that had begun was repeated")

    def test_a_plain_answer_that_breaks_off(self):
        self.ready()
        self.upstream.say("cut-plain", Reply(200, b'{"id": "half', cut=True))
        failure = self.ask("cut-plain").failure()
        kind, tries = self.wire.raised[502]
        self.assertEqual((failure.kind, failure.status), (kind, 502), failure)
        self.assertIn("the provider's answer broke off", failure.message)
        self.assertEqual(self.upstream.tries("cut-plain"), tries)

    def test_a_provider_that_is_down(self):
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        self.gate = self.gateway(f"http://127.0.0.1:{port}", product())
        self.client = self.gate.client("prod", "acme")
        failure = self.ask("hello").failure()
        kind, tries = self.wire.raised[502]
        self.assertEqual((failure.kind, failure.status), (kind, 502), failure)
        self.assertIn("cannot be reached", failure.message)
        self.assertEqual(self.gate.metric("parley_requests_total"), tries)


class Evaluations:
    """An unmodified loop over the items of a suite that is registered openly: base URL and key are
    all it has, and it knows of no run."""

    QUESTIONS = ("What jumps over the dog?", "What lives in a den?", "What hunts at night?")

    def test_a_loop_over_a_suite(self):
        suite = suite_of(self.QUESTIONS, samples=2)
        upstream = self.sim()
        gate = self.gateway(upstream, evaluation(), public_suites=public(suite))
        client = gate.client("eval", "southlab")
        self.assertEqual(client.post("/parley/v1/suites", suite).status, 200)
        for question in self.QUESTIONS:
            answer = self.start(client, "plain", body=self.wire.body(question)).value()
            self.assertEqual(len(self.wire.text(answer)), 256)
            self.start(client, "stream", body=self.wire.body(question)).value()
        for operation, question, rule in (("plain", "What is new?", "suite.unbound"),
                                          ("stream", self.QUESTIONS[0], "suite.samples")):
            failure = self.start(client, operation, body=self.wire.body(question)).failure()
            self.assertEqual(failure.status, 403, failure)
            self.assertIn(f"(rule {rule}", failure.message)
        admits = [entry for entry in gate.records() if entry["kind"] == "admit"]
        self.assertEqual([(entry["leaf"], entry["sample"]) for entry in admits],
                         [(leaf, sample) for leaf in range(3) for sample in range(2)])
        self.assertEqual({entry["purpose"] for entry in admits}, {"capability_benchmark"})
        self.assertEqual(len({entry["run"] for entry in admits}), 1)
        gate.stop()
        self.assertEqual(upstream.end_and_count(), 6)


class Refusals:
    """What the gateway refuses: named by its rule, never tried again, nothing upstream."""

    def setUp(self):
        super().setUp()
        self.upstream = self.sim()
        self.gate = self.gateway(self.upstream, product(), evaluation(),
                                 product("blocked", "surfboard"), max_body=100000)
        self.client = self.gate.client("prod", "acme")

    def tearDown(self):
        self.gate.stop()
        self.assertEqual(self.upstream.end_and_count(), 0, "a refused request went upstream")
        super().tearDown()

    def refused(self, status, rule, client=None, operation="plain", **options):
        before = self.gate.metric(f'parley_refused_by_rule_total{{rule="{rule}"}}')
        failure = self.start(client or self.client, operation, **options).failure()
        self.assertEqual((failure.kind, failure.status), (self.wire.refused[status], status),
                         failure)
        self.assertIn(f"(rule {rule}", failure.message)
        after = self.gate.metric(f'parley_refused_by_rule_total{{rule="{rule}"}}')
        self.assertEqual(after - before, self.wire.final_tries, f"tries of {rule}")
        return failure

    def both(self, status, rule, client=None, **options):
        """Plain and streamed: an error before the stream is an error of the call."""
        for operation in ("plain", "stream"):
            failure = self.refused(status, rule, client, operation, **options)
        return failure

    def test_an_unknown_key(self):
        self.both(401, "key.unknown", Client(self.gate.port, "plk_unknown"), body=self.wire.body())

    def test_a_revoked_key(self):
        keys = json.loads(self.gate.act("key", "list", "--json"))["keys"]
        name = next(key["id"] for key in keys if key["grant"] == "prod")
        self.gate.act("key", "revoke", name, "--reason", "a test")
        self.both(401, "key.revoked", body=self.wire.body())

    def test_a_blocked_organisation(self):
        client = self.gate.client("blocked", "surfboard")
        self.gate.act("org", "block", "surfboard", "--reason", "a test")
        self.both(403, "org.blocked", client, body=self.wire.body())

    def test_words_that_no_suite_holds(self):
        client = self.gate.client("eval", "southlab")
        failure = self.both(403, "suite.unbound", client, body=self.wire.body())
        self.assertIn(f"clause {CLAUSE}; appeal mailto:", failure.message)
        self.assertTrue(self.wire.names_record(failure), failure)

    def test_a_model_that_is_not_there(self):
        self.both(404, "model.unknown", body=self.wire.body(model="none-1"))

    def test_an_endpoint_that_is_not_there(self):
        self.refused(404, "endpoint.unknown", operation="absent", body=self.wire.body())

    def test_a_parameter_of_the_wrong_kind(self):
        self.both(400, "request.syntax", body=self.wire.wrong_parameter())

    def test_a_body_that_is_no_json(self):
        if "raw" not in self.sdk.operations:
            self.skipTest("this SDK sends nothing but JSON")
        self.refused(400, "request.syntax", operation="raw", text='{"model": ')

    def test_a_body_that_is_too_large(self):
        self.both(413, "request.too_large", body=self.wire.body("x" * 100000))


class Limits:
    """Limits of a grant: waited for where waiting helps, raised where it does not."""

    def limited(self, *options, **limits):
        self.upstream = self.sim(*options)
        self.gate = self.gateway(self.upstream, product(limits=limits))
        self.client = self.gate.client("prod", "acme")

    def refusals(self, rule):
        return self.gate.metric(f'parley_refused_by_rule_total{{rule="{rule}"}}')

    def test_requests_a_minute_are_waited_for(self):
        """A request every 3 s: the SDK comes back when retry-after says so, if it does by itself."""
        self.limited(rpm=20)
        if not self.wire.retries:
            failure = self.start(self.client, "many", body=self.wire.body(), times=100).failure()
            self.assertEqual((failure.kind, failure.status), (self.wire.refused[429], 429))
            self.assertIn("(rule limit.rpm", failure.message)
            self.assertEqual(self.refusals("limit.rpm"), 1)
            return
        while self.refusals("limit.rpm") == 0:
            self.start(self.client, "many", body=self.wire.body(), times=1).value()
        self.assertEqual(self.gate.metric("parley_requests_total") - self.refusals("limit.rpm"),
                         self.gate.metric("parley_admitted_total"))
        self.assertLessEqual(self.refusals("limit.rpm"), 2, "it did not wait as long as it was told")

    def test_requests_at_once_are_tried_again_and_then_raised(self):
        self.limited("--output-tokens", LONG, "--tokens-per-second", 20, concurrency=1)
        stream = self.start(self.client, "stream", body=self.wire.body(max_output=LONG))
        self.assertIsNotNone(stream.step())
        failure = self.start(self.client, "plain", body=self.wire.body()).failure()
        kind, tries = self.wire.raised[429]
        self.assertEqual((failure.kind, failure.status), (kind, 429), failure)
        self.assertIn("(rule limit.concurrency", failure.message)
        self.assertEqual(self.refusals("limit.concurrency"), tries)

    def test_the_days_tokens_are_not_tried_again(self):
        self.limited(tokens_per_day=300)
        self.start(self.client, "plain", body=self.wire.body()).value()
        failure = None
        while failure is None:
            end = self.start(self.client, "plain", body=self.wire.body()).finish()
            failure = end.get("error")
        self.assertEqual((failure["class"], failure["status"]), (self.wire.refused[429], 429))
        self.assertIn("(rule limit.tokens_per_day", failure["message"])
        self.assertEqual(self.refusals("limit.tokens_per_day"), self.wire.final_tries)

    def test_a_limit_reached_in_a_stream(self):
        self.limited("--output-tokens", LONG, output_tpm=1500)
        call = self.start(self.client, "stream", body=self.wire.body(max_output=LONG))
        failure = call.failure()
        self.assertEqual(failure.kind, self.wire.in_stream, failure)
        self.assertIn("(rule limit.output_tpm", failure.message)
        self.wire.check_limit_error(self, failure)
        self.assertGreater(len(self.wire.streamed_text(call.events)), 1000)
        self.assertEqual(self.gate.metric("parley_requests_total"), 1)
        self.assert_quiet(self.gate)


class Revocation:
    """A stream that is revoked raises the dialect's own error, and the next request is refused."""

    def revoked(self, *act):
        self.gate = self.gateway(self.sim("--output-tokens", LONG, "--tokens-per-second", 20),
                                 product())
        client = self.gate.client("prod", "acme")
        call = self.start(client, "stream", body=self.wire.body(max_output=LONG))
        while not self.wire.streamed_text(call.events):
            self.assertIsNotNone(call.step(), call.end)
        if act[0] == "key":
            keys = json.loads(self.gate.act("key", "list", "--json"))["keys"]
            act = (*act, keys[0]["id"])
        self.gate.act(*act, "--reason", "a test")
        failure = call.failure()
        self.assertEqual(failure.kind, self.wire.in_stream, failure)
        self.assertIn("access was revoked", failure.message)
        self.wire.check_revocation_error(self, failure)
        self.assertLess(len(self.wire.streamed_text(call.events)), 4 * LONG)
        self.assertEqual(self.gate.metric("parley_requests_total"), 1, "the stream was asked for again")
        return self.start(client, "plain", body=self.wire.body()).failure()

    def test_a_revoked_grant(self):
        failure = self.revoked("grant", "revoke", "prod")
        self.assertEqual(failure.kind, self.wire.refused[403], failure)
        self.assertIn("(rule grant.revoked", failure.message)

    def test_a_blocked_organisation(self):
        failure = self.revoked("org", "block", "acme")
        self.assertEqual(failure.kind, self.wire.refused[403], failure)
        self.assertIn("(rule org.blocked", failure.message)

    def test_a_revoked_key(self):
        failure = self.revoked("key", "revoke")
        self.assertEqual(failure.kind, self.wire.refused[401], failure)
        self.assertIn("(rule key.revoked", failure.message)
