"""Trains the router's graph: cross-validates, fits on everything, exports, and writes what was measured."""
import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2

import card
import dataset
import evaluate
import export
import net as nets
import sources

CONFIG = {
    "size": 24, "hidden": 48, "least": 4, "epochs": 4, "batch": 512, "rate": 3e-3, "decay": 0.02, "table_decay": 3.0, "dropout": 0.5, "noise": 0.1,
    "hidden_dropout": 0.1, "seed": 7, "cells": 64,
    "difficulty": {"bias": -1.6, "easiness": -0.55, "gap": 3.0, "words": 0.35},
    "weights": {"length": 0.3, "proxy": 0.1, "domain": 0.2},
    "targets": {"balance": 0.5, "reference": 4.0, "outcome": 1.0, "soft": {"everyday": 1.0, "steps": 0.4, "level": 0.4, "effort": 0.25}},
}


class Data:
    """Everything training works on."""

    def __init__(self, folder, program, work, config):
        self.rows, self.excluded = sources.load(folder)
        self.bag, raw, self.spec = dataset.features(program, [row["prompt"] for row in self.rows], work)
        self.domains = self.spec["domains"].split()
        self.config = config
        self.mean, self.deviation = raw.mean(0), raw.std(0) + 1e-3
        self.raw, self.dense = raw, self.standard(raw)
        self.targets, self.models = dataset.targets(self.rows, self.domains, config["targets"])
        self.source = np.array([row["source"] for row in self.rows])

    def standard(self, raw):
        return np.clip((raw - self.mean) / self.deviation, -4, 4).astype(np.float32)

    def fit(self, rows, seed=0):
        config = self.config
        # Only n-grams of the training rows count, so that what is left out stays unseen.
        _, kept = dataset.prune(self.bag[rows], config["least"])
        net = nets.Net(self.bag.shape[1], self.dense.shape[1], len(self.domains), len(self.models), {0: 0.0, 1: 1.0}, config["size"], config["hidden"], config["seed"] + seed)
        net.p["table"][~kept] = 0
        bag = self.bag.copy()
        bag.data *= kept[bag.indices]
        nets.train(net, bag, self.dense, self.targets, rows, config, config["seed"] + seed)
        net.kept = kept
        return net


def probabilities(out):
    s, a = out[:, nets.EASINESS], nets.softplus(out[:, nets.SLOPE])
    return nets.sigmoid(s), nets.sigmoid(s + a)


def difficulty(out, words, weights):
    """0..1: hard for the small model, a large gap, and long for its kind. Higher = needs the large model."""
    small, large = probabilities(out)
    return nets.sigmoid(weights["bias"] + weights["easiness"] * out[:, nets.EASINESS] + weights["gap"] * (large - small) + weights["words"] * words)


GROUPS = {"MMLU-Pro": "MMLU-Pro", "RouterBench": "RouterBench/", "ZeroEval": "ZeroEval/", "LLMRouter": "LLMRouter/"}


def scored(data, rows, out, raw):
    """Scores of some rows by name."""
    small, large = probabilities(out)
    return {"difficulty": difficulty(out, raw[:, 1], data.config["difficulty"]), "gap": large - small, "fails": 1 - small, "words": raw[:, 1]}


def compare(scores, weak, strong):
    return {"n": len(weak), **{name: round(float(evaluate.apgr(s, weak, strong)), 4) for name, s in scores.items()}}


def held_out(data):
    """Leave one group of sources out: APGR of each of its sources with a pair of models."""
    table = {}
    for prefix in GROUPS.values():
        out_of = np.char.startswith(data.source, prefix)
        rows = np.flatnonzero(out_of)
        scores = scored(data, rows, data.fit(np.flatnonzero(~out_of)).outputs(data.bag[rows], data.dense[rows]), data.raw[rows])
        for source in np.unique(data.source[rows]):
            at = data.source[rows] == source
            weak, strong = np.array([data.rows[i]["pair"] for i in rows[at]], float).T
            if strong.mean() - weak.mean() >= 0.05 and at.sum() >= 300:
                table[source] = compare({k: v[at] for k, v in scores.items()}, weak, strong)
    return table


def out_of_fold(data, folds=4):
    """Outputs for every row from networks that did not see it."""
    fold = np.random.default_rng(data.config["seed"]).permutation(len(data.rows)) % folds
    outs = np.zeros((len(data.rows), nets.DOMAIN + len(data.domains)), np.float32)
    unknown = np.zeros(len(data.rows))
    for k in range(folds):
        net = data.fit(np.flatnonzero(fold != k), seed=k + 1)
        rows = np.flatnonzero(fold == k)
        outs[rows] = net.outputs(data.bag[rows], data.dense[rows])
        unknown[rows] = unknown_share(net, data.bag[rows], data.spec)
    return outs, unknown


def unknown_share(net, bag, spec):
    """Share of each row's word weight that training did not keep."""
    square = bag.multiply(bag).tocsr()
    word = np.arange(bag.shape[1]) < spec["word_buckets"]
    return 1 - (square @ (word & net.kept).astype(np.float32)) / np.maximum(square @ word.astype(np.float32), 1e-6)


def cells(net, bag, dense, count, seed):
    """(centres of the training rows in the network's input space, distance that nearly all stay within)."""
    bag = bag.copy()
    bag.data = bag.data * net.kept[bag.indices]
    u = np.concatenate([nets.unit(bag) @ net.p["table"], dense], axis=1)
    centres, _ = kmeans2(u[::2].astype(np.float64), count, iter=12, minit="++", seed=seed)
    square = (u ** 2).sum(1)[:, None] - 2 * u @ centres.T + (centres ** 2).sum(1)
    return centres.astype(np.float32), float(np.quantile(square.min(1), 0.998))


