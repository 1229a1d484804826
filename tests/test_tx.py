"""Transactions: all or nothing, for one thread and for many."""
# ruff: noqa: PT012 - the blocks that raise are what is rolled back

from __future__ import annotations

import copy
import gc
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import Pool, StaleRefError, TransactionError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Medium, Opener


class Abort(Exception):
    pass


def in_thread(function: Callable[[], Any], seconds: float = 20) -> Any:
    """Run in another thread and return its result, or raise its exception."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result(seconds)


@pytest.mark.parametrize("error", [Abort, KeyError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_any_exception_rolls_back_everything(error: type[BaseException], pool: Pool) -> None:
    """Puts, deletions, list changes and new objects of the block are gone, also after Ctrl-C."""
    pool.root.update(a=1, l=[1, 2, 3], d={"x": 1})
    before = repr(pool.root)
    used = pool.stats().used_bytes
    with pytest.raises(error), pool.transaction():
        pool.root["a"] = "x" * 5000
        del pool.root["l"][0]
        pool.root["l"].extend(range(500))
        pool.root["d"].update({i: i for i in range(500)})
        pool.root["d"].pop("x")
        pool.root["new"] = {"nested": [1, {}]}
        pool.root["l"].sort(reverse=True)
        pool.root["d"].clear()
        raise error
    assert repr(pool.root) == before
    assert pool.stats().used_bytes == used
    assert pool.check().ok


def test_committed_block_survives_reopening(medium: Medium, open_pool: Opener) -> None:
    """What a block wrote is there for the next Pool, in the same order."""
    pool = open_pool(medium.folder / "t.pool")
    with pool.transaction():
        pool.root["b"] = [1]
        pool.root["b"].append({"c": 2})
        pool.root["a"] = 3
    expected = repr(pool.root)
    pool.close()
    assert repr(open_pool(medium.folder / "t.pool").root) == expected


def test_block_reads_its_own_writes(pool: Pool) -> None:
    """Inside the block its writes are there."""
    with pool.transaction():
        pool.root["a"] = {}
        for i in range(300):
            pool.root["a"][i] = str(i)
            assert pool.root["a"][i] == str(i)
        assert len(pool.root["a"]) == 300
        assert list(pool.root["a"]) == list(range(300))


def test_inner_rollback_leaves_the_outer_block_alone(pool: Pool) -> None:
    """Nested blocks are savepoints."""
    pool.root["l"] = []
    with pool.transaction():
        pool.root["l"].append("outer 1")
        with pytest.raises(Abort), pool.transaction():
            pool.root["l"].append("inner 1")
            with pool.transaction():
                pool.root["l"].append("innermost")
            raise Abort
        with pool.transaction():
            pool.root["l"].append("inner 2")
        pool.root["l"].append("outer 2")
    assert pool.root["l"] == ["outer 1", "inner 2", "outer 2"]


def test_outer_rollback_takes_committed_inner_blocks_along(pool: Pool) -> None:
    """An inner block is durable only with the outermost one."""
    with pytest.raises(Abort), pool.transaction():
        with pool.transaction():
            pool.root["a"] = 1
        raise Abort
    assert pool.root == {}


def test_failed_operation_rolls_back_alone(pool: Pool) -> None:
    """A value that can't be kept leaves the rest of the transaction as it was."""
    with pool.transaction():
        pool.root["a"] = 1
        with pytest.raises(pmemstore.NotPersistableError):
            pool.root["b"] = [1, {"c": object()}]
        with pytest.raises(KeyError):
            del pool.root["missing"]
        pool.root["d"] = 2
    assert pool.root == {"a": 1, "d": 2}


def test_proxy_of_a_rolled_back_object_is_stale(pool: Pool) -> None:
    """Its use raises StaleRefError, which says what happened; storing it too."""
    with pytest.raises(Abort), pool.transaction():
        pool.root["a"] = {"l": [1]}
        a, inner = pool.root["a"], pool.root["a"]["l"]
        a["l"].append(2)
        raise Abort
    for use in (
        lambda: a["l"],
        lambda: len(a),
        lambda: a.update(b=1),
        lambda: list(a),
        lambda: inner.append(1),
        lambda: inner[0],
        lambda: pool.root.__setitem__("a", a),
        lambda: pool.root.__setitem__("a", [inner]),
    ):
        with pytest.raises(StaleRefError, match="rolled back"):
            use()
    assert "rolled back" in repr(a)
    assert pool.root == {}
    pool.root["b"] = {"new": 1}  # may reuse the place
    with pytest.raises(StaleRefError):
        a["new"]


