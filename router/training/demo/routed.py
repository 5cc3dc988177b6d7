#!/usr/bin/env python3
"""What routing between the demo's two models is worth: their graded outcomes, decided by a real gateway.

    routed.py --tollgate target/release/tollgate

Every prompt of outcomes.jsonl is decided by `POST /v1/decision` of a gateway that has the demo's prices and policy; its answer is
the one that the chosen model gave when it was graded, its cost that answer's tokens. What is fitted (abilities, a calibration) is
fitted to four fifths of the prompts and decides the fifth left out, five times. Standard library only.
"""

import argparse
import http.server
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDS, DRAWS = 5, 2000
# USD per million tokens, as in the configuration that the gateway has without a file.
PRICES = {"small": (0.05, 0.10), "large": (0.30, 0.60)}

CONFIG = """
[server]
listen = "127.0.0.1:0"
[router]
{calibration}
[[engine]]
name = "nobody"
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
[policies]
files = ["policy.toml"]
{models}
"""

MODEL = """
[[model]]
name = "{name}"
engine = "nobody"
price = {{ input = {input}, output = {output} }}
context = 4096
ability = {ability}
"""

POLICY = '[policy]\nname = "default"\nbaseline = "large"\n'


class Nobody(http.server.BaseHTTPRequestHandler):
    """Says that it is well, so that the gateway goes on deciding for it; it is never asked for more."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Gateway:
    """A gateway that decides and calls nobody."""

    def __init__(self, tollgate, abilities, calibration):
        self.home = tempfile.TemporaryDirectory()
        home = Path(self.home.name)
        models = "".join(MODEL.format(name=name, input=price[0], output=price[1], ability=toml(abilities[name]))
                         for name, price in PRICES.items())
        named = f'calibration = "{calibration}"' if calibration else ""
        self.nobody = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nobody)
        threading.Thread(target=self.nobody.serve_forever, daemon=True).start()
        (home / "tollgate.toml").write_text(CONFIG.format(calibration=named, models=models, port=self.nobody.server_port))
        (home / "policy.toml").write_text(POLICY)
        self.process = subprocess.Popen([tollgate, "serve", "--config", "tollgate.toml", "--data-dir", "data"], cwd=home,
                                        stdout=subprocess.PIPE, stderr=open(home / "log", "w"), text=True)
        said = self.process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", said)
        if not found:
            sys.exit(f"the gateway did not start: {said}{(home / 'log').read_text()}")
        self.url = found[0]

    def decide(self, prompt, quality):
        body = json.dumps({"model": "auto", "max_tokens": 512, "messages": [{"role": "user", "content": prompt}]})
        request = urllib.request.Request(self.url + "/v1/decision", body.encode(),
                                         {"content-type": "application/json", "x-tollgate-quality": str(quality)})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["model"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.nobody.shutdown()
        self.home.cleanup()


def toml(ability):
    if isinstance(ability, dict):
        return "{ " + ", ".join(f"{domain} = {value}" for domain, value in ability.items()) + " }"
    return str(ability)


def fit(tollgate, rows, out):
    """A calibration at `out`, and the abilities that `tollgate calibrate` finds."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as labels:
        for row in rows:
            labels.write(json.dumps({name: row[name] for name in ("prompt", "small_ok", "large_ok")}) + "\n")
        labels.flush()
        done = subprocess.run([tollgate, "calibrate", "--labels", labels.name, "--out", str(out), "--json"],
                              capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)["abilities"]


def cost(row, model):
    """USD of the answer that a model gave."""
    price = PRICES[model]
    return (row["prompt_tokens"] * price[0] + row[f"{model}_tokens"] * price[1]) / 1e6


