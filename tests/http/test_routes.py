"""What the routes answer, over a socket, on each table."""

from __future__ import annotations

import base64
import re
import threading
from typing import Any

import pytest

import dumbkv
from dumbkv_http import Service, batch, scan
from tests.http.asking import ask
from tests.http.client import RawClient, get
from tests.http.conftest import Serve, wait_until

ODD = b"\xff\x00"


def store_of(service: Service) -> dumbkv.Store:
    return service.server.app.store


# One key


@pytest.mark.parametrize("key", [b".", b"..", b"a/../b", ODD, b"a", b"\n", "ü".encode()])
def test_any_bytes_are_a_key_in_base64url(service: Service, key: bytes) -> None:
    for padded in (False, True):
        text = base64.urlsafe_b64encode(key).decode()
        target = f"/v1/kv64/{text if padded else text.rstrip('=')}"
        put = ask(service, "PUT", target, b"1")
        assert put.status in (201, 204)
        got = ask(service, "GET", target)
        assert (got.status, got.body, got.headers["ETag"]) == (200, b"1", put.headers["ETag"])
        assert ask(service, "PUT", target, b"2", {"If-Match": '"7"'}).status == 412
        assert ask(service, "HEAD", target).headers["Content-Length"] == "1"
    assert dict(store_of(service)) == {key: b"1"}
    assert ask(service, "DELETE", target).status == 204
    assert len(store_of(service)) == 0


@pytest.mark.parametrize(
    "text", ["a", "aa=", "Li4===", "Li5", "YR", "L+4", "Li4%20", "%2e", "=", "a/b", "Li4=="]
)
def test_what_is_not_base64url_is_refused(service: Service, text: str) -> None:
    assert ask(service, "GET", f"/v1/kv64/{text}").kind == "bad-base64"
    assert ask(service, "GET", "/v1/kv64/").kind == "empty-key"
    assert ask(service, "GET", "/v1/kv64/Lg%3D%3D").kind == "key-not-found"


def test_a_dot_segment_is_sent_to_base64url(service: Service) -> None:
    for route in ("kv", "ttl"):
        assert "/v1/kv64/" in ask(service, "GET", f"/v1/{route}/..").json["detail"]
    for route in ("incr", "touch"):
        assert ask(service, "POST", f"/v1/{route}/.?ttl=5").kind == "dot-segment"


def test_incr_adds_and_keeps_the_first_expiry(service: Service) -> None:
    assert ask(service, "POST", "/v1/incr/n?ttl=100").json == {"value": 1}
    assert ask(service, "POST", "/v1/incr/n?by=-5").json == {"value": -4}
    assert ask(service, "POST", "/v1/incr64/bg?by=4").json == {"value": 0}
    ttl = store_of(service).ttl(b"n")
    assert ttl is not None
    assert 90 < ttl <= 100
    assert ask(service, "POST", "/v1/incr/n?by=9223372036854775807").status == 200
    assert ask(service, "POST", "/v1/incr/n").kind == "overflow"
    store_of(service)[b"t"] = b"text"
    assert ask(service, "POST", "/v1/incr/t").kind == "not-an-integer"
    assert ask(service, "POST", "/v1/incr/t").status == 409
    for by in ("9223372036854775808", "1.5", "", "+1", "x"):
        assert ask(service, "POST", f"/v1/incr/n?by={by}").kind == "bad-parameter"


def test_expiries_are_set_shown_moved_and_taken_off(service: Service) -> None:
    def expires_at() -> float:
        return float(ask(service, "GET", "/v1/kv/a").headers["DumbKV-Expires-At"])

    about = pytest.approx(4_000_000_000, abs=1e-3)
    assert ask(service, "GET", "/v1/ttl/a").kind == "key-not-found"
    assert ask(service, "POST", "/v1/touch/a?ttl=5").json == {"touched": False}
    assert ask(service, "DELETE", "/v1/ttl/a").json == {"persisted": False}
    ask(service, "PUT", "/v1/kv/a?expire_at=4000000000", b"1")
    assert expires_at() == about
    etag = ask(service, "PUT", "/v1/kv/a?keep_ttl=1", b"2").headers["ETag"]
    assert expires_at() == about
    assert ask(service, "POST", "/v1/touch/a?ttl=50").json == {"touched": True}
    assert 40 < ask(service, "GET", "/v1/ttl/a").json["ttl"] <= 50
    assert ask(service, "POST", "/v1/touch64/YQ?expire_at=4000000001").json == {"touched": True}
    assert ask(service, "DELETE", "/v1/ttl/a").json == {"persisted": True}
    assert ask(service, "GET", "/v1/ttl64/YQ").json == {"ttl": None}
    got = ask(service, "GET", "/v1/kv/a")
    assert "DumbKV-Expires-At" not in got.headers
    assert got.headers["ETag"] == etag
    ask(service, "PUT", "/v1/kv/a?ttl=5", b"3")
    ask(service, "PUT", "/v1/kv/a?ttl=never", b"3")
    assert ask(service, "GET", "/v1/ttl/a").json == {"ttl": None}
    ask(service, "PUT", "/v1/kv/a?expire_at=0", b"4")
    assert ask(service, "GET", "/v1/kv/a").status == 404


