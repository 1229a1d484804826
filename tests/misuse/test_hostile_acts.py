"""Other tasks and the file of an open pool, on the media of any machine; real DAX: tests/daxvm.

docs/guarantees.md has the table that these tests show.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import MediaError

if TYPE_CHECKING:
    from conftest import Medium, Opener


def load_acts() -> Any:
    """Return the module that the tests inside the guest use too."""
    path = Path(__file__).parents[1] / "daxvm/acts.py"
    spec = importlib.util.spec_from_file_location("pmemstore_test_acts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


acts = load_acts()


def tells_extents(folder: Path) -> bool:
    """Is it ext4 or xfs, where blocks stay and can be asked for?"""
    with pmemstore.open(folder / "probe.pool", "n", size="1M") as pool:
        reason = pool.durability.reason
    return "ext4" in reason or "xfs" in reason


@pytest.fixture
def as_dax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory of an ordinary file system whose pools are treated as if it were DAX."""
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "flush")
    if not tells_extents(tmp_path):
        pytest.skip("neither ext4 nor xfs: no extents to look at")
    return tmp_path


# ---- contents that are taken away ----


@pytest.mark.usefixtures("tmpfs")
@pytest.mark.parametrize("act", ["truncate", "truncate and back", "punch"])
def test_contents_taken_away_on_tmpfs_are_told_by_the_next_commit(act: str, direct: Medium) -> None:
    """MediaError before the commit is acknowledged, from then on, and no signal."""
    outcome = acts.suffer(direct.folder / "t.pool", act)
    assert outcome.lost
    assert "another task has" in outcome.text


@pytest.mark.parametrize("watch", ["auto", "always"])
@pytest.mark.parametrize("act", acts.LOSING)
def test_contents_taken_away_on_direct_media_are_told_by_the_next_commit(
    act: str, watch: str, as_dax: Path
) -> None:
    """As on DAX; where the act lies in free space, and nothing that is read tells it."""
    outcome = acts.suffer(as_dax / "t.pool", act, watch=watch)
    if not outcome.supported:
        pytest.skip("the file system refuses it")
    assert outcome.lost
    assert "another task has" in outcome.text


@pytest.mark.parametrize("act", acts.LOSING)
def test_contents_taken_away_without_a_watch_are_told_by_the_check(act: str, as_dax: Path) -> None:
    """watch="off" costs nothing, and sees at the check what it would have seen at the commit."""
    outcome = acts.suffer(as_dax / "t.pool", act, watch="off")
    if not outcome.supported:
        pytest.skip("the file system refuses it")
    assert not outcome.lost
    assert outcome.check_lost


@pytest.mark.parametrize("act", acts.LOSING)
def test_contents_taken_away_from_a_file_are_told(act: str, file_medium: Medium) -> None:
    """Truncated, punched: by the next commit.  Zeroed, shifted: by the next checkpoint or check."""
    if not tells_extents(file_medium.folder):
        pytest.skip("neither ext4 nor xfs")
    outcome = acts.suffer(file_medium.folder / "t.pool", act)
    if not outcome.supported:
        pytest.skip("the file system refuses it")
    if act in ("truncate", "truncate and back", "punch", "collapse"):
        assert outcome.lost
    else:
        assert outcome.check_lost


def test_truncated_file_is_not_made_longer_again(file_medium: Medium) -> None:
    """A checkpoint would write dirty pages behind the end, with zeroes in between: not any more."""
    path = file_medium.folder / "t.pool"
    with pmemstore.open(path, "n", size="4M") as pool:
        for number in range(100):
            pool.root[number] = "x" * 10_000
        os.truncate(path, 1 << 20)
        with pytest.raises(MediaError, match="another task has truncated"):
            pool.checkpoint()
    assert path.stat().st_size == 1 << 20


