"""Measures of a ranking of prompts beside APGR: call-performance thresholds, calls saved, and bootstrap intervals.

Everywhere a score says how much a prompt needs the large model; `weak` and `strong` are the outcomes of both
models, prompt by prompt.
"""
import numpy as np

import evaluate


def untied(scores, seed=0):
    """The scores with ties broken at random, as evaluate.apgr breaks them."""
    scores = np.asarray(scores, float)
    return scores + np.random.default_rng(seed).uniform(0, 1e-9 * (np.ptp(scores) or 1), len(scores))


def cpt(scores, weak, strong, percent):
    """Share of calls to the large model that recovers `percent` of the gap between the models (RouteLLM's CPT)."""
    share, quality = evaluate.curve(untied(scores), weak, strong)
    return float(np.interp(weak.mean() + percent / 100 * (strong.mean() - weak.mean()), quality, share))


def saved(scores, weak, strong, keep=0.95):
    """Largest share of calls that the small model can take while `keep` of the large model's quality stays."""
    order = np.argsort(untied(scores), kind="stable")
    quality = (strong.sum() + np.concatenate([[0.0], np.cumsum((weak - strong)[order])])) / strong.sum()
    return float(np.flatnonzero(quality >= keep).max() / len(order))


def interval(measure, count, rounds=400, seed=0):
    """95 % interval of measure(rows) over resampled rows."""
    rng = np.random.default_rng(seed)
    return np.quantile([measure(rng.integers(0, count, count)) for _ in range(rounds)], [0.025, 0.975])


def summary(scores, weak, strong):
    """Every measure of one ranking, with intervals where sampling matters most."""
    scores = np.asarray(scores, float)
    of = lambda measure: (measure(scores, weak, strong), interval(lambda rows: measure(scores[rows], weak[rows], strong[rows]), len(scores)))
    return {"apgr": of(evaluate.apgr), "cpt50": cpt(scores, weak, strong, 50), "cpt80": cpt(scores, weak, strong, 80), "saved": of(saved)}


def random_summary(weak, strong, rounds=200):
    """The same of random orders: their mean, and the range of single ones."""
    runs = [np.random.default_rng(seed).random(len(weak)) for seed in range(rounds)]
    values = lambda measure: np.array([measure(run, weak, strong) for run in runs])
    spread = lambda found: (found.mean(), np.quantile(found, [0.025, 0.975]))
    return {"apgr": spread(values(evaluate.apgr)), "saved": spread(values(saved)),
            **{f"cpt{p}": values(lambda s, w, t: cpt(s, w, t, p)).mean() for p in (50, 80)}}
