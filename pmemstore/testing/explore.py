"""Every state that a crash could have left, opened and judged.

    workload --Recorder--> events --Play--> a point --Plan--> images --Subject--> outcomes

An outcome is allowed if the image is sound and contains what it contained after the last unit of
work that had been acknowledged, or after the one under way.  What that is, is not asked of the
workload: it is what the image of a kill at the moment of acknowledgement contains.

Some images go on: their recovery is recorded, too, and crashes (``_again``).
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pmemstore._native import ffi
from pmemstore.recorder import Event, Recorder
from pmemstore.testing.history import Run
from pmemstore.testing.medium import ImageFile, Item, Machine, Plan, Play
from pmemstore.testing.report import Missing, Tally
from pmemstore.testing.subject import Outcome, Subject

__all__ = ["Budget", "Explorer", "Found"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much to look at.

    Attributes:
        images: At each point.
        nested: Recoveries that are crashed in turn, over the whole run.
        depth: Crashes on top of each other; 1: recovery itself does not crash.
        seconds: For one medium.
        seed: Of what is drawn.
    """

    images: int = 64
    nested: int = 24
    depth: int = 3
    seconds: float = 60.0
    seed: int = 0


class Found(Exception):
    """A violation: how the search ends; ``check`` makes a report of it.

    Attributes:
        when: ``after a crash``, or that none is needed.
    """

    def __init__(self, problem: str, image: bytes, when: str = "after a crash") -> None:
        super().__init__(problem)
        self.problem = problem
        self.image = image
        self.when = when
        self.contents = ""
        self.moment: Event | None = None
        self.missing: list[Missing] = []
        self.before: list[str] = []  # crashes that came first
        self.lines: list[str] = []
        self.acknowledged: tuple[object, ...] = ()


