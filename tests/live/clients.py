#!/usr/bin/env python3
"""Points real SDKs and agent frameworks at a real gateway with real engines; `make clients` runs it.

Client libraries are installed once, at pinned versions, below the cache. Each check prints PASS or FAIL; the last
line counts them, and the exit code is 1 if any failed.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from gateway import Gateway, clean_environment
from upstream import Upstream

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("TOLLGATE_CACHE", Path.home() / ".cache/tollgate")) / "clients"
SUITES = {"openai_python.py": "python", "openai_node.mjs": "node", "langgraph_app.py": "python", "crewai_app.py": "crewai"}
SCRIPTED = ("steady", "slow", "hang", "broken", "cut", "toolsmith")

CONFIG = """
[server]
listen = "127.0.0.1:0"
[policies]
files = ["policies"]
[[engine]]
name = "moe"
kind = "embedded"
model = "smollm2-135m-moe"
threads = 1
context = 2048
parallel = 4
[[engine]]
name = "dense"
kind = "embedded"
model = "smollm2-135m"
threads = 1
context = 2048
parallel = 4
[[engine]]
name = "vectors"
kind = "embedded"
model = "smollm2-135m"
embeddings = true
pooling = "mean"
threads = 1
context = 512
[[engine]]
name = "scripted"
kind = "openai"
base_url = "{upstream}"
[[model]]
name = "small"
engine = "moe"
price = {{ input = 0.05, output = 0.10 }}
context = 2048
can = ["tools", "json"]
[[model]]
name = "vectors"
engine = "vectors"
price = {{ input = 0.02, output = 0 }}
can = ["embeddings"]
[[model]]
name = "large"
engine = "dense"
price = {{ input = 0.30, output = 0.60 }}
context = 2048
can = ["tools", "json"]
"""

MODEL = """
[[model]]
name = "{name}"
engine = "scripted"
price = {{ input = 1.0, output = 2.0 }}
can = ["tools"]
"""

POLICY = """
[policy]
name = "default"
baseline = "large"
[objective]
quality = 0.95
[[rule]]
name = "auto means the local models"
when = 'model == "auto"'
use = ["small", "large"]
[[budget]]
name = "broke team"
scope = { team = "broke" }
limit_usd = 0.00001
window = "1mo"
on_exhausted = "reject"
[[budget]]
name = "everything"
scope = "global"
limit_usd = 5.0
window = "1d"
on_exhausted = "reject"
"""


def installed(name, wanted, install):
    """Runs `install` in a fresh folder of the cache unless that was done for exactly these versions."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        # Two runs at once must not empty each other's folder.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return installed_alone(name, wanted, install)


def installed_alone(name, wanted, install):
    folder = CACHE / name
    stamp, mark = hashlib.sha256(wanted.encode()).hexdigest(), folder / ".tollgate-versions"
    if mark.exists() and mark.read_text() == stamp:
        return folder
    print(f"==> installing the {name} clients into {folder}", flush=True)
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install(folder)
    mark.write_text(stamp)
    print(f"    done in {time.monotonic() - began:.0f} s", flush=True)
    return folder


def python_clients(name):
    """The Python of a virtual environment with this requirements file."""
    requirements = HERE / "clients" / f"{name}.txt"

    def install(folder):
        venv.create(folder, with_pip=True)
        quiet = [] if sys.stdout.isatty() else ["--progress-bar", "off"]
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", *quiet,
                        "-r", requirements], check=True, stdout=None if sys.stdout.isatty() else subprocess.DEVNULL)

    return installed(name, requirements.read_text(), install) / "bin/python"


def node_clients():
    """The folder that Node finds the npm clients in."""
    lock = HERE / "clients" / "package-lock.json"

    def install(folder):
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "clients" / file, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)

    return installed("node", lock.read_text(), install)


def command(suite):
    """How a suite is run, its clients installed."""
    script = HERE / "clients" / suite
    if SUITES[suite] != "node":
        return [python_clients(SUITES[suite]), script]
    # Node looks for packages from the script's own folder upwards: it runs beside them.
    return ["node", shutil.copy(script, node_clients() / suite)]


def run(suite, gateway, keys):
    """Runs one suite and passes its lines on; returns how many checks passed and failed."""
    print(f"==> {suite}", flush=True)
    environment = clean_environment() | {"LIVE_URL": gateway.url, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"}
    environment |= {f"LIVE_KEY_{name.upper()}": secret for name, secret in keys.items()}
    with tempfile.TemporaryFile("w+") as noise:
        suite_run = subprocess.Popen(command(suite), env=environment, cwd=gateway.folder, text=True,
                                     stdout=subprocess.PIPE, stderr=noise)
        passed = failed = 0
        for line in suite_run.stdout:
            passed, failed = passed + line.startswith("PASS"), failed + line.startswith("FAIL")
            if line.startswith(("PASS", "FAIL")):
                print(line, end="", flush=True)
        code = suite_run.wait()
        if code != (1 if failed else 0) or passed + failed == 0:
            noise.seek(0)
            print(f"FAIL  {suite} ended with {code}\n{noise.read()[-3000:]}", flush=True)
            failed += 1
    return passed, failed


def books_are_whole(gateway):
    """What the ledger says after all of it: whole, with a receipt for whoever left in mid-stream."""
    report = json.loads(gateway.cli("ledger", "report", "--json", "--by", "model,status"))
    cancelled = [line for line in report["lines"] if "slow" in str(line) and "cancelled" in str(line)]
    problems = [] if cancelled else [f"no cancelled receipt of `slow` in {report}"]
    try:
        gateway.cli("ledger", "verify")
    except RuntimeError as error:
        problems.append(str(error))
    log = gateway.log.read_text(errors="replace")
    if "panic" in log:
        problems.append("the gateway's log tells of a panic")
    for problem in problems:
        print(f"FAIL  ledger: {problem}")
    if not problems:
        print("PASS  ledger: verified, with receipts for clients that left")
    return (0, len(problems)) if problems else (1, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--only", choices=SUITES, action="append", help="run this suite alone; may be given again")
    arguments = parser.parse_args()
    suites = arguments.only or list(SUITES)
    for suite in suites:
        command(suite)
    totals = []
    with tempfile.TemporaryDirectory(prefix="tollgate-clients-") as folder, Upstream() as upstream:
        config = CONFIG.format(upstream=upstream.url) + "".join(MODEL.format(name=name) for name in SCRIPTED)
        gateway = Gateway(arguments.tollgate, Path(folder) / "gateway", config, {"default.toml": POLICY})
        keys = {"app": gateway.key("app", "--team", "apps"), "broke": gateway.key("broke", "--team", "broke"),
                "narrow": gateway.key("narrow", "--model", "small"), "revoked": gateway.key("revoked")}
        gateway.cli("keys", "revoke", "revoked")
        print("==> starting the gateway with the local engines", flush=True)
        with gateway:
            totals = [run(suite, gateway, keys) for suite in suites]
        if "openai_python.py" in suites:
            totals.append(books_are_whole(gateway))
    passed, failed = (sum(column) for column in zip(*totals))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
