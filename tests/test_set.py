"""Set: what a set does, a Set does, in the order in which elements came."""

from __future__ import annotations

import copy
import decimal
import operator
import pickle
from collections.abc import Callable, MutableSet
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import Pool, Set

if TYPE_CHECKING:
    from conftest import Medium, Opener

ELEMENTS = st.one_of(
    st.integers(-3, 9),
    st.sampled_from([True, 1.0, 0.5, None, "a", "b", b"a", (1, 2), (1, 2.0), "long " * 300]),
)
OTHERS = st.sets(ELEMENTS, max_size=6)
CHANGES = ["update", "intersection_update", "difference_update", "symmetric_difference_update"]
OPERATORS = [operator.or_, operator.and_, operator.sub, operator.xor]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def result(action: Callable[[], Any]) -> Any:
    """What an action returns, or the type and arguments of its exception."""
    try:
        return action()
    except (KeyError, TypeError) as error:
        return type(error), error.args


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["add", "discard", "remove", "contains"]), ELEMENTS),
            st.tuples(st.sampled_from([*CHANGES, *(f.__name__ for f in OPERATORS)]), OTHERS),
        ),
        max_size=25,
    )
)
def test_like_a_set(direct_pool: Pool, steps: list[tuple[str, Any]]) -> None:
    """Every operation gives what the builtin gives; the order is that of a dict's keys."""
    direct_pool.root["s"] = set()
    stored, model = direct_pool.root["s"], set()
    order: dict[Any, None] = {}
    for name, argument in steps:
        if name == "contains":
            assert (argument in stored) == (argument in model)
        elif name in CHANGES or name in ("add", "discard", "remove"):
            ours = result(lambda: getattr(stored, name)(argument))  # noqa: B023 - called at once
            assert ours == result(lambda: getattr(model, name)(argument))  # noqa: B023 - at once
        else:
            function = getattr(operator, name)
            assert function(stored, argument) == function(model, argument)
            assert function(argument, stored) == function(argument, model)
            assert type(function(stored, argument)) is set
            assert type(function(frozenset(argument), stored)) is frozenset
        for key in [key for key in order if key not in model]:
            del order[key]
        assert len(stored) == len(model)
        assert stored == model
        new = [key for key in stored if key not in order]
        order.update(dict.fromkeys(new))
        assert list(map(repr, stored)) == list(map(repr, order))
    assert direct_pool.check().problems == ()


@pytest.mark.parametrize("test", COMPARISONS)
def test_compares_with_sets_of_every_kind(test: Callable[[Any, Any], bool], pool: Pool) -> None:
    pool.root["s"] = {1, 2, 3}
    stored = pool.root["s"]
    for other in (set(), {1, 2}, {1, 2, 3}, {1.0, 2, 3}, {1, 2, 3, 4}, {4}):
        pool.root["other"] = other
        for kind in (
            set,
            frozenset,
            lambda o: pool.root["other"],
            lambda o: dict.fromkeys(o).keys(),
        ):
            assert test(stored, kind(other)) == test({1, 2, 3}, other)
            assert test(kind(other), stored) == test(other, {1, 2, 3})
    assert stored != [1, 2, 3]
    assert stored != 5
    if test not in (operator.eq, operator.ne):
        with pytest.raises(TypeError, match="not supported"):
            test(stored, [1])


def test_operators_refuse_what_is_no_set_and_methods_do_not(pool: Pool) -> None:
    pool.root["s"] = {1, 2}
    stored = pool.root["s"]
    for function in (*OPERATORS, operator.ior, operator.iand, operator.isub, operator.ixor):
        with pytest.raises(TypeError, match="unsupported operand"):
            function(stored, [1])
    assert stored == {1, 2}
    assert stored.union([3], (4,), {5: 6}) == {1, 2, 3, 4, 5}
    assert stored.intersection([1, 7], iter([1])) == {1}
    assert stored.difference([1], [2]) == set()
    assert stored.symmetric_difference([1, 9]) == {2, 9}
    assert stored.issubset(range(5))
    assert stored.issuperset([1])
    assert stored.isdisjoint("abc")
    assert not stored.isdisjoint([2])
    stored.update([3], {4}, "a")
    stored.difference_update([1], [2])
    assert stored == {3, 4, "a"}
    stored.update()
    stored.difference_update()
    stored.intersection_update()
    assert list(stored) == [3, 4, "a"]


