"""What does it cost to put, replace and delete where keys come in no order?

As names, hashes and random identifiers do, and the keys of YCSB.  A tree that gets its keys in
order writes to its last page alone; here each goes to another page.  All the same contenders,
loops, rounds and checks as in ``operations.py``.
"""

from __future__ import annotations

from dataclasses import replace

from harness import Bench

from questions.operations import WORKLOADS, compare

OF_KEYS = ("put", "replace", "delete", "1000 puts in a transaction", "update() of 1000")
SUFFIX = ", scattered keys"
#: Numbers below this stay apart, and below the 12 digits that a key has.
NUMBERS = 1 << 39
FACTOR = 0x9E3779B97F4A7C15


def scattered(number: int) -> int:
    """Another number for each: the factor is odd, and so prime to a power of two."""
    return number * FACTOR % NUMBERS


def ask(bench: Bench) -> None:
    works = [replace(work, name=work.name + SUFFIX) for work in WORKLOADS if work.name in OF_KEYS]
    compare(bench, "scattered", works, scattered)
