"""The memory limit: never passed, never at the price of what is there."""

import os
import random
import subprocess
import sys
from typing import Any

import pytest

import dumbkv
from tests.conftest import BACKENDS, OpenStore

MIB = 1024 * 1024


def fill(store: dumbkv.Store, size: int = 100) -> int:
    """Set keys until the store is full; how many it took."""
    for n in range(10**6):
        try:
            store[b"%d" % n] = bytes(size)
        except dumbkv.StoreFullError:
            return n
    raise AssertionError("the store was never full")


def top_up(store: dumbkv.Store) -> None:
    """Take what is left in a full store as well: a shard that has to grow for a new key is full
    before the others, and larger values of keys that are there need no growth."""
    for key in list(store):
        try:
            store[key] = bytes(500)
        except dumbkv.StoreFullError:
            return
    raise AssertionError("the store was never full")


def test_a_full_store_says_so_and_keeps_what_it_has(open_store: OpenStore) -> None:
    store = open_store(max_bytes=MIB)
    count = fill(store)
    top_up(store)
    before = dict(store)
    stats = store.stats()
    assert count == len(before) > 1000
    assert stats.memory_bytes <= MIB
    calls: list[Any] = [
        lambda: store.set(b"new", bytes(1000)),
        lambda: store.add(b"new", bytes(1000)),
        lambda: store.setdefault(b"new", bytes(1000)),
        lambda: store.update({b"7": b"changed", b"new": bytes(9000)}),
        lambda: store.set_many([(b"7", b"changed"), (b"new", bytes(9000))]),
        lambda: store.set(b"7", bytes(20_000)),
    ]
    for call in calls:
        with pytest.raises(dumbkv.StoreFullError, match="of max_bytes=1048576 bytes are in use"):
            call()
    assert store == before
    assert store.stats().sets == stats.sets


def test_a_replaced_value_counts_only_the_difference(open_store: OpenStore) -> None:
    store = open_store(max_bytes=MIB)
    fill(store)
    for _ in range(1000):
        store[b"7"] = random.randbytes(100)
        store.update({b"8": bytes(100), b"9": bytes(100)})


def test_removing_is_always_possible_and_makes_room(open_store: OpenStore) -> None:
    store = open_store(max_bytes=MIB)
    count = fill(store)
    for n in range(0, count, 2):
        del store[b"%d" % n]
    for n in range(0, count, 2):
        store[b"%d" % n] = bytes(100)
    store.clear()
    assert fill(store) >= count * 0.9


def test_large_values_count_in_full(open_store: OpenStore) -> None:
    store = open_store(max_bytes=4 * MIB)
    assert 35 <= fill(store, 100_000) <= 42


def test_lru_takes_every_write_and_drops_what_nobody_reads(open_store: OpenStore) -> None:
    store = open_store(max_bytes=MIB, eviction="lru")
    read = [b"read %d" % n for n in range(100)]
    store.update((key, b"x") for key in read)
    for n in range(50_000):
        store[b"%d" % n] = bytes(100)
        assert store.get(read[n % 100]) == b"x"
    stats = store.stats()
    assert stats.memory_bytes <= MIB
    assert stats.evicted > 40_000
    assert all(key in store for key in read)


def test_lru_refuses_what_could_never_fit(open_store: OpenStore) -> None:
    store = open_store(max_bytes=MIB, eviction="lru")
    store[b"a"] = b"1"
    with pytest.raises(dumbkv.StoreFullError):
        store[b"b"] = bytes(2 * MIB)
    store.update((b"%d" % n, bytes(2000)) for n in range(300))
    assert len(store) == 301


def test_lru_makes_room_for_a_larger_value_from_all_other_keys(open_store: OpenStore) -> None:
    store = open_store(max_bytes=MIB, eviction="lru")
    for n in range(9):
        store[b"%d" % n] = bytes(100_000)
    store[b"8"] = bytes(900_000)
    assert len(store[b"8"]) == 900_000
    assert store.stats().evicted > 0


