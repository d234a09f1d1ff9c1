"""verify.html in a real browser: what `parley verify` vouches for it vouches for, and what that refuses it
refuses, over bundles and receipts that a real gateway and the harness made."""

import base64
import hashlib
import json
import os
import re
import shutil
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "script"), str(HERE.parent / "independent")]

from chromium import BROWSER, Chromium  # noqa: E402
from parley_test import SKIPPED, SOURCE, run  # noqa: E402
from test_independent import RECEIPT, VECTORS, Stage, Text, flip  # noqa: E402

PAGE = Path(os.environ.get("PARLEY_VERIFY_PAGE", SOURCE / "build" / "web" / "verify.html"))
WORDS = {"vouched": "VOUCHED by", "self-certified": "CONSISTENT, SELF-CERTIFIED", "false": "FALSE: ", "unknown": "NOT CHECKED: "}
RFC8032 = (  # section 7.1: public key, message, signature
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
                            for line in lines))


def write_json(path, value):
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


@unittest.skipUnless(BROWSER, "chromium is not installed")
class VerifyPage(Stage):
    """One gateway and one browser for all tests."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.browser = Chromium()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        super().setUp()
        if self._testMethodName == "stage":
            return
        self.browser.size(900)
        self.browser.open(PAGE)

    def tearDown(self):
        # Whatever was dropped: nothing was asked of a network, and nothing was complained of.
        self.assertEqual(self.browser.complaints, [])
        self.assertEqual(self.browser.requests, [PAGE.as_uri()])
        super().tearDown()

    def keys(self, *texts):
        self.browser.run(f"document.querySelector('#keys').value = {json.dumps(chr(10).join(texts))}")

    def headline(self, act):
        """What the page says after an act: (verdict, headline)."""
        self.browser.run("document.querySelector('#result').replaceChildren(),"
                         " document.querySelector('#result').setAttribute('aria-busy', 'true')")
        act()
        self.browser.wait("document.querySelector('#result').getAttribute('aria-busy') === 'false'", "a verdict")
        return self.browser.run("[document.querySelector('.verdict').className.replace('verdict ', ''),"
                                " document.querySelector('#headline').textContent]")

    def look(self, path):
        selector = "#folder" if path.is_dir() else "#files"
        verdict, headline = self.headline(lambda: self.browser.choose(selector, path))
        self.assertTrue(headline.startswith(WORDS[verdict]), (verdict, headline))
        return verdict, headline

    def same_as_program(self, path, *options):
        """Both say the same of it; the two headlines."""
        verdict, headline = self.look(path)
        done = run("verify", path, "--json", *options)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual(verdict, told["verdict"], (headline, told["headline"]))
        return headline, told["headline"]

    # -- the file --

    def test_one_file_and_its_digest(self):
        page = PAGE.read_bytes()
        digest, name = PAGE.with_name("verify.html.sha256").read_text().split()
        self.assertEqual((digest, name), (hashlib.sha256(page).hexdigest(), "verify.html"))
        version = re.search(rb"Parley ([0-9.]+)\.", page).group(1).decode()
        again = self.directory / "again.html"
        import subprocess
        subprocess.run([sys.executable, SOURCE / "web" / "verify" / "build.py", version, again, f"{again}.sha256"],
                       check=True, capture_output=True, cwd="/")
        self.assertEqual(again.read_bytes(), page)
        self.assertFalse(re.findall(rb'<(?:script|link|img|iframe)[^>]+(?:src|href)=', page))
        policy = re.search(rb'Content-Security-Policy" content="([^"]*)"', page).group(1).decode()
        self.assertIn("default-src 'none'; script-src 'sha256-", policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(self.browser.run("fetch('https://example.org/').then(() => 'sent', () => 'refused')"), "refused")
        self.browser.complaints.clear()  # of that very request

    def test_signatures_and_proofs(self):
        for public, message, signature in RFC8032:
            for change, right in (("", True), ("m[0] ^= 1;", False), ("s[40] ^= 1;", False), ("k[3] ^= 1;", False)):
                if change.startswith("m") and not message:
                    continue
                script = (f"(() => {{ const k = unhex('{public}', 32), m = unhex('{message}', {len(message) // 2}),"
                          f" s = unhex('{signature}', 64); {change} return verifyEd25519(k, m, s); }})()")
                self.assertEqual(self.browser.run(script), right, (public, change))
        if not VECTORS.exists():
            return
        count = 0
        for line in VECTORS.read_text().splitlines():
            vector = json.loads(line)
            sizes = [vector.get("leafIdx"), vector.get("treeSize")]
            proof = vector.get("proof") or []
            hashes = [vector.get("leafHash"), vector.get("root"), *proof]
            if vector["kind"] != "inclusion" or any(len(base64.b64decode(each or "")) != 32 for each in hashes):
                continue
            right = self.browser.run(
                f"includes(base64({json.dumps(hashes[0])}), {sizes[0]}n, {sizes[1]}n,"
                f" {json.dumps(proof)}.map((each) => base64(each)), base64({json.dumps(hashes[1])}))")
            self.assertEqual(right, not vector["wantErr"], vector)
            count += 1
        self.assertGreater(count, 20)

    # -- what is true --

    def test_vouches_as_the_program_does(self):
        for bundle in self.bundles:
            self.keys()
            page, program = self.same_as_program(bundle)
            self.assertEqual(page.replace("in the field above", "with --key"), program)
            self.keys(self.policy.read_text(), self.evaluator)
            page, program = self.same_as_program(bundle, "--policy", self.policy, "--key", self.evaluator)
            # The program holds the run against the grant, too.
            self.assertIn("; inside its grant", program)
            program = program.replace("; inside its grant", "")
            self.assertEqual(page, f"{program}; the scores of 6 answers are the evaluator's word here")
            self.keys(self.first_key if bundle == self.bundles[0] else self.vkey)
            page, program = self.same_as_program(bundle, "--key", self.first_key if bundle == self.bundles[0] else self.vkey)
            program = program.replace("; inside its grant", "")
            self.assertTrue(page.startswith(program), (page, program))
        text = self.browser.run("document.querySelector('#result').innerText")
        for part in ("suite foxes: its root from 6 items, as in the plan", "run 2 of 2 of foxes on north-1",
                     "plan and items of foxes were in the log before the first request",
                     "15 receipts of the log", "Only parley verify can check", "the grades of 6 answers"):
            self.assertIn(part, text)
        row = self.browser.run("[...document.querySelectorAll('tbody td')].map((cell) => cell.textContent)")
        result = json.loads((self.bundles[1] / "summary.json").read_text())["results"][0]
        self.assertEqual(row[1:4], ["accuracy", f"{result['value']:.4f}", f"{result['low']:.4f} to {result['high']:.4f}"])

    def test_receipts(self):
        path = sorted((self.bundles[1] / "receipts").iterdir())[-1]
        self.keys()
        page, program = self.same_as_program(path)
        self.assertEqual(page.replace("in the field above", "with --key"), program)
        self.keys(self.policy.read_text(), self.vkey)
        page, program = self.same_as_program(path, "--policy", self.policy, "--key", self.vkey)
        self.assertEqual(page, program)
        served = self.directory / "served.json"
        text = path.read_text()
        record = base64.b64decode(text.split("\n")[1][6:]).decode()
        write_json(served, {"receipts": [{"record": record, "proof": text}]})
        page, program = self.same_as_program(served, "--policy", self.policy, "--key", self.vkey)
        self.assertEqual(page, program)
        write_json(served, {"receipts": [{"record": record.replace("run", "nun"), "proof": text}]})
        self.same_as_program(served, "--policy", self.policy, "--key", self.vkey)

    def test_dropped(self):
        """A folder, a policy, a receipt and a handful of files, let go over the page."""
        verdict, headline = self.headline(lambda: self.browser.drop("#drop", self.bundles[1]))
        self.assertEqual(verdict, "self-certified", headline)
        self.assertIn("calls itself", headline)
        verdict, headline = self.headline(lambda: self.browser.drop("#keys", self.policy))
        self.assertEqual(verdict, "vouched", headline)
        self.assertIn("log ", self.browser.run("document.querySelector('#keys').value"))
        inside = sorted(self.bundles[1].iterdir())
        verdict, _ = self.headline(lambda: self.browser.drop("#drop", *inside))
        self.assertEqual(verdict, "vouched")
        receipt = sorted((self.bundles[0] / "receipts").iterdir())[0]
        verdict, headline = self.headline(lambda: self.browser.drop("#drop", receipt))
        self.assertEqual((verdict, headline.split(";")[-1]), ("vouched", " 1 record"))

    # -- what is not --

    def test_mutated_receipts(self):
        original = next(path for path in sorted((self.bundles[1] / "receipts").iterdir())
                        if len(Text(path.read_text()).hashes) >= 2)
        self.keys(self.policy.read_text(), self.vkey)
        for number, (name, mutate) in enumerate(RECEIPT.items()):
            with self.subTest(name):
                path = self.directory / f"{number}.tlog-proof"
                path.write_text(mutate(Text(original.read_text())).text())
                if name == "no record":  # the program wants it beside the proof
                    self.assertEqual(self.look(path)[0], "unknown")
                    continue
                page, _ = self.same_as_program(path, "--policy", self.policy, "--key", self.vkey)
                self.assertFalse(page.startswith("VOUCHED"), page)

    def test_mutated_bundles(self):
        for number, (name, mutate) in enumerate(self.mutations().items()):
            with self.subTest(name):
                bundle = self.copy(f"changed {number}")
                mutate(bundle)
                signed = bool(json.loads((bundle / "statement.dsse.json").read_text())["signatures"])
                wanted = [self.evaluator] if signed or name == "no signature" else []
                self.keys(self.policy.read_text(), *wanted)
                page, _ = self.same_as_program(bundle, "--policy", self.policy,
                                               *(["--key", self.evaluator] if wanted else []))
                self.assertFalse(page.startswith("VOUCHED"), page)

    def forgeries(self):
        """What a publisher can do who seals the bundle again: {name: change}."""
        def line(file, change, number=0):
            def apply(bundle):
                lines = lines_of(bundle / file)
                lines[number] = change(dict(lines[number]))
                write_lines(bundle / file, [each for each in lines if each])
            return apply

        def whole(file, change):
            def apply(bundle):
                value = json.loads((bundle / file).read_text())
                change(value)
                write_json(bundle / file, value)
            return apply

        def result(key, value):
            return whole("summary.json", lambda s: s["results"][0].update({key: value}))

        def drop_attempt(bundle):
            lines = lines_of(bundle / "transcripts.jsonl")
            write_lines(bundle / "transcripts.jsonl", lines[1:])

        def drop_item(bundle):
            """One item and all that speaks of it, receipts too."""
            items = next((bundle / "suite").glob("*/items.jsonl"))
            items.write_text("".join(items.read_text().splitlines(True)[:-1]))
            gone = [each for each in lines_of(bundle / "transcripts.jsonl") if each["item"] == "5"]
            for file in ("transcripts.jsonl", "scores.jsonl"):
                write_lines(bundle / file, [each for each in lines_of(bundle / file) if each["item"] != "5"])
            for path in (bundle / "receipts").iterdir():
                record = json.loads(base64.b64decode(path.read_text().split("\n")[1][6:]))
                if gone[0]["record"] in (record["id"], record.get("admit")):
                    path.unlink()

        def item_text(bundle):
            items = next((bundle / "suite").glob("*/items.jsonl"))
            items.write_text(items.read_text().replace("what is 3", "who is 3"))

        def target(bundle):
            items = next((bundle / "suite").glob("*/items.jsonl"))
            items.write_text(items.read_text().replace('"fox"', '"owl"'))

        attempt, score = "transcripts.jsonl", "scores.jsonl"
        return {
            "another answer": line(attempt, lambda each: {**each, "answer": "a fox indeed"}),
            "another answer without its bytes": line(attempt, lambda each: {
                key: "the fox" if key == "answer" else value for key, value in each.items() if key != "response_body"}),
            "another body": line(attempt, lambda each: {**each, "response_body": each["response_body"].replace("a", "o")}),
            "another request": line(attempt, lambda each: {**each, "request_body": each["request_body"] + " "}),
            "other words": line(attempt, lambda each: {**each, "words": "0" * 63 + "1"}),
            "another nonce": line(attempt, lambda each: {**each, "nonce": "0" * 32}),
            "fewer tokens": line(attempt, lambda each: {**each, "usage": {**each["usage"], "output": 1}}),
            "another model": line(attempt, lambda each: {**each, "model": "south-1"}),
            "another served model": line(attempt, lambda each: {**each, "served": "north-2"}),
            "another item": line(attempt, lambda each: {**each, "item": "0"}),
            "a second try": line(attempt, lambda each: {**each, "attempt": 1}),
            "an unknown member": line(attempt, lambda each: {**each, "note": "x"}),
            "another attempt's record": lambda bundle: line(attempt, lambda each: {
                **each, "record": lines_of(bundle / attempt)[1]["record"]})(bundle),
            "an answer as a failure": line(attempt, lambda each: {
                **{key: value for key, value in each.items() if key not in ("answer", "finish")}, "error": "cut"}),
            "an attempt left out": drop_attempt,
            "an item left out, with its receipts": drop_item,
            "another question": item_text,
            "another target": target,
            "a score left out": line(score, lambda each: None),
            "a score twice": lambda bundle: write_lines(bundle / score, [lines_of(bundle / score)[0],
                                                                         *lines_of(bundle / score)]),
            "a score for a failed sample": line(score, lambda each: {**each, "failed": True}),
            "a score that the summary does not have": line(score, lambda each: {**each, "score": 1 - each["score"]}),
            "another scorer": line(score, lambda each: {**each, "scorer": "exact"}),
            "a better value": result("value", 0.9),
            "a narrower interval": result("low", 0.4),
            "more samples": result("n", 12),
            "a result left out": whole("summary.json", lambda s: s["results"].clear()),
            "a result more": whole("summary.json", lambda s: s["results"].append(
                {**s["results"][0], "metric": "pass@1"})),
            "other tokens": whole("summary.json", lambda s: s["models"][0].update(output_tokens=1)),
            "another count": whole("summary.json", lambda s: s["samples"].update(total=5)),
            "another plan": whole("plan.json", lambda p: p.update(concurrency=9)),
            "more samples in the plan": whole("plan.json", lambda p: p.update(samples=2)),
            "other settings": lambda bundle: [path.write_text(path.read_text().replace("64", "65"))
                                              for path in (bundle / "suite").glob("*/suite.yaml")],
            "a cut line": lambda bundle: (bundle / attempt).write_text((bundle / attempt).read_text()[:-1]),
        }

    def test_forged_bundles(self):
        self.keys(self.policy.read_text())
        forgeries = self.forgeries()
        self.assertGreaterEqual(len(forgeries), 30)
        for number, (name, change) in enumerate(forgeries.items()):
            with self.subTest(name):
                bundle = self.copy(f"forged {number}")
                change(bundle)
                self.reseal(bundle)
                page, program = self.same_as_program(bundle, "--policy", self.policy)
                self.assertTrue(page.startswith("FALSE: "), page)
                self.assertTrue(program.startswith("FALSE: "), program)

    def test_grades_are_left_to_the_program(self):
        """A forged grade whose figures fit: the page does not grade again, and says whose word it is."""
        bundle = self.copy("graded")
        lines = lines_of(bundle / "scores.jsonl")
        at = [each["score"] for each in lines]
        one, two = at.index(0), at.index(1)
        lines[one]["score"], lines[two]["score"] = 1, 0  # the mean stays
        write_lines(bundle / "scores.jsonl", lines)
        self.reseal(bundle)
        self.keys(self.policy.read_text())
        verdict, headline = self.look(bundle)
        self.assertEqual(verdict, "vouched")
        self.assertIn("the scores of 6 answers are the evaluator's word here", headline)
        done = run("verify", bundle, "--policy", self.policy)
        self.assertTrue(done.stdout.startswith("FALSE: item "), done.stdout)

    def test_published_bundles(self):
        """Prompts and answers are withheld as commitments: the page says of it what the program says."""
        run_folder, out = self.bundles[1].parent, self.directory / "published"
        done = run("bench", "report", run_folder, "--publish", "--withhold", "all", "-o", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.keys(self.policy.read_text())
        page, program = self.same_as_program(out, "--policy", self.policy)
        self.assertEqual(page, program)
        self.assertIn("the scores of 6 withheld answers are the evaluator's word", page)

        def changed(file, change):
            path = self.directory / f"published-{file}-{len(list(self.directory.iterdir()))}"
            shutil.copytree(out, path)
            write_lines(path / file, change(lines_of(path / file)))
            self.reseal(path)
            manifest = path / "manifest.json"
            text = manifest.read_text().replace("parley-bundle-1", "parley-published-1")
            manifest.write_text(text)
            envelope = json.loads((path / "statement.dsse.json").read_text())
            statement = json.loads(base64.b64decode(envelope["payload"]))
            statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
            envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
            write_json(path / "statement.dsse.json", envelope)
            return path

        same = changed("scores.jsonl", lambda lines: lines)
        self.assertEqual(self.same_as_program(same, "--policy", self.policy)[0], page)
        for file, change in (
                ("transcripts.jsonl", lambda lines: lines[1:]),
                ("transcripts.jsonl", lambda lines: [{**lines[0], "outcome": "error"}, *lines[1:]]),
                ("transcripts.jsonl", lambda lines: [{**lines[0], "response_digest": "0" * 64}, *lines[1:]]),
                ("transcripts.jsonl", lambda lines: [{**lines[0], "item": "6"}, *lines[1:]]),
                ("transcripts.jsonl", lambda lines: [{**lines[0], "usage": {**lines[0]["usage"], "output": 1}}, *lines[1:]]),
                ("scores.jsonl", lambda lines: lines[1:]),
                ("scores.jsonl", lambda lines: [{**lines[0], "score": 1 - lines[0]["score"]}, *lines[1:]])):
            page, _ = self.same_as_program(changed(file, change), "--policy", self.policy)
            self.assertTrue(page.startswith("FALSE: "), page)

    # -- what people do wrong --

    def test_wrong_things_are_named(self):
        self.keys("northlab.example/test+deadbeef+AAAA")
        self.assertIn("keys:1: ", self.look(self.bundles[0])[1])
        self.keys(self.one.vkey)
        self.assertIn("the key of a witness", self.look(self.bundles[0])[1])
        self.keys()
        log = self.gate.directory / "log" / "evaluation"
        self.assertIn("only `parley verify` reads one", self.look(log)[1])
        other = self.directory / "other.json"
        other.write_text("{}")
        self.assertIn("is no bundle, no receipt", self.look(other)[1])
        partial = self.copy("partial")
        (partial / "statement.dsse.json").unlink()
        self.assertEqual(self.look(partial)[1], "FALSE: statement.dsse.json: the file is missing")
        markup = self.copy("markup")
        (markup / "<img src=x onerror=document.title='bad'>\u202e").write_text("x")
        self.assertIn("\\u202e: the file is not listed", self.look(markup)[1])
        self.assertEqual(self.browser.run("document.querySelectorAll('img').length"), 0)

    # -- how it looks --

    def test_readable_everywhere(self):
        self.look(self.bundles[1])
        for width in (320, 360, 900):
            self.browser.size(width, phone=width < 400)
            self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), width)
        back = []
        for dark in (False, True):
            self.browser.size(900, dark=dark)
            back.append(self.browser.run("getComputedStyle(document.body).backgroundColor"))
        self.assertNotEqual(*back)
        tree = self.browser.call("Accessibility.getFullAXTree")["nodes"]
        said = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node}
        names = {name for role, name in said}
        for wanted in ("A bundle's folder", "Or a receipt", "Keys or policy", "Or from a file", "Check again"):
            self.assertTrue(any(wanted in name for name in names), wanted)
        self.assertTrue(any(role == "columnheader" and name == "95 % interval" for role, name in said))
        levels = self.browser.run("[...document.querySelectorAll('h1,h2,h3')].map((each) => Number(each.tagName[1]))")
        self.assertEqual(levels[0], 1)
        self.assertTrue(all(b <= a + 1 for a, b in zip(levels, levels[1:])), levels)


del Stage  # else unittest takes it for a test of this file


if __name__ == "__main__":
    if not BROWSER:
        print("SKIP: chromium is not installed; `scripts/setup test` installs it")
        sys.exit(SKIPPED)
    from parley_test import main
    main()
