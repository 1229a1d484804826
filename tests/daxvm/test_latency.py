"""The benchmark of first stores runs in a guest, and counts their faults.

What a prepared store may take is asserted in ``inside/test_faults.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.daxvm,
    pytest.mark.skipif(
        bool(os.environ.get("PMEMSTORE_DAXVM_SLICE")), reason="the slice has inside/test_faults.py"
    ),
]

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "fault_latency.py"
#: Less than the benchmark's own, which take a minute.
DIRTY_FILES = 400


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    result = tmp_path_factory.mktemp("latency") / "result.json"
    command = [sys.executable, str(BENCHMARK), "--json", str(result)]
    command += ["--dirty-files", str(DIRTY_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found: list[dict[str, Any]] = json.loads(result.read_text())["rows"]
    assert {row["folder"] for row in found} == {"ext4-dax", "xfs-dax"}
    assert {row["dirty_files"] > 0 for row in found} == {False, True}
    return found


def test_prepared_stores_take_no_faults(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["range"] == "prepared":
            assert row["faults"] == 0, row


def test_other_stores_take_a_fault_each(rows: list[dict[str, Any]]) -> None:
    """The counter is the process's: now and then a page of its own is among them."""
    for row in rows:
        if row["range"] != "prepared":
            assert row["stores"] <= row["faults"] <= row["stores"] + 8, row
