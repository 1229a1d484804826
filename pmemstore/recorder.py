"""Keep everything that reaches a pool's medium, in order: the raw material of crash tests.

    recorder = Recorder()
    with pmemstore.open(path, recorder=recorder) as pool:
        ...
    for event in recorder.events():
        print(event)

``pmemstore.testing`` makes of it every state that a crash could have left.  Without a recorder
nothing of this costs anything.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pmemstore._native import check, ffi, lib

if TYPE_CHECKING:
    from types import FrameType

    from pmemstore._native import _slots
else:
    from pmemstore._native import slots as _slots

__all__ = ["Event", "Line", "Recorder"]

_KINDS: Final = {
    lib.PMS_EV_STORE: "store",
    lib.PMS_EV_NT_STORE: "non-temporal store",
    lib.PMS_EV_FLUSH: "flush",
    lib.PMS_EV_FENCE: "fence",
    lib.PMS_EV_WRITE: "write",
    lib.PMS_EV_WRITE_SYNC: "synchronous write",
    lib.PMS_EV_SYNC: "sync",
    lib.PMS_EV_ALLOCATE: "allocate",
    lib.PMS_EV_TRUNCATE: "truncate",
    lib.PMS_EV_CREATE: "create",
    lib.PMS_EV_LINK: "link",
    lib.PMS_EV_RENAME: "rename",
    lib.PMS_EV_UNLINK: "unlink",
    lib.PMS_EV_SYNC_DIR: "sync of the directory",
    lib.PMS_EV_DURABLE: "durable",
    lib.PMS_EV_MARK: "mark",
}
_PACKAGE: Final = str(Path(__file__).parent) + "/"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of Python.

    Attributes:
        file: Its file.
        number: Counted from 1.
        function: The function that it is in.
    """

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number} in {self.function}"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the medium.

    Attributes:
        number: Counted from 0.
        kind: ``store``, ``flush``, ``fence``, ``write``, ``sync`` and so on; ``durable`` (the
            unit of work is) and ``mark`` (by ``Recorder.mark``) change nothing.
        offset: In the file; of a mark: its number.
        length: Bytes.
        function: The C function that did it.
        source: Its file and line.
        line: The line of Python that called it, outside this package; None: unknown.
        thread: The kernel's id of the thread.
    """

    number: int
    kind: str
    offset: int
    length: int
    function: str
    source: str
    line: Line | None
    thread: int

    def __str__(self) -> str:
        by = f", called by {self.line}" if self.line else ""
        return f"event {self.number}, {self.kind} in {self.function} ({self.source}){by}"


# Lines of Python that have stored something, for all recorders: the core keeps their numbers.
_lines: list[Line] = []
_numbers: dict[Line, int] = {}


def _note_caller() -> None:
    """Tell the core which line outside this package is at work on this thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        lib.pms_trace_where(0)
        return
    line = Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    number = _numbers.get(line)
    if number is None:
        _lines.append(line)
        number = _numbers.setdefault(line, len(_lines))
    lib.pms_trace_where(number)


_slots.set_note_caller(_note_caller)


class Recorder:
    """Keeps what happens to the medium of a pool or mapping: pass it to ``open``.

    One recorder serves one file, which may be opened with it several times.

    Thread safety:
        The pool may be used from any thread while it is recorded.  Read the events afterwards.
    """

    def __init__(self) -> None:
        out = ffi.new("struct pms_trace **")
        check(lib.pms_trace_new(out))
        self._trace = ffi.gc(out[0], lib.pms_trace_free)
        self._marks: list[object] = []
        self._lock = threading.Lock()  # a mark and its number belong together

    def mark(self, value: object) -> None:
        """Put a remark between the events, such as an answer that was given to a customer.

        Args:
            value: Anything; ``marks`` has it.
        """
        _note_caller()
        with self._lock:
            self._marks.append(value)
            number = len(self._marks) - 1
        check(lib.pms_trace_mark(self._trace, number))

    @property
    def marks(self) -> tuple[object, ...]:
        """What was passed to ``mark``, in order."""
        return tuple(self._marks)

    def __len__(self) -> int:
        """Events so far."""
        return int(lib.pms_trace_count(self._trace))

    def event(self, number: int) -> Event:
        """Return one event.

        Args:
            number: Counted from 0.

        Raises:
            IndexError: There is no such event.
        """
        raw = lib.pms_trace_at(self._trace, number) if number >= 0 else ffi.NULL
        if raw == ffi.NULL:
            raise IndexError(f"event {number} of {len(self)}")
        site = raw.event.site
        where = raw.where
        return Event(
            number=number,
            kind=_KINDS.get(raw.event.kind, "?"),
            offset=raw.event.off,
            length=raw.event.len,
            function=ffi.string(site.function).decode(),
            source=f"{Path(ffi.string(site.file).decode()).name}:{site.line}",
            line=_lines[where - 1] if where else None,
            thread=raw.thread,
        )

    def events(self) -> Iterator[Event]:
        """Go through all events, oldest first."""
        return (self.event(number) for number in range(len(self)))

    # ---- for open(): what is recorded

    def _record_pool(self, options: Any) -> None:
        _note_caller()
        options.recorder = ffi.addressof(lib, "pms_trace_record")
        options.recorder_context = self._trace

    def _record_mapping(self, raw: Any, info: Any) -> None:
        if not info.readonly:
            kind = lib.PMS_VIEW_LINES if info.direct else lib.PMS_VIEW_FILE
            kind = lib.PMS_VIEW_EADR if info.tier == lib.PMS_TIER_EADR else kind
            base = ffi.cast("void *", info.base)
            check(lib.pms_trace_view(self._trace, base, info.size, kind))
        lib.pms_mapping_record(raw, ffi.addressof(lib, "pms_trace_record"), self._trace)

    def _forget_mapping(self) -> None:
        check(lib.pms_trace_view(self._trace, ffi.NULL, 0, 0))

    def _look(self) -> None:
        lib.pms_trace_look(self._trace)

    @staticmethod
    def note_caller() -> None:
        """Tell which line is at work, before a call that goes to the core by itself."""
        _note_caller()
