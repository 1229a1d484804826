"""The plug is pulled on the other machines: some kills of each, so that each tier has had them.

``test_kill.py`` has the many kills, and the controls that show that a loss would be seen.  Here
each pool must have the tier that its medium is there for: the victim ends if it has another.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chain import Chain, pool_chain
from killer import Killer

pytestmark = [
    pytest.mark.daxvm,
    pytest.mark.skipif(
        bool(os.environ.get("PMEMSTORE_DAXVM_SLICE")),
        reason="the slice kills one machine alone: these take a minute each",
    ),
]

#: The fourth is while the pools are opened or made.
KILLS = int(os.environ.get("PMEMSTORE_DAXVM_KILLS_EACH", "4"))
SEED = int(os.environ.get("PMEMSTORE_DAXVM_SEED", "1"))
#: Of each machine: file systems, and their tiers.
TIERS = {
    "no-clwb": {"ext4-dax": "flush"},
    "eadr": {"ext4-dax": "eadr", "xfs-dax": "eadr"},
    "inode": {"ext4-inode": "flush", "xfs-inode": "flush"},
    "others": {"ext4-vpmem": "dax-fsync", "ext4-disk": "sync", "btrfs": "sync"},
}


def chains(machine: str) -> list[Chain]:
    """A pool on each file system; on DAX, where stores need metadata, one of unwritten extents."""
    every: list[Chain] = []
    for number, (place, tier) in enumerate(TIERS[machine].items()):
        seed = 500 + 10 * number
        every.append(pool_chain(place, place, seed, tier=tier))
        if tier in ("flush", "eadr"):
            name = f"{place}-unwritten"
            every.append(pool_chain(name, place, seed + 1, tier=tier, size="8M", unwritten=True))
    return every


@pytest.mark.parametrize("machine", TIERS)
def test_nothing_acknowledged_is_lost(machine: str, daxvm_state: Path) -> None:
    kills = Killer(machine, daxvm_state / machine, chains(machine), SEED).run(KILLS)
    print(kills.report())
    lost = {name: chain.lost for name, chain in kills.chains.items() if chain.lost}
    assert lost == {}
    for place in TIERS[machine]:
        here = [chain for chain in kills.chains.values() if chain.place == place]
        assert sum(chain.kills for chain in here) == KILLS
        assert sum(chain.steps for chain in here) > 0, f"{place}: the writer came to nothing"
