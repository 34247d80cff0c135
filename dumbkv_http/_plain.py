"""The common case in one pass: a GET of one key, kept alive, with fields seen before.

Theory of operation: a client sends the same field block with each of its requests. Once the
general path has parsed a block and found that it asks for nothing special (right Host, no body,
no precondition, no Origin, nothing about the connection), the block is remembered. A buffer that
is `GET /v1/kv/` + key + ` HTTP/1.1 CRLF` + a remembered block, and nothing else, can only be read
in one way, so it is answered without parsing the block again. A key with an escape, a query or
a dot segment is left to the general path, and so is everything that is not exactly this.

A token is part of the block. A block is remembered only after the general path has accepted its
token, and the server forgets all blocks when the tokens change; a block that differs in one byte
is another block, found by a keyed hash, so no time tells how much of a token was right.

The answer is byte for byte the one the general path gives; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable

from dumbkv_http.app import App
from dumbkv_http.kv import EXPIRES_LINE, VALUE_LINES, not_found
from dumbkv_http.response import Response, http_date, render
from dumbkv_http.wire import LINE_LIMIT, Request

__all__ = ["PlainGets"]

_START = b"GET /v1/kv/"
_END = b" HTTP/1.1\r\n"
_KEY_BYTES = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~!$&'()*+,;=:@/"
_HEAD = b"HTTP/1.1 200 OK\r\nDate: %b\r\n" + VALUE_LINES
_REST = b"Content-Length: %d\r\n\r\n%b"
_FOUND = _HEAD + _REST
_FOUND_EXPIRING = _HEAD + EXPIRES_LINE + _REST
_BLOCK_LIMIT = 1024
_BLOCKS = 512


class PlainGets:
    """Answers plain GETs for one App; `learn` is told what the general path answered."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._blocks: set[bytes] = set()
        self.answer = self._answerer()

    def learn(self, buf: bytes, request: Request, response: Response) -> None:
        """Remembers the fields of `request`, which fills `buf`, if they ask for nothing special."""
        fields = request.fields
        if (
            response.status == 200  # So the Host was accepted.
            and response.handler == "kv"
            and request.http11
            and request.keep_alive
            and fields.length < 0
            and not fields.chunked
            and fields.expect is fields.if_match is fields.if_none_match is None
            and fields.origin is fields.sec_fetch_site is None
        ):
            block = buf[buf.index(b"\r\n", 2) + 2 :]
            if len(block) <= _BLOCK_LIMIT:
                if len(self._blocks) >= _BLOCKS:
                    self._blocks.clear()
                self._blocks.add(block)

    def forget(self) -> None:
        """Forgets all that was learnt, because what is accepted has changed."""
        self._blocks.clear()

    def _answerer(self) -> Callable[[bytes, bytes, int], bytes | None]:
        # A closure: names it uses for every request are locals, which is measurable here.
        app = self._app
        blocks = self._blocks
        count = app.metrics.count
        entry_of = app.store.entry
        start = len(_START)
        longest = min(start + app.store.max_key, LINE_LIMIT - len(b" HTTP/1.1"))
        end = len(_END)

        def answer(buf: bytes, date: bytes, now: int) -> bytes | None:
            """The rendered answer to `buf`, or None: then it is not a plain GET."""
            if not buf.startswith(_START):
                return None
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
            count("GET", "kv", 200)
            written = version // 1_000_000
            modified = http_date(written if written < now else now)
            if expires_at is not None:
                return _FOUND_EXPIRING % (date, version, modified, expires_at, len(value), value)
            return _FOUND % (date, version, modified, len(value), value)

        return answer
