"""What a type checker accepts; never run."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, MutableSequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, assert_type

import numpy as np

import pmemstore
from pmemstore import Array, Deque, Dict, List, Pool, Set, SortedDict, SortedSet


@dataclass(frozen=True)
class Money:
    cents: int
    currency: str


@pmemstore.record
class Order:
    number: int
    customer: str
    note: str | None = None


def opening(path: Path) -> None:
    with pmemstore.open(path) as pool:
        assert_type(pool, Pool)
        assert_type(pool.root, Dict[Any, Any])
    pmemstore.open("x.pool", "n", size="64M", require="flush").close()
    pmemstore.open("x.pool", "c", size=1 << 20)


def dicts(pool: Pool) -> None:
    stock: Dict[str, int] = pool.root["stock"]
    assert_type(stock["nails"], int)
    assert_type(stock.get("nails"), int | None)
    assert_type(stock.get("nails", 0), int)
    assert_type(stock.pop("nails"), int)
    assert_type(stock.pop("nails", None), int | None)
    assert_type(stock.popitem(), tuple[str, int])
    assert_type(stock.setdefault("nuts", 1), int)
    assert_type(stock.keys(), KeysView[str])
    assert_type(stock.items(), ItemsView[str, int])
    assert_type(stock.copy(), dict[str, int])
    assert_type(iter(stock), Iterator[str])
    assert_type(len(stock), int)
    stock["nuts"] = 7
    stock["nuts"] += 1
    stock.update({"bolts": 2})
    stock.update(screws=3)
    stock |= {"bolts": 2}
    mapping: MutableMapping[str, int] = stock
    del mapping["nuts"]
    if "nuts" in stock:
        del stock["nuts"]
    for name, count in stock.items():
        assert_type(name, str)
        assert_type(count, int)


def lists(pool: Pool) -> None:
    orders: List[Order] = pool.root["orders"]
    assert_type(orders[0], Order)
    assert_type(orders[1:], list[Order])
    assert_type(orders.pop(), Order)
    assert_type(orders.index(orders[0]), int)
    orders.append(Order(1, "Ada"))
    orders.extend([Order(2, "Bob")])
    orders[0] = Order(3, "Cy", "paid")
    orders[0].note = "sent"
    orders[0:1] = [Order(4, "Di")]
    sequence: MutableSequence[Order] = orders
    sequence.insert(0, Order(5, "Ed"))
    for order in orders:
        assert_type(order.customer, str)


def plain_ones_become_persistent(pool: Pool) -> None:
    """Assigned to a typed place, they are what the place holds when it is read."""
    nested: Dict[str, List[int]] = pool.root["nested"]
    nested["a"] = [1, 2]
    nested["b"] = nested["a"]
    assert_type(nested["a"], List[int])
    arrays: Dict[str, Array[float]] = pool.root["arrays"]
    arrays["x"] = np.zeros(3)
    rows: List[Dict[str, int]] = pool.root["rows"]
    rows.append({"n": 1})
    rows[0] = {"n": 2}
    rows[0:2] = [{"n": 3}, rows[1]]
    rows.insert(0, {})


def others(pool: Pool) -> None:
    tags: Set[str] = pool.root["tags"]
    tags.add("new")
    tags |= {"old"}
    assert_type(tags.pop(), str)
    queue: Deque[int] = pool.root["queue"]
    queue.appendleft(1)
    assert_type(queue.popleft(), int)
    prices: SortedDict[str, float] = pool.root["prices"]
    prices["a"] = 1.5
    assert_type(prices["a"], float)
    days: SortedSet[int] = pool.root["days"]
    days.add(3)
    numbers: Array[float] = pool.root["numbers"]
    np.asarray(numbers)


def transactions(pool: Pool) -> None:
    with pool.transaction(timeout=1.5):
        pool.root["a"] = 1
    assert_type(pool.collect(), int)
    assert_type(pool.check().unreachable, int)
    assert_type(pool.check().problems, tuple[str, ...])
    assert_type(pool.stats().fences, int)


def values() -> None:
    pmemstore.register(Money, astuple, lambda fields: Money(*fields), name="shop.Money")
    pmemstore.register(Money, lambda money: (money.cents, money.currency), lambda f: Money(*f))
    try:
        values()
    except pmemstore.UnknownTypeError as error:
        assert_type(error.name, str | None)
