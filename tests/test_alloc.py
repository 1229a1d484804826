"""Allocation as Python sees it: statistics that add up, and nothing that is lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pmemstore import Pool

if TYPE_CHECKING:
    from conftest import Medium, Opener


def test_usage_adds_up(pool: Pool) -> None:
    """Used and free bytes are the sum of their parts."""
    pool.root.update({i: b"x" * (37 * i) for i in range(300)})
    pool.root["large"] = [b"y" * 100_000, b"z" * 40_000]
    usage = pool.heap()
    in_blocks = sum(cls.used_bytes for cls in usage.classes)
    assert usage.used_bytes == in_blocks + usage.run_bytes
    assert usage.runs == 2
    assert usage.run_bytes >= 140_000
    assert usage.span_free_bytes <= sum(cls.free_bytes for cls in usage.classes)
    assert 0 < usage.largest_free_bytes <= usage.free_page_bytes <= usage.free_bytes
    assert usage.used_bytes + usage.free_bytes + usage.table_bytes <= usage.heap_bytes
    assert 0.0 <= usage.fragmentation <= 1.0
    assert [cls.size for cls in usage.classes] == sorted(cls.size for cls in usage.classes)
    assert usage.used_bytes == pool.stats().used_bytes == pool.check().allocated_bytes


def test_deleting_everything_gives_all_memory_back(pool: Pool) -> None:
    """After collect() the pool uses what it used when it was empty."""
    empty = pool.heap().used_bytes
    pool.root["d"] = {f"k{i}": [i, {"x": "y" * i}] for i in range(300)}
    pool.root["l"] = [b"z" * 50_000 for _ in range(10)]
    assert pool.heap().used_bytes > empty + 500_000
    pool.root.clear()
    freed = pool.collect()
    assert freed >= 0
    assert pool.heap().used_bytes == empty
    assert pool.check().leaked_bytes == 0


def test_churn_does_not_grow_the_pool(pool: Pool) -> None:
    """Replacing values of all sizes again and again reuses their space."""
    rng = random.Random(5)
    stored = pool.root.setdefault("d", {})
    for _ in range(200):
        stored[rng.randrange(20)] = b"x" * rng.randrange(20_000)
    size = pool.stats().size
    for _ in range(1500):
        stored[rng.randrange(20)] = b"x" * rng.randrange(20_000)
    assert pool.stats().size <= 2 * size
    assert pool.check().ok


def test_pool_grows_by_itself(medium: Medium, open_pool: Opener) -> None:
    """A pool of half a megabyte takes ten, and has them after reopening."""
    pool = open_pool(medium.folder / "t.pool", "n", size="512K")
    for i in range(100):
        pool.root[i] = bytes([i]) * 100_000
    assert pool.stats().size > 10_000_000
    assert (medium.folder / "t.pool").stat().st_size == pool.stats().size
    pool.close()
    pool = open_pool(medium.folder / "t.pool")
    assert all(pool.root[i] == bytes([i]) * 100_000 for i in range(100))


def test_grow_makes_room_ahead(pool: Pool) -> None:
    """grow() gives at least the size that was asked for, and never less than there was."""
    pool.grow("8M")
    size = pool.stats().size
    assert size >= 8 << 20
    pool.grow("1M")
    assert pool.stats().size == size
    assert pool.heap().free_page_bytes > 6 << 20
