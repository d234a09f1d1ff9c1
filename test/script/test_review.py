"""Cases of misuse: what of a key's use is far above its own past is shown with its harmless
explanations, and a person decides. Its past is written into the store, as the gateway itself does
hour by hour; everything else is real."""

import http.client
import json
import re
import sqlite3
import time

from parley_test import PATHS, PATIENCE, Case, Client, encode, evaluation, main, openai, product, run


class Review(Case):
    def past(self, key, hours=30, networks=2, stacks=1, concurrency=1):
        """So many hours of use before this one."""
        now = int(time.time()) // 3600
        rows = [[now - hours + i, 100, networks, stacks, concurrency] for i in range(hours)]
        with sqlite3.connect(self.gate.directory / "parley.db") as store:
            store.execute("INSERT INTO watch (id, document) VALUES (?, ?)",
                          (key, json.dumps({"hours": rows})))

    def serve(self, past=True, **members):
        self.gate = self.gateway(self.sim(), product(limits={"rpm": 6000}, **members))
        done = self.gate.run("key", "issue", "--org", "acme", "--grant", "prod")
        self.secret = done.stdout.strip()
        self.key = re.search(r"Key (key_\w+),", done.stderr).group(1)
        if past:
            self.gate.stop()
            self.past(self.key)
            self.gate.start()

    def ask_from(self, address, agent="own-harness/1"):
        connection = http.client.HTTPConnection("127.0.0.1", self.gate.port, timeout=PATIENCE,
                                                source_address=(address, 0))
        try:
            connection.request("POST", PATHS["openai"], encode(openai()), {
                **Client(self.gate.port, self.secret).headers("openai"), "user-agent": agent})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def spread(self, networks=20):
        for network in range(networks):
            self.assertEqual(self.ask_from(f"127.0.{network}.1"), 200)

    def cases(self):
        return json.loads(self.gate.act("review", "list", "--json"))["cases"]

    def acts(self):
        return [entry for entry in self.gate.records("usage")
                if entry.get("act", "").startswith(("case.", "key."))]

    def test_a_key_used_from_everywhere(self):
        self.serve()
        for _ in range(30):
            self.ask_from("127.0.0.1")
        self.assertIn("no cases", self.gate.act("review", "list"))
        self.spread()
        case, = self.cases()
        finding, = case["evidence"]
        self.assertEqual((case["state"], case["key"], case["org"], case["signals"]),
                         ("open", self.key, "acme", ["networks"]))
        self.assertEqual((finding["past_most"], finding["past_median"], finding["past_hours"]),
                         (2, 2, 30))
        self.assertIn(finding["value"], (19, 20, 21))
        shown = self.gate.act("review", "show", case["id"])
        for text in ("networks: ", "its own past: at most 2", "hypothesis: ", "CI jobs",
                     "told by: ", "Nothing has been done to the key"):
            self.assertIn(text, shown)
        # Nothing is automatic: the key works as before, and there is one case of it.
        self.assertEqual(self.ask_from("127.0.77.1"), 200)
        self.assertEqual(len(self.cases()), 1)
        opened = next(act for act in self.acts() if act["act"] == "case.open")
        self.assertEqual((opened["person"], opened["key"], opened["name"]),
                         ("gateway", self.key, case["id"]))
        # The log has numbers and pseudonyms: no address, no user-agent, no name of the org.
        text = json.dumps(opened)
        self.assertNotIn("127.0", text)
        self.assertNotIn("own-harness", text)
        self.assertNotIn("acme", text)

    def test_stacks_and_a_past_too_short(self):
        self.serve()
        for number in range(12):
            self.ask_from("127.0.0.1", agent=f"program-{number}/1.0")
        self.assertEqual([case["signals"] for case in self.cases()], [["stacks"]])
        fresh = self.gate.key("prod", "acme")
        self.secret = fresh
        self.spread()
        self.assertEqual(len(self.cases()), 1)

    def test_the_ladder(self):
        self.serve()
        self.spread()
        case = self.cases()[0]["id"]
        decide = ("review", "decide", case)
        # What is wrong is told before anything happens.
        for arguments, status, told in (
                ((*decide, "--ask"), 2, "--reason is needed"),
                ((*decide, "--reason", "x"), 2, "choose one of"),
                ((*decide, "--ask", "--dismiss", "--reason", "x"), 2, "choose one of"),
                ((*decide, "--throttle", "rps=1", "--reason", "x"), 1, "there is no limit rps"),
                ((*decide, "--bind", str(self.gate.directory / "signing.key"), "--reason", "x"), 1,
                 "this is a private key"),
                (("review", "decide", "case_none", "--ask", "--reason", "x"), 1, "no case case_none"),
                (("review", "show", "case_none"), 1, "case_none")):
            done = self.gate.run(*arguments)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(told, done.stderr)
        self.assertEqual(self.cases()[0]["state"], "open")
        # Ask: nobody left an address, which is said; the key is untouched.
        told = self.gate.act(*decide, "--ask", "--reason", "20 networks")
        self.assertIn("is asked, record ", told)
        self.assertIn("left no address for notices", told)
        self.assertEqual(self.ask_from("127.0.0.1"), 200)
        # Bind: the holder answered with a public key.
        public = self.directory / "client.pub"
        public.write_text(run("keygen", "-o", self.directory / "client.key").stdout)
        self.gate.act(*decide, "--bind", public, "--reason", "they sent a key")
        self.assertEqual(self.ask_from("127.0.0.1"), 401)
        shown = json.loads(self.gate.act("key", "show", self.key))
        self.assertEqual(shown["binding"]["kind"], "signature")
        # Throttle, and it is over; also after a crash.
        self.gate.act(*decide, "--throttle", "rpm=1", "--reason", "a relay signs")
        self.gate.kill()
        self.gate.start()
        self.assertEqual(self.cases()[0]["state"], "throttled")
        self.assertEqual(json.loads(self.gate.act("key", "show", self.key))["limits"], {"rpm": 1})
        done = self.gate.run(*decide, "--dismiss", "--reason", "x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is throttled: dismiss is not to be decided any more", done.stderr)
        self.assertEqual([(act["act"], act.get("reason")) for act in self.acts()][1:], [
            ("case.open", None), ("case.ask", "20 networks"), ("key.bind", "they sent a key"),
            ("case.bind", "they sent a key"), ("key.limit", "a relay signs"),
            ("case.throttle", "a relay signs")])
        self.assertNotIn("gateway", {act["person"] for act in self.acts()[2:]})

    def test_a_dismissed_case_stays_away(self):
        self.serve()
        self.spread()
        case = self.cases()[0]["id"]
        self.gate.act("review", "decide", case, "--dismiss", "--reason", "their CI")
        self.spread(40)
        self.assertEqual([row["state"] for row in self.cases()], ["dismissed"])

    def test_what_is_noted_is_damaged(self):
        self.serve()
        self.gate.stop()
        with sqlite3.connect(self.gate.directory / "parley.db") as store:
            store.execute("UPDATE watch SET document = '{\"hours\":[[1]]}'")
        done = self.gate.run("serve")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"what was noted of key {self.key} is damaged", done.stderr)


main()
