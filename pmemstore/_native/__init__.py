"""The door to the C core: its functions, and its statuses as exceptions.

``ffi`` and ``lib`` are the cffi bindings of ``core.cdef.txt``; ``slots`` holds the C types of the
hot operations, which live in the same shared object.  Every call of the core returns a status
for ``check``.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pmemstore import errors

try:
    from pmemstore._native import _core
except ImportError as error:
    if getattr(error, "name", None) not in ("pmemstore._native", "pmemstore._native._core"):
        raise
    raise ImportError(
        f"the compiled core of pmemstore is missing beside {__file__}. Either this is the source "
        "tree, imported in place of the installed package: leave its directory, or run "
        "'.venv/bin/pytest' instead of 'python -m pytest'. Or it was never built: run "
        "'python -m pip install .' in the directory of pyproject.toml.",
        name="pmemstore._native._core",
        path=__file__,
    ) from error

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Detail", "check", "exception_for", "ffi", "lib", "raise_status", "slots"]

ffi = _core.ffi
lib = _core.lib


@dataclass(frozen=True, slots=True)
class Detail:
    """The numbers of a refusal, copied from ``struct pms_detail``."""

    what: str = ""
    off: int = 0
    want: int = 0
    have: int = 0
    sys_errno: int = 0
    source: str = ""


def check(status: int, *, path: str | None = None) -> int:
    """Return the status of a successful call; raise the exception of any other.

    Args:
        status: What a function of the core returned, on this thread.
        path: Pool file, for the message.

    Returns:
        0 (PMS_OK), or 1 (PMS_MISSING: no such key or index, end of iteration).

    Raises:
        PmemstoreError: Or a builtin; ``exception_for`` has the table.
    """
    if status in (0, 1):
        return status
    raise_status(status, path)


def raise_status(status: int, path: str | None = None) -> NoReturn:
    """Raise the exception for the latest refusal on this thread (also called by the C slots)."""
    raise exception_for(status, _take_detail(), path)


def exception_for(status: int, detail: Detail, path: str | None = None) -> BaseException:
    """Turn a status and its numbers into an exception.

    Args:
        status: Any but PMS_OK and PMS_MISSING.
        detail: The numbers for the message.
        path: Pool file, if known.

    Returns:
        The exception, not raised.
    """
    name = path if path is not None else "the pool"
    what = detail.what
    if status == lib.PMS_E_OS:
        number = detail.sys_errno or errno.EIO
        return OSError(number, f"{_lead(what)}{os.strerror(number)}", path)
    if status == lib.PMS_E_NOMEM:
        size = f" for {detail.want} bytes" if detail.want else ""
        return MemoryError(f"{_lead(what)}no memory{size}. The operation was rolled back.")
    if status == lib.PMS_E_INVAL:
        return ValueError((what or "argument out of range") + _numbers(detail))
    if status == lib.PMS_E_CHANGED:
        return RuntimeError(what or "container changed during iteration")
    if status == lib.PMS_E_INTR:
        return InterruptedError(errno.EINTR, f"{_lead(what)}interrupted; call again", path)
    if status not in _MESSAGES:
        return errors.PmemstoreError(
            f"{name}: unknown status {status} of the core{_at(detail)}: {what}. This is a bug of "
            "pmemstore, please report it.",
            path=path,
        )
    kind, template = _MESSAGES[status]
    message = template.format(
        name=name,
        what=_lead(what),
        at=_at(detail),
        numbers=_numbers(detail),
        want=detail.want,
        have=detail.have,
    )
    counted = bool(detail.want or detail.have)
    numbers: dict[str, Any] = {
        "path": path,
        "offset": detail.off or None,
        "wanted": detail.want if counted else None,
        "found": detail.have if counted else None,
    }
    if kind is errors.MediaError:
        numbers["errno"] = detail.sys_errno or errno.EIO
        message = f"{os.strerror(numbers['errno'])}: {message}"
    error = kind(message, **numbers)
    if isinstance(error, errors.DurabilityError):
        error.reason, error.errno = what or None, detail.sys_errno or None
    return error


_MESSAGES: dict[int, tuple[type[errors.PmemstoreError], str]] = {
    lib.PMS_E_CORRUPT: (
        errors.PoolCorruptError,
        "{what}{name} is damaged{at}{numbers}. Nothing was changed; restore a backup, or open "
        "the pool with flag 'r' and let Pool.check() list the damage.",
    ),
    lib.PMS_E_FORMAT: (
        errors.PoolFormatError,
        "{what}{name} is not a pool that this release can open{numbers}. Nothing was changed; "
        "check the path, or use the release of pmemstore that wrote it.",
    ),
    lib.PMS_E_FULL: (
        errors.PoolFullError,
        "{what}cannot allocate {want} bytes in {name}: {have} bytes are available. The operation "
        "was rolled back; grow the pool with Pool.grow() or delete objects first.",
    ),
    lib.PMS_E_BUSY: (
        errors.PoolBusyError,
        "{what}{name} is in use by another process, or open in this one already. Nothing was "
        "changed; close it there first.",
    ),
    lib.PMS_E_CLOSED: (
        errors.PoolClosedError,
        "{what}{name} is closed. What was committed is safe; open it again.",
    ),
    lib.PMS_E_FORKED: (
        errors.PoolClosedError,
        "{what}{name} was inherited by fork(); only the process that opened it may use it. The "
        "parent's pool is unharmed; open it in the child after the parent has closed it, or start "
        "workers with the 'spawn' method.",
    ),
    lib.PMS_E_DURABILITY: (
        errors.DurabilityError,
        "{what}{name} cannot have the durability that was demanded. Nothing was changed; demand "
        "a weaker tier with require=, or put the file on another medium.",
    ),
    lib.PMS_E_TX: (
        errors.TransactionError,
        "{what}not possible in the present state of the transaction on {name}. This call changed "
        "nothing.",
    ),
    lib.PMS_E_TIMEOUT: (
        errors.TransactionError,
        "{what}another thread held the write lock of {name} for too long. This call changed "
        "nothing; keep transactions short, or try again.",
    ),
    lib.PMS_E_READONLY: (
        errors.TransactionError,
        "{what}{name} was opened with flag 'r'. Nothing was changed; open it with flag 'w' to "
        "write.",
    ),
    lib.PMS_E_STALE: (
        errors.StaleRefError,
        "{what}the object of {name} behind this proxy is gone: the transaction that made it was "
        "rolled back, or it was deleted. Take it from its container again.",
    ),
    lib.PMS_E_MEDIA: (
        errors.MediaError,
        "{what}the medium of {name} failed{at}. The outcome of the present transaction is "
        "unknown and the pool is read-only now; close it, check the device, open it again.",
    ),
    lib.PMS_E_POISONED: (
        errors.MediaError,
        "{what}{name} is read-only after an earlier failure of its medium. This call changed "
        "nothing; close the pool, check the device, open it again.",
    ),
}


def _lead(what: str) -> str:
    return f"{what}: " if what else ""


def _at(detail: Detail) -> str:
    place = f" at offset {detail.off}" if detail.off else ""
    return place + (f" [{detail.source}]" if detail.source else "")


def _numbers(detail: Detail) -> str:
    if not detail.want and not detail.have:
        return ""
    return f" (expected {detail.want}, found {detail.have})"


def _take_detail() -> Detail:
    """Copy the numbers of the latest refusal, and forget them: a later one may bring none."""
    raw = lib.pms_detail()
    what, file = (
        ffi.string(text).decode("utf-8", "replace") if text != ffi.NULL else ""
        for text in (raw.what, raw.file)
    )
    detail = Detail(
        what=what,
        off=raw.off,
        want=raw.want,
        have=raw.have,
        sys_errno=raw.sys_errno,
        source=f"{Path(file).name}:{raw.line}" if file else "",
    )
    ffi.memmove(raw, bytes(ffi.sizeof("struct pms_detail")), ffi.sizeof("struct pms_detail"))
    return detail


def _load_slots() -> ModuleType | None:
    """Load the second module of the shared object; an import would look for a second file."""
    if not lib.PMS_HAVE_SLOTS:
        return None
    name = f"{__name__}._slots"
    loader = ExtensionFileLoader(name, _core.__file__)
    spec = spec_from_file_location(name, _core.__file__, loader=loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


slots: Any = _load_slots()
