"""How does pmemstore compare with what else keeps keys and values in a file, in one run?

Contenders take turns (round by round, so that a slow minute hits all of them), on the same
directory, with the same keys and values.  A time is the median of the rounds; the ratio is to
pmemstore's.  Unequal durability is printed and never compared: a contender that does not sync
each commit has no ratio.

    python benchmarks/compare.py [--dir DIR] [--items N] [--rounds N] [--json FILE]

DIR on tmpfs shows the code without a device, DIR on a disk the cost of its syncs.  lmdb is
measured too if it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pmemstore

VALUE = b"v" * 100


class Contender(Protocol):
    """One store, open: every operation is durable, as far as ``durable`` says, on return."""

    name: str
    durable: str

    def put(self, key: str, value: bytes) -> None: ...
    def get(self, key: str) -> bytes: ...
    def count(self) -> None: ...
    def put_all(self, keys: list[str]) -> None: ...


class Pmemstore:
    name = "pmemstore"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.pool = stack.enter_context(pmemstore.open(folder / "bench.pool", "n"))
        self.durable = f"each commit ({self.pool.durability.tier})"
        self.pool.root.update({"data": {}, "counter": 0})
        self.root = self.pool.root
        self.data = self.root["data"]

    def put(self, key: str, value: bytes) -> None:
        self.data[key] = value

    def get(self, key: str) -> bytes:
        value: bytes = self.data[key]
        return value

    def count(self) -> None:
        self.root["counter"] += 1

    def put_all(self, keys: list[str]) -> None:
        with self.pool.transaction():
            for key in keys:
                self.data[key] = VALUE


class Sqlite:
    name = "sqlite3"
    durable = "each commit (WAL, synchronous=FULL)"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.db = sqlite3.connect(folder / "bench.sqlite", isolation_level=None)
        stack.callback(self.db.close)
        self.db.execute("pragma journal_mode=wal")
        self.db.execute("pragma synchronous=full")
        self.db.execute("create table data (key text primary key, value blob) without rowid")
        self.db.execute("insert into data values ('counter', 0)")

    def put(self, key: str, value: bytes) -> None:
        self.db.execute("insert or replace into data values (?, ?)", (key, value))

    def get(self, key: str) -> bytes:
        value: bytes = self.db.execute("select value from data where key = ?", (key,)).fetchone()[0]
        return value

    def count(self) -> None:
        self.db.execute("update data set value = value + 1 where key = 'counter'")

    def put_all(self, keys: list[str]) -> None:
        self.db.execute("begin")
        for key in keys:
            self.put(key, VALUE)
        self.db.execute("commit")


class Lmdb:
    name = "lmdb"
    durable = "each commit (sync)"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        import lmdb

        self.env = stack.enter_context(lmdb.open(str(folder / "bench.lmdb"), map_size=1 << 32))
        with self.env.begin(write=True) as tx:
            tx.put(b"counter", b"0")

    def put(self, key: str, value: bytes) -> None:
        with self.env.begin(write=True) as tx:
            tx.put(key.encode(), value)

    def get(self, key: str) -> bytes:
        with self.env.begin(buffers=False) as tx:
            value: bytes = tx.get(key.encode())
            return value

    def count(self) -> None:
        with self.env.begin(write=True) as tx:
            tx.put(b"counter", str(int(tx.get(b"counter")) + 1).encode())

    def put_all(self, keys: list[str]) -> None:
        with self.env.begin(write=True) as tx:
            for key in keys:
                tx.put(key.encode(), VALUE)


class Memory:
    name = "dict"
    durable = "never (in memory)"

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.data: dict[str, bytes] = {}
        self.counter = 0

    def put(self, key: str, value: bytes) -> None:
        self.data[key] = value

    def get(self, key: str) -> bytes:
        return self.data[key]

    def count(self) -> None:
        self.counter += 1

    def put_all(self, keys: list[str]) -> None:
        for key in keys:
            self.data[key] = VALUE


CONTENDERS: list[Callable[[Path, ExitStack], Contender]] = [Pmemstore, Sqlite, Memory]
if importlib.util.find_spec("lmdb"):
    CONTENDERS.insert(2, Lmdb)


@contextmanager
def contenders(parent: str | None) -> Iterator[list[Contender]]:
    with tempfile.TemporaryDirectory(dir=parent) as folder, ExitStack() as stack:
        yield [make(Path(folder), stack) for make in CONTENDERS]


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(stores: list[Contender], items: int, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds per operation: {workload: {contender: median}}."""
    draw = random.Random(1)
    times: dict[str, dict[str, list[float]]] = {}

    def take(workload: str, store: Contender, operations: int, work: Callable[[], Any]) -> None:
        per_operation = seconds(work) / operations * 1e6
        times.setdefault(workload, {}).setdefault(store.name, []).append(per_operation)

    def one_round(number: int, store: Contender) -> None:
        keys = [f"key-{number:03}-{i:08}" for i in range(items)]
        shuffled = random.Random(number).sample(keys, len(keys))
        batch = [f"tx--{number:03}-{i:08}" for i in range(1000)]
        take("durable put", store, items, lambda: [store.put(key, VALUE) for key in keys])
        take("random get", store, items, lambda: [store.get(key) for key in shuffled])
        take("counter", store, items, lambda: [store.count() for _ in keys])
        take("put, 1000 a transaction", store, 1000, lambda: store.put_all(batch))

    for number in range(rounds):
        for store in draw.sample(stores, len(stores)):
            one_round(number, store)
    return {
        workload: {name: statistics.median(values) for name, values in by_name.items()}
        for workload, by_name in times.items()
    }


def report(stores: list[Contender], medians: dict[str, dict[str, float]]) -> None:
    for store in stores:
        print(f"{store.name:10} durable: {store.durable}")
    print(f"\n{'median us per operation':26}" + "".join(f"{s.name:>22}" for s in stores))
    for workload, by_name in medians.items():
        cells = []
        for store in stores:
            ratio = f"({by_name[store.name] / by_name['pmemstore']:.1f}x)"
            reads = workload.endswith("get")
            comparable = store.name != "pmemstore" and (reads or "each commit" in store.durable)
            cells.append(f"{by_name[store.name]:.3f} {ratio if comparable else '':>9}")
        print(f"{workload:26}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", help="directory for the stores; default: the temporary one")
    parser.add_argument("--items", type=int, default=2000, help="operations of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the medians there")
    options = parser.parse_args()
    with contenders(options.dir) as stores:
        medians = measure(stores, options.items, options.rounds)
        report(stores, medians)
        if options.json:
            machine = {"machine": platform.platform(), "python": platform.python_version()}
            machine |= {"cpus": str(os.cpu_count()), "pmemstore": pmemstore.__version__}
            durable = {store.name: store.durable for store in stores}
            result = {"run": machine, "durable": durable, "medians_us": medians}
            options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
