"""``open(..., protect=)``: other tasks kept off the file, and nothing left behind.

Real DAX: tests/daxvm/inside/test_acts.py.  Flags take CAP_LINUX_IMMUTABLE; without it those tests
are skipped.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import DurabilityError, PoolBusyError

if TYPE_CHECKING:
    from conftest import Medium, Opener

SPEC = importlib.util.spec_from_file_location(
    "pmemstore_test_acts", Path(__file__).parents[1] / "daxvm/acts.py"
)
assert SPEC is not None
assert SPEC.loader is not None
acts = importlib.util.module_from_spec(SPEC)
sys.modules.setdefault(SPEC.name, acts)  # where dataclasses look
SPEC.loader.exec_module(acts)

IMMUTABLE, APPEND_ONLY = 0x10, 0x20
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
#: Linux has no name for these in Python 3.11.
F_GETLEASE = 1025


def flags_of(path: Path) -> int:
    """Those of the two that the file has."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        word = array.array("i", [0])
        fcntl.ioctl(fd, GETFLAGS, word)
        return word[0] & (IMMUTABLE | APPEND_ONLY)
    finally:
        os.close(fd)


def set_flags(path: Path, flags: int) -> None:
    """As chattr does."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        word = array.array("i", [0])
        fcntl.ioctl(fd, GETFLAGS, word)
        word[0] = word[0] & ~(IMMUTABLE | APPEND_ONLY) | flags
        fcntl.ioctl(fd, SETFLAGS, word)
    finally:
        os.close(fd)


@pytest.fixture(params=["direct", "file", "as-dax"])
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a directory: tmpfs; an ordinary file system; one that is treated as if it had DAX."""
    medium: Medium = request.getfixturevalue(
        "direct" if request.param == "direct" else "file_medium"
    )
    if request.param == "as-dax":
        monkeypatch.setenv("PMEMSTORE_FORCE_TIER", "flush")
    return medium.folder


@pytest.fixture
def flags(folder: Path) -> Iterator[Path]:
    """Give a directory whose files can have flags, or skip; in the end they have none."""
    probe = folder / "probe"
    probe.touch()
    try:
        set_flags(probe, APPEND_ONLY)
        set_flags(probe, 0)
    except OSError as error:
        pytest.skip(f"no flags here: {error}")
    yield folder
    for path in folder.iterdir():
        set_flags(path, 0)


