"""Iterators that threads share, or that are used while they let go of what they had taken."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import Pool, PoolCorruptError
from pmemstore.containers.sorted import PlainSortedDict

if TYPE_CHECKING:
    from conftest import Medium

COUNT = 300

# What is stored, and the iterator over what became of it.
SHARED: dict[str, tuple[Callable[[], Any], Callable[[Any], Iterator[Any]]]] = {
    "keys": (lambda: {f"k{i:03}": i for i in range(COUNT)}, iter),
    "items": (lambda: {f"k{i:03}": i for i in range(COUNT)}, lambda d: iter(d.items())),
    "reversed": (lambda: {i: i for i in range(COUNT)}, lambda d: reversed(d.values())),
    "set": (lambda: set(range(COUNT)), iter),
    "sorted": (
        lambda: PlainSortedDict({f"k{i:03}": i for i in range(COUNT)}),
        lambda d: iter(d.items()),
    ),
    "sorted reversed": (lambda: PlainSortedDict({i: i for i in range(COUNT)}), reversed),
    "range": (
        lambda: PlainSortedDict({i: i for i in range(COUNT + 50)}),
        lambda d: d.irange(10, COUNT + 9),
    ),
    "list": (lambda: list(range(COUNT)), iter),
    "list reversed": (lambda: list(range(COUNT)), reversed),
    "deque": (lambda: deque(range(COUNT)), iter),
}


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("served", [0, 4, 44, COUNT - 1, COUNT])
def test_threads_that_wait_with_one_iterator_share_its_items(
    kind: str, served: int, pool: Pool
) -> None:
    """Four threads wait in next() for a transaction: each item is served once.

    All of them looked ahead when the transaction had gone, into room that was enough for one look;
    and the first that came to the end let go of the dict in which the others still waited.
    """
    make, begin = SHARED[kind]
    pool.root["it"] = make()
    iterator = begin(pool.root["it"])
    items = [next(iterator) for _ in range(served)]
    errors: list[BaseException] = []

    def work() -> None:
        try:
            items.extend(iterator)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    with pool.transaction():
        pool.root["n"] = 1
        for thread in threads:
            thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(items) == COUNT
    assert len(set(items)) == COUNT


CONTAINERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Iterator[Any]]]] = {
    "values": (lambda: {i: {} for i in range(64)}, lambda d: iter(d.values())),
    "sorted": (
        lambda: PlainSortedDict({i: {} for i in range(64)}),
        lambda d: iter(d.values()),
    ),
    "sorted reversed": (
        lambda: PlainSortedDict({i: {} for i in range(64)}),
        lambda d: reversed(d.values()),
    ),
    "list": (lambda: [{} for _ in range(64)], iter),
    "list reversed": (lambda: [{} for _ in range(64)], reversed),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("more", [1, 2, 7, 15, 31, 80])
def test_proxy_that_was_taken_ahead_may_come_back_when_it_goes(
    kind: str, more: int, pool: Pool
) -> None:
    """A weak reference's callback calls next() while the iterator drops the proxy: no item is lost.

    The iterator went on with dropping what the callback had taken, and then filled behind it.
    """
    make, begin = CONTAINERS[kind]
    pool.root["it"] = make()
    stored = pool.root["it"]
    offsets = [proxy._offset for proxy in begin(stored)]
    inner: list[int] = []
    watched = next(value for i, value in enumerate(begin(stored)) if i == 2)
    iterator = begin(stored)
    seen = [next(iterator)._offset]

    def come_back(_: object) -> None:
        inner.extend(value._offset for _, value in zip(range(more), iterator, strict=False))

    reference = weakref.ref(watched, come_back)
    del watched  # what was taken ahead has it still
    assert reference() is not None
    pool.root["n"] = 1  # and is stale
    seen += [value._offset for value in iterator]
    assert reference() is None
    assert len(inner) == min(more, 63)
    assert sorted(seen + inner) == sorted(offsets)


# ---- damage ----

DAMAGED: dict[str, tuple[Callable[[list[bytes]], Any], Callable[[Any], Iterator[Any]]]] = {
    "values": (lambda values: dict(enumerate(values)), lambda d: iter(d.values())),
    "sorted": (
        lambda values: PlainSortedDict(enumerate(values)),
        lambda d: iter(d.values()),
    ),
    "sorted reversed": (
        lambda values: PlainSortedDict(enumerate(values)),
        lambda d: reversed(d.values()),
    ),
    "list": (lambda values: values, iter),
    "list reversed": (lambda values: values, reversed),
}


def without_tag(path: Path, value: bytes) -> None:
    """Take away what says of a short value that it is bytes."""
    data = bytearray(path.read_bytes())
    at = data.rindex(value) - 8  # the log may have it, too
    data[at] = 0xEE
    path.write_bytes(data)


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("place", [3, 30, 60])
def test_what_comes_back_when_damage_is_told_gets_no_item_that_was_not_read(
    kind: str, place: int, medium: Medium
) -> None:
    """To tell of damage runs Python, which may come back, as another thread may then.

    Places that were to be filled once seemed to be: they gave items that had been served before, or
    ended the process.
    """
    make, begin = DAMAGED[kind]
    path, values = medium.folder / "damaged.pool", [b"item%04d" % i for i in range(64)]
    with pmemstore.open(path, "n", size="1M") as pool:
        pool.root["it"] = make(values)
    without_tag(path, values[place])
    inner: list[Any] = []

    def come_back(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "raise_status":
            sys.setprofile(None)
            with pytest.raises(PoolCorruptError):
                inner.append(next(iterator))
            inner.append(None)

    with pmemstore.open(path, "r") as pool:
        iterator = begin(pool.root["it"])
        sys.setprofile(come_back)
        try:
            with pytest.raises(PoolCorruptError):
                inner.extend(iterator)
        finally:
            sys.setprofile(None)
    assert inner.pop() is None
    expected = reversed(values) if "reversed" in kind else values
    assert all(have == want for have, want in zip(inner, expected, strict=False))
    assert values[place] not in inner
