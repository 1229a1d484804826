"""What a power cut may leave of a medium: the core's model of it, and files made of that.

The model is ``machine.h``; this module gives it Python's manners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pmemstore._native import check, ffi, lib
from pmemstore.recorder import Recorder

__all__ = ["ROOM", "ImageFile", "Item", "Machine", "Plan", "Play"]

#: Bytes of the largest file that can be explored.  Address space alone.
ROOM: Final = 1 << 30

_ITEMS: Final = {
    lib.PMS_ITEM_LINE: "line",
    lib.PMS_ITEM_SECTOR: "sector",
    lib.PMS_ITEM_SIZE: "size",
    lib.PMS_ITEM_NAME: "name",
}


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a power cut may leave in one of several states.

    Attributes:
        kind: ``line``, ``sector``, ``size`` or ``name``.
        offset: In the file.
        states: How many; 0 is what is durable, the last one is what was written.
        event: Number of the last event that changed it, counted from 1 over the machine's life.
    """

    kind: str
    offset: int
    states: int
    event: int


class Machine:
    """A model of a medium."""

    def __init__(self, *, eadr: bool = False) -> None:
        raw = ffi.new("struct pms_machine *")
        check(lib.pms_machine_init(raw, ROOM))
        self.raw = ffi.gc(raw, lib.pms_machine_free)
        self.raw.eadr = eadr

    def load(self, contents: Any, size: int) -> None:
        """Start with a file of which all is durable."""
        check(lib.pms_machine_load(self.raw, contents, size))

    def copy(self, other: Machine) -> None:
        """Become another machine whose process was killed: what was pending there still is."""
        check(lib.pms_machine_copy(self.raw, other.raw))

    def another(self) -> Machine:
        """Return a machine in the same state."""
        machine = Machine(eadr=bool(self.raw.eadr))
        machine.copy(self)
        return machine

    @property
    def events(self) -> int:
        """Events taken in so far, those of the machine that this is a copy of included."""
        return int(self.raw.events)

    @property
    def seen(self) -> Any:
        """What a reader of the file sees now, and how long it is: a buffer."""
        return ffi.buffer(self.raw.seen, self.raw.size)

    @property
    def count(self) -> int:
        """How many items there are."""
        return int(lib.pms_machine_items(self.raw))

    def items(self) -> list[Item]:
        """Everything of which more than one state may be left."""
        out = ffi.new("struct pms_item *")
        items = []
        for i in range(self.count):
            lib.pms_machine_item(self.raw, i, out)
            items.append(Item(_ITEMS[out.kind], out.off, out.states, out.event))
        return items

    def newest(self) -> list[int]:
        """The states of a kill: nothing is lost."""
        return [item.states - 1 for item in self.items()]

    def build(self, states: Any) -> int:
        """Build the image with these states of the items; return a hash of it."""
        check(lib.pms_machine_image(self.raw, states))
        return int(self.raw.image_hash)

    @property
    def image(self) -> tuple[Any, int]:
        """The image that was built last: its bytes, and its length."""
        return self.raw.image, int(self.raw.image_size)


class Plan:
    """Which images of a moment to look at."""

    def __init__(self) -> None:
        self._raw = ffi.gc(ffi.new("struct pms_plan *"), lib.pms_plan_free)

    def states(self, machine: Machine, most: int, seed: int) -> Iterator[Any]:
        """Go through at most so many choices of states; each is good until the next one."""
        check(lib.pms_plan_begin(self._raw, machine.raw, most, seed & (2**64 - 1)))
        while lib.pms_plan_next(self._raw):
            yield self._raw.state

    @property
    def product(self) -> int:
        """Images that the moment has."""
        return int(self._raw.product)

    @property
    def whole(self) -> int:
        """Those of them in which no store is torn."""
        return int(self._raw.whole)


class Play:
    """A recording, played to a machine from one moment of interest to the next."""

    def __init__(self, recorder: Recorder, machine: Machine, stops: Sequence[int] = ()) -> None:
        self._raw = ffi.new("struct pms_play *")
        self._raw.trace = recorder._trace
        self._raw.machine = machine.raw
        self._keep = (recorder, machine)
        self._more = ffi.new("int *")
        self._stops = sum(1 << kind for kind in stops)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers of the events that have not quite happened yet."""
        while True:
            check(lib.pms_play_next(self._raw, self._stops, self._more))
            if not self._more[0]:
                return
            yield int(self._raw.next)


class ImageFile:
    """A file that becomes one image after the other."""

    def __init__(self, path: str) -> None:
        self.path = path
        raw = ffi.new("struct pms_image_file *")
        check(lib.pms_image_open(raw, path.encode(), ROOM), path=path)
        self._raw = ffi.gc(raw, lib.pms_image_close)

    def put(self, contents: Any, size: int) -> None:
        """Make the file equal to these bytes."""
        check(lib.pms_image_put(self._raw, contents, size), path=self.path)

    def close(self) -> None:
        """Give the file back; it stays where it is."""
        ffi.release(self._raw)
