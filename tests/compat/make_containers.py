"""Make the golden pools of the other containers: sets, deques, sorted ones, arrays, values.

    python tests/compat/make_containers.py

Run this only when the format changes on purpose.  ``tests/test_compat.py`` says what must be in
them.
"""

from __future__ import annotations

import array
import ipaddress
import lzma
import os
import pathlib
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import pmemstore

HERE = Path(__file__).resolve().parent
#: Medium of the pool: what its log looks like.
POOLS = {"direct": "volatile", "file": "sync"}
#: Keys in Python's order.
ORDERED: list[list[Any]] = [
    [-(2**70), -1.5, -1, 0.25, 3, 2**53 + 1, 2.0**60, 10**40],
    ["", "\0", "a", "a\0", "ab" * 40, "é", "\ud800", "𐀀"],
    [b"", b"\0", b"\0\0", b"\x01", b"\xff" * 100],
    [(), (1,), (1, "a"), (1, "a", None), (1.5, "", b"x"), (2, ("z",))],
]


def content() -> dict[str, Any]:
    """Return what both pools hold when their last checkpoint is done."""
    return {
        "set": {1, "two", b"three", (4, 5), None},
        "deque": deque(range(200), maxlen=120),
        "numbers": pmemstore.SortedSet.of(range(500, 0, -1)),
        "index": pmemstore.SortedDict.of((f"{i:03}", [i]) for i in range(300)),
        "ordered": [pmemstore.SortedSet.of(reversed(keys)) for keys in ORDERED],
        "array": array.array("d", (i / 3 for i in range(400))),
        "bytes": array.array("B", bytes(range(256))),
        "path": pathlib.PurePosixPath("a/b"),
        "address": ipaddress.ip_network("10.0.0.0/8"),
    }


def change(root: Any, first: int) -> None:
    """Change all containers: what recovery has to redo, or to undo."""
    for i in range(first, first + 40):
        root["set"].add(i)
        root["deque"].append(-i)
        root["numbers"].add(1000 + i)
        root["numbers"].discard(i)
        root["index"][f"{i:03}x"] = i
        root["array"][i] = float(i)


def write(path: Path, copy: Path) -> None:
    """Make a pool, and copy its file while a transaction is open."""
    with pmemstore.open(path, "n", size="512K", log_size="64K") as pool:
        pool.root.update(content())
        pool.checkpoint()
        with pool.transaction():
            change(pool.root, 10)
        try:
            with pool.transaction():
                change(pool.root, 100)
                pool.root["index"].clear()
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
            (HERE / f"containers1-{name}.pool.xz").write_bytes(packed)


if __name__ == "__main__":
    main()
