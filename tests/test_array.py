"""Array: numpy arrays and array.array in a pool; the same without numpy in test_array_plain.py."""

from __future__ import annotations

import array
import contextlib
import copy
import gc
import math
import pickle
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pmemstore
from pmemstore import Array, Pool

if TYPE_CHECKING:
    from conftest import Medium, Opener

RECORD = np.dtype([("id", "<i4"), ("xy", "<f8", (2,)), ("tag", "S3"), ("in", [("ok", "?")])])
ARRAYS = {
    "floats": np.linspace(0, 1, 100),
    "bools": np.array([True, False, True]),
    **{f"{code}": np.arange(-3, 4).astype(code) for code in ("i1", "i2", "i4", "i8")},
    **{f"{code}": np.arange(7).astype(code) for code in ("u1", "u2", "u4", "u8", "f2", "f4")},
    "extremes": np.array([2**64 - 1, 0], "u8"),
    "complex": np.array([1 + 2j, -1j]),
    "complex64": np.array([1.5 + 2j], "c8"),
    "big-endian": np.arange(5, dtype=">i4"),
    "big-endian floats": np.arange(5, dtype=">f8"),
    "big-endian text": np.array(["ab", "ß"], ">U2"),
    "bytes": np.array([b"", b"a", b"abc"], "S5"),
    "text": np.array(["", "ä", "\U0001f600xyz"]),
    "dates": np.array(["2020-02-29", "NaT", "1066-10-14"], "M8[D]"),
    "nanoseconds": np.array([1, 2], "m8[ns]"),
    "25 seconds": np.array([1, 2], "m8[25s]"),
    "void": np.array([b"abcd", b"\0\1\2\3"], "V4"),
    "records": np.array([(1, (2, 3), b"x", (True,)), (4, (5, 6), b"yz", (False,))], RECORD),
    "aligned": np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "titles": np.zeros(2, np.dtype([(("A title", "a"), "i4")])),
    "dates in records": np.zeros(2, [("when", "M8[s]"), ("v", "<f4")]),
    "matrix": np.arange(12.0).reshape(3, 4),
    "cube": np.arange(24, dtype="i2").reshape(2, 3, 4),
    "32 axes": np.arange(2).reshape((1,) * 31 + (2,)),
    "no axes": np.array(5.5),
    "empty": np.zeros(0),
    "empty matrix": np.zeros((0, 5), "i4"),
    "empty rows": np.zeros((5, 0)),
    "pages": np.arange(20_000.0),
}


def kept(pool: Pool, value: Any) -> Array[Any]:
    pool.root["a"] = value
    found = pool.root["a"]
    assert type(found) is Array
    return found


def same(found: Any, expected: Any) -> bool:
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


class Undo(Exception):
    pass


@contextlib.contextmanager
def undone(block: Any) -> Iterator[Any]:
    """Roll a block back at its end; gives what the block gives."""
    with contextlib.suppress(Undo), block as given:
        yield given
        raise Undo


# ---- round trips


@pytest.mark.parametrize("name", ARRAYS)
def test_round_trip(name: str, medium: Medium, open_pool: Opener) -> None:
    """Of type, shape and every byte; by view and by copy, also after the pool was reopened."""
    value = ARRAYS[name]
    pool = open_pool(medium.folder / "a.pool", "n", size="2M")
    for _ in range(2):
        a = kept(pool, value) if "a" not in pool.root else pool.root["a"]
        assert (a.shape, a.ndim, a.size) == (value.shape, value.ndim, value.size)
        assert (a.itemsize, a.nbytes, a.dtype) == (value.itemsize, value.nbytes, value.dtype)
        view = np.asarray(a)
        assert same(view, value)
        assert not view.flags.writeable
        assert not view.size or not view.flags.owndata
        assert same(a.copy(), value)
        assert same(a[...], value)
        assert same(copy.deepcopy(a), value)
        assert a.tobytes() == value.tobytes()
        if "S" not in repr(value.dtype) and value.dtype.kind not in "VM":
            assert a.tolist() == value.tolist()
        assert pool.check().problems == ()
        del view, a
        pool.close()
        pool = open_pool(medium.folder / "a.pool")


