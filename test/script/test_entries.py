"""Who may read what of a log over HTTP (DESIGN.md section 6): checkpoints, hash tiles and key are
anybody's; entries are the organisation's own, or public; the usage log is the operator's alone."""

import json

from parley_test import (Case, Client, ask, evaluation, leaf_hash, main, product, public, run,
                         split_entries, suite_of, wait_until)

PROMPTS = ["What jumps?", "What lies?"]


class Entries(Case):
    def start(self, **log):
        suite = suite_of(PROMPTS, samples=2)
        self.gate = self.gateway(self.sim(), evaluation(), evaluation("acme-eval", "acme"),
                                 product(), public_suites=public(suite), log=log)
        self.clients = {"southlab": self.gate.client("eval", "southlab"),
                        "acme": self.gate.client("acme-eval", "acme"),
                        "product": self.gate.client("prod", "acme")}
        for org in ("southlab", "acme"):
            self.assertIn(self.clients[org].post("/parley/v1/suites", suite).status, (200, 201))
            for prompt in PROMPTS:
                self.assertEqual(self.clients[org].messages(prompt, temperature=0).status, 200)
        self.assertEqual(self.clients["product"].messages().status, 200)
        self.assert_quiet(self.gate)
        self.records = self.gate.records()
        self.lines = self.gate.entries()
        self.size = len(self.lines)
        self.assertLess(self.size, 256)
        self.tile = f"/log/tile/entries/000.p/{self.size}"

    def get(self, path, client=None):
        return client.get(path) if client else ask(self.gate.port, "GET", path)

    def own(self, org):
        """The org's name in records, from a request of its."""
        grant = {"southlab": "eval", "acme": "acme-eval"}[org]
        return next(entry["org"] for entry in self.records
                    if entry["kind"] == "admit" and entry["grant"] == grant)

    # ---- members ----

    def test_members(self):
        """Each reads its own entries, at their places, and nothing of the others'."""
        self.start()
        names = {org: self.own(org) for org in ("southlab", "acme")}
        self.assertNotEqual(*names.values())
        hashes = self.get(f"/log/tile/0/000.p/{self.size}").body
        for org, name in names.items():
            answer = self.get(self.tile, self.clients[org])
            self.assertEqual((answer.status, answer.headers["content-type"]),
                             (200, "application/octet-stream"))
            entries = split_entries(answer.body)
            self.assertEqual(len(entries), self.size)
            for index, entry in enumerate(entries):
                if self.records[index].get("org") == name:
                    self.assertEqual(entry, self.lines[index])
                    self.assertEqual(leaf_hash(entry), hashes[32 * index:32 * index + 32])
                else:
                    self.assertEqual(entry, b"")
            kinds = {self.records[index]["kind"] for index, entry in enumerate(entries) if entry}
            self.assertTrue({"admit", "settle", "act", "run"} <= kinds, kinds)
        # Nobody's acts (terms, public suites) are nobody's own.
        self.assertTrue(any("org" not in entry for entry in self.records))
        # A product key of the same organisation may read them too: they are the organisation's.
        answer = self.get(self.tile, self.clients["product"])
        self.assertEqual(answer.body, self.get(self.tile, self.clients["acme"]).body)

    def test_strangers(self):
        self.start()
        for client in (None, Client(self.gate.port, "plk_" + "0" * 43), Client(self.gate.port, "x")):
            answer = self.get(self.tile, client)
            self.assertEqual(answer.status, 401, answer)
            self.assertIn("send a key", answer.json()["title"])
        # A key that was revoked reads on what was given under it.
        self.gate.act("grant", "revoke", "acme-eval", "--reason", "test")
        self.assertEqual(self.get(self.tile, self.clients["acme"]).status, 200)

    def test_bound_keys_must_sign(self):
        self.start()
        key = run("keygen", "-o", self.directory / "client.key").stdout
        (self.directory / "client.pub").write_text(key)
        secret = self.gate.act("key", "issue", "--org", "southlab", "--grant", "eval",
                               "--public-key", self.directory / "client.pub").splitlines()[-1]
        answer = self.get(self.tile, Client(self.gate.port, secret))
        self.assertEqual(answer.status, 401, answer)
        self.assertNotIn(b"admit", answer.body)

    # ---- public ----

    def test_public(self):
        self.start(entries="public")
        for client in (None, *self.clients.values(), Client(self.gate.port, "x")):
            answer = self.get(self.tile, client)
            self.assertEqual(answer.status, 200)
            self.assertEqual(split_entries(answer.body), self.lines)

    # ---- paths ----

    def test_paths(self):
        self.start()
        size, south = self.size, self.clients["southlab"]
        open_to_all = ["checkpoint", "vkey", "policy", "verdict-key", f"tile/0/000.p/{size}",
                       "tile/0/000.p/1"]
        for path in open_to_all:
            for client in (None, south):
                self.assertEqual(self.get(f"/log/{path}", client).status, 200, path)
        nowhere = ["", "tile", "tile/", "tile/0", "tile/0/", "tile/0/000", "tile/0/000.p/0",
                   "tile/0/000.p/256", "tile/0/000.p/257", f"tile/0/000.p/{size + 1}",
                   "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p", "tile/0/001",
                   "tile/0/001.p/1", "tile/0/x001/000", "tile/0/x000/000", "tile/0/0",
                   "tile/0/0000", "tile/00/000", "tile/1/000.p/1", "tile/63/000.p/1",
                   "tile/64/000.p/1", "tile/-1/000.p/1", "tile/0/000.p/1/", "tile/0//000.p/1",
                   "tile/entries/000", "tile/entries/000.p/0", "tile/entries/000.p/256",
                   f"tile/entries/000.p/{size + 1}", "tile/entries/001.p/1", "tile/entries/",
                   "tile/entries/0/000.p/1", "tile/data/000.p/1", "entries", "Checkpoint",
                   "usage/checkpoint", "evaluation/checkpoint", "usage/tile/entries/000.p/1",
                   "tile/entries/..%2f..", "tile/entries/%30%30%30.p/1"]
        for path in nowhere:
            self.assertEqual(self.get(f"/log/{path}", south).status, 404, path)
            # Without a key nothing is told of what there is of entries.
            self.assertEqual(self.get(f"/log/{path}").status,
                             401 if path.startswith("tile/entries/") else 404, path)
        for width in (1, 2, size):
            answer = self.get(f"/log/tile/entries/000.p/{width}", south)
            self.assertEqual(len(split_entries(answer.body)), width)
        for method in ("POST", "PUT", "DELETE"):
            refused = ask(self.gate.port, method, "/log/checkpoint")
            self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET, HEAD"))

    def test_a_full_tile(self):
        """More than 256 records: the full tile, the next one, and the level above."""
        self.start()
        client = Client(self.gate.port, "x")
        orgs = [{"id": f"lab-{number}", "name": f"Lab {number}"} for number in range(300)]
        more = self.directory / "more.yaml"
        more.write_text(json.dumps({"orgs": orgs}))
        self.gate.act("apply", more)
        self.gate.records()
        lines = self.gate.entries()
        size = len(lines)
        self.assertGreater(size, 300)
        south = self.clients["southlab"]
        whole = split_entries(self.get("/log/tile/entries/000", south).body)
        self.assertEqual(len(whole), 256)
        name = self.own("southlab")
        for index, record in enumerate(self.records):
            self.assertEqual(whole[index],
                             self.lines[index] if record.get("org") == name else b"")
        self.assertEqual(len(split_entries(self.get("/log/tile/entries/000.p/255", south).body)),
                         255)
        self.assertEqual(self.get("/log/tile/entries/000.p/256", south).status, 404)
        rest = self.get(f"/log/tile/entries/001.p/{size - 256}", south)
        self.assertEqual(len(split_entries(rest.body)), size - 256)
        self.assertEqual(self.get("/log/tile/entries/001", south).status, 404)
        self.assertEqual(self.get("/log/tile/1/000.p/1", client).status, 200)
        self.assertEqual(self.get("/log/tile/1/000.p/2", client).status, 404)
        self.assertEqual(self.get("/log/tile/0/000", client).body,
                         b"".join(leaf_hash(line) for line in lines[:256]))

    # ---- the operator ----

    def test_the_admin_listener_serves_both_whole(self):
        self.start()
        for log in ("evaluation", "usage"):
            wait_until(lambda log=log: self.gate.entries(log), f"a checkpoint of the {log} log")
            lines = self.gate.entries(log)
            self.assertTrue(all(lines), log)
            for path in ("checkpoint", "vkey", f"tile/0/000.p/{len(lines)}",
                         f"tile/entries/000.p/{len(lines)}"):
                self.assertEqual(self.gate.admin(f"/log/{log}/{path}").status, 200)
                self.assertEqual(ask(self.gate.admin_port, "GET", f"/log/{log}/{path}").status, 401)
            for path in ("tile/entries/000.p/0", "tile/entries/000.p/256",
                         f"tile/entries/000.p/{len(lines) + 1}", "tile/entries/001.p/1", ""):
                self.assertEqual(self.gate.admin(f"/log/{log}/{path}").status, 404, path)
        self.assertEqual(self.gate.admin("/log/other/checkpoint").status, 404)
        self.assertEqual(self.gate.admin("/log/checkpoint").status, 404)


if __name__ == "__main__":
    main()
