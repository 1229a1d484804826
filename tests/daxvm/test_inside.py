"""Runs the tests of ``inside/`` in a guest of each kind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from guest import Guest
from machines import MACHINES

pytestmark = pytest.mark.daxvm

SLICE = bool(os.environ.get("PMEMSTORE_DAXVM_SLICE"))
NAMES = ["nvdimm"] if SLICE else ["nvdimm", "inode", "others", "eadr", "no-clwb", "clflush"]


@pytest.mark.parametrize("name", NAMES)
def test_inside(name: str, daxvm_state: Path) -> None:
    pytest_program = str(Path(sys.executable).with_name("pytest"))
    command = [pytest_program, "-q", "-rP", "-p", "no:cacheprovider", "--tb=short"]
    command.append("tests/daxvm/inside")
    environment = {"PMEMSTORE_DAXVM_MACHINE": name}
    with Guest(MACHINES[name], daxvm_state / name, command, environment=environment) as vm:
        result = vm.wait()
    lines = result.stdout.splitlines()
    print(f"{name}: {result.seconds:.0f} s: {lines[-1]}")
    for line in lines:
        if line.startswith("measured"):
            print(line)
    assert result.code == 0, result.stdout + result.stderr
