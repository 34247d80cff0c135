"""Conditions, expiry, counters, limits, lifetime: the corners by example."""

import gc
import time
import weakref
from typing import Any

import pytest

import dumbkv
from tests.conftest import OpenStore

WALL = 1_700_000_000_000_000


def test_set_tells_the_version_it_made(store: dumbkv.Store) -> None:
    before = time.time_ns() // 1000 - 10_000  # a version's clock may step by 4 ms
    first = store.set(b"a", b"1")
    second = store.set(b"a", b"2")
    assert first is not None
    assert second is not None
    assert before <= first < second < 2**53
    assert store.entry(b"a") == (b"a", b"2", second, None)


def test_compare_and_set_lets_one_of_two_writers_win(store: dumbkv.Store) -> None:
    version = store.set(b"a", b"1")
    assert store.set(b"a", b"mine", if_version=version)
    assert store.set(b"a", b"theirs", if_version=version) is None
    assert store[b"a"] == b"mine"


def test_a_version_does_not_come_back_with_its_key(store: dumbkv.Store) -> None:
    version = store.set(b"a", b"1")
    del store[b"a"]
    store[b"a"] = b"1"
    assert store.set(b"a", b"2", if_version=version) is None


def test_expired_keys_are_gone_for_every_method(store: dumbkv.Store) -> None:
    store._set_clock(10**9, WALL)
    for key in (b"a", b"b", b"c", b"d", b"e", b"f"):
        store.set(key, b"1", ttl=5)
    assert store.ttl(b"a") == 5.0
    entry = store.entry(b"a")
    assert entry is not None
    assert entry.expires_at == WALL / 1e6 + 5
    store._set_clock(10**9 + 4_999_999, WALL)
    assert b"a" in store
    store._set_clock(10**9 + 5_000_000, WALL)
    assert store.get(b"a") is None
    assert b"b" not in store
    assert store.entry(b"c") is None
    assert store.set(b"d", b"2", xx=True) is None
    assert not store.delete(b"e")
    assert not store.touch(b"f", 5)
    assert len(store) == 0
    assert list(store) == []
    assert store.stats().expired == 6
    assert store.stats().data_bytes == 0


