"""Which sealed answers were opened: a gateway that opens others than both seeds chose is found out
by its own records, signed with its own key."""

import base64
import hashlib
import json
import shutil
import subprocess

import test_bench
from parley_test import ask, canonical, evaluation, inclusion_proof, leaf_hash, main, run, tree_root

TYPE = b"application/vnd.parley.verdict+json"
NONCE = "ab" * 16


class Liar:
    """Whoever runs a gateway, with its keys: a log of whatever records, and receipts of it."""

    def __init__(self, gate, directory):
        self.gate, self.directory = gate, directory
        self.records = gate.records()

    def sign(self, key, text):
        path = self.directory / "to-sign"
        path.write_bytes(text)
        return subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", self.gate.directory / key,
                               "-rawin", "-in", path], check=True, capture_output=True).stdout

    def judge(self, verdict):
        """The verdict with a signature that fits."""
        verdict = {key: value for key, value in verdict.items() if key != "signature"}
        text = canonical(verdict)
        pae = b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE, len(text), text)
        return {**verdict, "signature": base64.b64encode(self.sign("verdict.key", pae)).decode()}

    def receipts(self, bundle, vkey):
        """Every receipt of the bundle anew, in a history of these records."""
        lines = [canonical(record) for record in self.records]
        hashes = [leaf_hash(line) for line in lines]
        name, key_hash, _ = vkey.strip().split("+", 2)
        text = f"{name}\n{len(lines)}\n{base64.b64encode(tree_root(hashes)).decode()}\n"
        signature = bytes.fromhex(key_hash) + self.sign("signing.key", text.encode())
        note = f"{text}\n— {name} {base64.b64encode(signature).decode()}\n"
        index_of = {record["id"]: index for index, record in enumerate(self.records)}
        for path in (bundle / "receipts").iterdir():
            index = index_of[path.name.split(".")[0]]
            proof = "".join(base64.b64encode(node).decode() + "\n"
                            for node in inclusion_proof(hashes, index))
            extra = base64.b64encode(lines[index]).decode()
            path.write_text(f"c2sp.org/tlog-proof@v1\nextra {extra}\nindex {index}\n{proof}\n{note}")


class Openings(test_bench.Bench):
    def setUp(self):
        super().setUp()
        suite, persona = self.suite(40)
        self.gate_ = self.gateway(self.sim("--persona", persona), evaluation(
            release="V0", openings=5, suites={"classes": ["private"], "max_leaves": 5000,
                                              "samples_per_leaf": 5}), grade="spawn")
        keys = {"PARLEY_TEST_KEY": self.gate_.key("eval", "southlab")}
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{self.gate_.port}"), keys=keys)
        self.key = self.vkey(self.gate_)
        self.bundle = self.out / "bundle"

    def verify(self):
        return run("verify", self.bundle, "--key", self.key)

    def tell(self, change):
        """The bundle as a gateway would have made it whose records are changed so: `change` gets
        each settle record with the verdict on it."""
        liar = Liar(self.gate_, self.directory)
        path = self.bundle / "transcripts.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            verdict = json.loads(line["verdict"])
            settle = next(r for r in liar.records if r.get("admit") == verdict["record"])
            change(settle, verdict)
            line["verdict"] = canonical(liar.judge(verdict)).decode()
        path.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
        self.change_records(liar.records)
        vkey = ask(self.gate_.port, "GET", "/log/vkey").body.decode().splitlines()[0]
        liar.receipts(self.bundle, vkey)
        test_bench.reseal(self.bundle)

    def change_records(self, records):
        pass

    def test_exactly_the_chosen_ones(self):
        done = self.verify()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("2 against answers that were opened", done.stdout)
        self.assertIn("40 sealed answers: opened exactly where the seeds of both sides chose it",
                      done.stdout)
        self.assertNotIn("whether the right ones", done.stdout)
        shutil.copytree(self.out, self.directory / "copy")
        # What the liar's tools make of true records still verifies.
        self.tell(lambda settle, verdict: None)
        done = self.verify()
        self.assertEqual(done.returncode, 0, done.stdout)

        def hide(settle, verdict):
            if settle.pop("opened", False):
                verdict.pop("opened")
                hidden.append(verdict["leaf"])

        hidden = []
        self.tell(hide)
        done = self.verify()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(f"FALSE: item {hidden[0]}", done.stdout)
        self.assertIn(f"sample 0 of leaf {hidden[0]} was not opened", done.stdout)

        def open_one_more(settle, verdict):
            if verdict["leaf"] != extra:
                return
            opened = {"text": "a fox", "tool_calls": [], "finish": "stop", "nonce": NONCE}
            text = canonical([opened["text"], opened["tool_calls"], opened["finish"]])
            answer = hashlib.sha256(bytes.fromhex(NONCE) + text).hexdigest()
            settle.update(opened=True, answer=answer)
            verdict.update(opened=opened, answer=answer)

        extra = next(leaf for leaf in range(40) if leaf not in hidden)
        shutil.rmtree(self.out)
        shutil.copytree(self.directory / "copy", self.out)
        self.tell(open_one_more)
        done = self.verify()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(f"FALSE: item {extra}", done.stdout)
        self.assertIn(f"sample 0 of leaf {extra} was opened, and the seeds of both sides did not "
                      "choose it", done.stdout)

    def test_seeds_that_were_not_committed_to(self):
        shutil.copytree(self.out, self.directory / "copy")
        for change, said in (
                (lambda detail: detail["openings"].update(key="cd" * 32),
                 "is not what was committed to"),
                (lambda detail: detail["openings"].update(evaluator="cd" * 32),
                 "is not what was committed to"),
                (lambda detail: detail.pop("openings"), "whether the right ones of 40")):
            shutil.rmtree(self.out)
            shutil.copytree(self.directory / "copy", self.out)
            self.change_records = lambda records: [
                change(record["detail"]) for record in records if record.get("act") == "run.close"]
            self.tell(lambda settle, verdict: None)
            done = self.verify()
            self.assertIn(said, done.stdout)
            self.assertEqual(done.returncode, int("committed" in said), done.stdout)

    def test_a_key_of_another_seed(self):
        """The gateway chose after it had seen the evaluator's seed: its own seed gives it away."""
        def change(records):
            for record in records:
                if record.get("act") == "run.open":
                    record["detail"]["openings"]["key"] = digest
                elif record.get("act") == "run.close":
                    record["detail"]["openings"]["key"] = "cd" * 32

        digest = hashlib.sha256(bytes.fromhex("cd" * 32)).hexdigest()
        self.change_records = change
        self.tell(lambda settle, verdict: None)
        done = self.verify()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("is not what the seeds of both sides give", done.stdout)


if __name__ == "__main__":
    main()
