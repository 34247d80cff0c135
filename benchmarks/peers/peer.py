"""The few things every contender can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Holding(Protocol):
    def __contains__(self, key: bytes, /) -> bool: ...


@dataclass(frozen=True)
class Peer:
    get: Callable[[bytes], object]
    set: Callable[[bytes, bytes], object]
    delete: Callable[[bytes], object]
    holds: Holding
    """What `key in` is asked of."""
    get_many: Callable[[list[bytes]], object]
    set_many: Callable[[list[tuple[bytes, bytes]]], object]
    """The quickest way in for many; fills what is slow with single keys."""
    server_pid: int | None = None
    """The process that keeps the entries, when it is not this one."""
