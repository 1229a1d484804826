"""Bytes of a pool as arrays in memory, and values as bytes: by numpy, if it is there."""

from __future__ import annotations

import array
import math
from typing import Any

from pmemstore.containers.elements import Elements, numpy

__all__ = ["pack", "packed_items", "plain", "shaped"]

_NUMPY_ONLY = "only numpy can use this index: import numpy, or use one axis at a time"


def plain(data: Any, kind: Elements, shape: tuple[int, ...]) -> Any:
    """Return elements as lists within lists.

    Args:
        data: Their bytes.
        kind: What they are.
        shape: Of the array; without axes it is one element.
    """
    if not shape:
        return kind.decode(data, 0)
    if kind.typecode:
        numbers: Any = memoryview(data)  # the code is not known to a type checker
        flat = numbers.cast(kind.code).tolist()
    else:
        flat = [kind.decode(data, at) for at in range(0, len(data), kind.item)]
    for n in reversed(shape[1:]):
        rows = len(flat) // n if n else 0
        flat = [flat[i * n : (i + 1) * n] for i in range(rows)]
    if math.prod(shape):
        return flat
    return _empty(shape)


def _empty(shape: tuple[int, ...]) -> list[Any]:
    return [_empty(shape[1:]) for _ in range(shape[0])] if len(shape) > 1 else []


def shaped(
    data: bytearray, kind: Elements, shape: tuple[int, ...], rest: Any, *, writable: bool = False
) -> Any:
    """Return elements as an array in memory that takes over their bytes.

    Args:
        data: Their bytes.
        kind: What they are.
        shape: Of all of them.
        rest: Index into that array; None: all.
        writable: It must be a view of `data`.
    """
    np = numpy()
    if np is not None:
        whole = np.frombuffer(data, kind.dtype) if data else np.empty(0, kind.dtype)
        found = whole.reshape(shape)
        return found if rest is None else found[rest]
    if rest is not None:
        row = math.prod(shape[1:]) * kind.item
        if isinstance(rest, slice):
            rows = range(shape[0])[rest]
            data = bytearray().join(data[i * row : (i + 1) * row] for i in rows)
            shape = (len(rows), *shape[1:])
        elif isinstance(rest, int):
            shape = shape[1:]
        else:
            raise TypeError(_NUMPY_ONLY)
    if not writable and not shape:
        return kind.decode(data, 0)
    if not writable and len(shape) == 1 and kind.typecode:
        return array.array(kind.typecode, bytes(data))
    view: Any = memoryview(data)
    if kind.code not in ("", "e") and len(data) > 0:  # memoryview knows no "e"
        return view.cast(kind.code, tuple(shape))
    return view if writable else plain(data, kind, shape)


def pack(value: Any, kind: Elements, shape: tuple[int, ...], exact: bool = False) -> Any:
    """Return the bytes of a value that is assigned to so many elements.

    Args:
        value: Array or nested sequences of this shape, or, unless `exact`, what numpy would
            broadcast to it; without numpy that is one element.
        kind: What the elements are.
        shape: Of the elements.
        exact: The value must have this shape.

    Raises:
        ValueError: Another shape.
        TypeError, OverflowError: Something that is no such element.
    """
    np = numpy()
    if np is None or (not shape and not hasattr(value, "dtype")):
        return _pack_plain(value, kind, shape, exact)
    data = bytearray(math.prod(shape) * kind.item)
    if exact:
        value = np.asarray(value, None if hasattr(value, "dtype") else kind.dtype)
        if value.shape != tuple(shape) and data:
            raise ValueError(f"items of shape {value.shape[1:]} do not fit {tuple(shape[1:])}")
    if data:
        np.frombuffer(data, kind.dtype).reshape(shape)[...] = value
    return data


def packed_items(
    value: Any, kind: Elements, shape: tuple[int, ...], rest: Any, data: bytearray
) -> None:
    """Assign to some elements of an array in memory.

    Args:
        value: As `pack` takes it.
        kind: What the elements are.
        shape: Of the array.
        rest: Index into it.
        data: Its bytes, changed in place.
    """
    np = numpy()
    if np is not None:
        if data:
            np.frombuffer(data, kind.dtype).reshape(shape)[rest] = value
        return
    row = math.prod(shape[1:]) * kind.item
    if isinstance(rest, int):
        data[:] = _pack_plain(value, kind, shape[1:], False)
    elif isinstance(rest, slice):
        rows = range(shape[0])[rest]
        packed = _pack_plain(value, kind, (len(rows), *shape[1:]), False)
        for n, i in enumerate(rows):
            data[i * row : (i + 1) * row] = packed[n * row : (n + 1) * row]
    else:
        raise TypeError(_NUMPY_ONLY)


def _pack_plain(value: Any, kind: Elements, shape: tuple[int, ...], exact: bool) -> bytes:
    if hasattr(value, "tolist") and not isinstance(value, array.array):
        value = value.tolist()
    if not shape:
        return kind.encode(value)
    if not isinstance(value, (list, tuple, array.array)) and not exact:
        return kind.encode(value) * math.prod(shape)
    if len(value) != shape[0]:
        raise ValueError(f"cannot put {len(value)} items where {shape[0]} are")
    return b"".join(_pack_plain(item, kind, shape[1:], exact) for item in value)
