"""How the durations of requests were spread over a period, and how that changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from dumbkv_http.slo.reading import quantile

__all__ = ["PARTS", "Spread", "change", "spread"]

PARTS = (0.5, 0.9, 0.95, 0.99, 0.999)
"""The quantiles that are told."""


@dataclass(frozen=True)
class Spread:
    """Requests in each bucket, the last one above all bounds, and the quantiles `PARTS`."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    quantiles: tuple[float | None, ...]

    def within(self) -> dict[str, float]:
        """The share of requests within each bound, by the bound as text; empty without any."""
        total = sum(self.counts)
        if not total:
            return {}
        reached = accumulate(self.counts)
        return {str(bound): each / total for bound, each in zip(self.bounds, reached, strict=False)}


def spread(cumulated: Mapping[str, float]) -> Spread:
    """From a histogram's values by their label `le`, as text.

    >>> found = spread({"0.1": 3.0, "1.0": 4.0, "+Inf": 4.0})
    >>> found.bounds, found.counts
    ((0.1, 1.0), (3.0, 1.0, 0.0))
    """
    reached = sorted((float(bound), value) for bound, value in cumulated.items())
    before = [0.0, *(value for _, value in reached)]
    counts = tuple(max(0.0, reached[n][1] - before[n]) for n in range(len(reached)))
    bounds = tuple(bound for bound, _ in reached if not math.isinf(bound))
    return Spread(bounds, counts, tuple(quantile(part, bounds, counts) for part in PARTS))


def change(before: Spread, now: Spread) -> tuple[float, float] | None:
    """The bound at which the share of requests within it changed most, and by how much.

    More than 0 is faster. None if nothing is known of either, or the bounds are not the same.

    >>> slower = spread({"0.1": 5.0, "1.0": 10.0, "+Inf": 10.0})
    >>> change(spread({"0.1": 8.0, "1.0": 10.0, "+Inf": 10.0}), slower)
    (0.1, -0.3)
    """
    then, later = sum(before.counts), sum(now.counts)
    if before.bounds != now.bounds or not then or not later:
        return None
    changes = [
        (bound, round(b / later - a / then, 9))
        for bound, a, b in zip(
            now.bounds, accumulate(before.counts), accumulate(now.counts), strict=False
        )
    ]
    return max(changes, key=lambda each: abs(each[1]))
