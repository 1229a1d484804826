"""A library that forgot one flush, fence or sync: crash_check would find it, without an invariant.

The recording of a workload is played with one event left out, as if the core had never issued it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

import pmemstore
from pmemstore._native import ffi, lib
from pmemstore.recorder import Event, Recorder
from pmemstore.testing import CrashViolation, crash_check
from pmemstore.testing.explore import Explorer
from pmemstore.testing.medium import Machine

Wanted = Callable[[Event], bool]


def work(pool: pmemstore.Pool) -> None:
    pool.root["a"] = 1
    with pool.transaction():
        pool.root["b"] = "long enough for a block of its own " * 3
        pool.root["c"] = [1, 2]
    pool.root["a"] = 5
    pool.root["a"] = 6
    pool.root["z"] = 7  # the flushes of the unit before it must not be the last


def work_on(pool: pmemstore.Pool) -> None:
    for number in range(12):  # words are written back four units later, and missed five later
        pool.root["ab"[number % 2]] = number


def by_the_workload(kind: str, *functions: str) -> Wanted:
    """Events of a kind, by one of these functions of the core, that the workload has caused."""
    return lambda event: (
        event.kind == kind
        and event.line is not None
        and event.line.function in ("work", "work_on")
        and event.function in functions
    )


def without(recorder: Recorder, number: int) -> Recorder:
    """A copy of a recording, but for one event; a synchronous write is a plain one instead."""
    copy = Recorder()
    for i in range(len(recorder)):
        traced = lib.pms_trace_at(recorder._trace, i)
        event = ffi.new("struct pms_event *", traced.event)
        if i == number and event.kind != lib.PMS_EV_WRITE_SYNC:
            continue
        if i == number:
            event.kind = lib.PMS_EV_WRITE
        lib.pms_trace_where(traced.where)
        lib.pms_trace_record(copy._trace, event)
    return copy


def sabotage(
    patch: pytest.MonkeyPatch,
    medium: str,
    wanted: Wanted,
    which: int,
    workload: Callable[[pmemstore.Pool], None] = work,
) -> None:
    """Check the workload with one of the wanted events left out; IndexError: it has not so many."""
    explore = Explorer.explore

    def with_one_less(self: Explorer, recorder: Recorder, machine: Machine, after: bytes) -> None:
        numbers = [event.number for event in recorder.events() if wanted(event)]
        explore(self, without(recorder, numbers[which]), machine, after)

    with patch.context() as context:
        context.setattr(Explorer, "explore", with_one_less)
        crash_check(workload, media=medium, nested=0, keep=None)


CASES = {
    "the fence of a commit": ("direct", by_the_workload("fence", "fence_frames"), 5),
    "a flush of a log frame": ("direct", by_the_workload("flush", "pms_log_append"), 5),
    "the sync of a commit": ("file", by_the_workload("synchronous write", "pms_log_append"), 5),
}


@pytest.mark.usefixtures("written_back")
@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("case", CASES)
def test_each_of_them_is_missed(case: str, which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    medium, wanted, _ = CASES[case]
    with pytest.raises(CrashViolation) as found:
        sabotage(monkeypatch, medium, wanted, which)
    assert found.value.moment is not None
    assert found.value.missing


@pytest.mark.usefixtures("written_back")
@pytest.mark.parametrize("case", CASES)
def test_the_workload_has_so_many(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases above are all there are; and the copy by itself breaks nothing."""
    medium, wanted, count = CASES[case]
    explore = Explorer.explore
    seen: list[int] = []

    def copied(self: Explorer, recorder: Recorder, machine: Machine, after: bytes) -> None:
        seen.append(sum(wanted(event) for event in recorder.events()))
        explore(self, without(recorder, -1), machine, after)

    monkeypatch.setattr(Explorer, "explore", copied)
    crash_check(work, media=medium, nested=0)
    assert seen == [count]


@pytest.mark.parametrize(
    ("function", "workload", "least"),
    [("flush_fresh", work, 1), ("pms_lag_write_back", work_on, 2)],
)
def test_flushes_of_contents_and_of_words_are_missed(
    function: str,
    workload: Callable[[pmemstore.Pool], None],
    least: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not each: words of the last units are stored again by recovery, flushed or not."""
    found = 0
    for which in itertools.count():
        wanted = by_the_workload("flush", function)
        try:
            sabotage(monkeypatch, "direct", wanted, which, workload)
        except CrashViolation:
            found += 1
        except IndexError:
            break  # there are no more
    assert found >= least
