"""What is executed and written for an operation?  Counted, so a busy machine does not matter.

    counts.py            compare with counts.json; exit status 1 if something differs
    counts.py --take     write counts.json anew: after a change that is meant to cost more or less

A fixed program runs the statements of ``contenders/pool.py`` on direct media and on files, and
counts per operation

* what the library counts itself: fences, flushed lines, syncs, bytes of the log and of writes,
* calls of Python functions and of C functions from Python,
* instructions of the library's own code, by callgrind: not the interpreter's, not libc's.

The first two are exact, up to what the pool's random hash seed moves (`SPREAD`).  Instructions
depend on the compiler, so the file has figures for each one they were taken with; without
valgrind, or with another compiler, they are left out, and that is said.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from contenders.pool import Pmemstore
from harness import MEAN, compile_loop, pairs_of, value_of

import pmemstore
from pmemstore import _native

FIGURES = Path(__file__).with_suffix(".json")
MEDIA = ("direct", "file")
TIERS = {"direct": "volatile", "file": "sync"}
COUNTERS = ("fences", "flushed_lines", "syncs", "log_bytes", "written_bytes", "checkpoints")
CALLS = ("python_calls", "c_calls")

#: Items in the table before the first operation.
ITEMS = 2000
COUNT = 1000
#: Transactions, with so many puts each.
BLOCKS, BLOCK = 4, 1000
#: Instructions may differ by this share from the committed figure.
TOLERANCE = 0.03
#: The worst of many is less even.
TOLERANCE_OF_WORST = 0.06
#: What the random hash seed may move where keys come and go: in which lines the changed words of
#: the table lie, and so how many runs of words a frame has.
SPREAD = {"flushed_lines": 0.04, "log_bytes": 0.10, "written_bytes": 0.04}
#: The same where keys go: 60 pools' figures have a standard deviation of 1.5 % of lines.
SPREAD_OF_DELETE = SPREAD | {"flushed_lines": 0.07}
#: The same of the worst put: a line more in its frame, or two.
SPREAD_OF_WORST = SPREAD | {"flushed_lines": 0.10, "log_bytes": 0.35}
#: The same where keys are there already: once in a thousand operations a line more.  All other
#: figures are exact.
SPREAD_OF_OLD_KEYS = {"flushed_lines": 0.002}
#: The anchor follows the bytes of the log, wherever they stand when a run of COUNT begins: that
#: moves one or two of them, in some ten, into the next run or out of it.
SPREAD_OF_ANCHORS = 2 / COUNT
SEEDED = ("put", "delete", "1000 puts in a transaction", "update() of 1000")


@dataclass(frozen=True)
class Operation:
    """A statement, and what it works on.

    Attributes:
        statement: Its name in ``Pmemstore.statements``.
        variables: Of the loop.
        todo: The entries of the loop.
        scale: Operations of one entry.
    """

    statement: str
    variables: str
    todo: Callable[[], Sequence[Any]]
    scale: int = 1


def numbered(first: int, count: int = COUNT, generation: int = 0) -> list[tuple[str, bytes]]:
    return pairs_of(range(first, first + count), generation)


def blocks(first: int) -> list[list[tuple[str, bytes]]]:
    return [numbered(first + i * BLOCK, BLOCK) for i in range(BLOCKS)]


#: In the end the table has what was there, and what blocks and updates have put.
LEFT = ITEMS + 2 * BLOCKS * BLOCK

OPERATIONS: dict[str, Operation] = {
    "put": Operation("put", "key, value", lambda: numbered(ITEMS)),
    "replace": Operation("put", "key, value", lambda: numbered(ITEMS, generation=1)),
    "get": Operation("get", "key", lambda: [key for key, _ in numbered(0)]),
    "delete": Operation("delete", "key", lambda: [key for key, _ in numbered(ITEMS)]),
    "1000 puts in a transaction": Operation("block", "pairs", lambda: blocks(10_000), scale=BLOCK),
    "update() of 1000": Operation(
        "update", "batch", lambda: [dict(pairs) for pairs in blocks(20_000)], scale=BLOCK
    ),
    "abort of 1000 puts": Operation("abort", "pairs", lambda: blocks(30_000), scale=BLOCK),
    "counter": Operation("counter", "_", lambda: range(COUNT)),
    "append": Operation("append", "value", lambda: [value_of(i) for i in range(COUNT)]),
    "list set": Operation(
        "list set", "number, value", lambda: [(i, value_of(i + COUNT)) for i in range(COUNT)]
    ),
    "list get": Operation("list get", "number", lambda: range(COUNT)),
    "record set": Operation("record set", "number", lambda: [float(i) for i in range(COUNT)]),
    "record get": Operation("record get", "_", lambda: range(COUNT)),
    "iterate keys": Operation("keys", "_", lambda: range(1), scale=LEFT),
    "iterate items": Operation("items", "_", lambda: range(1), scale=LEFT),
}
#: A table grows from nothing to so many items.
GROWTH = 20_000
#: The same under callgrind, where the worst of so many puts together is counted.
GROWTH_WATCHED, TOGETHER = 8192, 64


# ---- the program ----


class Unwatched(Pmemstore):
    """Without looks at the file: on direct media it depends on the time when one is due."""

    options: ClassVar[dict[str, Any]] = {"watch": "off"}


def open_store(folder: Path) -> Pmemstore:
    """A store whose file does not have to grow while something is counted."""
    pmemstore.open(folder / "bench.pool", "n", size="32M").close()
    store = Unwatched(folder)
    store.load(iter(pairs_of(range(ITEMS))))
    return store


def calling(loop: Callable[..., Any], todo: Sequence[Any]) -> Callable[[], Any]:
    """Return what runs the loop once over all of it."""
    return lambda: loop(todo, int, None)


def operations(store: Pmemstore) -> Iterator[tuple[str, Callable[[], Any], int]]:
    """Each operation: its name, what runs it, and how many there are in a run."""
    for name, operation in OPERATIONS.items():
        statement = store.statements[operation.statement]
        loop = compile_loop(MEAN, statement, operation.variables, store.names())
        todo = operation.todo()
        yield name, calling(loop, todo), len(todo) * operation.scale


def count_calls(run: Callable[[], Any]) -> dict[str, int]:
    """Run, and count calls that Python sees; the loop, and its two looks at the clock, apart."""
    counts = dict.fromkeys(CALLS, 0)

    def see(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            counts["python_calls"] += 1
        elif event == "c_call":
            counts["c_calls"] += 1

    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(None)
    counts["python_calls"] -= 2  # run itself and the loop
    counts["c_calls"] -= 1  # setprofile; int is a type, whose call is no event
    return counts


def count_here(medium: str, folder: Path) -> dict[str, dict[str, float]]:
    """Everything but instructions."""
    found: dict[str, dict[str, float]] = {}
    with forced(medium):
        store = open_store(folder)
    for name, run, count in operations(store):
        before = store.pool.stats()
        calls = count_calls(run)
        after = store.pool.stats()
        figures: dict[str, float] = {
            counter: (getattr(after, counter) - getattr(before, counter)) / count
            for counter in COUNTERS
        }
        found[f"{medium}: {name}"] = figures | {key: calls[key] / count for key in CALLS}
    store.close()
    return found


def worst_of_growth(folder: Path, items: int = GROWTH) -> dict[str, float]:
    """The most that any single put needs while a table grows, on direct media."""
    with forced("direct"):
        pmemstore.open(folder / "bench.pool", "n", size="16M").close()
        store = Unwatched(folder)
    worst = {"flushed_lines": 0, "fences": 0, "log_bytes": 0}
    before = store.pool.stats()
    for key, value in numbered(0, items):
        store.data[key] = value
        after = store.pool.stats()
        for name in worst:
            worst[name] = max(worst[name], getattr(after, name) - getattr(before, name))
        before = after
    store.close()
    return {name: float(figure) for name, figure in worst.items()}


@contextlib.contextmanager
def forced(medium: str) -> Iterator[None]:
    """Force the tier of a medium, whatever the directory would give."""
    before = os.environ.get("PMEMSTORE_FORCE_TIER")
    os.environ["PMEMSTORE_FORCE_TIER"] = TIERS[medium]
    try:
        yield
    finally:
        if before is None:
            del os.environ["PMEMSTORE_FORCE_TIER"]
        else:
            os.environ["PMEMSTORE_FORCE_TIER"] = before


def count_all(parent: Path | None = None) -> dict[str, dict[str, float]]:
    """All exact figures."""
    found: dict[str, dict[str, float]] = {}
    for medium in MEDIA:
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            found |= count_here(medium, Path(folder))
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        found["direct: worst put of a growing table"] = worst_of_growth(Path(folder))
    return found


# ---- instructions ----
#
# Callgrind writes its costs and begins anew at each getppid(), which nothing else here calls.


def watched_operations(folder: Path) -> None:
    """The program that is watched: a mark before and after everything that counts."""
    for medium in MEDIA:
        (folder / medium).mkdir()
        with forced(medium):
            store = open_store(folder / medium)
        for _, run, _ in operations(store):
            os.getppid()
            run()
            os.getppid()
        store.close()


def watched_growth(folder: Path, items: int) -> None:
    """The same for a table that grows: a mark after so many puts together."""
    with forced("direct"):
        pmemstore.open(folder / "bench.pool", "n", size="32M").close()
        store = Unwatched(folder)
    loop = compile_loop(MEAN, store.statements["put"], "key, value", store.names())
    os.getppid()
    for first in range(0, items, TOGETHER):
        loop(numbered(first, TOGETHER), int, None)
        os.getppid()
    store.close()


def own_instructions(dump: Path, library: str) -> int:
    """Sum up what a dump says of the code of one shared library, without what it calls.

    Source:
        The format of profile data, https://valgrind.org/docs/manual/cl-format.html
    """
    names: dict[str, str] = {}
    here, total, skip = "", 0, False
    for line in dump.read_text().splitlines():
        if named := re.match(r"(c?ob)=(\(\d+\))(?: (.*))?$", line):
            kind, number, name = named.groups()
            if name:
                names[number] = name
            if kind == "ob":
                here = names[number]
        elif line.startswith("calls="):
            skip = True  # the next line has the cost of the call, which the callee has already
        elif re.match(r"[-+*\d]", line):
            if here == library and not skip:
                total += int(line.split()[1])
            skip = False
    return total


def library_file() -> Path:
    """The shared library with the core and the slots."""
    return Path(_native._core.__file__).resolve()


def toolchain() -> str:
    """What instructions depend on."""
    found = re.search(rb"(GCC|clang)[^\0]*? (\d+\.\d+(?:\.\d+)?)", library_file().read_bytes())
    compiler = f"{found[1].decode().lower()} {found[2].decode()}" if found else "unknown compiler"
    return f"{compiler}, {platform.machine()}, CPython {sys.version_info[0]}.{sys.version_info[1]}"


def no_callgrind() -> str | None:
    """Why there is none; None: there is."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed (Debian: apt install valgrind)"
    return None


