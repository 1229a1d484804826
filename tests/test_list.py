"""List: what a list does, a List does."""
# ruff: noqa: SIM300, RUF005 - the operators, and both their sides, are the point

from __future__ import annotations

import copy
import math
import pickle
import random
from collections.abc import Callable, MutableSequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import List, Pool

if TYPE_CHECKING:
    from conftest import Medium, Opener

INDEXES = st.integers(-12, 12)
SLICES = st.builds(
    slice,
    st.none() | INDEXES,
    st.none() | INDEXES,
    st.none() | st.sampled_from([1, 2, 3, -1, -2]),
)
ITEMS = st.lists(st.one_of(st.integers(0, 9), st.text(max_size=9)), max_size=6)
OPS = [
    "append",
    "extend",
    "insert",
    "pop",
    "pop_at",
    "set",
    "del",
    "get",
    "slice",
    "set_slice",
    "del_slice",
    "remove",
    "index",
    "count",
    "reverse",
    "iadd",
    "imul",
    "in",
    "clear",
]


def _apply(target: Any, op: str, index: int, part: slice, items: list[Any]) -> Any:
    item = items[0] if items else 0
    try:
        match op:
            case "append":
                target.append(item)
            case "extend":
                target.extend(items)
            case "insert":
                target.insert(index, item)
            case "pop":
                return target.pop()
            case "pop_at":
                return target.pop(index)
            case "set":
                target[index] = item
            case "del":
                del target[index]
            case "get":
                return target[index]
            case "slice":
                return target[part]
            case "set_slice":
                target[part] = items
            case "del_slice":
                del target[part]
            case "remove":
                target.remove(item)
            case "index":
                return target.index(item, index)
            case "count":
                return target.count(item)
            case "reverse":
                target.reverse()
            case "iadd":
                target += items
            case "imul":
                target *= index % 3
            case "in":
                return item in target
            case "clear":
                target.clear()
    except (IndexError, ValueError) as error:
        return type(error), str(error)
    return None


@given(
    start=ITEMS,
    steps=st.lists(st.tuples(st.sampled_from(OPS), INDEXES, SLICES, ITEMS), max_size=30),
)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_sequence_of_operations_matches_a_list(
    start: list[Any], steps: list[tuple[str, int, slice, list[Any]]], pool: pmemstore.Pool
) -> None:
    """Results and exceptions, with their texts, are those of the builtin."""
    pool.root["l"] = start
    stored, model = pool.root["l"], list(start)
    for op, index, part, items in steps:
        assert _apply(stored, op, index, part, items) == _apply(model, op, index, part, items)
        assert len(stored) == len(model)
        assert list(stored) == model
    assert list(reversed(stored)) == list(reversed(model))
    assert stored == model
    assert repr(stored) == repr(model)


def test_long_list_matches_a_list(medium: Medium, open_pool: Opener) -> None:
    """Insertions and deletions all over a list of thousands, then read by another Pool."""
    rng = random.Random(3)
    pool = open_pool(medium.folder / "long.pool")
    model = list(range(5000))
    pool.root["l"] = model
    stored = pool.root["l"]
    with pool.transaction():
        for step in range(4000):
            i = rng.randrange(len(model))
            if step % 3:
                stored.insert(i, f"new {step}")
                model.insert(i, f"new {step}")
            else:
                assert stored.pop(i) == model.pop(i)
    assert list(stored) == model
    del stored[100:4000:3], model[100:4000:3]
    stored[50:2000] = model[50:2000] = ["few"]
    stored[::2] = model[::2] = [None] * len(model[::2])
    pool.close()
    pool = open_pool(medium.folder / "long.pool", "r")
    stored = pool.root["l"]
    assert list(stored) == model
    assert [stored[i] for i in range(-len(model), 0)] == model
    assert stored[-1000:-10:7] == model[-1000:-10:7]


