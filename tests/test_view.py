"""A view is the store through codecs: a dict of what they make, with all the store's methods."""

import copy
import inspect
import json
import math
import pickle
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import dumbkv
from dumbkv import _table
from dumbkv._view_batch import ViewBatch
from dumbkv._view_watch import ViewWatch
from tests.conftest import BACKENDS, OpenStore
from tests.law import MONOTONIC, WALL, outcome
from tests.test_threads import run

number = dumbkv.Codec[int](lambda n: n.to_bytes(4, "big"), lambda b: int.from_bytes(b, "big"))

# Few keys, so that operations meet; some that begin others.
texts = st.sampled_from(["a", "b", "ab", "ü", "user:", "\x00"]) | st.text(min_size=1, max_size=3)
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers() | finite | st.text(max_size=5)
jsons = st.recursive(
    leaves,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each),
    max_leaves=5,
)


class Kind(NamedTuple):
    make: Callable[[dumbkv.Store], dumbkv.View[Any, Any]]
    keys: st.SearchStrategy[Any]
    values: st.SearchStrategy[Any]
    raw_key: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    neighbours: tuple[bytes, ...] = ()


def in_user(key: str) -> bytes:
    return b"user:" + key.encode()


AROUND = (b"user", b"user;", b"use", b"\xff", b"a", b"user9")
KINDS = {
    "text": Kind(lambda s: s.text(), texts, st.text(max_size=5), str.encode, bytes.decode),
    "json": Kind(lambda s: s.json(), texts, jsons, str.encode, json.loads),
    "numbers": Kind(
        lambda s: s.view(number, number),
        st.integers(0, 5),
        st.integers(0, 2**32 - 1),
        lambda n: bytes([0, 0, 0, n]),
        lambda b: int.from_bytes(b, "big"),
    ),
    "bytes in a namespace": Kind(
        lambda s: s.namespace(b"user:"),
        st.binary(max_size=2),
        st.binary(max_size=5),
        lambda key: b"user:" + key,
        bytes,
        AROUND,
    ),
    "json in a namespace": Kind(
        lambda s: s.namespace(b"user:").json(), texts, jsons, in_user, json.loads, AROUND
    ),
    "a namespace of a namespace of text": Kind(
        lambda s: s.text().namespace("us").namespace("er:"),
        texts | st.just(""),
        st.text(max_size=5),
        in_user,
        bytes.decode,
        AROUND,
    ),
}


