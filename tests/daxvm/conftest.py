"""Lets the tests of this directory, and those inside the guest, import its modules.

And the writer of the tests that kill a process, which works in the guests too.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "crash")]

#: For the images of all machines, which are sparse.
ROOM_BYTES = 2 << 30


@pytest.fixture(scope="module")
def daxvm_state() -> Iterator[Path]:
    """Give a directory for a guest's file systems; in memory, for a guest's syncs are many."""
    from guest import require_programs

    require_programs()
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and shutil.disk_usage(shm).free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="pmemstore-daxvm-", dir=shm if roomy else None))
    yield folder
    shutil.rmtree(folder)
