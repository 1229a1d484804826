"""Deterministic random work on a pool, or on a plain dict that is its model.

Step ``n`` of seed ``s`` does the same to both, because all that it draws depends on ``s``, ``n``
and the present content alone.  As a program it works on a pool and writes a line to stdout for
each step that has ended, until somebody kills it:

    writer.py POOL SEED FIRST_STEP LOG_SIZE
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, MutableMapping, MutableSequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pmemstore

DEPTH_MAX = 5
ITEMS_MAX = 40
BIG_BYTES_MAX = 1_000_000
KEYS: list[Any] = [
    *(f"key {i}" for i in range(30)),
    *range(20),
    "a long key " * 30,
    b"bytes",
    (1, "a"),
    None,
    0.5,
]
#: Reopen and the like: nothing for the model to do.
UPKEEP = ("checkpoint", "collect", "reopen")


class Abort(Exception):
    pass


# ---- what a step is ---------------------------------------------------------------------


class Work:
    """One step after the other, on a pool or on a model.

    Args:
        root: The pool's root, or a plain dict.
        seed: What to do is drawn from this and the number of the step.
        pool: None for the model, which has no transactions: it leaves out what is rolled back.
    """

    def __init__(self, root: Any, seed: int, pool: pmemstore.Pool | None = None) -> None:
        self.root = root
        self.seed = seed
        self.pool = pool

    def step(self, number: int) -> str | None:
        """Do step ``number``: one commit or none.  Return what upkeep the pool should do."""
        rng = random.Random(f"{self.seed} {number}")
        kind = rng.random()
        if kind < 0.03:
            return rng.choice(UPKEEP)
        if kind < 0.6:
            self._operate(rng, alone=True)
        elif kind < 0.63:
            self._many(rng)
        else:
            self._block(rng, level=0)
        return None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.pool is None:
            yield
        else:
            with self.pool.transaction():
                yield

    def _block(self, rng: random.Random, level: int) -> None:
        """Run a transaction with savepoints, each of which may be rolled back."""
        doomed = rng.random() < 0.25
        inner = random.Random(rng.random())
        if doomed and self.pool is None:
            return
        try:
            with self._transaction():
                for _ in range(inner.randint(1, 8)):
                    if level < 3 and inner.random() < 0.25:
                        self._block(inner, level + 1)
                    else:
                        self._operate(inner, alone=False)
                if doomed:
                    raise Abort
        except Abort:
            pass

    def _many(self, rng: random.Random) -> None:
        """Overwrite more than a small log holds, in one transaction."""
        with self._transaction():
            if not is_dict(self.root.get("many")):
                self.root["many"] = {}
            many = self.root["many"]
            fill = rng.randbytes(8) * rng.randint(10, 60)
            for i in range(rng.randint(50, 300)):
                many[i] = fill
            for i in range(rng.randint(0, 50)):
                many.pop(i, None)

    def _pick(self, rng: random.Random) -> tuple[Any, int]:
        """Walk down from the root; return a container and how deep it is."""
        here, depth = self.root, 0
        while rng.random() < 0.8:
            values = here.values() if is_dict(here) else here
            inner = [value for value in values if is_dict(value) or is_list(value)]
            if not inner:
                break
            here, depth = rng.choice(inner), depth + 1
        return here, depth

    def _operate(self, rng: random.Random, *, alone: bool) -> None:
        """Do one operation; alone: one that is a single commit without a transaction."""
        here, depth = self._pick(rng)
        if not alone and rng.random() < 0.1:
            self._move(rng, here)
        elif is_dict(here):
            operate_dict(rng, here, depth)
        else:
            operate_list(rng, here, depth)

    def _move(self, rng: random.Random, here: Any) -> None:
        """Take an item, perhaps a container, and put it elsewhere."""
        if not len(here):
            return
        if is_dict(here):
            moved = here.pop(rng.choice(list(here)))
        else:
            moved = here.pop(rng.randrange(len(here)))
        there, _ = self._pick(rng)  # not inside what was taken: that hangs on nothing now
        if is_dict(there):
            there[rng.choice(KEYS)] = moved
        else:
            there.insert(rng.randint(0, len(there)), moved)


def is_dict(value: Any) -> bool:
    return isinstance(value, MutableMapping)


def is_list(value: Any) -> bool:
    return isinstance(value, MutableSequence)


def operate_dict(rng: random.Random, target: Any, depth: int) -> None:
    kind = rng.random()
    keys = list(target)
    if len(keys) > ITEMS_MAX and kind < 0.7:
        kind = 0.75 + kind / 4
    if kind < 0.45 or not keys:
        target[rng.choice(KEYS)] = make_value(rng, depth)
    elif kind < 0.65:
        target[rng.choice(keys)] = make_value(rng, depth)
    elif kind < 0.7:
        target.update({rng.choice(KEYS): make_scalar(rng) for _ in range(rng.randint(1, 9))})
    elif kind < 0.75:
        target.setdefault(rng.choice(KEYS), make_value(rng, depth))
    elif kind < 0.85:
        del target[rng.choice(keys)]
    elif kind < 0.95:
        target.pop(rng.choice(keys))
    elif kind < 0.995 or depth == 0:
        target.popitem()
    else:
        target.clear()


def operate_list(rng: random.Random, target: Any, depth: int) -> None:
    kind = rng.random()
    length = len(target)
    if length > ITEMS_MAX and kind < 0.7:
        kind = 0.7 + kind * 3 / 7
    if kind < 0.35 or not length:
        target.append(make_value(rng, depth))
    elif kind < 0.5:
        target.insert(rng.randint(0, length), make_value(rng, depth))
    elif kind < 0.6:
        target[rng.randrange(length)] = make_value(rng, depth)
    elif kind < 0.7:
        target.extend(make_scalar(rng) for _ in range(rng.randint(1, 20)))
    elif kind < 0.8:
        del target[rng.randrange(length)]
    elif kind < 0.88:
        target.pop(rng.randrange(-length, length))
    elif kind < 0.92:
        start = rng.randrange(length)
        del target[start : start + rng.randint(1, 8)]
    elif kind < 0.96:
        start = rng.randrange(length)
        target[start : start + 3] = [make_scalar(rng) for _ in range(rng.randint(0, 6))]
    elif kind < 0.99:
        target.reverse()
    else:
        target.clear()


def make_value(rng: random.Random, depth: int) -> Any:
    if depth < DEPTH_MAX and rng.random() < 0.3:
        inside = rng.randint(0, 4)
        if rng.random() < 0.5:
            return {rng.choice(KEYS): make_value(rng, depth + 1) for _ in range(inside)}
        return [make_value(rng, depth + 1) for _ in range(inside)]
    return make_scalar(rng)


def make_scalar(rng: random.Random) -> Any:
    kind = rng.randrange(100)
    if kind < 30:
        return rng.randint(-1000, 1000)
    if kind < 40:
        return rng.random()
    if kind < 45:
        return rng.choice([None, True, False])
    if kind < 50:
        return rng.getrandbits(200) - (1 << 199)
    if kind < 55:
        return (rng.randint(0, 9), "tuple", (b"\0", rng.random()))
    if kind < 58:
        return Decimal(rng.randint(-(10**9), 10**9)).scaleb(-4)
    if kind < 61:
        return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(10**8))
    if kind < 64:
        return UUID(int=rng.getrandbits(128))
    if kind < 98:
        return rng.randbytes(8).hex() * rng.choice([1, 1, 3, 20, 200])
    return rng.randbytes(10) * (rng.choice([10_000, 10_000, 10_000, BIG_BYTES_MAX]) // 10)


# ---- is it the same? --------------------------------------------------------------------


def difference(found: Any, model: Any, where: str = "root") -> str | None:
    """Return where a pool's content differs from the model, in order and type too; or None."""
    if is_dict(model):
        if not is_dict(found):
            return f"{where}: {type(found).__name__}, not a dict"
        if list(found) != list(model):
            return f"{where}: keys {list(found)!r}, not {list(model)!r}"
        pairs: Any = ((key, found[key], value) for key, value in model.items())
    elif is_list(model):
        if not is_list(found):
            return f"{where}: {type(found).__name__}, not a list"
        if len(found) != len(model):
            return f"{where}: {len(found)} items, not {len(model)}"
        pairs = ((i, *both) for i, both in enumerate(zip(found, model, strict=True)))
    else:
        if type(found) is type(model) and found == model:
            return None
        return f"{where}: {found!r:.100}, not {model!r:.100}"
    for key, one, other in pairs:
        if text := difference(one, other, f"{where}[{key!r:.20}]"):
            return text
    return None


# ---- the program ------------------------------------------------------------------------


def main() -> None:
    path, seed, first, log_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.write(1, b"opening\n")
    pool = pmemstore.open(path, "c", size="1M", log_size=log_size)
    os.write(1, b"open\n")
    work = Work(pool.root, seed, pool)
    number = first
    while True:
        upkeep = work.step(number)
        if upkeep == "checkpoint":
            pool.checkpoint()
        elif upkeep == "collect":
            pool.collect()
        elif upkeep == "reopen":
            pool.close()
            pool = pmemstore.open(path, "w")
            work = Work(pool.root, seed, pool)
        os.write(1, b"%d\n" % number)
        number += 1


if __name__ == "__main__":
    main()
