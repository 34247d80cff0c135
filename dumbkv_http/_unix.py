"""A Unix socket to listen on: whose it is, who may use it, and what is left of an earlier one.

The file of a socket outlives a process that was killed. A new server takes the path over when
nobody answers there any more, and refuses when somebody does, or when it is no socket at all.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

__all__ = ["bind", "identity", "remove"]


def bind(sock: socket.socket, path: str, mode: int) -> None:
    """Binds to a path with the file mode `mode`. Raises OSError when it is taken.

    Call it before `listen`: until then nobody can connect, so the mode is there in time.
    """
    _clear(path)
    sock.bind(path)
    os.chmod(path, mode)


def identity(path: str) -> tuple[int, int] | None:
    """What tells the file at this path from another that takes its place."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove(path: str, known: tuple[int, int] | None) -> None:
    """Removes the socket's file if it is still the known one."""
    if known is not None and identity(path) == known:
        with suppress(OSError):
            os.unlink(path)


def _clear(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:  # Full backlog and the like: somebody is there.
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
