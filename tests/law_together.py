"""The law of what is about many keys: order, batches, and watching."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

import dumbkv
from dumbkv import _order
from tests.law import Base, expiries, flags, good_ttls, keys, values

prefixes = st.sampled_from([b"", b"a", b"c", b"k", b"kk", bytearray(b"a"), b"\x00", b"\xff", b"z"])
ends = st.none() | keys | prefixes
steps = st.one_of(
    st.tuples(st.just("set"), keys, values, expiries | st.just({"keep_ttl": True})),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("incr"), keys | st.just(b"counter"), st.integers(-5, 5), good_ttls),
)


class Together(Base):
    def __init__(self) -> None:
        super().__init__()
        self.watches: list[dumbkv.Watch] = []
        self.seen: set[bytes] = set()
        self.usual_merge = _order.MERGE

    def teardown(self) -> None:
        _order.MERGE = self.usual_merge
        super().teardown()

    # Order

    @initialize(one_by_one=flags)
    def how_changed_keys_are_put_in_order(self, one_by_one: bool) -> None:
        # So few keys as there are here would always be merged.
        _order.MERGE = 0 if one_by_one else self.usual_merge

    @rule(prefix=prefixes, start=ends, end=ends, after=ends, limit=st.integers(1, 4), back=flags)
    def scan(self, prefix: Any, start: Any, end: Any, after: Any, limit: int, back: bool) -> None:
        expected = [
            (key, self.model[key][0])
            for key in sorted(self.model, reverse=back)
            if key.startswith(bytes(prefix))
            and (start is None or key >= bytes(start))
            and (end is None or key < bytes(end))
            and (after is None or (key < bytes(after) if back else key > bytes(after)))
        ]
        options = {"prefix": prefix, "start": start, "end": end, "reverse": back}
        more = True
        while more:
            page = self.all_agree("scan", after=after, limit=limit, **options)[1]
            assert page.items == expected[:limit]
            expected = expected[limit:]
            after, more = page.next, page.next is not None
            assert not more or len(page.items) == limit
        assert not expected

    @rule(prefix=prefixes, start=ends, end=ends, back=flags)
    def iterate(self, prefix: Any, start: Any, end: Any, back: bool) -> None:
        expected = [
            key
            for key in sorted(self.model, reverse=back)
            if key.startswith(bytes(prefix))
            and (start is None or key >= bytes(start))
            and (end is None or key < bytes(end))
        ]
        for store in self.stores:
            options: dict[str, Any] = {"prefix": prefix, "start": start, "end": end}
            pairs = list(store.iter_scan(**options, reverse=back))
            assert pairs == [(key, self.model[key][0]) for key in expected]
            assert list(store.scan_keys(**options, reverse=back)) == expected

    @rule(prefix=prefixes)
    def count(self, prefix: Any) -> None:
        inside = [key for key in self.model if key.startswith(bytes(prefix))]
        assert self.all_agree("count", prefix) == ("gave", len(inside))

    @rule(prefix=prefixes.filter(len))
    def delete_prefix(self, prefix: Any) -> None:
        inside = [key for key in self.model if key.startswith(bytes(prefix))]
        assert self.all_agree("delete_prefix", prefix) == ("gave", len(inside))
        for key in inside:
            del self.model[key]

    @rule(
        prefix=st.sampled_from(["a", 7, None]),
        limit=st.sampled_from([0, -1, 1.5, True, None]),
        end=st.sampled_from(["a", 7, b"x" * 70000]),
    )
    def scan_refuses_nonsense(self, prefix: Any, limit: Any, end: Any) -> None:
        for options in ({"prefix": prefix}, {"limit": limit}, {"end": end}, {"after": end}):
            assert self.all_agree("scan", **options)[0] == "raised"

    # Batches

    @rule(
        plan=st.lists(steps, max_size=6),
        checked=st.lists(st.tuples(keys, flags), max_size=2, unique_by=lambda each: bytes(each[0])),
    )
    def batch(self, plan: list[Any], checked: list[tuple[Any, bool]]) -> None:
        changed, fails = self.after(plan, checked)
        outcomes = [self.batched(store, plan, checked) for store in self.stores]
        assert all(each == outcomes[0] for each in outcomes), outcomes
        kind, what = outcomes[0]
        assert (kind == "raised") == (fails is not None), (outcomes[0], fails)
        if fails:
            assert what[0] in fails
        else:
            self.model = changed
            last = {bytes(key): name for name, key, *_ in plan}
            new = []
            for (name, key, *_), (_, result) in zip(plan, what, strict=True):
                if name == "set" and last[bytes(key)] == "delete":
                    assert result is None
                elif name == "set":
                    new.append(result)
            assert min(new, default=1 << 64) > max(self.versions, default=0), (new, self.versions)
            self.versions += new
        self.set_clocks()

    def batched(
        self, store: dumbkv.Store, plan: list[Any], checked: list[tuple[Any, bool]]
    ) -> tuple[str, Any]:
        versions: dict[bytes, int | None] = {}
        for key, right in checked:
            entry = store.entry(key)
            right_one = entry.version if entry else None
            wrong_one = entry.version - 1 if entry else 7
            versions[bytes(key)] = right_one if right else wrong_one
        before = dict(store)
        try:
            with store.batch() as b:
                for key, version in versions.items():
                    b.check(key, version)
                for name, key, *args in plan:
                    options = args.pop() if name == "set" else {}
                    if name == "incr":
                        options = {"ttl": args.pop()}
                    getattr(b, name)(key, *args, **options)
        except Exception as error:
            assert dict(store) == before
            return "raised", (type(error), str(error))
        return "gave", list(zip([step[0] for step in plan], b.results, strict=True))

    def after(
        self, plan: list[Any], checked: list[tuple[Any, bool]]
    ) -> tuple[dict[bytes, tuple[bytes, int | None]], set[type[Exception]] | None]:
        """The model with the plan carried out, and what errors may come, if any."""
        model = dict(self.model)
        fails: set[type[Exception]] = set()
        if not all(right for _, right in checked):
            fails.add(dumbkv.ConflictError)
        for name, key, *args in plan:
            key = bytes(key)
            here = model.get(key)
            if name == "delete":
                model.pop(key, None)
            elif name == "set":
                value, expiry = bytes(args[0]), args[1]
                kept = here[1] if here and expiry.get("keep_ttl") else None
                model[key] = (value, kept if "keep_ttl" in expiry else self.deadline(**expiry))
            else:
                by, ttl = args
                value, deadline = here or (b"0", self.deadline(ttl))
                try:
                    total = int(value) + by
                except ValueError:
                    return model, fails | {dumbkv.NotAnIntegerError}
                if b"%d" % int(value) != value or not -(2**63) <= int(value) < 2**63:
                    return model, fails | {dumbkv.NotAnIntegerError}
                if not -(2**63) <= total < 2**63:
                    return model, fails | {OverflowError}
                model[key] = (b"%d" % total, deadline)
        return model, fails or None

    # Watching

    @precondition(lambda self: not self.watches)
    @rule()
    def begin_to_watch(self) -> None:
        self.watches = [store.watch() for store in self.stores]
        self.seen = set(self.model)

    @precondition(lambda self: self.watches)
    @rule(end=flags)
    def look_at_what_happened(self, end: bool) -> None:
        stories = []
        for watch in self.watches:
            events = list(iter(lambda: watch.get(0), None))  # noqa: B023  # used at once
            assert [e.version for e in events] == sorted({e.version for e in events})
            seen = set(self.seen)
            for event in events:
                if event.kind == "set":
                    seen.add(event.key)
                elif event.kind == "clear":
                    seen.clear()
                else:
                    seen.remove(event.key)
            assert seen == set(self.model)
            others = [event for event in events if event.kind != "expire"]
            expired = sorted(event.key for event in events if event.kind == "expire")
            stories.append((others, expired))
        assert all(each == stories[0] for each in stories)
        self.seen = set(self.model)
        if end:
            for watch in self.watches:
                watch.close()
            self.watches = []
