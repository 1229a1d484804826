"""What a commit costs, counted by the library itself: fences on direct media, syncs on files."""

from __future__ import annotations

import array
import contextlib
import datetime as dt
import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import pytest

import pmemstore
from pmemstore import Pool, PoolStats

if TYPE_CHECKING:
    from conftest import Medium, Opener


def spent(pool: Pool, action: Callable[[], Any]) -> PoolStats:
    """Return what the counters rose by."""
    before = pool.stats()
    action()
    after = pool.stats()
    return PoolStats(*(getattr(after, n) - getattr(before, n) for n in PoolStats.__slots__))


OPERATIONS: dict[str, Callable[[Pool], Any]] = {
    "put": lambda pool: pool.root["d"].__setitem__("new", b"v" * 100),
    "update": lambda pool: pool.root["d"].__setitem__(5, b"w" * 100),
    "update in place": lambda pool: pool.root["d"].__setitem__(6, 7),
    "delete": lambda pool: pool.root["d"].__delitem__(7),
    "pop": lambda pool: pool.root["d"].pop(8),
    "append": lambda pool: pool.root["l"].append("text"),
    "list set": lambda pool: pool.root["l"].__setitem__(3, 5),
    "list insert": lambda pool: pool.root["l"].insert(3, 5),
    "list delete": lambda pool: pool.root["l"].__delitem__(3),
    "new dict": lambda pool: pool.root["d"].__setitem__("n", {}),
    "nested value": lambda pool: pool.root["d"].__setitem__("n", {"a": [1, 2]}),
    "list sort": lambda pool: pool.root["l"].sort(key=lambda item: -item),
    "list reverse": lambda pool: pool.root["l"].reverse(),
    "list slice": lambda pool: pool.root["l"].__setitem__(slice(10, 20), ["a"] * 30),
    "list extended slice": lambda pool: pool.root["l"].__delitem__(slice(None, None, 3)),
    "list remove": lambda pool: pool.root["l"].remove(70),
    "list *=": lambda pool: pool.root["l"].__imul__(2),
    "add": lambda pool: pool.root["s"].add("new"),
    "discard": lambda pool: pool.root["s"].discard(5),
    "set pop": lambda pool: pool.root["s"].pop(),
    "set clear": lambda pool: pool.root["s"].clear(),
    "set |=": lambda pool: pool.root["s"].__ior__(set(range(95, 130))),
    "set &=": lambda pool: pool.root["s"].__iand__(set(range(50))),
    "set -=": lambda pool: pool.root["s"].__isub__(set(range(50))),
    "set ^=": lambda pool: pool.root["s"].__ixor__(set(range(80, 120))),
    "new set": lambda pool: pool.root["d"].__setitem__("n", {1, 2}),
    "push": lambda pool: pool.root["q"].append("new"),
    "push left": lambda pool: pool.root["q"].appendleft("new"),
    "push at the bound": lambda pool: pool.root["full"].append("new"),
    "deque pop": lambda pool: pool.root["q"].pop(),
    "deque popleft": lambda pool: pool.root["q"].popleft(),
    "deque insert": lambda pool: pool.root["q"].insert(50, "new"),
    "deque delete": lambda pool: pool.root["q"].__delitem__(50),
    "deque remove": lambda pool: pool.root["q"].remove(50),
    "deque set": lambda pool: pool.root["q"].__setitem__(50, "new"),
    "rotate": lambda pool: pool.root["q"].rotate(3),
    "deque reverse": lambda pool: pool.root["q"].reverse(),
    "deque extend": lambda pool: pool.root["full"].extend(range(150)),
    "deque extendleft": lambda pool: pool.root["q"].extendleft(range(50)),
    "deque clear": lambda pool: pool.root["q"].clear(),
    "new deque": lambda pool: pool.root["d"].__setitem__("n", deque([1, 2], 5)),
}


def filled(pool: Pool) -> Pool:
    pool.root["d"] = dict.fromkeys(range(100), b"v" * 100)
    pool.root["l"] = list(range(100))
    pool.root["s"] = set(range(100))
    pool.root["q"] = deque(range(100))
    pool.root["full"] = deque(range(100), 100)
    return pool


