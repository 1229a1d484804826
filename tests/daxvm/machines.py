"""What the guests of these tests are made of: file systems, devices, CPUs; and their images.

A machine is a row of ``MACHINES``.  Each of its disks is mounted at ``/mnt/<name>`` in the guest;
``/mnt/tmpfs`` and the overlay that is the root come for free.
"""

from __future__ import annotations

import os
import struct
import subprocess
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

MIB = 1 << 20
#: Where the file system starts inside the image of an NVDIMM.
NVDIMM_DATA = 2 * MIB


@dataclass(frozen=True)
class Disk:
    """A device with a file system.

    Attributes:
        name: Its mount point is ``/mnt/<name>``.
        kind: ``ext4``, ``xfs`` or ``btrfs``.
        device: ``nvdimm``, ``virtio-pmem`` or ``virtio-blk``.
        options: For mount.
        mib: Size of the image.  mkfs.xfs takes nothing below 300.
        tail: Bytes at the end of the device that the file system leaves alone.
        logged: Every write and flush goes to a log too (virtio-blk; see blklog.py).
    """

    name: str
    kind: str
    device: str = "nvdimm"
    options: str = "defaults"
    mib: int = 256
    tail: int = 0
    logged: bool = False

    @property
    def uuid(self) -> uuid.UUID:
        """UUID of the file system."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.pmemstore.test")

    @property
    def data_start(self) -> int:
        return NVDIMM_DATA if self.device == "nvdimm" else 0

    @property
    def data_bytes(self) -> int:
        return self.mib * MIB - self.data_start - self.tail


@dataclass(frozen=True)
class Machine:
    """A guest.

    Attributes:
        disks: In the order in which the guest sees them.
        cpu: For qemu's ``-cpu``.
        persistence: What the NFIT says of the platform: ``cpu`` is eADR, ``mem-ctrl`` ADR; None:
            nothing.
        says: One line for ``run.py --list``.
    """

    disks: tuple[Disk, ...]
    says: str
    cpu: str = "max"
    persistence: str | None = None


EXT4_DAX = Disk("ext4-dax", "ext4", options="dax")
XFS_DAX = Disk("xfs-dax", "xfs", options="dax=always", mib=384)
EXT4_DISK = Disk("ext4-disk", "ext4", "virtio-blk")
VPMEM = Disk("ext4-vpmem", "ext4", "virtio-pmem", "dax")
BTRFS = Disk("btrfs", "btrfs", "virtio-blk")
#: What the crash states are made of: small, for it is copied and repaired some hundred times.
LOGGED = Disk("ext4-logged", "ext4", "virtio-blk", mib=64, tail=MIB, logged=True)

MACHINES = {
    "nvdimm": Machine(
        (EXT4_DAX, XFS_DAX), "ext4 -o dax and xfs dax=always, with CLWB", persistence="mem-ctrl"
    ),
    "inode": Machine(
        (
            replace(EXT4_DAX, name="ext4-inode", options="dax=inode"),
            replace(XFS_DAX, name="xfs-inode", options="dax=inode"),
        ),
        "dax=inode: a file is DAX if it has the flag",
    ),
    "others": Machine(
        (VPMEM, EXT4_DISK, BTRFS), "virtio-pmem with -o dax, ext4 on a disk, btrfs: no MAP_SYNC"
    ),
    "eadr": Machine(
        (EXT4_DAX, XFS_DAX), "as nvdimm, and the platform keeps CPU caches", persistence="cpu"
    ),
    "no-clwb": Machine(
        (EXT4_DAX,), "a CPU that has CLFLUSHOPT at best; nothing told of the platform", "max,-clwb"
    ),
    "clflush": Machine((EXT4_DAX,), "a CPU that has CLFLUSH alone", "max,-clwb,-clflushopt"),
    # A sync of one task makes the metadata of all durable, and hides what others have left out:
    # so what is to be told apart lies on file systems of its own.
    "kill": Machine(
        (
            EXT4_DAX,
            XFS_DAX,
            replace(EXT4_DAX, name="ext4-control"),
            replace(XFS_DAX, name="xfs-control"),
            replace(XFS_DAX, name="xfs-clone"),
            replace(XFS_DAX, name="xfs-clone-raw"),
            replace(XFS_DAX, name="xfs-clone-control"),
            VPMEM,
            EXT4_DISK,
        ),
        "what test_kill.py kills",
    ),
    "logged": Machine((LOGGED,), "a disk whose writes are logged, for test_replay.py"),
}


# ---- images -----------------------------------------------------------------------------


def make_image(path: Path, disk: Disk) -> None:
    """Make the file behind a device, formatted.  What is there already is left alone."""
    if path.exists():
        return
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.truncate(disk.mib * MIB)
        if disk.device == "nvdimm":
            file.seek(4096)
            file.write(fsdax_info(disk.mib * MIB))
    if disk.kind == "ext4":
        # 4 KiB blocks: mke2fs takes 1 KiB for small devices, which rules out DAX.
        options = ["lazy_itable_init=1,lazy_journal_init=1"]
        if disk.data_start:
            options.append(f"offset={disk.data_start}")
        journal = ["-J", "size=4"] if disk.logged else []
        _quietly(
            *["mkfs.ext4", "-q", "-F", "-b", "4096", "-U", str(disk.uuid)],
            *["-E", ",".join(options), *journal, str(new), str(disk.data_bytes // 4096)],
        )
    else:
        bare = path.with_suffix(".bare")
        with bare.open("wb") as file:
            file.truncate(disk.data_bytes)
        name = ["-m", f"uuid={disk.uuid}"] if disk.kind == "xfs" else ["-U", str(disk.uuid)]
        _quietly(f"mkfs.{disk.kind}", "-q", "-f", *name, str(bare))
        copy_sparse(bare, new, disk.data_start)
        bare.unlink()
    new.rename(path)


def fsdax_info(size: int) -> bytes:
    """Return what ``ndctl create-namespace --mode=fsdax --map=mem`` writes at offset 4096.

    Without it an NVDIMM that has no labels is in raw mode, which has no DAX.
    """
    block = bytearray(4096)
    block[0:16] = b"NVDIMM_PFN_INFO\0"
    block[16:32] = uuid.uuid4().bytes
    pages = (size - NVDIMM_DATA) // 4096
    # flags, version 1.4, offset and number of the pages, mode, paddings, alignment, page sizes
    struct.pack_into(
        *("<IHHQQIIIIIHH", block, 0x30),
        *(0, 1, 4, NVDIMM_DATA, pages, 1, 0, 0, NVDIMM_DATA, 4096, 64, 0),
    )
    low = high = 0  # the kernel's nd_fletcher64
    for (word,) in struct.iter_unpack("<I", bytes(block)):
        low = (low + word) & 0xFFFFFFFF
        high = (high + low) & 0xFFFFFFFFFFFFFFFF
    struct.pack_into("<Q", block, 0xFF8, ((high << 32) | low) & 0xFFFFFFFFFFFFFFFF)
    return bytes(block)


def copy_sparse(source: Path, target: Path, start: int = 0) -> None:
    """Copy what is no hole into a file of zeroes, from ``start`` on."""
    with source.open("rb") as file, target.open("r+b") as out:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return  # nothing but a hole is left
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                part = os.pread(file.fileno(), min(hole - at, MIB), at)
                os.pwrite(out.fileno(), part, start + at)
                at += len(part)


def _quietly(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
