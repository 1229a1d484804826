"""Keys to bytes: images, which are equal exactly if the keys are, and what gives the key back."""

from __future__ import annotations

import enum
import math
import operator
import sys
from collections.abc import Iterator
from datetime import datetime, time
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final

import msgpack

from pmemstore.errors import NotPersistableError
from pmemstore.values import types
from pmemstore.values.codes import (
    DEPTH_MAX,
    EXT_COMPLEX_KEY,
    EXT_DATETIME,
    EXT_DATETIME_KEY,
    EXT_FROZENSET,
    EXT_INT,
    EXT_NUMBER_KEY,
    EXT_PATH,
    EXT_RANGE_KEY,
    EXT_REGISTERED,
    EXT_TIME,
    EXT_TIME_KEY,
    INT_MAX,
    INT_MIN,
    KEY_DIGITS_MAX,
)
from pmemstore.values.encode import (
    ENCODERS,
    MICROSECOND,
    Encoder,
    day_microseconds,
    deeper,
    encode,
    encode_enum,
    encode_int,
    encode_str,
    ext,
    inside,
    int_bytes,
    joined,
    pack,
    packed_by,
    zone_of,
)
from pmemstore.values.hints import not_persistable

__all__ = ["as_builtin", "pack_key"]

_NAN: Final = math.nan
#: Types whose images the slots make.
_SIMPLE: Final = frozenset([bool, int, float, str])


def pack_key(obj: Any) -> tuple[bytes | int | float | str, bytes | None]:
    """Turn a key into bytes (hook of the C slots).

    Args:
        obj: Any object but None, bool, str, bytes, an int of 64 bits, and a float that is not
            integral or fits such an int: the slots have the images of these.

    Returns:
        The image, and what gives the key back if the image does not.  An image that is an int,
        a float or a str stands for that: the key equals it, and is kept as it.

    Raises:
        TypeError: The object is not hashable.
        NotPersistableError: It, or something inside it, cannot be kept in a pool.

    Example:
        >>> pack_key((1, 2.0))[0] == pack_key((True, 2))[0]
        True
    """
    try:
        return _pack_key(obj)
    except NotPersistableError:
        same = as_builtin(obj)
        if same is obj:
            raise
        return (same, None) if _in_slots(same) else _pack_key(same)


def _in_slots(obj: Any) -> bool:
    """Is it a builtin whose image the slots make?"""
    if type(obj) is int:
        return INT_MIN <= obj <= INT_MAX
    if type(obj) is float:
        return not math.isfinite(obj) or -(2.0**63) <= obj < 2.0**63 or not obj.is_integer()
    return type(obj) in _SIMPLE


def _pack_key(obj: Any) -> tuple[bytes | int | float | str, bytes | None]:
    image = image_of(obj, "", 0)
    if type(image) is int or type(image) is float:
        return image, None
    if isinstance(obj, str):  # an enum member: the slots have the image of its str
        return str.__str__(obj), None
    stored = pack(encode(obj, "", 0))
    packed = pack(image)
    return packed, None if stored == packed else stored


def image_of(obj: Any, where: str, depth: int) -> Any:
    """Turn a key into what msgpack packs, the same for all keys that are equal."""
    imager = _IMAGERS.get(type(obj))
    if imager is not None:
        return imager(obj, where, depth)
    hash(obj)  # an unhashable object gives the builtin's TypeError
    entry = types.registered_of(type(obj))
    if entry is not None and entry.pack is not None:
        return _image_registered(entry, obj, where, depth)
    if isinstance(obj, enum.Enum):
        return _image_enum(obj, where, depth)
    raise not_persistable(obj, where)


# ---- what equals a builtin ----


def as_builtin(obj: Any, depth: int = 0) -> Any:
    """Return the builtin that a key equals, also inside tuples and frozensets; or the same object.

    Equal means what a dict means by it: ``==`` and the same hash.
    """
    if depth > DEPTH_MAX:
        return obj
    if type(obj) is tuple or type(obj) is frozenset:
        same = [as_builtin(item, depth + 1) for item in obj]
        return obj if all(map(operator.is_, same, obj)) else type(obj)(same)
    if type(obj) in _IMAGERS:
        return obj
    for candidate in _candidates(obj):
        if type(candidate) in _SIMPLE or type(candidate) is complex:
            try:
                if hash(candidate) == hash(obj) and bool(candidate == obj):
                    return candidate
                if candidate != candidate and bool(obj != obj):
                    return candidate  # every NaN is the same key
            except (TypeError, ValueError):  # not comparable: not equal
                continue
    return obj


