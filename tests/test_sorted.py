"""SortedDict and SortedSet: what those of sortedcontainers do, these do, and they stay."""

from __future__ import annotations

import copy
import math
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSet
from typing import TYPE_CHECKING, Any

import pytest
import sortedcontainers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import Pool, SortedDict, SortedSet

if TYPE_CHECKING:
    from conftest import Medium, Opener

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def stored(pool: Pool, value: Any) -> Any:
    pool.root["x"] = value
    return pool.root["x"]


def outcome(action: Callable[..., Any], *args: Any) -> Any:
    """What an action gives, or the type of what it raises."""
    try:
        return action(*args)
    except Exception as error:
        return type(error)


# ---- the same as the model ----

KEYS = st.integers(-8, 8)
INDEXES = st.integers(-12, 12)
BOUNDS = st.none() | KEYS
SLICES = st.builds(
    slice,
    st.none() | INDEXES,
    st.none() | INDEXES,
    st.none() | st.sampled_from([1, 2, -1, -3]),
)
INCLUSIVE = st.tuples(st.booleans(), st.booleans())


def none(unused: Any) -> None:
    """The model's update() returns the set itself, the builtin's and ours do not."""


def delete_at(target: Any, index: int | slice) -> None:
    del target[index]


# What is done to both; the model's keys() are a view that deletes, too.
DICT_OPS: dict[str, Callable[..., Any]] = {
    "set": lambda d, k, i, s, b, c: d.__setitem__(k, i),
    "set again": lambda d, k, i, s, b, c: d.__setitem__(k + 0.0, i),
    "get": lambda d, k, i, s, b, c: d[k],
    "del": lambda d, k, i, s, b, c: d.__delitem__(k),
    "get default": lambda d, k, i, s, b, c: (d.get(k), d.get(k, 5)),
    "in": lambda d, k, i, s, b, c: (k in d, "a" in d, None in d, (1,) in d),
    "pop": lambda d, k, i, s, b, c: d.pop(k),
    "pop default": lambda d, k, i, s, b, c: d.pop(k, None),
    "setdefault": lambda d, k, i, s, b, c: d.setdefault(k, i),
    "popitem": lambda d, k, i, s, b, c: d.popitem(),
    "popitem at": lambda d, k, i, s, b, c: d.popitem(i),
    "peekitem": lambda d, k, i, s, b, c: d.peekitem(i),
    "update": lambda d, k, i, s, b, c: d.update({k: 1, i: 2}),
    "ior": lambda d, k, i, s, b, c: d.__ior__({k: 3}) is d,
    "clear": lambda d, k, i, s, b, c: d.clear() if k == i else None,
    "bisect": lambda d, k, i, s, b, c: (d.bisect_left(k), d.bisect_right(k), d.bisect(k)),
    "irange": lambda d, k, i, s, b, c: list(d.irange(b, k, c)),
    "irange back": lambda d, k, i, s, b, c: list(d.irange(b, k, c, reverse=True)),
    "islice": lambda d, k, i, s, b, c: list(d.islice(s.start, s.stop, i > 0)),
    "key at": lambda d, k, i, s, b, c: d.keys()[i],
    "keys": lambda d, k, i, s, b, c: list(d.keys()[s]),
    "value at": lambda d, k, i, s, b, c: d.values()[i],
    "values": lambda d, k, i, s, b, c: list(d.values()[s]),
    "item at": lambda d, k, i, s, b, c: d.items()[i],
    "items": lambda d, k, i, s, b, c: list(d.items()[s]),
    "index": lambda d, k, i, s, b, c: d.index(k),
    "index between": lambda d, k, i, s, b, c: d.keys().index(k, s.start or 0, s.stop),
    "del at": lambda d, k, i, s, b, c: delete_at(d.keys(), i),
    "del slice": lambda d, k, i, s, b, c: delete_at(d.keys(), s),
    "reversed": lambda d, k, i, s, b, c: (list(reversed(d)), list(reversed(d.items()))),
    "algebra": lambda d, k, i, s, b, c: set(d.keys() & {k, i}) | set(d.items() - {(k, i)}),
    "copy": lambda d, k, i, s, b, c: (d.copy(), d | {k: i}),
    "count": lambda d, k, i, s, b, c: (d.values().count(i), d.keys().count(k)),
}
SET_OPS: dict[str, Callable[..., Any]] = {
    "add": lambda d, k, i, s, b, c: d.add(k),
    "discard": lambda d, k, i, s, b, c: d.discard(k),
    "remove": lambda d, k, i, s, b, c: d.remove(k),
    "pop": lambda d, k, i, s, b, c: d.pop(),
    "pop at": lambda d, k, i, s, b, c: d.pop(i),
    "at": lambda d, k, i, s, b, c: d[i],
    "slice": lambda d, k, i, s, b, c: list(d[s]),
    "del at": lambda d, k, i, s, b, c: delete_at(d, i),
    "del slice": lambda d, k, i, s, b, c: delete_at(d, s),
    "in": lambda d, k, i, s, b, c: (k in d, "a" in d, 2.5 in d),
    "update": lambda d, k, i, s, b, c: d.update([k, i], (b or 0,)) and None,
    "difference_update": lambda d, k, i, s, b, c: none(d.difference_update([k, i], [b])),
    "intersection_update": lambda d, k, i, s, b, c: none(d.intersection_update(range(k), range(i))),
    "symmetric": lambda d, k, i, s, b, c: none(d.symmetric_difference_update([k, i])),
    "ior": lambda d, k, i, s, b, c: d.__ior__({k}) is d,
    "isub": lambda d, k, i, s, b, c: d.__isub__({k}) is d,
    "ixor": lambda d, k, i, s, b, c: d.__ixor__({k, i}) is d,
    "iand": lambda d, k, i, s, b, c: d.__iand__(set(range(-5, k))) is d,
    "bisect": lambda d, k, i, s, b, c: (d.bisect_left(k), d.bisect_right(k), d.bisect(k)),
    "irange": lambda d, k, i, s, b, c: list(d.irange(b, k, c)),
    "irange back": lambda d, k, i, s, b, c: list(d.irange(b, k, c, reverse=True)),
    "islice": lambda d, k, i, s, b, c: list(d.islice(s.start, s.stop, i > 0)),
    "index": lambda d, k, i, s, b, c: d.index(k),
    "count": lambda d, k, i, s, b, c: d.count(k),
    "reversed": lambda d, k, i, s, b, c: list(reversed(d)),
    "or": lambda d, k, i, s, b, c: (list(d | {k}), list({k} | d), list(d.union([k], [i]))),
    "and": lambda d, k, i, s, b, c: (list(d & {k}), list(d.intersection([k, i]))),
    "sub": lambda d, k, i, s, b, c: (list(d - {k}), list({k} - d), list(d.difference([k], [i]))),
    "xor": lambda d, k, i, s, b, c: (list(d ^ {k}), list(d.symmetric_difference([k, i]))),
    "compare": lambda d, k, i, s, b, c: (d == {k}, d <= {k, i}, d < {k}, d >= {k}, d > {k}),
    "subset": lambda d, k, i, s, b, c: (
        d.issubset([k, i]),
        d.issuperset([k]),
        d.isdisjoint([k]),
    ),
    "clear": lambda d, k, i, s, b, c: d.clear() if k == i else None,
}


