"""Other tasks and the file of an open pool, on real DAX: the rows of docs/guarantees.md.

Every act runs in the middle of a pool's life, and none of them may reach Python as a signal.
"""

import array
import contextlib
import fcntl
import os
import resource
import signal
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


# ---- the same under a Mapping ----


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize("act", acts.LOSING)
def test_mapping_is_told_by_the_next_persist(place: Place, act: str) -> None:
    outcome = acts.suffer_mapping(place.folder / "file", act)
    assert outcome.supported
    assert outcome.lost
    assert "another task has" in outcome.text


@pytest.mark.places(*XFS_PLACES)
@pytest.mark.parametrize("act", ["clone", "clone a range"])
def test_clone_under_a_mapping_is_undone_before_persist_returns(place: Place, act: str) -> None:
    outcome = acts.suffer_mapping(place.folder / "file", act)
    assert outcome.supported
    assert not outcome.lost
    assert not outcome.check_lost
    assert outcome.repairs == 1


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize("act", ["append", "sync", "rename", "unlink", "chmod", "touch", "write"])
def test_mapping_minds_no_harmless_act(place: Place, act: str) -> None:
    outcome = acts.suffer_mapping(place.folder / "file", act, watch="always")
    assert not outcome.lost
    assert not outcome.check_lost
    assert outcome.repairs == 0


# ---- kept off the file: open(..., protect=) ----

REFUSED = (*acts.LOSING, "append", "rename", "rename over", "unlink", "chmod", "write")
#: Of chattr, by place.  Elsewhere a store to an immutable file is a SIGBUS, and append-only does.
FLAG = {"ext4-dax": "i", "ext4-inode": "i"}


