"""The persistent dict.

Look-up, assignment, deletion, iteration and the other hot operations are slots of the C type
``DictBase`` over the core's linear hash table (``table.h``); here is the rest of the builtin's
interface.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import (
    Collection,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from pmemstore._native import lib
from pmemstore.containers.convert import described_when_dead, volatile
from pmemstore.containers.kinds import Kind, register
from pmemstore.errors import NotPersistableError

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Dict", "DictItems", "DictKeys", "DictValues"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_KEYS, _VALUES, _ITEMS = 0, 1, 2

# Up to this part of a dict is looked up one by one; more: the whole is read first.
_FEW = 8

if TYPE_CHECKING:
    _Base = _slots.DictBase
else:

    class _Base(_slots.DictBase, Generic[K, V]):
        __slots__ = ()


class Dict(_Base[K, V]):
    """A dict that lives in a pool.  Made by assigning a plain dict to a place in a pool.

    It has the methods of the builtin, with the builtin's semantics: insertion order, ``1``,
    ``1.0`` and ``True`` as one key, KeyError with the key, RuntimeError when its size changes
    during iteration.  Methods that make a new dict (``copy``, ``|``, ``fromkeys``) make a plain
    one, in memory.

    Look up:    ``d[k]``, ``k in d``, ``get``, ``len(d)``
    Change:     ``d[k] = v``, ``del d[k]``, ``setdefault``, ``pop``, ``popitem``, ``update``,
                ``|=``, ``clear``
    Iterate:    ``iter(d)``, ``reversed(d)``, ``keys``, ``values``, ``items``
    Copy:       ``copy``, ``copy.copy``, ``copy.deepcopy``, ``|``: to memory

    Keys are None, bool, int, float, complex, str, bytes, Decimal, Fraction, UUID, the types of
    ``datetime``, range, paths, enum members, IP addresses, and tuples and frozensets of these;
    types of your own by ``pmemstore.register``.  A key that equals an int, a float or a str comes
    back as that.  Values are the same, plain containers, arrays and records, which become
    persistent, and proxies, which are linked.

    Durability:
        Every single method call is atomic, also ``update`` with many items; outside a
        transaction it is durable when it returns.

    Thread safety:
        Any thread may call any method at any time.  While another thread has a transaction
        open, the call waits.

    Complexity:
        Look-up, assignment, deletion: O(1), and no single call ever copies the table.
        ``clear`` and dropping a dict: O(1), its entries are torn down bit by bit later.

    Example:
        >>> import pmemstore
        >>> pool = pmemstore.open(getfixture("tmp_path") / "doc.pool")
        >>> pool.root["stock"] = {"nails": 4}
        >>> stock = pool.root["stock"]
        >>> stock["nuts"] = 7
        >>> stock
        {'nails': 4, 'nuts': 7}
        >>> pool.root["stock"] is stock
        True
        >>> pool.close()
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin; object's is a method

    # ---- views

    def keys(self) -> KeysView[K]:
        """Return a view of the keys, which follows the dict and has set operations."""
        return DictKeys(self)

    def values(self) -> ValuesView[V]:
        """Return a view of the values."""
        return DictValues(self)

    def items(self) -> ItemsView[K, V]:
        """Return a view of (key, value) pairs, which has set operations."""
        return DictItems(self)

    # ---- change

    def update(self, other: Any = (), /, **items: V) -> None:
        """Put the items of a mapping, or of an iterable of pairs, and of the keywords.

        All of them or, if anything fails, none: unlike the builtin, a pair that is none leaves
        the dict as it was.

        Args:
            other: Mapping, object with ``keys()``, or iterable of pairs.
            **items: Items with str keys, put last.

        Raises:
            TypeError: Something that is no pair, or an unhashable key.
            ValueError: A pair whose length is not two.
            NotPersistableError: A key or value that no pool can keep.

        Complexity:
            O(number of items); one commit.
        """
        if type(other) is dict and not items:
            self._update_pairs(other.copy())  # as it is now: others may change it meanwhile
            return
        pairs = item_pairs(other)
        if items:
            pairs.extend(items.items())
        if pairs:
            self._update_pairs(pairs)

    def __ior__(self, other: Any, /) -> Dict[K, V]:
        self.update(other)
        return self

    # ---- copies in memory

    def copy(self) -> dict[K, V]:
        """Return a plain dict with the same keys and values; nested containers stay proxies."""
        return dict(self._items())

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[K, V]:
        copied: dict[K, V] = volatile(self, memo)
        return copied

    def __or__(self, other: Any, /) -> dict[Any, Any]:
        if not isinstance(other, (dict, Dict)):
            return NotImplemented
        result: dict[Any, Any] = self.copy()
        result.update(_plain(other))
        return result

    def __ror__(self, other: Any, /) -> dict[Any, Any]:
        if not isinstance(other, dict):
            return NotImplemented
        result = dict(other)
        result.update(self.copy())
        return result

    @classmethod
    def fromkeys(cls, keys: Iterable[Any], value: Any = None, /) -> dict[Any, Any]:
        """Return a plain dict with these keys, in memory: assign it to make it persistent."""
        return dict.fromkeys(keys, value)

    # ---- comparison

    def __eq__(self, other: object, /) -> bool:
        if self is other:
            return True
        if not isinstance(other, (dict, Dict)):
            return NotImplemented
        own = self._items()
        if isinstance(other, Dict):
            other = other.copy()
        if len(own) != len(other):
            return False
        missing = object()
        for key, value in own:
            found = other.get(key, missing)
            if found is not value and (found is missing or not found == value):
                return False
        return True

    # ---- the rest

    @described_when_dead
    @recursive_repr("{...}")
    def __repr__(self) -> str:
        return f"{{{', '.join(f'{k!r}: {v!r}' for k, v in self._items())}}}"

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            "cannot pickle a persistent Dict: it lives in its pool. Use copy.deepcopy() to get a "
            "plain dict, or pass the pool's path and the keys that lead to it."
        )


