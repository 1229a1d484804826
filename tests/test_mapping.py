"""The bottom layer: honest tiers, counted flushes and syncs, views that outlive nothing.

Every count is exact; no test looks at a clock.
"""

import gc
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmemstore import errors
from pmemstore._native import lib
from pmemstore.mapping import Mapping

SHM = Path("/dev/shm")
LINE = 64
PAGE = 4096


def is_tmpfs(folder: Path) -> bool:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return any(mount[1] == str(folder) and mount[2] == "tmpfs" for mount in mounts)


@pytest.fixture
def shm(tmp_path: Path) -> Iterator[Path]:
    """A folder on tmpfs: a direct medium, with real flush instructions."""
    if not is_tmpfs(SHM):
        pytest.skip("/dev/shm is no tmpfs here")
    folder = SHM / f"pmemstore-{os.getpid()}-{tmp_path.name}"
    folder.mkdir()
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are synced, whatever the machine's temporary folder is."""
    probe = tmp_path / "probe"
    probe.write_bytes(bytes(PAGE))
    with Mapping.open(probe) as mapping:
        tier = mapping.tier
    probe.unlink()
    if tier != "sync":
        monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "sync")
    return tmp_path


@pytest.fixture(params=["plain", "shm"])
def folder(request: pytest.FixtureRequest) -> Path:
    result = request.getfixturevalue(request.param)
    assert isinstance(result, Path)
    return result


# ---- open and create ----


def test_created_file_has_its_size_and_all_its_blocks(folder: Path) -> None:
    path = folder / "new"
    with Mapping.open(path, 1 << 20, create=True) as mapping:
        assert mapping.size == len(mapping) == 1 << 20
        assert mapping.path == str(path)
    stat = path.stat()
    assert stat.st_size == 1 << 20
    assert stat.st_blocks * 512 >= 1 << 20
    assert [file.name for file in folder.iterdir()] == ["new"]  # nothing temporary is left


def test_what_was_persisted_is_in_the_file(folder: Path) -> None:
    path = folder / "file"
    with Mapping.open(str(path), 2 * PAGE, create=True) as mapping:
        with mapping.view(PAGE - 3, 6) as view:
            view[:] = b"abcdef"
        mapping.persist(PAGE - 3, 6)
    assert path.read_bytes()[PAGE - 3 : PAGE + 3] == b"abcdef"
    with Mapping.open(path) as mapping, mapping.view() as view:
        assert view[PAGE - 3 : PAGE + 3] == b"abcdef"


def test_existing_file_is_opened_and_not_made_anew(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(b"x" * 100)
    with Mapping.open(path, 100, create=True) as mapping, mapping.view() as view:
        assert bytes(view) == b"x" * 100


@pytest.mark.parametrize(
    ("size", "numbers"), [(101, "101 bytes .* has 100 bytes"), (0, "size=0"), (-5, "size=-5")]
)
def test_impossible_sizes_are_refused_with_numbers(folder: Path, size: int, numbers: str) -> None:
    path = folder / "file"
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=numbers):
        Mapping.open(path, size)


