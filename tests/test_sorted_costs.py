"""What operations of SortedDict and SortedSet cost, in counts: fences, syncs, lines, log, space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pmemstore import Pool, PoolStats, SortedDict, SortedSet


def spent(pool: Pool, action: Callable[[], Any]) -> PoolStats:
    """Return what the counters rose by."""
    before = pool.stats()
    action()
    after = pool.stats()
    return PoolStats(*(getattr(after, n) - getattr(before, n) for n in PoolStats.__slots__))


OPERATIONS: dict[str, Callable[[Pool], Any]] = {
    "put": lambda pool: pool.root["d"].__setitem__(7.5, b"v" * 100),
    "replace": lambda pool: pool.root["d"].__setitem__(5, 6),
    "replace with more": lambda pool: pool.root["d"].__setitem__(6, b"w" * 3000),
    "delete": lambda pool: pool.root["d"].__delitem__(7),
    "pop": lambda pool: pool.root["d"].pop(8),
    "popitem": lambda pool: pool.root["d"].popitem(),
    "setdefault": lambda pool: pool.root["d"].setdefault(9.5, 1),
    "setdefault of a list": lambda pool: pool.root["d"].setdefault(9.5, [1]),
    "update": lambda pool: pool.root["d"].update({n + 0.5: n for n in range(30)}),
    "remove_range": lambda pool: pool.root["d"].remove_range(30, 60),
    "del slice": lambda pool: pool.root["d"].keys().__delitem__(slice(30, 60)),
    "clear": lambda pool: pool.root["d"].clear(),
    "new": lambda pool: pool.root.__setitem__("new", SortedDict.of({1: 1})),
    "add": lambda pool: pool.root["s"].add("new"),
    "discard": lambda pool: pool.root["s"].discard("key 3"),
    "set pop": lambda pool: pool.root["s"].pop(5),
    "set update": lambda pool: pool.root["s"].update(f"new {n}" for n in range(30)),
    "set algebra": lambda pool: pool.root["s"].__ixor__({"key 1", "new"}),
}


def filled(pool: Pool) -> Pool:
    pool.root["d"] = SortedDict.of(dict.fromkeys(range(100), b"v" * 100))
    pool.root["s"] = SortedSet.of(f"key {n}" for n in range(100))
    return pool


@pytest.mark.parametrize("name", OPERATIONS)
def test_autocommit_takes_one_fence(name: str, direct_pool: Pool) -> None:
    filled(direct_pool)
    cost = spent(direct_pool, lambda: OPERATIONS[name](direct_pool))
    assert (cost.fences, cost.commits, cost.syncs) == (1, 1, 0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_autocommit_takes_one_sync(name: str, file_pool: Pool) -> None:
    filled(file_pool)
    cost = spent(file_pool, lambda: OPERATIONS[name](file_pool))
    assert (cost.fences, cost.commits, cost.syncs) == (0, 1, 1)


@pytest.mark.parametrize(
    "name", ["in", "get", "slice", "range", "add again", "discard nothing", "same value"]
)
def test_what_changes_nothing_costs_nothing(name: str, direct_pool: Pool) -> None:
    filled(direct_pool)
    ours, items = direct_pool.root["d"], direct_pool.root["s"]
    actions: dict[str, Callable[[], object]] = {
        "in": lambda: 5 in ours,
        "get": lambda: ours[5],
        "slice": lambda: ours.items()[3:50],
        "range": lambda: list(ours.irange(4, 60)),
        "add again": lambda: items.add("key 5"),
        "discard nothing": lambda: items.discard("nothing"),
        "same value": lambda: ours.pop("nothing", None),
    }
    cost = spent(direct_pool, actions[name])
    assert (cost.fences, cost.log_bytes, cost.flushed_lines) == (0, 0, 0)


def test_a_thousand_puts_in_any_order_never_take_more_than_two_fences_each(
    direct_pool: Pool,
) -> None:
    """Splits of blocks and growth of the heap included; growth of the file apart."""
    direct_pool.grow("4M")
    direct_pool.root["d"] = SortedDict.of()
    ours = direct_pool.root["d"]
    costs = [
        spent(direct_pool, lambda i=i: ours.__setitem__(i * 7919 % 1009, i)) for i in range(1000)
    ]
    assert max(cost.fences for cost in costs) <= 2
    # A split rewrites a leaf, 1024 bytes; mostly a put changes a reference and some bytes.
    assert max(cost.log_bytes for cost in costs) <= 2048
    assert sum(cost.log_bytes for cost in costs) <= 1000 * 280


def test_an_ascending_load_logs_little_and_wastes_no_space(direct_pool: Pool) -> None:
    """A put at the end moves nothing; leaves stay full: 18 bytes and the entry for each key."""
    direct_pool.grow("4M")
    direct_pool.root["d"] = SortedDict.of()
    ours = direct_pool.root["d"]
    costs = [spent(direct_pool, lambda i=i: ours.__setitem__(i, i)) for i in range(1000)]
    assert sum(cost.log_bytes for cost in costs) <= 1000 * 240
    before = direct_pool.heap().used_bytes
    ours.update({i: i for i in range(1000, 11_000)})
    assert direct_pool.heap().used_bytes - before <= 10_000 * (32 + 18 + 1)


def test_clearing_and_dropping_cost_the_same_at_any_length(direct_pool: Pool) -> None:
    """O(1): the entries go later, 32 with each operation."""
    direct_pool.grow("8M")
    lines = []
    for length in (1000, 20_000):
        direct_pool.root["d"] = SortedDict.of({n: n for n in range(length)})
        direct_pool.root["s"] = SortedSet.of(range(length))
        direct_pool.collect()
        cleared = spent(direct_pool, direct_pool.root["d"].clear)
        direct_pool.collect()
        dropped = spent(direct_pool, lambda: direct_pool.root.__delitem__("s"))
        lines.append((cleared.flushed_lines, dropped.flushed_lines))
        assert cleared.fences == dropped.fences == 1
        assert cleared.log_bytes + dropped.log_bytes < 4096
    for small, large in zip(*lines, strict=True):
        assert large <= small + 16
