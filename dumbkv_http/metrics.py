"""What the service tells Prometheus.

The event loop has one thread, so it counts in plain integers; a collector turns them into metrics
when they are asked for. A request thus costs one dictionary entry and one bisection, and no lock.
Families built this way have no `_created` series, without changing prometheus_client's global
setting for the process around us. Every server has its own registry for the same reason.

All answers any route can give exist from the start with the value 0: a ratio of rates is empty,
not 0, while its numerator has no series, and the first error of a new series is never seen.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import GCCollector, PlatformCollector
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

import dumbkv
from dumbkv.metrics import StoreCollector
from dumbkv_http._process import ProcessMetrics

__all__ = ["DURATION_BOUNDS", "METHODS", "HttpMetrics"]

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OTHER")
"""The values of the label `method`; whatever else a client sends is OTHER."""

DURATION_BOUNDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05,
    0.075, 0.09, 0.1, 0.125, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds in seconds: the objectives 0.02, 0.05 and 0.1 are bounds, so their ratios are exact;
close around them, and finite ones above 0.1, because a quantile is never more than the last."""

_PAUSE_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class _Histogram:
    """Counts per bucket and a sum, for one writer at a time."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.sum += seconds * times

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            total += count
            buckets.append((str(bound), total))
        return HistogramMetricFamily(name, text, buckets=buckets, sum_value=self.sum)


class HttpMetrics(Collector):
    """Counts the answers of one server and renders the page for `/metrics`.

    `answers` are all (method, handler, status) the routes can give. The server sets
    `connections`, `in_flight` and `log_dropped`; `process` tells of memory and descriptors. `close`
    undoes what reaches beyond this object.
    """

    def __init__(self, store: dumbkv.Store, answers: Iterable[tuple[str, str, int]]) -> None:
        self.requests = dict.fromkeys(sorted(answers), 0)
        self.refused = 0
        self.disconnects = 0
        self.denied = {"missing-token": 0, "wrong-token": 0, "read-only-token": 0}
        self.tls_failures = 0
        self.reloads = {"ok": 0, "failed": 0}
        self.log_dropped: Callable[[], int] = int
        self.connections: Callable[[], int] = int
        self.in_flight: Callable[[], int] = int
        self._durations = _Histogram(DURATION_BOUNDS)
        self._pauses = _Histogram(_PAUSE_BOUNDS)
        self._pause_began = 0.0
        self.process = ProcessMetrics()
        self.observe = self._durations.observe
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.registry.register(self.process)
        self.registry.register(StoreCollector(store))
        GCCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        gc.callbacks.append(self._on_gc)

    def close(self) -> None:
        """Stops watching the garbage collector and gives the descriptor back."""
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
        self.process.close()

    def count(self, method: str, handler: str, status: int) -> None:
        """Counts one answer; every answer of the server comes by here once."""
        answer = (method, handler, status)
        self.requests[answer] = self.requests.get(answer, 0) + 1

    def durations(self) -> tuple[int, ...]:
        """How many key-value requests each bucket of the durations has, the one above all last."""
        return tuple(self._durations.counts)

    def page(self, accept: str) -> tuple[str, bytes]:
        """Content type and text of all metrics, in the format `accept` prefers.

        Costs about 10 us for each sample.
        """
        encode, content_type = choose_encoder(_understood(accept))
        return content_type, encode(self.registry)

    def collect(self) -> Iterator[Metric]:
        """The metrics of the service itself."""
        requests = CounterMetricFamily(
            "http_requests_total",
            "Answers given, refused connections and unreadable requests included.",
            labels=("method", "handler", "status"),
        )
        for (method, handler, status), count in list(self.requests.items()):
            requests.add_metric((method, handler, str(status)), count)
        yield requests
        yield self._durations.family(
            "http_request_duration_seconds",
            "From a key-value request being readable to its answer handed to the socket; no 5xx.",
        )
        yield GaugeMetricFamily(
            "dumbkv_http_in_flight_requests",
            "Requests begun and not yet answered in full, this scrape included.",
            value=self.in_flight(),
        )
        yield GaugeMetricFamily(
            "dumbkv_http_connections", "Open client connections.", value=self.connections()
        )
        yield CounterMetricFamily(
            "dumbkv_http_connections_refused_total",
            "Connections answered with 503 because there was no room for them.",
            value=self.refused,
        )
        yield CounterMetricFamily(
            "dumbkv_http_client_disconnects_total",
            "Clients that left in the middle of a request or of its answer.",
            value=self.disconnects,
        )
        denied = CounterMetricFamily(
            "dumbkv_http_denied_total",
            "Requests refused for want of a token that allows them.",
            labels=("reason",),
        )
        for reason, count in self.denied.items():
            denied.add_metric((reason,), count)
        yield denied
        yield CounterMetricFamily(
            "dumbkv_http_tls_failures_total",
            "Connections whose TLS handshake failed or did not come in time.",
            value=self.tls_failures,
        )
        reloads = CounterMetricFamily(
            "dumbkv_http_reloads_total",
            "Reloads of tokens, certificate and log asked for by SIGHUP.",
            labels=("result",),
        )
        for result, count in self.reloads.items():
            reloads.add_metric((result,), count)
        yield reloads
        yield CounterMetricFamily(
            "dumbkv_http_access_log_dropped_total",
            "Lines of the access log that were lost because it could not be written in time.",
            value=self.log_dropped(),
        )
        yield self._pauses.family(
            "dumbkv_gc_pause_seconds", "Time Python's garbage collector held up all threads."
        )
        build = GaugeMetricFamily("dumbkv_build_info", "Always 1.", labels=("version",))
        build.add_metric((dumbkv.__version__,), 1)
        yield build

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._pause_began = now
        elif self._pause_began:
            self._pauses.observe(now - self._pause_began)
            self._pause_began = 0.0


_VERSIONS = frozenset(("0.0.1", "0.0.4", "1.0.0"))


def _understood(accept: str) -> str:
    """What of an Accept field names formats in versions that exist.

    prometheus_client fails on a version that is not a number, and repeats one it does not know in
    its answer's Content-Type; neither is for a client to bring about.

    >>> _understood("text/plain;version=abc, application/openmetrics-text; version=1.0.0;q=0.5")
    ' application/openmetrics-text; version=1.0.0;q=0.5'
    """
    kept = []
    for part in accept.split(","):
        options = [option.strip() for option in part.split(";")]
        versions = {option[8:] for option in options if option.startswith("version=")}
        if versions <= _VERSIONS:
            kept.append(part)
    return ",".join(kept)
