"""What there is: the one table of paths, methods, parameters, bodies and answers.

The application finds its handlers here, the metrics the answers that start at 0, and openapi.json
everything it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import dumbkv
from dumbkv_http import batch, kv, openapi, scan
from dumbkv_http._json import answer
from dumbkv_http.keys import key_from_base64, key_from_path
from dumbkv_http.metrics import METHODS
from dumbkv_http.parameters import (
    AFTER,
    BY,
    END,
    EXPIRE_AT,
    KEEP_TTL,
    LIMIT,
    PREFIX,
    REVERSE,
    SINCE,
    START,
    TTL,
    VALUES,
    Parameter,
    required,
)
from dumbkv_http.response import JSON_LINES, ProblemError, Response, field_line
from dumbkv_http.wire import Request

if TYPE_CHECKING:
    from dumbkv_http.app import App

__all__ = [
    "KNOWN_METHODS",
    "NOWHERE",
    "ROUTES",
    "TIMED",
    "Method",
    "Route",
    "find",
    "possible_answers",
]

Parameters = dict[bytes, Any]
Handler = Callable[["App", Request, bytes, Parameters, int], Response]


@dataclass(frozen=True)
class Method:
    """What answers one method of a route, and with which statuses besides `ANYWHERE`.

    `takes` and `gives` name schemas of openapi.json. `check` is for methods that take a body: it
    raises what is wrong with the head alone. `reads` says that a method other than GET and HEAD
    changes nothing, so that a read-only token is enough for it.
    """

    answer: Handler
    statuses: tuple[int, ...]
    summary: str
    parameters: tuple[Parameter, ...] = ()
    gives: str | None = None
    takes: str | None = None
    check: Callable[[Request, Parameters], None] | None = None
    reads: bool = False
    known: dict[bytes, Parameter] = field(init=False)
    needed: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", {each.name: each for each in self.parameters})
        needed = tuple(each.name for each in self.parameters if each.required)
        object.__setattr__(self, "needed", needed)


class Route(NamedTuple):
    """A path, the metrics' label, the methods.

    A path that ends in `/` stands for all below it, and `key` makes a key of what follows.
    """

    path: bytes
    handler: str
    methods: dict[str, Method]
    key: Callable[[bytes], bytes] | None = None


def _get(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.get(app.store, request, key, now)


def _put(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.put(app.store, request, key, query)


def _delete(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.delete(app.store, request, key)


def _incr(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.incr(app.store, key, query)


def _touch(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.touch(app.store, key, query)


def _expiry(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.expiry(app.store, key)


def _persist(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return kv.persist(app.store, key)


def _scan(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return scan.scan(app.store, request, b"/v1/scan", query)


def _delete_prefix(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return scan.delete_prefix(app.store, query)


def _count(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return scan.count(app.store, query)


def _batch(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return batch.batch(app.store, request)


def _mget(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return batch.mget(app.store, request)


def _check_json(request: Request, query: Parameters) -> None:
    batch.check_json(request)


def _watch(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return app.watches.begin(request, query)


def _stats(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    store = app.store
    limits = {"max_key": store.max_key, "max_value": app.max_body}
    about = {"version": dumbkv.__version__, "backend": store.backend, **limits}
    return answer({**about, **store.stats()._asdict()})


def _openapi(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return Response(200, JSON_LINES, _document())


@lru_cache(maxsize=1)
def _document() -> bytes:
    return openapi.document(ROUTES, ANYWHERE)


def _healthz(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return Response(200, _TEXT_LINES, b"ok\n")


def _readyz(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    if app.draining:
        raise ProblemError(503, "draining", "the server is shutting down")
    if app.store.closed:
        raise ProblemError(503, "store-closed", "the store is closed")
    return Response(200, _TEXT_LINES, b"ready\n")


def _status(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    return app.status.answer(app.draining)


def _metrics(app: App, request: Request, key: bytes, query: Parameters, now: int) -> Response:
    accept = (request.fields.get(b"accept") or b"").decode("latin-1")
    content_type, page = app.metrics.page(accept)
    return Response(200, field_line("Content-Type", content_type) + _INERT_LINES, page)


_INERT_LINES = b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
_TEXT_LINES = b"Content-Type: text/plain; charset=utf-8\r\n" + _INERT_LINES

_READ = (200, 304, 404, 412, 414)
_BODY = (408, 411, 413, 415, 431)  # What may come of any body.
_RANGE = (PREFIX, START, END, AFTER, REVERSE)


def _of_one_key(name: str, methods: dict[str, Method]) -> tuple[Route, Route]:
    """Two routes: the key in the path as it is, and in base64url for any bytes at all."""
    path = f"/v1/{name}".encode()
    return (
        Route(path + b"/", "kv", methods, key_from_path),
        Route(path + b"64/", "kv", methods, key_from_base64),
    )


def _both(answer: Handler, summary: str, gives: str) -> dict[str, Method]:
    return {
        "GET": Method(answer, (200,), summary, gives=gives),
        "HEAD": Method(answer, (200,), f"{summary} Without the body."),
    }


ROUTES = (
    *_of_one_key(
        "kv",
        {
            "GET": Method(_get, _READ, "The value of a key.", gives="Value"),
            "HEAD": Method(_get, _READ, "What GET says of a value, without the value."),
            "PUT": Method(
                _put,
                (201, 204, *_BODY, 412, 414, 507),
                "Store a value: 201 for a new key, 204 for one that was there.",
                (TTL, EXPIRE_AT, KEEP_TTL),
                takes="Value",
                check=kv.check_put,
            ),
            "DELETE": Method(_delete, (204, 412, 414, 507), "Delete a key, there or not."),
        },
    ),
    *_of_one_key(
        "incr",
        {
            "POST": Method(
                _incr,
                (200, 409, 414, 415, 507),
                "Add to the integer at a key; an absent one counts as 0 and then gets the ttl.",
                (BY, TTL),
                gives="Sum",
            )
        },
    ),
    *_of_one_key(
        "touch",
        {
            "POST": Method(
                _touch,
                (200, 414, 415, 507),
                "Give a key another expiry, and leave its value and version.",
                (TTL, EXPIRE_AT),
                gives="Touched",
            )
        },
    ),
    *_of_one_key(
        "ttl",
        {
            "GET": Method(
                _expiry, (200, 404, 414), "How long a key has still to live.", gives="Ttl"
            ),
            "DELETE": Method(
                _persist, (200, 414, 507), "Take the expiry off a key.", gives="Persisted"
            ),
        },
    ),
    Route(
        b"/v1/scan",
        "scan",
        {
            "GET": Method(
                _scan,
                (200,),
                "Items in the order of their keys: a page, or with Accept: application/x-ndjson "
                "all of them, a line each.",
                (*_RANGE, LIMIT, VALUES),
                gives="Page",
            ),
            "DELETE": Method(
                _delete_prefix,
                (200, 507),
                "Delete the keys under a prefix.",
                (required(PREFIX),),
                gives="Deleted",
            ),
        },
    ),
    Route(
        b"/v1/count",
        "scan",
        {"GET": Method(_count, (200,), "How many keys there are.", (PREFIX,), gives="Count")},
    ),
    Route(
        b"/v1/batch",
        "batch",
        {
            "POST": Method(
                _batch,
                (200, *_BODY, 409, 507),
                "Checks and changes as one step, or none of them.",
                gives="Results",
                takes="Batch",
                check=_check_json,
            )
        },
    ),
    Route(
        b"/v1/mget",
        "batch",
        {
            "POST": Method(
                _mget,
                (200, *_BODY),
                "The values of many keys, read in one step.",
                gives="Items",
                takes="Keys",
                check=_check_json,
                reads=True,
            )
        },
    ),
    Route(
        b"/v1/watch",
        "watch",
        {
            "GET": Method(
                _watch,
                (200,),
                "What happens to keys, as it happens.",
                (PREFIX, SINCE),
                gives="Events",
            )
        },
    ),
    Route(
        b"/v1/stats",
        "stats",
        {"GET": Method(_stats, (200,), "Counters and limits of the store.", gives="Stats")},
    ),
    Route(
        b"/v1/openapi.json",
        "stats",
        {"GET": Method(_openapi, (200,), "This document.", gives="Document")},
    ),
    Route(b"/healthz", "health", _both(_healthz, "Whether the server lives.", "Text")),
    Route(b"/readyz", "health", _both(_readyz, "Whether it takes requests.", "Text")),
    Route(b"/metrics", "metrics", _both(_metrics, "What Prometheus scrapes.", "Text")),
    # Counted with the probes: a page that is left open should not raise the availability.
    Route(b"/", "health", _both(_status, "How the objectives stand, for people.", "Html")),
)

NOWHERE = Route(b"", "other", {})
"""The route of a path that is not there."""
KNOWN_METHODS = tuple(dict.fromkeys(name for route in ROUTES for name in route.methods))
TIMED = frozenset(each.handler for each in ROUTES if each.path.startswith(b"/v1/")) - {"watch"}
"""The handlers whose answers are in the histogram; those that are streamed never are."""
# What any understood request may be answered: an Origin, Host or Expect that is refused, our own
# failures; and what may meet a request that is not understood, or never comes to its end.
ANYWHERE = (400, 401, 403, 417, 421, 500, 503)
_UNREADABLE = (400, 408, 414, 431)

_BY_PATH = {route.path: route for route in ROUTES}


def find(path: bytes) -> tuple[Route, bytes]:
    """The route for a path, and what of the path follows the route.

    >>> find(b"/v1/kv/a/b")[1], find(b"/v1/scan")[0].handler, find(b"/v1/kv")[0].handler
    (b'a/b', 'scan', 'other')
    """
    end = path.find(b"/", 4) + 1
    if end:
        return _BY_PATH.get(path[:end], NOWHERE), path[end:]
    return _BY_PATH.get(path, NOWHERE), b""


def possible_answers() -> Iterator[tuple[str, str, int]]:
    """Each (method, handler, status) that the service can answer, for metrics that start at 0."""
    for route in (*ROUTES, NOWHERE):
        for name in METHODS:
            method = route.methods.get(name)
            own = method.statuses if method else (405,)
            if route is NOWHERE and name != "OTHER":
                own = (404, 405)
            for status in (*own, *ANYWHERE):
                yield name, route.handler, status
    for status in _UNREADABLE:
        yield "OTHER", NOWHERE.handler, status