def test_index_errors_are_those_of_a_list(pool: pmemstore.Pool) -> None:
    """Texts too."""
    pool.root["l"] = [1]
    stored = pool.root["l"]
    for op in (
        lambda x: x[1],
        lambda x: x[-2],
        lambda x: x.pop(5),
        lambda x: x.__setitem__(3, 0),
        lambda x: x.__delitem__(3),
        lambda x: x["a"],
        lambda x: x.__setitem__("a", 0),
        lambda x: x.insert("a", 0),
        lambda x: x.__setitem__(slice(0, 1), 5),
        lambda x: x.__setitem__(slice(0, 9, 2), [1, 2, 3]),
        lambda x: x.remove(9),
        lambda x: x * "a",
        lambda x: x < 5,
    ):
        with pytest.raises((IndexError, TypeError, ValueError)) as ours:
            op(stored)
        with pytest.raises(type(ours.value)) as builtin:
            op([1])
        assert str(ours.value).replace("List", "list") == str(builtin.value)
    assert stored == [1]


def test_sort_is_stable_and_moves_nested_objects(pool: pmemstore.Pool) -> None:
    """Order, stability, key, reverse; proxies stay the same objects."""
    pool.root["l"] = [{"k": i % 5, "i": i} for i in range(200)]
    stored = pool.root["l"]
    first = stored[0]
    stored.sort(key=lambda d: d["k"], reverse=True)
    expected = sorted(((i % 5, i) for i in range(200)), key=lambda p: p[0], reverse=True)
    assert [(d["k"], d["i"]) for d in stored] == expected
    assert first in list(stored)
    assert any(item is first for item in stored)
    pool.root["n"] = rng_list = random.Random(1).sample(range(3000), 3000)
    pool.root["n"].sort()
    assert pool.root["n"] == sorted(rng_list)
    pool.root["t"] = ["b", "a" * 100, "ab"]
    pool.root["t"].sort(key=len)
    assert pool.root["t"] == ["b", "ab", "a" * 100]


def test_failed_sort_leaves_the_list_as_it_was(pool: pmemstore.Pool) -> None:
    """Items that can't be compared, a key function that fails or changes the list."""
    pool.root["l"] = [3, "a", 1]
    stored = pool.root["l"]
    with pytest.raises(TypeError):
        stored.sort()
    with pytest.raises(ZeroDivisionError):
        stored.sort(key=lambda item: 1 / 0)
    with pytest.raises(ValueError, match="modified during sort"):
        stored.sort(key=lambda item: stored.append(5))
    assert stored == [3, "a", 1]
    stored[:] = [math.nan, 2.0, 1.0]
    stored.sort(key=lambda item: 0)
    assert stored[1:] == [2.0, 1.0]


def test_self_operations_take_a_snapshot(pool: pmemstore.Pool) -> None:
    """l.extend(l), l[1:1] = l and l += l end."""
    pool.root["l"] = [1, 2]
    stored = pool.root["l"]
    stored.extend(stored)
    assert stored == [1, 2] * 2
    stored += stored
    assert stored == [1, 2] * 4
    stored[1:1] = stored
    assert stored == [1, *[1, 2] * 4, *[2, 1] * 3, 2]


def test_new_lists_are_plain(pool: pmemstore.Pool) -> None:
    """Slices, +, * and copies make builtin lists; deepcopy all the way down."""
    pool.root["l"] = [1, [2]]
    stored = pool.root["l"]
    for plain in (stored[:], stored + [3], [0] + stored, stored * 2, 2 * stored, stored.copy()):
        assert type(plain) is list
    assert stored + [3] == [1, [2], 3]
    assert [0] + stored == [0, 1, [2]]
    assert stored + stored == [1, [2], 1, [2]]
    assert 2 * stored == [1, [2], 1, [2]]
    assert copy.copy(stored)[1] is stored[1]
    deep = copy.deepcopy(stored)
    assert deep == [1, [2]]
    assert type(deep[1]) is list
    with pytest.raises(TypeError, match="deepcopy"):
        pickle.dumps(stored)
    with pytest.raises(TypeError):
        List()


def test_inplace_operators_keep_the_object(pool: pmemstore.Pool) -> None:
    """+= and *= change the list itself, also through its container."""
    pool.root["l"] = [1]
    stored = pool.root["l"]
    pool.root["l"] += (2, 3)
    pool.root["l"] *= 2
    assert pool.root["l"] is stored
    assert stored == [1, 2, 3] * 2
    stored *= 0
    assert stored == []


