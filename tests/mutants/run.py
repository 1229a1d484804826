#!/usr/bin/env python3
"""Break the core in one place at a time, and see whether the crash explorer finds it.

    run.py                      every mutant (the better part of an hour)
    run.py --quick              the slice that runs with every change
    run.py --only 'recover:*'   those with such names
    run.py --list               names and rules

A mutant is *killed* if a test fails, crashes or hangs.  One that survives is a hole in the explorer
or code that nothing needs; which of them, and why it stays, is told in equivalent.toml.  The count
of hits says how often the changed path made a difference: a survivor with none never ran.
"""

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import sites
from builder import Builder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EXPLORER = "test_crash"
# Tests beside the explorer that look at what these files make durable.
OTHER_TESTS = {"mapping": ("test_mapping",), "prepare": ("test_map",), "probe": ("test_mapping",)}
# Time is counted while it computes, so a busy machine kills no mutant; one that sleeps for good is
# waited for so many times as long.
CPU_LIMIT = ("sh", "-c", 'ulimit -S -t "$0" && exec "$@"')
SLOWEST = 4


@dataclass(frozen=True)
class Stage:
    name: str
    test: str
    arguments: tuple[str, ...]
    limit_s: float  # of CPU; a mutant that takes longer hangs


@dataclass(frozen=True)
class Verdict:
    mutant: sites.Mutant
    killed_by: str  # "": it survived
    reason: str
    images: int
    hits: int | None  # None: it ended too suddenly to tell
    seconds: float


def load(name: str) -> list[dict[str, object]]:
    """The tables of one file of this directory."""
    return tomllib.loads((HERE / name).read_text())["mutant"]


def catalogue(native: Path) -> list[sites.Mutant]:
    """Every mutant: those written down, then those that are found in the sources."""
    mutants = []
    for path in sorted(HERE.glob("catalogue_*.toml")):
        for table in load(path.name):
            edits = table.get("edit", [table])
            mutants.append(
                sites.Mutant(
                    name=table["name"],
                    rule=table["rule"],
                    edits=tuple(sites.Edit(e["file"], e["old"], e["new"]) for e in edits),
                    prelude=table.get("prelude", ""),
                    by=tuple(table.get("by", ())),
                    quick=table.get("quick", False),
                )
            )
    quick = set(tomllib.loads((HERE / "quick.toml").read_text())["left_out"])
    for mutant in sites.left_out(native):
        by = OTHER_TESTS.get(mutant.name.split(":")[0], ())
        mutants.append(
            sites.Mutant(
                mutant.name, mutant.rule, texts=mutant.texts, by=by, quick=mutant.name in quick
            )
        )
    names = [mutant.name for mutant in mutants]
    doubled = {name for name in names if names.count(name) > 1}
    unknown = quick.difference(names)
    if doubled or unknown:
        raise ValueError(f"named twice: {doubled}; in quick.toml and nowhere else: {unknown}")
    return mutants


def stages(mutant: sites.Mutant, seconds: float) -> list[Stage]:
    """What is tried on a mutant, in this order.  Both kinds of hunts take logs of several sizes."""
    if mutant.by:
        return [Stage(test, test, (), 120) for test in mutant.by]
    long, each = str(seconds), seconds + 60
    if (
        mutant.quick and not mutant.rule
    ):  # nothing is changed, and other tests have seen that already
        return [Stage("programs", EXPLORER, (long, "1"), each)]
    return [
        Stage("directed", EXPLORER, ("directed",), 300),
        Stage("openings", EXPLORER, ("openings",), 300),
        Stage("programs", EXPLORER, (long, "1"), each),
        Stage("recovery", EXPLORER, ("recovery", long, "1"), each),
        Stage("programs", EXPLORER, (long, "7000"), each),
        Stage("recovery", EXPLORER, ("recovery", long, "7000"), each),
    ]


def try_stage(program: Path, stage: Stage) -> tuple[bool, str, int, int | None]:
    """Killed? why, images looked at, hits."""
    # Other tests look for a file system that is not in memory where they are started.
    memory = stage.test == EXPLORER and os.access("/dev/shm", os.W_OK)
    place = "/dev/shm" if memory else program.parent
    try:
        with tempfile.TemporaryDirectory(prefix="pmemstore_mutant.", dir=place) as pools:
            done = subprocess.run(
                [*CPU_LIMIT, str(int(stage.limit_s)), program, *stage.arguments],
                capture_output=True,
                timeout=stage.limit_s * SLOWEST,
                cwd=pools,
                env=os.environ | {"CRASH_DIRECTORY": pools},
            )
    except subprocess.TimeoutExpired:
        return True, "it hangs", 0, None
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    images = re.search(r"(\d+) images \(", out)
    hits = [int(n) for n in re.findall(r"^mutant: (\d+) hits$", err, re.MULTILINE)]
    lines = [line for line in err.splitlines() if not line.startswith("mutant: ")]
    scenario = next((line.strip() for line in lines if line.startswith("  in ")), "")
    why = f"{scenario} {lines[0] if lines else ''}".strip()
    if done.returncode == -signal.SIGXCPU:
        return True, "it hangs", 0, None
    if done.returncode < 0:
        why = f"signal {-done.returncode} {why}"
    return (
        done.returncode != 0,
        why,
        int(images[1]) if images else 0,
        max(hits) if hits else None,
    )


