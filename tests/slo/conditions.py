"""For every alert that is not on a ratio: what it takes to fire, and what just does not.

Minutes are since the start; the trouble begins after twenty.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.slo.model import Alert, alert
from tests.slo.promtool import BASE, GONE, LABELS, Phase

__all__ = ["CONDITIONS", "Condition"]


class Condition(NamedTuple):
    """A life in phases with a sample every `step` minutes, and which of its minutes the alert has
    to fire in, and in which it must not."""

    which: Alert
    phases: list[Phase]
    fires: tuple[int, ...]
    silent: tuple[int, ...]
    step: int = 1


_CALM, _AFTER = Phase(20), Phase(10)
_UP = f"up{{{LABELS}}}"
_RSS = f"process_resident_memory_bytes{{{LABELS}}}"
_OPEN = f"process_open_fds{{{LABELS}}}"
_START = f"process_start_time_seconds{{{LABELS}}}"
_POISONED = f"dumbkv_log_poisoned{{{LABELS}}}"
_UNCLEANED = f"dumbkv_log_uncleaned{{{LABELS}}}"
_ALL = dict.fromkeys(BASE, GONE)
_DATA = f'dumbkv_memory_bytes{{{LABELS},store="default"}}'
_MOST = f'dumbkv_max_bytes{{{LABELS},store="default"}}'
_FULL = f'http_requests_total{{{LABELS},handler="kv",method="PUT",status="507"}}'
_GC = [f'python_gc_collections_total{{{LABELS},generation="{n}"}}' for n in (0, 1)]
_LOST = f'python_gc_objects_uncollectable_total{{{LABELS},generation="2"}}'
_LIMIT = 450 * 1024 * 1024
_RISE = (_LIMIT - 100_000_000) / (30 * 60)
"""Bytes a minute that lead from 100 MB to the limit in 30 hours: six, and the day ahead."""


def _wrong(gauge: str, value: float | None, minutes: int = 30) -> Phase:
    return Phase(minutes, gauges={gauge: value})


def _data(size: int, most: float | None = BASE[_MOST]) -> Phase:
    return Phase(30, gauges={_DATA: size, _MOST: most})


def _busy(young: float, middle: float) -> Phase:
    return Phase(30, rates={_GC[0]: young, _GC[1]: middle})


def _grown(minutes: int, since: int) -> Phase:
    return Phase(minutes, slopes={_RSS: _RISE}, gauges={_START: since * 60})


def _steep(minutes: int) -> Phase:
    return Phase(minutes, slopes={_RSS: _RISE * 1.2})


def _around(which: Alert, bad: Phase, good: Phase, wait: int) -> list[Condition]:
    """`bad` fires after `wait` minutes until it is over; `good`, however long, does not."""
    end = 20 + bad.minutes
    return [
        Condition(which, [_CALM, bad, _AFTER], (21 + wait, end), (19, 20 + wait, end + 1)),
        Condition(which, [_CALM, good, Phase(40)], (), (19, 21 + wait, end, end + 1)),
    ]


_memory = alert("DumbKVMemoryHigh", severity="ticket")
_fds = alert("DumbKVFileDescriptorsHigh", severity="page")
_lost = alert("DumbKVUncollectableObjects", severity="ticket")
_gc = alert("DumbKVGCPressure", severity="ticket")
_down = alert("DumbKVDown", severity="page")
_absent = alert("DumbKVAbsent", severity="page")
_blind = alert("DumbKVProcessMetricsMissing", severity="ticket")
_poisoned = alert("DumbKVLogPoisoned", severity="page")
_uncleaned = alert("DumbKVLogNotCleaned", severity="ticket")
_full = alert("DumbKVStoreFull", severity="ticket")
_large = alert("DumbKVDataLarge", severity="ticket")
_rising = alert("DumbKVMemoryRising", severity="ticket")

CONDITIONS = [
    *_around(_memory, _wrong(_RSS, _LIMIT), _wrong(_RSS, _LIMIT - 1), 5),
    *_around(_fds, _wrong(_OPEN, 800), _wrong(_OPEN, 799), 5),
    *_around(_down, _wrong(_UP, 0), _wrong(_UP, 0, 1), 1),
    *_around(_blind, _wrong(_OPEN, GONE), _wrong(_OPEN, GONE, 4), 5),
    *_around(_blind, _wrong(_RSS, GONE), _wrong(_RSS, GONE, 4), 5),
    *_around(_poisoned, _wrong(_POISONED, 1), _wrong(_POISONED, 0), 0),
    *_around(_uncleaned, _wrong(_UNCLEANED, 1), _wrong(_UNCLEANED, 0), 0),
    # Without a limit of its own, and with one of 250 million bytes.
    *_around(_large, _data(377_487_360, GONE), _data(377_487_359, GONE), 15),
    *_around(_large, _data(200_000_000), _data(199_999_999), 15),
    # Everything a target has is gone with it.
    *_around(_absent, Phase(30, gauges=_ALL), Phase(4, gauges=_ALL), 5),
    # A rate reaches its height when five minutes are full of it: at minute 25, and 5 to wait.
    Condition(_gc, [_CALM, _busy(900, 300), _AFTER], (30, 50), (29, 51)),
    Condition(_gc, [_CALM, _busy(900, 299), _AFTER], (), (30, 50)),
    # One object, seen for an hour.
    Condition(_lost, [_CALM, Phase(1, rates={_LOST: 1}), Phase(70)], (21, 80), (20, 81)),
    # Refused writes, one in three minutes; a single one is not enough to hold for a minute more.
    Condition(_full, [_CALM, Phase(1, rates={_FULL: 1}), _AFTER], (22, 25), (21, 26)),
    # A leak that would reach the limit in 30 hours: after six the day ahead shows it, and an hour
    # to wait; and one that is slower.
    Condition(_rising, [Phase(600, slopes={_RSS: _RISE})], (425, 600), (300, 415), step=5),
    Condition(_rising, [Phase(600, slopes={_RSS: _RISE * 0.85})], (), (425, 600), step=5),
    # One that was started after 100 minutes is old enough after 460.
    Condition(_rising, [_grown(600, 100)], (520, 600), (425, 515), step=5),
    # The line through six hours of which the last ones rise: flatter than the rise itself.
    Condition(_rising, [Phase(600), _steep(600)], (945, 1200), (600, 940), step=5),
]  # fmt: skip
