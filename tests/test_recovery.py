"""What a crash can leave is mended, and everything else is refused with its place."""

import os
import random
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import dumbkv
from dumbkv import _recovery
from dumbkv._record import DUMP, LOG, Clear, Delete, Header, Set, Synced, Writer, closing, encode
from dumbkv._recovery import mend, name
from tests.logs import (
    CREATED,
    Record,
    all_records,
    log_file,
    look,
    marked,
    small_records,
)

SMALL = small_records()
BOTH = marked(SMALL, 3)
"""With a mark in the fourth record, that the first three were on the disk."""


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(_recovery, "_datasync", lambda descriptor: None)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def opened(directory: Path) -> list[object]:
    """What a store would go on from; mending a second time changes nothing."""
    for check in (False, True):
        before = files(directory)
        found = look(directory, check=check)
        assert files(directory) == before
    mended = mend(found)
    once = files(directory)
    assert all(file.closed for file in mended.files)
    again = look(directory)
    assert again.files == mended.files
    assert (again.headless, again.cut_bytes) == (None, 0)
    mend(again)
    assert files(directory) == once
    return [*map(list, all_records(again))]


def refused(directory: Path, match: str = ".") -> dumbkv.CorruptError:
    before = files(directory)
    with pytest.raises(dumbkv.CorruptError, match=match) as caught:
        look(directory)
    assert files(directory) == before
    assert os.path.dirname(caught.value.path) == str(directory)
    return caught.value


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(path: Path, at: int) -> None:
    def change(data: bytearray) -> None:
        data[at] ^= 1 << at % 8

    edit(path, change)


# Whole


def test_a_new_directory_has_no_files(tmp_path: Path) -> None:
    assert look(tmp_path).next_number == 1
    assert opened(tmp_path) == []


def test_closed_files_are_read_in_order(tmp_path: Path) -> None:
    for number in (9, 10, 11):
        log_file(tmp_path, number, small_records(number))
    found = look(tmp_path, check=False)
    assert [file.number for file in found.files] == [9, 10, 11]
    assert [file.records for file in found.files] == [5, 5, 5]
    assert found == look(tmp_path)
    assert found.next_number == 12
    wanted = [list(record) for n in (9, 10, 11) for record in small_records(n)]
    assert opened(tmp_path) == wanted


def test_more_than_eight_digits_are_a_number_too(tmp_path: Path) -> None:
    for number in (99_999_999, 100_000_000):
        log_file(tmp_path, number, SMALL)
    assert look(tmp_path).next_number == 100_000_001


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    log_file(tmp_path, 1, SMALL)
    for other in ("lock", "1.log", "000000003.log", "00000000.log", "00000003.log.cut", "a.log"):
        (tmp_path / other).write_bytes(b"whatever")
    before = files(tmp_path)
    assert opened(tmp_path) == list(map(list, SMALL))
    assert files(tmp_path) == before


# What a crash leaves


@pytest.mark.parametrize("room", [0, 1, 7, 8, 5000])
def test_a_log_that_was_not_closed_is_closed(tmp_path: Path, room: int) -> None:
    log_file(tmp_path, 1, BOTH, closed=False, room=room)
    ends = log_file(tmp_path, 2, BOTH, closed=False, room=room)
    refused(tmp_path, f"{name(1)}.*not closed, and {name(2)} follows")
    (tmp_path / name(1)).unlink()
    assert opened(tmp_path) == list(map(list, SMALL))
    assert (tmp_path / name(2)).stat().st_size == ends[-1] + 26


def test_a_log_closed_and_not_yet_cut_to_its_size_is_cut(tmp_path: Path) -> None:
    ends = log_file(tmp_path, 1, BOTH, room=5000)
    assert look(tmp_path).cut_bytes == 0
    assert opened(tmp_path) == list(map(list, SMALL))
    assert (tmp_path / name(1)).stat().st_size == ends[-1] + 26


def test_a_newest_file_that_was_just_being_made_goes_away(tmp_path: Path) -> None:
    for before in ([], [1]):
        for number in before:
            log_file(tmp_path, number, SMALL)
        path = tmp_path / name(len(before) + 1)
        header = Header(LOG, CREATED, bytes(16)).encode()
        for size in range(40):
            for room in (0, 8, 5000):
                path.write_bytes(header[:size] + bytes(room))
                assert look(tmp_path).headless == str(path)
                assert len(opened(tmp_path)) == len(SMALL) * len(before)
                assert not path.exists()


def test_oldest_files_may_be_gone(tmp_path: Path) -> None:
    for number in range(1, 5):
        log_file(tmp_path, number, small_records(number))
    for gone in range(1, 4):
        (tmp_path / name(gone)).unlink()
        assert len(opened(tmp_path)) == len(SMALL) * (4 - gone)


