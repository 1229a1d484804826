"""What is under test, and the verdict on one image: is it sound, and what does it contain?"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pmemstore import pool as pools
from pmemstore.containers import Dict, List
from pmemstore.errors import PmemstoreError
from pmemstore.mapping import Mapping
from pmemstore.pool import Pool
from pmemstore.recorder import Recorder

__all__ = ["MEDIA", "MappingSubject", "Outcome", "PoolSubject", "Subject", "contents", "medium"]

#: What can be explored, and the tier that a pool on it has.
MEDIA = {"direct": "volatile", "eadr": "eadr", "file": "sync"}

OPENED = "opened"  # the mark that recovery is over


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found in one image.

    Attributes:
        state: Names the contents: equal contents have equal states.  None: there is no such
            thing as contents.
        problem: What is wrong with the image by itself, in words; "" if nothing is.
    """

    state: bytes | None
    problem: str = ""


class Subject(Protocol):
    """A kind of file, and how to tell whether it survived."""

    uses_acknowledged: bool

    def judge(
        self, path: str, acknowledged: tuple[object, ...], recorder: Recorder | None = None
    ) -> Outcome:
        """Open an image, look at everything, close it."""

    def describe(self, path: str) -> str:
        """Return the contents of an image for people; "" if there are none."""


@contextlib.contextmanager
def medium(name: str) -> Iterator[None]:
    """Files opened here count as being on this medium, by ``PMEMSTORE_FORCE_TIER``."""
    before = os.environ.get("PMEMSTORE_FORCE_TIER")
    os.environ["PMEMSTORE_FORCE_TIER"] = MEDIA[name]
    try:
        yield
    finally:
        if before is None:
            del os.environ["PMEMSTORE_FORCE_TIER"]
        else:
            os.environ["PMEMSTORE_FORCE_TIER"] = before


@dataclass(frozen=True, slots=True)
class Reference:
    """A container inside another one, by its number."""

    number: int


def _stable(value: object) -> object:
    """Equal values get equal texts: a frozenset in an order that does not depend on its history."""
    if isinstance(value, frozenset):
        return ("frozenset", *sorted(repr(_stable(item)) for item in value))
    return tuple(map(_stable, value)) if type(value) is tuple else value


def contents(pool: Pool) -> tuple[object, ...]:
    """Return everything that can be reached from the root, as plain values.

    Containers are numbered in the order in which they are met; what refers to one has its
    number.  So shared and circular references come out right, and two pools have equal contents
    exactly if the results have the same ``repr``.

    Args:
        pool: An open pool.

    Complexity:
        O(size of the pool).
    """
    numbers: dict[int, int] = {}
    waiting: list[Dict[Any, Any] | List[Any]] = []

    def plain(value: object) -> object:
        if not isinstance(value, Dict | List):
            return _stable(value)
        if value._offset not in numbers:
            numbers[value._offset] = len(waiting)
            waiting.append(value)
        return Reference(numbers[value._offset])

    plain(pool.root)
    found: list[object] = []
    for container in waiting:  # which grows while we go
        if isinstance(container, Dict):
            found.append({key: plain(value) for key, value in container.items()})
        else:
            found.append([plain(value) for value in container])
    return tuple(found)


def shown(found: tuple[object, ...]) -> str:
    """Contents for people: containers in their places, cut where it gets long."""

    def put(number: int, above: tuple[int, ...]) -> str:
        if number in above or len(above) > 20:
            return "..."
        container = found[number]
        inside = (*above, number)

        def text(value: object) -> str:
            return put(value.number, inside) if isinstance(value, Reference) else repr(value)

        if isinstance(container, dict):
            return "{" + ", ".join(f"{k!r}: {text(v)}" for k, v in container.items()) + "}"
        assert isinstance(container, list)
        return "[" + ", ".join(map(text, container)) + "]"

    whole = put(0, ())
    return whole if len(whole) <= 1500 else f"{whole[:1500]} ... ({len(whole)} characters)"


def takes_two(function: Callable[..., object]) -> bool:
    """Whether an invariant wants what was acknowledged, too."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(required) > 1


class _Invariant:
    def __init__(self, function: Callable[..., object] | None) -> None:
        self.function = function
        self.uses_acknowledged = function is not None and takes_two(function)
        self.name = getattr(function, "__qualname__", repr(function))

    def problem(self, subject: object, acknowledged: tuple[object, ...]) -> str:
        if self.function is None:
            return ""
        arguments = (subject, acknowledged) if self.uses_acknowledged else (subject,)
        try:
            result = self.function(*arguments)
        except Exception as error:  # whatever it raises, it does not hold; the report has it all
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = "".join(traceback.format_exception_only(error)).strip()
            return f"the invariant {self.name} raised {said} ({where.filename}:{where.lineno})"
        if result is None or result:
            return ""
        return f"the invariant {self.name} returned {result!r}"


class PoolSubject:
    """Pools, an invariant of theirs, and what the application does after recovery."""

    def __init__(
        self,
        invariant: Callable[..., object] | None,
        follow: Callable[[Pool], object] | None = None,
    ) -> None:
        self._invariant = _Invariant(invariant)
        self._follow = follow
        self.uses_acknowledged = self._invariant.uses_acknowledged

    def judge(
        self, path: str, acknowledged: tuple[object, ...], recorder: Recorder | None = None
    ) -> Outcome:
        """Open, check, walk, ask the invariant; with a recorder also go on working."""
        try:
            pool = pools.open(path, "w", recorder=recorder)
        except (PmemstoreError, OSError) as error:
            return Outcome(None, f"the pool cannot be opened: {error}")
        with pool:
            if recorder is not None:
                recorder.mark(OPENED)
            outcome = self._look(pool, acknowledged)
            if recorder is not None and self._follow is not None and not outcome.problem:
                self._follow(pool)
        return outcome

    def describe(self, path: str) -> str:
        """Return what can be reached from the root."""
        try:
            with pools.open(path, "w") as pool:
                return shown(contents(pool))
        except (PmemstoreError, OSError):
            return ""

    def _look(self, pool: Pool, acknowledged: tuple[object, ...]) -> Outcome:
        try:
            result = pool.check()
            found = contents(pool)
        except PmemstoreError as error:
            return Outcome(None, f"the pool cannot be read: {error}")
        text = repr(found)
        state = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if result.problems:
            return Outcome(state, f"Pool.check() says: {result.problems[0]}")
        if result.leaked_bytes:
            return Outcome(state, f"{result.leaked_bytes} bytes of the heap leaked")
        return Outcome(state, self._invariant.problem(pool, acknowledged))


class MappingSubject:
    """Raw mappings: the application's own structures, of which the invariant knows alone."""

    def __init__(self, invariant: Callable[..., object]) -> None:
        self._invariant = _Invariant(invariant)
        self.uses_acknowledged = self._invariant.uses_acknowledged

    def judge(
        self, path: str, acknowledged: tuple[object, ...], recorder: Recorder | None = None
    ) -> Outcome:
        """Map the image and ask the invariant."""
        with Mapping.open(path, recorder=recorder) as mapping:
            if recorder is not None:
                recorder.mark(OPENED)
            return Outcome(None, self._invariant.problem(mapping, acknowledged))

    def describe(self, path: str) -> str:
        """Nobody but the application knows how."""
        return ""
