"""Random work on nested containers against plain ones: every byte checked, nothing leaked.

One seed is one pool: nested dicts and lists, savepoints three deep, roll-backs, reopening,
collection and checkpoints in any order, with logs from far too small to ample.  After each
comparison ``Pool.check()`` must find nothing.
"""

from __future__ import annotations

import copy
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore

if TYPE_CHECKING:
    from conftest import Medium


class Undo(Exception):
    pass


class World:
    """A pool, the plain containers that it should equal, and a source of steps."""

    def __init__(self, path: os.PathLike[str], seed: int) -> None:
        self.rng = random.Random(seed)
        self.path = path
        log_size = self.rng.choice(["4K", "16K", "64K", "1M"])
        self.pool = pmemstore.open(path, "n", size="1M", log_size=log_size)
        self.model: dict[Any, Any] = {}

    def value(self, depth: int = 0) -> Any:
        rng = self.rng
        kind = rng.random()
        if kind < 0.3:
            return rng.randrange(-(2**70), 2**70)
        if kind < 0.5:
            return "x" * rng.choice([0, 3, 8, 9, 50, 500, 5000, rng.choice([5, 5, 5, 40_000])])
        if kind < 0.6:
            return b"y" * rng.randrange(3000)
        if kind < 0.65:
            return (1, "a", 2.5)
        if depth < 2 and kind < 0.8:
            keys = [rng.choice([i, str(i), (i,)]) for i in range(rng.randrange(12))]
            return {key: self.value(depth + 1) for key in keys}
        if depth < 2 and kind < 0.95:
            length = rng.randrange(rng.choice([6, 6, 6, 80]))
            return [self.value(depth + 1) for _ in range(length)]
        return None

    def pick(self) -> tuple[Any, Any]:
        """Some container, and its plain twin."""
        stored, plain = self.pool.root, self.model
        while True:
            items = plain.items() if isinstance(plain, dict) else enumerate(plain)
            inner = [key for key, item in items if isinstance(item, (dict, list))]
            if not inner or self.rng.random() < 0.4:
                return stored, plain
            key = self.rng.choice(inner)
            stored, plain = stored[key], plain[key]

    def step(self) -> None:
        stored, plain = self.pick()
        if isinstance(plain, dict):
            self.step_dict(stored, plain)
        else:
            self.step_list(stored, plain)

    def step_dict(self, stored: Any, plain: dict[Any, Any]) -> None:
        rng = self.rng
        key = rng.choice([rng.randrange(30), f"k{rng.randrange(30)}", (rng.randrange(5), "t")])
        value = self.value()
        match rng.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                stored[key] = value
                plain[key] = copy.deepcopy(value)
            case 5 | 6 if plain:
                key = rng.choice(list(plain))
                del stored[key], plain[key]
            case 7 if plain:
                assert stored.popitem()[0] == plain.popitem()[0]
            case 8:
                items = {rng.randrange(100): self.value(1) for _ in range(rng.randrange(60))}
                stored.update(items)
                plain.update(copy.deepcopy(items))
            case 9 if rng.random() < 0.2:
                stored.clear()
                plain.clear()

    def step_list(self, stored: Any, plain: list[Any]) -> None:
        rng = self.rng
        i, j = sorted(rng.choices(range(len(plain) + 1), k=2))
        value = self.value()
        match rng.randrange(12):
            case 0 | 1 | 2:
                stored.append(value)
                plain.append(copy.deepcopy(value))
            case 3 | 4:
                stored.insert(i, value)
                plain.insert(i, copy.deepcopy(value))
            case 5 | 6 if i < len(plain):
                assert stored.pop(i) == plain.pop(i)
            case 7 if i < len(plain):
                stored[i] = value
                plain[i] = copy.deepcopy(value)
            case 8:
                values = [self.value(1) for _ in range(rng.randrange(100))]
                stored[i:j] = values
                plain[i:j] = copy.deepcopy(values)
            case 9:
                del stored[i:j], plain[i:j]
            case 10:
                stored.reverse()
                plain.reverse()
            case 11:
                stored.sort(key=repr)
                plain.sort(key=repr)

    def block(self, depth: int = 1) -> None:
        before = copy.deepcopy(self.model)
        try:
            with self.pool.transaction():
                for _ in range(self.rng.randrange(1, 25)):
                    if depth < 3 and self.rng.random() < 0.15:
                        self.block(depth + 1)
                    else:
                        self.step()
                if self.rng.random() < 0.4:
                    raise Undo
        except Undo:
            self.model.clear()
            self.model.update(before)

    def compare(self) -> None:
        assert self.pool.root == self.model
        result = self.pool.check()
        assert result.problems == ()
        assert result.leaked_bytes == 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.rng.random() < 0.5:
                self.block()
            else:
                self.step()
            if self.rng.random() < 0.3:
                self.compare()
            match self.rng.randrange(30):
                case 0 | 1:
                    self.pool.close()
                    self.pool = pmemstore.open(self.path)
                    self.compare()
                case 2:
                    self.pool.collect()
                case 3:
                    self.pool.checkpoint()
        self.compare()
        self.pool.root.clear()
        self.pool.collect()
        assert self.pool.check().problems == ()
        assert self.pool.check().objects == 1
        self.pool.close()


@pytest.mark.parametrize("seed", range(8))
def test_random_work_matches_plain_containers(seed: int, medium: Medium) -> None:
    """Contents, order, every link and every byte are right after any work."""
    World(medium.folder / "world.pool", seed).run(30)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_much_random_work_matches_plain_containers(seed: int, medium: Medium) -> None:
    """The same, for minutes."""
    World(medium.folder / "world.pool", seed).run(60)
