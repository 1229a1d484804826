"""One action on one store, in a process of its own; ``questions/opening.py`` starts it.

child.py ACTION CONTENDER FOLDER NUMBERS      numbers in JSON; what was measured in JSON
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, Contender, Pair
from harness import MEAN, SINGLE, another, compile_loop, key_of, no_collection, pairs_of, value_of


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def used_by(folder: Path) -> int:
    """Bytes of the blocks that the files have."""
    return sum(path.stat().st_blocks * 512 for path in files_of(folder))


def warm(folder: Path) -> None:
    """Read all files, so that no page of them is on the disk alone."""
    room = bytearray(1 << 20)
    for path in files_of(folder):
        with path.open("rb", buffering=0) as file:
            while file.readinto(room):
                pass


def memory() -> dict[str, int]:
    with open("/proc/self/smaps_rollup") as lines:
        sizes = dict(line.split(":") for line in lines if ":" in line and "kB" in line)
    return {name: int(sizes[name].split()[0]) * 1024 for name in ("Anonymous", "Rss")}


def load(kind: type[Contender], folder: Path, items: int, scattered: int = 0) -> dict[str, Any]:
    """Put so many items, 10,000 in a transaction, and close."""

    def pairs() -> Iterator[Pair]:
        for i in range(items):
            number = another(i) if scattered else i
            yield key_of(number), value_of(number)

    start = time.perf_counter_ns()
    for _ in pairs():
        pass
    made = time.perf_counter_ns() - start
    store = kind(folder)
    durability = store.durability
    said: dict[str, Any] = {"durability": {"class": durability.key, "words": durability.words}}
    pool = getattr(store, "pool", None)
    empty = 0 if pool is None else pool.stats().used_bytes
    start = time.perf_counter_ns()
    store.load(pairs())
    if pool is not None:
        said["used_bytes"] = pool.stats().used_bytes - empty
    store.close()
    said["load_ns"] = max(0, time.perf_counter_ns() - start - made)
    said["file_bytes"] = used_by(folder)
    return said


def crash(kind: type[Contender], folder: Path, items: int, puts: int, seed: int) -> dict[str, Any]:
    """Put some items, each durably, and die."""
    store = kind(folder)
    todo = pairs_of(range(items, items + puts), seed)
    loop = compile_loop(MEAN, store.statements["put"], "key, value", store.names())
    loop(todo, time.perf_counter_ns, None)
    print("{}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def get(store: Contender, key: str) -> tuple[bytes, int]:
    """One get, and its nanoseconds."""
    found: list[bytes] = []
    statement = store.statements["get"]
    out = array("q", [0, 0])
    compile_loop(SINGLE, statement, "key", store.data_names())([key], time.perf_counter_ns, out)
    names = store.data_names() | {"found": found}
    compile_loop(MEAN, statement + "\nfound.append(got)", "key", names)([key], time.monotonic_ns, 0)
    return found[0], out[0]


def open_and_get(
    kind: type[Contender], folder: Path, items: int, seed: int, gets: int, crashed: int = 0
) -> dict[str, Any]:
    """Open, get one item; then as many as asked for.

    Args:
        kind: Whose.
        folder: Its files.
        items: There are.
        seed: Of what is drawn; of the crash, if there was one.
        gets: Of drawn keys.
        crashed: Puts that were acknowledged before the crash.
    """
    for name in kind.needed():
        importlib.import_module(name)
    source = random.Random(seed)
    wanted = source.randrange(items)
    warm(folder)
    before = memory()
    with no_collection():
        start = time.perf_counter_ns()
        store = kind(folder, only_data=True)
        opened = time.perf_counter_ns() - start
        got, first = get(store, key_of(wanted))
    if got != value_of(wanted):
        raise AssertionError(f"{kind.name}: {key_of(wanted)} has {got!r}")
    for key, value in pairs_of(range(items, items + crashed), seed):
        if get(store, key)[0] != value:
            raise AssertionError(f"{kind.name} lost {key}, which was acknowledged")
    said: dict[str, Any] = {"open_and_get_ns": opened + first}
    if gets:
        loop = compile_loop(MEAN, store.statements["get"], "key", store.data_names())
        spent = 0
        for done in range(0, gets, 1000):
            # Keys in small lots: a list of them all would count as the store's memory.
            keys = [key_of(source.randrange(items)) for _ in range(min(1000, gets - done))]
            spent += loop(keys, time.perf_counter_ns, None)
        after = memory()
        said["get_ns"] = spent / gets
        said["anonymous_bytes"] = max(0, after["Anonymous"] - before["Anonymous"])
        said["resident_bytes"] = max(0, after["Rss"] - before["Rss"])
    store.close()
    return said


ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "load": load,
    "crash": crash,
    "open": open_and_get,
}


def main() -> None:
    action, name, folder, numbers = sys.argv[1:]
    print(json.dumps(ACTIONS[action](CONTENDERS[name], Path(folder), **json.loads(numbers))))


if __name__ == "__main__":
    main()
