"""Keys in order over HTTP: pages, streams, counting, and deleting by prefix.

The store gives a page as one list; here keys come from its iterator and values one at a time, so
that what is held is bounded in bytes and not only in number. Long work is done in turns of the
event loop: a page in a few, a deletion in one for each few hundred keys, a stream in one for each
piece that the client has taken. A key that is there all the time comes exactly once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any
from urllib.parse import quote_from_bytes

from dumbkv import Store
from dumbkv_http._json import answer, as_json, member
from dumbkv_http.response import (
    JSON_LINES,
    Deferred,
    ProblemError,
    Response,
    Streamed,
    field_line,
)
from dumbkv_http.wire import LINE_LIMIT, Request

__all__ = ["PAGE_BYTES", "count", "delete_prefix", "scan"]

PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of keys and values in a page, at most; but one item always fits."""

_DEFAULT_LIMIT = 1000
_TURN_BYTES = 32 * 1024  # Of keys and values read in one turn of the loop...
_TURN_ITEMS = 500  # ...and how many items: about a millisecond's work.
_RANGE = (b"prefix", b"start", b"end", b"after", b"reverse")
_NDJSON = b"application/x-ndjson"
_STREAM_LINES = (
    b"Content-Type: " + _NDJSON + b"\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-store\r\n"
)

Parameters = dict[bytes, Any]
Item = tuple[bytes, bytes | None]


def scan(store: Store, request: Request, path: bytes, parameters: Parameters) -> Response:
    """A page of items in order, or all of them as a stream when Accept asks for one."""
    accept = (request.fields.get(b"accept") or b"").lower()
    if any(each.partition(b";")[0].strip() == _NDJSON for each in accept.split(b",")):
        if b"limit" in parameters:
            raise ProblemError(400, "bad-parameter", "a stream has no limit: read what you need")
        return Streamed(_STREAM_LINES, _stream(_items(store, parameters)))
    return Deferred(_page(store, path, parameters))


def count(store: Store, parameters: Parameters) -> Response:
    """How many keys there are under a prefix."""
    return answer({"count": store.count(parameters.get(b"prefix", b""))})


def delete_prefix(store: Store, parameters: Parameters) -> Response:
    """Deletes all keys under a prefix, which has to be named; an empty one is all keys at once."""
    prefix = parameters[b"prefix"]
    if prefix:
        return Deferred(_delete(store, prefix))
    there = len(store)
    store.clear()
    return answer({"deleted": there})


def _items(store: Store, parameters: Parameters) -> Iterator[Item]:
    """The items of a range; a key that goes away between its turn and its value is left out."""
    keys = store.scan_keys(
        **{name.decode(): parameters[name] for name in _RANGE if name in parameters}
    )
    if not parameters.get(b"values", True):
        for key in keys:
            yield key, None
        return
    for key in keys:
        value = store.get(key)
        if value is not None:
            yield key, value


def _object(item: Item) -> dict[str, str]:
    key, value = item
    pairs = [member("key", key)]
    if value is not None:
        pairs.append(member("value", value))
    return dict(pairs)


def _page(store: Store, path: bytes, parameters: Parameters) -> Generator[bool, None, Response]:
    limit = parameters.get(b"limit", _DEFAULT_LIMIT)
    texts: list[bytes] = []
    size = turn = 0
    last = b""
    cursor: bytes | None = None
    for n, item in enumerate(_items(store, parameters)):
        length = len(item[0]) + len(item[1] or b"")
        if texts and (len(texts) == limit or size + length > PAGE_BYTES):
            cursor = last
            break
        texts.append(as_json(_object(item)))
        last = item[0]
        size += length
        if size - turn > _TURN_BYTES or n % _TURN_ITEMS == _TURN_ITEMS - 1:
            turn = size
            yield True
    lines = JSON_LINES
    after = b'"next":null'
    if cursor is not None:
        after = as_json(dict([member("next", cursor)]))[1:-1]
        lines += _link(path, {**parameters, b"after": cursor})
    return Response(200, lines, b'{"items":[%b],%b}\n' % (b",".join(texts), after))


def _link(path: bytes, parameters: Parameters) -> bytes:
    """The Link to the next page, unless it would be too long for a request line."""
    pairs = []
    for name, value in parameters.items():
        text = value if isinstance(value, bytes) else str(value).lower().encode()
        pairs.append(f"{name.decode()}={quote_from_bytes(text, safe='')}")
    target = f"{path.decode('ascii')}?{'&'.join(pairs)}"
    if len(target) > LINE_LIMIT - len("GET  HTTP/1.1"):
        return b""
    return field_line("Link", f'<{target}>; rel="next"')


def _stream(items: Iterator[Item]) -> Generator[bytes, None, None]:
    lines: list[bytes] = []
    size = 0
    for item in items:
        line = as_json(_object(item))
        lines.append(line)
        size += len(line) + 1
        if size > _TURN_BYTES or len(lines) == _TURN_ITEMS:
            lines.append(b"")
            yield b"\n".join(lines)
            lines.clear()
            size = 0
    if lines:
        lines.append(b"")
        yield b"\n".join(lines)


def _delete(store: Store, prefix: bytes) -> Generator[bool, None, Response]:
    keys = store.scan_keys(prefix=prefix)
    deleted = 0
    while some := list(islice(keys, _TURN_ITEMS)):
        deleted += store.delete_many(some)
        if len(some) == _TURN_ITEMS:
            yield True
    return answer({"deleted": deleted})
