"""One process at a time changes a file.

The lock is on a file of its own beside it, because the file itself is replaced by every
change. It has the number of the process in it, and is removed with the lock: who gets the
lock on a file that was removed meanwhile tries again on the one that is there.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dumbkv.errors import LockedError

_PAUSE = 0.02


@contextmanager
def locked(path: str, wait: float) -> Iterator[None]:
    """Keeps others from changing `path`; LockedError after `wait` seconds without the lock."""
    directory, name = os.path.split(path)
    lock = os.path.join(directory, f".{name}.lock")
    deadline = time.monotonic() + wait
    while (descriptor := _attempt(path, lock)) is None:
        if time.monotonic() >= deadline:
            raise LockedError(f"{path} is being changed by {_holder(lock)}")
        time.sleep(_PAUSE)
    try:
        os.write(descriptor, b"%d\n" % os.getpid())
        yield
    finally:
        os.unlink(lock)
        os.close(descriptor)


def _attempt(path: str, lock: str) -> int | None:
    try:
        return _try(lock)
    except OSError as error:
        what = f"{error.strerror}, for a lock beside it"
        raise OSError(error.errno, what, path) from None


def _try(lock: str) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(lock, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.fstat(descriptor).st_nlink > 0
        if ours:
            os.ftruncate(descriptor, 0)  # who was killed left its number
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _holder(lock: str) -> str:
    try:
        with open(lock, encoding="ascii") as file:
            return f"process {int(file.read())}"
    except (OSError, ValueError):  # it has just ended, or not yet said its number
        return "another process"