class Explorer:
    """Looks at the images of a recording."""

    def __init__(
        self,
        subject: Subject,
        budget: Budget,
        folder: str,
        *,
        eadr: bool = False,
        progress: Callable[[Tally], object] | None = None,
    ) -> None:
        self.tally = Tally()
        self._subject = subject
        self._budget = budget
        self._eadr = eadr
        self._progress = progress
        self._dice = random.Random(budget.seed)
        self._plans = [Plan() for _ in range(budget.depth)]
        self._path = os.path.join(folder, "image.pool")
        self._file = ImageFile(self._path)
        self._judged: dict[tuple[int, Any], Outcome] = {}
        self._deadline = 0.0
        self._killed = False  # the first crash before a nested one: a kill and a power cut in turn

    def close(self) -> None:
        """Remove the file of images."""
        self._file.close()
        os.unlink(self._path)

    def explore(self, recorder: Recorder, machine: Machine, after: bytes) -> None:
        """Look at the images of a recording.

        Args:
            recorder: Has recorded the workload.
            machine: Has what was there before it.
            after: The file as the workload has left it.

        Raises:
            Found: Something is wrong.
            RuntimeError: The file is not what the recording makes of it.
        """
        begin = time.monotonic()
        self._deadline = begin + self._budget.seconds
        self.tally.events = len(recorder)
        try:
            before = self._quiet(machine, (), "before the workload, without any crash,")
            run = Run(recorder, machine, {before.state}, self._kill)
            end = machine.another()
            total = 1 + sum(1 for _ in Play(recorder, end))
            if end.seen[:] != after:
                raise RuntimeError(
                    "the workload has changed the file past its recorder, so what a crash leaves "
                    "of that is not known. Work with what the workload is called with; do not "
                    "open the file again."
                )
            told = run.acknowledged(len(recorder))
            self._quiet(end, told, "after the workload, without any crash,")
            self._points(run, machine, 0, total)
        finally:
            self.tally.seconds += time.monotonic() - begin

    # ---- verdicts

    def _quiet(self, machine: Machine, told: tuple[object, ...], when: str) -> Outcome:
        """Judge what is there before or after the workload: no crash is needed to be wrong."""
        self._file.put(machine.raw.seen, machine.raw.size)
        outcome = self._subject.judge(self._path, told)
        if outcome.problem:
            found = Found(outcome.problem, bytes(machine.seen), when)
            found.acknowledged = told
            found.contents = self._subject.describe(self._path)
            raise found
        return outcome

    def _kill(self, machine: Machine, run: Run, event: int) -> Outcome:
        """What is there if the process ends now and the machine goes on."""
        return self._judge(machine, machine.newest(), run, event)

    # ---- points

    def _points(self, run: Run, machine: Machine, level: int, total: int) -> None:
        wanted = self._budget.nested if level == 0 else 2
        again = Counter((2 * i + 1) * total // (2 * wanted) for i in range(wanted))
        numbers = itertools.chain(Play(run.recorder, machine), [len(run.recorder)])
        for count, number in enumerate(numbers):
            if count and time.monotonic() > self._deadline:
                self.tally.skipped += total - count
                return
            self._point(run, machine, number, level)
            for _ in range(again[count] if level + 1 < self._budget.depth else 0):
                self._again(run, machine, number, level)
            if self._progress is not None:
                self._progress(self.tally)

    def _point(self, run: Run, machine: Machine, number: int, level: int) -> None:
        plan, allowed = self._plans[level], run.allowed(number)
        most = min(self._budget.images, max(4, self._budget.images >> 3 * level))
        looked = 0
        for states in plan.states(machine, most, self._dice.getrandbits(64)):
            looked += 1
            problem = _problem(self._judge(machine, states, run, number), allowed)
            if problem:
                self._found(run, machine, number, ffi.unpack(states, machine.count), allowed)
            if looked % 16 == 0 and time.monotonic() > self._deadline:
                break
        self.tally.images += looked
        self.tally.points += 1
        self.tally.largest = max(self.tally.largest, plan.product)
        if plan.product <= looked:
            self.tally.exhaustive += 1
        elif plan.whole <= looked:
            self.tally.whole += 1
        else:
            self.tally.sampled += 1

    def _judge(self, machine: Machine, states: Any, run: Run, event: int) -> Outcome:
        uses = self._subject.uses_acknowledged
        key = machine.build(states), run.told(event) if uses else ()
        outcome = self._judged.get(key)
        if outcome is None:
            self._file.put(*machine.image)
            outcome = self._subject.judge(self._path, run.acknowledged(event))
            self._judged[key] = outcome
            self.tally.distinct += 1
        return outcome

    # ---- crashes inside recovery

    def _again(self, run: Run, machine: Machine, number: int, level: int) -> None:
        """Let an image recover, and crash that."""
        allowed, told = run.allowed(number), run.acknowledged(number)
        child = Machine(eadr=self._eadr)
        states = machine.newest()
        killed = self._killed = not self._killed
        if killed:  # the caches hold what the medium does not
            child.copy(machine)
        else:
            for item, newest in enumerate(states):
                if self._dice.random() < 0.5:
                    states[item] = self._dice.randint(0, newest)
        machine.build(states)
        if not killed:
            child.load(*machine.image)
        recorder = Recorder()
        self._file.put(child.raw.seen, child.raw.size)
        outcome = self._subject.judge(self._path, told, recorder)
        self.tally.crashes_inside_recovery += 1

        def go_on(candidate: Sequence[int]) -> Outcome:
            machine.build(candidate)
            self._file.put(*machine.image)
            return self._subject.judge(self._path, told, Recorder())

        if _problem(outcome, allowed):
            self._found(run, machine, number, states, allowed, go_on)
        # Where all is durable, recovery makes one thing, however often it crashes.
        first = allowed if killed else {outcome.state}
        again = Run(recorder, child, first, self._kill, run, number)
        total = 1 + sum(1 for _ in Play(recorder, child.another()))
        try:
            self._points(again, child, level + 1, total)
        except Found as found:
            how, at = "a kill" if killed else "a power cut", run.event(number)
            when = f"just before {at}" if at else "after the last event"
            found.before.insert(0, f"first {how} {when}; then, while that is recovered from:")
            raise

    # ---- a violation

    def _found(
        self,
        run: Run,
        machine: Machine,
        number: int,
        states: Sequence[int],
        allowed: set[bytes | None],
        judge: Callable[[Sequence[int]], Outcome] | None = None,
    ) -> None:
        judge = judge or (lambda candidate: self._judge(machine, candidate, run, number))

        def problem_of(candidate: Sequence[int]) -> str:
            return _problem(judge(candidate), allowed)

        states = shrink(states, machine.newest(), problem_of)
        outcome = judge(states)
        machine.build(states)
        contents, size = machine.image
        found = Found(_problem(outcome, allowed), bytes(ffi.buffer(contents, size)))
        self._file.put(contents, size)
        found.contents = self._subject.describe(self._path)
        found.moment = run.event(number)
        found.acknowledged = run.acknowledged(number)
        found.missing = [
            self._missing(run, machine, item, state, found.image)
            for item, state in zip(machine.items(), states, strict=True)
            if state != item.states - 1
        ]
        found.lines = run.between(number, outcome.state)
        raise found

    def _missing(self, run: Run, machine: Machine, item: Item, state: int, image: bytes) -> Missing:
        inside = item.kind in ("line", "sector")
        return Missing(
            kind=item.kind,
            offset=item.offset,
            where=self._where(machine.seen, item, image) if inside else "the file",
            how=_how(item, state),
            event=run.writer(item) if inside else None,
        )

    def _where(self, seen: Any, item: Item, image: bytes) -> str:
        """What the words that are lost belong to."""
        size = 64 if item.kind == "line" else 512
        offsets = range(item.offset, min(item.offset + size, len(seen)), 8)
        lost = [at for at in offsets if seen[at : at + 8] != image[at : at + 8]]
        return self._subject.where(seen, lost or list(offsets[:1]))


def shrink(
    states: Sequence[int], newest: Sequence[int], problem_of: Callable[[Sequence[int]], str]
) -> list[int]:
    """Find a smaller set of losses that is wrong, too.

    Args:
        states: Of the items; wrong.
        newest: The states in which nothing is lost.
        problem_of: Says what is wrong with a choice; "" if nothing is.

    Returns:
        States of which no single loss can be taken back, and that are lost wholly if that is
        wrong as well.

    Complexity:
        At most O(n log n) images for n losses, and n more.
    """
    best = list(states)
    lost = [i for i in range(len(best)) if best[i] != newest[i]]
    size = len(lost)
    while size:
        for begin in range(0, len(lost), size):
            candidate = list(best)
            for i in lost[begin : begin + size]:
                candidate[i] = newest[i]
            if candidate != best and problem_of(candidate):
                best = candidate
        lost = [i for i in lost if best[i] != newest[i]]
        size = size // 2 if size > 1 else 0
    for i in lost:
        candidate = [*best[:i], 0, *best[i + 1 :]]
        if candidate != best and problem_of(candidate):
            best = candidate
    return best


def _problem(outcome: Outcome, allowed: set[bytes | None]) -> str:
    if outcome.problem:
        return outcome.problem
    if outcome.state in allowed:
        return ""
    return "the contents are neither those before the unit of work under way nor those after it"


def _how(item: Item, state: int) -> str:
    if item.kind == "size":
        return "its length is that of the last sync"
    if item.kind == "name":
        return "its name is not there yet"
    if item.kind == "sector":
        return "none of its writes is there" if state == 0 else "a part of its writes is there"
    return "none of its stores is there" if state == 0 else "a part of its stores is there"
