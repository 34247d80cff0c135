"""The encoding of files: what is written comes back, and nothing else comes."""

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dumbkv
from dumbkv._record import (
    DUMP,
    HEADER_SIZE,
    KINDS,
    LOG,
    Clear,
    Delete,
    End,
    Expire,
    Header,
    Operation,
    Reader,
    Set,
    Synced,
    Writer,
    decode,
    encode,
    kind,
    new_header,
)

HEADER = Header(LOG, 1_800_000_000_000_000, bytes(range(16)))

keys = st.binary(min_size=1, max_size=30) | st.sampled_from([b"\x00", b"k" * 65535])
values = st.binary(max_size=60) | st.just(bytes(70_000))
versions = st.integers(1, 2**63 - 1)
expiries = st.integers(0, 10**17)
operations: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Set, keys, values, versions, expiries),
    st.builds(Delete, keys),
    st.builds(Clear),
    st.builds(Expire, keys, expiries),
    st.builds(End, st.integers(0, 2**64 - 1)),
    st.builds(Synced, st.integers(0, 2**64 - 1)),
)
bodies = st.lists(operations, min_size=1, max_size=5)


def file_of(records: Iterable[list[Operation]], header: Header = HEADER) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header)
    for record in records:
        writer.write(encode(record))
    assert writer.offset == len(file.getvalue())
    return file.getvalue()


def read(data: bytes, most: int = 2**32 - 1) -> list[list[Operation]]:
    return [record for _, record in Reader(io.BytesIO(data), "a.log", most)]


def resealed(body: bytes, header: Header = HEADER) -> bytes:
    """A file of one record with this body, whatever it is, under a checksum that fits."""
    file = io.BytesIO()
    Writer(file, header).write(body)
    return file.getvalue()


SMALL: list[list[Operation]] = [
    [Set(b"key", b"value", 7), Delete(b"other")],
    [Clear()],
    [Expire(b"key", 1_800_000_000_000_000), Set(b"a", b"", 8, 9)],
    [Synced(100), Delete(b"a")],
    [End(2)],
]


@given(body=bodies)
def test_operations_come_back_from_a_body(body: list[Operation]) -> None:
    found = decode(encode(body))
    assert found == body
    assert list(map(type, found)) == list(map(type, body))


@given(records=st.lists(bodies, max_size=5), of=st.sampled_from(list(KINDS)))
def test_records_come_back_from_a_file(records: list[list[Operation]], of: int) -> None:
    header = new_header(of)
    reader = Reader(io.BytesIO(file_of(records, header)), "a.log")
    assert reader.header == header
    assert [record for _, record in reader] == records
    assert reader.offset == reader.size


def test_every_flipped_bit_is_seen() -> None:
    data = file_of(SMALL)
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(dumbkv.CorruptError, match=r"a\.log: at byte \d+: ."):
            read(bytes(flipped))


def test_a_cut_leaves_whole_records_or_is_seen() -> None:
    data = file_of(SMALL)
    ends = {len(file_of(SMALL[:n])): SMALL[:n] for n in range(len(SMALL) + 1)}
    for size in range(len(data)):
        if size in ends:
            assert read(data[:size]) == ends[size]
        else:
            with pytest.raises(dumbkv.CorruptError):
                read(data[:size])


@given(noise=st.binary(max_size=200), behind=st.booleans())
def test_noise_is_seen(noise: bytes, behind: bool) -> None:
    data = file_of(SMALL) + noise if behind else noise
    if noise or not behind:
        with pytest.raises(dumbkv.CorruptError):
            read(data)


@given(body=st.binary(min_size=1, max_size=80) | bodies.map(encode).map(lambda b: b[:-1] or b"!"))
def test_a_body_of_anything_is_operations_or_damage(body: bytes) -> None:
    try:
        found = decode(body)
    except dumbkv.CorruptError:
        return
    assert encode(found) == body


def test_a_record_fits_only_its_place_and_its_file() -> None:
    body = encode([Set(b"key", b"value", 7)])
    size = 8 + len(body)
    other = Header(LOG, HEADER.created, bytes(16))
    data = file_of([decode(body)] * 3)
    records = [data[HEADER_SIZE + n * size :][:size] for n in range(3)]
    foreign = file_of([decode(body)], other)[HEADER_SIZE:]
    assert len(foreign) == size
    begin = data[:HEADER_SIZE]
    for wrong in ([1, 0, 2], [0, 0], [0, 2], [1]):
        with pytest.raises(dumbkv.CorruptError, match="the checksum does not fit"):
            read(begin + b"".join(records[n] for n in wrong))
    with pytest.raises(dumbkv.CorruptError, match="at byte 40: the checksum does not fit"):
        read(begin + foreign)