def lsattr(path: Path) -> str:
    done = subprocess.run(["lsattr", path], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def flags_of(path: Path) -> str:
    return "".join(flag for flag in lsattr(path) if flag in "ia")


def killed_while_protected(path: Path) -> None:
    child = os.fork()
    if child == 0:
        pool = pmemstore.open(path, "n", size="2M", protect="flags")
        pool.root["a"] = 1
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.places(*DAX_PLACES, "ext4-vpmem", "ext4-disk", "btrfs")
@pytest.mark.parametrize("act", REFUSED)
def test_acts_on_a_protected_file_are_refused(place: Place, act: str) -> None:
    path = place.folder / "t.pool"
    pool = acts.make(path, protect="flags")
    assert flags_of(path) == FLAG.get(place.name, "a")
    before = times(path)
    with pytest.raises(PermissionError):
        acts.ACTS[act](path)
    fill(pool, 100)
    if pool.durability.tier in ("eadr", "flush"):  # and stores take no fault
        assert times(path) == before
        assert pool.stats().write_faults == 0
    result = pool.check()
    assert result.ok
    assert result.notes == ()
    pool.close()
    assert flags_of(path) == ""


@pytest.mark.places(*DAX_PLACES, "ext4-vpmem", "ext4-disk", "btrfs")
def test_descriptors_from_before_cannot_cut_a_protected_file(place: Place) -> None:
    """On ext4 with DAX they cannot write either."""
    path = place.folder / "t.pool"
    acts.make(path).close()
    with path.open("r+b", buffering=0) as old:
        pool = pmemstore.open(path, "w", protect="flags")
        with pytest.raises(PermissionError):
            os.ftruncate(old.fileno(), 0)
        for mode in (acts.PUNCH | acts.KEEP_SIZE, acts.COLLAPSE):
            with pytest.raises(OSError, match=r"not permitted|not supported|Invalid"):
                acts.fallocate(Path(f"/proc/self/fd/{old.fileno()}"), mode)
        if FLAG.get(place.name) == "i":
            with pytest.raises(PermissionError):
                os.pwrite(old.fileno(), b"not ours", acts.FREE)
        pool.root["after"] = 1
        assert pool.check().ok
        pool.close()


@pytest.mark.places(*DAX_PLACES)
def test_protected_pool_grows_and_is_prepared(place: Place) -> None:
    path = place.folder / "t.pool"
    with pmemstore.open(path, "n", size="2M", protect="flags") as pool:
        pool.root["large"] = bytes(8 << 20)
        assert flags_of(path) == FLAG.get(place.name, "a")
        answer = pool.prepare_write()
        assert answer, answer.reason
        assert answer.map_sync
        time.sleep(acts.TICK)
        before, faults = times(path), pool.stats().write_faults
        pool.root["numbers"] = {i: str(i) for i in range(100)}
        fill(pool)
        assert times(path) == before
        assert pool.stats().write_faults == faults
        assert pool.check().notes == ()


@pytest.mark.places(*DAX_PLACES)
@pytest.mark.parametrize("protect", ["flags", "lease"])
def test_sync_costs_a_protected_pool_its_faults_and_nothing_else(
    place: Place, protect: str
) -> None:
    """Pages of an immutable file can be made writable again on ext4 with DAX."""
    outcome = acts.suffer(place.folder / "t.pool", "sync", protect=protect)
    assert not outcome.lost
    assert not outcome.check_lost
    assert outcome.write_faults > 0
    assert outcome.notes == ()


@pytest.mark.places(*XFS_PLACES)
def test_clone_of_a_protected_file_is_not_refused_but_undone(place: Place) -> None:
    outcome = acts.suffer(place.folder / "t.pool", "clone", protect="flags")
    assert outcome.supported
    assert not outcome.lost
    assert outcome.repairs == 1
    assert flags_of(place.folder / "t.pool") == ""
    assert "x" in lsattr(place.folder / "t.pool")  # the DAX flag, which has to go meanwhile


@pytest.mark.places(*XFS_PLACES)
def test_flag_that_a_kill_left_on_a_cloned_file_is_taken_off(place: Place) -> None:
    """xfs changes no flag of a cloned file that has the DAX flag, which must be there again."""
    path = place.folder / "t.pool"
    killed_while_protected(path)
    acts.clone(path)
    with pmemstore.open(path, "w", require="flush") as pool:
        assert flags_of(path) == ""
        assert "x" in lsattr(path)
        assert pool.prepare_write()
        assert pool.root["a"] == 1
    with pmemstore.open(path, "w", require="flush") as pool:
        assert pool.check().ok


@pytest.mark.places(*DAX_PLACES, "ext4-vpmem", "ext4-disk", "btrfs")
def test_flag_that_a_kill_left_is_taken_off_by_the_next_open(place: Place) -> None:
    path = place.folder / "t.pool"
    killed_while_protected(path)
    assert flags_of(path) == FLAG.get(place.name, "a")
    with pmemstore.open(path, "w") as pool:
        assert flags_of(path) == ""
        assert pool.root["a"] == 1
    subprocess.run(["chattr", "+a", path], check=True)
    with pytest.raises(PermissionError, match="not by a pool's doing"):
        pmemstore.open(path, "w")
    assert flags_of(path) == "a"
    subprocess.run(["chattr", "-a", path], check=True)


@pytest.mark.places("tmpfs")
def test_file_system_without_flags_refuses_protection(place: Place) -> None:
    subprocess.run(["mount", "-t", "ramfs", "none", place.folder], check=True)
    try:
        with pytest.raises(pmemstore.DurabilityError, match=r"refuses the flag \(ENOTTY\)"):
            pmemstore.open(place.folder / "t.pool", "n", size="1M", protect="flags")
        assert list(place.folder.iterdir()) == []
    finally:
        subprocess.run(["umount", place.folder], check=True)


@pytest.mark.places(*DAX_PLACES, "ext4-vpmem", "ext4-disk", "btrfs", "tmpfs")
def test_opening_a_leased_file_waits_for_a_commit(place: Place) -> None:
    """So does a clone, which opens it; then each commit looks until the lease is there again."""
    path = place.folder / "t.pool"
    pool = acts.make(path, protect="lease")
    assert pool.protection == "lease"
    other = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while "BREAKING" not in Path("/proc/locks").read_text():  # it has come to its open()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert other.poll() is None
    deadline = time.monotonic() + 30
    assert other.stdout is not None
    pool.root["after"] = 1
    time.sleep(0.002)
    pool.root["after"] = 2
    assert len(other.stdout.read()) == acts.SIZE
    assert time.monotonic() < deadline
    other.wait()
    pool.root["after"] = 3
    assert "has opened the file" in " ".join(pool.check().notes)
    with pytest.raises(BlockingIOError):
        os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    pool.root["after"] = 4
    assert pool.check().ok
    pool.close()


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


@pytest.mark.places("ext4-dax")
def test_pool_on_ext4_can_be_mapped_with_huge_pages(place: Place) -> None:
    """A new file of some MiB on a file system with space lies in one piece, at such a place."""
    path = place.folder / "t.pool"
    pmemstore.open(path, "n", size="15M").close()
    assert path.stat().st_size == 16 << 20  # whole ones
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with pmemstore.open(path, "w", prepare="now") as pool:
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        answer = pool.prepare_write()
        assert answer.huge_bytes == 16 << 20
        assert faults < 1000  # of 4096 pages


@pytest.mark.places("xfs-dax")
def test_pool_on_xfs_has_its_hint_and_says_what_it_is_worth(place: Place) -> None:
    """Without stripes of 2 MiB (mkfs.xfs -d su=2m,sw=1) the hint does not move the first block."""
    path = place.folder / "t.pool"
    with pmemstore.open(path, "n", size="16M") as pool:
        assert pool.prepare_write().huge_bytes in (0, 16 << 20)
    attributes = array.array("I", bytes(28))
    with path.open("rb") as file:
        fcntl.ioctl(file, 0x801C581F, attributes)  # FS_IOC_FSGETXATTR
    assert attributes[0] & 0x800  # FS_XFLAG_EXTSIZE
    assert attributes[1] == 2 << 20


#: What the doctor advises.
STRIPES = {
    "ext4-dax": "mkfs.ext4 -q -F -b 4096 -E stride=512,stripe_width=512",
    "xfs-dax": "mkfs.xfs -q -f -d su=2097152,sw=1,agcount=2 -l size=64m",
}


@pytest.mark.places("ext4-dax", "xfs-dax")
def test_pool_on_stripes_can_be_mapped_with_huge_pages_and_grown(place: Place) -> None:
    """The file system is made anew; each test has a folder of its own, so nobody minds."""
    mount, device = f"/mnt/{place.name}", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        device = line.split()[0] if line.split()[1] == mount else device
    subprocess.run(["umount", mount], check=True)
    subprocess.run([*STRIPES[place.name].split(), device], check=False)
    subprocess.run(["mount", "-o", "dax", device, mount], check=True)
    place.folder.mkdir(exist_ok=True)
    path = place.folder / "t.pool"
    with pmemstore.open(path, "n", size="16M") as pool:
        assert pool.prepare_write().huge_bytes == 16 << 20
        pool.root["large"] = bytes(20 << 20)
        size = path.stat().st_size
        assert pool.prepare_write().huge_bytes == size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with pmemstore.open(path, "w", prepare="now"):
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 1000 < size // 4096


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
