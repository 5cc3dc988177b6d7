"""The page of `make bench-router` as Markdown."""
import numpy as np

import evaluate
import measures

# Known from the literature and from replaying RouteLLM's published outcomes: share of calls saved at 95 % of quality.
# (name, MMLU, GSM8K, note)
PUBLISHED = [
    ("RouteLLM, best router", "45 %", "35 %", "headline figures of its authors, whole benchmark, trained on outcomes of the same kind"),
    ("TF-IDF + logistic regression on P(small)", "46.5 %", "30.8 %", "trained in the domain, five folds, whole benchmark"),
    ("TF-IDF + logistic regression on P(large) - P(small)", "59.2 %", "40.6 %", "likewise"),
]
# USD per million tokens, input and output: what both models cost when their outcomes were recorded.
PRICES = {"small": (0.60, 0.60), "large": (10.0, 30.0)}


def percent(value):
    return f"{100 * value:.1f} %"


def ranged(found, show=percent):
    value, (low, high) = found
    return f"{show(value)} ({show(low).removesuffix(' %')} to {show(high)})"


def figure(value):
    return f"{value:.3f}"


def table(head, rows):
    line = lambda cells: "| " + " | ".join(str(cell) for cell in cells) + " |"
    return "\n".join([line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows)])


def ranking(bench):
    rows = []
    for name, scores in bench.scores.items():
        found = measures.summary(scores, bench.weak, bench.strong)
        rows.append((f"`{name}`", ranged(found["apgr"], figure), percent(found["cpt50"]), percent(found["cpt80"]), ranged(found["saved"])))
    found = measures.random_summary(bench.weak, bench.strong)
    rows.append(("random", ranged(found["apgr"], figure), percent(found["cpt50"]), percent(found["cpt80"]), ranged(found["saved"])))
    return table(["order", "APGR", "CPT50", "CPT80", "calls saved at 95 %"], rows)


def fixed(bench):
    """Always small, always large, best fixed, random and routed: quality and cost, with intervals."""
    small = bench.said["small"] > 0
    cost = {name: (bench.tokens * into + bench.said["length"] * out) / 1e6 for name, (into, out) in PRICES.items()}
    everywhere = {"always small": np.ones(len(small), bool), "always large": np.zeros(len(small), bool)}
    best = "always small" if bench.weak.mean() >= 0.95 * bench.strong.mean() else "always large"
    choices = {**everywhere, f"best fixed that keeps 95 % ({best})": everywhere[best], "routed by the default policy": small}
    outcome = lambda side: np.where(side, bench.weak, bench.strong)
    price = lambda side: 1000 * np.where(side, cost["small"], cost["large"])
    rows = []
    for name, side in choices.items():
        right, paid, large = outcome(side), price(side), bench.strong
        mean = lambda values: (values.mean(), measures.interval(lambda rows: values[rows].mean(), len(values)))
        kept = (right.mean() / large.mean(), measures.interval(lambda rows: right[rows].mean() / large[rows].mean(), len(right)))
        rows.append((name, percent(1 - side.mean()), ranged(mean(right)), ranged(kept), ranged(mean(paid), lambda value: f"${value:.2f}")))
    share = small.mean()
    right = share * bench.weak.mean() + (1 - share) * bench.strong.mean()
    paid = 1000 * (share * cost["small"].mean() + (1 - share) * cost["large"].mean())
    rows.append(("random at the routed share", percent(1 - share), percent(right), percent(right / bench.strong.mean()), f"${paid:.2f}"))
    return table(["choice", "to the large model", "right", "kept of the large model's quality", "cost of 1,000 requests"], rows)


def calibration(benches):
    rows = []
    for name, bench in benches.items():
        for model, said, outcome in (("p_small", bench.said["p_small"], bench.weak), ("p_large", bench.said["p_large"], bench.strong)):
            rows.append((f"{name}, `{model}`", len(outcome), percent(said.mean()), percent(outcome.mean()), figure(evaluate.ece(said, outcome))))
    return table(["", "n", "said", "outcome", "ECE as shipped"], rows)


