"""LMDB through py-lmdb: with its own writes, and with writes into its map."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import DURABLE_ATOMIC, Contender, Durability, Pair, lines

MAP_BYTES = 1 << 35


class Lmdb(Contender):
    name = "lmdb"
    package = "lmdb"
    writemap: ClassVar[bool] = False
    statements: ClassVar[dict[str, str]] = {
        "put": lines("with begin(write=True) as tx:", "    tx.put(key.encode(), value, db=data)"),
        "get": lines("with begin() as tx:", "    got = tx.get(key.encode(), db=data)"),
        "delete": lines("with begin(write=True) as tx:", "    tx.delete(key.encode(), db=data)"),
        "block": lines(
            "with begin(write=True) as tx:",
            "    for key, value in pairs: tx.put(key.encode(), value, db=data)",
        ),
        "update": lines(
            "with begin(write=True) as tx, tx.cursor(db=data) as cursor:",
            "    cursor.putmulti([(key.encode(), value) for key, value in batch.items()])",
        ),
        "keys": lines(
            "with begin() as tx, tx.cursor(db=data) as cursor:",
            "    for text in cursor.iternext(values=False): got = text.decode()",
        ),
        "items": lines(
            "with begin() as tx, tx.cursor(db=data) as cursor:",
            "    for text, value in cursor: got = text.decode(), value",
        ),
        "counter": lines(
            "with begin(write=True) as tx:",
            "    count = int.from_bytes(tx.get(b'counter', db=other), 'little') + 1",
            "    tx.put(b'counter', count.to_bytes(8, 'little'), db=other)",
        ),
        "append": lines(
            "with begin(write=True) as tx:",
            "    count = tx.stat(sequence)['entries']",
            "    tx.put(count.to_bytes(8, 'little'), value, db=sequence, append=True)",
        ),
        "list get": lines(
            "with begin() as tx:", "    got = tx.get(number.to_bytes(8, 'little'), db=sequence)"
        ),
        "list set": lines(
            "with begin(write=True) as tx:",
            "    tx.put(number.to_bytes(8, 'little'), value, db=sequence)",
        ),
        "scan": lines(
            "with begin() as tx, tx.cursor(db=data) as cursor:",
            "    cursor.set_range(key.encode())",
            "    got = [(text.decode(), value) for text, value in islice(cursor, 100)]",
        ),
        "abort": lines(
            "with begin(write=True) as tx:",
            "    for key, value in pairs: tx.put(key.encode(), value, db=data)",
            "    tx.abort()",
        ),
    }
    lacks: ClassVar[dict[str, str]] = {"record get": "bytes only", "record set": "bytes only"}

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        import lmdb

        super().__init__(folder, only_data=only_data)
        self.env = lmdb.open(
            str(folder / "bench.lmdb"),
            map_size=MAP_BYTES,
            max_dbs=3,
            sync=True,
            metasync=True,
            writemap=self.writemap,
            max_spare_txns=16,
        )
        self.data = self.env.open_db(b"data")
        if only_data:
            return
        self.other = self.env.open_db(b"other")
        self.sequence = self.env.open_db(b"sequence", integerkey=True)
        with self.env.begin(write=True) as tx:
            tx.put(b"counter", bytes(8), db=self.other, overwrite=False)

    @property
    def durability(self) -> Durability:
        how = "msync of the writable map" if self.writemap else "writes and fdatasync"
        return Durability(DURABLE_ATOMIC, f"each commit, sync=True, {how}")

    @classmethod
    def version(cls) -> str:
        import lmdb

        return f"{super().version()} (liblmdb {'.'.join(map(str, lmdb.version()))})"

    def data_names(self) -> dict[str, Any]:
        return {"begin": self.env.begin, "data": self.data}

    def names(self) -> dict[str, Any]:
        return self.data_names() | {
            "other": self.other,
            "sequence": self.sequence,
            "islice": islice,
        }

    def close(self) -> None:
        self.env.close()

    def items(self) -> Iterable[Pair]:
        with self.env.begin() as tx:
            return [(bytes(key).decode(), bytes(value)) for key, value in tx.cursor(db=self.data)]

    def counted(self) -> int:
        with self.env.begin() as tx:
            return int.from_bytes(tx.get(b"counter", bytes(8), db=self.other), "little")

    def listed(self) -> list[bytes]:
        with self.env.begin() as tx:
            return [bytes(value) for _, value in tx.cursor(db=self.sequence)]

    def put_all(self, pairs: list[Pair]) -> None:
        with self.env.begin(write=True) as tx, tx.cursor(db=self.data) as cursor:
            cursor.putmulti([(key.encode(), value) for key, value in pairs])


class LmdbWritemap(Lmdb):
    name = "lmdb writemap"
    writemap = True
