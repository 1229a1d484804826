"""Packed values whose bytes somebody forged: a value or a named error, in bounded memory.

The bytes of a cell come from the file.  What is forged here is what the core cannot judge: it
knows where a cell's bytes lie, and not what they mean.
"""

from __future__ import annotations

import contextlib
import re
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus
from ipaddress import ip_interface, ip_network
from pathlib import PurePosixPath
from uuid import UUID

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmemstore import PmemstoreError, PoolCorruptError
from pmemstore.values import DEPTH_MAX, pack_value, unpack

PACKED = 9
CODES = st.one_of(st.integers(0, 18), st.integers(31, 38), st.integers(0, 127))

SOUND = [
    (1, ("a", b"b", None, True, 2.5), frozenset([1, "x", (2, 3)])),
    (2**70, "\ud800", Decimal("1.50"), UUID(int=7), 1 + 2j, Fraction(1, 3), range(3, 9, 2)),
    (PurePosixPath("a/b"), HTTPStatus.OK, re.RegexFlag.A | re.RegexFlag.I),
    (ip_interface("10.0.0.1/8"), ip_network("fe80::/10")),
    (date(2024, 2, 29), datetime(2024, 1, 1, tzinfo=UTC), timedelta(1, 2, 3)),
]


def read(data: bytes) -> None:
    """Unpack, and look at the value; only the library's own errors may come."""
    with contextlib.suppress(PmemstoreError):
        value = unpack(PACKED, data)
        with contextlib.suppress(TypeError, ArithmeticError):
            hash(value)


def peak_of_reading(data: bytes) -> int:
    tracemalloc.start()
    try:
        read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def packed(obj: object) -> bytes:
    result: bytes = msgpack.packb(obj, unicode_errors="surrogatepass")
    return result


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1e5", "1/3", "nan", "America", "America/New_York", "../x", "zone.tab", ""]),
    st.sampled_from(["http:HTTPStatus", "OK", "os:system", "re:RegexFlag", "this:x", ":", "x:..y"]),
    st.sampled_from(["10.0.0.0/8", "::1%eth0", "fe80::/10", "300.1.1.1"]),
    st.binary(max_size=8),
    st.builds(msgpack.ExtType, CODES, st.binary(max_size=20)),
)
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.builds(lambda code, of: msgpack.ExtType(code, packed(of)), CODES, inner),
        st.builds(
            lambda code, of: msgpack.ExtType(code, packed(of)), CODES, st.lists(inner, max_size=4)
        ),
    ),
    max_leaves=12,
)


@given(tree=trees)
@settings(max_examples=400, deadline=None)
def test_forged_types_are_values_or_named_errors(tree: object) -> None:
    """Extension types around anything: never another exception."""
    read(packed(tree))


@given(value=st.sampled_from(SOUND), data=st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_values_are_values_or_named_errors(value: object, data: st.DataObject) -> None:
    """Flipped, changed, missing and inserted bytes of sound values."""
    _, sound = pack_value(value)
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(damaged) - 1, 0)))
        change = data.draw(st.integers(0, 3))
        if change == 0:
            damaged[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif change == 1:
            del damaged[at : at + data.draw(st.integers(1, 4))]
        elif change == 2:
            damaged[at:at] = data.draw(st.binary(max_size=5))
        else:
            damaged[at:] = damaged[at:] + sound[: data.draw(st.integers(0, 9))]
    read(bytes(damaged))


@pytest.mark.parametrize(
    "fields",
    [("1e100000000",), ("1e100000000", 1), (10**9, 0, "abcd"), (10**9, "abcd", 1), ("x", 0, 10**9)],
    ids=str,
)
@pytest.mark.parametrize("code", [*range(1, 17), *range(32, 37)])
def test_text_in_place_of_a_number_is_not_computed(code: int, fields: tuple[object, ...]) -> None:
    """A fraction of 14 bytes once took minutes, and a range 400 MB: their fields were texts."""
    data = packed(msgpack.ExtType(code, packed(list(fields))))
    assert peak_of_reading(data) < 1 << 20


@pytest.mark.parametrize("header", [b"\xdd\x00\x01\x00\x00", b"\xdc\xff\xff"], ids=["32", "16"])
def test_arrays_that_say_too_much_take_no_memory(header: bytes) -> None:
    """Each of many nested arrays once got memory for as many items as the whole has bytes."""
    data = header * 900 + b"\xc0" * 70_000
    with pytest.raises(PoolCorruptError):
        unpack(PACKED, data)
    assert peak_of_reading(data) < 100 * len(data)


def test_deep_nesting_is_a_named_error() -> None:
    """Deeper than any value that is written, as arrays, as frozensets and as both in turn."""
    arrays = b"\x91" * 1000 + b"\xc0"
    sets = packed(None)
    for _ in range(DEPTH_MAX + 50):
        sets = packed(msgpack.ExtType(3, b"\x91" + sets))
    for data in (arrays, sets):
        with pytest.raises(PoolCorruptError):
            unpack(PACKED, data)
        assert peak_of_reading(data) < 1 << 20
