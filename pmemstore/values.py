"""Values and keys as bytes: msgpack with extension types.  No pickle anywhere.

None, bool, int of 64 bits, float, str and bytes have cells of their own and never come here.
An int of any size becomes ``BIGINT``, little-endian two's complement.  All else is ``PACKED``:
one msgpack object, made of nil, bool, int, float64, str, bin, array (a tuple), and these
extension types, whose numbers are part of the file format:

====  ==================  =============================================================
code  type                contents
====  ==================  =============================================================
1     int                 beyond 64 bits: little-endian two's complement
2     str                 with lone surrogates: UTF-8 that encodes them like other code points
3     frozenset           array of the items, sorted by their bytes
4     Decimal             its text, ASCII
5     UUID                16 bytes, big-endian
6     complex             real and imaginary part, two little-endian doubles
7     Fraction            array: numerator, denominator
8     range               array: start, stop, step
9     date                array: proleptic ordinal
10    time                array: microseconds of the day, fold, zone
11    datetime            array: proleptic ordinal, microseconds of the day, fold, zone
12    timedelta           array: days, seconds, microseconds
32    number (key)        array: numerator, denominator; a fraction that no double equals
33    complex (key)       array: real, imaginary part, as numbers
34    datetime (key)      array: microseconds in UTC since 0001-01-01
35    time (key)          array: microseconds in UTC, may be negative
36    range (key)         array: length, start, step; zeroes where they do not matter
====  ==================  =============================================================

A zone is nil (naive), an int (fixed offset, microseconds), an array of offset and name, or the
str key of a zone of the IANA database.  A str with lone surrogates works everywhere; its bytes
are those of ``str.encode("utf-8", "surrogatepass")``.

Keys are compared by their *image*, which is the same for keys that are equal in Python:
``(1, 2.0)`` and ``(True, 2)``, ``Decimal("0.5")`` and ``0.5``, aware datetimes that mean the
same instant.  The key that was put first is kept beside its image when they differ; but a
Decimal, Fraction or complex that equals an int of 64 bits, or a float, is kept as that number.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgpack

from pmemstore._native import lib
from pmemstore.errors import NotPersistableError, PmemstoreError, PoolCorruptError

__all__ = ["not_persistable", "pack_key", "pack_value", "prefixed", "unpack"]

BIGINT: Final[int] = lib.PMS_TAG_BIGINT
PACKED: Final[int] = lib.PMS_TAG_PACKED

EXT_INT: Final = 1
EXT_STR: Final = 2
EXT_FROZENSET: Final = 3
EXT_DECIMAL: Final = 4
EXT_UUID: Final = 5
EXT_COMPLEX: Final = 6
EXT_FRACTION: Final = 7
EXT_RANGE: Final = 8
EXT_DATE: Final = 9
EXT_TIME: Final = 10
EXT_DATETIME: Final = 11
EXT_TIMEDELTA: Final = 12
EXT_NUMBER_KEY: Final = 32
EXT_COMPLEX_KEY: Final = 33
EXT_DATETIME_KEY: Final = 34
EXT_TIME_KEY: Final = 35
EXT_RANGE_KEY: Final = 36

#: Levels of tuples and frozensets inside one value.
DEPTH_MAX: Final = 200
#: Digits of a number that is compared exactly as a key.
KEY_DIGITS_MAX: Final = 5000

#: Bytes of a packed value that may say anything about its length.
UNTRUSTED_MIN: Final = 512

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_UINT_MAX: Final = 2**64 - 1
_MICROSECOND: Final = timedelta(microseconds=1)
_NAN: Final = math.nan


# ---- refusals ---------------------------------------------------------------------------


def not_persistable(obj: object, where: str = "", hint: str | None = None) -> NotPersistableError:
    """Make the exception for an object that no pool can keep.

    Args:
        obj: The object, wherever it is inside the value.
        where: Its place inside the value, like ``[3]['name']``; empty for the value itself.
        hint: What to do; found by the type if not given.

    Returns:
        The exception, not raised; ``prefixed`` puts an outer place before it.
    """
    kind = type(obj)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    return _refusal(where, name, hint if hint is not None else _hint(obj))


def prefixed(error: NotPersistableError, prefix: str) -> NotPersistableError:
    """Return the same refusal, seen from an object that holds the value at ``prefix``."""
    if error.parts is None:
        return error
    where, name, hint = error.parts
    return _refusal(prefix + where, name, hint)


def _refusal(where: str, name: str, hint: str) -> NotPersistableError:
    place = f"{where}: {name}" if where else name
    error = NotPersistableError(f"{place}: cannot be kept in a pool; {hint}")
    error.parts = (where, name, hint)
    return error


def _hint(obj: object) -> str:
    hint = _EXACT_HINTS.get(type(obj))
    if hint is not None:
        return hint
    for kind, hint in _HINTS:
        if isinstance(obj, kind):
            return hint
    if hasattr(obj, "dtype") and hasattr(obj, "item"):
        return "convert a numpy scalar with its item(), an array with its tolist()"
    return (
        "convert it to one of None, bool, int, float, complex, str, bytes, tuple, frozenset, "
        "dict, list, set, deque, range, datetime, date, time, timedelta, Decimal, Fraction, UUID"
    )


_EXACT_HINTS: dict[type, str] = {
    set: "inside a tuple or frozenset convert it with frozenset(), or make the outer one a list",
    deque: "inside a tuple or frozenset convert it with tuple(), or make the outer one a list",
    list: "inside a tuple or frozenset convert it with tuple(), or make the outer one a list",
    dict: "inside a tuple or frozenset convert it with tuple(d.items()), or make the outer one a "
    "list",
}
_HINTS: list[tuple[type | tuple[type, ...], str]] = [
    ((bytearray, memoryview), "convert it with bytes()"),
    (bool, "convert it with bool()"),
    (int, "a subclass of int would come back as int: convert it with int()"),
    (float, "a subclass of float would come back as float: convert it with float()"),
    (str, "a subclass of str would come back as str: convert it with str.__str__() or .value"),
    (bytes, "a subclass of bytes would come back as bytes: convert it with bytes()"),
    (tuple, "a subclass of tuple would come back as tuple: convert it with tuple()"),
    (dict, "only a plain dict becomes persistent: convert it with dict()"),
    (list, "only a plain list becomes persistent: convert it with list()"),
    (frozenset, "convert it with frozenset()"),
    (set, "only a plain set becomes persistent: convert it with set()"),
    (deque, "only a plain deque becomes persistent: convert it with collections.deque()"),
    (datetime, "only exact datetimes with a timezone, a ZoneInfo with a key, or none"),
    ((date, time, timedelta, Decimal, Fraction, UUID, complex, range), "its type is a subclass"),
]


# ---- values -----------------------------------------------------------------------------

_Encoder = Callable[[Any, str, int], Any]


def _pack(obj: Any) -> bytes:
    # A Packer of its own for each call: a shared one would need a lock between threads.
    packed: bytes = msgpack.packb(obj, strict_types=True, use_bin_type=True)
    return packed


def _ext(code: int, *items: Any) -> msgpack.ExtType:
    return msgpack.ExtType(code, _pack(list(items)))


def _int_bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _encode(obj: Any, where: str, depth: int) -> Any:
    """Turn a value into what msgpack packs; exact types only."""
    encoder = _ENCODERS.get(type(obj))
    if encoder is None:
        raise not_persistable(obj, where)
    return encoder(obj, where, depth)


def _same(obj: Any, where: str, depth: int) -> Any:
    return obj


def _encode_int(obj: int, where: str, depth: int) -> Any:
    if _INT_MIN <= obj <= _UINT_MAX:
        return obj
    return msgpack.ExtType(EXT_INT, _int_bytes(obj))


def _encode_str(obj: str, where: str, depth: int) -> Any:
    if obj.isascii():
        return obj
    try:
        obj.encode()
    except UnicodeEncodeError:
        return msgpack.ExtType(EXT_STR, obj.encode("utf-8", "surrogatepass"))
    return obj


def _deeper(obj: Any, where: str, depth: int) -> int:
    if depth >= DEPTH_MAX:
        raise not_persistable(
            obj, where, f"a value may nest {DEPTH_MAX} tuples and frozensets; use lists below that"
        )
    return depth + 1


def _encode_tuple(obj: tuple[Any, ...], where: str, depth: int) -> Any:
    depth = _deeper(obj, where, depth)
    return [_encode(item, f"{where}[{i}]", depth) for i, item in enumerate(obj)]


def _encode_frozenset(obj: frozenset[Any], where: str, depth: int) -> Any:
    depth = _deeper(obj, where, depth)
    return _joined(EXT_FROZENSET, [_pack(_encode(item, _in(where), depth)) for item in obj])


def _in(where: str) -> str:
    return f"{where}{{...}}"


def _joined(code: int, parts: list[bytes]) -> msgpack.ExtType:
    head: bytes = msgpack.Packer().pack_array_header(len(parts))
    return msgpack.ExtType(code, head + b"".join(sorted(parts)))


def _encode_decimal(obj: Decimal, where: str, depth: int) -> Any:
    return msgpack.ExtType(EXT_DECIMAL, str(obj).encode("ascii"))


def _encode_fraction(obj: Fraction, where: str, depth: int) -> Any:
    return _ext(
        EXT_FRACTION,
        _encode_int(obj.numerator, where, depth),
        _encode_int(obj.denominator, where, depth),
    )


def _encode_range(obj: range, where: str, depth: int) -> Any:
    return _ext(EXT_RANGE, *(_encode_int(n, where, depth) for n in (obj.start, obj.stop, obj.step)))


def _encode_time(obj: time, where: str, depth: int) -> Any:
    return _ext(EXT_TIME, _day_microseconds(obj), obj.fold, _zone(obj.tzinfo, obj, where))


def _encode_datetime(obj: datetime, where: str, depth: int) -> Any:
    zone = _zone(obj.tzinfo, obj, where)
    return _ext(EXT_DATETIME, obj.toordinal(), _day_microseconds(obj), obj.fold, zone)


def _day_microseconds(obj: time | datetime) -> int:
    return ((obj.hour * 60 + obj.minute) * 60 + obj.second) * 1_000_000 + obj.microsecond


def _zone(zone: tzinfo | None, obj: object, where: str) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None) // _MICROSECOND
        args = zone.__getinitargs__()  # type: ignore[attr-defined] # for pickle; the only name
        return [offset, _encode_str(args[1], where, 0)] if len(args) > 1 else offset
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    raise not_persistable(
        zone, f"{where}.tzinfo", "use a datetime.timezone, or a zoneinfo.ZoneInfo with a key"
    )


_ENCODERS: dict[type, _Encoder] = {
    type(None): _same,
    bool: _same,
    float: _same,
    bytes: _same,
    int: _encode_int,
    str: _encode_str,
    tuple: _encode_tuple,
    frozenset: _encode_frozenset,
    Decimal: _encode_decimal,
    UUID: lambda obj, where, depth: msgpack.ExtType(EXT_UUID, obj.bytes),
    complex: lambda obj, where, depth: msgpack.ExtType(
        EXT_COMPLEX, struct.pack("<dd", obj.real, obj.imag)
    ),
    Fraction: _encode_fraction,
    range: _encode_range,
    date: lambda obj, where, depth: _ext(EXT_DATE, obj.toordinal()),
    time: _encode_time,
    datetime: _encode_datetime,
    timedelta: lambda obj, where, depth: _ext(
        EXT_TIMEDELTA, obj.days, obj.seconds, obj.microseconds
    ),
}


def pack_value(obj: Any) -> tuple[int, bytes]:
    """Turn a value that has no cell of its own into bytes (hook of the C slots).

    Args:
        obj: Any object; a dict or list, and all subclasses, are refused here.

    Returns:
        Tag and bytes of the cell.

    Raises:
        NotPersistableError: The message names the type and its place inside the value.

    Example:
        >>> tag, data = pack_value((1, "a"))
        >>> data.hex()
        '9201a161'
        >>> unpack(tag, data)
        (1, 'a')
    """
    if type(obj) is int:
        return BIGINT, _int_bytes(obj)
    return PACKED, _pack(_encode(obj, "", 0))


# ---- back -------------------------------------------------------------------------------


_UNDECODABLE = (ValueError, TypeError, ArithmeticError, LookupError, struct.error)


def unpack(tag: int, data: bytes) -> Any:
    """Turn the bytes of a cell back into the value (hook of the C slots).

    Raises:
        PoolCorruptError: The bytes are none that ``pack_value`` or ``pack_key`` makes.
        PmemstoreError: A time zone that this machine does not know.
        RecursionError: The value nests deeper than the rest of the caller's stack allows.
    """
    if tag == BIGINT:
        return int.from_bytes(data, "little", signed=True)
    try:
        return _unpackb(data)
    except (ZoneInfoNotFoundError, OSError) as error:  # OSError: the name of a directory
        raise PmemstoreError(
            f"a stored time names a zone that this machine does not know: {error.args[-1]}. The "
            "value is unharmed; install the package tzdata and read it again."
        ) from error
    except _UNDECODABLE as error:
        raise PoolCorruptError(
            f"{len(data)} bytes of a packed value cannot be decoded: {error}. Nothing was "
            "changed; restore a backup, or delete the item."
        ) from error


def _unpackb(data: bytes) -> Any:
    return _revive(_raw(data), 0, _DECODERS)


def _fields(data: bytes) -> Any:
    return _revive(_raw(data), 0, _ATOMS)


def _ints(data: bytes) -> tuple[int, ...]:
    """Fields of a number or a range.  A str would be parsed, or repeated, beyond all bounds."""
    fields = _fields(data)
    if type(fields) is not tuple or not all(type(field) is int for field in fields):
        raise ValueError("a number is made of something else than ints")
    return fields


def _raw(data: bytes) -> Any:
    if len(data) > UNTRUSTED_MIN:
        # An array gets memory for as many items as it says, and arrays inside it again.  That is
        # no more than there are bytes if all of it is there; to skip it takes no memory.
        unpacker = msgpack.Unpacker(max_buffer_size=len(data))
        unpacker.feed(data)
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            raise ValueError("it ends too early") from None
    # Without a hook for extension types: the unpacker needs 40 KiB of the C stack for each call
    # that is inside another one, and a thread may have less than a deep value would take.
    return msgpack.unpackb(
        data, use_list=False, object_pairs_hook=_no_map, strict_map_key=True, timestamp=0
    )


def _no_map(pairs: Any) -> Any:
    raise ValueError("a msgpack map is never written here")


def _revive(obj: Any, depth: int, decoders: dict[int, Callable[[bytes], Any]]) -> Any:
    """Decode the extension types inside of what was unpacked."""
    kind = type(obj)
    if kind is tuple:
        return tuple(_revive_all(obj, depth, decoders))
    if kind is msgpack.ExtType:
        if obj.code == EXT_FROZENSET and decoders is _DECODERS:
            return frozenset(_revive_all(_raw(obj.data), depth, decoders))
        decoder = decoders.get(obj.code)
        if decoder is None:
            raise ValueError(f"extension type {obj.code} is unknown, or is not written there")
        return decoder(obj.data)
    if kind is msgpack.Timestamp:
        raise ValueError("a msgpack timestamp is never written here")
    return obj


def _revive_all(items: Any, depth: int, decoders: dict[int, Callable[[bytes], Any]]) -> list[Any]:
    if depth >= DEPTH_MAX:
        raise ValueError("it nests deeper than any value that is written")
    if type(items) is not tuple:
        raise ValueError("a frozenset without an array of items")
    done = []
    for item in items:
        done.append(_revive(item, depth + 1, decoders))
    return done


def _decode_zone(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    if isinstance(zone, str):
        return ZoneInfo(zone)
    if isinstance(zone, int):
        return UTC if zone == 0 else timezone(timedelta(microseconds=zone))
    offset, name = zone
    return timezone(timedelta(microseconds=offset), name)


def _clock(microseconds: int) -> tuple[int, int, int, int]:
    seconds, micro = divmod(microseconds, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return hour, minute, second, micro


def _decode_time(data: bytes) -> time:
    micro, fold, zone = _fields(data)
    return time(*_clock(micro), tzinfo=_decode_zone(zone), fold=fold)


def _decode_datetime(data: bytes) -> datetime:
    ordinal, micro, fold, zone = _fields(data)
    day = date.fromordinal(ordinal)
    return datetime(
        day.year, day.month, day.day, *_clock(micro), tzinfo=_decode_zone(zone), fold=fold
    )


def _decode_utc(data: bytes) -> datetime:
    (micro,) = _fields(data)
    return datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)


def _decode_utc_time(data: bytes) -> time:
    (micro,) = _fields(data)
    return time(*_clock(micro), tzinfo=UTC)


def _decode_range_key(data: bytes) -> range:
    length, start, step = _ints(data)
    return range(start, start + length * step, step) if length else range(0)


# What may be inside the other extension types.
_ATOMS: dict[int, Callable[[bytes], Any]] = {
    EXT_INT: lambda data: int.from_bytes(data, "little", signed=True),
    EXT_STR: lambda data: data.decode("utf-8", "surrogatepass"),
}
# Codes of key images stand alone when the key put first had exactly these bytes, which happens
# for none of them by construction; they decode all the same, for whoever dumps a pool.
_DECODERS: dict[int, Callable[[bytes], Any]] = {
    **_ATOMS,
    EXT_DECIMAL: lambda data: Decimal(data.decode("ascii")),
    EXT_UUID: lambda data: UUID(bytes=data),
    EXT_COMPLEX: lambda data: complex(*struct.unpack("<dd", data)),
    EXT_FRACTION: lambda data: Fraction(*_ints(data)),
    EXT_RANGE: lambda data: range(*_ints(data)),
    EXT_DATE: lambda data: date.fromordinal(*_fields(data)),
    EXT_TIME: _decode_time,
    EXT_DATETIME: _decode_datetime,
    EXT_TIMEDELTA: lambda data: timedelta(*_ints(data)),
    EXT_NUMBER_KEY: lambda data: Fraction(*_ints(data)),
    EXT_COMPLEX_KEY: lambda data: complex(*_fields(data)),
    EXT_DATETIME_KEY: _decode_utc,
    EXT_TIME_KEY: _decode_utc_time,
    EXT_RANGE_KEY: _decode_range_key,
}


# ---- keys -------------------------------------------------------------------------------


def pack_key(obj: Any) -> tuple[bytes | int | float, bytes | None]:
    """Turn a key into bytes (hook of the C slots).

    Args:
        obj: Any object but None, bool, str, bytes, an int of 64 bits, and a float that is not
            integral or fits such an int: the slots have the images of these.

    Returns:
        The image, and what gives the key back if the image does not.  An image that is an int
        or a float stands for that number: the key equals it, and is kept as this number.

    Raises:
        TypeError: The object is not hashable.
        NotPersistableError: It, or something inside it, cannot be kept in a pool.

    Example:
        >>> pack_key((1, 2.0))[0] == pack_key((True, 2))[0]
        True
    """
    image = _image(obj, "", 0)
    stored = _pack(_encode(obj, "", 0))
    if type(image) is int or type(image) is float:
        return image, stored
    packed = _pack(image)
    return packed, None if stored == packed else stored


def _image(obj: Any, where: str, depth: int) -> Any:
    """Turn a key into what msgpack packs, the same for all keys that are equal."""
    imager = _IMAGERS.get(type(obj))
    if imager is None:
        hash(obj)  # an unhashable object gives the builtin's TypeError
        raise not_persistable(obj, where)
    return imager(obj, where, depth)


def _image_float(obj: float, where: str, depth: int) -> Any:
    if not math.isfinite(obj):
        return _NAN if math.isnan(obj) else obj
    # An integral float is the int of its value, inside tuples too.
    return _image_int(int(obj), where, depth) if obj.is_integer() else obj


def _image_int(obj: int, where: str, depth: int) -> Any:
    obj = int(obj)  # True is 1
    return obj if _INT_MIN <= obj <= _INT_MAX else msgpack.ExtType(EXT_INT, _int_bytes(obj))


def _as_float(numerator: int, denominator: int) -> float | None:
    """Return the double that equals the fraction exactly, or None."""
    try:
        number = numerator / denominator
    except OverflowError:
        return None
    return number if number.as_integer_ratio() == (numerator, denominator) else None


def _image_ratio(numerator: int, denominator: int, where: str, depth: int) -> Any:
    if denominator == 1:
        return _image_int(numerator, where, depth)
    number = _as_float(numerator, denominator)
    if number is not None:
        return number
    return _ext(
        EXT_NUMBER_KEY,
        _encode_int(numerator, where, depth),
        _encode_int(denominator, where, depth),
    )


def _image_decimal(obj: Decimal, where: str, depth: int) -> Any:
    if obj.is_snan():
        raise TypeError("Cannot hash a signaling NaN value.")
    if not obj.is_finite():
        return _NAN if obj.is_nan() else float(obj)
    if obj and abs(obj.adjusted()) > KEY_DIGITS_MAX:
        raise not_persistable(
            obj, where, f"as a key its exponent must lie within {KEY_DIGITS_MAX}; use str()"
        )
    return _image_ratio(*obj.as_integer_ratio(), where, depth)


def _image_complex(obj: complex, where: str, depth: int) -> Any:
    if obj.imag == 0:
        return _image_float(obj.real, where, depth)
    return _ext(
        EXT_COMPLEX_KEY,
        _image_float(obj.real, where, depth),
        _image_float(obj.imag, where, depth),
    )


def _image_tuple(obj: tuple[Any, ...], where: str, depth: int) -> Any:
    depth = _deeper(obj, where, depth)
    return [_image(item, f"{where}[{i}]", depth) for i, item in enumerate(obj)]


def _image_frozenset(obj: frozenset[Any], where: str, depth: int) -> Any:
    depth = _deeper(obj, where, depth)
    return _joined(EXT_FROZENSET, [_pack(_image(item, _in(where), depth)) for item in obj])


def _image_time(obj: time, where: str, depth: int) -> Any:
    offset = obj.utcoffset()
    if offset is None:
        # A zone that knows no offset without a date compares as none.
        return _ext(EXT_TIME, _day_microseconds(obj), 0, None)
    return _ext(EXT_TIME_KEY, _day_microseconds(obj) - offset // _MICROSECOND)


def _image_datetime(obj: datetime, where: str, depth: int) -> Any:
    zone = _zone(obj.tzinfo, obj, where)
    first, second = obj.replace(fold=0).utcoffset(), obj.replace(fold=1).utcoffset()
    micro = _day_microseconds(obj)
    if first is None or first != second:
        # Naive; or in the hour that a zone repeats or skips: equal only to the same reading of
        # the same zone, whatever its fold, as Python has it.
        return _ext(EXT_DATETIME, obj.toordinal(), micro, 0, zone)
    days = obj.toordinal() - 1
    return _ext(EXT_DATETIME_KEY, days * 86_400_000_000 + micro - first // _MICROSECOND)


def _image_range(obj: range, where: str, depth: int) -> Any:
    length = (obj.stop - obj.start + obj.step - (1 if obj.step > 0 else -1)) // obj.step
    length = max(length, 0)
    start = obj.start if length else 0
    step = obj.step if length > 1 else (1 if length else 0)
    return _ext(EXT_RANGE_KEY, *(_encode_int(n, where, depth) for n in (length, start, step)))


_IMAGERS: dict[type, _Encoder] = {
    **_ENCODERS,
    bool: _image_int,
    int: _image_int,
    float: _image_float,
    complex: _image_complex,
    Decimal: _image_decimal,
    Fraction: lambda obj, where, depth: _image_ratio(obj.numerator, obj.denominator, where, depth),
    tuple: _image_tuple,
    frozenset: _image_frozenset,
    time: _image_time,
    datetime: _image_datetime,
    range: _image_range,
}
