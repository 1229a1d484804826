"""The C types themselves: proxies, references, iterators that look ahead, waiting threads."""

import copy
import gc
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import pmemstore
from pmemstore import Dict, List, Pool, PoolClosedError, TransactionError


class Undo(Exception):
    pass


# ---- proxies ----


def test_proxy_dies_with_its_last_reference_and_comes_back(pool: Pool) -> None:
    pool.root["d"] = {"x": 1}
    seen = weakref.ref(pool.root["d"])
    gc.collect()
    assert seen() is None
    assert pool.root["d"]["x"] == 1


def test_pool_in_a_cycle_with_its_proxies_is_collected(tmpfs: Any) -> None:
    pool = pmemstore.open(tmpfs / "cycle.pool", "n", size="2M")
    pool.kept = pool.root  # type: ignore[attr-defined]
    seen = weakref.ref(pool)
    pool.close()
    del pool
    gc.collect()
    assert seen() is None


def test_proxies_and_iterators_outlive_the_pool(pool: Pool) -> None:
    pool.root["d"] = {"l": [1, 2, 3]}
    d = pool.root["d"]
    items = d["l"]
    iterators = [iter(d), iter(items), reversed(items), iter(d.items())]
    pool.close()
    uses: list[Callable[[], Any]] = [
        lambda: d["l"],
        lambda: len(items),
        lambda: d.get(1),
        lambda: d.pop(1, None),
        lambda: d.setdefault(1, []),
        lambda: d.__setitem__(1, {}),
        lambda: 1 in items,
        lambda: items.append(1),
        lambda: items.extend([1, 2]),
        *(lambda i=i: next(i) for i in iterators),  # type: ignore[misc]
    ]
    for use in uses:
        with pytest.raises(PoolClosedError):
            use()


def test_proxies_cannot_be_made_by_hand(pool: Pool) -> None:
    for kind in (Dict, List):
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            kind.__new__(kind)


# ---- iterators ----


def test_iteration_goes_on_while_other_blocks_roll_back(pool: Pool) -> None:
    """A failing job must not break the loop over the jobs."""
    pool.root["jobs"] = dict.fromkeys(range(50))
    jobs = pool.root["jobs"]

    def work() -> None:
        done = []
        for job in jobs:
            try:
                with pool.transaction():
                    pool.root["work"] = job
                    raise Undo
            except Undo:
                done.append(job)
        assert done == list(range(50))

    work()
    with pool.transaction():
        work()


def test_values_replaced_during_iteration_are_seen(pool: Pool) -> None:
    pool.root["d"] = dict.fromkeys(range(60), 0)
    d = pool.root["d"]
    for seen, (key, value) in enumerate(d.items(), 1):
        assert value == (seen - 1 if key else 0)
        for later in range(key + 1, 60):
            d[later] = seen
    pool.root["l"] = [0] * 60
    items = pool.root["l"]
    for i, value in enumerate(items):
        assert value == i
        items[i + 1 :] = [i + 1] * (59 - i)


def test_length_hint_counts_down(pool: Pool) -> None:
    pool.root["d"] = dict.fromkeys(range(5))
    pool.root["l"] = list(range(5))
    for iterator in (iter(pool.root["d"]), iter(pool.root["l"]), reversed(pool.root["l"])):
        for left in range(5, 0, -1):
            assert iterator.__length_hint__() == left  # type: ignore[attr-defined]
            next(iterator)
        assert list(iterator) == []


# ---- references ----


def rounds(pool: Pool) -> None:
    """Use everything, errors too."""
    d = pool.root
    text = "v" * 50
    d["l"] = [1, text, (1, 2), {"x": 1}]
    items = d["l"]
    for i in range(20):
        d[i] = text
        d[(1, i)] = (2, i)
        d[10**30] = 10**40
        d["\ud800"] = "\ud800"
        assert (d[i], d.get(i), d[(1, i)]) == (text, text, (2, i))
        for mistake in (
            lambda: d["missing"],
            lambda: d[[]],
            lambda: d.__setitem__("o", object()),
            lambda: d._update_pairs([(1, 1), (2,)]),
            lambda: d._update_pairs([(1, 1), (2, object())]),
            lambda: items.extend([1, object()]),
            lambda: items[1000],
            lambda: items["a"],
            lambda: items.__setitem__(1000, {}),
        ):
            with pytest.raises((LookupError, TypeError, ValueError)):
                mistake()
        d.setdefault("new", []).append(text)
        d["new"].pop()
        d["c"] = {"x": [1, {}]}
        d.pop("c")["x"].append(text)
        items.extend([text, {}, *range(40)])
        del items[4:]
        d.update({i: text, "q": []})
        (list(d), list(d.values()), list(d.items()), list(items), list(reversed(items)))
        next(iter(d.items()))
        assert text in items
        with pool.transaction() as tx:
            tx.on_commit(int)
            tx.on_abort(int)
        try:
            with pool.transaction() as tx:
                tx.on_abort(int)
                d["undone"] = {}
                raise Undo
        except Undo:
            pass
    d.clear()


