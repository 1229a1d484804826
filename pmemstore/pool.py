"""The open pool: its root, transactions, check, growth, close."""

from __future__ import annotations

import atexit
import os
import time
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from pmemstore import health as healths
from pmemstore import values
from pmemstore._native import check, ffi, lib, raise_status
from pmemstore.alloc import HeapUsage, heap_usage
from pmemstore.containers import Dict
from pmemstore.containers.convert import build
from pmemstore.containers.locate import locate
from pmemstore.errors import (
    PmemstoreError,
    PoolClosedError,
)
from pmemstore.health import Health
from pmemstore.mapping import PreparedWrite, prepared
from pmemstore.recorder import Recorder
from pmemstore.records import schemas
from pmemstore.sizes import Size, parse_size
from pmemstore.status import TIER_NAMES, CheckResult, Durability, PoolStats
from pmemstore.tx import Transaction
from pmemstore.watch import PROTECTIONS, notes_of

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Pool", "open_pools", "remembered"]

_REPORT_BYTES: Final = 1 << 20


class Pool(_slots.PoolBase):
    """An open pool.  Made by ``pmemstore.open``; a context manager that closes it.

    Objects:      ``root``
    Transactions: ``transaction()``
    Upkeep:       ``check()``, ``checkpoint()``, ``collect()``, ``grow()``, ``prepare_write()``,
                  ``close()``
    Facts:        ``durability``, ``protection``, ``health()``, ``stats()``, ``heap()``, ``path``,
                  ``uuid``, ``flag``, ``closed``

    Thread safety:
        All methods may be called from any thread.  After ``fork()`` only the parent may use the
        pool; the child gets PoolClosedError.
    """

    # Kept as long as the pool is open: looking for it would wait for other threads' commits.
    _root_dict: Dict[Any, Any] | None = None
    _counted: tuple[int, int] | None = None  # of unsafe shutdowns, when it was opened
    _recorder: Recorder | None = None
    # Proxies, kept as long as the pool is open: by offset, and the one of each record class.
    _schemas_seen: dict[int, Any]
    _schemas_current: dict[Any, Any]
    _schemas_owner: dict[str, Any]  # class of a name

    path: str
    """File of the pool, as it was given to ``open``."""
    flag: str
    """``r``, ``w``, ``c`` or ``n``."""
    timeout: float | None
    """Seconds that ``transaction()`` waits for another thread's; None: without limit."""

    # ---- objects and transactions

    @property
    def root(self) -> Dict[Any, Any]:
        """The persistent dict that everything else hangs on."""
        root = self._root_dict
        if root is None:
            raise self._closed_error()  # or another thread is closing it just now
        return root

    def transaction(self, *, timeout: float | None = None) -> Transaction:
        """Return a block that commits as a whole: see ``Transaction``.

        Args:
            timeout: Seconds to wait for another thread's transaction; None: the pool's
                default; ``math.inf``: without limit.

        Example:
            >>> import pmemstore
            >>> with pmemstore.open(getfixture("tmp_path") / "doc.pool") as pool:
            ...     with pool.transaction():
            ...         pool.root["debit"], pool.root["credit"] = -5, 5
        """
        return Transaction(self, self.timeout if timeout is None else timeout)

    # ---- facts

    @property
    def durability(self) -> Durability:
        """Tier of the medium, and why."""
        core = self._core()
        return Durability(
            tier=TIER_NAMES.get(lib.pms_pool_tier(core), "unknown"),
            reason=ffi.string(lib.pms_pool_reason(core)).decode("utf-8", "replace"),
        )

    @property
    def protection(self) -> str | None:
        """What keeps other tasks off the file: see ``open``, ``protect``.

        ``append-only`` and ``immutable``: the flag that was set.  ``lease``: others wait when
        they open it.  None: nothing.
        """
        return PROTECTIONS[lib.pms_pool_protection(self._core())]

    @property
    def uuid(self) -> UUID:
        """Name of the pool, drawn when it was created; copies of the file share it."""
        return UUID(bytes=bytes(self._core().super.uuid))

    @property
    def format_version(self) -> int:
        """Version of the file format."""
        return int(self._core().super.version)

    @property
    def log_size(self) -> int:
        """Bytes of the log, fixed when the pool was created."""
        return int(self._core().super.log_bytes)

    @property
    def closed(self) -> bool:
        """Whether the pool is closed."""
        return self._address == 0

    def stats(self) -> PoolStats:
        """Return counters since the pool was opened, and present sizes.

        Complexity:
            O(pages of the pool), for ``used_bytes`` and ``free_bytes``.
        """
        raw = ffi.new("struct pms_stats *")
        self._call(lib.pms_pool_stats, raw)
        return PoolStats(**{name: getattr(raw, name) for name in PoolStats.__slots__})

    def heap(self) -> HeapUsage:
        """Return how the heap is used, by size of block.

        Complexity:
            O(pages of the pool).
        """
        raw = ffi.new("struct pms_heap_stats *")
        self._call(lib.pms_pool_heap_stats, raw)
        return heap_usage(raw)

    def check(self) -> CheckResult:
        """Look at everything: the file, structure, links, counts, and that no byte is lost.

        Repairs nothing in the pool; if another task has cloned the file, its blocks are made
        its own again.  Inside a transaction of this thread it checks what that transaction sees.

        Returns:
            The problems, none if all is well, and what was counted.

        Raises:
            MediaError: Another task has truncated the file, or taken blocks from it.

        Complexity:
            O(size of the pool); memory about 1/42 of it.
        """
        watched = ffi.new("struct pms_watched *")
        self._call(lib.pms_pool_watched, 1, watched)
        raw = ffi.new("struct pms_check_result *")
        text = ffi.new("char[]", _REPORT_BYTES)
        self._call(lib.pms_bind_check, -1, text, _REPORT_BYTES, raw)
        problems = ffi.string(text).decode("utf-8", "replace").splitlines()
        if raw.problems > len(problems):
            problems.append(f"... and {raw.problems - len(problems)} more problems")
        texts = ("problems", "notes")
        numbers = {name: getattr(raw, name) for name in CheckResult.__slots__ if name not in texts}
        return CheckResult(problems=tuple(problems), notes=notes_of(watched.found), **numbers)

    def health(self) -> Health:
        """Return what is known of the medium below: what survives, what was lost, what is bad.

        Reads sysfs and the file's extents; what they do not tell is listed as unknown.

        Returns:
            Problems, unknowns and notes in words, and the numbers.

        Complexity:
            O(extents of the file).
        """
        core = self._core()
        fd = os.dup(core.map.medium.fd)
        try:
            return healths.examine(self.path, fd, _parts(core.super), remembered(core))
        finally:
            os.close(fd)

    # ---- upkeep

    def checkpoint(self) -> None:
        """Cut the log: what it holds goes to its place in the file.

        Happens by itself when the log fills; by hand it makes the next open after a crash
        quicker.

        Raises:
            TransactionError: The calling thread has a transaction open, or the flag is ``r``.
        """
        self._call(lib.pms_pool_checkpoint)

    def collect(self) -> int:
        """Free what nothing leads to: what was deleted, and containers in a circle.

        What was deleted is torn down bit by bit with each commit, too.  Containers that refer to
        each other in a circle, and to which nothing else refers, are found by this method alone;
        ``check()`` tells of them as unreachable.  A proxy keeps its container and all that this
        leads to.

        Returns:
            Bytes that became free.

        Raises:
            TransactionError: The calling thread has a transaction open, or the flag is ``r``.
            PoolCorruptError: ``check()`` finds other problems than unreachable containers.
                Nothing was changed: damage can make live data look like garbage.

        Durability:
            Works in several units; a crash between them leaves garbage that the next call frees.

        Thread safety:
            Other threads wait while it looks, and may work while it frees.

        Complexity:
            As ``check()``; then O(what is freed), and memory of 8 bytes for each container.

        Example:
            >>> import pmemstore
            >>> with pmemstore.open(getfixture("tmp_path") / "doc.pool") as pool:
            ...     pool.root["parent"] = {"child": {}}
            ...     child = pool.root["parent"]["child"]
            ...     child["parent"] = pool.root.pop("parent")
            ...     del child
            ...     before = pool.check().unreachable
            ...     freed = pool.collect()
            ...     print(before, freed > 0, pool.check().unreachable)
            2 True 0
        """
        freed = ffi.new("uint64_t *")
        self._call(lib.pms_pool_collect, freed)
        return int(freed[0])

    def migrate(self) -> int:
        """Rewrite all records whose classes have another layout by now.

        Without it a record is rewritten when it is first written to; until then it is read as
        its class says.  A class that this process does not know is left as it is.

        Returns:
            How many records were rewritten.

        Raises:
            SchemaMismatchError: A class cannot read its records.
            TransactionError: The flag is ``r``.

        Durability:
            Several units of work of at most 256 records each.  After a crash some are rewritten
            and some not, which nobody can see; call it again.

        Complexity:
            O(objects in the pool), and as much memory.
        """
        return schemas.migrate(self)

    def schemas(self) -> dict[str, str]:
        """Return the newest layout of each record class that the pool stores, in words."""
        return schemas.schemas(self)

    def grow(self, size: Size) -> None:
        """Make the file at least so large; it never shrinks.

        Pools grow by themselves; growing ahead keeps that out of a commit.

        Args:
            size: Bytes of the file: an int, or text like ``"64M"`` or ``"2G"``.

        Raises:
            PoolFullError: Beyond the limit.
            MediaError: A sync failed; the pool is read-only from then on.
        """
        self._call(lib.pms_pool_grow, parse_size(size, "size"))

    def prepare_write(self, offset: int = 0, length: int | None = None) -> PreparedWrite:
        """Tell the kernel that a range of the file will be written, and get its answer.

        Pools do this by themselves when they are created, opened and grown; by hand it gives
        the evidence, and makes the pages of a range writable now.

        Args:
            offset: First byte in the file.
            length: Bytes, at least 1.  None: up to the end.

        Returns:
            The answer.  A refusal is an answer too, not an exception.

        Raises:
            MediaError: Another task has truncated the file, or taken blocks from it.
            ValueError: The range is empty or not inside the file.
            TransactionError: The flag is ``r``.

        Durability:
            A granted answer stays true, or the pool notices: see ``open``, ``watch``.
        """
        if offset < 0 or (length is not None and length <= 0):
            raise ValueError(f"offset {offset}, length {length}: not a range of the file")
        raw = ffi.new("struct pms_prepared *")
        self._call(lib.pms_pool_prepare, offset, 0 if length is None else length, raw)
        return prepared(raw)

    def close(self) -> None:
        """Close the pool: roll back an open transaction, write what is buffered, unlock.

        A second call does nothing.  Proxies stay, and raise PoolClosedError when used.
        """
        address = self._address
        if address == 0:
            return
        open_pools.discard(weakref.ref(self))
        self._root_dict = None
        self._schemas_seen.clear()
        self._schemas_current.clear()
        self._schemas_owner.clear()
        if self._inherited:
            self._detach()  # the parent's; nothing of it is touched here
            return
        if self._recorder is not None:
            self._recorder.note_caller()
        status = lib.pms_pool_close(ffi.cast("struct pms_pool *", address))
        self._detach()
        check(status, path=self.path)

    def __enter__(self) -> Self:
        self._core()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._address != 0 and not self._inherited:
            warnings.warn(f"unclosed pool {self.path}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        if self.closed:
            return f"<Pool {self.path!r}, closed>"
        return f"<Pool {self.path!r}, {self.durability.tier}>"

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        raise TypeError("cannot pickle a Pool: pass its path, and open it where it is needed")

    # ---- the core

    def _core(self) -> Any:
        address = self._address
        if address == 0:
            raise self._closed_error()
        return ffi.cast("struct pms_pool *", address)

    def _closed_error(self) -> PoolClosedError:
        return PoolClosedError(
            f"{self.path} is closed. What was committed is safe; open it again.", path=self.path
        )

    def _call(self, function: Callable[..., int], *args: Any) -> None:
        """Call the core; wait as long as another thread is in the way."""
        core = self._core()
        if self._recorder is not None:
            self._recorder.note_caller()
        while (status := function(core, *args)) in (lib.PMS_E_INTR, lib.PMS_E_WAIT):
            if status == lib.PMS_E_WAIT:
                time.sleep(0.001)
        check(status, path=self.path)


def remembered(core: Any) -> healths.Remembered:
    """Return what the core remembers of unsafe shutdowns."""
    return healths.Remembered(
        before=int(core.shutdowns_before),
        met=int(core.shutdowns_met),
        in_use=int(core.super.shutdowns_in_use),
        same_modules=bool(core.shutdowns_seen),
    )


def _parts(super_: Any) -> list[healths.Part]:
    """Parts of a pool file, by its superblock."""
    places = [
        (lib.PMS_SUPER_OFF, "superblock 0"),
        (lib.PMS_SUPER_OFF + lib.PMS_PAGE, "superblock 1"),
        (lib.PMS_ANCHOR_OFF, "anchor 0"),
        (lib.PMS_ANCHOR_OFF + lib.PMS_PAGE, "anchor 1"),
        (lib.PMS_ROOT_OFF, "root page"),
        (lib.PMS_RESERVED_OFF, "reserve"),
        (super_.log_off, "log"),
        (super_.log_off + super_.log_bytes, "reserve"),
    ]
    for i in range(super_.nregions):
        region = super_.regions[i]
        table = -(-region.cap_pages * lib.PMS_DESC_BYTES // lib.PMS_PAGE) * lib.PMS_PAGE
        places += [
            (region.start, f"table of heap region {i}"),
            (region.start + table, f"heap region {i}"),
        ]
    ends = [start for start, _ in places[1:]] + [super_.size]
    return [
        healths.Part(int(start), int(end - start), name)
        for (start, name), end in zip(places, ends, strict=True)
    ]


#: References that leave the set with their pools.
open_pools: set[weakref.ref[Pool]] = set()


@atexit.register
def _close_all() -> None:
    for reference in open_pools.copy():
        pool = reference()
        if pool is None:
            continue
        try:
            pool.close()
        except (PmemstoreError, OSError) as error:
            warnings.warn(f"closing {pool.path} at exit: {error}", stacklevel=1)


_slots.set_hooks(values.pack_key, values.pack_value, values.unpack, build, raise_status, locate)
