"""Static types of records: ``make types`` runs mypy over this page.

What is wrong is marked with the error that mypy must find; an unused mark is an error too
(``warn_unused_ignores``), so a decorator that mypy did not understand would be noticed.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated, Any, ClassVar, Generic, TypeVar, assert_type

import pytest

import pmemstore as ps
from pmemstore import record

T = TypeVar("T")


class Kind(enum.Enum):
    PLAIN = 1
    FANCY = 2


@ps.record
class Spot:
    x: ps.int32
    y: ps.float32 = 0.0


@record(order=True, frozen=True, kw_only=True)
class Version:
    major: ps.uint8
    minor: ps.uint8 = 0


@ps.record
class Thing:
    id: int
    name: Annotated[str, ps.fixed(16)]
    kind: Kind = Kind.PLAIN
    when: dt.datetime | None = None
    row: Annotated[tuple[int, ...], ps.array_of(ps.int16, 3)] = (0, 0, 0)
    spot: Annotated[Spot, ps.inline] = ps.field(default_factory=lambda: Spot(0))
    size: ps.int64 = ps.field(default=0, was="length")
    parent: Thing | None = None
    tags: list[str] = ps.field(default_factory=list)
    count: ClassVar[int] = 0

    def twice(self) -> int:
        return 2 * self.size


@ps.record
class Better(Thing):
    more: float = 0.0


@ps.record
class Box(Generic[T]):
    content: T


def right() -> list[Any]:
    """Build one of each; mypy knows every type."""
    thing = Thing(1, "a", Kind.FANCY, size=3)
    assert_type(thing, Thing)
    assert_type(thing.id, int)
    assert_type(thing.name, str)
    assert_type(thing.kind, Kind)
    assert_type(thing.when, dt.datetime | None)
    assert_type(thing.row, tuple[int, ...])
    assert_type(thing.spot.x, int)
    assert_type(thing.spot.y, float)
    assert_type(thing.size, int)
    assert_type(thing.tags, list[str])
    assert_type(thing.twice(), int)
    assert_type(Version(major=1) < Version(major=2), bool)
    assert_type(Box(3).content, int)
    better = Better(2, "b", more=1.5)
    assert_type(better.parent, Thing | None)
    better.parent = thing
    match thing:
        case Thing(number, name):
            assert_type(number, int)
            assert_type(name, str)
    return [thing, better]


def wrong() -> None:
    """Find an error in each of these; nobody calls it."""
    Thing()  # type: ignore[call-arg]
    Thing("1", "a")  # type: ignore[arg-type]
    Thing(1, "a", "FANCY")  # type: ignore[arg-type]
    Thing(1, "a", colour="red")  # type: ignore[call-arg]
    Thing(1, "a", count=3)  # type: ignore[call-arg]
    Version(1)  # type: ignore[call-arg]
    Version(major=1).major = 2  # type: ignore[misc]
    Spot(1) < Spot(2)  # type: ignore[operator]  # noqa: B015 - the point is its type
    thing = Thing(1, "a")
    thing.size = "long"  # type: ignore[assignment]
    thing.spot = (1, 2)  # type: ignore[assignment]
    thing.tags.append(3)  # type: ignore[arg-type]
    thing.colour = "red"  # type: ignore[attr-defined]
    ps.fixed("16")  # type: ignore[arg-type]
    ps.record(name=3)  # type: ignore[call-overload]
    ps.field(default=0, was=3)  # type: ignore[call-overload]


def test_what_is_right_works(tmp_path: Any) -> None:
    """The same objects, in a pool."""
    things = right()
    with ps.open(tmp_path / "typed.pool", "n", size="1M") as pool:
        pool.root["things"] = things
        assert list(pool.root["things"]) == things


def test_some_of_what_is_wrong_is_refused_at_run_time_too() -> None:
    with pytest.raises(TypeError):
        Thing()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes a fixed str"):
        Thing(1, 2)  # type: ignore[arg-type]
