"""What a report says: sections of sentences, tables and charts, before they are marked up."""

from __future__ import annotations

from dataclasses import dataclass, field

from dumbkv_http._html import Cell
from dumbkv_http.slo.charts import Picture, pictures
from dumbkv_http.slo.latency import PARTS
from dumbkv_http.slo.objectives import AVAILABILITY, DESCRIPTORS, LEVELS, MEMORY, RATIOS
from dumbkv_http.slo.periods import moment
from dumbkv_http.slo.report import Report
from dumbkv_http.slo.results import COVERAGE, FiguresResult
from dumbkv_http.slo.standing import percent, seconds, size

__all__ = ["Section", "Table", "headline", "level", "sections"]


@dataclass(frozen=True)
class Table:
    """A caption, the columns' names, the rows; the first cell of a row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[str | Cell, ...]]
    words: bool = False


@dataclass(frozen=True)
class Section:
    """A heading, and below it sentences, items of a list, tables and charts.

    What is `folded` is opened by whoever wants it.
    """

    title: str
    sentences: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Picture] = field(default_factory=list)
    folded: bool = False


def headline(report: Report) -> str:
    """The verdict in a few words."""
    missed = [each.title for each in report.ratios if each.state == "missed"]
    missed += [each.title for each in report.figures if each.state == "missed"]
    if missed:
        return f"Missed: {', '.join(missed)}"
    if report.state == "met":
        return "All objectives were met"
    if not report.finished:
        return f"The {report.period.kind} is not over: nothing is decided"
    if report.coverage < COVERAGE:
        return f"Unknown: only {percent(report.coverage, 1)} of the {report.period.kind} was seen"
    return "Unknown: of some objectives nothing is known"


def level(used: float) -> str:
    """What the escalation matrix says to do when so much of a budget is used.

    >>> level(0.1), level(0.25), level(0.75), level(1.2)
    ('Normal operations', 'Review recent changes', 'Feature freeze', 'All-hands incident')
    """
    reached = [
        each for each in LEVELS if used > each.above or (each.inclusive and used == each.above)
    ]
    return reached[-1].action


def sections(report: Report) -> list[Section]:
    """All of a report in the order it is read."""
    charts = {picture[0]: picture for picture in pictures(report)}
    return [
        _objectives(report),
        Section(
            "Error budget",
            tables=[_budget(report)],
            charts=[charts["budget"], charts["spent"], charts["failures"], charts["slow"]],
        ),
        _incidents(report),
        _latency(report, charts["spread"]),
        Section(
            "Resources",
            tables=[_resources(report)],
            charts=[charts["requests"], charts["memory"]],
        ),
        _alerts(report),
        Section(
            "Success criteria",
            tables=[
                Table(
                    "What the objectives as a whole are to bring",
                    ("Criterion", "Verdict", "Why"),
                    [
                        (each.title, Cell(each.state, each.state), each.why)
                        for each in report.criteria
                    ],
                    words=True,
                )
            ],
        ),
        Section("Recommendations", items=report.recommendations),
        Section("Day by day", tables=[_by_day(report)], folded=True),
        _method(report),
    ]


def _objectives(report: Report) -> Section:
    rows: list[tuple[str | Cell, ...]] = []
    for each in report.ratios:
        objective = next(one for one in RATIOS if one.name == each.name)
        what = "answered without a 5xx"
        if objective is not AVAILABILITY:
            what = f"within {seconds(objective.bound)}"  # type: ignore[union-attr]  # the others have one
        rows.append(
            (
                each.title,
                f"{each.target * 100:g} % {what}",
                _percent(each.good, 4),
                _percent(each.before, 4),
                Cell(each.state, each.state),
            )
        )
    for figure in report.figures:
        rows.append(
            (
                figure.title,
                f"{'below' if figure.limit else 'at most'} {_amount(figure, figure.limit)}",
                f"at most {_amount(figure, figure.worst)}",
                f"at most {_amount(figure, figure.before)}",
                Cell(figure.state, figure.state),
            )
        )
    rate = report.ratios[0]
    sentences = [
        f"{percent(report.coverage, 2)} of the {report.period.kind} was seen, "
        f"{percent(report.coverage_before, 2)} of the one before. Below {COVERAGE * 100:g} % every "
        "objective is unknown.",
    ]
    if rate.good is not None:
        sentences.append(
            f"The error rate is the same thing from its other side: {_percent(1 - rate.good, 4)} "
            f"of {rate.total:,.0f} requests failed, {_percent(AVAILABILITY.budget, 4)} may."
        )
    table = Table(
        "Each objective over the whole period",
        ("Objective", "Target", report.period.name, report.before.name, "Verdict"),
        rows,
    )
    return Section("Objectives", sentences, tables=[table])


def _budget(report: Report) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for each in report.ratios:
        rows.append(
            (
                each.title,
                f"{each.bad:,.0f} of {each.total * (1 - each.target):,.0f}",
                _percent(each.used, 1),
                f"{each.bad_slices * 5:,} of {each.known_slices * 5 * (1 - each.target):,.0f} min",
                _percent(each.used_time, 1),
                "not known" if each.used is None else level(each.used),
            )
        )
    return Table(
        "Budget used by requests, which is what counts, and by slices of five minutes",
        ("Objective", "Bad requests", "Used", "Bad time", "Used by time", "Policy"),
        rows,
    )


def _incidents(report: Report) -> Section:
    if not report.incidents:
        return Section("Incidents", ["None."])
    titles = {each.name: each.title for each in report.ratios} | {"down": "Down"}
    rows: list[tuple[str | Cell, ...]] = []
    for each in report.incidents:
        rows.append(
            (
                f"{moment(each.begin)} UTC",
                f"{(each.end - each.begin) // 60} min",
                titles[each.kind] + (" (planned)" if each.planned else ""),
                "" if each.kind == "down" else f"{each.bad:,.0f}",
                "" if each.kind == "down" else percent(each.worst, 1),
                percent(each.share, 1),
            )
        )
    table = Table(
        "What an objective lost at once; the share is of the period's budget, "
        "for a server that was down of availability's minutes",
        ("Began", "Length", "What", "Bad requests", "Worst minute", "Share of budget"),
        rows,
    )
    return Section(
        "Incidents",
        [
            f"{len(report.incidents)} in the {report.period.kind}; "
            f"{report.unplanned_minutes} min of unplanned downtime.",
        ],
        tables=[table],
    )


def _latency(report: Report, picture: Picture) -> Section:
    names = [f"P{part * 100:g}" for part in PARTS]
    rows: list[tuple[str | Cell, ...]] = []
    for name, now, then in zip(
        names, report.spread.quantiles, report.spread_before.quantiles, strict=True
    ):
        change = "not known"
        if now is not None and then:
            change = f"{(now / then - 1) * 100:+.1f} %"
        rows.append((name, _seconds(now), _seconds(then), change))
    if report.shift is None:
        told = "There is nothing to compare the distribution with."
    else:
        bound, by = report.shift
        told = (
            f"The largest change: {abs(by) * 100:.2f} % {'more' if by > 0 else 'fewer'} of the "
            f"requests were answered within {seconds(bound)} than in {report.before.name}."
        )
        if abs(by) < 0.0001:
            told = f"The distribution is the same as in {report.before.name}."
    table = Table(
        "Quantiles, read from the histogram",
        ("Quantile", report.period.name, report.before.name, "Change"),
        rows,
    )
    return Section("Latency", [told], tables=[table], charts=[picture])


def _resources(report: Report) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for each in report.figures:
        trend = "not known" if each.slope is None else "steady"
        # A thousandth of the limit in a day is noise; where the limit is 0, so is any line.
        if each.slope is not None and abs(each.slope) > each.limit / 1000 > 0:
            sign = "-" if each.slope < 0 else "+"
            trend = f"{sign}{_amount(each, abs(each.slope))} a day"
            if each.name == MEMORY.name and each.slope > 0 and each.last is not None:
                left = (each.limit - each.last) / each.slope
                if 0 < left < 365:
                    trend += f", full in {left:.0f} days"
        rows.append(
            (
                each.title,
                _amount(each, each.mean),
                _amount(each, each.worst),
                _amount(each, each.before),
                trend,
                f"{each.bad_minutes} of {each.known_minutes:,} min",
            )
        )
    return Table(
        "The process",
        ("Figure", "Mean", "Highest", f"In {report.before.name}", "Trend", "Over the limit"),
        rows,
    )


def _alerts(report: Report) -> Section:
    times = sum(each.times for each in report.alerts)
    then = "not known" if report.alerts_before is None else str(report.alerts_before)
    told = f"Alerts that fired: {times}; in {report.before.name}: {then}."
    if report.notifications is not None:
        before = report.notifications_before
        told += (
            f" Alertmanager sent {report.notifications} notifications; in {report.before.name}: "
            f"{'not known' if before is None else before}."
        )
    rows: list[tuple[str | Cell, ...]] = [
        (
            each.name,
            each.severity,
            str(each.times),
            f"{each.minutes:,} min",
            f"{each.longest:,} min",
            str(each.idle),
        )
        for each in report.alerts
    ]
    table = Table(
        "What fired, and how often without an incident that called for it",
        ("Alert", "Severity", "Times", "In all", "Longest", "Without incident"),
        rows,
    )
    return Section("Alerts", [told], tables=[table] if rows else [])


def _by_day(report: Report) -> Table:
    """The figures behind the charts over time."""
    rows: list[tuple[str | Cell, ...]] = []
    fast = report.ratios[1]
    for day, first in enumerate(range(0, len(report.hours), 24)):
        hours = report.hours[first : first + 24]
        total, bad, counted, slow = (
            sum(found.get(name, 0.0) for found in column)
            for name, column in (
                (AVAILABILITY.name, [hour.total for hour in hours]),
                (AVAILABILITY.name, [hour.bad for hour in hours]),
                (fast.name, [hour.total for hour in hours]),
                (fast.name, [hour.bad for hour in hours]),
            )
        )
        memory = max((each.resident for each in hours if each.resident is not None), default=None)
        rows.append(
            (
                moment(report.period.begin + day * 86400)[:10],
                f"{total:,.0f}",
                f"{bad:,.0f}",
                _percent(1 - bad / total if total else None, 3),
                _percent(1 - slow / counted if counted else None, 3),
                "not known" if memory is None else size(memory),
            )
        )
    return Table(
        "What the charts over time show",
        (
            "Day",
            "Requests",
            "Failed",
            AVAILABILITY.title,
            f"Fast enough for {fast.title}",
            "Memory",
        ),
        rows,
    )


def _method(report: Report) -> Section:
    return Section(
        "How this was counted",
        [
            f"From Prometheus, job {report.job}, {moment(report.period.begin)} to "
            f"{moment(report.period.end)} UTC, asked at {moment(report.made)} UTC. Ratios are sums "
            "over the whole period divided once; client errors, scrapes and probes do not count. "
            "An incident is the stretch of minutes most likely to have had a rate of its own; "
            "what happened while nobody scraped is in the sums and in no incident.",
        ],
    )


def _amount(figure: FiguresResult, value: float | None) -> str:
    if value is None:
        return "not known"
    if figure.name == MEMORY.name:
        return size(value)
    if figure.name == DESCRIPTORS.name:
        return f"{value * 100:.3g} %"
    return f"{value:.3g} {figure.unit}"


def _percent(share: float | None, digits: int) -> str:
    return "not known" if share is None else percent(share, digits)


def _seconds(value: float | None) -> str:
    return "not known" if value is None else seconds(value)
