"""sqlite3 of the standard library, and diskcache above it; both with WAL and a sync per commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import DURABLE_ATOMIC, Contender, Durability, Pair, Rollback, lines

PUT = "insert or replace into data values (?, ?)"


class Sqlite(Contender):
    name = "sqlite3"
    statements: ClassVar[dict[str, str]] = {
        "put": "execute(PUT, (key, value))",
        "get": "got = execute('select value from data where key = ?', (key,)).fetchone()[0]",
        "delete": "execute('delete from data where key = ?', (key,))",
        "block": lines(
            "execute('begin')",
            "for key, value in pairs: execute(PUT, (key, value))",
            "execute('commit')",
        ),
        "update": lines("execute('begin')", "many(PUT, batch.items())", "execute('commit')"),
        "keys": "for (got,) in execute('select key from data'): pass",
        "items": "for got in execute('select key, value from data'): pass",
        "counter": "execute('update counters set n = n + 1')",
        "append": "execute('insert into sequence (value) values (?)', (value,))",
        "list get": "got = execute('select value from sequence where id = ?', (number + 1,))"
        ".fetchone()[0]",
        "list set": "execute('update sequence set value = ? where id = ?', (value, number + 1))",
        "scan": "got = execute('select key, value from data where key >= ? order by key limit 100',"
        " (key,)).fetchall()",
        "abort": lines("execute('begin')", "many(PUT, pairs)", "execute('rollback')"),
        "record get": "got = execute('select total from records where id = 1').fetchone()[0]",
        "record set": "execute('update records set total = ? where id = 1', (number,))",
    }

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.path = folder / "bench.sqlite"
        fresh = not self.path.exists()
        self.db = self.connect()
        if fresh:
            self.db.executescript(
                "create table data (key text primary key, value blob) without rowid;"
                "create table counters (n integer); insert into counters values (0);"
                "create table sequence (id integer primary key, value blob);"
                "create table records (id integer primary key, customer text, total real);"
                "insert into records values (1, 'Ada', 9.5);"
            )

    def connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        return db

    @property
    def durability(self) -> Durability:
        return Durability(DURABLE_ATOMIC, "each commit, WAL with synchronous=FULL")

    @classmethod
    def version(cls) -> str:
        return sqlite3.sqlite_version

    def data_names(self) -> dict[str, Any]:
        return {"execute": self.db.execute, "many": self.db.executemany, "PUT": PUT}

    def thread_names(self) -> AbstractContextManager[dict[str, Any]]:
        return self.one_connection()

    @contextmanager
    def one_connection(self) -> Iterator[dict[str, Any]]:
        db = self.connect()
        try:
            yield {"execute": db.execute, "many": db.executemany, "PUT": PUT}
        finally:
            db.close()

    def close(self) -> None:
        self.db.close()

    def items(self) -> Iterable[Pair]:
        return self.db.execute("select key, value from data")

    def counted(self) -> int:
        return int(self.db.execute("select n from counters").fetchone()[0])

    def listed(self) -> list[bytes]:
        return [row[0] for row in self.db.execute("select value from sequence order by id")]

    def recorded(self) -> float:
        return float(self.db.execute("select total from records").fetchone()[0])

    def put_all(self, pairs: list[Pair]) -> None:
        self.db.execute("begin")
        self.db.executemany(PUT, pairs)
        self.db.execute("commit")


class Diskcache(Contender):
    name = "diskcache"
    package = "diskcache"
    items_max = 200_000
    statements: ClassVar[dict[str, str]] = {
        "put": "data[key] = value",
        "get": "got = data[key]",
        "delete": "del data[key]",
        "block": lines("with data.transact():", "    for key, value in pairs: data[key] = value"),
        "update": lines(
            "with data.transact():", "    for key, value in batch.items(): data[key] = value"
        ),
        "keys": "for got in data: pass",
        "items": "for key in data: got = key, data[key]",
        "counter": "other.incr('counter')",
        "append": "sequence.append(value)",
        "abort": lines(
            "try:",
            "    with data.transact():",
            "        for key, value in pairs: data[key] = value",
            "        raise Rollback",
            "except Rollback: pass",
        ),
    }
    lacks: ClassVar[dict[str, str]] = {
        "scan": "no ranges of keys",
        "list get": "a Deque is indexed from its ends, in linear time",
        "list set": "a Deque is indexed from its ends, in linear time",
    }

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        import diskcache

        super().__init__(folder, only_data=only_data)
        settings: dict[str, Any] = {
            "sqlite_synchronous": 2,
            "eviction_policy": "none",
            "cull_limit": 0,
            "size_limit": 1 << 40,
            "disk_min_file_size": 1 << 30,  # a file of its own would not be synced
            "timeout": 60,
        }
        self.data = diskcache.Cache(str(folder / "data"), **settings)
        if not only_data:
            self.other = diskcache.Cache(str(folder / "other"), **settings)
            self.other.add("counter", 0)
            sequence = diskcache.Cache(str(folder / "sequence"), **settings)
            self.sequence = diskcache.Deque.fromcache(sequence)

    @property
    def durability(self) -> Durability:
        return Durability(DURABLE_ATOMIC, "each commit, SQLite WAL with synchronous=FULL")

    def data_names(self) -> dict[str, Any]:
        return {"data": self.data}

    def names(self) -> dict[str, Any]:
        return self.data_names() | {
            "other": self.other,
            "sequence": self.sequence,
            "Rollback": Rollback,
        }

    def close(self) -> None:
        self.data.close()
        if hasattr(self, "other"):
            self.other.close()
            self.sequence.cache.close()

    def items(self) -> Iterable[Pair]:
        return ((key, self.data[key]) for key in self.data)

    def counted(self) -> int:
        return int(self.other["counter"])

    def listed(self) -> list[bytes]:
        return list(self.sequence)

    def put_all(self, pairs: list[Pair]) -> None:
        with self.data.transact():
            for key, value in pairs:
                self.data[key] = value
