"""A bug that only a power cut shows: found, explained, fixed, and shown to be gone.

A ticket shop sells a seat: the seat is taken, and the price is added to the till.  Both statements
are durable when they are done, and every ordinary test passes.  ``crash_check`` looks at what is
left if the machine stops at any moment in between.

python examples/02_crash_test.py
"""

import sys

import pmemstore
from pmemstore.testing import CrashViolation, acknowledge, crash_check

PRICE = 25


def open_shop(pool: pmemstore.Pool) -> None:
    pool.root.update(seats={"A1": None, "A2": None, "A3": None}, till=0)


def sell_wrong(pool: pmemstore.Pool, seat: str, buyer: str) -> None:
    pool.root["seats"][seat] = buyer
    pool.root["till"] += PRICE
    acknowledge(seat)  # here the buyer gets the ticket


def sell(pool: pmemstore.Pool, seat: str, buyer: str) -> None:
    with pool.transaction():
        pool.root["seats"][seat] = buyer
        pool.root["till"] += PRICE
    acknowledge(seat)


def evening_wrong(pool: pmemstore.Pool) -> None:
    sell_wrong(pool, "A1", "Ada")
    sell_wrong(pool, "A2", "Grace")


def evening(pool: pmemstore.Pool) -> None:
    sell(pool, "A1", "Ada")
    sell(pool, "A2", "Grace")


def books_balance(pool: pmemstore.Pool, tickets: tuple[str, ...]) -> None:
    """What must be true of the pool after any crash, and of the tickets that were handed out."""
    seats = pool.root["seats"]
    sold = [seat for seat, buyer in seats.items() if buyer is not None]
    assert pool.root["till"] == PRICE * len(sold), f"{len(sold)} sold, {pool.root['till']} paid"
    for seat in tickets:
        assert seat in sold, f"{seat} was sold, and is free again"


def main() -> int:
    try:
        crash_check(evening_wrong, books_balance, setup=open_shop, keep=None)
    except CrashViolation as violation:
        print("two statements, two units of work:\n")
        print(violation)
    else:
        print("the bug was not found")
        return 1
    print("\nthe same in one transaction:\n")
    print(crash_check(evening, books_balance, setup=open_shop, keep=None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
