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
    "abort": lines(
        "try:",
        "    with transaction():",
        "        for key, value in pairs: data[key] = value",
        "        raise Rollback",
        "except Rollback: pass",
    ),
}
LACKS = {
    "scan": "no sorted container in this version",
    "record get": "no records in this version",
    "record set": "no records in this version",
}


class Pmemstore(Contender):
    name = "pmemstore"
    package = "pmemstore"
    statements: ClassVar[dict[str, str]] = STATEMENTS
    lacks: ClassVar[dict[str, str]] = LACKS

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.pool = pmemstore.open(folder / "bench.pool")
        root = self.pool.root
        if "data" not in root:
            root.update({"data": {}, "sequence": [], "counter": 0})
        self.data = root["data"]

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
            "transaction": self.pool.transaction,
            "Rollback": Rollback,
        }

    def close(self) -> None:
        self.pool.close()

    def items(self) -> Iterable[Pair]:
        return self.data.items()

    def counted(self) -> int:
        return int(self.pool.root["counter"])

    def listed(self) -> list[bytes]:
        return list(self.pool.root["sequence"])

    def put_all(self, pairs: list[Pair]) -> None:
        self.data.update(pairs)
