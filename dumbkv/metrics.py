"""A store's counters for Prometheus; needs ``pip install dumbkv[metrics]``."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dumbkv._store import Store
from dumbkv.errors import ClosedError

_GAUGES = {
    "entries": "Keys in the store.",
    "data_bytes": "Bytes in all keys and values, without overhead.",
    "memory_bytes": "Bytes in all keys and values with what holds them.",
}
_COUNTERS = {
    "hits": "Reads that found their key.",
    "misses": "Reads that did not find their key.",
    "sets": "Values written.",
    "deletes": "Keys removed by a caller.",
    "expired": "Keys removed because their time had come.",
    "evicted": "Keys removed to make room.",
}


class StoreCollector(Collector):
    """The counters of one store, read when Prometheus asks: the store's work costs nothing more.

    `name` tells several stores of one process apart; it becomes the label ``store``. A
    closed store gives no samples.

    >>> import dumbkv
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> registry, store = CollectorRegistry(), dumbkv.open()
    >>> registry.register(StoreCollector(store, name="sessions"))
    >>> store[b"a"] = b"1"
    >>> print(generate_latest(registry).decode().splitlines()[2])
    dumbkv_entries{store="sessions"} 1.0
    """

    def __init__(self, store: Store, name: str = "default") -> None:
        self._store = store
        self._name = name

    def collect(self) -> Iterable[Metric]:
        try:
            stats = self._store.stats()._asdict()
        except ClosedError:
            stats = {}
        for field, text in _GAUGES.items():
            gauge = GaugeMetricFamily(f"dumbkv_{field}", text, labels=["store"])
            if stats:
                gauge.add_metric([self._name], stats[field])
            yield gauge
        for field, text in _COUNTERS.items():
            counter = CounterMetricFamily(f"dumbkv_{field}", text, labels=["store"])
            if stats:
                counter.add_metric([self._name], stats[field])
            yield counter
