"""A store on disk beside others that are: setting keys, opening, and a snapshot under load.

Each of them writes a log of its own. None waits for the disk but where it says so. The dict with
a log is what one writes by hand: a lock, a header by struct, zlib's checksum and os.write.
"""

import json
import os
import pickle
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache
import plyvel
import pytest
import redis
import rocksdict
from pytest_benchmark.fixture import BenchmarkFixture

import dumbkv
from benchmarks.interleaved import Prepare, Round, ratios
from benchmarks.siblings import LockedDict

N = 20_000
FEW = 2_000
MANY = 1_000_000
THREADS = 8
VALUES = [os.urandom(256) for _ in range(N)]
ROUNDS = int(os.environ.get("DUMBKV_BENCH_ROUNDS", "9"))

Set = Callable[[bytes, bytes], object]


class LoggedDict(LockedDict):
    """A dict behind a lock with a log, written by hand."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def set(self, key: bytes, value: bytes) -> None:
        with self._lock:
            body = struct.pack("<BHI", 1, len(key), len(value)) + key + value
            os.write(self._file, struct.pack("<II", len(body), zlib.crc32(body)) + body)
            self._data[key] = value

    def close(self) -> None:
        os.close(self._file)


class Places:
    """A new directory for each round; whatever was open in the last one is closed first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._count = 0
        self._close: list[Callable[[], object]] = []

    def new(self) -> Path:
        self.clear()
        self._count += 1
        path = self._root / str(self._count)
        path.mkdir()
        return path

    def clear(self) -> None:
        while self._close:
            self._close.pop()()
        shutil.rmtree(self._root / str(self._count), ignore_errors=True)

    def opened(self, thing: Any) -> Any:
        self._close.append(thing.close)
        return thing


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    places = Places(tmp_path)
    yield places
    places.clear()


def store_at(path: Path, fsync: Any = "everysec") -> dumbkv.Store:
    return dumbkv.open(path / "data", backend="c", fsync=fsync)


def rocks(path: Path) -> Any:
    return rocksdict.Rdict(str(path / "data"), options=rocksdict.Options(raw_mode=True))


def sqlite_set(places: Places, path: Path) -> Set:
    connection = places.opened(sqlite3.connect(path / "data", isolation_level=None))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE data (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    return lambda key, value: connection.execute(
        "INSERT OR REPLACE INTO data VALUES (?, ?)", (key, value)
    )


def keys(count: int) -> list[bytes]:
    return [os.urandom(16) for _ in range(count)]


def setting(places: Places, make: Callable[[Path], Set], count: int = N) -> Prepare:
    def prepare() -> Round:
        call = make(places.new())
        pairs = list(zip(keys(count), VALUES, strict=False))

        def run() -> None:
            for key, value in pairs:
                call(key, value)

        return run

    return prepare


def test_set(benchmark: BenchmarkFixture, places: Places) -> None:
    siblings: dict[str, Callable[[Path], Set]] = {
        "dict with a log": lambda path: places.opened(LoggedDict(path / "data")).set,
        "plyvel": lambda path: (
            places.opened(plyvel.DB(str(path / "data"), create_if_missing=True)).put
        ),
        "rocksdict": lambda path: places.opened(rocks(path)).__setitem__,
        "sqlite3": lambda path: sqlite_set(places, path),
    }
    found = ratios(
        benchmark,
        setting(places, lambda path: places.opened(store_at(path)).set),
        {name: setting(places, make) for name, make in siblings.items()},
        ROUNDS,
    )
    assert found["dict with a log"] <= 1 / 1.1
    assert found["plyvel"] <= 1 / 1.5
    assert found["rocksdict"] <= 1 / 2
    assert found["sqlite3"] <= 1 / 10


def test_set_beside_diskcache(benchmark: BenchmarkFixture, places: Places) -> None:
    def cache(path: Path) -> Set:
        call: Set = places.opened(diskcache.Cache(str(path))).set
        return call

    found = ratios(
        benchmark,
        setting(places, lambda path: places.opened(store_at(path)).set, FEW),
        {"diskcache": setting(places, cache, FEW)},
        ROUNDS,
    )
    assert found["diskcache"] <= 1 / 15


def test_set_many(benchmark: BenchmarkFixture, places: Places) -> None:
    def many(path: Path) -> Round:
        store = places.opened(store_at(path))
        pairs = list(zip(keys(N), VALUES, strict=True))
        groups = [pairs[n : n + 100] for n in range(0, N, 100)]

        def run() -> None:
            for group in groups:
                store.set_many(group)

        return run

    def writes(path: Path) -> Round:
        file = places.opened(open(path / "data", "wb", buffering=0))  # noqa: SIM115  # Places closes it
        record, descriptor = bytes(303), file.fileno()

        def run() -> None:
            for _ in range(N):
                os.write(descriptor, record)

        return run

    found = ratios(
        benchmark,
        lambda: many(places.new()),
        {"os.write of as many bytes": lambda: writes(places.new())},
        ROUNDS,
    )
    assert found["os.write of as many bytes"] <= 1 / 2.5


def test_set_by_threads_that_wait_for_the_disk(benchmark: BenchmarkFixture, places: Places) -> None:
    each = 100

    def together(call: Set) -> Round:
        own = [keys(each) for _ in range(THREADS)]

        def write(n: int) -> None:
            for key in own[n]:
                call(key, VALUES[0])

        def run() -> None:
            threads = [threading.Thread(target=write, args=(n,)) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        return run

    def level(path: Path) -> Set:
        db = places.opened(plyvel.DB(str(path / "data"), create_if_missing=True))
        return lambda key, value: db.put(key, value, sync=True)

    found = ratios(
        benchmark,
        lambda: together(places.opened(store_at(places.new(), "always")).set),
        {"plyvel": lambda: together(level(places.new()))},
        ROUNDS,
    )
    assert found["plyvel"] <= 1.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million entries: a store's directory, a pickled dict, and a Redis server's log."""
    root = tmp_path_factory.mktemp("large")
    pairs = [(key, VALUES[n % N]) for n, key in enumerate(keys(MANY))]
    with dumbkv.open(root / "data", backend="c", fsync="never") as store:
        for n in range(0, MANY, 1000):
            store.set_many(pairs[n : n + 1000])
    (root / "pickle").write_bytes(pickle.dumps(dict(pairs), protocol=5))
    with redis_at(root) as client:
        for n in range(0, MANY, 10_000):
            client.mset(dict(pairs[n : n + 10_000]))
    return root


class redis_at:  # noqa: N801  # it is used as a function
    """A Redis server with a log in this directory, once it has read that."""

    def __init__(self, root: Path) -> None:
        self._socket = root / "socket"
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._socket)]
        command += ["--dir", str(root), "--appendonly", "yes", "--appendfsync", "no", "--save", ""]
        command += ["--auto-aof-rewrite-percentage", "0", "--aof-use-rdb-preamble", "no"]
        self._began = time.perf_counter()
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def __enter__(self) -> Any:
        client: Any = redis.Redis(unix_socket_path=str(self._socket))
        deadline = time.monotonic() + 120
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        self.seconds = time.perf_counter() - self._began
        return client

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait()


OPENING = """
import json, sys, time
def memory(what):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))
import dumbkv, pickle
before = memory("VmRSS")
began = time.perf_counter()
if sys.argv[1] == "store":
    held = dumbkv.open(sys.argv[2], backend="c")
