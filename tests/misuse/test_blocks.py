"""Transactions that end in odd ways."""
# ruff: noqa: PT012 - the blocks that raise are what is rolled back

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import Pool, TransactionError

if TYPE_CHECKING:
    from conftest import Medium, Opener


def test_ctrl_c_rolls_back_wherever_it_strikes(pool: Pool) -> None:
    """SIGINT at random moments of a transfer: the sum is always right, and no block stays open."""
    pool.root.update(a=1000, b=0, log=[])
    interrupts = transfers = 0
    armed = False
    stop = threading.Event()

    def interrupt() -> None:
        while not stop.wait(0.002):
            os.kill(os.getpid(), signal.SIGINT)

    def strike(number: int, frame: object) -> None:
        """As Python's own handler, but only while the test is ready for it."""
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    thread = threading.Thread(target=interrupt)
    previous = signal.signal(signal.SIGINT, strike)
    try:
        thread.start()
        while interrupts < 40:
            try:
                armed = True
                while True:
                    with pool.transaction():
                        pool.root["a"] -= 1
                        pool.root["log"].append(os.urandom(20))
                        pool.root["b"] += 1
                    transfers += 1
            except KeyboardInterrupt:
                interrupts += 1
    finally:
        armed = False
        stop.set()
        thread.join()
        signal.signal(signal.SIGINT, previous)
    assert pool.root["a"] + pool.root["b"] == 1000
    assert pool.root["b"] == len(pool.root["log"])
    # One may strike between the commit and the counting of it.
    assert 0 <= pool.root["b"] - transfers <= interrupts
    with pool.transaction() as block:
        assert block is not None
    assert pool.check().ok


def test_ctrl_c_while_waiting_for_another_thread(pool: Pool) -> None:
    """A thread that waits for a transaction can be interrupted, and nothing of it stays."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.transaction():
            pool.root["holder"] = 1
            entered.set()
            leave.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(20)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt), pool.transaction():
            pool.root["waiter"] = 1
        assert time.monotonic() - start < 10
    finally:
        signal.signal(signal.SIGINT, previous)
        leave.set()
        holder.join()
    assert pool.root == {"holder": 1}


def test_generator_dropped_inside_its_block_rolls_back(pool: Pool) -> None:
    """A generator that is suspended in a block and forgotten leaves no writes and no lock."""

    def generate() -> Iterator[int]:
        with pool.transaction():
            pool.root["from the generator"] = 1
            yield 1
            pool.root["later"] = 2

    suspended = generate()
    assert next(suspended) == 1
    assert pool.root == {"from the generator": 1}, "one thread, one transaction"
    del suspended
    gc.collect()
    assert pool.root == {}
    pool.root["after"] = 1
    assert list(generate()) == [1]
    assert pool.root == {"after": 1, "from the generator": 1, "later": 2}


def test_generator_closed_after_an_outer_block_has_ended(pool: Pool) -> None:
    """Blocks that do not nest are an error, not a silent mixture."""

    def generate() -> Iterator[int]:
        with pool.transaction():
            pool.root["inner"] = 1
            yield 1

    suspended = generate()
    with pytest.raises(TransactionError, match="still open"), pool.transaction():
        pool.root["outer"] = 1
        next(suspended)
    assert pool.root == {}
    with pytest.raises(TransactionError):
        next(suspended)
    assert pool.root == {}
    pool.root["after"] = 1
    assert pool.check().ok


def test_coroutine_cancelled_inside_its_block_rolls_back(pool: Pool) -> None:
    """A task that is cancelled at an await inside a block is an exception like any other."""

    async def work() -> None:
        with pool.transaction():
            pool.root["a"] = 1
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert pool.root == {}


def test_block_of_a_dead_thread_rolls_back_for_those_who_wait(pool: Pool) -> None:
    """Threads that already wait get in when the owner dies without leaving its block."""
    pool.root["n"] = 0
    kept, entered, die = [], threading.Event(), threading.Event()

    def enter_and_die() -> None:
        block = pool.transaction()
        block.__enter__()
        kept.append(block)
        pool.root["n"] = 100
        entered.set()
        die.wait(20)

    def count() -> None:
        with pool.transaction():
            pool.root["n"] += 1

    owner = threading.Thread(target=enter_and_die)
    owner.start()
    entered.wait(20)
    waiters = [threading.Thread(target=count) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    time.sleep(0.05)
    die.set()
    for thread in (owner, *waiters):
        thread.join(20)
        assert not thread.is_alive()
    assert pool.root == {"n": 3}
    assert pool.check().ok


def test_block_left_by_another_thread_is_refused(pool: Pool) -> None:
    """A transaction belongs to the thread that entered it."""
    errors = []
    block = pool.transaction()
    block.__enter__()
    pool.root["a"] = 1

    def leave() -> None:
        try:
            block.__exit__(None, None, None)
        except TransactionError as error:
            errors.append(str(error))

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join(20)
    assert len(errors) == 1
    block.__exit__(None, None, None)
    assert pool.root == {"a": 1}


def test_pool_closed_inside_a_block_rolls_back(pool: Pool) -> None:
    """close() ends the transaction; leaving its block says that the pool is closed."""
    pool.root["a"] = 1

    def block() -> None:
        with pool.transaction():
            pool.root["a"] = 2
            pool.close()

    with pytest.raises((ValueError, TransactionError)):
        block()
    assert pool.closed


def test_a_block_that_another_thread_drops_is_rolled_back(pool: Pool) -> None:
    """The thread that began it is alive, but can end it no more: its next write is its own."""

    def suspended() -> Iterator[None]:
        with pool.transaction():
            pool.root["in the block"] = 1
            yield

    held: list[Iterator[None]] = [suspended()]
    next(held[0])
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    gc.collect()
    pool.root["after"] = 1
    path = pool.path
    pool.close()
    with pmemstore.open(path, "w") as again:
        assert again.root == {"after": 1}


def test_threads_that_copy_between_two_pools_do_not_wait_for_each_other(
    medium: Medium, open_pool: Opener
) -> None:
    """A container of another pool is read before this pool's transaction begins."""
    pools = [open_pool(medium.folder / f"{name}.pool", "n", timeout=20) for name in "ab"]
    for pool in pools:
        pool.root["x"] = {"items": list(range(50))}
    errors: list[BaseException] = []

    def copy(source: Pool, target: Pool) -> None:
        try:
            for i in range(150):
                target.root["copy"] = source.root["x"]
                target.root.update({"copies": source.root["x"]})
                target.root.setdefault(("once", i), source.root["x"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=copy, args=order) for order in (pools, pools[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for pool in pools:
        assert pool.root["copy"] == pool.root["copies"] == {"items": list(range(50))}
