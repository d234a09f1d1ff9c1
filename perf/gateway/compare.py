#!/usr/bin/env python3
"""CPU per request of `parley serve` beside nginx as a bare reverse proxy, in one run.

One worker each, pinned to core 0; the stand-in upstream and the load generator share core 1. Rounds
are interleaved (ABBA) and medians reported. CPU is utime + stime of every process and thread of the
proxy, the gateway's log thread included. The gateway runs purpose product with authentication, policy,
limits, digests and the strict log; nginx does none of that.

    perf/gateway/compare.py --parley build/src/cmd/parley [--rounds 7] [--seconds 8] [--bytes 1024]
"""
import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 64
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def process_tree(pid):
    pids = [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                if int(fields[1]) == pid:
                    pids.append(int(entry))
            except OSError:
                pass
    return pids


def cpu_seconds(pid):
    total = 0
    for one in process_tree(pid):
        with open(f"/proc/{one}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / CLOCK_TICKS


def start(core, command, cwd, env=None):
    log = open(os.path.join(cwd, os.path.basename(command[0]) + f"-{free_port()}.log"), "w")
    return subprocess.Popen(["taskset", "-c", str(core)] + command, cwd=cwd, stdout=log, stderr=log,
                            env=dict(os.environ, **(env or {})))


def start_nginx(folder, upstream_port, port):
    text = f"""
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 8m;
    keepalive_requests 1000000;
    upstream model {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as out:
        out.write(text)
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    return start(0, [nginx, "-p", folder, "-c", path], folder)


def start_gateway(parley, folder, upstream_port, port, durability):
    lab = os.path.join(folder, "lab-" + durability)
    subprocess.run([parley, "init", lab], check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(lab, "parley.yaml"), "w") as out:
        out.write(f"""name: perf.example/parley
listen: 127.0.0.1:{port}
data: .
workers: 1
durability: {durability}
providers: [ {{ name: up, dialect: anthropic, url: "http://127.0.0.1:{upstream_port}", key: "k" }} ]
models: [ {{ name: perf-1, provider: up, max_output: 8192, context: 200000 }} ]
""")
    access = os.path.join(lab, "access.yaml")
    with open(access, "w") as out:
        out.write("""orgs: [ { id: buyer, name: Buyer } ]
grants:
  - id: product
    org: buyer
    purposes: [ product ]
    models: [ perf-1 ]
    release: V2
    limits: { rpm: 1000000000000, input_tpm: 1000000000000, output_tpm: 1000000000000, concurrency: 100000, tokens_per_day: 1000000000000 }
    valid: { from: 2026-01-01, to: 2036-01-01 }
""")
    process = start(0, [parley, "serve", "-c", os.path.join(lab, "parley.yaml")], folder)
    wait_for(port)
    config = os.path.join(lab, "parley.yaml")
    subprocess.run([parley, "apply", access, "-c", config], check=True, stdout=subprocess.DEVNULL)
    key = subprocess.run([parley, "key", "issue", "--org", "buyer", "--grant", "product", "-c", config],
                         check=True, capture_output=True, text=True).stdout.split()[-1]
    return process, key


def write_script(folder, key, size):
    prompt = ("word " * (size // 5 + 1))[:size]
    body = json.dumps({"model": "perf-1", "max_tokens": 64,
                       "messages": [{"role": "user", "content": prompt}]})
    path = os.path.join(folder, "post.lua")
    with open(path, "w") as out:
        out.write(f'wrk.method = "POST"\nwrk.body = [==[{body}]==]\n'
                  f'wrk.headers["content-type"] = "application/json"\n'
                  f'wrk.headers["x-api-key"] = "{key}"\n')
    return path, body


def check_answer(port, key, body):
    """Both must really answer, or the figures mean nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/v1/messages", body, {"x-api-key": key, "content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200 or b'"stop_reason"' not in text:
        raise SystemExit(f"port {port}: {answer.status} {text[:200]}")


def load(port, script, seconds):
    out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--latency",
                          "-s", script, f"http://127.0.0.1:{port}/v1/messages"],
                         capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    latency = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    p50 = float(latency.group(1)) * {"us": 1, "ms": 1000, "s": 1e6}[latency.group(2)]
    return requests, p50


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parley", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--bytes", type=int, default=1024)
    options = parser.parse_args()
    parley = os.path.abspath(options.parley)
    folder = tempfile.mkdtemp(prefix="parley-perf-")
    os.chmod(folder, 0o755)
    sim_port, nginx_port, strict_port, relaxed_port = (free_port() for _ in range(4))
    started = []
    try:
        sim = start(1, [parley, "sim", "--listen", f"127.0.0.1:{sim_port}"], folder)
        started.append(sim)
        wait_for(sim_port)
        nginx = start_nginx(folder, sim_port, nginx_port)
        started.append(nginx)
        wait_for(nginx_port)
        contestants = {"nginx": (nginx, nginx_port, "any")}
        for durability, port in (("strict", strict_port), ("relaxed", relaxed_port)):
            process, key = start_gateway(parley, folder, sim_port, port, durability)
            started.append(process)
            contestants["parley " + durability] = (process, port, key)
        scripts = {}
        for name, (process, port, key) in contestants.items():
            path, body = write_script(folder, key, options.bytes)
            scripts[name] = path + "." + name.replace(" ", "-")
            os.replace(path, scripts[name])
            check_answer(port, key, body)
            load(port, scripts[name], 2)  # warm-up
        results = {name: [] for name in contestants}
        sims = []
        order = list(contestants)
        for number in range(options.rounds):
            for name in order if number % 2 == 0 else reversed(order):
                process, port, _ = contestants[name]
                before, sim_before = cpu_seconds(process.pid), cpu_seconds(sim.pid)
                requests, p50 = load(port, scripts[name], options.seconds)
                used = cpu_seconds(process.pid) - before
                results[name].append((used * 1e6 / requests, requests / options.seconds, p50))
                sims.append((cpu_seconds(sim.pid) - sim_before) * 1e6 / requests)
                print(f"round {number + 1} {name:15s} {used * 1e6 / requests:6.1f} us/request "
                      f"{requests / options.seconds:8.0f} requests/s  p50 {p50:7.0f} us", flush=True)
        base = statistics.median(row[0] for row in results["nginx"])
        print(f"\n{options.bytes} byte prompts, {CONNECTIONS} connections, {options.rounds} rounds of "
              f"{options.seconds} s, medians; load average {os.getloadavg()[0]:.1f}")
        print(f"{'':18s}{'CPU us/request':>16s}{'x nginx':>10s}{'requests/s':>12s}{'p50 us':>10s}")
        for name, rows in results.items():
            cpu = statistics.median(row[0] for row in rows)
            rate = statistics.median(row[1] for row in rows)
            p50 = statistics.median(row[2] for row in rows)
            print(f"{name:18s}{cpu:16.1f}{cpu / base:10.2f}{rate:12.0f}{p50:10.0f}")
        print(f"{'parley sim':18s}{statistics.median(sims):16.1f}")
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