def learned_rows(benches, learned):
    """For each benchmark: the graph as shipped and every size of labels, mean over the repeats on rows that were no label."""
    parts = []
    for name, bench in benches.items():
        rows = []
        measured = lambda said, weak, strong: [evaluate.apgr(said["difficulty"], weak, strong), measures.saved(said["difficulty"], weak, strong),
                                               evaluate.ece(said["p_small"], weak), evaluate.ece(said["p_large"], strong)]
        shown = lambda label, found: (label, *[f"{show(np.mean(column))} ({show(min(column)).removesuffix(' %')} to {show(max(column))})"
                                               for show, column in zip((figure, percent, figure, figure), zip(*found))])
        some = next(iter(learned.values()))
        parts_of = lambda at: {key: values[at] for key, values in bench.said.items()}
        rows.append(shown("as shipped", [measured(parts_of(at), bench.weak[at], bench.strong[at]) for at in (run[0][name][0] for run in some)]))
        for size, runs in learned.items():
            rows.append(shown(f"{size:,} labels", [measured(run[0][name][1], bench.weak[run[0][name][0]], bench.strong[run[0][name][0]]) for run in runs]))
        last = runs[-1][0][name][1]
        rows.append(("the same, were every probability true", "", "", *[figure(ece_by_chance(last[key])) for key in ("p_small", "p_large")]))
        parts += ["", f"### {name}", "", table(["", "APGR", "calls saved at 95 %", "ECE of `p_small`", "ECE of `p_large`"], rows)]
    return parts


def ece_by_chance(said, draws=200):
    """What the ECE is where every probability is true: so few prompts never fall quite as said."""
    dice = np.random.default_rng(7)
    return np.mean([evaluate.ece(said, dice.random(len(said)) < said) for _ in range(draws)])


def times(latency):
    rows = []
    for length in latency["lengths"]:
        of = lambda key: [f"{length[key][quantile]:.0f}" for quantile in ("p50", "p99")]
        rows.append((length["tokens"], *of("features_us"), *of("score_us"), length["allocations"], f"{length['allocated_bytes'] / 1024:.1f}"))
    return table(["tokens", "features p50, µs", "p99", "features + ONNX p50, µs", "p99", "allocations a score", "KiB allocated"], rows)


def plain(domains, pairs):
    """Of requests unlike the training ones: the domain, and which of two is the harder; then the same for each other language."""
    of_all = lambda found: [sum(values) for values in zip(*found.values())]
    first, others = domains[""], [name for name in domains if name]
    found = [table([*first, "all"], [[*(f"{hits} of {n}" for hits, n in first.values()), "{} of {}".format(*of_all(first))]])]
    rows = [(f"`{name}`", f"{up.sum()} of {len(up)}", f"{up[no_longer].sum()} of {no_longer.sum()}") for name, (up, no_longer) in pairs[""].items()]
    found.append(table(["which of two is harder", "all pairs", "the harder is no longer"], rows))
    orders = lambda name: [f"{up.sum()} of {len(up)}" for up, _ in pairs[name].values()]
    rows = [(name, "{} of {}".format(*of_all(domains[name])), *orders(name)) for name in others]
    together = [sum(of_all(domains[name])[at] for name in others) for at in (0, 1)]
    counts = [[sum(pairs[name][by][0].sum() for name in others), sum(len(pairs[name][by][0]) for name in others)] for by in pairs[""]]
    rows.append(("all", "{} of {}".format(*together), *("{} of {}".format(*count) for count in counts)))
    return "\n\n".join([*found, table(["language", "domain right", *(f"pairs in order by `{by}`" for by in pairs[""])], rows)])


