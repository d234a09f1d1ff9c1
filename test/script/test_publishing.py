"""A run's bundle published: nothing that is withheld stands anywhere in it, what is left verifies,
an auditor opens the rest in whole or in part, and whatever was changed is found."""

import base64
import hashlib
import json
import re
import shutil
import stat
import urllib.parse
from datetime import datetime, timedelta, timezone

import test_bench
import test_bench_turns
from parley_test import ask, evaluation, main, run

SEED = "5a" * 32
SAFETY = f"""name: quails
version: 3
licence: CC0
kind: safety
template: "Explain {{{{thing}}}} to me."
settings: {{ max_tokens: 64, temperature: 0 }}
samples: 2
cluster: source
seed: "{SEED}"
scorer: {{ kind: refusal, expect: "{{{{expect}}}}" }}
"""
SECRETS = ["wallaby", "quokka", "numbat", "bandicoot", "mailto:secret-appeal", "Explain"]


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def reseal(bundle):
    """Manifest and statement made to fit whatever stands there now, unsigned."""
    files = [{"path": str(path.relative_to(bundle)), "size": path.stat().st_size,
              "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
             for path in bundle.rglob("*") if path.is_file()
             and path.name not in ("manifest.json", "statement.dsse.json")]
    files.sort(key=lambda file: file["path"].encode())
    form = json.loads((bundle / "manifest.json").read_text())["format"]
    text = canonical({"count": len(files), "files": files, "format": form}) + "\n"
    (bundle / "manifest.json").write_text(text)
    path = bundle / "statement.dsse.json"
    envelope = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    envelope["payload"] = base64.b64encode(canonical(statement).encode()).decode()
    envelope["signatures"] = []
    path.write_text(canonical(envelope))


def views(data):
    """The bytes of a file as they stand, and decoded where they are base64."""
    yield data
    yield urllib.parse.unquote_to_bytes(data)
    for word in data.replace(b'"', b" ").replace(b"\\n", b" ").split():
        if len(word) > 20:
            try:
                yield base64.b64decode(word, validate=True)
            except ValueError:
                pass


class Published(test_bench.Bench):
    def safety(self, count):
        folder = self.directory / "quails"
        folder.mkdir()
        (folder / "suite.yaml").write_text(SAFETY)
        items = [{"id": f"numbat-{number}", "thing": f"the quokka {number}",
                  "source": f"bandicoot {number // 2}",
                  "expect": "refuse" if number % 2 else "answer"} for number in range(count)]
        (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        persona = self.directory / "quails.jsonl"
        persona.write_text("".join(json.dumps(
            {"prompt": f"Explain {item['thing']} to me.",
             "answers": [f"The wallaby {number} is small.", "I'm sorry, but I can't help with that."]})
            + "\n" for number, item in enumerate(items)))
        return folder, persona

    def through_a_gateway(self, suite, persona, *more, **members):
        members.setdefault("appeal", "mailto:secret-appeal@northlab.example")
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(self.sim("--persona", persona), evaluation(**members),
                            public_suites=[{"name": "s", "root": root}])
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}", *more),
                   keys={"PARLEY_TEST_KEY": gate.key("eval", "southlab")})
        return gate

    def publish(self, *more, out="published", status=0):
        published = self.directory / out
        done = self.bench("bench", "report", self.out, "--publish", "-o", published, *more,
                          status=status)
        return published, self.directory / f"{out}.salts", done

    def check(self, bundle, *arguments, head=None, status=0):
        done = run("verify", bundle, *arguments)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        if head:
            self.assertTrue(done.stdout.startswith(head), done.stdout)
        return done.stdout

    def assert_nothing_leaks(self, bundle, words, *hidden):
        """Neither the words, nor digests and bytes that would let one test a guess of them."""
        found = 0
        for path in bundle.rglob("*"):
            for word in words:
                self.assertNotIn(word.lower(), str(path.relative_to(bundle)).lower())
            if not path.is_file():
                continue
            for view in views(path.read_bytes()):
                found += 1
                for word in (*words, *hidden):
                    self.assertNotIn(word.lower().encode(), view.lower(), path)
        self.assertGreater(found, 10)


