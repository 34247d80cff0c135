"""Every problem the service answers with: its stable name, and what it means.

The type of a problem is `urn:dumbkv:problem:` and the name. A test holds this table to what the
code raises, and docs/http.md to this table.
"""

from __future__ import annotations

__all__ = ["PROBLEMS"]

PROBLEMS = {
    "answer-too-large": "The values asked for are too many bytes for one answer.",
    "bad-base64": "The key in the path is not base64url.",
    "bad-body": "The body is not the JSON this route takes.",
    "bad-chunk": "The chunked body is not framed as it should be.",
    "bad-entity-tag": "If-Match or If-None-Match is neither * nor a list of entity tags.",
    "bad-escape": "A % is not followed by two hexadecimal digits.",
    "bad-framing": "Content-Length or Transfer-Encoding is wrong, or both are there.",
    "bad-parameter": "A query parameter has a value it cannot have, or comes twice.",
    "bad-request": "The head of the request is not HTTP/1.1 as it is understood here.",
    "bad-ttl": "The ttl is not a number of seconds above 0.",
    "bad-version": "The version of HTTP is neither 1.0 nor 1.1.",
    "busy": "Too many bodies are on their way; try again.",
    "conflict": "A check of the batch failed, and nothing was done; `key` says which.",
    "content-encoding": "The body is compressed, which is not kept.",
    "content-type": "The body is not declared as application/json.",
    "date-condition": "If-Unmodified-Since cannot protect a write.",
    "disk-full": "The disk behind the store has no room for this change.",
    "dot-segment": "The path has a segment . or .., which clients resolve away: use kv64.",
    "draining": "The server is shutting down.",
    "empty-key": "The path has no key.",
    "field-too-long": "A header field is too long.",
    "foreign-origin": "The request is from a page of another site.",
    "head-too-long": "The head of the request is too long.",
    "incomplete-request": "The connection ended before the request did.",
    "internal-error": "The server failed; its log says why.",
    "key-not-found": "No value is stored under this key.",
    "key-too-long": "The key is longer than the store takes.",
    "length-required": "The request has no body where one is needed.",
    "method-not-allowed": "The path does not have this method; Allow says which it has.",
    "missing-parameter": "A query parameter that is needed is not there.",
    "no-such-route": "There is nothing at this path.",
    "not-an-integer": "The value to add to is no decimal 64-bit integer.",
    "overflow": "The sum does not fit a signed 64-bit integer.",
    "partial-put": "The request has a Content-Range, and values are put whole.",
    "precondition-failed": "The current value is not the one If-Match or If-None-Match asks for.",
    "read-only": "The token may only read.",
    "store-closed": "The store behind the server is closed.",
    "store-full": "The store has no memory left for this value.",
    "store-poisoned": "The disk behind the store has failed; it can only be read.",
    "target-too-long": "The request line is too long.",
    "timeout": "The head or the body of the request did not come in time.",
    "too-many-connections": "All connections are in use; try again.",
    "too-many-fields": "The request has too many header fields.",
    "too-many-keys": "The request is about too many keys at once.",
    "too-many-watches": "As many clients watch already as may.",
    "trailers-too-long": "The trailers of the chunked body are too long.",
    "unauthorized": "The request has no token that this server knows.",
    "unexpected-body": "The method takes no body here.",
    "unknown-expectation": "Expect is not 100-continue.",
    "unknown-parameter": "The route does not know a query parameter.",
    "value-too-large": "The value, or the body it is in, is larger than the server takes.",
    "wrong-host": "The server does not answer for the host in Host.",
}
