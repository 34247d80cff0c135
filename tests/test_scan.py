"""Keys in order: pages, ranges, cursors, and what keeps them in step."""

import gc
import threading
import time
import weakref
from typing import Any

import pytest

import dumbkv
from tests.conftest import BACKENDS, OpenStore
from tests.test_threads import run

KEYS = [b"a", b"a\x00", b"ab", b"b", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]


@pytest.fixture
def nine(store: dumbkv.Store) -> dumbkv.Store:
    store.update({key: key.hex().encode() for key in reversed(KEYS)})
    return store


def test_pages_go_through_all_of_it(nine: dumbkv.Store) -> None:
    for reverse in (False, True):
        for limit in range(1, len(KEYS) + 2):
            found, after = [], None
            while True:
                page = nine.scan(limit=limit, after=after, reverse=reverse)
                found += page.items
                after = page.next
                if after is None:
                    break
                assert len(page.items) == limit
            expected = sorted(KEYS, reverse=reverse)
            assert found == [(key, key.hex().encode()) for key in expected]


def test_the_cursor_need_not_be_there(nine: dumbkv.Store) -> None:
    page = nine.scan(limit=2)
    assert page.next == b"a\x00"
    del nine[b"a\x00"]
    assert nine.scan(after=page.next, limit=1).items[0][0] == b"ab"
    assert nine.scan(after=b"zzz").items[0][0] == b"\xff"


def test_a_range_that_holds_nothing(nine: dumbkv.Store) -> None:
    nothing: list[dict[str, Any]] = [
        {"start": b"b", "end": b"b"},
        {"start": b"c", "end": b"a"},
        {"prefix": b"x"},
        {"prefix": b"a", "start": b"b"},
        {"after": b"\xff\xff"},
    ]
    for bounds in nothing:
        assert nine.scan(**bounds) == ([], None)
        assert list(nine.iter_scan(**bounds)) == []
        assert list(nine.scan_keys(**bounds)) == []


def test_prefixes_of_the_last_byte(nine: dumbkv.Store) -> None:
    assert list(nine.scan_keys(prefix=b"\xff")) == [b"\xff", b"\xff\xff"]
    assert list(nine.scan_keys(prefix=b"b\xff")) == [b"b\xff", b"b\xff\xff"]
    assert nine.count(b"\xff\xff") == 1
    assert nine.delete_prefix(b"b\xff") == 2
    assert nine.count() == len(KEYS) - 2


def test_expired_keys_never_come(store: dumbkv.Store) -> None:
    store._set_clock(1_000_000, 2_000_000)
    store.set(b"a", b"", ttl=0.01)
    store[b"b"] = b""
    assert store.count(b"a") == 1
    store._set_clock(1_010_000, 2_010_000)
    assert list(store.scan_keys()) == [b"b"]
    assert store.count(b"a") == 0
    store[b"a"] = b""
    assert list(store.scan_keys()) == [b"a", b"b"]


def test_clear_and_close(store: dumbkv.Store) -> None:
    store.update({b"a": b"", b"b": b""})
    walk = store.iter_scan()
    assert next(walk) == (b"a", b"")
    store.clear()
    assert store.scan() == ([], None)
    store[b"c"] = b""
    assert list(store.scan_keys()) == [b"c"]
    store.close()
    with pytest.raises(dumbkv.ClosedError):
        store.scan()
    with pytest.raises(dumbkv.ClosedError):
        list(store.scan_keys())


def test_so_many_changes_that_all_is_sorted_anew(store: dumbkv.Store) -> None:
    store[b"x"] = b""
    assert store.count(b"x") == 1
    for n in range(200_000):
        store[b"%d" % (n % 1000)] = b""
        if n % 3:
            del store[b"%d" % (n % 1000)]
    assert list(store.scan_keys()) == sorted(store)


def test_writing_between_scans_keeps_what_was_noted_bounded(store: dumbkv.Store) -> None:
    store[b"x"] = b""
    store.scan()
    before = store.stats().memory_bytes
    for _ in range(100):
        for n in range(2000):
            store[b"%d" % n] = b""
        store.delete_many([b"%d" % n for n in range(2000)])
    assert store.stats().memory_bytes - before < 4 << 20


def test_kept_in_order_by_itself(open_store: OpenStore) -> None:
    store = open_store(ordered=True)
    for n in range(1000):
        store[b"%d" % n] = b""
    end = time.monotonic() + 10
    while store._catch_up() and time.monotonic() < end:
        time.sleep(0.01)
    assert list(store.scan_keys()) == sorted(store)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_keeper_ends_with_its_store(backend: str) -> None:
    store = dumbkv.open(backend=backend, ordered=True)  # type: ignore[arg-type]  # a name
    gone = weakref.ref(store)
    before = sum(thread.name == "dumbkv-order" for thread in threading.enumerate())
    assert before >= 1
    del store
    end = time.monotonic() + 10
    while time.monotonic() < end:
        gc.collect()
        names = [thread.name for thread in threading.enumerate()]
        if gone() is None and names.count("dumbkv-order") < before:
            return
        time.sleep(0.02)
    raise AssertionError("the thread or its store is still there")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": 0}, ValueError, "limit is 0: expected at least 1"),
        ({"limit": "1"}, TypeError, "limit must be an int, not str"),
        ({"limit": True}, TypeError, "limit must be an int, not bool"),
        ({"prefix": "a"}, TypeError, "must be bytes"),
        ({"start": 1}, TypeError, "must be bytes"),
    ],
)
def test_nonsense_is_refused(
    store: dumbkv.Store, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.scan(**options)  # type: ignore[arg-type]  # nonsense


@pytest.mark.parametrize("backend", BACKENDS)
class TestFork:
    def test_parent_and_child_scan_after_a_fork_under_scans(self, backend: str) -> None:
        run(
            backend,
            """
            import os, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            store.set_many((b"%04d" % n, b"") for n in range(2000))
            stop = threading.Event()
            def scan(n):
                while not stop.is_set():
                    assert sum(1 for _ in store.scan_keys(prefix=b"0")) == 1000
            def write(n):
                while not stop.is_set():
                    store[b"x%d" % random.randrange(500)] = b""
                    store.delete(b"x%d" % random.randrange(500))
            def fork(n):
                try:
                    for _ in range(20):
                        child = os.fork()
                        if not child:
                            code = 3
                            try:
                                store[b"child"] = b""
                                keys = list(store.scan_keys())
                                code = 0 if keys == sorted(store) and b"child" in keys else 4
                            finally:
                                os._exit(code)
                        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                finally:
                    stop.set()
            together(scan, scan, write, fork)
            """,
        )
