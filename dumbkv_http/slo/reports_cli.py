"""`slo report`, `slo budget` and `slo check`, for people and for pipelines.

All three exit with 0 when the objectives are met, 1 when one is missed, and 2 when it cannot be
told: too little is known, nobody answered, or the command was not understood.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from dumbkv_http._html import MARKS, style
from dumbkv_http._svg import alone
from dumbkv_http.slo import budget, look
from dumbkv_http.slo.charts import pictures
from dumbkv_http.slo.document import headline
from dumbkv_http.slo.markup import as_html, as_json, as_markdown
from dumbkv_http.slo.objectives import JOB
from dumbkv_http.slo.periods import Period, month, week
from dumbkv_http.slo.prometheus import Prometheus, PrometheusError
from dumbkv_http.slo.report import Report, make
from dumbkv_http.slo.results import overall
from dumbkv_http.slo.standing import State, standings

__all__ = ["EXITS", "add_parsers", "maintenance"]

EXITS: dict[State, int] = {"met": 0, "missed": 1, "unknown": 2}

_TOKEN = "DUMBKV_TOKEN"

_EXITS_TOLD = "exit status: 0 met, 1 missed, 2 not known or not understood"
_REPORT = f"""
examples:
  slo report --prometheus http://127.0.0.1:9090 --month 2026-10
                                     Markdown on the terminal
  slo report --prometheus http://127.0.0.1:9090 --month 2026-10 --out reports
                                     reports/2026-10.md, .html, .json and the charts as SVG
  slo report --prometheus http://127.0.0.1:9090 --week 2026-W43 --format json

A month that is over is put into the history, from which the criterion of three consecutive months
and the recommendations are drawn: run it each month with the same --history.
A maintenance file has a line for each announced time, such as
  2026-10-04T02:00Z 2026-10-04T02:30Z new disks

{_EXITS_TOLD}
"""


def add_parsers(parsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the three commands; each sets `run`, which takes the options and gives the status."""
    shape = argparse.RawDescriptionHelpFormatter
    report = parsers.add_parser(
        "report",
        help="a month or a week, as Markdown, HTML and JSON",
        epilog=_REPORT,
        formatter_class=shape,
    )
    _takes_prometheus(report)
    when = report.add_mutually_exclusive_group(required=True)
    when.add_argument("--month", type=_parsed(month), dest="period", metavar="YYYY-MM")
    when.add_argument("--week", type=_parsed(week), dest="period", metavar="YYYY-Www")
    add = report.add_argument
    add("--out", type=Path, metavar="FOLDER", help="write all formats and the charts there")
    add(
        "--format", choices=("markdown", "html", "json"), default="markdown", help="on the terminal"
    )
    add(
        "--history",
        type=Path,
        metavar="FILE",
        help="finished months, one a line (default: slo-history.jsonl in --out, else none)",
    )
    add("--maintenance", type=Path, metavar="FILE", help="times in which downtime was planned")
    report.set_defaults(run=_report)

    spent = parsers.add_parser(
        "budget",
        help="the error budgets of the last 30 days",
        epilog=_EXITS_TOLD,
        formatter_class=shape,
    )
    _takes_prometheus(spent)
    spent.set_defaults(run=_budget)

    check = parsers.add_parser(
        "check",
        help="one look at a running server, without Prometheus",
        epilog=f"A token for the server is taken from {_TOKEN}.\n\n{_EXITS_TOLD}",
        formatter_class=shape,
    )
    check.add_argument("--url", required=True, help="the server, such as http://127.0.0.1:8080")
    check.add_argument(
        "--seconds",
        type=float,
        default=0.0,
        metavar="N",
        help="count what happens in N seconds from now (default: all since the server started)",
    )
    check.set_defaults(run=_check)


def maintenance(text: str) -> list[tuple[int, int]]:
    """The times announced in a maintenance file, in seconds since the epoch. Raises ValueError.

    >>> maintenance("1970-01-01T00:00Z 1970-01-01T00:30Z new disks")
    [(0, 1800)]
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            begin, end = (_moment(word) for word in words[:2])
        except ValueError:
            raise ValueError(
                f"line {number} of the maintenance file: expected two times such as "
                f"2026-10-04T02:00Z, got {line!r}"
            ) from None
        found.append((begin, end))
    return found


def _moment(word: str) -> int:
    at = datetime.strptime(word, "%Y-%m-%dT%H:%MZ").replace(tzinfo=timezone.utc)
    return int(at.timestamp())


def _report(options: argparse.Namespace) -> int:
    folder: Path | None = options.out
    path: Path | None = options.history
    try:
        announced = maintenance(options.maintenance.read_text()) if options.maintenance else []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = path or folder / "slo-history.jsonl"
        prometheus = Prometheus(options.prometheus)
        report = make(prometheus, options.period, job=options.job, path=path, maintenance=announced)
        if folder is not None:
            _write(report, folder)
        else:
            render = {"markdown": as_markdown, "html": as_html, "json": as_json}[options.format]
            print(render(report))
    except (OSError, ValueError, PrometheusError) as error:
        return _failed(error)
    if folder is not None:
        print(f"{MARKS[report.state]} {report.period.name}: {headline(report)}; see {folder}")
    return EXITS[report.state]


def _write(report: Report, folder: Path) -> None:
    name = report.period.name
    for picture, _, _, drawn in pictures(report):
        (folder / f"{name}-{picture}.svg").write_text(alone(drawn, style()), "utf-8")
    (folder / f"{name}.md").write_text(as_markdown(report, f"{name}-"), "utf-8")
    (folder / f"{name}.html").write_text(as_html(report), "utf-8")
    (folder / f"{name}.json").write_text(as_json(report), "utf-8")


def _budget(options: argparse.Namespace) -> int:
    try:
        found = budget.budgets(Prometheus(options.prometheus), time.time(), options.job)
    except (ValueError, PrometheusError) as error:
        return _failed(error)
    print(budget.draw(found, _coloured()))
    return EXITS[overall([budget.state_of(each) for each in found])]


def _check(options: argparse.Namespace) -> int:
    try:
        found = standings(look.look(options.url, options.seconds, os.environ.get(_TOKEN, "")))
    except look.LookError as error:
        return _failed(error)
    print(look.draw(found, _coloured()))
    return EXITS[overall([each.state for each in found])]


def _failed(error: Exception) -> int:
    print(f"dumbkv_http: {error}", file=sys.stderr)
    return 2


def _coloured() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _takes_prometheus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prometheus", required=True, metavar="URL", help="such as http://127.0.0.1:9090"
    )
    parser.add_argument("--job", default=JOB, help="whose series (default: %(default)s)")


def _parsed(read: Callable[[str], Period]) -> Callable[[str], Period]:
    def parse(text: str) -> Period:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse
