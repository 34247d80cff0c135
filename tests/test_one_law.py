"""One machine drives the C table, the Python table and a plain model, and they agree."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

import dumbkv
from tests.law import (
    WALL,
    anything,
    bad_epochs,
    bad_keys,
    bad_ttls,
    bad_values,
    expiries,
    flags,
    good_ttls,
    keys,
    values,
)
from tests.law_files import Files
from tests.law_together import Together
from tests.law_views import Views


class Law(Together, Views, Files):
    @initialize(ttl=st.sampled_from([None, 60, 90]))
    def some_keys_are_there(self, ttl: int | None) -> None:
        for key, value in ((b"a", b"1"), (b"b", b"x"), (b"counter", b"7")):
            self.all_agree("set", key, value, ttl=ttl)
            self.write(key, value, self.deadline(ttl))

    @rule(seconds=st.floats(0, 2) | st.sampled_from([0.5, 1, 30]))
    def time_passes(self, seconds: float) -> None:
        self.now += int(seconds * 1e6)
        self.set_clocks()

    @rule(key=keys)
    def reads(self, key: Any) -> None:
        here = self.model.get(bytes(key))
        value = here[0] if here else None
        assert self.all_agree("get", key) == ("gave", value)
        assert self.all_agree("get", key, b"other") == ("gave", value if here else b"other")
        assert self.all_agree("__contains__", key) == ("gave", here is not None)
        if here is None:
            assert self.all_agree("__getitem__", key) == ("raised", (KeyError, repr(bytes(key))))
            assert self.all_agree("ttl", key) == ("raised", (KeyError, repr(bytes(key))))
            assert self.all_agree("entry", key) == ("gave", None)
        else:
            assert self.all_agree("__getitem__", key) == ("gave", value)
            left = None if here[1] is None else (here[1] - self.now) / 1e6
            assert self.all_agree("ttl", key) == ("gave", left)
            entry = self.all_agree("entry", key)[1]
            assert entry[:2] == (bytes(key), value)
            assert entry.expires_at == (None if here[1] is None else (here[1] + WALL) / 1e6)

    @rule(key=keys, value=values)
    def setitem(self, key: Any, value: Any) -> None:
        assert self.all_agree("__setitem__", key, value) == ("gave", None)
        self.write(key, value, None)

    @rule(
        key=keys,
        value=values,
        expiry=expiries | st.just({"keep_ttl": True}),
        condition=st.sampled_from([{}, {"nx": True}, {"xx": True}, {"if_version": 7}]),
        right=flags,
    )
    def set(self, key: Any, value: Any, expiry: Any, condition: Any, right: bool) -> None:
        entries = [store.entry(key) for store in self.stores]
        if "if_version" in condition and right and entries[0]:
            condition = {"if_version": entries[0].version}
        here = self.model.get(bytes(key))
        refused = {
            "nx": here is not None,
            "xx": here is None,
            "if_version": here is None or not right,
        }
        version = self.all_agree("set", key, value, **expiry, **condition)[1]
        if any(refused[name] for name in condition):
            assert version is None
            return
        assert version > max(self.versions, default=0)
        self.versions.append(version)
        kept = here[1] if here and "keep_ttl" in expiry else None
        asked = {name: expiry[name] for name in expiry if name != "keep_ttl"}
        self.write(key, value, self.deadline(**asked) if asked else kept)

    @rule(key=keys, options=st.fixed_dictionaries({}, optional=anything))
    def set_refuses_nonsense(self, key: Any, options: Any) -> None:
        before = [dict(store.items()) for store in self.stores]
        kind, _ = self.all_agree("set", key, b"nonsense", **options)
        if kind == "raised":
            assert [dict(store.items()) for store in self.stores] == before
        else:
            self.model.pop(bytes(key), None)
            self.all_agree("delete", key)

    @rule(key=keys, value=values, expiry=expiries)
    def add(self, key: Any, value: Any, expiry: Any) -> None:
        version = self.all_agree("add", key, value, **expiry)[1]
        assert (version is None) == (bytes(key) in self.model)
        if version is not None:
            self.write(key, value, self.deadline(**expiry))

    @rule(key=keys, value=values)
    def setdefault(self, key: Any, value: Any) -> None:
        here = self.model.get(bytes(key), (bytes(value), None))
        assert self.all_agree("setdefault", key, value) == ("gave", here[0])
        self.model[bytes(key)] = here

    @rule(pairs=st.lists(st.tuples(keys, values), max_size=6), as_mapping=flags)
    def update(self, pairs: list[tuple[Any, Any]], as_mapping: bool) -> None:
        given = {bytes(k): v for k, v in pairs} if as_mapping else pairs
        assert self.all_agree("update", given) == ("gave", None)
        for key, value in pairs:
            self.model[bytes(key)] = (bytes(value), None)

    @rule(pairs=st.lists(st.tuples(keys, values), max_size=6), expiry=expiries)
    def set_many(self, pairs: list[tuple[Any, Any]], expiry: Any) -> None:
        assert self.all_agree("set_many", pairs, **expiry) == ("gave", None)
        for key, value in pairs:
            self.model[bytes(key)] = (bytes(value), self.deadline(**expiry))
        self.set_clocks()

    @rule(asked=st.lists(keys, max_size=6), as_tuple=flags)
    def get_many(self, asked: list[Any], as_tuple: bool) -> None:
        here = {bytes(k): self.model[bytes(k)][0] for k in asked if bytes(k) in self.model}
        given = tuple(asked) if as_tuple else asked
        assert self.all_agree("get_many", given) == ("gave", here)

    @rule(asked=st.lists(keys, max_size=4))
    def delete_many(self, asked: list[Any]) -> None:
        gone = {bytes(key) for key in asked} & set(self.model)
        assert self.all_agree("delete_many", asked) == ("gave", len(gone))
        for key in gone:
            del self.model[key]

    @rule(
        key=st.one_of(keys, st.just(b"counter")),
        by=st.one_of(st.integers(-5, 5), st.sampled_from([2**63, -(2**63), 2**63 - 1, 1.5, True])),
        ttl=st.none() | good_ttls | bad_ttls,
        down=flags,
    )
    def incr(self, key: Any, by: Any, ttl: Any, down: bool) -> None:
        kind, total = self.all_agree("decr" if down else "incr", key, by, ttl=ttl)
        if kind == "gave":
            before, deadline = self.model.get(bytes(key), (b"0", self.deadline(ttl, None)))
            assert total == int(before) + (-by if down else by)
            self.write(key, b"%d" % total, deadline)

    @rule(key=keys, expiry=expiries.filter(bool))
    def touch(self, key: Any, expiry: Any) -> None:
        there = bytes(key) in self.model
        assert self.all_agree("touch", key, **expiry) == ("gave", there)
        if there:
            self.write(key, self.model[bytes(key)][0], self.deadline(**expiry))

    @rule(key=keys, ttl=bad_ttls, expire_at=bad_epochs)
    def touch_refuses_nonsense(self, key: Any, ttl: Any, expire_at: Any) -> None:
        for args in ({}, {"ttl": ttl}, {"expire_at": expire_at}, {"ttl": 1, "expire_at": 1}):
            assert self.all_agree("touch", key, **args)[0] == "raised"

    @rule(key=keys)
    def persist(self, key: Any) -> None:
        value, deadline = self.model.get(bytes(key), (b"", None))
        assert self.all_agree("persist", key) == ("gave", deadline is not None)
        if deadline is not None:
            self.model[bytes(key)] = (value, None)

    @rule(key=keys, ask_version=flags, right=flags)
    def delete(self, key: Any, ask_version: bool, right: bool) -> None:
        if_version = None
        if ask_version:
            entries = [store.entry(key) for store in self.stores]
            if_version = entries[0].version if entries[0] and right else 7
        there = bytes(key) in self.model
        expected = there and (not ask_version or right)
        assert self.all_agree("delete", key, if_version=if_version) == ("gave", expected)
        if expected:
            del self.model[bytes(key)]

    @rule(key=keys)
    def delitem(self, key: Any) -> None:
        kind, _ = self.all_agree("__delitem__", key)
        assert (kind == "gave") == (bytes(key) in self.model)
        self.model.pop(bytes(key), None)

    @rule(key=keys, with_default=flags)
    def pop(self, key: Any, with_default: bool) -> None:
        kind, value = self.all_agree("pop", key, *([None] if with_default else []))
        here = self.model.pop(bytes(key), None)
        assert kind == ("gave" if here or with_default else "raised")
        if kind == "gave":
            assert value == (here[0] if here else None)

    @precondition(lambda self: len(self.model) == 1)
    @rule()
    def popitem_of_one(self) -> None:
        [(key, (value, _))] = self.model.items()
        assert self.all_agree("popitem") == ("gave", (key, value))
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

    @rule(
        call=st.sampled_from(
            [
                *[("get",), ("__getitem__",), ("__contains__",), ("entry",), ("ttl",)],
                *[("__delitem__",), ("persist",), ("delete",), ("pop",), ("incr",), ("touch", 5)],
                *[("set", b"v"), ("add", b"v"), ("setdefault", b"v"), ("__setitem__", b"v")],
            ]
        ),
        key=bad_keys,
    )
    def bad_key(self, call: tuple[Any, ...], key: Any) -> None:
        kind, (error, message) = self.all_agree(call[0], key, *call[1:])
        assert kind == "raised"
        assert error in (TypeError, dumbkv.InvalidKeyError)
        assert "key" in message

    @rule(key=keys, value=bad_values, name=st.sampled_from(["set", "add", "setdefault"]))
    def bad_value(self, key: Any, value: Any, name: str) -> None:
        kind, (error, message) = self.all_agree(name, key, value)
        assert kind == "raised"
        assert error in (TypeError, dumbkv.TooLargeError)
        assert "value" in message

    @rule(
        pairs=st.lists(st.tuples(keys, values), max_size=3),
        bad=st.one_of(
            st.tuples(bad_keys, values),
            st.tuples(keys, bad_values),
            st.sampled_from([b"ab", (b"a",), None, 5]),
        ),
    )
    def bad_update_changes_nothing(self, pairs: list[Any], bad: Any) -> None:
        assert self.all_agree("update", [*pairs, bad])[0] == "raised"
        assert self.all_agree("set_many", [*pairs, bad], ttl=5)[0] == "raised"
        assert self.all_agree("set_many", pairs, ttl=-5)[0] == "raised"
        assert self.all_agree("get_many", [*(k for k, _ in pairs), 7])[0] == "raised"
        assert self.all_agree("delete_many", [*(k for k, _ in pairs), "a"])[0] == "raised"

    @invariant()
    def contents_agree(self) -> None:
        expected = {key: value for key, (value, _) in self.model.items()}
        for store in self.stores:
            assert dict(store.items()) == expected
            for key, (value, deadline) in self.model.items():
                expires_at = None if deadline is None else (deadline + WALL) / 1e6
                entry = store.entry(key)
                assert entry == (key, value, entry and entry.version, expires_at)
            assert sorted(store) == sorted(expected)
            assert len(store) == len(expected)
            store._check()
        all_stats = [store.stats()._replace(memory_bytes=0, last_sync=0) for store in self.stores]
        stats = all_stats[0]
        assert stats.data_bytes == sum(len(k) + len(v) for k, v in expected.items())
        assert all(each == stats for each in all_stats)
        entries = [[store.entry(key) for key in expected] for store in self.stores]
        assert all(each == entries[0] for each in entries)


TestLaw = Law.TestCase