def test_a_torn_end_is_cut_at_every_byte(tmp_path: Path) -> None:
    ends = log_file(tmp_path, 1, BOTH, closed=False)
    data = (tmp_path / name(1)).read_bytes()
    for size in range(40, len(data)):
        for room in (0, 600):
            (tmp_path / name(1)).write_bytes(data[:size] + bytes(room))
            whole = sum(end <= size for end in ends) - 1
            torn = any(data[ends[whole] : size])
            # A value may end with the zeros that are its room.
            if room and torn and not any(data[size : ends[whole + 1]]):
                whole, torn = whole + 1, False
            found = look(tmp_path)
            assert found.files[0].valid_end == ends[whole]
            assert found.cut_bytes == (size + room - ends[whole] if torn else 0)
            assert opened(tmp_path) == list(map(list, SMALL[:whole]))
    assert os.listdir(tmp_path) == [name(1)]


def test_a_hole_in_what_was_not_synced_cuts_and_saves_what_is_whole_behind_it(
    tmp_path: Path,
) -> None:
    ends = log_file(tmp_path, 1, BOTH, closed=False, room=3000)
    path = tmp_path / name(1)
    data = path.read_bytes()
    for begin, end in pairwise(ends[3:]):
        for at in {begin, (begin + end) // 2, end - 1}:
            holed = bytearray(data)
            holed[at:end] = bytes(end - at)
            path.write_bytes(holed)
            found = look(tmp_path)
            whole = sum(each > end for each in ends)
            assert found.files[0].torn == (len(data) - begin, whole) or not whole
            assert opened(tmp_path) == list(map(list, SMALL[: ends.index(begin)]))
            saved = tmp_path / (name(1) + ".cut")
            assert saved.exists() == bool(whole)
            if whole:
                assert saved.read_bytes() == holed[begin:]
                assert saved.stat().st_mode & 0o777 == 0o600
                saved.unlink()


def test_noise_in_the_room_behind_the_log_costs_nothing_but_itself(tmp_path: Path) -> None:
    ends = log_file(tmp_path, 1, BOTH, closed=False, room=3000)
    flip(tmp_path / name(1), ends[-1] + 2000)
    assert look(tmp_path).files[0].torn == (3000, 0)
    assert opened(tmp_path) == list(map(list, SMALL))


# Damage


def test_a_flipped_bit_at_any_byte_of_a_closed_log_is_refused(tmp_path: Path) -> None:
    log_file(tmp_path, 1, BOTH)
    path = tmp_path / name(1)
    data = path.read_bytes()
    for at in range(len(data) - 26):
        flip(path, at)
        refused(tmp_path)
        path.write_bytes(data)


def test_a_flipped_bit_in_the_end_of_a_closed_log_costs_nothing_or_is_refused(
    tmp_path: Path,
) -> None:
    for newest in (True, False):
        log_file(tmp_path, 1, BOTH)
        if not newest:
            log_file(tmp_path, 2, BOTH, closed=False)
        path = tmp_path / name(1)
        data = path.read_bytes()
        for at in range(len(data) - 26, len(data)):
            flip(path, at)
            if newest:
                assert opened(tmp_path) == list(map(list, SMALL))
            else:
                assert refused(tmp_path).offset == len(data) - 26
            path.write_bytes(data)


def test_a_flipped_bit_before_a_mark_is_refused_and_behind_the_last_mark_it_is_a_torn_end(
    tmp_path: Path,
) -> None:
    ends = log_file(tmp_path, 1, BOTH, closed=False, room=100)
    path = tmp_path / name(1)
    data = path.read_bytes()
    for at in range(len(data)):
        flip(path, at)
        if at < ends[3]:
            error = refused(tmp_path)
            assert error.offset <= at
            assert at < 40 or f"the record at byte {ends[3]} shows" in error.what
        else:
            whole = sum(end <= at for end in ends) - 1
            assert opened(tmp_path) == list(map(list, SMALL[:whole]))
        for left in tmp_path.glob("*.cut"):
            left.unlink()
        path.write_bytes(data)


def test_a_closed_log_that_is_cut_is_a_prefix_when_it_is_the_newest_and_else_refused(
    tmp_path: Path,
) -> None:
    ends = log_file(tmp_path, 1, BOTH)
    path = tmp_path / name(1)
    data = path.read_bytes()
    for size in range(40, len(data)):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends) - 1
        assert opened(tmp_path) == list(map(list, SMALL[:whole]))
    log_file(tmp_path, 2, [])
    for size in range(len(data)):
        path.write_bytes(data[:size])
        refused(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        log_file(tmp_path, number, SMALL)
    error = refused(tmp_path, f"missing: there are {name(2)} and {name(4)}")
    assert error.path == str(tmp_path / name(3))


def test_files_in_another_order_or_twice_are_refused(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        log_file(tmp_path, number, SMALL)
    first, second = (tmp_path / name(n) for n in (1, 2))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    assert refused(tmp_path, "the same random number").path == str(second)
    second.write_bytes(one)
    assert refused(tmp_path, "older than").path == str(second)


def test_a_file_without_a_header_is_damage_where_no_crash_leaves_one(tmp_path: Path) -> None:
    path = tmp_path / name(2)
    log_file(tmp_path, 2, BOTH)
    data = path.read_bytes()
    path.write_bytes(b"")
    refused(tmp_path, "the file is empty")  # the one before it would be there
    log_file(tmp_path, 1, SMALL, closed=False)
    refused(tmp_path, "not closed")
    log_file(tmp_path, 1, SMALL)
    for bad in (bytes(40) + data[40:], b"SQLite format 3\0" + bytes(24), b"\x89DKV\n"):
        path.write_bytes(bad)
        refused(tmp_path, f"{name(2)}: at byte 0")


def test_another_format_version_or_kind_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / name(1)
    for at, byte, what in (
        (8, 2, "this is format version 2, and this DumbKV reads version 1"),
        (10, DUMP, "this is a dump: expected a log"),
    ):
        fields = bytearray(Header(LOG, CREATED, bytes(16)).encode()[:36])
        fields[at] = byte
        path.write_bytes(fields + struct.pack("<I", zlib.crc32(fields)) + bytes(100))
        refused(tmp_path, what)


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([[Synced(41), Clear()]], "says that what comes behind it was on the disk"),
        ([[Synced(39), Clear()]], "says that what comes behind it"),
        ([[Synced(40)]], "a record of no change"),
        ([[Clear(), Synced(40)]], "an operation of kind 6 among the changes"),
    ],
)
def test_a_mark_that_cannot_be_is_damage(
    tmp_path: Path, records: list[list[object]], what: str
) -> None:
    log_file(tmp_path, 1, records, closed=False)  # type: ignore[arg-type]  # as given
    with pytest.raises(dumbkv.CorruptError, match=what):
        all_records(look(tmp_path))


