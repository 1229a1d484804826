"""What a run took place on: recorded with its figures, which mean nothing without."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pmemstore
from pmemstore.host.mounts import mount_of

FLUSHES = ("clwb", "clflushopt", "clflush")


def cpu() -> dict[str, Any]:
    """Name of the CPU, and which cache-line flushes it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError as error:
        return {"model": f"unknown: {error}"}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    flags = fields.get("flags", "").split()
    return {
        "model": fields.get("model name", platform.processor() or "unknown"),
        "cpus": os.cpu_count(),
        "flushes": [name for name in FLUSHES if name in flags],
    }


def commit_of(folder: Path) -> str:
    """The library's commit, with a mark if the tree differs from it."""
    git = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown: no git"
    return done.stdout.strip()


def describe() -> dict[str, Any]:
    one, five, fifteen = os.getloadavg()
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.platform(),
        "python": sys.version.split("\n")[0],
        "pmemstore": pmemstore.__version__,
        "commit": commit_of(Path(__file__).parent),
        "load_average_at_start": [one, five, fifteen],
    }


def medium_of(folder: Path) -> str:
    """File system of a directory: what stands for the medium in tables."""
    mount = mount_of(str(folder))
    return "unknown" if mount is None else mount.fs
