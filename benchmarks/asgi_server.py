"""A bare ASGI application over a dict: what uvicorn can give before a framework or a check.
`uvicorn benchmarks.asgi_server:app`."""

from collections.abc import Awaitable, Callable
from typing import Any

STORE: dict[str, bytes] = {}


async def app(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    if scope["type"] != "http":
        return
    path = scope["path"]
    if scope["method"] == "PUT":
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        STORE[path] = body
        status, body = 204, b""
    else:
        found = STORE.get(path)
        status, body = (404, b"") if found is None else (200, found)
    headers = [(b"content-length", b"%d" % len(body))] if status != 204 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
