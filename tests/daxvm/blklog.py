"""Crash states from a log of everything that was written to a disk.

QEMU's ``blklogwrites`` keeps each write and flush, in the format of dm-log-writes.  A disk may
lose in a power cut what it has not been told to flush; so a crash between two flushes leaves
everything up to the first, and any part of what came after it.

    entries = read_log(path)
    for state in crash_states(entries, points=200, subsets=1, rng=random.Random(1)):
        ...
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


@dataclass(frozen=True)
class Entry:
    """A write, a flush, or both.

    Attributes:
        offset: On the disk.
        length: Bytes; 0 for a bare flush.
        flags: FLUSH, FUA, DISCARD.
        data: What was written; of a discard nothing.
    """

    offset: int
    length: int
    flags: int
    data: bytes

    @property
    def is_barrier(self) -> bool:
        return bool(self.flags & (FLUSH | FUA))


@dataclass(frozen=True)
class CrashState:
    """What a crash may leave on the disk.

    Attributes:
        boundary: All entries up to this one have been flushed.
        seen: Entries that had been written when it happened; what was acknowledged after
            them does not count.
        extra: Of those behind the boundary, the ones that reached the disk all the same.
    """

    boundary: int
    seen: int
    extra: tuple[int, ...]


def read_log(path: Path) -> list[Entry]:
    log = path.read_bytes()
    magic, version, count, sector = struct.unpack_from("<QQQI", log)
    if magic != MAGIC or version != 1:
        raise ValueError(f"{path}: not a log of writes")
    entries = []
    at = sector
    for _ in range(count):
        where, sectors, flags, extra = struct.unpack_from("<QQQQ", log, at)
        at += sector
        length = sectors * sector
        if flags & MARK:
            at += -(-extra // sector) * sector
            continue
        data = b"" if flags & DISCARD else log[at : at + length]
        at += len(data)
        entries.append(Entry(where * sector, length, flags, data))
    return entries


def crash_states(
    entries: Sequence[Entry], first: int, points: int, subsets: int, rng: random.Random
) -> Iterator[CrashState]:
    """Choose boundaries, and for each: nothing behind it, and some random parts.

    Args:
        entries: The log.
        first: Where to begin.
        points: Boundaries; fewer if there are no more.
        subsets: Random parts of what was not flushed, for each boundary.
        rng: Chooses.
    """
    barriers = [i for i, entry in enumerate(entries) if entry.is_barrier and i >= first]
    following = dict(zip(barriers, [*barriers[1:], len(entries)], strict=True))
    for boundary in sorted(rng.sample(barriers, min(points, len(barriers)))):
        yield CrashState(boundary, boundary + 1, ())
        until = following[boundary]  # this flush has begun, and not ended
        behind = [i for i in range(boundary + 1, until) if entries[i].length]
        for _ in range(subsets if behind else 0):
            yield CrashState(boundary, until, tuple(i for i in behind if rng.random() < 0.5))


def apply(image: Path, entries: Sequence[Entry]) -> None:
    """Write entries to an image, in order."""
    with image.open("r+b") as disk:
        for entry in entries:
            disk.seek(entry.offset)
            disk.write(bytes(entry.length) if entry.flags & DISCARD else entry.data)
