"""The service without its sockets: a Request goes in, a Response comes out.

What there is stands in `routes`. Whatever comes out of `App` is an answer; a handler that raises
gives a 500, logged here and never shown to the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable

from dumbkv import ClosedError, DiskFullError, PoisonedError, Store, StoreFullError
from dumbkv_http._holding import Holding
from dumbkv_http.keys import parse_query
from dumbkv_http.kv import checked
from dumbkv_http.metrics import METHODS, HttpMetrics
from dumbkv_http.response import Deferred, ProblemError, Response, field_line, problem
from dumbkv_http.routes import (
    KNOWN_METHODS,
    NOWHERE,
    Method,
    Parameters,
    Route,
    find,
    possible_answers,
)
from dumbkv_http.status import StatusPage
from dumbkv_http.tokens import Role, Tokens
from dumbkv_http.watch import Watches
from dumbkv_http.wire import Request, excerpt, is_address

__all__ = ["MAX_BODY", "App"]

MAX_BODY = 1024 * 1024
"""Bytes in a request body, unless the App is told otherwise."""

_MOST_WATCHES = 64
_FORMS = (b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain")
_LEAST_JSON = 1024 * 1024  # Bytes in a body of JSON, at least; keys and values take room in it.
_PROBES = frozenset((b"/healthz", b"/readyz"))  # They say nothing worth a token.
_log = logging.getLogger("dumbkv_http")


def _nobody() -> None:
    """There is no loop to wake."""


class App:
    """Answers requests from a store.

    `hosts` are the lower-case host names accepted in Host (None: all), and `any_address` accepts
    every IP address there as well; `max_body` is the limit on a value. With `tokens`, everything
    but the probes needs one, and the metrics unless `open_metrics`. `draining` turns `/readyz` to
    503; `status` is the page at `/`. `close` stops the metrics; the store stays open.

    A server sets `tell`, to be called when there may be something for those who watch, and
    `wake`, for answers that wait for something; both from any thread.
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
        self._max_json = max(_LEAST_JSON, 2 * max_body)
        self.draining = False
        self.tell: Callable[[], object] = _nobody
        self.wake: Callable[[], object] = _nobody
        self.metrics = HttpMetrics(store, possible_answers())
        self.watches = Watches(store, _MOST_WATCHES, lambda: self.tell(), lambda: self.draining)
        self.tokens = tokens
        self.holding = Holding(store, lambda: self.wake()) if Holding.wanted(store) else None
        self.status = StatusPage(store, self.metrics)
        self._hosts = None if hosts is None else frozenset(hosts)
        self._any_address = any_address
        self._open_metrics = open_metrics

    def close(self) -> None:
        """Releases what the metrics hold on to; may be called twice."""
        self.metrics.close()
        self.watches.close()

    def __call__(self, request: Request, now: int) -> Response:
        """The answer to a request whose body is complete. `now` is in epoch seconds."""
        path, _, query = request.target.partition(b"?")
        route, rest = find(path)
        try:
            method = self._admitted(request, route)
            parameters, key = self._asked(route, method, query, rest)
            if self.holding is None or method.reads or request.method in ("GET", "HEAD"):
                response = method.answer(self, request, key, parameters, now)
            else:
                response = self.holding.answer(
                    lambda: method.answer(self, request, key, parameters, now)
                )
            if type(response) is Deferred:
                response.turns = self._finished(response.turns, route.handler)
        except Exception as error:
            response = self._failure(error)
        response.handler = route.handler
        return response

    def refusal(self, request: Request) -> Response | None:
        """What is wrong with a request that announces a body, before its body is read."""
        path, _, query = request.target.partition(b"?")
        route, rest = find(path)
        try:
            method = self._admitted(request, route)
            if method.check is None:
                # RFC 9110 section 9.3.1: such content has no meaning and may be an attack.
                raise ProblemError(400, "unexpected-body", f"{request.method} takes no body here")
            method.check(request, self._asked(route, method, query, rest)[0])
            if request.fields.length > self.body_limit(request):
                raise self._too_large(request)
        except Exception as error:
            response = self._failure(error)
        else:
            return None
        response.handler = route.handler
        return response

    def body_limit(self, request: Request) -> int:
        """Bytes that the body of this request may have: a PUT's is a value, any other JSON."""
        return self.max_body if request.method == "PUT" else self._max_json

    def handler(self, request: Request) -> str:
        """The metrics' label for this request."""
        return find(request.target.partition(b"?")[0])[0].handler

    def _asked(
        self, route: Route, method: Method, query: bytes, rest: bytes
    ) -> tuple[Parameters, bytes]:
        """The parameters and the key of a request."""
        parameters = parse_query(query, method.known) if query else {}
        for name in method.needed:
            if name not in parameters:
                raise ProblemError(
                    400, "missing-parameter", f"expected the parameter {name.decode()}"
                )
        return parameters, rest if route.key is None else checked(self.store, route.key(rest))

    def _finished(
        self, turns: Generator[bool, None, Response], handler: str
    ) -> Generator[bool, None, Response]:
        """The same turns, whose end is an answer whatever happens."""
        try:
            response = yield from turns
        except Exception as error:
            response = self._failure(error)
        response.handler = handler
        return response

    def template(self, request: Request) -> str:
        """The route of this request with `{key}` for its key, empty when there is no such route."""
        path = find(request.target.partition(b"?")[0])[0].path.decode("ascii")
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
        if request.method == "POST":
            _refuse_form(fields.get(b"content-type"))
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
        if isinstance(error, PoisonedError):
            return problem(
                503,
                "store-poisoned",
                "the disk failed to keep what was written, so nothing more is until a restart",
            )
        if isinstance(error, DiskFullError):
            return problem(
                507,
                "disk-full",
                "the disk has no room for this change: free some and send it again",
            )
        if isinstance(error, StoreFullError):
            return problem(
                507,
                "store-full",
                "the store has no memory left for this value: delete keys, "
                "or start the server with a larger --max-bytes or with --eviction lru",
            )
        _log.error("a request handler failed", exc_info=error)
        return problem(500, "internal-error", "the server failed to handle this request")

    def _too_large(self, request: Request) -> ProblemError:
        return ProblemError(
            413,
            "value-too-large",
            f"expected a body of at most {self.body_limit(request)} bytes, "
            f"got {request.fields.length} announced",
        )


_CHALLENGE = field_line("WWW-Authenticate", 'Bearer realm="dumbkv"')
_CHALLENGE_WRONG = field_line("WWW-Authenticate", 'Bearer realm="dumbkv", error="invalid_token"')
_CHALLENGE_SCOPE = field_line(
    "WWW-Authenticate", 'Bearer realm="dumbkv", error="insufficient_scope"'
)


def _no_such(request: Request, route: Route) -> ProblemError:
    """404 for a path that is not there, 405 for a method that is not.

    RFC 9110 section 9.1 suggests 501 for unknown methods; a 5xx would let any client's bytes
    count against the availability of the service.
    """
    if route is NOWHERE and request.method in METHODS:
        return ProblemError(404, "no-such-route", "there is nothing at this path")
    allowed = ", ".join(route.methods or KNOWN_METHODS)
    return ProblemError(
        405,
        "method-not-allowed",
        f"expected one of {allowed}, got {excerpt(request.method.encode('ascii'))}",
        field_line("Allow", allowed),
    )


def _refuse_form(given: bytes | None) -> None:
    """415 for what a form of another site's page can send without asking first."""
    kind = (given or b"").partition(b";")[0].strip(b" \t").lower()
    if kind in _FORMS:
        raise ProblemError(415, "content-type", f"forms are not accepted, got {excerpt(kind)}")


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
