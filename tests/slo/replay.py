"""The rules over months that are past: what they would have said, minute by minute.

Prometheus does not evaluate rules backwards, but answers queries on any time. So what is recorded
is put into the alerts' expressions in place of its names, and how long an alert has to wait is
counted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dumbkv_http.slo.prometheus import Prometheus
from tests.slo.model import Alert, alert

__all__ = ["Firing", "Replayed", "firing", "replayed"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"([0-9]+)([smhd])")


class Replayed(NamedTuple):
    """An alert whose expression reads nothing that is recorded; `wait` is in seconds."""

    which: Alert
    expression: str
    wait: int

    @property
    def stride(self) -> int:
        """Seconds between looks that miss nothing: what matters stays in each range for as long as
        the range is, and an alert that fires was true for as long as it has to wait."""
        ranges = [_seconds(each) for each in re.findall(r"\[([0-9]+[mhd])\]", self.expression)]
        return max(60, self.wait, min([6 * 3600, *ranges]) if ranges else 0)

    def true(self, prometheus: Prometheus, begin: int, end: int, step: int) -> Iterator[int]:
        """The times, every `step` seconds, at which the expression gives something."""
        found = prometheus.series(self.expression, begin, end, step)
        for place in range((end - begin) // step + 1):
            if any(values[place] is not None for values in found.values()):
                yield begin + place * step


class Firing(NamedTuple):
    """An alert fired from one time to another, the last at which it still did."""

    which: Alert
    begin: int
    end: int


def firing(replayed: Replayed, true: Iterable[int], step: int) -> Iterator[Firing]:
    """When an alert fires that is true at these times and at none between them."""
    since = last = begin = None
    for now in true:
        if last is None or now - last > step:
            if begin is not None and last is not None:
                yield Firing(replayed.which, begin, last)
            since, begin = now, None
        if begin is None and since is not None and now - since >= replayed.wait:
            begin = now
        last = now
    if begin is not None and last is not None:
        yield Firing(replayed.which, begin, last)


def replayed(groups: list[dict[str, Any]]) -> list[Replayed]:
    """All alerts there are, with what is recorded put in place of its names."""
    rules = [each for group in groups for each in group["rules"]]
    recorded = {
        (each["record"], each["labels"]["slo"]): each["expr"]
        for each in rules
        if "record" in each and "labels" in each
    }
    (seen,) = (each["expr"] for each in rules if each.get("record") == "slo:targets:count")
    (coverage,) = (e["expr"] for e in rules if e.get("record") == "slo:coverage_seconds:count30d")
    # The group that records it is evaluated every five minutes.
    coverage = coverage.replace("slo:targets:count[30d]", f"({seen})[30d:5m]")

    def spelled_out(expression: str) -> str:
        expression = expression.replace("slo:coverage_seconds:count30d", f"({coverage})")
        return re.sub(
            r'(slo:[a-z_]+:[a-z0-9]+)\{slo="([^"]+)"\}',
            lambda found: f"({spelled_out(recorded[found[1], found[2]])})",
            expression,
        )

    return [
        Replayed(
            alert(each["alert"], **each["labels"]), spelled_out(each["expr"]), _seconds(each["for"])
        )
        for each in rules
        if "alert" in each
    ]


def _seconds(text: str) -> int:
    found = _SPAN.fullmatch(text)
    assert found is not None, text
    return int(found[1]) * _UNITS[found[2]]
