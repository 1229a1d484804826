"""The benchmarks run: small, and only to see that they do.  No time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_comparison_measures_every_contender(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--dir", str(tmp_path)]
    command += ["--items", "20", "--rounds", "1", "--json", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    medians = json.loads(result.read_text())["medians_us"]
    assert len(medians) == 4
    for by_name in medians.values():
        assert {"pmemstore", "sqlite3", "dict"} <= by_name.keys()
        assert all(value > 0 for value in by_name.values())
    assert "each commit" in done.stdout


def test_the_microbenchmarks_run(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--benchmark-disable",
        "--import-mode=importlib",
    ]
    command += ["-p", "no:cacheprovider", str(BENCHMARKS / "test_micro.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
