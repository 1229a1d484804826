"""The block device of a file system, and the persistent memory behind it, by sysfs.

A DAX file system lies on a block device ``pmemN``, that on a namespace, that on a region, and the
region on memory modules (``nmemN``)::

    /sys/dev/block/259:1 -> .../ndbus0/region0/pfn0.1/block/pmem0        badblocks, queue/dax
    .../ndbus0/region0       persistence_domain, read_only, mapping0 = "nmem0,..."
    .../ndbus0/nmem0/nfit    id, flags, dirty_shutdown       (CXL: cxl/, Power: papr/)

Source:
    Linux, Documentation/ABI/testing: sysfs-bus-nfit, sysfs-bus-papr-pmem, sysfs-bus-cxl, and
    Documentation/driver-api/nvdimm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

__all__ = ["ROOT", "Device", "Dimm", "device_of", "may_count_shutdowns", "shutdown_count"]

#: Where sysfs is mounted; tests put a recorded tree here.
ROOT = Path("/sys")
os.fspath(ROOT)  # a path makes its text once: not in the first open()
#: Drivers of block devices that are no memory, and not made of other devices.
_PLAIN_DRIVERS: Final = {"sd", "virtblk", "mmc", "xvd"}


def _plain_majors(lines: Iterable[str]) -> frozenset[int]:
    """Major numbers of devices that have no memory modules below.

    Args:
        lines: Of /proc/devices; numbers of character devices come first.
    """
    majors, block = {0}, False  # 0: file systems that are on no device: tmpfs, overlay, NFS, btrfs
    for line in lines:
        block |= line.startswith("Block")
        number, _, name = line.strip().partition(" ")
        if block and name in _PLAIN_DRIVERS:
            majors.add(int(number))
    return frozenset(majors)


try:
    with open("/proc/devices", encoding="ascii", errors="replace") as _lines:
        #: Read once, not by each open: a driver has its number as long as it is loaded.  Tests,
        #: which have such devices in their tree, make it empty.
        PLAIN_MAJORS = _plain_majors(_lines)
except OSError:
    PLAIN_MAJORS = _plain_majors(())

_SECTOR: Final = 512
#: Directories of a module's own attributes: ACPI, CXL, Power.
_FAMILIES: Final = ("nfit", "cxl", "papr")
#: What modes of a namespace are called by sysfs, and by ndctl.
_MODES: Final = {"nd_pfn": "fsdax", "nd_btt": "sector", "nd_dax": "devdax"}


@dataclass(frozen=True, slots=True)
class Dimm:
    """A memory module.

    Attributes:
        name: ``nmem0``.
        id: Vendor and serial number; None: unknown.
        dirty_shutdown: Power losses at which it could not save everything; None: unknown.
        flags: What its firmware complains of, such as ``not_armed``; None: unknown.
    """

    name: str
    id: str | None = None
    dirty_shutdown: int | None = None
    flags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A block device, and what it is made of.

    Attributes:
        number: ``major:minor``.
        name: ``pmem0``; empty if there is no block device.
        kind: ``pmem``, ``virtio-pmem``, ``mapper``, ``md``, ``loop``, ``disk`` or ``none``.
        dax: Whether files of it can be DAX; None: unknown.
        start: Byte of the whole device where this partition starts.
        size: Bytes.
        write_cache: ``write back`` or ``write through``.
        mode: Of the namespace, in the words of ndctl: ``fsdax``, ``raw``, ``sector``.
        namespace: ``namespace0.0``.
        align: Bytes that the namespace is aligned to.
        region: ``region0``; several, of a mapper device, with commas.
        provider: Driver of the bus: ``ACPI.NFIT``, ``e820``, ``CXL``...
        persistence_domain: ``cpu_cache`` or ``memory_controller``; None: not told.
        read_only: Whether the region or the device refuses writes.
        dimms: Memory modules of the region; None: not known.
        badblocks: Offset and length, in bytes of this device or partition; None: unknown.
        below: Devices that a mapper or md device is made of.
        unknown: What could not be read, and why.
    """

    number: str
    name: str = ""
    kind: str = "none"
    dax: bool | None = None
    start: int = 0
    size: int | None = None
    write_cache: str | None = None
    mode: str | None = None
    namespace: str | None = None
    align: int | None = None
    region: str | None = None
    provider: str | None = None
    persistence_domain: str | None = None
    read_only: bool | None = None
    dimms: tuple[Dimm, ...] | None = None
    badblocks: tuple[tuple[int, int], ...] | None = None
    below: tuple[str, ...] = ()
    unknown: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return what ``dataclasses.asdict`` and JSON made a dict of."""
        data = dict(data)
        if data.get("dimms") is not None:
            data["dimms"] = tuple(
                Dimm(**{**dimm, "flags": _tuple(dimm.get("flags"))}) for dimm in data["dimms"]
            )
        if data.get("badblocks") is not None:
            data["badblocks"] = tuple((start, length) for start, length in data["badblocks"])
        data["below"] = tuple(data.get("below", ()))
        return cls(**data)


def _tuple(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def device_of(number: int) -> Device:
    """Return the block device with a number.

    Args:
        number: ``st_dev`` of a file on it.

    Returns:
        The device; kind ``none`` if the number is no block device's (tmpfs, overlay, NFS, btrfs).
    """
    name = f"{os.major(number)}:{os.minor(number)}"
    link = ROOT / "dev" / "block" / name
    path = Path(os.path.realpath(link))
    if not link.exists():
        why = f"device number {name} is not in {link.parent}"
        missing = ("dax", "persistence_domain", "unsafe_shutdowns", "badblocks")
        return Device(name, unknown=dict.fromkeys(missing, why))
    return _describe(name, path)


def may_count_shutdowns(number: int) -> bool:
    """Return whether it is worth while to ask ``device_of`` for counters: a quick look.

    Args:
        number: ``st_dev`` of a file.
    """
    major = os.major(number)
    if major in PLAIN_MAJORS:
        return False
    link = f"{ROOT}/dev/block/{major}:{os.minor(number)}"
    try:
        where = os.readlink(link)
        # What lies on other devices (mapper, md) is not below a bus.
        return "/ndbus" in where or ("/virtual/" in where and bool(os.listdir(f"{link}/slaves")))
    except OSError:
        return False


def shutdown_count(device: Device) -> tuple[int, int] | None:
    """Return a name for the device's memory modules, and their count of unsafe shutdowns.

    Args:
        device: As ``device_of`` has it.

    Returns:
        A number that is not 0 and the same as long as the modules are, and the sum of their
        counters; None if one of them cannot be read.
    """
    if not device.dimms:
        return None
    total = 0
    names = []
    for dimm in device.dimms:
        if dimm.dirty_shutdown is None or dimm.id is None:
            return None
        total += dimm.dirty_shutdown
        names.append(dimm.id)
    import hashlib  # a tenth of the time that importing pmemstore takes

    digest = hashlib.blake2b("\n".join(sorted(names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1, total


# ---- one device ----


def _describe(number: str, path: Path) -> Device:
    unknown: dict[str, str] = {}
    whole = path.parent if (path / "partition").exists() else path
    facts: dict[str, Any] = {
        "name": path.name,
        "kind": _kind(whole),
        "start": (_number(path / "start") or 0) * _SECTOR,
        "size": _bytes(_number(path / "size")),
        "write_cache": _word(whole / "queue" / "write_cache"),
        "dax": {"0": False, "1": True}.get(_word(whole / "queue" / "dax") or ""),
    }
    if facts["dax"] is None:
        unknown["dax"] = f"{whole / 'queue' / 'dax'} cannot be read"
    below = sorted(entry.name for entry in _entries(whole / "slaves"))
    facts["below"] = tuple(below)
    if facts["kind"] in ("mapper", "md") and below:
        parts = [_below(whole / "slaves" / name) for name in below]
        facts.update(_combined(parts))
        unknown["badblocks"] = f"{path.name} maps its blocks to {', '.join(below)} by its own rules"
        for part in parts:
            for what, why in part.unknown.items():
                unknown.setdefault(what, why)
    else:
        facts.update(_memory(whole, unknown))
        facts["badblocks"] = _badblocks(whole, facts["start"], facts["size"], unknown)
    if facts.get("read_only") is None:
        facts["read_only"] = _word(path / "ro") == "1" if (path / "ro").exists() else None
    return Device(number, unknown=unknown, **facts)


def _below(link: Path) -> Device:
    path = Path(os.path.realpath(link))
    return _describe(_word(path / "dev") or "?", path)


def _kind(whole: Path) -> str:
    name = whole.name
    if (whole / "dm").exists() or name.startswith("dm-"):
        return "mapper"
    if (whole / "md").exists() or name.startswith("md"):
        return "md"
    if name.startswith("loop"):
        return "loop"
    if any(parent.name.startswith("ndbus") for parent in whole.parents):
        virtio = any(parent.name.startswith("virtio") for parent in whole.parents)
        return "virtio-pmem" if virtio else "pmem"
    return "disk"


def _memory(whole: Path, unknown: dict[str, str]) -> dict[str, Any]:
    """Namespace, region and modules above a block device of persistent memory."""
    region = next((p for p in whole.parents if _is_numbered(p, "region")), None)
    if region is None:
        why = f"{whole.name} is not persistent memory (no region above {whole})"
        unknown["persistence_domain"] = unknown["unsafe_shutdowns"] = why
        return {}
    bus = region.parent
    holder = whole.parents[1]  # .../pfn0.1/block/pmem0
    # A namespace without an owner is raw, but for those that the platform gives pages by itself.
    plain = "fsdax" if _word(whole / "queue" / "dax") == "1" else "raw"
    mode = _MODES.get(_word(holder / "devtype") or "", plain)
    namespace = _word(holder / "namespace") or holder.name
    facts = {
        "region": region.name,
        "provider": _word(bus / "provider"),
        "persistence_domain": _word(region / "persistence_domain") or None,
        "read_only": _word(region / "read_only") == "1",
        "mode": mode,
        "namespace": namespace,
        "align": _number(holder / "align"),
        "dimms": _dimms(region, bus, unknown),
    }
    if facts["persistence_domain"] is None:
        unknown["persistence_domain"] = (
            f"{region / 'persistence_domain'} does not exist: the platform does not say what "
            "survives a power failure"
        )
    return facts


def _dimms(region: Path, bus: Path, unknown: dict[str, str]) -> tuple[Dimm, ...] | None:
    count = _number(region / "mappings") or 0
    names = [(_word(region / f"mapping{i}") or "?").split(",")[0] for i in range(count)]
    if not names:
        unknown["unsafe_shutdowns"] = f"{region.name} names no memory modules"
        return None
    dimms = tuple(_dimm(bus / name) for name in names)
    silent = [dimm.name for dimm in dimms if dimm.dirty_shutdown is None]
    if silent:
        unknown["unsafe_shutdowns"] = f"{', '.join(silent)} has no attribute dirty_shutdown"
    elif any(dimm.id is None for dimm in dimms):
        unknown["unsafe_shutdowns"] = f"a module of {region.name} has no id to remember it by"
    if any(dimm.flags is None for dimm in dimms):
        unknown["module_flags"] = f"a module of {region.name} has no attribute flags"
    return dimms


def _dimm(path: Path) -> Dimm:
    for family in _FAMILIES:
        folder = path / family
        if folder.is_dir():
            flags = _word(folder / "flags")
            return Dimm(
                path.name,
                id=_word(folder / "id") or None,
                dirty_shutdown=_number(folder / "dirty_shutdown"),
                flags=None if flags is None else tuple(flags.split()),
            )
    return Dimm(path.name)


def _badblocks(
    whole: Path, start: int, size: int | None, unknown: dict[str, str]
) -> tuple[tuple[int, int], ...] | None:
    """Lines of "sector count" of the whole device, cut to this partition."""
    text = _word(whole / "badblocks")
    if text is None:
        unknown["badblocks"] = f"{whole / 'badblocks'} cannot be read"
        return None
    found = []
    end = start + size if size is not None else 1 << 63
    for line in text.splitlines():
        try:
            first, count = (int(word) * _SECTOR for word in line.split()[:2])
        except ValueError:
            unknown["badblocks"] = f"{whole / 'badblocks'} has a line that says {line!r}"
            return None
        lowest, highest = max(first, start), min(first + count, end)
        if lowest < highest:
            found.append((lowest - start, highest - lowest))
    return tuple(found)


def _combined(parts: list[Device]) -> dict[str, Any]:
    """What a device is that is made of others: no better than its weakest part."""
    if not all(part.region for part in parts):
        return {}
    domains = {part.persistence_domain for part in parts}
    dimms: dict[str, Dimm] = {}
    for part in parts:
        for dimm in part.dimms or ():
            dimms[dimm.name] = dimm
    weakest = "memory_controller" if domains <= {"cpu_cache", "memory_controller"} else None
    return {
        "region": ",".join(sorted({part.region or "?" for part in parts})),
        "provider": ",".join(sorted({part.provider or "?" for part in parts})),
        "persistence_domain": domains.pop() if len(domains) == 1 else weakest,
        "read_only": any(part.read_only for part in parts),
        "dimms": tuple(dimms.values()) if all(part.dimms for part in parts) else None,
    }


# ---- reading ----


def _word(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    try:
        return int(_word(path) or "", 0)
    except ValueError:
        return None


def _bytes(sectors: int | None) -> int | None:
    return None if sectors is None else sectors * _SECTOR


def _entries(path: Path) -> Iterator[Path]:
    try:
        yield from path.iterdir()
    except OSError:
        return


def _is_numbered(path: Path, stem: str) -> bool:
    return path.name.startswith(stem) and path.name[len(stem) :].isdecimal()