def test_expiries_that_are_none_are_refused(service: Service) -> None:
    for query in ("ttl=0", "ttl=-1", "ttl=inf", "ttl=1e3", "ttl=", "ttl=99999999999"):
        assert ask(service, "PUT", f"/v1/kv/a?{query}", b"1").kind == "bad-ttl"
    for query in ("expire_at=x", "keep_ttl=2", "ttl=1&expire_at=0", "ttl=1&keep_ttl=true"):
        assert ask(service, "PUT", f"/v1/kv/a?{query}", b"1").kind == "bad-parameter"
    assert ask(service, "PUT", "/v1/kv/a?ttl=1&keep_ttl=0", b"1").status == 201
    for query in ("", "?ttl=1&expire_at=2"):
        assert ask(service, "POST", f"/v1/touch/a{query}").kind == "bad-parameter"


# Scans


def fill(service: Service) -> dict[bytes, bytes]:
    data = {b"k%03d" % n: b"v%d" % n for n in range(250)} | {b"k\xff": b"\xfe", "ü".encode(): b""}
    store_of(service).update(data)
    return data


def item(each: dict[str, str]) -> tuple[bytes, bytes | None]:
    def read(name: str) -> bytes | None:
        coded = each.get(f"{name}_b64")
        if coded is not None:
            assert name not in each
            return base64.b64decode(coded, validate=True)
        return each[name].encode() if name in each else None

    key = read("key")
    assert key is not None
    return key, read("value")


def pages(service: Service, target: str) -> list[tuple[bytes, bytes | None]]:
    """All items, from page to page by their Link."""
    items: list[tuple[bytes, bytes | None]] = []
    while True:
        page = ask(service, "GET", target)
        assert page.status == 200
        items += map(item, page.json["items"])
        link = page.headers.get("Link")
        cursor = page.json.get("next_b64", page.json.get("next"))
        assert (link is None) == (cursor is None)
        if link is None:
            return items
        found = re.fullmatch(r'<(/v1/scan\?[^>]*)>; rel="next"', link)
        assert found is not None
        target = found[1]


def test_pages_have_all_items_in_order_each_once(service: Service) -> None:
    data = fill(service)
    for limit in (1000, 100, 7):
        assert pages(service, f"/v1/scan?limit={limit}") == sorted(data.items())
    assert pages(service, "/v1/scan?reverse=1&limit=60") == sorted(data.items(), reverse=True)
    keys = sorted(data)
    assert pages(service, "/v1/scan?prefix=k&limit=50&values=false") == [
        (key, None) for key in keys if key.startswith(b"k")
    ]
    assert [key for key, _ in pages(service, "/v1/scan?start=k010&end=k013")] == keys[10:13]
    assert [key for key, _ in pages(service, "/v1/scan?after=k%ff")] == ["ü".encode()]
    assert pages(service, "/v1/scan?prefix=none") == []


def test_a_page_is_bounded_in_bytes_and_goes_on(store: dumbkv.Store, serve: Serve) -> None:
    service = serve(store)
    store.update({b"%d" % n: b"x" * 1024 * 1024 for n in range(10)})
    page = ask(service, "GET", "/v1/scan").json
    assert len(page["items"]) == scan.PAGE_BYTES // (1024 * 1024) - 1
    assert [key for key, _ in pages(service, "/v1/scan")] == sorted(store)
    store[b"0"] = bytes(
        scan.PAGE_BYTES + 1
    )  # Larger than a page by itself, and given all the same.
    assert len(ask(service, "GET", "/v1/scan").json["items"]) == 1


