"""Months of a service's metrics with known incidents, as Prometheus would have scraped them.

A counter's value is a function of the number of requests so far, so every run gives the same
series, and the truth about any span is counted beside them. Written as OpenMetrics; promtool makes
blocks of it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

__all__ = ["History", "Incident", "Minute", "blocks"]

STEP = 60
_BOUNDS = ("0.005", "0.02", "0.05", "0.1", "0.125", "0.25", "1.0")
# The share of requests within each of them: on a good day, and for those that are slow.
_GOOD = (0.92, 0.985, 0.9985, 0.9996, 0.9998, 1.0, 1.0)
_SLOW = (0.0, 0.0, 0.0, 0.0, 0.4, 0.9, 1.0)

_BLOCK = 486 * 3600
"""Seconds in a block, as Prometheus aligns them to 1970."""

_LABELS = 'instance="127.0.0.1:8080",job="dumbkv"'


class Incident(NamedTuple):
    """From a minute since the start on, for so many minutes: what was wrong, with which share."""

    start: int
    minutes: int
    kind: Literal["errors", "slow", "down"]
    share: float = 1.0


class Minute(NamedTuple):
    """What happened in one minute: requests that count, how many of them were answered with a 5xx,
    and how many of the others took more than 100 ms."""

    total: int
    bad: int
    slow: int
    up: bool


class Part(NamedTuple):
    """The samples that one block holds."""

    number: int
    lines: Iterator[str]


@dataclass
class History:
    """`days` of one-minute scrapes from `start` on, in seconds since the epoch.

    `per_minute` requests a minute, a fiftieth more that are the client's fault; one in
    `background` fails anyway. `minutes` is the truth once `lines` has been read to its end.
    """

    start: int
    days: float
    incidents: tuple[Incident, ...] = ()
    per_minute: int = 600
    background: int = 10_000
    minutes: list[Minute] = field(default_factory=list)

    def parts(self) -> Iterator[Part]:
        """The samples of each block, in their order."""
        minute = -1

        def number(page: str) -> int:
            nonlocal minute
            minute += 1
            return (self.start + minute * STEP) // _BLOCK

        for block, pages in groupby(self.lines(), number):
            yield Part(block, pages)

    def lines(self) -> Iterator[str]:
        """The samples in OpenMetrics' text format, a minute at a time; without the end's mark."""
        wrong: dict[int, Incident] = {
            minute: each
            for each in self.incidents
            for minute in range(each.start, each.start + each.minutes)
        }
        self.minutes.clear()
        counts = _Counters()
        for minute in range(int(self.days * 1440) + 1):
            at = self.start + minute * STEP
            incident = wrong.get(minute)
            if incident is not None and incident.kind == "down":
                counts = _Counters()  # It comes back as a new process.
                self.minutes.append(Minute(0, 0, 0, False))
                yield f"up{{{_LABELS}}} 0 {at}\n"
                continue
            if minute:  # The first scrape is of what was before.
                self.minutes.append(counts.add(self.per_minute, incident, self.background))
            if counts.scrapes == 0:
                counts.started = at
            counts.scrapes += 1
            yield counts.page(at)


@dataclass
class _Counters:
    """One process's counters."""

    requests: int = 0
    bad: int = 0
    slow: int = 0
    fast: int = 0
    carried: float = 0.0
    scrapes: int = 0
    started: int = 0

    def add(self, requests: int, incident: Incident | None, background: int) -> Minute:
        """One more minute of requests."""
        share = incident.share if incident else 0.0
        errors = share if incident and incident.kind == "errors" else 0.0
        slow = int(requests * share) if incident and incident.kind == "slow" else 0
        self.carried += requests * max(errors, 1 / background)
        bad = min(int(self.carried + 1e-9), requests - slow)
        self.carried -= bad
        self.requests += requests
        self.bad += bad
        before = self.beyond()
        self.slow += slow
        self.fast += requests - bad - slow
        return Minute(requests, bad, self.beyond() - before, True)

    def beyond(self) -> int:
        """How many requests took more than 100 ms so far."""
        return self.fast + self.slow - self.within(_BOUNDS.index("0.1"))

    def within(self, place: int) -> int:
        """The count of one bucket."""
        return int(self.fast * _GOOD[place]) + int(self.slow * _SLOW[place])

    def page(self, at: int) -> str:
        """The samples of one scrape."""
        served = self.fast + self.slow
        buckets = "".join(
            f'http_request_duration_seconds_bucket{{{_LABELS},le="{bound}"}} '
            f"{self.within(place)} {at}\n"
            for place, bound in enumerate(_BOUNDS)
        )
        return (
            f"up{{{_LABELS}}} 1 {at}\n"
            f'http_requests_total{{{_LABELS},method="GET",handler="kv",status="200"}} '
            f"{served} {at}\n"
            f'http_requests_total{{{_LABELS},method="GET",handler="kv",status="404"}} '
            f"{self.requests // 50} {at}\n"
            f'http_requests_total{{{_LABELS},method="GET",handler="kv",status="500"}} '
            f"{self.bad} {at}\n"
            f'http_requests_total{{{_LABELS},method="GET",handler="metrics",status="200"}} '
            f"{self.scrapes} {at}\n"
            f"{buckets}"
            f'http_request_duration_seconds_bucket{{{_LABELS},le="+Inf"}} {served} {at}\n'
            f"http_request_duration_seconds_count{{{_LABELS}}} {served} {at}\n"
            f"http_request_duration_seconds_sum{{{_LABELS}}} "
            f"{self.fast * 0.004 + self.slow * 0.2:.3f} {at}\n"
            f"process_resident_memory_bytes{{{_LABELS}}} {120_000_000 + at % 7 * 4096} {at}\n"
            f"process_open_fds{{{_LABELS}}} 20 {at}\n"
            f"process_max_fds{{{_LABELS}}} 1024 {at}\n"
            f"process_start_time_seconds{{{_LABELS}}} {self.started} {at}\n"
            f'dumbkv_memory_bytes{{{_LABELS},store="default"}} 80000000 {at}\n'
            f'python_gc_collections_total{{{_LABELS},generation="0"}} {self.scrapes} {at}\n'
            f'python_gc_objects_uncollectable_total{{{_LABELS},generation="2"}} 0 {at}\n'
        )


def blocks(history: History, data: Path) -> None:
    """Writes a history's blocks to a directory that Prometheus can be started on.

    Start it with --storage.tsdb.retention.time, or it deletes what is older than 15 days.
    """
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is not installed: apt-get install prometheus"
    # It reads its whole input once for each block, and makes one for every two hours unless told
    # otherwise: so blocks are long, and each has a file of its own.
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics"]
    command += [f"--max-block-duration={_BLOCK // 3600}h", "-q"]
    with TemporaryDirectory(dir=data.parent) as place:
        running: subprocess.Popen[bytes] | None = None
        for part in history.parts():
            text = Path(place) / f"{part.number}.om"
            with text.open("w") as file:
                file.writelines(part.lines)
                file.write("# EOF\n")
            _finish(running)  # The next part is written while promtool reads this one.
            running = subprocess.Popen([*command, str(text), str(data)], stdout=subprocess.DEVNULL)
        _finish(running)


def _finish(running: subprocess.Popen[bytes] | None) -> None:
    if running is not None:
        assert running.wait(timeout=120) == 0, "promtool did not make blocks"
