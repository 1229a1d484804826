"""Other tasks and the file of an open pool, on real DAX: the rows of docs/guarantees.md.

Every act runs in the middle of a pool's life, and none of them may reach Python as a signal.
"""

import contextlib
import fcntl
import os
import subprocess
import time
from pathlib import Path

import acts
import pytest
from places import Place

import pmemstore
from pmemstore import MediaError

DAX_PLACES = ("ext4-dax", "xfs-dax", "ext4-inode", "xfs-inode")
#: With dax=inode a clone has no DAX flag, and xfs refuses to share blocks between the two kinds.
XFS_PLACES = ("xfs-dax",)


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize("act", acts.LOSING)
def test_contents_taken_away_are_told_by_the_next_commit(place: Place, act: str) -> None:
    outcome = acts.suffer(place.folder / "t.pool", act)
    assert outcome.supported
    assert outcome.lost
    assert "another task has" in outcome.text


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize("act", ["clone", "clone a range"])
def test_clone_is_undone_before_the_next_commit_returns(place: Place, act: str) -> None:
    """The store that breaks the sharing is not covered by MAP_SYNC; the sync of the repair is."""
    outcome = acts.suffer(place.folder / "t.pool", act)
    assert outcome.supported == (place.name in XFS_PLACES)
    if outcome.supported:
        assert not outcome.lost
        assert outcome.repairs == 1
        assert "cloned" in " ".join(outcome.notes)


@pytest.mark.places(*XFS_PLACES)
def test_blocks_are_not_shared_after_a_clone_and_a_commit(place: Place) -> None:
    path = place.folder / "t.pool"
    pool = acts.make(path)
    acts.clone(path)
    pool.root["after"] = 1
    answer = pool.prepare_write()
    assert answer
    assert not answer.before
    pool.close()
    with pmemstore.open(f"{path}.clone", "w") as copy:
        assert copy.durability.tier
        assert copy.check().ok
        assert "after" not in copy.root


@pytest.mark.places(*XFS_PLACES)
def test_clone_made_while_the_pool_was_closed_is_undone_at_open(place: Place) -> None:
    path = place.folder / "t.pool"
    acts.make(path).close()
    acts.clone(path)
    with pmemstore.open(path, "w") as pool:
        answer = pool.prepare_write()
        assert answer
        assert not answer.before
        assert pool.root["before"] == 1


@pytest.mark.places("xfs-dax")
def test_clone_and_a_full_disk_are_a_named_error(place: Place) -> None:
    """There are no blocks to copy to: the store is a SIGBUS, which ends nothing but the pool."""
    path = place.folder / "t.pool"
    pool = acts.make(path)
    with open(place.folder / "full", "wb") as full:
        acts.clone(path)
        size = 64 << 20
        while size >= 4096:
            try:
                os.posix_fallocate(full.fileno(), os.fstat(full.fileno()).st_size, size)
            except OSError:
                size //= 2
        with contextlib.suppress(OSError):
            while True:
                os.write(full.fileno(), bytes(4096))
    with pytest.raises(MediaError):
        fill(pool)  # more than a hundred: the first are there already
    with pytest.raises(MediaError):
        pool.root["more"] = 1
    with contextlib.suppress(MediaError):
        pool.close()
    (place.folder / "full").unlink()
    Path(f"{path}.clone").unlink()
    with pmemstore.open(path, "w") as pool:
        assert pool.check().ok
        assert pool.root["before"] == 1


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize(
    "act", ["append", "sync", "rename", "rename over", "unlink", "chmod", "touch", "write"]
)
def test_harmless_acts_change_nothing_and_are_noted(place: Place, act: str) -> None:
    outcome = acts.suffer(place.folder / "t.pool", act)
    assert outcome.supported
    assert not outcome.lost
    assert not outcome.check_lost
    assert outcome.repairs == 0
    told = " ".join(outcome.notes)
    assert ("longer" in told) == (act == "append")
    assert ("no name" in told) == (act in ("unlink", "rename over"))


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize("flag", ["+i", "+a"])
def test_immutable_and_append_only_files_are_stored_to_and_noted(place: Place, flag: str) -> None:
    """chattr on the file of an open pool: commits go on; growth of an immutable one is refused."""
    path = place.folder / "t.pool"
    pool = acts.make(path)
    subprocess.run(["chattr", flag, path], check=True)
    try:
        pool.root["after"] = 1
        assert "immutable or append-only" in " ".join(pool.check().notes)
        if flag == "+i":
            with pytest.raises(pmemstore.PoolFullError):
                pool.grow("16M")
        for number in range(20):
            pool.root["after"] = number
        assert pool.check().ok
        with pytest.raises(OSError, match="not permitted"):
            os.truncate(path, 0)
        with pytest.raises(OSError, match="not permitted"):
            acts.ACTS["punch"](path)
        pool.close()
    finally:
        subprocess.run(["chattr", "-ia", path], check=True)
    with pmemstore.open(path, "w") as pool:
        assert pool.root["after"] == 19


