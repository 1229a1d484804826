"""Kinds of containers: which plain type becomes which persistent one, and how to copy it.

One ``Kind`` for each tag of an object; the module of a container registers its own.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Kind", "kind_of", "new_object", "register", "subscript"]


def new_object(pool: Any, kind: Kind, source: Any) -> Any:
    """Make an empty object of a kind, that nothing refers to."""
    return pool._new(kind.tag)


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def subscript(source: Any, place: Any) -> str:
    """Return the place of an item in words: ``['name']``."""
    return f"[{_short.repr(place)}]"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of container.

    Attributes:
        tag: Of its objects, as in layout.h.
        proxy: Class of its proxies.
        plain: Plain types that become such an object; exactly these, no subclasses.
        late: The same by (module, name), of modules that are not imported for their sake.
        items: All (place, item) of a plain container or a proxy, from one look at it.
        store: Put an item at its place in a proxy: ``store(proxy, place, item)``.
        fill: Put all pairs of ``items`` into a new proxy, in one call of the core.
        empty: A new plain container that is to hold a copy of this one.
        put: As ``store``, into that plain container.
        new: Make the object: ``new(pool, kind, source)``; it may take more than the items from
            its source.
        place: A place in words, for messages: ``place(source, place)``.
    """

    tag: int
    proxy: type
    plain: tuple[type, ...]
    items: Callable[[Any], Iterable[tuple[Any, Any]]]
    store: Callable[[Any, Any, Any], object]
    fill: Callable[[Any, list[tuple[Any, Any]]], object]
    empty: Callable[[Any], Any]
    put: Callable[[Any, Any, Any], object]
    new: Callable[[Any, Kind, Any], Any] = new_object
    late: tuple[tuple[str, str], ...] = ()
    place: Callable[[Any, Any], str] = subscript


_by_type: dict[type, Kind] = {}
_by_tag: dict[int, Kind] = {}
_late: dict[str, dict[str, Kind]] = {}  # by module and name


def register(kind: Kind) -> None:
    """Let values of these types be kept in pools, and let the core make these proxies."""
    _slots.set_type(kind.tag, kind.proxy)
    _by_tag[kind.tag] = kind
    for plain in kind.plain:
        _by_type[plain] = kind
    for module, name in kind.late:
        _late.setdefault(module, {})[name] = kind


def kind_of(value: object) -> Kind | None:
    """Return the kind of a plain container or of a proxy; None: it is no container."""
    kind = _by_type.get(type(value))
    if kind is not None:
        return kind
    if isinstance(value, _slots.ProxyBase):
        return _by_tag[value._tag]
    return _late_kind(type(value))


def _late_kind(plain: type) -> Kind | None:
    module: object = plain.__module__  # a class may have set it to anything
    if not isinstance(module, str) or module not in _late:
        return None
    kind = _late[module].get(plain.__qualname__)
    if getattr(sys.modules.get(module), plain.__qualname__, None) is not plain or kind is None:
        return None
    _by_type[plain] = kind
    return kind
