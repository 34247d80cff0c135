"""What tests of stores on disk share."""

import contextlib
from collections.abc import Iterator
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