class Law(RuleBasedStateMachine):
    """A view on each table, and a dict."""

    kind: Kind

    def __init__(self) -> None:
        super().__init__()
        self.stores = [dumbkv.open(backend=backend) for backend in BACKENDS]  # type: ignore[arg-type]  # names
        self.now = 0
        self.move_clocks(0)
        for store in self.stores:
            store.update((key, b"\xff no codec reads this") for key in self.kind.neighbours)
        self.views = [self.kind.make(store) for store in self.stores]
        self.model: dict[Any, Any] = {}

    def teardown(self) -> None:
        for store in self.stores:
            store._check()
            store.close()

    def move_clocks(self, seconds: int) -> None:
        self.now += seconds * 10**6
        for store in self.stores:
            store._set_clock(MONOTONIC + self.now, WALL + self.now)

    def all_agree(self, name: str, *args: Any, **options: Any) -> tuple[str, Any]:
        outcomes = [outcome(getattr(view, name), *args, **options) for view in self.views]
        assert all(each == outcomes[0] for each in outcomes), outcomes
        return outcomes[0]

    def key(self, data: Any) -> Any:
        return data.draw(self.kind.keys, "key")

    def value(self, data: Any) -> Any:
        return data.draw(self.kind.values, "value")

    def pairs(self, data: Any) -> list[tuple[Any, Any]]:
        pairs: list[tuple[Any, Any]] = data.draw(
            st.lists(st.tuples(self.kind.keys, self.kind.values), max_size=4), "pairs"
        )
        return pairs

    @rule(data=st.data())
    def reads(self, data: Any) -> None:
        key = self.key(data)
        there, value = key in self.model, self.model.get(key)
        assert self.all_agree("get", key) == ("gave", value)
        assert self.all_agree("get", key, "other") == ("gave", value if there else "other")
        assert self.all_agree("__contains__", key) == ("gave", there)
        if there:
            assert repr(self.all_agree("__getitem__", key)) == repr(("gave", value))
            assert self.all_agree("entry", key)[1][:2] == (key, value)
            assert self.all_agree("ttl", key) == ("gave", None)
        else:
            assert self.all_agree("__getitem__", key) == ("raised", (KeyError, repr(key)))
            assert self.all_agree("__delitem__", key) == ("raised", (KeyError, repr(key)))
            assert self.all_agree("pop", key) == ("raised", (KeyError, repr(key)))
            assert self.all_agree("ttl", key) == ("raised", (KeyError, repr(key)))
            assert self.all_agree("entry", key) == ("gave", None)

    @rule(data=st.data())
    def setitem(self, data: Any) -> None:
        key, value = self.key(data), self.value(data)
        assert self.all_agree("__setitem__", key, value) == ("gave", None)
        self.model[key] = value

    @rule(data=st.data(), how=st.sampled_from(["nx", "xx", "right", "wrong"]))
    def set_on_a_condition(self, data: Any, how: str) -> None:
        key, value = self.key(data), self.value(data)
        there = key in self.model
        entry = self.views[0].entry(key)
        options: dict[str, Any] = {how: True}
        if how in ("right", "wrong"):
            version = entry.version if entry is not None else 1
            options = {"if_version": version + (how == "wrong")}
        done = self.all_agree("set", key, value, **options)[1] is not None
        assert done == {"nx": not there, "xx": there, "right": there, "wrong": False}[how]
        if done:
            self.model[key] = value

    @rule(data=st.data())
    def add(self, data: Any) -> None:
        key, value = self.key(data), self.value(data)
        assert (self.all_agree("add", key, value)[1] is None) == (key in self.model)
        self.model.setdefault(key, value)

    @rule(data=st.data())
    def setdefault(self, data: Any) -> None:
        key, value = self.key(data), self.value(data)
        expected = self.model.setdefault(key, value)
        assert self.all_agree("setdefault", key, value) == ("gave", expected)

    @rule(data=st.data(), name=st.sampled_from(["update", "set_many"]), as_mapping=st.booleans())
    def set_several(self, data: Any, name: str, as_mapping: bool) -> None:
        pairs = self.pairs(data)
        assert self.all_agree(name, dict(pairs) if as_mapping else pairs) == ("gave", None)
        self.model.update(pairs)

    @rule(data=st.data())
    def get_and_delete_several(self, data: Any) -> None:
        keys = data.draw(st.lists(self.kind.keys, max_size=4), "keys")
        there = {key: self.model[key] for key in keys if key in self.model}
        assert self.all_agree("get_many", keys) == ("gave", there)
        assert self.all_agree("delete_many", keys) == ("gave", len(there))
        for key in there:
            del self.model[key]

    @rule(data=st.data(), name=st.sampled_from(["__delitem__", "delete", "pop"]))
    def remove(self, data: Any, name: str) -> None:
        key = self.key(data)
        if name == "__delitem__" and key not in self.model:
            return
        default = [None] if name == "pop" else []
        gave = self.all_agree(name, key, *default)[1]
        there, value = key in self.model, self.model.pop(key, None)
        assert gave == {"__delitem__": None, "delete": there, "pop": value}[name]

    @precondition(lambda self: len(self.model) in (1, 4))
    @rule()
    def popitem(self) -> None:
        for view in self.views:
            assert dict(view.popitem() for _ in self.model) == self.model
        self.model.clear()

    @precondition(lambda self: not self.model)
    @rule()
    def popitem_of_none(self) -> None:
        assert self.all_agree("popitem")[1][0] is KeyError

    @precondition(lambda self: len(self.model) > 3)
    @rule()
    def clear(self) -> None:
        assert self.all_agree("clear") == ("gave", None)
        self.model.clear()

    @rule(data=st.data())
    def modify(self, data: Any) -> None:
        key, value = self.key(data), self.value(data)
        expected = self.model.get(key)
        seen = []

        def fn(old: Any) -> Any:
            seen.append(old)
            return value

        assert self.all_agree("modify", key, fn) == ("gave", value)
        assert seen == [expected] * len(self.views)
        self.model.pop(key, None)
        if value is not None:
            self.model[key] = value

    @rule(data=st.data())
    def get_or_set(self, data: Any) -> None:
        key, value = self.key(data), self.value(data)
        expected = self.model.setdefault(key, value)
        assert self.all_agree("get_or_set", key, lambda: value, timeout=1) == ("gave", expected)

    @rule(data=st.data())
    def expiries(self, data: Any) -> None:
        key, value = self.key(data), self.value(data)
        assert self.all_agree("set", key, value, ttl=7)[0] == "gave"
        assert self.all_agree("set", key, value, keep_ttl=True)[0] == "gave"
        assert self.all_agree("ttl", key) == ("gave", 7)
        assert self.all_agree("persist", key) == ("gave", True)
        assert self.all_agree("touch", key, 5) == ("gave", True)
        assert self.all_agree("entry", key)[1].expires_at == (WALL + self.now) / 1e6 + 5
        self.move_clocks(5)
        assert self.all_agree("touch", key, expire_at=1) == ("gave", False)
        self.model.pop(key, None)

    @rule(data=st.data(), by=st.integers(-9, 9))
    def count_up(self, data: Any, by: int) -> None:
        key = self.key(data)
        if key not in self.model:
            assert self.all_agree("incr", key, by) == ("gave", by)
            assert self.all_agree("decr", key, by) == ("gave", 0)
            assert self.all_agree("delete", key) == ("gave", True)

    @rule(data=st.data(), reverse=st.booleans())
    def scan(self, data: Any, reverse: bool) -> None:
        optional = st.none() | self.kind.keys
        given = {name: data.draw(optional, name) for name in ("prefix", "start", "end", "after")}
        raw = {name: key if key is None else self.kind.raw_key(key) for name, key in given.items()}

        def inside(key: bytes) -> bool:
            return (
                key.startswith(raw["prefix"] or b"")
                and (raw["start"] is None or key >= raw["start"])
                and (raw["end"] is None or key < raw["end"])
                and (
                    raw["after"] is None or (key < raw["after"] if reverse else key > raw["after"])
                )
            )

        expected = sorted(
            (pair for pair in self.model.items() if inside(self.kind.raw_key(pair[0]))),
            key=lambda pair: self.kind.raw_key(pair[0]),
            reverse=reverse,
        )
        for view in self.views:
            assert list(view.iter_scan(**given, reverse=reverse)) == expected
            keys = list(view.scan_keys(**given, reverse=reverse))
            assert keys == [key for key, _ in expected]
            items, after = [], given["after"]
            while True:
                page = view.scan(**{**given, "after": after}, limit=2, reverse=reverse)
                assert len(page.items) <= 2
                items += page.items
                if page.next is None:
                    break
                after = page.next
            assert items == expected

    @rule(data=st.data())
    def count_and_delete_a_prefix(self, data: Any) -> None:
        prefix = self.key(data)
        raw = self.kind.raw_key(prefix)
        gone = [key for key in self.model if self.kind.raw_key(key).startswith(raw)]
        assert self.all_agree("count", prefix) == ("gave", len(gone))
        assert self.all_agree("delete_prefix", prefix) == ("gave", len(gone))
        for key in gone:
            del self.model[key]

    @invariant()
    def the_view_is_the_dict(self) -> None:
        for view in self.views:
            assert view == self.model
            assert dict(view.items()) == self.model
            assert sorted(view) == sorted(view.keys()) == sorted(self.model)
            assert sorted(map(repr, view.values())) == sorted(map(repr, self.model.values()))
            assert len(view) == len(self.model)

    @invariant()
    def the_store_has_just_that(self) -> None:
        expected = {self.kind.raw_key(key): value for key, value in self.model.items()}
        for store in self.stores:
            raw = dict(store.items())
            for key in self.kind.neighbours:
                assert raw.pop(key) == b"\xff no codec reads this"
            assert {key: self.kind.read(value) for key, value in raw.items()} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_is_a_dict_of_what_its_codecs_make(kind: str) -> None:
    law = type("LawOf" + kind.title().replace(" ", ""), (Law,), {"kind": KINDS[kind]})
    share = settings(max_examples=settings().max_examples // len(KINDS))
    run_state_machine_as_test(law, settings=share)


# The faces

OF_THE_STORE_ALONE = {"close", "sweep"}


def options_of(method: Any) -> list[Any]:
    """Its parameters but those whose type or default is the view's own."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    return [
        (each.name, each.kind, each.name in ("default", "prefix") or each.default)
        for each in parameters
        if each.name != "named"
    ]


OF_A_VIEW = {
    name: each
    for base in reversed(dumbkv.View.__mro__)
    if base.__module__.startswith("dumbkv.")
    for name, each in vars(base).items()
}
"""What a view has of its own, and from nobody's mixins."""


def test_a_view_has_the_stores_methods_with_the_same_options() -> None:
    mixed_in = [vars(base) for base in dumbkv.Store.__bases__]
    of_store = {name: each for base in mixed_in for name, each in base.items()}
    of_store |= vars(_table.Table) | vars(dumbkv.Store)
    ours = {"get_or_set", "modify", "namespace", "text", "json", "view", "batch", "watch"}
    ours |= {"scan", "iter_scan", "scan_keys", "count", "delete_prefix"}
    methods = {name for name in vars(_table.Table) if name[0] != "_"} | ours
    for name in methods - OF_THE_STORE_ALONE:
        if inspect.isfunction(of_store[name]):
            assert options_of(OF_A_VIEW[name]) == options_of(of_store[name]), name


def test_a_views_batch_and_watch_have_the_methods_of_the_stores() -> None:
    for ours, of_store in ((ViewBatch, dumbkv.Batch), (ViewWatch, dumbkv.Watch)):
        for name, each in vars(of_store).items():
            if inspect.isfunction(each) and name[0] != "_":
                assert options_of(vars(ours)[name]) == options_of(each), name


def test_a_view_is_a_mutable_mapping_and_uses_no_mixin_of_it(store: dumbkv.Store) -> None:
    view = store.text()
    assert isinstance(view, MutableMapping)
    mixed_in = {
        name
        for base in (MutableMapping, Mapping)
        for name, each in vars(base).items()
        if inspect.isfunction(each) and name not in ("__eq__", "__subclasshook__")
    }
    assert {"pop", "popitem", "clear", "update", "setdefault", "get", "keys"} <= mixed_in
    assert not {name for name in mixed_in if name not in OF_A_VIEW}
    assert not hasattr(view, "__dict__")
    with pytest.raises(TypeError):
        hash(view)


def test_every_public_method_shows_an_example() -> None:
    for methods in (OF_A_VIEW, vars(dumbkv.Codec)):
        for name, each in methods.items():
            if inspect.isfunction(each) and not name.startswith("_"):
                assert ">>> " in (each.__doc__ or ""), name
    for name in ("get_or_set", "modify", "namespace", "text", "json", "view"):
        assert ">>> " in (getattr(dumbkv.Store, name).__doc__ or ""), name


def test_views_of_keys_values_and_items_are_live(store: dumbkv.Store) -> None:
    view = store.json()
    keys, values, items = view.keys(), view.values(), view.items()
    view["a"] = [1]
    assert "a" in keys
    assert [1] in values
    assert ("a", [1]) in items
    assert ("a", [2]) not in items
    assert ("b", [1]) not in items
    assert (len(keys), len(values), len(items)) == (1, 1, 1)
    assert keys & {"a", "b"} == {"a"}
    assert keys | {"b"} == {"a", "b"}


def test_items_and_values_leave_out_what_vanishes_on_the_way(store: dumbkv.Store) -> None:
    view = store.text()
    for part in (view.items(), view.values()):
        view.update((str(n), "") for n in range(100))
        each = iter(part)
        next(each)
        view.clear()
        assert list(each) == []


def test_code_that_takes_a_mapping_takes_a_view(store: dumbkv.Store) -> None:
    view: MutableMapping[str, Any] = store.json()
    view.update({"a": 1}, b=2)
    view.update([("c", 3)])
    view.update(d=4)
    assert view == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert {**view} == dict(view.items())
    assert view != {"a": 1}
    assert bool(view)
    assert copy.copy(view) == view
    other = dumbkv.open(backend="python").json()
    other.update(view)
    assert other == view


def test_repr_tells_what_it_is(store: dumbkv.Store) -> None:
    assert repr(store.text()) == f"<dumbkv.View: text to text, of {store!r}>"
    view = store.namespace(b"user:").view(number, dumbkv.Codec(str.encode, bytes.decode, "names"))
    assert repr(view) == f"<dumbkv.View: the codec to names under b'user:', of {store!r}>"


# Composition


def test_views_compose(store: dumbkv.Store) -> None:
    store.namespace(b"user:").json()["ann"] = {"n": 1}
    store.text().namespace("user:").json().namespace("b")["ob"] = 2
    assert dict(store) == {b"user:ann": b'{"n":1}', b"user:bob": b"2"}
    assert store.json().namespace("user:")["ann"] == {"n": 1}
    assert store.text()["user:bob"] == "2"
    assert store.namespace(b"us").namespace(b"er:").view(number, number).text()["bob"] == "2"
    assert store.namespace(bytearray(b"user:"))[b"bob"] == b"2"
    assert store.namespace(b"").json()["user:bob"] == 2


def test_types_follow_the_codecs(store: dumbkv.Store) -> None:
    names: dumbkv.View[str, str] = store.text().namespace("name:")
    squares: dumbkv.View[int, int] = names.view(number, number)
    raw: dumbkv.View[bytes, bytes] = store.namespace(b"name:")
    squares[2] = 4
    entry = squares.entry(2)
    assert entry is not None
    doubled: int = entry.value * 2
    assert doubled == 8
    assert isinstance(entry, dumbkv.Entry)
    assert raw[b"\0\0\0\2"] == b"\0\0\0\4"


def test_the_order_of_a_codecs_keys_is_that_of_their_bytes(store: dumbkv.Store) -> None:
    decimal = dumbkv.Codec[int](lambda n: b"%d" % n, int)
    view = store.view(decimal, decimal)
    view.update((n, n) for n in (1, 2, 10))
    assert sorted(view) == [1, 2, 10]
    assert list(view.scan_keys()) == [1, 10, 2]


def test_a_namespace_sees_its_own_keys_alone(store: dumbkv.Store) -> None:
    store.update((key, b"") for key in (b"a", b"a:", b"a:1", b"a:2", b"a;", b"b:1", b"\xff"))
    view = store.namespace(b"a:")
    assert list(view) == [b"", b"1", b"2"]
    assert len(view) == view.count() == 3
    assert view.count(b"1") == 1
    assert [key for key, _ in view.items()] == [b"", b"1", b"2"]
    assert list(view.scan_keys(start=b"1", reverse=True)) == [b"2", b"1"]
    assert view.scan(limit=1).items == [(b"", b"")]
    assert view.popitem()[0] in (b"", b"1", b"2")
    view.clear()
    assert not view
    with pytest.raises(KeyError, match="the namespace is empty"):
        view.popitem()
    assert sorted(store) == [b"a", b"a;", b"b:1", b"\xff"]
    assert store.namespace(b"\xff").keys() == {b""}


def test_the_key_that_is_the_prefix_is_the_empty_key(store: dumbkv.Store) -> None:
    view = store.text().namespace("user:")
    view[""] = "all of them"
    assert store[b"user:"] == b"all of them"
    assert view.pop("") == "all of them"
    for whole in (store.text(), store.text().namespace("")):
        with pytest.raises(dumbkv.InvalidKeyError, match="the key is empty"):
            whole[""] = "1"


# Bad input


def test_limits_count_the_prefix_and_say_so(open_store: OpenStore) -> None:
    store = open_store(max_key=8)
    view = store.text().namespace("user:")
    view["abc"] = "fits"
    with pytest.raises(
        dumbkv.InvalidKeyError,
        match="the key has 9 bytes, 5 of them the namespace's prefix: "
        "expected at most 8: b'user:abcd'",
    ):
        view.get("abcd")
    with pytest.raises(dumbkv.InvalidKeyError, match="the key has 9 bytes: expected 1 to 8"):
        store.text()["ü" * 4 + "x"] = ""
    assert len(store.namespace(b"12345678").text().namespace("")._prefix) == 8
    with pytest.raises(
        dumbkv.InvalidKeyError, match="the prefix has 9 bytes: expected at most 8, the longest key"
    ):
        view.namespace("1234")


EVERY_KEY: list[Callable[[dumbkv.View[Any, Any], Any], Any]] = [
    lambda view, key: view[key],
    lambda view, key: view.get(key),
    lambda view, key: key in view,
    lambda view, key: view.entry(key),
    lambda view, key: view.get_many([key]),
    lambda view, key: view.ttl(key),
    lambda view, key: view.__setitem__(key, "1"),
    lambda view, key: view.set(key, "1"),
    lambda view, key: view.add(key, "1"),
    lambda view, key: view.setdefault(key, "1"),
    lambda view, key: view.update([("good", "1"), (key, "1")]),
    lambda view, key: view.set_many([("good", "1"), (key, "1")]),
    lambda view, key: view.incr(key),
    lambda view, key: view.decr(key),
    lambda view, key: view.touch(key, 1),
    lambda view, key: view.persist(key),
    lambda view, key: view.get_or_set(key, lambda: "1"),
    lambda view, key: view.modify(key, lambda old: "1"),
    lambda view, key: view.__delitem__(key),
    lambda view, key: view.delete(key),
    lambda view, key: view.delete_many([key]),
    lambda view, key: view.pop(key, None),
    lambda view, key: view.namespace(key),
]
EVERY_VALUE: list[Callable[[dumbkv.View[Any, Any], Any], Any]] = [
    lambda view, value: view.__setitem__("a", value),
    lambda view, value: view.set("a", value),
    lambda view, value: view.add("a", value),
    lambda view, value: view.setdefault("a", value),
    lambda view, value: view.update({"good": "1"}, a=value),
    lambda view, value: view.set_many({"good": "1", "a": value}),
    lambda view, value: view.get_or_set("a", lambda: value),
    lambda view, value: view.modify("a", lambda old: value),
]


@pytest.mark.parametrize("call", EVERY_KEY)
@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (b"a", TypeError, "key must be str, not bytes"),
        (5, TypeError, "key must be str, not int"),
        (None, TypeError, "key must be str, not NoneType"),
        ("a\ud800", UnicodeEncodeError, r"position 1: surrogates not allowed in key 'a\\ud800'"),
    ],
)
def test_every_method_refuses_keys_that_are_no_text(
    store: dumbkv.Store, call: Any, key: Any, error: type[Exception], message: str
) -> None:
    for view in (store.text(), store.json(), store.text().namespace("user:")):
        with pytest.raises(error, match=message):
            call(view, key)
    assert dict(store) == {}


