"""The application without sockets: requests in, responses out, on each table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
from dumbkv_http.app import App
from dumbkv_http.conditions import parse_condition
from dumbkv_http.response import ProblemError, Response, field_line
from dumbkv_http.routes import ROUTES, possible_answers
from dumbkv_http.wire import WireError, parse_head

NOW = 4_000_000_000


def ask(
    app: App, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> Response:
    """What the app answers, asked for a refusal first when there is a body, as a server does."""
    fields = {"Host": "localhost", **(headers or {})}
    if body:
        fields.setdefault("Content-Length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = parse_head(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode())
    assert request is not None
    if request.fields.has_body:
        refusal = app.refusal(request)
        if refusal is not None:
            return refusal
    request.body = body
    return app(request, NOW)


def kind(response: Response) -> str:
    document = json.loads(response.body)
    assert document["status"] == response.status
    assert b"Content-Type: application/problem+json\r\n" in response.headers
    return str(document["type"].removeprefix("urn:dumbkv:problem:"))


def etag(response: Response) -> str:
    lines = response.headers.decode().split("\r\n")
    return next(line.removeprefix("ETag: ") for line in lines if line.startswith("ETag: "))


def test_a_value_put_is_got_back(app: App) -> None:
    first = ask(app, "PUT", "/v1/kv/a", body=b"one")
    assert (first.status, first.body, first.handler) == (201, b"", "kv")
    second = ask(app, "PUT", "/v1/kv/a", body=b"two")
    assert second.status == 204
    assert etag(first) != etag(second)
    got = ask(app, "GET", "/v1/kv/a")
    assert (got.status, got.body, etag(got)) == (200, b"two", etag(second))
    assert b"Content-Type: application/octet-stream\r\n" in got.headers
    assert b"X-Content-Type-Options: nosniff\r\n" in got.headers
    assert b"Last-Modified: " in got.headers


def test_last_modified_is_never_later_than_now(app: App) -> None:
    app.store.set(b"a", b"1")
    request = parse_head(b"GET /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert request is not None
    assert b"Last-Modified: Thu, 01 Jan 1970 00:00:07 GMT\r\n" in app(request, 7).headers


def test_an_absent_key_is_404_and_deleting_it_204(app: App) -> None:
    assert kind(ask(app, "GET", "/v1/kv/a")) == "key-not-found"
    assert ask(app, "DELETE", "/v1/kv/a").status == 204
    ask(app, "PUT", "/v1/kv/a", body=b"1")
    assert ask(app, "DELETE", "/v1/kv/a").status == 204
    assert ask(app, "GET", "/v1/kv/a").status == 404


def test_an_empty_value_needs_its_length(app: App) -> None:
    assert ask(app, "PUT", "/v1/kv/a", {"Content-Length": "0"}).status == 201
    assert ask(app, "GET", "/v1/kv/a").body == b""
    assert kind(ask(app, "PUT", "/v1/kv/b")) == "length-required"
    assert b"b" not in app.store


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("a//b", b"a//b"),
        ("/a", b"/a"),
        ("a/", b"a/"),
        ("A+b", b"A+b"),
        ("a%2Fb", b"a/b"),
        ("%00%ff", b"\0\xff"),
        ("%2541", b"%41"),
        ("a%2F..%2Fb", b"a/../b"),
        ("...", b"..."),
        (".a/b.", b".a/b."),
        ("caf%C3%A9", "café".encode()),
        ("a%3Fb", b"a?b"),
    ],
)
def test_a_key_is_the_path_decoded_once_and_never_normalised(
    app: App, target: str, key: bytes
) -> None:
    ask(app, "PUT", f"/v1/kv/{target}", body=b"1")
    assert list(app.store) == [key]
    assert ask(app, "GET", f"/v1/kv/{target}").body == b"1"


@pytest.mark.parametrize("target", [".", "..", "a/../b", "a/.", "./a", "%2e", "a/%2E%2e/b", ".%2e"])
def test_a_dot_segment_is_refused_with_what_to_do(app: App, target: str) -> None:
    for method, body in (("GET", b""), ("PUT", b"1"), ("DELETE", b"")):
        response = ask(app, method, f"/v1/kv/{target}", body=body)
        assert response.status == 400
        assert kind(response) == "dot-segment"
        detail = json.loads(response.body)["detail"]
        assert "percent-encoding the dots does not help" in detail
        assert "%2F" in detail
    assert len(app.store) == 0


@pytest.mark.parametrize("target", ["%", "%4", "%zz", "a%2", "%%41"])
def test_a_bad_escape_is_refused(app: App, target: str) -> None:
    assert kind(ask(app, "GET", f"/v1/kv/{target}")) == "bad-escape"


def test_empty_and_over_long_keys_are_refused(app: App) -> None:
    longest = "k" * app.store.max_key
    assert kind(ask(app, "GET", "/v1/kv/")) == "empty-key"
    assert ask(app, "PUT", f"/v1/kv/{longest}", body=b"1").status == 201
    for method, body in (("GET", b""), ("PUT", b"1"), ("DELETE", b"")):
        response = ask(app, method, f"/v1/kv/{longest}k", body=body)
        assert (response.status, kind(response)) == (414, "key-too-long")


def test_a_ttl_is_in_seconds(app: App) -> None:
    assert ask(app, "PUT", "/v1/kv/a?ttl=100.5", body=b"1").status == 201
    entry = app.store.entry(b"a")
    assert entry is not None
    assert entry.expires_at is not None
    assert 99 < entry.expires_at - entry.version / 1e6 < 102
    ask(app, "PUT", "/v1/kv/a", body=b"1")
    entry = app.store.entry(b"a")
    assert entry is not None
    assert entry.expires_at is None


@pytest.mark.parametrize(
    "ttl", ["", "0", "-1", "1e3", "nan", "inf", "1_0", "+1", " 1", "0.0", "99999999999", "%D9%A5"]
)
def test_a_bad_ttl_is_refused(app: App, ttl: str) -> None:
    response = ask(app, "PUT", f"/v1/kv/a?ttl={ttl.replace(' ', '%20')}", body=b"1")
    assert (response.status, kind(response)) == (400, "bad-ttl")
    assert len(app.store) == 0


def test_unknown_parameters_are_refused_by_name(app: App) -> None:
    for method, target in (
        ("GET", "/v1/kv/a?ttl=1"),
        ("PUT", "/v1/kv/a?tll=1"),
        ("DELETE", "/v1/kv/a?ttl=1"),
        ("GET", "/healthz?ttl=1"),
        ("GET", "/metrics?name=x"),
    ):
        response = ask(app, method, target, body=b"1" if method == "PUT" else b"")
        assert kind(response) == "unknown-parameter"
        name = target.partition("?")[2].partition("=")[0]
        assert name in json.loads(response.body)["detail"]
    assert kind(ask(app, "PUT", "/v1/kv/a?ttl=1&ttl=2", body=b"1")) == "bad-parameter"


def test_if_none_match_saves_the_value_a_trip(app: App) -> None:
    tag = etag(ask(app, "PUT", "/v1/kv/a", body=b"1"))
    for value in (tag, "*", f'"x", W/{tag}', f',, "1",{tag}'):
        for method in ("GET", "HEAD"):
            response = ask(app, method, "/v1/kv/a", {"If-None-Match": value})
            assert (response.status, response.body, etag(response)) == (304, b"", tag)
    assert ask(app, "GET", "/v1/kv/a", {"If-None-Match": '"1"'}).status == 200
    assert ask(app, "GET", "/v1/kv/b", {"If-None-Match": "*"}).status == 404


def test_if_match_guards_reads_writes_and_deletes(app: App) -> None:
    old = etag(ask(app, "PUT", "/v1/kv/a", body=b"1"))
    new = etag(ask(app, "PUT", "/v1/kv/a", {"If-Match": old}, b"2"))
    for headers in ({"If-Match": old}, {"If-Match": f"W/{new}"}, {"If-Match": '"x"'}):
        assert ask(app, "PUT", "/v1/kv/a", headers, b"3").status == 412
        assert ask(app, "DELETE", "/v1/kv/a", headers).status == 412
        assert ask(app, "GET", "/v1/kv/a", headers).status == 412
    assert ask(app, "GET", "/v1/kv/a", {"If-Match": f"{old}, {new}"}).body == b"2"
    assert ask(app, "PUT", "/v1/kv/a", {"If-Match": f"{old}, {new}"}, b"3").status == 204
    assert ask(app, "DELETE", "/v1/kv/a", {"If-Match": "*"}).status == 204
    assert ask(app, "DELETE", "/v1/kv/a", {"If-Match": "*"}).status == 412
    assert ask(app, "PUT", "/v1/kv/a", {"If-Match": "*"}, b"3").status == 412
    assert ask(app, "GET", "/v1/kv/a", {"If-Match": "*"}).status == 412


def test_if_none_match_star_puts_only_what_is_new(app: App) -> None:
    created = ask(app, "PUT", "/v1/kv/a", {"If-None-Match": "*"}, b"1")
    assert created.status == 201
    assert ask(app, "PUT", "/v1/kv/a", {"If-None-Match": "*"}, b"2").status == 412
    assert ask(app, "PUT", "/v1/kv/a", {"If-None-Match": etag(created)}, b"2").status == 412
    assert ask(app, "PUT", "/v1/kv/a", {"If-None-Match": '"1"'}, b"2").status == 204
    assert app.store[b"a"] == b"2"


def test_a_condition_that_another_writer_breaks_is_not_acted_on(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = etag(ask(app, "PUT", "/v1/kv/a", body=b"1"))

    class Rival:
        """The store, with a rival who writes between our look at the entry and our write."""

        def __init__(self, store: dumbkv.Store) -> None:
            self.store = store

        def __getattr__(self, name: str) -> object:
            return getattr(self.store, name)

        def entry(self, key: bytes) -> dumbkv.Entry | None:
            entry = self.store.entry(key)
            self.store.set(key, b"rival")
            return entry

    real = app.store
    monkeypatch.setattr(app, "store", Rival(real))
    assert ask(app, "PUT", "/v1/kv/a", {"If-Match": tag}, b"2").status == 412
    assert ask(app, "DELETE", "/v1/kv/a", {"If-Match": tag}).status == 412
    assert ask(app, "PUT", "/v1/kv/new", {"If-None-Match": "*"}, b"2").status == 412
    assert dict(real) == {b"a": b"rival", b"new": b"rival"}


@pytest.mark.parametrize("value", ["x", '"x', "1", '"a" "b"', "", ",", 'w/"1"', '"a"b', "*, *"])
def test_a_malformed_entity_tag_is_refused(app: App, value: str) -> None:
    ask(app, "PUT", "/v1/kv/a", body=b"1")
    assert kind(ask(app, "GET", "/v1/kv/a", {"If-None-Match": value})) == "bad-entity-tag"
    assert kind(ask(app, "PUT", "/v1/kv/a", {"If-Match": value}, b"2")) == "bad-entity-tag"
    assert app.store[b"a"] == b"1"


@given(st.binary(max_size=60))
def test_any_field_value_is_a_condition_or_a_refusal(value: bytes) -> None:
    try:
        parse_condition("If-Match", value, weak=False)
    except ProblemError as error:
        status = error.status
    else:
        status = 200
    assert status in (200, 400)


def test_a_write_cannot_be_guarded_by_a_date(app: App) -> None:
    headers = {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
    assert kind(ask(app, "PUT", "/v1/kv/a", headers, b"1")) == "date-condition"
    assert kind(ask(app, "DELETE", "/v1/kv/a", headers)) == "date-condition"


def test_partial_and_encoded_values_are_refused(app: App) -> None:
    partial = ask(app, "PUT", "/v1/kv/a", {"Content-Range": "bytes 0-0/2"}, b"1")
    assert kind(partial) == "partial-put"
    encoded = ask(app, "PUT", "/v1/kv/a", {"Content-Encoding": "gzip"}, b"1")
    assert (encoded.status, kind(encoded)) == (415, "content-encoding")
    assert ask(app, "PUT", "/v1/kv/a", {"Content-Encoding": "identity"}, b"1").status == 201


def test_a_body_over_the_limit_is_refused_from_its_head(app: App) -> None:
    limit = app.max_body
    response = ask(app, "PUT", "/v1/kv/a", {"Content-Length": str(limit + 1)}, b"x")
    assert (response.status, kind(response)) == (413, "value-too-large")
    assert f"{limit} bytes, got {limit + 1}" in json.loads(response.body)["detail"]


def test_a_body_where_none_belongs_is_refused(app: App) -> None:
    for method in ("GET", "HEAD", "DELETE"):
        assert kind(ask(app, method, "/v1/kv/a", body=b"x")) == "unexpected-body"


def test_an_unknown_method_is_405_with_what_is_allowed(app: App) -> None:
    for method in ("POST", "BREW", "OPTIONS", "get"):
        response = ask(app, method, "/v1/kv/a")
        assert response.status == 405
        assert b"Allow: GET, HEAD, PUT, DELETE\r\n" in response.headers
    response = ask(app, "PUT", "/metrics", body=b"1")
    assert response.status == 405
    assert b"Allow: GET, HEAD\r\n" in response.headers
    assert ask(app, "BREW", "/nowhere").status == 405


def test_what_is_not_there_is_404(app: App) -> None:
    for target in ("/v1", "/v1/kv", "/v1/kvx/a", "/healthz/", "/Healthz", "//healthz"):
        response = ask(app, "GET", target)
        assert (response.status, response.handler) == (404, "other")
        assert kind(response) == "no-such-route"


def test_another_host_is_421(app: App) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.", "[::1]"):
        response = ask(app, "GET", "/v1/kv/a", {"Host": host})
        assert (response.status, kind(response)) == (421, "wrong-host")
    for host in ("localhost", "LOCALHOST:8080", "localhost:1"):
        assert ask(app, "GET", "/v1/kv/a", {"Host": host}).status == 404


def test_pages_of_other_sites_are_refused(app: App) -> None:
    foreign = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    )
    for headers in foreign:
        response = ask(app, "PUT", "/v1/kv/a", headers, b"1")
        assert (response.status, kind(response)) == (403, "foreign-origin")
        assert ask(app, "GET", "/healthz", headers).status == 403
    for headers in (
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        assert ask(app, "GET", "/v1/kv/a", headers).status == 404
    assert len(app.store) == 0


def test_an_unknown_expectation_is_417(app: App) -> None:
    assert ask(app, "PUT", "/v1/kv/a", {"Expect": "tea"}, b"1").status == 417
    assert ask(app, "GET", "/v1/kv/a", {"Expect": "tea"}).status == 417
    assert ask(app, "PUT", "/v1/kv/a", {"Expect": "100-Continue"}, b"1").status == 201


def test_health_and_readiness_tell_alive_from_willing(app: App) -> None:
    assert ask(app, "GET", "/readyz").status == 200
    app.draining = True
    assert kind(ask(app, "GET", "/readyz")) == "draining"
    app.draining = False
    app.store.close()
    assert kind(ask(app, "GET", "/readyz")) == "store-closed"
    assert ask(app, "GET", "/healthz").status == 200


def test_a_closed_store_is_503_and_its_metrics_still_come(app: App) -> None:
    app.store.close()
    for method, body in (("GET", b""), ("PUT", b"1"), ("DELETE", b"")):
        response = ask(app, method, "/v1/kv/a", body=body)
        assert (response.status, kind(response)) == (503, "store-closed")
    assert ask(app, "GET", "/metrics").status == 200


def test_a_handler_that_raises_is_a_500_without_its_secrets(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        closed = False
        max_key = 1024

        def entry(self, key: bytes) -> None:
            raise RuntimeError("the secret")

    monkeypatch.setattr(app, "store", Broken())
    with caplog.at_level(logging.ERROR):
        response = ask(app, "GET", "/v1/kv/a")
    assert (response.status, kind(response), response.handler) == (500, "internal-error", "kv")
    assert b"secret" not in response.body
    assert b"Traceback" not in response.body
    assert "the secret" in caplog.text


METHODS = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "POST", "BREW"])
TARGETS = st.one_of(
    st.sampled_from(["/", "/healthz", "/readyz", "/metrics", "/v1/kv/", "/v1/kv/a?ttl=1", "*"]),
    st.text("ab/.%2eE?&=+ttl01", max_size=20).map(lambda text: "/v1/kv/" + text),
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Host", "Expect", "Origin", "Sec-Fetch-Site", "If-Match", "If-None-Match", "Accept"]
    ),
    st.sampled_from(["localhost", "*", '"1"', "none", "100-continue", "x", "text/plain;q=a"]),
)


@pytest.fixture(scope="module")
def busy_app() -> Iterator[App]:
    with dumbkv.open(backend="python") as store:
        app = App(store, hosts=[b"localhost"])
        yield app
        app.close()


@given(METHODS, TARGETS, HEADERS, st.binary(max_size=4))
def test_every_answer_is_one_its_route_declares(
    busy_app: App, method: str, target: str, headers: dict[str, str], body: bytes
) -> None:
    try:
        response = ask(busy_app, method, target, headers, body)
    except WireError:
        return
    label = method if method != "BREW" else "OTHER"
    assert (label, response.handler, response.status) in set(possible_answers())
    assert response.status < 500


def test_the_route_table_has_each_route_once_and_ends_are_slashes_or_exact() -> None:
    paths = [route.path for route in ROUTES]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith(b"/") for path in paths)


def test_a_header_line_cannot_be_split() -> None:
    for name, value in (("A", "b\r\nC: d"), ("A", "b\0"), ("A\r\n", "b"), ("A", "é"), ("", "b")):
        with pytest.raises(ValueError, match="printable ASCII"):
            field_line(name, value)
