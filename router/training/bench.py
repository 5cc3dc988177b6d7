"""`make bench-router`: measures the shipped graph on dev/ and writes docs/router-bench.md and its chart.

Scores, routes and times come from the router's own code (router/benches/router.rs); this file makes tables of them.
"""
import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import evaluate
import measures
import perturb
import plot
import sources
import tables

# Labels of a user who has some of each, and how often a fit is repeated with others.
LABELS = {"MMLU": 1500, "GSM8K": 300}
SIZES = [100, 300, 1000, 1800]
REPEATS = 8
BENCHES = {"MMLU": "routellm_mmlu_dev", "GSM8K": "routellm_gsm8k_dev"}
ROOT = Path(__file__).parents[2]
PERTURBED = 520


def router(mode, lines=(), *arguments):
    """Lines of JSON that the router's benchmark prints."""
    command = ["cargo", "bench", "--locked", "--quiet", "-p", "tollgate-router", "--bench", "router", "--", mode, *arguments]
    done = subprocess.run(command, input="".join(json.dumps(line) + "\n" for line in lines), stdout=subprocess.PIPE, cwd=ROOT, check=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def scored(prompts, *calibration):
    """What the router says of each prompt, as arrays by name."""
    found = router("score", ({"prompt": prompt} for prompt in prompts), *calibration)
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


def plain():
    """What plain requests that training did not see are scored as, by language ("" for the first list, English with some others among it):
    ({language: {domain: (right, all)}}, {language: {what orders: (pairs in order, those whose harder is no longer)}})."""
    here = Path(__file__).parent
    rows, pairs = evaluate.jsonl(here / "unseen.jsonl"), evaluate.jsonl(here / "unseen_pairs.jsonl")
    right = {}
    for row, said in zip(rows, router("score", ({"prompt": row["prompt"]} for row in rows))):
        right.setdefault(row.get("lang", ""), {}).setdefault(row["domain"], []).append(said["domain"] == row["domain"])
    easier, harder = (scored([pair[side] for pair in pairs]) for side in ("easier", "harder"))
    no_longer = np.array([len(pair["harder"]) <= len(pair["easier"]) for pair in pairs])
    rises = {"difficulty": harder["difficulty"] > easier["difficulty"], "p_small": harder["p_small"] < easier["p_small"]}
    tongue = np.array([pair.get("lang", "") for pair in pairs])
    return ({name: {domain: (sum(hits), len(hits)) for domain, hits in sorted(found.items())} for name, found in right.items()},
            {name: {by: (up[tongue == name], no_longer[tongue == name]) for by, up in rises.items()} for name in right})


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


def calibrated(benches, size, seed, file):
    """Fits to `size` labels of all benchmarks, in the proportions of LABELS: (rows left, what is said of them) of each."""
    share = size / sum(LABELS.values())
    order = {name: np.random.default_rng(seed).permutation(len(bench.prompts)) for name, bench in benches.items()}
    taken = {name: round(share * LABELS[name]) for name in benches}
    lines = [{"prompt": bench.prompts[at], "small_ok": int(bench.weak[at]), "large_ok": int(bench.strong[at])}
             for name, bench in benches.items() for at in order[name][:taken[name]]]
    fitted = router("calibrate", lines, file)[0]
    # Always the same rows are judged, whatever the size.
    rest = {name: np.sort(order[name][LABELS[name]:]) for name in benches}
    said = {name: scored([benches[name].prompts[at] for at in rows], file) for name, rows in rest.items()}
    return {name: (rest[name], said[name]) for name in benches}, fitted


def learning(benches):
    """{size: [(fit, benchmark's rows and what is said), ...]} for all sizes and repeats."""
    with tempfile.TemporaryDirectory() as folder:
        return {size: [calibrated(benches, size, seed, str(Path(folder, "router.json"))) for seed in range(REPEATS)] for size in SIZES}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with train/ and dev/")
    parser.add_argument("--docs", required=True, help="folder of router-bench.md")
    args = parser.parse_args()
    print("==> scoring dev/", flush=True)
    benches = {name: Bench(args.data, file) for name, file in BENCHES.items()}
    print("==> calibrating on a part of it", flush=True)
    learned = learning(benches)
    print("==> changing prompts", flush=True)
    robustness = flips(some_prompts(args.data, PERTURBED))
    print("==> timing", flush=True)
    latency = router("latency")[0]
    docs = Path(args.docs)
    routed = {name: (1 - bench.said["small"].mean(), np.where(bench.said["small"] > 0, bench.weak, bench.strong).mean()) for name, bench in benches.items()}
    first = learned[SIZES[-1]][0][0]
    unseen = {name: (said["difficulty"], benches[name].weak[rows], benches[name].strong[rows]) for name, (rows, said) in first.items()}
    plot.chart(docs / "img" / "router-bench.png", {name: (bench.scores, bench.weak, bench.strong) for name, bench in benches.items()}, routed, unseen)
    text = tables.page(benches, learned, plain(), robustness, latency, os.getloadavg()[0])
    (docs / "router-bench.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
