"""What one look at a key gives."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A key with everything the store knows of it, read in one atomic step."""

    key: bytes
    value: bytes
    version: int
    """Changes with every write of the value; give it to ``if_version=``."""
    expires_at: float | None
    """Seconds since 1970 (UTC), or None when the key does not expire."""


class Stats(NamedTuple):
    """Counters of one store. All but the first three only ever grow."""

    entries: int
    """Keys that are there now."""
    data_bytes: int
    """Bytes in all keys and values, without overhead."""
    memory_bytes: int
    """Those and what holds them: the figure `max_bytes` limits. By what malloc takes on the
    C table, by an estimate on the Python one."""
    hits: int
    """Reads (``[]``, ``get``, ``in``, ``entry``, ``ttl``) that found their key."""
    misses: int
    """Reads that did not."""
    sets: int
    """Values written, by whatever method."""
    deletes: int
    """Keys removed by a caller, by whatever method."""
    expired: int
    """Keys removed because their time had come."""
    evicted: int
    """Keys removed to make room."""
    log_bytes: int = 0
    """Bytes of the log's files, with room made for what comes next. From here on all are 0 for
    a store in memory."""
    log_files: int = 0
    recovered_entries: int = 0
    """Entries that were on the disk when the store was opened."""
    cut_bytes: int = 0
    """Bytes at the end of the log that did not count, because a crash had cut them."""
    fsyncs: int = 0
    """Times the disk was asked to keep what was written."""
    last_sync: float = 0.0
    """When it had kept all that was written, in seconds since 1970."""
    poisoned: int = 0
    """1 when it failed to, and the store takes no more writes."""
    uncleaned: int = 0
    """1 when the log could not be cleaned, and so grows until the store is opened again."""