def test_truncated_file_is_told_by_close(medium: Medium) -> None:
    """Closing is the last chance not to be silent."""
    path = medium.folder / "t.pool"
    pool = pmemstore.open(path, "n", size="4M")
    pool.root["a"] = 1
    os.truncate(path, 3 << 20)
    with pytest.raises(MediaError, match="another task has truncated"):
        pool.close()
    assert pool.closed


def test_growth_of_a_truncated_file_is_refused(direct: Medium) -> None:
    path = direct.folder / "t.pool"
    pool = pmemstore.open(path, "n", size="4M")
    os.truncate(path, 3 << 20)
    with pytest.raises(MediaError, match="another task has truncated"):
        pool.grow("8M")
    assert path.stat().st_size == 3 << 20
    pool.close()


def test_reader_is_told_by_the_check(medium: Medium) -> None:
    path = medium.folder / "t.pool"
    pmemstore.open(path, "n", size="4M").close()
    pool = pmemstore.open(path, "r")
    os.truncate(path, 3 << 20)
    with pytest.raises(MediaError, match="another task has truncated"):
        pool.check()
    pool.close()


def test_damage_that_another_task_did_is_not_called_damage(as_dax: Path) -> None:
    """A write that meets shifted contents says MediaError and why, not PoolCorruptError."""
    path = as_dax / "t.pool"
    pool = acts.make(path, watch="off")
    numbers = pool.root["numbers"]
    try:
        acts.fallocate(path, acts.COLLAPSE, 1 << 17, 1 << 16)
    except OSError:
        pytest.skip("the file system refuses it")
    with pytest.raises(MediaError, match="another task has"):
        numbers[0] = 0
    pool.close()


# ---- the same under a Mapping ----


@pytest.mark.usefixtures("tmpfs")
@pytest.mark.parametrize("act", ["truncate", "truncate and back", "punch"])
def test_mapping_on_tmpfs_is_told_by_the_next_persist(act: str, direct: Medium) -> None:
    outcome = acts.suffer_mapping(direct.folder / "file", act)
    assert outcome.lost
    assert "another task has" in outcome.text


@pytest.mark.parametrize("watch", ["auto", "always"])
@pytest.mark.parametrize("act", acts.LOSING)
def test_mapping_on_direct_media_is_told_by_the_next_persist(
    act: str, watch: str, as_dax: Path
) -> None:
    outcome = acts.suffer_mapping(as_dax / "file", act, watch=watch)
    if not outcome.supported:
        pytest.skip("the file system refuses it")
    assert outcome.lost
    assert "another task has" in outcome.text


@pytest.mark.parametrize("act", acts.LOSING)
def test_mapping_without_a_watch_is_told_by_the_check(act: str, as_dax: Path) -> None:
    outcome = acts.suffer_mapping(as_dax / "file", act, watch="off")
    if not outcome.supported:
        pytest.skip("the file system refuses it")
    assert not outcome.lost
    assert outcome.check_lost


@pytest.mark.parametrize("act", acts.LOSING)
def test_mapping_of_a_file_is_told(act: str, file_medium: Medium) -> None:
    """Truncated, punched: by the next persist.  Zeroed, shifted: by the check."""
    if not tells_extents(file_medium.folder):
        pytest.skip("neither ext4 nor xfs")
    outcome = acts.suffer_mapping(file_medium.folder / "file", act)
    if not outcome.supported:
        pytest.skip("the file system refuses it")
    if act in ("truncate", "truncate and back", "punch", "collapse"):
        assert outcome.lost
    else:
        assert outcome.check_lost


def test_preparing_a_mapping_does_not_hide_a_hole(direct: Medium) -> None:
    path = direct.folder / "file"
    with pmemstore.Mapping.open(path, acts.SIZE, create=True, watch="off") as mapping:
        acts.ACTS["punch"](path)
        answer = mapping.prepare_write()
        assert not answer
        assert "another task has punched" in answer.reason
        with pytest.raises(MediaError, match="another task has punched"):
            mapping.persist(0, 8)


