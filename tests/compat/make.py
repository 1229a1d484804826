"""Make the golden pools of format 1, and put their bytes into docs/format.md.

    python tests/compat/make.py

Each is what a process that was killed leaves: its log still has frames that recovery needs.  Run
this only when the format changes on purpose; the uuid, the salts and the hash seed are random, so
every run makes other bytes.  ``tests/test_format.py`` says what the pools must contain.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import pmemstore

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "format.md"
#: Medium of the pool: what its log looks like.
POOLS = {"direct": "volatile", "file": "sync"}

CELLS = 1500


def content() -> dict[Any, Any]:
    """Return what both pools hold when their last checkpoint is done."""
    return {
        "none": None,
        "false": False,
        "true": True,
        "int": -5,
        "float": 0.5,
        "short": "8 bytes.",
        "inner": "more than eight bytes",
        "block": "b" * 2000,
        "run": b"r" * 40_000,
        "bigint": -(2**100),
        "packed": (1, "a", (2.5, None)),
        None: "key None",
        7: "key int",
        2.5: "key float",
        b"\x00": "key bytes",
        (1, 2): "key packed",
        "k" * 1100: "key far",
        "dict": {i: i * i for i in range(100)},
        "list": list(range(CELLS)),
        "nested": {"a": [{"b": {}}]},
    }


def write(path: Path, copy: Path) -> None:
    """Make a pool, and copy its file while a transaction is open."""
    with pmemstore.open(path, "n", size="512K", log_size="64K") as pool:
        pool.root.update(content())
        del pool.root["dict"][99]
        pool.collect()
        pool.checkpoint()
        pool.root["redo 1"] = 1
        with pool.transaction():
            for i in range(CELLS):
                pool.root["list"][i] = -i
        pool.root["redo 2"] = 2
        try:
            with pool.transaction():
                for i in range(CELLS):
                    pool.root["list"][i] = 0
                shutil.copyfile(path, copy)
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass


def dump(data: bytes, start: int, length: int) -> str:
    """Return bytes as ``hexdump -C`` prints them."""
    lines = []
    for at in range(start, start + length, 16):
        row = data[at : min(at + 16, start + length)]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {left:<23}  {right:<23}  |{text}|")
    return "\n".join(lines)


def place(data: bytes, where: str) -> int:
    """Return the offset of ``root``, of ``frame0`` (the first that recovery needs), or a number."""
    if where == "root":
        return int(struct.unpack_from("<Q", data, 16384)[0])
    if not where.startswith("frame"):
        return int(where)
    at = 65536 + max(struct.unpack_from("<QQQ", data, slot) for slot in (8192, 12288))[2]
    for _ in range(int(where.removeprefix("frame"))):
        words = struct.unpack_from("<I", data, at + 12)[0]
        at += (32 + 8 * words + 63) // 64 * 64
    return int(at)


def document(pools: dict[str, bytes]) -> None:
    """Replace the dumps in docs/format.md: blocks marked ``hexdump NAME PLACE LENGTH``."""

    def block(match: re.Match[str]) -> str:
        data = pools[match[1]]
        text = dump(data, place(data, match[2]), int(match[3]))
        return f"```hexdump {match[1]} {match[2]} {match[3]}\n{text}\n```"

    text = DOCUMENT.read_text()
    DOCUMENT.write_text(re.sub(r"```hexdump (\w+) (\w+) (\d+)\n.*?```", block, text, flags=re.S))


def main() -> None:
    pools: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for name, tier in POOLS.items():
            os.environ["PMEMSTORE_FORCE_TIER"] = tier
            copy = Path(folder, f"{name}.copy")
            write(Path(folder, f"{name}.pool"), copy)
            pools[name] = copy.read_bytes()
            packed = lzma.compress(pools[name], preset=9 | lzma.PRESET_EXTREME)
            (HERE / f"format1-{name}.pool.xz").write_bytes(packed)
    document(pools)


if __name__ == "__main__":
    main()
