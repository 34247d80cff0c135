"""The page at `/`: what this server is, and how its objectives stand, for a person to look at.

It is made from the counters there are and the hour of them in `_history.py`, and says nothing of
keys or values. It loads nothing, works without JavaScript, and with it is brought up to date in
place. Making it takes about as long as a scrape, so one page serves a whole second's readers.
"""

from __future__ import annotations

from html import escape

import dumbkv
from dumbkv import ClosedError, Store
from dumbkv_http._history import HOUR, History, since
from dumbkv_http._html import MARKS, document, script, source_hash, style
from dumbkv_http._status_charts import Charts
from dumbkv_http.metrics import HttpMetrics
from dumbkv_http.response import Response, field_line
from dumbkv_http.slo.reading import Window, quantile, window
from dumbkv_http.slo.standing import Standing, percent, seconds, size, span, standings

__all__ = ["StatusPage"]

NOW = 300.0
"""The seconds that "now" is told over, as in the objectives' queries."""


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
        charts = Charts(readings)
        verdict, state = _verdict(columns[0])
        trouble = self._trouble(draining)
        if trouble:
            verdict, state = trouble, "missed"
        mark = MARKS[state]
        body = "\n".join(
            (
                '<a class="skip" href="#objectives">To the objectives</a>',
                "<main>",
                "<header><div><h1>DumbKV</h1>"
                f'<span class="soft">a key-value store, version '
                f"{escape(dumbkv.__version__)}, back end: {escape(self._store.backend)}, up "
                f"{span(windows[2].seconds)}</span></div>",
                f'<p id="verdict" class="verdict {state}"><span aria-hidden="true">{mark}</span> '
                f"{verdict}</p></header>",
                self._tiles(windows[0], windows[1]),
                '<h2 id="objectives">Service level objectives</h2>',
                _objectives(columns, windows),
                f"<h2>The last {charts.called}</h2>",
                '<div class="charts">',
                charts.requests(),
                charts.failures(),
                charts.latency(),
                charts.memory(),
                "</div>",
                "</main>",
                "<footer>",
                "<p>Counted by the server itself since it started: what it cannot see is its own "
                "absence. This history is in memory and gone when the process ends; answers to "
                "scrapes, probes and this page are left out of the objectives.</p>",
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

    def _trouble(self, draining: bool) -> str:
        """What is wrong with the store or the server, whatever the objectives say; or nothing."""
        if draining:
            return "Shutting down"
        try:
            poisoned = self._store.stats().poisoned
        except ClosedError:
            return "The store is closed"
        return "No more writes: the disk failed" if poisoned else ""

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
        f'<th scope="col">{name}<small>{span(each.seconds)}</small></th>'
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
