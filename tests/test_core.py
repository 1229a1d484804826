"""The containers of the core through cffi: the same functions that the C types call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pmemstore import Pool
from pmemstore._native import ffi, lib


def core_of(pool: Pool) -> Any:
    return ffi.cast("struct pms_pool *", pool._address)


def write(pool: Pool, operation: Callable[[Any], int]) -> int:
    """Run one operation as a unit of its own; return its status."""
    core, ticket = core_of(pool), ffi.new("uint64_t *")
    assert lib.pms_enter_write_wait(core, ffi.NULL, -1) == lib.PMS_OK
    status = lib.pms_leave_write(core, operation(core), ticket)
    if status == lib.PMS_OK and ticket[0]:
        status = lib.pms_wait_durable(core, ticket[0])
    return status


def read(pool: Pool, operation: Callable[[Any], Any]) -> Any:
    core = core_of(pool)
    assert lib.pms_enter_read_wait(core, ffi.NULL, -1) == lib.PMS_OK
    result = operation(core)
    assert lib.pms_leave_read(core) == lib.PMS_OK
    return result


def a_key(text: bytes) -> tuple[Any, Any]:
    data = ffi.new("char[]", text)
    key = ffi.new("struct pms_key *")
    key.tag = key.stored_tag = lib.PMS_TAG_STR
    key.data, key.len = data, len(text)
    return key, data  # the second keeps the bytes alive


def an_int(number: int) -> Any:
    value = ffi.new("struct pms_val *")
    value.tag, value.num = lib.PMS_TAG_INT, number
    return value


def test_dict_of_the_core_is_the_dict_of_the_slots(pool: Pool) -> None:
    """Set, get, contains, iterate and delete, seen from both sides."""
    pool.root["d"] = {"old": 1}
    proxy, found = pool.root["d"], ffi.new("struct pms_val *")
    off = proxy._offset
    key, _text = a_key(b"new")
    assert write(pool, lambda core: lib.pms_dict_set(core, off, key, an_int(7))) == lib.PMS_OK
    assert proxy == {"old": 1, "new": 7}
    assert read(pool, lambda core: lib.pms_dict_get(core, off, key, found)) == lib.PMS_OK
    assert (found.tag, found.num) == (lib.PMS_TAG_INT, 7)
    assert read(pool, lambda core: lib.pms_dict_len(core, off)) == 2

    def numbers(core: Any) -> list[int]:
        entry, seen = ffi.new("uint64_t *"), []
        while lib.pms_dict_next(core, off, entry) == lib.PMS_OK and entry[0]:
            assert lib.pms_dict_entry(core, entry[0], ffi.NULL, found) == lib.PMS_OK
            seen.append(found.num)
        return seen

    assert read(pool, numbers) == [1, 7]
    assert write(pool, lambda core: lib.pms_dict_del(core, off, key)) == lib.PMS_OK
    assert write(pool, lambda core: lib.pms_dict_del(core, off, key)) == lib.PMS_MISSING
    assert proxy == {"old": 1}


def test_list_of_the_core_is_the_list_of_the_slots(pool: Pool) -> None:
    """Append, insert, set, get, swap, reverse and delete, seen from both sides."""
    pool.root["l"] = [0]
    proxy, found = pool.root["l"], ffi.new("struct pms_val *")
    off = proxy._offset
    for operation in (
        lambda core: lib.pms_list_append(core, off, an_int(1)),
        lambda core: lib.pms_list_insert(core, off, 0, an_int(2)),
        lambda core: lib.pms_list_set(core, off, 1, an_int(3)),
        lambda core: lib.pms_list_swap(core, off, 0, 2),
        lambda core: lib.pms_list_reverse(core, off),
    ):
        assert write(pool, operation) == lib.PMS_OK
    assert proxy == [2, 3, 1]
    assert read(pool, lambda core: lib.pms_list_get(core, off, 1, found)) == lib.PMS_OK
    assert found.num == 3
    assert read(pool, lambda core: lib.pms_list_get(core, off, 3, found)) == lib.PMS_MISSING
    assert write(pool, lambda core: lib.pms_list_del_range(core, off, 0, 2)) == lib.PMS_OK
    assert proxy == [1]


def test_transaction_of_the_core_rolls_back(pool: Pool) -> None:
    """Begin, put, abort; and a refused operation leaves nothing."""
    core, depth = core_of(pool), ffi.new("uint32_t *")
    pool.root["kept"] = 1
    assert lib.pms_tx_begin_wait(core, depth, -1) == lib.PMS_OK
    assert (depth[0], lib.pms_tx_depth(core)) == (1, 1)
    pool.root["gone"] = 2
    assert lib.pms_tx_abort(core, depth[0]) == lib.PMS_OK
    assert lib.pms_tx_depth(core) == 0
    assert pool.root == {"kept": 1}
    assert write(pool, lambda core: lib.PMS_E_FULL) == lib.PMS_E_FULL
    assert pool.root == {"kept": 1}
