"""The files in deploy/ that nothing here can run: checked by their schemas, and against each other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.e2e import queries
from tests.e2e.deployment import COMPOSE, DEPLOY, ROOT, services

GRAFANA = DEPLOY / "grafana"


def test_compose_file_follows_the_compose_specification():
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "check-jsonschema"),
            "--builtin-schema",
            "vendor.compose-spec",
            str(COMPOSE),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", services())
def test_compose_service_is_pinned_limited_and_watched(name):
    service = services()[name]
    assert re.fullmatch(r".+:(v?\d+\.\d+\.\d+|local)", service["image"]), "an exact version"
    assert re.fullmatch(r"\d+m", service["mem_limit"])
    assert "test" in service["healthcheck"] or name == "load"
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "reachable from this machine only"


@pytest.mark.parametrize("name", services())
def test_compose_service_refers_to_what_exists(name):
    service = services()[name]
    for volume in service.get("volumes", []):
        assert (DEPLOY / volume.split(":")[0]).exists(), volume
    if "build" in service:
        context = DEPLOY / service["build"]["context"]
        dockerfile = context / service["build"].get("dockerfile", "Dockerfile")
        for line in dockerfile.read_text().splitlines():
            words = line.split()
            if words[:1] == ["COPY"] and not words[1].startswith("--from"):
                for source in words[1:-1]:
                    assert (context / source).exists(), line
    for needed in service.get("depends_on", {}):
        assert "test" in services()[needed]["healthcheck"], "waits for a health that is checked"


def test_versions_that_run_here_are_those_that_compose_pins():
    builder = yaml.safe_load((DEPLOY / "e2e/collector-builder.yaml").read_text())
    version = builder["dist"]["version"]
    assert f"opentelemetry-collector-contrib:{version}" in (DEPLOY / "collector/Dockerfile").read_text()
    assert services()["collector"]["image"].endswith(f":{version}")
    # Jaeger 2.13.0 is the module's v1.76.0: its second major version is numbered by its image only.
    assert services()["jaeger"]["image"] == "jaegertracing/jaeger:2.13.0"
    prometheus = services()["prometheus"]["image"].removeprefix("prom/prometheus:v3.")
    pins = (DEPLOY / "e2e/prometheus/go.mod").read_text()
    assert f"github.com/prometheus/prometheus v0.3{prometheus} " in pins, "3.13.3 is v0.313.3 as a module"
    assert "github.com/jaegertracing/jaeger v1.76.0" in (DEPLOY / "e2e/jaeger/go.mod").read_text()


def test_collector_config_takes_every_address_from_the_environment_with_a_default():
    def walk(node, path=()):
        if isinstance(node, dict):
            for key, value in node.items():
                yield from walk(value, (*path, key))
        elif isinstance(node, list):
            for value in node:
                yield from walk(value, path)
        else:
            yield path, str(node)

    config = yaml.safe_load((ROOT / "collector-config.yaml").read_text())
    addresses = [(path, value) for path, value in walk(config) if path[-1] in ("endpoint", "host", "port")]
    assert len(addresses) >= 7
    for path, value in addresses:
        assert re.fullmatch(r"\$\{env:[A-Z_]+:-[^}]+\}", value), (path, value)


def test_grafana_leads_from_an_exemplar_to_the_trace_in_jaeger():
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/datasources.yaml").read_text())
    by_uid = {source["uid"]: source for source in sources["datasources"]}
    assert len(by_uid) == len(sources["datasources"])
    (destination,) = by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert by_uid[destination["datasourceUid"]]["type"] == "jaeger"
    assert destination["name"] == "trace_id", "the Collector's name for it in an exemplar"
    environment = services()["grafana"]["environment"]
    for source in by_uid.values():
        assert re.fullmatch(r"\$\{(\w+)\}", source["url"]).group(1) in environment


def test_grafana_finds_the_dashboards_where_they_are_mounted():
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/dashboards.yaml").read_text())[
        "providers"
    ]
    mounts = dict(reversed(v.split(":")[:2]) for v in services()["grafana"]["volumes"])
    assert (DEPLOY / mounts[provider["options"]["path"]]) == GRAFANA / "dashboards"


@pytest.mark.parametrize("path", queries.DASHBOARDS, ids=lambda path: path.name)
def test_dashboard_is_one_that_grafana_can_lay_out(path):
    dashboard = json.loads(path.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        mine = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & mine, f"{panel['title']} lies on another panel"
        cells |= mine
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    for panel in queries.panels(path):
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            used = set(re.findall(r"\$\{?([a-z_]\w*)", target["expr"])) - {"__rate_interval", "__range"}
            assert used <= variables


@pytest.mark.parametrize(
    "wanted",
    [
        ("heatmap", "event_loop_lag_seconds_bucket"),
        ("timeseries", "event_loop_lag_seconds_bucket"),
        ("timeseries", "event_loop_block_cause"),
        ("table", "event_loop_block_duration_seconds_sum"),
        ("table", "event_loop_delay_duration_seconds_sum"),
        ("heatmap", "event_loop_delay_duration_seconds_bucket"),
        ("timeseries", "event_loop_utilization_ratio"),
        ("timeseries", "event_loop_block_ongoing_seconds"),
        ("timeseries", "event_loop_block_suppressed_total"),
    ],
)
def test_dashboard_shows(wanted):
    kind, part = wanted
    (path,) = queries.DASHBOARDS
    assert any(
        panel["type"] == kind and any(part in target["expr"] for target in panel["targets"])
        for panel in queries.panels(path)
    )


@pytest.mark.parametrize("path", queries.DASHBOARDS, ids=lambda path: path.name)
def test_dashboard_has_nothing_that_grafanas_own_sdk_does_not_know(path):
    """Read by the SDK, and written again: what it does not know is lost, what it refuses raises."""
    plugins.register_default_plugins()
    ours = json.loads(path.read_text())
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    assert list(lost(ours, theirs)) == []


def lost(ours: object, theirs: object, where: str = "") -> Iterator[str]:
    """Where ``ours`` has what ``theirs`` lacks, or has otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from lost(value, theirs[key], f"{where}.{key}")
            elif value is not None:
                yield f"{where}.{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(mine, other, f"{where}[{index}]")
    elif ours != theirs:
        yield f"{where}: {ours!r} became {theirs!r}"


