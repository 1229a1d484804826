"""shelve over the dbm that this Python has; what that syncs depends on which one it is."""

from __future__ import annotations

import dbm
import importlib
import shelve
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import DURABLE, DURABLE_ATOMIC, UNSYNCED, Contender, Durability, Pair

#: Best first: module, flag, what a write is worth.
BACKENDS = [
    ("dbm.gnu", "cs", DURABLE, "each write is synced (flag s); a crash may damage the file"),
    ("dbm.sqlite3", "c", DURABLE_ATOMIC, "each write is a commit of SQLite"),
    ("dbm.ndbm", "c", UNSYNCED, "nothing is synced; a crash may lose or damage anything"),
    ("dbm.dumb", "c", UNSYNCED, "nothing is synced, the index is written at close"),
]


def backend() -> tuple[str, str, str, str]:
    for found in BACKENDS:
        try:
            importlib.import_module(found[0])
        except ImportError:
            continue
        return found
    raise ImportError("this Python has no dbm at all")


def is_dumb() -> bool:
    try:
        return backend()[0] == "dbm.dumb"
    except ImportError:
        return False


class Shelve(Contender):
    name = "shelve"
    items_max = 100_000
    threads = False  # no dbm is made for that
    statements: ClassVar[dict[str, str]] = {
        "put": "data[key] = value",
        "get": "got = data[key]",
        "delete": "del data[key]",
        "keys": "for got in data: pass",
        "items": "for got in data.items(): pass",
        "counter": "other['counter'] += 1",
        "update": "data.update(batch)",
    }
    lacks: ClassVar[dict[str, str]] = {
        "block": "no transactions",
        "abort": "no transactions",
        "scan": "no order",
        "append": "a list is pickled whole",
        "list get": "a list is unpickled whole",
        "list set": "a list is pickled whole",
        "record get": "a record is unpickled whole",
        "record set": "a record is pickled whole",
    }
    too_slow: ClassVar[dict[str, str]] = (
        {"delete": "dbm.dumb writes its whole index for each: 38 ms with 100,000 items"}
        if is_dumb()
        else {}
    )

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.module, self.flag, self.key, self.words = backend()
        self.data = self.open("data")
        if not only_data:
            self.other = self.open("other")
            self.other.setdefault("counter", 0)

    def open(self, name: str) -> shelve.Shelf[Any]:
        module: Any = importlib.import_module(self.module)
        return shelve.Shelf(module.open(str(self.folder / name), self.flag))

    @property
    def durability(self) -> Durability:
        return Durability(self.key, f"{self.module}: {self.words}")

    @classmethod
    def version(cls) -> str:
        return f"standard library, {backend()[0]}"

    @classmethod
    def missing(cls) -> str | None:
        try:
            backend()
        except (ImportError, dbm.error[0]) as error:
            return str(error)
        return None

    def data_names(self) -> dict[str, Any]:
        return {"data": self.data}

    def names(self) -> dict[str, Any]:
        return self.data_names() | {"other": self.other}

    def close(self) -> None:
        self.data.close()
        if hasattr(self, "other"):
            self.other.close()

    def items(self) -> Iterable[Pair]:
        return self.data.items()

    def counted(self) -> int:
        return int(self.other["counter"])

    def listed(self) -> list[bytes]:
        return []

    def put_all(self, pairs: list[Pair]) -> None:
        self.data.update(pairs)
