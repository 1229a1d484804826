"""No crash, at any moment of any operation of SortedDict and SortedSet, shows a state between.

As tests/crash/test_explore.py, which says how; each operation that they offer is here.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable

import pytest

from pmemstore import Pool, SortedDict, SortedSet
from pmemstore.testing import crash_check

Workload = Callable[[Pool], None]


class RolledBackError(Exception):
    pass


def dict_operations(pool: Pool) -> None:
    pool.root["d"] = SortedDict.of({3: "c", 1: "a"})
    ours = pool.root["d"]
    ours[2] = "text " * 30
    ours[2] = "short"
    ours[2] = "b" * 2000
    ours.setdefault(2.5, [1])
    ours.setdefault(2.5, 0)
    ours[2**70] = {"nested": SortedSet.of("ab")}
    ours.update({5: 5, 4: 4, 0: None})
    ours |= {7: 1}
    ours.popitem()
    ours.popitem(0)
    ours.pop(5)
    del ours[4]
    del ours.keys()[0]
    del ours.items()[1:]
    ours.remove_range(0, 10)
    ours["any kind"] = 1
    ours.clear()


def set_operations(pool: Pool) -> None:
    pool.root["s"] = SortedSet.of([("b", 1), ("a", datetime.date(2020, 1, 1))])
    items = pool.root["s"]
    items.add(("a" * 1500, 2))
    items.update([("c", n) for n in range(5)], [("d",)])
    items.discard(("c", 2))
    items.remove(("c", 3))
    items.pop()
    items.pop(0)
    items |= {("e",), ("f",)}
    items -= {("e",), ("zzz",)}
    items ^= {("f",), ("g",)}
    items &= {("g",), ("c", 1), ("c", 0)}
    items.difference_update([("c", 0)])
    items.intersection_update([("g",), ("c", 1)])
    items.symmetric_difference_update([("h",)])
    del items[0]
    del items[:]
    items.add(b"bytes")
    items.remove_range()


def trees_that_grow_and_shrink(pool: Pool) -> None:
    """Splits and joins of leaves and nodes, at both edges and between them."""
    pool.root["d"] = SortedDict.of({n: n for n in range(0, 400, 4)})
    ours = pool.root["d"]
    for n in range(3):
        with pool.transaction():
            for key in range(101 + 80 * n, 181 + 80 * n, 2):
                ours[key] = "v"
    with pool.transaction():
        for key in range(-1, -70, -1):
            ours[key] = None
    del ours.keys()[20:90]
    for key in (0, 4, 8, 101, 103):
        ours.pop(key, None)
    with pool.transaction():
        while len(ours) > 40:
            ours.popitem(0)
    ours.remove_range(200)


def a_large_one_goes(pool: Pool) -> None:
    """Cleared, dropped, torn down bit by bit."""
    pool.root["d"] = SortedDict.of({f"key {n}": [n] for n in range(70)})
    pool.root["s"] = SortedSet.of(range(300))
    pool.root["d"].clear()
    pool.root["d"]["new"] = 1
    del pool.root["s"]
    pool.collect()
    pool.root["d"].update({f"key {n}": n for n in range(30)})
    pool.root["d"] = pool.root["d"].copy()
    pool.checkpoint()


def roll_backs(pool: Pool) -> None:
    pool.root["d"] = SortedDict.of({n: n for n in range(80)})
    ours = pool.root["d"]
    with contextlib.suppress(RolledBackError), pool.transaction():
        ours.clear()
        ours.update({f"k{n}": n for n in range(40)})
        raise RolledBackError
    with pool.transaction():
        ours[-1] = "kept"
        with contextlib.suppress(RolledBackError), pool.transaction():
            ours.remove_range(10, 70)
            pool.root["new"] = SortedSet.of("abc")
            raise RolledBackError
        ours[100] = "kept"
    with contextlib.suppress(TypeError):
        ours.update({**dict.fromkeys(range(50), "never"), "mixed": 1})


SCENARIOS = [
    dict_operations,
    set_operations,
    trees_that_grow_and_shrink,
    a_large_one_goes,
    roll_backs,
]
MEDIA = ["direct", "file"]


def go_on(pool: Pool) -> None:
    """What an application does after a crash: something else."""
    pool.root["went on"] = SortedDict.of({2: 2})
    with pool.transaction():
        pool.root["went on"][1] = SortedSet.of([1])


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_operation_is_atomic_and_durable(
    scenario: Workload, medium: str, no_state_between: Callable[..., None]
) -> None:
    no_state_between(scenario, medium, follow=go_on)


@pytest.mark.slow
@pytest.mark.parametrize("log_size", ["4K", "16K", "64K"])
@pytest.mark.parametrize("medium", [*MEDIA, "eadr"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_operation_with_many_images(
    scenario: Workload, medium: str, log_size: str, request: pytest.FixtureRequest
) -> None:
    report = crash_check(
        scenario,
        media=[medium],
        follow=go_on,
        log_size=log_size,
        images=128,
        nested=40,
        seconds=30,
        seed=int(log_size[:-1]),
        keep=None,
    )
    print(f"\n{request.node.name}: {report}")
