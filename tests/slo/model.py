"""When alerts on ratios fire, by counting: the arithmetic without PromQL.

It knows nothing of the rules: the table of ranges, factors and waits is written out here again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from tests.slo.promtool import Phase

__all__ = ["LEVEL_0", "Alert", "alert", "firing", "moments"]

Alert = tuple[tuple[str, str], ...]
"""An alert's labels, sorted."""

_PAGES = (("page", 14.4, 60, 5, 2), ("page", 6.0, 360, 30, 15))
_TICKETS = (("ticket", 3.0, 1440, 120, 60), ("ticket", 1.0, 4320, 360, 180))
"""Severity, factor, long range, short range, wait; in minutes."""
_NAMES = {60: "1h", 360: "6h", 1440: "1d", 4320: "3d"}


def alert(alertname: str, **labels: str) -> Alert:
    """An alert by its name and labels."""
    return tuple(sorted({"alertname": alertname, **labels}.items()))


LEVEL_0 = {
    alert("ErrorBudgetLevel", severity="policy", slo=slo, budget_level="0")
    for slo in ("availability", "latency-p99")
}
"""What always fires while there is something to see: it shows that alerts arrive."""


class _Ratio:
    """What an objective had counted by the end of each step."""

    def __init__(self, name: str, budget: float, step: int, bad: list[float], total: list[float]):
        self.name = name
        self.budget = budget
        self.step = step
        self._bad = [0.0, *accumulate(each * step for each in bad)]
        self._total = [0.0, *accumulate(each * step for each in total)]
        self.steps = range(len(self._bad))

    def _over(self, counts: list[float], now: int, minutes: int) -> float:
        return counts[now] - counts[max(0, now - minutes // self.step)]

    def more(self, now: int, minutes: int, limit: float) -> bool:
        """Whether more than `limit` of the requests of a range were bad."""
        total = self._over(self._total, now, minutes)
        return total > 0 and self._over(self._bad, now, minutes) / total > limit

    def enough(self, now: int, minutes: int) -> bool:
        """Whether so many of a range were bad that it means something."""
        return self._over(self._bad, now, minutes) >= 5

    def consumed(self, now: int) -> float:
        """The share of the budget that is used, or -1 where that means nothing yet."""
        total = self._over(self._total, now, 30 * 1440)
        # The rule takes each of its own samples for five minutes, however far apart they are.
        if total < 10_000 or (now + 1) * 5 < 7 * 1440:
            return -1.0
        return self._over(self._bad, now, 30 * 1440) / (total * self.budget)


def firing(phases: Iterable[Phase], step: int = 1) -> list[set[Alert]]:
    """The exact set of alerts on ratios that fire at each step, by the step's number."""
    steps = [phase for phase in phases for _ in range(phase.minutes // step)]
    good = [each.total - each.bad for each in steps]
    bad, slow = [each.bad for each in steps], [each.slow for each in steps]
    ratios = (
        (_Ratio("availability", 0.001, step, bad, [s.total for s in steps]), _PAGES + _TICKETS),
        (_Ratio("latency-p99", 0.01, step, slow, good), _PAGES + _TICKETS),
        (_Ratio("latency-p95", 0.05, step, slow, good), _TICKETS),
        (_Ratio("latency-p50", 0.5, step, slow, good), _TICKETS[1:]),
    )
    fired: list[set[Alert]] = [set() for _ in range(len(steps) + 1)]

    def during(true: Iterable[bool], wait: int, which: Alert) -> None:
        since: int | None = None
        for now, holds in enumerate(true):
            since = (now if since is None else since) if holds else None
            if since is not None and (now - since) * step >= wait:
                fired[now].add(which)

    for ratio, burns in ratios:
        for severity, factor, long, short, wait in burns:
            limit = factor * ratio.budget
            holds = (
                ratio.more(now, long, limit)
                and ratio.more(now, short, limit)
                and ratio.enough(now, long)
                for now in ratio.steps
            )
            window = _NAMES[long]
            name = "HighErrorBudgetBurn"
            during(holds, wait, alert(name, severity=severity, slo=ratio.name, window=window))
    for ratio, name, severity in (
        (ratios[0][0], "HighErrorRate", "ticket"),
        (ratios[1][0], "CriticalLatencySLO", "page"),
    ):
        holds = (ratio.more(now, 5, ratio.budget) and ratio.enough(now, 5) for now in ratio.steps)
        during(holds, 5, alert(name, severity=severity, slo=ratio.name))
        for level in range(4):
            which = alert(
                "ErrorBudgetLevel", severity="policy", slo=ratio.name, budget_level=str(level)
            )
            during((_reached(ratio, now, level) for now in ratio.steps), 5, which)
    return fired


def _reached(ratio: _Ratio, now: int, level: int) -> bool:
    if level == 0:
        return ratio.more(now, 30 * 1440, -1)
    used = ratio.consumed(now)
    return used > 0.75 if level == 3 else used >= level * 0.25


def moments(fired: list[set[Alert]], step: int = 1) -> Iterator[tuple[int, set[Alert]]]:
    """The minutes right before and at each change, and the last, with what fires then."""
    last = len(fired) - 1
    for now in range(1, last + 1):
        if now == last or fired[now] != fired[now - 1] or fired[now + 1] != fired[now]:
            yield now * step, fired[now]
