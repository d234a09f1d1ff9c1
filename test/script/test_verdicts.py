"""Release V0: verdicts leave the gateway, sealed answers do not."""

import base64
import hashlib
import hmac
import json
import os
import socket
import unittest

from parley_test import (DIALECTS, PARLEY, Case, Client, Process, SealedSuite, anthropic, ask,
                         canonical, encode, evaluation, main, openai, public, suite_of, wait_until)
from raw_upstream import RawUpstream
from test_dialects import APIS, configuration, generate, grant_all

MARKER = "QUOKKA-7f3a"
FOXES = ["What jumps over the dog?", "What lives in a den?", "What is red and has a brush?"]
ANSWERS = {FOXES[0]: f"The {MARKER} says: a fox.", FOXES[1]: f"A {MARKER} badger.",
           FOXES[2]: f"{MARKER} " + "word " * 40 + "fox"}


def spec_of(kind="contains", **members):
    return {"kind": kind, **members}


def graded_suite(prompts, gradings, **members):
    """An open registration with gradings of one's own."""
    from parley_test import leaf_hash, leaf_of, tree_root
    suite = suite_of(prompts, **members)
    leaves = [leaf_of(i, prompt, gradings[i]) for i, prompt in enumerate(prompts)]
    suite["root"] = tree_root([leaf_hash(leaf) for leaf in leaves]).hex()
    suite["items"] = [{"prompt": prompt, "grading": grading}
                      for prompt, grading in zip(prompts, gradings)]
    return suite


def pae(payload):
    kind = b"application/vnd.parley.verdict+json"
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


class Grader(Process):
    def __init__(self, directory, name="grade", *options):
        self.path = os.path.join(directory, f"{name}.sock")
        super().__init__(directory, name, [PARLEY, "grade", "--listen", f"unix:{self.path}",
                                           *map(str, options)])
        self.wait_for_line(r"^grading on unix:")


def sealed(name="eval", **members):
    """An evaluation grant at V0 for suites that nobody has reviewed."""
    return evaluation(name, **{"release": "V0", "openings": 0, "suites": {
        "classes": ["private", "public"], "max_leaves": 5000, "samples_per_leaf": 5}, **members})


