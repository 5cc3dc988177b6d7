#!/usr/bin/env python3
"""Hours of mixed load with cancellations on a real gateway over two local engines; `make soak` runs it.

Whole answers, streams, forced calls, strict schemas, several choices, long prompts, chats with a common beginning,
mistakes, and clients that leave before the first token, in the middle and near the end. Afterwards no slot may be stuck,
no money held, no receipt missing, and resident memory must have stayed flat. Exit code 1 if any of that fails.
"""

import argparse
import http.client
import json
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

from gateway import Gateway, metric, samples, until
from processes import resident_kb, tree

#: Resident memory late in the run may be this share above or below what it was early.
FLAT = 0.03
SLOTS, CONTEXT = 4, 2048
#: Words of the longest prompt.
LONGEST = 1000
CLIENTS = 8
#: Before the load: more tasks than the router remembers scores of, and more receipts than SQLite caches pages of (8 MB for the
#: ledger's writer, 1.5 KB a receipt; memory is level from there on). Takes a quarter of an hour.
DECISIONS, RECEIPTS = 6000, 6500
ENGINES = {"moe": "smollm2-135m-moe", "dense": "smollm2-135m"}
WORDS = "river stone market winter garden signal copper bridge letter window silver forest engine paper island candle".split()
SHARED = " ".join(random.Random(7).choices(WORDS, k=600))
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "point", "strict": True, "schema": {
    "type": "object", "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "ok": {"type": "boolean"}},
    "required": ["x", "ok"], "additionalProperties": False}}}

ENGINE = """
[[engine]]
name = "{name}"
kind = "embedded"
model = "{model}"
threads = 1
context = {context}
parallel = {slots}
[[model]]
name = "{name}"
engine = "{name}"
price = {{ input = 0.05, output = 0.10 }}
context = {context}
can = ["tools", "json"]
"""
CONFIG = '[server]\nlisten = "127.0.0.1:0"\n[policies]\nfiles = ["policies"]\n' + "".join(
    ENGINE.format(name=name, model=model, context=CONTEXT, slots=SLOTS) for name, model in ENGINES.items())
POLICY = """
[policy]
name = "default"
baseline = "dense"
[[rule]]
name = "auto means both"
when = 'model == "auto"'
use = ["moe", "dense"]
[[budget]]
name = "everything"
scope = "global"
limit_usd = 1000.0
window = "1mo"
on_exhausted = "reject"
"""


