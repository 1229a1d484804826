"""The persistent sorted set.

Its hot operations are slots of the C type ``SortedSetBase``, over the tree of the sorted dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from pmemstore._native import lib
from pmemstore.containers.convert import described_when_dead, volatile
from pmemstore.containers.kinds import Kind, register
from pmemstore.containers.sorted import (
    delete_slice,
    new_sorted,
    no_key_function,
    remove_range,
)

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["PlainSortedSet", "SortedSet"]

T = TypeVar("T")

_KEYS = 0

if TYPE_CHECKING:
    _Base = _slots.SortedSetBase
else:

    class _Base(_slots.SortedSetBase, Generic[T]):
        __slots__ = ()


class PlainSortedSet(set[T]):
    """What becomes a SortedSet when it is assigned: a set in memory, with that purpose.

    Made by ``SortedSet.of``, ``copy``, ``copy.deepcopy`` and the operators of a SortedSet.  It is
    iterated in order; besides, it is a set.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[T]:
        return iter(sorted(super().__iter__()))  # type: ignore[type-var] # TypeError if it cannot

    def __repr__(self) -> str:
        return f"SortedSet.of({list(self)!r})"


class SortedSet(_Base[T]):
    """A set that lives in a pool and is sorted.

    Made by assigning ``SortedSet.of(...)``, or a ``sortedcontainers.SortedSet`` without a key
    function, to a place in a pool.  It has the methods of a set and of that class, as far as they
    make sense here.  Methods and operators that make a new set make a plain one, in memory.

    Make:       ``SortedSet.of``
    Look up:    ``v in s``, ``len(s)``
    By place:   ``s[i]``, ``s[a:b]``, ``index``, ``bisect_left``, ``bisect_right``, ``bisect``
    Change:     ``add``, ``update``, ``discard``, ``remove``, ``pop``, ``del s[i]``, ``del s[a:b]``,
                ``remove_range``, ``clear``, ``|=``, ``&=``, ``-=``, ``^=`` and their methods
    Iterate:    ``iter(s)``, ``reversed(s)``, ``irange``, ``islice``
    Compare:    ``==``, ``<=``, ``<``, ``issubset``, ``issuperset``, ``isdisjoint``
    New sets:   ``copy``, ``|``, ``&``, ``-``, ``^`` and their methods: to memory

    Its items are what keys of a SortedDict may be.

    Durability:
        Every single method call is atomic, also ``update`` and ``&=``; outside a transaction it
        is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.

    Complexity:
        An item, a place, the place of an item, the start of a range: O(log n).  ``clear``: O(1).

    Example:
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["words"] = pmemstore.SortedSet.of(["pear", "apple", "fig"])
        >>> words = pool.root["words"]
        >>> words.add("date")
        >>> words
        SortedSet(['apple', 'date', 'fig', 'pear'])
        >>> words[0], list(words.irange("b", "g"))
        ('apple', ['date', 'fig'])
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin; object's is a method

    @classmethod
    def of(cls, items: Iterable[Any] = (), /, key: Any = None) -> PlainSortedSet[Any]:
        """Return a set in memory that becomes a SortedSet when it is assigned.

        Args:
            items: The items.
            key: None; there are no key functions.

        Raises:
            TypeError: Unhashable items, or a key function.

        Example:
            >>> SortedSet.of("banana")
            SortedSet.of(['a', 'b', 'n'])
        """
        key = key if key is not None else getattr(items, "key", None)
        if key is not None:
            raise no_key_function(key)
        return PlainSortedSet(items)

    # ---- order

    def irange(
        self,
        minimum: T | None = None,
        maximum: T | None = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[T]:
        """Iterate over the items from minimum to maximum.

        Args:
            minimum: The first item, which need not be there; None: from the least one on.
            maximum: The last item, likewise; None: up to the greatest one.
            inclusive: Whether minimum and maximum themselves count.
            reverse: From the greatest to the least.

        Raises:
            TypeError: A bound that cannot be compared with the items.
            RuntimeError: (while iterating) Items came or went.

        Complexity:
            O(log n) to begin; then O(1) for each item.
        """
        low, high = inclusive
        return self._irange(_KEYS, minimum, maximum, low, high, reverse)

    def islice(
        self, start: int | None = None, stop: int | None = None, reverse: bool = False
    ) -> Iterator[T]:
        """Iterate over the items at indices start to stop, as of a slice; O(log n) to begin."""
        low, high, _ = slice(start, stop).indices(len(self))
        return self._islice(_KEYS, low, high, reverse)

    def bisect_left(self, item: Any, /) -> int:
        """Return how many items are less than this one.  TypeError: they have no order."""
        return self._bound(item, False)

    def bisect_right(self, item: Any, /) -> int:
        """Return how many items are not greater than this one."""
        return self._bound(item, True)

    bisect = bisect_right

    def index(self, item: Any, start: int | None = None, stop: int | None = None) -> int:
        """Return the place of an item.

        Args:
            item: The item.
            start: Look at no index before it; negative counts from the end.
            stop: Look at no index from it on.

        Raises:
            ValueError: The item is not there.

        Complexity:
            O(log n).
        """
        place = self._place(item)
        if place < 0 or (
            (start is not None or stop is not None)
            and place not in range(*slice(start, stop).indices(len(self)))
        ):
            raise ValueError(f"{item!r} is not in list")
        return place

    def count(self, item: Any, /) -> int:
        """Return 1 if the item is there, else 0."""
        return int(item in self)

    # ---- slices: the C subscript calls this

    def _delslice(self, index: slice, /) -> None:
        delete_slice(self, index)

    # ---- change

    def remove_range(
        self,
        minimum: T | None = None,
        maximum: T | None = None,
        inclusive: tuple[bool, bool] = (True, True),
    ) -> int:
        """Delete the items from minimum to maximum; the arguments are those of ``irange``.

        Returns:
            How many there were.

        Raises:
            TypeError: A bound that cannot be compared with the items.

        Complexity:
            O(log n) and O(1) for each of them; O(1) for all items.
        """
        return remove_range(self, minimum, maximum, inclusive)

    def update(self, *others: Iterable[Any]) -> None:
        """Put the items of all iterables; all of them or, if anything fails, none.

        Raises:
            TypeError: An item without an order.
            ValueError: A NaN.
            NotPersistableError: An item that no pool can keep.

        Complexity:
            O(m log(m + n)) for m items; one commit.
        """
        items = [item for other in others for item in _items(other)]
        if items:
            items.sort()
            self._update_items(items)

    def difference_update(self, *others: Iterable[Any]) -> None:
        """Remove all items of the iterables, as one unit of work."""
        gone = {item for other in others for item in _items(other)}
        with self._pool.transaction():
            self._discard_all(gone)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        """Keep the items that all iterables have, as one unit of work."""
        kept = [set(_items(other)) for other in others]
        with self._pool.transaction():
            self._discard_all([v for v in _items(self) if not all(v in keep for keep in kept)])

    def symmetric_difference_update(self, other: Iterable[Any], /) -> None:
        """Put what is in the iterable alone and remove what is in both, as one unit of work."""
        theirs = set(_items(other))
        with self._pool.transaction():
            both = [item for item in theirs if item in self]
            self.update(theirs.difference(both))
            self._discard_all(both)

    def _discard_all(self, items: Iterable[Any]) -> None:
        for item in items:
            self.discard(item)

    def __ior__(self, other: Any, /) -> SortedSet[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.update(other)
        return self

    def __isub__(self, other: Any, /) -> SortedSet[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.difference_update(other)
        return self

    def __iand__(self, other: Any, /) -> SortedSet[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Any, /) -> SortedSet[T]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        self.symmetric_difference_update(other)
        return self

    # ---- sets in memory

    def copy(self) -> PlainSortedSet[T]:
        """Return a set of the same items, in memory."""
        return PlainSortedSet(_items(self))

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> PlainSortedSet[T]:
        copied: PlainSortedSet[T] = volatile(self, memo)
        return copied

    def union(self, *others: Iterable[Any]) -> PlainSortedSet[Any]:
        """Return a set of the items of this one and of all iterables."""
        return PlainSortedSet(set(_items(self)).union(*map(_items, others)))

    def intersection(self, *others: Iterable[Any]) -> PlainSortedSet[T]:
        """Return a set of the items that are here and in all iterables."""
        return PlainSortedSet(set(_items(self)).intersection(*map(_items, others)))

    def difference(self, *others: Iterable[Any]) -> PlainSortedSet[T]:
        """Return a set of the items that are in none of the iterables."""
        return PlainSortedSet(set(_items(self)).difference(*map(_items, others)))

    def symmetric_difference(self, other: Iterable[Any], /) -> PlainSortedSet[Any]:
        """Return a set of the items that are either here or in the iterable."""
        return PlainSortedSet(set(_items(self)).symmetric_difference(_items(other)))

    def __or__(self, other: Any, /) -> PlainSortedSet[Any]:
        return self.union(other) if isinstance(other, AbstractSet) else NotImplemented

    __ror__ = __or__

    def __and__(self, other: Any, /) -> PlainSortedSet[T]:
        return self.intersection(other) if isinstance(other, AbstractSet) else NotImplemented

    __rand__ = __and__

    def __sub__(self, other: Any, /) -> PlainSortedSet[T]:
        return self.difference(other) if isinstance(other, AbstractSet) else NotImplemented

    def __rsub__(self, other: Any, /) -> PlainSortedSet[Any]:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return PlainSortedSet(set(_items(other)).difference(_items(self)))

    def __xor__(self, other: Any, /) -> PlainSortedSet[Any]:
        return (
            self.symmetric_difference(other) if isinstance(other, AbstractSet) else NotImplemented
        )

    __rxor__ = __xor__

    # ---- comparison

    def isdisjoint(self, other: Iterable[Any], /) -> bool:
        """Tell whether no item is in both."""
        return set(_items(self)).isdisjoint(_items(other))

    def issubset(self, other: Iterable[Any], /) -> bool:
        """Tell whether the iterable has all items of this set."""
        return set(_items(self)).issubset(_items(other))

    def issuperset(self, other: Iterable[Any], /) -> bool:
        """Tell whether this set has all items of the iterable."""
        return set(_items(self)).issuperset(_items(other))

    def __eq__(self, other: object, /) -> bool:
        if self is other:
            return True
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return len(self) == len(other) and set(_items(self)) == set(_items(other))

    def __le__(self, other: Any, /) -> bool:
        return self.issubset(other) if isinstance(other, AbstractSet) else NotImplemented

    def __lt__(self, other: Any, /) -> bool:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return set(_items(self)) < set(_items(other))

    def __ge__(self, other: Any, /) -> bool:
        return self.issuperset(other) if isinstance(other, AbstractSet) else NotImplemented

    def __gt__(self, other: Any, /) -> bool:
        if not isinstance(other, AbstractSet):
            return NotImplemented
        return set(_items(self)) > set(_items(other))

    # ---- the rest

    @described_when_dead
    @recursive_repr("SortedSet(...)")
    def __repr__(self) -> str:
        return f"SortedSet({_items(self)!r})"

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "cannot pickle a persistent SortedSet: it lives in its pool. Use copy.deepcopy() to "
            "get a plain set, or pass the pool's path and the keys that lead to it."
        )


def _items(source: Iterable[Any]) -> list[Any]:
    """Return the items, from one look at a SortedSet."""
    if isinstance(source, SortedSet):
        items: list[Any] = source[:]
        return items
    return list(source)


# Registered, not inherited: the C type keeps its slots.
MutableSet.register(SortedSet)
Sequence.register(SortedSet)


def _add(target: Any, place: Any, item: Any) -> None:
    target.add(item)


def _fill(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    target.update([item for _, item in pairs])


register(
    Kind(
        tag=lib.PMS_TAG_SORTED_SET,
        proxy=SortedSet,
        plain=(PlainSortedSet,),
        late=(("sortedcontainers.sortedset", "SortedSet"),),
        items=lambda source: [(item, item) for item in _items(source)],
        store=_add,
        fill=_fill,
        empty=lambda source: PlainSortedSet(),
        put=_add,
        new=new_sorted,
    )
)
