"""Every recorded series has the value that counting gives, and no rule with a change in it has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dumbkv_http.slo.rules import rules
from tests.slo.mutants import Rule, changes, numbered, samples, spelled
from tests.slo.promtool import LABELS, Phase, check, other_job, series, unit_test

GROUPS = rules()["groups"]
RECORDED = [each for group in GROUPS for each in group["rules"] if "record" in each]

DAY = 1440
MINUTES = {
    "5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": DAY, "3d": 3 * DAY, "30d": 30 * DAY,
}  # fmt: skip
BUDGETS = {"availability": 0.001, "latency-p99": 0.01, "latency-p95": 0.05, "latency-p50": 0.5}
BOUNDS = {"latency-p50": "0.02", "latency-p95": "0.05", "latency-p99": "0.1"}

_DURATIONS = f"http_request_duration_seconds_bucket{{{LABELS}"


class Stretch(NamedTuple):
    """Minutes with the same rates: requests that count, those of them that failed (500) and that
    were refused (503), and those of the others that took longer than each bound."""

    minutes: int
    total: float
    failed: float = 0
    refused: float = 0
    slow: tuple[float, float, float] = (0, 0, 0)

    def phase(self) -> Phase:
        """The stretch for promtool, with scrapes and probes that fail too."""
        total, served = self.total - self.refused, self.total - self.refused - self.failed
        within = dict(zip(BOUNDS.values(), (served - slow for slow in self.slow), strict=True))
        rates = {f'{_DURATIONS},le="{bound}"}}': count for bound, count in within.items()}
        # More than within 100 ms.
        rates[f'{_DURATIONS},le="0.125"}}'] = within["0.1"] + self.slow[2] / 2
        for handler, method, status, rate in (
            ("kv", "GET", 503, self.refused), ("health", "GET", 503, 3), ("metrics", "GET", 500, 2),
        ):  # fmt: skip
            labels = f'handler="{handler}",method="{method}",status="{status}"'
            rates[f"http_requests_total{{{LABELS},{labels}}}"] = rate
        return Phase(self.minutes, total, self.failed, rates=rates)

    def counts(self, slo: str) -> tuple[float, float]:
        """Bad requests and all in a minute."""
        if slo == "availability":
            return self.failed + self.refused, self.total
        return self.slow[list(BOUNDS).index(slo)], self.total - self.failed - self.refused


class Life(NamedTuple):
    """Stretches with a sample every `step` minutes, and rules that look every `every` of them."""

    stretches: list[Stretch]
    step: int
    every: int

    @property
    def minutes(self) -> int:
        return sum(each.minutes for each in self.stretches)


def _busy(*lengths: int) -> list[Stretch]:
    """What changes where a range begins tells that from any other range."""
    return [
        Stretch(minutes, 600 + 20 * n, 1 + n, 2 * n, (90 * n, 30 * n, 4 * n))
        for n, minutes in enumerate(lengths)
    ]


# A query of promtool's may read ten thousand samples, so there is one life for the long ranges and
# one for the short ones.
LIVES = {
    "weeks": Life(_busy(9 * DAY, 27 * DAY, 2 * DAY, 1080, 240, 120), 30, 3 * DAY),
    "a day and a half": Life(_busy(DAY // 2, 1080, 240, 60, 30, 25, 2, 3), 1, DAY * 3 // 2),
    "overspent": Life([Stretch(DAY, 600, 300, 0, (250, 250, 250))], 30, DAY),
    "hardly any": Life([Stretch(39 * DAY, 0.00001)], 30, 3 * DAY),
    "hardly any for a day": Life([Stretch(DAY, 0.1)], 1, DAY),
    "none": Life([Stretch(39 * DAY, 0)], 30, 3 * DAY),
    "none for a day": Life([Stretch(DAY, 0)], 1, DAY),
}


def over(life: Life, slo: str, minutes: int) -> tuple[float, float]:
    """Bad requests and all in the last minutes of a life."""
    bad = total = 0.0
    for stretch in reversed(life.stretches):
        inside = min(minutes, stretch.minutes)
        minutes -= inside
        bad += inside * stretch.counts(slo)[0]
        total += inside * stretch.counts(slo)[1]
    return bad, total


def value(life: Life, name: str, slo: str) -> float | None:
    """What has to be recorded at the end of a life, or None for nothing."""
    if not slo:
        # However long it is between looks, each is taken for five minutes.
        looks = min(life.minutes, 30 * DAY) // life.every + 1
        return {"slo:targets:count": 1, "slo:coverage_seconds:count30d": looks * 300}[name]
    budget = BUDGETS[slo]
    kind, _, over_what = name.removeprefix("slo:").partition(":")
    length = over_what.removeprefix("rate").removeprefix("increase").removeprefix("ratio")
    bad, total = over(life, slo, MINUTES.get(length, 0))
    if kind == "objective":
        return 1 - budget
    if MINUTES[length] < life.step:
        return None
    if kind in ("bad", "total"):
        return bad if kind == "bad" else total
    if not total:
        return None
    used = bad / total / budget
    return {
        "bad_ratio": bad / total, "budget_consumed": used, "budget_remaining": max(0, 1 - used),
    }[kind]  # fmt: skip


def mutants() -> Iterator[tuple[str, Rule, Rule]]:
    known = {spelled(each) for each in RECORDED}
    for rule in RECORDED:
        for what, changed in changes(rule, known):
            yield f"{' '.join(spelled(rule))}: {what}", rule, changed


_APART = ":numbered"


def _apart(rule: Rule, number: str) -> Rule:
    """A rule with a number whose series no other rule reads."""
    return numbered({**rule, "record": rule["record"] + _APART}, number)


Values = dict[str, dict[tuple[str, str], float]]
"""By the number of a mutant, what it recorded under which name and objective."""


def recorded(place: Path, life: Life, rules: list[Rule]) -> Values:
    """What promtool records at the end of a life by rules that have a number each."""
    groups = [
        {"name": "recorded", "rules": RECORDED},
        {"name": "numbered", "rules": [_apart(r, str(n)) for n, r in enumerate(rules)]},
    ]
    phases = [each.phase() for each in life.stretches]
    given = {**series(phases, life.step), **other_job(life.minutes, life.step)}
    test = unit_test(groups, given, {life.minutes: ()}, life.step)
    test["evaluation_interval"] = f"{life.every}m"
    test["tests"][0]["promql_expr_test"][0]["expr"] = '{__name__=~"slo:.+",mutant!=""}'
    found: Values = {}
    for labels, got in samples(check(place, {"groups": groups}, test)).get(life.minutes, []):
        which = labels["__name__"].removesuffix(_APART), labels.get("slo", "")
        found.setdefault(labels["mutant"], {})[which] = got
    return found


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Values]:
    """For each life what all rules recorded: first those that there are, then all changed ones."""
    place = tmp_path_factory.mktemp("recorded")
    all_rules = [*RECORDED, *(changed for _, _, changed in mutants())]
    return {name: recorded(place, life, all_rules) for name, life in LIVES.items()}


def right(found: Values, number: int, life: Life, rule: Rule) -> bool:
    """Whether just that was recorded that has to be."""
    expected, got = value(life, *spelled(rule)), found.get(str(number), {})
    if expected is None:
        return not got
    return set(got) == {spelled(rule)} and math.isclose(got[spelled(rule)], expected, rel_tol=1e-9)


@pytest.mark.parametrize("name", LIVES)
def test_what_is_recorded_is_what_was_counted(name: str, values: dict[str, Values]) -> None:
    wrong = {
        spelled(rule): values[name].get(str(number))
        for number, rule in enumerate(RECORDED)
        if not right(values[name], number, LIVES[name], rule)
    }
    assert wrong == {}


def test_every_changed_rule_records_something_else(values: dict[str, Values]) -> None:
    survivors = [
        what
        for number, (what, rule, _) in enumerate(mutants(), len(RECORDED))
        if all(right(values[name], number, life, rule) for name, life in LIVES.items())
    ]
    assert survivors == []
