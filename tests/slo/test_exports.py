"""What other programs read: Grafana's dashboard and the OpenSLO documents."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from dumbkv_http.slo.generate import GENERATED
from dumbkv_http.slo.objectives import RATIOS
from dumbkv_http.slo.panels import PANELS
from tests.slo.conftest import program

DASHBOARD: dict[str, Any] = json.loads((GENERATED / "grafana-dashboard.json").read_text())
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all((GENERATED / "openslo.yaml").read_text()))
SERVICE, SLOS = DOCUMENTS[0], DOCUMENTS[1:]


def parsed(queries: list[str], place: Path) -> str:
    """What promtool says of queries that it cannot parse."""
    rules = [{"record": f"query:{number}", "expr": q} for number, q in enumerate(queries)]
    (place / "rules.json").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    command = [program("promtool"), "check", "rules", str(place / "rules.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr if done.returncode else ""


# Grafana

if sys.version_info >= (3, 11):  # Grafana's own library needs it.
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    def test_grafana_reads_every_field_of_the_dashboard() -> None:
        read = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
        assert lost(DASHBOARD, read) == []

    def test_a_field_that_grafana_does_not_know_would_be_seen() -> None:
        wrong = json.loads(json.dumps(DASHBOARD))
        wrong["panels"][1]["gridPosition"] = wrong["panels"][1].pop("gridPos")
        read = json.loads(JSONEncoder().encode(Dashboard.from_json(wrong)))
        assert lost(wrong, read) == [".panels[1].gridPosition"]


def lost(written: Any, read: Any, path: str = "") -> list[str]:
    """What is in one document and not, or not the same, in the other."""
    if isinstance(written, dict) and isinstance(read, dict):
        pairs = [(f"{path}.{key}", value, read.get(key)) for key, value in written.items()]
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = [(f"{path}[{n}]", *both) for n, both in enumerate(zip(written, read, strict=True))]
    else:
        return [] if written == read else [path]
    return [each for where, one, other in pairs for each in lost(one, other, where)]


def test_the_panels_stand_beside_each_other_and_ask_the_chosen_prometheus() -> None:
    panels = DASHBOARD["panels"]
    assert [each["id"] for each in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for each in panels:
        place = each["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    (chosen,) = DASHBOARD["templating"]["list"]
    charts = [each for each in panels if each["type"] != "row"]
    assert [each["title"] for each in charts] == [each.title for each in PANELS]
    for each in charts:
        sources = [each["datasource"], *(target["datasource"] for target in each["targets"])]
        assert {source["uid"] for source in sources} == {f"${{{chosen['name']}}}"}


def test_prometheus_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [
        target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
    ]
    assert len(queries) >= len(PANELS)
    assert parsed([query.replace("$__rate_interval", "5m") for query in queries], tmp_path) == ""
    assert "parse error" in parsed([*queries, "max(0, 1)"], tmp_path)


# OpenSLO


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_METADATA = _object(
    {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}}, displayName=_TEXT
)
_METRIC = _object(
    {"metricSource": _object({"type": {"const": "Prometheus"}, "spec": _object({"query": _TEXT})})}
)
_RATIO = _object({"counter": {"type": "boolean"}, "total": _METRIC}, good=_METRIC, bad=_METRIC)
_RATIO["oneOf"] = [{"required": ["good"]}, {"required": ["bad"]}]
_WINDOW = _object(
    {
        "duration": {"type": "string", "pattern": "^[1-9][0-9]*[mhdwMQY]$"},
        "isRolling": {"const": True},
    }
)
_TARGET = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}


def _one(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}


def _document(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": {"const": "openslo/v1"}, "kind": {"const": kind}}
    return _object({**head, "metadata": _METADATA, "spec": spec})


# As far as these documents use what OpenSLO v1 has.
SCHEMAS = {
    "Service": _document("Service", _object({"description": _TEXT})),
    "SLO": _document(
        "SLO",
        _object(
            {
                "description": _TEXT,
                "service": _TEXT,
                "indicator": _object(
                    {"metadata": _METADATA, "spec": _object({"ratioMetric": _RATIO})}
                ),
                "timeWindow": _one(_WINDOW),
                "budgetingMethod": {"enum": ["Occurrences", "Timeslices", "RatioTimeslices"]},
                "objectives": _one(_object({"target": _TARGET}, displayName=_TEXT)),
            }
        ),
    ),
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each["metadata"]["name"]))
def test_a_document_is_of_openslos_form(document: dict[str, Any]) -> None:
    jsonschema.validate(document, SCHEMAS[document["kind"]])


def test_each_objective_is_exported_with_what_its_rules_count(tmp_path: Path) -> None:
    assert [each["metadata"]["name"] for each in SLOS] == [each.name for each in RATIOS]
    assert len({each["spec"]["indicator"]["metadata"]["name"] for each in SLOS}) == len(RATIOS)
    rules = re.sub(r"\s+", " ", (GENERATED / "dumbkv.rules.yml").read_text())
    for each, ratio in zip(SLOS, RATIOS, strict=True):
        spec = each["spec"]
        assert spec["service"] == SERVICE["metadata"]["name"]
        assert spec["objectives"][0]["target"] == ratio.target
        metrics = spec["indicator"]["spec"]["ratioMetric"]
        queries = [
            metrics[part]["metricSource"]["spec"]["query"]
            for part in ("good", "bad", "total")
            if part in metrics
        ]
        assert parsed(queries, tmp_path) == ""
        for query in queries:
            counted = re.fullmatch(r"sum\((.+)\)", query)
            assert counted is not None
            assert f"sum(increase({counted[1]}[30d]))" in rules
