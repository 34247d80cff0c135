"""Views over many keys: order, batches, watching, and iterators that hold few keys at a time."""

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import dumbkv
from tests.conftest import OpenStore

number = dumbkv.Codec[int](lambda n: n.to_bytes(4, "big"), lambda b: int.from_bytes(b, "big"))


@pytest.fixture
def users(store: dumbkv.Store) -> dumbkv.View[str, Any]:
    """A namespace of a namespace, with keys of others on both sides of it."""
    store.update((key, b"\xff") for key in (b"app", b"app:", b"app:user", b"app:user;", b"\xff"))
    return store.namespace(b"app:").text().namespace("user:").json()


# Order


def test_ranges_and_directions_are_those_of_the_namespaces_own_keys(
    store: dumbkv.Store, users: dumbkv.View[str, Any]
) -> None:
    users.update((f"{letter}{n}", n) for letter in "abc" for n in range(3))
    keys = sorted(users)
    assert len(keys) == len(users) == users.count() == 9

    def scanned(**options: Any) -> list[str]:
        found = list(users.scan_keys(**options))
        assert [key for key, _ in users.iter_scan(**options)] == found
        assert [key for key, _ in users.scan(**options).items] == found
        return found

    assert scanned() == keys
    assert scanned(reverse=True) == keys[::-1]
    assert scanned(prefix="b") == ["b0", "b1", "b2"]
    assert scanned(prefix="b", start="b1") == ["b1", "b2"]
    assert scanned(prefix="b", end="b1") == ["b0"]
    assert scanned(start="a2", end="b1") == ["a2", "b0"]
    assert scanned(start="") == keys
    assert scanned(end="") == []
    assert scanned(after="a2", end="b1") == ["b0"]
    assert scanned(after="a1x") == keys[2:]
    assert scanned(after="b0", reverse=True) == ["a2", "a1", "a0"]
    assert scanned(prefix="b", after="b1", reverse=True) == ["b0"]
    assert scanned(prefix="z") == []
    assert scanned(start="c", end="a") == []
    assert users.count("b") == 3


@pytest.mark.parametrize("reverse", [False, True])
def test_pages_go_on_after_the_key_they_give(users: dumbkv.View[str, Any], reverse: bool) -> None:
    users.update((f"{n:02}", n) for n in range(10))
    seen: list[int] = []
    after = None
    while True:
        page = users.scan(after=after, limit=4, reverse=reverse)
        assert isinstance(page, dumbkv.Page)
        seen += [value for _, value in page.items]
        if page.next is None:
            break
        assert page.next == page.items[-1][0]
        after = page.next
    assert seen == sorted(range(10), reverse=reverse)


def test_removing_a_prefix_leaves_all_others(
    store: dumbkv.Store, users: dumbkv.View[str, Any]
) -> None:
    others = dict(store)
    users.update({"": 0, "a": 1, "ab": 2, "b": 3})
    assert users.delete_prefix("a") == 2
    assert dict(users) == {"": 0, "b": 3}
    assert users.delete_prefix("z") == 0
    assert users.delete_prefix("") == 2
    assert dict(store) == others
    users["a"] = 1
    users.clear()
    assert dict(store) == others


def test_a_namespace_at_the_end_of_all_keys_has_an_end(store: dumbkv.Store) -> None:
    view = store.namespace(b"\xff\xff")
    view.update({b"": b"1", b"\xff": b"2"})
    store[b"\xff"] = b"3"
    assert list(view) == [b"", b"\xff"]
    assert list(view.scan_keys(reverse=True)) == [b"\xff", b""]
    assert (view.delete_prefix(b"\xff"), len(store)) == (1, 2)


def test_an_ordered_store_has_ordered_views(open_store: OpenStore) -> None:
    view = open_store(ordered=True).namespace(b"n").view(number, number)
    view.update((n, n * n) for n in range(2000, 0, -1))
    assert list(view.scan_keys(start=5, end=9)) == [5, 6, 7, 8]
    assert view.scan(reverse=True, limit=1).items == [(2000, 4000000)]


KEYS = 200_000

ITERATORS: list[Callable[[dumbkv.View[int, int]], Iterable[Any]]] = [
    lambda view: view.scan_keys(),
    lambda view: view.iter_scan(),
    iter,
    lambda view: view.items(),
]


@pytest.mark.parametrize("prefix", [b"", b"user:"])
def test_an_iterator_holds_few_keys_however_many_there_are(
    open_store: OpenStore, prefix: bytes
) -> None:
    """What it allocates at its highest, beside the store's order of keys, which is made once."""
    store = open_store()
    view = store.namespace(prefix).view(number, number)
    view.set_many((n, n) for n in range(KEYS))
    assert sum(1 for _ in view.scan_keys(end=1)) == 1
    peaks = []
    for iterator in ITERATORS:
        tracemalloc.start()
        try:
            seen = sum(1 for _ in iterator(view))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert seen == KEYS
    assert max(peaks) < 256 * 1024, peaks


# Batches


