"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "",
    ".pool",
    ".tx",
    ".values.encode",
    ".values.keys",
    ".values.types",
    ".containers.dict",
    ".containers.list",
    ".mapping",
    ".testing.check",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_module(name: str, request: pytest.FixtureRequest) -> None:
    """What a docstring shows is what happens."""
    module = importlib.import_module(f"pmemstore{name}")
    finder = doctest.DocTestFinder(recurse=True)
    fixtures = {"getfixture": request.getfixturevalue}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    folder = request.getfixturevalue("tmp_path")
    for test in finder.find(module, module.__name__, extraglobs=fixtures):
        runner.run(test)
        for left in folder.glob("doc.pool"):
            left.unlink()
    assert runner.summarize(verbose=False).failed == 0
    assert name == ".mapping" or runner.tries > 0