def steps(names: Iterable[str]) -> Any:
    step = st.tuples(st.sampled_from(sorted(names)), KEYS, INDEXES, SLICES, BOUNDS, INCLUSIVE)
    return st.lists(step, max_size=40)


@QUICK
@given(start=st.dictionaries(KEYS, KEYS), work=steps(DICT_OPS))
def test_sorted_dict_does_what_the_model_does(
    start: dict[int, int], work: list[Any], direct_pool: Pool
) -> None:
    model = sortedcontainers.SortedDict(start)
    ours = stored(direct_pool, SortedDict.of(start))
    for name, *args in work:
        assert outcome(DICT_OPS[name], ours, *args) == outcome(DICT_OPS[name], model, *args), name
        assert list(ours.items()) == list(model.items()), name
    assert ours == model
    assert [type(key) for key in ours] == [type(key) for key in model]
    assert direct_pool.check().problems == ()


@QUICK
@given(start=st.sets(KEYS), work=steps(SET_OPS))
def test_sorted_set_does_what_the_model_does(
    start: set[int], work: list[Any], direct_pool: Pool
) -> None:
    model = sortedcontainers.SortedSet(start)
    ours = stored(direct_pool, SortedSet.of(start))
    for name, *args in work:
        assert outcome(SET_OPS[name], ours, *args) == outcome(SET_OPS[name], model, *args), name
        assert list(ours) == list(model), name
    assert ours == model
    assert direct_pool.check().problems == ()


