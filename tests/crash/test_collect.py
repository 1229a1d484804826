"""Crashes while cycles are collected: nothing live is lost, and the next collection finishes."""

from __future__ import annotations

from typing import Any

import pytest

import pmemstore
from pmemstore.testing import CrashReport, CrashViolation, crash_check

MEDIA = ("direct", "file")
LIVE = {"kept": [1, "two", {"three": 3.0}], "shared": {"id": 7}}


def explore(workload: Any, setup: Any, **options: Any) -> CrashReport:
    report = crash_check(workload, unharmed, setup=setup, cycles=True, keep=None, **options)
    for tally in report.media.values():
        assert tally.points > 0
        assert tally.images > 1
    return report


def unharmed(pool: pmemstore.Pool) -> bool:
    return {key: pool.root.get(key) for key in LIVE} == LIVE


def ring(pool: pmemstore.Pool, length: int, fill: int) -> None:
    """Dicts and lists in turn, each referring to the next and to what lives: then cut off."""
    with pool.transaction():
        pool.root.update(LIVE)
        shared = pool.root["shared"]
        pool.root["ring"] = [{} if i % 2 else [] for i in range(length)]
        nodes = list(pool.root["ring"])
        for i, node in enumerate(nodes):
            parts = [nodes[(i + 1) % length], shared, "x" * 40]
            if isinstance(node, pmemstore.List):
                node.extend(parts + list(range(fill)))
            else:
                node.update(enumerate(parts + list(range(fill))))
    del pool.root["ring"]


def collect(pool: pmemstore.Pool) -> None:
    assert pool.check().unreachable > 0
    assert pool.collect() > 0
    assert pool.check().ok


@pytest.mark.parametrize("medium", MEDIA)
def test_collection_of_a_ring(medium: str) -> None:
    """At each fence, sync and write, of a ring that one unit empties."""
    explore(collect, lambda pool: ring(pool, 5, 3), media=medium, nested=6, images=24)


@pytest.mark.parametrize("medium", MEDIA)
def test_collection_in_many_units(medium: str) -> None:
    """Crashes between units leave garbage of which some is empty."""
    report = explore(
        collect, lambda pool: ring(pool, 4, 2500), media=medium, nested=2, images=6, size="4M"
    )
    assert report.media[medium].points >= 3


@pytest.mark.parametrize("medium", MEDIA)
def test_making_and_collecting_garbage_in_turn(medium: str) -> None:
    """Units of an application between those of collections."""

    def work(pool: pmemstore.Pool) -> None:
        for length in (1, 2):
            ring(pool, length, 1)
            pool.collect()

    explore(work, lambda pool: pool.root.update(LIVE), media=medium, nested=4, images=12)


def test_without_the_option_garbage_is_a_violation() -> None:
    """As before: who does not expect cycles wants to hear of them."""
    with pytest.raises(CrashViolation, match="is unreachable"):
        crash_check(
            lambda pool: ring(pool, 2, 0),
            unharmed,
            setup=lambda pool: pool.root.update(LIVE),
            keep=None,
        )


@pytest.mark.slow
@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_collection_more_closely(length: int, medium: str) -> None:
    """More images of each moment, more recoveries that are crashed, a tiny log."""
    explore(
        collect,
        lambda pool: ring(pool, length, 12),
        media=medium,
        images=400,
        nested=60,
        log_size="4K",
        seconds=200,
    )
