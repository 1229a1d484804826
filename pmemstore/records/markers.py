"""Types of record fields that annotations can name.

Type checkers see the builtin behind a marker: ``int8`` is an int to them.

Example:
    >>> from typing import Annotated
    >>> import pmemstore as ps
    >>> @ps.record
    ... class Sample:
    ...     code: Annotated[str, ps.fixed(8)]                       # 8 bytes of UTF-8
    ...     level: ps.int16
    ...     trace: Annotated[tuple[int, ...], ps.array_of(ps.uint8, 4)]
    >>> Sample("a", -3, (1, 2, 3, 4))
    Sample(code='a', level=-3, trace=(1, 2, 3, 4))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

from pmemstore._native import lib

__all__ = [
    "ArrayOf",
    "Fixed",
    "Inline",
    "Native",
    "array_of",
    "fixed",
    "float32",
    "float64",
    "inline",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


@dataclass(frozen=True, slots=True)
class Native:
    """A number of a fixed width: the metadata behind ``int8`` and so on."""

    name: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A str or bytes that lies in the record itself, in room of a fixed size."""

    size: int


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """A fixed number of numbers in a row."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Inline:
    """A record that lies inside another one, and is not shared."""


int8 = Annotated[int, Native("int8")]
int16 = Annotated[int, Native("int16")]
int32 = Annotated[int, Native("int32")]
int64 = Annotated[int, Native("int64")]
uint8 = Annotated[int, Native("uint8")]
uint16 = Annotated[int, Native("uint16")]
uint32 = Annotated[int, Native("uint32")]
uint64 = Annotated[int, Native("uint64")]
float32 = Annotated[float, Native("float32")]
float64 = Annotated[float, Native("float64")]

inline: Final = Inline()
"""``Annotated[Point, inline]``: a Point inside the record, not a reference to one."""


def fixed(size: int) -> Fixed:
    """Mark a str or bytes that lies in the record itself.

    As in ``Annotated[str, fixed(16)]``.

    Args:
        size: Most bytes; of a str, of its UTF-8.  1 to 4096.

    Raises:
        ValueError: The size is out of range.
    """
    if not 1 <= size <= lib.PMS_FIXED_MAX:
        raise ValueError(f"fixed({size}): 1 to {lib.PMS_FIXED_MAX} bytes")
    return Fixed(size)


def array_of(item: Any, count: int) -> ArrayOf:
    """Mark a fixed array of numbers.

    As in ``Annotated[tuple[int, ...], array_of(int32, 4)]``.  Its value is a tuple;
    any iterable of so many numbers can be assigned.

    Args:
        item: ``bool``, ``float``, or one of ``int8`` to ``float64``.
        count: How many; all of them have to fit a record.

    Raises:
        TypeError: Not a number of a fixed width.
        ValueError: The count is not positive.
    """
    names = [one.name for one in get_args(item)[1:] if isinstance(one, Native)]
    if item is bool or item is float:
        names = ["bool" if item is bool else "float64"]
    if not names:
        raise TypeError(
            f"array_of({item!r}, ...): an array is of bool, float, int8 ... uint64, float32 or "
            "float64"
        )
    if count < 1:
        raise ValueError(f"array_of(..., {count}): at least one item")
    return ArrayOf(names[0], count)
