"""No crash shows half of what a method of Dict, List, Set or Deque does: each method, each medium.

As tests/crash/test_explore.py, which has the usual operations; here are those that are one commit
for many items, in every form that the builtins have, and all of sets and deques.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable

import pytest

from pmemstore import Pool
from pmemstore.testing import crash_check

Workload = Callable[[Pool], object]
FAR = "an element that is longer than an entry may hold " * 30


def furnish(pool: Pool) -> None:
    pool.root["dict"] = {i: str(i) for i in range(40)}
    pool.root["list"] = [*range(60), "text", [1, 2]]
    pool.root["set"] = {*range(40), "text", FAR, (1, "packed")}
    pool.root["deque"] = deque([*range(70), "text", [1, 2]])
    pool.root["last"] = deque([*range(9), [1]], 10)


def put_slice(pool: Pool) -> None:
    pool.root["list"][5:8] = ["new"] * 30


def put_extended(pool: Pool) -> None:
    pool.root["list"][60::-7] = [{"n": i} for i in range(9)]


def delete_extended(pool: Pool) -> None:
    del pool.root["list"][::-3]


OPERATIONS: dict[str, Workload] = {
    "Dict.update": lambda pool: pool.root["dict"].update({i: [i] for i in range(30, 70)}, a=1),
    "Dict.|=": lambda pool: operator.ior(pool.root["dict"], {"new": {"deep": [1]}, 3: None}),
    "Dict.setdefault": lambda pool: pool.root["dict"].setdefault("new", [[1], {2: {3}}]),
    "Dict.popitem": lambda pool: pool.root["dict"].popitem(last=False),
    "Dict.pop": lambda pool: pool.root["dict"].pop(17),
    "Dict.clear": lambda pool: pool.root["dict"].clear(),
    "List.slice": put_slice,
    "List.extended slice": put_extended,
    "List.del extended slice": delete_extended,
    "List.sort": lambda pool: pool.root["list"].sort(key=repr, reverse=True),
    "List.reverse": lambda pool: pool.root["list"].reverse(),
    "List.insert": lambda pool: pool.root["list"].insert(30, [[], {}]),
    "List.remove": lambda pool: pool.root["list"].remove([1, 2]),
    "List.+=": lambda pool: operator.iadd(pool.root["list"], range(80)),
    "List.*=": lambda pool: operator.imul(pool.root["list"], 3),
    "List.*= 0": lambda pool: operator.imul(pool.root["list"], 0),
    "Set.add": lambda pool: (pool.root["set"].add("new"), pool.root["set"].add(FAR * 2)),
    "Set.discard": lambda pool: pool.root["set"].discard(FAR),
    "Set.remove": lambda pool: pool.root["set"].remove((1, "packed")),
    "Set.pop": lambda pool: (pool.root["set"].pop(), pool.root["set"].pop()),
    "Set.clear": lambda pool: pool.root["set"].clear(),
    "Set.update": lambda pool: pool.root["set"].update(range(35, 90), "abc"),
    "Set.|=": lambda pool: operator.ior(pool.root["set"], {FAR[1:], "new"}),
    "Set.&=": lambda pool: operator.iand(pool.root["set"], {*range(10), FAR}),
    "Set.-=": lambda pool: operator.isub(pool.root["set"], {*range(3, 30), FAR}),
    "Set.^=": lambda pool: operator.ixor(pool.root["set"], {*range(20, 60), FAR, "new"}),
    "Set made": lambda pool: operator.setitem(pool.root, "new", {1, "two", FAR}),
    "Deque.append": lambda pool: pool.root["deque"].append({"n": {1}}),
    "Deque.appendleft": lambda pool: pool.root["deque"].appendleft("x" * 300),
    "Deque.append, full": lambda pool: pool.root["last"].append([2]),
    "Deque.appendleft, full": lambda pool: pool.root["last"].appendleft([2]),
    "Deque.pop": lambda pool: (pool.root["deque"].pop(), pool.root["deque"].pop()),
    "Deque.popleft": lambda pool: [pool.root["deque"].popleft() for _ in range(3)],
    "Deque.extend": lambda pool: pool.root["deque"].extend([i] for i in range(70)),
    "Deque.extend, full": lambda pool: pool.root["last"].extend(range(25)),
    "Deque.extendleft": lambda pool: pool.root["deque"].extendleft(range(70)),
    "Deque.rotate": lambda pool: (pool.root["deque"].rotate(25), pool.root["last"].rotate(-1)),
    "Deque.insert": lambda pool: pool.root["deque"].insert(30, {"n": 1}),
    "Deque.remove": lambda pool: pool.root["deque"].remove([1, 2]),
    "Deque.set": lambda pool: operator.setitem(pool.root["deque"], -1, "replaced"),
    "Deque.del": lambda pool: operator.delitem(pool.root["deque"], 33),
    "Deque.reverse": lambda pool: pool.root["deque"].reverse(),
    "Deque.clear": lambda pool: pool.root["deque"].clear(),
    "Deque.*=": lambda pool: (operator.imul(pool.root["deque"], 2), pool.root["last"].__imul__(3)),
    "Deque made": lambda pool: operator.setitem(pool.root, "new", deque([{1}, [2]], 5)),
}
MEDIA = ["direct", "file"]


def group(kind: str) -> Workload:
    """All operations of a kind, one after the other."""

    def work(pool: Pool) -> None:
        for name, operation in OPERATIONS.items():
            if name.startswith(kind):
                operation(pool)
                with pool.transaction():
                    furnish(pool)
        pool.collect()

    return work


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("kind", ["Dict", "List", "Set", "Deque"])
def test_each_method_is_atomic_and_durable(kind: str, medium: str) -> None:
    report = crash_check(
        group(kind),
        setup=furnish,
        media=[medium],
        log_size="8K",
        images=3,
        nested=1,
        seconds=600,
        keep=None,
    )
    tally = report.media[medium]
    assert tally.skipped == 0
    assert tally.points > 10
    print(report)


def go_on(pool: Pool) -> None:
    """What an application does after a crash: something with each of them."""
    pool.root["set"].add("went on")
    pool.root["deque"].appendleft("went on")


@pytest.mark.slow
@pytest.mark.parametrize("log_size", ["4K", "64K"])
@pytest.mark.parametrize("medium", [*MEDIA, "eadr"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_method_with_many_images(name: str, medium: str, log_size: str) -> None:
    report = crash_check(
        OPERATIONS[name],
        setup=furnish,
        follow=go_on,
        media=[medium],
        log_size=log_size,
        images=16,
        nested=8,
        seconds=600,
        keep=None,
    )
    assert report.media[medium].skipped == 0
    print(f"\n{name}: {report}")
