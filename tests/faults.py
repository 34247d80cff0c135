"""A program's calls to the system made to fail, or it killed in them, by strace."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

CALLS = ("openat", "pwrite64", "ftruncate", "fallocate", "fdatasync", "fsync", "unlink", "rename")


class Ran(NamedTuple):
    status: int
    said: list[str]
    trace: str
    """What strace wrote: the calls on the directory and its files."""
    logged: str

    @property
    def hit(self) -> bool:
        """Whether the program came to the call that was to be made to fail."""
        return bool(self.injected) or "SIGKILL" in self.trace

    @property
    def injected(self) -> str:
        """The call that was made to fail."""
        return next((line for line in self.trace.splitlines() if "INJECTED" in line), "")

    def counts(self) -> dict[str, int]:
        """How many times each call was made by the thread that made it most."""
        made = Counter(re.findall(r"^(\d+) +(\w+)\(", self.trace, re.MULTILINE))
        return {call: max(n for (_, each), n in made.items() if each == call) for _, call in made}


def run(command: list[str], directory: Path, inject: str | None = None) -> Ran:
    """Run a Python program's module and arguments, with strace's `inject` in all that it does
    with files of a directory, or the directory itself. A count in it is a thread's own."""
    trace = directory.parent / "trace"
    paths = [str(directory), str(directory / "lock")]
    paths += [str(directory / f"{number:08}.log") for number in range(1, 30)]
    words = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(trace)]
    words += ["-e", f"trace={','.join(CALLS)}"]
    words += [] if inject is None else ["-e", f"inject={inject}"]
    words += [word for path in paths for word in ("-P", path)]
    done = subprocess.run(
        [*words, sys.executable, *command], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout.splitlines(), trace.read_text(), done.stderr)


def asked_after_failure(ran: Ran) -> list[str]:
    """Syncs of a file after one of that file that was made to fail."""
    match = re.search(r"f(?:data)?sync\(\d+(<.*[.]log>)\)", ran.injected)
    if match is None:  # it is about the directory
        return []
    path = match[1][1:-1]
    behind = ran.trace.partition("INJECTED")[2]
    same = re.split(rf'"{re.escape(path)}", .*O_CREAT', behind)[0]  # until it is another file
    return re.findall(rf"f(?:data)?sync\(\d+<{re.escape(path)}>.*", same)
