"""Fixtures: every test that takes `store` or `open_store` runs on each table there is."""

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

import dumbkv
from dumbkv._store import NativeStore

settings.register_profile("ci", max_examples=300, deadline=None, print_blob=True)
settings.register_profile(
    "deep",
    max_examples=5000,
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

REQUIRED = os.environ.get("DUMBKV_BACKEND", "auto")
BACKENDS = ["python"] if NativeStore is None and REQUIRED != "c" else ["python", "c"]

OpenStore = Callable[..., dumbkv.Store]


@pytest.fixture(params=BACKENDS)
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """`dumbkv.open` on one table; every store's invariants are checked at the end."""
    opened: list[dumbkv.Store] = []

    def open_one(**options: object) -> dumbkv.Store:
        opened.append(dumbkv.open(backend=request.param, **options))  # type: ignore[arg-type]  # whatever the test gives
        return opened[-1]

    yield open_one
    for store in opened:
        store._check()
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> dumbkv.Store:
    """An empty store."""
    return open_store()
