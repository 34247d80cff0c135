"""Runs promtool's unit tests of rules on series that are written here as phases.

A scenario is a service's life in phases: so many minutes with so many requests a minute, of which
some are bad or slow, and with gauges that have this value or are not there. The expectation is
always the exact set of firing alerts, so a test also fails for one that should be silent.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BASE", "GONE", "LABELS", "Phase", "check", "other_job", "series", "unit_test"]

LABELS = 'instance="a:8080",job="dumbkv"'
_FIRING = 'count by (alertname, slo, severity, window, budget_level) (ALERTS{alertstate="firing"})'
_BOUNDS = ("0.02", "0.05", "0.1", "0.125", "0.25", "10.0")

GONE = None
"""As a gauge's value: the series has ended."""

BASE: dict[str, float | None] = {
    f"up{{{LABELS}}}": 1,
    f"process_resident_memory_bytes{{{LABELS}}}": 100_000_000,
    f"process_open_fds{{{LABELS}}}": 20,
    f"process_max_fds{{{LABELS}}}": 1000,
    f"process_start_time_seconds{{{LABELS}}}": 0,
    f'dumbkv_memory_bytes{{{LABELS},store="default"}}': 50_000_000,
    f'dumbkv_max_bytes{{{LABELS},store="default"}}': 250_000_000,
    f"dumbkv_log_poisoned{{{LABELS}}}": 0,
    f"dumbkv_log_uncleaned{{{LABELS}}}": 0,
}
"""The gauges of a service that is well."""

_GROWING = {
    f'python_gc_collections_total{{{LABELS},generation="0"}}': 1.0,
    f'python_gc_collections_total{{{LABELS},generation="1"}}': 0.1,
    f'python_gc_objects_uncollectable_total{{{LABELS},generation="2"}}': 0.0,
    f'http_requests_total{{{LABELS},handler="kv",method="PUT",status="507"}}': 0.0,
}


@dataclass
class Phase:
    """`minutes` of it, with `total` requests a minute that count, `bad` and `slow` ones of them
    (the slow ones are answered, in 125 to 250 ms), and `client` errors beside them.

    `gauges` differ from `BASE`; `rates` are what counters grow by in a minute, and `slopes` what
    gauges do.
    """

    minutes: int
    total: float = 600
    bad: float = 0
    slow: float = 0
    client: float = 10
    gauges: Mapping[str, float | None] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    slopes: Mapping[str, float] = field(default_factory=dict)


def series(phases: Iterable[Phase], step: int = 1) -> dict[str, str]:
    """Each series of a scenario in promtool's notation, a sample every `step` minutes."""
    phases = list(phases)
    counters: dict[str, list[float]] = {}
    for phase in phases:
        good, fast = phase.total - phase.bad, phase.total - phase.bad - phase.slow
        rates = {
            f'http_requests_total{{{LABELS},handler="kv",method="GET",status="200"}}': good,
            f'http_requests_total{{{LABELS},handler="kv",method="GET",status="500"}}': phase.bad,
            f'http_requests_total{{{LABELS},handler="kv",method="GET",status="404"}}': phase.client,
            f'http_requests_total{{{LABELS},handler="metrics",method="GET",status="200"}}': 4,
            f"http_request_duration_seconds_count{{{LABELS}}}": good,
            f'http_request_duration_seconds_bucket{{{LABELS},le="+Inf"}}': good,
            **{
                f'http_request_duration_seconds_bucket{{{LABELS},le="{bound}"}}': (
                    fast if float(bound) <= 0.125 else good
                )
                for bound in _BOUNDS
            },
            **_GROWING,
            **phase.rates,
        }
        for name, rate in rates.items():
            counters.setdefault(name, []).append(rate)
    written = {name: _counter(rates, phases, step) for name, rates in counters.items()}
    for name, usual in BASE.items():
        written[name] = _gauge(name, usual, phases, step)
    return written


