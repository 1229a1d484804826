"""What a rule is, and what its conditions are made of.

Conditions look at the facts alone.  In sentences and commands ``{mount}``, ``{source}``,
``{path}`` and others stand for the facts (report.py); commands are for people, nothing runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pmemstore.doctor.facts import Facts
from pmemstore.health import BAD_FLAGS


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be better.

    Attributes:
        code: Stable name.
        kind: ``tier``, ``speed``, ``risk`` or ``note``: see ``Advice``.
        applies: Whether the facts call for it.
        text: A sentence, with names of facts in braces.
        commands: The same.
        gives: Tier that it leads to.
    """

    code: str
    kind: str
    applies: Callable[[Facts], bool]
    text: str
    commands: tuple[str, ...] = ()
    gives: str | None = None


# ---- commands of several rules ----

REMOUNT: Final = ("umount {mount}", "mount -o dax=always {source} {mount}")
NEW_PMEM: Final = (
    "ndctl list --regions --namespaces",
    "ndctl create-namespace --mode=fsdax --region={region}",
    "mkfs.ext4 -b {page_size} /dev/pmem0",
    "mount -o dax=always /dev/pmem0 /mnt/pmem",
)


# ---- what conditions are made of ----

MEMORY: Final = ("tmpfs", "ramfs")
NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "afs", "glusterfs")
DAX: Final = ("ext4", "xfs")
OTHER: Final = (*MEMORY, *NETWORK, *DAX, "overlay", "btrfs", "ext2", "virtiofs")


def granted(f: Facts) -> bool:
    """MAP_SYNC is granted: the medium is direct."""
    return f.map_sync == "granted"


def refused(f: Facts) -> bool:
    """MAP_SYNC was asked for, and refused."""
    return f.map_sync is not None and f.map_sync != "granted"


def on_dax_device(f: Facts) -> bool:
    """A file system with DAX on a device with DAX."""
    return f.fs in DAX and f.device.dax is True


def is_fuse(f: Facts) -> bool:
    """A file system in user space."""
    return (f.fs or "").startswith("fuse")


def not_dax_here(f: Facts) -> bool:
    """The device and the file system could, but this file is not DAX."""
    return on_dax_device(f) and f.dax is False and fitting_blocks(f)


def fitting_blocks(f: Facts) -> bool:
    """Blocks are the size of a page, and start at pages."""
    return f.block_size == f.page_size and f.device.start % f.page_size == 0


def file_has(f: Facts, *names: str) -> bool:
    """The file has one of these flags or attributes."""
    return any(n in (f.flags or ()) or n in (f.attributes or ()) for n in names)


def flagged(f: Facts) -> bool:
    """The file has the DAX flag, whatever that does."""
    return "dax" in (f.xflags or ())


def lacks_cpu(f: Facts, *names: str) -> bool:
    """The CPU is known to have none of these flags."""
    return f.cpu is not None and not any(name in f.cpu for name in names)


def unusable(f: Facts) -> bool:
    """Something about the file itself rules DAX out, whatever flag it carries."""
    return file_has(f, "encrypt", "encrypted", "verity", "inline-data") or (
        "data=journal" in f.mount_options
    )


def compressing(f: Facts) -> bool:
    """The mount compresses, and the file is not exempt as NOCOW files are."""
    asked = any(option.startswith("compress") for option in f.mount_options)
    return asked and f.flags is not None and "nocow" not in f.flags


def bad_flags(f: Facts) -> bool:
    """A memory module complains."""
    return any(flag in BAD_FLAGS for dimm in f.device.dimms or () for flag in dimm.flags or ())
