"""Reports over a real Prometheus with months of metrics whose truth is known."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dumbkv_http.__main__ import main
from dumbkv_http.slo import budget, history
from dumbkv_http.slo.periods import moment, month, week
from dumbkv_http.slo.prometheus import Prometheus
from dumbkv_http.slo.report import make
from tests.slo import backfill
from tests.slo.conftest import (
    DOWN,
    DRIP,
    FAILING,
    HALF_FAILING,
    HALF_SLOW,
    OUTAGE,
    PAGE,
    RESTART,
    SLOW,
    START,
    TOLD,
    Months,
)

MONTHS = ("2026-01", "2026-02", "2026-03", "2026-04", "2026-05")


class Run(NamedTuple):
    """What the command did for one month."""

    status: int
    report: dict[str, Any]
    page: str
    text: str
    folder: Path


@pytest.fixture(scope="module")
def runs(months: Months, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """`slo report` for each of the months in turn, into one folder."""
    folder = tmp_path_factory.mktemp("reports")
    found = {}
    for name in MONTHS:
        url = months.prometheus.url
        status = main(["slo", "report", "--prometheus", url, "--month", name, "--out", str(folder)])
        found[name] = Run(
            status,
            json.loads((folder / f"{name}.json").read_text()),
            (folder / f"{name}.html").read_text(),
            (folder / f"{name}.md").read_text(),
            folder,
        )
    return found


def ratio(run: Run, name: str) -> dict[str, Any]:
    (found,) = (each for each in run.report["ratios"] if each["name"] == name)
    return dict(found)


def shown(each: backfill.Incident) -> tuple[str, int]:
    """When an incident began, and its length: the first bad scrape is of the minute before it."""
    return moment(START + (each.start - 1) * 60), each.minutes


def incidents(run: Run, kind: str) -> list[tuple[str, int]]:
    return [
        (moment(each["begin"]), (each["end"] - each["begin"]) // 60)
        for each in run.report["incidents"]
        if each["kind"] == kind
    ]


@pytest.mark.parametrize("name", MONTHS)
def test_the_months_are_the_truth(runs: dict[str, Run], months: Months, name: str) -> None:
    truth = months.truth(month(name))
    availability = ratio(runs[name], "availability")
    assert availability["total"] == pytest.approx(truth.total, rel=1e-6)
    assert availability["bad"] == pytest.approx(truth.bad, rel=1e-6)
    assert availability["good"] == pytest.approx(1 - truth.bad / truth.total, abs=1e-6)
    assert availability["used"] == pytest.approx(truth.bad / truth.total / 0.001, rel=1e-6)
    latency = ratio(runs[name], "latency-p99")
    assert latency["total"] == pytest.approx(truth.total - truth.bad, rel=1e-6)
    assert latency["bad"] == pytest.approx(truth.slow, rel=1e-6)
    assert runs[name].report["unplanned_minutes"] == truth.down


def test_the_exit_status_tells_met_from_missed_from_unknown(runs: dict[str, Run]) -> None:
    assert [run.status for run in runs.values()] == [2, 0, 1, 0, 1]
    states = ["unknown", "met", "missed", "met", "missed"]
    assert [run.report["state"] for run in runs.values()] == states
    assert "**\u2717 Missed: P99 latency.**" in runs["2026-03"].text


def test_a_month_that_was_not_seen_is_unknown_in_everything(runs: dict[str, Run]) -> None:
    report = runs["2026-01"].report
    assert report["coverage"] == pytest.approx(5 / 31, abs=1e-3)
    judged = [each["state"] for each in (*report["ratios"], *report["figures"])]
    assert set(judged) == {"unknown"}
    assert runs["2026-02"].report["coverage"] == pytest.approx(1 - 118 / (28 * 1440), abs=1e-9)


def test_every_incident_is_found_at_its_minute_and_no_other(runs: dict[str, Run]) -> None:
    found = {
        kind: [each for run in runs.values() for each in incidents(run, kind)]
        for kind in ("availability", "latency-p99", "latency-p50", "down")
    }
    assert found == {
        "availability": [shown(FAILING), shown(DRIP), shown(HALF_FAILING), shown(OUTAGE)],
        "latency-p99": [shown(HALF_SLOW), shown(SLOW)],
        # Half of the requests may be slow; but some of the other half always are.
        "latency-p50": [shown(HALF_SLOW), shown(SLOW)],
        "down": [shown(DOWN), shown(RESTART)],
    }
    assert {each["kind"] for run in runs.values() for each in run.report["incidents"]} == {
        *found,
        "latency-p95",
    }


def test_incidents_tell_their_share_of_the_months_budget(
    runs: dict[str, Run], months: Months
) -> None:
    truth = months.truth(month("2026-02"))
    (failing,) = (each for each in runs["2026-02"].report["incidents"] if each["bad"] == 12_000)
    assert failing["share"] == pytest.approx(12_000 / (truth.total * 0.001), rel=1e-6)
    assert failing["worst"] == 1
    down = [each for each in runs["2026-03"].report["incidents"] if each["kind"] == "down"]
    assert [each["share"] for each in down] == pytest.approx([25 / 44.64, 1 / 44.64])


def test_the_budget_by_time_counts_slices_of_five_minutes(runs: dict[str, Run]) -> None:
    # 20 minutes that begin in a slice's second minute touch five slices.
    assert ratio(runs["2026-02"], "availability")["bad_slices"] == 5
    # The drip, which begins in a slice's last minute, and both times it was down.
    assert ratio(runs["2026-03"], "availability")["bad_slices"] == 49 + 5 + 1


def test_three_months_in_a_row_are_told_from_the_history(runs: dict[str, Run]) -> None:
    def criteria(name: str) -> list[str]:
        return [each["state"] for each in runs[name].report["criteria"]]

    assert criteria("2026-03")[0] == "unknown"  # January is not known.
    assert criteria("2026-04")[:3] == ["met", "missed", "met"]
    assert criteria("2026-05")[:2] == ["missed", "missed"]
    lines = history.read(runs["2026-05"].folder / "slo-history.jsonl")
    assert [each.period for each in lines] == [*runs]
    states = ["unknown", "met", "met", "met", "missed"]
    assert [each.states["availability"] for each in lines] == states


def test_alerts_are_counted_and_those_without_an_incident_told(runs: dict[str, Run]) -> None:
    report = runs["2026-04"].report
    assert report["alerts"] == [
        {
            "name": "HighErrorBudgetBurn",
            "severity": "page",
            "times": 2,
            "minutes": len(PAGE) + 5 + 2 * 5,  # An alert is still seen five minutes after it.
            "longest": len(PAGE) + 5,
            "idle": 1,
        }
    ]
    assert report["alerts_before"] == 0
    assert report["criteria"][3]["state"] == "missed"


def test_what_alertmanager_sent_is_told_where_it_is_scraped(runs: dict[str, Run]) -> None:
    april = runs["2026-04"]
    assert (april.report["notifications"], april.report["notifications_before"]) == (len(TOLD), 0)
    assert f"Alertmanager sent {len(TOLD)} notifications; in 2026-03: 0." in april.text
    assert runs["2026-01"].report["notifications_before"] is None  # Nothing was scraped then.


def test_latency_is_compared_with_the_month_before(runs: dict[str, Run]) -> None:
    bound, by = runs["2026-03"].report["shift"]
    assert (bound, by < 0) == (0.1, True)
    bound, by = runs["2026-04"].report["shift"]
    assert (bound, by > 0) == (0.1, True)


def test_a_week_has_the_week_before_beside_it(months: Months) -> None:
    report = make(months.prometheus, week("2026-W15"), now=START + 400 * 86400)
    assert (moment(report.period.begin), report.before.name) == ("2026-04-06 00:00", "2026-W14")
    truth = months.truth(report.period)
    assert report.ratios[0].bad == pytest.approx(truth.bad, rel=1e-6)
    assert [each.kind for each in report.incidents] == ["availability"]
    assert len(report.hours) == 168


def test_a_period_that_is_not_over_is_not_decided(months: Months) -> None:
    report = make(months.prometheus, week("2026-W12"), now=week("2026-W12").end - 1)
    assert {each.state for each in report.ratios} == {"unknown"}
    assert {each.state for each in report.figures} == {"unknown"}
    assert report.state == "unknown"


def test_announced_downtime_is_not_unplanned(months: Months) -> None:
    begin = START + (DOWN.start - 1) * 60
    for announced, unplanned in ((begin + 25 * 60, 0), (begin + 24 * 60, 25)):
        report = make(months.prometheus, week("2026-W12"), maintenance=[(begin, announced)])
        assert [each.planned for each in report.incidents] == [not unplanned]
        assert report.unplanned_minutes == unplanned


def test_every_chart_is_a_picture_of_its_own(runs: dict[str, Run]) -> None:
    run = runs["2026-04"]
    for line in run.text.splitlines():
        if line.startswith("!["):
            path = run.folder / line.partition("](")[2].rstrip(")")
            root = ET.fromstring(path.read_text())
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert run.text.count("![") == 7


def test_the_budgets_of_thirty_days_are_drawn(months: Months, april: Any) -> None:
    found = budget.budgets(months.prometheus, april.end)
    truth = months.truth(april)
    assert found[0].used == pytest.approx(truth.bad / (truth.total * 0.001), rel=1e-6)
    assert [budget.state_of(each) for each in found] == ["met"] * 4
    drawn = budget.draw(found, colour=False)
    assert "\x1b" not in drawn
    assert "[" + "#" * round((found[0].used or 0) * 40) + "." in drawn
    assert "\x1b[32m" in budget.draw(found, colour=True)


def test_a_budget_is_judged_once_there_is_enough_to_judge_it_by(months: Months) -> None:
    day = START + (FAILING.start // 1440 + 1) * 86400
    used = budget.budgets(months.prometheus, day)[0].used
    assert used is not None
    assert used > 1
    assert budget.state_of(budget.budgets(months.prometheus, day)[0]) == "missed"
    early = budget.budgets(months.prometheus, START + 3 * 86400)
    assert {budget.state_of(each) for each in early} == {"unknown"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "--month", "2026-13"],
        ["report", "--week", "2026-W60"],
        ["report", "--month", "2026-10", "--week", "2026-W01"],
        ["report"],
    ],
)
def test_what_is_not_understood_exits_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["slo", *arguments, "--prometheus", "http://127.0.0.1:9"])
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_prometheus_that_does_not_answer_exits_with_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = "http://127.0.0.1:9"
    assert main(["slo", "report", "--prometheus", url, "--month", "2026-02"]) == 2
    assert main(["slo", "budget", "--prometheus", url]) == 2
    assert main(["slo", "budget", "--prometheus", "localhost"]) == 2
    assert capsys.readouterr().err.count("dumbkv_http: ") == 3


def test_long_ranges_are_asked_for_in_pieces(months: Months) -> None:
    class Counting(Prometheus):
        asked = 0

        def _ask(self, what: str, **parameters: str) -> list[dict[str, Any]]:
            self.asked += 1
            return super()._ask(what, **parameters)

    counting = Counting(months.prometheus.url)
    (values,) = counting.series("vector(1)", 0, 25_000, 1).values()
    assert counting.asked == 3
    assert values == [1.0] * 25_001
