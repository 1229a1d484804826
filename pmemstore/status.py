"""What a pool says about itself: its durability, its counters, what a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pmemstore._native import ffi, lib

__all__ = ["TIERS", "TIER_NAMES", "CheckResult", "Durability", "PoolStats"]

TIERS: Final[dict[str, int]] = {
    ffi.string(lib.pms_tier_name(tier)).decode(): tier
    for tier in (
        lib.PMS_TIER_EADR,
        lib.PMS_TIER_FLUSH,
        lib.PMS_TIER_DAX_FSYNC,
        lib.PMS_TIER_SYNC,
        lib.PMS_TIER_VOLATILE,
    )
}
#: Strongest first: ``require`` accepts this tier and those before it.
TIER_NAMES: Final[dict[int, str]] = {tier: name for name, tier in TIERS.items()}


@dataclass(frozen=True, slots=True)
class Durability:
    """What a commit is worth on this medium.

    Attributes:
        tier: ``eadr``, ``flush``, ``dax-fsync``, ``sync`` or ``volatile``.
        reason: Why, in a sentence.
    """

    tier: str
    reason: str

    def __str__(self) -> str:
        return f"{self.tier}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counters since the pool was opened, and present sizes.

    Attributes:
        commits: Transactions and single operations that changed something and committed.
        aborts: Transactions that were rolled back.
        fences: Store fences, each of which orders the flushes before it.
        flushed_lines: Cache lines written back, or past the caches.
        syncs: System calls that wait for the device.
        log_bytes: Written to the log.
        checkpoints: Times that the log was cut.
        write_faults: Stores that the kernel stopped to make a page writable, as far as it can
            be known without asking the kernel each time.  Direct media: first stores to pages
            of the heap that were not made writable ahead, and one for each time that somebody
            was found to have synced; pages that the same unit touched, and the log's, are not
            counted.  Files: pages changed for the first time since the last checkpoint.
        written_bytes: By write calls, on files without DAX.
        used_bytes: In use in the heap.
        free_bytes: Free in the heap, without growing.
        size: Bytes of the file.
        limit: Bytes that the file may grow to.
        handles: Objects that some proxy looks at.
        recovered_units: Transactions that opening the pool completed or rolled back.
        looks: Times that the file was compared with what it was: see ``open``, ``watch``.
        repairs: Times that a clone made by another task was undone.
    """

    commits: int
    aborts: int
    fences: int
    flushed_lines: int
    syncs: int
    log_bytes: int
    checkpoints: int
    write_faults: int
    written_bytes: int
    used_bytes: int
    free_bytes: int
    size: int
    limit: int
    handles: int
    recovered_units: int
    looks: int
    repairs: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What ``Pool.check()`` found.

    Attributes:
        problems: One sentence each, with offsets and numbers; empty if there are none.
        objects: Containers, arrays, records and their schemas.
        entries: Items of dicts, sets, sorted dicts and sorted sets.
        cells: Values of containers, and fields of records without a fixed type.
        blobs: Values and keys with a block of their own.
        allocated_bytes: What the heap says is in use.
        reachable_bytes: What the root and the orphans lead to.
        leaked_bytes: The difference.
        orphans: Containers that nothing refers to and that will be torn down.
        unreachable: Containers that only keep each other alive; ``Pool.collect()`` frees them. Each
            is a problem, or part of one.
        damage: Problems that are more than that.
        notes: What other tasks were found to have done to the file since it was opened, without
            that anything was lost; a sentence each.
    """

    problems: tuple[str, ...]
    objects: int
    entries: int
    cells: int
    blobs: int
    allocated_bytes: int
    reachable_bytes: int
    leaked_bytes: int
    orphans: int
    unreachable: int
    damage: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the pool has no problem."""
        return not self.problems
