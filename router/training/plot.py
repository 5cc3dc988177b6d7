"""The cost-quality curves as a chart: quality against the share of requests that the large model answers."""
import numpy as np
from matplotlib import pyplot

COLOURS = {"difficulty": "#1f77b4", "gap": "#ff7f0e", "words": "#7f7f7f", "calibrated": "#2ca02c"}


def curve(scores, weak, strong):
    """(share of calls to the large model, quality), every threshold."""
    order = np.argsort(scores, kind="stable")
    quality = (strong.sum() + np.concatenate([[0.0], np.cumsum((weak - strong)[order])])) / len(order)
    return 1 - np.arange(len(order) + 1) / len(order), quality


def chart(path, benches, routed, unseen):
    """One panel a benchmark: `benches` = {name: (scores by name, weak, strong)}, `routed` = {name: (share, quality)},
    `unseen` = {name: (calibrated scores, weak, strong)} of the prompts that were no labels."""
    figure, axes = pyplot.subplots(1, len(benches), figsize=(11, 4.2), layout="constrained")
    for axis, (name, (scores, weak, strong)) in zip(np.atleast_1d(axes), benches.items()):
        for kind, values in scores.items():
            axis.plot(*curve(values, weak, strong), label=kind, color=COLOURS.get(kind), linewidth=1.6)
        axis.plot(*curve(*unseen[name]), label="calibrated, on the rest", color=COLOURS["calibrated"], linewidth=1.6)
        axis.plot([0, 1], [weak.mean(), strong.mean()], "--", color="#bbbbbb", label="random")
        axis.axhline(0.95 * strong.mean(), color="#dddddd", linewidth=0.8)
        axis.text(0, 0.95 * strong.mean(), "95 % of the large model", fontsize=7, color="#888888", va="bottom")
        axis.plot(*routed[name], "o", color="black", markersize=5, label="default policy")
        axis.plot([0, 1], [weak.mean(), strong.mean()], "s", color="#555555", markersize=4, label="always small, always large")
        axis.set(title=name, xlabel="share answered by the large model", ylabel="share answered right")
        axis.grid(alpha=0.2)
    np.atleast_1d(axes)[0].legend(fontsize=8, loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
