"""Requests by the standard library's client, for tests of what is answered and not how."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from dumbkv_http import Service


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The last part of a problem's type."""
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.json["status"] == self.status
        return str(self.json["type"]).removeprefix("urn:dumbkv:problem:")


def ask(
    service: Service,
    method: str,
    target: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """One request on a connection of its own; a body that is no bytes goes as JSON."""
    fields = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        fields.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(service.host, service.port, timeout=20)
    try:
        connection.request(method, target, body, fields)
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        connection.close()
