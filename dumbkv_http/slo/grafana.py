"""The dashboard as Grafana reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dumbkv_http.slo.panels import PANELS, ROWS, Panel

__all__ = ["grafana"]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDE = 24


def grafana() -> dict[str, Any]:
    """The dashboard's JSON, for import; it asks which Prometheus to read."""
    return {
        "uid": "dumbkv-slo",
        "title": "DumbKV: service level objectives",
        "tags": ["dumbkv", "slo"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                    "skipUrlSync": False,
                    "multi": False,
                    "includeAll": False,
                }
            ]
        },
        "panels": list(_placed()),
    }


def _placed() -> Iterator[dict[str, Any]]:
    """A heading for each row and its panels below, side by side."""
    top, number = 0, 0
    for row in ROWS:
        panels = [panel for panel in PANELS if panel.row == row]
        number += 1
        place = {"h": 1, "w": _WIDE, "x": 0, "y": top}
        yield {
            "id": number, "type": "row", "title": row, "collapsed": False, "gridPos": place,
            "panels": [],
        }  # fmt: skip
        wide = _WIDE // len(panels)
        for column, panel in enumerate(panels):
            number += 1
            place = {"h": 8, "w": wide, "x": column * wide, "y": top + 1}
            yield {"id": number, "gridPos": place, **_panel(panel)}
        top += 9


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.bad is not None:
        good, bad = ("red", "green") if panel.less else ("green", "red")
        steps = [{"value": None, "color": good}, {"value": panel.bad, "color": bad}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if not panel.number:
            defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "type": "stat" if panel.number else "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
                "instant": panel.number,
                "range": not panel.number,
            }
            for place, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
