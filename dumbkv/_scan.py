"""Keys in order: ranges, pages, prefixes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from dumbkv._arguments import KEY_CEILING, Buffer, key_from
from dumbkv._order import Bounds, Order

if TYPE_CHECKING:
    from dumbkv._table import Table as _Base
else:

    class _Base:
        __slots__ = ()


PAGE = 500
"""Keys in a step of an iterator."""


class Page(NamedTuple):
    """Some pairs in order, and the cursor for those after them."""

    items: list[tuple[bytes, bytes]]
    next: bytes | None
    """Give it as `after` to go on; None when there are no more."""


class Scans(_Base):
    """What a store has for keys in order.

    The first of these sorts the keys, O(n log n), and from then on writes that add or remove
    a key leave a note of it, which the next scan acts upon; with ``open(ordered=True)`` that
    is done in the background, from the start. Keys are in the order of their bytes.
    """

    __slots__ = ()
    _order: Order

    def scan(
        self,
        *,
        prefix: Buffer = b"",
        start: Buffer | None = None,
        end: Buffer | None = None,
        after: Buffer | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> Page:
        """A page of pairs in the order of their keys.

        Keys that begin with `prefix`, from `start` on and below `end`; at most `limit` of
        them. `after` goes on behind a key, in reverse below it, there or not. Each page is
        one look at the store; a key that is there all the time comes exactly once in the
        pages of a scan, whatever is written meanwhile. O(log n + limit) after the first.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.update({b"b:2": b"y", b"a:1": b"w", b"b:1": b"x", b"c": b"z"})
        >>> store.scan(prefix=b"b:")
        Page(items=[(b'b:1', b'x'), (b'b:2', b'y')], next=None)
        >>> store.scan(start=b"a:2", limit=2)
        Page(items=[(b'b:1', b'x'), (b'b:2', b'y')], next=b'b:2')
        >>> store.scan(after=b"b:2", reverse=True).items
        [(b'b:1', b'x'), (b'a:1', b'w')]
        """
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise TypeError(f"limit must be an int, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError(f"limit is {limit}: expected at least 1")
        items: list[tuple[bytes, bytes]] = []
        bounds = bounds_from(prefix, start, end, after, reverse)
        while True:
            keys = self._order.some(self, bounds, limit - len(items) + 1, reverse)
            more = len(keys) > limit - len(items)
            del keys[limit - len(items) :]
            items += self._pairs(keys)
            if not more:
                return Page(items, None)
            if len(items) == limit:
                return Page(items, keys[-1])
            narrow(bounds, keys[-1], reverse)  # some went away since the look at the order

    def iter_scan(
        self,
        *,
        prefix: Buffer = b"",
        start: Buffer | None = None,
        end: Buffer | None = None,
        after: Buffer | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """All pairs in a range, in the order of their keys, read a few hundred at a time.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.update({b"b": b"2", b"a": b"1", b"c": b"3"})
        >>> list(store.iter_scan(end=b"c"))
        [(b'a', b'1'), (b'b', b'2')]
        """
        bounds = bounds_from(prefix, start, end, after, reverse)
        for keys in self._pages(bounds, reverse):
            yield from self._pairs(keys)

    def scan_keys(
        self,
        *,
        prefix: Buffer = b"",
        start: Buffer | None = None,
        end: Buffer | None = None,
        after: Buffer | None = None,
        reverse: bool = False,
    ) -> Iterator[bytes]:
        """The same without the values.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.update({b"b": b"2", b"a": b"1", b"c": b"3"})
        >>> list(store.scan_keys(reverse=True))
        [b'c', b'b', b'a']
        """
        bounds = bounds_from(prefix, start, end, after, reverse)
        for keys in self._pages(bounds, reverse):
            yield from self._those(keys)

    def count(self, prefix: Buffer = b"") -> int:
        """How many keys begin with `prefix`. O(log n) after the first scan, but for an empty
        prefix, which needs none.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.update({b"b:2": b"y", b"a:1": b"w", b"b:1": b"x"})
        >>> store.count(b"b:"), store.count()
        (2, 3)
        """
        if not prefix:
            return len(self)
        self.sweep()
        return self._order.count(self, bounds_from(prefix, None, None, None, False))

    def delete_prefix(self, prefix: Buffer) -> int:
        """Remove the keys that begin with `prefix` and were there when it began: how many.

        Each few hundred keys go in one step, so that others need not wait for all of them.

        >>> import dumbkv
        >>> store = dumbkv.open()
        >>> store.update({b"b:2": b"y", b"a:1": b"w", b"b:1": b"x"})
        >>> store.delete_prefix(b"b:"), len(store)
        (2, 1)
        """
        bounds = bounds_from(prefix, None, None, None, False)
        return sum(self.delete_many(keys) for keys in self._pages(bounds, False))

    def _pages(self, bounds: Bounds, reverse: bool) -> Iterator[list[bytes]]:
        while True:
            keys = self._order.some(self, bounds, PAGE, reverse)
            yield keys
            if len(keys) < PAGE:
                return
            narrow(bounds, keys[-1], reverse)


def bounds_from(
    prefix: Buffer,
    start: Buffer | None,
    end: Buffer | None,
    after: Buffer | None,
    reverse: bool,
) -> Bounds:
    """The range that all of them allow."""
    low = begin = text(prefix)
    high = behind(begin)
    closed = True
    if start is not None:
        low = max(low, text(start))
    if end is not None:
        high = text(end) if high is None else min(high, text(end))
    bounds = Bounds(low, closed, high)
    if after is not None:
        narrow(bounds, text(after), reverse)
    return bounds


def narrow(bounds: Bounds, after: bytes, reverse: bool) -> None:
    """Go on after a key; in reverse, below it."""
    if reverse:
        bounds.high = after if bounds.high is None else min(bounds.high, after)
    elif after >= bounds.low:
        bounds.low, bounds.closed = after, False


def behind(prefix: bytes) -> bytes | None:
    """The first key behind all that begin with a prefix; None when there cannot be one.

    >>> behind(b"ab"), behind(b"a\\xff"), behind(b"\\xff")
    (b'ac', b'b', None)
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def text(given: Buffer) -> bytes:
    """What a range may end at: any bytes, and none at all."""
    return b"" if isinstance(given, bytes) and not given else key_from(given, KEY_CEILING)