def judge(builder: Builder, mutant: sites.Mutant, seconds: float) -> Verdict:
    """Build the mutant and run the stages until one kills it."""
    start = time.monotonic()
    objects = builder.objects(mutant)
    programs: dict[str, Path] = {}
    images, hits = 0, 0
    for stage in stages(mutant, seconds):
        if stage.test not in programs:
            programs[stage.test] = builder.link(stage.test, objects)
        killed, why, seen, hit = try_stage(programs[stage.test], stage)
        images += seen
        hits += hit or 0
        if killed:
            spent = time.monotonic() - start
            return Verdict(mutant, stage.name, why, images, None if hit is None else hits, spent)
    return Verdict(mutant, "", "", images, hits, time.monotonic() - start)


def show(verdict: Verdict, allowed: bool) -> None:
    """One line."""
    how = f"killed by {verdict.killed_by}" if verdict.killed_by else "SURVIVED"
    if allowed and not verdict.killed_by:
        how = "survived, as expected"
    hits = "?" if verdict.hits is None else str(verdict.hits)
    print(
        f"{verdict.mutant.name:<52} {how:<22} {verdict.images:>8} images {hits:>8} hits "
        f"{verdict.seconds:6.1f} s  {verdict.reason[:110]}",
        flush=True,
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a slice of about a minute")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB", help="of names")
    parser.add_argument("--list", action="store_true", help="names and rules, nothing is run")
    parser.add_argument("--seconds", type=float, default=20, help="of each hunt (default: 20)")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="the I-th of N parts")
    parser.add_argument("--tree", type=Path, default=ROOT, help="sources (default: this tree)")
    parser.add_argument("--cmake", default=os.environ.get("CMAKE") or shutil.which("cmake"))
    return parser.parse_args()


def chosen(mutants: list[sites.Mutant], options: argparse.Namespace) -> list[sites.Mutant]:
    """Those that the command line asks for."""
    if options.quick:
        mutants = [mutant for mutant in mutants if mutant.quick]
    if options.only:
        mutants = [
            mutant
            for mutant in mutants
            if any(fnmatch.fnmatchcase(mutant.name, glob) for glob in options.only)
        ]
    part, parts = map(int, options.part.split("/"))
    return mutants[part - 1 :: parts]


def reason_of(name: str, reasons: dict[str, str]) -> str | None:
    """Why this mutant may survive; None: it may not."""
    globs = (glob for glob in reasons if fnmatch.fnmatchcase(name, glob))
    return next((reasons[glob] for glob in globs), None)


def main() -> int:
    """Returns the exit status."""
    options = arguments()
    native = options.tree / "pmemstore/_native"
    mutants = catalogue(native)
    reasons = {str(table["name"]): str(table["reason"]) for table in load("equivalent.toml")}
    names = [mutant.name for mutant in mutants]
    if unknown := [glob for glob in reasons if not fnmatch.filter(names, glob)]:
        print(f"equivalent.toml names mutants that are not there: {unknown}", file=sys.stderr)
        return 2
    problems = [problem for mutant in mutants if (problem := sites.problem(native, mutant))]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    mutants = chosen(mutants, options)
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name:<52} {mutant.rule}")
        return 0
    with tempfile.TemporaryDirectory(prefix="pmemstore_mutants.") as work:
        builder = Builder(options.tree, Path(work), options.cmake)
        for by in sorted({mutant.by for mutant in mutants}):
            whole = judge(builder, sites.Mutant("(none)", "", by=by, quick=options.quick), 2)
            if whole.killed_by:
                print(f"the tests fail without a mutant: {whole.reason}", file=sys.stderr)
                return 2
        verdicts = []
        for mutant in mutants:
            verdicts.append(judge(builder, mutant, options.seconds))
            show(verdicts[-1], reason_of(mutant.name, reasons) is not None)
    survivors = [verdict.mutant.name for verdict in verdicts if not verdict.killed_by]
    print(f"\n{len(verdicts) - len(survivors)} of {len(verdicts)} mutants killed")
    for name in survivors:
        print(f"  survived: {name}: {reason_of(name, reasons) or 'NOBODY KNOWS WHY'}")
    return int(any(reason_of(name, reasons) is None for name in survivors))


if __name__ == "__main__":
    sys.exit(main())