class Verdicts(Case):
    """A gateway at V0 with a grader, and everything that its client ever received."""

    def setUp(self):
        super().setUp()
        self.persona = self.directory / "persona.jsonl"
        self.persona.write_text("".join(
            json.dumps({"prompt": prompt, "answers": [answer],
                        "usage": {"input": 9, "output": 3 + index}}) + "\n"
            for index, (prompt, answer) in enumerate(ANSWERS.items())))
        self.upstream = self.sim("--persona", self.persona)
        self.received = []

    def grader(self, *options, name="grade"):
        grader = Grader(self.directory, name, *options)
        self.addCleanup(grader.end)
        return grader

    def start(self, *grants, grader=True, upstream=None, **config):
        if grader:
            self.grade = self.grader()
            config["grade"] = {"socket": f"unix:{self.grade.path}"}
        gate = self.gateway(upstream or self.upstream, *(grants or (sealed(),)), **config)
        self.gate, self.client = gate, gate.client("eval", "southlab")
        return gate

    def register(self, suite, **members):
        answer = self.client.post("/parley/v1/suites", suite)
        self.assertEqual(answer.status, 200, answer)
        self.registration = answer.json()
        answer = self.client.post("/parley/v1/runs",
                                  {"suite": self.registration["suite"], **members})
        self.assertEqual(answer.status, 200, answer)
        self.opened = answer.json()
        return self.opened["run"]

    def ask(self, prompt, dialect="anthropic", accept="verdict", **members):
        make = anthropic if dialect == "anthropic" else openai
        extra = {"parley-accept": accept} if accept else {}
        answer = self.client.ask(dialect, make(prompt, temperature=0, **members), extra=extra)
        self.received.append(repr(answer.headers).encode() + answer.body)
        return answer

    def verdict(self, prompt, **members):
        answer = self.ask(prompt, **members)
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def files(self):
        for root, _, names in os.walk(self.gate.directory):
            for name in names:
                path = os.path.join(root, name)
                if not os.path.islink(path) and os.path.isfile(path):
                    with open(path, "rb") as file:
                        yield path, file.read()

    def assert_sealed(self):
        """No byte that the client got and no file of the gateway has the answers' marker."""
        for piece in self.received:
            self.assertNotIn(MARKER.encode(), piece)
            self.assertNotIn(base64.b64encode(MARKER.encode())[:10], piece)
        for path, content in self.files():
            self.assertNotIn(MARKER.encode(), content, path)

    # -- the flagship --

    def test_verdicts_arrive_and_the_answers_do_not(self):
        self.start()
        run = self.register(suite_of(FOXES))
        verdicts = [self.verdict(prompt, dialect=DIALECTS[index % 2])
                    for index, prompt in enumerate(FOXES)]
        self.assertEqual([v["verdict"] for v in verdicts], ["pass", "fail", "pass"])
        self.assertEqual([v["score"] for v in verdicts], [1, 0, 1])
        for leaf, verdict in enumerate(verdicts):
            self.assertEqual((verdict["leaf"], verdict["sample"], verdict["run"]), (leaf, 0, run))
            self.assertEqual({name: count % 64 for name, count in verdict["usage"].items()},
                             dict.fromkeys(verdict["usage"], 0))
            self.assertEqual(verdict["usage"]["output"], 64)
            self.assertNotIn("opened", verdict)
            settle = self.gate.settled(verdict["record"])
            for name in ("answer", "score", "verdict", "usage"):
                self.assertEqual(settle[name], verdict[name])
            self.assertNotIn("opened", settle)
        admits = [entry for entry in self.gate.records() if entry["kind"] == "admit"]
        self.assertEqual({entry["release"] for entry in admits}, {"V0"})
        self.assert_sealed()

    def test_the_digest_of_a_short_answer_cannot_be_guessed(self):
        self.persona.write_text(json.dumps({"prompt": FOXES[0], "answers": ["B"]}) + "\n")
        self.upstream = self.sim("--persona", self.persona)
        self.start()
        self.register(suite_of(FOXES))
        answer = self.ask(FOXES[0])
        verdict = answer.json()
        nonce = bytes.fromhex(answer.headers["parley-nonce"])
        guess = hashlib.sha256(nonce + canonical(["B", [], "stop"])).hexdigest()
        self.assertNotEqual(verdict["answer"], guess)
        # The nonce that was told is the request's.
        admit = next(e for e in self.gate.records() if e["id"] == verdict["record"])
        body = encode(anthropic(FOXES[0], temperature=0))
        self.assertEqual(admit["request"], hashlib.sha256(nonce + body).hexdigest())

    def test_every_dialect(self):
        mistral = self.sim("--persona", self.persona, "--chat", "mistral")
        self.grade = self.grader()
        gate = self.gateway(self.upstream, grant_all(sealed),
                            grade={"socket": f"unix:{self.grade.path}"},
                            **configuration(self.upstream.url, mistral.url))
        self.gate, self.client = gate, gate.client("eval", "southlab")
        self.register(suite_of(FOXES), samples=4)
        for name, api in APIS.items():
            with self.subTest(name):
                answer = generate(gate.port, api, self.client.key, FOXES[0], temperature=0,
                                  extra={"parley-accept": "verdict"})
                self.received.append(answer.body)
                self.assertEqual(answer.status, 200, answer)
                self.assertEqual(answer.json()["verdict"], "pass")
                plain = generate(gate.port, api, self.client.key, FOXES[0], temperature=0)
                self.received.append(plain.body)
                self.assertEqual(plain.status, 403, plain)
                self.assertIn("release.verdict", plain.body.decode())
        self.assert_sealed()

    def test_a_verdict_is_signed_by_a_key_that_the_log_vouches_for(self):
        self.start()
        self.register(suite_of(FOXES))
        verdict = self.verdict(FOXES[0])
        note = ask(self.gate.port, "GET", "/log/verdict-key").body.decode()
        self.assertTrue(note.startswith("parley verdict key v1\nnorthlab.example/test/verdict+"))
        self.assertIn("\n\n— northlab.example/test ", note)
        vkey = note.split("\n")[1]
        key = base64.b64decode(vkey.split("+", 2)[2])
        self.assertEqual(key[0], 1)
        log = ask(self.gate.port, "GET", "/log/vkey").body.decode()
        self.assertNotEqual(base64.b64decode(log.strip().split("+", 2)[2]), key)
        signature = base64.b64decode(verdict.pop("signature"))
        payload = json.dumps(verdict, sort_keys=True, separators=(",", ":")).encode()
        pem = (b"-----BEGIN PUBLIC KEY-----\n" +
               base64.b64encode(bytes.fromhex("302a300506032b6570032100") + key[1:]) +
               b"\n-----END PUBLIC KEY-----\n")
        for name, content in (("key", pem), ("text", pae(payload)), ("signature", signature)):
            (self.directory / name).write_bytes(content)
        check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.directory / "key",
                 "-rawin", "-in", self.directory / "text", "-sigfile", self.directory / "signature"]
        import subprocess
        self.assertEqual(subprocess.run(check, capture_output=True).returncode, 0)
        (self.directory / "text").write_bytes(pae(payload.replace(b'"pass"', b'"fail"')))
        self.assertNotEqual(subprocess.run(check, capture_output=True).returncode, 0)
        self.assertEqual(os.stat(self.gate.directory / "verdict.key").st_mode & 0o777, 0o600)

    # -- what is refused --

    def test_only_verdicts_are_asked_for(self):
        self.start()
        self.register(suite_of(FOXES))
        self.assert_refused(self.ask(FOXES[0], accept=None), 403, "release.verdict", "anthropic")
        self.assert_refused(self.ask(FOXES[0], accept="answer"), 403, "release.verdict",
                            "anthropic")
        self.assert_refused(self.ask(FOXES[0], stream=True), 403, "release.level", "anthropic")
        self.assertEqual(self.upstream.end_and_count(), 0)

    def test_other_grants_give_no_verdicts(self):
        suite = suite_of(FOXES)
        self.gate = self.gateway(self.upstream, evaluation(), public_suites=public(suite))
        self.client = self.gate.client("eval", "southlab")
        self.register(suite)
        self.assert_refused(self.ask(FOXES[0]), 403, "release.level", "anthropic")

    def test_grants_that_cannot_be(self):
        self.start()
        product = {**sealed("p"), "org": "acme", "purposes": ["product"]}
        product.pop("suites")
        path = self.gate.directory / "access.yaml"
        for grant, said in ((product, "V0 judges leaves of suites, and product is bound to none"),
                            (sealed("p", release="V2"), "private suites are answered at release V0"),
                            (sealed("p", openings=11), "openings")):
            from parley_test import access
            path.write_text(json.dumps(access(grant)))
            done = self.gate.run("apply", path)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(said, done.stderr)

    def test_a_suite_that_cannot_be_judged_is_not_registered(self):
        self.start()
        gradings = [{"id": str(i), "scorer": {"kind": "pairwise"}} for i in range(3)]
        answer = self.client.post("/parley/v1/suites", graded_suite(FOXES, gradings))
        self.assertEqual((answer.status, answer.json()["rule"]), (403, "suite.scorers"), answer)
        self.assertIn("items[0]", answer.message())
        gradings = [{"id": str(i), "scorer": {"kind": "program", "command": ["./score.py"]}} for i in range(3)]
        answer = self.client.post("/parley/v1/suites", graded_suite(FOXES, gradings))
        self.assertEqual((answer.status, answer.json()["rule"]), (403, "suite.scorers"), answer)
        self.assertIn("a program of the evaluator's, which a gateway never does", answer.message())
        gradings = [{"id": str(i), "scorer": {"kind": "exact"}} for i in range(3)]
        answer = self.client.post("/parley/v1/suites", graded_suite(FOXES, gradings))
        self.assertEqual((answer.status, answer.json()["rule"]), (403, "suite.scorers"), answer)

    # -- the grader --

    def test_without_a_grader_nothing_goes_upstream(self):
        self.start()
        self.register(suite_of(FOXES))
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")
        self.grade.end()
        refused = self.ask(FOXES[1])
        self.assert_refused(refused, 503, "grade.unavailable", "anthropic", retry=True)
        self.assert_quiet(self.gate)
        # It comes back, and so do verdicts.
        os.unlink(self.grade.path)
        self.grader()
        self.assertEqual(self.verdict(FOXES[1])["verdict"], "fail")
        self.assertEqual(self.upstream.end_and_count(), 2)

    def test_a_gateway_without_a_grader_says_so(self):
        self.start(grader=False)
        self.register(suite_of(FOXES))
        self.assert_refused(self.ask(FOXES[0]), 503, "grade.unavailable", "anthropic", retry=True)

    def test_an_answer_that_cannot_be_judged_stays_sealed_and_uses_no_sample(self):
        path = str(self.directory / "broken.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(8)
        self.addCleanup(listener.close)

        def serve():
            replies = {b"GET": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                       b"POS": b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"}
            while True:
                connection, _ = listener.accept()
                with connection:
                    text = b""
                    while True:
                        piece = connection.recv(65536)
                        if not piece:
                            break
                        text += piece
                        if b"\r\n\r\n" in text and (text[:3] == b"GET" or text.endswith(b"}")):
                            connection.sendall(replies[text[:3]])
                            text = b""

        import threading
        threading.Thread(target=serve, daemon=True).start()
        self.start(grader=False, grade={"socket": f"unix:{path}"})
        run = self.register(suite_of(FOXES))
        answer = self.ask(FOXES[0])
        self.assertEqual(answer.status, 503, answer)
        self.assertIn("grade.unavailable", answer.message())
        settle = self.gate.settled(answer.headers["parley-record"])
        self.assertEqual(settle["verdict"], "ungraded")
        self.assertNotIn("score", settle)
        shown = self.client.get(f"/parley/v1/runs/{run}").json()
        self.assertEqual(shown["used"], 0)
        # A restart counts the same.
        self.gate.stop()
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.client.get(f"/parley/v1/runs/{run}").json()["used"], 0)
        self.assert_sealed()

    def test_programs_are_graded_elsewhere(self):
        grading = {"id": "0", "scorer": {"kind": "code", "language": "python", "entry_point": "f",
                                         "cases": [{"args": [2], "expected": 4}]}}
        right = f"# {MARKER}\ndef f(x):\n    return x * 2\n"
        self.persona.write_text(
            json.dumps({"prompt": FOXES[0], "answers": [right]}) + "\n" +
            json.dumps({"prompt": FOXES[1], "answers": ["import socket\n" + right]}) + "\n")
        self.upstream = self.sim("--persona", self.persona)
        self.start()
        self.register(graded_suite(FOXES[:2], [grading, {**grading, "id": "1"}]))
        verdict = self.verdict(FOXES[0])
        if verdict["verdict"] == "fail":
            raise unittest.SkipTest("there is no sandbox on this machine")
        self.assertEqual(verdict["verdict"], "pass")
        self.assert_sealed()

    def test_serve_starts_a_grader_of_its_own(self):
        self.start(grader=False, grade="spawn")
        self.register(suite_of(FOXES))
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")
        self.assert_sealed()

    # -- errors say nothing --

    def test_an_error_of_the_providers_is_not_repeated(self):
        def handle(call):
            body = json.dumps({"type": "error", "error": {
                "type": "invalid_request_error", "message": f"{MARKER} is what I thought"}})
            call.send(f"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\n"
                      f"content-length: {len(body)}\r\n\r\n{body}")
            return True

        upstream = RawUpstream(handle)
        self.start(upstream=upstream.url)
        self.register(suite_of(FOXES))
        answer = self.ask(FOXES[0])
        self.assertEqual(answer.status, 400, answer)
        self.assert_error_shape(answer, "anthropic")
        self.assert_sealed()

    def test_an_answer_that_is_none_uses_no_sample(self):
        def handle(call):
            body = json.dumps({"type": "message", "text": MARKER})
            call.send(f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                      f"content-length: {len(body)}\r\n\r\n{body}")
            return True

        self.start(upstream=RawUpstream(handle).url)
        run = self.register(suite_of(FOXES))
        answer = self.ask(FOXES[0])
        self.assertEqual(answer.status, 503, answer)
        self.assertIn("grade.unavailable", answer.message())
        self.assertEqual(self.gate.settled(answer.headers["parley-record"])["verdict"], "ungraded")
        self.assertEqual(self.client.get(f"/parley/v1/runs/{run}").json()["used"], 0)
        self.assert_sealed()

    # -- scorers are kept for as long as they are needed --

    def sealed_files(self):
        directory = self.gate.directory / "sealed"
        return sorted(os.listdir(directory)) if directory.exists() else []

    def test_scorers_survive_a_restart_and_go_with_the_last_run(self):
        self.start()
        run = self.register(suite_of(FOXES))
        suite = self.registration["suite"]
        self.assertEqual(self.sealed_files(), [suite])
        path = self.gate.directory / "sealed" / suite
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.verdict(FOXES[0])["verdict"], "pass")
        closed = self.client.post(f"/parley/v1/runs/{run}/close", {})
        self.assertEqual(closed.status, 200, closed)
        self.assertEqual(self.sealed_files(), [])
        self.assert_refused(self.ask(FOXES[1]), 403, "suite.scorers", "anthropic")
        refused = self.client.post("/parley/v1/runs", {"suite": suite})
        self.assertEqual((refused.status, refused.json()["rule"]), (403, "suite.scorers"))
        # Registering again brings them back.
        self.register(suite_of(FOXES))
        self.assertEqual(self.verdict(FOXES[1])["verdict"], "fail")
        self.assert_sealed()

    # -- sealed suites --

    def seal(self, prompts=FOXES, **members):
        """A sealed suite with the gradings that its leaves commit to, registered."""
        suite = SealedSuite(prompts, bytes([0x5a]) * 32)
        suite.body["gradings"] = suite.gradings
        self.register({**suite.body, **members})
        return suite

    def ask_leaf(self, suite, leaf, prompts=FOXES, shown=None):
        field = suite.field(self.registration["suite"], leaf if shown is None else shown)
        answer = self.client.ask("anthropic", anthropic(prompts[leaf], temperature=0),
                                 extra={"parley-accept": "verdict", "parley-leaf": field})
        self.received.append(repr(answer.headers).encode() + answer.body)
        return answer

    def test_a_sealed_suite_is_judged_by_what_its_leaves_commit_to(self):
        self.start()
        suite = self.seal()
        name = self.registration["suite"]
        self.assertIn("opening_commitment", self.registration)
        verdicts = [self.ask_leaf(suite, leaf) for leaf in range(2)]
        self.assertEqual([v.json()["verdict"] for v in verdicts], ["pass", "fail"])
        refused = self.ask_leaf(suite, 2, shown=1)
        self.assert_refused(refused, 403, "suite.unbound", "anthropic")
        self.assert_refused(self.ask(FOXES[2]), 403, "suite.unbound", "anthropic")
        # Killed, it has the gradings again; no prompt was ever kept.
        self.assertEqual(self.sealed_files(), [name])
        self.gate.kill()
        for path, content in self.files():
            for prompt in FOXES:
                self.assertNotIn(prompt.encode(), content, path)
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual(self.ask_leaf(suite, 2).json()["verdict"], "pass")
        closed = self.client.post(f"/parley/v1/runs/{self.opened['run']}/close", {})
        self.assertEqual(closed.status, 200, closed)
        self.assertEqual(self.sealed_files(), [])
        self.assert_refused(self.ask_leaf(suite, 0), 403, "suite.scorers", "anthropic")
        self.assert_sealed()

    def test_gradings_that_the_leaves_do_not_commit_to_judge_nothing(self):
        self.start()
        suite = SealedSuite(FOXES, bytes([0x5a]) * 32)
        other = [dict(grading, target="badger") if index == 1 else grading
                 for index, grading in enumerate(suite.gradings)]
        self.register({**suite.body, "gradings": other})
        self.assertEqual(self.ask_leaf(suite, 0).json()["verdict"], "pass")
        refused = self.ask_leaf(suite, 1)
        self.assert_refused(refused, 403, "suite.scorers", "anthropic")
        self.assertIn("leaf 1 is not the one", refused.message())
        # The right ones do not take their place while a run rests on these.
        again = {**suite.body, "gradings": suite.gradings}
        conflict = self.client.post("/parley/v1/suites", again)
        self.assertEqual(conflict.status, 409, conflict)
        self.client.post(f"/parley/v1/runs/{self.opened['run']}/close", {})
        self.register(again)
        self.assertEqual(self.ask_leaf(suite, 1).json()["verdict"], "fail")
        self.assertEqual(self.upstream.end_and_count(), 2)

    def test_words_of_two_sealed_leaves_count_once(self):
        self.start()
        prompts = [FOXES[0]] * 3
        suite = SealedSuite(prompts, bytes([0x5a]) * 32, samples=4)
        suite.gradings[2] = dict(suite.gradings[2], target="owl")
        suite = SealedSuite(prompts, bytes([0x5a]) * 32, samples=4, gradings=suite.gradings)
        self.register({**suite.body, "gradings": suite.gradings})
        verdicts = [self.ask_leaf(suite, leaf, prompts).json() for leaf in (1, 0)]
        self.assertEqual([(v["leaf"], v["sample"], v["verdict"]) for v in verdicts],
                         [(1, 0, "pass"), (1, 1, "pass")])
        # Judged otherwise it is another question.
        refused = self.ask_leaf(suite, 2, prompts)
        self.assert_refused(refused, 403, "suite.scorers", "anthropic")
        self.assertIn("another scorer: show leaf 1", refused.message())

    def test_a_sealed_suite_without_gradings_is_not_registered(self):
        self.start()
        suite = SealedSuite(FOXES, bytes([0x5a]) * 32)
        pairwise = [dict(grading, scorer={"kind": "pairwise"}) for grading in suite.gradings]
        for gradings, status, said in (
                (None, 403, "upload gradings"), (suite.gradings[:2], 400, "2 for 3 leaves"),
                (pairwise, 403, "gradings[0]: scorer"), (["fox"] * 3, 403, "gradings[0]"),
                ([dict(row, note="x") for row in suite.gradings], 403, "note")):
            body = suite.body if gradings is None else {**suite.body, "gradings": gradings}
            answer = self.client.post("/parley/v1/suites", body)
            self.assertEqual(answer.status, status, answer)
            self.assertIn(said, answer.message())
        answer = self.client.post("/parley/v1/suites", {**suite_of(FOXES), "gradings": []})
        self.assertEqual(answer.status, 400, answer)

    # -- openings --

    def test_both_seeds_choose_what_is_opened(self):
        prompts = [f"Question {n}?" for n in range(50)]
        self.persona.write_text("".join(
            json.dumps({"prompt": prompt, "answers": [f"{MARKER} fox {n}"]}) + "\n"
            for n, prompt in enumerate(prompts)))
        self.upstream = self.sim("--persona", self.persona)
        self.start(sealed(openings=4))
        seed = bytes(range(32))
        run = self.register(suite_of(prompts), opening_seed=seed.hex())
        commitment = self.registration["opening_commitment"]
        promised = self.opened["openings"]
        self.assertEqual({**promised, "key": ""}, {
            "gateway": commitment, "evaluator": hashlib.sha256(seed).hexdigest(), "leaves": 2,
            "key": ""})
        verdicts = [self.verdict(prompt) for prompt in prompts]
        chosen = [v["leaf"] for v in verdicts if "opened" in v]
        self.assertEqual(len(chosen), 2)
        for verdict in verdicts:
            settle = self.gate.settled(verdict["record"])
            self.assertEqual(settle.get("opened", False), verdict["leaf"] in chosen)
            if verdict["leaf"] in chosen:
                opened = verdict["opened"]
                self.assertIn(MARKER, opened["text"])
                text = canonical([opened["text"], opened["tool_calls"], opened["finish"]])
                self.assertEqual(hashlib.sha256(bytes.fromhex(opened["nonce"]) + text).hexdigest(),
                                 verdict["answer"])
        # The gateway shows its seed when the run closes: anybody can tell that these were the two.
        closed = self.client.post(f"/parley/v1/runs/{run}/close", {}).json()
        ours = bytes.fromhex(closed["opening_seed"])
        self.assertEqual(hashlib.sha256(ours).hexdigest(), commitment)
        key = hmac.new(ours, seed, hashlib.sha256).digest()
        self.assertEqual(hashlib.sha256(key).hexdigest(), promised["key"])
        self.assertEqual(closed["openings"], {"evaluator": seed.hex(), "key": key.hex()})
        numbers = [hmac.new(key, leaf.to_bytes(4, "big"), hashlib.sha256).digest()[:8]
                   for leaf in range(50)]
        self.assertEqual(sorted(sorted(range(50), key=numbers.__getitem__)[:2]), chosen)
        records = self.gate.records()
        ends = [e for e in records if e.get("act") == "run.close"]
        self.assertEqual(ends[0]["detail"]["opening_seed"], closed["opening_seed"])
        for path, content in self.files():
            self.assertNotIn(MARKER.encode(), content, path)

    def test_every_run_tells_its_key_and_the_last_the_seed(self):
        self.start(sealed(openings=10))
        suite = suite_of([f"Question {n}?" for n in range(20)])
        runs = []
        for seed in (bytes([1]) * 32, bytes([2]) * 32):
            runs.append(self.register(suite, opening_seed=seed.hex()))
        commitment = self.registration["opening_commitment"]
        first = self.client.post(f"/parley/v1/runs/{runs[0]}/close", {}).json()
        self.assertNotIn("opening_seed", first)
        self.assertEqual(first["openings"]["evaluator"], "01" * 32)
        last = self.client.post(f"/parley/v1/runs/{runs[1]}/close", {}).json()
        ours = bytes.fromhex(last["opening_seed"])
        self.assertEqual(hashlib.sha256(ours).hexdigest(), commitment)
        self.assertNotEqual(first["openings"]["key"], last["openings"]["key"])

    def test_a_rejected_suite_tells_the_seed_at_the_end_of_each_of_its_runs(self):
        self.start(sealed(openings=10))
        suite = suite_of([f"Question {n}?" for n in range(20)])
        runs = [self.register(suite, opening_seed=f"{n:064x}") for n in range(3)]
        commitment = self.registration["opening_commitment"]
        self.assertEqual(len({self.opened["openings"]["gateway"], commitment}), 1)
        self.gate.act("suite", "reject", self.registration["suite"], "--reason", "no")
        ends = {e["run"]: e["detail"] for e in self.gate.records() if e.get("act") == "run.close"}
        self.assertEqual(set(ends), set(runs))
        for detail in ends.values():
            ours = bytes.fromhex(detail["opening_seed"])
            self.assertEqual(hashlib.sha256(ours).hexdigest(), commitment)
            self.assertEqual(
                hmac.new(ours, bytes.fromhex(detail["openings"]["evaluator"]), hashlib.sha256)
                .hexdigest(), detail["openings"]["key"])
        self.assertEqual(self.sealed_files(), [])

    def test_what_a_grant_says_later_opens_no_more_of_a_run(self):
        prompts = [f"Question {n}?" for n in range(20)]
        self.persona.write_text("".join(
            json.dumps({"prompt": prompt, "answers": ["A fox."]}) + "\n" for prompt in prompts))
        self.upstream = self.sim("--persona", self.persona)
        self.start(sealed(openings=0))
        self.register(suite_of(prompts))
        self.gate.apply(sealed(openings=10))
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        self.assertEqual([v for v in map(self.verdict, prompts) if "opened" in v], [])


if __name__ == "__main__":
    main()
