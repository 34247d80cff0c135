"""Request bodies from bytes that arrive in pieces: by length, or chunked (RFC 9112 section 7.1).

A reader is fed a buffer, takes what belongs to the body and says where it stopped. What it holds
is what has really arrived: a declared length is checked against the limit before anything is read
and is never allocated in advance. Bytes gather in one bytearray and not in a list, because a body
sent two bytes at a time would cost a list forty times its size.
"""

from __future__ import annotations

import re
from typing import Protocol

from dumbkv_http.wire import Fields, WireError, excerpt

__all__ = ["BodyReader", "ChunkedBody", "LengthBody", "body_reader", "too_large"]

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(;[\t\x20-\x7e]{0,255})?")
_CHUNK_LINE_LIMIT = 8 + 256
_TRAILER_LINES = 16
_TRAILER_BYTES = 4 * 1024
_TRAILER_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class BodyReader(Protocol):
    """What is common to both framings."""

    data: bytearray
    done: bool

    def feed(self, buf: bytes, start: int) -> int:
        """Takes body bytes from `buf[start:]`; the answer is the index of the first one left."""


def body_reader(fields: Fields, limit: int) -> BodyReader:
    """A reader for the body these fields announce.

    Raises WireError 413 at once when the announced length is over `limit` bytes.
    """
    if fields.chunked:
        return ChunkedBody(limit)
    if fields.length > limit:
        raise too_large(limit, fields.length)
    return LengthBody(fields.length)


class LengthBody:
    """A body of exactly `length` bytes.

    >>> body = LengthBody(5)
    >>> body.feed(b"hel", 0), body.done, body.feed(b"loGET", 0), body.done, bytes(body.data)
    (3, False, 2, True, b'hello')
    """

    __slots__ = ("data", "done", "length")

    def __init__(self, length: int) -> None:
        self.length = length
        self.data = bytearray()
        self.done = length <= 0

    def feed(self, buf: bytes, start: int) -> int:
        """Takes what is still missing, if the buffer has it."""
        end = min(len(buf), start + self.length - len(self.data))
        self.data += buf[start:end]
        self.done = len(self.data) == self.length
        return end


class ChunkedBody:
    """A chunked body of at most `limit` bytes; extensions and trailers are checked and dropped.

    >>> body = ChunkedBody(100)
    >>> body.feed(b"5\\r\\nhello\\r\\n0\\r\\n\\r\\n", 0), body.done, bytes(body.data)
    (15, True, b'hello')
    """

    __slots__ = ("_left", "_next", "_trailer_bytes", "_trailer_lines", "data", "done", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.data = bytearray()
        self.done = False
        self._left = 0
        self._next = self._size_line
        self._trailer_lines = 0
        self._trailer_bytes = 0

    def feed(self, buf: bytes, start: int) -> int:
        """Takes all complete elements; an incomplete line or CRLF stays in the buffer.

        Raises WireError (400, 413, 431).
        """
        while not self.done:
            end = self._next(buf, start)
            if end < 0:
                break
            start = end
        return start

    def _size_line(self, buf: bytes, start: int) -> int:
        end = _line_end(buf, start, _CHUNK_LINE_LIMIT)
        if end < 0:
            return -1
        line = buf[start:end]
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise _bad(f"expected a chunk size of 1 to 8 hexadecimal digits, got {excerpt(line)}")
        self._left = int(found[1], 16)
        total = len(self.data) + self._left
        if total > self.limit:
            raise too_large(self.limit, total)
        self._next = self._chunk if self._left else self._trailer_line
        return end + 2

    def _chunk(self, buf: bytes, start: int) -> int:
        if start == len(buf):
            return -1
        end = min(len(buf), start + self._left)
        self.data += buf[start:end]
        self._left -= end - start
        if not self._left:
            self._next = self._chunk_end
        return end

    def _chunk_end(self, buf: bytes, start: int) -> int:
        end = buf[start : start + 2]
        if not b"\r\n".startswith(end):
            raise _bad(f"expected CRLF after the chunk's data, got {excerpt(end)}")
        if len(end) < 2:
            return -1
        self._next = self._size_line
        return start + 2

    def _trailer_line(self, buf: bytes, start: int) -> int:
        end = _line_end(buf, start, _TRAILER_BYTES)
        if end < 0:
            return -1
        line = buf[start:end]
        if not line:
            self.done = True
            return end + 2
        self._trailer_lines += 1
        self._trailer_bytes += len(line)
        if self._trailer_lines > _TRAILER_LINES or self._trailer_bytes > _TRAILER_BYTES:
            raise WireError(
                431,
                "trailers-too-long",
                f"expected trailers of at most {_TRAILER_LINES} lines and {_TRAILER_BYTES} bytes",
            )
        if _TRAILER_FIELD.fullmatch(line) is None:
            raise _bad(f"expected 'name: value' as a trailer, got {excerpt(line)}")
        return end + 2


def _line_end(buf: bytes, start: int, limit: int) -> int:
    """Where the CRLF of the line at `start` is, or -1 while it has not come."""
    end = buf.find(b"\r\n", start, start + limit + 2)
    if end < 0 and len(buf) - start > limit + 1:
        raise _bad(f"expected a CRLF within {limit} bytes of {excerpt(buf[start:])}")
    lone = buf.find(b"\n", start, end if end >= 0 else start + limit + 2)
    if lone >= 0:
        raise _bad("a line of the chunked body ends in a bare LF")
    return end


def too_large(limit: int, got: int) -> WireError:
    """The answer to a body of `got` bytes where `limit` are accepted."""
    return WireError(
        413, "value-too-large", f"expected a body of at most {limit} bytes, got {got} announced"
    )


def _bad(detail: str) -> WireError:
    return WireError(400, "bad-chunk", detail)