def test_order_in_memory_becomes_c_order(pool: Pool) -> None:
    value = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert kept(pool, value).tobytes() == value.tobytes("C")
    assert same(np.asarray(kept(pool, value[::-1, ::2])), value[::-1, ::2].copy())


@pytest.mark.parametrize("typecode", array.typecodes)
def test_array_array(typecode: str, pool: Pool) -> None:
    """Each type code comes back as the same numbers."""
    value = array.array(typecode, "añ" if typecode in "uw" else [1, 2, 100])
    a = kept(pool, value)
    assert a.tolist() == value.tolist()
    assert a == value
    assert a[1] == value[1]
    if typecode not in "uw":
        assert memoryview(a) == memoryview(value)


def test_arrays_inside_containers(pool: Pool) -> None:
    """As values of plain containers, shared, and linked a second time."""
    shared = np.arange(3)
    pool.root["d"] = {"x": shared, "list": [shared, 1, np.zeros(2)]}
    d = pool.root["d"]
    assert d["x"] is d["list"][0]
    assert type(d["list"][2]) is Array
    plain = copy.deepcopy(d)
    assert type(plain["x"]) is np.ndarray
    assert plain["x"] is plain["list"][0]
    del d["x"]
    assert d["list"][0][2] == 2


def test_copy_into_another_pool(medium: Medium, open_pool: Opener) -> None:
    one = open_pool(medium.folder / "1.pool", "n", size="1M")
    two = open_pool(medium.folder / "2.pool", "n", size="1M")
    a = kept(one, ARRAYS["records"])
    two.root["direct"] = a
    two.root["nested"] = [a, a]
    assert same(np.asarray(two.root["direct"]), ARRAYS["records"])
    assert two.root["nested"][0] is two.root["nested"][1]
    assert same(np.asarray(two.root["nested"][1]), ARRAYS["records"])


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array(["a"], np.dtypes.StringDType()),
        np.zeros(2, np.longdouble),
        np.zeros(2, np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]})),
        np.zeros((1,) * 33),
        np.zeros(3, [("o", "O")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.zeros(2, "V0"),
    ],
)
def test_what_no_pool_can_keep_is_refused(value: Any, pool: Pool) -> None:
    with pytest.raises(pmemstore.NotPersistableError, match="cannot be kept in a pool"):
        pool.root["a"] = {"in": [value]}
    assert "a" not in pool.root
    assert pool.check().problems == ()


def test_too_large_for_the_pool(medium: Medium, open_pool: Opener) -> None:
    pool = open_pool(medium.folder / "a.pool", "n", size="1M", limit="1M")
    with pytest.raises(pmemstore.PoolFullError):
        pool.root["a"] = np.zeros(1 << 20)
    assert "a" not in pool.root


# ---- items and slices