def test_open_refuses_what_it_cannot_map(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Mapping.open(folder / "none", 4096)
    with pytest.raises(ValueError, match="needs a size"):
        Mapping.open(folder / "none", create=True)
    (folder / "empty").touch()
    with pytest.raises(ValueError, match="the file has 0 bytes"):
        Mapping.open(folder / "empty")
    with pytest.raises(ValueError, match="not a regular file"):
        Mapping.open("/dev/zero")
    with pytest.raises(TypeError, match=r"Mapping\.open"):
        Mapping()


def test_full_disk_is_met_at_creation_and_leaves_no_file(plain: Path) -> None:
    """ENOSPC comes as OSError when the space is written, never later as SIGBUS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            Mapping.open(plain / "big", 1 << 20, create=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert list(plain.iterdir()) == []


def test_failed_open_leaves_no_descriptor_open(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(b"x" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(ValueError, match="101 bytes"):
            Mapping.open(path, 101)
        with pytest.raises(errors.DurabilityError):
            Mapping.open(path, require="eadr")
        Mapping.open(path).close()
    assert len(os.listdir("/proc/self/fd")) == before


# ---- tiers ----


def test_tmpfs_is_volatile_and_says_so(shm: Path) -> None:
    with Mapping.open(shm / "file", PAGE, create=True) as mapping:
        assert mapping.tier == "volatile"
        assert "power failure" in mapping.reason
        assert mapping.flush_instruction in ("clwb", "clflushopt", "clflush", "dc-cvap", "dc-cvac")


def test_ordinary_file_says_why_it_needs_syncs(plain: Path) -> None:
    with Mapping.open(plain / "file", PAGE, create=True) as mapping:
        assert mapping.tier == "sync"
        assert "MAP_SYNC" in mapping.reason or "forced" in mapping.reason
        assert mapping.flush_instruction == "msync"


def test_weaker_tier_than_required_fails_closed(shm: Path) -> None:
    path = shm / "file"
    with pytest.raises(errors.DurabilityError, match=r"'volatile'.*'sync'.*tmpfs") as caught:
        Mapping.open(path, PAGE, create=True, require="sync")
    assert (caught.value.wanted, caught.value.found) == ("sync", "volatile")
    assert "doctor" in str(caught.value)
    Mapping.open(path, require="volatile").close()


TIERS = ("eadr", "flush", "dax-fsync", "sync", "volatile")


@pytest.mark.parametrize("have", TIERS)
@pytest.mark.parametrize("require", TIERS)
def test_require_names_the_weakest_acceptable_tier(
    shm: Path, monkeypatch: pytest.MonkeyPatch, have: str, require: str
) -> None:
    path = shm / "file"
    path.write_bytes(bytes(PAGE))
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", have)
    if TIERS.index(have) <= TIERS.index(require):
        with Mapping.open(path, require=require) as mapping:  # type: ignore[arg-type]
            assert mapping.tier == have
            assert f"forced by PMEMSTORE_FORCE_TIER={have}" in mapping.reason
            assert "tmpfs" in mapping.reason
    else:
        with pytest.raises(errors.DurabilityError):
            Mapping.open(path, require=require)  # type: ignore[arg-type]


def test_file_on_a_medium_with_dax_is_made_dax(tmp_path: Path) -> None:
    """Tested where the temporary folder has it (tests/daxvm)."""
    with Mapping.open(tmp_path / "file", PAGE, create=True) as mapping:
        if mapping.tier not in ("flush", "eadr"):
            pytest.skip(mapping.reason)
        answer = mapping.prepare_write()
        assert answer, answer.reason
        assert answer.populated
        mapping.persist(0, 8)
        assert (mapping.stats().syncs, mapping.stats().fences) == (1, 1)


def test_unknown_tiers_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_bytes(bytes(PAGE))
    with pytest.raises(ValueError, match="require='best'"):
        Mapping.open(folder / "file", require="best")  # type: ignore[arg-type]
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "best")
    with pytest.raises(ValueError, match="PMEMSTORE_FORCE_TIER"):
        Mapping.open(folder / "file")


# ---- flush, fence, persist: counted ----


@pytest.mark.parametrize(
    ("offset", "length", "lines"),
    [(0, 1, 1), (0, LINE, 1), (LINE - 1, 2, 2), (1, LINE, 2), (0, PAGE, 64), (100, 0, 0)],
)
def test_persist_costs_its_lines_and_one_fence(
    shm: Path, offset: int, length: int, lines: int
) -> None:
    with Mapping.open(shm / "file", 2 * PAGE, create=True) as mapping:
        mapping.persist(offset, length)
        stats = mapping.stats()
        assert (stats.flushed_lines, stats.fences, stats.syncs) == (lines, 1, 0)


def test_many_flushes_share_one_fence(shm: Path) -> None:
    with Mapping.open(shm / "file", 2 * PAGE, create=True) as mapping:
        for offset in range(0, PAGE, 2 * LINE):
            mapping.flush(offset, 8)
        assert mapping.stats().fences == 0
        mapping.fence()
        stats = mapping.stats()
        assert (stats.flushed_lines, stats.fences, stats.syncs) == (32, 1, 0)


def test_eadr_needs_the_fence_alone(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "eadr")
    with Mapping.open(shm / "file", PAGE, create=True) as mapping:
        mapping.persist(0, PAGE)
        stats = mapping.stats()
        assert (stats.flushed_lines, stats.fences, stats.syncs) == (0, 1, 0)
        assert mapping.flush_instruction == "none"


def test_persist_on_an_ordinary_file_is_one_sync(plain: Path) -> None:
    with Mapping.open(plain / "file", 2 * PAGE, create=True) as mapping:
        mapping.persist(0, 1)
        mapping.persist(PAGE - 1, 2)
        mapping.persist(5, 0)
        stats = mapping.stats()
        assert (stats.flushed_lines, stats.fences, stats.syncs) == (0, 0, 2)


def test_flush_and_fence_are_durable_on_an_ordinary_file_too(plain: Path) -> None:
    """flush + fence that did nothing there would be silent loss for code made for DAX."""
    with Mapping.open(plain / "file", 8 * PAGE, create=True) as mapping:
        mapping.fence()
        assert mapping.stats().syncs == 0
        mapping.flush(0, 1)
        mapping.flush(5 * PAGE, 1)
        assert mapping.stats().syncs == 0
        mapping.fence()
        assert mapping.stats().syncs == 1
        mapping.fence()
        assert mapping.stats().syncs == 1  # nothing was flushed in between


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 1), (0, PAGE + 1), (PAGE, 1), (PAGE + 1, 0), (5, -1), (1 << 70, 1)]
)
def test_range_outside_is_a_value_error_with_numbers(
    folder: Path, offset: int, length: int
) -> None:
    with Mapping.open(folder / "file", PAGE, create=True) as mapping:
        for method in (mapping.persist, mapping.flush, mapping.view, mapping.prepare_write):
            with pytest.raises(ValueError, match=rf"offset {offset}, length {length}.* {PAGE} "):
                method(offset, length)
        assert mapping.stats().syncs == 0


def test_core_checks_ranges_by_itself(folder: Path) -> None:
    with Mapping.open(folder / "file", PAGE, create=True) as mapping:
        for call in (lib.pms_mapping_persist, lib.pms_mapping_flush):
            assert call(mapping._raw, (1 << 64) - 1, 2) == lib.PMS_E_INVAL
            assert call(mapping._raw, PAGE, 1) == lib.PMS_E_INVAL
            assert call(mapping._raw, 1, (1 << 64) - 1) == lib.PMS_E_INVAL


# ---- prepare ----


def test_prepared_range_is_written_and_keeps_its_contents(plain: Path) -> None:
    path = plain / "sparse"
    path.write_bytes(b"head")
    os.truncate(path, 64 * PAGE)
    with Mapping.open(path) as mapping:
        with mapping.view(7 * PAGE, 4) as view:
            view[:] = b"page"
        answer = mapping.prepare_write(0, 32 * PAGE)
        assert answer.tier == mapping.tier
        assert answer.synced
        with mapping.view() as view:
            assert (bytes(view[:4]), bytes(view[7 * PAGE :][:4])) == (b"head", b"page")
        if "unknown" in answer.before:
            assert not answer
            assert "FIEMAP" in answer.reason
            return
        assert answer.granted, answer.reason
        assert answer.allocated
        assert "hole" in answer.before
        assert answer.after == frozenset()
    assert path.stat().st_blocks * 512 >= 32 * PAGE
    assert path.stat().st_size == 64 * PAGE


def test_prepared_tmpfs_is_populated_and_called_volatile(shm: Path) -> None:
    with Mapping.open(shm / "file", 16 * PAGE, create=True) as mapping:
        answer = mapping.prepare_write()
        assert answer
        assert answer.populated
        assert answer.tier == "volatile"
        assert "volatile" in answer.reason


def test_prepare_refuses_in_words(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(bytes(4 * PAGE))
    with Mapping.open(path, readonly=True) as mapping:
        answer = mapping.prepare_write()
        assert not answer
        assert "reading alone" in answer.reason
    with Mapping.open(path) as mapping:
        os.truncate(path, PAGE)
        answer = mapping.prepare_write()
        assert not answer
        assert "truncated" in answer.reason
    with Mapping.open(path) as mapping, pytest.raises(ValueError, match="range outside"):
        mapping.prepare_write(0, 0)


# ---- views and closing ----


def test_close_is_refused_while_a_view_is_in_use(folder: Path) -> None:
    mapping = Mapping.open(folder / "file", PAGE, create=True)
    view = mapping.view(10, 20)
    part = view[5:]
    with pytest.raises(BufferError, match="release"):
        mapping.close()
    view.release()
    with pytest.raises(BufferError):
        mapping.close()
    assert not mapping.closed
    part[:1] = b"x"
    mapping.persist()
    del part
    mapping.close()
    mapping.close()
    assert mapping.closed


def test_closed_mapping_refuses_every_use(folder: Path) -> None:
    mapping = Mapping.open(folder / "file", PAGE, create=True)
    mapping.close()
    uses = [
        mapping.persist,
        mapping.flush,
        mapping.fence,
        mapping.view,
        mapping.prepare_write,
        mapping.check,
        mapping.stats,
        mapping.__enter__,
        lambda: mapping.tier,
    ]
    for use in uses:
        with pytest.raises(errors.PoolClosedError, match="is closed"):
            use()
    with pytest.raises(ValueError, match="is closed"):
        mapping.persist(0, 1)
    assert "closed" in repr(mapping)


def test_view_keeps_the_memory_of_a_forgotten_mapping(folder: Path) -> None:
    mapping = Mapping.open(folder / "file", PAGE, create=True)
    view = mapping.view()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del mapping
    view[:3] = b"abc"
    assert bytes(view[:4]) == b"abc\0"


def test_forgotten_mapping_frees_memory_and_descriptor(folder: Path) -> None:
    (folder / "file").write_bytes(bytes(PAGE))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.warns(ResourceWarning, match="unclosed"):
        Mapping.open(folder / "file")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert str(folder / "file") not in Path("/proc/self/maps").read_text()


def test_error_in_the_block_is_not_hidden_by_its_own_views(folder: Path) -> None:
    kept: list[memoryview] = []

    def fail() -> None:
        with Mapping.open(folder / "file", PAGE, create=True) as mapping:
            kept.append(mapping.view())
            raise KeyError("mine")

    with pytest.warns(ResourceWarning, match="unclosed"), pytest.raises(KeyError, match="mine"):
        fail()
    kept.clear()
    gc.collect()


def test_readonly_mapping_cannot_be_written(folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(b"abc")
    path.chmod(0o400)
    with Mapping.open(path, readonly=True) as mapping:
        assert mapping.readonly
        with mapping.view() as view:
            assert bytes(view) == b"abc"
            with pytest.raises(TypeError):
                view[0] = 1
        with pytest.raises(errors.TransactionError, match="flag 'r'"):
            mapping.persist()
    with pytest.raises(ValueError, match="exclude"):
        Mapping.open(path, create=True, readonly=True)


def test_close_waits_for_the_calls_of_other_threads(folder: Path) -> None:
    """Unmapping under a running flush would be a segmentation fault."""
    mapping = Mapping.open(folder / "file", 64 * PAGE, create=True)
    start = threading.Barrier(3)

    def work() -> None:
        start.wait()
        try:
            while True:
                mapping.persist()
        except errors.PoolClosedError:
            pass

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    start.wait()
    mapping.persist()
    mapping.close()
    for thread in threads:
        thread.join()


# ---- what others do to the file ----


def test_truncation_is_a_media_error_and_not_a_signal(folder: Path) -> None:
    path = folder / "file"
    with Mapping.open(path, 16 * PAGE, create=True) as mapping:
        with mapping.view() as view:
            view[8 * PAGE] = 1
            mapping.persist()
            os.truncate(path, PAGE)
            with pytest.raises(errors.MediaError, match="truncated") as caught:
                mapping.persist(8 * PAGE, 1)
            assert caught.value.path == str(path)
            assert caught.value.offset is not None
            assert PAGE <= caught.value.offset <= 8 * PAGE
            view[9 * PAGE] = 7  # goes nowhere, and does not kill
            assert view[8 * PAGE] == 0
        os.truncate(path, 16 * PAGE)
        for use in (mapping.persist, mapping.fence, mapping.check):
            with pytest.raises(errors.MediaError):
                use()
    with Mapping.open(path) as mapping:
        mapping.persist()


def test_truncation_is_noticed_where_nothing_is_flushed(
    shm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On eADR no flush instruction meets the missing page."""
    monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "eadr")
    path = shm / "file"
    with Mapping.open(path, 16 * PAGE, create=True) as mapping:
        os.truncate(path, 5 * PAGE)
        mapping.persist(0, 5 * PAGE)
        with pytest.raises(errors.MediaError):
            mapping.persist(4 * PAGE + 7, PAGE)


