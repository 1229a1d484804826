"""Where a test inside the guest may put its files."""

import os
from dataclasses import dataclass
from pathlib import Path

#: Name of the machine that this runs in; None outside a guest.
MACHINE = os.environ.get("PMEMSTORE_DAXVM_MACHINE")


@dataclass(frozen=True)
class Place:
    """A file system of the guest.

    Attributes:
        name: As in ``machines.py``; also ``tmpfs`` and ``overlay``.
        folder: An empty directory on it.
        map_sync: Whether the kernel grants MAP_SYNC there.
    """

    name: str
    folder: Path

    @property
    def map_sync(self) -> bool:
        return self.name in ("ext4-dax", "xfs-dax", "ext4-inode", "xfs-inode")