def test_object_born_in_an_inner_block_lives_with_it(pool: Pool) -> None:
    """Born in a rolled-back inner block: stale; born before it: alive and as before."""
    with pool.transaction():
        pool.root["a"] = {}
        a = pool.root["a"]
        with pytest.raises(Abort), pool.transaction():
            a["x"] = {}
            x = a["x"]
            raise Abort
        assert a == {}
        with pytest.raises(StaleRefError):
            len(x)
        a["y"] = 1
    assert pool.root == {"a": {"y": 1}}


def test_popped_object_is_back_after_rollback(pool: Pool) -> None:
    """A proxy whose object was deleted and came back by roll-back just works."""
    pool.root["a"] = [1]
    a = pool.root["a"]
    with pytest.raises(Abort), pool.transaction():
        assert pool.root.pop("a") is a
        a.append(2)
        raise Abort
    assert pool.root["a"] is a
    assert a == [1]


def test_iterator_notices_a_rollback(pool: Pool) -> None:
    """An iterator over entries that a roll-back took away raises instead of following them."""
    pool.root.update({i: i for i in range(10)})
    with pytest.raises(Abort), pool.transaction():
        pool.root.update({i: i for i in range(100, 200)})
        iterator = iter(pool.root)
        for _ in range(50):
            next(iterator)
        raise Abort
    with pytest.raises(RuntimeError, match="changed"):
        list(iterator)


def test_decorated_function_runs_in_a_fresh_transaction_each_call(pool: Pool) -> None:
    """The decorator keeps name and result, and rolls back what raises."""

    @pool.transaction()
    def put(key: str, value: Any) -> str:
        """Put it."""
        pool.root[key] = value
        if value is None:
            raise Abort
        return key

    assert put("a", 1) == "a"
    with pytest.raises(Abort):
        put("b", None)
    assert put("c", value=3) == "c"
    assert pool.root == {"a": 1, "c": 3}
    assert (put.__name__, put.__doc__) == ("put", "Put it.")

    @pool.transaction()
    def recursive(n: int) -> None:
        pool.root[n] = n
        if n:
            recursive(n - 1)

    recursive(5)
    assert len(pool.root) == 8


def test_decorator_refuses_what_runs_in_pieces(pool: Pool) -> None:
    """Generators and coroutines would let other code into the transaction."""

    def generator() -> Any:
        yield 1

    async def coroutine() -> None:
        pass

    async def both() -> Any:
        yield 1

    for function in (generator, coroutine, both):
        with pytest.raises(TypeError, match=r"in pieces.*Open the transaction inside"):
            pool.transaction()(function)
    with pytest.raises(TypeError, match="functions"):
        pool.transaction()(5)  # type: ignore[arg-type]


def test_hooks_run_after_the_outermost_block_in_order(pool: Pool) -> None:
    """on_commit after durability and outside the transaction; on_abort after roll-back."""
    log: list[str] = []
    with pool.transaction() as outer:
        outer.on_commit(lambda: log.append("outer 1"))
        with pool.transaction() as inner:
            inner.on_commit(lambda: log.append("inner"))
            inner.on_abort(lambda: log.append("never"))
        with pytest.raises(Abort), pool.transaction() as doomed:
            doomed.on_commit(lambda: log.append("never"))
            doomed.on_abort(lambda: log.append("aborted"))
            raise Abort
        assert log == ["aborted"]

        @outer.on_commit
        def write() -> None:
            pool.root["from hook"] = in_thread(lambda: len(pool.root))
            log.append("outer 2")

        pool.root["a"] = 1
    assert log == ["aborted", "outer 1", "inner", "outer 2"]
    assert pool.root == {"a": 1, "from hook": 1}


def test_abort_hooks_of_merged_blocks_run_with_the_outer_one(pool: Pool) -> None:
    """A committed inner block that is rolled back by the outer one is an abort."""
    log: list[str] = []
    with pytest.raises(Abort), pool.transaction() as outer:
        with pool.transaction() as inner:
            inner.on_abort(lambda: log.append("inner"))
            inner.on_commit(lambda: log.append("never"))
        outer.on_abort(lambda: log.append("outer"))
        raise Abort
    assert sorted(log) == ["inner", "outer"]


def test_failing_hook_does_not_undo_the_commit(pool: Pool) -> None:
    """Its exception is raised, the other hooks run, the data is there."""
    log: list[str] = []

    def bad() -> None:
        raise ZeroDivisionError("hook")

    def block() -> None:
        with pool.transaction() as tx:
            pool.root["a"] = 1
            tx.on_commit(bad)
            tx.on_commit(lambda: log.append("second"))

    with pytest.raises(ZeroDivisionError):
        block()
    assert log == ["second"]
    assert pool.root["a"] == 1


