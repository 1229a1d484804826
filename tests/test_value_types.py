"""Paths, enums, IP addresses, the application's own types: as values, as keys, and unknown."""

from __future__ import annotations

import enum
import math
import subprocess
import sys
import types
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import astuple, dataclass
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest

import pmemstore
from pmemstore import (
    NotPersistableError,
    Opaque,
    PoolCorruptError,
    UnknownTypeError,
    UnpackError,
    UnreadableValueError,
)
from pmemstore.values import pack_key, pack_value, unpack

if TYPE_CHECKING:
    from conftest import Medium

PACKED = 9


class Colour(enum.Enum):
    RED = 1
    GREEN = (2, "x")
    ALSO_RED = 1


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2**70


class Word(enum.StrEnum):
    YES = "yes"
    ODD = "\ud800"


class OldWord(str, enum.Enum):  # noqa: UP042 - it differs
    YES = "yes"


class Ratio(float, enum.Enum):
    HALF = 0.5
    WHOLE = 1.0


class Perm(enum.Flag):
    R = 4
    W = 2
    X = 1
    RW = 6


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Holder:
    class Inner(enum.Enum):
        ONE = 1


class Fuzzy(enum.Enum):
    """Compares as nothing else does."""

    ONE = 1

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Pair(tuple[int, int], enum.Enum):
    A = (1, 2)


PATHS: list[PurePath] = [
    PurePosixPath("a/b"),
    PurePosixPath("/"),
    PurePosixPath("//net"),
    PurePosixPath(""),
    PurePosixPath("nul \udcff byte"),
    PureWindowsPath("C:\\x\\Y.txt"),
    PureWindowsPath("//server/share/dir"),
    Path("/etc/passwd"),
    Path("relative"),
]
ENUMS: list[enum.Enum] = [
    Colour.RED,
    Colour.GREEN,
    Size.SMALL,
    Size.LARGE,
    Word.YES,
    Word.ODD,
    OldWord.YES,
    Ratio.HALF,
    Perm.R,
    Perm.RW,
    Perm.R | Perm.X,
    Perm(0),
    Bits.A | Bits.B,
    Bits(0),
    Holder.Inner.ONE,
    Fuzzy.ONE,
    Pair.A,
    HTTPStatus.NOT_FOUND,
]
ADDRESSES: list[Any] = [
    ip_address("192.0.2.1"),
    ip_network("192.0.2.0/24"),
    ip_interface("192.0.2.5/24"),
    ip_address("2001:db8::1"),
    ip_address("fe80::1%eth0"),
    ip_network("2001:db8::/32"),
    ip_interface("2001:db8::5/32"),
    ip_interface("fe80::1%eth0/64"),
]


@pytest.mark.parametrize("value", [*PATHS, *ADDRESSES], ids=repr)
def test_value_comes_back_with_its_type(value: Any, pool: pmemstore.Pool) -> None:
    """Alone, inside a tuple, a list and a dict, and after the pool was opened again."""
    pool.root.update(v=value, t=(1, (value,)), f=frozenset([value]), n=[{"k": value}])
    pool.checkpoint()
    for found in (pool.root["v"], pool.root["t"][1][0], pool.root["n"][0]["k"], *pool.root["f"]):
        assert type(found) is type(value)
        assert found == value
        assert str(found) == str(value)


@pytest.mark.parametrize("member", ENUMS, ids=repr)
def test_enum_members_come_back_as_themselves(member: enum.Enum, pool: pmemstore.Pool) -> None:
    """The very object, whatever it is derived from."""
    pool.root.update(v=member, t=(1, (member,)), n=[{"k": member}])
    assert pool.root["v"] is member
    assert pool.root["t"][1][0] is member
    assert pool.root["n"][0]["k"] is member


def test_the_bytes_are_those_of_format_1() -> None:
    """They are part of the file format."""
    expected: list[tuple[Any, str]] = [
        (PurePosixPath("a"), "d60d9200a161"),
        (PureWindowsPath("a"), "d60d9201a161"),
        (PosixPath("a"), "d60d9202a161"),
        (HTTPStatus.OK, "c7140e92af" + b"http:HTTPStatus".hex() + "a2" + b"OK".hex()),
        (ip_address("::1"), "c7060f9203a33a3a31"),
        (ip_network("10.0.0.0/8"), "c70d0f9201aa31302e302e302e302f38"),
    ]
    for value, data in expected:
        assert pack_value(value)[1].hex() == data, value


