"""The figures of a run, kept as ratios to `dict + Lock`, and where they were measured.

A ratio below 1 is better than a dict behind a lock, whatever is measured: seconds for one
operation, bytes for one entry, the length of a pause.
"""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from benchmarks.peers.contenders import BASELINE

PATH = Path(__file__).parents[1] / "results.json"

Section: TypeAlias = Literal["single", "threads", "memory", "pause"]
SECTIONS: tuple[Section, ...] = get_args(Section)


@dataclass(frozen=True)
class Case:
    """What is measured, and with how much."""

    section: Section
    name: str
    entries: int
    value_bytes: int
    threads: int = 1

    @property
    def label(self) -> str:
        """The name, and the threads where there may be several."""
        if self.section != "threads":
            return self.name
        return f"{self.name}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True)
class Figure:
    """One case: what `dict + Lock` takes, everybody's share of that, and how far it spread.

    `spread` is half the interquartile range of a contender's rounds as a share of its median:
    a difference smaller than that says nothing.
    """

    case: Case
    unit: str
    baseline: float
    ratios: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True)
class Results:
    measured: str
    machine: dict[str, str]
    versions: dict[str, str]
    figures: list[Figure]

    def find(self, case: Case) -> Figure:
        """The figure of that case; KeyError when it was not measured."""
        for each in self.figures:
            if each.case == case:
                return each
        raise KeyError(case)


def figure(case: Case, rounds: Mapping[str, Sequence[float]], unit: str = "s") -> Figure:
    """The medians of everybody's rounds as ratios to the baseline's.

    >>> rounds = {"dict + Lock": [1.0, 2.0, 9.0], "it": [0.5, 1.0, 1.5]}
    >>> found = figure(Case("single", "get", 1, 1), rounds)
    >>> found.baseline, found.ratios["it"]
    (2.0, 0.5)
    """
    medians = {name: statistics.median(values) for name, values in rounds.items()}
    base = medians[BASELINE]
    return Figure(
        case,
        unit,
        float(f"{base:.4g}"),
        {name: float(f"{median / base:.4g}") for name, median in medians.items()},
        {name: round(half_range(values) / medians[name], 3) for name, values in rounds.items()},
    )


def half_range(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def measured_now(figures: list[Figure]) -> Results:
    today = datetime.now(timezone.utc).date().isoformat()
    return Results(today, machine(), versions(), figures)


def save(results: Results, path: Path = PATH) -> None:
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")


def load(path: Path = PATH) -> Results:
    found = json.loads(path.read_text())
    return Results(
        found["measured"],
        found["machine"],
        found["versions"],
        [Figure(**{**each, "case": Case(**each["case"])}) for each in found["figures"]],
    )


def machine() -> dict[str, str]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def versions() -> dict[str, str]:
    packages = ["dumbkv", "cachetools", "sortedcontainers", "lmdb", "diskcache", "redis", "hiredis"]
    return {name: version(name) for name in packages}
