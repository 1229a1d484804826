"""What must be in a pool or a raw file, and whether it is.

A chain follows one item of ``victim.py`` through kill after kill: it knows the model, what was
acknowledged, and compares both with what a kill has left.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import writer
from victim import COUNTS_PER_STEP

import pmemstore
from pmemstore import errors


@dataclass
class Chain(ABC):
    """One item.

    Attributes:
        name: Unique; the file in /mnt/share/found too.
        place: File system that it is on.
        job: For the victim.
        life: Each start with a new file counts.
        done: Steps (of a pool) or records that must be there.
        exists: The victim has said that it has opened the item.
        kills: After which it was looked at.
        steps: Acknowledged, over all lives.
        lost: Of each kill that took something acknowledged: what was missing.
    """

    name: str
    place: str
    job: dict[str, Any]
    life: int = 0
    done: int = 0
    exists: bool = False
    fresh: bool = True
    kills: int = 0
    steps: int = 0
    lost: list[str] = field(default_factory=list)

    def go(self) -> dict[str, Any]:
        """Tell the victim how to go on."""
        self.job |= {"done": self.done, "fresh": self.fresh, "path": self.path}
        self.fresh = False
        return self.job

    @property
    def path(self) -> str:
        return f"/mnt/{self.place}/{self.name}.{self.life}"

    def acknowledge(self, done: int) -> None:
        self.exists = True
        self.steps += max(done - self.done, 0)
        self.done = max(self.done, done)

    def judge(self, found: Path) -> None:
        """Compare what a kill has left with what must be there.

        Args:
            found: What the victim handed over.
        """
        self.kills += 1
        text = self.difference(found)
        if text is not None:
            self.lost.append(text)
            self.start_anew()

    def start_anew(self) -> None:
        """Go on with a new file."""
        self.life += 1
        self.done = 0
        self.exists = False
        self.fresh = True

    @abstractmethod
    def difference(self, found: Path) -> str | None:
        """Return what is wrong with what was found, or None."""


class FileOfPoolChain(Chain):
    """Something in a pool's file, which must be free of faults whatever is in it."""

    def difference(self, found: Path) -> str | None:
        if not found.exists():
            return "the pool is not there" if self.exists else None
        try:
            # Recovers in memory; the guest recovers its own file later.
            with pmemstore.open(found, "r") as pool:
                if (result := pool.check()).problems:
                    return f"check() found {result.problems[0]}"
                if result.leaked_bytes:
                    return f"{result.leaked_bytes} bytes leaked"
                return self.compare(pool)
        except errors.PmemstoreError as error:
            return f"{type(error).__name__}: {error}"

    @abstractmethod
    def compare(self, pool: pmemstore.Pool) -> str | None:
        """Return how its contents differ from what must be there, or None."""


@dataclass
class PoolChain(FileOfPoolChain):
    """A pool, whose state must be that of the last acknowledged step, or of the one after.

    Attributes:
        model: What must be in it after ``modelled`` steps.
    """

    model: dict[Any, Any] = field(default_factory=dict)
    modelled: int = 0

    def start_anew(self) -> None:
        super().start_anew()
        self.model, self.modelled = {}, 0
        self.job["seed"] += 1000

    def compare(self, pool: pmemstore.Pool) -> str | None:
        work = writer.Work(self.model, self.job["seed"])
        for number in range(self.modelled, self.done):
            work.step(number)
        self.modelled = self.done
        at_last = writer.difference(pool.root, self.model)
        if at_last is None:
            return None
        after = copy.deepcopy(self.model)
        writer.Work(after, self.job["seed"]).step(self.done)
        if (at_next := writer.difference(pool.root, after)) is not None:
            return f"{self.done} steps acknowledged; {at_last:.200}; nor one more: {at_next:.200}"
        self.model, self.modelled = after, self.done + 1
        self.done += 1
        return None


class CounterChain(FileOfPoolChain):
    """A counter in a pool, which must be as far as was acknowledged, or some steps further."""

    def compare(self, pool: pmemstore.Pool) -> str | None:
        count = pool.root.get("n", 0)
        if self.done <= count <= self.done + COUNTS_PER_STEP:
            self.done = count
            return None
        return f"{count} instead of {self.done}"


class RecordsChain(Chain):
    """A raw file: every acknowledged record must be there."""

    def difference(self, found: Path) -> str | None:
        numbers = json.loads(found.read_text())
        pages = self.job["pages"]
        window = range(max(1, self.done - pages + 1), self.done + 1)
        missing = [n for n in window if not numbers or numbers[n % pages] < n]
        self.start_anew()  # each life has a new file
        if not missing:
            return None
        return f"{len(missing)} of {len(window)} records, the first {missing[0]}"


def pool_chain(name: str, place: str, seed: int, **options: Any) -> PoolChain:
    job = {"name": name, "kind": "pool", "seed": seed, "size": "1M", "log_size": "64K"}
    job |= {"map_sync": True, "tier": "flush", "clone": False, "unwritten": False}
    return PoolChain(name, place, job | options)


def counter_chain(name: str, place: str, **options: Any) -> CounterChain:
    job = {"name": name, "kind": "counter", "log_size": "64K", "map_sync": True, "tier": "flush"}
    return CounterChain(name, place, job | options)


def records_chain(name: str, place: str, **options: Any) -> RecordsChain:
    job = {"name": name, "kind": "records", "pages": 4096}
    job |= {"map_sync": True, "clone": 0, "prepare": False}
    return RecordsChain(name, place, job | options)
