"""What opening a pool writes: nothing, until something is changed."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import opening
from pmemstore.recorder import Event, Recorder

if TYPE_CHECKING:
    from conftest import Medium

WRITTEN = {
    "store",
    "non-temporal store",
    "write",
    "synchronous write",
    "sync",
    "sync of the directory",
}


def written(events: list[Event]) -> Counter[str]:
    """Count what changes the medium, or waits for it; not the stores into private pages."""
    return Counter(event.kind for event in events if event.kind in WRITTEN)


def closed_pool(medium: Medium) -> Path:
    path = medium.folder / "a.pool"
    with pmemstore.open(path, "n", size="512K") as pool:
        pool.root["d"] = {"a": 1}
    return path


def killed_pool(medium: Medium, *, in_sync: bool = False) -> Path:
    """Make a file as it is after a kill: with frames behind its anchor.

    Args:
        medium: Where.
        in_sync: The last sync has not returned.
    """
    path, recorder = medium.folder / "b.pool", Recorder()
    with pmemstore.open(medium.folder / "a.pool", "n", size="512K", recorder=recorder) as pool:
        for number in range(5):
            pool.root[number] = number
        shutil.copyfile(pool.path, path)
        synced = [event for event in recorder.events() if event.kind == "write"][-1:]
    if in_sync and not medium.is_direct:
        (word,) = synced
        assert word.length == 8
        with path.open("r+b") as file:
            file.seek(word.offset)
            file.write(bytes(word.length))
    return path


def test_what_goes_wrong_while_shutdowns_are_counted_is_raised_and_leaves_nothing_open(
    medium: Medium, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = closed_pool(medium), len(os.listdir("/proc/self/fd"))

    def count(number: int) -> None:
        raise RuntimeError(number)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "_count", count)
        for _ in range(2):  # the lock is free again
            with pytest.raises(RuntimeError) as raised:
                pmemstore.open(path)
            assert raised.value.args == (path.stat().st_dev,)
    assert len(os.listdir("/proc/self/fd")) == before
    with pmemstore.open(path) as pool:
        assert pool.root == {"d": {"a": 1}}


def test_session_that_only_reads_writes_nothing(medium: Medium) -> None:
    path, recorder = closed_pool(medium), Recorder()
    before = path.read_bytes()
    with pmemstore.open(path, "w", recorder=recorder) as pool:
        assert pool.root == {"d": {"a": 1}}
        assert pool.check().problems == ()
        assert (pool.stats().syncs, pool.stats().fences, pool.stats().written_bytes) == (0, 0, 0)
    assert [event.kind for event in recorder.events()] == []
    assert path.read_bytes() == before


def test_first_unit_takes_the_pool_once(medium: Medium) -> None:
    """The name is made durable, both anchors are written; the second unit pays for itself."""
    path, recorder = closed_pool(medium), Recorder()
    with pmemstore.open(path, "w", recorder=recorder) as pool:
        pool.root["b"] = 2
        first, fences = written(recorder.events()), [pool.stats().fences]
        pool.root["b"] = 3
        fences.append(pool.stats().fences)
        second = written(recorder.events()) - first
        assert pool.root == {"d": {"a": 1}, "b": 3}
        assert pool.check().problems == ()
    assert first["sync of the directory"] == 1
    assert second["sync of the directory"] == 0
    assert fences == ([3, 4] if medium.is_direct else [0, 0])
    if not medium.is_direct:
        assert first == {"sync of the directory": 1, "write": 3, "sync": 1, "synchronous write": 2}
        assert second == {"synchronous write": 1, "write": 1}
    with pmemstore.open(path, "r") as pool:
        assert pool.root == {"d": {"a": 1}, "b": 3}


@pytest.mark.parametrize("in_sync", [False, True], ids=["acknowledged", "in the sync"])
def test_open_after_a_kill_syncs_what_may_not_be_durable(medium: Medium, in_sync: bool) -> None:
    """On files the last frame at most; the rest waits for a unit, or for close.

    On direct media all but the name, which waits everywhere.
    """
    path, recorder = killed_pool(medium, in_sync=in_sync), Recorder()
    with pmemstore.open(path, "w", recorder=recorder) as pool:
        opening = Counter(event.kind for event in recorder.events())
        assert pool.root == {number: number for number in range(5)}
        assert pool.check().problems == ()
        assert pool.stats().recovered_units > 0
        assert opening["sync of the directory"] == 0
        if not medium.is_direct:
            assert opening["synchronous write"] == pool.stats().syncs == in_sync
            assert opening["write"] == opening["sync"] == 0
    assert Counter(event.kind for event in recorder.events())["sync of the directory"] == 1
    with pmemstore.open(path, "w") as pool:
        assert pool.stats().recovered_units == 0
        assert pool.root == {number: number for number in range(5)}


@pytest.mark.parametrize("has_word", [True, False], ids=["synced word", "none"])
def test_reader_makes_durable_what_it_shows(medium: Medium, has_word: bool) -> None:
    """The last unit is shown whether or not a word says that its frame is durable, and is synced.

    Without the word it may be in the page cache alone (a kill in the sync), or acknowledged (a
    power cut takes the word, and not the frame).  On direct media its lines are flushed.
    """
    path, recorder = killed_pool(medium, in_sync=not has_word), Recorder()
    before, times = path.read_bytes(), path.stat()
    with pmemstore.open(path, "r", recorder=recorder) as pool:
        seen = Counter(event.kind for event in recorder.events())
        assert pool.root == {number: number for number in range(5)}
        assert pool.check().problems == ()
        if medium.is_direct:
            assert (seen["fence"], seen["sync"]) == (1, 0)
            assert seen["flush"] > 1
        else:
            assert (seen["fence"], seen["sync"], seen["flush"]) == (0, not has_word, 0)
    assert set(seen) <= {"flush", "fence", "sync"}
    assert path.read_bytes() == before
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (times.st_mtime_ns, times.st_ctime_ns)


def test_pool_that_was_moved_while_untaken_can_be_changed(medium: Medium) -> None:
    """Nobody's name is left to be made durable; the pool is the file, not its name."""
    path = closed_pool(medium)
    folder, other = medium.folder / "old", medium.folder / "new"
    folder.mkdir()
    path.rename(folder / path.name)
    with pmemstore.open(folder / path.name, "w") as pool:
        folder.rename(other)
        pool.root["b"] = 2
    with pmemstore.open(other / path.name, "r") as pool:
        assert pool.root == {"d": {"a": 1}, "b": 2}


def test_copy_that_is_not_written_back_keeps_its_contents_on_a_tier_that_is_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are written ahead as on DAX, but its pages are in the page cache alone."""
    with pmemstore.open(tmp_path / "a.pool", "n", size="512K") as pool:
        pool.root["d"] = {"a": 1}
    for tier in ("eadr", "flush"):
        path = tmp_path / f"{tier}.pool"
        shutil.copyfile(tmp_path / "a.pool", path)
        monkeypatch.setenv("PMEMSTORE_FORCE_TIER", tier)
        with pmemstore.open(path, "w") as pool:
            pool.root["b"] = 2
            assert pool.root == {"d": {"a": 1}, "b": 2}
            assert pool.check().problems == ()