KEYS = [
    *(0, -1, 5, slice(None), slice(2, 9), slice(9, 2, -3), slice(None, None, 2), slice(5, 5)),
    *(..., [1, 3, 3], np.array([True, False] * 6), None, (slice(1, 3), None)),
]
KEYS_2 = [
    *(1, -1, (1, 2), (0, ...), (slice(1, 3), 2), (..., 1), (slice(None), slice(None, None, -1))),
    *(slice(0, 2), slice(None, None, -1), ([0, 2], [1, 3]), (slice(5, 5), 1), ((2, 0),), ()),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_reading_and_writing_as_numpy_does(key: Any, pool: Pool) -> None:
    """Each kind of index: the same items, and the same effect of an assignment."""
    for dtype in ("f8", ">i2"):
        value = np.arange(12).astype(dtype)
        a = kept(pool, value)
        assert np.array_equal(a[key], value[key])
        a[key] = 77
        value[key] = 77
        assert same(np.asarray(a), value)
        new = np.arange(100, 100 + np.size(value[key])).reshape(np.shape(value[key]))
        a[key] = new
        value[key] = new
        assert same(np.asarray(a), value)


@pytest.mark.parametrize("key", KEYS_2, ids=repr)
def test_reading_and_writing_a_matrix(key: Any, pool: Pool) -> None:
    value = np.arange(12.0).reshape(3, 4)
    a = kept(pool, value)
    assert np.array_equal(a[key], value[key])
    a[key] = 77
    value[key] = 77
    new = np.arange(100, 100 + np.size(value[key])).reshape(np.shape(value[key]))
    a[key] = new
    value[key] = new
    assert same(np.asarray(a), value)


def test_what_is_read_is_a_copy(pool: Pool) -> None:
    a = kept(pool, np.arange(5))
    part = a[1:3]
    part[0] = 99
    a[2] = -1
    assert part.tolist() == [99, 2]
    assert a.tolist() == [0, 1, -1, 3, 4]


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("i1", [-128, 127, True], [128, -129]),
        ("u1", [0, 255], [256, -1]),
        ("u8", [2**64 - 1], [2**64, -1]),
        ("i8", [-(2**63), 2**63 - 1], [2**63]),
        ("f4", [1.5, math.inf, 7], [1e39]),
        ("f8", [1e300, 3], []),
        (">u2", [65535], [65536, -1]),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    dtype: str, good: list[Any], bad: list[Any], pool: Pool
) -> None:
    a = kept(pool, np.zeros(2, dtype))
    for number in good:
        a[1] = number
        assert a[1] == number
        a.append(number)
        assert a[-1] == number
    for number in bad:
        with pytest.raises(OverflowError):
            a[0] = number
        with pytest.raises(OverflowError):
            a.append(number)
    with pytest.raises(TypeError):
        a[0] = "7"
    assert a[0] == 0
    assert len(a) == 2 + len(good)


def test_integers_are_not_made_of_floats(pool: Pool) -> None:
    a = kept(pool, np.zeros(3, "i4"))
    with pytest.raises(TypeError):
        a[0] = 1.5
    with pytest.raises(TypeError):
        a[0] = np.float64(2)
    a[0] = np.int64(5)
    a[np.int8(1)] = np.array(7)
    assert a.tolist() == [5, 7, 0]


def test_single_elements_are_python_objects(pool: Pool) -> None:
    for name, expected in [
        ("floats", float), ("i8", int), ("bools", bool), ("complex", complex), ("bytes", bytes),
        ("text", str), ("records", tuple), ("void", bytes), ("f2", float), ("dates", np.datetime64),
    ]:  # fmt: skip
        a = kept(pool, ARRAYS[name])
        assert type(a[0]) is expected
        assert next(iter(a)) == a[0]
        a[1] = a[0]
        assert a[1] == a[0]


def test_indices_that_are_none(pool: Pool) -> None:
    a = kept(pool, np.arange(3))
    m = kept(pool, np.zeros((2, 2)))
    for found, key in [(a, 3), (a, -4), (m, 2), (m, (0, 2)), (m, (2, 0)), (a, 2**70)]:
        with pytest.raises(IndexError):
            found[key]
        with pytest.raises(IndexError):
            found[key] = 1
    with pytest.raises(TypeError, match="cannot be deleted"):
        del a[0]
    with pytest.raises(IndexError):
        a["x"]
    with pytest.raises(ValueError, match="broadcast"):
        a[0:2] = [1, 2, 3]
    with pytest.raises(ValueError, match="broadcast"):
        a[0] = np.arange(3)
    assert a.tolist() == [0, 1, 2]


def test_iteration_notices_a_change_of_the_shape(pool: Pool) -> None:
    a = kept(pool, np.arange(5))
    items = iter(a)
    assert [next(items), next(items)] == [0, 1]
    a.append(9)
    with pytest.raises(RuntimeError, match="changed size during iteration"):
        next(items)
    for i, value in enumerate(a):
        a[i] = value * 2
    assert a.tolist() == [0, 2, 4, 6, 8, 18]
    assert 18 in a
    assert 5 not in a


