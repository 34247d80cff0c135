"""A dump is whole or not there, and comes back as it was; what is damaged changes nothing."""

import contextlib
import io
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
from dumbkv import _dumpfile, _files
from dumbkv._record import DUMP, LOG, Delete, End, Reader, Set, Writer, encode, new_header
from tests.conftest import BACKENDS, OpenStore

FAR = 4_000_000_000.5
"""Seconds since 1970, in the year 2096."""

NOW = 3_000_000_000_000_000
"""Microseconds since 1970, in the year 2065: where clocks stand, expiries are exact."""

LARGE = bytes(70_000)

Entries = dict[bytes, tuple[bytes, float | None]]


def contents(store: dumbkv.Store) -> Entries:
    found = {}
    for key in store:
        entry = store.entry(key)
        assert entry is not None
        found[key] = (entry.value, entry.expires_at)
    return found


def filled(store: dumbkv.Store) -> dumbkv.Store:
    store._set_clock(0, NOW)
    store.update({b"key %d" % n: b"value %d" % n for n in range(50)})
    store[b"\x00\xff\n"] = bytes(range(256))
    store[b"k" * 1024] = b""
    store[b"large"] = random.randbytes(200_000)
    store.set(b"expires", b"later", expire_at=FAR)
    store.set(b"expires too", b"later", expire_at=FAR + 0.000001)
    return store


def small_dump(path: Path) -> bytes:
    with dumbkv.open() as store:
        store.update({b"a": b"1", b"sky": b"blue", b"\xff": b""})
        store.set(b"b", b"2", expire_at=FAR)
        store.dump(path)
    return path.read_bytes()


def file_of(path: Path, *records: list[Any], of: int = DUMP) -> Path:
    with path.open("wb") as file:
        writer = Writer(file, new_header(of))
        for record in records:
            writer.write(encode(record))
    return path


@pytest.mark.parametrize("other", BACKENDS)
def test_what_was_dumped_comes_back_from_either_table_in_either(
    store: dumbkv.Store, other: Any, tmp_path: Path
) -> None:
    path = tmp_path / "all.dump"
    assert filled(store).dump(path) == len(store)
    with dumbkv.open(backend=other) as back:
        back._set_clock(0, NOW)
        assert back.load(path) == len(store)
        assert contents(back) == contents(store)
        assert back.entry(b"expires").expires_at == FAR  # type: ignore[union-attr]  # it is there


