"""A period minute by minute: what each one had of requests, failures and scrapes.

Counters are read at every full minute and the differences taken here. That finds the very minute
of a change, which a rate over five minutes smears, and it adds up: a counter that fell began anew
at 0, and what was counted while nobody looked is spread over the time since the last look.

A minute is covered when the target was scraped, whether it answered or not: a server that is down
is known to be down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dumbkv_http.slo.objectives import RATIOS, Availability
from dumbkv_http.slo.periods import Period
from dumbkv_http.slo.prometheus import Prometheus

__all__ = ["MINUTE", "SLICE", "Counts", "Minutes", "coverage", "increments", "look"]

MINUTE = 60
SLICE = 5
"""Minutes in a time slice."""
_Seen = dict[tuple[tuple[str, str], ...], list[bool]]
# How long a scrape stands for, at an interval of a minute and some delay: less than two minutes.
_FRESH = "119s"


@dataclass(frozen=True)
class Counts:
    """Requests of each minute that count for an objective, and those of them that were bad."""

    bad: list[float]
    total: list[float]


@dataclass(frozen=True)
class Minutes:
    """All minutes from `begin` on; minute `n` ends `n + 1` minutes after it."""

    begin: int
    covered: list[bool]
    down: list[bool]
    counts: dict[str, Counts]

    @property
    def coverage(self) -> float:
        """The share of the minutes that are covered."""
        return sum(self.covered) / len(self.covered) if self.covered else 0.0


def look(prometheus: Prometheus, period: Period, job: str) -> Minutes:
    """Reads a period; takes a handful of range queries for each week of it."""
    count = period.seconds // MINUTE
    seen = _scrapes(prometheus, period, job)
    ups = prometheus.series(
        f'min by (instance) (up{{job="{job}"}})', period.begin, period.end, MINUTE
    )
    down = [False] * count
    for instance, fresh in seen.items():
        up = ups.get(instance, [None] * (count + 1))
        for minute in range(count):
            if fresh[minute + 1] and up[minute + 1] == 0:
                down[minute] = True
    found: dict[str, list[float]] = {}

    def grown(selector: str) -> list[float]:
        if selector not in found:
            found[selector] = _per_minute(prometheus, selector, period, seen)
        return found[selector]

    counts = {}
    for objective in RATIOS:
        total = grown(objective.total(job))
        if isinstance(objective, Availability):
            bad = grown(objective.bad(job))
        else:
            good = grown(objective.good(job))
            bad = [max(0.0, a - b) for a, b in zip(total, good, strict=True)]
        counts[objective.name] = Counts(bad, total)
    return Minutes(period.begin, _covered(seen, count), down, counts)


def coverage(prometheus: Prometheus, period: Period, job: str) -> float:
    """The share of a period's minutes that are covered."""
    count = period.seconds // MINUTE
    return sum(_covered(_scrapes(prometheus, period, job), count)) / count


def _scrapes(prometheus: Prometheus, period: Period, job: str) -> _Seen:
    """For each target, whether there was a scrape just before each full minute."""
    # Not by timestamp(), which takes a hundred times as long over a range.
    found = prometheus.series(
        f'sum by (instance) (count_over_time(up{{job="{job}"}}[{_FRESH}]))',
        period.begin,
        period.end,
        MINUTE,
    )
    return {
        instance: [value is not None for value in scrapes] for instance, scrapes in found.items()
    }


def _covered(seen: _Seen, count: int) -> list[bool]:
    return [any(fresh[minute + 1] for fresh in seen.values()) for minute in range(count)]


def _per_minute(
    prometheus: Prometheus,
    selector: str,
    period: Period,
    seen: _Seen,
) -> list[float]:
    sums = [0.0] * (period.seconds // MINUTE)
    found = prometheus.series(f"sum by (instance) ({selector})", period.begin, period.end, MINUTE)
    for instance, values in found.items():
        # A value is repeated for five minutes after the last scrape; those are no looks.
        fresh = seen.get(instance, [False] * len(values))
        looks = [value if known else None for value, known in zip(values, fresh, strict=True)]
        for minute, increment in enumerate(increments(looks)):
            sums[minute] += increment
    return sums


def increments(values: Sequence[float | None]) -> list[float]:
    """How much a counter grew up to each value after the first; what it holds when it is first
    seen was counted before.

    >>> increments([5.0, 7.0, 3.0])  # It began anew, and counted to 3.
    [2.0, 3.0]
    >>> increments([5.0, None, None, 11.0])  # Nobody looked for three minutes.
    [2.0, 2.0, 2.0]
    """
    grown = [0.0] * max(0, len(values) - 1)
    last: float | None = None
    last_index = 0
    for index, value in enumerate(values):
        if value is None:
            continue
        if last is not None:
            if value >= last:
                share = (value - last) / (index - last_index)
                for between in range(last_index, index):
                    grown[between] = share
            else:
                grown[index - 1] = value
        last, last_index = value, index
    return grown
