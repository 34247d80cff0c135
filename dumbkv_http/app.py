"""The service without its sockets: a Request goes in, a Response comes out.

`ROUTES` is the one table of what there is: paths, methods, the metrics' label, and each status a
method can answer by itself. Whatever comes out of `App` is an answer; a handler that raises gives
a 500, logged here and never shown to the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dumbkv import ClosedError, Store, StoreFullError
from dumbkv_http import kv
from dumbkv_http.keys import parse_query
from dumbkv_http.metrics import METHODS, HttpMetrics
from dumbkv_http.response import ProblemError, Response, field_line, problem
from dumbkv_http.tokens import Role, Tokens
from dumbkv_http.wire import Request, excerpt, is_address

__all__ = ["MAX_BODY", "ROUTES", "App", "Method", "Route", "possible_answers"]

MAX_BODY = 1024 * 1024
"""Bytes in a request body, unless the App is told otherwise."""

_log = logging.getLogger("dumbkv_http")

Parameters = dict[bytes, bytes]
Handler = Callable[["App", Request, bytes, Parameters, int], Response]


class Method(NamedTuple):
    """What answers one method of a route, and with which statuses besides `_ANYWHERE`.

    `parameters` are the query parameters it knows. `check` is for methods that take a body: it
    raises what is wrong with the head alone. `reads` says that a method other than GET and HEAD
    changes nothing, so that a read-only token is enough for it.
    """

    answer: Handler
    statuses: tuple[int, ...]
    parameters: frozenset[bytes] = frozenset()
    check: Callable[[App, Request, bytes, Parameters], object] | None = None
    reads: bool = False


class Route(NamedTuple):
    """A path (one that ends in `/` stands for all below it), the metrics' label, the methods."""

    path: bytes
    handler: str
    methods: dict[str, Method]


def _get(app: App, request: Request, path: bytes, query: Parameters, now: int) -> Response:
    return kv.get(app.store, request, path, now)


def _put(app: App, request: Request, path: bytes, query: Parameters, now: int) -> Response:
    return kv.put(app.store, request, path, query)


def _check_put(app: App, request: Request, path: bytes, query: Parameters) -> object:
    return kv.check_put(app.store, request, path, query)


def _delete(app: App, request: Request, path: bytes, query: Parameters, now: int) -> Response:
    return kv.delete(app.store, request, path)


def _healthz(app: App, request: Request, path: bytes, query: Parameters, now: int) -> Response:
    return Response(200, _TEXT_LINES, b"ok\n")


def _readyz(app: App, request: Request, path: bytes, query: Parameters, now: int) -> Response:
    if app.draining:
        raise ProblemError(503, "draining", "the server is shutting down")
    if app.store.closed:
        raise ProblemError(503, "store-closed", "the store is closed")
    return Response(200, _TEXT_LINES, b"ready\n")


def _metrics(app: App, request: Request, path: bytes, query: Parameters, now: int) -> Response:
    accept = (request.fields.get(b"accept") or b"").decode("latin-1")
    content_type, page = app.metrics.page(accept)
    return Response(200, field_line("Content-Type", content_type) + _INERT_LINES, page)


_INERT_LINES = b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
_TEXT_LINES = b"Content-Type: text/plain; charset=utf-8\r\n" + _INERT_LINES

_READ = (200, 304, 404, 412, 414)
_WRITE = (201, 204, 408, 411, 412, 413, 414, 415, 431, 507)

ROUTES = (
    Route(
        b"/v1/kv/",
        "kv",
        {
            "GET": Method(_get, _READ),
            "HEAD": Method(_get, _READ),
            "PUT": Method(_put, _WRITE, frozenset((b"ttl",)), _check_put),
            "DELETE": Method(_delete, (204, 412, 414)),
        },
    ),
    Route(
        b"/healthz", "health", {"GET": Method(_healthz, (200,)), "HEAD": Method(_healthz, (200,))}
    ),
    Route(b"/readyz", "health", {"GET": Method(_readyz, (200,)), "HEAD": Method(_readyz, (200,))}),
    Route(
        b"/metrics", "metrics", {"GET": Method(_metrics, (200,)), "HEAD": Method(_metrics, (200,))}
    ),
)

