"""A client's watch: server-sent events, over a connection of its own.

When the connection ends without the server having said that events were lost, the watch goes on
from the last event it saw, on another connection. Before the first event there is no such place,
and the end of the connection is an error.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import cast
from urllib.parse import urlencode

from dumbkv import ClosedError, Event, WatchLostError
from dumbkv._watch import Kind, seconds
from dumbkv_http._client_errors import raise_for
from dumbkv_http._json import read
from dumbkv_http._transport import Answer, Transport

__all__ = ["Watch"]


class Watch(Iterator[Event]):
    """What ``client.watch()`` gives: see ``Store.watch``."""

    def __init__(
        self, transport: Transport, prefix: bytes, since: int | None, timeout: float | None
    ) -> None:
        if since is not None and (not isinstance(since, int) or isinstance(since, bool)):
            raise TypeError(f"since must be a version, not {type(since).__name__}")
        if since is not None and not 0 <= since < 2**63:
            raise ValueError(f"since is {since}: expected a version")
        if timeout is not None:
            seconds("timeout", timeout)
        if transport.closed:
            raise ClosedError("the client is closed")
        self._transport = transport
        self._prefix, self._since, self._timeout = prefix, since, timeout
        self._ready: deque[Event] = deque()
        self._lost = False
        self._lock = threading.Lock()  # Held while one thread waits; `close` does without.
        self._closed = False
        self._begin()

    def get(self, timeout: float | None = None) -> Event | None:
        """The next event, or None after `timeout` seconds without one; None waits for ever.

        Raises WatchLostError when more happened than is kept, ClosedError when the watch is
        closed, and OSError when the server is out of reach.
        """
        end = None if timeout is None else time.monotonic() + seconds("timeout", timeout)
        with self._lock:
            while not self._ready:
                if self._closed or self._transport.closed:
                    raise ClosedError("the watch is closed")
                if self._lost:
                    raise WatchLostError(
                        "more happened than is kept: read the store anew and watch from there"
                    )
                if not self._fill(end):
                    return None
            return self._ready.popleft()

    def __next__(self) -> Event:
        event = self.get(self._timeout)
        if event is None:
            raise StopIteration
        return event

    def __iter__(self) -> Watch:
        return self

    def close(self) -> None:
        """End the watch; who waits for an event gets ClosedError."""
        self._closed = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_sock"):
            self.close()

    def _begin(self) -> None:
        """Connects, and reads on until the server has said that the watch has begun."""
        asked: dict[str, bytes | int] = {"prefix": self._prefix}
        if self._since is not None:
            asked["since"] = self._since
        fields = {"Accept": "text/event-stream"}
        self._sock = self._transport.stream(f"/v1/watch?{urlencode(asked)}", fields)
        buf = b""
        while b"\r\n\r\n" not in buf:
            buf += self._received()
        head, _, self._buf = buf.partition(b"\r\n\r\n")
        line, _, lines = head.partition(b"\r\n")
        status = int(line.split(b" ")[1])
        headers = http.client.parse_headers(io.BytesIO(lines + b"\r\n\r\n"))
        if status != 200:
            length = int(headers.get("Content-Length", 0))
            while len(self._buf) < length:
                self._buf += self._received()
            self._sock.close()
            raise_for(Answer(status, headers, self._buf))
        while b"\n\n" not in self._buf:
            self._buf += self._received()
        self._take()
        if self._lost:
            self._sock.close()
            raise WatchLostError(
                f"events after version {self._since} are not kept: "
                "read the store and watch from there"
            )

    def _received(self) -> bytes:
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionError(f"{self._transport.url} closed the connection of a watch")
        return data

    def _fill(self, end: float | None) -> bool:
        """Takes what comes, until `end` at the latest; False when that has passed."""
        left = None if end is None else end - time.monotonic()
        try:
            # Without time left, what is there already is taken all the same.
            self._sock.settimeout(None if left is None else max(left, 1e-4))
            self._buf += self._received()
        except TimeoutError:
            return False
        except OSError:
            if self._closed or self._since is None:
                if self._closed:
                    return True  # `get` says so.
                raise
            self._sock.close()
            self._begin()
            return True
        self._take()
        return True

    def _take(self) -> None:
        """Makes events of what has come."""
        *blocks, self._buf = self._buf.split(b"\n\n")
        for block in blocks:
            found = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
            kind = found.get(b"event")
            if kind == b"lost":
                self._lost = True
            elif kind is not None:
                document = json.loads(found[b"data"])
                key = b"" if kind == b"clear" else read(document, "key")
                self._since = document["version"]
                self._ready.append(Event(cast(Kind, kind.decode()), key, self._since))
