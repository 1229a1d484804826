"""docs/format.md is true: its tables, its dumps, and a second reader that knows only that page.

The tables are compared with what the compiler made of ``layout.h``.  ``Reader`` takes every offset
and number from the tables, walks a pool file byte by byte and must find what the library finds.
The golden pools are what a killed process left; every release must open copies of them.
"""

from __future__ import annotations

import copy
import importlib.util
import lzma
import math
import re
import shutil
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

import pmemstore
from pmemstore import layout
from pmemstore._native import ffi, lib
from pmemstore.values import codes

if TYPE_CHECKING:
    from conftest import Medium, Opener

ROOT = Path(__file__).resolve().parents[1]
COMPAT = ROOT / "tests" / "compat"
PAGE_TEXT = (ROOT / "docs" / "format.md").read_text()
GOLDEN = ("direct", "file")
SPEC = importlib.util.spec_from_file_location("order_images", ROOT / "tests/order_images.py")
assert SPEC is not None
assert SPEC.loader is not None
images = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(images)
U64 = (1 << 64) - 1


# ---- the page ----


@dataclass(frozen=True)
class Row:
    """A field, as the page has it."""

    offset: int
    size: int


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of the first table in the text, without its head."""
    lines = text[text.index("\n| ") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def documented_structs() -> dict[str, tuple[int, dict[str, Row]]]:
    found = {}
    for match in re.finditer(r"^### `struct pms_(\w+)`, (\d+) bytes$", PAGE_TEXT, re.MULTILINE):
        rows = table_rows(PAGE_TEXT[match.end() :])
        fields = {row[2].strip("`"): Row(int(row[0]), int(row[1])) for row in rows}
        found[match[1]] = (int(match[2]), fields)
    return found


def documented_constants() -> dict[str, int]:
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| (\w+) \|", PAGE_TEXT, re.MULTILINE)
    return {name: int(value, 0) for name, value in rows}


def documented_classes() -> list[tuple[int, int, int]]:
    block = re.search(r"```classes\n(.*?)```", PAGE_TEXT, re.DOTALL)
    assert block is not None
    numbers = [int(text) for text in block[1].split()]
    groups = list(zip(*[iter(numbers)] * 4, strict=True))
    assert [group[0] for group in groups] == list(range(len(groups)))
    return [(size, blocks, pages) for _, size, blocks, pages in groups]


STRUCTS = documented_structs()
CONSTANTS = documented_constants()
CLASSES = documented_classes()


# ---- the page and the compiler ----


def test_every_struct_is_described_as_the_compiler_has_it() -> None:
    """Size, and offset and size of each field; no struct is missing, none is invented."""
    compiled = {
        name: (kind.size, {field.name: Row(field.offset, field.size) for field in kind.fields})
        for name, kind in layout.structs(ffi).items()
    }
    assert compiled == STRUCTS


def test_every_constant_has_its_value() -> None:
    assert layout.constants(lib) == CONSTANTS


def test_size_classes_are_those_of_the_heap(direct: Medium, open_pool: Opener) -> None:
    """Sizes by the core's answer; blocks of a span as a pool that has them all counts them."""
    sizes = sorted({lib.pms_heap_capacity(n) for n in range(1, 32769)})
    assert sizes == [size for size, _, _ in CLASSES]
    pool = open_pool(direct.folder / "classes.pool", "n", size="32M")
    pool.root["all"] = [b"x" * size for size, _, _ in CLASSES if size > 8]
    counted = {cls.size: cls.used_blocks + cls.free_blocks for cls in pool.heap().classes}
    spans = {cls.size: cls.spans for cls in pool.heap().classes}
    assert {size: counted[size] // spans[size] for size in sizes} == {
        size: blocks for size, blocks, _ in CLASSES
    }
    source = (ROOT / "pmemstore/_native/heap.c").read_text()
    rows = source[source.index("pms_classes[] = {") : source.index("pms_class_count = ")]
    assert [tuple(map(int, row)) for row in re.findall(r"{(\d+), (\d+), (\d+)}", rows)] == CLASSES


