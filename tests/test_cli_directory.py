"""The commands on a data directory: they read it without a change, and change it as a store."""

import json
import os
from pathlib import Path

import pytest

import dumbkv
from dumbkv._recovery import name
from tests.shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def files(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in directory.iterdir()}


def read_all(shell: Shell) -> None:
    assert shell("get", "data", "sky") == b"blue"
    assert shell("scan", "data") == b"grass\tgreen\nsky\tblue\n"
    assert shell("count", "data") == b"2\n"
    lines = shell("dump", "--ndjson", "data", "-").splitlines()
    assert {json.loads(each)["key"] for each in lines} == {"sky", "grass"}
    assert shell("dump", "data", "copy.dump") == b"2 entries are in copy.dump\n"
    assert shell.loaded("copy.dump") == {b"sky": b"blue", b"grass": b"green"}
    stats = json.loads(shell("stats", "--json", "data"))
    assert (stats["entries"], stats["longest_value"]) == (2, 5)
    assert stats["bytes_in_the_file"] == sum(
        each.stat().st_size for each in (shell.directory / "data").glob("*.log")
    )
    assert shell("verify", "data").startswith(b"data: whole: ")


def test_reading_changes_nothing_whether_a_store_has_it_open_or_not(shell: Shell) -> None:
    data = shell.directory / "data"
    with dumbkv.open(data) as store:
        store.update({b"sky": b"blue", b"grass": b"green"})
        versions = {key: entry.version for key in store if (entry := store.entry(key))}
        before = files(data)
        read_all(shell)
        assert files(data) == before
    before = files(data)
    read_all(shell)
    assert files(data) == before
    line = json.loads(shell("dump", "--ndjson", "data", "-").splitlines()[-1])
    assert line["version"] == versions[line["key"].encode()]


def test_changes_are_a_stores(shell: Shell) -> None:
    assert shell("set", "data/", "sky", "blue") == b""
    shell("set", "data", "sea", "green")
    shell.dump("some.dump", {b"grass": b"green"})
    assert shell("load", "data", "some.dump") == b"1 entries loaded into data\n"
    assert shell("del", "data", "sea") == b""
    with dumbkv.open(shell.directory / "data") as store:
        assert dict(store) == {b"sky": b"blue", b"grass": b"green"}
        said = shell.fails(3, "set", "--wait", "0.1", "data", "sky", "grey")
        assert f"data is open in process {os.getpid()}" in said
    assert shell("load", "--replace", "data/", "some.dump")
    assert shell("scan", "--keys-only", "data") == b"grass\n"


def test_damage_and_what_is_no_data_directory_are_errors(shell: Shell) -> None:
    shell("set", "data/", "sky", "blue")
    shell("set", "data", "sea", "green")
    path = shell.directory / "data" / name(1)
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    for command in (["get", "data", "sky"], ["set", "data", "sky", "grey"], ["stats", "data"]):
        said = shell.fails(3, *command)
        assert f"data/{name(1)}: at byte 40: the checksum does not fit" in said
        assert "verify tells what of it is whole" in said
    (shell.directory / "empty").mkdir()
    assert "empty: no log is in this directory" in shell.fails(3, "count", "empty")