# ---- keys ----


class Length(int):
    pass


# Equal keys stand on one line.
EQUAL_KEYS: list[list[Any]] = [
    [PurePosixPath("a/b"), Path("a/b"), PurePosixPath("a//b/.")],
    [PurePosixPath("A/b")],
    [PureWindowsPath("a\\b"), PureWindowsPath("A/B")],
    ["a/b"],
    [1, Size.SMALL, Bits.A, Ratio.WHOLE, True, np.int8(1), np.float32(1), np.bool_(True)],
    [2**70, Size.LARGE, np.float64(2**70), Length(2**70)],
    [2**64 - 1, np.uint64(2**64 - 1)],
    [1e300, np.float64(1e300)],
    [3, Bits.A | Bits.B, np.uint64(3), np.complex64(3)],
    [0, Bits(0), np.float64(-0.0)],
    [0.5, Ratio.HALF, np.float16(0.5), Decimal("0.5")],
    [float(np.float32(0.1)), np.float32(0.1)],
    [0.1, np.float64(0.1)],
    ["yes", Word.YES, OldWord.YES, np.str_("yes")],
    ["\ud800", Word.ODD],
    [Colour.RED, Colour.ALSO_RED],
    [Colour.GREEN],
    [Perm.R | Perm.W, Perm.RW],
    [Perm.R | Perm.X],
    [Perm.R],
    [Perm(0)],
    [HTTPStatus.OK, 200],
    [(1, "yes"), (Size.SMALL, Word.YES), (np.int64(1), np.str_("yes")), (Bits.A, OldWord.YES)],
    [(Colour.RED, PurePosixPath("x")), (Colour.RED, Path("x"))],
    [frozenset([2, Colour.RED]), frozenset([np.int16(2), Colour.RED])],
    *([address] for address in ADDRESSES),
    [1 + 2j, np.complex128(1 + 2j)],
    [np.float64(math.inf), math.inf],
    [Fraction(1, 3)],
]


def test_equal_keys_are_one_key_and_others_are_not(direct_pool: pmemstore.Pool) -> None:
    """As in a dict: the pool agrees with Python on each pair."""
    direct_pool.root["d"] = {}
    stored = direct_pool.root["d"]
    flat = [(line, key) for line, keys in enumerate(EQUAL_KEYS) for key in keys]
    for line, key in flat:
        assert hash(key) == hash(EQUAL_KEYS[line][0])
        assert key == EQUAL_KEYS[line][0]
        stored[key] = line
    assert len(stored) == len(EQUAL_KEYS)
    for line, key in flat:
        assert stored[key] == line
        assert key in stored
    for line, key in flat:
        assert stored.pop(key, line) == line
    assert len(stored) == 0


def test_what_a_key_comes_back_as(direct_pool: pmemstore.Pool) -> None:
    """Members that are ints, floats or strs come back as these; inside tuples as themselves."""
    root = direct_pool.root
    root["d"] = {Size.SMALL: 1, Word.YES: 2, np.float32(0.5): 3, Colour.RED: 4, Path("p"): 5}
    kept = list(root["d"])
    assert kept == [1, "yes", 0.5, Colour.RED, Path("p")]
    assert [type(key) for key in kept] == [int, str, float, Colour, PosixPath]
    root["t"] = {(Size.SMALL, Word.YES, Path("x")): 1}
    (key,) = root["t"]
    assert key == (Size.SMALL, Word.YES, Path("x"))
    assert [type(item) for item in key] == [Size, Word, PosixPath]
    root["n"] = {(np.int64(4), "x"): 1}
    (key,) = root["n"]
    assert key == (4, "x")
    assert type(key[0]) is int


class Liar(int):
    """Equal to other numbers than the one it is."""

    def __eq__(self, other: object) -> bool:
        return other == 99

    def __hash__(self) -> int:
        return hash(99)


