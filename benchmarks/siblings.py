"""What a Python developer has today and would replace."""

from threading import Lock


class LockedDict:
    """A dict behind a lock, written as people write it."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        self._lock = Lock()

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            return self._data.get(key)

    def set(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._data[key] = value

    def delete(self, key: bytes) -> None:
        with self._lock:
            del self._data[key]

    def __contains__(self, key: bytes) -> bool:
        with self._lock:
            return key in self._data
