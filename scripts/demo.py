#!/usr/bin/env python3
"""Starts the gateway on the demo's models, sends real requests of both kinds and prints where each one went.

Standard library only. Exits non-zero when a request fails, an answer is empty or a route is not the expected one.
With --once it stops after the table; otherwise it keeps serving.
"""

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

SMALL, LARGE = "small-moe", "large"


@dataclass
class Ask:
    """One request of the demo: what is asked, and which model should answer it."""

    kind: str
    prompt: str
    expect: str
    stream: bool = False
    max_tokens: int = 96
    model: str = "auto"


ASKS = [
    Ask("greeting", "Hi there! How are you today?", SMALL),
    Ask("classification", "Classify the sentiment of this review as positive or negative. Answer with one word.\n"
        "Review: The delivery was late and the box was crushed.", SMALL),
    Ask("translation", "Translate to French: Good morning, my friend.", LARGE, stream=True),
    # A policy that gives up more quality for money; the MoE gets about a third of such words right, the larger model nearly all.
    Ask("the same, cheap", "Translate to French: Good morning, my friend.", SMALL, stream=True, model="auto:cheapest"),
    Ask("rewrite", "Rewrite this politely: Send me the report now.", SMALL, model="auto:cheapest"),
    Ask("short fact", "What is the capital of Japan?", SMALL, model="auto:cheapest"),
    Ask("multi-step maths", "A tank holds 240 litres. Pipe A fills it in 6 hours and pipe B in 4 hours, while a leak "
        "drains 10 litres per hour. Both pipes are opened at 08:00 and pipe B is closed after 90 minutes. "
        "At what time is the tank full? Show each step.", LARGE, max_tokens=320),
    Ask("code with constraints", "Write a Python function that returns the k most frequent words of a text in O(n log k) "
        "time, without collections.Counter, case-insensitively, breaking ties alphabetically, and raise "
        "ValueError for a negative k. Explain the complexity.", LARGE, stream=True, max_tokens=320),
    Ask("debugging", "This function should return the index of x in a sorted list, but it loops forever for some inputs. "
        "Find the bug and fix it:\ndef find(a, x):\n    lo, hi = 0, len(a)\n    while lo < hi:\n        mid = (lo + hi) // 2\n"
        "        if a[mid] < x:\n            lo = mid\n        else:\n            hi = mid\n    return lo", LARGE, max_tokens=320),
    Ask("planning", "Plan a three-day conference for 120 people: two rooms hold 80 and 40, speakers A and B must not "
        "overlap, workshops need the small room, catering must be ordered 48 hours ahead, and the budget "
        "is 9,000 EUR. Give a schedule that meets every condition and say why.", LARGE, max_tokens=320),
]


@dataclass
class Answer:
    """What came back for one request."""

    text: str = ""
    headers: dict = field(default_factory=dict)
    usage: dict = field(default_factory=dict)
    first_token_s: float = 0.0
    total_s: float = 0.0
    problem: str = ""


def send(address, ask):
    """Sends one chat completion the way an SDK would, and reads the answer, streamed or whole."""
    body = {"model": ask.model, "messages": [{"role": "user", "content": ask.prompt}],
            "max_tokens": ask.max_tokens, "temperature": 0}
    if ask.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    answer, began = Answer(), time.monotonic()
    connection = http.client.HTTPConnection(address, timeout=600)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body),
                           {"content-type": "application/json", "x-tollgate-tags": "team=demo"})
        response = connection.getresponse()
        answer.headers = {name.lower(): value for name, value in response.getheaders()}
        if response.status != 200:
            answer.problem = f"HTTP {response.status}: {response.read().decode(errors='replace')[:300]}"
        elif ask.stream:
            read_stream(response, answer, began)
        else:
            whole = json.load(response)
            answer.text = whole["choices"][0]["message"]["content"]
            answer.usage = whole["usage"]
    except (OSError, ValueError, KeyError) as error:
        answer.problem = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    answer.total_s = time.monotonic() - began
    if not answer.problem and not answer.text.strip():
        answer.problem = "the answer is empty"
    return answer


def read_stream(response, answer, began):
    """Reads server-sent events until [DONE]."""
    for line in response:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            return
        chunk = json.loads(data)
        if "error" in chunk:
            answer.problem = json.dumps(chunk["error"])
            return
        answer.usage = chunk.get("usage") or answer.usage
        for choice in chunk.get("choices", []):
            piece = choice.get("delta", {}).get("content") or ""
            if piece and not answer.first_token_s:
                answer.first_token_s = time.monotonic() - began
            answer.text += piece
    answer.problem = "the stream ended without [DONE]"


def dollars(value):
    """Micro-dollars are what a local answer costs: show them as such."""
    return "?" if value in (None, "") else f"{float(value) * 1e6:,.1f}"


def show(number, ask, answer):
    """Prints one request in full: what was asked, what was answered and by whom."""
    one_line = " ".join(answer.text.split())
    print(f"\n[{number}] {ask.kind}{', streamed' if ask.stream else ''}: {textwrap.shorten(ask.prompt, 100)}")
    if answer.problem:
        print(f"    FAILED: {answer.problem}")
        return
    print(f"    {answer.headers.get('x-tollgate-model')}: {textwrap.shorten(one_line, 220)}")
    print(f"    because: {answer.headers.get('x-tollgate-reason')}")


