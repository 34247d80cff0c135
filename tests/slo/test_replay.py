"""The production rules over 145 days with known incidents: each is found in time, and nothing else.

CI looks at every minute around the incidents, and elsewhere as often as it takes to miss nothing;
`make slo-replay` looks at every minute of the 145 days.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo import model
from tests.slo.backfill import Incident
from tests.slo.conftest import (
    DAYS,
    DOWN,
    DRIP,
    FAILING,
    HALF_FAILING,
    HALF_SLOW,
    INCIDENTS,
    OUTAGE,
    SLOW,
    START,
    UNSEEN,
    Months,
)
from tests.slo.model import Alert, alert
from tests.slo.promtool import Phase
from tests.slo.replay import Firing, Replayed, firing, replayed

ALERTS = replayed(rules()["groups"])
LEVELS = [each for each in ALERTS if dict(each.which)["alertname"] == "ErrorBudgetLevel"]
TOLD = [each for each in ALERTS if each not in LEVELS]
END = START + DAYS * 86400

WHOLE = bool(os.environ.get("DUMBKV_SLO_REPLAY"))

_KINDS = {
    "availability": "errors",
    "latency-p99": "slow",
    "latency-p95": "slow",
    "latency-p50": "slow",
}
_SHORT = {"1h": 5, "6h": 30, "1d": 120, "3d": 360}
"""By the long range of an alert, the minutes of its short one: so long it outlasts an incident."""


def burn(slo: str, window: str) -> Alert:
    severity = "page" if window in ("1h", "6h") else "ticket"
    return alert("HighErrorBudgetBurn", severity=severity, slo=slo, window=window)


_DOWN = alert("DumbKVDown", severity="page")
_ABSENT = alert("DumbKVAbsent", severity="page")
_FAST, _SLOWLY = burn("availability", "1h"), burn("availability", "6h")
_LATE_FAST, _LATE_SLOWLY = burn("latency-p99", "1h"), burn("latency-p99", "6h")

DETECTED: list[tuple[Incident, Alert, float]] = [
    (FAILING, _FAST, 2.9), (FAILING, _SLOWLY, 17.2),
    (OUTAGE, _FAST, 2.9), (OUTAGE, _SLOWLY, 17.2),
    (HALF_FAILING, _FAST, 3.7), (HALF_FAILING, _SLOWLY, 19.3),
    (DRIP, _FAST, 45.2), (DRIP, _SLOWLY, 123),
    (HALF_SLOW, _LATE_FAST, 19.3), (HALF_SLOW, _LATE_SLOWLY, 58.2),
    (SLOW, _LATE_FAST, 11.6), (SLOW, _LATE_SLOWLY, 39),
    (DOWN, _DOWN, 1),
]  # fmt: skip
"""In how many minutes an incident is found: factor times budget times long range, divided by the
share that is bad, and the wait. A scrape a minute may make it one more."""


class Window(NamedTuple):
    """The time around an incident in which its alerts may fire, and which objectives it is on."""

    kind: str
    begin: int
    end: int


def windows() -> Iterator[Window]:
    for each in INCIDENTS:
        yield Window(each.kind, _at(each.start - 1), _at(each.start + each.minutes - 1))
    yield Window("unseen", _at(UNSEEN.start - 1), _at(UNSEEN.stop))


def _at(minute: int) -> int:
    return START + minute * 60


def kind(which: Alert) -> str:
    """Which incidents an alert is for."""
    labels = dict(which)
    if "slo" in labels:
        return _KINDS[labels["slo"]]
    return {_DOWN: "down", _ABSENT: "unseen"}.get(which, "none")


def outlasts(which: Alert) -> int:
    """Seconds after an incident in which its alert may still fire."""
    return 60 * _SHORT.get(dict(which).get("window", ""), 5)


def looked_at(each: Replayed, months: Months) -> Iterator[Firing]:
    """When an alert fires."""
    if WHOLE:
        yield from firing(each, each.true(months.prometheus, START, END, 60), 60)
        return
    for window in windows():
        begin, end = window.begin - 600, window.end + outlasts(each.which) + 600
        if window.kind == kind(each.which):
            yield from firing(each, each.true(months.prometheus, begin, end, 60), 60)


@pytest.fixture(scope="module")
def fired(months: Months) -> dict[Alert, list[Firing]]:
    return {each.which: list(looked_at(each, months)) for each in TOLD}


@pytest.mark.parametrize(("incident", "which", "minutes"), DETECTED)
def test_each_incident_is_found_in_time(
    incident: Incident, which: Alert, minutes: float, fired: dict[Alert, list[Firing]]
) -> None:
    began = _at(incident.start - 1)
    over = began + incident.minutes * 60
    (found,) = (each for each in fired[which] if began < each.begin <= over + outlasts(which))
    assert 0 < (found.begin - began) / 60 <= minutes + 1
    assert found.end <= over + outlasts(which)


@pytest.mark.parametrize("each", TOLD, ids=lambda each: " ".join(dict(each.which).values()))
def test_nothing_is_to_be_told_between_the_incidents(each: Replayed, months: Months) -> None:
    mine = [window for window in windows() if window.kind == kind(each.which)]
    for now in each.true(months.prometheus, START, END, each.stride):
        assert any(w.begin < now <= w.end + outlasts(each.which) for w in mine), now


def test_nothing_fires_but_for_an_incident(fired: dict[Alert, list[Firing]]) -> None:
    stray = [
        each
        for which, found in fired.items()
        for each in found
        if not any(
            window.kind == kind(which)
            and window.begin < each.begin
            and each.end <= window.end + outlasts(which)
            for window in windows()
        )
    ]
    assert stray == []


@pytest.mark.parametrize("incident", [each for each in INCIDENTS if each.kind != "down"])
def test_an_incidents_alerts_fire_in_just_those_minutes_that_counting_says(
    incident: Incident, months: Months, fired: dict[Alert, list[Firing]]
) -> None:
    first = incident.start - 4 * 1440
    last = incident.start + incident.minutes + 360
    phases = [Phase(1, *each[:3]) for each in months.history.minutes[first:last]]
    slo = {"errors": "availability", "slow": "latency-p99"}[incident.kind]
    told = {which for which in fired if dict(which).get("slo") == slo}
    counted = model.firing(phases)
    for minute in range(incident.start, last):
        now = _at(minute)
        firing_now = {which for which in told if any(f.begin <= now <= f.end for f in fired[which])}
        assert firing_now == counted[minute - first] & told, minute - incident.start


class Budget:
    """How much of an objective's budget the truth says is used."""

    def __init__(self, bad: list[int], total: list[int], budget: float) -> None:
        self._bad, self._total = [0, *accumulate(bad)], [0, *accumulate(total)]
        self._budget = budget

    def reaches(self, level: int, at: int) -> bool:
        """Whether a row of the matrix is reached at a time."""
        minute = (at - START) // 60
        since = max(0, minute - 30 * 1440)
        bad = self._bad[minute] - self._bad[since]
        used = bad / (self._total[minute] - self._total[since]) / self._budget
        if level == 0:
            return True
        return minute >= 7 * 1440 and (used > 0.75 if level == 3 else used >= level * 0.25)


@pytest.mark.parametrize("each", LEVELS, ids=lambda each: " ".join(dict(each.which).values()))
def test_a_row_of_the_matrix_is_reached_when_counting_says(each: Replayed, months: Months) -> None:
    """Every six hours, and every five minutes while there was an incident."""
    labels, minutes = dict(each.which), months.history.minutes
    budget = {
        "availability": Budget([m.bad for m in minutes], [m.total for m in minutes], 0.001),
        "latency-p99": Budget([m.slow for m in minutes], [m.total - m.bad for m in minutes], 0.01),
    }[labels["slo"]]
    level = int(labels["budget_level"])
    spans = [(w.begin, w.end + 900, 300) for w in windows() if w.kind == kind(each.which)]
    for begin, end, step in [(START + each.stride, END, each.stride), *spans]:
        found = list(each.true(months.prometheus, begin, end, step))
        assert found == [at for at in range(begin, end + 1, step) if budget.reaches(level, at)]
