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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pmemstore._native import ffi
from pmemstore.recorder import Event, Recorder
from pmemstore.testing.fields import field_at
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
    """A violation: how the search ends; ``check`` makes a report of it."""

    def __init__(self, problem: str, image: bytes) -> None:
        super().__init__(problem)
        self.problem = problem
        self.image = image
        self.contents = ""
        self.moment: Event | None = None
        self.missing: list[Missing] = []
        self.lines: list[str] = []


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
        self._judged: dict[tuple[int, int], Outcome] = {}
        self._deadline = 0.0

    def close(self) -> None:
        """Remove the file of images."""
        self._file.close()
        os.unlink(self._path)

    def explore(self, recorder: Recorder, machine: Machine) -> None:
        """Look at the images of a recording.

        Args:
            recorder: Has recorded the workload.
            machine: Has what was there before it.

        Raises:
            Found: Something is wrong.
        """
        begin = time.monotonic()
        self._deadline = begin + self._budget.seconds
        self.tally.events = len(recorder)
        run = Run(recorder, machine.events, None, 0)
        try:
            run.learn(machine, {self._kill(machine, run, 0).state}, self._kill)
            self._points(run, machine, 0)
        finally:
            self.tally.seconds += time.monotonic() - begin

    # ---- verdicts

    def _kill(self, machine: Machine, run: Run, event: int) -> Outcome:
        """What is there if the process ends now and the machine goes on."""
        return self._judge(machine, machine.newest(), run, event)

    # ---- points

    def _points(self, run: Run, machine: Machine, level: int) -> None:
        total = 1 + sum(1 for _ in Play(run.recorder, machine.another()))
        nested = self._budget.nested if level == 0 else 2
        every = max(1, total // max(1, nested))
        numbers = itertools.chain(Play(run.recorder, machine), [len(run.recorder)])
        for count, number in enumerate(numbers):
            if time.monotonic() > self._deadline:
                self.tally.skipped += total - count
                return
            self._point(run, machine, number, level)
            if level + 1 < self._budget.depth and nested and count % every == every // 2:
                self._again(run, machine, number, level)
            if self._progress is not None:
                self._progress(self.tally)

    def _point(self, run: Run, machine: Machine, number: int, level: int) -> None:
        plan, allowed = self._plans[level], run.allowed(number)
        most = max(4, self._budget.images >> 3 * level)
        for states in plan.states(machine, most, self._dice.getrandbits(64)):
            self.tally.images += 1
            problem = _problem(self._judge(machine, states, run, number), allowed)
            if problem:
                self._found(run, machine, number, ffi.unpack(states, plan.items), allowed)
        self._count(plan, most)

    def _count(self, plan: Plan, most: int) -> None:
        self.tally.points += 1
        self.tally.largest = max(self.tally.largest, plan.product)
        if plan.product <= most:
            self.tally.exhaustive += 1
        elif plan.whole <= most:
            self.tally.whole += 1
        else:
            self.tally.sampled += 1

    def _judge(self, machine: Machine, states: Any, run: Run, event: int) -> Outcome:
        told = run.acknowledged(event) if self._subject.uses_acknowledged else ()
        key = machine.build(states), len(told)
        outcome = self._judged.get(key)
        if outcome is None:
            self._file.put(*machine.image)
            outcome = self._judged[key] = self._subject.judge(self._path, told)
            self.tally.distinct += 1
        return outcome

    # ---- crashes inside recovery

    def _again(self, run: Run, machine: Machine, number: int, level: int) -> None:
        """Let an image recover, and crash that."""
        allowed = run.allowed(number)
        child = Machine(eadr=self._eadr)
        killed = self._dice.random() < 0.5
        if killed:  # the caches hold what the medium does not
            child.copy(machine)
            self._file.put(machine.raw.seen, machine.raw.size)
        else:
            states = machine.newest()
            for item, newest in enumerate(states):
                if self._dice.random() < 0.5:
                    states[item] = self._dice.randint(0, newest)
            machine.build(states)
            self._file.put(*machine.image)
            child.load(*machine.image)
        recorder = Recorder()
        outcome = self._subject.judge(self._path, run.acknowledged(number), recorder)
        self.tally.crashes_inside_recovery += 1
        again = Run(recorder, child.events, run, number)
        how = "a kill" if killed else "a power cut"
        how = f"first {how} just before event {number}, then a crash while that is recovered from"
        try:
            problem = _problem(outcome, allowed)
            if problem:
                raise Found(problem, bytes(child.seen))
            # Where all is durable, recovery makes one thing, however often it crashes.
            again.learn(child, allowed if killed else {outcome.state}, self._kill)
            self._points(again, child, level + 1)
        except Found as found:
            found.lines.insert(0, how)
            raise

    # ---- a violation

    def _found(
        self,
        run: Run,
        machine: Machine,
        number: int,
        states: list[int],
        allowed: set[bytes | None],
    ) -> None:
        def problem_of(candidate: Sequence[int]) -> str:
            return _problem(self._judge(machine, candidate, run, number), allowed)

        items = machine.items()
        states = shrink(states, machine.newest(), problem_of)
        found = Found(problem_of(states), b"")
        machine.build(states)
        contents, size = machine.image
        found.image = bytes(ffi.buffer(contents, size))
        self._file.put(contents, size)
        found.contents = self._subject.describe(self._path)
        found.moment = run.event(number)
        seen = machine.seen
        found.missing = [
            Missing(
                kind=item.kind,
                offset=item.offset,
                where=field_at(seen, item.offset)
                if item.kind in ("line", "sector")
                else "the file",
                how=_how(item, state),
                event=run.writer(item) if item.kind in ("line", "sector") else None,
            )
            for item, state in zip(items, states, strict=True)
            if state != item.states - 1
        ]
        found.lines = run.between(number, self._judge(machine, states, run, number).state)
        raise found


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
        return f"as after {state} of {item.states - 1} writes since the last sync"
    return "none of its stores is there" if state == 0 else "a part of its stores is there"
