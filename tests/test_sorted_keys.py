"""Keys of sorted containers: their order and equality are Python's, what has none is refused."""

from __future__ import annotations

import enum
import importlib.util
import math
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmemstore
from pmemstore import Pool, SortedDict, SortedSet
from pmemstore.containers.order import order_image

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("order_images", ROOT / "tests/order_images.py")
assert SPEC is not None
assert SPEC.loader is not None
images = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(images)


def stored(pool: Pool, value: Any) -> Any:
    pool.root["x"] = value
    return pool.root["x"]


DYADIC = st.builds(Fraction, st.integers(-(2**70), 2**70), st.integers(0, 70).map(lambda n: 2**n))
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.booleans(),
    DYADIC,
    DYADIC.map(lambda f: Decimal(f.numerator) / Decimal(2) ** 3).filter(
        lambda d: d.as_integer_ratio()[1] & (d.as_integer_ratio()[1] - 1) == 0
    ),
    st.sampled_from([0.0, -0.0, 2**53, 2**63, -(2**63), 2**64, 1e300, 5e-324, 2**9000, -(3**6000)]),
)
SURROGATES = st.text(st.characters(exclude_categories=()), max_size=8)
MOMENTS = st.datetimes()
KINDS = {
    "numbers": NUMBERS,
    "str": st.text(max_size=12) | SURROGATES,
    "bytes": st.binary(max_size=12),
    "dates": st.dates(),
    "datetimes": MOMENTS,
    "instants": st.datetimes(
        timezones=st.integers(-720, 720).map(lambda m: timezone(timedelta(minutes=m)))
    ),
    "times": st.times(),
    "timedeltas": st.timedeltas(),
    "uuids": st.uuids(),
    "tuples": st.tuples(NUMBERS, st.text("a\0\1", max_size=3), st.binary(max_size=3)),
    "shorter tuples": st.lists(st.sampled_from([0, 1, 2.5, -3]), max_size=3).map(tuple),
    "nested tuples": st.tuples(st.tuples(st.text("ab\0", max_size=2)), st.dates(), st.none()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_equality_are_those_of_python(kind: str, direct_pool: Pool) -> None:
    """Iteration is sorted(), equal keys are one, and each comes back as it was put first."""

    @settings(max_examples=40, deadline=None)
    @given(keys=st.lists(KINDS[kind], max_size=30), probe=KINDS[kind])
    def matches(keys: list[Any], probe: Any) -> None:
        ours = stored(direct_pool, SortedDict.of())
        model: dict[Any, int] = {}
        for i, key in enumerate(keys):
            ours[key] = model[key] = i
        wanted = sorted(model)
        assert list(ours) == wanted
        assert [(type(key), repr(key)) for key in ours] == [(type(k), repr(k)) for k in wanted]
        assert [ours[key] for key in keys] == [model[key] for key in keys]
        assert (probe in ours) == (probe in model)
        assert ours.bisect_left(probe) == sum(key < probe for key in model)
        assert list(ours.irange(probe)) == [key for key in wanted if key >= probe]
        assert direct_pool.check().problems == ()

    matches()


@pytest.mark.parametrize(
    ("there", "other", "names"),
    [
        (1, "a", ("'str'", "'int'")),
        ("a", 1, ("'int'", "'str'")),
        (2.5, b"a", ("'bytes'", "'float'")),
        (True, (1,), ("'tuple'", "'bool'")),
        (2**70, "a", ("'str'", "'int'")),
        (date(2020, 1, 1), datetime(2020, 1, 1), ("'naive datetime'", "'date'")),
        (datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), ("'aware", "'naive")),
        (UUID(int=1), timedelta(1), ("'timedelta'", "'UUID'")),
        ((1, "a"), (1, 2), ("an item of the tuple (1, 2)",)),
        ((1, None), (1, 2), ("an item of the tuple (1, 2)",)),
        (((1,), 2), (("a",), 2), ("an item of the tuple",)),
    ],
)
def test_keys_that_python_cannot_compare_are_a_type_error(
    there: Any, other: Any, names: tuple[str, ...], pool: Pool
) -> None:
    """Whatever has to order them refuses; a look-up finds nothing; nothing was changed."""
    ours = stored(pool, SortedDict.of({there: 1}))
    for refused in (
        lambda: ours.__setitem__(other, 2),
        lambda: ours.setdefault(other, 2),
        lambda: ours.setdefault(other, [2]),
        lambda: ours.update({other: 2}),
        lambda: ours.bisect_left(other),
        lambda: ours.irange(other),
        lambda: ours.irange(None, other),
        lambda: ours.remove_range(other),
    ):
        with pytest.raises(TypeError) as found:
            refused()
        for name in ("'<' not supported between", *names):
            assert name in str(found.value)
    assert other not in ours
    assert ours.get(other) is None
    assert ours.pop(other, 5) == 5
    with pytest.raises(KeyError):
        del ours[other]
    assert ours == {there: 1}
    with pytest.raises(TypeError):
        stored(pool, SortedSet.of([there])).add(other)
    del ours[there]
    ours[other] = 3  # an empty one takes any kind
    assert list(ours) == [other]
    assert pool.check().problems == ()


@pytest.mark.parametrize(
    ("key", "error", "words"),
    [
        (None, TypeError, "NoneType has no order"),
        (math.nan, ValueError, "nan cannot be a key"),
        ((1, math.nan), ValueError, "nan cannot be a key"),
        (np.float64("nan"), ValueError, "cannot be a key"),
        (np.float32("nan"), ValueError, "cannot be a key"),
        ((1, np.float64("nan")), ValueError, "cannot be a key"),
        (Decimal("NaN"), ValueError, "cannot be a key"),
        (Decimal("0.1"), ValueError, r"Convert it with float\(\) or str\(\)"),
        (Fraction(1, 3), ValueError, "Convert it with"),
        (1j, TypeError, "complex has no order"),
        (frozenset({1}), TypeError, "frozenset has no order"),
        (range(3), TypeError, "range has no order"),
        (time(1, tzinfo=UTC), TypeError, "an aware time"),
        ([1], TypeError, "unhashable type: 'list'"),
        ((1, [1]), TypeError, "unhashable type: 'list'"),
        (object(), pmemstore.NotPersistableError, "object: cannot be kept in a pool"),
        (Decimal("1e9999"), pmemstore.NotPersistableError, "exponent"),
    ],
)
def test_what_has_no_order_is_refused(
    key: Any, error: type[Exception], words: str, pool: Pool
) -> None:
    ours, items = stored(pool, SortedDict.of({1: 1})), SortedSet.of()
    pool.root["set"] = items
    for refused in (
        lambda: ours.__setitem__(key, 1),
        lambda: ours.bisect_right(key),
        lambda: pool.root["set"].add(key),
    ):
        with pytest.raises(error, match=words):
            refused()
    assert ours == {1: 1}
    assert len(pool.root["set"]) == 0
    assert pool.check().problems == ()


def test_looking_for_what_has_no_order_finds_nothing(pool: Pool) -> None:
    """As a dict does; only what cannot be hashed, or never kept, is an error there too."""
    ours = stored(pool, SortedDict.of({1: 1, 2.5: 2}))
    for key in (None, math.nan, Decimal("0.1"), Fraction(1, 3), 2j, range(1), frozenset(), (1, 1j)):
        assert key not in ours
    for key in (complex("inf"), complex("nan"), np.float64("nan"), (1, complex("inf"))):
        assert key not in ours
    for key in (Decimal(1), Decimal("2.5"), Fraction(5, 2), 1 + 0j, True):
        assert key in ours
    ours[math.inf] = 3
    assert complex("inf") in ours
    assert complex("-inf") not in ours
    with pytest.raises(TypeError, match="unhashable"):
        [] in ours  # noqa: B015 - it raises
    with pytest.raises(pmemstore.NotPersistableError):
        object() in ours  # noqa: B015 - it raises


class Level(enum.IntEnum):
    LOW = 1
    HUGE = 2**70


class Color(enum.StrEnum):
    RED = "r\0"


def test_enum_members_and_numpy_scalars_are_what_they_equal(pool: Pool) -> None:
    """As in a Dict: they are kept as the builtin, but inside tuples as what they are."""
    ours = stored(pool, SortedDict.of({0: "a"}))
    ours[Level.LOW] = "b"
    ours[np.int64(5)] = "c"
    ours[np.float32(2.5)] = "d"
    assert repr(ours) == "SortedDict({0: 'a', 1: 'b', 2.5: 'd', 5: 'c'})"
    for key in (Level.LOW, np.int8(1), np.float64(1), np.uint64(5)):
        assert key in ours
    assert Level.HUGE not in ours
    ours[Level.HUGE] = "e"
    assert 2**70 in ours
    assert ours.bisect_left(np.int32(2)) == 2
    texts = stored(pool, SortedSet.of())
    texts.add(Color.RED)
    assert (list(texts), type(texts[0])) == (["r\0"], str)
    pairs = stored(pool, SortedSet.of())
    pairs.update([(Color.RED, 2), ("r", 1), ("r\0", 1)])
    assert ("r\0", 2) in pairs
    assert list(pairs) == [("r", 1), ("r\0", 1), (Color.RED, 2)]
    assert pool.check().problems == ()


def test_the_first_of_equal_keys_stays(pool: Pool) -> None:
    ours = stored(pool, SortedDict.of())
    ours[True] = "a"
    ours[1] = "b"
    ours[1.0] = "c"
    assert repr(ours) == "SortedDict({True: 'c'})"
    ours.update([(1.0, "d"), (2.0, "e"), (2, "f")])
    assert repr(ours) == "SortedDict({True: 'd', 2.0: 'f'})"


def test_keys_and_values_of_every_length(pool: Pool) -> None:
    """Bytes in the cell, in the entry, in a block of their own; values that grow and shrink."""
    lengths = (0, 1, 8, 9, 63, 1024, 1025, 40_000)
    texts = stored(pool, SortedDict.of({"k" * n: b"v" * n for n in lengths}))
    assert texts == {"k" * n: b"v" * n for n in lengths}
    for n in lengths:
        for m in lengths:
            texts["k" * n] = "w" * m
            assert texts["k" * n] == "w" * m
    assert list(texts) == ["k" * n for n in sorted(lengths)]
    tuples = stored(pool, SortedSet.of([("t" * n, n, 2**70) for n in lengths]))
    assert list(tuples) == sorted(("t" * n, n, 2**70) for n in lengths)
    assert pool.check().problems == ()
    del texts, tuples
    pool.root.clear()
    pool.collect()
    assert pool.check().objects == 1


def test_a_tuple_nests_as_deep_as_any_value(pool: Pool) -> None:
    ours = stored(pool, SortedSet.of())
    deep: Any = ()
    for _ in range(150):
        deep = (deep,)
    ours.add(deep)
    assert list(ours) == [deep]
    for _ in range(100):
        deep = (deep,)
    for refused in (lambda: ours.add(deep), lambda: ours.bisect(deep)):
        with pytest.raises((ValueError, pmemstore.NotPersistableError), match="200 tuples"):
            refused()


def test_images_are_those_of_the_page() -> None:
    """The examples of the page, and numbers that the core makes images of."""
    for number, text in re.findall(
        r"(-?[\d.]+): `([0-9a-f ]+)`", (ROOT / "docs/format.md").read_text()
    ):
        assert images.number_image(Fraction(number)) == bytes.fromhex(text)
    for number in (2**64, -(2**64), 2**70 + 2**63, -(3**200), Fraction(-5, 2**90)):
        assert order_image(number, False) == images.item_image(number)
