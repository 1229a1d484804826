"""The persistent sorted dict.

Look-up, assignment, deletion, positions and ranges are slots of the C type ``SortedDictBase`` over
the core's counted B+tree (``sorted.h``); here is the rest of the interface of sortedcontainers,
which is not needed at run time.
"""

from __future__ import annotations

import operator
from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, NoReturn, SupportsIndex, TypeVar, overload

from pmemstore._native import lib
from pmemstore.containers import order as _order
from pmemstore.containers.convert import described_when_dead, volatile
from pmemstore.containers.dict import Dict, MapView, item_pairs
from pmemstore.containers.kinds import Kind, new_object, register
from pmemstore.values import not_persistable

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = [
    "PlainSortedDict",
    "SortedDict",
    "SortedDictItems",
    "SortedDictKeys",
    "SortedDictValues",
]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_KEYS, _VALUES, _ITEMS = 0, 1, 2
assert _order.order_image is not None  # its import tells the slots

if TYPE_CHECKING:
    _Base = _slots.SortedDictBase
else:

    class _Base(_slots.SortedDictBase, Generic[K, V]):
        __slots__ = ()


class PlainSortedDict(dict[K, V]):
    """What becomes a SortedDict when it is assigned: a dict in memory, with that purpose.

    Made by ``SortedDict.of``, ``copy`` and ``copy.deepcopy``, with its items in the order of the
    keys.  Besides, it is a dict: a key that is put later comes last here, and gets its place when
    the dict goes into a pool.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"SortedDict.of({super().__repr__()})"


class SortedDict(_Base[K, V]):
    """A dict that lives in a pool and is sorted by its keys.

    Made by assigning ``SortedDict.of(...)``, or a ``sortedcontainers.SortedDict`` without a key
    function, to a place in a pool.  It has the methods of a dict and of that class, as far as they
    make sense here.  Methods that make a new dict (``copy``, ``|``) make a plain one, in memory.

    Make:       ``SortedDict.of``
    Look up:    ``d[k]``, ``k in d``, ``get``, ``len(d)``
    By place:   ``peekitem``, ``d.keys()[i]``, ``d.items()[a:b]``, ``d.index``, ``bisect_left``,
                ``bisect_right``, ``bisect``
    Change:     ``d[k] = v``, ``del d[k]``, ``setdefault``, ``pop``, ``popitem``, ``update``,
                ``|=``, ``del d.keys()[a:b]``, ``remove_range``, ``clear``
    Iterate:    ``iter(d)``, ``reversed(d)``, ``keys``, ``values``, ``items``, ``irange``,
                ``islice``, ``d.items().irange``
    Copy:       ``copy``, ``copy.copy``, ``copy.deepcopy``, ``|``: to memory

    Keys are numbers (bool, int of any size, float, and Decimals and Fractions that equal a binary
    fraction), or str, or bytes, or date, naive datetime, aware datetime (by the instant), naive
    time, timedelta, or UUID, or tuples of these and of None; as in Python only keys that can be
    compared with ``<`` go together, others are a TypeError.  A NaN is a ValueError.  ``1``,
    ``1.0`` and ``True`` are one key, and the one that was put first stays.  A look-up of a key of
    another kind finds nothing, as in a dict.  There are no key functions: put the function's
    result first into a tuple, ``(len(word), word)``.  Values are those of a Dict.

    Durability:
        Every single method call is atomic, also ``update`` with many items and ``remove_range``;
        outside a transaction it is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.

    Complexity:
        A key, a place, the place of a key, the start of a range: O(log n).  ``clear`` and
        dropping a sorted dict: O(1), its entries are torn down bit by bit later.  Loading in
        ascending order is fastest and leaves no free space behind; ``update`` sorts first.

    Example:
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["prices"] = pmemstore.SortedDict.of({30: "c", 10: "a", 20: "b"})
        >>> prices = pool.root["prices"]
        >>> prices
        SortedDict({10: 'a', 20: 'b', 30: 'c'})
        >>> list(prices.irange(15, 30, inclusive=(True, False)))
        [20]
        >>> prices.peekitem(0), prices.keys()[-1], prices.bisect_left(15)
        ((10, 'a'), 30, 1)
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin; object's is a method

    @classmethod
    def of(cls, items: Any = (), /, **more: Any) -> PlainSortedDict[Any, Any]:
        """Return a dict in memory that becomes a SortedDict when it is assigned.

        Args:
            items: Mapping, object with ``keys()``, or iterable of pairs.
            **more: Items with str keys, put last.

        Raises:
            TypeError: Something that is no pair, keys that cannot be compared, or a callable:
                there are no key functions.
            ValueError: A pair whose length is not two.

        Complexity:
            O(n log n).

        Example:
            >>> SortedDict.of(b=2, a=1)
            SortedDict.of({'a': 1, 'b': 2})
        """
        if callable(items) and not hasattr(items, "keys"):
            raise no_key_function(items)
        if getattr(items, "key", None) is not None and not isinstance(items, (Dict, SortedDict)):
            raise no_key_function(items.key)
        pairs = [*_pairs(items), *more.items()]
        return _sorted_dict(pairs)

    # ---- views

    def keys(self) -> SortedDictKeys[K]:
        """Return a view of the keys, in order: a set, and a sequence too."""
        return SortedDictKeys(self)

    def values(self) -> SortedDictValues[V]:
        """Return a view of the values, in the order of their keys: a sequence too."""
        return SortedDictValues(self)

    def items(self) -> SortedDictItems[K, V]:
        """Return a view of (key, value) pairs, in order: a set, and a sequence too."""
        return SortedDictItems(self)

    # ---- order

    def irange(
        self,
        minimum: K | None = None,
        maximum: K | None = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[K]:
        """Iterate over the keys from minimum to maximum.

        Args:
            minimum: The first key, which need not be there; None: from the least one on.
            maximum: The last key, likewise; None: up to the greatest one.
            inclusive: Whether minimum and maximum themselves count.
            reverse: From the greatest to the least.

        Raises:
            TypeError: A bound that cannot be compared with the keys.
            RuntimeError: (while iterating) Keys came or went.

        Complexity:
            O(log n) to begin; then O(1) for each key.
        """
        low, high = inclusive
        return self._irange(_KEYS, minimum, maximum, low, high, reverse)

    def islice(
        self, start: int | None = None, stop: int | None = None, reverse: bool = False
    ) -> Iterator[K]:
        """Iterate over the keys at indices start to stop, as of a slice; O(log n) to begin."""
        low, high, _ = slice(start, stop).indices(len(self))
        return self._islice(_KEYS, low, high, reverse)

    def bisect_left(self, key: Any, /) -> int:
        """Return how many keys are less than this one.  TypeError: they have no order."""
        return self._bound(key, False)

    def bisect_right(self, key: Any, /) -> int:
        """Return how many keys are not greater than this one."""
        return self._bound(key, True)

    bisect = bisect_right

    def index(self, key: Any, start: int | None = None, stop: int | None = None) -> int:
        """Return the place of a key.

        Args:
            key: The key.
            start: Look at no index before it; negative counts from the end.
            stop: Look at no index from it on.

        Raises:
            ValueError: The key is not there.

        Complexity:
            O(log n).
        """
        place = self._place(key)
        if place < 0 or (
            (start is not None or stop is not None)
            and place not in range(*slice(start, stop).indices(len(self)))
        ):
            raise ValueError(f"{key!r} is not in list")
        return place

    def peekitem(self, index: SupportsIndex = -1) -> tuple[K, V]:
        """Return the (key, value) at an index; by default that with the greatest key.

        Raises:
            IndexError: There is no such index.

        Complexity:
            O(log n).
        """
        item: tuple[K, V] = self._at(_ITEMS, operator.index(index))
        return item

    # ---- change

    def popitem(self, index: SupportsIndex = -1) -> tuple[K, V]:
        """Remove the (key, value) at an index and return it; by default the greatest key.

        Raises:
            KeyError: The dict is empty.
            IndexError: There is no such index.

        Complexity:
            O(log n).
        """
        try:
            item: tuple[K, V] = self._pop_at(_ITEMS, operator.index(index))
        except IndexError:
            if not self:
                raise KeyError("popitem(): dictionary is empty") from None
            raise
        return item

    def update(self, other: Any = (), /, **items: V) -> None:
        """Put the items of a mapping, or of an iterable of pairs, and of the keywords.

        All of them or, if anything fails, none.

        Args:
            other: Mapping, object with ``keys()``, or iterable of pairs.
            **items: Items with str keys, put last.

        Raises:
            TypeError: Something that is no pair, or a key without an order.
            ValueError: A pair whose length is not two, or a NaN as key.
            NotPersistableError: A key or value that no pool can keep.

        Complexity:
            O(m log(m + n)) for m items; one commit.
        """
        pairs = [*_pairs(other), *items.items()]
        if pairs:
            pairs.sort(key=operator.itemgetter(0))
            self._update_pairs(pairs)

    def remove_range(
        self,
        minimum: K | None = None,
        maximum: K | None = None,
        inclusive: tuple[bool, bool] = (True, True),
    ) -> int:
        """Delete the keys from minimum to maximum; the arguments are those of ``irange``.

        Returns:
            How many there were.

        Raises:
            TypeError: A bound that cannot be compared with the keys.

        Complexity:
            O(log n) and O(1) for each of them; O(1) for all keys.
        """
        return remove_range(self, minimum, maximum, inclusive)

    def __ior__(self, other: Any, /) -> SortedDict[K, V]:
        self.update(other)
        return self

    # ---- copies in memory

    def copy(self) -> PlainSortedDict[K, V]:
        """Return a dict with the same items in order; nested containers stay proxies."""
        return PlainSortedDict(self._items())

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> PlainSortedDict[K, V]:
        copied: PlainSortedDict[K, V] = volatile(self, memo)
        return copied

    def __or__(self, other: Any, /) -> PlainSortedDict[Any, Any]:
        if not isinstance(other, (dict, Dict, SortedDict)):
            return NotImplemented
        return _sorted_dict([*self._items(), *_pairs(other)])

    def __ror__(self, other: Any, /) -> PlainSortedDict[Any, Any]:
        if not isinstance(other, (dict, Dict)):
            return NotImplemented
        return _sorted_dict([*_pairs(other), *self._items()])

    @classmethod
    def fromkeys(cls, keys: Iterable[Any], value: Any = None, /) -> PlainSortedDict[Any, Any]:
        """Return a dict with these keys, in memory: assign it to make it persistent."""
        return _sorted_dict([(key, value) for key in keys])

    # ---- comparison

    def __eq__(self, other: object, /) -> bool:
        if self is other:
            return True
        if not isinstance(other, (dict, Dict, SortedDict)):
            return NotImplemented
        own = self.copy()
        return own == (dict(_pairs(other)) if not isinstance(other, dict) else other)

    # ---- the rest

    @described_when_dead
    @recursive_repr("SortedDict({...})")
    def __repr__(self) -> str:
        return f"SortedDict({{{', '.join(f'{k!r}: {v!r}' for k, v in self._items())}}})"

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "cannot pickle a persistent SortedDict: it lives in its pool. Use copy.deepcopy() to "
            "get a plain dict, or pass the pool's path and the keys that lead to it."
        )


