"""Facts about a file or directory, its file system and its device.

A directory is asked by making a file in it as a new pool is made, and removing that; the file has
no other purpose, and nothing else is written.  What cannot be found out is None, and ``unknown``
has the reason.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import platform
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from pmemstore import host
from pmemstore.mapping import Mapping

__all__ = ["CPUINFO", "HUGE", "Facts", "collect"]

#: Bytes that one entry of the page table maps at best, but for pages of 1 GiB.
HUGE: Final = 2 << 20
#: Tests put a recorded list here.
CPUINFO = Path("/proc/cpuinfo")
#: Where btrfs says how it lays out data.
BTRFS = Path("/sys/fs/btrfs")

_CPU_FLAGS: Final = ("clflush", "clflushopt", "clwb", "dcpop", "hypervisor")
_MAP_SHARED_VALIDATE: Final = 0x03
_MAP_SYNC: Final = 0x80000
_BTRFS_IOC_FS_INFO: Final = 0x8400941F
_BTRFS_UUID: Final = 16


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out.  None: not known, see ``unknown``.

    Attributes:
        path: As it was given.
        kind: ``file`` or ``directory``.
        probed: What was mapped: ``file`` (itself), ``temporary file``, or ``nothing``.
        tier: Of what was probed, in truth: not what PMEMSTORE_FORCE_TIER makes of it.
        reason: Why, in the words of the library.
        forced: Value of PMEMSTORE_FORCE_TIER, if it is set.
        map_sync: ``granted``, or the errno of the refusal: ``EOPNOTSUPP``.
        dax: Whether statx says that the file is DAX.
        kernel: Release: ``6.1.0-50-amd64``.
        machine: ``x86_64``.
        cpu: Of the CPU's flags those that matter here.
        page_size: Bytes.
        fs: Type of the file system: ``ext4``.
        mount_point: Directory it is mounted at.
        mount_source: Its device, or what it has in place of one.
        mount_options: Of the mount and of the file system.
        block_size: Bytes of a block of the file system.
        size: Bytes of the file.
        flags: Of the file, as lsattr has them: ``nocow``.
        xflags: Of the file, as xfs_io has them: ``dax``.
        attributes: Of the file, by statx: ``encrypted``.
        folder_xflags: Of the directory.
        folder_flags: Of the directory.
        extents: States that any extent of the file has: ``shared``, ``unwritten``...
        huge: Whether the file's blocks are aligned so that huge pages can map them.
        reflink: Whether an XFS can share blocks between files.
        btrfs_data: Layout of a btrfs: ``single``, ``raid1``...
        device: The block device.
        unknown: What could not be found out, and why.
    """

    path: str
    kind: str
    probed: str = "nothing"
    tier: str | None = None
    reason: str | None = None
    forced: str | None = None
    map_sync: str | None = None
    dax: bool | None = None
    kernel: str = ""
    machine: str = ""
    cpu: tuple[str, ...] | None = None
    page_size: int = 4096
    fs: str | None = None
    mount_point: str | None = None
    mount_source: str | None = None
    mount_options: tuple[str, ...] = ()
    block_size: int | None = None
    size: int | None = None
    flags: tuple[str, ...] | None = None
    xflags: tuple[str, ...] | None = None
    attributes: tuple[str, ...] | None = None
    folder_xflags: tuple[str, ...] | None = None
    folder_flags: tuple[str, ...] | None = None
    extents: tuple[str, ...] | None = None
    huge: bool | None = None
    reflink: bool | None = None
    btrfs_data: str | None = None
    device: host.Device = field(default_factory=lambda: host.Device("0:0"))
    unknown: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return what ``dataclasses.asdict`` and JSON made a dict of."""
        data = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        data["device"] = host.Device.from_json(data["device"])
        return cls(**data)

    @property
    def folder(self) -> str:
        """The directory, or that of the file."""
        return self.path if self.kind == "directory" else os.path.dirname(self.path) or "."

    @property
    def version(self) -> tuple[int, int]:
        """Kernel release, major and minor."""
        numbers = self.kernel.replace("-", ".").split(".")
        try:
            return int(numbers[0]), int(numbers[1])
        except (IndexError, ValueError):
            return 0, 0

    @property
    def dax_option(self) -> str:
        """The mount's dax option: ``always``, ``inode``, ``never`` or ``none``."""
        for option in self.mount_options:
            if option in ("dax", "dax=always"):
                return "always"
            if option in ("dax=inode", "dax=never"):
                return option.removeprefix("dax=")
        return "none"


