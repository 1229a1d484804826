"""Pools: open, close, check, grow, and what a pool says about itself."""

from __future__ import annotations

import atexit
import builtins
import operator
import os
import re
import time
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from pmemstore import health as healths
from pmemstore import values
from pmemstore._native import check, ffi, lib, raise_status
from pmemstore.alloc import HeapUsage, heap_usage
from pmemstore.containers.convert import build
from pmemstore.containers.dict import Dict
from pmemstore.containers.list import List
from pmemstore.errors import (
    DurabilityError,
    HealthWarning,
    PmemstoreError,
    PoolBusyError,
    PoolClosedError,
)
from pmemstore.health import Health
from pmemstore.mapping import PreparedWrite, prepared
from pmemstore.recorder import Recorder
from pmemstore.tx import Transaction
from pmemstore.watch import PREPARE, WATCH, notes_of

if TYPE_CHECKING:
    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["CheckResult", "Durability", "Pool", "PoolStats", "open"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Size = int | str

TIERS: Final[dict[str, int]] = {
    ffi.string(lib.pms_tier_name(tier)).decode(): tier
    for tier in (
        lib.PMS_TIER_EADR,
        lib.PMS_TIER_FLUSH,
        lib.PMS_TIER_DAX_FSYNC,
        lib.PMS_TIER_SYNC,
        lib.PMS_TIER_VOLATILE,
    )
}
#: Strongest first: ``require`` accepts this tier and those before it.
TIER_NAMES: Final[dict[int, str]] = {tier: name for name, tier in TIERS.items()}

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_REPORT_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Durability:
    """What a commit is worth on this medium.

    Attributes:
        tier: ``eadr``, ``flush``, ``dax-fsync``, ``sync`` or ``volatile``.
        reason: Why, in a sentence.
    """

    tier: str
    reason: str

    def __str__(self) -> str:
        return f"{self.tier}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counters since the pool was opened, and present sizes.

    Attributes:
        commits: Transactions and single operations that changed something and committed.
        aborts: Transactions that were rolled back.
        fences: Store fences, each of which orders the flushes before it.
        flushed_lines: Cache lines written back.
        syncs: System calls that wait for the device.
        log_bytes: Written to the log.
        checkpoints: Times that the log was cut.
        write_faults: Stores that the kernel stopped to make a page writable, as far as it can
            be known without asking the kernel each time.  Direct media: first stores to pages
            of the heap that were not made writable ahead, and one for each time that somebody
            was found to have synced; pages that the same unit touched, and the log's, are not
            counted.  Files: pages changed for the first time since the last checkpoint.
        written_bytes: By write calls, on files without DAX.
        used_bytes: In use in the heap.
        free_bytes: Free in the heap, without growing.
        size: Bytes of the file.
        limit: Bytes that the file may grow to.
        handles: Objects that some proxy looks at.
        recovered_units: Transactions that opening the pool completed or rolled back.
        looks: Times that the file was compared with what it was: see ``open``, ``watch``.
        repairs: Times that a clone made by another task was undone.
    """

    commits: int
    aborts: int
    fences: int
    flushed_lines: int
    syncs: int
    log_bytes: int
    checkpoints: int
    write_faults: int
    written_bytes: int
    used_bytes: int
    free_bytes: int
    size: int
    limit: int
    handles: int
    recovered_units: int
    looks: int
    repairs: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What ``Pool.check()`` found.

    Attributes:
        problems: One sentence each, with offsets and numbers; empty if there are none.
        objects: Containers.
        entries: Items of dicts.
        cells: Items of lists.
        blobs: Values and keys with a block of their own.
        allocated_bytes: What the heap says is in use.
        reachable_bytes: What the root and the orphans lead to.
        leaked_bytes: The difference.
        orphans: Containers that nothing refers to and that will be torn down.
        notes: What other tasks were found to have done to the file since it was opened, without
            that anything was lost; a sentence each.
    """

    problems: tuple[str, ...]
    objects: int
    entries: int
    cells: int
    blobs: int
    allocated_bytes: int
    reachable_bytes: int
    leaked_bytes: int
    orphans: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the pool has no problem."""
        return not self.problems


class Pool(_slots.PoolBase):
    """An open pool.  Made by ``pmemstore.open``; a context manager that closes it.

    Objects:      ``root``
    Transactions: ``transaction()``
    Upkeep:       ``check()``, ``checkpoint()``, ``collect()``, ``grow()``, ``prepare_write()``,
                  ``close()``
    Facts:        ``durability``, ``health()``, ``stats()``, ``heap()``, ``path``, ``uuid``,
                  ``flag``, ``closed``

    Thread safety:
        All methods may be called from any thread.  After ``fork()`` only the parent may use the
        pool; the child gets PoolClosedError.
    """

    # Kept as long as the pool is open: looking for it would wait for other threads' commits.
    _root_dict: Dict[Any, Any] | None = None
    _pid: int
    _recorder: Recorder | None = None

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
            return healths.examine(self.path, fd, _parts(core.super), _remembered(core))
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
        """Tear down everything that was deleted and is still waiting for that.

        Happens by itself, bit by bit, with each commit.

        Returns:
            Bytes that became free.

        Raises:
            TransactionError: The calling thread has a transaction open, or the flag is ``r``.
        """
        freed = ffi.new("uint64_t *")
        self._call(lib.pms_pool_collect, freed)
        return int(freed[0])

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
        _open_pools.discard(self)
        self._root_dict = None
        if os.getpid() != self._pid:
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
        if self._address != 0 and os.getpid() == self._pid:
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


def open(
    path: Path,
    flag: str = "c",
    *,
    size: Size | None = None,
    limit: Size | None = None,
    log_size: Size | None = None,
    require: str | None = None,
    timeout: float | None = None,
    prepare: str | None = None,
    watch: str = "auto",
    recorder: Recorder | None = None,
    refuse_unsafe_shutdown: bool = False,
) -> Pool:
    """Open a pool, or create it.

    Args:
        path: File of the pool.
        flag: As for ``dbm``: ``r`` reads and writes nothing at all, not even to recover;
            ``w`` reads and writes; ``c`` also creates the file if it is not there; ``n`` always
            makes a new, empty pool.
        size: Bytes of a new file: an int, or text like ``"64M"``.  It grows by itself.
        limit: Bytes that the file may grow to; default: as when it was created, or none.
        log_size: Bytes of a new pool's log.
        require: Weakest acceptable tier: ``eadr``, ``flush``, ``dax-fsync``, ``sync`` or
            ``volatile``.
        timeout: Seconds that operations and ``transaction()`` wait for another thread's
            transaction; then TransactionError.  Default: no limit.
        prepare: When pages are made writable ahead of the first store to them (direct media).
            None: of the first 64 MiB before this returns, of the rest bit by bit with the
            commits.  ``now``: of all.  ``lazy``: of none, so that each first store takes a write
            fault; blocks are allocated and written ahead all the same.
        watch: When the file is compared with what it was, because another task may have
            truncated, punched or cloned it (direct media).  ``auto``: before a commit
            returns that took more than 5 us, or that is the first for 1 ms.  ``always``: before
            any commit returns.  ``off``: by ``check()``, checkpoints, growth and close alone.
            On files: with each sync, whatever is asked for here.
        recorder: Keeps all that reaches the medium, for crash tests.
        refuse_unsafe_shutdown: Do not open a pool whose memory modules have counted an unsafe
            shutdown while it was in use.  Default: open it, with a HealthWarning.

    Returns:
        The pool; use it in a ``with`` statement, or close it.

    Raises:
        FileNotFoundError: There is no such file, and the flag does not create it.
        PoolBusyError: Another process has it open, or this one has.
        PoolFormatError: Not a pool, or one of an unknown version.
        PoolCorruptError: A damaged pool.
        DurabilityError: The medium is weaker than ``require``, or has had an unsafe shutdown and
            ``refuse_unsafe_shutdown`` is set.
        OSError: The system refuses.

    Durability:
        A new pool is durable, with its name, when this returns.

    Complexity:
        O(1), clean or after a crash, plus the log.

    Example:
        >>> import pmemstore
        >>> with pmemstore.open(getfixture("tmp_path") / "doc.pool", "c", size="1M") as pool:
        ...     pool.root["visits"] = pool.root.get("visits", 0) + 1
    """
    if flag not in ("r", "w", "c", "n"):
        raise ValueError(f"flag must be 'r', 'w', 'c' or 'n', not {flag!r}")
    if require is not None and require not in TIERS:
        raise ValueError(f"require must be one of {', '.join(TIERS)}, not {require!r}")
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must be None, or at least 0 seconds, not {timeout!r}")
    if prepare not in PREPARE:
        raise ValueError(f"prepare must be None, 'now' or 'lazy', not {prepare!r}")
    if watch not in WATCH:
        raise ValueError(f"watch must be 'auto', 'always' or 'off', not {watch!r}")
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    options = ffi.new("struct pms_options *")
    options.flag = flag.encode()
    options.size = 0 if size is None else parse_size(size, "size")
    options.limit = 0 if limit is None else parse_size(limit, "limit")
    options.log_bytes = 0 if log_size is None else parse_size(log_size, "log_size")
    options.require = 0 if require is None else TIERS[require]
    options.prepare = PREPARE[prepare]
    options.watch = WATCH[watch]
    options.timeout_ns = 0 if timeout is None else max(1, int(min(timeout, 9e9) * 1e9))
    options.refuse_shutdowns = refuse_unsafe_shutdown
    if recorder is not None:
        recorder._record_pool(options)

    text = os.fsdecode(name)
    out = ffi.new("struct pms_pool **")
    # "n" renames a new file into place: where the link points to, not over the link.
    target = os.path.realpath(name)
    counted = healths.count_below(os.fsdecode(target))
    if counted is not None:
        options.shutdown_device, options.shutdowns = counted
    while (status := lib.pms_pool_open(target, options, out)) == lib.PMS_E_INTR:
        pass
    if status != lib.PMS_OK:
        _raise_open(status, text)
    pool = Pool()
    pool.path = text
    pool.flag = flag
    pool.timeout = timeout
    pool._recorder = recorder
    pool._pid = os.getpid()
    pool._attach(int(ffi.cast("uintptr_t", out[0])), text)
    _open_pools.add(pool)
    try:
        if counted is not None and out[0].shutdowns_met:
            sentence = healths.shutdown_text(_remembered(out[0]), counted[1])
            warnings.warn(f"{text}: {sentence}.", HealthWarning, stacklevel=2)
        pool._root_dict = pool._root()
    except BaseException:
        pool.close()
        raise
    return pool


def _raise_open(status: int, path: str) -> None:
    try:
        raise_status(status, path)
    except PoolBusyError as busy:
        pid = lock_holder(path)
        who = "another process" if pid is None else f"process {pid}"
        if pid is None:
            who += ", whose id is unknown (/proc/locks does not show it)"
        elif pid == os.getpid():
            who = f"this process ({pid}), which has it open already"
        error = PoolBusyError(
            f"{path} is in use by {who}. Nothing was changed; close it there first.", path=path
        )
        error.pid = pid
        raise error from busy
    except DurabilityError as weak:
        if not str(weak).startswith("an unsafe shutdown"):
            raise
        raise DurabilityError(
            f"{path}: its memory modules counted an unsafe shutdown while it was open for writing "
            f"(counter {weak.wanted}, now {weak.found}): flushed data may be lost. Nothing was "
            "changed; open it with flag 'r' and look, or without refuse_unsafe_shutdown.",
            path=path,
            wanted=weak.wanted,
            found=weak.found,
        ) from weak


def _remembered(core: Any) -> healths.Remembered:
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


def parse_size(size: Size, name: str) -> int:
    """Return a number of bytes.

    Args:
        size: An int, or text: digits and K, M, G or T, powers of 1024 each; ``MB`` and ``MiB``
            are as good.
        name: For the message.

    Raises:
        ValueError: Neither, or not positive.

    Example:
        >>> parse_size("64M", "size")
        67108864
    """
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+)\s*([KMGT]?)(?:i?B)?\s*", size, re.IGNORECASE | re.ASCII)
        number = int(match[1]) * _UNITS[match[2].upper()] if match else 0
    else:
        try:
            number = operator.index(size)
        except TypeError:
            raise TypeError(
                f"{name} must be an int or text like '64M', not {type(size).__name__}"
            ) from None
    if not 0 < number < 2**63:
        raise ValueError(f"{name} must be a number of bytes, or text like '64M', not {size!r}")
    return number


def lock_holder(path: str) -> int | None:
    """Return the process that has a lock on a file, by /proc/locks; None: it does not say."""
    try:
        status = os.stat(path)
        with builtins.open("/proc/locks", encoding="ascii") as locks:
            lines = locks.read().splitlines()
    except OSError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    pids = []
    for line in lines:
        # "1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF"; a waiting one has "->" after "1:".
        fields = line.split()
        if len(fields) >= 8 and fields[1] != "->" and fields[4].isdecimal():
            exact = fields[5] == device
            same_inode = fields[5].rpartition(":")[2] == str(status.st_ino)
            if same_inode and int(fields[4]) > 0:
                pids.append((not exact, int(fields[4])))
    # Some file systems show another device number here than stat() does.
    return min(pids)[1] if pids else None


_open_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for pool in list(_open_pools):
        try:
            pool.close()
        except (PmemstoreError, OSError) as error:
            warnings.warn(f"closing {pool.path} at exit: {error}", stacklevel=1)


_slots.set_hooks(values.pack_key, values.pack_value, values.unpack, build, raise_status)
_slots.set_types(Dict, List)
