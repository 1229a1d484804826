"""No store at all: one synchronous write, which no durable commit on a file can do without."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from contenders.base import FLOOR, Contender, Durability, Pair, lines

FILE_BYTES = 4 << 20
#: As much as a commit of a 16-byte key and a 100-byte value has to say at least.
WRITE_BYTES = 192


class BareWrite(Contender):
    name = "bare write"
    persistent = False
    threads = False
    statements: ClassVar[dict[str, str]] = {
        "put": lines(
            "write(file, block, at[0], RWF_DSYNC)", f"at[0] = (at[0] + {WRITE_BYTES}) % END"
        ),
    }

    def __init__(self, folder: Path, *, only_data: bool = False) -> None:
        super().__init__(folder, only_data=only_data)
        self.file = os.open(folder / "bare", os.O_RDWR | os.O_CREAT)
        os.write(self.file, bytes(FILE_BYTES))
        os.fsync(self.file)
        self.at = [0]

    @property
    def durability(self) -> Durability:
        words = f"{WRITE_BYTES} bytes into a written file by pwritev2(RWF_DSYNC), nothing else"
        return Durability(FLOOR, words)

    def data_names(self) -> dict[str, Any]:
        return {
            "write": os.pwritev,
            "file": self.file,
            "block": [b"b" * WRITE_BYTES],
            "at": self.at,
            "RWF_DSYNC": os.RWF_DSYNC,
            "END": FILE_BYTES - WRITE_BYTES,
        }

    def close(self) -> None:
        os.close(self.file)

    def items(self) -> Iterable[Pair]:
        return []

    def counted(self) -> int:
        return 0

    def listed(self) -> list[bytes]:
        return []

    def put_all(self, pairs: list[Pair]) -> None:
        """Keep nothing."""
