#!/usr/bin/env python3
"""How good the demo's two models are, prompt by prompt: asks both the same prompts with checkable answers and grades them.

    outcomes.py --tollgate target/release/tollgate --data DATA/train --references CLONES     runs (or goes on with) the tasks
    outcomes.py --tollgate target/release/tollgate --again small                               asks one of the two anew, after it has changed
    outcomes.py --report                                                                       prints what was found
    outcomes.py --labels FILE                                                                  writes what `tollgate calibrate` reads

Each line of outcomes.jsonl is {"id", "source", "prompt", "small_ok", "large_ok", …}, with tokens and milliseconds (eight answers
at once on one thread). Stop it whenever you like: it goes on where it stopped. Standard library only; git for the references (`tasks.py` says which).
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "scripts")]

import tasks  # noqa: E402
from local_engine import Engine  # noqa: E402

SMALL, LARGE = "qwen-0.5b-moe", "qwen-coder-1.5b"
BLOCK = 16
# Files of easy prompts with the pattern of a good answer, by the source that they are called here.
LISTED = {"easy-80": "easy.jsonl", "easy-200": "easy-more.jsonl"}


def run(arguments):
    """Works through the tasks block by block, so that a stop leaves whole blocks of both models behind."""
    listed = {source: read(ROOT / "engine/moe" / file) for source, file in LISTED.items()}
    drawn = tasks.draw(arguments.data, arguments.references, listed)
    done = {row["id"] for row in read(arguments.out)}
    left = [made for made in drawn if made["id"] not in done]
    print(f"==> {len(drawn)} tasks, {len(done)} done before", flush=True)
    with (Engine(arguments.tollgate, SMALL, 8, arguments.threads) as small,
          Engine(arguments.tollgate, LARGE, 8, arguments.threads) as large,
          open(arguments.out, "a", encoding="utf-8") as out):
        for start in range(0, len(left), BLOCK):
            block = left[start:start + BLOCK]
            asks = [(made["ask"], made["max_tokens"]) for made in block]
            for made, low, high in zip(block, small.ask_all(asks), large.ask_all(asks)):
                out.write(json.dumps(row(made, low, high), ensure_ascii=False) + "\n")
            out.flush()
            print(f"    {len(done) + start + len(block)} of {len(drawn)}", flush=True)


def row(made, low, high):
    """A line of the result."""
    shared = {name: made[name] for name in ("id", "source", "prompt", "reference")}
    return {**shared, "prompt_tokens": low.prompt_tokens, **graded("small", made, low), **graded("large", made, high)}


def graded(who, made, said):
    """What is kept of one model's answer."""
    return {f"{who}_ok": int(tasks.good(made, said.text)), f"{who}_tokens": said.completion_tokens,
            f"{who}_ms": said.ms, f"{who}_cut": int(said.cut)}


def again(arguments):
    """Asks one model all prompts anew and keeps what the other said; the file is replaced when all are answered."""
    who, rows = arguments.again, read(arguments.out)
    with Engine(arguments.tollgate, {"small": SMALL, "large": LARGE}[who], 8, arguments.threads) as engine:
        for start in range(0, len(rows), BLOCK):
            made = [tasks.task(line["source"], line["prompt"], line["reference"]) for line in rows[start:start + BLOCK]]
            for line, one, said in zip(rows[start:], made, engine.ask_all([(one["ask"], one["max_tokens"]) for one in made])):
                line.update(graded(who, one, said))
            print(f"    {start + len(made)} of {len(rows)}", flush=True)
    with open(arguments.out, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in rows)


def read(path):
    """The rows so far."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def labels(rows, path):
    """The rows as labels."""
    with open(path, "w", encoding="utf-8") as out:
        for line in rows:
            kept = {name: line[name] for name in ("id", "prompt", "small_ok", "large_ok")}
            out.write(json.dumps(kept, ensure_ascii=False) + "\n")


def interval(good, count):
    """A 95 % Wilson interval in percent."""
    z, share = 1.96, good / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return f"{100 * (middle - spread):.0f} to {100 * (middle + spread):.0f}"


def report(rows):
    """Accuracy by source: always small, always large, and an oracle that asks small wherever small is right."""
    groups = defaultdict(list)
    for line in rows:
        groups[line["source"]].append(line)
    print("| source | prompts | small % | 95 % | large % | 95 % | either % | only small % | only large % | tokens small / large |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for source, some in [*sorted(groups.items()), ("all", rows)]:
        count = len(some)
        small, large = sum(line["small_ok"] for line in some), sum(line["large_ok"] for line in some)
        both = sum(line["small_ok"] & line["large_ok"] for line in some)
        tokens = [sum(line[name] for line in some) / count for name in ("small_tokens", "large_tokens")]
        print(f"| {source} | {count} | {100 * small / count:.1f} | {interval(small, count)} | {100 * large / count:.1f} "
              f"| {interval(large, count)} | {100 * (small + large - both) / count:.1f} | {100 * (small - both) / count:.1f} "
              f"| {100 * (large - both) / count:.1f} | {tokens[0]:.0f} / {tokens[1]:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", type=Path, help="the tollgate binary")
    parser.add_argument("--data", type=Path, help="the training folder")
    parser.add_argument("--references", type=Path, help="where the sources' repositories are cloned")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "outcomes.jsonl")
    parser.add_argument("--labels", type=Path, help="only write the prompts with their outcomes there")
    parser.add_argument("--again", choices=["small", "large"], help="ask this model all prompts anew")
    parser.add_argument("--report", action="store_true", help="only print the table")
    arguments = parser.parse_args()
    if arguments.labels:
        return labels(read(arguments.out), arguments.labels)
    if arguments.again:
        again(arguments)
    elif not arguments.report:
        if not (arguments.tollgate and arguments.data and arguments.references):
            parser.error("--tollgate, --data and --references are needed to run the tasks")
        run(arguments)
    report(read(arguments.out))


if __name__ == "__main__":
    main()
