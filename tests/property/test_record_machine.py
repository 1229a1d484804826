"""Records against plain values: fields, references, blocks, edited classes, reopening, crashes.

The step ``edit`` is a release of the application: the pool is closed, the class gets the next
layout, the pool is opened again.  Records that nobody writes to keep their old layout for many
steps.  The step ``crash`` (pmemstore.testing) ends the process at any moment.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import math
import sys
import types
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

import pmemstore as ps
from pmemstore.testing.stateful import CrashStateMachine
from pmemstore.testing.subject import medium as on_medium

DONE: collections.Counter[str] = collections.Counter()
EDITED = types.ModuleType("edited_by_the_machine")
EDITED.__dict__.update(ps=ps, Annotated=Annotated, Any=Any)
sys.modules[EDITED.__name__] = EDITED

#: Each layout can read all before it: former names stay named, and defaults stay what they were.
LAYOUTS = [
    "a: ps.int8; t: str; f: ps.float32; x: Annotated[str, ps.fixed(6)]; m: ps.uint8 | None; o: Any",
    "a: ps.int16; t: str; m: ps.int32 | None; o: Any; f: float; x: Annotated[str, ps.fixed(6)]",
    "b: ps.int64 = ps.field(was='a'); t: Any = 1; o: Any = None; f: Any = 0; "
    "x: Annotated[str, ps.fixed(30)] = 'new'; m: ps.int64 | None = None; n: ps.int8 | None = 5",
    "b: int = ps.field(default=0, was='a'); t: Any = 1; o: Any = None; n: int | None = 5; "
    "x: str = ''; l: list = ps.field(default_factory=list)",
]
ADDED: list[dict[str, Any]] = [{}, {}, {"n": 5}, {"l": []}]
GONE = [(), (), (), ("f", "m")]

NUMBERS = st.one_of(st.integers(-300, 300), st.sampled_from([2**15, 2**31, -(2**63), 2**70]))
VALUES = st.one_of(
    NUMBERS,
    st.text(max_size=9),
    st.sampled_from([None, True, 0.5, "v" * 300, b"w", [1, [2]], {"a": {}}, math.inf]),
)
CHANGES = st.tuples(st.integers(0, 3), st.sampled_from("abtfxmnol"), VALUES)


class RolledBackError(Exception):
    pass


def declare(version: int) -> Any:
    body = LAYOUTS[version].replace("; ", "\n    ")
    exec(f"@ps.record\nclass Tried:\n    {body}", vars(EDITED))
    return vars(EDITED)["Tried"]


class RecordMachine(CrashStateMachine):
    """Four records in a list; the model is a list of dicts of their fields, and the layout."""

    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "8K"}

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.cls = declare(0)
        rows = [self.cls(i, "t" * i, i / 2, f"x{i}", None, [i]) for i in range(4)]
        self.pool.root["rows"] = rows
        self.model = [self.fields(each) for each in rows]

    def fields(self, record: Any) -> dict[str, Any]:
        names = type(record).__match_args__
        found = {name: copy.deepcopy(getattr(record, name)) for name in names}
        return {name: repr(value) for name, value in found.items()}

    def read(self, pool: ps.Pool) -> Any:
        return [self.fields(each) for each in pool.root["rows"]]

    def do(self, change: tuple[int, str, Any]) -> None:
        """The same in a record of the pool and in one in memory: the outcomes agree."""
        i, name, value = change
        stored = self.pool.root["rows"][i]
        plain = copy.deepcopy(stored)
        outcomes = []
        for each in (plain, stored):
            try:
                if name == "l" and hasattr(each, "l"):
                    each.l.append(copy.deepcopy(value))
                else:
                    setattr(each, name, copy.deepcopy(value))
                outcomes.append("done")
            except (TypeError, ValueError, OverflowError, AttributeError) as error:
                outcomes.append(f"{type(error).__name__}: {error}")
        assert outcomes[0] == outcomes[1]
        assert stored == plain
        self.model[i] = self.fields(plain)
        DONE["done" if outcomes[0] == "done" else "refused"] += 1

    @rule(change=CHANGES)
    def one(self, change: tuple[int, str, Any]) -> None:
        self.do(change)

    @rule(changes=st.lists(CHANGES, max_size=4), fate=st.sampled_from(["commit", "abort"]))
    def block(self, changes: list[tuple[int, str, Any]], fate: str) -> None:
        before = copy.deepcopy(self.model)
        with contextlib.suppress(RolledBackError), self.pool.transaction():
            for change in changes:
                self.do(change)
            if fate == "abort":
                self.model = before
                raise RolledBackError
        DONE[f"a block: {fate}"] += 1

    @rule(i=st.integers(0, 3), k=st.integers(0, 3))
    def copy_one(self, i: int, k: int) -> None:
        rows = self.pool.root["rows"]
        rows[i] = copy.deepcopy(rows[k])
        self.model[i] = copy.deepcopy(self.model[k])
        DONE["copy"] += 1

    def open_again(self) -> None:
        path = self.pool.path
        self.pool.close()
        self.cls = declare(self.version)
        with on_medium(self.medium):
            self.pool = ps.open(path, "w", recorder=self._recorder)

    @rule()
    def edit(self) -> None:
        if self.version + 1 == len(LAYOUTS):
            self.open_again()
            return
        self.version += 1
        self.open_again()
        names = self.cls.__match_args__
        for each in self.model:
            for name, value in ADDED[self.version].items():
                each[name] = repr(value)
            for name in GONE[self.version]:
                each.pop(name)
            if "a" in each and "b" in names:
                each["b"] = each.pop("a")
            assert set(each) == set(names)
        # Steps that are still to crash would be read with the layout of now.
        self._lives += 1
        self._start(self.moved())
        self._steps.append((len(self._recorder), copy.deepcopy(self.model)))
        DONE["edit"] += 1

    def moved(self) -> str:
        """Close the pool, and hand on its path: a life in which nothing has happened yet."""
        path = self.pool.path
        self.pool.close()
        return path

    @rule(what=st.sampled_from(["migrate", "collect", "checkpoint"]))
    def upkeep(self, what: str) -> None:
        getattr(self.pool, what)()
        assert self.pool.check().problems == ()
        if what == "migrate":
            assert not any(each._schema._outdated for each in self.pool.root["rows"])
        DONE[what] += 1

    def _materialise(self, states: list[int]) -> str:
        DONE["crash"] += 1
        return super()._materialise(states)


def run(where: str, examples: int, steps: int) -> None:
    class Made(RecordMachine):
        medium = where

    DONE.clear()
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # Hypothesis has no type for it
        Made,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[phase for phase in Phase if phase is not Phase.explain],
        ),
    )
    print(f"\nrecords on {where}: {dict(sorted(DONE.items()))}")
    assert DONE["done"] > examples
    assert DONE["edit"] > 0


@pytest.mark.parametrize("where", ["direct", "file"])
def test_records_through_crashes_and_releases(where: str) -> None:
    """In memory and in the pool alike; after a crash one of the two allowed states."""
    run(where, 25, 25)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["direct", "file", "eadr"])
def test_records_through_many_crashes_and_releases(where: str) -> None:
    """The same, for minutes."""
    run(where, 400, 40)
