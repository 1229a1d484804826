"""A cache that survives the process: get, set, expire, evict, memoize.

    python examples/06_cache.py [POOL]        run it twice: the second run computes nothing

``Cache`` is meant to be copied.  It has the interface that people know of such caches; what it is
made of:

    root["entries"]   key -> Entry(value, expires, serial), the one stored first comes first
    root["expiry"]    a SortedDict, (time, serial) -> key: what expires next is its first item

Every method is one unit of work: a crash leaves the cache as it was before or after it, and the two
containers always agree.
"""

from __future__ import annotations

import functools
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pmemstore

P = ParamSpec("P")
R = TypeVar("R")


@pmemstore.record
class Entry:
    """A value, when it ends, and a number that no other entry has."""

    value: object
    expires: float
    serial: int


class Cache:
    """Values by key, in one file.

    Args:
        path: File of the pool.
        most: Entries; when there are more, the one that was stored first goes.
        clock: Seconds, as ``time.time`` gives them.
    """

    def __init__(
        self, path: str | Path, *, most: int = 100_000, clock: Callable[[], float] = time.time
    ) -> None:
        self.pool = pmemstore.open(path, "c")
        self.most = most
        self.clock = clock
        with self.pool.transaction():
            root = self.pool.root
            self.entries = root.setdefault("entries", {})
            self.expiry = root.setdefault("expiry", pmemstore.SortedDict.of())
            root.setdefault("serial", 0)

    def close(self) -> None:
        self.pool.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.entries)

    def __contains__(self, key: object) -> bool:
        entry = self.entries.get(key)
        return entry is not None and entry.expires > self.clock()

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value, or default if there is none or it has expired."""
        entry = self.entries.get(key)
        return entry.value if entry is not None and entry.expires > self.clock() else default

    def set(self, key: Any, value: Any, expire: float | None = None) -> None:
        """Keep a value, for so many seconds; None: until it has to make room."""
        with self.pool.transaction():
            self.delete(key)
            serial = self.pool.root["serial"] = self.pool.root["serial"] + 1
            expires = math.inf if expire is None else self.clock() + expire
            self.entries[key] = Entry(value, expires, serial)
            if expires < math.inf:
                self.expiry[expires, serial] = key
            if len(self.entries) > self.most:
                self.expire()
            while len(self.entries) > self.most:
                self.delete(next(iter(self.entries)))

    def add(self, key: Any, value: Any, expire: float | None = None) -> bool:
        """Keep a value unless there is one; say whether it was kept."""
        with self.pool.transaction():
            if key in self:
                return False
            self.set(key, value, expire)
        return True

    def incr(self, key: Any, delta: int = 1, default: int = 0) -> int:
        """Add to a number; one that is not there begins with the default."""
        with self.pool.transaction():
            if key not in self:
                self.set(key, default)
            entry = self.entries[key]
            entry.value += delta
            return int(entry.value)

    def delete(self, key: Any) -> bool:
        """Forget a key; say whether it was there."""
        with self.pool.transaction():
            entry = self.entries.pop(key, None)
            if entry is None:
                return False
            if entry.expires < math.inf:
                del self.expiry[entry.expires, entry.serial]
        return True

    def expire(self) -> int:
        """Forget all that has expired; return how many these were."""
        with self.pool.transaction():
            ended = list(self.expiry.irange(maximum=(self.clock(), math.inf)))
            for moment in ended:
                del self.entries[self.expiry.pop(moment)]
        return len(ended)

    def clear(self) -> None:
        """Forget everything."""
        with self.pool.transaction():
            self.entries.clear()
            self.expiry.clear()

    def memoize(self, expire: float | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Keep the results of a function, by its name and arguments."""

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            name = f"{function.__module__}.{function.__qualname__}"
            missing = object()

            @functools.wraps(function)
            def remember(*args: P.args, **kwargs: P.kwargs) -> R:
                key = (name, args, tuple(sorted(kwargs.items())))
                found: Any = self.get(key, missing)
                result: R = function(*args, **kwargs) if found is missing else found
                if found is missing:
                    self.set(key, result, expire)
                return result

            return remember

        return decorate


def main() -> int:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(tempfile.gettempdir()) / "cache.pool")
    computed = 0
    with Cache(path) as cache:

        @cache.memoize()
        def collatz(n: int) -> int:
            nonlocal computed
            computed += 1
            return 0 if n == 1 else 1 + collatz(n // 2 if n % 2 == 0 else 3 * n + 1)

        longest = max(range(1, 2000), key=collatz)
        print(f"below 2000, {longest} takes the most steps: {collatz(longest)}")
        print(f"{computed} computed, {len(cache)} remembered in {path}")
        cache.set("session", {"user": "Ada"}, expire=0.05)
        print(f"session: {cache.get('session')}")
        time.sleep(0.06)
        print(f"later: {cache.get('session')}, {cache.expire()} expired")
        print(f"runs: {cache.incr('runs')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
