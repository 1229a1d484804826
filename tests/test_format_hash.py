"""The hash of docs/format.md is that of the core."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from pmemstore._native import ffi, lib

SPEC = importlib.util.spec_from_file_location("page", Path(__file__).parent / "test_format.py")
assert SPEC is not None
assert SPEC.loader is not None
page = importlib.util.module_from_spec(SPEC)
sys.modules["page"] = page  # where dataclasses look
SPEC.loader.exec_module(page)


def core_hash(data: bytes, seed: int) -> int:
    """Return what the core makes of the same: the hash of a bytes key in a pool with this seed."""
    pool, key = ffi.new("struct pms_pool *"), ffi.new("struct pms_key *")
    held = ffi.from_buffer(data)
    key.tag, key.data, key.len = lib.PMS_TAG_BYTES, held, len(data)
    pool.super.hash_seed = seed ^ lib.PMS_TAG_BYTES
    return int(lib.pms_key_hash(pool, key))


def test_hash_vectors() -> None:
    row = r"^\| `(\"[^`]*)` \| (\w+) \| (0x[0-9a-f]{16}) \|$"
    rows = re.findall(row, page.PAGE_TEXT, re.MULTILINE)
    assert len(rows) >= 7
    for text, seed, expected in rows:
        quoted, _, times = text.partition(" * ")
        data = ast.literal_eval("b" + quoted) * int(times or 1)
        assert page.hash64(data, int(seed, 0)) == int(expected, 16)
        assert core_hash(data, int(seed, 0)) == int(expected, 16)


@pytest.mark.parametrize("length", [*range(200), 1000, 4095])
def test_hash_of_every_length(length: int) -> None:
    data = bytes((i * 37 + 11) & 255 for i in range(length))
    assert core_hash(data, length * 0x9E3779B9) == page.hash64(data, length * 0x9E3779B9)
