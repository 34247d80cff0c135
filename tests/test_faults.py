"""The system says no to any one call: what raised did not happen, and what did not raise did."""

import os
import random
from pathlib import Path

import pytest

import dumbkv
from dumbkv._recovery import mend, name
from tests.conftest import BACKENDS
from tests.faults import CALLS, Ran, asked_after_failure, run
from tests.logs import log_file, look, marked, small_records
from tests.test_power import recovered
from tests.workload import State, contents, model, steps

WHOLE = bool(os.environ.get("DUMBKV_ALL_FAULTS"))
"""Every call that a program makes; otherwise some, by chance."""
STEPS = 60
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


@pytest.mark.parametrize("fsync", ["always", "everysec"])
@pytest.mark.parametrize(("call", "error"), FAULTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_that_fails_undoes_what_it_was_for(
    tmp_path: Path, backend: str, call: str, error: str, fsync: str
) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    when, hits = 1, 0
    while True:
        path = tmp_path / str(when) / "data"
        path.parent.mkdir()
        workload = ["-m", "tests.workload", str(path), f"--fsync={fsync}", "--errors"]
        workload += [f"--backend={backend}", f"--seed={seed}", f"--steps={STEPS}"]
        ran = run(workload, path, f"{call}:error={error}:when={when}")
        assert ran.status == 0, ran
        if not ran.hit:
            break
        hits += 1
        failed = [said for said in ran.said if said.startswith("failed")]
        assert not any("changed" in said.split()[:3] for said in failed), failed
        assert not asked_after_failure(ran)
        with dumbkv.open(path, backend=backend) as store:  # type: ignore[arg-type]  # one of both
            assert contents(store) in acknowledged(ran, seed), ran.said
        if not failed and call not in ("openat", "fallocate", "unlink"):
            # The number in the lock is for people, and a log of another size for nobody.
            assert "/lock>" in ran.injected, ran
        when += 1 if WHOLE else chance.randrange(1, 60)
    assert hits or not WHOLE


@pytest.mark.parametrize("backend", BACKENDS)
def test_recovery_killed_in_any_call_is_done_again(tmp_path: Path, backend: str) -> None:
    seed = random.randrange(10**9)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    path = tmp_path / "data"
    records = marked(small_records(), 2)

    def hole() -> None:
        ends = log_file(path, 2, records, closed=False, room=5000)
        with (path / name(2)).open("r+b") as file:
            file.seek(ends[3])
            file.write(bytes(8))

    def headless() -> None:
        log_file(path, 2, records)
        (path / name(3)).write_bytes(b"\x89DKV\r\n" + bytes(90))

    for prepare in (hole, headless):
        path.mkdir(exist_ok=True)
        log_file(path, 1, small_records())
        prepare()
        before = {each.name: each.read_bytes() for each in path.iterdir()}
        wanted = recovered(path)
        hits = 0
        for call in CALLS:
            for when in range(1, 30):
                if not WHOLE and chance.random() < 0.7:
                    continue
                for each in path.iterdir():
                    each.unlink()
                for each, data in before.items():
                    (path / each).write_bytes(data)
                workload = ["-m", "tests.workload", str(path), "--steps=0", f"--backend={backend}"]
                ran = run(workload, path, f"{call}:signal=SIGKILL:when={when}")
                if not ran.hit:
                    break
                hits += 1
                assert ran.status == -9
                with dumbkv.open(path, backend=backend) as store:  # type: ignore[arg-type]  # one of both
                    assert contents(store) == wanted
                assert len(list(path.glob("*.cut"))) == (prepare is hole)
                mend(look(path))
        assert hits > 3
        for each in path.iterdir():
            each.unlink()