@pytest.mark.parametrize("name", OPERATIONS)
def test_autocommit_takes_one_fence(name: str, direct_pool: Pool) -> None:
    """The promise is at most two; the aim, held here for each operation, is one."""
    filled(direct_pool)
    cost = spent(direct_pool, lambda: OPERATIONS[name](direct_pool))
    assert cost.fences == 1
    assert cost.commits == 1
    assert cost.syncs == 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_autocommit_takes_one_sync(name: str, file_pool: Pool) -> None:
    """On an ordinary file each operation is one synchronous write."""
    filled(file_pool)
    cost = spent(file_pool, lambda: OPERATIONS[name](file_pool))
    assert cost.syncs == 1
    assert cost.commits == 1
    assert cost.fences == 0


def test_a_thousand_puts_never_take_more_than_two_fences_each(direct_pool: Pool) -> None:
    """Growth of the table and of the heap included; growth of the file apart."""
    direct_pool.grow("4M")
    direct_pool.root["d"] = {}
    stored = direct_pool.root["d"]
    worst = max(
        spent(direct_pool, lambda i=i: stored.__setitem__(f"key {i}", b"v" * 100)).fences
        for i in range(1000)
    )
    assert worst <= 2
    assert spent(direct_pool, lambda: [stored.pop(f"key {i}") for i in range(1000)]).fences <= 2000


@pytest.mark.parametrize("log_size", ["4K", "64K", "4M"])
@pytest.mark.parametrize("k", [1, 2, 10, 100, 2000])
def test_transaction_of_k_puts_takes_at_most_k_plus_one_fences(
    k: int, log_size: str, direct: Medium, open_pool: Opener
) -> None:
    """Usually far fewer, as puts share log frames; however small the log is."""
    pool = open_pool(direct.folder / "k.pool", "n", log_size=log_size)
    pool.root["d"] = {}
    stored = pool.root["d"]

    def block() -> None:
        with pool.transaction():
            for i in range(k):
                stored[f"key {i}"] = b"v" * 100

    assert spent(pool, block).fences <= k + 1


def test_an_operation_larger_than_the_log_takes_a_few_fences_for_each_part(
    medium: Medium, open_pool: Opener
) -> None:
    """The bound of two is for operations that fit the log; on files there are two syncs."""
    pool = open_pool(medium.folder / "large.pool", "n", log_size="64K")
    pool.root["l"] = list(range(20_000))
    cost = spent(pool, pool.root["l"].reverse)
    assert pool.root["l"] == list(range(20_000))[::-1]
    if medium.is_direct:
        parts = cost.log_bytes // (65536 // 3) + 1
        assert 2 < cost.fences <= 3 * parts
        assert cost.syncs == 0
    else:
        assert cost.syncs == 2


@pytest.mark.parametrize("name", ["update", "Set.update", "extend", "Deque.extend", "extendleft"])
def test_a_thousand_items_at_once_take_three_fences_at_most(name: str, direct_pool: Pool) -> None:
    """They are one transaction: its frames, not its items, are fenced."""
    direct_pool.grow("8M")
    direct_pool.root.update(d={}, l=[], s=set(), q=deque(), b=deque(maxlen=100))
    texts = [f"item {i}" for i in range(1000)]
    actions: dict[str, Callable[[], Any]] = {
        "update": lambda: direct_pool.root["d"].update(dict.fromkeys(texts, b"v" * 50)),
        "Set.update": lambda: direct_pool.root["s"].update(texts),
        "extend": lambda: direct_pool.root["l"].extend(texts),
        "Deque.extend": lambda: direct_pool.root["q"].extend(texts),
        "extendleft": lambda: direct_pool.root["b"].extendleft(texts),
    }
    cost = spent(direct_pool, actions[name])
    print(f"{name}: {cost.fences} fences, {cost.log_bytes} bytes of log")
    assert cost.commits == 1
    assert cost.syncs == 0
    assert 1 <= cost.fences <= 3


