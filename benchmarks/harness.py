"""Clock, loops and rounds: how a statement becomes nanoseconds per operation.

A statement is compiled into two loops (as timeit does; its names become local ones):

* the *mean* loop reads the clock before and after all operations of a round; the time of an empty
  loop over the same list, measured in the same run, is subtracted.  The headline figure is the
  median of the rounds.
* the *single* loop reads the clock around each operation and stores the difference into an array
  that was allocated before; the time between two readings is subtracted.  Its percentiles are
  taken over all operations of all rounds.

Contenders take turns, round by round and in an order that is drawn anew, so that a slow minute
hits all of them.  Garbage collection is off while the clock runs.
"""

from __future__ import annotations

import gc
import random
import shutil
import statistics
import tempfile
import textwrap
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, Contender

Clock = Callable[[], int]
Loop = Callable[[Sequence[Any], Clock, Any], int]

KEY_BYTES, VALUE_BYTES = 16, 100

MEAN = """
def loop({arguments}):
    start = clock()
    for {variables} in todo:
{statement}
    return clock() - start
"""
SINGLE = """
def loop({arguments}):
    done = 0
    for {variables} in todo:
        start = clock()
{statement}
        out[done] = clock() - start
        done += 1
    return done
"""


# ---- keys and values ----


def key_of(number: int) -> str:
    """A key of 16 characters, as a new object: nobody has hashed it yet."""
    return f"key-{number:012}"