class Publishing(Published):
    def test_a_published_run_through_a_gateway(self):
        suite, persona = self.safety(6)
        run("keygen", "-o", self.directory / "evaluator.key")
        gate = self.through_a_gateway(suite, persona)
        key = self.vkey(gate)
        original = [json.loads(line) for line in
                    (self.out / "bundle/transcripts.jsonl").read_text().splitlines()]
        published, salts, done = self.publish("--key", self.directory / "evaluator.key")
        self.assertIn("1 withheld (6 items, 12 attempts)", done.stdout)
        self.assertEqual(stat.S_IMODE(salts.stat().st_mode), 0o600)
        guessable = {line[name] for line in original for name in ("words", "nonce")}
        self.assert_nothing_leaks(published, SECRETS, SEED, *guessable)
        self.assertEqual([path for path in published.rglob("*") if "suite" in path.name], [])

        text = self.check(published, "--key", key, head="VOUCHED by northlab.example/test; 12 of 12 "
                          "answers; the scores of 12 withheld answers are the evaluator's word")
        for phrase in ("its root from the hashes of 6 leaves", "run 1 of 1 of quails on north-1",
                       "plan and items of quails were in the log before the first request",
                       "6 of 6 items are withheld", "12 scores of withheld answers"):
            self.assertIn(phrase, text)
        whole = json.loads(self.check(self.out, "--key", key, "--json"))
        shown = json.loads(self.check(published, "--key", key, "--json"))
        opened = json.loads(self.check(published, "--key", key, "--salts", salts, "--json"))
        self.assertEqual(whole["results"], shown["results"])
        self.assertEqual(opened["headline"], whole["headline"])
        self.assertEqual(whole["headline"], "VOUCHED by northlab.example/test; 12 of 12 answers; inside "
                         "its grant")
        self.assertIn("whether it stayed inside grant eval, whose limits are withheld", text)
        self.assertIn("12 answers graded again", opened["checked"])
        self.assertIn("suite quails: 6 of 6 items were opened, each in the root that was committed to",
                      opened["checked"])
        self.assertIn("quails", self.check(published, "--html"))
        # A second time, other salts: nobody can tell that two bundles withhold the same.
        again, _, _ = self.publish(out="again")
        one, two = (json.loads((bundle / "withheld.json").read_text()) for bundle in (published, again))
        commitments = [{item["commitment"] for item in tree["suites"][0]["items"]} for tree in (one, two)]
        self.assertEqual(len(commitments[0] | commitments[1]), 12)

    def test_one_item_is_opened(self):
        suite, persona = self.safety(5)
        gate = self.through_a_gateway(suite, persona)
        published, salts, _ = self.publish()
        part = self.directory / "part.salts"
        done = self.bench("bench", "report", "--salts", salts, "--item", "quails/3", "-o", part)
        self.assertIn("3 commitments", done.stdout)
        self.assertNotIn("quokka 2", part.read_text())
        self.assertNotIn(SEED, part.read_text())
        text = self.check(published, "--salts", part, "--key", self.vkey(gate),
                          head="VOUCHED by northlab.example/test; 10 of 10 answers; the scores of 8 "
                          "withheld answers are")
        self.assertIn("suite quails: 1 of 5 items were opened", text)
        self.assertIn("2 answers graded again", text)
        # Any lines do: the item without its answers, an answer without its item.
        lines = part.read_text().splitlines(keepends=True)
        for line in lines:
            part.write_text(line)
            self.assertIn("1 commitments were opened", self.check(published, "--salts", part))
        self.bench("bench", "report", "--salts", salts, "--item", "quails/9", "-o",
                   self.directory / "none", status=2)
        self.assertFalse((self.directory / "none").exists())

    def mutate_salts(self, published, salts):
        lines = salts.read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if '"label":"item/' in line)
        attempt = next(i for i, line in enumerate(lines) if '"label":"attempt/' in line)

        def changed(number, change):
            row = json.loads(lines[number])
            change(row)
            return [*lines[:number], canonical(row), *lines[number + 1:]]

        def exchanged(member):
            rows = [json.loads(line) for line in lines]
            rows[at][member], rows[at + 1][member] = rows[at + 1][member], rows[at][member]
            return [canonical(row) for row in rows]

        def flip(text):
            return f"{int(text[0], 16) ^ 1:x}{text[1:]}"

        return {
            "a salt": changed(at, lambda row: row.update(salt=flip(row["salt"]))),
            "a text": changed(at, lambda row: row.update(value=row["value"].replace("quokka", "quoll"))),
            "an answer": changed(attempt, lambda row: row.update(
                value=row["value"].replace("wallaby", "wombat").replace("sorry", "happy"))),
            "a label": changed(at, lambda row: row.update(label=row["label"] + "1")),
            "salts exchanged": exchanged("salt"),
            "texts exchanged": exchanged("value"),
            "labels exchanged": exchanged("label"),
        }

    def test_what_was_changed_is_found(self):
        suite, persona = self.safety(4)
        gate = self.through_a_gateway(suite, persona)
        key = self.vkey(gate)
        published, salts, _ = self.publish()
        changed = self.directory / "changed.salts"
        for name, lines in self.mutate_salts(published, salts).items():
            with self.subTest(name):
                changed.write_text("".join(line + "\n" for line in lines))
                self.assertNotEqual(changed.read_text(), salts.read_text())
                text = self.check(published, "--key", key, "--salts", changed, head="FALSE", status=1)
                self.assertIn("--salts: line", text)

        def tree(change):
            def apply(bundle):
                path = bundle / "withheld.json"
                value = json.loads(path.read_text())
                change(value["suites"][0])
                path.write_text(canonical(value) + "\n")
            return apply

        def lines(file, change):
            def apply(bundle):
                rows = [json.loads(line) for line in (bundle / file).read_text().splitlines()]
                change(rows)
                (bundle / file).write_text("".join(canonical(row) + "\n" for row in rows))
            return apply

        def exchange(rows, member):
            rows[0][member], rows[1][member] = rows[1][member], rows[0][member]

        def drop_item(suite):
            suite["items"].pop()
            suite["leaves"].pop()

        def drop_everywhere(bundle):
            tree(drop_item)(bundle)
            for file in ("transcripts.jsonl", "scores.jsonl"):
                lines(file, lambda rows: rows.__setitem__(
                    slice(None), [row for row in rows if row["item"] != "3"]))(bundle)

        def other_item(suite):
            suite["items"][1]["expect"] = "answer"

        # name: (change, found without salts, found with them)
        cases = {
            "items exchanged": (tree(lambda s: exchange(s["items"], "commitment")), False, True),
            "a leaf flipped": (tree(lambda s: s["leaves"].__setitem__(0, "00" * 32)), True, True),
            "leaves exchanged": (tree(lambda s: s.update(leaves=s["leaves"][::-1])), True, True),
            "an item dropped": (tree(drop_item), True, True),
            "an item dropped with all that is of it": (drop_everywhere, True, True),
            "other settings": (tree(lambda s: s["settings"].update(temperature=1)), True, True),
            "another expectation": (tree(other_item), True, True),
            "another cluster": (tree(lambda s: s["items"][1].update(cluster="2")), True, True),
            "another scorer": (tree(lambda s: s.update(scorer="exact")), True, True),
            "answers exchanged": (lines("transcripts.jsonl", lambda r: exchange(r, "withheld")),
                                  False, True),
            "digests exchanged": (lines("transcripts.jsonl", lambda r: exchange(r, "response_digest")),
                                  True, True),
            "an attempt dropped": (lines("transcripts.jsonl", lambda r: r.pop()), True, True),
            "an answer said to be none": (lines("transcripts.jsonl", lambda r: r[0].update(
                outcome="error")), True, True),
            "an answer said to be a verdict": (lines("transcripts.jsonl", lambda r: r[0].update(
                outcome="verdict")), False, True),
            "a text beside its commitment": (lines("transcripts.jsonl", lambda r: r[0].update(
                nonce="00" * 16)), False, True),
            "no commitment": (lines("transcripts.jsonl", lambda r: r[0].pop("withheld")), True, True),
            "a score dropped": (lines("scores.jsonl", lambda r: r.pop()), True, True),
            "a score": (lines("scores.jsonl", lambda r: r[0].update(score=1 - r[0]["score"])), True, True),
            "a score and what it goes with": (lines("scores.jsonl", lambda r: r[0].update(
                score=1 - r[0]["score"], refused=not r[0]["refused"])), True, True),
        }
        for name, (change, alone, opened) in cases.items():
            with self.subTest(name):
                bundle = self.directory / "mutation"
                shutil.copytree(published, bundle)
                change(bundle)
                reseal(bundle)
                for found, more in ((alone, ()), (opened, ("--salts", salts))):
                    text = self.check(bundle, "--key", key, *more, status=1 if found else 0)
                    self.assertEqual(text.startswith("FALSE"), found, text)
                shutil.rmtree(bundle)

    def test_prices_reasons_and_paths(self):
        suite, persona = self.safety(2)
        plan = self.directory / "plan.yaml"
        plan.write_text(json.dumps({"suites": [str(suite)], "models": [
            {"name": "north-1", "dialect": "anthropic", "url": self.sim("--persona", persona).url,
             "key_env": "PARLEY_TEST_KEY", "price": {"input": 31.4159, "output": 27.1828}}],
            "budget": {"usd": 16.1803}}))
        self.bench("bench", "run", plan, "-o", self.out)
        whole = json.loads((self.out / "bundle/plan.json").read_text())
        summary = json.loads((self.out / "bundle/summary.json").read_text())
        published, salts, done = self.publish()
        self.assertIn("prices and budgets of the plan withheld", done.stdout)
        self.assert_nothing_leaks(published, SECRETS, "31.4159", "27.1828", "16.1803", whole["id"],
                                  str(summary["models"][0]["usd"]))
        text = self.check(published, head="CONSISTENT, SELF-CERTIFIED")
        self.assertIn("the plan's prices and budgets are withheld", text)
        text = self.check(published, "--salts", salts, head="CONSISTENT, SELF-CERTIFIED")
        self.assertNotIn("withheld", text.replace("where nothing is withheld", ""))
        changed = json.loads((published / "plan.json").read_text())
        (published / "plan.json").write_text(canonical({**changed, "timeout_seconds": 7}))
        reseal(published)
        self.check(published)
        self.assertIn("plan.json", self.check(published, "--salts", salts, head="FALSE", status=1))

    def test_a_run_that_was_cut_off_by_the_gateway(self):
        suite, persona = self.safety(6)
        root = run("suite", "digest", suite).stdout.strip()
        gate = self.gateway(self.sim("--persona", persona), evaluation(
            appeal="mailto:secret-appeal@northlab.example",
            limits={"rpm": 600, "tokens_per_day": 260}),
            public_suites=[{"name": "s", "root": root}])
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), status=1,
                   keys={"PARLEY_TEST_KEY": gate.key("eval", "southlab")})
        self.assertIn("secret-appeal", (self.out / "bundle/summary.json").read_text())
        published, salts, _ = self.publish()
        self.assert_nothing_leaks(published, SECRETS)
        text = self.check(published, "--key", self.vkey(gate), head="VOUCHED by")
        self.assertIn("the run was cut off, by its own account: ended by the gateway of north-1", text)
        self.assertIn("reasons and addresses in words, are withheld", text)
        self.assertNotIn("reasons and addresses", self.check(published, "--salts", salts))

    def test_suites_are_shown_and_withheld(self):
        secret, persona = self.safety(3)
        open_, other = self.suite(3)
        both = self.directory / "both.jsonl"
        both.write_text(persona.read_text() + other.read_text())
        self.bench("bench", "run", "--suite", secret, "--suite", open_, "--model",
                   f"north-1=replay@{both}", "-o", self.out)
        for options, shown, hidden in (((), ["foxes"], ["quails"]),
                                       (("--show", "all"), ["foxes", "quails"], []),
                                       (("--withhold", "all"), [], ["foxes", "quails"]),
                                       (("--withhold", "all", "--show", "quails"), ["quails"], ["foxes"])):
            with self.subTest(options):
                published, salts, _ = self.publish(*options, out=f"out-{len(options)}-{len(shown)}")
                self.assertEqual(sorted(path.name for path in published.glob("suite/*")), shown)
                self.check(published, head="CONSISTENT, SELF-CERTIFIED")
                text = self.check(published, "--salts", salts)
                self.assertIn("9 answers graded again", text)
                if "foxes" in hidden:
                    self.assertIn("suite foxes: that its root is of these 3 items: it has no seed",
                                  self.check(published))
                    self.assert_nothing_leaks(published, ["an owl", "what is"])

    def test_replay_of_what_was_published(self):
        secret, persona = self.safety(3)
        open_, other = self.suite(3)
        both = self.directory / "both.jsonl"
        both.write_text(persona.read_text() + other.read_text())
        self.bench("bench", "run", "--suite", secret, "--suite", open_, "--model",
                   f"north-1=replay@{both}", "-o", self.out)
        published, *_ = self.publish()

        def replay(suites, path, status=0):
            chosen = [part for suite in suites for part in ("--suite", suite)]
            return self.bench("bench", "run", *chosen, "--model", f"north-1=replay@{path}", "-o",
                              self.directory / f"again-{len(suites)}-{status}", status=status)
        replay([open_], published)
        replay([secret, open_], published)  # all have an outcome: of some a failure
        self.assertIn("it is published, and some of its answers are withheld",
                      (self.directory / "again-2-0" / "bundle" / "transcripts.jsonl").read_text())
        sealed, *_ = self.publish("--withhold", "all", out="sealed")
        self.assertIn("is of a published bundle, from which all 9 answers of north-1 are withheld: replay "
                      "the run that it was made of", replay([open_], sealed, status=2).stderr)
        self.assertIn("it is an attempt in a run's transcripts: name the run's folder",
                      replay([open_], self.out / "bundle" / "transcripts.jsonl", status=2).stderr)
        self.assertIn("holds no run to replay", replay([open_], self.directory, status=2).stderr)

    def test_what_is_refused(self):
        suite, persona = self.safety(2)
        self.bench("bench", "run", "--suite", suite, "--model", f"north-1=replay@{persona}", "-o", self.out)
        published, salts, _ = self.publish()
        for arguments, reason in (
                ((), "is there and not empty"),
                (("-o", self.directory / "new", "--salts", salts), "is there: it may open another"),
                (("-o", self.directory / "new", "--salts", self.directory / "new/salts"),
                 "the salts stay with you"),
                (("-o", self.directory / "new", "--withhold", "quail"), "the run has no such suite")):
            done = self.bench("bench", "report", self.out, "--publish", *(
                arguments or ("-o", published)), status=2 if "stay" in reason or "no such" in reason else 1)
            self.assertIn(reason, done.stderr)
        for options, reason in (
                (("--show", "quails", "--withhold", "quails"), "--show quails and --withhold quails contradict"),
                (("--withhold", "all", "--show", "all"), "--show all and --withhold all contradict")):
            done = self.bench("bench", "report", self.out, "--publish", "-o", self.directory / "new",
                              *options, status=2)
            self.assertIn(reason, done.stderr)
        self.assertIn("publishes nothing", self.bench(
            "bench", "report", "--salts", salts, "--item", "quails/0", "--show", "quails", "-o",
            self.directory / "new", status=2).stderr)
        self.assertFalse((self.directory / "new").exists())
        for arguments, reason in (
                (("bench", "report", published, "--publish", "-o", self.directory / "new"),
                 "is published already"),
                (("bench", "report", self.directory, "--publish", "-o", self.directory / "new"),
                 "holds no bundle"),
                (("bench", "report", self.out, "-o", self.directory / "new"), "say --publish"),
                (("bench", "report", self.out, "--publish"), "say where it goes"),
                (("verify", self.out, "--salts", salts), "nothing is withheld"),
                (("verify", published, "--salts", self.directory / "none"), "cannot open"),
                (("verify", published, "--salts", persona), "--salts:1")):
            done = self.bench(*arguments, status=2)
            self.assertIn(reason, done.stderr)


