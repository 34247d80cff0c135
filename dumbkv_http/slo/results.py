"""How a period went, objective by objective: the arithmetic of a report, without Prometheus.

Ratios are sums over the whole period divided once. A budget is told twice, because people mean
both: the share of the requests that may fail that did fail, and the share of the time that may be
bad that was bad, in slices of five minutes. The first is what an objective is judged by.

An objective is "unknown", and never "met", when less than 95 % of the period was looked at, when it
is not over, or when there were no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dumbkv_http.slo.incidents import slices
from dumbkv_http.slo.minutes import MINUTE, SLICE, Minutes
from dumbkv_http.slo.objectives import AVAILABILITY, Availability, Latency, Threshold
from dumbkv_http.slo.standing import State

__all__ = [
    "COVERAGE",
    "FiguresResult",
    "RatioResult",
    "figures_result",
    "overall",
    "ratio_result",
    "slope",
]

COVERAGE = 0.95
"""The share of a period that has to be known before anything is called met or missed."""


@dataclass(frozen=True)
class RatioResult:
    """An objective for a share of requests over a period.

    `used` and `used_time` are shares of the budget; more than 1 is more than there was.
    `before` is the share of good requests in the period before, None if nothing is known of it.
    """

    name: str
    title: str
    target: float
    bad: float
    total: float
    good: float | None
    used: float | None
    bad_slices: int
    known_slices: int
    used_time: float | None
    before: float | None
    state: State


@dataclass(frozen=True)
class FiguresResult:
    """An objective for a figure of the process over a period.

    `slope` is by how much it grew in a day, by the line closest to all its values.
    """

    name: str
    title: str
    unit: str
    limit: float
    mean: float | None
    worst: float | None
    last: float | None
    slope: float | None
    bad_minutes: int
    known_minutes: int
    before: float | None
    state: State


def ratio_result(
    objective: Availability | Latency,
    bad: float,
    total: float,
    minutes: Minutes,
    before: tuple[float, float] | None,
    trusted: bool,
) -> RatioResult:
    """Judges exact counts over the whole period; the minutes tell the budget used by time."""
    bad_slices, known_slices = _slices(objective, minutes)
    state: State = "unknown"
    if trusted and total > 0:
        # As the target says it, and so that what is exactly on it is met.
        state = "met" if bad <= objective.budget * total * (1 + 1e-12) else "missed"
    return RatioResult(
        name=objective.name,
        title=objective.title,
        target=objective.target,
        bad=bad,
        total=total,
        good=1 - bad / total if total else None,
        used=bad / (total * objective.budget) if total else None,
        bad_slices=bad_slices,
        known_slices=known_slices,
        used_time=bad_slices / (known_slices * objective.budget) if known_slices else None,
        before=1 - before[0] / before[1] if before and before[1] else None,
        state=state,
    )


def figures_result(
    objective: Threshold,
    values: Sequence[float | None],
    step: int,
    before: float | None,
    trusted: bool,
) -> FiguresResult:
    """Judges values at every `step` seconds: each of them has to hold."""
    known = [value for value in values if value is not None]
    bad = [
        value
        for value in known
        if (value >= objective.limit if objective.inclusive else value > objective.limit)
    ]
    state: State = "unknown"
    if trusted and known:
        state = "missed" if bad else "met"
    return FiguresResult(
        name=objective.name,
        title=objective.title,
        unit=objective.unit,
        limit=objective.limit,
        mean=sum(known) / len(known) if known else None,
        worst=max(known, default=None),
        last=known[-1] if known else None,
        slope=slope(values, step),
        bad_minutes=len(bad) * step // MINUTE,
        known_minutes=len(known) * step // MINUTE,
        before=before,
        state=state,
    )


def overall(states: Sequence[State]) -> State:
    """Missed if any is, else unknown if any is, else met.

    >>> overall(["met", "unknown"]), overall(["met", "missed", "unknown"]), overall(["met"])
    ('unknown', 'missed', 'met')
    """
    if "missed" in states:
        return "missed"
    return "unknown" if "unknown" in states or not states else "met"


def slope(values: Sequence[float | None], step: int) -> float | None:
    """The growth in a day of the line with the least squared distance to the values.

    >>> slope([1.0, None, 3.0, 4.0], 86400)
    1.0
    """
    points = [
        (index * step / 86400, value) for index, value in enumerate(values) if value is not None
    ]
    if len(points) < 2:
        return None
    middle = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((at - middle) ** 2 for at, _ in points)
    return sum((at - middle) * (value - mean) for at, value in points) / spread


def _slices(objective: Availability | Latency, minutes: Minutes) -> tuple[int, int]:
    """Slices over the budget's rate, or for availability with a minute down; and those known."""
    bad_ones = known = 0
    for index, (bad, total) in enumerate(slices(minutes.counts[objective.name])):
        inside = slice(index * SLICE, (index + 1) * SLICE)
        if not any(minutes.covered[inside]):
            continue
        known += 1
        down = objective is AVAILABILITY and any(minutes.down[inside])
        bad_ones += down or bad > objective.budget * total
    return bad_ones, known
