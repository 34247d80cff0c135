"""deploy/: the unit is hardened and the service lives in it, the image is built as it should be."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dumbkv_http.config import OPTIONS
from dumbkv_http.limits import Limits

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
OBJECTIVE = 450 * 1024**2


def unit() -> dict[str, list[str]]:
    """The [Service] part: each name and all its values."""
    parser = configparser.RawConfigParser(strict=False, dict_type=_Gathering)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read(DEPLOY / "dumbkv.service")
    return {name: value.split("\n") for name, value in parser["Service"].items()}


class _Gathering(dict):  # type: ignore[type-arg]  # configparser's own, of anything
    """Keeps every value of a name that is there more than once."""

    def __setitem__(self, name: object, value: object) -> None:
        if isinstance(value, list) and name in self:
            value = super().__getitem__(name) + value
        super().__setitem__(name, value)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The unit with a Python of this machine in it."""
    path = tmp_path / "dumbkv.service"
    text = (DEPLOY / "dumbkv.service").read_text()
    path.write_text(text.replace("/opt/dumbkv/bin/python", sys.executable))
    return path


def test_systemd_understands_the_unit_and_finds_it_hardened(here: Path) -> None:
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, timeout=30
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    rated = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            "--threshold=15",
            str(here),
        ],
        capture_output=True,
        text=True,
        timeout=30,
    )
    found = re.search(r"Overall exposure level for dumbkv.service: ([0-9.]+)", rated.stdout)
    assert found is not None, rated.stderr
    assert rated.returncode == 0, rated.stdout
    assert float(found[1]) <= 1.5


def test_the_unit_leaves_room_above_the_objectives_and_time_to_drain() -> None:
    service = unit()
    sizes = {name: int(service[name][0].removesuffix("M")) * 1024**2 for name in
             ("MemoryHigh", "MemoryMax")}  # fmt: skip
    assert OBJECTIVE < sizes["MemoryHigh"] < sizes["MemoryMax"]
    limits = Limits()
    assert limits.connections / int(service["LimitNOFILE"][0]) < 0.7
    assert int(service["TimeoutStopSec"][0]) > limits.grace
    for name, value in (
        ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("DynamicUser", "yes"),
        ("StateDirectory", "dumbkv"), ("KillSignal", "SIGTERM"),
    ):  # fmt: skip
        assert service[name] == [value]
    assert "HUP" in service["ExecReload"][0]


def test_every_setting_in_deploy_exists_and_none_is_a_token() -> None:
    known = {option.variable for option in OPTIONS.values()} | {"DUMBKV_BUILD", "DUMBKV_GRACE"}
    for path in DEPLOY.iterdir():
        text = path.read_text()
        assert set(re.findall(r"DUMBKV_[A-Z_]+[A-Z]", text)) <= known, path
        assert not re.search(r"\br[wo]:[A-Za-z0-9]{8}", text), path


def test_the_image_runs_as_nobody_in_particular_and_gets_its_signals() -> None:
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    last = text[text.rindex("\nFROM ") :]
    user = re.search(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    # In the form that starts no shell, which would keep the signals for itself.
    assert re.search(r'^ENTRYPOINT \["/opt/dumbkv/bin/python", "-m", "dumbkv_http"\]$', last, re.M)
    assert "STOPSIGNAL SIGTERM" in last
    assert "/readyz" in last
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (DEPLOY.parent / name).exists(), name


def test_prometheus_takes_the_snippet_with_the_token_in_its_file(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "prometheus.yml", tmp_path)
    (tmp_path / "dumbkv.token").write_text("only-for-the-scraper")
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "SUCCESS" in done.stdout