def test_an_end_that_counts_wrong_or_is_not_the_end_is_damage(tmp_path: Path) -> None:
    header = Header(LOG, CREATED, bytes(16))
    path = tmp_path / name(1)
    for tail, what in (
        (closing(header.seed, 40, 1), "the end says 1 records, and there are 0"),
        (closing(header.seed, 40, 0) + b"\0\0\1", "bytes after the end"),
    ):
        path.write_bytes(header.encode() + tail)
        refused(tmp_path, what)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    log_file(tmp_path, 1, SMALL)
    (tmp_path / name(1)).rename(elsewhere)
    for make, what in (
        (lambda path: path.symlink_to(elsewhere), "a symbolic link"),
        (lambda path: path.mkdir(), "a directory: expected a file"),
        (lambda path: os.mkfifo(path), "a device, pipe or socket"),
    ):
        path = tmp_path / name(1)
        make(path)
        with pytest.raises(OSError, match=what):
            look(tmp_path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


# Large, and made to do harm


def test_a_record_behind_a_long_torn_one_is_found_wherever_it_is(tmp_path: Path) -> None:
    chance = random.Random(5)
    window = 1024 * 1024
    path = tmp_path / name(1)
    for size in (window - 30, window - 9, window - 1, 2 * window + 3, 100):
        noise = chance.randbytes(size) if size % 2 else bytes(size)
        records: list[Record] = [[Set(b"a", noise, 1)], [Set(b"b", b"2" * 256, 2)]]
        records.append([Delete(b"a")])
        ends = log_file(tmp_path, 1, records, closed=False, room=70_000)
        flip(path, 60)
        assert look(tmp_path).files[0].torn == (path.stat().st_size - 40, 2)
        log_file(tmp_path, 1, marked(records, 2), closed=False, room=70_000)
        flip(path, 60)
        assert refused(tmp_path, f"the record at byte {ends[2]} shows").offset == 40
        path.unlink()


def test_values_that_look_like_logs_are_no_records(tmp_path: Path) -> None:
    log_file(tmp_path, 2, BOTH * 50)
    inner = (tmp_path / name(2)).read_bytes()
    (tmp_path / name(2)).unlink()
    log_file(tmp_path, 1, [[Set(b"a", inner, 1)], [Set(b"b", inner, 2)]], closed=False)
    flip(tmp_path / name(1), 100)
    assert look(tmp_path).files[0].torn is not None
    assert look(tmp_path).files[0].torn[1] == 1  # type: ignore[index]  # it is there


def test_a_huge_file_of_holes_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    ends = log_file(tmp_path, 1, BOTH, closed=False)
    path = tmp_path / name(1)
    os.truncate(path, 2**42)
    assert look(tmp_path).files[0].valid_end == ends[-1]
    with path.open("r+b") as file:
        file.seek(ends[-1])
        file.write(struct.pack("<II", 2**26, 1) + b"\x01")
    assert look(tmp_path).files[0].torn == (2**42 - ends[-1], 0)


def test_a_file_made_to_be_searched_for_ever_is_refused(tmp_path: Path) -> None:
    header = Header(LOG, CREATED, bytes(16))
    path = tmp_path / name(1)
    with path.open("wb") as file:
        Writer(file, header).write(encode([Set(b"a", b"1", 1)]))
        size = 1_000_000
        many = b"".join(struct.pack("<IIB", size - at, 0, 3) + b"\x01" for at in range(0, size, 10))
        file.write(many + bytes(100))
    assert refused(tmp_path, "the checksum does not fit").offset == 73
