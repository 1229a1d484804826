"""Plain containers into a pool, and containers of a pool into memory.

Both walk with a stack of their own, so the depth of what they copy is bounded by memory, not by
the interpreter's recursion limit.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pmemstore._native import lib
from pmemstore.errors import NotPersistableError, PoolClosedError, StaleRefError
from pmemstore.values import prefixed

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["build", "described_when_dead", "volatile"]

DICT: Final[int] = lib.PMS_TAG_DICT
LIST: Final[int] = lib.PMS_TAG_LIST


def _tag(value: object) -> int:
    """Return the tag of what a value becomes, 0 if it is no container."""
    kind = type(value)
    if kind is dict or isinstance(value, _slots.DictBase):
        return DICT
    if kind is list or isinstance(value, _slots.ListBase):
        return LIST
    return 0


def _whole(value: Any) -> Any:
    # One look at a List, so no other thread's change is seen in part.
    return value._get_range(0, sys.maxsize) if isinstance(value, _slots.ListBase) else value


def _items(value: Any, tag: int) -> Iterator[tuple[Any, Any]]:
    if tag == LIST:
        return enumerate(_whole(value))
    return iter(value._items() if isinstance(value, _slots.DictBase) else value.items())


class _Frame:
    """A container that is being copied: how far, and at which key."""

    __slots__ = ("items", "key", "source", "tag", "target")

    def __init__(self, source: Any, target: Any, tag: int) -> None:
        self.source = source
        self.target = target
        self.tag = tag
        self.items = _items(source, tag)
        self.key: Any = None

    def store(self, item: Any) -> None:
        if self.tag == DICT:
            self.target[self.key] = item
        else:
            self.target.append(item)


def build(pool: Any, value: Any) -> Any:
    """Make persistent containers of plain ones, or of those of another pool (hook of the slots).

    Runs inside a transaction.  A container that occurs several times in the value is one
    container in the pool too.

    Args:
        pool: The pool.
        value: Any object.

    Returns:
        The proxy of a container that nothing refers to yet; NotImplemented for other types.

    Raises:
        NotPersistableError: Something inside; the message names its place.
        ValueError: The value contains itself.
    """
    tag = _tag(value)
    if not tag:
        return NotImplemented
    top = pool._new(tag)
    made = {id(value): top}
    sources = [value]  # keeps the ids valid
    above = {id(value)}
    stack = [_Frame(value, top, tag)]
    if _bulk(stack[0]):
        return top
    while stack:
        frame = stack[-1]
        child = _fill(pool, frame, stack, made, above)
        if child is None:
            above.discard(id(frame.source))
            stack.pop()
            continue
        sources.append(child.source)
        if not _bulk(child):
            above.add(id(child.source))
            stack.append(child)
    return top


def _fill(
    pool: Any, frame: _Frame, stack: list[_Frame], made: dict[int, Any], above: set[int]
) -> _Frame | None:
    """Store items up to the first container that has to be copied, and return that."""
    for key, item in frame.items:
        frame.key = key
        tag = _tag(item)
        child = None
        if tag and getattr(item, "_pool", None) is not pool:
            if id(item) in above:
                raise ValueError(f"value{_path(stack)}: the value contains itself")
            stored = made.get(id(item))
            if stored is None:
                stored = made[id(item)] = pool._new(tag)
                child = _Frame(item, stored, tag)
        else:
            stored = item
        try:
            frame.store(stored)
        except NotPersistableError as error:
            raise prefixed(error, _path(stack)) from None
        if child is not None:
            return child
    return None


def _path(stack: list[_Frame]) -> str:
    return "".join(f"[{frame.key!r}]" for frame in stack)


def _bulk(frame: _Frame) -> bool:
    """Store a container without containers inside in one go; False: it has some."""
    source = frame.source
    if frame.tag == DICT:
        if any(_tag(item) for item in source.values()):
            return False
        pairs = list(source.items())
    else:
        if any(_tag(item) for item in source):
            return False
        pairs = list(source)
    try:
        if frame.tag == DICT:
            frame.target._update_pairs(pairs)
        else:
            frame.target.extend(pairs)
    except NotPersistableError:
        return False  # nothing was stored; one by one will tell the place
    return True


def volatile(value: Any, memo: dict[int, Any]) -> Any:
    """Copy a Dict or List with all that is inside to plain dicts and lists, in memory.

    Args:
        value: The proxy.
        memo: As ``copy.deepcopy`` hands it down: copies by the id of their source.

    Returns:
        The plain container.
    """
    kept = memo.setdefault(id(memo), [])
    tag = _tag(value)
    top: Any = {} if tag == DICT else []
    memo[id(value)] = top
    stack = [(value, tag, top)]
    while stack:
        source, tag, target = stack.pop()
        kept.append(source)
        for key, item in _items(source, tag):
            inner = _tag(item)
            if inner:
                copied = memo.get(id(item))
                if copied is None:
                    copied = memo[id(item)] = {} if inner == DICT else []
                    kept.append(item)
                    stack.append((item, inner, copied))
            else:
                copied = item
            if tag == DICT:
                target[key] = copied
            else:
                target.append(copied)
    return top


def described_when_dead(function: Callable[[Any], str]) -> Callable[[Any], str]:
    """Let repr() work on what cannot be read any more."""

    @functools.wraps(function)
    def describe(self: Any) -> str:
        try:
            return function(self)
        except PoolClosedError:
            return f"<{type(self).__name__} of a closed pool>"
        except StaleRefError:
            return f"<{type(self).__name__} that was rolled back>"

    return describe
