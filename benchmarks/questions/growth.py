"""Is there a stall while a table grows, or when a checkpoint comes?

One store after the other puts new keys, from none up to ``growth`` items, with the clock around
every put.  Percentiles of all puts, and of each tenth of the way.  pmemstore also runs with a
large log and with a small one: on a file, checkpoints are few with the one and many with the
other (in memory the log does not decide how many there are).  What bounds the worst operation is
counted, not timed: ``counts.py``.
"""

from __future__ import annotations

import statistics
import time
from array import array
from pathlib import Path
from typing import Any

from contenders import DURABLE_ATOMIC, DURABLE_ATOMIC_RAM, VOLATILE, Contender
from contenders.pool import Pmemstore
from harness import SINGLE, Bench, clock_cost_ns, compile_loop, no_collection, pairs_of, percentile

import pmemstore

PARTS = 10
LOGS = {"log of 64 MiB": "64M", "log of 256 KiB": "256K"}
CLASSES = (DURABLE_ATOMIC, DURABLE_ATOMIC_RAM, VOLATILE)


def grow(store: Contender, statement: str, items: int) -> list[float]:
    """Nanoseconds of each put, in order."""
    loop = compile_loop(SINGLE, statement, "key, value", store.names())
    times: list[float] = []
    for part in range(PARTS):
        first = items * part // PARTS
        todo = pairs_of(range(first, items * (part + 1) // PARTS))
        out = array("q", bytes(8 * len(todo)))
        with no_collection():
            cost = clock_cost_ns()
            loop(todo, time.perf_counter_ns, out)
        times += [max(0.0, each - cost) for each in out]
    return times


def figures(times: list[float]) -> dict[str, Any]:
    ordered = sorted(times)
    row: dict[str, Any] = {
        "median": statistics.median(ordered),
        "samples": len(ordered),
        "p50": percentile(ordered, 0.5),
        "p99": percentile(ordered, 0.99),
        "p999": percentile(ordered, 0.999),
        "max": ordered[-1],
    }
    return row


def answer(bench: Bench, name: str, contender: str, times: list[float]) -> None:
    parts = [times[len(times) * i // PARTS : len(times) * (i + 1) // PARTS] for i in range(PARTS)]
    by_part = [
        {"items": len(times) * (i + 1) // PARTS} | figures(part) for i, part in enumerate(parts)
    ]
    bench.row(
        "growth",
        name,
        contender,
        "ns",
        figures(times),
        items=len(times),
        parts=by_part,
        writes=True,
    )


def ask(bench: Bench) -> None:
    items = bench.sizes["growth"]
    name = f"put, from 0 to {items:,} items"
    for kind in bench.chosen:
        if kind.name == "bare write":
            continue
        # Not interleaved: a table is grown once, and the percentiles are those of one life.
        with bench.opened([kind]) as (store,):
            if store.durability.key not in CLASSES or items > kind.items_max:
                bench.lacks(name, kind.name, "too slow to be grown so far, or not durable")
                continue
            times = grow(store, store.statements["put"], items)
            if sum(1 for _ in store.items()) != items:
                raise AssertionError(f"{store.name} does not hold {items} items")
            answer(bench, name, kind.name, times)
            bench.said(f"growth: {kind.name}")
    if Pmemstore in bench.chosen:
        for words, log_size in LOGS.items():
            with bench.folder() as folder:
                times, checkpoints = grow_with_log(folder, items, log_size)
            answer(bench, f"{name}, {words}, {checkpoints:,} checkpoints", "pmemstore", times)


def grow_with_log(folder: Path, items: int, log_size: str) -> tuple[list[float], int]:
    pmemstore.open(folder / "bench.pool", "n", log_size=log_size).close()
    store = Pmemstore(folder)
    try:
        times = grow(store, store.statements["put"], items)
        return times, store.pool.stats().checkpoints
    finally:
        store.close()
