"""Values that cannot be read here and now: kept as their bytes."""

from __future__ import annotations

from typing import final

__all__ = ["Opaque"]


@final
class Opaque:
    """A value that could not be read, as it lies in the pool.

    ``UnreadableValueError.value`` has it.  Stored at another place, in this pool or another one,
    it is the same value again: whoever knows its type reads it there.
    """

    __slots__ = ("_data",)
    _data: bytes

    def __init__(self) -> None:
        raise TypeError("an Opaque comes from the value of an UnreadableValueError")

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, Opaque) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        return f"<Opaque value of {len(self._data)} bytes>"


def opaque_of(data: bytes) -> Opaque:
    """Wrap the bytes of a packed cell."""
    opaque = Opaque.__new__(Opaque)
    opaque._data = data
    return opaque


def data_of(opaque: Opaque) -> bytes:
    """Return the bytes again."""
    return opaque._data
