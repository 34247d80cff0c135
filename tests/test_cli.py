"""The commands, each as a process of its own: what goes in, what comes out, and how it ends."""

import fcntl
import json
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dumbkv
from dumbkv._record import Set
from dumbkv.cli import ndjson
from dumbkv.cli.arguments import parse
from tests.logs import log_file, small_records
from tests.shell import PROGRAM, Shell

COMMANDS = ["get", "set", "del", "scan", "count", "dump", "load", "verify", "repair", "stats"]
COMMANDS += ["bench"]
ALL_BYTES = bytes(range(256))


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


# Each command


def test_set_makes_a_file_get_reads_it_and_del_removes(shell: Shell) -> None:
    assert shell("set", "a.dump", "sky", "blue") == b""
    assert os.listdir(shell.directory) == ["a.dump"]
    assert shell("get", "a.dump", "sky") == b"blue"
    assert shell("get", "--newline", "a.dump", "sky") == b"blue\n"
    shell("set", "a.dump", "--", "-grass", "green")
    assert shell.loaded("a.dump") == {b"sky": b"blue", b"-grass": b"green"}
    assert "has no key 'none'" in shell.fails(1, "del", "a.dump", "sky", "none")
    assert shell.loaded("a.dump") == {b"-grass": b"green"}
    assert shell("del", "a.dump", "--", "-grass") == b""
    assert shell.loaded("a.dump") == {}
    assert os.listdir(shell.directory) == ["a.dump"]


def test_any_bytes_go_in_and_out(shell: Shell) -> None:
    shell("set", "a.dump", "stdin", "-", stdin=ALL_BYTES)
    assert shell("get", "a.dump", "stdin") == ALL_BYTES
    (shell.directory / "file").write_bytes(ALL_BYTES * 3)
    shell("set", "a.dump", "file", "@file")
    assert shell("get", "a.dump", "file") == ALL_BYTES * 3
    shell("set", "--hex", "a.dump", "ff00", "hex")
    assert shell("get", "--base64", "a.dump", "/wA=") == b"hex"
    shell("set", "a.dump", b"\xfe", b"\xfd")
    assert shell("get", "--hex", "a.dump", "fe") == b"\xfd"
    shell("set", "a.dump", "caf\u00e9", "\u2615")
    assert shell("get", "a.dump", "caf\u00e9") == "\u2615".encode()
    shell("set", "a.dump", "empty", "")
    assert shell("get", "a.dump", "empty") == b""


def test_a_value_with_a_ttl_expires(shell: Shell) -> None:
    shell("set", "--ttl", "1000", "a.dump", "token", "abc")
    [line] = shell("scan", "--json", "a.dump").splitlines()
    assert 900 < json.loads(line)["expires_at"] - time.time() <= 1000
    shell("set", "--ttl", "0.01", "a.dump", "short", "abc")
    time.sleep(0.02)
    shell.fails(1, "get", "a.dump", "short")


def test_a_scan_is_in_order_and_in_bounds(shell: Shell) -> None:
    shell.dump("a.dump", {b"%s:%d" % (k, n): b"%d" % n for n in range(3) for k in (b"a", b"b")})
    everything = b"a:0\t0\na:1\t1\na:2\t2\nb:0\t0\nb:1\t1\nb:2\t2\n"
    assert shell("scan", "a.dump") == everything
    for options, expected in (
        (["--prefix", "a:"], b"a:0 a:1 a:2"),
        (["--prefix", "a:", "--limit", "2"], b"a:0 a:1"),
        (["--after", "a:1", "--limit", "2"], b"a:2 b:0"),
        (["--start", "a:2", "--end", "b:1"], b"a:2 b:0"),
        (["--reverse", "--limit", "2"], b"b:2 b:1"),
        (["--reverse", "--after", "b:0"], b"a:2 a:1 a:0"),
        (["--hex", "--prefix", "623a"], b"b:0 b:1 b:2"),
        (["--prefix", "none"], b""),
    ):
        assert shell("scan", "--keys-only", *options, "a.dump").split() == expected.split()
    assert shell("scan", "-0", "--prefix", "b", "a.dump") == b"b:0\x000\0b:1\x001\0b:2\x002\0"
    assert shell("scan", "-0", "--keys-only", "--limit", "2", "a.dump") == b"a:0\0a:1\0"
    assert shell("count", "a.dump") == b"6\n"
    assert shell("count", "--prefix", "a:", "a.dump") == b"3\n"


