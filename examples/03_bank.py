"""A bank whose books balance after any crash.

    python examples/03_bank.py [POOL]

Accounts are records: their balance is eight bytes in place in the pool.  A transfer changes two of
them and writes a line of the journal, in one transaction.  The program is killed again and again in
the middle of its work, and the books are looked at after each kill; then ``crash_check`` opens
every state that a power cut could leave of a few transfers.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pmemstore
from pmemstore.testing import acknowledge, crash_check

ACCOUNTS = 100
EACH = 1_000_00  # cents
KILLS = 5


class InsufficientFunds(Exception):
    """An account has less than is asked of it."""


@pmemstore.record
class Account:
    """Somebody's money."""

    owner: str
    cents: pmemstore.int64 = 0

    def withdraw(self, cents: int) -> None:
        if self.cents < cents:
            raise InsufficientFunds(f"{self.owner} has {self.cents}, not {cents}")
        self.cents -= cents


def found(pool: pmemstore.Pool, accounts: int = ACCOUNTS) -> None:
    """Open the bank, unless it is open."""
    with pool.transaction():
        pool.root.setdefault("journal", [])
        pool.root.setdefault("accounts", {n: Account(f"client {n}", EACH) for n in range(accounts)})


def transfer(pool: pmemstore.Pool, payer: int, payee: int, cents: int) -> None:
    """Move money; all of it happens, or, with an exception or a crash, nothing."""
    accounts = pool.root["accounts"]
    with pool.transaction():
        accounts[payee].cents += cents
        accounts[payer].withdraw(cents)  # may raise: then the payee's cents are taken back too
        pool.root["journal"].append((payer, payee, cents))
    acknowledge((payer, payee, cents))


def books_balance(
    pool: pmemstore.Pool, acknowledged: tuple[tuple[int, int, int], ...] = ()
) -> None:
    """Raise AssertionError unless the journal explains every balance, to the cent."""
    accounts, journal = pool.root["accounts"], list(pool.root["journal"])
    assert journal[: len(acknowledged)] == list(acknowledged), "an acknowledged transfer is missing"
    expected = dict.fromkeys(accounts, EACH)
    for payer, payee, cents in journal:
        expected[payer] -= cents
        expected[payee] += cents
    for number, account in accounts.items():
        assert account.cents == expected[number], f"{account}: the journal says {expected[number]}"
        assert account.cents >= 0, f"{account} is overdrawn"


def trade(path: str, seed: int) -> None:
    """Transfer at random, until somebody kills this process."""
    random.seed(seed)
    with pmemstore.open(path, "w") as pool:
        while True:
            payer, payee = random.sample(range(ACCOUNTS), 2)
            with contextlib.suppress(InsufficientFunds):  # rolled back: on with other clients
                transfer(pool, payer, payee, random.randrange(1, EACH))


def three_transfers(pool: pmemstore.Pool) -> None:
    transfer(pool, 0, 1, 300)
    try:
        transfer(pool, 0, 1, 2 * EACH)
    except InsufficientFunds:
        transfer(pool, 1, 0, EACH)


def main() -> int:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(tempfile.gettempdir()) / "bank.pool")
    with pmemstore.open(path, "c") as pool:
        found(pool)
    context = multiprocessing.get_context("spawn")
    for n in range(KILLS):
        trader = context.Process(target=trade, args=(str(path), n))
        trader.start()
        time.sleep(1.0)
        trader.kill()
        trader.join()
        assert trader.exitcode == -signal.SIGKILL
        with pmemstore.open(path, "w") as pool:
            books_balance(pool)
            assert pool.check().ok
            print(f"kill {n + 1}: {len(pool.root['journal'])} transfers, the books balance")
    print(crash_check(three_transfers, books_balance, setup=lambda pool: found(pool, 2), keep=None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
