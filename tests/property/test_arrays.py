"""Array against a numpy array, in memory: any steps, roll-backs, reopening, and crashes."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

import pmemstore
from pmemstore import Pool
from pmemstore.testing.stateful import CrashStateMachine

if TYPE_CHECKING:
    from conftest import Medium

DTYPES = ["f8", "<i2", ">u4", "?", "S3", "U2", "M8[s]", "c8", [("a", "<i2"), ("b", "S3")]]


class Undo(Exception):
    pass


def plain(array: Any) -> tuple[Any, ...]:
    """What two equal arrays have in common, comparable also where there is NaN or no time."""
    return np.asarray(array).dtype, array.shape, array.tobytes()


class World:
    """A pool with some arrays, and the same in memory."""

    def __init__(self, path: os.PathLike[str], seed: int) -> None:
        self.rng = random.Random(seed)
        self.path = path
        log_size = self.rng.choice(["4K", "16K", "1M"])
        self.pool = pmemstore.open(path, "n", size="1M", log_size=log_size)
        self.model: dict[str, Any] = {}
        self.steps = 0

    def values(self, dtype: Any, shape: Any) -> Any:
        count = int(np.prod(shape, dtype=int))
        kind = np.dtype(dtype)
        if kind.kind == "U":
            return np.array([self.rng.choice(["", "a", "äß"]) for _ in range(count)], kind).reshape(
                shape
            )
        data = bytearray(self.rng.choices(range(8), k=count * kind.itemsize))
        if kind.kind == "b":
            data = bytearray(byte & 1 for byte in data)
        return np.frombuffer(data, kind).reshape(shape) if count else np.zeros(shape, kind)

    def shape(self, most: int) -> tuple[int, ...]:
        axes = self.rng.choice([1, 1, 1, 2, 3])
        first = self.rng.randrange(self.rng.choice([3, 50, most]))
        return (first, *(self.rng.randrange(4) for _ in range(axes - 1)))

    def step(self) -> None:
        self.steps += 1
        name = self.rng.choice("abc")
        if name not in self.model or self.rng.random() < 0.1:
            value = self.values(self.rng.choice(DTYPES), self.shape(3000))
            self.pool.root[name] = value
            self.model[name] = value.copy()
        elif self.rng.random() < 0.02:
            del self.pool.root[name], self.model[name]
        else:
            self.change(name, self.pool.root[name], self.model[name])

    def change(self, name: str, stored: Any, model: Any) -> None:
        rng, tail = self.rng, model.shape[1:]
        i, j = sorted(rng.randrange(len(model) + 1) for _ in range(2))
        match rng.randrange(9):
            case 0 | 1:
                many = self.values(model.dtype, (rng.choice([0, 1, 2, 400]), *tail))
                stored.extend(many)
                self.model[name] = np.concatenate([model, many]).astype(model.dtype)
            case 2:
                one = self.values(model.dtype, (1, *tail))
                stored.append(one[0])
                self.model[name] = np.concatenate([model, one]).astype(model.dtype)
            case 3 | 4:
                part = self.values(model.dtype, (j - i, *tail))
                stored[i:j] = part
                model[i:j] = part
            case 5:
                part = self.values(model.dtype, (len(model[::3]), *tail))
                stored[::3] = part
                model[::3] = part
            case 6:
                part = self.values(model.dtype, (j - i, *tail))
                with stored.write(slice(i, j)) as view:
                    view[...] = part
                model[i:j] = part
            case 7:
                shape = self.shape(2000)
                stored.resize(shape)
                self.model[name] = np.array(model)
                self.model[name].resize(shape)
            case 8 if len(model):
                stored[i % len(model)] = model[j % len(model)]
                model[i % len(model)] = model[j % len(model)]

    def block(self, depth: int = 1) -> None:
        before = {name: value.copy() for name, value in self.model.items()}
        try:
            with self.pool.transaction():
                for _ in range(self.rng.randrange(1, 12)):
                    if depth < 3 and self.rng.random() < 0.2:
                        self.block(depth + 1)
                    else:
                        self.step()
                    self.compare()
                if self.rng.random() < 0.4:
                    raise Undo
        except Undo:
            self.model = before

    def compare(self) -> None:
        for name, model in self.model.items():
            stored = self.pool.root[name]
            assert plain(stored) == plain(model)
            assert plain(stored[...]) == plain(model)

    def run(self, steps: int) -> int:
        for _ in range(steps):
            self.block() if self.rng.random() < 0.4 else self.step()
            self.compare()
            assert self.pool.check().problems == ()
            match self.rng.randrange(20):
                case 0 | 1:
                    self.pool.close()
                    self.pool = pmemstore.open(self.path)
                case 2:
                    self.pool.collect()
        assert self.pool.check().leaked_bytes == 0
        self.pool.close()
        return self.steps


@pytest.mark.parametrize("seed", range(6))
def test_random_work_matches_numpy(seed: int, medium: Medium) -> None:
    """Every byte, type and shape, inside transactions too, after any work."""
    assert World(medium.folder / "world.pool", seed).run(25) > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1100))
def test_much_random_work_matches_numpy(seed: int, medium: Medium) -> None:
    World(medium.folder / "world.pool", seed).run(100)


# ---- crashes as steps

VALUES = hnp.arrays(np.int16, st.integers(0, 20), elements=st.integers(-3, 3))
PLACES = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted)


class Crashing(CrashStateMachine):
    """One array; each step changes it, and `crash` may come between and within any of them."""

    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "4K"}

    def __init__(self) -> None:
        super().__init__()
        self.model: list[int] = []

    def read(self, pool: Pool) -> list[int]:
        found: list[int] = pool.root["a"].tolist() if "a" in pool.root else []
        return found

    @initialize(values=VALUES)
    def begin(self, values: Any) -> None:
        self.pool.root["a"] = values
        self.model = values.tolist()

    @rule(value=st.integers(-9, 9))
    def append(self, value: int) -> None:
        self.pool.root["a"].append(value)
        self.model.append(value)

    @rule(values=VALUES)
    def extend(self, values: Any) -> None:
        self.pool.root["a"].extend(values)
        self.model.extend(values.tolist())

    @rule(place=PLACES, value=st.integers(-9, 9))
    def assign(self, place: list[int], value: int) -> None:
        self.pool.root["a"][slice(*place)] = value
        self.model[slice(*place)] = [value] * len(self.model[slice(*place)])

    @rule(place=PLACES, values=VALUES, undo=st.booleans())
    def work(self, place: list[int], values: Any, undo: bool) -> None:
        """A transaction with a view, which is perhaps given up."""
        model = list(self.model)
        with contextlib.suppress(Undo), self.pool.transaction():
            a = self.pool.root["a"]
            with a.write(slice(*place)) as view:
                view *= 2
            model[slice(*place)] = [2 * n for n in model[slice(*place)]]
            a.extend(values)
            model.extend(values.tolist())
            if undo:
                raise Undo
            self.model = model

    @rule(length=st.integers(0, 60))
    def resize(self, length: int) -> None:
        self.pool.root["a"].resize(length)
        self.model = (self.model + [0] * length)[:length]

    @rule(values=VALUES)
    def replace(self, values: Any) -> None:
        self.pool.root["a"] = values
        self.model = values.tolist()


class CrashingOnFiles(Crashing):
    medium: ClassVar[str] = "file"


FEW = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestCrashing = Crashing.TestCase
TestCrashing.settings = FEW
TestCrashingOnFiles = CrashingOnFiles.TestCase
TestCrashingOnFiles.settings = FEW


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Crashing, CrashingOnFiles])
def test_many_crashes(machine: type[CrashStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings(FEW, max_examples=1500))
