"""Iterators fill str and bytes again that nobody has kept; and nobody can tell."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import sys
import sysconfig
import threading
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pmemstore
from pmemstore import Pool, PoolClosedError

#: Interpreters in which they are filled again.
FILLS = sys.version_info < (3, 14) and not sysconfig.get_config_var("Py_GIL_DISABLED")
#: Of any iterator: it takes no more ahead.
AHEAD_MAX = 64
COUNT = 600


def text(i: int) -> str:
    """Of one length, and ASCII."""
    return f"key-{i:08d}"


def data(i: int) -> bytes:
    return b"value-%08d" % i


def mixed(i: int) -> Any:
    """All types of keys, lengths from 0 on, and str that are not ASCII, in any order."""
    rng = random.Random(i)
    length = rng.choice([1, 2, 7, 8, 9, 16, 17, 300])
    return rng.choice(
        [
            f"{i}".ljust(length, "x"),
            f"{i}".ljust(length, "\u00e9"),
            f"{i}".ljust(length, "\u20ac"),
            f"{i}".encode().ljust(length, b"\xff"),
            chr(i % 128),
            b"%c" % (i % 256),
            i,
            i + 0.5,
            2**70 + i,
            (i, f"{i}"),
        ]
    )


#: What makes a container of items, and what iterates over it: items of a dict have themselves as
#: values.
Walk = tuple[Callable[[list[Any]], Any], Callable[[Any], Iterator[Any]]]
WALKS: dict[str, Walk] = {
    "dict keys": (dict.fromkeys, iter),
    "dict keys, back": (dict.fromkeys, reversed),
    "dict values": (lambda items: dict(enumerate(items)), lambda d: iter(d.values())),
    "set": (set, iter),
    "list": (list, iter),
    "list, back": (list, reversed),
    "deque": (deque, iter),
}
SORTED_WALKS: dict[str, Walk] = {
    "sorted keys": (lambda items: pmemstore.SortedDict.of(dict.fromkeys(items)), iter),
    "sorted keys, back": (lambda items: pmemstore.SortedDict.of(dict.fromkeys(items)), reversed),
    "sorted values": (
        lambda items: pmemstore.SortedDict.of(enumerate(items)),
        lambda d: iter(d.values()),
    ),
    "sorted range": (
        lambda items: pmemstore.SortedDict.of(dict.fromkeys(items)),
        lambda d: d.irange(),
    ),
    "sorted set": (pmemstore.SortedSet.of, iter),
}
ALL_WALKS = WALKS | SORTED_WALKS


def walked(pool: Pool, name: str, items: list[Any]) -> Callable[[], Iterator[Any]]:
    make, walk = ALL_WALKS[name]
    pool.root["walked"] = make(items)
    return lambda: walk(pool.root["walked"])


@pytest.fixture(params=ALL_WALKS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def copies(count: int = COUNT, make: Callable[[int], Any] = text) -> list[Any]:
    return [make(i) for i in range(count)]


# ---- that it is done ----


def made(walk: Iterator[Any]) -> tuple[int, int]:
    """How many objects of the rest are new, and how many there are; the first ones are passed."""
    for _ in range(2 * AHEAD_MAX):
        next(walk)
    tracemalloc.start()
    new = [tracemalloc.get_object_traceback(item) is not None for item in walk]
    tracemalloc.stop()
    return sum(new), len(new)


@pytest.mark.skipif(not FILLS, reason="nothing is filled again from 3.14 on, or without a GIL")
@pytest.mark.parametrize("make", [text, data])
def test_a_loop_makes_few_objects(name: str, make: Callable[[int], Any], pool: Pool) -> None:
    new, all_ = made(walked(pool, name, copies(make=make))())
    assert new <= all_ // 8


@pytest.mark.skipif(not FILLS, reason="nothing is filled again from 3.14 on, or without a GIL")
@pytest.mark.parametrize("kind", [dict, pmemstore.SortedDict.of])
def test_pairs_and_their_parts_are_filled_again(kind: Any, pool: Pool) -> None:
    pool.root["d"] = kind({text(i): data(i) for i in range(COUNT)})
    for part in (0, 1):
        new, all_ = made(pair[part] for pair in pool.root["d"].items())
        assert new <= all_ // 4


def test_large_objects_are_not_held(pool: Pool) -> None:
    """What was given is freed when the loop goes on, not when it ends."""
    pool.root["l"] = [bytes(1 << 20)] * 3
    pool.root["d"] = dict(enumerate(pool.root["l"]))
    pool.root["s"] = pmemstore.SortedDict.of(pool.root["d"])
    d, s = pool.root["d"], pool.root["s"]
    for walk in (iter(pool.root["l"]), iter(d.values()), iter(s.values())):
        next(walk)
        last = [next(walk), next(walk)][1]
        assert next(walk, None) is None
        plain = object()
        assert sys.getrefcount(last) == sys.getrefcount(plain)


@pytest.mark.parametrize("kind", [dict, pmemstore.SortedDict.of])
def test_few_large_values_are_taken_ahead(kind: Any, pool: Pool) -> None:
    pool.root["d"] = kind({i: bytes(1 << 18) for i in range(64)})
    for walk in (iter(pool.root["d"].values()), reversed(pool.root["d"].values())):
        tracemalloc.start()
        for _ in range(32):
            next(walk)
            assert tracemalloc.get_traced_memory()[0] < 9 << 18
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [list, deque])
def test_few_large_items_are_taken_ahead(kind: Any, pool: Pool) -> None:
    """Eight by the first look of an iterator, then one alone; a search looks likewise."""
    size = 1 << 18
    pool.root["l"] = kind([bytes(size)] * 64)
    items = pool.root["l"]

    def highest(act: Callable[[], object]) -> int:
        tracemalloc.start()
        act()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    for walk in (iter(items), reversed(items)):
        assert highest(lambda walk=walk: next(walk)) < 9 * size
        for _ in range(7):
            next(walk)
        for _ in range(32):
            assert highest(lambda walk=walk: next(walk)) < 2 * size
    assert highest(lambda: items.count(b"")) < 9 * size


# ---- that nobody can tell ----


def test_what_is_kept_stays_as_it_was(name: str, pool: Pool) -> None:
    """Some are kept: one after the other, for a while, and for good."""
    for make in (text, data) if name in SORTED_WALKS else (text, data, mixed):
        items = copies(make=make)
        walk = walked(pool, name, items)
        expected = [repr(item) for item in walk()]
        stored = items if "values" in name or "list" in name or name == "deque" else {*items}
        assert sorted(expected) == sorted(map(repr, stored))
        rng = random.Random(5)
        for _ in range(3):
            kept: list[tuple[int, Any]] = []
            for i, item in enumerate(walk()):
                assert repr(item) == expected[i]
                if rng.random() < 0.3:
                    kept.append((i, item))
                if kept and rng.random() < 0.2:
                    del kept[rng.randrange(len(kept))]
            assert [repr(item) for _, item in kept] == [expected[i] for i, _ in kept]
        assert [repr(item) for item in list(walk())] == expected


def test_items_are_what_they_were(pool: Pool) -> None:
    pairs = {mixed(i): mixed(i * 7919) for i in range(COUNT)}
    pool.root["d"] = pairs
    d = pool.root["d"]
    assert [(key, value) for key, value in d.items()] == list(pairs.items())
    kept = list(d.items())
    assert [pair for pair in d.items() if hash(pair[0]) % 3] == [
        pair for pair in kept if hash(pair[0]) % 3
    ]
    assert kept == list(pairs.items())
    assert [key for key, _ in zip(d, d.values(), strict=True)] == list(pairs)


@pytest.mark.parametrize("make", [text, data])
def test_hashes_are_their_own(name: str, make: Callable[[int], Any], pool: Pool) -> None:
    items = copies(make=make)
    walk = walked(pool, name, items)
    assert {hash(item) for item in walk()} == {hash(item) for item in items}
    found = dict.fromkeys(items, 0)
    for item in walk():
        found[item] += 1
    assert set(found.values()) == {1}


def test_interned_str_are_left_alone(name: str, pool: Pool) -> None:
    """The interpreter's table refers to them, and does not count that."""
    items = copies()
    walk = walked(pool, name, items)
    for item in walk():
        sys.intern(item)
    fresh = object()
    for item in walk():
        assert getattr(fresh, item, None) is None
    for item in items:
        assert sys.intern("".join(item)) == item


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_c_api_gives_of_a_str_is_of_the_same_text(pool: Pool) -> None:
    """Up to 3.11 a str keeps a copy in wchar_t; later the text itself is all there is."""
    if sys.version_info < (3, 12):
        wide = ctypes.pythonapi.PyUnicode_AsUnicode
        wide.restype, wide.argtypes = ctypes.c_wchar_p, [ctypes.py_object]
        given = list(map(wide, walked(pool, "dict keys", copies())()))
    else:
        utf8 = ctypes.pythonapi.PyUnicode_AsUTF8
        utf8.restype, utf8.argtypes = ctypes.c_char_p, [ctypes.py_object]
        given = [utf8(item).decode() for item in walked(pool, "dict keys", copies())()]
    assert given == copies()


