"""Allocation, as far as Python sees it: how the heap of a pool is used.

The allocator itself is in the core (``heap.h``): size classes in spans, whole pages above 32 KiB.
It is part of every transaction, so a crash leaks nothing, and there is nothing to call here but
statistics.  Counting looks at every page descriptor: O(pages of the pool).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ClassUsage", "HeapUsage", "heap_usage"]


@dataclass(frozen=True, slots=True)
class ClassUsage:
    """Blocks of one size.

    Attributes:
        size: Bytes of a block.
        spans: Spans of such blocks in the pool.
        used_blocks: Blocks in use.
        free_blocks: Blocks of these spans that are free.
    """

    size: int
    spans: int
    used_blocks: int
    free_blocks: int

    @property
    def used_bytes(self) -> int:
        """Bytes of the blocks in use."""
        return self.size * self.used_blocks

    @property
    def free_bytes(self) -> int:
        """Bytes of the free blocks."""
        return self.size * self.free_blocks


@dataclass(frozen=True, slots=True)
class HeapUsage:
    """How the heap is used, in bytes.

    Attributes:
        heap_bytes: All pages of the heap, with the tables that describe them.
        table_bytes: Of these, the tables.
        used_bytes: Blocks and runs in use, by their capacity.
        free_bytes: What allocations can still take before the pool must grow.
        free_page_bytes: Of these, whole pages, which fit any size.
        span_free_bytes: Of these, blocks in spans, which fit one size each.
        largest_free_bytes: Longest run of free pages: the largest value that fits.
        run_bytes: In use by values of more than 32 KiB.
        runs: Such values.
        quarantine_bytes: Freed, and not to be used before the log has moved on.
        classes: One entry for each block size that has a span, smallest first.
    """

    heap_bytes: int
    table_bytes: int
    used_bytes: int
    free_bytes: int
    free_page_bytes: int
    span_free_bytes: int
    largest_free_bytes: int
    run_bytes: int
    runs: int
    quarantine_bytes: int
    classes: tuple[ClassUsage, ...]

    @property
    def fragmentation(self) -> float:
        """Share of the free bytes that is not in the longest run: 0.0 is none."""
        if self.free_bytes == 0:
            return 0.0
        return max(0.0, 1.0 - self.largest_free_bytes / self.free_bytes)


def heap_usage(raw: Any) -> HeapUsage:
    """Copy a ``struct pms_heap_stats`` of the core."""
    classes = (
        ClassUsage(
            size=cls.size,
            spans=cls.spans,
            used_blocks=cls.used_blocks,
            free_blocks=cls.free_blocks,
        )
        for cls in raw.cls
        if cls.spans
    )
    return HeapUsage(
        heap_bytes=raw.heap_bytes,
        table_bytes=raw.table_bytes,
        used_bytes=raw.used_bytes,
        free_bytes=raw.free_bytes,
        free_page_bytes=raw.free_pages_bytes,
        span_free_bytes=raw.span_free_bytes,
        largest_free_bytes=raw.largest_free,
        run_bytes=raw.run_bytes,
        runs=raw.runs,
        quarantine_bytes=raw.quarantine_bytes,
        classes=tuple(classes),
    )
