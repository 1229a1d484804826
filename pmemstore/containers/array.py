"""The persistent array.

Items of native numbers, ``append`` and buffers are slots of the C type ``ArrayBase`` over the
core's arrays (``array.h``); here is what looks at shapes and types.  numpy is used if the program
has imported it, and where it is asked for.
"""

from __future__ import annotations

import array
import math
import operator
from collections.abc import Iterator, Sequence
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, SupportsIndex, TypeVar

from pmemstore._native import lib
from pmemstore.containers.convert import described_when_dead
from pmemstore.containers.elements import Elements, describe, elements, need_numpy, numpy
from pmemstore.containers.kinds import Kind, register
from pmemstore.containers.packing import pack, packed_items, plain, shaped
from pmemstore.errors import NotPersistableError

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Array", "ArrayWrite"]

T = TypeVar("T")

_PIECE = 1 << 18  # bytes that are written in one operation of a transaction
_SHOWN = 6
_SHOWN_BYTES = 4096

if TYPE_CHECKING:
    _Base = _slots.ArrayBase
else:

    class _Base(_slots.ArrayBase, Generic[T]):
        __slots__ = ()


class _Seen(NamedTuple):
    """What one look at an array has shown; good as long as the stamp is."""

    stamp: int
    shape: tuple[int, ...]
    kind: Elements
    capacity: int

    @property
    def row(self) -> int:
        """Bytes of an item of the first axis."""
        return math.prod(self.shape[1:]) * self.kind.item


class _Place(NamedTuple):
    """Items of the first axis that an index reaches, and what is left of the index for them."""

    first: int
    items: int
    rest: Any  # None: nothing


