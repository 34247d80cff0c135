"""Which Host is answered on which address, and what pages in a browser may not do."""

from __future__ import annotations

import socket

import pytest

import dumbkv
from dumbkv_http import Tokens
from tests.http.client import RawClient, get
from tests.http.conftest import Serve

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "LOCALHOST:8080", "127.0.0.1:1")
STRANGERS = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0x7f000001")


def statuses(service: object, hosts: tuple[str, ...]) -> set[int]:
    with RawClient(service) as client:  # type: ignore[arg-type]  # a Service
        return {client.ask(get("a").replace(b"localhost", host.encode())).status for host in hosts}


def test_on_the_loopback_only_its_own_names_are_answered(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    assert statuses(service, LOOPBACK) == {404}
    assert statuses(service, (*STRANGERS, "192.0.2.1", "10.0.0.1:80")) == {421}


def test_on_every_address_any_address_and_the_machines_name_are_answered(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, host="0.0.0.0", insecure=True)
    named = (socket.gethostname(), "192.0.2.1", "10.0.0.1:80", "[2001:db8::1]:8080")
    assert statuses(service, (*LOOPBACK, *named)) == {404}
    assert statuses(service, STRANGERS) == {421}


def test_a_token_does_not_take_the_place_of_the_host_check(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store, host="0.0.0.0", tokens=Tokens(["correct-horse-battery"]))
    assert statuses(service, LOOPBACK) == {401}
    assert statuses(service, STRANGERS) == {421}


def test_names_that_were_allowed_are_answered_too(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store, allow_hosts=["KV.example", "other.example"])
    assert statuses(service, (*LOOPBACK, "kv.EXAMPLE", "other.example:8080")) == {404}
    assert statuses(service, STRANGERS) == {421}


def test_a_star_allows_every_name(fast_store: dumbkv.Store, serve: Serve) -> None:
    assert statuses(serve(fast_store, allow_hosts=["*"]), (*LOOPBACK, *STRANGERS)) == {404}


def test_the_probes_and_the_metrics_check_the_host_as_well(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with RawClient(service) as client:
        for path in (b"/healthz", b"/readyz", b"/metrics", b"/nowhere"):
            request = b"GET " + path + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n"
            assert client.ask(request).kind == "wrong-host"


PAGES = [
    "Origin: http://evil.example\r\n",
    "Origin: null\r\n",
    "Origin: https://localhost.evil.example\r\n",
    "Origin: http://localhost:1\r\n",
    "Origin: file://\r\n",
    "Sec-Fetch-Site: cross-site\r\n",
    "Sec-Fetch-Site: same-site\r\n",
    "Sec-Fetch-Site: SAME-ORIGIN\r\n",
    "Sec-Fetch-Site: same-origin, cross-site\r\n",
    "Sec-Fetch-Site:\r\n",
    "Origin: http://localhost\r\nSec-Fetch-Site: cross-site\r\n",
]


@pytest.mark.parametrize("fields", PAGES)
def test_pages_of_other_sites_read_nothing_and_write_nothing(
    fields: str, fast_store: dumbkv.Store, serve: Serve
) -> None:
    fast_store[b"a"] = b"1"
    service = serve(fast_store)
    for method in (b"GET", b"HEAD", b"PUT", b"DELETE", b"POST", b"OPTIONS"):
        with RawClient(service) as client:
            request = get("a", fields).replace(b"GET", method, 1)
            answer = client.ask(request, head_only=method == b"HEAD")
            assert answer.status == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]
    assert dict(fast_store) == {b"a": b"1"}


def test_our_own_pages_may_use_us(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    with RawClient(service) as client:
        for fields in (
            "Sec-Fetch-Site: none\r\n",
            "Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n",
            "Origin: https://localhost\r\n",
        ):
            assert client.ask(get("a", fields)).status == 404
