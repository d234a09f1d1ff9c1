"""Receipts and the published log, checked by a second implementation: RFC 9162 in Python's own
hashes, Ed25519 by the openssl command where there is one."""

import base64
import hashlib
import shutil
import subprocess

from parley_test import (Case, ask, evaluation, leaf_hash, main, product, sha256, tree_root,
                         wait_until)

# DER of an Ed25519 public key (RFC 8410) up to its 32 bytes.
SPKI = bytes.fromhex("302a300506032b6570032100")


class Note:
    """A signed note (C2SP signed-note) with a checkpoint (C2SP tlog-checkpoint) as its text."""

    def __init__(self, text):
        self.text, _, signatures = text.rpartition("\n\n")
        self.text += "\n"
        lines = self.text.split("\n")
        self.origin, self.size, self.root = lines[0], int(lines[1]), base64.b64decode(lines[2])
        self.signatures = [line.split(" ")[1:] for line in signatures.splitlines()]

    def signature_of(self, name):
        for who, value in self.signatures:
            if who == name:
                raw = base64.b64decode(value)
                return raw[:4], raw[4:]
        raise AssertionError(f"{name} has not signed")


class VerifierKey:
    """`name+id+base64(1 || public key)`."""

    def __init__(self, text):
        self.name, self.id, encoded = text.strip().split("+", 2)
        raw = base64.b64decode(encoded)
        assert raw[0] == 1, "the key is not Ed25519"
        self.public = raw[1:]

    def right_id(self):
        return hashlib.sha256(self.name.encode() + b"\n\1" + self.public).hexdigest()[:8]


def parse_proof(text):
    """(index, hashes, checkpoint) of a C2SP tlog-proof."""
    head, _, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1", lines[0]
    lines = [line for line in lines[1:] if not line.startswith("extra ")]
    assert lines[0].startswith("index ")
    return int(lines[0][6:]), [base64.b64decode(line) for line in lines[1:]], checkpoint


def root_of(leaf, index, size, path):
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    assert index < size
    first, last, value = index, size - 1, leaf
    for sibling in path:
        assert last > 0, "the proof is too long"
        if first & 1 or first == last:
            value = hashlib.sha256(b"\1" + sibling + value).digest()
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\1" + value + sibling).digest()
        first, last = first >> 1, last >> 1
    assert last == 0, "the proof is too short"
    return value


