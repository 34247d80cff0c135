"""A report on a month or a week, as data; documents of it are made in other modules."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dumbkv_http.slo import history
from dumbkv_http.slo.advice import Criterion, criteria, recommendations
from dumbkv_http.slo.fatigue import AlertCount, fatigue, notifications
from dumbkv_http.slo.incidents import Incident, incidents
from dumbkv_http.slo.latency import Spread, change, spread
from dumbkv_http.slo.minutes import MINUTE, Minutes, coverage, look
from dumbkv_http.slo.objectives import (
    DESCRIPTORS,
    JOB,
    MEMORY,
    RATIOS,
    THRESHOLDS,
    Availability,
    Latency,
    Threshold,
)
from dumbkv_http.slo.periods import Period, moment, month
from dumbkv_http.slo.prometheus import Prometheus
from dumbkv_http.slo.results import (
    COVERAGE,
    FiguresResult,
    RatioResult,
    figures_result,
    overall,
    ratio_result,
)
from dumbkv_http.slo.standing import State

__all__ = ["Hour", "Report", "make"]

_FIVE_MINUTES = 300


@dataclass(frozen=True)
class Hour:
    """One place on the charts: by objective an hour's requests and the bad ones, and the highest
    memory. Where nothing is known the dictionaries are empty and the memory is None.
    """

    total: dict[str, float]
    bad: dict[str, float]
    resident: float | None


@dataclass(frozen=True)
class Report:
    """All that is told of a period; see the classes of its parts."""

    period: Period
    before: Period
    job: str
    made: int
    finished: bool
    coverage: float
    coverage_before: float
    state: State
    ratios: list[RatioResult]
    figures: list[FiguresResult]
    incidents: list[Incident]
    unplanned_minutes: int
    spread: Spread
    spread_before: Spread
    shift: tuple[float, float] | None
    alerts: list[AlertCount]
    alerts_before: int | None
    notifications: int | None
    notifications_before: int | None
    criteria: list[Criterion]
    recommendations: list[str]
    hours: list[Hour]


def make(
    prometheus: Prometheus,
    period: Period,
    *,
    job: str = JOB,
    path: Path | None = None,
    maintenance: Sequence[tuple[int, int]] = (),
    now: float | None = None,
) -> Report:
    """Asks Prometheus about a period and the one before.

    `path` is the history, to which a month that is over is added. Takes some seconds for a month.
    """
    made = int(time.time() if now is None else now)
    finished = made >= period.end
    minutes = look(prometheus, period, job)
    coverage_before = coverage(prometheus, period.previous, job)
    trusted = finished and minutes.coverage >= COVERAGE
    sums = {each.name: _sums(prometheus, each, period, job) for each in RATIOS}
    sums_before = {each.name: _sums(prometheus, each, period.previous, job) for each in RATIOS}
    ratios = [
        ratio_result(each, *sums[each.name], minutes, sums_before[each.name], trusted)
        for each in RATIOS
    ]
    figures = []
    memory: list[float | None] = []
    for each in THRESHOLDS:
        step, found = _values(prometheus, each, period, job)
        worst = _worst(prometheus, each, period.previous, job)
        figures.append(figures_result(each, found, step, worst, trusted))
        if each is MEMORY:
            memory = found
    bad_times = incidents(minutes, maintenance)
    unplanned = sum(each.minutes for each in bad_times if each.kind == "down" and not each.planned)
    durations = _spread(prometheus, period, job)
    durations_before = _spread(prometheus, period.previous, job)
    alerts = fatigue(prometheus, period, bad_times)
    alerts_before = None
    if coverage_before >= COVERAGE:
        alerts_before = sum(each.times for each in fatigue(prometheus, period.previous, ()))
    times = sum(each.times for each in alerts)
    states: dict[str, State] = {each.name: each.state for each in ratios}
    states |= {each.name: each.state for each in figures}
    lines = history.read(path) if path is not None else []
    if period.kind == "month" and finished:
        line = history.Line(
            period=period.name,
            coverage=minutes.coverage,
            states=states,
            bad={each.name: each.bad for each in ratios},
            total={each.name: each.total for each in ratios},
            within=durations.within(),
            unplanned_minutes=unplanned,
            alerts=times,
        )
        lines = [line] if path is None else history.record(path, line)
    months = history.in_a_row(lines, _last_month(period, finished))
    return Report(
        period=period,
        before=period.previous,
        job=job,
        made=made,
        finished=finished,
        coverage=minutes.coverage,
        coverage_before=coverage_before,
        state=overall(list(states.values())),
        ratios=ratios,
        figures=figures,
        incidents=bad_times,
        unplanned_minutes=unplanned,
        spread=durations,
        spread_before=durations_before,
        shift=change(durations_before, durations),
        alerts=alerts,
        alerts_before=alerts_before,
        notifications=notifications(prometheus, period),
        notifications_before=notifications(prometheus, period.previous),
        criteria=criteria(months, unplanned, trusted, times, alerts_before),
        recommendations=recommendations(months),
        hours=_hours(minutes, memory),
    )


def _sums(
    prometheus: Prometheus, objective: Availability | Latency, period: Period, job: str
) -> tuple[float, float]:
    """Bad requests and all, over the exact period, each series' resets taken into account."""
    window = f"{period.seconds}s"
    bad = prometheus.value(objective.bad_rate(window, job, "increase"), period.end)
    total = prometheus.value(objective.total_rate(window, job, "increase"), period.end)
    return bad or 0.0, total or 0.0


def _values(
    prometheus: Prometheus, objective: Threshold, period: Period, job: str
) -> tuple[int, list[float | None]]:
    """A figure, the highest of all targets, at every step; what is a rate needs no finer one."""
    step = MINUTE if objective in (MEMORY, DESCRIPTORS) else _FIVE_MINUTES
    found = prometheus.series(f"max({objective.expression(job)})", period.begin, period.end, step)
    return step, next(iter(found.values()), [])


def _worst(prometheus: Prometheus, objective: Threshold, period: Period, job: str) -> float | None:
    highest = f"max({objective.expression(job)})"
    window = f"{period.seconds}s:{_FIVE_MINUTES}s"
    return prometheus.value(f"max_over_time({highest}[{window}])", period.end)


def _spread(prometheus: Prometheus, period: Period, job: str) -> Spread:
    buckets = f'http_request_duration_seconds_bucket{{job="{job}"}}[{period.seconds}s]'
    found = prometheus.values(f"sum by (le) (increase({buckets}))", period.end)
    return spread({dict(labels)["le"]: value for labels, value in found.items()})


def _last_month(period: Period, finished: bool) -> str:
    """The last month that is over when the period is."""
    if period.kind == "month":
        return period.name if finished else period.previous.name
    return month(moment(period.begin)[:7]).previous.name


def _hours(minutes: Minutes, resident: Sequence[float | None]) -> list[Hour]:
    found = []
    for first in range(0, len(minutes.covered), 60):
        inside = slice(first, first + 60)
        known = minutes.counts if any(minutes.covered[inside]) else {}
        found.append(
            Hour(
                {name: sum(each.total[inside]) for name, each in known.items()},
                {name: sum(each.bad[inside]) for name, each in known.items()},
                max((value for value in resident[inside] if value is not None), default=None),
            )
        )
    return found