def test_packed_types_have_their_codes() -> None:
    rows = table_rows(PAGE_TEXT[PAGE_TEXT.index("### Packed values") :])
    documented = {int(row[0]): row[1].lower().replace(" as key", "_key") for row in rows}
    written = {
        number: name.removeprefix("EXT_").lower()
        for name, number in vars(codes).items()
        if name.startswith("EXT_")
    }
    assert documented == written


def test_every_check_is_described_where_it_is() -> None:
    """The C numbers in the comments of check*.c, and those of the page."""
    documented = dict(re.findall(r"^\| (C\d+) \| `(check\w*\.c)` \|", PAGE_TEXT, re.MULTILINE))
    written = {
        number: path.name
        for path in (ROOT / "pmemstore/_native").glob("check*.c")
        for number in re.findall(r"^ \*   (C\d+) ", path.read_text(), re.MULTILINE)
    }
    assert documented == written


# ---- the hash ----


def mix(a: int, b: int) -> int:
    product = a * b
    return a ^ b ^ (product >> 64) ^ (product & U64)


def hash64(data: bytes, seed: int) -> int:
    """Return the hash as the page defines it."""
    p0, p1, p2, p3 = (
        int(re.search(rf"P{i} = (0x\w+)", PAGE_TEXT)[1], 16)  # type: ignore[index]
        for i in range(4)
    )

    def step(h: int, x: int, y: int) -> int:
        return (mix(x ^ p1 ^ h, y ^ p2) + p3) & U64

    h = seed ^ p0 ^ len(data)
    width = 16 if len(data) < 64 else 64
    lanes = [h] if len(data) < 64 else [(h + p) & U64 for p in (0, p1, p2, p3)]
    for at in range(0, len(data), width):
        words = struct.unpack(f"<{width // 8}Q", data[at : at + width].ljust(width, b"\0"))
        lanes = [step(lane, *words[2 * i : 2 * i + 2]) for i, lane in enumerate(lanes)]
    h = lanes[0]
    if len(lanes) > 1:
        h = step(0, step(0, *lanes[:2]), step(0, *lanes[2:]))
    return mix(h ^ p1, len(data) ^ p2)


# ---- a second reader ----


def field(name: str, label: str) -> int:
    return STRUCTS[name][1][label].offset


def size_of(name: str) -> int:
    return STRUCTS[name][0]


