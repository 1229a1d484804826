"""What a pool does about other tasks and its file, in words: options of ``open``, notes."""

from __future__ import annotations

from typing import Final

from pmemstore._native import lib

__all__ = ["PREPARE", "PROTECT", "PROTECTIONS", "WATCH", "notes_of"]

PREPARE: Final = {
    None: lib.PMS_PREPARE_AUTO,
    "now": lib.PMS_PREPARE_NOW,
    "lazy": lib.PMS_PREPARE_LAZY,
}
WATCH: Final = {
    "auto": lib.PMS_WATCH_AUTO,
    "always": lib.PMS_WATCH_ALWAYS,
    "off": lib.PMS_WATCH_OFF,
}
PROTECT: Final = {
    None: lib.PMS_PROTECT_NONE,
    "flags": lib.PMS_PROTECT_FLAGS,
    "lease": lib.PMS_PROTECT_LEASE,
    "auto": lib.PMS_PROTECT_AUTO,
}
PROTECTIONS: Final = {
    lib.PMS_GUARD_NONE: None,
    lib.PMS_GUARD_APPEND_ONLY: "append-only",
    lib.PMS_GUARD_IMMUTABLE: "immutable",
    lib.PMS_GUARD_LEASE: "lease",
}
_NOTES: Final = {
    lib.PMS_WATCH_SHARED: "another task has cloned the file; its blocks were made its own again "
    "(direct media), or are copied as they are written (files)",
    lib.PMS_WATCH_LONGER: "another task has made the file longer; what is behind the pool is "
    "ignored, and overwritten when the pool grows",
    lib.PMS_WATCH_UNNAMED: "the file has no name any more: it is gone when the pool is closed",
    lib.PMS_WATCH_RENAMED: "the pool's path leads to another file, or to none",
    lib.PMS_WATCH_IMMUTABLE: "the file was made immutable or append-only: growing it may fail",
    lib.PMS_WATCH_UNGUARDED: "the immutable or append-only flag of the file was taken off: other "
    "tasks may cut it again",
    lib.PMS_WATCH_OPENED: "another task has opened the file, and the pool gave its lease up "
    "as long as it was open; the file was compared before and after",
}


def notes_of(found: int) -> tuple[str, ...]:
    """Return a sentence for each thing that was found and took nothing away."""
    return tuple(text for bit, text in _NOTES.items() if found & bit)
