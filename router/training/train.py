"""Trains the router's graph: cross-validates, fits on everything, exports, and writes what was measured."""
import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy.cluster.vq import kmeans2

import abilities
import card
import export
import measure
import model as models
import net as nets
import calibration_plot

CONFIG = {
    "columns": (24, 16), "units": (48, 48), "least": 4, "epochs": 8, "batch": 512, "rate": 3e-3, "decay": 0.02, "table_decay": 3.0, "dropout": 0.5, "noise": 0.1,
    "hidden_dropout": 0.1, "seed": 7, "cells": 64, "meaning": 64,
    # difficulty = sigmoid(bias + easy's bend + wide's bend + rank * ranking score), see Predicted.difficulty.
    "difficulty": {"bias": -2.02, "gap": 4.0, "rank": 0.2, "easy": {"from": 1.5, "sharp": 3.0, "share": -1.0}, "wide": {"from": 0.36, "sharp": 20.0, "share": 4.0}},
    "rank": {"length": {"share": 5.0, "from": 16, "until": 250, "fall": 2.0, "domains": ["knowledge", "math", "reasoning"]},
             "heads": {"gap": {"share": 0.2, "penalty": 0.01, "meaning_only": False},
                       "exam": {"share": 0.2, "penalty": 0.1, "meaning_only": True},
                       "steps": {"share": 0.25, "penalty": 0.03, "meaning_only": False}}},
    "weights": {"length": 0.3, "proxy": 0.1, "domain": 0.8},
    "targets": {"balance": 0.5, "reference": 4.0, "outcome": 1.0, "domain": {"plain": 3.0, "balance": 0.5}, "soft": {"everyday": 1.0, "plain": 0.1, "exam": 0.3, "steps": 0.4, "level": 0.4, "effort": 0.25}},
}


# The largest difference between a head as trained and as served, which the table's 8 bits explain.
MOST_DRIFT = 0.15
# Prompts whose scores are kept for the router's tests.
EXAMPLES = 24


def unknown_share(net, bag, spec):
    """Share of each row's word weight that training did not keep."""
    square = bag.multiply(bag).tocsr()
    word = np.arange(bag.shape[1]) < spec["word_buckets"]
    return 1 - (square @ (word & net.kept).astype(np.float32)) / np.maximum(square @ word.astype(np.float32), 1e-6)


def out_of_fold(data, folds=4):
    """(predictions for every row by models that did not see it, shares of unknown words)."""
    fold = np.random.default_rng(data.config["seed"]).permutation(len(data.rows)) % folds
    out = np.zeros((len(data.rows), nets.DOMAIN + len(data.domains)), np.float32)
    heads, unknown = np.zeros((2, len(data.rows)))
    for k in range(folds):
        net = data.fit(np.flatnonzero(fold != k), seed=k + 1)
        rows = np.flatnonzero(fold == k)
        out[rows], heads[rows] = net.outputs(data.bag[rows], data.dense[rows]), data.dense[rows] @ net.rank
        unknown[rows] = unknown_share(net, data.bag[rows], data.spec)
    return data.predicted(out, heads, data.raw), unknown


def cells(net, bag, dense, count, seed):
    """(centres of the training rows in the network's input space, distance that nearly all stay within)."""
    bag = bag.copy()
    bag.data = bag.data * net.kept[bag.indices]
    u = np.concatenate([nets.unit(bag) @ net.p["table"], dense], axis=1)
    centres, _ = kmeans2(u[::2].astype(np.float64), count, iter=12, minit="++", seed=seed)
    square = (u ** 2).sum(1)[:, None] - 2 * u @ centres.T + (centres ** 2).sum(1)
    return centres.astype(np.float32), float(np.quantile(square.min(1), 0.998))


