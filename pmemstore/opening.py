"""Opening a pool, and saying why it cannot be."""

from __future__ import annotations

import builtins
import errno
import os
import warnings
import weakref
from typing import Any

from pmemstore import health as healths
from pmemstore._native import ffi, lib, raise_status
from pmemstore.errors import DurabilityError, HealthWarning, PoolBusyError
from pmemstore.pool import Pool, open_pools, remembered
from pmemstore.recorder import Recorder
from pmemstore.records import schemas
from pmemstore.sizes import Size, parse_size
from pmemstore.status import TIER_NAMES, TIERS
from pmemstore.watch import PREPARE, PROTECT, WATCH

__all__ = ["lock_holder", "open"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# cffi takes its time for the first use of a type, or of a name, so not in open().
_OPTIONS = ffi.typeof("struct pms_options *")
_ADDRESS = ffi.typeof("uintptr_t")
_USUAL = {"prepare": PREPARE[None], "watch": WATCH["auto"], "protect": PROTECT[None]}


def _like(options: Any) -> tuple[Any, int]:
    """Return a copy of options for the core, and where it lies."""
    copy = ffi.new(_OPTIONS, options)
    return copy, int(ffi.cast(_ADDRESS, copy))


#: What the core is told if nothing but the flag is given; never changed.
_PLAIN = {flag: _like({"flag": flag.encode(), **_USUAL}) for flag in "rwcn"}
_NOTHING = (None,) * 8
_count = healths.count_on
_OK, _INTR, _OS = lib.PMS_OK, lib.PMS_E_INTR, lib.PMS_E_OS


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
    protect: str | None = None,
    recorder: Recorder | None = None,
    refuse_unsafe_shutdown: bool = False,
) -> Pool:
    """Open a pool, or create it.

    Args:
        path: File of the pool.
        flag: As for ``dbm``: ``r`` reads and writes nothing at all, not even to recover (after a
            crash it may sync what others have written);
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
            None: with each commit those that it stores to, a piece at a time, and some of the
            rest.  ``now``: all, before this returns.  ``lazy``: none: each first store takes
            a write fault.  Blocks are allocated and written ahead all the same.
        watch: When the file is compared with what it was, because another task may have
            truncated, punched or cloned it (direct media).  ``auto``: before a commit
            returns that took more than 5 us, or that is the first for 1 ms (on tmpfs: the first
            of a tick of the kernel, 1 to 10 ms).  ``always``: before any commit returns.
            ``off``: by ``check()``, checkpoints, growth and close alone.
            On files: with each sync, whatever is asked for here.
        protect: Keep other tasks off the file as long as the pool is open for writing.  ``flags``:
            the file becomes append-only, on ext4 with DAX immutable, so that the kernel refuses
            to cut, punch, rename or unlink it, or to open it for writing; that takes the
            capability CAP_LINUX_IMMUTABLE, and is undone by ``close``, or by the next open after
            a crash.  ``lease``: whoever opens the file, to read it too, waits until the next
            commit that looks, at most /proc/sys/fs/lease-break-time seconds, and from then on
            each commit looks as long as it is open.  ``auto``: flags if possible, else a
            lease, else nothing.  ``Pool.protection`` tells which it is.
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
        DurabilityError: The medium is weaker than ``require``, or does not allow what ``protect``
            asks for, or has had an unsafe shutdown and ``refuse_unsafe_shutdown`` is set.
        SchemaMismatchError: A record class of this process cannot read the records that the pool
            has under its name.
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
    if protect not in PROTECT:
        raise ValueError(f"protect must be None, 'flags', 'lease' or 'auto', not {protect!r}")
    if protect is not None and flag == "r":
        raise ValueError("protect is for pools that are open for writing, not for flag 'r'")
    path = os.fspath(path)
    name = os.fsencode(path)
    text = path if isinstance(path, str) else os.fsdecode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    options, address = _PLAIN[flag]
    given = (size, limit, log_size, require, timeout, prepare, protect, recorder)
    if given != _NOTHING or watch != "auto" or refuse_unsafe_shutdown:
        options, address = _like(options[0])
        options.size = 0 if size is None else parse_size(size, "size")
        options.limit = 0 if limit is None else parse_size(limit, "limit")
        options.log_bytes = 0 if log_size is None else parse_size(log_size, "log_size")
        options.require = 0 if require is None else TIERS[require]
        options.prepare = PREPARE[prepare]
        options.watch = WATCH[watch]
        options.protect = PROTECT[protect]
        options.timeout_ns = 0 if timeout is None else max(1, int(min(timeout, 9e9) * 1e9))
        options.refuse_shutdowns = refuse_unsafe_shutdown
        if recorder is not None:
            recorder._record_pool(options)

    # "n" renames a new file into place: where a link points to, not over the link.  And the
    # process may change its directory.
    target, followed = name if name[:1] == b"/" else os.path.join(os.getcwdb(), name), False
    if flag == "n" and os.path.islink(target):
        target, followed = os.path.realpath(target), True
    pool = Pool()
    pool.path = text
    pool.flag = flag
    pool.timeout = timeout
    pool._recorder = recorder
    pool._schemas_seen = {}
    pool._schemas_current = {}
    pool._schemas_owner = {}
    while (status := pool._open(target, address, text, _count)) != _OK:
        if status == _OS and not followed and os.path.islink(target):
            target, followed = os.path.realpath(target), True  # which the core does not do
        elif status != _INTR:
            _raise_open(status, text)
    open_pools.add(weakref.ref(pool, open_pools.discard))
    try:
        counted = pool._counted
        if counted is not None and pool._core().shutdowns_met:
            sentence = healths.shutdown_text(remembered(pool._core()), counted[1])
            warnings.warn(f"{text}: {sentence}.", HealthWarning, stacklevel=2)
        pool._root_dict = pool._root()
        schemas.verify(pool)
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
        better = _refusal(weak, path)
        if better is None:
            raise
        raise better from weak


def _refusal(weak: DurabilityError, path: str) -> DurabilityError | None:
    """Return the same with what is to be done; None: the core's words are all there is."""
    reason, wanted, found = weak.reason or "", weak.wanted, weak.found
    if reason.startswith("an unsafe shutdown"):
        return DurabilityError(
            f"{path}: its memory modules counted an unsafe shutdown while it was open for writing "
            f"(counter {wanted}, now {found}): flushed data may be lost. Nothing was "
            "changed; open it with flag 'r' and look, or without refuse_unsafe_shutdown.",
            path=path,
            wanted=wanted,
            found=found,
        )
    if reason.startswith("protect: "):
        why = reason.removeprefix("protect: ")
        number = f" ({errno.errorcode.get(weak.errno, weak.errno)})" if weak.errno else ""
        error = DurabilityError(
            f"{path} cannot be protected from other tasks: {why}{number}. Its contents were not "
            "changed, and no pool was made; run with the capability, or pass another protect=, or "
            "none: what others do to the file is noticed all the same.",
            path=path,
        )
        error.errno = weak.errno
    elif isinstance(wanted, int) and isinstance(found, int) and wanted in TIER_NAMES:
        need, have = TIER_NAMES[wanted], TIER_NAMES.get(found, "unknown")
        error = DurabilityError(
            f"{path} has tier {have!r}, which is weaker than the required {need!r}: {reason}. "
            f"Nothing was changed; pass require={have!r} or a weaker one, or put the file on "
            f"another medium: 'python -m pmemstore doctor {path}' says what would raise it.",
            path=path,
            wanted=need,
            found=have,
        )
        why = reason
    else:
        return None
    error.reason = why
    return error


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
