"""Requests as people send them, each written by a language model for this (plain.jsonl), with what they ask for and how hard that is.

A line has the prompt, its domain, and a level: 1 a very small model nearly always answers it well, 2 a small one mostly, 3 it takes a
large one, 4 the best often fail. Levels are judgements. Requests of a list written in one language have that language, which is then
their source. The router's tests and unseen.jsonl are other requests.
"""
import json
from pathlib import Path

# (p_small, p_large) of a level.
SOFT = {1: (0.98, 0.99), 2: (0.86, 0.95), 3: (0.50, 0.86), 4: (0.25, 0.62)}
# Answer length in tokens by domain at level 2, (median, 90th percentile), and what a level makes of it.
LENGTH = {"chat": (110, 320), "classification": (8, 40), "code": (180, 480), "knowledge": (120, 350), "math": (120, 320), "reading": (35, 150),
          "reasoning": (280, 700), "writing": (120, 330)}
LONGER = {1: 0.6, 2: 1.0, 3: 1.8, 4: 2.8}


def rows():
    """Every request as a training row."""
    for line in (Path(__file__).parent / "plain.jsonl").open(encoding="utf-8"):
        told = json.loads(line)
        small, large = SOFT[told["level"]]
        yield {"prompt": told["prompt"], "source": f"plain/{told.get('lang', told['domain'])}", "domain": told["domain"], "p_small": small, "p_large": large,
               "tokens": tuple(n * LONGER[told["level"]] for n in LENGTH[told["domain"]])}
