"""All contenders, by name; and what is known of those that are not built any more."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from contenders.base import (
    DURABLE,
    DURABLE_ATOMIC,
    DURABLE_ATOMIC_RAM,
    FLOOR,
    UNSYNCED,
    VOLATILE,
    Contender,
    Pair,
)
from contenders.floor import BareWrite
from contenders.lightning import Lmdb, LmdbWritemap
from contenders.lsm import Plyvel, Rocksdict
from contenders.memory import LoggedDict, Memory
from contenders.pool import Pmemstore, PmemstoreSorted
from contenders.shelf import Shelve
from contenders.sqlite import Diskcache, Sqlite
from contenders.zodb import Zodb

__all__ = [
    "CLASSES",
    "CONTENDERS",
    "DURABLE_ATOMIC",
    "DURABLE_ATOMIC_RAM",
    "FLOOR",
    "OURS",
    "VOLATILE",
    "Contender",
    "Pair",
    "quoted",
]

CONTENDERS: dict[str, type[Contender]] = {
    kind.name: kind
    for kind in (
        Pmemstore,
        PmemstoreSorted,
        Sqlite,
        Lmdb,
        LmdbWritemap,
        Rocksdict,
        Plyvel,
        Zodb,
        Diskcache,
        LoggedDict,
        Shelve,
        Memory,
        BareWrite,
    )
}
#: The library's own: no peers of each other.
OURS = (Pmemstore.name, PmemstoreSorted.name)
#: Classes of durability, in the order in which they are shown.
CLASSES = [DURABLE_ATOMIC, DURABLE_ATOMIC_RAM, DURABLE, UNSYNCED, VOLATILE, FLOOR]


def quoted() -> dict[str, Any]:
    """Figures that were taken elsewhere, with their source; they share no table and no bar."""
    return tomllib.loads((Path(__file__).parent / "quoted.toml").read_text())
