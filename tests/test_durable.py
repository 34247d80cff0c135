"""Stores on disk: what they keep, when the disk is full or fails, who may have them, and how much
room they take."""

import contextlib
import errno
import gc
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from prometheus_client import CollectorRegistry

import dumbkv
from dumbkv import _clean, _log, _opening, _sync
from dumbkv._record import HEADER_SIZE
from dumbkv._recovery import name
from dumbkv._sync import datasync
from dumbkv.metrics import StoreCollector
from tests.conftest import BACKENDS, OpenStore
from tests.disk import clock_stopped, small_disk

ALWAYS = {"fsync": "always"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def reopened(open_store: OpenStore, store: dumbkv.Store, **options: Any) -> dumbkv.Store:
    store.close()
    assert store.path is not None
    return open_store(path=store.path, **options)


# What is kept


def test_a_store_comes_back_with_versions_and_expiries(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store.set(b"a", b"1", ttl=1000)
    store[b"b"] = bytes(5000)
    store.incr(b"n", 41), store.incr(b"n")
    store.touch(b"b", 2000)
    store.set(b"gone", b"", ttl=0.000001)
    before = {key: store.entry(key) for key in (b"a", b"b", b"n")}
    again = reopened(open_store, store)
    assert set(again) == set(before)
    for key, entry in before.items():
        found = again.entry(key)
        assert entry is not None
        assert found is not None
        assert found[:3] == entry[:3]
        assert found.expires_at == pytest.approx(entry.expires_at, abs=0.1)
    assert again.stats().recovered_entries == 3


def test_versions_go_on_after_all_that_were_ever_given(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store._set_clock(10**12, 2**52)
    last = store.set(b"a", b"1")
    store.delete(b"a")
    store.close()
    again = open_store(path=path)
    assert last is not None
    assert (again.set(b"a", b"1") or 0) > last


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("happens", ["delete", "delete_many", "clear", "expire"])
def test_versions_of_events_do_not_come_again(
    open_store: OpenStore, path: Path, happens: str, written: bool
) -> None:
    with clock_stopped(10**12, 2**52):
        store = open_store(path=path)
        store.set(b"a", b"1", ttl=1)
        store.set(b"b", b"2")
        if not written:
            store = reopened(open_store, store)
    with store.watch(timeout=0) as events:
        if happens == "delete":
            store.delete(b"b")
        elif happens == "delete_many":
            store.delete_many([b"b", b"a"])
        elif happens == "clear":
            store.clear()
        else:
            store._set_clock(10**12 + 2_000_000, 2**52)
            store.sweep()
        last = max(event.version for event in events)
    again = reopened(open_store, store)
    assert again.set(b"c", b"3") > last  # type: ignore[operator]  # it is set


def test_batches_are_one_record(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    before = store._log_state()[2]
    store.set_many({b"%d" % n: b"v" for n in range(100)})
    store.delete_many([b"%d" % n for n in range(50)] * 2)
    with store.batch() as batch:
        batch.set(b"a", b"1")
        batch.delete(b"99")
    assert store._log_state()[2] - before == 3
    assert len(reopened(open_store, store)) == 50


def test_what_changes_nothing_writes_nothing(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store[b"a"] = b"1"
    before = store._log_state()
    assert store.set(b"a", b"2", nx=True) is None
    assert store.set(b"b", b"2", xx=True) is None
    assert store.set(b"a", b"2", if_version=7) is None
    assert not store.delete(b"b")
    assert not store.delete(b"a", if_version=7)
    assert store.delete_many([b"b", b"c"]) == 0
    assert store.setdefault(b"a", b"2") == b"1"
    assert store.pop(b"b", None) is None
    assert not store.touch(b"b", 5)
    assert not store.persist(b"a")
    with pytest.raises(dumbkv.NotAnIntegerError):
        store.set(b"x", b"no"), store.incr(b"x")
    store.update({})
    assert store._log_state()[2] == before[2] + 1  # of b"x"


def test_evicted_keys_do_not_come_back(open_store: OpenStore, path: Path) -> None:
    options: dict[str, Any] = {"max_bytes": 200_000, "eviction": "lru"}
    store = open_store(path=path, **options)
    for n in range(2000):
        store[b"%d" % n] = bytes(200)
    assert store.stats().evicted > 0
    kept = set(store)
    gone = next(b"%d" % n for n in range(2000) if b"%d" % n not in kept)
    assert not store.delete(gone)
    store[b"last"] = b""
    kept = set(store)
    store.close()
    assert set(open_store(path=path)) == kept


def test_too_much_for_max_bytes_is_refused_when_it_is_read(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path)
    store.update({b"%d" % n: bytes(1000) for n in range(1000)})
    store.close()
    with pytest.raises(dumbkv.StoreFullError, match="max_bytes=300000") as caught:
        open_store(path=path, max_bytes=300_000)
    assert str(path) in str(caught.value)
    assert 0 < len(open_store(path=path, max_bytes=300_000, eviction="lru")) < 1000


def test_a_record_larger_than_what_is_read_at_a_time(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    values = {b"%d" % n: bytes(1_000_000) for n in range(9)}
    store.update(values)
    store[b"a"] = b"1"
    assert reopened(open_store, store) == {**values, b"a": b"1"}


def test_every_log_is_written_by_many_threads_at_once(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path, **ALWAYS)

    def write(n: int) -> None:
        for i in range(60):
            store[b"%d %d" % (n, i)] = bytes(300)
            store.incr(b"sum")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = store.stats()
    assert stats.fsyncs < 480  # they share
    again = reopened(open_store, store)
    assert len(again) == 241
    assert again[b"sum"] == b"240"


# When what is written is on the disk


def test_always_is_on_the_disk_when_the_call_returns(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path, **ALWAYS)
    store[b"a"] = b"1"
    assert store._log is not None
    assert store._log.syncs.position == store._log_state()[1]
    before = store.stats().fsyncs
    store.clear()
    store.sync()
    assert store.stats().fsyncs == before + 1


def test_everysec_is_on_the_disk_soon_and_never_at_close(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store[b"a"] = b"1"
    deadline = time.monotonic() + 10
    while not store.stats().fsyncs and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.stats().fsyncs == 1
    lazy = reopened(open_store, store, fsync="never")
    lazy[b"b"] = b"2"
    with mock.patch("dumbkv._sync.datasync", side_effect=datasync) as asked:
        lazy.close()
    assert asked.call_count == 1


def test_a_change_may_not_wait_and_ask_to_be_told(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path, **ALWAYS)
    done = threading.Event()
    told: list[Exception | None] = []
    with store._unwaited() as unwaited:
        store[b"a"] = b"1"
    assert store.stats().fsyncs == 0
    assert store._log is not None

    def tell(error: Exception | None) -> None:
        told.append(error)
        done.set()

    store._log.when_synced(unwaited.end, tell)
    assert done.wait(10)
    assert told == [None]
    store._log.when_synced(unwaited.end, told.append)
    assert told == [None, None]


def test_prometheus_learns_of_the_log(open_store: OpenStore, path: Path) -> None:
    registry = CollectorRegistry()
    store = open_store(path=path, **ALWAYS)
    registry.register(StoreCollector(store, name="main"))
    registry.register(StoreCollector(open_store(), name="other"))
    for _ in range(3):
        store[b"a"] = b"1"
    labels = {"store": "main"}
    waits = "dumbkv_log_fsync_duration_seconds"
    assert registry.get_sample_value(f"{waits}_count", labels) == 3
    assert registry.get_sample_value(f"{waits}_bucket", {**labels, "le": "+Inf"}) == 3
    assert (registry.get_sample_value(f"{waits}_sum", labels) or 0) > 0
    assert registry.get_sample_value("dumbkv_log_files", labels) == 1
    assert registry.get_sample_value("dumbkv_log_bytes", labels) == on_disk(path)
    assert registry.get_sample_value("dumbkv_log_poisoned", labels) == 0
    last = registry.get_sample_value("dumbkv_log_last_sync_timestamp_seconds", labels)
    assert last == pytest.approx(time.time(), abs=60)
    assert registry.get_sample_value("dumbkv_log_files", {"store": "other"}) is None


def test_prometheus_learns_where_writes_are_refused(open_store: OpenStore) -> None:
    registry = CollectorRegistry()
    registry.register(StoreCollector(open_store(max_bytes=1 << 20), name="main"))
    registry.register(StoreCollector(open_store(max_bytes=1 << 20, eviction="lru"), name="cache"))
    registry.register(StoreCollector(open_store(), name="all"))
    found = {
        name: registry.get_sample_value("dumbkv_max_bytes", {"store": name})
        for name in ("main", "cache", "all")
    }
    assert found == {"main": 1 << 20, "cache": None, "all": None}


# A disk that is full


def test_a_full_disk_changes_nothing_and_writing_goes_on_when_there_is_room(
    open_store: OpenStore, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as make_room:
        store = open_store(path=tmp_path / "disk" / "data")
        written: dict[bytes, bytes] = {}

        def fill() -> None:
            for n in range(2000):
                store.set(b"%d" % n, bytes(1000))
                written[b"%d" % n] = bytes(1000)

        with pytest.raises(dumbkv.DiskFullError, match="the disk has no room"):
            fill()
        assert len(written) > 500
        assert store == written
        with pytest.raises(dumbkv.DiskFullError):
            store.update({b"x": bytes(900), b"y": bytes(900)})
        with pytest.raises(dumbkv.StoreFullError):
            store.set(b"1", bytes(900))
        assert store == written
        make_room()
        store[b"x"] = bytes(1000)
        written[b"x"] = bytes(1000)
        again = reopened(open_store, store)
        assert again == written
        again.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_limit_on_the_size_of_files_is_a_full_disk(backend: str, path: Path) -> None:
    program = f"""
import resource, signal, dumbkv
store = dumbkv.open({str(path)!r}, backend={backend!r})
store[b"a"] = b"1"
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, -1))
try:
    for n in range(1000):
        store[b"%d" % n] = bytes(1000)
except dumbkv.DiskFullError:
    print(len(store), b"%d" % n in store)
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
store[b"after"] = b"1"
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    count, there = done.stdout.split()
    assert there == "False"
    with dumbkv.open(path) as again:
        assert len(again) == int(count) + 1


@contextmanager
def full(store: Any) -> Iterator[None]:
    """A disk with room for ten bytes more: a write fails, and takes all that was made with it."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (store._log_state()[0] + 10, limits[1]))
    try:
        with pytest.raises(dumbkv.DiskFullError):
            store[b"large"] = bytes(1000)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_too_full_to_close_a_file_takes_writes_again(
    open_store: OpenStore, path: Path, tmp_path: Path
) -> None:
    store = open_store(path=path)
    store[b"a"] = b"1"
    with full(store), pytest.raises(dumbkv.DiskFullError):
        store.snapshot(tmp_path / "copy")
    store[b"b"] = b"2"
    store.snapshot(tmp_path / "copy")
    store[b"c"] = b"3"
    with full(store):
        store.close()
    for directory, count in ((path, 3), (tmp_path / "copy", 2)):
        again = open_store(path=directory)
        assert len(again) == count
        again.close()


@pytest.mark.parametrize("size", [1000, 10_000, 100_000])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_a_record_on_the_disk_is_none(backend: str, path: Path, size: int) -> None:
    program = f"""
import resource, dumbkv
store = dumbkv.open({str(path)!r}, backend={backend!r})
store[b"a"] = b"1"
resource.setrlimit(resource.RLIMIT_FSIZE, (store._log_state()[0] + {size} // 2, -1))
for key in (b"b", b"a"):
    try:
        store[key] = bytes({size})
    except dumbkv.DiskFullError:
        print(sorted(store.items()))
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
if {size} == 1000:
    import os; os._exit(0)
store[b"c"] = b"2"
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == ["[(b'a', b'1')]"] * 2
    with dumbkv.open(path) as again:
        assert dict(again) == ({b"a": b"1"} if size == 1000 else {b"a": b"1", b"c": b"2"})
        assert again.stats().cut_bytes == 0


def test_a_write_that_fails_leaves_nothing_behind(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store[b"a"] = b"1"
    assert store._log is not None
    log = store._log.log
    where = store._log_state()[0]
    descriptor = os.open(log.path(log.newest), os.O_RDONLY)  # writing to it fails
    _, _, _ = store._log_state()
    seed = log._header.seed if log._header else 0
    real = log.syncs.descriptor
    store._log_file(descriptor, where, where + 1000, seed, 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        store[b"a"] = b"2"
    assert store[b"a"] == b"1"
    store._log_file(real, where, where, seed, 0)
    os.close(descriptor)
    store[b"a"] = b"3"
    store.close()


# A disk that fails


def failing(*_: object) -> None:
    raise OSError(5, "Input/output error")


def test_a_failed_sync_poisons_and_what_was_not_acknowledged_is_undone(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path, **ALWAYS)
    store._set_clock(10**12, time.time_ns() // 1000)
    store.update({b"a": b"1", b"b": bytes(2000), b"c": b"3"})
    store.touch(b"c", 1000)
    before = {key: store.entry(key) for key in store}
    log = store._log
    assert log is not None
    with store._unwaited():
        store[b"a"] = b"2"
        store[b"a"] = b"3"
        store.delete(b"b")
        store[b"new"] = b"1"
        store.persist(b"c")
    told: list[Exception | None] = []
    with (
        mock.patch("dumbkv._sync.datasync", failing),
        pytest.raises(dumbkv.PoisonedError, match="Input/output error") as caught,
    ):
        store[b"d"] = b"4"
    assert isinstance(caught.value.__cause__, OSError)
    assert {key: store.entry(key) for key in store} == before
    assert store.stats().poisoned == 1
    for write in (
        lambda: store.set(b"a", b"9"),
        lambda: store.incr(b"n"),
        lambda: store.delete(b"a"),
        lambda: store.update({b"x": b""}),
        store.clear,
        store.popitem,
        store.sync,
        store.snapshot,
    ):
        with pytest.raises(dumbkv.PoisonedError):
            write()
    log.when_synced(10**9, told.append)
    assert isinstance(told[0], dumbkv.PoisonedError)
    store.close()
    assert dict(open_store(path=path))  # what did reach the disk


@pytest.mark.parametrize("ask", [lambda store: store.set(b"b", b"1"), lambda store: store.sync()])
def test_a_failed_sync_in_the_background_is_told_at_the_next_call_and_not_at_close(
    open_store: OpenStore, path: Path, ask: Callable[[dumbkv.Store], object]
) -> None:
    store = open_store(path=path)
    with mock.patch("dumbkv._sync.datasync", failing):
        store[b"a"] = b"1"
        deadline = time.monotonic() + 10
        while not store.stats().poisoned and time.monotonic() < deadline:
            time.sleep(0.01)
    with pytest.raises(dumbkv.PoisonedError):
        ask(store)
    assert store[b"a"] == b"1"
    store.close()


def test_a_failed_sync_is_told_once_even_by_who_hears_of_it_at_once(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path)
    heard: list[BaseException] = []

    def ask_meanwhile(*_: object) -> None:
        """Before the thread of the store has done anything more about it."""
        asking = threading.Thread(target=lambda: heard.append(_raised(store.sync)))
        asking.start()
        asking.join()

    with (
        mock.patch("dumbkv._sync.datasync", failing),
        mock.patch.object(_opening.logger, "error", ask_meanwhile),
    ):
        store[b"a"] = b"1"
        until(lambda: bool(heard))
    assert isinstance(heard[0], dumbkv.PoisonedError)
    store.close()


def _raised(call: Callable[[], object]) -> BaseException:
    with pytest.raises(dumbkv.PoisonedError) as caught:
        call()
    return caught.value


def test_a_failed_sync_in_the_background_is_told_at_close_if_nobody_has_heard_of_it(
    open_store: OpenStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(path=path)
    with mock.patch("dumbkv._sync.datasync", failing):
        store[b"a"] = b"1"
        until(lambda: store.stats().poisoned == 1)
    with pytest.raises(dumbkv.PoisonedError, match="Input/output error"):
        store.close()
    assert store.closed
    assert "Input/output error" in caplog.text
    assert open_store(path=path) == {b"a": b"1"}


def test_what_was_on_the_disk_before_it_failed_is_not_said_to_have_failed(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path, **ALWAYS)
    log = store._log
    assert log is not None
    with store._unwaited() as change:
        store[b"a"] = b"1"
    told: list[BaseException] = []

    def wait() -> None:
        try:
            log.syncs.wait(store, change.end)
        except dumbkv.PoisonedError as error:
            told.append(error)

    waits = threading.Thread(target=wait)
    store._log_lock()
    waits.start()
    time.sleep(0.2)  # it is about to ask the disk, and waits for its turn
    log.syncs.in_turn(store)
    with pytest.raises(dumbkv.PoisonedError):
        log.syncs.poison(store, OSError(5, "Input/output error"))
    store._log_unlock()
    waits.join(10)
    assert not told
    assert store[b"a"] == b"1"


def test_nothing_is_kept_behind_what_a_failed_sync_undid(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path, **ALWAYS)
    store.update({b"a": b"1", b"b": b"1"})
    log = store._log
    assert log is not None
    store._log_lock()
    log._next_file(store)
    store._log_unlock()
    with mock.patch("dumbkv._sync.datasync", failing), pytest.raises(dumbkv.PoisonedError):
        store.update({b"a": b"2", b"b": b"2"})
    ended = store._log_state()
    store._log_lock()
    with pytest.raises(dumbkv.PoisonedError):
        log.cleaner.step(store)
    store._log_unlock()
    assert store._log_state() == ended
    assert dict(reopened(open_store, store)) in ({b"a": x, b"b": x} for x in (b"1", b"2"))


def test_a_failed_sync_at_close_is_raised_and_lets_go_of_the_directory(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path, fsync="never")
    store[b"a"] = b"1"
    with mock.patch("dumbkv._sync.datasync", failing), pytest.raises(dumbkv.PoisonedError):
        store.close()
    assert store.closed
    assert open_store(path=path) == {b"a": b"1"}


# Who may have it


def test_a_directory_is_open_once(open_store: OpenStore, path: Path) -> None:
    open_store(path=path)
    with pytest.raises(dumbkv.LockedError, match="is open in this process"):
        open_store(path=path)
    program = f"import dumbkv; dumbkv.open({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert f"is open in process {os.getpid()}" in done.stderr


def test_it_is_nobody_elses_to_read(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store[b"a"] = b"1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    names = os.listdir(path)
    assert sorted(names) == ["00000001.log", "lock"]
    assert {stat.S_IMODE((path / name).stat().st_mode) for name in names} == {0o600}


def test_links_and_other_things_are_refused(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store.close()
    link = path.parent / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match="a symbolic link"):
        open_store(path=link)
    file = path.parent / "file"
    file.write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        open_store(path=file)
    (path / "00000001.log").rename(path.parent / "elsewhere")
    (path / "00000001.log").symlink_to(path.parent / "elsewhere")
    with pytest.raises(OSError, match="a symbolic link"):
        open_store(path=path)
    with pytest.raises(ValueError, match="fsync is 'sometimes'"):
        open_store(path=path, fsync="sometimes")


def test_a_child_may_read_and_not_write(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path, **ALWAYS)
    store[b"a"] = b"1"
    child = os.fork()
    if not child:
        code = 3
        try:
            assert store[b"a"] == b"1"
            calls: tuple[Callable[[], object], ...] = (store.clear, store.sync, store.snapshot)
            for write in (lambda: store.set(b"a", b"2"), *calls):
                with pytest.raises(dumbkv.ForkedError, match="child"):
                    write()
            store.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store[b"b"] = b"2"
    assert reopened(open_store, store) == {b"a": b"1", b"b": b"2"}


def test_forks_while_others_write(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    stop = threading.Event()

    def write(n: int) -> None:
        i = 0
        while not stop.is_set():
            i += 1
            store[b"%d %d" % (n, i % 50)] = bytes(i % 2000)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if not child:
                try:
                    store._check()
                finally:
                    os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    before = dict(store)
    assert reopened(open_store, store) == before


def test_closing_while_others_write_keeps_what_they_were_told(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path)
    told: list[dict[bytes, int]] = [{}, {}, {}]
    begun = threading.Barrier(4)

    def write(n: int) -> None:
        begun.wait()
        for i in range(10**6):
            try:
                store[b"%d" % n] = b"%d" % i
            except dumbkv.ClosedError:
                return
            told[n][b"%d" % n] = i

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    while not all(told):
        time.sleep(0.001)
    store.close()
    for thread in threads:
        thread.join()
    again = open_store(path=path)
    assert dict(again) == {key: b"%d" % i for each in told for key, i in each.items()}


def test_a_store_that_nobody_has_lets_go_of_its_directory(path: Path) -> None:
    store = dumbkv.open(path)
    store[b"a"] = b"1"
    del store
    gc.collect()  # on the table in Python it is part of a cycle
    deadline = time.monotonic() + 10
    while True:  # its thread may just be looking after it
        try:
            with dumbkv.open(path) as again:
                assert again == {b"a": b"1"}
                return
        except dumbkv.LockedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_signal_handler_in_the_middle_of_a_write_is_told(
    open_store: OpenStore, path: Path
) -> None:
    store = open_store(path=path)
    raised: list[Exception] = []
    assert store._log is not None
    make_room = store._log.room

    def interrupted(*args: Any) -> None:
        try:
            store[b"inner"] = b"1"
        except RuntimeError as error:
            raised.append(error)
        make_room(*args)

    with mock.patch.object(store._log, "room", interrupted):
        store[b"outer"] = b"1"
    assert "in the middle of a write" in str(raised[0])
    assert store == {b"outer": b"1"}
    store[b"inner"] = b"1"


# How much room it takes


@contextmanager
def small_files(size: int = 32 << 10) -> Iterator[None]:
    """Logs of small files that are cleaned early, and not brought to the disk: that takes long."""
    with (
        mock.patch("os.fsync"),
        mock.patch.object(_sync, "datasync"),
        mock.patch.object(_log, "datasync"),
        mock.patch.object(_log, "LEAST_FILE", size),
        mock.patch.object(_log, "LEAST_ROOM", size // 4),
        mock.patch.object(_clean, "FLOOR", size * 4),
        mock.patch.object(_clean, "SLICE", size // 4),
    ):
        yield


def entries(store: dumbkv.Store) -> dict[bytes, tuple[Any, ...]]:
    return {key: (store.entry(key) or ())[:3] for key in store}


def on_disk(path: Path) -> int:
    size = 0
    for each in path.glob("*.log"):
        with contextlib.suppress(FileNotFoundError):  # it was just cleaned away
            size += each.stat().st_size
    return size


def test_a_log_that_cannot_be_cleaned_says_so_and_is_written_on(
    open_store: OpenStore, path: Path
) -> None:
    with small_files():
        store = open_store(path=path, fsync="never")
        store[b"kept"] = bytes(5000)
        first = path / name(1)
        data = bytearray(first.read_bytes())
        data[HEADER_SIZE + 1000] ^= 1
        first.write_bytes(data)
        assert store.stats().uncleaned == 0
        for turn in range(200):
            store[b"changed"] = bytes([turn]) * 5000
        until(lambda: store.stats().uncleaned == 1)
        files = store.stats().log_files
        for turn in range(50):
            store[b"changed"] = bytes([turn]) * 5000
        assert store.stats().log_files > files > 20
        assert store[b"changed"] == bytes([49]) * 5000
        assert store[b"kept"] == bytes(5000)
        store.close()
    with pytest.raises(dumbkv.CorruptError, match=name(1)):
        open_store(path=path)


@pytest.mark.parametrize("cold", [0, 900])
def test_the_log_is_never_much_longer_than_what_it_holds(
    open_store: OpenStore, path: Path, cold: int
) -> None:
    with small_files():
        store = open_store(path=path, fsync="never")
        keys = [b"%d" % n for n in range(1000)]
        for n in range(0, 1000, 20):
            store.update(dict.fromkeys(keys[n : n + 20], bytes(1000)))
        most = 0.0
        floor = _clean.FLOOR + 2 * _log.LEAST_FILE
        for turn in range(10):
            for key in keys[cold:] * (1 if not cold else 5):
                store[key] = bytes([turn]) * 1000
                needed = _log.needed(*store._counters()[:2])
                most = max(most, (on_disk(path) - floor) / needed)
        assert most <= 2.2
        assert store.stats().log_files > 3
        before = {key: store.entry(key) for key in keys}
        again = reopened(open_store, store)
        assert {key: again.entry(key) for key in keys} == before


def fill_a_file(store: dumbkv.Store) -> None:
    """To more than its size, and less than a writer would close it at; in one step, as the thread
    of the store may close it after each."""
    store.set_many((b"%d" % n, bytes(1000)) for n in range(36))


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_file_is_closed_by_the_thread_of_the_store(
    open_store: OpenStore, path: Path
) -> None:
    with small_files():
        store = open_store(path=path, fsync="never")
        fill_a_file(store)
        until(lambda: store.stats().log_files == 2)
        assert store._log_state()[2] == 0
        store[b"a"] = b"1"
        assert len(reopened(open_store, store)) == 37


def test_a_writer_begins_the_file_that_the_thread_of_the_store_could_not(
    open_store: OpenStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_files():
        store = open_store(path=path, fsync="never")
        with mock.patch.object(_log, "sync_directory", failing):
            fill_a_file(store)
            until(lambda: "no other file could be begun" in caplog.text)
        assert store.stats().log_files == 1
        store[b"a"] = b"1"
        assert store.stats().log_files == 2
        assert len(reopened(open_store, store)) == 37


def full_for_files(descriptor: int, at: int, size: int) -> None:
    """Room in files there is, and none for another."""
    if not at:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.posix_fallocate(descriptor, at, size)


def test_the_thread_of_the_store_outlives_a_full_disk(
    open_store: OpenStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        small_files(),
        mock.patch.object(_clean, "FLOOR", 0),
        mock.patch.object(_sync, "datasync", datasync),
    ):
        store = open_store(path=path, fsync="never")
        fill_a_file(store)
        until(lambda: store.stats().log_files == 2)
        assert store._log
        store._log.cleaner.pinned += 1
        with mock.patch.object(_log, "_allocate", full_for_files):
            fill_a_file(store)  # the first file holds nothing any more
            until(lambda: "no other file could be begun" in caplog.text)
            store._log.cleaner.pinned -= 1
            store._log.keeper.hurry()
            until(lambda: store.stats().log_files == 1)  # cleaned, with none to write to
            with pytest.raises(dumbkv.DiskFullError):
                store[b"a"] = b"1"
        store[b"a"] = b"1"

        def another_file() -> bool:
            """By the same thread, unless whoever writes was faster than that."""
            fill_a_file(store)
            end = time.monotonic() + 1
            while store._log_state()[2] and time.monotonic() < end:
                time.sleep(0.01)
            return not store._log_state()[2]

        until(another_file)
        assert len(reopened(open_store, store)) == 37


def test_a_snapshot_leaves_only_what_is_needed(open_store: OpenStore, path: Path) -> None:
    with (
        small_files(),
        mock.patch.object(_clean, "BEGIN", 100),
        mock.patch.object(_clean, "PAY", 100),
    ):
        store = open_store(path=path, fsync="never")
        for turn in range(3):
            store.update({b"%d" % n: bytes([turn]) * 1000 for n in range(1000)})
            store.delete_many(b"%d" % n for n in range(0, 1000, 2))
        store.touch(b"1", 1000)
        before = entries(store)
        assert on_disk(path) > 3 * store.stats().data_bytes
        store.snapshot()
        assert on_disk(path) <= 1.15 * _log.needed(*store._counters()[:2]) + _log.LEAST_ROOM
        files = set(os.listdir(path))
        store.snapshot()  # there is nothing to do
        assert set(os.listdir(path)) == files
        again = reopened(open_store, store)
        assert entries(again) == before
        assert again.ttl(b"1") == pytest.approx(1000, abs=60)


def test_a_snapshot_elsewhere_is_a_moment_of_the_store(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            store.update({b"a": b"%d" % n, b"b": b"%d" % n})
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while b"a" not in store:
            time.sleep(0.001)
        store.snapshot(path.parent / "copy")
        with pytest.raises(FileExistsError):
            store.snapshot(path.parent / "copy")
    finally:
        stop.set()
        thread.join()
    copy = open_store(path=path.parent / "copy")
    assert copy[b"a"] == copy[b"b"]
    assert stat.S_IMODE((path.parent / "copy").stat().st_mode) == 0o700
    assert [name for name in os.listdir(path.parent) if name.endswith(".tmp")] == []
    with pytest.raises(ValueError, match="in memory"):
        open_store().snapshot()
    assert open_store().path is None
    open_store().sync()


def test_many_openings_leave_no_files_behind(open_store: OpenStore, path: Path) -> None:
    store = open_store(path=path)
    store[b"a"] = b"1"
    for _ in range(5):
        store = reopened(open_store, store)
    store.close()
    assert len(list(path.glob("*.log"))) == 1
