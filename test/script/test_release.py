"""What leaves, line by line: every level against every dialect, streamed and not."""

import json
import os
import socket
import threading

import test_dialects
import test_final
from parley_test import Case, ask, encode, evaluation, main, public, suite_of
from test_verdicts import Grader

PROMPT = "What jumps over the dog?"
APIS = test_final.Simulated.APIS
# What no level below V3 takes, as each dialect spells it.
CHAT = ({"logprobs": True}, "parameter.logprobs"), ({"n": 2}, "parameter.n"), \
    ({"logit_bias": {"50256": -100}}, "parameter.logit_bias"), \
    ({"logprobs": True, "top_logprobs": 5}, "parameter.logprobs")
REFUSED = {
    "anthropic": (),  # it has none of them
    "openai": CHAT,
    "responses": (({"top_logprobs": 5}, "parameter.logprobs"),
                  ({"include": ["message.output_text.logprobs"]}, "parameter.logprobs")),
    "gemini": (({"candidateCount": 2}, "parameter.n"),
               ({"responseLogprobs": True}, "parameter.logprobs"),
               ({"responseLogprobs": True, "logprobs": 5}, "parameter.logprobs")),
    "mistral": (({"n": 2}, "parameter.n"),),
    "xai": CHAT,
}
ASKS = {"verdict": {"parley-accept": "verdict"}, None: {}}


