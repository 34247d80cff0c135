"""What the service promises, and everything that is derived from it: the only place to change it.

Rules, alerts, routes, dashboards, reports and the service's own status page are made from the
objects of this file; `python -m dumbkv_http slo generate` writes them anew. Each object looks at
itself when it is made: an alert that could never fire, or a bound that is no bucket of the server's
histogram, is an error here and not a surprise at night.

Times are in seconds. Expressions are PromQL with production's ranges and `$job` in place of the
job's name; they hold for every length of a range but where they say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dumbkv_http.metrics import DURATION_BOUNDS

__all__ = [
    "AVAILABILITY",
    "BURNS",
    "COLLECTIONS",
    "DESCRIPTORS",
    "GUARDS",
    "JOB",
    "LATENCIES",
    "LEVELS",
    "MEMORY",
    "PERIOD",
    "RATIOS",
    "RECEIVERS",
    "THRESHOLDS",
    "UNCOLLECTABLE",
    "Availability",
    "Burn",
    "Guards",
    "Latency",
    "Level",
    "Receiver",
    "Threshold",
]

JOB = "dumbkv"
"""The name of the scrape job whose series are judged, and no other."""

MINUTE, HOUR, DAY = 60, 3600, 86400

PERIOD = 30 * DAY
"""What an error budget is for, when alerts speak of it. Reports are over calendar months."""

Severity = Literal["page", "ticket"]


@dataclass(frozen=True)
class Burn:
    """Alert when a budget burns `factor` times as fast as it may, over `long` and `short` both.

    The long range makes it matter, the short one ends the alert soon after the trouble.

    >>> Burn("page", 14.4, HOUR, 5 * MINUTE, 2 * MINUTE).spent
    0.02
    """

    severity: Severity
    factor: float
    long: int
    short: int
    wait: int

    def __post_init__(self) -> None:
        if not self.factor > 0:
            raise ValueError(f"a burn's factor: expected more than 0, got {self.factor}")
        if not 0 < self.short < self.long < PERIOD:
            raise ValueError(
                f"a burn's ranges: expected 0 < short < long < {PERIOD}, "
                f"got {self.short} and {self.long}"
            )

    @property
    def spent(self) -> float:
        """The share of the period's budget that such a burn spends in the long range."""
        return round(self.factor * self.long / PERIOD, 6)


BURNS = (
    Burn("page", 14.4, HOUR, 5 * MINUTE, 2 * MINUTE),
    Burn("page", 6, 6 * HOUR, 30 * MINUTE, 15 * MINUTE),
    Burn("ticket", 3, DAY, 2 * HOUR, HOUR),
    Burn("ticket", 1, 3 * DAY, 6 * HOUR, 3 * HOUR),
)
"""2, 5, 10 and 10 % of a period's budget."""


@dataclass(frozen=True, kw_only=True)
class _Ratio:
    """An objective for a share of requests: `target` of them have to be good."""

    name: str
    title: str
    target: float
    burns: tuple[Burn, ...]
    why: str
    action: str

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"{self.name}: expected a target between 0 and 1, got {self.target}")
        for burn in self.burns:
            if burn.factor * self.budget >= 1:
                raise ValueError(
                    f"{self.name}: a budget of {self.budget} cannot burn {burn.factor} times as "
                    "fast as it may: no more than all requests are bad, so that alert never fires"
                )

    @property
    def budget(self) -> float:
        """The share of requests that may be bad."""
        return round(1 - self.target, 9)


@dataclass(frozen=True, kw_only=True)
class Availability(_Ratio):
    """A request is bad when its answer is a 5xx. Those that were the client's fault do not count,
    neither do scrapes and probes.

    >>> AVAILABILITY.budget
    0.001
    """

    @property
    def promise(self) -> str:
        """What is promised, in words."""
        return f"{self.target * 100:g} % of requests"

    def bad(self, job: str = JOB) -> str:
        """Selects the counters of bad requests."""
        return f'http_requests_total{{job="{job}",handler!~"metrics|health",status=~"5.."}}'

    def total(self, job: str = JOB) -> str:
        """Selects the counters of all requests that count."""
        return f'http_requests_total{{job="{job}",handler!~"metrics|health",status!~"4.."}}'

    def bad_rate(self, window: str, job: str = JOB, function: str = "rate") -> str:
        """Bad requests over a range, summed."""
        return f"sum({function}({self.bad(job)}[{window}]))"

    def total_rate(self, window: str, job: str = JOB, function: str = "rate") -> str:
        """All requests that count over a range, summed."""
        return f"sum({function}({self.total(job)}[{window}]))"

    def query(self, job: str = JOB) -> str:
        """1 while the objective is met over five minutes, 0 while not, nothing without requests."""
        bad, total = self.bad_rate("5m", job), self.total_rate("5m", job)
        return f"1 - {bad} / ({total} > 0) >= bool {self.target}"


