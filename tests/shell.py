"""The commands, as they run in a shell."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dumbkv

PROGRAM = [sys.executable, "-m", "dumbkv"]


class Shell:
    """Runs commands in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *words: Any, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PROGRAM, *words], input=stdin, capture_output=True, timeout=60, cwd=self.directory
        )

    def __call__(self, *words: Any, stdin: bytes = b"") -> bytes:
        """What it writes, when all is well."""
        done = self.run(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout

    def fails(self, status: int, *words: Any, stdin: bytes = b"") -> str:
        """The one line it says on stderr; with wrong usage the last of them."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == status, done
        assert b"Traceback" not in done.stderr
        *before, line = done.stderr.decode().splitlines()
        assert not before or status == 2, done.stderr
        assert done.stdout == b""
        return line

    def dump(self, name: str, pairs: dict[bytes, bytes]) -> Path:
        with dumbkv.open() as store:
            store.update(pairs)
            store.dump(self.directory / name)
        return self.directory / name

    def loaded(self, name: str) -> dict[bytes, bytes]:
        with dumbkv.open() as store:
            store.load(self.directory / name)
            return dict(store)
