"""Make the golden pools of records: what a program with an early layout has left.

    python tests/compat/make_records.py

Run this only when the format changes on purpose.  ``tests/test_record_schemas.py`` opens copies of
them with later layouts of the same class.
"""

from __future__ import annotations

import datetime as dt
import enum
import lzma
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import pmemstore as ps

HERE = Path(__file__).resolve().parent
#: Medium of the pool: what its log looks like.
POOLS = {"direct": "volatile", "file": "sync"}
ROWS = 5


class Color(enum.Enum):
    RED = 1
    GREEN = 2


@ps.record
class Point:
    x: ps.int16
    y: ps.int16 = 7


@ps.record
class Row:
    """One field of each kind."""

    flag: bool
    small: ps.int8
    byte: ps.uint8
    word: ps.uint32
    long: ps.uint64
    single: ps.float32
    double: float
    text: Annotated[str, ps.fixed(4)]
    data: Annotated[bytes, ps.fixed(4)]
    maybe: ps.int16 | None
    color: Color
    when: dt.datetime | None
    numbers: Annotated[tuple[int, ...], ps.array_of(ps.int16, 3)]
    point: Annotated[Point, ps.inline]
    value: int
    name: str
    other: Point | None
    items: list[Any]


def row(i: int) -> Row:
    """Return row ``i`` as the pools have it."""
    return Row(
        flag=i % 2 == 1,
        small=-i,
        byte=250 + i,
        word=2**32 - 1 - i,
        long=2**64 - 1 - i,
        single=i / 2,
        double=i / 3,
        text=f"t{i}",
        data=b"\0" * i,
        maybe=i if i % 2 else None,
        color=Color.GREEN if i % 2 else Color.RED,
        when=dt.datetime(2024, 1, 1 + i, tzinfo=dt.UTC) if i % 2 else None,
        numbers=(i, -i, 0),
        point=Point(i),
        value=i * 2**70,
        name=f"the name of row {i}",
        other=Point(100 + i) if i % 2 else None,
        items=[i, {"deep": [i]}],
    )


def write(path: Path, copy: Path) -> None:
    """Make a pool, and copy its file while a transaction is open."""
    with ps.open(path, "n", size="512K", log_size="16K") as pool:
        pool.root["rows"] = [row(i) for i in range(ROWS)]
        pool.root["first"] = pool.root["rows"][0]
        pool.checkpoint()
        pool.root["rows"][1].other.y = 8
        try:
            with pool.transaction():
                for each in pool.root["rows"]:
                    each.small = 99
                    each.name = "never committed " * 300
                shutil.copyfile(path, copy)
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for name, tier in POOLS.items():
            os.environ["PMEMSTORE_FORCE_TIER"] = tier
            copy = Path(folder, f"{name}.copy")
            write(Path(folder, f"{name}.pool"), copy)
            packed = lzma.compress(copy.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
            (HERE / f"records1-{name}.pool.xz").write_bytes(packed)


if __name__ == "__main__":
    main()
