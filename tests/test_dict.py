"""Dict: what a dict does, a Dict does."""
# ruff: noqa: SIM300 - both sides of == are the point

from __future__ import annotations

import copy
import pickle
import random
import sys
import threading
import time
import tracemalloc
from collections import UserDict
from collections.abc import Mapping, MutableMapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import Dict, List

if TYPE_CHECKING:
    from conftest import Medium, Opener

KEYS = st.one_of(
    st.integers(-2, 6),
    st.sampled_from([True, 1.0, 0.5, None, "a", "b", "long key " * 150, b"a", (1, 2), (1, 2.0)]),
)
VALUES = st.one_of(
    st.integers(-(2**70), 2**70), st.text(max_size=12), st.none(), st.just("v" * 5000)
)
MISSING = object()


def _apply(target: Any, op: str, key: Any, value: Any) -> Any:
    """Run one operation; return its result, or the type and arguments of its exception."""
    try:
        match op:
            case "set":
                target[key] = value
            case "del":
                del target[key]
            case "get":
                return target[key]
            case "get_default":
                return target.get(key, value)
            case "pop":
                return target.pop(key)
            case "pop_default":
                return target.pop(key, value)
            case "popitem":
                return target.popitem()
            case "setdefault":
                return target.setdefault(key, value)
            case "in":
                return key in target
            case "update":
                target.update([(key, value), ("z", value)], y=value)
            case "or":
                target |= {key: value}
            case "clear":
                target.clear()
    except KeyError as error:
        return KeyError, error.args
    return None


OPS = ["set"] * 6 + ["del", "get", "get_default", "pop", "pop_default", "popitem", "setdefault"]
OPS += ["in", "update", "or"] + ["clear"] * 1


@given(steps=st.lists(st.tuples(st.sampled_from(OPS), KEYS, VALUES), max_size=40))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_sequence_of_operations_matches_a_dict(
    steps: list[tuple[str, Any, Any]], pool: pmemstore.Pool
) -> None:
    """Results, exceptions, order and views are those of the builtin after every operation."""
    pool.root["d"] = {}
    stored: Any = pool.root["d"]
    model: dict[Any, Any] = {}
    for op, key, value in steps:
        assert repr(_apply(stored, op, key, value)) == repr(_apply(model, op, key, value))
        assert len(stored) == len(model)
        assert repr(list(stored.items())) == repr(list(model.items()))
    assert list(stored) == list(model)
    assert list(reversed(stored)) == list(reversed(model))
    assert list(stored.values()) == list(model.values())
    assert list(reversed(stored.items())) == list(reversed(model.items()))
    assert stored == model
    assert repr(stored) == repr(model)


def test_many_items_survive_growth_deletion_and_reopening(
    medium: Medium, open_pool: Opener
) -> None:
    """Twenty thousand items in random order, half deleted, then read by another Pool."""
    rng = random.Random(7)
    model = {f"key {i}": i for i in rng.sample(range(20_000), 20_000)}
    pool = open_pool(medium.folder / "big.pool")
    pool.root["d"] = model
    stored = pool.root["d"]
    with pool.transaction():
        for key in rng.sample(sorted(model), 10_000):
            del stored[key], model[key]
    pool.close()
    pool = open_pool(medium.folder / "big.pool", "r")
    stored = pool.root["d"]
    assert len(stored) == 10_000
    assert list(stored.items()) == list(model.items())
    assert all(stored[key] == value for key, value in model.items())
    assert "key -1" not in stored


def test_missing_key_is_a_keyerror_with_the_key(pool: pmemstore.Pool) -> None:
    """KeyError.args are those of a dict, for tuples too."""
    for key in ("a", 1, (1, 2), None):
        with pytest.raises(KeyError) as caught:
            pool.root[key]
        assert caught.value.args == (key,)
        with pytest.raises(KeyError) as caught:
            del pool.root[key]
        assert caught.value.args == (key,)
        with pytest.raises(KeyError) as caught:
            pool.root.pop(key)
        assert caught.value.args == (key,)
    with pytest.raises(KeyError, match="empty"):
        pool.root.popitem()


def test_nested_containers_become_persistent_and_mutate_in_place(pool: pmemstore.Pool) -> None:
    """A mutation of what an item holds is never lost."""
    pool.root["orders"] = {"a": [1, {"deep": []}]}
    pool.root["orders"]["a"][1]["deep"].append("x")
    assert isinstance(pool.root["orders"], Dict)
    assert isinstance(pool.root["orders"]["a"], List)
    assert pool.root["orders"] == {"a": [1, {"deep": ["x"]}]}


