"""Fixtures: services over each table there is, and checks that hold after every test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http.app import App
from dumbkv_http.routes import possible_answers
from tests.conftest import BACKENDS

Serve = Callable[..., dumbkv_http.Service]


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails when it has not within the time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.002)


@pytest.fixture
def fast_store() -> Iterator[dumbkv.Store]:
    """A store on one table only, the C one if there is one: for tests that are long."""
    with dumbkv.open(backend=BACKENDS[-1]) as store:  # type: ignore[arg-type]  # they are names
        yield store


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`dumbkv_http.serve`; the services are closed at the end, and their counters checked."""
    running: list[dumbkv_http.Service] = []

    def start(store: dumbkv.Store, **options: object) -> dumbkv_http.Service:
        running.append(dumbkv_http.serve(store, **options))  # type: ignore[arg-type]  # whatever the test gives
        return running[-1]

    yield start
    for service in running:
        service.close()
        server = service.server
        assert server.held == 0, "body bytes were counted in and never out"
        assert server.unsent == 0, "answer bytes were counted in and never out"
        unexpected = set(server.metrics.requests) - set(possible_answers())
        assert not unexpected, "an answer had no series from the start"


@pytest.fixture
def service(store: dumbkv.Store, serve: Serve) -> dumbkv_http.Service:
    """A service over an empty store, on each table."""
    return serve(store)


@pytest.fixture
def app(store: dumbkv.Store) -> Iterator[App]:
    """The application over an empty store, without sockets."""
    app = App(store, hosts=[b"localhost"])
    yield app
    app.close()


def counted(service: dumbkv_http.Service, status: int | None = None) -> int:
    """How many answers the service has counted, with this status or with any."""
    requests = service.server.metrics.requests
    return sum(n for (_, _, each), n in list(requests.items()) if status in (None, each))
