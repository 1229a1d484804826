"""The mount that a path lies on, by /proc/self/mountinfo."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MOUNTINFO", "Mount", "mount_of"]

#: Tests put a recorded table here.
MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system.

    Attributes:
        fs: Its type: ``ext4``.
        point: Directory.
        source: Device, or what the type has in its place.
        options: Of the mount and of the file system.
    """

    fs: str
    point: str
    source: str
    options: tuple[str, ...]


def mount_of(path: str) -> Mount | None:
    """Return the mount of a path; None if the table cannot be read or does not have it.

    Args:
        path: A file or directory.  Of mounts over each other the last, of mounts inside each
            other the deepest counts.
    """
    try:
        lines = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    where = os.path.realpath(path)
    best: Mount | None = None
    for line in lines:
        mount = _parse(line)
        if mount is None or not _is_inside(where, mount.point):
            continue
        if best is None or len(mount.point) >= len(best.point):
            best = mount
    return best


def _parse(line: str) -> Mount | None:
    # "34 29 259:1 / /mnt/pmem rw,relatime shared:1 - ext4 /dev/pmem0 rw,dax=always"
    left, _, right = line.partition(" - ")
    own, its = left.split(" "), right.split(" ")
    if len(own) < 6 or len(its) < 3:
        return None
    options = dict.fromkeys([*own[5].split(","), *its[2].split(",")])
    return Mount(_plain(its[0]), _plain(own[4]), _plain(its[1]), tuple(options))


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _is_inside(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(point + "/")
