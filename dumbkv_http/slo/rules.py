"""Recording and alerting rules for Prometheus, from the objectives.

A budget's alerts need its ratio over seven ranges; each is recorded once, as a ratio of sums: an
average of ratios gives a quiet minute the weight of a busy one. A denominator of 0 gives no sample
instead of NaN, which would stick to every sum it got into.

`scale` divides all ranges and waits, for a drill.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import chain
from typing import Any

from dumbkv_http.slo import published
from dumbkv_http.slo.faults import FAULTS
from dumbkv_http.slo.objectives import (
    AVAILABILITY,
    GUARDS,
    JOB,
    LATENCIES,
    LEVELS,
    MINUTE,
    PERIOD,
    RATIOS,
    THRESHOLDS,
    Availability,
    Burn,
    Guards,
    Latency,
    Level,
)
from dumbkv_http.slo.spans import shrink, span

__all__ = ["escalating", "rules", "runbook", "verbatim"]

Rule = dict[str, Any]
_Ratio = Availability | Latency

_SLO = '{{slo="{}"}}'
_STEP = 5 * MINUTE


def rules(
    scale: int = 1,
    guards: Guards = GUARDS,
    ratios: tuple[_Ratio, ...] = RATIOS,
) -> dict[str, Any]:
    """The content of a rule file: groups of recording rules, then of alerts."""
    soon, later = max(1, 30 // scale), max(1, _STEP // scale)
    groups = [
        _group("slo-ratios", soon, list(chain.from_iterable(map(_recorded, ratios)))),
        _group("slo-budgets", later, [*_coverage(), *chain.from_iterable(map(_budget, ratios))]),
        _group("slo-burns", soon, [_burn(each, b, guards) for each in ratios for b in each.burns]),
        _group("slo-now", soon, [_error_rate(guards), _critical_latency(guards)]),
        _group(
            "slo-policy",
            soon,
            [_level(each, level, guards) for each in escalating(ratios) for level in LEVELS],
        ),
        _group("slo-process", soon, list(_thresholds())),
        _group("slo-faults", soon, list(_faults())),
    ]
    return {"groups": [_shrink_group(group, scale) for group in groups]}


def verbatim() -> str:
    """The rule file with the document's own alerts."""
    return "groups:\n- name: document\n  rules:\n" + textwrap.indent(published.ALERTS, "  ")


def runbook(alert: str) -> str:
    """Where the documentation says what to do about an alert.

    >>> runbook("DumbKVDown")
    'docs/objectives.md#dumbkvdown'
    """
    return f"docs/objectives.md#{alert.lower()}"


def escalating(ratios: tuple[_Ratio, ...] = RATIOS) -> tuple[_Ratio, ...]:
    """The objectives whose budgets have a policy: those worth waking someone for."""
    return tuple(each for each in ratios if any(b.severity == "page" for b in each.burns))


def _recorded(ratio: _Ratio) -> Iterator[Rule]:
    """What the alerts of one objective read, over each range they read it over."""
    windows = {5 * MINUTE, *(w for burn in ratio.burns for w in (burn.long, burn.short))}
    for window in sorted(windows):
        text = span(window)
        bad, total = ratio.bad_rate(text), ratio.total_rate(text)
        yield _record(f"slo:bad_ratio:rate{text}", f"({bad}) / ({total} > 0)", ratio.name)
    for window in sorted({5 * MINUTE, *(burn.long for burn in ratio.burns)}):
        text = span(window)
        bad = ratio.bad_rate(text, function="increase")
        yield _record(f"slo:bad:increase{text}", bad, ratio.name)


def _coverage() -> Iterator[Rule]:
    """For how many seconds of the period there was something to see: the group's own samples."""
    yield {"record": "slo:targets:count", "expr": f'count(up{{job="{JOB}"}})'}
    seen = f"count_over_time(slo:targets:count[{span(PERIOD)}]) * {_STEP}"
    yield {"record": "slo:coverage_seconds:count30d", "expr": seen}


def _budget(ratio: _Ratio) -> Iterator[Rule]:
    period = span(PERIOD)
    total = ratio.total_rate(period, function="increase")
    bad = ratio.bad_rate(period, function="increase")
    own = _SLO.format(ratio.name)
    consumed = f"slo:bad:increase30d{own} / (slo:total:increase30d{own} * {ratio.budget} > 0)"
    yield _record("slo:objective:ratio", f"vector({ratio.target})", ratio.name)
    yield _record("slo:total:increase30d", total, ratio.name)
    yield _record("slo:bad:increase30d", bad, ratio.name)
    yield _record("slo:budget_consumed:ratio30d", consumed, ratio.name)
    # Clamped, as the document has it; how far a budget is overspent is in the series above.
    left = f"clamp_min(1 - slo:budget_consumed:ratio30d{own}, 0)"
    yield _record("slo:budget_remaining:ratio30d", left, ratio.name)


