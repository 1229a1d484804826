"""The plug is pulled while a writer works on real DAX: what it had acknowledged is there.

A guest works on pools and raw files of four file systems; QEMU gets SIGKILL at a random moment,
also while pools are made, opened or recovered; the next guest hands over what it finds, which is
compared with a model, goes on, and is killed again.

Each promise has its negative control in the same kills: the same work with the one thing left
out that makes the difference.  A control that loses nothing fails the test, too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chain import Chain, counter_chain, pool_chain, records_chain
from killer import Killer, Kills

pytestmark = pytest.mark.daxvm

SLICE = bool(os.environ.get("PMEMSTORE_DAXVM_SLICE"))
KILLS = int(os.environ.get("PMEMSTORE_DAXVM_KILLS", "3" if SLICE else "28"))
SEED = int(os.environ.get("PMEMSTORE_DAXVM_SEED", "1"))
ALWAYS = frozenset({"ext4-dax", "xfs-dax", "xfs-clone", "xfs-clone-control"})
#: In the slice there are no turns.
OTHERS_AT_ONCE = 9 if SLICE else 2


def chains() -> list[Chain]:
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
        pool_chain("vpmem", "ext4-vpmem", 302, tier="dax-fsync"),
        pool_chain("disk", "ext4-disk", 303, tier="sync"),
    ]


@pytest.fixture(scope="module")
def kills(daxvm_state: Path) -> Kills:
    """All tests look at the same kills."""
    killer = Killer(
        "kill", daxvm_state, chains(), SEED, always=ALWAYS, others_at_once=OTHERS_AT_ONCE
    )
    result = killer.run(KILLS)
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
