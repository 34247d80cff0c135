"""docs/format.md says what files hold: its reader reads them, and its example is one."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "format.md"


def test_the_reader_on_the_page_reads_what_is_written() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 8
    assert result.failed == 0


def test_the_example_on_the_page_is_the_one_that_is_read() -> None:
    first, second = re.findall(r"89444b56.*?(?=\n\n|\n\.\.\. \"\"\")", PAGE.read_text(), re.DOTALL)
    assert first.split() == second.replace("...", "").split()
