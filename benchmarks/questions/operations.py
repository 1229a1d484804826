"""What does one operation cost?

Each store holds ``items`` items of 16-byte keys and 100-byte values.  In every round each
contender puts new keys, replaces them, gets, deletes them again, and so on; all see the same keys
in the same order, and at the end all must hold the same contents.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contenders import Contender
from contenders.base import Pair
from harness import Bench, Sample, key_of, pairs_of, stores_of, take, value_of

BLOCK = 1000
HOT = 500
SCAN = 100


@dataclass
class Round:
    """What a round works on: the same for all contenders.

    Attributes:
        number: Of the round.
        items: Keys 0 to items - 1 are there all the time.
        count: Operations.
        length: Of the list, when the round begins.
    """

    number: int
    items: int
    count: int
    length: int
    block: int
    seed: int

    def new(self) -> range:
        """Numbers of keys that are not there."""
        first = self.items + self.number * self.count
        return range(first, first + self.count)

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


def block_of(number: int, part: int, operation: str, block: int) -> list[Pair]:
    """New keys, in order."""
    first = BLOCK_KEYS + ((number * 2 + part) * len(BLOCKS) + BLOCKS.index(operation)) * block
    return pairs_of(range(first, first + block))


def held(store: Contender, turn: Round) -> int:
    """Items in the store while the round iterates over them."""
    done = sum(operation in store.statements for operation in BLOCKS)
    return turn.items + (turn.number + 1) * 2 * done * turn.block


WORKLOADS = [
    Workload("put", "put", "key, value", lambda turn, part: pairs_of(halves(turn, part))),
    Workload("replace", "put", "key, value", lambda turn, part: pairs_of(halves(turn, part), 1)),
    Workload("delete", "delete", "key", lambda turn, part: [key_of(i) for i in halves(turn, part)]),
    Workload(
        "1000 puts in a transaction",
        "block",
        "pairs",
        lambda turn, part: [block_of(turn.number, part, "block", turn.block)],
        scale=lambda store, turn: turn.block,
    ),
    Workload(
        "update() of 1000",
        "update",
        "batch",
        lambda turn, part: [dict(block_of(turn.number, part, "update", turn.block))],
        scale=lambda store, turn: turn.block,
    ),
    Workload(
        "abort of 1000 puts",
        "abort",
        "pairs",
        lambda turn, part: [pairs_of(range(turn.block), 1)],
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
        lambda turn, part: [key_of(i) for i in turn.drawn(turn.items, part)],
        writes=False,
    ),
    Workload(
        "scan of 100",
        "scan",
        "key",
        lambda turn, part: [
            key_of(i) for i in turn.drawn(turn.items, part)[: max(1, turn.count // 10)]
        ],
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
    keys = [key_of(i) for i in range(min(HOT, turn.items))]
    return [keys[i % len(keys)] for i in turn.drawn(len(keys), part)]


def ask(bench: Bench) -> None:
    items, count = bench.sizes["items"], bench.sizes["count"]
    kinds = stores_of(bench, items)
    kinds += [kind for kind in bench.chosen if kind.name == "bare write"]
    samples: dict[str, dict[str, Sample]] = {
        work.name: {kind.name: Sample() for kind in kinds} for work in WORKLOADS
    }
    with bench.opened(kinds) as stores:
        for store in stores:
            store.load(iter(pairs_of(range(items))))
            for work in WORKLOADS:
                if reason := store.why_not(work.operation):
                    bench.lacks(work.name, store.name, reason)
        length = 0
        for number in range(bench.sizes["rounds"]):
            turn = Round(
                number, items, count, length, min(BLOCK, items), bench.random.getrandbits(20)
            )
            for store in bench.shuffled(stores):
                one_round(store, turn, samples)
            length += 2 * count
            bench.said(f"operations: round {number + 1} of {bench.sizes['rounds']}")
        verify(stores, bench.sizes["rounds"], items, count)
    for work in WORKLOADS:
        more = {"items": items, "writes": work.writes}
        bench.add("operations", work.name, samples[work.name], **more)


def one_round(store: Contender, turn: Round, samples: dict[str, dict[str, Sample]]) -> None:
    for work in WORKLOADS:
        statement = store.statements.get(work.operation)
        if statement is None or (work.seldom and turn.number >= 3):
            continue
        for part in PARTS:
            take(
                store,
                statement,
                work.variables,
                work.todo(turn, part),
                samples[work.name][store.name],
                scale=work.scale(store, turn),
                single=part == 1,
            )


def verify(stores: list[Contender], rounds: int, items: int, count: int) -> None:
    """Every contender must have done all of its operations: no figure without contents."""
    block = min(BLOCK, items)
    expected = dict(pairs_of(range(items)))
    for store in stores:
        if store.name == "bare write":
            continue
        wanted = dict(expected)
        for operation in BLOCKS:
            if operation in store.statements:
                for number in range(rounds):
                    for part in PARTS:
                        wanted.update(block_of(number, part, operation, block))
        got = dict(store.items())
        if got != wanted:
            wrong = sum(got.get(key) != value for key, value in wanted.items())
            raise AssertionError(
                f"{store.name} holds {len(got)} items in place of {len(wanted)}; {wrong} are wrong"
            )
        if "counter" in store.statements and store.counted() != 2 * rounds * count:
            raise AssertionError(f"{store.name} counted {store.counted()}")
        if "record set" in store.statements and store.recorded() != 2 * rounds * count - 1:
            raise AssertionError(f"{store.name} has a record with {store.recorded()}")
        if "append" in store.statements and len(store.listed()) != 2 * rounds * count:
            raise AssertionError(f"{store.name} has a list of {len(store.listed())}")
