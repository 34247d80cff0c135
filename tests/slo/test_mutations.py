"""A threshold, a range, a wait, a guard or a label that is changed in a rule turns a test red."""

from __future__ import annotations

from pathlib import Path

from dumbkv_http.slo.rules import rules
from tests.slo.conditions import CONDITIONS
from tests.slo.model import Alert
from tests.slo.mutants import Mutants
from tests.slo.promtool import Phase, other_job, series

RULES = [each for group in rules()["groups"] for each in group["rules"]]
RECORDED = [each for each in RULES if "record" in each]
ALERTS = [each for each in RULES if "alert" in each and each["alert"] != "ErrorBudgetLevel"]
"""The rows of the matrix have changes, and tests that tell them, of their own."""


def _given(phases: list[Phase], step: int) -> dict[str, str]:
    minutes = sum(phase.minutes for phase in phases)
    return {**series(phases, step), **other_job(minutes, step)}


def test_every_changed_alert_on_a_figure_or_fault_is_told(tmp_path: Path) -> None:
    mutants = Mutants([each for each in ALERTS if "slo" not in each["labels"]], RECORDED)
    for condition in CONDITIONS:
        given = _given(condition.phases, condition.step)
        told: dict[int, tuple[Alert, ...]] = dict.fromkeys(condition.silent, ())
        told |= dict.fromkeys(condition.fires, (condition.which,))
        mutants.live(tmp_path, given, told, condition.step)
    assert mutants.survivors() == []
