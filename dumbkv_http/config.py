"""What the program can be told, by a flag or by an environment variable.

`OPTIONS` is the one table: the command line, its help, the variables and `--check-config` all come
from it. A flag goes before its variable, a variable before the default. A variable that is set but
empty counts as not set. Secrets are not among the options: tokens come from a file, or from
DUMBKV_TOKENS, and never from an argument, because every user can read those.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dumbkv_http.limits import Limits

__all__ = ["OPTIONS", "TOKENS_VARIABLE", "Config", "ConfigError", "Option", "add_options"]

TOKENS_VARIABLE = "DUMBKV_TOKENS"
"""The variable that may hold the tokens themselves, separated by spaces or line ends."""

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_SIZE = re.compile(r"([0-9]{1,12}) ?([kmg]?)(?:i?b)?", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_DIGITS = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\]|\*")
_DEFAULTS = Limits()


class ConfigError(ValueError):
    """A setting that cannot be used; `option` is the flag's or the variable's name."""

    def __init__(self, option: str, detail: str) -> None:
        super().__init__(f"{option}: {detail}")


class Option(NamedTuple):
    """One thing that can be set. `kind` is `value`, `switch` or `list`; `default` is as text."""

    name: str
    parse: Callable[[str], Any]
    default: str
    metavar: str
    help: str
    kind: str = "value"

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name

    @property
    def variable(self) -> str:
        """The name in the environment.

        >>> OPTIONS["max-value"].variable, OPTIONS["allow-host"].variable
        ('DUMBKV_MAX_VALUE', 'DUMBKV_ALLOW_HOST')
        """
        return "DUMBKV_" + self.name.upper().replace("-", "_")


class Setting(NamedTuple):
    """A value as it is used, as it was written, and where it came from."""

    value: Any
    text: str
    source: str


class Config:
    """All settings. Raises ConfigError for the first that cannot be understood.

    `given` are the flags' texts by option name, None where not given.

    >>> config = Config({"port": "9000"}, {"DUMBKV_PORT": "9001", "DUMBKV_GRACE": "1.5"})
    >>> config["port"], config["grace"], config["host"]
    (9000, 1.5, '127.0.0.1')
    >>> config.settings["grace"].source
    'DUMBKV_GRACE'
    """

    def __init__(self, given: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.tokens_text = environment.get(TOKENS_VARIABLE, "")
        self.settings = {
            name: _setting(option, given.get(name), environment) for name, option in OPTIONS.items()
        }

    def __getitem__(self, name: str) -> Any:
        return self.settings[name].value

    def source(self, name: str) -> str:
        """The flag or variable that set this, or the flag where it is the default."""
        source = self.settings[name].source
        return OPTIONS[name].flag if source == "default" else source

    def lines(self) -> list[str]:
        """Each setting with its source, for `--check-config`."""
        rows = [
            (name, setting.text or "-", setting.source) for name, setting in self.settings.items()
        ]
        # How many tokens there are is said elsewhere; what they are is said nowhere.
        rows.append(("tokens", "set" if self.tokens_text else "-", self._tokens_source()))
        widths = [max(len(row[n]) for row in rows) for n in (0, 1)]
        return [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]

    def limits(self) -> Limits:
        """The limits among the settings."""
        return Limits(
            head_timeout=self["head-timeout"],
            body_timeout=self["body-timeout"],
            write_timeout=self["write-timeout"],
            idle_timeout=self["idle-timeout"],
            grace=self["grace"],
            connections=self["max-connections"],
            body_budget=self["body-budget"],
            unsent_budget=self["unsent-budget"],
        )

    def _tokens_source(self) -> str:
        return TOKENS_VARIABLE if self.tokens_text else "default"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each option; what was not given stays None, so that variables can speak."""
    for name, option in OPTIONS.items():
        text = f"{option.help} (default: {option.default or 'none'}; {option.variable})"
        text = text.replace("%", "%%")
        if option.kind == "switch":
            action: Any = argparse.BooleanOptionalAction
            parser.add_argument(option.flag, dest=name, action=action, default=None, help=text)
        elif option.kind == "list":
            parser.add_argument(
                option.flag, dest=name, action="append", metavar=option.metavar, help=text
            )
        else:
            parser.add_argument(option.flag, dest=name, metavar=option.metavar, help=text)


def _setting(option: Option, given: Any, environment: Mapping[str, str]) -> Setting:
    if given is not None:
        source = option.flag
        if option.kind == "switch":
            text = "yes" if given else "no"
        else:
            text = ",".join(given) if option.kind == "list" else given
    elif environment.get(option.variable):
        source, text = option.variable, environment[option.variable]
    else:
        source, text = "default", option.default
    try:
        return Setting(option.parse(text), text, source)
    except ValueError as error:
        raise ConfigError(source, str(error)) from None


