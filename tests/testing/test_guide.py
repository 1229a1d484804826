"""docs/testing.md says what is so: its programs run, and its reports are what is reported."""

from __future__ import annotations

import inspect
import re
import sys
import types
import unittest
from collections.abc import Callable
from pathlib import Path

import pytest

from pmemstore.testing import CrashViolation, crash_check, crash_check_mapping
from pmemstore.testing.__main__ import main

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
PROGRAMS = [i for i, (language, _) in enumerate(BLOCKS) if language == "python"]


def report_after(number: int) -> str | None:
    """The report that the guide shows for a program."""
    following = BLOCKS[number + 1] if number + 1 < len(BLOCKS) else ("", "")
    return following[1] if following[0] == "text" else None


def run(number: int, file: str) -> None:
    """Run a program as its file, and the tests in it."""
    module = types.ModuleType(f"guide_{number}")
    sys.modules[module.__name__] = module
    fixtures = {"crash_check": crash_check, "crash_check_mapping": crash_check_mapping}
    try:
        exec(compile(BLOCKS[number][1], file, "exec"), module.__dict__)
        for name, value in list(vars(module).items()):
            if name.startswith("test_"):
                function: Callable[..., object] = value
                function(**{key: fixtures[key] for key in inspect.signature(function).parameters})
            elif name.startswith("Test"):
                result = unittest.TestResult()
                unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
                assert result.testsRun == 1
                assert not [*result.errors, *result.failures]
    finally:
        del sys.modules[module.__name__]


def without_numbers(report: str) -> str:
    """Lines of Python and contents stay; numbers that another version may change do not."""
    report = re.sub(r"crash-[0-9a-f]+", "crash-N", report)
    report = re.sub(r"(event|frame|at|log\.c:|direct\.c:) ?\d+", r"\1 N", report)
    return report.strip()


@pytest.mark.usefixtures("written_back")
@pytest.mark.parametrize("number", PROGRAMS)
def test_programs_do_what_the_guide_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = report_after(number)
    if wanted is None:
        run(number, f"guide_{number}.py")
        return
    name = re.search(r"called by (\w+\.py):", wanted)
    assert name is not None
    with pytest.raises(CrashViolation) as found:
        run(number, name[1])
    assert without_numbers(str(found.value)) == without_numbers(wanted)


def test_options_and_commands_of_the_guide_exist(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(block for language, block in BLOCKS if language == "console")
    options = set(re.findall(r"--crash-(\w+)", text))
    assert options == {"images", "nested", "seconds", "seed", "keep"}
    for option in options:
        pytestconfig.getoption(f"crash_{option}")
    with pytest.raises(SystemExit):
        main(["--help"])
    usage = capsys.readouterr().out
    for option in re.findall(r"pmemstore\.testing .*? (--\w+)", text):
        assert option in usage


def test_budgets_of_the_guide_are_the_defaults() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(crash_check).parameters.items()
    }
    text = GUIDE.read_text()
    assert f"`images` ({defaults['images']})" in text
    assert f"`seconds` ({defaults['seconds']:.0f}, for each medium)" in text
    assert f"`{defaults['keep']}`" in text
