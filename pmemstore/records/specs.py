"""What one field of a record is: its leaves in the pool, its values, and what it can become.

A leaf is one field of the core (``struct pms_field_pm``); a field of a class has one or more.
``describe`` is what the schema stores, ``revive`` makes the spec of it again.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from pmemstore._native import lib
from pmemstore.records.zones import damaged, value_zone, zone_value

__all__ = ["KINDS", "CellSpec", "DatetimeSpec", "EnumSpec", "InlineSpec", "Leaf", "NativeSpec"]

KINDS: Final[dict[str, int]] = {
    name: getattr(lib, f"PMS_FIELD_{name.upper()}")
    for name in [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "str",
        "bytes",
    ]
}
SIZES: Final = {
    **{f"{sign}int{8 * n}": n for n in (1, 2, 4, 8) for sign in ("", "u")},
    "bool": 1,
    "float32": 4,
    "float64": 8,
}
#: What a number may be read as, without loss.
WIDER: Final = {
    "int8": ("int16", "int32", "int64"),
    "int16": ("int32", "int64"),
    "int32": ("int64",),
    "uint8": ("uint16", "uint32", "uint64", "int16", "int32", "int64"),
    "uint16": ("uint32", "uint64", "int32", "int64"),
    "uint32": ("uint64", "int64"),
    "float32": ("float64",),
}
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field of the core.

    Attributes:
        suffix: Behind the field's name, to name the leaf; empty for the first.
        kind: One of ``enum pms_field_kind``.
        size: Bytes of an item.
        count: Items of an array; 0: none.
        optional: Whether it has a presence bit.
    """

    suffix: str
    kind: int
    size: int
    count: int = 0
    optional: bool = False

    @property
    def align(self) -> int:
        """Bytes that its place is a multiple of."""
        if self.kind == lib.PMS_FIELD_CELL:
            return 8
        return 2 if self.kind >= lib.PMS_FIELD_STR else self.size


_CELL: Final = Leaf("", lib.PMS_FIELD_CELL, 16)


@dataclass(frozen=True, slots=True)
class CellSpec:
    """Any value: 16 bytes, and a block of its own for long ones."""

    text: str

    def leaves(self) -> list[Leaf]:
        """Return its leaves, in order."""
        return [_CELL]

    def describe(self) -> tuple[Any, ...]:
        """Return what a schema keeps of it."""
        return ("cell", self.text)

    def key(self) -> tuple[Any, ...]:
        """Return what decides about the layout."""
        return ("cell",)

    def __str__(self) -> str:
        return self.text

    def source(self, old: Any) -> list[int] | None:
        """Leaves of an old field that these are read from; None: it cannot be read as this."""
        scalar = isinstance(old, NativeSpec) and old.count == 0
        return [0] if scalar or isinstance(old, CellSpec) else None


@dataclass(frozen=True, slots=True)
class NativeSpec:
    """A number, a fixed str or bytes, or a fixed array of numbers."""

    name: str
    size: int = 0
    count: int = 0
    optional: bool = False

    def leaves(self) -> list[Leaf]:
        """Return its leaves, in order."""
        size = SIZES[self.name] if self.name in SIZES else self.size + 2
        return [Leaf("", KINDS[self.name], size, self.count, self.optional)]

    def describe(self) -> tuple[Any, ...]:
        """Return what a schema keeps of it."""
        if self.count:
            return _optional(("array", self.name, self.count), self.optional)
        size = (self.size,) if self.size else ()
        return _optional((self.name, *size), self.optional)

    key = describe

    def __str__(self) -> str:
        size = f"[{self.size}]" if self.size else f" x {self.count}" if self.count else ""
        return self.name + size + _or_none(self.optional)

    def source(self, old: Any) -> list[int] | None:
        """Return the leaves of an old field to read these from; None: it cannot be read as this."""
        if not isinstance(old, NativeSpec) or (old.optional and not self.optional):
            return None
        same = old.name == self.name or self.name in WIDER.get(old.name, ())
        if self.count or old.count:
            return [0] if old.name == self.name and old.count == self.count else None
        return [0] if same and old.size <= self.size else None


