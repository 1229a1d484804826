"""What does it cost to put, replace and delete where keys come in no order?

As names, hashes and random identifiers do, and the keys of YCSB.  A tree that gets its keys in
order writes to its last page alone; here each goes to another page.  All the same contenders,
loops, rounds and checks as in ``operations.py``; and a load of many, as in ``opening.py``.
"""

from __future__ import annotations

from dataclasses import replace

from harness import Bench, another, stores_of

from questions.opening import load
from questions.operations import WORKLOADS, compare

OF_KEYS = ("put", "replace", "delete", "1000 puts in a transaction", "update() of 1000")
SUFFIX = ", scattered keys"


def ask(bench: Bench) -> None:
    works = [replace(work, name=work.name + SUFFIX) for work in WORKLOADS if work.name in OF_KEYS]
    compare(bench, "scattered", works, another)
    items = bench.sizes["load"]
    for kind in stores_of(bench, items):
        if kind.persistent:
            with bench.folder() as folder:
                load(bench, kind, folder, items, question="scattered", scattered=True)
