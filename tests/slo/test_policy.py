"""The rows of the escalation matrix begin where the document says, and mean something.

What a budget's use is was recorded by other rules, whose values have tests of their own; here it is
given.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.model import Alert, alert
from tests.slo.mutants import Mutants
from tests.slo.promtool import check, unit_test

GROUPS = [each for each in rules()["groups"] if each["name"] == "slo-policy"]
RECORDED = [e for group in rules()["groups"] for e in group["rules"] if "record" in e]
WEEK = 7 * 86400
SLOS = ("availability", "latency-p99")


class State(NamedTuple):
    """The share of the budget that is used, the requests it is of and the seconds that were seen,
    and the rows that are reached by it."""

    used: float
    rows: tuple[int, ...]
    requests: float = 1e6
    seen: int = 30 * 86400


STATES = [
    State(0.0, (0,)),
    State(0.2499, (0,)), State(0.25, (0, 1)),
    State(0.4999, (0, 1)), State(0.5, (0, 1, 2)),
    State(0.75, (0, 1, 2)), State(0.7501, (0, 1, 2, 3)), State(5.0, (0, 1, 2, 3)),
    State(0.9, (0,), requests=9999), State(0.9, (0, 1, 2, 3), requests=10_000),
    State(0.9, (0,), seen=WEEK - 1), State(0.9, (0, 1, 2, 3), seen=WEEK),
]  # fmt: skip

LASTS = 10
"""Minutes in each state, and how many of them a row waits for."""
WAIT = 5


def row(slo: str, level: int) -> Alert:
    return alert("ErrorBudgetLevel", severity="policy", slo=slo, budget_level=str(level))


def given(slo: str) -> dict[str, str]:
    """The recorded series: one objective's go through the states, the other's come after one."""

    def values(numbers: list[float]) -> str:
        return " ".join(f"{number:.12g}x{LASTS - 1}" for number in numbers)

    (other,) = set(SLOS) - {slo}
    return {
        f'slo:budget_consumed:ratio30d{{slo="{slo}"}}': values([each.used for each in STATES]),
        f'slo:total:increase30d{{slo="{slo}"}}': values([each.requests for each in STATES]),
        "slo:coverage_seconds:count30d": values([each.seen for each in STATES]),
        f'slo:budget_consumed:ratio30d{{slo="{other}"}}': f"_x{LASTS} 0.1x{LASTS * len(STATES)}",
        f'slo:total:increase30d{{slo="{other}"}}': f"1000x{LASTS * len(STATES)}",
    }


def told(slo: str) -> dict[int, set[Alert]]:
    """What fires before and when a row's wait is over, and at the end of each state."""
    (other,) = set(SLOS) - {slo}
    found = {}
    for place, state in enumerate(STATES):
        before = STATES[place - 1].rows if place else ()
        soon = {row(slo, level) for level in state.rows if level in before}
        all_of_it = {row(slo, level) for level in state.rows}
        first = place * LASTS
        always = {row(other, 0)} if place else set()
        found[first + WAIT - 1] = soon | (always if place > 1 else set())
        found[first + WAIT] = all_of_it | always
        found[first + LASTS - 1] = all_of_it | always
    return found


@pytest.mark.parametrize("slo", SLOS)
def test_the_rows_begin_at_their_bounds(slo: str, tmp_path: Path) -> None:
    expected = {minute: [dict(each) for each in alerts] for minute, alerts in told(slo).items()}
    test = unit_test(GROUPS, given(slo), expected)
    assert check(tmp_path, {"groups": GROUPS}, test) == ""


def test_every_changed_row_is_told(tmp_path: Path) -> None:
    mutants = Mutants(GROUPS[0]["rules"], RECORDED, given=True)
    for slo in SLOS:
        mutants.live(tmp_path, given(slo), told(slo))
    assert mutants.survivors() == []
