"""Records: a dataclass in memory, the same in a pool."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import enum
import math
import pickle
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from zoneinfo import ZoneInfo

import pytest

import pmemstore as ps
from pmemstore._native import slots


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 10
    HIGH = 20


@ps.record
class Point:
    x: ps.int32
    y: ps.float32 = 0.5

    def moved(self, by: int) -> Point:
        return Point(self.x + by, self.y)


@ps.record
class Order:
    id: int
    customer: str
    total: float
    note: str | None = None


@ps.record
class Everything:
    flag: bool = False
    i8: ps.int8 = 0
    i16: ps.int16 = 0
    i32: ps.int32 = 0
    i64: ps.int64 = 0
    u8: ps.uint8 = 0
    u16: ps.uint16 = 0
    u32: ps.uint32 = 0
    u64: ps.uint64 = 0
    f32: ps.float32 = 0.0
    f64: ps.float64 = 0.0
    plain_float: float = 0.0
    maybe: ps.int16 | None = None
    maybe_flag: bool | None = None
    text: Annotated[str, ps.fixed(7)] = ""
    data: Annotated[bytes, ps.fixed(9)] | None = None
    color: Color = Color.RED
    level: Level | None = None
    when: dt.datetime | None = None
    row: Annotated[tuple[int, ...], ps.array_of(ps.int16, 3)] = (0, 0, 0)
    bits: Annotated[tuple[bool, ...], ps.array_of(bool, 5)] = (False,) * 5
    point: Annotated[Point, ps.inline] = ps.field(default_factory=lambda: Point(1))
    value: Any = None
    other: Point | None = None
    items: list[Any] = ps.field(default_factory=list)


@ps.record
class Node:
    name: str
    next: Node | None = None


def stored(pool: ps.Pool, value: Any) -> Any:
    pool.root["it"] = value
    return pool.root["it"]


NUMBERS = {
    "i8": 8,
    "i16": 16,
    "i32": 32,
    "i64": 64,
    "u8": 8,
    "u16": 16,
    "u32": 32,
    "u64": 64,
}


def limits(name: str) -> tuple[int, int]:
    bits = NUMBERS[name]
    return (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


# ---- a record is what a dataclass is


def test_a_record_in_memory_is_a_dataclass() -> None:
    order = Order(17, "Ada", total=9.5)
    assert repr(order) == "Order(id=17, customer='Ada', total=9.5, note=None)"
    assert order == Order(17, "Ada", 9.5)
    assert order != Order(17, "Ada", 9.5, "paid")
    assert order != (17, "Ada", 9.5, None)
    assert dataclasses.is_dataclass(order)
    assert dataclasses.astuple(order) == (17, "Ada", 9.5, None)
    assert dataclasses.asdict(order)["customer"] == "Ada"
    assert dataclasses.replace(order, note="x").note == "x"
    assert copy.copy(order) == order
    assert copy.deepcopy(order) == order
    assert pickle.loads(pickle.dumps(order)) == order
    with pytest.raises(TypeError, match="unhashable"):
        hash(order)
    with pytest.raises(TypeError, match="missing 2 required positional arguments"):
        Order(1)  # type: ignore[call-arg] # the point
    match order:
        case Order(17, name):
            assert name == "Ada"
        case _:
            pytest.fail("no match")


def test_a_stored_record_is_one_too(pool: ps.Pool) -> None:
    plain = Order(17, "Ada", 9.5)
    order = stored(pool, plain)
    assert type(order) is Order
    assert order is pool.root["it"]
    assert order is not plain
    assert order == plain
    assert plain == order
    assert repr(order) == repr(plain)
    assert dataclasses.astuple(order) == dataclasses.astuple(plain)
    assert dataclasses.replace(order, id=18) == Order(18, "Ada", 9.5)
    match order:
        case Order(17, name, note=None):
            assert name == "Ada"
        case _:
            pytest.fail("no match")
    order.note = "paid"
    order.total += 1
    assert pool.root["it"] == Order(17, "Ada", 10.5, "paid")
    assert plain.note is None


def test_the_example_of_the_readme(pool: ps.Pool) -> None:
    pool.root.setdefault("orders", {})
    pool.root["orders"][17] = Order(17, "Ada", 9.5)
    block = pool.transaction()
    block.__enter__()
    pool.root["orders"][17].note = "paid"
    assert pool.root["orders"][17].note == "paid"
    block.__exit__(KeyError, KeyError(), None)
    assert pool.root["orders"][17].note is None


def test_order_frozen_hash_kw_only(pool: ps.Pool) -> None:
    @ps.record(order=True, frozen=True, kw_only=True)
    class Version:
        major: ps.uint8
        minor: ps.uint8 = 0
        label: str = dataclasses.field(default="", compare=False, repr=False)

    one, two = Version(major=1), Version(major=1, minor=2, label="x")
    kept = stored(pool, two)
    assert one < two
    assert one <= kept
    assert kept >= one
    assert kept > one
    assert kept == two
    assert hash(kept) == hash(two)
    assert repr(kept) == "Version(major=1, minor=2)"
    for each in (one, kept):
        with pytest.raises(dataclasses.FrozenInstanceError, match="major"):
            each.major = 3  # type: ignore[misc] # the point
        with pytest.raises(dataclasses.FrozenInstanceError):
            del each.major  # type: ignore[misc] # the point
    with pytest.raises(TypeError):
        Version(1)  # type: ignore[misc] # the point
    assert kept.__lt__(3) is NotImplemented


def test_post_init_init_var_class_var_and_properties(pool: ps.Pool) -> None:
    @ps.record
    class Account:
        owner: str
        cents: ps.int64 = ps.field(init=False, default=0)
        limit: ClassVar[int] = 100
        euros: dataclasses.InitVar[float] = 0.0

        def __post_init__(self, euros: float) -> None:
            self.cents = round(euros * 100)

        @property
        def balance(self) -> float:
            return self.cents / 100

        @balance.setter
        def balance(self, euros: float) -> None:
            self.cents = round(euros * 100)

    account = stored(pool, Account("Ada", 2.5))
    assert account.cents == 250
    account.balance = 3.25
    assert (account.cents, account.balance, account.limit) == (325, 3.25, 100)


def test_inheritance_and_super(pool: ps.Pool) -> None:
    class Named:
        __slots__ = ()
        name: Any

        def shout(self) -> str:
            return str(self.name).upper()

    @ps.record
    class Animal(Named):
        name: str
        legs: ps.uint8 = 4

        def describe(self) -> str:
            return f"{self.name} with {self.legs} legs"

    @ps.record
    class Dog(Animal):
        tricks: list[str] = ps.field(default_factory=list)
        legs: ps.uint16 = 4

        def describe(self) -> str:
            return super().describe() + f" and {len(self.tricks)} tricks"

    dog = stored(pool, Dog("Rex"))
    assert isinstance(dog, Animal)
    assert [f.name for f in dataclasses.fields(dog)] == ["name", "legs", "tricks"]
    dog.tricks.append("sit")
    assert dog.describe() == "Rex with 4 legs and 1 tricks"
    assert dog.shout() == "REX"
    pool.root["cat"] = Animal("Tom")
    assert type(pool.root["cat"]) is Animal
    assert sorted(name.rpartition(".")[2] for name in pool.schemas()) == ["Animal", "Dog"]


T = TypeVar("T")


def test_generic_classes(pool: ps.Pool) -> None:
    @ps.record
    class Box(Generic[T]):
        content: T

    box = stored(pool, Box[int](3))
    assert box.content == 3
    assert Box.__class_getitem__(int) is not None


def test_what_eq_and_repr_of_the_user_do_stays(pool: ps.Pool) -> None:
    @ps.record
    class Mine:
        n: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Mine) and self.n % 10 == other.n % 10

        def __repr__(self) -> str:
            return f"<{self.n}>"

        __hash__ = None  # type: ignore[assignment] # as the builtin containers

    assert stored(pool, Mine(13)) == Mine(3)
    assert repr(pool.root["it"]) == "<13>"


# ---- fields


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_keep_their_limits(pool: ps.Pool, name: str) -> None:
    low, high = limits(name)
    plain = Everything()
    kept = stored(pool, plain)
    for each in (plain, kept):
        for value in (low, high, 0, 1, high // 3, True):
            setattr(each, name, value)
            assert getattr(each, name) == value
            assert type(getattr(each, name)) is int
        kind = name.replace("i", "int").replace("u", "uint")
        for value in (low - 1, high + 1, 2**200, -(2**200)):
            with pytest.raises(OverflowError) as refused:
                setattr(each, name, value)
            assert str(refused.value) == (
                f"Everything.{name}: {value} does not fit {kind} ({low} to {high})"
            )
        for wrong in (1.0, "1", None):
            with pytest.raises(TypeError, match=rf"Everything\.{name}: .* takes {kind}"):
                setattr(each, name, wrong)
        assert getattr(each, name) == 1


def test_neighbours_are_left_alone(pool: ps.Pool) -> None:
    """Fields share words: each is set to ones, then to zeroes, and no other field moves."""
    kept = stored(pool, Everything())
    plain = Everything()
    for name in NUMBERS:
        for value in (limits(name)[1], limits(name)[0], 0):
            setattr(kept, name, value)
            setattr(plain, name, value)
            assert kept == plain
    values: dict[str, Any] = {
        "flag": True,
        "maybe": -1,
        "maybe_flag": False,
        "text": "1234567",
        "data": b"123456789",
        "color": Color.GREEN,
        "level": Level.HIGH,
        "row": (-1, -1, -1),
        "bits": (True,) * 5,
        "f32": -1.0,
    }
    for name, value in values.items():
        setattr(kept, name, value)
        setattr(plain, name, value)
        assert kept == plain
    for name in ("maybe", "maybe_flag", "data", "level"):
        setattr(kept, name, None)
        setattr(plain, name, None)
        assert kept == plain
    assert pool.check().ok


def test_floats(pool: ps.Pool) -> None:
    plain = Everything()
    kept = stored(pool, plain)
    for each in (plain, kept):
        each.f32 = 0.1
        assert each.f32 == pytest.approx(0.1, rel=1e-7)
        assert each.f32 != 0.1
        each.f32 = math.inf
        assert each.f32 == math.inf
        with pytest.raises(OverflowError, match="does not fit float32"):
            each.f32 = 1e39
        each.f64 = 3
        assert type(each.f64) is float
        each.f64 = math.nan
        assert math.isnan(each.f64)
        with pytest.raises(TypeError, match="takes float64"):
            each.plain_float = "1"  # type: ignore[assignment] # the point
        with pytest.raises(OverflowError):
            each.plain_float = 10**400


def test_fixed_text_and_bytes(pool: ps.Pool) -> None:
    plain = Everything()
    kept = stored(pool, plain)
    for each in (plain, kept):
        for text in ("", "a", "a\0", "\0\0", "äöü", "\udc80", "1234567"):
            each.text = text
            assert each.text == text
        with pytest.raises(ValueError, match=r"Everything\.text: 8 bytes; .* room for 7 bytes of"):
            each.text = "ääää"
        with pytest.raises(TypeError, match="takes a fixed str"):
            each.text = b"a"  # type: ignore[assignment] # the point
        for data in (b"", b"\0", b"123456789", None):
            each.data = data
            assert each.data == data
        with pytest.raises(ValueError, match="10 bytes"):
            each.data = b"1234567890"
        assert each.text == "1234567"
        assert each.data is None


def test_enums(pool: ps.Pool) -> None:
    plain = Everything()
    kept = stored(pool, plain)
    for each in (plain, kept):
        each.color = Color.GREEN
        assert each.color is Color.GREEN
        each.level = Level.LOW
        assert each.level is Level.LOW
        for wrong in ("g", None, Level.LOW):
            with pytest.raises(TypeError, match=r"Everything\.color: .*Color"):
                each.color = wrong  # type: ignore[assignment] # the point
        each.level = None
        assert each.level is None


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime.min,
        dt.datetime.max,
        dt.datetime(2024, 2, 29, 12, 30, 59, 999_999),
        dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
        dt.datetime(2024, 2, 29, tzinfo=dt.timezone(dt.timedelta(hours=-3, microseconds=7))),
        dt.datetime(2024, 2, 29, tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")),
        dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    ],
)
def test_datetimes(pool: ps.Pool, moment: dt.datetime) -> None:
    plain = Everything(when=moment)
    for each in (plain, stored(pool, plain)):
        assert each.when is not None
        assert each.when == moment
        assert (each.when.tzinfo, each.when.fold) == (moment.tzinfo, moment.fold)
        assert each.when.utcoffset() == moment.utcoffset()
        assert each.when.tzname() == moment.tzname()
        each.when = None
        assert each.when is None
        with pytest.raises(TypeError, match=r"Everything\.when: .* takes a datetime"):
            each.when = dt.date(2024, 1, 1)  # type: ignore[assignment] # the point


def test_arrays(pool: ps.Pool) -> None:
    plain = Everything()
    kept = stored(pool, plain)
    for each in (plain, kept):
        each.row = [1, -2, 3]  # type: ignore[assignment] # any iterable will do
        assert each.row == (1, -2, 3)
        each.row = iter((4, 5, 6))  # type: ignore[assignment] # any iterable will do
        assert each.row == (4, 5, 6)
        with pytest.raises(ValueError, match=r"Everything\.row: 2 items; the array has 3"):
            each.row = (1, 2)
        with pytest.raises(OverflowError, match="40000 does not fit int16"):
            each.row = (1, 2, 40000)
        for wrong in ("abc", 5, None):
            with pytest.raises(TypeError):
                each.row = wrong  # type: ignore[assignment] # the point
        each.bits = (True, False, True, False, True)
        assert each.bits == (True, False, True, False, True)
        assert each.row == (4, 5, 6)


def test_inline_records_are_changed_in_place(pool: ps.Pool) -> None:
    plain = Everything()
    kept = stored(pool, plain)
    for each in (plain, kept):
        each.point.x = 99
        assert each.point == Point(99)
        assert each.point.moved(1) == Point(100)
        point = Point(5, 2.0)
        each.point = point
        point.x = 6
        assert each.point == Point(5, 2.0)
        assert repr(each.point) == "Point(x=5, y=2.0)"
        with pytest.raises(TypeError, match=r"Everything\.point: .*Point"):
            each.point = 3  # type: ignore[assignment] # the point
        with pytest.raises(OverflowError, match=r"Everything\.point\.x: .* int32"):
            each.point.x = 2**31
    pool.root["copy"] = kept.point  # a record of its own
    pool.root["copy"].x = 1
    assert kept.point.x == 5
    kept.point = pool.root["copy"]
    assert kept.point.x == 1
    view = kept.point
    del kept, pool.root["it"]
    assert view.x == 1  # it keeps the record around it
    assert copy.deepcopy(view) == Point(1, 2.0)


def test_references_and_containers(pool: ps.Pool) -> None:
    kept = stored(pool, Everything(items=[1, {"a": [2]}], other=Point(1), value=(1, "x")))
    kept.items.append(3)
    kept.items[1]["a"].append(4)
    assert kept.items == [1, {"a": [2, 4]}, 3]
    assert kept.other is kept.other
    kept.other.x = 12
    pool.root["alias"] = kept.other
    assert pool.root["alias"] is kept.other
    assert pool.root["alias"].x == 12
    for value in (None, 2**90, "x" * 5000, b"b", 1.5, {"k": []}, [Point(3)], dt.date(2024, 1, 1)):
        kept.value = value
        assert kept.value == value
    with pytest.raises(ps.NotPersistableError):
        kept.value = object()
    assert kept.value == dt.date(2024, 1, 1)


def test_cycles_and_shared_records(pool: ps.Pool) -> None:
    shared = Node("shared")
    pool.root["two"] = [Node("a", shared), Node("b", shared)]
    a, b = pool.root["two"]
    assert a.next is b.next
    loop = stored(pool, Node("loop"))
    loop.next = loop
    assert loop.next is loop
    assert repr(loop) == "Node(name='loop', next=...)"
    twin = copy.deepcopy(loop)
    assert twin.next is twin
    with pytest.raises(ValueError, match="the value contains itself"):
        stored(pool, twin)
    loop.next = None
    assert pool.check().ok


def test_a_long_chain_needs_no_recursion(pool: ps.Pool) -> None:
    chain: Node | None = None
    for i in range(3000):
        chain = Node(str(i), chain)
    pool.root["chain"] = chain
    assert sum(1 for _ in walk(pool.root["chain"])) == 3000
    del pool.root["chain"]
    pool.collect()
    assert pool.stats().used_bytes < 10_000


def walk(node: Any) -> Any:
    while node is not None:
        yield node
        node = node.next


def test_fields_without_a_value(pool: ps.Pool) -> None:
    @ps.record
    class Later:
        n: ps.int8 = ps.field(init=False)

    later = Later()
    with pytest.raises(AttributeError, match=r"Later\.n has no value yet"):
        _ = later.n
    with pytest.raises(AttributeError, match="has no value yet"):
        pool.root["later"] = later
    assert "later" not in pool.root
    later.n = 3
    assert stored(pool, later).n == 3


def test_what_is_refused(pool: ps.Pool) -> None:
    order = stored(pool, Order(1, "a", 1.0))
    for each in (order, Order(1, "a", 1.0)):
        with pytest.raises(AttributeError, match="colour"):
            each.colour = "red"  # type: ignore[attr-defined] # the point
        with pytest.raises(AttributeError, match="cannot be deleted"):
            del each.note
    with pytest.raises(TypeError, match=r"cannot pickle a persistent Order.*deepcopy"):
        pickle.dumps(order)
    with pytest.raises(ps.NotPersistableError, match=r"\.note: .*object: cannot be kept"):
        pool.root["bad"] = Order(1, "a", 1.0, object())  # type: ignore[arg-type] # the point
    assert "bad" not in pool.root

    class Special(Order):
        pass

    with pytest.raises(ps.NotPersistableError, match="decorate it with @record too"):
        pool.root["bad"] = Special(1, "a", 1.0)
    with pytest.raises(TypeError, match="cannot be used with"):
        type(order).__dict__["id"].__get__(Point(1))


def test_a_refusal_runs_no_method_of_a_record(pool: ps.Pool) -> None:
    """The search for the place of a refused value asked records for their length."""

    @ps.record
    class Odd:
        n: int

        def __len__(self) -> int:
            raise RuntimeError("asked")

    pool.root["odd"] = Odd(1)
    pool.root["list"] = []
    with pytest.raises(ps.NotPersistableError, match=r"^root\['list'\]"):
        pool.root["list"].append(object())


def test_descriptors_of_no_class_are_refused() -> None:
    """A descriptor without leaves, or with those of another class, was a signal when used."""
    layout = Point._layout
    for first, count, inner in [(0, 0, None), (0, 1, Point), (0, 99, None)]:
        with pytest.raises(ValueError, match=r"^Field\(\): "):
            slots.Field("f", layout, first, count, None, None, inner)
    with pytest.raises(AttributeError, match="no attribute '_layout'"):
        slots.Field("f", layout, 0, 1, None, None, int)
    with pytest.raises(TypeError, match="names are str"):
        slots.Layout("n", (5,), ((3, 0, 0, 0, 1),), 8)


def test_a_record_is_no_value(pool: ps.Pool) -> None:
    """A frozen record hashes; as a key the message advised to register its class."""

    @ps.record(frozen=True, order=True)
    class Key:
        n: int

    refused = pytest.raises(ps.NotPersistableError, match=r"as a key, an element of a set, or")
    for bad in ({Key(1)}, (Key(1),), frozenset([Key(1)]), {Key(1): 1}, [{Key(1): 1}]):
        with refused:
            pool.root["bad"] = bad
    with refused:
        pool.root[Key(1)] = 1
    with refused:
        pool.root["bad"] = ps.SortedSet.of([Key(1)])
    assert "bad" not in pool.root
    assert pool.check().ok


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make("a: 'Annotated[int, ps.fixed(3)]'"), "for str and bytes"),
        (lambda: make("a: 'Annotated[int, ps.inline]'"), "for record classes"),
        (lambda: make("a: 'Annotated[Point, ps.inline] | None'"), "always there"),
        (lambda: make("_leaves: int"), "taken by records"),
        (lambda: make("__record__: int"), "taken by records"),
        (lambda: make("__len__: int = 0"), "taken by records"),
        (lambda: make("a: Flags"), "number of bits"),
        (lambda: make("__slots__ = ()\n  a: int"), "drop __slots__"),
        (lambda: make("a: int", "Plain"), "__slots__ = ()"),
        (lambda: ps.array_of(int, 3), "an array is of"),
    ],
)
def test_classes_that_cannot_be_records(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def make(body: str, base: str = "object") -> Any:
    class Flags(enum.Flag):
        A = 1

    class Plain:
        pass

    names = {**globals(), "Flags": Flags, "Plain": Plain}
    exec(f"@ps.record\nclass Made({base}):\n  {body}", names)
    return names["Made"]


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="1 to 4096"):
        ps.fixed(4097)
    with pytest.raises(ValueError, match="at least one"):
        ps.array_of(ps.int8, 0)
    with pytest.raises(ValueError, match="size of a record"):
        make("a: 'Annotated[tuple[int, ...], ps.array_of(ps.int64, 5000)]' = ()")
    with pytest.raises(ValueError, match="1024"):
        make("\n  ".join(f"f{i}: ps.int8 = 0" for i in range(1025)))


def test_no_fields_and_many_fields(pool: ps.Pool) -> None:
    empty = make("pass")
    assert stored(pool, empty()) == empty()
    many = make("\n  ".join(f"f{i}: ps.int8 | None = None" for i in range(200)))
    kept = stored(pool, many(f7=3, f199=-1))
    assert (kept.f7, kept.f8, kept.f199) == (3, None, -1)
    kept.f64 = 5
    assert (kept.f63, kept.f64, kept.f65) == (None, 5, None)


def test_the_layout_is_that_of_the_page(pool: ps.Pool) -> None:
    """Declaration order, natural alignment, presence bits first; and stable."""
    stored(pool, Everything())
    lines = pool.schemas()["Everything"].splitlines()
    assert lines[0] == "Everything, version 1, 192 bytes"
    places = {line.split()[1].rstrip(":"): int(line.split()[0]) for line in lines[1:]}
    assert places == {
        **{"flag": 8, "i8": 9, "i16": 10, "i32": 12, "i64": 16, "u8": 24, "u16": 26, "u32": 28},
        **{"u64": 32, "f32": 40, "f64": 48, "plain_float": 56, "maybe": 64, "maybe_flag": 66},
        **{"text": 68, "data": 78, "color": 90, "level": 92, "when": 96, "row": 120, "bits": 126},
        **{"point": 132, "value": 144, "other": 160, "items": 176},
    }
