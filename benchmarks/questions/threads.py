"""What do threads gain that commit at the same time?

Each thread puts under keys of its own, one commit each.  The figure is the time from the first to
the last commit of all, divided by the number of commits.  Stores that group commits share syncs.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from contenders import Contender
from harness import MEAN, Bench, Sample, compile_loop, key_of, no_collection, stores_of, value_of

THREADS = [1, 2, 4, 8, 16]


def together(store: Contender, threads: int, count: int, generation: int) -> float:
    """Nanoseconds per commit, all threads together."""
    barrier = threading.Barrier(threads + 1)
    failures: list[BaseException] = []

    def one(number: int) -> None:
        try:
            with store.thread_names() as names:
                loop = compile_loop(MEAN, store.statements["put"], "key, value", names)
                first = number * 1_000_000
                todo: list[Any] = [
                    (key_of(first + i), value_of(first + i + (generation << 40)))
                    for i in range(count)
                ]
                barrier.wait()
                loop(todo, time.perf_counter_ns, None)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    workers = [threading.Thread(target=one, args=(number,)) for number in range(threads)]
    with no_collection():
        for worker in workers:
            worker.start()
        start = time.perf_counter_ns()
        try:
            barrier.wait()
            start = time.perf_counter_ns()
        except threading.BrokenBarrierError:
            pass  # the failure is in the list
        for worker in workers:
            worker.join()
        spent = time.perf_counter_ns() - start
    if failures:
        raise failures[0]
    return spent / (threads * count)


def ask(bench: Bench) -> None:
    kinds = []
    for kind in stores_of(bench, 0):
        if kind.threads and kind.persistent:
            kinds.append(kind)
        else:
            bench.lacks("threads", kind.name, "not made for several threads that commit")
    numbers = [n for n in THREADS if n <= bench.sizes["threads_max"]]
    # To begin and to end 16 threads takes a millisecond, which is 50 commits of the fastest.
    count = max(4, bench.sizes["count"] // 2)
    samples = {n: {kind.name: Sample() for kind in kinds} for n in numbers}
    with bench.opened(kinds) as stores:
        for number in range(bench.sizes["rounds"]):
            for n in numbers:
                for store in bench.shuffled(stores):
                    mean = together(store, n, count, number + 1)
                    samples[n][store.name].means.append(mean)
            bench.said(f"threads: round {number + 1} of {bench.sizes['rounds']}")
        expected = {
            key_of(n * 1_000_000 + i): value_of(n * 1_000_000 + i + (bench.sizes["rounds"] << 40))
            for n in range(numbers[-1])
            for i in range(count)
        }
        for store in stores:
            if dict(store.items()) != expected:
                raise AssertionError(f"{store.name} does not hold what its threads wrote")
    for n, by_name in samples.items():
        name = f"{n} thread{'s' if n > 1 else ''}, put"
        bench.add("threads", name, by_name, x=n, series="put", writes=True)