class Receipts(Case):
    def setUp(self):
        super().setUp()
        self.gate = self.gateway(self.sim(), product(), product("other", "surfboard"))
        self.client = self.gate.client("prod", "acme")

    def receipts(self, record, client=None):
        """Both receipts of a record, once the gateway has them."""

        def fetch():
            answer = (client or self.client).get(f"/parley/v1/receipts/{record}")
            if answer.status == 425:
                self.assertEqual(answer.headers["retry-after"], "1")
                return None
            self.assertEqual(answer.status, 200, answer)
            return answer.json()["receipts"]

        return wait_until(fetch, "receipts")

    def verify_signature(self, note, key):
        self.assertEqual(key.id, key.right_id())
        name, signature = note.signature_of(key.name)
        self.assertEqual(name.hex(), key.id)
        if not shutil.which("openssl"):
            return
        files = {name: self.directory / name for name in ("key.der", "text", "signature")}
        files["key.der"].write_bytes(SPKI + key.public)
        files["text"].write_text(note.text)
        files["signature"].write_bytes(signature)
        done = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey",
             files["key.der"], "-rawin", "-in", files["text"], "-sigfile", files["signature"]],
            capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def vkey(self, log="usage"):
        return VerifierKey(self.gate.admin(f"/log/{log}/vkey").body.decode())

    def test_a_receipt_proves_the_records_and_the_bytes(self):
        for _ in range(20):  # a tree of some depth
            self.client.messages()
        answer = self.client.messages()
        record = answer.headers["parley-record"]
        nonce = bytes.fromhex(answer.headers["parley-nonce"])
        receipts = self.receipts(record)
        self.assertEqual(len(receipts), 2)
        for receipt in receipts:
            index, path, checkpoint = parse_proof(receipt["proof"])
            note = Note(checkpoint)
            leaf = leaf_hash(receipt["record"].encode())
            self.assertEqual(root_of(leaf, index, note.size, path), note.root)
            self.assertEqual(note.origin, "northlab.example/test/usage")
            self.verify_signature(note, self.vkey())
        self.assertIn(f'"id":"{record}"', receipts[0]["record"])
        self.assertIn(f'"admit":"{record}"', receipts[1]["record"])
        self.assertIn(sha256(nonce, answer.body), receipts[1]["record"])

    def test_an_altered_record_does_not_verify(self):
        receipt = self.receipts(self.client.messages().headers["parley-record"])[1]
        index, path, checkpoint = parse_proof(receipt["proof"])
        note = Note(checkpoint)
        altered = receipt["record"].replace('"finish"', '"finisH"')
        self.assertNotEqual(root_of(leaf_hash(altered.encode()), index, note.size, path), note.root)

    def test_the_entries_give_the_checkpoints_root(self):
        for _ in range(10):
            self.client.messages()
        self.gate.records("usage")
        note = Note(self.gate.admin("/log/usage/checkpoint").body.decode())
        lines = self.gate.entries("usage")
        self.assertEqual(tree_root([leaf_hash(line) for line in lines[:note.size]]), note.root)
        self.verify_signature(note, self.vkey())

    def test_the_hash_tiles_are_the_entries_hashes(self):
        for _ in range(5):
            self.client.messages()
        self.gate.records("usage")
        size = self.gate.checkpoint_size("usage")
        tile = self.gate.admin(f"/log/usage/tile/0/000.p/{size}")
        self.assertEqual(tile.status, 200, tile)
        self.assertEqual(tile.body, b"".join(leaf_hash(line) for line in self.gate.entries("usage")))

    def test_receipts_are_the_grants_own(self):
        record = self.client.messages().headers["parley-record"]
        self.receipts(record)
        other = self.gate.client("other", "surfboard")
        self.assertEqual(other.get(f"/parley/v1/receipts/{record}").status, 404)
        for wrong in ("0" * 32, record[:-1], record[:-1] + ("0" if record[-1] != "0" else "1"),
                      "..", "x", ""):
            answer = self.client.get(f"/parley/v1/receipts/{wrong}")
            self.assertEqual(answer.status, 404, f"{wrong}: {answer}")

    def test_a_request_in_flight_has_no_receipt_yet(self):
        gate = self.gateway(self.sim("--output-tokens", 2000, "--tokens-per-second", 20), product(),
                            name="slow")
        client = gate.client("prod", "acme")
        stream = client.stream("anthropic", max_tokens=2000)
        stream.read_until(b"data:")
        answer = client.get(f"/parley/v1/receipts/{stream.headers['parley-record']}")
        self.assertEqual(answer.status, 425, answer)
        self.assertEqual(answer.headers["retry-after"], "1")
        stream.close()

    def test_what_the_model_listener_shows_of_the_log(self):
        self.gate.apply(evaluation())
        self.gate.records("evaluation")

        def get(path):
            return ask(self.gate.port, "GET", path).status

        self.assertEqual(get("/log/checkpoint"), 200)
        self.assertEqual(get("/log/vkey"), 200)
        size = self.gate.checkpoint_size("evaluation")
        self.assertEqual(get(f"/log/tile/0/000.p/{size}"), 200)
        self.assertEqual(get(f"/log/tile/entries/000.p/{size}"), 401)
        for path in ("/log/usage/checkpoint", "/log/", "/log/tile/0/../../signing.key",
                     "/log/tile/9/000", "/log/tile/0/000.p/0", "/log/tile/0/000.p/257"):
            self.assertEqual(get(path), 404, path)

    def test_the_log_goes_on_where_it_was_after_a_restart(self):
        record = self.client.messages().headers["parley-record"]
        before = self.receipts(record)
        self.gate.kill()
        self.gate.start()
        self.client.port = self.gate.port
        after = self.receipts(record)
        self.assertEqual([r["record"] for r in before], [r["record"] for r in after])
        index, path, checkpoint = parse_proof(after[0]["proof"])
        note = Note(checkpoint)
        self.assertEqual(root_of(leaf_hash(after[0]["record"].encode()), index, note.size, path),
                         note.root)


if __name__ == "__main__":
    main()
