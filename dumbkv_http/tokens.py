"""Bearer tokens: who may read, who may write, and where the tokens come from.

A token is a secret of at least 16 characters out of those that RFC 6750 allows. It comes from a
file or from the environment, never from the command line, which every user of the machine can
read, and never from a URL, which ends up in logs and histories.

Every token there is gets compared with what a client sent, each in constant time and without
stopping at a match, so the time an answer takes says nothing about any of them.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

__all__ = ["Role", "Tokens", "parse_tokens", "read_tokens"]

MIN_LENGTH = 16
_MAX_LENGTH = 4096
_MAX_FILE = 1024 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_BEARER = re.compile(rb"bearer +", re.IGNORECASE)


class Role(IntEnum):
    """What a request may do, by its Authorization field."""

    NOBODY = 0
    READER = 1
    WRITER = 2


class Tokens:
    """The tokens that are accepted. Raises ValueError for one that is too short or malformed.

    >>> tokens = Tokens(read_write=["correct-horse-battery"], read_only=["only-for-the-scraper"])
    >>> tokens.role(b"Bearer correct-horse-battery"), tokens.role(b"Bearer something-else-16")
    (<Role.WRITER: 2>, <Role.NOBODY: 0>)
    """

    def __init__(self, read_write: Iterable[str] = (), read_only: Iterable[str] = ()) -> None:
        roles: dict[bytes, Role] = {}
        for words, role in ((read_only, Role.READER), (read_write, Role.WRITER)):
            for word in words:
                token = _checked(word)
                if roles.get(token, role) is not role:
                    raise ValueError(
                        "expected a token to be read-write or read-only, got one twice"
                    )
                roles[token] = role
        if not roles:
            raise ValueError("expected at least one token, got none")
        self._roles = tuple(roles.items())

    def role(self, authorization: bytes | None) -> Role:
        """The role that the value of an Authorization field gives."""
        if authorization is None:
            return Role.NOBODY
        scheme = _BEARER.match(authorization)
        if scheme is None:
            return Role.NOBODY
        given = authorization[scheme.end() :]
        found = Role.NOBODY
        for token, role in self._roles:
            if hmac.compare_digest(token, given):
                found = role
        return found

    def __repr__(self) -> str:
        """How many there are; the tokens themselves belong in no log."""
        writers = sum(role is Role.WRITER for _, role in self._roles)
        return f"<Tokens: {writers} read-write, {len(self._roles) - writers} read-only>"


def parse_tokens(text: str, where: str) -> Tokens:
    """Tokens from lines `rw:TOKEN` and `ro:TOKEN`; empty ones and those after a `#` are skipped.

    Raises ValueError that names `where` and the line, and never shows a token.

    >>> parse_tokens("rw:correct-horse-battery\\n# the scraper:\\nro:only-for-the-scraper", "here")
    <Tokens: 1 read-write, 1 read-only>
    """
    words: dict[str, list[str]] = {"rw": [], "ro": []}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        kind, colon, token = line.partition(":")
        if not colon or kind not in words:
            raise ValueError(f"{where}, line {number}: expected rw:TOKEN or ro:TOKEN")
        try:
            _checked(token)
        except ValueError as error:
            raise ValueError(f"{where}, line {number}: {error}") from None
        words[kind].append(token)
    try:
        return Tokens(words["rw"], words["ro"])
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def read_tokens(path: str | os.PathLike[str]) -> Tokens:
    """The tokens in a file that nobody but its owner can read or write, or in one of systemd's.

    Raises OSError when it cannot be read, ValueError when others can read it or it is malformed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path}: expected a regular file")
        if status.st_mode & (0o037 if _is_credential(path) else 0o077):
            raise ValueError(
                f"{path}: expected a file that only its owner can use (chmod 600), "
                f"got mode {stat.S_IMODE(status.st_mode):04o}"
            )
        if status.st_uid not in (0, os.geteuid()):
            raise ValueError(f"{path}: expected a file of this user or of root")
        data = os.read(descriptor, _MAX_FILE + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_FILE:
        raise ValueError(f"{path}: expected at most {_MAX_FILE} bytes")
    return parse_tokens(data.decode("utf-8", "replace"), str(Path(path)))


def _is_credential(path: str | os.PathLike[str]) -> bool:
    """Whether systemd made the file for this service (LoadCredential, systemd.exec(5)).

    Such a file lies where nobody else can look, belongs to root, and has an access list for the
    service's user, whose mask shows as the mode of the group.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and os.path.dirname(os.path.abspath(path)) == directory


def _checked(word: str) -> bytes:
    if not MIN_LENGTH <= len(word) <= _MAX_LENGTH:
        raise ValueError(
            f"expected a token of {MIN_LENGTH} to {_MAX_LENGTH} characters, got {len(word)}"
        )
    if _TOKEN.fullmatch(word) is None:
        raise ValueError("expected a token of letters, digits and -._~+/ with = only at its end")
    return word.encode("ascii")
