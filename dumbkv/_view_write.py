"""A view as it is changed, key by key and many at a time."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from itertools import chain
from typing import Any, TypeVar, overload

from dumbkv._arguments import pairs_from
from dumbkv._view_read import ReadView
from dumbkv.errors import DecodeError

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
_MISSING: Any = object()


class WriteView(ReadView[K, V], MutableMapping[K, V]):
    """What a view has that changes the store."""

    __slots__ = ()

    def __setitem__(self, key: K, value: V) -> None:
        self._store[self._raw(key)] = self._values.encode(value)

    def set(
        self,
        key: K,
        value: V,
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        keep_ttl: bool = False,
        nx: bool = False,
        xx: bool = False,
        if_version: int | None = None,
    ) -> int | None:
        """Store `value` under `key`; the new version, or None when a condition failed. The
        options are those of ``Store.set``.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> version = view.set("a", {"n": 1}, ttl=60)
        >>> view.set("a", {"n": 2}, if_version=version, keep_ttl=True) is not None
        True
        >>> view.set("a", {"n": 3}, if_version=version) is None
        True
        """
        return self._store.set(
            self._raw(key),
            self._values.encode(value),
            ttl=ttl,
            expire_at=expire_at,
            keep_ttl=keep_ttl,
            nx=nx,
            xx=xx,
            if_version=if_version,
        )

    def add(
        self, key: K, value: V, *, ttl: float | None = None, expire_at: float | None = None
    ) -> int | None:
        """Store `value` only when `key` is absent; the version, or None when it was there.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.add("a", "1", ttl=60) is None, view.add("a", "2") is None
        (False, True)
        """
        return self._store.add(
            self._raw(key), self._values.encode(value), ttl=ttl, expire_at=expire_at
        )

    def setdefault(self, key: K, default: V) -> V:
        """The value of `key`, after storing `default` when it was absent.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.setdefault("a", []), view.setdefault("a", [1])
        ([], [])
        """
        raw = self._raw(key)
        return self._value(raw, self._store.setdefault(raw, self._values.encode(default)))

    def update(  # type: ignore[override]  # it takes keys and items() alone for no mapping
        self, other: Mapping[K, V] | Iterable[tuple[K, V]] = (), /, **named: V
    ) -> None:
        """Store every pair of a mapping or of an iterable of pairs, and what is given by name:
        all of them or none.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.update({"a": 1}, b=2)
        >>> view["a"] + view["b"]
        3
        """
        pairs: Iterable[tuple[Any, V]] = chain(pairs_from("update", other), named.items())
        self._store.update(self._raw_pairs(pairs))

    def set_many(
        self,
        items: Mapping[K, V] | Iterable[tuple[K, V]],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> None:
        """Store every pair of a mapping or of an iterable of pairs, all with one expiry: all
        of them or none, in one step.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.set_many([("a", "1"), ("b", "2")], ttl=60)
        >>> len(view)
        2
        """
        pairs = self._raw_pairs(pairs_from("set_many", items))
        self._store.set_many(pairs, ttl=ttl, expire_at=expire_at)

    def incr(self, key: K, by: int = 1, *, ttl: float | None = None) -> int:
        """Add `by` to the decimal integer at `key` and return the sum; as ``Store.incr``.

        It reads and writes ASCII decimal digits, whatever the codec: to a view of text they
        are a string, and to one of JSON an integer.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view["n"] = 41
        >>> view.incr("n"), view["n"]
        (42, 42)
        """
        return self._store.incr(self._raw(key), by, ttl=ttl)

    def decr(self, key: K, by: int = 1, *, ttl: float | None = None) -> int:
        """Subtract `by`: ``incr`` with the sign turned.

        >>> import dumbkv
        >>> dumbkv.open().text().decr("n", 3)
        -3
        """
        return self._store.decr(self._raw(key), by, ttl=ttl)

    def touch(self, key: K, ttl: float | None = None, *, expire_at: float | None = None) -> bool:
        """Give `key` a new expiry and leave its value and version; False when absent.

        >>> import dumbkv
        >>> dumbkv.open().text().touch("a", 60)
        False
        """
        return self._store.touch(self._raw(key), ttl, expire_at=expire_at)

    def persist(self, key: K) -> bool:
        """Take the expiry off `key`; whether it had one.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> version = view.set("a", "1", ttl=60)
        >>> view.persist("a"), view.ttl("a")
        (True, None)
        """
        return self._store.persist(self._raw(key))

    def get_or_set(
        self,
        key: K,
        factory: Callable[[], V],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
        timeout: float | None = None,
    ) -> V:
        """The value of `key`; when it is absent, the one that ``factory()`` makes, called once
        for all threads that ask through whatever view; as ``Store.get_or_set``.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.get_or_set("a", lambda: {"made": True}, ttl=60)
        {'made': True}
        """
        raw = self._raw(key)

        def make() -> bytes:
            return self._values.encode(factory())

        value = self._store.get_or_set(raw, make, ttl=ttl, expire_at=expire_at, timeout=timeout)
        return self._value(raw, value)

    def modify(
        self,
        key: K,
        fn: Callable[[V | None], V | None],
        *,
        ttl: float | None = None,
        expire_at: float | None = None,
    ) -> V | None:
        """Put what ``fn(value)`` returns in the place of `value`, as one atomic step; the new
        value. As ``Store.modify``: None is an absent key, `fn` may be called several times,
        and the expiry stays unless one is given.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.modify("a", lambda tags: [*(tags or []), "new"])
        ['new']
        """
        raw = self._raw(key)

        def change(value: bytes | None) -> bytes | None:
            new = fn(None if value is None else self._value(raw, value))
            return None if new is None else self._values.encode(new)

        value = self._store.modify(raw, change, ttl=ttl, expire_at=expire_at)
        return None if value is None else self._value(raw, value)

    # Removing

    def __delitem__(self, key: K) -> None:
        if not self._store.delete(self._raw(key)):
            raise KeyError(key)

    def delete(self, key: K, *, if_version: int | None = None) -> bool:
        """Remove `key`; whether it was there (and, if asked, at that version).

        >>> import dumbkv
        >>> dumbkv.open().text().delete("a")
        False
        """
        return self._store.delete(self._raw(key), if_version=if_version)

    def delete_many(self, keys: Iterable[K]) -> int:
        """Remove those of `keys` that are there, in one step; how many there were.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.update(a="1", b="2")
        >>> view.delete_many(["a", "c"])
        1
        """
        return self._store.delete_many([self._raw(key) for key in keys])

    @overload
    def pop(self, key: K) -> V: ...
    @overload
    def pop(self, key: K, default: T) -> V | T: ...
    def pop(self, key: K, default: Any = _MISSING) -> Any:
        """Remove `key` and return its value, or `default`; KeyError without one. A value that
        does not decode stays.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view["a"] = [1]
        >>> view.pop("a"), view.pop("a", None)
        ([1], None)
        """
        raw = self._raw(key)
        while (entry := self._store.entry(raw)) is not None:
            value = self._value(raw, entry.value)
            if self._store.delete(raw, if_version=entry.version):
                return value
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[K, V]:
        """Remove some key and return it with its value; KeyError when there is none. What
        does not decode is removed too; the DecodeError has it in `key` and `value`.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view["a"] = [1]
        >>> view.popitem()
        ('a', [1])
        """
        raw, data = self._popitem() if self._prefix else self._store.popitem()
        try:
            return self._pair(raw, data)
        except DecodeError as error:
            error.value = data
            raise

    def _popitem(self) -> tuple[bytes, bytes]:
        while True:
            first = self._store.scan(prefix=self._prefix, limit=1).items
            if not first:
                raise KeyError("popitem(): the namespace is empty")
            raw = first[0][0]
            data = self._store.pop(raw, None)
            if data is not None:
                return raw, data

    def clear(self) -> None:
        """Remove every key of the view. O(n).

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view["a"] = "1"
        >>> view.clear()
        >>> len(view)
        0
        """
        if self._prefix:
            self._store.delete_prefix(self._prefix)
        else:
            self._store.clear()
