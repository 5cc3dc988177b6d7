"""`make bench-router`: measures the shipped graph on dev/ and writes docs/router-bench.md and its chart.

Scores, routes and times come from the router's own code (router/benches/router.rs); this file makes tables of them.
"""
import argparse
import json
import os
import subprocess
from pathlib import Path

import numpy as np

import evaluate
import measures
import perturb
import plot
import sources
import tables

BENCHES = {"MMLU": "routellm_mmlu_dev", "GSM8K": "routellm_gsm8k_dev"}
ROOT = Path(__file__).parents[2]
PERTURBED = 520


def router(mode, lines=(), *arguments):
    """Lines of JSON that the router's benchmark prints."""
    command = ["cargo", "bench", "--locked", "--quiet", "-p", "tollgate-router", "--bench", "router", "--", mode, *arguments]
    done = subprocess.run(command, input="".join(json.dumps(line) + "\n" for line in lines), stdout=subprocess.PIPE, cwd=ROOT, check=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def scored(prompts):
    """What the router says of each prompt, as arrays by name."""
    found = router("score", ({"prompt": prompt} for prompt in prompts))
    names = ("difficulty", "p_small", "p_large", "small")
    return {name: np.array([row[name] for row in found], float) for name in names} | {"length": np.array([row["output_tokens"]["p50"] for row in found], float)}


class Bench:
    """One benchmark: prompts, both models' outcomes, and the scores."""

    def __init__(self, folder, file):
        self.rows = [row for row in evaluate.jsonl(Path(folder, "dev", f"{file}.jsonl")) if not row["contaminated"]]
        self.prompts = [row["prompt"] for row in self.rows]
        self.weak, self.strong = np.array([(row["weak_score"], row["strong_score"]) for row in self.rows], float).T
        self.said = scored(self.prompts)
        self.scores = {"difficulty": self.said["difficulty"], "gap": self.said["p_large"] - self.said["p_small"],
                       "words": np.array([len(prompt.split()) for prompt in self.prompts], float)}
        self.tokens = np.array([len(prompt) / 4 for prompt in self.prompts])


def everyday():
    """Requests of the tests' list."""
    lines = Path(ROOT, "router/tests/everyday.txt").read_text().splitlines()
    return [line.split(" ", 2)[2] for line in lines if line and not line.startswith("#")]


def some_prompts(folder, count):
    """Everyday requests, and training prompts from every source in turn; long ones are left out."""
    rows, _ = sources.load(Path(folder, "train"))
    by_source = {}
    for at in np.random.default_rng(5).permutation(len(rows)):
        if len(rows[at]["prompt"]) < 4_000:
            by_source.setdefault(sources.used_key(rows[at]["source"]), []).append(rows[at]["prompt"])
    chosen = everyday()
    queues = [by_source[name] for name in sorted(by_source)]
    while len(chosen) < count:
        for queue in queues:
            chosen += [queue.pop()] if queue and len(chosen) < count else []
    return chosen


def flips(prompts):
    """{kind: (share that changes side at the default policy, at the median)}, and what is compared with."""
    changed = perturb.all_kinds(prompts)
    said = scored(prompts + [text for texts in changed.values() for text in texts])
    count, median = len(prompts), np.median(said["difficulty"][:len(prompts)])
    policy, above = said["small"], said["difficulty"] > median
    table = {}
    for nth, kind in enumerate(changed, 1):
        part = slice(nth * count, (nth + 1) * count)
        sides = [(policy[part] != policy[:count]), (above[part] != above[:count])]
        table[kind] = [(float(side.mean()), measures.interval(lambda rows: side[rows].mean(), count)) for side in sides]
    return table, count, float(policy[:count].mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with train/ and dev/")
    parser.add_argument("--docs", required=True, help="folder of router-bench.md")
    args = parser.parse_args()
    print("==> scoring dev/", flush=True)
    benches = {name: Bench(args.data, file) for name, file in BENCHES.items()}
    print("==> changing prompts", flush=True)
    robustness = flips(some_prompts(args.data, PERTURBED))
    print("==> timing", flush=True)
    latency = router("latency")[0]
    docs = Path(args.docs)
    routed = {name: (1 - bench.said["small"].mean(), np.where(bench.said["small"] > 0, bench.weak, bench.strong).mean()) for name, bench in benches.items()}
    plot.chart(docs / "img" / "router-bench.png", {name: (bench.scores, bench.weak, bench.strong) for name, bench in benches.items()}, routed)
    text = tables.page(benches, robustness, latency, os.getloadavg()[0])
    (docs / "router-bench.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
