"""DumbKV: a thread-safe key-value store in your process.

``dumbkv.open()`` gives a :class:`Store`, a mapping of bytes to bytes with expiry,
compare-and-set and counters, every method atomic. A :class:`View` of it has keys and values
of other types, or a part of the keys.
"""

from dumbkv._batch import Batch
from dumbkv._codec import Codec
from dumbkv._entry import Entry, Stats
from dumbkv._scan import Page
from dumbkv._store import Store, open
from dumbkv._view import View
from dumbkv._watch import Event, Watch
from dumbkv.errors import (
    ClosedError,
    ConflictError,
    CorruptError,
    DecodeError,
    DiskFullError,
    DumbKVError,
    ForkedError,
    InvalidKeyError,
    LockedError,
    NotAnIntegerError,
    PoisonedError,
    StoreFullError,
    TooLargeError,
    WatchLostError,
)

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "ClosedError",
    "Codec",
    "ConflictError",
    "CorruptError",
    "DecodeError",
    "DiskFullError",
    "DumbKVError",
    "Entry",
    "Event",
    "ForkedError",
    "InvalidKeyError",
    "LockedError",
    "NotAnIntegerError",
    "Page",
    "PoisonedError",
    "Stats",
    "Store",
    "StoreFullError",
    "TooLargeError",
    "View",
    "Watch",
    "WatchLostError",
    "open",
]
