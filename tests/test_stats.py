"""What a commit costs, counted by the library itself: fences on direct media, syncs on files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

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
}


def filled(pool: Pool) -> Pool:
    pool.root["d"] = dict.fromkeys(range(100), b"v" * 100)
    pool.root["l"] = list(range(100))
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
        for i in range(300):
            stored[i % 20] = b"%500d" % i

    cost = spent(pool, commits)
    assert cost.commits == 300
    assert cost.checkpoints > 0
    assert 300 <= cost.syncs <= 300 + 2 * cost.checkpoints


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
