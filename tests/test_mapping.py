"""A store is a MutableMapping: whatever code takes a dict of bytes takes a store."""

import copy
import pickle
import re
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
from tests.conftest import OpenStore

contents = st.dictionaries(st.binary(min_size=1, max_size=30), st.binary(max_size=300), max_size=50)


def test_store_is_a_mutable_mapping(store: dumbkv.Store) -> None:
    assert isinstance(store, MutableMapping)
    assert isinstance(store, dumbkv.Store)


@given(contents)
def test_contents_come_back_whatever_they_are(expected: dict[bytes, bytes]) -> None:
    for backend in ("python", "auto"):
        with dumbkv.open(backend=backend) as store:
            store.update(expected)
            assert store == expected
            assert dict(store) == expected
            assert sorted(store.keys()) == sorted(expected)
            assert sorted(store.values()) == sorted(expected.values())
            assert len(store) == len(expected)
            assert bool(store) == bool(expected)
            store._check()


def test_views_are_live_and_know_their_members(store: dumbkv.Store) -> None:
    keys, values, items = store.keys(), store.values(), store.items()
    store[b"a"] = b"1"
    assert b"a" in keys
    assert b"1" in values
    assert (b"a", b"1") in items
    assert (b"a", b"2") not in items
    assert (len(keys), len(values), len(items)) == (1, 1, 1)
    assert keys & {b"a", b"b"} == {b"a"}


def test_iteration_meets_every_lasting_key_once_while_the_store_changes(
    store: dumbkv.Store,
) -> None:
    lasting = {b"lasting %d" % n for n in range(3000)}
    store.update((key, b"") for key in lasting)
    met = []
    for n, key in enumerate(store):
        met.append(key)
        store[b"new %d" % n] = b""
        store.pop(b"new %d" % (n // 2), None)
    assert sorted(key for key in met if key in lasting) == sorted(lasting)


def test_items_leave_out_what_vanishes_on_the_way(store: dumbkv.Store) -> None:
    store.update((b"%d" % n, b"") for n in range(100))
    items = iter(store.items())
    first, _ = next(items)
    store.clear()
    assert list(items) == []
    assert first not in store


def test_popitem_empties_the_store(store: dumbkv.Store) -> None:
    expected = {b"%d" % n: b"v%d" % n for n in range(5000)}
    store.update(expected)
    popped = dict(store.popitem() for _ in range(len(expected)))
    assert popped == expected
    assert not store
    with pytest.raises(KeyError, match="the store is empty"):
        store.popitem()


def test_update_takes_what_dict_update_takes(store: dumbkv.Store) -> None:
    store.update({b"a": b"1"})
    store.update([(b"b", b"2"), [b"c", b"3"]])
    store.update((key, b"4") for key in (b"d", b"e"))
    store.update()
    other = dumbkv.open(backend="python")
    other[b"f"] = b"5"
    store.update(other)
    assert store == {b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4", b"e": b"4", b"f": b"5"}
    with pytest.raises(TypeError):
        store.update(a=b"1")  # type: ignore[call-arg]  # keys are bytes


def test_update_of_a_failing_iterable_changes_nothing(store: dumbkv.Store) -> None:
    def failing() -> Any:
        yield b"a", b"1"
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        store.update(failing())
    with pytest.raises(TypeError, match="element 1 must be a"):
        store.update([(b"a", b"1"), (b"b",)])
    with pytest.raises(TypeError, match="value must be bytes-like, not int"):
        store.update([(b"a", b"1"), (b"b", 2)])
    assert not store


def test_text_is_refused_with_what_to_do_about_it(store: dumbkv.Store) -> None:
    words = "must be bytes-like, not str: encode it first, or use store.text()"
    any_store: Any = store
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: any_store["a"], "key"),
        (lambda: any_store.set(b"a", "1"), "value"),
        (lambda: any_store.update({b"a": "1"}), "value"),
        (lambda: any_store.get_many(["a"]), "key"),
        (lambda: any_store.scan(start="a"), "key"),
        (lambda: any_store.namespace("a"), "prefix"),
    ]
    for call, what in calls:
        with pytest.raises(TypeError, match=f"^{re.escape(f'{what} {words}')}$"):
            call()


def test_bytes_like_arguments_are_copied(store: dumbkv.Store) -> None:
    key, value = bytearray(b"key"), bytearray(b"value")
    store[key] = value
    key[:] = b"KEY"
    value[:] = b"VALUE"
    assert store[memoryview(b"xkeyx")[1:4]] == b"value"
    assert type(store.get(b"key")) is bytes


def test_many_keys_of_every_size_survive_growth_and_shrinkage(store: dumbkv.Store) -> None:
    expected = {b"%d" % n * (n % 7 + 1): bytes(n % 777) for n in range(20_000)}
    for key, value in expected.items():
        store[key] = value
    store._check()
    assert store == expected
    for key in list(expected)[:19_000]:
        del store[key]
        del expected[key]
    store._check()
    assert store == expected
    assert store.stats().data_bytes == sum(len(k) + len(v) for k, v in expected.items())


def test_equal_hash_tags_do_not_confuse_keys(open_store: OpenStore) -> None:
    store = open_store(max_value=8)
    for n in range(200_000):
        store[b"%d" % n] = b"%d" % n
    assert all(store.get(b"%d" % n) == b"%d" % n for n in range(0, 200_000, 7))
    assert not any(b"no %d" % n in store for n in range(100_000))


def test_a_store_is_not_copied_or_pickled(store: dumbkv.Store) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            attempt(store)


def test_repr_tells_what_it_is(store: dumbkv.Store) -> None:
    store[b"a"] = b"1"
    assert repr(store) == f"<dumbkv.Store: 1 keys, {store.backend} table>"
    store.close()
    assert repr(store) == f"<dumbkv.Store: closed, {store.backend} table>"


def test_a_store_is_not_hashable(store: dumbkv.Store) -> None:
    with pytest.raises(TypeError):
        hash(store)
