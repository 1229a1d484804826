"""What the elements of an array are: the text that a pool keeps, and single elements without numpy.

The text is numpy's type string (``<f8``, ``|S5``, ``<M8[ns]``), or, for structured elements, JSON:
a list of fields ``[name, type]`` or ``[name, type, shape]``, as numpy's ``dtype.descr`` has them
(docs/format.md, "Array").
"""

from __future__ import annotations

import importlib
import json
import operator
import re
import struct
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from pmemstore.errors import NotPersistableError, PoolCorruptError

__all__ = ["Elements", "describe", "elements", "need_numpy", "numpy"]

_SIMPLE = re.compile(r"([<>|])([biufcSUVMm])(\d{1,9})(\[[0-9A-Za-z/]{1,20}\])?")
_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
_DATES = "Mm"
_CODES = {"b1": "?", "f2": "e", "f4": "f", "f8": "d"} | {
    f"{kind}{size}": code if kind == "i" else code.upper()
    for kind in "iu"
    for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
}
_DEPTH_MAX = 32
_ITEM_MAX = 2**31 - 1

Decode = Callable[[Any, int], Any]
Encode = Callable[[Any], bytes]


def numpy() -> Any:
    """Return the module numpy if the program has imported it, else None."""
    return sys.modules.get("numpy")


def need_numpy() -> Any:
    """Return the module numpy; imports it."""
    return importlib.import_module("numpy")


class Elements:
    """What one element of an array is.

    Attributes:
        text: As the pool keeps it.
        item: Bytes of an element.
        code: Code of ``struct`` and ``memoryview`` if an element is a native number, else "".
        decode: The element at a place of a buffer, as a Python object.
        encode: The bytes of an element.
    """

    __slots__ = ("_dtype", "code", "decode", "encode", "item", "text")

    def __init__(self, text: str, description: Any) -> None:
        self.text = text
        self.item, self.decode, self.encode = _codec(description, 0)
        if not 0 < self.item <= _ITEM_MAX:
            raise ValueError(f"elements of {self.item} bytes")
        self.code = ""
        if isinstance(description, str) and description[0] != ">":
            self.code = _CODES.get(description[1:], "")
        self._dtype: Any = None

    @property
    def dtype(self) -> Any:
        """The same for numpy."""
        if self._dtype is None:
            description = self.text if self.text[0] != "[" else _tuples(json.loads(self.text))
            self._dtype = need_numpy().lib.format.descr_to_dtype(description)
        return self._dtype

    @property
    def typecode(self) -> str:
        """Type code of ``array.array``, or ""."""
        return "" if self.code in "?e" else self.code


@lru_cache(maxsize=256)
def elements(text: bytes, item: int) -> Elements:
    """Return what a text of a pool says.

    Args:
        text: As the core gives it.
        item: Bytes of an element, as the array's header has it.

    Raises:
        PoolCorruptError: It says nothing, or something else.
    """
    try:
        decoded = text.decode()
        found = Elements(decoded, json.loads(decoded) if decoded[:1] == "[" else decoded)
    except (ValueError, TypeError, RecursionError) as error:
        raise PoolCorruptError(
            f"the type of an array is damaged: {text[:80]!r} ({error})"
        ) from None
    if found.item != item:
        raise PoolCorruptError(
            f"the type of an array is damaged: {text[:80]!r} has {found.item} bytes, and an "
            f"element {item}"
        )
    return found


def describe(dtype: Any) -> Elements:
    """Return what the elements of a numpy array are.

    Args:
        dtype: Of numpy.

    Raises:
        NotPersistableError: They refer to objects, or have no description that says all of it.
    """
    name = f"numpy.ndarray of {dtype!r}"
    if dtype.hasobject:
        raise NotPersistableError(
            f"{name}: cannot be kept in a pool: its elements are references to objects; use a "
            "list, or a dtype of numbers, texts of fixed length or records of these"
        )
    try:
        description = dtype.str if dtype.names is None else dtype.descr
        text = description if isinstance(description, str) else json.dumps(description)
        found = Elements(text, json.loads(text) if text[:1] == "[" else text)
        if found.item == dtype.itemsize and found.dtype == dtype:
            return found
        reason = "its description does not give it back"
    except (ValueError, TypeError) as error:
        reason = str(error)
    raise NotPersistableError(
        f"{name}: cannot be kept in a pool: {reason}; use a dtype of numbers of at most 64 bits, "
        "dates, texts of fixed length or records of these"
    )


def _tuples(description: list[Any]) -> list[tuple[Any, ...]]:
    """Fields from JSON, as numpy takes them."""
    fields: list[tuple[Any, ...]] = []
    for name, kind, *shape in description:
        field: tuple[Any, ...] = (
            tuple(name) if isinstance(name, list) else name,
            _tuples(kind) if isinstance(kind, list) else kind,
        )
        fields.append((*field, tuple(shape[0])) if shape else field)
    return fields


# ---- one element at a time


def _codec(description: Any, depth: int) -> tuple[int, Decode, Encode]:
    """Size, decoder and encoder of a description.  ValueError, TypeError: it is none."""
    if depth > _DEPTH_MAX:
        raise ValueError(f"fields within fields, more than {_DEPTH_MAX} deep")
    if isinstance(description, list):
        return _record(description, depth)
    match = _SIMPLE.fullmatch(description)
    if match is None:
        raise ValueError(f"unknown type {description!r}")
    order, kind, size, unit = match[1], match[2], int(match[3]), match[4]
    if (unit is not None and kind not in _DATES) or size not in _SIZES.get(kind, (size,)):
        raise ValueError(f"unknown type {description!r}")
    if kind in "iu":
        return size, *_integer(size, "big" if order == ">" else "little", kind == "i")
    if kind in "bfc":
        return size, *_number(kind, size, ">" if order == ">" else "<")
    if kind == "U":
        return 4 * size, *_text(4 * size, "utf-32-be" if order == ">" else "utf-32-le")
    if kind in "SV":
        return size, *_bytes(size, kind == "S")
    if size != 8:
        raise ValueError(f"unknown type {description!r}")
    return 8, *_date(description)