def _burn(ratio: _Ratio, burn: Burn, guards: Guards) -> Rule:
    own = _SLO.format(ratio.name)
    long, short = span(burn.long), span(burn.short)
    limit = round(burn.factor * ratio.budget, 9)
    return _alert(
        "HighErrorBudgetBurn",
        f"slo:bad_ratio:rate{long}{own} > {limit}\n"
        f"and slo:bad_ratio:rate{short}{own} > {limit}\n"
        f"and slo:bad:increase{long}{own} >= {guards.bad}",
        burn.wait,
        {"severity": burn.severity, "slo": ratio.name, "window": long},
        f"{ratio.title}: {{{{ $value | humanizePercentage }}}} of the requests of {long} were bad; "
        f"the budget is {ratio.budget * 100:g} %",
        ratio.action,
    )


def _error_rate(guards: Guards) -> Rule:
    own = _SLO.format(AVAILABILITY.name)
    return _alert(
        "HighErrorRate",
        f"slo:bad_ratio:rate5m{own} > {AVAILABILITY.budget}\n"
        f"and slo:bad:increase5m{own} >= {guards.bad}",
        5 * MINUTE,
        {"severity": "ticket", "slo": AVAILABILITY.name},
        "{{ $value | humanizePercentage }} of the requests of five minutes were answered with a "
        "5xx",
        AVAILABILITY.action,
    )


def _critical_latency(guards: Guards) -> Rule:
    latency = LATENCIES[0]
    return _alert(
        "CriticalLatencySLO",
        f"{latency.quantile('5m')} > {latency.bound}\n"
        f"and on () slo:bad:increase5m{_SLO.format(latency.name)} >= {guards.bad}",
        5 * MINUTE,
        {"severity": "page", "slo": latency.name},
        f"One request in a hundred takes longer than {{{{ $value | humanizeDuration }}}}, "
        f"more than {latency.bound * 1000:.0f} ms",
        latency.action,
    )


def _level(ratio: _Ratio, level: Level, guards: Guards) -> Rule:
    own = _SLO.format(ratio.name)
    expression = f"slo:budget_consumed:ratio30d{own}"
    if level.above:
        # The first row has no condition: it also tells that alerts arrive at all.
        expression += (
            f" {'>=' if level.inclusive else '>'} {level.above}\n"
            f"and slo:total:increase30d{own} >= {guards.requests}\n"
            f"and on () slo:coverage_seconds:count30d >= {guards.coverage}"
        )
    return _alert(
        "ErrorBudgetLevel",
        expression,
        5 * MINUTE,
        {"severity": "policy", "slo": ratio.name, "budget_level": str(level.number)},
        f"{ratio.title}: {{{{ $value | humanizePercentage }}}} of the error budget of 30 days "
        "is used",
        f"{level.action}.",
    )


def _thresholds() -> Iterator[Rule]:
    for each in THRESHOLDS:
        yield _alert(
            each.alert,
            each.violated(),
            each.wait,
            {"severity": each.severity},
            f"{each.title} of {{{{ $labels.instance }}}}: {{{{ $value }}}} {each.unit}, "
            f"the limit is {each.limit}",
            each.action,
        )


def _faults() -> Iterator[Rule]:
    for each in FAULTS:
        condition = each.condition.replace("$job", JOB)
        yield _alert(
            each.alert,
            condition,
            each.wait,
            {"severity": each.severity},
            each.summary,
            each.action,
        )


def _group(name: str, interval: int, content: list[Rule]) -> dict[str, Any]:
    return {"name": name, "interval": f"{interval}s", "rules": content}


def _record(name: str, expression: str, slo: str) -> Rule:
    return {"record": name, "expr": expression, "labels": {"slo": slo}}


def _alert(
    name: str, expression: str, wait: int, labels: dict[str, str], summary: str, action: str
) -> Rule:
    return {
        "alert": name,
        "expr": expression,
        "for": wait,
        "labels": labels,
        "annotations": {"summary": summary, "description": action, "runbook": runbook(name)},
    }


def _shrink_group(group: dict[str, Any], scale: int) -> dict[str, Any]:
    for rule in group["rules"]:
        rule["expr"] = shrink(rule["expr"], scale)
        if "for" in rule:
            wait = rule["for"]
            rule["for"] = span(max(1, wait // scale) if wait else 0)
    return group