def page(benches, learned, requests, robustness, latency, load):
    flips, count, small = robustness
    parts = ["# The router, measured", "", "Made by `make bench-router`; do not edit. Figures in brackets are 95 % bootstrap intervals. What the measures mean is at the end.", "",
             "![Cost and quality](img/router-bench.png)", "", "## Ranking: which requests need the large model"]
    for name, bench in benches.items():
        parts += ["", f"### {name}: {len(bench.prompts)} prompts, Mixtral-8x7B right {percent(bench.weak.mean())}, GPT-4-1106 right {percent(bench.strong.mean())}", "", ranking(bench)]
    parts += ["", "### Others, as published or replayed: calls saved at 95 %", "", table(["router", "MMLU", "GSM8K", ""], PUBLISHED)]
    parts += ["", "## Routed, beside fixed choices", "",
              "Prices: USD {} / {} (small) and {} / {} (large) per million input / output tokens; the length of answers is the predicted one.".format(*PRICES["small"], *PRICES["large"])]
    for name, bench in benches.items():
        parts += ["", f"### {name}", "", fixed(bench)]
    parts += ["", "## Calibration of the probabilities", "", calibration(benches)]
    largest = learned[max(learned)]
    parts += ["", "## Calibrated on a part of dev/, by `tollgate calibrate`", "",
              f"Labels are five parts MMLU to one part GSM8K; every row is judged on the {len(largest[0][0]['MMLU'][0]):,} MMLU and {len(largest[0][0]['GSM8K'][0]):,} GSM8K prompts that no fit of "
              f"its repeat saw. Mean and range of {len(largest)} repeats. Fitting {max(learned):,} labels took {np.mean([run[1]['seconds'] for run in largest]):.0f} s."]
    parts += learned_rows(benches, learned)
    parts += ["", "## Plain requests: what is asked for", "",
              "Requests and pairs on one subject (`unseen.jsonl`, `unseen_pairs.jsonl` in `router/training`), written for this by a language model that had not seen the training requests. How many have their domain "
              "right, and how many pairs are in order:", "", plain(*requests)]
    parts += ["", "## Robustness: how often a harmless change flips the choice", "",
              f"{count} prompts (the everyday list of the tests, and training prompts of every source); the default policy sends {percent(small)} of them to the small model.", "",
              table(["change", "flips at the default policy", "flips at the median difficulty"], [(kind, *map(ranged, sides)) for kind, sides in flips.items()])]
    parts += ["", "## Latency and memory", "", times(latency), "",
              f"A thousand prompts of 100 words, JSON line to JSON line, one thread: {latency['thousand_s']:.3f} s. The first session takes {latency['first_session_mb']:.1f} MB, "
              f"each further one {latency['further_session_mb']:.1f} MB. Load average of the machine meanwhile: {load:.1f}.", "", NOTES]
    return "\n".join(parts) + "\n"


NOTES = """## What the measures mean
- **APGR**: share of the gap between both models that is recovered, averaged over thresholds (RouteLLM's). Random is 0.5.
- **CPT50, CPT80**: share of calls to the large model that recovers 50 % or 80 % of the gap; lower is better.
- **Calls saved at 95 %**: the largest share of requests that the small model can take while 95 % of the large model's accuracy stays, at the
  best threshold of this very set: it says how good the order is, not what a threshold chosen beforehand keeps.
- **`difficulty`** is the score's own; **`gap`** is p_large - p_small; **`words`** is the prompt's word count.
- **ECE**: expected calibration error, 15 bins of equal width. It is not 0 even where every probability is true, for a few prompts in a bin never
  fall quite as said: *were every probability true* is what it is then, on average.
- **Calibrated**: no fit saw the prompts it is judged on. But the fit's fixed scales (how much an output, a count and a word weigh before
  any label) and its range of penalties were chosen while looking at splits of these same benchmarks, so expect somewhat less elsewhere.
- The prompts are RouteLLM's MMLU and GSM8K outcomes (`dev/`: half of each, without those RouteLLM calls contaminated). Nothing of the
  shipped graph was trained on them."""
