"""The last hour of a server's own counters, for its status page.

A ring of readings, one every few seconds, taken in the event loop's sweep: no thread, no lock, and
nothing at all in the way of a request. A reading is some forty numbers, so the ring has a bound of
about half a megabyte and an hour's end.
"""

from __future__ import annotations

import gc
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable

from dumbkv_http.metrics import DURATION_BOUNDS, HttpMetrics
from dumbkv_http.slo.reading import Reading, Window, highest, tally, window

__all__ = ["HOUR", "INTERVAL", "History"]

INTERVAL = 10.0
"""Seconds from one reading to the next."""
HOUR = 3600.0


class History:
    """Readings of the last hour, the first one, and the highest since then.

    The server calls `tick` now and then and sets `clock`, in seconds and monotonic.
    """

    def __init__(self, metrics: HttpMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._metrics = metrics
        self._ring: deque[Reading] = deque(maxlen=int(HOUR / INTERVAL) + 1)
        self._next = 0.0
        self._first: Reading | None = None
        self._resident: float | None = None
        self._descriptors: float | None = None

    def tick(self, now: float) -> None:
        """Takes a reading if it is time for one; costs about 50 us when it is."""
        if now >= self._next:
            self._next = now + INTERVAL
            self._take(now)

    def readings(self) -> list[Reading]:
        """Those of the last hour and one of now, the oldest first."""
        now = self.clock()
        if self._first is None:
            self._take(now)
        last = self._take(now, keep=False)
        return [*(each for each in self._ring if each.at < now), last]

    def since_start(self, last: Reading) -> Window:
        """The whole life of the server up to a reading."""
        assert self._first is not None, "a reading came before the first"
        found = window([self._first, last])
        return found._replace(resident=self._resident, descriptors=self._descriptors)

    def _take(self, now: float, keep: bool = True) -> Reading:
        metrics = self._metrics
        requests, failures = tally(metrics.requests)
        collected = gc.get_stats()
        open_fds, max_fds = metrics.process.descriptors()
        reading = Reading(
            at=now,
            requests=requests,
            failures=failures,
            bounds=DURATION_BOUNDS,
            durations=metrics.durations(),
            resident=metrics.process.resident(),
            open_fds=open_fds,
            max_fds=max_fds,
            collections=sum(each["collections"] for each in collected),
            uncollectable=sum(each["uncollectable"] for each in collected),
        )
        self._resident = highest((self._resident, reading.resident))
        self._descriptors = highest((self._descriptors, reading.descriptors))
        if keep:
            self._ring.append(reading)
            self._first = self._first or reading
        return reading


def since(seconds: float, readings: list[Reading]) -> list[Reading]:
    """The readings of the last `seconds`, with the one at or before their beginning if kept.

    >>> zero = Reading(0.0, 0, 0, (0.1,), (0, 0), None, None, 64.0, 0, 0)
    >>> [each.at for each in since(5.0, [zero._replace(at=float(n)) for n in range(0, 20, 4)])]
    [8.0, 12.0, 16.0]
    """
    begin = readings[-1].at - seconds
    return readings[max(0, bisect_right(readings, begin, key=lambda each: each.at) - 1) :]
