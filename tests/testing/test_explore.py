"""The search itself, on toy stores that are wrong in one way each: what may a crash leave?

A toy is a raw mapping and a few words in it.  It tells the recording which of its units of work
are durable, as the core does for a pool; its contents are its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pmemstore._native import ffi, lib
from pmemstore.mapping import Mapping
from pmemstore.recorder import Recorder
from pmemstore.testing.explore import Budget, Explorer, Found, shrink
from pmemstore.testing.medium import Machine
from pmemstore.testing.report import Tally
from pmemstore.testing.subject import OPENED, Outcome, medium

SIZE = 4096
NEITHER = "the contents are neither those before the unit of work under way nor those after it"


class Toy:
    """A store under test.

    Attributes:
        mapping: Its file.
        recorder: Of what it does.
    """

    def __init__(self, mapping: Mapping, recorder: Recorder) -> None:
        self.mapping = mapping
        self.recorder = recorder

    def store(self, word: int, value: int, *, persist: bool = True) -> None:
        with self.mapping.view(word * 64, 1) as view:
            view[0] = value
        if persist:
            self.mapping.persist(word * 64, 1)

    def durable(self) -> None:
        """Whoever waits for the unit of work is told."""
        event = ffi.new("struct pms_event *")
        function, file = ffi.new("char[]", b"durable"), ffi.new("char[]", b"toy.c")
        site = ffi.new("struct pms_site *", {"function": function, "file": file, "line": 1})
        event.kind, event.site = lib.PMS_EV_DURABLE, site
        _alive.append((function, file, site))
        lib.pms_trace_record(self.recorder._trace, event)


_alive: list[object] = []  # a recording refers to these

Repair = Callable[[Mapping], None]


class ToySubject:
    """Contents are the first bytes of the first three lines; repaired at each opening."""

    uses_acknowledged = False

    def __init__(self, repair: Repair | None = None) -> None:
        self.repair = repair

    def judge(
        self, path: str, acknowledged: tuple[object, ...], recorder: Recorder | None = None
    ) -> Outcome:
        with Mapping.open(path, recorder=recorder) as mapping:
            if self.repair is not None:
                self.repair(mapping)
            if recorder is not None:
                recorder.mark(OPENED)
            with mapping.view() as view:
                return Outcome(bytes(view[:192:64]))

    def describe(self, path: str) -> str:
        return str(list(Path(path).read_bytes()[:192:64]))

    def where(self, contents: object, offsets: Sequence[int]) -> str:
        return " ".join(f"word {offset // 64}" for offset in offsets)


def explore(
    work: Callable[[Toy], None], folder: Path, repair: Repair | None = None, nested: int = 0
) -> Tally:
    path = folder / "toy"
    path.write_bytes(bytes(SIZE))
    machine = Machine()
    machine.load(path.read_bytes(), SIZE)
    recorder = Recorder()
    with medium("direct"):
        with Mapping.open(path, recorder=recorder) as mapping:
            work(Toy(mapping, recorder))
        explorer = Explorer(ToySubject(repair), Budget(nested=nested), str(folder))
        try:
            explorer.explore(recorder, machine, path.read_bytes())
        finally:
            explorer.close()
    return explorer.tally


def found(*args: object, **options: object) -> Found:
    with pytest.raises(Found) as caught:
        explore(*args, **options)  # type: ignore[arg-type] # handed on
    return caught.value


# ---- units of work ----


def one_word(toy: Toy) -> None:
    for value in (1, 2):
        toy.store(0, value)
        toy.durable()


def two_words(toy: Toy) -> None:
    toy.store(0, 1)
    toy.store(1, 1)
    toy.durable()


def told_too_early(toy: Toy) -> None:
    toy.store(0, 1)
    toy.durable()
    toy.store(0, 2, persist=False)
    toy.durable()
    toy.mapping.persist()


def never_flushed(toy: Toy) -> None:
    toy.store(0, 1, persist=False)
    toy.durable()


def taken_back(toy: Toy) -> None:
    """The first unit is durable; then it is not there for a moment."""
    toy.store(0, 1)
    toy.durable()
    toy.store(0, 0)
    toy.store(0, 1)
    toy.store(0, 2)
    toy.durable()


def still_under_way(toy: Toy) -> None:
    toy.store(0, 1)
    toy.durable()
    toy.store(0, 2)


def test_units_of_one_word_are_atomic(tmp_path: Path) -> None:
    """Before each of two fences: with the word and without it; at the end it is there."""
    tally = explore(one_word, tmp_path)
    assert (tally.points, tally.exhaustive, tally.images) == (3, 3, 5)
    assert tally.distinct == 3


def test_a_unit_under_way_at_the_end_may_be_there(tmp_path: Path) -> None:
    assert explore(still_under_way, tmp_path).points == 3


@pytest.mark.parametrize(
    ("work", "contents", "lost"),
    [
        (two_words, "[1, 0, 0]", ["word 1"]),
        (told_too_early, "[1, 0, 0]", ["word 0"]),
        (never_flushed, "[0, 0, 0]", ["word 0"]),
        (taken_back, "[0, 0, 0]", []),
    ],
)
def test_each_way_to_break_a_unit_is_found(
    work: Callable[[Toy], None], contents: str, lost: list[str], tmp_path: Path
) -> None:
    caught = found(work, tmp_path)
    assert caught.problem == NEITHER
    if work is two_words:  # either of the two may be missing
        assert caught.contents in ("[1, 0, 0]", "[0, 1, 0]")
    else:
        assert caught.contents == contents
        assert [item.where for item in caught.missing] == lost
    assert caught.before == []


def test_the_reporter_names_the_function_and_the_line(tmp_path: Path) -> None:
    caught = found(told_too_early, tmp_path)
    (missing,) = caught.missing
    assert missing.how == "none of its stores is there"
    assert missing.event is not None
    assert missing.event.line is not None
    assert missing.event.line.function in ("durable", "told_too_early", "store")
    assert caught.moment is not None
    assert caught.moment.function == "pms_mapping_persist"
    assert caught.moment.line is not None
    assert caught.moment.line.function == "told_too_early"


# ---- crashes inside recovery ----


def write_back(mapping: Mapping, *, persist_first: bool = True) -> None:
    """Recovery of ``logged``: word 0 gets the value of word 1 if word 2 says so."""
    if persist_first:
        mapping.persist()
    with mapping.view() as view:
        if view[128]:
            view[0] = view[64]
            mapping.persist(0, 1)
            view[128] = 0
            mapping.persist(128, 1)
        view[64] = 0
        mapping.persist(64, 1)


def flag_first(mapping: Mapping) -> None:
    """The flag is gone before the value is there."""
    mapping.persist()
    with mapping.view() as view:
        value, counts = view[64], view[128]
        view[128] = 0
        mapping.persist(128, 1)
        if counts:
            view[0] = value
            mapping.persist(0, 1)
        view[64] = 0
        mapping.persist(64, 1)


def not_fenced(mapping: Mapping) -> None:
    """The value and the flag go at once."""
    mapping.persist()
    with mapping.view() as view:
        if view[128]:
            view[0] = view[64]
            view[128] = 0
            mapping.persist(0, 129)
        view[64] = 0
        mapping.persist(64, 1)


def what_was_read_is_not_durable(mapping: Mapping) -> None:
    """After a kill it acts on what the caches hold and the medium does not."""
    write_back(mapping, persist_first=False)


def logged(toy: Toy) -> None:
    for value in (5, 6):
        toy.store(1, value)
        toy.store(2, 1)
        toy.durable()
        toy.store(0, value)
        toy.store(2, 0)


REPAIRS = [flag_first, not_fenced, what_was_read_is_not_durable]


@pytest.mark.parametrize("repair", REPAIRS, ids=lambda repair: repair.__name__)
def test_a_recovery_that_cannot_be_interrupted_is_found(repair: Repair, tmp_path: Path) -> None:
    """Found with nested crashes alone; the report tells of both."""
    explore(logged, tmp_path, repair, nested=0)
    caught = found(logged, tmp_path, repair, nested=32)
    assert caught.problem == NEITHER
    assert len(caught.before) >= 1
    assert caught.before[0].startswith("first a ")
    assert caught.before[0].endswith("then, while that is recovered from:")
    assert caught.moment is not None
    assert caught.moment.line is not None
    assert caught.moment.line.function in (repair.__name__, "write_back")
    if repair is what_was_read_is_not_durable:
        assert any(line.startswith("first a kill") for line in caught.before)


def test_a_recovery_that_can_be_interrupted_passes(tmp_path: Path) -> None:
    tally = explore(logged, tmp_path, write_back, nested=40)
    assert tally.crashes_inside_recovery == 40 * 3
    assert tally.skipped == 0


# ---- shrinking ----


@pytest.mark.parametrize(
    ("wrong", "want"),
    [
        ({3}, {3}),
        ({3, 77}, {3, 77}),
        (set(range(0, 100, 10)), set(range(0, 100, 10))),
        (set(), set()),
    ],
)
def test_no_loss_is_kept_that_does_not_matter(wrong: set[int], want: set[int]) -> None:
    tried = 0

    def problem_of(states: Sequence[int]) -> str:
        nonlocal tried
        tried += 1
        return "wrong" if all(states[i] == 0 for i in wrong) else ""

    assert shrink([0] * 100, [1] * 100, problem_of) == [0 if i in want else 1 for i in range(100)]
    assert tried <= 2 * 100 + len(wrong) * 20


def test_a_part_that_is_lost_is_lost_wholly_if_that_is_wrong_too() -> None:
    assert shrink([3, 2, 5], [5, 5, 5], lambda s: "wrong" if s[0] < 5 else "") == [0, 5, 5]
    assert shrink([3, 2], [5, 5], lambda s: "wrong" if 0 < s[0] < 5 else "") == [3, 5]
