"""The charts of the status page, each with the table behind it.

They are over the last hour. A server that is younger than ten minutes shows ten: an hour of which
it was there for one is an empty picture.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from dumbkv_http._history import HOUR, since
from dumbkv_http._html import figure, table
from dumbkv_http._svg import Curve, Tick, chart, linear, logarithmic
from dumbkv_http.slo.objectives import AVAILABILITY, LATENCIES, MEMORY
from dumbkv_http.slo.reading import Reading, highest, quantile, window
from dumbkv_http.slo.standing import seconds, size, span

__all__ = ["Charts"]

_MINUTE = 60.0
_YOUNG = 600.0
_PLACES = 60
_EVERY = 5  # Of the places, those that are rows of the tables.
_QUANTILES = ((0.99, "a", "P99"), (0.95, "b", "P95"), (0.5, "c", "P50"))


class _Place(NamedTuple):
    """What happened in the minute that ends at one place on the charts; None is not known."""

    rate: float | None
    failed: float | None
    quantiles: tuple[float | None, ...]
    resident: float | None


class Charts:
    """The charts over some readings, the last of which is of now.

    `span` is the time they are over, in seconds, and `called` in words.
    """

    def __init__(self, readings: list[Reading]) -> None:
        age = readings[-1].at - readings[0].at
        self.span = HOUR if age > _YOUNG else _YOUNG
        self._whole = window(since(self.span, readings))
        self._places = _places(readings, self.span)
        half = span(self.span / 2)
        self._times = [
            Tick(0.0, f"{span(self.span)} ago"),
            Tick(0.5, f"{half} ago"),
            Tick(1.0, "now"),
        ]
        self.called = "hour" if self.span == HOUR else "ten minutes"
        self._over = f"over the last {self.called}"

    def requests(self) -> str:
        """Requests a second."""
        rates = [each.rate for each in self._places]
        top = highest(rates) or 0.0
        picture = chart(
            "requests",
            f"Requests a second {self._over}",
            f"{self._whole.requests:,} requests, at most {top:.3g} a second in any minute.",
            [Curve("a", rates, filled=True)],
            linear(top, "{:g}".format),
            self._times,
        )
        behind = self._behind(("Requests a second",), lambda each: (_or_none(each.rate, _number),))
        return figure("requests", "Requests a second", [], picture, behind)

    def failures(self) -> str:
        """The share of requests that failed."""
        shares = [None if each.failed is None else each.failed * 100 for each in self._places]
        budget = AVAILABILITY.budget * 100
        scale = linear(max(highest(shares) or 0.0, 2 * budget), lambda value: f"{value:g} %")
        picture = chart(
            "failures",
            f"Failed requests {self._over}, in percent",
            f"{self._whole.failures:,} of {self._whole.requests:,} requests failed; the objective "
            f"is at most {budget:.3g} %.",
            [Curve("d", shares, filled=True)],
            scale,
            self._times,
            [Tick(scale.place(budget), f"objective {budget:.3g} %")],
        )
        behind = self._behind(("Failed",), lambda each: (_or_none(each.failed, _share),))
        return figure("failures", "Failed requests", [], picture, behind)

    def latency(self) -> str:
        """Three quantiles of the durations."""
        scale = logarithmic(0.0001, 10.0, seconds)
        whole = self._whole
        told = ", ".join(
            f"{label} {_or_none(quantile(part, whole.bounds, whole.durations), seconds)}"
            for part, _, label in _QUANTILES
        )
        picture = chart(
            "latency",
            f"Latency {self._over}",
            f"As a whole: {told}. The scale is logarithmic.",
            [
                Curve(kind, [each.quantiles[place] for each in self._places])
                for place, (_, kind, _) in enumerate(_QUANTILES)
            ],
            scale,
            self._times,
            [Tick(scale.place(LATENCIES[0].bound), f"objective of {LATENCIES[0].title}")],
        )
        behind = self._behind(
            tuple(label for _, _, label in _QUANTILES),
            lambda each: tuple(_or_none(value, seconds) for value in each.quantiles),
        )
        keys = [(kind, label) for _, kind, label in _QUANTILES]
        return figure("latency", "Latency", keys, picture, behind)

    def memory(self) -> str:
        """Resident memory."""
        mebibytes = [
            None if each.resident is None else each.resident / 1024**2 for each in self._places
        ]
        limit = MEMORY.limit / 1024**2
        scale = linear(max(highest(mebibytes) or 0.0, limit), lambda value: f"{value:g} MiB")
        picture = chart(
            "memory",
            f"Resident memory {self._over}",
            f"Now {_or_none(self._places[-1].resident, size)}; "
            f"the objective is below {size(MEMORY.limit)}.",
            [Curve("e", mebibytes, filled=True)],
            scale,
            self._times,
            [Tick(scale.place(limit), f"objective {size(MEMORY.limit)}")],
        )
        behind = self._behind(("Resident",), lambda each: (_or_none(each.resident, size),))
        return figure("memory", "Memory", [], picture, behind)

    def _behind(self, columns: tuple[str, ...], cells: Callable[[_Place], tuple[str, ...]]) -> str:
        rows = []
        for index in range(_EVERY, _PLACES + 1, _EVERY):
            ago = (_PLACES - index) * self.span / _PLACES
            rows.append((f"{span(ago)} ago" if ago else "now", *cells(self._places[index])))
        return table("In the minute that ended then", ("When", *columns), rows)


def _places(readings: list[Reading], length: float) -> list[_Place]:
    """The places of a chart, and the one of now; empty where there was no server."""
    times = [each.at for each in readings]
    found = []
    for back in range(_PLACES, -1, -1):
        end = times[-1] - back * length / _PLACES
        last = bisect_right(times, end) - 1
        first = max(0, bisect_right(times, end - _MINUTE) - 1)
        if last < 0:
            found.append(_Place(None, None, (None,) * len(_QUANTILES), None))
            continue
        inside = window((readings[first], readings[last]))
        found.append(
            _Place(
                inside.requests / inside.seconds if inside.seconds > 0 else None,
                inside.failures / inside.requests if inside.requests else None,
                tuple(quantile(part, inside.bounds, inside.durations) for part, _, _ in _QUANTILES),
                readings[last].resident,
            )
        )
    return found


def _number(value: float) -> str:
    return f"{value:.3g}"


def _share(value: float) -> str:
    return f"{value * 100:.3g} %"


def _or_none(value: float | None, shown: Callable[[float], str]) -> str:
    return "none" if value is None else shown(value)