def collect(path: str) -> Facts:
    """Find out what there is to know about a path.

    Args:
        path: A regular file, or a directory.

    Raises:
        OSError: It is not there, or may not be read.
        ValueError: It is neither.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} is neither a file nor a directory")
    facts: dict[str, Any] = {
        "path": path,
        "kind": "directory" if stat.S_ISDIR(mode) else "file",
        "kernel": platform.release(),
        "machine": platform.machine(),
        "page_size": mmap.PAGESIZE,
        "forced": os.environ.get("PMEMSTORE_FORCE_TIER") or None,
        "device": host.device_of(os.stat(path).st_dev),
        "unknown": {},
    }
    unknown: dict[str, str] = facts["unknown"]
    _ask_cpu(facts, unknown)
    _ask_mount(path, facts, unknown)
    folder = path if stat.S_ISDIR(mode) else os.path.dirname(path) or "."
    _ask_folder(folder, facts, unknown)
    with _unforced():
        if stat.S_ISREG(mode):
            facts["probed"] = "file"
            _ask_file(path, facts, unknown)
        else:
            _ask_by_new_file(path, facts, unknown)
    return Facts(**facts)


@contextmanager
def _unforced() -> Iterator[None]:
    """Let nobody force a tier meanwhile: the truth is wanted."""
    forced = os.environ.pop("PMEMSTORE_FORCE_TIER", None)
    try:
        yield
    finally:
        if forced is not None:
            os.environ["PMEMSTORE_FORCE_TIER"] = forced


def _ask_cpu(facts: dict[str, Any], unknown: dict[str, str]) -> None:
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError as error:
        unknown["cpu"] = str(error)
        return
    for line in lines:
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            has = set(words.split())
            facts["cpu"] = tuple(flag for flag in _CPU_FLAGS if flag in has)
            return
    unknown["cpu"] = f"{CPUINFO} lists no flags"


def _ask_mount(path: str, facts: dict[str, Any], unknown: dict[str, str]) -> None:
    mount = host.mount_of(path)
    if mount is None:
        unknown["mount"] = f"the mount of {path} is not in /proc/self/mountinfo"
    else:
        facts.update(
            fs=mount.fs,
            mount_point=mount.point,
            mount_source=mount.source,
            mount_options=mount.options,
        )
    facts["block_size"] = os.statvfs(path).f_bsize


def _ask_folder(folder: str, facts: dict[str, Any], unknown: dict[str, str]) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        unknown["folder"] = str(error)
        return
    try:
        facts["folder_flags"] = _sorted(host.flags(fd))
        facts["folder_xflags"] = _sorted(host.xflags(fd))
        if facts.get("fs") == "xfs":
            facts["reflink"] = host.xfs_reflink(fd)
        if facts.get("fs") == "btrfs":
            facts["btrfs_data"] = _btrfs_layout(fd, unknown)
    finally:
        os.close(fd)


def _ask_by_new_file(folder: str, facts: dict[str, Any], unknown: dict[str, str]) -> None:
    """Make a file as a pool is made, ask about it, and remove it."""
    # Large enough to see how blocks are aligned, where that matters.
    size = 2 * HUGE if facts["device"].dax else mmap.PAGESIZE
    path = os.path.join(folder, f".pmemstore-doctor-{secrets.token_hex(8)}")
    try:
        Mapping.open(path, size, create=True).close()
        facts["probed"] = "temporary file"
        _ask_file(path, facts, unknown)
    except OSError as error:
        why = "the directory cannot be written to" if error.errno in _NO_WRITE else "making a file"
        unknown["tier"] = f"{why}: {os.strerror(error.errno or 0)}"
    finally:
        with suppress(OSError):
            os.unlink(path)


_NO_WRITE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def _ask_file(path: str, facts: dict[str, Any], unknown: dict[str, str]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        facts["size"] = size = os.fstat(fd).st_size
        facts["flags"] = _sorted(host.flags(fd))
        facts["xflags"] = _sorted(host.xflags(fd))
        facts["attributes"] = _sorted(host.attributes(fd))
        if facts["attributes"] is None:
            unknown["dax"] = "statx does not answer"
        else:
            facts["dax"] = "dax" in facts["attributes"]
        found = host.extents(fd, 0, size)
        if found is None:
            unknown["extents"] = f"{facts.get('fs')} does not tell where the file lies (FIEMAP)"
        else:
            facts["extents"] = _sorted(frozenset(s for e in found for s in e.states))
            facts["huge"] = _is_huge(found)
        if size == 0:
            unknown["tier"] = "the file is empty: nothing of it can be mapped"
            return
        facts["map_sync"] = _map_sync(fd)
    finally:
        os.close(fd)
    with Mapping.open(path, min(size, mmap.PAGESIZE), readonly=True) as mapping:
        facts["tier"], facts["reason"] = mapping.tier, mapping.reason


def _map_sync(fd: int) -> str:
    """The only answer that counts: does the kernel grant such a mapping?"""
    try:
        mmap.mmap(fd, 1, flags=_MAP_SHARED_VALIDATE | _MAP_SYNC, prot=mmap.PROT_READ).close()
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # errorcode has another name for the same number
            return "EOPNOTSUPP"
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "granted"


def _is_huge(found: list[host.Extent]) -> bool | None:
    """Whether each whole huge page of the file lies in one aligned run; None: it has none.

    Offsets are those on the device or partition, whose own alignment is looked at elsewhere.
    """
    end = max((extent.logical + extent.length for extent in found), default=0)
    if end < HUGE:
        return None
    for start in range(0, end - HUGE + 1, HUGE):
        if not any(
            extent.logical <= start
            and start + HUGE <= extent.logical + extent.length
            and (extent.physical + start - extent.logical) % HUGE == 0
            for extent in found
        ):
            return False
    return True


def _btrfs_layout(fd: int, unknown: dict[str, str]) -> str | None:
    """``single``, ``raid1``...: the directory that sysfs has for the layout of data."""
    buffer = bytearray(1024)
    try:
        fcntl.ioctl(fd, _BTRFS_IOC_FS_INFO, buffer)
        text = buffer[_BTRFS_UUID : _BTRFS_UUID + 16].hex()
        uuid = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        data = BTRFS / uuid / "allocation" / "data"
        layouts = sorted(entry.name for entry in data.iterdir() if entry.is_dir())
    except OSError as error:
        unknown["btrfs_data"] = str(error)
        return None
    return ",".join(layouts) or None


def _sorted(names: frozenset[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(names))