else:
    with open(sys.argv[2], "rb") as file:
        held = pickle.load(file)
seconds = time.perf_counter() - began
peak, now = memory("VmHWM"), memory("VmRSS")
print(json.dumps([seconds, len(held), (peak - before) / (now - before)]))
"""


def opened(what: str, path: Path) -> Any:
    command = [sys.executable, "-c", OPENING, what, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def test_opening_a_million(benchmark: BenchmarkFixture, large: Path) -> None:
    store, pickled, other = [], [], []
    for _ in range(3):
        seconds, count, peak = opened("store", large / "data")
        assert count == MANY
        assert peak <= 1.2
        store.append(seconds)
        pickled.append(opened("pickle", large / "pickle")[0])
        server = redis_at(large)
        with server as client:
            assert client.dbsize() == MANY
            other.append(server.seconds)
    benchmark.pedantic(lambda: opened("store", large / "data"), rounds=1)
    print(f"  {min(store):.2f} s, {min(store) / min(pickled):.2f} of unpickling, ", end="")
    print(
        f"{min(store) / min(other):.2f} of Redis, memory at most {peak:.2f} of the end's", end=" "
    )
    assert min(store) <= 1.5 * min(pickled)
    assert min(store) <= 0.6 * min(other)


SNAPSHOT = """
import json, os, random, sys, threading, time
from array import array
import dumbkv
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
store = dumbkv.open(sys.argv[1], backend="c")
keys = random.sample(list(store), 100_000)
for key in keys[:50_000]:
    store[key] = os.urandom(256)
def counts():
    return array("Q", [0]) * 1_000_000  # how many took so many tenths of a microsecond
def paces(until, tenths):
    count = 0
    while until():
        key, value = random.choice(keys), os.urandom(256)
        began = time.perf_counter()
        store[key] = value
        tenths[min(int((time.perf_counter() - began) * 1e7), len(tenths) - 1)] += 1
        count += 1
    left = count * 99 // 100
    for pace, times in enumerate(tenths):
        left -= times
        if left < 0:
            return pace / 1e7, count
first, second = counts(), counts()  # what measuring takes is there before
end = time.monotonic() + 3
alone = paces(lambda: time.monotonic() < end, first)
before = resident()
thread = threading.Thread(target=store.snapshot)
thread.start()
most = [before]
def going():
    most[0] = max(most[0], resident()) if random.random() < 0.001 else most[0]
    return thread.is_alive()
beside = paces(going, second)
print(json.dumps([alone, beside, most[0] - before]))
"""


def test_a_snapshot_of_a_million_under_load(benchmark: BenchmarkFixture, large: Path) -> None:
    def run() -> Any:
        command = [sys.executable, "-c", SNAPSHOT, str(large / "data")]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    (alone, _), (beside, count), more = benchmark.pedantic(run, rounds=1)
    print(f"  p99 of a set {alone * 1e6:.1f} us alone, {beside * 1e6:.1f} us beside ", end="")
    print(f"({count} sets), {more / 2**20:.1f} MiB more", end=" ")
    assert beside <= 2 * alone
    assert more <= 16 << 20
