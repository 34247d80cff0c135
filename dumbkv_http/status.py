"""The page at `/`: what this server is, and how its objectives stand, for a person to look at.

It is made from the counters there are and the hour of them in `_history.py`, and says nothing of
keys or values. It loads nothing, works without JavaScript, and with it is brought up to date in
place. Making it takes about as long as a scrape, so one page serves a whole second's readers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from html import escape
from typing import NamedTuple

import dumbkv
from dumbkv import ClosedError, Store
from dumbkv_http._history import HOUR, History, since
from dumbkv_http._html import MARKS, document, figure, script, source_hash, style, table
from dumbkv_http._svg import Curve, Tick, chart, linear, logarithmic
from dumbkv_http.metrics import HttpMetrics
from dumbkv_http.response import Response, field_line
from dumbkv_http.slo.objectives import AVAILABILITY, LATENCIES, MEMORY
from dumbkv_http.slo.reading import Reading, Window, highest, quantile, window
from dumbkv_http.slo.standing import Standing, percent, seconds, size, standings

__all__ = ["StatusPage"]

NOW = 300.0
"""The seconds that "now" is told over, as in the objectives' queries."""
_MINUTE = 60.0
_ROWS = 12  # of the tables behind the charts: one for each five minutes

_QUANTILES = ((0.99, "a", "P99"), (0.95, "b", "P95"), (0.5, "c", "P50"))
_TIMES = [Tick(0.0, "1 h ago"), Tick(0.5, "30 min ago"), Tick(1.0, "now")]


class _Minute(NamedTuple):
    """One place on the charts: what happened in the minute that ends there."""

    rate: float | None
    failed: float | None
    quantiles: tuple[float | None, ...]
    resident: float | None


class StatusPage:
    """Answers GET `/` for one store and its metrics. `history` has to be ticked by the server."""

    def __init__(self, store: Store, metrics: HttpMetrics) -> None:
        self.history = History(metrics)
        self._store = store
        self._metrics = metrics
        self._made = -1.0
        self._page = b""
        policy = (
            f"default-src 'none'; style-src {source_hash(style())}; "
            f"script-src {source_hash(script())}; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._lines = (
            field_line("Content-Type", "text/html; charset=utf-8")
            + field_line("Content-Security-Policy", policy)
            + field_line("X-Content-Type-Options", "nosniff")
            + field_line("Referrer-Policy", "no-referrer")
            + field_line("Cache-Control", "no-store")
        )

    def answer(self, draining: bool) -> Response:
        """The page as it is now, or was less than a second ago."""
        now = self.history.clock()
        if not self._made <= now < self._made + 1:
            self._page = self._render(draining).encode()
            self._made = now
        return Response(200, self._lines, self._page)

    def _render(self, draining: bool) -> str:
        readings = self.history.readings()
        windows = (
            window(since(NOW, readings)),
            window(since(HOUR, readings)),
            self.history.since_start(readings[-1]),
        )
        columns = [standings(each) for each in windows]
        verdict, state = _verdict(columns[0])
        if draining or self._store.closed:
            verdict, state = "Shutting down" if draining else "The store is closed", "missed"
        mark = MARKS[state]
        body = "\n".join(
            (
                '<a class="skip" href="#objectives">To the objectives</a>',
                "<main>",
                "<header><div><h1>DumbKV</h1>"
                f'<span class="soft">an in-memory key-value store, version '
                f"{escape(dumbkv.__version__)}, back end: {escape(self._store.backend)}, up "
                f"{_span(windows[2].seconds)}</span></div>",
                f'<p id="verdict" class="verdict {state}"><span aria-hidden="true">{mark}</span> '
                f"{verdict}</p></header>",
                self._tiles(windows[0], windows[1]),
                '<h2 id="objectives">Service level objectives</h2>',
                _objectives(columns, windows),
                "<h2>The last hour</h2>",
                '<div class="charts">',
                *_charts(readings, windows[1]),
                "</div>",
                "</main>",
                "<footer>",
                "<p>Counted by the server itself since it started: what it cannot see is its own "
                "absence. History is in memory and gone when the process ends; answers to scrapes, "
                "probes and this page are left out of the objectives.</p>",
                '<nav aria-label="Elsewhere on this server"><ul>'
                '<li><a href="/metrics">Metrics</a></li>'
                '<li><a href="/healthz">Health</a></li><li><a href="/readyz">Readiness</a></li>'
                '<li><a href="/">Reload this page</a></li>'
                '<li><button id="live" type="button" hidden>Pause updates</button></li>'
                "</ul></nav>",
                "</footer>",
                f'<script type="module">{script()}</script>',
            )
        )
        return document(f"{mark} DumbKV: {verdict.lower()}", body)

    def _tiles(self, now: Window, hour: Window) -> str:
        rate = now.requests / now.seconds if now.seconds > 0 else 0.0
        p99 = quantile(0.99, now.bounds, now.durations)
        tiles = [
            ("Requests a second", f"{rate:.3g}", f"{hour.requests:,} in the last hour"),
            (
                "Answered without fault",
                percent(1 - hour.failures / hour.requests) if hour.requests else "no requests",
                "in the last hour",
            ),
            ("P99 latency", "no requests" if p99 is None else seconds(p99), "in the last 5 min"),
            (
                "Connections",
                f"{self._metrics.connections():,}",
                f"{self._metrics.in_flight():,} at work",
            ),
        ]
        try:
            stats = self._store.stats()
        except ClosedError:
            tiles.append(("Keys", "none", "the store is closed"))
        else:
            tiles.append(("Keys", f"{stats.entries:,}", f"{size(stats.memory_bytes)} in use"))
        cells = "".join(
            f'<div><dd class="note">{escape(note)}</dd><dd>{escape(value)}</dd>'
            f"<dt>{escape(label)}</dt></div>"
            for label, value, note in tiles
        )
        return f'<dl class="tiles">{cells}</dl>'


