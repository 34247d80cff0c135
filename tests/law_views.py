"""The law of what runs a caller's function, and of views."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

import dumbkv
from tests.law import Base, expiries, flags, keys, outcome, values
from tests.law_together import prefixes

texts = st.sampled_from(["a", "b", "counter", "ü", "\x00", "", "x" * 25, "\ud800"])
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=2), each),
    max_leaves=3,
)
inner = st.sampled_from([b"", b"a", b"b", b"k", b"ounter", b"\xff", b"x" * 20])

# What comes between a look at a key and the write: what the function does at its first call.
Meddling = Callable[[dumbkv.Store, Any], Any]
MEDDLINGS: dict[str, Meddling] = {
    "nothing": lambda store, key: None,
    "set": lambda store, key: store.set(key, b"meddled", keep_ttl=True),
    "delete": lambda store, key: store.delete(key),
    "touch": lambda store, key: store.touch(key, 20),
}

# What becomes of a value, as the store and the model are both told.
CHANGES: dict[str, Callable[[bytes | None], Any]] = {
    "append": lambda old: (old or b"") + b"+",
    "keep": lambda old: old,
    "remove": lambda old: None,
    "replace": lambda old: bytearray(b"new"),
    "count": lambda old: b"%d" % (int(old or 0) + 1),
    "too large": lambda old: b"x" * 41,
    "no bytes": lambda old: "text",
    "fail": lambda old: 1 // 0,
}


def become(change: str, old: bytes | None) -> bytes | None:
    """The value that is written, or the error that comes instead."""
    new = CHANGES[change](old)
    if isinstance(new, str):
        raise TypeError
    if new is not None and len(new) > 40:
        raise dumbkv.TooLargeError
    return None if new is None else bytes(new)


def namespace(store: dumbkv.Store, prefix: Any, nested: bool) -> dumbkv.View[bytes, bytes]:
    """The same keys, in one step or two."""
    if not nested:
        return store.namespace(prefix)
    return store.namespace(bytes(prefix)[:1]).namespace(bytes(prefix)[1:])


class Views(Base):
    # A caller's function

    @rule(key=keys, value=values, expiry=expiries)
    def get_or_set(self, key: Any, value: Any, expiry: Any) -> None:
        here = self.model.get(bytes(key))
        expected = here[0] if here else bytes(value)
        assert self.all_agree("get_or_set", key, lambda: value, **expiry) == ("gave", expected)
        if here is None:
            self.write(key, value, self.deadline(**expiry))

    @rule(key=keys, made=st.sampled_from(["text", b"x" * 41, None, 7]))
    def get_or_set_of_nonsense(self, key: Any, made: Any) -> None:
        here = self.model.get(bytes(key))
        kind, what = self.all_agree("get_or_set", key, lambda: made)
        assert kind == ("gave" if here else "raised"), what
        assert here is None or what == here[0]

    @rule(
        key=keys | st.just(b"counter"),
        change=st.sampled_from(sorted(CHANGES)),
        meddling=st.sampled_from(sorted(MEDDLINGS)),
        expiry=expiries,
        text=flags,
    )
    def modify(self, key: Any, change: str, meddling: str, expiry: Any, text: bool) -> None:
        outcomes, seen = [], []
        for store in self.stores:
            olds: list[bytes | None] = []

            def fn(old: bytes | None) -> Any:
                olds.append(old)  # noqa: B023  # used at once
                if len(olds) == 1:  # noqa: B023
                    MEDDLINGS[meddling](store, key)  # noqa: B023
                return CHANGES[change](old)

            outcomes.append(outcome(store.modify, key, fn, **expiry))
            seen.append(olds)
        assert all(each == outcomes[0] for each in outcomes), outcomes
        assert all(each == seen[0] for each in seen), seen

        before = self.model.get(bytes(key))
        if before and meddling == "delete":
            del self.model[bytes(key)]
        elif before and meddling == "touch":
            self.write(key, before[0], self.deadline(ttl=20))
        elif meddling == "set":
            self.write(key, b"meddled", before[1] if before else None)
        here = self.model.get(bytes(key))
        looked_at = [before[0] if before else None]
        kind, new = outcome(become, change, looked_at[0])
        # A look that was overtaken is followed by another, unless there is nothing to write.
        overtaken = meddling == "set" or (meddling == "delete" and before is not None)
        if kind == "gave" and overtaken and not (before is None and new is None):
            looked_at.append(here[0] if here else None)
            kind, new = outcome(become, change, looked_at[-1])
        assert seen[0] == looked_at
        assert outcomes[0][0] == kind
        if kind == "raised":
            assert outcomes[0][1][0] is new[0]
            return
        assert outcomes[0] == ("gave", new)
        if new is not None:
            self.write(key, new, self.deadline(**expiry) if expiry or here is None else here[1])
        elif before is not None:
            self.model.pop(bytes(key), None)

    # Text and JSON

    @rule(key=texts, value=st.text(max_size=15) | st.sampled_from(["\udc80", "x" * 41]))
    def text(self, key: str, value: str) -> None:
        self.through([store.text() for store in self.stores], key, value, str.encode, bytes.decode)

    @rule(key=texts, value=jsons)
    def json(self, key: str, value: Any) -> None:
        def encode(value: Any) -> bytes:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

        def decode(data: bytes) -> Any:
            return json.loads(data.decode())

        self.through([store.json() for store in self.stores], key, value, encode, decode)

    def through(self, views: list[Any], key: str, value: Any, encode: Any, decode: Any) -> None:
        """Read what is there, write, and read it again."""

        def all_agree(name: str, *args: Any) -> tuple[str, Any]:
            outcomes = [outcome(getattr(view, name), *args) for view in views]
            assert all(each == outcomes[0] for each in outcomes), outcomes
            return outcomes[0]

        try:
            raw, data = key.encode(), encode(value)
            fits = 0 < len(raw) <= 24 and len(data) <= 40
        except UnicodeEncodeError:
            fits = False
        if not fits:
            assert all_agree("__setitem__", key, value)[0] == "raised"
            assert all_agree("set", key, value)[0] == "raised"
            return
        here = self.model.get(raw)
        expected = ("gave", None) if here is None else outcome(decode, here[0])
        kind, got = all_agree("get", key)
        assert kind == expected[0]
        if kind == "gave":
            assert got == expected[1]
        else:
            assert got[0] is dumbkv.DecodeError
            assert all_agree("modify", key, lambda old: value)[1][0] is dumbkv.DecodeError
            assert all_agree("pop", key)[1][0] is dumbkv.DecodeError
        assert all_agree("__setitem__", key, value) == ("gave", None)
        self.write(raw, data, None)
        assert all_agree("__getitem__", key) == ("gave", value)
        assert all_agree("get_or_set", key, lambda: 1 // 0) == ("gave", value)
        if value is not None:  # which would remove it
            assert all_agree("modify", key, lambda old: old) == ("gave", value)
        assert all_agree("entry", key)[1][:2] == (key, value)

    # Namespaces

    def inside(self, prefix: Any) -> dict[bytes, bytes]:
        """The keys of a namespace, in order and without its prefix."""
        start = bytes(prefix)
        return {
            key[len(start) :]: value
            for key, (value, _) in sorted(self.model.items())
            if key.startswith(start)
        }

    def in_all(
        self, prefix: Any, nested: bool, call: Callable[[dumbkv.View[bytes, bytes]], Any]
    ) -> tuple[str, Any]:
        outcomes = [outcome(call, namespace(store, prefix, nested)) for store in self.stores]
        assert all(each == outcomes[0] for each in outcomes), outcomes
        return outcomes[0]

    @rule(
        prefix=prefixes.filter(len),
        nested=flags,
        start=st.none() | inner,
        end=st.none() | inner,
        after=st.none() | inner,
        back=flags,
    )
    def namespace_in_order(
        self, prefix: Any, nested: bool, start: Any, end: Any, after: Any, back: bool
    ) -> None:
        every = self.inside(prefix)
        expected = [
            (key, value)
            for key, value in sorted(every.items(), reverse=back)
            if (start is None or key >= start)
            and (end is None or key < end)
            and (after is None or (key < after if back else key > after))
        ]
        options = {"start": start, "end": end, "after": after, "reverse": back}

        def look(view: dumbkv.View[bytes, bytes]) -> Any:
            page = view.scan(**options, limit=3)
            assert (page.next is None) == (len(expected) <= 3)
            assert page.items == expected[:3]
            assert list(view.scan_keys(**options)) == [key for key, _ in expected]
            assert (len(view), view.count(b"a")) == (
                len(every),
                sum(key.startswith(b"a") for key in every),
            )
            assert list(view.items()) == list(every.items())
            return list(view.iter_scan(**options))

        assert self.in_all(prefix, nested, look) == ("gave", expected)

    @rule(prefix=prefixes.filter(len), nested=flags, key=inner, value=values, expiry=expiries)
    def namespace_of_one_key(
        self, prefix: Any, nested: bool, key: bytes, value: Any, expiry: Any
    ) -> None:
        raw = bytes(prefix) + key
        if len(raw) > 24:
            _, (error, message) = self.in_all(prefix, nested, lambda view: view.get(key))
            assert error is dumbkv.InvalidKeyError
            assert "namespace's prefix" in message
            return
        here = self.model.get(raw)
        got = self.in_all(prefix, nested, lambda view: (view.get(key), key in view))
        assert got == ("gave", (here[0] if here else None, here is not None))
        version = self.in_all(prefix, nested, lambda view: view.set(key, value, **expiry))[1]
        self.versions.append(version)
        self.write(raw, value, self.deadline(**expiry))

    @rule(prefix=prefixes.filter(len), nested=flags, inside=inner | st.none())
    def namespace_removes_its_own(self, prefix: Any, nested: bool, inside: Any) -> None:
        gone = [key for key in self.inside(prefix) if key.startswith(inside or b"")]
        if inside is None:
            assert self.in_all(prefix, nested, lambda view: view.clear()) == ("gave", None)
        else:
            removed = self.in_all(prefix, nested, lambda view: view.delete_prefix(inside))
            assert removed == ("gave", len(gone))
        for key in gone:
            del self.model[bytes(prefix) + key]

    @rule(prefix=prefixes.filter(len), nested=flags)
    def namespace_gives_an_item_up(self, prefix: Any, nested: bool) -> None:
        every = self.inside(prefix)
        popped = self.in_all(prefix, nested, lambda view: view.popitem())
        if not every:
            assert popped[1][0] is KeyError
            return
        assert popped == ("gave", next(iter(every.items())))
        del self.model[bytes(prefix) + popped[1][0]]

    @rule(
        prefix=prefixes.filter(len),
        nested=flags,
        pairs=st.lists(st.tuples(inner.filter(lambda key: len(key) < 20), values), max_size=3),
        right=flags,
    )
    def namespace_batch(
        self, prefix: Any, nested: bool, pairs: list[tuple[bytes, Any]], right: bool
    ) -> None:
        def change(view: dumbkv.View[bytes, bytes]) -> list[Any]:
            entry = view.entry(b"a")
            with view.batch() as b:
                b.check(b"a", (entry.version if entry else None) if right else 7)
                for key, value in pairs:
                    b.set(key, value)
                b.delete(b"b")
            return b.results

        there = bytes(prefix) + b"b" in self.model or b"b" in dict(pairs)
        kind, what = self.in_all(prefix, nested, change)
        if not right:
            assert (kind, what[0]) == ("raised", dumbkv.ConflictError)
            return
        assert what[-1] == there
        for key, value in pairs:
            self.model[bytes(prefix) + key] = (bytes(value), None)
        self.model.pop(bytes(prefix) + b"b", None)

    @rule(prefix=prefixes.filter(len), nested=flags, writes=st.lists(keys, max_size=4))
    def namespace_watch(self, prefix: Any, nested: bool, writes: list[Any]) -> None:
        stories = []
        for store in self.stores:
            with namespace(store, prefix, nested).watch(timeout=0) as events:
                for key in writes:
                    store[key] = b"1"
                story = list(events)
            stories.append([event for event in story if event.kind == "set"])
        assert all(each == stories[0] for each in stories), stories
        start = bytes(prefix)
        expected = [bytes(key)[len(start) :] for key in writes if bytes(key).startswith(start)]
        assert [event.key for event in stories[0]] == expected
        for key in writes:
            self.model[bytes(key)] = (b"1", None)
