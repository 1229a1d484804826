"""What a place in a pool file is: the struct and field of docs/format.md that it belongs to."""

from __future__ import annotations

from functools import cache
from typing import Any

from pmemstore import layout
from pmemstore._native import ffi, lib

__all__ = ["field_at"]


@cache
def _structs() -> dict[str, layout.Struct]:
    return layout.structs(ffi)


@cache
def _class_sizes() -> tuple[int, ...]:
    """Bytes of the blocks of each size class, by its number."""
    sizes: list[int] = []
    while not sizes or sizes[-1] < lib.PMS_SMALL_MAX:
        sizes.append(int(lib.pms_heap_capacity(sizes[-1] + 1 if sizes else 1)))
    return tuple(sizes)


def field_at(contents: Any, offset: int) -> str:
    """Describe an offset of a pool file in words.

    Args:
        contents: The file, as a buffer.
        offset: In it.

    Returns:
        Such as ``anchor 1, seq`` or ``dict at 327680, count``.
    """
    if offset >= len(contents):
        return "behind the end of the file"
    base = ffi.cast("uint8_t *", ffi.from_buffer(contents))
    if offset < lib.PMS_ANCHOR_OFF:
        return _slot("superblock", "super_pm", offset - lib.PMS_SUPER_OFF)
    if offset < lib.PMS_ROOT_OFF:
        return _slot("anchor", "anchor_pm", offset - lib.PMS_ANCHOR_OFF)
    if offset < lib.PMS_RESERVED_OFF:
        return "root page, " + _field("root_pm", offset - lib.PMS_ROOT_OFF)
    super_ = _superblock(base)
    if super_ is None:
        return "unknown: neither superblock has its magic number"
    if super_.log_off <= offset < super_.log_off + super_.log_bytes:
        return _log(base, super_, offset - super_.log_off)
    return _heap(base, super_, offset) if offset >= super_.heap_start else "reserved"


def _superblock(base: Any) -> Any:
    slots = [ffi.cast("struct pms_super_pm *", base + i * lib.PMS_PAGE) for i in (0, 1)]
    good = [slot for slot in slots if slot.magic == lib.PMS_MAGIC]
    return max(good, key=lambda slot: int(slot.gen), default=None)


def _field(struct: str, at: int) -> str:
    for field in _structs()[struct].fields:
        if field.offset <= at < field.offset + field.size:
            inner = f" + {at - field.offset}" if at > field.offset else ""
            return field.name + inner
    return f"byte {at}"


def _slot(name: str, struct: str, at: int) -> str:
    return f"{name} {at // lib.PMS_PAGE}, {_field(struct, at % lib.PMS_PAGE)}"


# ---- log


def _frame_name(kind: int) -> str:
    names = {
        lib.PMS_FRAME_UNDO: "UNDO",
        lib.PMS_FRAME_OVERFLOW: "OVERFLOW",
        lib.PMS_FRAME_COMMIT: "COMMIT",
        lib.PMS_FRAME_REDO: "REDO",
    }
    return names.get(kind, f"kind {kind}")


