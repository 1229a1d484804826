"""The doctor and the health of pools, on each file system of the guest."""

import subprocess
from pathlib import Path

import pytest
from places import MACHINE, Place

import pmemstore
from pmemstore import doctor

#: What keeps new files of a place from a better tier.
OBSTACLE = {
    "ext4-vpmem": ["virtio-pmem"],
    "btrfs": ["btrfs-no-dax"],
    "tmpfs": ["memory-file-system"],
    "overlay": ["overlay"],
}


def codes(path: Path, kind: str) -> list[str]:
    return [each.code for each in doctor.examine(str(path)).advice if each.kind == kind]


def test_doctor_agrees_with_the_pool_and_names_the_obstacle(place: Place) -> None:
    with pmemstore.open(place.folder / "pool", "n", size="1M") as pool:
        tier = pool.durability.tier
    report = doctor.examine(str(place.folder))
    assert report.facts.tier == tier
    assert [p.name for p in place.folder.iterdir()] == ["pool"]
    obstacles = [each.code for each in report.advice if each.kind == "tier"]
    if place.map_sync:
        assert obstacles == []
        assert report.facts.map_sync == "granted"
    else:
        assert obstacles == OBSTACLE.get(place.name, []), str(report)


@pytest.mark.places("ext4-inode", "xfs-inode")
def test_advised_flag_makes_files_dax(place: Place) -> None:
    """What the doctor says to run is run, and the file has the tier that was promised."""
    path = place.folder / "plain"
    path.write_bytes(bytes(1 << 20))
    (advice,) = (a for a in doctor.examine(str(path)).advice if a.kind == "tier")
    assert (advice.code, advice.gives) == ("file-without-dax-flag", "flush")
    subprocess.run(advice.commands[1], shell=True, check=True)  # the directory's
    new = place.folder / "new"
    new.write_bytes(bytes(1 << 20))
    assert doctor.examine(str(new)).facts.map_sync == "granted"
    assert "folder-with-dax-flag" in codes(place.folder, "note")


@pytest.mark.places("xfs-dax")
def test_clone_is_a_risk(place: Place) -> None:
    path = place.folder / "pool"
    pmemstore.open(path, "n", size="1M").close()
    assert codes(path, "risk")[:1] == ["reflink-possible"]
    subprocess.run(["cp", "--reflink=always", path, place.folder / "clone"], check=True)
    assert "shared-blocks-mapped" in codes(path, "risk")


@pytest.mark.places("ext4-dax", "xfs-dax")
def test_health_tells_the_domain_and_bad_blocks(place: Place) -> None:
    """An emulated module has no counter of unsafe shutdowns: that is said."""
    with pmemstore.open(place.folder / "pool", "n", size="1M") as pool:
        health = pool.health()
    assert health.ok
    assert health.bad_ranges == ()
    assert health.unsafe_shutdowns is None
    assert any("dirty_shutdown" in text for text in health.unknown)
    if MACHINE == "eadr":
        assert health.persistence_domain == "cpu_cache"
