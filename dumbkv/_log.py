"""The files of a store's log: the newest, which is written to, and those before it.

The table appends records to the newest file by itself, into room that was made before; whatever
else is done to files is done here, by the writer whose turn it is, when nothing is prepared.

A file that has its size is closed and another one begun: by the store's thread, which first brings
it to the disk beside running writes, or by a writer that is faster. The order of steps is what
recovery counts on (:mod:`dumbkv._recovery`): all of a file is on the disk before its closing
record is written, that is on the disk before there is a next file, and that one's header before
its first record.
"""

import errno
import os
from typing import NoReturn, Protocol

from dumbkv._files import sync_directory, write_all
from dumbkv._record import CLOSING_SIZE, HEADER_SIZE, LOG, RECORD_SIZE, SET_SIZE, Header, closing
from dumbkv._record import new_header as made_now
from dumbkv._recovery import name
from dumbkv._sync import Logged, Syncs, datasync
from dumbkv.errors import DiskFullError

LEAST_FILE = 4 << 20
LARGEST_FILE = 256 << 20
FILES = 8
"""A file has about this share of what the store holds."""
LATE = 1.5
"""A writer closes a file itself once it has so many times its size."""
LEAST_ROOM, MOST_ROOM = 256 << 10, 16 << 20
"""How much room is made at a time."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Table(Logged, Protocol):
    """What is asked of the table here."""

    def _counters(self) -> tuple[int, ...]: ...
    def _last_version(self) -> int: ...
    def _log_file(self, fd: int, offset: int, end: int, seed: int, before: int, /) -> None: ...
    def _log_extend(self, end: int, /) -> None: ...


class Log:
    """One store's log."""

    def __init__(self, directory: str, sizes: dict[int, int]) -> None:
        self.directory = directory
        self.sizes = sizes
        """Of every file by number, ascending; of the newest with the room that was made."""
        self.syncs = Syncs(directory)
        self._newest = max(sizes, default=0)
        self._target = LEAST_FILE
        self._header: Header | None = None
        self._last_created = 0

    @property
    def size(self) -> int:
        return sum(self.sizes.values())

    def path(self, number: int) -> str:
        return os.path.join(self.directory, name(number))

    @property
    def newest(self) -> int:
        return self._newest

    @property
    def is_open(self) -> bool:
        """Whether there is a file that is written to: not after there was no room for one."""
        return self._header is not None

    def used(self, table: Table) -> int:
        """Bytes of all files without the room that was made."""
        room = self.sizes[self._newest] - table._log_state()[0] if self.is_open else 0
        return self.size - room

    def room(self, table: Table, need: int, little: bool = False) -> None:
        """Make room for a record of `need` bytes, and some for others if not asked for little;
        DiskFullError when the disk has none."""
        offset, _, records = table._log_state()
        if self._header is not None and records and offset + need > LATE * self._target:
            self.close_file(table)
        if self._header is None:
            self.begin_file(table, need)
            offset = HEADER_SIZE
        self._extend(table, offset, need, LEAST_ROOM if little else MOST_ROOM)

    def is_long(self, table: Table) -> bool:
        """Whether it is time for the next file."""
        return self.is_open and table._log_state()[0] >= self._target

    def _extend(self, table: Table, offset: int, need: int, most: int) -> None:
        """The file always keeps room for its closing record."""
        least = offset + need + CLOSING_SIZE
        chunk = min(most, max(LEAST_ROOM, self._target // 2))
        end = max(least, min(offset + chunk, int(LATE * self._target) + CLOSING_SIZE))
        have = self.sizes[self._newest]
        while end > have:
            try:
                _allocate(self.syncs.descriptor, have, end - have)
            except OSError as error:
                os.ftruncate(self.syncs.descriptor, have)
                if error.errno not in FULL:
                    raise
                if end == least:
                    self._refuse(need, error)
                end = max(least, have + (end - have) // 2)
            else:
                have = self.sizes[self._newest] = end
        table._log_extend(have - CLOSING_SIZE)

    def _refuse(self, need: int, error: OSError) -> NoReturn:
        more = f"{need} bytes more" if need else "any more"
        raise DiskFullError(
            f"{self.directory}: the disk has no room for {more} ({error.strerror}): "
            "nothing was changed; free some and try again"
        ) from error

    def begin_file(self, table: Table, need: int = 0) -> None:
        """Begin the next file; DiskFullError when the disk has no room for it."""
        header = made_now(LOG)
        created = max(header.created, table._last_version(), self._last_created)
        header = header._replace(created=created)
        number = self._newest + 1
        path = self.path(number)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = -1
        try:
            descriptor = os.open(path, flags, 0o600)
            _allocate(descriptor, 0, HEADER_SIZE + need + CLOSING_SIZE)
            write_all(descriptor, header.encode(), 0)
            os.fsync(descriptor)
            sync_directory(self.directory)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
                os.unlink(path)
            if error.errno in FULL:
                self._refuse(need, error)
            raise
        self._newest, self._last_created = number, created
        entries, data = table._counters()[:2]
        self._target = min(LARGEST_FILE, max(LEAST_FILE, needed(entries, data) // FILES))
        _, before, _ = table._log_state()
        self.sizes[number] = HEADER_SIZE + need + CLOSING_SIZE
        self._header = header
        self.syncs.descriptor = descriptor
        table._log_file(descriptor, HEADER_SIZE, HEADER_SIZE + need, header.seed, before)
        self.syncs.position = max(self.syncs.position, before + HEADER_SIZE)

    def close_file(self, table: Table) -> None:
        """Close the newest file: all of it is on the disk then. DiskFullError when the disk has no
        room to say that it is closed: it stays as it is."""
        header = self._header
        assert header is not None
        offset, _, records = table._log_state()
        if self.sizes[self._newest] < offset + CLOSING_SIZE:  # a write failed, and took it away
            try:
                _allocate(self.syncs.descriptor, offset, CLOSING_SIZE)
            except OSError as error:
                if error.errno in FULL:
                    self._refuse(0, error)
                raise

        def finish() -> None:
            descriptor = self.syncs.descriptor
            write_all(descriptor, closing(header.seed, offset, records), offset)
            os.ftruncate(descriptor, offset + CLOSING_SIZE)
            datasync(descriptor)

        self.syncs.in_turn(table, finish)
        os.close(self.syncs.descriptor)
        self.syncs.descriptor = -1
        self.sizes[self._newest] = offset + CLOSING_SIZE
        self._header = None
        table._log_extend(0)

    def end(self, table: Table, watched: bool) -> None:
        """Close the newest file for good; one that nothing was written to goes, unless it is the
        only one.

        When the store was watched there were events with versions that no record has. Then there
        is one file more, without a record: its header says which versions there were.
        """
        empty = not table._log_state()[2] and len(self.sizes) > 1
        untold = watched and table._last_version() > self._last_created
        try:
            self.close_file(table)
            if empty:
                os.unlink(self.path(self._newest))
                sync_directory(self.directory)
                del self.sizes[self._newest]
                self._newest -= 1
            if untold:
                self.begin_file(table)
                self.close_file(table)
        except DiskFullError:  # then it is read as after a crash
            if self.is_open:
                self.syncs.in_turn(table)
                self.abandon()

    def failed(self, table: Table, number: int) -> NoReturn:
        """A write failed with this errno: let nothing of it stay in the file, and raise."""
        offset = table._log_state()[0]
        error = OSError(number, os.strerror(number), self.path(self._newest))
        try:
            os.ftruncate(self.syncs.descriptor, offset)
        except OSError as worse:
            self.syncs.poison(table, worse)
        self.sizes[self._newest] = offset
        table._log_extend(0)
        if number in FULL:
            self._refuse(0, error)
        raise error

    def abandon(self) -> None:
        """Let go of the file and write nothing more, in a child or when nobody has the store."""
        if self.syncs.descriptor >= 0:
            os.close(self.syncs.descriptor)
            self.syncs.descriptor = -1


def needed(entries: int, data_bytes: int) -> int:
    """Bytes that a log takes for so many entries, each in a record of its own."""
    return data_bytes + entries * (RECORD_SIZE + SET_SIZE)


def _allocate(descriptor: int, at: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, at, size)
    else:
        os.ftruncate(descriptor, at + size)
