"""Deque: what a collections.deque does, a Deque does."""
# ruff: noqa: RUF005 - the operators, and both their sides, are the point

from __future__ import annotations

import copy
import pickle
from collections import deque
from collections.abc import Callable, MutableSequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import Deque, Pool

if TYPE_CHECKING:
    from conftest import Medium, Opener

INDEXES = st.integers(-12, 12)
ITEMS = st.one_of(st.integers(0, 9), st.text(max_size=9))
LISTS = st.lists(ITEMS, max_size=6)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["append", "appendleft", "remove", "index", "count"]), ITEMS),
    st.tuples(st.sampled_from(["extend", "extendleft", "__iadd__"]), LISTS),
    st.tuples(st.sampled_from(["pop", "popleft", "reverse", "clear", "copy"])),
    st.tuples(st.sampled_from(["rotate", "__getitem__", "__delitem__"]), INDEXES),
    st.tuples(st.sampled_from(["insert", "__setitem__"]), INDEXES, ITEMS),
    st.tuples(st.just("index"), ITEMS, INDEXES, INDEXES),
    st.tuples(st.sampled_from(["__mul__", "__imul__"]), st.integers(-1, 3)),
)


def result(action: Callable[[], Any]) -> Any:
    """What an action returns, or the type and arguments of its exception."""
    try:
        return action()
    except (IndexError, ValueError) as error:
        return type(error), error.args


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.none() | st.integers(0, 7), st.lists(STEPS, max_size=25))
def test_like_a_deque(direct_pool: Pool, maxlen: int | None, steps: list[tuple[Any, ...]]) -> None:
    """Every operation gives what the builtin gives, message and all, with each bound."""
    direct_pool.root["d"] = deque(range(4), maxlen)
    stored, model = direct_pool.root["d"], deque(range(4), maxlen)
    for name, *arguments in steps:
        ours = result(lambda: getattr(stored, name)(*arguments))  # noqa: B023 - called at once
        assert ours == result(lambda: getattr(model, name)(*arguments))  # noqa: B023 - at once
        if len(model) > 200:
            stored.clear()
            model.clear()
        assert stored == model
        assert model == stored
        assert stored.maxlen == maxlen
        assert list(reversed(stored)) == list(reversed(model))
        assert repr(stored) == repr(model)
    assert direct_pool.check().problems == ()


def test_a_bound_holds_in_transactions_and_after_a_reopen(
    medium: Medium, open_pool: Opener
) -> None:
    path = medium.folder / "bound.pool"
    with open_pool(path, "n") as pool:
        pool.root["last"] = deque([{"n": i} for i in range(100)], 70)
        with pool.transaction():
            for i in range(1000):
                pool.root["last"].append(i)
            pool.root["last"].appendleft("first")
    pool = open_pool(path, "w")
    stored = pool.root["last"]
    assert stored.maxlen == 70
    assert list(stored) == ["first", *range(930, 999)]
    with pytest.raises(IndexError, match="deque already at its maximum size"):
        stored.insert(3, [1])
    stored.extend([[i] for i in range(200)])
    assert [item[0] for item in stored] == list(range(130, 200))
    with pytest.raises(AttributeError):
        stored.maxlen = 5
    pool.collect()


def test_what_goes_in_at_one_end_may_be_what_falls_out_at_the_other(pool: Pool) -> None:
    """The container at the end that is dropped gets its new place first."""
    pool.root["d"] = deque([[1], [2], [3]], 3)
    stored = pool.root["d"]
    first = stored[0]
    stored.append(stored[0])
    assert stored[2] is first
    assert stored == deque([[2], [3], [1]])
    stored.appendleft(stored[2])
    assert stored == deque([[1], [2], [3]])
    stored.rotate(1)
    assert stored[1] is first


