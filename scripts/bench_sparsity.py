#!/usr/bin/env python3
"""What sparsity itself gains: the demo's mixture of experts against the dense model stored the same way, which
`tollgate models make-moe --dense-control` writes, each through `tollgate engine`.

Decode and prefill, one stream and eight, the two models in turns in every round. Prints medians: tokens per second, the
engine's processor time for a token (which other work on the machine disturbs less), and of both the ratio within a
round. Standard library only.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

from local_engine import Engine

ANSWER = 64
TOPICS = ["the sea", "a dog", "old trains", "a garden", "the moon", "a lost key", "snow", "two brothers"]
PASSAGE = "The farmer counts his sheep, looks at the clouds and thinks of {}; then he walks home along the river. "


def processor_seconds(engine):
    """What the engine's process has used so far."""
    fields = Path(f"/proc/{engine.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(engine, asks, tokens):
    """Tokens per second, and processor milliseconds for a token, of asking all at once."""
    began, used = time.monotonic(), processor_seconds(engine)
    answers = engine.ask_all(asks)
    took, used = time.monotonic() - began, processor_seconds(engine) - used
    count = sum(tokens(said) for said in answers)
    return count / took, 1000 * used / count


def measure(arguments, model, round_number):
    """All four figures of one model, each a pair."""
    figures = {}
    for streams in (1, 8):
        with Engine(arguments.tollgate, model, streams, arguments.threads) as engine:
            # Words of the round's own in front, so that no prefix is kept from before.
            long = [(f"{round_number}.{n} " + PASSAGE.format(topic) * 10, 1) for n, topic in enumerate(TOPICS[:streams])]
            figures[f"prefill, {streams} stream" + "s" * (streams > 1)] = timed(engine, long, lambda said: said.prompt_tokens)
            short = [f"Write a long story about {topic}." for topic in TOPICS[:streams]]
            engine.ask_all([(prompt, 1) for prompt in short])
            asks = [(prompt, ANSWER) for prompt in short]
            figures[f"decode, {streams} stream" + "s" * (streams > 1)] = timed(engine, asks, lambda said: said.completion_tokens)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--moe", default="qwen-0.5b-moe", help="a known model or a GGUF file")
    parser.add_argument("--control", required=True, help="the dense control's GGUF file")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds = []
    for number in range(arguments.rounds):
        rounds.append([measure(arguments, model, number) for model in (arguments.moe, arguments.control)])
        print(f"==> round {number + 1} of {arguments.rounds}", flush=True)
    print("| | mixture, tok/s | control, tok/s | gain | mixture, CPU ms a token | control | gain |\n|---|---|---|---|---|---|---|")
    for name in sorted(rounds[0][0]):
        def median(of):
            return statistics.median(of(moe[name], control[name]) for moe, control in rounds)
        print(f"| {name} | {median(lambda m, c: m[0]):.1f} | {median(lambda m, c: c[0]):.1f} | {median(lambda m, c: m[0] / c[0]):.2f} × "
              f"| {median(lambda m, c: m[1]):.2f} | {median(lambda m, c: c[1]):.2f} | {median(lambda m, c: c[1] / m[1]):.2f} × |")


if __name__ == "__main__":
    main()
