"""Abilities of the models whose outcomes are known, as the router uses them, and what a share of MMLU-Pro answered right says of a model.

Likeliest under what graphs that did not see a prompt say of it, so on the scale of the two chances that are served: 0 is the small
reference model, 1 the large one, and both stay there. What the graphs get wrong about a source as a whole is no model's merit: each source has a
shift of its own, common to all models. A domain's ability is held near the general one, like the router's own (learn/posterior.rs).
"""
import json

import numpy as np
from scipy.optimize import minimize_scalar

import sources

# Logits a unit of ability is worth beyond the references, and how far a domain may be from the general ability: as in the router.
SLOPE_BEYOND, DOMAIN_DEVIATION = 1.0, 0.3
# Models that are listed have so many outcomes, and domains of their own so many.
LEAST, LEAST_IN_DOMAIN = 400, 150
# RouterBench's other models are of 2023, and its graders took some of them for wrong by their form.
SKIPPED = "RouterBench/"
# Other names of a model that is listed.
TWICE = ("llama-3.1-405b-inst", "llama-3.1-405b-inst-fp8")
FIXED = {sources.MIXTRAL: 0.0, sources.GPT4: 1.0}
BENCHMARK, SCORES = "MMLU-Pro", np.arange(0.06, 0.96, 0.02)
RANGE, ROUNDS = (-5.0, 3.0), 12


def logit_at(small, large, ability):
    """The router's line: through both references' logits, beyond them with one slope."""
    between = np.clip(ability, 0, 1)
    return small + between * (large - small) + (ability - between) * SLOPE_BEYOND


def _likeliest(logit, good, weight, pull=None):
    """Where `logit` of a number agrees best with what was good; `pull` is (where to, deviation)."""
    def miss(value):
        z = logit(value)
        return np.sum(weight * (np.logaddexp(0, z) - good * z)) + (((value - pull[0]) / pull[1]) ** 2 / 2 if pull else 0)
    return float(minimize_scalar(miss, bounds=RANGE, method="bounded").x)


class Outcomes:
    """All outcomes as arrays, and the two logits of their prompts."""

    def __init__(self, data, made):
        small, large = (np.clip(p.astype(float), 1e-4, 1 - 1e-4) for p in made.probabilities(data.platt))
        usable = np.flatnonzero(~np.isin(data.source, list(sources.UNTOLD)))
        seen = [(at, model, value) for at in usable for model, value in data.rows[at]["outcomes"].items()]
        self.row = np.array([at for at, _, _ in seen])
        self.model = np.array([model for _, model, _ in seen])
        self.good = np.array([value for _, _, value in seen], float)
        self.small, self.large = (np.log(p / (1 - p))[self.row] for p in (small, large))
        self.source, self.weight = data.source[self.row], data.balance[self.row] / data.balance.mean()
        self.domain = np.array([data.rows[at]["domain"] for at in self.row])
        self.shift = np.zeros(len(self.row))

    def ability(self, at, pull=None):
        """Of the model that all outcomes `at` are of."""
        logit = lambda value: logit_at(self.small[at], self.large[at], value) + self.shift[at]
        return _likeliest(logit, self.good[at], self.weight[at] if pull is None else 1.0, pull)


def fit(outcomes):
    """{model: ability}, {source: shift}, each likeliest given the other."""
    of_model = {name: np.flatnonzero(outcomes.model == name) for name in np.unique(outcomes.model)}
    of_source = {name: np.flatnonzero(outcomes.source == name) for name in np.unique(outcomes.source)}
    for _ in range(ROUNDS):
        abilities = {name: FIXED[name] if name in FIXED else outcomes.ability(at) for name, at in of_model.items()}
        each = np.array([abilities[name] for name in outcomes.model])
        shifts = {}
        for name, at in of_source.items():
            logit = logit_at(outcomes.small[at], outcomes.large[at], each[at])
            shifts[name] = _likeliest(lambda shift, logit=logit: logit + shift, outcomes.good[at], 1.0)
            outcomes.shift[at] = shifts[name]
    return abilities, shifts


def table(data, made):
    """{model: {general, domains…}} and [[share of MMLU-Pro right, ability], …]."""
    outcomes = Outcomes(data, made)
    abilities, _ = fit(outcomes)
    models = {}
    for name, general in abilities.items():
        at = np.flatnonzero(outcomes.model == name)
        skipped = all(source.startswith(SKIPPED) for source in np.unique(outcomes.source[at])) or name in TWICE
        if name not in FIXED and (len(at) < LEAST or skipped):
            continue
        own = {"general": general}
        for domain in np.unique(outcomes.domain[at]):
            here = at[outcomes.domain[at] == domain]
            if name not in FIXED and len(here) >= LEAST_IN_DOMAIN:
                own[str(domain)] = outcomes.ability(here, (general, DOMAIN_DEVIATION))
        models[str(name)] = {key: round(value, 2) for key, value in own.items()}
    return {"models": models, "mmlu_pro": _by_score(outcomes)}


def _by_score(outcomes):
    at = np.flatnonzero(outcomes.source == BENCHMARK)
    at = at[np.unique(outcomes.row[at], return_index=True)[1]]
    right = lambda ability: np.mean(1 / (1 + np.exp(-logit_at(outcomes.small[at], outcomes.large[at], ability) - outcomes.shift[at])))
    grid = np.arange(RANGE[0], RANGE[1], 0.01)
    shares = np.array([right(ability) for ability in grid])
    return [[round(float(score), 2), round(float(np.interp(score, shares, grid)), 2)] for score in SCORES if shares[0] < score < shares[-1]]


def text(known):
    """The table as JSON, a line each."""
    line = lambda value: json.dumps(value, ensure_ascii=False)
    models = ",\n".join(f"  {line(name)}: {line(own)}" for name, own in known["models"].items())
    return '{\n "models": {\n' + models + '\n },\n "mmlu_pro": ' + line(known["mmlu_pro"]) + "\n}\n"