# ---- growing


@pytest.mark.parametrize("dtype", ["f8", "u1", ">i4", "S7", "M8[s]", RECORD])
def test_append_and_extend(dtype: Any, pool: Pool) -> None:
    value = np.zeros(0, dtype)
    a = kept(pool, value)
    for i in range(40):
        item = np.ones(1, dtype)[0] if i % 2 else np.zeros(1, dtype)[0]
        a.append(item)
        value = np.concatenate([value, np.array([item], dtype)]).astype(dtype)
        a.extend(value[: i % 5])
        value = np.concatenate([value, value[: i % 5]]).astype(dtype)
    assert same(np.asarray(a), value)


def test_append_of_rows(pool: Pool) -> None:
    a = kept(pool, np.zeros((0, 3), "i2"))
    a.append([1, 2, 3])
    a.append(np.array([4, 5, 6]))
    a.append(7)
    a.extend([[8, 9, 10], [11, 12, 13]])
    a.extend(iter([(1, 1, 1)]))
    a.extend([])
    a.extend(a)
    expected = [[1, 2, 3], [4, 5, 6], [7, 7, 7], [8, 9, 10], [11, 12, 13], [1, 1, 1]]
    assert a.tolist() == 2 * expected
    with pytest.raises(ValueError, match="broadcast"):
        a.append([1, 2])
    with pytest.raises(ValueError, match="do not fit"):
        a.extend([[1, 2]])
    with pytest.raises(TypeError):
        kept(pool, np.array(5)).append(1)


