"""Expired keys give their memory back by themselves, and nothing runs when nothing can expire."""

import gc
import threading
import time
from collections.abc import Callable

import dumbkv
from dumbkv import _sweeper
from tests.conftest import OpenStore


def sweepers() -> int:
    return sum(thread.name == "dumbkv-sweeper" for thread in threading.enumerate())


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.005)


def test_memory_of_expired_keys_comes_back_without_a_call(open_store: OpenStore) -> None:
    store = open_store()
    empty = store._next_expiry()
    for n in range(5000):
        store.set(b"%d" % n, bytes(500), ttl=0.05)
    store[b"stays"] = b""
    assert empty is None
    eventually(lambda: store._next_expiry() is None)
    assert store.stats().expired == 5000
    assert store.stats().data_bytes == len(b"stays")


def test_the_sweeper_is_there_only_while_something_can_expire(open_store: OpenStore) -> None:
    eventually(lambda: sweepers() == 0)
    store = open_store()
    store[b"a"] = b"1"
    assert sweepers() == 0
    for _ in range(3):
        store.set(b"b", b"1", ttl=60)
        assert sweepers() == 1
        store.touch(b"b", 0.02)
        eventually(lambda: sweepers() == 0)
        assert len(store) == 1


def test_the_sweeper_ends_with_its_store(open_store: OpenStore) -> None:
    eventually(lambda: sweepers() == 0)
    closed = open_store()
    closed.set(b"a", b"1", ttl=1000)
    forgotten = dumbkv.open(backend=closed.backend)
    forgotten.set(b"a", b"1", ttl=1000)
    assert sweepers() == 2
    closed.close()
    del forgotten
    # Its sweeper may hold it while the collector runs, and a table in Python is in a cycle.
    eventually(lambda: gc.collect() >= 0 and sweepers() == 0)


class Held:
    """A store that has to wait for its lock, or for the interpreter, in every sweep."""

    sweeps = 0

    def sweep(self) -> int:
        time.sleep(0.3)
        self.sweeps += 1
        return 0

    def _next_expiry(self) -> float | None:
        return 0 if self.sweeps < 4 else None

    def _rest(self) -> bool:
        return True


def test_the_sweeper_does_not_rest_for_what_it_waited() -> None:
    held = Held()
    _sweeper.start(held)
    eventually(lambda: held.sweeps == 4, seconds=6)


def test_values_kept_by_reference_are_let_go_of(open_store: OpenStore) -> None:
    store = open_store()
    for n in range(200):
        store.set(b"%d" % n, bytes(100_000), ttl=0.02)
    eventually(lambda: store._next_expiry() is None)
    store.update((b"%d" % n, bytes(100_000)) for n in range(200))
    store.clear()
    assert store.stats().data_bytes == 0