@pytest.mark.parametrize(
    "key",
    [Fuzzy.ONE, Pair.A, Liar(5), (1, Liar(5)), np.datetime64("2024-01-01"), np.longdouble(0.1)],
    ids=repr,
)
def test_keys_that_compare_in_their_own_way_are_refused(
    key: Any, direct_pool: pmemstore.Pool
) -> None:
    """Better than to be another key than in a dict."""
    with pytest.raises(NotPersistableError):
        direct_pool.root[key] = 1
    with pytest.raises(NotPersistableError):
        direct_pool.root[key]


def test_every_nan_is_the_same_key_numpys_too(direct_pool: pmemstore.Pool) -> None:
    direct_pool.root["d"] = {math.nan: 1}
    assert direct_pool.root["d"][np.float64("nan")] == 1
    assert direct_pool.root["d"][np.float32("nan")] == 1


@pytest.mark.parametrize(
    "value", [np.int64(1), np.float64(1), np.bool_(True), np.str_("x")], ids=repr
)
def test_numpy_scalars_are_no_values(value: Any, direct_pool: pmemstore.Pool) -> None:
    """They would come back as something else; the message says what to call."""
    with pytest.raises(NotPersistableError, match=r"item\(\)|int\(\)|float\(\)|str"):
        direct_pool.root["x"] = value


@pytest.mark.parametrize("value", [bytearray(b"x"), memoryview(b"x")], ids=repr)
def test_mutable_bytes_are_refused_with_a_hint(value: Any, direct_pool: pmemstore.Pool) -> None:
    with pytest.raises(NotPersistableError, match=r"bytes\(\)"):
        direct_pool.root["x"] = value


# ---- enum classes that are not there ----


def make_enum(name: str, module: str, members: str) -> Any:
    return enum.Enum(name, members, module=module, qualname=name)


def test_a_class_that_cannot_be_found_again_is_refused() -> None:
    """Made in a function, or hidden behind another object of its name."""
    local = make_enum("Local", __name__, "A")
    with pytest.raises(NotPersistableError, match=r"Local: .*pmemstore.register"):
        pack_value(local.A)
    with pytest.raises(NotPersistableError, match="Colour"):
        pack_value(make_enum("Colour", __name__, "RED").RED)


def test_an_unknown_class_or_member_is_a_clear_error() -> None:
    """It names the class and what to do, and becomes readable when the class is there."""
    module = types.ModuleType("pmemstore_test_shapes")
    sys.modules[module.__name__] = module
    try:
        module.Shape = make_enum("Shape", module.__name__, "ROUND FLAT")  # type: ignore[attr-defined]
        _, data = pack_value((module.Shape.FLAT,))
        assert unpack(PACKED, data) == (module.Shape.FLAT,)
        module.Shape = make_enum("Shape", module.__name__, "ROUND")  # type: ignore[attr-defined]
        with pytest.raises(
            UnknownTypeError, match="'FLAT' of the enum 'pmemstore_test_shapes:Shape'"
        ):
            unpack(PACKED, data)
        del module.Shape
        with pytest.raises(UnknownTypeError, match=r"import the module 'pmemstore_test_shapes'"):
            unpack(PACKED, data)
    finally:
        del sys.modules[module.__name__]
    with pytest.raises(UnknownTypeError) as found:
        unpack(PACKED, data)
    assert found.value.name == "pmemstore_test_shapes:Shape"
    assert isinstance(found.value, LookupError)


@pytest.mark.parametrize(
    "name",
    [
        "antigravity:fly",
        "this:s",
        "os:system",
        "sys:exit",
        "builtins:print",
        "x",
        "",
        ":",
        "a:" * 9,
    ],
)
def test_nothing_is_imported_and_nothing_called_for_a_pool(name: str) -> None:
    """Any name that a forged pool may have: looked up, and no more."""
    before = set(sys.modules)
    data = msgpack.packb(msgpack.ExtType(14, msgpack.packb([name, "A"])))
    with pytest.raises(UnknownTypeError):
        unpack(PACKED, data)
    assert set(sys.modules) == before