class Load:
    """Clients that send until told to stop, and what became of what they sent."""

    def __init__(self, gateway):
        address = urlsplit(gateway.url)
        self.address, self.stopping = (address.hostname, address.port), threading.Event()
        self.ends, self.lock = Counter(), threading.Lock()
        self.threads = [threading.Thread(target=self.repeat, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def repeat(self, number):
        dice = random.Random(number)
        while not self.stopping.is_set():
            kind = dice.choice(KINDS)
            try:
                end = kind(self, dice)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                end = f"FAILED: {type(error).__name__}: {error}"
            with self.lock:
                self.ends[f"{kind.__name__}: {end}"] += 1

    def open(self, body, path="/v1/chat/completions"):
        connection = http.client.HTTPConnection(*self.address, timeout=600)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        return connection

    def whole(self, body, wanted=200, path="/v1/chat/completions"):
        """The JSON of an answer; anything but the wanted status is a failure."""
        connection = self.open(body, path)
        try:
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != wanted:
                raise ValueError(f"{answer.status} {text[:200]}")
            return json.loads(text)
        finally:
            connection.close()

    def lines(self, body, leave_after=None):
        """Reads a stream, to its end or so many events; says how it ended."""
        connection = self.open(body | {"stream": True})
        try:
            answer, seen = connection.getresponse(), 0
            if answer.status != 200:
                raise ValueError(f"{answer.status} {answer.read(200)!r}")
            for line in answer:
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    return "whole"
                if b'"error"' in line:
                    raise ValueError(line.decode()[:200])
                seen += 1
                if seen == leave_after:
                    return "left"
            raise ValueError("the stream ended without [DONE]")
        finally:
            connection.close()


def ask(dice, words, max_tokens, **more):
    text = f"{dice.random()} Tell me about {' '.join(dice.choices(WORDS, k=words))}."
    return {"model": dice.choice(["moe", "dense", "auto"]), "messages": [{"role": "user", "content": text}],
            "max_tokens": max_tokens} | more


def short(load, dice):
    load.whole(ask(dice, 10, dice.randint(1, 60)))
    return "whole"


def streamed(load, dice):
    return load.lines(ask(dice, 30, dice.randint(1, 120), stream_options={"include_usage": True}))


def long_prompt(load, dice):
    load.whole(ask(dice, dice.randint(500, LONGEST), 8))
    return "whole"


def agent(load, dice):
    messages = [{"role": "system", "content": SHARED}]
    for turn in range(3):
        messages.append({"role": "user", "content": f"Step {turn}: {' '.join(dice.choices(WORDS, k=20))}"})
        answer = load.whole({"model": "moe", "messages": messages, "max_tokens": 16})
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"] or "-"})
    return "whole"


def forced_call(load, dice):
    forced = {"type": "function", "function": {"name": "weather"}}
    answer = load.whole(ask(dice, 10, 60, tools=[TOOL], tool_choice=forced))
    call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    if answer["choices"][0]["finish_reason"] != "length":
        json.loads(call["arguments"])["city"]
    return "whole"


def schema(load, dice):
    answer = load.whole(ask(dice, 10, 60, response_format=SCHEMA))
    if answer["choices"][0]["finish_reason"] != "length":
        json.loads(answer["choices"][0]["message"]["content"])["x"]
    return "whole"


def choices(load, dice):
    answer = load.whole(ask(dice, 20, 24, n=3, logprobs=True, top_logprobs=3) | {"model": "moe"})
    if len(answer["choices"]) != 3:
        raise ValueError(f"{len(answer['choices'])} choices")
    return "whole"


def left_in_the_middle(load, dice):
    return load.lines(ask(dice, 20, 200), leave_after=dice.randint(1, 60))


def left_at_once(load, dice):
    load.open(ask(dice, dice.randint(10, 900), 100, stream=dice.random() < 0.5)).close()
    return "left"


def left_while_waiting(load, dice):
    connection = load.open(ask(dice, 100, 150))
    time.sleep(dice.random())
    connection.close()
    return "left"


def mistake(load, dice):
    wrong = dice.choice([{"max_tokens": 0}, {"model": "nobody"}, {"n": 99}, {"temperature": "hot"}, {"messages": []}])
    connection = load.open(ask(dice, 5, 5) | wrong)
    answer = connection.getresponse()
    told = json.load(answer)
    connection.close()
    if not 400 <= answer.status < 500 or not told["error"]["message"]:
        raise ValueError(f"{wrong}: {answer.status} {told}")
    return "refused"


KINDS = [short, short, streamed, streamed, long_prompt, agent, forced_call, schema, choices, left_in_the_middle,
         left_in_the_middle, left_at_once, left_while_waiting, mistake]


def fill(gateway):
    """Uses every slot's memory at once, so that what comes later finds it resident already; fails if one is stuck."""
    load, dice = Load(gateway), random.Random(1)
    # The longest that the load sends; what lies beyond is never touched.
    bodies = [ask(dice, LONGEST, 200) | {"model": name} for name in ENGINES for _ in range(SLOTS)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        list(pool.map(load.whole, bodies))


def warm(gateway):
    """Fills what the gateway keeps up to a bound, so that what grows afterwards has none."""
    load, dice = Load(gateway), random.Random(2)
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda body: load.whole(body, path="/v1/decision"), (ask(dice, 10, 1) for _ in range(DECISIONS))))
        list(pool.map(load.whole, (ask(dice, 3, 1) for _ in range(RECEIPTS))))


def resident(gateway):
    """KiB resident: the gateway, and each process below it by its command's model."""
    own = gateway.process.pid
    return {("gateway" if pid == own else f"worker {pid}"): resident_kb(pid) for pid in tree(own)}


def flat(seen):
    """What a process had early and late, KiB; the tenth after the first and the last tenth of the run."""
    tenth = max(len(seen) // 10, 1)
    return statistics.median(seen[tenth:2 * tenth]), statistics.median(seen[-tenth:])


def quiet(gateway):
    """Nothing in flight, nothing held, no slot or queue in use."""
    busy = ("tollgate_requests_in_flight", "tollgate_budget_held_usd", "tollgate_engine_queue_depth")
    return all(value == 0 for name, _, value in samples(gateway.url) if name in busy)


def run(gateway, minutes, problems):
    """The load itself, looked at each ten seconds."""
    history, before = {}, resident(gateway)
    until_s = time.monotonic() + minutes * 60
    with Load(gateway) as load:
        number = 0
        while time.monotonic() < until_s:
            time.sleep(min(10, max(until_s - time.monotonic(), 0)))
            now = resident(gateway)
            if now.keys() != before.keys():
                problems.append(f"processes came or went: {sorted(before)} to {sorted(now)}")
                before = now
            for name, kb in now.items():
                history.setdefault(name, []).append(kb)
            number += 1
            if number % 30 == 1:
                told = ", ".join(f"{name} {kb / 1024:.1f} MB" for name, kb in now.items())
                print(f"{number // 6:4d} min: {sum(load.ends.values())} requests; {told}", flush=True)
    print("\nrequests, by kind and end:")
    for end, count in sorted(load.ends.items()):
        print(f"{count:8d}  {end}")
        if "FAILED" in end:
            problems.append(end)
    return history


def check(gateway, history, problems):
    """What must hold afterwards."""
    until("everything to end", lambda: quiet(gateway))
    # Each slot answers again, all at once.
    fill(gateway)
    for name, seen in history.items():
        early, late = flat(seen)
        change = late / early - 1
        print(f"{name}: {early / 1024:.1f} MB early, {late / 1024:.1f} MB late ({change:+.1%}), "
              f"{min(seen) / 1024:.1f} to {max(seen) / 1024:.1f} MB")
        if abs(change) > FLAT:
            problems.append(f"{name}: memory is not flat")
    print(f"restarts: {metric(gateway.url, 'tollgate_engine_restarts_total'):.0f}")
    if metric(gateway.url, "tollgate_engine_restarts_total"):
        problems.append("an engine died")
    print(gateway.cli("ledger", "verify").strip())
    if "panic" in gateway.log.read_text(errors="replace"):
        problems.append("the log tells of a panic")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--minutes", type=float, default=120)
    options = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory(prefix="tollgate-soak-") as folder:
        with Gateway(options.tollgate, folder, CONFIG, {"default.toml": POLICY}) as gateway:
            try:
                fill(gateway)
                warm(gateway)
                check(gateway, run(gateway, options.minutes, problems), problems)
            except (AssertionError, RuntimeError, OSError, ValueError) as error:
                problems.append(f"{error}\n{gateway.tail()}")
    for problem in problems:
        print(f"FAIL  {problem}")
    if not problems:
        print("PASS  memory flat, no slot stuck, no money held, the ledger whole")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
