"""How Prometheus is run: what it scrapes, which rules it loads, how long it remembers."""

from __future__ import annotations

from typing import Any

from dumbkv_http.slo.objectives import JOB
from dumbkv_http.slo.spans import span

__all__ = ["ALERTMANAGER", "RETENTION", "TARGET", "prometheus"]

RETENTION = "400d"
"""A budget is over 30 days and the criterion over three months; Prometheus by itself keeps 15
days, deletes what is older, and still answers a query over 30."""

TARGET = "127.0.0.1:8080"
ALERTMANAGER = "127.0.0.1:9093"


def prometheus(
    target: str = TARGET, alertmanager: str = ALERTMANAGER, scale: int = 1
) -> dict[str, Any]:
    """The content of prometheus.yml; `scale` divides its intervals, for a drill."""
    interval = span(max(1, 15 // scale))
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["dumbkv.rules.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": JOB, "static_configs": [{"targets": [target]}]},
            # For reports: how often someone was told.
            {"job_name": "alertmanager", "static_configs": [{"targets": [alertmanager]}]},
        ],
    }
