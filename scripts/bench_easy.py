#!/usr/bin/env python3
"""What the demo's mixture of experts can still do: easy prompts with checkable answers (80 in engine/moe/easy.jsonl, 200
more in easy-more.jsonl), asked of it, of the dense model it was cut from and of the larger model, each through
`tollgate engine`.

Prints passes and speed; exits with 1 when the mixture passes fewer than --at-least of the first set. Standard library only.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

from local_engine import Engine

ROOT = Path(__file__).resolve().parent.parent
MODELS = ["qwen-0.5b-moe", "qwen-coder-0.5b", "qwen-coder-1.5b"]
SETS = ["easy", "easy-more"]
MAX_TOKENS = 80


def passes(task, text):
    """Whether an answer holds what the task asks for."""
    return re.search(task["passes"], text.strip(), re.IGNORECASE) is not None


def examine(arguments, model, tasks):
    """Asks one model a set. Returns what passed, and tokens per second over all and for one answer alone."""
    with Engine(arguments.tollgate, model, arguments.parallel, arguments.threads) as engine:
        alone = engine.ask("Tell me about the sea.", 64)
        began = time.monotonic()
        answers = engine.ask_all([(task["prompt"], MAX_TOKENS) for task in tasks])
        took = time.monotonic() - began
    results = [passes(task, said.text) for task, said in zip(tasks, answers)]
    if arguments.show:
        for task, said, passed in zip(tasks, answers, results):
            if not passed:
                print(f"    {model} missed: {task['prompt']!r} -> {said.text[:120]!r}")
    return results, sum(said.completion_tokens for said in answers) / took, alone.completion_tokens / (alone.ms / 1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--models", nargs="+", default=MODELS, help="known models or GGUF files; the first is the one judged")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, help="which prompts")
    parser.add_argument("--at-least", type=int, default=58, help="passes of the first set that the first model needs")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--show", action="store_true", help="print the prompts that were missed")
    arguments = parser.parse_args()
    sets = {name: [json.loads(line) for line in open(ROOT / f"engine/moe/{name}.jsonl", encoding="utf-8")] for name in arguments.sets}
    kinds = list(dict.fromkeys(task["category"] for tasks in sets.values() for task in tasks))
    head = ["model", "passes", "tok/s, one answer", f"tok/s, {arguments.parallel} at once", *kinds]
    rows, judged = [], None
    for model in arguments.models:
        for tasks in sets.values():
            results, together, alone = examine(arguments, model, tasks)
            asked = Counter(task["category"] for task in tasks)
            passed = Counter(task["category"] for task, well in zip(tasks, results) if well)
            judged = sum(results) if judged is None else judged
            rows.append([Path(model).stem if model.endswith(".gguf") else model, f"{sum(results)} of {len(tasks)}",
                         f"{alone:.0f}", f"{together:.0f}", *(f"{passed[kind]}/{asked[kind]}" for kind in kinds)])
            print(f"==> {rows[-1][0]}: {rows[-1][1]}", flush=True)
    widths = [max(len(str(row[column])) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
    if judged < arguments.at_least:
        sys.exit(f"bench-easy: {arguments.models[0]} passes {judged}, fewer than {arguments.at_least}")


if __name__ == "__main__":
    main()
