"""Views: the store as a mapping of something else than bytes, or of a part of its keys.

A view has no contents. It makes bytes of what it is given, calls the one method of the store
that does what was asked, and decodes the answer: so every method is as atomic as the store's.
The mixins of `MutableMapping` are several steps each, and none of them is used.

Encoding comes before the call and a failure of it changes nothing. Decoding comes after it;
only `pop` decodes first and then removes what it decoded, at that version, so that nothing is
lost in an error. `popitem` has to get past what it cannot decode: that is removed, and in the
error.

The keys of a namespace are found by the store's ordered scan. A view of all keys iterates as
the store does, which needs no order and so builds no index.
"""

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from dumbkv._arguments import Buffer, pairs_from
from dumbkv._codec import BYTES, JSON_VALUE, TEXT_KEY, TEXT_VALUE, Codec, Coded
from dumbkv._view_batch import ViewBatch
from dumbkv._view_watch import ViewWatch
from dumbkv.errors import DecodeError, shown

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
T = TypeVar("T")
_MISSING: Any = object()

if TYPE_CHECKING:
    from dumbkv._batch import Batches
    from dumbkv._flight import Fills
    from dumbkv._modify import Modifies
    from dumbkv._scan import Scans
    from dumbkv._table import Table
    from dumbkv._watch import Watches

    class _Base(  # type: ignore[misc]  # as in Store
        Scans, Batches, Watches, Fills, Modifies, Table, MutableMapping[bytes, bytes]
    ): ...

    # At run time they are the store's own, which take no parameters before Python 3.11.
    class Entry(NamedTuple, Generic[K, V]):
        key: K
        value: V
        version: int
        expires_at: float | None

    class Page(NamedTuple, Generic[K, V]):
        items: list[tuple[K, V]]
        next: K | None
else:

    class _Base:
        __slots__ = ()


