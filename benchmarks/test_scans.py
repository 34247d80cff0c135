"""Keys in order: ranges of a hundred, the first scan, and what order costs writers.

The peers keep order all the time and pay for it with every write; the store sorts when it is
first asked, and from then on notes which keys came and went.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import lmdb
import pytest
import rocksdict
from pytest_benchmark.fixture import BenchmarkFixture
from sortedcontainers import SortedDict

import dumbkv
from benchmarks.interleaved import Prepare, Round, fresh, ratios

N = 1_000_000
RANGE = 100
RANGES = 2000
ROUNDS = int(os.environ.get("DUMBKV_BENCH_ROUNDS", "9"))
VALUE = bytes(range(256))

Pairs: TypeAlias = list[tuple[bytes, bytes]]
Look: TypeAlias = Callable[[bytes], Pairs]
"""The first hundred pairs from a key on."""


@pytest.fixture(scope="module")
def keys() -> list[bytes]:
    return [os.urandom(16) for _ in range(N)]


@pytest.fixture(scope="module")
def store(keys: list[bytes]) -> Iterator[dumbkv.Store]:
    with dumbkv.open() as store:
        store.set_many((key, VALUE) for key in keys)
        yield store


def locked_sorted_dict(keys: list[bytes]) -> Look:
    data, lock = SortedDict((key, VALUE) for key in keys), threading.Lock()

    def look(start: bytes) -> Pairs:
        with lock:
            return [(key, data[key]) for key in islice(data.irange(start), RANGE)]

    return look


def lmdb_cursor(keys: list[bytes], directory: Path) -> Look:
    environment = lmdb.open(str(directory), map_size=4 << 30, sync=False, writemap=True)
    with environment.begin(write=True) as transaction:
        transaction.cursor().putmulti((key, VALUE) for key in sorted(keys))

    def look(start: bytes) -> Pairs:
        with environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(start)
            return list(islice(cursor.iternext(), RANGE))

    return look


def rocks(keys: list[bytes], directory: Path) -> Look:
    data = rocksdict.Rdict(str(directory), rocksdict.Options(raw_mode=True))
    for key in keys:
        data[key] = VALUE

    def look(start: bytes) -> Pairs:
        pairs = iter(data.items(from_key=start))
        return list(islice(pairs, RANGE))  # type: ignore[arg-type]  # its types say less

    return look


def sqlite(keys: list[bytes]) -> Look:
    database = sqlite3.connect(":memory:")
    database.execute("create table kv (k blob primary key, v blob) without rowid")
    database.executemany("insert into kv values (?, ?)", ((key, VALUE) for key in keys))

    def look(start: bytes) -> Pairs:
        query = "select k, v from kv where k >= ? order by k limit ?"
        return database.execute(query, (start, RANGE)).fetchall()

    return look


def test_a_range_of_a_hundred(
    benchmark: BenchmarkFixture, keys: list[bytes], store: dumbkv.Store, tmp_path: Path
) -> None:
    def own(start: bytes) -> Pairs:
        return store.scan(start=start, limit=RANGE).items

    others = {
        "LMDB": lmdb_cursor(keys, tmp_path / "lmdb"),
        "SortedDict + Lock": locked_sorted_dict(keys),
        "RocksDB": rocks(keys, tmp_path / "rocks"),
        "sqlite": sqlite(keys),
    }
    start = os.urandom(16)
    assert all(look(start) == own(start) for look in others.values())

    def prepare(look: Look) -> Prepare:
        return lambda: for_each(look, [os.urandom(16) for _ in range(RANGES)])

    siblings = {name: prepare(look) for name, look in others.items()}
    found = ratios(benchmark, prepare(own), siblings, ROUNDS)
    assert found.pop("LMDB") <= 1.5
    assert max(found.values()) < 1


def for_each(look: Look, starts: list[bytes]) -> Round:
    def run() -> None:
        for start in starts:
            look(start)

    return run


def test_the_first_scan(benchmark: BenchmarkFixture, keys: list[bytes]) -> None:
    def unscanned() -> Round:
        store = dumbkv.open()
        store.set_many((key, b"") for key in keys)
        return lambda: once(store)

    def once(store: dumbkv.Store) -> None:
        store.scan(limit=1)
        store.close()

    def as_a_list() -> Round:
        shuffled = fresh(keys)
        return lambda: leave(sorted(shuffled))

    siblings = {"sorted(keys)": as_a_list}
    assert ratios(benchmark, unscanned, siblings, min(ROUNDS, 5))["sorted(keys)"] <= 1.2


def leave(_: Any) -> None:
    """What was made is gone when this returns, and its end timed, as the store's is."""


@pytest.mark.parametrize("kind", ["new", "present"])
def test_a_set_after_a_scan(benchmark: BenchmarkFixture, keys: list[bytes], kind: str) -> None:
    some = keys[:200_000]

    def prepare(scanned: bool) -> Prepare:
        def make() -> Round:
            store = dumbkv.open()
            store.set_many((key, VALUE) for key in some)
            if scanned:
                store.scan(limit=1)
            wanted = [os.urandom(16) for _ in some] if kind == "new" else fresh(some)

            def run() -> None:
                put = store.set
                for key in wanted:
                    put(key, VALUE)

            return run

        return make

    siblings = {"a store without order": prepare(False)}
    found = ratios(benchmark, prepare(True), siblings, ROUNDS)
    assert found["a store without order"] <= 1.3
