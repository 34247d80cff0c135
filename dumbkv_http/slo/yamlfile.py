"""YAML that people read: keys in the order they were given, long text as it stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

__all__ = ["dump", "dump_all"]


class _Dumper(yaml.SafeDumper):
    """Text of more than one line stands in a block, and nothing refers to another place."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    style = "|" if "\n" in data else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _text)


def dump(content: Any, comment: str) -> str:
    """The text of a YAML file, with a comment at its top.

    >>> print(dump({"b": [1], "a": "x\\ny"}, "made by hand"), end="")
    # made by hand
    b:
    - 1
    a: |-
      x
      y
    """
    return dump_all([content], comment)


def dump_all(documents: Iterable[Any], comment: str) -> str:
    """The same for a file of several documents."""
    parts = [yaml.dump(each, Dumper=_Dumper, sort_keys=False, width=100) for each in documents]
    return "".join(f"# {line}\n" for line in comment.splitlines()) + "---\n".join(parts)
