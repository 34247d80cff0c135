"""The error budgets in a terminal: how much is used, and what that calls for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dumbkv_http.slo.document import level
from dumbkv_http.slo.objectives import GUARDS, JOB, PERIOD, RATIOS
from dumbkv_http.slo.prometheus import Prometheus
from dumbkv_http.slo.standing import State, percent

__all__ = ["Budget", "budgets", "draw", "state_of"]

_WIDTH = 40
_COLOURS = {"met": "\x1b[32m", "missed": "\x1b[31m", "unknown": "\x1b[2m"}
_PLAIN = "\x1b[0m"


@dataclass(frozen=True)
class Budget:
    """A budget over the last 30 days: bad requests, all requests, and the share used.

    `trusted` says that there are enough requests and days to act upon it, as for the escalation.
    """

    title: str
    bad: float
    total: float
    used: float | None
    trusted: bool


def budgets(prometheus: Prometheus, now: float, job: str = JOB) -> list[Budget]:
    """One for each ratio objective, as the alerts see them."""
    window = f"{PERIOD}s"
    days = prometheus.value(f'count_over_time(max(up{{job="{job}"}})[{PERIOD}s:1h])', now) or 0.0
    covered = days * 3600 >= GUARDS.coverage
    found = []
    for objective in RATIOS:
        bad = prometheus.value(objective.bad_rate(window, job, "increase"), now) or 0.0
        total = prometheus.value(objective.total_rate(window, job, "increase"), now) or 0.0
        used = bad / (total * objective.budget) if total else None
        trusted = covered and total >= GUARDS.requests
        found.append(Budget(objective.title, bad, total, used, trusted))
    return found


def state_of(budget: Budget) -> State:
    """Missed when it is overspent, unknown when there is too little to tell."""
    if budget.used is None or not budget.trusted:
        return "unknown"
    return "met" if budget.used <= 1 else "missed"


def draw(found: Sequence[Budget], colour: bool) -> str:
    """A bar for each, a line of words below it.

    >>> print(draw([Budget("Availability", 30, 100_000, 0.3, True)], colour=False))
    Availability  [############............................]  30.00 % used
                  30 of 100 bad requests; Review recent changes
    """
    width = max(len(each.title) for each in found)
    lines = []
    for each in found:
        state = state_of(each)
        used = each.used or 0.0
        filled = min(_WIDTH, round(used * _WIDTH))
        bar = "#" * filled + "." * (_WIDTH - filled)
        if colour:
            bar = f"{_COLOURS[state]}{bar}{_PLAIN}"
        told = "nothing is known" if each.used is None else f"{percent(used)} used"
        lines.append(f"{each.title:{width}}  [{bar}]  {told}")
        if each.used is not None:
            allowed = each.bad / each.used if each.used else None
            of = "" if allowed is None else f" of {allowed:,.0f}"
            advice = level(used) if each.trusted else "too few days or requests to act upon"
            lines.append(f"{'':{width}}  {each.bad:,.0f}{of} bad requests; {advice}")
    return "\n".join(lines)
