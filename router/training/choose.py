"""How `difficulty` was mixed: the least regret over groups of prompts that training did not see, dev/ untouched.

Takes train.py's arguments, after a run of it.  A group is a source with outcomes, left
out of training with its kin, judged over the pairs of its models that one would route between; three are sets whose
outcomes are not here but for which it is published what the word count alone recovers; three are requests of which it was judged how
hard they are: the everyday ones, the plain ones, and of these the pairs whose harder one is not the longer.
A mix's regret in a group is what the best mix tried recovers there beyond it.
"""
import argparse
import itertools
import json
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

import dataset
import evaluate
import measure
import model as models
import net as nets
import rank
import sources
import train

# APGR of the word count as published, and unlabelled training prompts of the kind.
PUBLISHED = {"MMLU": (0.588, ["LLMRouter/mmlu", "LLMRouter/arc_challenge", "RouterBench/arc_challenge", "MMLU-Pro", "AGIEval/lsat-lr", "AGIEval/sat-en-without-passage",
                              "AGIEval/sat-math", "AGIEval/aqua-rat", "LLM-Adapters/openbookqa"]),
             "GSM8K": (0.593, ["GSM8K/train"]), "MT-Bench": (0.571, ["arena-hard-v0.1", "dolly_hhrlhf_small", "self-instruct/seed"])}
# Of the weights in train.py, where `length` is what rank and length's share make together.
GRID = {"from": [8, 12, 16, 20, 30], "length": [0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0], "heads": [0.0, 0.5, 1.0, 1.75, 3.5], "bends": [0.33, 0.67, 1.0, 1.5, 2.0]}
LEAST, PAIRS = 300, 12
# What order among judged requests counts for, beside areas of outcomes, which noise keeps near one half.
REQUESTS = 0.5


class Parts:
    """The terms of difficulty's logit for some rows."""

    def __init__(self, data, made):
        self.words, config = made.words, data.config
        weights, length = config["difficulty"], config["rank"]["length"]
        small, large = made.probabilities(data.platt)
        bend = lambda x, part: np.logaddexp(0, part["sharp"] * (x - part["from"])) * part["share"] / part["sharp"]
        self.gap = weights["gap"] * (large - small)
        self.bends = bend(made.out[:, nets.EASINESS], weights["easy"]) + bend(large - small, weights["wide"])
        self.heads = weights["rank"] * made.heads
        self.length = {start: weights["rank"] * rank.length(made.words, made.likely, length | {"from": start}) for start in GRID["from"]}

    def mix(self, start, length, heads, bends):
        return self.gap + bends * self.bends + heads * self.heads + length * self.length[start]


def pairs(rows):
    """Outcomes of pairs that one would route between: neither fails nearly always, the larger is good and clearly better."""
    outcomes = rank.matrix(rows)
    right = np.nanmean(outcomes, 0)
    usable = [m for m in np.argsort(right) if 0.3 <= right[m] <= 0.97 and np.isfinite(outcomes[:, m]).mean() > 0.9]
    found = [(a, b) for a, b in itertools.combinations(usable, 2) if 0.05 <= right[b] - right[a] <= 0.35 and right[b] >= 0.6]
    some = np.random.default_rng(0).permutation(len(found))[:PAIRS]
    return [tuple((outcomes[:, m] > 0.5).astype(float) for m in found[i]) for i in some]


