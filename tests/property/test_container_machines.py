"""Each kind of container against the builtin, with transactions, reopening and crashes as steps.

One machine for each of Dict, List, Set and Deque.  Steps are single operations, and blocks that are
committed, rolled back, or rolled back in part.  The step ``crash`` (pmemstore.testing) ends the
process at any moment; then the contents are those before or after the step under way.
"""

from __future__ import annotations

import collections
import contextlib
import copy
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

import pmemstore
from pmemstore.testing.stateful import CrashStateMachine
from pmemstore.testing.subject import medium as on_medium

Operation = tuple[Any, ...]
Operations = st.SearchStrategy[Operation]

DONE: collections.Counter[str] = collections.Counter()

SMALL = st.integers(-4, 12)
VALUES = st.one_of(
    SMALL,
    st.text(max_size=10),
    st.sampled_from([None, 0.5, "v" * 40, b"w" * 1200, [1, [2]], {"a": {"b": []}}, {3, 4}]),
)
LISTS = st.lists(VALUES, max_size=20)
KEYS = st.one_of(SMALL, st.sampled_from(["a", "b", None, (1, 2), 1.0, True, "long key " * 130]))
SETS = st.sets(KEYS, max_size=20)
SLICES = st.builds(slice, st.none() | SMALL, st.none() | SMALL, st.sampled_from([None, 1, 2, -1]))


def of(names: str, *arguments: st.SearchStrategy[Any]) -> Operations:
    return st.tuples(st.sampled_from(names.split()), *arguments)


DICT_OPERATIONS = st.one_of(
    of("__setitem__ __setitem__ setdefault", KEYS, VALUES),
    of("__delitem__ pop get __contains__", KEYS),
    of("pop", KEYS, SMALL),
    of("update __ior__", st.dictionaries(KEYS, VALUES, max_size=20)),
    of("popitem clear"),
)
LIST_OPERATIONS = st.one_of(
    of("append remove index count __contains__", VALUES),
    of("extend __iadd__", LISTS),
    of("insert __setitem__", SMALL, VALUES),
    of("pop __delitem__ __getitem__", SMALL),
    of("__setitem__", SLICES, LISTS),
    of("__delitem__ __getitem__", SLICES),
    of("pop reverse sort clear"),
    of("__imul__", st.integers(-1, 3)),
)
SET_OPERATIONS = st.one_of(
    of("add add discard remove __contains__", KEYS),
    of("update difference_update intersection_update symmetric_difference_update", SETS),
    of("__ior__ __iand__ __isub__ __ixor__ issubset isdisjoint __or__ __and__ __sub__", SETS),
    of("clear"),
)
DEQUE_OPERATIONS = st.one_of(
    of("append appendleft remove index count __contains__", VALUES),
    of("extend extendleft __iadd__", LISTS),
    of("insert __setitem__", SMALL, VALUES),
    of("rotate __delitem__ __getitem__", SMALL),
    of("pop popleft reverse clear"),
    of("__imul__", st.integers(-1, 3)),
)


class RolledBackError(Exception):
    pass


def apply(container: Any, name: str, arguments: list[Any]) -> Any:
    """What an operation returns, or the type and arguments of its exception."""
    try:
        if name == "sort":
            return container.sort(key=repr)
        return getattr(container, name)(*arguments)
    except (KeyError, IndexError, ValueError) as error:
        return type(error), error.args