class Reader:
    """A pool file, read by the page alone.  What is wrong is an AssertionError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.super = self.newest("super_pm", CONSTANTS["SUPER_OFF"])
        self.anchor = self.newest("anchor_pm", CONSTANTS["ANCHOR_OFF"])

    def number(self, at: int, size: int = 8) -> int:
        return int.from_bytes(self.data[at : at + size], "little")

    def get(self, name: str, at: int, label: str) -> int:
        row = STRUCTS[name][1][label]
        return self.number(at + row.offset, row.size)

    def hashed(self, at: int, size: int, seed: int) -> int:
        return hash64(self.data[at : at + size], seed)

    def newest(self, name: str, first: int) -> int:
        """Offset of the slot that counts, of a superblock or anchor."""
        slots = (first, first + CONSTANTS["PAGE"])
        valid = [
            at
            for at in slots
            if self.get(name, at, "csum")
            == self.hashed(at, field(name, "csum"), CONSTANTS["MAGIC"])
        ]
        assert valid, f"no valid {name}"
        return max(valid, key=lambda at: self.get(name, at, "gen"))

    # -- log

    def frame(self, pos: int, seq: int) -> tuple[int, int] | None:
        """Kind and bytes of the frame at a position of the ring, if it is one."""
        at = self.get("super_pm", self.super, "log_off") + pos
        words = self.get("frame_pm", at, "words")
        total = -(-(size_of("frame_pm") + 8 * words) // 64) * 64
        if self.get("frame_pm", at, "seq") != seq:
            return None
        if pos + total > self.get("super_pm", self.super, "log_bytes"):
            return None
        frame = bytearray(self.data[at : at + total])
        csum = field("frame_pm", "csum")
        frame[csum : csum + 8] = bytes(8)
        if hash64(bytes(frame), self.salt) != self.get("frame_pm", at, "csum"):
            return None
        return self.get("frame_pm", at, "kind"), total

    @property
    def salt(self) -> int:
        return self.get("anchor_pm", self.anchor, "salt")

    def chain(self) -> Iterator[int]:
        """Kinds of the frames that recovery finds."""
        seq = self.get("anchor_pm", self.anchor, "seq")
        pos = self.get("anchor_pm", self.anchor, "pos")
        while found := self.frame(pos, seq) or (pos and self.frame(pos := 0, seq)):
            yield found[0]
            pos, seq = pos + found[1], seq + 1

    # -- heap

    def descriptor(self, page: int) -> int:
        for i in range(self.get("super_pm", self.super, "nregions")):
            at = self.super + field("super_pm", "regions") + i * size_of("region_pm")
            first = self.get("region_pm", at, "start") // 4096
            if first <= page < first + self.get("region_pm", at, "cap_pages"):
                return first * 4096 + (page - first) * CONSTANTS["DESC_BYTES"]
        raise AssertionError(f"page {page} is in no region")

    def block(self, off: int, need: int) -> int:
        """Capacity of the allocated block that starts here."""
        page = off // 4096
        for kind, pages in ((2, CONSTANTS["BIGSPAN_PAGES"]), (1, CONSTANTS["SPAN_PAGES"])):
            start = page // pages * pages
            desc = self.descriptor(start)
            head = self.number(desc)
            if head & 255 != kind:
                continue
            size, blocks, span_pages = CLASSES[head >> 8 & 255]
            assert (head >> 16, span_pages) == (pages, pages)
            index, inside = divmod(off - start * 4096, size)
            assert inside == 0
            assert index < blocks
            word = self.number(desc + 16 + index // 64 * 8)
            assert word >> index % 64 & 1, f"block at {off} is free"
            assert size >= need
            return size
        head = self.number(self.descriptor(page))
        assert (head & 0xFFFF, off % 4096) == (CONSTANTS["PAGE_RUN"], 0)
        assert (head >> 16) * 4096 >= need
        return (head >> 16) * 4096

    # -- values

    def cell(self, at: int, end: int = 0) -> Any:
        """The value; in an entry, whose block has an end, its bytes may follow."""
        head, length = self.get("cell_pm", at, "head"), self.get("cell_pm", at, "len")
        word = self.get("cell_pm", at, "word")
        tag, flags = head & 255, head >> 8
        if tag == CONSTANTS["TAG_DICT"]:
            return self.dict(word)
        if tag == CONSTANTS["TAG_LIST"]:
            return self.list(word)
        if tag == CONSTANTS["TAG_SET"]:
            return self.set(word)
        if tag == CONSTANTS["TAG_DEQUE"]:
            return self.deque(word)
        if tag == CONSTANTS["TAG_ARRAY"]:
            return self.array(word)
        if tag == CONSTANTS["TAG_SORTED_DICT"]:
            return self.sorted(word, tag)
        if tag == CONSTANTS["TAG_SORTED_SET"]:
            return set(self.sorted(word, tag))
        if flags == CONSTANTS["CELL_SHORT"]:
            return self.scalar(tag, self.data[at + 8 : at + 8 + length])
        if tag >= CONSTANTS["TAG_STR"]:
            assert length > 8
            if flags == 0:
                self.block(word, length)
                return self.scalar(tag, self.data[word : word + length])
            assert flags == CONSTANTS["CELL_INNER"]
            assert at + 8 + length <= end
            return self.scalar(tag, self.data[at + 8 : at + 8 + length])
        assert (flags, length) == (0, 0)
        return self.scalar(tag, self.data[at + 8 : at + 16])

    def scalar(self, tag: int, data: bytes) -> Any:
        name = {CONSTANTS[n]: n for n in CONSTANTS if n.startswith("TAG_")}[tag]
        if name in ("TAG_INT", "TAG_BIGINT"):
            return int.from_bytes(data, "little", signed=True)
        if name == "TAG_FLOAT":
            return struct.unpack("<d", data)[0]
        if name == "TAG_STR":
            return data.decode("utf-8", "surrogatepass")
        if name == "TAG_BYTES":
            return data
        if name == "TAG_PACKED":
            return msgpack.unpackb(data, use_list=False)
        return {"TAG_NONE": None, "TAG_FALSE": False, "TAG_TRUE": True}[name]

    def object(self, off: int, tag: int, name: str) -> None:
        self.block(off, size_of(name))
        magic = self.get("object_pm", off, "magic_kind")
        assert magic == CONSTANTS["OBJECT_MAGIC"] + tag
        assert self.get("object_pm", off, "refs") > 0

    # -- dict

    def key(self, entry: int) -> tuple[Any, int]:
        """The key of an entry, and its hash."""
        extra = self.get("entry_pm", entry, "next") >> 40
        tag, length = extra & 255, extra >> 8
        at = entry + size_of("entry_pm")
        seed = self.get("super_pm", self.super, "hash_seed")
        if tag != CONSTANTS["KEY_FAR"]:
            data = self.data[at : at + length]
            return self.scalar(tag, data), hash64(data, seed ^ tag)
        far = self.number(at)
        tag, image = self.get("far_key_pm", far, "tag"), self.get("far_key_pm", far, "image")
        stored = self.get("far_key_pm", far, "stored")
        start = far + size_of("far_key_pm")
        self.block(far, size_of("far_key_pm") + -(-image // 8) * 8 + stored)
        data = self.data[start : start + image]
        hashed = hash64(data, seed ^ tag)
        if stored:
            start += -(-image // 8) * 8
            data = self.data[start : start + stored]
        return self.scalar(tag, data), hashed

    def lines(self, off: int, size: int) -> int:
        """The place of a block of lines."""
        self.block(off, size)
        assert off % CONSTANTS["LINE"] == 0
        return off

    def bucket(self, off: int, b: int, buckets: int) -> int:
        """The place of a bucket."""
        line, bucket = off + field("dict_pm", "line"), size_of("bucket_pm")
        if buckets == 1:
            return line
        k = max(b.bit_length() - 1, 0)
        if k < CONSTANTS["DICT_BLOCKS"]:
            first = b if k == 0 else b - (1 << k)
            return self.lines(self.number(line + 8 * k), bucket << max(k, 1)) + bucket * first
        segment, inside = divmod(b, CONSTANTS["DICT_SEG_BUCKETS"])
        last = (buckets - 1) // CONSTANTS["DICT_SEG_BUCKETS"]
        at = line + 8 * CONSTANTS["DICT_BLOCKS"]
        for height in range(-(-last.bit_length() // 9), 0, -1):
            node = self.lines(self.number(at), 8 * CONSTANTS["DICT_NODE_WORDS"])
            at = node + 8 * (segment >> 9 * (height - 1) & 511)
        return self.lines(self.number(at), bucket * CONSTANTS["DICT_SEG_BUCKETS"]) + bucket * inside

    def links(self, at: int) -> Iterator[int]:
        """The links of a bucket, line by line."""
        most, links, least = CONSTANTS["BUCKET_LINKS"], [], 0
        while True:
            words = [self.number(at + 8 * i) for i in range(most)]
            more = words[-1] >> 40 == CONSTANTS["LINK_MORE"]
            here = [word for word in words[: most - more] if word]
            assert len(here) >= least
            assert words[: len(here)] == here
            links += here
            if not more:
                return iter(links)
            at, least = self.lines((words[-1] & ((1 << 40) - 1)) * 16, size_of("bucket_pm")), 2

    def set(self, off: int) -> set[Any]:
        found = self.dict(off, CONSTANTS["TAG_SET"])
        assert all(value is None for value in found.values())
        return set(found)

    def dict(self, off: int, tag: int = CONSTANTS["TAG_DICT"]) -> dict[Any, Any]:
        self.object(off, tag, "dict_pm")
        level, split = (shape := self.get("dict_pm", off, "shape")) & 255, shape >> 8
        in_buckets = set()
        buckets = (1 << level) + split
        for b in range(buckets):
            for link in self.links(self.bucket(off, b, buckets)):
                entry = (link & ((1 << 40) - 1)) * 16
                hashed = self.key(entry)[1]
                low = hashed % (1 << level)
                bits = level + (low < split)
                assert b == hashed % (1 << bits)
                assert (
                    link >> 40 == hashed >> bits // 16 * 16 & (1 << CONSTANTS["DICT_TAG_BITS"]) - 1
                )
                in_buckets.add(entry)
        found: dict[Any, Any] = {}
        before, entry = 0, self.get("dict_pm", off, "first")
        while entry:
            end = entry + self.block(entry, CONSTANTS["ENTRY_MIN"])
            assert entry in in_buckets
            assert self.get("entry_pm", entry, "prev") == before // 16
            length = self.get("entry_pm", entry, "next") >> 48
            value = entry + size_of("entry_pm") + -(-length // 8) * 8
            found[self.key(entry)[0]] = self.cell(value, end)
            before = entry
            entry = (self.get("entry_pm", entry, "next") & ((1 << 40) - 1)) * 16
        assert before == self.get("dict_pm", off, "last")
        assert len(found) == len(in_buckets) == self.get("dict_pm", off, "count")
        assert 2 * buckets <= max(len(found), 2) <= 4 * (buckets + 1)
        return found

    # -- list

    def deque(self, off: int) -> deque[Any]:
        found = self.list(off, CONSTANTS["TAG_DEQUE"])
        bound = self.get("list_pm", off, "bound")
        assert bound == 0 or len(found) < bound
        return deque(found, bound - 1 if bound else None)

    def list(self, off: int, tag: int = CONSTANTS["TAG_LIST"]) -> list[Any]:
        self.object(off, tag, "list_pm")
        root, height = self.get("list_pm", off, "root"), self.get("list_pm", off, "height")
        found = list(self.items(root, height)) if root else []
        assert len(found) == self.get("list_pm", off, "count")
        return found

    def items(self, off: int, height: int) -> Iterator[Any]:
        head = self.number(off)
        if height == 0:
            room, used = head >> 16 & 0xFFFF, head & 0xFFFF
            assert head >> 32 == CONSTANTS["LEAF_MAGIC"]
            self.block(off, 16 + 16 * room)
            for i in range(used):
                yield self.cell(off + field("leaf_pm", "cells") + i * size_of("cell_pm"))
            return
        assert head >> 32 == CONSTANTS["NODE_MAGIC"]
        for i in range(head & 0xFFFFFFFF):
            kid = off + field("node_pm", "kids") + i * size_of("kid_pm")
            below = list(self.items(self.get("kid_pm", kid, "off"), height - 1))
            assert len(below) == self.get("kid_pm", kid, "count")
            yield from below

    # -- array

    def array(self, off: int) -> tuple[str, tuple[int, ...], bytes]:
        """Type, shape and elements."""
        self.object(off, CONSTANTS["TAG_ARRAY"], "array_pm")
        at = off + field("array_pm", "shape")
        ndim, item = self.get("array_pm", off, "ndim"), self.get("array_pm", off, "item")
        axes = [self.number(at + 8 * i) for i in range(CONSTANTS["ARRAY_DIMS"])]
        assert not any(axes[ndim:])
        count = math.prod(axes[:ndim])
        assert self.get("array_pm", off, "count") == count
        block, capacity = self.get("array_pm", off, "block"), self.get("array_pm", off, "capacity")
        start = -(-block // 64) * 64
        assert count * item <= capacity
        if block:
            assert self.block(block, 64) == start - block + capacity
        kind = self.cell(off + field("array_pm", "type"))
        return kind, tuple(axes[:ndim]), self.data[start : start + count * item]

    # -- sorted dict, sorted set

    def sorted(self, off: int, tag: int) -> dict[Any, Any]:
        self.object(off, tag, "sorted_pm")
        root, height = self.get("sorted_pm", off, "root"), self.get("sorted_pm", off, "height")
        order = self.get("sorted_pm", off, "order")
        found = list(self.entries(root, height, order)) if root else []
        assert (len(found), bool(found)) == (self.get("sorted_pm", off, "count"), bool(order))
        images = [self.order_image(entry, order) for entry in found]
        assert images == sorted(set(images))
        ends = [entry + self.block(entry, CONSTANTS["SORTED_ENTRY_MIN"]) for entry in found]
        return {
            self.cell(entry, end): self.cell(self.sorted_parts(entry)[1], end)
            for entry, end in zip(found, ends, strict=True)
        }

    def prefixed(self, entry: int, prefix: int, order: int, common: bytes) -> int:
        image, skip = self.order_image(entry, order), len(common)
        assert image.startswith(common)
        assert prefix == int.from_bytes(image[skip : skip + 8].ljust(8, b"\0"), "big")
        return entry

    def common(self, off: int, head: int) -> bytes:
        length, begin = head >> 16 & 0xFFFF, off + field("sorted_leaf_pm", "bytes")
        assert length <= CONSTANTS["SORTED_COMMON"]
        assert field("sorted_leaf_pm", "bytes") == field("sorted_node_pm", "bytes")
        return bytes(self.data[begin : begin + length])

    def entries(self, off: int, height: int, order: int) -> Iterator[int]:
        head = self.number(off)
        common = self.common(off, head)
        if height == 0:
            assert head >> 32 == CONSTANTS["SORTED_LEAF_MAGIC"]
            self.block(off, 96 + 16 * (head >> 8 & 0xFF))
            places = off + field("sorted_leaf_pm", "order")
            places = self.data[places : places + (head & 0xFF)]
            assert sorted(places) == list(range(head & 0xFF))
            for i in places:
                ref = off + field("sorted_leaf_pm", "refs") + i * size_of("sorted_ref_pm")
                entry = self.get("sorted_ref_pm", ref, "entry")
                yield self.prefixed(entry, self.get("sorted_ref_pm", ref, "prefix"), order, common)
            return
        assert head >> 32 == CONSTANTS["SORTED_NODE_MAGIC"]
        self.block(off, size_of("sorted_node_pm"))
        for i in range(head & 0xFFFF):
            kid = off + field("sorted_node_pm", "kids") + i * size_of("sorted_kid_pm")
            below = list(self.entries(self.get("sorted_kid_pm", kid, "off"), height - 1, order))
            assert len(below) == self.get("sorted_kid_pm", kid, "count")
            assert below[0] == self.get("sorted_kid_pm", kid, "least")
            self.prefixed(below[0], self.get("sorted_kid_pm", kid, "prefix"), order, common)
            yield from below

    def sorted_parts(self, entry: int) -> tuple[bytes, int]:
        """The image that an entry has, if any, and the place of its value."""
        head, length = self.get("cell_pm", entry, "head"), self.get("cell_pm", entry, "len")
        inner = head >> 8 == CONSTANTS["CELL_INNER"]
        after = entry + 8 + (-(-length // 8) * 8 if inner else 8)
        if head & 255 not in (CONSTANTS["TAG_BIGINT"], CONSTANTS["TAG_PACKED"]):
            return b"", after
        length = self.number(after)
        return bytes(self.data[after + 8 : after + 8 + length]), after + 8 + -(-length // 8) * 8

    def order_image(self, entry: int, order: int) -> bytes:
        """The image of an entry's key: stored, or made by the page alone."""
        end = entry + self.block(entry, CONSTANTS["SORTED_ENTRY_MIN"])
        key, (image, value) = self.cell(entry, end), self.sorted_parts(entry)
        assert value + size_of("cell_pm") <= end
        if self.number(entry, 1) not in (CONSTANTS["TAG_BIGINT"], CONSTANTS["TAG_PACKED"]):
            image = (
                images.item_image(key)[1:] if type(key) not in (str, bytes) else images.in_utf8(key)
            )
        kinds = {int: "NUMBER", float: "NUMBER", bool: "NUMBER", str: "STR", bytes: "BYTES"}
        assert order == CONSTANTS["ORDER_" + kinds.get(type(key), "TUPLE")]
        if type(key) is tuple:
            assert image == images.item_image(key)[1:]
        elif type(key) is int:
            assert image == images.number_image(key)
        return image

    def root(self) -> dict[Any, Any]:
        return self.dict(self.get("root_pm", CONSTANTS["ROOT_OFF"], "root"))