class Array(_Base[T]):
    """An array that lives in a pool.  Made by assigning a numpy array or an ``array.array``.

    Its elements lie in one block, in C order (other orders are stored as C order), and can be read
    where they are, without a copy: ``numpy.asarray(a)`` and ``memoryview(a)`` are views of the
    mapped file.  They are read-only.  What changes an array goes through its methods, and is
    logged.  numpy is optional.

    Read:       ``a[i]``, ``a[i:j]``, ``len(a)``, ``iter(a)``, ``v in a``, ``tolist``, ``tobytes``,
                ``copy``: copies; ``numpy.asarray(a)``, ``memoryview(a)``: views
    Change:     ``a[i] = v``, ``a[i:j] = vs``, ``fill``, ``with a.write(slice(i, j)) as view:``
    Grow:       ``append``, ``extend``, ``resize``
    Describe:   ``shape``, ``ndim``, ``size``, ``itemsize``, ``nbytes``, ``typestr``, ``dtype``

    Elements are bools, integers and floats of up to 64 bits, complex numbers, bytes and texts of
    fixed length, dates and spans of numpy, and records of these; in any byte order.  Single
    elements are read as Python objects (int, float, bytes, str, tuple for a record), dates as
    numpy's.  Anything larger is a copy in memory: a numpy array if the program has imported
    numpy, else an ``array.array``, a ``memoryview`` or a list.  Values are converted as numpy's
    assignment does; a single number that does not fit is an error.

    A view shows what is committed: changes of an open transaction are not in it before the
    commit, apart from those of a large one that are in place already.  So ``memoryview(a)`` is
    refused in a transaction that has changed the array, and ``numpy.asarray(a)`` is a copy there.
    The shape of an array cannot change while views of it exist (BufferError).  A view can be read
    after the pool was closed; it then shows what the file has at that place.  In the child of a
    ``fork()`` it shows zeroes.  If another task truncates the file a view reads zeroes there, and
    the next use of the pool raises MediaError.

    Durability:
        Every single method call is atomic, also ``extend`` and a slice assignment of any length;
        outside a transaction it is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.  Views do not wait: what another thread commits meanwhile may be
        seen in part.

    Complexity:
        An element: O(1).  A range: O(its length).  ``append``: amortised O(1).

    Example:
        >>> import array
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["prices"] = array.array("d", [1.5, 2.5])
        >>> prices = pool.root["prices"]
        >>> prices.append(4)
        >>> with prices.write(slice(0, 2)) as view:
        ...     view[0] = view[1] * 2
        >>> prices
        Array('<f8', (3,), [5.0, 2.5, 4.0])
        >>> memoryview(prices)[2]
        4.0
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as of a list

    # ---- what it is

    def _see(self) -> _Seen:
        stamp, shape, text, item, capacity = self._look()
        return _Seen(stamp, shape, elements(text, item), capacity)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._look()[1]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._look()[1])

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self._look()[1])

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self._look()[3]

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        _, shape, _, item, _ = self._look()
        return math.prod(shape) * item

    @property
    def typestr(self) -> str:
        """What an element is: numpy's type string, or JSON of ``dtype.descr`` for records."""
        return self._see().kind.text

    @property
    def dtype(self) -> Any:
        """What an element is, as numpy's ``dtype``; imports numpy."""
        return self._see().kind.dtype

    # ---- reading: the C subscript calls _getitem

    def _getitem(self, key: Any, /) -> Any:
        while True:
            seen = self._see()
            flat = _element(key, seen.shape)
            if flat is not None:
                data = self._read(seen.stamp, flat * seen.kind.item, seen.kind.item)
                if data is not None:
                    return seen.kind.decode(data, 0)
                continue
            place = _place(key, seen.shape)
            data = self._read_items(seen, place)
            if data is not None:
                shape = (place.items, *seen.shape[1:]) if seen.shape else ()
                return shaped(data, seen.kind, shape, place.rest)

    def _read_items(self, seen: _Seen, place: _Place) -> bytearray | None:
        if not seen.shape:
            return self._read(seen.stamp, 0, seen.kind.item)
        return self._read(seen.stamp, place.first * seen.row, place.items * seen.row)

    def _all(self) -> tuple[_Seen, bytearray]:
        """One look at everything."""
        while True:
            seen = self._see()
            data = self._read(seen.stamp, 0, math.prod(seen.shape) * seen.kind.item)
            if data is not None:
                return seen, data

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the first axis.

        Raises:
            RuntimeError: The shape was changed meanwhile.
        """
        stamp, length = self._stamp, len(self)
        for i in range(length):
            if self._stamp != stamp:
                raise RuntimeError("Array changed size during iteration")
            yield self[i]

    def tolist(self) -> Any:
        """Return the elements as a list, of lists if there are several axes."""
        seen, data = self._all()
        return plain(data, seen.kind, seen.shape)

    def tobytes(self) -> bytes:
        """Return the bytes of all elements, in C order."""
        return bytes(self._all()[1])

    def copy(self) -> Any:
        """Return a copy in memory: a numpy array if the program has imported numpy.

        Else an ``array.array``, if that can hold it, or what numpy, which is imported, makes.
        """
        seen, data = self._all()
        if numpy() is None and not (len(seen.shape) == 1 and seen.kind.typecode):
            need_numpy()
        return shaped(data, seen.kind, seen.shape, None)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo[id(self)] = self.copy()
        return copied

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Let numpy have it: a read-only view if possible, else a read-only copy."""
        np = need_numpy()
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise ValueError("an array of another dtype cannot be had without a copy")
            return self.__array__().astype(dtype)
        try:
            found = self._view(np)
        except BufferError:
            if copy is False:
                raise
            seen, data = self._all()
            found = shaped(data, seen.kind, seen.shape, None)
            found.flags.writeable = False
        return found.copy() if copy else found

    def _view(self, np: Any) -> Any:
        """A view for numpy, of any type."""
        while True:
            seen = self._see()
            held = memoryview(self._bytes())
            if self._stamp == seen.stamp:
                break
        if not held.nbytes:
            found = np.empty(seen.shape, seen.kind.dtype)
            found.flags.writeable = False
            return found
        return np.frombuffer(held, seen.kind.dtype).reshape(seen.shape)

    # ---- writing: the C subscript calls _setitem

    def _setitem(self, key: Any, value: Any, /) -> None:
        if not hasattr(value, "__len__") and hasattr(value, "__next__"):
            value = list(value)
        while True:
            seen = self._see()
            flat = _element(key, seen.shape)
            if flat is not None:
                data = pack(value, seen.kind, ())
                if self._write(seen.stamp, flat * seen.kind.item, data):
                    return
                continue
            place = _place(key, seen.shape)
            if place.rest is not None and not isinstance(place.rest, int):
                self._set_some(key, value)
                return
            shape = _shape_at(place, seen.shape)
            if self._put(seen, place.first * seen.row, pack(value, seen.kind, shape)):
                return

    def _set_some(self, key: Any, value: Any) -> None:
        """Elements that are not a range: what lies between them is written too, as it was."""
        with self._pool.transaction():
            seen = self._see()
            place = _place(key, seen.shape)
            data = self._read_items(seen, place)
            assert data is not None, "nobody else can change it now"
            rest = slice(None) if place.rest is None else place.rest
            packed_items(value, seen.kind, (place.items, *seen.shape[1:]), rest, data)
            if not self._put(seen, place.first * seen.row, data):
                raise RuntimeError("Array changed size during assignment")

    def _put(self, seen: _Seen, at: int, data: Any) -> bool:
        """Replace bytes, as one unit of work.  False: the shape has changed."""
        if len(data) <= _PIECE:
            return self._write(seen.stamp, at, data)
        with memoryview(data) as view, self._pool.transaction():
            return all(
                self._write(seen.stamp, at + i, view[i : i + _PIECE])
                for i in range(0, len(view), _PIECE)
            )

    def fill(self, value: Any) -> None:
        """Make all elements equal to a value.

        Args:
            value: For a single element.

        Complexity:
            O(size); one commit.
        """
        with self._pool.transaction():
            seen = self._see()
            total = math.prod(seen.shape) * seen.kind.item
            one = bytes(pack(value, seen.kind, ()))
            piece = one * min(max(_PIECE // len(one), 1), max(total // len(one), 1))
            for at in range(0, total, len(piece)):
                if not self._write(seen.stamp, at, piece[: total - at]):
                    raise RuntimeError("Array changed size during fill()")

    def write(self, key: Any = ..., /) -> ArrayWrite:
        """Write through a view: ``with a.write(slice(10, 20)) as view: view[0] = 1``.

        The view is memory, filled with the range: a numpy array if the program has imported
        numpy, else a memoryview.  The block is a transaction (or, inside one, a part of it): when
        it ends, the range becomes what the view has, and each word that has changed is logged
        once.  An exception discards the view's changes, and the block's other changes with
        them.  Afterwards the view is memory that nothing looks at; a numpy view is read-only.

        Args:
            key: An index, a slice with step 1, or ``...`` for everything.

        Returns:
            A context manager, to be used once; it gives the view.

        Raises:
            IndexError: No such index.
            TypeError: A key that is no range of the first axis.

        Complexity:
            O(length of the range), in memory too; one fence if it fits the log.
        """
        return ArrayWrite(self, key)

    # ---- shape

    def _append_item(self, value: Any, /) -> None:
        while True:
            seen = self._see()
            if not seen.shape:
                raise TypeError("an array without axes cannot grow")
            if self._grow(seen, 1, pack(value, seen.kind, seen.shape[1:])):
                return

    def extend(self, values: Any) -> None:
        """Add items behind the last one, all or none.

        Args:
            values: Array or sequence of items; its shape fits, apart from the first axis.

        Raises:
            ValueError: Another shape.
            BufferError: There are views of the array.

        Complexity:
            Amortised O(number of items); one commit.
        """
        if not hasattr(values, "__len__"):
            values = list(values)
        while True:
            seen = self._see()
            if not seen.shape:
                raise TypeError("an array without axes cannot grow")
            if isinstance(values, Array):
                values = values.copy() if numpy() else values.tolist()
            count = len(values)
            if self._grow(seen, count, pack(values, seen.kind, (count, *seen.shape[1:]), True)):
                return

    def _grow(self, seen: _Seen, count: int, data: Any) -> bool:
        """Append items, as one unit of work.  False: the shape has changed."""
        if not seen.row:
            if self._stamp != seen.stamp:
                return False
            self._resize((seen.shape[0] + count, *seen.shape[1:]))
            return True
        used = seen.shape[0] * seen.row
        if len(data) <= _PIECE or used + len(data) > seen.capacity:
            return self._append_bytes(seen.stamp, data)  # a new block is filled without a log
        step = max(_PIECE // seen.row, 1) * seen.row
        with memoryview(data) as view, self._pool.transaction():
            if self._stamp != seen.stamp:
                return False
            for i in range(0, len(view), step):
                if not self._append_bytes(self._stamp, view[i : i + step]):
                    raise RuntimeError("Array changed size while it grew")
        return True

    def resize(self, *shape: Any) -> None:
        """Change the shape; elements keep their place in C order, and new ones are zero.

        Args:
            *shape: Length of each axis, or one tuple of them.

        Raises:
            ValueError: A negative length, or more than a pool can hold.
            BufferError: There are views of the array.

        Complexity:
            O(new elements), or O(all) if the block has no room for them.
        """
        lengths = shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape
        wanted = tuple(operator.index(n) for n in lengths)
        with self._pool.transaction():
            seen = self._see()
            more = math.prod(wanted) * seen.kind.item - math.prod(seen.shape) * seen.kind.item
            longer = wanted and seen.shape and wanted[1:] == seen.shape[1:]
            if not longer or more <= _PIECE or wanted[0] * seen.row > seen.capacity:
                self._resize(wanted)  # a new block is filled without a log
                return
            step = max(_PIECE // seen.row, 1)
            for first in range(seen.shape[0], wanted[0], step):
                zeroes = bytes(min(step, wanted[0] - first) * seen.row)
                self._append_bytes(self._stamp, zeroes)

    # ---- the rest

    def __eq__(self, other: object, /) -> Any:
        if self is other:
            return True
        np = numpy()
        if np is not None and isinstance(other, np.ndarray):
            return NotImplemented  # numpy's own, of elements
        if not isinstance(other, (Array, array.array)):
            return NotImplemented
        seen, data = self._all()
        if isinstance(other, Array):
            theirs, others = other._all()
            return seen.shape == theirs.shape and (
                plain(data, seen.kind, seen.shape) == plain(others, theirs.kind, theirs.shape)
            )
        return len(seen.shape) == 1 and plain(data, seen.kind, seen.shape) == other.tolist()

    @described_when_dead
    @recursive_repr("Array(...)")
    def __repr__(self) -> str:
        while True:
            seen = self._see()
            count = min(seen.shape[0], _SHOWN) if seen.shape and seen.row <= _SHOWN_BYTES else 0
            data = self._read_items(seen, _Place(0, count, None))
            if data is None:
                continue
            if not seen.shape:
                return f"Array({seen.kind.text!r}, (), {seen.kind.decode(data, 0)!r})"
            shown = plain(data, seen.kind, (count, *seen.shape[1:]))
            more = ["..."] if count < seen.shape[0] else []
            items = ", ".join([*(repr(item) for item in shown), *more])
            return f"Array({seen.kind.text!r}, {seen.shape}, [{items}])"

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "cannot pickle a persistent Array: it lives in its pool. Use copy() to get one in "
            "memory, or pass the pool's path and the keys that lead to it."
        )


class ArrayWrite:
    """A range of an array that is being written; see ``Array.write``."""

    __slots__ = ("_array", "_data", "_key", "_transaction", "_view")

    def __init__(self, of: Array[Any], key: Any) -> None:
        self._array = of
        self._key = key
        self._transaction: Any = None
        self._data: bytearray | None = None
        self._view: Any = None

    def __enter__(self) -> Any:
        """Return the view."""
        if self._transaction is not None:
            raise RuntimeError("this range is being written already, or was: call write() again")
        self._transaction = self._array._pool.transaction()
        self._transaction.__enter__()
        try:
            seen, _, shape = self._range()
            place = _place(self._key, seen.shape)
            self._data = self._array._read_items(seen, place)
            assert self._data is not None, "nobody else can change it now"
            self._view = shaped(self._data, seen.kind, shape, None, writable=True)
        except BaseException as error:
            self._transaction.__exit__(type(error), error, error.__traceback__)
            raise
        return self._view

    def _range(self) -> tuple[_Seen, int, tuple[int, ...]]:
        """What the array is, where the range begins, and its shape."""
        seen = self._array._see()
        if not seen.shape:
            if self._key not in (..., ()):
                raise IndexError("too many indices: the array has no axes")
            return seen, 0, ()
        place = _place(self._key, seen.shape)
        if place.rest is not None and not isinstance(place.rest, int):
            raise TypeError("write() takes an index, a slice with step 1, or ...")
        return seen, place.first * seen.row, _shape_at(place, seen.shape)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._transaction is None:
            raise RuntimeError("this range is not being written: use it in a with statement")
        if kind is None and not self._transaction._is_open:
            # Outside it the range would be stored at once, and stay.
            self._transaction.__exit__(None, None, None)  # raises: says why not
            return
        data, self._data = self._data, None
        try:
            if kind is None and data is not None:
                seen, at, shape = self._range()
                if len(data) != math.prod(shape) * seen.kind.item:
                    raise RuntimeError("Array changed size while a range of it was written")
                with memoryview(data) as view:
                    for i in range(0, len(view), _PIECE):
                        self._array._write(seen.stamp, at + i, view[i : i + _PIECE])
        except BaseException as failure:
            self._transaction.__exit__(type(failure), failure, failure.__traceback__)
            raise
        else:
            self._transaction.__exit__(kind, error, trace)
        finally:
            _detach(self._view)
            self._view = None


def _detach(view: Any) -> None:
    """Nothing looks at a view any more."""
    if isinstance(view, memoryview):
        try:
            view.release()
        except BufferError:
            return  # somebody has a view of the view; it is memory of theirs now
    elif view is not None:
        view.flags.writeable = False


# ---- indices


def _element(key: Any, shape: Sequence[int]) -> int | None:
    """Return which element is meant, counted in C order; None: more than one, or none."""
    if len(shape) == 1 and not isinstance(key, (tuple, slice)) and hasattr(key, "__index__"):
        key = (key,)
    if not isinstance(key, tuple) or len(key) != len(shape):
        return None
    if not all(hasattr(i, "__index__") and not hasattr(i, "__len__") for i in key):
        return None
    flat = 0
    for i, n in zip(key, shape, strict=True):
        flat = flat * n + _index(i, n)
    return flat


def _index(key: SupportsIndex, length: int) -> int:
    i = operator.index(key)
    if not -length <= i < length:
        raise IndexError(f"array index {i} is out of range for an axis of length {length}")
    return i + length if i < 0 else i


def _shape_at(place: _Place, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a range, or of a single item."""
    if not shape or place.rest is not None:
        return shape[1:]
    return (place.items, *shape[1:])


def _place(key: Any, shape: Sequence[int]) -> _Place:
    """Return which items of the first axis an index reaches."""
    whole = _Place(0, shape[0] if shape else 1, (None,) if key is None else key)
    keys = key if isinstance(key, tuple) else (key,)
    if not keys or (len(keys) == 1 and keys[0] is Ellipsis):
        return whole._replace(rest=None)
    first, others = keys[0], keys[1:]
    if not shape:
        raise IndexError("too many indices: the array has no axes")
    if isinstance(first, slice):
        reached = range(*first.indices(shape[0]))
        if not reached:
            return _Place(0, 0, (slice(None), *others) if others else None)
        low, high = min(reached[0], reached[-1]), max(reached[0], reached[-1])
        step = slice(None, None, reached.step)
        if others:
            return _Place(low, high - low + 1, (step, *others))
        return _Place(low, high - low + 1, None if reached.step == 1 else step)
    if hasattr(first, "__index__") and not hasattr(first, "__len__") and type(first) is not bool:
        i = _index(first, shape[0])
        return _Place(i, 1, (0, *others) if others else 0)
    return whole


# ---- arrays of the program


def _new(pool: Any, kind: Kind, source: Any) -> Any:
    """Make an Array of a numpy array, an array.array or an Array of another pool."""
    if isinstance(source, Array):
        seen, contents = source._all()
        text, item, shape = seen.kind.text, seen.kind.item, seen.shape
    elif isinstance(source, array.array):
        text, item, shape = _typestr(source), source.itemsize, (len(source),)
        contents = bytearray(memoryview(source).cast("B"))
    else:
        text, item, shape, contents = _of_numpy(source)
    made = pool._new(kind.tag)
    made._setup(text, item, shape, contents)
    return made


def _typestr(source: array.array[Any]) -> str:
    if source.typecode in "uw":
        return "<U1"
    letter = "f" if source.typecode in "fd" else "i" if source.typecode.islower() else "u"
    return f"{'<' if source.itemsize > 1 else '|'}{letter}{source.itemsize}"


def _of_numpy(source: Any) -> tuple[str, int, tuple[int, ...], Any]:
    np = need_numpy()
    kind = describe(source.dtype)
    if source.ndim > lib.PMS_ARRAY_DIMS:
        raise NotPersistableError(
            f"numpy.ndarray with {source.ndim} axes: cannot be kept in a pool: an array has at "
            f"most {lib.PMS_ARRAY_DIMS}; use reshape()"
        )
    contents = b""
    if source.size:
        contents = np.asarray(source, order="C").reshape(-1).view(np.uint8)
    return kind.text, kind.item, tuple(source.shape), contents


def _nothing(value: Any) -> list[tuple[Any, Any]]:
    """Return no items: the contents of an array come with it."""
    return []


def _filled(proxy: Any, pairs: list[tuple[Any, Any]]) -> None:
    """Put no items into an array."""


register(
    Kind(
        tag=lib.PMS_TAG_ARRAY,
        proxy=Array,
        plain=(array.array,),
        items=_nothing,
        store=operator.setitem,
        fill=_filled,
        empty=Array.copy,
        put=operator.setitem,
        new=_new,
        late=(("numpy", "ndarray"),),
    )
)
