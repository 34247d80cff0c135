"""A report as Markdown, as one HTML file, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape

from dumbkv_http._html import MARKS, document, figure, source_hash, style, table
from dumbkv_http.slo.document import Section, Table, headline, sections
from dumbkv_http.slo.objectives import AVAILABILITY
from dumbkv_http.slo.report import Report
from dumbkv_http.slo.standing import percent

__all__ = ["as_html", "as_json", "as_markdown"]


def as_json(report: Report) -> str:
    """Every figure of the report, for programs."""
    fields = asdict(report)
    for name in ("period", "before"):
        fields[name] = getattr(report, name)._asdict()
    return json.dumps(fields, indent=1) + "\n"


def as_markdown(report: Report, charts: str = "") -> str:
    """The report as text; `charts` is the path of the SVG files, up to their own names."""
    lines = [f"# {_title(report)}", "", f"**{MARKS[report.state]} {headline(report)}.**", ""]
    for section in sections(report):
        lines += [f"## {section.title}", ""]
        for sentence in section.sentences:
            lines += [sentence, ""]
        lines += [f"* {item}" for item in section.items] + [""] * bool(section.items)
        for each in section.tables:
            lines += [*_rows(each), ""]
        if charts:
            for name, title, _, _ in section.charts:
                lines += [f"![{title}]({charts}{name}.svg)", ""]
    return "\n".join(lines)


def as_html(report: Report) -> str:
    """The report as one file that loads nothing."""
    parts = [_section(each) for each in sections(report)]
    availability = report.ratios[0]
    tiles = [
        (
            AVAILABILITY.title,
            "not known" if availability.good is None else percent(availability.good, 3),
            f"target {availability.target * 100:g} %",
        ),
        (
            "Budget used",
            "not known" if availability.used is None else percent(availability.used, 1),
            f"{availability.bad:,.0f} failed requests",
        ),
        (
            "Incidents",
            str(len(report.incidents)),
            f"{report.unplanned_minutes} min of unplanned downtime",
        ),
        (
            "Alerts fired",
            str(sum(each.times for each in report.alerts)),
            "nothing to compare with"
            if report.alerts_before is None
            else f"{report.alerts_before} in {report.before.name}",
        ),
        (
            "Coverage",
            percent(report.coverage, 1),
            "of the minutes were seen",
        ),
    ]
    cells = "".join(
        f'<div><dd class="note">{escape(note)}</dd><dd>{escape(value)}</dd>'
        f"<dt>{escape(label)}</dt></div>"
        for label, value, note in tiles
    )
    mark = MARKS[report.state]
    body = (
        '<a class="skip" href="#report">To the report</a>\n'
        f"<header><h1>{escape(_title(report))}</h1>"
        f'<p class="verdict {report.state}"><span aria-hidden="true">{mark}</span> '
        f"{escape(headline(report))}</p></header>\n"
        f'<main id="report">\n<dl class="tiles">{cells}</dl>\n' + "\n".join(parts) + "\n</main>"
    )
    policy = f"default-src 'none'; style-src {source_hash(style())}; img-src data:"
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    return document(f"{mark} {_title(report)}", body, head)


def _title(report: Report) -> str:
    return f"DumbKV service levels, {report.period.kind} {report.period.name}"


def _rows(each: Table) -> list[str]:
    head = " | ".join(each.columns)
    rule = " | ".join(["---"] + ["---" if each.words else "---:"] * (len(each.columns) - 1))
    rows = [
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |"
        for row in each.rows
    ]
    return [f"| {head} |", f"| {rule} |", *rows]


def _section(section: Section) -> str:
    parts = [f"<p>{escape(sentence)}</p>" for sentence in section.sentences]
    if section.items:
        items = "".join(f"<li>{escape(each)}</li>" for each in section.items)
        parts.append(f"<ul>{items}</ul>")
    parts += [
        table(each.caption, each.columns, each.rows, "words" if each.words else "")
        for each in section.tables
    ]
    if section.charts:
        wide = " wide" if len(section.charts) == 1 else ""
        drawn = "\n".join(
            figure(name, title, keys, picture) for name, title, keys, picture in section.charts
        )
        parts.append(f'<div class="charts{wide}">\n{drawn}\n</div>')
    if section.folded:
        parts = ["<details><summary>Show</summary>", *parts, "</details>"]
    return "\n".join([f"<h2>{escape(section.title)}</h2>", *parts])