@pytest.mark.parametrize("call", EVERY_VALUE)
@pytest.mark.parametrize(
    ("kind", "value", "error", "message"),
    [
        ("text", b"1", TypeError, "value must be str, not bytes"),
        ("text", 1, TypeError, "value must be str, not int"),
        ("text", "\udc80", UnicodeEncodeError, r"surrogates not allowed in value '\\udc80'"),
        ("json", {1, 2}, TypeError, r"set is not JSON serializable: \{1, 2\}"),
        ("json", {"a": b"1"}, TypeError, r"bytes is not JSON serializable: \{'a': b'1'\}"),
        ("json", {(1, 2): 1}, TypeError, "keys must be str.*tuple"),
        ("json", [math.nan], ValueError, r"not JSON compliant.*: \[nan\]"),
        ("json", -math.inf, ValueError, "not JSON compliant.*: -inf"),
        ("json", "\ud800", ValueError, "surrogates not allowed"),
    ],
)
def test_every_method_refuses_values_that_do_not_encode(
    store: dumbkv.Store, call: Any, kind: str, value: Any, error: type[Exception], message: str
) -> None:
    view = getattr(store, kind)()
    with pytest.raises(error, match=message):
        call(view, value)
    assert dict(store) == {}


def test_a_value_within_itself_is_no_json(store: dumbkv.Store) -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match=r"value cannot be JSON: Circular reference"):
        store.json()["a"] = circle
    assert not store


