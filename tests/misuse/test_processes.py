"""Two processes, fork, and what an ending interpreter leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import PoolBusyError, PoolClosedError

if TYPE_CHECKING:
    from conftest import Medium, Opener


def python(code: str, *arguments: object, status: int = 0) -> str:
    """Run a program in another interpreter; return what it printed."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-X",
            "faulthandler",
            "-c",
            textwrap.dedent(code),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def in_child(function: object) -> int:
    """Run a function in a forked child; return its exit status: 0 for True, 1 for False."""
    assert callable(function)
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if function() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


OPEN = """
    import sys, pmemstore
    try:
        pmemstore.open(sys.argv[1], sys.argv[2]).close()
        print("opened")
    except pmemstore.PoolBusyError as error:
        print(error.pid, error)
"""


@pytest.mark.parametrize("flag", ["r", "w", "c", "n"])
def test_second_process_is_told_who_has_the_pool(
    flag: str, medium: Medium, open_pool: Opener
) -> None:
    """PoolBusyError names the pid; when the holder has closed, the pool opens."""
    path = medium.folder / "t.pool"
    pool = open_pool(path)
    pool.root["a"] = 1
    pid, text = python(OPEN, path, flag).split(" ", 1)
    assert int(pid) == os.getpid()
    assert f"process {os.getpid()}" in text
    assert "Nothing was changed" in text
    assert pool.root["a"] == 1
    pool.close()
    assert python(OPEN, path, flag).strip() == "opened"


def test_second_open_in_the_same_process_is_busy_too(medium: Medium, open_pool: Opener) -> None:
    """It would be two views of one file that do not know each other."""
    pool = open_pool(medium.folder / "t.pool")
    with pytest.raises(PoolBusyError, match="this process") as caught:
        pmemstore.open(medium.folder / "t.pool")
    assert caught.value.pid == os.getpid()
    pool.root["a"] = 1


def test_readers_share_a_pool_and_keep_writers_out(medium: Medium, open_pool: Opener) -> None:
    """Any number of processes may open with r; a writer has to wait for all of them."""
    path = medium.folder / "t.pool"
    open_pool(path).close()
    reader = open_pool(path, "r")
    assert python(OPEN, path, "r").strip() == "opened"
    assert "in use by process" in python(OPEN, path, "w")
    reader.close()
    assert python(OPEN, path, "w").strip() == "opened"


def test_child_of_fork_cannot_touch_the_pool(medium: Medium, open_pool: Opener) -> None:
    """Every use is PoolClosedError that says why; the parent goes on and keeps its lock."""
    path = medium.folder / "t.pool"
    pool = open_pool(path)
    pool.root["d"] = {"a": [1]}
    stored = pool.root["d"]
    inner = stored["a"]

    def child() -> bool:
        refused = 0
        uses = (
            lambda: pool.root["d"],
            lambda: stored["a"],
            lambda: stored.__setitem__("b", 1),
            lambda: inner.append(2),
            lambda: list(stored),
            lambda: pool.transaction().__enter__(),
            pool.stats,
            pool.check,
            pool.checkpoint,
        )
        for use in uses:
            try:
                use()
            except PoolClosedError as error:
                refused += "fork" in str(error) or "parent" in str(error)
        pool.close()  # closes nothing of the parent's
        return refused == len(uses)

    assert in_child(child) == 0
    assert "in use by process" in python(OPEN, path, "w")
    stored["b"] = 2
    inner.append(3)
    with pool.transaction():
        pool.root["after"] = "fork"
    assert pool.root == {"d": {"a": [1, 3], "b": 2}, "after": "fork"}


def test_child_that_exits_normally_does_not_end_the_parents_pool(
    medium: Medium, open_pool: Opener
) -> None:
    """The child's interpreter runs its exit handlers: pool and open transaction stay whole."""
    path = medium.folder / "t.pool"
    text = python(
        """
        import os, sys, pmemstore
        pool = pmemstore.open(sys.argv[1])
        with pool.transaction():
            pool.root["a"] = 1
            child = os.fork()
            if child == 0:
                sys.exit(0)  # leaves the block, and closes what is open
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (0, 1)
            pool.root["b"] = 2
        try:
            pmemstore.open(sys.argv[1])
        except pmemstore.PoolBusyError as error:
            print(error.pid == os.getpid())
        print(pool.root, pool.check().ok)
        pool.close()
        """,
        path,
    )
    assert text.splitlines() == ["True", "{'a': 1, 'b': 2} True"]