def run(script: str, *before: str) -> subprocess.CompletedProcess[str]:
    """Run a program where no source tree is in the way of the installed package."""
    command = [*before, sys.executable, "-P", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def killed(path: Path, protect: str = "flags") -> None:
    """Leave what a process leaves that was killed while it had a protected pool open."""
    script = (
        "import os, pmemstore, signal, sys\n"
        f"pool = pmemstore.open({str(path)!r}, 'n', size='4M', protect={protect!r})\n"
        "pool.root['a'] = 1\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run(script)
    assert done.returncode == -signal.SIGKILL, done.stderr


def without_the_capability(script: str) -> subprocess.CompletedProcess[str]:
    """Run it as root that may not change flags, or skip."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv to drop a capability with")
    return run(script, setpriv, "--bounding-set", "-linux_immutable")


# ---- flags ----

REFUSED = ("truncate", "truncate and back", "punch", "zero", "collapse", "insert", "append")


@pytest.mark.parametrize("act", [*REFUSED, "rename", "rename over", "unlink", "chmod", "write"])
def test_acts_on_a_protected_file_are_refused(act: str, flags: Path) -> None:
    """By the kernel, and the pool notices nothing of it."""
    path = flags / "t.pool"
    pool = acts.make(path, protect="flags")
    assert pool.protection == "append-only"
    with pytest.raises(PermissionError):
        acts.ACTS[act](path)
    pool.root["after"] = 1
    result = pool.check()
    assert result.ok
    assert result.notes == ()
    pool.close()
    assert flags_of(path) == 0


def test_descriptors_from_before_cannot_cut_a_protected_file(flags: Path) -> None:
    path = flags / "t.pool"
    pmemstore.open(path, "n", size="4M").close()
    with path.open("r+b") as old, pmemstore.open(path, "w", protect="flags") as pool:
        with pytest.raises(PermissionError):
            os.ftruncate(old.fileno(), 0)
        with pytest.raises(PermissionError):
            acts.fallocate(Path(f"/proc/self/fd/{old.fileno()}"), acts.PUNCH | acts.KEEP_SIZE)
        pool.root["a"] = 1


def test_protected_pool_grows_is_prepared_and_checkpoints(flags: Path) -> None:
    """What the flag forbids to everybody is done with the flag off, and then it is there again."""
    path = flags / "t.pool"
    with pmemstore.open(path, "n", size="1M", protect="flags") as pool:
        pool.root["large"] = bytes(5 << 20)
        assert flags_of(path) == APPEND_ONLY
        pool.grow("16M")
        assert flags_of(path) == APPEND_ONLY
        assert pool.prepare_write().allocated
        pool.checkpoint()
        pool.root["small"] = 1
        assert flags_of(path) == APPEND_ONLY
        assert pool.check().notes == ()
    assert flags_of(path) == 0
    with pmemstore.open(path, "w") as pool:
        assert pool.protection is None
        assert (len(pool.root["large"]), pool.root["small"]) == (5 << 20, 1)


def test_flag_that_a_kill_left_is_taken_off_by_the_next_open(flags: Path) -> None:
    path = flags / "t.pool"
    killed(path)
    assert flags_of(path) == APPEND_ONLY
    with pmemstore.open(path, "r") as reader:  # changes nothing
        assert reader.root["a"] == 1
    assert flags_of(path) == APPEND_ONLY
    with pmemstore.open(path, "w") as pool:
        assert flags_of(path) == 0
        assert pool.root["a"] == 1
        assert pool.check().ok


def test_killed_pool_is_replaced_and_protected_again(flags: Path) -> None:
    path = flags / "t.pool"
    killed(path)
    with pmemstore.open(path, "w", protect="flags") as pool:
        assert flags_of(path) == APPEND_ONLY
        assert pool.root["a"] == 1
    killed(path)
    with pmemstore.open(path, "n", size="1M") as pool:
        assert len(pool.root) == 0


def test_flag_that_somebody_else_set_stays(flags: Path) -> None:
    """Also after the pool was protected once, and a copy of a protected one."""
    path, copy = flags / "t.pool", flags / "copy.pool"
    with pmemstore.open(path, "n", size="1M", protect="flags"):
        shutil.copy(path, copy)
    killed(flags / "k.pool")
    set_flags(flags / "k.pool", 0)  # by hand; the mark is there
    pmemstore.open(flags / "k.pool", "w").close()
    for file in (path, copy, flags / "k.pool"):
        for flag in (APPEND_ONLY, IMMUTABLE):
            set_flags(file, flag)
            with pytest.raises(PermissionError, match="not by a pool's doing"):
                pmemstore.open(file, "w")
            assert flags_of(file) == flag
            set_flags(file, 0)
        pmemstore.open(file, "w").close()


def test_file_that_is_no_pool_keeps_its_flag(flags: Path) -> None:
    path = flags / "notes"
    path.write_bytes(bytes(1 << 20))
    set_flags(path, APPEND_ONLY)
    for flag in "wcn":
        with pytest.raises(PermissionError):
            pmemstore.open(path, flag, size="1M")
    assert flags_of(path) == APPEND_ONLY
    assert sorted(p.name for p in flags.iterdir()) == ["notes", "probe"]


def test_protected_pool_is_busy_for_others(flags: Path) -> None:
    path = flags / "t.pool"
    with pmemstore.open(path, "n", size="1M", protect="flags"):
        for flag in "wrcn":
            with pytest.raises(PoolBusyError, match="this process"):
                pmemstore.open(path, flag)
        assert flags_of(path) == APPEND_ONLY


def test_flag_that_another_task_takes_off_is_noted(flags: Path) -> None:
    path = flags / "t.pool"
    with pmemstore.open(path, "n", size="1M", protect="flags") as pool:
        set_flags(path, 0)
        pool.root["a"] = 1
        assert "was taken off" in " ".join(pool.check().notes)


def test_truncated_protected_pool_gives_its_flag_back(flags: Path) -> None:
    """After a MediaError nothing is written any more, but the flag goes."""
    path = flags / "t.pool"
    pool = acts.make(path, protect="flags")
    set_flags(path, 0)
    os.truncate(path, acts.FREE)
    set_flags(path, APPEND_ONLY)
    with pytest.raises(pmemstore.MediaError, match="another task has truncated"):
        pool.check()
    pool.close()
    assert flags_of(path) == 0


def test_flags_without_the_capability_are_refused_and_leave_nothing(flags: Path) -> None:
    path = flags / "t.pool"
    script = f"import pmemstore; pmemstore.open({str(path)!r}, 'c', size='1M', protect='flags')"
    done = without_the_capability(script)
    assert "DurabilityError" in done.stderr
    assert "CAP_LINUX_IMMUTABLE (EPERM)" in done.stderr
    assert not list(flags.glob("t.pool*"))
    pmemstore.open(path, "n", size="1M").close()
    assert "CAP_LINUX_IMMUTABLE (EPERM)" in without_the_capability(script).stderr
    assert flags_of(path) == 0
    set_flags(path, APPEND_ONLY)
    with pytest.raises(PermissionError, match="not by a pool's doing"):  # no mark was left
        pmemstore.open(path, "w")


def test_auto_takes_what_there_is(flags: Path) -> None:
    path = flags / "t.pool"
    with pmemstore.open(path, "n", size="1M", protect="auto") as pool:
        assert pool.protection == "append-only"
    done = without_the_capability(
        f"import pmemstore; print(pmemstore.open({str(path)!r}, 'w', protect='auto').protection)"
    )
    assert done.stdout == "lease\n"


def test_flag_of_a_crash_without_the_capability_says_what_to_do(flags: Path) -> None:
    path = flags / "t.pool"
    killed(path)
    script = f"import pmemstore; pmemstore.open({str(path)!r}, 'w')"
    done = without_the_capability(script)
    assert "PermissionError" in done.stderr
    assert "until a crash (CAP_LINUX_IMMUTABLE, or chattr -ia)" in done.stderr


def test_privilege_dropped_while_open_is_told_and_loses_nothing(flags: Path) -> None:
    """The mapping of a longer file, and the end of the protection, take the capability again."""
    path = flags / "t.pool"
    script = f"""
import ctypes, pmemstore
pool = pmemstore.open({str(path)!r}, "n", size="1M", protect="flags")
pool.root["a"] = 1
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)()
libc = ctypes.CDLL(None)
assert libc.capget(header, data) == 0
data[0] &= ~(1 << 9)
assert libc.capset(header, data) == 0
try:
    pool.grow("4M")
except pmemstore.PoolFullError as error:
    print(error)
pool.root["b"] = 2
try:
    pool.close()
except PermissionError as error:
    print("close:", error)
print(pool.closed)
"""
    done = run(script)
    assert done.stdout.startswith("grow a file whose protecting flag cannot be lifted"), done
    assert "close: [Errno 1] changing the file's flags" in done.stdout
    assert done.stdout.endswith("True\n")
    with pmemstore.open(path, "w") as pool:
        assert (pool.root["a"], pool.root["b"]) == (1, 2)


# ---- lease ----


@pytest.fixture
def leases(folder: Path) -> Path:
    """Give a directory whose files can have leases, or skip."""
    with (folder / "probe").open("w") as file:
        try:
            fcntl.fcntl(file, 1024, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {error}")
    return folder


def waits(path: Path) -> subprocess.Popen[bytes]:
    """Open the file in another process, which says so and keeps it open until it may read."""
    script = "import sys; f = open(sys.argv[1], 'rb'); print('in', flush=True); sys.stdin.read()"
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def commit_until(pool: pmemstore.Pool, done: threading.Event) -> None:
    deadline = time.monotonic() + 20
    while not done.is_set() and time.monotonic() < deadline:
        pool.root["n"] = time.monotonic_ns()
        time.sleep(0.002)
    assert done.is_set()
    pool.root["n"] = 0


def test_opening_a_leased_file_waits_for_the_next_commit_and_is_noted(leases: Path) -> None:
    path = leases / "t.pool"
    signals: list[int] = []
    before = {s: signal.signal(s, lambda n, _: signals.append(n)) for s in (signal.SIGIO,)}
    try:
        with pmemstore.open(path, "n", size="4M", protect="lease") as pool:
            assert pool.protection == "lease"
            assert pool.check().notes == ()
            other = waits(path)
            assert other.stdin is not None
            assert other.stdout is not None
            let_in = threading.Event()
            stdout = other.stdout
            threading.Thread(target=lambda: (stdout.readline(), let_in.set())).start()
            assert not let_in.wait(0.5)
            commit_until(pool, let_in)
            assert "has opened the file" in " ".join(pool.check().notes)
            looks = pool.stats().looks
            for number in range(1, 11):
                pool.root["n"] = number
            assert pool.stats().looks >= looks + 10  # each commit looks as long as it is open
            other.stdin.close()
            other.wait()
            stdout.close()
            pool.root["n"] = 1
            with pytest.raises(BlockingIOError):  # the lease is there again
                os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            assert pool.health() is not None  # opens nothing that would wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert signals == []


def test_sigio_without_a_handler_ends_nothing(leases: Path) -> None:
    """Its default action would end the process; the kernel is told to signal nobody."""
    path = leases / "t.pool"
    script = (
        "import os, pmemstore\n"
        f"with pmemstore.open({str(path)!r}, 'n', size='1M', protect='lease') as pool:\n"
        f"    try: os.open({str(path)!r}, os.O_RDWR | os.O_NONBLOCK)\n"
        "    except BlockingIOError: print('waits')\n"
        "    pool.root['a'] = 1\n"
    )
    done = run(script)
    assert (done.returncode, done.stdout) == (0, "waits\n"), done.stderr


@pytest.mark.parametrize("act", ["truncate", "punch"])
def test_what_is_done_while_the_lease_is_given_up_is_told(act: str, leases: Path) -> None:
    path = leases / "t.pool"
    pool = acts.make(path, protect="lease")
    done = threading.Event()

    def hostile() -> None:
        acts.ACTS[act](path)
        done.set()

    threading.Thread(target=hostile).start()
    time.sleep(0.3)
    assert not done.is_set()
    with pytest.raises(pmemstore.MediaError, match="another task has"):
        commit_until(pool, done)
    with contextlib.suppress(pmemstore.MediaError):
        pool.close()


def test_leased_pool_is_busy_for_others_without_waiting(leases: Path) -> None:
    path = leases / "t.pool"
    with pmemstore.open(path, "n", size="1M", protect="lease") as pool:
        begun = time.monotonic()
        for flag in "wr":
            with pytest.raises(PoolBusyError, match="this process"):
                pmemstore.open(path, flag)
        assert time.monotonic() - begun < 5
        pool.root["a"] = 1


def test_lease_needs_to_be_the_only_one(leases: Path, open_pool: Opener) -> None:
    path = leases / "t.pool"
    pmemstore.open(path, "n", size="1M").close()
    with path.open("rb"), pytest.raises(DurabilityError, match="has the file open") as caught:
        pmemstore.open(path, "w", protect="lease")
    assert caught.value.errno is not None
    assert open_pool(path, "w", protect="lease").protection == "lease"


# ---- arguments ----


def test_arguments_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="protect must be"):
        pmemstore.open(tmp_path / "t.pool", protect="seal")
    with pytest.raises(ValueError, match="not for flag 'r'"):
        pmemstore.open(tmp_path / "t.pool", "r", protect="flags")


def test_nothing_is_protected_unless_asked_for(medium: Medium, open_pool: Opener) -> None:
    pool = open_pool(medium.folder / "t.pool", "n", size="1M")
    assert pool.protection is None