def tolerances(data, out):
    """The table of tolerated gaps, from unseen rows with the outcomes of a pair of models or a judgement."""
    small, large = probabilities(out)
    rows = [i for i, row in enumerate(data.rows) if row["pair"][0] is not None or "soft" in row]
    pairs = np.array([data.rows[i].get("soft") or data.rows[i]["pair"] for i in rows], float)
    weight = data.targets["row_weight"][rows]
    return evaluate.tolerance_table((large - small)[rows], pairs[:, 0], pairs[:, 1], weight)


def calibration(data, out):
    """Calibration error of both heads against the two reference models, on unseen rows."""
    table = {}
    for name, p, model in (("p_small", probabilities(out)[0], sources.MIXTRAL), ("p_large", probabilities(out)[1], sources.GPT4)):
        rows = [i for i, row in enumerate(data.rows) if model in row["outcomes"]]
        y = [data.rows[i]["outcomes"][model] for i in rows]
        table[name] = {"n": len(rows), "ece": round(float(evaluate.ece(p[rows], y)), 4), "mean": round(float(p[rows].mean()), 4), "outcome": round(float(np.mean(y)), 4)}
    return table


def dev(data, net, folder, program, work):
    """The same on dev/, for the report only: nothing is chosen by it."""
    table = {}
    for path in sorted(Path(folder, "..", "dev").glob("routellm_*_dev.jsonl")):
        rows = [r for r in evaluate.jsonl(path) if not r["contaminated"]]
        bag, raw, _ = dataset.features(program, [r["prompt"] for r in rows], work)
        weak, strong = np.array([(r["weak_score"], r["strong_score"]) for r in rows], float).T
        out = net.outputs(bag, data.standard(raw))
        small, large = probabilities(out)
        table[path.stem] = {**compare(scored(data, None, out, raw), weak, strong), "p_small": round(float(small.mean()), 3), "weak": round(float(weak.mean()), 3), "p_large": round(float(large.mean()), 3), "strong": round(float(strong.mean()), 3)}
    return table


def show(title, table):
    print(title)
    for name, values in table.items():
        print("  %-28s" % name, "  ".join(f"{k} {v}" for k, v in values.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with the training files")
    parser.add_argument("--features", required=True, help="the router-features program")
    parser.add_argument("--work", required=True, help="folder for intermediate files")
    parser.add_argument("--model", default=str(Path(__file__).parent.parent / "model"))
    parser.add_argument("--quick", action="store_true", help="no leave-one-source-out table")
    args = parser.parse_args()
    start = time.time()
    data = Data(args.data, args.features, args.work, CONFIG)
    print(f"{len(data.rows)} rows used, {sum(n for n, _ in data.excluded.values())} left out for their licence")
    out, unknown = out_of_fold(data)
    quality = tolerances(data, out)
    print("kept share -> tolerated gap", quality)
    report = {"rows": len(data.rows), "calibration": calibration(data, out), "quality": quality, "within": within(data, out)}
    show("calibration on unseen rows", report["calibration"])
    show("APGR on unseen rows of the same sources", report["within"])
    net = data.fit(np.arange(len(data.rows)))
    centres, far = cells(net, data.bag, data.dense, CONFIG["cells"], CONFIG["seed"])
    shape = {"difficulty": CONFIG["difficulty"], "cells": centres, "far": far, "unknown": float(np.quantile(unknown, 0.985))}
    report["unknown_words_tolerated"] = round(shape["unknown"], 4)
    model = export.build(net, data.spec, data.mean, data.deviation, shape, export.metadata(data.spec, quality))
    path = Path(args.model, "router.onnx")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    sample = np.random.default_rng(0).choice(len(data.rows), 500, replace=False)
    served = export.run(path, data.bag[sample], data.raw[sample])
    drift = np.abs(served[:, 0] - probabilities(net.outputs(data.bag[sample], data.dense[sample]))[0]).max()
    print(f"graph {path.stat().st_size / 1e6:.1f} MB, largest difference to training {drift:.4f}, unfamiliar {np.mean(served[:, 5] > 1):.3f}")
    if drift > 0.03:
        raise SystemExit("the graph does not compute what was trained")
    report["dev"] = dev(data, net, args.data, args.features, args.work)
    show("dev (reported, never used to choose)", report["dev"])
    if not args.quick:
        report["held_out"] = held_out(data)
        show("APGR, the whole group of sources left out", report["held_out"])
    report["domains"] = domain_accuracy(data, out)
    report["seconds"] = round(time.time() - start)
    Path(args.model, "metrics.json").write_text(json.dumps(report, indent=1) + "\n")
    Path(args.model, "card.md").write_text(card.text(data, report, CONFIG))
    print(f"done in {report['seconds']} s")


def within(data, out):
    scores = scored(data, None, out, data.raw)
    table = {}
    for source in np.unique(data.source):
        rows = [i for i in np.flatnonzero(data.source == source) if data.rows[i]["pair"][0] is not None]
        if len(rows) >= 300:
            weak, strong = np.array([data.rows[i]["pair"] for i in rows], float).T
            if strong.mean() - weak.mean() >= 0.05:
                table[source] = compare({k: v[rows] for k, v in scores.items()}, weak, strong)
    return table


def domain_accuracy(data, out):
    right = out[:, nets.DOMAIN:].argmax(1) == data.targets["domain"]
    return {name: round(float(right[data.targets["domain"] == i].mean()), 3) for i, name in enumerate(data.domains)}


if __name__ == "__main__":
    main()