# ---- what the set shares


def no_key_function(key: Any) -> TypeError:
    """Make the refusal of a key function."""
    return not_persistable(
        key,
        "key",
        "a sorted container orders its keys as Python does and has no key function: put what the "
        "function returns first into a tuple, as in (len(word), word)",
    )


def remove_range(sorted_: Any, minimum: Any, maximum: Any, inclusive: tuple[bool, bool], /) -> int:
    """Delete what ``irange`` would yield; returns how many there were."""
    with sorted_._pool.transaction():
        start = 0 if minimum is None else sorted_._bound(minimum, not inclusive[0])
        stop = len(sorted_) if maximum is None else sorted_._bound(maximum, inclusive[1])
        count = max(stop - start, 0)
        if count:
            sorted_._del_range(start, count)
    return count


def delete_slice(sorted_: Any, index: slice) -> None:
    """Delete what stands at the indices of a slice, as one unit of work."""
    with sorted_._pool.transaction():
        doomed = range(*index.indices(len(sorted_)))
        if doomed.step < 0:
            doomed = doomed[::-1]
        if doomed and doomed.step == 1:
            sorted_._del_range(doomed.start, len(doomed))
            return
        for i in reversed(doomed):
            sorted_._del_range(i, 1)


def _pairs(other: Any) -> list[tuple[Any, Any]]:
    return other._items() if isinstance(other, SortedDict) else item_pairs(other)