def ship(data, net, unknown, quality, path):
    """Writes the graph and checks that ONNX Runtime computes what was trained. Returns the share of unknown words tolerated."""
    centres, far = cells(net, data.bag, data.dense, CONFIG["cells"], CONFIG["seed"])
    shape = {"cells": centres, "far": far, "unknown": float(np.quantile(unknown, 0.985))}
    path.parent.mkdir(parents=True, exist_ok=True)
    export.build(net, data, shape, export.metadata(data, shape, quality), path)
    sample = np.random.default_rng(0).choice(len(data.rows), 500, replace=False)
    bag, raw = data.bag[sample], data.raw[sample]
    heads, near = export.run(path, net, data, sample)
    inputs = data.inputs(bag, raw)
    out = net.outputs(bag, inputs)
    wanted = np.concatenate([out[:, [nets.EASINESS, nets.SLOPE, nets.MEDIAN, nets.HIGH]], (inputs @ net.rank)[:, None], out[:, nets.DOMAIN:]], axis=1)
    drift = np.abs(heads - wanted).max(0)
    unfamiliar = np.maximum(near / far, unknown_share(net, bag, data.spec) / shape["unknown"]) > 1
    print(f"graph {path.stat().st_size / 1e6:.2f} MB, table {path.with_suffix('.table').stat().st_size / 1e6:.1f} MB, largest difference to training {drift.round(4)}, unfamiliar {np.mean(unfamiliar):.3f}")
    if drift.max() > MOST_DRIFT:
        raise SystemExit("the graph does not compute what was trained")
    return shape["unknown"]


def examples(data, net, path):
    """What the network says of some everyday prompts, to test what the gateway makes of the graph."""
    everyday = np.flatnonzero(np.char.startswith(data.source, "everyday"))
    rows = everyday[np.linspace(0, len(everyday) - 1, EXAMPLES).astype(int)]
    made = data.predict(net, data.bag[rows], data.raw[rows])
    small, large = made.probabilities(data.platt)
    hard = made.difficulty(CONFIG["difficulty"], data.platt)
    lengths = np.exp(made.out[:, [nets.MEDIAN, nets.HIGH]])
    domains = made.out[:, nets.DOMAIN:].argmax(1)
    with path.open("w") as file:
        for i, row in enumerate(rows):
            said = {"p_small": small[i], "p_large": large[i], "difficulty": hard[i], "p50": lengths[i, 0], "p90": lengths[i, 1]}
            said = {key: round(float(value), 4) for key, value in said.items()}
            print(json.dumps({"prompt": data.rows[row]["prompt"], **said, "domain": data.domains[domains[i]]}, ensure_ascii=False), file=file)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with the training files")
    parser.add_argument("--features", required=True, help="the router-features program")
    parser.add_argument("--work", required=True, help="folder for intermediate files")
    parser.add_argument("--model", default=str(Path(__file__).parent.parent / "model"))
    parser.add_argument("--quick", action="store_true", help="no leave-one-source-out table")
    args = parser.parse_args()
    start = time.time()
    data = models.Data(args.data, args.features, args.work, CONFIG)
    print(f"{len(data.rows)} rows used, {sum(n for n, _ in data.excluded.values())} left out for their licence")
    out, unknown = out_of_fold(data)
    agreement, panels = measure.calibrate(data, out)
    report = {"rows": len(data.rows), "calibration": agreement}
    report["quality"] = measure.tolerances(data, out)
    report["within"] = measure.pairs(data, out, np.arange(len(data.rows)))
    measure.show("calibration on unseen rows", report["calibration"])
    measure.show("APGR on unseen rows of the same sources", report["within"])
    Path(args.model, "abilities.json").write_text(abilities.text(abilities.table(data, out)))
    net = data.fit(np.arange(len(data.rows)))
    report["unknown_words_tolerated"] = round(ship(data, net, unknown, report["quality"], Path(args.model, "router.onnx")), 4)
    examples(data, net, Path(args.model, "examples.jsonl"))
    report["dev"] = measure.dev(data, net, args.data)
    measure.show("dev (reported, never used to choose)", report["dev"])
    if not args.quick:
        report["held_out"] = measure.held_out(data)
        measure.show("APGR, the whole group of sources left out", report["held_out"])
    report["domains"] = measure.domain_accuracy(data, out)
    report["seconds"] = round(time.time() - start)
    Path(args.model, "metrics.json").write_text(json.dumps(report, indent=1) + "\n")
    calibration_plot.calibration(Path(args.model, "calibration.png"), panels)
    Path(args.model, "card.md").write_text(card.text(data, report, CONFIG))
    print(f"done in {report['seconds']} s")


if __name__ == "__main__":
    main()
