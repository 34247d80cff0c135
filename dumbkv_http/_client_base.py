"""What all of a client needs: the way to the server, its limits, and keys in order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlencode

from dumbkv import ClosedError, Page
from dumbkv._arguments import Buffer, key_from, value_from
from dumbkv._scan import text
from dumbkv_http._client_errors import raise_for
from dumbkv_http._json import as_json, read
from dumbkv_http._transport import Answer, Transport

__all__ = ["Asking", "Scans", "result_of"]

C = TypeVar("C", bound="Asking")

_PAGE = 1000
_MOST_IN_PAGE = 10_000


class Asking:
    """A server, and how it is asked."""

    _transport: Transport

    @cached_property
    def _limits(self) -> tuple[int, int]:
        found = self._get("/v1/stats")
        return found["max_key"], found["max_value"]

    @property
    def max_key(self) -> int:
        """Bytes in a key, at most."""
        return self._limits[0]

    @property
    def max_value(self) -> int:
        """Bytes in a value, at most."""
        return self._limits[1]

    def close(self) -> None:
        """Close the connections; every later call raises ClosedError. The store stays open."""
        self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._transport.closed

    def __enter__(self: C) -> C:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _key(self, given: object) -> bytes:
        return key_from(given, self.max_key)

    def _value(self, given: object) -> bytes:
        return value_from(given, self.max_value)

    def _ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        if self._transport.closed:
            raise ClosedError("the client is closed")
        return self._transport.ask(method, target, body, headers)

    def _get(self, target: str) -> Any:
        return result_of(self._ask("GET", target))

    def _post(self, target: str, document: Any) -> Any:
        fields = {"Content-Type": "application/json"}
        return result_of(self._ask("POST", target, as_json(document), fields))


class Scans(Asking):
    """Keys in order, as a store has them."""

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
        """A page of pairs in the order of their keys; as ``Store.scan``. One that is larger than
        the server's pages takes several requests."""
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise TypeError(f"limit must be an int, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError(f"limit is {limit}: expected at least 1")
        items: list[tuple[bytes, bytes]] = []
        next_key: bytes | None = None
        bounds = _bounds(prefix, start, end, after, reverse)
        for found, next_key in self._pages(bounds, limit):  # noqa: B007  # the last is used
            items += [(read(each, "key"), read(each, "value")) for each in found]
        return Page(items, next_key)

    def iter_scan(
        self,
        *,
        prefix: Buffer = b"",
        start: Buffer | None = None,
        end: Buffer | None = None,
        after: Buffer | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """All pairs in a range, in the order of their keys, a request for each thousand."""
        bounds = _bounds(prefix, start, end, after, reverse)
        for found, _ in self._pages(bounds):
            for each in found:
                yield read(each, "key"), read(each, "value")

    def scan_keys(
        self,
        *,
        prefix: Buffer = b"",
        start: Buffer | None = None,
        end: Buffer | None = None,
        after: Buffer | None = None,
        reverse: bool = False,
    ) -> Iterator[bytes]:
        """The same without the values."""
        bounds = _bounds(prefix, start, end, after, reverse) | {"values": b"0"}
        for found, _ in self._pages(bounds):
            for each in found:
                yield read(each, "key")

    def count(self, prefix: Buffer = b"") -> int:
        """How many keys begin with `prefix`."""
        found: int = self._get(f"/v1/count?{urlencode({'prefix': text(prefix)})}")["count"]
        return found

    def delete_prefix(self, prefix: Buffer) -> int:
        """Remove the keys that begin with `prefix`: how many. Others may write in between."""
        answer = self._ask("DELETE", f"/v1/scan?{urlencode({'prefix': text(prefix)})}")
        deleted: int = result_of(answer)["deleted"]
        return deleted

    def _pages(
        self, bounds: dict[str, bytes], limit: int | None = None
    ) -> Iterator[tuple[list[dict[str, str]], bytes | None]]:
        """Items, a request at a time, each time with the cursor behind them."""
        while True:
            most = _PAGE if limit is None else min(limit, _MOST_IN_PAGE)
            page = self._get(f"/v1/scan?{urlencode({**bounds, 'limit': most})}")
            found = page["items"]
            last = page.get("next") is None and page.get("next_b64") is None
            cursor = None if last else read(page, "next")
            yield found, cursor
            if limit is not None:
                limit -= len(found)
            if cursor is None or limit == 0:
                return
            bounds = bounds | {"after": cursor}


def _bounds(
    prefix: Buffer,
    start: Buffer | None,
    end: Buffer | None,
    after: Buffer | None,
    reverse: bool,
) -> dict[str, bytes]:
    given = {"prefix": text(prefix)}
    given |= {
        name: text(bound)
        for name, bound in (("start", start), ("end", end), ("after", after))
        if bound is not None
    }
    return given | {"reverse": b"1"} if reverse else given


def result_of(answer: Answer) -> Any:
    if answer.status != 200:
        raise_for(answer)
    return answer.json()
