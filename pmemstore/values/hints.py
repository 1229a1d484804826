"""Refusals: what cannot be kept, where it is, and what to do instead."""

from __future__ import annotations

import enum
from collections import deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from uuid import UUID

from pmemstore.errors import NotPersistableError
from pmemstore.values.opaque import Opaque

__all__ = ["not_persistable", "prefixed", "type_name"]


def type_name(kind: type) -> str:
    """Return the name of a type for a message."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def not_persistable(obj: object, where: str = "", hint: str | None = None) -> NotPersistableError:
    """Make the exception for an object that no pool can keep.

    Args:
        obj: The object, wherever it is inside the value.
        where: Its place inside the value, like ``[3]['name']``; empty for the value itself.
        hint: What to do; found by the type if not given.

    Returns:
        The exception, not raised; ``prefixed`` puts an outer place before it.
    """
    return _refusal(where, type_name(type(obj)), hint if hint is not None else _hint(obj))


def prefixed(error: NotPersistableError, prefix: str) -> NotPersistableError:
    """Return the same refusal, seen from an object that holds the value at ``prefix``."""
    if error.parts is None or error.located:
        return error
    where, name, hint = error.parts
    again = _refusal(prefix + where, name, hint)
    again.__cause__ = error.__cause__
    return again


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
    if hasattr(type(obj), "__record__"):
        return (
            "a record is kept as the value of a dict, the item of a list or the field of a record, "
            "not as a key, an element of a set, or inside a tuple; use its fields there"
        )
    return (
        "convert it to one of None, bool, int, float, complex, str, bytes, tuple, frozenset, "
        "dict, list, set, deque, range, datetime, date, time, timedelta, Decimal, Fraction, UUID, "
        "Enum, Path, IP address, or register its type with pmemstore.register()"
    )


_EXACT_HINTS: dict[type, str] = {
    set: "inside a tuple or frozenset convert it with frozenset(), or make the outer one a list",
    deque: "inside a tuple or frozenset convert it with tuple(), or make the outer one a list",
    list: "inside a tuple or frozenset convert it with tuple(), or make the outer one a list",
    dict: "inside a tuple or frozenset convert it with tuple(d.items()), or make the outer one a "
    "list",
    Opaque: "what could not be read can be stored again as a value of its own, not inside another",
}
_HINTS: list[tuple[type | tuple[type, ...], str]] = [
    ((bytearray, memoryview), "convert it with bytes()"),
    (
        enum.Enum,
        "its class and name do not lead back to it: register the class with "
        "pmemstore.register(cls, name=...)",
    ),
    (bool, "convert it with bool()"),
    (int, "a subclass of int would come back as int: convert it with int()"),
    (float, "a subclass of float would come back as float: convert it with float()"),
    (str, "a subclass of str would come back as str: convert it with str.__str__() or .value"),
    (bytes, "a subclass of bytes would come back as bytes: convert it with bytes()"),
    (
        tuple,
        "a subclass of tuple would come back as tuple: convert it with tuple(), or register it "
        "with pmemstore.register()",
    ),
    (dict, "only a plain dict becomes persistent: convert it with dict()"),
    (list, "only a plain list becomes persistent: convert it with list()"),
    (frozenset, "convert it with frozenset()"),
    (set, "only a plain set becomes persistent: convert it with set()"),
    (deque, "only a plain deque becomes persistent: convert it with collections.deque()"),
    (datetime, "only exact datetimes with a timezone, a ZoneInfo with a key, or none"),
    (
        (
            date,
            time,
            timedelta,
            Decimal,
            Fraction,
            UUID,
            complex,
            range,
            PurePath,
            IPv4Address,
            IPv6Address,
            IPv4Network,
            IPv6Network,
        ),
        "its type is a subclass; pmemstore.register() can give it a name of its own",
    ),
]