def test_many_keys_in_any_order(pool: Pool) -> None:
    """Trees of height 2: splits, joins, positions and ranges everywhere."""
    rng = random.Random(5)
    model = sortedcontainers.SortedDict()
    ours = stored(pool, SortedDict.of())
    for round_ in range(6):
        with pool.transaction():
            for _ in range(1500):
                key = rng.randrange(6000)
                if rng.random() < (0.8, 0.8, 0.6, 0.3, 0.3, 0.2)[round_]:
                    ours[key] = model[key] = rng.randrange(1000)
                elif key in model:
                    del ours[key], model[key]
        assert list(ours.items()) == list(model.items())
        for _ in range(50):
            key, index = rng.randrange(6100), rng.randrange(len(model))
            assert ours.bisect_left(key) == model.bisect_left(key)
            assert ours.peekitem(index) == model.peekitem(index)
            assert list(ours.irange(key, key + 90)) == list(model.irange(key, key + 90))
            assert ours.keys()[index - 40 : index + 40] == model.keys()[index - 40 : index + 40]
        assert pool.check().problems == ()
    middle = len(model) // 3
    del ours.keys()[middle:-middle]
    del model.keys()[middle:-middle]
    assert list(ours.items()) == list(model.items())
    assert pool.check().problems == ()


# ---- making them ----


def test_objects_of_sortedcontainers_become_ours(pool: Pool) -> None:
    pool.root["d"] = sortedcontainers.SortedDict({2: [1], 1: {"a": 1}})
    pool.root["s"] = sortedcontainers.SortedSet("hello")
    pool.root["l"] = [sortedcontainers.SortedDict(a=1)]
    assert type(pool.root["d"]) is SortedDict
    assert type(pool.root["d"][2]) is pmemstore.List
    assert list(pool.root["s"]) == ["e", "h", "l", "o"]
    assert type(pool.root["l"][0]) is SortedDict


def test_key_functions_are_refused(pool: Pool) -> None:
    for refused in (
        lambda: pool.root.update(x=sortedcontainers.SortedDict(len, {"a": 1})),
        lambda: pool.root.update(x=[sortedcontainers.SortedSet(["a"], key=len)]),
        lambda: SortedDict.of(len),
        lambda: SortedDict.of(sortedcontainers.SortedDict(len, {"a": 1})),
        lambda: SortedSet.of(["a"], key=len),
        lambda: SortedSet.of(sortedcontainers.SortedSet(["a"], key=len)),
    ):
        with pytest.raises(pmemstore.NotPersistableError, match="no key function"):
            refused()
    assert len(pool.root) == 0


