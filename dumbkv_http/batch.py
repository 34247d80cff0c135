"""Many keys in one request: changes that are done all or not at all, and reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dumbkv import Batch, ConflictError, NotAnIntegerError, Store, TooLargeError
from dumbkv_http._json import (
    Members,
    answer,
    as_json,
    bad,
    check_object,
    data_of,
    from_base64,
    from_text,
    member,
    number,
    parse_object,
    shown,
)
from dumbkv_http.kv import refuse_coding, require_body
from dumbkv_http.response import JSON_LINES, ProblemError, Response
from dumbkv_http.wire import Request, excerpt

__all__ = ["MOST_KEYS", "batch", "check_json", "mget"]

MOST_KEYS = 10_000
"""Checks and operations in a batch, or keys in an mget."""
MGET_BYTES = 8 * 1024 * 1024
"""Bytes of the values that an mget gives."""

_KEY = ("key", "key_b64")
_MEMBERS = {
    "set": ("op", *_KEY, "value", "value_b64", "ttl", "expire_at", "keep_ttl"),
    "delete": ("op", *_KEY),
    "incr": ("op", *_KEY, "by", "ttl"),
}
_RESULTS = {"set": "version", "delete": "deleted", "incr": "value"}


def check_json(request: Request) -> None:
    """What can be refused of a request with a JSON body before the body is read."""
    fields = request.fields
    kind = (fields.get(b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()
    if kind != b"application/json":
        # A page of another site can send a form without asking first, and JSON it cannot.
        raise ProblemError(
            415, "content-type", f"expected Content-Type application/json, got {excerpt(kind)}"
        )
    refuse_coding(fields)


def batch(store: Store, request: Request) -> Response:
    """Checks and changes in one step, or none of them: 409 when a check fails."""
    document = _document(request, ("checks", "ops"))
    checks, operations = _list(document, "checks"), _list(document, "ops")
    _limit(len(checks) + len(operations))
    pending = store.batch()
    with _refused("checks"):
        for n, check in enumerate(checks):
            _check(pending, check, f"checks[{n}]")
    names = []
    for n, operation in enumerate(operations):
        what = f"ops[{n}]"
        with _refused(what):
            names.append(_note(pending, operation, what))
    try:
        with pending:
            pass  # All is noted already; the end of the block does it.
    except ConflictError as error:
        name, text = member("key", error.key)
        raise ProblemError(409, "conflict", str(error), more={name: text}) from None
    except NotAnIntegerError as error:
        raise ProblemError(409, "not-an-integer", str(error)) from None
    except OverflowError as error:
        raise ProblemError(409, "overflow", str(error)) from None
    results = zip(names, pending.results, strict=True)
    return answer({"results": [{_RESULTS[name]: result} for name, result in results]})


def mget(store: Store, request: Request) -> Response:
    """The values of many keys, read in one step; keys that are absent are left out."""
    document = _document(request, ("keys", "keys_b64"))
    keys = [from_text(each, "keys") for each in _list(document, "keys")]
    keys += [from_base64(each, "keys_b64") for each in _list(document, "keys_b64")]
    _limit(len(keys))
    for key in keys:
        if not 0 < len(key) <= store.max_key:
            raise bad(f"expected keys of 1 to {store.max_key} bytes, got one of {len(key)}")
    keys = list(dict.fromkeys(keys))
    # One look at each first: all at once could be gigabytes.
    size = 0
    for key in keys:
        size += len(store.get(key, b""))
        if size > MGET_BYTES:
            raise ProblemError(
                413,
                "answer-too-large",
                f"the values have more than {MGET_BYTES} bytes together: ask for fewer keys",
            )
    found = store.get_many(keys)
    texts = [as_json(dict([member("key", k), member("value", v)])) for k, v in found.items()]
    return Response(200, JSON_LINES, b'{"items":[%b]}\n' % b",".join(texts))


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Makes of what the store says of an argument an answer that says where it was."""
    try:
        yield
    except TooLargeError as error:
        raise ProblemError(413, "value-too-large", f"{what}: {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise bad(f"{what}: {error}") from None


def _check(pending: Batch, given: object, what: str) -> None:
    check = check_object(given, (*_KEY, "version"), what)
    if "version" not in check:
        raise bad(f"expected {what} to have a version, or null for a key that has to be absent")
    pending.check(data_of(check, "key", what), check["version"])


def _note(pending: Batch, given: object, what: str) -> str:
    name = given.get("op") if isinstance(given, dict) else None
    if not isinstance(name, str) or name not in _MEMBERS:
        raise bad(f"expected {what} to have op set, delete or incr, got {shown(given)}")
    operation = check_object(given, _MEMBERS[name], what)
    key = data_of(operation, "key", what)
    if name == "delete":
        pending.delete(key)
    elif name == "incr":
        pending.incr(key, operation.get("by", 1), ttl=number(operation, "ttl", what))
    else:
        keep_ttl = operation.get("keep_ttl", False)
        if not isinstance(keep_ttl, bool):
            raise bad(f"expected keep_ttl of {what} to be true or false, got {shown(keep_ttl)}")
        pending.set(
            key,
            data_of(operation, "value", what),
            ttl=number(operation, "ttl", what),
            expire_at=number(operation, "expire_at", what),
            keep_ttl=keep_ttl,
        )
    return name


def _document(request: Request, known: tuple[str, ...]) -> Members:
    check_json(request)
    require_body(request.fields)
    return parse_object(request.body, known)


def _list(document: Members, name: str) -> list[Any]:
    found = document.get(name, [])
    if not isinstance(found, list):
        raise bad(f"expected {name} to be a list, got {shown(found)}")
    return found


def _limit(length: int) -> None:
    if length > MOST_KEYS:
        raise ProblemError(
            413, "too-many-keys", f"expected at most {MOST_KEYS} keys in one request, got {length}"
        )
