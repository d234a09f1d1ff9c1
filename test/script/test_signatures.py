"""Keys that are bound to their sender: RFC 9421 signatures (docs/formats/request-signature.md, signed
here a second time, with the openssl command) and client certificates."""

import base64
import hashlib
import http.client
import json
import os
import secrets
import shutil
import subprocess
import time
import unittest

from certificates import Authority, openssl
from parley_test import (PATHS, PATIENCE, SOURCE, Answer, Case, Client, access, ask, encode, evaluation, main,
                         openai, product, public, run, suite_of, wait_until)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A private key made by `parley keygen`, and what it signs."""

    def __init__(self, directory, name="client"):
        self.path = directory / f"{name}.key"
        done = run("keygen", "-o", self.path)
        assert done.returncode == 0, done.stderr
        self.public = directory / f"{name}.pub"
        self.public.write_text(done.stdout)
        raw = base64.b64decode(done.stdout.strip())
        jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url(raw)}
        self.jwk = json.dumps(jwk)
        self.thumbprint = base64url(hashlib.sha256(
            json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())
        self.scratch = directory / f"{name}.base"

    def fields(self, method, uri, body=b"", headers=None, created=0, leave_out=(), **changed):
        """Content-Digest, Signature-Input and Signature; `headers` are covered too."""
        covered = dict(headers or {})
        if body:
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            covered["content-digest"] = f"sha-256=:{digest}:"
        values = {"@method": method, "@target-uri": uri, **covered}
        names = [name for name in values if name not in leave_out]
        params = {"created": None if created is None else int(time.time()) + created,
                  "keyid": self.thumbprint,
                  "alg": "ed25519", "nonce": secrets.token_urlsafe(18), "tag": "parley", **changed}
        text = "(" + " ".join(f'"{name}"' for name in names) + ")" + "".join(
            f";{name}={value}" if isinstance(value, int) else f';{name}="{value}"'
            for name, value in params.items() if value is not None)
        lines = [f'"{name}": {values[name]}' for name in names] + [f'"@signature-params": {text}']
        self.scratch.write_bytes("\n".join(lines).encode())
        signature = openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", self.scratch)
        return {**covered, "signature-input": f"sig={text}",
                "signature": f"sig=:{base64.b64encode(signature).decode()}:"}


class Signed(Case):
    def setUp(self):
        super().setUp()
        self.signer = Signer(self.directory)

    def serve(self, *grants, **config):
        self.gate = self.gateway(self.sim(), *(grants or (product(limits={"rpm": 6000}),)), **config)
        # What was created before it started could be a replay of before.
        time.sleep(1.1)
        if not grants:
            self.client = Client(self.gate.port, self.issue("--public-key", self.signer.public))
        return self.gate

    def issue(self, *options, grant="prod", org="acme"):
        return self.gate.act("key", "issue", "--org", org, "--grant", grant,
                             *options).splitlines()[-1]

    def uri(self, path=PATHS["openai"]):
        return f"http://127.0.0.1:{self.gate.port}{path}"

    def sign(self, body=None, path=PATHS["openai"], signer=None, **changed):
        body = encode(openai() if body is None else body)
        return (signer or self.signer).fields("POST", self.uri(path), body, **changed)

    def send(self, fields, body=None, port=None):
        return ask(port or self.gate.port, "POST", PATHS["openai"],
                   {**self.client.headers("openai"), **fields},
                   encode(openai() if body is None else body))

    def assert_unproved(self, answer, told):
        self.assert_refused(answer, 401, "key.binding", "openai")
        self.assertIn(told, answer.message())


class Bound(Signed):
    def test_a_signed_request_is_served_and_an_unsigned_one_is_not(self):
        self.serve()
        self.assertEqual(self.send(self.sign()).status, 200)
        self.assert_unproved(self.client.chat(), "the request is not signed")
        self.assert_unproved(self.client.ask("openai", openai(stream=True)), "is not signed")
        # The body is still the client's own, streams too.
        body = openai(stream=True)
        self.assertIn(b"data: [DONE]", self.send(self.sign(body), body).body)
        # The list of models has no body to digest.
        fields = self.signer.fields("GET", self.uri("/v1/models"))
        self.assertEqual(ask(self.gate.port, "GET", "/v1/models",
                             {**self.client.headers("openai"), **fields}).status, 200)
        shown = json.loads(self.gate.act("key", "list", "--json"))["keys"][0]["binding"]
        self.assertEqual((shown["kind"], shown["thumbprint"]),
                         ("signature", self.signer.thumbprint))

    def test_nothing_is_taken_twice_whichever_worker_it_reaches(self):
        self.serve(workers=4)
        fields = self.sign()
        answers = [self.send(fields) for _ in range(24)]  # connections of their own
        self.assertEqual([answer.status for answer in answers], [200] + 23 * [401])
        for answer in answers[1:]:
            self.assert_unproved(answer, "nonce was used before")
        # Nor by another gateway process: what it had seen is gone, so that it takes nothing old.
        later = self.sign()
        self.gate.kill()
        self.gate.start()
        self.assert_unproved(self.send(later), "sign")
        wait_until(lambda: self.send(self.sign()).status == 200, "the next second")

    def test_what_was_signed_is_what_is_sent(self):
        self.serve()
        body = openai("something else")
        self.assert_unproved(self.send(self.sign(), body), "Content-Digest is not that of the body")
        # A mistaken body does not use the nonce up.
        fields = self.sign()
        self.send(fields, body)
        self.assertEqual(self.send(fields).status, 200)
        # Not for another path, host or scheme.
        for uri in ("http://127.0.0.1:1/v1/chat/completions", self.uri("/v1/messages"),
                    self.uri().replace("http", "https"), self.uri() + "?a=b"):
            fields = self.signer.fields("POST", uri, encode(openai()))
            self.assert_unproved(self.send(fields), "not the bound key's over this request")
        changed = self.sign()
        changed["signature-input"] = changed["signature-input"].replace('tag="', 'nonce2="')
        self.assert_unproved(self.send(changed), "parameter is not known here")

    def test_every_part_of_the_profile_is_asked_for(self):
        self.serve()
        other = Signer(self.directory, "other")
        for fields, told in (
                (self.sign(created=-90), "created more than 60 s ago"),
                (self.sign(created=90), "in the future"),
                (self.sign(created=None), "does not say when it was created"),
                (self.sign(expires=int(time.time()) - 5), "has expired"),
                (self.sign(nonce=None), "needs a nonce"),
                (self.sign(nonce="short"), "needs a nonce"),
                (self.sign(tag=None), "no signature has the tag"),
                (self.sign(tag="web-bot-auth"), "no signature has the tag"),
                (self.sign(alg="rsa-pss-sha512"), "alg is not ed25519"),
                (self.sign(keyid="mine"), "keyid is not the thumbprint"),
                (self.sign(signer=other), "keyid is not the thumbprint"),
                (self.sign(signer=other, keyid=self.signer.thumbprint), "not the bound key's"),
                (self.sign(leave_out=["@method"]), "does not cover @method"),
                (self.sign(leave_out=["@target-uri"]), "does not cover @target-uri"),
                (self.sign(leave_out=["content-digest"]), "does not cover content-digest"),
                ({**self.sign(), "signature": "sig=:AAAA:"}, "not 64 bytes"),
                ({**self.sign(), "signature": "other=:AAAA:"}, "nothing stands under the label"),
                ({"signature-input": self.sign()["signature-input"]}, "no dictionary"),
                ({**self.sign(), "parley-run": "run_1"}, "does not cover parley-run"),
                ({**self.sign(), "parley-accept": "verdict"}, "does not cover parley-accept")):
            with self.subTest(told=told):
                self.assert_unproved(self.send(fields), told)
        self.assertEqual(self.send(self.sign()).status, 200)
        # No refusal has the signature, the nonce or the key in its record.
        text = "\n".join(map(json.dumps, self.gate.records("usage")))
        self.assertNotIn("nonce=", text)

    def test_a_large_body_is_refused_by_its_head(self):
        self.serve()
        body = encode(openai("x" * 200_000))
        self.assertEqual(self.send(self.sign(body), body).status, 200)
        fields = self.sign(body, created=-90)
        self.assert_unproved(self.send(fields, body), "created more than 60 s ago")
        # With a blocked org it is the org that is told, though the body was never read.
        self.gate.act("org", "block", "acme")
        self.assert_refused(self.send(self.sign(body), body), 403, "org.blocked", "openai")

    def test_parleys_own_endpoints_ask_for_it_too(self):
        suite = suite_of(["What jumps?"])
        self.serve(evaluation(), public_suites=public(suite))
        key = self.issue("--public-key", self.signer.public, grant="eval", org="southlab")
        headers = Client(self.gate.port, key).headers("openai")
        body = encode(suite)
        path = "/parley/v1/suites"
        unsigned = ask(self.gate.port, "POST", path, headers, body)
        self.assertEqual((unsigned.status, unsigned.json()["rule"]), (401, "key.binding"))
        self.assertIn("not signed", unsigned.json()["detail"])
        fields = self.signer.fields("POST", self.uri(path), body)
        self.assertEqual(ask(self.gate.port, "POST", path, {**headers, **fields}, body).status, 200)
        # The run that a request names is part of what is signed.
        self.client = Client(self.gate.port, key)
        answer = self.send(self.sign(openai("What jumps?")), openai("What jumps?"))
        self.assertEqual(answer.status, 200, answer)
        record = answer.headers["parley-record"]
        path = f"/parley/v1/receipts/{record}"
        self.assertEqual(ask(self.gate.port, "GET", path, headers).status, 401)

        def receipts():
            signed = self.signer.fields("GET", self.uri(path))
            return ask(self.gate.port, "GET", path, {**headers, **signed}).status == 200

        wait_until(receipts, "receipts")

    def test_a_public_url_is_what_is_signed(self):
        self.serve(public_url="https://Eval.northlab.example:443/api/")
        fields = self.signer.fields("POST", "https://eval.northlab.example/api" + PATHS["openai"],
                                    encode(openai()))
        self.assertEqual(self.send(fields).status, 200)
        self.assert_unproved(self.send(self.sign()), "not the bound key's over this request")
        self.gate.stop()
        for text in ("eval.northlab.example", "https://a/?b", "ftp://a"):
            self.gate.write_config("http://127.0.0.1:1", public_url=text)
            done = self.gate.run("serve")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("public_url: must be the URL", done.stderr)

    def test_binding_and_lifting(self):
        self.serve()
        secret = self.issue()
        key = next(row["id"] for row in json.loads(self.gate.act("key", "list", "--json"))["keys"]
                   if "binding" not in row)
        self.client = Client(self.gate.port, secret)
        self.assertEqual(self.client.chat().status, 200)
        jwk = self.directory / "client.jwk"
        jwk.write_text(self.signer.jwk)
        self.gate.act("key", "bind", key, "--public-key", jwk, "--reason", "case 1")
        self.assert_unproved(self.client.chat(), "not signed")
        self.assertEqual(self.send(self.sign()).status, 200)
        # A rotated key stays bound.
        self.client = Client(self.gate.port, self.gate.act("key", "rotate", key).strip())
        self.assert_unproved(self.client.chat(), "not signed")
        self.assertEqual(self.send(self.sign()).status, 200)
        act = next(entry for entry in self.gate.records("usage") if entry.get("act") == "key.bind")
        self.assertEqual(act["detail"]["binding"]["thumbprint"], self.signer.thumbprint)
        # What is no public key is told, and a private one never leaves the machine.
        for text, told in ((self.signer.path.read_text(), "this is a private key"),
                           ("hello", "no Ed25519 public key")):
            file = self.directory / "wrong"
            file.write_text(text)
            done = self.gate.run("key", "bind", key, "--public-key", file)
            self.assertEqual(done.returncode, 1)
            self.assertIn(told, done.stderr)
        done = self.gate.run("key", "bind", key)
        self.assertEqual(done.returncode, 1)
        self.assertIn("say what the key is bound to", done.stderr)
        self.gate.act("key", "bind", key, "--none")
        self.assertEqual(Client(self.gate.port, secret).chat().status, 200)

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_any_client_can_sign(self):
        self.serve()
        done = subprocess.run(
            ["node", str(SOURCE / "test/script/sign_request.mjs"), self.uri(), str(self.signer.path)],
            input=encode(openai()), capture_output=True, timeout=PATIENCE, check=False,
            env={**os.environ, "PARLEY_KEY": self.client.key})
        self.assertTrue(done.stdout.startswith(b"200\n"), (done.stdout, done.stderr))


class Demanded(Signed):
    """Grants whose keys must be bound to their sender."""

    def refused(self, *arguments):
        done = self.gate.run(*arguments)
        self.assertEqual(done.returncode, 1, done.stdout)
        return done.stderr

    def test_a_grant_that_demands_it_takes_no_other_key(self):
        self.serve(product())
        secret = self.issue()
        self.client = Client(self.gate.port, secret)
        self.assertEqual(self.client.chat().status, 200)
        # A demand that comes later stops the keys that fall short of it, and tells how to mend it.
        demand = product(key_binding="signature")
        self.assertIn("~ grant prod", self.gate.apply(demand))
        answer = self.client.chat()
        self.assert_unproved(answer, "grant prod takes only keys that are bound to a signing key")
        own = self.client.get("/parley/v1/self")
        self.assertEqual((own.status, own.json()["rule"]), (401, "key.binding"))
        key = json.loads(self.gate.act("key", "list", "--json"))["keys"][0]["id"]
        question = self.directory / "question.json"
        question.write_text(json.dumps({"method": "POST", "path": PATHS["openai"],
                                        "body": openai()}))
        told = json.loads(self.gate.run("grant", "check", question, "--key", key, "--json").stdout)
        self.assertEqual((told["outcome"], told["rule"]), ("refused", "key.binding"))
        # None is made that would be refused; one that is bound is.
        issue = ("key", "issue", "--org", "acme", "--grant", "prod")
        self.assertIn("takes only keys that are bound to a signing key: give --public-key",
                      self.refused(*issue))
        self.assertIn("bound to a signing key", self.refused(
            *issue, "--certificate-thumbprint", "ab" * 32))
        self.assertIn("bound to a signing key", self.refused("key", "rotate", key))
        self.gate.act("key", "bind", key, "--network", "127.0.0.0/8")
        self.gate.act("key", "bind", key, "--public-key", self.signer.public)
        self.assertEqual(self.send(self.sign()).status, 200)
        self.assertIn("bound to a signing key", self.refused("key", "bind", key, "--none"))
        self.client = Client(self.gate.port, self.issue("--public-key", self.signer.public))
        self.assertEqual(self.send(self.sign()).status, 200)
        # It outlives a restart, and is lifted as it came.
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        self.assert_unproved(self.client.chat(), "not signed")
        self.assertIn("~ grant prod", self.gate.apply(product(key_binding="any")))
        self.assertIn("~ grant prod", self.gate.apply(product()))
        self.assertEqual(Client(self.gate.port, self.issue()).chat().status, 200)

    def test_a_grant_names_whose_keys_they_are(self):
        other = Signer(self.directory, "other")
        self.serve(product(key_binding="any", cnf=[other.thumbprint, self.signer.public.read_text().strip()]))
        shown = json.loads(self.gate.act("grant", "show", "prod"))
        self.assertEqual(sorted(shown["cnf"]), sorted([other.thumbprint, self.signer.thumbprint]))
        self.client = Client(self.gate.port, self.issue("--public-key", self.signer.public))
        self.assertEqual(self.send(self.sign()).status, 200)
        third = Signer(self.directory, "third")
        self.assertIn("names what its keys may be bound to", self.refused(
            "key", "issue", "--org", "acme", "--grant", "prod", "--public-key", third.public))
        self.gate.apply(product(key_binding="signature", cnf=[other.thumbprint]))
        self.assert_unproved(self.send(self.sign()), "bound to something else")
        # The same in another order is no change.
        both = [other.thumbprint, self.signer.thumbprint]
        self.gate.apply(product(key_binding="any", cnf=both))
        self.assertIn("0 changed", self.gate.apply(product(key_binding="any", cnf=both[::-1])))

    def test_what_is_wrong_in_the_file_is_named(self):
        self.serve(product())
        for members, told in (
                ({"key_binding": "mtls"}, "key_binding: must be signature, certificate or any"),
                ({"key_binding": "any", "cnf": []}, "cnf: must name 1 to 16"),
                ({"key_binding": "any", "cnf": ["abc"]}, "cnf: abc is no thumbprint"),
                ({"cnf": [self.signer.thumbprint]}, "cnf: needs key_binding")):
            path = self.gate.directory / "access.yaml"
            path.write_text(json.dumps(access(product(**members))))
            self.assertIn(told, self.refused("apply", path))

    def test_what_if_counts_the_keys_that_fall_short(self):
        self.serve(product())
        self.client = Client(self.gate.port, self.issue())
        self.assertEqual(self.client.chat().status, 200)
        path = self.gate.directory / "access.yaml"
        path.write_text(json.dumps(access(product(key_binding="signature"))))
        told = json.loads(self.gate.act("apply", path, "--what-if", "1d", "--json"))
        rows = told["what_if"]["rows"]
        self.assertEqual([(row["grant"], row["rule"], row["requests"]) for row in rows],
                         [("prod", "key.binding", 1)])


class Certificates(Case):
    def ask(self, certificate=None):
        import ssl
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if certificate:
            context.load_cert_chain(*map(str, certificate))
        connection = http.client.HTTPSConnection("127.0.0.1", self.gate.port, timeout=PATIENCE,
                                                 context=context)
        try:
            connection.request("POST", PATHS["openai"], encode(openai()),
                               Client(self.gate.port, self.key).headers("openai"))
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def test_a_key_bound_to_a_certificate(self):
        self.authority = Authority(self.directory)
        server, mine, other = (self.authority.issue(name) for name in ("server", "mine", "other"))
        self.gate = self.gateway(self.sim(), product(), tls={
            "certificate": str(server[0]), "key": str(server[1]),
            "client_ca": str(self.authority.path)})
        printed = openssl("x509", "-in", mine[0], "-noout", "-fingerprint", "-sha256").decode()
        self.key = self.gate.act("key", "issue", "--org", "acme", "--grant", "prod",
                                 "--certificate-thumbprint",
                                 printed.strip().partition("=")[2]).splitlines()[-1]
        self.assertEqual(self.ask(mine).status, 200)
        refused = self.ask(other)
        self.assert_refused(refused, 401, "key.binding", "openai")
        self.assertIn("show the client certificate that it is bound to", refused.message())
        done = self.gate.run("key", "issue", "--org", "acme", "--grant", "prod",
                             "--certificate-thumbprint", "abc")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not a SHA-256 in base64url or hexadecimal", done.stderr)


main()
