"""What openapi.json allows, and what it does not, draws no 5xx and is answered as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.checks
from hypothesis import given, settings
from hypothesis import strategies as st

import dumbkv
import dumbkv_http
from dumbkv_http import Service
from dumbkv_http.openapi import document
from dumbkv_http.routes import ANYWHERE, ROUTES
from tests.http.asking import ask

described = schemathesis.openapi.from_dict(json.loads(document(ROUTES, ANYWHERE)))


@pytest.fixture(scope="module")
def live() -> Iterator[Service]:
    with dumbkv.open(ordered=True) as store, dumbkv_http.serve(store) as service:
        yield service


@described.exclude(path="/v1/watch").parametrize()
@settings(max_examples=15)
def test_every_operation_answers_as_it_is_described(live: Service, case: Any) -> None:
    response = case.call(base_url=live.url, timeout=10)
    assert response.status_code < 500
    case.validate_response(
        response,
        checks=[
            schemathesis.checks.not_a_server_error,
            schemathesis.specs.openapi.checks.status_code_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
            schemathesis.specs.openapi.checks.response_schema_conformance,
        ],
    )


keys: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(["a", "b", "", "n", "\ud800"]),
        "key_b64": st.text("YQ=", max_size=4),
    },
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
    ),
    max_leaves=5,
)
operations = st.builds(
    lambda key, rest: {**key, **rest},
    keys,
    st.fixed_dictionaries(
        {"op": st.sampled_from(["set", "delete", "incr"]) | junk},
        optional={
            "value": st.text(max_size=5) | junk,
            "by": st.integers() | junk,
            "ttl": st.floats() | st.just("never") | junk,
            "expire_at": st.floats() | junk,
            "keep_ttl": st.booleans() | junk,
        },
    ),
)
checks = st.builds(
    lambda key, version: {**key, "version": version}, keys, st.none() | st.integers() | junk
)
bodies = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "ops": st.lists(operations | junk, max_size=5),
            "checks": st.lists(checks | junk, max_size=3),
        },
    ),
    st.fixed_dictionaries(
        {}, optional={"keys": st.lists(st.text(max_size=3) | junk), "keys_b64": junk}
    ),
    junk,
)


@settings(max_examples=300)
@given(bodies, st.sampled_from(["batch", "mget"]), st.binary(max_size=3))
def test_no_body_draws_a_5xx_and_a_refused_one_changes_nothing(
    live: Service, body: Any, route: str, tail: bytes
) -> None:
    store = live.server.app.store
    before = dict(store)
    data = json.dumps(body).encode() + (tail if tail.startswith(b"}") else b"")
    reply = ask(live, "POST", f"/v1/{route}", data, {"Content-Type": "application/json"})
    assert reply.status in (200, 400, 409)
    if reply.status != 200 or route == "mget":
        assert dict(store) == before