def _candidates(obj: Any) -> Iterator[Any]:
    """Builtins that an object may equal, exactly converted."""
    kinds: tuple[Any, ...] = (int, float, str)
    for kind in kinds:
        if isinstance(obj, kind):
            yield kind.__add__(obj, kind())  # what the base has, whatever the class overrides
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(obj, numpy.generic):
        yield obj.item()
    elif hasattr(type(obj), "__index__"):
        yield operator.index(obj)


# ---- images ----


def _image_registered(entry: types.Registered, obj: Any, where: str, depth: int) -> Any:
    if not entry.keys:
        raise not_persistable(
            obj,
            where,
            "it was registered for values; register it with keys=True if equal objects are packed "
            "as equal keys",
        )
    depth = deeper(obj, where, depth)
    packed = packed_by(entry, obj, where)
    return ext(EXT_REGISTERED, entry.name, image_of(packed, f"{where}.pack()", depth))


def _image_enum(obj: enum.Enum, where: str, depth: int) -> Any:
    """A member that equals an int, float or str has the image of that."""
    cls = type(obj)
    base: Any = getattr(cls, "_member_type_", object)
    if base is object:
        if cls.__eq__ is object.__eq__ and cls.__hash__ is enum.Enum.__hash__:
            return encode_enum(obj, where)
    elif cls.__eq__ is base.__eq__ and cls.__hash__ is base.__hash__:
        if base in (int, float, str):
            return _IMAGERS[base](base.__add__(obj, base()), where, depth)
    elif isinstance(obj, enum.Flag) and cls.__eq__ is object.__eq__:
        return encode_enum(obj, where)
    raise not_persistable(
        obj, where, "as a key only members that compare as enums, ints, floats or strs: use .value"
    )


def _image_path(obj: PurePath, where: str, depth: int) -> Any:
    """Equal if flavour and parts are, for Windows whatever their case."""
    if isinstance(obj, PureWindowsPath):
        return ext(EXT_PATH, 1, encode_str(str(obj).lower(), where, depth))
    return ext(EXT_PATH, 0, encode_str(str(obj), where, depth))


def _image_float(obj: float, where: str, depth: int) -> Any:
    if not math.isfinite(obj):
        return _NAN if math.isnan(obj) else obj
    # An integral float is the int of its value, inside tuples too.
    return _image_int(int(obj), where, depth) if obj.is_integer() else obj


def _image_int(obj: int, where: str, depth: int) -> Any:
    obj = int(obj)  # True is 1
    return obj if INT_MIN <= obj <= INT_MAX else msgpack.ExtType(EXT_INT, int_bytes(obj))


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
    return ext(
        EXT_NUMBER_KEY,
        encode_int(numerator, where, depth),
        encode_int(denominator, where, depth),
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
    return ext(
        EXT_COMPLEX_KEY,
        _image_float(obj.real, where, depth),
        _image_float(obj.imag, where, depth),
    )


def _image_tuple(obj: tuple[Any, ...], where: str, depth: int) -> Any:
    depth = deeper(obj, where, depth)
    return [image_of(item, f"{where}[{i}]", depth) for i, item in enumerate(obj)]


def _image_frozenset(obj: frozenset[Any], where: str, depth: int) -> Any:
    depth = deeper(obj, where, depth)
    return joined(EXT_FROZENSET, [pack(image_of(item, inside(where), depth)) for item in obj])


def _image_time(obj: time, where: str, depth: int) -> Any:
    offset = obj.utcoffset()
    if offset is None:
        # A zone that knows no offset without a date compares as none.
        return ext(EXT_TIME, day_microseconds(obj), 0, None)
    return ext(EXT_TIME_KEY, day_microseconds(obj) - offset // MICROSECOND)


def _image_datetime(obj: datetime, where: str, depth: int) -> Any:
    zone = zone_of(obj.tzinfo, obj, where)
    first, second = obj.replace(fold=0).utcoffset(), obj.replace(fold=1).utcoffset()
    micro = day_microseconds(obj)
    if first is None or first != second:
        # Naive; or in the hour that a zone repeats or skips: equal only to the same reading of
        # the same zone, whatever its fold, as Python has it.
        return ext(EXT_DATETIME, obj.toordinal(), micro, 0, zone)
    days = obj.toordinal() - 1
    return ext(EXT_DATETIME_KEY, days * 86_400_000_000 + micro - first // MICROSECOND)


def _image_range(obj: range, where: str, depth: int) -> Any:
    length = (obj.stop - obj.start + obj.step - (1 if obj.step > 0 else -1)) // obj.step
    length = max(length, 0)
    start = obj.start if length else 0
    step = obj.step if length > 1 else (1 if length else 0)
    return ext(EXT_RANGE_KEY, *(encode_int(n, where, depth) for n in (length, start, step)))


_IMAGERS: dict[type, Encoder] = {
    **ENCODERS,
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
    PurePosixPath: _image_path,
    PosixPath: _image_path,
    PureWindowsPath: _image_path,
}
