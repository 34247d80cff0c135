"""`/v1/openapi.json`: the table of routes as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dumbkv import Stats, __version__
from dumbkv_http._json import as_json
from dumbkv_http.parameters import Parameter
from dumbkv_http.problems import PROBLEMS

if TYPE_CHECKING:
    from dumbkv_http.routes import Method, Route

__all__ = ["document"]

Schema = dict[str, Any]

_INTEGER: Schema = {"type": "integer", "format": "int64"}
_STRING: Schema = {"type": "string"}
_BOOLEAN: Schema = {"type": "boolean"}
_SECONDS: Schema = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "never"}]}
_BASE64: Schema = {"type": "string", "contentEncoding": "base64"}


def _object(required: Iterable[str] = (), **members: Schema) -> Schema:
    return {
        "type": "object",
        "properties": members,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _any(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def _bytes(name: str) -> dict[str, Schema]:
    """Bytes in JSON: text under the one name, or base64 under the other."""
    return {name: _STRING, f"{name}_b64": _BASE64}


_KEY, _VALUE = _bytes("key"), _bytes("value")
_ITEM = _object(**_KEY, **_VALUE)
_EXPIRY = {"ttl": _SECONDS, "expire_at": _SECONDS, "keep_ttl": _BOOLEAN}
_OPERATION = _any(
    _object(("op",), op={"const": "set"}, **_KEY, **_VALUE, **_EXPIRY),
    _object(("op",), op={"const": "delete"}, **_KEY),
    _object(("op",), op={"const": "incr"}, by=_INTEGER, ttl=_SECONDS, **_KEY),
)
_COUNTERS = dict.fromkeys(Stats._fields, _INTEGER)
_LIMITS = {"max_key": _INTEGER, "max_value": _INTEGER}

_JSON = "application/json"
_CONTENT: dict[str, tuple[str, Schema]] = {
    "Value": ("application/octet-stream", {}),
    "Text": ("text/plain", _STRING),
    "Html": ("text/html", _STRING),
    "Sum": (_JSON, _object(("value",), value=_INTEGER)),
    "Touched": (_JSON, _object(("touched",), touched=_BOOLEAN)),
    "Persisted": (_JSON, _object(("persisted",), persisted=_BOOLEAN)),
    "Ttl": (_JSON, _object(("ttl",), ttl={"type": ["number", "null"]})),
    "Page": (
        _JSON,
        _object(
            ("items",), items=_list(_ITEM), next={"type": ["string", "null"]}, next_b64=_BASE64
        ),
    ),
    "Deleted": (_JSON, _object(("deleted",), deleted=_INTEGER)),
    "Count": (_JSON, _object(("count",), count=_INTEGER)),
    "Items": (_JSON, _object(("items",), items=_list(_ITEM))),
    "Keys": (_JSON, _object(keys=_list(_STRING), keys_b64=_list(_BASE64))),
    "Batch": (
        _JSON,
        _object(
            checks=_list(_object(("version",), version={"type": ["integer", "null"]}, **_KEY)),
            ops=_list(_OPERATION),
        ),
    ),
    "Results": (
        _JSON,
        _object(
            ("results",),
            results=_list(
                _any(
                    _object(("version",), version={"type": ["integer", "null"]}),
                    _object(("deleted",), deleted=_BOOLEAN),
                    _object(("value",), value=_INTEGER),
                )
            ),
        ),
    ),
    "Events": ("text/event-stream", _STRING),
    "Stats": (_JSON, {"type": "object", "properties": {**_LIMITS, **_COUNTERS}}),
    "Document": (_JSON, {"type": "object"}),
}
_PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"enum": [f"urn:dumbkv:problem:{kind}" for kind in PROBLEMS]},
        "title": _STRING,
        "status": _INTEGER,
        "detail": _STRING,
        **_KEY,
    },
    "required": ["type", "title", "status", "detail"],
}
_LICENSE = {"name": "MIT", "identifier": "MIT"}
_NO_BODY = frozenset((201, 204, 304))
_CONDITIONAL = ("/v1/kv/{key}", "/v1/kv64/{key}")


def document(routes: Iterable[Route], anywhere: Iterable[int]) -> bytes:
    """The document; `anywhere` are the statuses that any request may be answered with."""
    paths: dict[str, Schema] = {}
    for route in routes:
        path = route.path.decode() + ("{key}" if route.key else "")
        paths[path] = {
            name.lower(): _operation(path, route, name, method, anywhere)
            for name, method in route.methods.items()
        }
    schemas = {name: schema for name, (_, schema) in _CONTENT.items()}
    methods = [method for route in routes for method in route.methods.values()]
    statuses = {status for method in methods for status in method.statuses if status >= 400}
    statuses.update(anywhere)
    return as_json(
        {
            "openapi": "3.1.0",
            "info": {"title": "DumbKV", "version": __version__, "license": _LICENSE},
            "paths": paths,
            "components": {
                "schemas": {**schemas, "Problem": _PROBLEM},
                "responses": {str(status): _problem(status) for status in sorted(statuses)},
            },
        }
    )


def _operation(
    path: str, route: Route, name: str, method: Method, anywhere: Iterable[int]
) -> Schema:
    described: Schema = {
        "operationId": name.lower() + path.replace("/{key}", "").replace("/", "_"),
        "summary": method.summary,
        "tags": [route.handler],
        "parameters": [_parameter(each) for each in method.parameters],
        "responses": {
            str(status): _response(name, method, status)
            for status in sorted({*method.statuses, *anywhere})
        },
    }
    if route.key:
        key = {"name": "key", "in": "path", "required": True, "schema": {**_STRING, "minLength": 1}}
        described["parameters"].append(key)
    if path in _CONDITIONAL:
        described["parameters"] += [_field("If-Match"), _field("If-None-Match")]
    if method.takes:
        described["requestBody"] = {"required": True, "content": _content(method.takes)}
    return described


def _parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name.decode(),
        "in": "query",
        "description": parameter.text,
        "required": parameter.required,
        "schema": parameter.schema,
    }


def _field(name: str) -> Schema:
    text = "Entity tags as RFC 9110 section 13 has them."
    return {"name": name, "in": "header", "description": text, "schema": _STRING}


def _response(name: str, method: Method, status: int) -> Schema:
    described: Schema = {"description": HTTPStatus(status).phrase}
    if name == "HEAD" or status in _NO_BODY:
        return described
    if status >= 400:
        return {"$ref": f"#/components/responses/{status}"}
    if method.gives:
        described["content"] = _content(method.gives)
    return described


def _problem(status: int) -> Schema:
    content = {"application/problem+json": {"schema": _reference("Problem")}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _content(name: str) -> Schema:
    media, _ = _CONTENT[name]
    content = {media: {"schema": _reference(name)}}
    if name == "Page":
        content["application/x-ndjson"] = {"schema": _STRING}
    return content


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