@pytest.mark.places("ext4-dax", "xfs-dax")
def test_remount_does_not_take_the_promise_away(place: Place) -> None:
    """dax=never: refused, or for files opened later.  ro: busy, for the pool is open."""
    path = place.folder / "t.pool"
    pool = acts.make(path)
    mount = f"/mnt/{place.name}"
    for options in ("remount,dax=never", "remount,ro"):
        subprocess.run(["mount", "-o", options, mount], capture_output=True, check=False)
        pool.root["after"] = options
        assert pool.prepare_write()
    assert pool.check().ok
    pool.close()
    subprocess.run(["mount", "-o", "remount,rw", mount], capture_output=True, check=False)
    with pmemstore.open(path, "w") as pool:
        assert pool.root["after"] == "remount,ro"


# ---- write faults ----


def times(path: Path) -> tuple[int, int]:
    """Every write fault moves both: the kernel stamps the file when it makes a page writable."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ctime_ns


def fill(pool: pmemstore.Pool, count: int = 500) -> None:
    for number in range(count):
        pool.root["numbers"][number % 100] = str(number)


@pytest.mark.places(*DAX_PLACES)
def test_prepared_stores_take_no_write_fault_until_somebody_syncs(place: Place) -> None:
    path = place.folder / "t.pool"
    pool = acts.make(path)
    before = times(path)
    fill(pool)
    assert times(path) == before
    assert pool.stats().write_faults == 0
    os.sync()
    time.sleep(acts.TICK)
    fill(pool, 1)
    assert times(path) > before
    assert pool.stats().write_faults > 0
    for _ in range(100):  # pages are made writable again bit by bit
        fill(pool, 5)
        time.sleep(0.002)
    time.sleep(acts.TICK)
    before, faults = times(path), pool.stats().write_faults
    fill(pool)
    assert times(path) == before
    assert pool.stats().write_faults == faults
    pool.close()


@pytest.mark.places("ext4-dax", "xfs-dax")
def test_pool_that_is_opened_again_lazily_takes_its_faults(place: Place) -> None:
    path = place.folder / "t.pool"
    acts.make(path).close()
    os.sync()
    time.sleep(acts.TICK)
    pool = pmemstore.open(path, "w", prepare="lazy")
    time.sleep(acts.TICK)
    before = times(path)
    fill(pool)
    assert times(path) > before
    assert pool.stats().write_faults > 0
    pool.close()


# ---- asking ----


@pytest.mark.places(*DAX_PLACES)
def test_answer_has_its_evidence(place: Place) -> None:
    with pmemstore.open(place.folder / "t.pool", "n", size="4M") as pool:
        answer = pool.prepare_write()
        assert answer
        assert answer.map_sync
        assert answer.populated
        assert answer.absent_pages in (0, None)
        assert (answer.before, answer.after) == (frozenset(), frozenset())


def test_every_place_gives_an_answer(place: Place) -> None:
    """Also where it is no: tier and reason in words."""
    with pmemstore.open(place.folder / "t.pool", "n", size="2M") as pool:
        pool.root["a"] = 1
        answer = pool.prepare_write()
        assert answer.tier == pool.durability.tier
        assert answer.reason
        assert answer.map_sync == place.map_sync
        assert pool.check().ok


def test_lock_of_the_pool_is_not_in_the_way_of_a_copy(place: Place) -> None:
    """What a backup does: it opens and reads, and nothing of the pool changes."""
    path = place.folder / "t.pool"
    pool = acts.make(path)
    with open(path, "rb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert len(file.read()) == acts.SIZE
    pool.root["after"] = 1
    assert pool.check().notes == ()
    pool.close()
