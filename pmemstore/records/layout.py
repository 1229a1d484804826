"""How the fields of a record class lie in a pool, and what another layout makes of them."""

from __future__ import annotations

import enum
import hashlib  # here: it takes milliseconds, and the first open would pay them
import keyword
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pmemstore._native import lib
from pmemstore.records.specs import (
    KINDS,
    SIZES,
    CellSpec,
    DatetimeSpec,
    EnumSpec,
    InlineSpec,
    Leaf,
    NativeSpec,
)
from pmemstore.values import pack_value

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["FRESH", "Info", "Item", "Mismatch", "Plan", "plan", "revive", "taken"]

Spec = CellSpec | NativeSpec | EnumSpec | DatetimeSpec | InlineSpec

FRESH: Final = Ellipsis  # a fallback leaf that is made anew each time
_DESCRIPTION: Final = 1
_TAKEN: Final = frozenset(
    [
        "_pool",
        "_offset",
        "_tag",
        "_form",
        "_schema",
        "_leaves",
        "_put",
        "_fill",
        "_reshape",
        "_layout",
    ]
)


def taken(name: str) -> bool:
    """Whether a field cannot have this name, because records or Python have a use for it."""
    return name in _TAKEN or (name.startswith("__") and name.endswith("__"))


@dataclass(frozen=True, slots=True)
class Item:
    """A field of a record class.

    Attributes:
        name: Of the attribute.
        spec: What it is.
        default: (value,) or ().
        factory: Makes the default; or None.
        was: Former names.
    """

    name: str
    spec: Spec
    default: tuple[Any, ...] = ()
    factory: Callable[[], Any] | None = None
    was: tuple[str, ...] = ()

    def describe(self) -> tuple[Any, ...]:
        """Return what the schema keeps of it."""
        default = self.default
        try:
            pack_value((default,))
        except TypeError:
            default = ()
        return (self.name, self.spec.describe(), default)

    def encode(self, value: Any) -> tuple[Any, ...]:
        """Return the leaves of a value."""
        if isinstance(self.spec, InlineSpec):
            if type(value) is not self.spec.cls:
                raise TypeError(f"{self.name}: {value!r} is no {self.spec.cls!r}")
            leaves: tuple[Any, ...] = value._leaves()
            return leaves
        encode = getattr(self.spec, "encode", None)
        return (value,) if encode is None else encode(value)

    def decode(self, leaves: tuple[Any, ...]) -> Any:
        """Return the value of its leaves; an inline record: a new one in memory."""
        if isinstance(self.spec, InlineSpec):
            copy = self.spec.cls.__new__(self.spec.cls)
            copy._fill(leaves)
            return copy
        decode = getattr(self.spec, "decode", None)
        return leaves[0] if decode is None else decode(leaves)

    def fallback(self) -> tuple[Any, ...] | None:
        """Return the leaves of the default, or FRESH for each; None: it has no default."""
        count = len(self.spec.leaves())
        if self.factory is not None:
            return (FRESH,) * count
        return self.encode(self.default[0]) if self.default else None