def _verdict(now: list[Standing]) -> tuple[str, str]:
    missed = [each.title for each in now if each.state == "missed"]
    if missed:
        what = "1 objective" if len(missed) == 1 else f"{len(missed)} objectives"
        return f"{what} missed now", "missed"
    if any(each.state == "unknown" for each in now):
        return "None is missed; too few requests to tell of all", "unknown"
    return "All objectives are met now", "met"


def _objectives(columns: list[list[Standing]], windows: tuple[Window, Window, Window]) -> str:
    names = ("Last 5 minutes", "Last hour", "Since start")
    head = "".join(
        f'<th scope="col">{name}<small>{_span(each.seconds)}</small></th>'
        for name, each in zip(names, windows, strict=True)
    )
    rows = []
    for standing in zip(*columns, strict=True):
        cells = "".join(
            f'<td class="{each.state}"><span class="mark" aria-hidden="true">'
            f'{MARKS[each.state]}</span><span class="vh">{each.state}: </span>'
            f"{escape(each.value)}<small>{escape(each.detail)}</small></td>"
            for each in standing
        )
        first = standing[0]
        rows.append(
            f'<tr><th scope="row">{escape(first.title)}<small>{escape(first.target)}</small></th>'
            f"{cells}</tr>"
        )
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Objectives">'
        '<table class="standing"><caption>Each objective with its target, over three spans of '
        f'time</caption><thead><tr><th scope="col">Objective</th>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _charts(readings: list[Reading], hour: Window) -> list[str]:
    minutes = _minutes(readings)
    return [
        _requests(minutes, hour),
        _failures(minutes, hour),
        _latency(minutes, hour),
        _memory(minutes),
    ]


def _requests(minutes: list[_Minute], hour: Window) -> str:
    rates = [each.rate for each in minutes]
    top = highest(rates) or 0.0
    picture = chart(
        "requests",
        "Requests a second over the last hour",
        f"{hour.requests:,} requests, at most {top:.3g} a second in any minute.",
        [Curve("a", rates, filled=True)],
        linear(top, "{:g}".format),
        _TIMES,
    )
    behind = _behind(minutes, ("Requests a second",), lambda each: (_or_none(each.rate, _number),))
    return figure("requests", "Requests a second", [], picture, behind)


