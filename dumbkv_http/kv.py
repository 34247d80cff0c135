"""GET, HEAD, PUT and DELETE of one key.

A precondition is decided by the store and not by looking first: the handlers read an entry, check
the fields against it, and then write on the condition that the entry is still that one (or still
absent). When it is not, they look again. So a 412 was true at one instant, and so was a write.
"""

from __future__ import annotations

from dumbkv import Store
from dumbkv_http.conditions import holds
from dumbkv_http.keys import key_from_path, parse_ttl
from dumbkv_http.response import ProblemError, Response, http_date
from dumbkv_http.wire import Fields, Request, excerpt

__all__ = ["VALUE_LINES", "check_put", "delete", "get", "not_found", "put"]

# Values are inert: octet-stream and nosniff keep a browser from running one as a page.
VALUE_LINES = (
    b"Content-Type: application/octet-stream\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-cache\r\n"
    b'ETag: "%d"\r\n'
    b"Last-Modified: %b\r\n"
)
"""The header lines of a value, but for its length: format with version and date."""
_ETAG_LINE = b'ETag: "%d"\r\n'


def get(store: Store, request: Request, path: bytes, now: int) -> Response:
    """200 with the value, 304 when If-None-Match names it, 404, or 412 after If-Match.

    `now` (epoch seconds) keeps Last-Modified from lying in the future. If-Modified-Since is not
    evaluated: one second is too coarse to say that nothing changed.
    """
    entry = store.entry(_checked_key(store, path))
    fields = request.fields
    if fields.if_match is not None or fields.if_none_match is not None:
        match, unmatched = holds(fields, entry)
        if not match:
            raise _precondition_failed()
        if not unmatched and entry is not None:
            return Response(304, _ETAG_LINE % entry.version)
    if entry is None:
        raise not_found()
    version = entry.version
    written = version // 1_000_000
    return Response(
        200,
        VALUE_LINES % (version, http_date(written if written < now else now)),
        entry.value,
    )


def put(store: Store, request: Request, path: bytes, parameters: dict[bytes, bytes]) -> Response:
    """201 for a new key, 204 for a replaced value, 412; the ETag names what was written."""
    key, ttl = check_put(store, request, path, parameters)
    fields = request.fields
    if not fields.has_body and fields.length < 0:
        raise ProblemError(
            411,
            "length-required",
            "expected Content-Length or a chunked body; an empty value needs Content-Length: 0",
        )
    value = request.body
    conditional = fields.if_match is not None or fields.if_none_match is not None
    while True:
        if not conditional:
            version = store.set(key, value, ttl=ttl, nx=True)
            if version is not None:
                return Response(201, _ETAG_LINE % version)
            version = store.set(key, value, ttl=ttl, xx=True)
            if version is not None:
                return Response(204, _ETAG_LINE % version)
            continue
        entry = store.entry(key)
        if not all(holds(fields, entry)):
            raise _precondition_failed()
        if entry is None:
            version = store.set(key, value, ttl=ttl, nx=True)
        else:
            version = store.set(key, value, ttl=ttl, if_version=entry.version)
        if version is not None:
            return Response(201 if entry is None else 204, _ETAG_LINE % version)


def delete(store: Store, request: Request, path: bytes) -> Response:
    """204 whether or not there was anything to delete, 412 when a precondition fails."""
    key = _checked_key(store, path)
    fields = request.fields
    _refuse_date_condition(fields)
    if fields.if_match is None and fields.if_none_match is None:
        store.delete(key)
        return Response(204)
    while True:
        entry = store.entry(key)
        if not all(holds(fields, entry)):
            raise _precondition_failed()
        if entry is None or store.delete(key, if_version=entry.version):
            return Response(204)


def check_put(
    store: Store, request: Request, path: bytes, parameters: dict[bytes, bytes]
) -> tuple[bytes, float | None]:
    """Key and ttl of a PUT, from its head alone: what can be refused before the body is read."""
    text = parameters.get(b"ttl")
    ttl = None if text is None else parse_ttl(text)
    key = _checked_key(store, path)
    fields = request.fields
    _refuse_date_condition(fields)
    if fields.get(b"content-range") is not None:
        # RFC 9110 section 14.5: a partial PUT must not be taken for a whole one.
        raise ProblemError(400, "partial-put", "expected a whole value, got a Content-Range")
    coding = fields.get(b"content-encoding")
    if coding is not None and coding.lower() != b"identity":
        raise ProblemError(
            415,
            "content-encoding",
            "values are stored and served byte for byte and their coding is not kept: "
            f"expected no Content-Encoding, got {excerpt(coding)}",
        )
    return key, ttl


def _checked_key(store: Store, path: bytes) -> bytes:
    key = key_from_path(path)
    if not 0 < len(key) <= store.max_key:
        if not key:
            raise ProblemError(400, "empty-key", "expected a key of at least 1 byte in the path")
        raise ProblemError(
            414,
            "key-too-long",
            f"expected a key of at most {store.max_key} bytes, got {len(key)}",
        )
    return key


def _refuse_date_condition(fields: Fields) -> None:
    if fields.get(b"if-unmodified-since") is not None:
        raise ProblemError(
            400,
            "date-condition",
            "If-Unmodified-Since cannot protect a write, a second is too coarse: "
            "send If-Match with the ETag instead",
        )


def not_found() -> ProblemError:
    """The answer for an absent key."""
    return ProblemError(404, "key-not-found", "no value is stored under this key")


def _precondition_failed() -> ProblemError:
    return ProblemError(
        412,
        "precondition-failed",
        "the current value is not the one that If-Match or If-None-Match asks for",
    )
