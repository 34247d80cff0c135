"""Alerts on figures and faults fire when they should, not a step before, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.conditions import CONDITIONS, Condition
from tests.slo.model import LEVEL_0
from tests.slo.promtool import check, other_job, series, unit_test


def expectations(condition: Condition) -> dict[int, list[dict[str, str]]]:
    """The exact set of alerts at each of the minutes that the condition names."""
    always = [dict(labels) for labels in sorted(LEVEL_0)]
    found = dict.fromkeys(condition.silent, always)
    found |= {minute: [*always, dict(condition.which)] for minute in condition.fires}
    return dict(sorted(found.items()))


def the_test(content: dict[str, Any], condition: Condition) -> dict[str, Any]:
    minutes = sum(phase.minutes for phase in condition.phases)
    given = series(condition.phases, condition.step) | other_job(minutes, condition.step)
    return unit_test(content["groups"], given, expectations(condition), condition.step)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda each: dict(each.which)["alertname"])
def test_the_alert_fires_in_these_minutes_and_no_other_does(
    condition: Condition, tmp_path: Path
) -> None:
    content = rules()
    assert check(tmp_path, content, the_test(content, condition)) == ""


def test_every_alert_that_is_not_on_a_ratio_has_a_condition() -> None:
    alerts = {
        (rule["alert"], rule["labels"]["severity"])
        for group in rules()["groups"]
        for rule in group["rules"]
        if "alert" in rule and "slo" not in rule["labels"]
    }
    tested = {
        (dict(c.which)["alertname"], dict(c.which)["severity"]) for c in CONDITIONS if c.fires
    }
    assert tested == alerts