def _integer(size: int, order: Any, signed: bool) -> tuple[Decode, Encode]:
    def decode(data: Any, at: int) -> int:
        return int.from_bytes(data[at : at + size], order, signed=signed)

    def encode(value: Any) -> bytes:
        return operator.index(value).to_bytes(size, order, signed=signed)

    return decode, encode


def _number(kind: str, size: int, order: str) -> tuple[Decode, Encode]:
    if kind == "c":
        pair = struct.Struct(order + ("ff" if size == 8 else "dd"))

        def decode_complex(data: Any, at: int) -> complex:
            return complex(*pair.unpack_from(data, at))

        def encode_complex(value: Any) -> bytes:
            if isinstance(value, (str, bytes)):
                raise TypeError(f"must be a number, not {type(value).__name__}")
            number = complex(value)
            return pair.pack(number.real, number.imag)

        return decode_complex, encode_complex
    one = struct.Struct(order + _CODES[f"{kind}{size}"])

    def decode(data: Any, at: int) -> Any:
        return one.unpack_from(data, at)[0]

    def encode(value: Any) -> bytes:
        try:
            return one.pack(value)
        except struct.error:
            raise TypeError(f"must be a number, not {type(value).__name__}") from None

    return decode, encode


def _text(size: int, codec: str) -> tuple[Decode, Encode]:
    def decode(data: Any, at: int) -> str:
        try:
            text = bytes(data[at : at + size]).decode(codec, "surrogatepass")
        except UnicodeDecodeError as error:
            raise PoolCorruptError(f"a text in an array is damaged: {error}") from None
        return text.rstrip("\0")

    def encode(value: Any) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"must be a str, not {type(value).__name__}")
        data = value.encode(codec, "surrogatepass")
        if len(data) > size:
            raise ValueError(f"{value!r} is longer than the {size // 4} characters of an element")
        return data.ljust(size, b"\0")

    return decode, encode


def _bytes(size: int, stripped: bool) -> tuple[Decode, Encode]:
    def decode(data: Any, at: int) -> bytes:
        found = bytes(data[at : at + size])
        return found.rstrip(b"\0") if stripped else found

    def encode(value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray)):
            raise TypeError(f"must be bytes, not {type(value).__name__}")
        if len(value) > size:
            raise ValueError(f"{value!r} is longer than the {size} bytes of an element")
        return bytes(value).ljust(size, b"\0")

    return decode, encode


def _date(text: str) -> tuple[Decode, Encode]:
    """Dates and spans of time are numpy's: only it can tell what they mean."""

    def decode(data: Any, at: int) -> Any:
        np = need_numpy()
        return np.frombuffer(bytes(data[at : at + 8]), np.dtype(text))[0]

    def encode(value: Any) -> bytes:
        np = need_numpy()
        found: bytes = np.asarray(value, np.dtype(text)).tobytes()
        return found

    return decode, encode


def _record(description: list[Any], depth: int) -> tuple[int, Decode, Encode]:
    fields: list[tuple[int, Decode, Encode]] = []
    total = 0
    gaps: list[int] = []
    for name, kind, *rest in description:
        size, decode, encode = _codec(kind, depth + 1)
        if rest:
            size, decode, encode = _repeated(rest[0], size, decode, encode)
        if name == "":
            gaps.append(len(fields))
        fields.append((total, decode, encode))
        total += size
        if total > _ITEM_MAX:
            raise ValueError("a record of more than 2 GiB")
    hidden = frozenset(gaps)
    shown = [field for i, field in enumerate(fields) if i not in hidden]

    def decode_record(data: Any, at: int) -> tuple[Any, ...]:
        return tuple(decode(data, at + place) for place, decode, _ in shown)

    def encode_record(value: Any) -> bytes:
        if not isinstance(value, (tuple, list)) or len(value) != len(shown):
            raise TypeError(f"must be a tuple of {len(shown)} values, not {value!r}")
        record = bytearray(total)
        for (place, _, encode), part in zip(shown, value, strict=True):
            data = encode(part)
            record[place : place + len(data)] = data
        return bytes(record)

    return total, decode_record, encode_record


def _repeated(shape: Any, size: int, decode: Decode, encode: Encode) -> tuple[int, Decode, Encode]:
    """An array inside a record."""
    for n in reversed(shape):
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"unknown shape {shape!r}")
        decode, encode = _row(n, size, decode, encode)
        size *= n
    return size, decode, encode


def _row(n: int, size: int, decode: Decode, encode: Encode) -> tuple[Decode, Encode]:
    def decode_row(data: Any, at: int) -> list[Any]:
        return [decode(data, at + i * size) for i in range(n if size else 0)]

    def encode_row(values: Any) -> bytes:
        parts: Iterable[Any] = list(values)
        data = b"".join(encode(value) for value in parts)
        if len(data) != n * size:
            raise ValueError(f"{len(data)} bytes for a field of {n * size}")
        return data

    return decode_row, encode_row
