"""The cases in cases/*.txt, sent to a running server as they stand, cut in two, and followed."""

from __future__ import annotations

import re
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import dumbkv
import dumbkv_http
from dumbkv_http import Limits, Service
from tests.conftest import BACKENDS
from tests.http.client import RawClient, get

CASES = Path(__file__).parent / "cases"
MAX_BODY = 2048
CANARY = b"PUT /v1/kv/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "s": b" ", "\\": b"\\"}
_EXPECTED = re.compile(r"(\d{3})(?:\*(\d+))? (keep|close)(?: ([a-z-]+)| \"(.*)\")?")


class Step(NamedTuple):
    """One line: what it does, and its text as bytes."""

    does: str
    text: bytes


class Case(NamedTuple):
    """A case as it stands in its file."""

    where: str
    steps: list[Step]

    def sent(self) -> bytes:
        """All that the client sends."""
        return b"".join(step.text for step in self.steps if step.does in (">", "."))


def unescaped(text: str) -> bytes:
    """The bytes a line of a case stands for.

    >>> unescaped(r"a\\r\\x41[[bc*2]]")
    b'a\\rAbcbc'
    """
    repeated = re.sub(r"\[\[(.*?)\*(\d+)\]\]", lambda found: found[1] * int(found[2]), text)
    out = b""
    for plain, escape in re.findall(r"([^\\]+)|\\(x[0-9a-f]{2}|.)", repeated):
        if plain:
            out += plain.encode("latin-1")
        else:
            out += bytes([int(escape[1:], 16)]) if escape[0] == "x" else _ESCAPES[escape]
    return out


def read(path: Path) -> Iterator[Case]:
    case: Case | None = None
    for line in path.read_text().splitlines():
        does, _, text = line.partition(" ")
        if does == "##":
            case = Case(f"{path.stem}: {text}", [])
            yield case
        elif case is not None and does in (">", ".", "-", "<", "=", "!", "@", "eof"):
            sent = unescaped(text) if does in (">", ".") else text.encode()
            case.steps.append(Step(does, sent + b"\r\n" if does == ">" else sent))


ALL = [case for path in sorted(CASES.glob("*.txt")) for case in read(path)]


@pytest.fixture(scope="module", params=BACKENDS)
def live(request: pytest.FixtureRequest) -> Iterator[Service]:
    limits = Limits(linger=0.02)  # A second of it for each case would be long.
    with (
        dumbkv.open(backend=request.param) as store,
        dumbkv_http.serve(store, limits=limits, max_body=MAX_BODY) as service,
    ):
        yield service
        requests = service.server.metrics.requests
        assert not [each for each, n in requests.items() if n and each[2] >= 500]


class Run:
    """One case on one connection."""

    def __init__(self, service: Service, client: RawClient, cut: int, follow: bool) -> None:
        self.service = service
        self.store = service.server.app.store
        self.client = client
        self.cut = cut
        self.follow = follow
        self.sent = b""
        self.unsent = b""
        self.closed = False
        self.ended = False
        self.etag = b""

    def play(self, steps: list[Step]) -> None:
        for n, (does, text) in enumerate(steps):
            if does == "@":
                key, _, value = text.decode().partition(" ")
                version = self.store.set(unescaped(key), unescaped(value))
                self.etag = b'"%d"' % (version or 0)
            elif does in (">", "."):
                self.unsent += text.replace(b"${etag}", self.etag)
            elif does == "-":
                self.flush()
            elif does == "eof":
                self.flush()
                self.client.sock.shutdown(socket.SHUT_WR)
                self.ended = True
            elif does == "<":
                if self.unsent:
                    # What follows goes in the same packet, unless more is to come first.
                    more = any(each.does in (">", ".", "eof") for each in steps[n:])
                    closes = any(each.does == "<" and b" close" in each.text for each in steps)
                    self.flush(CANARY if self.follow and closes and not more else b"")
                self.expect(text.decode())
            elif does == "=":
                key, _, value = text.decode().partition(" ")
                assert self.store.get(unescaped(key)) == unescaped(value)
            else:
                assert unescaped(text.decode()) not in self.store
        self.after()

    def flush(self, behind: bytes = b"") -> None:
        """Sends what came together, in two packets if there is a place to cut it."""
        data, self.unsent = self.unsent, b""
        place = self.cut % len(data) if self.cut and data else 0
        try:
            if place:
                self.client.send(data[:place])
                self.settle()
            self.client.send(data[place:] + behind)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It has been refused already: the answer is there to read.
        self.settle()

    def settle(self) -> None:
        """Returns when the server has read what was sent: two rounds of its loop are over."""
        for _ in range(2):
            over = threading.Event()
            self.service.server.call_soon(over.set)
            assert over.wait(10)

    def expect(self, text: str) -> None:
        found = _EXPECTED.fullmatch(text)
        assert found is not None, f"cannot read the expectation {text!r}"
        status, times, end, kind, body = found.groups()
        for _ in range(int(times or 1)):
            head_only = status in ("100", "204", "304") or body == ""
            answer = self.client.answer(head_only=head_only)
            assert answer.status == int(status), answer
            assert (answer.headers.get("connection") == "close") == (end == "close")
            if kind and not head_only:
                assert answer.kind == kind
            if body:
                assert answer.body == unescaped(body)
        self.closed = end == "close"

    def after(self) -> None:
        if not self.closed:
            if not self.ended:
                assert self.client.ask(get("after")).status == 404
            return
        if not self.ended:
            with suppress(BrokenPipeError, ConnectionResetError):
                self.client.send(CANARY)
        assert self.client.rest() == b""


@pytest.mark.parametrize("case", ALL, ids=[case.where for case in ALL])
def test_what_is_sent_gets_what_is_written(case: Case, live: Service) -> None:
    store = live.server.app.store
    middle = 1 + zlib.crc32(case.where.encode()) % max(len(case.sent()) - 1, 1)
    for cut, follow in ((0, False), (0, True), (middle, False)):
        store.clear()
        with RawClient(live) as client:
            Run(live, client, cut, follow).play(case.steps)
        assert b"canary" not in store


def test_there_are_many_cases_and_no_two_have_one_name() -> None:
    assert len(ALL) >= 150
    assert len({case.where for case in ALL}) == len(ALL)
    assert all(any(step.does == "<" for step in case.steps) for case in ALL)
