"""Array without numpy: the same arrays, read and written by the standard library alone."""

from __future__ import annotations

import array
import copy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import Array, Pool
from pmemstore.containers.elements import elements

if TYPE_CHECKING:
    from conftest import Medium

RECORD = '[["id", "<i4"], ["", "|V4"], ["xy", "<f8", [2]], ["in", [["ok", "|b1"], ["s", "|S3"]]]]'


@pytest.fixture(autouse=True)
def without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing numpy fails, as where it was never installed."""
    monkeypatch.setitem(sys.modules, "numpy", None)
    elements.cache_clear()  # it may know dtypes from other tests


def kept(pool: Pool, value: Any) -> Array[Any]:
    pool.root["a"] = value
    found = pool.root["a"]
    assert type(found) is Array
    return found


def made(pool: Pool, typestr: str, item: int, shape: tuple[int, ...]) -> Array[Any]:
    """An array of zeroes, of a type that only numpy can make."""
    with pool.transaction():
        found = pool._new(pmemstore._native.lib.PMS_TAG_ARRAY)
        found._setup(typestr, item, shape, None)
        pool.root["a"] = found
    return found


PROGRAM = """
import array, sys
import pmemstore
with pmemstore.open(sys.argv[1], "n", size="1M") as pool:
    pool.root["a"] = array.array("d", range(10))
    a = pool.root["a"]
    a.append(2.5)
    with a.write(slice(0, 2)) as view:
        view[0] = 7
    assert a[:2] == array.array("d", [7, 1]), a[:2]
    assert sum(memoryview(a)) == 7 + sum(range(10)) + 2.5
