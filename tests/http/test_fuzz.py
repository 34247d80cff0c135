"""No bytes on a live socket draw a 5xx, an exception, or an answer that is not counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
import dumbkv_http
from dumbkv_http import Limits, Service
from tests.http.client import RawClient, get, put
from tests.http.conftest import counted
from tests.http.test_cases import ALL, CANARY
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


def exchange(live: Service, pieces: list[bytes]) -> list[tuple[int, bool]]:
    """Sends the pieces and ends; status and whether it closes of each answer."""
    with RawClient(live) as client:
        with suppress(OSError):  # It has answered and closed while we were still sending.
            for piece in pieces:
                client.send(piece)
            client.sock.shutdown(socket.SHUT_WR)
        raw = client.rest()
    answers = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        status = int(head[9:12])
        assert 100 <= status < 500
        if status == 100:
            continue
        lines = head.lower().split(b"\r\n")
        answers.append((status, b"connection: close" in lines))
        for line in lines:
            if line.startswith(b"content-length: "):
                raw = raw[int(line[16:]) :]
    return answers


@given(st.lists(PIECES, max_size=8))
def test_no_bytes_draw_a_5xx_and_every_answer_is_counted(
    live: Service, pieces: list[bytes]
) -> None:
    before = counted(live)
    assert len(exchange(live, pieces)) == counted(live) - before


BASES = sorted(  # Not HEAD: its answers announce bodies that do not come.
    {data for case in ALL if b"HEAD" not in (data := case.sent())}
)
INSERTED = st.one_of(
    st.sampled_from(
        [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"1", b"%", b"..", b"/",
         b"\r\n\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"\x0b", b"\x85",
         b"\xff", b"chunked", b"0\r\n\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n"]
    ),
    st.binary(min_size=1, max_size=3),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A case's bytes with a few of them replaced, taken out, doubled or added to."""
    data = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        new = draw(INSERTED | st.sampled_from([b"", data[start:end] * 2]))
        if draw(st.booleans()):
            new += data[start:end]
        data = data[:start] + new + data[end:]
    return data


@given(mutated(), st.integers(0, 200))
def test_no_request_is_taken_from_behind_an_answer_that_closes(
    live: Service, data: bytes, cut: int
) -> None:
    store = live.server.app.store
    store.clear()
    before = counted(live)
    sent = data.replace(b"canary", b"other!") + CANARY
    answers = exchange(live, [sent[:cut], sent[cut:]])
    assert len(answers) == counted(live) - before
    assert not any(closes for _, closes in answers[:-1])
    if b"canary" in store:
        # The last request of all, on a connection that nothing had closed.
        assert answers[-1] in ((201, False), (204, False))
        assert store[b"canary"] == b"x"


def test_the_server_is_well_after_all_that(live: Service) -> None:
    with RawClient(live) as client:
        assert client.ask(put("well", b"1")).status in (201, 204)
        assert client.ask(get("well")).body == b"1"
    assert not [key for key, n in live.server.metrics.requests.items() if n and key[2] >= 500]
