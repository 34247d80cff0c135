"""Who is told of each alert: amtool says where the generated routes send it, and a running
Alertmanager what keeps what quiet."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dumbkv_http.slo.alertmanager import alertmanager
from dumbkv_http.slo.generate import GENERATED
from dumbkv_http.slo.rules import rules
from tests.http.conftest import wait_until
from tests.loopback import free_port
from tests.slo.conftest import program

CONFIG = GENERATED / "alertmanager.yml"
MATRIX = {"0": "team", "1": "engineering-lead", "2": "director", "3": "executive"}
"""The document's escalation matrix, by the row's number."""

ALERTS: list[dict[str, str]] = [
    {
        "alertname": rule["alert"],
        **rule["labels"],
        **({} if "slo" in rule["labels"] else {"job": "dumbkv", "instance": "a:8080"}),
    }
    for group in rules()["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
"""Every alert there is, with the labels it arrives with."""


def name(labels: dict[str, str]) -> str:
    return " ".join(labels.values())


def in_order(alerts: list[dict[str, str]]) -> list[list[tuple[str, str]]]:
    return sorted(sorted(labels.items()) for labels in alerts)


def told(labels: dict[str, str], config: Path = CONFIG) -> str:
    """The receivers that amtool says an alert reaches, with commas between them."""
    command = [program("amtool"), "config", "routes", "test", f"--config.file={config}"]
    command += [f"{label}={value}" for label, value in labels.items()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("labels", ALERTS, ids=name)
def test_an_alert_reaches_its_receiver_and_no_other(labels: dict[str, str]) -> None:
    severity = labels["severity"]
    expected = MATRIX[labels["budget_level"]] if severity == "policy" else severity
    assert expected in {*MATRIX.values(), "page", "ticket"}
    assert told(labels) == expected


def test_what_no_route_knows_goes_to_the_team() -> None:
    assert told({"alertname": "Else", "severity": "warning"}) == "team"
    assert told({"severity": "policy", "budget_level": "4"}) == "team"
    # A level says nothing without the severity that belongs to it.
    assert told({"severity": "page", "budget_level": "3"}) == "page"


def test_all_receivers_are_told_of_something_and_alertmanager_takes_the_file() -> None:
    done = subprocess.run(
        [program("amtool"), "check-config", str(CONFIG)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "6 receivers" in done.stdout
    assert {told(labels) for labels in ALERTS} == {*MATRIX.values(), "page", "ticket"}


class Alertmanager:
    """The HTTP interface of an Alertmanager."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v2"

    def ready(self) -> bool:
        try:
            return bool(self._ask("status"))
        except OSError:
            return False

    def post(self, alerts: list[dict[str, str]]) -> None:
        ends = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
        self._ask("alerts", [{"labels": labels, "endsAt": ends} for labels in alerts])

    def heard(self) -> list[dict[str, str]]:
        """The labels of all alerts that nothing keeps quiet."""
        alerts = self._ask("alerts")
        return [each["labels"] for each in alerts if not each["status"]["inhibitedBy"]]

    def _ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.loads(response.read() or b"null")


@contextmanager
def running(folder: Path) -> Iterator[Alertmanager]:
    """An Alertmanager with the generated configuration; nobody listens to what it posts."""
    port = free_port()
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={CONFIG}",
        f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    alertmanager = Alertmanager(port)
    try:
        wait_until(alertmanager.ready, seconds=30)
        yield alertmanager
    finally:
        process.terminate()
        process.wait(30)


def level(number: int, slo: str = "availability") -> dict[str, str]:
    found = [a for a in ALERTS if a.get("slo") == slo and a.get("budget_level") == str(number)]
    assert len(found) == 1
    return found[0]


def of(slo: str, severity: str) -> list[dict[str, str]]:
    found = [a for a in ALERTS if a.get("slo") == slo and a["severity"] == severity]
    assert found
    return found


# What fires together, and what of it is heard. The other objective shows that a row or a page keeps
# no other objective's alerts quiet.
OTHER = level(0, "latency-p99")
PROCESS = [labels for labels in ALERTS if "slo" not in labels]
TOGETHER = {
    "row 0 alone": ([level(0), OTHER], [level(0), OTHER]),
    "a row keeps those below it quiet": ([level(0), level(1), OTHER], [level(1), OTHER]),
    "two rows": ([level(0), level(1), level(2), OTHER], [level(2), OTHER]),
    "three rows": ([*map(level, range(4)), OTHER], [level(3), OTHER]),
    "a page keeps its objective's tickets quiet": (
        [*of("availability", "page"), *of("availability", "ticket"), *of("latency-p99", "ticket")],
        [*of("availability", "page"), *of("latency-p99", "ticket")],
    ),
    "a page keeps no row quiet, nor a row a page": (
        [*of("availability", "page"), level(3)],
        [*of("availability", "page"), level(3)],
    ),
    "a row keeps no ticket quiet": (
        [level(3), *of("availability", "ticket")],
        [level(3), *of("availability", "ticket")],
    ),
    "faults are always heard": ([*of("availability", "page"), *PROCESS],) * 2,
}


@pytest.mark.parametrize("together", TOGETHER.values(), ids=TOGETHER)
def test_what_fires_together_is_told_once(
    together: tuple[list[dict[str, str]], list[dict[str, str]]], tmp_path: Path
) -> None:
    fires, heard = together
    with running(tmp_path) as alertmanager:
        # Alerts are looked at in their order: once the last keeps the first quiet, all were.
        first, last = ({**level(row), "slo": "mark"} for row in (0, 1))
        alertmanager.post([first, *fires, last])
        wait_until(lambda: first not in alertmanager.heard(), seconds=30)
        assert in_order(alertmanager.heard()) == in_order([*heard, last])


UNKNOWN = [
    {"alertname": "Else", "severity": "warning"},
    {"severity": "policy", "budget_level": "4"},
    {"severity": "page", "budget_level": "3"},
]
KINDS = [
    *({"severity": "policy", "budget_level": level} for level in MATRIX),
    {"severity": "page", "slo": "availability"},
    {"severity": "ticket", "slo": "availability"},
    *UNKNOWN,
]
"""Labels of each kind that some route tells from the others."""


def changed_routes() -> Iterator[tuple[str, dict[str, Any]]]:
    """The configuration with another receiver or without a matcher, one at a time."""
    count = len(list(routes(alertmanager())))
    for place in range(count):
        for what in ("receiver", "matchers"):
            config = alertmanager()
            route = list(routes(config))[place]
            if what == "receiver":
                route["receiver"] = "page" if route["receiver"] != "page" else "ticket"
            elif "matchers" in route:
                del route["matchers"]
            else:
                continue
            yield f"{what} of route {place}", config


def routes(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = [config["route"]]
    for route in found:
        yield route
        found += route.get("routes", [])


@pytest.mark.parametrize(
    "config", [each for _, each in changed_routes()], ids=[what for what, _ in changed_routes()]
)
def test_a_changed_route_tells_someone_else(config: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.json"
    path.write_text(json.dumps(config))
    assert any(told(labels, path) != told(labels) for labels in KINDS)