def test_buffers_of_bytes_keep_them(pool: Pool) -> None:
    walk = walked(pool, "dict values", copies(make=data))
    views = [memoryview(item)[1:] for i, item in enumerate(walk()) if i % 5 == 0]
    assert [bytes(view) for view in views] == [data(i)[1:] for i in range(0, COUNT, 5)]


def references(items: list[Any]) -> set[int]:
    """How many there are to each, with those of the list and of this look."""
    return {sys.getrefcount(item) for item in items}


def test_references_are_counted(name: str, pool: Pool) -> None:
    """After the end, and after an iterator that went halfway, all of them are the caller's."""
    walk = walked(pool, name, copies())
    for stop in (1, 7, 100, COUNT):
        iterator = walk()
        taken = [next(iterator) for _ in range(stop)]
        del iterator
        assert references(taken) == references([object() for _ in taken])
    gc.collect()
    iterator = walk()
    taken = list(iterator)
    assert references(taken) == references([object() for _ in taken])  # exhausted: it holds nothing
    assert next(iterator, None) is None


def test_memory_does_not_grow(name: str, pool: Pool) -> None:
    walk = walked(pool, name, copies())
    for _ in range(3):
        sum(1 for _ in walk())
        next(walk())
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20):
        sum(1 for _ in walk())
        next(walk())
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 20 * 100


