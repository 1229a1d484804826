"""What is under test, and the verdict on one image: is it sound, and what does it contain?"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pmemstore import opening as pools
from pmemstore.containers import Array, Deque, Dict, List, Set, SortedDict, SortedSet
from pmemstore.errors import PmemstoreError
from pmemstore.mapping import Mapping
from pmemstore.pool import Pool
from pmemstore.recorder import Recorder
from pmemstore.records import Record
from pmemstore.testing.fields import field_at

__all__ = [
    "MEDIA",
    "MappingSubject",
    "Outcome",
    "PoolSubject",
    "Subject",
    "acknowledge",
    "contents",
    "medium",
    "recording",
    "take",
]

#: What can be explored, and the tier that a pool on it has.
MEDIA = {"direct": "volatile", "eadr": "eadr", "file": "sync"}

OPENED = object()  # the mark that recovery is over

_FIELDS_SHOWN = 6
_PACKAGE = str(Path(pools.__file__).parent) + "/"


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

    def where(self, contents: Any, offsets: Sequence[int]) -> str:
        """Name the words at these offsets, which ascend."""


_recorders: list[Recorder] = []


@contextlib.contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """What is acknowledged meanwhile is for this recorder."""
    _recorders.append(recorder)
    try:
        yield
    finally:
        _recorders.remove(recorder)


def acknowledge(value: object) -> None:
    """Note that others have been told something, which a crash must not take back.

    In a workload of ``crash_check`` the invariant gets all values that were noted before the
    crash; anywhere else it does nothing, so that it may stay in the application.

    Args:
        value: Such as the number of an order that was confirmed.  It is copied, if it can be: what
            was told does not change later.
    """
    if _recorders:
        with contextlib.suppress(Exception):
            value = copy.deepcopy(value)
        _recorders[-1].mark(value)


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


def take(pool: Pool) -> None:
    """Do what open has left to the first unit of work: it is no part of what is under test."""
    pool.grow(1)  # to at least a byte: nothing grows, but the pool was about to be changed


CONTAINERS = (Dict, List, Set, Deque, SortedDict, SortedSet, Array)


@dataclass(frozen=True, slots=True)
class Reference:
    """A container inside another one, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Elements:
    """An array: what people see of it, with its type and shape, and its bytes."""

    text: str
    data: bytearray


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
    waiting: list[Any] = []

    def plain(value: Any) -> object:
        kept = isinstance(value, Record) and value._pool is pool
        if not (kept or isinstance(value, CONTAINERS)):
            return _stable(value)
        if value._offset not in numbers:
            numbers[value._offset] = len(waiting)
            waiting.append(value)
        return Reference(numbers[value._offset])

    plain(pool.root)
    found: list[object] = []
    for container in waiting:  # which grows while we go
        if isinstance(container, Record):
            info = type(container).__record__
            names = [f"{info.name}.{name}" for name, _ in info.leaves]
            leaves = map(plain, container._leaves())
            found.append(dict(zip(names, leaves, strict=True)))
        elif isinstance(container, (Dict, SortedDict)):
            found.append({key: plain(value) for key, value in container.items()})
        elif isinstance(container, (Set, SortedSet)):
            found.append(tuple(map(_stable, container)))  # in its order
        elif isinstance(container, Deque):
            found.append(deque(map(plain, container), container.maxlen))
        elif isinstance(container, Array):
            found.append(Elements(repr(container), container._all()[1]))
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
        if isinstance(container, tuple):
            return "{" + ", ".join(map(repr, container)) + "}" if container else "set()"
        if isinstance(container, deque):
            bound = f", maxlen={container.maxlen}" if container.maxlen is not None else ""
            return "deque([" + ", ".join(map(text, container)) + f"]{bound})"
        if isinstance(container, Elements):
            return container.text
        assert isinstance(container, list)
        return "[" + ", ".join(map(text, container)) + "]"

    whole = put(0, ())
    return whole if len(whole) <= 1500 else f"{whole[:1500]} ... ({len(whole)} characters)"


