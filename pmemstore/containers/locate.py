"""Where a refused value was to be stored: the way to its container from the root.

Nothing in a pool knows what refers to it, so the way is searched for, breadth first, and only
when there is an error to tell.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from pmemstore._native import ffi, lib
from pmemstore.containers.kinds import kind_of
from pmemstore.errors import NotPersistableError, PmemstoreError
from pmemstore.values import prefixed

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["locate"]

#: Items that the search looks at; what is farther away is told without its place.
_ITEMS_MAX: Final = 10_000


def locate(proxy: Any, error: TypeError, *place: Any) -> TypeError:
    """Let a refusal tell the whole place (hook of the C slots).

    Args:
        proxy: The container that the value was to be stored in.
        error: What was raised.
        *place: Key or index, if it is known.

    Returns:
        The same refusal with the place from the root on: ``root['a'][3]['x']``.  The very same
        exception if it is another one, if the container was not found near the root, or if
        looking for it would wait for another thread.
    """
    if not isinstance(error, NotPersistableError) or error.parts is None or error.located:
        return error
    way = _way_to(proxy)
    kind = kind_of(proxy)
    if way is None or kind is None:
        return error
    told = prefixed(error, way + (kind.place(proxy, *place) if place else "[...]"))
    told.located = True
    return told


def _way_to(proxy: Any) -> str | None:
    pool = proxy._pool
    root = pool._root_dict
    if root is None or not _readable(pool):
        return None
    left = _ITEMS_MAX
    queue = [("root", root)]
    seen = {id(root)}
    for way, container in queue:  # it grows meanwhile
        if container is proxy:
            return way
        kind = kind_of(container)
        record = isinstance(container, _slots.RecordBase)  # its __len__ is the application's
        try:
            size = len(container) if isinstance(container, Sized) and not record else 1
            if kind is None or size > left:
                continue
            left -= size
            items = list(kind.items(container))
        except PmemstoreError:  # damage, an unknown type: not the error to tell
            continue
        for place, item in items:
            if kind_of(item) is not None and id(item) not in seen:
                seen.add(id(item))
                queue.append((way + kind.place(container, place), item))
    return None


def _readable(pool: Any) -> bool:
    """Whether reading does not have to wait."""
    core = pool._core()
    if lib.pms_enter_read(core, ffi.NULL) != lib.PMS_OK:
        return False
    return lib.pms_leave_read(core) == lib.PMS_OK
