"""A process is killed at any moment: what it had acknowledged is there, and nothing half done."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dumbkv
from tests.conftest import BACKENDS
from tests.workload import contents, new_seed, states

ROUNDS = int(os.environ.get("DUMBKV_KILLS", "4"))
FSYNC = ["always", "everysec", "never"]


def killed(path: Path, seed: int, first: int, after: float, **options: object) -> tuple[int, str]:
    """Run the workload and kill it so many seconds after it opened the store; how many steps
    were acknowledged, and what it said last."""
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "tests.workload", str(path), *words]
    command += [f"--seed={seed}", f"--first={first}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        deadline = time.monotonic() + after
        said = [b"%d" % first]
        while time.monotonic() < deadline:
            said.append(child.stdout.readline().strip())
            assert said[-1], "the program ended by itself"
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read().splitlines()
    numbers = [int(each) for each in said]
    assert numbers == list(range(first, numbers[-1] + 1))
    return numbers[-1], said[-1].decode()


@pytest.mark.parametrize("fsync", FSYNC)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_acknowledged_outlasts_kill_9(
    tmp_path: Path, backend: str, fsync: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    state = states(seed)
    path = tmp_path / "data"
    done, version, oldest = 0, 0, 1
    for _ in range(ROUNDS):
        after = chance.random() * 0.3
        done, _ = killed(path, seed, done, after, backend=backend, fsync=fsync)
        with dumbkv.open(path, backend=backend) as store:  # type: ignore[arg-type]  # one of both
            found = contents(store)
            # The step in the middle of which it was killed may be there, as a whole.
            assert found in (state(done), state(done + 1)), f"after {done} steps"
            done += found != state(done)
            store[b"new"] = b"1"
            newer = store.entry(b"new")
            assert newer is not None
            assert all(newer.version > store.entry(key).version for key in found)  # type: ignore[union-attr]
            assert newer.version > version
            version = newer.version
            del store[b"new"]
        oldest = min(int(each.stem) for each in path.glob("*.log"))
    assert oldest > 1, "no file was cleaned away"
