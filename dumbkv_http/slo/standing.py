"""How each objective stands over a window of a server's own counters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

from dumbkv_http.slo.objectives import (
    AVAILABILITY,
    COLLECTIONS,
    DESCRIPTORS,
    LATENCIES,
    MEMORY,
    UNCOLLECTABLE,
    Latency,
    Threshold,
)
from dumbkv_http.slo.reading import Window, quantile, share_within

__all__ = ["Standing", "State", "percent", "seconds", "size", "span", "standings"]

_FIVE_MINUTES = 300.0

State = Literal["met", "missed", "unknown"]


class Standing(NamedTuple):
    """An objective, its target and what was found, in words a reader needs no key for.

    `detail` says more than fits in a cell of a table. "unknown" is for no requests, or for what
    this system does not tell; it is never the same as "met".
    """

    title: str
    target: str
    state: State
    value: str
    detail: str


def standings(window: Window) -> list[Standing]:
    """One for each objective, in their order."""
    # The objective is for a rate over five minutes; a process that has just begun and imported its
    # modules has not been at it for so long.
    rate = window.collections / max(window.seconds, _FIVE_MINUTES)
    return [
        _availability(window),
        *(_latency(window, each) for each in LATENCIES),
        _threshold(
            MEMORY,
            f"below {size(MEMORY.limit)}",
            window.resident,
            size,
            f"{window.resident or 0:,.0f} bytes",
        ),
        _threshold(
            DESCRIPTORS,
            f"below {DESCRIPTORS.limit * 100:g} %",
            window.descriptors,
            lambda share: f"{share * 100:.1f} %",
            "of those allowed",
        ),
        _threshold(
            UNCOLLECTABLE, "none", window.uncollectable, "{:g}".format, "since the span began"
        ),
        _threshold(
            COLLECTIONS,
            f"below {COLLECTIONS.limit:g} a second",
            rate,
            lambda rate: f"{rate:.1f} /s",
            f"{window.collections:,} in {window.seconds:,.0f} s",
        ),
    ]


def percent(share: float, digits: int = 2) -> str:
    """A share in percent, never rounded up to a whole it is not.

    >>> percent(1.0), percent(0.99996), percent(0.98765)
    ('100 %', '99.99 %', '98.76 %')
    """
    if share == 1.0:
        return "100 %"
    unit = 10**digits
    return f"{int(share * 100 * unit + 1e-9) / unit:.{digits}f} %"


def seconds(value: float) -> str:
    """A duration with the unit that suits it.

    >>> seconds(0.00042), seconds(0.0421), seconds(0.25), seconds(2.5)
    ('0.42 ms', '42.1 ms', '250 ms', '2.5 s')
    """
    if value >= 1:
        return f"{value:.3g} s"
    milliseconds = value * 1000
    return f"{milliseconds:.2g} ms" if milliseconds < 1 else f"{milliseconds:.3g} ms"


def size(value: float) -> str:
    """Bytes in binary units.

    >>> size(0), size(2048), size(471859200)
    ('0 B', '2 KiB', '450 MiB')
    """
    for unit in ("B", "KiB", "MiB"):
        if abs(value) < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


def span(length: float) -> str:
    """A length of time in the one or two units that suit it.

    >>> span(42), span(302), span(3600), span(200000)
    ('42 s', '5 min 2 s', '1 h', '2 d 7 h')
    """
    whole = round(length)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, unit), (lower, part) in pairwise(units):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def _availability(window: Window) -> Standing:
    target = f"at least {AVAILABILITY.target * 100:g} % of requests"
    if not window.requests:
        return Standing(AVAILABILITY.title, target, "unknown", "no requests", "no requests yet")
    good = 1 - window.failures / window.requests
    return Standing(
        AVAILABILITY.title,
        target,
        "met" if good >= AVAILABILITY.target else "missed",
        percent(good),
        f"{window.failures:,} of {window.requests:,} requests failed",
    )


def _latency(window: Window, objective: Latency) -> Standing:
    title, bound = objective.title, objective.bound
    target = f"{objective.target * 100:g} % within {seconds(bound)}"
    share = share_within(bound, window)
    value = quantile(objective.target, window.bounds, window.durations)
    if share is None or value is None:
        return Standing(title, target, "unknown", "no requests", "no requests yet")
    shown = seconds(value)
    if value == window.bounds[-1]:
        shown = f"over {shown}"
    return Standing(
        title,
        target,
        "met" if share >= objective.target else "missed",
        shown,
        f"{percent(share)} of {sum(window.durations):,} within {seconds(bound)}",
    )


def _threshold(
    objective: Threshold,
    target: str,
    value: float | None,
    shown: Callable[[float], str],
    detail: str,
) -> Standing:
    if value is None:
        return Standing(objective.title, target, "unknown", "not known", "nothing tells it here")
    bad = value >= objective.limit if objective.inclusive else value > objective.limit
    return Standing(objective.title, target, "missed" if bad else "met", shown(value), detail)