def test_indexes_are_numbers(pool: Pool) -> None:
    pool.root["d"] = deque("abc")
    stored = pool.root["d"]
    assert (stored[0], stored[-1], stored[True]) == ("a", "c", "b")
    for bad in (slice(1), "x", 1.0, None):
        with pytest.raises(TypeError, match="sequence index must be integer"):
            stored[bad]
        with pytest.raises(TypeError, match="sequence index must be integer"):
            stored[bad] = 1
        with pytest.raises(TypeError, match="sequence index must be integer"):
            del stored[bad]
    for action in (stored.rotate, lambda n: stored.insert(n, 1)):
        with pytest.raises(TypeError):
            action(1.5)
    with pytest.raises(TypeError):
        stored.pop(1)
    for bad_index in (3, -4, 10**30):
        with pytest.raises(IndexError):
            stored[bad_index]


def test_concatenation(pool: Pool) -> None:
    pool.root["d"] = deque([1, 2], 3)
    stored = pool.root["d"]
    for left, right in ((stored, stored), (stored, deque([5, 6])), (deque([5, 6], 4), stored)):
        plain = copy.copy(left) + copy.copy(right)
        assert left + right == plain
        assert type(left + right) is deque
        assert (left + right).maxlen == plain.maxlen
    with pytest.raises(TypeError, match="can only concatenate deque"):
        stored + [1]
    with pytest.raises(TypeError):
        [1] + stored
    stored += "xy"
    assert stored == deque([2, "x", "y"])
    assert 2 * stored == deque([2, "x", "y"])
    assert (stored * 2).maxlen == 3
    with pytest.raises(TypeError, match="can't multiply sequence"):
        stored * 1.5


def test_a_huge_factor_writes_no_more_than_the_bound(pool: Pool) -> None:
    pool.root["d"] = deque(range(3), 7)
    stored = pool.root["d"]
    stored *= 10**9
    model = deque(range(3), 7)
    model *= 1000
    assert stored == model


def test_extending_by_itself(pool: Pool) -> None:
    pool.root["d"] = deque([1, 2])
    stored = pool.root["d"]
    stored.extend(stored)
    stored.extendleft(stored)
    model = deque([1, 2])
    model.extend(model)
    model.extendleft(model)
    assert stored == model
    pool.root["l"] = [7, 8]
    stored.extend(pool.root["l"])
    assert stored[-1] == 8


def test_many_items_are_all_or_nothing(pool: Pool) -> None:
    def broken() -> Any:
        yield from range(1000)
        raise RuntimeError("in the middle")

    pool.root["d"] = deque(["kept"], 5)
    for action in (pool.root["d"].extend, pool.root["d"].extendleft):
        with pytest.raises(RuntimeError, match="in the middle"):
            action(broken())
        with pytest.raises(pmemstore.NotPersistableError):
            action([1, object()])
    assert pool.root["d"] == deque(["kept"])


def test_iteration_notices_changes(pool: Pool) -> None:
    pool.root["d"] = deque(range(100))
    stored = pool.root["d"]
    changes: list[Callable[[], Any]] = [
        lambda: stored.append(1),
        stored.popleft,
        lambda: stored.rotate(1),
        stored.clear,
    ]
    for change in changes:
        for begin in (iter, reversed):
            iterator = begin(stored)
            next(iterator)
            change()
            with pytest.raises(RuntimeError, match="deque mutated during iteration"):
                next(iterator)
            stored.extend(range(5))
    iterator = iter(stored)
    next(iterator)
    stored[1] = "replaced"
    assert next(iterator) == "replaced"


@pytest.mark.parametrize("plain", [deque(range(40)), set(range(40))])
def test_iteration_notices_a_rollback(plain: Any, pool: Pool) -> None:
    """Of a deque and of a set, if the roll-back may have changed what the iterator was begun on."""
    pool.root["x"] = plain
    stored = pool.root["x"]
    outside = iter(stored)
    with pytest.raises(KeyError), pool.transaction():  # noqa: PT012 - a block that fails
        stored.clear()
        inside = iter(stored)
        raise KeyError
    with pytest.raises(RuntimeError):
        next(inside)
    with pytest.raises(RuntimeError):
        next(outside)
    assert sorted(stored) == list(range(40))


class Meddler:
    """Changes a deque while it is compared."""

    def __init__(self, change: Callable[[], Any]) -> None:
        self.change = change

    def __eq__(self, other: object) -> bool:
        self.change()
        return False


