"""Records and time: the schemas of a pool, later layouts of a class, and the pool around records.

The matrix of later layouts is read from golden pools, which a program with an early layout left
in the middle of a transaction: ``tests/compat/make_records.py``.
"""

from __future__ import annotations

import copy
import datetime as dt
import enum
import gc
import importlib.util
import lzma
import sys
import threading
import types
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest

import pmemstore as ps
from pmemstore._native import lib
from pmemstore.records import schemas
from pmemstore.values import pack_value

if TYPE_CHECKING:
    from conftest import Medium, Opener

COMPAT = Path(__file__).resolve().parent / "compat"
SPEC = importlib.util.spec_from_file_location("make_records", COMPAT / "make_records.py")
assert SPEC is not None
assert SPEC.loader is not None
golden = importlib.util.module_from_spec(SPEC)
sys.modules["make_records"] = golden  # where dataclasses look
SPEC.loader.exec_module(golden)


class Color(enum.Enum):
    RED = 1
    GREEN = 2
    BLUE = 3


class Swapped(enum.Enum):
    GREEN = 2
    RED = 1


@ps.record
class Wide:
    x: ps.int32
    y: ps.int16
    z: ps.int8 = 3


@ps.record
class Narrow:
    x: ps.int8


@ps.record
class Bill:
    id: int
    customer: str
    total: float
    note: str | None = None


EPOCH = dt.datetime(1970, 1, 1)
NAMES: dict[str, Any] = {
    "EPOCH": EPOCH,
    "ps": ps,
    "dt": dt,
    "Annotated": Annotated,
    "Any": Any,
    "Color": Color,
}
NAMES |= {"Swapped": Swapped, "Wide": Wide, "Narrow": Narrow, "Point": golden.Point}


EDITED = types.ModuleType("an_edited_module")
sys.modules[EDITED.__name__] = EDITED


