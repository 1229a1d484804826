"""Short slices and ranges of sorted containers fill again what nobody has; and nobody can tell."""

from __future__ import annotations

import gc
import random
import sys
import sysconfig
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

import pmemstore
from pmemstore import Pool, SortedDict, SortedSet

#: Interpreters in which they are filled again.
FILLS = sys.version_info < (3, 14) and not sysconfig.get_config_var("Py_GIL_DISABLED")
#: Items of a list that is longer than this are not kept.
KEPT_MAX = 128
COUNT = 1000

Pair = tuple[str, bytes]


def pair(i: int) -> Pair:
    return f"key-{i:08d}", b"value-%08d" % i


def mixed(i: int) -> tuple[str, Any]:
    """Values of all kinds and lengths; some keys are not ASCII."""
    rng = random.Random(i)
    length = rng.choice([1, 8, 9, 100, 255, 256, 257, 300])
    key = f"key-{i:08d}" + rng.choice(["", "", "\u00e9", "x" * rng.randrange(300)])
    value = rng.choice(
        [b"v" * length, "v" * length, b"%d" % i * length, i, i + 0.5, None, (i, "x"), {"i": i}]
    )
    return key, value


@pytest.fixture
def data(pool: Pool) -> Any:
    pool.root["d"] = SortedDict.of(pair(i) for i in range(COUNT))
    return pool.root["d"]


def starts(count: int, seed: int = 1) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(COUNT) for _ in range(count)]


# ---- that it is done ----


def lists_of(name: str, data: Any, pool: Pool) -> Any:
    """What has lists: a view of the sorted dict, or a set of its keys."""
    if name != "set":
        return getattr(data, name)()
    pool.root["s"] = SortedSet.of(data)
    return pool.root["s"]


def parts(item: Any) -> tuple[Any, ...]:
    return (item, *item) if isinstance(item, tuple) else (item,)


