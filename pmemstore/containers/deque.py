"""The persistent deque.

Both ends, index, iteration, rotation and the other hot operations are slots of the C type
``DequeBase`` over the core's counted B+tree (``vec_deque.h``); here is the rest of the interface of
``collections.deque``.
"""

from __future__ import annotations

import operator
import sys
from collections import deque
from collections.abc import Callable, Iterable, MutableSequence
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, NoReturn, SupportsIndex, TypeVar

from pmemstore._native import lib
from pmemstore.containers.convert import as_factor, described_when_dead, volatile
from pmemstore.containers.kinds import Kind, new_object, register

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Deque"]

T = TypeVar("T")

_CHANGED = -2  # what _find says of a deque that a comparison has changed

if TYPE_CHECKING:
    _Base = _slots.DequeBase
else:

    class _Base(_slots.DequeBase, Generic[T]):
        __slots__ = ()


class Deque(_Base[T]):
    """A deque that lives in a pool.  Made by assigning a plain deque to a place in a pool.

    It has the methods of the standard library's, with its semantics.  A ``maxlen`` is kept with it:
    what is added at one end of a full deque drops an item at the other, in the same commit.  What
    makes a new deque (``copy``, ``+``, ``*``) makes a plain one, in memory.

    Ends:       ``append``, ``appendleft``, ``pop``, ``popleft``, ``extend``, ``extendleft``
    Anywhere:   ``d[i]``, ``d[i] = v``, ``del d[i]``, ``insert``, ``remove``, ``v in d``, ``index``,
                ``count``
    Whole:      ``rotate``, ``reverse``, ``clear``, ``+=``, ``*=``, ``len(d)``, ``maxlen``
    Iterate:    ``iter(d)``, ``reversed(d)``; RuntimeError when items come, go or move meanwhile
    In memory:  ``copy``, ``copy.copy``, ``copy.deepcopy``, ``+``, ``*``

    Durability:
        Every single method call is atomic, also ``extend`` and ``rotate``; outside a transaction
        it is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.

    Complexity:
        Both ends, any item, insertion and deletion anywhere: O(log n).  ``rotate(k)``: O(k log n),
        and never more than half of the deque is moved.  ``clear``: O(1).

    Example:
        >>> import pmemstore
        >>> from collections import deque
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["last"] = deque(maxlen=3)
        >>> last = pool.root["last"]
        >>> last.extend(["a", "b", "c", "d"])
        >>> last
        deque(['b', 'c', 'd'], maxlen=3)
        >>> last.popleft()
        'b'
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin; object's is a method

    # ---- search

    def index(self, value: Any, start: SupportsIndex = 0, stop: SupportsIndex = sys.maxsize) -> int:
        """Return the first index of a value.

        Args:
            value: What to look for, by ``==``.
            start: Look at no index before it; negative counts from the end.
            stop: Look at no index from it on.

        Raises:
            ValueError: The value is not there.
            RuntimeError: A comparison changed the deque.

        Complexity:
            O(n).
        """
        low, high, _ = slice(start, stop).indices(len(self))
        i = self._find(value, low, high)
        if i == _CHANGED:
            raise RuntimeError("deque mutated during iteration")
        if i < 0:
            raise ValueError(f"{value!r} is not in deque")
        return i

    def remove(self, value: Any, /) -> None:
        """Delete the first item that equals the value.

        Raises:
            ValueError: The value is not there.
            IndexError: A comparison changed the deque.

        Complexity:
            O(n).
        """
        with self._pool.transaction():
            i = self._find(value, 0, sys.maxsize)
            if i == _CHANGED:
                raise IndexError("deque mutated during remove().")
            if i < 0:
                raise ValueError(f"{value!r} is not in deque")
            del self[i]

    # ---- change

    def __iadd__(self, values: Iterable[Any], /) -> Deque[T]:  # type: ignore[misc] # wider than +
        self.extend(values)
        return self

    def __imul__(self, factor: SupportsIndex, /) -> Deque[T]:
        times = as_factor(factor)
        with self._pool.transaction():
            items = self._items()
            if times <= 0:
                self.clear()
            elif times > 1 and items:
                # Of what a bound drops again, nothing is written.
                most = times if self.maxlen is None else -(-self.maxlen // len(items)) + 1
                self.extend(items * (min(times, most) - 1))
        return self

    # ---- deques in memory

    def copy(self) -> deque[T]:
        """Return a plain deque of the same items and bound; nested containers stay proxies."""
        return deque(self._items(), self.maxlen)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> deque[T]:
        copied: deque[T] = volatile(self, memo)
        return copied

    def __add__(self, other: Any, /) -> deque[Any]:
        if not isinstance(other, (deque, Deque)):
            raise TypeError(f'can only concatenate deque (not "{type(other).__name__}") to deque')
        result: deque[Any] = self.copy()
        result.extend(_plain(other))
        return result

    def __radd__(self, other: Any, /) -> deque[Any]:
        if not isinstance(other, deque):
            return NotImplemented
        result = other.copy()
        result.extend(self._items())
        return result

    def __mul__(self, factor: SupportsIndex, /) -> deque[T]:
        return self.copy() * as_factor(factor)

    __rmul__ = __mul__

    # ---- comparison, item by item

    def __eq__(self, other: object, /) -> bool:
        if self is other:
            return True
        if not isinstance(other, (deque, Deque)):
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
            "cannot pickle a persistent Deque: it lives in its pool. Use copy.deepcopy() to get a "
            "plain deque, or pass the pool's path and the keys that lead to it."
        )


def _plain(items: Any) -> Any:
    return items.copy() if isinstance(items, Deque) else items


def _compare(test: Callable[[Any, Any], bool], one: Deque[Any], other: Any) -> Any:
    if not isinstance(other, (deque, Deque)):
        return NotImplemented  # the operator asks the other
    return test(one.copy(), _plain(other))


# Registered, not inherited: the C type keeps its slots, and "case [...]" matches a Deque.
MutableSequence.register(Deque)


def _new(pool: Any, kind: Kind, source: Any) -> Any:
    made = new_object(pool, kind, source)
    if source.maxlen is not None:
        made._set_maxlen(source.maxlen)
    return made


def _items(source: Any) -> Iterable[tuple[int, Any]]:
    # One look at a Deque, so no other thread's change is seen in part.
    return enumerate(source._items() if isinstance(source, Deque) else source)


def _append(target: Any, place: int, item: Any) -> None:
    target.append(item)


register(
    Kind(
        tag=lib.PMS_TAG_DEQUE,
        proxy=Deque,
        plain=(deque,),
        items=_items,
        store=_append,
        fill=lambda target, pairs: target.extend([item for _, item in pairs]),
        empty=lambda source: deque(maxlen=source.maxlen),
        put=_append,
        new=_new,
    )
)
