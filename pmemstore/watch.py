"""What a pool does about other tasks and its file, in words: options of ``open``, notes."""

from __future__ import annotations

from typing import Final

from pmemstore._native import lib

__all__ = ["PREPARE", "WATCH", "notes_of"]

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
_NOTES: Final = {
    lib.PMS_WATCH_SHARED: "another task has cloned the file; its blocks were made its own again "
    "(direct media), or are copied as they are written (files)",
    lib.PMS_WATCH_LONGER: "another task has made the file longer; what is behind the pool is "
    "ignored, and overwritten when the pool grows",
    lib.PMS_WATCH_UNNAMED: "the file has no name any more: it is gone when the pool is closed",
    lib.PMS_WATCH_RENAMED: "the pool's path leads to another file, or to none",
    lib.PMS_WATCH_IMMUTABLE: "the file was made immutable or append-only: growing it may fail",
}


def notes_of(found: int) -> tuple[str, ...]:
    """Return a sentence for each thing that was found and took nothing away."""
    return tuple(text for bit, text in _NOTES.items() if found & bit)