def test_the_middle_of_a_long_list_is_not_moved(direct: Medium, open_pool: Opener) -> None:
    """Of a million items an insertion or deletion touches a leaf or two and the way to them."""
    pool = open_pool(direct.folder / "long.pool", "n", size="64M")
    pool.root["l"] = []
    items = pool.root["l"]
    items.extend(range(1_000_000))
    actions: dict[str, Callable[[], Any]] = {
        "insert": lambda: items.insert(500_000, "new"),  # splits a full leaf, and the node above
        "insert again": lambda: items.insert(500_000, "new"),
        "delete": lambda: items.__delitem__(500_000),
        "insert first": lambda: items.insert(0, "new"),
        "delete first": lambda: items.__delitem__(0),
        "set": lambda: items.__setitem__(600_000, "new"),
        "append": lambda: items.append("new"),
        "slice": lambda: items.__setitem__(slice(400_000, 400_010), ["new"] * 20),
    }
    for name, action in actions.items():
        cost = spent(pool, action)
        print(f"{name}: {cost.flushed_lines} lines, {cost.log_bytes} bytes of log")
        assert cost.fences == 1
        assert cost.log_bytes < 4096
        assert cost.flushed_lines < 160
    appended = spent(pool, lambda: [items.append(i) for i in range(1000)])
    print(f"1000 appends: {appended.flushed_lines} lines, {appended.log_bytes} bytes of log")
    assert appended.log_bytes < 1000 * 320
    assert len(items) == 1_001_012


def test_empty_transaction_costs_nothing(pool: Pool) -> None:
    """No fence, no sync, no byte of log; reading alone is empty too."""
    pool.root["a"] = 1

    def block() -> None:
        with pool.transaction():
            assert pool.root["a"] == 1
            with pool.transaction():
                pass

    cost = spent(pool, block)
    assert (cost.fences, cost.syncs, cost.log_bytes, cost.flushed_lines) == (0, 0, 0, 0)
    assert cost.commits == 0


def test_what_is_there_already_costs_nothing(pool: Pool) -> None:
    """Elements of a set that are added again, and those that are taken away and not there."""
    pool.root["s"] = set(range(50))
    pool.root["q"] = deque(range(5), 0)

    def repeat() -> None:
        pool.root["s"].add(7)
        pool.root["s"] |= set(range(50))
        pool.root["s"].discard("no such element")
        pool.root["s"] -= {"no such element"}
        pool.root["q"].append(1)  # a deque of no items
        pool.root["q"].rotate(4)

    cost = spent(pool, repeat)
    assert (cost.fences, cost.syncs, cost.log_bytes, cost.flushed_lines) == (0, 0, 0, 0)


def test_refused_operation_costs_nothing(pool: Pool) -> None:
    """A missing key, a value that can't be kept."""

    def refuse() -> None:
        with pytest.raises(KeyError):
            del pool.root["missing"]
        with pytest.raises(TypeError):
            pool.root["a"] = object()

    cost = spent(pool, refuse)
    assert (cost.fences, cost.syncs, cost.log_bytes) == (0, 0, 0)


def test_rollback_needs_no_sync(file_pool: Pool) -> None:
    """On a file nothing of an aborted block ever reaches the medium."""

    def block() -> None:
        with contextlib.suppress(KeyboardInterrupt), file_pool.transaction():
            file_pool.root["a"] = b"x" * 10_000
            raise KeyboardInterrupt

    cost = spent(file_pool, block)
    assert (cost.syncs, cost.log_bytes, cost.written_bytes) == (0, 0, 0)
    assert cost.aborts == 1


def test_transaction_on_a_file_takes_one_sync(file_pool: Pool) -> None:
    """However many operations it has."""

    def block() -> None:
        with file_pool.transaction():
            for i in range(50):
                file_pool.root[i] = b"v" * 100

    cost = spent(file_pool, block)
    assert cost.syncs == 1
    assert cost.commits == 1


def test_many_commits_on_a_file_take_one_sync_each(file_medium: Medium, open_pool: Opener) -> None:
    """Exactly one per commit, and at most two more per checkpoint."""
    pool = open_pool(file_medium.folder / "t.pool", "n", size="2M", log_size="64K")
    stored = pool.root

    def commits() -> None:
        for i in range(400):
            stored[i % 20] = b"%500d" % i

    cost = spent(pool, commits)
    assert cost.commits == 400
    assert cost.checkpoints > 0
    assert 400 <= cost.syncs <= 400 + 2 * cost.checkpoints


def test_checkpoint_takes_at_most_two_syncs(file_pool: Pool) -> None:
    """Data, then anchor."""
    file_pool.root["a"] = b"v" * 100_000
    cost = spent(file_pool, file_pool.checkpoint)
    assert cost.checkpoints == 1
    assert cost.syncs <= 2


