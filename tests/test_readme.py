"""What the README shows is what happens."""

import re
import shutil
import subprocess
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


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_in_the_readme_answers_as_shown() -> None:
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    steps = [step.split("\n", 1) for block in blocks for step in block.split("$ ")[1:]]
    assert len(steps) == 5
    with dumbkv.open() as store, serve(store) as service:
        for command, expected in steps:
            here = command.replace("http://127.0.0.1:8080", service.url)
            done = subprocess.run(["sh", "-c", here], capture_output=True, text=True, timeout=20)
            assert done.stdout.strip() == expected.strip(), here