def test_a_dump_has_the_versions_and_a_load_gives_new_ones(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    version = store.set(b"a", b"1")
    store.dump(path)
    with path.open("rb") as file:
        [[entry], _] = [operations for _, operations in Reader(file, "a.dump")]
    assert entry == Set(b"a", b"1", version or 0)
    store.load(path)
    again = store.entry(b"a")
    assert again is not None
    assert version is not None
    assert again.version > version


def test_an_empty_store_is_a_dump_as_well(store: dumbkv.Store, tmp_path: Path) -> None:
    assert store.dump(tmp_path / "none.dump") == 0
    store[b"a"] = b"1"
    assert store.load(tmp_path / "none.dump") == 0
    assert dict(store) == {b"a": b"1"}
    assert store.load(tmp_path / "none.dump", replace=True) == 0
    assert not len(store)


def test_what_has_expired_is_not_in_a_dump(store: dumbkv.Store, tmp_path: Path) -> None:
    store._set_clock(0, NOW)
    store.set(b"short", b"1", ttl=1)
    store.set(b"long", b"1", ttl=1e9)
    store._set_clock(1_000_000, NOW + 1_000_000)
    assert store.dump(tmp_path / "a.dump") == 1
    with dumbkv.open() as other:
        assert other.load(tmp_path / "a.dump") == 1
        assert set(other) == {b"long"}


def test_what_has_expired_since_is_left_out_and_leaves_what_is_there(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    store[b"a"] = b"there"
    path = file_of(tmp_path / "a", [Set(b"a", b"1", 1, 5), Set(b"b", b"2", 2, 5)], [End(2)])
    assert store.load(path) == 0
    assert dict(store) == {b"a": b"there"}


def test_a_default_ttl_is_not_for_what_is_loaded(open_store: OpenStore, tmp_path: Path) -> None:
    small_dump(tmp_path / "a.dump")
    store = open_store(default_ttl=5)
    store.load(tmp_path / "a.dump")
    assert store.ttl(b"sky") is None


def test_a_load_is_beside_what_is_there_or_instead(store: dumbkv.Store, tmp_path: Path) -> None:
    small_dump(tmp_path / "a.dump")
    store.update({b"sky": b"grey", b"other": b"here"})
    assert store.load(tmp_path / "a.dump") == 4
    assert store[b"sky"] == b"blue"
    assert store[b"other"] == b"here"
    assert store.load(str(tmp_path / "a.dump"), replace=True) == 4
    assert dict(store) == {b"a": b"1", b"sky": b"blue", b"\xff": b"", b"b": b"2"}


@given(
    given_entries=st.dictionaries(
        st.binary(min_size=1, max_size=30) | st.sampled_from([b"\x00", b"k" * 1024]),
        st.tuples(
            st.binary(max_size=100) | st.just(LARGE),
            st.none() | st.integers(NOW + 1, 4 * 10**15).map(lambda n: n / 1e6),
        ),
        max_size=8,
    )
)
def test_any_entries_come_back(
    given_entries: Entries, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.dump"
    with dumbkv.open(backend="python") as store, dumbkv.open() as other:
        store._set_clock(0, NOW)
        other._set_clock(0, NOW)
        for key, (value, expires_at) in given_entries.items():
            store.set(key, value, expire_at=expires_at)
        store.dump(path)
        other.load(path)
        assert contents(other) == contents(store)
        assert set(other) == set(given_entries)


# Whole or not at all


class FailingFile(io.FileIO):
    """A file that takes so many writes and then none."""

    left = 0

    def write(self, data: Any) -> int:
        if not FailingFile.left:
            raise OSError(28, "No space left on device")
        FailingFile.left -= 1
        return super().write(data)


def test_a_write_that_fails_leaves_the_old_file(
    store: dumbkv.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    old = small_dump(path)
    store.update({b"key %d" % n: bytes(5000) for n in range(20)})

    def open_failing(descriptor: int, mode: str) -> io.BufferedWriter:
        return io.BufferedWriter(FailingFile(descriptor, mode), buffer_size=64)

    failures = 0
    while path.read_bytes() == old:
        FailingFile.left = failures
        with monkeypatch.context() as patch, contextlib.suppress(OSError):
            patch.setattr(_files, "open", open_failing, raising=False)
            store.dump(path)
        failures += path.read_bytes() == old
        assert os.listdir(tmp_path) == ["a.dump"]
    assert failures > 3
    with dumbkv.open() as other:
        assert other.load(path) == 20


@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_a_step_that_fails_leaves_the_old_file(
    store: dumbkv.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.dump"
    old = small_dump(path)
    store[b"new"] = b"here"

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="Input/output error"):
        store.dump(path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.dump"]


def test_file_name_and_directory_reach_the_disk_in_this_order(
    store: dumbkv.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        steps.append("directory" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} bytes")
        real_fsync(descriptor)

    def replace(old: str, new: str) -> None:
        steps.append("name")
        real_replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    store[b"a"] = b"1"
    store.dump(tmp_path / "a.dump")
    size = (tmp_path / "a.dump").stat().st_size
    assert steps == [f"{size} bytes", "name", "directory"]


def test_a_directory_that_cannot_be_synced_is_an_error_and_the_file_is_whole(
    store: dumbkv.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    store[b"a"] = b"1"
    with pytest.raises(OSError, match="Input/output error"):
        store.dump(tmp_path / "a.dump")
    assert store.load(tmp_path / "a.dump") == 1


def test_an_exception_from_progress_leaves_the_old_file(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    old = small_dump(path)
    store.update({b"%d" % n: bytes(1000) for n in range(200)})

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.dump(path, progress=stop)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.dump"]


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    (tmp_path / ".a.dump.0123abcd.tmp").write_bytes(b"left behind")
    (tmp_path / ".b.dump.0123abcd.tmp").write_bytes(b"another's")
    with _files.replacing(str(path)) as slow:
        slow.write(b"this one is the last to end")
        store.dump(path)
        assert len(os.listdir(tmp_path)) == 3
    assert sorted(os.listdir(tmp_path)) == [".b.dump.0123abcd.tmp", "a.dump"]
    assert path.read_bytes() == b"this one is the last to end"


def test_a_process_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    old = small_dump(path)
    program = """if True:
        import os, signal, sys, dumbkv
        store = dumbkv.open()
        store.update((b"%d" % n, bytes(1000)) for n in range(1000))
        store.dump(sys.argv[1], progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
    """
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60)
    assert done.returncode == -9
    assert path.read_bytes() == old
    assert len(os.listdir(tmp_path)) == 2
    with dumbkv.open() as store:
        store.dump(path)
    assert os.listdir(tmp_path) == ["a.dump"]


def test_only_the_owner_may_read_it(store: dumbkv.Store, tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    before = os.umask(0)
    try:
        store.dump(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        store.dump(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_what_is_not_a_file_is_refused(store: dumbkv.Store, tmp_path: Path) -> None:
    old = small_dump(tmp_path / "a.dump")
    (tmp_path / "link").symlink_to("a.dump")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, what in (
        ("link", "a symbolic link: give what it points to, '.*a.dump'"),
        ("dangling", "a symbolic link"),
        ("directory", "a directory: expected a file"),
        ("pipe", "a device, pipe or socket: expected a file"),
    ):
        for call in (store.dump, store.load):
            with pytest.raises(OSError, match=what) as caught:
                call(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "a.dump").read_bytes() == old
    assert len(os.listdir(tmp_path)) == 5
    with pytest.raises(FileNotFoundError):
        store.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="for a new file beside it"):
        store.dump(tmp_path / "absent" / "a.dump")


def test_a_closed_store_neither_writes_nor_reads(store: dumbkv.Store, tmp_path: Path) -> None:
    old = small_dump(tmp_path / "a.dump")
    with dumbkv.open(backend=store.backend) as other:
        other.close()
        with pytest.raises(dumbkv.ClosedError):
            other.dump(tmp_path / "a.dump")
        with pytest.raises(dumbkv.ClosedError):
            other.load(tmp_path / "a.dump")
    assert (tmp_path / "a.dump").read_bytes() == old


# Looked at before the first change


def expect_unchanged(
    store: dumbkv.Store, path: Path, error: type[Exception] = dumbkv.CorruptError, match: str = "."
) -> Exception:
    before = [store.entry(key) for key in sorted(store)]
    writes = store.stats().sets
    with pytest.raises(error, match=match) as caught:
        store.load(path, replace=True)
    assert [store.entry(key) for key in sorted(store)] == before
    assert store.stats().sets == writes
    return caught.value


def test_a_cut_at_any_byte_is_seen_and_changes_nothing(store: dumbkv.Store, tmp_path: Path) -> None:
    data = small_dump(tmp_path / "a.dump")
    store[b"sky"] = b"grey"
    for size in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:size])
        error = expect_unchanged(store, tmp_path / "cut")
        assert isinstance(error, dumbkv.CorruptError)
        assert error.path == str(tmp_path / "cut")
        assert 0 <= error.offset <= size
    (tmp_path / "cut").write_bytes(data + b"\0")
    expect_unchanged(store, tmp_path / "cut", match="1 bytes after the end")


def test_a_flipped_bit_at_any_byte_is_seen_and_changes_nothing(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    data = small_dump(tmp_path / "a.dump")
    store[b"sky"] = b"grey"
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        (tmp_path / "flipped").write_bytes(flipped)
        expect_unchanged(store, tmp_path / "flipped")


@given(data=st.binary(max_size=300), behind=st.booleans())
def test_any_bytes_are_a_dump_or_damage(
    data: bytes, behind: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    if behind:
        with path.open("wb") as file:
            Writer(file, new_header(DUMP)).write(data or b"!")
    else:
        path.write_bytes(data)
    with dumbkv.open() as store, pytest.raises(dumbkv.CorruptError):
        store.load(path)


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([[Set(b"a", b"1", 1)]], "after 1 entries without the record that counts them"),
        ([[Set(b"a", b"1", 1)], [End(2)]], "the end says 2 entries, and there are 1"),
        ([[Set(b"a", b"1", 1), End(1)]], "an operation of kind 5 among a dump's entries"),
        ([[Delete(b"a")], [End(0)]], "an operation of kind 2 among a dump's entries"),
        ([[End(0)], [End(0)]], "bytes after the end"),
        ([[Set(b"a", b"1", 1)], [Set(b"a", b"2", 2)], [End(2)]], "b'a' comes a second time"),
        ([[Set(b"a", bytes(40000), 1), Set(b"b", bytes(40000), 2)], [End(2)]], "2 entries in a"),
    ],
)
def test_what_a_dump_never_holds_is_damage(
    store: dumbkv.Store, tmp_path: Path, records: list[Any], what: str
) -> None:
    store[b"sky"] = b"grey"
    expect_unchanged(store, file_of(tmp_path / "a.dump", *records), match=what)


def test_another_kind_of_file_is_not_a_dump(store: dumbkv.Store, tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.log", [Set(b"a", b"1", 1)], [End(1)], of=LOG)
    expect_unchanged(store, path, match="this is a log: expected a dump")


def test_an_entry_that_is_too_large_for_the_store_is_named(
    open_store: OpenStore, tmp_path: Path
) -> None:
    with dumbkv.open() as other:
        other.update({b"k" * 30: b"1", b"b": b"2"})
        other.dump(tmp_path / "keys.dump")
        other.clear()
        other.update({b"a": bytes(50), b"b": b"2"})
        other.dump(tmp_path / "values.dump")
        other[b"a"] = bytes(500_000)
        other.dump(tmp_path / "large.dump")
    store = open_store(max_key=29, max_value=49)
    store[b"sky"] = b"grey"
    for name, error, what in (
        ("keys", dumbkv.InvalidKeyError, "a key of 30 bytes.*at most 29.*a larger max_key"),
        ("values", dumbkv.TooLargeError, "a value of 50 bytes at key b'a'.*larger max_value"),
        ("large", dumbkv.TooLargeError, "open it with a larger max_value"),
    ):
        expect_unchanged(store, tmp_path / f"{name}.dump", error, what)


def test_what_cannot_fit_is_refused_before_any_change(
    open_store: OpenStore, tmp_path: Path
) -> None:
    with dumbkv.open() as other:
        other.update({b"%04d" % n: bytes(100) for n in range(1000)})
        other.dump(tmp_path / "a.dump")
    store = open_store(max_bytes=100_000)
    store[b"sky"] = b"grey"
    what = "104000 bytes of keys and values.*max_bytes=100000: nothing was loaded"
    expect_unchanged(store, tmp_path / "a.dump", dumbkv.StoreFullError, what)


def test_a_store_that_fills_up_tells_how_much_is_in(open_store: OpenStore, tmp_path: Path) -> None:
    with dumbkv.open() as other:
        other.update({b"%04d" % n: bytes(100) for n in range(2000)})
        other.dump(tmp_path / "a.dump")
    store = open_store(max_bytes=220_000)
    with pytest.raises(dumbkv.StoreFullError, match=r"(\d+) of 2000 entries are loaded") as caught:
        store.load(tmp_path / "a.dump")
    assert f" {len(store)} of 2000 entries" in str(caught.value)
    assert len(store) < 2000


def test_a_store_that_evicts_takes_a_dump_larger_than_itself(
    open_store: OpenStore, tmp_path: Path
) -> None:
    with dumbkv.open() as other:
        other.update({b"%04d" % n: bytes(100) for n in range(2000)})
        other.dump(tmp_path / "a.dump")
    store = open_store(max_bytes=100_000, eviction="lru")
    assert store.load(tmp_path / "a.dump") == 2000
    assert 0 < len(store) < 1000


# Beside others


@pytest.mark.parametrize("step", ["dump", "load"])
def test_progress_goes_on_to_its_end(store: dumbkv.Store, tmp_path: Path, step: str) -> None:
    store.update({b"%d" % n: bytes(1000) for n in range(300)})
    path = tmp_path / "a.dump"
    calls: list[tuple[int, int]] = []
    report: Callable[[int, int], None] = lambda *call: calls.append(call)  # noqa: E731
    store.dump(path, progress=report if step == "dump" else None)
    if step == "load":
        store.load(path, progress=report)
    total = 300 if step == "dump" else 2 * path.stat().st_size
    assert len(calls) > 5
    assert calls == sorted(calls)
    assert calls[-1] == (total, total)


def test_a_key_that_is_there_all_the_time_comes_exactly_once(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    steady = {b"steady %d" % n for n in range(3000)}
    for key in steady:
        store.set(key, b"0")
    enough = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        while not enough.is_set():
            n = chance.randrange(3000)
            store.incr(b"steady %d" % n)
            store.set(b"comes %d" % n, bytes(100))
            store.delete(b"comes %d" % chance.randrange(3000))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(5):
            store.dump(tmp_path / f"{n}.dump")
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    for n in range(5):
        with (tmp_path / f"{n}.dump").open("rb") as file:
            keys = [e.key for es in _dumpfile.records(Reader(file, "a")) for e in es]
        assert len(keys) == len(set(keys))
        assert steady <= set(keys)
        with dumbkv.open() as other:
            assert other.load(tmp_path / f"{n}.dump") == len(keys)
