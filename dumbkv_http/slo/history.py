"""Finished periods, one a line in a file that outlives Prometheus' retention.

"Three consecutive months" and "more than we promise, for a long time" need more past than most
Prometheus servers keep. A report of a period that is over puts its line there, in the place of an
older line for the same period.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dumbkv_http.slo.periods import month
from dumbkv_http.slo.standing import State

__all__ = ["Line", "in_a_row", "read", "record"]


@dataclass(frozen=True)
class Line:
    """What is kept of a period: by an objective's name its state, bad requests and all."""

    period: str
    coverage: float
    states: dict[str, State]
    bad: dict[str, float]
    total: dict[str, float]
    within: dict[str, float]
    """Share of requests within each bound of the latency histogram, by the bound as text."""
    unplanned_minutes: int
    alerts: int


def read(path: Path) -> list[Line]:
    """The lines of a file in the order of their periods; none if there is no file.

    Raises ValueError for a file that is something else.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for number, each in enumerate(text.splitlines(), 1):
        try:
            lines.append(Line(**json.loads(each)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: expected a period as JSON: {error}") from None
    return sorted(lines, key=lambda each: each.period)


def record(path: Path, line: Line) -> list[Line]:
    """Puts a line into the file, whole or not at all, and gives all of them."""
    lines = [each for each in read(path) if each.period != line.period]
    lines = sorted([*lines, line], key=lambda each: each.period)
    text = "".join(json.dumps(asdict(each), sort_keys=True) + "\n" for each in lines)
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, "utf-8")
    os.replace(beside, path)
    return lines


def in_a_row(lines: Sequence[Line], last: str, count: int = 3) -> list[Line | None]:
    """The lines of `count` months up to `last`, the oldest first; None for one that is missing.

    >>> [each and each.period for each in in_a_row([], "2026-01", 2)]
    [None, None]
    """
    by_period = {each.period: each for each in lines}
    found: list[Line | None] = []
    period = month(last)
    for _ in range(count):
        found.insert(0, by_period.get(period.name))
        period = period.previous
    return found
