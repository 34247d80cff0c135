"""What the document's own alerts really do, which is why they are shipped and not loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dumbkv_http.slo.rules import verbatim
from tests.slo.promtool import LABELS, Phase, check, series, unit_test

DOCUMENT: dict[str, Any] = yaml.safe_load(verbatim())
CORRECTED: dict[str, Any] = yaml.safe_load(verbatim().replace("> 0.02", "> 14.4"))

BURN = {"alertname": "HighErrorBudgetBurn", "severity": "warning"}
SLOW = {"alertname": "CriticalLatencySLO", "severity": "warning"}

ALL = 614
"""Requests a minute that the document counts: the client's errors and the scrapes too."""
EDGE = 0.02 * 0.001 * ALL
"""Failures a minute at which its first alert is about to fire: one in 50,000 requests."""


def says(
    place: Path,
    given: Mapping[str, str],
    expected: Mapping[int, list[dict[str, str]]],
    content: dict[str, Any] = DOCUMENT,
    each: int = 1,
) -> str:
    """What promtool objects to, when at each minute `each` of these alerts have to fire."""
    test = unit_test(content["groups"], given, expected)
    for asked in test["tests"][0]["promql_expr_test"]:
        for sample in asked["exp_samples"]:
            sample["value"] = each
    return check(place, content, test)


@pytest.mark.parametrize(
    ("content", "bad", "fires"),
    [
        (DOCUMENT, EDGE * 0.99, []),
        (DOCUMENT, EDGE * 1.01, [BURN]),
        (CORRECTED, EDGE * 720 * 0.99, []),
        (CORRECTED, EDGE * 720 * 1.01, [BURN]),
    ],
)
def test_the_budget_alert_fires_at_a_720th_of_the_errors_it_speaks_of(
    content: dict[str, Any], bad: float, fires: list[dict[str, str]], tmp_path: Path
) -> None:
    given = series([Phase(180, bad=bad)])
    assert says(tmp_path, given, {100: fires, 180: fires}, content) == ""


def test_one_failure_in_an_hours_36000_requests_holds_it_for_55_minutes(tmp_path: Path) -> None:
    given = series([Phase(90), Phase(1, bad=1), Phase(90)])
    expected: dict[int, list[dict[str, str]]] = {90: [], 95: [], 96: [BURN], 150: [BURN], 151: []}
    assert says(tmp_path, given, expected) == ""


def test_an_outage_is_not_seen(tmp_path: Path) -> None:
    """The series end with the process, a rate of what is gone is nothing, and so is no alert."""
    given = {name: f"{values} stale" for name, values in series([Phase(60)]).items()}
    given[f"up{{{LABELS}}}"] = "1x60 0x120"
    assert says(tmp_path, given, {60: [], 66: [], 90: [], 180: []}) == ""


@pytest.mark.parametrize(("before", "fires"), [("0", [BURN]), ("_", [])])
def test_the_first_failure_counts_only_where_its_series_was_there_before(
    before: str, fires: list[dict[str, str]], tmp_path: Path
) -> None:
    given = {
        'http_requests_total{status="200"}': "0+600x120",
        'http_requests_total{status="500"}': f"{before}x60 1x60",
    }
    assert says(tmp_path, given, {70: fires, 110: fires}) == ""


@pytest.mark.parametrize(
    ("slow", "fires"), [(0.0, []), (5.99, []), (6.06, [SLOW]), (600.0, [SLOW])]
)
def test_the_latency_alert_fires_when_more_than_one_in_a_hundred_is_slow(
    slow: float, fires: list[dict[str, str]], tmp_path: Path
) -> None:
    expected: dict[int, list[dict[str, str]]] = {35: [], 45: fires, 60: fires}
    assert says(tmp_path, series([Phase(35), Phase(30, slow=slow)]), expected) == ""


@pytest.mark.parametrize(("top", "fires"), [("0.1", []), ("0.125", [SLOW])])
def test_the_latency_alert_needs_a_finite_bound_above_its_own(
    top: str, fires: list[dict[str, str]], tmp_path: Path
) -> None:
    """No quantile is above the last finite bound, though every request be above it."""
    given = {
        f'http_request_duration_seconds_bucket{{le="{bound}"}}': f"0+{rate}x60"
        for bound, rate in (("0.05", 0), (top, 0), ("+Inf", 600))
    }
    assert says(tmp_path, given, {60: fires}) == ""


def test_the_latency_alert_fires_once_for_each_set_of_labels(tmp_path: Path) -> None:
    given = {
        f'http_request_duration_seconds_bucket{{handler="{handler}",le="{bound}"}}': f"0+{rate}x60"
        for handler in ("kv", "scan", "batch")
        for bound, rate in (("0.1", 0), ("10.0", 600), ("+Inf", 600))
    }
    assert says(tmp_path, given, {60: [SLOW]}, each=3) == ""
