"""Organisations that are tied to each other: links, control, blocks by affiliation, shared limits, teams."""

import base64
import http.server
import json
import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone

from parley_test import (Case, access, day, evaluation, grant, main, parse_events, product, public,
                         suite_of, wait_until)

DAY_MS = 86400000
LONG = {"max_tokens": 2000}


def link(source, kind, target, status="confirmed", **members):
    return {"from": source, "kind": kind, "to": target, "status": status, **members}


class Linked(Case):
    """southlab is a rival; acme and surfboard have grants for plain use and for evaluations."""

    def setUp(self):
        super().setUp()
        self.suite = suite_of(["What jumps over the dog?"], samples=5)
        self.grants = [product("prod", "acme"), product("surf", "surfboard", notice_hours=24),
                       grant("safe", "surfboard", ["safety_evaluation"],
                             suites={"classes": ["public"], "samples_per_leaf": 5}),
                       evaluation("mixed", "surfboard")]
        self.gate = self.gateway(self.sim("--output-tokens", 2000, "--tokens-per-second", 20),
                                 *self.grants, public_suites=public(self.suite))
        self.surf = self.gate.client("surf", "surfboard")

    def apply(self, *links, grants=None, orgs=()):
        """The usual file with links; the finished command."""
        file = access(*(grants or self.grants), public_suites=public(self.suite))
        file["links"] = list(links)
        for org in file["orgs"]:
            for changed in orgs:
                if org["id"] == changed["id"]:
                    org.update(changed)
        path = self.gate.directory / "access.yaml"
        path.write_text(json.dumps(file))
        return self.gate.run("apply", path)

    def link(self, *arguments, status="confirmed"):
        return self.gate.act("org", "link", *arguments, "--status", status)

    def fails(self, *arguments, status=1):
        done = self.gate.run(*arguments)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr

    def show(self, org):
        return json.loads(self.gate.act("org", "show", org))

    def status(self, client=None):
        return (client or self.surf).messages(max_tokens=1).status

    def refusal(self, client=None):
        answer = (client or self.surf).messages(max_tokens=1)
        self.assertEqual(answer.status, 403, answer)
        return answer.message()

    def acts(self, name):
        return [entry for entry in self.gate.records() if entry.get("act") == name]

    def restart(self, **shifts):
        """Stops, moves times in the stored documents of a kind back by so many days, starts."""
        self.assertEqual(self.gate.stop(), 0)
        with closing(sqlite3.connect(self.gate.directory / "parley.db")) as database:
            for table, days in shifts.items():
                for name, text in database.execute(f"SELECT id, document FROM {table}").fetchall():
                    document = json.loads(text)
                    for holder, key in ((document, "noted"), (document.get("affiliates"), "since"),
                                        (document.get("affiliates"), "until"),
                                        (document.get("affiliates"), "applied")):
                        if holder and key in holder:
                            holder[key] -= int(days * DAY_MS)
                    database.execute(f"UPDATE {table} SET document = ? WHERE id = ?",
                                     (json.dumps(document, separators=(",", ":")), name))
            database.commit()
        self.gate.start()
        self.surf.port = self.gate.port


