"""Threads share a store; each scenario runs in a process of its own with a time limit, so
that a deadlock is a red test and not a hanging one."""

import subprocess
import sys
import textwrap

import pytest

from tests.conftest import BACKENDS

PRELUDE = """
import faulthandler, random, sys, threading
import dumbkv
faulthandler.dump_traceback_later(50, exit=True)
sys.setswitchinterval(1e-5)
store = dumbkv.open(backend=sys.argv[1])

def together(*works):
    barrier, errors = threading.Barrier(len(works)), []
    def run(work, n):
        try:
            barrier.wait()
            work(n)
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(w, n)) for n, w in enumerate(works)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    if errors: raise errors[0]
"""


def run(backend: str, scenario: str) -> None:
    program = PRELUDE + textwrap.dedent(scenario) + "\nstore.closed or store._check()\n"
    done = subprocess.run(
        [sys.executable, "-c", program, backend], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
class TestTogether:
    def test_no_increment_is_lost(self, backend: str) -> None:
        run(
            backend,
            """
            def work(n):
                for i in range(5000):
                    store.incr(b"total")
                    store.incr(b"%d" % (i % 50))
            together(*[work] * 8)
            assert store.incr(b"total", 0) == 40000
            assert sum(int(v) for k, v in store.items() if k != b"total") == 40000
            """,
        )

    def test_one_of_many_adds_wins(self, backend: str) -> None:
        run(
            backend,
            """
            wins = []
            def work(n):
                for i in range(2000):
                    if store.add(b"%d" % i, b"%d" % n): wins.append(i)
            together(*[work] * 8)
            assert sorted(wins) == list(range(2000))
            """,
        )

    def test_compare_and_set_counts_as_well_as_incr(self, backend: str) -> None:
        run(
            backend,
            """
            store[b"n"] = b"0"
            def work(n):
                for _ in range(500):
                    while True:
                        entry = store.entry(b"n")
                        new = b"%d" % (int(entry.value) + 1)
                        if store.set(b"n", new, if_version=entry.version): break
            together(*[work] * 8)
            assert store[b"n"] == b"4000"
            """,
        )

    def test_an_update_is_seen_whole_or_not_at_all(self, backend: str) -> None:
        run(
            backend,
            """
            keys = [b"%d" % n for n in range(100)]
            store.update((k, b"0") for k in keys)
            stop = threading.Event()
            def write(n):
                for i in range(300):
                    store.update((k, b"%d" % i) for k in keys)
                stop.set()
            def read(n):
                while not stop.is_set():
                    first = int(store[keys[0]])
                    assert all(int(store[k]) >= first for k in keys)
            together(write, read, read)
            """,
        )

    def test_values_are_never_torn(self, backend: str) -> None:
        run(
            backend,
            """
            def write(n):
                for i in range(4000):
                    store[b"shared"] = bytes([n * 16 + i % 16]) * random.choice((8, 64, 500, 9000))
            def read(n):
                for _ in range(4000):
                    value = store.get(b"shared")
                    assert value is None or len(set(value)) == 1
            together(write, write, read, read, read)
            """,
        )

    def test_growth_loses_nothing_while_others_read_and_delete(self, backend: str) -> None:
        run(
            backend,
            """
            def work(n):
                mine = [b"%d %d" % (n, i) for i in range(6000)]
                for key in mine: store[key] = key
                for key in mine[::2]: del store[key]
                for key in mine[1::2]: assert store[key] == key
            together(*[work] * 6)
            assert len(store) == 18000
            """,
        )

    def test_whole_table_work_runs_beside_single_keys(self, backend: str) -> None:
        run(
            backend,
            """
            stop = threading.Event()
            def work(n):
                for i in range(8000):
                    store.set(b"%d" % (i % 500), bytes(i % 300), ttl=random.choice((None, 1e-4)))
                    store.get(b"%d" % (i % 700))
                stop.set()
            def whole(n):
                while not stop.is_set():
                    store.sweep(), store.stats(), len(store), list(store), store._check()
                    if random.random() < 0.1: store.clear()
            together(work, work, whole, whole)
            """,
        )

    def test_close_while_in_use_is_an_error_and_not_a_crash(self, backend: str) -> None:
        run(
            backend,
            """
            def work(n):
                try:
                    while True:
                        store[b"%d" % random.randrange(1000)] = bytes(100)
                        store.get(b"%d" % random.randrange(1000)); len(store); store.sweep()
                except dumbkv.ClosedError:
                    pass
            def close(n):
                while len(store) < 500: pass
                store.close()
            together(work, work, work, close)
            """,
        )

    def test_a_finalizer_may_use_the_store_it_interrupts(self, backend: str) -> None:
        run(
            backend,
            """
            import gc
            gc.set_threshold(1, 1, 1)
            class Cycle:
                def __init__(self): self.me = self
                def __del__(self):
                    store.incr(b"finalized")
                    store.pop(b"0", None)
            for i in range(3000):
                Cycle()
                store.update([(b"%d" % (i % 10), b"x")])
                store.entry(b"%d" % (i % 10)); list(store); store.stats()
            gc.collect()
            assert store.incr(b"finalized", 0) == 3000
            """,
        )