def test_sortedcontainers_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['sortedcontainers'] = None\n"
        "import pmemstore, tempfile, os\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    with pmemstore.open(os.path.join(folder, 'p')) as pool:\n"
        "        pool.root['d'] = pmemstore.SortedDict.of(b=1, a=2)\n"
        "        print(pool.root['d'], pool.root['d'].copy())"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout == "SortedDict({'a': 2, 'b': 1}) SortedDict.of({'a': 2, 'b': 1})\n", (
        done.stderr
    )


def test_of_takes_what_dict_and_set_take() -> None:
    assert SortedDict.of([("b", 1), ("a", 2)], c=3) == {"a": 2, "b": 1, "c": 3}
    assert list(SortedDict.of({3: 1, 1: 2})) == [1, 3]
    assert SortedDict.fromkeys("ba", 1) == {"a": 1, "b": 1}
    assert isinstance(SortedDict.of(), dict)
    assert list(SortedSet.of("cab")) == ["a", "b", "c"]
    assert isinstance(SortedSet.of(), set)
    with pytest.raises(TypeError, match="'<' not supported"):
        SortedDict.of({1: 1, "a": 2})
    with pytest.raises(ValueError, match="length 1; 2 is required"):
        SortedDict.of([(1,)])
    for kind in (SortedDict, SortedSet):
        with pytest.raises(TypeError, match="cannot create"):
            kind()


def test_copies_are_in_memory_and_become_sorted_again(pool: Pool) -> None:
    pool.root["d"] = SortedDict.of({2: {"x": [1]}, 1: SortedSet.of([3, 2])})
    ours = pool.root["d"]
    shallow, deep = copy.copy(ours), copy.deepcopy(ours)
    assert shallow[2] is ours[2]
    assert type(deep[2]) is dict
    assert deep == {1: {2, 3}, 2: {"x": [1]}}
    assert list(deep) == [1, 2]
    pool.root["again"] = deep
    assert type(pool.root["again"]) is SortedDict
    assert type(pool.root["again"][1]) is SortedSet
    assert pool.root["again"] == ours
    assert ours | {0: 5} == {0: 5, **ours}
    assert list({0: 5} | ours) == [0, 1, 2]


def test_one_of_another_pool_is_copied(medium: Medium, open_pool: Opener, pool: Pool) -> None:
    other = open_pool(medium.folder / "other.pool", "n")
    other.root["d"] = SortedDict.of({1: SortedSet.of("ab")})
    pool.root["d"] = other.root["d"]
    other.close()
    assert type(pool.root["d"]) is SortedDict
    assert type(pool.root["d"][1]) is SortedSet
    assert pool.root["d"] == {1: {"a", "b"}}


def test_pickling_is_refused(pool: Pool) -> None:
    for value in (SortedDict.of(a=1), SortedSet.of("a")):
        with pytest.raises(TypeError, match=r"cannot pickle a persistent Sorted.*deepcopy"):
            pickle.dumps(stored(pool, value))


def test_they_are_what_they_say(pool: Pool) -> None:
    ours, items = stored(pool, SortedDict.of(a=1)), SortedSet.of("a")
    pool.root["s"] = items
    assert isinstance(ours, MutableMapping)
    assert isinstance(pool.root["s"], MutableSet)
    match ours:
        case {"a": 1}:
            pass
        case other:
            pytest.fail(f"{other} is no mapping")
    for target in (ours, pool.root["s"]):
        with pytest.raises(TypeError, match="unhashable"):
            hash(target)
    assert pool.root["x"] is ours
    with pytest.raises(TypeError, match="does not support item assignment"):
        pool.root["s"][0] = 1


def test_equality_is_that_of_dicts_and_sets(pool: Pool) -> None:
    pool.root.update(d=SortedDict.of(a=1, b=2), e={"b": 2, "a": 1}, s=SortedSet.of("ab"))
    ours, items = pool.root["d"], pool.root["s"]
    assert ours == {"b": 2, "a": 1} == ours
    assert ours == pool.root["e"]
    assert pool.root["e"] == ours
    assert ours != {"a": 1}
    assert ours != [("a", 1), ("b", 2)]
    assert items == {"b", "a"} == items
    assert items == frozenset("ab")
    assert items == ours.keys()
    assert items != ["a", "b"]
    assert items < {"a", "b", 3}
    with pytest.raises(TypeError):
        items < ["a", "b", "c"]  # noqa: B015 - it raises


