"""docs/http.md: the examples answer as shown; every route and every problem is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import dumbkv
from dumbkv_http.problems import PROBLEMS
from dumbkv_http.routes import ROUTES
from tests.http.conftest import Serve

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


def test_the_examples_answer_as_shown(fast_store: dumbkv.Store, serve: Serve) -> None:
    service = serve(fast_store)
    steps = [
        step.partition("\n")
        for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
        for step in block.split("$ ")[1:]
    ]
    assert len(steps) > 20
    for command, _, expected in steps:
        here = command.replace("$URL", service.url)
        done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, timeout=20)
        shown = re.sub(r"\b[0-9]{16}\b", "VERSION", done.stdout)
        assert shown.strip() == expected.strip(), command


def test_every_route_is_there() -> None:
    for route in ROUTES:
        path = route.path.decode().rstrip("/")
        name = path.removesuffix("64").rpartition("/")[2]
        assert path in PAGE or (path.endswith("64") and f"{name}64" in PAGE), path


def test_every_problem_is_there() -> None:
    found = re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", PAGE, re.MULTILINE)
    assert dict(found) == PROBLEMS