def test_plain_container_is_copied_once(pool: pmemstore.Pool) -> None:
    """The plain dict that was assigned stays plain; later changes to it do not count."""
    plain = {"a": [1]}
    pool.root["d"] = plain
    plain["a"].append(2)
    assert pool.root["d"] == {"a": [1]}


def test_shared_container_stays_shared(pool: pmemstore.Pool) -> None:
    """An object that occurs twice in a value is one object in the pool."""
    shared = ["x"]
    pool.root["d"] = {"a": shared, "b": {"c": shared}}
    assert pool.root["d"]["a"] is pool.root["d"]["b"]["c"]


def test_one_live_proxy_per_object(pool: pmemstore.Pool) -> None:
    """Identity holds as for plain objects, also for an object linked twice."""
    pool.root["a"] = {}
    a = pool.root["a"]
    pool.root["b"] = a
    assert pool.root["b"] is a
    assert pool.root is pool.root
    a["x"] = 1
    assert pool.root["b"]["x"] == 1


def test_self_reference_in_a_plain_value_is_refused(pool: pmemstore.Pool) -> None:
    """A value that contains itself is a ValueError that names the way, and nothing is stored."""
    loop: dict[str, Any] = {"a": [1]}
    loop["a"].append(loop)
    with pytest.raises(ValueError, match=r"\['a'\]\[1\]"):
        pool.root["loop"] = loop
    assert not pool.root


def test_depth_is_bounded_by_memory_alone(pool: pmemstore.Pool) -> None:
    """A thousand levels in, a thousand levels out, past the recursion limit."""
    deep: Any = []
    for _ in range(1500):
        deep = [{"x": deep}]
    pool.root["deep"] = deep
    plain = copy.deepcopy(pool.root["deep"])
    for _ in range(1500):
        assert type(plain) is list
        plain = plain[0]["x"]
    assert plain == []
    del pool.root["deep"]
    pool.collect()


@pytest.mark.parametrize("kind", ["pop", "replace", "del", "clear", "popitem"])
def test_removed_object_stays_usable_while_a_proxy_lives(kind: str, pool: pmemstore.Pool) -> None:
    """What was popped, replaced or cleared can be read, changed and put back."""
    pool.root["a"] = {"n": [1, 2]}
    a = pool.root["a"]
    if kind == "pop":
        assert pool.root.pop("a") is a
    elif kind == "replace":
        pool.root["a"] = 0
    elif kind == "del":
        del pool.root["a"]
    elif kind == "clear":
        pool.root.clear()
    else:
        assert pool.root.popitem() == ("a", a)
    pool.collect()
    a["n"].append(3)
    assert a == {"n": [1, 2, 3]}
    assert pool.check().ok
    pool.root["back"] = a
    assert pool.root["back"] is a
    used = pool.stats().used_bytes
    del pool.root["back"], a
    pool.collect()
    assert pool.stats().used_bytes < used
    assert pool.check().orphans == 0


def test_size_change_during_iteration_is_a_runtimeerror(pool: pmemstore.Pool) -> None:
    """As in a dict; replacing a value is allowed."""
    pool.root.update(a=1, b=2, c=3)
    for key in pool.root:
        pool.root[key] = 0
    for view in (pool.root, pool.root.items()):
        iterator = iter(view)
        next(iterator)
        pool.root["d"] = 4
        with pytest.raises(RuntimeError, match="changed size during iteration"):
            next(iterator)
        iterator = iter(pool.root.values())
        next(iterator)
        del pool.root["d"]
        with pytest.raises(RuntimeError, match="changed"):
            next(iterator)


def test_update_frees_what_it_has_allocated_just_now(pool: pmemstore.Pool) -> None:
    """The bits of new blocks wait until a bitmap is read: here one is freed in between."""
    d = pool.root.setdefault("d", {})
    for length in (50, 300, 3000, 40_000):
        pairs = [(f"key {i // 2}", bytes([i]) * (length + i)) for i in range(200)]
        d.update(pairs)
        assert d == dict(pairs)
        with pytest.raises(pmemstore.NotPersistableError):
            d.update([*pairs[:70], ("last", object())])
        with pool.transaction():
            d.update(pairs[::-1])
            d.update(pairs)
        assert d == dict(pairs)
        assert pool.check().ok
    d.clear()
    pool.collect()
    assert pool.check().ok


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
def test_what_follows_an_update_that_found_no_room_is_stored(
    inside: bool, medium: Medium, open_pool: Opener
) -> None:
    """An update() that failed at once left new blocks without their bits in the bitmap.

    It had changed nothing, so nothing was rolled back, and the puts after it went on to gather.
    """
    path, value = medium.folder / "full.pool", bytes(3000)
    with open_pool(path, "n", size="1M", limit="1M") as pool:
        d = pool.root.setdefault("d", {})
        full = 0
        for number in range(300):  # a table that needs room to grow may not need it next time
            try:
                d[number] = value
            except pmemstore.PoolFullError:
                full += 1
        assert full > 100
        with pool.transaction() if inside else nullcontext():
            with pytest.raises(pmemstore.PoolFullError):
                d.update({1000: value})
            for number in list(d)[::2]:
                del d[number]
        pool.checkpoint()
        for number in range(5):
            d[2000 + number] = value
        assert pool.check().problems == ()
    with open_pool(path, "w") as pool:
        assert pool.check().problems == ()


