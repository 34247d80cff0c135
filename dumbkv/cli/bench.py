"""A look at this machine: the store beside a dict behind a lock, in a few seconds.

Rounds of the two alternate, so that a slow moment falls on both, and every round has new key
objects: a dict finds a key it has seen as the same object much faster than one that has just
come from a socket.
"""

import random
import statistics
from collections.abc import Callable, Iterator
from threading import Lock
from time import perf_counter
from typing import Protocol

import dumbkv

_ROUNDS = 5
_VALUE = bytes(256)


class _Mapping(Protocol):
    def get(self, key: bytes) -> bytes | None: ...
    def set(self, key: bytes, value: bytes) -> object: ...
    def delete(self, key: bytes) -> object: ...


class LockedDict:
    """What one writes without a store."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self._lock = Lock()

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            return self._data.get(key)

    def set(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._data[key] = value

    def delete(self, key: bytes) -> None:
        with self._lock:
            del self._data[key]


def measured(entries: int) -> Iterator[str]:
    """A table of the nanoseconds a call takes, line by line; the medians of some rounds."""
    with dumbkv.open() as store:
        yield f"{entries} keys of 16 bytes, values of {len(_VALUE)} bytes, {_ROUNDS} rounds"
        ours_is = f"dumbkv ({store.backend})"
        yield f"{'ns a call':18}{ours_is:>16}{'dict + Lock':>14}{'ratio':>8}"
        ours: dict[str, list[float]] = {}
        theirs: dict[str, list[float]] = {}
        for _ in range(_ROUNDS):
            _round(store, entries, ours)
            _round(LockedDict(), entries, theirs)
    for what, times in ours.items():
        own, other = statistics.median(times), statistics.median(theirs[what])
        yield f"{what:18}{own:16.0f}{other:14.0f}{own / other:8.2f}"


def _round(mapping: _Mapping, entries: int, into: dict[str, list[float]]) -> None:
    steps: list[tuple[str, int, Callable[[_Mapping, list[bytes]], None]]] = [
        ("set, new key", 0, _set),
        ("set, present key", 0, _set),
        ("get", 0, _get),
        ("get, absent key", entries, _get),
        ("delete", 0, _delete),
    ]
    for what, first, step in steps:
        keys = [b"%016d" % n for n in range(first, first + entries)]
        random.shuffle(keys)
        began = perf_counter()
        step(mapping, keys)
        into.setdefault(what, []).append((perf_counter() - began) / entries * 1e9)


def _set(mapping: _Mapping, keys: list[bytes]) -> None:
    set_one, value = mapping.set, _VALUE
    for key in keys:
        set_one(key, value)


def _get(mapping: _Mapping, keys: list[bytes]) -> None:
    get = mapping.get
    for key in keys:
        get(key)


def _delete(mapping: _Mapping, keys: list[bytes]) -> None:
    delete = mapping.delete
    for key in keys:
        delete(key)
