"""Runs in the guest, works on pools and raw files, and says what it has done, until it is killed.

    victim.py

``test_kill.py`` and ``test_replay.py`` tell it what to do, in JSON: /mnt/share/job names what the
kill before may have left, which goes to /mnt/share/found; /mnt/share/go, written when the host
has looked at that, names the items to work on.  Each step that has ended is acknowledged: by a
line that is written through to the host at once, or by a sector behind the file system of a
logged disk, so that the log tells how acknowledgements and writes follow each other.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import json
import mmap
import os
import shutil
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import writer

import pmemstore
from pmemstore._native import check, lib
from pmemstore.mapping import Mapping

SHARE = Path("/mnt/share")
PAGE = 4096
SECTOR = 512
FICLONE = 0x40049409
KEEP_SIZE, ZERO_RANGE = 0x01, 0x10
#: How an acknowledgement in a sector begins.
ACK = b"acknowledged"
#: A record is its number, twice: the second time with this in it.
SEAL = 0x5EA1_0000_0000_0000
CLONE_SECONDS = 0.2
RECORDS_PER_STEP = 8
COUNTS_PER_STEP = 50


# ---- items --------------------------------------------------------------------------------


class Item(ABC):
    """Something that is worked on step by step.

    Args:
        job: ``path``; ``map_sync`` false: the mapping does without MAP_SYNC, where the real one
            would have it; ``tier``: what a pool's durability must be.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.path = Path(job["path"])
        self.done = 0

    def found(self, to: Path) -> None:
        """Hand over what the kill has left."""
        if self.path.exists():
            shutil.copyfile(self.path, to)

    @abstractmethod
    def open(self, done: int, fresh: bool) -> None:
        """Go on after ``done`` steps; fresh: there is no file yet."""

    @abstractmethod
    def step(self) -> int:
        """Do a step; return how many are done and durable by now."""

    def _force(self) -> None:
        """Decide what the next open maps.  A forced tier maps without MAP_SYNC."""
        os.environ.pop("PMEMSTORE_FORCE_TIER", None)
        if not self.job["map_sync"]:
            os.environ["PMEMSTORE_FORCE_TIER"] = "flush"

    def _open_pool(self, size: str) -> pmemstore.Pool:
        """Open the pool, which must have the tier that is meant to be tested."""
        self._force()
        pool = pmemstore.open(self.path, "c", size=size, log_size=self.job["log_size"])
        tier = pool.durability.tier
        assert tier == self.job["tier"], f"{self.path}: {tier}: {pool.durability.reason}"
        return pool


class PoolItem(Item):
    """Random nested work on a pool.

    Args:
        job: ``seed``, ``log_size``; ``clone``: a reflink of the file is taken again and again,
            meanwhile; ``unwritten``: blocks that hold zeroes become unwritten extents, under
            the open pool, so that stores to them need the file system's metadata.
    """

    pool: pmemstore.Pool
    work: Any

    def open(self, done: int, fresh: bool) -> None:
        self.done = done
        if not fresh and self.job["clone"] and self.path.exists():
            anew(self.path)
        self._open()
        if self.job["unwritten"]:
            make_unwritten(self.path)
            # Another task's doing, which the pool would tell: here it counts as its own.
            check(lib.pms_pool_remember(self.pool._core()))
        if self.job["clone"]:
            threading.Thread(target=clone_forever, args=(self.path,), daemon=True).start()

    def _open(self) -> None:
        self.pool = self._open_pool(self.job["size"])
        self.work = writer.Work(self.pool.root, self.job["seed"], self.pool)

    def step(self) -> int:
        upkeep = self.work.step(self.done)
        if upkeep == "checkpoint":
            self.pool.checkpoint()
        elif upkeep == "collect":
            self.pool.collect()
        elif upkeep == "reopen" and not self.job["clone"]:
            self.pool.close()
            self._open()
        self.done += 1
        return self.done


class CounterItem(Item):
    """A counter in a pool: a page of the log takes many commits, and they touch one page besides.

    So after a clone a new page of the log is the one page whose sharing a commit breaks, and
    nothing that comes after it makes its metadata durable by the way, for a while.

    Args:
        job: ``log_size``; ``clone``: take a reflink after every so many steps.
    """

    pool: pmemstore.Pool

    def open(self, done: int, fresh: bool) -> None:
        self.done = done
        if not fresh and self.path.exists():
            anew(self.path)
        self.pool = self._open_pool("1M")
        self.done = self.pool.root.get("n", 0)
        self.steps = 0

    def step(self) -> int:
        self.steps += 1
        if self.steps % self.job["clone"] == 1:
            clone(self.path)
        for _ in range(COUNTS_PER_STEP):
            self.pool.root["n"] = self.done + 1
            self.done += 1
        return self.done


