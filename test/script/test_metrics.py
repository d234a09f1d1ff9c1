"""/metrics on a gateway that has served all kinds of endings, read by Prometheus' own tool."""

import json
import re
import shutil
import subprocess

from parley_test import Case, Client, ask, evaluation, main, product, wait_until


def series_of(text):
    """{series: value} of the text format."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines() if not line.startswith("#")}


class Metrics(Case):
    def served(self):
        """Everything that can become of a request, and what /metrics says then."""
        self.upstream = self.sim("--output-tokens", 40000, "--tokens-per-second", 2000)
        self.gate = self.gateway(self.upstream, product(), product("tight", limits={"rpm": 1}),
                                 evaluation(), access_log="access.log")
        client = self.gate.client("prod", "acme")
        for dialect in ("anthropic", "openai"):
            client.stream(dialect).rest()
        self.assertEqual(client.messages().status, 200)
        self.assertEqual(client.chat().status, 200)
        gone = client.stream("anthropic", max_tokens=40000)
        gone.read_until(b"content_block_delta")
        gone.close()
        tight = self.gate.client("tight", "acme")
        tight.messages()
        self.assertEqual(tight.messages().status, 429)
        Client(self.gate.port, "plk_nobody").messages()
        self.gate.client("eval", "southlab").messages()
        others = key_ids(self.gate)
        revoked = self.gate.client("prod", "acme")
        stream = revoked.stream("anthropic", max_tokens=40000)
        stream.read_until(b"content_block_delta")
        self.gate.act("key", "revoke", *(key_ids(self.gate) - others))
        stream.rest()
        self.upstream.end()
        self.assertEqual(client.messages().status, 502)
        wait_until(lambda: self.gate.metric("parley_in_flight") == 0, "quiet")
        answer = ask(self.gate.admin_port, "GET", "/metrics")
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        return answer.body.decode()

    def test_promtool_finds_no_fault(self):
        text = self.served()
        tool = shutil.which("promtool")
        if not tool:
            self.skipTest("SKIP: promtool (Debian package prometheus) is not installed")
        done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_what_was_counted(self):
        text = self.served()
        series = series_of(text)
        self.assertEqual(series["parley_admitted_total"], 8)
        self.assertEqual(series['parley_settled_total{ending="finish"}'], 5)
        for ending in ("client_gone", "revoked", "upstream_error"):
            self.assertEqual(series[f'parley_settled_total{{ending="{ending}"}}'], 1, ending)
        self.assertEqual(series['parley_refused_by_rule_total{rule="limit.rpm"}'], 1)
        self.assertEqual(series['parley_upstream_errors_total{provider="north",kind="connect"}'], 1)
        self.assertEqual(series["parley_request_duration_seconds_count"], 8)
        self.assertEqual(series['parley_request_duration_seconds_bucket{le="+Inf"}'], 8)
        self.assertEqual(series["parley_time_to_first_byte_seconds_count"], 8)
        self.assertEqual(series["parley_upstream_time_to_first_byte_seconds_count"], 7)
        self.assertGreater(series["parley_request_duration_seconds_sum"], 0.03)  # 64 tokens at 2,000/s
        self.assertEqual(series["parley_upstream_connections"], 0)
        self.assertGreaterEqual(series["parley_upstream_connections_opened_total"], 2)
        opened = series["parley_upstream_connections_opened_total"]
        self.assertEqual(opened + series["parley_upstream_connections_reused_total"], 8)
        self.assertGreater(series["parley_client_received_bytes_total"], 1000)
        self.assertGreater(series["parley_client_sent_bytes_total"], 5000)
        self.assertEqual(series["parley_access_log_lines_total"], 11)
        self.assertEqual(series["parley_access_log_dropped_total"], 0)

    def test_logs_and_process(self):
        series = series_of(self.served())
        for log in ("evaluation", "usage"):
            label = f'{{log="{log}"}}'
            records = series[f"parley_log_records{label}"]
            self.assertEqual(series[f"parley_log_commit_records_sum{label}"], records)
            commits = series[f"parley_log_commits_total{label}"]
            self.assertEqual(series[f"parley_log_commit_duration_seconds_count{label}"], commits)
            self.assertEqual(series[f"parley_log_sync_duration_seconds_count{label}"], commits)
            self.assertEqual(series[f"parley_log_queue_records{label}"], 0)
            self.assertEqual(series[f"parley_log_checkpoint_lag_records{label}"],
                             records - series[f"parley_log_checkpoint{label}"])
        self.assertGreater(series["process_resident_memory_bytes"], 1 << 20)
        self.assertGreater(series["process_cpu_seconds_total"], 0)
        self.assertGreater(series["process_start_time_seconds"], 1.5e9)
        self.assertGreater(series["process_max_fds"], series["process_open_fds"])
        self.assertGreater(series["process_open_fds"], 10)
        info = next(name for name in series if name.startswith("parley_build_info{"))
        self.assertIn('mode="enforce"', info)
        self.assertIn('durability="strict"', info)

    def test_opentelemetrys_names(self):
        series = series_of(self.served())
        labels = 'gen_ai_operation_name="chat",gen_ai_provider_name="anthropic",gen_ai_request_model="north-1"'
        self.assertEqual(series[f"gen_ai_client_operation_duration_seconds_count{{{labels}}}"], 6)
        for kind in ("input", "output"):
            name = f'gen_ai_client_token_usage_count{{{labels},gen_ai_token_type="{kind}"}}'
            self.assertEqual(series[name], 5)
        otel = sum(value for name, value in series.items()
                   if re.match(r'gen_ai_client_token_usage_sum\{.*"output"', name))
        self.assertEqual(otel, series['parley_tokens_total{type="output"}'])

    def test_a_model_that_nobody_has_configured_makes_no_series(self):
        self.gate = self.gateway(self.sim(), product())
        client = self.gate.client("prod", "acme")
        before = len(series_of(ask(self.gate.admin_port, "GET", "/metrics").body.decode()))
        for number in range(50):
            client.messages(model=f"made-up-{number}")
        after = ask(self.gate.admin_port, "GET", "/metrics").body.decode()
        self.assertNotIn("made-up", after)
        self.assertEqual(len(series_of(after)), before)


def key_ids(gate):
    """The public ids of all keys."""
    return {row["id"] for row in json.loads(gate.act("key", "list", "--json"))["keys"]}


if __name__ == "__main__":
    main()
