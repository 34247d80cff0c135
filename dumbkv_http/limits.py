"""What one client, and all clients together, may take."""

from __future__ import annotations

import resource
from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Times in seconds, sizes in bytes, rates in bytes per second.

    A body, or an answer the client is slow to read, has its time-out plus one second for every
    `min_rate` bytes that went through: slow links are served, clients that stand still are not.

    `body_budget` is for all unfinished bodies together; the one that exceeds it gets a 503.
    `unsent_budget` is for all answers that clients are slow to read; when a new one exceeds it, the
    clients that have been slow longest are cut off. `heartbeat` is the longest silence towards a
    client that watches.
    """

    head_timeout: float = 10.0
    body_timeout: float = 30.0
    write_timeout: float = 30.0
    idle_timeout: float = 60.0
    linger: float = 1.0
    grace: float = 5.0
    accept_pause: float = 0.05
    heartbeat: float = 15.0
    min_rate: int = 1024
    connections: int = 256
    body_budget: int = 64 * 1024 * 1024
    unsent_budget: int = 64 * 1024 * 1024

    def connection_cap(self) -> int:
        """Connections to keep at once: also few enough for 70 % of the descriptors, less 16.

        >>> Limits(connections=2).connection_cap()
        2
        """
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if soft == resource.RLIM_INFINITY:
            return self.connections
        return max(1, min(self.connections, soft * 7 // 10 - 16))

    def sweep_interval(self, longest: float) -> float:
        """How often to look for expired deadlines, at least every `longest` seconds."""
        times = (self.head_timeout, self.body_timeout, self.write_timeout, self.idle_timeout)
        return min(longest, *(time / 4 for time in times))
