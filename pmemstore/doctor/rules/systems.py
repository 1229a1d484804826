"""Rules about kinds of file systems."""

from __future__ import annotations

from typing import Final

from pmemstore.doctor.rules.rule import (
    MEMORY,
    NETWORK,
    NEW_PMEM,
    OTHER,
    Rule,
    compressing,
    file_has,
    granted,
    is_fuse,
)

FILE_SYSTEMS: Final = (
    Rule(
        "memory-file-system",
        "tier",
        lambda f: f.fs in MEMORY,
        "{fs} is memory: its files are gone after a reboot. Take a directory of a file system on "
        "a device; with persistent memory, an ext4 or xfs on it mounted with DAX.",
        NEW_PMEM,
        "flush",
    ),
    Rule(
        "overlay",
        "tier",
        lambda f: f.fs == "overlay" and not granted(f),
        "An overlay (a container's root, usually) hands out no DAX mappings. Bind a directory of "
        "the file system below, or of one on persistent memory, to this place.",
        (
            "mkdir -p /mnt/pmem/pools",
            "mount --bind /mnt/pmem/pools {folder}",
            "docker run --volume /mnt/pmem/pools:{folder} IMAGE",
        ),
        "flush",
    ),
    Rule(
        "network-file-system",
        "tier",
        lambda f: f.fs in NETWORK,
        "{fs} is on another machine: no store here can be durable by itself, and locks may not "
        "keep out its other clients. Take a local file system.",
        ("findmnt --real --df",),
        "sync",
    ),
    Rule(
        "virtiofs",
        "tier",
        lambda f: f.fs == "virtiofs",
        "virtiofs maps the host's page cache, and grants no MAP_SYNC. Let the hypervisor give the "
        "guest an NVDIMM of its own, with a DAX file system on it.",
        (
            "qemu-system-x86_64 -M q35,nvdimm=on -m 4G,slots=2,maxmem=20G -object "
            "memory-backend-file,id=nv0,share=on,pmem=on,mem-path=/mnt/pmem/guest.img,size=16G "
            "-device nvdimm,id=nvdimm0,memdev=nv0",
        ),
        "flush",
    ),
    Rule(
        "fuse",
        "tier",
        is_fuse,
        "{fs} is a file system in user space: it has no DAX, and what a sync is worth depends on "
        "its program. Take ext4 or xfs.",
        ("findmnt --real --df",),
        "sync",
    ),
    Rule(
        "btrfs-no-dax",
        "tier",
        lambda f: f.fs == "btrfs",
        "btrfs has no DAX (and takes MAP_SHARED with MAP_SYNC without meaning it): each commit is "
        "a synchronous write. With persistent memory, take ext4 or xfs.",
        NEW_PMEM,
        "flush",
    ),
    Rule(
        "btrfs-copy-on-write",
        "speed",
        lambda f: f.fs == "btrfs" and f.flags is not None and "nocow" not in f.flags,
        "The file is copied on write and has checksums: each write moves blocks, prepare_write "
        "refuses it, and a full disk can stop a write in place. New files can do without; an old "
        "one has to be copied into such a directory.",
        ("chattr +C {folder}", "lsattr -d {folder}"),
    ),
    Rule(
        "btrfs-compression",
        "speed",
        lambda f: f.fs == "btrfs" and (file_has(f, "compress", "compressed") or compressing(f)),
        "Compression rewrites whole extents for each changed page.",
        ("btrfs property set {path} compression none", "chattr +C {folder}"),
    ),
    Rule(
        "btrfs-raid",
        "note",
        lambda f: f.btrfs_data is not None and f.btrfs_data not in ("single", "raid0"),
        "Data have the layout {layout}: the CPU writes every block to several places, so no store "
        "could ever be direct.",
        ("btrfs filesystem usage {mount}",),
    ),
    Rule(
        "ext2-no-map-sync",
        "tier",
        lambda f: f.fs in ("ext2", "ext3"),
        "{fs} has no MAP_SYNC. ext4 reads the same disk.",
        (
            "umount {mount}",
            "tune2fs -O extents,has_journal {source}",
            "fsck.ext4 -f {source}",
            "mount -t ext4 -o dax=always {source} {mount}",
        ),
        "flush",
    ),
    Rule(
        "file-system-without-dax",
        "tier",
        lambda f: f.fs is not None and f.fs not in (*OTHER, "ext3") and not is_fuse(f),
        "{fs} has no DAX with MAP_SYNC: each commit is a synchronous write. Linux has it in ext4 "
        "and xfs.",
        NEW_PMEM,
        "flush",
    ),
)
