"""Flags and extents of one file, by ioctl and statx.

Each function returns None where the file system does not answer: nothing is guessed.
"""

from __future__ import annotations

import array
import errno
import fcntl
import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["Extent", "attributes", "extents", "flags", "xflags", "xfs_reflink"]

_FS_IOC_GETFLAGS: Final = 0x80086601
_FS_IOC_FSGETXATTR: Final = 0x801C581F
_FS_IOC_FIEMAP: Final = 0xC020660B
_XFS_IOC_FSGEOMETRY: Final = 0x8100587E
_XFS_GEOMETRY_BYTES: Final = 256
_XFS_GEOMETRY_FLAGS: Final = 92
_XFS_REFLINK: Final = 1 << 20

_FLAGS: Final = {
    0x00000004: "compress",
    0x00000010: "immutable",
    0x00000800: "encrypt",
    0x00004000: "data-journal",
    0x00100000: "verity",
    0x00800000: "nocow",
    0x02000000: "dax",
    0x10000000: "inline-data",
}
_XFLAGS: Final = {
    0x00000001: "realtime",
    0x00000800: "extsize",
    0x00008000: "dax",
    0x00010000: "cowextsize",
}
_ATTRIBUTES: Final = {
    0x00000004: "compressed",
    0x00000010: "immutable",
    0x00000800: "encrypted",
    0x00100000: "verity",
    0x00200000: "dax",
}

_EXTENT: Final = struct.Struct("=QQQ16xI12x")
_EXTENT_BYTES: Final = _EXTENT.size  # 56
_EXTENT_HEADER: Final = 32
_EXTENTS_AT_ONCE: Final = 256
_EXTENT_STATES: Final = {
    0x0002: "unknown",
    0x0004: "delalloc",
    0x0008: "encoded",
    0x0200: "inline",
    0x0800: "unwritten",
    0x2000: "shared",
}
_EXTENT_LAST: Final = 0x0001


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of a file that is one run of its device.

    Attributes:
        logical: First byte in the file.
        physical: First byte on the file system's device.
        length: Bytes.
        states: Any of ``unknown``, ``delalloc``, ``encoded``, ``inline``, ``unwritten``,
            ``shared``; nothing: written, and its own.
    """

    logical: int
    physical: int
    length: int
    states: frozenset[str]


def flags(fd: int) -> frozenset[str] | None:
    """Return the flags of chattr: ``nocow``, ``compress``..., or None."""
    word = _ioctl_word(fd, _FS_IOC_GETFLAGS, 8)
    return None if word is None else _names(_FLAGS, word)


def xflags(fd: int) -> frozenset[str] | None:
    """Return the flags of xfs_io's chattr: ``dax``, ``extsize``..., or None."""
    word = _ioctl_word(fd, _FS_IOC_FSGETXATTR, 28)
    return None if word is None else _names(_XFLAGS, word)


def xfs_reflink(fd: int) -> bool | None:
    """Return whether the XFS of this file can share blocks between files, or None."""
    buffer = bytearray(_XFS_GEOMETRY_BYTES)
    try:
        fcntl.ioctl(fd, _XFS_IOC_FSGEOMETRY, buffer)
    except OSError:
        return None
    (word,) = struct.unpack_from("=I", buffer, _XFS_GEOMETRY_FLAGS)
    return bool(word & _XFS_REFLINK)


def attributes(fd: int) -> frozenset[str] | None:
    """Return the attributes that statx tells: ``dax``, ``encrypted``..., or None."""
    import ctypes  # takes its time, and is for the doctor alone

    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (AttributeError, OSError):
        return None
    buffer = ctypes.create_string_buffer(256)
    at_empty_path, basic_stats = 0x1000, 0x7FF
    if statx(fd, b"", at_empty_path, basic_stats, buffer) != 0:
        return None
    (word,) = struct.unpack_from("=Q", buffer, 8)
    return _names(_ATTRIBUTES, word)


def extents(fd: int, start: int, length: int) -> list[Extent] | None:
    """Return where a range of a file lies on its device (FIEMAP), or None.

    Args:
        fd: The file.
        start: First byte.
        length: Bytes.

    Complexity:
        One system call for 256 extents.
    """
    found: list[Extent] = []
    end = start + length
    while start < end:
        buffer = array.array("B", bytes(_EXTENT_HEADER + _EXTENT_BYTES * _EXTENTS_AT_ONCE))
        struct.pack_into("=QQIIII", buffer, 0, start, end - start, 0, 0, _EXTENTS_AT_ONCE, 0)
        try:
            fcntl.ioctl(fd, _FS_IOC_FIEMAP, buffer)
        except OSError as error:
            if error.errno == errno.EINTR:
                continue
            return None
        (count,) = struct.unpack_from("=I", buffer, 20)
        word = 0
        for i in range(count):
            logical, physical, size, word = _EXTENT.unpack_from(
                buffer, _EXTENT_HEADER + i * _EXTENT_BYTES
            )
            found.append(Extent(logical, physical, size, _names(_EXTENT_STATES, word)))
            start = logical + size
        if count < _EXTENTS_AT_ONCE or word & _EXTENT_LAST:
            break
    return found


def _ioctl_word(fd: int, request: int, size: int) -> int | None:
    buffer = bytearray(size)
    try:
        fcntl.ioctl(fd, request, buffer)
    except OSError:
        return None
    return int.from_bytes(buffer[:4], "little")


def _names(table: dict[int, str], word: int) -> frozenset[str]:
    return frozenset(name for bit, name in table.items() if word & bit)