assert not any(name.partition(".")[0] == "numpy" for name in sys.modules)
"""


def test_the_package_never_imports_numpy_by_itself(medium: Medium) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, medium.folder / "a.pool"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("typecode", array.typecodes)
def test_array_array(typecode: str, pool: Pool) -> None:
    """It behaves as array.array does, and its slices are array.array."""
    value = array.array(typecode, "añbcd" if typecode in "uw" else [1, 2, 100, 3, 4])
    a = kept(pool, value)
    assert a == value
    assert a.tolist() == list(a) == value.tolist()
    assert a.tobytes() == value.tobytes()
    for key in (slice(1, 3), slice(None, None, -2), slice(4, 0, -1), slice(9, 9)):
        assert list(a[key]) == list(value[key])
        if typecode not in "uw":
            assert type(a[key]) is array.array
    assert a[-1] == value[-1]
    a[0] = value[0] = value[2]
    a.append(value[1])
    value.append(value[1])
    a.extend(value)
    value.extend(value)
    assert a == value
    a[1:3] = value[3:5]
    value[1:3] = value[3:5]
    a[::2] = list(value[::2])
    assert a == value
    a.fill(value[1])
    assert set(a) == {value[1]}


def test_copies(pool: Pool) -> None:
    a = kept(pool, array.array("h", [1, 2]))
    assert copy.copy(a) == array.array("h", [1, 2])
    assert type(copy.deepcopy({"x": a})["x"]) is array.array
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        made(pool, "|S3", 3, (2,)).copy()
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        a.dtype  # noqa: B018 - it is the access that raises


@pytest.mark.parametrize(
    ("typestr", "item", "values"),
    [
        ("|b1", 1, [True, False]),
        ("<f2", 2, [1.5, -2.0]),
        (">f8", 8, [1.5, 1e300]),
        (">i4", 4, [-5, 2**31 - 1]),
        (">u8", 8, [2**64 - 1]),
        ("<c16", 16, [1 + 2j, 3.0]),
        ("<c8", 8, [1.5j]),
        ("|S3", 3, [b"", b"abc", b"x"]),
        ("<U2", 8, ["ä", "\U0001f600x", "\ud800"]),
        (">U1", 4, ["ß"]),
        ("|V2", 2, [b"\0\1"]),
        (RECORD, 28, [(-1, [1.5, 2.5], (True, b"ab")), (7, [0.0, 1.0], (False, b""))]),
    ],
)
def test_every_type(typestr: str, item: int, values: list[Any], pool: Pool) -> None:
    """Elements by index, in slices, in lists, appended; in arrays of two axes too."""
    a = made(pool, typestr, item, (2,))
    for value in values:
        a[1] = value
        assert a[1] == value
        a.append(value)
        assert a[-1] == value
    a[0:1] = values[:1]
    a[1] = values[0]
    a.extend(tuple(values))
    expected = [values[0], values[0], *values, *values]
    assert a.tolist() == expected
    assert list(a[1:]) == expected[1:]
    assert list(a) == expected
    m = made(pool, typestr, item, (2, 3))
    m[1, 2] = values[-1]
    m[0] = [values[0]] * 3
    assert m[1, 2] == values[-1]
    assert m.tolist()[0] == [values[0]] * 3
    assert repr(m).startswith("Array(")


@pytest.mark.parametrize(
    ("typestr", "item", "wrong", "error"),
    [
        ("<f8", 8, "x", TypeError),
        ("<i2", 2, 1.5, TypeError),
        (">i2", 2, 40_000, OverflowError),
        ("<c8", 8, "1j", TypeError),
        ("|S3", 3, b"abcd", ValueError),
        ("|S3", 3, "abc", TypeError),
        ("<U2", 8, "abc", ValueError),
        ("<U2", 8, b"a", TypeError),
        (RECORD, 28, (1, 2), TypeError),
        (RECORD, 28, (1, [1], (True, b"")), ValueError),
        ("<M8[s]", 8, 1, ModuleNotFoundError),
    ],
)
def test_what_is_no_such_element(
    typestr: str, item: int, wrong: Any, error: type[Exception], pool: Pool
) -> None:
    a = made(pool, typestr, item, (2,))
    before = a.tobytes()
    with pytest.raises(error):
        a[0] = wrong
    with pytest.raises(error):
        a.append(wrong)
    with pytest.raises(error):
        a[:] = [wrong, wrong]
    with pytest.raises(error):
        a.fill(wrong)
    assert a.tobytes() == before


def test_several_axes(pool: Pool) -> None:
    """Parts are memoryviews of copies; their shape is that of the part."""
    m = made(pool, "<i4", 4, (3, 4))
    m[:] = [[10 * i + j for j in range(4)] for i in range(3)]
    part = m[1:]
    assert (part.shape, part.format, part.tolist()) == (
        (2, 4),
        "i",
        [[10, 11, 12, 13], [20, 21, 22, 23]],
    )
    assert m[2] == array.array("i", [20, 21, 22, 23])
    assert m[::-2].tolist() == [[20, 21, 22, 23], [0, 1, 2, 3]]
    view = memoryview(m)
    assert (view.shape, view[2, 3], view.readonly) == ((3, 4), 23, True)
    part[0, 0] = 5
    assert m[1, 0] == 10
    m[1] = array.array("i", [1, 1, 1, 1])
    m[0] = 9
    assert view.tolist() == [[9] * 4, [1] * 4, [20, 21, 22, 23]]
    del view
    m.append([5, 6, 7, 8])
    m.extend(iter([[0] * 4]))
    m.resize(2, 2)
    assert m.tolist() == [[9, 9], [9, 9]]
    for key in ((slice(None), 1), [0, 1], (0, ...), None):
        with pytest.raises(TypeError, match="numpy"):
            m[key]
        with pytest.raises(TypeError, match="numpy"):
            m[key] = 1
    with pytest.raises(ValueError, match="cannot put"):
        m[0] = [1, 2, 3]
    with pytest.raises(ValueError, match="cannot put"):
        m.append([1])


def test_no_axes(pool: Pool) -> None:
    a = made(pool, "<f8", 8, ())
    a[()] = 2.5
    assert a[()] == a[...] == a.tolist() == 2.5
    assert repr(a) == "Array('<f8', (), 2.5)"
    with pytest.raises(TypeError):
        len(a)
    with a.write() as view:
        view[()] = 7
    assert a[()] == 7


def test_write(pool: Pool) -> None:
    """A memoryview of the range's shape and format; of other types its bytes."""
    a = kept(pool, array.array("d", range(10)))
    with a.write(slice(2, 5)) as view:
        assert view.tolist() == [2, 3, 4]
        view[1] = 30
        part = view[1:]
    assert a[:5].tolist() == [0, 1, 2, 30, 4]
    part[0] = 99
    assert a[3] == 30
    with a.write() as view:
        view[0] = 5
    with pytest.raises(ValueError, match="released"):
        view[0] = 6
    assert a[0] == 5
    with a.write(1) as view:
        view[()] = 11
    assert a[1] == 11
    texts = made(pool, "|S3", 3, (4,))
    with texts.write(slice(1, 3)) as view:
        view[:] = b"abcde\0"
    assert texts.tolist() == [b"", b"abc", b"de", b""]
    with made(pool, "<i4", 4, (0,)).write() as view:
        assert view.nbytes == 0


def test_bytes_of_any_buffer(pool: Pool) -> None:
    """Whoever asks for no format gets the bytes: files, hashes, bytes of records too."""
    a = kept(pool, array.array("i", [1, 2]))
    assert bytes(a) == a.tobytes() == b"\1\0\0\0\2\0\0\0"
    assert bytes(a._bytes()) == a.tobytes()
    records = made(pool, RECORD, 28, (3,))
    with pytest.raises(BufferError, match="no format"):
        memoryview(records)
    assert b"".join([records]) == bytes(84)
