"""The persistent set.

Look-up, adding, discarding, iteration and the other hot operations are slots of the C type
``SetBase`` over the core's linear hash table (``table.h``), whose entries have no values here; this
module is the rest of the builtin's interface.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, MutableSet
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from pmemstore._native import lib
from pmemstore.containers.convert import described_when_dead
from pmemstore.containers.kinds import Kind, register
from pmemstore.errors import NotPersistableError

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Set"]

T = TypeVar("T")

# Up to this part of a set is looked up or taken away one by one; more: the whole is read first.
_FEW = 8

if TYPE_CHECKING:
    _Base = _slots.SetBase
else:

    class _Base(_slots.SetBase, Generic[T]):
        __slots__ = ()


class Set(_Base[T]):
    """A set that lives in a pool.  Made by assigning a plain set to a place in a pool.

    It has the methods and operators of the builtin, with the builtin's semantics, and keeps the
    order in which elements came.  What makes a new set (``|``, ``&``, ``-``, ``^``, ``union``,
    ``copy`` and so on) makes a plain one, in memory; what changes the set (``|=``, ``update``,
    ``pop`` and so on) changes it in its pool.

    Look up:    ``x in s``, ``len(s)``, ``isdisjoint``, ``issubset``, ``issuperset``, ``==``,
                ``<=``, ``<``, ``>=``, ``>``
    Change:     ``add``, ``discard``, ``remove``, ``pop`` (the youngest), ``clear``, ``update``
                (``|=``), ``intersection_update`` (``&=``), ``difference_update`` (``-=``),
                ``symmetric_difference_update`` (``^=``)
    Iterate:    ``iter(s)``; RuntimeError when the set changes meanwhile
    In memory:  ``copy``, ``copy.copy``, ``copy.deepcopy``, ``|``, ``&``, ``-``, ``^``, ``union``,
                ``intersection``, ``difference``, ``symmetric_difference``

    Elements are what may be keys of a ``Dict``.  Looking for an object that no pool can keep
    (``x in s``, ``remove``, ``discard``) is NotPersistableError, a TypeError.

    Durability:
        Every single method call is atomic, also those with many elements; outside a transaction
        it is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.

    Complexity:
        Look-up, ``add``, ``discard``: O(1), and no single call ever copies the table.  Operators
        and comparisons: O(len(s) + len(other)), from one look at the set.  ``clear``: O(1).

    Example:
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["seen"] = {"ada"}
        >>> seen = pool.root["seen"]
        >>> seen.add("bob")
        >>> seen |= {"ada", "eve"}
        >>> seen
        {'ada', 'bob', 'eve'}
        >>> seen - {"ada", "bob"}
        {'eve'}
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin; object's is a method

    # ---- change, many elements at once

    def update(self, *others: Iterable[T]) -> None:
        """Add all elements of all others.

        Raises:
            TypeError: Something that cannot be iterated over, or an unhashable element.
            NotPersistableError: An element that no pool can keep; nothing has been added.

        Complexity:
            O(number of elements); one commit.
        """
        if len(others) == 1:
            self._add_all(others[0])
        elif others:
            self._add_all(itertools.chain.from_iterable(map(_held, others)))

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove all elements of all others; one commit.

        Raises:
            TypeError: Something that cannot be iterated over, or an unhashable element.
        """
        doomed = set().union(*map(_held, others))
        if _FEW * len(doomed) < len(self):
            try:
                self._remove_all(doomed)
            except NotPersistableError:  # only a comparison in memory can tell what it equals
                pass
            else:
                return
        with self._pool.transaction():
            self._remove_all([element for element in self._keys() if element in doomed])

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Remove all elements but those that are in each of the others; one commit."""
        held = list(map(_held, others))
        with self._pool.transaction():
            mine = self._keys()
            kept = set(mine).intersection(*held)
            self._remove_all([element for element in mine if element not in kept])

    def symmetric_difference_update(self, other: Iterable[T], /) -> None:
        """Remove the elements that the other has too, and add those that only it has; one commit.

        Raises:
            NotPersistableError: An element that no pool can keep; nothing has changed.
        """
        theirs = dict.fromkeys(_held(other))  # in the order in which they come
        with self._pool.transaction():
            mine = set(self._keys())
            self._remove_all([element for element in mine if element in theirs])
            self._add_all([element for element in theirs if element not in mine])

    def __ior__(self, other: Any, /) -> Set[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self._add_all(other)
        return self

    def __isub__(self, other: Any, /) -> Set[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.difference_update(other)
        return self

    def __iand__(self, other: Any, /) -> Set[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Any, /) -> Set[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    # ---- new sets, in memory

    def copy(self) -> set[T]:
        """Return a plain set of the same elements."""
        return set(self._keys())

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> set[T]:
        copied: set[T] = self.copy()  # elements cannot change
        memo[id(self)] = copied
        return copied

    def union(self, *others: Iterable[Any]) -> set[Any]:
        """Return a plain set of the elements of this and all others."""
        return self.copy().union(*map(_held, others))

    def intersection(self, *others: Iterable[Any]) -> set[T]:
        """Return a plain set of the elements that are in this and each of the others."""
        return self.copy().intersection(*map(_held, others))

    def difference(self, *others: Iterable[Any]) -> set[T]:
        """Return a plain set of the elements that are in none of the others."""
        return self.copy().difference(*map(_held, others))

    def symmetric_difference(self, other: Iterable[Any], /) -> set[Any]:
        """Return a plain set of the elements that are in either, but not in both."""
        return self.copy().symmetric_difference(_held(other))

    def __or__(self, other: Any, /) -> Any:
        return _operate(operator.or_, self, other)

    def __and__(self, other: Any, /) -> Any:
        return _operate(operator.and_, self, other)

    def __sub__(self, other: Any, /) -> Any:
        return _operate(operator.sub, self, other)

    def __xor__(self, other: Any, /) -> Any:
        return _operate(operator.xor, self, other)

    # The other one is a plain set or frozenset here, and the result is of its type.

    def __ror__(self, other: Any, /) -> Any:
        return other | self.copy() if isinstance(other, (set, frozenset)) else NotImplemented

    def __rand__(self, other: Any, /) -> Any:
        return other & self.copy() if isinstance(other, (set, frozenset)) else NotImplemented

    def __rsub__(self, other: Any, /) -> Any:
        return other - self.copy() if isinstance(other, (set, frozenset)) else NotImplemented

    def __rxor__(self, other: Any, /) -> Any:
        return other ^ self.copy() if isinstance(other, (set, frozenset)) else NotImplemented

    # ---- comparison

    def isdisjoint(self, other: Iterable[Any], /) -> bool:
        """Return whether this and the other have no element in common."""
        return self.copy().isdisjoint(_held(other))

    def issubset(self, other: Iterable[Any], /) -> bool:
        """Return whether the other has every element of this."""
        return self.copy().issubset(_held(other))

    def issuperset(self, other: Iterable[Any], /) -> bool:
        """Return whether this has every element of the other."""
        return self.copy().issuperset(_held(other))

    def __eq__(self, other: object, /) -> Any:
        if self is other:
            return True
        return _operate(operator.eq, self, other)

    def __lt__(self, other: Any, /) -> Any:
        return _operate(operator.lt, self, other)

    def __le__(self, other: Any, /) -> Any:
        return _operate(operator.le, self, other)

    def __gt__(self, other: Any, /) -> Any:
        return _operate(operator.gt, self, other)

    def __ge__(self, other: Any, /) -> Any:
        return _operate(operator.ge, self, other)

    # ---- the rest

    @described_when_dead
    def __repr__(self) -> str:
        elements = self._keys()
        return f"{{{', '.join(map(repr, elements))}}}" if elements else "set()"

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "cannot pickle a persistent Set: it lives in its pool. Use copy.deepcopy() to get a "
            "plain set, or pass the pool's path and the keys that lead to it."
        )


def _held(other: Any) -> Any:
    """One look at a Set, as a plain set in its order; anything else as it is."""
    return other._keys() if isinstance(other, Set) else other


def _operate(function: Callable[[Any, Any], Any], one: Set[Any], other: Any) -> Any:
    if not isinstance(other, AbstractSet):
        return NotImplemented  # the operator asks the other
    return function(one.copy(), other.copy() if isinstance(other, Set) else other)


# Registered, not inherited: the C type keeps its slots.
MutableSet.register(Set)


def _elements(source: Any) -> list[tuple[Any, None]]:
    # An element is the place, so that a message names it; there is nothing at the place.
    return [(element, None) for element in _held(source)]


def _add(target: Any, place: Any, item: None) -> None:
    target.add(place)


register(
    Kind(
        tag=lib.PMS_TAG_SET,
        proxy=Set,
        plain=(set,),
        items=_elements,
        store=_add,
        fill=lambda target, pairs: target._add_all([element for element, _ in pairs]),
        empty=lambda source: set(),
        put=_add,
    )
)
