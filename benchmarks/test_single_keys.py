"""One key at a time, in one thread: the store beside a bare dict and a dict behind a lock.

A bare dict is not safe to share and is here to show what safety costs. The store gives a
copy of the value and a version, an expiry and counters with it.
"""

import os
from collections.abc import Callable

from pytest_benchmark.fixture import BenchmarkFixture

import dumbkv
from benchmarks.interleaved import Prepare, Round, fresh, ratios
from benchmarks.siblings import LockedDict

N = 100_000
KEYS = [os.urandom(16) for _ in range(N)]
VALUES = [os.urandom(256) for _ in range(N)]
ROUNDS = int(os.environ.get("DUMBKV_BENCH_ROUNDS", "9"))


def for_each(call: Callable[[bytes], object], keys: list[bytes]) -> Round:
    def run() -> None:
        for key in keys:
            call(key)

    return run


def for_each_pair(call: Callable[[bytes, bytes], object], keys: list[bytes]) -> Round:
    def run() -> None:
        for key, value in zip(keys, VALUES, strict=True):
            call(key, value)

    return run


def filled() -> tuple[dumbkv.Store, LockedDict, dict[bytes, bytes]]:
    store, locked, bare = dumbkv.open(), LockedDict(), dict[bytes, bytes]()
    for key, value in zip(KEYS, VALUES, strict=True):
        store.set(key, value)
        locked.set(key, value)
        bare[key] = value
    return store, locked, bare


def check(found: dict[str, float], locked: float, bare: float) -> None:
    assert found["dict + Lock"] <= locked
    assert found["dict"] <= bare


def test_get(benchmark: BenchmarkFixture) -> None:
    store, locked, bare = filled()

    def prepare(call: Callable[[bytes], object]) -> Prepare:
        return lambda: for_each(call, fresh(KEYS))

    siblings = {"dict + Lock": prepare(locked.get), "dict": prepare(bare.get)}
    check(ratios(benchmark, prepare(store.get), siblings, ROUNDS), locked=0.8, bare=1.6)


def test_get_of_absent_keys(benchmark: BenchmarkFixture) -> None:
    store, locked, bare = filled()

    def prepare(call: Callable[[bytes], object]) -> Prepare:
        return lambda: for_each(call, [os.urandom(16) for _ in range(N)])

    siblings = {"dict + Lock": prepare(locked.get), "dict": prepare(bare.get)}
    check(ratios(benchmark, prepare(store.get), siblings, ROUNDS), locked=0.8, bare=1.6)


def test_set_of_new_keys(benchmark: BenchmarkFixture) -> None:
    def prepare(make: Callable[[], Callable[[bytes, bytes], object]]) -> Prepare:
        return lambda: for_each_pair(make(), fresh(KEYS))

    siblings = {
        "dict + Lock": prepare(lambda: LockedDict().set),
        "dict": prepare(lambda: dict[bytes, bytes]().__setitem__),
    }
    found = ratios(benchmark, prepare(lambda: dumbkv.open().set), siblings, ROUNDS)
    check(found, locked=1.0, bare=1.6)


def test_set_of_present_keys(benchmark: BenchmarkFixture) -> None:
    store, locked, bare = filled()

    def prepare(call: Callable[[bytes, bytes], object]) -> Prepare:
        return lambda: for_each_pair(call, fresh(KEYS))

    siblings = {"dict + Lock": prepare(locked.set), "dict": prepare(bare.__setitem__)}
    check(ratios(benchmark, prepare(store.set), siblings, ROUNDS), locked=1.0, bare=1.6)


def test_delete(benchmark: BenchmarkFixture) -> None:
    def prepare(of: Callable[[], Callable[[bytes], object]]) -> Prepare:
        return lambda: for_each(of(), fresh(KEYS))

    siblings = {
        "dict + Lock": prepare(lambda: filled()[1].delete),
        "dict": prepare(lambda: filled()[2].__delitem__),
    }
    found = ratios(benchmark, prepare(lambda: filled()[0].delete), siblings, ROUNDS)
    check(found, locked=1.0, bare=1.6)
