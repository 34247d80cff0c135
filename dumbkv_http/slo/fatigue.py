"""Which alerts fired in a period, how often, and whether there was anything to be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dumbkv_http.slo.incidents import Incident
from dumbkv_http.slo.minutes import MINUTE
from dumbkv_http.slo.periods import Period
from dumbkv_http.slo.prometheus import Prometheus

__all__ = ["AlertCount", "fatigue", "intervals", "notifications"]

# An alert comes some time after its incident began, and may outlast it by its longest range.
_LATE = 6 * 3600


@dataclass(frozen=True)
class AlertCount:
    """How often an alert fired, for how many minutes in all, and the longest time.

    `idle` are the times at which no incident was under way or just over: noise, if it is a page.
    """

    name: str
    severity: str
    times: int
    minutes: int
    longest: int
    idle: int


def fatigue(prometheus: Prometheus, period: Period, found: Sequence[Incident]) -> list[AlertCount]:
    """All alerts that fired, those that fired most often first.

    The escalation matrix's first row fires all the time by intent, and is left out.
    """
    series = prometheus.series(
        'ALERTS{alertstate="firing",budget_level!="0"}', period.begin, period.end, MINUTE
    )
    spans: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for labels, values in series.items():
        named: Mapping[str, str] = dict(labels)
        key = named.get("alertname", ""), named.get("severity", "none")
        spans[key] += [
            (period.begin + first * MINUTE, period.begin + after * MINUTE)
            for first, after in intervals(values)
        ]
    rows = []
    for (name, severity), times in spans.items():
        idle = sum(
            not any(each.begin < end and begin < each.end + _LATE for each in found)
            for begin, end in times
        )
        lengths = [(end - begin) // MINUTE for begin, end in times]
        rows.append(AlertCount(name, severity, len(times), sum(lengths), max(lengths), idle))
    return sorted(rows, key=lambda each: (-each.times, each.name, each.severity))


def notifications(prometheus: Prometheus, period: Period) -> int | None:
    """How often Alertmanager told someone, or None where Prometheus does not scrape it."""
    sent = f"sum(increase(alertmanager_notifications_total[{period.seconds}s]))"
    found = prometheus.value(sent, period.end)
    return None if found is None else round(found)


def intervals(values: Sequence[float | None]) -> list[tuple[int, int]]:
    """The runs of values that are there: the first, and the one after the last.

    >>> intervals([None, 1.0, 1.0, None, 1.0])
    [(1, 3), (4, 5)]
    """
    found: list[tuple[int, int]] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found
