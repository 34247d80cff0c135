"""The parser's cases as data: an input block, and what is made of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumbkv_http.wire import (
    FIELD_COUNT_LIMIT,
    FIELD_LIMIT,
    HEAD_LIMIT,
    LINE_LIMIT,
    Request,
    WireError,
    parse_head,
)

GOOD = {
    "a plain GET": (b"GET /v1/kv/a HTTP/1.1\r\nHost: h\r\n\r\n", ("GET", b"/v1/kv/a", True, True)),
    "one empty line in front": (
        b"\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n",
        ("GET", b"/a", True, True),
    ),
    "HTTP/1.0 without Host": (b"GET /a HTTP/1.0\r\n\r\n", ("GET", b"/a", False, False)),
    "HTTP/1.0 keep-alive": (
        b"GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        ("GET", b"/a", False, True),
    ),
    "HTTP/1.1 close": (
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: foo, close\r\n\r\n",
        ("GET", b"/a", True, False),
    ),
    "an absolute target": (
        b"GET http://H:80/a?b HTTP/1.1\r\nHost: h:80\r\n\r\n",
        ("GET", b"/a?b", True, True),
    ),
    "an absolute target without a path": (
        b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
        ("GET", b"/", True, True),
    ),
    "an unknown method": (b"BREW /a HTTP/1.1\r\nHost: h\r\n\r\n", ("BREW", b"/a", True, True)),
    "OPTIONS of everything": (
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        ("OPTIONS", b"*", True, True),
    ),
    "CONNECT": (
        b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
        ("CONNECT", b"h:80", True, True),
    ),
    "a chunked body": (
        b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        ("PUT", b"/a", True, True),
    ),
    "the longest request line": (
        b"GET /" + b"a" * (LINE_LIMIT - 14) + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        ("GET", b"/" + b"a" * (LINE_LIMIT - 14), True, True),
    ),
    "the most fields": (
        b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * (FIELD_COUNT_LIMIT - 1) + b"\r\n",
        ("GET", b"/a", True, True),
    ),
    "bytes above ASCII in a value": (
        b"GET /a HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\n\r\n",
        ("GET", b"/a", True, True),
    ),
    "an IPv6 host": (b"GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", ("GET", b"/a", True, True)),
}

LINE = b"GET /a HTTP/1.1\r\n"
HOST = b"Host: h\r\n"
BODY = b"PUT /a HTTP/1.1\r\nHost: h\r\n"

BAD = {
    # Framing that two parsers could read in two ways.
    "CL and TE": (400, BODY + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "TE and CL": (400, BODY + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    "two different CL": (400, BODY + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    "two equal CL": (400, BODY + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    "a list of CL": (400, BODY + b"Content-Length: 5, 5\r\n\r\n"),
    "a CL with a plus": (400, BODY + b"Content-Length: +5\r\n\r\n"),
    "a negative CL": (400, BODY + b"Content-Length: -5\r\n\r\n"),
    "a CL with an underscore": (400, BODY + b"Content-Length: 1_0\r\n\r\n"),
    "a hexadecimal CL": (400, BODY + b"Content-Length: 0x5\r\n\r\n"),
    "an empty CL": (400, BODY + b"Content-Length: \r\n\r\n"),
    "a CL of 19 digits": (400, BODY + b"Content-Length: 1000000000000000000\r\n\r\n"),
    "a CL in other digits": (400, BODY + b"Content-Length: \xd9\xa5\r\n\r\n"),
    "TE twice": (400, BODY + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "TE of two codings": (400, BODY + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "TE identity": (400, BODY + b"Transfer-Encoding: identity\r\n\r\n"),
    "TE in capitals": (400, BODY + b"Transfer-Encoding: CHUNKED\r\n\r\n"),
    "TE with a parameter": (400, BODY + b"Transfer-Encoding: chunked;q=1\r\n\r\n"),
    "TE with a vertical tab": (400, BODY + b"Transfer-Encoding: \x0bchunked\r\n\r\n"),
    "TE in HTTP/1.0": (400, b"PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "a space before the colon": (400, BODY + b"Content-Length : 5\r\n\r\n"),
    "a tab before the colon": (400, BODY + b"Transfer-Encoding\t: chunked\r\n\r\n"),
    "a folded field": (400, LINE + HOST + b"X: a\r\n b\r\n\r\n"),
    "a folded first field": (400, LINE + b" Host: h\r\n\r\n"),
    "a tab-folded field": (400, LINE + HOST + b"X: a\r\n\tb\r\n\r\n"),
    # Line ends and control bytes.
    "bare LF everywhere": (400, b"GET /a HTTP/1.1\nHost: h\n\n"),
    "a bare LF after the line": (400, b"GET /a HTTP/1.1\nHost: h\r\n\r\n"),
    "a bare LF between fields": (400, LINE + b"X: y\nHost: h\r\n\r\n"),
    "a bare CR in a value": (400, LINE + HOST + b"X: a\rb\r\n\r\n"),
    "a bare CR as a line end": (400, LINE + HOST + b"X: a\rY: b\r\n\r\n"),
    "CR CR LF": (400, LINE + HOST + b"X: a\r\r\n\r\n"),
    "NUL in a value": (400, LINE + HOST + b"X: a\0b\r\n\r\n"),
    "NUL in the target": (400, b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n"),
    "DEL in a value": (400, LINE + HOST + b"X: a\x7f\r\n\r\n"),
    "two empty lines in front": (400, b"\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a TLS hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    # The request line.
    "HTTP/0.9": (400, b"GET /a\r\n"),
    "HTTP/2.0": (400, b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n"),
    "the preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.2": (400, b"GET /a HTTP/1.2\r\nHost: h\r\n\r\n"),
    "HTTP/1.10": (400, b"GET /a HTTP/1.10\r\nHost: h\r\n\r\n"),
    "http/1.1": (400, b"GET /a http/1.1\r\nHost: h\r\n\r\n"),
    "two spaces": (400, b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a tab between the parts": (400, b"GET\t/a\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    "a space in front": (400, b" GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a space at the end": (400, b"GET /a HTTP/1.1 \r\nHost: h\r\n\r\n"),
    "a space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a method that is no token": (400, b"GE(T /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a relative target": (400, b"GET a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a star for GET": (400, b"GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"),
    "raw bytes in the target": (400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a quote in the target": (400, b'GET /" HTTP/1.1\r\nHost: h\r\n\r\n'),
    "a line too long": (414, b"GET /" + b"a" * (LINE_LIMIT - 13) + b" HTTP/1.1\r\n" + HOST),
    "a line that never ends": (414, b"GET /" + b"a" * LINE_LIMIT),
    # Fields.
    "no Host in HTTP/1.1": (400, LINE + b"X: y\r\n\r\n"),
    "no fields in HTTP/1.1": (400, LINE + b"\r\n"),
    "two Hosts": (400, LINE + HOST + HOST + b"\r\n"),
    "an empty Host": (400, LINE + b"Host:\r\n\r\n"),
    "a Host with a path": (400, LINE + b"Host: h/x\r\n\r\n"),
    "a Host with a user": (400, LINE + b"Host: a@h\r\n\r\n"),
    "a Host with two ports": (400, LINE + b"Host: h:1:2\r\n\r\n"),
    "a target for another Host": (400, b"GET http://g/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "an absolute target without Host": (400, b"GET http://g/a HTTP/1.0\r\n\r\n"),
    "another scheme": (400, b"GET ftp://h/a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "a field without a colon": (400, LINE + HOST + b"nonsense\r\n\r\n"),
    "a field without a name": (400, LINE + HOST + b": x\r\n\r\n"),
    "a name with a bracket": (400, LINE + HOST + b"X[]: y\r\n\r\n"),
    "two Origins": (400, LINE + HOST + b"Origin: a\r\nOrigin: b\r\n\r\n"),
    "too many fields": (431, LINE + HOST + b"X: y\r\n" * FIELD_COUNT_LIMIT + b"\r\n"),
    "a field too long": (431, LINE + HOST + b"X: " + b"y" * FIELD_LIMIT + b"\r\n\r\n"),
    "a head too long": (431, LINE + HOST + (b"X: " + b"y" * 8000 + b"\r\n") * 5 + b"\r\n"),
    "a head that never ends": (431, LINE + HOST + (b"X: " + b"y" * 8000 + b"\r\n") * 5),
}


def shape(request: Request) -> tuple[str, bytes, bool, bool]:
    return request.method, request.target, request.http11, request.keep_alive


def in_pieces(data: bytes, cuts: list[int]) -> Request | None:
    """What the parser says when the bytes arrive in pieces that end at the cuts."""
    seen = 0
    for cut in (*cuts, len(data)):
        request = parse_head(data[:cut], 0, seen)
        if request is not None:
            return request
        seen = cut
    return None


@pytest.mark.parametrize("name", GOOD)
def test_an_acceptable_head_is_understood(name: str) -> None:
    data, expected = GOOD[name]
    request = parse_head(data)
    assert request is not None
    assert shape(request) == expected
    assert request.end == len(data)


@pytest.mark.parametrize("name", GOOD)
def test_splitting_an_acceptable_head_at_any_byte_changes_nothing(name: str) -> None:
    data, expected = GOOD[name]
    for cut in range(len(data)):
        assert parse_head(data[:cut]) is None
        request = in_pieces(data, [cut])
        assert request is not None
        assert shape(request) == expected


@pytest.mark.parametrize("name", GOOD)
def test_a_head_may_arrive_byte_by_byte(name: str) -> None:
    data, expected = GOOD[name]
    request = in_pieces(data, list(range(1, len(data))))
    assert request is not None
    assert shape(request) == expected


@pytest.mark.parametrize("name", GOOD)
def test_a_head_is_found_behind_other_bytes(name: str) -> None:
    data, expected = GOOD[name]
    request = parse_head(b"zz" + data + b"GET /next", 2)
    assert request is not None
    assert shape(request) == expected
    assert request.end == 2 + len(data)


@pytest.mark.parametrize("name", BAD)
def test_an_unacceptable_head_is_refused(name: str) -> None:
    status, data = BAD[name]
    with pytest.raises(WireError) as caught:
        parse_head(data)
    assert caught.value.status == status
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize("name", BAD)
def test_an_unacceptable_head_is_refused_however_it_arrives(name: str) -> None:
    status, data = BAD[name]
    for cut in {*range(min(len(data), 90)), len(data) // 2, len(data) - 1}:
        with pytest.raises(WireError) as caught:
            in_pieces(data, [cut])
        assert caught.value.status in (status, 400)


def test_a_body_may_be_announced_by_length_or_chunks() -> None:
    request = parse_head(BODY + b"Content-Length: 007\r\n\r\n")
    assert request is not None
    assert (request.fields.length, request.fields.chunked, request.fields.has_body) == (
        7,
        False,
        True,
    )
    request = parse_head(BODY + b"Transfer-Encoding: chunked\r\n\r\n")
    assert request is not None
    assert (request.fields.length, request.fields.chunked, request.fields.has_body) == (
        -1,
        True,
        True,
    )


def test_field_names_are_lower_cased_and_values_trimmed_and_joined() -> None:
    request = parse_head(LINE + b"hOST:\t H:80 \r\nAccept: a\r\nACCEPT:b\r\n\r\n")
    assert request is not None
    assert request.fields.host == b"h"
    assert request.fields.get(b"accept") == b"a, b"
    assert request.fields.get(b"absent") is None


def test_a_message_shows_at_most_an_excerpt_in_ascii() -> None:
    with pytest.raises(WireError) as caught:
        parse_head(b"GET /" + b"\xff" * 5000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert caught.value.detail.isascii()
    assert len(caught.value.detail) < 300


FRAGMENTS = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"GET", b"PUT", b"/", b"/v1/kv/a", b"*",
        b"HTTP/1.1", b"HTTP/1.0", b"Host", b"h", b"Content-Length", b"5", b"Transfer-Encoding",
        b"chunked", b"GET /a HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n\r\n", b"http://h", b"\xff",
    ]
)  # fmt: skip


@given(st.one_of(st.binary(max_size=400), st.lists(FRAGMENTS, max_size=25).map(b"".join)))
def test_no_bytes_make_the_parser_raise_anything_but_a_refusal(data: bytes) -> None:
    try:
        request = parse_head(data)
    except WireError as error:
        request, status = None, error.status
    else:
        status = 200
    assert status in (200, 400, 414, 431)
    assert request is None or request.end <= len(data)


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.data())
def test_what_is_accepted_whole_is_accepted_in_pieces(data: bytes, draw: st.DataObject) -> None:
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=4).map(sorted))
    try:
        request = parse_head(data)
    except WireError:
        with pytest.raises(WireError):
            in_pieces(data, cuts)
        return
    pieced = in_pieces(data, cuts)
    assert (request is None) == (pieced is None)
    if request is not None and pieced is not None:
        assert shape(request) == shape(pieced)
        assert request.end == pieced.end


def test_the_limits_are_those_the_head_limit_allows() -> None:
    fields = b"".join(b"X%d: " % n + b"y" * 400 + b"\r\n" for n in range(60))
    data = LINE + HOST + fields + b"\r\n"
    assert len(data) < HEAD_LIMIT
    assert parse_head(data) is not None
