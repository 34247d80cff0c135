"""docs/format.md says what files hold: its readers read them, and its example is one."""

import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dumbkv
from dumbkv._record import Set
from dumbkv._recovery import name
from tests.logs import all_records, log_file, look, marked, small_records, state_of

PAGE = Path(__file__).parent.parent / "docs" / "format.md"


def run_page() -> tuple[doctest.TestResults, dict[str, Any]]:
    """The page as a session, and what it has defined at its end."""
    page = doctest.DocTestParser().get_doctest(PAGE.read_text(), {}, PAGE.name, str(PAGE), 0)
    runner = doctest.DocTestRunner()
    result = runner.run(page, clear_globs=False)
    return result, page.globs


def test_the_readers_on_the_page_read_what_is_written() -> None:
    result, _ = run_page()
    assert result.attempted > 14
    assert result.failed == 0


def test_the_example_on_the_page_is_the_one_that_is_read() -> None:
    first, second = re.findall(r"89444b56.*?(?=\n\n|\n\.\.\. \"\"\")", PAGE.read_text(), re.DOTALL)
    assert first.split() == second.replace("...", "").split()


def test_the_reader_of_logs_takes_and_refuses_what_recovery_does(tmp_path: Path) -> None:
    read_log: Callable[[Path], dict[bytes, Any]] = run_page()[1]["read_log"]
    log_file(tmp_path, 3, small_records(3))
    log_file(tmp_path, 4, marked(small_records(4), 3), closed=False, room=30)
    taken = refused = 0
    for path in (tmp_path / name(3), tmp_path / name(4)):
        data = path.read_bytes()
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 1 << at % 8
            for written in (changed, data[:at], data[:at] + bytes(len(data) - at)):
                path.write_bytes(written)
                try:
                    state = state_of(all_records(look(tmp_path)))
                except dumbkv.CorruptError:
                    refused += 1
                    try:
                        read_log(tmp_path)
                    except AssertionError:
                        continue
                    raise AssertionError(f"read a flip at {at} of {path}") from None
                taken += 1
                assert {key: Set(key, *each) for key, each in read_log(tmp_path).items()} == state
        path.write_bytes(data)
    assert min(taken, refused) > 1000