def row(ask, answer):
    """The request's line in the table."""
    usage, headers = answer.usage, answer.headers
    cost = headers.get("x-tollgate-cost-usd", usage.get("cost_usd"))
    saved = headers.get("x-tollgate-saved-usd", usage.get("saved_usd"))
    latency = f"{answer.total_s:.2f}" + (f" (first {answer.first_token_s:.2f})" if ask.stream else "")
    return [ask.kind + (" ~" if ask.stream else ""), headers.get("x-tollgate-difficulty", "?"),
            headers.get("x-tollgate-route", "?"), headers.get("x-tollgate-model", "FAILED"),
            f"{usage.get('prompt_tokens', '?')}+{usage.get('completion_tokens', '?')}",
            dollars(cost), latency, dollars(saved)]


def table(rows):
    """Prints rows under headings, columns aligned."""
    head = ["prompt (~ streamed)", "difficulty", "route", "model", "tokens", "cost µ$", "latency s", "saved µ$"]
    widths = [max(len(str(line[i])) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, ["-" * width for width in widths], *rows]:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths)).rstrip())


def start(arguments):
    """Starts `tollgate serve` and waits for the line that says it answers. Returns the process and its address."""
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    log = arguments.data_dir / "gateway.log"
    command = [arguments.tollgate, "serve", "--json", "--listen", arguments.listen, "--data-dir", str(arguments.data_dir)]
    print(f"==> starting the gateway ({' '.join(map(str, command))})\n    its log: {log}", flush=True)
    with open(log, "ab") as sink:
        gateway = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, text=True)
    began = time.monotonic()
    watchdog = threading.Timer(300, gateway.kill)
    watchdog.start()
    line = gateway.stdout.readline()
    watchdog.cancel()
    if not line:
        gateway.wait()
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        sys.exit(f"demo: the gateway did not start:\n{tail}")
    address = json.loads(line)["listening"].removeprefix("http://")
    wait_ready(address, log, began + 300)
    print(f"    ready after {time.monotonic() - began:.1f} s", flush=True)
    return gateway, address


def wait_ready(address, log, deadline):
    """Waits until both engines answer: /readyz says what is missing."""
    reason = "no answer"
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            reason = response.read().decode(errors="replace")
            # A gateway serves with one engine of two; the demo wants to show both.
            if response.status == 200 and not json.loads(reason)["waiting_for"]:
                return
        except (OSError, ValueError, KeyError) as error:
            reason = str(error)
        finally:
            connection.close()
        time.sleep(0.2)
    sys.exit(f"demo: not ready in time: {reason}\nsee {log}")


def main():
    cache = Path(os.environ.get("TOLLGATE_CACHE", Path.home() / ".cache/tollgate"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--listen", default="127.0.0.1:8080")
    parser.add_argument("--data-dir", type=Path, default=cache / "demo", help="where the ledger goes")
    parser.add_argument("--once", action="store_true", help="exit after the table")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    gateway, address = start(arguments)
    try:
        failures = run(address)
        if failures == 0 and not arguments.once:
            keep_serving(address, gateway, arguments)
    finally:
        gateway.send_signal(signal.SIGTERM)
        try:
            gateway.wait(30)
        except subprocess.TimeoutExpired:
            gateway.kill()
    sys.exit(1 if failures else 0)


def run(address):
    """Sends every request and prints the answers and the table. Returns how many went wrong."""
    rows, wrong = [], []
    for number, ask in enumerate(ASKS, 1):
        answer = send(address, ask)
        show(number, ask, answer)
        rows.append(row(ask, answer))
        served = answer.headers.get("x-tollgate-model")
        if answer.problem:
            wrong.append(f"{ask.kind}: {answer.problem}")
        elif served != ask.expect:
            wrong.append(f"{ask.kind}: answered by {served}, expected {ask.expect}")
        sys.stdout.flush()
    print()
    table(rows)
    print("\nµ$ = millionths of a dollar; saved = what the baseline model would have cost more for the same tokens.")
    for problem in wrong:
        print(f"WRONG  {problem}")
    return len(wrong)


def keep_serving(address, gateway, arguments):
    """Says what to do next, and serves until interrupted."""
    print(textwrap.dedent(f"""
        The gateway keeps running on http://{address}. Point an app at it:
            export OPENAI_BASE_URL=http://{address}/v1 OPENAI_API_KEY=unused      # then use model "auto"
            curl http://{address}/v1/chat/completions -d '{{"model":"auto","messages":[{{"role":"user","content":"Hello"}}]}}'
        Spend:       {arguments.tollgate} ledger report --data-dir {arguments.data_dir}
        Metrics:     http://{address}/metrics
        Dashboards:  import dashboards/cost.json into Grafana; docs/dashboards.md says how
        Ctrl-C stops it."""), flush=True)
    try:
        gateway.wait()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
