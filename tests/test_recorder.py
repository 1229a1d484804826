"""What reaches a medium is kept in order, with the C function and the line of Python behind it."""

from __future__ import annotations

import gc
import inspect
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore.mapping import Mapping
from pmemstore.recorder import Event, Recorder

if TYPE_CHECKING:
    from conftest import Medium


def record(medium: Medium, work: Callable[[pmemstore.Pool], object]) -> list[Event]:
    """Events of the work alone: between two marks."""
    recorder = Recorder()
    with pmemstore.open(medium.folder / "r.pool", "n", size="512K", recorder=recorder) as pool:
        pool.root.update(d={"a": 1}, l=[1, 2])
        recorder.mark("begin")
        work(pool)
        recorder.mark("end")
    begin, end = (e.number for e in recorder.events() if e.kind == "mark")
    return [recorder.event(number) for number in range(begin + 1, end)]


def test_a_put_is_one_fence_or_one_write_and_then_durable(medium: Medium) -> None:
    events = record(medium, lambda pool: pool.root.__setitem__("new", 1))
    kinds = Counter(event.kind for event in events)
    if medium.is_direct:
        assert kinds["fence"] == 1
        assert kinds["store"] > 1
        assert kinds["flush"] > 0
        assert "synchronous write" not in kinds
    else:
        assert kinds == {"synchronous write": 1, "write": 1, "durable": 1}  # the synced word
    assert kinds["durable"] == 1
    assert [event.number for event in events] == list(
        range(events[0].number, events[0].number + len(events))
    )
    assert all(event.source.partition(":")[0].endswith(".c") for event in events)


def work_on_everything(pool: pmemstore.Pool) -> None:
    d, items = pool.root["d"], pool.root["l"]
    d["b"] = 1
    d.update(c=2)
    d.setdefault("e", 3)
    del d["b"]
    d.pop("c")
    d.popitem()
    d.clear()
    items.append(3)
    items.extend([4, 5])
    items.insert(0, 0)
    items[1] = 9
    items[1:3] = [7]
    items += [1]
    items.reverse()
    items.sort()
    items.pop()
    items.remove(0)
    del items[0]
    items.clear()
    d |= {"x": 1}
    pool.collect()
    pool.grow("1M")
    pool.checkpoint()
    with pool.transaction():
        d["n"] = 1


def test_every_operation_is_known_by_its_line(medium: Medium) -> None:
    """Each line that writes is named, and no other; a block is committed at its ``with``."""
    events = record(medium, work_on_everything)
    text, first = inspect.getsourcelines(work_on_everything)
    seen = {event.line.number for event in events if event.line is not None}
    assert all(event.line is not None for event in events)
    assert {event.line.file for event in events if event.line} == {__file__}
    assert {event.line.function for event in events if event.line} == {"work_on_everything"}
    silent = {"pool.collect()"}  # there is nothing to collect any more
    if medium.is_direct:
        silent |= {'d["n"] = 1'}  # stored when the block is committed
    for number, line in enumerate(text[1:], first + 1):
        code = line.strip()
        if code.startswith("d, items") or code in silent or code == 'd["n"] = 1':
            continue
        assert number in seen, code
    durable = [event.line.number for event in events if event.kind == "durable" and event.line]
    assert durable == sorted(durable)
    assert durable[-1] == first + len(text) - 2


def test_each_thread_has_its_own_line(medium: Medium) -> None:
    def one(pool: pmemstore.Pool) -> None:
        for i in range(20):
            pool.root["one"] = i

    def two(pool: pmemstore.Pool) -> None:
        for i in range(20):
            pool.root["two"] = i

    def work(pool: pmemstore.Pool) -> None:
        threads = [threading.Thread(target=f, args=(pool,)) for f in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    functions: dict[int, set[str]] = {}
    for event in record(medium, work):
        if event.line is not None:
            functions.setdefault(event.thread, set()).add(event.line.function)
    assert sorted(map(sorted, functions.values())) == [["one"], ["two"]]


def test_marks_of_many_threads_keep_their_values() -> None:
    recorder = Recorder()

    def mark(thread: int) -> None:
        for i in range(200):
            recorder.mark((thread, i))

    threads = [threading.Thread(target=mark, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    offsets = [event.offset for event in recorder.events()]
    assert sorted(offsets) == list(range(800))
    assert sorted(recorder.marks) == [(n, i) for n in range(4) for i in range(200)]


def test_a_mark_is_known_by_its_line_and_its_number() -> None:
    recorder = Recorder()
    recorder.mark("told")
    (event,) = recorder.events()
    assert (event.kind, event.offset, recorder.marks) == ("mark", 0, ("told",))
    assert event.line is not None
    assert event.line.function == "test_a_mark_is_known_by_its_line_and_its_number"
    assert str(event) == f"event 0, mark in pms_trace_mark ({event.source}), called by {event.line}"
    with pytest.raises(IndexError):
        recorder.event(1)
    with pytest.raises(IndexError):
        recorder.event(-1)


def test_a_recorder_serves_a_file_that_is_opened_again(medium: Medium) -> None:
    recorder = Recorder()
    path = medium.folder / "again.pool"
    for i in range(3):
        with pmemstore.open(path, "c", size="512K", recorder=recorder) as pool:
            pool.root[i] = i
    lines = {event.line for event in recorder.events() if event.kind == "durable"}
    assert len(lines) == 2  # where it is created, and the put
    assert any(event.kind == "create" for event in recorder.events())


def test_stores_through_a_view_are_seen_at_each_call_and_at_the_end(medium: Medium) -> None:
    recorder = Recorder()
    path = medium.folder / "raw"
    kind = "store" if medium.is_direct else "write"
    with (
        Mapping.open(path, 4096, create=True, recorder=recorder) as mapping,
        mapping.view() as view,
    ):
        view[70] = 1
        mapping.flush(0, 4096)
        view[600] = 1
        mapping.persist(0, 4096)
        view[700] = 1
    unit = 64 if medium.is_direct else 512
    seen = [(event.offset, event.length) for event in recorder.events() if event.kind == kind]
    assert seen == [(at // unit * unit, unit) for at in (70, 600, 700)]


def test_a_mapping_that_is_gone_is_not_looked_at(medium: Medium) -> None:
    """Its memory is unmapped: to look there would end the process."""
    recorder = Recorder()
    path = medium.folder / "raw"
    Mapping.open(path, 4096, create=True, recorder=recorder).close()
    recorder.mark("closed")
    mapping = Mapping.open(path, recorder=recorder)
    with pytest.warns(ResourceWarning):
        del mapping
    gc.collect()
    recorder.mark("dropped")
    with Mapping.open(path, recorder=recorder) as again:
        with again.view() as view:
            view[0] = 1
        again.persist()
    assert recorder.marks == ("closed", "dropped")
    assert [event.kind for event in recorder.events()][-1] in ("fence", "sync")


def test_without_a_recorder_nothing_is_noted(medium: Medium, tmp_path: Path) -> None:
    recorder = Recorder()
    with pmemstore.open(medium.folder / "r.pool", "n", size="512K") as pool:
        pool.root["a"] = 1
    assert len(recorder) == 0
    assert list(recorder.events()) == []
