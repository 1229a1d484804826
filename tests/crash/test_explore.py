"""No crash, at any moment of any operation, shows anything but the state before or after it.

Every operation that the package offers runs under ``pmemstore.testing``, whose oracle knows
nothing of dicts and lists: it compares with what a kill at the moment of acknowledgement leaves.
The core's own explorer (tests/native/test_crash.c) has a model of the contents, and more images.

The slow test is the same with budgets a hundred times as large; it prints what it has looked at.
"""

import contextlib
import decimal
import random
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

import pmemstore
from pmemstore import Pool
from pmemstore.testing import crash_check

Workload = Callable[[Pool], None]


class RolledBackError(Exception):
    pass


def dict_operations(pool: Pool) -> None:
    root = pool.root
    root["int"] = 1
    root["int"] = 2
    root["text"] = "x" * 700
    root["text"] = "y" * 20
    root.update(a=1, b=None, c=2.5, d=b"bytes", e=True)
    root |= {"f": "long " * 30, (1, "tuple"): uuid.UUID(int=5)}
    del root["a"]
    root.pop("b")
    root.popitem()
    root.setdefault("g", decimal.Decimal("1.5"))
    root.setdefault("g", 0)
    root[2**80] = 2**90
    root["k" * 2000] = "far key"
    del root["k" * 2000]
    root["nested"] = {"a": {"b": [1, {"c": 2}]}}
    root["nested"]["a"]["b"][1]["c"] = 3
    root["other"] = root["nested"]["a"]
    del root["nested"]
    root.clear()


def dict_that_splits(pool: Pool) -> None:
    table = pool.root.setdefault("table", {})
    for n in range(0, 60, 3):
        with pool.transaction():
            for k in range(n, n + 3):
                table[f"key {k}"] = k
    for k in range(0, 60, 7):
        del table[f"key {k}"]


def list_operations(pool: Pool) -> None:
    items = pool.root.setdefault("items", [])
    for n in range(5):
        items.append(n)
    items.extend(range(5, 70))
    items.insert(3, "three")
    items[10] = "ten"
    items[20:25] = ["a", "b"]
    del items[30:40]
    del items[::9]
    items.pop()
    items.pop(0)
    items.remove("ten")
    items.reverse()
    items.sort(key=str)
    items += ["z"]
    items *= 2
    items.append([1, [2, [3]]])
    items[-1][1].append(4)
    items.clear()


def transactions(pool: Pool) -> None:
    root = pool.root
    with pool.transaction():
        root["from"], root["to"] = 90, 10
    with contextlib.suppress(RolledBackError), pool.transaction():
        root["from"] = 0
        root["new"] = {"x": [1, 2]}
        raise RolledBackError
    with pool.transaction():
        root["kept"] = 1
        with contextlib.suppress(RolledBackError), pool.transaction():
            root["kept"] = 2
            root["gone"] = list(range(40))
            raise RolledBackError
        with pool.transaction():
            root["inner"] = "kept"
        root["to"] = 11
    with pool.transaction():
        pass
    root["from"] = 89


def transaction_larger_than_the_log(pool: Pool) -> None:
    with pool.transaction():
        for n in range(120):
            pool.root[n] = "v" * (n % 50)
    with contextlib.suppress(RolledBackError), pool.transaction():
        for n in range(120):
            pool.root[n] = "w" * (n % 60)
        raise RolledBackError
    with pool.transaction():
        for n in range(0, 120, 2):
            del pool.root[n]
    pool.root["after"] = 1


def large_values(pool: Pool) -> None:
    root = pool.root
    root["run"] = b"a" * 40_000
    root["large"] = b"b" * 90_000
    root["large"] = b"c" * 95_000
    with pool.transaction():
        root["run"] = b"d" * 50_000
        root["small"] = 1
    del root["large"]
    root["again"] = b"e" * 80_000


def growth(pool: Pool) -> None:
    before = pool.stats().size
    for n in range(4):
        pool.root[n] = bytes([n]) * 60_000
    pool.grow(pool.stats().size + 1)
    with pool.transaction():
        for n in range(4, 8):
            pool.root[n] = bytes([n]) * 60_000
    assert pool.stats().size > before


def upkeep(pool: Pool) -> None:
    root = pool.root
    for n in range(12):
        root[n] = {"list": list(range(n))}
    pool.checkpoint()
    for n in range(0, 12, 2):
        del root[n]
    pool.collect()
    root["x"] = 1
    pool.checkpoint()
    pool.checkpoint()