def links(dashboard: dict) -> list[str]:
    """Every link of a dashboard, of its panels and their columns."""
    found = [link["url"] for link in dashboard["links"]]
    for panel in dashboard["panels"]:
        config = panel.get("fieldConfig", {})
        found += [link["url"] for link in config.get("defaults", {}).get("links", [])]
        for override in config.get("overrides", []):
            for changed in override["properties"]:
                found += [link["url"] for link in changed["value"]] if changed["id"] == "links" else []
    return found


@pytest.mark.parametrize("path", queries.DASHBOARDS, ids=lambda path: path.name)
def test_links_lead_to_searches_of_the_jaeger_that_is_chosen(path):
    dashboard = json.loads(path.read_text())
    assert "localhost" not in path.read_text()
    found = links(dashboard)
    assert len(found) > 5
    for url in found:
        address, parameters = url.split("?")
        assert address == "/explore"
        (pane,) = json.loads(parse_qs(parameters)["panes"][0]).values()
        assert pane["datasource"] == "${jaeger}"
        (query,) = pane["queries"]
        assert query["queryType"] == "search"
        assert query["service"].startswith("${")


def test_an_exemplar_can_be_seen_on_panels_of_blocks():
    (path,) = queries.DASHBOARDS
    with_exemplars = [
        target["expr"]
        for panel in queries.panels(path)
        for target in panel["targets"]
        if target.get("exemplar")
    ]
    assert with_exemplars
    for expression in with_exemplars:
        assert re.search(r"event_loop_(block|delay)_duration_seconds_bucket", expression)
