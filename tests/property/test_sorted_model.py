"""Random work on sorted dicts and sets against plain ones, with roll-backs, reopening and crashes.

The model of a SortedDict is a dict, that of a SortedSet a set: what order is, Python's sorted()
says.  The first test does much work in a pool and looks at every link after it; the state machines
crash it at any moment, on both media.
"""

from __future__ import annotations

import copy
import os
import random
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

import pmemstore
from pmemstore import Pool, SortedDict, SortedSet
from pmemstore.testing.stateful import CrashStateMachine

if TYPE_CHECKING:
    from conftest import Medium


class Undo(Exception):
    pass


# ---- much work ----


class World:
    """A pool with some sorted dicts and sets, and what they should be."""

    def __init__(self, path: os.PathLike[str], seed: int) -> None:
        self.rng = random.Random(seed)
        self.path = path
        log_size = self.rng.choice(["4K", "16K", "64K", "1M"])
        self.pool = pmemstore.open(path, "n", size="1M", log_size=log_size)
        self.operations = 0
        self.range = self.rng.choice([30, 300, 3000])
        self.model: dict[str, Any] = {
            "ints": {},
            "texts": {},
            "tuples": {},
            "big": set(),
            "floats": set(),
        }
        for name, model in self.model.items():
            self.pool.root[name] = SortedDict.of() if type(model) is dict else SortedSet.of()

    def key(self, name: str) -> Any:
        number = self.rng.randrange(self.range)
        match name:
            case "ints":
                return self.rng.choice([number, float(number), -number])
            case "texts":
                return f"{'common ' * self.rng.choice([0, 3, 300])}{number}"
            case "tuples":
                return (number % 7, f"t{number}", None)
            case "big":
                return (number - 50) << 60
            case _:
                return number / 8

    def value(self, depth: int = 0) -> Any:
        kind = self.rng.random()
        if kind < 0.6:
            return self.rng.randrange(2**70)
        if kind < 0.8 or depth:
            return "x" * self.rng.choice([3, 9, 50, 900, 5000])
        inner = {self.rng.randrange(50): self.value(1) for _ in range(self.rng.randrange(20))}
        return self.rng.choice([dict, SortedDict.of])(inner)

    def step(self) -> None:
        self.operations += 1
        name = self.rng.choice(list(self.model))
        ours, model = self.pool.root[name], self.model[name]
        if type(model) is dict:
            self.step_dict(name, ours, model)
        else:
            self.step_set(name, ours, model)

    def some_range(self, model: Any) -> tuple[int, int, list[Any]]:
        order = sorted(model)
        low, high = sorted(self.rng.choices(range(len(order) + 1), k=2))
        return low, high, order[low:high]

    def step_dict(self, name: str, ours: Any, model: dict[Any, Any]) -> None:
        rng = self.rng
        low, high, between = self.some_range(model)
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                key, value = self.key(name), self.value()
                ours[key] = value
                model[key] = copy.deepcopy(value)
            case 4 | 5:
                many = {self.key(name): self.value(1) for _ in range(rng.randrange(90))}
                ours.update(many)
                model.update(many)
            case 6 | 7 if model:
                key = rng.choice(list(model))
                assert ours.pop(key) == model.pop(key)
            case 8 if model:
                key = sorted(model)[0]
                assert ours.popitem(0) == (key, model.pop(key))
            case 9 if between and rng.random() < 0.5:
                assert ours.remove_range(between[0], between[-1]) == high - low
                for key in between:
                    del model[key]
            case 10:
                assert ours.keys()[low:high] == between
                assert (
                    list(ours.keys().irange(*between[:1])) == sorted(model)[low if between else 0 :]
                )
            case 11 if rng.random() < 0.2:
                ours.clear()
                model.clear()

    def step_set(self, name: str, ours: Any, model: set[Any]) -> None:
        rng = self.rng
        low, high, between = self.some_range(model)
        many = {self.key(name) for _ in range(rng.randrange(90))}
        match rng.randrange(9):
            case 0 | 1:
                ours.add(min(many, default=0))
                model.add(min(many, default=0))
            case 2 | 3:
                ours.update(many)
                model.update(many)
            case 4 if rng.random() < 0.5:
                del ours[low:high]
                model.difference_update(between)
            case 5 if model:
                assert ours.pop(low - len(model)) == sorted(model)[low - len(model)]
                model.remove(sorted(model)[low - len(model)])
            case 6:
                ours -= many
                model -= many
            case 7:
                ours ^= many
                model ^= many
            case 8 if rng.random() < 0.2:
                ours &= many
                model &= many

    def block(self, depth: int = 1) -> None:
        before = copy.deepcopy(self.model)
        try:
            with self.pool.transaction():
                for _ in range(self.rng.randrange(1, 15)):
                    if depth < 3 and self.rng.random() < 0.15:
                        self.block(depth + 1)
                    else:
                        self.step()
                if self.rng.random() < 0.4:
                    raise Undo
        except Undo:
            self.model = before

    def compare(self) -> None:
        for name, model in self.model.items():
            ours = self.pool.root[name]
            assert list(ours) == sorted(model)
            assert ours == model
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
            match self.rng.randrange(20):
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


