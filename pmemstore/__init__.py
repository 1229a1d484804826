"""Persistent objects in one memory-mapped file.

Dicts, lists, sets, deques, sorted dicts and sets, arrays and typed records that live in a pool
file, and transactions that survive ``kill -9`` and power loss: on persistent memory without a
system call, on any other file with one synchronous write.

Example:
    >>> import pmemstore
    >>> with pmemstore.open(getfixture("tmp_path") / "shop.pool") as pool:
    ...     orders = pool.root.setdefault("orders", {})
    ...     orders[17] = {"customer": "Ada", "total": 9.5}
    ...     with pool.transaction():
    ...         orders[17]["paid"] = True
    ...     print(orders)
    {17: {'customer': 'Ada', 'total': 9.5, 'paid': True}}
"""

from pmemstore.alloc import ClassUsage, HeapUsage
from pmemstore.containers import Array, Deque, Dict, List, Set, SortedDict, SortedSet
from pmemstore.errors import (
    DurabilityError,
    HealthWarning,
    MediaError,
    NotPersistableError,
    PmemstoreError,
    PoolBusyError,
    PoolClosedError,
    PoolCorruptError,
    PoolFormatError,
    PoolFullError,
    SchemaMismatchError,
    StaleRefError,
    TransactionError,
    UnknownTypeError,
    UnpackError,
    UnreadableValueError,
)
from pmemstore.health import BadRange, Health
from pmemstore.mapping import Mapping, MappingStats, PreparedWrite
from pmemstore.opening import open
from pmemstore.pool import Pool
from pmemstore.records import (
    array_of,
    field,
    fixed,
    float32,
    float64,
    inline,
    int8,
    int16,
    int32,
    int64,
    record,
    uint8,
    uint16,
    uint32,
    uint64,
)
from pmemstore.status import CheckResult, Durability, PoolStats
from pmemstore.tx import Transaction
from pmemstore.values import Opaque, register

__version__ = "0.1.0"

__all__ = [
    "Array",
    "BadRange",
    "CheckResult",
    "ClassUsage",
    "Deque",
    "Dict",
    "Durability",
    "DurabilityError",
    "Health",
    "HealthWarning",
    "HeapUsage",
    "List",
    "Mapping",
    "MappingStats",
    "MediaError",
    "NotPersistableError",
    "Opaque",
    "PmemstoreError",
    "Pool",
    "PoolBusyError",
    "PoolClosedError",
    "PoolCorruptError",
    "PoolFormatError",
    "PoolFullError",
    "PoolStats",
    "PreparedWrite",
    "SchemaMismatchError",
    "Set",
    "SortedDict",
    "SortedSet",
    "StaleRefError",
    "Transaction",
    "TransactionError",
    "UnknownTypeError",
    "UnpackError",
    "UnreadableValueError",
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
    "open",
    "record",
    "register",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]
