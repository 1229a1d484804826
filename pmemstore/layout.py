"""The file format's numbers, read from the compiled core.

They are data for the documentation and its tests: ``docs/format.md`` is compared with what the
compiler made of ``layout.h``.  This module stands below the binding, so the caller hands the
binding in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CONSTANTS", "STRUCTS", "Field", "Struct", "constants", "structs"]

#: Constants of layout.h, without their prefix PMS_.
CONSTANTS = (  # noqa: SIM905 - a table is easier to compare with layout.h
    "LINE PAGE MAGIC FORMAT_VERSION SUPER_OFF ANCHOR_OFF ROOT_OFF RESERVED_OFF LOG_OFF "
    "REGION_ALIGN LOG_MIN LOG_MAX POOL_MIN POOL_MAX REGIONS_MAX "
    "MODE_DIRECT MODE_FILE "
    "FRAME_UNDO FRAME_OVERFLOW FRAME_COMMIT FRAME_REDO "
    "ENTRY_BYTES ENTRY_FRESH ENTRY_EXTENT ENTRY_WORDS_MAX "
    "DESC_BYTES PAGE_FREE PAGE_SPAN PAGE_BIGSPAN PAGE_RUN SPAN_PAGES BIGSPAN_PAGES "
    "TAG_EMPTY TAG_NONE TAG_FALSE TAG_TRUE TAG_INT TAG_FLOAT TAG_STR TAG_BYTES TAG_BIGINT "
    "TAG_PACKED TAG_DICT TAG_LIST TAG_SET TAG_DEQUE TAG_SORTED_DICT TAG_SORTED_SET "
    "TAG_ARRAY TAG_RECORD TAG_SCHEMA "
    "TAG_OBJECT_MIN TAG_OBJECTS CELL_SHORT CELL_INNER OBJECT_MAGIC "
    "BUCKET_LINKS DICT_BLOCKS DICT_SEG_BUCKETS DICT_NODE_WORDS DICT_TAG_BITS LINK_MORE "
    "ENTRY_MIN KEY_INNER_MAX KEY_FAR "
    "LEAF_CELLS LEAF_MAGIC NODE_KIDS NODE_MAGIC ARRAY_DIMS "
    "ORDER_NONE ORDER_NUMBER ORDER_STR ORDER_BYTES ORDER_TUPLE ORDER_DATE ORDER_DATETIME "
    "ORDER_INSTANT ORDER_TIME ORDER_TIMEDELTA ORDER_UUID "
    "SORTED_ENTRY_MIN SORTED_REFS SORTED_COMMON SORTED_ORDER SORTED_LEAF_MAGIC SORTED_KIDS "
    "SORTED_NODE_MAGIC "
    "RECORD_BYTES_MAX RECORD_FIELDS_MAX FIXED_MAX "
    "FIELD_CELL FIELD_BOOL FIELD_INT8 FIELD_INT16 FIELD_INT32 FIELD_INT64 FIELD_UINT8 "
    "FIELD_UINT16 FIELD_UINT32 FIELD_UINT64 FIELD_FLOAT32 FIELD_FLOAT64 FIELD_STR FIELD_BYTES"
).split()

#: Structs of layout.h, without their prefix pms_, in its order.
STRUCTS = (  # noqa: SIM905 - as above
    "region_pm super_pm anchor_pm frame_pm root_pm cell_pm object_pm "
    "bucket_pm dict_pm entry_pm far_key_pm list_pm leaf_pm kid_pm node_pm "
    "sorted_pm sorted_entry_pm sorted_ref_pm sorted_leaf_pm sorted_kid_pm sorted_node_pm "
    "array_pm record_pm field_pm schema_pm"
).split()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct on the medium.

    Attributes:
        name: As in layout.h.
        offset: Bytes from the struct's start.
        size: Bytes.
        type: As C writes it.
    """

    name: str
    offset: int
    size: int
    type: str


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct on the medium.

    Attributes:
        name: As in layout.h.
        size: Bytes.
        fields: In the order of their offsets.
    """

    name: str
    size: int
    fields: tuple[Field, ...]


def constants(lib: Any) -> dict[str, int]:
    """Return the value of each constant.

    Args:
        lib: ``pmemstore._native.lib``.
    """
    return {name: int(getattr(lib, f"PMS_{name}")) for name in CONSTANTS}


def structs(ffi: Any) -> dict[str, Struct]:
    """Return each struct as the compiler laid it out.

    Args:
        ffi: ``pmemstore._native.ffi``.
    """
    return {name: _struct(ffi, f"pms_{name}") for name in STRUCTS}


def _struct(ffi: Any, name: str) -> Struct:
    kind = ffi.typeof(f"struct {name}")
    fields = tuple(
        Field(name=label, offset=field.offset, size=ffi.sizeof(field.type), type=field.type.cname)
        for label, field in kind.fields
    )
    return Struct(name=name, size=ffi.sizeof(kind), fields=fields)
