"""Pools on a disk without DAX, in hundreds of states that a power cut could have left.

A guest works on pools of an ext4 disk; QEMU keeps every write and flush.  The disk is put
together as it was at each flush, and with random parts of what was not flushed yet; the file
system is repaired as at a mount (e2fsck), the pools are taken out (debugfs) and compared with
what had been acknowledged by then.  The acknowledgements are sectors of the same disk, so the
log says what came first.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blklog import Entry, apply, crash_states, read_log
from chain import PoolChain, pool_chain
from guest import SHARE, Guest
from killer import VICTIM, VICTIM_ENVIRONMENT
from machines import LOGGED, MACHINES, make_image
from victim import ACK

pytestmark = pytest.mark.daxvm

SLICE = bool(os.environ.get("PMEMSTORE_DAXVM_SLICE"))
POINTS, SUBSETS, ROUNDS = (40, 1, 40) if SLICE else (160, 1, 120)
CONTROL_POINTS = 20 if SLICE else 60


@dataclass
class Replay:
    """What the crash states have shown."""

    name: str
    states: int = 0
    bad: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def report(self) -> str:
        return (
            f"{self.name}: {self.states} crash states in {self.seconds:.0f} s, {len(self.bad)} "
            f"bad; {'; '.join(self.bad):.300}"
        )


def record(state: Path, rounds: int, environment: dict[str, str]) -> list[PoolChain]:
    """Let a guest work on the logged disk; leave ``base`` (before) and the log in ``state``."""
    image = state / f"{LOGGED.name}.img"
    make_image(image, LOGGED)
    copy(image, state / "base")
    chains = [
        pool_chain("small", LOGGED.name, 401, tier="sync"),
        pool_chain("large", LOGGED.name, 402, tier="sync", log_size="1M"),
    ]
    share = state / "share"
    (share / "found").mkdir(parents=True)
    (share / "job").write_text('{"items": []}')
    items = [chain.go() for chain in chains]
    go = {"items": items, "device": "/dev/vda", "rounds": rounds, "old": []}
    (share / "go").write_text(json.dumps(go))
    command = [sys.executable, str(VICTIM)]
    environment = VICTIM_ENVIRONMENT | environment
    with Guest(MACHINES["logged"], state, command, environment=environment) as vm:
        result = vm.wait()
    assert (result.code, result.stderr) == (0, ""), result.stderr
    return chains


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True)


def replay(
    state: Path, chains: list[PoolChain], points: int, seed: int, *, stop_at: int = 0
) -> Replay:
    """Look at crash states.

    Args:
        state: What ``record`` has left.
        chains: What must be in the pools.
        points: Flush boundaries.
        seed: Which boundaries, and what reaches the disk behind them.
        stop_at: Stop after so many bad states; 0: never.
    """
    started = time.monotonic()
    entries = read_log(state / f"{LOGGED.name}.log")
    acks = list(acknowledgements(entries))
    result = Replay(state.name)
    disk, crashed = state / "disk", state / "crashed"
    copy(state / "base", disk)
    applied = told = 0
    # Before the first pool is there only the file system is at work.
    first = acks[0][0] // 2 if acks else 0
    for crash in crash_states(entries, first, points, SUBSETS, random.Random(seed)):
        apply(disk, entries[applied : crash.boundary + 1])
        applied = crash.boundary + 1
        copy(disk, crashed)
        apply(crashed, [entries[i] for i in crash.extra])
        while told < len(acks) and acks[told][0] < crash.seen:
            chains[acks[told][1]].acknowledge(acks[told][2])
            told += 1
        result.states += 1
        if text := judge(crashed, chains):
            result.bad.append(f"entry {crash.boundary}, {len(crash.extra)} behind it: {text}")
            if len(result.bad) == stop_at:
                break
    result.seconds = time.monotonic() - started
    return result


def acknowledgements(entries: list[Entry]) -> list[tuple[int, int, int]]:
    """Entry, item, steps that are done."""
    found = []
    for i, entry in enumerate(entries):
        if entry.offset >= LOGGED.data_bytes and entry.data.startswith(ACK):
            item, done = map(int, entry.data[len(ACK) :].split(b"\n")[0].split())
            found.append((i, item, done))
    return found


def judge(image: Path, chains: list[PoolChain]) -> str | None:
    """Repair the file system, and compare the pools; return the first thing that is wrong."""
    done = subprocess.run(
        ["e2fsck", "-fy", str(image)], capture_output=True, text=True, check=False
    )
    if done.returncode & ~3:
        return f"e2fsck says {done.stdout[-200:]}"
    for chain in chains:
        found = image.with_name(f"{chain.name}.found")
        found.unlink(missing_ok=True)
        # The mount point is not part of the path there.
        inside = "/" + Path(chain.path).name
        request = f"dump {inside} {found}"
        said = subprocess.run(
            ["debugfs", "-R", request, str(image)], capture_output=True, text=True, check=False
        )
        if re.search("File not found", said.stderr):
            found.unlink(missing_ok=True)
        if text := chain.difference(found):
            return f"{chain.name}: {text}"
    return None


@pytest.fixture
def state(daxvm_state: Path, request: pytest.FixtureRequest) -> Path:
    folder = daxvm_state / request.node.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def test_every_crash_state_of_a_disk_has_what_was_acknowledged(state: Path) -> None:
    chains = record(state, ROUNDS, {})
    result = replay(state, chains, POINTS, seed=1)
    print(result.report())
    assert result.states >= (60 if SLICE else 200)
    assert result.bad == []


@pytest.mark.parametrize("forget", ["dsync", "fsync"])
def test_control_that_leaves_out_a_sync_has_bad_states(state: Path, forget: str) -> None:
    """So a missing sync would be seen."""
    library = state / "share" / "forget.so"
    library.parent.mkdir()
    source = Path(__file__).with_name("forget.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    environment = {"LD_PRELOAD": f"{SHARE}/forget.so", "FORGET": forget}
    chains = record(state, ROUNDS // 2, environment)
    result = replay(state, chains, CONTROL_POINTS, seed=1, stop_at=20)
    print(result.report())
    assert result.bad, "the test cannot fail"
