"""Guests that are killed, one after the other, on the same file systems; and what it has shown."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from chain import Chain
from guest import Guest
from machines import MACHINES

HERE = Path(__file__).parent
VICTIM = HERE / "victim.py"
#: For the guest: victim.py imports the writer of the tests that kill a process.
VICTIM_ENVIRONMENT = {"PYTHONPATH": str(HERE.parent / "crash")}
#: Of the lives of a pool, the part that is ended on purpose, with a new file after it.
NEW_FILE = 0.2


@dataclass
class Kills:
    """What a number of kills has shown."""

    machine: str
    chains: dict[str, Chain]
    count: int
    seconds: float

    def report(self) -> str:
        lines = [f"{self.machine}: {self.count} kills in {self.seconds:.0f} s"]
        for chain in self.chains.values():
            lines.append(
                f"{chain.name:26} {chain.kills:3} kills {chain.steps:6} steps acknowledged, "
                f"{len(chain.lost):3} with losses: {'; '.join(chain.lost):.200}"
            )
        return "\n".join(lines)


class Killer:
    """Kills guests of one machine at random moments, and judges what each has left.

    Args:
        machine: Its name.
        state: An empty directory for its file systems.
        chains: What is worked on.
        seed: For the moments, and for whose turn it is.
        always: File systems of which one item is worked on in each life.
        others_at_once: Of so many of the other file systems too: they take turns, for work under
            emulation is slow.
    """

    def __init__(
        self,
        machine: str,
        state: Path,
        chains: list[Chain],
        seed: int,
        *,
        always: frozenset[str] = frozenset(),
        others_at_once: int = 9,
    ) -> None:
        self.machine = machine
        self.state = state
        self.share = state / "share"
        self.share.mkdir(parents=True)
        self.rng = random.Random(seed)
        self.chains = chains
        self.always = always
        self.others_at_once = others_at_once
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
        return Kills(self.machine, {chain.name: chain for chain in self.chains}, kills, seconds)

    def _guest(self) -> Guest:
        for name in ("said", "acks", "go"):
            (self.share / name).unlink(missing_ok=True)
        shutil.rmtree(self.share / "found", ignore_errors=True)
        (self.share / "found").mkdir()
        (self.share / "job").write_text(json.dumps({"items": [c.job for c in self.active]}))
        command = [sys.executable, str(VICTIM)]
        machine = MACHINES[self.machine]
        return Guest(machine, self.state, command, environment=VICTIM_ENVIRONMENT)

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
        others = sorted(
            kills.keys() - self.always, key=lambda place: (kills[place], self.rng.random())
        )
        for place in [*sorted(self.always), *others[: self.others_at_once]]:
            here = [chain for chain in self.chains if chain.place == place]
            self.active.append(min(here, key=lambda chain: (chain.kills, self.rng.random())))
        for chain in self.active:
            if not chain.fresh and self.rng.random() < NEW_FILE:
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
