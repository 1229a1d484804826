"""Rules about ext4 and xfs on a device with DAX: how they were made, mounted and flagged."""

from __future__ import annotations

from typing import Final

from pmemstore.doctor.rules.rule import (
    DAX,
    REMOUNT,
    Rule,
    file_has,
    flagged,
    granted,
    not_dax_here,
    on_dax_device,
    refused,
    unusable,
)

SETTINGS: Final = (
    Rule(
        "block-size",
        "tier",
        lambda f: on_dax_device(f) and f.fs == "ext4" and f.block_size != f.page_size,
        "Blocks of {block_size} bytes cannot be mapped: DAX needs those of a page, {page_size}. "
        "Making the file system anew erases it.",
        ("umount {mount}", "mkfs.ext4 -b {page_size} {source}", REMOUNT[1]),
        "flush",
    ),
    Rule(
        "block-size",
        "tier",
        lambda f: on_dax_device(f) and f.fs == "xfs" and f.block_size != f.page_size,
        "Blocks of {block_size} bytes cannot be mapped: DAX needs those of a page, {page_size}. "
        "Making the file system anew erases it.",
        ("umount {mount}", "mkfs.xfs -f -b size={page_size} {source}", REMOUNT[1]),
        "flush",
    ),
    Rule(
        "kernel-without-map-sync",
        "tier",
        lambda f: (0, 0) < f.version < (4, 15) and not granted(f),
        "Linux {kernel} has no MAP_SYNC; it came with 4.15. Install a newer kernel.",
        ("uname --kernel-release",),
        "flush",
    ),
    Rule(
        "kernel-without-dax-flag",
        "tier",
        lambda f: (4, 15) <= f.version < (5, 8) and not_dax_here(f) and f.dax_option != "always",
        "Linux {kernel} cannot make single files DAX; that came with 5.8. Mount all of the file "
        "system with DAX.",
        ("umount {mount}", "mount -o dax {source} {mount}"),
        "flush",
    ),
    Rule(
        "mount-dax-never",
        "tier",
        lambda f: not_dax_here(f) and f.dax_option == "never",
        "The file system is mounted with dax=never. A remount cannot change that; take dax=inode "
        "(files by their flag) or dax=always (all).",
        REMOUNT,
        "flush",
    ),
    Rule(
        "data-journal",
        "tier",
        lambda f: not_dax_here(f) and "data=journal" in f.mount_options,
        "The journal takes all data (data=journal), so stores cannot go to their place.",
        ("umount {mount}", "mount -o data=ordered,dax=always {source} {mount}"),
        "flush",
    ),
    Rule(
        "file-encrypted",
        "tier",
        lambda f: not_dax_here(f) and file_has(f, "encrypt", "encrypted", "verity"),
        "Files that the file system encrypts or verifies cannot be DAX. Copy it to a directory "
        "without.",
        ("cp --reflink=never {path} DIRECTORY/",),
        "flush",
    ),
    Rule(
        "file-inline",
        "tier",
        lambda f: not_dax_here(f) and file_has(f, "inline-data"),
        "The file lies inside its inode (inline_data). Make the file system without that feature; "
        "it erases it.",
        ("umount {mount}", "mkfs.ext4 -b {page_size} -O ^inline_data {source}", REMOUNT[1]),
        "flush",
    ),
    Rule(
        "file-without-dax-flag",
        "tier",
        lambda f: (
            not_dax_here(f)
            and f.version >= (5, 8)
            and f.dax_option in ("inode", "none")
            and not flagged(f)
            and not unusable(f)
            and "shared" not in (f.extents or ())
        ),
        "The file lacks the DAX flag. It takes effect when nobody has the file open any more; "
        "files made in a directory with the flag inherit it.",
        (
            "xfs_io -c 'chattr +x' {path}",
            "xfs_io -c 'chattr +x' {folder}",
            "xfs_io -c 'lsattr' {path}",
        ),
        "flush",
    ),
    Rule(
        "dax-flag-without-effect",
        "tier",
        lambda f: (
            not_dax_here(f)
            and flagged(f)
            and f.dax_option in ("inode", "none", "always")
            and not unusable(f)
            and "shared" not in (f.extents or ())
        ),
        "The file has the DAX flag, but is not DAX: it was open when the flag was set and is "
        "still in memory, or it was cloned (reflink) once. Close it everywhere and drop it from "
        "memory; if that does not help, copy it.",
        (
            "fuser --verbose {path}",
            "sync; echo 2 > /proc/sys/vm/drop_caches",
            "cp --reflink=never {path} {path}.copy && mv {path}.copy {path}",
        ),
        "flush",
    ),
    Rule(
        "shared-blocks",
        "tier",
        lambda f: not_dax_here(f) and "shared" in (f.extents or ()),
        "The file shares blocks with a clone (reflink), and such a file is not DAX. Give it "
        "blocks of its own, and mount again; or copy it.",
        (
            "xfs_io -c 'unshare 0 {size}' -c fsync {path}",
            "cp --reflink=never {path} {path}.copy && mv {path}.copy {path}",
        ),
        "flush",
    ),
    Rule(
        "shared-blocks-mapped",
        "risk",
        lambda f: granted(f) and "shared" in (f.extents or ()),
        "The file shares blocks with a clone (reflink): the kernel does not honour MAP_SYNC for "
        "the store that ends the sharing, so a power cut can take a commit. Unshare it before it "
        "is opened.",
        ("xfs_io -c 'unshare 0 {size}' -c fsync {path}",),
    ),
    Rule(
        "reflink-old-kernel",
        "tier",
        lambda f: (
            f.fs == "xfs" and f.reflink is True and (0, 0) < f.version < (6, 0) and not_dax_here(f)
        ),
        "Linux {kernel} refuses DAX on an xfs that can share blocks (reflink); 6.0 has both. "
        "Take a newer kernel, or make the file system without; that erases it.",
        ("umount {mount}", "mkfs.xfs -f -m reflink=0 {source}", REMOUNT[1]),
        "flush",
    ),
    Rule(
        "reflink-partition",
        "tier",
        lambda f: (
            f.fs == "xfs"
            and f.reflink is True
            and f.device.start > 0
            and f.version >= (6, 0)
            and not_dax_here(f)
        ),
        "An xfs with reflink on a partition is not mounted with DAX for all files: it needs the "
        "whole device, or to be without reflink. Making it anew erases it.",
        ("umount {mount}", "mkfs.xfs -f -m reflink=0 {source}", REMOUNT[1]),
        "flush",
    ),
    Rule(
        "reflink-possible",
        "risk",
        lambda f: f.fs == "xfs" and f.reflink is True and granted(f),
        "This xfs can share blocks (reflink). If somebody clones the pool while it is open, "
        "MAP_SYNC does not cover the store that ends the sharing. A file system without reflink "
        "cannot do that to you; making it anew erases it.",
        ("umount {mount}", "mkfs.xfs -f -m reflink=0 {source}", REMOUNT[1]),
    ),
    Rule(
        "dax-without-map-sync",
        "tier",
        lambda f: f.dax is True and refused(f) and f.device.kind != "virtio-pmem" and f.fs in DAX,
        "The file is DAX, but MAP_SYNC is refused ({map_sync}): the device does not promise that "
        "flushed lines are durable. Look what the device is.",
        ("ndctl list --regions --namespaces --buses",),
        "flush",
    ),
    Rule(
        "folder-without-dax-flag",
        "note",
        lambda f: (
            on_dax_device(f)
            and f.kind == "directory"
            and f.dax_option in ("inode", "none")
            and f.version >= (5, 8)
            and f.folder_xflags is not None
            and "dax" not in f.folder_xflags
        ),
        "Pools that are made here ask for the DAX flag themselves; files that are copied to here "
        "get it only if the directory has it.",
        ("xfs_io -c 'chattr +x' {folder}",),
    ),
    Rule(
        "folder-with-dax-flag",
        "note",
        lambda f: "dax" in (f.folder_xflags or ()) and f.dax_option != "always",
        "The directory has the DAX flag: files that are made or copied here are DAX from the "
        "start, files that were moved here are not.",
        ("xfs_io -c 'lsattr -R' {folder}",),
    ),
)
