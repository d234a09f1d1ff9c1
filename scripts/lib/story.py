"""The demonstration that scripts/demo runs: two labs, a grant each way, and every promise checked.

Usage: story.py PARLEY [--keep]

The models are stand-ins that read their answers from files (demo/personas/): nothing here says
anything about any real model. Each step prints the command it runs, so that it can be repeated by
hand, and ends the demonstration with exit status 1 if what it shows is not as promised.
"""

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("PARLEY_DEMO_OUT", SOURCE / "demo" / "out"))
SUITES = ("coding", "writing", "safety")
REASONING, REASONING_TOKENS = "Simulated reasoning: ", 24
CLAUSE = "D.4a"
COLOUR = sys.stdout.isatty()


# ---- telling ----


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def step(title):
    print(f"\n{paint('1', title)}")


def show(text, indent="    "):
    for line in text.rstrip().splitlines():
        print(indent + line)


def held(what):
    """Says what was promised and has been checked."""
    print(f"  {paint('32', '✓')} {what}")


class Broken(Exception):
    """Something is not as promised."""


def check(condition, promise, found=""):
    if not condition:
        raise Broken(f"not as promised: {promise}\n{found}".rstrip())


# ---- processes ----


class Story:
    def __init__(self, parley):
        self.parley = str(Path(parley).resolve())
        self.children = []

    def spawn(self, name, *arguments, pattern, environment=None):
        """Starts a process that stays; returns it and the address that it prints."""
        log = OUT / "logs" / f"{name}.log"
        with open(log, "wb") as out:
            # A session of its own: Ctrl-C ends the story, which then ends the child.
            child = subprocess.Popen([self.parley, *map(str, arguments)], stdout=out, stderr=out,
                                     stdin=subprocess.DEVNULL, start_new_session=True,
                                     env={**os.environ, **(environment or {})})
        self.children.append(child)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and child.poll() is None:
            match = re.search(pattern, log.read_text(errors="replace"), re.MULTILINE)
            if match:
                return child, match.group(1)
            time.sleep(0.02)
        raise Broken(f"{name} did not start: {log.read_text(errors='replace')}")

    def run(self, *arguments, environment=None, status=0, said=True):
        """Runs `parley ARGUMENTS` to its end; its exit status must be `status`."""
        words = [str(word) for word in arguments]
        if said:
            print(paint("36", "  $ parley " + " ".join(short(word) for word in words)))
        done = subprocess.run([self.parley, *words], capture_output=True, text=True, cwd=SOURCE,
                              check=False, timeout=150, env={**os.environ, **(environment or {})})
        check(done.returncode == status, f"parley {words[0]} exits {status}",
              f"it exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def end(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in reversed(self.children):
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
        self.children = []


def short(word):
    """A path below the source tree, as one would type it there."""
    return word.replace(str(SOURCE) + "/", "")


# ---- the labs ----


class Model:
    """A stand-in for a model API."""

    def __init__(self, story, name, *options):
        self.story, self.name, self.options = story, name, options
        self.start("127.0.0.1:0")

    def start(self, listen, *more):
        self.child, address = self.story.spawn(
            self.name, "sim", "--listen", listen, "--model", self.name, *self.options, *more,
            pattern=r"^simulated model API on (http://\S+)")
        self.url = address

    def slow_down(self, tokens_per_second):
        """Starts it anew at the same address, streaming at the pace of a real model."""
        self.child.terminate()
        self.child.wait(15)
        self.story.children.remove(self.child)
        self.start(self.url.removeprefix("http://"), "--tokens-per-second", tokens_per_second)


class Lab:
    """A lab: its model, and its gateway, which lets the other lab in as agreed."""

    def __init__(self, story, name, model, dialect, rival):
        self.story, self.name, self.model, self.dialect = story, name, model, dialect
        self.rival, self.grant = rival, f"{rival}-eval-1"
        self.sealed = f"{rival}-sealed-1"  # verdicts only
        self.final = f"{rival}-final-1"  # answers without reasoning
        self.folder = OUT / name
        self.config = self.folder / "parley.yaml"
        self.witnesses = []
        story.run("init", self.folder, "--name", f"{name}.example/parley", said=False)
        self.configure()
        self.start()

    def start(self):
        self.child, self.url = self.story.spawn(
            self.name, "serve", "-c", self.config, environment=self.secrets(),
            pattern=r"^listening on (http://\S+)")

    def be_witnessed(self, key, url):
        """From now on its log's checkpoints go to a witness; a restart takes that up."""
        self.witnesses.append({"key": key, "url": url})
        self.configure()
        self.child.terminate()
        check(self.child.wait(30) == 0, f"{self.name}'s gateway ends in order")
        self.story.children.remove(self.child)
        self.start()

    def secrets(self):
        return {f"{self.name.upper()}_API_KEY": "simulated"}

    def configure(self):
        """JSON is YAML too. Port 0: any that is free."""
        self.config.write_text(json.dumps({
            "name": f"{self.name}.example/parley", "listen": "127.0.0.1:0", "data": ".",
            "providers": [{"name": "own", "dialect": self.dialect, "url": self.model.url,
                           "key": f"${{{self.name.upper()}_API_KEY}}"}],
            "models": [{"name": self.model.name, "provider": "own", "max_output": 4096}],
            "grade": "spawn",
            **({"log": {"witnesses": self.witnesses}} if self.witnesses else {}),
        }, indent=2) + "\n")

    def write_access(self, roots, *grants):
        (self.folder / "access.yaml").write_text(json.dumps({
            "orgs": [{"id": self.rival, "name": self.rival.capitalize(), "rival": True}],
            "terms": {"version": "2026-11", "clauses": [{
                "id": CLAUSE, "kind": "prohibition",
                "text": "No use to build a competing product or train a competing model.",
                "enforced_by": ["suite.unbound"]}]},
            "public_suites": [{"name": name, "root": root} for name, root in roots.items()],
            "grants": [self.terms_of(grant) for grant in grants or (self.grant,)],
        }, indent=2) + "\n")

    def terms_of(self, grant):
        return {"id": grant, "org": self.rival, "team": "evals",
                "purposes": ["capability_benchmark", "safety_evaluation"],
                "models": [self.model.name],
                "suites": {"classes": ["public", "reviewed"], "max_leaves": 5000,
                           "samples_per_leaf": 5},
                "release": {self.sealed: "V0", self.final: "V1"}.get(grant, "V2"),
                **({"openings": 0} if grant == self.sealed else {}),
                "limits": {"rpm": 6000, "input_tpm": 4000000, "output_tpm": 4000000,
                           "concurrency": 64, "tokens_per_day": 20000000},
                "valid": {"from": day(0), "to": day(60)}, "overrides": [CLAUSE],
                "appeal": f"mailto:access@{self.name}.example"}

    def let_in(self, roots, *grants):
        self.write_access(roots, *grants)
        return self.story.run("apply", self.folder / "access.yaml", "-c", self.config)

    def issue_key(self, grant=None):
        return self.story.run("key", "issue", "--org", self.rival, "--grant", grant or self.grant,
                              "-c", self.config).split()[-1]

    def vkey(self):
        """The public key of the log, in a file for `parley verify --key`."""
        path = OUT / f"{self.name}.vkey"
        path.write_text(fetch(self.url + "/log/vkey").decode())
        return path


def day(offset):
    return (datetime.now(timezone.utc) + timedelta(days=offset)).strftime("%Y-%m-%d")


def fetch(url):
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse()
    text = answer.read()
    check(answer.status == 200, f"GET {url} answers 200", text.decode(errors="replace"))
    return text


# ---- steps ----


def start_models(story):
    step("1. Three simulated models: one for each lab, and a judge")
    personas = SOURCE / "demo" / "personas"
    north = Model(story, "north-1", "--persona", personas / "north-1.jsonl", "--reasoning-tokens",
                  REASONING_TOKENS)
    south = Model(story, "south-1", "--persona", personas / "south-1.jsonl")
    judge = Model(story, "judge-1", "--judge")
    for model in (north, south, judge):
        print(f"  {model.name}: parley sim at {model.url}")
    print(f"  north-1 shows up to {REASONING_TOKENS} tokens of simulated reasoning before each answer")
    held("all answers come from files or a fixed rule: SIMULATED MODELS, no real ones")
    return north, south, judge


def suite_folder(name):
    return OUT / "suites" / name


def take_suites():
    """Of Parley's own suites, the items that the stand-in models have answers to."""
    answered = [json.loads(line)["prompt"] for line in (SOURCE / "demo" / "personas" / "north-1.jsonl")
                .read_text().splitlines()[1:]]
    for name in SUITES:
        items = (SOURCE / "suites" / name / "items.jsonl").read_text().splitlines(keepends=True)
        taken = [item for item in items
                 if any(prompt.startswith(json.loads(item)["prompt"]) for prompt in answered)]
        check(taken, f"the stand-in models know items of {name}")
        suite_folder(name).mkdir(parents=True)
        (suite_folder(name) / "items.jsonl").write_text("".join(taken))
        settings = (SOURCE / "suites" / name / "suite.yaml").read_text().splitlines(keepends=True)
        # The stand-ins know no twins, and a suite without any must not name the field.
        (suite_folder(name) / "suite.yaml").write_text("".join(
            line for line in settings if not line.startswith("twins:")))
        print(f"  {name}: {len(taken)} of the {len(items)} items of suites/{name}")


def witness(story, host, by):
    """`by` runs a witness that sees how the log of `host` grows: sizes and root hashes, no record."""
    folder = OUT / by.name / "witness"
    folder.mkdir()
    story.run("keygen", "-o", folder / "witness.key", said=False)
    config = folder / "witness.yaml"
    config.write_text(json.dumps({"name": f"{by.name}.example/witness", "key": "witness.key",
                                  "listen": "127.0.0.1:0",
                                  "logs": [host.vkey().read_text().strip()]}, indent=2) + "\n")
    key = story.run("witness", "-c", config, "--vkey", said=False).strip()
    _, url = story.spawn(f"{by.name}-witness", "witness", "-c", config,
                         pattern=r"^witness \S+ on (http://[^,]+),")
    host.be_witnessed(key, url)
    print(f"  {by.name} runs a witness ({url}) that cosigns {host.name}'s checkpoints")
    return key


def write_policy(host, *witnesses):
    """What a reader trusts (C2SP tlog-policy): a log, and all of these witnesses of it."""
    names = [f"w{number}" for number in range(len(witnesses))]
    path = OUT / f"{host.name}-{len(witnesses)}.policy"
    path.write_text(f"log {host.vkey().read_text().strip()}\n" +
                    "".join(f"witness {name} {key}\n" for name, key in zip(names, witnesses)) +
                    f"group all {len(names)} {' '.join(names)}\nquorum all\n")
    return path


def open_labs(story, north_model, south_model):
    step("2. Two gateways, a grant each way, and each lab witnesses the other's log")
    north = Lab(story, "northlab", north_model, "anthropic", "southlab")
    south = Lab(story, "southlab", south_model, "openai", "northlab")
    for host, by in ((north, south), (south, north)):
        host.witness = witness(story, host, by)
    take_suites()
    roots = {name: story.run("suite", "digest", suite_folder(name), said=False).strip()
             for name in SUITES}
    keys = {}
    for lab in (north, south):
        show(lab.let_in(roots))
        keys[lab.rival] = lab.issue_key()
        print(f"  {lab.name} (gateway {lab.url}) lets {lab.rival} ask {lab.model.name}, suites only")
    held("each lab holds a key to the other's gateway, for registered suites and nothing else")
    return north, south, keys, roots


def run_bench(story, lab, host, judge, key):
    """`lab` runs the three suites on the model of `host`, through the gateway of `host`."""
    out = OUT / f"{lab.name}-on-{host.model.name}"
    suites = [word for name in SUITES for word in ("--suite", suite_folder(name))]
    printed = story.run(
        "bench", "run", *suites,
        "--model", f"{host.model.name}={host.dialect}@{host.url}#PARLEY_KEY",
        "--baseline", f"{lab.model.name}={lab.dialect}@{lab.model.url}#OWN_KEY",
        "--judge", f"judge-1=openai@{judge.url}#OWN_KEY", "-o", out,
        environment={"PARLEY_KEY": key, "OWN_KEY": "simulated"})
    show(printed)
    results = json.loads((out / "summary.json").read_text())["results"]
    suites_seen = {row["suite"] for row in results if row["model"] == host.model.name}
    check(len(suites_seen) == len(SUITES), "there are results of three suites", str(results))
    check(all(row["low"] <= row["value"] <= row["high"] for row in results),
          "every figure lies in its interval", str(results))
    check(sum(row["failed"] for row in results) == 0, "no sample failed", str(results))
    check((out / "report.html").stat().st_size > 10000, "there is a report")
    return out, results


def bench_both(story, north, south, judge, keys):
    step("3. Each lab runs three suites on the other's model, through the other's gateway")
    by_south, north_scores = run_bench(story, south, north, judge, keys["southlab"])
    by_north, south_scores = run_bench(story, north, south, judge, keys["northlab"])
    print_scores({"north-1": north_scores, "south-1": south_scores})
    held("every sample has an outcome, and every figure a 95 % interval")
    return by_south, by_north, north_scores


def print_scores(scores):
    """One line for each figure, one column for each model tested."""
    figures = (("coding", "pass@1"), ("writing", "win_rate"), ("safety", "accuracy"),
               ("safety", "over_refusal_rate"), ("safety", "missed_refusal_rate"))
    print(f"\n  {'SIMULATED MODELS':34}" + "".join(f"{model:>28}" for model in scores))
    for suite, metric in figures:
        cells = []
        for model, results in scores.items():
            row = next(row for row in results if row["suite"].endswith(suite) and
                       row["metric"] == metric and row["model"] == model)
            cells.append(f"{100 * row['value']:.1f} %  [{100 * row['low']:.1f}, "
                         f"{100 * row['high']:.1f}]")
        print(f"  {suite + ' ' + metric:34}" + "".join(f"{cell:>28}" for cell in cells))
    print()


def verify_both(story, runs):
    step("4. Anybody can check the published bundles, with the network off")
    for out, host in runs:
        printed = story.run("verify", out / "bundle", "--policy", write_policy(host, host.witness))
        headline = printed.splitlines()[0]
        show(headline)
        check(headline.startswith(f"VOUCHED by {host.name}.example/parley") and
              f"{host.rival}.example/witness" in headline,
              f"{host.name} and a witness vouch for the bundle", printed)
        held(f"{host.name}'s log vouches for every answer of {host.model.name}, and {host.rival} has seen it grow")


def run_sealed(story, north, roots, open_scores):
    step("5. The safety suite again, at release V0: verdicts arrive, the answers never cross the wire")
    show(north.let_in(roots, north.grant, north.sealed))
    key = north.issue_key(north.sealed)
    out = OUT / "southlab-on-north-1-sealed"
    show(story.run("bench", "run", "--suite", suite_folder("safety"),
                   "--model", f"{north.model.name}={north.dialect}@{north.url}#PARLEY_KEY", "-o", out,
                   environment={"PARLEY_KEY": key}))
    answers = {answer for line in (SOURCE / "demo" / "personas" / "north-1.jsonl").read_text()
               .splitlines()[1:] for answer in json.loads(line)["answers"] if len(answer) > 40}
    found = [path for path in out.rglob("*") if path.is_file()
             for text in [path.read_text(errors="replace")]
             if any(answer in text for answer in answers)]
    check(not found, "no answer is in anything that southlab has", str(found))
    results = json.loads((out / "summary.json").read_text())["results"]
    sealed = next(row["value"] for row in results if row["metric"] == "accuracy")
    seen = next(row["value"] for row in open_scores if row["metric"] == "accuracy" and
                row["suite"].endswith("safety") and row["model"] == north.model.name)
    check(sealed == seen, "the sealed score is the open one", f"{sealed}, {seen}")
    verdict = next(json.loads(json.loads(line)["verdict"]) for line in
                   (out / "bundle" / "transcripts.jsonl").read_text().splitlines())
    print("  one of them: " + json.dumps({name: verdict[name] for name in (
        "verdict", "score", "answer", "usage")})[:150] + " …")
    printed = story.run("verify", out / "bundle", "--key", north.vkey(), "--require", "vouched")
    show("\n".join(line for line in printed.splitlines() if "VOUCHED" in line or "sealed" in line))
    held(f"the same {100 * sealed:.1f} % (SIMULATED MODEL), judged at northlab by parley grade, signed there, "
         "and verified here")


def bodies_of(out):
    """What came back for each item of the safety suite, as the harness kept it."""
    lines = [json.loads(line) for line in
             (out / "bundle" / "transcripts.jsonl").read_text().splitlines()]
    return {line["item"]: line["response_body"] for line in lines
            if line["suite"].endswith("safety") and line["model"] == "north-1"}


def run_final(story, north, roots, by_south):
    step("6. The same requests under V2 and under V1: the answer stays, its reasoning is gone")
    show(north.let_in(roots, north.grant, north.sealed, north.final))
    key = north.issue_key(north.final)
    out = OUT / "southlab-on-north-1-final"
    story.run("bench", "run", "--suite", suite_folder("safety"),
              "--model", f"{north.model.name}={north.dialect}@{north.url}#PARLEY_KEY", "-o", out,
              environment={"PARLEY_KEY": key})
    full, final = bodies_of(by_south), bodies_of(out)
    item = next(item for item, body in full.items() if REASONING in body)
    for release, body in (("V2", full[item]), ("V1", final[item])):
        blocks = json.loads(body)["content"]
        print(f"  item {item} under {release}: " + " + ".join(
            f'{block["type"]} "{(block.get("thinking") or block.get("text"))[:34]}…"'
            for block in blocks))
    reasoned = sum(REASONING in body for body in full.values())
    check(reasoned > len(full) / 2, "most answers under V2 have reasoning", str(reasoned))
    found = [path for path in out.rglob("*") if path.is_file()
             if REASONING in path.read_text(errors="replace")]
    check(not found, "no reasoning is in anything that southlab has of the run at V1", str(found))
    texts = [{name: "".join(block.get("text", "") for block in json.loads(body)["content"])
              for name, body in bodies.items()} for bodies in (full, final)]
    check(texts[0] == texts[1], "the answers are the same", item)
    printed = story.run("verify", out / "bundle", "--key", north.vkey(), "--require", "vouched")
    show(printed.splitlines()[0])
    held(f"{reasoned} of {len(full)} answers came with simulated reasoning at V2, none at V1, and every "
         "answer is the same")


def find_lies(story, bundle, key):
    step("7. Lies are found")
    altered = copy_bundle(bundle, "one-byte-altered")
    alter_byte(altered / "transcripts.jsonl")
    expect_false(story, altered, key, "one byte of an answer altered")
    mended = copy_bundle(bundle, "one-byte-altered-and-manifest-mended")
    alter_byte(mended / "transcripts.jsonl")
    mend(mended)
    expect_false(story, mended, key, "the same, and the bundle's own digests made to fit")
    dropped = copy_bundle(bundle, "one-item-dropped")
    drop_item(dropped, "coding-42")
    mend(dropped)
    expect_false(story, dropped, key, "one item dropped, and the bundle's own digests made to fit")


def expect_false(story, bundle, key, lie):
    printed = story.run("verify", bundle, "--key", key, status=1)
    headline = printed.splitlines()[0]
    show(headline)
    check(headline.startswith("FALSE: "), "the lie is found", printed)
    held(f"{lie}: found")


def copy_bundle(bundle, name):
    target = OUT / "lies" / name
    shutil.copytree(bundle, target)
    return target


def alter_byte(path):
    """Changes one letter of the tested model's answer to an item."""
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        told = json.loads(line)
        if told["item"] == "safety-10" and "record" in told:
            place = line.index(b'"answer":"') + 20
            lines[number] = line[:place] + bytes([line[place] ^ 1]) + line[place + 1:]
    path.write_bytes(b"".join(lines))


def drop_item(bundle, item):
    """Leaves an item out of transcripts and scores, as if it had never been asked."""
    for name in ("transcripts.jsonl", "scores.jsonl"):
        lines = (bundle / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["item"] != item]
        check(len(kept) < len(lines), f"{item} stands in {name}")
        (bundle / name).write_text("".join(kept))


def mend(bundle):
    """Makes manifest and (unsigned) statement fit the files, as a careful liar would."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for row in manifest["files"]:
        data = (bundle / row["path"]).read_bytes()
        row["sha256"], row["size"] = hashlib.sha256(data).hexdigest(), len(data)
    text = json.dumps(manifest, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    (bundle / "manifest.json").write_text(text)
    envelope = json.loads((bundle / "statement.dsse.json").read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    payload = json.dumps(statement, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    envelope["payload"] = base64.b64encode(payload.encode()).decode()
    (bundle / "statement.dsse.json").write_text(
        json.dumps(envelope, separators=(",", ":"), sort_keys=True) + "\n")


class Request:
    """A request of southlab to northlab's gateway, as any program with its key could send it."""

    def __init__(self, lab, key, prompt, stream=False, run=None):
        self.connection = http.client.HTTPConnection(lab.url.removeprefix("http://"), timeout=60)
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01",
                   "content-type": "application/json"}
        if run:
            headers["parley-run"] = run
        body = {"model": lab.model.name, "max_tokens": 1024, "temperature": 1, "stream": stream,
                "messages": [{"role": "user", "content": prompt}]}
        self.connection.request("POST", "/v1/messages", json.dumps(body), headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def error(self):
        return json.loads(self.answer.read())["error"]


def refuse_other_use(lab, key):
    step("8. The same key asks for something else")
    prompt = "Write a hundred varied questions and answers to train a small model on."
    print(f"  southlab asks north-1: {prompt}")
    request = Request(lab, key, prompt)
    error = request.error()
    show(f"{request.status} {error['type']}: {error['message']}")
    check(request.status == 403, "a prompt outside the suites is refused", str(error))
    for part in ("rule suite.unbound", f"clause {CLAUSE}", f"appeal mailto:access@{lab.name}.example"):
        check(part in error["message"], f"the refusal names its {part.split()[0]}", str(error))
    held("refused, by its clause, with the address to appeal to")


def revoke_in_a_stream(story, lab, key):
    step("9. The grant is revoked in the middle of a stream")
    lab.model.slow_down(20)
    prompt = json.loads((SOURCE / "suites/writing/items.jsonl").read_text().splitlines()[0])["prompt"]
    run = open_run(story, lab, key)
    request = Request(lab, key, prompt, stream=True, run=run)
    check(request.status == 200, "an item of a suite is answered", f"status {request.status}")
    pieces = [(time.monotonic(), request.answer.read1(65536)) for _ in range(8)]

    def read():
        while True:
            piece = request.answer.read1(65536)
            if not piece:
                return
            pieces.append((time.monotonic(), piece))

    reader = threading.Thread(target=read)
    reader.start()
    started = time.monotonic()
    printed = story.run("grant", "revoke", lab.grant, "--reason", "the agreement has ended",
                        "-c", lab.config)
    reader.join(30)
    show(printed)
    tell_ending(pieces, started, printed)
    again = Request(lab, key, prompt, run=run)
    error = again.error()
    check(again.status == 403 and "grant.revoked" in error["message"],
          "nothing more is admitted", str(error))
    held(f"the next request: {again.status} {error['message']}")


def open_run(story, lab, key):
    """A new run of the writing suite, so that its items may be asked once more."""
    suites = json.loads(story.run("suite", "list", "--json", "-c", lab.config, said=False))["suites"]
    suite = next(row["id"] for row in suites if row["name"] == "parley-writing")
    connection = http.client.HTTPConnection(lab.url.removeprefix("http://"), timeout=30)
    connection.request("POST", "/parley/v1/runs", json.dumps({"suite": suite}),
                       {"authorization": f"Bearer {key}", "content-type": "application/json"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    check(answer.status == 200, "a run can be opened", str(body))
    return body["run"]


def tell_ending(pieces, started, printed):
    text = b"".join(piece for _, piece in pieces).decode()
    last = json.loads(text.rstrip().rsplit("data: ", 1)[1])
    words = sum(len(json.loads(line[6:]).get("delta", {}).get("text", "").split())
                for line in text.splitlines() if line.startswith("data: "))
    check(last["type"] == "error" and last["error"]["type"] == "permission_error",
          "the stream ends with the native error event", text[-500:])
    check("message_stop" not in text, "the answer did not come to its end", text[-500:])
    milliseconds = 1000 * (pieces[-1][0] - started)
    show(f"after about {words} words: {last['error']['type']}: {last['error']['message']}")
    command = re.search(r"done in ([\d.]+) ms", printed).group(1)
    held(f"the stream ended {milliseconds:.1f} ms after the command was started; the gateway took "
         f"{command} ms until nothing more could be relayed")


def verify_logs(story, labs):
    step("10. The logs hold up, and more than one lab says so")
    for lab in labs:
        printed = story.run("verify", lab.folder / "log" / "evaluation", "--policy",
                            write_policy(lab, lab.witness))
        headline = printed.splitlines()[0]
        show(headline)
        check(headline.startswith(f"VOUCHED by {lab.name}.example/parley") and
              f"{lab.rival}.example/witness" in headline, "log and witness vouch", printed)
        held(f"every record of {lab.name}'s log is in its signed tree, which {lab.rival} has seen grow")
    lab = labs[0]
    printed = story.run("verify", lab.folder / "log" / "evaluation", "--policy",
                        write_policy(lab, lab.witness, labs[1].witness), status=1)
    show(printed.splitlines()[0])
    check("1 of the 2 witnesses" in printed.splitlines()[0], "one of them is missing", printed)
    held("a reader who also asks for a witness that never saw this log is told so")


def tell_where(runs):
    step("Done: everything was as promised")
    for out, host in runs:
        print(f"  Report on {host.model.name}: {short(str(out / 'report.html'))}")
    print("  Bundles to check: " + ", ".join(short(str(out / "bundle")) for out, _ in runs))
    print("  These were SIMULATED MODELS. The README's next step is the same with a real provider.")


def keep_running(story, north, south, roots):
    """Leaves everything as it is, with grants that hold."""
    step("The gateways keep running (--keep)")
    fresh = "southlab-eval-2"
    north.let_in(roots, north.grant, fresh)
    keys = {"northlab": north.issue_key(fresh), "southlab": south.issue_key()}
    for lab in (north, south):
        print(f"""
  As {lab.rival}, run a suite on {lab.model.name} through {lab.name}'s gateway:
    export PARLEY_KEY={keys[lab.name]}
    {short(story.parley)} bench run --suite {short(str(suite_folder("safety")))} \\
      --model {lab.model.name}={lab.dialect}@{lab.url}#PARLEY_KEY -o {short(str(OUT / ('mine-' + lab.model.name)))}
  As {lab.name}, look after the gateway:
    {short(story.parley)} grant list -c {short(str(lab.config))}""")
    print("\n  Stop everything:\n    kill " + " ".join(str(child.pid) for child in story.children))
    story.children = []


def tell(story, keep):
    north_model, south_model, judge = start_models(story)
    north, south, keys, roots = open_labs(story, north_model, south_model)
    by_south, by_north, scores = bench_both(story, north, south, judge, keys)
    runs = ((by_south, north), (by_north, south))
    verify_both(story, runs)
    run_sealed(story, north, roots, scores)
    run_final(story, north, roots, by_south)
    find_lies(story, by_south / "bundle", OUT / "northlab.vkey")
    refuse_other_use(north, keys["southlab"])
    revoke_in_a_stream(story, north, keys["southlab"])
    verify_logs(story, (north, south))
    tell_where(runs)
    if keep:
        keep_running(story, north, south, roots)


def main():
    if len(sys.argv) < 2 or sys.argv[2:] not in ([], ["--keep"]):
        print("usage: story.py PARLEY [--keep]", file=sys.stderr)
        return 2
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "logs").mkdir(parents=True)
    story = Story(sys.argv[1])
    print(paint("1", "Parley: two labs test each other's models (SIMULATED MODELS throughout)"))
    try:
        tell(story, len(sys.argv) == 3)
    except (Broken, OSError, subprocess.TimeoutExpired) as error:
        print(f"\nscripts/demo: {error}\nLogs: {OUT / 'logs'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        story.end()
    return 0


sys.exit(main())
