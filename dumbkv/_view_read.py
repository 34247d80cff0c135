"""A view as it is read."""

from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from itertools import starmap
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from dumbkv._codec import Codec, Coded

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

if TYPE_CHECKING:
    from dumbkv._batch import Batches
    from dumbkv._flight import Fills
    from dumbkv._modify import Modifies
    from dumbkv._scan import Scans
    from dumbkv._table import Table
    from dumbkv._watch import Watches

    class ByteStore(  # type: ignore[misc]  # as in Store
        Scans, Batches, Watches, Fills, Modifies, Table, MutableMapping[bytes, bytes]
    ): ...

    # At run time they are the store's own, which take no parameters before Python 3.11.
    class Entry(NamedTuple, Generic[K, V]):
        key: K
        value: V
        version: int
        expires_at: float | None
else:

    class ByteStore:
        __slots__ = ()


class ReadView(Coded[K, V], Mapping[K, V]):
    """What a view has that changes nothing."""

    __slots__ = ("_store",)

    def __init__(self, store: ByteStore, prefix: bytes, keys: Codec[K], values: Codec[V]) -> None:
        super().__init__(prefix, store.max_key, keys, values)
        self._store = store

    def __getitem__(self, key: K) -> V:
        raw = self._raw(key)
        value = self._store.get(raw)
        if value is None:
            raise KeyError(key)
        return self._value(raw, value)

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: T) -> V | T: ...
    def get(self, key: K, default: Any = None) -> Any:
        """The value of `key`, or `default`.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.get("a"), view.get("a", "none")
        (None, 'none')
        """
        raw = self._raw(key)
        value = self._store.get(raw)
        return default if value is None else self._value(raw, value)

    def __contains__(self, key: object) -> bool:
        return self._raw(key) in self._store

    def __len__(self) -> int:
        return self._store.count(self._prefix) if self._prefix else len(self._store)

    def __iter__(self) -> Iterator[K]:
        keys = self._store.scan_keys(prefix=self._prefix) if self._prefix else self._store
        return map(self._key, keys)

    def keys(self) -> KeysView[K]:
        """A live view of the keys.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view["a"] = "1"
        >>> list(view.keys()), view.keys() & {"a", "b"}
        (['a'], {'a'})
        """
        return KeysView(self)

    def values(self) -> ValuesView[V]:
        """A live view of the values.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view["a"] = [1]
        >>> list(view.values()), [2] in view.values()
        ([[1]], False)
        """
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """A live view of the pairs.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view["a"] = 1
        >>> list(view.items())
        [('a', 1)]
        """
        return _Items(self)

    def entry(self, key: K) -> "Entry[K, V] | None":
        """The key with value, version and expiry, or None when it is not there.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> version = view.set("a", [1])
        >>> view.entry("a") == ("a", [1], version, None)
        True
        """
        raw = self._raw(key)
        entry: Any = self._store.entry(raw)
        if entry is None:
            return None
        return entry._replace(  # type: ignore[no-any-return]  # the parameters of Entry are ours
            key=self._key(entry.key), value=self._value(raw, entry.value)
        )

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those of `keys` that are there, by key, read in one step.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.update(a=1, b=2)
        >>> view.get_many(["a", "c"])
        {'a': 1}
        """
        found = self._store.get_many([self._raw(key) for key in keys])
        return {self._key(raw): self._value(raw, value) for raw, value in found.items()}

    def ttl(self, key: K) -> float | None:
        """Seconds until `key` expires, or None when it never does; KeyError when absent.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view["a"] = "1"
        >>> view.ttl("a") is None
        True
        """
        raw = self._raw(key)
        try:
            return self._store.ttl(raw)
        except KeyError:
            raise KeyError(key) from None

    def _raw_items(self) -> Iterable[tuple[bytes, bytes]]:
        store, prefix = self._store, self._prefix
        return store.iter_scan(prefix=prefix) if prefix else store.items()


class _Values(ValuesView[V]):
    __slots__ = ()
    _mapping: ReadView[Any, V]

    def __iter__(self) -> Iterator[V]:
        return starmap(self._mapping._value, self._mapping._raw_items())

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)


class _Items(ItemsView[K, V]):
    __slots__ = ()
    _mapping: ReadView[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return starmap(self._mapping._pair, self._mapping._raw_items())
