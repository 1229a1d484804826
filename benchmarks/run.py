"""How does pmemstore compare with what else keeps keys and values in a file?

    run.py --dir /dev/shm --dir . --json results/bench.json      as `make bench` does
    run.py --only operations --contender pmemstore --contender lmdb --dir /dev/shm
    run.py --report results/bench.json --docs ../docs            tables and plots of an earlier run

Sizes: ``quick`` takes minutes for each directory, ``full`` has 10 million items and takes hours,
``tiny`` shows that everything works and nothing else.  What is measured, and how: README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import goals
import machine
import report
from contenders import CONTENDERS, Contender, quoted
from harness import Bench
from questions import QUESTIONS

SIZES: dict[str, dict[str, int]] = {
    "tiny": {
        "items": 60,
        "count": 20,
        "rounds": 2,
        "value_max": 4096,
        "threads_max": 2,
        "growth": 100,
        "opening_max": 200,
        "load": 100,
        "openings": 1,
        "crash_puts": 5,
        "gets": 20,
    },
    "quick": {
        "items": 100_000,
        "count": 4000,
        "rounds": 11,
        "value_max": 1 << 20,
        "threads_max": 16,
        "growth": 200_000,
        "opening_max": 1_000_000,
        "load": 1_000_000,
        "openings": 15,
        "crash_puts": 500,
        "gets": 20_000,
    },
    "full": {
        "items": 100_000,
        "count": 4000,
        "rounds": 15,
        "value_max": 1 << 20,
        "threads_max": 16,
        "growth": 10_000_000,
        "opening_max": 10_000_000,
        "load": 1_000_000,
        "openings": 15,
        "crash_puts": 500,
        "gets": 20_000,
    },
}
#: A medium with real syncs: single ones take long, and there are fewer operations.
FILE_COUNT = {"tiny": 8, "quick": 200, "full": 500}
FILE_GROWTH = {"tiny": 50, "quick": 5_000, "full": 50_000}
FILE_LOAD = {"tiny": 100, "quick": 100_000, "full": 1_000_000}
IN_MEMORY = ("tmpfs", "ramfs")


def sizes_for(name: str, medium: str) -> dict[str, int]:
    sizes = dict(SIZES[name])
    if medium not in IN_MEMORY:
        sizes |= {"count": FILE_COUNT[name], "growth": FILE_GROWTH[name], "load": FILE_LOAD[name]}
    return sizes


def choose(names: list[str] | None) -> tuple[list[type[Contender]], dict[str, str]]:
    """Those that can run, and why the others cannot."""
    wanted = [CONTENDERS[name] for name in names] if names else list(CONTENDERS.values())
    missing = {kind.name: reason for kind in wanted if (reason := kind.missing()) is not None}
    return [kind for kind in wanted if kind.name not in missing], missing


def run(options: argparse.Namespace) -> dict[str, Any]:
    chosen, missing = choose(options.contender)
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}", file=sys.stderr)
    result: dict[str, Any] = {
        "machine": machine.describe(),
        "size": options.size,
        "sizes": {},
        "contenders": {},
        "versions": {kind.name: kind.version() for kind in chosen},
        "missing": missing,
        "absent": {},
        "rows": [],
    }
    for parent in options.dir:
        medium = machine.medium_of(parent)
        sizes = sizes_for(options.size, medium)
        bench = Bench(parent.resolve(), medium, sizes, chosen, said=progress(medium))
        for name in options.only or QUESTIONS:
            QUESTIONS[name].ask(bench)
        result["sizes"][medium] = sizes
        result["contenders"][medium] = bench.words
        result["absent"][medium] = [
            {"workload": workload, "contender": name, "reason": reason}
            for (workload, name), reason in bench.absent.items()
        ]
        result["rows"] += bench.rows
    result["goals"] = goals.judge(result["rows"])
    result["quoted"] = quoted()
    return result


def progress(medium: str) -> Any:
    start = time.monotonic()
    return lambda text: print(
        f"{time.monotonic() - start:7.1f} s  {medium}: {text}", file=sys.stderr
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, action="append", help="where the stores go; repeatable")
    parser.add_argument("--size", choices=SIZES, default="quick")
    parser.add_argument("--only", choices=QUESTIONS, action="append", help="question; repeatable")
    parser.add_argument("--contender", choices=CONTENDERS, action="append", help="repeatable")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--report", type=Path, help="run nothing, show the figures of this file")
    parser.add_argument("--docs", type=Path, help="write benchmarks.md and its plots there")
    parser.add_argument("--page", type=Path, help="write the page alone there, without plots")
    options = parser.parse_args()
    if options.report:
        result = json.loads(options.report.read_text())
        result["goals"] = goals.judge(result["rows"])
    else:
        options.dir = options.dir or [Path("/dev/shm"), Path()]
        result = run(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.page(result))
    if options.page:
        options.page.write_text(report.page(result))
    if options.docs:
        import plots

        pictures = plots.draw(result, options.docs)
        (options.docs / "benchmarks.md").write_text(report.page(result, pictures))


if __name__ == "__main__":
    main()
