"""A million items: what they take, and what opening the pool and a get cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore

if TYPE_CHECKING:
    from conftest import Medium

ITEMS = 1_000_000
BATCH = 10_000
BYTES_PER_ITEM_MAX = 180
ANONYMOUS_GROWTH_MAX = 3 << 20
FAULTS_MORE_MAX = 64

pytestmark = pytest.mark.slow


def key_of(number: int) -> str:
    return f"key-{number:012}"


def value_of(number: int) -> bytes:
    return number.to_bytes(8, "little") * 12 + b"tail"


assert len(key_of(0)) == 16
assert len(value_of(0)) == 100


def fill(path: Path, items: int) -> dict[str, Any]:
    """Make a pool of so many items; return what it takes."""
    start = time.perf_counter()
    with pmemstore.open(path, "n") as pool:
        empty = pool.stats().used_bytes
        pool.root["items"] = {}
        stored = pool.root["items"]
        for first in range(0, items, BATCH):
            with pool.transaction():
                for number in range(first, min(first + BATCH, items)):
                    stored[key_of(number)] = value_of(number)
        stats = pool.stats()
    return {
        "items": items,
        "seconds": round(time.perf_counter() - start, 2),
        "used_bytes_per_item": (stats.used_bytes - empty) / items,
        "file_bytes_per_item": path.stat().st_size / items,
        "fences": stats.fences,
        "syncs": stats.syncs,
        "checkpoints": stats.checkpoints,
    }


READER = """
    import json, random, resource, sys, time

    def faults():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_minflt + usage.ru_majflt

    def anonymous():
        with open("/proc/self/smaps_rollup") as lines:
            sizes = dict(line.split(":") for line in lines if ":" in line and "kB" in line)
        return int(sizes["Anonymous"].split()[0]) * 1024

    def read_bytes():
        with open("/proc/self/io") as lines:
            return int(dict(line.split(":") for line in lines)["rchar"])

    import pmemstore

    path, items, gets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    key = "key-{:012}".format
    random.seed(1)
    wanted = [random.randrange(items) for _ in range(gets)]
    result = {}
    before, read_before, faults_before = anonymous(), read_bytes(), faults()
    start = time.perf_counter()
    pool = pmemstore.open(path, sys.argv[4])
    stored = pool.root["items"]
    first = stored[key(items // 2)]
    result["open_and_get_us"] = round((time.perf_counter() - start) * 1e6)
    result["open_read_bytes"] = read_bytes() - read_before
    result["open_page_faults"] = faults() - faults_before
    result["open_anonymous"] = anonymous() - before
    start = time.perf_counter()
    for number in wanted:
        assert stored[key(number)][:8] == number.to_bytes(8, "little")
    result["get_ns"] = round((time.perf_counter() - start) / gets * 1e9)
    result["gets_anonymous"] = anonymous() - before
    result["len"] = len(stored)
    result["recovered_units"] = pool.stats().recovered_units
    pool.close()
    print(json.dumps(result))
"""


def read(path: Path, items: int, flag: str = "w") -> dict[str, Any]:
    """Open the pool in a new interpreter, get items, and say what that took."""
    code = textwrap.dedent(READER)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(path), str(items), "20000", flag],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result.pop("len") == items
    return result


def check_scale(folder: Path, name: str) -> None:
    paths = {items: folder / f"{items}.pool" for items in (1000, ITEMS)}
    filled = {items: fill(path, items) for items, path in paths.items()}
    costs = {items: read(path, items) for items, path in paths.items()}
    only_read = {items: read(path, items, "r") for items, path in paths.items()}
    for items in paths:
        print(f"\n{name}, {items} items: {filled[items]}")
        print(f"  open w: {costs[items]}\n  open r: {only_read[items]}")
    assert filled[ITEMS]["used_bytes_per_item"] <= BYTES_PER_ITEM_MAX
    for flag in (costs, only_read):
        # A thousand times the items, and what opening reads stays the same.
        assert flag[ITEMS]["open_read_bytes"] == flag[1000]["open_read_bytes"]
        assert flag[ITEMS]["open_page_faults"] <= flag[1000]["open_page_faults"] + FAULTS_MORE_MAX
        assert flag[ITEMS]["recovered_units"] == 0
        assert flag[ITEMS]["open_anonymous"] <= ANONYMOUS_GROWTH_MAX
        assert flag[ITEMS]["gets_anonymous"] <= ANONYMOUS_GROWTH_MAX
    os.unlink(paths[ITEMS])


def test_million_items_in_place(direct: Medium) -> None:
    """On tmpfs, stores in place: at most 180 bytes an item, and opening does not grow."""
    check_scale(direct.folder, "tmpfs")


def test_million_items_on_a_file(file_medium: Medium) -> None:
    """On an ordinary file: the same, though the pool is mapped privately."""
    check_scale(file_medium.folder, "file")


def test_million_items_are_sound(direct: Medium) -> None:
    """The exhaustive check of a large pool finds nothing; emptying it leaks nothing."""
    path = direct.folder / "large.pool"
    fill(path, ITEMS)
    with pmemstore.open(path, "w") as pool:
        result = pool.check()
        assert result.ok, result.problems
        assert result.entries >= ITEMS
        assert result.leaked_bytes == 0
        full = pool.stats().used_bytes
        for first in range(0, ITEMS, 4 * BATCH):
            with pool.transaction():
                for number in range(first, first + 2 * BATCH):
                    del pool.root["items"][key_of(number)]
        assert len(pool.root["items"]) == ITEMS // 2
        assert pool.check().ok
        del pool.root["items"]
        pool.collect()
        assert pool.stats().used_bytes < full / 1000
        assert pool.check().leaked_bytes == 0