def test_views_of_dicts_are_sets(pool: Pool) -> None:
    """Of builtin dicts, and of persistent ones."""
    pool.root["d"] = {1: "one", 2: "two"}
    pool.root["s"] = {2, 3}
    stored = pool.root["s"]
    for keys in (pool.root["d"].keys(), {1: "one", 2: "two"}.keys()):
        for function in OPERATORS:
            assert function(stored, keys) == function({2, 3}, {1, 2})
            assert function(keys, stored) == function({1, 2}, {2, 3})
        assert stored != keys
        assert not keys <= stored
        stored |= keys
        assert stored is pool.root["s"]
        assert stored > keys
        stored -= {1}


def test_a_set_works_on_itself(pool: Pool) -> None:
    pool.root["s"] = set(range(50))
    stored = pool.root["s"]
    stored |= stored
    stored &= stored
    assert stored == set(range(50))
    assert stored - stored == set()
    stored ^= stored
    assert stored == set()
    stored.update(range(50))
    stored -= stored
    assert stored == set()


def test_the_youngest_is_popped_and_the_order_is_kept(pool: Pool) -> None:
    pool.root["s"] = set()
    stored = pool.root["s"]
    for name in ("ada", "bob", "eve"):
        stored.add(name)
    stored.add("ada")
    assert repr(stored) == "{'ada', 'bob', 'eve'}"
    assert stored.pop() == "eve"
    stored.discard("ada")
    stored.add("ada")
    assert list(stored) == ["bob", "ada"]
    stored.clear()
    assert repr(stored) == "set()"
    with pytest.raises(KeyError, match="pop from an empty set"):
        stored.pop()


def test_a_set_is_looked_for_as_a_frozenset(pool: Pool) -> None:
    """As the builtin does in ``in``, ``remove`` and ``discard``."""
    pool.root["s"] = {frozenset({1, 2}), frozenset()}
    pool.root["other"] = {2, 1}
    stored = pool.root["s"]
    assert {1, 2} in stored
    assert pool.root["other"] in stored
    assert {1} not in stored
    stored.remove(pool.root["other"])
    stored.discard(set())
    assert stored == set()
    with pytest.raises(KeyError) as missing:
        stored.remove({1})
    assert missing.value.args == ({1},)
    with pytest.raises(TypeError, match="unhashable"):
        stored.add({1})
    for action in (stored.add, stored.remove, stored.discard, stored.__contains__):
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            action([])


def test_what_no_pool_can_keep(pool: Pool) -> None:
    """It is refused by what would store or look it up; algebra compares it in memory."""
    pool.root["s"] = {1, 2, 3}
    stored, strange = pool.root["s"], object()
    for action in (stored.add, stored.remove, stored.discard, stored.__contains__):
        with pytest.raises(pmemstore.NotPersistableError):
            action(strange)
    with pytest.raises(pmemstore.NotPersistableError):
        stored |= {4, strange}
    with pytest.raises(pmemstore.NotPersistableError):
        stored ^= {1, strange}
    assert stored == {1, 2, 3}
    stored -= {1, strange}
    stored &= {2, 3, strange}
    assert stored == {2, 3}
    assert stored | {strange} == {2, 3, strange}
    assert not stored.issuperset({strange})
    pool.root["many"] = set(range(100))
    pool.root["many"] -= {1, strange, decimal.Decimal(2)}
    assert pool.root["many"] == set(range(100)) - {1, 2}


def test_changes_of_many_are_all_or_nothing(pool: Pool) -> None:
    def broken() -> Any:
        yield from range(1000)
        raise RuntimeError("in the middle")

    pool.root["s"] = {"kept"}
    for change in CHANGES:
        with pytest.raises(RuntimeError, match="in the middle"):
            getattr(pool.root["s"], change)(broken())
    with pytest.raises(TypeError, match="unhashable"):
        pool.root["s"].update(range(1000), [[]])
    assert pool.root["s"] == {"kept"}


