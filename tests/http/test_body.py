"""Bodies from pieces: by length, and chunked with each malformation it can have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dumbkv_http.body import ChunkedBody, LengthBody, body_reader
from dumbkv_http.wire import WireError, parse_fields

CHUNKED = {
    "no data": (b"0\r\n\r\n", b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "two chunks": (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    "capital hexadecimal": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "leading zeros": (b"00000001\r\nx\r\n000\r\n\r\n", b"x"),
    "extensions": (b'1;a=b;c="d e"\r\nx\r\n0;last\r\n\r\n', b"x"),
    "trailers": (b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", b"x"),
    "data that looks like chunks": (b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n", b"0\r\n\r\nab"),
}

MALFORMED = {
    "no size": (400, b"\r\nhello"),
    "a size with a sign": (400, b"+5\r\nhello\r\n0\r\n\r\n"),
    "a size with 0x": (400, b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a size with a space": (400, b"5 \r\nhello\r\n0\r\n\r\n"),
    "a size of 9 digits": (400, b"000000005\r\nhello\r\n0\r\n\r\n"),
    "an underscore in the size": (400, b"1_0\r\nhello"),
    "a negative size": (400, b"-5\r\nhello"),
    "a bare LF after the size": (400, b"5\nhello\r\n0\r\n\r\n"),
    "a bare CR in the extension": (400, b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    "a bare LF in the extension": (400, b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "NUL in the extension": (400, b"5;\0\r\nhello\r\n0\r\n\r\n"),
    "an extension too long": (400, b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    "an extension that never ends": (400, b"5;" + b"a" * 300),
    "no CRLF after the data": (400, b"5\r\nhelloX\r\n0\r\n\r\n"),
    "a bare LF after the data": (400, b"5\r\nhello\n0\r\n\r\n"),
    "data longer than its size": (400, b"4\r\nhello\r\n0\r\n\r\n"),
    "over the limit in one chunk": (413, b"65\r\n"),
    "over the limit in two": (413, b"64\r\n" + b"x" * 100 + b"\r\n1\r\n"),
    "a huge size": (413, b"ffffffff\r\n"),
    "a folded trailer": (400, b"0\r\nA: b\r\n c\r\n\r\n"),
    "a trailer without a colon": (400, b"0\r\nnonsense\r\n\r\n"),
    "a trailer with a bare LF": (400, b"0\r\nA: b\nC: d\r\n\r\n"),
    "too many trailers": (431, b"0\r\n" + b"A: b\r\n" * 17 + b"\r\n"),
    "trailers too long": (431, b"0\r\n" + (b"A: " + b"b" * 1500 + b"\r\n") * 3 + b"\r\n"),
    "a trailer that never ends": (400, b"0\r\nA: " + b"b" * 5000),
}


def feed(body: ChunkedBody | LengthBody, data: bytes, cuts: list[int]) -> bytes:
    """Feeds the pieces; the answer is what the body did not take."""
    left = b""
    start = 0
    for cut in (*cuts, len(data)):
        left += data[start:cut]
        start = cut
        left = left[body.feed(left, 0) :]
    return left


@pytest.mark.parametrize("name", CHUNKED)
def test_a_chunked_body_is_read_however_it_is_split(name: str) -> None:
    data, expected = CHUNKED[name]
    for cuts in ([], list(range(len(data))), *([cut] for cut in range(len(data)))):
        body = ChunkedBody(100)
        assert feed(body, data + b"GET ", cuts) == b"GET "
        assert body.done
        assert bytes(body.data) == expected


@pytest.mark.parametrize("name", CHUNKED)
def test_a_chunked_body_cut_short_is_not_done(name: str) -> None:
    data, _ = CHUNKED[name]
    for cut in range(len(data)):
        body = ChunkedBody(100)
        body.feed(data[:cut], 0)
        assert not body.done


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_chunked_body_is_refused(name: str) -> None:
    status, data = MALFORMED[name]
    for cuts in ([], list(range(len(data)))):
        with pytest.raises(WireError) as caught:
            feed(ChunkedBody(100), data, cuts)
        assert caught.value.status == status


def test_a_length_over_the_limit_is_refused_before_reading() -> None:
    fields = parse_fields(b"Host: h\r\nContent-Length: 101\r\n")
    with pytest.raises(WireError) as caught:
        body_reader(fields, 100)
    assert caught.value.status == 413
    assert "at most 100 bytes, got 101" in caught.value.detail


@given(st.binary(max_size=50), st.binary(max_size=20), st.data())
def test_a_body_by_length_takes_its_bytes_and_no_more(
    data: bytes, rest: bytes, draw: st.DataObject
) -> None:
    body = LengthBody(len(data))
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=3).map(sorted))
    assert feed(body, data + rest, cuts) == rest
    assert body.done
    assert bytes(body.data) == data


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.data())
def test_chunks_come_out_as_they_went_in(chunks: list[bytes], draw: st.DataObject) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    body = ChunkedBody(100)
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=5).map(sorted))
    assert feed(body, data, cuts) == b""
    assert bytes(body.data) == b"".join(chunks)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise_anything_but_a_refusal(data: bytes) -> None:
    body = ChunkedBody(100)
    try:
        body.feed(data, 0)
    except WireError as error:
        status = error.status
    else:
        status = 200
    assert status in (200, 400, 413, 431)
    assert len(body.data) <= 100
