"""What does one operation cost?

Each store holds ``items`` items of 16-byte keys and 100-byte values.  In every round each
contender puts new keys, replaces them, gets, deletes them again, and so on; all see the same keys
in the same order, and at the end all must hold the same contents.

Keys come in their own order here, as those of a counter or a clock do: what suits a tree best.
``scattered.py`` asks the same with keys that come in no order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contenders import Contender
from contenders.base import Pair
from harness import Bench, Sample, key_of, pairs_of, stores_of, take, value_of

BLOCK = 1000
HOT = 500
SCAN = 100


#: What the key of the i-th item is made of.
Order = Callable[[int], int]


@dataclass
class Round:
    """What a round works on: the same for all contenders.

    Attributes:
        number: Of the round.
        items: Keys 0 to items - 1 are there all the time.
        count: Operations.
        length: Of the list, when the round begins.
        block: Items that a transaction puts.
        seed: Of what is drawn.
        order: In which keys come.
    """

    number: int
    items: int
    count: int
    length: int
    block: int
    seed: int
    order: Order

    def new(self) -> range:
        """Numbers of keys that are not there."""
        first = self.items + self.number * self.count
        return range(first, first + self.count)

    def pairs(self, numbers: Iterable[int], generation: int = 0) -> list[Pair]:
        return pairs_of(map(self.order, numbers), generation)

    def keys(self, numbers: Iterable[int]) -> list[str]:
        return [key_of(self.order(i)) for i in numbers]

    def block_of(self, part: int, operation: str) -> list[Pair]:
        return self.pairs(block_numbers(self.number, part, operation, self.block))

    def drawn(self, limit: int, part: int = 0) -> list[int]:
        source = random.Random((self.seed << 20) + (self.number << 4) + part)
        return [source.randrange(limit) for _ in range(self.count)]


@dataclass(frozen=True)
class Workload:
    """One line of the table.

    Attributes:
        name: In words.
        operation: Whose statement.
        variables: Of the loop.
        todo: What a round does.
        single: Also with the clock around each operation: these go on where the first left off.
        scale: Operations of one statement.
        writes: Whether it changes anything: durability matters.
        seldom: Only in the first three rounds, as it takes long.
    """

    name: str
    operation: str
    variables: str
    todo: Callable[[Round, int], Sequence[Any]]
    scale: Callable[[Contender, Round], int] = lambda store, turn: 1
    writes: bool = True
    seldom: bool = False


def halves(turn: Round, part: int) -> range:
    """Of a round's new keys the first half for the mean loop, the second for single ones."""
    new = turn.new()
    middle = len(new) // 2
    return new[:middle] if part == 0 else new[middle:]


#: Numbers of the keys that blocks put, beyond all others; they stay.
BLOCK_KEYS = 1_000_000_000
BLOCKS = ("block", "update")


def block_numbers(number: int, part: int, operation: str, block: int) -> range:
    """Of new keys."""
    first = BLOCK_KEYS + ((number * 2 + part) * len(BLOCKS) + BLOCKS.index(operation)) * block
    return range(first, first + block)


def held(store: Contender, turn: Round) -> int:
    """Items in the store while the round iterates over them."""
    done = sum(operation in store.statements for operation in BLOCKS)
    return turn.items + (turn.number + 1) * (2 * done * turn.block + turn.count)


