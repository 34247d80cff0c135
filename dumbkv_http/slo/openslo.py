"""The objectives in OpenSLO's words, for other programs that read them.

One way only: an alert condition of OpenSLO v1 has one range, and a burn here has two.
"""

from __future__ import annotations

from typing import Any

from dumbkv_http.slo.objectives import PERIOD, RATIOS, Availability, Latency
from dumbkv_http.slo.spans import span

__all__ = ["openslo"]

_SERVICE = "dumbkv"


def openslo() -> list[dict[str, Any]]:
    """OpenSLO v1 documents: the service, and one SLO for each objective that has a budget."""
    service = {
        "apiVersion": "openslo/v1",
        "kind": "Service",
        "metadata": {"name": _SERVICE, "displayName": "DumbKV"},
        "spec": {"description": "A key-value store over HTTP."},
    }
    return [service, *map(_slo, RATIOS)]


def _slo(ratio: Availability | Latency) -> dict[str, Any]:
    if isinstance(ratio, Latency):
        counted = {"good": _metric(f"sum({ratio.good()})")}
    else:
        counted = {"bad": _metric(f"sum({ratio.bad()})")}
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": ratio.name, "displayName": ratio.title},
        "spec": {
            "description": ratio.why,
            "service": _SERVICE,
            "indicator": {
                "metadata": {"name": f"{ratio.name}-ratio"},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        **counted,
                        "total": _metric(f"sum({ratio.total()})"),
                    }
                },
            },
            "timeWindow": [{"duration": span(PERIOD), "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": ratio.title, "target": ratio.target}],
        },
    }


def _metric(query: str) -> dict[str, Any]:
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}