@pytest.mark.parametrize("eviction", ["reject", "lru"])
def test_a_refused_write_with_a_deadline_says_so_as_well(
    open_store: OpenStore, eviction: str
) -> None:
    store = open_store(max_bytes=MIB, eviction=eviction, default_ttl=60)
    large = bytes(2 * MIB)
    calls: list[Any] = [
        lambda: store.set(b"a", large, ttl=60),
        lambda: store.set(b"a", large),
        lambda: store.setdefault(b"a", large),
        lambda: store.update({b"a": large}),
    ]
    for call in calls:
        with pytest.raises(dumbkv.StoreFullError):
            call()
    assert store._next_expiry() is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_bytes": 1000}, ValueError, "max_bytes is out of range: expected 65536 to"),
        ({"max_bytes": "1G"}, TypeError, "max_bytes must be an int, not str"),
        ({"eviction": "lru"}, ValueError, "eviction='lru' needs max_bytes"),
        (
            {"max_bytes": MIB, "eviction": "fifo"},
            ValueError,
            "eviction is 'fifo': expected 'reject' or 'lru'",
        ),
    ],
)
def test_bad_limits_are_named(
    open_store: OpenStore, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_store(**options)


SCRIPT = """
import gc, random, sys, dumbkv

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
"""
LIMITED = (
    SCRIPT
    + """
store = dumbkv.open(backend=sys.argv[1], max_bytes=int(sys.argv[2]), eviction=sys.argv[3])
before = resident()
n = 0
try:
    while n * 300 < int(sys.argv[2]) * 1.5:
        store[b"%016d" % n] = bytes(256)
        n += 1
except dumbkv.StoreFullError:
    pass
gc.collect()
print((resident() - before) / int(sys.argv[2]))
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("mib", [64, 256, 400])
@pytest.mark.parametrize("eviction", ["reject", "lru"])
def test_the_limit_is_one_on_resident_memory(mib: int, eviction: str) -> None:
    command = [sys.executable, "-c", LIMITED, BACKENDS[-1], str(mib * MIB), eviction]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert 0.8 <= float(done.stdout) <= 1.15


CHURNED = (
    SCRIPT
    + """
store = dumbkv.open(backend=sys.argv[1])
draw = random.Random(1)
keys = [draw.randbytes(16) for _ in range(int(sys.argv[2]))]
before = resident()
for below in map(int, sys.argv[3:]):
    draw.shuffle(keys)
    for n in range(len(keys)):
        if n % 2:
            store.pop(keys[n], None)
            keys[n] = draw.randbytes(16)
        store[keys[n]] = bytes(draw.randrange(below))
print((resident() - before) / len(keys))
"""
)
CHURN_ENTRIES = int(os.environ.get("DUMBKV_CHURN_ENTRIES", "200000"))


def resident_after(*turns: int) -> float:
    """Bytes an entry, of a store where each key was set in each turn, every other one anew under
    another name, to a value of any size below the turn's."""
    command = [sys.executable, "-c", CHURNED, BACKENDS[-1], str(CHURN_ENTRIES), *map(str, turns)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return float(done.stdout)


CHURNS = {"sizes drawn anew": [512] * 11}
if BACKENDS[-1] == "c":  # in Python's own memory, as with a dict, pages are kept by a few objects
    CHURNS |= {
        "larger and smaller turns": [512, 64, 1000, 512, 900, 128, 1000, 256, 700, 1000, 512],
        "a last turn that is smaller": [1000] * 10 + [512],
    }


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("turns", CHURNS.values(), ids=CHURNS)
def test_resident_memory_is_much_the_same_after_a_churn_of_ten_times_the_data(
    turns: list[int],
) -> None:
    fresh, churned = resident_after(turns[-1]), resident_after(*turns)
    print(f"  {fresh:.0f} bytes an entry, {churned / fresh:.2f} times that after", end=" ")
    assert churned <= 1.3 * fresh