def _plain(mapping: Any) -> Any:
    return mapping.copy() if isinstance(mapping, Dict) else mapping


def item_pairs(other: Any) -> list[tuple[Any, Any]]:
    """Collect items as dict.update() would, with its errors, before anything is written."""
    if isinstance(other, Dict):
        return other._items()
    if isinstance(other, dict):
        return list(other.items())
    if hasattr(other, "keys"):
        return [(key, other[key]) for key in other.keys()]  # noqa: SIM118 - may be no mapping
    pairs: list[tuple[Any, Any]] = []
    for number, pair in enumerate(other):
        try:
            items = tuple(pair)
        except TypeError:
            raise TypeError(
                f"cannot convert dictionary update sequence element #{number} to a sequence"
            ) from None
        if len(items) != 2:
            raise ValueError(
                f"dictionary update sequence element #{number} has length {len(items)}; "
                "2 is required"
            )
        pairs.append((items[0], items[1]))
    return pairs


class MapView(Generic[T]):
    """What all views have in common, also of a SortedDict; stands before one of the ABCs."""

    __slots__ = ()
    _mapping: Any
    _kind: int

    def __iter__(self) -> Iterator[T]:
        items: Iterator[T] = self._mapping._iter(self._kind, False)
        return items

    def __reversed__(self) -> Iterator[T]:
        items: Iterator[T] = self._mapping._iter(self._kind, True)
        return items

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"

    def __reduce_ex__(self, protocol: Any, /) -> NoReturn:
        raise TypeError(
            f"cannot pickle or copy {type(self).__name__}: it is a view of a persistent "
            f"{type(self._mapping).__name__}. Use list() to get what it shows."
        )


class _View(MapView[Any]):
    __slots__ = ()
    _mapping: Dict[Any, Any]

    @property
    def mapping(self) -> Dict[Any, Any]:
        """The dict itself."""
        return self._mapping


