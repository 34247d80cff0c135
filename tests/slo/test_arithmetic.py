"""What a report calculates, on data that hypothesis invents."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dumbkv_http.metrics import DURATION_BOUNDS
from dumbkv_http.slo import history
from dumbkv_http.slo.advice import criteria, recommendations
from dumbkv_http.slo.incidents import downtime, incidents, stretches
from dumbkv_http.slo.latency import PARTS, change, spread
from dumbkv_http.slo.minutes import Counts, Minutes, increments
from dumbkv_http.slo.objectives import (
    AVAILABILITY,
    LATENCIES,
    MEMORY,
    RATIOS,
    Availability,
    Latency,
)
from dumbkv_http.slo.periods import Period, moment, month, week
from dumbkv_http.slo.results import COVERAGE, figures_result, overall, ratio_result, slope

States = st.sampled_from(["met", "missed", "unknown"])
MONTHS = ("2026-02", "2026-03", "2026-04")


def line(period: str, state: str = "met", part: float = 0.3, within: float = 1.0) -> history.Line:
    """A month in the history that used `part` of each budget."""
    return history.Line(
        period=period,
        coverage=1.0,
        states=dict.fromkeys((each.name for each in RATIOS), state),  # type: ignore[arg-type]  # one of the three
        bad={each.name: part * each.budget * 1e6 for each in RATIOS},
        total=dict.fromkeys((each.name for each in RATIOS), 1e6),
        within={str(bound): within for bound in DURATION_BOUNDS},
        unplanned_minutes=0,
        alerts=0,
    )


def quiet(count: int, total: float = 100.0) -> Minutes:
    """Minutes in which nothing was wrong."""
    good = Counts([0.0] * count, [total] * count)
    return Minutes(0, [True] * count, [False] * count, {each.name: good for each in RATIOS})


@given(st.lists(st.integers(0, 10_000), min_size=1), st.data())
def test_a_counter_adds_up_whenever_it_was_looked_at(grown: list[int], data: st.DataObject) -> None:
    values = [float(sum(grown[:end])) for end in range(len(grown) + 1)]
    seen = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    looks = [value if known else None for value, known in zip(values, seen, strict=True)]
    known = [value for value in looks if value is not None]
    found = increments(looks)
    assert len(found) == len(grown)
    assert sum(found) == pytest.approx(known[-1] - known[0] if known else 0.0)
    if all(seen):
        assert found == grown


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=30),
    st.lists(st.integers(0, 100), min_size=1, max_size=30),
)
def test_a_counter_that_began_anew_lost_nothing_it_told(
    before: list[int], after: list[int]
) -> None:
    base = 1_000_000
    values = [float(base + sum(before[:end])) for end in range(len(before) + 1)]
    values += [float(sum(after[: end + 1])) for end in range(len(after))]
    assert increments(values) == [*before, *after]


@given(
    per_minute=st.integers(100, 5000),
    share=st.sampled_from([0.05, 0.2, 0.5, 1.0]),
    begin=st.integers(20, 200),
    length=st.integers(8, 300),
    strays=st.sets(st.integers(0, 600), max_size=12),
)
def test_an_incident_is_found_to_the_minute(
    per_minute: int, share: float, begin: int, length: int, strays: set[int]
) -> None:
    bad = [0.0] * 600
    for minute in range(begin, begin + length):
        bad[minute] = float(round(per_minute * share))
    for minute in strays:
        if not begin - 3 <= minute < begin + length + 3 and minute < len(bad):
            bad[minute] += 1
    found = stretches(Counts(bad, [float(per_minute)] * 600), AVAILABILITY.budget)
    assert found == [(begin, begin + length)]


@given(st.lists(st.integers(0, 4), min_size=60, max_size=60), st.integers(5_000, 100_000))
def test_what_the_budget_allows_is_no_incident(bad: list[int], total: int) -> None:
    counts = Counts([float(each) for each in bad], [float(total)] * len(bad))
    assert stretches(counts, AVAILABILITY.budget) == []


def test_two_incidents_a_quarter_of_an_hour_apart_are_one() -> None:
    for apart, number in ((15, 1), (16, 2)):
        bad = [0.0] * 120
        for minute in (*range(20, 30), *range(30 + apart, 40 + apart)):
            bad[minute] = 100.0
        assert len(stretches(Counts(bad, [100.0] * 120), 0.001)) == number


def test_downtime_is_counted_by_its_minutes_and_planned_only_as_a_whole() -> None:
    minutes = quiet(1440)
    for minute in (*range(100, 103), 110):
        minutes.down[minute] = True
    (found,) = downtime(minutes)
    assert (found.begin, found.end, found.minutes, found.planned) == (6000, 6660, 4, False)
    assert found.share == pytest.approx(4 / 1.44)
    assert downtime(minutes, [(6000, 6660)])[0].planned
    assert not downtime(minutes, [(6001, 6660)])[0].planned
    assert incidents(quiet(1440)) == []


@given(
    bad=st.integers(0, 10**7), total=st.integers(0, 10**7), trusted=st.booleans(),
    objective=st.sampled_from(RATIOS),
)  # fmt: skip
def test_a_ratio_is_judged_by_its_sums(
    bad: int, total: int, trusted: bool, objective: Availability | Latency
) -> None:
    bad = min(bad, total)
    found = ratio_result(objective, bad, total, quiet(60), None, trusted)
    if not trusted or not total:
        assert found.state == "unknown"
    if total:
        assert found.good == pytest.approx(1 - bad / total)
        assert found.used is not None
        if trusted and abs(found.used - 1) > 1e-9:
            assert found.state == ("met" if found.used < 1 else "missed")
    assert found.used_time == 0


def test_what_is_exactly_on_its_target_is_met() -> None:
    for objective in RATIOS:
        on = ratio_result(objective, objective.budget * 1e6, 1e6, quiet(60), None, True)
        over = ratio_result(objective, objective.budget * 1e6 + 1, 1e6, quiet(60), None, True)
        assert (on.state, over.state) == ("met", "missed")


def test_slices_that_nobody_saw_are_neither_good_nor_bad() -> None:
    minutes = quiet(50)
    minutes.covered[0:10] = [False] * 10
    minutes.down[20] = True
    found = ratio_result(AVAILABILITY, 0.0, 1.0, minutes, None, True)
    assert (found.bad_slices, found.known_slices) == (1, 8)
    latency = ratio_result(LATENCIES[0], 0.0, 1.0, minutes, None, True)
    assert (latency.bad_slices, latency.known_slices) == (0, 8)


@given(st.lists(st.one_of(st.none(), st.floats(0, 2**30)), max_size=50), st.booleans())
def test_one_moment_over_the_limit_is_a_missed_objective(
    values: list[float | None], trusted: bool
) -> None:
    found = figures_result(MEMORY, values, 60, None, trusted)
    known = [value for value in values if value is not None]
    over = sum(value >= MEMORY.limit for value in known)
    assert found.bad_minutes == over
    assert found.known_minutes == len(known)
    expected = "unknown" if not trusted or not known else "missed" if over else "met"
    assert found.state == expected


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 100))
def test_the_slope_of_a_line_is_its_own(begin: float, by: float, count: int) -> None:
    step = 60
    values = [begin + by * index * step / 86400 for index in range(count)]
    assert slope(values, step) == pytest.approx(by, rel=1e-4, abs=1e-3)


@given(st.lists(States))
def test_a_whole_is_met_only_when_all_of_it_is(states: list[object]) -> None:
    found = overall(states)  # type: ignore[arg-type]  # States are
    assert (found == "met") == (bool(states) and set(states) == {"met"})
    assert (found == "missed") == ("missed" in states)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any))
def test_a_spread_holds_each_request_once(counts: list[int]) -> None:
    bounds = ("0.02", "0.05", "0.1", "+Inf")
    cumulated = {bound: float(sum(counts[: place + 1])) for place, bound in enumerate(bounds)}
    found = spread(cumulated)
    assert found.counts == tuple(counts)
    assert found.bounds == (0.02, 0.05, 0.1)
    assert len(found.quantiles) == len(PARTS)
    assert list(found.quantiles) == sorted(value for value in found.quantiles if value is not None)
    assert change(found, found) == (0.02, 0.0)
    assert change(found, spread({})) is None
    shares = list(found.within().values())
    assert shares == sorted(shares)


@pytest.mark.parametrize(("read", "name"), [(month, "2024-02"), (week, "2026-W53")])
def test_periods_follow_each_other_without_a_gap(read: Callable[[str], Period], name: str) -> None:
    period = read(name)
    for _ in range(500):
        before = period.previous
        assert before.end == period.begin
        assert read(before.name) == before
        assert moment(before.begin).endswith("00:00")
        period = before


@pytest.mark.parametrize("name", ["2026-13", "2026-1", "26-01", "2026-00", "", "1969-01"])
def test_what_is_no_month_is_told_what_one_looks_like(name: str) -> None:
    with pytest.raises(ValueError, match="expected a month such as 2026-10, got"):
        month(name)


@settings(max_examples=50)
@given(st.permutations(MONTHS), st.lists(States, min_size=6, max_size=6))
def test_the_history_keeps_one_line_for_a_period(order: list[str], states: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slo-history.jsonl"
        for name, state in zip((*order, *order), states, strict=True):
            found = history.record(path, line(name, state))
        assert [each.period for each in found] == sorted(MONTHS)
        assert history.read(path) == found
        assert [each.name for each in Path(folder).iterdir()] == [path.name]


def test_a_history_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('{"period": "2026-01"}\n')
    with pytest.raises(ValueError, match="line 1: expected a period as JSON"):
        history.read(path)


@given(st.lists(States, min_size=3, max_size=3), st.integers(0, 2))
def test_three_months_are_met_only_when_all_three_are(states: list[str], missing: int) -> None:
    lines = [line(name, state) for name, state in zip(MONTHS, states, strict=True)]
    whole = criteria(history.in_a_row(lines, MONTHS[-1]), 0, True, 0, 0)[0]
    assert (whole.state == "met") == (states == ["met"] * 3)
    assert (whole.state == "missed") == ("missed" in states)
    del lines[missing]
    assert criteria(history.in_a_row(lines, MONTHS[-1]), 0, True, 0, 0)[0].state != "met"


def test_downtime_and_noise_are_criteria_of_their_own() -> None:
    def last_two(*given: object) -> list[str]:
        return [each.state for each in criteria([None] * 3, *given)[2:]]  # type: ignore[arg-type]  # as they come

    assert last_two(0, True, 3, 5) == ["met", "met"]
    assert last_two(1, True, 5, 5) == ["missed", "missed"]
    assert last_two(0, True, 0, 0) == ["met", "met"]
    assert last_two(0, False, 0, None) == ["unknown", "unknown"]


def test_targets_are_tightened_with_room_and_loosened_when_nobody_keeps_them() -> None:
    def advice(*lines: history.Line) -> list[str]:
        return recommendations(lines)

    kept = advice(*(line(name, part=0.7, within=0.4) for name in MONTHS))
    assert all("keep the target; 70.00 %" in each for each in kept)
    roomy = advice(*(line(name, part=0.02) for name in MONTHS))
    assert "99.99 % would have been kept" in roomy[0]  # 0.02 of 0.1 % is 0.002 %.
    assert "99.98 % would have been kept" in advice(*(line(n, part=0.08) for n in MONTHS))[0]
    assert "99 % of requests within 0.5 ms would have been kept" in roomy[1]
    missed = advice(*(line(name, "missed", part=3.0) for name in MONTHS))
    assert "missed in 3 of 3 months" in missed[0]
    assert "what was held is 99.5 %" in missed[0]
    (unknown,) = advice(line("2026-02"), line("2026-03", "unknown"), line("2026-04"))
    assert "these are: 2026-02, 2026-04" in unknown


def test_the_coverage_that_is_asked_for_is_the_documents() -> None:
    assert COVERAGE == 0.95
