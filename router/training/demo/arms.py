#!/usr/bin/env python3
"""What fewer bits cost: one model at several quantizations, asked the same prompts, graded alike.

    arms.py --tollgate target/release/tollgate --model qwen-coder-1.5b --arms source,q3_k_m,q2_k      runs, or goes on
    arms.py --report                                                                                     prints what was found

Arms other than `source`, the file as it is fetched, are made from it by `tollgate models quantize`. Prompts, references and graders
are those of outcomes.jsonl and tasks.py; sums and word problems are asked for in short lines. Every block of prompts goes to all arms before the
next, so that a stop leaves pairs; it goes on where it stopped. Lines of arms.csv: model, arm, prompt's id, whether it is right,
tokens, whether it was cut, a hash of the text. Standard library only.
"""

import argparse
import csv
import hashlib
import json
import math
import random
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path[:0] = [str(HERE), str(ROOT / "scripts")]

import tasks  # noqa: E402
from local_engine import Engine  # noqa: E402

BLOCK = 32
DRAWS = 4000
# Answers to these are short, or long in a way that a line can ask to be short: two busy cores have to do.
EASY, EXAM, NUMBERS = ("easy", "easy-80"), ("openbookqa",), ("arithmetic", "svamp", "gsm8k")
SHORT_STEPS = '\n\nWork it out in one or two short lines and end with a line "Answer: NUMBER".'
NUMBER_TOKENS = 160
GROUPS = {"easy requests": EASY, "exam letters": EXAM, "sums and word problems": NUMBERS, "all": EASY + EXAM + NUMBERS}


def read(path):
    """Result lines by (model, arm), then by prompt."""
    found = {}
    if path.exists():
        with open(path, encoding="utf-8", newline="") as lines:
            for model, arm, name, good, tokens, cut, text in csv.reader(lines):
                found.setdefault((model, arm), {})[name] = (int(good), int(tokens), int(cut), text)
    return found