def test_a_comparison_that_changes_the_deque_is_noticed(pool: Pool) -> None:
    pool.root["d"] = deque(range(50))
    stored = pool.root["d"]
    meddler: Any = Meddler(lambda: stored.append(1))
    for action in (stored.__contains__, stored.count, stored.index):
        with pytest.raises(RuntimeError, match="deque mutated during iteration"):
            action(meddler)
    with pytest.raises(IndexError, match="deque mutated during remove"):
        stored.remove(meddler)
    assert len(stored) == 53  # what remove() had changed is rolled back with it


def test_protocols(pool: Pool) -> None:
    pool.root["d"] = deque([1, 2])
    stored = pool.root["d"]
    assert isinstance(stored, MutableSequence)
    match stored:
        case [1, *rest]:
            assert rest == [2]
        case _:
            pytest.fail("no match")
    assert Deque[int]
    assert bool(stored)
    with pytest.raises(TypeError):
        hash(stored)
    with pytest.raises(TypeError):
        Deque()
    with pytest.raises(TypeError, match="deepcopy"):
        pickle.dumps(stored)
    assert stored != [1, 2]
    assert stored < deque([1, 3])
    assert deque([1, 3]) > stored
    with pytest.raises(TypeError, match="not supported"):
        stored < [1, 3]  # noqa: B015 - it raises


def test_plain_and_persistent(medium: Medium, open_pool: Opener) -> None:
    """A plain deque becomes persistent, in other containers too; copies are plain."""
    pool = open_pool(medium.folder / "one.pool")
    value = {"a": deque([[1], {2}, deque([3], 1)], 5), "l": [deque()]}
    pool.root["v"] = value
    stored = pool.root["v"]["a"]
    assert type(stored) is type(stored[2]) is Deque
    assert stored == value["a"]
    copied = copy.deepcopy(pool.root["v"])
    assert copied == value
    assert type(copied["a"]) is type(copied["a"][2]) is deque
    assert (copied["a"].maxlen, copied["a"][2].maxlen, copied["l"][0].maxlen) == (5, 1, None)
    assert copy.copy(stored).maxlen == 5
    assert copy.copy(stored)[0] is stored[0]
    other = open_pool(medium.folder / "two.pool")
    other.root["d"] = stored
    other.root["d"].extend(stored)
    assert other.root["d"].maxlen == 5
    assert len(other.root["d"]) == 5
    stored.append(stored)
    assert repr(stored) == "deque([[1], {2}, deque([3], maxlen=1), [...]], maxlen=5)"
    stored.pop()


def test_dead_deques_say_so(medium: Medium, open_pool: Opener) -> None:
    """After close, and after the roll-back of the transaction that made it."""
    pool = open_pool(medium.folder / "dead.pool")
    pool.root["d"] = deque([1], 3)
    stored = pool.root["d"]
    with pytest.raises(KeyError), pool.transaction():  # noqa: PT012 - a block that fails
        pool.root["young"] = deque()
        young = pool.root["young"]
        stored.extend(range(9))
        raise KeyError
    assert stored == deque([1])
    assert repr(young) == "<Deque that was rolled back>"
    with pytest.raises(pmemstore.StaleRefError):
        young.append(1)
    pool.close()
    assert repr(stored) == "<Deque of a closed pool>"
    actions: list[Callable[[], Any]] = [
        lambda: 1 in stored,
        lambda: stored.append(2),
        lambda: stored.maxlen,
        lambda: stored.rotate(1),
        stored.pop,
    ]
    for action in actions:
        with pytest.raises(pmemstore.PoolClosedError):
            action()


def test_a_queue_leaves_no_garbage(medium: Medium, open_pool: Opener) -> None:
    """What goes through it, goes."""
    pool = open_pool(medium.folder / "queue.pool", "n", size="1M")
    pool.root["q"] = deque()
    queue = pool.root["q"]
    queue.extend(range(500))
    before = pool.stats().used_bytes
    for turn in range(40):
        queue.extend(f"work {turn} {i}" * 5 for i in range(100))
        for _ in range(100):
            queue.popleft()
    queue.clear()
    queue.extend(range(500))
    pool.collect()
    assert pool.stats().used_bytes <= before + 8192
