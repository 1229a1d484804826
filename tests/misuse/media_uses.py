"""Every public operation, on a pool or mapping whose file has just lost pages.

Run as a program, in a process of its own: ``media_uses.py FOLDER DAMAGE OFFSET``.  It prints the
name of each use before it tries it, so whoever is killed by a signal has told where.

The first access that meets a lost page decides the fate of a pool; so each use has a pool of its
own, opened and looked at before its file is damaged.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import pmemstore
from pmemstore import (
    Array,
    Deque,
    Dict,
    List,
    Mapping,
    PmemstoreError,
    Pool,
    Set,
    SortedDict,
    SortedSet,
    Transaction,
)


@pmemstore.record
class Order:
    """A record of the pool that is damaged."""

    id: int
    note: str | None = None
    count: pmemstore.int32 = 0


SIZE = 1 << 20
BIG = "x" * 5000
Use = Callable[[Any], Any]


@dataclass
class World:
    """What was there before the damage.

    Attributes:
        pool: An open pool.
        target: What is used: the pool, or something of it.
    """

    pool: Pool | None
    target: Any


# ---- what is used ---------------------------------------------------------------------------


def entered(pool: Pool) -> Transaction:
    block = pool.transaction()
    block.__enter__()
    pool.root["dict"]["in the block"] = BIG
    return block


def begun(iterator: Any) -> Any:
    next(iterator)
    return iterator


TARGETS: dict[str, tuple[Any, Use]] = {
    "Pool": (Pool, lambda pool: pool),
    "Dict": (Dict, lambda pool: pool.root["dict"]),
    "List": (List, lambda pool: pool.root["list"]),
    "Set": (Set, lambda pool: pool.root["set"]),
    "Deque": (Deque, lambda pool: pool.root["deque"]),
    "SortedDict": (SortedDict, lambda pool: pool.root["sorted"]),
    "SortedSet": (SortedSet, lambda pool: pool.root["sorted set"]),
    "SortedDictKeys": (None, lambda pool: pool.root["sorted"].keys()),
    "SortedDictValues": (None, lambda pool: pool.root["sorted"].values()),
    "SortedDictItems": (None, lambda pool: pool.root["sorted"].items()),
    "SortedIterator": (None, lambda pool: begun(pool.root["sorted"].items().irange("key 2"))),
    "Record": (Order.__mro__[1], lambda pool: pool.root["record"]),
    "Array": (Array, lambda pool: pool.root["array"]),
    "DictKeys": (None, lambda pool: pool.root["dict"].keys()),
    "DictValues": (None, lambda pool: pool.root["dict"].values()),
    "DictItems": (None, lambda pool: pool.root["dict"].items()),
    "DictIterator": (None, lambda pool: begun(iter(pool.root["dict"].items()))),
    "ListIterator": (None, lambda pool: begun(iter(pool.root["list"]))),
    # Of the same types as the two above.
    "SetIterator": (object, lambda pool: begun(iter(pool.root["set"]))),
    "DequeIterator": (object, lambda pool: begun(iter(pool.root["deque"]))),
    "Transaction": (Transaction, entered),
    "Mapping": (Mapping, lambda pool: None),
}

# What every class has, and what says nothing of a medium.
IGNORED = {
    *vars(object),
    *("__dict__", "__weakref__", "__slots__", "__module__", "__annotations__", "__doc__"),
    *("__orig_bases__", "__parameters__", "__abstractmethods__", "__class_getitem__"),
    *("__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__"),
    *("__annotations_cache__", "__protocol_attrs__", "__non_callable_proto_members__"),
    *("__type_params__", "__match_args__", "__slotnames__"),
} - {"__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__repr__"}


def public(kind: type) -> set[str]:
    """Names that a caller may use, those that the type inherits too."""
    names = {
        name
        for base in kind.__mro__
        if base.__module__.split(".")[0] in ("pmemstore", "collections", "_collections_abc")
        for name in vars(base)
    }
    return {
        name
        for name in names - IGNORED
        if not name.startswith("_") or (name.startswith("__") and name.endswith("__"))
    }


def drain(iterator: Any) -> list[Any]:
    return list(iterator)


def leave(block: Any, error: BaseException | None = None) -> Any:
    return block.__exit__(type(error) if error else None, error, None)


def write_in_block(pool: Any) -> None:
    with pool.transaction():
        pool.root["dict"]["new"] = BIG
        pool.root["list"].append(BIG)


def write_range(target: Any, key: Any) -> float:
    with target.write(key) as view:
        view[7] = 1.5
    return float(target[12])


def read_view(mapping: Any) -> int:
    view = mapping.view()
    total = sum(view[:: mapping.size // 64])
    view.release()
    return int(total >= 0)


def open_again(mapping: Any) -> None:
    try:
        Mapping.open(mapping.path, readonly=True).close()
    except ValueError:
        assert not os.path.getsize(mapping.path)


def change(method: str, *args: Any) -> Use:
    """Call a method, and see what the container is then."""

    def use(target: Any) -> Any:
        result = getattr(target, method)(*args)
        return result if result is not target else None, len(target)

    return use


def of(method: str, *args: Any) -> Use:
    return lambda target: getattr(target, method)(*args)


SET_USES: dict[str, list[Use]] = {
    name: [of(name, {"key 3", ("key 4", 4)})]
    for name in (
        *("__and__", "__or__", "__sub__", "__xor__", "__rand__", "__ror__", "__rsub__"),
        *("__rxor__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "isdisjoint"),
    )
}
MEMBERS = {f"member {i}" for i in range(0, 300, 50)}
VIEW_USES: dict[str, list[Use]] = {
    "__len__": [len],
    "__iter__": [drain],
    "__reversed__": [lambda view: list(reversed(view))],
    "__contains__": [of("__contains__", "key 7"), of("__contains__", ("key 7", 7))],
    "__repr__": [repr],
    "mapping": [lambda view: dict(view.mapping)],
    "__reduce_ex__": [of("__reduce_ex__", 2)],
}
ITERATOR_USES: dict[str, list[Use]] = {
    "__iter__": [iter],
    "__next__": [next, drain],
    "__length_hint__": [of("__length_hint__")],
}

RANGE_USES: dict[str, list[Use]] = {
    "irange": [
        lambda target: list(target.irange("key 2", "key 3")),
        lambda target: list(target.irange("key 2", reverse=True)),
    ],
    "islice": [lambda target: list(target.islice(100, 300))],
}
SORTED_VIEW_USES: dict[str, list[Use]] = {
    **VIEW_USES,
    **RANGE_USES,
    "__getitem__": [of("__getitem__", 150), of("__getitem__", slice(100, 300, 3))],
    "__delitem__": [change("__delitem__", 150), change("__delitem__", slice(10, 200))],
    "__reduce_ex__": [of("__reduce_ex__", 2)],
    "count": [of("count", "key 3")],
    "index": [of("index", "value 250"), lambda view: view.index(view[350])],
}
BISECT_USES: dict[str, list[Use]] = {
    name: [of(name, "key 3")] for name in ("bisect", "bisect_left", "bisect_right")
}
PAIR = ("key 3", 3)
PAIRS = {("key 3", 3), ("key 4", 4), ("new", 1)}

USES: dict[str, dict[str, list[Use]]] = {
    "Pool": {
        "root": [lambda pool: pool.root, lambda pool: repr(pool.root["dict"])],
        "transaction": [write_in_block],
        "durability": [lambda pool: str(pool.durability)],
        "protection": [lambda pool: pool.protection],
        "uuid": [lambda pool: pool.uuid],
        "format_version": [lambda pool: pool.format_version],
        "log_size": [lambda pool: pool.log_size],
        "closed": [lambda pool: pool.closed],
        "stats": [of("stats")],
        "heap": [of("heap")],
        "health": [of("health")],
        "check": [of("check")],
        "checkpoint": [of("checkpoint")],
        "collect": [of("collect")],
        "migrate": [of("migrate")],
        "schemas": [of("schemas")],
        "grow": [of("grow", SIZE * 2)],
        "prepare_write": [of("prepare_write"), of("prepare_write", SIZE // 2, 4096)],
        "close": [of("close")],
        "__enter__": [of("__enter__")],
        "__exit__": [leave],
        "__del__": [of("__del__")],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
    },
    "Dict": {
        "__contains__": [of("__contains__", "key 9"), of("__contains__", "no such key")],
        "__copy__": [lambda d: dict(d.__copy__())],
        "__deepcopy__": [of("__deepcopy__", {})],
        "__delitem__": [change("__delitem__", "key 11"), change("__delitem__", "big 2")],
        "__eq__": [of("__eq__", {"key 3": 3}), lambda d: d == dict(d)],
        "__getitem__": [of("__getitem__", "key 12"), of("__getitem__", "big 3")],
        "__ior__": [change("__ior__", {"key 3": BIG})],
        "__iter__": [drain],
        "__len__": [len],
        "__or__": [of("__or__", {"key 3": 1})],
        "__ror__": [of("__ror__", {"key 3": 1})],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
        "__reversed__": [lambda d: list(reversed(d))],
        "__setitem__": [
            change("__setitem__", "key 13", -1),
            change("__setitem__", "new", BIG),
            change("__setitem__", "new", {"deep": [BIG, {"deeper": 1}]}),
        ],
        "clear": [change("clear")],
        "copy": [of("copy")],
        "fromkeys": [of("fromkeys", ("a", "b"))],
        "get": [of("get", "key 14"), of("get", "no such key")],
        "items": [lambda d: list(d.items())],
        "keys": [lambda d: list(d.keys())],
        "pop": [change("pop", "key 15"), change("pop", "inner 1")],
        "popitem": [change("popitem")],
        "setdefault": [change("setdefault", "key 16", 0), change("setdefault", "new", BIG)],
        "update": [change("update", {f"key {i}": BIG for i in range(50)})],
        "values": [lambda d: list(d.values())],
    },
    "List": {
        "__add__": [of("__add__", [1])],
        "__contains__": [of("__contains__", "item 150")],
        "__copy__": [lambda items: list(items.__copy__())],
        "__deepcopy__": [of("__deepcopy__", {})],
        "__delitem__": [change("__delitem__", 150), change("__delitem__", slice(10, 200, 2))],
        "__eq__": [of("__eq__", ["item 0"]), lambda items: items == list(items)],
        "__ge__": [of("__ge__", ["item 0"])],
        "__getitem__": [of("__getitem__", 150), of("__getitem__", slice(100, 300))],
        "__gt__": [of("__gt__", ["item 0"])],
        "__iadd__": [change("__iadd__", [BIG] * 20)],
        "__imul__": [change("__imul__", 2)],
        "__iter__": [drain],
        "__le__": [of("__le__", ["item 0"])],
        "__len__": [len],
        "__lt__": [of("__lt__", ["item 0"])],
        "__mul__": [of("__mul__", 2)],
        "__radd__": [of("__radd__", [1])],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
        "__reversed__": [lambda items: list(reversed(items))],
        "__rmul__": [of("__rmul__", 2)],
        "__setitem__": [
            change("__setitem__", 150, BIG),
            change("__setitem__", slice(5, 50), [BIG] * 3),
        ],
        "append": [change("append", BIG), change("append", [[BIG]])],
        "clear": [change("clear")],
        "copy": [of("copy")],
        "count": [of("count", "item 3")],
        "extend": [change("extend", [BIG] * 20)],
        "index": [of("index", "item 250")],
        "insert": [change("insert", 100, BIG)],
        "pop": [change("pop"), change("pop", 100)],
        "remove": [change("remove", "item 250")],
        "reverse": [change("reverse")],
        "sort": [change("sort")],
    },
    "Set": {
        "__contains__": [of("__contains__", "member 150"), of("__contains__", "no such member")],
        "__copy__": [lambda members: sorted(members.__copy__())],
        "__deepcopy__": [lambda members: sorted(members.__deepcopy__({}))],
        "__iter__": [drain],
        "__len__": [len],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
        "add": [change("add", "new"), change("add", BIG), change("add", "member 150")],
        "clear": [change("clear")],
        "copy": [lambda members: sorted(members.copy())],
        "discard": [change("discard", "member 150"), change("discard", "no such member")],
        "pop": [change("pop")],
        "remove": [change("remove", "member 150"), change("remove", ("far", "member " * 9))],
        **{
            name: [lambda members, name=name: sorted(getattr(members, name)(MEMBERS), key=repr)]
            for name in (
                *("__and__", "__or__", "__sub__", "__xor__", "__rand__", "__ror__", "__rsub__"),
                *("__rxor__", "union", "intersection", "difference", "symmetric_difference"),
            )
        },
        **{
            name: [of(name, MEMBERS)]
            for name in (
                *("__eq__", "__lt__", "__le__", "__gt__", "__ge__"),
                *("isdisjoint", "issubset", "issuperset"),
            )
        },
        **{
            name: [change(name, MEMBERS | {BIG})]
            for name in (
                *("__ior__", "__iand__", "__isub__", "__ixor__", "update"),
                *("intersection_update", "difference_update", "symmetric_difference_update"),
            )
        },
    },
    "Deque": {
        "__add__": [of("__add__", deque([1]))],
        "__contains__": [of("__contains__", "item 150")],
        "__copy__": [lambda items: list(items.__copy__())],
        "__deepcopy__": [of("__deepcopy__", {})],
        "__delitem__": [change("__delitem__", 150)],
        "__eq__": [of("__eq__", deque(["item 0"])), lambda items: items == deque(items)],
        "__ge__": [of("__ge__", deque(["item 0"]))],
        "__getitem__": [of("__getitem__", 150)],
        "__gt__": [of("__gt__", deque(["item 0"]))],
        "__iadd__": [change("__iadd__", [BIG] * 20)],
        "__imul__": [change("__imul__", 2)],
        "__iter__": [drain],
        "__le__": [of("__le__", deque(["item 0"]))],
        "__len__": [len],
        "__lt__": [of("__lt__", deque(["item 0"]))],
        "__mul__": [of("__mul__", 2)],
        "__radd__": [of("__radd__", deque([1]))],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
        "__reversed__": [lambda items: list(reversed(items))],
        "__rmul__": [of("__rmul__", 2)],
        "__setitem__": [change("__setitem__", 150, BIG)],
        "append": [change("append", BIG), change("append", [[BIG]])],
        "appendleft": [change("appendleft", BIG)],
        "clear": [change("clear")],
        "copy": [of("copy")],
        "count": [of("count", "item 3")],
        "extend": [change("extend", [BIG] * 20)],
        "extendleft": [change("extendleft", [BIG] * 20)],
        "index": [of("index", "item 250")],
        "insert": [change("insert", 100, BIG)],
        "maxlen": [lambda items: items.maxlen],
        "pop": [change("pop")],
        "popleft": [change("popleft")],
        "remove": [change("remove", "item 250")],
        "reverse": [change("reverse")],
        "rotate": [change("rotate", 70), change("rotate", -1)],
    },
    "Record": {
        "__copy__": [of("__copy__")],
        "__deepcopy__": [of("__deepcopy__", {})],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__eq__": [of("__eq__", Order(1))],
        "__repr__": [repr],
        "a field": [
            lambda record: record.note,
            lambda record: (setattr(record, "note", BIG), record.note)[1],
            lambda record: (setattr(record, "note", [BIG]), list(record.note))[1],
            lambda record: (setattr(record, "count", 7), record.count)[1],
        ],
    },
    "Array": {
        "__getitem__": [of("__getitem__", 1999), lambda a: list(a[5:1500])],
        "__setitem__": [
            change("__setitem__", 1999, 7.5),
            change("__setitem__", slice(5, 1500), array.array("d", [2.5] * 1495)),
            change("__setitem__", slice(None, None, 3), 1.5),
        ],
        "__delitem__": [of("__delitem__", 0)],
        "__len__": [len],
        "__iter__": [list],
        "__copy__": [lambda a: list(a.__copy__())],
        "__deepcopy__": [lambda a: list(a.__deepcopy__({}))],
        "__eq__": [lambda a: a == array.array("d", range(2000)), of("__eq__", 1)],
        "__repr__": [repr],
        "__reduce_ex__": [of("__reduce_ex__", 4)],
        "__array__": [lambda a: a.__array__().shape, lambda a: a.__array__(copy=True).shape],
        "__buffer__": [lambda a: memoryview(a).shape],
        "__release_buffer__": [lambda a: memoryview(a).release()],
        "append": [change("append", 1.5), change("append", 7)],
        "copy": [lambda a: list(a.copy())],
        "dtype": [lambda a: str(a.dtype)],
        "extend": [change("extend", [1.5] * 20), change("extend", [1.5] * 50_000)],
        "fill": [change("fill", 1.5)],
        "itemsize": [lambda a: a.itemsize],
        "nbytes": [lambda a: a.nbytes],
        "ndim": [lambda a: a.ndim],
        "resize": [change("resize", 10), change("resize", 3000)],
        "shape": [lambda a: a.shape],
        "size": [lambda a: a.size],
        "tobytes": [of("tobytes")],
        "tolist": [of("tolist")],
        "typestr": [lambda a: a.typestr],
        "write": [lambda a: write_range(a, slice(5, 1500)), lambda a: write_range(a, ...)],
    },
    "DictKeys": VIEW_USES | SET_USES,
    "DictValues": VIEW_USES | {"__eq__": [of("__eq__", 1)]},
    "DictItems": VIEW_USES | SET_USES,
    "DictIterator": ITERATOR_USES,
    "ListIterator": ITERATOR_USES,
    "SetIterator": ITERATOR_USES,
    "DequeIterator": ITERATOR_USES,
    "SortedDict": {
        **RANGE_USES,
        **BISECT_USES,
        "__contains__": [of("__contains__", "key 9"), of("__contains__", "no such key")],
        "__copy__": [lambda d: dict(d.__copy__())],
        "__deepcopy__": [lambda d: dict(d.__deepcopy__({}))],
        "__delitem__": [change("__delitem__", "key 11"), change("__delitem__", "big 2")],
        "__eq__": [of("__eq__", {"key 3": 3}), lambda d: d == dict(d)],
        "__getitem__": [of("__getitem__", "key 12"), of("__getitem__", "big 3")],
        "__ior__": [change("__ior__", {"key 3": BIG})],
        "__iter__": [drain],
        "__len__": [len],
        "__or__": [lambda d: dict(d | {"key 3": 1})],
        "__ror__": [lambda d: dict({"key 3": 1} | d)],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
        "__reversed__": [lambda d: list(reversed(d))],
        "__setitem__": [
            change("__setitem__", "key 13", -1),
            change("__setitem__", "new", BIG),
            change("__setitem__", "new", {"deep": [BIG]}),
        ],
        "clear": [change("clear")],
        "copy": [lambda d: dict(d.copy())],
        "fromkeys": [lambda d: dict(d.fromkeys("ab"))],
        "get": [of("get", "key 14"), of("get", "no such key")],
        "index": [of("index", "key 250")],
        "items": [lambda d: list(d.items())],
        "keys": [lambda d: list(d.keys())],
        "of": [lambda d: dict(d.of({"a": 1}))],
        "peekitem": [of("peekitem"), of("peekitem", 200)],
        "pop": [change("pop", "key 15"), change("pop", "big 1")],
        "popitem": [change("popitem"), change("popitem", 200)],
        "remove_range": [change("remove_range", "key 2", "key 3"), change("remove_range")],
        "setdefault": [change("setdefault", "key 16", 0), change("setdefault", "new", BIG)],
        "update": [change("update", {f"key {i}": BIG for i in range(0, 400, 9)})],
        "values": [lambda d: list(d.values())],
    },
    "SortedSet": {
        "__contains__": [of("__contains__", PAIR), of("__contains__", ("no", 1))],
        "__copy__": [lambda s: list(s.__copy__())],
        "__deepcopy__": [lambda s: list(s.__deepcopy__({}))],
        "__delitem__": [change("__delitem__", 150), change("__delitem__", slice(10, 200, 3))],
        "__getitem__": [of("__getitem__", 150), of("__getitem__", slice(100, 300))],
        "__iter__": [drain],
        "__len__": [len],
        "__reduce_ex__": [of("__reduce_ex__", 2)],
        "__repr__": [repr],
        "__reversed__": [lambda s: list(reversed(s))],
        "__setitem__": [of("__setitem__", 0, 1)],
        "add": [change("add", ("new", 1)), change("add", (BIG, 1)), change("add", PAIR)],
        "bisect": [of("bisect", PAIR)],
        "bisect_left": [of("bisect_left", PAIR)],
        "bisect_right": [of("bisect_right", PAIR)],
        "clear": [change("clear")],
        "copy": [lambda s: list(s.copy())],
        "count": [of("count", PAIR)],
        "discard": [change("discard", PAIR), change("discard", ("no", 1))],
        "index": [of("index", PAIR)],
        "irange": [lambda s: list(s.irange(("key 2", 0), ("key 3", 5)))],
        "islice": [lambda s: list(s.islice(100, 300))],
        "of": [lambda s: list(s.of("ab"))],
        "pop": [change("pop"), change("pop", 150)],
        "remove": [change("remove", PAIR)],
        "remove_range": [change("remove_range", ("key 2", 0), ("key 3", 5))],
        **{
            name: [lambda s, name=name: sorted(getattr(s, name)(PAIRS))]
            for name in (
                *("__and__", "__or__", "__sub__", "__xor__", "__rand__", "__ror__", "__rsub__"),
                *("__rxor__", "union", "intersection", "difference", "symmetric_difference"),
            )
        },
        **{
            name: [of(name, PAIRS)]
            for name in (
                *("__eq__", "__lt__", "__le__", "__gt__", "__ge__"),
                *("isdisjoint", "issubset", "issuperset"),
            )
        },
        **{
            name: [change(name, PAIRS | {(BIG, 1)})]
            for name in (
                *("__ior__", "__iand__", "__isub__", "__ixor__", "update"),
                *("intersection_update", "difference_update", "symmetric_difference_update"),
            )
        },
    },
    "SortedDictKeys": SORTED_VIEW_USES | SET_USES | BISECT_USES,
    "SortedDictValues": SORTED_VIEW_USES | {"__eq__": [of("__eq__", 1)]},
    "SortedDictItems": SORTED_VIEW_USES | SET_USES,
    "SortedIterator": ITERATOR_USES,
    "Transaction": {
        "__enter__": [of("__enter__"), lambda block: entered(block._pool)],
        "__exit__": [leave, lambda block: leave(block, KeyError("roll back"))],
        "__call__": [lambda block: block(len)([1])],
        "__del__": [of("__del__")],
        "on_commit": [lambda block: (block.on_commit(print), leave(block, KeyError()))[1]],
        "on_abort": [lambda block: (block.on_abort(lambda: None), leave(block))[1]],
    },
    "Mapping": {
        "open": [open_again],
        "tier": [lambda mapping: mapping.tier],
        "reason": [lambda mapping: mapping.reason],
        "flush_instruction": [lambda mapping: mapping.flush_instruction],
        "size": [lambda mapping: mapping.size],
        "readonly": [lambda mapping: mapping.readonly],
        "closed": [lambda mapping: mapping.closed],
        "path": [lambda mapping: mapping.path],
        "stats": [of("stats")],
        "view": [read_view],
        "flush": [of("flush"), lambda mapping: (mapping.flush(), mapping.fence())[1]],
        "fence": [of("fence")],
        "persist": [of("persist"), of("persist", SIZE - 8, 8)],
        "prepare_write": [of("prepare_write")],
        "check": [of("check")],
        "close": [of("close")],
        "__len__": [len],
        "__repr__": [repr],
        "__enter__": [of("__enter__")],
        "__exit__": [leave],
        "__del__": [of("__del__")],
    },
}

# ---- damage ---------------------------------------------------------------------------------

PUNCH_HOLE, KEEP_SIZE = 2, 1


def damage(path: Path, kind: str, offset: int) -> None:
    """Everything from offset on goes away: the file's end, or its contents."""
    if kind == "truncate":
        os.truncate(path, offset)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDWR)
    length = ctypes.c_long(os.fstat(fd).st_size - offset)
    if libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, ctypes.c_long(offset), length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    os.close(fd)