def test_hooks_need_an_open_block(pool: Pool) -> None:
    """Registering before or after the block is an error, and so is what can't be called."""
    tx = pool.transaction()
    with pytest.raises(TransactionError, match="not open"):
        tx.on_commit(print)
    with tx:
        with pytest.raises(TypeError):
            tx.on_abort(5)  # type: ignore[type-var]
        with pytest.raises(TransactionError), tx:
            pass
    with pytest.raises(TransactionError, match="not open"):
        tx.on_commit(print)
    with tx:  # a block can be entered again
        pool.root["again"] = 1
    assert pool.root == {"again": 1}


def test_other_threads_never_see_uncommitted_state(pool: Pool) -> None:
    """A reader sees both accounts before the transfer or after it."""
    pool.root.update(a=1000, b=0)
    stop = threading.Event()
    sums: set[int] = set()

    def read() -> None:
        while not stop.is_set():
            with pool.transaction():
                sums.add(pool.root["a"] + pool.root["b"])

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        try:
            with pool.transaction():
                pool.root["a"] -= 1
                pool.root["b"] += 1
                if i % 3 == 0:
                    raise Abort
        except Abort:
            pass
    stop.set()
    reader.join(20)
    assert sums == {1000}


def test_single_reads_wait_for_an_open_transaction(pool: Pool) -> None:
    """A plain get in another thread returns the committed value, once there is one."""
    pool.root["a"] = "old"
    entered, seen = threading.Event(), []

    def read() -> None:
        entered.set()
        seen.append(pool.root["a"])

    thread = threading.Thread(target=read)
    with pool.transaction():
        pool.root["a"] = "new"
        thread.start()
        entered.wait(10)
        time.sleep(0.05)
        assert seen == []
        pool.root["a"] = "newer"
    thread.join(10)
    assert seen == ["newer"]


def test_waiting_for_a_transaction_times_out(medium: Medium, open_pool: Opener) -> None:
    """timeout= of the call, or of the pool; 0 means not to wait; math.inf means no limit."""
    pool = open_pool(medium.folder / "t.pool", timeout=0.05)

    def put_late() -> None:
        with pool.transaction(timeout=math.inf):
            pool.root["late"] = 1

    with pool.transaction():
        for limit in (0.05, 0, None):
            start = time.monotonic()
            with pytest.raises(TransactionError, match=r"too long|another thread"):
                in_thread(lambda limit=limit: pool.transaction(timeout=limit).__enter__())
            assert time.monotonic() - start < 2
        patient = threading.Thread(target=put_late)
        patient.start()
        time.sleep(0.1)  # longer than the pool's limit
        pool.root["early"] = 1
    patient.join(10)
    assert list(pool.root) == ["early", "late"]


def test_threads_that_write_alone_all_arrive(pool: Pool) -> None:
    """Autocommitted puts of many threads are all there."""
    pool.root["d"] = {}
    stored = pool.root["d"]

    def write(thread: int) -> None:
        for i in range(100):
            stored[thread, i] = i

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(write, range(8)))
    assert len(stored) == 800
    assert all(stored[t, i] == i for t in range(8) for i in range(100))


def test_counter_of_many_threads_is_exact(pool: Pool) -> None:
    """Read-modify-write in a transaction loses no increment."""
    pool.root["n"] = 0

    def count() -> None:
        for _ in range(50):
            with pool.transaction():
                pool.root["n"] += 1

    with ThreadPoolExecutor(6) as executor:
        for future in [executor.submit(count) for _ in range(6)]:
            future.result(30)
    assert pool.root["n"] == 300


def test_transaction_of_a_dead_thread_rolls_back(pool: Pool) -> None:
    """A thread that ends inside a block leaves no lock and no writes behind."""
    kept = []

    def enter_and_die() -> None:
        tx = pool.transaction()
        tx.__enter__()
        pool.root["a"] = 1
        kept.append(tx)

    thread = threading.Thread(target=enter_and_die)
    thread.start()
    thread.join(10)
    assert pool.root == {}
    pool.root["b"] = 2
    assert pool.root == {"b": 2}


def test_forgotten_transaction_object_rolls_back(pool: Pool) -> None:
    """A block entered by hand and dropped is rolled back when the object goes."""
    tx = pool.transaction()
    tx.__enter__()
    pool.root["a"] = 1
    del tx
    gc.collect()
    assert pool.root == {}


