"""Rules about the device below."""

from __future__ import annotations

from typing import Final

from pmemstore.doctor.rules.rule import Rule, granted

DEVICES: Final = (
    Rule(
        "namespace-raw",
        "tier",
        lambda f: f.device.kind == "pmem" and f.device.dax is False and f.device.mode == "raw",
        "{disk} is a namespace in raw mode: its memory has no pages, so no file of it can be DAX. "
        "Making it fsdax erases it; save its files first.",
        (
            "umount {mount}",
            "ndctl create-namespace --force --reconfig={namespace} --mode=fsdax",
            "mkfs.ext4 -b {page_size} {source}",
            "mount -o dax=always {source} {mount}",
        ),
        "flush",
    ),
    Rule(
        "namespace-sector",
        "tier",
        lambda f: f.device.kind == "pmem" and f.device.dax is False and f.device.mode == "sector",
        "{disk} is a namespace in sector mode (BTT): it makes sectors atomic and has no DAX. "
        "Making it fsdax erases it; save its files first.",
        (
            "umount {mount}",
            "ndctl create-namespace --force --reconfig={namespace} --mode=fsdax",
            "mkfs.ext4 -b {page_size} /dev/pmem0",
            "mount -o dax=always /dev/pmem0 {mount}",
        ),
        "flush",
    ),
    Rule(
        "mapper-without-dax",
        "tier",
        lambda f: f.device.kind == "mapper" and f.device.dax is False,
        "{disk} is a device mapper over {below}, of a kind that has no DAX (encryption, mirrors, "
        "snapshots, caches). Of persistent memory only linear and striped maps keep it.",
        ("dmsetup table {disk}", "lvcreate --type linear --extents 100%FREE --name NAME GROUP"),
        "flush",
    ),
    Rule(
        "raid-without-dax",
        "tier",
        lambda f: f.device.kind == "md" and f.device.dax is False,
        "{disk} is a software RAID over {below}: mirrors and parities are written by the CPU, so "
        "no store can be direct. Use one device, or linear or striped volumes of LVM.",
        ("mdadm --detail {disk}",),
        "flush",
    ),
    Rule(
        "loop-device",
        "tier",
        lambda f: f.device.kind == "loop",
        "{disk} is a file of another file system: it has no DAX, and two caches. Put the file "
        "there directly.",
        ("losetup --list {disk}",),
        "flush",
    ),
    Rule(
        "disk",
        "note",
        lambda f: f.device.kind == "disk" and f.device.dax is not True,
        "{disk} is no persistent memory: a commit is one synchronous write, and nothing makes "
        "this device do more. If the machine has persistent memory, it is listed by:",
        ("ndctl list --regions --namespaces", "ls /dev/pmem*"),
    ),
    Rule(
        "virtio-pmem",
        "tier",
        lambda f: f.device.kind == "virtio-pmem" and not granted(f),
        "virtio-pmem is the host's page cache: a flush ends there, so the kernel grants no "
        "MAP_SYNC. Let the hypervisor give the guest an NVDIMM, of memory that is persistent "
        "itself.",
        (
            "qemu-system-x86_64 -M q35,nvdimm=on -m 4G,slots=2,maxmem=20G -object "
            "memory-backend-file,id=nv0,share=on,pmem=on,mem-path=/mnt/pmem/guest.img,size=16G "
            "-device nvdimm,id=nvdimm0,memdev=nv0",
        ),
        "flush",
    ),
    Rule(
        "partition-not-aligned",
        "tier",
        lambda f: f.device.dax is True and f.device.start % f.page_size != 0,
        "The partition starts at byte {start}, in the middle of a page: none of its files can be "
        "DAX. Making it anew erases it.",
        (
            "parted --align optimal DISK mkpart primary 2MiB 100%",
            "mkfs.ext4 -b {page_size} {source}",
        ),
        "flush",
    ),
    Rule(
        "read-only-memory",
        "risk",
        lambda f: f.device.read_only is True,
        "The region or device of {disk} is read-only: nothing can be stored. The firmware does "
        "that to modules that could not keep it.",
        ("ndctl list --regions --dimms --health", "blockdev --setrw {disk}"),
    ),
)
