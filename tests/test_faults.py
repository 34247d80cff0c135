"""The system says no to any one call: what raised did not happen, and what did not raise did."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import dumbkv
from dumbkv._recovery import name
from tests.conftest import BACKENDS
from tests.faults import Ran, asked_after_failure, run
from tests.logs import log_file, marked, small_records
from tests.workload import State, contents, model, new_seed, steps

WHOLE = bool(os.environ.get("DUMBKV_ALL_FAULTS"))
"""Every call that a program makes; otherwise some, by chance."""
STEPS = 100
FAULTS = [
    *[("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("fallocate", "ENOSPC"), ("fallocate", "EIO")],
    *[("fdatasync", "EIO"), ("fsync", "EIO"), ("ftruncate", "EIO")],
    *[("openat", "EMFILE"), ("unlink", "EACCES")],
]


def acknowledged(ran: Ran, seed: int) -> tuple[State, State]:
    """What the store holds after the steps that did not raise, and the same with the first one
    that raised because the log was poisoned."""
    good: set[int] = set()
    poisoned = 0
    for said in ran.said:
        if said.isdigit():
            good.add(int(said))
        elif "PoisonedError" in said and said.split()[1].isdigit():
            poisoned = poisoned or int(said.split()[1])
    state: State = {}
    with_poisoned: State | None = None
    for number, step in zip(range(1, STEPS + 1), steps(seed), strict=False):
        before = dict(state)
        if number in good:
            model(state, step)
        if number == poisoned:
            with_poisoned = dict(state)
            model(with_poisoned, step)
        # What changes nothing needs no log.
        assert not 0 < poisoned < number or state == before, f"step {number} was taken"
    return state, state if with_poisoned is None else with_poisoned


def workload(path: Path, backend: str, seed: int, steps: int, fsync: str = "always") -> list[str]:
    words = ["-m", "tests.workload", str(path), f"--fsync={fsync}", f"--backend={backend}"]
    return [*words, f"--seed={seed}", f"--steps={steps}", "--errors"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_that_fails_undoes_what_it_was_for(tmp_path: Path, backend: str) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    every: list[tuple[str, str, str, int]] = []
    for fsync in ("always", "everysec"):
        path = tmp_path / fsync
        counts = run(workload(path, backend, seed, STEPS, fsync), path).counts()
        assert counts.get("unlink"), "no file was cleaned away"
        for call, error in FAULTS:
            whens = range(1, counts[call] + 1)
            every += [(fsync, call, error, when) for when in whens]
    if not WHOLE:
        every = [chance.choice([e for e in every if e[1:3] == fault]) for fault in FAULTS]
    hits = 0
    for n, (fsync, call, error, when) in enumerate(every):
        print(fsync, call, error, when)
        path = tmp_path / str(n)
        command = workload(path, backend, seed, STEPS, fsync)
        ran = run(command, path, f"{call}:error={error}:when={when}")
        hits += ran.hit
        expect_undone(ran, path, backend, seed)
    assert hits > len(every) / 2  # the keeper's calls are not always as many


def expect_undone(ran: Ran, path: Path, backend: str, seed: int) -> None:
    assert ran.status == 0, ran
    failed = [said for said in ran.said if said.startswith("failed")]
    assert not any("changed" in said.split()[:3] for said in failed), failed
    assert not asked_after_failure(ran)
    with dumbkv.open(path, backend=backend) as store:  # type: ignore[arg-type]  # one of both
        assert contents(store) in acknowledged(ran, seed), ran.said
    if not failed and re.search("pwrite|sync|ftruncate", ran.injected):
        # The number in the lock is for people; no call fails because the log cannot be cleaned, or
        # no file be begun ahead, but that is logged, unless the disk is full: then it is tried
        # again.
        logged = re.search("the log is not cleaned any more|no other file", ran.logged)
        assert "/lock>" in ran.injected or "ENOSPC" in ran.injected or logged, ran


def hole(path: Path) -> None:
    """A log with whole records behind one that is not."""
    ends = log_file(path, 2, marked(small_records(), 2), closed=False, room=5000)
    with (path / name(2)).open("r+b") as file:
        file.seek(ends[3])
        file.write(bytes(8))


def headless(path: Path) -> None:
    log_file(path, 2, small_records(2))
    (path / name(3)).write_bytes(b"\x89DKV\r\n" + bytes(90))


@pytest.mark.parametrize("prepare", [hole, headless])
@pytest.mark.parametrize("backend", BACKENDS)
def test_recovery_killed_in_any_call_is_done_again(
    tmp_path: Path, backend: str, prepare: Callable[[Path], None]
) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    path = tmp_path / "data"

    def anew() -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        log_file(path, 1, small_records())
        prepare(path)

    anew()
    counts = run(workload(path, backend, 0, 0), path).counts()
    with dumbkv.open(path) as store:
        wanted = contents(store)
    assert len(wanted) > 1
    every = [(call, n) for call, count in counts.items() for n in range(1, count + 1)]
    for call, when in every if WHOLE else chance.sample(every, 6):
        print(call, when)
        anew()
        ran = run(workload(path, backend, 0, 0), path, f"{call}:signal=SIGKILL:when={when}")
        assert ran.status == -9
        with dumbkv.open(path, backend=backend) as store:  # type: ignore[arg-type]  # one of both
            assert contents(store) == wanted
        assert len(list(path.glob("*.cut"))) == (prepare is hole)