def test_a_cursor_too_long_for_a_request_line_has_no_link(
    store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(store)
    long = [b"\xff" * 1000, b"\xff" * 1001, b"\xff" * 1002]
    store.update(dict.fromkeys(long, b""))
    target = f"/v1/scan?limit=1&start={'%ff' * 900}&end={'%ff' * 1100}"
    page = ask(service, "GET", target)
    assert base64.b64decode(page.json["next_b64"]) == long[0]
    assert "Link" not in page.headers


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "reverse=maybe", "values="])
def test_a_scan_says_what_it_does_not_take(service: Service, query: str) -> None:
    reply = ask(service, "GET", f"/v1/scan?{query}")
    assert reply.status == (200 if query == "values=" else 400)


def test_counting_and_deleting_by_prefix(service: Service) -> None:
    data = fill(service)
    assert ask(service, "GET", "/v1/count").json == {"count": len(data)}
    assert ask(service, "GET", "/v1/count?prefix=k1").json == {"count": 100}
    assert ask(service, "DELETE", "/v1/scan").kind == "missing-parameter"
    assert ask(service, "DELETE", "/v1/scan?prefix=k1").json == {"deleted": 100}
    assert ask(service, "GET", "/v1/count?prefix=k1").json == {"count": 0}
    assert ask(service, "DELETE", "/v1/scan?prefix=").json == {"deleted": len(data) - 100}
    assert len(store_of(service)) == 0


