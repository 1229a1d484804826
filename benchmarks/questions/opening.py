"""What does it take to load many items, to open the store again, and to have it open?

Everything happens in fresh processes (``child.py``): loading, dying by SIGKILL after some durable
puts, and opening with a first get.  Imports are not timed.  The page cache is warm: all files
are read before the clock starts.  Gets of keys drawn from all items show what a large store costs,
and how much anonymous memory it takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from contenders import Contender
from harness import Bench, Sample, stores_of

CHILD = Path(__file__).resolve().parents[1] / "child.py"
OPENINGS = {"clean": "after a clean close", "crash": "after SIGKILL"}


def child(action: str, kind: type[Contender], folder: Path, **numbers: int) -> dict[str, Any]:
    """Run an action in a new process, and return what it says."""
    command = [
        sys.executable,
        str(CHILD),
        action,
        kind.name,
        str(folder),
        json.dumps(numbers),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, -9) or (done.returncode == -9) != (action == "crash"):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def ask(bench: Bench) -> None:
    for kind in bench.chosen:
        if not kind.persistent:
            bench.lacks("opening", kind.name, "nothing of it is left to be opened")
    sizes = [n for n in (1_000, 1_000_000, 10_000_000) if n <= bench.sizes["opening_max"]]
    for items in sizes or [bench.sizes["opening_max"]]:
        one_size(bench, items)


def one_size(bench: Bench, items: int) -> None:
    kinds = [kind for kind in stores_of(bench, items) if kind.persistent]
    opened = {(state, kind.name): Sample() for state in OPENINGS for kind in kinds}
    gets = {kind.name: Sample() for kind in kinds}
    with bench.folder() as folder:
        for kind in kinds:
            place = bench.store_folder(folder, kind)
            load(bench, kind, place, items)
        for state, words in OPENINGS.items():
            for number in range(bench.sizes["openings"]):
                for kind in bench.random.sample(kinds, len(kinds)):
                    place = bench.store_folder(folder, kind)
                    puts = bench.sizes["crash_puts"] if state == "crash" else 0
                    if puts:
                        child("crash", kind, place, items=items, puts=puts, seed=number)
                    said = child(
                        "open", kind, place, items=items, seed=number, gets=0, crashed=puts
                    )
                    opened[state, kind.name].means.append(said["open_and_get_ns"])
            name = f"open + first get, {items:,} items, {words}"
            bench.add(
                "opening",
                name,
                {kind.name: opened[state, kind.name] for kind in kinds},
                x=items,
                series=state,
                writes=False,
            )
            bench.said(f"opening: {items:,} items, {words}")
        for kind in kinds:
            place = bench.store_folder(folder, kind)
            said = child("open", kind, place, items=items, seed=1, gets=bench.sizes["gets"])
            gets[kind.name].means.append(said["get_ns"])
            for what in ("anonymous_bytes", "resident_bytes"):
                bench.row(
                    "opening",
                    f"{what.replace('_', ' ')} after {bench.sizes['gets']:,} gets of {items:,}",
                    kind.name,
                    "bytes",
                    {"median": said[what]},
                    x=items,
                    series=what,
                    writes=False,
                )
        bench.add("opening", f"random get of {items:,}", gets, x=items, series="get", writes=False)


def load(
    bench: Bench,
    kind: type[Contender],
    place: Path,
    items: int,
    *,
    question: str = "opening",
    scattered: bool = False,
) -> None:
    """Load so many, and tell what that took; ``scattered``: with keys in no order."""
    said = child("load", kind, place, items=items, scattered=int(scattered))
    bench.words[kind.name] = said["durability"]
    rows = {"load": ("ns", said["load_ns"] / items)}
    rows["file space"] = ("bytes", said["file_bytes"] / items)
    if "used_bytes" in said:
        rows["space in use"] = ("bytes", said["used_bytes"] / items)
    for what, (unit, figure) in rows.items():
        more = {"x": items, "series": what, "writes": what == "load"}
        name = f"{what} per item, {items:,} {'scattered ' if scattered else ''}items"
        bench.row(question, name, kind.name, unit, {"median": figure}, **more)
    bench.said(f"{question}: {kind.name} has loaded {items:,} items")
