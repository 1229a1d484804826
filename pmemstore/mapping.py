"""The bottom layer: a file in memory, and what a store into it is worth.

A valid mapping of a DAX file needs nothing else: a plain store, a flush of its lines and a
fence are durable.  ``Mapping`` maps, says which durability it got and why, flushes and fences;
it has no format, no log and no objects, and nothing of the upper layers is needed to use it.

Thread safety: all methods may be called from any thread.  Scope: one process; the child of a
fork cannot use the mapping of its parent.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import warnings
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

from pmemstore import errors
from pmemstore._native import check, ffi, lib
from pmemstore.recorder import Recorder
from pmemstore.watch import WATCH

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Mapping", "MappingStats", "PreparedWrite", "Tier"]

Tier = Literal["eadr", "flush", "dax-fsync", "sync", "volatile"]

# From the strongest to the weakest; ``require`` accepts its own place and all before it.
_TIERS: Final[tuple[Tier, ...]] = ("eadr", "flush", "dax-fsync", "sync", "volatile")

_EXTENT_BITS: Final = {
    lib.PMS_EXTENT_UNKNOWN: "unknown",
    lib.PMS_EXTENT_HOLE: "hole",
    lib.PMS_EXTENT_UNWRITTEN: "unwritten",
    lib.PMS_EXTENT_SHARED: "shared",
    lib.PMS_EXTENT_DELALLOC: "delalloc",
}


@dataclass(frozen=True, slots=True)
class PreparedWrite:
    """The answer to ``prepare_write`` of a Mapping or a Pool, with its evidence.

    Attributes:
        granted: True if a store in the range followed by ``persist`` is durable as the tier
            says: blocks are allocated, written and unshared, and their metadata is durable.
        tier: Tier of the mapping.
        reason: The answer in words.
        allocated: The range has blocks of its own, so a full disk cannot stop a store.
        unshared: Blocks were shared with a clone (reflink), and are not any more.
        synced: An fsync has succeeded since the allocation.
        populated: The pages are writable in the page table; the next stores take no fault.
            False also where that is of no use: other files, where each sync undoes it.
        map_sync: The kernel granted MAP_SYNC for the file when it was asked again at the end.
        huge_bytes: Bytes of the range where one page of 2 MiB can be mapped, because blocks lie at
            multiples of that too: those take one fault instead of 512.  0 without MAP_SYNC.
        absent_pages: Pages of the range that the page table did not have at the end; None:
            /proc/self/pagemap could not be read.
        before: What the file system said of the range at first: any of ``unknown``, ``hole``,
            ``unwritten``, ``shared``, ``delalloc``; nothing if all was written.
        after: What it says now.
        errno: Of the step that failed, or 0.
    """

    granted: bool
    tier: Tier
    reason: str
    allocated: bool
    unshared: bool
    synced: bool
    populated: bool
    map_sync: bool
    huge_bytes: int
    absent_pages: int | None
    before: frozenset[str]
    after: frozenset[str]
    errno: int

    def __bool__(self) -> bool:
        """True if granted."""
        return self.granted


@dataclass(frozen=True, slots=True)
class MappingStats:
    """What the mapping has done to its medium since it was opened.

    Attributes:
        fences: Store fences.
        flushed_lines: Cache lines of 64 bytes whose write-back was started.
        syncs: System calls that waited for the device.
        written_bytes: Bytes written by system calls (zeroes of ``prepare_write``).
        looks: Times that the file was compared with what it was: see ``open``, ``watch``.
        repairs: Times that a clone made by another task was undone.
    """

    fences: int
    flushed_lines: int
    syncs: int
    written_bytes: int
    looks: int
    repairs: int


class Mapping:
    """A file, mapped into memory.

    Open it with ``Mapping.open``; use it in a ``with`` statement, or ``close`` it.

    * Ask: ``tier``, ``reason``, ``prepare_write(offset, length)``, ``check()``, ``stats()``
    * Access: ``view(offset, length)``, a memoryview; numpy.frombuffer takes it
    * Make durable: ``persist(offset, length)``, or ``flush`` (often) and ``fence`` (once)

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "numbers"
        >>> with Mapping.open(path, 4096, create=True) as mapping:
        ...     with mapping.view(0, 5) as view:
        ...         view[:] = b"hello"
        ...     mapping.persist(0, 5)
        >>> path.read_bytes()[:5]
        b'hello'
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_closed",
        "_lock",
        "_memory",
        "_raw",
        "_recorder",
        "_size",
        "path",
    )

    path: str
    _raw: Any  # struct pms_mapping *, freed when nothing refers to it
    _memory: Any  # char *, address of offset 0; keeps _raw
    _buffer: weakref.ref[Any] | None  # alive as long as any view, slice or array of it is
    _lock: threading.Lock
    _size: int
    _recorder: Recorder | None
    _closed: bool

    def __init__(self) -> None:
        raise TypeError("use Mapping.open(path, ...)")

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        size: int | None = None,
        *,
        create: bool = False,
        readonly: bool = False,
        require: Tier | None = None,
        watch: str = "auto",
        recorder: Recorder | None = None,
    ) -> Self:
        """Map a file.

        Args:
            path: A regular file.
            size: Bytes to map, from the start of the file; at most its size.  None: all of it.
                A file that is created gets this size, filled with zeroes that really occupy
                the disk.
            create: Create the file if it does not exist; ``size`` is needed then.  It appears
                under its name complete or not at all, and is asked to be DAX (or NOCOW).
            readonly: Do not write.  Views cannot be written to, persist is refused.
            require: Weakest tier that is acceptable.  None: any.
            watch: When the file is compared with what it was, because another task may have
                truncated, punched or cloned it.  ``auto``: by the first ``fence`` or
                ``persist`` for 1 ms, on files by each that syncs.  ``always``: by each.
                ``off``: by ``check`` and ``prepare_write`` alone; on files by syncs too.
            recorder: Keeps all that reaches the medium, for crash tests; what is stored
                through views is noticed at the next flush, fence or persist.

        Returns:
            The mapping.

        Raises:
            DurabilityError: The file's tier is weaker than ``require``.
            ValueError: ``size``, ``require`` or ``watch`` is out of range.
            OSError: Opening, creating or mapping failed.

        Durability:
            A created file, its size and its name are durable on return.
        """
        name = os.fspath(path)
        if require is not None and require not in _TIERS:
            raise ValueError(f"require={require!r}: must be None or one of {', '.join(_TIERS)}")
        if size is not None and size <= 0:
            raise ValueError(f"size={size}: must be greater than 0")
        if watch not in WATCH:
            raise ValueError(f"watch={watch!r}: must be 'auto', 'always' or 'off'")
        if create and readonly:
            raise ValueError("create and readonly exclude each other")
        flags = (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC
        try:
            fd = os.open(name, flags)
        except FileNotFoundError:
            if not create:
                raise
            _create(name, size)
            fd = os.open(name, flags)
        try:
            self = cls._map(fd, name, size, readonly, WATCH[watch], recorder)
        except BaseException:
            os.close(fd)
            raise
        if require is not None and _TIERS.index(self.tier) > _TIERS.index(require):
            tier, reason = self.tier, self.reason
            self.close()
            error = errors.DurabilityError(
                f"{name} has tier {tier!r}, which is weaker than the required {require!r}: "
                f"{reason}. Nothing was changed; pass require={tier!r} or a weaker one, or "
                f"put the file on another medium: 'python -m pmemstore doctor {name}' says what "
                "would raise it.",
                path=name,
                wanted=require,
                found=tier,
            )
            error.reason = reason
            raise error
        return self

    @classmethod
    def _map(
        cls,
        fd: int,
        name: str,
        size: int | None,
        readonly: bool,
        watch: int,
        recorder: Recorder | None,
    ) -> Self:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"cannot map {name}: not a regular file")
        have = status.st_size
        if size is None:
            size = have
        if size > have or size == 0:
            raise ValueError(f"cannot map {size} bytes of {name}: the file has {have} bytes")
        out = ffi.new("struct pms_mapping **")
        flags = lib.PMS_MAP_READONLY if readonly else 0
        check(lib.pms_mapping_open(out, fd, size, flags, watch), path=name)
        # From here on the descriptor belongs to the mapping.
        self = cls.__new__(cls)
        raw = ffi.gc(out[0], lib.pms_mapping_free)
        info = ffi.new("struct pms_mapping_info *")
        lib.pms_mapping_info(raw, info)
        if recorder is not None:
            recorder._record_mapping(raw, info)
        self._recorder = recorder
        self.path = name
        self._raw = raw
        # A buffer keeps the pointer that it was made of, and this one keeps raw.
        self._memory = ffi.gc(ffi.cast("char *", info.base), lambda _pointer, _keep=raw: None)
        self._buffer = None
        self._size = size
        self._lock = threading.Lock()
        self._closed = False
        return self

    # ---- what it is ----

    @property
    def tier(self) -> Tier:
        """Durability tier: ``eadr``, ``flush``, ``dax-fsync``, ``sync`` or ``volatile``."""
        return _tier(self._info().tier)

    @property
    def reason(self) -> str:
        """Why the file has this tier, in words."""
        return _text(self._info().reason)

    @property
    def flush_instruction(self) -> str:
        """What ``flush`` executes: ``clwb``, ..., ``none`` (eADR), ``msync`` (other files)."""
        info = self._info()
        return _text(lib.pms_flush_name(info.flush_kind)) if info.direct else "msync"

    @property
    def size(self) -> int:
        """Mapped bytes."""
        return self._size

    @property
    def readonly(self) -> bool:
        """True if opened with ``readonly=True``."""
        return bool(self._info().readonly)

    @property
    def closed(self) -> bool:
        """True after ``close``."""
        return self._closed

    def __len__(self) -> int:
        """Mapped bytes."""
        return self.size

    def __repr__(self) -> str:
        if self._closed:
            return f"<Mapping {self.path!r} closed>"
        return f"<Mapping {self.path!r} {self._size} bytes, {self.tier}>"

    def stats(self) -> MappingStats:
        """Return the counts since open.

        Returns:
            Fences, lines, syncs, bytes.

        Raises:
            PoolClosedError: The mapping is closed.
        """
        info = self._info()
        counters = info.counters
        return MappingStats(
            fences=counters.fences,
            flushed_lines=counters.flushed_lines,
            syncs=counters.syncs,
            written_bytes=counters.written_bytes,
            looks=info.looks,
            repairs=info.repairs,
        )

    # ---- access ----

    def view(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Return the bytes of a range, to read and, unless ``readonly``, to write.

        If the file is truncated by somebody, the view reads zeroes where the file was, what
        is written there is lost, and every later call on the mapping raises MediaError.

        Args:
            offset: First byte.
            length: Bytes.  None: up to the end.

        Returns:
            A memoryview of unsigned bytes.  The mapping cannot be closed before it and all
            that was made of it are released.

        Raises:
            ValueError: The range is not inside the mapping, or the mapping is closed.

        Durability:
            A store through the view is durable after ``persist``.
        """
        with self._lock:
            start, length = self._range(offset, length)
            info = self._info()
            buffer = self._buffer() if self._buffer is not None else None
            if buffer is None:
                buffer = ffi.buffer(self._memory, self._size)
                self._buffer = weakref.ref(buffer)
            view = memoryview(buffer)[start : start + length]
            return view.toreadonly() if info.readonly else view

    # ---- durability ----

    def flush(self, offset: int = 0, length: int | None = None) -> None:
        """Start the write-back of a range; ``fence`` ends it.

        Args:
            offset: First byte.
            length: Bytes.  None: up to the end.

        Raises:
            MediaError: The file was truncated or punched, or its medium failed, now or earlier.
            ValueError: The range is not inside the mapping, or the mapping is closed.

        Durability:
            None before the next ``fence``.

        Complexity:
            One instruction for each line of 64 bytes; on other files the range is noted.
        """
        self._note()
        start, length = self._range(offset, length)
        self._do(lib.pms_mapping_flush(self._raw, start, length))

    def fence(self) -> None:
        """Wait until what was flushed is durable.

        Raises:
            MediaError: The file was truncated or punched, or its medium failed, now or earlier.
            ValueError: The mapping is closed.

        Durability:
            All stores that were flushed before, by any thread, are durable on return, as the
            tier says.  On files without DAX this syncs what was flushed.
        """
        self._note()
        self._do(lib.pms_mapping_fence(self._raw))

    def persist(self, offset: int = 0, length: int | None = None) -> None:
        """Make the stores in a range durable: ``flush`` and ``fence`` in one call.

        Args:
            offset: First byte.
            length: Bytes.  None: up to the end.

        Raises:
            MediaError: The file was truncated or punched, or its medium failed, now or earlier.
            ValueError: The range is not inside the mapping, or the mapping is closed.

        Durability:
            The range is durable on return, as the tier says.  Not atomic: after a crash in
            the middle any part of it may be there.
        """
        self._note()
        start, length = self._range(offset, length)
        self._do(lib.pms_mapping_persist(self._raw, start, length))

    def prepare_write(self, offset: int = 0, length: int | None = None) -> PreparedWrite:
        """Tell the kernel that a range is going to be written, and get its answer.

        Allocates, unshares and zero-fills what the range lacks, syncs, and takes the write
        faults now.  Contents are kept; nobody may store into holes of the range meanwhile.

        Args:
            offset: First byte; the answer is for the whole pages around the range.
            length: Bytes, at least 1.  None: up to the end.

        Returns:
            The answer.  A refusal is an answer too, not an exception.

        Raises:
            ValueError: The range is empty or not inside the mapping, or it is closed.

        Durability:
            A granted answer stays true until somebody else truncates, punches, clones or
            collapses the file, which is told or undone: see ``open``, ``watch``.  A sync by
            anybody costs the next stores a fault again.
        """
        self._note()
        start, length = self._range(offset, length)
        raw = ffi.new("struct pms_prepared *")
        self._do(lib.pms_mapping_prepare(self._raw, start, length, raw))
        return prepared(raw)

    def check(self) -> None:
        """Compare the file, with all its blocks, with what it was; and see that nothing failed.

        Raises:
            MediaError: It was truncated, or blocks were taken from it, or its medium failed, now
                or earlier.
            ValueError: The mapping is closed.
        """
        self._do(lib.pms_mapping_check(self._raw))

    # ---- end ----

    def close(self) -> None:
        """Unmap the file.  Does not make anything durable.  Closing twice is harmless.

        Raises:
            BufferError: Views are still in use; the mapping stays open.
        """
        with self._lock:
            if self._closed:
                return
            if self._buffer is not None and self._buffer() is not None:
                raise BufferError(
                    f"cannot close the mapping of {self.path}: views of it are in use. It stays "
                    "open; release them (memoryview.release, del) and close it again."
                )
            self._closed = True
            if self._recorder is not None:
                self._recorder.note_caller()
                self._recorder._forget_mapping()
            check(lib.pms_mapping_close(self._raw), path=self.path)

    def __enter__(self) -> Self:
        """Return the mapping."""
        self._info()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the mapping."""
        try:
            self.close()
        except BufferError:
            if error is None:
                raise
            # The traceback of the error may be what holds the views: they go with it.

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            if self._recorder is not None:
                self._recorder._forget_mapping()
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)

    # ---- inside ----

    def _info(self) -> Any:
        if self._closed:
            self._do(lib.PMS_E_CLOSED)
        info = ffi.new("struct pms_mapping_info *")
        lib.pms_mapping_info(self._raw, info)
        return info

    def _range(self, offset: int, length: int | None) -> tuple[int, int]:
        size = self._size
        if length is None:
            length = max(size - offset, 0)
        if offset < 0 or length < 0 or offset > size or length > size - offset:
            raise ValueError(
                f"offset {offset}, length {length}: not inside the {size} bytes of {self.path}"
            )
        return offset, length

    def _note(self) -> None:
        if self._recorder is not None:
            self._recorder.note_caller()
            self._recorder._look()

    def _do(self, status: int) -> None:
        if status == lib.PMS_OK:
            return
        if status == lib.PMS_E_CLOSED:
            raise errors.PoolClosedError(
                f"the mapping of {self.path} is closed; open it again.", path=self.path
            )
        if status == lib.PMS_E_FORKED:
            raise errors.PoolClosedError(
                f"the mapping of {self.path} was inherited by fork(); only the process that "
                "opened it may use it. Open the file again in the child.",
                path=self.path,
            )
        if status == lib.PMS_E_MEDIA:
            detail = lib.pms_detail()
            number = detail.sys_errno or errno.EIO
            why = _text(detail.what) if detail.what else ""
            known = why.startswith("another task")
            why = f"{why}. " if known else ""
            cause = "" if known else ": it was truncated, or its medium failed"
            offset = max(int(self._info().media_error) - 1, 0)
            raise errors.MediaError(
                f"{os.strerror(number)}: {why}The mapping of {self.path} has lost its file from "
                f"offset {offset} on{cause}. Whether stores "
                "since the last successful persist are durable is unknown; close the mapping, "
                "check the file and the device, and open it again.",
                errno=number,
                path=self.path,
                offset=offset,
            )
        check(status, path=self.path)


