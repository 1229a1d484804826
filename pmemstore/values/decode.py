"""Bytes to values.  They come from a file: nothing in them is believed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgpack

from pmemstore.errors import (
    PoolCorruptError,
    UnknownTypeError,
    UnpackError,
    UnreadableValueError,
)
from pmemstore.values import types
from pmemstore.values.codes import (
    BIGINT,
    DEPTH_MAX,
    EXT_COMPLEX,
    EXT_COMPLEX_KEY,
    EXT_DATE,
    EXT_DATETIME,
    EXT_DATETIME_KEY,
    EXT_DECIMAL,
    EXT_ENUM,
    EXT_FRACTION,
    EXT_FROZENSET,
    EXT_INT,
    EXT_IP,
    EXT_NUMBER_KEY,
    EXT_PATH,
    EXT_RANGE,
    EXT_RANGE_KEY,
    EXT_REGISTERED,
    EXT_STR,
    EXT_TIME,
    EXT_TIME_KEY,
    EXT_TIMEDELTA,
    EXT_UUID,
    UNTRUSTED_MIN,
)
from pmemstore.values.netaddr import KINDS
from pmemstore.values.opaque import opaque_of

__all__ = ["unpack"]

_UNDECODABLE = (ValueError, TypeError, ArithmeticError, LookupError, struct.error)
_PATHS: Final = (PurePosixPath, PureWindowsPath, PosixPath)

_Decoders = dict[int, Callable[[bytes], Any]]


def unpack(tag: int, data: bytes) -> Any:
    """Turn the bytes of a cell back into the value (hook of the C slots).

    Raises:
        PoolCorruptError: The bytes are none that ``pack_value`` or ``pack_key`` makes.
        UnreadableValueError: A type, an enum member or a time zone that is not known here, or an
            exception of a registered ``unpack``.
        RecursionError: The value nests deeper than the rest of the caller's stack allows.
    """
    if tag == BIGINT:
        return int.from_bytes(data, "little", signed=True)
    try:
        return _unpackb(data)
    except UnreadableValueError as error:
        error.value = opaque_of(data)
        raise
    except (ZoneInfoNotFoundError, OSError) as error:  # OSError: the name of a directory
        unreadable = UnreadableValueError(
            f"a stored time names a zone that this machine does not know: {error.args[-1]}. The "
            "value is unharmed; install the package tzdata and read it again."
        )
        unreadable.value = opaque_of(data)
        raise unreadable from error
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


def _revive(obj: Any, depth: int, decoders: _Decoders) -> Any:
    """Decode the extension types inside of what was unpacked."""
    kind = type(obj)
    if kind is tuple:
        return tuple(_revive_all(obj, depth, decoders))
    if kind is msgpack.ExtType:
        nesting = _NESTING.get(obj.code) if decoders is _DECODERS else None
        if nesting is not None:
            return nesting(_raw(obj.data), depth)
        decoder = decoders.get(obj.code)
        if decoder is None:
            raise ValueError(f"extension type {obj.code} is unknown, or is not written there")
        return decoder(obj.data)
    if kind is msgpack.Timestamp:
        raise ValueError("a msgpack timestamp is never written here")
    return obj


def _revive_all(items: Any, depth: int, decoders: _Decoders) -> list[Any]:
    if depth >= DEPTH_MAX:
        raise ValueError("it nests deeper than any value that is written")
    if type(items) is not tuple:
        raise ValueError("a frozenset without an array of items")
    done = []
    for item in items:
        done.append(_revive(item, depth + 1, decoders))
    return done


# ---- the application's types ----


def _decode_frozenset(items: Any, depth: int) -> frozenset[Any]:
    return frozenset(_revive_all(items, depth, _DECODERS))


def _decode_registered(fields: Any, depth: int) -> Any:
    name, packed = _revive_all(fields, depth, _DECODERS)
    if type(name) is not str:
        raise ValueError("a registered type without a name")
    entry = types.registered_as(name)
    if entry is None or entry.unpack is None:
        raise UnknownTypeError(
            f"a stored value is of the type {name!r}, which is not registered. The value is "
            f"unharmed; call pmemstore.register(cls, pack, unpack, name={name!r}), and read it "
            "again.",
            name=name,
        )
    try:
        return entry.unpack(packed)
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        raise UnpackError(
            f"the unpack that was registered for {name!r} raised {type(error).__name__}: {error}. "
            "The value is unharmed.",
            name=name,
        ) from error


def _decode_enum(data: bytes) -> Any:
    name, member = _fields(data)
    return types.enum_of(name, member)


# ---- the others ----


def _decode_path(data: bytes) -> PurePath:
    flavour, text = _fields(data)
    if type(flavour) is not int or type(text) is not str or not 0 <= flavour < len(_PATHS):
        raise ValueError("a path that is no flavour and text")
    return _PATHS[flavour](text)


def _decode_ip(data: bytes) -> Any:
    kind, text = _fields(data)
    if type(kind) is not int or type(text) is not str or not 0 <= kind < len(KINDS):
        raise ValueError("an IP address that is no number and text")
    return KINDS[kind](text)


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
_ATOMS: _Decoders = {
    EXT_INT: lambda data: int.from_bytes(data, "little", signed=True),
    EXT_STR: lambda data: data.decode("utf-8", "surrogatepass"),
}
# What holds any value, and so is a level of nesting: contents and depth.
_NESTING: dict[int, Callable[[Any, int], Any]] = {
    EXT_FROZENSET: _decode_frozenset,
    EXT_REGISTERED: _decode_registered,
}
# Codes of key images stand alone when the key put first had exactly these bytes, which happens
# for none of them by construction; they decode all the same, for whoever dumps a pool.
_DECODERS: _Decoders = {
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
    EXT_PATH: _decode_path,
    EXT_ENUM: _decode_enum,
    EXT_IP: _decode_ip,
    EXT_NUMBER_KEY: lambda data: Fraction(*_ints(data)),
    EXT_COMPLEX_KEY: lambda data: complex(*_fields(data)),
    EXT_DATETIME_KEY: _decode_utc,
    EXT_TIME_KEY: _decode_utc_time,
    EXT_RANGE_KEY: _decode_range_key,
}