def prompts():
    """The tasks, as `tasks.py` makes them."""
    with open(HERE / "outcomes.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(7).shuffle(rows)
    for row in rows:
        if row["source"] in GROUPS["all"]:
            made = tasks.task(row["source"], row["prompt"], row["reference"])
            if made["kind"] == "number":
                made |= {"ask": row["prompt"] + SHORT_STEPS, "max_tokens": NUMBER_TOKENS}
            yield made


def files(arguments, folder):
    """Each arm's file, made where it is not there yet."""
    made = {}
    for arm in arguments.arms.split(","):
        made[arm] = arguments.model
        if arm != "source":
            path = folder / f"{arguments.model}-{arm}.gguf"
            if not path.exists():
                subprocess.run([arguments.tollgate, "models", "quantize", arguments.model, path, "--type", arm, "--allow-requantize"],
                               check=True)
            made[arm] = str(path)
    return made


def run(arguments):
    """Asks every arm every prompt, block by block."""
    drawn = list(prompts())[:arguments.prompts]
    done = read(arguments.out)
    with ExitStack() as stack:
        engines = {arm: stack.enter_context(Engine(arguments.tollgate, path, arguments.parallel, arguments.threads))
                   for arm, path in files(arguments, arguments.folder).items()}
        speeds(arguments, engines)
        out = csv.writer(stack.enter_context(open(arguments.out, "a", encoding="utf-8", newline="", buffering=1)))
        for start in range(0, len(drawn), BLOCK):
            for arm, engine in engines.items():
                before = done.get((arguments.model, arm), {})
                block = [made for made in drawn[start:start + BLOCK] if made["id"][:8] not in before]
                for made, said in zip(block, engine.ask_all([(made["ask"], made["max_tokens"]) for made in block])):
                    text = hashlib.sha256(said.text.encode()).hexdigest()[:8]
                    out.writerow([arguments.model, arm, made["id"][:8], int(tasks.good(made, said.text)), said.completion_tokens,
                                  int(said.cut), text])
            print(f"    {min(start + BLOCK, len(drawn))} of {len(drawn)}", flush=True)


def speeds(arguments, engines):
    """Tokens per second of processor time, which other work on the machine hardly changes; in turns, medians."""
    read_at, written_at = {arm: [] for arm in engines}, {arm: [] for arm in engines}
    for turn in range(arguments.rounds):
        for arm, engine in engines.items():
            began = engine.processor_s()
            usage = engine.usage(f"Turn {turn}. Tell me about these: " + "rivers, hills, towns, roads and bridges; " * 24, 1)
            middle = engine.processor_s()
            engine.usage(f"Turn {turn}.", 48)
            read_at[arm].append(usage["prompt_tokens"] / (middle - began))
            written_at[arm].append(48 / (engine.processor_s() - middle))
    if arguments.rounds:
        print("| arm | read, tokens per processor second | written, one answer |\n|---|---|---|")
    for arm in engines if arguments.rounds else ():
        print(f"| {arm} | {statistics.median(read_at[arm]):.0f} | {statistics.median(written_at[arm]):.1f} |", flush=True)


def compared(before, after):
    """Difference in points, its 95 % interval by a paired bootstrap, McNemar's exact p, and how many went each way."""
    pairs = [after[name][0] - before[name][0] for name in before if name in after]
    worse, better = pairs.count(-1), pairs.count(1)
    dice, count = random.Random(5), len(pairs)
    draws = sorted(sum(dice.choices(pairs, k=count)) / count for _ in range(DRAWS))
    fewest, changed = min(worse, better), worse + better
    chance = min(1.0, 2 * sum(math.comb(changed, k) for k in range(fewest + 1)) / 2 ** changed)
    return sum(pairs) / count, draws[int(0.025 * DRAWS)], draws[int(0.975 * DRAWS)], chance, worse, better


def report(found):
    """A table: each arm against `source`, on the prompts that all of a model's arms have answered."""
    sources = {made["id"][:8]: made["source"] for made in prompts()}
    print("| model | prompts | arm | n | right % | against source, points (95 %) | worse / better | p | same text % | tokens | cut % |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for model in sorted({model for model, _ in found}):
        arms = {arm: rows for (owner, arm), rows in found.items() if owner == model}
        shared = set.intersection(*(set(rows) for rows in arms.values()))
        for group, members in GROUPS.items():
            names = [name for name in shared if sources[name] in members]
            for arm, rows in arms.items() if names else ():
                mine = {name: rows[name] for name in sorted(names)}
                base = {name: arms["source"][name] for name in mine}
                gap, low, high, chance, worse, better = compared(base, mine)
                share = lambda of: 100 * sum(map(of, mine)) / len(mine)  # noqa: E731
                against = "" if arm == "source" else f"{100 * gap:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}) | {worse} / {better} | {chance:.3f}"
                print(f"| {model} | {group} | {arm} | {len(mine)} | {share(lambda name: mine[name][0]):.1f} | {against or ' | | '} "
                      f"| {share(lambda name: mine[name][3] == base[name][3]):.0f} | {share(lambda name: mine[name][1]) / 100:.0f} "
                      f"| {share(lambda name: mine[name][2]):.0f} |")


def labels(found, arguments):
    """Labels for `tollgate calibrate`: of two arms, `small:large`, each MODEL/ARM."""
    small, large = (tuple(name.split("/")) for name in arguments.pair.split(":"))
    texts = {made["id"][:8]: made["prompt"] for made in prompts()}
    with open(arguments.labels, "w", encoding="utf-8") as out:
        for name in found[small].keys() & found[large].keys():
            line = {"prompt": texts[name], "small_ok": found[small][name][0], "large_ok": found[large][name][0]}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", help="the tollgate binary")
    parser.add_argument("--model", default="qwen-coder-1.5b", help="a known model")
    parser.add_argument("--arms", default="source,q3_k_m,q2_k", help="`source` and types of `tollgate models quantize`")
    parser.add_argument("--folder", type=Path, default=ROOT / "target/arms", help="where the quantized files go")
    parser.add_argument("--prompts", type=int, help="only so many")
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="of the speed measurement; 0 = none")
    parser.add_argument("--out", type=Path, default=HERE / "arms.csv")
    parser.add_argument("--report", action="store_true", help="only print the table")
    parser.add_argument("--labels", type=Path, help="only write labels of a --pair there")
    parser.add_argument("--pair", default="qwen-coder-1.5b/q2_k:qwen-coder-1.5b/source", help="which small and which large, as MODEL/ARM")
    arguments = parser.parse_args()
    if arguments.labels:
        return labels(read(arguments.out), arguments)
    if not arguments.report:
        if not arguments.tollgate:
            parser.error("--tollgate is needed to run")
        arguments.folder.mkdir(parents=True, exist_ok=True)
        run(arguments)
    report(read(arguments.out))


if __name__ == "__main__":
    main()