# ---- atomic, durable, and looked at while it changes ----


def test_they_are_there_after_reopening(medium: Medium, open_pool: Opener) -> None:
    path = medium.folder / "p.pool"
    pool = open_pool(path, "n")
    pool.root["d"] = SortedDict.of({i: str(i) for i in range(500)})
    pool.root["s"] = SortedSet.of(range(0, 500, 7))
    del pool.root["d"].keys()[100:300]
    pool.close()
    pool = open_pool(path, "w")
    assert list(pool.root["d"].items()) == [(i, str(i)) for i in [*range(100), *range(300, 500)]]
    assert list(pool.root["s"]) == list(range(0, 500, 7))


def test_update_is_all_or_nothing(pool: Pool) -> None:
    ours, items = stored(pool, SortedDict.of({1: 1})), SortedSet.of([1])
    pool.root["s"] = items
    many = {i: {"n": i} for i in range(100)}
    for bad in ({"a": 1}, {5: object()}, {math.nan: 1}):
        with pytest.raises((TypeError, ValueError)):
            ours.update({**many, **bad})
        with pytest.raises((TypeError, ValueError)):
            pool.root["s"].update(range(50), [*bad, object()])
    assert ours == {1: 1}
    assert pool.root["s"] == {1}
    ours.update(many)
    assert ours == many
    with pytest.raises(ValueError, match="length 3"):
        ours.update([(1, 2, 3)])


