"""Problems of the service as the exceptions of a store."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any, NoReturn

import dumbkv
from dumbkv_http._transport import Answer

__all__ = ["ServiceError", "raise_for"]


class ServiceError(dumbkv.DumbKVError):
    """The service answered what no store would: `status` and `kind`, a problem's name, say what.

    A wrong token is one (401), a server that is too busy (503), a proxy in between.
    """

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(f"{status} {kind}: {detail}" if kind else f"{status}: {detail}")
        self.status = status
        self.kind = kind


def _conflict(document: dict[str, Any]) -> Exception:
    coded = document.get("key_b64")
    key = str(document.get("key", "")).encode() if coded is None else b64decode(coded)
    return dumbkv.ConflictError(key)


_Maker = Callable[[dict[str, Any]], Exception]


def _as(kind: type[Exception]) -> _Maker:
    return lambda document: kind(document["detail"])


_ERRORS: dict[str, _Maker] = {
    "answer-too-large": _as(dumbkv.TooLargeError),
    "conflict": _conflict,
    "key-too-long": _as(dumbkv.InvalidKeyError),
    "not-an-integer": _as(dumbkv.NotAnIntegerError),
    "overflow": _as(OverflowError),
    "store-closed": _as(dumbkv.ClosedError),
    "store-full": _as(dumbkv.StoreFullError),
    "store-poisoned": _as(dumbkv.PoisonedError),
    "target-too-long": _as(dumbkv.InvalidKeyError),
    "too-many-keys": _as(dumbkv.TooLargeError),
    "value-too-large": _as(dumbkv.TooLargeError),
}


def raise_for(answer: Answer) -> NoReturn:
    """Raises what a store would for this answer, or else ServiceError."""
    kind, detail = "", repr(answer.body[:100])
    if answer.headers.get_content_type() == "application/problem+json":
        try:
            document = json.loads(answer.body)
            kind = str(document["type"]).removeprefix("urn:dumbkv:problem:")
            detail = document["detail"]
        except (ValueError, KeyError, TypeError):
            pass
        else:
            if kind in _ERRORS:
                raise _ERRORS[kind](document)
    raise ServiceError(answer.status, kind, detail)
