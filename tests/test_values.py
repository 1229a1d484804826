"""Values and keys as bytes: the types, their equality, and the bytes themselves."""

import contextlib
import math
import socket
import sys
import threading
from collections import OrderedDict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import NotPersistableError, PoolCorruptError
from pmemstore.values import DEPTH_MAX, pack_key, pack_value, unpack

NEW_YORK = ZoneInfo("America/New_York")
PACKED = 9

VALUES: list[Any] = [
    (),
    (1, "a", None, True, 2.5, b"x", (1,)),
    frozenset(),
    frozenset([1, "a", (2,)]),
    2**63,
    -(2**63) - 1,
    10**100,
    -(10**100),
    (2**70, -(2**70), 2**63, 2**64),
    Decimal("1.10"),
    Decimal("-0"),
    Decimal("sNaN"),
    Decimal("1E+99999"),
    UUID(int=7),
    1 + 2j,
    complex(-0.0, -0.0),
    Fraction(1, 3),
    Fraction(10**40, 7),
    range(3),
    range(2**70, 0, -3),
    datetime(2024, 3, 4, 5, 6, 7, 8),
    datetime(2024, 3, 4, tzinfo=UTC),
    datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=NEW_YORK),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-2, microseconds=1), "X")),
    datetime.min,
    datetime.max,
    date(1, 1, 1),
    time(1, 2, 3, 4, fold=1),
    time(1, tzinfo=NEW_YORK),
    timedelta(days=-3, microseconds=1),
    "lone \ud800 surrogate",
    ("\udfff", "é", "nul \0 inside"),
    "",
    "x" * 100_000,
    b"\0" * 100_000,
    math.inf,
    -0.0,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_value_comes_back_with_its_type(value: Any, pool: pmemstore.Pool) -> None:
    """What is read equals what was written, in type, value and text."""
    pool.root["value"] = value
    pool.root["list"] = [value]
    for found in (pool.root["value"], pool.root["list"][0]):
        assert type(found) is type(value)
        if isinstance(value, frozenset):
            assert found == value  # its text depends on its history
        else:
            assert repr(found) == repr(value)


def test_nan_comes_back_as_nan(pool: pmemstore.Pool) -> None:
    """A NaN stays one, bare and inside a tuple."""
    pool.root["n"] = math.nan
    pool.root["t"] = (math.nan,)
    assert math.isnan(pool.root["n"])
    assert math.isnan(pool.root["t"][0])


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec=None, categories=None)),  # with surrogates
    st.binary(max_size=20),
    st.decimals(allow_nan=False, places=3),
    st.fractions(),
    st.uuids(),
    st.complex_numbers(allow_nan=False),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(UTC), st.just(NEW_YORK))),
    st.timedeltas(),
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=NESTED)
@settings(max_examples=150, deadline=None)
def test_any_nested_value_round_trips(value: Any) -> None:
    """unpack(pack(v)) == v for every immutable value, however nested."""
    tag, data = pack_value(value)
    found = unpack(tag, data)
    assert type(found) is type(value)
    assert found == value


# Equal keys stand on one line.
EQUAL_KEYS: list[list[Any]] = [
    [1, True, 1.0, Decimal(1), Fraction(1), complex(1, 0)],
    [0, False, 0.0, -0.0, Decimal("-0"), 0j],
    [0.5, Decimal("0.5"), Fraction(1, 2)],
    [Decimal("0.1"), Fraction(1, 10)],
    [0.1],
    [2**64, 2.0**64, Decimal(2**64), Fraction(2**64)],
    [2**64 + 1, Decimal(2**64 + 1)],
    [2**63, 2.0**63],
    [-(2**63), -(2.0**63)],
    [10**300, Decimal("1E300")],
    [1e300, int(1e300)],
    [math.inf, Decimal("Infinity")],
    [1 + 2j],
    [(1, 2.0), (True, 2), (Decimal(1), Fraction(2))],
    [(2, 1)],
    [((1,),), ((1.0,),)],
    [(1 + 2j,)],
    [(2**70,)],
    [(-0.0,), (0,)],
    [frozenset([1, 2]), frozenset([2.0, True])],
    [frozenset([frozenset()])],
    ["1"],
    [b"1"],
    [("1",)],
    [(b"1",)],
    [None],
    [(None,)],
    [""],
    ["\ud800"],
    [("\ud800",)],
    [datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 7, tzinfo=NEW_YORK)],
    [datetime(2024, 1, 1, 12)],
    [datetime(2024, 11, 3, 1, 30, tzinfo=NEW_YORK).replace(fold=f) for f in (0, 1)],
    [datetime(2024, 3, 10, 2, 30, tzinfo=NEW_YORK)],
    [datetime(2024, 3, 10, 3, 30, tzinfo=NEW_YORK)],
    [date(2024, 1, 1)],
    [time(12), time(12, tzinfo=NEW_YORK)],
    [time(12, tzinfo=UTC), time(13, tzinfo=timezone(timedelta(hours=1)))],
    [timedelta(1), timedelta(hours=24)],
    [range(0), range(2, 1)],
    [range(1, 2), range(1, 9, 100)],
    [range(0, 4, 2), range(0, 3, 2)],
    [range(10, 0, -3), range(10, -1, -3)],
    [UUID(int=1)],
    [Fraction(-1, 3)],
]


