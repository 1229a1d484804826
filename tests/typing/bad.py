"""What a type checker refuses: each line that it must complain about says how; never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pmemstore
from pmemstore import Deque, Dict, List, Pool, Set, SortedDict


class Money:
    cents: int


def opening() -> None:
    pmemstore.open()  # E: call-arg
    pmemstore.open("x.pool", size=1.5)  # E: arg-type
    pmemstore.open("x.pool", mode="r")  # E: call-arg
    pmemstore.opened("x.pool")  # E: attr-defined


def dicts(pool: Pool) -> None:
    stock: Dict[str, int] = pool.root["stock"]
    stock["nails"] = "four"  # E: assignment
    stock[1] = 4  # E: index
    stock[1]  # E: index
    name: str = stock["nails"]  # E: assignment
    count: int = stock.get("nails")  # E: assignment
    stock.setdefault("nails", "x")  # E: arg-type
    stock.update(screws="three")  # E: arg-type
    stock.nails()  # E: attr-defined
    numbers: dict[str, int] = stock  # E: assignment
    print(name, count, numbers)


def lists(pool: Pool) -> None:
    names: List[str] = pool.root["names"]
    names.append(1)  # E: arg-type
    names[0:1] = [5]  # E: list-item
    names[0] = 5  # E: call-overload
    names["a"]  # E: call-overload
    number: int = names[0]  # E: assignment
    names.push("x")  # E: attr-defined
    print(number)


def others(pool: Pool) -> None:
    tags: Set[str] = pool.root["tags"]
    tags.add(1)  # E: arg-type
    queue: Deque[int] = pool.root["queue"]
    queue.append("x")  # E: arg-type
    prices: SortedDict[str, float] = pool.root["prices"]
    prices["a"] = "x"  # E: assignment


def pools(pool: Pool) -> None:
    pool.root = pool.root  # E: misc
    pool.transaction(5)  # E: call-arg
    pool.grow(None)  # E: arg-type
    pool.check().problems.append("x")  # E: attr-defined


def values(money: Callable[[Any], Money]) -> None:
    pmemstore.register(Money, lambda m: m.euros, money)  # E: attr-defined
    pmemstore.register(Money, lambda m: m.cents, len)  # E: arg-type
    pmemstore.register("Money", repr, money)  # E: arg-type
