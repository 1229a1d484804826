"""Rules about direct media: what they are worth, and how fast they are."""

from __future__ import annotations

from typing import Final

from pmemstore.doctor.facts import HUGE
from pmemstore.doctor.rules.rule import REMOUNT, Rule, bad_flags, granted, lacks_cpu

DIRECT: Final = (
    Rule(
        "eadr-absent",
        "note",
        lambda f: granted(f) and f.device.persistence_domain == "memory_controller",
        "The platform saves what was flushed, not the caches (persistence_domain "
        "memory_controller). Only another platform can do more: some servers have eADR as an "
        "option of their firmware.",
        ("cat /sys/bus/nd/devices/{region}/persistence_domain",),
        "eadr",
    ),
    Rule(
        "persistence-domain-unknown",
        "risk",
        lambda f: (
            f.device.kind == "pmem"
            and f.device.provider != "e820"
            and f.device.persistence_domain is None
        ),
        "The platform does not say what survives a power failure (no persistence_domain). Ask its "
        "vendor whether flushed stores do (ADR); if it is a guest, whether its host's do.",
        ("ndctl list --regions --buses",),
    ),
    Rule(
        "emulated-memory",
        "risk",
        lambda f: f.device.provider == "e820",
        "This persistent memory was declared by the kernel's command line or by an old firmware "
        "(e820): if it is plain DRAM, a power failure loses all of it.",
        ("cat /proc/cmdline", "dmesg | grep -i e820"),
    ),
    Rule(
        "modules-complain",
        "risk",
        bad_flags,
        "The firmware of memory modules says that they lose data: {modules}.",
        ("ndctl list --dimms --health", "ipmctl show -dimm"),
    ),
    Rule(
        "bad-blocks",
        "risk",
        lambda f: bool(f.device.badblocks),
        "{disk} has {bad} bytes that cannot be read. Pool.health() says whether they are in a "
        "pool. Writing a file anew there clears them.",
        ("ndctl list --namespaces --media-errors", "ndctl clear-errors {namespace}"),
    ),
    Rule(
        "shutdowns-not-counted",
        "note",
        lambda f: f.device.kind == "pmem" and "unsafe_shutdowns" in f.device.unknown,
        "Unsafe shutdowns cannot be told: the memory modules give no counter (emulated ones have "
        "none), so a pool cannot warn after one.",
        ("ndctl list --dimms --health",),
    ),
    Rule(
        "cpu-without-clwb",
        "speed",
        lambda f: (
            granted(f)
            and f.machine in ("x86_64", "AMD64")
            and lacks_cpu(f, "clwb")
            and not lacks_cpu(f, "clflushopt")
        ),
        "The CPU shows no CLWB: flushing throws lines out of the cache (CLFLUSHOPT). In a guest, "
        "let the hypervisor pass the flag on.",
        ("grep --max-count=1 --only-matching clwb /proc/cpuinfo", "qemu-system-x86_64 -cpu host"),
    ),
    Rule(
        "cpu-without-clflushopt",
        "speed",
        lambda f: (
            granted(f) and f.machine in ("x86_64", "AMD64") and lacks_cpu(f, "clwb", "clflushopt")
        ),
        "The CPU shows neither CLWB nor CLFLUSHOPT: lines are flushed one after the other "
        "(CLFLUSH). In a guest, let the hypervisor pass the flags on.",
        ("qemu-system-x86_64 -cpu host",),
    ),
    Rule(
        "cpu-without-dcpop",
        "risk",
        lambda f: granted(f) and f.machine == "aarch64" and lacks_cpu(f, "dcpop"),
        "The CPU shows no DC CVAP (dcpop): lines are cleaned to the point of coherency alone, "
        "which may lie before the persistent memory.",
        ("grep --max-count=1 Features /proc/cpuinfo",),
    ),
    Rule(
        "kernel-without-populate",
        "speed",
        lambda f: granted(f) and (0, 0) < f.version < (5, 14),
        "Linux {kernel} cannot take write faults ahead (MADV_POPULATE_WRITE, since 5.14): the "
        "first store to each page is slow.",
        ("uname --kernel-release",),
    ),
    Rule(
        "huge-pages-ext4",
        "speed",
        lambda f: granted(f) and f.fs == "ext4" and f.huge is False,
        "Blocks of the file are not aligned to 2 MiB, so each page is mapped by itself: more "
        "faults, more misses. An ext4 that is made for it aligns large files; that erases it.",
        (
            "umount {mount}",
            "mkfs.ext4 -b {page_size} -E stride=512,stripe_width=512 {source}",
            REMOUNT[1],
        ),
    ),
    Rule(
        "huge-pages-xfs",
        "speed",
        lambda f: granted(f) and f.fs == "xfs" and f.huge is False,
        "Blocks of the file are not aligned to 2 MiB, so each page is mapped by itself: more "
        "faults, more misses. An xfs made with stripes of 2 MiB aligns large files; that erases "
        "it. The hint alone (xfs_io -c 'extsize 2m'; pools set it) does not move a first block.",
        ("umount {mount}", "mkfs.xfs -f -d su=2m,sw=1 {source}", REMOUNT[1]),
    ),
    Rule(
        "huge-pages-namespace",
        "speed",
        lambda f: granted(f) and f.device.align is not None and f.device.align < HUGE,
        "The namespace is aligned to less than 2 MiB, so no huge page can map it. Making it anew "
        "erases it.",
        ("ndctl create-namespace --force --reconfig={namespace} --mode=fsdax --align=2M",),
    ),
    Rule(
        "huge-pages-partition",
        "speed",
        lambda f: granted(f) and f.device.start % HUGE != 0,
        "The partition starts at byte {start}, not at a multiple of 2 MiB, so no huge page can "
        "map it. Making it anew erases it.",
        ("parted --align none DISK mkpart primary 2MiB 100%",),
    ),
)