def test_a_namespace_of_bytes_refuses_text(store: dumbkv.Store) -> None:
    view: Any = store.namespace(b"user:")
    with pytest.raises(TypeError, match="key must be bytes-like, not str"):
        view["ann"]
    with pytest.raises(TypeError, match="value must be bytes-like, not str"):
        view[b"ann"] = "1"
    with pytest.raises(TypeError, match="prefix must be bytes-like, not str"):
        store.namespace("user:")  # type: ignore[arg-type]  # the point
    view[bytearray(b"ann")] = memoryview(b"1")
    assert store == {b"user:ann": b"1"}


def test_a_codec_that_makes_no_bytes_is_told_so(store: dumbkv.Store) -> None:
    same: Any = dumbkv.Codec(lambda each: each, lambda each: each)
    for view in (store.view(same, same), store.namespace(b"user:").view(same, same)):
        with pytest.raises(TypeError, match="key must be bytes-like, not int"):
            view.get(5)
        with pytest.raises(TypeError, match="value must be bytes-like, not list"):
            view[b"a"] = [5]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("text", b"\xff1", r"text cannot decode the value at key b'a': 'utf-8' .*: b'\\xff1'"),
        ("json", b"", "JSON cannot decode the value at key b'a': Expecting value.*: b''"),
        ("json", b"\xff", r"JSON cannot decode the value at key b'a': 'utf-8' .*: b'\\xff'"),
        ("json", b'"\xed\xa0\x80"', "JSON cannot decode"),
        ("json", '{"a": 1}'.encode("utf-16"), "JSON cannot decode"),
        ("json", b"[1] 2", r"Extra data.*: b'\[1\] 2'"),
        ("json", b"[" * 100_000, r"JSON cannot decode.*\[\[\['\.\.\.$"),
    ],
)
def test_a_value_that_does_not_decode_is_an_error_and_stays(
    store: dumbkv.Store, kind: str, value: bytes, message: str
) -> None:
    store[b"a"] = value
    view: dumbkv.View[str, Any] = getattr(store, kind)()
    version = getattr(store.entry(b"a"), "version", None)
    calls: list[Any] = [
        lambda: view["a"], lambda: view.get("a"), lambda: view.entry("a"),
        lambda: view.get_many(["a"]), lambda: view.setdefault("a", "1"), lambda: view.pop("a"),
        lambda: view.pop("a", None), lambda: view.get_or_set("a", lambda: "1"),
        lambda: view.modify("a", lambda old: "1"), lambda: list(view.values()),
        lambda: list(view.items()), lambda: view == {},
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(dumbkv.DecodeError, match=message) as caught:
            call()
        assert (caught.value.key, caught.value.value) == (b"a", value)
        assert isinstance(caught.value, ValueError)
        assert caught.value.__cause__ is not None
    assert list(view) == ["a"]
    assert store.entry(b"a") == (b"a", value, version, None)


def test_a_key_that_does_not_decode_is_an_error_and_iteration_can_go_on(
    store: dumbkv.Store,
) -> None:
    view = store.text()
    store.update({b"\xff": b"1", b"a": b"2"})
    for part in (view, view.items()):
        seen, errors, each = [], [], iter(part)
        while True:
            try:
                seen.append(next(each))
            except dumbkv.DecodeError as error:
                errors.append(error)
            except StopIteration:
                break
        assert seen in (["a"], [("a", "2")])
        assert [(error.key, error.value) for error in errors] == [(b"\xff", None)]
        assert "text cannot decode the key b'\\xff'" in str(errors[0])
    assert sorted(view.values()) == ["1", "2"]


@pytest.mark.parametrize("prefix", [b"", b"user:"])
def test_popitem_gets_past_what_does_not_decode(store: dumbkv.Store, prefix: bytes) -> None:
    view = store.namespace(prefix).json()
    for key, value in ((b"\xff", b"1"), (b"a", b"\xff")):
        store[prefix + key] = value
        with pytest.raises(dumbkv.DecodeError, match="cannot decode") as caught:
            view.popitem()
        assert (caught.value.key, caught.value.value) == (prefix + key, value)
        assert not store


def test_an_error_survives_pickling() -> None:
    error = dumbkv.DecodeError("why", b"key", b"value")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.key, again.value) == ("why", b"key", b"value")


