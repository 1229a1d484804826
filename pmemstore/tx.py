"""Transactions: after a crash, all of a block's writes are there, or none.

Scope: one writer per pool, from begin to commit; other threads wait and never see what is not
committed.  Cost: see ``docs/guarantees.md``; an empty transaction costs nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pmemstore.errors import TransactionError

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Transaction"]

P = ParamSpec("P")
R = TypeVar("R")
Hook = TypeVar("Hook", bound=Callable[[], object])


class Transaction(_slots.TransactionBase):
    """A block that commits when it ends and rolls back when an exception leaves it.

    Made by ``Pool.transaction()``.  A block inside a block of the same thread is a savepoint: an
    inner roll-back leaves the outer block's writes alone, and nothing is durable before the
    outermost block ends.  Without a block every operation is a transaction of its own.

    Args:
        pool: The pool.
        timeout: Seconds to wait while another thread has a transaction; None: no limit.

    Durability:
        When the outermost block has ended without an exception, its writes are durable on
        every tier but ``volatile``.

    Thread safety:
        Belongs to the thread that entered it.  Others wait at their next operation.

    Example:
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> with pool.transaction():
        ...     pool.root["a"] = 1
        >>> try:
        ...     with pool.transaction():
        ...         pool.root["a"] = 2
        ...         raise KeyError("no")
        ... except KeyError:
        ...     print(pool.root["a"])
        1
        >>> pool.close()
    """

    __slots__ = ()

    def on_commit(self, hook: Hook, /) -> Hook:
        """Call ``hook()`` once this block is committed and durable, outside the transaction.

        In an inner block the call waits for the outermost one, and is forgotten if an outer
        block rolls back.  An exception in a hook is raised out of the ``with`` statement; the
        transaction stays committed and the other hooks run.  Usable as a decorator.

        Args:
            hook: Called without arguments, in the order of registration.

        Returns:
            The hook.

        Raises:
            TransactionError: The block is not open.
        """
        self._add("_on_commit", hook)
        return hook

    def on_abort(self, hook: Hook, /) -> Hook:
        """Call ``hook()`` once this block is rolled back, by itself or with an outer one.

        Args:
            hook: Called without arguments, in the order of registration.

        Returns:
            The hook.

        Raises:
            TransactionError: The block is not open.
        """
        self._add("_on_abort", hook)
        return hook

    def _add(self, name: str, hook: Callable[[], object]) -> None:
        if not callable(hook):
            raise TypeError(f"a hook must be callable, not {type(hook).__name__}")
        if self._depth == 0:
            raise TransactionError(
                "this transaction is not open: register hooks inside its block, as in "
                "'with pool.transaction() as tx: tx.on_commit(f)'"
            )
        hooks = getattr(self, name)
        if hooks is None:
            setattr(self, name, [hook])
        else:
            hooks.append(hook)

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Decorate a function: each call runs in a transaction of its own.

        Args:
            function: No generator and no coroutine: these leave and come back, and a
                transaction belongs to one uninterrupted stretch of one thread.

        Returns:
            The function, wrapped.

        Raises:
            TypeError: For generator and coroutine functions.
        """
        if not callable(function):
            raise TypeError(f"transaction() decorates functions, not {type(function).__name__}")
        for test, kind in _SUSPENDING:
            if test(function):
                raise TypeError(
                    f"transaction() cannot decorate the {kind} {function.__qualname__}: its body "
                    "runs in pieces, and other code would run inside the transaction between "
                    "them. Open the transaction inside, around the part that writes."
                )
        pool, timeout = self._pool, self._timeout

        @functools.wraps(function)
        def in_transaction(*args: P.args, **kwargs: P.kwargs) -> R:
            with Transaction(pool, timeout):
                return function(*args, **kwargs)

        return in_transaction


_SUSPENDING: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.iscoroutinefunction, "coroutine function"),
    (inspect.isasyncgenfunction, "asynchronous generator"),
    (inspect.isgeneratorfunction, "generator"),
)