def declare(body: str, name: str = "Row") -> Any:
    """Declare a class as if its module had been edited: always in the same place."""
    vars(EDITED).update(NAMES)
    exec(f"@ps.record\nclass {name}:\n    " + body.replace("; ", "\n    "), vars(EDITED))
    return vars(EDITED)[name]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process of its own, as far as declared classes go."""
    monkeypatch.setattr(schemas, "_declared", {})
    for cls in (Bill, Wide):
        schemas.declare(cls.__name__, cls)


@pytest.fixture(params=golden.POOLS)
def old_pool(request: pytest.FixtureRequest, medium: Medium) -> Path:
    """A copy of a golden pool, on each medium."""
    path = medium.folder / "old.pool"
    path.write_bytes(lzma.decompress((COMPAT / f"records1-{request.param}.pool.xz").read_bytes()))
    return path


def stored(pool: ps.Pool, value: Any) -> Any:
    pool.root["it"] = value
    return pool.root["it"]


# ---- the same layout


def test_the_early_class_reads_its_pool(old_pool: Path, open_pool: Opener) -> None:
    """What was committed is there, the transaction that was cut off is not."""
    expected = [golden.row(i) for i in range(golden.ROWS)]
    expected[1].other.y = 8
    schemas.declare("Row", golden.Row)
    pool = open_pool(old_pool)
    assert [type(each) for each in pool.root["rows"]] == [golden.Row] * golden.ROWS
    for each, want in zip(pool.root["rows"], expected, strict=True):
        assert str(each) == str(want)
    assert pool.root["first"] is pool.root["rows"][0]
    assert pool.migrate() == 0


def test_a_process_without_the_class_reads_it_too(old_pool: Path, open_pool: Opener) -> None:
    pool = open_pool(old_pool)
    row = pool.root["rows"][3]
    assert type(row).__name__ == "Row"
    assert row.name == "the name of row 3"
    assert row.color.name == "GREEN"
    assert row.point.x == 3
    assert (row.when, row.numbers) == (dt.datetime(2024, 1, 4, tzinfo=dt.UTC), (3, -3, 0))
    row.small = -7
    row.point.y = 1
    row.items.append("more")
    assert repr(row).startswith("Row(flag=True, small=-7, byte=253, ")
    pool.root["copy"] = copy.deepcopy(row)
    assert repr(pool.root["copy"]) == repr(row)


# ---- later layouts: field, what it was, what it is read as (or why not)

INT, STR = (lambda i: i * 2**70), (lambda i: f"the name of row {i}")
FITS: list[tuple[str, Any, Any]] = [
    ("small: ps.int16", lambda i: -i, -30000),
    ("small: ps.int64", lambda i: -i, 2**62),
    ("small: ps.int8 | None", lambda i: -i, None),
    ("small: int", lambda i: -i, 2**80),
    ("byte: ps.uint16", lambda i: 250 + i, 65535),
    ("byte: ps.int16", lambda i: 250 + i, -1),
    ("byte: ps.int64 | None", lambda i: 250 + i, -1),
    ("word: ps.uint64", lambda i: 2**32 - 1 - i, 2**64 - 1),
    ("word: ps.int64", lambda i: 2**32 - 1 - i, -1),
    ("word: object", lambda i: 2**32 - 1 - i, "text"),
    ("long: object", lambda i: 2**64 - 1 - i, "text"),
    ("flag: bool | None", lambda i: i % 2 == 1, None),
    ("flag: object", lambda i: i % 2 == 1, 3),
    ("single: float", lambda i: i / 2, 0.1),
    ("single: ps.float64 | None", lambda i: i / 2, None),
    ("double: object", lambda i: i / 3, None),
    ("text: Annotated[str, ps.fixed(100)]", lambda i: f"t{i}", "x" * 100),
    ("text: str", lambda i: f"t{i}", "x" * 1000),
    ("data: Annotated[bytes, ps.fixed(5)] | None", lambda i: b"\0" * i, b"12345"),
    ("data: bytes", lambda i: b"\0" * i, b"1" * 1000),
    ("maybe: ps.int32 | None", lambda i: i if i % 2 else None, 2**30),
    ("maybe: int | None", lambda i: i if i % 2 else None, 2**70),
    ("color: Color", lambda i: Color.GREEN if i % 2 else Color.RED, Color.BLUE),
    ("color: Color | None", lambda i: Color.GREEN if i % 2 else Color.RED, None),
    ("numbers: Annotated[tuple[int, ...], ps.array_of(ps.int16, 3)] | None", 0, None),
    ("point: Annotated[Wide, ps.inline]", lambda i: Wide(i, 7, 3), Wide(2**20, 1, -1)),
    ("value: object", INT, [1]),
    ("name: Any", STR, {"k": 1}),
    ("renamed: str = ps.field(was='name')", STR, "new"),
    ("two: str = ps.field(was=('nothing', 'name'))", STR, "new"),
    ("renamed: ps.int32 = ps.field(was='small')", lambda i: -i, 2**30),
    ("name: str; copy: str = ps.field(default='-', was='name')", STR, "new"),
    ("new: ps.int16 = 5", lambda i: 5, 6),
    ("new: ps.int16 | None = None", lambda i: None, 6),
    ("new: str = 'a default'", lambda i: "a default", "x"),
    ("new: Color = Color.BLUE", lambda i: Color.BLUE, Color.RED),
    (
        "new: dt.datetime = dt.datetime(2000, 1, 1)",
        lambda i: dt.datetime(2000, 1, 1),
        dt.datetime.max,
    ),
    ("new: list = ps.field(default_factory=list)", lambda i: [], [1]),
    (
        "new: Annotated[Wide, ps.inline] = ps.field(default_factory=lambda: Wide(1, 2))",
        lambda i: Wide(1, 2),
        Wide(3, 4),
    ),
]
REFUSED: dict[str, str] = {
    "small: ps.uint8": "int8 cannot be read as uint8",
    "word: ps.int32": "uint32 cannot be read as int32",
    "word: ps.uint16": "uint32 cannot be read as uint16",
    "double: ps.float32": "float64 cannot be read as float32",
    "flag: ps.int8": "bool cannot be read as int8",
    "small: float": "int8 cannot be read as float64",
    "text: Annotated[str, ps.fixed(3)]": "str[4] cannot be read as str[3]",
    "data: Annotated[str, ps.fixed(9)]": "bytes[4] cannot be read as str[9]",
    "maybe: ps.int16": "int16 or None cannot be read as int16",
    "when: dt.datetime": "datetime or None cannot be read as datetime",
    "color: Swapped": "Color(RED, GREEN) cannot be read as Swapped(GREEN, RED)",
    "color: int": "Color(RED, GREEN) cannot be read as int",
    "numbers: Annotated[tuple[int, ...], ps.array_of(ps.int16, 4)]": "int16 x 3 cannot be read as",
    "numbers: tuple": "int16 x 3 cannot be read as tuple",
    "point: Wide": "Point{x: int16, y: int16} cannot be read as Wide",
    "point: Annotated[Narrow, ps.inline]": "int16 cannot be read as int8",
    "other: Annotated[Wide, ps.inline]": "cannot be read as Wide{",
    "value: ps.int64": "int cannot be read as int64",
    "new: int": "is new, and has no default",
}  # fmt: skip


@pytest.mark.parametrize(("body", "before", "new"), FITS, ids=[body for body, _, _ in FITS])
def test_a_later_layout_reads_and_writes(
    old_pool: Path, open_pool: Opener, body: str, before: Any, new: Any
) -> None:
    """Read as it was; rewritten by the first write; identity and references stay; then migrate."""
    cls = declare(body)
    name = body.partition(":")[0]
    expected = [(i, -i, 0) if before == 0 else before(i) for i in range(golden.ROWS)]
    pool = open_pool(old_pool)
    rows = pool.root["rows"]
    assert [getattr(each, name) for each in rows] == expected
    first = rows[0]
    assert type(first) is cls
    setattr(first, name, new)
    assert getattr(first, name) == new
    assert pool.root["first"] is rows[0] is first
    assert [getattr(each, name) for each in rows] == [new, *expected[1:]]
    assert pool.check().problems == ()
    del first, rows
    pool.close()
    pool = open_pool(old_pool)
    pool.migrate()
    assert pool.migrate() == 0
    assert not any(each._schema._outdated for each in pool.root["rows"])
    assert [getattr(each, name) for each in pool.root["rows"]] == [new, *expected[1:]]
    pool.collect()
    assert pool.schemas()["Row"].startswith("Row, version 2, ")
    assert pool.check().problems == ()


@pytest.mark.parametrize("body", REFUSED)
def test_a_layout_that_cannot_read_is_refused(old_pool: Path, open_pool: Opener, body: str) -> None:
    """At open, with both layouts; the pool is as it was."""
    before = old_pool.read_bytes()
    declare(body)
    with pytest.raises(ps.SchemaMismatchError) as refused:
        ps.open(old_pool, "r")
    assert REFUSED[body] in str(refused.value)
    assert "record class Row cannot read what" in str(refused.value)
    assert old_pool.read_bytes() == before
    declare("name: str")
    assert open_pool(old_pool).root["rows"][2].name == "the name of row 2"


def test_both_layouts_stand_side_by_side(tmp_path: Path) -> None:
    declare("a: ps.int32; b: str = ''", "Side")
    with ps.open(tmp_path / "p.pool", "n", size="1M") as pool:
        pool.root["it"] = declare("a: ps.int32; b: str = ''", "Side")(1)
    declare("a: ps.int16; c: float", "Side")
    with pytest.raises(ps.SchemaMismatchError) as refused:
        ps.open(tmp_path / "p.pool")
    assert str(refused.value) == (
        f"record class Side cannot read what {tmp_path / 'p.pool'} stores under this name "
        "(version 1):\n"
        "  field    stored      declared\n"
        "  a        int32 at 0  int16 at 0    <- int32 cannot be read as int16\n"
        "  b        str at 8    -\n"
        "  c        -           float64 at 8  <- is new, and has no default\n"
        "  (bytes)  24          16\n"
        "Nothing was changed; give new fields a default, name former names with field(was=...), "
        "widen types only, or declare the class under another name with @record(name=...)."
    )


def test_a_class_declared_after_open_is_refused_at_first_sight(
    old_pool: Path, open_pool: Opener
) -> None:
    pool = open_pool(old_pool)
    assert pool.root["first"].small == 0
    cls = declare("small: ps.uint8")
    with pytest.raises(ps.SchemaMismatchError):
        repr(pool.root["rows"][1])
    with pytest.raises(ps.SchemaMismatchError):
        pool.root["new"] = cls(1)
    assert "new" not in pool.root


def test_only_reading_with_a_later_layout(old_pool: Path, open_pool: Opener) -> None:
    """Fields that are made anew each time, too; nothing is written."""
    declare("small: ps.int32; new: list = ps.field(default_factory=lambda: [1]); n: int = 4")
    before = old_pool.read_bytes()
    pool = open_pool(old_pool, "r")
    row = pool.root["rows"][2]
    assert (row.small, row.new, row.n) == (-2, [1], 4)
    assert row.new is not row.new
    assert repr(row) == "Row(small=-2, new=[1], n=4)"
    pool.close()
    assert old_pool.read_bytes() == before


def test_a_default_that_is_made_anew_is_kept_once_it_is_seen(
    old_pool: Path, open_pool: Opener
) -> None:
    """A nested change is never lost: the list that was returned is the list of the record."""
    declare("small: ps.int32; new: list = ps.field(default_factory=list)")
    pool = open_pool(old_pool)
    pool.root["rows"][2].new.append(5)
    assert pool.root["rows"][2].new == [5]
    assert pool.root["rows"][3].new == []


def test_a_rolled_back_rewrite_leaves_the_old_layout(old_pool: Path, open_pool: Opener) -> None:
    declare("small: ps.int64; new: int = 1")
    pool = open_pool(old_pool)
    rows = pool.root["rows"]
    for _ in range(3):
        block = pool.transaction()
        block.__enter__()
        rows[1].small = 2**40
        rows[1].new = 9
        assert not rows[1]._schema._outdated
        block.__exit__(KeyError, KeyError(), None)
        assert (rows[1].small, rows[1].new) == (-1, 1)
        assert rows[1]._schema._outdated
    assert "version 1" in pool.schemas()["Row"]
    rows[1].small = 2**40
    assert (rows[1].small, rows[1].new) == (2**40, 1)


def test_migrate_finds_records_everywhere(tmp_path: Path) -> None:
    cls = declare("n: int; next: object = None", "Hidden")
    with ps.open(tmp_path / "p.pool", "n", size="2M") as pool:
        pool.root["a"] = {"b": [cls(1, cls(2, [cls(3)]))]}
        pool.root["many"] = [cls(i) for i in range(600)]
    cls = declare("n: int; next: object = None; more: int = 0", "Hidden")
    with ps.open(tmp_path / "p.pool") as pool:
        assert pool.migrate() == 603
        assert pool.migrate() == 0
        used = pool.stats().used_bytes
        pool.collect()
        assert pool.stats().used_bytes <= used
        assert pool.root["a"]["b"][0].next.next[0].more == 0
        with pool.transaction():
            assert pool.migrate() == 0


def test_migrate_counts_records_whose_default_is_made_anew(pool: ps.Pool) -> None:
    """Walking over such a record rewrote it, each in a transaction of its own, and uncounted."""
    old = declare("n: Any")
    pool.root["all"] = [old(None) for _ in range(300)]
    pool.root["all"][0].n = [pool.root["all"][1], {"x": pool.root["all"][299]}]
    pool.close()
    new = declare("n: Any; m: list = ps.field(default_factory=list)")
    with ps.open(pool.path) as again:
        before = again.stats().commits
        assert again.migrate() == 300
        assert again.stats().commits - before <= 4  # 256 records at a time, and the schema
        assert again.root["all"][299] == new(None, [])
        assert again.migrate() == 0
        assert again.check().ok


def test_four_generations(tmp_path: Path) -> None:
    """Each opens what the one before has left, records of all of them in one pool."""
    bodies = [
        "n: ps.int8",
        "n: ps.int16; s: str = 'a'",
        "n: ps.int32; text: str = ps.field(default='b', was='s')",
        "n: int; text: str = ps.field(default='c', was='s'); f: float = 1.5",
    ]
    path = tmp_path / "p.pool"
    for version, body in enumerate(bodies, 1):
        cls = declare(body, "Old")
        with ps.open(path, "c", size="1M") as pool:
            pool.root[version] = cls(version)
            assert pool.schemas()["Old"].startswith(f"Old, version {version}, ")
            assert [pool.root[i].n for i in range(1, version + 1)] == list(range(1, version + 1))
            assert pool.check().problems == ()
    with ps.open(path) as pool:
        assert [pool.root[i].text for i in (1, 2, 3, 4)] == ["c", "a", "b", "c"]
        assert pool.migrate() == 3
        assert [pool.root[i].text for i in (1, 2, 3, 4)] == ["c", "a", "b", "c"]


# ---- names


def test_two_classes_of_one_name(pool: ps.Pool) -> None:
    one = declare("n: int", "Twin")

    @ps.record(name="Twin")
    class Other:
        n: int

    pool.root["one"] = one(1)
    with pytest.raises(ps.NotPersistableError, match=r"Other: .*is not the record class 'Twin' of"):
        pool.root["other"] = Other(1)
    assert type(pool.root["one"]) is one


def test_a_class_that_was_declared_anew(pool: ps.Pool) -> None:
    old = declare("n: int", "Again")
    pool.root["it"] = old(1)
    kept = pool.root["it"]
    new = declare("n: int; m: int = 2", "Again")
    with pytest.raises(ps.NotPersistableError, match="was declared anew"):
        pool.root["other"] = old(1)
    with pytest.raises(TypeError, match="declared anew since this record was looked at"):
        _ = kept.n
    again = pool.root["it"]
    assert type(again) is new
    assert again == new(1)
    assert again is pool.root["it"]
    del kept  # the one that is out of date does not take the other with it
    assert again is pool.root["it"]


def test_a_class_that_is_declared_anew_before_its_records_are_looked_at(pool: ps.Pool) -> None:
    """open has met the first class, and bound nothing to it yet."""
    old = declare("n: int", "Later")
    pool.root["it"] = old(1)
    pool.close()
    with ps.open(pool.path) as again:
        new = declare("n: int; m: int = 2", "Later")
        assert again.root["it"] == new(1)
        assert type(again.root["it"]) is new
        again.root["other"] = new(3)
        assert again.check().ok


def test_a_class_that_is_gone_is_not_met(medium: Medium, open_pool: Opener) -> None:
    def declare(field: str) -> Any:
        fields = {"__annotations__": {field: int}, "__module__": field}
        return ps.record(type("Passing", (), fields), name="Passing")

    path, first = medium.folder / "passing.pool", declare("first")
    with open_pool(path) as pool:
        pool.root["record"] = first(5)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    with open_pool(path, "r") as pool:
        assert pool.root["record"].first == 5
    second = declare("second")
    with pytest.raises(ps.SchemaMismatchError, match="first"):
        open_pool(path, "r")
    assert second(7).second == 7


def test_a_class_that_open_has_met_keeps_its_name(pool: ps.Pool) -> None:
    """No record was looked at when another class took the same name in this process."""
    one = declare("n: int", "Kept")
    pool.root["it"] = one(1)
    pool.close()
    with ps.open(pool.path) as again:

        @ps.record(name="Kept")
        class Other:
            n: int

        assert type(again.root["it"]) is one
        with pytest.raises(ps.NotPersistableError, match="is not the record class 'Kept'"):
            again.root["other"] = Other(1)


def test_a_class_that_was_declared_anew_while_old_records_are_held(pool: ps.Pool) -> None:
    """A record that somebody kept was handed out again and again, and refused each time."""
    old = declare("n: int", "Held")
    pool.root["it"] = old(1)
    pool.root["list"] = [pool.root["it"], old(2)]
    kept = [pool.root["it"], *pool.root["list"]]
    new = declare("n: int; m: list = ps.field(default_factory=list)", "Held")
    assert pool.migrate() == 2
    assert pool.root["list"] == [new(1, []), new(2, [])]
    assert pool.root["list"][0] is pool.root["it"]
    with pool.transaction(), pytest.raises(TypeError, match="declared anew"):
        kept[0].n = 5
    assert pool.check().ok


@pytest.mark.parametrize(
    "fields",
    [
        [("n", ("int8",), ()), ("n", ("int8",), ())],
        [("class", ("int8",), ())],
        [("_leaves", ("int8",), ())],
        [("__slots__", ("int8",), ())],
        [("n", ("inline", "In", (("_layout", ("int8",), ()),)), ())],
        [("n", ("inline", "In", range(10**12)), ())],
        [(f"n{i}", ("inline", "In", ()), ()) for i in range(lib.PMS_RECORD_FIELDS_MAX + 1)],
    ],
)
def test_fields_that_no_class_can_have_are_damage(pool: ps.Pool, fields: list[Any]) -> None:
    row = declare("n: ps.int8")
    text = pack_value((1, "Row", 1, tuple(fields)))[1]
    with pool.transaction():
        schema = pool._new_schema(row._layout, row.__record__.fingerprint(), text)
        pool._schemas(True)["Row"] = schema
    with pytest.raises(ps.PoolCorruptError, match="its description is wrong"):
        pool.root["it"] = row(1)
    with pytest.raises(ps.PoolCorruptError, match="its description is wrong"):
        pool.schemas()


# ---- the pool around it


def test_rolled_back_and_closed(medium: Medium, open_pool: Opener) -> None:
    pool = open_pool(medium.folder / "gone.pool", "n", size="1M")
    block = pool.transaction()
    block.__enter__()
    kept = stored(pool, Bill(1, "a", 1.0))
    block.__exit__(KeyError, KeyError(), None)
    with pytest.raises(ps.StaleRefError):
        _ = kept.id
    with pytest.raises(ps.StaleRefError):
        kept.id = 2
    assert repr(kept) == "<Bill that was rolled back>"
    assert pool.schemas() == {}
    kept = stored(pool, Bill(1, "a", 1.0))
    pool.close()
    with pytest.raises(ps.PoolClosedError):
        _ = kept.id
    assert repr(kept) == "<Bill of a closed pool>"


def test_another_pool_gets_a_copy(medium: Medium, open_pool: Opener) -> None:
    one = open_pool(medium.folder / "one.pool", "n", size="1M")
    two = open_pool(medium.folder / "two.pool", "n", size="1M")
    kept = stored(one, Bill(1, "a", 1.0, [Wide(1, 1), {"w": Wide(2, 2)}]))
    two.root["copy"] = kept
    two.root["list"] = [kept.note[0]]
    assert two.root["copy"] == kept
    assert two.root["copy"]._pool is two
    two.root["copy"].note[0].x = 9
    assert kept.note[0].x == 1
    assert two.root["list"][0] == Wide(1, 1)


def test_only_reading(medium: Medium, open_pool: Opener) -> None:
    path = medium.folder / "r.pool"
    with open_pool(path, "n", size="1M") as pool:
        pool.root["it"] = Bill(1, "a", 1.0)
    reader = open_pool(path, "r")
    assert reader.root["it"] == Bill(1, "a", 1.0)
    with pytest.raises(ps.TransactionError):
        reader.root["it"].id = 2
    with pytest.raises(ps.TransactionError):
        reader.migrate()


def test_a_field_that_fails_changes_nothing(pool: ps.Pool) -> None:
    kept = stored(pool, Bill(1, "a", 1.0, [1]))
    before = copy.deepcopy(kept)
    with pool.transaction():
        with pytest.raises(ps.NotPersistableError):
            kept.note = [1, object()]
        with pytest.raises(TypeError):
            kept.total = "1"
    assert kept == before


def test_threads_see_whole_records(pool: ps.Pool) -> None:
    """``==`` and ``repr`` look once: never at half of another thread's transaction."""
    kept = stored(pool, Wide(0, 0))
    stop = threading.Event()
    torn: list[str] = []

    def look() -> None:
        while not stop.is_set():
            text = repr(kept)
            numbers = text[len("Wide(x=") : -1].replace(", z=3", "").split(", y=")
            if float(numbers[0]) != float(numbers[1]):
                torn.append(text)

    thread = threading.Thread(target=look)
    thread.start()
    for i in range(300):
        with pool.transaction():
            kept.x = i
            kept.y = i
    stop.set()
    thread.join()
    assert torn == []
