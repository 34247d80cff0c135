"""Alerts on ratios fire exactly when counting says so, at every change, and nothing else does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.lives import LIVES, WEEKS
from tests.slo.model import firing, moments
from tests.slo.promtool import check, other_job, series, unit_test

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
TRIED = {**LIVES, **(WEEKS if DEEP else {})}
"""A week is looked at with `HYPOTHESIS_PROFILE=deep make test`."""


@pytest.mark.parametrize("name", TRIED)
def test_exactly_those_alerts_fire_that_counting_says(name: str, tmp_path: Path) -> None:
    step, phases = TRIED[name]
    expected = {at: [dict(a) for a in alerts] for at, alerts in moments(firing(phases, step), step)}
    content = rules()
    given = series(phases, step) | other_job(sum(phase.minutes for phase in phases), step)
    test = unit_test(content["groups"], given, expected, step)
    assert check(tmp_path, content, test) == ""
