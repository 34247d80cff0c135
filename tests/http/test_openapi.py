"""The description of the service: a valid one, and true."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from openapi_spec_validator import validate

import dumbkv_http
from dumbkv_http import Service
from dumbkv_http.problems import PROBLEMS
from dumbkv_http.routes import ROUTES
from tests.http.asking import ask

_RAISERS = {"ProblemError": 1, "WireError": 1, "problem": 1}
"""What makes a problem, and which of its arguments names it."""


def test_the_document_is_valid_and_has_every_route(service: Service) -> None:
    document = ask(service, "GET", "/v1/openapi.json").json
    validate(document)
    assert document["openapi"].startswith("3.1")
    found = {
        (path.replace("{key}", ""), name.upper())
        for path, methods in document["paths"].items()
        for name in methods
    }
    assert found == {(route.path.decode(), name) for route in ROUTES for name in route.methods}
    for route in ROUTES:
        for name, method in route.methods.items():
            path = route.path.decode() + ("{key}" if route.key else "")
            described = document["paths"][path][name.lower()]
            assert set(map(str, method.statuses)) <= described["responses"].keys()
            assert {each["name"] for each in described["parameters"] if each["in"] == "query"} == {
                each.decode() for each in method.known
            }


def kinds() -> Iterator[str]:
    """Every name of a problem in the package's source."""
    for path in Path(dumbkv_http.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                place = _RAISERS.get(node.func.id)
                if place is not None and len(node.args) > place:
                    name = node.args[place]
                    if isinstance(name, ast.Constant):
                        yield str(name.value)


def test_every_problem_has_its_meaning_and_no_other_has() -> None:
    assert set(kinds()) == set(PROBLEMS)
    assert list(PROBLEMS) == sorted(PROBLEMS)