def test_threads_share_syncs(file_pool: Pool) -> None:
    """Sixteen threads that commit together need well under a sync each."""
    file_pool.root.update(dict.fromkeys(range(16), -1))
    rounds = 20

    def commit(i: int) -> None:
        for n in range(rounds):
            file_pool.root[i] = n

    def together() -> None:
        with ThreadPoolExecutor(16) as executor:
            list(executor.map(commit, range(16)))

    cost = spent(file_pool, together)
    assert cost.commits == 16 * rounds
    assert cost.syncs <= 16 * rounds * 0.6


def test_numbers_are_plausible(pool: Pool) -> None:
    """Sizes add up, and the record is frozen."""
    pool.root["a"] = b"x" * 50_000
    stats = pool.stats()
    assert stats.used_bytes > 50_000
    assert stats.free_bytes > 0
    assert stats.used_bytes + stats.free_bytes < stats.size <= stats.limit
    assert stats.log_bytes > 0
    with pytest.raises(AttributeError):
        stats.fences = 0  # type: ignore[misc]


ARRAY_OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "item": lambda a: a.__setitem__(3, 7.5),
    "slice": lambda a: a.__setitem__(slice(100, 300), 2.5),
    "slice with gaps": lambda a: a.__setitem__(slice(None, None, 9), 2.5),
    "fill": lambda a: a.fill(3.5),
    "append": lambda a: a.append(1.5),
    "append into a new block": lambda a: a.extend([1.5] * 2000),
    "resize": lambda a: a.resize(50),
    "write": lambda a: write_range(a, slice(5, 500)),
}


def write_range(target: Any, key: Any, value: float = 4.5) -> None:
    with target.write(key) as view:
        view[:] = array.array("d", [value] * len(view))


@pytest.mark.parametrize("name", ARRAY_OPERATIONS)
def test_array_operation_takes_one_fence_or_one_sync(
    name: str, medium: Medium, open_pool: Opener
) -> None:
    """Also a range of any kind: it is one unit of work, and fits the log.  A new block of more than
    4 KiB has a fence of its own."""
    pool = open_pool(medium.folder / "a.pool", "n", size="4M")
    pool.root["a"] = array.array("d", range(1000))
    target = pool.root["a"]
    cost = spent(pool, lambda: ARRAY_OPERATIONS[name](target))
    fences = 2 if name == "append into a new block" else 1
    assert (cost.fences, cost.syncs) == ((fences, 0) if medium.is_direct else (0, 1))
    assert cost.commits == 1
    assert spent(pool, lambda: target.__setitem__(0, target[0])).log_bytes == 0


@pytest.mark.parametrize("count", [1, 8, 100, 1000, 20_000, 60_000])
def test_a_range_is_logged_once(count: int, medium: Medium, open_pool: Opener) -> None:
    """9 words for each 8 that change, and a constant; however often a transaction writes it."""
    pool = open_pool(medium.folder / "a.pool", "n", size="16M", log_size="4M")
    pool.root["a"] = array.array("d", range(60_000))
    target = pool.root["a"]
    pool.checkpoint()

    def block() -> None:
        with pool.transaction():
            for value in (1.5, 2.5, 3.5):
                write_range(target, slice(0, count), value)

    def logged(cost: PoolStats) -> int:
        return cost.log_bytes if medium.is_direct else cost.written_bytes

    bound = count * 9 + 512
    assert count * 8 < logged(spent(pool, lambda: write_range(target, slice(0, count)))) <= bound
    cost = spent(pool, block)
    assert count * 8 < logged(cost) <= bound
    assert cost.fences == (1 if medium.is_direct else 0)
    cost = spent(pool, lambda: target.fill(9.5))
    assert logged(cost) <= 60_000 * 9 + 512
    assert cost.fences <= 3


def test_a_new_array_is_not_logged(medium: Medium, open_pool: Opener) -> None:
    """Its contents are written once, in place; large ones cost a second fence or sync."""
    pool = open_pool(medium.folder / "a.pool", "n", size="32M")
    value = array.array("d", range(100_000))
    cost = spent(pool, lambda: pool.root.__setitem__("a", value))
    assert cost.log_bytes < 1024
    assert (cost.fences, cost.syncs) == ((2, 0) if medium.is_direct else (0, 2))
    cost = spent(pool, lambda: pool.root["a"].extend(value))
    assert cost.log_bytes < 1024
    assert cost.fences <= 2
    assert cost.syncs <= 2