class ContainerMachine(CrashStateMachine):
    """A container under ``x``; ``machine()`` says which, and what may be done to it."""

    options: ClassVar[dict[str, Any]] = {"size": "512K", "log_size": "8K"}
    new: ClassVar[Callable[[], Any]]

    def __init__(self) -> None:
        super().__init__()
        self.model = type(self).new()
        self.pool.root["x"] = type(self).new()

    def read(self, pool: pmemstore.Pool) -> Any:
        return copy.deepcopy(pool.root["x"])

    @invariant()
    def order_is_the_same(self) -> None:
        stored = self.pool.root["x"]
        if isinstance(self.model, set):
            return  # in the order of their coming, which the builtin does not have
        assert list(stored) == list(self.model)
        assert list(reversed(stored)) == list(reversed(self.model))

    def do(self, operation: Operation) -> None:
        name, *arguments = operation
        if name in ("__imul__", "extend", "__iadd__") and len(self.model) > 200:
            name, arguments = "clear", []
        theirs = apply(self.model, name, copy.deepcopy(arguments))
        ours = apply(self.pool.root["x"], name, arguments)
        assert ours == theirs, f"{name}: {ours!r}, not {theirs!r}"
        DONE[f"{type(self).__name__}.{name}"] += 1

    def do_block(self, outer: list[Operation], inner: list[Operation], fate: str) -> None:
        before = copy.deepcopy(self.model)
        with contextlib.suppress(RolledBackError), self.pool.transaction():
            for operation in outer:
                self.do(operation)
            kept = copy.deepcopy(self.model)
            with contextlib.suppress(RolledBackError), self.pool.transaction():
                for operation in inner:
                    self.do(operation)
                if fate == "savepoint":
                    self.model = kept
                    raise RolledBackError
            if fate == "abort":
                self.model = before
                raise RolledBackError
        DONE[f"a block: {fate}"] += 1

    @rule()
    def reopen(self) -> None:
        path = self.pool.path
        self.pool.close()
        with on_medium(self.medium):
            self.pool = pmemstore.open(path, "w", recorder=self._recorder)
        DONE["reopen"] += 1

    @rule(what=st.sampled_from(["collect", "checkpoint"]))
    def upkeep(self, what: str) -> None:
        getattr(self.pool, what)()
        assert self.pool.check().problems == ()
        DONE[what] += 1

    def _materialise(self, states: list[int]) -> str:
        DONE["crash"] += 1
        return super()._materialise(states)


def machine(
    name: str, where: str, new: Callable[[], Any], operations: Operations
) -> type[ContainerMachine]:
    blocks = st.lists(operations, max_size=5)
    fates = st.sampled_from(["commit", "savepoint", "abort"])

    class Made(ContainerMachine):
        medium = where

        @rule(operation=operations)
        def one(self, operation: Operation) -> None:
            self.do(operation)

        @rule(outer=blocks, inner=blocks, fate=fates)
        def block(self, outer: list[Operation], inner: list[Operation], fate: str) -> None:
            self.do_block(outer, inner, fate)

    Made.__name__ = name
    Made.new = staticmethod(new)
    return Made


KINDS: dict[str, tuple[Callable[[], Any], Operations]] = {
    "Dict": (dict, DICT_OPERATIONS),
    "List": (list, LIST_OPERATIONS),
    "Set": (set, SET_OPERATIONS),
    "Deque": (deque, DEQUE_OPERATIONS),
    "BoundedDeque": (lambda: deque(maxlen=7), DEQUE_OPERATIONS),
}


def run(kind: str, where: str, examples: int, steps: int) -> None:
    new, operations = KINDS[kind]
    DONE.clear()
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # Hypothesis has no type for it
        machine(kind, where, new, operations),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[phase for phase in Phase if phase is not Phase.explain],
        ),
    )
    print(f"\n{kind} on {where}: {dict(sorted(DONE.items()))}")
    assert sum(DONE.values()) > examples


@pytest.mark.parametrize("where", ["direct", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_like_the_builtin_through_crashes(kind: str, where: str) -> None:
    """Results, contents, order; and after a crash one of the two allowed states."""
    run(kind, where, 15, 20)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["direct", "file", "eadr"])
@pytest.mark.parametrize("kind", KINDS)
def test_like_the_builtin_through_many_crashes(kind: str, where: str) -> None:
    """The same, for minutes."""
    run(kind, where, 150, 30)
