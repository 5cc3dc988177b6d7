"""Mixed traffic for the dashboards: teams, rules, streams, fallbacks, refusals, mistakes, a crash, a bad policy."""

import json
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

EASY = ["Hi there! How are you today?", "What is the capital of Japan?", "Translate to French: Good morning.",
        "Rewrite this politely: Send me the report now."]
HARD = ["Prove that the square root of 3 is irrational, and explain where the argument fails for the square root of 4.",
        "Find all pairs of integers (x, y) with x^2 - 7y^2 = 2 and prove that your list is complete.",
        "Write a function that returns the k most frequent words of a text in O(n log k) time, and prove the bound."]
TEAMS = ["search", "ads", "support"]


class Traffic:
    """Threads that send until they are told to stop; errors are part of the plan."""

    def __init__(self, gateway):
        self.gateway, self.stopping, self.sent = gateway, threading.Event(), 0
        self.threads = [threading.Thread(target=self.repeat, args=(kind,)) for kind in
                        (self.bulk, self.bulk, self.local, self.pinned, self.mistakes, self.impatient)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, kind):
        while not self.stopping.is_set():
            kind()

    def bulk(self):
        """Volume over the scripted engine, by the objective; every third a stream."""
        tags = f"team={random.choice(TEAMS)},kind={random.choice(['bulk', 'bulk', 'flaky', 'any'])}"
        self.chat("auto", random.choice(EASY + HARD), tags=tags, stream=random.random() < 0.33)

    def local(self):
        """Real answers from the local engines."""
        self.chat("auto", random.choice(EASY + HARD), tags="kind=local,team=research", max_tokens=24, stream=True)

    def pinned(self):
        self.chat(random.choice(["cheap", "dear"]), random.choice(EASY), tags="team=capped")
        self.stopping.wait(0.2)

    def mistakes(self):
        self.chat(random.choice(["gpt-9", "auto:nope"]), "hello")
        self.chat("cheap", "hello", max_tokens=0)
        self.stopping.wait(1)

    def impatient(self):
        """A client that leaves in mid-stream, and one whose deadline passes while the engine is silent."""
        self.chat("slow", "hello", tags="team=ads", stream=True, leave_after=2000)
        self.chat("silent", "hello", tags="team=ads", deadline_ms=2500)
        self.stopping.wait(1)

    def chat(self, model, prompt, tags="", stream=False, max_tokens=40, leave_after=None, deadline_ms=None):
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens,
                "stream": stream}
        headers = {"content-type": "application/json", "x-tollgate-tags": tags}
        if deadline_ms:
            headers["x-tollgate-deadline-ms"] = str(deadline_ms)
        request = urllib.request.Request(f"{self.gateway.url}/v1/chat/completions", json.dumps(body).encode(), headers)
        self.sent += 1
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read(leave_after)
        except urllib.error.HTTPError as error:
            error.read()
        except OSError:
            pass


def kill_worker(gateway, model):
    """Kills the gateway's child that runs this model, as a crash would."""
    for task in Path(f"/proc/{gateway.process.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            if model in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)
                return
    raise RuntimeError(f"no worker of {model}")


def spoil_policy(gateway, seconds):
    """Puts a wrong policy in place for a while: the gateway must refuse it."""
    path = gateway.folder / "policies/default.toml"
    good = path.read_text()
    path.write_text(good.replace("[policy]", "[policy]\nnonsense = 1", 1))
    time.sleep(seconds)
    path.write_text(good)
