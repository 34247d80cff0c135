"""What docs/serving.md shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback import free_port

PAGE = Path(__file__).parent.parent.parent / "docs" / "serving.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def shown(block: str) -> list[str]:
    """What the comments say is printed: lines of their own, or behind a command."""
    comments = re.findall(r"(?:^#|  #) (.*)$", block, re.MULTILINE)
    return [" ".join(each.split()) for each in comments if each != "reads the file anew"]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_commands_print_what_is_shown(block: str, tmp_path: Path) -> None:
    port = str(free_port())
    script = block.replace("8080", port).replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert [line for line in printed if "listens on" not in line] == shown(block)


def test_there_is_something_to_run() -> None:
    assert len(BLOCKS) == 5
