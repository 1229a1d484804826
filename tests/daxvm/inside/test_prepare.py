"""prepare_write on real DAX: what it makes of holes and clones, and the faults it takes away."""

import fcntl
import os
import resource
from pathlib import Path

import pytest
from places import Place

from pmemstore.mapping import Mapping

PAGE = 4096
PAGES = 256
FICLONE = 0x40049409
DAX_PLACES = ("ext4-dax", "xfs-dax", "ext4-inode", "xfs-inode")


def new_file(path: Path, pages: int = PAGES) -> Path:
    """A file of holes, asked to be DAX: as a Mapping makes it, and then punched."""
    Mapping.open(path, pages * PAGE, create=True).close()
    os.truncate(path, 0)
    os.truncate(path, pages * PAGE)
    return path


def faults_of_stores(mapping: Mapping) -> int:
    """Count the page faults of one store to each page."""
    with mapping.view() as view:
        offsets = list(range(0, mapping.size, PAGE))
        before = after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(2):  # the first round is for Python's own memory
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for offset in offsets[: len(offsets) // 2]:
                view[offset] = 1
            after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            offsets = offsets[len(offsets) // 2 :] * 2
        mapping.persist()
    return after - before


@pytest.mark.places(*DAX_PLACES, "ext4-vpmem", "ext4-disk", "tmpfs")
def test_holes_become_written_blocks(place: Place) -> None:
    with Mapping.open(new_file(place.folder / "holes")) as mapping:
        answer = mapping.prepare_write()
        assert answer.granted, answer.reason
        assert "hole" in answer.before or place.name == "tmpfs"  # tmpfs knows no FIEMAP
        assert answer.after <= {"unknown"}
    assert os.stat(place.folder / "holes").st_blocks * 512 >= PAGES * PAGE


@pytest.mark.places("btrfs")
def test_copy_on_write_file_system_is_refused(place: Place) -> None:
    (place.folder / "cow").write_bytes(bytes(PAGE))
    with Mapping.open(place.folder / "cow") as mapping:
        answer = mapping.prepare_write()
        assert not answer.granted
        assert "btrfs" in answer.reason


@pytest.mark.places(*DAX_PLACES)
def test_prepared_stores_take_no_fault_until_somebody_syncs(place: Place) -> None:
    with Mapping.open(new_file(place.folder / "file")) as mapping:
        assert mapping.prepare_write().populated
        assert faults_of_stores(mapping) == 0
        fd = os.open(place.folder / "file", os.O_RDONLY)
        os.fsync(fd)  # by anybody: the kernel write-protects what it has written back
        assert faults_of_stores(mapping) >= PAGES // 2
        os.fsync(fd)
        assert mapping.prepare_write().granted
        assert faults_of_stores(mapping) == 0
        os.close(fd)


@pytest.mark.places("xfs-dax")
def test_clone_is_seen_and_unshared(place: Place) -> None:
    path = place.folder / "file"
    with Mapping.open(new_file(path)) as mapping:
        assert mapping.prepare_write().granted
        with path.open("rb") as source, (place.folder / "clone").open("wb") as clone:
            fcntl.ioctl(clone.fileno(), FICLONE, source.fileno())
        answer = mapping.prepare_write()
        assert answer.granted, answer.reason
        assert answer.before == {"shared"}
        assert answer.after == frozenset()
        assert mapping.prepare_write().before == frozenset()
        assert faults_of_stores(mapping) == 0
