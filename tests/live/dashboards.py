#!/usr/bin/env python3
"""Proves dashboards/ on a real Prometheus that scrapes a real gateway under traffic; `make dashboards` runs it.

Every panel's query, every variable, the annotation and every rule must give data, or be named below with the reason
why it may be empty. The results are drawn into one picture, so that a person can look.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from clients import node_clients, python_clients
from gateway import Gateway, metric
from grafana_types import compile_errors
from panels import filled, label_values, legend_labels, load, numbers, queries, series_names
from prometheus import DASHBOARDS, SCRAPE_S, Prometheus
from traffic import Traffic, kill_worker, spoil_policy
from upstream import Upstream

# What may give nothing after this traffic, and why.
MAY_BE_EMPTY = {}
# Grafana's: at least four scrapes.
RATE_S = 4 * SCRAPE_S + SCRAPE_S

CONFIG = """
[server]
listen = "127.0.0.1:0"
[policies]
files = ["policies"]
[[engine]]
name = "moe"
kind = "embedded"
model = "smollm2-135m-moe"
threads = 1
context = 1024
parallel = 2
[[engine]]
name = "dense"
kind = "embedded"
model = "smollm2-135m"
threads = 1
context = 1024
parallel = 2
[[engine]]
name = "cloud"
kind = "openai"
base_url = "{upstream}"
[[engine]]
name = "flaky"
kind = "openai"
base_url = "{upstream}"
[[model]]
name = "small-moe"
engine = "moe"
price = {{ input = 0.05, output = 0.10 }}
context = 1024
[[model]]
name = "large"
engine = "dense"
price = {{ input = 0.30, output = 0.60 }}
context = 1024
ability = 1.0
[[model]]
name = "cheap"
engine = "cloud"
upstream_model = "steady"
price = {{ input = 0.50, output = 1.50 }}
ability = 0.1
[[model]]
name = "dear"
engine = "cloud"
upstream_model = "steady"
price = {{ input = 5.0, output = 15.0 }}
ability = 1.0
[[model]]
name = "slow"
engine = "cloud"
price = {{ input = 5.0, output = 15.0 }}
[[model]]
name = "silent"
engine = "cloud"
upstream_model = "hang"
price = {{ input = 5.0, output = 15.0 }}
[[model]]
name = "broken"
engine = "flaky"
price = {{ input = 0.01, output = 0.01 }}
ability = 1.0
"""

POLICY = """
[policy]
name = "default"
baseline = "dear"
[objective]
quality = 0.95
[[rule]]
name = "local engines"
when = 'tags.kind == "local"'
use = ["small-moe", "large"]
[[rule]]
name = "bulk goes cheap"
when = 'tags.kind == "bulk" && model == "auto"'
use = ["cheap", "dear"]
quality = 0.8
[[rule]]
name = "flaky first"
when = 'tags.kind == "flaky" && model == "auto"'
use = ["broken", "cheap"]
quality = 0.5
[[rule]]
name = "the cloud only"
when = 'tags.kind == "any" && model == "auto"'
use = ["cheap", "dear"]
[[budget]]
name = "everything, daily"
scope = "global"
limit_usd = 5.0
window = "1d"
on_exhausted = "downgrade"
[[budget]]
name = "each team, hourly"
scope = { team = "*" }
limit_usd = 1.0
window = "1h"
on_exhausted = "reject"
[[budget]]
name = "capped team, hourly"
scope = { team = "capped" }
limit_usd = 0.01
window = "1h"
on_exhausted = "reject"
"""


class Findings:
    """What was checked; one line each."""

    def __init__(self):
        self.passed = self.failed = 0

    def add(self, good, text):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"{'PASS' if good else 'FAIL'}  {text}", flush=True)


def drive(gateway, seconds):
    """Traffic for a while, with a crash and a bad policy on the way."""
    mishaps = [threading.Timer(seconds * 0.3, kill_worker, (gateway, "smollm2-135m-moe")),
               threading.Timer(seconds * 0.5, spoil_policy, (gateway, 4))]
    with Traffic(gateway) as traffic:
        for mishap in mishaps:
            mishap.start()
        time.sleep(seconds)
        for mishap in mishaps:
            mishap.join()
    return traffic.sent


def check_types(findings, dashboard):
    """The JSON is what Grafana's own types say; and the types do refuse a panel that is not."""
    errors = compile_errors(dashboard, node_clients())
    for error in errors:
        print(f"      {error[:300]}")
    findings.add(not errors, "types: the dashboard is what @grafana/schema says")
    spoilt = json.loads(json.dumps(dashboard))
    spoilt["panels"][1]["options"]["colorMode"] = "no such mode"
    findings.add(compile_errors(spoilt, node_clients()), "types: a wrong option is refused")


def check_variables(findings, prometheus, dashboard):
    """Every value that a variable offers; `All` is what its allValue says."""
    chosen = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        name, label = label_values(variable["definition"])
        values = prometheus.get(f"label/{label}/values", **{"match[]": name})
        findings.add(values, f"variable ${variable['name']}: {', '.join(values) or 'no value'}")
        findings.add(variable["query"]["query"] == variable["definition"], f"variable ${variable['name']}: query and definition agree")
        chosen[variable["name"]] = (variable["allValue"], values)
    return chosen


def ask(prometheus, query, chosen, start, end):
    """A query's series over the span, or at its end."""
    expr = filled(query.expr, chosen, int(end - start), RATE_S)
    return prometheus.instant(expr, end) if query.instant else prometheus.span(expr, start, end)


