"""What the end-to-end tests share: stand-ins, gateways and clients as real processes and sockets.

A test is a `unittest` method of a class derived from `Case`. Everything it starts lives in a
temporary directory of its own on free ports of 127.0.0.1 and ends, by process id, with the test.
`PARLEY` names the binary, `PARLEY_SOURCE` the source tree; meson sets both. Standard library only.

Run one file:        PARLEY=build/src/cmd/parley python3 test/script/test_gateway.py
Run one test of it:  … python3 test/script/test_gateway.py Plain.test_digests
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

SOURCE = Path(os.environ.get("PARLEY_SOURCE", Path(__file__).resolve().parents[2]))
PARLEY = os.environ.get("PARLEY", str(SOURCE / "build" / "src" / "cmd" / "parley"))
SANITIZED = "PARLEY_SANITIZED" in os.environ  # a sanitizer's build, where everything takes several times as long
SKIPPED = 77  # meson's exit status of a skipped test

# How long anything may take that should take next to nothing: generous, because timings decide no
# test and a sanitizer build on a busy machine is slow.
PATIENCE = 30.0


def main():
    """Runs the file's tests; a file all of whose tests are skipped counts as skipped."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun and len(result.skipped) == result.testsRun else 0)


def wait_until(condition, what, seconds=PATIENCE):
    """Waits for `condition()` to be true; returns its value."""
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(pause)
        pause = min(1.5 * pause, 0.02)


def sha256(*pieces):
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def day(offset):
    """The UTC day `offset` days from now, as access.yaml writes it."""
    return (datetime.now(timezone.utc) + timedelta(days=offset)).strftime("%Y-%m-%d")


# ---- processes ----


class Process:
    """A child process with its output in files; ended by its id, whatever happens."""

    def __init__(self, directory, name, arguments, environment=None):
        self.name = name
        self.stdout_path = Path(directory) / f"{name}.stdout"
        self.stderr_path = Path(directory) / f"{name}.stderr"
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.child = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**os.environ, **(environment or {})})

    @property
    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    @property
    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def wait_for_line(self, pattern):
        """The match of `pattern` in the output; fails if the process ends without it."""

        def found():
            match = re.search(pattern, self.stdout, re.MULTILINE)
            if not match and self.child.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.child.returncode}: {self.stderr}")
            return match

        return wait_until(found, f"{self.name} to print {pattern}")

    def send(self, number):
        self.child.send_signal(number)

    def wait(self, seconds=PATIENCE):
        return self.child.wait(seconds)

    def end(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Ends the process and returns its exit status."""
        if self.child.poll() is None:
            self.child.send_signal(number)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


def run(*arguments, timeout=120, env=None, **options):
    """Runs `parley ARGUMENTS` to its end: returncode, stdout, stderr. The address sanitizer's search for
    leaks at the end is half of what a start costs, and tests start thousands: it is left to what keeps
    running (`Process`) and to the unit tests."""
    env = dict(os.environ if env is None else env)
    env["ASAN_OPTIONS"] = ":".join(filter(None, (env.get("ASAN_OPTIONS"), "detect_leaks=0")))
    return subprocess.run([PARLEY, *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, check=False, env=env, **options)


def on_the_page(bundle):
    """What verify.html says of a bundle, {verdict, headline, results}; None where there is no node."""
    node = shutil.which("node")
    if not node:
        return None
    done = subprocess.run([node, SOURCE / "test" / "script" / "verify_page.mjs", bundle], check=True,
                          capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout)


class Sim(Process):
    """A stand-in model API."""

    def __init__(self, directory, name, *options):
        super().__init__(directory, name, [PARLEY, "sim", "--listen", "127.0.0.1:0",
                                           *map(str, options)])
        self.port = int(self.wait_for_line(r"on http://127\.0\.0\.1:(\d+)").group(1))
        self.url = f"http://127.0.0.1:{self.port}"

    def end_and_count(self):
        """Ends it and tells how many requests for an answer reached it."""
        self.end()
        return int(re.search(r"^(\d+) requests:", self.stdout, re.MULTILINE).group(1))


# ---- answers ----


class Answer:
    """What a client got: status, header fields by lower-case name, body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def message(self):
        """The sentence of an error, in either dialect's shape or RFC 9457's."""
        value = self.json()
        error = value.get("error")
        return error["message"] if isinstance(error, dict) else value.get("detail", value.get("title"))

    def events(self):
        """The server-sent events as (event name or None, data text)."""
        return parse_events(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:600]!r}"


