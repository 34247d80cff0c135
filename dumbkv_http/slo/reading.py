"""What one look at the service's counters says, and the difference of two such looks.

The server takes readings of itself for its status page; `slo check` takes one from `/metrics` of
a server it does not run in. Both are judged by the same code, in `standing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

__all__ = ["LEFT_OUT", "Reading", "Window", "quantile", "share_within", "tally", "window"]

LEFT_OUT = frozenset(("metrics", "health"))
"""Handlers whose answers are no service to anyone: scrapes, probes and looks at the status."""


class Reading(NamedTuple):
    """Counters and gauges at one moment.

    `at` is in seconds on any clock that only the same clock is compared with. `requests` and
    `failures` are as `tally` gives them. `durations` counts per bucket, not cumulated, one more
    than there are `bounds`. What the system does not tell is None.
    """

    at: float
    requests: int
    failures: int
    bounds: tuple[float, ...]
    durations: tuple[int, ...]
    resident: float | None
    open_fds: float | None
    max_fds: float
    collections: int
    uncollectable: int

    @property
    def descriptors(self) -> float | None:
        """The share of the descriptors that are open."""
        return None if self.open_fds is None else self.open_fds / self.max_fds


class Window(NamedTuple):
    """What happened between two readings; `resident` and `descriptors` are the highest seen."""

    seconds: float
    requests: int
    failures: int
    bounds: tuple[float, ...]
    durations: tuple[int, ...]
    resident: float | None
    descriptors: float | None
    collections: int
    uncollectable: int


def window(readings: Iterable[Reading]) -> Window:
    """The time from the first of one or more readings to the last.

    >>> zero = Reading(0.0, 0, 0, (0.1,), (0, 0), 50.0, 8.0, 64.0, 0, 0)
    >>> later = zero._replace(at=10.0, requests=7, durations=(6, 1), resident=40.0)
    >>> found = window([zero, later])
    >>> found.seconds, found.requests, found.durations, found.resident
    (10.0, 7, (6, 1), 50.0)
    """
    all_of_them = list(readings)
    first, last = all_of_them[0], all_of_them[-1]
    return Window(
        seconds=last.at - first.at,
        requests=last.requests - first.requests,
        failures=last.failures - first.failures,
        bounds=last.bounds,
        durations=tuple(b - a for a, b in zip(first.durations, last.durations, strict=True)),
        resident=highest(each.resident for each in all_of_them),
        descriptors=highest(each.descriptors for each in all_of_them),
        collections=last.collections - first.collections,
        uncollectable=last.uncollectable - first.uncollectable,
    )


def highest(values: Iterable[float | None]) -> float | None:
    """The largest of those that are known, or None.

    >>> highest([1.0, None, 3.0]), highest([None])
    (3.0, None)
    """
    return max((value for value in values if value is not None), default=None)


def tally(answers: Mapping[tuple[str, str, int], int]) -> tuple[int, int]:
    """Requests that count for availability, and how many of them failed.

    `answers` are counts by method, handler and status. Client errors are no fault of the service,
    so they are neither.

    >>> tally({("GET", "kv", 200): 8, ("GET", "kv", 404): 5, ("PUT", "kv", 503): 2,
    ...        ("GET", "metrics", 200): 9})
    (10, 2)
    """
    requests = failures = 0
    for (_, handler, status), count in answers.items():
        if count and handler not in LEFT_OUT and not 400 <= status < 500:
            requests += count
            if status >= 500:
                failures += count
    return requests, failures


def share_within(bound: float, window: Window) -> float | None:
    """The share of requests that took at most `bound`, one of the window's bounds, or None.

    >>> zero = Reading(0.0, 0, 0, (0.1,), (0, 0), None, None, 64.0, 0, 0)
    >>> share_within(0.1, window([zero, zero._replace(durations=(3, 1))]))
    0.75
    """
    total = sum(window.durations)
    if not total:
        return None
    return sum(window.durations[: window.bounds.index(bound) + 1]) / total


def quantile(part: float, bounds: tuple[float, ...], durations: tuple[float, ...]) -> float | None:
    """The duration that `part` of the requests did not exceed, as histogram_quantile() tells it.

    Within a bucket requests are taken to be spread evenly; above the last bound the answer is
    that bound. None without requests.

    >>> quantile(0.5, (1.0, 3.0), (2, 4, 0))
    1.5
    >>> quantile(0.99, (1.0, 3.0), (0, 0, 5))
    3.0
    """
    total = sum(durations)
    if not total:
        return None
    rank = part * total
    for index, reached in enumerate(accumulate(durations)):
        if reached >= rank and durations[index]:
            if index == len(bounds):
                return bounds[-1]
            low = bounds[index - 1] if index else 0.0
            before = reached - durations[index]
            return low + (bounds[index] - low) * max(0.0, rank - before) / durations[index]
    return bounds[-1]