@dataclass(frozen=True, slots=True)
class EnumSpec:
    """A member of an enum, kept as its number in the order of the class."""

    name: str
    members: tuple[str, ...]
    cls: type[enum.Enum]
    optional: bool = False

    def leaves(self) -> list[Leaf]:
        """Return its leaves, in order."""
        return [Leaf("", lib.PMS_FIELD_UINT16, 2, 0, self.optional)]

    def describe(self) -> tuple[Any, ...]:
        """Return what a schema keeps of it."""
        return _optional(("enum", self.name, self.members), self.optional)

    def key(self) -> tuple[Any, ...]:
        """Return what decides about the layout."""
        return _optional(("enum", self.members), self.optional)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.members)})" + _or_none(self.optional)

    def source(self, old: Any) -> list[int] | None:
        """Return the leaves of an old field to read these from; None: it cannot be read as this."""
        if not isinstance(old, EnumSpec) or (old.optional and not self.optional):
            return None
        return [0] if self.members[: len(old.members)] == old.members else None

    def encode(self, value: Any) -> tuple[Any, ...]:
        """Return the leaves of a value."""
        if value is None and self.optional:
            return (None,)
        if not isinstance(value, self.cls):
            raise TypeError(
                f"{value!r} is a value of {type(value)!r}; the field takes {self.cls!r}"
            )
        return (self.members.index(value.name),)

    def decode(self, leaves: tuple[Any, ...]) -> Any:
        """Return the value of its leaves."""
        (number,) = leaves
        if number is None:
            return None
        if number >= len(self.members):
            raise damaged(f"number {number} of {self.name}, which has {len(self.members)}")
        return self.cls[self.members[number]]


@dataclass(frozen=True, slots=True)
class DatetimeSpec:
    """A datetime: microseconds of its own clock, times 2, plus fold; and the zone in a cell."""

    optional: bool = False

    def leaves(self) -> list[Leaf]:
        """Return its leaves, in order."""
        clock = Leaf("", lib.PMS_FIELD_INT64, 8, 0, self.optional)
        return [clock, Leaf(".zone", lib.PMS_FIELD_CELL, 16)]

    def describe(self) -> tuple[Any, ...]:
        """Return what a schema keeps of it."""
        return _optional(("datetime",), self.optional)

    key = describe

    def __str__(self) -> str:
        return "datetime" + _or_none(self.optional)

    def source(self, old: Any) -> list[int] | None:
        """Return the leaves of an old field to read these from; None: it cannot be read as this."""
        if not isinstance(old, DatetimeSpec) or (old.optional and not self.optional):
            return None
        return [0, 1]

    def encode(self, value: Any) -> tuple[Any, ...]:
        """Return the leaves of a value."""
        if value is None and self.optional:
            return (None, None)
        if type(value) is not datetime:
            raise TypeError(f"{value!r} is a value of {type(value)!r}; the field takes a datetime")
        clock = value.replace(tzinfo=None, fold=0) - datetime.min
        return (clock // _MICROSECOND * 2 + value.fold, zone_value(value))

    def decode(self, leaves: tuple[Any, ...]) -> Any:
        """Return the value of its leaves."""
        number, zone = leaves
        if number is None:
            return None
        micro, fold = divmod(number, 2)
        if not 0 <= micro < (date.max.toordinal()) * _DAY:
            raise damaged(f"a datetime of {micro} microseconds")
        clock = datetime.min + timedelta(microseconds=micro)
        return clock.replace(tzinfo=value_zone(zone), fold=fold)


@dataclass(frozen=True, slots=True)
class InlineSpec:
    """Another record, inside: its leaves are leaves of the outer one."""

    cls: Any  # a record class

    def leaves(self) -> list[Leaf]:
        """Return its leaves, in order."""
        info = self.cls.__record__
        return [
            Leaf(f".{name}", leaf.kind, leaf.size, leaf.count, leaf.optional)
            for name, leaf in info.leaves
        ]

    def describe(self) -> tuple[Any, ...]:
        """Return what a schema keeps of it."""
        info = self.cls.__record__
        return ("inline", info.name, tuple(item.describe() for item in info.items))

    def key(self) -> tuple[Any, ...]:
        """Return what decides about the layout."""
        return ("inline", tuple((item.name, item.spec.key()) for item in self.cls.__record__.items))

    def __str__(self) -> str:
        inner = ", ".join(f"{item.name}: {item.spec}" for item in self.cls.__record__.items)
        return f"{self.cls.__record__.name}{{{inner}}}"


def _optional(described: tuple[Any, ...], optional: bool) -> tuple[Any, ...]:
    return ("optional", described) if optional else described


def _or_none(optional: bool) -> str:
    return " or None" if optional else ""
