"""What tests of stores on disk share."""

import contextlib
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dumbkv
from dumbkv import _durable, _store
from dumbkv._record import HEADER_SIZE, RECORD_SIZE


@contextlib.contextmanager
def clock_stopped(monotonic: int, wall: int) -> Iterator[None]:
    """Stores opened in this block have their clocks stopped before they read what is on disk, and
    no thread of their own."""

    def disk(store: dumbkv.Store, *args: Any) -> _durable.Disk:
        store._set_clock(monotonic, wall)
        return _durable.Disk(store, *args)

    with (
        mock.patch("time.time_ns", return_value=wall * 1000),
        mock.patch.object(_store, "Disk", disk),
        mock.patch.object(_durable, "Keeper"),
    ):
        yield


def bodies(directory: Path) -> list[bytes]:
    """The bytes of every record of the log, without their heads: those have checksums, which
    differ from file to file."""
    found = []
    for path in sorted(directory.glob("*.log")):
        data, at = path.read_bytes(), HEADER_SIZE
        while length := int.from_bytes(data[at : at + 4], "little"):
            found.append(data[at + RECORD_SIZE : at + RECORD_SIZE + length])
            at += RECORD_SIZE + length
    return found


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[Callable[[], None]]:
    """A disk of 2 MiB with little room, or where nobody may mount one a limit on the size of
    files; what it gives makes room."""
    path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", path], check=False
    ).returncode:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_200_000, limits[1]))
        try:
            yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return
    try:
        (path / "ballast").write_bytes(bytes(600_000))
        yield (path / "ballast").unlink
    finally:
        subprocess.run(["umount", "-l", path], check=True)
