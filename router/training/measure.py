"""What is reported: APGR within sources, with whole groups left out, and on dev; calibration; domains."""
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

import dataset
import evaluate
import net as nets
import sources

GROUPS = {"MMLU-Pro": "MMLU-Pro", "RouterBench": "RouterBench/", "ZeroEval": "ZeroEval/", "LLMRouter": "LLMRouter/"}
REFERENCES = {"small": sources.MIXTRAL, "large": sources.GPT4}


def compare(data, made, weak, strong):
    small, large = made.probabilities(data.platt)
    scores = {"difficulty": made.difficulty(data.config["difficulty"], data.platt), "ranking score": made.score, "gap": large - small, "fails": 1 - small, "words": made.words}
    return {"n": len(weak), **{name: round(float(evaluate.apgr(s, weak, strong)), 4) for name, s in scores.items()}}


def pairs(data, made, rows):
    """APGR of each source among `rows` with the outcomes of a pair of models; `made` is for these rows."""
    table = {}
    for source in np.unique(data.source[rows]):
        at = np.flatnonzero(data.source[rows] == source)
        at = at[[data.rows[i]["pair"][0] is not None for i in rows[at]]]
        if len(at) >= 300:
            weak, strong = np.array([data.rows[i]["pair"] for i in rows[at]], float).T
            if strong.mean() - weak.mean() >= 0.05:
                table[source] = compare(data, made.at(at), weak, strong)
    return table


def held_out(data):
    """Leave one group of sources out."""
    table = {}
    for prefix in GROUPS.values():
        out_of = np.char.startswith(data.source, prefix)
        rows = np.flatnonzero(out_of)
        net = data.fit(np.flatnonzero(~out_of))
        table |= pairs(data, data.predict(net, data.bag[rows], data.raw[rows]), rows)
    return table


def _platt(logit, outcome):
    """(slope, shift) that make sigmoid(slope * logit + shift) likeliest."""
    loss = lambda ab: np.mean(np.logaddexp(0, ab[0] * logit + ab[1]) - outcome * (ab[0] * logit + ab[1]))
    return tuple(float(v) for v in minimize(loss, [1.0, 0.0], method="BFGS").x)


def _bent(logit, platt):
    return nets.sigmoid(platt[0] * logit + platt[1])


def calibrate(data, made):
    """Sets data.platt from unseen rows; reports the calibration error, each half bent by the other half, and what to draw."""
    s, a = made.out[:, nets.EASINESS].astype(float), nets.softplus(made.out[:, nets.SLOPE].astype(float))
    table, panels = {}, {}
    for name, logit in (("small", s), ("large", s + a)):
        rows = np.array([i for i, row in enumerate(data.rows) if REFERENCES[name] in row["outcomes"]])
        y = np.array([data.rows[i]["outcomes"][REFERENCES[name]] for i in rows])
        x = logit[rows]
        half = np.random.default_rng(data.config["seed"]).permutation(len(rows)) % 2
        p = np.where(half, _bent(x, _platt(x[half == 0], y[half == 0])), _bent(x, _platt(x[half == 1], y[half == 1])))
        data.platt[name] = _platt(x, y)
        table["p_" + name] = {"n": len(rows), "ece": round(float(evaluate.ece(p, y)), 4), "before": round(float(evaluate.ece(nets.sigmoid(x), y)), 4),
                              "mean": round(float(p.mean()), 4), "outcome": round(float(y.mean()), 4)}
        panels[f"p_{name} on unseen prompts"] = (p, y)
    return table, panels


def tolerances(data, made):
    """The table of tolerated gaps, from unseen rows with the outcomes of a pair of models or a judgement."""
    small, large = made.probabilities(data.platt)
    rows = [i for i, row in enumerate(data.rows) if row["pair"][0] is not None or row["source"].startswith("everyday/")]
    both = np.array([data.rows[i].get("soft") or data.rows[i]["pair"] for i in rows], float)
    return evaluate.tolerance_table((large - small)[rows], both[:, 0], both[:, 1], data.balance[rows])


def dev(data, net, folder):
    """The same on dev/, for the report only, with the calibration error before and after a Platt fit on half of it."""
    table = {}
    for path in sorted(Path(folder, "..", "dev").glob("routellm_*_dev.jsonl")):
        rows = [r for r in evaluate.jsonl(path) if not r["contaminated"]]
        bag, raw, _ = dataset.features(data.program, [r["prompt"] for r in rows], data.work)
        weak, strong = np.array([(r["weak_score"], r["strong_score"]) for r in rows], float).T
        made = data.predict(net, bag, raw)
        table[path.stem] = compare(data, made, weak, strong) | _margin(data, made, weak, strong)
        half = np.random.default_rng(0).permutation(len(rows)) % 2 == 0
        for name, p, y in zip(("small", "large"), made.probabilities(data.platt), (weak, strong)):
            logit = np.log(p / (1 - p))
            after = _bent(logit[~half], _platt(logit[half], y[half]))
            table[path.stem] |= {f"ece {name}": round(float(evaluate.ece(p, y)), 4), f"after {name}": round(float(evaluate.ece(after, y[~half])), 4)}
    return table


def _margin(data, made, weak, strong, rounds=500):
    """Difference of difficulty's APGR to the word count's, with a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    score = made.difficulty(data.config["difficulty"], data.platt)
    at = [rng.integers(0, len(weak), len(weak)) for _ in range(rounds)]
    differences = [evaluate.apgr(score[i], weak[i], strong[i]) - evaluate.apgr(made.words[i], weak[i], strong[i]) for i in at]
    low, high = np.quantile(differences, [0.025, 0.975])
    return {"over words": f"{np.mean(differences):+.3f} ({low:+.3f} to {high:+.3f})"}


def domain_accuracy(data, made):
    right, known = made.out[:, nets.DOMAIN:].argmax(1) == data.targets["domain"], data.targets["domain_weight"] > 0
    return {name: round(float(right[known & (data.targets["domain"] == i)].mean()), 3) for i, name in enumerate(data.domains)}


def show(title, table):
    print(title)
    for name, values in table.items():
        print("  %-28s" % name, "  ".join(f"{k} {v}" for k, v in values.items()), flush=True)