def test_threads_share_an_iterator(name: str, pool: Pool) -> None:
    """Each item is given once, and nobody's changes in his hands."""
    walk = walked(pool, name, copies())
    given: list[list[str]] = [[] for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work(iterator: Iterator[str], mine: list[str]) -> None:
        for item in iterator:
            before = str(item.encode())
            mine.append(item)
            assert str(item.encode()) == before

    try:
        for _ in range(5):
            iterator = walk()
            for mine in given:
                mine.clear()
            threads = [threading.Thread(target=work, args=(iterator, mine)) for mine in given]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(item for mine in given for item in mine) == copies()
    finally:
        sys.setswitchinterval(interval)


# ---- what ends an iteration ----


def test_a_closed_pool_ends_it(name: str, pool: Pool) -> None:
    walk = walked(pool, name, copies())
    iterator = walk()
    kept = [next(iterator) for _ in range(20)]
    expected = [str(item) for item in kept]
    pool.close()
    for _ in range(2):
        with pytest.raises(PoolClosedError):
            next(iterator)
    assert kept == expected


def test_a_child_of_fork_gets_nothing(name: str, pool: Pool) -> None:
    """Not even what was taken ahead; the parent goes on."""
    iterator = walked(pool, name, copies())()
    first = next(iterator)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            next(iterator)
        except PoolClosedError as error:
            status = 0 if "fork" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted([first, *iterator]) == copies()


@pytest.mark.parametrize("kind", [dict, pmemstore.SortedDict.of])
def test_mutation_between_is_an_error_or_is_seen(kind: Any, pool: Pool) -> None:
    pool.root["d"] = kind({text(i): data(i) for i in range(COUNT)})
    d = pool.root["d"]
    seen = []
    for i, (key, value) in enumerate(d.items()):
        assert (key, value) == (text(i), data(i) if i == 0 else data(i + 1))
        seen.append(key)
        for j in range(i + 1, min(i + 40, COUNT)):
            d[text(j)] = data(j + 1)
    assert seen == copies()
    for step in (5, 16, 63, 64, 65, 200):
        walk = iter(d)
        kept = [next(walk) for _ in range(step)]
        d[text(COUNT + step)] = b""
        with pytest.raises(RuntimeError):
            next(walk)
        assert kept == copies(step)