_NOWHERE = Route(b"", "other", {})
_PROBES = frozenset((b"/healthz", b"/readyz"))  # They say nothing worth a token.
_KNOWN_METHODS = tuple(dict.fromkeys(name for route in ROUTES for name in route.methods))
# What any understood request may be answered: an Origin, Host or Expect that is refused, our own
# failures; and what may meet a request that is not understood, or never comes to its end.
_ANYWHERE = (400, 401, 403, 417, 421, 500, 503)
_UNREADABLE = (400, 408, 414, 431)


def possible_answers() -> Iterator[tuple[str, str, int]]:
    """Each (method, handler, status) that the service can answer, for metrics that start at 0."""
    for route in (*ROUTES, _NOWHERE):
        for name in METHODS:
            method = route.methods.get(name)
            own = method.statuses if method else (405,)
            if route is _NOWHERE and name != "OTHER":
                own = (404, 405)
            for status in (*own, *_ANYWHERE):
                yield name, route.handler, status
    for status in _UNREADABLE:
        yield "OTHER", _NOWHERE.handler, status


class App:
    """Answers requests from a store.

    `hosts` are the lower-case host names accepted in Host (None: all), and `any_address` accepts
    every IP address there as well; `max_body` is the limit on a value. With `tokens`, everything
    but the probes needs one, and the metrics unless `open_metrics`. `draining` turns `/readyz` to
    503. `close` stops the metrics; the store stays open.
    """

    def __init__(
        self,
        store: Store,
        *,
        hosts: Iterable[bytes] | None = None,
        any_address: bool = False,
        max_body: int = MAX_BODY,
        tokens: Tokens | None = None,
        open_metrics: bool = False,
    ) -> None:
        self.store = store
        self.max_body = min(max_body, store.max_value)
        self.draining = False
        self.metrics = HttpMetrics(store, possible_answers())
        self.tokens = tokens
        self._hosts = None if hosts is None else frozenset(hosts)
        self._any_address = any_address
        self._open_metrics = open_metrics

    def close(self) -> None:
        """Releases what the metrics hold on to; may be called twice."""
        self.metrics.close()

    def __call__(self, request: Request, now: int) -> Response:
        """The answer to a request whose body is complete. `now` is in epoch seconds."""
        path, _, query = request.target.partition(b"?")
        route, rest = _find(path)
        try:
            method = self._admitted(request, route)
            parameters = parse_query(query, method.parameters) if query else {}
            response = method.answer(self, request, rest, parameters, now)
        except Exception as error:
            response = self._failure(error)
        response.handler = route.handler
        return response

    def refusal(self, request: Request) -> Response | None:
        """What is wrong with a request that announces a body, before its body is read."""
        path, _, query = request.target.partition(b"?")
        route, rest = _find(path)
        try:
            method = self._admitted(request, route)
            if method.check is None:
                # RFC 9110 section 9.3.1: such content has no meaning and may be an attack.
                raise ProblemError(400, "unexpected-body", f"{request.method} takes no body here")
            method.check(self, request, rest, parse_query(query, method.parameters))
            if request.fields.length > self.max_body:
                raise self._too_large(request.fields.length)
        except Exception as error:
            response = self._failure(error)
        else:
            return None
        response.handler = route.handler
        return response

    def handler(self, request: Request) -> str:
        """The metrics' label for this request."""
        return _find(request.target.partition(b"?")[0])[0].handler

    def template(self, request: Request) -> str:
        """The route of this request with `{key}` for its key, empty when there is no such route."""
        path = _find(request.target.partition(b"?")[0])[0].path.decode("ascii")
        return path + "{key}" if path.endswith("/") else path

    def _admitted(self, request: Request, route: Route) -> Method:
        fields = request.fields
        if self._hosts is not None and fields.host not in self._hosts:
            self._refuse_foreign_name(fields.host)
        if fields.origin is not None or fields.sec_fetch_site is not None:
            _refuse_foreign_page(request)
        if self.tokens is not None:
            self._authorize(self.tokens, request, route)
        if fields.expect is not None and fields.expect.lower() != b"100-continue":
            raise ProblemError(
                417,
                "unknown-expectation",
                f"expected Expect to be 100-continue, got {excerpt(fields.expect)}",
            )
        method = route.methods.get(request.method)
        if method is None:
            raise _no_such(request, route)
        return method

    def _refuse_foreign_name(self, host: bytes | None) -> None:
        """421 for a Host that is not known; an address was typed, only names can be rebound."""
        if host is not None and not (self._any_address and is_address(host)):
            raise ProblemError(
                421,
                "wrong-host",
                f"this server does not answer for the host {excerpt(host)}; "
                "start it with --allow-host to accept another name",
            )

    def _authorize(self, tokens: Tokens, request: Request, route: Route) -> None:
        """Raises 401 without a token that counts, 403 when it is for reading and this writes."""
        if route.path in _PROBES or (route.handler == "metrics" and self._open_metrics):
            return
        given = request.fields.authorization
        role = tokens.role(given)
        if role is Role.NOBODY:
            missing = given is None
            self.metrics.denied["missing-token" if missing else "wrong-token"] += 1
            raise ProblemError(
                401,
                "unauthorized",
                "expected 'Authorization: Bearer TOKEN' with a token of this server, got "
                + ("none" if missing else "another"),
                _CHALLENGE if missing else _CHALLENGE_WRONG,
            )
        if role is Role.READER and request.method not in ("GET", "HEAD"):
            method = route.methods.get(request.method)
            if method is not None and not method.reads:
                self.metrics.denied["read-only-token"] += 1
                raise ProblemError(
                    403,
                    "read-only",
                    "expected a read-write token for this method, got a read-only one",
                    _CHALLENGE_SCOPE,
                )

    def _failure(self, error: Exception) -> Response:
        if isinstance(error, ProblemError):
            return error.response()
        if isinstance(error, ClosedError):
            return problem(503, "store-closed", "the store is closed")
        if isinstance(error, StoreFullError):
            return problem(
                507,
                "store-full",
                "the store has no memory left for this value: delete keys, "
                "or start the server with a larger --max-bytes or with --eviction lru",
            )
        _log.error("a request handler failed", exc_info=error)
        return problem(500, "internal-error", "the server failed to handle this request")

    def _too_large(self, got: int) -> ProblemError:
        return ProblemError(
            413,
            "value-too-large",
            f"expected a body of at most {self.max_body} bytes, got {got} announced",
        )


