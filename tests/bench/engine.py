#!/usr/bin/env python3
"""`tollgate engine` beside llama-server of the same llama.cpp: one model, the same threads, context, slots and requests.

All serve at once but are asked in turn, alternating within every round, so that a ratio compares what ran within seconds of
each other. Printed are each side's median and, for ratios, the median over the rounds with its range; processor time says
what a cell cost where others use the machine too (with one thread: more of them wait for each other, spinning).
"""

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from processes import Server, free_port

#: Guessing is off where llama-server is the measure, which does not guess by itself; what it is worth has cells of its own.
OURS, THEIRS, GUESSING = "tollgate engine", "llama-server", "tollgate engine, guessing"
STREAMS = 8
CONTEXT = 6144
#: Words that are about a token each, so that prompts have the length they are said to have.
WORDS = ("river stone market winter garden signal copper bridge letter window silver forest engine paper island "
         "candle harbor mirror planet orange").split()
DONE = b"[DONE]"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path)
    parser.add_argument("--llama-server", required=True, type=Path)
    parser.add_argument("--model", required=True, type=Path, help="a GGUF file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="cells to measure, by the first word of their name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        servers = start(options, Path(folder))
        try:
            measure(servers, options)
        finally:
            for server in servers.values():
                server.stop()


def start(options, folder):
    """Both servers, ready to answer."""
    shared = ["--model", str(options.model.resolve()), "--threads", str(options.threads), "--parallel", str(STREAMS)]

    def engine(name, lookup):
        port = free_port()
        command = [str(options.tollgate.resolve()), "engine", *shared, "--context", str(CONTEXT), "--lookup", str(lookup),
                   "--listen", f"127.0.0.1:{port}"]
        return Server(name, port, command, folder)

    port = free_port()
    # Its context is for all slots together; its other settings are its own defaults, its prompt cache included.
    theirs = [str(options.llama_server.resolve()), *shared, "--ctx-size", str(CONTEXT * STREAMS), "--port", str(port),
              "--no-webui"]
    servers = {OURS: engine("tollgate", 0), GUESSING: engine("guessing", 7), THEIRS: Server("llama-server", port, theirs, folder)}
    for server in servers.values():
        server.start()
        while ask(server, "GET", "/health").status != 200:
            time.sleep(0.2)
    return servers


def measure(servers, options):
    """Every cell on both of its servers in every round, in turned order each time."""
    chosen = options.only or [cell.name.split()[0].strip(":,") for cell in CELLS]
    cells = [cell for cell in CELLS if cell.name.split()[0].strip(":,") in chosen]
    rounds = {cell.name: [] for cell in cells}
    for number in range(options.rounds):
        for cell in cells:
            pair = [cell.ours, cell.theirs]
            # The same texts for both, other ones in each round: nothing is warm but by what the cell itself warms.
            order = pair if number % 2 == 0 else pair[::-1]
            seen = {name: timed(servers[name], cell, f"{cell.name} {number}") for name in order}
            rounds[cell.name].append([seen[name] for name in pair])
            told = ", ".join(f"{name} {seen[name][0]:.3f} ({seen[name][1]:.1f} s of CPU)" for name in pair)
            print(f"round {number + 1}, {cell.name}: {told}", flush=True)
    print("\n| what | ours | theirs | ratio | goal | CPU time, ours to theirs |\n|---|---:|---:|---:|---:|---:|")
    for cell in cells:
        ours, theirs = zip(*rounds[cell.name])
        values = [statistics.median(value for value, _ in side) for side in (ours, theirs)]
        ratios = spread([cell.ratio(own[0], other[0]) for own, other in rounds[cell.name]])
        cpu = spread([own[1] / other[1] for own, other in rounds[cell.name]])
        print(f"| {cell.name} | {values[0]:.2f} | {values[1]:.2f} | {ratios} | {cell.goal} | {cpu} |")


def timed(server, cell, mark):
    """What a cell measures on a server, and the processor time that it took."""
    before = server.cpu_s()
    value = cell.run(server, mark)
    return value, max(server.cpu_s() - before, 0.01)


def spread(values):
    """A median with its range."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


def decode_one(server, mark):
    """Tokens per second of one stream, after its first."""
    return decode(server, [mark], 128)


def decode_many(server, mark):
    """Tokens per second of eight streams with distinct prompts, while all of them write."""
    return decode(server, [f"{mark} {stream}" for stream in range(STREAMS)], 96)


def decode(server, marks, tokens, prompt=None):
    """Tokens per second while all of them write: from when the last one begins until the first one ends."""
    answers = together(server, marks, tokens, prompt)
    begun, ended = max(answer.times[0] for answer in answers), min(answer.times[-1] for answer in answers)
    if ended <= begun:
        raise SystemExit("bench: the first answer ended before the last one began; take a faster model")
    # An event is a token, but for characters of several.
    written = sum(sum(begun < moment <= ended for moment in answer.times) * tokens / len(answer.times) for answer in answers)
    return written / (ended - begun)


def eight_whole(server, mark):
    """Seconds from when eight distinct prompts come, all together, until the last answer is whole."""
    began = time.monotonic()
    answers = together(server, [f"{mark} {stream}" for stream in range(STREAMS)], 96)
    return max(answer.times[-1] for answer in answers) - began


def together(server, marks, tokens, prompt=None):
    """Answers of one length to a prompt for each mark, asked for at once."""
    gate = threading.Barrier(len(marks))
    with ThreadPoolExecutor(len(marks)) as pool:
        def stream(mark):
            gate.wait()
            return chat(server, [user(prompt or f"Tell a long story. {words(mark, 120)}")], tokens)
        return list(pool.map(stream, marks))


def agents(server, mark):
    """Seconds that eight chats with one 1,500-token beginning take over five turns, begun together."""
    system = {"role": "system", "content": words(mark, 1500)}
    gate = threading.Barrier(STREAMS)

    def agent(number):
        messages = [system]
        gate.wait()
        for turn in range(5):
            messages.append(user(f"Step {turn} of agent {number}: {words(f'{mark} {number} {turn}', 40)}"))
            # As long as a call of a tool.
            answer = chat(server, messages, 24)
            messages.append({"role": "assistant", "content": answer.text})

    began = time.monotonic()
    with ThreadPoolExecutor(STREAMS) as pool:
        list(pool.map(agent, range(STREAMS)))
    return time.monotonic() - began


def beside_long(server, mark):
    """Seconds to the first token of a short prompt that comes while a 4,000-token prompt is being read."""
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(chat, server, [user(words(f"{mark} long", 4000))], 1)
        time.sleep(1.0)
        answer = chat(server, [user(f"What is this about? {words(f'{mark} short', 20)}")], 1)
        if long.done():
            raise SystemExit("bench: the long prompt was read before the short one came; take a slower model")
        long.result()
    return answer.first - answer.asked


def cached(server, mark):
    """Time to the first token with a 1,500-token beginning at hand, as a share of the time when all must be read."""
    system = {"role": "system", "content": words(mark, 1500)}
    cold = chat(server, [system, user(f"Begin. {words(f'{mark} a', 20)}")], 1)
    warm = chat(server, [system, user(f"Go on. {words(f'{mark} b', 20)}")], 1)
    return (warm.first - warm.asked) / (cold.first - cold.asked)


def edit(server, mark):
    """Tokens per second of one stream that repeats a text with one word changed."""
    text = words(mark, 250)
    return decode(server, [mark], 200, f"Repeat this text word for word, but write ocean instead of river: {text}")


def ours_to_theirs(ours, theirs):
    return ours / theirs


def theirs_to_ours(ours, theirs):
    return theirs / ours


@dataclass
class Cell:
    """Something to measure, who is measured by whom, and what should come out."""

    name: str
    run: callable
    ratio: callable
    goal: str
    ours: str = OURS
    theirs: str = THEIRS


CELLS = [
    Cell("one stream, tokens/s", decode_one, ours_to_theirs, "≥ 1.0"),
    Cell("eight streams, tokens/s", decode_many, ours_to_theirs, "≥ 1.0"),
    Cell("eight whole: prompts read and answers written, s", eight_whole, theirs_to_ours, "≥ 1.0 times as fast"),
    Cell("agents: 8 chats, 1,500 tokens in common, 5 turns, s", agents, theirs_to_ours, "≥ 1.3 times as fast"),
    Cell("short prompt beside a long one, s to first token", beside_long, ours_to_theirs, "≤ 0.5"),
    Cell("cached prefix: time to first token, share of cold", cached, lambda ours, _: ours, "≤ 0.15 (ours)"),
    Cell("edit, guessing against not, tokens/s", edit, ours_to_theirs, "", GUESSING, OURS),
    Cell("story, guessing against not, tokens/s", decode_one, ours_to_theirs, "", GUESSING, OURS),
]


class Answer:
    """When an answer was asked for, when its pieces came, and its text."""

    def __init__(self):
        self.asked, self.times, self.text = time.monotonic(), [], ""

    @property
    def first(self):
        return self.times[0]


def chat(server, messages, tokens):
    """One streamed answer of exactly so many tokens."""
    body = {"messages": messages, "max_tokens": tokens, "temperature": 0, "seed": 1, "stream": True, "ignore_eos": True}
    answer = Answer()
    response = ask(server, "POST", "/v1/chat/completions", json.dumps(body))
    if response.status != 200:
        raise SystemExit(f"bench: {server.name} answered {response.status}: {response.read()[:500]}")
    for line in response:
        # Other lines are empty, or comments that keep a slow connection open.
        data = line.removeprefix(b"data: ").strip()
        if not line.startswith(b"data: ") or data == DONE:
            continue
        event = json.loads(data)
        if "error" in event:
            raise SystemExit(f"bench: {server.name}: {event}")
        for choice in event.get("choices", []):
            text = choice["delta"].get("content")
            if text:
                answer.times.append(time.monotonic())
                answer.text += text
    if not answer.times:
        raise SystemExit(f"bench: {server.name} wrote nothing")
    return answer


def ask(server, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=1800)
    connection.request(method, path, body, {"content-type": "application/json"})
    return connection.getresponse()


def user(text):
    return {"role": "user", "content": text}


def words(mark, count):
    """So many words that no other mark begins with."""
    state = sum(ord(letter) * 31 ** place for place, letter in enumerate(mark))
    said = [mark]
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        said.append(WORDS[(state >> 33) % len(WORDS)])
    return " ".join(said)


if __name__ == "__main__":
    main()