@pytest.mark.parametrize("seed", range(6))
def test_random_work_matches_plain_ones(seed: int, medium: Medium) -> None:
    """Contents, order, every link and every byte are right after any work."""
    World(medium.folder / "world.pool", seed).run(25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2200))
def test_much_random_work_matches_plain_ones(seed: int, medium: Medium) -> None:
    """The same, for minutes."""
    world = World(medium.folder / "world.pool", seed)
    world.run(80)
    print(f"\n{world.operations} operations")


# ---- crashes ----

NUMBERS = st.integers(0, 30)
MANY = st.lists(NUMBERS, max_size=25)


class Machine(CrashStateMachine):
    """A sorted dict and a sorted set; ``crash`` and the comparison are inherited."""

    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "4K"}

    def __init__(self) -> None:
        super().__init__()
        self.pool.root["d"] = SortedDict.of({n: n for n in range(0, 140, 2)})
        self.pool.root["s"] = SortedSet.of([("a", n) for n in range(0, 90, 3)])
        self.model: list[Any] = [
            {n: n for n in range(0, 140, 2)},
            {("a", n) for n in range(0, 90, 3)},
        ]

    def read(self, pool: Pool) -> Any:
        ours, items = pool.root["d"], pool.root["s"]
        assert list(ours) == sorted(ours)
        assert list(items) == sorted(items)
        return [dict(ours.items()), set(items)]

    @rule(key=NUMBERS, value=st.integers(0, 3) | st.text("xyz", min_size=9, max_size=80))
    def put(self, key: int, value: Any) -> None:
        self.pool.root["d"][key] = value
        self.model[0][key] = value

    @rule(keys=MANY, value=NUMBERS)
    def update(self, keys: list[int], value: int) -> None:
        self.pool.root["d"].update(dict.fromkeys(keys, value))
        self.model[0].update(dict.fromkeys(keys, value))

    @rule(low=NUMBERS, length=st.integers(0, 80), inclusive=st.booleans())
    def remove_range(self, low: int, length: int, inclusive: bool) -> None:
        self.pool.root["d"].remove_range(low, low + length, (inclusive, True))
        for key in [k for k in self.model[0] if low <= k <= low + length]:
            if key != low or inclusive:
                del self.model[0][key]

    @rule(index=st.integers(-5, 5))
    def popitem(self, index: int) -> None:
        if -len(self.model[0]) <= index < len(self.model[0]):
            key, value = self.pool.root["d"].popitem(index)
            assert self.model[0].pop(key) == value

    @rule()
    def clear(self) -> None:
        self.pool.root["d"].clear()
        self.model[0].clear()

    @rule(number=NUMBERS)
    def add(self, number: int) -> None:
        self.pool.root["s"].add(("a", number))
        self.model[1].add(("a", number))

    @rule(numbers=MANY)
    def toggle(self, numbers: list[int]) -> None:
        items = {("a", n) for n in numbers}
        self.pool.root["s"].symmetric_difference_update(items)
        self.model[1] = self.model[1] ^ items

    @rule(numbers=MANY, undo=st.booleans())
    def in_a_transaction(self, numbers: list[int], undo: bool) -> None:
        """With a savepoint that is rolled back in it; the whole of it sometimes, too."""
        pool, before = self.pool, copy.deepcopy(self.model)
        try:
            with pool.transaction():
                for n in numbers:
                    pool.root["d"].pop(n, None)
                    self.model[0].pop(n, None)
                    pool.root["s"].add(("a", n))
                    self.model[1].add(("a", n))
                try:
                    with pool.transaction():
                        pool.root["s"].clear()
                        pool.root["d"].update(dict.fromkeys(range(40), "gone"))
                        raise Undo
                except Undo:
                    pass
                if undo:
                    raise Undo
        except Undo:
            self.model = before

    @rule()
    def checkpoint(self) -> None:
        self.pool.checkpoint()

    @invariant()
    def sound(self) -> None:
        assert self.pool.check().problems == ()


class FileMachine(Machine):
    medium = "file"


HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]
TestDirect = Machine.TestCase
TestDirect.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=HEALTH
)
TestFile = FileMachine.TestCase
TestFile.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=HEALTH
)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Machine, FileMachine])
def test_many_crashes(machine: type[Machine]) -> None:
    """The same, with more examples of more steps."""

    class More(machine):  # type: ignore[misc, valid-type] # a parameter
        pass

    case = More.TestCase
    case.settings = settings(
        max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=HEALTH
    )
    case("runTest").runTest()
