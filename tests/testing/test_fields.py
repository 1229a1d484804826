"""Places in a pool file get the names of docs/format.md."""

from __future__ import annotations

import re
from collections import deque

import pytest

import pmemstore
from pmemstore._native import lib
from pmemstore.testing.fields import field_at


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, int]]:
    """A pool with something of everything, and the offsets of its containers."""
    path = tmp_path_factory.mktemp("fields") / "f.pool"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMEMSTORE_FORCE_TIER", "volatile")
        with pmemstore.open(path, "n", size="1M", log_size="64K") as pool:
            root = pool.root
            root["list"] = list(range(2000))
            root["text"] = "long enough for a block of its own " * 10
            root["large"] = b"x" * 50_000
            root["set"], root["deque"] = {1, 2}, deque([1], 5)
            offsets = {name: root[name]._offset for name in ("list", "set", "deque")}
            offsets["root"] = root._offset
            data = path.read_bytes()
            return data, {**offsets, "large": data.index(b"x" * 5000)}


def names(image: bytes, start: int, end: int, step: int = 8) -> set[str]:
    return {field_at(image, at) for at in range(start, min(end, len(image)), step)}


def test_superblocks_and_anchors(image: tuple[bytes, dict[str, int]]) -> None:
    data, _ = image
    assert field_at(data, 0) == "superblock 0, magic"
    assert field_at(data, lib.PMS_PAGE) == "superblock 1, magic"
    assert field_at(data, lib.PMS_ANCHOR_OFF).startswith("anchor 0, ")
    assert field_at(data, lib.PMS_ANCHOR_OFF + lib.PMS_PAGE).startswith("anchor 1, ")
    assert field_at(data, lib.PMS_ROOT_OFF).startswith("root page, ")
    anchor = names(data, lib.PMS_ANCHOR_OFF, lib.PMS_ANCHOR_OFF + 64)
    assert {"anchor 0, seq", "anchor 0, pos", "anchor 0, gen"} <= anchor


def test_containers_and_their_parts(image: tuple[bytes, dict[str, int]]) -> None:
    data, offsets = image
    for name, tag in (("root", "dict"), ("list", "list"), ("set", "set"), ("deque", "deque")):
        at = offsets[name]
        found = names(data, at, at + 64)
        assert f"{tag} at {at}, count" in found, found
        assert all(text.startswith(f"{tag} at {at}, ") for text in found)


def test_every_place_of_the_heap_has_a_name(image: tuple[bytes, dict[str, int]]) -> None:
    """Descriptors, blocks, leaves and nodes of lists, runs of pages, free pages: nothing fails."""
    data, offsets = image
    found = names(data, 0, len(data), 64)
    kinds = {re.sub(r"\d+", "N", text) for text in found}
    for wanted in (
        "descriptor of page N (offset N)",
        "leaf of a list at N, ",
        "node of a list at N, ",
        "free page N",
    ):
        assert any(kind.startswith(wanted) for kind in kinds), sorted(kinds)
    where = field_at(data, offsets["large"] + 30_000)
    assert re.fullmatch(r"block of \d+ bytes at \d+, byte \d+", where), where


def test_frames_of_the_log_by_their_number(image: tuple[bytes, dict[str, int]]) -> None:
    data, _ = image
    start = next(at for at in range(0, len(data), 512) if field_at(data, at).startswith("log, "))
    found = names(data, start, start + 65_536, 32)
    assert any(re.fullmatch(r"log, frame \d+ \(REDO\), seq", text) for text in found), found
    assert any(re.fullmatch(r"log, frame \d+ \(REDO\), word \d+", text) for text in found)
    assert any(text.startswith("log, position") for text in found)


def test_what_is_no_pool_or_behind_its_end_has_a_name_too() -> None:
    assert field_at(bytes(100), 200) == "behind the end of the file"
    assert "neither superblock" in field_at(bytes(1 << 20), 1 << 19)
    noise = bytes(range(256)) * 4096
    for at in range(0, len(noise), 4096):
        assert field_at(noise, at)


def test_damaged_numbers_do_not_lead_astray(image: tuple[bytes, dict[str, int]]) -> None:
    """An image may have anything where a number is expected: names are then vague, not wrong."""
    data, _ = image
    for at in range(0, 1024, 8):
        bad = bytearray(data)
        bad[at : at + 8] = b"\xff" * 8
        for place in (at, 70_000, 300_000, len(data) - 8):
            assert field_at(bytes(bad), place)
