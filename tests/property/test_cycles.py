"""Random graphs of containers, with shared references and cycles, against plain Python objects.

Python's own collector is the model of ``Pool.collect()``: what the plain graph leads to from its
root, and from what the test holds, is what the pool must have, object by object; all else must
be gone.  Identity is compared too: one plain object is one proxy.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

import pmemstore
from pmemstore.testing.stateful import CrashStateMachine

INDEX = st.integers(0, 2**16)
KEYS = st.sampled_from(["a", "b", "c", 1])
KINDS = st.sampled_from([dict, list])


def places(container: Any) -> list[tuple[Any, Any]]:
    """Key or index, and item, of a container of either side."""
    if isinstance(container, (dict, pmemstore.Dict)):
        return list(container.items())
    return list(enumerate(container))


def is_container(item: Any) -> bool:
    return isinstance(item, (dict, list, pmemstore.Dict, pmemstore.List))


def canonical(root: Any) -> list[Any]:
    """The graph below a container: nodes by number, in the order in which a walk meets them."""
    order = {id(root): 0}
    nodes = [root]
    result = []
    for node in nodes:
        row: list[Any] = []
        for place, item in places(node):
            if is_container(item):
                number = order.setdefault(id(item), len(nodes))
                if number == len(nodes):
                    nodes.append(item)
                row.append((place, "->", number))
            else:
                row.append((place, "=", item))
        result.append((isinstance(node, (dict, pmemstore.Dict)), row))
    return result


def rebuilt(rows: list[Any]) -> Any:
    """The plain graph of a canonical form."""
    nodes: list[Any] = [{} if is_dict else [] for is_dict, _ in rows]
    for node, (is_dict, row) in zip(nodes, rows, strict=True):
        for place, what, item in row:
            value = nodes[item] if what == "->" else item
            if is_dict:
                node[place] = value
            else:
                node.append(value)
    return nodes[0]


class Undo(Exception):
    pass


class Graph(CrashStateMachine):
    """Nodes are dicts and lists; a rule is one unit of work."""

    options: ClassVar[dict[str, Any]] = {"size": "1M", "log_size": "16K"}
    cycles: ClassVar[bool] = True
    tried: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.graph: Any = {}
        self.held: list[tuple[Any, Any]] = []
        self.life = self.pool
        self.model = canonical(self.graph)

    def read(self, pool: pmemstore.Pool) -> Any:
        return canonical(pool.root)

    def nodes(self, name: str) -> list[tuple[Any, Any]]:
        """All (proxy, plain) that the root and what is held lead to, each once."""
        self.tried[name] = self.tried.get(name, 0) + 1
        if self.life is not self.pool:  # a crash: proxies are dead, the model says what is left
            self.life, self.held, self.graph = self.pool, [], rebuilt(self.model)
        pairs = [(self.pool.root, self.graph), *self.held]
        twin: dict[int, Any] = {}
        found = []
        for proxy, plain in pairs:
            if id(plain) in twin:
                assert twin[id(plain)] is proxy
                continue
            twin[id(plain)] = proxy
            found.append((proxy, plain))
            ours, theirs = places(proxy), places(plain)
            assert [place for place, _ in ours] == [place for place, _ in theirs]
            for (_, item), (_, other) in zip(ours, theirs, strict=True):
                assert is_container(item) == is_container(other)
                if is_container(item):
                    pairs.append((item, other))
                else:
                    assert item == other
        assert len({id(proxy) for proxy, _ in found}) == len(found)
        return found

    @staticmethod
    def put(container: Any, key: Any, value: Any) -> Any:
        """Store a value; returns what the container has there now."""
        if isinstance(container, (dict, pmemstore.Dict)):
            container[key] = value
            return container[key]
        container.append(value)
        return container[-1]

    @rule(at=INDEX, key=KEYS, kind=KINDS)
    def new(self, at: int, key: Any, kind: type) -> None:
        nodes = self.nodes("new")
        proxy, plain = nodes[at % len(nodes)]
        self.put(proxy, key, kind())
        self.put(plain, key, kind())
        self.model = canonical(self.graph)

    @rule(at=INDEX, key=KEYS, length=st.integers(1, 40))
    def fill(self, at: int, key: Any, length: int) -> None:
        """A container with values that have blocks of their own."""
        nodes = self.nodes("fill")
        proxy, plain = nodes[at % len(nodes)]
        for container in (proxy, plain):
            self.put(container, key, {"text": "x" * 30, "items": list(range(length))})
        self.model = canonical(self.graph)

    @rule(at=INDEX, to=INDEX, key=KEYS)
    def link(self, at: int, to: int, key: Any) -> None:
        nodes = self.nodes("link")
        proxy, plain = nodes[at % len(nodes)]
        target, twin = nodes[to % len(nodes)]
        assert self.put(proxy, key, target) is target
        self.put(plain, key, twin)
        self.model = canonical(self.graph)

    @rule(at=INDEX, which=INDEX)
    def cut(self, at: int, which: int) -> None:
        nodes = [pair for pair in self.nodes("cut") if len(pair[1])]
        if nodes:
            proxy, plain = nodes[at % len(nodes)]
            place, _ = places(plain)[which % len(plain)]
            del proxy[place], plain[place]
        self.model = canonical(self.graph)

    @rule(at=INDEX)
    def clear(self, at: int) -> None:
        nodes = self.nodes("clear")
        proxy, plain = nodes[at % len(nodes)]
        proxy.clear()
        plain.clear()
        self.model = canonical(self.graph)

    @rule(at=INDEX)
    def hold(self, at: int) -> None:
        nodes = self.nodes("hold")
        self.held.append(nodes[at % len(nodes)])

    @precondition(lambda self: self.held)
    @rule(which=INDEX)
    def release(self, which: int) -> None:
        self.nodes("release")
        if self.held:
            del self.held[which % len(self.held)]

    @rule(at=INDEX, to=INDEX, key=KEYS)
    def roll_back(self, at: int, to: int, key: Any) -> None:
        """New nodes, links and cuts that never happened."""
        nodes = [proxy for proxy, _ in self.nodes("roll_back")]
        proxy, target = nodes[at % len(nodes)], nodes[to % len(nodes)]
        try:
            with self.pool.transaction():
                made = self.put(proxy, key, [[], {}])
                made[1]["up"] = target
                self.put(target, key, made)
                self.pool.root.clear()
                raise Undo
        except Undo:
            pass
        with pytest.raises(pmemstore.StaleRefError):
            len(made)

    @rule()
    def collect(self) -> None:
        """Exactly what is reachable is left, with exact references; the rest is free."""
        nodes = self.nodes("collect")
        count = len(nodes)
        del nodes
        self.pool.collect()
        result = self.pool.check()
        assert result.damage == 0
        assert result.objects == count
        assert result.unreachable <= count
        if not self.held:
            assert result.ok
            assert result.leaked_bytes == 0
            assert result.orphans == 0

    def teardown(self) -> None:
        """At the end of each run: nothing is lost, and nothing left over."""
        if not self.pool.closed:
            count = len(self.nodes("end"))
            self.held.clear()
            count = len(self.nodes("end"))
            self.pool.collect()
            result = self.pool.check()
            assert result.ok, result.problems
            assert (result.leaked_bytes, result.orphans, result.objects) == (0, 0, count)
        super().teardown()


def run(medium: str, examples: int, steps: int) -> None:
    machine = type(f"Graph_{medium}", (Graph,), {"medium": medium, "tried": {}})
    run_state_machine_as_test(  # type: ignore[no-untyped-call] # of Hypothesis
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=not os.environ.get("PMEMSTORE_RANDOM"),
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{medium}: {machine.tried}")
    names = {"new", "fill", "link", "cut", "clear", "hold", "release", "roll_back", "collect"}
    assert names <= machine.tried.keys()


@pytest.mark.parametrize("medium", ["direct", "file"])
def test_collect_keeps_what_python_would_keep(medium: str) -> None:
    """Random graphs, crashes among the steps, one medium after the other."""
    run(medium, 60, 30)


@pytest.mark.slow
@pytest.mark.parametrize("medium", ["direct", "file"])
def test_collect_keeps_what_python_would_keep_for_longer(medium: str) -> None:
    """Ten times as many, and longer ones."""
    run(medium, 250, 60)