@pytest.mark.parametrize(
    ("data", "offset", "what"),
    [
        (b"", 0, "the file is empty"),
        (b"\x89DK", 3, "the file ends in the middle of its header"),
        (b"\x89DKV\n\x1a\n" + bytes(50), 0, "not a DumbKV file"),
        (b"SQLite format 3\x00" + bytes(50), 0, "not a DumbKV file"),
        (HEADER.encode()[:39], 39, "the file ends in the middle of its header"),
        (HEADER.encode() + b"\x01\x00\x00", 40, "the file ends in the middle of a record's head"),
        (HEADER.encode() + bytes(8), 40, "a record of 0 bytes: expected at least 1"),
        (
            HEADER.encode() + b"\xff\xff\xff\xff" + bytes(9),
            40,
            "a record of 4294967295 bytes, and only 5 are left in the file",
        ),
        (resealed(b"\x00"), 48, "an operation of kind 0: expected 1 to 6"),
        (resealed(b"\x03\x07"), 49, "an operation of kind 7: expected 1 to 6"),
        (resealed(b"\x03\x02\x01"), 49, "an operation is cut"),
        (resealed(b"\x02\x04\x00key"), 48, "a key of 4 bytes, and only 3 are left"),
        (resealed(encode([Delete(b"")])), 48, "an empty key"),
        (resealed(encode([Set(b"", b"", 1)])), 48, "an empty key"),
        (resealed(encode([Set(b"a", b"", 0)])), 48, "version 0: expected 1 to"),
        (resealed(encode([Set(b"a", b"", 2**63)])), 48, "version 9223372036854775808: expected"),
        (resealed(encode([Set(b"a", b"", 1, -1)])), 48, "expiry -1: expected microseconds"),
        (resealed(encode([Expire(b"a", 10**17 + 1)])), 48, "expiry 100000000000000001: expected"),
        (
            resealed(struct.pack("<BHIQq", 1, 1, 2**32 - 1, 1, 0) + b"a"),
            48,
            "a value of 4294967295 bytes, and only 0 are left",
        ),
        (
            resealed(struct.pack("<BHIQq", 1, 9, 0, 1, 0) + b"a"),
            48,
            "a key of 9 bytes, and only 1 are left",
        ),
    ],
)
def test_damage_is_named_with_its_place(data: bytes, offset: int, what: str) -> None:
    with pytest.raises(dumbkv.CorruptError) as caught:
        read(data)
    assert caught.value.path == "a.log"
    assert caught.value.offset == offset
    assert what in caught.value.what
    assert str(caught.value) == f"a.log: at byte {offset}: {caught.value.what}"


def test_another_version_or_kind_of_file_is_named() -> None:
    for at, byte, what in (
        (8, 2, "this is format version 2, and this DumbKV reads version 1"),
        (10, 4, "this is a file of kind 4: expected 1 to 3"),
    ):
        fields = bytearray(HEADER.encode()[:36])
        fields[at] = byte
        with pytest.raises(dumbkv.CorruptError, match=what):
            read(bytes(fields) + struct.pack("<I", zlib.crc32(fields)))


def test_a_long_record_is_checked_and_refused_without_holding_it() -> None:
    data = file_of([[Set(b"large", random.randbytes(20_000_000), 1)]])
    damaged = bytearray(data)
    damaged[-1] ^= 1
    file, broken = io.BytesIO(data), io.BytesIO(damaged)
    tracemalloc.start()
    with pytest.raises(dumbkv.TooLargeError, match="a record of 20000028 bytes at byte 40"):
        list(Reader(file, "a.log", most=65536))
    with pytest.raises(dumbkv.CorruptError, match="the checksum does not fit"):
        list(Reader(broken, "a.log", most=65536))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_each_kind_has_its_number() -> None:
    every: list[Operation] = [Set(b"a", b"", 1), Delete(b"a"), Clear(), Expire(b"a", 1)]
    every += [End(0), Synced(0)]
    assert [kind(each) for each in every] == [1, 2, 3, 4, 5, 6]
    assert [encode([each])[0] for each in every] == [1, 2, 3, 4, 5, 6]


def test_two_files_have_two_numbers() -> None:
    assert new_header(DUMP).number != new_header(DUMP).number


def test_an_error_of_damage_survives_being_sent_to_another_process() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(dumbkv.CorruptError("a.dump", 7, "wrong")))
    assert (error.path, error.offset, error.what) == ("a.dump", 7, "wrong")
