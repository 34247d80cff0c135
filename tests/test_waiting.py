"""Writers that wait for the disk: who asks, who is woken, and what when a signal comes between."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

import dumbkv
from dumbkv._sync import datasync
from tests.conftest import OpenStore

FAR = 10**9
SOON = 20


@pytest.fixture
def store(open_store: OpenStore, tmp_path: Path) -> dumbkv.Store:
    return open_store(path=tmp_path / "data", fsync="always")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def joined(store: dumbkv.Store, pool: ThreadPoolExecutor, *ends: int) -> list[Future[bool]]:
    """Threads that wait until so much is on the disk, while somebody leads. Whoever is to lead
    after that gives it up at once."""

    def wait(end: int) -> bool:
        leads = store._log_join(end)
        store._log_leave()
        return leads

    waiting = []
    for end in ends:
        before = store._log_gather(0)
        waiting.append(pool.submit(wait, end))
        deadline = time.monotonic() + SOON
        while store._log_gather(0) == before:
            assert time.monotonic() < deadline
    return waiting


def test_one_leads_and_the_others_wait_until_they_are_through(
    store: dumbkv.Store, pool: ThreadPoolExecutor
) -> None:
    assert store._log_join(FAR)
    waiting = joined(store, pool, FAR, FAR, FAR)
    store._log_reached(FAR, False)
    assert not any(leads.result(SOON) for leads in waiting)
    assert not store._log_join(FAR)
    store._log_leave()


def test_those_who_are_not_through_lead_one_after_the_other(
    store: dumbkv.Store, pool: ThreadPoolExecutor
) -> None:
    assert store._log_join(FAR)
    waiting = joined(store, pool, FAR, FAR + 1, FAR + 1)
    store._log_reached(FAR, False)
    assert not waiting[0].result(SOON)
    assert not any(leads.done() for leads in waiting[1:])
    store._log_leave()
    assert all(leads.result(SOON) for leads in waiting[1:])


def test_who_leads_may_ask_again_and_nobody_else_gives_that_up(
    store: dumbkv.Store, pool: ThreadPoolExecutor
) -> None:
    assert store._log_join(FAR)
    assert store._log_join(FAR)
    pool.submit(store._log_leave).result(SOON)
    (leads,) = joined(store, pool, FAR)
    store._log_leave()
    assert leads.result(SOON)


def test_nobody_waits_when_nothing_more_will_be_on_the_disk(
    store: dumbkv.Store, pool: ThreadPoolExecutor
) -> None:
    assert store._log_join(FAR)
    waiting = joined(store, pool, FAR, FAR)
    store._log_reached(0, True)
    assert not any(leads.result(SOON) for leads in waiting)
    store._log_leave()
    assert not store._log_join(FAR)


def test_a_leader_waits_for_as_many_as_wrote_the_last_time(
    store: dumbkv.Store, pool: ThreadPoolExecutor
) -> None:
    assert store._log_join(FAR + 1)
    assert store._log_gather(3600) == 0  # it was alone
    waiting = joined(store, pool, FAR, FAR)
    store._log_reached(FAR, False)
    assert not any(leads.result(SOON) for leads in waiting)
    assert store._log_gather(0) == 0
    waiting = [pool.submit(store._log_join, FAR + 1) for _ in range(2)]
    assert store._log_gather(3600) == 2
    store._log_reached(FAR + 1, False)
    assert not any(leads.result(SOON) for leads in waiting)
    store._log_leave()


def test_a_signal_handler_that_raises_while_the_disk_is_asked_lets_others_ask(
    store: dumbkv.Store, pool: ThreadPoolExecutor
) -> None:
    with (
        mock.patch("dumbkv._sync.datasync", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        store[b"a"] = b"1"
    pool.submit(store.set, b"b", b"2").result(SOON)
    assert store.stats().fsyncs == 1
    with mock.patch("dumbkv._sync.datasync", side_effect=[KeyboardInterrupt, None]):
        with pytest.raises(KeyboardInterrupt):
            store.clear()
        store.clear()
    assert not store


def test_what_was_written_before_such_a_signal_is_undone_if_the_disk_says_no(
    store: dumbkv.Store,
) -> None:
    store[b"a"] = b"1"
    with mock.patch("dumbkv._sync.datasync", side_effect=[KeyboardInterrupt, OSError(5, "no")]):
        with pytest.raises(KeyboardInterrupt):
            store[b"a"] = b"2"
        with pytest.raises(dumbkv.PoisonedError):
            store[b"b"] = b"3"
    assert store == {b"a": b"1"}


def test_a_file_that_was_being_closed_at_such_a_signal_is_not_written_to(
    store: dumbkv.Store, tmp_path: Path
) -> None:
    store[b"a"] = b"1"
    before = store[b"a"]
    with (
        mock.patch("dumbkv._log.datasync", side_effect=KeyboardInterrupt),
        pytest.raises(dumbkv.PoisonedError, match="KeyboardInterrupt"),
    ):
        store.snapshot(tmp_path / "copy")
    assert store[b"a"] == before
    with pytest.raises(dumbkv.PoisonedError):
        store[b"a"] = b"2"


def test_every_writer_is_through_however_they_come(store: dumbkv.Store) -> None:
    """Each request may be slow or quick, and a thread may end at any time."""
    asked = threading.Lock()

    def one_at_a_time(descriptor: int) -> None:
        assert asked.acquire(blocking=False), "two ask at once"
        datasync(descriptor)
        asked.release()

    def write(n: int) -> None:
        for i in range(10 * n):
            store[b"%d %d" % (n, i)] = b""

    with mock.patch("dumbkv._sync.datasync", one_at_a_time), ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(write, n) for n in range(6)]:
            done.result(60)
    assert len(store) == 150
    assert store.stats().fsyncs < 150