def _sorted_dict(pairs: list[tuple[Any, Any]]) -> PlainSortedDict[Any, Any]:
    # The first of equal keys stays, with the last value, as in a dict.
    merged = dict(pairs)
    return PlainSortedDict(sorted(merged.items(), key=operator.itemgetter(0)))


# ---- views


class _View(MapView[T]):
    """What the three views have in common."""

    __slots__ = ()
    _mapping: SortedDict[Any, Any]

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> T: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[T]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if isinstance(index, slice):
            return self._mapping._slice(self._kind, index)
        return self._mapping._at(self._kind, _as_index(index))

    def __delitem__(self, index: SupportsIndex | slice, /) -> None:
        if isinstance(index, slice):
            delete_slice(self._mapping, index)
        else:
            self._mapping._pop_at(_KEYS, _as_index(index))

    def irange(
        self,
        minimum: Any = None,
        maximum: Any = None,
        inclusive: tuple[bool, bool] = (True, True),
        reverse: bool = False,
    ) -> Iterator[T]:
        """Iterate over what belongs to the keys from minimum to maximum; see SortedDict.irange."""
        low, high = inclusive
        return self._mapping._irange(self._kind, minimum, maximum, low, high, reverse)

    def islice(
        self, start: int | None = None, stop: int | None = None, reverse: bool = False
    ) -> Iterator[T]:
        """Iterate over what stands at indices start to stop, as of a slice."""
        low, high, _ = slice(start, stop).indices(len(self._mapping))
        return self._mapping._islice(self._kind, low, high, reverse)

    def index(self, value: Any, start: SupportsIndex = 0, stop: SupportsIndex | None = None) -> int:
        """Return the first index of a value.

        Raises:
            ValueError: The value is not there.

        Complexity:
            O(n); for keys O(log n).
        """
        low, high, _ = slice(start, stop).indices(len(self._mapping))
        for i, item in enumerate(self.islice(low, high), low):
            if item is value or item == value:
                return i
        raise ValueError(f"{value!r} is not in list")

    def count(self, value: Any, /) -> int:
        """Return how many items equal the value."""
        return sum(1 for item in self if item is value or item == value)

    @property
    def mapping(self) -> SortedDict[Any, Any]:
        """The sorted dict itself."""
        return self._mapping


