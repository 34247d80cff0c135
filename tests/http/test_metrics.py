"""What the service tells Prometheus: every answer once, on a series that was there before."""

from __future__ import annotations

import gc
import http.client
import math
import re

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import dumbkv
from dumbkv_http import Service
from dumbkv_http.app import App
from dumbkv_http.metrics import DURATION_BOUNDS
from dumbkv_http.routes import possible_answers
from tests.http.client import RawClient, get, put
from tests.http.conftest import Serve, counted

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def samples(service: Service) -> dict[str, float]:
    """All samples of a scrape, by name and labels as Prometheus writes them."""
    with RawClient(service) as client:
        page = client.ask(SCRAPE).body.decode()
    found = {}
    for family in parse_text(page):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def requests(found: dict[str, float]) -> dict[str, float]:
    return {name: n for name, n in found.items() if name.startswith("http_requests_total") and n}


def test_every_answer_is_counted_exactly_once(service: Service) -> None:
    with RawClient(service) as client:
        statuses = [
            client.ask(data).status
            for data in (
                put("a", b"1"), put("a", b"2"), get("a"), get("b"), get(".."), get("a?x"),
                b"BREW /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
                SCRAPE,
                b"nonsense\r\n\r\n",
            )
        ]  # fmt: skip
    assert statuses == [201, 204, 200, 404, 400, 400, 405, 404, 200, 200, 400]
    assert requests(samples(service)) == {
        'http_requests_total{handler="kv",method="PUT",status="201"}': 1,
        'http_requests_total{handler="kv",method="PUT",status="204"}': 1,
        'http_requests_total{handler="kv",method="GET",status="200"}': 1,
        'http_requests_total{handler="kv",method="GET",status="404"}': 1,
        'http_requests_total{handler="kv",method="GET",status="400"}': 2,
        'http_requests_total{handler="other",method="OTHER",status="405"}': 1,
        'http_requests_total{handler="other",method="GET",status="404"}': 1,
        'http_requests_total{handler="health",method="GET",status="200"}': 1,
        'http_requests_total{handler="metrics",method="GET",status="200"}': 1,
        'http_requests_total{handler="other",method="OTHER",status="400"}': 1,
    }
    assert counted(service) == 12  # The second scrape counts itself when it is answered.


def test_all_answers_have_a_series_before_the_first_request(service: Service) -> None:
    found = samples(service)
    for method, handler, status in possible_answers():
        name = f'http_requests_total{{handler="{handler}",method="{method}",status="{status}"}}'
        assert found[name] == 0
    for handler in ("kv", "health", "metrics", "other"):
        for method in ("GET", "PUT", "OTHER"):
            for status in (500, 503):
                assert (method, handler, status) in service.server.metrics.requests


def test_the_histogram_has_no_labels_and_holds_key_value_operations_only(service: Service) -> None:
    with RawClient(service) as client:
        for data in (put("a", b"1"), get("a"), get("b"), SCRAPE, b"GET / HTTP/1.1\r\n\r\n"):
            client.ask(data)
    service.server.app.store.close()
    with RawClient(service) as client:
        assert client.ask(get("a")).status == 503
    found = samples(service)
    assert found["http_request_duration_seconds_count{}"] == 3
    assert found['http_request_duration_seconds_bucket{le="+Inf"}'] == 3
    assert 0 < found["http_request_duration_seconds_sum{}"] < 3
    bounds = [
        float(re.findall(r'le="(.*)"', name)[0])
        for name in found
        if name.startswith("http_request_duration_seconds_bucket")
    ]
    assert bounds == [*DURATION_BOUNDS, math.inf]
    assert {0.02, 0.05, 0.1} < set(bounds)


def test_requests_behind_others_in_one_read_count_their_wait(
    fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with RawClient(service) as client:
        client.send(get("a") * 100)
        assert {client.answer().status for _ in range(100)} == {404}
    assert samples(service)["http_request_duration_seconds_count{}"] == 100


def test_the_default_collectors_and_the_gauges_are_there(service: Service) -> None:
    found = samples(service)
    for name in (
        "process_resident_memory_bytes{}",
        "process_virtual_memory_bytes{}",
        "process_cpu_seconds_total{}",
        "process_start_time_seconds{}",
        "process_open_fds{}",
        "process_max_fds{}",
        'python_gc_collections_total{generation="2"}',
        'python_gc_objects_uncollectable_total{generation="0"}',
        'dumbkv_entries{store="default"}',
        "dumbkv_gc_pause_seconds_count{}",
        f'dumbkv_build_info{{version="{dumbkv.__version__}"}}',
    ):
        assert name in found
    assert found["dumbkv_http_in_flight_requests{}"] == 1
    assert found["dumbkv_http_connections{}"] == 1
    assert found["dumbkv_http_connections_refused_total{}"] == 0
    assert found["dumbkv_http_client_disconnects_total{}"] == 0
    assert any(name.startswith("python_info{") for name in found)


def test_process_metrics_agree_with_the_usual_collector(app: App) -> None:
    usual = {}
    for family in prometheus_client.ProcessCollector(registry=None).collect():
        usual[family.name, family.type, family.documentation] = family.samples[0].value
    ours = {}
    for family in app.metrics.process.collect():
        ours[family.name, family.type, family.documentation] = family.samples[0].value
    assert ours.keys() == usual.keys()
    for key, value in usual.items():
        assert ours[key] == pytest.approx(value, rel=0.2, abs=1.0)


def test_no_series_tells_when_it_was_created(service: Service) -> None:
    openmetrics = b"Accept: application/openmetrics-text;version=1.0.0\r\n\r\n"
    with RawClient(service) as client:
        answer = client.ask(SCRAPE.removesuffix(b"\r\n") + openmetrics)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {
        sample.name
        for family in parse_openmetrics(answer.body.decode())  # type: ignore[no-untyped-call]  # prometheus_client's
        for sample in family.samples
    }
    assert "http_requests_total" in names
    assert not [name for name in names if name.endswith("_created")]


def test_pauses_of_the_garbage_collector_are_measured_until_closed(app: App) -> None:
    def pauses() -> float:
        (pauses,) = (f for f in app.metrics.collect() if f.name == "dumbkv_gc_pause_seconds")
        return next(s.value for s in pauses.samples if s.name.endswith("_count"))

    before = pauses()
    gc.collect()
    assert pauses() > before
    app.close()
    after = pauses()
    gc.collect()
    assert pauses() == after


def test_a_scrape_by_a_standard_client_is_plain_text(service: Service) -> None:
    connection = http.client.HTTPConnection(service.host, service.port, timeout=10)
    connection.request("GET", "/metrics", headers={"Accept": "*/*"})
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE http_requests_total counter" in response.read()
    connection.close()


VERSIONS = [
    *("1.0.0", "0.0.4", "0.0.1", "2.0.0", "2.0.x", "abc", "1.x"),
    *("\xe9", "\xb2", "", '1.0.0"', "9" * 5000),
]


@pytest.mark.parametrize("version", VERSIONS, ids=range(len(VERSIONS)))
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain", "*/*"])
def test_no_accept_field_draws_a_500_or_comes_back(
    version: str, kind: str, fast_store: dumbkv.Store, serve: Serve
) -> None:
    service = serve(fast_store)
    with RawClient(service) as client:
        accept = f"Accept: {kind}; version={version}; escaping=x\r\n\r\n".encode("latin-1")
        answer = client.ask(SCRAPE[:-2] + accept)
    assert answer.status == 200
    found = re.search("version=([^;]*)", answer.headers["content-type"])
    assert found is not None
    assert found[1] in ("0.0.4", "1.0.0", "0.0.1")
