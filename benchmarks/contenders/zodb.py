"""ZODB: a FileStorage, BTrees, and a cache that holds all that is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import DURABLE_ATOMIC, Contender, Durability, Pair, lines

#: Objects of a connection's cache: the tree stays in memory, as in a program that is tuned.
CACHE_OBJECTS = 1_000_000


class Zodb(Contender):
    name = "ZODB"
    package = "ZODB"
    modules = ("ZODB", "BTrees", "persistent", "transaction")
    statements: ClassVar[dict[str, str]] = {
        "put": lines("data[key] = value", "commit()"),
        "get": "got = data[key]",
        "delete": lines("del data[key]", "commit()"),
        "block": lines("for key, value in pairs: data[key] = value", "commit()"),
        "update": lines("data.update(batch)", "commit()"),
        "keys": "for got in data: pass",
        "items": "for got in data.items(): pass",
        "counter": lines("root.counter += 1", "commit()"),
        "append": lines("sequence[sequence.maxKey() + 1] = value", "commit()"),
        "list get": "got = sequence[number]",
        "list set": lines("sequence[number] = value", "commit()"),
        "scan": "got = list(islice(data.items(key), 100))",
        "abort": lines("for key, value in pairs: data[key] = value", "abort()"),
    }
    lacks: ClassVar[dict[str, str]] = {
        "record get": "a Persistent object is an ordinary one once it is loaded",
        "record set": "a Persistent object is pickled whole",
    }

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        import transaction
        from BTrees.LOBTree import LOBTree
        from BTrees.OOBTree import OOBTree
        from ZODB import DB
        from ZODB.FileStorage import FileStorage

        super().__init__(folder, only_data=only_data)
        storage = FileStorage(str(folder / "bench.fs"))
        self.db = DB(storage, cache_size=CACHE_OBJECTS, pool_size=32)
        self.manager = transaction.TransactionManager()
        self.connection = self.db.open(transaction_manager=self.manager)
        root = self.root = self.connection.root
        if not hasattr(root, "data"):
            root.data, root.sequence, root.counter = OOBTree(), LOBTree({-1: b""}), 0
            self.manager.commit()

    @property
    def durability(self) -> Durability:
        return Durability(DURABLE_ATOMIC, "each commit, FileStorage syncs its file")

    def data_names(self) -> dict[str, Any]:
        return self.names_of(self.root, self.manager)

    @staticmethod
    def names_of(root: Any, manager: Any) -> dict[str, Any]:
        return {
            "data": root.data,
            "sequence": root.sequence,
            "root": root,
            "commit": manager.commit,
            "abort": manager.abort,
            "islice": islice,
        }

    threads = False  # writers of one BTree conflict, and the loser has to start again

    def thread_names(self) -> AbstractContextManager[dict[str, Any]]:
        return self.one_connection()

    @contextmanager
    def one_connection(self) -> Iterator[dict[str, Any]]:
        import transaction

        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        try:
            yield self.names_of(connection.root, manager)
        finally:
            manager.abort()
            connection.close()

    def close(self) -> None:
        self.manager.abort()
        self.connection.close()
        self.db.close()

    def items(self) -> Iterable[Pair]:
        items: Iterable[Pair] = self.root.data.items()
        return items

    def counted(self) -> int:
        return int(self.root.counter)

    def listed(self) -> list[bytes]:
        return list(self.root.sequence.values())[1:]

    def put_all(self, pairs: list[Pair]) -> None:
        self.root.data.update(pairs)
        self.manager.commit()