_CHALLENGE = field_line("WWW-Authenticate", 'Bearer realm="dumbkv"')
_CHALLENGE_WRONG = field_line("WWW-Authenticate", 'Bearer realm="dumbkv", error="invalid_token"')
_CHALLENGE_SCOPE = field_line(
    "WWW-Authenticate", 'Bearer realm="dumbkv", error="insufficient_scope"'
)


def _find(path: bytes) -> tuple[Route, bytes]:
    """The route for a path, and what of the path follows the route."""
    for route in ROUTES:
        if path.startswith(route.path) and (route.path.endswith(b"/") or path == route.path):
            return route, path[len(route.path) :]
    return _NOWHERE, b""


def _no_such(request: Request, route: Route) -> ProblemError:
    """404 for a path that is not there, 405 for a method that is not.

    RFC 9110 section 9.1 suggests 501 for unknown methods; a 5xx would let any client's bytes
    count against the availability of the service.
    """
    if route is _NOWHERE and request.method in METHODS:
        return ProblemError(404, "no-such-route", "there is nothing at this path")
    allowed = ", ".join(route.methods or _KNOWN_METHODS)
    return ProblemError(
        405,
        "method-not-allowed",
        f"expected one of {allowed}, got {excerpt(request.method.encode('ascii'))}",
        field_line("Allow", allowed),
    )


def _refuse_foreign_page(request: Request) -> None:
    """403 for what a browser sends on behalf of a page from anywhere but this server."""
    fields = request.fields
    site = fields.sec_fetch_site
    authority = fields.authority
    own = () if authority is None else (b"http://" + authority, b"https://" + authority)
    if site not in (None, b"none", b"same-origin"):
        raise ProblemError(
            403, "foreign-origin", "pages of other sites may not use this server from a browser"
        )
    if fields.origin is not None and fields.origin not in own:
        raise ProblemError(
            403, "foreign-origin", "expected no Origin, or this server's own; got another"
        )
