"""What operations cost, counted, against the committed figures: see benchmarks/counts.py.

Instructions take longer than the other tests do: ``make counts-check`` compares them too.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def counts() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("counts")
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in list(sys.modules):
            if name.partition(".")[0] in ("counts", "harness", "contenders"):
                del sys.modules[name]


def test_counts_are_the_committed_ones(counts: ModuleType, tmpfs: Path) -> None:
    """Fences, lines, syncs, bytes and calls; `make counts` writes them anew."""
    wanted = counts.load()["exact"]
    assert sorted(counts.differences(wanted, counts.count_all(tmpfs))) == []


def test_promises_are_in_the_committed_figures(counts: ModuleType) -> None:
    """One fence or one sync for an operation; no call of Python for what a slot does."""
    exact = counts.load()["exact"]
    for name in ("put", "replace", "delete", "counter", "append", "list set", "record set"):
        fences = exact[f"direct: {name}"]["fences"]
        # One division of 64 makes a segment: more than 4 KiB of new blocks, and a second fence.
        assert fences == 1 or (name == "put" and 1 < fences < 1.01)
        assert exact[f"direct: {name}"]["syncs"] == 0
        assert exact[f"file: {name}"]["syncs"] == 1
        assert exact[f"file: {name}"]["fences"] == 0
    for name in (
        "get",
        "list get",
        "record get",
        "iterate keys",
        "iterate items",
        "abort of 1000 puts",
    ):
        for medium in counts.MEDIA:
            figures = exact[f"{medium}: {name}"]
            assert all(figures[key] == 0 for key in counts.COUNTERS)
    for name in ("put", "get", "delete", "counter", "list get", "record set", "record get"):
        assert exact[f"direct: {name}"]["python_calls"] == 0
        assert exact[f"direct: {name}"]["c_calls"] == 0


@pytest.mark.slow
def test_the_worst_put_does_not_grow_with_the_table(counts: ModuleType, tmpfs: Path) -> None:
    """Growing is done in steps: four times the items, and the worst step writes no more lines."""
    worst = {}
    for items in (20_000, 80_000):
        (tmpfs / str(items)).mkdir()
        worst[items] = counts.worst_of_growth(tmpfs / str(items), items)
    assert worst[80_000]["flushed_lines"] <= worst[20_000]["flushed_lines"] + 8
    assert worst[80_000]["log_bytes"] <= worst[20_000]["log_bytes"] + 64


@pytest.mark.slow
def test_the_worst_puts_take_no_more_instructions_in_a_larger_table(
    counts: ModuleType, tmpfs: Path
) -> None:
    """Counted by callgrind: of 16,384 to 32,768 items as of 4,096 to 8,192, but for a tenth."""
    if reason := counts.no_callgrind():
        pytest.skip(reason)
    puts = counts.growth_instructions(32_768, tmpfs)
    assert len(puts) == 32_768 // counts.TOGETHER
    small = puts[4096 // counts.TOGETHER : 8192 // counts.TOGETHER]
    large = puts[16_384 // counts.TOGETHER :]
    print(f"worst {counts.TOGETHER} puts: {max(small)} and {max(large)} instructions")
    assert max(large) <= 1.1 * max(small)


def test_a_difference_is_told(counts: ModuleType) -> None:
    """One more fence, one more line, a figure that is gone, three hundred instructions."""
    wanted = {
        "direct: counter": {"fences": 1.0, "flushed_lines": 2.0},
        "direct: put": {"fences": 1},
    }
    found = {"direct: counter": {"fences": 2.0, "flushed_lines": 2.01}}
    assert sorted(counts.differences(wanted, found)) == [
        "direct: counter: fences is 2, was 1",
        "direct: counter: flushed_lines is 2.01, was 2",
        "direct: put: not counted",
    ]
    assert list(counts.differences(wanted, wanted)) == []
    told = list(counts.instruction_differences({"a": 3000.0, "b": 10.0}, {"a": 3300.0, "b": 10.2}))
    assert told == ["a: 3300 instructions, was 3000 (+10.0%)"]


def test_only_the_librarys_own_instructions_are_counted(counts: ModuleType, tmp_path: Path) -> None:
    """Costs of calls are those of the callee, and are in the dump a second time."""
    dump = tmp_path / "part.1"
    dump.write_text(
        "version: 1\nevents: Ir\n\n"
        "ob=(1) /lib/libc.so\nfn=(1) memcpy\n12 100\n+1 50\n\n"
        "ob=(2) /x/_core.so\nfn=(2) pms_put\n* 7\ncob=(1)\ncfn=(1)\ncalls=3 12\n14 1000\n-2 5\n\n"
        "ob=(1)\nfn=(3) other\ncob=(3) /y\ncfn=(4)\ncalls=1 0\n1 10\n5 60\n\n"
        "ob=(2)\nfn=(5) pms_get\n9 30\n"
    )
    assert counts.own_instructions(dump, "/x/_core.so") == 7 + 5 + 30
    assert counts.own_instructions(dump, "/lib/libc.so") == 100 + 50 + 60
