"""Preconditions: If-Match and If-None-Match against an entry's version (RFC 9110 section 13).

An entity tag here is the version in quotes, `"1700000000000000"`, always strong. Versions never
repeat, so a tag that matches proves that nothing was written in between.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dumbkv import Entry
from dumbkv_http.response import ProblemError
from dumbkv_http.wire import Fields, excerpt

__all__ = ["Condition", "holds", "parse_condition"]

_ELEMENT = re.compile(rb'[ \t]*(?:(W/)?"([\x21\x23-\x7e\x80-\xff]*)")?[ \t]*(?:,|\Z)')
_VERSION = re.compile(rb"[1-9][0-9]{0,18}")


class Condition(NamedTuple):
    """The entity tags of one field: `any` for `*`, else the versions among them."""

    any: bool
    versions: frozenset[int]

    def matches(self, entry: Entry | None) -> bool:
        """Whether the current entry is one of those named."""
        return entry is not None and (self.any or entry.version in self.versions)


def parse_condition(name: str, value: bytes, *, weak: bool) -> Condition:
    """The tags in the value of the field called `name`.

    With `weak`, `W/"1"` counts as `"1"`; without, it matches nothing. Tags that cannot be ours
    match nothing either. Raises ProblemError 400 when the value is no list of tags.

    >>> parse_condition("If-Match", b'"7", W/"8", "x"', weak=False)
    Condition(any=False, versions=frozenset({7}))
    """
    if value == b"*":
        return Condition(True, frozenset())
    versions = set()
    position = tags = 0
    while position < len(value):
        found = _ELEMENT.match(value, position)
        if found is None:
            break
        position = found.end()
        is_weak, tag = found.groups()
        if tag is None:  # An empty element, which RFC 9110 section 5.6.1 asks us to skip.
            continue
        tags += 1
        if _VERSION.fullmatch(tag) and (weak or not is_weak):
            versions.add(int(tag))
    if position < len(value) or not tags:
        raise ProblemError(
            400,
            "bad-entity-tag",
            f"expected {name} to be * or a list of quoted entity tags, got {excerpt(value)}",
        )
    return Condition(False, frozenset(versions))


def holds(fields: Fields, entry: Entry | None) -> tuple[bool, bool]:
    """Whether If-Match and If-None-Match, in this order, let a request on `entry` go ahead."""
    match = unmatched = True
    if fields.if_match is not None:
        match = parse_condition("If-Match", fields.if_match, weak=False).matches(entry)
    if fields.if_none_match is not None:
        condition = parse_condition("If-None-Match", fields.if_none_match, weak=True)
        unmatched = not condition.matches(entry)
    return match, unmatched