def decided(tollgate, rows, qualities):
    """The chosen models, by way of deciding and quality."""
    chosen = {}

    def ask(way, gateway, some):
        for quality in qualities:
            for row in some:
                chosen.setdefault((way, quality), {})[row["id"]] = gateway.decide(row["prompt"], quality)

    with Gateway(tollgate, {"small": 0.0, "large": 1.0}, None) as gateway:
        ask("as shipped", gateway, rows)
    order = rows[:]
    random.Random(7).shuffle(order)
    with tempfile.TemporaryDirectory() as folder:
        for fold in range(FOLDS):
            left = order[fold::FOLDS]
            seen = [row for row in order if row not in left]
            calibration = Path(folder) / f"{fold}.toml"
            abilities = fit(tollgate, seen, calibration)
            with Gateway(tollgate, abilities, None) as gateway:
                ask("abilities fitted", gateway, left)
            with Gateway(tollgate, {"small": 0.0, "large": 1.0}, calibration) as gateway:
                ask("calibrated", gateway, left)
            print(f"    fold {fold + 1} of {FOLDS}", file=sys.stderr, flush=True)
    return chosen


def line(rows, pick):
    """Share sent to the small model, share answered well, share of the large model's, USD per 1,000 prompts."""
    good = sum(row[f"{pick(row)}_ok"] for row in rows)
    large = sum(row["large_ok"] for row in rows)
    spent = sum(cost(row, pick(row)) for row in rows)
    small = sum(pick(row) == "small" for row in rows)
    return small / len(rows), good / len(rows), good / large, 1000 * spent / len(rows)


def shown(name, rows, pick):
    share, good, kept, spent = line(rows, pick)
    dice = random.Random(11)
    draws = sorted(line(dice.choices(rows, k=len(rows)), pick)[2] for _ in range(DRAWS))
    low, high = draws[int(0.025 * DRAWS)], draws[int(0.975 * DRAWS)]
    dear = line(rows, lambda _: "large")[3]
    return (f"| {name} | {100 * share:.0f} | {100 * good:.1f} | {100 * kept:.1f} ({100 * low:.1f} to {100 * high:.1f}) "
            f"| {spent:.4f} | {100 * (1 - spent / dear):.0f} |")


def by_length(rows, share):
    """The shortest prompts to the small model."""
    order = sorted(rows, key=lambda row: len(row["prompt"].split()))
    short = {row["id"] for row in order[:round(share * len(rows))]}
    return lambda row: "small" if row["id"] in short else "large"


def expected_at_random(rows, share):
    small, large = (sum(row[f"{name}_ok"] for row in rows) for name in ("small", "large"))
    return (share * small + (1 - share) * large) / large


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, help="the tollgate binary")
    parser.add_argument("--outcomes", type=Path, default=HERE / "outcomes.jsonl")
    parser.add_argument("--qualities", default="0.9,0.95,0.99")
    arguments = parser.parse_args()
    tollgate = str(Path(arguments.tollgate).resolve())
    with open(arguments.outcomes, encoding="utf-8") as lines:
        rows = [json.loads(text) for text in lines]
    qualities = [float(word) for word in arguments.qualities.split(",")]
    print(f"{len(rows)} prompts, each answered by both models and graded\n")
    print("| decided | to the small model % | answered well % | of the large model's % (95 %) | USD per 1,000 | saved % |")
    print("|---|---|---|---|---|---|")
    print(shown("always small", rows, lambda _: "small"))
    print(shown("always large", rows, lambda _: "large"))
    chosen = decided(tollgate, rows, qualities)
    for (way, quality), picks in chosen.items():
        print(shown(f"{way}, quality {quality}", rows, lambda row, picks=picks: picks[row["id"]]))
    print("\n| decided | of the large model's %, | the shortest to the small model | at random |\n|---|---|---|---|")
    for (way, quality), picks in chosen.items():
        share, _, kept, _ = line(rows, lambda row, picks=picks: picks[row["id"]])
        length = line(rows, by_length(rows, share))[2]
        chance = expected_at_random(rows, share)
        print(f"| {way}, quality {quality} | {100 * kept:.1f} | {100 * length:.1f} | {100 * chance:.1f} |")


if __name__ == "__main__":
    main()
