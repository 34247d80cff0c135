"""Options: flags, variables and defaults, which goes before which, and how each is refused."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from dumbkv_http import Limits
from dumbkv_http.config import OPTIONS, Config, ConfigError, add_options

SERVING = Path(__file__).parent.parent.parent / "docs" / "serving.md"

SAMPLES = {
    "host": ("127.0.0.2", "127.0.0.3"), "port": ("1", "2"), "unix": ("/a", "/b"),
    "unix-mode": ("0660", "0666"), "tls-cert": ("a", "b"), "tls-key": ("a", "b"),
    "token-file": ("a", "b"), "open-metrics": ("yes", "no"), "insecure": ("yes", "no"),
    "allow-host": ("a.example", "b.example"), "data": ("a", "b"), "fsync": ("always", "never"),
    "backend": ("python", "c"),
    "max-value": ("1KiB", "2KiB"), "max-bytes": ("1MiB", "2MiB"), "eviction": ("lru", "reject"),
    "max-connections": ("3", "4"), "head-timeout": ("1", "2.5"), "body-timeout": ("1", "2.5"),
    "write-timeout": ("1", "2.5"), "idle-timeout": ("1", "2.5"), "grace": ("1", "2.5"),
    "body-budget": ("1MiB", "2MiB"), "unsent-budget": ("1MiB", "2MiB"), "access-log": ("-", "a"),
    "access-log-targets": ("yes", "no"),
}  # fmt: skip
"""Two texts for each option that mean two things."""


def given(*arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return vars(parser.parse_args(arguments))


def flag(name: str, text: str) -> list[str]:
    if OPTIONS[name].kind == "switch":
        return [f"--{name}" if text == "yes" else f"--no-{name}"]
    return [f"--{name}", text]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_flag_goes_before_its_variable_and_that_before_the_default(name: str) -> None:
    option = OPTIONS[name]
    one, two = SAMPLES[name]
    default = Config(given(), {})
    assert default.settings[name].source == "default"
    by_variable = Config(given(), {option.variable: one})
    assert by_variable[name] == option.parse(one)
    assert by_variable.settings[name].source == option.variable
    by_flag = Config(given(*flag(name, two)), {option.variable: one})
    assert by_flag[name] == option.parse(two) != by_variable[name]
    assert by_flag.settings[name].source == option.flag
    assert Config(given(), {option.variable: ""})[name] == default[name]


def test_the_defaults_are_those_of_the_library() -> None:
    assert Config({}, {}).limits() == Limits()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"), ("port", "-1"), ("port", "x"), ("port", "\u0661"),
        ("port", "tcp://10.0.0.1:80"), ("unix", "a\0b"),
        ("unix-mode", "660x"), ("unix-mode", "8"), ("unix-mode", "0o660"), ("unix-mode", "17777"),
        ("open-metrics", "maybe"), ("insecure", "2"), ("allow-host", "a.example:80"),
        ("allow-host", "http://a.example"), ("backend", "rust"), ("fsync", "sometimes"),
        ("eviction", "fifo"),
        ("max-value", "0"), ("max-value", "1TB"), ("max-value", "-1"),
        ("max-connections", "0"), ("max-connections", "1.5"), ("grace", "0"), ("grace", "-1"),
        ("grace", "1e3"), ("head-timeout", "inf"), ("idle-timeout", "nan"), ("body-timeout", "1s"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_its_source_and_itself(name: str, text: str) -> None:
    variable = OPTIONS[name].variable
    with pytest.raises(ConfigError, match=f"^{variable}: expected ") as caught:
        Config({}, {variable: text})
    assert "got" in str(caught.value) or "\0" in text


def test_a_list_is_repeated_on_the_command_line_and_separated_in_its_variable() -> None:
    assert Config(given("--allow-host", "a", "--allow-host", "b"), {})["allow-host"] == ("a", "b")
    assert Config({}, {"DUMBKV_ALLOW_HOST": "a, b c"})["allow-host"] == ("a", "b", "c")


def test_what_is_shown_has_every_option_and_no_token() -> None:
    environment = {"DUMBKV_TOKENS": "rw:correct-horse-battery", "DUMBKV_PORT": "9000"}
    shown = Config(given("--grace", "2"), environment).lines()
    rows = {line.split()[0]: line.split()[1:] for line in shown}
    assert rows["port"] == ["9000", "DUMBKV_PORT"]
    assert rows["grace"] == ["2", "--grace"]
    assert rows["host"] == ["127.0.0.1", "default"]
    assert rows["tokens"] == ["set", "DUMBKV_TOKENS"]
    assert set(rows) == {*OPTIONS, "tokens"}
    assert "correct-horse" not in "\n".join(shown)


def test_the_page_about_serving_has_every_option_as_it_is() -> None:
    rows = re.findall(r"^\| `--([a-z-]+)` \| `([A-Z_]+)` \| (.*?) \|", SERVING.read_text(), re.M)
    shown = {name: (variable, default.strip("`")) for name, variable, default in rows}
    assert shown == {
        name: (option.variable, option.default or "none") for name, option in OPTIONS.items()
    }
