"""Fixtures for tests that run in the guest: on each of its file systems.

    python tests/daxvm/run.py --machine NAME -- .venv/bin/pytest tests/daxvm/inside

A test that takes ``place`` runs once for each file system; with
``@pytest.mark.places("ext4-dax", "xfs-dax")`` on these alone, if the machine has them, and with
``@pytest.mark.machines("eadr")`` on that machine alone.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import MACHINES, Machine
from places import MACHINE, Place

# Outside a guest there is nothing to test here.
collect_ignore_glob = [] if MACHINE else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "places(*names): on these file systems alone")
    config.addinivalue_line("markers", "machines(*names): on these machines alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" not in metafunc.fixturenames or MACHINE is None:
        return
    names = [disk.name for disk in MACHINES[MACHINE].disks] + ["tmpfs", "overlay"]
    for mark in metafunc.definition.iter_markers("places"):
        names = [name for name in names if name in mark.args]
    metafunc.parametrize("place", names, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def fits(item: pytest.Item) -> bool:
        if (callspec := getattr(item, "callspec", None)) and "NOTSET" in str(callspec.id):
            return False  # the machine has none of its places
        return all(MACHINE in mark.args for mark in item.iter_markers("machines"))

    config.hook.pytest_deselected(items=[item for item in items if not fits(item)])
    items[:] = [item for item in items if fits(item)]


@pytest.fixture
def machine() -> Machine:
    assert MACHINE is not None
    return MACHINES[MACHINE]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    name: str = request.param
    if name == "overlay":
        yield Place(name, tmp_path)
        return
    with tempfile.TemporaryDirectory(dir=f"/mnt/{name}") as folder:
        yield Place(name, Path(folder))
