"""The persistent list.

Index, append, insert, pop, iteration and the other hot operations are slots of the C type
``ListBase`` over the core's counted B+tree (``vec.h``); here is the rest of the builtin's
interface.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, MutableSequence
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, NoReturn, SupportsIndex, TypeVar

from pmemstore._native import check, ffi, lib
from pmemstore.containers.convert import as_factor, described_when_dead, volatile
from pmemstore.containers.kinds import Kind, register

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["List"]

T = TypeVar("T")

_TRIES = 8

if TYPE_CHECKING:
    _Base = _slots.ListBase
else:

    class _Base(_slots.ListBase, Generic[T]):
        __slots__ = ()


class List(_Base[T]):
    """A list that lives in a pool.  Made by assigning a plain list to a place in a pool.

    It has the methods of the builtin, with the builtin's semantics.  Operators that make a new
    list (``l[a:b]``, ``l + m``, ``l * 2``, ``copy``) make a plain one, in memory.

    Look up:    ``l[i]``, ``l[a:b:c]``, ``v in l``, ``index``, ``count``, ``len(l)``
    Change:     ``l[i] = v``, ``l[a:b] = vs``, ``del``, ``append``, ``extend``, ``insert``, ``pop``,
                ``remove``, ``clear``, ``+=``, ``*=``
    Order:      ``sort``, ``reverse``
    Iterate:    ``iter(l)``, ``reversed(l)``
    Copy:       ``copy``, ``copy.copy``, ``copy.deepcopy``: to memory

    Durability:
        Every single method call is atomic, also ``sort`` and slice assignment; outside a
        transaction it is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.

    Complexity:
        Any item, and insertion and deletion anywhere: O(log n).  ``clear``: O(1).

    Example:
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["log"] = ["start"]
        >>> log = pool.root["log"]
        >>> log += ["work", "stop"]
        >>> log[1:]
        ['work', 'stop']
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin; object's is a method

    # ---- slices: the C subscript calls these

    def _getslice(self, index: slice, /) -> list[T]:
        for _ in range(_TRIES):  # another thread may change the length before the items are read
            length = len(self)
            wanted = range(*index.indices(length))
            if not wanted:
                return []
            low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
            cells = self._get_range(low, high - low + 1, length)
            if cells is not None:
                return cells if wanted.step == 1 else [cells[i - low] for i in wanted]
        return self.copy()[index]

    def _setslice(self, index: slice, values: Any, /) -> None:
        try:
            new = list(values)
        except TypeError:
            if hasattr(values, "__iter__"):
                raise
            [][index] = values  # raises, in the words of this interpreter
        with self._pool.transaction():
            start, stop, step = index.indices(len(self))
            if step == 1:
                self._replace(start, max(stop, start), new)
                return
            wanted = range(start, stop, step)
            if len(wanted) != len(new):
                raise ValueError(
                    f"attempt to assign sequence of size {len(new)} to extended slice of size "
                    f"{len(wanted)}"
                )
            for i, value in zip(wanted, new, strict=True):
                self[i] = value

    def _replace(self, start: int, stop: int, new: list[Any]) -> None:
        common = min(stop - start, len(new))
        for i in range(common):
            self[start + i] = new[i]
        if stop - start > common:
            self._del_range(start + common, stop - start - common)
        elif start + common == len(self):
            self.extend(new[common:])
        else:
            for i in range(common, len(new)):
                self.insert(start + i, new[i])

    def _delslice(self, index: slice, /) -> None:
        with self._pool.transaction():
            doomed = range(*index.indices(len(self)))
            if doomed.step < 0:
                doomed = doomed[::-1]
            if not doomed:
                return
            if doomed.step == 1:
                self._del_range(doomed.start, len(doomed))
                return
            for i in reversed(doomed):
                del self[i]

    # ---- search

    def index(self, value: Any, start: SupportsIndex = 0, stop: SupportsIndex | None = None) -> int:
        """Return the first index of a value.

        Args:
            value: What to look for, by ``==``.
            start: Look at no index before it; negative counts from the end.
            stop: Look at no index from it on.

        Raises:
            ValueError: The value is not there.

        Complexity:
            O(n).
        """
        low, high, _ = slice(start, stop).indices(len(self))
        i = self._find(value, low, high)
        if i < 0:
            raise ValueError(f"{value!r} is not in list")
        return i

    # ---- change

    def remove(self, value: Any, /) -> None:
        """Delete the first item that equals the value.

        Raises:
            ValueError: The value is not there.

        Complexity:
            O(n).
        """
        with self._pool.transaction():
            i = self._find(value, 0, sys.maxsize)
            if i < 0:
                raise ValueError("list.remove(x): x not in list")
            del self[i]

    def sort(self, *, key: Callable[[Any], Any] | None = None, reverse: bool = False) -> None:
        """Sort the items in place; stable; all or nothing.

        Args:
            key: Called once for each item, inside a transaction: keep it short.
            reverse: Largest first.

        Raises:
            TypeError: Items that cannot be compared; the list is unchanged.
            ValueError: ``key`` or a comparison changed the list, which is left as it was.

        Complexity:
            O(n log n) comparisons; O(n) memory; moves cells, not the values behind them.
        """
        with self._pool.transaction():
            items = self.copy()
            keys: list[Any] = items if key is None else [key(item) for item in items]
            self._expect(items, key)
            order = sorted(range(len(items)), key=lambda i: keys[i], reverse=reverse)
            self._expect(items, key)  # comparing what key() returned may have run anything too
            self._permute(order)

    def _expect(self, items: list[Any], key: Callable[[Any], Any] | None) -> None:
        if key is not None and not _unchanged(items, self.copy()):
            raise ValueError("list modified during sort")

    def _permute(self, order: list[int]) -> None:
        core = self._pool._core()  # raises if somebody has closed it meanwhile
        numbers = ffi.new("uint64_t[]", order)
        check(
            lib.pms_bind_permute(core, self._offset, -1, numbers, len(order)),
            path=self._pool.path,
        )

    def __iadd__(self, values: Iterable[Any], /) -> List[T]:  # type: ignore[misc] # wider than +
        self.extend(values)
        return self

    def __imul__(self, factor: SupportsIndex, /) -> List[T]:
        times = as_factor(factor)
        with self._pool.transaction():
            if times <= 0:
                self.clear()
            elif times > 1:
                self.extend(self.copy() * (times - 1))
        return self

    # ---- lists in memory

    def copy(self) -> list[T]:
        """Return a plain list of the same items; nested containers stay proxies."""
        return self._get_range(0, sys.maxsize)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> list[T]:
        copied: list[T] = volatile(self, memo)
        return copied

    def __add__(self, other: Any, /) -> list[Any]:
        if not isinstance(other, (list, List)):
            return NotImplemented
        return [*self.copy(), *_plain(other)]

    def __radd__(self, other: Any, /) -> list[Any]:
        if not isinstance(other, list):
            return NotImplemented
        return [*other, *self.copy()]

    def __mul__(self, factor: SupportsIndex, /) -> list[T]:
        return self.copy() * as_factor(factor)

    __rmul__ = __mul__

    # ---- comparison, item by item

    def __eq__(self, other: object, /) -> bool:
        if self is other:
            return True
        if not isinstance(other, (list, List)):
            return NotImplemented
        return len(self) == len(other) and self.copy() == _plain(other)

    def __lt__(self, other: Any, /) -> Any:
        return _compare(operator.lt, self, other)

    def __le__(self, other: Any, /) -> Any:
        return _compare(operator.le, self, other)

    def __gt__(self, other: Any, /) -> Any:
        return _compare(operator.gt, self, other)

    def __ge__(self, other: Any, /) -> Any:
        return _compare(operator.ge, self, other)

    # ---- the rest

    @described_when_dead
    @recursive_repr("[...]")
    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "cannot pickle a persistent List: it lives in its pool. Use copy.deepcopy() to get a "
            "plain list, or pass the pool's path and the keys that lead to it."
        )


def _plain(items: Any) -> Any:
    return items.copy() if isinstance(items, List) else items


def _unchanged(before: list[Any], after: list[Any]) -> bool:
    # A NaN that is read twice is two objects; its text is the same.
    return len(before) == len(after) and all(
        one is two or one == two or repr(one) == repr(two)
        for one, two in zip(before, after, strict=True)
    )


def _compare(test: Callable[[Any, Any], bool], one: List[Any], other: Any) -> Any:
    if not isinstance(other, (list, List)):
        return NotImplemented  # the operator asks the other
    return test(one.copy(), _plain(other))


# Registered, not inherited: the C type keeps its slots, and "case [...]" matches a List.
MutableSequence.register(List)


def _items(source: Any) -> Iterable[tuple[int, Any]]:
    # One look at a List, so no other thread's change is seen in part.
    return enumerate(source.copy() if isinstance(source, List) else source)


def _append(target: Any, place: int, item: Any) -> None:
    target.append(item)


register(
    Kind(
        tag=lib.PMS_TAG_LIST,
        proxy=List,
        plain=(list,),
        items=_items,
        store=_append,
        fill=lambda target, pairs: target.extend([item for _, item in pairs]),
        empty=lambda source: [],
        put=_append,
    )
)
