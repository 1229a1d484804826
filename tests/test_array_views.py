"""Views of arrays: pointers into the mapping, which may outlive what they were taken from."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pmemstore
from pmemstore import Array, Pool

if TYPE_CHECKING:
    from conftest import Medium


def kept(pool: Pool, value: Any) -> Array[Any]:
    pool.root["a"] = value
    found = pool.root["a"]
    assert type(found) is Array
    return found


def test_view_is_the_memory_of_the_pool(pool: Pool) -> None:
    """No copy: what is committed is seen through a view that was taken before."""
    a = kept(pool, np.arange(1000))
    view, mem = np.asarray(a), memoryview(a)
    assert np.shares_memory(view, np.asarray(a))
    assert view.ctypes.data % 64 == 0
    assert mem.readonly
    assert (mem.format, mem.shape, mem.contiguous) == ("l", (1000,), True)
    a[3] = -3
    assert (view[3], mem[3]) == (-3, -3)
    with pool.transaction():
        a[4] = -4
        assert a[4] == -4
        assert view[4] == 4
    assert view[4] == -4


def test_views_are_read_only(pool: Pool) -> None:
    a = kept(pool, np.arange(10.0))
    view = np.asarray(a)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    with pytest.raises(TypeError, match="read-only"):
        memoryview(a)[0] = 1.0
    with pytest.raises(TypeError):
        np.add(a, 1, out=a)
    with Path("/dev/zero").open("rb") as zero, pytest.raises((BufferError, TypeError)):
        zero.readinto(a)  # type: ignore[arg-type] # it is not writable: that is the test
    assert (np.add(a, 1) + a)[1] == 3.0
    assert np.sum(a) == 45


def test_transaction_that_changed_an_array_gets_copies(pool: Pool) -> None:
    a, b = kept(pool, np.arange(10)), pool.root.setdefault("b", np.arange(5))
    with pool.transaction():
        assert np.shares_memory(np.asarray(a), np.asarray(a))
        a[0] = 100
        with pytest.raises(BufferError, match="commit first"):
            memoryview(a)
        found = np.asarray(a)
        assert found[0] == 100
        assert found.flags.owndata or found.base is not None
        assert not found.flags.writeable
        with pytest.raises((BufferError, ValueError)):
            np.array(a, copy=False)
        assert memoryview(b)[1] == 1
        b.append(7)
        with pytest.raises(BufferError):
            memoryview(b)
        pool.root["c"] = np.arange(3)
        c = pool.root["c"]
        assert np.asarray(c).tolist() == [0, 1, 2]
        with pytest.raises(BufferError):
            memoryview(c)
        del c
    assert memoryview(a)[0] == 100
    assert memoryview(b)[5] == 7
    assert memoryview(pool.root["c"])[2] == 2


def test_shape_stays_while_there_are_views(pool: Pool) -> None:
    a = kept(pool, np.arange(10))
    view = np.asarray(a)
    for change in (
        lambda: a.append(1), lambda: a.append([1][0:1][0]), lambda: a.extend([1]),
        lambda: a.resize(3), lambda: a.resize(10_000), lambda: a.append(np.int64(1)),
    ):  # fmt: skip
        with pytest.raises(BufferError, match="views"):
            change()
    a[0] = 5
    with a.write() as new:
        new[1] = 6
    assert view[:2].tolist() == [5, 6]
    del view
    a.append(1)
    with memoryview(a) as mem:
        part = mem[2:]
        with pytest.raises(BufferError):
            a.append(2)
        part.release()
    a.append(2)
    assert len(a) == 12


def test_numpy_protocols(pool: Pool) -> None:
    a = kept(pool, np.arange(4))
    assert np.array(a).flags.writeable
    assert np.asarray(a, "f4").dtype == "f4"
    assert a.__array__("f8", copy=True).flags.writeable
    with pytest.raises(ValueError, match="without a copy"):
        a.__array__("f8", copy=False)
    assert np.shares_memory(a.__array__(copy=False), np.asarray(a))
    assert np.array_equal(np.concatenate([a, a]), [0, 1, 2, 3, 0, 1, 2, 3])
    assert (a == np.arange(4)).all()
    assert (np.arange(4) == a).all()
    assert (a != np.arange(4)).sum() == 0


@pytest.mark.parametrize("ending", ["close", "drop", "with"])
def test_view_outlives_its_pool(ending: str, medium: Medium) -> None:
    """It can be read, and the file is free for others."""
    path = medium.folder / "a.pool"
    pool = pmemstore.open(path, "n", size="2M")
    a = kept(pool, np.arange(50_000))
    view, mem = np.asarray(a), memoryview(a)[10:20]
    if ending == "close":
        pool.close()
    elif ending == "with":
        with pool:
            pass
    else:
        pool.close()
        del pool, a
        gc.collect()
    assert view.sum() == sum(range(50_000))
    assert mem.tolist() == list(range(10, 20))
    with pytest.raises((ValueError, TypeError)):
        view[0] = 1
    with pmemstore.open(path) as again:
        again.root["a"][0] = 7
        again.root["b"] = "x" * 1000
        assert view[1:].sum() == sum(range(50_000))
    with pmemstore.open(path) as again:
        assert again.check().ok
    mem.release()
    assert view[-1] == 49_999
    del view
    gc.collect()


def mappings(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path))


def test_mapping_goes_with_the_last_view(medium: Medium) -> None:
    path = medium.folder / "a.pool"
    pool = pmemstore.open(path, "n", size="2M")
    a = kept(pool, np.arange(100))
    views = [np.asarray(a), memoryview(a), np.asarray(a)[5:]]
    descriptors = len(os.listdir("/proc/self/fd"))
    pool.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors - 1
    while views:
        assert mappings(path) > 0
        views.pop()
    gc.collect()
    assert mappings(path) == 0
    assert repr(a) == "<Array of a closed pool>"
    with pytest.raises(pmemstore.PoolClosedError):
        a[0]
    with pytest.raises(pmemstore.PoolClosedError):
        memoryview(a)


def test_view_keeps_neither_lock_nor_lease(medium: Medium) -> None:
    """Whoever opens the file after the close waits for nothing."""
    path = medium.folder / "a.pool"
    try:
        pool = pmemstore.open(path, "n", size="2M", protect="lease")
    except pmemstore.DurabilityError as error:
        pytest.skip(str(error))
    view = np.asarray(kept(pool, np.arange(100)))
    pool.close()
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # BlockingIOError, if a lease is broken
    with pmemstore.open(path) as again:
        assert again.root["a"][99] == view[99]
    del view
    pmemstore.open(path, protect="lease").close()


def test_view_of_an_array_that_was_deleted(pool: Pool) -> None:
    """The view keeps the object, as a proxy does; afterwards its memory comes back."""
    a = kept(pool, np.arange(50_000))
    used = pool.stats().used_bytes
    view = np.asarray(a)
    del pool.root["a"], a
    pool.collect()
    for i in range(50):
        pool.root[i] = b"x" * 3000
    assert view.sum() == sum(range(50_000))
    del view
    for i in range(50):
        del pool.root[i]
    pool.collect()
    assert pool.stats().used_bytes < used - 390_000


TRUNCATED = """
import os, sys
import numpy as np, pmemstore
pool = pmemstore.open(sys.argv[1], "n", size="2M")
pool.root["a"] = np.ones(100_000)
pool.checkpoint()
view = np.asarray(pool.root["a"])
os.truncate(sys.argv[1], 4096)
total = view.sum()
assert total <= 100_000, total
try:
    pool.root["a"][99_999]
except pmemstore.MediaError:
    print("MediaError")
"""


def test_truncated_file_under_a_view_kills_nobody(medium: Medium) -> None:
    """The view reads zeroes; the pool says MediaError."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", TRUNCATED, medium.folder / "t.pool"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "MediaError"), done.stderr


def test_view_in_a_child_of_fork_reads_zeroes(pool: Pool) -> None:
    view = np.asarray(kept(pool, np.ones(1000)))
    child = os.fork()
    if child == 0:
        os._exit(int(view.sum()) + 17)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
    assert view.sum() == 1000
