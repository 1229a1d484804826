"""Who owns what: shared references, identity, weak references, what was popped, cycles."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import Pool, PoolCorruptError, StaleRefError, TransactionError
from pmemstore.containers.sorted import PlainSortedDict

if TYPE_CHECKING:
    from conftest import Medium, Opener


class Undo(Exception):
    pass


def make_ring(pool: Pool, name: str, length: int) -> None:
    """``length`` dicts and lists in turn, each referring to the next one."""
    with pool.transaction():
        pool.root[name] = [{} if i % 2 else [] for i in range(length)]
        nodes = list(pool.root[name])
        for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            if isinstance(node, pmemstore.List):
                node.append(following)
            else:
                node["next"] = following
        pool.root[name] = nodes[0]


# ---- identity and sharing ----


def test_one_object_is_one_proxy(pool: Pool) -> None:
    """However it was reached: subscript, get, values, iteration, setdefault, pop."""
    pool.root["a"] = {"x": [1]}
    a = pool.root["a"]
    pool.root["b"] = a
    pool.root["l"] = [a, a]
    listed = pool.root["l"]
    assert all(
        found is a
        for found in [
            pool.root["a"],
            pool.root["b"],
            pool.root.get("a"),
            pool.root.setdefault("b", None),
            listed[0],
            listed[-1],
            *listed,
            *listed[:],
            *list(pool.root.values())[:2],
            dict(pool.root.items())["b"],
            pool.root.pop("b"),
        ]
    )
    assert a["x"] is listed[1]["x"]
    assert pool.root["l"] is listed


def test_a_container_lives_as_long_as_one_reference(pool: Pool) -> None:
    """Two places share it; either may go, and what is changed here is changed there."""
    pool.root["a"] = {"n": 1}
    pool.root["b"] = pool.root["a"]
    del pool.root["a"]
    pool.collect()
    pool.root["b"]["n"] += 1
    pool.root["c"] = [pool.root["b"]] * 3
    pool.root["b"] = None
    pool.collect()
    assert pool.root == {"b": None, "c": [{"n": 2}] * 3}
    assert pool.root["c"][0] is pool.root["c"][2]
    before = pool.check().objects
    pool.root["c"].clear()
    pool.collect()
    assert pool.check().objects == before - 1


# ---- weak references ----


@pytest.mark.parametrize("made", [{}, []], ids=["dict", "list"])
def test_weak_references_die_with_the_proxy(made: Any, pool: Pool) -> None:
    """A weak reference keeps nothing; the object itself stays, and gets another proxy."""
    pool.root["x"] = made
    died = []
    x = pool.root["x"]
    ref, proxy = weakref.ref(x, died.append), weakref.proxy(x)
    table = weakref.WeakValueDictionary({"x": x})
    assert ref() is x
    assert len(proxy) == 0
    del x
    gc.collect()
    assert ref() is None
    assert died == [ref]
    assert dict(table) == {}
    with pytest.raises(ReferenceError):
        len(proxy)
    assert pool.root["x"] == made
    again = weakref.ref(pool.root["x"])
    assert again() is None


def test_weak_references_see_what_becomes_of_the_pool(pool: Pool) -> None:
    """Their proxy is alive after close and after a roll-back, and says so."""
    pool.root["x"] = {}
    x = pool.root["x"]
    proxy = weakref.proxy(x)
    with contextlib.suppress(Undo), pool.transaction():
        pool.root["y"] = []
        y = pool.root["y"]
        stale = weakref.proxy(y)
        raise Undo
    with pytest.raises(StaleRefError):
        len(stale)
    pool.close()
    with pytest.raises(pmemstore.PoolClosedError):
        len(proxy)


# ---- what was taken out ----


@pytest.mark.parametrize("how", ["pop", "del", "replace", "clear", "popitem", "update"])
def test_what_was_taken_out_of_a_dict_stays_usable(how: str, pool: Pool) -> None:
    """For as long as a proxy looks at it, over any number of commits and collections."""
    pool.root["x"] = {"n": 1, "inner": [1, 2]}
    x = pool.root["x"]
    match how:
        case "pop":
            assert pool.root.pop("x") is x
        case "del":
            del pool.root["x"]
        case "replace":
            pool.root["x"] = 5
        case "clear":
            pool.root.clear()
        case "popitem":
            assert pool.root.popitem() == ("x", x)
        case "update":
            pool.root.update(x=None)
    stays_usable(pool, x)


@pytest.mark.parametrize("how", ["pop", "del", "replace", "clear", "remove", "slice"])
def test_what_was_taken_out_of_a_list_stays_usable(how: str, pool: Pool) -> None:
    pool.root["l"] = [0, {"n": 1, "inner": [1, 2]}]
    items = pool.root["l"]
    x = items[1]
    match how:
        case "pop":
            assert items.pop() is x
        case "del":
            del items[1]
        case "replace":
            items[1] = None
        case "clear":
            items.clear()
        case "remove":
            items.remove(x)
        case "slice":
            items[:] = [7]
    stays_usable(pool, x)


def stays_usable(pool: Pool, x: Any) -> None:
    for number in range(40):
        pool.root["other"] = number
    pool.collect()
    assert pool.check().ok
    assert x == {"n": 1, "inner": [1, 2]}
    x["n"] = 2
    with pool.transaction():
        x["inner"].append(x)
    pool.collect()
    assert pool.check().damage == 0
    assert x["inner"][2] is x
    x["inner"].pop()
    pool.root["back"] = x
    assert pool.root["back"] is x
    pool.collect()
    assert pool.check().orphans == 0
    assert pool.root["back"] == {"n": 2, "inner": [1, 2]}
    del pool.root["back"]
    pool.collect()
    assert pool.check().orphans == 1
    assert x == {"n": 2, "inner": [1, 2]}


def test_teardown_waits_for_the_proxy(pool: Pool) -> None:
    """Not a byte of what was deleted is freed while somebody looks at it, then all of it."""
    pool.root["x"] = {"text": "y" * 5000}
    x = pool.root["x"]
    used = pool.stats().used_bytes
    del pool.root["x"]
    pool.collect()
    assert pool.stats().used_bytes > 5000
    assert len(x["text"]) == 5000
    del x
    gc.collect()
    pool.root["other"] = 1  # any unit of work
    assert pool.stats().used_bytes < used - 5000


# ---- roll-back ----


def test_what_was_rolled_back_is_stale_at_any_depth(pool: Pool) -> None:
    """Proxies of what the savepoint made are stale; those of what was there before are not."""
    pool.root["old"] = {}
    old = pool.root["old"]
    with pool.transaction():
        pool.root["outer"] = {"deep": [{}]}
        outer = pool.root["outer"]
        with contextlib.suppress(Undo), pool.transaction():
            old["inner"] = {"list": []}
            inner = old["inner"]
            items = inner["list"]
            raise Undo
        assert old == {}
        outer["kept"] = True
        for dead in (inner, items):
            with pytest.raises(StaleRefError, match="rolled back"):
                len(dead)
            with pytest.raises(StaleRefError):
                pool.root["again"] = dead
            assert "rolled back" in repr(dead)
    assert pool.root == {"old": {}, "outer": {"deep": [{}], "kept": True}}
    assert outer is pool.root["outer"]


def test_a_deletion_that_was_rolled_back_leaves_its_proxy_alive(pool: Pool) -> None:
    pool.root["x"] = {"n": [1]}
    x = pool.root["x"]
    with contextlib.suppress(Undo), pool.transaction():
        taken = pool.root.pop("x")
        taken["n"].clear()
        del taken["n"]
        raise Undo
    assert pool.root["x"] is x
    assert x == {"n": [1]}


# ---- cycles ----


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100])
def test_a_cycle_is_told_and_collected(length: int, pool: Pool) -> None:
    """check() counts all of it, tells where it is, and blames nothing else."""
    pool.root["first"] = 1
    used = pool.stats().used_bytes
    make_ring(pool, "ring", length)
    pool.collect()
    assert pool.check().objects == 1 + length
    del pool.root["ring"]
    result = pool.check()
    assert not result.ok
    assert len(result.problems) == 1
    assert "is unreachable" in result.problems[0]
    assert result.unreachable == length
    assert result.damage == 0
    assert result.leaked_bytes == result.allocated_bytes - result.reachable_bytes > 0
    assert pool.collect() >= result.leaked_bytes
    assert pool.check().ok
    assert pool.stats().used_bytes <= used
    assert pool.collect() == 0


@pmemstore.record
class Node:
    name: str
    link: Any = None


def test_cycles_through_every_kind_of_container_are_collected(pool: Pool) -> None:
    """Records, deques and sorted dicts among them."""
    with pool.transaction():
        pool.root["ring"] = [{}, Node("n"), deque(), PlainSortedDict()]
        items, node, ends, ordered = pool.root["ring"]
        items["next"] = node
        node.link = ends
        ends.append(ordered)
        ordered["next"] = pool.root["ring"]
    pool.collect()
    objects = pool.check().objects
    del items, node, ends, ordered
    del pool.root["ring"]
    assert pool.check().unreachable == 5
    assert pool.check().damage == 0
    assert pool.collect() > 0
    assert pool.check().ok
    assert pool.check().objects == objects - 5


def test_every_cycle_is_told(pool: Pool) -> None:
    """One sentence for each, and all of them together are what leaked."""
    for number in range(5):
        make_ring(pool, f"ring{number}", 3 + number)
    pool.root.clear()
    pool.root["after"] = [1]
    result = pool.check()
    assert len(result.problems) == 5
    assert result.unreachable == 3 + 4 + 5 + 6 + 7
    assert result.damage == 0
    pool.collect()
    assert pool.check().objects == 2


def test_a_proxy_keeps_its_part_of_a_cycle(pool: Pool) -> None:
    """All that it leads to, and it can be stored again; what only leads to it goes."""
    make_ring(pool, "ring", 6)
    with pool.transaction():
        ring = pool.root["ring"]
        ring[0]["leaf"] = {"n": 1}
    leaf = ring[0]["leaf"]
    del pool.root["ring"]
    assert pool.collect() == 0
    assert ring[0]["next"][0]["next"][0]["next"] is ring
    del ring
    gc.collect()
    assert pool.collect() > 0
    result = pool.check()
    assert result.ok
    assert (result.objects, result.orphans) == (2, 1)
    pool.root["leaf"] = leaf
    assert pool.root == {"leaf": {"n": 1}}


def test_cycles_survive_close_and_are_collected_later(medium: Medium, open_pool: Opener) -> None:
    path = medium.folder / "cycles.pool"
    with pmemstore.open(path, "n") as pool:
        make_ring(pool, "ring", 4)
        del pool.root["ring"]
    with pmemstore.open(path, "r") as pool:
        assert pool.check().unreachable == 4
        with pytest.raises(TransactionError):
            pool.collect()
    pool = open_pool(path, "w")
    assert pool.check().unreachable == 4
    pool.collect()
    assert pool.check().objects == 1


def test_collect_is_refused_inside_a_transaction(pool: Pool) -> None:
    make_ring(pool, "ring", 2)
    with pool.transaction():
        del pool.root["ring"]
        with pytest.raises(TransactionError, match="inside a transaction"):
            pool.collect()
    assert pool.collect() > 0


def test_collect_waits_for_another_threads_transaction(pool: Pool) -> None:
    """It sees what was committed, and nothing in the middle."""
    make_ring(pool, "ring", 4)
    inside, go_on = threading.Event(), threading.Event()
    freed: list[int] = []

    def work() -> None:
        with pool.transaction():
            ring = pool.root.pop("ring")
            inside.set()
            assert go_on.wait(20)
            pool.root["again"] = ring

    worker = threading.Thread(target=work)
    collector = threading.Thread(target=lambda: freed.append(pool.collect()))
    worker.start()
    assert inside.wait(20)
    collector.start()
    go_on.set()
    worker.join(20)
    collector.join(20)
    assert freed == [0]
    assert pool.root["again"][0]["next"][0]["next"] is pool.root["again"]


def test_a_damaged_pool_is_not_collected(medium: Medium) -> None:
    """A lost link makes live data look like garbage: nothing is freed, not a byte changes."""
    path = medium.folder / "damaged.pool"
    with pmemstore.open(path, "n", size="1M") as pool:
        pool.root["precious"] = {"name": "x" * 20}
        make_ring(pool, "ring", 3)
        del pool.root["ring"]
        pool.checkpoint()
    data = bytearray(path.read_bytes())
    at = data.rindex(b"precious") + 8  # the log may have it, too
    assert data[at] == 16  # the cell's tag: DICT
    data[at : at + 16] = b"\x01" + bytes(15)  # None
    path.write_bytes(data)
    with pmemstore.open(path, "w") as pool:
        before = pool.check()
        assert before.damage > 0
        assert before.unreachable > 3
        with pytest.raises(
            PoolCorruptError, match=r"check\(\) finds problems.*Nothing was changed"
        ):
            pool.collect()
        assert pool.check() == before
    assert b"x" * 20 in path.read_bytes()


# ---- what it costs ----


def test_collecting_costs_two_fences_or_syncs(pool: Pool, medium: Medium) -> None:
    """One unit empties, one tears down; a pool without garbage costs none."""
    pool.collect()
    before = pool.stats()
    pool.collect()
    idle = pool.stats()
    assert (idle.fences, idle.syncs) == (before.fences, before.syncs)
    make_ring(pool, "ring", 10)
    del pool.root["ring"]
    before = pool.stats()
    pool.collect()
    after = pool.stats()
    spent = after.fences - before.fences if medium.is_direct else after.syncs - before.syncs
    assert spent == 2
