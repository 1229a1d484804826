"""The catalogue of mutants fits the sources: `make mutants` starts.  What it finds takes longer."""

import fnmatch
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "pmemstore/_native"


@pytest.fixture(scope="module")
def mutants() -> Iterator[ModuleType]:
    folder = str(ROOT / "tests/mutants")
    sys.path.insert(0, folder)
    yield importlib.import_module("run")
    sys.path.remove(folder)
    for name in ("run", "build", "sites"):
        sys.modules.pop(name, None)


def test_each_mutant_changes_what_is_there_once(mutants: ModuleType) -> None:
    for mutant in mutants.catalogue(NATIVE):
        assert not mutants.sites.problem(NATIVE, mutant)


def test_reasons_are_given_for_mutants_that_exist(mutants: ModuleType) -> None:
    names = [mutant.name for mutant in mutants.catalogue(NATIVE)]
    for table in mutants.load("equivalent.toml"):
        assert fnmatch.filter(names, table["name"]), table["name"]
    reasons = {"a:*": "of many", "b": "of one"}
    assert mutants.reason_of("a:c", reasons) == "of many"
    assert mutants.reason_of("b:c", reasons) is None


def test_calls_of_the_door_are_found_by_themselves(mutants: ModuleType, tmp_path: Path) -> None:
    source = (
        "static void settle(struct pms_medium *m)\n{\n    pms_fence(m); /* pms_fence(m) */\n}\n\n"
        "int novel(struct pms_medium *m)\n{\n    settle(m);\n    settle(m);\n"
        "    return pms_sync(m);\n}\n"
    )
    (tmp_path / "novel.c").write_text(f'#include "persist.h"\n{source}')
    found = {mutant.name: mutant for mutant in mutants.sites.left_out(tmp_path)}
    assert list(found) == [
        "novel:settle:pms_fence",
        "novel:novel:settle:fence",
        "novel:novel:settle:2:fence",
        "novel:novel:pms_sync",
    ]
    text = mutants.sites.edited(tmp_path, found["novel:novel:settle:2:fence"])["novel.c"]
    assert "    settle(m);\n    MUTED_VOID(MUTE_FENCE, settle(m));" in text
    text = mutants.sites.edited(tmp_path, found["novel:novel:pms_sync"])["novel.c"]
    assert "return MUTED(MUTE_SYNC, pms_sync(m));" in text