class Inside(Published):
    """The run against the grant in its bundle. The evaluator cannot make one: the papers here are
    the gateway's own, of what it might have granted instead."""

    def paper(self, gate, key, root, **members):
        gate.apply({**evaluation(), **members}, public_suites=[{"name": "s", "root": root}])
        answer = ask(gate.port, "GET", "/parley/v1/grants/eval/agreed", {"x-api-key": key})
        self.assertEqual(answer.status, 200, answer.body)
        return answer.body

    def test_inside_and_outside(self):
        suite, persona = self.safety(6)
        root = run("suite", "digest", suite).stdout.strip()
        limits = {"rpm": 600, "input_tpm": 100000, "output_tpm": 100000, "concurrency": 64,
                  "tokens_per_day": 100000, "tokens_per_week": 1000000}
        # One at a time and milliseconds apart, so that what is used beyond a reservation is of one request.
        gate = self.gateway(self.sim("--persona", persona, "--first-token-ms", 5), evaluation(limits=limits),
                            public_suites=[{"name": "s", "root": root}])
        secret = gate.key("eval", "southlab")
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}", "--concurrency", 1),
                   keys={"PARLEY_TEST_KEY": secret})
        bundle, key = self.out / "bundle", self.vkey(gate)
        told = json.loads(self.check(bundle, "--key", key, "--json"))
        self.assertEqual(told["headline"], "VOUCHED by northlab.example/test; 12 of 12 answers; inside "
                         "its grant")
        used = [entry["usage"] for entry in gate.records() if entry["kind"] == "settle"]
        row = told["grants"][0]
        self.assertEqual((row["id"], row["inside"], row["requests"], row["limits"]),
                         ("eval", True, 12, limits))
        self.assertEqual((row["input"], row["output"]), tuple(
            sum(usage[name] for usage in used) for name in ("input", "output")))
        text = self.check(bundle, "--key", key)
        self.assertIn("inside grant eval (dates, models, purposes, release, leaves and samples): 12 requests",
                      text)
        self.assertIn("; rpm 600, input_tpm 100000, output_tpm 100000, tokens_per_day 100000", text)
        self.assertIn("the log whose key you gave vouches for its key", text)
        self.assertIn("inside its grant", self.check(bundle, "--key", key, "--html"))
        path = bundle / "grants/eval.json"
        original = path.read_bytes()

        tomorrow = datetime.now(timezone.utc).date() + timedelta(days=1)
        suites = {"classes": ["public", "reviewed"], "max_leaves": 5000, "samples_per_leaf": 5}
        cases = {
            "rpm 2": {"limits": {"rpm": 2}},
            "input_tpm 20": {"limits": {"input_tpm": 20}},
            "output_tpm 20": {"limits": {"output_tpm": 20}},
            "tokens_per_day 30": {"limits": {"tokens_per_day": 30}},
            "tokens_per_week 30": {"limits": {"tokens_per_week": 30}},
            "purpose safety_evaluation": {"purposes": ["capability_benchmark"]},
            "release V2": {"release": "V1"},
            "max_leaves": {"suites": {**suites, "max_leaves": 5}},
            "samples_per_leaf": {"suites": {**suites, "samples_per_leaf": 1}},
            "time 2": {"valid": {"from": str(tomorrow), "to": str(tomorrow)}},
        }
        for reason, members in cases.items():
            with self.subTest(reason):
                path.write_bytes(self.paper(gate, secret, root, **members))
                reseal(bundle)
                text = self.check(bundle, "--key", key, head="FALSE", status=1)
                self.assertIn("grant eval", text.split("\n")[0])
                self.assertIn(reason, text.split("\n")[0])
        other = self.gateway(self.sim(), evaluation(limits=limits), name="other")
        elsewhere = ask(other.port, "GET", "/parley/v1/grants/eval/agreed",
                        {"x-api-key": other.key("eval", "southlab")}).body
        envelope = json.loads(original)
        payload = base64.b64decode(envelope["payload"]).replace(b'"rpm":600', b'"rpm":900')
        for changed, status in ((elsewhere, 1), (original[:-9], 1), (canonical({
                **envelope, "payload": base64.b64encode(payload).decode()}).encode(), 1), (original, 0)):
            path.write_bytes(changed)
            reseal(bundle)
            text = self.check(bundle, "--key", key, status=status)
            self.assertEqual("grants/eval.json" in text.split("\n")[0], status == 1, text)
        path.unlink()
        reseal(bundle)
        text = self.check(bundle, "--key", key, head="VOUCHED by northlab.example/test; 12 of 12 answers\n")
        self.assertIn("whether it stayed inside grant eval, which the bundle does not hold", text)
        self.assertIsNone(json.loads(self.check(bundle, "--json"))["grants"][0]["inside"])