class Levels(Case):
    """One gateway with six dialects and a grant of each level."""

    def setUp(self):
        super().setUp()
        persona = self.directory / "persona.jsonl"
        persona.write_text(json.dumps({"prompt": PROMPT, "answers": ["A fox."]}) + "\n")
        self.sims = [self.sim("--persona", persona), self.sim("--persona", persona, "--chat",
                                                              "mistral")]
        dialects = {"responses": "openai"}
        config = {
            "providers": [{"name": name, "dialect": dialects.get(name, name), "key": "k",
                           "url": self.sims[name == "mistral"].url} for name in APIS],
            "models": [{"name": api.model, "provider": name, "upstream": f"{name}-2026",
                        "max_output": 8192} for name, api in APIS.items()]}
        self.grader = Grader(self.directory)
        self.addCleanup(self.grader.end)
        suite = suite_of([PROMPT], samples=5)
        members = {"models": [api.model for api in APIS.values()], "suites": {
            "classes": ["public"], "max_leaves": 5000, "samples_per_leaf": 20}}
        grants = [evaluation(level, release=level, **members, **({"openings": 0} if level == "V0"
                                                                 else {}))
                  for level in ("V0", "V1", "V2")]
        self.gate = self.gateway(self.sims[0], *grants, public_suites=public(suite),
                                 grade={"socket": f"unix:{self.grader.path}"}, **config)
        self.clients, self.runs = {}, {}
        for level in ("V0", "V1", "V2"):
            client = self.gate.client(level, "southlab")
            registered = client.post("/parley/v1/suites", suite)
            self.assertEqual(registered.status, 200, registered)
            opened = client.post("/parley/v1/runs", {"suite": registered.json()["suite"],
                                                     "samples": 5})
            self.assertEqual(opened.status, 200, opened)
            self.clients[level], self.runs[level] = client, opened.json()["run"]

    def generate(self, api, level, stream=False, accept=None, **members):
        return test_dialects.generate(self.gate.port, api, self.clients[level].key, PROMPT,
                                      stream=stream, extra=ASKS[accept], **members)

    def each(self, *levels):
        return [(level, name, api, stream) for level in levels for name, api in APIS.items()
                for stream in (False, True)]

    def check_rule(self, answer, status, rule, case):
        self.assertEqual(answer.status, status, (case, answer))
        self.assertIn(f"(rule {rule}", answer.body.decode(), case)

    def test_what_no_level_below_v3_takes(self):
        for case in self.each("V0", "V1", "V2"):
            level, name, api, stream = case
            for members, rule in REFUSED[name]:
                answer = self.generate(api, level, stream, "verdict" if level == "V0" else None,
                                       **members)
                self.check_rule(answer, 400, rule, (case, members))
        self.assertEqual([sim.end_and_count() for sim in self.sims], [0, 0])

    def test_v0_answers_only_who_asks_for_a_verdict_and_no_stream(self):
        for case in self.each("V0"):
            level, name, api, stream = case
            self.check_rule(self.generate(api, level, stream), 403, "release.verdict", case)
            answer = self.generate(api, level, stream, "verdict")
            if stream:
                self.check_rule(answer, 403, "release.level", case)
                continue
            self.assertEqual(answer.status, 200, answer)
            verdict = answer.json()
            self.assertIn(verdict["score"], (0, 0.25, 0.5, 0.75, 1))
            self.assertEqual([count % 64 for count in verdict["usage"].values()], [0] * 4)
            settle = self.gate.settled(verdict["record"])
            self.assertEqual(settle["usage"], verdict["usage"])
            self.assertNotIn(b"fox", answer.body)
        # Other levels judge nothing.
        for case in self.each("V1", "V2"):
            level, name, api, stream = case
            answer = self.generate(api, level, stream, "verdict")
            self.check_rule(answer, 403, "release.level", case)

    def test_v1_says_how_long_at_most_its_leaf(self):
        for case in self.each("V1"):
            level, name, api, stream = case
            body = api.body(PROMPT, stream)
            most = {"gemini": "maxOutputTokens", "responses": "max_output_tokens"}.get(
                name, getattr(api, "most", None))
            (body["generationConfig"] if name == "gemini" else body).pop(most)
            answer = ask(self.gate.port, "POST", api.path(stream), {
                **test_dialects.headers(api, self.clients[level].key)}, encode(body))
            self.check_rule(answer, 403, "release.level", case)
            more = self.generate(api, level, stream, most=65)
            self.check_rule(more, 403, "suite.settings", case)
            self.assertIn("max output 65 > 64", more.body.decode())
            self.assertEqual(self.generate(api, level, stream, most=64).status, 200, case)

    def test_count_tokens_and_lists_release_nothing(self):
        for level, client in self.clients.items():
            listed = client.get("/v1/models")
            self.assertEqual(listed.status, 200, listed)
            counted = client.post("/v1/messages/count_tokens", {
                "model": "north-a", "messages": [{"role": "user", "content": PROMPT}]})
            self.assertEqual(counted.status, 200, counted)
            self.assertEqual(set(counted.json()), {"input_tokens"})

    def test_killed_while_a_verdict_is_pending(self):
        """The provider has answered, the grader has not: the outcome is unknown, and said to be."""
        self.grader.end()
        asked = threading.Event()
        listener = socket.socket(socket.AF_UNIX)
        os.unlink(self.grader.path)
        listener.bind(self.grader.path)
        listener.listen(16)
        self.addCleanup(listener.close)

        def serve(connection):
            text = b""
            while not text.startswith(b"POST"):
                piece = connection.recv(65536)
                if not piece:
                    return
                text = piece if not text else text + piece
                if text.startswith(b"GET") and text.endswith(b"\r\n\r\n"):
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    text = b""
            asked.set()  # and never answered
            connection.recv(65536)

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        api = APIS["anthropic"]
        client = threading.Thread(target=lambda: self.swallow(api), daemon=True)
        client.start()
        self.assertTrue(asked.wait(30), "the grader was never asked")
        self.gate.kill()
        client.join(30)
        listener.close()
        os.unlink(self.grader.path)
        grader = Grader(self.directory, "grade")
        self.addCleanup(grader.end)
        self.gate.start()
        records = self.gate.records()
        admits = [r["id"] for r in records if r["kind"] == "admit"]
        ends = [r for r in records if r["kind"] in ("settle", "unknown")]
        self.assertEqual([(r["kind"], r["admit"]) for r in ends], [("unknown", admits[0])])
        self.assertNotIn("verdict", ends[0])
        for other in self.clients.values():
            other.port = self.gate.port
        # No verdict leaves before its settle record is durable: the sample was not used.
        run = self.clients["V0"].get(f"/parley/v1/runs/{self.runs['V0']}").json()
        answers = [self.generate(api, "V0", accept="verdict") for _ in range(6)]
        good = [a.json()["sample"] for a in answers if a.status == 200]
        self.assertEqual((run["used"], good), (0, [0, 1, 2, 3, 4]))
        self.assert_quiet(self.gate)
        checked = self.gate.stop()
        self.assertEqual(checked, 0)

    def swallow(self, api):
        try:
            self.generate(api, "V0", accept="verdict")
        except (OSError, ValueError, EOFError, AssertionError):
            pass
        except Exception:  # http.client's own
            pass


if __name__ == "__main__":
    main()