def _text(text: str) -> str:
    return text


def _path(text: str) -> str | None:
    if "\0" in text:
        raise ValueError("expected a path without NUL")
    return text or None


def _port(text: str) -> int:
    if text.startswith("tcp://"):
        raise ValueError(
            f"expected a port from 0 to 65535, got {text!r}: Kubernetes sets this variable for a "
            "service of this name; give --port, or set enableServiceLinks: false"
        )
    if _DIGITS.fullmatch(text) is None or int(text) > 65535:
        raise ValueError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if _DIGITS.fullmatch(text) is None or int(text) < 1:
        raise ValueError(f"expected a number above 0, got {text!r}")
    return int(text)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise ValueError(f"expected a size such as 512KiB or 8MiB, got {text!r}")
    return int(found[1]) * _UNITS[found[2].lower()]


def _seconds(text: str) -> float:
    if _SECONDS.fullmatch(text) is None or not float(text):
        raise ValueError(f"expected a number of seconds above 0, got {text!r}")
    return float(text)


def _mode(text: str) -> int:
    if re.fullmatch(r"0?[0-7]{3}", text) is None:
        raise ValueError(f"expected a file mode such as 0660, got {text!r}")
    return int(text, 8)


def _switch(text: str) -> bool:
    word = text.lower()
    if word in ("1", "yes", "true", "on"):
        return True
    if word in ("0", "no", "false", "off"):
        return False
    raise ValueError(f"expected yes or no, got {text!r}")


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}, got {text!r}")
        return text

    return parse


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"expected a host name without a port, got {name!r}")
    return names


def _options() -> dict[str, Option]:
    seconds = "SECONDS"
    options = (
        Option("host", _text, "127.0.0.1", "ADDRESS", "address to listen on"),
        Option("port", _port, "8080", "PORT", "port, 0 for any free one"),
        Option("unix", _path, "", "PATH", "listen on this Unix socket and on no address"),
        Option("unix-mode", _mode, "0600", "MODE", "who may use it, 0660 for its group too"),
        Option("tls-cert", _path, "", "FILE", "certificate chain in PEM; needs --tls-key"),
        Option("tls-key", _path, "", "FILE", "its key in PEM, not readable by everybody"),
        Option("token-file", _path, "", "FILE", "lines rw:TOKEN and ro:TOKEN, mode 0600"),
        Option("open-metrics", _switch, "no", "", "answer /metrics without a token", "switch"),
        Option("insecure", _switch, "no", "",
               "let other machines in without a token", "switch"),
        Option("allow-host", _hosts, "", "NAME",
               "also answer requests whose Host is NAME, * for any; repeatable", "list"),
        Option("data", _path, "", "DIR",
               "keep the store in this directory as well, made if need be; none: in memory only"),
        Option("fsync", _one_of("always", "everysec", "never"), "everysec", "WHEN",
               "with --data, when a change is on the disk: always before it is answered, "
               "everysec within a second, never when the system likes"),
        Option("backend", _one_of("auto", "c", "python"), "auto", "NAME",
               "the table that serves, auto, c or python: c is an error where it is not built"),
        Option("max-value", _size, "1MiB", "SIZE", "largest value, in bytes or as 512KiB, 8MiB"),
        # With this much data, and all buffers of all connections in use, the process stays below
        # the 450 MiB of its memory objective.
        Option("max-bytes", _size, "256MiB", "SIZE",
               "memory for keys, values and what holds them"),
        Option("eviction", _one_of("reject", "lru"), "reject", "HOW",
               "when that is full: reject writes with 507, or lru drops what was not read lately"),
        Option("max-connections", _positive, str(_DEFAULTS.connections), "N",
               "connections at once; also held to 70 % of the descriptor limit, less 16"),
        Option("head-timeout", _seconds, "10", seconds, "for a whole head, and a TLS handshake"),
        Option("body-timeout", _seconds, "30", seconds,
               "for a body, and one more for each KiB that came"),
        Option("write-timeout", _seconds, "30", seconds,
               "for an answer to be read, and one more for each KiB that went"),
        Option("idle-timeout", _seconds, "60", seconds, "between two requests"),
        Option("grace", _seconds, "5", seconds, "for requests under way when told to end"),
        Option("body-budget", _size, "64MiB", "SIZE", "for all unfinished bodies together"),
        Option("unsent-budget", _size, "64MiB", "SIZE", "for all answers not yet read together"),
        Option("access-log", _path, "", "FILE", "a line of JSON for each answer, - for stdout"),
        Option("access-log-targets", _switch, "no", "",
               "with the whole target, so with the keys", "switch"),
    )  # fmt: skip
    return {option.name: option for option in options}


OPTIONS = _options()
