"""What do single operations of the library cost?  ``make bench`` runs this by pytest-benchmark.

tmpfs with real flush instructions stands in for persistent memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import pmemstore

TMPFS = Path("/dev/shm")


@pytest.fixture(params=["direct", "file"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pmemstore.Pool]:
    direct = request.param == "direct"
    if direct and not TMPFS.is_dir():
        pytest.skip("no tmpfs at /dev/shm")
    path = (TMPFS if direct else tmp_path) / f"{tmp_path.name}.pool"
    with pmemstore.open(path, "n") as opened:
        opened.root.update({"dict": {}, "list": [], "counter": 0})
        yield opened
    path.unlink()


def test_put(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    data, numbers = pool.root["dict"], count()
    benchmark(lambda: data.__setitem__(f"key-{next(numbers):012}", b"v" * 100))


def test_get(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    data = pool.root["dict"]
    data.update({f"key-{i:012}": b"v" * 100 for i in range(1000)})
    assert benchmark(data.__getitem__, "key-000000000500") == b"v" * 100


def test_counter(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    root = pool.root

    def increment() -> None:
        root["counter"] += 1

    benchmark(increment)


def test_append(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    benchmark(pool.root["list"].append, 17)


def test_delete(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    data, numbers = pool.root["dict"], count()

    def one_more() -> tuple[tuple[str], dict[str, str]]:
        key = f"key-{next(numbers):012}"
        data[key] = b"v" * 100
        return (key,), {}

    benchmark.pedantic(data.__delitem__, setup=one_more, rounds=1000)
    assert len(data) == 0


def test_list_get(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    numbers = pool.root["list"]
    numbers.extend(range(1000))
    assert benchmark(numbers.__getitem__, 500) == 500


def test_list_set(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    items, numbers = pool.root["list"], count()
    items.extend(range(1000))
    benchmark(lambda: items.__setitem__(500, next(numbers)))


def test_iterate_1000_items(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    data = pool.root["dict"]
    data.update({f"key-{i:012}": b"v" * 100 for i in range(1000)})
    assert len(benchmark(lambda: list(data.items()))) == 1000


def test_scan_100_of_a_sorted_dict(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    items = {f"key-{i:012}": b"v" * 100 for i in range(1000)}
    pool.root["sorted"] = pmemstore.SortedDict.of(items)
    data = pool.root["sorted"]

    def scan() -> list[tuple[str, bytes]]:
        first = data.bisect_left("key-000000000500")
        found: list[tuple[str, bytes]] = data.items()[first : first + 100]
        return found

    assert benchmark(scan)[0][0] == "key-000000000500"


def test_empty_transaction(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    def empty() -> None:
        with pool.transaction():
            pass

    benchmark(empty)


def test_update_of_1000(benchmark: BenchmarkFixture, pool: pmemstore.Pool) -> None:
    data, numbers = pool.root["dict"], count()

    def update() -> None:
        number = next(numbers)
        data.update({f"{number:06}-{i:08}": b"v" * 100 for i in range(1000)})

    benchmark(update)
