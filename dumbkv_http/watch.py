"""What happens to keys, as server-sent events.

Theory of operation: each client's watch is one of the store's own, and reads from the store's ring
of recent events only when the client has taken what it was sent before. A slow client therefore
costs no memory: it falls behind in the ring, which is bounded, and is told so when it has fallen
out of it, or is cut off when it takes nothing for the server's time-out. When a watch has nothing,
the store calls `App.tell` once at the next event, and the loop asks again: it does not poll.

A client that comes back with the id of the last event it saw goes on behind it, if the store still
keeps that. It keeps events only while somebody watches, so the first client of all leaves a watch
behind that nobody reads, for as long as the server lives.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from dumbkv import Event, Store, Watch, WatchLostError
from dumbkv_http._json import as_json, member
from dumbkv_http.parameters import SINCE
from dumbkv_http.response import ProblemError, Streamed
from dumbkv_http.wire import Request

__all__ = ["HEARTBEAT", "Watches"]

HEARTBEAT = b":\n\n"
"""A comment, sent into silences so that both ends see when the other is gone."""

_HEAD_LINES = (
    b"Content-Type: text/event-stream\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-store\r\n"
)
_BEGIN = b"retry: 1000\n:\n\n"
# An empty id makes a browser forget the last one, so that it comes back for what is new.
_LOST = b'id\nevent: lost\ndata: {"reason":"more happened than is kept: read the store anew"}\n\n'
_PIECE_BYTES = 16 * 1024


class Watches:
    """The watches of one server's clients: at most `most` at a time.

    `tell` is called, from any thread, when there may be news; `ending` says whether to end.
    """

    def __init__(
        self, store: Store, most: int, tell: Callable[[], object], ending: Callable[[], bool]
    ) -> None:
        self._store = store
        self._most = most
        self._tell = tell
        self._ending = ending
        self._open = 0
        self._kept: Watch | None = None

    def begin(self, request: Request, parameters: dict[bytes, Any]) -> Streamed:
        """A stream of events. Raises ProblemError 503 when there are too many already."""
        if self._open >= self._most:
            raise ProblemError(
                503, "too-many-watches", f"{self._most} clients watch already, and no more may"
            )
        since = parameters.get(b"since")
        last = request.fields.get(b"last-event-id")
        if last is not None:
            since = SINCE.parse(last)
        if self._kept is None:
            self._kept = self._store.watch()
        prefix = parameters.get(b"prefix", b"")
        try:
            watch = self._store.watch(prefix, since=since, notify=self._tell)
        except WatchLostError:
            watch = None
        stream = self._stream(watch)
        next(stream)  # From here on its end is reached whatever happens.
        return Streamed(_HEAD_LINES, stream, endless=True, keep_alive=HEARTBEAT)

    def close(self) -> None:
        """Lets the store keep no more events; may be called twice."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _stream(self, watch: Watch | None) -> Generator[bytes, None, None]:
        self._open += 1
        try:
            yield b""
            if watch is None:
                yield _LOST
                return
            yield _BEGIN
            while not self._ending():
                yield _piece(watch)
        except WatchLostError:
            yield _LOST
        finally:
            self._open -= 1
            if watch is not None:
                watch.close()


def _piece(watch: Watch) -> bytes:
    """Some events, or nothing when there are none."""
    texts = []
    size = 0
    while size < _PIECE_BYTES:
        event = watch.get(0)
        if event is None:
            break
        text = _text(event)
        texts.append(text)
        size += len(text)
    return b"".join(texts)


def _text(event: Event) -> bytes:
    kind, key, version = event
    data: dict[str, Any] = {} if kind == "clear" else dict([member("key", key)])
    data["version"] = version
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (version, kind.encode("ascii"), as_json(data))
