"""One look at a running server's `/metrics`, without Prometheus."""

from __future__ import annotations

import math
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from dumbkv_http.slo.reading import Reading, Window, tally, window
from dumbkv_http.slo.standing import Standing

__all__ = ["LookError", "draw", "fetch", "look", "reading"]

_SIGNS = {"met": "ok", "missed": "MISSED", "unknown": "unknown"}


class LookError(Exception):
    """There is no page of metrics of a DumbKV service there."""


def look(url: str, seconds: float = 0.0, token: str = "") -> Window:
    """What a server counted since it started, or within `seconds` from now.

    Its garbage collector and its clock began with the process. Raises LookError.
    """
    first = reading(fetch(url, token))
    if not seconds:
        zero = first._replace(
            at=0.0,
            requests=0,
            failures=0,
            durations=(0,) * len(first.durations),
            collections=0,
            uncollectable=0,
        )
        return window((zero, first))
    time.sleep(seconds)
    return window((first, reading(fetch(url, token))))


def fetch(url: str, token: str = "") -> str:
    """The page at `/metrics` of a server that may want a token. Raises LookError."""
    if not url.startswith(("http://", "https://")):
        raise LookError(f"expected a URL such as http://127.0.0.1:8080, got {url!r}")
    address = url.rstrip("/").removesuffix("/metrics") + "/metrics"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(address, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            page: bytes = response.read()
    except (OSError, ValueError) as error:
        raise LookError(f"no answer from {address}: {error}") from None
    return page.decode("utf-8", "replace")


def reading(page: str) -> Reading:
    """The figures on a page of metrics; `at` is how long the process had run. Raises LookError."""
    answers: dict[tuple[str, str, int], int] = {}
    reached: dict[float, int] = {}
    single: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = sample.labels
                if sample.name == "http_requests_total":
                    key = labels["method"], labels["handler"], int(labels["status"])
                    answers[key] = answers.get(key, 0) + int(sample.value)
                elif sample.name == "http_request_duration_seconds_bucket":
                    reached[float(labels["le"])] = int(sample.value)
                else:
                    single[sample.name] = single.get(sample.name, 0.0) + sample.value
    except (KeyError, ValueError) as error:
        raise LookError(f"expected metrics in Prometheus' text format: {error}") from None
    bounds = sorted(reached)
    if not answers or not bounds or not math.isinf(bounds[-1]):
        raise LookError(
            "expected the metrics of a DumbKV service, found no http_requests_total "
            "or no http_request_duration_seconds"
        )
    started = single.get("process_start_time_seconds")
    requests, failures = tally(answers)
    return Reading(
        at=0.0 if started is None else max(0.0, time.time() - started),
        requests=requests,
        failures=failures,
        bounds=tuple(bounds[:-1]),
        durations=(
            reached[bounds[0]],
            *(reached[bound] - reached[before] for before, bound in pairwise(bounds)),
        ),
        resident=single.get("process_resident_memory_bytes"),
        open_fds=single.get("process_open_fds"),
        max_fds=single.get("process_max_fds", math.inf),
        collections=int(single.get("python_gc_collections_total", 0)),
        uncollectable=int(single.get("python_gc_objects_uncollectable_total", 0)),
    )


def draw(found: Sequence[Standing], colour: bool) -> str:
    """A line for each objective.

    >>> print(draw([Standing("Memory", "below 450 MiB", "met", "50 MiB", "now")], colour=False))
    ok       Memory  50 MiB, target below 450 MiB (now)
    """
    width = max(len(each.title) for each in found)
    lines = []
    for each in found:
        sign = f"{_SIGNS[each.state]:7}"
        if colour:
            sign = (
                f"{'32' if each.state == 'met' else '31' if each.state == 'missed' else '2'}m{sign}"
            )
            sign = f"\x1b[{sign}\x1b[0m"
        lines.append(
            f"{sign}  {each.title:{width}}  {each.value}, target {each.target} ({each.detail})"
        )
    return "\n".join(lines)
