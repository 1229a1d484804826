"""The application's own types: which are registered, and which enum classes can be found.

A pool stores the name of a type, and a pool may be anybody's.  So a name is only ever looked up,
among what was registered and, for enums, among the classes of modules that are imported already.
Nothing is imported, and no attribute is asked for that could run code: ``__dict__`` alone.
"""

from __future__ import annotations

import enum
import functools
import operator
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from pmemstore.errors import UnknownTypeError
from pmemstore.values.codes import NAME_MAX
from pmemstore.values.hints import type_name

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Registered", "enum_of", "name_of_enum", "register", "registered_as", "registered_of"]

T = TypeVar("T")

#: Not to be registered, nor what is derived from them: they can change after they were packed.
_MUTABLE = (dict, list, set, bytearray, memoryview, deque, _slots.ProxyBase, _slots.PoolBase)


@dataclass(frozen=True, slots=True)
class Registered:
    """How a type is written and read; ``pack`` and ``unpack`` are None for enum classes."""

    cls: type
    name: str
    names: tuple[str, ...]
    pack: Callable[[Any], Any] | None
    unpack: Callable[[Any], Any] | None
    keys: bool


_lock = threading.Lock()
_by_type: dict[type, Registered] = {}
_by_name: dict[str, Registered] = {}
_built_in: frozenset[type] = frozenset()


def built_in(types: Iterable[type]) -> None:
    """Say which types need no registration."""
    global _built_in
    _built_in = frozenset(types)


def register(
    cls: type[T],
    pack: Callable[[T], Any] | None = None,
    unpack: Callable[[Any], T] | None = None,
    *,
    name: str | None = None,
    also: Iterable[str] = (),
    keys: bool = False,
) -> None:
    """Let objects of a type of your own be values in pools.

    The pool stores the name and what ``pack`` returns.  The objects should be immutable: what is
    read is a new object each time, and a change of it is not stored.  Whoever reads the pool must
    have registered the type under the same name; else reading raises UnknownTypeError, and the
    value stays as it is.

    Args:
        cls: The class; objects of exactly this class, not of classes derived from it.
        pack: Makes a value of an object: any value that a pool keeps but no dict and no list,
            for example a tuple.
        unpack: Makes the object again of that value.
        name: What pools call the type.  Default: module and qualified name of the class.  Never
            change it while pools have such values, or list the old one in ``also``.
        also: Older names, which are read too.
        keys: Allow the objects as keys of dicts, and in tuples that are keys.  Then objects that
            are equal must be packed as equal keys, and others as others: the pool compares what
            ``pack`` returns.

    An enum class is registered without ``pack`` and ``unpack``: enum members are values in any
    case, but a registered name survives when the class moves to another module.

    Raises:
        TypeError: The class is one that pools keep by themselves, or can be changed in place (a
            container), or ``pack`` or ``unpack`` is missing.
        ValueError: The name, or one of ``also``, belongs to another class.  Registering the same
            class again replaces its entry, also when its module was reloaded.

    Thread safety:
        Any thread may call it at any time.

    Example:
        >>> import pmemstore
        >>> from dataclasses import astuple, dataclass
        >>> @dataclass(frozen=True)
        ... class Money:
        ...     cents: int
        ...     currency: str
        >>> pmemstore.register(Money, astuple, lambda fields: Money(*fields), name="till.Money")
        >>> with pmemstore.open(getfixture("tmp_path") / "doc.pool") as pool:
        ...     pool.root["price"] = Money(950, "EUR")
        ...     print(pool.root["price"])
        Money(cents=950, currency='EUR')
    """
    _check_class(cls, pack, unpack)
    first = f"{cls.__module__}:{cls.__qualname__}" if name is None else name
    entry = Registered(cls, first, (first, *also), pack, unpack, keys)
    names: tuple[Any, ...] = entry.names
    for each in names:
        if not isinstance(each, str) or not 0 < len(each) <= NAME_MAX:
            raise ValueError(f"the name of a type has 1 to {NAME_MAX} characters, not {each!r}")
    with _lock:
        for each in entry.names:
            other = _by_name.get(each)
            if other is not None and not _same(other.cls, cls):
                raise ValueError(
                    f"{each!r} is the name of {type_name(other.cls)} already; give "
                    f"{type_name(cls)} another name="
                )
        for old in [r for r in _by_type.values() if _same(r.cls, cls)]:
            del _by_type[old.cls]
            for each in old.names:
                _by_name.pop(each, None)
        _by_type[cls] = entry
        _by_name.update(dict.fromkeys(entry.names, entry))