class RecordsItem(Item):
    """Records through a Mapping, without log and format: the kernel's promise alone.

    Record n goes to page n modulo ``pages``.  The file is allocated and synced, its extents are
    unwritten: the first store to a page needs metadata.

    Args:
        job: ``pages``; ``prepare``: ask prepare_write at first, and after each clone; ``clone``:
            take a reflink after every so many steps.
    """

    mapping: Mapping
    view: memoryview

    def found(self, to: Path) -> None:
        numbers = []
        if self.path.exists():
            with self.path.open("rb") as file:
                for page in range(self.job["pages"]):
                    number, seal = struct.unpack("<QQ", os.pread(file.fileno(), 16, page * PAGE))
                    numbers.append(number if seal == number ^ SEAL else 0)
        to.write_text(json.dumps(numbers))

    def open(self, done: int, fresh: bool) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(fd, 0, self.job["pages"] * PAGE)
        os.fsync(fd)
        os.close(fd)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        self._force()
        self.mapping = Mapping.open(self.path)
        self.view = self.mapping.view()
        self._prepare()
        self.steps = 0

    def step(self) -> int:
        self.steps += 1
        if self.job["clone"] and self.steps % self.job["clone"] == 0:
            clone(self.path)
            self._prepare()
        for _ in range(RECORDS_PER_STEP):
            number = self.done + 1
            at = number % self.job["pages"] * PAGE
            struct.pack_into("<QQ", self.view, at, number, number ^ SEAL)
            self.mapping.persist(at, 16)
            self.done = number
        return self.done

    def _prepare(self) -> None:
        if self.job["prepare"]:
            answer = self.mapping.prepare_write()
            assert answer.granted, answer.reason


KINDS: dict[str, Callable[[dict[str, Any]], Item]] = {
    "pool": PoolItem,
    "counter": CounterItem,
    "records": RecordsItem,
}


# ---- what happens to their files ----------------------------------------------------------


def anew(path: Path) -> None:
    """Give a file that has been cloned a new inode: the old one is no DAX file any more."""
    new = Path(f"{path}.new")
    with path.open("rb") as source, new.open("wb") as target:
        while data := source.read(1 << 20):
            target.write(data)
        target.flush()
        os.fsync(target.fileno())
    new.rename(path)


def clone(path: Path) -> None:
    """Take a reflink, in place of the one before: always into a new inode.

    One that is a clone already is no DAX file after the next mount, and XFS clones only where
    both are DAX, or neither.
    """
    new = Path(f"{path}.clone.new")
    new.unlink(missing_ok=True)
    with path.open("rb") as source, new.open("wb") as target:
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
    new.rename(f"{path}.clone")


def clone_forever(path: Path) -> None:
    while True:
        time.sleep(CLONE_SECONDS)
        clone(path)


def make_unwritten(path: Path) -> None:
    """Make unwritten extents of all pages of zeroes.  No content changes."""
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file:
        data = file.read()
        zeroes = [data.count(0, at, at + PAGE) == PAGE for at in range(0, len(data), PAGE)]
        page = 0
        for is_zero, run in itertools.groupby(zeroes):
            pages = len(list(run))
            where = (ctypes.c_long(page * PAGE), ctypes.c_long(pages * PAGE))
            page += pages
            if is_zero and libc.fallocate(file.fileno(), KEEP_SIZE | ZERO_RANGE, *where):
                raise OSError(ctypes.get_errno(), "fallocate(ZERO_RANGE)")
        os.fsync(file.fileno())


# ---- acknowledgements ---------------------------------------------------------------------


class LineAcks:
    """Lines in a file of the host; the write has reached it when it returns."""

    def __init__(self) -> None:
        self.fd = os.open(SHARE / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, item: int, done: int) -> None:
        os.write(self.fd, b"%d %d\n" % (item, done))


class SectorAcks:
    """A sector for each item, at the end of a device."""

    def __init__(self, device: str) -> None:
        self.fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
        self.end = os.lseek(self.fd, 0, os.SEEK_END)
        self.buffer = mmap.mmap(-1, SECTOR)  # O_DIRECT wants it aligned

    def __call__(self, item: int, done: int) -> None:
        self.buffer[:] = (ACK + b" %d %d\n" % (item, done)).ljust(SECTOR, b"\0")
        os.pwrite(self.fd, self.buffer, self.end - (item + 1) * SECTOR)


def say(word: str) -> None:
    fd = os.open(SHARE / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{word}\n".encode())
    os.close(fd)


def main() -> None:
    for one in json.loads((SHARE / "job").read_text())["items"]:
        KINDS[one["kind"]](one).found(SHARE / "found" / one["name"])
    say("found")
    while not (SHARE / "go").exists():
        time.sleep(0.01)
    job = json.loads((SHARE / "go").read_text())
    items = [KINDS[one["kind"]](one) for one in job["items"]]
    for old in job["old"]:
        Path(old).unlink(missing_ok=True)
    acknowledge = SectorAcks(job["device"]) if job["device"] else LineAcks()
    say("opening")
    for i, item in enumerate(items):
        item.open(item.job["done"], item.job["fresh"])
        acknowledge(i, item.done)
    say("open")
    rounds = 0
    while rounds != job["rounds"]:
        for i, item in enumerate(items):
            acknowledge(i, item.step())
        rounds += 1
    say("done")
    os._exit(0)  # closing the pools would be work that nobody has asked for


if __name__ == "__main__":
    main()
