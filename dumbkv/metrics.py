"""A store's counters for Prometheus; needs ``pip install dumbkv[metrics]``."""

from collections.abc import Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
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
_LOG = {
    "log_bytes": ("log_bytes", "Bytes in the files of the log."),
    "log_files": ("log_files", "Files of the log."),
    "log_cut_bytes": ("cut_bytes", "Bytes at the end of the log that a crash had cut."),
    "log_poisoned": ("poisoned", "1 once the disk failed and nothing more is written."),
    "log_uncleaned": ("uncleaned", "1 once the log could not be cleaned, and only grows."),
    "log_last_sync_timestamp_seconds": ("last_sync", "When all that was written was on the disk."),
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
        if stats and self._store._room is not None:
            text = "The most that memory_bytes may be: writes past it are refused."
            gauge = GaugeMetricFamily("dumbkv_max_bytes", text, labels=["store"])
            gauge.add_metric([self._name], self._store._room)
            yield gauge
        if stats and self._store.path is not None:
            yield from self._log(stats)

    def _log(self, stats: dict[str, float]) -> Iterable[Metric]:
        """Of a store on disk."""
        for metric, (field, text) in _LOG.items():
            gauge = GaugeMetricFamily(f"dumbkv_{metric}", text, labels=["store"])
            gauge.add_metric([self._name], stats[field])
            yield gauge
        seconds = HistogramMetricFamily(
            "dumbkv_log_fsync_duration_seconds", "Waits for the disk.", labels=["store"]
        )
        buckets, total = self._store._disk_waits()
        seconds.add_metric([self._name], buckets, total)
        yield seconds
