"""What does watching the file cost a commit?  ``open(..., watch=)``: off, auto, always.

The modes take turns in one run, each on a pool of its own, so that what disturbs one disturbs all;
printed are medians of the time on the CPU, and their ratio to ``off``.

    python benchmarks/watch.py --dir /dev/shm
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pmemstore

MODES = ("off", "auto", "always")


# A value that is there already costs nothing: each is another one.
fresh = itertools.count(1)


def value(size: int) -> bytes:
    return next(fresh).to_bytes(8, "little") * (size // 8)


def put(pool: pmemstore.Pool, count: int) -> None:
    data = pool.root["dict"]
    for number in range(count):
        data[f"key-{number % 5000:012}"] = value(104)


def counter(pool: pmemstore.Pool, count: int) -> None:
    root = pool.root
    for _ in range(count):
        root["counter"] += 1


def block(pool: pmemstore.Pool, count: int) -> None:
    data = pool.root["dict"]
    for number in range(count // 10):
        with pool.transaction():
            for i in range(10):
                data[f"key-{number % 500:06}-{i:04}"] = value(104)


def value_of_64_kib(pool: pmemstore.Pool, count: int) -> None:
    for number in range(count // 50):
        pool.root[f"large {number % 10}"] = value(65_536)


WORK: dict[str, Callable[[pmemstore.Pool, int], None]] = {
    "put of 104 bytes": put,
    "counter": counter,
    "ten puts in a block": block,
    "put of 64 KiB": value_of_64_kib,
}


def measure(folder: Path, count: int, rounds: int) -> None:
    pools = {
        mode: pmemstore.open(folder / f"{mode}.pool", "n", size="64M", watch=mode) for mode in MODES
    }
    for pool in pools.values():
        pool.root.update(dict={}, counter=0)
        for work in WORK.values():
            work(pool, count)
    print(f"tier {pools['off'].durability.tier}; time per commit, {rounds} rounds of {count}")
    print(f"{'':22}" + "".join(f"{mode:>18}" for mode in MODES))
    for name, work in WORK.items():
        times: dict[str, list[float]] = {mode: [] for mode in MODES}
        before = {mode: pool.stats() for mode, pool in pools.items()}
        for number in range(rounds):
            for turn in range(len(MODES)):
                mode = MODES[(number + turn) % len(MODES)]
                start = time.thread_time()
                work(pools[mode], count)
                times[mode].append(time.thread_time() - start)
        median = {mode: statistics.median(times[mode]) for mode in MODES}
        after = {mode: pool.stats() for mode, pool in pools.items()}
        done = {mode: max(1, after[mode].commits - before[mode].commits) for mode in MODES}
        row = "".join(
            f"{median[mode] * rounds / done[mode] * 1e6:9.2f} us{median[mode] / median['off']:6.2f}"
            for mode in MODES
        )
        print(f"{name:22}{row}")
        looks = [(after[mode].looks - before[mode].looks) / done[mode] for mode in MODES]
        print(f"{'  looks per commit':22}" + "".join(f"{each:18.3f}" for each in looks))
    for pool in pools.values():
        pool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=Path("/dev/shm"), help="where the pools go")
    parser.add_argument("--count", type=int, default=2_000, help="operations in a round")
    parser.add_argument("--rounds", type=int, default=101)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        measure(Path(folder), args.count, args.rounds)


if __name__ == "__main__":
    main()
