"""No crash, at any moment of any operation on arrays, shows anything but the state before or after.

As tests/crash/test_explore.py; the oracle compares all contents with what a kill at the moment of
acknowledgement leaves.
"""

from __future__ import annotations

import array
import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pmemstore import Pool
from pmemstore.testing import CrashReport, crash_check
from pmemstore.testing.subject import contents

MEDIA = ("direct", "file")
Workload = Callable[[Pool], None]


class RolledBackError(Exception):
    pass


def items(pool: Pool) -> None:
    """Single elements, ranges, ranges with gaps, all of it."""
    a, b = pool.root["a"], pool.root["b"]
    a[3] = 1.5
    a[3] = 1.5
    a[-1] = 7
    a[2:30] = range(28)
    a[::7] = 5
    b[1] = (4, b"xyz")
    b[0:2] = [(5, b"a"), (6, b"b")]
    a.fill(2)
    a[:] = np.arange(40)


def growth(pool: Pool) -> None:
    """Blocks that are full, that move, and shapes that shrink."""
    a, b = pool.root["a"], pool.root["b"]
    for n in range(12):
        a.append(n)
    a.extend(range(100))
    b.extend([(1, b"q")] * 30)
    b.append((2, b"r"))
    a.resize(200)
    a.resize(10, 10)
    a[3] = 9
    a.append(range(10))
    a.resize(3)
    a.resize(0)
    a.append(1)


def views(pool: Pool) -> None:
    """write(): by itself, twice in a transaction, given up."""
    a = pool.root["a"]
    with a.write(slice(1, 9)) as view:
        view += 10
    with pool.transaction():
        with a.write(slice(0, 5)) as view:
            view[:] = -1
        a.append(3)
        with a.write() as view:
            view *= 2
        pool.root["n"] = 1
    with contextlib.suppress(RolledBackError), a.write() as view:
        view[:] = 0
        pool.root["n"] = 2
        raise RolledBackError
    with pool.transaction():
        with contextlib.suppress(RolledBackError), a.write() as view:
            view[:] = 0
            raise RolledBackError
        a[0] = 77


def coming_and_going(pool: Pool) -> None:
    """Arrays are made, replaced, shared, deleted, collected; inside containers, too."""
    root = pool.root
    root["c"] = array.array("h", range(100))
    root["c"] = np.zeros((3, 4), ">i2")
    root["d"] = {"x": [np.arange(5), root["c"]]}
    root["d"]["x"][0].append(1)
    del root["c"]
    root["d"]["x"][1][2, 3] = 5
    del root["d"]
    root["e"] = np.zeros(0)
    pool.collect()
    root["a"] = 1


def rolled_back(pool: Pool) -> None:
    a = pool.root["a"]
    with contextlib.suppress(RolledBackError), pool.transaction():
        a[0] = 5
        a.extend(range(500))
        pool.root["new"] = np.arange(600)
        a.resize(2)
        raise RolledBackError
    a.append(1)
    with pool.transaction():
        with contextlib.suppress(RolledBackError), pool.transaction():
            a.extend(range(300))
            raise RolledBackError
        a[1:4] = [1, 2, 3]
        a.append(2)


def large(pool: Pool) -> None:
    """More than the log holds, on the medium and in blocks that are new."""
    a = pool.root["a"]
    a.resize(3000)
    a[:] = np.arange(3000)
    with a.write(slice(100, 2900)) as view:
        view[:] = 5
    pool.root["big"] = np.arange(9000.0)
    with pool.transaction():
        a.fill(1)
        a.append(4)
        pool.root["big"][5000:] = 3


WORKLOADS: dict[str, Workload] = {
    function.__name__: function
    for function in (items, growth, views, coming_and_going, rolled_back, large)
}


def setup(pool: Pool) -> None:
    pool.root["a"] = np.arange(40.0)
    pool.root["b"] = np.zeros(3, [("n", "<i2"), ("s", "S3")])


def explore(name: str, medium: str, **options: Any) -> CrashReport:
    report = crash_check(WORKLOADS[name], None, setup=setup, media=[medium], keep=None, **options)
    tally = report.media[medium]
    assert tally.points > 5
    assert tally.images > tally.points
    return report


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_crash_of_arrays(name: str, medium: str) -> None:
    """At fences, syncs and writes, a few images each."""
    explore(name, medium, size="1M", log_size="16K", images=12, nested=8)


def test_the_oracle_sees_every_element(pool: Pool) -> None:
    """Or else the tests above would show nothing."""
    setup(pool)
    states = [repr(contents(pool))]
    for change in (
        lambda: pool.root["a"].__setitem__(39, 0.5),
        lambda: pool.root["b"].__setitem__(2, (0, b"z")),
        lambda: pool.root["a"].resize(8, 5),
        lambda: pool.root.__setitem__("a", np.array(pool.root["a"], "f4")),
    ):
        change()
        states.append(repr(contents(pool)))
    assert len(set(states)) == 5


@pytest.mark.slow
@pytest.mark.parametrize("medium", [*MEDIA, "eadr"])
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("log_size", ["4K", "64K"])
def test_every_crash_of_arrays_more_closely(log_size: str, name: str, medium: str) -> None:
    """More images of each moment, and more recoveries that are crashed."""
    print(explore(name, medium, images=300, nested=40, log_size=log_size, size="1M", seconds=120))
