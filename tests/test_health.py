"""Health: what the kernel tells of a pool's medium, what the pool remembers, what is unknown."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pmemstore
from pmemstore import DurabilityError, Health, HealthWarning
from pmemstore.health import BadRange, Part, bad_ranges
from pmemstore.host import (
    Extent,
    device_of,
    extents,
    may_count_shutdowns,
    mounts,
    shutdown_count,
    sysfs,
)

if TYPE_CHECKING:
    from conftest import Host, Medium, Opener

Maker = Callable[[str], "Host"]


# ---- sysfs


def test_device_behind_a_dax_file_system_is_found(host: Maker) -> None:
    """Block device, namespace, region and modules, as a guest with an NVDIMM had them."""
    here = host("nvdimm-eadr")
    device = device_of(here.number)
    assert (device.name, device.kind, device.dax) == ("pmem0", "pmem", True)
    assert (device.mode, device.namespace, device.align) == ("fsdax", "namespace0.0", 2 << 20)
    assert (device.region, device.provider) == ("region0", "ACPI.NFIT")
    assert device.persistence_domain == "cpu_cache"
    assert device.badblocks == ()
    assert [(d.name, d.id, d.flags) for d in device.dimms or ()] == [("nmem0", "8680-56341200", ())]
    assert shutdown_count(device) is None
    assert "nmem0" in device.unknown["unsafe_shutdowns"]


@pytest.mark.parametrize(
    ("name", "kind", "dax"), [("virtio-pmem", "virtio-pmem", True), ("disk", "disk", False)]
)
def test_other_devices_have_no_domain_and_no_counter(
    host: Maker, name: str, kind: str, dax: bool
) -> None:
    device = device_of(host(name).number)
    assert (device.kind, device.dax) == (kind, dax)
    assert device.persistence_domain is None
    assert {"persistence_domain", "unsafe_shutdowns"} <= device.unknown.keys()


def test_no_block_device_leaves_everything_unknown(host: Maker) -> None:
    host("disk")
    device = device_of(os.makedev(0, 77))
    assert device.kind == "none"
    assert "0:77" in device.unknown["badblocks"]


@pytest.mark.parametrize("family", ["nfit", "cxl", "papr"])
def test_counters_are_summed_and_the_modules_named(host: Maker, family: str) -> None:
    here = host("nvdimm")
    shutil.rmtree(here.find("devices/**/nmem0/nfit"))
    here.write("devices/**/nmem0", f"{family}/id", "cdab-0001\n")
    here.write("devices/**/nmem0", f"{family}/flags", "not_armed smart_event\n")
    here.write("devices/**/nmem0", f"{family}/dirty_shutdown", "41\n")
    device = device_of(here.number)
    counted = shutdown_count(device)
    assert counted is not None
    assert counted[1] == 41
    assert device.dimms is not None
    assert device.dimms[0].flags == ("not_armed", "smart_event")
    here.write("devices/**/nmem0", f"{family}/id", "cdab-0002\n")
    other = shutdown_count(device_of(here.number))
    assert other is not None
    assert other[0] != counted[0]


def test_partition_has_the_bad_blocks_of_its_own_part(host: Maker) -> None:
    """Sysfs counts them from the start of the whole device, in sectors of 512 bytes."""
    here = host("nvdimm")
    whole = here.find("devices/**/pmem0")
    (whole / "badblocks").write_text("8 8\n4096 1\n9999 1\n")
    part = whole / "pmem0p1"
    part.mkdir()
    for name, text in {"start": "4096", "size": "100", "partition": "1", "dev": "259:9"}.items():
        (part / name).write_text(text + "\n")
    (here.root / "dev/block/259:9").symlink_to(part)
    device = device_of(os.makedev(259, 9))
    assert (device.name, device.start, device.size) == ("pmem0p1", 4096 * 512, 100 * 512)
    assert device.badblocks == ((0, 512),)
    assert device.persistence_domain is None
    assert device_of(here.number).badblocks == ((4096, 4096), (4096 * 512, 512), (9999 * 512, 512))


def test_mapper_device_is_what_its_parts_are_and_its_bad_blocks_unknown(host: Maker) -> None:
    here = host("nvdimm-eadr")
    folder = here.root / "devices/virtual/block/dm-0"
    (folder / "dm").mkdir(parents=True)
    (folder / "slaves").mkdir()
    (folder / "slaves/pmem0").symlink_to(here.find("devices/**/pmem0"))
    (folder / "dev").write_text("253:0\n")
    (here.root / "dev/block/253:0").symlink_to(folder)
    device = device_of(os.makedev(253, 0))
    assert (device.kind, device.below, device.region) == ("mapper", ("pmem0",), "region0")
    assert device.persistence_domain == "cpu_cache"
    assert device.badblocks is None
    assert "pmem0" in device.unknown["badblocks"]


def test_plain_devices_are_told_by_their_driver_alone(
    host: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Character devices have numbers of their own."""
    listed = "Character devices:\n  8 sd\n254 virtblk\n\nBlock devices:\n  7 loop\n254 virtblk\n"
    plain = sysfs._plain_majors(f"{listed}253 device-mapper\n259 blkext\n".splitlines())
    assert plain == {0, 254}
    assert sysfs._plain_majors([]) == {0}
    number = host("nvdimm").number
    assert may_count_shutdowns(number)
    monkeypatch.setattr(sysfs, "PLAIN_MAJORS", plain)
    assert may_count_shutdowns(number)
    monkeypatch.setattr(sysfs, "PLAIN_MAJORS", plain | {os.major(number)})
    assert not may_count_shutdowns(number)