@pytest.mark.parametrize("count", [10, 40_000, 200_000])
def test_extend_of_any_length_is_one_unit(count: int, medium: Medium, open_pool: Opener) -> None:
    pool = open_pool(medium.folder / "a.pool", "n", size="8M")
    a = kept(pool, np.arange(100))
    commits = pool.stats().commits
    a.extend(np.arange(count))
    assert pool.stats().commits == commits + 1
    a.extend(range(count // 2))
    expected = np.concatenate([np.arange(100), np.arange(count), np.arange(count // 2)])
    assert same(np.asarray(a), expected)


def test_resize(pool: Pool) -> None:
    a = kept(pool, np.arange(6))
    for shape in [(2, 3), (3, 2), (4,), (2, 4), (0,), (0, 7), (3, 3), (), (2,), (1, 1, 1)]:
        expected = np.array(a)
        expected.resize(shape)
        a.resize(*shape) if len(shape) > 1 else a.resize(shape)
        assert same(a.copy(), expected)
    a.resize(5)
    assert a.shape == (5,)
    a.resize((60_000,))
    a.resize(100_000)
    assert a.tolist() == [0, 0, 0, 0, 0] + [0] * 99_995
    for wrong in [(-1,), (2**62, 2**62), (2**70,)]:
        with pytest.raises((ValueError, OverflowError)):
            a.resize(wrong)
    with pytest.raises((ValueError, pmemstore.PoolFullError)):
        a.resize(2**44, 0)
    assert a.shape == (100_000,)
    used = pool.stats().used_bytes
    a.resize(10)
    pool.checkpoint()
    assert pool.stats().used_bytes < used - 700_000


def test_fill(pool: Pool) -> None:
    for name in ("floats", "records", "text", "cube", "empty", "no axes", "pages"):
        value = ARRAYS[name].copy()
        a = kept(pool, value)
        one = value.reshape(-1)[1] if value.size > 1 else 3.0
        a.fill(one)
        value.fill(one)
        assert same(a.copy(), value)


# ---- write()


def test_write_through_a_view(pool: Pool) -> None:
    a = kept(pool, np.arange(10.0))
    with a.write(slice(2, 5)) as view:
        assert view.tolist() == [2, 3, 4]
        view *= 10
        assert a[2] == 2
    assert a.tolist() == [0, 1, 20, 30, 40, 5, 6, 7, 8, 9]
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with a.write() as view:
        np.sqrt(view, out=view)
    assert a[4] == math.sqrt(40)
    with a.write(3) as view:
        view[...] = -1
    assert a[3] == -1
    m = kept(pool, np.zeros((2, 3)))
    with m.write(1) as row:
        row[:] = [1, 2, 3]
    with m.write(slice(0, 1)) as rows:
        rows[0, 1] = 9
    assert m.tolist() == [[0, 9, 0], [1, 2, 3]]
    with kept(pool, ARRAYS["records"]).write() as records:
        records["id"] += 100
    assert pool.root["a"][0][0] == 101
    with kept(pool, np.zeros(0)).write() as nothing:
        assert nothing.size == 0


def test_write_is_a_transaction(pool: Pool) -> None:
    """All of the block or nothing; inside another one, a part of it."""
    a = kept(pool, np.zeros(4))
    with undone(a.write()) as view:
        view[:] = 1
        pool.root["x"] = 1
    assert a.tolist() == [0] * 4
    assert "x" not in pool.root
    with undone(pool.transaction()):
        with a.write(slice(0, 2)) as view:
            view[:] = 2
        assert a.tolist() == [2, 2, 0, 0]
    assert a.tolist() == [0] * 4
    with pool.transaction():
        a[3] = 5
        with undone(a.write(slice(0, 2))) as view:
            view[:] = 2
    assert a.tolist() == [0, 0, 0, 5]


def test_write_takes_ranges_only(pool: Pool) -> None:
    a = kept(pool, np.zeros(4))
    for key in (slice(None, None, 2), [1, 2], (slice(1, 2), 0), "x"):
        with pytest.raises((TypeError, IndexError)), a.write(key):
            pass
    with pytest.raises(IndexError), a.write(4):
        pass
    writing = a.write(0)
    with writing as view:
        view[...] = 1
    with pytest.raises(RuntimeError, match="call write"), writing:
        pass
    with pytest.raises(RuntimeError, match="changed size"), a.write():
        a.append(1)
    assert a.tolist() == [1, 0, 0, 0]
    assert pool.transaction() is not None
    a[0] = 2


def test_write_that_outlives_its_transaction_writes_nothing(pool: Pool) -> None:
    """Left open when an outer block ended, closed by another thread, or never entered."""
    a = kept(pool, np.zeros(4))
    late = a.write()
    with pytest.raises(pmemstore.TransactionError), pool.transaction():
        late.__enter__()[0] = 1
    with pytest.raises(pmemstore.TransactionError, match="not open"):
        late.__exit__(None, None, None)
    assert a.tolist() == [0] * 4
    raised: list[BaseException] = []

    def elsewhere(writing: Any) -> None:
        try:
            writing.__exit__(None, None, None)
        except pmemstore.TransactionError as error:
            raised.append(error)

    shared = a.write()
    shared.__enter__()[2] = 3
    for writing in (late, shared):
        thread = threading.Thread(target=elsewhere, args=(writing,))
        thread.start()
        thread.join()
    assert len(raised) == 2
    shared.__exit__(None, None, None)
    assert a.tolist() == [0, 0, 3, 0]
    with pytest.raises(RuntimeError, match="with statement"):
        a.write().__exit__(None, None, None)


def test_write_of_a_view_that_is_kept_does_nothing(pool: Pool) -> None:
    a = kept(pool, np.zeros(4))
    with a.write() as view:
        part = view[1:]
    part[:] = 7
    assert a.tolist() == [0] * 4
    del a, view, part
    gc.collect()


# ---- transactions, threads, the rest


def test_equality(pool: Pool) -> None:
    """With arrays of a pool and array.array: one answer; with numpy's: numpy's."""
    a, b = kept(pool, np.arange(3)), pool.root.setdefault("b", np.arange(3.0))
    assert a == a
    assert a == b
    assert a == array.array("b", [0, 1, 2])
    assert array.array("b", [0, 1, 2]) == a
    assert a != array.array("b", [0, 1])
    assert a != pool.root.setdefault("m", np.arange(3).reshape(1, 3))
    assert a != [0, 1, 2]
    assert pool.root == {"a": a, "b": b, "m": pool.root["m"]}
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)


def test_roll_back(pool: Pool) -> None:
    a = kept(pool, np.arange(5))
    with undone(pool.transaction()):
        a[0] = 9
        a.append(1)
        a.extend(range(5000))
        a.resize(10, 2)
        pool.root["b"] = np.zeros(3)
        b = pool.root["b"]
    assert a.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(pmemstore.StaleRefError):
        b[0]
    assert repr(b) == "<Array that was rolled back>"
    assert pool.check().problems == ()


@pytest.mark.parametrize("log_size", ["4K", "1M"])
def test_writes_larger_than_the_log(log_size: str, medium: Medium, open_pool: Opener) -> None:
    pool = open_pool(medium.folder / "a.pool", "n", size="2M", log_size=log_size)
    value = np.arange(100_000.0)
    a = kept(pool, np.zeros(100_000))
    a[:] = value
    assert same(np.asarray(a), value)
    with a.write() as view:
        view[::-1] = value
    assert same(np.asarray(a), value[::-1].copy())
    with undone(pool.transaction()):
        a[:] = 1
        a.fill(3)
        assert set(a) == {3.0}
    assert same(np.asarray(a), value[::-1].copy())


def test_threads(pool: Pool) -> None:
    """Readers by method see each assignment as a whole."""
    a = kept(pool, np.zeros(5000))
    wrong: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            found = set(a[:].tolist())
            if len(found) != 1:
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for i in range(60):
        a[:] = i
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_growth_in_another_thread_while_this_one_looks(pool: Pool) -> None:
    a = kept(pool, np.zeros(1))
    adder = threading.Thread(target=lambda: [a.append(0.0) for _ in range(500)])
    adder.start()
    while adder.is_alive():
        assert not a[:].any()
        assert not any(a.copy())
    adder.join()
    assert len(a) == 501


def test_repr(pool: Pool) -> None:
    assert repr(kept(pool, np.arange(3))) == "Array('<i8', (3,), [0, 1, 2])"
    assert repr(kept(pool, np.arange(9))) == "Array('<i8', (9,), [0, 1, 2, 3, 4, 5, ...])"
    assert repr(kept(pool, np.zeros((1, 2)))) == "Array('<f8', (1, 2), [[0.0, 0.0]])"
    assert repr(kept(pool, np.zeros((1, 2000)))) == "Array('<f8', (1, 2000), [...])"
    assert repr(kept(pool, np.array(1))) == "Array('<i8', (), 1)"


def test_no_pickle(pool: Pool) -> None:
    with pytest.raises(TypeError, match="copy"):
        pickle.dumps(kept(pool, np.zeros(1)))


def test_read_only_pool(medium: Medium, open_pool: Opener) -> None:
    path = medium.folder / "a.pool"
    with pmemstore.open(path, "n", size="1M") as pool:
        kept(pool, np.arange(5))
    pool = open_pool(path, "r")
    a = pool.root["a"]
    assert np.asarray(a).tolist() == [0, 1, 2, 3, 4]
    for change in (lambda: a.append(1), lambda: a.__setitem__(0, 1), lambda: a.fill(0)):
        with pytest.raises(pmemstore.PmemstoreError):
            change()


def test_damaged_type_is_told(pool: Pool) -> None:
    """What no reader knows is PoolCorruptError, not a wrong number."""
    a = kept(pool, np.zeros(3))
    for text, item in [
        ("<f16", 16), ("<x8", 8), ("<f8", 4), ("[[", 8), ("[[\"a\"]]", 8), ("{}", 8), ("<f8[s]", 8),
        ("[" * 5000, 8), ('[["a", "<f8", [-1]]]', 8), ('[["a", "<f8", ["x"]]]', 8),
    ]:  # fmt: skip
        with undone(pool.transaction()):
            b = pool._new(a._tag)
            b._setup(text, item, (1,), bytes(item))
            with pytest.raises(pmemstore.PoolCorruptError, match="damaged"):
                b[0]
    assert pool.check().problems == ()
