"""What an exploration has found, and what it has not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pmemstore.recorder import Event

__all__ = ["CrashReport", "CrashViolation", "Missing", "Tally"]


@dataclass(slots=True)
class Tally:
    """Counts of one medium.

    Attributes:
        events: Recorded of the workload.
        points: Moments at which images were looked at: before each fence and sync.
        exhaustive: Of these, with all images.
        whole: With all images in which no store is torn, and samples of the others.
        sampled: With samples: none, all, each missing, each alone, pairs, random.
        skipped: Points that the time did not suffice for.
        images: Looked at.
        distinct: Of these, opened: the others were equal to one that had been.
        crashes_inside_recovery: Recoveries that were themselves recorded and crashed.
        largest: Images of the moment that has most of them.
        seconds: Spent on images.
    """

    events: int = 0
    points: int = 0
    exhaustive: int = 0
    whole: int = 0
    sampled: int = 0
    skipped: int = 0
    images: int = 0
    distinct: int = 0
    crashes_inside_recovery: int = 0
    largest: int = 1
    seconds: float = 0.0


@dataclass(slots=True)
class CrashReport:
    """What was looked at, for each medium; no violation was found.

    Attributes:
        media: Counts by name of the medium.
        seed: What the samples depend on.
    """

    seed: int
    media: dict[str, Tally] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Images looked at, of all media."""
        return sum(tally.images for tally in self.media.values())

    @property
    def distinct(self) -> int:
        """Different images, of all media."""
        return sum(tally.distinct for tally in self.media.values())

    @property
    def complete(self) -> bool:
        """Whether nothing was left to samples: every image of every point was looked at."""
        return all(t.points == t.exhaustive and not t.skipped for t in self.media.values())

    def __str__(self) -> str:
        lines = []
        for name, t in self.media.items():
            rate = f", {t.images / t.seconds:,.0f}/s" if t.seconds else ""
            lines.append(
                f"{name}: no violation in {t.images:,} images ({t.distinct:,} distinct{rate}) at "
                f"{t.points} points of {t.events} events, {t.crashes_inside_recovery} crashes "
                "inside recovery"
            )
            if t.whole or t.sampled or t.skipped:
                largest = "more than 2**63" if t.largest >= 2**63 else f"{t.largest:,}"
                lines.append(
                    f"  not covered: {t.sampled} points were sampled and {t.whole} have torn "
                    f"stores sampled (the largest has {largest} images); {t.skipped} points were "
                    f"not reached in time; seed {self.seed}"
                )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that the crash took.

    Attributes:
        kind: ``line``, ``sector``, ``size`` or ``name``.
        offset: In the file.
        where: The field of docs/format.md.
        how: Which part of it is lost.
        event: What wrote it last.
    """

    kind: str
    offset: int
    where: str
    how: str
    event: Event | None

    def __str__(self) -> str:
        what = f"{self.kind} at {self.offset}: {self.where}; {self.how}"
        if self.event is None:
            return what
        by = f"\n      last {self.event.kind} in {self.event.function} ({self.event.source})"
        if self.event.source.startswith("trace.c:"):
            by = "\n      stored through a view; seen at the next call on the mapping"
        return what + by + (f"\n      called by {self.event.line}" if self.event.line else "")


class CrashViolation(AssertionError):
    """A crash leaves something that must not be.

    Attributes:
        problem: What is wrong, in words.
        medium: ``direct``, ``eadr`` or ``file``.
        when: ``after a crash``, or when it is wrong without one: then there is no moment, and
            nothing is lost.
        moment: The event that the crash came before; None: it came after the last one.
        missing: The smallest set of losses that was found; empty: a kill at this moment is
            enough, nothing is lost.
        found: The contents after recovery, as text; "" if there are none.
        image: The file that a power cut leaves, kept for ``replay``; None: not kept.
    """

    def __init__(
        self,
        problem: str,
        *,
        medium: str,
        moment: Event | None,
        missing: Sequence[Missing],
        before: Sequence[str],
        lines: Sequence[str],
        found: str,
        image: Path | None,
        replay: str,
        when: str = "after a crash",
    ) -> None:
        self.problem = problem
        self.when = when
        self.medium = medium
        self.moment = moment
        self.missing = tuple(missing)
        self.found = found
        self.image = image
        text = [f"{when} {problem}", f"  medium: {medium}"]
        crashed = when == "after a crash"
        text += [f"  {line}" for line in before]
        if crashed:
            where = f"just before {moment}" if moment else "after the last event"
            text.append(f"  moment: {where}")
        text += [f"  {line}" for line in lines]
        if not crashed:
            text.append("  so it is the workload itself, its setup or the check that is wrong")
        elif missing:
            text.append("  lost; everything else that could be lost is there:")
            text += [f"    {item}" for item in missing]
        else:
            text.append("  lost: nothing; that the process ends at this moment is enough")
        if found:
            text.append(f"  contents{' after recovery' if crashed else ''}: {found}")
        if replay:
            text.append(f"  to see it again: {replay}")
        super().__init__("\n".join(line for line in text if line))
