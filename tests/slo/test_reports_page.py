"""docs/reports.md: its commands run, and print what the page shows."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

from tests.http.test_program import program
from tests.slo.conftest import Months

PAGE = Path(__file__).parents[2] / "docs" / "reports.md"


def commands() -> list[tuple[str, str]]:
    """Every command of the page with what it prints."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        found += re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    return found


def test_what_is_shown_runs(months: Months, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    checker = doctest.OutputChecker()
    status = 0
    ran = 0
    # A process of its own: how often this one collects garbage is the tests' doing.
    with program(lifetime=120) as (_, _, port):
        url = f"http://127.0.0.1:{port}"
        urlopen(Request(f"{url}/v1/kv/a", b"1", method="PUT"), timeout=10).close()
        for _ in range(50):
            urlopen(f"{url}/v1/kv/a", timeout=10).close()
        for command, expected in commands():
            if command == "echo $?":
                assert status == int(expected)
                continue
            line = command.replace("http://127.0.0.1:9090", months.prometheus.url)
            done = subprocess.run(
                line.replace("http://127.0.0.1:8080", url),
                shell=True,
                cwd=tmp_path,
                env={**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            status = done.returncode
            assert done.stderr == "", command
            assert checker.check_output(expected, done.stdout, doctest.ELLIPSIS), (
                f"{command}\n{done.stdout}"
            )
            ran += 1
    assert ran >= 9
