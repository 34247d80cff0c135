"""No bytes on a live socket draw a 5xx, an exception, or an answer that is not counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dumbkv
import dumbkv_http
from dumbkv_http import Limits, Service
from tests.http.client import RawClient, get, put
from tests.http.conftest import counted
from tests.http.test_wire import FRAGMENTS

PIECES = st.one_of(
    FRAGMENTS,
    st.binary(max_size=60),
    st.sampled_from(
        [
            get("a"), get("a", 'If-None-Match: "x"\r\n'), put("a", b"1"),
            put("b", b"2", "A: b\r\n"),
            b"DELETE /v1/kv/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"PUT /v1/kv/c?ttl=5 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhello\r\n", b"0\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ]
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def live() -> Iterator[Service]:
    with (
        dumbkv.open(backend="python") as store,
        dumbkv_http.serve(store, limits=Limits(linger=0.05)) as service,
    ):
        yield service


@settings(max_examples=250)
@given(st.lists(PIECES, max_size=8))
def test_no_bytes_draw_a_5xx_and_every_answer_is_counted(
    live: Service, pieces: list[bytes]
) -> None:
    before = counted(live)
    answers = 0
    with RawClient(live) as client:
        try:
            for piece in pieces:
                client.send(piece)
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It has answered and closed while we were still sending.
        raw = client.rest()
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        status = int(head[9:12])
        assert 100 <= status < 500
        if status == 100:
            continue
        answers += 1
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length: "):
                raw = raw[int(line[16:]) :]
    assert answers == counted(live) - before


def test_the_server_is_well_after_all_that(live: Service) -> None:
    with RawClient(live) as client:
        assert client.ask(put("well", b"1")).status in (201, 204)
        assert client.ask(get("well")).body == b"1"
    assert not [key for key, n in live.server.metrics.requests.items() if n and key[2] >= 500]
