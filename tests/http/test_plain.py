"""The short way for plain GETs gives what the long way gives, byte for byte, or gives way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
from dumbkv_http._plain import Plain
from dumbkv_http.app import App
from dumbkv_http.response import http_date, render
from dumbkv_http.wire import LINE_LIMIT, WireError, parse_head
from tests.conftest import BACKENDS, OpenStore

NOW = 4_000_000_000
BLOCKS = [
    b"Host: localhost\r\n\r\n",
    b"Host: LOCALHOST:8080\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n",
    b"Host: localhost\r\nConnection: keep-alive\r\n\r\n",
    b"Host: localhost\r\nConnection: close\r\n\r\n",
    b"Host: evil.example\r\n\r\n",
    b"Host: localhost\r\nOrigin: http://localhost\r\n\r\n",
    b"Host: localhost\r\nSec-Fetch-Site: none\r\n\r\n",
    b'Host: localhost\r\nIf-None-Match: "1"\r\n\r\n',
    b"Host: localhost\r\nIf-Match: *\r\n\r\n",
    b"Host: localhost\r\nExpect: 100-continue\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 0\r\n\r\n",
    b"Host: localhost\r\n\r\nGET /v1/kv/b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"Host: localhost\r\nX: " + b"y" * 2000 + b"\r\n\r\n",
]


def long_way(app: App, buf: bytes) -> tuple[bytes, tuple[str, str, int]] | None:
    """The answer to a buffer that is one whole request, and how it is counted."""
    try:
        request = parse_head(buf)
    except WireError:
        return None
    if request is None or request.end != len(buf):
        return None
    response = app(request, NOW)
    line = b"" if request.keep_alive else b"Connection: close\r\n"
    counted = (request.method, response.handler, response.status)
    return render(response, http_date(NOW), line, request.method == "HEAD"), counted


def teach(app: App, plain: Plain, block: bytes) -> None:
    buf = b"GET /v1/kv/a HTTP/1.1\r\n" + block
    request = parse_head(buf)
    if request is not None and request.end == len(buf):
        plain.learn(buf, request, app(request, NOW))


@pytest.fixture(scope="module", params=BACKENDS)
def taught(request: pytest.FixtureRequest) -> Iterator[tuple[App, Plain]]:
    with dumbkv.open(backend=request.param, max_key=40) as store:
        store.update({b"a": b"1", b"a/b": b"", b"...": b"3", b".a": b"4"})
        app = App(store, hosts=[b"localhost"])
        plain = Plain(app)
        for block in BLOCKS:
            teach(app, plain, block)
        yield app, plain
        app.close()


KEYS = st.one_of(
    st.sampled_from([b"a", b"a/b", b"...", b".a", b"", b".", b"..", b"a/..", b"a%2fb", b"a?ttl=1"]),
    st.binary(max_size=45),
    st.lists(st.sampled_from([b"a", b"/", b".", b"%61", b"?", b" ", b"\r\n"]), max_size=8).map(
        b"".join
    ),
)
LINES = st.sampled_from(
    [b"GET /v1/kv/%b HTTP/1.1\r\n", b"GET /v1/kv/%b HTTP/1.0\r\n", b"HEAD /v1/kv/%b HTTP/1.1\r\n",
     b"GET /v1/kv%b HTTP/1.1\r\n", b"\r\nGET /v1/kv/%b HTTP/1.1\r\n", b"GET /%b HTTP/1.1\r\n"]
)  # fmt: skip


@given(LINES, KEYS, st.sampled_from(BLOCKS), st.integers(0, 3))
def test_the_short_way_agrees_with_the_long_way(
    taught: tuple[App, Plain], line: bytes, key: bytes, block: bytes, cut: int
) -> None:
    app, plain = taught
    buf = (line % key + block)[: -cut or None]
    before = dict(app.metrics.requests)
    answer = plain.answer(buf, http_date(NOW), NOW)
    if answer is None:
        assert app.metrics.requests == before
        return
    expected = long_way(app, buf)
    assert expected is not None
    assert answer == expected[0]
    before[expected[1]] += 1
    assert app.metrics.requests == before


def test_the_short_way_is_taken_for_what_is_common(taught: tuple[App, Plain]) -> None:
    _, plain = taught
    for n, block in enumerate(BLOCKS):
        answer = plain.answer(b"GET /v1/kv/a HTTP/1.1\r\n" + block, b"now", NOW)
        assert (answer is not None) == (n < 3)
    assert plain.answer(b"GET /v1/kv/absent HTTP/1.1\r\n" + BLOCKS[0], b"now", NOW) is not None


def test_a_request_line_over_the_limit_is_left_to_the_long_way() -> None:
    with dumbkv.open(backend="python", max_key=20_000) as store:
        app = App(store, hosts=[b"localhost"])
        plain = Plain(app)
        store[b"a"] = b"1"
        teach(app, plain, BLOCKS[0])
        for length, short in ((LINE_LIMIT - 20, True), (LINE_LIMIT - 19, False)):
            line = b"GET /v1/kv/" + b"k" * length + b" HTTP/1.1"
            assert (len(line) <= LINE_LIMIT) == short
            answer = plain.answer(line + b"\r\n" + BLOCKS[0], b"now", NOW)
            assert (answer is not None) == short
        app.close()


def test_what_is_remembered_is_bounded() -> None:
    with dumbkv.open(backend="python") as store:
        store[b"a"] = b"1"
        app = App(store)
        plain = Plain(app)
        for n in range(2000):
            teach(app, plain, b"Host: h\r\nX: %d\r\n\r\n" % n)
        assert len(plain._blocks) <= 512
        teach(app, plain, BLOCKS[0])
        assert plain.answer(b"GET /v1/kv/a HTTP/1.1\r\n" + BLOCKS[0], b"now", NOW) is not None
        app.close()


def test_while_draining_the_long_way_decides(fast_store: dumbkv.Store) -> None:
    fast_store[b"a"] = b"1"
    app = App(fast_store)
    plain = Plain(app)
    teach(app, plain, BLOCKS[0])
    app.draining = True
    assert plain.answer(b"GET /v1/kv/a HTTP/1.1\r\n" + BLOCKS[0], b"now", NOW) is None
    app.close()


def test_a_closed_store_is_left_to_the_long_way(fast_store: dumbkv.Store) -> None:
    fast_store[b"a"] = b"1"
    app = App(fast_store)
    plain = Plain(app)
    teach(app, plain, BLOCKS[0])
    fast_store.close()
    assert plain.answer(b"GET /v1/kv/a HTTP/1.1\r\n" + BLOCKS[0], b"now", NOW) is None
    app.close()


# PUT

PUT_BLOCKS = [
    b"Host: localhost\r\nContent-Length: 5\r\n\r\n",
    b"Content-Length: 2\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 5\r\nIf-Match: *\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 5\r\nIf-None-Match: *\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 5\r\nContent-Encoding: identity\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 5\r\nOrigin: http://localhost\r\n\r\n",
    b"Host: evil.example\r\nContent-Length: 5\r\n\r\n",
    b"Host: localhost\r\nContent-Length: 0\r\n\r\n",
    b"Host: localhost\r\n\r\n",
]


def long_put(app: App, buf: bytes) -> tuple[bytes, tuple[str, str, int]] | None:
    """As `long_way`, of a buffer that is one whole PUT."""
    try:
        request = parse_head(buf)
    except WireError:
        return None
    if request is None or len(buf) - request.end != max(0, request.fields.length):
        return None
    request.body = buf[request.end :]
    response = app.refusal(request) if request.fields.has_body else None
    response = response or app(request, NOW)
    line = b"" if request.keep_alive else b"Connection: close\r\n"
    counted = (request.method, response.handler, response.status)
    return render(response, http_date(NOW), line), counted


@pytest.fixture(scope="module", params=BACKENDS)
def putting(request: pytest.FixtureRequest) -> Iterator[tuple[App, Plain, App]]:
    """An application with a short way, and one without."""
    with (
        dumbkv.open(backend=request.param, max_key=40) as store,
        dumbkv.open(backend=request.param, max_key=40) as other,
    ):
        app, slow = App(store, hosts=[b"localhost"]), App(other, hosts=[b"localhost"])
        plain = Plain(app)
        for block in PUT_BLOCKS:
            buf = b"PUT /v1/kv/a HTTP/1.1\r\n" + block
            head = parse_head(buf)
            assert head is not None
            head.body = b"x" * max(0, head.fields.length)
            plain.learn(buf + head.body, head, app(head, NOW))
            slow(head, NOW)
        yield app, plain, slow
        app.close()
        slow.close()


@given(
    st.sampled_from([b"PUT /v1/kv/%b HTTP/1.1\r\n", b"PUT /v1/kv64/%b HTTP/1.1\r\n"]),
    KEYS,
    st.sampled_from(PUT_BLOCKS),
    st.binary(min_size=5, max_size=5) | st.binary(max_size=7),
)
def test_the_short_way_of_a_put_agrees_with_the_long_way(
    putting: tuple[App, Plain, App], line: bytes, key: bytes, block: bytes, body: bytes
) -> None:
    app, plain, slow = putting
    buf = line % key + block + body
    before = dict(app.metrics.requests)
    there = dict(app.store)
    answer = plain.answer(buf, http_date(NOW), NOW)
    if answer is None:
        assert app.metrics.requests == before
        assert dict(app.store) == there
        return
    expected = long_put(slow, buf)
    assert expected is not None

    def untagged(data: bytes) -> bytes:
        return re.sub(rb'ETag: "[0-9]+"', b"", data)

    assert untagged(answer) == untagged(expected[0])
    entry = app.store.entry(key)
    assert entry is not None
    assert b'ETag: "%d"\r\n' % entry.version in answer
    assert dict(app.store) == dict(slow.store)
    before[expected[1]] += 1
    assert app.metrics.requests == before


def test_the_short_way_of_a_put_is_taken_for_what_is_common(
    putting: tuple[App, Plain, App],
) -> None:
    _, plain, slow = putting
    for n, block in enumerate(PUT_BLOCKS):
        for line in (b"PUT /v1/kv/common HTTP/1.1\r\n", b"PUT /v1/kv/common HTTP/1.1\r\n"):
            buf = line + block + (b"12" if n == 1 else b"12345")
            assert (plain.answer(buf, b"now", NOW) is not None) == (n < 2), block
            assert plain.answer(buf + b"x", b"now", NOW) is None
            assert plain.answer(buf[:-1], b"now", NOW) is None
    slow.store[b"common"] = b"12"


def test_a_put_that_cannot_be_stored_is_left_to_the_long_way(open_store: OpenStore) -> None:
    store = open_store(max_bytes=110_000)
    app = App(store)
    plain = Plain(app)
    block = b"Host: localhost\r\nContent-Length: 60000\r\n\r\n"
    buf = b"PUT /v1/kv/a HTTP/1.1\r\n" + block
    head = parse_head(buf)
    assert head is not None
    head.body = bytes(60_000)
    plain.learn(buf + head.body, head, app(head, NOW))
    assert plain.answer(buf.replace(b"kv/a", b"kv/b") + head.body, b"now", NOW) is None
    assert list(store) == [b"a"]
    app.close()