def test_appends_are_amortised(direct_pool: Pool) -> None:
    """A million bytes appended one by one: at most a few times as many are copied."""
    direct_pool.grow("16M")
    direct_pool.root["a"] = array.array("d")
    target = direct_pool.root["a"]
    count = 20_000
    cost = spent(direct_pool, lambda: [target.append(0.5) for _ in range(count)])
    assert cost.fences <= count + 20
    assert cost.flushed_lines <= count * 6


def test_reading_costs_nothing(pool: Pool) -> None:
    pool.root["a"] = array.array("d", range(1000))
    target = pool.root["a"]
    cost = spent(pool, lambda: (memoryview(target).tolist(), target[5], target[5:9], list(target)))
    assert (cost.fences, cost.syncs, cost.log_bytes, cost.flushed_lines) == (0, 0, 0, 0)


@pmemstore.record
class Counted:
    """A record whose stores are counted."""

    number: pmemstore.int16 = 0
    maybe: pmemstore.int64 | None = None
    total: float = 0.0
    name: str = ""
    when: dt.datetime | None = None
    wide: Annotated[tuple[int, ...], pmemstore.array_of(pmemstore.int64, 16)] = (0,) * 16


RECORD_STORES: dict[str, tuple[Any, int, int]] = {  # value, flushed lines and log bytes at most
    "number": (7, 3, 64),
    "maybe": (7, 3, 64),
    "total": (2.5, 3, 64),
    "name": ("a name that has a block of its own", 6, 192),
    "when": (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), 4, 128),
    "wide": (tuple(range(1, 17)), 8, 256),
}


@pytest.mark.parametrize("name", RECORD_STORES)
def test_a_record_field_is_stored_with_one_fence(name: str, direct_pool: Pool) -> None:
    """Outside a transaction; a store of what is there already takes none."""
    direct_pool.root["it"] = Counted()
    stored = direct_pool.root["it"]
    value, lines, log_bytes = RECORD_STORES[name]
    cost = spent(direct_pool, lambda: setattr(stored, name, value))
    assert (cost.fences, cost.syncs, cost.commits) == (1, 0, 1)
    assert cost.flushed_lines <= lines
    assert cost.log_bytes <= log_bytes
    if name != "name":  # its bytes get a new block
        assert spent(direct_pool, lambda: setattr(stored, name, value)).fences == 0


@pytest.mark.parametrize("name", RECORD_STORES)
def test_a_record_field_is_stored_with_one_sync(name: str, file_pool: Pool) -> None:
    file_pool.root["it"] = Counted()
    stored = file_pool.root["it"]
    cost = spent(file_pool, lambda: setattr(stored, name, RECORD_STORES[name][0]))
    assert (cost.fences, cost.syncs, cost.commits) == (0, 1, 1)


def test_a_record_is_made_with_one_fence(direct_pool: Pool) -> None:
    """With its schema, which only the first one of a class has to bring, and what it holds."""
    for i in range(3):
        value = Counted(i, name="a longer name")
        cost = spent(direct_pool, lambda i=i, value=value: direct_pool.root.update({i: value}))
        assert (cost.fences, cost.commits) == (1, 1)
    one = direct_pool.root[0]

    def many() -> None:
        with direct_pool.transaction():
            for k in range(50):
                one.number, one.total, one.name = k, k / 2, f"name {k}" * 3

    assert spent(direct_pool, many).fences == 1


@pytest.mark.usefixtures("tmpfs")
def test_growth_goes_in_steps_that_do_not_depend_on_the_size(
    direct: Medium, open_pool: Opener
) -> None:
    """On tmpfs no put of a growing pool asks for more than 1 MiB, and the table of a region."""
    path = direct.folder / "t.pool"
    pool = open_pool(path, "n", size="2M")
    stored = pool.root.setdefault("d", {})
    sizes = [path.stat().st_size]
    for number in range(30_000):
        stored[number] = bytes(1000)
        if (size := path.stat().st_size) != sizes[-1]:
            sizes.append(size)
    steps = [after - before for before, after in itertools.pairwise(sizes)]
    assert len(steps) > 25
    assert max(steps) <= (1 << 20) + (1 << 18)
    assert pool.stats().write_faults == 0