@pytest.mark.parametrize("length", [1, 100, KEPT_MAX])
@pytest.mark.parametrize("name", ["items", "keys", "values", "set"])
def test_a_list_after_the_other_makes_no_objects(
    name: str, length: int, data: Any, pool: Pool
) -> None:
    """Each takes the place of the one before."""
    lists = lists_of(name, data, pool)
    got = lists[:length]
    got = lists[length : 2 * length]
    tracemalloc.start()
    for first in starts(20):
        got = lists[first : first + length]
        new = [tracemalloc.get_object_traceback(part) for item in got for part in parts(item)]
        assert any(new) is not FILLS
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["items", "keys"])
def test_a_range_after_the_other_makes_few_objects(name: str, data: Any) -> None:
    """An iterator leaves its objects to the next one, but for the last one of each of its looks."""
    ranges = {"items": data.items().irange, "keys": data.irange}[name]
    for item in islice(ranges(pair(0)[0]), 60):
        assert item
    del item
    new = 0
    tracemalloc.start()
    for first in starts(20):
        tracemalloc.clear_traces()
        for item in islice(ranges(pair(min(first, COUNT - 60))[0]), 60):
            new += any(tracemalloc.get_object_traceback(part) for part in parts(item)[-2:])
    tracemalloc.stop()
    assert (new <= 20 * 60 // 4) is FILLS


@pytest.mark.parametrize("name", ["items", "keys", "values"])
def test_after_lists_that_were_held_objects_are_filled_again(name: str, data: Any) -> None:
    """While all are held new ones are made; once they are let go, it is as before."""
    lists = getattr(data, name)()
    want = [*map(pair, range(COUNT))]
    expected = {"items": want, "keys": [k for k, _ in want], "values": [v for _, v in want]}[name]
    held = [(first, lists[first : first + 50]) for first in starts(100)]
    assert all(got == expected[first : first + 50] for first, got in held)
    held.clear()
    got = lists[:50]
    tracemalloc.start()
    for first in starts(20):
        got = lists[first : first + 50]
        assert got == expected[first : first + 50]
        if FILLS:
            assert not any(map(tracemalloc.get_object_traceback, got))
    tracemalloc.stop()


@pytest.mark.parametrize("length", [100, KEPT_MAX + 1])
def test_what_is_held_is_bounded(length: int, data: Any) -> None:
    """Two short lists at most, however many were made; of a long one nothing."""
    data.items()[:KEPT_MAX]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    lists = [data.items()[at : at + length] for at in range(0, COUNT - length, 20)]
    assert sum(map(len, lists)) > 20 * KEPT_MAX
    del lists
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < (2 * KEPT_MAX * 300 if length <= KEPT_MAX else 3000)


def references(items: list[Any]) -> set[int]:
    """How many there are to each, with those of the list and of this look."""
    return {sys.getrefcount(item) for item in items}


def test_large_parts_are_not_held(pool: Pool) -> None:
    """What was given is freed with its list."""
    pairs = [(f"key-{i:08d}", bytes(257)) for i in range(20)]
    pairs += [(f"longer-{i:02d}".ljust(257, "x"), b"value") for i in range(20)]
    pool.root["d"] = SortedDict.of(pairs)
    for _ in range(3):
        got = pool.root["d"].items()[:]
        assert got == pairs
        assert references(got) == references([(i, object()) for i in range(40)])
        assert references(pool.root["d"].values()[:20]) == references([object()])
        assert references(pool.root["d"].keys()[20:]) == references([object()])


def test_a_pool_that_goes_lets_them_go(tmp_path: Any) -> None:
    def used() -> int:
        with pmemstore.open(tmp_path / "own.pool", "n") as pool:
            pool.root["d"] = SortedDict.of((f"key-{i:08d}", bytes(200)) for i in range(100))
            held = pool.root["d"].items()[:]
            assert len(held) == 100
        return len(held)

    used()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    assert used() == 100
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 100 * 200


# ---- that nobody can tell ----


@pytest.mark.parametrize("make", [pair, mixed])
def test_what_is_kept_stays_as_it_was(make: Any, pool: Pool) -> None:
    """Lists, pairs, keys and values are kept for a while, in any mixture, in both directions."""
    pairs = [make(i) for i in range(COUNT)]
    pool.root["d"] = SortedDict.of(pairs)
    pool.root["s"] = SortedSet.of(key for key, _ in pairs)
    d, s = pool.root["d"], pool.root["s"]
    pairs.sort(key=lambda item: item[0])
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    lists = [*[(d.items(), pairs)] * 3, (d.keys(), keys), (d.values(), values), (s, keys)]
    rng = random.Random(7)
    kept: list[tuple[Any, Any]] = []
    for first in starts(400):
        where = slice(first, first + rng.randrange(KEPT_MAX + 10))
        if rng.random() < 0.2:
            where = slice(where.stop, where.start, -1)
        items, expected = rng.choice(lists)
        got, want = items[where], expected[where]
        assert got == want
        what = rng.random()
        if what < 0.2:
            kept.append((got, want))
        elif what < 0.6:
            for have, item in zip(got, want, strict=True):
                if rng.random() < 0.2:
                    kept.append(rng.choice([*zip(parts(have), parts(item), strict=True)]))
        while len(kept) > 100 or (kept and rng.random() < 0.5):
            del kept[rng.randrange(len(kept))]
        assert all(have == item for have, item in kept)


def test_hashes_are_their_own(data: Any) -> None:
    for first in starts(50):
        got = data.items()[first : first + 100]
        assert [hash(item) for item in got] == [
            hash(pair(i)) for i in range(first, first + len(got))
        ]
        assert [{item[0]: item[1]}[pair(first + i)[0]] for i, item in enumerate(got)] == [
            pair(first + i)[1] for i in range(len(got))
        ]


def test_interned_keys_are_left_alone(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter tells when it lets go of one that is not what it was."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for first in starts(20):
        for item in data.items()[first : first + 100]:
            sys.intern(item[0])
    fresh = object()
    for first in starts(20, seed=2):
        for item in data.items()[first : first + 100]:
            assert getattr(fresh, item[0], None) is None
    for first in range(0, COUNT - 100, 50):
        assert data.items()[first : first + 100] == [pair(i) for i in range(first, first + 100)]
    assert told == []


def write_and_fail(data: Any, pool: Pool, first: int, before: list[Pair]) -> None:
    with pool.transaction():
        data[pair(first)[0]] = b"other-%08d" % first
        now = data.items()[first : first + 100]
        assert now == [(pair(first)[0], b"other-%08d" % first), *before[1:]]
        raise KeyError


def test_what_was_written_is_given(data: Any, pool: Pool) -> None:
    """Also in an open transaction, and after it was rolled back."""
    for first in starts(20):
        where = slice(first, first + 100)
        before = data.items()[where]
        with pytest.raises(KeyError):
            write_and_fail(data, pool, first, before)
        assert data.items()[where] == before
        data[pair(first)[0]] = b"third-%08d" % first
        assert data.items()[where] == [(pair(first)[0], b"third-%08d" % first), *before[1:]]


def test_two_pools_do_not_mix(data: Any, tmp_path: Any) -> None:
    with pmemstore.open(tmp_path / "other.pool", "n") as other:
        other.root["d"] = SortedDict.of((key, value[::-1]) for key, value in data.items())
        for first in starts(30):
            where = slice(first, first + 100)
            assert [(key, value[::-1]) for key, value in other.root["d"].items()[where]] == (
                data.items()[where]
            )


def test_ranges_at_once_have_their_own(data: Any) -> None:
    """Only what ended before leaves something to those that begin."""
    rng = random.Random(3)
    walks: list[tuple[int, Iterator[Pair]]] = []
    kept: list[tuple[int, Any]] = []
    for _ in range(2000):
        if not walks or (len(walks) < 8 and rng.random() < 0.1):
            first = rng.randrange(COUNT)
            walks.append((first, data.items().irange(pair(first)[0], pair(first + 150)[0])))
        which = rng.randrange(len(walks))
        at, walk = walks[which]
        for item in islice(walk, rng.randrange(1, 40)):
            assert item == pair(at)
            if rng.random() < 0.1:
                kept.append((at, rng.choice(parts(item))))
            at += 1
        walks[which] = (at, walk)
        if at >= COUNT or rng.random() < 0.1:
            del walks[which]
        if rng.random() < 0.1:
            kept = kept[::2]
    assert all(item in (pair(i), *pair(i)) for i, item in kept)


@contextmanager
def collecting(act: Any) -> Iterator[None]:
    """Act whenever the collector is about to run, which it is very often."""
    threshold = gc.get_threshold()

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            act()

    gc.callbacks.append(look)
    gc.set_threshold(1, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(look)


def test_who_takes_a_list_in_between_gets_his_own(data: Any) -> None:
    """The collector may run Python while a list is made of what was taken.

    Since 3.12 it does so after that, and only if something was allocated that no free list had.
    """
    inner = 0

    def take() -> None:
        nonlocal inner
        first = inner % (COUNT - 100)
        assert data.items()[first : first + 100] == [pair(first + i) for i in range(100)]
        inner += 1

    kept = []
    with collecting(take):
        for first in starts(60):
            got = data.items()[first : first + 100]
            assert got == [pair(i) for i in range(first, first + len(got))]
            kept.append(SimpleNamespace(first=first, some=got[::7]))
    assert inner > 10
    for held in kept:
        first, some = held.first, held.some
        assert some == [pair(i) for i in range(first, min(first + 100, COUNT), 7)]


def test_threads_get_their_own(data: Any) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    wrong: list[int] = []

    def work(seed: int) -> None:
        for first in starts(300, seed):
            got = data.items()[first : first + 50]
            if got != [pair(i) for i in range(first, first + len(got))]:
                wrong.append(first)

    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_a_closed_pool_leaves_what_was_given(data: Any, pool: Pool) -> None:
    got = data.items()[:50]
    again = data.items()[50:100]
    pool.close()
    with pytest.raises(pmemstore.PoolClosedError):
        data.items()[:50]
    assert [*got, *again] == [pair(i) for i in range(100)]