def value_of(number: int, size: int = VALUE_BYTES) -> bytes:
    """A value that no other number has."""
    return number.to_bytes(8, "little") * (size // 8) + bytes(size % 8)


def pairs_of(numbers: Iterable[int], generation: int = 0) -> list[tuple[str, bytes]]:
    return [(key_of(i), value_of(i + (generation << 40))) for i in numbers]


#: Numbers below this stay apart, and have no more than the 12 digits of a key.
NUMBERS = 1 << 39


def another(number: int) -> int:
    """A number for each, in no order: the factor is odd, and so prime to a power of two."""
    return number * 0x9E3779B97F4A7C15 % NUMBERS


class Zipf:
    """Numbers below n, the i-th most frequent one with weight 1 / i**0.99, scattered.

    Source:
        J. Gray and others, Quickly Generating Billion-Record Synthetic Databases, SIGMOD 1994;
        as in YCSB.
    """

    def __init__(self, n: int, theta: float = 0.99) -> None:
        self.n, self.theta = n, theta
        self.zeta = sum(i**-theta for i in range(1, n + 1))
        self.alpha = 1 / (1 - theta)
        zeta_2 = 1 + 0.5**theta
        self.eta = (1 - (2 / n) ** (1 - theta)) / (1 - zeta_2 / self.zeta) if n > 2 else 0.0

    def draw(self, source: random.Random) -> int:
        u = source.random()
        scaled = u * self.zeta
        if scaled < 1:
            rank = 0
        elif scaled < 1 + 0.5**self.theta:
            rank = 1
        else:
            rank = int(self.n * (self.eta * u - self.eta + 1) ** self.alpha)
        return min(rank, self.n - 1) * 2654435761 % self.n


# ---- loops ----


def compile_loop(template: str, statement: str, variables: str, names: dict[str, Any]) -> Loop:
    """Make a function of a statement."""
    depth = "        "
    taken = {"todo", "clock", "out", "start", "done", *variables.replace(",", " ").split()}
    if clash := taken & names.keys():
        raise ValueError(f"a contender's names hide those of the loop: {clash}")
    known = {f"its_{name}": value for name, value in names.items()}
    arguments = ", ".join(["todo", "clock", "out", *(f"{name}=its_{name}" for name in names)])
    source = template.format(
        arguments=arguments, variables=variables, statement=textwrap.indent(statement, depth)
    )
    exec(compile(source, f"<{statement}>", "exec"), known)
    loop: Loop = known["loop"]
    return loop


def clock_cost_ns() -> float:
    """What two readings of the clock have between them at least."""
    out = array("q", bytes(8 * 2000))
    compile_loop(SINGLE, "pass", "_", {})(range(2000), time.perf_counter_ns, out)
    return statistics.median(out)


def loop_cost_ns(todo: Sequence[Any], variables: str) -> float:
    """What an empty loop over this list costs, each time round."""
    if not todo:
        return 0.0
    loop = compile_loop(MEAN, "pass", variables, {})
    return min(loop(todo, time.perf_counter_ns, None) for _ in range(3)) / len(todo)


@contextmanager
def no_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# ---- samples ----


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of the samples does not exceed."""
    if not ordered:
        raise ValueError("no samples")
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


@dataclass
class Sample:
    """What was measured of one contender in one workload.

    Attributes:
        means: Nanoseconds per operation, one of each round.
        singles: Nanoseconds of single operations, of all rounds.
    """

    means: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if self.means:
            row |= {"median": statistics.median(self.means), "rounds": self.means}
            row |= {"min": min(self.means)}
        if self.singles:
            ordered = sorted(self.singles)
            row |= {
                "samples": len(ordered),
                "p50": percentile(ordered, 0.5),
                "p99": percentile(ordered, 0.99),
                "p999": percentile(ordered, 0.999),
                "max": ordered[-1],
            }
            row.setdefault("median", row["p50"])
        return row


def take(
    contender: Contender,
    statement: str,
    variables: str,
    todo: Sequence[Any],
    into: Sample,
    *,
    scale: int = 1,
    single: bool = False,
    names: dict[str, Any] | None = None,
) -> None:
    """Run a statement for each entry of a list, and add what it took.

    Args:
        contender: Whose names the statement sees.
        statement: In Python.
        variables: What an entry of the list is assigned to.
        todo: The entries.
        into: Gets one mean, or a time of each operation.
        scale: Operations of one statement.
        single: Read the clock around each operation.
        names: Instead of the contender's.
    """
    names = contender.names() if names is None else names
    clock = time.perf_counter_ns
    loop = compile_loop(SINGLE if single else MEAN, statement, variables, names)
    with no_collection():
        if single:
            out = array("q", bytes(8 * len(todo)))
            cost = clock_cost_ns()
            loop(todo, clock, out)
            into.singles += [max(0.0, each - cost) / scale for each in out]
        else:
            empty = loop_cost_ns(todo, variables)
            mean = loop(todo, clock, None) / len(todo) - empty
            into.means.append(max(0.0, mean) / scale)


# ---- contenders together ----


@dataclass
class Bench:
    """A run on one medium: its contenders, its sizes, and the rows that it has given.

    Attributes:
        parent: Directory on the medium.
        medium: What the medium is called.
        sizes: How much of everything; see ``run.py``.
        chosen: Contenders that take part.
        rows: Results: one dict of each contender and workload.
        said: Called with a line of progress.
    """

    parent: Path
    medium: str
    sizes: dict[str, int]
    chosen: list[type[Contender]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    words: dict[str, dict[str, str]] = field(default_factory=dict)
    said: Callable[[str], None] = print
    random: random.Random = field(default_factory=lambda: random.Random(1))

    @contextmanager
    def folder(self) -> Iterator[Path]:
        made = Path(tempfile.mkdtemp(prefix="pmemstore-bench-", dir=self.parent))
        try:
            yield made
        finally:
            shutil.rmtree(made)

    def store_folder(self, folder: Path, kind: type[Contender]) -> Path:
        made = folder / kind.name.replace(" ", "-").replace("+", "-")
        made.mkdir(exist_ok=True)
        return made

    def know(self, contender: Contender) -> None:
        """Remember what its durability is on this medium."""
        durability = contender.durability
        self.words[contender.name] = {"class": durability.key, "words": durability.words}

    @contextmanager
    def opened(self, kinds: Iterable[type[Contender]]) -> Iterator[list[Contender]]:
        """All of them at once, empty, each in a directory of its own."""
        with self.folder() as folder:
            stores: list[Contender] = []
            try:
                for kind in kinds:
                    stores.append(kind(self.store_folder(folder, kind)))
                    self.know(stores[-1])
                yield stores
            finally:
                for store in stores:
                    store.close()

    def shuffled(self, stores: list[Contender]) -> list[Contender]:
        """An order for a round; what earlier rounds have left is collected before it."""
        gc.collect()
        return self.random.sample(stores, len(stores))

    def row(
        self,
        question: str,
        workload: str,
        name: str,
        unit: str,
        figures: dict[str, Any],
        **more: Any,
    ) -> None:
        row = {"question": question, "medium": self.medium, "workload": workload}
        row |= {"contender": name, "class": self.words[name]["class"], "unit": unit}
        self.rows.append(row | figures | more)

    def add(
        self,
        question: str,
        workload: str,
        samples: dict[str, Sample],
        **more: Any,
    ) -> None:
        for name, sample in samples.items():
            if sample.means or sample.singles:
                self.row(question, workload, name, "ns", sample.figures(), **more)

    def lacks(self, workload: str, name: str, reason: str) -> None:
        self.absent[workload, name] = reason


def stores_of(bench: Bench, items: int) -> list[type[Contender]]:
    """Contenders that keep data and load that many in reasonable time; the rest is noted."""
    fit = []
    for kind in bench.chosen:
        if kind.name == CONTENDERS["bare write"].name:
            continue
        if items > kind.items_max:
            bench.lacks(
                f"{items:,} items", kind.name, f"not loaded beyond {kind.items_max:,} items"
            )
        else:
            fit.append(kind)
    return fit
