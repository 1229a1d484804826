"""SIGBUS at every access path: each public operation, after the file lost pages under it."""

from __future__ import annotations

import array
import importlib.util
import json
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore

if TYPE_CHECKING:
    from conftest import Medium

PROGRAM = Path(__file__).with_name("media_uses.py")
SPEC = importlib.util.spec_from_file_location("media_uses", PROGRAM)
assert SPEC is not None
assert SPEC.loader is not None
media_uses = importlib.util.module_from_spec(SPEC)
sys.modules["media_uses"] = media_uses  # where dataclasses look
SPEC.loader.exec_module(media_uses)
HEAP = 262_144  # where a small pool's heap starts; docs/format.md

# Where the file ends, or the hole begins: all of it; behind the superblocks; the heap; some of it.
OFFSETS = [0, pytest.param(8192, marks=pytest.mark.slow), HEAP, HEAP + 90_112]


def test_no_public_operation_is_missed(pool: pmemstore.Pool) -> None:
    """A new method has no use in the table: then this fails, and tells its name."""
    pool.root.update({"dict": {1: 1}, "list": [1], "set": {1}, "deque": deque([1])})
    pool.root["array"] = array.array("d", [1.0])
    pool.root["sorted"] = pmemstore.SortedDict.of({"key 3": 3})
    pool.root["sorted set"] = pmemstore.SortedSet.of([1])
    for name, (kind, make) in media_uses.TARGETS.items():
        if kind is None:
            kind = type(make(pool))
            assert kind.__name__ == name
        missed = media_uses.public(kind) - set(media_uses.USES[name])
        assert not missed, f"{name} has operations without a use"


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("kind", ["truncate", "punch"])
def test_lost_pages_are_an_exception_at_every_operation(
    kind: str, offset: int, medium: Medium
) -> None:
    """MediaError, another error of ours, or the right answer: never a signal, never a wrong one.

    Behind a punched hole the file has zeroes, which nobody can tell from contents: there, no
    signal and no strange exception is all that is promised.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-X", "faulthandler"),
            *(PROGRAM, medium.folder, kind, str(offset)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{done.returncode} after {done.stdout[-200:]}{done.stderr}"
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["wrong"] == []
    if kind == "truncate" and offset in (0, HEAP):
        for name in media_uses.USES.keys() - {"Transaction", "Mapping", "DictKeys", "DictValues"}:
            assert result["media"][name] > 0
