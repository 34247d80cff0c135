"""Alerts on ratios fire exactly when counting says so, at every change, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.model import firing, moments
from tests.slo.promtool import Phase, check, series, unit_test

DAY = 1440

_QUIET, _LATER = Phase(60, total=0.1), Phase(600, total=0.1)

INCIDENTS: dict[str, tuple[int, list[Phase]]] = {
    "nothing": (1, [Phase(8 * 60)]),
    "all fail for 20 minutes": (1, [Phase(90), Phase(20, bad=600), Phase(100)]),
    "half fail for 10 minutes": (1, [Phase(90), Phase(10, bad=300), Phase(100)]),
    "10 % fail for 40 minutes": (1, [Phase(90), Phase(40, bad=60), Phase(100)]),
    "2 % fail for 3 hours": (1, [Phase(90), Phase(180, bad=12), Phase(100)]),
    "all are slow for 20 minutes": (1, [Phase(90), Phase(20, slow=600), Phase(100)]),
    "a tenth is slow for 4 hours": (1, [Phase(90), Phase(240, slow=60), Phase(60)]),
    "1.2 % are slow for an hour": (1, [Phase(90), Phase(60, slow=7.2), Phase(60)]),
    "half fail and the rest is slow": (1, [Phase(90), Phase(30, bad=300, slow=300), Phase(60)]),
    "two in a thousand fail for days": (5, [Phase(DAY), Phase(2 * DAY, bad=1.2), Phase(DAY)]),
    "three quarters slow for two days": (5, [Phase(3 * DAY), Phase(2 * DAY, slow=450), Phase(DAY)]),
    "a sixth is slow for a day": (5, [Phase(3 * DAY), Phase(DAY, slow=102), Phase(DAY)]),
    "four of four fail": (5, [_QUIET, Phase(5, total=0.8, bad=0.8), _LATER]),
    "five of five fail": (5, [_QUIET, Phase(5, total=1, bad=1), _LATER]),
    "four requests are slow": (5, [_QUIET, Phase(5, total=0.8, slow=0.8), _LATER]),
    "five requests are slow": (5, [_QUIET, Phase(5, total=1, slow=1), _LATER]),
    "one a minute, and all fail": (1, [Phase(20, total=1, bad=1), Phase(20)]),
    "nine in ten minutes, and all fail": (1, [Phase(20, total=0.9, bad=0.9), Phase(20)]),
    "one a minute, and all are slow": (1, [Phase(20, total=1, slow=1), Phase(20)]),
    "nine in ten minutes, and all are slow": (1, [Phase(20, total=0.9, slow=0.9), Phase(20)]),
    "clients err as often as they like": (1, [Phase(90), Phase(60, client=60_000), Phase(60)]),
    "one in a hundred fails among many client errors": (
        1, [Phase(90), Phase(60, bad=6, client=60_000), Phase(60)]
    ),
    "no requests at night": (1, [Phase(90), Phase(300, total=0, client=0), Phase(60)]),
    "overspent on the first day": (
        5, [Phase(DAY, total=100, bad=1, slow=10), Phase(6 * DAY + 600, total=100)]
    ),
    "ten thousand requests after a week": (
        5, [Phase(8 * DAY, total=0.95, bad=0.00085 * 0.95, slow=0.0085 * 0.95)]
    ),
}  # fmt: skip
"""Minutes between samples, and the phases."""


DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
"""Lives of several days take promtool a minute each: `HYPOTHESIS_PROFILE=deep make test`."""

TRIED = [
    name
    for name, (_, phases) in INCIDENTS.items()
    if DEEP or sum(phase.minutes for phase in phases) < DAY
]


@pytest.mark.parametrize("name", TRIED)
def test_exactly_those_alerts_fire_that_counting_says(name: str, tmp_path: Path) -> None:
    step, phases = INCIDENTS[name]
    expected = {at: [dict(a) for a in alerts] for at, alerts in moments(firing(phases, step), step)}
    content = rules()
    test = unit_test(content["groups"], series(phases, step), expected, step)
    assert check(tmp_path, content, test) == ""
