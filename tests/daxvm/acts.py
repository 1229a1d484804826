"""What other tasks do to the file of an open pool: each act, and what the pool makes of it.

Used by tests/misuse/test_hostile_acts.py, on the media of any machine, and by
tests/daxvm/inside/test_acts.py, on real DAX.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import pmemstore
from pmemstore import Mapping, MediaError, PmemstoreError, Pool

MIB = 1 << 20
SIZE = 4 * MIB
#: Inside the heap, where the pools of these tests have nothing: no act is noticed by chance.
FREE = 3 * MIB
#: The times of a file count in ticks of the kernel; after so long a new tick has begun.
TICK = 0.03

FICLONE = 0x40049409
FICLONERANGE = 0x4020940D
KEEP_SIZE, PUNCH, COLLAPSE, ZERO, INSERT = 0x01, 0x02, 0x08, 0x10, 0x20
UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV)

libc = ctypes.CDLL(None, use_errno=True)


def fallocate(path: Path, mode: int, offset: int = FREE, length: int = 65_536) -> None:
    fd = os.open(path, os.O_RDWR)
    try:
        if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def clone(path: Path) -> None:
    with open(path, "rb") as source, open(f"{path}.clone", "wb") as copy:
        fcntl.ioctl(copy, FICLONE, source.fileno())


def clone_a_range(path: Path) -> None:
    """The first MiB: superblocks, anchors, the beginning of the log."""
    with open(path, "rb") as source, open(f"{path}.clone", "wb") as copy:
        request = b"".join(n.to_bytes(8, "little") for n in (source.fileno(), 0, MIB, 0))
        fcntl.ioctl(copy, FICLONERANGE, request)


def truncate_and_back(path: Path) -> None:
    os.truncate(path, FREE)
    os.truncate(path, SIZE)


def write(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(FREE)
        file.write(b"not ours")


ACTS: dict[str, Callable[[Path], object]] = {
    "truncate": lambda path: os.truncate(path, FREE),
    "truncate and back": truncate_and_back,
    "punch": lambda path: fallocate(path, PUNCH | KEEP_SIZE),
    "zero": lambda path: fallocate(path, ZERO | KEEP_SIZE),
    "collapse": lambda path: fallocate(path, COLLAPSE),
    "insert": lambda path: fallocate(path, INSERT),
    "clone": clone,
    "clone a range": clone_a_range,
    "append": lambda path: os.truncate(path, 2 * SIZE),
    "sync": lambda path: os.sync(),
    "rename": lambda path: path.rename(f"{path}.moved"),
    "rename over": lambda path: Path(f"{path}.other").replace(path),
    "unlink": lambda path: path.unlink(),
    "chmod": lambda path: path.chmod(0o600),
    "touch": lambda path: os.utime(path),
    "write": write,
}
#: Acts that take contents away.
LOSING = ("truncate", "truncate and back", "punch", "zero", "collapse", "insert")


@dataclass
class Outcome:
    """What a pool made of an act.

    Attributes:
        supported: False: the file system refused the act.
        lost: The first commit after the act raised MediaError.
        check_lost: No commit did, but then ``check()``.
        text: Of the first MediaError.
        notes: Of ``check()``.
        repairs: Clones that were undone.
        write_faults: That the pool counted since the act.
    """

    supported: bool = True
    lost: bool = False
    check_lost: bool = False
    text: str = ""
    notes: tuple[str, ...] = ()
    repairs: int = 0
    write_faults: int = 0


def make(path: Path, **options: str | None) -> Pool:
    """Make a pool and open it again, prepared, with something in it, at rest for a tick."""
    Path(f"{path}.other").write_bytes(b"another file")
    with pmemstore.open(path, "n", size=SIZE, log_size="64K") as pool:
        pool.root["numbers"] = {i: str(i) for i in range(100)}
    options = {"prepare": "now"} | options  # None: as open has it
    pool = pmemstore.open(path, "w", **options)  # type: ignore[arg-type] # handed on as they came
    time.sleep(TICK)
    pool.root["before"] = 1
    time.sleep(TICK)
    return pool


def suffer(path: Path, act: str, **options: str) -> Outcome:
    """Let another task do this to an open pool; commit, check, close, and say what came of it.

    After an act that takes nothing away the pool is opened again, and must be complete.
    """
    outcome = Outcome()
    pool = make(path, **options)
    before = pool.stats()
    try:
        ACTS[act](path)
    except OSError as error:
        pool.close()
        if error.errno not in UNSUPPORTED:
            raise
        return Outcome(supported=False)
    try:
        pool.root["after"] = 1
    except MediaError as error:
        outcome.lost, outcome.text = True, str(error)
    if outcome.lost:
        stays_lost(pool)
    else:
        try:
            for number in range(20):
                pool.root["after"] = number
                time.sleep(0.002)
            outcome.notes = pool.check().notes
            after = pool.stats()
            outcome.repairs = after.repairs - before.repairs
            outcome.write_faults = after.write_faults - before.write_faults
        except MediaError as error:
            outcome.check_lost, outcome.text = True, str(error)
            stays_lost(pool)
    with contextlib.suppress(PmemstoreError):
        pool.close()
    if not outcome.lost and not outcome.check_lost and act not in ("unlink", "write"):
        where = Path(f"{path}.moved") if act == "rename" else path
        if act != "rename over":
            with pmemstore.open(where, "w") as pool:
                assert pool.check().ok
                assert (pool.root["before"], pool.root["after"]) == (1, 19)
    return outcome


def suffer_mapping(path: Path, act: str, **options: str) -> Outcome:
    """Let another task do this to the file of an open Mapping; store, persist, check."""
    outcome = Outcome()
    Mapping.open(path, SIZE, create=True).close()
    mapping = Mapping.open(path, **options)  # type: ignore[arg-type] # handed on as they came
    with mapping:
        mapping.prepare_write()
        time.sleep(TICK)
        store(mapping)
        time.sleep(TICK)
        try:
            ACTS[act](path)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            return Outcome(supported=False)
        try:
            store(mapping)
        except MediaError as error:
            outcome.lost, outcome.text = True, str(error)
        try:
            mapping.check()
            outcome.repairs = mapping.stats().repairs
            assert not outcome.lost
            store(mapping)
        except MediaError as error:
            outcome.check_lost, outcome.text = True, str(error)
            with pytest.raises(MediaError, match="another task"):
                mapping.persist(0, 8)
    return outcome


def store(mapping: Mapping) -> None:
    with mapping.view(0, 8) as view:
        view[:] = time.monotonic_ns().to_bytes(8, "little")
    mapping.persist(0, 8)


def stays_lost(pool: Pool) -> None:
    """Nothing is acknowledged or read any more, and the reason stays the same."""
    for use in (lambda: pool.root.update(x=1), lambda: list(pool.root), pool.check, pool.stats):
        with pytest.raises(MediaError, match="another task"):
            use()