def test_comparison_is_that_of_lists(pool: pmemstore.Pool) -> None:
    """==, < and the rest, with builtins and proxies."""
    pool.root["a"], pool.root["b"] = [1, [2, 3]], [1, [2, 4]]
    a, b = pool.root["a"], pool.root["b"]
    assert a == [1, [2, 3]]
    assert [1, [2, 3]] == a
    assert a != b
    assert a < b
    assert a <= a
    assert b > [1, [2, 3, 9]]
    assert [0] < a
    assert b >= a
    assert a != (1, [2, 3])
    with pytest.raises(TypeError):
        hash(a)


def test_it_is_a_sequence(pool: pmemstore.Pool) -> None:
    """ABCs and match statements take it for one."""
    pool.root["l"] = [1, 2, 3]
    assert isinstance(pool.root["l"], MutableSequence)
    match pool.root["l"]:
        case [first, *rest]:
            assert (first, rest) == (1, [2, 3])
        case _:
            pytest.fail("no match")
    assert List[int]


def test_iteration_follows_the_list(pool: pmemstore.Pool) -> None:
    """As with a list: appended items are reached, no error is raised."""
    pool.root["l"] = [1, 2, 3]
    stored = pool.root["l"]
    seen = []
    for item in stored:
        seen.append(item)
        if len(stored) < 6:
            stored.append(item * 10)
    assert seen == [1, 2, 3, 10, 20, 30]
    iterator = iter(stored)
    list(iterator)
    stored.append(4)
    assert list(iterator) == []


def test_slice_assignment_is_all_or_nothing(pool: pmemstore.Pool) -> None:
    """A value in the middle that can't be kept leaves the list as it was."""
    pool.root["l"] = list(range(10))
    stored = pool.root["l"]
    for part in (slice(2, 8), slice(0, 6, 2), slice(5, 5)):
        with pytest.raises(pmemstore.NotPersistableError):
            stored[part] = [1, [2], object()]
    with pytest.raises(pmemstore.NotPersistableError):
        stored.extend([1, object()])
    assert stored == list(range(10))


def test_repr_guards_against_recursion(pool: pmemstore.Pool) -> None:
    """A cycle made through proxies prints as a list's does."""
    pool.root["l"] = [1]
    pool.root["l"].append(pool.root["l"])
    assert repr(pool.root["l"]) == "[1, [...]]"
    pool.root["l"].pop()


class Meddler:
    """A sort key that does something when it is compared."""

    def __init__(self, value: int, act: Callable[[], object]) -> None:
        self.value = value
        self.act = act

    def __lt__(self, other: Meddler) -> bool:
        self.act()
        return self.value < other.value

    def __eq__(self, other: object) -> bool:
        self.act()
        return False

    __hash__ = None  # type: ignore[assignment]


def test_sort_notices_that_a_comparison_changed_the_list(pool: Pool) -> None:
    pool.root["l"] = [3, 2, 1]
    plist: List[Any] = pool.root["l"]
    changes: list[Callable[[], object]] = [
        lambda: plist.append(0),
        plist.clear,
        lambda: plist.insert(0, 0) or plist.pop(),
        lambda: plist.__setitem__(0, [1]),
    ]
    for change in changes:
        with pytest.raises(ValueError, match="modified during sort"):
            plist.sort(key=lambda i, change=change: Meddler(i, change))
        assert plist == [3, 2, 1]


def test_pool_closed_by_a_comparison_is_poolclosederror(medium: Medium, open_pool: Opener) -> None:
    calls: list[Callable[[Any, Meddler], object]] = [
        lambda plist, meddler: plist.sort(key=lambda i: Meddler(i, meddler.act)),
        lambda plist, meddler: plist.index(meddler),
        lambda plist, meddler: plist.remove(meddler),
        lambda plist, meddler: plist.count(meddler),
        lambda plist, meddler: meddler in plist,
    ]
    for call in calls:
        pool = open_pool(medium.folder / "test.pool", "n")
        pool.root["l"] = [3, 2, 1]
        with pytest.raises(pmemstore.PoolClosedError):
            call(pool.root["l"], Meddler(0, pool.close))


def test_remove_passes_on_a_valueerror_of_a_comparison(pool: Pool) -> None:
    pool.root["l"] = [1]

    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        pool.root["l"].remove(Meddler(0, fail))
