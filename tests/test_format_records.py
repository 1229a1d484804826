"""The file format of records, arrays and closed pools, read by ``docs/format.md`` alone."""

from __future__ import annotations

import datetime as dt
import importlib.util
import lzma
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pmemstore
from pmemstore.records import schemas

if TYPE_CHECKING:
    from conftest import Medium, Opener


SPEC = importlib.util.spec_from_file_location("page", Path(__file__).parent / "test_format.py")
assert SPEC is not None
assert SPEC.loader is not None
page = importlib.util.module_from_spec(SPEC)
sys.modules["page"] = page  # where dataclasses look
SPEC.loader.exec_module(page)
CONSTANTS, STRUCTS, field, size_of = page.CONSTANTS, page.STRUCTS, page.field, page.size_of


class RecordReader(page.Reader):
    """A reader that knows records, too."""

    def cell(self, at: int, end: int = 0) -> Any:
        if self.get("cell_pm", at, "head") & 255 == CONSTANTS["TAG_RECORD"]:
            return self.record(self.get("cell_pm", at, "word"))
        return super().cell(at, end)

    def record(self, off: int) -> tuple[Any, ...]:
        """The name of the class, and its leaves."""
        self.object(off, CONSTANTS["TAG_RECORD"], "record_pm")
        schema, body = self.get("record_pm", off, "schema"), self.get("record_pm", off, "body")
        self.object(schema, CONSTANTS["TAG_SCHEMA"], "schema_pm")
        size = self.get("schema_pm", schema, "bytes")
        assert size == self.get("record_pm", off, "bytes")
        home = off + size_of("record_pm")
        self.block(*((off, size_of("record_pm") + size) if body == home else (body, size)))
        name = self.cell(schema + field("schema_pm", "text"))[1]
        count = self.get("schema_pm", schema, "fields")
        first = schema + size_of("schema_pm")
        return name, *(self.leaf(body, first + i * size_of("field_pm")) for i in range(count))

    def leaf(self, body: int, at: int) -> Any:
        row = {name: self.get("field_pm", at, name) for name in STRUCTS["field_pm"][1]}
        place = body + row["off"]
        if bit := row["bit"]:
            present = self.number(body + (bit - 1) // 64 * 8) >> (bit - 1) % 64 & 1
            if not present:
                assert not any(self.data[place : place + row["size"] * max(1, row["count"])])
                return None
        if row["count"]:
            items = (
                self.native(place + i * row["size"], row["kind"], row["size"])
                for i in range(row["count"])
            )
            return tuple(items)
        return self.native(place, row["kind"], row["size"])

    def native(self, at: int, number: int, size: int) -> Any:
        names = {CONSTANTS[n]: n for n in CONSTANTS if n.startswith("FIELD_")}
        kind, data = names[number].removeprefix("FIELD_"), self.data[at : at + size]
        if kind == "CELL":
            return self.cell(at)
        if kind in ("STR", "BYTES"):
            length = int.from_bytes(data[:2], "little")
            assert not any(data[2 + length :])
            data = data[2 : 2 + length]
            return data.decode("utf-8", "surrogatepass") if kind == "STR" else data
        if kind.startswith("FLOAT"):
            return struct.unpack("<f" if size == 4 else "<d", data)[0]
        value = int.from_bytes(data, "little", signed=kind.startswith("INT"))
        return bool(value) if kind == "BOOL" else value


@pytest.mark.parametrize("name", page.GOLDEN)
def test_second_reader_finds_the_records_of_the_golden_pools(
    name: str, medium: Medium, open_pool: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of field, by the page alone; also of a record that has got another schema."""
    monkeypatch.setattr(schemas, "_declared", {})
    path = medium.folder / "records.pool"
    path.write_bytes(lzma.decompress((page.COMPAT / f"records1-{name}.pool.xz").read_bytes()))
    open_pool(path).close()
    rows = RecordReader(path.read_bytes()).root()["rows"]
    zone = dt.datetime(2024, 1, 4) - dt.datetime.min
    assert rows[3] == (
        *("Row", True, -3, 253, 2**32 - 4, 2**64 - 4, 1.5, 1.0, "t3", bytes(3), 3, 1),
        *(zone // dt.timedelta(microseconds=2) * 4, 0, (3, -3, 0), 3, 7, 3 * 2**70),
        *("the name of row 3", ("Point", 103, 7), [3, {"deep": [3]}]),
    )
    assert rows[2][10:14] == (None, 0, None, None)

    @pmemstore.record(name="Row")
    class Later:
        name: str
        small: pmemstore.int64 | None = None

    with open_pool(path) as pool:
        pool.root["rows"][3].small = 2**40
        pool.root["rows"][4].small = None
    rows = RecordReader(path.read_bytes()).root()["rows"]
    assert rows[3:] == [("Row", "the name of row 3", 2**40), ("Row", "the name of row 4", None)]
    assert rows[2][0:3] == ("Row", False, -2)


def test_anchor_of_a_close_says_that_no_frame_follows(medium: Medium, open_pool: Opener) -> None:
    """From the first unit of a session on no anchor says so: a kill leaves a log to be read."""
    path = medium.folder / "t.pool"
    states = []
    for number in range(3):
        pool = open_pool(path, "c", size="1M")
        states.append([page.Reader(path.read_bytes())])
        pool.root["a"] = number
        states[-1].append(page.Reader(path.read_bytes()))
        pool.close()
        states[-1].append(page.Reader(path.read_bytes()))
    for number, readers in enumerate(states):
        found = [reader.get("anchor_pm", reader.anchor, "closed") for reader in readers]
        assert found == [int(number > 0), 0, 1]
        assert [len(list(reader.chain())) for reader in readers] == [0, 1, 0]
    with pmemstore.open(path, "r") as pool:
        assert pool.root == {"a": 2}
        assert pool.check().ok


# ---- arrays ----


def test_second_reader_finds_arrays(medium: Medium, open_pool: Opener) -> None:
    """Each letter of the page's table, records, several axes, none, blocks and page runs."""
    made = {
        **{
            code: np.arange(9).astype(code)
            for code in ("|b1", "<i4", ">u2", "<f8", ">c8", "<M8[s]")
        },
        "|S3": np.array([b"a", b"bcd"]),
        "<U2": np.array(["a", "\u00e4b"]),
        "|V2": np.zeros(3, "V2"),
        '[["a", "<i2"], ["", "|V2"], ["b", "<f4", [2, 3]]]': np.zeros(
            2, np.dtype([("a", "<i2"), ("b", "<f4", (2, 3))], align=True)
        ),
        "<i8": np.arange(60_000).reshape(10, 20, 300),
        "<f4": np.array(1.5, "<f4"),
        "|u1": np.zeros((0, 7), "u1"),
    }
    with open_pool(medium.folder / "a.pool", "n", size="2M") as pool:
        pool.root.update(made)
        pool.root["<i4"].extend(range(1000))
        found = {key: (key, a.shape, a.tobytes()) for key, a in pool.root.items()}
    assert found["<i4"][1] == (1009,)
    assert page.Reader((medium.folder / "a.pool").read_bytes()).root() == found
