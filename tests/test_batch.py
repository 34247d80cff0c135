"""Batches: all or nothing, for whoever looks on and whatever goes wrong."""

import pytest

import dumbkv
from tests.conftest import BACKENDS, OpenStore
from tests.test_threads import run


def test_nothing_is_done_before_the_block_ends(store: dumbkv.Store) -> None:
    with store.batch() as b:
        b.set(b"a", b"1")
        b.incr(b"n", 5)
        assert len(store) == 0
        assert b.results == []
    assert dict(store) == {b"a": b"1", b"n": b"5"}
    entry = store.entry(b"a")
    assert entry
    assert b.results == [entry.version, 5]


def test_nothing_is_done_when_the_block_raises(store: dumbkv.Store) -> None:
    with pytest.raises(ZeroDivisionError), store.batch() as b:
        b.set(b"a", b"1")
        1 / 0  # noqa: B018  # for its error
    assert len(store) == 0


def test_a_conflict_names_its_key_and_changes_nothing(store: dumbkv.Store) -> None:
    version = store.set(b"a", b"1")
    store[b"a"] = b"2"
    with pytest.raises(dumbkv.ConflictError, match="b'a'") as caught, store.batch() as b:
        b.set(b"b", b"1")
        b.check(b"a", version)
    assert caught.value.key == b"a"
    assert dict(store) == {b"a": b"2"}


def test_absence_is_checked_with_none(store: dumbkv.Store) -> None:
    with store.batch() as b:
        b.check(b"a", None)
        b.set(b"a", b"1")
    with pytest.raises(dumbkv.ConflictError), store.batch() as b:
        b.check(b"a", None)
        b.set(b"a", b"2")
    assert store[b"a"] == b"1"


def test_steps_see_those_before_them(store: dumbkv.Store) -> None:
    with store.batch() as b:
        b.set(b"n", b"10")
        b.incr(b"n")
        b.delete(b"n")
        b.delete(b"n")
        b.incr(b"n", -2)
    assert b.results[1:] == [11, True, False, -2]
    assert store[b"n"] == b"-2"


def test_a_set_that_the_batch_deletes_again_has_no_version(store: dumbkv.Store) -> None:
    store[b"there"] = b"1"
    with store.batch() as b:
        for key in (b"there", b"new"):
            b.set(key, b"2")
            b.delete(key)
    assert b.results == [None, True, None, True]
    assert len(store) == 0


def test_expiry_as_with_a_set(store: dumbkv.Store) -> None:
    store.set(b"kept", b"1", ttl=100)
    store.set(b"lost", b"1", ttl=100)
    with store.batch() as b:
        b.set(b"kept", b"2", keep_ttl=True)
        b.set(b"lost", b"2")
        b.set(b"given", b"2", ttl=50)
        b.incr(b"counted", ttl=50)
        b.incr(b"kept")
    ttls = {key: store.ttl(key) for key in store}
    assert ttls.pop(b"lost") is None
    assert 90 < (ttls.pop(b"kept") or 0) <= 100
    assert all(40 < (ttl or 0) <= 50 for ttl in ttls.values())


def test_more_than_memory_allows_fails_whole(open_store: OpenStore) -> None:
    store = open_store(max_bytes=100_000)
    store[b"here"] = b"1"
    with pytest.raises(dumbkv.StoreFullError), store.batch() as b:
        b.delete(b"here")
        for n in range(100):
            b.set(b"%d" % n, bytes(2000))
    assert dict(store) == {b"here": b"1"}


def test_no_integer_changes_nothing(store: dumbkv.Store) -> None:
    store[b"a"] = b"x"
    with pytest.raises(dumbkv.NotAnIntegerError), store.batch() as b:
        b.set(b"b", b"1")
        b.incr(b"a")
    assert dict(store) == {b"a": b"x"}


def test_a_batch_is_used_once(store: dumbkv.Store) -> None:
    with store.batch() as b:
        b.set(b"a", b"1")
    with pytest.raises(RuntimeError, match="the batch is over"):
        b.set(b"a", b"2")


def test_an_empty_batch_does_nothing(store: dumbkv.Store) -> None:
    with store.batch() as b:
        pass
    assert b.results == []
    assert store.stats().sets == 0


def test_nonsense_is_refused_where_it_is_given(store: dumbkv.Store) -> None:
    with store.batch() as b:
        with pytest.raises(TypeError, match="key must be bytes"):
            b.set("a", b"1")  # type: ignore[arg-type]  # nonsense
        with pytest.raises(TypeError, match="value must be bytes"):
            b.set(b"a", 1)  # type: ignore[arg-type]  # nonsense
        with pytest.raises(dumbkv.InvalidKeyError):
            b.delete(b"")
        with pytest.raises(ValueError, match="ttl is -1"):
            b.set(b"a", b"1", ttl=-1)
        with pytest.raises(ValueError, match="two versions"):
            b.check(b"a", None)
            b.check(b"a", 1)
        with pytest.raises(TypeError):
            b.incr(b"a", "1")  # type: ignore[arg-type]  # nonsense
    assert len(store) == 0


def test_a_closed_store_refuses(store: dumbkv.Store) -> None:
    with pytest.raises(dumbkv.ClosedError), store.batch() as b:
        b.set(b"a", b"1")
        store.close()


@pytest.mark.parametrize("backend", BACKENDS)
class TestThreads:
    def test_money_moves_and_none_is_made(self, backend: str) -> None:
        run(
            backend,
            """
            accounts = [b"%d" % n for n in range(10)]
            store.set_many((account, b"1000") for account in accounts)
            done = []
            def move(n):
                chance = random.Random(n)
                for _ in range(1000):
                    giver, taker = chance.sample(accounts, 2)
                    amount = chance.randrange(5)
                    with store.batch() as b:
                        b.incr(giver, -amount)
                        b.incr(taker, amount)
                done.append(n)
            def look(n):
                while len(done) < 4:
                    assert sum(map(int, store.get_many(accounts).values())) == 10000
            together(*[move] * 4, look, look)
            """,
        )

    def test_a_checked_batch_is_a_compare_and_set(self, backend: str) -> None:
        run(
            backend,
            """
            store[b"n"] = b"0"
            conflicts = []
            def work(n):
                for _ in range(500):
                    while True:
                        entry = store.entry(b"n")
                        try:
                            with store.batch() as b:
                                b.check(b"n", entry.version)
                                b.set(b"n", b"%d" % (int(entry.value) + 1))
                                b.incr(b"other")
                            break
                        except dumbkv.ConflictError:
                            conflicts.append(n)
            together(*[work] * 6)
            assert store[b"n"] == store[b"other"] == b"3000"
            """,
        )