@dataclass(frozen=True, kw_only=True)
class Latency(_Ratio):
    """A request is bad when its answer took longer than `bound` seconds.

    `target` of them within `bound` says the same as "the quantile `target` is at most `bound`",
    and can be added up over servers and time, which a quantile cannot.
    """

    bound: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound not in DURATION_BOUNDS[:-1]:
            raise ValueError(
                f"{self.name}: expected a bound of the server's buckets below the last finite one "
                f"({', '.join(map(str, DURATION_BOUNDS[:-1]))}), got {self.bound}"
            )

    @property
    def promise(self) -> str:
        """What is promised, in words."""
        return f"{self.target * 100:g} % within {self.bound * 1000:g} ms"

    def good(self, job: str = JOB) -> str:
        """Selects the counter of requests that were fast enough."""
        return f'http_request_duration_seconds_bucket{{job="{job}",le="{self.bound}"}}'

    def total(self, job: str = JOB) -> str:
        """Selects the counter of all requests."""
        return f'http_request_duration_seconds_count{{job="{job}"}}'

    def bad_rate(self, window: str, job: str = JOB, function: str = "rate") -> str:
        """Slow requests over a range, summed."""
        good = f"sum({function}({self.good(job)}[{window}]))"
        return f"{self.total_rate(window, job, function)} - {good}"

    def total_rate(self, window: str, job: str = JOB, function: str = "rate") -> str:
        """All requests over a range, summed."""
        return f"sum({function}({self.total(job)}[{window}]))"

    def quantile(self, window: str, job: str = JOB) -> str:
        """The duration in seconds that `target` of the requests did not exceed."""
        buckets = f'http_request_duration_seconds_bucket{{job="{job}"}}'
        return f"histogram_quantile({self.target}, sum by (le) (rate({buckets}[{window}])))"

    def query(self, job: str = JOB) -> str:
        """1 while the objective is met over five minutes, 0 while not, nothing without requests."""
        good = f"sum(rate({self.good(job)}[5m]))"
        return f"{good} / ({self.total_rate('5m', job)} > 0) >= bool {self.target}"


AVAILABILITY = Availability(
    name="availability",
    title="Availability",
    target=0.999,
    burns=BURNS,
    why="A client that gets a 5xx did not get what it asked for, and could not have known.",
    action="Find which handler and which status fail; a 503 is load, a 507 a full store, "
    "a 500 a bug with a traceback in the log.",
)
LATENCIES = (
    Latency(
        name="latency-p99",
        title="P99 latency",
        target=0.99,
        bound=0.1,
        burns=BURNS,
        why="One page of an application asks a store dozens of times: one slow answer in a hundred "
        "is a slow page for every other visitor.",
        action="See whether all requests are slow or a few: large values, long scans, "
        "garbage collection, a machine that swaps.",
    ),
    Latency(
        name="latency-p95",
        title="P95 latency",
        target=0.95,
        bound=0.05,
        burns=BURNS[2:],  # A page for it would come with the one for P99, or not be worth waking.
        why="It moves before P99 does.",
        action="As for P99; it may wait for the morning.",
    ),
    Latency(
        name="latency-p50",
        title="P50 latency",
        target=0.5,
        bound=0.02,
        burns=BURNS[3:],  # Half of the requests may be bad: more than twice that there is not.
        why="The ordinary request: when it is slow, the machine or the network is.",
        action="Compare with the time a client measures on the same machine.",
    ),
)
RATIOS: tuple[Availability | Latency, ...] = (AVAILABILITY, *LATENCIES)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """An objective for a figure of the process: it has to stay below `limit`.

    `inclusive` says that a value equal to `limit` is bad too; else it has to be more. The alert
    `alert` is for a value that was bad for `wait` seconds.
    """

    name: str
    title: str
    unit: str
    limit: float
    value: str
    alert: str
    severity: Severity
    wait: int
    why: str
    action: str
    inclusive: bool = True

    @property
    def promise(self) -> str:
        """What is promised, in words.

        >>> MEMORY.promise, DESCRIPTORS.promise, COLLECTIONS.promise, UNCOLLECTABLE.promise
        ('less than 450 MiB', 'less than 80 %', 'less than 20 a second', 'none an hour')
        """
        if self.limit == 0:
            return f"none {self.unit}"
        if self.unit == "bytes":
            return f"less than {self.limit / 1024**2:g} MiB"
        return (
            f"less than {self.limit * 100:g} %"
            if self.unit == "share"
            else f"less than {self.limit:g} {self.unit}"
        )

    def expression(self, job: str = JOB) -> str:
        """The figure."""
        return self.value.replace("$job", job)

    def violated(self, job: str = JOB) -> str:
        """The figure while it is bad, else nothing."""
        return f"{self.expression(job)} {'>=' if self.inclusive else '>'} {self.limit}"

    def query(self, job: str = JOB) -> str:
        """1 while the objective is met, 0 while not, nothing while the figure is not there."""
        return f"{self.expression(job)} {'<' if self.inclusive else '<='} bool {self.limit}"


