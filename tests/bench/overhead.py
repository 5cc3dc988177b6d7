#!/usr/bin/env python3
"""What the gateway costs: Tollgate with everything on beside reference proxies, all before one scripted upstream.

Loopback only. Every round loads each target in turn with `wrk`, so that a ratio compares what ran within seconds of each
other on the same noisy machine; what is printed is the median over the rounds and, in brackets, the range.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from processes import Server, free_port

HERE = Path(__file__).resolve().parent
#: (streamed, connections)
CELLS = [(False, 1), (False, 32), (True, 1), (True, 32)]
REFERENCE = "bare hyper proxy"
#: With everything on, as shipped; and the same without remembering scores, so that the classifier runs for every request.
TOLLGATE, SCORING = "Tollgate", "Tollgate, scoring each"
#: Threads that do nothing but book: they write receipts and holds, and fold SQLite's log into its file.
BOOKING = ("ledger", "fold")
DATA = {TOLLGATE: "tollgate", SCORING: "scoring"}

CONFIG = """
[server]
listen = "127.0.0.1:{port}"
max_in_flight = 4096
[router]
remember = {remember}
[ledger]
url = "sqlite:bench.db"
[[engine]]
name = "upstream"
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
[[model]]
name = "small"
engine = "upstream"
bits = 4
price = {{ input = 0.05, output = 0.10 }}
context = 8192
ability = 0.0
[[model]]
name = "large"
engine = "upstream"
price = {{ input = 0.50, output = 1.50 }}
context = 8192
ability = 1.0
"""
POLICY = """
[policy]
name = "bench"
baseline = "large"
[objective]
quality = 0.95
[[rule]]
name = "exact work needs precise weights"
when = 'domain in ["math", "code"] && difficulty > 0.9'
min_bits = 8
[[budget]]
name = "everyone, monthly"
scope = "global"
limit_usd = 1000000.0
window = "1mo"
on_exhausted = "reject"
[[budget]]
name = "each key, daily"
scope = { key = "*" }
limit_usd = 100000.0
window = "1d"
on_exhausted = "reject"
[[budget]]
name = "each team, hourly"
scope = { team = "*" }
limit_usd = 100000.0
window = "1h"
on_exhausted = "reject"
"""
NGINX = """daemon off; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
HAPROXY = """global
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server up 127.0.0.1:{upstream}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, type=Path, help="folder with tollgate, bench-upstream and floor-proxy")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="load per target, cell and round")
    parser.add_argument("--only", nargs="*", help="targets, by the start of their names")
    parser.add_argument("--json", type=Path, help="also write every measurement here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        results = measure(arguments, Path(folder))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    report(results, arguments)


def targets(binaries, folder, upstream, only):
    """What is loaded: name → server (None = the upstream itself), started."""
    ports = {name: free_port() for name in ("floor", "tollgate", "scoring", "nginx", "haproxy")}
    places = {"folder": folder, "upstream": upstream.port}
    write = lambda name, text, port, **more: (folder / name).write_text(text.format(port=ports[port], **places, **more))
    write("tollgate.toml", CONFIG, "tollgate", remember=4096)
    write("scoring.toml", CONFIG, "scoring", remember=0)
    (folder / "policy.toml").write_text(POLICY)
    write("nginx.conf", NGINX, "nginx")
    write("haproxy.cfg", HAPROXY, "haproxy")
    serve = lambda name: [binaries / "tollgate", "serve", "--config", f"{name}.toml", "--policy", "policy.toml", "--data-dir", name]
    commands = {
        REFERENCE: ("floor", [binaries / "floor-proxy", f"127.0.0.1:{upstream.port}", f"127.0.0.1:{ports['floor']}"]),
        TOLLGATE: ("tollgate", serve("tollgate")),
        SCORING: ("scoring", serve("scoring")),
        "nginx": ("nginx", ["nginx", "-p", folder, "-c", folder / "nginx.conf"]),
        "haproxy": ("haproxy", ["haproxy", "-f", folder / "haproxy.cfg"]),
    }
    chosen = {"direct": None}
    for name, (port, command) in commands.items():
        wanted = name == REFERENCE or not only or any(name.lower().startswith(start.lower()) for start in only)
        if not wanted:
            continue
        if not (Path(command[0]).exists() or shutil.which(command[0])):
            print(f"    {name} is not installed and left out")
            continue
        chosen[name] = Server(name.replace(",", "").replace(" ", "-"), ports[port], [str(part) for part in command], folder).start()
    return chosen


def measure(arguments, folder):
    """Every measurement of every round, as one list of dictionaries."""
    binaries = arguments.bin.resolve()
    port = free_port()
    upstream = Server("upstream", port, [str(binaries / "bench-upstream"), f"127.0.0.1:{port}"], folder).start()
    servers = {}
    results = []
    try:
        servers = targets(binaries, folder, upstream, arguments.only)
        keys = {name: create_key(binaries, folder, DATA[name]) for name in servers if name in DATA}
        for streamed, connections in CELLS:
            for name, server in servers.items():
                load(server or upstream, streamed, connections, 1, keys.get(name))  # warm
        for number in range(arguments.rounds):
            for streamed, connections in CELLS:
                for name, server in servers.items():
                    result = load(server or upstream, streamed, connections, arguments.seconds, keys.get(name))
                    results.append({"round": number, "target": name, "streamed": streamed, "connections": connections} | result)
            print(f"    round {number + 1} of {arguments.rounds} done", flush=True)
        for name in keys:
            verify(binaries, folder, servers.pop(name), DATA[name])
    finally:
        for server in [upstream, *filter(None, servers.values())]:
            server.stop()
    return results


def create_key(binaries, folder, data):
    """A virtual key, so that authentication and the key's and team's budgets are on the measured path."""
    made = subprocess.run([binaries / "tollgate", "keys", "create", "--json", "--name", "bench", "--team", "bench",
                           "--data-dir", data, "--config", f"{data}.toml"], cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(made.stdout)["secret"]


def verify(binaries, folder, server, data):
    """The books must be right after all that, or the speed is worth nothing."""
    server.stop()
    outcome = subprocess.run([binaries / "tollgate", "ledger", "verify", "--data-dir", data, "--config", f"{data}.toml"],
                             cwd=folder, capture_output=True, text=True)
    print("    ledger verify:", " ".join(outcome.stdout.split()) or outcome.stderr.strip())
    if outcome.returncode:
        raise SystemExit("bench: the ledger does not verify")


def load(server, streamed, connections, seconds, key):
    """One closed loop of requests against one server."""
    before, booking = server.cpu_s(), server.threads_cpu_s(BOOKING)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency", "-s", str(HERE / "load.lua"),
               f"http://127.0.0.1:{server.port}/v1/chat/completions"]
    env = os.environ | {"STREAM": "1" if streamed else "0", "KEY": key or "none"}
    output = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds + 60).stdout
    found = re.search(r"RESULT (.*)", output)
    if not found:
        raise SystemExit(f"bench: wrk gave no result for {server.name}:\n{output}")
    result = json.loads(found[1])
    if result["refused"] or result["broken"]:
        raise SystemExit(f"bench: {server.name} failed under load: {result}")
    done = max(result["requests"], 1)
    return result | {"per_second": result["requests"] / result["seconds"], "peak_mb": server.peak_mb(),
                     "cpu_ms": 1000 * (server.cpu_s() - before) / done,
                     "booking_ms": 1000 * (server.threads_cpu_s(BOOKING) - booking) / done}


def report(results, arguments):
    """The table: ratios within a round, medians and ranges over the rounds."""
    print(f"\n{arguments.rounds} rounds of {arguments.seconds} s; {os.cpu_count()} cores shared with the load and the upstream; median [range]\n")
    print("| answer | connections | target | requests/s | against bare hyper proxy | added p50, µs | CPU ms a request | against it | of it booking | peak RSS, MB |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for streamed, connections in CELLS:
        cell = [r for r in results if (r["streamed"], r["connections"]) == (streamed, connections)]
        rounds = {r["round"]: {x["target"]: x for x in cell if x["round"] == r["round"]} for r in cell}
        for target in dict.fromkeys(r["target"] for r in cell):
            pairs = [(seen[target], seen[REFERENCE], seen["direct"]) for seen in rounds.values()]
            rate = statistics.median(own["per_second"] for own, _, _ in pairs)
            added = statistics.median(own["p50_us"] - direct["p50_us"] for own, _, direct in pairs)
            cpu = "" if target == "direct" else f"{statistics.median(own['cpu_ms'] for own, _, _ in pairs):.3f}"
            cpu_ratio = "" if target == "direct" else spread([own["cpu_ms"] / max(floor["cpu_ms"], 1e-9) for own, floor, _ in pairs])
            booking = spread([own["booking_ms"] / own["cpu_ms"] for own, _, _ in pairs]) if target in DATA else ""
            memory = "" if target == "direct" else f"{pairs[-1][0]['peak_mb']:.0f}"
            print(f"| {'54 events' if streamed else 'whole'} | {connections} | {target} | {rate:,.0f} | "
                  f"{spread([own['per_second'] / floor['per_second'] for own, floor, _ in pairs])} | {added:,.0f} | {cpu} | {cpu_ratio} | {booking} | {memory} |")


def spread(values):
    """A median with its range."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


if __name__ == "__main__":
    main()
