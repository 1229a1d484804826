"""Values to bytes."""

from __future__ import annotations

import enum
import functools
import operator
import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack

from pmemstore.values import types
from pmemstore.values.codes import (
    BIGINT,
    DEPTH_MAX,
    EXT_COMPLEX,
    EXT_DATE,
    EXT_DATETIME,
    EXT_DECIMAL,
    EXT_ENUM,
    EXT_FRACTION,
    EXT_FROZENSET,
    EXT_INT,
    EXT_IP,
    EXT_PATH,
    EXT_RANGE,
    EXT_REGISTERED,
    EXT_STR,
    EXT_TIME,
    EXT_TIMEDELTA,
    EXT_UUID,
    INT_MIN,
    PACKED,
    UINT_MAX,
)
from pmemstore.values.hints import not_persistable, type_name
from pmemstore.values.netaddr import KINDS
from pmemstore.values.opaque import Opaque, data_of

__all__ = ["pack_value"]

Encoder = Callable[[Any, str, int], Any]

MICROSECOND: Final = timedelta(microseconds=1)


def pack(obj: Any) -> bytes:
    """Return the msgpack of what an encoder gave."""
    # A Packer of its own for each call: a shared one would need a lock between threads.
    packed: bytes = msgpack.packb(obj, strict_types=True, use_bin_type=True)
    return packed


def ext(code: int, *items: Any) -> msgpack.ExtType:
    """Return an extension type that holds an array."""
    return msgpack.ExtType(code, pack(list(items)))


def int_bytes(number: int) -> bytes:
    """Return little-endian two's complement, as short as it gets."""
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def encode(obj: Any, where: str, depth: int) -> Any:
    """Turn a value into what msgpack packs; exact types only."""
    encoder = ENCODERS.get(type(obj))
    if encoder is None:
        return _encode_other(obj, where, depth)
    return encoder(obj, where, depth)


def _same(obj: Any, where: str, depth: int) -> Any:
    return obj


def encode_int(obj: int, where: str, depth: int) -> Any:
    """An int of any size."""
    if INT_MIN <= obj <= UINT_MAX:
        return obj
    return msgpack.ExtType(EXT_INT, int_bytes(obj))


def encode_str(obj: str, where: str, depth: int) -> Any:
    """A str, also one with lone surrogates."""
    if obj.isascii():
        return obj
    try:
        obj.encode()
    except UnicodeEncodeError:
        return msgpack.ExtType(EXT_STR, obj.encode("utf-8", "surrogatepass"))
    return obj


def deeper(obj: Any, where: str, depth: int) -> int:
    """Return the depth of what is inside; refuse what is too deep."""
    if depth >= DEPTH_MAX:
        raise not_persistable(
            obj,
            where,
            f"a value may nest {DEPTH_MAX} tuples, frozensets and registered types; use lists "
            "below that",
        )
    return depth + 1


def _encode_tuple(obj: tuple[Any, ...], where: str, depth: int) -> Any:
    depth = deeper(obj, where, depth)
    return [encode(item, f"{where}[{i}]", depth) for i, item in enumerate(obj)]


def _encode_frozenset(obj: frozenset[Any], where: str, depth: int) -> Any:
    depth = deeper(obj, where, depth)
    return joined(EXT_FROZENSET, [pack(encode(item, inside(where), depth)) for item in obj])


def inside(where: str) -> str:
    """Return the place of an item of a frozenset."""
    return f"{where}{{...}}"


def joined(code: int, parts: list[bytes]) -> msgpack.ExtType:
    """Return an extension type that holds an array of packed items, in the order of bytes."""
    head: bytes = msgpack.Packer().pack_array_header(len(parts))
    return msgpack.ExtType(code, head + b"".join(sorted(parts)))


def _encode_decimal(obj: Decimal, where: str, depth: int) -> Any:
    return msgpack.ExtType(EXT_DECIMAL, str(obj).encode("ascii"))


def _encode_fraction(obj: Fraction, where: str, depth: int) -> Any:
    return ext(
        EXT_FRACTION,
        encode_int(obj.numerator, where, depth),
        encode_int(obj.denominator, where, depth),
    )


def _encode_range(obj: range, where: str, depth: int) -> Any:
    return ext(EXT_RANGE, *(encode_int(n, where, depth) for n in (obj.start, obj.stop, obj.step)))


# ---- dates and times ----


def _encode_time(obj: time, where: str, depth: int) -> Any:
    return ext(EXT_TIME, day_microseconds(obj), obj.fold, zone_of(obj.tzinfo, obj, where))


def _encode_datetime(obj: datetime, where: str, depth: int) -> Any:
    zone = zone_of(obj.tzinfo, obj, where)
    return ext(EXT_DATETIME, obj.toordinal(), day_microseconds(obj), obj.fold, zone)


