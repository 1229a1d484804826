"""Pools: open and close, flags, locks, processes, and what a closed or damaged pool does."""
# ruff: noqa: PT031 - what is collected is a block

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import (
    DurabilityError,
    Pool,
    PoolBusyError,
    PoolClosedError,
    PoolCorruptError,
    PoolFormatError,
    TransactionError,
)
from pmemstore.cli import main
from pmemstore.opening import lock_holder
from pmemstore.sizes import parse_size

if TYPE_CHECKING:
    from conftest import Medium, Opener


def python(code: str, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run code in another interpreter."""
    # -P: the installed package, not the source tree in the current directory.
    command = [sys.executable, "-P", "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


# ---- flags, paths, arguments


def test_flags_are_those_of_dbm(medium: Medium, open_pool: Opener) -> None:
    """r and w need the file, c makes it if it is missing, n always makes a new one."""
    path = medium.folder / "a.pool"
    for flag in "rw":
        with pytest.raises(FileNotFoundError) as caught:
            open_pool(path, flag)
        assert caught.value.filename == str(path)
    assert list(medium.folder.iterdir()) == []
    with pmemstore.open(path) as pool:
        pool.root["a"] = 1
    for flag in "rwc":
        with pmemstore.open(path, flag) as pool:
            assert pool.root == {"a": 1}
            assert pool.flag == flag
    with pmemstore.open(path, "n") as pool:
        assert pool.root == {}
    with pytest.raises(ValueError, match="flag"):
        pmemstore.open(path, "x")
    assert [p.name for p in medium.folder.iterdir()] == ["a.pool"]


def test_paths_may_be_str_bytes_or_pathlike(medium: Medium) -> None:
    """The attribute path is a str in each case."""
    path = medium.folder / "ä \udcff.pool"
    for form in (path, str(path), os.fsencode(path)):
        with pmemstore.open(form) as pool:
            assert pool.path == str(path)
    with pytest.raises(ValueError, match="null byte"):
        pmemstore.open("a\0b")
    with pytest.raises(OSError, match="directory"):
        pmemstore.open(medium.folder)
    with pytest.raises(FileNotFoundError):
        pmemstore.open(medium.folder / "missing" / "a.pool")


def test_sizes_may_be_text(medium: Medium, open_pool: Opener) -> None:
    """Numbers, and text with K, M, G, T."""
    assert parse_size("64M", "size") == parse_size(" 64 MiB ", "size") == 64 << 20
    assert parse_size(4096, "size") == parse_size("4k", "size") == 4096
    for bad in ("", "M", "-1M", "1.5G", "1X", 0, -5, 2**63):
        with pytest.raises(ValueError, match="size"):
            parse_size(bad, "size")
    with pytest.raises(TypeError, match="size"):
        parse_size(1.5, "size")  # type: ignore[arg-type]
    pool = open_pool(medium.folder / "a.pool", size="3M", limit="10M", log_size="256K")
    stats = pool.stats()
    assert stats.size >= 3 << 20
    assert stats.limit == 10 << 20
    assert pool.log_size == 256 << 10
    assert (medium.folder / "a.pool").stat().st_size == stats.size


def test_limit_is_remembered_until_it_is_changed(medium: Medium) -> None:
    """The growth limit is a property of the pool, and may be raised later."""
    path = medium.folder / "a.pool"
    with pmemstore.open(path, size="1M", limit="2M") as pool:
        pass
    with pmemstore.open(path) as pool:
        assert pool.stats().limit == 2 << 20
        with pytest.raises(pmemstore.PoolFullError):
            pool.grow("3M")
        with pytest.raises(pmemstore.PoolFullError):
            pool.root["a"] = b"x" * (3 << 20)
    with pmemstore.open(path, limit="8M") as pool:
        pool.root["a"] = b"x" * (3 << 20)
    with pmemstore.open(path) as pool:
        assert pool.stats().limit == 8 << 20


# ---- durability


def test_durability_names_tier_and_reason(pool: Pool, medium: Medium) -> None:
    """In words, and frozen."""
    assert pool.durability.tier == ("volatile" if medium.is_direct else "sync")
    assert len(pool.durability.reason) > 10
    assert str(pool.durability).startswith(pool.durability.tier)


def test_require_fails_closed(medium: Medium) -> None:
    """A medium weaker than demanded is an error, and leaves no file."""
    path = medium.folder / "a.pool"
    weakest = "volatile" if medium.is_direct else "sync"
    for there in (False, True):
        with pytest.raises(DurabilityError, match=r"a\.pool has tier") as caught:
            pmemstore.open(path, require="flush")
        error = caught.value
        assert (error.path, error.wanted, error.found) == (str(path), "flush", weakest)
        assert error.reason is not None
        assert error.reason in str(error)
        assert "forced" in error.reason or "tmpfs is memory" in error.reason
        assert f"python -m pmemstore doctor {path}" in str(error)
        assert path.exists() == there
        pmemstore.open(path).close()


def test_require_accepts_what_there_is(medium: Medium) -> None:
    path = medium.folder / "a.pool"
    weakest = "volatile" if medium.is_direct else "sync"
    with pmemstore.open(path, require=weakest):
        pass
    with pytest.raises(DurabilityError):
        pmemstore.open(path, require="eadr")
    with pytest.raises(ValueError, match="require"):
        pmemstore.open(path, require="best")


# ---- closing


def test_closed_pool_and_its_proxies_raise_poolclosederror(medium: Medium) -> None:
    """Everything but close, closed, path and repr."""
    pool = pmemstore.open(medium.folder / "a.pool")
    pool.root.update(d={"a": 1}, l=[1])
    root, d, items = pool.root, pool.root["d"], pool.root["l"]
    iterator = iter(root)
    with pool:
        pass
    assert pool.closed
    pool.close()
    for use in (
        lambda: pool.root,
        lambda: pool.stats(),
        lambda: pool.heap(),
        lambda: pool.check(),
        lambda: pool.durability,
        lambda: pool.uuid,
        lambda: pool.checkpoint(),
        lambda: pool.collect(),
        lambda: pool.grow("9M"),
        lambda: pool.transaction().__enter__(),
        lambda: pool.__enter__(),
        lambda: root["d"],
        lambda: len(d),
        lambda: d.update(b=2),
        lambda: d.__setitem__("b", {}),
        lambda: list(d.items()),
        lambda: "a" in d,
        lambda: items.append(1),
        lambda: items[0],
        lambda: items[:],
        lambda: list(items),
        lambda: items.sort(),
        lambda: next(iterator),
    ):
        with pytest.raises(PoolClosedError, match="closed"):
            use()
    assert "closed" in repr(pool)
    assert "closed" in repr(d)
    assert "closed" in repr(items)


def test_closing_rolls_back_an_open_transaction(medium: Medium, open_pool: Opener) -> None:
    """What was not committed is not there, and leaving the block says so."""
    pool = pmemstore.open(medium.folder / "a.pool")
    pool.root["a"] = 1
    with pytest.raises(PoolClosedError), pool.transaction():  # noqa: PT012 - as users would
        pool.root["a"] = 2
        pool.close()
    assert open_pool(medium.folder / "a.pool").root == {"a": 1}


def test_forgotten_pool_warns_and_closes(medium: Medium) -> None:
    """A Pool that is collected unclosed gives a ResourceWarning, and unlocks."""
    path = medium.folder / "a.pool"
    pool = pmemstore.open(path)
    pool.root["a"] = 1
    with pytest.warns(ResourceWarning, match=r"unclosed pool .*a\.pool"):
        del pool
        gc.collect()
    with pmemstore.open(path) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool.root == {"a": 1}


def test_proxy_keeps_its_pool_open(medium: Medium) -> None:
    """A pool is not collected while a proxy of it is in use."""
    items = pmemstore.open(medium.folder / "a.pool").root.setdefault("l", [])
    gc.collect()
    items.append(1)
    assert items == [1]
    items._pool.close()


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise KeyError('no')"])
def test_interpreter_exit_closes_the_pool_and_rolls_back(ending: str, medium: Medium) -> None:
    """An open transaction at exit leaves nothing; what was committed is there."""
    done = python(
        f"""
        import sys, pmemstore
        pool = pmemstore.open(sys.argv[1])
        pool.root["committed"] = 1
        tx = pool.transaction()
        tx.__enter__()
        pool.root["open"] = 1
        {ending}
        """,
        medium.folder / "a.pool",
    )
    assert done.returncode == {"": 0, "sys.exit(3)": 3}.get(ending, 1), done.stderr
    with pmemstore.open(medium.folder / "a.pool", "r") as pool:
        assert pool.root == {"committed": 1}
        assert pool.stats().recovered_units == 0


def test_killed_process_loses_nothing_that_was_committed(medium: Medium) -> None:
    """SIGKILL inside a transaction: the next open rolls it back."""
    done = python(
        """
        import os, sys, pmemstore
        pool = pmemstore.open(sys.argv[1])
        pool.root["d"] = {i: i for i in range(100)}
        with pool.transaction():
            for i in range(1000):
                pool.root["d"][i] = "x" * i
            os.kill(os.getpid(), 9)
        """,
        medium.folder / "a.pool",
    )
    assert done.returncode == -signal.SIGKILL
    with pmemstore.open(medium.folder / "a.pool") as pool:
        assert pool.root == {"d": {i: i for i in range(100)}}
        assert pool.check().problems == ()


# ---- one pool, many processes


def test_second_process_gets_poolbusyerror_with_the_pid(pool: Pool) -> None:
    """It names the process that has the pool."""
    done = python(
        """
        import sys, pmemstore
        for flag in "rwcn":
            try:
                pmemstore.open(sys.argv[1], flag)
            except pmemstore.PoolBusyError as error:
                print(error.pid, error)
        """,
        pool.path,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert all(line.startswith(f"{os.getpid()} ") for line in lines)
    assert all(f"in use by process {os.getpid()}" in line for line in lines)


def test_second_pool_of_the_same_process_is_busy_too(pool: Pool) -> None:
    """And the message says that it is this process."""
    with pytest.raises(PoolBusyError, match="this process") as caught:
        pmemstore.open(pool.path)
    assert caught.value.pid == os.getpid()
    pool.root["still"] = "usable"
    assert lock_holder(pool.path) == os.getpid()
    pool.close()
    assert lock_holder(pool.path) is None


def test_many_readers_share_a_pool(medium: Medium, open_pool: Opener) -> None:
    """Flag r takes a shared lock: readers together, but no writer beside them."""
    path = medium.folder / "a.pool"
    with pmemstore.open(path) as pool:
        pool.root["a"] = 1
    one, two = open_pool(path, "r"), open_pool(path, "r")
    assert one.root == two.root == {"a": 1}
    with pytest.raises(PoolBusyError):
        pmemstore.open(path, "w")


def test_reader_writes_nothing_at_all(medium: Medium, open_pool: Opener) -> None:
    """Not a byte, not the times; every change is a TransactionError."""
    path = medium.folder / "a.pool"
    with pmemstore.open(path, size="1M") as pool:
        pool.root.update(d={"a": 1}, l=[1, 2])
    before, times = path.read_bytes(), path.stat()
    pool = open_pool(path, "r")
    assert pool.root == {"d": {"a": 1}, "l": [1, 2]}
    for change in (
        lambda: pool.transaction().__enter__(),
        lambda: pool.root.__setitem__("a", 1),
        lambda: pool.root["d"].clear(),
        lambda: pool.root.pop("d"),
        lambda: pool.root["l"].append({}),
        lambda: pool.root["l"].sort(),
        lambda: pool.checkpoint(),
        lambda: pool.collect(),
        lambda: pool.grow("2M"),
    ):
        with pytest.raises(TransactionError, match=r"flag 'r'|read-only"):
            change()
    assert pool.check().ok
    pool.close()
    assert path.read_bytes() == before
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (times.st_mtime_ns, times.st_ctime_ns)
    assert [p.name for p in medium.folder.iterdir()] == ["a.pool"]


def test_reader_recovers_into_its_own_memory(medium: Medium, open_pool: Opener) -> None:
    """After a crash a reader sees the committed state and leaves the file as it is."""
    path = medium.folder / "a.pool"
    python(
        """
        import os, sys, pmemstore
        pool = pmemstore.open(sys.argv[1], size="1M", log_size="64K")
        pool.root["d"] = {i: i for i in range(100)}
        tx = pool.transaction().__enter__()
        for i in range(2000):
            pool.root["d"][i % 500] = i
        os._exit(0)
        """,
        path,
    )
    before = path.read_bytes()
    pool = open_pool(path, "r")
    assert pool.root == {"d": {i: i for i in range(100)}}
    assert pool.check().ok
    pool.close()
    assert path.read_bytes() == before
    assert open_pool(path).root == {"d": {i: i for i in range(100)}}


def test_child_of_fork_is_refused(pool: Pool) -> None:
    """The child gets PoolClosedError from everything; the parent goes on, and keeps its lock."""
    pool.root["a"] = {"b": 1}
    a = pool.root["a"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        outcome = []
        for use in (
            lambda: a["b"],
            lambda: a.update(b=2),
            lambda: pool.root,
            lambda: len(pool.root),
            lambda: pool.transaction().__enter__(),
            lambda: pool.stats(),
        ):
            try:
                use()
                outcome.append("allowed")
            except PoolClosedError:
                outcome.append("refused")
            except BaseException as error:
                outcome.append(repr(error))
        pool.close()
        os.write(writer, json.dumps(outcome).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as result:
        outcome = json.loads(result.read())
    os.waitpid(child, 0)
    assert outcome.count("refused") >= len(outcome) - 1
    assert set(outcome) <= {"refused", "allowed"}
    assert a == {"b": 1}
    a["c"] = 2
    with pytest.raises(PoolBusyError):
        pmemstore.open(pool.path)


# ---- files that are no pools, or were


def test_foreign_file_is_a_named_error(medium: Medium) -> None:
    """Text, zeroes, an empty file: PoolFormatError, and the file is as before."""
    path = medium.folder / "a.pool"
    for content in (b"", b"hello\n", b"\0" * (1 << 20), os.urandom(1 << 20)):
        path.write_bytes(content)
        for flag in "rwc":
            with pytest.raises(PoolFormatError, match=r"a\.pool"):
                pmemstore.open(path, flag)
        assert path.read_bytes() == content


def test_truncated_pool_is_a_named_error(medium: Medium) -> None:
    """A pool that lost its end is not opened."""
    path = medium.folder / "a.pool"
    with pmemstore.open(path, size="2M") as pool:
        pool.root["a"] = b"x" * 500_000
    whole = path.read_bytes()
    for length in (len(whole) - 4096, len(whole) // 2, 70_000, 20_000, 4096, 100):
        path.write_bytes(whole[:length])
        with pytest.raises((PoolCorruptError, PoolFormatError)):
            pmemstore.open(path)


def test_damaged_superblock_is_repaired_by_its_twin(medium: Medium) -> None:
    """One superblock may be lost; both lost is an error."""
    path = medium.folder / "a.pool"
    with pmemstore.open(path, size="1M") as pool:
        pool.root["a"] = 1
    whole = bytearray(path.read_bytes())
    whole[100:200] = os.urandom(100)
    path.write_bytes(whole)
    with pmemstore.open(path) as pool:
        assert pool.root == {"a": 1}
    whole[4096 + 100 : 4096 + 200] = os.urandom(100)
    path.write_bytes(whole)
    with pytest.raises((PoolCorruptError, PoolFormatError)):
        pmemstore.open(path)


def test_copied_and_moved_pools_open(medium: Medium) -> None:
    """A pool is one file; its name is not part of it."""
    path, copy = medium.folder / "a.pool", medium.folder / "b.pool"
    with pmemstore.open(path) as pool:
        pool.root["a"] = {"b": [1]}
        uuid = pool.uuid
    shutil.copy(path, copy)
    path.rename(medium.folder / "c.pool")
    for moved in (copy, medium.folder / "c.pool"):
        with pmemstore.open(moved) as pool:
            assert pool.root == {"a": {"b": [1]}}
            assert pool.uuid == uuid


def test_repr_and_pickle(pool: Pool) -> None:
    """A Pool names its file and tier, and is not pickled."""
    import pickle

    assert repr(pool) == f"<Pool {pool.path!r}, {pool.durability.tier}>"
    with pytest.raises(TypeError, match="path"):
        pickle.dumps(pool)


def test_upkeep_is_refused_inside_a_transaction(pool: Pool) -> None:
    """checkpoint and collect are units of their own."""
    with pool.transaction():
        pool.root["a"] = 1
        with pytest.raises(TransactionError):
            pool.checkpoint()
        with pytest.raises(TransactionError):
            pool.collect()
        pool.root["b"] = 2
    assert pool.root == {"a": 1, "b": 2}


# ---- the command line


@pytest.fixture
def filled(medium: Medium) -> Path:
    path = medium.folder / "shop.pool"
    with pmemstore.open(path, size="1M") as pool:
        pool.root["orders"] = {i: {"total": i * 1.5, "tags": ["a", ("b", 1)]} for i in range(30)}
        pool.root["note"] = "x" * 1000
    return path


@pytest.mark.parametrize("command", ["info", "check", "stats", "dump"])
def test_commands_print_text_and_json(
    command: str, filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command succeeds, writes nothing, and speaks JSON on request."""
    before = filled.read_bytes()
    assert main([command, str(filled)]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 3
    assert main([command, str(filled), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert filled.read_bytes() == before


def test_dump_is_bounded(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--depth and --items say how much."""
    assert main(["dump", str(filled), "--depth", "1"]) == 0
    text = capsys.readouterr().out
    assert "'orders': Dict of 30" in text
    assert "total" not in text
    assert max(map(len, text.splitlines())) < 130
    assert main(["dump", str(filled), "--items", "2"]) == 0
    assert "... and 28 more" in capsys.readouterr().out


def test_commands_name_what_is_wrong(
    filled: Path, medium: Medium, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2 and one line, no traceback."""
    assert main(["check", str(medium.folder / "missing.pool")]) == 2
    assert "missing.pool" in capsys.readouterr().err
    (medium.folder / "text").write_text("hello")
    assert main(["info", str(medium.folder / "text")]) == 2
    assert "not a pool" in capsys.readouterr().err


def test_module_runs_as_a_program(filled: Path) -> None:
    """python -m pmemstore check PATH."""
    command = [sys.executable, "-m", "pmemstore", "check", str(filled)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=filled.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok")
