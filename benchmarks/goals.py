"""The goals that the library sets itself, judged by the figures of a run.

A goal that the run has no figures for is "not measured", never met.  Ratios are of medians of one
run on one medium.  "Stores" are the contenders of class durable+atomic.  A dict with a log is
durable and atomic too, but keeps all in RAM and reads its whole log to open: it is judged beside
them, in goals of its own that are marked "(RAM)".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from contenders import DURABLE_ATOMIC, DURABLE_ATOMIC_RAM, OURS
from questions.scattered import SUFFIX

US, SORTED = OURS
ORDERS = ("", SUFFIX)
MEMORY_MEDIA = ("tmpfs", "ramfs")
#: Two figures of one run are "the same" up to this factor.
SAME = 1.25
#: Items from which on the size of a file is judged: the log of a small pool is no item.
LARGE = 1_000_000
LMDB = ("lmdb", "lmdb writemap")
#: With keys that come in order, and in none.
IN_BOTH_ORDERS = tuple(name + order for name in ("put", "delete") for order in ORDERS)
BLOCKS_IN_BOTH_ORDERS = tuple(
    name + order for name in ("1000 puts in a transaction", "update() of 1000") for order in ORDERS
)


@dataclass(frozen=True)
class Verdict:
    """A goal, and what came of it.

    Attributes:
        goal: In words.
        medium: File system.
        wanted: ``>= 3`` and the like.
        found: The figure; None if it was not measured.
        unit: ``x`` for ratios.
        verdict: ``met``, ``missed`` or ``not measured``.
        note: Against whom, or what is not there.
    """

    goal: str
    medium: str
    wanted: str
    found: float | None
    unit: str
    verdict: str
    note: str


class Figures:
    """The rows of one medium."""

    def __init__(self, rows: list[dict[str, Any]], medium: str) -> None:
        self.rows = [row for row in rows if row["medium"] == medium]
        self.medium = medium

    def median(self, workload: str, contender: str = US, key: str = "median") -> float | None:
        for row in self.rows:
            if row["workload"] == workload and row["contender"] == contender:
                figure: float | None = row.get(key)
                return figure
        return None

    def best(self, workload: str, among: Callable[[dict[str, Any]], bool]) -> tuple[str, float]:
        """The quickest of some peers."""
        peers = [
            (row["median"], row["contender"])
            for row in self.rows
            if row["workload"] == workload and row["contender"] not in OURS and among(row)
        ]
        if not peers:
            return "", 0.0
        figure, name = min(peers)
        return name, figure

    def workloads(self, start: str) -> list[str]:
        return list(
            dict.fromkeys(row["workload"] for row in self.rows if row["workload"].startswith(start))
        )


def is_store(row: dict[str, Any]) -> bool:
    return bool(row["class"] == DURABLE_ATOMIC)


def is_log(row: dict[str, Any]) -> bool:
    return bool(row["class"] == DURABLE_ATOMIC_RAM)


def named(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["contender"] in names


def judged(
    figures: Figures,
    goal: str,
    limit: float,
    found: float | None,
    note: str,
    *,
    least: bool,
    unit: str,
) -> Verdict:
    wanted = f"{'>=' if least else '<='} {limit:g}{'' if unit == 'x' else ' '}{unit}"
    if found is None:
        return Verdict(goal, figures.medium, wanted, None, unit, "not measured", note)
    met = found >= limit if least else found <= limit
    return Verdict(goal, figures.medium, wanted, found, unit, "met" if met else "missed", note)


def quicker(
    figures: Figures,
    goal: str,
    workload: str,
    limit: float,
    among: Callable[[dict[str, Any]], bool],
    us: str = US,
) -> Verdict:
    """At least so many times as quick as the best of some peers."""
    ours = figures.median(workload, us)
    name, best = figures.best(workload, among)
    found = best / ours if ours and best else None
    note = f"best: {name}" if name else "no such peer in this run"
    if ours is None:
        note = f"not measured for {us}"
    return judged(figures, goal, limit, found, note, least=True, unit="x")


def within(
    figures: Figures, goal: str, workload: str, limit: float, other: str, other_workload: str = ""
) -> Verdict:
    """At most so many times the time of another."""
    ours, its = figures.median(workload), figures.median(other_workload or workload, other)
    found = ours / its if ours is not None and its else None
    return judged(figures, goal, limit, found, f"of {other}", least=False, unit="x")


def at_most(
    figures: Figures, goal: str, workload: str, limit: float, unit: str, scale: float
) -> Verdict:
    ours = figures.median(workload)
    found = None if ours is None else ours / scale
    return judged(figures, goal, limit, found, "", least=False, unit=unit)


def on_memory(figures: Figures) -> Iterator[Verdict]:
    """Stores in place: what persistent memory would see."""
    for workload in (*IN_BOTH_ORDERS, "counter", "append"):
        yield quicker(figures, f"{workload}: best store", workload, 3, is_store)
        yield quicker(figures, f"{workload}: dict + log (RAM)", workload, 3, is_log)
    yield at_most(figures, "put", "put", 1.5, "us", 1e3)
    yield at_most(figures, "counter", "counter", 1.0, "us", 1e3)
    for workload in BLOCKS_IN_BOTH_ORDERS:
        yield quicker(figures, f"{workload}: lmdb, per item", workload, 1.3, named(*LMDB))
    yield within(figures, "random get: a dict", "random get", 1.6, "dict")
    yield quicker(figures, "random get: lmdb", "random get", 2, named(*LMDB))
    yield within(figures, "hot get: a dict", "hot get", 3, "dict")
    for workload in ("iterate keys", "iterate items"):
        yield quicker(figures, f"{workload}: ZODB, cached", workload, 1, named("ZODB"))
        yield quicker(figures, f"{workload}: lmdb", workload, 1.5, named(*LMDB))
    yield quicker(figures, "sorted scan of 100: ZODB", "scan of 100", 1.2, named("ZODB"), SORTED)
    yield quicker(figures, "sorted scan of 100: lmdb", "scan of 100", 2, named(*LMDB), SORTED)
    for workload in figures.workloads("A:") + figures.workloads("B:") + figures.workloads("C:"):
        yield quicker(figures, f"mix {workload}: best store", workload, 2, is_store)
        yield quicker(figures, f"mix {workload}: dict + log (RAM)", workload, 2, is_log)
    for workload in figures.workloads("put, from 0 to "):
        middle, rare = (figures.median(workload, key=key) for key in ("p50", "p999"))
        found = rare / middle if rare is not None and middle else None
        goal = f"{workload}: p99.9 against the median"
        yield judged(figures, goal, 20, found, "", least=False, unit="x")
    yield from openings(figures)


def on_files(figures: Figures) -> Iterator[Verdict]:
    """A synchronous write for each commit."""
    yield within(figures, "put: one bare synchronous write", "put", 1.2, "bare write")
    yield quicker(figures, "put: best store", "put", 1, is_store)
    yield quicker(figures, "put: dict + log (RAM)", "put", 1, is_log)
    one, many = figures.median("1 thread, put"), figures.median("16 threads, put")
    found = one / many if one and many else None
    yield judged(figures, "16 threads: one thread", 6, found, "commits/s", least=True, unit="x")
    yield from openings(figures)


def openings(figures: Figures) -> Iterator[Verdict]:
    clean = figures.workloads("open + first get, ")
    for workload in clean:
        yield quicker(figures, f"{workload}: lmdb", workload, 1, named(*LMDB))
    for state in ("after a clean close", "after SIGKILL"):
        of_state = [name for name in clean if name.endswith(state)]
        for larger in of_state[1:]:
            small, large = figures.median(of_state[0]), figures.median(larger)
            found = large / small if small and large else None
            goal = f"{larger}: the same as {of_state[0].split(', ')[1]}"
            yield judged(figures, goal, SAME, found, "", least=False, unit="x")
    for what in ("space in use", "file space"):
        for workload in figures.workloads(f"{what} per item, "):
            if (figures.median(workload, key="x") or 0) >= LARGE:
                yield at_most(figures, workload, workload, 180, "bytes", 1)
    for workload in figures.workloads("anonymous bytes after"):
        yield at_most(figures, workload, workload, 3.0, "MiB", 1 << 20)


def judge(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All goals, for each medium of a run."""
    verdicts: list[Verdict] = []
    for medium in dict.fromkeys(row["medium"] for row in rows):
        figures = Figures(rows, medium)
        verdicts += on_memory(figures) if medium in MEMORY_MEDIA else on_files(figures)
    return [asdict(verdict) for verdict in verdicts]
