"""Rules with one thing changed, in each way there is, and how many of them live through a scenario.

All mutants are put beside each other into one rule file, each with a number as its label, so that
one run of promtool is a scenario for all that are still alive. A mutant that fires just when the
original has to was not found out by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.slo.model import Alert, alert
from tests.slo.promtool import check, unit_test

__all__ = ["Mutants", "Rule", "Told", "changes", "numbered", "samples", "spelled"]

Rule = dict[str, Any]
Told = Mapping[int, Iterable[Alert]]
"""What has to fire at the minutes that are asked for."""

# What has digits in it and is no number comes first.
_NUMBER = re.compile(r'"[^"]*"|\[[^\]]*\]|[a-z_:][\w:]*|([0-9]+(?:\.[0-9]+)?)')
_RANGE = re.compile(r"(?<=\[)([0-9]+)([mhd])(?=\])")
_RECORDED = re.compile(r'(slo:[a-z_]+:(?:rate|increase|ratio|count)?)([0-9]+[mhd])?\{slo="([^"]+)"')
_MATCHER = re.compile(r'(?:handler|status)[=!]~"[^"]*",?')
_BOUND = re.compile(r'(?<=le=")[0-9.]+(?=")')
_MINUTES = {"m": 1, "h": 60, "d": 1440}
_RANGES = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
_BOUNDS = ("0.02", "0.05", "0.1", "0.125")
_SLOS = ("availability", "latency-p99", "latency-p95", "latency-p50")


class _Mutant(NamedTuple):
    """A changed rule of an alert; `named` says that it is what it is called that was changed."""

    which: Alert
    named: bool
    rule: Rule


def changes(rule: Rule, recorded: set[tuple[str, str]]) -> Iterator[tuple[str, Rule]]:
    """What was changed, in words, and the rule with it.

    `recorded` are names and objectives of the series that another rule could have read.
    """
    expression: str = rule["expr"]
    for what, changed in _expressions(expression, recorded):
        if changed != expression:
            yield what, {**rule, "expr": changed}
    if "for" in rule:
        minutes = int(rule["for"][:-1]) * _MINUTES.get(rule["for"][-1], 0)
        # By a sample of the lives that tell it.
        step = 1 if minutes <= 15 and rule["alert"] != "ErrorBudgetLevel" else 5
        for wait in {max(0, minutes - step), minutes + step} - {minutes}:
            yield f"for {rule['for']} becomes {wait}m", {**rule, "for": f"{wait}m"}
        yield "another name", {**rule, "alert": "Other"}
    for name, value in rule.get("labels", {}).items():
        yield f"{name} is no {value}", {**rule, "labels": {**rule["labels"], name: "other"}}


def _expressions(expression: str, recorded: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    def instead(found: re.Match[str], new: str, group: int = 0) -> tuple[str, str]:
        begin, end = found.span(group)
        around = f"...{expression[max(0, begin - 20) : begin]}"
        changed = expression[:begin] + new + expression[end:]
        return f"{around}{found[group]} becomes {new or 'nothing'}".replace("\n", " "), changed

    for found in _NUMBER.finditer(expression):
        if found[1]:
            number = float(found[1])
            step = number * 0.1 if 0 < number < 1 else max(1.0, number // 10)
            for changed in (number - step, number + step):
                yield instead(found, f"{changed:.12g}", 1)
    # A line through some points is as good as never at a limit.
    for found in re.finditer(r"(?<!86400\) )>=|>(?!=)|==", expression):
        yield instead(found, {">": ">=", ">=": ">", "==": "!="}[found[0]])
    for found in _RANGE.finditer(expression):
        minutes = int(found[1]) * _MINUTES[found[2]]
        for other_range in (minutes * 4 // 5, minutes * 6 // 5):
            yield instead(found, f"{other_range}m")
    for found in _RECORDED.finditer(expression):
        if found[2]:
            place = _RANGES.index(found[2])
            near = [r for r in _RANGES[:place] if (found[1] + r, found[3]) in recorded][-1:]
            near += [r for r in _RANGES[place + 1 :] if (found[1] + r, found[3]) in recorded][:1]
            for other in near:
                yield instead(found, other, 2)
        for slo in _SLOS:
            if slo != found[3] and (found[1] + (found[2] or ""), slo) in recorded:
                yield instead(found, slo, 3)
    for found in _MATCHER.finditer(expression):
        yield instead(found, "")
    for found in _BOUND.finditer(expression):
        place = _BOUNDS.index(found[0])
        for bound in (*_BOUNDS[max(0, place - 1) : place], *_BOUNDS[place + 1 : place + 2]):
            yield instead(found, bound)
    # Of one selector it would do nothing where it is matched with another one.
    yield "every job's", expression.replace('job="dumbkv",', "").replace('job="dumbkv"', "")
    parts = _conditions(expression)
    for place, part in enumerate(parts):
        left = parts[:place] + parts[place + 1 :]
        if left:
            left[0] = re.sub(r"^on \([^)]*\) ", "", left[0])
            yield f"without {part}", "\nand ".join(left)


def _conditions(expression: str) -> list[str]:
    """What is joined with `and` at the top."""
    parts: list[str] = []
    for part in re.split(r"\sand\s", expression):
        if parts and parts[-1].count("(") != parts[-1].count(")"):
            parts[-1] += f" and {part}"
        else:
            parts.append(part)
    return parts


class Mutants:
    """The mutants of some alerts, beside the alerts as they are.

    `recorded` are the rules whose series they read; where those are `given`, nothing records them.
    """

    def __init__(self, alerts: list[Rule], recorded: list[Rule], *, given: bool = False) -> None:
        known = {spelled(each) for each in recorded}
        self._recorded = [] if given else recorded
        self._originals = alerts
        self.names: dict[str, str] = {}
        self._alive: dict[str, _Mutant] = {}
        for original in alerts:
            which = _named(original)
            for what, changed in changes(original, known):
                number = str(len(self.names))
                self.names[number] = f"{' '.join(dict(which).values())}: {what}"
                named = _named(changed) != which
                if not named:
                    # A label costs promtool more than an expression does.
                    changed = {**changed, "labels": {}}
                self._alive[number] = _Mutant(which, named, changed)

    def survivors(self) -> list[str]:
        """Those that no scenario has told so far."""
        return [self.names[number] for number in self._alive]

    def live(
        self,
        folder: Path,
        given: Mapping[str, str],
        told: Told,
        step: int = 1,
        *,
        pending: bool = False,
    ) -> None:
        """Lets all live through a scenario, and strikes out those that are told by it.

        The alerts as they are live beside them, and have to fire just as they are told to; with
        `pending` it is enough that they are about to.
        """
        written = [numbered(each, f"as it is {n}") for n, each in enumerate(self._originals)]
        written += [numbered(each.rule, number) for number, each in self._alive.items()]
        groups = [
            {"name": "recorded", "rules": self._needed(written)},
            {"name": "mutants", "rules": written},
        ]
        test = unit_test(groups, given, dict.fromkeys(sorted(told), ()), step)
        for asked in test["tests"][0]["promql_expr_test"]:
            asked["expr"] = asked["expr"].replace("(alertname,", "(mutant, alertname,")
            if pending:
                asked["expr"] = asked["expr"].replace('{alertstate="firing"}', "")
        fired: dict[int, dict[str, set[Alert]]] = {minute: {} for minute in told}
        for minute, found in samples(check(folder, {"groups": groups}, test)).items():
            for labels, _ in found:
                mutant = labels.pop("mutant")
                fired[minute].setdefault(mutant, set()).add(tuple(sorted(labels.items())))
        for minute, alerts in told.items():
            for place, original in enumerate(self._originals):
                got = fired[minute].get(f"as it is {place}", set())
                assert got == {_named(original)} & set(alerts), minute
            for number, each in list(self._alive.items()):
                got, expected = fired[minute].get(number, set()), {each.which} & set(alerts)
                if got != expected if each.named else bool(got) != bool(expected):
                    del self._alive[number]

    def _needed(self, rules: list[Rule]) -> list[Rule]:
        """What is recorded and read by some of the rules."""
        text = " ".join(each["expr"] for each in rules)
        needed: list[Rule] = []
        for each in reversed(self._recorded):  # Whoever reads another one comes after it.
            name, slo = spelled(each)
            if (f'{name}{{slo="{slo}"' if slo else name) in text:
                needed.insert(0, each)
                text += each["expr"]
        return needed


def spelled(recorded: Rule) -> tuple[str, str]:
    """The name of a recorded series and its objective."""
    return recorded["record"], recorded.get("labels", {}).get("slo", "")


def _named(rule: Rule) -> Alert:
    return alert(rule["alert"], **rule["labels"])


def numbered(rule: Rule, number: str) -> Rule:
    """A rule with a number as its label, by which it can stand beside others of its name."""
    return {**rule, "labels": {**rule.get("labels", {}), "mutant": number}}


def samples(said: str) -> dict[int, list[tuple[dict[str, str], float]]]:
    """What promtool got, by the minute, from its complaints that it is not what was expected."""
    found: dict[int, list[tuple[dict[str, str], float]]] = {}
    for complaint in said.split("expr: ")[1:]:
        time = re.search(r"time: (\w+),", complaint)
        assert time is not None, complaint
        found[_minutes(time[1])] = [
            (dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value))
            for labels, value in re.findall(
                r"\{([^{}]*)\} (\S+?)(?:,|\s|$)", complaint[complaint.index("got:") :]
            )
        ]
    return found


def _minutes(text: str) -> int:
    """
    >>> _minutes("1h30m"), _minutes("6w"), _minutes("1d")
    (90, 60480, 1440)
    """
    units = {"s": 0, **_MINUTES, "w": 7 * 1440, "y": 365 * 1440}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([a-z])", text))