def under_callgrind(parent: Path | None, *arguments: object) -> list[int]:
    """Instructions of the library between the marks of a watched program."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        dumps = Path(folder) / "dumps"
        dumps.mkdir()
        watched = Path(folder) / "watched"
        watched.mkdir()
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={dumps}/part"]
        command += ["--dump-before=getppid", sys.executable, str(Path(__file__).resolve())]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [*command, "--watched", str(watched), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode != 0:
            raise RuntimeError(f"callgrind ended with {done.returncode}:\n{done.stderr[-4000:]}")
        # Part 1 ends at the first mark.
        marks = len(list(dumps.glob("part.*")))
        library = str(library_file())
        return [own_instructions(dumps / f"part.{i}", library) for i in range(2, marks + 1)]


def growth_instructions(items: int, parent: Path | None = None) -> list[int]:
    """Instructions of the library for each ``TOGETHER`` puts while a table grows."""
    return under_callgrind(parent, "--growth", items)


def count_instructions(parent: Path | None = None) -> dict[str, float]:
    """Instructions of the library for each operation, and the worst of a growing table."""
    parts = under_callgrind(parent)[::2]
    found: dict[str, float] = {}
    for medium in MEDIA:
        for name, operation in OPERATIONS.items():
            count = len(operation.todo()) * operation.scale
            found[f"{medium}: {name}"] = round(parts.pop(0) / count, 1)
    if parts:
        raise RuntimeError(f"callgrind has written {len(parts)} parts too many")
    worst = max(growth_instructions(GROWTH_WATCHED, parent))
    found[f"direct: worst {TOGETHER} puts of a growing table"] = float(worst)
    return found


# ---- comparing ----


def differences(
    wanted: dict[str, dict[str, float]], found: dict[str, dict[str, float]]
) -> Iterator[str]:
    """One sentence for each exact figure that is not as it was."""
    for name in wanted.keys() | found.keys():
        was, now = wanted.get(name), found.get(name)
        if was is None or now is None:
            yield f"{name}: {'not in the committed figures' if was is None else 'not counted'}"
            continue
        what = name.partition(": ")[2]
        spreads = SPREAD if what in SEEDED else SPREAD_OF_OLD_KEYS
        if what == "delete":
            spreads = SPREAD_OF_DELETE
        elif what.startswith("worst"):
            spreads = SPREAD_OF_WORST
        for key in was.keys() | now.keys():
            one, other = was.get(key, 0.0), now.get(key, 0.0)
            allowed = SPREAD_OF_ANCHORS if key == "checkpoints" and one else 0.0
            if abs(other - one) > spreads.get(key, 0.0) * abs(one) + allowed + 1e-9:
                yield f"{name}: {key} is {other:g}, was {one:g}"


def instruction_differences(wanted: dict[str, float], found: dict[str, float]) -> Iterator[str]:
    for name in wanted.keys() | found.keys():
        was, now = wanted.get(name), found.get(name)
        if was is None or now is None:
            yield f"{name}: {'not in the committed figures' if was is None else 'not counted'}"
        elif abs(now - was) > (TOLERANCE_OF_WORST if ": worst" in name else TOLERANCE) * was:
            yield f"{name}: {now:g} instructions, was {was:g} ({now / was - 1:+.1%})"


def load() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(FIGURES.read_text())
    return figures


def take() -> None:
    """Write the file anew; figures of other compilers are dropped, as the code has changed."""
    figures: dict[str, Any] = {"exact": count_all()}
    if reason := no_callgrind():
        raise SystemExit(f"nothing was written: {reason}")
    figures["instructions"] = {toolchain(): count_instructions()}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--take", action="store_true", help="write counts.json anew")
    parser.add_argument("--watched", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--growth", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watched and options.growth:
        watched_growth(options.watched, options.growth)
        return
    if options.watched:
        watched_operations(options.watched)
        return
    if options.take:
        take()
        return
    figures = load()
    problems = sorted(differences(figures["exact"], count_all()))
    reason = no_callgrind()
    known = figures["instructions"].get(toolchain())
    if reason is None and known is None:
        reason = f"there are no figures for {toolchain()}"
    if reason is None:
        problems += sorted(instruction_differences(known, count_instructions()))
    else:
        print(f"instructions were not counted: {reason}")
    for problem in problems:
        print(problem)
    if problems:
        raise SystemExit("differs from the committed figures; if that is meant: counts.py --take")
    print("as committed")


if __name__ == "__main__":
    main()
