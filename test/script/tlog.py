"""A transparency log and a reader of cosignatures in Python, from the C2SP specifications; Ed25519
by the openssl command."""

import base64
import hashlib
import subprocess
import tempfile
from pathlib import Path

from parley_test import leaf_hash, tree_root

DASH = "\u2014".encode()


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def vkey(name, kind, public):
    encoded = base64.b64encode(bytes([kind]) + public).decode()
    return f"{name}+{key_id(name, kind, public).hex()}+{encoded}"


def parse_vkey(text):
    """(name, id, type, public key)."""
    name, identity, encoded = text.split("+", 2)
    raw = base64.b64decode(encoded)
    assert key_id(name, raw[0], raw[1:]).hex() == identity
    return name, bytes.fromhex(identity), raw[0], raw[1:]


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)


class Signer:
    """An Ed25519 key from a seed; its files are in `folder`."""

    def __init__(self, seed, folder):
        self.path = Path(folder) / f"{seed.hex()}.der"
        # RFC 8410: the seed in an OCTET STRING in an OCTET STRING.
        self.path.write_bytes(bytes.fromhex("302e020100300506032b657004220420") + seed)
        shown = openssl("pkey", "-in", self.path, "-inform", "DER", "-pubout", "-outform", "DER")
        assert shown.returncode == 0, shown.stderr
        self.public = shown.stdout[-32:]

    def sign(self, message):
        path = self.path.with_suffix(".message")
        path.write_bytes(message)
        done = openssl("pkeyutl", "-sign", "-rawin", "-in", path, "-inkey", self.path,
                       "-keyform", "DER")
        assert done.returncode == 0, done.stderr
        return done.stdout


def verify(public, message, signature):
    with tempfile.TemporaryDirectory(prefix="parley-tlog-") as folder:
        paths = [Path(folder) / name for name in ("key", "message", "signature")]
        for path, data in zip(paths, (bytes.fromhex("302a300506032b6570032100") + public, message,
                                      signature)):
            path.write_bytes(data)
        done = openssl("pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey",
                       paths[0], "-in", paths[1], "-sigfile", paths[2])
        return done.returncode == 0


def consistency_proof(hashes, old):
    """RFC 9162, section 2.1.4.1, of the first `old` leaves."""

    def sub(old, hashes, whole):
        if old == len(hashes):
            return [] if whole else [tree_root(hashes)]
        middle = 1 << (len(hashes) - 1).bit_length() - 1
        if old <= middle:
            return [*sub(old, hashes[:middle], whole), tree_root(hashes[middle:])]
        return [*sub(old - middle, hashes[middle:], False), tree_root(hashes[:middle])]

    return sub(old, hashes, True) if 0 < old < len(hashes) else []


def split_note(note):
    """(text, signature lines)."""
    text, _, lines = note.rpartition(b"\n\n")
    return text + b"\n", lines.splitlines()


def signatures(note, name, identity):
    """What stands behind the key's id in each line of that key."""
    for line in split_note(note)[1]:
        dash, who, encoded = line.split(b" ")
        assert dash == DASH
        raw = base64.b64decode(encoded, validate=True)
        if who.decode() == name and raw[:4] == identity:
            yield raw[4:]


def cosigners(note, vkeys):
    """The names of those witnesses whose cosignature is on the note; a wrong one is an error."""
    text = split_note(note)[0]
    found = []
    for name, identity, kind, public in map(parse_vkey, vkeys):
        assert kind == 4
        for signature in signatures(note, name, identity):
            time = int.from_bytes(signature[:8], "big")
            message = f"cosignature/v1\ntime {time}\n".encode() + text
            assert verify(public, message, signature[8:]), f"the cosignature of {name} is wrong"
            found.append(name)
    return found


def signed_by(note, text_key):
    """Whether a log's key signed the note."""
    name, identity, kind, public = parse_vkey(text_key)
    assert kind == 1
    return any(verify(public, split_note(note)[0], signature)
               for signature in signatures(note, name, identity))


class Log:
    """A log of leaves "leaf N"."""

    def __init__(self, origin, seed, folder):
        self.origin = origin
        self.signer = Signer(seed, folder)
        self.hashes = []

    def vkey(self):
        return vkey(self.origin, 1, self.signer.public)

    def grow(self, size):
        while len(self.hashes) < size:
            self.hashes.append(leaf_hash(b"leaf %d" % len(self.hashes)))

    def checkpoint(self, size, root=None, origin=None, sign=True):
        encoded = base64.b64encode(root or tree_root(self.hashes[:size])).decode()
        text = f"{origin or self.origin}\n{size}\n{encoded}\n".encode()
        identity = key_id(self.origin, 1, self.signer.public)
        signature = self.signer.sign(text) if sign else bytes(64)
        line = base64.b64encode(identity + signature).decode()
        return text + b"\n" + DASH + f" {self.origin} {line}\n".encode()

    def request(self, old, size, proof=None, **changes):
        """The body of add-checkpoint."""
        hashes = consistency_proof(self.hashes[:size], old) if proof is None else proof
        lines = [f"old {old}", *(base64.b64encode(each).decode() for each in hashes), "", ""]
        return "\n".join(lines).encode() + self.checkpoint(size, **changes)
