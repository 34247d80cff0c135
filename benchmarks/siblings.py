"""What a Python developer has today and would replace."""

from collections.abc import Iterable, MutableMapping
from threading import Lock


class Locked:
    """A mapping behind a lock, written as people write it."""

    def __init__(self, data: MutableMapping[bytes, bytes]) -> None:
        self._data = data
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

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._data

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        with self._lock:
            return {key: self._data[key] for key in keys if key in self._data}

    def set_many(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        with self._lock:
            self._data.update(pairs)


class LockedDict(Locked):
    """A dict behind a lock."""

    def __init__(self) -> None:
        super().__init__({})