def test_iteration_notices_changes(pool: Pool) -> None:
    pool.root["s"] = set(range(100))
    stored = pool.root["s"]
    iterator = iter(stored)
    stored.add(next(iterator) - 1)
    with pytest.raises(RuntimeError, match="Set changed size during iteration"):
        next(iterator)
    iterator = iter(stored)
    stored.remove(next(iterator))
    stored.add("another")
    with pytest.raises(RuntimeError, match="Set elements changed during iteration"):
        next(iterator)
    iterator = iter(stored)
    assert iterator.__length_hint__() == len(stored)
    assert list(iterator) == list(stored)
    assert list(iterator) == []


def test_plain_and_persistent(medium: Medium, open_pool: Opener) -> None:
    """A plain set becomes persistent, in other containers too; copies are plain."""
    pool = open_pool(medium.folder / "one.pool")
    pool.root["d"] = {"a": {1, 2}, "l": [{3}, set()], "empty": set()}
    nested = pool.root["d"]
    assert type(nested["a"]) is Set
    assert type(nested["l"][0]) is Set
    assert copy.deepcopy(nested) == {"a": {1, 2}, "l": [{3}, set()], "empty": set()}
    assert type(copy.deepcopy(nested)["a"]) is set
    assert type(copy.copy(nested["a"])) is type(nested["a"].copy()) is set
    assert nested["a"] is nested["a"]
    shared = {5}
    pool.root["shared"] = [shared, shared]
    assert pool.root["shared"][0] is pool.root["shared"][1]
    twice = copy.deepcopy(pool.root["shared"])
    assert twice[0] is twice[1]
    other = open_pool(medium.folder / "two.pool")
    other.root["s"] = nested["a"]
    other.root["s"] |= nested["l"][0]
    other.root["s"].update(nested, nested["l"][0])
    assert other.root["s"] == {1, 2, 3, "a", "l", "empty"}
    assert nested["a"] == {1, 2}


def test_protocols(pool: Pool) -> None:
    pool.root["s"] = {1}
    stored = pool.root["s"]
    assert isinstance(stored, MutableSet)
    assert bool(stored)
    assert Set[int]
    with pytest.raises(TypeError):
        hash(stored)
    with pytest.raises(TypeError):
        Set()
    with pytest.raises(TypeError, match="deepcopy"):
        pickle.dumps(stored)
    assert {*stored, 2} == {1, 2}
    assert sorted({1} | stored) == [1]


def test_dead_sets_say_so(medium: Medium, open_pool: Opener) -> None:
    """After close, and after the roll-back of the transaction that made it."""
    pool = open_pool(medium.folder / "dead.pool")
    pool.root["s"] = {1}
    stored = pool.root["s"]
    with pytest.raises(KeyError), pool.transaction():  # noqa: PT012 - a block that fails
        pool.root["young"] = {2}
        young = pool.root["young"]
        stored |= {5, 6}
        raise KeyError
    assert stored == {1}
    assert repr(young) == "<Set that was rolled back>"
    with pytest.raises(pmemstore.StaleRefError):
        young.add(1)
    pool.close()
    assert repr(stored) == "<Set of a closed pool>"
    for action in (lambda: 1 in stored, lambda: stored.add(2), lambda: stored | {1}, stored.pop):
        with pytest.raises(pmemstore.PoolClosedError):
            action()


def test_reopened_and_collected(medium: Medium, open_pool: Opener) -> None:
    """A set of many elements is there after a reopen, and its space comes back when it goes."""
    path = medium.folder / "many.pool"
    elements = {*range(3000), *(f"element {i}" * 20 for i in range(200)), ("a", (1, None))}
    with open_pool(path, "n", size="1M") as pool:
        empty = pool.stats().used_bytes
        pool.root["s"] = elements
    pool = open_pool(path, "w")
    assert pool.root["s"] == elements
    for element in list(pool.root["s"])[::2]:
        pool.root["s"].remove(element)
    assert len(pool.root["s"]) == len(elements) // 2
    pool.root["s"].clear()
    del pool.root["s"]
    pool.collect()
    assert pool.stats().used_bytes <= empty + 4096
