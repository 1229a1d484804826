"""A recording, seen as units of work: what a crash at each of its events may leave."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable

from pmemstore._native import lib
from pmemstore.recorder import Event, Recorder
from pmemstore.testing.medium import Item, Machine, Play
from pmemstore.testing.subject import OPENED, Outcome

__all__ = ["Run", "State"]

State = bytes | None

_serials = itertools.count()


class Run:
    """A recording under exploration, and what its units of work have made of the contents.

    The contents after a unit are looked at when they are first asked for: a long workload is
    explored as far as there is time, not learned by heart before.

    Attributes:
        recorder: Its events.
        start: Events of the machine before it.
        before: The run from whose crash this one recovers; None: the first.
        crashed: The event of that crash.
        durable: Events at which a unit of work was acknowledged.
        marks: Events at which something else was acknowledged.
    """

    def __init__(
        self,
        recorder: Recorder,
        machine: Machine,
        first: set[State],
        kill: Callable[[Machine, Run, int], Outcome],
        before: Run | None = None,
        crashed: int = 0,
    ) -> None:
        """Find the units of work.

        Args:
            recorder: Has recorded the run.
            machine: Has what was there before it.
            first: States that are allowed before its first unit was acknowledged.
            kill: Judges what is there when the process ends at an event.
            before: As the attribute.
            crashed: As the attribute.
        """
        self.recorder = recorder
        self.start = machine.events
        self.before = before
        self.crashed = crashed
        self.durable: list[int] = []
        self.marks: list[int] = []
        self._serial = next(_serials)
        self._kill = kill
        self._states = [first]  # before the first unit of work, and after each of them
        self._ahead = machine.another()
        self._stops = iter(Play(recorder, self._ahead, (lib.PMS_EV_DURABLE, lib.PMS_EV_MARK)))
        for number in range(len(recorder)):
            event = lib.pms_trace_at(recorder._trace, number).event
            is_mark = event.kind == lib.PMS_EV_MARK
            if is_mark and recorder.marks[event.off] is not OPENED:
                self.marks.append(number)
            elif is_mark or event.kind == lib.PMS_EV_DURABLE:
                self.durable.append(number)

    def states(self, done: int) -> set[State]:
        """States with so many units of work done; one may be under way when the run ends."""
        while len(self._states) <= min(done, len(self.durable) + 1):
            unit = len(self._states) - 1
            event = self.durable[unit] if unit < len(self.durable) else len(self.recorder)
            # Stops that are not asked for lie between: points, and marks of the workload.
            while event < len(self.recorder) and next(self._stops) != event:
                pass
            if event == len(self.recorder):
                for _ in self._stops:
                    pass
            self._states.append({self._kill(self._ahead, self, event).state})
        return self._states[done] if done < len(self._states) else set()

    def allowed(self, event: int) -> set[State]:
        """States that a crash just before this event may leave."""
        done = bisect_left(self.durable, event)
        return self.states(done) | self.states(done + 1)

    def acknowledged(self, event: int) -> tuple[object, ...]:
        """What the workload had told others by then."""
        told = self.recorder.marks
        mine = tuple(
            told[lib.pms_trace_at(self.recorder._trace, number).event.off]
            for number in self.marks[: bisect_left(self.marks, event)]
        )
        return (self.before.acknowledged(self.crashed) if self.before else ()) + mine

    def told(self, event: int) -> tuple[tuple[int, int], ...]:
        """Names what ``acknowledged`` returns: equal names, equal values."""
        count = bisect_left(self.marks, event)
        mine = ((self._serial, count),) if count else ()
        return (self.before.told(self.crashed) if self.before else ()) + mine

    def event(self, number: int) -> Event | None:
        """One of its events, or None behind the last."""
        return self.recorder.event(number) if 0 <= number < len(self.recorder) else None

    def writer(self, item: Item) -> Event | None:
        """The event that changed an item last."""
        if item.event <= self.start:
            return self.before.writer(item) if self.before else None
        return self.event(item.event - self.start - 1)

    def between(self, number: int, state: State) -> list[str]:
        """Say, in lines of Python, which units of work a state has and which it lacks."""
        done = bisect_left(self.durable, number)
        if state not in self.states(done) and state in self.states(done + 1):
            done += 1  # the one under way was there
        has = self.event(self.durable[done - 1]) if 0 < done <= len(self.durable) else None
        lacks = self.event(self.durable[done]) if done < len(self.durable) else None
        lines = []
        if has is not None and has.kind == "durable" and has.line:
            lines.append(f"has: everything up to the unit of work committed by {has.line}")
        if lacks is not None and lacks.kind == "durable" and lacks.line:
            lines.append(f"has not: the unit of work committed by {lacks.line}")
        if len(lines) == 2:
            lines.append(
                "if these two belong together, make them one: with pool.transaction(): ..."
            )
        return lines