# ---- trying ---------------------------------------------------------------------------------


def furnish(path: Path) -> None:
    with pmemstore.open(path, "n", size=SIZE, log_size="16K", limit="8M") as pool:
        pool.root["dict"] = {f"key {i}": i for i in range(200)}
        pool.root["dict"].update({f"big {i}": f"{i}" * 9000 for i in range(8)})
        pool.root["dict"].update({f"inner {i}": {"a": [i, "long " * 30]} for i in range(5)})
        pool.root["list"] = [f"item {i}" for i in range(400)]
        pool.root["array"] = array.array("d", range(2000))
        pool.root["set"] = {f"member {i}" for i in range(300)} | {("far", "member " * 9)}
        pool.root["sorted"] = SortedDict.of({f"key {i}": f"value {i}" for i in range(400)})
        pool.root["sorted"].update({f"big {i}": f"{i}" * 3000 for i in range(9)})
        pool.root["sorted set"] = SortedSet.of((f"key {i}", i) for i in range(400))
        pool.root["deque"] = deque((f"item {i}" for i in range(400)), 500)
        pool.root["record"] = Order(1, "a longer note")


CONTAINERS = (Dict, List, Set, Deque, SortedDict, SortedSet)


def plain(value: Any) -> Any:
    """Something that can be compared when the pool is gone.  Statistics: that there are any."""
    if is_dataclass(value) or not isinstance(
        value, (int, str, bytes, list, tuple, dict, set, deque)
    ):
        return repr(value) if isinstance(value, CONTAINERS) else type(value).__name__
    return repr(value)