class View(Coded[K, V], MutableMapping[K, V]):
    """A mapping of `K` to `V` that is kept in a store of bytes; made by ``Store.namespace``,
    ``text``, ``json`` and ``view``.

    It has the methods of the store, with all their options, each as atomic as there and with
    the store's own errors; DecodeError when the store holds what the codec cannot read. Other
    views of the store, and the store, see what is written through this one.

    Iterating holds a few hundred keys at a time, however many there are; a namespace goes in
    order and so has the store keep one, as a scan does. A view of all keys goes as the store
    itself does: on the C table by a sixty-fourth of them, on the Python one over a list of
    references to all, 8 bytes each.

    >>> import dumbkv
    >>> users = dumbkv.open().namespace(b"user:").json()
    >>> users["ann"] = {"name": "Ann"}
    >>> users.set("ann", {"name": "Anna"}, ttl=60, xx=True) is not None
    True
    >>> users["ann"], users.get("bob")
    ({'name': 'Anna'}, None)
    """

    __slots__ = ("_store",)

    def __init__(self, store: _Base, prefix: bytes, keys: Codec[K], values: Codec[V]) -> None:
        super().__init__(prefix, store.max_key, keys, values)
        self._store = store

    # Views of the view

    def namespace(self, prefix: K) -> "View[K, V]":
        """A view of the keys that begin with `prefix`, without it.

        The key that is the prefix is the empty key in there. Limits on a key's length count
        all prefixes.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.text().namespace("user:").namespace("ann:")["colour"] = "green"
        >>> dict(store)
        {b'user:ann:colour': b'green'}
        """
        return View(self._store, self._longer(prefix), self._keys, self._values)

    def text(self) -> "View[str, str]":
        """The same keys with `str` for keys and values, in place of this view's codecs.

        >>> import dumbkv
        >>> names = dumbkv.open().namespace(b"name:").text()
        >>> names["ann"] = "Ann"
        >>> names.pop("ann")
        'Ann'
        """
        return self.view(TEXT_KEY, TEXT_VALUE)

    def json(self) -> "View[str, Any]":
        """The same keys with `str` for keys and JSON for values, in place of this view's codecs.

        >>> import dumbkv
        >>> sizes = dumbkv.open().namespace(b"size:").json()
        >>> sizes["small"] = [1, 2.5, None]
        >>> sizes["small"]
        [1, 2.5, None]
        """
        return self.view(TEXT_KEY, JSON_VALUE)

    def view(self, key_codec: Codec[K2], value_codec: Codec[V2]) -> "View[K2, V2]":
        """The same keys through codecs of your own, in place of this view's.

        >>> import dumbkv
        >>> number = dumbkv.Codec(lambda n: b"%d" % n, int)
        >>> squares = dumbkv.open().namespace(b"square:").view(number, number)
        >>> squares[12] = 144
        >>> squares[12]
        144
        """
        return View(self._store, self._prefix, key_codec, value_codec)

    # Reading

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

    # Writing

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

    # In order

    def scan(
        self,
        *,
        prefix: K | None = None,
        start: K | None = None,
        end: K | None = None,
        after: K | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> "Page[K, V]":
        """Up to `limit` items in the order of their keys' bytes, and the key to go on `after`,
        None at the end; as ``Store.scan``.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.update(a=1, b=2, c=3)
        >>> page = view.scan(start="b", limit=1)
        >>> page.items, view.scan(start="b", after=page.next).items
        ([('b', 2)], [('c', 3)])
        """
        page: Any = self._store.scan(
            **self._bounds(prefix, start, end, after), limit=limit, reverse=reverse
        )
        return page._replace(  # type: ignore[no-any-return]  # the parameters of Page are ours
            items=list(starmap(self._pair, page.items)),
            next=None if page.next is None else self._key(page.next),
        )

    def iter_scan(
        self,
        *,
        prefix: K | None = None,
        start: K | None = None,
        end: K | None = None,
        after: K | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[K, V]]:
        """All items in the order of their keys' bytes; as ``Store.iter_scan``.

        >>> import dumbkv
        >>> view = dumbkv.open().json()
        >>> view.update(b=2, a=1)
        >>> list(view.iter_scan(reverse=True))
        [('b', 2), ('a', 1)]
        """
        bounds = self._bounds(prefix, start, end, after)
        return starmap(self._pair, self._store.iter_scan(**bounds, reverse=reverse))

    def scan_keys(
        self,
        *,
        prefix: K | None = None,
        start: K | None = None,
        end: K | None = None,
        after: K | None = None,
        reverse: bool = False,
    ) -> Iterator[K]:
        """All keys in the order of their bytes; as ``Store.scan_keys``.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.update(b="", a="", ab="")
        >>> list(view.scan_keys(prefix="a"))
        ['a', 'ab']
        """
        bounds = self._bounds(prefix, start, end, after)
        return map(self._key, self._store.scan_keys(**bounds, reverse=reverse))

    def count(self, prefix: K | None = None) -> int:
        """How many keys begin with `prefix`, or are in the view.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.update(b="", a="", ab="")
        >>> view.count("a")
        2
        """
        return len(self) if prefix is None else self._store.count(self._start(prefix))

    def delete_prefix(self, prefix: K) -> int:
        """Remove the keys that begin with `prefix`; how many there were. As
        ``Store.delete_prefix``.

        >>> import dumbkv
        >>> view = dumbkv.open().text()
        >>> view.update(b="", a="", ab="")
        >>> view.delete_prefix("a"), list(view)
        (2, ['b'])
        """
        return self._store.delete_prefix(self._start(prefix))

    # Together

    def batch(self) -> ViewBatch[K, V]:
        """Changes that are done together when the block ends: all of them or none; as
        ``Store.batch``.

        What does not encode raises in the block, and nothing is done. In a ConflictError
        `key` is the key's bytes in the store, prefixes and all: the batch is the store's.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> users = store.namespace(b"user:").json()
        >>> with users.batch() as b:
        ...     b.check("ann", None)
        ...     b.set("ann", {"name": "Ann"}, ttl=60)
        ...     b.incr("how many")
        >>> b.results[1], store.scan().items
        (1, [(b'user:ann', b'{"name":"Ann"}'), (b'user:how many', b'1')])
        """
        return ViewBatch(self._store.batch(), self)

    def watch(
        self,
        prefix: K | None = None,
        *,
        since: int | None = None,
        timeout: float | None = None,
        notify: Callable[[], object] | None = None,
    ) -> ViewWatch[K]:
        """Events of the view's keys that begin with `prefix`, in the order of their versions;
        as ``Store.watch``.

        Keys come as the view has them, without its prefix. When the whole store is cleared
        every view is told "clear", with None for the key. A namespace that is cleared tells
        of its keys one by one.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> users = store.namespace(b"user:").text()
        >>> with users.watch(timeout=0) as events:
        ...     users["ann"] = "1"
        ...     store[b"other"] = b"-"
        ...     [(event.kind, event.key) for event in events]
        [('set', 'ann')]
        """
        start = self._prefix if prefix is None else self._start(prefix)
        more: dict[str, Any] = {}
        if notify is not None:  # a client of the service has none
            more["notify"] = notify
        return ViewWatch(self._store.watch(start, since=since, timeout=timeout, **more), self)

    def __repr__(self) -> str:
        where = f" under {shown(self._prefix)}" if self._prefix else ""
        codecs = f"{self._keys.name} to {self._values.name}"
        return f"<dumbkv.View: {codecs}{where}, of {self._store!r}>"

    def _raw_items(self) -> Iterable[tuple[bytes, bytes]]:
        store, prefix = self._store, self._prefix
        return store.iter_scan(prefix=prefix) if prefix else store.items()


class _Values(ValuesView[V]):
    __slots__ = ()
    _mapping: View[Any, V]

    def __iter__(self) -> Iterator[V]:
        return starmap(self._mapping._value, self._mapping._raw_items())

    def __contains__(self, value: object) -> bool:
        return any(value == each for each in self)


class _Items(ItemsView[K, V]):
    __slots__ = ()
    _mapping: View[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return starmap(self._mapping._pair, self._mapping._raw_items())


class Viewed(_Base):
    """What a store has for keys and values of other types, and for parts of its keys."""

    __slots__ = ()

    def namespace(self, prefix: Buffer) -> View[bytes, bytes]:
        """A view of the keys that begin with `prefix`, without it.

        The key that is the prefix is the empty key in there. Limits on a key's length count
        the prefix.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> users = store.namespace(b"user:")
        >>> users[b"ann"] = b"1"
        >>> store[b"user:ann"], b"bob" in users
        (b'1', False)
        """
        return self.view(BYTES, BYTES).namespace(prefix)  # type: ignore[arg-type]  # bytes-like

    def text(self) -> View[str, str]:
        """A view with `str` for keys and values: strict UTF-8 in the store.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.text()["colour"] = "green"
        >>> store[b"colour"]
        b'green'
        """
        return self.view(TEXT_KEY, TEXT_VALUE)

    def json(self) -> View[str, Any]:
        """A view with `str` for keys and what JSON can say for values: compact UTF-8 in the store.

        What comes back is what ``json.loads`` makes of it: tuples have become lists, and keys
        of dicts strings. A stored null is None, as an absent key is to ``get``.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.json()["user"] = {"name": "Ann", "tags": []}
        >>> store[b"user"]
        b'{"name":"Ann","tags":[]}'
        """
        return self.view(TEXT_KEY, JSON_VALUE)

    def view(self, key_codec: Codec[K], value_codec: Codec[V]) -> View[K, V]:
        """A view of the store through codecs of your own.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> number = dumbkv.Codec(lambda n: b"%d" % n, int)
        >>> store.view(number, number)[12] = 144
        >>> dict(store)
        {b'12': b'144'}
        """
        return View(self, b"", key_codec, value_codec)
