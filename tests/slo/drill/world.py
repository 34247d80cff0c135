"""One service with a Prometheus and an Alertmanager of its own, as in production but for the clock.

The rules and routes are those that are generated, from the same objects, with every range and wait
divided by `SCALE`. Each fault has a world to itself: alerts on ratios are about all servers of a
job together, so what one server suffers would be heard of in the name of all.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dumbkv_http.slo.alertmanager import alertmanager
from dumbkv_http.slo.objectives import GUARDS
from dumbkv_http.slo.prometheus import Prometheus, PrometheusError
from dumbkv_http.slo.rules import rules
from dumbkv_http.slo.scrape import prometheus
from dumbkv_http.slo.yamlfile import dump
from tests.slo.conftest import program
from tests.slo.drill.inbox import Inbox, Message, named
from tests.slo.drill.traffic import Traffic
from tests.slo.model import LEVEL_0, Alert

__all__ = ["EMBEDDING", "PATIENCE", "SCALE", "SERVICE", "World"]

SCALE = 360
"""An hour is ten seconds."""

PATIENCE = 120
"""Seconds after which what has not come is not waited for any longer."""

SERVICE = (sys.executable, "-m", "dumbkv_http")
EMBEDDING = (sys.executable, "-m", "tests.slo.drill.embedding")

# A drill has no week behind it. It does have the requests, where the matrix is the subject.
_GUARDS = replace(GUARDS, coverage=0)


class World:
    """A context manager: `command` is what serves, called with a port."""

    def __init__(self, name: str, command: Sequence[str], inbox: Inbox, place: Path) -> None:
        self.name = name
        self.place = place
        self.port, self._metrics, self._alerts = _unused(3)
        self._command = [*command, "--port", str(self.port)]
        self._inbox = inbox
        self._stack = ExitStack()
        self.prometheus = Prometheus(f"http://127.0.0.1:{self._metrics}", timeout=10)

    def __enter__(self) -> World:
        with ExitStack() as stack:
            stack.callback(lambda: self.kill())
            self.start()
            self.traffic = Traffic(self.port)
            stack.callback(self.traffic.close)
            self._write("dumbkv.rules.yml", rules(SCALE, _GUARDS))
            self._write("alertmanager.yml", alertmanager(f"{self._inbox.url}/{self.name}", SCALE))
            self._write_targets([f"127.0.0.1:{self.port}"])
            self._run(
                stack,
                "prometheus-alertmanager",
                f"--config.file={self.place / 'alertmanager.yml'}",
                f"--storage.path={self.place / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self._alerts}",
                "--cluster.listen-address=",
            )
            self._watcher = self._run(
                stack,
                "prometheus",
                f"--config.file={self.place / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.place / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._metrics}",
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Starts the service, anew if it was there."""
        with (self.place / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert f"http://127.0.0.1:{self.port}" in line, (line, self.place / "service.log")

    def kill(self) -> None:
        """Ends the service as a crash would."""
        self.process.kill()
        self.process.communicate()

    def tell(self, fault: str, on: bool) -> None:
        """Switches a fault of the embedding program on or off."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{fault} {on:d}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", self.place / "service.log"

    def watch(self, on: bool) -> None:
        """Has the service among the targets of the scrape job, or not, while Prometheus runs."""
        self._write_targets([f"127.0.0.1:{self.port}"] if on else [])
        self._watcher.send_signal(signal.SIGHUP)

    def value(self, query: str) -> float | None:
        """The value of a query now; None for none, also while Prometheus does not answer."""
        try:
            return self.prometheus.value(query, time.time())
        except PrometheusError:
            return None

    def firing(self) -> set[Alert]:
        """The alerts that fire now."""
        return set(self._alerting('ALERTS{alertstate="firing"}'))

    def fired(self, since: float) -> dict[Alert, float]:
        """The alerts that fired since then, and when each did at first."""
        milliseconds = 1 + int((time.time() - since) * 1000)
        firing = 'timestamp(ALERTS{alertstate="firing"})'
        return self._alerting(f"min_over_time({firing}[{milliseconds}ms:500ms])")

    def _alerting(self, query: str) -> dict[Alert, float]:
        try:
            found = self.prometheus.values(query, time.time())
        except PrometheusError:
            return {}
        return {named(dict(labels)): value for labels, value in found.items()}

    def messages(self) -> list[Message]:
        """What the receivers of this world were told so far."""
        return self._inbox.of(self.name)

    def heard(self, since: float) -> set[Alert]:
        """The alerts that a receiver was told of since then."""
        return {each.alert for each in self.messages() if each.at > since}

    def told(self, status: str) -> set[Alert]:
        """The alerts of which this is the last that was heard."""
        last = {each.alert: each.status for each in self.messages()}
        return {which for which, each in last.items() if each == status}

    def well(self) -> bool:
        """Whether it is watched and nothing is wrong with it, as far as anybody was told."""
        return self.firing() == LEVEL_0 == self.told("firing")

    def wait(self, condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Whether the condition came true in time."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True

    def _write_targets(self, targets: list[str]) -> None:
        content = prometheus(alertmanager=f"127.0.0.1:{self._alerts}", scale=SCALE)
        content["scrape_configs"][0]["static_configs"][0]["targets"] = targets
        self._write("prometheus.yml", content)

    def _write(self, name: str, content: object) -> None:
        (self.place / name).write_text(dump(content, "A drill's."))

    def _run(self, stack: ExitStack, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.place / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [program(name), *arguments, "--log.level=warn"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        stack.callback(lambda: process.wait(30))
        stack.callback(process.terminate)
        return process


def _unused(number: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]