def parse_events(text):
    events = []
    for block in text.decode().replace("\r\n", "\n").split("\n\n"):
        name, data = None, []
        for line in block.split("\n"):
            if line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())
        if data:
            events.append((name, "\n".join(data)))
    return events


class Stream:
    """An answer that is still coming: read as much as wanted, then go on or hang up."""

    def __init__(self, port, path, headers, body):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.connection.request("POST", path, body, headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.headers = {name.lower(): value for name, value in self.response.getheaders()}
        self.received = b""

    def read_some(self):
        piece = self.response.read1(65536)
        self.received += piece
        return piece

    def read_until(self, needle):
        while needle not in self.received:
            if not self.read_some():
                raise AssertionError(f"the stream ended without {needle!r}: {self.received[-400:]!r}")

    def rest(self):
        """Reads to the end; returns everything since the start."""
        while self.read_some():
            pass
        self.close()
        return self.received

    def close(self):
        """Hangs up at once, also in the middle."""
        self.response.close()
        self.connection.close()


def ask(port, method, path, headers=None, body=None, timeout=PATIENCE):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def send_raw(port, text, timeout=PATIENCE):
    """Sends bytes as they are and reads until the server closes; returns all it said."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(text)
        received = b""
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                raise AssertionError(f"the connection was reset after {received!r}") from None
            if not piece:
                return received
            received += piece


# ---- requests in two dialects ----


class Client:
    """Asks a gateway (or a stand-in) with a key, as an official SDK would."""

    def __init__(self, port, key):
        self.port = port
        self.key = key

    def headers(self, dialect):
        if dialect == "anthropic":
            return {"x-api-key": self.key, "anthropic-version": "2023-06-01",
                    "content-type": "application/json"}
        return {"authorization": f"Bearer {self.key}", "content-type": "application/json"}

    def ask(self, dialect, body, path=None, extra=None, timeout=PATIENCE):
        return ask(self.port, "POST", path or PATHS[dialect],
                   {**self.headers(dialect), **(extra or {})}, encode(body), timeout)

    def messages(self, prompt="Hello", **members):
        return self.ask("anthropic", anthropic(prompt, **members))

    def chat(self, prompt="Hello", **members):
        return self.ask("openai", openai(prompt, **members))

    def stream(self, dialect, prompt="Hello", **members):
        make = anthropic if dialect == "anthropic" else openai
        return Stream(self.port, PATHS[dialect], self.headers(dialect),
                      encode(make(prompt, stream=True, **members)))

    def get(self, path, dialect="openai"):
        return ask(self.port, "GET", path, self.headers(dialect))

    def post(self, path, body):
        return ask(self.port, "POST", path, self.headers("openai"), encode(body))


PATHS = {"anthropic": "/v1/messages", "openai": "/v1/chat/completions"}
DIALECTS = tuple(PATHS)


def encode(body):
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def anthropic(prompt="Hello", model="north-1", max_tokens=64, **members):
    return {"model": model, "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": prompt}], **members}


def openai(prompt="Hello", model="north-o", max_completion_tokens=64, **members):
    return {"model": model, "max_completion_tokens": max_completion_tokens,
            "messages": [{"role": "user", "content": prompt}], **members}


# ---- gateways ----

CLAUSE = "D.4a"
APPEAL = "mailto:access@northlab.example"


def grant(name, org, purposes, **members):
    """A grant of access.yaml, valid now."""
    return {"id": name, "org": org, "purposes": purposes, "models": ["north-1", "north-o"],
            "release": "V2", "valid": {"from": day(-1), "to": day(30)}, "appeal": APPEAL, **members}


def evaluation(name="eval", org="southlab", **members):
    """An evaluation grant: its requests must be leaves of registered suites."""
    return grant(name, org, ["capability_benchmark", "safety_evaluation"], **{
        "suites": {"classes": ["public", "reviewed"], "max_leaves": 5000, "samples_per_leaf": 5},
        "overrides": [CLAUSE], **members})


def product(name="prod", org="acme", **members):
    """A grant for plain use: nothing binds its requests."""
    return grant(name, org, ["product"], **members)


def access(*grants, public_suites=()):
    return {
        "orgs": [{"id": "southlab", "name": "South Lab", "rival": True},
                 {"id": "acme", "name": "Acme"}, {"id": "surfboard", "name": "Surfboard Inc"}],
        "terms": {"version": "1", "clauses": [
            {"id": CLAUSE, "kind": "prohibition",
             "text": "No use to build a competing product or train a competing model.",
             "enforced_by": ["suite.unbound"]}]},
        "public_suites": list(public_suites),
        "grants": list(grants),
    }


class Gateway:
    """A gateway in a directory: configuration, process, command line, log."""

    def __init__(self, directory, upstream, prefix=(), **config):
        self.directory = Path(directory)
        self.prefix = list(prefix)  # a command to run it under
        self.config_path = self.directory / "parley.yaml"
        self.process = None
        self.starts = 0
        done = run("init", self.directory, "--name", "northlab.example/test")
        assert done.returncode == 0, done.stderr
        self.write_config(upstream, **config)

    def write_config(self, upstream, **config):
        """parley.yaml: JSON is YAML too."""
        providers = [{"name": name, "dialect": dialect, "url": upstream, "key": "upstream-secret"}
                     for name, dialect in (("north", "anthropic"), ("north-open", "openai"))]
        models = [{"name": "north-1", "provider": "north", "upstream": "north-1-20261001",
                   "max_output": 8192},
                  {"name": "north-o", "provider": "north-open", "max_output": 8192}]
        self.config_path.write_text(json.dumps({
            "name": "northlab.example/test", "listen": "127.0.0.1:0", "admin": "127.0.0.1:0",
            "data": ".", "workers": 2, "providers": providers, "models": models, **config}))

    # -- life --

    def start(self, *options):
        self.starts += 1
        self.process = Process(self.directory, f"serve-{self.starts}",
                               [*self.prefix, PARLEY, "serve", "-c", str(self.config_path), *options])
        self.admin_port = int(self.process.wait_for_line(r"^admin on http://127\.0\.0\.1:(\d+)").group(1))
        self.port = int(self.process.wait_for_line(r"^listening on https?://127\.0\.0\.1:(\d+)").group(1))
        return self

    def stop(self):
        """SIGTERM, and the exit status."""
        return self.process.end(signal.SIGTERM) if self.process else None

    def kill(self):
        self.process.send(signal.SIGKILL)
        self.process.wait()

    # -- the operator --

    def run(self, *arguments):
        """`parley ARGUMENTS -c parley.yaml`, whatever its exit status."""
        return run(*arguments, "-c", self.config_path)

    def act(self, *arguments):
        """The same, which must succeed; returns what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"parley {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def apply(self, *grants, public_suites=()):
        path = self.directory / "access.yaml"
        path.write_text(json.dumps(access(*grants, public_suites=public_suites)))
        return self.act("apply", path)

    def key(self, name, org):
        """A new key of a grant."""
        return self.act("key", "issue", "--org", org, "--grant", name).splitlines()[-1]

    def client(self, name, org):
        return Client(self.port, self.key(name, org))

    def admin(self, path):
        token = (self.directory / "admin.token").read_text().strip()
        return ask(self.admin_port, "GET", path, {"authorization": f"Bearer {token}"})

    def use(self, name):
        """What is left of a grant's limits: {limit name: (max, remaining)}."""
        shown = json.loads(self.act("grant", "show", name))
        return {row["limit"]: (row["max"], row["remaining"]) for row in shown["use"]
                if row["of"] == "grant"}

    def metric(self, name):
        """The value of one series of /metrics, named with its labels."""
        for line in ask(self.admin_port, "GET", "/metrics").body.decode().splitlines():
            if line.rpartition(" ")[0] == name:
                return int(line.rpartition(" ")[2])
        raise AssertionError(f"no series {name}")

    def whereabouts(self):
        """What each thread waits in, and what the logs have done: for a test that waits in vain."""
        lines = []
        for task in sorted(Path(f"/proc/{self.process.child.pid}/task").iterdir(), key=lambda one: int(one.name)):
            read = {name: (task / name).read_text().strip() for name in ("comm", "wchan", "syscall")}
            lines.append(f"thread {read['comm']}: {read['wchan']}, system call {read['syscall'].split(' ')[0]}")
        told = ask(self.admin_port, "GET", "/metrics").body.decode().splitlines()
        wanted = ("parley_log_", "parley_in_flight", "parley_client", "parley_upstream_connections")
        lines += [line for line in told if line.startswith(wanted) and "_bucket" not in line]
        return "\n".join(lines)

    # -- the log --

    def checkpoint_size(self, log):
        answer = self.admin(f"/log/{log}/checkpoint")
        return int(answer.body.split(b"\n")[1]) if answer.status == 200 else 0

    def records(self, log="evaluation", complete=True):
        """The records of a log in order, once its checkpoint covers all that is durable."""
        if complete:
            series = f'parley_log_records{{log="{log}"}}'
            wait_until(lambda: self.checkpoint_size(log) >= self.metric(series),
                       "a checkpoint over every record")
        return [json.loads(line) for line in self.entries(log)]

    def entries(self, log="evaluation"):
        """The exact lines of a log, from its entry tiles (C2SP tlog-tiles)."""
        size = self.checkpoint_size(log)
        lines = []
        for number in range((size + 255) // 256):
            width = min(256, size - number * 256)
            partial = f".p/{width}" if width < 256 else ""
            answer = self.admin(f"/log/{log}/tile/entries/{tile_path(number)}{partial}")
            assert answer.status == 200, answer
            lines += split_entries(answer.body)
        return lines

    def settled(self, record, log=None):
        """The settle record of an admit id, once it is in a log."""

        def find():
            for name in (log,) if log else ("evaluation", "usage"):
                for entry in self.records(name):
                    if entry.get("admit") == record:
                        return entry
            return None

        return wait_until(find, f"the settle record of {record}")


def tile_path(number):
    """A tile's number as C2SP tlog-tiles writes it: 1234067 is x001/x234/067."""
    digits = f"{number % 1000:03d}"
    while number >= 1000:
        number //= 1000
        digits = f"x{number % 1000:03d}/{digits}"
    return digits


def split_entries(data):
    """An entry bundle: each entry after its size in two bytes."""
    entries = []
    while data:
        size = struct.unpack(">H", data[:2])[0]
        entries.append(data[2:2 + size])
        data = data[2 + size:]
    return entries


# ---- tests ----


class Case(unittest.TestCase):
    """A test with a directory of its own, whose processes end with it."""

    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(prefix="parley-test-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.sim_count = 0

    def sim(self, *options):
        self.sim_count += 1
        sim = Sim(self.directory, f"sim-{self.sim_count}", *options)
        self.addCleanup(sim.end)
        return sim

    def gateway(self, upstream, *grants, name="gateway", origin=None, prefix=(), public_suites=(),
                **config):
        """A running gateway in front of `upstream` (a Sim or a URL) with these grants applied;
        `origin` names its log."""
        if origin:
            config["name"] = origin
        url = upstream.url if isinstance(upstream, Sim) else upstream
        gateway = Gateway(self.directory / name, url, prefix, **config)
        self.addCleanup(self.check_end, gateway)
        gateway.start()
        if grants:
            gateway.apply(*grants, public_suites=public_suites)
        return gateway

    def check_end(self, gateway):
        """A gateway that still runs ends in order and without a sanitizer's report."""
        running = gateway.process and gateway.process.child.poll() is None
        status = gateway.stop()
        errors = gateway.process.stderr if gateway.process else ""
        self.assertIn(status, (None, 0, 1, 2, 3, -signal.SIGKILL), f"it crashed: {errors}")
        self.assertNotIn("Sanitizer", errors)
        self.assertNotIn("runtime error", errors)
        if running:
            self.assertEqual(status, 0, errors)

    # -- what every refusal must be --

    def assert_refused(self, answer, status, rule, dialect, retry=False):
        """A refusal in the dialect's own shape, which names its rule and whether to try again."""
        self.assertEqual(answer.status, status, answer)
        self.assertIn(f"(rule {rule}", answer.message())
        self.assert_error_shape(answer, dialect)
        name = "request-id" if dialect == "anthropic" else "x-request-id"
        self.assertEqual(answer.headers.get(name), answer.headers.get("parley-record"))
        if retry:
            self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)
            self.assertNotIn("x-should-retry", answer.headers)
        else:
            self.assertEqual(answer.headers.get("x-should-retry"), "false", answer.headers)

    def assert_error_shape(self, answer, dialect):
        body = answer.json()
        self.assertEqual(answer.headers["content-type"], "application/json")
        if dialect == "anthropic":
            self.assertEqual(body["type"], "error")
            self.assertEqual(body["error"]["type"], ANTHROPIC_ERRORS[answer.status])
        else:
            self.assertEqual({"message", "type", "param", "code"} - set(body["error"]), set())

    def assert_quiet(self, gateway, *names):
        """Nothing is held any more: no request in flight, every slot back."""
        wait_until(lambda: gateway.metric("parley_in_flight") == 0, "requests to be settled")
        self.assertEqual(gateway.metric("parley_streams"), 0)
        for name in names:
            most, left = gateway.use(name)["concurrency"]
            self.assertEqual(left, most, "a concurrency slot leaked")


ANTHROPIC_ERRORS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
    404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error",
    502: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}


# ---- suites (docs/formats/leaves.md, computed here a second time) ----


def seal(bundle):
    """A manifest and a statement over what a bundle holds, as a publisher could write them."""
    sealed = ("manifest.json", "statement.dsse.json")
    files = [(str(path.relative_to(bundle)), path.read_bytes()) for path in bundle.rglob("*")
             if path.is_file() and path.name not in sealed]
    form = json.loads((bundle / "manifest.json").read_text())["format"]
    manifest = json.dumps({"count": len(files), "files": [
        {"path": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in sorted(files, key=lambda pair: pair[0].encode())],
        "format": form}, separators=(",", ":"), sort_keys=True) + "\n"
    (bundle / "manifest.json").write_text(manifest)
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [
        {"name": "manifest.json",
         "digest": {"sha256": hashlib.sha256(manifest.encode()).hexdigest()}}],
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {"result": "PASSED", "configuration": []}}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    (bundle / "statement.dsse.json").write_text(json.dumps(
        {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []}))


def alter_bundle(bundle, copy, name, alter):
    """A copy of the bundle, sealed again, in which `alter` changed the lines of a file, or gave others."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bundle, copy)
    text = (copy / name).read_text()
    lines = [json.loads(text)] if name == "summary.json" else [json.loads(line) for line in text.splitlines()]
    lines = alter(lines) or lines
    (copy / name).write_text("".join(canonical(line).decode() + "\n" for line in lines))
    seal(copy)


def canonical(value):
    """RFC 8785 of ASCII-keyed values without fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def words_of(prompt):
    """The canonical words of one user message, or words that are written out."""
    if isinstance(prompt, dict):
        return canonical(prompt)
    return canonical({"messages": [{"role": "user", "parts": [{"type": "text", "text": prompt}]}]})


def leaf_of(index, prompt, grading, seed=bytes(32)):
    salt = hmac.new(seed, str(index).encode(), hashlib.sha256).digest()[:16]
    return (hashlib.sha256(salt + words_of(prompt)).digest() +
            hashlib.sha256(salt + canonical(grading)).digest())


def tree_root(hashes):
    """The tree head of RFC 9162 over leaf hashes."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    middle = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(hashes[:middle]) + tree_root(hashes[middle:])).digest()


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def said(role, text):
    """A message of words."""
    return {"role": role, "parts": [{"type": "text", "text": text}]}


ANSWERED = {"role": "assistant", "parts": [{"type": "answer"}]}


def conversation(*turns):
    """Words that ask turn after turn, each going on from the answers served before."""
    messages = []
    for turn in turns:
        messages += [ANSWERED] if messages else []
        messages.append(said("user", turn))
    return {"messages": messages}


def judged(*pieces):
    """A judge's prompt: texts, and the numbers of the leaves whose answers stand between them."""
    return {"messages": [{"role": "user", "parts": [{"type": "template", "pieces": [
        {"leaf": piece} if isinstance(piece, int) else piece for piece in pieces]}]}]}


def suite_of(prompts, name="foxes", max_output=64, samples=1, **members):
    """The body of an open registration, with the root of its leaves."""
    gradings = [{"id": str(index), "scorer": {"kind": "contains"}, "target": "fox"}
                for index in range(len(prompts))]
    leaves = [leaf_of(index, prompt, gradings[index]) for index, prompt in enumerate(prompts)]
    return {"name": name, "version": 1, "purpose": "capability_benchmark",
            "root": tree_root([leaf_hash(leaf) for leaf in leaves]).hex(),
            "settings": {"max_output": max_output, "temperature": 0}, "samples": samples,
            "items": [{"prompt": prompt, "grading": grading}
                      for prompt, grading in zip(prompts, gradings)], **members}


class SealedSuite:
    """A sealed registration (`body`) and the fields that prove its leaves."""

    def __init__(self, prompts, seed, name="sealed", max_output=64, samples=1, gradings=None,
                 **members):
        self.seed = seed
        self.gradings = gradings or [
            {"id": str(index), "scorer": {"kind": "contains"}, "target": "fox"}
            for index in range(len(prompts))]
        self.hashes = [leaf_hash(leaf_of(index, prompt, self.gradings[index], seed))
                       for index, prompt in enumerate(prompts)]
        self.body = {"name": name, "version": 1, "purpose": "capability_benchmark",
                     "root": tree_root(self.hashes).hex(), "leaves": len(prompts),
                     "settings": {"max_output": max_output, "temperature": 0}, "samples": samples,
                     **members}

    def field(self, suite, index):
        """`parley-leaf` of a leaf."""
        salt = hmac.new(self.seed, str(index).encode(), hashlib.sha256).digest()[:16]
        grading = hashlib.sha256(salt + canonical(self.gradings[index])).digest()
        parts = (salt, grading, b"".join(inclusion_proof(self.hashes, index)))
        return ";".join([suite, str(index), *(base64.b64encode(part).decode() for part in parts)])


def inclusion_proof(hashes, index):
    """The inclusion proof of RFC 9162, section 2.1.3.1, from the leaf upwards."""
    if len(hashes) < 2:
        return []
    middle = 1 << (len(hashes) - 1).bit_length() - 1
    if index < middle:
        return [*inclusion_proof(hashes[:middle], index), tree_root(hashes[middle:])]
    return [*inclusion_proof(hashes[middle:], index - middle), tree_root(hashes[:middle])]


def public(*suites):
    """The rows of public_suites for these registrations."""
    return [{"name": suite["name"], "root": suite["root"]} for suite in suites]