# ---- golden pools ----


def golden(name: str) -> bytes:
    return lzma.decompress((COMPAT / f"format1-{name}.pool.xz").read_bytes())


def expected() -> dict[Any, Any]:
    """Return what ``make.py`` had committed when the file was copied."""
    spec = importlib.util.spec_from_file_location("make_golden", COMPAT / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    content: dict[Any, Any] = make.content()
    del content["dict"][99]
    content["redo 1"], content["redo 2"] = 1, 2
    content["list"] = [-i for i in range(make.CELLS)]
    return content


@pytest.mark.parametrize("name", GOLDEN)
def test_dumps_are_bytes_of_the_golden_pools(name: str) -> None:
    data = golden(name)
    blocks = re.findall(rf"```hexdump {name} (\w+) (\d+)\n(.*?)```", PAGE_TEXT, re.DOTALL)
    assert blocks
    for where, length, text in blocks:
        shown = b""
        for line in text.splitlines():
            at, row = int(line[:8], 16), bytes.fromhex(line[10:58])
            assert data[at : at + len(row)] == row, f"{name}, at {at:#x}"
            shown += row
        assert len(shown) == int(length)
        if where.isdecimal():
            assert text.startswith(f"{int(where):08x}")


def test_golden_pools_have_the_frames_that_recovery_has_to_judge() -> None:
    """Direct: all of a put, a transaction, a put and an open transaction.  File: redo alone."""
    undo, commit, redo = (CONSTANTS[f"FRAME_{kind}"] for kind in ("UNDO", "COMMIT", "REDO"))
    assert list(Reader(golden("direct")).chain()) == [redo, undo, undo, commit, redo, undo]
    assert list(Reader(golden("file")).chain()) == [redo, redo, redo]
    modes = [Reader(golden(n)).get("anchor_pm", Reader(golden(n)).anchor, "mode") for n in GOLDEN]
    assert modes == [CONSTANTS["MODE_DIRECT"], CONSTANTS["MODE_FILE"]]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_pool_opens_on_every_medium(name: str, medium: Medium, open_pool: Opener) -> None:
    """Also on the one that did not write it: as after a copy between file systems."""
    path = medium.folder / "golden.pool"
    path.write_bytes(golden(name))
    pool = open_pool(path, "w")
    assert copy.deepcopy(pool.root) == expected()
    assert list(pool.root) == list(expected())
    assert pool.stats().recovered_units > 0
    assert pool.check().problems == ()
    pool.root["new"] = [1]
    pool.close()
    again = open_pool(path, "w")
    assert again.stats().recovered_units == 0
    assert again.root["new"] == [1]


@pytest.mark.parametrize("name", GOLDEN)
def test_reading_alone_recovers_without_writing(
    name: str, medium: Medium, open_pool: Opener
) -> None:
    path = medium.folder / "golden.pool"
    path.write_bytes(golden(name))
    pool = open_pool(path, "r")
    assert copy.deepcopy(pool.root) == expected()
    pool.close()
    assert path.read_bytes() == golden(name)


@pytest.mark.parametrize("name", GOLDEN)
def test_second_reader_finds_what_the_library_finds(
    name: str, medium: Medium, open_pool: Opener
) -> None:
    """In a golden pool after recovery, and after more work on it."""
    path = medium.folder / "golden.pool"
    path.write_bytes(golden(name))
    open_pool(path, "w").close()
    reader = Reader(path.read_bytes())
    assert list(reader.chain()) == []
    found = reader.root()
    assert found == expected()
    assert list(found) == list(expected())

    with open_pool(path, "w") as pool:
        pool.root["dict"].update({f"key {i}": "v" * i for i in range(2000)})
        for i in range(0, 2000, 3):
            del pool.root["dict"][f"key {i}"]
        pool.root["list"][700:900] = ["s" * n for n in range(50)]
        pool.root["copy"] = copy.deepcopy(pool.root["dict"])
        pool.root["set"] = {*range(500), "text", ("tuple", 1), "far" * 500}
        pool.root["set"] -= set(range(0, 500, 7))
        pool.root["deque"] = deque(maxlen=150)
        pool.root["deque"].extend(range(400))
        pool.root["deque"].appendleft({"in a deque"})
        numbers = [*range(-900, 900, 7), 2.5, -0.125, 2**80, -(3**50), True, 1e300, 5e-324]
        pool.root["sorted"] = pmemstore.SortedDict.of({n: f"{n}" * 3 for n in numbers})
        pool.root["sorted"].remove_range(-300, 20)
        pool.root["texts"] = pmemstore.SortedSet.of(["", "a", "a\0", "\ud800", "long" * 400])
        pairs = {("a\0b", 1, None): 1, ("a\0b", 2.5, (b"",)): [2], ("a", -(2**50)): 3, (): 4}
        pool.root["tuples"] = pmemstore.SortedDict.of({("k", key): v for key, v in pairs.items()})
        here = copy.deepcopy(pool.root)
    assert Reader(path.read_bytes()).root() == here


def test_new_pool_is_as_the_page_says(medium: Medium, open_pool: Opener) -> None:
    """Reserves are zero, both superblocks equal, the smallest pool has its documented size."""
    path = medium.folder / "new.pool"
    open_pool(path, "n", size=1, log_size=CONSTANTS["LOG_MIN"]).close()
    data = path.read_bytes()
    assert len(data) == CONSTANTS["POOL_MIN"]
    reader = Reader(data)
    size, page = size_of("super_pm"), CONSTANTS["PAGE"]
    assert data[:size] == data[page : page + size]
    assert not any(data[size:page])
    assert not any(data[CONSTANTS["RESERVED_OFF"] : CONSTANTS["LOG_OFF"]])
    assert reader.get("super_pm", 0, "magic") == CONSTANTS["MAGIC"]
    assert data.startswith(b"PMEMPOOL")
    assert reader.get("super_pm", 0, "header_bytes") == size
    assert reader.get("super_pm", 0, "limit") == CONSTANTS["POOL_MAX"]
    assert list(reader.chain()) == []
    assert reader.root() == {}


def test_copy_of_an_open_pool_is_a_pool(medium: Medium, open_pool: Opener, tmp_path: Path) -> None:
    """What a process leaves that is killed between two operations."""
    pool = open_pool(medium.folder / "live.pool", "n", size="1M")
    pool.root["a"] = [1, {"b": 2}]
    shutil.copyfile(pool.path, tmp_path / "copy.pool")
    with pmemstore.open(tmp_path / "copy.pool", "w") as copied:
        assert copied.root == {"a": [1, {"b": 2}]}
        assert copied.uuid == pool.uuid
        assert copied.check().ok
