"""Serving leaves nothing for the garbage collector: whatever was made goes with its answer."""

from __future__ import annotations

import gc

import dumbkv
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve

BATCH = b'{"ops":[{"op":"incr","key":"n"}]}'
REQUESTS = [
    get("a"),
    get("absent"),
    get(".."),
    put("a", b"1"),
    put("a", b"1", "If-Match: *\r\n"),
    put("b", b"1", "If-Match: *\r\n"),
    b"DELETE /v1/kv/c HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/incr/n HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/scan HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BATCH), BATCH),
]


def test_no_request_leaves_a_cycle_behind(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    with RawClient(service) as client:
        for request in REQUESTS:
            client.ask(request)
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                for request in REQUESTS:
                    client.ask(request)
            assert gc.collect() < 100
        finally:
            gc.enable()
