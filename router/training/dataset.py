"""Rows and features as arrays: the features from the router's own program, the targets from the rows."""
import json
import subprocess
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import sources


def features(program, prompts, folder):
    """(bag, dense, spec) of the prompts, by the same code that serves them."""
    folder = Path(folder)
    lines = "".join(json.dumps(p if isinstance(p, dict) else {"prompt": p}, ensure_ascii=False) + "\n" for p in prompts)
    subprocess.run([program, str(folder)], input=lines.encode(), check=True)
    spec = json.loads((folder / "spec.json").read_text())
    offsets = np.fromfile(folder / "offsets.u64", np.uint64).astype(np.int64)
    ids = np.fromfile(folder / "ids.i32", np.int32)
    weights = np.fromfile(folder / "weights.f32", np.float32)
    dense = np.fromfile(folder / "dense.f32", np.float32).reshape(-1, spec["dense_count"])
    bag = sp.csr_array((weights, ids, offsets), shape=(len(prompts), spec["buckets"]))
    bag.sort_indices()
    return bag, dense, spec


def prune(bag, least):
    """Columns that fewer than `least` rows have are dropped: (bag without them, mask of kept columns)."""
    kept = np.bincount(bag.indices, minlength=bag.shape[1]) >= least
    bag = bag.copy()
    bag.data *= kept[bag.indices]
    bag.eliminate_zeros()
    return bag, kept


def balance(rows, power):
    """Row weights that grow with a source's size only as size**power; mean 1."""
    names, index, counts = np.unique([row["source"] for row in rows], return_inverse=True, return_counts=True)
    weight = counts[index] ** (power - 1.0)
    return (weight / weight.mean()).astype(np.float32)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def soft_label(row, weights):
    """((small, large), weight) from the judgement, the steps, the level or the effort; weight 0 = none."""
    if "soft" in row:
        return row["soft"], weights[row["source"].split("/")[0]]
    if row["outcomes"]:
        return (0.5, 0.5), 0.0
    if row["steps"]:
        # The fall per step is what GSM8K-train outcomes show; see the card.
        return (_sigmoid(1.6 - 0.3 * row["steps"]), _sigmoid(3.4 - 0.25 * row["steps"])), weights["steps"]
    if row["level"]:
        return (_sigmoid(1.2 - 0.6 * row["level"]), _sigmoid(2.6 - 0.45 * row["level"])), weights["level"]
    if row["effort"]:
        return sources.EFFORT[row["effort"]], weights["effort"]
    return (0.5, 0.5), 0.0


def domain_weight(rows, domain, weight, count, config):
    """What a row counts for the domain: plain requests more than benchmarks, which have words of their own, and rare domains more."""
    known = weight * np.array([row["domain"] is not None for row in rows])
    known = known * np.where([row["source"].startswith("plain/") for row in rows], config["plain"], 1.0)
    share = np.bincount(domain, known, minlength=count) / known.sum() * count
    return (known * (share ** -config["balance"])[domain]).astype(np.float32)


def targets(rows, domains, config):
    """Everything the loss needs, as arrays, and the models' names."""
    weight = balance(rows, config["balance"])
    models = [sources.MIXTRAL, sources.GPT4] + sorted({m for row in rows for m in row["outcomes"]} - {sources.MIXTRAL, sources.GPT4})
    index = {model: i for i, model in enumerate(models)}
    start, flat = [0], []
    for row, w in zip(rows, weight):
        # The two reference models count more: they are what the outputs speak of.
        told = {} if row["source"] in sources.UNTOLD else row["outcomes"]
        each = {m: config["reference"] if m in (sources.MIXTRAL, sources.GPT4) else 1.0 for m in told}
        total = sum(each.values()) or 1.0
        flat += [(index[m], value, w * config["outcome"] * each[m] / total) for m, value in told.items()]
        start.append(len(flat))
    soft = [soft_label(row, config["soft"]) for row in rows]
    array = lambda values: np.array(list(values), np.float32)
    has = lambda key: array(w * bool(row[key]) for row, w in zip(rows, weight))
    # A row of unknown domain teaches none: it counts as any, with no weight.
    domain = np.array([domains.index(row["domain"] or domains[0]) for row in rows])
    return {
        "row_weight": weight,
        "obs_start": np.array(start), "obs_flat": (np.array([f[0] for f in flat]), array(f[1] for f in flat), array(f[2] for f in flat)),
        "soft": (array(s[0][0] for s in soft), array(s[0][1] for s in soft), array(s[1] * w for s, w in zip(soft, weight))),
        "length": (np.log(array(row["tokens"][0] for row in rows)), np.log(array(row["tokens"][1] for row in rows)), weight),
        "steps": (array(((row["steps"] or 3) - 3.5) / 1.6 for row in rows), has("steps")),
        "level": (array(((row["level"] or 3) - 3.2) / 1.3 for row in rows), has("level")),
        "domain": domain,
        "domain_weight": domain_weight(rows, domain, weight, len(domains), config["domain"]),
    }, models
