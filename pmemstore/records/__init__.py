"""Typed records: classes whose instances live in a pool, field by field, at fixed places.

    markers   the types of fields that annotations can name
    specs     what one field is: its leaves in the pool, its value, what it can be read as
    layout    how the fields of a class lie in the pool, and when one layout fits another
    classes   the decorator, and what all record classes have in common
    schemas   the schemas of a pool: stored, verified, replaced

The format is docs/format.md, "Record".
"""

from pmemstore.records.classes import Record, field, record
from pmemstore.records.markers import (
    array_of,
    fixed,
    float32,
    float64,
    inline,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)

__all__ = [
    "Record",
    "array_of",
    "field",
    "fixed",
    "float32",
    "float64",
    "inline",
    "int8",
    "int16",
    "int32",
    "int64",
    "record",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