def takes_two(function: Callable[..., object]) -> bool:
    """Whether an invariant wants what was acknowledged, too: its second argument is required.

    Raises:
        TypeError: It cannot be called with one or two arguments.
    """
    if not callable(function):
        raise TypeError(f"the invariant is not callable: {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return False
    for count in (1, 2):
        with contextlib.suppress(TypeError):
            signature.bind(*range(count))
            return count == 2
    raise TypeError(
        f"an invariant takes the recovered pool or mapping, and what was acknowledged if it wants "
        f"to; {_name(function)} takes {signature}"
    )


def _name(function: object) -> str:
    """A function's name for people; where it was defined, if it has none."""
    name = str(getattr(function, "__qualname__", repr(function))).split(".<locals>.")[-1]
    code = getattr(function, "__code__", None)
    if name == "<lambda>" and code is not None:
        return f"<lambda> ({code.co_filename}:{code.co_firstlineno})"
    return name


def _said(error: BaseException) -> str:
    """An exception for people, with the last line that is not this library's."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(_PACKAGE)]
    where = f" ({theirs[-1].filename}:{theirs[-1].lineno})" if theirs else ""
    return "".join(traceback.format_exception_only(error)).strip() + where


# These end a test run; all else that is raised says that something does not hold: pytest.fail and
# its like are no Exception.
_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)


class _Invariant:
    def __init__(self, function: Callable[..., object] | None) -> None:
        self.function = function
        self.uses_acknowledged = function is not None and takes_two(function)
        self.name = _name(function)

    def problem(self, subject: object, acknowledged: tuple[object, ...]) -> str:
        if self.function is None:
            return ""
        arguments = (subject, acknowledged) if self.uses_acknowledged else (subject,)
        try:
            result = self.function(*arguments)
        except _ENDS:
            raise
        except BaseException as error:  # whatever it is, the report has it
            return f"the invariant {self.name} raised {_said(error)}"
        if result is None or result:
            return ""
        return f"the invariant {self.name} returned {result!r}"


class PoolSubject:
    """Pools, an invariant of theirs, and what the application does after recovery."""

    def __init__(
        self,
        invariant: Callable[..., object] | None,
        follow: Callable[[Pool], object] | None = None,
        cycles: bool = False,
    ) -> None:
        self._invariant = _Invariant(invariant)
        self._follow = follow
        self.cycles = cycles
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
                take(pool)
                recorder.mark(OPENED)
            outcome = self._look(pool, acknowledged)
            if recorder is not None and self._follow is not None and not outcome.problem:
                problem = self._go_on(pool, recorder)
                outcome = Outcome(outcome.state, problem)
        return outcome

    def _go_on(self, pool: Pool, recorder: Recorder) -> str:
        assert self._follow is not None
        try:
            with recording(recorder):
                self._follow(pool)
        except _ENDS:
            raise
        except BaseException as error:
            return f"what follows, {_name(self._follow)}, raised {_said(error)}"
        return ""

    def describe(self, path: str) -> str:
        """Return what can be reached from the root."""
        try:
            with pools.open(path, "w") as pool:
                return shown(contents(pool))
        except (PmemstoreError, OSError):
            return ""

    def where(self, contents: Any, offsets: Sequence[int]) -> str:
        """Return the fields of docs/format.md; those of one struct are named together."""
        names = list(dict.fromkeys(field_at(contents, offset) for offset in offsets))
        parts: dict[str, list[str]] = {}
        for name in names[:_FIELDS_SHOWN]:
            whole, _, field = name.rpartition(", ")
            parts.setdefault(whole, []).append(field)
        more = len(names) - _FIELDS_SHOWN
        text = "; ".join(", ".join(filter(None, (p, *f))) for p, f in parts.items())
        return f"{text} and {more} more" if more > 0 else text

    def _look(self, pool: Pool, acknowledged: tuple[object, ...]) -> Outcome:
        try:
            result = pool.check()
            found = contents(pool)
            if self.cycles and result.unreachable and not result.damage:
                pool.collect()
                result = pool.check()
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

    def where(self, contents: Any, offsets: Sequence[int]) -> str:
        """Return the ranges of bytes."""
        ranges: list[list[int]] = []
        for offset in offsets:
            if ranges and ranges[-1][1] == offset:
                ranges[-1][1] = offset + 8
            else:
                ranges.append([offset, offset + 8])
        return "bytes " + ", ".join(f"{first} to {end - 1}" for first, end in ranges)