def _log(base: Any, super_: Any, at: int) -> str:
    """Walk the chain from the newest anchor to the frame that has this place."""
    anchors = [
        ffi.cast("struct pms_anchor_pm *", base + lib.PMS_ANCHOR_OFF + i * lib.PMS_PAGE)
        for i in (0, 1)
    ]
    for anchor in sorted(anchors, key=lambda a: int(a.gen), reverse=True):
        position, number = int(anchor.pos), int(anchor.seq)
        for _ in range(super_.log_bytes // lib.PMS_LINE):
            frame = _frame(base, super_, position, number)
            if frame is None and position != 0:
                position = 0
                frame = _frame(base, super_, position, number)
            if frame is None:
                break
            size = -(-(32 + 8 * frame.words) // lib.PMS_LINE) * lib.PMS_LINE
            if position <= at < position + size:
                inner = at - position
                part = _field("frame_pm", inner) if inner < 32 else f"word {(inner - 32) // 8}"
                return f"log, frame {number} ({_frame_name(frame.kind)}), {part}"
            position, number = (position + size) % super_.log_bytes, number + 1
    return f"log, position {at}"


def _frame(base: Any, super_: Any, position: int, number: int) -> Any:
    if position + 32 > super_.log_bytes:
        return None
    frame = ffi.cast("struct pms_frame_pm *", base + super_.log_off + position)
    fits = position + 32 + 8 * int(frame.words) <= super_.log_bytes
    return frame if frame.seq == number and fits else None


# ---- heap


def _heap(base: Any, super_: Any, offset: int) -> str:
    for i in range(super_.nregions):
        region = super_.regions[i]
        table = -(-region.cap_pages * lib.PMS_DESC_BYTES // lib.PMS_PAGE) * lib.PMS_PAGE
        if not region.start <= offset < region.start + region.cap_pages * lib.PMS_PAGE:
            continue
        first = region.start // lib.PMS_PAGE
        if offset < region.start + table:
            page = first + (offset - region.start) // lib.PMS_DESC_BYTES
            return f"descriptor of page {page} (offset {page * lib.PMS_PAGE})"
        return _block(base, region, offset)
    return "heap, in no region"


def _head(base: Any, region: Any, page: int) -> tuple[int, int, int, int] | None:
    """Page, kind, class and pages of the head descriptor that a page belongs to."""
    first = region.start // lib.PMS_PAGE

    def word(at: int) -> int:
        return int(ffi.cast("uint64_t *", base + region.start + (at - first) * 16)[0])

    for start, kind in (
        (page // lib.PMS_SPAN_PAGES * lib.PMS_SPAN_PAGES, lib.PMS_PAGE_SPAN),
        (page // lib.PMS_BIGSPAN_PAGES * lib.PMS_BIGSPAN_PAGES, lib.PMS_PAGE_BIGSPAN),
    ):
        if start >= first and word(start) & 0xFF == kind:
            w = word(start)
            return start, kind, w >> 8 & 0xFF, w >> 16
    for start in range(page, first, -1):
        w = word(start)
        if w:
            inside = w & 0xFF == lib.PMS_PAGE_RUN and page < start + (w >> 16)
            return (start, lib.PMS_PAGE_RUN, 0, w >> 16) if inside else None
    return None


def _block(base: Any, region: Any, offset: int) -> str:
    head = _head(base, region, offset // lib.PMS_PAGE)
    if head is None:
        return f"free page {offset // lib.PMS_PAGE}"
    start, kind, cls, pages = head
    if kind == lib.PMS_PAGE_RUN:
        begin, size = start * lib.PMS_PAGE, pages * lib.PMS_PAGE
    else:
        sizes = _class_sizes()
        if cls >= len(sizes):
            return f"span of unknown class {cls}"
        size = sizes[cls]
        begin = start * lib.PMS_PAGE + (offset - start * lib.PMS_PAGE) // size * size
    return _contents(base, begin, size, offset - begin)


def _contents(base: Any, begin: int, size: int, at: int) -> str:
    word = int(ffi.cast("uint64_t *", base + begin)[0])
    tag = (word & 0xFFFFFFFF) - lib.PMS_OBJECT_MAGIC
    structs = {
        lib.PMS_TAG_DICT: ("dict", "dict_pm"),
        lib.PMS_TAG_LIST: ("list", "list_pm"),
        lib.PMS_TAG_SET: ("set", "dict_pm"),
        lib.PMS_TAG_DEQUE: ("deque", "list_pm"),
        lib.PMS_TAG_RECORD: ("record", "record_pm"),
        lib.PMS_TAG_SCHEMA: ("schema", "schema_pm"),
        lib.PMS_TAG_ARRAY: ("array", "array_pm"),
        lib.PMS_TAG_SORTED_DICT: ("sorted dict", "sorted_pm"),
        lib.PMS_TAG_SORTED_SET: ("sorted set", "sorted_pm"),
    }
    if tag in structs:
        name, struct = structs[tag]
        return f"{name} at {begin}, {_field(struct, at)}"
    if word >> 32 == lib.PMS_LEAF_MAGIC:
        return f"leaf of a list at {begin}, {_field('leaf_pm', at)}"
    if word >> 32 == lib.PMS_NODE_MAGIC:
        return f"node of a list at {begin}, {_field('node_pm', at)}"
    if word >> 32 == lib.PMS_SORTED_LEAF_MAGIC:
        return f"leaf of a sorted dict at {begin}, {_field('sorted_leaf_pm', at)}"
    if word >> 32 == lib.PMS_SORTED_NODE_MAGIC:
        return f"node of a sorted dict at {begin}, {_field('sorted_node_pm', at)}"
    return f"block of {size} bytes at {begin}, byte {at}"
