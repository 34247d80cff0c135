"""One line of JSON for each answer, written by a thread so that a slow disk stops no answer.

The loop only appends to a bounded queue. When the thread cannot keep up, for the disk is full or
the reader of a pipe has stopped, lines are dropped and counted, and requests go on.

Keys are other people's data, so a line has the route's template and not the path, unless `targets`
asks for the whole target.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from collections import deque
from typing import BinaryIO

__all__ = ["AccessLog"]

_QUEUED = 10_000


class AccessLog:
    """Appends to a file, or to standard output when `path` is `-`; `close` writes what is queued.

    `dropped` counts lines that were lost. Raises OSError when the file cannot be opened.
    """

    def __init__(self, path: str, *, targets: bool = False) -> None:
        self.path = path
        self.targets = targets
        self.dropped = 0
        self._lines: deque[tuple[float, str, str, int, float, int, str, bytes | None]] = deque()
        self._ready = threading.Event()
        self._reopen = False
        self._ending = False
        self._file = self._open()
        self._thread = threading.Thread(target=self._write, name="dumbkv_http log", daemon=True)
        self._thread.start()

    def note(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        sent: int,
        client: str,
        target: bytes | None,
    ) -> None:
        """Takes one answer down; never waits."""
        if len(self._lines) >= _QUEUED:
            self.dropped += 1
            return
        shown = target if self.targets else None
        self._lines.append((time.time(), method, route, status, seconds, sent, client, shown))
        self._ready.set()

    def reopen(self) -> None:
        """Opens the path anew before the next line, for a log that was renamed."""
        self._reopen = True
        self._ready.set()

    def close(self, timeout: float = 2.0) -> None:
        """Writes what is queued, for `timeout` seconds at most; may be called twice."""
        self._ending = True
        self._ready.set()
        self._thread.join(timeout)

    def _open(self) -> BinaryIO:
        if self.path == "-":
            return os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.fdopen(os.open(self.path, mode, 0o640), "ab", buffering=0)

    def _write(self) -> None:
        while True:
            self._ready.wait()
            self._ready.clear()
            ending = self._ending  # Looked at before the queue, so that nothing queued is missed.
            if self._reopen:
                self._reopen = False
                self._turn_over()
            while self._lines:
                count = min(len(self._lines), 500)
                self._put(b"".join(_line(*self._lines.popleft()) for _ in range(count)), count)
            if ending:
                self._file.close()
                return

    def _put(self, data: bytes, lines: int) -> None:
        try:
            while data:
                written = self._file.write(data)
                if written is None:  # Whoever shares the pipe has made it non-blocking.
                    select.select([], [self._file], [])
                data = data[written or 0 :]
        except (OSError, ValueError):  # ValueError: closed, because it could not be reopened.
            self.dropped += lines

    def _turn_over(self) -> None:
        try:
            fresh = self._open()
        except OSError:
            return  # The old file is better than none.
        self._file.close()
        self._file = fresh


def _line(
    when: float,
    method: str,
    route: str,
    status: int,
    seconds: float,
    sent: int,
    client: str,
    target: bytes | None,
) -> bytes:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))
    entry = {
        "time": f"{whole}.{int(when % 1 * 1000):03d}Z",
        "method": method,
        "route": route,
        "status": status,
        "seconds": round(seconds, 6),
        "sent": sent,
        "client": client,
    }
    if target is not None:
        entry["target"] = target.decode("ascii", "backslashreplace")
    return json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
