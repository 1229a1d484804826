"""The types that users see: right uses pass, wrong ones are errors, and the stubs are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ERROR = re.compile(r"^(?P<file>.+?):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]$")


def run(tmp_path: Path, *command: str) -> str:
    """Run a module outside the source tree, so that the installed package is what it sees."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def errors(tmp_path: Path, name: str) -> set[tuple[int, str]]:
    """Lines and codes of what mypy --strict says about a file."""
    output = run(tmp_path, "mypy", "--strict", "--config-file=", "--no-pretty", str(HERE / name))
    assert "mypy" not in output.splitlines()[0], output
    found = [ERROR.match(line) for line in output.splitlines()]
    return {(int(match["line"]), match["code"]) for match in found if match}


def test_right_uses_pass(tmp_path: Path) -> None:
    """Generics, overloads and records, as a user would annotate them."""
    assert errors(tmp_path, "good.py") == set()


def test_wrong_uses_are_errors(tmp_path: Path) -> None:
    """Each line that says so, for the reason that it says, and no other line."""
    lines = (HERE / "bad.py").read_text().splitlines()
    expected = {
        (number, match[1])
        for number, line in enumerate(lines, 1)
        if (match := re.search(r"# E: ([\w-]+)$", line))
    }
    assert len(expected) > 20
    assert errors(tmp_path, "bad.py") == expected


@pytest.mark.parametrize("module", ["pmemstore._native._slots"])
def test_stubs_are_what_the_module_has(module: str, tmp_path: Path) -> None:
    """Every class, method and argument of the C types, compared with the module itself."""
    output = run(
        tmp_path,
        "mypy.stubtest",
        module,
        "--concise",
        f"--allowlist={HERE / 'stubtest.txt'}",
        "--ignore-unused-allowlist",
    )
    assert "Success" in output or output == "", output
