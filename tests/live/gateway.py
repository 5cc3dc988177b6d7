"""A real `tollgate serve` in a folder of its own, for checks that look at it from outside.

Standard library only, so that it runs inside any virtual environment. Nothing here knows the gateway's code:
what it offers is the command line, HTTP and the log, as a user has them.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

PATIENCE_S = 180


class Gateway:
    """A gateway process with its files; `with` starts it and ends it as an operator would."""

    def __init__(self, binary, folder, config, policies):
        self.binary, self.folder = str(Path(binary).resolve()), Path(folder)
        (self.folder / "policies").mkdir(parents=True)
        (self.folder / "tollgate.toml").write_text(config)
        for name, text in policies.items():
            (self.folder / "policies" / name).write_text(text)
        self.log = self.folder / "gateway.log"
        self.process, self.url = None, None

    def __enter__(self):
        command = [self.binary, "serve", "--json", *self.place()]
        with open(self.log, "ab") as sink:
            self.process = subprocess.Popen(command, cwd=self.folder, env=clean_environment(), text=True,
                                            stdout=subprocess.PIPE, stderr=sink)
        watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if not line:
            self.process.wait()
            raise RuntimeError(f"the gateway did not start:\n{self.tail()}")
        self.url = json.loads(line)["listening"]
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends it with SIGTERM; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def wait_ready(self):
        """Waits until every model can answer: /readyz says what is missing."""
        deadline, missing = time.monotonic() + PATIENCE_S, "no answer"
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                    missing = json.load(answer)["waiting_for"]
                if not missing:
                    return
            except OSError as error:
                missing = error
            time.sleep(0.1)
        raise RuntimeError(f"the gateway was not ready in time: {missing}\n{self.tail()}")

    def place(self):
        """The arguments that say which gateway's files a command is about."""
        return ["--config", str(self.folder / "tollgate.toml"), "--data-dir", str(self.folder / "data")]

    def cli(self, *arguments):
        """Runs a `tollgate` command on this gateway's files and returns what it printed."""
        done = subprocess.run([self.binary, *arguments, *self.place()], cwd=self.folder, env=clean_environment(),
                              capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            raise RuntimeError(f"tollgate {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def key(self, name, *arguments):
        """Makes a virtual key and returns its secret."""
        return json.loads(self.cli("keys", "create", "--json", "--name", name, *arguments))["secret"]

    def tail(self, lines=15):
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def clean_environment():
    """The environment without settings that would decide for the gateway; where the cache is may stay."""
    kept = ("TOLLGATE_CACHE", "TOLLGATE_ONNXRUNTIME")
    return {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_") or name in kept}


def samples(url):
    """Every sample of /metrics as (name, labels, value)."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = []
    for line in text.splitlines():
        match = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
        if match:
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            found.append((match[1], labels, float(match[3])))
    return found


def metric(url, name, **labels):
    """The sum over all series of this name with these labels."""
    return sum(value for found, has, value in samples(url)
               if found == name and labels.items() <= has.items())


def until(what, reached, patience_s=60):
    """Polls for what is counted just after an answer; fails with `what` when it never comes."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        seen = reached()
        if seen:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"waited {patience_s} s for {what}")