MEMORY = Threshold(
    name="memory",
    title="Resident memory",
    unit="bytes",
    limit=450 * 1024**2,
    value='process_resident_memory_bytes{job="$job"}',
    alert="DumbKVMemoryHigh",
    severity="ticket",
    wait=5 * MINUTE,
    why="A container that reaches its limit is killed, and the data is in its memory.",
    action="Compare dumbkv_memory_bytes, which is the data, with the process's: lower --max-bytes, "
    "use --eviction lru, or give the container more and raise this limit.",
)
DESCRIPTORS = Threshold(
    name="descriptors",
    title="File descriptors",
    unit="share",
    limit=0.8,
    value='process_open_fds{job="$job"} / process_max_fds{job="$job"}',
    alert="DumbKVFileDescriptorsHigh",
    severity="page",
    wait=5 * MINUTE,
    why="Without a descriptor no new client can be let in.",
    action="The service caps its own connections at 70 % of the limit; more than that is opened "
    "by your code beside it. List /proc/PID/fd, raise LimitNOFILE.",
)
UNCOLLECTABLE = Threshold(
    name="uncollectable",
    title="Uncollectable objects",
    unit="an hour",
    limit=0,
    value="sum without (generation) "
    '(increase(python_gc_objects_uncollectable_total{job="$job"}[1h]))',
    alert="DumbKVUncollectableObjects",
    severity="ticket",
    wait=0,
    inclusive=False,
    why="What the garbage collector gives up on is never freed.",
    action="Only extension types with the old tp_del slot can do it: see which one came in, in the "
    "process that has DumbKV embedded. gc.garbage holds the objects.",
)
COLLECTIONS = Threshold(
    name="collections",
    title="Garbage collections",
    unit="a second",
    limit=20,
    value='sum without (generation) (rate(python_gc_collections_total{job="$job"}[5m]))',
    alert="DumbKVGCPressure",
    severity="ticket",
    wait=5 * MINUTE,
    why="Collections stop all threads. The service by itself makes one in a minute.",
    action="Look at dumbkv_gc_pause_seconds, which says what they cost; look for code beside the "
    "service that makes containers by the million.",
)
THRESHOLDS = (MEMORY, DESCRIPTORS, UNCOLLECTABLE, COLLECTIONS)


@dataclass(frozen=True)
class Receiver:
    """Someone whom Alertmanager tells: its name there, and who that is."""

    name: str
    who: str


RECEIVERS = (
    Receiver("team", "Team channel"),
    Receiver("engineering-lead", "Engineering lead"),
    Receiver("director", "Director level"),
    Receiver("executive", "Executive team"),
    Receiver("page", "Whoever is on call, now"),
    Receiver("ticket", "The team's queue, in working hours"),
)


@dataclass(frozen=True)
class Level:
    """A row of the escalation matrix: from `above` of a budget consumed on, until the next row.

    25 and 50 % belong to the row that begins there, 75 % to the one that ends there, as the
    document's "> 75%" says; `inclusive` tells the two apart.
    """

    number: int
    above: float
    inclusive: bool
    action: str
    receiver: str


LEVELS = (
    Level(0, 0.0, True, "Normal operations", "team"),
    Level(1, 0.25, True, "Review recent changes", "engineering-lead"),
    Level(2, 0.50, True, "Feature freeze", "director"),
    Level(3, 0.75, False, "All-hands incident", "executive"),
)


@dataclass(frozen=True)
class Guards:
    """What has to be there before a ratio means anything.

    Six bad minutes on a service's first day are several times the budget of the requests so far;
    they are no reason to call the executives. Nor are two slow requests of ten at night one to
    wake someone: `bad` of them within a range there have to be.
    """

    requests: int = 10_000
    coverage: int = 7 * DAY
    bad: int = 5


GUARDS = Guards()