class _SetView(_View):
    """Set algebra of a view: that of the builtin's view of a copy, which one look makes."""

    __slots__ = ()

    @abstractmethod
    def _plain(self) -> Any:
        """Return the builtin's view of a copy."""

    @classmethod
    def _from_iterable(cls, items: Iterable[Any]) -> set[Any]:
        return set(items)

    def _common(self, other: Any) -> set[Any] | None:
        """Return those of a few others that are in the view; None: they are not few."""
        if not isinstance(other, Collection) or _FEW * len(other) >= len(self._mapping):
            return None
        try:
            return {item for item in other if item in self}
        except NotPersistableError:  # only a comparison in memory can tell what it equals
            return None

    def isdisjoint(self, other: Iterable[Any], /) -> bool:
        """Return whether the view and the other have no item in common."""
        common = self._common(other)
        return not common if common is not None else self._plain().isdisjoint(_held(other))

    def __and__(self, other: Any, /) -> Any:
        common = self._common(other)
        return common if common is not None else self._plain().__and__(_held(other))

    def __rand__(self, other: Any, /) -> Any:
        return self._plain().__rand__(_held(other))

    def __or__(self, other: Any, /) -> Any:
        return self._plain().__or__(_held(other))

    def __ror__(self, other: Any, /) -> Any:
        return self._plain().__ror__(_held(other))

    def __sub__(self, other: Any, /) -> Any:
        return self._plain().__sub__(_held(other))

    def __rsub__(self, other: Any, /) -> Any:
        return self._plain().__rsub__(_held(other))

    def __xor__(self, other: Any, /) -> Any:
        return self._plain().__xor__(_held(other))

    def __rxor__(self, other: Any, /) -> Any:
        return self._plain().__rxor__(_held(other))

    def __eq__(self, other: object, /) -> Any:
        return self._plain().__eq__(_held(other))

    def __lt__(self, other: Any, /) -> Any:
        return self._plain().__lt__(_held(other))

    def __le__(self, other: Any, /) -> Any:
        return self._plain().__le__(_held(other))

    def __gt__(self, other: Any, /) -> Any:
        return self._plain().__gt__(_held(other))

    def __ge__(self, other: Any, /) -> Any:
        return self._plain().__ge__(_held(other))


def _held(other: Any) -> Any:
    """What builtin views work with, of a view of ours or a Set."""
    if isinstance(other, _SetView):
        return other._plain()
    return set(other._keys()) if isinstance(other, _slots.SetBase) else other


class DictKeys(_SetView, KeysView[K]):
    """View of the keys of a Dict."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin
    _kind = _KEYS

    def _plain(self) -> Any:
        return dict.fromkeys(self._mapping._keys()).keys()

    def __contains__(self, key: object) -> bool:
        return key in self._mapping


class DictValues(_View, ValuesView[V]):
    """View of the values of a Dict."""

    __slots__ = ()
    _kind = _VALUES

    def __contains__(self, value: object) -> bool:
        return any(item is value or item == value for item in self)


class DictItems(_SetView, ItemsView[K, V]):
    """View of the items of a Dict."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # as the builtin
    _kind = _ITEMS

    def _plain(self) -> Any:
        return self._mapping.copy().items()

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        missing = object()
        found = self._mapping.get(item[0], missing)
        return found is not missing and (found is item[1] or found == item[1])


# Registered, not inherited: the C type keeps its slots, and "case {...}" matches a Dict.
MutableMapping.register(Dict)
assert issubclass(Dict, Mapping)

register(
    Kind(
        tag=lib.PMS_TAG_DICT,
        proxy=Dict,
        plain=(dict,),
        items=item_pairs,
        store=operator.setitem,
        fill=_slots.DictBase._update_pairs,
        empty=lambda source: {},
        put=operator.setitem,
    )
)
