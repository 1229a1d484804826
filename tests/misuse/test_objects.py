"""Proxies that outlive their pool, and values that no pool can keep."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import NotPersistableError, Pool, PoolClosedError
from pmemstore.containers.sorted import PlainSortedDict

if TYPE_CHECKING:
    from conftest import Medium, Opener


def test_everything_of_a_closed_pool_raises_poolclosederror(pool: Pool) -> None:
    """Proxies, iterators, views, blocks and the pool itself; the message says that data is safe."""
    pool.root["d"] = {"l": [1, 2, 3], "x": 1}
    root, stored = pool.root, pool.root["d"]
    inner = stored["l"]
    iterators = [iter(stored), iter(inner), reversed(inner), iter(stored.items())]
    views = [stored.keys(), stored.values(), stored.items()]
    block = pool.transaction()
    pool.close()
    pool.close()  # a second time is fine
    uses: list[Callable[[], Any]] = [
        lambda: pool.root,
        lambda: root["d"],
        lambda: stored.get("x"),
        lambda: stored.__setitem__("x", 2),
        lambda: stored.__delitem__("x"),
        lambda: "x" in stored,
        lambda: len(stored),
        lambda: list(stored),
        lambda: stored.pop("x"),
        lambda: stored.update(y=1),
        lambda: stored.copy(),
        lambda: stored == {},
        lambda: inner[0],
        lambda: inner[0:2],
        lambda: inner.append(4),
        lambda: inner.sort(),
        lambda: inner.index(1),
        *[lambda iterator=iterator: next(iterator) for iterator in iterators],
        *[lambda view=view: list(view) for view in views],
        lambda: block.__enter__(),
        lambda: pool.transaction().__enter__(),
        pool.__enter__,
        pool.stats,
        pool.heap,
        pool.check,
        pool.checkpoint,
        pool.collect,
        lambda: pool.grow("64M"),
        lambda: pool.durability,
        lambda: pool.uuid,
    ]
    for use in uses:
        with pytest.raises(PoolClosedError, match=r"is closed\. What was committed is safe"):
            use()
    assert pool.closed
    assert "closed" in repr(pool)
    assert "closed" in repr(stored)
    assert "closed" in repr(inner)


def test_proxies_may_outlive_their_pool_object(medium: Medium) -> None:
    """Whatever goes first, pool or proxies, nothing is touched that is gone."""
    for _ in range(20):
        pool = pmemstore.open(medium.folder / "t.pool", "n")
        pool.root["d"] = {"l": [{}]}
        kept = [pool.root, pool.root["d"], pool.root["d"]["l"], pool.root["d"]["l"][0]]
        iterator = iter(pool.root["d"])
        pool.close()
        del pool
        gc.collect()
        for proxy in kept:
            with pytest.raises(PoolClosedError):
                len(proxy)
        del kept, proxy
        gc.collect()
        with pytest.raises(PoolClosedError):
            next(iterator)


@pytest.mark.parametrize("moment", range(12))
def test_pool_closed_while_other_threads_work(medium: Medium, moment: int) -> None:
    """They get PoolClosedError, at whatever point they are; what they committed is there."""
    pool = pmemstore.open(medium.folder / "t.pool", "n")
    pool.root.update(dict.fromkeys(range(4), 0))
    errors: list[BaseException] = []
    done = [0] * 4

    def work(number: int) -> None:
        try:
            while True:
                if number % 2:
                    pool.root[number] += 1
                else:
                    with pool.transaction():
                        pool.root[number] += 1
                        pool.root["shared"] = [number] * 10
                done[number] += 1
        except PoolClosedError:
            pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while min(done) < 2 + moment:
        assert not errors
    pool.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert errors == []
    with pmemstore.open(medium.folder / "t.pool", "w") as pool:
        assert pool.check().ok
        for number in range(4):
            assert pool.root[number] - done[number] in (0, 1)


class Plain:
    pass


class Text(str):
    __slots__ = ()


Point = namedtuple("Point", "x y")

REFUSED: dict[str, tuple[Any, str]] = {
    "object": ([1, {"a": (0, Plain())}], r"\[1\]\['a'\]\[1\]: .*Plain"),
    "function": ({"f": len}, r"\['f'\]: builtin_function_or_method"),
    "set in a tuple": ([[({1, 2},)]], r"\[0\]\[0\]\[0\]: set.*frozenset"),
    "list in a tuple": ({"t": (1, [2])}, r"\['t'\]\[1\]: list.*tuple\(\)"),
    "bytearray": ([bytearray(b"x")], r"\[0\]: bytearray.*bytes\(\)"),
    "subclass of str": ({"s": Text("x")}, r"\['s'\]: .*Text"),
    "subclass of int": ([1, {2: type("Number", (int,), {})(5)}], r"\[1\]\[2\]: .*Number"),
    "named tuple": ([Point(1, 2)], r"\[0\]: .*Point"),
    "subclass of dict": ({"o": OrderedDict(a=1)}, r"\['o'\]: .*OrderedDict.*dict\(\)"),
    "generator": ([iter([1])], r"\[0\]: list_iterator"),
    "module": ({"deep": {"er": [gc]}}, r"\['deep'\]\['er'\]\[0\]: module"),
    "subclass of Decimal": ([type("D", (Decimal,), {})(1)], r"\[0\]: .*D:"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_unsupported_value_is_named_with_its_place(kind: str, pool: Pool) -> None:
    """The path inside the value, its type, what to do; nothing is stored, nothing leaks."""
    value, pattern = REFUSED[kind]
    pool.root["l"] = []
    used = pool.stats().used_bytes
    with pytest.raises(NotPersistableError, match=pattern):
        pool.root["x"] = value
    with pytest.raises(NotPersistableError, match=pattern):
        pool.root["l"].append(value)
    with pytest.raises(NotPersistableError):
        pool.root["l"].extend([1, value])
    with pytest.raises(NotPersistableError):
        pool.root.update(a=1, b=value)
    with pytest.raises(NotPersistableError):
        pool.root["l"][0:0] = [value]
    assert pool.root == {"l": []}
    assert pool.stats().used_bytes == used


PLACES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "dict": (lambda c: c["d"].__setitem__("k", Plain()), r"root['d']['k']"),
    "inside": (
        lambda c: c["d"].__setitem__("k", [0, {"x": (1, Plain())}]),
        "root['d']['k'][1]['x'][1]",
    ),
    "update": (lambda c: c["d"].update(a=1, b=[Plain()]), "root['d']['b'][0]"),
    "setdefault": (lambda c: c["d"].setdefault("new", Plain()), "root['d']['new']"),
    "setdefault built": (lambda c: c["d"].setdefault("new", [Plain()]), "root['d']['new'][0]"),
    "root": (lambda c: c.__setitem__("x", {"y": Plain()}), "root['x']['y']"),
    "list": (lambda c: c["l"][1].__setitem__(0, Plain()), "root['l'][1][0]"),
    "negative": (lambda c: c["l"].__setitem__(-1, (Plain(),)), "root['l'][-1][0]"),
    "append": (lambda c: c["l"].append({"n": Plain()}), "root['l'][...]['n']"),
    "insert": (lambda c: c["l"].insert(1, Plain()), "root['l'][1]"),
    "extend": (lambda c: c["l"].extend([1, Plain()]), "root['l'][...]"),
    "slice": (lambda c: c["l"].__setitem__(slice(0, 1), [Plain()]), "root['l'][0]"),
    "deque": (lambda c: c["q"].appendleft([Plain()]), "root['q'][...][0]"),
    "sorted": (lambda c: c["s"].__setitem__(3, [Plain()]), "root['s'][3][0]"),
    "tuple keys": (lambda c: c["d"][(1, 2)].__setitem__(None, Plain()), "root['d'][(1, 2)][None]"),
    "long key": (lambda c: c["d"].__setitem__("k" * 500, Plain()), "root['d']['kkk"),
    "in a transaction": (lambda c: inside_transaction(c), "root['new'][0]['z']"),
}


def inside_transaction(root: Any) -> None:
    with root._pool.transaction():
        root["new"] = [{}]
        root["new"][0]["z"] = Plain()


@pytest.mark.parametrize("name", PLACES)
def test_the_place_of_a_refusal_begins_at_the_root(name: str, pool: Pool) -> None:
    """What leads to it, key by key, and nothing else; nothing is stored."""
    act, place = PLACES[name]
    pool.root.update(d={(1, 2): {}}, l=[1, [2]], q=deque([1]), s=PlainSortedDict({1: 1}))
    before = repr(pool.root)
    with pytest.raises(NotPersistableError) as found:
        act(pool.root)
    assert str(found.value).startswith(place)
    if name != "long key":
        assert str(found.value).startswith(f"{place}: ")
    assert len(str(found.value)) < 700
    assert found.value.located
    assert repr(pool.root) == before


@pmemstore.record
class Parcel:
    number: int
    contents: Any = None


def test_the_place_of_a_field_is_told(pool: Pool) -> None:
    """As the issue of a user would name it: keys, indices and fields."""
    pool.root["a"] = [0, 1, 2, Parcel(3)]
    parcel = pool.root["a"][3]
    with pytest.raises(NotPersistableError, match=r"^root\['a'\]\[3\]\.contents: .*Plain: "):
        parcel.contents = Plain()
    with pytest.raises(NotPersistableError, match=r"^root\['a'\]\[3\]\.contents\[1\]\['x'\]: "):
        parcel.contents = [1, {"x": Plain()}]
    with pytest.raises(NotPersistableError, match=r"^root\['b'\]\[0\]\.contents\[0\]: "):
        pool.root["b"] = [Parcel(1, [Plain()])]
    assert parcel.contents is None


def test_a_place_that_cannot_be_found_begins_inside_the_value(pool: Pool) -> None:
    """Of what was popped, and while another thread has a transaction open."""
    pool.root["d"] = {}
    popped = pool.root.pop("d")
    with pytest.raises(NotPersistableError, match=r"^\[0\]: .*Plain") as found:
        popped["k"] = (Plain(),)
    assert not found.value.located
    pool.root["d"] = {}
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with pool.transaction():
            inside.set()
            assert go_on.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(20)
    try:
        with pytest.raises(NotPersistableError, match=r"^\[0\]: .*Plain"):
            pool.root["d"] = (Plain(),)
    finally:
        go_on.set()
        thread.join(20)


def test_the_search_for_a_place_has_an_end(direct_pool: Pool) -> None:
    """Behind very many items it is not looked for; circles are no trap."""
    root = direct_pool.root
    root["a"] = {"b": {}}
    root["a"]["b"]["up"] = root["a"]
    with pytest.raises(NotPersistableError, match=r"^root\['a'\]\['b'\]\['x'\]: "):
        root["a"]["b"]["x"] = Plain()
    root["many"] = list(range(11_000))
    with pytest.raises(NotPersistableError, match=r"^root\['a'\]\['x'\]: "):
        root["a"]["x"] = Plain()
    with pytest.raises(NotPersistableError, match=r"^root\['many'\]\[3\]: "):
        root["many"][3] = Plain()
    root["many"][0] = {}
    with pytest.raises(NotPersistableError, match=r"^\S*Plain: "):
        root["many"][0]["x"] = Plain()
    del root["a"]["b"]["up"]


@pytest.mark.parametrize("key", [[1], {}, {1}, Plain(), (1, [2])], ids=repr)
def test_unsupported_key_is_a_typeerror(key: Any, pool: Pool) -> None:
    """What no dict could hash, and what only this one cannot keep."""
    with pytest.raises(TypeError):
        pool.root[key] = 1
    assert pool.root == {}


def test_value_that_contains_itself_is_refused(pool: Pool) -> None:
    """ValueError with the way to it, at any depth, for lists, dicts and both."""
    loop: list[Any] = [1]
    loop.append(loop)
    deep: dict[str, Any] = {"a": [{}]}
    deep["a"][0]["b"] = (deep,)
    mutual: dict[str, Any] = {"x": [[]]}
    mutual["x"][0].append(mutual)
    with pytest.raises(ValueError, match="contains itself"):
        pool.root["x"] = loop
    with pytest.raises(ValueError, match=r"\['x'\]\[0\].*contains itself"):
        pool.root["x"] = mutual
    with pytest.raises((ValueError, NotPersistableError)):
        pool.root["x"] = deep
    assert pool.root == {}
    assert pool.check().ok


def test_persistent_cycles_are_kept_and_shown(pool: Pool) -> None:
    """A persistent list may hold itself, as any list; repr ends, and so does the check."""
    pool.root["l"] = [1]
    stored = pool.root["l"]
    stored.append(stored)
    stored.append({"back": stored})
    assert repr(stored) == "[1, [...], {'back': [...]}]"
    assert stored[1] is stored
    assert stored[1][1][2]["back"][0] == 1
    assert pool.check().ok
    stored.clear()
    assert pool.root == {"l": []}


def test_proxy_of_another_pool_is_copied(medium: Medium, open_pool: Opener) -> None:
    """No reference between pools: the second pool has a copy of its own."""
    one, two = open_pool(medium.folder / "1.pool"), open_pool(medium.folder / "2.pool")
    one.root["d"] = {"l": [1]}
    two.root["d"] = one.root["d"]
    two.root["d"]["l"].append(2)
    assert one.root["d"] == {"l": [1]}
    one.close()
    assert two.root["d"] == {"l": [1, 2]}


def test_wrong_arguments_of_open_are_refused_before_anything_happens(tmp_path: Path) -> None:
    """ValueError or TypeError, and no file."""
    path = tmp_path / "t.pool"
    wrong: list[dict[str, Any]] = [
        {"flag": "x"},
        {"flag": "rw"},
        {"size": 0},
        {"size": "many"},
        {"size": -1},
        {"size": 1.5},
        {"require": "pmem"},
        {"timeout": -1},
        {"log_size": "0"},
        {"limit": "-5M"},
    ]
    for arguments in wrong:
        with pytest.raises((ValueError, TypeError)):
            pmemstore.open(path, **arguments)
    with pytest.raises(ValueError, match="null"):
        pmemstore.open("a\0b")
    assert list(tmp_path.iterdir()) == []