def test_equal_keys_are_one_key_and_others_are_not(direct_pool: pmemstore.Pool) -> None:
    """A Dict and a dict agree on which keys are the same, for each pair of the table."""
    keys = [key for line in EQUAL_KEYS for key in line]
    for line in EQUAL_KEYS:
        assert len(dict.fromkeys(line)) == 1  # the table is right
    stored = direct_pool.root["keys"] = {}
    stored = direct_pool.root["keys"]
    model: dict[Any, int] = {}
    for number, key in enumerate(keys):
        stored[key] = model[key] = number
        assert stored[key] == number
    assert len(stored) == len(model) == len(EQUAL_KEYS)
    for key in keys:
        assert stored[key] == model[key], key
    assert list(stored) == list(model)


def test_first_key_stays(direct_pool: pmemstore.Pool) -> None:
    """As in a dict, the key put first is the key that is listed."""
    for first, second in [((1, 2.0), (True, 2)), (2**64, 2.0**64), (2.0**64, 2**64), (1.0, 1)]:
        direct_pool.root["d"] = {first: 1}
        direct_pool.root["d"][second] = 2
        assert repr(direct_pool.root["d"]) == repr({first: 2})


def test_every_nan_is_the_same_key(direct_pool: pmemstore.Pool) -> None:
    """Unlike a dict, which compares NaNs by identity: a file has no identities."""
    direct_pool.root["d"] = {math.nan: 1}
    assert direct_pool.root["d"][float("nan")] == 1


class Text(str):
    __slots__ = ()


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "object: cannot be kept"),
        ((1, (2, object())), r"\[1\]\[1\]: object: cannot be kept"),
        ((1, [2]), r"\[1\]: list: cannot be kept.*tuple\(\)"),
        ({"a": [1, {"b": socket.socket}]}, r"\['a'\]\[1\]\['b'\]: type: cannot be kept"),
        ([[(1, object())]], r"\[0\]\[0\]\[1\]: object"),
        (Text("x"), r"Text: .*subclass of str"),
        (Point(1, 2), r"Point: .*tuple\(\)"),
        (OrderedDict(a=1), r"collections.OrderedDict: .*dict\(\)"),
        (bytearray(b"x"), r"bytearray: .*bytes\(\)"),
        (({1, 2},), r"\[0\]: set: .*frozenset\(\)"),
        ((deque([1]),), r"\[0\]: collections.deque: .*tuple\(\)"),
    ],
)
def test_refusal_names_the_place_and_the_remedy(
    value: Any, message: str, direct_pool: pmemstore.Pool
) -> None:
    """NotPersistableError says what, where inside the value, and what to convert it to."""
    with pytest.raises(NotPersistableError, match=message):
        direct_pool.root["x"] = value
    assert "x" not in direct_pool.root


@pytest.mark.parametrize("key", [[], {}, set(), (1, []), bytearray()])
def test_unhashable_key_is_the_builtin_typeerror(key: Any, direct_pool: pmemstore.Pool) -> None:
    """The message is that of a dict."""
    with pytest.raises(TypeError, match="unhashable type"):
        direct_pool.root[key] = 1
    with pytest.raises(TypeError, match="unhashable type"):
        direct_pool.root[key]


def test_depth_is_limited_with_a_clear_message() -> None:
    """A value that nests tuples too deep is refused, not a crash."""
    value: Any = ()
    for _ in range(DEPTH_MAX + 1):
        value = (value,)
    with pytest.raises(NotPersistableError, match="may nest 200"):
        pack_value(value)
    assert unpack(*pack_value(value[0][0])) == value[0][0]