def objects_that_somebody_holds(pool: Pool) -> None:
    root = pool.root
    root["box"] = {"inner": [1, 2, 3]}
    box = root.pop("box")
    inner = box["inner"]
    root["x"] = 1
    box.clear()
    inner.append(4)
    root["back"] = inner
    del box, inner
    root["y"] = 2


def threads_that_commit_together(pool: Pool) -> None:
    def work(name: int) -> None:
        for n in range(6):
            with pool.transaction():
                pool.root[name, "a"] = n
                pool.root[name, "b"] = n

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def random_program(seed: int) -> Workload:
    def run(pool: Pool) -> None:
        dice = random.Random(seed)
        root = pool.root

        def value(depth: int = 0) -> Any:
            kind = dice.randrange(7 if depth < 2 else 5)
            sizes = (3, 30, 300, 3000, 40_000 if dice.random() < 0.2 else 10)
            simple = (dice.randrange(9), dice.random(), None, "s" * dice.choice(sizes))
            if kind < 5:
                return (*simple, b"b" * dice.choice(sizes))[kind]
            if kind == 5:
                return {n: value(depth + 1) for n in range(dice.randrange(12))}
            return [value(depth + 1) for _ in range(dice.randrange(12))]

        def step() -> None:
            key = dice.randrange(8)
            held = root.get(key)
            if isinstance(held, pmemstore.List) and dice.random() < 0.7:
                held.insert(dice.randrange(len(held) + 1), value(1))
                if len(held) > 4:
                    del held[dice.randrange(len(held)) :]
            elif isinstance(held, pmemstore.Dict) and dice.random() < 0.7:
                held[dice.randrange(20)] = value(1)
            elif key in root and dice.random() < 0.3:
                del root[key]
            else:
                root[key] = value()

        for _ in range(14):
            what = dice.random()
            if what < 0.5:
                step()
            elif what < 0.9:
                try:
                    with pool.transaction():
                        for _ in range(dice.randrange(1, 8)):
                            step()
                        if dice.random() < 0.3:
                            raise RolledBackError
                except RolledBackError:
                    pass
            else:
                dice.choice((pool.checkpoint, pool.collect))()

    return run


SCENARIOS = [
    dict_operations,
    dict_that_splits,
    list_operations,
    transactions,
    transaction_larger_than_the_log,
    large_values,
    growth,
    upkeep,
    objects_that_somebody_holds,
    threads_that_commit_together,
]
MEDIA = ["direct", "file", "eadr"]


def threads_are_one_group_on_files(scenario: Workload, medium: str) -> bool:
    """On direct media several threads wait for each other in the lock: nothing new."""
    return scenario is not threads_that_commit_together or medium == "file"


CASES = [
    pytest.param(scenario, medium, id=f"{scenario.__name__}-{medium}")
    for scenario in SCENARIOS
    for medium in MEDIA
    if threads_are_one_group_on_files(scenario, medium)
]


def go_on(pool: Pool) -> None:
    """What an application does after a crash: something else."""
    pool.root["went on"] = [1]
    with pool.transaction():
        pool.root["went on"].append({"and": "on"})


@pytest.mark.parametrize(("scenario", "medium"), CASES)
def test_each_operation_is_atomic_and_durable(
    scenario: Workload, medium: str, no_state_between: Callable[..., None]
) -> None:
    no_state_between(scenario, medium, follow=go_on, images=5)


@pytest.mark.slow
@pytest.mark.parametrize("log_size", ["4K", "16K", "64K"])
@pytest.mark.parametrize(("scenario", "medium"), CASES)
def test_each_operation_with_many_images(
    scenario: Workload, medium: str, log_size: str, request: pytest.FixtureRequest
) -> None:
    report = crash_check(
        scenario,
        media=[medium],
        follow=go_on,
        log_size=log_size,
        images=128,
        nested=40,
        seconds=30,
        seed=int(log_size[:-1]),
        keep=None,
    )
    print(f"\n{request.node.name}: {report}")


@pytest.mark.slow
@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed: int, medium: str) -> None:
    report = crash_check(
        random_program(seed),
        media=[medium],
        follow=go_on,
        log_size=("4K", "8K", "16K")[seed % 3],
        size="1M",
        images=48,
        nested=24,
        seconds=20,
        seed=seed,
        keep=None,
    )
    print(f"\nseed {seed}: {report}")