class Rumours(Linked):
    def test_a_rumour_cuts_nobody_and_stops_new_grants(self):
        stream = self.surf.stream("anthropic", **LONG)
        stream.read_until(b"data:")
        printed = self.link("southlab", "acquiring", "surfboard", "--evidence", "press",
                            status="rumoured")
        self.assertIn("surfboard", printed)
        stream.read_some()
        self.assertNotIn(b"error", stream.received)
        stream.close()
        self.assertEqual(self.status(), 200)
        fresh = product("fresh", "surfboard", models=["north-1"])
        done = self.apply(grants=[*self.grants, fresh])
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn('"southlab acquiring surfboard" is rumoured', done.stderr)
        self.assertIn("org unlink", done.stderr)
        # Others' grants are made as ever.
        self.assertEqual(self.apply(grants=[*self.grants, product("more", "acme")]).returncode, 0)

    def test_the_organisation_is_told(self):
        heard = []

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                signed = json.loads(self.rfile.read(int(self.headers["content-length"])))
                heard.append(json.loads(base64.b64decode(signed["payload"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        url = f"http://127.0.0.1:{server.server_port}/"
        self.assertEqual(self.apply(orgs=[{"id": "surfboard", "notify": url}]).returncode, 0)
        self.link("southlab", "acquiring", "surfboard", status="rumoured")
        wait_until(lambda: heard, "the notice of the rumour")
        self.assertEqual(heard[0]["event"], "link.noted")
        self.assertNotIn("southlab", json.dumps(heard[0]))  # the link is not public
        self.link("southlab", "acquiring", "surfboard")
        self.gate.act("org", "block", "southlab", "--affiliates")
        wait_until(lambda: len(heard) > 1, "the notice of the block")
        self.assertEqual(heard[1]["event"], "org.blocking")
        self.assertEqual(sorted(row["grant"] for row in heard[1]["detail"]["grants"]),
                         ["mixed", "surf"])

    def test_existing_grants_renew_on_unchanged_terms(self):
        self.link("southlab", "acquiring", "surfboard", status="asserted")
        longer = {"valid": {"from": day(-1), "to": day(60)}}
        grants = [self.grants[0], {**self.grants[1], **longer}, *self.grants[2:]]
        self.assertEqual(self.apply(grants=grants).returncode, 0)
        renewed = {**self.grants[1], "id": "surf-2"}
        self.assertEqual(self.apply(grants=[*grants, renewed]).returncode, 0)
        changed = {**self.grants[1], **longer, "limits": {"rpm": 10}}
        done = self.apply(grants=[self.grants[0], changed, *self.grants[2:]])
        self.assertEqual(done.returncode, 1)
        self.assertIn("unchanged terms", done.stderr)

    def test_the_file_notes_links_and_does_not_take_them_back(self):
        owns = link("southlab", "owns", "surfboard", share=60, public=True)
        self.assertEqual(self.apply(owns).returncode, 0)
        self.assertIn("0 added, 0 changed", self.apply(owns).stdout)
        self.assertIn("southlab owns 60 % of surfboard", self.refusal())
        for weaker in ({"status": "rumoured"}, {"share": 10}, {"until": day(5)}):
            done = self.apply({**owns, **weaker})
            self.assertEqual(done.returncode, 1, weaker)
            self.assertIn("apply gives nothing back", done.stderr)
        self.assertEqual(self.apply().returncode, 0)  # leaving it out deletes nothing
        self.assertEqual(self.status(), 403)
        self.gate.act("org", "unlink", "southlab", "owns", "surfboard", "--reason", "sold")
        self.assertEqual(self.status(), 200)
        self.apply(owns)  # the same file again does not bring it back
        self.assertEqual(self.status(), 200)

    def test_a_rumour_lapses_after_thirty_days(self):
        self.link("southlab", "acquiring", "surfboard", status="rumoured")
        fresh = product("fresh", "surfboard", models=["north-1"])
        self.restart(links=29)
        self.assertEqual(self.apply(grants=[*self.grants, fresh]).returncode, 1)
        self.restart(links=2)
        lapsed = wait_until(lambda: self.acts("link.lapse"), "the link to lapse")
        self.assertEqual(lapsed[0]["person"], "gateway")
        self.assertEqual(self.show("surfboard")["links"][0]["state"], "lapsed")
        self.assertEqual(self.apply(grants=[*self.grants, fresh]).returncode, 0)

    def test_links_begin_and_end_on_their_days(self):
        self.link("southlab", "controls", "surfboard", "--since", day(1))
        self.assertEqual(self.show("surfboard")["links"][0]["state"], "waiting")
        self.assertEqual(self.status(), 200)
        self.link("southlab", "controls", "surfboard", "--until", day(0))
        self.assertEqual(self.status(), 403)
        self.assertEqual(self.gate.stop(), 0)
        with closing(sqlite3.connect(self.gate.directory / "parley.db")) as database:
            database.execute("UPDATE links SET document = replace(document, ?, ?)",
                             (day(0), day(-2)))
            database.commit()
        self.gate.start()
        self.surf.port = self.gate.port
        wait_until(lambda: self.acts("link.end"), "the link to end")
        wait_until(lambda: self.status() == 200, "the link to count no more")


class Control(Linked):
    def test_evaluation_grants_are_the_only_way_in_for_all_a_rival_controls(self):
        self.link("acme", "owns", "surfboard", "--share", "30", "--public")
        self.link("southlab", "owns", "surfboard", "--share", "30", "--public")
        self.assertEqual(self.status(), 200)
        self.link("southlab", "controls", "acme")
        self.assertIn("a rival", self.refusal(self.gate.client("prod", "acme")))
        message = self.refusal()
        self.assertIn("(rule org.rival", message)
        self.assertIn("surfboard", message)
        self.assertNotIn("controls acme", message)  # not public
        shown = self.show("surfboard")
        self.assertEqual([row["org"] for row in shown["controlled_by"]], ["southlab"])
        self.assertEqual(shown["rival_over"], "southlab")
        self.assertEqual(sorted(row["org"] for row in self.show("southlab")["controls"]),
                         ["acme", "surfboard"])
        client = self.gate.client("safe", "surfboard")
        self.assertIn("suite.unbound", self.refusal(client))  # got past org.rival
        done = self.apply(grants=[*self.grants, product("again", "surfboard")])
        self.assertEqual(done.returncode, 1)
        self.assertIn("controlled by southlab, a rival", done.stderr)

    def test_the_threshold_is_configured(self):
        self.gate.act("org", "link", "southlab", "owns", "surfboard", "--share", "40", "--status",
                      "confirmed")
        self.assertEqual(self.status(), 200)
        self.gate.stop()
        config = json.loads(self.gate.config_path.read_text())
        self.gate.config_path.write_text(json.dumps({**config, "control_threshold": 33.3}))
        self.gate.start()
        self.surf.port = self.gate.port
        self.assertEqual(self.status(), 403)

    def test_an_orgs_limits_count_all_that_it_controls(self):
        self.assertEqual(self.apply(orgs=[{"id": "acme", "limits": {"rpm": 4}}]).returncode, 0)
        acme = self.gate.client("prod", "acme")
        for _ in range(6):
            self.assertEqual(self.status(), 200)
        self.link("acme", "controls", "surfboard")
        self.assertEqual([self.status() for _ in range(5)], [200] * 4 + [429])
        answer = acme.messages(max_tokens=1)
        self.assertEqual(answer.status, 429, "what surfboard used counts for acme")
        self.gate.act("org", "unlink", "acme", "controls", "surfboard")
        self.assertEqual(self.status(), 200)

    def test_budgets_of_leaves_are_added_up_over_affiliates(self):
        members = {"suites": {"classes": ["public"], "max_leaves": 3, "samples_per_leaf": 5}}
        grants = [*self.grants, evaluation("one", "acme", **members),
                  evaluation("two", "surfboard", **members)]
        first, second = suite_of(["a 1", "a 2"], name="a"), suite_of(["b 1", "b 2"], name="b")
        file = access(*grants, public_suites=public(self.suite, first, second))
        path = self.gate.directory / "access.yaml"
        path.write_text(json.dumps(file))
        self.gate.act("apply", path)
        one, two = self.gate.client("one", "acme"), self.gate.client("two", "surfboard")
        self.assertEqual(one.post("/parley/v1/suites", first).status, 200)
        self.link("acme", "owns", "surfboard", "--share", "51")
        answer = two.post("/parley/v1/suites", second)
        self.assertEqual((answer.status, answer.json().get("rule")), (403, "suite.budget"), answer)
        self.gate.act("org", "unlink", "acme", "owns", "surfboard")
        self.assertEqual(two.post("/parley/v1/suites", second).status, 200)

    def test_what_users_get_wrong(self):
        self.assertIn("no org nobody", self.fails("org", "link", "nobody", "controls", "acme"))
        self.assertIn("buys is not one of",
                      self.fails("org", "link", "southlab", "buys", "surfboard"))
        self.assertIn("share: is needed", self.fails("org", "link", "southlab", "owns", "acme"))
        self.assertIn("no link to itself", self.fails("org", "link", "acme", "controls", "acme"))
        self.assertIn("there is no link", self.fails("org", "unlink", "acme", "owns", "surfboard"))
        self.assertIn("--affiliates", self.fails("org", "block", "acme", "--now", status=2))


class Blocks(Linked):
    def block(self, *arguments):
        return self.gate.act("org", "block", "southlab", "--affiliates", "--reason", "a test",
                             *arguments)

    def test_a_block_needs_a_confirmed_link(self):
        self.assertIn("controls no organisation",
                      self.fails("org", "block", "southlab", "--affiliates"))
        self.link("southlab", "acquiring", "surfboard", status="rumoured")
        self.assertIn("is rumoured", self.fails("org", "block", "southlab", "--affiliates"))
        self.assertEqual(self.acts("org.block"), [])

    def test_notice_is_given_and_survives_a_restart(self):
        self.link("southlab", "acquiring", "surfboard", "--public")
        printed = self.block()
        tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).strftime("%Y-%m-%d")
        self.assertIn(f"grant surf: blocked from {tomorrow}", printed)
        self.assertIn("grant safe: goes on", printed)
        self.assertEqual(self.status(), 200)
        self.restart(orgs=0.9)
        self.assertEqual(self.status(), 200)
        self.restart(orgs=0.2, links=2)
        wait_until(lambda: self.acts("org.affiliates_due"), "the notice to be over")
        wait_until(lambda: self.status() == 403, "the block to be in force")
        self.assertIn("southlab is acquiring surfboard: a test", self.refusal())
        self.assertEqual(self.show("southlab")["reason"], "a test")

    def test_a_block_lapses_and_a_renewed_one_does_not(self):
        self.link("southlab", "controls", "surfboard")
        self.block("--now")
        self.restart(orgs=20)
        self.assertEqual(self.status(), 403)
        self.block()
        self.restart(orgs=20)
        self.assertEqual(self.status(), 403)
        self.assertEqual(self.acts("org.affiliates_lapse"), [])
        self.restart(orgs=11)
        wait_until(lambda: self.acts("org.affiliates_lapse"), "the block to lapse")
        wait_until(lambda: "org.blocked" not in self.surf.messages(max_tokens=1).body.decode(),
                   "surfboard to be free")
        self.assertTrue(self.show("southlab")["blocked"], "its own block does not lapse")

    def test_live_streams_of_affiliates_end(self):
        self.link("southlab", "acquiring", "surfboard")
        other = self.gate.client("prod", "acme")
        streams = [self.surf.stream("anthropic", **LONG) for _ in range(3)]
        kept = other.stream("anthropic", **LONG)
        for stream in [*streams, kept]:
            self.assertEqual(stream.status, 200)
            stream.read_until(b"data:")
        self.assertIn("say why", self.fails("org", "block", "southlab", "--affiliates", "--now"))
        self.block("--now")
        for stream in streams:
            name, data = parse_events(stream.rest())[-1]
            self.assertEqual(name, "error")
            self.assertEqual(json.loads(data)["error"]["type"], "permission_error")
            self.assertIn("through an organisation that it is tied to", data)
            self.assertNotIn("southlab", data)
            self.assertEqual(self.gate.settled(stream.headers["parley-record"], "usage")["ending"],
                             "revoked")
        kept.read_some()
        self.assertNotIn(b"error", kept.received)
        kept.close()
        self.gate.act("org", "unblock", "southlab")
        self.assertEqual(self.status(), 200)
        self.assert_quiet(self.gate)

    def test_safety_evaluation_is_spared_unless_it_is_named(self):
        self.link("southlab", "acquiring", "surfboard")
        safe, mixed = (self.gate.client(name, "surfboard") for name in ("safe", "mixed"))
        for client, purpose in ((safe, "safety_evaluation"), (mixed, "safety_evaluation")):
            answer = client.post("/parley/v1/suites", {**self.suite, "purpose": purpose})
            self.assertEqual(answer.status, 200, answer)
        other = suite_of(["Another question?"], name="other", samples=5)
        self.assertEqual(self.apply_public(self.suite, other).returncode, 0)
        self.assertEqual(mixed.post("/parley/v1/suites", other).status, 200)
        ask = {"prompt": "What jumps over the dog?", "max_tokens": 64}
        self.assertEqual(mixed.messages("Another question?").status, 200)
        self.block("--now")
        self.assertEqual(safe.messages(**ask).status, 200)
        self.assertEqual(mixed.messages(**ask).status, 200)
        self.assertIn("but for safety_evaluation",
                      mixed.messages("Another question?").message())
        self.assertIn("no affiliate's", self.fails("org", "block", "southlab", "--affiliates",
                                                   "--grant", "prod"))
        self.block("--now", "--grant", "safe")
        self.assertEqual(safe.messages(**ask).status, 403)
        self.assertEqual(mixed.messages(**ask).status, 200)
        self.gate.act("org", "unblock", "southlab")
        self.assertEqual(safe.messages(**ask).status, 200)

    def apply_public(self, *suites):
        path = self.gate.directory / "access.yaml"
        path.write_text(json.dumps(access(*self.grants, public_suites=public(*suites))))
        return self.gate.run("apply", path)

    def test_unblocking_an_affiliate_says_what_to_do(self):
        self.link("southlab", "controls", "surfboard")
        self.block("--now")
        self.assertIn("org unblock southlab", self.fails("org", "unblock", "surfboard"))
        self.gate.act("org", "unlink", "southlab", "controls", "surfboard")
        self.assertEqual(self.status(), 200)


class Teams(Linked):
    def test_keys_of_a_team_are_under_its_grants_only(self):
        teamed = product("red", "acme", team="red")
        self.assertEqual(self.apply(grants=[*self.grants, teamed]).returncode, 0)
        issue = ("key", "issue", "--org", "acme")
        self.assertIn("is for team red", self.fails(*issue, "--grant", "red", "--team", "blue"))
        self.assertIn("no team's", self.fails(*issue, "--grant", "prod", "--team", "red"))
        self.gate.act(*issue, "--grant", "red")
        keys = json.loads(self.gate.act("key", "list", "--json"))["keys"]
        self.assertEqual([key["team"] for key in keys if key["grant"] == "red"], ["red"])
        self.assertIn("red", self.gate.act("grant", "list"))
        self.assertEqual(self.show("acme")["teams"], {"": ["prod"], "red": ["red"]})
        done = self.apply(grants=[*self.grants, {**teamed, "team": "blue"}])
        self.assertEqual(done.returncode, 1)
        self.assertIn("another team", done.stderr)


if __name__ == "__main__":
    main()
