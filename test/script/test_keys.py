"""Keys: expiry, rotation with an overlap, networks they may come from, limits of their own."""

import json
import re

from parley_test import Case, Client, main, product, wait_until


class Keys(Case):
    def start(self, *grants, **config):
        return self.gateway(self.sim(), *(grants or (product(),)), **config)

    def issue(self, gateway, *options):
        """(secret, public id) of a new key of grant prod."""
        done = gateway.run("key", "issue", "--org", "acme", "--grant", "prod", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip(), re.search(r"Key (key_\w+),", done.stderr).group(1)

    def listed(self, gateway, key):
        return next(row for row in json.loads(gateway.act("key", "list", "--json"))["keys"]
                    if row["id"] == key)

    def acts(self, gateway, key):
        return [entry for entry in gateway.records("usage")
                if entry["kind"] == "act" and entry.get("key") == key]

    def test_rotation_overlaps(self):
        gateway = self.start()
        old, old_id = self.issue(gateway, "--network", "127.0.0.0/8", "--expires", "30d")
        done = gateway.run("key", "rotate", old_id, "--overlap", "24h", "--reason", "yearly")
        self.assertEqual(done.returncode, 0, done.stderr)
        new = done.stdout.strip()
        new_id = re.search(r"Key (key_\w+),", done.stderr).group(1)
        self.assertIn(f"replaces {old_id}, which goes on until ", done.stderr)
        for secret in (old, new):
            self.assertEqual(Client(gateway.port, secret).messages().status, 200)
        # Both are told in the log; the new one has what the old one had.
        self.assertEqual([act["act"] for act in self.acts(gateway, old_id)],
                         ["key.issue", "key.expire"])
        rotated = self.acts(gateway, new_id)[0]
        self.assertEqual((rotated["act"], rotated["reason"], rotated["detail"]["replaces"]),
                         ("key.rotate", "yearly", old_id))
        self.assertEqual(self.listed(gateway, new_id)["networks"], ["127.0.0.0/8"])
        self.assertIn("expires", self.listed(gateway, old_id))
        self.assertNotIn("expires", self.listed(gateway, new_id))
        # Once only, and what was rotated stays so over a restart.
        done = gateway.run("key", "rotate", old_id)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"was replaced by {new_id} already", done.stderr)
        gateway.kill()
        gateway.start()
        self.assertEqual(self.listed(gateway, old_id)["replaced_by"], new_id)

    def test_rotation_without_overlap_ends_the_old_key(self):
        gateway = self.start()
        old, old_id = self.issue(gateway)
        new = gateway.act("key", "rotate", old_id, "--overlap", "0h").strip()
        self.assert_refused(Client(gateway.port, old).messages(), 401, "key.expired", "anthropic")
        self.assertEqual(Client(gateway.port, new).messages().status, 200)
        self.assertEqual(self.listed(gateway, old_id)["state"], "expired")
        for arguments, message in ((("rotate", old_id), "has expired: issue another one"),
                                   (("rotate", "key_nobody"), "there is no key key_nobody")):
            done = gateway.run("key", *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)

    def test_networks(self):
        gateway = self.start()
        here, _ = self.issue(gateway, "--network", "10.0.0.0/8", "--network", "127.0.0.1")
        elsewhere, key = self.issue(gateway, "--network", "10.0.0.0/8", "--network", "2001:db8::/32")
        self.assertEqual(Client(gateway.port, here).messages().status, 200)
        client = Client(gateway.port, elsewhere)
        for dialect, answer in (("anthropic", client.messages()), ("openai", client.chat())):
            self.assert_refused(answer, 401, "key.network", dialect)
        # On Parley's own endpoints too, receipts included.
        for path in ("/parley/v1/self", "/parley/v1/receipts/0123456789ab01234567890123456789"):
            answer = client.get(path)
            self.assertEqual((answer.status, answer.json()["rule"]), (401, "key.network"), answer)
        self.assertIn("10.0.0.0/8,2001:db8::/32", gateway.act("key", "list"))
        # A person may move it.
        gateway.act("key", "bind", key, "--network", "127.0.0.0/24")
        self.assertEqual(client.messages().status, 200)
        gateway.kill()
        gateway.start()
        self.assertEqual(json.loads(gateway.act("key", "show", key))["networks"], ["127.0.0.0/24"])

    def test_wrong_networks(self):
        gateway = self.start()
        for text, message in (("10.0.0.1/8", "has bits behind its prefix"),
                              ("10.0.0.0/33", "the prefix is a number from 0 to 32"),
                              ("office", "office is no network"),
                              ("::ffff:10.0.0.1", "write the IPv4 address as such")):
            done = gateway.run("key", "issue", "--org", "acme", "--grant", "prod", "--network", text)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(message, done.stderr)

    def test_limits_of_one_key_hold_over_its_rotation(self):
        gateway = self.start(product(limits={"rpm": 600}))
        old, old_id = self.issue(gateway)
        gateway.act("key", "limit", old_id, "--limit", "rpm=2", "--reason", "case 1")
        client = Client(gateway.port, old)
        self.assertEqual([client.messages().status for _ in range(2)], [200, 200])
        answer = client.messages()
        self.assert_refused(answer, 429, "limit.rpm", "anthropic", retry=True)
        self.assertIn("the key", answer.message())
        # A new key of the same holder is no way round.
        new = Client(gateway.port, gateway.act("key", "rotate", old_id).strip())
        self.assert_refused(new.messages(), 429, "limit.rpm", "anthropic", retry=True)
        for limit, message in (("rpm=none", 'rpm: "none" is no whole number'),
                               ("rpm=-1", 'rpm: "-1" is no whole number from 1 to'),
                               ("rpm=0", 'rpm: "0" is no whole number'),
                               ("rpm", 'rpm: "" is no whole number'),
                               ("rps=5", "there is no limit rps")):
            done = gateway.run("key", "limit", old_id, "--limit", limit)
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)
        gateway.act("key", "limit", old_id)
        self.assertEqual(client.messages().status, 200)

    def test_expiry_comes_by_itself(self):
        gateway = self.start()
        done = gateway.run("key", "issue", "--org", "acme", "--grant", "prod", "--expires", "0m")
        self.assertEqual(done.returncode, 1)
        self.assertIn("lies in the past", done.stderr)
        from datetime import datetime, timedelta, timezone
        end = datetime.now(timezone.utc) + timedelta(seconds=3)
        secret, key = self.issue(gateway, "--expires", end.strftime("%Y-%m-%dT%H:%M:%SZ"))
        client = Client(gateway.port, secret)
        wait_until(lambda: client.messages().status == 401, "the key to expire")
        self.assert_refused(client.messages(), 401, "key.expired", "anthropic")
        self.assertEqual(self.listed(gateway, key)["state"], "expired")


main()