def test_blocks_closed_out_of_order_are_rolled_back(pool: Pool) -> None:
    """Leaving the outer block while an inner one is open is an error, and nothing commits."""
    outer, inner = pool.transaction(), pool.transaction()
    outer.__enter__()
    inner.__enter__()
    pool.root["a"] = 1
    with pytest.raises(TransactionError, match="still open"):
        outer.__exit__(None, None, None)
    assert pool.root == {}
    with pytest.raises(TransactionError):
        inner.__exit__(None, None, None)


def test_transaction_larger_than_the_log(medium: Medium, open_pool: Opener) -> None:
    """A block of ten times the log's size commits as a whole, and rolls back as a whole."""
    pool = open_pool(medium.folder / "t.pool", size="2M", log_size="64K")
    pool.root["d"] = dict.fromkeys(range(3000), b"0" * 100)
    stored = pool.root["d"]
    with pytest.raises(Abort), pool.transaction():
        for i in range(3000):
            stored[i] = b"1" * 300
        raise Abort
    assert set(stored.values()) == {b"0" * 100}
    with pool.transaction():
        for i in range(3000):
            stored[i] = b"2" * 300
    pool.close()
    pool = open_pool(medium.folder / "t.pool")
    assert set(pool.root["d"].values()) == {b"2" * 300}


def test_full_pool_rolls_back_and_stays_usable(medium: Medium, open_pool: Opener) -> None:
    """PoolFullError names the numbers; the block is as before the operation."""
    pool = open_pool(medium.folder / "t.pool", size="1M", limit="1M")
    pool.root["a"] = 1
    with pytest.raises(pmemstore.PoolFullError) as caught:
        pool.root["big"] = b"x" * 10_000_000
    assert caught.value.wanted is not None
    assert caught.value.wanted >= 10_000_000
    assert caught.value.found is not None
    with pytest.raises(pmemstore.PoolFullError), pool.transaction():
        for i in range(100_000):
            pool.root[i] = b"y" * 1000
    assert pool.root == {"a": 1}
    with pool.transaction():
        pool.root["b"] = 2
        with pytest.raises(pmemstore.PoolFullError):
            pool.root["big"] = b"x" * 10_000_000
        pool.root["c"] = 3
    assert pool.root == {"a": 1, "b": 2, "c": 3}
    assert pool.check().ok


def test_timeout_argument_is_checked(pool: Pool) -> None:
    """Negative and NaN are ValueErrors."""
    for bad in (-1, math.nan):
        with pytest.raises(ValueError, match="timeout"):
            pool.transaction(timeout=bad)


def test_the_pool_s_timeout_holds_for_single_operations_too(tmp_path: Path) -> None:
    """A put that waits for another thread's transaction gives up after the pool's timeout."""
    refused: list[BaseException] = []

    def put() -> None:
        for operation in (
            lambda: pool.root.__setitem__("a", 1),
            lambda: pool.root.get("a"),
            lambda: pool.root.update({"a": 1}),
            lambda: pool.root.__setitem__("b", {}),
        ):
            try:
                operation()
            except pmemstore.TransactionError as error:
                refused.append(error)

    with pmemstore.open(tmp_path / "timeout.pool", "c", timeout=0.05) as pool:
        with pool.transaction():
            pool.root["a"] = 0
            thread = threading.Thread(target=put)
            thread.start()
            thread.join()
        assert len(refused) == 4
        assert pool.root == {"a": 0}


def test_one_call_sees_one_state(pool: Pool) -> None:
    """Copies, comparisons and slices are one look, whatever other threads commit meanwhile."""
    size = 60
    pool.root.update(accounts=dict.fromkeys(range(size), 100), items=[100] * size)
    accounts, items = pool.root["accounts"], pool.root["items"]
    stop = threading.Event()

    def write() -> None:
        i = 0
        while not stop.is_set():
            i += 1
            with pool.transaction():
                accounts[i % size] -= 7
                accounts[i * 31 % size] += 7
                items.append(-5)
                items.append(5)
            with pool.transaction():
                del items[-2:]

    writer = threading.Thread(target=write)
    writer.start()
    found: set[int] = set()
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            found |= {
                sum(accounts.copy().values()),
                sum(copy.deepcopy(accounts).values()),
                sum((accounts | {}).values()),
                sum(items.copy()),
                sum(items[:]),
                sum(items[-2:]) and 100 * size,  # [100, 100] or [-5, 5]
            }
    finally:
        stop.set()
        writer.join(20)
    assert found <= {100 * size, 0}
    assert 100 * size in found
