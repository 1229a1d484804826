"""The tier is what the kernel grants, on each file system, with each CPU and platform."""

import contextlib
import mmap
import os
from pathlib import Path

import pytest
from places import MACHINE, Place

import pmemstore
from pmemstore import errors
from pmemstore.mapping import Mapping

PAGE = 4096
MAP_SYNC = 0x80000

INSTRUCTION = {"eadr": "none", "no-clwb": "clflushopt", "clflush": "clflush"}
FALLBACK = {"ext4-vpmem": "dax-fsync", "tmpfs": "volatile"}


def expected_tier(place: Place) -> str:
    if place.map_sync:
        return "eadr" if MACHINE == "eadr" else "flush"
    return FALLBACK.get(place.name, "sync")


def test_tier_is_what_the_kernel_grants(place: Place) -> None:
    wanted = expected_tier(place)
    with Mapping.open(place.folder / "raw", 16 * PAGE, create=True) as mapping:
        assert mapping.tier == wanted, mapping.reason
        instruction = INSTRUCTION.get(str(MACHINE), "clwb") if place.map_sync else None
        assert instruction in (None, mapping.flush_instruction)
    with pmemstore.open(place.folder / "pool", "n", size="1M") as pool:
        assert pool.durability.tier == wanted, pool.durability.reason


def test_weaker_tier_than_required_is_refused(place: Place) -> None:
    path = place.folder / "strict"
    if place.map_sync:
        pmemstore.open(path, require="flush").close()
        return
    with pytest.raises(errors.DurabilityError, match="strict"):
        pmemstore.open(path, require="flush")


@pytest.mark.places("btrfs", "tmpfs", "overlay")
def test_map_sync_without_validate_is_a_lie_that_is_not_believed(place: Place) -> None:
    """These file systems take MAP_SHARED | MAP_SYNC and ignore the second."""
    path = place.folder / "lie"
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file:
        mmap.mmap(file.fileno(), PAGE, flags=mmap.MAP_SHARED | MAP_SYNC).close()
    with Mapping.open(path) as mapping:
        assert mapping.tier in ("sync", "volatile")


@pytest.mark.places("ext4-dax")
def test_reason_tells_the_persistence_domain(place: Place) -> None:
    says = {"nvdimm": "memory_controller", "eadr": "cpu_cache"}.get(str(MACHINE), "cannot be read")
    with Mapping.open(place.folder / "raw", PAGE, create=True) as mapping:
        assert says in mapping.reason


@pytest.mark.places("ext4-inode", "xfs-inode")
def test_file_without_the_flag_is_no_dax_file(place: Place) -> None:
    path = place.folder / "plain"
    path.write_bytes(bytes(PAGE))
    with Mapping.open(path) as mapping:
        assert mapping.tier == "sync"


def test_pool_does_its_work_on_every_medium(place: Place) -> None:
    path = place.folder / "work.pool"
    with pmemstore.open(path, "n", size="1M", log_size="64K") as pool:
        pool.root["dict"] = {}
        for i in range(300):
            pool.root["dict"][i] = "x" * i
        with contextlib.suppress(KeyError), pool.transaction():
            pool.root["dict"].clear()
            raise KeyError
        pool.root["big"] = b"y" * (3 << 20)  # the file grows
        assert pool.check().ok
    with pmemstore.open(path, "w") as pool:
        assert pool.root["dict"] == {i: "x" * i for i in range(300)}
        assert pool.root["big"] == b"y" * (3 << 20)
        assert pool.check().ok
    allocated = os.stat(path).st_blocks * 512
    assert allocated >= Path(path).stat().st_size
