"""What is at a path: a dump or a data directory.

A data directory is read without its lock and without a change, so also while another process has
the store open. Only a command that changes it opens it as a store.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import dumbkv
from dumbkv._arguments import KEY_CEILING, VALUE_CEILING
from dumbkv._dump import entries as store_entries
from dumbkv._dumpfile import Contents, check, live
from dumbkv._files import reading
from dumbkv._opening import load
from dumbkv._record import Reader, Set
from dumbkv._recovery import numbers, survey
from dumbkv.cli.bar import bar
from dumbkv.cli.lock import locked
from dumbkv.errors import CorruptError, LockedError

_ATTEMPTS = 10
_PAUSE = 0.02

T = TypeVar("T")


def opened(path: str) -> dumbkv.Store:
    """A store of what is at `path`; FileNotFoundError when nothing is."""
    if os.path.isdir(path):
        return settled(path, lambda: _read(path))
    store = empty()
    with bar("reading") as progress:
        store.load(path, progress=progress)
    return store


def _read(path: str) -> dumbkv.Store:
    store = empty()
    load(store, survey(path))
    return store


def expect_logs(path: str) -> None:
    """FileNotFoundError when a directory is none that a store wrote to."""
    if not numbers(path):
        what = "no log is in this directory: give one that dumbkv.open() has made"
        raise FileNotFoundError(errno.ENOENT, what, path)


def settled(path: str, look: Callable[[], T]) -> T:
    """What a look at a data directory gives, with another one when it fails: while another process
    writes, a file may go away, and what is half written at one look is whole at the next. What
    is damaged stays so."""
    expect_logs(path)
    last = ""
    for _ in range(_ATTEMPTS):
        try:
            return look()
        except (CorruptError, FileNotFoundError) as error:
            if str(error) == last:
                raise
            last = str(error)
    return look()


def empty() -> dumbkv.Store:
    """A store that takes whatever a file can hold."""
    return dumbkv.open(max_key=KEY_CEILING, max_value=VALUE_CEILING)


@contextmanager
def changing(path: str, wait: float, *, create: bool = False) -> Iterator[dumbkv.Store]:
    """A store of what is at `path`, which is written back there when the block ends without an
    error. Other processes that would change it wait so many seconds. With `create` nothing
    need be there."""
    if os.path.isdir(path) or (create and path.endswith("/")):
        if os.path.isdir(path) and os.listdir(path):
            expect_logs(path)  # nobody wants a store among other files by a slip
        with _opened_alone(path, wait) as store:
            yield store
        return
    with locked(path, wait):
        found = not create or os.path.lexists(path)
        with opened(path) if found else empty() as store:
            before = store.stats()
            yield store
            after = store.stats()
            if not found or (before.sets, before.deletes) != (after.sets, after.deletes):
                with bar("writing") as progress:
                    store.dump(path, progress=progress)


def _opened_alone(path: str, wait: float) -> dumbkv.Store:
    deadline = time.monotonic() + wait
    while True:
        try:
            return dumbkv.open(path, max_key=KEY_CEILING, max_value=VALUE_CEILING)
        except LockedError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


@contextmanager
def entries(path: str) -> Iterator[tuple[Iterator[Set], int]]:
    """The entries at `path` with their versions, and how many there are about; after a look at
    all of them. Those that have expired are left out."""
    if os.path.isdir(path):
        with opened(path) as store:
            yield store_entries(store), len(store)
        return
    found = Contents()
    with reading(path) as file:
        with bar("checking") as progress:
            check(file, path, found, progress=progress)
        yield chain.from_iterable(live(Reader(file, path))), found.entries - found.expired


def inspect(path: str, into: Contents) -> None:
    """Look at every byte of what is at `path`; what it holds, also up to where an error is."""
    if os.path.isdir(path):
        with opened(path) as store:
            now = time.time_ns() // 1000
            for entry in store_entries(store):
                into.add([entry], now)
        found = survey(path)
        into.header = found.files[-1].header
        into.file_bytes = sum(os.lstat(file.path).st_size for file in found.files)
        return
    with reading(path) as file, bar("checking") as progress:
        check(file, path, into, progress=progress)


def say(text: str) -> None:
    """A line on stdout, also when it has a path that is not UTF-8."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
