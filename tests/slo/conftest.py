"""Fixtures: 145 days of metrics in a real Prometheus, the reports on them, and a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, sync_playwright

from dumbkv_http.slo.periods import Period, month
from dumbkv_http.slo.prometheus import Prometheus, PrometheusError
from tests.http.conftest import wait_until
from tests.loopback import free_port
from tests.slo.backfill import History, Incident, blocks

START = int(datetime(2026, 1, 27, tzinfo=timezone.utc).timestamp())
DAYS = 145


def minute(day: str, clock: str) -> int:
    """The minute since the start that a time in 2026 is, such as ("02-10", "09:17")."""
    at = datetime.strptime(f"2026-{day} {clock}", "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)
    return (int(at.timestamp()) - START) // 60


FAILING = Incident(minute("02-10", "09:17"), 20, "errors", 1.0)
HALF_SLOW = Incident(minute("02-20", "03:05"), 600, "slow", 0.5)
SLOW = Incident(minute("03-02", "22:30"), 600, "slow", 0.9)
DRIP = Incident(minute("03-09", "12:00"), 240, "errors", 0.02)
DOWN = Incident(minute("03-18", "23:41"), 25, "down")
RESTART = Incident(minute("03-25", "06:00"), 1, "down")
HALF_FAILING = Incident(minute("04-07", "01:02"), 10, "errors", 0.5)
OUTAGE = Incident(minute("05-12", "14:38"), 90, "errors", 1.0)
INCIDENTS = (FAILING, HALF_SLOW, SLOW, DRIP, DOWN, RESTART, HALF_FAILING, OUTAGE)
UNSEEN = range(minute("02-25", "10:01"), minute("02-25", "12:00"))
"""Scrapes that Prometheus did not make while the service went on."""
PAGE = range(HALF_FAILING.start + 3, HALF_FAILING.start + 12)
FALSE_PAGE = range(minute("04-20", "17:00"), minute("04-20", "17:05"))
"""When an alert fired: with the incident above, and with none."""
TOLD = [each for times in (PAGE, FALSE_PAGE) for each in (times.start, times.stop)]
"""When Alertmanager sent a notification: that it fires, and that it is over."""


class Watched(History):
    """A history with a hole in it, and with the alerts of those who watched."""

    def lines(self) -> Iterator[str]:
        for number, page in enumerate(super().lines()):
            if number in UNSEEN:
                continue
            at = START + number * 60
            for name, labels, times in (
                ("HighErrorBudgetBurn", 'severity="page"', (PAGE, FALSE_PAGE)),
                ("ErrorBudgetLevel", 'budget_level="0",severity="policy"', (FALSE_PAGE,)),
            ):
                if any(number in each for each in times):
                    yield f'ALERTS{{alertname="{name}",alertstate="firing",{labels}}} 1 {at}\n'
            sent = sum(number >= each for each in TOLD)
            yield (
                'alertmanager_notifications_total{integration="webhook",job="alertmanager"} '
                f"{sent} {at}\n"
            )
            yield page


class Truth(NamedTuple):
    """What a month really had."""

    bad: int
    total: int
    slow: int
    down: int


class Months(NamedTuple):
    """A Prometheus over the history."""

    prometheus: Prometheus
    history: History

    def truth(self, period: Period) -> Truth:
        """The counts of a period, as far as the history reaches."""
        first = max(0, (period.begin - START) // 60)
        inside = self.history.minutes[first : (period.end - START) // 60]
        return Truth(
            sum(each.bad for each in inside),
            sum(each.total for each in inside),
            sum(each.slow for each in inside),
            sum(not each.up for each in inside),
        )


def program(name: str) -> str:
    """The path of a program that the tests run for real; without it they fail, or skip."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed: apt-get install {name}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def over(history: History, folder: Path, *options: str) -> Iterator[Prometheus]:
    """A Prometheus over a history, which scrapes nothing."""
    blocks(history, folder / "data")
    (folder / "prometheus.yml").write_text("global: {}\n")
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",  # By itself it deletes what is 15 days old.
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
        *options,
    ]
    prometheus = Prometheus(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        try:
            return prometheus.value("vector(1)", 0) == 1
        except PrometheusError:
            return False

    process = subprocess.Popen(command)
    try:
        wait_until(answers, seconds=60)
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Months]:
    """The history behind a Prometheus."""
    history = Watched(START, DAYS, INCIDENTS)
    with over(history, tmp_path_factory.mktemp("months")) as prometheus:
        yield Months(prometheus, history)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium that asks nobody for anything."""
    options = [
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program("chromium"), args=options)
        yield found
        found.close()


@pytest.fixture(scope="session")
def april() -> Period:
    return month("2026-04")
