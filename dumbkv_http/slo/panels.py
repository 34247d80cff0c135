"""What a dashboard shows, for every program that draws one.

The document's own dashboard queries are here, corrected: of one job, without client errors in the
denominator, and with clamp_min where it has a max that PromQL does not know.
"""

from __future__ import annotations

from typing import NamedTuple

from dumbkv_http.slo.objectives import (
    AVAILABILITY,
    COLLECTIONS,
    DESCRIPTORS,
    JOB,
    LATENCIES,
    MEMORY,
    PERIOD,
    RATIOS,
)
from dumbkv_http.slo.spans import span

__all__ = ["PANELS", "ROWS", "Panel", "Query"]

Number = float | None


class Query(NamedTuple):
    """An expression and what its line is called; `{{label}}` in it is that label's value."""

    expression: str
    legend: str


class Panel(NamedTuple):
    """Queries that are seen together.

    `number` is for one figure, now; else they are lines over time. `unit` is Grafana's name for it.
    A value is bad from `bad` on, or below it when `less` is set.
    """

    row: str
    title: str
    unit: str
    queries: tuple[Query, ...]
    text: str
    number: bool = False
    bad: Number = None
    less: bool = False


_PERIOD = span(PERIOD)
_BAD = AVAILABILITY.bad_rate(_PERIOD, function="increase")
_TOTAL = AVAILABILITY.total_rate(_PERIOD, function="increase")
_RATE = "$__rate_interval"
_NAME = {ratio.name: ratio.title for ratio in RATIOS}

ROWS = ("Objectives", "Traffic", "Process", "Alerts")

PANELS = (
    Panel(
        "Objectives",
        "30-day availability",
        "percentunit",
        (Query(f"1 - {_BAD} / ({_TOTAL} > 0)", "availability"),),
        f"The share of requests of 30 days that were not answered with a 5xx; "
        f"the objective is {AVAILABILITY.target:.1%}.",
        number=True,
        bad=AVAILABILITY.target,
        less=True,
    ),
    Panel(
        "Objectives",
        "Error budget remaining",
        "percentunit",
        (Query(f"clamp_min(1 - {_BAD} / ({_TOTAL} * {AVAILABILITY.budget} > 0), 0)", "left"),),
        "Of the errors that 30 days may have, the share that is left. It stops at 0; how far it is "
        "overspent is in the panel beside it.",
        number=True,
        bad=0.25,
        less=True,
    ),
    Panel(
        "Objectives",
        "Error budget consumed",
        "percentunit",
        (Query("slo:budget_consumed:ratio30d", "{{slo}}"),),
        "Over 30 days, for each objective; more than 100 % is a missed objective.",
        bad=1,
    ),
    Panel(
        "Objectives",
        "Burn rate",
        "none",
        tuple(
            Query(
                f"slo:bad_ratio:rate{span(burn.long)} / on (slo) (1 - slo:objective:ratio)",
                f"{{{{slo}}}} over {span(burn.long)}",
            )
            for burn in AVAILABILITY.burns
        ),
        "How many times as fast as it may a budget is used up.",
        bad=AVAILABILITY.burns[0].factor,
    ),
    Panel(
        "Traffic",
        "Request volume",
        "reqps",
        (Query(AVAILABILITY.total_rate(_RATE), "requests"),),
        "Requests in a second, without scrapes and probes and without client errors.",
    ),
    Panel(
        "Traffic",
        "Answers by status",
        "reqps",
        (
            Query(
                f'sum by (status) (rate(http_requests_total{{job="{JOB}"}}[{_RATE}])) > 0',
                "{{status}}",
            ),
        ),
        "All answers, refused connections and unreadable requests included.",
    ),
    Panel(
        "Traffic",
        "Latency",
        "s",
        tuple(Query(each.quantile(_RATE), f"P{each.target * 100:.0f}") for each in LATENCIES),
        "; ".join(f"{each.title} at most {each.bound * 1000:.0f} ms" for each in LATENCIES) + ".",
        bad=LATENCIES[0].bound,
    ),
    Panel(
        "Process",
        "Memory trend in MB",
        "mbytes",
        (
            Query(f"{MEMORY.expression()} / (1024 * 1024)", "{{instance}} resident"),
            Query(f'dumbkv_memory_bytes{{job="{JOB}"}} / (1024 * 1024)', "{{instance}} data"),
        ),
        "Resident memory of the process, and what of it is data.",
        bad=MEMORY.limit / 1024**2,
    ),
    Panel(
        "Process",
        "FD usage percentage",
        "percent",
        (Query(f"({DESCRIPTORS.expression()}) * 100", "{{instance}}"),),
        "Open descriptors of those the process may have.",
        bad=DESCRIPTORS.limit * 100,
    ),
    Panel(
        "Process",
        "GC activity",
        "ops",
        (Query(COLLECTIONS.expression().replace("5m", _RATE), "{{instance}}"),),
        "Collections in a second, of all generations together.",
        bad=COLLECTIONS.limit,
    ),
    Panel(
        "Process",
        "GC pauses",
        "percentunit",
        (Query(f'rate(dumbkv_gc_pause_seconds_sum{{job="{JOB}"}}[{_RATE}])', "{{instance}}"),),
        "The share of time in which garbage collection held up all threads.",
    ),
    Panel(
        "Alerts",
        "Firing alerts",
        "none",
        (
            Query(
                "count by (alertname, severity, slo) "
                '(ALERTS{alertstate="firing",budget_level!="0"})',
                "{{alertname}} {{slo}} ({{severity}})",
            ),
        ),
        "What Prometheus has handed to Alertmanager.",
    ),
)
