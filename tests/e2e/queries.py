"""Every PromQL expression that deploy/ contains, and the metrics that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from tests.e2e.deployment import DEPLOY

DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
RULE_TESTS = sorted((DEPLOY / "prometheus/tests").glob("*.yml"))

GRAFANA = {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m", "$__range": "10m"}
"""What Grafana puts in place of its variables."""


@dataclass(frozen=True)
class Query:
    """One expression, and where it stands."""

    where: str
    expression: str

    def metrics(self) -> set[str]:
        return {
            selector.name for selector in selectors(promql_parser.parse(self.expression)) if selector.name
        }


def selectors(node: Any) -> Iterator[Any]:
    """All vector selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from selectors(argument)
    elif hasattr(node, "expr"):
        yield from selectors(node.expr)


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]


def of_dashboards() -> list[Query]:
    found = []
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in GRAFANA.items():
                    expression = expression.replace(variable, value)
                found.append(Query(f"{path.name}: {panel['title']} {target['refId']}", expression))
    return found


def _rules(kind: str) -> list[Query]:
    return [
        Query(rule[kind], rule["expr"])
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


def of_recordings() -> list[Query]:
    return _rules("record")


def of_alerts() -> list[Query]:
    return _rules("alert")