def test_views_are_live_and_have_set_algebra(pool: pmemstore.Pool) -> None:
    """keys() and items() behave as sets and follow the dict."""
    d = pool.root
    keys, values, items = d.keys(), d.values(), d.items()
    d.update(a=1, b=2)
    assert keys == {"a", "b"}
    assert items == {("a", 1), ("b", 2)}
    assert list(values) == [1, 2]
    assert keys & ["a", "z"] == {"a"}
    assert type(keys & {"a"}) is set
    assert keys | {"c"} == {"a", "b", "c"}
    assert keys - {"a"} == {"b"}
    assert keys ^ {"a", "c"} == {"b", "c"}
    assert {"a"} < keys
    assert keys.isdisjoint({"q"})
    assert ("a", 1) in items
    assert ("a", 2) not in items
    assert 2 in values
    assert 3 not in values
    assert "a" in keys
    assert list(reversed(keys)) == ["b", "a"]
    assert (len(keys), len(values), len(items)) == (2, 2, 2)
    assert repr(keys) == "DictKeys(['a', 'b'])"
    assert keys.mapping is d


def test_update_takes_what_a_dict_takes(pool: pmemstore.Pool) -> None:
    """Mappings, objects with keys(), pairs, keywords; the same errors."""
    pool.root["d"] = {}
    d = pool.root["d"]
    d.update({"a": 1})
    d.update(UserDict(b=2))
    d.update([("c", 3)], d=4)
    d.update(d)
    d.update()
    assert d == {"a": 1, "b": 2, "c": 3, "d": 4}
    for bad, kind in ((5, TypeError), ([5], TypeError), ([(1, 2, 3)], ValueError)):
        with pytest.raises(kind) as ours:
            d.update(bad)
        with pytest.raises(kind) as builtin:
            {}.update(bad)
        assert str(ours.value) == str(builtin.value)


def test_update_is_all_or_nothing(pool: pmemstore.Pool) -> None:
    """A bad item in the middle leaves no trace of the good ones before it."""
    with pytest.raises(pmemstore.NotPersistableError):
        pool.root.update({"a": 1, "b": object(), "c": 3})
    with pytest.raises(TypeError, match="unhashable"):
        pool.root.update([("a", 1), ([], 2)])
    assert pool.root == {}


@pytest.mark.parametrize("young", [["young"], ["young", "younger"]], ids=["as long", "longer"])
def test_update_puts_a_dict_as_it_was(young: list[str], pool: pmemstore.Pool) -> None:
    """As dict.update() does, which nobody interrupts: here another thread changes the dict while
    update() waits for it."""
    d = pool.root.setdefault("d", {})
    source = {f"key {i}": i for i in range(100)}
    wanted = dict(source)
    main, entered = threading.get_ident(), threading.Event()

    def hold() -> None:
        with pool.transaction():
            entered.set()
            while sys._current_frames()[main].f_code.co_name != "update":
                time.sleep(0.001)
            time.sleep(0.02)
            del source["key 0"]
            source.update(dict.fromkeys(young))

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    d.update(source)
    thread.join()
    assert source.keys() == {*wanted, *young} - {"key 0"}
    assert d == wanted


def test_new_dicts_are_plain(pool: pmemstore.Pool) -> None:
    """copy, |, fromkeys make builtin dicts; deepcopy all the way down."""
    pool.root["d"] = {"a": [1], "b": 2}
    d = pool.root["d"]
    assert type(d.copy()) is dict
    assert d.copy()["a"] is d["a"]
    assert type(copy.copy(d)) is dict
    deep = copy.deepcopy({"x": d, "y": d})
    assert deep == {"x": {"a": [1], "b": 2}, "y": {"a": [1], "b": 2}}
    assert deep["x"] is deep["y"]
    assert type(deep["x"]["a"]) is list
    assert type(d | {"c": 3}) is dict
    assert d | {"b": 3} == {"a": [1], "b": 3}
    assert {"b": 3} | d == {"b": 2, "a": [1]}
    assert type({} | d) is dict
    assert Dict.fromkeys("ab") == {"a": None, "b": None}
    with pytest.raises(TypeError):
        d | [("a", 1)]


