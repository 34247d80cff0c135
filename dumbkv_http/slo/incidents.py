"""Which minutes of a period were an incident: where it began, where it ended, what it cost.

Requests fail one by one even in good times, so a minute with a failure is not an incident yet.
First the slices of five minutes that are over their budget's rate are found. Within each run of
them an incident is the stretch of minutes that is most likely to have had the run's own rate of
bad requests and not the budget's: the one with the largest sum of log-likelihood ratios, which is
the usual estimate of where a rate changed. A stray failure four minutes earlier does not make it
longer, because the good requests between weigh more. The stretch has to have some bad requests,
and clearly more than the budget's rate brings by chance. Stretches at most 15 minutes apart are one
incident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dumbkv_http.slo.minutes import MINUTE, SLICE, Counts, Minutes
from dumbkv_http.slo.objectives import AVAILABILITY, GUARDS, RATIOS

__all__ = ["Incident", "Span", "downtime", "incidents", "slices", "stretches"]

_APART = 15
_CLEARLY = 3.0  # Standard deviations above what the budget's rate brings.

Span = tuple[int, int]
"""The first minute and the one after the last, counted from the period's begin."""


@dataclass(frozen=True)
class Incident:
    """`kind` is an objective's name, or "down" for a target that did not answer.

    `begin` and `end` are seconds since the epoch, `minutes` those between in which it was bad.
    `share` is of the period's budget: of its requests, or for "down" of availability's minutes.
    `planned` says that it lies within announced maintenance.
    """

    kind: str
    begin: int
    end: int
    minutes: int
    bad: float
    share: float
    worst: float
    planned: bool = False


def incidents(minutes: Minutes, maintenance: Sequence[tuple[int, int]] = ()) -> list[Incident]:
    """All incidents in the order they began."""
    found = []
    for objective in RATIOS:
        counts = minutes.counts[objective.name]
        allowed = sum(counts.total) * objective.budget
        for first, after in stretches(counts, objective.budget):
            bad = sum(counts.bad[first:after])
            hot = [
                bad / total
                for bad, total in zip(
                    counts.bad[first:after], counts.total[first:after], strict=True
                )
                if total and bad > objective.budget * total
            ]
            found.append(
                Incident(
                    objective.name,
                    minutes.begin + first * MINUTE,
                    minutes.begin + after * MINUTE,
                    len(hot),
                    bad,
                    bad / allowed,
                    max(hot),
                )
            )
    found += downtime(minutes, maintenance)
    return sorted(found, key=lambda each: (each.begin, each.kind))


def downtime(minutes: Minutes, maintenance: Sequence[tuple[int, int]] = ()) -> list[Incident]:
    """The times in which a target did not answer its scrapes."""
    bad = [index for index, down in enumerate(minutes.down) if down]
    spans = _joined([(index, index + 1) for index in bad])
    found = []
    for first, after in spans:
        begin, end = minutes.begin + first * MINUTE, minutes.begin + after * MINUTE
        count = sum(minutes.down[first:after])
        found.append(
            Incident(
                "down",
                begin,
                end,
                count,
                0.0,
                count / (len(minutes.down) * AVAILABILITY.budget),
                1.0,
                any(start <= begin and end <= stop for start, stop in maintenance),
            )
        )
    return found


def stretches(counts: Counts, budget: float) -> list[Span]:
    """The stretches of minutes with clearly more bad requests than the budget's rate brings.

    >>> bad = [0.0] * 60
    >>> bad[17:25] = [30.0] * 8
    >>> bad[13] = 1.0  # As happens.
    >>> stretches(Counts(bad, [600.0] * 60), 0.001)
    [(17, 25)]
    """
    hot = [
        index for index, (bad, total) in enumerate(slices(counts)) if total and bad > budget * total
    ]
    runs = _joined([(index * SLICE, (index + 1) * SLICE) for index in hot])
    found: list[Span] = []
    for first, after in runs:
        inside = [
            minute
            for index in hot
            if first <= index * SLICE < after
            for minute in range(index * SLICE, min((index + 1) * SLICE, len(counts.bad)))
        ]
        rate = sum(counts.bad[m] for m in inside) / sum(counts.total[m] for m in inside)
        wide = (max(0, first - SLICE), min(len(counts.bad), after + SLICE))
        for span in _likely(counts, budget, min(rate, 0.999), wide):
            found += _parted(counts, budget, span)
    return _joined(sorted(found))


def slices(counts: Counts) -> list[tuple[float, float]]:
    """Bad and all requests of each five minutes."""
    return [
        (sum(counts.bad[first : first + SLICE]), sum(counts.total[first : first + SLICE]))
        for first in range(0, len(counts.bad), SLICE)
    ]


def _likely(counts: Counts, budget: float, rate: float, span: Span) -> list[Span]:
    """The most likely stretch in a span, if it counts, and those on either side of it."""
    gain, cost = math.log(rate / budget), math.log((1 - rate) / (1 - budget))
    found: list[Span] = []
    left = [span]
    while left:
        first, after = left.pop()
        best = total = 0.0
        start = begin = end = first
        for minute in range(first, after):
            bad = counts.bad[minute]
            total += bad * gain + (counts.total[minute] - bad) * cost
            if total <= 0:
                total, start = 0.0, minute + 1
            elif total > best:
                best, begin, end = total, start, minute + 1
        if best and _counts(counts, budget, (begin, end)):
            found.append((begin, end))
            left += [(first, begin), (end, after)]
    return found


def _parted(counts: Counts, budget: float, span: Span) -> list[Span]:
    """A span without the parts of it in which all was well for more than 15 minutes."""
    first, after = span
    bad = [n for n in range(first, after) if counts.bad[n] > budget * counts.total[n]]
    return _joined([(minute, minute + 1) for minute in bad])


def _counts(counts: Counts, budget: float, span: Span) -> bool:
    bad, total = sum(counts.bad[slice(*span)]), sum(counts.total[slice(*span)])
    by_chance = budget * total
    return bad >= GUARDS.bad and bad - by_chance >= _CLEARLY * math.sqrt(by_chance)


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans in order, with those at most 15 minutes apart made one.

    >>> _joined([(0, 5), (20, 25), (41, 45)])
    [(0, 25), (41, 45)]
    """
    found: list[Span] = []
    for first, after in spans:
        if found and first - found[-1][1] <= _APART:
            found[-1] = (found[-1][0], max(after, found[-1][1]))
        else:
            found.append((first, after))
    return found