def test_a_batch_writes_what_the_codecs_make(
    store: dumbkv.Store, users: dumbkv.View[str, Any]
) -> None:
    others = dict(store)
    version = users.set("ann", {"visits": 1})
    users["old"] = None
    with users.batch() as b:
        b.check("ann", version)
        b.check("bob", None)
        b.set("ann", {"visits": 2}, ttl=60)
        b.delete("old")
        b.delete("never")
        b.incr("count", 3)
        b.incr("count", ttl=5)
        assert users["ann"] == {"visits": 1}, "nothing is done before the end"
    entry = users.entry("ann")
    assert entry is not None
    assert b.results == [entry.version, True, False, 3, 4]
    assert dict(users) == {"ann": {"visits": 2}, "count": 4}
    assert users.ttl("ann") is not None
    with users.batch() as b:
        b.set("ann", 1, keep_ttl=True)
        b.set("count", 1)
    assert users.ttl("ann") is not None
    assert users.ttl("count") is None
    users.clear()
    assert dict(store) == others


def test_a_conflict_names_the_key_as_the_store_has_it(users: dumbkv.View[str, Any]) -> None:
    users["ann"] = 1
    b = users.batch()
    b.set("bob", 1)
    with pytest.raises(dumbkv.ConflictError, match="the key b'app:user:ann' is not") as caught, b:
        b.check("ann", None)
    assert caught.value.key == b"app:user:ann"
    assert dict(users) == {"ann": 1}


def test_what_does_not_encode_ends_the_batch_with_nothing_done(
    store: dumbkv.Store, users: dumbkv.View[Any, Any]
) -> None:
    before = dict(store)
    wrong: list[tuple[Callable[[Any], Any], str]] = [
        (lambda b: b.set("a", {1}), "value cannot be JSON"),
        (lambda b: b.set(b"a", 1), "key must be str, not bytes"),
        (lambda b: b.check(5, None), "key must be str, not int"),
        (lambda b: b.delete(5), "key must be str, not int"),
        (lambda b: b.incr(None), "key must be str, not NoneType"),
    ]
    for call, message in wrong:
        b = users.batch()
        b.set("good", 1)
        with pytest.raises(TypeError, match=message), b:
            call(b)
        assert b.results == []
    users["list"] = []
    b = users.batch()
    b.set("good", 1)
    with pytest.raises(dumbkv.NotAnIntegerError, match="at key b'app:user:list'"), b:
        b.incr("list")
    users.delete("list")
    assert dict(store) == before
    with pytest.raises(RuntimeError, match="the batch is over"):
        b.set("late", 1)


# Watching


def test_a_watch_tells_of_the_namespaces_keys_without_its_prefix(
    store: dumbkv.Store, users: dumbkv.View[str, Any]
) -> None:
    with users.watch(timeout=0) as every, users.watch("b") as some:
        version = users.set("ann", 1)
        users["bob"] = 2
        users[""] = 3
        store.update({b"app:user": b"", b"app:user;": b"", b"other": b""})
        del users["bob"]
        events = list(every)
        assert isinstance(events[0], dumbkv.Event)
        assert [event[:2] for event in events] == [
            ("set", "ann"),
            ("set", "bob"),
            ("set", ""),
            ("delete", "bob"),
        ]
        assert events[0].version == version
        assert [event.version for event in events] == sorted(event.version for event in events)
        first, second = some.get(0), some.get(0)
        assert first is not None
        assert second is not None
        assert (first[:2], second[:2]) == (("set", "bob"), ("delete", "bob"))
        assert some.get(0) is None
        with users.watch(since=events[1].version, timeout=0) as later:
            assert list(later) == events[2:]


def test_all_that_is_cleared_is_one_event_and_a_namespace_one_for_each_key(
    store: dumbkv.Store, users: dumbkv.View[str, Any]
) -> None:
    users["ann"] = 1
    with users.watch(timeout=0) as events:
        users.clear()
        store.clear()
        assert [event[:2] for event in events] == [("delete", "ann"), ("clear", None)]
    with store.view(number, number).watch(timeout=0) as numbers:
        store[b"\0\0\0\1"] = b""
        store.clear()
        assert [event[:2] for event in numbers] == [("set", 1), ("clear", None)]


def test_an_expiry_is_told_of(store: dumbkv.Store, users: dumbkv.View[str, Any]) -> None:
    store._set_clock(10**9, 10**15)
    with users.watch(timeout=0) as events:
        users.set("ann", 1, ttl=5)
        store._set_clock(10**9 + 6 * 10**6, 10**15)
        store.sweep()
        assert [event[:2] for event in events] == [("set", "ann"), ("expire", "ann")]


def test_a_key_that_does_not_decode_is_an_error_and_the_watch_goes_on(
    store: dumbkv.Store,
) -> None:
    with store.text().watch(timeout=0) as events:
        store[b"\xff"] = b"1"
        store[b"a"] = b"1"
        with pytest.raises(dumbkv.DecodeError, match="text cannot decode the key"):
            events.get(0)
        assert next(events)[:2] == ("set", "a")


def test_a_watch_of_a_view_ends(store: dumbkv.Store, users: dumbkv.View[str, Any]) -> None:
    events = users.watch()
    assert iter(events) is events
    events.close()
    with pytest.raises(dumbkv.ClosedError, match="the watch is closed"):
        events.get(0)
    wrong: Any
    for wrong in (b"a", 5):
        with pytest.raises(TypeError, match="key must be str"):
            users.watch(wrong)
    with pytest.raises(TypeError, match="since must be a version"):
        users.watch(since="1")  # type: ignore[arg-type]  # the point
    with pytest.raises(ValueError, match="timeout is -1"):
        users.watch(timeout=-1)
