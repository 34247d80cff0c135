"""Who has a data directory open: one store at a time, in all processes.

The file ``lock`` in it is locked, as flock does, for as long as the store is open; the lock goes
with the process, however it ends. In the file is the process's number, for people. Two stores of
one process would share such a lock after a fork, and some systems let one process lock twice, so
the process also keeps a list of its own.
"""

import contextlib
import errno
import os
import stat
import threading

from dumbkv.errors import LockedError

try:
    import fcntl
except ImportError:  # not POSIX: the list is all there is
    fcntl = None  # type: ignore[assignment]  # asked for before use

_mine: set[tuple[int, int]] = set()
_lock = threading.Lock()


def _begin_anew() -> None:
    """In a child nothing is locked, and no directory is its own."""
    global _lock
    _lock = threading.Lock()
    _mine.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class LockFile:
    """A data directory is this store's, from the making of this to `release`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        path = os.path.join(directory, "lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._descriptor = os.open(path, flags, 0o600)
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "a device, pipe or socket: expected a file", path)
            self._place = status.st_dev, status.st_ino
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _take(self) -> None:
        with _lock:
            if self._place in _mine:
                raise self._refusal(os.getpid())
            if fcntl is not None:
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise self._refusal(self._owner()) from None
            _mine.add(self._place)
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
        except OSError:  # a full disk: the lock is what counts
            pass

    def _owner(self) -> int | None:
        with contextlib.suppress(ValueError, OSError):
            return int(os.pread(self._descriptor, 32, 0))
        return None

    def _refusal(self, owner: int | None) -> LockedError:
        where = "in this process" if owner == os.getpid() else f"in process {owner or 'unknown'}"
        return LockedError(f"{self._directory} is open {where}: close it there first")

    def release(self) -> None:
        """Others may open the directory now. A child of a fork gives up its share of the lock."""
        with _lock:
            _mine.discard(self._place)
        os.close(self._descriptor)
