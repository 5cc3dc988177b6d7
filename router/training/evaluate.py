"""Measures: APGR and CPT as RouteLLM defines them, calibration error, and the table of tolerated gaps."""
import json

import numpy as np


def curve(scores, weak, strong, bins=10):
    """(share sent to the strong model, mean outcome) at the quantiles of the scores, shares rising."""
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1))
    up = [scores >= edge for edge in edges[:-1]] + [scores > edges[-1]]
    points = sorted((u.mean(), np.where(u, strong, weak).mean()) for u in up)
    return np.array(points).T


def apgr(scores, weak, strong, seed=0):
    """Average share of the performance gap recovered; ties are broken at random. 0.5 is random routing."""
    weak, strong, scores = (np.asarray(v, float) for v in (weak, strong, scores))
    scores = scores + np.random.default_rng(seed).uniform(0, 1e-9 * (np.ptp(scores) or 1), len(scores))
    x, y = curve(scores, weak, strong)
    area = np.sum((y[1:] + y[:-1]) / 2 * np.diff(x))
    width = x[-1] - x[0]
    return (area - weak.mean() * width) / ((strong.mean() - weak.mean()) * width)


def ece(p, y, bins=15):
    """Expected calibration error over equal-width bins."""
    p, y = np.asarray(p, float), np.asarray(y, float)
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    return sum(abs(p[bin_of == b].mean() - y[bin_of == b].mean()) * (bin_of == b).mean() for b in range(bins) if (bin_of == b).any())


def kept_share(gap, small, large, tolerated):
    """Share of the large model's quality that is left when gaps up to `tolerated` go to the small one."""
    return np.where(gap <= tolerated, small, large).mean() / large.mean()


def tolerance_table(gap, small, large, weight):
    """[(kept share, largest tolerated gap)], shares rising, for weighted prompts."""
    order = np.argsort(gap)
    g, d, w = gap[order], ((small - large) * weight)[order], weight
    kept = 1 + np.cumsum(d) / (large * w).sum()
    kept = np.minimum.accumulate(kept)
    points = []
    for share in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995):
        allowed = g[kept >= share]
        points.append((share, float(allowed[-1]) if len(allowed) else 0.0))
    gaps = np.minimum.accumulate([min(1.0, max(0.0, g)) for _, g in points])
    return [(share, round(float(g), 5)) for (share, _), g in zip(points, gaps) if kept[-1] <= share or share == 0.995] or [(0.5, 1.0), (0.995, 0.0)]


def jsonl(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]
