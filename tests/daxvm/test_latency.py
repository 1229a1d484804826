"""Prepared pages take no fault and no surprise; the benchmark says what others cost."""

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
    pytest.mark.skipif(bool(os.environ.get("PMEMSTORE_DAXVM_SLICE")), reason="not in the slice"),
]

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "fault_latency.py"
#: What a busy host adds now and then; a fault takes five times as much at least.
NOISE_US = 1.0


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    result = tmp_path_factory.mktemp("latency") / "result.json"
    command = [sys.executable, str(BENCHMARK), "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found: list[dict[str, Any]] = json.loads(result.read_text())["rows"]
    assert {row["folder"] for row in found} == {"ext4-dax", "xfs-dax"}
    assert {row["dirty_files"] > 0 for row in found} == {False, True}
    return found


def test_prepared_stores_take_no_faults_and_about_one_time(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["range"] == "prepared":
            assert row["faults"] == 0, row
            assert row["p99_us"] <= 2 * row["p50_us"] + NOISE_US, row


def test_other_stores_take_a_fault_each(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["range"] != "prepared":
            assert row["faults"] == row["stores"], row