def day_microseconds(obj: time | datetime) -> int:
    """Return the microseconds since midnight, as the clock shows them."""
    return ((obj.hour * 60 + obj.minute) * 60 + obj.second) * 1_000_000 + obj.microsecond


def zone_of(zone: tzinfo | None, obj: object, where: str) -> Any:
    """Return what the pool has of a time zone."""
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None) // MICROSECOND
        args = zone.__getinitargs__()  # type: ignore[attr-defined] # for pickle; the only name
        return [offset, encode_str(args[1], where, 0)] if len(args) > 1 else offset
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    raise not_persistable(
        zone, f"{where}.tzinfo", "use a datetime.timezone, or a zoneinfo.ZoneInfo with a key"
    )


# ---- paths and addresses ----


def _path_encoder(flavour: int) -> Encoder:
    def encode_path(obj: Any, where: str, depth: int) -> Any:
        text = str(obj)
        if type(obj)(text) != obj:
            raise not_persistable(obj, where, "its text is that of another path: use its parts")
        return ext(EXT_PATH, flavour, encode_str(text, where, depth))

    return encode_path


def _ip_encoder(kind: int) -> Encoder:
    return lambda obj, where, depth: ext(EXT_IP, kind, encode_str(str(obj), where, depth))


# ---- the application's types ----


def _encode_other(obj: Any, where: str, depth: int) -> Any:
    entry = types.registered_of(type(obj))
    if entry is not None and entry.pack is not None:
        inner = deeper(obj, where, depth)
        packed = packed_by(entry, obj, where)
        return ext(EXT_REGISTERED, entry.name, encode(packed, f"{where}.pack()", inner))
    if isinstance(obj, enum.Enum):
        return encode_enum(obj, where)
    raise not_persistable(obj, where)


def packed_by(entry: types.Registered, obj: Any, where: str) -> Any:
    """Call the application's pack."""
    assert entry.pack is not None
    try:
        return entry.pack(obj)
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        raise not_persistable(
            obj, where, f"the pack that was registered for it raised {type(error).__name__}"
        ) from error


def encode_enum(obj: enum.Enum, where: str) -> msgpack.ExtType:
    """A member by its name, a combination of Flags by those of its bits."""
    name = types.name_of_enum(type(obj))
    if name is None:
        raise not_persistable(obj, where)
    if type(obj).__members__.get(obj._name_ or "") is obj:
        return ext(EXT_ENUM, name, encode_str(str(obj._name_), where, 0))
    names = flag_names(obj)
    if names is None:
        raise not_persistable(
            obj, where, f"{type_name(type(obj))} has no names for all of it: use its .value"
        )
    return ext(EXT_ENUM, name, [encode_str(each, where, 0) for each in names])


def flag_names(obj: enum.Enum) -> list[str] | None:
    """Return the names of the bits of a Flag; None if some have none."""
    if not isinstance(obj, enum.Flag):
        return None
    cls, bits = type(obj), list(obj)
    if functools.reduce(operator.or_, bits, cls(0)) != obj:
        return None
    return [str(bit._name_) for bit in bits]


ENCODERS: dict[type, Encoder] = {
    type(None): _same,
    bool: _same,
    float: _same,
    bytes: _same,
    int: encode_int,
    str: encode_str,
    tuple: _encode_tuple,
    frozenset: _encode_frozenset,
    Decimal: _encode_decimal,
    UUID: lambda obj, where, depth: msgpack.ExtType(EXT_UUID, obj.bytes),
    complex: lambda obj, where, depth: msgpack.ExtType(
        EXT_COMPLEX, struct.pack("<dd", obj.real, obj.imag)
    ),
    Fraction: _encode_fraction,
    range: _encode_range,
    date: lambda obj, where, depth: ext(EXT_DATE, obj.toordinal()),
    time: _encode_time,
    datetime: _encode_datetime,
    timedelta: lambda obj, where, depth: ext(
        EXT_TIMEDELTA, obj.days, obj.seconds, obj.microseconds
    ),
    PurePosixPath: _path_encoder(0),
    PureWindowsPath: _path_encoder(1),
    PosixPath: _path_encoder(2),
    **{cls: _ip_encoder(kind) for kind, cls in enumerate(KINDS)},
}
types.built_in(ENCODERS)


def pack_value(obj: Any) -> tuple[int, bytes]:
    """Turn a value that has no cell of its own into bytes (hook of the C slots).

    Args:
        obj: Any object; a dict or list, and all subclasses, are refused here.

    Returns:
        Tag and bytes of the cell.

    Raises:
        NotPersistableError: The message names the type and its place inside the value.

    Example:
        >>> from pmemstore.values import unpack
        >>> tag, data = pack_value((1, "a"))
        >>> data.hex()
        '9201a161'
        >>> unpack(tag, data)
        (1, 'a')
    """
    if type(obj) is int:
        return BIGINT, int_bytes(obj)
    if type(obj) is Opaque:
        return PACKED, data_of(obj)
    return PACKED, pack(encode(obj, "", 0))
