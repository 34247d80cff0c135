"""Small charts that need no script: lines and areas over time, bars of shares, as SVG.

An SVG element without a viewBox lays out its children in the reader's own pixels, and takes
positions in percent. So text, grid and marks stand in the outer element and keep their size on any
screen, while the curves lie in an inner one of 1000 by 100 units that is stretched to fit; their
lines keep their width because `page.css` says so, which also leaves room for the labels on the
left. Colours come from there too, by class, so a chart follows the reader's colour scheme. What a
curve shows is also told in a title and a description for those who do not see it, and the page
has a table of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Curve", "Scale", "Tick", "alone", "bars", "chart", "linear", "logarithmic"]

_TOP, _PLOT, _BELOW = 16, 132, 22
_ROW = 38
_GUTTER = 58
HEIGHT = _TOP + _PLOT + _BELOW
"""Pixels from the top of a chart to its bottom."""


class Curve(NamedTuple):
    """Values at even distances, None where there is none; `kind` is one of `page.css`'s classes.

    A `filled` curve is an area down to the bottom.
    """

    kind: str
    values: Sequence[float | None]
    filled: bool = False


class Tick(NamedTuple):
    """A line across the chart, or a place on its lower edge; `part` is from 0 to 1."""

    part: float
    label: str


class Scale(NamedTuple):
    """Where a value stands between the bottom, 0, and the top, 1; and the lines to read it by."""

    place: Callable[[float], float]
    ticks: list[Tick]


def linear(highest: float, label: Callable[[float], str]) -> Scale:
    """From 0 to a round number at or above `highest`, with at most 5 lines.

    >>> [tick.label for tick in linear(7.0, "{:g}".format).ticks]
    ['0', '2', '4', '6', '8']
    """
    highest = highest if highest > 1e-9 else 1.0
    power = 10.0 ** math.floor(math.log10(highest) - 1)
    step = next(
        factor * power
        for factor in (2.5, 5.0, 10.0, 20.0, 25.0, 50.0)
        if highest <= 4 * factor * power
    )
    count = max(2, math.ceil(highest / step - 1e-9))
    return Scale(
        lambda value: value / (step * count),
        [Tick(index / count, label(step * index)) for index in range(count + 1)],
    )


def logarithmic(low: float, high: float, label: Callable[[float], str]) -> Scale:
    """From one power of ten to another, with a line at each; smaller values stand on the bottom.

    >>> [tick.label for tick in logarithmic(0.01, 1.0, "{:g}".format).ticks]
    ['0.01', '0.1', '1']
    """
    first, last = round(math.log10(low)), round(math.log10(high))

    def place(value: float) -> float:
        return (math.log10(max(value, low)) - first) / (last - first)

    powers = range(first, last + 1)
    return Scale(place, [Tick(place(10.0**power), label(10.0**power)) for power in powers])


def chart(
    name: str,
    title: str,
    description: str,
    curves: Sequence[Curve],
    scale: Scale,
    times: Sequence[Tick],
    limits: Sequence[Tick] = (),
) -> str:
    """A chart as an `svg` element. `name` is unique in its page; `limits` are objectives' lines."""
    lines = [
        f'<svg class="chart" role="img" aria-labelledby="{name}-t {name}-d" width="100%" '
        f'height="{HEIGHT}" xmlns="http://www.w3.org/2000/svg">',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(description)}</desc>',
    ]
    for tick in scale.ticks:
        lines.append(f'<line class="grid" x1="0" x2="100%" {_at(tick.part)}/>')
        lines.append(f'<text x="-8" y="{_y(tick.part) + 4:.1f}" text-anchor="end">')
        lines.append(f"{escape(tick.label)}</text>")
    lines.append(
        f'<svg y="{_TOP}" width="100%" height="{_PLOT}" viewBox="0 0 1000 100" '
        'preserveAspectRatio="none" overflow="visible" role="presentation">'
    )
    lines += [_drawn(curve, scale) for curve in curves]
    lines.append("</svg>")
    for limit in limits:
        lines.append(f'<line class="limit" x1="0" x2="100%" {_at(limit.part)}/>')
        lines.append(
            f'<text class="limit-label" x="100%" y="{_y(limit.part) - 4:.1f}" '
            f'text-anchor="end">{escape(limit.label)}</text>'
        )
    for tick in times:
        anchor = "start" if tick.part < 0.03 else "end" if tick.part > 0.97 else "middle"
        lines.append(
            f'<text x="{tick.part * 100:.2f}%" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{escape(tick.label)}</text>"
        )
    lines.append("</svg>")
    return "\n".join(lines)