# ---- bad blocks


def test_bad_blocks_are_mapped_through_the_extents_to_parts_of_the_pool() -> None:
    found = [
        Extent(0, 1 << 20, 8192, frozenset()),
        Extent(8192, 4 << 20, 8192, frozenset({"unwritten"})),
    ]
    parts = [Part(0, 4096, "superblock 0"), Part(4096, 4096, "superblock 1"), Part(8192, 8192, "x")]
    bad = [((1 << 20) + 4000, 200), (5 << 20, 512), ((4 << 20) + 8192 - 512, 1024)]
    assert bad_ranges(found, bad, parts) == (
        BadRange(4000, 96, "superblock 0"),
        BadRange(4096, 104, "superblock 1"),
        BadRange(16384 - 512, 512, "x"),
    )


def test_bad_block_of_a_pool_is_a_problem_with_its_place(
    host: Maker, file_medium: Medium, open_pool: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of the root: found through FIEMAP, where the file system of the test has it."""
    here = host("nvdimm")
    pool = open_pool(file_medium.folder / "bad.pool", "n", size="1M")
    here.also(os.stat(pool.path).st_dev)
    with Path(pool.path).open("rb") as file:
        os.fsync(file.fileno())
        found = extents(file.fileno(), 0, 1 << 20)
    mount = mounts.mount_of(pool.path)
    if not found or mount is None or mount.fs not in ("ext4", "xfs"):
        pytest.skip("the file system does not say where the file lies")
    (extent,) = (e for e in found if e.logical <= 16384 < e.logical + e.length)
    sector = (extent.physical + 16384 - extent.logical) // 512
    here.write("devices/**/pmem0", "badblocks", f"{sector} 1\n")
    here.write("devices/**/pmem0", "size", f"{1 << 40}\n")
    health = pool.health()
    assert health.bad_ranges == (BadRange(16384, 512, "root page"),)
    assert not health.ok
    assert "root page" in health.problems[0]
    # a file system that does not tell places on the device
    table = f"1 0 0:1 / / rw - btrfs {mount.source} rw\n"
    (here.root / "mountinfo").write_text(table)
    monkeypatch.setattr(mounts, "MOUNTINFO", here.root / "mountinfo")
    unsure = pool.health()
    assert unsure.bad_ranges is None
    assert unsure.ok
    assert any("512 bad bytes" in text for text in unsure.unknown)


# ---- unsafe shutdowns


@pytest.fixture
def modules(host: Maker, medium: Medium) -> Host:
    """Memory modules under the medium's folder."""
    here = host("nvdimm")
    here.also(os.stat(medium.folder).st_dev)
    return here


@pytest.fixture
def counter(modules: Host) -> Callable[[int | None], None]:
    """Set the counter of the memory modules; at first it is 7."""

    def turn(count: int | None) -> None:
        if count is None:
            (modules.find("devices/**/nmem0") / "nfit/dirty_shutdown").unlink()
        else:
            modules.write("devices/**/nmem0", "nfit/dirty_shutdown", f"{count}\n")

    turn(7)
    return turn


Turn = Callable[[int | None], None]


def crash(path: Path) -> None:
    """Leave the pool as a process that was killed leaves it."""
    with pmemstore.open(path) as pool:
        pool.root["n"] = pool.root.get("n", 0) + 1
        shutil.copyfile(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def quiet_health(path: Path, flag: str = "w") -> Health:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pmemstore.open(path, flag) as pool:
            return pool.health()


def test_unsafe_shutdown_of_a_pool_in_use_is_a_warning_and_a_problem(
    medium: Medium, counter: Turn, open_pool: Opener
) -> None:
    path = medium.folder / "a.pool"
    crash(path)
    counter(9)
    with pytest.warns(HealthWarning, match=r"2 unsafe shutdown.*counter 7, now 9"):
        pool = open_pool(path)
    health = pool.health()
    assert not health.ok
    assert (health.unsafe_shutdowns, health.unsafe_shutdowns_met) == (9, 2)
    assert "check()" in health.problems[0]
    assert pool.root["n"] == 1
    pool.close()
    # met, and not forgotten, but no news any more
    again = quiet_health(path)
    assert again.ok
    assert again.unsafe_shutdowns_met == 0
    assert any("2 unsafe shutdown" in text for text in again.notes)


def test_shutdown_without_a_power_loss_is_none(medium: Medium, counter: Turn) -> None:
    """After kill -9 the counter stands where it was."""
    path = medium.folder / "a.pool"
    crash(path)
    assert quiet_health(path).unsafe_shutdowns_met == 0


def test_unsafe_shutdown_of_a_closed_pool_does_it_no_harm(medium: Medium, counter: Turn) -> None:
    path = medium.folder / "a.pool"
    assert quiet_health(path, "n").unsafe_shutdowns == 7
    counter(8)
    health = quiet_health(path)
    assert (health.unsafe_shutdowns, health.unsafe_shutdowns_met) == (8, 0)
    assert health.ok


def test_reader_warns_and_leaves_the_news_for_the_next_writer(
    medium: Medium, counter: Turn
) -> None:
    path = medium.folder / "a.pool"
    crash(path)
    counter(8)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.warns(HealthWarning):
            pmemstore.open(path, "r").close()
    assert path.read_bytes() == before
    with pytest.warns(HealthWarning):
        pmemstore.open(path, "w").close()


def test_pool_can_be_refused_and_is_not_changed_then(medium: Medium, counter: Turn) -> None:
    path = medium.folder / "a.pool"
    crash(path)
    counter(8)
    before = path.read_bytes()
    for flag in "rwc":
        with pytest.raises(DurabilityError, match="counter 7, now 8") as caught:
            pmemstore.open(path, flag, refuse_unsafe_shutdown=True)
        assert (caught.value.wanted, caught.value.found) == (7, 8)
    assert path.read_bytes() == before
    with pytest.warns(HealthWarning):
        pmemstore.open(path).close()
    pmemstore.open(path, refuse_unsafe_shutdown=True).close()


def test_warning_made_an_error_leaves_the_pool_closed(medium: Medium, counter: Turn) -> None:
    path = medium.folder / "a.pool"
    crash(path)
    counter(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", HealthWarning)
        with pytest.raises(HealthWarning):
            pmemstore.open(path)
    pmemstore.open(path).close()  # nobody holds it


def test_counter_that_goes_backwards_is_not_taken_for_well(medium: Medium, counter: Turn) -> None:
    path = medium.folder / "a.pool"
    crash(path)
    counter(3)
    with pytest.warns(HealthWarning, match="counter 7, now 3"):
        pmemstore.open(path).close()


def test_session_without_a_readable_counter_is_not_forgotten(medium: Medium, counter: Turn) -> None:
    """The old count stays, and the session counts as use."""
    path = medium.folder / "a.pool"
    quiet_health(path, "n")
    counter(None)
    crash(path)
    health = quiet_health(path, "r")
    assert health.unsafe_shutdowns is None
    assert any("dirty_shutdown" in text for text in health.unknown)
    counter(8)
    with pytest.warns(HealthWarning):
        pmemstore.open(path).close()


def test_pool_on_other_modules_starts_anew_and_says_so(
    modules: Host, medium: Medium, counter: Turn
) -> None:
    """As after a copy to another machine: its counter is no news."""
    path = medium.folder / "a.pool"
    crash(path)
    modules.write("devices/**/nmem0", "nfit/id", "another\n")
    counter(100)
    health = quiet_health(path)
    assert health.unsafe_shutdowns == 100
    assert health.unsafe_shutdowns_met is None
    assert any("not been opened for writing on these modules" in text for text in health.unknown)
    assert quiet_health(path).unsafe_shutdowns_met == 0


def test_modules_that_complain_are_a_problem(
    modules: Host, medium: Medium, open_pool: Opener
) -> None:
    pool = open_pool(medium.folder / "a.pool")
    modules.write("devices/**/nmem0", "nfit/flags", "flush_fail not_armed smart_event\n")
    problems = pool.health().problems
    assert len(problems) == 2
    assert "not_armed" in problems[1]


def test_what_cannot_be_read_is_said(medium: Medium, open_pool: Opener, host: Maker) -> None:
    """Nothing is known of tmpfs, and nothing is claimed."""
    host("disk")
    pool = open_pool(medium.folder / "a.pool")
    health = pool.health()
    assert health.ok
    assert health.persistence_domain is health.unsafe_shutdowns is health.bad_ranges is None
    assert [text.split(":")[0] for text in health.unknown] == [
        "persistence_domain",
        "unsafe shutdowns",
        "bad blocks",
    ]
    assert str(health).count("unknown: ") == 3
    pool.close()
    with pytest.raises(pmemstore.PoolClosedError):
        pool.health()
