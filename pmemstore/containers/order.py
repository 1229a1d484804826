"""Images of keys of sorted containers: bytes whose order is that of the keys.

``docs/format.md``, "Sorted dict, sorted set", defines them.  The C slots make those of str, bytes,
bool, float and int of 64 bits, and of tuples; here are the others.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pmemstore._native import lib
from pmemstore.errors import NotPersistableError
from pmemstore.values import KEY_DIGITS_MAX, not_persistable, pack_value
from pmemstore.values.encode import MICROSECOND, day_microseconds
from pmemstore.values.keys import as_builtin

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["order_image"]

_FLIP: Final = bytes(255 - i for i in range(256))
_EXPONENT_MIN: Final = -8192
_EXPONENT_MAX: Final = 8191  # from here on it takes eight more bytes
_DAY: Final = 86_400_000_000

_KINDS: Final = (
    "keys of a sorted container are numbers, str, bytes, date, datetime, naive time, timedelta, "
    "UUID, and tuples of these and of None"
)


def order_image(key: Any, lookup: bool) -> bytes | tuple[Any] | None:
    """Turn a key into its kind and image (hook of the C slots).

    Args:
        key: Any hashable object, for which the slots have no image.
        lookup: The key is looked for, so it need not have an order.

    Returns:
        A byte that tells the kind (PMS_ORDER_...) and the image.  Or the only item of a tuple: a
        builtin that the key equals, for which the slots have an image, and as which it is kept.
        None, if ``lookup``: it has no order, so no sorted container has it.

    Raises:
        TypeError: It has no order.
        ValueError: The number has none: a NaN, or a fraction that is no binary one.
        NotPersistableError: No pool can keep such an object.

    Example:
        >>> order_image(2**64, False)[1:].hex()
        'e04000'
    """
    try:
        return _image(key, lookup)
    except NotPersistableError:
        raise
    except (TypeError, ValueError):
        if lookup:
            return None
        raise


def _image(key: Any, lookup: bool) -> bytes | tuple[Any]:
    maker = _MAKERS.get(type(key))
    if maker is not None:
        return maker(key)
    same = as_builtin(key)  # an enum member, a numpy scalar
    if same is not key and same != same:
        raise _nan(key)
    if same is not key and type(same) in (bool, int, float, str, bytes):
        large = type(same) is int and not -(2**63) <= same < 2**63
        return _number(same) if large else (same,)
    if lookup and type(same) is complex and same.imag == 0:
        return (same.real,)
    if key is not None:
        pack_value(key)  # says why a pool cannot keep it, if that is so
    raise TypeError(f"{type(key).__name__} has no order: {_KINDS}")


# ---- numbers


def _number(number: int, shift: int = 0) -> bytes:
    """Image of number * 2**shift."""
    kind = bytes([lib.PMS_ORDER_NUMBER])
    if number == 0:
        return kind + b"\x80"
    size = abs(number)
    bits = size.bit_length() - 1
    exponent = bits + shift
    if exponent < _EXPONENT_MIN:
        raise ValueError("a number below 2**-8192 cannot be a key of a sorted container")
    if exponent < _EXPONENT_MAX:
        image = (0xC000 + 8192 + exponent).to_bytes(2, "big")
    else:
        image = b"\xff\xff" + exponent.to_bytes(8, "big")
    image += _groups(size - (1 << bits), bits)
    return kind + (image.translate(_FLIP) if number < 0 else image)


def _groups(fraction: int, bits: int) -> bytes:
    """Turn the bits behind the highest one into bytes of seven, and a bit that says: more."""
    if fraction == 0:
        return b"\0"
    zeroes = (fraction & -fraction).bit_length() - 1
    fraction, bits = fraction >> zeroes, bits - zeroes
    words = -(-bits // 56)
    data = (fraction << words * 56 - bits).to_bytes(words * 7, "big")
    groups = bytearray()
    for at in range(0, len(data), 7):  # by the word: linear in the length of the number
        word = int.from_bytes(data[at : at + 7], "big")
        groups += bytes((word >> 49 - 7 * i & 127) << 1 | 1 for i in range(8))
    del groups[-(-bits // 7) :]
    groups[-1] &= 0xFE
    return bytes(groups)


def _fraction(number: Any) -> bytes:
    """Image of anything that has as_integer_ratio(), if its denominator is a power of two."""
    numerator, denominator = number.as_integer_ratio()
    if denominator & denominator - 1:
        raise ValueError(
            f"{number!r} cannot be a key of a sorted container: its order among floats is not "
            "that of any binary fraction. Convert it with float() or str()"
        )
    return _number(numerator, 1 - denominator.bit_length())


def _infinity(negative: bool) -> bytes:
    image = b"\xff" * 10 + b"\0"
    return bytes([lib.PMS_ORDER_NUMBER]) + (image.translate(_FLIP) if negative else image)


def _nan(number: Any) -> ValueError:
    return ValueError(f"{number!r} cannot be a key of a sorted container: it has no order")


def _float(number: float) -> bytes:
    raise _nan(number)  # the slots have all others


def _decimal(number: Decimal) -> bytes:
    if number.is_nan():
        raise _nan(number)
    if number.is_infinite():
        return _infinity(number < 0)
    if number and abs(number.adjusted()) > KEY_DIGITS_MAX:
        raise not_persistable(
            number, "", f"as a key its exponent must lie within {KEY_DIGITS_MAX}; use str()"
        )
    return _fraction(number)


# ---- dates


def _date(day: date) -> bytes:
    return bytes([lib.PMS_ORDER_DATE]) + day.toordinal().to_bytes(4, "big")


def _datetime(moment: datetime) -> bytes:
    offset = moment.utcoffset()
    micro = (moment.toordinal() - 1) * _DAY + day_microseconds(moment)
    if offset is None:
        return bytes([lib.PMS_ORDER_DATETIME]) + micro.to_bytes(8, "big")
    instant = micro - offset // MICROSECOND + 2**62
    return bytes([lib.PMS_ORDER_INSTANT]) + instant.to_bytes(8, "big")


def _time(clock: time) -> bytes:
    if clock.utcoffset() is not None:
        raise TypeError(
            "an aware time cannot be a key of a sorted container; use a naive one, or a datetime"
        )
    return bytes([lib.PMS_ORDER_TIME]) + day_microseconds(clock).to_bytes(8, "big")


def _timedelta(span: timedelta) -> bytes:
    return bytes([lib.PMS_ORDER_TIMEDELTA]) + (span // MICROSECOND + 2**94).to_bytes(12, "big")


_MAKERS: Final[dict[type, Callable[[Any], bytes]]] = {
    int: _number,
    float: _float,
    Decimal: _decimal,
    Fraction: _fraction,
    date: _date,
    datetime: _datetime,
    time: _time,
    timedelta: _timedelta,
    UUID: lambda key: bytes([lib.PMS_ORDER_UUID]) + key.bytes,
}

_slots.set_order_hook(order_image)