def told(data, folder):
    """{source: (parts, pairs)} of sources with outcomes, by models that did not see their group; RouterDC and AlpacaEval are never trained on."""
    groups, everything = {}, data.fit(np.arange(len(data.rows)))
    for prefix in measure.GROUPS.values():
        out_of = np.char.startswith(data.source, prefix)
        net = data.fit(np.flatnonzero(~out_of))
        for source in np.unique(data.source[out_of]):
            at = np.flatnonzero(data.source == source)
            if len(at) >= LEAST and source not in sources.UNTOLD:
                groups[source] = (Parts(data, data.predict(net, data.bag[at], data.raw[at])), pairs([data.rows[i] for i in at]))
    unused = {}
    for row in evaluate.jsonl(Path(folder, "routerdc_outcomes.jsonl")):
        unused.setdefault(row["source"].removesuffix("_train").removesuffix("_test"), []).append(row)
    for source, rows in unused.items():
        if len(rows) >= LEAST:
            bag, raw, _ = dataset.features(data.program, [row["prompt"] for row in rows], data.work)
            groups[source] = (Parts(data, data.predict(everything, bag, raw)), pairs(rows))
    rows = evaluate.jsonl(Path(folder, "alpacaeval_preferences.jsonl"))
    bag, raw, _ = dataset.features(data.program, [row["prompt"] for row in rows], data.work)
    won = np.array([row["weak_win_prob"] for row in rows])
    groups["AlpacaEval"] = Parts(data, data.predict(everything, bag, raw)), [(won, np.full(len(won), 0.5))]
    return {source: group for source, group in groups.items() if group[1]}


def judged(out, data, prefix, hard, easy):
    """(parts, pairs in order if the first is above the second, pairs of these whose harder one is not longer) of judged requests."""
    at = np.flatnonzero(np.char.startswith(data.source, prefix))
    small = np.array([data.rows[i]["soft"][0] for i in at])
    above = np.ix_(np.flatnonzero(small <= hard), np.flatnonzero(small >= easy))
    parts = Parts(data, out.at(at))
    return parts, above, parts.words[above[0]] <= parts.words[above[1]]


def recovered(told_groups, published, requests, mix):
    """What a mix recovers in every group."""
    found = [np.mean([evaluate.apgr(group.mix(*mix), weak, strong) for weak, strong in two]) for group, two in told_groups.values()]
    for apgr, group in published.values():
        alike = np.corrcoef(rankdata(group.mix(*mix)), rankdata(group.words))[0, 1]
        found.append(0.5 + (apgr - 0.5) * alike)  # as if all that is not length were noise there
    for (parts, (hard, easy), no_longer), short in requests:
        score = parts.mix(*mix)
        # As an area recovered: what is in order, between random and all.
        found.append(0.5 + ((score[hard] > score[easy])[no_longer if short else ...].mean() - 0.5) * REQUESTS)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with the training files")
    parser.add_argument("--features", required=True)
    parser.add_argument("--work", required=True)
    args = parser.parse_args()
    data = models.Data(args.data, args.features, args.work, train.CONFIG)
    out, _ = train.out_of_fold(data)
    measure.calibrate(data, out)
    groups = told(data, args.data)
    some = lambda names: np.concatenate([np.flatnonzero(data.source == name)[:400] for name in names])
    published = {name: (apgr, Parts(data, out.at(some(names)))) for name, (apgr, names) in PUBLISHED.items()}
    everyday, plain = judged(out, data, "everyday/", 0.5, 0.88), judged(out, data, "plain/", 0.5, 0.8)
    requests = [(everyday, False), (plain, False), (plain, True)]
    mixes = list(itertools.product(*GRID.values()))
    table = np.array([recovered(groups, published, requests, mix) for mix in mixes])
    regret = table.max(0) - table
    np.set_printoptions(linewidth=250)
    # The last of the told groups, AlpacaEval, tells of preferences and is kept out of their mean.
    print(" ".join([*groups, *published, "everyday", "plain", "plain, harder not longer"]))
    now = (train.CONFIG["rank"]["length"]["from"], 1.0, 1.0, 1.0)
    for i in [*np.argsort(regret.max(1))[:10], mixes.index(now)]:
        print(json.dumps(dict(zip(GRID, mixes[i]))), f"worst {regret[i].max():.4f} mean {regret[i].mean():.4f} told {table[i, :len(groups) - 1].mean():.4f}", table[i].round(3))


if __name__ == "__main__":
    main()
