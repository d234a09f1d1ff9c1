"""Bad configuration and access files: told by file, line and key, with the right exit status, and
nothing half done."""

import json
import os
import socket
import subprocess
from unittest import mock

from parley_test import (PARLEY, Case, Gateway, Process, access, day, evaluation, grant, main, product, run)
from parley_test import Client as Asker


class Serve(Case):
    """`parley serve` on what it cannot run on ends at once and says why."""

    def setUp(self):
        super().setUp()
        self.gate = Gateway(self.directory / "gateway", "http://127.0.0.1:1")

    def fails(self, status, *parts, config=None):
        done = run("serve", "-c", config or self.gate.config_path, timeout=60)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stdout, "")
        for part in parts:
            self.assertIn(str(part), done.stderr)
        return done.stderr

    def with_text(self, text):
        self.gate.config_path.write_text(text)
        return self.gate.config_path

    def test_no_file(self):
        self.fails(2, "nowhere.yaml", "parley init", config=self.directory / "nowhere.yaml")

    def test_a_directory_and_an_unreadable_file(self):
        self.fails(2, self.directory, config=self.directory)

    def test_what_is_no_yaml(self):
        for text in ("name: [", "\tname: x", "name: 'x", "- a\nb: c", "\0", "name: &a [*a]"):
            with self.subTest(repr(text)):
                self.fails(2, f"{self.with_text(text)}:")

    def test_an_empty_file(self):
        self.fails(2, self.with_text(""))

    def test_an_unknown_key_is_named_with_its_line(self):
        path = self.with_text("name: n/p\nlisten: 127.0.0.1:0\nlisten_on: 127.0.0.1:1\n")
        self.fails(2, f"{path}:3", "listen_on")

    def test_a_key_that_stands_twice(self):
        path = self.with_text("name: n/p\nlisten: 127.0.0.1:0\nname: other/p\n")
        self.fails(2, f"{path}:3", "name")

    def test_wrong_values_are_named_with_their_line(self):
        for line, key in (("workers: many", "workers"), ("workers: -1", "workers"),
                          ("workers: 100000", "workers"), ("max_body: 5", "max_body"),
                          ("listen: nowhere", "listen"), ("listen: 127.0.0.1:99999", "listen"),
                          ("admin: [a]", "admin"), ("durability: perhaps", "durability"),
                          ("mode: watch", "mode"), ("store: postgresql", "store"),
                          ("log: { entries: all }", "entries"), ("providers: 7", "providers"),
                          ("providers: [ { name: n } ]", "dialect"),
                          ("providers: [ { name: n, dialect: cobol, url: \"http://a\" } ]", "dialect"),
                          ("providers: [ { name: n, dialect: openai, url: ftp://a } ]", "url"),
                          ("models: [ { name: m, provider: none } ]", "provider"),
                          ("tls: { certificate: c.pem, key: k.pem }", "tls.certificate: cannot be read"),
                          ("tls: { certificate: c.pem }", "tls")):
            with self.subTest(line):
                text = "name: n/p\n" + ("" if line.startswith("listen") else "listen: 127.0.0.1:0\n")
                path = self.with_text(text + line + "\n")
                self.fails(2, f"{path}:{text.count(chr(10)) + 1}", key)

    def test_a_variable_that_is_not_set(self):
        path = self.with_text("name: n/p\nlisten: 127.0.0.1:0\nproviders:\n"
                              "  - { name: n, dialect: openai, url: \"http://a\", "
                              "key: \"${PARLEY_TEST_UNSET}\" }\n")
        self.fails(2, f"{path}:4", "PARLEY_TEST_UNSET")

    def test_secrets_that_anybody_can_read_are_told(self):
        exposed = self.gate.directory / "signing.key"
        exposed.chmod(0o644)
        self.addCleanup(lambda: self.gate.process.end())
        self.gate.start()
        self.assertIn("signing.key (mode 0644): chmod 600", self.gate.process.stderr)
        self.gate.stop()
        exposed.chmod(0o600)
        self.gate.start()
        self.assertNotIn("chmod", self.gate.process.stderr)

    def test_a_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.gate.write_config("http://127.0.0.1:1", listen=address)
            self.fails(3, address, "another process listens on it")
            self.gate.write_config("http://127.0.0.1:1", admin=address)
            self.fails(3, address)

    def test_wildcards_that_take_each_other_in(self):
        """In a network of its own, which nobody reaches."""
        def under(only):
            return ["unshare", "-Urn", "sh", "-c",
                    f'echo {only} > /proc/sys/net/ipv6/bindv6only && exec "$@"', "sh"]

        if subprocess.run([*under(0), "true"], capture_output=True, check=False).returncode:
            self.skipTest("no network namespaces here")
        command = [PARLEY, "serve", "-c", str(self.gate.config_path)]
        both = "[::] takes IPv4 too (net.ipv6.bindv6only is 0)"
        within = "one takes the other in"
        for listen, admin, why in ((["[::]:4000", "0.0.0.0:4000"], "127.0.0.1:0", both),
                                   (["0.0.0.0:4000", "[::]:4000"], "127.0.0.1:0", both),
                                   ("[::]:4000", "127.0.0.1:4000", both),
                                   ("0.0.0.0:4000", "127.0.0.1:4000", within),
                                   (["127.0.0.1:4000", "0.0.0.0:4000"], "127.0.0.1:0", within)):
            with self.subTest(listen=listen, admin=admin):
                self.gate.write_config("http://127.0.0.1:1", listen=listen, admin=admin)
                done = subprocess.run([*under(0), *command], capture_output=True, text=True,
                                      timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (3, ""))
                names = [*(listen if isinstance(listen, list) else [listen]), admin]
                for part in (why, "leave one of the two out", *[name for name in names if name.endswith("4000")]):
                    self.assertIn(part, done.stderr)
        # A system where IPv6 is IPv6 alone has both.
        self.gate.write_config("http://127.0.0.1:1", listen=["[::]:4000", "0.0.0.0:4000"])
        process = Process(self.directory, "both", [*under(1), *command])
        self.addCleanup(process.end)
        process.wait_for_line(r"^listening on http://\[::\]:4000")
        process.wait_for_line(r"^listening on http://0\.0\.0\.0:4000")
        self.assertEqual(process.end(), 0)

    def test_a_data_directory_that_another_gateway_has(self):
        gate = self.gateway(self.sim(), product(), name="first")
        client = gate.client("prod", "acme")
        self.assertEqual(client.messages().status, 200)
        self.fails(3, gate.directory, "in use", config=gate.config_path)
        self.assertEqual(client.messages().status, 200, "the first gateway was harmed")
        self.assertIn("prod", gate.act("grant", "list"))
        self.assertEqual(gate.stop(), 0)
        gate.start()
        client.port = gate.port
        self.assertEqual(client.messages().status, 200)

    def test_a_data_directory_that_is_not_there(self):
        self.gate.write_config("http://127.0.0.1:1", data="nowhere")
        self.fails(2, self.gate.config_path, "data: there is no folder", "nowhere", "parley init")
        self.gate.write_config("http://127.0.0.1:1", data="signing.key")
        self.fails(2, "signing.key", "Not a directory")

    def test_no_signing_key(self):
        (self.gate.directory / "signing.key").unlink()
        self.fails(2, "signing.key", "parley init", "backup")

    def test_a_broken_signing_key(self):
        for text in ("no key\n", ""):
            (self.gate.directory / "signing.key").write_text(text)
            self.fails(2, "signing.key", "PKCS#8")

    def test_damaged_secrets_say_what_to_do(self):
        (self.gate.directory / "admin.token").write_text("x")
        self.fails(1, "admin.token", "remove it")
        (self.gate.directory / "admin.token").unlink()
        (self.gate.directory / "log.secret").write_text("x")
        self.fails(1, "log.secret", "backup")

    def test_files_that_are_named_and_not_there(self):
        self.gate.write_config("http://127.0.0.1:1", access_log="nowhere/access.log")
        self.fails(2, "access_log", "nowhere")
        self.gate.write_config("http://127.0.0.1:1", access_log=".")
        self.fails(2, "access_log")
        self.gate.write_config("http://127.0.0.1:1", log={"marks": "nowhere"})
        self.fails(2, "log.marks", "nowhere")

    def test_one_address_for_two_listeners(self):
        """The system would share it among them, and give each of them some of the connections."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        self.gate.write_config("http://127.0.0.1:1", listen=address, admin=address)
        self.fails(2, self.gate.config_path, "admin", "an address of its own")
        self.gate.write_config("http://127.0.0.1:1", listen=[address, "127.0.0.1:0", address])
        self.fails(2, self.gate.config_path, "listen", "twice")

    def test_a_proxy_that_cannot_be_one(self):
        self.gate.write_config("https://provider.example")
        for proxy in ("127.0.0.1:3128", "socks5://127.0.0.1:1080", "http://proxy:99999"):
            with self.subTest(proxy), mock.patch.dict(os.environ, {"HTTPS_PROXY": proxy, "NO_PROXY": ""}):
                self.fails(2, "HTTPS_PROXY")

    def test_what_init_made_runs_at_once(self):
        done = run("init", self.directory / "fresh")
        self.assertEqual(done.returncode, 0, done.stderr)
        path = self.directory / "fresh" / "parley.yaml"
        self.assertEqual((path.parent / "signing.key").stat().st_mode & 0o777, 0o600)
        text = path.read_text().replace("127.0.0.1:8080", "127.0.0.1:0")
        path.write_text(text.replace("127.0.0.1:8081", "127.0.0.1:0"))
        gate = Gateway.__new__(Gateway)
        gate.directory, gate.config_path, gate.prefix, gate.starts = path.parent, path, [], 0
        gate.start()
        self.addCleanup(self.check_end, gate)
        gate.act("apply", path.parent / "access.yaml")

    def test_init_never_writes_over_what_is_there(self):
        before = {path: path.read_bytes() for path in self.gate.directory.iterdir()}
        done = run("init", self.gate.directory)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("is there already", done.stderr)
        self.assertEqual({path: path.read_bytes() for path in self.gate.directory.iterdir()}, before)


class Apply(Case):
    """`parley apply` refuses a file as a whole, and never half enforces one."""

    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim(), product())

    def refused(self, document, *parts):
        path = self.directory / "access.yaml"
        path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
        before = self.gate.act("grant", "list")
        done = self.gate.run("apply", path)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(f"{path}:", done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)
        self.assertEqual(self.gate.act("grant", "list"), before, "a refused file changed something")

    def test_what_is_no_access_file(self):
        self.refused("orgs: [", "access.yaml")
        self.refused("organisations: []\n", "organisations")
        self.refused("orgs: [ { name: No Id } ]\n", "id")
        self.refused("orgs:\n  - id: a b\n", ":2", "id")

    def test_incident_research_is_short_and_alone(self):
        month = {"from": day(-1), "to": day(29)}
        self.refused(access(grant("new", "acme", ["incident_research"], valid=month)), "at most 30")
        short = {"from": day(-1), "to": day(28)}
        self.refused(access(grant("new", "acme", ["incident_research", "interop_test"], valid=short)),
                     "incident_research may not be combined")

    def test_grants_that_make_no_sense(self):
        self.refused(access(grant("new", "acme", ["training"])), "training")
        self.refused(access(product("new", models=["nothing"])), "nothing")
        self.refused(access(product("new", "nobody")), "nobody")
        self.refused(access(product("new", limits={"rpm": -1})), "rpm")
        self.refused(access(product("new", limits={"rpm": 10**13})), "rpm")
        self.refused(access(product("new", limits={"rpn": 1})), "rpn")
        self.refused(access(grant("new", "acme", ["product", "interop_test"])), "product")
        self.refused(access(product("new", valid={"from": "2026-02-30", "to": day(1)})), "valid.from")
        self.refused(access(product("new", valid={"from": day(2), "to": day(1)})), "valid")
        self.refused(access(evaluation("new", valid={"from": day(0), "to": day(120)})), "90")
        self.refused(access(product(), product()), "prod")

    def test_a_rival_gets_evaluation_grants_only(self):
        self.refused(access(product("new", "southlab")), "rival")

    def test_one_bad_grant_refuses_the_whole_file(self):
        self.refused(access(product("good"), product("bad", limits={"rpm": -1})), "rpm")

    def test_a_dry_run_changes_nothing(self):
        path = self.directory / "access.yaml"
        path.write_text(json.dumps(access(product("new"))))
        before = self.gate.act("grant", "list")
        self.assertIn("new", self.gate.act("apply", path, "--dry-run"))
        self.assertEqual(self.gate.act("grant", "list"), before)

    def test_applying_again_changes_nothing(self):
        self.gate.apply(product("new"))
        self.assertIn("0 added, 0 changed", self.gate.apply(product("new")))

    def test_applying_never_deletes(self):
        self.gate.apply(evaluation("new"))
        self.assertIn("prod", self.gate.act("grant", "list"))

    def test_a_missing_file(self):
        done = self.gate.run("apply", self.directory / "nowhere.yaml")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("nowhere.yaml", done.stderr)


class Grants(Case):
    def test_an_expired_grant(self):
        gate = self.gateway(self.sim(), product(valid={"from": day(-9), "to": day(-1)}))
        answer = gate.client("prod", "acme").messages()
        self.assert_refused(answer, 403, "grant.dates", "anthropic")
        self.assertIn(day(-1), answer.message())
        self.assertIn("expired", gate.act("grant", "list"))

    def test_a_grant_that_is_not_valid_yet(self):
        gate = self.gateway(self.sim(), product(valid={"from": day(2), "to": day(9)}))
        self.assert_refused(gate.client("prod", "acme").chat(), 403, "grant.dates", "openai")

    def test_an_expired_key(self):
        gate = self.gateway(self.sim(), product())
        done = gate.run("key", "issue", "--org", "acme", "--grant", "prod", "--expires", day(-1))
        if done.returncode == 0:  # told at once or at the first use: never served
            answer = Asker(gate.port, done.stdout.split()[-1]).messages()
            self.assert_refused(answer, 401, "key.expired", "anthropic")
        else:
            self.assertIn(day(-1), done.stderr)

    def test_keys_of_what_is_not_there(self):
        gate = self.gateway(self.sim(), product())
        for org, name in (("nobody", "prod"), ("acme", "none"), ("surfboard", "prod")):
            done = gate.run("key", "issue", "--org", org, "--grant", name)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertEqual(done.stdout, "")


class Operator(Case):
    def test_commands_without_a_gateway(self):
        gate = Gateway(self.directory / "gateway", "http://127.0.0.1:1")
        done = gate.run("org", "list")
        self.assertEqual(done.returncode, 3)
        self.assertIn("parley serve", done.stderr)

    def test_commands_after_a_kill(self):
        gate = self.gateway(self.sim(), product())
        gate.kill()
        done = gate.run("org", "list")
        self.assertEqual(done.returncode, 3)
        self.assertIn("parley serve", done.stderr)

    def test_a_client_needs_none_of_the_gateways_secrets(self):
        gate = self.gateway(self.sim(), product())
        text = gate.config_path.read_text().replace("upstream-secret", "${PARLEY_TEST_SECRET}")
        gate.config_path.write_text(text)
        done = subprocess.run([PARLEY, "grant", "list", "-c", gate.config_path], text=True,
                              capture_output=True, check=False, env={"PATH": os.environ["PATH"]})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("prod", done.stdout)


if __name__ == "__main__":
    main()
