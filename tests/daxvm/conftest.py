"""Lets the tests of this directory, and those inside the guest, import its modules."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def daxvm_state() -> Iterator[Path]:
    """Give a directory for a guest's file systems; in memory, for a guest's syncs are many."""
    from guest import require_programs

    require_programs()
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="pmemstore-daxvm-", dir=memory if memory.is_dir() else None)
    )
    yield folder
    shutil.rmtree(folder)
