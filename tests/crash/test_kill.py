"""kill -9 at any moment: what was acknowledged is there, and nothing else is.

All 240 kills: ``pytest -m slow -s tests/crash``.  A slice of them runs with every test run.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import writer

import pmemstore

if TYPE_CHECKING:
    from conftest import Medium

WRITER = Path(__file__).with_name("writer.py")
READY_SECONDS_MAX = 60


class Victim:
    """A writer that is killed, and what it said before."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(WRITER), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.said = b""

    def wait_for(self, word: bytes) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + READY_SECONDS_MAX
        while word + b"\n" not in self.said:
            left = deadline - time.monotonic()
            assert left > 0, f"the writer said {self.said!r} and then nothing"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    pytest.fail(f"the writer ended: {self.process.communicate()[1].decode()}")
                self.said += data

    def kill(self) -> list[int]:
        """Kill it; return the steps that it acknowledged."""
        self.process.kill()
        rest, complaint = self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL, complaint.decode()
        *lines, _ = (self.said + rest).split(b"\n")
        return [int(line) for line in lines if line.isdigit()]


class Rounds:
    """Kills of writers of one pool, with the model of what must be in it."""

    def __init__(self, path: Path, seed: int, log_size: str) -> None:
        self.path = path
        self.seed = seed
        self.log_size = log_size
        self.rng = random.Random(seed)
        self.model: dict[Any, Any] = {}
        self.next_step = 0
        self.counts: Counter[str] = Counter()

    def run(self, kills: int) -> None:
        for _ in range(kills):
            self._kill_one()
            if not self.path.exists():
                self.counts["before creation"] += 1
                assert self.next_step == 0
                continue
            if self.rng.random() < 0.4:
                self._look_only()
            else:
                self._recover()

    def _kill_one(self) -> None:
        """Kill a writer while it opens, or after some work, and move the model along."""
        victim = Victim(self.path, self.seed, self.next_step, self.log_size)
        try:
            if self.rng.random() < 0.2:
                victim.wait_for(b"opening")
                time.sleep(self.rng.uniform(0, 0.02))
            else:
                victim.wait_for(b"open")
                time.sleep(self.rng.uniform(0.005, 0.08))
        finally:
            acknowledged = victim.kill()
        self.counts["kills"] += 1
        self.counts["steps"] += len(acknowledged)
        work = writer.Work(self.model, self.seed)
        for number in acknowledged:
            assert number == self.next_step
            work.step(number)
            self.next_step += 1

    def _look_only(self) -> None:
        """Read without writing; the next writer finds the pool as the kill left it."""
        before = self.path.read_bytes()
        with pmemstore.open(self.path, "r") as pool:
            self._compare(pool)
        assert self.path.read_bytes() == before, "opening with 'r' wrote to the file"
        self.counts["read only"] += 1

    def _recover(self) -> None:
        with pmemstore.open(self.path, "w") as pool:
            self.counts["recovered units"] += pool.stats().recovered_units
            self._compare(pool)
            pool.collect()
            result = pool.check()
            assert result.ok, result.problems
            assert result.leaked_bytes == 0
            assert result.orphans == 0

    def _compare(self, pool: pmemstore.Pool) -> None:
        """The state is that of the last acknowledged step, or of the one after."""
        result = pool.check()
        assert result.ok, result.problems
        assert result.leaked_bytes == 0
        at_last = writer.difference(pool.root, self.model)
        if at_last is None:
            return
        writer.Work(self.model, self.seed).step(self.next_step)
        after = writer.difference(pool.root, self.model)
        assert after is None, (
            f"seed {self.seed}: neither the state before step {self.next_step}, by {at_last}, nor "
            f"that after it, by {after}"
        )
        self.next_step += 1
        self.counts["one more than acknowledged"] += 1

    def report(self, name: str) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return f"{name}: {counts}; 0 lost, 0 torn, 0 leaked bytes"


def kill_often(medium: Medium, log_size: str, seed: int, kills: int) -> None:
    rounds = Rounds(medium.folder / "killed.pool", seed, log_size)
    rounds.run(kills)
    print(rounds.report(f"{medium.name}, log {log_size}, seed {seed}"))
    assert rounds.counts["kills"] == kills
    assert rounds.counts["steps"] > 0, "the writers came to nothing"


@pytest.mark.parametrize("log_size", ["64K", "4M"])
class TestKill:
    """Nothing acknowledged is lost, nothing is half there, and no byte is leaked."""

    def test_some_kills_on_tmpfs(self, medium: Medium, log_size: str) -> None:
        """Both commit protocols, quickly."""
        kill_often(medium, log_size, seed=1, kills=4)

    def test_some_kills_on_a_file(self, file_medium: Medium, log_size: str) -> None:
        """An ordinary file, quickly."""
        kill_often(file_medium, log_size, seed=2, kills=4)

    @pytest.mark.slow
    def test_many_kills_on_tmpfs(self, medium: Medium, log_size: str) -> None:
        """Both commit protocols, 160 kills."""
        kill_often(medium, log_size, seed=3, kills=40)

    @pytest.mark.slow
    def test_many_kills_on_a_file(self, file_medium: Medium, log_size: str) -> None:
        """An ordinary file, 80 kills."""
        kill_often(file_medium, log_size, seed=4, kills=40)


def test_model_and_pool_agree_without_kills(medium: Medium) -> None:
    """The model is right: the same thousand steps lead to the same content."""
    model: dict[Any, Any] = {}
    with pmemstore.open(medium.folder / "calm.pool", "n", log_size="64K") as pool:
        stored, plain = writer.Work(pool.root, 5, pool), writer.Work(model, 5)
        for number in range(1000):
            assert stored.step(number) == plain.step(number)
        assert writer.difference(pool.root, model) is None
        assert pool.stats().aborts > 0
        assert pool.check().ok
