"""Grants as papers between two parties, and notices that arrive: by webhook and by mail."""

import base64
import email
import email.policy
import http.server
import json
import os
import socket
import threading

from parley_test import (SOURCE, Case, Client, access, anthropic, day, evaluation, main, product, public,
                         run, suite_of, wait_until)

FOXES = ["What jumps over the dog?", "What lives in a den?"]


class Hook:
    """A webhook: keeps what it is sent and answers with the next of its statuses, then with 204."""

    def __init__(self, statuses=(), port=0):
        hook = self
        self.bodies, self.ids, self.statuses = [], [], list(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.bodies.append((self.path, json.loads(body)))
                hook.ids.append(self.headers["parley-notice"])
                self.send_response(hook.statuses.pop(0) if hook.statuses else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def payloads(self):
        return [payload(body) for _, body in self.bodies]


def payload(envelope):
    return json.loads(base64.b64decode(envelope["payload"]))


class Grants(Case):
    def setUp(self):
        super().setUp()
        self.foxes = suite_of(FOXES)
        self.gate = self.gateway(self.sim())
        self.org_key = self.directory / "south.key"
        self.public = run("keygen", "-o", self.org_key).stdout.strip()

    def apply(self, *grants, notify=None, key=True, gate=None):
        gate = gate or self.gate
        path = gate.directory / "access.yaml"
        file = access(*grants, public_suites=public(self.foxes))
        if key:
            file["orgs"][0]["key"] = self.public
        if notify:
            file["orgs"][0]["notify"] = notify
        path.write_text(json.dumps(file))
        return gate.act("apply", path)

    def show(self, name="eval", gate=None):
        return json.loads((gate or self.gate).act("grant", "show", name))

    def offer(self, name="eval"):
        path = self.directory / f"{name}.json"
        self.gate.act("grant", "offer", name, "-o", path)
        return path

    def sign(self, path, *arguments, key=None):
        signed = path.with_suffix(".signed")
        done = run("grant", "sign", path, "--key", key or self.org_key, "-o", signed, *arguments)
        return signed, done

    def register(self, client):
        suite = client.post("/parley/v1/suites", self.foxes)
        self.assertEqual(suite.status, 200, suite)
        return client.post("/parley/v1/runs", {"suite": suite.json()["suite"]}).json()["run"]

    # -- offered, countersigned, active --

    def test_nothing_is_admitted_before_both_have_signed(self):
        self.apply(evaluation())
        self.assertEqual(self.show()["state"], "offered")
        client = Client(self.gate.port, self.gate.key("eval", "southlab"))
        self.assert_refused(client.messages(FOXES[0]), 403, "grant.offered", "anthropic")
        signed, done = self.sign(self.offer())
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("eval", "southlab", "capability_benchmark", "D.4a", "(overridden by this grant)",
                     "not signed yet", "northlab.example/test/grants+"):
            self.assertIn(text, done.stdout)
        self.assertIn("signed by both sides",
                      self.gate.act("grant", "offer", "eval", "--countersigned", signed))
        shown = self.show()
        self.assertEqual((shown["state"], shown["document"]["form"]), ("active", "countersigned"))
        self.assertEqual([row["by"] for row in shown["document"]["signatures"]],
                         ["northlab.example/test", "southlab"])
        self.register(client)
        self.assertEqual(client.messages(FOXES[0], temperature=0).status, 200)
        acts = [entry["act"] for entry in self.gate.records() if entry["kind"] == "act"]
        self.assertEqual([act for act in acts if act.startswith("grant.")],
                         ["grant.apply", "grant.countersign"])

    def test_the_grantee_hands_it_back_over_the_model_listener(self):
        self.apply(evaluation())
        path = self.offer()
        vkey = json.loads(Client(self.gate.port, "").get("/parley/v1/keys").body)["grants"]
        _, done = self.sign(path, "--provider", vkey, "--gateway", f"http://127.0.0.1:{self.gate.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the grant is active", done.stderr)
        self.assertEqual(self.show()["state"], "active")

    def test_wrong_things_are_named(self):
        self.apply(evaluation(), product())
        path = self.offer()
        other = self.directory / "other.key"
        run("keygen", "-o", other)
        vkey = json.loads(Client(self.gate.port, "").get("/parley/v1/keys").body)["grants"]
        _, done = self.sign(path, key=other)
        self.assertEqual(done.returncode, 1)
        self.assertIn("not the key that the grant is offered to", done.stderr)
        _, done = self.sign(path, "--provider", vkey.replace("/grants+", "/grant+"))
        self.assertEqual(done.returncode, 1, done.stderr)
        envelope = json.loads(path.read_text())
        told = payload(envelope)
        told["grant"]["limits"] = {"rpm": 1}
        envelope["payload"] = base64.b64encode(json.dumps(told).encode()).decode()
        path.write_text(json.dumps(envelope))
        _, done = self.sign(path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("signature does not hold", done.stderr)
        one_sided = self.directory / "prod.json"
        self.gate.act("grant", "offer", "prod", "-o", one_sided)
        _, done = self.sign(one_sided)
        self.assertEqual(done.returncode, 1)
        self.assertIn("one-sided", done.stderr)
        done = self.gate.run("grant", "offer", "eval", "--countersigned", self.directory / "none")
        self.assertEqual(done.returncode, 2)
        done = run("grant", "sign", path, "-o", "x")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(self.show()["state"], "offered")

    def test_a_link_that_was_noted_after_the_offer_stops_what_is_new(self):
        self.apply(evaluation())
        signed, _ = self.sign(self.offer())
        self.gate.act("org", "link", "surfboard", "controls", "southlab", "--status", "rumoured",
                      "--evidence", "press")
        take = ("grant", "offer", "eval", "--countersigned", signed)
        done = self.gate.run(*take)
        self.assertEqual(done.returncode, 1)
        self.assertIn("a tie of southlab to another organisation was noted", done.stderr)
        self.assertNotIn("surfboard", done.stderr)
        self.assertEqual(self.show()["state"], "offered")
        answer = Client(self.gate.port, "").post("/parley/v1/grants/eval/countersign",
                                                 json.loads(signed.read_text()))
        self.assertEqual((answer.status, answer.headers["content-type"]),
                         (409, "application/problem+json"))
        # What was only offered is nothing that another grant could renew.
        path = self.gate.directory / "access.yaml"
        file = json.loads(path.read_text())
        file["grants"].append({**file["grants"][0], "id": "eval-2"})
        path.write_text(json.dumps(file))
        self.assertIn("has no new grants", self.gate.run("apply", path).stderr)
        self.gate.act("org", "unlink", "surfboard", "controls", "southlab")
        self.gate.act(*take)
        self.assertEqual(self.show()["state"], "active")
        # With a grant in force a change of it waits likewise, and other days do not.
        self.apply(evaluation(limits={"rpm": 5}))
        changed, _ = self.sign(self.offer())
        longer = evaluation(valid={"from": day(-1), "to": day(40)})
        self.gate.act("org", "link", "surfboard", "controls", "southlab", "--status", "rumoured",
                      "--evidence", "press")
        done = self.gate.run("grant", "offer", "eval", "--countersigned", changed)
        self.assertIn("nothing new is agreed", done.stderr)
        self.apply(longer)
        again, _ = self.sign(self.offer())
        self.gate.act("grant", "offer", "eval", "--countersigned", again)
        self.assertEqual(self.show()["to"], day(40))

    def test_a_change_waits_and_the_agreed_grant_serves(self):
        self.apply(evaluation())
        signed, _ = self.sign(self.offer())
        self.gate.act("grant", "offer", "eval", "--countersigned", signed)
        client = Client(self.gate.port, self.gate.key("eval", "southlab"))
        run_id = self.register(client)
        self.assertIn("~ grant eval", self.apply(evaluation(limits={"rpm": 5})))
        self.assertEqual(self.show()["offer"]["form"], "offered")
        self.gate.stop()
        self.gate.start()
        client.port = self.gate.port
        self.assertEqual(client.ask("anthropic", anthropic(FOXES[0], temperature=0),
                                    extra={"parley-run": run_id}).status, 200)
        self.assertNotIn("limits", self.show())
        again, _ = self.sign(self.offer())
        self.gate.act("grant", "offer", "eval", "--countersigned", again)
        self.assertEqual(self.show()["limits"]["rpm"], 5)
        self.assertIn("0 changed", self.apply(evaluation(limits={"rpm": 5})))

    # -- the keys that sign, and who vouches for them --

    def acts(self, gate, prefix):
        return [entry for entry in gate.records() if entry.get("act", "").startswith(prefix)]

    def start_fails(self, *arguments):
        done = self.gate.run("serve", *arguments)
        self.assertEqual(done.returncode, 1 if not arguments else done.returncode, done.stdout)
        return done.stderr

    def test_a_key_that_is_lost_is_not_replaced_in_silence(self):
        recorded = wait_until(lambda: self.acts(self.gate, "keys."), "the record of the keys")
        self.assertEqual([(act["act"], act["person"], act["detail"]["grants"]) for act in recorded],
                         [("keys.record", "gateway", self.vkey(self.gate))])
        self.apply(evaluation(), product())
        signed, _ = self.sign(self.offer())
        one_sided = self.offer("prod")
        self.gate.stop()
        for name, kind in (("grant.key", "grants"), ("verdict.key", "verdicts")):
            path, kept = self.gate.directory / name, self.directory / name
            path.rename(kept)
            told = self.start_fails()
            self.assertIn(f"{name} is missing, and its key is on record", told)
            self.assertIn(f"parley serve --replace-key {kind} --reason", told)
            self.assertFalse(path.exists())
            run("keygen", "-o", path)
            told = self.start_fails()
            self.assertIn("is on record: put the recorded key back", told)
            path.unlink()
            kept.rename(path)
        # What is on record is replaced by nothing, and nothing without a word.
        self.assertIn("is the key on record already",
                      self.start_fails("--replace-key", "grants", "--reason", "x"))
        self.assertIn("say why", self.start_fails("--replace-key", "grants"))
        self.assertIn("knows grants and verdicts", self.start_fails("--replace-key", "log", "--reason", "x"))
        self.gate.start()
        self.assertEqual(self.acts(self.gate, "keys."), recorded)
        # A person replaces it, once, on record.
        self.gate.stop()
        before = recorded[0]["detail"]["grants"]
        (self.gate.directory / "grant.key").unlink()
        self.gate.start("--replace-key", "grants", "--reason", "the disk")
        replaced = wait_until(lambda: self.acts(self.gate, "keys.replace"), "the record")[0]
        self.assertEqual((replaced["person"], replaced["reason"]), ("operator", "the disk"))
        self.gate.stop()
        self.gate.start()
        self.assertNotEqual(self.vkey(self.gate), before)
        # What waits is offered again under the new key, with its terms; what is in force stands, and
        # the log vouches for the key of its day.
        done = self.gate.run("grant", "offer", "eval", "--countersigned", signed)
        self.assertIn("not under the expected one", done.stderr)
        again, done = self.sign(self.offer(), "--log-key", self.log_key())
        self.assertIn("D.4a", done.stdout)
        self.gate.act("grant", "offer", "eval", "--countersigned", again)
        self.assertEqual(self.show()["state"], "active")
        for path in (one_sided, self.offer("prod"), again):
            done = run("verify", path, "--key", self.log_key(), "--require", "vouched")
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertTrue(done.stdout.startswith("VOUCHED by northlab.example/test; grant"), done.stdout)

    def log_key(self):
        return Client(self.gate.port, "").get("/log/vkey").body.decode().strip()

    def test_the_log_vouches_for_the_key_of_each_paper(self):
        self.apply(evaluation())
        path = self.offer()
        key = self.log_key()
        own = json.loads(Client(self.gate.port, "").get("/parley/v1/keys").body)
        self.assertTrue(own["certificate"].startswith(f"parley grant key v1\n{own['grants']}\n\n"))
        statement = self.directory / "statement.json"
        statement.write_text(self.gate.act("statement", "--org", "southlab", "--month",
                                           day(0)[:7], "--json"))
        for paper in (path, statement):
            self.assertTrue(run("verify", paper).stdout.startswith("CONSISTENT, SELF-CERTIFIED"))
            for given in (key, own["grants"]):
                told = run("verify", paper, "--key", given, "--require", "vouched")
                self.assertEqual(told.returncode, 0, told.stdout + told.stderr)
        _, done = self.sign(path, "--log-key", key)
        self.assertIn("by a key that the log you named vouches for", done.stdout)
        self.assertIn("southlab has signed it", run("verify", path.with_suffix(".signed")).stdout)
        # Another log's word, none, or one for another key: each is named.
        envelope = json.loads(path.read_text())
        other = self.gateway(self.sim(), name="other")
        wrong = Client(other.port, "").get("/log/vkey").body.decode().strip()
        _, done = self.sign(path, "--log-key", wrong)
        self.assertEqual(done.returncode, 1)
        self.assertIn("certificate", done.stderr)
        stranger = json.loads(Client(other.port, "").get("/parley/v1/keys").body)["certificate"]
        for certificate, told in (
                (None, "has no certificate"), (stranger, "certificate"),
                (envelope["certificate"].replace("v1\n", "v2\n"), "is wrong")):
            changed = {**envelope, "certificate": certificate}
            if certificate is None:
                del changed["certificate"]
            path.write_text(json.dumps(changed))
            done = run("verify", path, "--key", key)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertTrue(done.stdout.startswith("FALSE"), done.stdout)
            self.assertIn(told, done.stdout)

    # -- what an organisation fetches with its key --

    def fetch(self, client, path, status=200):
        answer = client.get(path)
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"],
                         "application/json" if status == 200 else "application/problem+json")
        return answer.json()

    def test_an_organisation_fetches_signs_and_keeps_its_papers_without_the_operator(self):
        self.apply(evaluation(), evaluation("other", team="safety"), product())
        client = Client(self.gate.port, self.gate.key("eval", "southlab"))
        shown = self.fetch(client, "/parley/v1/grants")["grants"]
        self.assertEqual([(row["id"], row["state"]) for row in shown],
                         [("eval", "offered"), ("other", "offered")])
        self.assertNotIn("person", shown[0])
        problem = self.fetch(client, "/parley/v1/grants/eval/agreed", 409)
        self.assertIn("nothing is agreed before you have signed it", problem["detail"])
        path = self.directory / "fetched.json"
        path.write_text(json.dumps(self.fetch(client, "/parley/v1/grants/eval/offer")))
        _, done = self.sign(path, "--log-key", self.log_key(), "--gateway",
                            f"http://127.0.0.1:{self.gate.port}")
        self.assertEqual(done.returncode, 0, done.stderr)
        agreed = self.fetch(client, "/parley/v1/grants/eval/agreed")
        self.assertEqual(len(agreed["signatures"]), 2)
        self.assertIn("terms", agreed)
        # A change waits beside what is in force; both are to be had.
        self.apply(evaluation(limits={"rpm": 5}), evaluation("other", team="safety"), product())
        self.assertEqual(payload(self.fetch(client, "/parley/v1/grants/eval/offer"))["grant"]["limits"],
                         {"rpm": 5})
        self.assertEqual(self.fetch(client, "/parley/v1/grants/eval/agreed")["payload"],
                         agreed["payload"])
        # Another organisation's grants are not there, nor those of another team for a team's key.
        acme = Client(self.gate.port, self.gate.key("prod", "acme"))
        team = Client(self.gate.port, self.gate.key("other", "southlab"))
        for asker, name in ((acme, "eval"), (client, "prod"), (client, "none"), (team, "eval")):
            problem = self.fetch(asker, f"/parley/v1/grants/{name}/offer", 404)
            self.assertIn(f"there is no grant {name} of yours", problem["detail"])
        self.assertEqual([row["id"] for row in self.fetch(team, "/parley/v1/grants")["grants"]], ["other"])
        # Suspended or blocked, it still has what was agreed with it; without a key, nobody has.
        self.gate.act("grant", "suspend", "eval", "--reason", "a talk")
        self.gate.act("org", "block", "southlab", "--reason", "a talk")
        self.assertEqual(self.fetch(client, "/parley/v1/grants/eval/agreed")["payload"],
                         agreed["payload"])
        for key in ("", "plk_" + 43 * "x"):
            problem = self.fetch(Client(self.gate.port, key), "/parley/v1/grants", 401)
            self.assertIn("key.", problem["rule"])

    def test_an_organisation_fetches_its_statement(self):
        self.apply(evaluation(), product(), key=False)
        client = Client(self.gate.port, self.gate.key("eval", "southlab"))
        self.register(client)
        self.assertEqual(client.messages(FOXES[0], temperature=0).status, 200)
        month = day(0)[:7]
        wait_until(lambda: self.fetch(client, f"/parley/v1/statement?month={month}")["statement"]
                   ["totals"].get("output"), "the tokens in the statement")
        told = self.fetch(client, f"/parley/v1/statement?month={month}")
        self.assertEqual((told["statement"]["org"]["id"], told["statement"]["totals"]["requests"]),
                         ("southlab", 1))
        self.assertEqual(payload(told["envelope"]), told["statement"])
        path = self.directory / "statement.json"
        path.write_text(json.dumps(told))
        done = run("verify", path, "--key", self.log_key(), "--require", "vouched")
        self.assertEqual(done.returncode, 0, done.stdout)
        # The same by the command, which needs no file of the operator's.
        ask = ("statement", "--gateway", f"http://127.0.0.1:{self.gate.port}#SOUTH", "--month")
        environment = {**os.environ, "SOUTH": client.key}
        done = run(*ask, month, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("1 requests admitted", done.stdout)
        done = run(*ask, month, "--json", "-o", path, env=environment)
        self.assertEqual(run("verify", path, "--key", self.log_key(), "--require", "vouched").returncode, 0)
        done = run(*ask, "2099-01", env=environment)
        self.assertEqual(done.returncode, 1)
        self.assertIn("has not begun", done.stderr)
        self.assertEqual(run(*ask, month, "--org", "southlab", env=environment).returncode, 2)
        self.assertEqual(run(*ask, "2026 11", env=environment).returncode, 2)
        self.assertEqual(run(*ask, month, env={**os.environ, "SOUTH": ""}).returncode, 2)
        # The organisation follows from the key, whatever else is asked for.
        other = self.fetch(client, f"/parley/v1/statement?org=acme&month={month}")
        self.assertEqual(other["statement"]["org"]["id"], "southlab")
        for query, status, text in (("", 400, "say which month"), ("?month=2026-13", 400, "is none"),
                                    ("?month=2099-01", 400, "has not begun"),
                                    ("?month=" + 40 * "9", 400, "is none")):
            problem = self.fetch(client, "/parley/v1/statement" + query, status)
            self.assertIn(text, problem["title"] + problem.get("detail", ""))
        self.fetch(Client(self.gate.port, ""), f"/parley/v1/statement?month={month}", 401)
        refused = client.post("/parley/v1/statement?month=2026-11", {})
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET"))

    # -- notices --

    def test_a_webhook_gets_each_notice_once_signed_and_in_order(self):
        hook = Hook()
        self.addCleanup(hook.close)
        self.apply(evaluation(), notify=f"http://127.0.0.1:{hook.port}/notices?for=south", key=False)
        self.gate.act("grant", "suspend", "eval", "--reason", "a question")
        self.gate.act("grant", "restore", "eval")
        self.gate.act("grant", "revoke", "eval", "--reason", "the end")
        wait_until(lambda: len(hook.bodies) >= 3, "three notices")
        events = [told["event"] for told in hook.payloads()]
        self.assertEqual(events, ["grant.suspended", "grant.restored", "grant.revoked"])
        first = hook.payloads()[0]
        self.assertEqual(hook.bodies[0][0], "/notices?for=south")
        self.assertEqual((first["parley"], first["grant"], first["org"], first["reason"]),
                         ("notice/1", "eval", "southlab", "a question"))
        self.assertEqual(first["issuer"]["name"], "northlab.example/test")
        self.assertEqual(hook.ids[0], first["id"])
        records = wait_until(lambda: self.notices(3), "three records of notices")
        self.assertEqual([(entry["act"], entry["detail"]["event"]) for entry in records],
                         [("notice.deliver", event) for event in events])
        self.assertEqual(len(hook.bodies), 3)
        self.assertEqual(json.loads(self.gate.admin("/admin/v1/notices").body), {"notices": []})

    def notices(self, count):
        found = [entry for entry in self.gate.records() if entry["kind"] == "notice"]
        return found if len(found) >= count else None

    def test_a_notice_is_tried_again_until_it_is_taken(self):
        hook = Hook(statuses=[500, 429])
        self.addCleanup(hook.close)
        self.apply(evaluation(), notify=f"http://127.0.0.1:{hook.port}/", key=False)
        self.gate.act("grant", "suspend", "eval")
        record = wait_until(lambda: self.notices(1), "the record of the notice")[0]
        self.assertEqual((record["act"], record["detail"]["attempts"]), ("notice.deliver", 3))
        self.assertEqual(len(set(hook.ids)), 1)
        self.assertEqual(len(hook.ids), 3)

    def test_kill_9_loses_no_notice_and_repeats_none_that_was_taken(self):
        taken = Hook()
        self.addCleanup(taken.close)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        self.apply(evaluation(), notify=f"http://127.0.0.1:{taken.port}/", key=False)
        self.gate.act("grant", "suspend", "eval")
        wait_until(lambda: self.notices(1), "the first notice")
        self.apply(evaluation(), notify=f"http://127.0.0.1:{port}/", key=False)
        self.gate.act("grant", "restore", "eval")
        self.gate.act("grant", "revoke", "eval")
        self.gate.kill()
        hook = Hook(port=port)
        self.addCleanup(hook.close)
        self.gate.start()
        wait_until(lambda: self.notices(3), "the notices of before the crash")
        self.assertEqual([told["event"] for told in hook.payloads()],
                         ["grant.restored", "grant.revoked"])
        self.assertEqual(len(taken.bodies), 1)

    def test_mail_goes_through_sendmail(self):
        program = self.directory / "sendmail"
        program.write_text("#!/bin/sh\n"
                           f"if [ ! -e {self.directory}/once ]; then touch {self.directory}/once; "
                           "echo 'no queue' >&2; exit 75; fi\n"
                           f"echo \"$@\" > {self.directory}/arguments\n"
                           f"env > {self.directory}/environment\n"
                           f"cat > {self.directory}/mail.part\n"
                           f"mv {self.directory}/mail.part {self.directory}/mail\n")
        program.chmod(0o755)
        self.gate.stop()
        self.gate.write_config("http://127.0.0.1:9", notices={
            "sendmail": str(program), "from": "access@northlab.example"})
        self.gate.start()
        self.apply(evaluation(), notify="mailto:evals@southlab.example")
        record = wait_until(lambda: self.notices(1), "the record of the mail")[0]
        self.assertEqual((record["detail"]["via"], record["detail"]["attempts"]), ("mail", 2))
        self.assertEqual((self.directory / "arguments").read_text().split(),
                         ["-i", "-f", "access@northlab.example", "--", "evals@southlab.example"])
        self.assertNotIn("upstream-secret", (self.directory / "environment").read_text())
        mail = email.message_from_bytes((self.directory / "mail").read_bytes(),
                                        policy=email.policy.default)
        self.assertEqual(mail["to"], "evals@southlab.example")
        self.assertIn("eval is offered", mail["subject"])
        text, attached = list(mail.iter_parts())
        self.assertIn("parley grant sign", text.get_content())
        self.assertEqual(payload(json.loads(attached.get_content()))["event"], "grant.offered")

    def test_the_end_of_a_grant_is_told_once(self):
        hook = Hook()
        self.addCleanup(hook.close)
        self.apply(evaluation(valid={"from": day(-1), "to": day(2)}, notice_hours=96),
                   notify=f"http://127.0.0.1:{hook.port}/", key=False)
        for _ in range(2):
            self.gate.stop()
            self.gate.start()
            wait_until(lambda: hook.bodies, "the notice")
        self.gate.act("grant", "suspend", "eval")
        wait_until(lambda: len(hook.bodies) >= 2, "a later notice")
        self.assertEqual([told["event"] for told in hook.payloads()],
                         ["grant.expiring", "grant.suspended"])

    # -- the published vector (test/vectors/grant.py made it without Parley) --

    def test_the_vector_holds_and_each_byte_of_it_counts(self):
        path = SOURCE / "test" / "vectors" / "grant.json"
        vector = json.loads(path.read_text())
        done = run("grant", "sign", path, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        shown = json.loads(done.stdout)
        self.assertEqual(shown["grant"], payload(vector))
        self.assertEqual(shown["terms"], payload(vector["terms"]))
        self.assertTrue(shown["countersigned"])
        broken = self.directory / "broken.json"
        for envelope in (vector, vector["terms"]):
            good = envelope["payload"]
            told = bytearray(base64.b64decode(good))
            for place in range(0, len(told), 97):
                told[place] ^= 1
                envelope["payload"] = base64.b64encode(told).decode()
                broken.write_text(json.dumps(vector))
                self.assertEqual(run("grant", "sign", broken).returncode, 1, place)
                told[place] ^= 1
            envelope["payload"] = good

    # -- two gateways --

    def vkey(self, gate):
        return json.loads(Client(gate.port, "").get("/parley/v1/keys").body)["grants"]

    def tie(self, gate, name):
        """What the other side's grant says of this gateway's grant."""
        return {"gateway": f"http://127.0.0.1:{gate.port}", "grant": name, "key": self.vkey(gate)}

    def reciprocal(self, gate, name):
        return self.show(name, gate).get("reciprocal", {})

    def two_gateways(self):
        south = self.gateway(self.sim(), name="south", origin="southlab.example/test",
                             reciprocal={"poll_seconds": 1})
        self.gate.stop()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.gate.write_config("http://127.0.0.1:9", reciprocal={"poll_seconds": 1},
                               listen=f"127.0.0.1:{port}")
        self.gate.start()
        self.apply(evaluation("n-s", reciprocal_of=self.tie(south, "s-n")), key=False)
        self.apply(evaluation("s-n", reciprocal_of=self.tie(self.gate, "n-s")), key=False, gate=south)
        return south

    def seen(self, gate, name, **wanted):
        def look():
            shown = self.reciprocal(gate, name)
            return shown if all(shown.get(key) == value for key, value in wanted.items()) else None

        return wait_until(look, f"{name} to show {wanted}, not {self.reciprocal(gate, name)}")

    def test_each_gateway_shows_the_other_s_grant(self):
        south = self.two_gateways()
        self.seen(self.gate, "n-s", state="active", mutual=True, stale=False)
        self.seen(south, "s-n", state="active", mutual=True, stale=False)
        south.act("grant", "suspend", "s-n", "--reason", "a talk")
        self.seen(self.gate, "n-s", state="suspended", mutual=True)
        client = Client(self.gate.port, self.gate.key("n-s", "southlab"))
        own = client.get("/parley/v1/self").json()
        self.assertEqual(own["grant"]["reciprocal"]["state"], "suspended")
        self.assertEqual(own["grant"]["state"], "active")  # shown, and nothing is done by it
        south.act("grant", "restore", "s-n")
        self.seen(self.gate, "n-s", state="active")
        # The other side ends: what it said last is shown, with what is wrong; then it is back.
        self.gate.kill()
        self.assertIn("problem", self.seen_problem(south, "s-n"))
        self.gate.start()
        wait_until(lambda: "problem" not in self.reciprocal(south, "s-n"), "the problem to be over")

    def seen_problem(self, gate, name):
        return wait_until(lambda: (lambda shown: shown if "problem" in shown else None)(
            self.reciprocal(gate, name)), "a problem to be shown")

    def test_a_status_under_another_key_is_not_believed(self):
        south = self.two_gateways()
        self.seen(self.gate, "n-s", state="active")
        self.apply(evaluation("n-s", reciprocal_of={**self.tie(south, "s-n"),
                                                    "key": self.vkey(self.gate)}), key=False)
        shown = self.seen_problem(self.gate, "n-s")
        self.assertEqual((shown["state"], shown["stale"]), ("unknown", True))
        self.assertIn("not under the expected one", shown["problem"])

    def test_a_status_tells_strangers_nothing_else(self):
        self.two_gateways()
        self.gate.act("grant", "suspend", "n-s", "--reason", "a secret")
        answer = Client(self.gate.port, "").get("/parley/v1/grants/n-s/status")
        self.assertEqual(answer.status, 200, answer)
        told = payload(answer.json())
        self.assertEqual(set(told), {"parley", "issuer", "grant", "state", "valid", "time", "until",
                                     "reciprocal_of", "reciprocal_key"})
        self.assertEqual(told["state"], "suspended")
        self.assertEqual(Client(self.gate.port, "").get("/parley/v1/grants/eval/status").status, 404)


if __name__ == "__main__":
    main()
