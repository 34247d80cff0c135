"""Lengths of time as Prometheus writes them, and the same shorter for a drill.

A drill runs production's own expressions with every range divided by a factor; nothing else of
them changes. Names of recorded series keep the range they have in production.
"""

from __future__ import annotations

import re

__all__ = ["shrink", "shrunk", "span"]

FLOOR = 5
"""Seconds below which a drill's range does not go: a rate needs two scrapes, and some slack."""

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_RANGE = re.compile(r"(?<=[\[:])([0-9]+)([smhd])(?=[\]:])")


def span(seconds: int) -> str:
    """A length of time in its largest whole unit.

    >>> span(300), span(3600), span(86400 * 30), span(90), span(0)
    ('5m', '1h', '30d', '90s', '0s')
    """
    for unit, size in _UNITS[:-1]:
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def shrunk(seconds: int, scale: int) -> int:
    """A range divided by `scale`, but no shorter than `FLOOR` unless it was.

    >>> shrunk(3600, 60), shrunk(300, 100), shrunk(300, 1)
    (60, 5, 300)
    """
    return seconds if scale == 1 else max(FLOOR, seconds // scale)


def shrink(expression: str, scale: int) -> str:
    """An expression with each of its ranges divided by `scale`.

    >>> shrink("increase(x[1h]) > 3600 and rate(y[30d:5m]) > 1", 60)
    'increase(x[1m]) > 3600 and rate(y[12h:5s]) > 1'
    """
    sizes = dict(_UNITS)

    def shorter(found: re.Match[str]) -> str:
        return span(shrunk(int(found[1]) * sizes[found[2]], scale))

    return _RANGE.sub(shorter, expression)
