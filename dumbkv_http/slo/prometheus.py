"""What is asked of a Prometheus, through its HTTP interface."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode

__all__ = ["Prometheus", "PrometheusError", "Series"]

# A range query gives at most 11,000 points a series; more is an error and not an excerpt.
_POINTS = 10_000

Series = dict[tuple[tuple[str, str], ...], list[float | None]]
"""For each set of labels a value or None at every step."""


class PrometheusError(Exception):
    """A Prometheus that does not answer, or answers with an error."""


class Prometheus:
    """One server, by its base URL; each answer may take `timeout` seconds."""

    def __init__(self, url: str, timeout: float = 120.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected a URL such as http://127.0.0.1:9090, got {url!r}")
        self.url = url.rstrip("/")
        self._timeout = timeout

    def value(self, query: str, at: float) -> float | None:
        """The single value of an instant query, or None for none, and for NaN."""
        found = self.values(query, at)
        if len(found) > 1:
            raise PrometheusError(f"expected one value or none, got {len(found)}: {query}")
        return next(iter(found.values()), None)

    def values(self, query: str, at: float) -> dict[tuple[tuple[str, str], ...], float]:
        """The values of an instant query by their labels, without those that are NaN."""
        result = self._ask("query", query=query, time=f"{at:.3f}")
        found = {_labels(each): float(each["value"][1]) for each in result}
        return {labels: value for labels, value in found.items() if not math.isnan(value)}

    def series(self, query: str, begin: int, end: int, step: int) -> Series:
        """Values at `begin`, every `step` seconds after it, and at `end`; asked for in pieces."""
        count = (end - begin) // step + 1
        found: Series = {}
        for first in range(0, count, _POINTS):
            last = min(first + _POINTS, count) - 1
            result = self._ask(
                "query_range",
                query=query,
                start=str(begin + first * step),
                end=str(begin + last * step),
                step=str(step),
            )
            for each in result:
                values = found.setdefault(_labels(each), [None] * count)
                for at, text in each["values"]:
                    value = float(text)
                    if not math.isnan(value):
                        values[(round(at) - begin) // step] = value
        return found

    def _ask(self, what: str, **parameters: str) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{what}", urlencode(parameters).encode("ascii")
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise PrometheusError(
                    f"{self.url} answered {error.code}: {error.read(500).decode(errors='replace')}"
                ) from None
        except (OSError, ValueError) as error:
            raise PrometheusError(f"no answer from {self.url}: {error}") from None
        if not isinstance(answer, dict) or answer.get("status") != "success":
            raise PrometheusError(f"expected an answer of a Prometheus from {self.url}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def _labels(each: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(each["metric"].items()))