def _create(name: str, size: int | None) -> None:
    """Make a file of zeroes that is there with its name and all its blocks, or not at all."""
    if size is None:
        raise ValueError(f"{name} does not exist: creating it needs a size")
    folder, base = os.path.split(name)
    temporary = os.path.join(folder, f".{base}.{os.urandom(8).hex()}")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            check(lib.pms_mapping_fill(fd, size), path=name)
        finally:
            os.close(fd)
        try:
            os.link(temporary, name)
        except FileExistsError:
            return  # another process was faster: its file is as good
    finally:
        os.unlink(temporary)
    fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        check(lib.pms_mapping_sync_dir(fd), path=name)
    finally:
        os.close(fd)


def _text(raw: Any) -> str:
    return cast("str", ffi.string(raw).decode("utf-8", "replace"))


def _tier(number: int) -> Tier:
    return cast("Tier", _text(lib.pms_tier_name(number)))


def prepared(raw: Any) -> PreparedWrite:
    """Return what is in a ``struct pms_prepared``."""
    absent = int(raw.absent_pages)
    return PreparedWrite(
        granted=bool(raw.granted),
        tier=_tier(raw.tier),
        reason=_text(raw.reason),
        allocated=bool(raw.allocated),
        unshared=bool(raw.unshared),
        synced=bool(raw.synced),
        populated=bool(raw.populated),
        map_sync=bool(raw.map_sync),
        huge_bytes=int(raw.huge_bytes),
        absent_pages=None if absent == 2**64 - 1 else absent,
        before=_extents(raw.before),
        after=_extents(raw.after),
        errno=int(raw.sys_errno),
    )


def _extents(bits: int) -> frozenset[str]:
    return frozenset(name for bit, name in _EXTENT_BITS.items() if bits & bit)