def test_a_lazy_module_is_not_asked() -> None:
    """A module's __getattr__ may import whatever it likes."""
    asked = []
    module = types.ModuleType("pmemstore_test_lazy")
    module.__getattr__ = lambda name: asked.append(name)  # type: ignore[method-assign]
    sys.modules[module.__name__] = module
    try:
        data = msgpack.packb(msgpack.ExtType(14, msgpack.packb(["pmemstore_test_lazy:X", "A"])))
        with pytest.raises(UnknownTypeError):
            unpack(PACKED, data)
    finally:
        del sys.modules[module.__name__]
    assert asked == []


def test_a_combination_of_a_class_that_is_no_flag_is_an_error() -> None:
    data = msgpack.packb(
        msgpack.ExtType(14, msgpack.packb([f"{__name__}:Colour", ["RED", "GREEN"]]))
    )
    with pytest.raises(UnknownTypeError, match="no Flag"):
        unpack(PACKED, data)


# ---- types of the application ----


@dataclass(frozen=True)
class Money:
    cents: int
    currency: str


@dataclass(frozen=True)
class Order:
    number: int
    price: Any


Point = namedtuple("Point", "x y")


@pytest.fixture(autouse=True)
def forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone afterwards."""
    from pmemstore.values import types as registry

    monkeypatch.setattr(registry, "_by_type", dict(registry._by_type))
    monkeypatch.setattr(registry, "_by_name", dict(registry._by_name))


def register_money(**options: Any) -> None:
    pmemstore.register(Money, astuple, lambda fields: Money(*fields), **options)


def test_registered_types_are_values(pool: pmemstore.Pool) -> None:
    """Alone, inside others, inside each other; a tuple's subclass, too."""
    register_money()
    pmemstore.register(Order, lambda o: (o.number, o.price), lambda fields: Order(*fields))
    pmemstore.register(Point, tuple, lambda fields: Point(*fields), name="geo.Point")
    order = Order(7, (Money(1, "EUR"), Point(1, 2)))
    pool.root.update(a=order, l=[{"x": (order,)}], f=frozenset([Point(3, 4)]))
    for found in (pool.root["a"], pool.root["l"][0]["x"][0]):
        assert found == order
        assert type(found.price[1]) is Point
    assert pool.root["f"] == frozenset([Point(3, 4)])


def test_the_name_is_what_the_pool_has() -> None:
    """The default names module and class."""
    register_money()
    _, first = pack_value(Money(1, "x"))
    assert f"{__name__}:Money".encode() in first
    register_money(name="old.Money")
    _, old = pack_value(Money(1, "x"))
    register_money(name="counter.Money", also=["old.Money"])
    _, data = pack_value(Money(1, "x"))
    assert b"counter.Money" in data
    assert unpack(PACKED, old) == unpack(PACKED, data) == Money(1, "x")
    with pytest.raises(UnknownTypeError):
        unpack(PACKED, first)