def test_equality_is_that_of_dicts(pool: pmemstore.Pool) -> None:
    """With builtins, with proxies, on both sides; order does not matter."""
    pool.root["d"] = {"a": 1, "b": [1]}
    pool.root["e"] = {"b": [1], "a": 1.0}
    d, e = pool.root["d"], pool.root["e"]
    assert d == e
    assert d == {"b": [1], "a": True}
    assert {"b": [1], "a": 1} == d
    assert d != {"a": 1}
    assert d != {"a": 1, "c": [1]}
    assert d != {"a": 1, "b": [2]}
    assert d != 5
    with pytest.raises(TypeError):
        hash(d)


def test_pairs_that_are_kept_are_nobody_elses(pool: pmemstore.Pool) -> None:
    """items() fills a pair again only if nobody can see that; it hashes as what it holds."""
    plain = {f"key {i}": b"value %d" % i for i in range(50)}
    pool.root["d"] = plain
    d = pool.root["d"]
    assert list(d.items()) == list(plain.items())
    assert {pair for pair in d.items() if hash(pair)} == set(plain.items())
    pairs = iter(d.items())
    kept = [next(pairs), next(pairs)]
    third = next(pairs)
    del third
    assert [next(pairs), *pairs] == list(plain.items())[3:]
    assert kept == list(plain.items())[:2]
    for pair, expected in zip(d.items(), plain.items(), strict=True):
        assert hash(pair) == hash(expected)
        assert pair == expected


def test_few_large_values_are_taken_ahead(pool: pmemstore.Pool) -> None:
    """An iterator takes what comes next in advance, but not sixteen large values."""
    pool.root["d"] = {i: bytes(1 << 20) for i in range(24)}
    d = pool.root["d"]
    tracemalloc.start()
    assert sum(len(value) for value in d.values()) == 24 << 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_it_is_a_mapping(pool: pmemstore.Pool) -> None:
    """ABCs, match statements and ** take it for one."""
    pool.root["d"] = {"kind": "point", "x": 1}
    d = pool.root["d"]
    assert isinstance(d, MutableMapping)
    assert isinstance(d, Mapping)
    match d:
        case {"kind": "point", "x": x}:
            assert x == 1
        case _:
            pytest.fail("no match")
    assert dict(**d) == {"kind": "point", "x": 1}
    assert Dict[str, int]


def test_repr_guards_against_recursion(pool: pmemstore.Pool) -> None:
    """A cycle made through proxies prints as a dict's does."""
    pool.root["d"] = {"a": []}
    pool.root["d"]["a"].append(pool.root["d"])
    assert repr(pool.root["d"]) == "{'a': [{...}]}"
    pool.root["d"]["a"].clear()


def test_pickle_and_construction_are_refused_with_a_hint(pool: pmemstore.Pool) -> None:
    """A proxy can't be pickled, and none is made out of thin air."""
    with pytest.raises(TypeError, match="deepcopy"):
        pickle.dumps(pool.root)
    with pytest.raises(TypeError):
        Dict()
    with pytest.raises(TypeError):
        Dict.__new__(Dict)


def test_container_of_another_pool_is_copied(medium: Medium, open_pool: Opener) -> None:
    """Assigning a proxy of another pool copies all that is inside."""
    one = open_pool(medium.folder / "one.pool")
    two = open_pool(medium.folder / "two.pool")
    one.root["d"] = {"a": [1, {"b": (2, 3)}]}
    two.root["d"] = one.root["d"]
    one.root["d"]["a"][1]["b"] = 0
    assert two.root["d"] == {"a": [1, {"b": (2, 3)}]}
    two.root["list"] = [one.root["d"], one.root["d"]["a"]]
    assert two.root["list"][0]["a"] is two.root["list"][1]


def test_large_keys_and_values(pool: pmemstore.Pool) -> None:
    """Keys and values from empty to a megabyte, at the borders of the storage classes."""
    sizes = [0, 1, 7, 8, 9, 63, 64, 1023, 1024, 1025, 4096, 32768, 32769, 300_000]
    model: dict[Any, Any] = {}
    for size in sizes:
        model["k" * size] = b"v" * size
        model[b"k" * size] = "v" * size
        model[("k" * size,)] = ("v" * size,)
    pool.root["d"] = model
    assert list(pool.root["d"].items()) == list(model.items())
    for key in list(model):
        del pool.root["d"][key]
    assert pool.root["d"] == {}