def test_a_scan_in_json_has_any_bytes(shell: Shell) -> None:
    shell.dump("a.dump", {b"sky": b"blue\n", b"\xff": ALL_BYTES})
    lines = [json.loads(line) for line in shell("scan", "--json", "a.dump").splitlines()]
    assert lines[0] == {"key": "sky", "value": "blue\n", "expires_at": None}
    assert lines[1]["key"] == {"base64": "/w=="}
    only = shell("scan", "--json", "--keys-only", "--limit", "1", "a.dump")
    assert json.loads(only) == {"key": "sky"}


def test_a_dump_copies_and_a_load_adds_or_replaces(shell: Shell) -> None:
    shell.dump("a.dump", {b"sky": b"blue", b"grass": b"green"})
    assert shell("dump", "a.dump", "b.dump") == b"2 entries are in b.dump\n"
    shell.dump("c.dump", {b"sky": b"grey", b"sea": b"green"})
    assert shell("load", "c.dump", "b.dump") == b"2 entries loaded into c.dump\n"
    assert shell.loaded("c.dump") == {b"sky": b"blue", b"grass": b"green", b"sea": b"green"}
    shell("load", "--replace", "c.dump", "b.dump")
    assert shell.loaded("c.dump") == {b"sky": b"blue", b"grass": b"green"}
    shell("load", "new.dump", "b.dump")
    assert shell.loaded("new.dump") == {b"sky": b"blue", b"grass": b"green"}


def test_lines_of_json_go_there_and_back(shell: Shell) -> None:
    pairs = {random.randbytes(9): random.randbytes(50) for _ in range(50)}
    shell.dump("a.dump", {**pairs, b"text": b"a\tb\nc\xc3\xa9"})
    shell("set", "--ttl", "1000", "a.dump", "expires", "later")
    lines = shell("dump", "--ndjson", "a.dump", "-")
    assert len(lines.splitlines()) == 52
    shell("load", "--ndjson", "b.dump", "-", stdin=lines)
    assert shell.loaded("b.dump") == shell.loaded("a.dump")
    text = shell("dump", "--ndjson", "b.dump", "b.ndjson")
    assert text == b"52 entries are in b.ndjson\n"
    assert (shell.directory / "b.ndjson").stat().st_mode & 0o777 == 0o600
    shell("load", "--ndjson", "c.dump", "b.ndjson")
    assert shell.loaded("c.dump") == shell.loaded("a.dump")
    ends = [shell("scan", "--json", "--prefix", "expires", f"{x}.dump") for x in "ac"]
    first, last = (json.loads(end)["expires_at"] for end in ends)
    assert abs(first - last) < 0.01


