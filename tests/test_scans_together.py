"""Scans beside writers at full speed: each key that is there all the time comes exactly once, in
order, and none after its time. Runs for DUMBKV_SOAK_SECONDS; each table in a process of its
own, so that a deadlock is a red test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BACKENDS

SECONDS = float(os.environ.get("DUMBKV_SOAK_SECONDS", "3"))


@pytest.mark.parametrize("ordered", [False, True], ids=["on demand", "kept"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_scans_beside_writers(backend: str, ordered: bool) -> None:
    command = [sys.executable, str(Path(__file__).with_name("scan_soak.py")), backend]
    done = subprocess.run(
        [*command, str(int(ordered)), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=SECONDS + 60,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout, end="")
