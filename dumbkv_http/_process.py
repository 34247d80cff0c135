"""The `process_*` metrics under their usual names, from sources that need no new descriptor.

prometheus_client's own collector opens files in /proc at each scrape and leaves the metrics out
when that fails, so the descriptor and memory objectives would go blank at the very moment the
process runs out of descriptors. Here one descriptor is kept open and the rest comes from calls.
"""

from __future__ import annotations

import errno
import math
import os
import resource
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["ProcessMetrics"]

_PROC = "/proc/self"


class ProcessMetrics(Collector):
    """Memory, CPU time, descriptors and start time of this process; needs Linux's /proc.

    Where there is no /proc, CPU time and the descriptor limit are what is left. Costs one
    directory listing, so O(open descriptors), for each `collect`. Call `close` at the end.
    """

    def __init__(self) -> None:
        self._statm = _open_or_none(f"{_PROC}/statm")
        self._started = _start_time()
        self._page = resource.getpagesize()

    def close(self) -> None:
        """Closes the kept descriptor; may be called twice."""
        statm, self._statm = self._statm, None
        if statm is not None:
            os.close(statm)

    def resident(self) -> int | None:
        """Bytes in memory, or None where there is no /proc."""
        if self._statm is None:
            return None
        return int(os.pread(self._statm, 256, 0).split()[1]) * self._page

    def descriptors(self) -> tuple[float | None, float]:
        """How many are open, None where there is no /proc, and how many may be."""
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        limit = math.inf if soft == resource.RLIM_INFINITY else float(soft)
        return _open_descriptors(limit), limit

    def collect(self) -> Iterator[Metric]:
        """The metrics, none of which goes missing for want of a descriptor."""
        if self._statm is not None:
            virtual, resident = os.pread(self._statm, 256, 0).split()[:2]
            yield GaugeMetricFamily(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                value=int(virtual) * self._page,
            )
            yield GaugeMetricFamily(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                value=int(resident) * self._page,
            )
        if self._started is not None:
            yield GaugeMetricFamily(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                value=self._started,
            )
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield CounterMetricFamily(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            value=usage.ru_utime + usage.ru_stime,
        )
        used, limit = self.descriptors()
        yield GaugeMetricFamily(
            "process_max_fds", "Maximum number of open file descriptors.", value=limit
        )
        if used is not None:
            yield GaugeMetricFamily(
                "process_open_fds", "Number of open file descriptors.", value=used
            )


def _open_descriptors(limit: float) -> float | None:
    try:
        return float(len(os.listdir(f"{_PROC}/fd")))
    except OSError as error:
        # Out of descriptors is itself the answer: as many are open as may be.
        return limit if error.errno == errno.EMFILE else None


def _open_or_none(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _start_time() -> float | None:
    """Seconds since the epoch, from proc(5): field 22 of stat counts ticks since boot."""
    try:
        with open(f"{_PROC}/stat", "rb") as stat:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as boot:
            booted = next(int(line.split()[1]) for line in boot if line.startswith(b"btime "))
    except (OSError, StopIteration):
        return None
    return booted + ticks / os.sysconf("SC_CLK_TCK")
