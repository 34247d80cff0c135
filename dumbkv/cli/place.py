"""What is at a path: today a dump, with room for other kinds of place."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import dumbkv
from dumbkv._arguments import KEY_CEILING, VALUE_CEILING
from dumbkv._dumpfile import Contents, check, live
from dumbkv._files import reading
from dumbkv._record import Reader, Set
from dumbkv.cli.bar import bar
from dumbkv.cli.lock import locked


def opened(path: str) -> dumbkv.Store:
    """A store of what is at `path`; FileNotFoundError when nothing is."""
    store = empty()
    with bar("reading") as progress:
        store.load(path, progress=progress)
    return store


def empty() -> dumbkv.Store:
    """A store that takes whatever a file can hold."""
    return dumbkv.open(max_key=KEY_CEILING, max_value=VALUE_CEILING)


@contextmanager
def changing(path: str, wait: float, *, create: bool = False) -> Iterator[dumbkv.Store]:
    """A store of what is at `path`, which is written back there when the block ends without an
    error. Other processes that would change it wait so many seconds. With `create` nothing
    need be there."""
    with locked(path, wait):
        found = not create or os.path.lexists(path)
        with opened(path) if found else empty() as store:
            before = store.stats()
            yield store
            after = store.stats()
            if not found or (before.sets, before.deletes) != (after.sets, after.deletes):
                with bar("writing") as progress:
                    store.dump(path, progress=progress)


@contextmanager
def entries(path: str) -> Iterator[tuple[Iterator[Set], int]]:
    """The entries at `path` with their versions, and how many there are about; after a look at
    all of them. Those that have expired are left out."""
    found = Contents()
    with reading(path) as file:
        with bar("checking") as progress:
            check(file, path, found, progress=progress)
        yield chain.from_iterable(live(Reader(file, path))), found.entries - found.expired


def inspect(path: str, into: Contents) -> None:
    """Look at every byte of what is at `path`; what it holds, also up to where an error is."""
    with reading(path) as file, bar("checking") as progress:
        check(file, path, into, progress=progress)


def say(text: str) -> None:
    """A line on stdout, also when it has a path that is not UTF-8."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")
