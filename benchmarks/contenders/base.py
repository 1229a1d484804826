"""What a contender is: a store, what its durability is worth, and what it does for each operation.

An operation is a statement in Python, as a user of that store would write it; the harness puts it
into a loop (as timeit does), so that nothing stands between the clock and the store.  Statements
see the names that ``names()`` gives and these, as far as the workload has them:

    key     str of 16 characters        value   bytes
    number  index, or a field           pairs   list of (key, value)
    batch   dict of the same pairs      got     to be set to what was read
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

Pair = tuple[str, bytes]


class Rollback(Exception):
    """Leaves a block that has to be undone."""


@dataclass(frozen=True)
class Durability:
    """What is left of an operation that has returned, if the power fails.

    Attributes:
        key: Contenders of equal key are compared; others never share a ratio or a bar.
        words: The same in a sentence.
    """

    key: str
    words: str


DURABLE_ATOMIC = "durable+atomic"
DURABLE_ATOMIC_RAM = "durable+atomic, in RAM"
DURABLE = "durable, not atomic"
UNSYNCED = "unsynced"
VOLATILE = "volatile"
FLOOR = "floor"


class Contender(ABC):
    """One store of one configuration, open in a directory.

    Args:
        folder: For its files alone; may hold those of an earlier life.
        only_data: Open no more than ``get`` needs: no counter, no list.
    """

    name: ClassVar[str]
    #: Distribution on the package index; None: of the standard library, or the library itself.
    package: ClassVar[str | None] = None
    #: Modules to import, if not named like the distribution.
    modules: ClassVar[tuple[str, ...]] = ()
    #: {operation: statement}.
    statements: ClassVar[dict[str, str]]
    #: {operation: why there is none}.
    lacks: ClassVar[dict[str, str]] = {}
    #: {operation: why it is left out where a store has many items}.
    too_slow: ClassVar[dict[str, str]] = {}
    #: More items than this take it too long to load.
    items_max: ClassVar[int] = 100_000_000
    #: Whether several threads may commit; each gets ``thread_names()``.
    threads: ClassVar[bool] = True
    #: Whether its files can be opened again.
    persistent: ClassVar[bool] = True

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        self.folder = folder

    @property
    @abstractmethod
    def durability(self) -> Durability: ...

    @abstractmethod
    def data_names(self) -> dict[str, Any]:
        """Names for ``put``, ``get`` and ``delete``; all that there are with ``only_data``."""

    def names(self) -> dict[str, Any]:
        """Names for all statements."""
        return self.data_names()

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def items(self) -> Iterable[Pair]:
        """All keys and values."""

    @abstractmethod
    def counted(self) -> int:
        """The counter."""

    @abstractmethod
    def listed(self) -> list[bytes]:
        """The list."""

    def recorded(self) -> float:
        """The field of the record, if there is one."""
        raise LookupError(f"{self.name} has no records")

    @abstractmethod
    def put_all(self, pairs: list[Pair]) -> None:
        """Put in one transaction, the quickest way there is."""

    def thread_names(self) -> AbstractContextManager[dict[str, Any]]:
        """Names for one thread of several, as a context manager."""
        return nullcontext(self.names())

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here; None: it can."""
        lacking = [name for name in cls.needed() if importlib.util.find_spec(name) is None]
        return f"not installed: {', '.join(lacking)}" if lacking else None

    @classmethod
    def needed(cls) -> tuple[str, ...]:
        return cls.modules or ((cls.package,) if cls.package else ())

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.package) if cls.package else "standard library"

    def load(self, pairs: Iterator[Pair], batch: int = 10_000) -> None:
        """Put so many in each transaction."""
        while block := list(islice(pairs, batch)):
            self.put_all(block)

    def why_not(self, operation: str) -> str | None:
        """Why there is no such operation, or none with many items; None: there is."""
        if operation in self.statements:
            return self.too_slow.get(operation)
        return self.lacks.get(operation, "no such operation")


def lines(*text: str) -> str:
    return "\n".join(text)
