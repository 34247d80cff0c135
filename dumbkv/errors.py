"""The exceptions DumbKV raises on purpose.

Catch :class:`DumbKVError` for all of them. Where Python already has the right
exception it is raised as it is: ``KeyError`` for a missing key, ``TypeError``
for an argument of the wrong type, ``ValueError`` for an option out of range,
``OverflowError`` for a counter past 64 bits, ``MemoryError`` when an allocation
fails. A call that raises leaves the store as it was.
"""


class DumbKVError(Exception):
    """The base of every exception that is DumbKV's own."""


class InvalidKeyError(DumbKVError, ValueError):
    """A key that is empty or longer than the store allows."""


class TooLargeError(DumbKVError, ValueError):
    """A value longer than the store allows."""


class StoreFullError(DumbKVError):
    """A write that would pass ``max_bytes`` in a store that does not evict."""


class DiskFullError(StoreFullError):
    """A write for which the disk has no room: nothing was changed, and once there is room again
    the store takes writes again."""


class ConflictError(DumbKVError):
    """A batch found a key at another version than the one it checked; `key` says which."""

    key: bytes

    def __init__(self, key: bytes) -> None:
        super().__init__(f"the key {shown(key)} is not at the version that was checked")
        self.key = key


class WatchLostError(DumbKVError):
    """More happened than is kept for a watch: read the store anew and watch from there."""


class NotAnIntegerError(DumbKVError, ValueError):
    """``incr`` or ``decr`` met a value that is not a decimal 64-bit integer."""


class DecodeError(DumbKVError, ValueError):
    """A view met a key or value in the store that its codec cannot decode.

    `key` and `value` are the bytes in the store; `value` is None when it was the key.
    """

    def __init__(self, message: str, key: bytes = b"", value: bytes | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.value = value


class ClosedError(DumbKVError):
    """The store was closed before or during the call."""


class CorruptError(DumbKVError):
    """A file that is damaged, cut short or not DumbKV's: nothing of it was taken.

    `path`, `offset` and `what` say which file, where in it in bytes, and what is wrong.
    """

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(path, offset, what)
        self.path = path
        self.offset = offset
        self.what = what

    def __str__(self) -> str:
        return f"{self.path}: at byte {self.offset}: {self.what}"


class LockedError(DumbKVError):
    """A file or data directory that another process, or this one, has open to change it."""


class PoisonedError(DumbKVError):
    """The disk failed to keep what was written, so nothing more is: open the store again.

    ``__cause__`` is the system's error. Reading goes on with what is in memory.
    """


class ForkedError(DumbKVError):
    """A write to a store on disk after a fork: it belongs to the process that opened it."""


def shown(data: bytes) -> str:
    """Bytes as an error message shows them, cut when long.

    >>> shown(b"abc"), shown(bytes(40))[-5:]
    ("b'abc'", "0'...")
    """
    return repr(data) if len(data) <= 32 else repr(data[:32]) + "..."
