"""Files that are there whole or not at all.

A new file is written under another name in the same directory, synced, and takes the old
one's place in one step; then the directory is synced, for the step to outlast a power cut.
Whatever fails before that step, the old file stays and the new one goes.

A process killed in the middle leaves the other name behind. Its lock dies with it, and so
the next writer of the same path can tell it from one that is still being written, and takes
it away.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not POSIX: what is left behind stays
    fcntl = None  # type: ignore[assignment]  # asked for before use

_MODE = 0o600


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write, which becomes the file at `path` when the block ends without an error.

    Others than the owner may not read it. OSError for a path that is a symbolic link, a
    directory or anything else that is not a file, and for whatever the system refuses.
    """
    if os.path.lexists(path):
        _expect_file(path, os.lstat(path))
    directory, name = os.path.split(path)
    directory = directory or os.curdir
    _remove_left(directory, name)
    descriptor, other = _create(directory, name)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            os.replace(other, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(other)
        raise
    sync_directory(directory)


def reading(path: str) -> BinaryIO:
    """The file at `path`, open; OSError when it is a symbolic link or anything but a file."""
    return open(path, "rb", opener=_open_file)


def _open_file(path: str, flags: int) -> int:
    try:
        # Without waiting for the other end of a pipe.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        if os.path.lexists(path):
            _expect_file(path, os.lstat(path))
        raise
    try:
        _expect_file(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _expect_file(path: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        where = os.path.realpath(path)
        raise OSError(errno.ELOOP, f"a symbolic link: give what it points to, {where!r}", path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a directory: expected a file", path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "a device, pipe or socket: expected a file", path)


def _create(directory: str, name: str) -> tuple[int, str]:
    while True:
        other = os.path.join(directory, f".{name}.{secrets.token_hex(4)}.tmp")
        try:
            descriptor = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except FileExistsError:
            continue
        except OSError as error:
            what = f"{error.strerror}, for a new file beside it"
            raise OSError(error.errno, what, os.path.join(directory, name)) from None
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, other
        os.close(descriptor)  # another writer took it for one that was left behind


def _remove_left(directory: str, name: str) -> None:
    left = re.compile(re.escape(f".{name}.") + r"[0-9a-f]{8}\.tmp")
    with contextlib.suppress(OSError):  # what cannot be tidied up is in nobody's way
        for found in os.listdir(directory):
            if left.fullmatch(found):
                _remove_unlocked(os.path.join(directory, found))


def _remove_unlocked(path: str) -> None:
    if fcntl is None:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes, at: int) -> None:
    """Write all of it at this place, however many calls that takes."""
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written


def sync_directory(directory: str) -> None:
    """Let the names in a directory outlast a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
