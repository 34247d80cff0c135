"""DumbKV: a thread-safe key-value store in your process.

``dumbkv.open()`` gives a :class:`Store`, a mapping of bytes to bytes with expiry,
compare-and-set and counters, every method atomic.
"""

from dumbkv._entry import Entry, Stats
from dumbkv._store import Store, open
from dumbkv.errors import (
    ClosedError,
    DumbKVError,
    InvalidKeyError,
    NotAnIntegerError,
    StoreFullError,
    TooLargeError,
)

__version__ = "0.1.0"

__all__ = [
    "ClosedError",
    "DumbKVError",
    "Entry",
    "InvalidKeyError",
    "NotAnIntegerError",
    "Stats",
    "Store",
    "StoreFullError",
    "TooLargeError",
    "open",
]