def check_panels(findings, prometheus, dashboard, variables, start, end):
    """Every query with `All` chosen must give data that its legend can name; with each single value it must be valid."""
    everything = {name: default for name, (default, _) in variables.items()}
    results = []
    for query in queries(dashboard):
        series = ask(prometheus, query, everything, start, end)
        values = [value for one in series for value in numbers(one)]
        unnamed = legend_labels(query.legend) - set().union(*(one["metric"].keys() for one in series)) if series else set()
        reason = MAY_BE_EMPTY.get(query.name)
        text = f"{query.name}: {len(series)} series, {len(values)} samples" + (f", last {values[-1]:.6g}" if values else "")
        if unnamed:
            findings.add(False, f"{text}; its legend names {unnamed}, which they do not have")
        else:
            findings.add(values or reason, text + (f" ({reason})" if reason and not values else ""))
        for name, (_, offered) in variables.items():
            if f"${name}" in query.expr:
                for value in offered:
                    ask(prometheus, query, everything | {name: value}, start, end)
        results.append({"panel": query.panel["id"], "ref": query.ref, "legend": query.legend, "series": series})
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            series = prometheus.span(annotation["expr"].replace("[1m]", f"[{RATE_S}s]"), start, end)
            findings.add(series, f"annotation {annotation['name']}: {len(series)} series")
    return results


def check_rules(findings, prometheus, end):
    """Every rule evaluates; what is recorded has data; what an alert reads exists."""
    known = set(prometheus.get("label/__name__/values"))
    for group in prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            missing = [name for name in series_names(rule["query"]) if name not in known]
            sound = rule["health"] == "ok" and not missing
            if rule["type"] == "recording":
                series = prometheus.instant(rule["name"], end)
                values = [value for one in series for value in numbers(one)]
                findings.add(sound and values, f"record {rule['name']}: {len(series)} series, {values[:4]} {rule.get('lastError', '')}")
            else:
                findings.add(sound, f"alert {rule['name']}: {rule['state']}{f', reads {missing}' if missing else ''}")
    return {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}


def check_figures(findings, gateway, prometheus, dashboard, variables, alerts, start, end):
    """The figures that matter are not only there but right: they are held against the ledger and against what was done."""
    total = json.loads(gateway.cli("ledger", "report", "--json"))["total"]
    spent = float(total["cost_usd"])
    counted = metric(gateway.url, "tollgate_cost_usd_total")
    findings.add(abs(spent - counted) < 1e-6, f"money: the ledger says {spent:.6f} USD, the counters {counted:.6f}")
    everything = {name: default for name, (default, _) in variables.items()}
    by_title = {query.panel["title"]: query for query in reversed(queries(dashboard))}
    shown = numbers(ask(prometheus, by_title["Spend"], everything, start, end)[0])[-1]
    findings.add(abs(shown / spent - 1) < 0.15, f"panel Spend: {shown:.6f} USD of {spent:.6f} in the ledger")
    failing = prometheus.instant("tollgate:requests_failed:ratio_rate5m > 0", end)
    findings.add(failing, "the failed share is above zero after deadlines were missed")
    for alert in ("TollgateBudgetNearlyExhausted", "TollgatePolicyRefused"):
        findings.add(alert in alerts, f"alert {alert} is pending or firing, as it should after this traffic")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tollgate", required=True, type=Path, help="the tollgate binary")
    parser.add_argument("--seconds", type=int, default=75, help="how long traffic goes on")
    parser.add_argument("--out", type=Path, default=Path("target/dashboards"), help="where results and the picture go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    dashboard, findings = load(DASHBOARDS / "cost.json"), Findings()
    with tempfile.TemporaryDirectory(prefix="tollgate-dashboards-") as folder, Upstream() as upstream:
        gateway = Gateway(arguments.tollgate, Path(folder) / "gateway", CONFIG.format(upstream=upstream.url),
                          {"default.toml": POLICY})
        check_types(findings, dashboard)
        print("==> starting the gateway with both local engines, and Prometheus", flush=True)
        with gateway, Prometheus(Path(folder) / "prometheus", gateway.url) as prometheus:
            time.sleep(2 * SCRAPE_S)  # so that every series is seen before its first event
            start = time.time()
            print(f"==> mixed traffic for {arguments.seconds} s", flush=True)
            sent = drive(gateway, arguments.seconds)
            time.sleep(2 * SCRAPE_S)  # the last events are scraped
            end = time.time()
            print(f"==> {sent} requests sent; now every query of the dashboard", flush=True)
            variables = check_variables(findings, prometheus, dashboard)
            results = check_panels(findings, prometheus, dashboard, variables, start, end)
            alerts = check_rules(findings, prometheus, end)
            check_figures(findings, gateway, prometheus, dashboard, variables, alerts, start, end)
    data = arguments.out / "results.json"
    data.write_text(json.dumps({"start": start, "end": end, "results": results}))
    draw(data, arguments.out / "overview.png")
    print(f"{findings.passed} passed, {findings.failed} failed")
    sys.exit(1 if findings.failed else 0)


def draw(data, picture):
    """Draws the results in a virtual environment that has matplotlib."""
    here = Path(__file__).resolve().parent
    subprocess.run([python_clients("picture"), here / "picture.py", DASHBOARDS / "cost.json", data, picture], check=True)
    print(f"==> drawn: {picture}")


if __name__ == "__main__":
    main()
