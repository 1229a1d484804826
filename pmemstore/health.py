"""Health of a pool's medium: what could take away what was committed.

Three questions, each answered by the kernel or not at all: what survives a power failure
(persistence_domain), whether the memory modules have failed to save something (their counters of
unsafe shutdowns, which the pool remembers), and which bytes cannot be read (bad blocks, by way
of the file's extents).  What cannot be read is listed as unknown, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pmemstore.host import (
    Device,
    Extent,
    device_of,
    extents,
    may_count_shutdowns,
    mount_of,
    shutdown_count,
    xflags,
)

__all__ = [
    "BAD_FLAGS",
    "BadRange",
    "Health",
    "Part",
    "Remembered",
    "bad_ranges",
    "count_on",
    "examine",
    "shutdown_text",
]

#: Modules whose firmware says one of these do not keep what is stored, or did not.
BAD_FLAGS = {
    "save_fail": "could not save its contents at the last power failure",
    "restore_fail": "could not restore its contents at the last start",
    "flush_fail": "was not flushed by the platform at the last power failure",
    "not_armed": "is not armed: it will not keep what is stored now",
    "map_fail": "could not be mapped",
}
#: File systems whose FIEMAP tells offsets on their own block device.
_PLAIN_FIEMAP = {"ext2", "ext3", "ext4", "xfs"}
#: Extents without a place on the device.
_PLACELESS = {"unknown", "delalloc", "encoded", "inline"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the pool file.

    Attributes:
        offset: First byte.
        length: Bytes.
        name: As in docs/format.md: ``superblock 0``, ``log``...
    """

    offset: int
    length: int
    name: str


