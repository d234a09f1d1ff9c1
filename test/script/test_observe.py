"""`mode: observe`: policy decides and is put on record, and refuses nothing."""

import json
import subprocess

from parley_test import (CLAUSE, Case, Client, PARLEY, anthropic, evaluation, main, openai, product,
                         public, suite_of, wait_until)

FOXES = ["What jumps over the dog?", "What lives in a den?"]


class Observing(Case):
    def setUp(self):
        super().setUp()
        self.upstream = self.sim()

    def observing(self, *grants, **members):
        self.gate = self.gateway(self.upstream, *grants, mode="observe", **members)
        return self.gate

    def admit_of(self, answer):
        """The admit record of an answer, from whichever log has it."""
        record = answer.headers["parley-record"]
        for log in ("evaluation", "usage"):
            for entry in self.gate.records(log):
                if entry["id"] == record:
                    self.assertEqual(entry["kind"], "admit")
                    self.log = log
                    return entry
        raise AssertionError(f"no record {record}")

    def assert_observed(self, answer, rule):
        self.assertEqual(answer.status, 200, answer)
        admit = self.admit_of(answer)
        self.assertTrue(admit["observed"])
        self.assertEqual(admit.get("rule"), rule)
        return admit

    def observed_by(self, rule):
        return self.gate.metric(f'parley_observed_by_rule_total{{rule="{rule}"}}')

    def test_the_start_warns_and_the_status_says_so(self):
        self.observing()
        self.assertIn("mode observe", self.gate.process.stderr)
        self.assertEqual(self.gate.admin("/admin/v1/status").json()["mode"], "observe")

    def test_unbound_words_go_through_and_are_recorded_by_rule_and_clause(self):
        foxes = suite_of(FOXES)
        self.observing(evaluation(), public_suites=public(foxes))
        client = self.gate.client("eval", "southlab")
        admit = self.assert_observed(client.messages("Write me a poem."), "suite.unbound")
        self.assertEqual(self.log, "evaluation")
        self.assertEqual(admit["clause"], CLAUSE)
        self.assertEqual(admit["model"], "north-1")
        # Nothing that was not enforced is recorded as if it had been.
        self.assertEqual(set(admit) & {"suite", "run", "leaf", "sample", "purpose", "release"}, set())
        self.assertEqual(self.observed_by("suite.unbound"), 1)
        self.assertEqual(self.gate.metric("parley_observed_total"), 1)
        self.assertEqual(self.gate.metric("parley_refused_total"), 0)
        # What a grant allows is bound as ever, and marked too: others came through beside it.
        registered = client.post("/parley/v1/suites", foxes).json()
        answer = client.ask("anthropic", anthropic(FOXES[1], temperature=0))
        admit = self.assert_observed(answer, None)
        self.assertEqual((admit["suite"], admit["leaf"], admit["sample"]), (registered["suite"], 1, 0))
        # The same leaf again has no sample left.
        again = client.ask("anthropic", anthropic(FOXES[1], temperature=0))
        self.assertNotIn("leaf", self.assert_observed(again, "suite.samples"))
        self.gate.settled(again.headers["parley-record"])
        self.assertEqual(self.gate.metric("parley_observed_total"), 2)

    def test_states_dates_and_blocks_do_not_refuse_or_cut(self):
        self.observing(product(), product("later", "surfboard", valid={"from": "2099-01-01", "to": "2099-02-01"}))
        client, later = self.gate.client("prod", "acme"), self.gate.client("later", "surfboard")
        self.assert_observed(later.messages(), "grant.dates")
        self.assert_observed(client.messages(), None)
        self.gate.act("grant", "suspend", "prod")
        self.assert_observed(client.messages(), "grant.suspended")
        self.gate.act("org", "block", "acme")
        for answer in (client.chat(), client.messages()):
            self.assert_observed(answer, "org.blocked")
        self.assertEqual(client.get("/v1/models").status, 200)

    def test_a_stream_outlives_a_block_and_not_its_key(self):
        self.upstream = self.sim("--output-tokens", 4000, "--tokens-per-second", 100)
        self.observing(product())
        key = self.gate.key("prod", "acme")
        client = Client(self.gate.port, key)
        stream = client.stream("anthropic", max_tokens=8000)
        stream.read_until(b"content_block_delta")
        self.gate.act("org", "block", "acme")
        before = len(stream.received)
        while len(stream.received) < before + 200:
            stream.read_some()
        self.assertNotIn(b"event: error", stream.received)
        shown = json.loads(self.gate.act("key", "list", "--json"))
        self.gate.act("key", "revoke", shown["keys"][0]["id"])
        self.assertIn(b"event: error", stream.rest())
        self.assert_refused(client.messages(), 401, "key.revoked", "anthropic")

    def test_parameters_and_models(self):
        self.observing(product(models=["north-1"]))
        client = self.gate.client("prod", "acme")
        self.assert_observed(client.chat(), "model.not_granted")
        answer = client.ask("openai", openai(n=2))
        self.assert_observed(answer, "model.not_granted")
        self.assert_observed(client.ask("openai", openai(logprobs=True)), "model.not_granted")
        answer = client.ask("openai", {"model": "north-o", "input": "Hello"}, path="/v1/responses")
        self.assert_observed(answer, "model.not_granted")

    def test_limits_are_told_and_not_made(self):
        self.observing(product(limits={"rpm": 2, "concurrency": 4, "tokens_per_day": 1000000}))
        client = self.gate.client("prod", "acme")
        for _ in range(2):
            self.assert_observed(client.messages(), None)
        for _ in range(3):
            self.assert_observed(client.messages(), "limit.rpm")
        self.assertEqual(self.observed_by("limit.rpm"), 3)
        # As if they had been refused, these took nothing: the limit stands where it stood.
        self.assertEqual(self.gate.use("prod")["rpm"][0], 2)
        self.assert_quiet(self.gate, "prod")

    def test_a_stream_beyond_its_limit_goes_on(self):
        self.upstream = self.sim("--output-tokens", 4000)
        self.observing(product(limits={"output_tpm": 2000, "concurrency": 4}))
        client = self.gate.client("prod", "acme")
        stream = client.stream("anthropic", max_tokens=8000)
        text = stream.rest()
        self.assertIn(b"message_stop", text)
        self.assertNotIn(b"event: error", text)
        settled = self.gate.settled(stream.headers["parley-record"])
        self.assertEqual((settled["ending"], settled["usage"]["output"]), ("finish", 4000))
        self.assertEqual(self.observed_by("limit.output_tpm"), 1)
        self.assert_quiet(self.gate, "prod")

    def test_what_cannot_be_carried_is_refused_as_ever(self):
        self.observing(product())
        client = self.gate.client("prod", "acme")
        self.assert_refused(Client(self.gate.port, "plk_nobody").messages(), 401, "key.unknown",
                            "anthropic")
        self.assert_refused(client.messages(model="nobody"), 404, "model.unknown", "anthropic")
        self.assert_refused(client.messages(model="north-o"), 404, "model.dialect", "anthropic")
        self.assert_refused(client.ask("openai", b"{"), 400, "request.syntax", "openai")
        self.assertEqual(client.post("/v1/files", {}).status, 404)
        self.assertEqual(self.gate.metric("parley_observed_total"), 0)
        self.assertEqual(self.gate.metric("parley_refused_total"), 5)

    def test_the_log_verifies_and_says_that_nothing_was_kept_out(self):
        self.observing(evaluation())
        client = self.gate.client("eval", "southlab")
        for _ in range(2):
            record = client.messages("A poem, please.").headers["parley-record"]
        self.gate.settled(record)
        self.gate.stop()
        done = subprocess.run([PARLEY, "verify", self.gate.directory / "log/evaluation"],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("2 requests were admitted in mode observe, 2 of them against a rule", done.stdout)

    def test_counts_survive_a_restart(self):
        """Samples that observed requests did not use are still there, those that leaves used are not."""
        foxes = suite_of(FOXES)
        self.observing(evaluation(), public_suites=public(foxes))
        client = self.gate.client("eval", "southlab")
        client.post("/parley/v1/suites", foxes)
        self.assert_observed(client.ask("anthropic", anthropic(FOXES[0], temperature=0)), None)
        self.assert_observed(client.ask("anthropic", anthropic("A poem.", temperature=0)), "suite.unbound")
        self.gate.stop()
        self.gate.start()
        client = Client(self.gate.port, client.key)
        self.assert_observed(client.ask("anthropic", anthropic(FOXES[0], temperature=0)), "suite.samples")
        self.assert_observed(client.ask("anthropic", anthropic(FOXES[1], temperature=0)), None)


if __name__ == "__main__":
    main()
