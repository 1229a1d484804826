"""No space: in the log, under the limit, on the file system."""
# ruff: noqa: PT012 - the blocks that raise are what is rolled back

from __future__ import annotations

import array
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import Pool, PoolFullError

if TYPE_CHECKING:
    from conftest import Medium, Opener

DISK_BYTES = 8 << 20


class Abort(Exception):
    pass


def test_transaction_of_many_times_the_log_commits_or_rolls_back_whole(
    medium: Medium, open_pool: Opener
) -> None:
    """20 MB in one block with a log of 64 KiB."""
    pool = open_pool(medium.folder / "t.pool", "n", size="1M", log_size="64K")
    pool.root["d"] = dict.fromkeys(range(2000), b"old" * 30)
    stored = pool.root["d"]
    with pytest.raises(Abort), pool.transaction():
        for i in range(2000):
            stored[i] = bytes([i % 251]) * 5000
        for i in range(0, 2000, 3):
            del stored[i]
        raise Abort
    assert len(stored) == 2000
    assert set(stored.values()) == {b"old" * 30}
    used = pool.stats().used_bytes
    for _ in range(2):
        with pool.transaction():
            for i in range(2000):
                stored[i] = bytes([i % 251]) * 5000
            for i in range(0, 2000, 2):
                stored[i] = b"old" * 30
    assert pool.check().ok
    pool.close()
    pool = open_pool(medium.folder / "t.pool", "w")
    assert [len(value) for value in pool.root["d"].values()] == [90, 5000] * 1000
    pool.root["d"].update(dict.fromkeys(range(2000), b"old" * 30))
    pool.collect()
    assert pool.stats().used_bytes <= used + 4096


def test_pages_lent_to_the_log_come_back(medium: Medium, open_pool: Opener) -> None:
    """Transactions larger than the log, over and over, do not make the file grow."""
    pool = open_pool(medium.folder / "t.pool", "n", size="2M", log_size="64K")
    for round_number in range(60):
        pool.root["value"] = bytes([round_number]) * 60_000
        with pool.transaction():
            for i in range(100):
                pool.root[i] = bytes([round_number]) * 500
    assert pool.stats().size <= 4 << 20


def test_value_larger_than_the_limit_is_refused_with_numbers(
    medium: Medium, open_pool: Opener
) -> None:
    """PoolFullError says what was wanted and what there is; nothing has changed."""
    pool = open_pool(medium.folder / "t.pool", "n", size="1M", limit="2M")
    pool.root.update(keep=[1, 2, 3])
    before = pool.stats().used_bytes
    for _ in range(3):
        with pytest.raises(PoolFullError, match="delete objects") as caught:
            pool.root["keep"].append(b"x" * 5_000_000)
        assert caught.value.wanted is not None
        assert caught.value.wanted >= 5_000_000
        assert caught.value.found is not None
        assert caught.value.found < 5_000_000
        assert caught.value.path == str(medium.folder / "t.pool")
    assert pool.root == {"keep": [1, 2, 3]}
    assert pool.stats().used_bytes == before
    pool.root["small"] = "fits"
    assert pool.check().ok


def fill(pool: Pool) -> int:
    """Put values until there is no space; return how many there are."""
    count = 0
    with pytest.raises(PoolFullError):
        while True:
            pool.root["filler", count] = os.urandom(50_000)
            count += 1
    return count