def test_a_roll_back_takes_everything_back(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of({i: i for i in range(300)}))
    lost: list[Any] = []

    def work() -> None:
        with pool.transaction():
            ours.clear()
            ours["other"] = 1
            pool.root["new"] = SortedDict.of(a=1)
            lost.append(pool.root["new"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert ours == {i: i for i in range(300)}
    assert repr(lost[0]) == "<SortedDict that was rolled back>"
    with pytest.raises(pmemstore.StaleRefError):
        len(lost[0])


ITERATORS: list[Callable[[Any], Any]] = [
    iter,
    reversed,
    lambda d: d.irange(5),
    lambda d: iter(d.items()),
    lambda d: d.values().irange(reverse=True),
]
CHANGES: list[Callable[[Any], object]] = [
    lambda d: d.__setitem__(1000, 1),
    lambda d: d.__delitem__(100),
    lambda d: d.popitem(),
    lambda d: d.pop(3),
    lambda d: d.setdefault(-1, 5),
    lambda d: d.update({-1: 5, -2: 6}),
    lambda d: d.remove_range(50, 60),
    lambda d: d.clear(),
]


@pytest.mark.parametrize("make", ITERATORS)
@pytest.mark.parametrize("change", CHANGES)
def test_iteration_notices_keys_that_come_and_go(
    make: Callable[[Any], Any], change: Callable[[Any], object], direct_pool: Pool
) -> None:
    ours = stored(direct_pool, SortedDict.of({i: i for i in range(200)}))
    iterator = make(ours)
    next(iterator)
    change(ours)
    with pytest.raises(RuntimeError, match="SortedDict changed size during iteration"):
        next(iterator)


def test_iteration_over_a_set_notices_too(pool: Pool) -> None:
    items = stored(pool, SortedSet.of("abc"))
    iterator = iter(items)
    items.add("z")
    with pytest.raises(RuntimeError, match="SortedSet changed size"):
        list(iterator)
    iterator = items.irange("b")
    items.discard("a")
    items.add("0")
    with pytest.raises(RuntimeError, match="SortedSet keys changed"):
        next(iterator)


def test_adding_what_is_there_disturbs_no_iteration(pool: Pool) -> None:
    items = stored(pool, SortedSet.of(range(100)))
    for item in items:
        items.add(item)
        items.discard(1000)


def test_iteration_sees_values_that_are_replaced(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of({i: i for i in range(100)}))
    seen = []
    for key, value in ours.items():
        seen.append(value)
        if key + 1 < 100:
            ours[key + 1] = -key
    assert seen == [0, *(-i for i in range(99))]


def test_an_iterator_tells_how_much_is_left(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of({i: i for i in range(100)}))
    iterator = ours.irange(10, 50, (True, False))
    assert iterator.__length_hint__() == 40  # type: ignore[attr-defined] # of the C type
    next(iterator)
    assert iterator.__length_hint__() == 39  # type: ignore[attr-defined] # as above
    assert len(list(iterator)) == 39
    assert list(iterator) == []


def test_views_follow_and_show_themselves(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of(a=1))
    keys, values, items = ours.keys(), ours.values(), ours.items()
    ours["b"] = [2]
    assert (len(keys), list(values), items[-1]) == (2, [1, ours["b"]], ("b", ours["b"]))
    assert repr(keys) == "SortedDictKeys(['a', 'b'])"
    assert ("a", 1) in items
    assert ("a", 2) not in items
    assert "a" not in items
    assert 1 in values
    assert isinstance(keys & {"a"}, set)
    assert keys.mapping is ours
    assert list(items.irange("b")) == [("b", ours["b"])]
    assert list(values.irange(None, "a", reverse=True)) == [1]
    assert list(items.islice(1)) == [("b", ours["b"])]
    assert values.index(1) == 0
    with pytest.raises(ValueError, match="7 is not in list"):
        values.index(7)
    with pytest.raises(TypeError, match="list indices must be integers or slices, not str"):
        keys["a"]
    with pytest.raises(IndexError):
        del keys[5]


def test_remove_range_tells_how_many(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of({i: i for i in range(1000)}))
    assert ours.remove_range(100, 200) == 101
    assert ours.remove_range(100, 200) == 0
    assert ours.remove_range(300, 400, (False, False)) == 99
    assert ours.remove_range(10, 5) == 0
    assert ours.remove_range(maximum=4) == 5
    items = SortedSet.of(range(10))
    pool.root["s"] = items
    assert pool.root["s"].remove_range(3) == 7
    assert ours.remove_range() == 1000 - 101 - 99 - 5
    assert ours == {}
    assert pool.check().problems == ()


def test_values_are_linked_and_built(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of())
    assert ours.setdefault("list", [1]) is ours["list"]
    assert ours.setdefault("list", [2]) == [1]
    ours["same"] = ours["list"]
    ours["self"] = ours
    assert ours["self"] is ours
    assert repr(ours) == "SortedDict({'list': [1], 'same': [1], 'self': SortedDict({...})})"
    inner = ours.pop("list")
    assert ours["same"] is inner
    ours["dict"] = {"a": SortedSet.of([1])}
    assert type(ours["dict"]["a"]) is SortedSet
    ours.pop("self")
    assert isinstance(ours, Mapping)


def test_repr_of_a_closed_pool(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of())
    pool.root["s"] = SortedSet.of()
    items = pool.root["s"]
    assert (repr(ours), repr(items)) == ("SortedDict({})", "SortedSet([])")
    pool.close()
    assert repr(ours) == "<SortedDict of a closed pool>"
    assert repr(items) == "<SortedSet of a closed pool>"
    with pytest.raises(pmemstore.PoolClosedError):
        ours[1]
    with pytest.raises(pmemstore.PoolClosedError):
        items.add(1)


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_wrong_numbers_of_arguments(arguments: tuple[int, ...], pool: Pool) -> None:
    ours = stored(pool, SortedDict.of())
    for method in (ours.get, ours.pop, ours.setdefault):
        with pytest.raises(TypeError, match="expected 1 or 2 arguments"):
            method(*arguments)
