"""The Grafana dashboard asks for metrics that a run has, and is built as Grafana wants it."""

import json
import re
from typing import Any

import pytest

from bitmill.jobs.cluster.prometheus_metrics import COUNTERS, GAUGES
from bitmill.schemas.reports.status_file import ActorCounts
from tests.support.commands import REPOSITORY

EXPORTED = {
    **{f"ray_{name}_total": tag for name, (_, tag) in COUNTERS.items()},
    **{f"ray_{name}": tag for name, (_, tag) in GAUGES.items()},
}
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTOR = re.compile(r"(ray_bitmill_\w+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads((REPOSITORY / "deploy" / "grafana-dashboard.json").read_text())


def _expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_is_shown_and_every_shown_one_is_a_metric(dashboard):
    shown = {name for expr in _expressions(dashboard) for name in re.findall(r"ray_bitmill_\w+", expr)}
    assert shown == set(EXPORTED)


def test_labels_are_those_of_the_metric(dashboard):
    for expr in _expressions(dashboard):
        for name, labels in SELECTOR.findall(expr):
            own = {"job_name", "dataset", EXPORTED[name]}
            assert {"job_name", "dataset"} <= set(re.findall(r"(\w+)=", labels)) <= own, expr
            by = re.search(r"by \((\w+)\)", expr)
            assert by is None or by[1] in own, expr


def test_it_is_built_as_grafana_wants_it(dashboard):
    assert {"uid", "title", "schemaVersion", "templating", "panels", "time"} <= set(dashboard)
    assert dashboard.get("id") is None
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("job_name", "dataset"):
        (metric,) = re.findall(r"ray_bitmill_\w+", variables[name]["definition"])
        assert metric in EXPORTED
        assert variables[name]["query"]["query"] == variables[name]["definition"]
        assert variables[name]["datasource"] == DATASOURCE
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in {"timeseries", "stat", "bargauge"}
        assert panel["datasource"] == DATASOURCE
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


def test_panels_stand_side_by_side(dashboard):
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_the_page_on_metrics_names_all_of_them():
    page = (REPOSITORY / "docs" / "cluster.md").read_text().replace("`…_", "`ray_bitmill_…_")
    for name in EXPORTED:
        short = re.sub(r"(committed|encoded)_(frames|tokens)", r"…_\2", name)
        assert f"`{name}`" in page or f"`{short}`" in page, name
    for state in ActorCounts.model_fields:
        assert f"`{state}`" in page