def assert_survives_being_full(pool: Pool, count: int) -> None:
    """What is there stays, a block rolls back, deletions make room again."""
    assert count > 10
    assert pool.root["before"] == "full"
    assert len(pool.root) == count + 1
    with pytest.raises(PoolFullError), pool.transaction():
        pool.root["in the block"] = 1
        for i in range(count):
            pool.root["block", i] = os.urandom(50_000)
    assert "in the block" not in pool.root
    assert len(pool.root) == count + 1
    with pool.transaction():  # one refused operation does not end the block
        pool.root["before"] = "in place"  # a new key may need buckets, and a span for them
        with pytest.raises(PoolFullError):
            pool.root["large"] = bytes(DISK_BYTES)
    assert pool.root["before"] == "in place"
    pool.root["before"] = "full"
    for i in range(0, count, 2):
        del pool.root["filler", i]
    pool.collect()
    for i in range(count // 4):
        pool.root["again", i] = os.urandom(50_000)
    result = pool.check()
    assert result.ok, result.problems
    assert result.leaked_bytes == 0


@pytest.mark.parametrize("log_size", ["64K", "1M"])
def test_pool_at_its_limit_stays_usable(log_size: str, medium: Medium, open_pool: Opener) -> None:
    """Full, refused, emptied, filled again."""
    pool = open_pool(medium.folder / "t.pool", "n", size="2M", limit="6M", log_size=log_size)
    pool.root["before"] = "full"
    assert_survives_being_full(pool, fill(pool))
    pool.close()
    pool = open_pool(medium.folder / "t.pool", "w")
    assert pool.stats().size <= 6 << 20
    assert pool.root["before"] == "full"


def mounted(kind: str, folder: Path) -> Path:
    """Mount a small file system, or skip the test."""
    point = folder / "mounted"
    point.mkdir()
    if kind == "tmpfs":
        commands = [["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(point)]]
    else:
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        commands = [
            ["mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(image)],
            ["mount", "-o", "loop", str(image), str(point)],
        ]
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    for command in commands:
        if shutil.which(command[0]) is None:
            pytest.skip(f"no {command[0]} here")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"{command[0]} is not possible here: {done.stderr.strip()}")
    return point


@pytest.fixture(params=["tmpfs", "tmpfs as a file", "ext4"])
def small_disk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give a file system of 8 MiB, or skip the test."""
    if request.param == "tmpfs as a file":
        monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "sync")
    else:
        monkeypatch.delenv("PMEMSTORE_FORCE_TIER", raising=False)
    point = mounted(request.param.split()[0], tmp_path)
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_array_of_a_full_pool_can_shrink(medium: Medium, open_pool: Opener) -> None:
    """It moves to a smaller block where there is space for one, and stays where there is none."""
    pool = open_pool(medium.folder / "t.pool", "n", size="2M", limit="2M")
    pool.root["a"] = array.array("q", range(60_000))
    shrinking = pool.root["a"]
    for size in (4000, 10):
        with contextlib.suppress(PoolFullError):
            for i in itertools.count():
                pool.root[size, i] = bytes(size)
    for length in (14_000, 13_000, 20_000, 3000):
        shrinking.resize(length)
        assert len(shrinking) == length
        assert shrinking[:13_000].tolist() == list(range(min(length, 13_000)))
    shrinking.resize(3100)
    assert shrinking[3000:].tolist() == [0] * 100
    assert pool.check().ok


def test_full_file_system_is_a_named_error_and_no_signal(small_disk: Path) -> None:
    """ENOSPC comes when the pool grows, never later as SIGBUS; the pool stays usable."""
    with pmemstore.open(small_disk / "t.pool", "n", size="2M", log_size="64K") as pool:
        pool.root["before"] = "full"
        assert_survives_being_full(pool, fill(pool))
    with pmemstore.open(small_disk / "t.pool", "r") as pool:
        assert pool.root["before"] == "full"
        assert pool.check().ok


def test_pool_takes_the_last_space_of_a_file_system(small_disk: Path) -> None:
    """A step of growth that is too large for the disk becomes as small as the value needs."""
    with pmemstore.open(small_disk / "t.pool", "n", size="1M", log_size="64K") as pool:
        assert fill(pool) > 0
        disk = os.statvfs(small_disk)
        assert disk.f_bavail * disk.f_frsize < 256 << 10
        assert pool.check().ok


def test_other_files_may_take_the_space(small_disk: Path) -> None:
    """Space that somebody else has taken is refused to the pool, which has all of its own."""
    with pmemstore.open(small_disk / "t.pool", "n", size="3M", log_size="64K") as pool:
        pool.root["before"] = "full"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
        (small_disk / "other").write_bytes(os.urandom(free - (64 << 10)))
        assert_survives_being_full(pool, fill(pool))
        with pytest.raises((PoolFullError, OSError)):
            pool.grow("7M")
        (small_disk / "other").unlink()
        pool.root["large"] = bytes(1_000_000)
        assert pool.check().ok


def test_creation_on_a_full_file_system_leaves_nothing(small_disk: Path) -> None:
    """No pool, and no temporary file either."""
    with pytest.raises((PoolFullError, OSError)):
        pmemstore.open(small_disk / "t.pool", "c", size=2 * DISK_BYTES)
    assert [entry.name for entry in small_disk.iterdir() if entry.name != "lost+found"] == []


def test_collect_frees_a_full_pool(medium: Medium, open_pool: Opener) -> None:
    """Also where a large unit of work finds no pages for its log."""
    pool = open_pool(medium.folder / "t.pool", "n", size="2M", limit="6M", log_size="64K")
    empty = pool.stats().used_bytes
    pool.root["d"] = {}
    with pytest.raises(PoolFullError):
        for i in range(1_000_000):
            pool.root["d"][i] = b"v" * 100
    del pool.root["d"]
    pool.collect()
    assert pool.stats().used_bytes - empty < 10_000
    assert pool.check().ok


def test_replacing_a_pool_keeps_who_may_read_it(tmp_path: Path) -> None:
    """Flag n gives the new file the permissions of the old one."""
    path = tmp_path / "t.pool"
    pmemstore.open(path, "n").close()
    path.chmod(0o600)
    pmemstore.open(path, "n").close()
    assert path.stat().st_mode & 0o777 == 0o600
