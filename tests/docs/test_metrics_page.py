"""What operators are given is of this release: the page, dashboard, alert rules and runbook name the metrics there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.telemetry.metrics import METRICS, OF_PROCESS, OF_STORE, Metric

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
RUNBOOK = (ROOT / "docs" / "operations.md").read_text("utf-8")
GRAFANA = json.loads((ROOT / "ops" / "grafana.json").read_text("utf-8"))
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "ops" / "alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]

_NAME = re.compile(r"\bholdfast_\w+")
_SELECTED = re.compile(r"(holdfast_\w+)\{([^}]*)\}")
_BY = re.compile(r"\bby \(([^)]*)\)")


def told_names(metric: Metric) -> set[str]:
    """The names under which the text has it."""
    if metric.kind == "histogram":
        return {f"{metric.name}_{part}" for part in ("bucket", "count", "sum")}
    return {f"{metric.name}_total" if metric.kind == "counter" else metric.name}


LABELS = {name: {*metric.labels, "instance"} for metric in METRICS for name in told_names(metric)}
LABELS |= {name: labels | {"le"} for name, labels in LABELS.items() if name.endswith("_bucket")}


def row(metric: Metric) -> str:
    (name,) = told_names(metric) if metric.kind != "histogram" else (metric.name,)
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{name}` | {metric.kind} | {labels} | {metric.help} |"


@pytest.mark.parametrize(
    ("heading", "metrics"), [("Counted in each process", OF_PROCESS), ("Asked of the store", OF_STORE)]
)
def test_the_page_has_every_metric_as_the_code_has_it(heading: str, metrics: tuple[Metric, ...]) -> None:
    part = PAGE.partition(f"### {heading}\n")[2].partition("\n#")[0]
    assert [line for line in part.splitlines() if line.startswith("| `")] == [row(metric) for metric in metrics]


def expressions() -> dict[str, str]:
    """What Prometheus is asked, by who asks."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in GRAFANA["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']}, {target['refId']}"] = target["expr"]
    for variable in GRAFANA["templating"]["list"]:
        if variable["type"] == "query":
            found[variable["name"]] = variable["query"]["query"]
    return found


@pytest.mark.parametrize(("where", "expression"), expressions().items())
def test_metrics_and_labels_that_are_asked_for_are_told(where: str, expression: str) -> None:
    names = set(_NAME.findall(expression))
    assert names
    assert names <= LABELS.keys()
    for name, matchers in _SELECTED.findall(expression):
        assert set(re.findall(r"(\w+)\s*=?[=!~]", matchers)) <= LABELS[name]
    for labels in _BY.findall(expression):
        assert set(re.split(r",\s*", labels)) <= set.union(*(LABELS[name] for name in names))


def test_the_dashboard_shows_every_metric() -> None:
    asked = {name for expression in expressions().values() for name in _NAME.findall(expression)}
    assert [metric.name for metric in METRICS if not told_names(metric) & asked] == []


def test_no_panel_lies_upon_another() -> None:
    places = [panel["gridPos"] for panel in GRAFANA["panels"]]
    taken = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken))
    assert all(at["x"] + at["w"] <= 24 for at in places)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_its_part_of_the_runbook(rule: dict[str, Any]) -> None:
    part = RUNBOOK.partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
    assert re.findall(r"^- \*\*(\w+):\*\*", part, re.MULTILINE) == ["Means", "Check", "Fix"]
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = set(re.split(r",\s*", (_BY.findall(rule["expr"]) or ["store, instance"])[0]))
    assert used <= kept


def test_the_runbook_has_no_alert_that_is_gone() -> None:
    assert re.findall(r"^### (Holdfast\w+)$", RUNBOOK, re.MULTILINE) == [rule["alert"] for rule in RULES]
