"""Plain containers into a pool, and containers of a pool into memory.

Both walk with a stack of their own, so the depth of what they copy is bounded by memory, not by
the interpreter's recursion limit.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, SupportsIndex

from pmemstore.containers.kinds import Kind, kind_of
from pmemstore.errors import NotPersistableError, PoolClosedError, StaleRefError
from pmemstore.values import prefixed

__all__ = ["as_factor", "build", "described_when_dead", "volatile"]


class _Frame:
    """A container that is being copied: how far, and at which place."""

    __slots__ = ("items", "kind", "place", "source", "target")

    def __init__(self, source: Any, target: Any, kind: Kind) -> None:
        self.source = source
        self.target = target
        self.kind = kind
        self.items = iter(kind.items(source))
        self.place: Any = None

    def store(self, item: Any) -> None:
        self.kind.store(self.target, self.place, item)


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
    kind = kind_of(value)
    if kind is None:
        return NotImplemented
    top = kind.new(pool, kind, value)
    made = {id(value): top}
    sources = [value]  # keeps the ids valid
    above = {id(value)}
    stack = [_Frame(value, top, kind)]
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
    for place, item in frame.items:
        frame.place = place
        kind = kind_of(item)
        child = None
        if kind is not None and getattr(item, "_pool", None) is not pool:
            if id(item) in above:
                raise ValueError(f"value{_path(stack)}: the value contains itself")
            stored = made.get(id(item))
            if stored is None:
                stored = made[id(item)] = kind.new(pool, kind, item)
                child = _Frame(item, stored, kind)
        else:
            stored = item
        try:
            frame.store(stored)
        except NotPersistableError as error:
            raise prefixed(error, _path(stack)) from error.__cause__
        if child is not None:
            return child
    return None


def _path(stack: list[_Frame]) -> str:
    return "".join(frame.kind.place(frame.source, frame.place) for frame in stack)


def _bulk(frame: _Frame) -> bool:
    """Store a container without containers inside in one go; False: it has some."""
    pairs = list(frame.kind.items(frame.source))
    if any(kind_of(item) is not None for _, item in pairs):
        return False
    try:
        frame.kind.fill(frame.target, pairs)
    except NotPersistableError:
        return False  # nothing was stored; one by one will tell the place
    return True


def volatile(value: Any, memo: dict[int, Any]) -> Any:
    """Copy a proxy with all that is inside to plain containers, in memory.

    Args:
        value: The proxy.
        memo: As ``copy.deepcopy`` hands it down: copies by the id of their source.

    Returns:
        The plain container.
    """
    kept = memo.setdefault(id(memo), [])
    kind = kind_of(value)
    assert kind is not None
    top = memo[id(value)] = kind.empty(value)
    stack = [(value, kind, top)]
    while stack:
        source, kind, target = stack.pop()
        kept.append(source)
        for place, item in kind.items(source):
            inner = kind_of(item)
            copied = item
            if inner is not None:
                copied = memo.get(id(item))
                if copied is None:
                    copied = memo[id(item)] = inner.empty(item)
                    kept.append(item)
                    stack.append((item, inner, copied))
            kind.put(target, place, copied)
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


def as_factor(factor: SupportsIndex) -> int:
    """Return how often a sequence is to be repeated; a TypeError in the words of ``list``."""
    try:
        return operator.index(factor)
    except TypeError:
        raise TypeError(
            f"can't multiply sequence by non-int of type {type(factor).__name__!r}"
        ) from None
