"""A Grafana dashboard as data: its panels' queries with variables filled in, and what must come back."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Query:
    """One target of one panel."""

    panel: dict
    ref: str
    expr: str
    legend: str
    instant: bool

    @property
    def name(self):
        return f"{self.panel['title']} [{self.ref}]"


def load(path):
    """The dashboard's JSON."""
    return json.loads(Path(path).read_text())


def panels(dashboard):
    """Every panel that shows data, those inside collapsed rows included."""
    for panel in dashboard["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] != "row":
            yield panel


def queries(dashboard):
    """Every target, in the order of the panels."""
    return [Query(panel, target["refId"], target["expr"], target.get("legendFormat", ""), target.get("instant", False))
            for panel in panels(dashboard) for target in panel.get("targets", [])]


def filled(expr, chosen, range_s, rate_s):
    """The query as Grafana would send it: its own variables, then the dashboard's. None may be left over."""
    own = {"__range": f"{range_s}s", "__rate_interval": f"{rate_s}s", "__interval": f"{rate_s}s"}
    text = re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda found: (own | chosen)[found[1]], expr)
    assert "$" not in text, f"a variable is left in {text}"
    return text


def label_values(query):
    """The metric and label of a variable's `label_values(metric, label)`."""
    found = re.fullmatch(r"label_values\((.+), *(\w+)\)", query)
    assert found, f"not a label_values query: {query}"
    return found[1], found[2]


def numbers(series):
    """The finite samples of a series."""
    values = [float(value) for _, value in series["values"]]
    return [value for value in values if math.isfinite(value)]


def legend_labels(legend):
    """The labels that a legend shows."""
    return set(re.findall(r"{{ *(\w+) *}}", legend))


def series_names(expr):
    """The series that an expression reads."""
    return sorted(set(re.findall(r"\b(?:tollgate|gen_ai|up)[\w:]*(?=[{\[ )]|$)", expr)) - {"up"})
