"""verify tells where damage is and what can be done; repair writes what can be read."""

import contextlib
import os
import random
import re
import stat
from pathlib import Path

import pytest

import dumbkv
from dumbkv._record import HEADER_SIZE, Delete, Operation, Set
from dumbkv._recovery import mend, name
from dumbkv.cli.program import main
from tests.logs import Record, all_records, log_file, look, marked, small_records, state_of
from tests.shell import Shell

SMALL = small_records()
MARKED = marked(SMALL, 3)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of three files, the last one not closed."""
    directory = tmp_path / "data"
    directory.mkdir()
    for number in (4, 5):
        log_file(directory, number, small_records(number))
    log_file(directory, 6, MARKED, closed=False, room=1000)
    return directory


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in directory.iterdir()}


def damage(shell: Shell, *words: str) -> tuple[str, str]:
    done = shell.run(*words)
    assert done.returncode == 1, done
    assert b"Traceback" not in done.stderr
    return done.stdout.decode(), done.stderr.decode()


def repaired(shell: Shell) -> list[list[Operation]]:
    """What is in the directory `new`, which is whole."""
    new = shell.directory / "new"
    assert shell("verify", "new").startswith(b"new: whole: ")
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in new.iterdir()} == {0o600}
    found = look(new)
    assert all(file.closed for file in found.files)
    return [*map(list, all_records(found))]


# Dumps


def test_verify_tells_where_a_dump_is_damaged_and_how_much_of_it_can_be_read(shell: Shell) -> None:
    path = shell.dump("a.dump", {b"%d" % n: bytes(1000) for n in range(500)})
    said = shell("verify", "a.dump").decode()
    size = path.stat().st_size
    assert said.startswith("a.dump: whole: 500 entries, 501390 bytes of keys and values,")
    assert f"{size} bytes in the file" in said
    flip(path, 300_000)
    before = path.read_bytes()
    _, said = damage(shell, "verify", "a.dump")
    found = re.search(r"a\.dump: at byte (\d+): the checksum", said)
    assert found
    assert 200_000 < int(found[1]) <= 300_000
    left = re.search(r"(\d+) entries can be read: restore the file from a copy, or let", said)
    assert left
    assert 430 < int(left[1]) < 500
    assert "python -m dumbkv repair a.dump NEW" in said
    assert path.read_bytes() == before


def test_repair_writes_every_entry_around_the_damage(shell: Shell) -> None:
    chance = random.Random(7)
    pairs = {b"%d" % n: chance.randbytes(1000) for n in range(300)}
    path = shell.dump("a.dump", pairs)
    for at in (41, 150_000, 270_000):
        flip(path, at)
    before = path.read_bytes()
    said, _ = damage(shell, "repair", "a.dump", "b.dump")
    assert said.count("left out: a.dump: bytes ") == 3
    got = shell.loaded("b.dump")
    assert got.items() <= pairs.items()
    assert 110 < len(got) < 300
    assert f"{len(got)} entries are in b.dump; a.dump is as it was" in said
    assert path.read_bytes() == before
    assert shell("verify", "b.dump")


def test_a_dump_that_is_whole_or_cut_is_repaired(shell: Shell) -> None:
    pairs = {b"%d" % n: b"value" for n in range(10)}
    path = shell.dump("a.dump", pairs)
    assert shell("repair", "a.dump", "b.dump") == b"10 entries are in b.dump; a.dump is as it was\n"
    assert shell.loaded("b.dump") == pairs
    path.write_bytes(path.read_bytes()[:-17])
    said, _ = damage(shell, "repair", "a.dump", "c.dump")
    assert "the record that counts the entries is missing" in said
    assert shell.loaded("c.dump") == pairs


# Data directories


def test_verify_reads_a_whole_directory_and_changes_nothing(shell: Shell, data: Path) -> None:
    before = snapshot(data)
    size = sum(file.valid_end for file in look(data).files)
    assert shell("verify", "data").decode() == f"data: whole: 3 files, 15 records, {size} bytes\n"
    assert snapshot(data) == before


def test_verify_tells_what_the_next_open_will_mend(shell: Shell, data: Path) -> None:
    end = look(data).files[-1].valid_end
    with (data / name(6)).open("r+b") as file:
        file.seek(end)
        file.write(b"torn")
    said = shell("verify", "data").decode()
    assert f"{name(6)}: the last 1000 bytes, from byte {end} on, are no whole record" in said
    flip(data / name(6), end - 30)
    said = shell("verify", "data").decode()
    assert "whole records are among them" not in said
    mend(look(data))
    (data / name(7)).touch()
    (data / (name(6) + ".cut")).write_bytes(b"left")
    said = shell("verify", "data").decode()
    assert f"{name(7)}: was just being made" in said
    assert f"{name(6)}.cut: not a part of the store: what stood behind a hole in {name(6)}" in said


def test_verify_finds_a_flipped_bit_anywhere_in_a_closed_file(data: Path) -> None:
    for path in (data / name(4), data / name(5)):
        whole = path.read_bytes()
        for at in range(0, len(whole), 7):
            flip(path, at)
            assert main(["verify", str(data)]) == 1
            path.write_bytes(whole)


def test_repair_keeps_every_record_around_the_damage(shell: Shell, data: Path) -> None:
    offsets = [HEADER_SIZE + 20, look(data).files[1].valid_end - 60]
    for at in offsets:
        flip(data / name(5), at)
    before = snapshot(data)
    _, said = damage(shell, "verify", "data")
    assert "13 records of 3 files can be read: restore the directory from a copy" in said
    assert said.count(f"cannot be read: data/{name(5)}: bytes ") == 2
    said, _ = damage(shell, "repair", "data", "new")
    gaps = re.findall(r"left out: data/00000005.log: bytes (\d+) to (\d+) \((\d+) bytes\)", said)
    for (begin, end, size), at in zip(gaps, offsets, strict=True):
        assert int(begin) <= at < int(end) == int(begin) + int(size)
    assert "13 records of 3 files are in new; data is as it was" in said
    records = small_records(5)
    wanted = [*small_records(4), *records[1:-1], *SMALL]
    assert repaired(shell) == [*map(list, wanted)]
    assert snapshot(data) == before


@pytest.mark.parametrize("at", [0, 9, 25, 38])
def test_one_wrong_bit_in_a_header_is_put_right(shell: Shell, data: Path, at: int) -> None:
    flip(data / name(4), at)
    said, _ = damage(shell, "repair", "data", "new")
    assert f"data/{name(4)}: at byte 0: a wrong bit in the header was put right" in said
    assert len(repaired(shell)) == 15


def test_repair_goes_on_past_files_that_are_missing_or_nothing(shell: Shell, data: Path) -> None:
    (data / name(5)).rename(data / name(8))
    (data / name(4)).write_bytes(bytes(100))
    said, _ = damage(shell, "repair", "data", "new")
    assert f"left out: data/{name(4)}: bytes 0 to 100 (100 bytes): this is not a DumbKV" in said
    for absent in (5, 7):
        assert f"left out: data/{name(absent)}: at byte 0: the file is missing" in said
    assert len(repaired(shell)) == 10


def test_repair_keeps_whole_records_behind_a_hole(shell: Shell, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    records: list[Record] = [[Set(b"%d" % n, bytes(600), n)] for n in range(1, 9)]
    ends = log_file(data, 1, records, closed=False, room=4000)
    with (data / name(1)).open("r+b") as file:
        file.seek(1024)
        file.write(bytes(512))
    assert "5 whole records are among them" in shell("verify", "data").decode()
    said, _ = damage(shell, "repair", "data", "new")
    assert f"left out: data/{name(1)}: bytes {ends[2]} to {ends[3]} (" in said
    assert repaired(shell) == [*map(list, records[:2] + records[3:])]


def test_any_damage_leaves_a_subset_in_order(tmp_path: Path) -> None:
    chance = random.Random(11)
    data = tmp_path / "data"
    data.mkdir()
    wanted = []
    for number in (1, 2):
        records: list[Record] = [
            [Set(b"%d" % chance.randrange(9), chance.randbytes(50), n), Delete(b"%d" % n)]
            for n in range(1, 30)
        ]
        log_file(data, number, records)
        wanted += [*map(list, records)]
    whole = snapshot(data)
    for n in range(40):
        path = data / name(chance.randrange(1, 3))
        changed = bytearray(whole[path.name][0])
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(changed))
            changed[at : at + chance.choice([1, 30, 512])] = chance.randbytes(chance.randrange(600))
        path.write_bytes(changed)
        status = main(["repair", str(data), str(tmp_path / str(n))])
        assert status in (0, 1, 3)
        if status < 3:
            got = [*map(list, all_records(look(tmp_path / str(n))))]
            rest = iter(wanted)
            assert all(each in rest for each in got)
            assert len(got) >= 29
        path.write_bytes(whole[path.name][0])
    assert state_of(all_records(look(data))) == state_of(wanted)


# What is refused


def test_errors_of_verify_and_repair_say_what_to_do(shell: Shell, data: Path) -> None:
    empty = shell.directory / "empty"
    empty.mkdir()
    (shell.directory / "text").write_text("not a dump")
    for words, status, what in (
        (["verify", "none"], 3, "none: No such file or directory: check the path"),
        (["verify", "empty"], 3, "empty: no log is in this directory: give one that"),
        (["repair", "empty", "new"], 3, "empty: no log is in this directory"),
        (["repair", "data", "empty"], 3, "empty: is there already: give a path for a new one"),
        (["repair", "text", "new"], 3, "nothing of it can be read"),
        (["repair", "data", "none/new"], 3, "No such file or directory"),
        (["repair", "data"], 2, "the following arguments are required: NEW"),
    ):
        assert what in shell.fails(status, *words), words
    (data / name(4)).unlink()
    (data / name(5)).unlink()
    (data / name(6)).write_bytes(b"nothing of ours")
    assert "nothing of it can be read" in shell.fails(3, "repair", "data", "new")
    assert sorted(os.listdir(shell.directory)) == ["data", "empty", "text"]


def test_a_repair_that_fails_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    for failing in range(8):
        calls = iter(range(100))

        def fsync(descriptor: int, calls: object = calls, failing: int = failing) -> None:
            if next(calls) == failing:  # type: ignore[call-overload]  # an iterator of numbers
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        with contextlib.suppress(dumbkv.DumbKVError):
            status = main(["repair", str(data), str(tmp_path / "new")])
        if failing < 7:
            assert (status, os.listdir(tmp_path)) == (3, ["data"])
    monkeypatch.undo()
    assert look(tmp_path / "new").files[2].records == 5
