"""How well the limited store keeps what is asked for, beside an exact LRU of as many entries.

The load is a cache's: get a key, and set it on a miss. Keys follow zipf 0.99 and the cache has
room for a tenth of them. A scan asks for every key once, which fills an exact LRU with what
nobody wants; it passes through both.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import Literal

import pytest

import dumbkv
from benchmarks.zipf import draws

ENTRIES = 100_000
ROOM = ENTRIES // 10
VALUE = bytes(256)
KEYS = [os.urandom(16) for _ in range(ENTRIES)]

Backend = Literal["c", "python"]
BACKENDS: tuple[Backend, ...] = ("c", "python")


class ExactLRU:
    """The entries asked for last, so many of them."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._data: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, key: bytes) -> bytes | None:
        value = self._data.get(key)
        if value is not None:
            self._data.move_to_end(key)
        return value

    def set(self, key: bytes, value: bytes) -> None:
        self._data[key] = value
        self._data.move_to_end(key)
        if len(self._data) > self._room:
            self._data.popitem(last=False)


def limited(backend: Backend, room: int) -> dumbkv.Store:
    """A store with room for so many entries, by what they cost in one that is full."""
    max_bytes = 400 * room
    with dumbkv.open(backend=backend, max_bytes=max_bytes, eviction="lru") as trial:
        for key in KEYS:
            trial.set(key, VALUE)
        cost = max_bytes / len(trial)
    return dumbkv.open(backend=backend, max_bytes=int(cost * room), eviction="lru")


def hit_ratio(cache: ExactLRU | dumbkv.Store, keys: Iterable[bytes]) -> float:
    hits = misses = 0
    for key in keys:
        if cache.get(key) is None:
            misses += 1
            cache.set(key, VALUE)
        else:
            hits += 1
    return hits / (hits + misses)


@pytest.mark.parametrize("backend", BACKENDS)
def test_keeps_what_is_popular_as_well_as_an_exact_lru(backend: Backend) -> None:
    exact = ExactLRU(ROOM)
    with limited(backend, ROOM) as store:
        for cache in (exact, store):
            hit_ratio(cache, draws(KEYS, 300_000, seed=1))
        asked = draws(KEYS, 300_000, seed=2)
        best, ours = hit_ratio(exact, asked), hit_ratio(store, asked)
        assert len(store) <= 1.02 * ROOM, "the comparison is with as many entries"
    print(f"  hit ratio {ours:.3f}, exact LRU {best:.3f}", end=" ")
    assert ours >= best - 0.01


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_scan_costs_no_more_than_in_an_exact_lru(backend: Backend) -> None:
    exact = ExactLRU(ROOM)
    with limited(backend, ROOM) as store:
        for cache in (exact, store):
            hit_ratio(cache, draws(KEYS, 300_000, seed=3))
            hit_ratio(cache, KEYS)
        asked = draws(KEYS, 30_000, seed=4)
        best, ours = hit_ratio(exact, asked), hit_ratio(store, asked)
    print(f"  hit ratio after a scan {ours:.3f}, exact LRU {best:.3f}", end=" ")
    assert ours >= best - 0.03
