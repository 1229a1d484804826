"""Log-structured trees: RocksDB through rocksdict, LevelDB through plyvel."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import DURABLE_ATOMIC, Contender, Durability, Pair, lines

COUNT = b"counter"


class Rocksdict(Contender):
    name = "rocksdict"
    package = "rocksdict"
    statements: ClassVar[dict[str, str]] = {
        "put": "data[key] = value",
        "get": "got = data[key]",
        "delete": "del data[key]",
        "block": lines(
            "writes = WriteBatch()",
            "for key, value in pairs: writes[key] = value",
            "data.write(writes)",
        ),
        "update": lines(
            "writes = WriteBatch()",
            "for key, value in batch.items(): writes[key] = value",
            "data.write(writes)",
        ),
        "keys": "for got in data.keys(): pass",
        "items": "for got in data.items(): pass",
        "counter": "other['counter'] = other['counter'] + 1",
        "append": lines("sequence[length[0]] = value", "length[0] += 1"),
        "list get": "got = sequence[number]",
        "list set": "sequence[number] = value",
        "scan": "got = list(islice(data.items(from_key=key), 100))",
        "abort": lines(
            "writes = WriteBatch()",
            "for key, value in pairs: writes[key] = value",
            "writes.clear()",
        ),
    }
    lacks: ClassVar[dict[str, str]] = {"record get": "no fields", "record set": "no fields"}

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.data = self.open("data")
        if only_data:
            return
        self.other = self.open("other")
        if "counter" not in self.other:
            self.other["counter"] = 0
        self.sequence = self.open("sequence")
        last = next(iter(self.sequence.keys(backwards=True)), -1)
        self.length = [last + 1]

    def open(self, name: str) -> Any:
        from rocksdict import Rdict, WriteOptions

        db = Rdict(str(self.folder / name))
        options = WriteOptions()
        options.sync = True
        db.set_write_options(options)
        return db

    @property
    def durability(self) -> Durability:
        return Durability(DURABLE_ATOMIC, "each write and batch, WriteOptions.sync=True")

    def data_names(self) -> dict[str, Any]:
        return {"data": self.data}

    def names(self) -> dict[str, Any]:
        from rocksdict import WriteBatch

        return self.data_names() | {
            "other": self.other,
            "sequence": self.sequence,
            "length": self.length,
            "WriteBatch": WriteBatch,
            "islice": islice,
        }

    def close(self) -> None:
        for name in ("data", "other", "sequence"):
            if hasattr(self, name):
                getattr(self, name).close()

    def items(self) -> Iterable[Pair]:
        items: Iterable[Pair] = self.data.items()
        return items

    def counted(self) -> int:
        return int(self.other["counter"])

    def listed(self) -> list[bytes]:
        return list(self.sequence.values())

    def put_all(self, pairs: list[Pair]) -> None:
        from rocksdict import WriteBatch

        writes = WriteBatch()
        for key, value in pairs:
            writes[key] = value
        self.data.write(writes)


class Plyvel(Contender):
    name = "plyvel"
    package = "plyvel"
    statements: ClassVar[dict[str, str]] = {
        "put": "data.put(key.encode(), value, sync=True)",
        "get": "got = data.get(key.encode())",
        "delete": "data.delete(key.encode(), sync=True)",
        "block": lines(
            "with data.write_batch(transaction=True, sync=True) as writes:",
            "    for key, value in pairs: writes.put(key.encode(), value)",
        ),
        "update": lines(
            "with data.write_batch(transaction=True, sync=True) as writes:",
            "    for key, value in batch.items(): writes.put(key.encode(), value)",
        ),
        "keys": "for text in data.iterator(include_value=False): got = text.decode()",
        "items": "for text, value in data: got = text.decode(), value",
        "counter": lines(
            "count = int.from_bytes(other.get(b'counter'), 'big') + 1",
            "other.put(b'counter', count.to_bytes(8, 'big'), sync=True)",
        ),
        "append": lines(
            "sequence.put(length[0].to_bytes(8, 'big'), value, sync=True)", "length[0] += 1"
        ),
        "list get": "got = sequence.get(number.to_bytes(8, 'big'))",
        "list set": "sequence.put(number.to_bytes(8, 'big'), value, sync=True)",
        "scan": "got = [(text.decode(), value) for text, value in"
        " islice(data.iterator(start=key.encode()), 100)]",
        "abort": lines(
            "writes = data.write_batch()",
            "for key, value in pairs: writes.put(key.encode(), value)",
            "writes.clear()",
        ),
    }
    lacks: ClassVar[dict[str, str]] = {"record get": "bytes only", "record set": "bytes only"}

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.data = self.open("data")
        if only_data:
            return
        self.other = self.open("other")
        if self.other.get(COUNT) is None:
            self.other.put(COUNT, bytes(8), sync=True)
        self.sequence = self.open("sequence")
        last = next(iter(self.sequence.iterator(reverse=True, include_value=False)), None)
        self.length = [0 if last is None else int.from_bytes(last, "big") + 1]

    def open(self, name: str) -> Any:
        import plyvel

        return plyvel.DB(str(self.folder / name), create_if_missing=True)

    @property
    def durability(self) -> Durability:
        return Durability(DURABLE_ATOMIC, "each write and batch, sync=True")

    def data_names(self) -> dict[str, Any]:
        return {"data": self.data}

    def names(self) -> dict[str, Any]:
        return self.data_names() | {
            "other": self.other,
            "sequence": self.sequence,
            "length": self.length,
            "islice": islice,
        }

    def close(self) -> None:
        for name in ("data", "other", "sequence"):
            if hasattr(self, name):
                getattr(self, name).close()

    def items(self) -> Iterable[Pair]:
        return ((key.decode(), value) for key, value in self.data)

    def counted(self) -> int:
        return int.from_bytes(self.other.get(COUNT), "big")

    def listed(self) -> list[bytes]:
        return [value for _, value in self.sequence]

    def put_all(self, pairs: list[Pair]) -> None:
        with self.data.write_batch(transaction=True, sync=True) as writes:
            for key, value in pairs:
                writes.put(key.encode(), value)
