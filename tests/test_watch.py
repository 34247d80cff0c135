"""What a watch tells, how long it waits, what it costs and when it is lost."""

import gc
import threading
import time

import pytest

import dumbkv
from tests.conftest import BACKENDS, OpenStore
from tests.test_threads import run


def told(watch: dumbkv.Watch) -> list[tuple[str, bytes]]:
    return [(event.kind, event.key) for event in iter(lambda: watch.get(0), None)]


def test_every_kind_of_change_is_told(store: dumbkv.Store) -> None:
    store._set_clock(0, 0)  # the sweeper does not come in between
    with store.watch() as watch:
        store[b"a"] = b"1"
        store.set(b"b", b"1", ttl=1)
        store.incr(b"n")
        store.touch(b"a", 60)
        store.delete(b"a")
        store.delete(b"absent")
        store._set_clock(2_000_000, 2_000_000)
        store.sweep()
        store.set_many([(b"c", b""), (b"d", b"")])
        store.delete_many([b"c", b"absent"])
        with store.batch() as b:
            b.set(b"e", b"")
            b.delete(b"d")
        store.clear()
        assert told(watch) == [
            *[("set", b"a"), ("set", b"b"), ("set", b"n"), ("delete", b"a"), ("expire", b"b")],
            *[("set", b"c"), ("set", b"d"), ("delete", b"c"), ("set", b"e"), ("delete", b"d")],
            ("clear", b""),
        ]


def test_evictions_are_told(open_store: OpenStore) -> None:
    store = open_store(max_bytes=200_000, eviction="lru")
    with store.watch() as watch:
        for n in range(3000):
            store[b"%d" % n] = bytes(100)
        gone = {key for kind, key in told(watch) if kind == "evict"}
    assert len(gone) == store.stats().evicted > 0
    assert gone.isdisjoint(store)


def test_versions_grow_and_are_those_of_the_entries(store: dumbkv.Store) -> None:
    with store.watch() as watch:
        written = store.set(b"a", b"1")
        del store[b"a"]
        again = store.set(b"a", b"2")
        versions = [event.version for event in iter(lambda: watch.get(0), None)]
        assert versions[0] == written
        assert versions == sorted(set(versions))
        assert versions[2] == again


def test_only_keys_with_the_prefix_and_every_clear(store: dumbkv.Store) -> None:
    with store.watch(bytearray(b"user:")) as watch:
        store.update({b"user:1": b"", b"other": b"", b"user": b""})
        store.clear()
        assert told(watch) == [("set", b"user:1"), ("clear", b"")]


def test_a_watch_takes_up_where_another_ended(store: dumbkv.Store) -> None:
    with store.watch() as anchor:
        store[b"a"] = b""
        event = anchor.get(0)
        store[b"b"] = b""
        assert event
        with store.watch(since=event.version) as watch:
            assert told(watch) == [("set", b"b")]
        with store.watch(since=event.version - 1) as watch:
            assert told(watch) == [("set", b"a"), ("set", b"b")]


def test_what_happened_while_nobody_watched_is_lost(store: dumbkv.Store) -> None:
    version = store.set(b"a", b"1")
    store[b"b"] = b""
    with pytest.raises(dumbkv.WatchLostError, match=f"after version {version}"):
        store.watch(since=version)
    store[b"c"] = b""  # and whoever was refused is not counted as a watch


def test_a_slow_reader_is_told_and_memory_is_bounded(store: dumbkv.Store) -> None:
    keys = [b"%01000d" % n for n in range(100)]
    with store.watch() as slow, store.watch() as quick:
        before = store.stats().memory_bytes
        for _ in range(100):
            for key in keys:
                store[key] = b""
            assert len(told(quick)) == 100
        with pytest.raises(dumbkv.WatchLostError, match="more happened than is kept"):
            slow.get(0)
        assert store.stats().memory_bytes - before < 16 << 20


def test_a_wait_ends_with_its_time(store: dumbkv.Store) -> None:
    with store.watch(timeout=0.05) as watch:
        begin = time.monotonic()
        assert list(watch) == []
        assert watch.get(0.05) is None
        assert 0.1 <= time.monotonic() - begin < 5


@pytest.mark.parametrize("end", ["watch", "store"])
def test_closing_ends_a_wait(open_store: OpenStore, end: str) -> None:
    store = open_store()
    watch = store.watch()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            watch.get()
        except dumbkv.ClosedError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    (watch if end == "watch" else store).close()
    thread.join(5)
    assert len(errors) == 1


def test_an_expiry_is_told_while_somebody_waits(store: dumbkv.Store) -> None:
    with store.watch() as watch:
        store.set(b"a", b"", ttl=0.02)
        kinds = [event.kind for event in (watch.get(5), watch.get(5)) if event]
        assert kinds == ["set", "expire"]


def test_a_forgotten_watch_costs_nothing_more(store: dumbkv.Store) -> None:
    watch = store.watch()
    store[b"a"] = b""
    del watch
    gc.collect()
    with pytest.raises(dumbkv.WatchLostError):
        store.watch(since=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"since": "1"}, TypeError, "since must be a version, not str"),
        ({"since": -1}, ValueError, "since is -1: expected a version"),
        ({"timeout": -1}, ValueError, "timeout is -1: expected seconds, at least 0"),
        ({"timeout": float("nan")}, ValueError, "timeout is nan"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, not str"),
        ({"prefix": "a"}, TypeError, "must be bytes"),
    ],
)
def test_nonsense_is_refused(
    store: dumbkv.Store, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        store.watch(**options)  # type: ignore[arg-type]  # nonsense


@pytest.mark.parametrize("backend", BACKENDS)
class TestThreads:
    def test_every_write_is_told_once_and_in_order(self, backend: str) -> None:
        run(
            backend,
            """
            total = 4 * 2000
            def write(n):
                for i in range(2000):
                    store.set(b"%d %d" % (n, i), b"")
            def read(watch):
                def work(_):
                    events = [watch.get(30) for _ in range(total)]
                    versions = [event.version for event in events]
                    assert versions == sorted(set(versions))
                    for n in range(4):
                        own = [e.key for e in events if e.key.startswith(b"%d " % n)]
                        assert own == [b"%d %d" % (n, i) for i in range(2000)]
                    assert watch.get(0) is None
                return work
            together(*[write] * 4, *[read(store.watch()) for _ in range(2)])
            """,
        )

    def test_in_a_child_it_is_closed_and_a_new_one_works(self, backend: str) -> None:
        run(
            backend,
            """
            import os, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            watch = store.watch()
            waiting = threading.Thread(target=watch.get, args=(20,), daemon=True)
            waiting.start()
            for _ in range(20):
                child = os.fork()
                if not child:
                    code = 3
                    try:
                        try:
                            watch.get(0)
                        except dumbkv.ClosedError:
                            with store.watch() as own:
                                store[b"child"] = b""
                                code = 0 if own.get(5).key == b"child" else 4
                            version = store.set(b"child", b"")
                            try:
                                store.watch(since=version - 1)
                                code = 5
                            except dumbkv.WatchLostError:
                                pass
                    finally:
                        os._exit(code)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            store[b"parent"] = b""
            waiting.join(10)
            assert not waiting.is_alive()
            """,
        )