@dataclass(frozen=True, slots=True)
class BadRange:
    """Bytes of the pool that its device cannot read.

    Attributes:
        offset: In the pool file.
        length: Bytes.
        part: What lies there: ``root page``, ``log``, ``heap``...
    """

    offset: int
    length: int
    part: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the pool remembers of unsafe shutdowns.

    Attributes:
        before: Count at the last open for writing on the same modules.
        met: How many came while the pool was in use then.
        in_use: The same, of the pool's whole life.
        same_modules: Whether the pool has seen these modules before it was opened now.
    """

    before: int
    met: int
    in_use: int
    same_modules: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What ``Pool.health()`` found.

    Attributes:
        persistence_domain: ``cpu_cache``: what was stored survives a power failure;
            ``memory_controller``: what was flushed; None: unknown, or no persistent memory.
        unsafe_shutdowns: Count of the pool's memory modules, in sum; None: unknown.
        unsafe_shutdowns_met: How many of them came while the pool was last open for writing;
            None: unknown.
        bad_ranges: Bytes of the pool that cannot be read; None: unknown.
        problems: What endangers data, a sentence each; empty if nothing is known to.
        unknown: What could not be found out, and why, a sentence each.
        notes: What was found and is well, a sentence each.
    """

    persistence_domain: str | None
    unsafe_shutdowns: int | None
    unsafe_shutdowns_met: int | None
    bad_ranges: tuple[BadRange, ...] | None
    problems: tuple[str, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; ``unknown`` says how much that is worth."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"problem: {text}" for text in self.problems]
        lines += [f"unknown: {text}" for text in self.unknown]
        return "\n".join(lines + [f"well: {text}" for text in self.notes])


def count_on(number: int) -> tuple[int, int] | None:
    """Return the name and the counter of the memory modules that a file lies on.

    Args:
        number: Its ``st_dev``.

    Returns:
        As ``pmemstore.host.shutdown_count``; None where there is no counter.
    """
    return shutdown_count(device_of(number)) if may_count_shutdowns(number) else None


def shutdown_text(remembered: Remembered, now: int) -> str:
    """Return the sentence about unsafe shutdowns that met a pool in use."""
    return (
        f"the memory modules counted {remembered.met} unsafe shutdown(s) while the pool was open "
        f"for writing (counter {remembered.before}, now {now}): the platform may have lost data "
        "that were flushed, commits included. Run check(), and compare with what you expect"
    )


def bad_ranges(
    found: Sequence[Extent], bad: Iterable[tuple[int, int]], parts: Sequence[Part]
) -> tuple[BadRange, ...]:
    """Map bad blocks of the device to bytes of the file, and those to parts of the pool.

    Args:
        found: Extents of the file.
        bad: Offset and length on the device that ``found`` speaks of.
        parts: Of the pool, one behind the other.

    Returns:
        One range for each piece, by offset; bad blocks outside the file are left out.
    """
    ranges = []
    for start, length in bad:
        for extent in found:
            first = max(start, extent.physical)
            last = min(start + length, extent.physical + extent.length)
            if first >= last:
                continue
            offset = extent.logical + first - extent.physical
            end = offset + last - first
            for part in parts:
                low, high = max(offset, part.offset), min(end, part.offset + part.length)
                if low < high:
                    ranges.append(BadRange(low, high - low, part.name))
    return tuple(sorted(ranges, key=lambda bad: bad.offset))


def examine(path: str, fd: int, parts: Sequence[Part], remembered: Remembered) -> Health:
    """Put the facts about a pool's medium together.

    Args:
        path: File of the pool, to find its mount.
        fd: Descriptor of it.
        parts: Of the pool file.
        remembered: Of unsafe shutdowns.
    """
    device = device_of(os.fstat(fd).st_dev)
    problems: list[str] = []
    unknown: list[str] = []
    notes: list[str] = []
    if device.persistence_domain is not None:
        what = {
            "cpu_cache": "what was stored survives a power failure",
            "memory_controller": "what was flushed survives a power failure",
        }.get(device.persistence_domain, "its meaning is not known to this release")
        notes.append(
            f"persistence_domain of {device.region} is {device.persistence_domain}: {what}"
        )
    else:
        unknown.append(f"persistence_domain: {_why(device, 'persistence_domain')}")
    count = shutdown_count(device)
    if count is None:
        unknown.append(f"unsafe shutdowns: {_why(device, 'unsafe_shutdowns')}")
    elif remembered.met:
        problems.append(shutdown_text(remembered, count[1]))
    elif remembered.same_modules:
        notes.append(f"no unsafe shutdown met the pool in use (counter {count[1]})")
    else:
        unknown.append(
            f"unsafe shutdowns: the pool has not been opened for writing on these modules before; "
            f"their counter is {count[1]}"
        )
    if remembered.in_use > remembered.met:
        notes.append(f"{remembered.in_use} unsafe shutdown(s) met the pool in use, in all its life")
    _judge_modules(device, problems, unknown)
    bad = _judge_blocks(path, fd, device, parts, problems, unknown)
    if bad == ():
        notes.append(f"no bad blocks of {device.name} lie in the pool")
    return Health(
        persistence_domain=device.persistence_domain,
        unsafe_shutdowns=None if count is None else count[1],
        unsafe_shutdowns_met=remembered.met if count and remembered.same_modules else None,
        bad_ranges=bad,
        problems=tuple(problems),
        unknown=tuple(unknown),
        notes=tuple(notes),
    )


def _why(device: Device, what: str) -> str:
    return device.unknown.get(what, f"{device.name or device.number} does not tell")


def _judge_modules(device: Device, problems: list[str], unknown: list[str]) -> None:
    for dimm in device.dimms or ():
        for flag in dimm.flags or ():
            if flag in BAD_FLAGS:
                problems.append(f"memory module {dimm.name} {BAD_FLAGS[flag]} ({flag})")
    if "module_flags" in device.unknown:
        unknown.append(f"flags of memory modules: {device.unknown['module_flags']}")


def _judge_blocks(
    path: str,
    fd: int,
    device: Device,
    parts: Sequence[Part],
    problems: list[str],
    unknown: list[str],
) -> tuple[BadRange, ...] | None:
    if device.badblocks is None:
        unknown.append(f"bad blocks: {_why(device, 'badblocks')}")
        return None
    if not device.badblocks:
        return ()
    total = sum(length for _, length in device.badblocks)
    mount = mount_of(path)
    fs = mount.fs if mount else "unknown"
    # Files of the realtime part of an xfs lie on another device.
    plain = fs in _PLAIN_FIEMAP and "realtime" not in (xflags(fd) or ())
    found = extents(fd, 0, sum(part.length for part in parts)) if plain else None
    if found is None or any(extent.states & _PLACELESS for extent in found):
        unknown.append(
            f"bad blocks: {device.name} has {total} bad bytes, and whether they are in the pool "
            f"cannot be told: {fs} does not say where the file lies"
        )
        return None
    bad = bad_ranges(found, device.badblocks, parts)
    for each in bad:
        problems.append(
            f"bytes {each.offset} to {each.offset + each.length - 1} of the pool ({each.part}) "
            f"cannot be read: {device.name} lists them as bad blocks"
        )
    return bad
