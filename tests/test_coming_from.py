"""docs/coming-from.md: what is shown runs, with the libraries and the server it speaks of."""

import doctest
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "coming-from.md"
SECTIONS = dict(
    re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
)


def test_every_one_of_them_is_there() -> None:
    names = ["dict and Lock", "cachetools", "diskcache", "shelve", "sqlitedict", "LMDB", "Redis"]
    assert list(SECTIONS) == names


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "Redis"])
def test_what_is_shown_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(name)


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_what_is_shown_runs_with_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with redis_server(tmp_path):
        run("Redis")


def run(name: str) -> None:
    examples = doctest.DocTestParser().get_doctest(SECTIONS[name], {}, name, str(PAGE), 0)
    runner = doctest.DocTestRunner()
    runner.run(examples)
    assert runner.tries > 5
    assert runner.failures == 0


@contextmanager
def redis_server(directory: Path) -> Iterator[None]:
    command = ["redis-server", "--port", "0", "--unixsocket", "redis.sock", "--save", ""]
    server = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while not (directory / "redis.sock").exists():
            assert time.monotonic() < end, "redis-server does not start"
            time.sleep(0.01)
        yield
    finally:
        server.terminate()
        server.wait(20)