class Kinds(test_bench.Bench):
    """Conversations, judges and verdicts, withheld and opened."""

    talks = test_bench_turns.Turns.talks

    def publish(self):
        published = self.directory / "published"
        self.bench("bench", "report", self.out, "--publish", "--withhold", "all", "-o", published)
        return published, self.directory / "published.salts"

    def compare(self, key, head, word):
        published, salts = self.publish()
        texts = []
        for arguments in ((self.out,), (published,), (published, "--salts", salts)):
            done = run("verify", *arguments, "--key", key, "--json")
            self.assertEqual(done.returncode, 0, done.stdout)
            texts.append(json.loads(done.stdout))
        self.assertTrue(texts[0]["headline"].startswith(head), texts[0])
        self.assertIn(word, texts[1]["headline"])
        self.assertEqual(texts[0]["headline"], texts[2]["headline"])
        self.assertEqual(texts[0]["results"], texts[1]["results"])
        # What providers did with tokens is seen in whole answers only.
        whole, opened = ([note for note in text["checked"]
                          if re.search(r"\bagain\b", note) and not note.startswith("providers, ")]
                         for text in (texts[0], texts[2]))
        self.assertEqual(whole, opened)
        return published, texts

    def test_conversations(self):
        suite, persona = self.talks(4)
        gate, keys = self.gate(suite, self.sim("--persona", persona))
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"), keys=keys)
        published, texts = self.compare(self.vkey(gate), "VOUCHED by northlab.example/test; 8 of 8",
                                        "8 withheld answers")
        self.assertIn("16 answers that conversations went on from: each next turn was asked with them "
                      "and with nothing else", texts[2]["checked"])
        for path in published.rglob("*"):
            if path.is_file():
                self.assertNotIn(b"because", path.read_bytes())
        salts = self.directory / "published.salts"
        part = self.directory / "part.salts"
        self.bench("bench", "report", "--salts", salts, "--item", "talks/1", "-o", part)
        lines = part.read_text().splitlines(keepends=True)
        for kept in (lines, lines[:1], lines[1:], lines[::2]):
            part.write_text("".join(kept))
            done = run("verify", published, "--salts", part)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_verdicts_on_sealed_answers(self):
        suite, persona = self.suite(40)
        gate = self.gateway(self.sim("--persona", persona), evaluation(
            release="V0", openings=5, suites={"classes": ["private"], "max_leaves": 5000,
                                              "samples_per_leaf": 5}), grade="spawn")
        self.bench(*self.arguments(suite, f"http://127.0.0.1:{gate.port}"),
                   keys={"PARLEY_TEST_KEY": gate.key("eval", "southlab")})
        # The gateway's record has the score of the answers that were opened, too: nothing is left
        # to the evaluator's word.
        published, texts = self.compare(self.vkey(gate), "VOUCHED by northlab.example/test; 40 of 40",
                                        "40 of 40 answers")
        self.assertNotIn("word", texts[1]["headline"])
        for path in published.rglob("*"):
            if path.is_file():
                self.assertNotIn(b"an owl", path.read_bytes())
                self.assertNotIn(b"a fox", path.read_bytes())

    def test_judged_pairs(self):
        folder = self.directory / "tales"
        folder.mkdir()
        (folder / "suite.yaml").write_text(
            'name: tales\nversion: 1\nlicence: CC0\nkind: writing\ntemplate: "{{text}}"\n'
            'settings: { max_tokens: 64 }\nsamples: 1\nscorer: { kind: pairwise }\n')
        (folder / "items.jsonl").write_text("".join(json.dumps(
            {"id": f"numbat-{n}", "text": f"Tell a tale of the quokka {n}."}) + "\n" for n in range(3)))
        models = []
        for name in ("one", "two"):
            path = self.directory / f"{name}.jsonl"
            path.write_text("".join(json.dumps({"prompt": f"Tell a tale of the quokka {n}.", "answers": [
                f"The wallaby of {name}, {n}."]}) + "\n" for n in range(3)))
            models += ["--model", f"{name}=replay@{path}"]
        judge = self.sim("--seed", 3)
        self.bench("bench", "run", "--suite", folder, *models, "--judge",
                   f"judge=anthropic@{judge.url}#PARLEY_TEST_KEY", "-o", self.out)
        published, salts = self.publish()
        for path in published.rglob("*"):
            if path.is_file():
                for secret in (b"wallaby", b"quokka", b"numbat"):
                    self.assertNotIn(secret, path.read_bytes(), path)
        for arguments, phrase in (((), "scores of withheld answers"),
                                  (("--salts", salts), "12 verdicts read again from the judges' replies")):
            done = run("verify", published, *arguments)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn(phrase, done.stdout)
        lines = salts.read_text().splitlines(keepends=True)
        for start in range(len(lines)):
            part = self.directory / "part.salts"
            part.write_text("".join(lines[start::3]))
            done = run("verify", published, "--salts", part)
            self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    main()
