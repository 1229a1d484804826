"""Every exception that pmemstore defines.

A message says what failed, where, the numbers, what state is left, and what to do; the numbers
are attributes too.  Wrong arguments raise the builtins that dict and list would raise, and a
failed system call raises OSError.  Where a builtin also fits, a class here derives from both.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DurabilityError",
    "HealthWarning",
    "MediaError",
    "NotPersistableError",
    "PmemstoreError",
    "PoolBusyError",
    "PoolClosedError",
    "PoolCorruptError",
    "PoolFormatError",
    "PoolFullError",
    "SchemaMismatchError",
    "StaleRefError",
    "TransactionError",
    "UnknownTypeError",
    "UnpackError",
    "UnreadableValueError",
]


class PmemstoreError(Exception):
    """Base of all exceptions of this package.

    Attributes:
        path: Pool file, if known.
        offset: Where in the file, in bytes from its start, if it has a place.
        wanted: Bytes asked for, or the value expected; a DurabilityError: name of a tier.
        found: Bytes available, or the value found; the same.
    """

    path: str | None
    offset: int | None
    wanted: int | str | None
    found: int | str | None

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        offset: int | None = None,
        wanted: int | str | None = None,
        found: int | str | None = None,
    ) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset
        self.wanted = wanted
        self.found = found


class PoolFormatError(PmemstoreError):
    """Not a pool, or one with a version or feature that this release does not know."""


class PoolCorruptError(PmemstoreError):
    """The pool holds bytes that this library cannot have written."""


class PoolFullError(PmemstoreError):
    """No space in the pool: ``wanted`` bytes asked for, ``found`` available."""


class PoolBusyError(PmemstoreError):
    """Another process, or another Pool object of this one, holds the pool.

    Attributes:
        pid: Process that holds it; None if the system does not say.
    """

    pid: int | None = None


class PoolClosedError(PmemstoreError, ValueError):
    """The pool is closed, or belongs to the parent of this process.

    A ValueError too, as for any closed file.
    """


class DurabilityError(PmemstoreError):
    """The medium cannot give the durability, or the protection, that the caller demanded.

    Attributes:
        wanted: The tier that was demanded, by name, like ``flush``; None: it is not about tiers.
        found: The tier that there is.
        reason: Why, in words; None if not known.
        errno: Of the system call that refused a protection, or None.
    """

    reason: str | None = None
    errno: int | None = None


class HealthWarning(PmemstoreError, UserWarning):
    """The medium of a pool may have lost data; ``Pool.health()`` says more.

    A warning, and raised only where the filters of ``warnings`` make errors of them.
    """


class TransactionError(PmemstoreError):
    """Not possible in this state: read-only pool, wrong thread, nested or ended transaction."""


class StaleRefError(PmemstoreError, ReferenceError):
    """The object behind this proxy is gone, because its transaction was rolled back."""


class SchemaMismatchError(PmemstoreError, TypeError):
    """A record class does not fit the schema that the pool stores under its name."""


class NotPersistableError(PmemstoreError, TypeError):
    """An object of this type cannot be kept in a pool.

    Attributes:
        parts: Its place, its type and what to do instead; None if not known.
        located: Whether the place begins at the pool's root, and not inside the value.
    """

    parts: tuple[str, str, str] | None = None
    located: bool = False


class UnreadableValueError(PmemstoreError):
    """A stored value is sound, but cannot be made into an object here.

    Attributes:
        name: Of the type, or of the time zone, that is missing.
        value: The whole value that was read, as an ``Opaque``, which can be stored elsewhere.
            None if the error did not come from reading a value.
    """

    def __init__(self, message: str = "", *, name: str | None = None, **numbers: Any) -> None:
        super().__init__(message, **numbers)
        self.name = name
        self.value: Any = None


class UnknownTypeError(UnreadableValueError, LookupError):
    """A stored value is of a type, or an enum member, that is not known here."""


class UnpackError(UnreadableValueError, ValueError):
    """The function that was registered to make objects of stored values raised an exception.

    That one is the ``__cause__``.
    """


class MediaError(PmemstoreError, OSError):
    """The medium failed under the pool, which is read-only from then on.

    The outcome of the transaction in question is unknown until the pool is opened again.

    Attributes:
        errno: Of the failed system call, or EIO for a SIGBUS under the mapping.
    """

    def __init__(self, message: str = "", *, errno: int | None = None, **numbers: Any) -> None:
        super().__init__(message, **numbers)
        self.errno = errno

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError keeps errno outside __dict__, where copies between processes lose it.
        return type(self), self.args, {**self.__dict__, "errno": self.errno}
