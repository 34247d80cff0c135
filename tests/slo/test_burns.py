"""Alerts on ratios in every state of what they read, and one changed in anything is told by one.

What they read was recorded by other rules, whose values have tests of their own; here it is given,
one state in each sample. `test_ratio_alerts.py` has the same alerts in the lives of a service.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.model import Alert, alert
from tests.slo.mutants import Mutants, spelled
from tests.slo.promtool import LABELS, Phase, other_job, series

RULES = [each for group in rules()["groups"] for each in group["rules"]]
RECORDED = [each for each in RULES if "record" in each]
READ = sorted(
    (name, slo)
    for name, slo in map(spelled, RECORDED)
    if slo and name.startswith(("slo:bad_ratio:", "slo:bad:"))
)


class Read(NamedTuple):
    """A series that an alert reads: by how much it has to be over, or no less than, a limit."""

    name: str
    limit: float
    enough: float
    """The least that fires."""
    short: float
    """The most that does not."""


class Burn(NamedTuple):
    """An alert, the series of its own objective that it reads, and how many minutes it waits."""

    which: Alert
    slo: str
    read: tuple[Read, ...]
    wait: int

    @property
    def step(self) -> int:
        """Minutes between samples that tell its wait from one a sample longer or shorter."""
        return 1 if self.wait <= 15 else 5


def _share(window: str, limit: float) -> Read:
    return Read(f"slo:bad_ratio:rate{window}", limit, limit * 1.001, limit)


def _count(window: str) -> Read:
    return Read(f"slo:bad:increase{window}", 5, 5, 4.999)


def burns() -> Iterator[Burn]:
    """The table of ranges, factors and waits, written out again."""
    pages = (("page", 14.4, "1h", "5m", 2), ("page", 6, "6h", "30m", 15))
    tickets = (("ticket", 3, "1d", "2h", 60), ("ticket", 1, "3d", "6h", 180))
    for slo, budget, table in (
        ("availability", 0.001, pages + tickets),
        ("latency-p99", 0.01, pages + tickets),
        ("latency-p95", 0.05, tickets),
        ("latency-p50", 0.5, tickets[1:]),
    ):
        for severity, factor, long, short, wait in table:
            which = alert("HighErrorBudgetBurn", severity=severity, slo=slo, window=long)
            limit = round(factor * budget, 9)
            yield Burn(which, slo, (_share(long, limit), _share(short, limit), _count(long)), wait)
    which = alert("HighErrorRate", severity="ticket", slo="availability")
    yield Burn(which, "availability", (_share("5m", 0.001), _count("5m")), 5)


BURNS = list(burns())
CRITICAL = alert("CriticalLatencySLO", severity="page", slo="latency-p99")

State = tuple[dict[tuple[str, str], float], bool]
"""The values of what is recorded, and whether the alert is true."""


def states(burn: Burn) -> Iterator[State]:
    """Each of what it reads in turn: just not enough, with all else in the world bad, and just
    enough, with everything fine that is none of its business."""
    own = [(each.name, burn.slo) for each in burn.read]
    for each in burn.read:
        name = each.name, burn.slo
        yield dict.fromkeys(READ, 1e6) | {name: each.short}, False
        yield dict.fromkeys(READ, 0.0) | dict.fromkeys(own, 1e6) | {name: each.enough}, True
    yield dict.fromkeys(READ, 0.0), False


def given(values: list[dict[tuple[str, str], float]]) -> dict[str, str]:
    """The recorded series with one sample for each state."""
    return {
        f'{name}{{slo="{slo}"}}': " ".join(f"{each[name, slo]:.12g}" for each in values)
        for name, slo in READ
    }


def looked_at(burn: Burn, mutants: Mutants, place: Path) -> None:
    """The alert, and its mutants, in all states, and for as long as it has to wait."""
    values, true = zip(*states(burn), strict=True)
    told = {n * burn.step: {burn.which} if holds else set() for n, holds in enumerate(true)}
    mutants.live(place, given(list(values)), told, burn.step, pending=True)
    bad = given([dict.fromkeys(READ, 1e6)] * (burn.wait // burn.step + 1))
    mutants.live(place, bad, {burn.wait - burn.step: set(), burn.wait: {burn.which}}, burn.step)


def _mutants(which: Alert, *, made: bool) -> Mutants:
    (rule,) = (e for e in RULES if "alert" in e and alert(e["alert"], **e["labels"]) == which)
    return Mutants([rule], RECORDED, given=not made)


@pytest.mark.parametrize("burn", BURNS, ids=lambda each: " ".join(dict(each.which).values()))
def test_an_alert_is_true_in_just_these_states_and_a_changed_one_is_told(
    burn: Burn, tmp_path: Path
) -> None:
    mutants = _mutants(burn.which, made=False)
    looked_at(burn, mutants, tmp_path)
    assert mutants.survivors() == []


def test_every_alert_on_a_ratio_is_looked_at() -> None:
    on_ratios = {
        alert(each["alert"], **each["labels"])
        for each in RULES
        if "alert" in each and "slo" in each["labels"] and each["alert"] != "ErrorBudgetLevel"
    }
    assert {CRITICAL, *(each.which for each in BURNS)} == on_ratios


def _within(total: float, **within: float) -> Phase:
    """Half an hour with `total` requests a minute, of which so many were within each bound."""
    rates = {
        f'http_request_duration_seconds_bucket{{{LABELS},le="0.{bound[1:]}"}}': total * part
        for bound, part in within.items()
    }
    return Phase(30, total, rates=rates)


# Whether the P99 of the last half hour is over the bound, and by enough requests.
P99 = {
    "at the bound": (_within(1000, _02=0.5, _05=0.8, _1=0.99, _125=1), False),
    "just over it": (_within(1000, _02=0.5, _05=0.8, _1=0.988, _125=1), True),
    "just under it": (_within(1000, _02=0.5, _05=0.8, _1=0.995, _125=1), False),
    "four in five minutes": (_within(10, _02=0.1, _05=0.5, _1=0.92, _125=0.92), False),
    "five in five minutes": (_within(10, _02=0.1, _05=0.5, _1=0.9, _125=0.9), True),
    "all": (_within(1000, _02=0, _05=0, _1=0, _125=0), True),
}  # fmt: skip


def test_a_changed_alert_on_the_p99_is_told(tmp_path: Path) -> None:
    mutants = _mutants(CRITICAL, made=True)
    for phase, true in P99.values():
        told: dict[int, set[Alert]] = {10: set(), 40: {CRITICAL} if true else set()}
        if phase is P99["all"][0]:
            # True from the first slow minute on, until five minutes are over.
            told |= {15: set(), 16: {CRITICAL}, 44: {CRITICAL}, 45: set()}
        after = P99["just under it"][0]
        mutants.live(tmp_path, series([Phase(10), phase, after]) | other_job(70), told)
    assert mutants.survivors() == []
