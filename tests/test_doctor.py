"""The doctor: facts of recorded machines, and what it advises on them.

The recordings in tests/hosts/ are of a guest with real DAX, one for each file system and setting;
what no guest has (old kernels, RAID, e820) is a recording with some facts replaced.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pmemstore import doctor, host
from pmemstore.cli import main
from pmemstore.doctor import RULES, Facts, Report, judge
from pmemstore.doctor import facts as facts_module
from pmemstore.host import mounts

if TYPE_CHECKING:
    from conftest import Medium

HOSTS = Path(__file__).parent / "hosts"
RECORDED = sorted(path.name.split(".")[0] for path in HOSTS.glob("*.facts.json"))


def recorded(name: str, **changes: Any) -> Facts:
    """Return recorded facts; changes named device_X are made to the device."""
    facts = Facts.from_json(json.loads((HOSTS / f"{name}.facts.json").read_text()))
    on_device = {k.removeprefix("device_"): changes.pop(k) for k in list(changes) if "device_" in k}
    device = dataclasses.replace(facts.device, **on_device)
    return dataclasses.replace(facts, device=device, **changes)


def codes(report: Report, kind: str | None = None) -> list[str]:
    return [advice.code for advice in report.advice if kind in (None, advice.kind)]


# ---- the table, on facts

REFUSED: dict[str, Any] = {"map_sync": "EOPNOTSUPP", "dax": False, "tier": "sync"}

#: Recording, changes, what is advised to raise the tier, and a command or sentence of it.
TIER: list[tuple[str, dict[str, Any], list[str], str]] = [
    ("ext4-dax", {}, [], ""),
    ("xfs-dax", {}, [], ""),
    ("ext4-inode", {}, [], ""),
    ("xfs-inode-flagged", {}, [], ""),
    ("ext4-eadr-no-clwb", {}, [], ""),
    ("ext4-disk", {}, [], ""),
    ("tmpfs", {}, ["memory-file-system"], "mount -o dax=always /dev/pmem0 /mnt/pmem"),
    ("overlay", {}, ["overlay"], "mount --bind /mnt/pmem/pools /tmp"),
    ("9p", {}, ["network-file-system"], "findmnt"),
    ("9p", {"fs": "nfs4"}, ["network-file-system"], "another machine"),
    ("9p", {"fs": "cifs"}, ["network-file-system"], "another machine"),
    ("9p", {"fs": "fuse.sshfs"}, ["fuse"], "user space"),
    ("9p", {"fs": "virtiofs"}, ["virtiofs"], "-device nvdimm"),
    ("btrfs", {}, ["btrfs-no-dax"], "ndctl create-namespace --mode=fsdax"),
    ("ext4-disk", {"fs": "zfs"}, ["file-system-without-dax"], "zfs has no DAX"),
    ("ext4-disk", {"fs": "ext3"}, ["ext2-no-map-sync"], "tune2fs -O extents,has_journal /dev/vda"),
    ("virtio-pmem", {}, ["virtio-pmem"], "-device nvdimm"),
    ("ext4-small-blocks", {}, ["block-size"], "mkfs.ext4 -b 4096 /dev/pmem0"),
    (
        "xfs-dax",
        {**REFUSED, "block_size": 1024},
        ["block-size"],
        "mkfs.xfs -f -b size=4096 /dev/pmem1",
    ),
    (
        "xfs-dax",
        {**REFUSED, "page_size": 65536, "machine": "aarch64"},
        ["block-size"],
        "mkfs.xfs -f -b size=65536 /dev/pmem1",
    ),
    ("ext4-never", {}, ["mount-dax-never"], "mount -o dax=always /dev/pmem0 /mnt/dax-ext4"),
    ("xfs-never", {}, ["mount-dax-never"], "mount -o dax=always /dev/pmem1 /mnt/dax-xfs"),
    (
        "ext4-inode-file",
        {},
        ["file-without-dax-flag"],
        "xfs_io -c 'chattr +x' /mnt/dax-ext4/plain",
    ),
    ("xfs-inode-file", {}, ["file-without-dax-flag"], "xfs_io -c 'chattr +x' /mnt/dax-xfs/plain"),
    ("ext4-flag-no-effect", {}, ["dax-flag-without-effect"], "fuser --verbose"),
    ("xfs-flag-no-effect", {}, ["dax-flag-without-effect"], "drop_caches"),
    ("xfs-shared", {}, ["shared-blocks"], "xfs_io -c 'unshare 0 1048576' -c fsync"),
    (
        "ext4-inode-file",
        {"kernel": "5.4.0-generic", "mount_options": ("rw",)},
        ["kernel-without-dax-flag"],
        "mount -o dax /dev/pmem0 /mnt/dax-ext4",
    ),
    (
        "ext4-dax",
        {"kernel": "4.14.1", "map_sync": "EINVAL", "tier": "dax-fsync"},
        ["kernel-without-map-sync", "dax-without-map-sync"],
        "4.15",
    ),
    (
        "xfs-inode-file",
        {"kernel": "5.15.0", "xflags": ("dax",)},
        ["dax-flag-without-effect", "reflink-old-kernel"],
        "mkfs.xfs -f -m reflink=0 /dev/pmem1",
    ),
    (
        "xfs-inode-file",
        {"device_start": 4 << 20, "xflags": ("dax",)},
        ["dax-flag-without-effect", "reflink-partition"],
        "mkfs.xfs -f -m reflink=0",
    ),
    ("ext4-dax", {**REFUSED, "device_start": 31744}, ["partition-not-aligned"], "parted"),
    (
        "ext4-inode-file",
        {"mount_options": ("rw", "data=journal")},
        ["data-journal"],
        "mount -o data=ordered,dax=always",
    ),
    ("ext4-inode-file", {"flags": ("encrypt",)}, ["file-encrypted"], "cp --reflink=never"),
    ("ext4-inode-file", {"attributes": ("verity",)}, ["file-encrypted"], "cp --reflink=never"),
    ("ext4-inode-file", {"flags": ("inline-data",)}, ["file-inline"], "-O ^inline_data"),
    (
        "ext4-dax",
        {**REFUSED, "device_dax": False, "device_mode": "raw"},
        ["namespace-raw"],
        "ndctl create-namespace --force --reconfig=namespace0.0 --mode=fsdax",
    ),
    (
        "ext4-dax",
        {**REFUSED, "device_dax": False, "device_mode": "sector"},
        ["namespace-sector"],
        "ndctl create-namespace --force --reconfig=namespace0.0 --mode=fsdax",
    ),
    (
        "ext4-disk",
        {"device_kind": "mapper", "device_name": "dm-0", "device_below": ("pmem0",)},
        ["mapper-without-dax"],
        "dmsetup table /dev/dm-0",
    ),
    (
        "ext4-disk",
        {"device_kind": "md", "device_name": "md0", "device_below": ("pmem0", "pmem1")},
        ["raid-without-dax"],
        "pmem0, pmem1",
    ),
    ("ext4-disk", {"device_kind": "loop", "device_name": "loop0"}, ["loop-device"], "losetup"),
]

#: Recording, changes, kind, one code of that kind, and a command or sentence of it.
OTHER: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("xfs-dax", {}, "risk", "reflink-possible", "reflink=0"),
    ("xfs-shared-mapped", {}, "risk", "shared-blocks-mapped", "unshare 0 1048576"),
    ("xfs-dax", {}, "speed", "huge-pages-xfs", "-d su=2m,sw=1"),
    ("ext4-dax", {"huge": False}, "speed", "huge-pages-ext4", "-E stride=512,stripe_width=512"),
    ("ext4-dax", {"device_align": 4096}, "speed", "huge-pages-namespace", "--align=2M"),
    ("ext4-dax", {"device_start": 4096}, "speed", "huge-pages-partition", "2MiB"),
    ("ext4-dax", {}, "risk", "persistence-domain-unknown", "ADR"),
    (
        "ext4-dax",
        {"device_persistence_domain": "memory_controller"},
        "note",
        "eadr-absent",
        "/sys/bus/nd/devices/region0/persistence_domain",
    ),
    ("ext4-dax", {"device_provider": "e820"}, "risk", "emulated-memory", "DRAM"),
    ("ext4-dax", {}, "note", "shutdowns-not-counted", "--health"),
    ("ext4-dax", {"device_read_only": True}, "risk", "read-only-memory", "blockdev --setrw"),
    (
        "ext4-dax",
        {"device_badblocks": ((512, 1024),)},
        "risk",
        "bad-blocks",
        "ndctl clear-errors namespace0.0",
    ),
    (
        "ext4-dax",
        {"device_dimms": (host.Dimm("nmem0", flags=("not_armed",)),)},
        "risk",
        "modules-complain",
        "nmem0 (not_armed)",
    ),
    ("ext4-eadr-no-clwb", {}, "speed", "cpu-without-clwb", "-cpu host"),
    ("ext4-dax", {"cpu": ("clflush",)}, "speed", "cpu-without-clflushopt", "-cpu host"),
    ("ext4-dax", {"machine": "aarch64", "cpu": ()}, "risk", "cpu-without-dcpop", "Features"),
    ("ext4-dax", {"kernel": "5.10.0"}, "speed", "kernel-without-populate", "5.14"),
    ("ext4-inode", {}, "note", "folder-without-dax-flag", "xfs_io -c 'chattr +x' /mnt/dax-ext4"),
    ("ext4-inode-flagged", {}, "note", "folder-with-dax-flag", "lsattr"),
    ("btrfs", {"flags": ()}, "speed", "btrfs-copy-on-write", "chattr +C /mnt/btrfs"),
    ("btrfs-compressed", {"flags": ()}, "speed", "btrfs-compression", "compression none"),
    ("btrfs", {"btrfs_data": "raid1"}, "note", "btrfs-raid", "raid1"),
    ("ext4-disk", {}, "note", "disk", "ndctl list"),
    ("ext4-disk", {"mount_options": ("rw", "barrier=0")}, "risk", "barriers-off", "barrier=1"),
    ("ext4-disk", {"mount_options": ("ro",)}, "note", "mounted-read-only", "remount,rw /mnt/disk"),
    ("ext4-disk", {"forced": "flush"}, "note", "tier-forced", "unset PMEMSTORE_FORCE_TIER"),
    ("9p", {}, "note", "no-probe", "findmnt --target /mnt/job"),
]


def says(report: Report, code: str, text: str) -> bool:
    return any(
        text in line
        for advice in report.advice
        if advice.code == code
        for line in (advice.text, *advice.commands)
    )


@pytest.mark.parametrize(("name", "changes", "wanted", "text"), TIER)
def test_what_raises_the_tier_is_advised_and_nothing_else(
    name: str, changes: dict[str, Any], wanted: list[str], text: str
) -> None:
    report = judge(recorded(name, **changes))
    assert codes(report, "tier") == wanted
    assert not wanted or any(says(report, code, text) for code in wanted)


@pytest.mark.parametrize(("name", "changes", "kind", "code", "text"), OTHER)
def test_costs_risks_and_notes_are_told(
    name: str, changes: dict[str, Any], kind: str, code: str, text: str
) -> None:
    report = judge(recorded(name, **changes))
    assert code in codes(report, kind)
    assert says(report, code, text)


def test_every_rule_has_a_case() -> None:
    cased = {code for case in TIER for code in case[2]} | {case[3] for case in OTHER}
    assert cased == {rule.code for rule in RULES}


def test_rules_are_well_formed() -> None:
    """Stable names, sentences, and commands unless there is nothing to run."""
    for rule in RULES:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.code)
        assert rule.kind in ("tier", "speed", "risk", "note")
        assert rule.text.endswith((".", ":"))
        assert rule.commands
        assert (rule.gives is not None) == (rule.kind == "tier") or rule.code == "eadr-absent"


def test_what_erases_a_file_system_says_so() -> None:
    for rule in RULES:
        if any(word in c for c in rule.commands for word in ("mkfs", "--reconfig", "mkpart")):
            erases = "erases" in rule.text
            new = "mkfs.ext4 -b {page_size} /dev/pmem0" in rule.commands  # of a new namespace
            assert erases or new, rule.code


@pytest.mark.parametrize("name", RECORDED)
def test_report_reads_and_parses(name: str) -> None:
    """Text has all of the advice; JSON gives back the facts, and the same judgement."""
    report = judge(recorded(name))
    text = str(report)
    for advice in report.advice:
        assert f"[{advice.code}]" in text
        assert all(command in text for command in advice.commands)
    again = json.loads(json.dumps(report.as_json()))
    assert judge(Facts.from_json(again["facts"])) == report
    assert [advice["code"] for advice in again["advice"]] == codes(report)


def test_paths_with_odd_characters_are_quoted() -> None:
    report = judge(recorded("ext4-inode-file", path="/mnt/a {b}; rm -rf $HOME/x"))
    assert says(report, "file-without-dax-flag", "'chattr +x' '/mnt/a {b}; rm -rf $HOME/x'")


# ---- facts


def test_directory_is_asked_by_a_file_that_is_gone_afterwards(medium: Medium) -> None:
    """It says what a pool here would get, and the tier is the true one, forced or not."""
    report = doctor.examine(str(medium.folder))
    assert report.facts.probed == "temporary file"
    assert list(medium.folder.iterdir()) == []
    assert report.facts.tier in ("flush", "eadr", "dax-fsync", "sync", "volatile")
    assert report.facts.forced == os.environ.get("PMEMSTORE_FORCE_TIER")


def test_file_is_asked_itself_and_not_changed(file_medium: Medium) -> None:
    path = file_medium.folder / "text"
    path.write_text("hello")
    before = path.stat()
    report = doctor.examine(str(path))
    after = path.stat()
    assert report.facts.probed == "file"
    assert report.facts.size == 5
    assert report.facts.tier is not None
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert path.read_text() == "hello"


def test_empty_file_has_no_tier_yet(file_medium: Medium) -> None:
    path = file_medium.folder / "empty"
    path.touch()
    facts = doctor.collect(str(path))
    assert facts.tier is None
    assert "empty" in facts.unknown["tier"]


def test_directory_that_cannot_be_written_to_says_so(
    file_medium: Medium, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(facts_module.Mapping, "open", refuse)
    report = doctor.examine(str(file_medium.folder))
    assert report.facts.tier is None
    assert "no-probe" in codes(report)
    assert "cannot be written to" in str(report)


def test_what_is_no_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "/dev/null"]) == 2
    assert "neither a file nor a directory" in capsys.readouterr().err
    assert main(["doctor", "/no/such/place"]) == 2
    assert "/no/such/place" in capsys.readouterr().err


def test_command_speaks_text_and_json(medium: Medium, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(medium.folder)]) == 0
    assert capsys.readouterr().out.startswith(f"{medium.folder}: tier ")
    assert main(["doctor", str(medium.folder), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["tier"] == data["facts"]["tier"]
    assert all({"code", "kind", "gives", "text", "commands"} == set(a) for a in data["advice"])


def test_mount_is_the_deepest_and_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/self/mountinfo has them: spaces in octal, one mount over another."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
        f"21 20 259:0 / {tmp_path}/a\\040b rw - xfs /dev/pmem0 rw,dax=inode\n"
        f"22 20 259:0 / {tmp_path}/a\\040b ro - xfs /dev/pmem1 rw,dax=always\n"
        f"23 20 0:5 / {tmp_path}/a rw - tmpfs tmpfs rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTINFO", table)
    inside = mounts.mount_of(f"{tmp_path}/a b/c")
    assert inside == mounts.Mount(
        "xfs", f"{tmp_path}/a b", "/dev/pmem1", ("ro", "rw", "dax=always")
    )
    beside = mounts.mount_of(f"{tmp_path}/ab")
    assert beside is not None
    assert beside.fs == "ext4"


@pytest.mark.parametrize(
    ("runs", "aligned"),
    [
        ([(0, 4 << 20, 4 << 20)], True),
        ([(0, (4 << 20) + 4096, 4 << 20)], False),
        ([(0, 4 << 20, 1 << 20), (1 << 20, 5 << 20, 3 << 20)], False),
        ([(0, 4 << 20, 2 << 20), (2 << 20, 16 << 20, 2 << 20)], True),
        ([(0, 4096, 1 << 20)], None),
        ([], None),
    ],
)
def test_alignment_for_huge_pages(runs: list[tuple[int, int, int]], aligned: bool | None) -> None:
    found = [host.Extent(*run, frozenset()) for run in runs]
    assert facts_module._is_huge(found) is aligned


@pytest.mark.parametrize(
    ("option", "name"),
    [("dax", "always"), ("dax=always", "always"), ("dax=inode", "inode"), ("dax=never", "never")],
)
def test_dax_option_of_a_mount(option: str, name: str) -> None:
    assert recorded("ext4-disk", mount_options=("rw", option)).dax_option == name
    assert recorded("ext4-disk", mount_options=("rw",)).dax_option == "none"


def test_every_rule_is_documented_with_its_kind() -> None:
    page = (HOSTS.parents[1] / "docs" / "doctor.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", page, re.MULTILINE)
    assert dict(rows) == {rule.code: rule.kind for rule in RULES}
    assert len(rows) == len(dict(rows))