def _same(one: type, other: type) -> bool:
    """The same class, or what it was before its module ran again."""
    return one is other or (
        one.__module__ == other.__module__ and one.__qualname__ == other.__qualname__
    )


def _check_class(cls: Any, pack: Any, unpack: Any) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"register() takes a class, not {cls!r}")
    if cls in _built_in:
        raise TypeError(f"{type_name(cls)} is a value already; only classes of your own need it")
    if issubclass(cls, _MUTABLE):
        raise TypeError(
            f"{type_name(cls)} can be changed in place, which a pool would not notice; assign a "
            "plain dict or list, which becomes a persistent one"
        )
    if issubclass(cls, enum.Enum):
        if pack is not None or unpack is not None:
            raise TypeError(
                f"{type_name(cls)} is an enum: its members are stored by name; leave out pack "
                "and unpack"
            )
    elif not callable(pack) or not callable(unpack):
        raise TypeError(
            f"register({type_name(cls)}) needs pack, which makes a value of an object, and "
            "unpack, which makes the object of that value"
        )


def registered_of(cls: type) -> Registered | None:
    """Return how objects of exactly this class are written, if it is registered."""
    return _by_type.get(cls)


def registered_as(name: str) -> Registered | None:
    """Return how what a pool calls by this name is read, if it is registered."""
    return _by_name.get(name)


# ---- enums ----


def name_of_enum(cls: type[enum.Enum]) -> str | None:
    """Return the name by which ``enum_of`` finds a class; None: it would not."""
    entry = _by_type.get(cls)
    if entry is not None:
        return entry.name
    name = f"{cls.__module__}:{cls.__qualname__}"
    return name if _imported(name) is cls else None


def _imported(name: str) -> object:
    """Find module:qualname among what is imported; None if it is not there."""
    module_name, _, qualname = name.partition(":")
    module = sys.modules.get(module_name)
    if not isinstance(module, ModuleType) or qualname.count(".") > 20:
        return None
    found: object = module
    for part in qualname.split("."):
        # Not getattr: a module's __getattr__ may import, a descriptor may do anything.
        if isinstance(found, ModuleType):
            found = object.__getattribute__(found, "__dict__").get(part)
        elif isinstance(found, type):
            found = type.__dict__["__dict__"].__get__(found).get(part)
        else:
            return None
    return found


def enum_of(name: object, member: object) -> enum.Enum:
    """Return a member of an enum class, by the names that a pool has of them.

    Raises:
        UnknownTypeError: There is no such class, or it has no such member.
        ValueError: No value that is written looks like this.
    """
    names = (member,) if isinstance(member, str) else member
    if not isinstance(name, str) or not isinstance(names, tuple):
        raise ValueError("an enum member that is not told by names")
    entry = _by_name.get(name)
    cls = _imported(name) if entry is None else entry.cls
    if not isinstance(cls, enum.EnumType) or not issubclass(cls, enum.Enum):
        module = name.partition(":")[0]
        raise UnknownTypeError(
            f"a stored value is a member of the enum {name!r}, which is not known here. The value "
            f"is unharmed; import the module {module!r}, or call "
            f"pmemstore.register(cls, name={name!r}), and read it again.",
            name=name,
        )
    members = cls.__members__
    for each in names:
        if each not in members:
            raise UnknownTypeError(
                f"a stored value is {each!r} of the enum {name!r}, which has no such member any "
                "more. The value is unharmed; give the class that member, and read it again.",
                name=name,
            )
    if isinstance(member, str):
        return members[member]
    if not issubclass(cls, enum.Flag):
        raise UnknownTypeError(
            f"a stored value is a combination of members of {name!r}, which is no Flag any more. "
            "The value is unharmed; make it one, and read it again.",
            name=name,
        )
    return functools.reduce(operator.or_, (members[each] for each in names), cls(0))