def begin(folder: Path, name: str) -> World:
    work = folder / "work"
    shutil.copy(folder / "template", work)
    if name == "Mapping":
        return World(None, Mapping.open(work))
    pool = pmemstore.open(work, "w")
    return World(pool, TARGETS[name][1](pool))


def outcome(world: World, use: Use) -> tuple[str, Any]:
    try:
        return "value", plain(use(world.target))
    except Exception as error:
        return "error", error


def finish(world: World) -> None:
    """Closing is an operation too, whatever has happened."""
    try:
        if world.pool is not None:
            world.pool.close()
        else:
            world.target.close()
    except PmemstoreError:
        pass


def verdict(kind: str, healthy: tuple[str, Any], got: tuple[str, Any]) -> str | None:
    """What is wrong with an outcome, if anything is."""
    if got[0] == "error":
        if isinstance(got[1], PmemstoreError):
            return None
        if healthy[0] == "error" and type(got[1]) is type(healthy[1]):
            return None
        if kind == "punch" and isinstance(got[1], (KeyError, IndexError, ValueError)):
            return None  # what was in the hole is zeroes: not there, or something else
        return f"{type(got[1]).__name__}: {got[1]}"
    if kind == "punch" or got == healthy:
        return None
    return f"{got[1]!s:.80} instead of {healthy[1]!s:.80}"


def try_one(folder: Path, name: str, use: Use, kind: str, offset: int) -> tuple[bool, str | None]:
    """Whether it was a MediaError, and what is wrong."""
    world = begin(folder, name)
    healthy = outcome(world, use)
    finish(world)
    world = begin(folder, name)
    damage(folder / "work", kind, offset)
    got = outcome(world, use)
    finish(world)
    return isinstance(got[1], pmemstore.MediaError), verdict(kind, healthy, got)


def main(folder: Path, kind: str, offset: int) -> None:
    wrong = []
    media = dict.fromkeys(USES, 0)
    for name, methods in USES.items():
        if name == "Mapping":
            (folder / "template").write_bytes(b"\x5a" * SIZE)
        elif name == "Pool":
            furnish(folder / "template")
        for method, uses in methods.items():
            for number, use in enumerate(uses):
                label = f"{name}.{method}[{number}]"
                print(label, flush=True)
                was_media, text = try_one(folder, name, use, kind, offset)
                media[name] += was_media
                if text:
                    wrong.append(f"{label}: {text}")
    print(json.dumps({"wrong": wrong, "media": media}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