def _as_index(index: SupportsIndex) -> int:
    try:
        return operator.index(index)
    except TypeError:
        raise TypeError(
            f"list indices must be integers or slices, not {type(index).__name__}"
        ) from None


class SortedDictKeys(_View[K], KeysView[K]):
    """View of the keys of a SortedDict: a set that can be indexed."""

    __slots__ = ()
    _kind = _KEYS

    @classmethod
    def _from_iterable(cls, items: Iterable[Any]) -> set[Any]:
        return set(items)

    def __contains__(self, key: object) -> bool:
        return key in self._mapping

    def index(self, value: Any, start: SupportsIndex = 0, stop: SupportsIndex | None = None) -> int:
        """Return the place of a key.  ValueError: it is not there.  O(log n)."""
        return self._mapping.index(
            value, operator.index(start), None if stop is None else operator.index(stop)
        )

    def count(self, value: Any, /) -> int:
        """Return 1 if the key is there, else 0."""
        return int(value in self._mapping)

    def bisect_left(self, key: Any, /) -> int:
        """Return how many keys are less than this one."""
        return self._mapping.bisect_left(key)

    def bisect_right(self, key: Any, /) -> int:
        """Return how many keys are not greater than this one."""
        return self._mapping.bisect_right(key)

    bisect = bisect_right


class SortedDictValues(_View[V], ValuesView[V]):
    """View of the values of a SortedDict: a sequence."""

    __slots__ = ()
    _kind = _VALUES

    def __contains__(self, value: object) -> bool:
        return any(item is value or item == value for item in self)


class SortedDictItems(_View[tuple[K, V]], ItemsView[K, V]):
    """View of the items of a SortedDict: a set that can be indexed."""

    __slots__ = ()
    _kind = _ITEMS

    @classmethod
    def _from_iterable(cls, items: Iterable[Any]) -> set[Any]:
        return set(items)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        missing = object()
        found = self._mapping.get(item[0], missing)
        return found is not missing and (found is item[1] or found == item[1])


# Registered, not inherited: the C type keeps its slots, and "case {...}" matches a SortedDict.
MutableMapping.register(SortedDict)
assert issubclass(SortedDict, Mapping)


def new_sorted(pool: Any, kind: Kind, source: Any) -> Any:
    """Make an empty object; a source with a key function is refused."""
    key = getattr(source, "key", None)
    if key is not None:
        raise no_key_function(key)
    return new_object(pool, kind, source)


register(
    Kind(
        tag=lib.PMS_TAG_SORTED_DICT,
        proxy=SortedDict,
        plain=(PlainSortedDict,),
        late=(("sortedcontainers.sorteddict", "SortedDict"),),
        items=_pairs,
        store=operator.setitem,
        fill=SortedDict.update,
        empty=lambda source: PlainSortedDict(),
        put=operator.setitem,
        new=new_sorted,
    )
)