def test_want_of_memory_is_not_a_value_that_does_not_decode(store: dumbkv.Store) -> None:
    def full(_: bytes) -> Any:
        raise MemoryError

    broken = dumbkv.Codec(lambda each: each, full)
    store[b"a"] = b"1"
    with pytest.raises(MemoryError):
        store.view(broken, broken)[b"a"]
    with pytest.raises(MemoryError):
        list(store.view(broken, broken))


def test_a_codecs_own_key_error_is_its_own(store: dumbkv.Store) -> None:
    table = {"one": b"1"}
    view = store.view(dumbkv.Codec(table.__getitem__, bytes.decode), dumbkv.Codec(bytes, bytes))
    with pytest.raises(KeyError, match="two"):
        view.ttl("two")
    with pytest.raises(KeyError, match="one"):
        view.ttl("one")


def test_a_closed_store_says_so_through_its_views(store: dumbkv.Store) -> None:
    view = store.json()
    store.close()
    calls: list[Any] = [
        lambda: view["a"], lambda: view.update(a=1), lambda: len(view), lambda: list(view),
        lambda: view.popitem(), lambda: view.clear(), lambda: view.modify("a", lambda old: 1),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(dumbkv.ClosedError):
            call()


# What comes between


def test_pop_gives_the_value_that_it_removed(store: dumbkv.Store) -> None:
    store[b"a"] = b"1"
    between = [lambda: store.set(b"a", b"2"), lambda: store.set(b"a", b"3")]

    def decode(data: bytes) -> str:
        if between:
            between.pop(0)()
        return data.decode()

    view = store.view(dumbkv.Codec(str.encode, bytes.decode), dumbkv.Codec(str.encode, decode))
    assert view.pop("a") == "3"
    assert not store


@pytest.mark.parametrize("backend", BACKENDS)
def test_methods_of_a_view_are_atomic(backend: str) -> None:
    run(
        backend,
        """
        view, popped, set_by = store.json(), [], []
        def work(n):
            for i in range(1500):
                if view.setdefault(f"default {i}", n) == n: set_by.append(i)
                view.incr("count")
                view.modify("list", lambda old: [(old or [0])[0] + 1])
                view.add(f"item {i}", i)
                value = view.pop(f"item {i}", None)
                if value is not None: popped.append(value)
                view.update({"left": i, "right": i})
                both = view.get_many(["left", "right"])
                assert both["left"] == both["right"]
        together(*[work] * 4)
        assert sorted(set_by) == list(range(1500))
        assert view["count"] == 6000 and view["list"] == [6000]
        assert set(popped) == set(range(1500)) and not [k for k in view if k.startswith("item")]
        """,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_views_of_one_store_share_their_flights(backend: str) -> None:
    run(
        backend,
        """
        made, got = [], []
        def make():
            while store.stats().misses < 9: pass  # eight that look, and the leader once more
            made.append(1)
            return [1]
        views = [store.json(), store.text().json(), store.namespace(b"k").json()]
        def work(n): got.append(views[n % 3].get_or_set("key"[n % 3 // 2:], make))
        together(*[work] * 8)
        assert len(made) == 1 and got == [[1]] * 8
        """,
    )
