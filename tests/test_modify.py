"""modify reads, changes and writes in one step, whoever comes between."""

from typing import Any

import pytest

import dumbkv
from tests.conftest import BACKENDS, OpenStore
from tests.test_threads import run

WALL = 1_700_000_000_000_000


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_modification_is_lost(backend: str) -> None:
    run(
        backend,
        """
        def work(n):
            for i in range(500):
                key = b"%d" % (i % 3)
                if i % 7 == 0: store.touch(key, 1000 + i)
                store.modify(key, lambda old: b"%d" % (int(old or 0) + 1))
        together(*[work] * 8)
        assert sum(map(int, store.values())) == 4000
        """,
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_key_that_is_taken_away_and_made_again_is_taken_once_each_time(backend: str) -> None:
    run(
        backend,
        """
        made, taken = [], []
        def make(n):
            for i in range(1500):
                new = b"%d %d" % (n, i)
                store.modify(b"slot", lambda old: new if old is None else old) == new \\
                    and made.append(new)
        def take(n):
            for i in range(1500):
                seen = []
                def fn(old):
                    seen[:] = [old]
                store.modify(b"slot", fn)
                taken.extend(each for each in seen if each is not None)
        together(make, make, take, take)
        assert sorted(made) == sorted(taken + list(store.values()))
        """,
    )


def test_the_new_value_is_given_back(store: dumbkv.Store) -> None:
    seen: list[Any] = []

    def change(to: Any) -> Any:
        def fn(old: bytes | None) -> Any:
            seen.append(old)
            return to

        return fn

    assert store.modify(b"a", change(None)) is None
    assert b"a" not in store
    assert store.modify(b"a", change(bytearray(b"1"))) == b"1"
    assert store.modify(bytearray(b"a"), change(b"")) == b""
    assert store[b"a"] == b""
    assert store.modify(b"a", change(None)) is None
    assert b"a" not in store
    assert seen == [None, None, b"1", b""]


def test_it_begins_anew_when_another_writer_came_between(store: dumbkv.Store) -> None:
    between: list[Any] = [
        lambda: store.add(b"a", b"1"),
        lambda: store.set(b"a", b"2"),
        lambda: store.delete(b"a"),
        lambda: store.add(b"a", b"3"),
        lambda: store.touch(b"a", 50),
    ]
    seen: list[bytes | None] = []

    def fn(old: bytes | None) -> bytes:
        seen.append(old)
        if between:
            between.pop(0)()
        return (old or b"") + b"!"

    assert store.modify(b"a", fn) == b"3!"
    assert seen == [None, b"1", b"2", None, b"3"]
    assert store[b"a"] == b"3!"
    assert store.ttl(b"a") is not None, "the touch that came between was lost"


def test_a_removal_begins_anew_as_well(store: dumbkv.Store) -> None:
    version = store.set(b"a", b"1")
    seen: list[bytes | None] = []

    def fn(old: bytes | None) -> None:
        seen.append(old)
        store.set(b"a", b"2", if_version=version)

    assert store.modify(b"a", fn) is None
    assert seen == [b"1", b"2"]
    assert b"a" not in store


def test_the_expiry_stays_unless_one_is_given(open_store: OpenStore) -> None:
    store = open_store(default_ttl=60)
    store._set_clock(10**9, WALL)

    def ttl_after(fn: Any = lambda old: b"", **options: Any) -> float | None:
        store.modify(b"a", fn, **options)
        return store.ttl(b"a")

    assert ttl_after() == 60
    assert ttl_after(ttl=5) == 5
    assert ttl_after() == 5
    assert ttl_after(expire_at=WALL / 1e6 + 7) == 7
    assert ttl_after(lambda old: store.persist(b"a") and b"") is None
    assert ttl_after() is None
    store.delete(b"a")
    assert ttl_after(ttl=9) == 9


def test_a_key_that_expires_meanwhile_is_absent(store: dumbkv.Store) -> None:
    store._set_clock(10**9, WALL)
    store.set(b"a", b"1", ttl=5)
    seen: list[bytes | None] = []

    def fn(old: bytes | None) -> bytes:
        seen.append(old)
        store._set_clock(10**9 + 6_000_000, WALL)
        return b"2"

    assert store.modify(b"a", fn) == b"2"
    assert seen == [b"1", None]
    assert store.ttl(b"a") is None


def test_errors_change_nothing(open_store: OpenStore) -> None:
    store = open_store(max_value=4)
    version = store.set(b"a", b"1")
    calls: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (lambda old: 1 / 0, {}, ZeroDivisionError, "division by zero"),
        (lambda old: 5, {}, TypeError, "value must be bytes-like, not int"),
        (lambda old: b"12345", {}, dumbkv.TooLargeError, "the value has 5 bytes"),
        (lambda old: pytest.fail("called"), {"ttl": -1}, ValueError, "ttl is -1"),
        (lambda old: pytest.fail("called"), {"expire_at": "x"}, TypeError, "expire_at must be"),
        (
            lambda old: pytest.fail("called"),
            {"ttl": 1, "expire_at": 1},
            ValueError,
            "at most one of ttl, expire_at",
        ),
    ]
    for fn, options, error, message in calls:
        for key in (b"a", b"absent"):
            with pytest.raises(error, match=message):
                store.modify(key, fn, **options)
    entry = store.entry(b"a")
    assert entry == (b"a", b"1", version, None)
    assert len(store) == 1
    with pytest.raises(dumbkv.InvalidKeyError):
        store.modify(b"", lambda old: None)
