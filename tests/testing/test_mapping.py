"""crash_check_mapping: a log by hand with each of its mistakes, and the model of the medium."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pmemstore.mapping import Mapping
from pmemstore.testing import CrashViolation, acknowledge, crash_check_mapping

MEDIA = ("direct", "file", "eadr")
RECORDS = 2
HEAD, ROOM = 64, 1024  # a flag of 8 bytes; its data in lines and sectors of their own


def log_writer(steps: str) -> Callable[[Mapping], None]:
    """An application that appends records.

    Args:
        steps: For each of them.  d, f: data and flag are stored; D, F: and flushed; X: a fence;
            A: the record is confirmed.
    """

    def append(mapping: Mapping) -> None:
        for record in range(RECORDS):
            at = HEAD + record * ROOM
            data, size = at + ROOM // 2, 100
            with mapping.view() as view:
                for step in steps.split():
                    if step == "d":
                        view[data : data + size] = bytes([record + 1]) * size
                    elif step == "f":
                        view[at : at + 8] = struct.pack("<Q", 1)
                    elif step == "D":
                        mapping.flush(data, size)
                    elif step == "F":
                        mapping.flush(at, 8)
                    elif step == "X":
                        mapping.fence()
                    else:
                        acknowledge(record)

    return append


def records_are_whole(mapping: Mapping, confirmed: tuple[int, ...]) -> None:
    with mapping.view() as view:
        for record in range(RECORDS):
            at = HEAD + record * ROOM
            data = bytes(view[at + ROOM // 2 : at + ROOM // 2 + 100])
            if view[at]:
                assert data == bytes([record + 1]) * 100, f"record {record} is torn"
            else:
                assert record not in confirmed, f"record {record} is lost"


def look(steps: str, medium: str) -> str:
    """What is found: "" or the words of the invariant."""
    try:
        crash_check_mapping(
            log_writer(steps), records_are_whole, size=4096, media=medium, keep=None
        )
    except CrashViolation as found:
        return "torn" if "torn" in found.problem else "lost"
    return ""


@pytest.mark.parametrize(
    ("mistake", "steps", "direct", "file", "eadr"),
    [
        ("none", "d D X f F X A", "", "", ""),
        ("none; with eADR flushes are not needed", "d X f X A", "torn", "lost", ""),
        ("data not flushed", "d X f F X A", "torn", "torn", ""),
        ("flag not flushed", "d D X f X A", "lost", "lost", ""),
        ("no fence between data and flag", "d D f F X A", "torn", "torn", ""),
        ("neither flush nor fence between", "d f D F X A", "torn", "torn", "torn"),
        ("no fence at the end", "d D X f F A", "lost", "lost", "lost"),
        ("flag first", "f F X d D X A", "torn", "torn", "torn"),
        ("confirmed first", "A d D X f F X", "lost", "lost", "lost"),
        ("flushed before it is stored", "D X d f F X A", "torn", "torn", "torn"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else None,
)
def test_each_mistake_of_a_log_is_found(
    mistake: str, steps: str, direct: str, file: str, eadr: str
) -> None:
    assert [look(steps, medium) for medium in MEDIA] == [direct, file, eadr]


def test_the_report_names_bytes_and_the_line_that_stored() -> None:
    with pytest.raises(CrashViolation) as found:
        crash_check_mapping(
            log_writer("d X f F X A"), records_are_whole, size=4096, media="direct", keep=None
        )
    (missing,) = found.value.missing
    assert missing.kind == "line"
    assert missing.where in {"bytes 576 to 639", "bytes 640 to 679"}  # one line of the data
    assert missing.event is not None
    assert missing.event.line is not None
    assert missing.event.line.file == __file__
    text = str(found.value)
    assert "stored through a view; seen at the next call on the mapping" in text
    assert "superblock" not in text  # a raw file has no format of ours


# ---- the model ----


def states_seen(
    workload: Callable[[Mapping], None], medium: str, size: int = 4096, images: int = 4096
) -> tuple[set[bytes], int]:
    """All contents of the first 1024 bytes that crashes leave, and the number of points."""
    seen: set[bytes] = set()

    def look_at(mapping: Mapping) -> None:
        with mapping.view(0, 1024) as view:
            seen.add(bytes(view).rstrip(b"\0"))

    report = crash_check_mapping(workload, look_at, size=size, media=medium, images=images)
    assert report.complete
    return seen, report.media[medium].points


def store(mapping: Mapping, at: int, data: bytes) -> None:
    with mapping.view() as view:
        view[at : at + len(data)] = data


def test_words_of_8_bytes_are_whole_and_words_of_a_line_are_torn_from_each_other() -> None:
    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"A" * 8 + b"B" * 8)
        mapping.persist(0, 16)

    none, a, b, both = b"", b"A" * 8, b"\0" * 8 + b"B" * 8, b"A" * 8 + b"B" * 8
    assert states_seen(work, "direct") == ({none, a, b, both}, 2)
    assert states_seen(work, "eadr") == ({none, a, b, both}, 2)
    assert states_seen(work, "file") == ({none, a, b, both}, 2)


def test_a_sector_is_torn_once_from_its_front_or_its_back() -> None:
    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"A" * 8 + b"B" * 8 + b"C" * 8)
        mapping.persist(0, 24)

    def short(seen: set[bytes]) -> set[bytes]:
        return {state[::8].replace(b"\0", b"-") for state in seen}

    assert len(states_seen(work, "direct")[0]) == 8
    torn = {b"", b"A", b"AB", b"ABC", b"-BC", b"--C"}
    assert short(states_seen(work, "file")[0]) == torn


def test_a_line_has_a_prefix_of_its_stores() -> None:
    """What was stored between two calls comes after what was stored before the first of them."""

    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"1")
        mapping.flush(1024, 1)  # of something else: the store is seen, not flushed
        store(mapping, 8, b"2")
        mapping.flush(1024, 1)
        store(mapping, 16, b"3")
        mapping.persist(0, 64)

    want = {b"", b"1", b"1\0\0\0\0\0\0\x002", b"1\0\0\0\0\0\0\x002\0\0\0\0\0\0\x003"}
    assert states_seen(work, "direct") == (want, 2)
    assert states_seen(work, "file")[0] == want


def test_lines_and_sectors_are_independent_of_each_other() -> None:
    def work(mapping: Mapping) -> None:
        for at in (0, 64, 512):
            store(mapping, at, b"x")
        mapping.persist(0, 1024)

    lines, points = states_seen(work, "direct")
    assert (len(lines), points) == (8, 2)
    sectors, _ = states_seen(work, "file")
    assert len(sectors) == 8  # the first one has two words, and may be torn: 4 by 2


def test_a_fence_settles_what_was_flushed_and_no_more() -> None:
    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"x")
        store(mapping, 64, b"y")
        mapping.flush(64, 1)
        mapping.fence()
        acknowledge("fenced")

    after: set[bytes] = set()

    def look_at(mapping: Mapping, told: tuple[object, ...]) -> None:
        with mapping.view(0, 128) as view:
            after.update({bytes(view)[::64]} if told else ())

    crash_check_mapping(work, look_at, size=4096, media="direct")
    assert after == {b"\0y", b"xy"}


def test_a_sync_covers_its_range_alone() -> None:
    """On files the kernel is asked for a range; other pages may be written later, or never."""

    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"x")
        store(mapping, 8192, b"y")
        mapping.persist(8192, 1)
        acknowledge("synced")

    after: set[bytes] = set()

    def look_at(mapping: Mapping, told: tuple[object, ...]) -> None:
        with mapping.view() as view:
            after.update({bytes(view)[::8192]} if told else ())

    crash_check_mapping(work, look_at, size=16384, media="file")
    assert after == {b"\0y", b"xy"}


def test_with_eadr_a_call_orders_stores_without_a_flush() -> None:
    def work(mapping: Mapping) -> None:
        for at in range(0, 192, 64):
            store(mapping, at, b"x")
            mapping.fence()

    want = {b"", b"x", b"x" + b"\0" * 63 + b"x", b"x" + b"\0" * 63 + b"x" + b"\0" * 63 + b"x"}
    assert states_seen(work, "eadr") == (want, 4)
    assert len(states_seen(work, "direct")[0]) == 8  # never flushed: each line for itself


def test_stores_behind_the_last_call_are_seen() -> None:
    """The mapping is closed with lines that nobody has flushed: any of them may be there."""

    def work(mapping: Mapping) -> None:
        store(mapping, 64, b"flag")
        store(mapping, 0, b"data")

    assert len(states_seen(work, "direct")[0]) == 4
    assert len(states_seen(work, "eadr")[0]) == 4


def test_what_is_equal_before_and_after_is_no_store() -> None:
    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"\0" * 64)
        mapping.persist()

    assert states_seen(work, "direct") == ({b""}, 2)


def test_setup_is_durable() -> None:
    def holds(mapping: Mapping) -> bool:
        with mapping.view(0, 5) as view:
            return bytes(view) == b"ready"

    crash_check_mapping(
        lambda mapping: mapping.persist(), holds, setup=lambda mapping: store(mapping, 0, b"ready")
    )


# ---- repair ----


def repair(mapping: Mapping, *, careful: bool) -> None:
    """Undo what an interrupted change has left: its old value was saved in word 8, flag in 16."""
    with mapping.view() as view:
        if view[16]:
            if not careful:  # the flag goes before the value is back
                view[16] = 0
                mapping.persist(0, 24)
            view[0] = view[8]
            mapping.persist(0, 8)
            view[16] = 0
            mapping.persist(0, 24)
        assert view[0] in (0, 7), "half a change"


def change(mapping: Mapping) -> None:
    with mapping.view() as view:
        view[8], view[128] = view[0], 1
        mapping.persist()
        view[16] = 1
        mapping.persist()
        view[0] = 3
        mapping.persist()
        view[0] = 7
        mapping.persist()
        view[16] = 0
        mapping.persist()


@pytest.mark.parametrize("medium", ["direct", "file"])
def test_a_repair_is_crashed_too(medium: str) -> None:
    """A careless repair is right, unless the power fails once more: nested crashes show it."""
    crash_check_mapping(change, lambda m: repair(m, careful=True), media=medium, nested=30)
    crash_check_mapping(change, lambda m: repair(m, careful=False), media=medium, nested=0)
    with pytest.raises(CrashViolation, match="half a change") as found:
        crash_check_mapping(
            change, lambda m: repair(m, careful=False), media=medium, nested=30, keep=None
        )
    assert "then, while that is recovered from" in str(found.value)
    assert found.value.moment is not None
    assert found.value.moment.line is not None
    assert found.value.moment.line.function == "repair"


# ---- what it refuses, and cannot break ----


def test_a_mapping_may_be_closed_by_the_workload() -> None:
    """What is acknowledged then must not look at memory that is gone."""

    def work(mapping: Mapping) -> None:
        store(mapping, 0, b"x")
        mapping.close()
        acknowledge("closed")

    with pytest.raises(CrashViolation, match="returned False"):
        crash_check_mapping(work, lambda m, told: not told or bool(m.view(0, 1)[0]), keep=None)


def test_a_file_changed_past_the_mapping_is_refused() -> None:
    def work(mapping: Mapping) -> None:
        mapping.persist()
        mapping.close()
        data = bytearray(Path(mapping.path).read_bytes())
        data[0] = 1
        Path(mapping.path).write_bytes(data)

    with pytest.raises(RuntimeError, match="past its recorder"):
        crash_check_mapping(work, lambda mapping: True)


def test_a_size_beyond_the_model_is_refused() -> None:
    with pytest.raises(ValueError, match="too much to be explored"):
        crash_check_mapping(lambda mapping: None, lambda mapping: True, size=(1 << 30) + 1)
