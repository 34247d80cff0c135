"""An answer under way: one that is made in turns, or a body that comes in pieces.

What a turn gives is one of: bytes to send; a Response, when that is what the turns came to; None,
when a body is at its end; or when to take the next turn.
"""

from __future__ import annotations

from enum import Enum

from dumbkv_http.response import LAST_CHUNK, Deferred, Response, Streamed, chunk
from dumbkv_http.wire import Request

__all__ = ["AGAIN", "TOLD", "WOKEN", "Next", "UnderWay"]


class Next(Enum):
    """When to take the next turn: in the next round, when woken, when told of news."""

    AGAIN = 1
    WOKEN = 2
    TOLD = 3


AGAIN, WOKEN, TOLD = Next


class UnderWay:
    """The answer to `request`. A body is `chunked` if it can be, and then has an `end`."""

    __slots__ = ("_response", "_spoke", "chunked", "end", "endless", "request")

    def __init__(self, request: Request, response: Response, now: float) -> None:
        assert isinstance(response, (Deferred, Streamed)), "an answer of no known kind"
        self.request = request
        self.endless = isinstance(response, Streamed) and response.endless
        self.chunked = request.http11 and not self.endless
        self.end = LAST_CHUNK if self.chunked else b""
        self._response = response
        self._spoke = now

    def turn(self, now: float, heartbeat: float) -> bytes | Response | Next | None:
        """Takes the next turn; an endless body is never silent for longer than `heartbeat`.

        Raises what the answer's maker raises: ClosedError when the store was closed meanwhile.
        """
        response = self._response
        try:
            if isinstance(response, Deferred):
                return AGAIN if next(response.turns) else WOKEN
            piece = next(response.pieces)
        except StopIteration as end:
            made: Response | None = end.value
            return made
        if not piece and self.endless and now - self._spoke >= heartbeat:
            piece = response.keep_alive
        if not piece:
            return TOLD if self.endless else AGAIN
        self._spoke = now
        return chunk(piece) if self.chunked else piece

    def close(self) -> None:
        """Ends it early."""
        response = self._response
        if isinstance(response, Deferred):
            response.turns.close()
        else:
            response.pieces.close()
