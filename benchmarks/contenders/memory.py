"""A dict, and a dict with a log: what a program does that keeps everything in memory."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import (
    DURABLE_ATOMIC_RAM,
    VOLATILE,
    Contender,
    Durability,
    Pair,
)

HEAD = struct.Struct("<II")


@dataclass(slots=True)
class Order:
    id: int
    customer: str
    total: float


class Memory(Contender):
    name = "dict"
    persistent = False
    statements: ClassVar[dict[str, str]] = {
        "put": "data[key] = value",
        "get": "got = data[key]",
        "delete": "del data[key]",
        "block": "for key, value in pairs: data[key] = value",
        "update": "data.update(batch)",
        "keys": "for got in data: pass",
        "items": "for got in data.items(): pass",
        "counter": "counters['n'] += 1",
        "append": "sequence.append(value)",
        "list get": "got = sequence[number]",
        "list set": "sequence[number] = value",
        "record get": "got = record.total",
        "record set": "record.total = number",
    }
    lacks: ClassVar[dict[str, str]] = {"scan": "no order", "abort": "no transactions"}

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.data: dict[str, bytes] = {}
        self.counters = {"n": 0}
        self.sequence: list[bytes] = []
        self.record = Order(1, "Ada", 9.5)

    @property
    def durability(self) -> Durability:
        return Durability(VOLATILE, "in memory; gone when the process ends")

    def data_names(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "counters": self.counters,
            "sequence": self.sequence,
            "record": self.record,
        }

    def close(self) -> None:
        pass

    def items(self) -> Iterable[Pair]:
        return self.data.items()

    def counted(self) -> int:
        return self.counters["n"]

    def listed(self) -> list[bytes]:
        return self.sequence

    def recorded(self) -> float:
        return self.record.total

    def put_all(self, pairs: list[Pair]) -> None:
        self.data.update(pairs)


class Log:
    """Append msgpack records to a file; a record is one synchronous write with a checksum.

    What a careful program does by hand: the dict is the truth, the log brings it back.
    """

    def __init__(self, path: Path) -> None:
        import msgpack

        self.pack = msgpack.Packer().pack
        self.unpack = msgpack.unpackb
        self.lock = threading.Lock()
        self.data: dict[str, bytes] = {}
        self.sequence: list[bytes] = []
        self.count = 0
        good = self.replay(path.read_bytes()) if path.exists() else 0
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC)
        os.ftruncate(self.file, good)
        os.lseek(self.file, good, os.SEEK_SET)

    def replay(self, text: bytes) -> int:
        at = 0
        while at + HEAD.size <= len(text):
            size, checksum = HEAD.unpack_from(text, at)
            body = text[at + HEAD.size : at + HEAD.size + size]
            if size == 0 or len(body) < size or zlib.crc32(body) != checksum:
                break
            for what, key, value in self.unpack(body):
                self.apply(what, key, value)
            at += HEAD.size + size
        return at

    def apply(self, what: str, key: Any, value: Any) -> None:
        if what == "put":
            self.data[key] = value
        elif what == "delete":
            del self.data[key]
        elif what == "count":
            self.count = value
        elif what == "append":
            self.sequence.append(value)
        else:
            self.sequence[key] = value

    def write(self, records: list[tuple[str, Any, Any]]) -> None:
        body = self.pack(records)
        text = HEAD.pack(len(body), zlib.crc32(body)) + body
        if os.write(self.file, text) != len(text):
            raise OSError("the record was not written as a whole")

    def put(self, key: str, value: bytes) -> None:
        with self.lock:
            self.write([("put", key, value)])
            self.data[key] = value

    def delete(self, key: str) -> None:
        with self.lock:
            if key not in self.data:
                raise KeyError(key)
            self.write([("delete", key, None)])
            del self.data[key]

    def increment(self) -> None:
        with self.lock:
            self.write([("count", None, self.count + 1)])
            self.count += 1

    def append(self, value: bytes) -> None:
        with self.lock:
            self.write([("append", None, value)])
            self.sequence.append(value)

    def set_item(self, number: int, value: bytes) -> None:
        with self.lock:
            self.write([("set", number, value)])
            self.sequence[number] = value

    def put_all(self, pairs: list[Pair]) -> None:
        with self.lock:
            self.write([("put", key, value) for key, value in pairs])
            self.data.update(pairs)


class LoggedDict(Contender):
    name = "dict+log"
    package = "msgpack"
    statements: ClassVar[dict[str, str]] = {
        "put": "put(key, value)",
        "get": "got = data[key]",
        "delete": "delete(key)",
        "block": "put_all(pairs)",
        "update": "put_all(list(batch.items()))",
        "keys": "for got in data: pass",
        "items": "for got in data.items(): pass",
        "counter": "increment()",
        "append": "append(value)",
        "list get": "got = sequence[number]",
        "list set": "set_item(number, value)",
    }
    lacks: ClassVar[dict[str, str]] = {
        "scan": "no order",
        "abort": "a block is a list until it is written",
        "record get": "no records",
        "record set": "no records",
    }

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.log = Log(folder / "bench.log")

    @property
    def durability(self) -> Durability:
        return Durability(
            DURABLE_ATOMIC_RAM,
            "msgpack records with CRC-32, one O_DSYNC write a commit; all contents in RAM, opening "
            "reads the whole log, the log only grows",
        )

    def data_names(self) -> dict[str, Any]:
        log = self.log
        return {
            "data": log.data,
            "sequence": log.sequence,
            "put": log.put,
            "delete": log.delete,
            "put_all": log.put_all,
            "increment": log.increment,
            "append": log.append,
            "set_item": log.set_item,
        }

    def close(self) -> None:
        os.close(self.log.file)

    def items(self) -> Iterable[Pair]:
        return self.log.data.items()

    def counted(self) -> int:
        return self.log.count

    def listed(self) -> list[bytes]:
        return self.log.sequence

    def put_all(self, pairs: list[Pair]) -> None:
        self.log.put_all(pairs)