@dataclass(frozen=True)
class Info:
    """What ``__record__`` of a class holds.

    Attributes:
        name: Under which pools keep its schema.
        items: The fields, in order.
        leaves: Name and leaf of each, in order.
        places: (kind, offset, presence bit, count, size) of each leaf.
        bytes: Of a body.
        generic: The class was made from a schema, because none was declared.
    """

    name: str
    items: tuple[Item, ...]
    generic: bool = False
    leaves: tuple[tuple[str, Leaf], ...] = field(init=False)
    places: tuple[tuple[int, ...], ...] = field(init=False)
    bytes: int = field(init=False)
    first: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        leaves: list[tuple[str, Leaf]] = []
        first: list[int] = []
        for item in self.items:
            first.append(len(leaves))
            leaves += [(item.name + leaf.suffix, leaf) for leaf in item.spec.leaves()]
        places, size = _places([leaf for _, leaf in leaves])
        object.__setattr__(self, "leaves", tuple(leaves))
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "bytes", size)
        object.__setattr__(self, "first", tuple(first))

    def core_layout(self) -> _slots.Layout:
        """Return the layout for the C types."""
        names = tuple(name for name, _ in self.leaves)
        return _slots.Layout(self.name, names, self.places, self.bytes)

    def span(self, i: int) -> slice:
        """Return where the leaves of item ``i`` are among all leaves."""
        end = self.first[i + 1] if i + 1 < len(self.items) else len(self.leaves)
        return slice(self.first[i], end)

    def key(self) -> tuple[Any, ...]:
        """Return names and types, as far as they decide about the layout."""
        return tuple((item.name, item.spec.key()) for item in self.items)

    def fingerprint(self) -> int:
        """Return 64 bits that stand for the key."""
        digest = hashlib.blake2b(pack_value(self.key())[1], digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def describe(self, version: int) -> tuple[Any, ...]:
        """Return what the schema keeps."""
        items = tuple(item.describe() for item in self.items)
        return (_DESCRIPTION, self.name, version, items)

    @cached_property
    def stored(self) -> tuple[Any, ...]:
        """What the first schema of this class has in a pool: one with that need not be revived."""
        return self.fingerprint(), pack_value(self.describe(1))[1]


def _places(leaves: list[Leaf]) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Lay leaves out: presence bits, then each at the next multiple of its alignment."""
    optional = sum(leaf.optional for leaf in leaves)
    at, bit, places = (optional + 63) // 64 * 8, 0, []
    for leaf in leaves:
        at = -(-at // leaf.align) * leaf.align
        bit += leaf.optional
        places.append((leaf.kind, at, bit if leaf.optional else 0, leaf.count, leaf.size))
        at += leaf.size * (leaf.count or 1)
    return tuple(places), -(-at // 8) * 8


# ---- out of a schema


def revive(description: Any, inner: Callable[[Info], Any]) -> tuple[Info, int]:
    """Make of a stored description what it describes.

    Args:
        description: As ``Info.describe`` made it; it may be anything.
        inner: Makes a class for a record that lies inline.

    Returns:
        The layout, and its version.

    Raises:
        ValueError: It describes nothing.
    """
    try:
        number, name, version, items = description
        if number != _DESCRIPTION or type(name) is not str or type(version) is not int:
            raise ValueError("the head is wrong")
        return Info(name, _revived(items, inner, 0), generic=True), version
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _revived(described: Any, inner: Callable[[Info], Any], depth: int) -> tuple[Item, ...]:
    if type(described) is not tuple or len(described) > lib.PMS_RECORD_FIELDS_MAX:
        raise ValueError("no list of fields, or too many")
    items = tuple(_item(each, inner, depth) for each in described)
    if len({item.name for item in items}) < len(items):
        raise ValueError("two fields of one name")
    return items


def _item(described: Any, inner: Callable[[Info], Any], depth: int) -> Item:
    name, kind, default = described
    if type(name) is not str or not name.isidentifier() or type(default) is not tuple:
        raise ValueError(f"a field named {name!r}")
    if keyword.iskeyword(name) or taken(name):
        raise ValueError(f"a field with the name {name!r}, which no field can have")
    return Item(name, _spec(kind, inner, depth), default[:1])


def _spec(kind: Any, inner: Callable[[Info], Any], depth: int) -> Spec:
    if depth > _DEPTH_MAX:
        raise ValueError("types inside types without end")
    match kind:
        case ("optional", what):
            spec = _spec(what, inner, depth + 1)
            if isinstance(spec, NativeSpec):
                return NativeSpec(spec.name, spec.size, spec.count, True)
            if isinstance(spec, EnumSpec):
                return EnumSpec(spec.name, spec.members, spec.cls, True)
            if isinstance(spec, DatetimeSpec):
                return DatetimeSpec(True)
        case ("cell", str(text)):
            return CellSpec(text)
        case ("datetime",):
            return DatetimeSpec()
        case ("enum", str(name), tuple(members)):
            cls = enum.Enum(name, {str(m): i for i, m in enumerate(members)})  # type: ignore[misc] # made of data
            return EnumSpec(name, tuple(cls.__members__), cls)
        case ("inline", str(name), items):
            each = _revived(items, inner, depth + 1)
            return InlineSpec(inner(Info(name, each, generic=True)))
        case ("array", str(name), int(count)) if name in SIZES and 0 < count < _COUNT_MAX:
            return NativeSpec(name, count=count)
        case ("str" | "bytes" as name, int(size)) if 0 < size < _COUNT_MAX:
            return NativeSpec(name, size=size)
        case (str(name),) if name in KINDS and name in SIZES:
            return NativeSpec(name)
    raise ValueError(f"a type {kind!r}")


_DEPTH_MAX: Final = 16
_COUNT_MAX: Final = 1 << 16


# ---- one layout from another


class Mismatch(Exception):
    """Fields that cannot be read from what is stored: name -> why."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a class finds its leaves in a stored layout.

    Attributes:
        source: Stored leaf of each leaf, or -1: the fallback.
        fallback: For each leaf; None where it has a source.
    """

    source: tuple[int, ...]
    fallback: tuple[Any, ...]


def plan(new: tuple[Item, ...], old: Info, prefix: str = "") -> Plan:
    """Find for each field where it is read from.

    Args:
        new: Fields of the class.
        old: The stored layout.
        prefix: Of names in messages.

    Raises:
        Mismatch: For at least one there is no way.
    """
    stored = {item.name: i for i, item in enumerate(old.items)}
    names = {item.name for item in new}
    source: list[int] = []
    fallback: list[Any] = []
    reasons: dict[str, str] = {}
    for item in new:
        former = [name for name in (item.name, *item.was) if name in stored]
        former = [name for name in former if name == item.name or name not in names]
        try:
            if former:
                names.add(former[0])  # nobody else may take it
                one = _from_stored(item, old, stored[former[0]], prefix)
            else:
                one = _added(item, prefix)
        except Mismatch as error:
            reasons.update(error.reasons)
            continue
        source += one.source
        fallback += one.fallback
    if reasons:
        raise Mismatch(reasons)
    return Plan(tuple(source), tuple(fallback))


def _added(item: Item, prefix: str) -> Plan:
    leaves = item.fallback()
    if leaves is None:
        raise Mismatch({prefix + item.name: "is new, and has no default"})
    return Plan((-1,) * len(leaves), leaves)


def _from_stored(item: Item, old: Info, i: int, prefix: str) -> Plan:
    before, first = old.items[i], old.first[i]
    if isinstance(item.spec, InlineSpec) and isinstance(before.spec, InlineSpec):
        inner = plan(
            item.spec.cls.__record__.items,
            before.spec.cls.__record__,
            f"{prefix}{item.name}.",
        )
        source = tuple(first + place if place >= 0 else -1 for place in inner.source)
        return Plan(source, inner.fallback)
    places = None if isinstance(item.spec, InlineSpec) else item.spec.source(before.spec)
    if places is None:
        raise Mismatch({prefix + item.name: f"{before.spec} cannot be read as {item.spec}"})
    return Plan(tuple(first + place for place in places), (None,) * len(places))