def other_job(minutes: int, step: int = 1) -> dict[str, str]:
    """The series of another job, of which nothing is well: no alert is on it."""
    down, blind = 'instance="b:1",job="other"', 'instance="b:2",job="other"'
    kv = f'http_requests_total{{{down},handler="kv",method="PUT"'
    gauges = {
        f"up{{{down}}}": 0,
        f"up{{{blind}}}": 1,
        f"process_resident_memory_bytes{{{down}}}": 10**9,
        f"process_open_fds{{{down}}}": 990,
        f"process_max_fds{{{down}}}": 1000,
        f"process_start_time_seconds{{{down}}}": 0,
        f'dumbkv_memory_bytes{{{down},store="default"}}': 10**9,
        f'dumbkv_max_bytes{{{down},store="default"}}': 10**9,
        f"dumbkv_log_poisoned{{{down}}}": 1,
        f"dumbkv_log_uncleaned{{{down}}}": 1,
    }
    counters = {
        f'{kv},status="200"}}': 100,
        f'{kv},status="500"}}': 100,
        f'{kv},status="507"}}': 100,
        f'python_gc_collections_total{{{down},generation="0"}}': 6000,
        f'python_gc_objects_uncollectable_total{{{down},generation="2"}}': 1,
        f"http_request_duration_seconds_count{{{down}}}": 100,
        f'http_request_duration_seconds_bucket{{{down},le="+Inf"}}': 100,
        **{
            f'http_request_duration_seconds_bucket{{{down},le="{bound}"}}': 100 * (bound == "10.0")
            for bound in _BOUNDS
        },
    }
    return {
        **{name: f"{value}x{minutes // step}" for name, value in gauges.items()},
        **{name: f"0+{rate * step}x{minutes // step}" for name, rate in counters.items()},
    }


def _counter(rates: list[float], phases: list[Phase], step: int) -> str:
    value, parts = 0.0, ["0"]
    for rate, phase in zip(rates, phases, strict=True):
        samples = phase.minutes // step
        parts.append(f"{value + rate * step:.10g}+{rate * step:.10g}x{samples - 1}")
        value += rate * step * samples
    return " ".join(parts)


def _gauge(name: str, usual: float | None, phases: list[Phase], step: int) -> str:
    parts = []
    for place, phase in enumerate(phases):
        samples = phase.minutes // step + (place == 0)
        value = phase.gauges.get(name, usual)
        if value is GONE:
            parts.append("stale" + (f" _x{samples - 1}" if samples > 1 else ""))
        else:
            parts.append(f"{value:.12g}+{phase.slopes.get(name, 0) * step:.12g}x{samples - 1}")
    return " ".join(parts)


def unit_test(
    groups: Iterable[Mapping[str, Any]],
    given: Mapping[str, str],
    expected: Mapping[int, Iterable[Mapping[str, str]]],
    step: int = 1,
    rule_file: str = "rules.json",
) -> dict[str, Any]:
    """A promtool test: at each minute, exactly these alerts fire."""
    return {
        "rule_files": [rule_file],
        "evaluation_interval": f"{step}m",
        "group_eval_order": [group["name"] for group in groups],
        "tests": [
            {
                "interval": f"{step}m",
                "input_series": [{"series": s, "values": v} for s, v in given.items()],
                "promql_expr_test": [
                    {
                        "expr": _FIRING,
                        "eval_time": f"{minute}m",
                        "exp_samples": [
                            {"labels": _labels(labels), "value": 1} for labels in alerts
                        ],
                    }
                    for minute, alerts in expected.items()
                ],
            }
        ],
    }


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def check(place: Path, content: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    """What promtool says of a test that fails; empty for one that passes. JSON is YAML."""
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is not installed: apt-get install prometheus"
    # What an alert says is filled in anew each time it is looked at, and takes most of the time.
    silent = [
        {**group, "rules": [{**rule, "annotations": {}} for rule in group["rules"]]}
        for group in content["groups"]
    ]
    (place / "rules.json").write_text(json.dumps({"groups": silent}))
    (place / "test.json").write_text(json.dumps(test))
    command = [promtool, "test", "rules", "test.json"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert "error parsing" not in done.stderr, done.stderr
    return "" if done.returncode == 0 else done.stdout + done.stderr
