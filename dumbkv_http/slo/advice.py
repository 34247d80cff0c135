"""What follows from a report: the success criteria, and whether a target is the right one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dumbkv_http.slo.history import Line
from dumbkv_http.slo.objectives import AVAILABILITY, LATENCIES, RATIOS
from dumbkv_http.slo.results import overall
from dumbkv_http.slo.standing import State, percent, seconds

__all__ = ["Criterion", "criteria", "recommendations"]

_MONTHS = 3
_TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999)
# A tighter promise is worth making when half of its budget would have done.
_ROOM = 0.5


@dataclass(frozen=True)
class Criterion:
    """A success criterion, how it stands, and why."""

    title: str
    state: State
    why: str


def criteria(
    months: Sequence[Line | None], unplanned: int, trusted: bool, alerts: int, before: int | None
) -> list[Criterion]:
    """The four of them. `months` are the last three finished ones, None where one is missing."""
    named = ", ".join(
        "no report" if each is None else f"{each.period} {each.states[AVAILABILITY.name]}"
        for each in months
    )
    fast = ", ".join(
        "no report" if each is None else f"{each.period} {each.states[LATENCIES[0].name]}"
        for each in months
    )
    down: State = "missed" if unplanned else "met" if trusted else "unknown"
    noise: State
    if before is None or not trusted:
        noise, told = "unknown", f"alerts that fired: {alerts}; nothing to compare with"
    else:
        # As many as before is no reduction, unless there were none at all.
        noise = "met" if alerts < before or alerts == before == 0 else "missed"
        told = f"alerts that fired: {alerts}; in the period before: {before}"
    return [
        Criterion(
            f"{AVAILABILITY.target * 100:g} % availability for {_MONTHS} consecutive months",
            _all_of(months, AVAILABILITY.name),
            named,
        ),
        Criterion(
            f"P99 latency consistently under {seconds(LATENCIES[0].bound)}",
            _all_of(months, LATENCIES[0].name),
            fast,
        ),
        Criterion("Zero unplanned downtime", down, f"{unplanned} min of unplanned downtime"),
        Criterion("Reduced alert fatigue", noise, told),
    ]


def recommendations(months: Sequence[Line | None]) -> list[str]:
    """Whether to keep the target of each ratio objective; needs three months that are known."""
    lines = [each for each in months if each is not None and _known(each)]
    if len(lines) < _MONTHS:
        known = ", ".join(each.period for each in lines) or "none"
        return [
            f"No target should change: {_MONTHS} months in a row have to be known, "
            f"and of the last {_MONTHS} these are: {known}."
        ]
    found = []
    for objective in RATIOS:
        states = [each.states[objective.name] for each in lines]
        worst = max(each.bad[objective.name] / each.total[objective.name] for each in lines)
        missed = states.count("missed")
        if missed >= 2:
            held = max((target for target in _TARGETS if worst <= 1 - target), default=None)
            level = "none of the usual targets" if held is None else f"{held * 100:g} %"
            found.append(
                f"{objective.title}: missed in {missed} of {_MONTHS} months. Work on what spends "
                f"the budget before anything new; what was held is {level}, and a target nobody "
                "keeps is worth less than that one."
            )
            continue
        tighter = [
            target
            for target in _TARGETS
            if target > objective.target and worst <= (1 - target) * _ROOM
        ]
        if objective is AVAILABILITY and tighter:
            found.append(
                f"{objective.title}: at most {percent(worst / objective.budget)} of the budget "
                f"was used in a month. {tighter[-1] * 100:g} % would have been kept with half of "
                "its budget to spare: tighten it if users would notice, else spend the budget on "
                "changes."
            )
            continue
        bound = _faster(lines, objective.target)
        if objective is not AVAILABILITY and bound is not None and bound < _bound(objective.name):
            found.append(
                f"{objective.title}: {objective.target * 100:g} % of requests within "
                f"{seconds(bound)} would have been kept with half of the budget to spare in every "
                f"month; the bound is {seconds(_bound(objective.name))}."
            )
            continue
        found.append(
            f"{objective.title}: keep the target; {percent(worst / objective.budget)} of the "
            "budget was used in the worst month."
        )
    return found


def _known(line: Line) -> bool:
    return all(line.states[each.name] != "unknown" for each in RATIOS)


def _all_of(months: Sequence[Line | None], name: str) -> State:
    if None in months:
        states: list[State] = ["unknown" if each is None else each.states[name] for each in months]
    else:
        states = [each.states[name] for each in months if each is not None]
    return overall(states)


def _faster(lines: Sequence[Line], target: float) -> float | None:
    """The lowest bound within which all months would have held the target with room."""
    common = set.intersection(*(set(each.within) for each in lines))
    fits = [
        float(bound)
        for bound in common
        if all(1 - each.within[bound] <= (1 - target) * _ROOM for each in lines)
    ]
    return min(fits, default=None)


def _bound(name: str) -> float:
    return next(each.bound for each in LATENCIES if each.name == name)