def test_sweep_counts_what_it_clears_away(store: dumbkv.Store) -> None:
    store._set_clock(10**9, WALL)
    store.update((b"stays %d" % n, b"") for n in range(100))
    for n in range(1000):
        store.set(b"%d" % n, b"x" * n, ttl=1 + n // 500)
    store._set_clock(10**9 + 1_000_000, WALL)
    assert store.sweep() == 500
    assert store.sweep() == 0
    store._set_clock(10**9 + 9_000_000, WALL)
    assert store.sweep() == 500
    assert len(store) == 100


def test_the_wall_clock_set_back_neither_kills_nor_keeps_a_key(store: dumbkv.Store) -> None:
    store._set_clock(10**9, WALL)
    store.set(b"a", b"1", ttl=10)
    newest = store.set(b"b", b"1")
    store._set_clock(10**9 + 9_000_000, WALL - 3600 * 10**6)
    assert store.ttl(b"a") == 1.0
    assert store.set(b"b", b"2") == (newest or 0) + 1
    store._set_clock(10**9 + 10_000_000, WALL - 3600 * 10**6)
    assert b"a" not in store


def test_default_ttl_is_for_writes_that_name_none(open_store: OpenStore) -> None:
    store = open_store(default_ttl=60)
    store._set_clock(10**9, WALL)
    store[b"item"] = b""
    store.update({b"update": b""})
    store.setdefault(b"setdefault", b"")
    store.incr(b"incr")
    store.set(b"own", b"", ttl=5)
    store.set(b"never", b"", ttl=float("inf"))
    left = {key: store.ttl(key) for key in store}
    assert left.pop(b"own") == 5
    assert left.pop(b"never") is None
    assert set(left.values()) == {60.0}


def test_a_write_takes_the_old_expiry_away_unless_told_to_keep_it(store: dumbkv.Store) -> None:
    store.set(b"a", b"1", ttl=60)
    store.set(b"a", b"2", keep_ttl=True)
    assert store.ttl(b"a") is not None
    store[b"a"] = b"3"
    assert store.ttl(b"a") is None


def test_touch_and_persist_leave_the_version(store: dumbkv.Store) -> None:
    version = store.set(b"a", b"1")
    assert store.touch(b"a", 60)
    assert store.persist(b"a")
    assert not store.persist(b"a")
    entry = store.entry(b"a")
    assert entry is not None
    assert entry.version == version
    assert entry.value == b"1"


def test_incr_is_a_fixed_window_counter(store: dumbkv.Store) -> None:
    store._set_clock(10**9, WALL)
    assert [store.incr(b"hits", ttl=10) for _ in range(3)] == [1, 2, 3]
    store._set_clock(10**9 + 10_000_000, WALL)
    assert store.incr(b"hits", ttl=10) == 1
    assert store[b"hits"] == b"1"


def test_incr_refuses_what_it_cannot_add(store: dumbkv.Store) -> None:
    for value in (b"", b"one", b"1.5", b" 1", b"+1", b"007", b"-0", b"-", b"9" * 19, b"1" * 30):
        store[b"a"] = value
        with pytest.raises(dumbkv.NotAnIntegerError, match="not a decimal 64-bit integer"):
            store.incr(b"a")
        assert store[b"a"] == value
    store[b"a"] = b"%d" % (2**63 - 1)
    with pytest.raises(OverflowError, match="does not fit a signed 64-bit integer"):
        store.incr(b"a")
    assert store.decr(b"a", 2**63 - 1) == 0


def test_limits_are_the_callers(open_store: OpenStore) -> None:
    store = open_store(max_key=3, max_value=4)
    store[b"abc"] = b"1234"
    with pytest.raises(
        dumbkv.InvalidKeyError, match=r"the key has 4 bytes: expected 1 to 3: b'abcd'"
    ):
        store[b"abcd"] = b""
    with pytest.raises(dumbkv.InvalidKeyError, match="the key is empty: expected 1 to 3 bytes"):
        store.get(b"")
    with pytest.raises(dumbkv.TooLargeError, match="the value has 5 bytes: expected at most 4"):
        store[b"abc"] = b"12345"
    assert (store.max_key, store.max_value) == (3, 4)
    assert store == {b"abc": b"1234"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_key": 0}, ValueError, "max_key is out of range: expected 1 to 65535"),
        ({"max_key": "9"}, TypeError, "max_key must be an int, not str"),
        ({"max_value": -1}, ValueError, "max_value is out of range: expected 0 to 4294967295"),
        ({"max_value": 2**70}, ValueError, "max_value is out of range"),
        ({"default_ttl": 0}, ValueError, "default_ttl is 0: expected seconds above 0"),
        ({"default_ttl": "1"}, TypeError, "default_ttl must be a number of seconds, not str"),
        ({"colour": 1}, TypeError, "colour"),
    ],
)
def test_bad_options_are_named(
    open_store: OpenStore, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_store(**options)


def test_the_largest_key_and_an_empty_value_are_kept(open_store: OpenStore) -> None:
    store = open_store(max_key=65535)
    store[b"k" * 65535] = b""
    assert store[b"k" * 65535] == b""


def test_a_value_of_the_default_limit_comes_back(store: dumbkv.Store) -> None:
    value = bytes(range(256)) * 65536
    store[b"a"] = value
    assert store[b"a"] == value
    with pytest.raises(dumbkv.TooLargeError):
        store[b"a"] = value + b"x"
    assert store[b"a"] == value


def test_wrong_calls_say_what_is_wrong(store: dumbkv.Store) -> None:
    untyped: Any = store
    calls: list[Any] = [
        lambda: untyped.get(),
        lambda: untyped.get(b"a", b"b", b"c"),
        lambda: untyped.get(b"a", key=b"a"),
        lambda: untyped.set(b"a"),
        lambda: untyped.set(b"a", b"b", 5),
        lambda: untyped.set(b"a", b"b", colour=1),
        lambda: untyped.delete(),
        lambda: untyped.pop(),
        lambda: untyped.incr(b"a", by="1"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert not store


def test_arguments_may_be_given_by_name(store: dumbkv.Store) -> None:
    assert store.set(key=b"a", value=b"1")
    assert store.get(key=b"a") == b"1"
    assert store.get(key=b"b", default=b"2") == b"2"
    assert store.add(key=b"c", value=b"3")
    assert store.setdefault(key=b"c", default=b"4") == b"3"
    assert store.incr(key=b"n", by=2) == 2
    assert store.touch(key=b"a", ttl=5)
    assert store.pop(key=b"a", default=None) == b"1"
    assert store.delete(key=b"c")


def test_every_method_of_a_closed_store_says_so(store: dumbkv.Store) -> None:
    store[b"a"] = b"1"
    store.close()
    store.close()
    assert store.closed
    calls: list[Any] = [
        lambda: store[b"a"], lambda: store.get(b"a"), lambda: b"a" in store, lambda: len(store),
        lambda: store.entry(b"a"), lambda: store.ttl(b"a"), lambda: store.set(b"a", b""),
        lambda: store.__setitem__(b"a", b""), lambda: store.add(b"a", b""), lambda: list(store),
        lambda: store.setdefault(b"a", b""), lambda: store.update({}), lambda: store.incr(b"a"),
        lambda: store.touch(b"a", 1), lambda: store.persist(b"a"), lambda: store.delete(b"a"),
        lambda: store.__delitem__(b"a"), lambda: store.pop(b"a", None), lambda: store.popitem(),
        lambda: store.clear(), lambda: store.sweep(), lambda: store.stats(),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(dumbkv.ClosedError, match="the store is closed"):
            call()


def test_the_context_manager_closes(open_store: OpenStore) -> None:
    with open_store() as store:
        store[b"a"] = b"1"
    assert store.closed


def test_a_forgotten_store_is_freed(open_store: OpenStore) -> None:
    store = dumbkv.open(backend=open_store().backend)
    store[b"a"] = b"1"
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None


def test_backend_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dumbkv.open(backend="python").backend == "python"
    monkeypatch.setenv("DUMBKV_BACKEND", "python")
    assert dumbkv.open().backend == "python"
    monkeypatch.setenv("DUMBKV_BACKEND", "rust")
    with pytest.raises(ValueError, match="DUMBKV_BACKEND is 'rust': expected 'auto', 'c' or"):
        dumbkv.open()
    with pytest.raises(ValueError, match="backend is 'go': expected 'auto', 'c' or 'python'"):
        dumbkv.open(backend="go")  # type: ignore[arg-type]  # the point


def test_backend_c_is_never_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dumbkv._store.NativeStore", None)
    monkeypatch.setattr("dumbkv._store._why_no_c", "not built", raising=False)
    with pytest.raises(RuntimeError, match="C table was asked for but is not there"):
        dumbkv.open(backend="c")
    assert dumbkv.open(backend="auto").backend == "python"
