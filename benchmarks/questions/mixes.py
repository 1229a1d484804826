"""What do mixes of reads and writes cost?  As in YCSB: A 50/50, B 95/5, C reads alone; zipfian.

Source: B. Cooper and others, Benchmarking Cloud Serving Systems with YCSB, SoCC 2010.
"""

from __future__ import annotations

import random
from typing import Any

from contenders import Contender
from contenders.base import lines
from harness import Bench, Sample, Zipf, key_of, pairs_of, stores_of, take, value_of

MIXES = {"A: 50 % reads": 0.5, "B: 95 % reads": 0.95, "C: reads alone": 1.0}


def statement_of(store: Contender) -> str:
    """A value of None is a read; the rest replaces what is there."""
    get, put = (
        "\n".join("    " + line for line in store.statements[name].splitlines())
        for name in ("get", "put")
    )
    return lines("if value is None:", get, "else:", put)


def draw(items: int, count: int, reads: float, zipf: Zipf, seed: int) -> list[tuple[str, Any]]:
    source = random.Random(seed)
    todo: list[tuple[str, Any]] = []
    for i in range(count):
        number = zipf.draw(source)
        value = None if source.random() < reads else value_of(i + (seed << 24))
        todo.append((key_of(number), value))
    return todo


def ask(bench: Bench) -> None:
    items, count = bench.sizes["items"], bench.sizes["count"]
    kinds = stores_of(bench, items)
    zipf = Zipf(items)
    samples = {name: {kind.name: Sample() for kind in kinds} for name in MIXES}
    model = dict(pairs_of(range(items)))
    with bench.opened(kinds) as stores:
        for store in stores:
            store.load(iter(pairs_of(range(items))))
        for number in range(bench.sizes["rounds"]):
            work = []
            for place, (name, reads) in enumerate(MIXES.items()):
                for single in (False, True):
                    seed = (number * len(MIXES) + place) * 2 + single + 1
                    work.append((name, single, draw(items, count, reads, zipf, seed)))
            for store in bench.shuffled(stores):
                for name, single, todo in work:
                    into = samples[name][store.name]
                    take(store, statement_of(store), "key, value", todo, into, single=single)
            for _, _, todo in work:
                model.update((key, value) for key, value in todo if value is not None)
            bench.said(f"mixes: round {number + 1} of {bench.sizes['rounds']}")
        for store in stores:
            if dict(store.items()) != model:
                raise AssertionError(f"{store.name} does not hold what the mixes wrote")
    for name, reads in MIXES.items():
        bench.add("mixes", name, samples[name], items=items, writes=reads < 1)