def bars(
    name: str, title: str, description: str, rows: Sequence[tuple[str, float, str, str]]
) -> str:
    """Horizontal bars as an `svg` element, with a line at 1.

    A row is a label, a value, the value's label, and a kind of colour. A bar ends at 1.5.
    """
    most = min(1.5, max(1.0, *(value for _, value, _, _ in rows))) * 1.02
    height = len(rows) * _ROW + 8
    lines = [
        f'<svg class="chart flush" role="img" aria-labelledby="{name}-t {name}-d" width="100%" '
        f'height="{height}" xmlns="http://www.w3.org/2000/svg">',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(description)}</desc>',
    ]
    for turn, (label, value, shown, kind) in enumerate(rows):
        top = turn * _ROW + 18
        lines.append(f'<rect class="grid-bar" width="100%" y="{top}" height="12" rx="3"/>')
        if value > 0:
            width = min(100.0, max(0.4, value / most * 100))
            lines.append(
                f'<rect class="bars {kind}" width="{width:.2f}%" y="{top}" height="12" rx="3"/>'
            )
        lines.append(f'<text x="0" y="{top - 5}">{escape(label)}</text>')
        lines.append(f'<text x="100%" y="{top - 5}" text-anchor="end">{escape(shown)}</text>')
    at = 100 / most
    lines.append(f'<line class="limit" x1="{at:.2f}%" x2="{at:.2f}%" y1="14" y2="{height}"/>')
    lines.append("</svg>")
    return "\n".join(lines)


def alone(chart: str, style: str, width: int = 760) -> str:
    """A chart as a document of its own, with the style that it takes from its page otherwise."""
    found = re.search(r'height="(\d+)"', chart)
    assert found is not None, "a chart has a height"
    gutter = 0 if 'class="chart flush"' in chart else _GUTTER
    inner = chart.replace('width="100%"', f'x="{gutter}" width="{width - gutter}"', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{found[1]}" '
        f'viewBox="0 0 {width} {found[1]}">\n<style>{escape(style, quote=False)}</style>\n'
        f"{inner}\n</svg>\n"
    )


def _y(part: float) -> float:
    return _TOP + _PLOT * (1 - part)


def _at(part: float) -> str:
    return f'y1="{_y(part):.1f}" y2="{_y(part):.1f}"'


def _drawn(curve: Curve, scale: Scale) -> str:
    places = [
        None if value is None else 100 * (1 - min(1.0, max(0.0, scale.place(value))))
        for value in curve.values
    ]
    runs = _runs(places)
    step = 1000 / max(1, len(places) - 1)
    path = ""
    area = ""
    for begin, run in runs:
        points = [f"{(begin + turn) * step:.1f} {place:.1f}" for turn, place in enumerate(run)]
        # A point with none beside it is drawn as a line of no length, which has round ends.
        path += "M" + "L".join(points) + ("h0" if len(points) == 1 else "")
        end = (begin + len(run) - 1) * step
        area += f"M{begin * step:.1f} 100L" + "L".join(points) + f"V100H{end:.1f}z"
    drawn = f'<path class="area {curve.kind}" d="{area}"/>' if curve.filled else ""
    return drawn + f'<path class="line {curve.kind}" d="{path}"/>'


def _runs(places: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    """The stretches that have values, each with the index it begins at.

    >>> _runs([None, 1.0, 2.0, None, 3.0])
    [(1, [1.0, 2.0]), (4, [3.0])]
    """
    runs: list[tuple[int, list[float]]] = []
    open_run = False
    for index, place in enumerate(places):
        if place is None:
            open_run = False
            continue
        if not open_run:
            runs.append((index, []))
        runs[-1][1].append(place)
        open_run = True
    return runs