def test_deleting_many_keys_does_not_keep_others_waiting(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    fast_store.update({b"k%06d" % n: b"" for n in range(200_000)})
    fast_store.count(b"k")
    left: list[int] = []
    with RawClient(service) as deleting, RawClient(service) as other:
        deleting.send(b"DELETE /v1/scan?prefix=k HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not left or left[-1]:
            assert other.ask(get("x")).status == 404
            left.append(fast_store.count(b"k"))
        assert deleting.answer().body == b'{"deleted":200000}\n'
    assert len({n for n in left if 0 < n < 200_000}) > 1, "it was done in one go"


# Batches


def test_a_batch_is_done_whole(service: Service) -> None:
    store_of(service)[b"gone"] = b"1"
    operations = [
        {"op": "set", "key": "a", "value": "1", "ttl": 60},
        {"op": "set", "key_b64": "/w==", "value_b64": "/g==", "expire_at": 4e9},
        {"op": "incr", "key": "a", "by": 4},
        {"op": "incr", "key": "b", "ttl": "never"},
        {"op": "delete", "key": "gone"},
        {"op": "delete", "key": "never"},
    ]
    results = ask(service, "POST", "/v1/batch", {"ops": operations}).json["results"]
    entry = store_of(service).entry(b"\xff")
    assert entry is not None
    assert results[1:] == [
        {"version": entry.version},
        {"value": 5},
        {"value": 1},
        {"deleted": True},
        {"deleted": False},
    ]
    assert dict(store_of(service)) == {b"a": b"5", b"b": b"1", b"\xff": b"\xfe"}
    assert entry.expires_at == pytest.approx(4e9, abs=1e-3)
    assert (store_of(service).ttl(b"a") or 0) > 50


def test_a_batch_whose_check_fails_changes_nothing(service: Service) -> None:
    version = store_of(service).set(b"a", b"1")
    write = {"op": "set", "key": "b", "value": "x"}
    for wrong in ({"key": "a", "version": 7}, {"key": "a", "version": None}):
        reply = ask(service, "POST", "/v1/batch", {"checks": [wrong], "ops": [write]})
        assert (reply.status, reply.kind, reply.json["key"]) == (409, "conflict", "a")
    odd = {"key_b64": "/w==", "version": 5}
    assert ask(service, "POST", "/v1/batch", {"checks": [odd]}).json["key_b64"] == "/w=="
    assert dict(store_of(service)) == {b"a": b"1"}
    right = [{"key": "a", "version": version}, {"key": "b", "version": None}]
    assert ask(service, "POST", "/v1/batch", {"checks": right, "ops": [write]}).status == 200
    text = [{"op": "set", "key": "t", "value": "t"}, {"op": "incr", "key": "t"}]
    assert ask(service, "POST", "/v1/batch", {"ops": text}).kind == "not-an-integer"
    most = [{"op": "incr", "key": "n", "by": 2**63 - 1}, {"op": "incr", "key": "n"}]
    assert ask(service, "POST", "/v1/batch", {"ops": most}).kind == "overflow"
    assert dict(store_of(service)) == {b"a": b"1", b"b": b"x"}


SET = {"op": "set", "key": "a", "value": "1"}
BAD_BATCHES: list[Any] = [
    b"", b"{", b"[]", b"null", b"\xff", b'{"ops":NaN}', b"[" * 5000,
    b'{"ops":[' + b"9" * 5000 + b"]}",
    {"opps": []}, {"ops": {}}, {"ops": [7]}, {"ops": [{}]}, {"ops": [{"op": "drop", "key": "a"}]},
    {"ops": [SET | {"more": 1}]}, {"ops": [SET | {"key": ""}]}, {"ops": [SET | {"key": 5}]},
    {"ops": [SET | {"key": "\ud800"}]}, {"ops": [SET | {"key_b64": "YQ=="}]},
    {"ops": [SET | {"value": None}]}, {"ops": [SET | {"value_b64": "!"}]},
    {"ops": [{"op": "set", "key": "a", "value_b64": "YQ"}]},
    {"ops": [SET | {"ttl": 0}]}, {"ops": [SET | {"ttl": "5"}]}, {"ops": [SET | {"ttl": True}]},
    {"ops": [SET | {"ttl": 1, "expire_at": 2}]}, {"ops": [SET | {"keep_ttl": 1}]},
    {"ops": [{"op": "incr", "key": "a", "by": 1.5}]},
    {"ops": [{"op": "incr", "key": "a", "by": 2**63}]},
    {"ops": [SET, {"op": "delete", "key": "x" * 2000}]},
    {"checks": [{"key": "a"}]}, {"checks": [{"key": "a", "version": 0}]},
    {"checks": [{"key": "a", "version": "1"}]},
    {"checks": [{"key": "a", "version": 1}, {"key": "a", "version": 2}]},
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BATCHES, ids=lambda body: str(body)[:60])
def test_a_body_that_is_no_batch_is_refused_whole(service: Service, body: Any) -> None:
    reply = ask(service, "POST", "/v1/batch", body, {"Content-Type": "application/json"})
    assert (reply.status, reply.kind) == (400, "bad-body")
    assert len(store_of(service)) == 0


def test_what_a_batch_is_too_large_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_KEYS", 3)
    monkeypatch.setattr(batch, "MGET_BYTES", 10)
    assert ask(service, "POST", "/v1/batch", {"ops": [SET] * 3}).status == 200
    assert ask(service, "POST", "/v1/batch", {"ops": [SET] * 4}).kind == "too-many-keys"
    assert ask(service, "POST", "/v1/mget", {"keys": list("abcd")}).kind == "too-many-keys"
    store_of(service).update({b"x": b"12345", b"y": b"123456"})
    assert ask(service, "POST", "/v1/mget", {"keys": ["x", "y"]}).kind == "answer-too-large"
    assert ask(service, "POST", "/v1/mget", {"keys": ["x", "x", "x"]}).status == 200


def test_a_value_of_a_batch_may_be_too_large(open_store: Any, serve: Serve) -> None:
    service = serve(open_store(max_value=10))
    large = {"op": "set", "key": "a", "value": "x" * 11}
    reply = ask(service, "POST", "/v1/batch", {"ops": [SET, large]})
    assert (reply.status, reply.kind) == (413, "value-too-large")
    assert "ops[1]" in reply.json["detail"]
    assert len(store_of(service)) == 0
    body = {"ops": [SET | {"value": "x" * 3_000_000}]}
    assert "announced" in ask(service, "POST", "/v1/batch", body).json["detail"]


def test_many_keys_are_read_at_once(service: Service) -> None:
    store_of(service).update({b"a": b"1", ODD: b"\xfe", b"c": b""})
    keys = {"keys": ["a", "b", "c", "a"], "keys_b64": [base64.b64encode(ODD).decode()]}
    items = ask(service, "POST", "/v1/mget", keys).json["items"]
    assert list(map(item, items)) == [(b"a", b"1"), (b"c", b""), (ODD, b"\xfe")]
    for bad in ({"keys": [""]}, {"keys": "a"}, {"keys": [1]}, {"keys_b64": ["?"]}, {"key": "a"}):
        assert ask(service, "POST", "/v1/mget", bad).kind == "bad-body"


@pytest.mark.parametrize("route", ["batch", "mget"])
def test_a_body_has_to_be_declared_as_json(service: Service, route: str) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
        reply = ask(service, "POST", f"/v1/{route}", b"{}", {"Content-Type": kind})
        assert (reply.status, reply.kind) == (415, "content-type")
    right = {"Content-Type": "application/json; charset=utf-8"}
    assert ask(service, "POST", f"/v1/{route}", b"{}", right).status == 200
    reply = ask(service, "POST", f"/v1/{route}", b"{}", right | {"Content-Encoding": "gzip"})
    assert reply.kind == "content-encoding"
    with RawClient(service) as client:
        fields = "Host: localhost\r\nContent-Type: application/json\r\n"
        head = f"POST /v1/{route} HTTP/1.1\r\n{fields}\r\n"
        assert client.ask(head.encode()).kind == "length-required"


# The rest


def test_stats_say_what_the_store_says(service: Service) -> None:
    store = store_of(service)
    store[b"a"] = b"1"
    found = ask(service, "GET", "/v1/stats").json
    assert found["backend"] == store.backend
    assert (found["max_key"], found["max_value"]) == (store.max_key, 1024 * 1024)
    assert {name: found[name] for name in store.stats()._fields} == store.stats()._asdict()


def test_a_closed_store_is_503_on_every_route(service: Service) -> None:
    store_of(service).close()
    for method, target in (
        ("GET", "/v1/kv/a"), ("GET", "/v1/ttl/a"), ("POST", "/v1/incr/a"), ("GET", "/v1/scan"),
        ("GET", "/v1/count"), ("DELETE", "/v1/scan?prefix=a"), ("GET", "/v1/stats"),
        ("GET", "/v1/watch"), ("DELETE", "/v1/scan?prefix="),
    ):  # fmt: skip
        assert ask(service, method, target).kind == "store-closed"
    assert ask(service, "POST", "/v1/batch", {"ops": [SET]}).kind == "store-closed"
    assert ask(service, "POST", "/v1/mget", {"keys": ["a"]}).kind == "store-closed"


def test_a_full_store_is_507_and_batches_change_nothing(open_store: Any, serve: Serve) -> None:
    store = open_store(max_bytes=100_000)
    service = serve(store)
    large = {"op": "set", "key": "b", "value": "x" * 200_000}
    assert ask(service, "POST", "/v1/batch", {"ops": [SET, large]}).kind == "store-full"
    assert len(store) == 0


def test_what_is_in_the_histogram(service: Service) -> None:
    counts = service.server.metrics._durations.counts
    with RawClient(service) as client:
        for target, length in (
            ("/v1/count", 1), ("/v1/scan", 2), ("/v1/stats", 3), ("/v1/none", 3), ("/healthz", 3),
        ):  # fmt: skip
            client.ask(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            wait_until(lambda: sum(counts) == length)  # noqa: B023  # called at once
    ask(service, "GET", "/v1/scan", headers={"Accept": "application/x-ndjson"})
    ask(service, "GET", "/v1/count")
    wait_until(lambda: sum(counts) == 4)
    assert service.server.metrics.requests["GET", "scan", 200] == 4


def test_batches_of_many_clients_are_one_step_each(fast_store: dumbkv.Store, serve: Serve) -> None:
    """Each moves 1 from one key to another under a check, and tries again until it holds."""
    service = serve(fast_store)
    fast_store.update({b"a": b"100", b"b": b"0"})

    def move() -> None:
        for _ in range(10):
            while True:
                entry = fast_store.entry(b"a")
                assert entry is not None
                operations = [
                    {"op": "set", "key": "a", "value": str(int(entry.value) - 1)},
                    {"op": "incr", "key": "b"},
                ]
                checks = [{"key": "a", "version": entry.version}]
                if (
                    ask(service, "POST", "/v1/batch", {"checks": checks, "ops": operations}).status
                    == 200
                ):
                    break

    threads = [threading.Thread(target=move) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert dict(fast_store) == {b"a": b"60", b"b": b"40"}
