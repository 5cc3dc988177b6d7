"""The heads that rank: linear in the dense features and the meaning, fitted in closed form.

Sources differ in style, number of options and models, so outcomes are compared only WITHIN a source: each
prompt's gap is the share of the strongest third of the models that are right less that of the weakest
third, less its source's mean.  Exam kinds and the steps of word problems are centred likewise.
"""
import numpy as np

import sources

FLOOR, CEILING = 0.1, 0.97  # models outside fail or pass by format, and say nothing about prompts


def matrix(rows):
    models = sorted({model for row in rows for model in row["outcomes"]})
    return np.array([[row["outcomes"].get(model, np.nan) for model in models] for row in rows])


def gaps(rows):
    """Gap of each prompt of one source, centred; zeros where too few models tell."""
    outcomes = matrix(rows)
    accuracy = np.nanmean(outcomes, 0)
    order = [i for i in np.argsort(accuracy) if FLOOR <= accuracy[i] <= CEILING]
    if len(order) < 3:
        return np.zeros(len(rows))
    third = len(order) // 3
    with np.errstate(all="ignore"):
        gap = np.nanmean(outcomes[:, order[-third:]], 1) - np.nanmean(outcomes[:, order[:third]], 1)
    return np.nan_to_num(gap - np.nanmean(gap))


def targets(rows):
    """{head: (target, weight) per row}."""
    source = np.array([row["source"] for row in rows])
    count = len(rows)
    gap, exam, steps = (np.zeros(count) for _ in range(3))
    told = np.zeros(count, bool)
    for name in np.unique(source):
        at = np.flatnonzero(source == name)
        if rows[at[0]]["outcomes"] and name not in sources.UNTOLD:
            gap[at] = gaps([rows[i] for i in at])
            told[at] = True
    is_exam = np.char.startswith(source, "exam/")
    exam[is_exam] = [rows[i]["soft"][1] - rows[i]["soft"][0] for i in np.flatnonzero(is_exam)]
    is_sum = np.array([bool(row["steps"]) and not row["outcomes"] for row in rows])
    steps[is_sum] = [rows[i]["steps"] for i in np.flatnonzero(is_sum)]
    return {"gap": (gap, told), "exam": (exam, is_exam), "steps": (steps, is_sum)}


def centred(values, group, weight):
    values = values.astype(np.float64).copy()
    for name in np.unique(group):
        at = group == name
        values[at] -= np.average(values[at], axis=0, weights=weight[at])
    return values


def ridge(x, y, group, weight, penalty):
    """Coefficients within groups."""
    x, y = centred(x, group, weight), centred(y, group, weight)
    a = (x * weight[:, None]).T @ x
    return np.linalg.solve(a + penalty * weight.sum() * np.eye(x.shape[1]), (x * weight[:, None]).T @ y)


def length(log_words, likely, part):
    """Longer asks for more, from some words on, where the words are a problem's (`likely`, the chance of such a domain): a text to mend,
    to sort or to read in makes no request harder; and a very long text mostly carries its answer with it."""
    bend = lambda words, sharp: np.logaddexp(0, sharp * (log_words - np.log(words))) / sharp
    return likely * part["share"] * (bend(part["from"], 2.0) - part["fall"] * bend(part["until"], 4.0))


def fit(x, meaning_only, source, weight, heads, rows, config):
    """Coefficients of one score over x: the heads, each in units of its spread within sources."""
    group = np.where(np.char.startswith(source, "exam/"), "exam", source)
    total = np.zeros(x.shape[1])
    inside = lambda score, at: np.mean([score[(source == s) & at].std() for s in np.unique(source[at])])
    told = heads["gap"][1] & rows
    for name, part in config["heads"].items():
        target, has = heads[name]
        use = has & rows
        w = weight[use].astype(np.float64)
        mask = meaning_only if part["meaning_only"] else np.ones(x.shape[1], bool)
        coefficients = np.zeros(x.shape[1])
        coefficients[mask] = ridge(x[use][:, mask], target[use], group[use], w, part["penalty"])
        total += part["share"] * coefficients / inside(x @ coefficients, told)
    return total