WORKLOADS = [
    Workload("put", "put", "key, value", lambda turn, part: turn.pairs(halves(turn, part))),
    Workload("replace", "put", "key, value", lambda turn, part: turn.pairs(halves(turn, part), 1)),
    Workload("delete", "delete", "key", lambda turn, part: turn.keys(halves(turn, part))),
    Workload(
        "1000 puts in a transaction",
        "block",
        "pairs",
        lambda turn, part: [turn.block_of(part, "block")],
        scale=lambda store, turn: turn.block,
    ),
    Workload(
        "update() of 1000",
        "update",
        "batch",
        lambda turn, part: [dict(turn.block_of(part, "update"))],
        scale=lambda store, turn: turn.block,
    ),
    Workload(
        "abort of 1000 puts",
        "abort",
        "pairs",
        lambda turn, part: [turn.pairs(range(turn.block), 1)],
        scale=lambda store, turn: turn.block,
    ),
    Workload("counter", "counter", "_", lambda turn, part: range(turn.count)),
    Workload(
        "append",
        "append",
        "value",
        lambda turn, part: [
            value_of(turn.length + part * turn.count + i) for i in range(turn.count)
        ],
    ),
    Workload(
        "list set",
        "list set",
        "number, value",
        lambda turn, part: [
            (i, value_of(i + (turn.number << 32)))
            for i in turn.drawn(turn.length + 2 * turn.count, part)
        ],
    ),
    Workload(
        "list get",
        "list get",
        "number",
        lambda turn, part: turn.drawn(turn.length + 2 * turn.count, part),
        writes=False,
    ),
    Workload("record set", "record set", "number", lambda turn, part: totals(turn, part)),
    Workload("record get", "record get", "_", lambda turn, part: range(turn.count), writes=False),
    Workload(
        "hot get",
        "get",
        "key",
        lambda turn, part: hot_keys(turn, part),
        writes=False,
    ),
    Workload(
        "random get",
        "get",
        "key",
        lambda turn, part: turn.keys(turn.drawn(turn.items, part)),
        writes=False,
    ),
    Workload(
        "scan of 100",
        "scan",
        "key",
        lambda turn, part: turn.keys(turn.drawn(turn.items, part)[: max(1, turn.count // 10)]),
        writes=False,
    ),
    Workload(
        "iterate keys",
        "keys",
        "_",
        lambda turn, part: range(1),
        scale=held,
        writes=False,
        seldom=True,
    ),
    Workload(
        "iterate items",
        "items",
        "_",
        lambda turn, part: range(1),
        scale=held,
        writes=False,
        seldom=True,
    ),
]
#: Run once for each part, after both of which the next workload begins.
PARTS = (0, 1)


def totals(turn: Round, part: int) -> list[float]:
    """No two neighbours are equal: what is there already need not be written."""
    first = (turn.number * 2 + part) * turn.count
    return [float(first + i) for i in range(turn.count)]


def hot_keys(turn: Round, part: int) -> list[str]:
    """The same few keys again and again, as the same objects."""
    keys = turn.keys(range(min(HOT, turn.items)))
    return [keys[i % len(keys)] for i in turn.drawn(len(keys), part)]


def ask(bench: Bench) -> None:
    compare(bench, "operations", WORKLOADS, lambda number: number)


def compare(bench: Bench, question: str, works: Sequence[Workload], order: Order) -> None:
    """Run some of the workloads, for all contenders, with keys in this order."""
    items, count = bench.sizes["items"], bench.sizes["count"]
    kinds = stores_of(bench, items)
    kinds += [kind for kind in bench.chosen if kind.name == "bare write"]
    samples: dict[str, dict[str, Sample]] = {
        work.name: {kind.name: Sample() for kind in kinds} for work in works
    }
    with bench.opened(kinds) as stores:
        for store in stores:
            store.load(iter(pairs_of(map(order, range(items)))))
            for work in works:
                if reason := store.why_not(work.operation):
                    bench.lacks(work.name, store.name, reason)
        length, block = 0, min(BLOCK, items)
        for number in range(bench.sizes["rounds"]):
            seed = bench.random.getrandbits(20)
            turn = Round(number, items, count, length, block, seed, order)
            for store in bench.shuffled(stores):
                one_round(store, turn, works, samples)
            length += 2 * count
            bench.said(f"{question}: round {number + 1} of {bench.sizes['rounds']}")
        verify(stores, works, turn)
    for work in works:
        more = {"items": items, "writes": work.writes}
        bench.add(question, work.name, samples[work.name], **more)


def one_round(
    store: Contender,
    turn: Round,
    works: Sequence[Workload],
    samples: dict[str, dict[str, Sample]],
) -> None:
    for work in works:
        if store.why_not(work.operation) or (work.seldom and turn.number >= 3):
            continue
        for part in PARTS:
            take(
                store,
                store.statements[work.operation],
                work.variables,
                work.todo(turn, part),
                samples[work.name][store.name],
                scale=work.scale(store, turn),
                single=part == 1,
            )
        if work.operation == "delete":  # what comes next is to find no space that is free
            store.put_all(turn.pairs(turn.new(), 1))


def verify(stores: list[Contender], works: Sequence[Workload], last: Round) -> None:
    """Every contender must have done all of its operations: no figure without contents."""
    done = {work.operation for work in works}
    rounds, count = last.number + 1, last.count
    expected = dict(last.pairs(range(last.items)))
    for store in stores:
        if store.name == "bare write":
            continue
        wanted = dict(expected)
        did = {operation for operation in done if store.why_not(operation) is None}
        for operation in did.intersection(BLOCKS):
            for number in range(rounds):
                for part in PARTS:
                    wanted.update(last.pairs(block_numbers(number, part, operation, last.block)))
        for number in range(rounds):
            wanted.update(last.pairs(replace(last, number=number).new(), 1))
        got = dict(store.items())
        if got != wanted:
            wrong = sum(got.get(key) != value for key, value in wanted.items())
            raise AssertionError(
                f"{store.name} holds {len(got)} items in place of {len(wanted)}; {wrong} are wrong"
            )
        if "counter" in did and store.counted() != 2 * rounds * count:
            raise AssertionError(f"{store.name} counted {store.counted()}")
        if "record set" in did and store.recorded() != 2 * rounds * count - 1:
            raise AssertionError(f"{store.name} has a record with {store.recorded()}")
        if "append" in did and len(store.listed()) != 2 * rounds * count:
            raise AssertionError(f"{store.name} has a list of {len(store.listed())}")