def test_no_reference_leaks(pool: Pool) -> None:
    def count() -> list[int]:
        gc.collect()
        watched = (None, Dict, List, pool, type(iter(pool.root)), int)
        return [sys.getallocatedblocks() // 200, *map(sys.getrefcount, watched)]

    rounds(pool)
    rounds(pool)
    before = count()
    for _ in range(5):
        rounds(pool)
    after = count()
    assert all(abs(a - b) <= 20 for a, b in zip(after, before, strict=True)), (before, after)


def test_collector_may_run_at_any_allocation(pool: Pool) -> None:
    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        rounds(pool)
    finally:
        gc.set_threshold(*old)


# ---- everything against plain dicts and lists, with nested roll-backs ----

KEYS: list[Any] = [1, 1.0, True, "a", "b" * 40, b"x", None, (1, 2), 2**70, 3.5, "é", *range(60)]


def plain(value: Any) -> Any:
    if isinstance(value, Dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, List):
        return [plain(item) for item in value]
    return value


class Model:
    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool = pool
        self.rnd = random.Random(seed)
        self.twin: dict[Any, Any] = {}

    def value(self, depth: int = 0) -> Any:
        kind = self.rnd.randrange(7)
        if kind == 0 and depth < 3:
            return {self.key(): self.value(depth + 1) for _ in range(self.rnd.randrange(4))}
        if kind == 1 and depth < 3:
            return [self.value(depth + 1) for _ in range(self.rnd.randrange(5))]
        sizes = ("v" * self.rnd.randrange(60), b"q" * self.rnd.randrange(600))
        return self.rnd.choice([1, *sizes, None, True, 2.5, 10**25, (1, "x"), -7])

    def key(self) -> Any:
        return self.rnd.choice(KEYS)

    def step(self, d: Any, twin: Any) -> None:
        key, value, kind = self.key(), self.value(), self.rnd.randrange(10)
        if kind < 3:
            d[key] = copy.deepcopy(value)
            twin[key] = value
        elif kind == 3:
            assert plain(d.pop(key, 9)) == twin.pop(key, 9)
        elif kind == 4 and twin:
            last, expected = d.popitem(), twin.popitem()
            assert (last[0], plain(last[1])) == expected
        elif kind == 5:
            assert plain(d.setdefault(key, copy.deepcopy(value))) == twin.setdefault(key, value)
        elif kind == 6:
            more = {self.key(): self.value() for _ in range(self.rnd.randrange(60))}
            d.update(copy.deepcopy(more))
            twin.update(more)
        elif kind == 7:
            for inner in list(twin):
                if isinstance(twin[inner], dict) and self.rnd.random() < 0.5:
                    return self.step(d[inner], twin[inner])
                if isinstance(twin[inner], list):
                    d[inner].append(copy.deepcopy(value))
                    twin[inner].append(value)
                    return None
        elif kind == 8:
            assert [(type(k), k) for k in d] == [(type(k), k) for k in twin]
        elif self.rnd.random() < 0.05:
            d.clear()
            twin.clear()
        return None

    def block(self, depth: int = 1) -> None:
        before = copy.deepcopy(self.twin)
        try:
            with self.pool.transaction():
                for _ in range(self.rnd.randrange(8)):
                    if self.rnd.random() < 0.15 and depth < 4:
                        self.block(depth + 1)
                    self.step(self.pool.root, self.twin)
                if self.rnd.random() < 0.4:
                    raise Undo
        except Undo:
            self.twin = before


@pytest.mark.parametrize("seed", range(20))
def test_nested_transactions_match_a_model(seed: int, pool: Pool) -> None:
    model = Model(pool, seed)
    for number in range(400):
        if model.rnd.random() < 0.2:
            model.block()
        else:
            model.step(pool.root, model.twin)
        if number % 50 == 0:
            assert plain(pool.root) == model.twin
            assert pool.check().problems == ()
    pool.collect()
    assert plain(pool.root) == model.twin
    assert pool.check().leaked_bytes == 0


# ---- threads ----


def test_waiting_operations_run_signal_handlers(pool: Pool) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.transaction():
            pool.root["x"] = 1
            inside.set()
            leave.wait(60)

    def interrupt(*_: object) -> None:
        raise Undo

    thread = threading.Thread(target=hold)
    old = signal.signal(signal.SIGUSR1, interrupt)
    thread.start()
    try:
        assert inside.wait(60)
        for use in (
            lambda: pool.root["x"],
            lambda: pool.root.clear(),
            pool.transaction().__enter__,
        ):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(Undo):
                use()
        begin = time.monotonic()
        with pytest.raises(TransactionError), pool.transaction(timeout=0.1):
            pass
        assert time.monotonic() - begin < 30
    finally:
        leave.set()
        thread.join()
        signal.signal(signal.SIGUSR1, old)
    assert pool.root["x"] == 1


def test_proxies_come_and_go_while_threads_wait(pool: Pool) -> None:
    """A proxy's end needs the pool's lock, which a waiter may hold while it wants the GIL."""
    pool.root["d"] = {i: {"n": 0} for i in range(10)}
    failures: list[BaseException] = []

    def work(number: int) -> None:
        rnd = random.Random(number)
        try:
            for _ in range(300):
                i = rnd.randrange(10)
                with pool.transaction():
                    pool.root["d"][i]["n"] += 1
                    pool.root["d"][(i + 1) % 10]["n"] -= 1
                assert sum(x["n"] for x in pool.root["d"].values()) in range(-9999, 9999)
                pool.root["t", number] = {"a": [1, {}]}
                pool.root.pop(("t", number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(interval)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures
    assert sum(x["n"] for x in pool.root["d"].values()) == 0
