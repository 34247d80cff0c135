"""What can be wrong with the service beside its objectives, and who has to know.

Request counters say nothing while the process is down, and nothing of what will happen tomorrow;
these look at the scrape itself, at the process and at the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from dumbkv_http.slo.objectives import DAY, HOUR, MEMORY, MINUTE, Severity

__all__ = ["FAULTS", "Fault"]

_LARGE = 0.8


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An alert: `alert` fires when `condition` has given something for `wait` seconds.

    `condition` is PromQL with `$job` in place of the job's name.
    """

    alert: str
    severity: Severity
    condition: str
    wait: int
    summary: str
    action: str


_PROCESS = (
    'process_resident_memory_bytes{job="$job"} and on (job, instance) process_open_fds{job="$job"}'
)
_MEMORY = 'process_resident_memory_bytes{job="$job"}'
_DATA = 'dumbkv_memory_bytes{job="$job"}'
_MOST = 'dumbkv_max_bytes{job="$job"}'
_AGE = 'time() - process_start_time_seconds{job="$job"}'

FAULTS = (
    Fault(
        alert="DumbKVDown",
        severity="page",
        condition='up{job="$job"} == 0',
        wait=MINUTE,
        summary="{{ $labels.instance }} does not answer Prometheus",
        action="See whether the process is there and what its last log lines say; start it again.",
    ),
    Fault(
        alert="DumbKVAbsent",
        severity="page",
        condition='absent(up{job="$job"})',
        wait=5 * MINUTE,
        summary="Prometheus has no server to scrape under this job's name",
        action="Nothing is watched now, so no other alert can come. Look at the scrape job's name "
        "and at its list of targets.",
    ),
    Fault(
        alert="DumbKVProcessMetricsMissing",
        severity="ticket",
        condition=f'up{{job="$job"}} == 1 unless on (job, instance) ({_PROCESS})',
        wait=5 * MINUTE,
        summary="{{ $labels.instance }} does not say how much memory and how many descriptors "
        "it uses",
        action="Those two objectives are not watched. The figures come from /proc: see whether "
        "the process can read its own.",
    ),
    Fault(
        alert="DumbKVLogPoisoned",
        severity="page",
        condition='dumbkv_log_poisoned{job="$job"} == 1',
        wait=0,
        summary="{{ $labels.instance }} could not bring its log to the disk and refuses writes",
        action="Reads go on. Look at the disk and at the kernel's log; put the disk right, then "
        "start the service again, which reads back what is on it.",
    ),
    Fault(
        alert="DumbKVLogNotCleaned",
        severity="ticket",
        condition='dumbkv_log_uncleaned{job="$job"} == 1',
        wait=0,
        summary="{{ $labels.instance }} cannot clean its log, which grows with every write",
        action="Nothing is lost so far, and all is served. The log of the service says which file "
        "could not be read or removed. Where one is damaged, get the data out by a scan first: the "
        "next start refuses it, and `python -m dumbkv repair` keeps what can be read.",
    ),
    Fault(
        alert="DumbKVStoreFull",
        severity="ticket",
        condition="sum by (job, instance) "
        '(increase(http_requests_total{job="$job",status="507"}[5m])) > 0',
        wait=MINUTE,
        summary="{{ $labels.instance }} refuses writes because it has no room",
        action="Reads go on. Delete keys, or start it with a larger --max-bytes, or with "
        "--eviction lru if it is a cache; with a data directory, look at the disk.",
    ),
    Fault(
        alert="DumbKVDataLarge",
        severity="ticket",
        # Of what the process may use, or of what the store may before it refuses writes: whichever
        # it comes to first. By default that is the store's limit, which is the lower one.
        condition=f"sum by (job, instance) ({_DATA}) / {MEMORY.limit} >= {_LARGE} "
        f"or max by (job, instance) ({_DATA} / {_MOST}) >= {_LARGE}",
        wait=15 * MINUTE,
        summary="The data of {{ $labels.instance }} takes {{ $value | humanizePercentage }} of the "
        "room there is",
        action="If it goes on, writes are refused or the process outgrows its container. Give keys "
        "a ttl or delete some, use --eviction lru if it is a cache, or raise --max-bytes, and the "
        "memory objective with it.",
    ),
    Fault(
        alert="DumbKVMemoryRising",
        severity="ticket",
        # A process younger than the range it is judged by is still filling up. The slope has to
        # hold for an hour: the foot of a step looks like one for a while.
        condition=f"predict_linear({_MEMORY}[6h], {DAY}) >= {MEMORY.limit} "
        f"and on (job, instance) {_AGE} >= {6 * HOUR}",
        wait=HOUR,
        summary="{{ $labels.instance }} will use {{ $value | humanize1024 }}B in a day if it goes "
        "on as in the last six hours",
        action="Compare dumbkv_memory_bytes: if the data grows, keys want a ttl; if it does not, "
        "look for a leak in what runs beside the store.",
    ),
)
