"""Writes grant.json: a countersigned grant with its terms beside it, made from docs/formats alone.

The keys' seeds are the bytes 00 01 … 1f (provider) and 20 21 … 3f (organisation). Signing is left to
the openssl program. Run it here: python3 grant.py > grant.json
"""

import base64
import hashlib
import json
import subprocess
import tempfile

PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class Key:
    def __init__(self, first):
        text = base64.encodebytes(PKCS8 + bytes(range(first, first + 32))).decode()
        self.file = tempfile.NamedTemporaryFile("w", suffix=".pem")
        self.file.write(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
        self.file.flush()
        der = subprocess.run(["openssl", "pkey", "-in", self.file.name, "-pubout", "-outform", "DER"],
                             capture_output=True, check=True).stdout
        self.public = der[-32:]

    def sign(self, message):
        with tempfile.NamedTemporaryFile() as file:
            file.write(message)
            file.flush()
            return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.file.name,
                                   "-in", file.name], capture_output=True, check=True).stdout

    def vkey(self, name):
        data = b"\1" + self.public
        number = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
        return f"{name}+{number}+{base64.b64encode(data).decode()}"


def envelope(body, kind, *keys):
    payload, kind = canonical(body), f"application/vnd.parley.{kind}+json"
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    return {"payload": base64.b64encode(payload).decode(), "payloadType": kind,
            "signatures": [{"keyid": hashlib.sha256(key.public).hexdigest(),
                            "sig": base64.b64encode(key.sign(message)).decode()} for key in keys]}


def main():
    provider, org = Key(0), Key(32)
    issuer = {"name": "northlab.example/parley", "key": provider.vkey("northlab.example/parley/grants")}
    terms = {"parley": "terms/1", "issuer": issuer, "version": "2026-11", "clauses": [
        {"id": "D.4a", "kind": "prohibition", "enforced_by": ["suite.unbound"],
         "text": "No use to build a competing product or train a competing model."}]}
    grant = {
        "parley": "grant/1", "issuer": issuer, "issued": "2026-11-01T12:00:00.000Z",
        "countersign": True,
        "org": {"id": "southlab", "name": "South Lab", "key": base64.b64encode(org.public).decode()},
        "terms": {"version": "2026-11", "sha256": hashlib.sha256(canonical(terms)).hexdigest()},
        "grant": {
            "id": "south-eval-1", "org": "southlab", "purposes": ["capability_benchmark"],
            "models": ["north-1"], "release": "V2", "limits": {"rpm": 600},
            "suites": {"classes": ["public"], "max_leaves": 5000, "samples_per_leaf": 5},
            "valid": {"from": "2026-11-01", "to": "2027-01-15"}, "overrides": ["D.4a"],
            "notice_hours": 72, "appeal": "mailto:access@northlab.example"}}
    made = envelope(grant, "grant", provider, org)
    made["terms"] = envelope(terms, "terms", provider)
    print(json.dumps(made, indent=1, sort_keys=True))


main()