@pytest.mark.parametrize(
    "data",
    [b"", b"\x81\x01\x02", b"\xc7\x01\x63a", b"\xc1", b"\x91", b"\xd4\x04\xff", b"\xc7\x00\x0b"],
)
def test_damaged_value_is_a_named_error(data: bytes) -> None:
    """Bytes that no pack_value makes give PoolCorruptError."""
    with pytest.raises(PoolCorruptError):
        unpack(PACKED, data)


@given(data=st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_value_or_a_named_error(data: bytes) -> None:
    """Hostile bytes never give another exception."""
    with contextlib.suppress(PoolCorruptError):
        unpack(PACKED, data)


def test_unknown_zone_is_no_keyerror() -> None:
    """A zone that the machine lacks must not look like a missing key."""
    _, data = pack_value(datetime(2024, 1, 1, tzinfo=NEW_YORK))
    with pytest.raises(pmemstore.PmemstoreError, match="tzdata"):
        unpack(PACKED, data.replace(b"New_York", b"Nowhere!"))


def test_bytes_are_those_of_format_1() -> None:
    """The bytes are part of the file format: they never change."""
    expected = {
        (1, "a"): "9201a161",
        frozenset([1]): "d5039101",
        2**64: "000000000000000001",
        (2**64,): "91c70901000000000000000001",
        ("\ud800",): "91c70302eda080",
        Decimal("1.5"): "c70304312e35",
        UUID(int=1): "d80500000000000000000000000000000001",
        1 + 2j: "d806000000000000f03f0000000000000040",
        Fraction(1, 3): "c70307920103",
        range(3): "d60893000301",
        date(2024, 1, 1): "c7060991ce000b4646",
        time(1): "d70a93ced693a40000c0",
        datetime(2024, 1, 1, tzinfo=UTC): "c7090b94ce000b4646000000",
        timedelta(1): "d60c93010000",
    }
    for value, text in expected.items():
        assert pack_value(value)[1].hex() == text, value


@given(one=NESTED, other=NESTED)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_images_are_equal_exactly_when_keys_are(one: Any, other: Any) -> None:
    """The image of a key is a function of its equality class."""
    images = [pack_key((key,))[0] for key in (one, other)]
    assert (images[0] == images[1]) == ((one,) == (other,))


def test_too_little_stack_is_no_damage() -> None:
    """A value that is deeper than the caller's stack is RecursionError; nothing is damaged."""
    value: Any = frozenset()
    for _ in range(DEPTH_MAX - 2):
        value = frozenset({value})
    packed = pack_value(value)

    def dive(depth: int) -> None:
        if depth:
            dive(depth - 1)
        else:
            unpack(*packed)

    with pytest.raises(RecursionError):
        dive(sys.getrecursionlimit() - 150)
    assert pack_value(unpack(*packed)) == packed


def test_deepest_value_needs_little_of_the_c_stack() -> None:
    """Unpacking must not nest calls of the C unpacker: each would take 40 KiB."""
    values: list[Any] = [(), frozenset()]
    for _ in range(DEPTH_MAX - 1):
        values = [(values[0],), frozenset({values[1]})]
    packed = [pack_value(value) for value in values]
    found = []
    old = threading.stack_size(512 << 10)
    try:
        thread = threading.Thread(target=lambda: found.extend(unpack(*pair) for pair in packed))
        thread.start()
    finally:
        threading.stack_size(old)
    thread.join()
    assert [pack_value(value) for value in found] == packed


@pytest.mark.parametrize("code", [3, 7, 10, 12])
@pytest.mark.parametrize("levels", [DEPTH_MAX + 1, 5000])
def test_deeper_than_any_value_is_damage(code: int, levels: int) -> None:
    tag, data = pack_value(frozenset())
    for _ in range(levels):
        data = msgpack.packb(msgpack.ExtType(code, b"\x91" + data))
    with pytest.raises(PoolCorruptError):
        unpack(tag, data)


def test_foreign_msgpack_is_damage() -> None:
    tag, _ = pack_value(())
    for obj in (msgpack.Timestamp(0, 0), {}, msgpack.ExtType(99, b""), msgpack.ExtType(3, b"\x01")):
        with pytest.raises(PoolCorruptError):
            unpack(tag, msgpack.packb((obj,)))