def _failures(minutes: list[_Minute], hour: Window) -> str:
    shares = [None if each.failed is None else each.failed * 100 for each in minutes]
    budget = AVAILABILITY.budget * 100
    scale = linear(max(highest(shares) or 0.0, 2 * budget), lambda value: f"{value:g} %")
    picture = chart(
        "failures",
        "Failed requests over the last hour, in percent",
        f"{hour.failures:,} of {hour.requests:,} requests failed; the objective is at most "
        f"{budget:.3g} %.",
        [Curve("d", shares, filled=True)],
        scale,
        _TIMES,
        [Tick(scale.place(budget), f"objective {budget:.3g} %")],
    )
    behind = _behind(minutes, ("Failed",), lambda each: (_or_none(each.failed, _share),))
    return figure("failures", "Failed requests", [], picture, behind)


def _latency(minutes: list[_Minute], hour: Window) -> str:
    scale = logarithmic(0.0001, 10.0, seconds)
    told = ", ".join(
        f"{label} {_or_none(quantile(part, hour.bounds, hour.durations), seconds)}"
        for part, _, label in _QUANTILES
    )
    picture = chart(
        "latency",
        "Latency over the last hour",
        f"Over the hour: {told}. The scale is logarithmic.",
        [
            Curve(kind, [each.quantiles[place] for each in minutes])
            for place, (_, kind, _) in enumerate(_QUANTILES)
        ],
        scale,
        _TIMES,
        [Tick(scale.place(LATENCIES[0].bound), f"objective of {LATENCIES[0].title}")],
    )
    behind = _behind(
        minutes,
        tuple(label for _, _, label in _QUANTILES),
        lambda each: tuple(_or_none(value, seconds) for value in each.quantiles),
    )
    keys = [(kind, label) for _, kind, label in _QUANTILES]
    return figure("latency", "Latency", keys, picture, behind)


def _memory(minutes: list[_Minute]) -> str:
    mebibytes = [None if each.resident is None else each.resident / 1024**2 for each in minutes]
    limit = MEMORY.limit / 1024**2
    scale = linear(max(highest(mebibytes) or 0.0, limit), lambda value: f"{value:g} MiB")
    picture = chart(
        "memory",
        "Resident memory over the last hour",
        f"Now {_or_none(minutes[-1].resident, size)}; the objective is below {size(MEMORY.limit)}.",
        [Curve("e", mebibytes, filled=True)],
        scale,
        _TIMES,
        [Tick(scale.place(limit), f"objective {size(MEMORY.limit)}")],
    )
    behind = _behind(minutes, ("Resident",), lambda each: (_or_none(each.resident, size),))
    return figure("memory", "Memory", [], picture, behind)


def _behind(
    minutes: list[_Minute],
    columns: tuple[str, ...],
    cells: Callable[[_Minute], tuple[str, ...]],
) -> str:
    """The table behind a chart: each fifth minute."""
    every = len(minutes) // _ROWS
    rows = []
    for index in range(every, len(minutes), every):
        ago = len(minutes) - 1 - index
        rows.append((f"{ago} min ago" if ago else "now", *cells(minutes[index])))
    return table("In the minute that ended then", ("When", *columns), rows)


def _minutes(readings: list[Reading]) -> list[_Minute]:
    """The minutes of the last hour, and the one of now; empty where there was no server."""
    times = [each.at for each in readings]
    found = []
    for back in range(int(HOUR / _MINUTE), -1, -1):
        end = times[-1] - back * _MINUTE
        last = bisect_right(times, end) - 1
        first = max(0, bisect_right(times, end - _MINUTE) - 1)
        if last < 0:
            found.append(_Minute(None, None, (None,) * len(_QUANTILES), None))
            continue
        inside = window((readings[first], readings[last]))
        found.append(
            _Minute(
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


def _span(length: float) -> str:
    """A length of time in the two units that suit it.

    >>> _span(42), _span(302), _span(7322), _span(200000)
    ('42 s', '5 min 2 s', '2 h 2 min', '2 d 7 h')
    """
    whole = round(length)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
