"""What of the harness can be tested without a guest."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import guest
import pytest
from blklog import DISCARD, FLUSH, FUA, MAGIC, MARK, CrashState, apply, crash_states, read_log
from machines import MACHINES, NVDIMM_DATA, copy_sparse, fsdax_info

SECTOR = 512


def write_log(path: Path, entries: list[tuple[int, int, bytes]]) -> None:
    """Entries are sector, flags, data; as QEMU writes them."""
    log = struct.pack("<QQQI", MAGIC, 1, len(entries), SECTOR).ljust(SECTOR, b"\0")
    for sector, flags, data in entries:
        head = struct.pack("<QQQQ", sector, len(data) // SECTOR, flags, 0)
        log += head.ljust(SECTOR, b"\0") + (b"" if flags & (DISCARD | MARK) else data)
    path.write_bytes(log)


def test_missing_programs_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "PROGRAMS", {"no-such-program": "some-package", "sh": "dash"})
    assert guest.missing_packages() == ["some-package"]
    with pytest.raises(guest.GuestError, match="apt-get install some-package"):
        guest.require_programs()


def test_names_of_disks_are_unique_within_a_machine_and_fit_its_controllers() -> None:
    for machine in MACHINES.values():
        names = [disk.name for disk in machine.disks]
        assert len(set(names)) == len(names)
        assert len({disk.uuid for disk in machine.disks}) == len(names)
        assert sum(disk.device == "nvdimm" for disk in machine.disks) <= 8


def test_info_block_of_an_nvdimm_adds_up() -> None:
    block = fsdax_info(256 << 20)
    low = high = 0
    for (word,) in struct.iter_unpack("<I", block[:0xFF8] + bytes(8)):
        low = (low + word) % (1 << 32)
        high = (high + low) % (1 << 64)
    assert struct.unpack_from("<Q", block, 0xFF8) == (((high << 32) | low) % (1 << 64),)
    assert block.startswith(b"NVDIMM_PFN_INFO\0")


def test_sparse_copy_keeps_data_and_what_is_around_it(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
        file.truncate(3 << 20)
    target.write_bytes(b"x" * NVDIMM_DATA + bytes(3 << 20))
    copy_sparse(source, target, NVDIMM_DATA)
    assert target.read_bytes() == b"x" * NVDIMM_DATA + source.read_bytes()


def test_log_is_read_and_replayed(tmp_path: Path) -> None:
    a, b = b"a" * SECTOR, b"b" * 2 * SECTOR
    write_log(tmp_path / "log", [(1, 0, a), (0, FLUSH, b""), (0, FUA, b), (1, DISCARD, a)])
    entries = read_log(tmp_path / "log")
    assert [(e.offset, e.length, e.is_barrier) for e in entries] == [
        *[(SECTOR, SECTOR, False), (0, 0, True), (0, 2 * SECTOR, True), (SECTOR, SECTOR, False)]
    ]
    image = tmp_path / "image"
    image.write_bytes(bytes(4 * SECTOR))
    apply(image, entries[:2])
    assert image.read_bytes() == bytes(SECTOR) + a + bytes(2 * SECTOR)
    apply(image, entries[2:])
    assert image.read_bytes() == b[:SECTOR] + bytes(3 * SECTOR)


def test_crash_leaves_all_that_was_flushed_and_some_of_the_rest(tmp_path: Path) -> None:
    a = b"a" * SECTOR
    write_log(tmp_path / "log", [(0, 0, a), (0, FLUSH, b""), (1, 0, a), (2, 0, a), (0, FLUSH, b"")])
    entries = read_log(tmp_path / "log")
    states = list(crash_states(entries, 0, 9, 20, random.Random(1)))
    assert states[0] == CrashState(1, 2, ())
    assert states[-1] == CrashState(4, 5, ())
    parts = {state.extra for state in states[1:-1]}
    assert parts == {(), (2,), (3,), (2, 3)}
    assert all(state.boundary == 1 and state.seen == 4 for state in states[1:-1])
