"""Where the drill's Alertmanagers post what they have to say, and to whom."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.slo.model import Alert, alert

__all__ = ["LABELS", "Inbox", "Message", "named"]

LABELS = ("severity", "slo", "window", "budget_level")
"""What tells alerts of one name apart."""


class Message(NamedTuple):
    """One alert as a receiver was told of it; `at` is when, as `time.time()`."""

    receiver: str
    alert: Alert
    status: str
    at: float


class Inbox(ThreadingHTTPServer):
    """A web server that takes notifications under /WORLD/RECEIVER."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._messages: dict[str, list[Message]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def of(self, world: str) -> list[Message]:
        """All that has come from one world so far."""
        with self._lock:
            return list(self._messages.get(world, ()))

    def take(self, path: str, notification: dict[str, Any]) -> None:
        """Keeps each alert of a notification."""
        world, receiver = path.strip("/").split("/")
        now = time.time()
        with self._lock:
            for each in notification["alerts"]:
                message = Message(receiver, named(each["labels"]), each["status"], now)
                self._messages.setdefault(world, []).append(message)

    def close(self) -> None:
        """Stops taking."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Inbox

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.take(self.path, json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name there
        """Says nothing: the drill says what came."""


def named(labels: dict[str, str]) -> Alert:
    """An alert without the labels that say where it comes from."""
    kept = {name: labels[name] for name in LABELS if name in labels}
    return alert(labels["alertname"], **kept)
