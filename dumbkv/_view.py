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

from collections.abc import Callable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from dumbkv._arguments import Buffer
from dumbkv._codec import BYTES, JSON_VALUE, TEXT_KEY, TEXT_VALUE, Codec
from dumbkv._view_batch import ViewBatch
from dumbkv._view_read import ByteStore
from dumbkv._view_watch import ViewWatch
from dumbkv._view_write import WriteView
from dumbkv.errors import shown

K = TypeVar("K")
V = TypeVar("V")
K2 = TypeVar("K2")
V2 = TypeVar("V2")

if TYPE_CHECKING:
    # At run time it is the store's own, which takes no parameters before Python 3.11.
    class Page(NamedTuple, Generic[K, V]):
        items: list[tuple[K, V]]
        next: K | None


class View(WriteView[K, V]):
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

    __slots__ = ()

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


class Viewed(ByteStore):
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
