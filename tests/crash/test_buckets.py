"""No crash, at any moment, shows a bucket between two states.

Many keys share a bucket, so that it goes on in further lines; these come and go, are divided and
joined, in units of one operation, in transactions and in what these roll back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pmemstore import Pool, layout
from pmemstore._native import ffi, lib

Workload = Callable[[Pool], None]


class RolledBackError(Exception):
    pass


def crowd(pool: Pool, count: int) -> list[int]:
    """Numbers whose keys fall in one bucket, however the dict of so many is divided."""
    core, key = ffi.new("struct pms_pool *"), ffi.new("struct pms_key *")
    fields = {field.name: field for field in layout.structs(ffi)["super_pm"].fields}
    start = fields["hash_seed"].offset
    core.super.hash_seed = int.from_bytes(Path(pool.path).read_bytes()[start : start + 8], "little")
    key.tag = lib.PMS_TAG_INT
    found: list[int] = []
    for number in range(1 << 20):
        key.num = number
        if lib.pms_key_hash(core, key) % 16 == 5:
            found.append(number)
            if len(found) == count:
                return found
    raise AssertionError("a hash without the bits that are asked for")


def one_by_one(pool: Pool) -> None:
    """Lines are added at 9, 16 and 23 links, and go when the links do."""
    keys = crowd(pool, 24)
    pool.root["d"] = {}
    ours = pool.root["d"]
    for n in keys:
        ours[n] = n
    for n in (keys[20], keys[0], keys[23], keys[7], *keys[8:16], keys[22], *keys[1:5]):
        del ours[n]
    ours[keys[3]] = "again"
    while ours:
        ours.popitem()


def at_once(pool: Pool) -> None:
    """Splits and merges of a crowded bucket beside those of others, in one unit each."""
    keys = crowd(pool, 30)
    pool.root["d"] = {}
    ours = pool.root["d"]
    ours.update(dict.fromkeys(keys[:20], "v"))
    ours.update({f"key {n}": n for n in range(120)})
    with pool.transaction():
        for n in keys[5:20]:
            del ours[n]
        ours.update(dict.fromkeys(keys[20:], "w"))
    with pool.transaction():
        for n in range(100):
            del ours[f"key {n}"]
        for n in keys[:3]:
            del ours[n]
    pool.root["set"] = {*keys, "other"}
    pool.root["set"] -= set(keys[4:28])
    ours.clear()
    pool.collect()


def roll_backs(pool: Pool) -> None:
    keys = crowd(pool, 30)
    pool.root["d"] = dict.fromkeys(keys[:17], "v")
    ours = pool.root["d"]
    with contextlib.suppress(RolledBackError), pool.transaction():
        ours.update(dict.fromkeys(keys, "w"))
        for n in keys[3:25]:
            del ours[n]
        raise RolledBackError
    with pool.transaction():
        del ours[keys[16]], ours[keys[15]]
        with contextlib.suppress(RolledBackError), pool.transaction():
            for n in keys[:12]:
                del ours[n]
            ours.update(dict.fromkeys(keys[17:], "w"))
            raise RolledBackError
        ours[keys[29]] = "kept"


MEDIA = ["direct", "file"]


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("scenario", [one_by_one, at_once, roll_backs])
def test_crowded_buckets_are_whole_at_every_moment(
    scenario: Workload, medium: str, no_state_between: Callable[..., None]
) -> None:
    no_state_between(scenario, medium)