def test_lines_of_json_may_replace_by_nothing_at_all(shell: Shell) -> None:
    shell.dump("a.dump", {b"sky": b"blue"})
    shell("load", "--ndjson", "--replace", "a.dump", "-", stdin=b"\n")
    assert shell.loaded("a.dump") == {}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"sky", "line 2: Expecting value"),
        (b"[]", "line 2: expected an object with key and value"),
        (b'{"key": "a"}', 'line 2: value: expected text or {"base64": "..."}'),
        (b'{"key": "a", "value": 7}', "line 2: value: expected text"),
        (b'{"key": "a", "value": {"base64": "?"}}', "line 2: value is not base64"),
        (b'{"key": "a", "value": "", "valeu": ""}', "line 2: unknown field 'valeu'"),
        (b'{"key": "a", "key": "b", "value": ""}', "line 2: a field comes twice"),
        (b'{"key": "sky", "value": ""}', "line 2: its key came before"),
        (b'{"key": "a", "value": "", "expires_at": NaN}', "line 2: NaN is not a JSON number"),
        (b'{"key": "a", "value": "", "version": 0}', "line 2: version is 0: expected"),
        (b'{"key": "a", "value": "\xff"}', "line 2: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "line 2: "),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_changed(shell: Shell, line: bytes, what: str) -> None:
    old = shell.dump("a.dump", {b"grass": b"green"}).read_bytes()
    lines = b'{"key": "sky", "value": "blue"}\n' + line
    said = shell.fails(3, "load", "--ndjson", "--replace", "a.dump", "-", stdin=lines)
    assert what in said
    assert said.endswith("nothing was changed: correct the line and try again")
    assert (shell.directory / "a.dump").read_bytes() == old


def test_a_key_that_is_empty_or_too_long_among_the_lines_changes_nothing(shell: Shell) -> None:
    old = shell.dump("a.dump", {b"grass": b"green"}).read_bytes()
    for key in ("", "k" * 70_000):
        line = json.dumps({"key": key, "value": ""}).encode()
        said = shell.fails(3, "load", "--ndjson", "a.dump", "-", stdin=b"\n" + line)
        assert f"line 2: key has {len(key)} bytes: expected 1 to 65535: nothing was" in said
    assert (shell.directory / "a.dump").read_bytes() == old


@given(
    key=st.binary(min_size=1, max_size=30) | st.text(min_size=1).map(lambda s: s.encode()),
    value=st.binary(max_size=50) | st.text().map(lambda s: s.encode()),
    expiry=st.just(0) | st.integers(1, 2**52),
)
@example(key=b"far", value=b"", expiry=4471659182393086)
def test_any_entry_is_a_line_and_comes_back(key: bytes, value: bytes, expiry: int) -> None:
    line = ndjson.line(Set(key, value, 7, expiry))
    assert line.count(b"\n") == 1
    assert list(ndjson.entries([line], "a")) == [Set(key, value, 7, expiry)]


@given(line=st.binary() | st.text().map(lambda s: s.encode()))
def test_any_line_is_an_entry_or_an_error(line: bytes) -> None:
    try:
        found = list(ndjson.entries([line], "a"))
    except ndjson.BadLineError:
        return
    assert not line.strip() or len(found) == 1


def test_stats_say_what_a_file_holds(shell: Shell) -> None:
    path = shell.dump("a.dump", {b"sky": b"blue", b"sea": b""})
    shell("set", "--ttl", "1000", "a.dump", "t", "x")
    found = json.loads(shell("stats", "--json", "a.dump"))
    written = found.pop("written")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", written)
    assert found == {
        "entries": 3,
        "entries_with_an_expiry": 1,
        "entries_expired": 0,
        "bytes_of_keys_and_values": 12,
        "bytes_in_the_file": path.stat().st_size,
        "longest_key": 3,
        "longest_value": 4,
        "format_version": 1,
    }
    text = shell("stats", "a.dump").decode()
    assert re.search(r"^entries +3$", text, re.MULTILINE)
    assert re.search(rf"^written +{written}$", text, re.MULTILINE)


def test_bench_measures_five_things(shell: Shell) -> None:
    lines = shell("bench", "--entries", "500").decode().splitlines()
    assert lines[0] == "500 keys of 16 bytes, values of 256 bytes, 5 rounds"
    assert len(lines) == 7
    for line in lines[2:]:
        assert re.fullmatch(r"[a-z, ]+ +\d+ +\d+ +\d+\.\d\d", line)


# How it ends


def test_errors_are_one_line_that_tells_what_to_do(shell: Shell) -> None:
    shell.dump("a.dump", {b"sky": b"blue"})
    (shell.directory / "text").write_text("not a dump")
    (shell.directory / "empty").touch()
    (shell.directory / "cut").write_bytes((shell.directory / "a.dump").read_bytes()[:-5])
    (shell.directory / "link").symlink_to("a.dump")
    for words, status, what in (
        (["get", "a.dump", "sea"], 1, "dumbkv: a.dump has no key 'sea': python -m dumbkv scan"),
        (["get", "none.dump", "sky"], 3, "none.dump: No such file or directory: check the path"),
        (["scan", "text"], 3, "not a DumbKV file: it does not begin like one: give a file that"),
        (["count", "empty"], 3, "empty: at byte 0: the file is empty: give a file"),
        (["get", "cut", "sky"], 3, "restore the file from a copy; verify tells what"),
        (["set", "link", "a", "b"], 3, "link: a symbolic link: give what it points to"),
        (["set", ".", "a", "b"], 3, ".: no log is in this directory: give one that"),
        (["set", "none/a.dump", "a", "b"], 3, "none/a.dump: No such file or directory"),
        (["set", "a.dump", "a", "@none"], 3, "none: No such file or directory: check the path"),
        (["load", "a.dump", "none"], 3, "none: No such file or directory: check the path"),
        (["get", "a.dump", ""], 2, "dumbkv: "),
        (["set", "a.dump", "k" * 65536, "v"], 2, "65536 bytes"),
        (["set", "--hex", "a.dump", "xy", "v"], 2, "key: expected hex"),
        (["get", "--base64", "a.dump", "?"], 2, "key: expected base64"),
        (["set", "--ttl", "-1", "a.dump", "a", "b"], 2, "expected seconds above 0, got '-1'"),
        (["scan", "--limit", "0", "a.dump"], 2, "expected a number above 0, got '0'"),
        (["dump", "a.dump", "-"], 2, "OUT is -: give --ndjson with it, or a path"),
        (["load", "a.dump", "-"], 2, "IN is -: give --ndjson with it, or a path"),
        (["get", "a.dump"], 2, "the following arguments are required: KEY"),
        (["gte", "a.dump", "sky"], 2, "invalid choice: 'gte'"),
        ([], 2, "the following arguments are required: COMMAND"),
    ):
        assert what in shell.fails(status, *words), words
    assert shell.loaded("a.dump") == {b"sky": b"blue"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_output_that_does_not_fit_is_an_error(shell: Shell) -> None:
    shell.dump("a.dump", {b"sky": b"blue"})
    for words in (
        ["get", "a.dump", "sky"],
        ["count", "a.dump"],
        ["dump", "--ndjson", "a.dump", "-"],
    ):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [*PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, cwd=shell.directory
            )
        assert done.returncode == 3
        assert done.stderr.startswith(b"dumbkv: No space left on device")
        assert done.stderr.count(b"\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell) -> None:
    shell.dump("a.dump", {b"%06d" % n: bytes(100) for n in range(5000)})
    for words in (["scan", "a.dump"], ["dump", "--ndjson", "a.dump", "-"]):
        with subprocess.Popen(
            [*PROGRAM, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=shell.directory,
        ) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(60) == 0


def test_changes_of_many_processes_are_all_there(shell: Shell) -> None:
    def change(n: int) -> None:
        shell("set", "--wait", "50", "a.dump", f"key {n}", "value")

    threads = [threading.Thread(target=change, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(shell.loaded("a.dump")) == [b"key %d" % n for n in range(6)]
    assert os.listdir(shell.directory) == ["a.dump"]


def test_a_file_that_another_changes_is_named_with_who_does(shell: Shell) -> None:
    from dumbkv.cli.lock import locked

    shell.dump("a.dump", {b"sky": b"blue"})
    with locked(str(shell.directory / "a.dump"), 1):
        said = shell.fails(3, "set", "--wait", "0.1", "a.dump", "sky", "grey")
        assert f"a.dump is being changed by process {os.getpid()}: try again when" in said
        assert shell("get", "a.dump", "sky") == b"blue"
    shell("set", "a.dump", "sky", "grey")


# The bar


def on_a_terminal(command: list[str], directory: Path) -> tuple[int, bytes]:
    """Exit status and stderr of a command whose stderr is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=directory,
        env={**os.environ, "TQDM_MININTERVAL": "0"},
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while piece := os.read(ours, 4096):
                seen += piece
        except OSError:  # the other side is closed
            pass
        finally:
            os.close(ours)
    return process.returncode, seen


def at_once(*words: str) -> list[str]:
    """A command whose bar does not wait to see how long it takes."""
    program = "from dumbkv.cli import bar, program; bar._DELAY = 0; program.main()"
    return [sys.executable, "-c", program, *words]


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(shell: Shell) -> None:
    shell.dump("a.dump", {b"%06d" % n: bytes(1000) for n in range(1000)})
    pytest.importorskip("tqdm")
    for words, title in (
        (["count", "a.dump"], b"reading"),
        (["verify", "a.dump"], b"checking"),
        (["dump", "a.dump", "b.dump"], b"writing"),
        (["load", "b.dump", "a.dump"], b"loading"),
    ):
        status, seen = on_a_terminal(at_once(*words), shell.directory)
        assert status == 0
        assert title in seen
        assert b"%|" in seen
        done = subprocess.run(at_once(*words), capture_output=True, cwd=shell.directory)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_task_that_is_over_at_once_draws_nothing(shell: Shell) -> None:
    shell.dump("a.dump", {b"sky": b"blue"})
    status, seen = on_a_terminal([*PROGRAM, "verify", "a.dump"], shell.directory)
    assert status == 0
    assert b"checking" not in seen


# Help


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse([*words, "--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_and_exit_status(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shell("--help").decode()
    for command in COMMANDS:
        assert re.search(rf"^ +{command} +\w", text, re.MULTILINE)
        own = help_of(command, capsys=capsys)
        assert "examples:\n  python -m dumbkv " in own.replace("\n  date |", "\n  ")
        assert max(map(len, own.splitlines())) <= 100
    said = " ".join(text.split())
    assert (
        "exit status: 0 done, 1 the key is not there or verify or repair found damage, 2 wrong "
        "usage, 3 an error of a file or its data." in said
    )
    assert shell("--version").decode() == f"DumbKV {dumbkv.__version__}\n"


def examples(capsys: pytest.CaptureFixture[str]) -> list[str]:
    pages = [help_of(capsys=capsys), *(help_of(name, capsys=capsys) for name in COMMANDS)]
    return [
        line.strip()
        for page in pages
        for line in re.findall(r"^  (?:\w.* \| )?python -m dumbkv .*$", page, re.MULTILINE)
    ]


def test_the_examples_in_the_help_run(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.dump("colours.dump", {b"sky": b"blue", b"grass": b"green", b"\xff\x00": b"bytes"})
    shell.dump("photos.dump", {b"cat.jpg": ALL_BYTES})
    shell.dump("a.dump", {b"user:%d" % n: b"name %d" % n for n in range(40, 60)})
    shell.dump("all.dump", {b"sky": b"grey"})
    shell.dump("some.dump", {b"sea": b"green"})
    shell.dump("damaged.dump", {b"sky": b"blue"})
    (shell.directory / "data").mkdir()
    log_file(shell.directory / "data", 1, small_records())
    (shell.directory / "lines.ndjson").write_text('{"key": "sky", "value": "blue"}\n')
    for command in examples(capsys):
        if "jq" in command and not shutil.which("jq"):
            command = command.replace("| jq .", "| grep .")
        if " del " in command:
            shell("load", "colours.dump", "some.dump")
        command = command.replace("python -m dumbkv", f"'{sys.executable}' -m dumbkv")
        command = re.sub("bench( --entries 1000000)?", "bench --entries 100", command)
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, timeout=60, cwd=shell.directory
        )
        assert (done.returncode, done.stderr) == (0, b""), (command, done.stderr)
        if " get --newline colours.dump sky" in command:
            assert done.stdout == b"blue\n"
        if " --after user:41 " in command:
            assert done.stdout.startswith(b"user:42\tname 42\n")
    assert (shell.directory / "cat.jpg").read_bytes() == ALL_BYTES
    assert shell.loaded("all.dump") == {b"sky": b"blue", b"sea": b"green"}
    assert len(examples(capsys)) > 30
