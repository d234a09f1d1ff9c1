"""The access log: a line for each request that is over, with nothing in it that must stay secret."""

import json
import os
import signal

from parley_test import Case, Client, anthropic, evaluation, main, openai, product, run, wait_until

SECRET = "the-moon-is-a-lantern"


class AccessLog(Case):
    def logging(self, *grants, path="access.log", sim=(), **config):
        self.upstream = self.sim(*sim)
        self.gate = self.gateway(self.upstream, *(grants or [product()]), access_log=path, **config)
        self.path = self.gate.directory / path
        return self.gate

    def lines(self, count):
        """The first `count` lines, once they are there."""
        wait_until(lambda: self.path.read_text().count("\n") >= count, f"{count} lines")
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_an_answer_has_who_what_and_how_long(self):
        self.logging()
        client = self.gate.client("prod", "acme")
        answer = client.messages(SECRET)
        line, = self.lines(1)
        self.assertEqual(line["id"], answer.headers["parley-record"])
        settled = self.gate.settled(line["id"])
        expected = {"outcome": "admitted", "org": "acme", "grant": "prod", "purpose": "product",
                    "dialect": "anthropic", "method": "POST", "path": "/v1/messages",
                    "model": "north-1", "provider": "north", "status": 200, "upstream_status": 200,
                    "ending": "finish", "retries": 0, "sent_bytes": len(answer.body),
                    "received_bytes": len(json.dumps(anthropic(SECRET))),
                    "network": "127.0.0.0/24", "usage": settled["usage"],
                    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
                    "gen_ai.request.model": "north-1", "gen_ai.response.model": settled["served"],
                    "gen_ai.usage.output_tokens": settled["usage"]["output"]}
        self.assertEqual(expected, {name: line.get(name) for name in expected})
        usage = settled["usage"]
        self.assertEqual(line["gen_ai.usage.input_tokens"],
                         usage["input"] + usage["cache_read"] + usage["cache_write"])
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertLessEqual(line["ttfb_seconds"], line["duration_seconds"])
        self.assertNotIn("stream", line)
        self.assertEqual(line["key"], json.loads(self.gate.act("key", "list", "--json"))["keys"][0]["id"])

    def test_nothing_secret_is_in_it(self):
        self.logging(sim=("--output-tokens", 50))
        client = self.gate.client("prod", "acme")
        answers = [client.messages(SECRET), client.ask("openai", openai(SECRET, user=SECRET)),
                   client.ask("anthropic", anthropic(SECRET), path=f"/v1/messages?key={client.key}"),
                   client.post(f"/v1/{SECRET}", {}), client.ask("openai", openai(model=SECRET)),
                   Client(self.gate.port, "plk_" + SECRET).messages()]
        stream = client.stream("openai", SECRET).rest()
        self.lines(7)
        text = self.path.read_text()
        self.assertNotIn(SECRET, text)
        self.assertNotIn(client.key, text)
        said = answers[0].json()["content"][0]["text"]
        self.assertGreater(len(said), 20)
        self.assertNotIn(said[:20], text)
        self.assertGreater(len(stream), 100)

    def test_refusals_name_rule_and_clause(self):
        self.logging(product(limits={"rpm": 1}), evaluation())
        client = self.gate.client("prod", "acme")
        client.messages()
        client.messages()
        Client(self.gate.port, "plk_nobody").messages()
        self.gate.client("eval", "southlab").messages()
        client.get("/v1/models")
        client.post("/v1/files", {})
        lines = self.lines(6)
        told = [(line["outcome"], line.get("rule"), line["status"]) for line in lines]
        self.assertEqual(sorted(told, key=str), sorted([
            ("admitted", None, 200), ("refused", "limit.rpm", 429), ("refused", "key.unknown", 401),
            ("refused", "suite.unbound", 403), ("listed", None, 200),
            ("refused", "endpoint.unknown", 404)], key=str))
        by_rule = {line.get("rule"): line for line in lines}
        self.assertEqual(by_rule["suite.unbound"]["clause"], "D.4a")
        self.assertEqual(by_rule["suite.unbound"]["grant"], "eval")
        self.assertNotIn("grant", by_rule["key.unknown"])
        self.assertNotIn("path", by_rule["endpoint.unknown"])
        self.assertNotIn("usage", by_rule["limit.rpm"])

    def test_streams_and_how_they_end(self):
        self.logging(sim=("--output-tokens", 400, "--tokens-per-second", 200))
        client = self.gate.client("prod", "acme")
        stream = client.stream("anthropic", max_tokens=4000)
        stream.read_until(b"content_block_delta")
        stream.close()
        line, = self.lines(1)
        self.assertEqual((line["ending"], line["stream"]), ("client_gone", True))
        self.assertTrue(line["usage"].get("estimated"))
        self.assertGreater(line["sent_bytes"], 0)
        whole = client.stream("openai", max_completion_tokens=16)
        body = whole.rest()
        line = self.lines(2)[1]
        self.assertEqual((line["ending"], line["gen_ai.provider.name"]), ("finish", "openai"))
        self.assertEqual(line["sent_bytes"], len(body))
        self.assertLess(line["ttfb_seconds"], line["duration_seconds"])
        self.upstream.end()
        client.messages()
        line = self.lines(3)[2]
        self.assertEqual((line["ending"], line["status"]), ("upstream_error", 502))
        self.assertNotIn("upstream_status", line)

    def test_a_rotated_file_is_opened_anew(self):
        self.logging()
        client = self.gate.client("prod", "acme")
        client.messages()
        self.lines(1)
        aside = self.path.with_suffix(".1")
        self.path.rename(aside)
        self.gate.process.send(signal.SIGHUP)
        wait_until(self.path.exists, "a new file")
        client.messages()
        self.lines(1)
        self.assertEqual(aside.read_text().count("\n"), 1)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_the_last_lines_are_written_at_the_end(self):
        self.logging()
        client = self.gate.client("prod", "acme")
        for _ in range(50):
            client.messages()
        self.assertEqual(self.gate.stop(), 0)
        self.assertEqual(len(self.lines(50)), 50)

    def test_the_standard_output(self):
        self.logging(path="-")
        self.gate.client("prod", "acme").messages()
        line = self.gate.process.wait_for_line(r'^(\{.*"outcome":"admitted".*\})$').group(1)
        self.assertEqual(json.loads(line)["status"], 200)

    def test_a_full_disk_stops_no_traffic(self):
        self.logging(path="/dev/full")
        client = self.gate.client("prod", "acme")
        for _ in range(3):
            self.assertEqual(client.messages().status, 200)
            wait_until(lambda: self.gate.metric("parley_access_log_dropped_total") ==
                       self.gate.metric("parley_access_log_lines_total"), "the lines to be lost")
        self.assertEqual(self.gate.metric("parley_access_log_lines_total"), 3)
        self.assertEqual(self.gate.metric("parley_access_log_errors_total"), 3)
        wait_until(lambda: "/dev/full" in self.gate.process.stderr, "a warning")
        self.assertEqual(self.gate.process.stderr.count("/dev/full"), 1)
        self.assertEqual(self.gate.stop(), 0)

    def test_a_reader_that_stops_reading_costs_lines_and_no_answers(self):
        """A pipe that nobody empties: what does not fit is dropped and counted, and the gateway ends."""
        fifo = self.directory / "fifo"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.logging(path=str(fifo), workers=1)
        client = self.gate.client("prod", "acme")
        asked = 0
        while self.gate.metric("parley_access_log_dropped_total") == 0:
            self.assertLess(asked, 5000)
            for _ in range(50):
                self.assertEqual(client.messages().status, 200)
            asked += 50
        self.assertEqual(self.gate.stop(), 0)

    def test_a_path_that_cannot_be_opened_is_an_error_at_the_start(self):
        self.logging(path="access.log")
        self.gate.stop()
        self.gate.write_config(self.upstream.url, access_log="none/access.log")
        done = run("serve", "-c", self.gate.config_path)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn("access_log: ", done.stderr)
        self.assertIn("none/access.log", done.stderr)


if __name__ == "__main__":
    main()
