"""HTML documents that stand alone: one style, no script or picture from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import NamedTuple

__all__ = ["MARKS", "Cell", "document", "figure", "script", "source_hash", "style", "table"]

MARKS = {"met": "\u2713", "missed": "\u2717", "unknown": "\u2013"}
"""A sign for each verdict, so that none is told by its colour alone."""


class Cell(NamedTuple):
    """A cell of a table that tells a verdict."""

    text: str
    state: str

    def __str__(self) -> str:
        return f"{MARKS[self.state]} {self.text}"


@cache
def style() -> str:
    """The style sheet of all pages."""
    return files("dumbkv_http").joinpath("page.css").read_text("utf-8")


@cache
def script() -> str:
    """The script that brings the status page up to date."""
    return files("dumbkv_http").joinpath("page.js").read_text("utf-8")


def source_hash(text: str) -> str:
    """An inline style or script as Content-Security-Policy names it.

    >>> source_hash("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def document(title: str, body: str, head: str = "") -> str:
    """A whole document around what is in its body; `head` are further elements of the head."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n{head}<style>{style()}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    kind: str = "",
) -> str:
    """A table of text and verdicts; the first cell of a row is its heading."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(str(first))}</th>' + "".join(map(_cell, cells)) + "</tr>"
        for first, *cells in rows
    )
    chosen = f' class="{kind}"' if kind else ""
    # A box that scrolls has to be reachable by keyboard, and so needs a name.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">\n'
        f"<table{chosen}>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    return (
        f'<td class="{cell.state}"><span class="mark" aria-hidden="true">{MARKS[cell.state]}</span>'
        f"{escape(cell.text)}</td>"
    )


def figure(
    name: str, title: str, keys: Sequence[tuple[str, str]], picture: str, behind: str = ""
) -> str:
    """A chart under its title and key, with the table of what it shows if there is one."""
    key = "".join(f'<span class="key {kind}">{escape(label)}</span>' for kind, label in keys)
    folded = ""
    if behind:
        summary = f"<summary>{escape(title)} as a table</summary>"
        folded = f'\n<details id="{name}-table">{summary}\n{behind}\n</details>'
    return (
        f"<figure>\n<figcaption><h3>{escape(title)}</h3><span>{key}</span></figcaption>\n"
        f"{picture}{folded}\n</figure>"
    )
