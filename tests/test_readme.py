"""What the README shows is what happens."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dumbkv
from dumbkv_http import serve

README = Path(__file__).parent.parent / "README.md"


def test_the_python_in_the_readme_runs() -> None:
    import doctest

    result = doctest.testfile(str(README), module_relative=False)
    assert result.attempted > 8
    assert result.failed == 0


def steps(beginning: str) -> list[tuple[str, str]]:
    """The commands of the console blocks that begin like this, and what each prints."""
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    found = [step.partition("\n") for block in blocks for step in block.split("$ ")[1:]]
    return [(command, out) for command, _, out in found if command.startswith(beginning)]


def printed(command: str, directory: Path) -> str:
    done = subprocess.run(
        ["sh", "-c", command], cwd=directory, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_commands_in_the_readme_print_what_is_shown(tmp_path: Path) -> None:
    commands = steps("python -m dumbkv ")
    assert len(commands) == 3
    for command, expected in commands:
        here = command.replace("python", sys.executable, 1)
        assert printed(here, tmp_path) == expected.strip(), command


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_in_the_readme_answers_as_shown(tmp_path: Path) -> None:
    requests = steps("curl ")
    assert len(requests) == 5
    with dumbkv.open() as store, serve(store) as service:
        for command, expected in requests:
            here = command.replace("http://127.0.0.1:8080", service.url)
            assert printed(here, tmp_path) == expected.strip(), here