def test_an_unknown_type_leaves_its_value_as_it_is(medium: Medium) -> None:
    """Another program: reading fails with the name; it can be copied, and deleted, and read."""
    register_money(name="counter.Money")
    path = medium.folder / "types.pool"
    with pmemstore.open(path, "n") as pool:
        pool.root.update(price=(1, Money(5, "EUR")), other=2, gone=Money(1, "x"))
    program = f"""
import pmemstore
with pmemstore.open({str(path)!r}, "w") as pool:
    try:
        pool.root["price"]
    except pmemstore.UnknownTypeError as error:
        assert error.name == "counter.Money" and "register(" in str(error), error
        value = error.value
    assert repr(value).startswith("<Opaque value of "), value
    pool.root["copy"] = value
    pool.root["list"] = [value]
    pool.root["price"] = None
    del pool.root["gone"]
    assert list(pool.root) == ["price", "other", "copy", "list"]
    for place in ("t", "k"):
        try:
            pool.root[place] = (value,) if place == "t" else {{value: 1}}
        except pmemstore.NotPersistableError:
            continue
        raise AssertionError
    assert pool.check().ok
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=medium.folder)
    with pmemstore.open(path, "w") as pool:
        assert pool.root["copy"] == (1, Money(5, "EUR"))
        assert pool.root["list"][0] == (1, Money(5, "EUR"))
        pool.collect()
        assert pool.check().ok


POPS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "dict": ({"k": None}, lambda d: d.pop("k")),
    "dict with a default": ({"k": None}, lambda d: d.pop("k", 1)),
    "dict item": ({"k": None}, lambda d: d.popitem()),
    "list": ([None], lambda c: c.pop()),
    "deque": (deque([None]), lambda c: c.pop()),
    "deque left": (deque([None]), lambda c: c.popleft()),
}


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("how", POPS)
def test_a_pop_that_cannot_be_read_removes_nothing(
    how: str, inside: bool, pool: pmemstore.Pool
) -> None:
    """The value stays where it was, and is popped by who can read it, in one unit of work."""
    register_money(name="money")
    empty, pop = POPS[how]
    pool.root["c"] = empty
    stored = pool.root["c"]
    stored["k" if isinstance(empty, dict) else 0] = Money(1, "EUR")
    pmemstore.register(Money, astuple, lambda fields: Money(*fields), name="dollars")
    if inside:
        with pool.transaction():
            pool.root["n"] = 1
            with pytest.raises(UnknownTypeError):
                pop(stored)
        assert pool.root["n"] == 1
    else:
        with pytest.raises(UnknownTypeError):
            pop(stored)
    assert len(stored) == 1
    register_money(name="money")
    before = pool.stats()
    found = pop(stored)
    after = pool.stats()
    assert found == (("k", Money(1, "EUR")) if how == "dict item" else Money(1, "EUR"))
    assert len(stored) == 0
    assert (after.fences - before.fences) + (after.syncs - before.syncs) == 1
    assert after.commits - before.commits == 1


def test_a_key_that_cannot_be_read_is_not_popped(direct_pool: pmemstore.Pool) -> None:
    """Of a dict and of a set; clear() and del by an equal key do without reading."""
    register_money(name="money", keys=True)
    root = direct_pool.root
    root.update(d={Money(1, "x"): 1}, s={Money(1, "x")})
    register_money(name="dollars", keys=True)
    with pytest.raises(UnknownTypeError):
        root["d"].popitem()
    with pytest.raises(UnknownTypeError):
        root["s"].pop()
    assert len(root["d"]) == len(root["s"]) == 1
    root["s"].clear()
    root["d"].clear()
    assert direct_pool.check().ok


def test_an_opaque_is_equal_by_its_bytes() -> None:
    register_money(name="m")
    packed = [pack_value(Money(n, "x"))[1] for n in (1, 1, 2)]
    pmemstore.register(Money, astuple, lambda fields: Money(*fields), name="n")
    opaques = []
    for data in packed:
        with pytest.raises(UnreadableValueError) as found:
            unpack(PACKED, data)
        opaques.append(found.value.value)
    assert opaques[0] == opaques[1] != opaques[2]
    assert hash(opaques[0]) == hash(opaques[1])
    assert opaques[0] != 1
    with pytest.raises(TypeError):
        Opaque()


def test_exceptions_of_pack_and_unpack_are_chained(direct_pool: pmemstore.Pool) -> None:
    """Never swallowed: the cause is there, and its type in the message."""

    def fail(obj: object) -> object:
        raise ConnectionError("no rates today")

    register_money(name="money")
    direct_pool.root["x"] = [Money(1, "EUR")]
    pmemstore.register(Money, fail, fail, name="money")  # type: ignore[arg-type]
    with pytest.raises(UnpackError, match="'money' raised ConnectionError: no rates") as unpacking:
        direct_pool.root["x"][0]
    assert isinstance(unpacking.value.__cause__, ConnectionError)
    assert isinstance(unpacking.value.value, Opaque)
    for value in (Money(2, "x"), [1, (Money(2, "x"),)]):
        with pytest.raises(NotPersistableError, match="raised ConnectionError") as packing:
            direct_pool.root["y"] = value
        assert isinstance(packing.value.__cause__, ConnectionError)
    assert "y" not in direct_pool.root


def test_what_pack_returns_must_be_a_value() -> None:
    """The message leads through it."""
    pmemstore.register(Order, lambda o: (o.number, [o.price]), lambda fields: Order(*fields))
    with pytest.raises(NotPersistableError, match=r"\[0\]\.pack\(\)\[1\]: list: .*tuple"):
        pack_value((Order(1, 2),))


def test_a_pack_that_returns_its_object_is_refused() -> None:
    pmemstore.register(Order, lambda o: o, lambda o: o)
    with pytest.raises(NotPersistableError, match="may nest 200"):
        pack_value(Order(1, 2))


def test_keys_of_registered_types_must_be_asked_for(direct_pool: pmemstore.Pool) -> None:
    """With keys=True they compare by what pack returns."""
    register_money(name="money")
    with pytest.raises(NotPersistableError, match="keys=True"):
        direct_pool.root[Money(1, "x")] = 1
    register_money(name="money", keys=True)
    root = direct_pool.root
    root[Money(1, "x")] = 1
    root[(Money(1, "y"), 2)] = 2
    assert root[Money(1, "x")] == 1
    assert root[Money(1.0, "x")] == 1  # type: ignore[arg-type]
    assert Money(2, "x") not in root
    assert list(root) == [Money(1, "x"), (Money(1, "y"), 2)]


def test_unhashable_objects_are_no_keys(direct_pool: pmemstore.Pool) -> None:
    @dataclass
    class Loose:
        n: int

    pmemstore.register(Loose, lambda o: o.n, Loose, keys=True)
    with pytest.raises(TypeError, match="unhashable type"):
        direct_pool.root[Loose(1)] = 1
    direct_pool.root["x"] = Loose(1)
    assert direct_pool.root["x"] == Loose(1)


def test_a_subclass_is_not_registered_with_its_base() -> None:
    class Special(Money):
        pass

    register_money()
    with pytest.raises(NotPersistableError, match=r"Special: .*register\(\)"):
        pack_value(Special(1, "x"))


def test_registering_again_replaces_and_conflicts_are_refused() -> None:
    """The same class, or what its module made anew; never another class under the same name."""
    register_money(name="a", also=["b"])
    _, data = pack_value(Money(1, "x"))
    with pytest.raises(ValueError, match=r"'b' is the name of .*Money already"):
        pmemstore.register(Order, astuple, lambda fields: Order(*fields), name="b")
    again = type("Money", (), {"__module__": __name__, "__qualname__": "Money"})
    pmemstore.register(again, lambda o: 1, lambda fields: again(), name="a")
    assert type(unpack(PACKED, data)) is again
    with pytest.raises(NotPersistableError):
        pack_value(Money(1, "x"))
    pmemstore.register(Order, astuple, lambda fields: Order(*fields), name="b")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (int, "a value already"),
        (tuple, "a value already"),
        (Path("x").__class__, "a value already"),
        (dict, "changed in place"),
        (OrderedDict, "changed in place"),
        (bytearray, "changed in place"),
        (pmemstore.Dict, "changed in place"),
        (Colour, "leave out pack"),
        (5, "takes a class"),
    ],
)
def test_classes_that_cannot_be_registered(cls: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pmemstore.register(cls, repr, eval)


@pytest.mark.parametrize("name", ["", "x" * 256, 5])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(ValueError, match="1 to 255 characters"):
        register_money(name=name)


def test_pack_and_unpack_belong_together() -> None:
    with pytest.raises(TypeError, match="needs pack"):
        pmemstore.register(Money, astuple)
    with pytest.raises(TypeError, match="needs pack"):
        pmemstore.register(Money)


def test_a_registered_enum_survives_a_move() -> None:
    """Its name is what counts, and classes without a place in a module are found."""
    local = make_enum("Local", "nowhere", "A B")
    pmemstore.register(local, name="shapes", also=["older"])
    _, data = pack_value(local.B)
    assert b"shapes" in data
    assert unpack(PACKED, data) is local.B
    moved = make_enum("Moved", "elsewhere", "A B")
    with pytest.raises(ValueError, match="shapes"):
        pmemstore.register(moved, name="shapes")
    assert pack_key(local.A)[1] is None


def test_forged_names_of_types_are_named_errors() -> None:
    for inner in ([5, 1], ["x"], ["x", 1, 2], "x", {}, [["x"], 1]):
        data = msgpack.packb(msgpack.ExtType(16, msgpack.packb(inner)))
        with pytest.raises((PoolCorruptError, UnknownTypeError)):
            unpack(PACKED, data)