def test_access_beyond_a_truncated_end_is_noticed_at_the_next_call(folder: Path) -> None:
    path = folder / "file"
    with Mapping.open(path, 16 * PAGE, create=True) as mapping:
        os.truncate(path, 0)
        with mapping.view() as view:
            assert bytes(view) == bytes(16 * PAGE)
        with pytest.raises(errors.MediaError):
            mapping.fence()


def test_check_sees_a_truncation_that_no_access_met(folder: Path) -> None:
    path = folder / "file"
    with Mapping.open(path, 16 * PAGE, create=True) as mapping:
        mapping.check()
        os.truncate(path, 16 * PAGE - 1)
        with pytest.raises(errors.MediaError):
            mapping.check()


def test_faulthandler_enabled_before_or_after_does_not_get_in_the_way(tmp_path: Path) -> None:
    program = """
import faulthandler, os, sys
from pmemstore import errors
from pmemstore.mapping import Mapping
before, path = sys.argv[1] == "before", sys.argv[2]
if before:
    faulthandler.enable()
with Mapping.open(path, 65536, create=True) as mapping:
    if not before:
        faulthandler.enable()
        Mapping.open(path).close()
    os.truncate(path, 0)
    with mapping.view() as view:
        assert view[5000] == 0
    try:
        mapping.check()
    except errors.MediaError:
        print("noticed")
"""
    for when in ("before", "after"):
        done = subprocess.run(
            [sys.executable, "-c", program, when, str(tmp_path / when)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,  # not the source tree
        )
        assert (done.returncode, done.stdout) == (0, "noticed\n"), done.stderr


def child_of_fork(mapping: Mapping, results: "multiprocessing.SimpleQueue[str]") -> None:
    try:
        mapping.persist()
    except errors.PoolClosedError as error:
        results.put(str(error))
    mapping.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_of_a_fork_cannot_use_the_mapping(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    with Mapping.open(folder / "file", PAGE, create=True) as mapping:
        process = context.Process(target=child_of_fork, args=(mapping, results))
        process.start()
        process.join()
        assert process.exitcode == 0
        assert "inherited by fork" in results.get()
        mapping.persist()
        mapping.check()
