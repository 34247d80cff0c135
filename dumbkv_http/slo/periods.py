"""Calendar months and ISO weeks, in UTC: what reports are about."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

__all__ = ["Period", "moment", "month", "week"]

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_WEEK = re.compile(r"([0-9]{4})-W([0-9]{2})")


class Period(NamedTuple):
    """From `begin` up to `end`, both seconds since the epoch; `name` as on the command line."""

    kind: str
    name: str
    begin: int
    end: int

    @property
    def seconds(self) -> int:
        """Its length."""
        return self.end - self.begin

    @property
    def previous(self) -> Period:
        """The period of the same kind that ends where this one begins."""
        day = datetime.fromtimestamp(self.begin, timezone.utc).date() - timedelta(days=1)
        if self.kind == "month":
            return month(f"{day:%Y-%m}")
        year, number, _ = day.isocalendar()
        return week(f"{year}-W{number:02}")


def month(name: str) -> Period:
    """A calendar month. Raises ValueError.

    >>> month("2026-02").seconds // 86400, month("2026-01").previous.name
    (28, '2025-12')
    """
    found = _MONTH.fullmatch(name)
    if found is None or not 1 <= int(found[2]) <= 12 or int(found[1]) < 1970:
        raise ValueError(f"expected a month such as 2026-10, got {name!r}")
    year, number = int(found[1]), int(found[2])
    return Period(
        "month",
        name,
        _epoch(date(year, number, 1)),
        _epoch(date(year + number // 12, number % 12 + 1, 1)),
    )


def week(name: str) -> Period:
    """An ISO week, Monday to Sunday. Raises ValueError.

    >>> week("2026-W01").previous.name, moment(week("2026-W43").begin)
    ('2025-W52', '2026-10-19 00:00')
    """
    found = _WEEK.fullmatch(name)
    try:
        if found is None or int(found[1]) < 1970:
            raise ValueError
        begin = _epoch(date.fromisocalendar(int(found[1]), int(found[2]), 1))
    except ValueError:
        raise ValueError(f"expected an ISO week such as 2026-W43, got {name!r}") from None
    return Period("week", name, begin, begin + 7 * 86400)


def moment(seconds: float) -> str:
    """Seconds since the epoch as a date and a minute in UTC.

    >>> moment(0)
    '1970-01-01 00:00'
    """
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M}"


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())
