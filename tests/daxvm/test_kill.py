"""The plug is pulled while a writer works on real DAX: what it had acknowledged is there.

A guest works on pools and raw files of four file systems; QEMU gets SIGKILL at a random moment,
also while pools are made, opened or recovered; the next guest hands over what it finds, which is
compared with a model, goes on, and is killed again.

Each promise has its negative control in the same kills: the same work with the one thing left
out that makes the difference.  A control that loses nothing fails the test, too.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from chain import Chain, counter_chain, pool_chain, records_chain
from guest import Guest
from machines import MACHINES

pytestmark = pytest.mark.daxvm

VICTIM = Path(__file__).with_name("victim.py")
SLICE = bool(os.environ.get("PMEMSTORE_DAXVM_SLICE"))
KILLS = int(os.environ.get("PMEMSTORE_DAXVM_KILLS", "3" if SLICE else "28"))
SEED = int(os.environ.get("PMEMSTORE_DAXVM_SEED", "1"))
#: The others take turns, for work under emulation is slow; in the slice there are no turns.
ALWAYS = {"ext4-dax", "xfs-dax", "xfs-clone", "xfs-clone-control"}
OTHERS_AT_ONCE = 9 if SLICE else 2


def chains() -> list[Chain]:
    """All items.  In a guest's life one of each file system of ``ALWAYS`` is worked on, and one
    of ``OTHERS_AT_ONCE`` of the others.
    """
    every: list[Chain] = []
    for number, fs in enumerate(("ext4", "xfs")):
        seed = 100 * number
        dax, control = f"{fs}-dax", f"{fs}-control"
        every += [
            pool_chain(f"{fs}", dax, seed + 1),
            pool_chain(f"{fs}-large-log", dax, seed + 2, log_size="4M"),
            pool_chain(f"{fs}-unwritten", dax, seed + 3, size="8M", unwritten=True),
            records_chain(f"{fs}-records", dax),
            # The same without MAP_SYNC.
            pool_chain(control, control, seed + 4, size="8M", unwritten=True, map_sync=False),
            records_chain(f"{fs}-records-control", control, map_sync=False),
        ]
    return [
        *every,
        pool_chain("xfs-clone", "xfs-clone", 301, clone=True),
        counter_chain("xfs-clone-counter", "xfs-clone", clone=10),
        records_chain("xfs-clone-records", "xfs-clone-raw", pages=64, clone=5, prepare=True),
        records_chain("xfs-clone-records-control", "xfs-clone-control", pages=64, clone=1),
        pool_chain("vpmem", "ext4-vpmem", 302),
        pool_chain("disk", "ext4-disk", 303),
    ]


@dataclass
class Kills:
    """What a number of kills has shown."""

    chains: dict[str, Chain]
    count: int
    seconds: float

    def report(self) -> str:
        lines = [f"{self.count} kills in {self.seconds:.0f} s"]
        for chain in self.chains.values():
            lines.append(
                f"{chain.name:26} {chain.kills:3} kills {chain.steps:6} steps acknowledged, "
                f"{len(chain.lost):3} with losses: {'; '.join(chain.lost):.200}"
            )
        return "\n".join(lines)


class Killer:
    """Guests that are killed, one after the other, on the same file systems."""

    def __init__(self, state: Path, seed: int) -> None:
        self.state = state
        self.share = state / "share"
        self.share.mkdir()
        self.rng = random.Random(seed)
        self.chains = chains()
        self.active: list[Chain] = []

    def run(self, kills: int) -> Kills:
        started = time.monotonic()
        for number in range(kills):
            with self._guest() as guest:
                self._judge(guest)
                self._go()
                if number % 4 == 3:
                    guest.wait_for("said", "opening")
                    time.sleep(self.rng.uniform(0, 0.5))
                else:
                    guest.wait_for("said", "open\n")
                    time.sleep(self.rng.uniform(0.5, 4))
                assert guest.alive, f"the victim ended by itself{guest.story()}"
            self._listen()
        with self._guest() as guest:
            self._judge(guest)
        seconds = time.monotonic() - started
        return Kills({chain.name: chain for chain in self.chains}, kills, seconds)

    def _guest(self) -> Guest:
        for name in ("said", "acks", "go"):
            (self.share / name).unlink(missing_ok=True)
        shutil.rmtree(self.share / "found", ignore_errors=True)
        (self.share / "found").mkdir()
        (self.share / "job").write_text(json.dumps({"items": [c.job for c in self.active]}))
        return Guest(MACHINES["kill"], self.state, [sys.executable, str(VICTIM)])

    def _judge(self, guest: Guest) -> None:
        guest.wait_for("said", "found")
        for chain in self.active:
            chain.judge(self.share / "found" / chain.name)

    def _go(self) -> None:
        """Choose what is worked on next, sometimes with a new file."""
        old = [chain.job["path"] for chain in self.active]
        self.active = []
        kills: dict[str, int] = {}
        for chain in self.chains:
            kills[chain.place] = kills.get(chain.place, 0) + chain.kills
        others = sorted(kills.keys() - ALWAYS, key=lambda place: (kills[place], self.rng.random()))
        for place in [*sorted(ALWAYS), *others[:OTHERS_AT_ONCE]]:
            here = [chain for chain in self.chains if chain.place == place]
            self.active.append(min(here, key=lambda chain: (chain.kills, self.rng.random())))
        for chain in self.active:
            if not chain.fresh and self.rng.random() < 0.2:
                chain.start_anew()
        items = [chain.go() for chain in self.active]
        keep = [chain.path for chain in self.chains]
        job = {"items": items, "device": None, "rounds": -1}
        new = self.share / "go.new"
        new.write_text(json.dumps(job | {"old": [path for path in old if path not in keep]}))
        new.rename(self.share / "go")

    def _listen(self) -> None:
        path = self.share / "acks"
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                item, done = map(int, line.split())
                self.active[item].acknowledge(done)


@pytest.fixture(scope="module")
def kills(daxvm_state: Path) -> Kills:
    """All tests look at the same kills."""
    result = Killer(daxvm_state, SEED).run(KILLS)
    print(result.report())
    return result


PROMISES = [
    *["ext4", "ext4-large-log", "ext4-unwritten", "ext4-records"],
    *["xfs", "xfs-large-log", "xfs-unwritten", "xfs-records"],
    *["vpmem", "disk", "xfs-clone-records", "xfs-clone", "xfs-clone-counter"],
]


@pytest.mark.parametrize("name", PROMISES)
def test_nothing_acknowledged_is_lost(kills: Kills, name: str) -> None:
    chain = kills.chains[name]
    assert chain.lost == []
    if kills.count >= 20:
        assert chain.steps > 0, "the writer came to nothing"


@pytest.mark.parametrize("place", ["ext4-control", "xfs-control"])
def test_control_without_map_sync_loses_what_was_acknowledged(kills: Kills, place: str) -> None:
    """So a loss would be seen."""
    chains = [chain for chain in kills.chains.values() if chain.place == place]
    assert any(chain.lost for chain in chains), "the test cannot fail"


@pytest.mark.skipif(
    KILLS < 20, reason="it loses a record at every sixth kill or so: fewer prove nothing"
)
def test_control_without_prepare_write_after_a_clone_loses_a_record(kills: Kills) -> None:
    """MAP_SYNC does not cover the store that breaks the sharing of a block."""
    assert kills.chains["xfs-clone-records-control"].lost, "the test cannot fail"
