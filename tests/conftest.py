"""Pools on the media that a test machine has; every pool is checked when its test is over."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pmemstore
from pmemstore.host import sysfs

TMPFS = Path("/dev/shm")
HOSTS = Path(__file__).parent / "hosts"


@dataclass(frozen=True)
class Medium:
    """Where pools of a test lie.

    Attributes:
        name: ``direct``: tmpfs, stores in place.  ``fast-file``: tmpfs, treated as an ordinary
            file, so that a sync costs nothing.  ``file``: an ordinary file.
        folder: A directory for the test alone.
    """

    name: str
    folder: Path

    @property
    def is_direct(self) -> bool:
        return self.name == "direct"


def has_tmpfs() -> bool:
    try:
        mounts = Path("/proc/mounts").read_text()
    except OSError:
        return False
    kinds = {line.split()[1]: line.split()[2] for line in mounts.splitlines()}
    return kinds.get(str(TMPFS)) == "tmpfs" and os.access(TMPFS, os.W_OK)


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    """Give a directory on tmpfs, or skip the test."""
    if not has_tmpfs():
        pytest.skip("no tmpfs at /dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="pmemstore-", dir=TMPFS))
    yield folder
    shutil.rmtree(folder)


def make_medium(name: str, request: pytest.FixtureRequest) -> Medium:
    monkeypatch = request.getfixturevalue("monkeypatch")
    tier = {"direct": "volatile", "fast-file": "sync", "file": "sync"}[name]
    folder = request.getfixturevalue("tmp_path" if name == "file" or not has_tmpfs() else "tmpfs")
    if name == "direct" and has_tmpfs():
        monkeypatch.delenv("PMEMSTORE_FORCE_TIER", raising=False)
    else:
        monkeypatch.setenv("PMEMSTORE_FORCE_TIER", tier)
    return Medium(name, folder)


@pytest.fixture(params=["direct", "fast-file"])
def medium(request: pytest.FixtureRequest) -> Medium:
    """Both commit protocols; tests that need real syncs ask for ``file_medium``."""
    return make_medium(request.param, request)


@pytest.fixture
def direct(request: pytest.FixtureRequest) -> Medium:
    return make_medium("direct", request)


@pytest.fixture
def written_back(direct: Medium, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each line stored and flushed: some CPUs write whole lines past their caches."""
    with pmemstore.Mapping.open(direct.folder / "flush", 1 << 20, create=True) as mapping:
        monkeypatch.setenv("PMEMSTORE_FLUSH", mapping.flush_instruction)


@pytest.fixture
def file_medium(request: pytest.FixtureRequest) -> Medium:
    return make_medium("file", request)


Opener = Callable[..., pmemstore.Pool]


@pytest.fixture
def open_pool() -> Iterator[Opener]:
    """Open pools that are checked and closed at the end of the test."""
    opened: list[pmemstore.Pool] = []

    def opener(*args: object, **options: object) -> pmemstore.Pool:
        pool = pmemstore.open(*args, **options)  # type: ignore[arg-type] # handed on as they came
        opened.append(pool)
        return pool

    yield opener
    for pool in opened:
        if not pool.closed:
            assert pool.check().problems == ()
            pool.close()


@pytest.fixture
def pool(medium: Medium, open_pool: Opener) -> pmemstore.Pool:
    """Give a new pool, on each medium."""
    return open_pool(medium.folder / "test.pool", "n", size="2M")


@pytest.fixture
def direct_pool(direct: Medium, open_pool: Opener) -> pmemstore.Pool:
    return open_pool(direct.folder / "test.pool", "n", size="2M")


@pytest.fixture
def file_pool(file_medium: Medium, open_pool: Opener) -> pmemstore.Pool:
    return open_pool(file_medium.folder / "test.pool", "n", size="2M")


@dataclass(frozen=True)
class Host:
    """A recorded sysfs, in the place of /sys.

    Attributes:
        root: Its directory.
        number: Of the block device that was recorded.
    """

    root: Path
    number: int

    def find(self, pattern: str) -> Path:
        (found,) = self.root.glob(pattern)
        return found

    def write(self, pattern: str, name: str, text: str) -> None:
        """Put an attribute into the one directory that the pattern finds."""
        path = self.find(pattern) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def also(self, number: int) -> None:
        """Give the device another number: that of a file of the test."""
        blocks = self.root / "dev" / "block"
        here = blocks / f"{os.major(self.number)}:{os.minor(self.number)}"
        there = blocks / f"{os.major(number)}:{os.minor(number)}"
        there.unlink(missing_ok=True)
        there.symlink_to(here.resolve())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Host]:
    """Make a recorded sysfs of tests/hosts/ the one that the library reads."""

    def make(name: str) -> Host:
        recorded = json.loads((HOSTS / f"{name}.sysfs.json").read_text())
        root = tmp_path / "sys"
        for file, text in recorded["files"].items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(text)
        for link, target in recorded["links"].items():
            (root / link).parent.mkdir(parents=True, exist_ok=True)
            (root / link).symlink_to(root / target)
        monkeypatch.setattr(sysfs, "ROOT", root)
        monkeypatch.setattr(sysfs, "PLAIN_MAJORS", frozenset())  # Host.also: tmpfs has one here
        major, _, minor = recorded["number"].partition(":")
        return Host(root, os.makedev(int(major), int(minor)))

    return make
