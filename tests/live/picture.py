"""Draws what the dashboard's queries gave, panel by panel on Grafana's grid, into one PNG.

    picture.py cost.json results.json overview.png
"""

import json
import math
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from PIL import Image  # noqa: E402

from panels import load, panels  # noqa: E402

COLUMNS, UNIT_W, UNIT_H = 24, 0.62, 0.3


def amount(value, unit):
    """A figure as Grafana's unit would show it, roughly."""
    if unit == "currencyUSD":
        return f"${value:.4g}"
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    if unit == "s":
        for size, name in ((3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return "0 s"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}{' req/s' if unit == 'reqps' else ''}"


def label(result, series):
    """The series' legend."""
    text = re.sub(r"{{ *(\w+) *}}", lambda found: series["metric"].get(found[1], ""), result["legend"])
    return text or ", ".join(f"{name}={value}" for name, value in series["metric"].items() if name != "__name__")


def last(series):
    return float(series["values"][-1][1])


def lines(axes, panel, results, start, unit):
    stacked = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking", {}).get("mode") in ("normal", "percent")
    floor = {}
    for result in results:
        for series in result["series"]:
            times = [float(at) - start for at, _ in series["values"]]
            values = [float(value) for _, value in series["values"]]
            if stacked:
                values = [value + floor.get(at, 0) for at, value in zip(times, values)]
                floor |= dict(zip(times, values))
            axes.plot(times, values, linewidth=1.2, label=label(result, series))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, unit)))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + (high - low) * 0.35)  # room for the legend
    axes.legend(fontsize=6, ncols=3, frameon=False, loc="upper left", handlelength=1, columnspacing=1)
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.25)


def bars(axes, results, unit, by_bound):
    found = [(label(result, series), last(series)) for result in results for series in result["series"]]
    if by_bound:
        # Cumulative buckets, as Grafana's heatmap format turns them into counts.
        found.sort(key=lambda pair: float(pair[0]))
        found = [(name, value - (found[at - 1][1] if at else 0)) for at, (name, value) in enumerate(found)]
    places = range(len(found), 0, -1)
    axes.barh(places, [value for _, value in found], height=0.8, alpha=0.6)
    for place, (name, value) in zip(places, found):
        axes.text(0.01, place, f"{name}: {amount(value, unit)}", fontsize=6, va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value, unit)))
    axes.tick_params(labelsize=6)


def heatmap(axes, results, start):
    series = sorted(results[0]["series"], key=lambda one: float(one["metric"]["le"]))
    below, grid = {}, []
    for one in series:
        counts = {float(at): float(value) for at, value in one["values"]}
        grid.append({at: count - below.get(at, 0) for at, count in counts.items()})
        below = counts
    times = sorted({at for row in grid for at in row})
    axes.pcolormesh([at - start for at in times], range(len(grid)), [[row.get(at, 0) for at in times] for row in grid])
    axes.set_yticks(range(len(grid)), [one["metric"]["le"] for one in series], fontsize=6)
    axes.tick_params(labelsize=6)


def words(axes, panel, results, unit):
    axes.axis("off")
    found = [series for result in results for series in result["series"]]
    if panel["type"] == "table":
        rows = [{name: value for name, value in one["metric"].items() if name in ("name", "sha")} for one in found]
        text, size = "\n".join("  ".join(row.values())[:60] for row in rows), 6
    else:
        text, size = "  ".join(amount(last(one), unit) for one in found), 15
    axes.text(0.5, 0.5, text or "no data", ha="center", va="center", fontsize=size, transform=axes.transAxes)


def draw(axes, panel, results, start):
    unit = panel["fieldConfig"]["defaults"].get("unit")
    axes.set_title(panel["title"], fontsize=8, loc="left")
    results = [result for result in results if any(math.isfinite(last(one)) for one in result["series"])]
    if panel["type"] in ("stat", "table") or not results:
        words(axes, panel, results, unit)
    elif panel["type"] == "heatmap":
        heatmap(axes, results, start)
    elif panel["type"] == "bargauge":
        bars(axes, results, unit, by_bound="{{le}}" in results[0]["legend"])
    else:
        lines(axes, panel, results, start, unit)


def main():
    dashboard, data, picture = load(sys.argv[1]), json.loads(open(sys.argv[2]).read()), sys.argv[3]
    shown = list(panels(dashboard))
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in shown)
    figure = plt.figure(figsize=(COLUMNS * UNIT_W, height * UNIT_H), dpi=75)
    for panel in shown:
        at = panel["gridPos"]
        box = (at["x"] / COLUMNS + 0.035, 1 - (at["y"] + at["h"]) / height + 0.5 / height, at["w"] / COLUMNS - 0.045,
               (at["h"] - 1.6) / height)
        mine = [result for result in data["results"] if result["panel"] == panel["id"]]
        draw(figure.add_axes(box), panel, mine, data["start"])
    for row in dashboard["panels"]:
        if row["type"] == "row":
            figure.text(0.01, 1 - (row["gridPos"]["y"] + 0.9) / height, row["title"], fontsize=11, weight="bold")
    figure.savefig(picture)
    # A few colours are enough, and keep it small.
    Image.open(picture).convert("RGB").quantize(48).save(picture, optimize=True)


if __name__ == "__main__":
    main()
