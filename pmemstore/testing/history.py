"""A recording, seen as units of work: what a crash at each of its events may leave."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from pmemstore._native import lib
from pmemstore.recorder import Event, Recorder
from pmemstore.testing.medium import Item, Machine, Play
from pmemstore.testing.subject import OPENED, Outcome

__all__ = ["Run"]

State = bytes | None


@dataclass(slots=True)
class Run:
    """A recording under exploration, and what its units of work have made of the contents.

    Attributes:
        recorder: Its events.
        start: Events of the machine before it.
        before: The run from whose crash this one recovers; None: the first.
        crashed: The event of that crash.
        durable: Events at which a unit of work was acknowledged.
        states: States before the first of these, and after each.
        marks: Events at which something else was acknowledged.
    """

    recorder: Recorder
    start: int
    before: Run | None
    crashed: int
    durable: list[int] = field(default_factory=list)
    states: list[set[State]] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)

    def allowed(self, event: int) -> set[State]:
        """States that a crash just before this event may leave."""
        done = bisect_left(self.durable, event)
        return set().union(*self.states[done : done + 2])

    def acknowledged(self, event: int) -> tuple[object, ...]:
        """What the workload had told others by then."""
        mine = tuple(
            self.recorder.marks[lib.pms_trace_at(self.recorder._trace, number).event.off]
            for number in self.marks[: bisect_left(self.marks, event)]
        )
        return (self.before.acknowledged(self.crashed) if self.before else ()) + mine

    def event(self, number: int) -> Event | None:
        """One of its events, or None behind the last."""
        return self.recorder.event(number) if 0 <= number < len(self.recorder) else None

    def writer(self, item: Item) -> Event | None:
        """The event that changed an item last."""
        if item.event <= self.start:
            return self.before.writer(item) if self.before else None
        return self.event(item.event - self.start - 1)

    def learn(
        self, machine: Machine, first: set[State], kill: Callable[[Machine, Run, int], Outcome]
    ) -> None:
        """Find the units of work, and the contents after each.

        Args:
            machine: Has what was there before the run.
            first: States that are allowed before its first unit was acknowledged.
            kill: Judges what is there when the process ends at an event.
        """
        ahead = machine.another()
        self.states.append(first)
        for number in Play(self.recorder, ahead, (lib.PMS_EV_DURABLE, lib.PMS_EV_MARK)):
            event = lib.pms_trace_at(self.recorder._trace, number).event
            if event.kind == lib.PMS_EV_MARK and self.recorder.marks[event.off] is not OPENED:
                self.marks.append(number)
            elif event.kind in (lib.PMS_EV_DURABLE, lib.PMS_EV_MARK):
                self.durable.append(number)
                self.states.append({kill(ahead, self, number).state})
        # A unit may have been under way when the recording ended.
        self.states.append({kill(ahead, self, len(self.recorder)).state})

    def between(self, number: int, state: State) -> list[str]:
        """Say, in lines of Python, which units of work a state has and which it lacks."""
        done = bisect_left(self.durable, number)
        if (
            state not in self.states[done]
            and state in self.states[min(done + 1, len(self.durable))]
        ):
            done += 1  # the one under way was there
        has = self.event(self.durable[done - 1]) if done > 0 else None
        lacks = self.event(self.durable[done]) if done < len(self.durable) else None
        lines = []
        if has is not None and has.line:
            lines.append(f"has: everything up to the unit of work committed by {has.line}")
        if lacks is not None and lacks.line:
            lines.append(f"has not: the unit of work committed by {lacks.line}")
        if len(lines) == 2:
            lines.append(
                "if these two belong together, make them one: with pool.transaction(): ..."
            )
        return lines
