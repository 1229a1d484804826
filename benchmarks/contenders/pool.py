"""pmemstore itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pmemstore
from contenders.base import DURABLE_ATOMIC, Contender, Durability, Pair, Rollback, lines

STATEMENTS = {
    "put": "data[key] = value",
    "get": "got = data[key]",
    "delete": "del data[key]",
    "block": lines("with transaction():", "    for key, value in pairs: data[key] = value"),
    "update": "data.update(batch)",
    "keys": "for got in data: pass",
    "items": "for got in data.items(): pass",
    "counter": "root['counter'] += 1",
    "append": "sequence.append(value)",
    "list get": "got = sequence[number]",
    "list set": "sequence[number] = value",
    "record get": "got = record.total",
    "record set": "record.total = number",
    "abort": lines(
        "try:",
        "    with transaction():",
        "        for key, value in pairs: data[key] = value",
        "        raise Rollback",
        "except Rollback: pass",
    ),
}
LACKS = {"scan": "a dict has no order; see pmemstore sorted"}


@pmemstore.record
class Order:
    id: int
    customer: str
    total: float


class Pmemstore(Contender):
    name = "pmemstore"
    package = "pmemstore"
    statements: ClassVar[dict[str, str]] = STATEMENTS
    lacks: ClassVar[dict[str, str]] = LACKS
    #: Of ``pmemstore.open``, besides its defaults.
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.pool = pmemstore.open(folder / "bench.pool", **self.options)
        root = self.pool.root
        if "data" not in root:
            root.update({"data": self.empty(), "sequence": [], "counter": 0})
            root["record"] = Order(1, "Ada", 9.5)
        self.data = root["data"]

    def empty(self) -> Any:
        """What the data go into."""
        return {}

    @property
    def durability(self) -> Durability:
        durability = self.pool.durability
        words = f"each commit, tier {durability}"
        if durability.tier == "volatile":
            words += "; as durable as every other file on this medium"
        return Durability(DURABLE_ATOMIC, words)

    def data_names(self) -> dict[str, Any]:
        return {"data": self.data}

    def names(self) -> dict[str, Any]:
        root = self.pool.root
        return self.data_names() | {
            "root": root,
            "sequence": root["sequence"],
            "record": root["record"],
            "transaction": self.pool.transaction,
            "Rollback": Rollback,
        }

    def close(self) -> None:
        self.pool.close()

    def items(self) -> Iterable[Pair]:
        items: Iterable[Pair] = self.data.items()
        return items

    def counted(self) -> int:
        return int(self.pool.root["counter"])

    def listed(self) -> list[bytes]:
        return list(self.pool.root["sequence"])

    def recorded(self) -> float:
        return float(self.pool.root["record"].total)

    def put_all(self, pairs: list[Pair]) -> None:
        self.data.update(pairs)


#: What has nothing to do with the order of keys.
BESIDES = ("counter", "append", "list get", "list set", "record get", "record set")


class PmemstoreSorted(Pmemstore):
    name = "pmemstore sorted"
    statements: ClassVar[dict[str, str]] = {
        name: text for name, text in STATEMENTS.items() if name not in BESIDES
    } | {"scan": lines("first = data.bisect_left(key)", "got = data.items()[first : first + 100]")}
    lacks: ClassVar[dict[str, str]] = dict.fromkeys(BESIDES, "see pmemstore: the same objects")

    def empty(self) -> Any:
        return pmemstore.SortedDict.of()
