"""The charts of a report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from dumbkv_http._svg import Curve, Tick, bars, chart, linear, logarithmic
from dumbkv_http.slo.objectives import AVAILABILITY, LATENCIES, MEMORY, RATIOS
from dumbkv_http.slo.periods import moment
from dumbkv_http.slo.report import Hour, Report
from dumbkv_http.slo.standing import percent, seconds, size

__all__ = ["Picture", "pictures"]

Picture = tuple[str, str, list[tuple[str, str]], str]
"""A name, a title, the key of its colours, the SVG element."""


def pictures(report: Report) -> list[Picture]:
    """All charts, by the name each is written under."""
    days = _days(report)
    return [
        _budgets(report),
        _spent(report, days),
        _share(report, days, "failures", "Failed requests of each hour", RATIOS[0].name, "d"),
        _share(report, days, "slow", "Slow requests of each hour", LATENCIES[0].name, "a"),
        _spread(report),
        _requests(report, days),
        _memory(report, days),
    ]


def _budgets(report: Report) -> Picture:
    rows = []
    for each in report.ratios:
        for used, way in ((each.used, "requests"), (each.used_time, "time")):
            shown = "not known" if used is None else percent(used, 1)
            kind = "d" if (used or 0.0) > 1 else "e" if way == "requests" else "c"
            rows.append((f"{each.title}, by {way}", used or 0.0, shown, kind))
    told = "; ".join(f"{label} {shown}" for label, _, shown, _ in rows)
    title = "Error budget used"
    return "budget", title, [], bars("budget", title, f"{told}. The line is all of it.", rows)


def _spent(report: Report, days: list[Tick]) -> Picture:
    """What had been used of the budgets by each hour."""
    curves = []
    for name, kind in ((RATIOS[0].name, "a"), (LATENCIES[0].name, "b")):
        result = next(each for each in report.ratios if each.name == name)
        allowed = sum(hour.total.get(name, 0.0) for hour in report.hours) * (1 - result.target)
        spent = accumulate(hour.bad.get(name, 0.0) for hour in report.hours)
        curves.append(Curve(kind, [each / allowed * 100 if allowed else None for each in spent]))
    top = max(100.0, *(value for curve in curves for value in curve.values if value is not None))
    scale = linear(top, lambda value: f"{value:g} %")
    title = "Budget used so far"
    drawn = chart(
        "spent",
        title,
        f"In percent of the {report.period.kind}'s budget, from its begin to its end; "
        "a step is an incident.",
        curves,
        scale,
        days,
        [Tick(scale.place(100.0), "all of it")],
    )
    return "spent", title, [("a", AVAILABILITY.title), ("b", LATENCIES[0].title)], drawn


def _share(report: Report, days: list[Tick], name: str, title: str, of: str, kind: str) -> Picture:
    shares = [
        hour.bad[of] / hour.total[of] * 100 if hour.total.get(of) else None for hour in report.hours
    ]
    result = next(each for each in report.ratios if each.name == of)
    budget = (1 - result.target) * 100
    scale = logarithmic(0.001, 100.0, lambda value: f"{value:g} %")
    known = [share for share in shares if share is not None]
    drawn = chart(
        name,
        title,
        f"In percent, on a logarithmic scale; {sum(share > budget for share in known)} of "
        f"{len(known)} hours were over the {budget:.3g} % of the objective, the worst had "
        f"{max(known, default=0.0):.3g} %.",
        [Curve(kind, shares, filled=True)],
        scale,
        days,
        [Tick(scale.place(budget), f"objective {budget:.3g} %")],
    )
    return name, title, [], drawn


def _spread(report: Report) -> Picture:
    curves = []
    for found, kind in ((report.spread, "a"), (report.spread_before, "b")):
        total = sum(found.counts)
        reached = [each / total for each in accumulate(found.counts)] if total else []
        curves.append(Curve(kind, [(1 - each) * 100 for each in reached[:-1]]))
    bounds = report.spread.bounds
    every = max(1, len(bounds) // 6)
    places = [
        Tick(index / max(1, len(bounds) - 1), seconds(bound))
        for index, bound in enumerate(bounds)
        if index % every == 0
    ]
    title = "Requests slower than a time"
    drawn = chart(
        "spread",
        title,
        "The share of requests that took longer than each bound of the histogram, on a logarithmic "
        f"scale, in this {report.period.kind} and in the one before; the lower the faster.",
        curves,
        logarithmic(0.001, 100.0, lambda value: f"{value:g} %"),
        places,
    )
    return "spread", title, [("a", report.period.name), ("b", report.before.name)], drawn


def _requests(report: Report, days: list[Tick]) -> Picture:
    rates = [_rate(hour) for hour in report.hours]
    top = max((rate for rate in rates if rate is not None), default=0.0)
    title = "Requests a second"
    drawn = chart(
        "requests",
        title,
        f"The mean of each hour, at most {top:.3g}.",
        [Curve("e", rates, filled=True)],
        linear(top, lambda value: f"{value:g}"),
        days,
    )
    return "requests", title, [], drawn


def _memory(report: Report, days: list[Tick]) -> Picture:
    values = [None if hour.resident is None else hour.resident / 1024**2 for hour in report.hours]
    known = [value for value in values if value is not None]
    limit = MEMORY.limit / 1024**2
    scale = linear(max(limit, *known, 0.0), lambda value: f"{value:g} MiB")
    title = "Resident memory"
    drawn = chart(
        "memory",
        title,
        f"The highest of each hour, at most {size(max(known, default=0.0) * 1024**2)}; "
        f"the objective is below {size(MEMORY.limit)}.",
        [Curve("e", values, filled=True)],
        scale,
        days,
        [Tick(scale.place(limit), f"objective {size(MEMORY.limit)}")],
    )
    return "memory", title, [], drawn


def _rate(hour: Hour) -> float | None:
    return hour.total[RATIOS[0].name] / 3600 if hour.total else None


def _days(report: Report) -> list[Tick]:
    """Each day of a week, or each seventh of a month, at its midnight."""
    begin, length = report.period.begin, report.period.seconds
    step = 1 if report.period.kind == "week" else 7
    days: Sequence[int] = range(0, length // 86400, step)
    return [Tick(day * 86400 / length, moment(begin + day * 86400)[5:10]) for day in days]
