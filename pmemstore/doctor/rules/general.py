"""Rules about all media."""

from __future__ import annotations

from typing import Final

from pmemstore.doctor.rules.rule import Rule

GENERAL: Final = (
    Rule(
        "tier-forced",
        "note",
        lambda f: f.forced is not None,
        "PMEMSTORE_FORCE_TIER={forced} is set, for tests: pools do not get the tier that is "
        "reported here.",
        ("unset PMEMSTORE_FORCE_TIER",),
    ),
    Rule(
        "no-probe",
        "note",
        lambda f: f.kind == "directory" and f.probed == "nothing",
        "No file could be made in {folder}, so its tier is not known: {why}. Ask about an "
        "existing file, or as a user who may write here.",
        ("stat {folder}", "findmnt --target {folder}"),
    ),
    Rule(
        "mounted-read-only",
        "note",
        lambda f: "ro" in f.mount_options,
        "The file system is mounted read-only: pools can be opened with flag r alone.",
        ("mount -o remount,rw {mount}",),
    ),
    Rule(
        "barriers-off",
        "risk",
        lambda f: any(o in f.mount_options for o in ("nobarrier", "barrier=0")),
        "The file system is mounted without barriers: a sync does not wait for the disk's cache, "
        "so a power cut can take commits and more.",
        ("mount -o remount,barrier=1 {mount}",),
    ),
)
