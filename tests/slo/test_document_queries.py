"""The document's queries, word for word from its text, on a real Prometheus and a real service."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import dumbkv
import dumbkv_http
from dumbkv._sync import datasync
from tests.http.client import RawClient, get, put
from tests.http.conftest import wait_until
from tests.http.test_prometheus import Prometheus, matches, scraping

DOCUMENT = Path(__file__).parents[2] / "docs" / "SLO.md"


def queries() -> list[str]:
    """The document's expressions in their order, with their comments."""
    found: list[str] = []
    for block in re.findall(r"```prometheus\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        lines: list[str] = []
        for line in block.splitlines(keepends=True):
            lines.append(line)
            code = "".join(each.split("#")[0] for each in lines).rstrip()
            if code and code[-1] != "/" and code.count("(") == code.count(")"):
                found.append("".join(lines))
                lines = []
        # What is left over was no whole expression.
        assert not "".join(lines).strip(), block
    return found


FRESH: dict[int, list[float] | int] = {
    1: [1.0], 2: 0, 3: 0, 4: 0, 5: [0.0], 6: 1, 7: 1, 8: 0, 9: 3, 10: [1.0], 12: 1, 13: 1, 14: 1,
    15: 3,
}  # fmt: skip
"""By an expression's number, what it gives on a fresh service: the values, or how many."""
LOADED = {**FRESH, 2: 1, 3: 1, 4: 1}
FAILING = {**LOADED, 1: 0, 2: 0, 5: 0, 10: 1}
"""A filter gives nothing when its objective is missed."""


def check(prometheus: Prometheus, expected: dict[int, Any]) -> None:
    written = queries()
    assert len(written) == 15
    for number, query in enumerate(written, 1):
        if number in expected:
            values = prometheus.values(query)
            assert matches(values, expected[number]), f"E{number:02}: {query}\ngave {values}"
        else:
            refused = prometheus.ask("query", query=query)
            assert (number, refused["errorType"]) == (11, "bad_data")


def slow_disk(descriptor: int) -> None:
    time.sleep(0.2)
    datasync(descriptor)


def slowly(service: dumbkv_http.Service, number: int) -> None:
    """So many requests at the same time that each take as long as the disk does."""
    with (
        ExitStack() as stack,
        ThreadPoolExecutor(number) as pool,
        mock.patch("dumbkv._sync.datasync", slow_disk),
    ):
        clients = [stack.enter_context(RawClient(service)) for _ in range(number)]
        replies = pool.map(lambda client: client.ask(put("b", b"1")), clients)
        assert all(reply.status in (201, 204) for reply in replies)


def test_every_query_answers_fresh_loaded_and_failing(tmp_path: Path) -> None:
    (tmp_path / "watch").mkdir()
    with (
        dumbkv.open(tmp_path / "data", fsync="always", max_bytes=65536) as store,
        dumbkv_http.serve(store) as service,
        scraping(int(service.port), tmp_path / "watch") as prometheus,
        RawClient(service) as client,
    ):
        check(prometheus, FRESH)

        client.ask(put("a", b"1"))
        for _ in range(999):
            client.ask(get("a"))
        wait_until(lambda: prometheus.values(queries()[1]), seconds=15)
        check(prometheus, LOADED)

        # Three in a hundred are slow, and one in a hundred fails, as the store has no room for it.
        slowly(service, 30)
        for _ in range(10):
            assert client.ask(put("large", bytes(100_000))).status == 507
        wait_until(lambda: not prometheus.values(queries()[1]), seconds=15)
        wait_until(lambda: not prometheus.values(queries()[0]), seconds=15)
        check(prometheus, FAILING)
        [availability] = prometheus.values(queries()[9])
        assert 0.98 < availability < 0.995
