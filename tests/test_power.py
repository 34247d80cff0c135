"""The power fails at any moment: what was on the disk is there, in order, and nothing else."""

import os
import random
from pathlib import Path

import pytest

import dumbkv
from dumbkv._recovery import mend
from tests.conftest import BACKENDS
from tests.logs import Record as LogRecord
from tests.logs import all_records, look, state_of
from tests.power import Call, Record, calls, image, put, record
from tests.workload import State, contents, new_seed, states

IMAGES = int(os.environ.get("DUMBKV_POWER_CUTS", "100"))
STEPS = 120


def recovered(directory: Path) -> State:
    """By recovery alone, without a store: so thousands of images take seconds."""
    mend(look(directory, check=False))
    records: list[LogRecord] = all_records(look(directory))
    state = state_of(records)
    return {k: (s.value, round(s.expiry / 1e6) if s.expiry else None) for k, s in state.items()}


def bounds(done: Record, moment: int, first: int, always: bool) -> tuple[int, int]:
    """How many steps have to be there at this moment, and how many can be."""
    synced = done.synced_before(moment)
    least = most = first
    for when, said in done.said:
        if said.isdigit():
            if when <= moment:
                most = int(said)
            if when < synced or (always and when <= moment):
                least = int(said)
        elif said.startswith("synced") and when <= moment:
            least = max(least, int(said.split()[1]))
        elif said == "closed" and when <= moment:
            least = most
    return least, most + 1


def expect(found: State, done: Record, moment: int, first: int, seed: int, always: bool) -> int:
    """That there is a moment in the past at which the store held this; the number of steps."""
    state = states(seed)
    least, most = bounds(done, moment, first, always)
    for number in range(most, least - 1, -1):
        if state(number) == found:
            return number
    raise AssertionError(f"none of the states after {least} to {most} steps, at line {moment}")


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_power_fails_while_a_store_is_written(tmp_path: Path, backend: str, fsync: str) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    workload = ["-m", "tests.workload", str(tmp_path / "data"), f"--fsync={fsync}"]
    workload += [f"--backend={backend}", f"--seed={seed}"]
    done = record(
        [*workload, f"--steps={STEPS}", "--sync=25"], tmp_path / "data", tmp_path / "trace"
    )
    assert any(each.file is None for each in done.names), "no file was cleaned away"
    moments = done.moments()
    after = tmp_path / "after"
    for n in range(IMAGES):
        moment = chance.choice(moments)
        found = image(done, moment, chance)
        put(found, after)
        if n % 10:
            state = recovered(after)
        else:
            with dumbkv.open(after, backend=backend) as store:  # type: ignore[arg-type]  # one of both
                state = contents(store)
        expect(state, done, moment, 0, seed, fsync == "always")


@pytest.mark.parametrize("backend", BACKENDS)
def test_power_fails_again_while_a_store_recovers(tmp_path: Path, backend: str) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    workload = ["-m", "tests.workload", str(tmp_path / "data"), f"--backend={backend}"]
    workload += [f"--seed={seed}"]
    done = record([*workload, "--steps=60"], tmp_path / "data", tmp_path / "trace")
    for _ in range(max(2, IMAGES // 100)):
        moment = chance.choice(done.moments())
        put(image(done, moment, chance), tmp_path / "after")
        before = {each.name: each.read_bytes() for each in (tmp_path / "after").iterdir()}
        first = expect(recovered(tmp_path / "after"), done, moment, 0, seed, False)
        put(before, tmp_path / "data")
        more = [f"--first={first}", f"--steps={first + 10}", "--fsync=always"]
        again = record([*workload, *more], tmp_path / "data", tmp_path / "trace")
        for _ in range(IMAGES // 5):
            moment = chance.choice(again.moments())
            put(image(again, moment, chance), tmp_path / "after")
            expect(recovered(tmp_path / "after"), again, moment, first, seed, True)


COPYING = """
import dumbkv, os, sys
store = dumbkv.open(sys.argv[1], backend=sys.argv[2])
for n in range(300):
    store[b"%d" % n] = bytes(500)
store.snapshot(sys.argv[3])
print("copied", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_has_its_name_only_when_all_of_it_is_on_the_disk(
    tmp_path: Path, backend: str
) -> None:
    copy, trace = tmp_path / "copy", tmp_path / "trace"
    record(["-c", COPYING, str(tmp_path / "data"), backend, str(copy)], tmp_path / "data", trace)
    every = list(calls(trace.read_text()))

    def named(call: Call) -> list[str]:
        return [os.fsdecode(each) for each in call.texts]

    def last(names: tuple[str, ...], path: str) -> Call:
        return [each for each in every if each.name in names and named(each)[0] == path][-1]

    [rename] = [each for each in every if each.name == "rename" and str(copy) in named(each)]
    made = named(rename)[0]
    links = [each for each in every if each.name in ("link", "linkat")]
    files = [path for each in links for path in named(each) if path.startswith(str(tmp_path))]
    assert sorted(each.name for each in copy.iterdir()) == sorted(
        os.path.basename(path) for path in files[::2]
    )
    for path in files[::2]:
        written = last(("pwrite64", "ftruncate"), path)
        synced = last(("fdatasync", "fsync"), path)
        assert written.ended < synced.begun
        assert synced.ended < links[0].begun
    held = last(("fsync",), made)
    assert links[-1].ended < held.begun
    assert held.ended < rename.begun
    [said] = [
        each for each in every if each.name == "write" and each.texts[-1].startswith(b"copied")
    ]
    above = last(("fsync",), str(tmp_path))
    assert rename.ended < above.begun
    assert above.ended < said.begun
    with dumbkv.open(copy) as store:
        assert len(store) == 300
