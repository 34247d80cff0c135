"""The common case in one pass: a GET or PUT of one key, kept alive, with fields seen before.

Theory of operation: a client sends the same field block with each of its requests. Once the
general path has parsed a block and found that it asks for nothing special (right Host, no body,
no precondition, no Origin, nothing about the connection), the block is remembered. A buffer that
is `GET /v1/kv/` + key + ` HTTP/1.1 CRLF` + a remembered block, and nothing else, can only be read
in one way, so it is answered without parsing the block again. A key with an escape, a query or
a dot segment is left to the general path, and so is everything that is not exactly this. A PUT
is the same with its value behind the block, in the same buffer: a client that puts values of one
size repeats its Content-Length with the rest, and each block is remembered with the length in it.

A token is part of the block. A block is remembered only after the general path has accepted its
token, and the server forgets all blocks when the tokens change; a block that differs in one byte
is another block, found by a keyed hash, so no time tells how much of a token was right.

The answer is byte for byte the one the general path gives; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable

from dumbkv_http.app import App
from dumbkv_http.kv import ETAG_LINE, EXPIRES_LINE, VALUE_LINES, not_found
from dumbkv_http.response import Response, http_date, render
from dumbkv_http.wire import LINE_LIMIT, Request

__all__ = ["Plain"]

_START = b"GET /v1/kv/"
_PUT = b"PUT /v1/kv/"  # As long as the other.
_HEAD_END = b"\r\n\r\n"
_END = b" HTTP/1.1\r\n"
_KEY_BYTES = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+,;=:@/"
_HEAD = b"HTTP/1.1 200 OK\r\nDate: %b\r\n" + VALUE_LINES
_REST = b"Content-Length: %d\r\n\r\n%b"
_FOUND = _HEAD + _REST
_FOUND_EXPIRING = _HEAD + EXPIRES_LINE + _REST
_CREATED = render(Response(201, ETAG_LINE), b"%b")
_REPLACED = render(Response(204, ETAG_LINE), b"%b")
_PUT_ALONE = (b"content-encoding", b"content-range", b"if-unmodified-since")
_GOT, _PUT_OVER = ("GET", "kv", 200), ("PUT", "kv", 204)
_BLOCK_LIMIT = 1024
_BLOCKS = 512


class Plain:
    """Answers plain requests to one App; `learn` is told what the general path answered."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._blocks: dict[bytes, int] = {}
        self._puts: dict[bytes, int] = {}
        self.answer = self._answerer()

    def learn(self, buf: bytes, request: Request, response: Response) -> None:
        """Remembers the fields of `request`, which fills `buf`, if they ask for nothing special."""
        fields = request.fields
        if (
            response.handler != "kv"
            or not (request.http11 and request.keep_alive)
            or fields.chunked
            or not (fields.expect is fields.if_match is fields.if_none_match is None)
            or not (fields.origin is fields.sec_fetch_site is None)
        ):
            return
        start = buf.index(b"\r\n", 2) + 2
        # From these statuses it is known that the Host was accepted, and the token.
        if request.method == "GET" and response.status == 200 and fields.length < 0:
            self._remember(buf[start:], 0)
        elif (
            request.method == "PUT"
            and self._app.holding is None  # else its answer may have to wait
            and response.status in (201, 204)
            and fields.length > 0
            and not any(name in fields.values for name in _PUT_ALONE)
        ):
            self._remember(buf[start : request.end], fields.length)

    def _remember(self, block: bytes, length: int) -> None:
        if len(block) <= _BLOCK_LIMIT:
            blocks = self._puts if length else self._blocks
            if len(blocks) >= _BLOCKS:
                blocks.clear()
            blocks[block] = length

    def forget(self) -> None:
        """Forgets all that was learnt, because what is accepted has changed."""
        self._blocks.clear()
        self._puts.clear()

    def _answerer(self) -> Callable[[bytes, bytes, int], bytes | None]:
        # A closure: names it uses for every request are locals, which is measurable here.
        app = self._app
        blocks = self._blocks
        count = app.metrics.count
        answers = app.metrics.requests  # With all of a kv route's answers in it from the start.
        entry_of = app.store.entry
        start = len(_START)
        longest = min(start + app.store.max_key, LINE_LIMIT - len(b" HTTP/1.1"))
        end = len(_END)

        puts = self._puts
        set_value = app.store.set

        def put(buf: bytes, date: bytes) -> bytes | None:
            stop = buf.find(_END, start)
            body = buf.find(_HEAD_END, stop) + 4
            length = puts.get(buf[stop + end : body])
            if (
                length is None
                or len(buf) - body != length
                or not start < stop <= longest
                or buf.find(b"/.", start - 1, stop) >= 0
                or app.draining
            ):
                return None
            key = buf[start:stop]
            if key.translate(None, _KEY_BYTES):
                return None
            value = buf[body:]
            try:
                while True:
                    version = set_value(key, value, xx=True)
                    if version is not None:
                        answers[_PUT_OVER] += 1
                        return _REPLACED % (date, version)
                    version = set_value(key, value, nx=True)
                    if version is not None:
                        count("PUT", "kv", 201)
                        return _CREATED % (date, version)
            except Exception:
                return None  # Nothing was written; the general path will meet the same error.

        def answer(buf: bytes, date: bytes, now: int) -> bytes | None:
            """The rendered answer to `buf`, or None: then it is not a plain GET."""
            if not buf.startswith(_START):
                return put(buf, date) if buf.startswith(_PUT) else None
            stop = buf.find(_END, start)
            if (
                not start < stop <= longest
                or buf[stop + end :] not in blocks
                or buf.find(b"/.", start - 1, stop) >= 0
                or app.draining
            ):
                return None
            key = buf[start:stop]
            if key.translate(None, _KEY_BYTES):
                return None
            try:
                entry = entry_of(key)
            except Exception:
                return None  # The general path will meet the same error, and knows what to say.
            if entry is None:
                count("GET", "kv", 404)
                return render(not_found().response(), date)
            _, value, version, expires_at = entry
            answers[_GOT] += 1
            written = version // 1_000_000
            modified = http_date(written if written < now else now)
            if expires_at is not None:
                return _FOUND_EXPIRING % (date, version, modified, expires_at, len(value), value)
            return _FOUND % (date, version, modified, len(value), value)

        return answer
