"""A store into a dump, and a dump into a store.

Writing one runs beside other threads' work on the store: an entry is read in one atomic step,
and nothing is locked between two. Loading one reads the file twice: first to look at every
byte of it and change nothing, then to write into the store. So damage, and entries that the
store does not take, are found while the store is as it was.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from dumbkv._dumpfile import Contents, Progress, check, live, write
from dumbkv._files import reading
from dumbkv._record import Reader, Set
from dumbkv.errors import ClosedError, CorruptError, StoreFullError

if TYPE_CHECKING:
    from dumbkv._table import Table

    class _Base(Table):
        def __iter__(self) -> Iterator[bytes]: ...
else:

    class _Base:
        __slots__ = ()


Path: TypeAlias = str | os.PathLike[str]


class Dumps(_Base):
    """What a store has for a file of its entries."""

    __slots__ = ()
    _room: int | None
    """`max_bytes` of a store that refuses what would pass it."""

    def dump(self, path: Path, *, progress: Progress | None = None) -> int:
        """Write every entry to a file, with value, version and expiry; how many. O(n).

        The file is there whole or not at all: it takes the place of an old one at `path`
        when it is on the disk, and after an error the old one is still there, unless all that
        failed was to sync the directory: then it is the new one, whole. Only its owner may read
        it. Writers may go on meanwhile: a key that is there all the time comes
        exactly once, with one of its values. Each entry counts as read. `progress` is called
        with the entries done and those there are. OSError for what the system refuses, and
        for a `path` that is a symbolic link or not a file. ``docs/format.md`` describes it.

        >>> import dumbkv, os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory, dumbkv.open() as store:
        ...     path = os.path.join(directory, "colours.dump")
        ...     store.update({b"sky": b"blue", b"grass": b"green"})
        ...     store.dump(path)
        ...     with dumbkv.open() as other:
        ...         other.load(path), sorted(other)
        2
        (2, [b'grass', b'sky'])
        """
        return write(os.fsdecode(path), entries(self), len(self), progress)

    def load(
        self,
        path: Path,
        *,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Store what :meth:`dump` wrote, beside what is there; how many entries. O(n).

        The whole file is checked before the first change: CorruptError says what is damaged
        and where, InvalidKeyError or TooLargeError which entry is larger than this store
        takes, and then nothing has changed. Entries that have expired since are left out, and
        what is written gets a new version, as any write. With `replace` everything else is
        removed first. Other threads see entries arrive, some at a time.

        StoreFullError comes before any change when keys and values alone are more than
        `max_bytes`, and else where the store is full: it tells how many entries are in, and
        those stay. `progress` is called with bytes done and in all; each byte is read twice.
        An exception from it ends the load where it is. Takes memory for 64 KiB of the file, or
        its largest entry, and 8 bytes for each key.
        """
        if self.closed:
            raise ClosedError("the store is closed")
        name = os.fsdecode(path)
        contents = Contents()
        with reading(name) as file:
            limits = {"max_key": self.max_key, "max_value": self.max_value}
            check(file, name, contents, progress=_half(progress, 0), **limits)
            _expect_room(self._room, contents, name)
            if replace:
                self.clear()
            return _apply(self, Reader(file, name), contents, _half(progress, 1))


def entries(store: Dumps) -> Iterator[Set]:
    """Every entry of a store, as a file has it."""
    for key in store:
        entry = store.entry(key)
        if entry is not None:  # it went away since its turn came
            _, value, version, expires_at = entry
            expiry = 0 if expires_at is None else int(expires_at * 1e6 + 0.5)
            yield Set(key, value, version, expiry)


def _half(progress: Progress | None, half: int) -> Progress | None:
    """Progress over the file's bytes, which are read two times."""
    if progress is None:
        return None
    return lambda done, total: progress(done + half * total, 2 * total)


def _expect_room(room: int | None, contents: Contents, path: str) -> None:
    if room is not None and contents.live_bytes > room:
        raise StoreFullError(
            f"{path} has {contents.live_bytes} bytes of keys and values, and the store is full "
            f"at max_bytes={room}: nothing was loaded: raise max_bytes or open it with "
            "eviction='lru'"
        )


def _apply(store: Dumps, reader: Reader, contents: Contents, progress: Progress | None) -> int:
    done = 0
    try:
        for entries in live(reader):
            for written in _put(store, entries):
                done += written
            if progress is not None:
                progress(reader.offset, reader.size)
    except StoreFullError as error:
        raise StoreFullError(
            f"{reader.path}: {done} of {contents.entries} entries are loaded, the rest is not: "
            f"{error}"
        ) from None
    except CorruptError as error:
        what = f"{error.what}; the file changed while it was read, and {done} entries are loaded"
        raise CorruptError(error.path, error.offset, what) from None
    if progress is not None:
        progress(reader.size, reader.size)
    return done


def _put(store: Dumps, entries: list[Set]) -> Iterator[int]:
    """Write entries, those of one expiry together; how many, time after time."""
    by_expiry = defaultdict(list)
    for entry in entries:
        by_expiry[entry.expiry].append(entry[:2])
    for expiry, pairs in by_expiry.items():
        yield from _put_alike(store, pairs, expiry)


def _put_alike(store: Dumps, pairs: list[tuple[bytes, bytes]], expiry: int) -> Iterator[int]:
    try:
        if expiry:
            store.set_many(pairs, expire_at=expiry / 1e6)
        else:
            store.set_many(pairs, ttl=math.inf)
    except StoreFullError:
        if len(pairs) == 1:
            raise
        # A small store that evicts has no room for all of them in one step, but for a few.
        half = len(pairs) // 2
        yield from _put_alike(store, pairs[:half], expiry)
        yield from _put_alike(store, pairs[half:], expiry)
    else:
        yield len(pairs)