def test_sparse_file_of_a_mapping_is_not_called_punched(direct: Medium) -> None:
    """Stores fill it as they come; nobody has taken anything away."""
    path = direct.folder / "file"
    with path.open("wb") as file:
        file.truncate(acts.SIZE)
    with pmemstore.Mapping.open(path, watch="always") as mapping:
        for offset in range(0, acts.SIZE, acts.SIZE // 16):
            with mapping.view(offset, 8) as view:
                view[:] = b"contents"
            mapping.persist(offset, 8)
        mapping.check()
        assert mapping.prepare_write().allocated
        mapping.persist(0, 8)
        acts.ACTS["punch"](path)
        with pytest.raises(MediaError, match="another task has punched"):
            mapping.persist(0, 8)


@pytest.mark.parametrize("act", ["append", "sync", "rename", "unlink", "chmod", "touch"])
def test_mapping_minds_no_harmless_act(act: str, medium: Medium) -> None:
    outcome = acts.suffer_mapping(medium.folder / "file", act, watch="always")
    assert not outcome.lost
    assert not outcome.check_lost


# ---- acts that take nothing away ----


@pytest.mark.parametrize("act", ["append", "sync", "rename", "rename over", "unlink", "chmod"])
def test_harmless_acts_change_nothing_and_are_noted(act: str, medium: Medium) -> None:
    outcome = acts.suffer(medium.folder / "t.pool", act)
    assert not outcome.lost
    assert not outcome.check_lost
    told = " ".join(outcome.notes)
    assert ("longer" in told) == (act == "append")
    assert ("no name" in told) == (act in ("unlink", "rename over"))
    assert ("another file, or to none" in told) == (act in ("rename", "rename over", "unlink"))


@pytest.mark.parametrize("act", ["touch", "write", "chmod", "rename"])
def test_acts_on_direct_media_that_are_no_reason_to_stop(act: str, as_dax: Path) -> None:
    """What is written into the file by another task is not told from what is stored."""
    outcome = acts.suffer(as_dax / "t.pool", act)
    assert not outcome.lost
    assert not outcome.check_lost


@pytest.mark.parametrize("act", ["clone", "clone a range"])
def test_clone_of_a_file_is_noted_and_harmless(act: str, file_medium: Medium) -> None:
    """Where the file system can: on files the sync of a commit covers the copy of the block."""
    outcome = acts.suffer(file_medium.folder / "t.pool", act)
    if not outcome.supported:
        pytest.skip("no reflink here")
    assert not outcome.lost
    assert not outcome.check_lost


# ---- write faults ----


def modified(path: Path) -> int:
    """A write fault in a shared mapping moves this."""
    return path.stat().st_mtime_ns


def fill(pool: pmemstore.Pool, count: int = 2000) -> None:
    for number in range(count):
        pool.root["numbers"][number % 100] = str(number)


@pytest.mark.usefixtures("tmpfs")
def test_prepared_stores_take_no_write_fault(direct: Medium) -> None:
    """Opened again: not one commit of thousands makes the kernel touch the file's times."""
    path = direct.folder / "t.pool"
    pool = acts.make(path)
    before = modified(path)
    fill(pool)
    assert modified(path) == before
    assert pool.stats().write_faults == 0
    pool.close()


@pytest.mark.usefixtures("tmpfs")
def test_pages_are_made_writable_with_the_commits_that_need_them(direct: Medium) -> None:
    """Without ``prepare``: no store takes a write fault, and the rest follows bit by bit."""
    path = direct.folder / "t.pool"
    pool = acts.make(path, prepare=None, watch="always")
    fill(pool)  # 4 MiB, a piece of 8 KiB and more with each look
    assert pool.stats().write_faults == 0
    time.sleep(acts.TICK)
    before = modified(path)
    fill(pool)
    pool.root["large"] = bytes(1 << 20)
    assert modified(path) == before
    assert pool.stats().write_faults == 0
    pool.close()


@pytest.mark.usefixtures("tmpfs")
def test_lazy_pool_takes_its_write_faults_and_counts_them(direct: Medium) -> None:
    path = direct.folder / "t.pool"
    acts.make(path).close()
    time.sleep(acts.TICK)
    pool = pmemstore.open(path, "w", prepare="lazy")
    fill(pool)
    faults = pool.stats().write_faults
    assert faults > 0
    assert pool.prepare_write().populated
    time.sleep(acts.TICK)
    before = modified(path)
    fill(pool)
    assert modified(path) == before
    assert pool.stats().write_faults == faults
    pool.close()


@pytest.mark.usefixtures("tmpfs")
def test_grown_pool_is_prepared(direct: Medium) -> None:
    path = direct.folder / "t.pool"
    pool = acts.make(path)
    pool.root["large"] = bytes(8 << 20)
    assert path.stat().st_size > 8 << 20
    time.sleep(acts.TICK)
    before = modified(path)
    fill(pool)
    pool.root["large"] = bytes(4 << 20)
    assert modified(path) == before
    assert pool.stats().write_faults == 0
    pool.close()


# ---- asking ----


def test_pool_is_prepared_and_says_so(medium: Medium, open_pool: Opener) -> None:
    """On any medium, whole or in part; contents are kept."""
    pool = open_pool(medium.folder / "t.pool", "n", size="4M")
    pool.root["a"] = "x" * 100_000
    for answer in (pool.prepare_write(), pool.prepare_write(1 << 20, 4096)):
        assert answer.tier == pool.durability.tier
        assert answer.allocated
        assert answer.synced
        assert answer.populated == medium.is_direct
        if medium.is_direct and "tmpfs" in pool.durability.reason:
            assert answer
            assert answer.absent_pages in (0, None)
    assert pool.root["a"] == "x" * 100_000
    with pytest.raises(ValueError, match="not a range"):
        pool.prepare_write(0, 0)
    with pytest.raises(ValueError, match="range outside"):
        pool.prepare_write(0, 1 << 40)


@pytest.mark.usefixtures("tmpfs")
def test_pool_that_is_prepared_does_not_hide_a_hole(direct: Medium) -> None:
    """Zeroes written ahead into a punched range would make the loss invisible."""
    path = direct.folder / "t.pool"
    pool = acts.make(path, watch="off")
    acts.ACTS["punch"](path)
    with pytest.raises(MediaError, match="another task has punched"):
        pool.prepare_write()
    pool.close()


def test_reader_cannot_prepare(medium: Medium, open_pool: Opener) -> None:
    open_pool(medium.folder / "t.pool", "n", size="1M").close()
    pool = open_pool(medium.folder / "t.pool", "r")
    with pytest.raises(pmemstore.TransactionError, match="flag 'r'"):
        pool.prepare_write()


def test_sparse_copy_gets_its_blocks_when_it_is_opened(direct: Medium, open_pool: Opener) -> None:
    """A copy may have holes for zeroes; a full disk must not be met by a store."""
    path, sparse = direct.folder / "t.pool", direct.folder / "sparse.pool"
    with pmemstore.open(path, "n", size="4M") as pool:
        pool.root["a"] = 1
    data = path.read_bytes()
    with sparse.open("wb") as copy:
        copy.truncate(len(data))
        for at in range(0, len(data), 4096):
            if any(data[at : at + 4096]):
                copy.seek(at)
                copy.write(data[at : at + 4096])
    pool = open_pool(sparse, "w")
    assert sparse.stat().st_blocks * 512 >= len(data)
    assert pool.root["a"] == 1


@pytest.mark.parametrize("option", [{"prepare": "never"}, {"watch": "now"}])
def test_options_are_checked(option: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be"):
        pmemstore.open(tmp_path / "t.pool", **option)  # type: ignore[arg-type] # that is the test