def test_child_may_open_the_pool_when_the_parent_has_closed_it(
    medium: Medium, open_pool: Opener
) -> None:
    """The lock goes with the parent's close, although the child has inherited much."""
    path = medium.folder / "t.pool"
    pool = open_pool(path)
    pool.root["a"] = 1
    go = os.pipe()
    child = os.fork()
    if child == 0:
        status = 2
        try:
            os.read(go[0], 1)
            with pmemstore.open(path) as own:
                own.root["child"] = own.root["a"] + 1
            status = 0
        finally:
            os._exit(status)
    pool.close()
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(go[0])
    os.close(go[1])
    assert open_pool(path).root == {"a": 1, "child": 2}


def test_block_that_is_open_at_interpreter_exit_rolls_back(
    medium: Medium, open_pool: Opener
) -> None:
    """Whether the interpreter ends by itself, by sys.exit, or by an exception."""
    path = medium.folder / "t.pool"
    for end in ("pass", "sys.exit(0)", "raise SystemExit(0)", "os._exit(0)"):
        python(
            f"""
            import os, sys, pmemstore
            pool = pmemstore.open(sys.argv[1])
            pool.root["committed"] = {end!r}
            block = pool.transaction()
            block.__enter__()
            pool.root["uncommitted"] = [1, 2, 3]
            del pool.root["committed"]
            {end}
            """,
            path,
        )
        pool = open_pool(path)
        assert pool.root == {"committed": end}
        assert pool.check().leaked_bytes == 0
        pool.close()


def killed_pool(medium: Medium, *, log_size: str = "64K") -> Path:
    """Give a pool whose writer was killed inside a transaction, after some commits."""
    path = medium.folder / "killed.pool"
    python(
        """
        import os, signal, sys, pmemstore
        pool = pmemstore.open(sys.argv[1], "n", size="1M", log_size=sys.argv[2])
        pool.root["d"] = {i: str(i) for i in range(500)}
        pool.root["n"] = 0
        for i in range(1, 51):
            with pool.transaction():
                pool.root["n"] = i
                pool.root["d"][i] = [i, {"nested": "x" * 100}]
        block = pool.transaction()
        block.__enter__()
        pool.root["n"] = -1
        for i in range(500):
            pool.root["d"][i] = "y" * 500
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
        log_size,
        status=-signal.SIGKILL,
    )
    return path


def test_reading_after_a_kill_writes_nothing(medium: Medium, open_pool: Opener) -> None:
    """Flag r shows the committed state and leaves every byte and the time of change alone."""
    path = killed_pool(medium)
    before, changed = path.read_bytes(), path.stat().st_mtime_ns
    for _ in range(2):
        pool = open_pool(path, "r")
        assert pool.root["n"] == 50
        assert pool.root["d"][50] == [50, {"nested": "x" * 100}]
        assert pool.root["d"][51] == "51"
        assert len(pool.root["d"]) == 500
        assert pool.stats().recovered_units > 0
        assert pool.check().ok
        with pytest.raises(pmemstore.TransactionError, match=r"'r'|\"r\"|read"):
            pool.root["n"] = 51
        pool.close()
        assert path.read_bytes() == before
        assert path.stat().st_mtime_ns == changed
    pool = open_pool(path, "w")
    assert pool.root["n"] == 50
    assert pool.check().leaked_bytes == 0
    pool.close()


def test_reading_needs_no_right_to_write(medium: Medium, open_pool: Opener) -> None:
    """A killed pool on a file without write permission opens with r."""
    path = killed_pool(medium)
    path.chmod(0o444)
    pool = open_pool(path, "r")
    assert pool.root["n"] == 50
    pool.close()
