"""scripts/soak: random faults of clients, upstreams and the operator, and nothing left behind.

A gateway stands before two stand-ins (one of them fails and cuts) and a raw upstream that breaks off
in every way test_endings.py knows. Clients of Anthropic Messages, Chat Completions, Responses and
Gemini ask plainly and in streams, read slowly, hang up anywhere, send half a request, garbage, or several at once; an operator revokes and reissues
keys, suspends and restores a grant, blocks and unblocks an organisation, and reloads. After that, when
all is quiet:

  - no request in flight, no stream, no buffered byte, no client and no busy upstream connection
  - every slot and every rate is full again, and the day's budget has what the records say
  - each admit record has one settle record, and the upstreams were asked no more than was admitted
  - as many descriptors as after the warm-up, and at most 24 MiB and a tenth more memory
  - the gateway ends in order and `parley verify` holds both logs to be true
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "test" / "script"))

from parley_test import Client, Gateway, Sim, encode, product, run, wait_until  # noqa: E402
from raw_upstream import RawUpstream, answer  # noqa: E402
from test_dialects import headers  # noqa: E402
from test_endings import PROVIDERS, WAYS  # noqa: E402
import test_endings  # noqa: E402

CLIENTS = 8
MEMORY_SLACK = 24 << 20
LIMITS = {"rpm": 60000000, "input_tpm": 6000000000, "output_tpm": 6000000000, "concurrency": 64,
          "tokens_per_day": 1000000000}
GRANTS = {"prod": "acme", "side": "surfboard"}
UPSTREAMS = ("good", "bad", "raw")
FAULTS = (test_endings.resets, test_endings.closes, test_endings.closes_before_the_head,
          test_endings.sends_a_bad_chunk, test_endings.ends_without_the_last_chunk,
          test_endings.announces_more_than_it_sends, test_endings.announces_less_than_it_sends,
          test_endings.floods_with_interim_answers, test_endings.sends_garbage,
          test_endings.says_what_is_no_answer, test_endings.stalls, test_endings.says_nothing)
STATUSES = {200, 400, 401, 403, 404, 408, 413, 429, 502, 503, 504, 529}


class Soak:
    def __init__(self, directory, seed):
        self.seed = seed
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.seen = Counter()
        self.violations = []
        self.faults = random.Random(f"{seed} faults")
        self.raw = RawUpstream(self.misbehave)
        self.sims = [Sim(directory, "good", "--seed", seed, "--tokens-per-second", 2000),
                     Sim(directory, "bad", "--seed", seed, "--error-rate", 0.1, "--cut-rate", 0.2,
                         "--first-token-ms", 5)]
        urls = (self.sims[0].url, self.sims[1].url, self.raw.url)
        providers, models = [], []
        for name, url in zip(UPSTREAMS, urls):
            for way, dialect in PROVIDERS.items():
                providers.append({"name": f"{name}-{way}", "dialect": dialect, "url": url,
                                  "key": "upstream-secret"})
                models.append({"name": f"{name}-{way}", "provider": f"{name}-{way}",
                               "max_output": 8192})
        self.gate = Gateway(Path(directory) / "gateway", urls[0], providers=providers, models=models,
                            timeouts={"head": 2, "body": 2, "idle": 5, "write": 3, "stall": 1,
                                      "first_byte": 1})
        self.gate.start()
        self.gate.apply(*(product(name, org, limits=LIMITS, models=[row["name"] for row in models])
                          for name, org in GRANTS.items()))
        self.keys = {name: self.issue(name) for name in GRANTS}

    def violate(self, text):
        with self.lock:
            self.violations.append(text)

    def count(self, what):
        with self.lock:
            self.seen[what] += 1

    # -- the raw upstream --

    def misbehave(self, call):
        with self.lock:
            fault = self.faults.choice(FAULTS) if self.faults.random() < 0.7 else answer
        return fault(call)

    # -- the operator --

    def issue(self, grant):
        """A new key: its public id and itself."""
        made = json.loads(self.gate.act("key", "issue", "--org", GRANTS[grant], "--grant", grant,
                                        "--json"))
        return made["id"], made["key"]

    def status(self, secret):
        """What a key is answered to a question that costs nothing."""
        return Client(self.gate.port, secret).get("/v1/models").status

    def expect(self, secret, status, what):
        got = self.status(secret)
        if got != status:
            self.violate(f"{got} instead of {status} after {what}")

    def operate(self, draw):
        act = draw.choice(("revoke", "suspend", "block", "reload"))
        self.count(f"act {act}")
        grant = draw.choice(list(GRANTS))
        identity, secret = self.keys[grant]
        if act == "revoke":
            self.gate.act("key", "revoke", identity, "--reason", "soak")
            self.expect(secret, 401, "key revoke")
            self.keys[grant] = self.issue(grant)
            self.expect(self.keys[grant][1], 200, "key issue")
        elif act == "suspend":
            self.gate.act("grant", "suspend", grant, "--reason", "soak")
            self.expect(secret, 403, "grant suspend")
            self.gate.act("grant", "restore", grant)
            self.expect(secret, 200, "grant restore")
        elif act == "block":
            self.gate.act("org", "block", GRANTS[grant], "--reason", "soak")
            self.expect(secret, 403, "org block")
            self.gate.act("org", "unblock", GRANTS[grant])
            self.expect(secret, 200, "org unblock")
        else:
            self.gate.process.send(signal.SIGHUP)

    def operator(self):
        draw = random.Random(f"{self.seed} operator")
        while not self.over.wait(draw.uniform(0.2, 1.5)):
            try:
                self.operate(draw)
            except Exception as error:  # pylint: disable=broad-except
                self.violate(f"operator: {error!r}")

    # -- clients --

    def request(self, draw, way, stream, secret):
        api, model = WAYS[way], f"{draw.choice(UPSTREAMS)}-{way}"
        prompt = "word " * draw.choice((1, 10, 200, 20000))
        body = encode(api.body(prompt, stream, draw.choice((8, 64, 3000)), model))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers(api, secret).items())
        self.count(f"{way} {'stream' if stream else 'plain'}")
        return (f"POST {api.path(stream, model)} HTTP/1.1\r\nhost: gateway\r\n{fields}"
                f"content-length: {len(body)}\r\n\r\n").encode() + body

    def ask(self, draw):
        """One connection and what a client may do on it."""
        manner = draw.choice(("whole", "whole", "whole", "whole", "slow", "hang up", "half",
                              "garbage", "pipeline", "wrong key", "asks first"))
        self.count(manner)
        way, stream = draw.choice(list(WAYS)), draw.random() < 0.6
        secret = "plk_wrong" if manner == "wrong key" else self.keys[draw.choice(list(GRANTS))][1]
        data = self.request(draw, way, stream, secret)
        with socket.create_connection(("127.0.0.1", self.gate.port), timeout=60) as connection:
            if manner == "garbage":
                connection.sendall(draw.randbytes(draw.randrange(1, 3000)))
                self.read(connection, draw, draw.uniform(0, 0.2))
            elif manner == "half":
                connection.sendall(data[:draw.randrange(1, len(data))])
                self.over.wait(draw.uniform(0, 0.3))
            elif manner == "asks first":
                self.ask_first(connection, draw, data)
            elif manner == "pipeline":
                connection.sendall(b"".join(self.request(draw, way, draw.random() < 0.5, secret)
                                            for _ in range(draw.randrange(2, 5))))
                self.read(connection, draw, draw.uniform(0, 1))
            elif manner == "hang up":
                connection.sendall(data)
                self.read(connection, draw, draw.uniform(0, 0.1))
            else:
                connection.sendall(data)
                self.whole(connection, draw, slow=manner == "slow")

    def ask_first(self, connection, draw, data):
        """With Expect: 100-continue: sends the body if told to go on, or hangs up then."""
        head, _, body = data.partition(b"\r\n\r\n")
        connection.sendall(head + b"\r\nexpect: 100-continue\r\n\r\n")
        first = connection.recv(65536)
        if first != b"HTTP/1.1 100 Continue\r\n\r\n":
            self.count(f"told {first[9:12].decode(errors='replace')} before the body")
        elif draw.random() < 0.8:
            connection.sendall(body)
            self.whole(connection, draw, slow=False)

    @staticmethod
    def read(connection, draw, seconds):
        """Whatever comes within the time."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                if not connection.recv(draw.choice((1, 100, 65536))):
                    return
        except OSError:
            pass

    def whole(self, connection, draw, slow):
        """Reads a whole answer, whose end must come."""
        received = bytearray()
        while not self.is_whole(received):
            try:
                piece = connection.recv(200 if slow else 65536)
            except TimeoutError:
                self.violate(f"no end of an answer within 60 s: {bytes(received[-200:])!r}")
                return
            except ConnectionResetError:
                self.count("reset")  # revoked while the answer stood unread
                return
            if not piece:
                self.count("closed")
                return
            received += piece
            if slow and draw.random() < 0.2:
                time.sleep(0.01)
        status = int(received[9:12])
        self.count(f"status {status}")
        if status not in STATUSES:
            self.violate(f"an answer {status}: {bytes(received[:300])!r}")

    @staticmethod
    def is_whole(received):
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        if not _:
            return False
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line[15:])
        return body.endswith(b"0\r\n\r\n")

    def client(self, number):
        draw = random.Random(f"{self.seed} client {number}")
        while not self.over.is_set():
            try:
                self.ask(draw)
            except OSError:
                self.count("broken connection")
            except Exception as error:  # pylint: disable=broad-except
                self.violate(f"client {number}: {error!r}")

    # -- the verdict --

    def quiet(self):
        """Waits until nothing is under way; what does not come to rest is a violation."""
        for series in ("parley_in_flight", "parley_streams", "parley_client_connections",
                       "parley_buffered_bytes"):
            try:
                wait_until(lambda name=series: self.gate.metric(name) == 0, f"{series} to be 0", 30)
            except AssertionError as error:
                self.violate(str(error))
        try:
            wait_until(lambda: self.busy_upstreams() == 0, "upstream connections to be idle", 30)
        except AssertionError as error:
            self.violate(str(error))

    def busy_upstreams(self):
        return (self.gate.metric("parley_upstream_connections") -
                self.gate.metric("parley_upstream_connections_idle"))

    def holds(self):
        """Descriptors without upstream connections, and resident bytes. The least of some looks:
        the connection of the last question to the admin listener may not be closed yet."""
        pid = self.gate.process.child.pid
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        counts = []
        for _ in range(10):
            upstream = self.gate.metric("parley_upstream_connections")
            time.sleep(0.02)
            counts.append(len(os.listdir(f"/proc/{pid}/fd")) - upstream)
        return min(counts), resident * os.sysconf("SC_PAGESIZE")

    def rest(self, seconds):
        """Everybody works for so long, and stops."""
        self.over.clear()
        threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        threads.append(threading.Thread(target=self.operator))
        begun = told = time.monotonic()
        for thread in threads:
            thread.start()
        while time.monotonic() - begun < seconds and not self.violations:
            time.sleep(0.2)
            if self.gate.process.child.poll() is not None:
                self.violate("the gateway has ended: " + self.gate.process.stderr[-2000:])
            elif time.monotonic() - told >= 10:
                told = time.monotonic()
                print(f"{told - begun:5.0f} s  {self.progress()}", flush=True)
        self.over.set()
        for thread in threads:
            thread.join()

    def progress(self):
        with self.lock:
            answers = sum(count for what, count in self.seen.items() if what.startswith("status"))
            acts = sum(count for what, count in self.seen.items() if what.startswith("act"))
        return (f"{answers} answers, {acts} acts, {self.gate.metric('parley_admitted_total')} admitted, "
                f"{self.gate.metric('parley_in_flight')} in flight, "
                f"{self.holds()[1] >> 20} MiB, {len(self.violations)} violations")

    def check(self, before):
        count, memory = self.holds()
        print(f"descriptors {before[0]} -> {count}, memory {before[1] >> 20} -> {memory >> 20} MiB")
        if count > before[0]:
            self.violate(f"{count} descriptors are open, {before[0]} after the warm-up")
        if memory > before[1] * 1.1 + MEMORY_SLACK:
            self.violate(f"{memory} bytes resident, {before[1]} after the warm-up")
        admits = self.check_records()
        for name in GRANTS:
            for limit, (most, left) in self.gate.use(name).items():
                if limit != "tokens_per_day" and most != left:
                    self.violate(f"{name}: {limit} is {left} of {most} after quiet")
        status = self.gate.stop()
        if status != 0:
            self.violate(f"the gateway ended with {status}: {self.gate.process.stderr[-2000:]}")
        for log in ("evaluation", "usage"):
            done = run("verify", self.gate.directory / "log" / log)
            if done.returncode != 0:
                self.violate(f"parley verify log/{log}: {done.stdout}{done.stderr}")
        asked = self.raw.requests + sum(sim.end_and_count() for sim in self.sims)
        if asked > admits:
            self.violate(f"the upstreams were asked {asked} times, {admits} requests were admitted")

    def check_records(self):
        used, admits, settles = Counter(), [], Counter()
        endings = Counter()
        for entry in self.gate.records("usage"):
            if entry["kind"] == "admit":
                admits.append(entry["id"])
            elif entry["kind"] == "settle":
                settles[entry["admit"]] += 1
                endings[entry["ending"]] += 1
                usage = entry["usage"]
                used[entry["grant"]] += usage["input"] + usage["cache_write"] + usage["output"]
        print(f"{len(admits)} admitted: " + ", ".join(
            f"{count} {ending}" for ending, count in endings.most_common()))
        if settles != Counter(admits):
            self.violate(f"{len(admits)} admit records and {settles.total()} settle records do not "
                         "match one to one")
        for name in GRANTS:
            most, left = self.gate.use(name)["tokens_per_day"]
            if most - left != used[name]:
                self.violate(f"{name}: the day has counted {most - left} tokens, its records say "
                             f"{used[name]}")
        return len(admits)

    def end(self):
        self.gate.stop()
        self.raw.stop()
        for sim in self.sims:
            sim.end()


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    options = parser.parse_args()
    seconds = options.minutes * 60
    print(f"soaking for {seconds:.0f} s with seed {options.seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="parley-soak-")
    soak = Soak(directory, options.seed)
    try:
        soak.rest(min(seconds / 4, 60))  # the warm-up
        soak.quiet()
        before = soak.holds()
        soak.rest(seconds - min(seconds / 4, 60))
        soak.quiet()
        print("drawn: " + ", ".join(f"{count} {what}" for what, count in soak.seen.most_common()))
        if soak.gate.process.child.poll() is None:
            soak.check(before)
    finally:
        soak.end()
        if not soak.violations:
            shutil.rmtree(directory, ignore_errors=True)
    for text in soak.violations[:20]:
        print(f"VIOLATED: {text}")
    if soak.violations:
        print(f"seed {options.seed}: {len(soak.violations)} violations; left in {directory}")
        sys.exit(1)
    print(f"seed {options.seed}: nothing was left behind")


if __name__ == "__main__":
    main()
