"""No crash shows half of what a record does: each operation, each medium, each layout."""

from __future__ import annotations

import datetime as dt
import enum
import sys
import types
from collections.abc import Callable
from typing import Annotated, Any

import pytest

import pmemstore as ps
from pmemstore import Pool
from pmemstore.testing import crash_check

Workload = Callable[[Pool], object]
MEDIA = ["direct", "file"]


class Mood(enum.Enum):
    CALM = 1
    WILD = 2


EDITED = types.ModuleType("edited_for_crashes")
EDITED.__dict__.update(ps=ps, Annotated=Annotated, Any=Any, Mood=Mood, dt=dt)
sys.modules[EDITED.__name__] = EDITED
EARLY = """
    number: ps.int16
    name: str
    wide: Annotated[tuple[int, ...], ps.array_of(ps.int32, 30)] = (0,) * 30
    text: Annotated[str, ps.fixed(20)] = ""
    maybe: ps.int64 | None = None
    mood: Mood = Mood.CALM
    when: dt.datetime | None = None
    other: Any = None
"""
LATER = """
    new: int = 2**70
    count: ps.int64 = ps.field(default=0, was="number")
    name: Any = None
    wide: Annotated[tuple[int, ...], ps.array_of(ps.int32, 30)] = (0,) * 30
    text: str = "-"
    other: Any = None
    items: list[Any] = ps.field(default_factory=list)
"""


def declare(body: str) -> Any:
    """Declare the class as if its module had been edited."""
    exec(f"@ps.record\nclass Crashed:{body}", vars(EDITED))
    return vars(EDITED)["Crashed"]


def furnish(pool: Pool) -> None:
    cls = declare(EARLY)
    inner = cls(3, "inner " * 30)
    pool.root["one"] = cls(1, "one " * 30, tuple(range(30)), "fixed", 5, other=inner)
    pool.root["list"] = [cls(i, str(i) * i) for i in range(6)]
    pool.root["shared"] = pool.root["one"]


def with_class(body: str, work: Callable[[Pool, Any], object]) -> Workload:
    def run(pool: Pool) -> object:
        return work(pool, declare(body))

    return run


def change(**fields: Any) -> Workload:
    """Store to fields, one after the other: each is a unit of work."""

    def work(pool: Pool, cls: Any) -> None:
        for name, value in fields.items():
            setattr(pool.root["one"], name, value)

    return with_class(EARLY, work)


def change_together(pool: Pool, cls: Any) -> None:
    with pool.transaction():
        one = pool.root["one"]
        one.number, one.wide, one.other = 9, (-1,) * 30, [cls(8, "x" * 400)]
        pool.root["more"] = cls(10, "more", other=one)


def replace(pool: Pool, cls: Any) -> None:
    pool.root["one"] = cls(5, "five", other=cls(6, "six"))
    pool.root["list"][2] = pool.root["one"]
    del pool.root["shared"], pool.root["list"][4:]
    pool.collect()


def first_write_of_each(pool: Pool, cls: Any) -> None:
    pool.root["one"].count = 2**40
    pool.root["list"][1].text = "longer than the field was before, by far"
    pool.root["list"][2].items.append([1])
    pool.root["list"].append(cls(name="new"))


OPERATIONS: dict[str, Workload] = {
    "made": lambda pool: furnish(pool),
    "numbers": change(number=-7, maybe=2**62, mood=Mood.WILD),
    "none": change(maybe=None, when=None),
    "datetime": change(when=dt.datetime(2024, 1, 2, tzinfo=dt.UTC)),
    "array": change(wide=tuple(range(1000, 1030))),
    "texts": change(text="twenty bytes of text", name="a new text " * 40),
    "values": change(other=[{"deep": [1, 2]}, "x" * 100], name=2**100),
    "together": with_class(EARLY, change_together),
    "replaced": with_class(EARLY, replace),
    "a later layout": with_class(LATER, first_write_of_each),
    "migrated": with_class(LATER, lambda pool, cls: pool.migrate()),
}


def explore(name: str, medium: str, images: int, nested: int, log_size: str = "8K") -> None:
    report = crash_check(
        OPERATIONS[name],
        setup=furnish,
        media=[medium],
        log_size=log_size,
        images=images,
        nested=nested,
        seconds=600,
        keep=None,
    )
    tally = report.media[medium]
    assert tally.skipped == 0
    assert tally.points > 3
    print(f"\n{name}: {report}")


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_atomic_and_durable(name: str, medium: str) -> None:
    explore(name, medium, images=2, nested=1)


@pytest.mark.slow
@pytest.mark.parametrize("log_size", ["4K", "64K"])
@pytest.mark.parametrize("medium", [*MEDIA, "eadr"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_with_many_images(name: str, medium: str, log_size: str) -> None:
    explore(name, medium, images=48, nested=16, log_size=log_size)
