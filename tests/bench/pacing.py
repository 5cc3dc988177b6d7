"""The table and the chart of docs/budgets.md, from what `cargo bench --bench pacing` prints."""
import argparse
import json
import pathlib
import sys

from matplotlib import pyplot

# How a scenario's budget is best spread: by the clock, or by the hours its requests come in.
RULES = {"steady": "paced", "office hours": "paced, daily", "bursty": "paced", "drifting": "paced, daily", "price shock": "paced"}
MARKS = ("<!-- pacing: begin -->", "<!-- pacing: end -->")
COLOURS = {"cut-off": "#d62728", "paced": "#1f77b4", "paced, daily": "#2ca02c"}


def table(lines):
    """A row for each scenario, limit and way of spending: the last day of each, which knows its traffic."""
    last = max(line["day"] for line in lines)
    rows = ["| traffic | limit | rules | spent of the limit | refused | expected quality | graded |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        if line["day"] != last or line["rules"] == "downgrade":
            continue
        quality = f"{line['expected']:.3f}"
        if line["rules"] == RULES[line["scenario"]]:
            quality = f"**{quality}**"
        rows.append(
            f"| {line['scenario']} | {line['share']:.0%} of what is asked | {line['rules']} | {line['of_limit']:.1%} "
            f"| {line['refused'] / line['requests']:.1%} | {quality} | {line['graded']:.3f} |"
        )
    return "\n".join(rows)


def chart(lines, path):
    """Spending and the price of money over the last day, at half of what is asked for."""
    last = max(line["day"] for line in lines)
    lines = [line for line in lines if line["day"] == last and line["share"] == 0.5 and line["rules"] in COLOURS]
    names = list(dict.fromkeys(line["scenario"] for line in lines))
    figure, axes = pyplot.subplots(2, len(names), figsize=(15, 5.4), layout="constrained", sharex=True)
    for column, name in enumerate(names):
        spent, price = axes[0][column], axes[1][column]
        for line in (line for line in lines if line["scenario"] == name):
            hours = [place / 10 for place in range(len(line["curve"]))]
            share = [amount / float(line["limit_usd"]) for amount in line["curve"]]
            spent.plot(hours, share, color=COLOURS[line["rules"]], label=line["rules"], linewidth=1.6)
            if line["rules"] != "cut-off":
                price.plot(hours[: len(line["prices"])], line["prices"], color=COLOURS[line["rules"]], linewidth=1.2)
        spent.axhline(1, color="#999999", linewidth=0.8, linestyle="--")
        spent.set(title=name)
        price.set(xlabel="hour", yscale="log", ylim=(100, 1e5))
        for axis in (spent, price):
            axis.set(xlim=(0, 24), xticks=range(0, 25, 6))
            axis.grid(alpha=0.2)
    axes[0][0].set(ylabel="spent, share of the limit")
    axes[1][0].set(ylabel="price of money, quality per USD")
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=pathlib.Path, required=True, help="folder of budgets.md")
    options = parser.parse_args()
    lines = [json.loads(line) for line in sys.stdin]
    page = options.docs / "budgets.md"
    text = page.read_text()
    begin, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    page.write_text(f"{text[:begin]}\n{table(lines)}\n{text[end:]}")
    chart(lines, options.docs / "img" / "pacing.png")
    print(table(lines))


if __name__ == "__main__":
    main()
