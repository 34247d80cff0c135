"""What there is for one key: GET, HEAD, PUT and DELETE, its expiry, and counting.

A precondition is decided by the store and not by looking first: the handlers read an entry, check
the fields against it, and then write on the condition that the entry is still that one (or still
absent). When it is not, they look again. So a 412 was true at one instant, and so was a write.
"""

from __future__ import annotations

from typing import Any

from dumbkv import NotAnIntegerError, Store
from dumbkv_http._json import answer
from dumbkv_http.conditions import holds
from dumbkv_http.response import ProblemError, Response, http_date
from dumbkv_http.wire import Fields, Request, excerpt

__all__ = [
    "ETAG_LINE",
    "EXPIRES_LINE",
    "VALUE_LINES",
    "check_put",
    "checked",
    "delete",
    "expiry",
    "get",
    "incr",
    "not_found",
    "persist",
    "put",
    "refuse_coding",
    "require_body",
    "touch",
]

Parameters = dict[bytes, Any]

# Values are inert: octet-stream and nosniff keep a browser from running one as a page.
VALUE_LINES = (
    b"Content-Type: application/octet-stream\r\n"
    b"X-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: no-cache\r\n"
    b'ETag: "%d"\r\n'
    b"Last-Modified: %b\r\n"
)
"""The header lines of a value, but for its length: format with version and date."""
EXPIRES_LINE = b"DumbKV-Expires-At: %r\r\n"
"""The header line of a value that expires, in seconds since 1970."""
ETAG_LINE = b'ETag: "%d"\r\n'
"""The header line of a version."""


def get(store: Store, request: Request, key: bytes, now: int) -> Response:
    """200 with the value, 304 when If-None-Match names it, 404, or 412 after If-Match.

    `now` (epoch seconds) keeps Last-Modified from lying in the future. If-Modified-Since is not
    evaluated: one second is too coarse to say that nothing changed.
    """
    entry = store.entry(key)
    fields = request.fields
    if fields.if_match is not None or fields.if_none_match is not None:
        match, unmatched = holds(fields, entry)
        if not match:
            raise _precondition_failed()
        if not unmatched and entry is not None:
            return Response(304, ETAG_LINE % entry.version)
    if entry is None:
        raise not_found()
    version = entry.version
    written = version // 1_000_000
    lines = VALUE_LINES % (version, http_date(written if written < now else now))
    if entry.expires_at is not None:
        lines += EXPIRES_LINE % entry.expires_at
    return Response(200, lines, entry.value)


def put(store: Store, request: Request, key: bytes, parameters: Parameters) -> Response:
    """201 for a new key, 204 for a replaced value, 412; the ETag names what was written."""
    check_put(request, parameters)
    fields = request.fields
    require_body(fields)
    value = request.body
    conditional = fields.if_match is not None or fields.if_none_match is not None
    expiry = {name.decode(): given for name, given in parameters.items()}
    while True:
        if not conditional:
            version = store.set(key, value, **expiry, nx=True)
            if version is not None:
                return Response(201, ETAG_LINE % version)
            version = store.set(key, value, **expiry, xx=True)
            if version is not None:
                return Response(204, ETAG_LINE % version)
            continue
        entry = store.entry(key)
        if not all(holds(fields, entry)):
            raise _precondition_failed()
        if entry is None:
            version = store.set(key, value, **expiry, nx=True)
        else:
            version = store.set(key, value, **expiry, if_version=entry.version)
        if version is not None:
            return Response(201 if entry is None else 204, ETAG_LINE % version)


def delete(store: Store, request: Request, key: bytes) -> Response:
    """204 whether or not there was anything to delete, 412 when a precondition fails."""
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


def expiry(store: Store, key: bytes) -> Response:
    """How many seconds a key has left; null when it does not expire."""
    try:
        return answer({"ttl": store.ttl(key)})
    except KeyError:
        raise not_found() from None


def touch(store: Store, key: bytes, parameters: Parameters) -> Response:
    """Gives a key another expiry; says whether it was there."""
    ttl, expire_at = parameters.get(b"ttl"), parameters.get(b"expire_at")
    if (ttl is None) == (expire_at is None):
        raise ProblemError(400, "bad-parameter", "expected either ttl or expire_at")
    return answer({"touched": store.touch(key, ttl, expire_at=expire_at)})


def persist(store: Store, key: bytes) -> Response:
    """Takes a key's expiry off; says whether it had one."""
    return answer({"persisted": store.persist(key)})


def incr(store: Store, key: bytes, parameters: Parameters) -> Response:
    """Adds to the integer at a key; the sum."""
    try:
        return answer(
            {"value": store.incr(key, parameters.get(b"by", 1), ttl=parameters.get(b"ttl"))}
        )
    except NotAnIntegerError as error:
        raise ProblemError(409, "not-an-integer", str(error)) from None
    except OverflowError as error:
        raise ProblemError(409, "overflow", str(error)) from None


def check_put(request: Request, parameters: Parameters) -> None:
    """What of a PUT can be refused before the body is read."""
    if len(parameters) > 1 and sum(given is not False for given in parameters.values()) > 1:
        raise ProblemError(
            400, "bad-parameter", "expected at most one of ttl, expire_at and keep_ttl"
        )
    fields = request.fields
    _refuse_date_condition(fields)
    if fields.get(b"content-range") is not None:
        # RFC 9110 section 14.5: a partial PUT must not be taken for a whole one.
        raise ProblemError(400, "partial-put", "expected a whole value, got a Content-Range")
    refuse_coding(fields)


def refuse_coding(fields: Fields) -> None:
    """415 for a body that says it is compressed."""
    coding = fields.get(b"content-encoding")
    if coding is not None and coding.lower() != b"identity":
        raise ProblemError(
            415,
            "content-encoding",
            "bodies are taken byte for byte and their coding is not kept: "
            f"expected no Content-Encoding, got {excerpt(coding)}",
        )


def require_body(fields: Fields) -> None:
    """411 for a request whose body was not announced."""
    if not fields.has_body and fields.length < 0:
        raise ProblemError(
            411,
            "length-required",
            "expected Content-Length or a chunked body; an empty one needs Content-Length: 0",
        )


def checked(store: Store, key: bytes) -> bytes:
    """The key, if the store could hold it."""
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
