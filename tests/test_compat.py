"""Pools that an earlier state of this format has left: sets, deques, sorted containers, arrays.

Each was copied in the middle of a transaction, so opening it for writing is a recovery too.  Dicts
and lists: ``test_format.py``; records: ``test_record_schemas.py``.
"""

from __future__ import annotations

import ipaddress
import lzma
import pathlib
import runpy
from collections import deque
from pathlib import Path
from typing import Any

import pytest

import pmemstore

COMPAT = Path(__file__).resolve().parent / "compat"
MAKER = runpy.run_path(str(COMPAT / "make_containers.py"))


def expected_contents() -> dict[str, Any]:
    """What was committed, by plain containers."""
    plain: dict[str, Any] = {
        "set": {1, "two", b"three", (4, 5), None},
        "deque": deque(range(200), maxlen=120),
        "numbers": set(range(1, 501)),
        "index": {f"{i:03}": [i] for i in range(300)},
        "array": [i / 3 for i in range(400)],
    }
    MAKER["change"](plain, 10)
    return plain


def compare(pool: pmemstore.Pool) -> None:
    root, plain = pool.root, expected_contents()
    assert root["set"] == plain["set"]
    assert (root["deque"], root["deque"].maxlen) == (plain["deque"], 120)
    assert list(root["numbers"]) == sorted(plain["numbers"])
    assert list(root["index"].items()) == sorted(plain["index"].items())
    assert root["array"].tolist() == plain["array"]
    assert root["bytes"].tobytes() == bytes(range(256))
    assert [list(each) for each in root["ordered"]] == MAKER["ORDERED"]
    assert root["path"] == pathlib.PurePosixPath("a/b")
    assert root["address"] == ipaddress.ip_network("10.0.0.0/8")


@pytest.mark.parametrize("medium", ["direct", "file"])
def test_containers_of_an_earlier_state_are_recovered_and_go_on(
    medium: str, tmp_path: Path
) -> None:
    path = tmp_path / "golden.pool"
    path.write_bytes(lzma.decompress((COMPAT / f"containers1-{medium}.pool.xz").read_bytes()))
    with pmemstore.open(path, "r") as pool:
        compare(pool)
    with pmemstore.open(path, "w") as pool:
        compare(pool)
        assert pool.check().ok
        MAKER["change"](pool.root, 60)
        assert len(pool.root["numbers"]) == 500
        assert pool.root["index"]["099x"] == 99
        pool.collect()
        found = pool.check()
        assert found.ok
        assert found.leaked_bytes == 0
