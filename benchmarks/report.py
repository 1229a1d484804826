"""Tables of a run, in Markdown: the same text for the terminal and for docs/benchmarks.md.

Contenders of unequal durability are never in one table with a ratio: each class has its own, and
the ratio is to the best *other* contender of the same class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contenders import CLASSES, DURABLE_ATOMIC, OURS

UNITS = {"ns": ("us", 1e-3), "bytes": ("bytes", 1.0)}
#: Questions whose single operations are told too.
WITH_TAILS = ("operations", "scattered", "mixes", "growth")


def number(value: float | None) -> str:
    """Three digits that say something."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else f"{value:.2g}"


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Columns of equal width, so that it can be read without a browser."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    yield line(head)
    yield (
        "|"
        + "|".join("-" * (width + 1) + ("-" if i == 0 else ":") for i, width in enumerate(widths))
        + "|"
    )
    yield from map(line, rows)
    yield ""


def one_class(rows: list[dict[str, Any]], names: list[str]) -> Iterator[str]:
    """Medians by workload and contender, and what the best other one takes of the first."""
    by_workload: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_workload.setdefault(row["workload"], {})[row["contender"]] = row
    lines = []
    for workload, by_name in by_workload.items():
        unit, scale = UNITS[next(iter(by_name.values()))["unit"]]
        cells = [f"{workload}, {unit}"]
        for name in names:
            measured = name in by_name
            cells.append(number(by_name[name]["median"] * scale) if measured else "-")
        if set(OURS) & set(names):
            others = [row["median"] for name, row in by_name.items() if name not in OURS]
            ours = [row["median"] for name, row in by_name.items() if name in OURS]
            known = others and ours and min(ours) > 0
            cells.append(f"{min(others) / min(ours):.2f}x" if known else "")
        lines.append(cells)
    head = ["median", *names] + (["best other / best of ours"] if set(OURS) & set(names) else [])
    yield from table(head, lines)


def tails(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Percentiles of single operations."""
    lines = []
    for row in rows:
        if "p50" in row:
            _, scale = UNITS[row["unit"]]
            cells = [number(row[key] * scale) for key in ("p50", "p99", "p999", "max")]
            lines.append([f"{row['workload']}: {row['contender']}", *cells, f"{row['samples']:,}"])
    if lines:
        yield "Single operations, us:"
        yield ""
        yield from table(["", "p50", "p99", "p99.9", "max", "samples"], lines)


def missing(result: dict[str, Any], medium: str) -> Iterator[str]:
    """What is not in the tables, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in result["absent"].get(medium, []):
        reasons.setdefault((entry["contender"], entry["reason"]), []).append(entry["workload"])
    for (name, reason), workloads in reasons.items():
        yield f"* {name} is not in {', '.join(workloads)}: {reason}."
    for name, reason in result["missing"].items():
        yield f"* {name} is missing altogether: {reason}."
    yield ""


def goals(result: dict[str, Any]) -> Iterator[str]:
    verdicts = result["goals"]
    met = sum(goal["verdict"] == "met" for goal in verdicts)
    missed = sum(goal["verdict"] == "missed" for goal in verdicts)
    yield "## Goals"
    yield ""
    yield f"{met} met, {missed} missed, {len(verdicts) - met - missed} not measured in this run."
    yield "The worst put of a growing table is counted, not timed: tests/test_counts.py."
    yield ""
    lines = []
    for goal in verdicts:
        found = "" if goal["found"] is None else f"{number(goal['found'])} {goal['unit']}"
        cells = [f"{goal['medium']}: {goal['goal']}", goal["wanted"], found, goal["verdict"]]
        lines.append([*cells, goal["note"]])
    yield from table(["goal", "wanted", "found", "", "note"], lines)


def quoted(result: dict[str, Any]) -> Iterator[str]:
    known = result["quoted"]
    yield "## Quoted, not measured here"
    yield ""
    yield f"Taken on: {known['machine']}; {known['medium']}; {known['unit']}."
    yield ""
    for name, figures in known.items():
        if isinstance(figures, dict):
            facts = {key: value for key, value in figures.items() if isinstance(value, float)}
            text = "; ".join(f"{key} {value:g}" for key, value in facts.items())
            yield f"* **{name}** ({figures['version']}; {figures['durability']}): {text}."
    yield ""


def head(result: dict[str, Any]) -> Iterator[str]:
    on = result["machine"]
    yield "# Benchmarks"
    yield ""
    yield "Written by `benchmarks/run.py`. Times hold for one machine and one run, ratios longer."
    yield ""
    memory = on["memory_bytes"] / (1 << 30)
    cpus = on["cpu"].get("cpus", "unknown")
    load = on["load_average_at_start"][0]
    yield f"* Machine: {on['cpu']['model']}, {cpus} CPUs, {memory:.0f} GiB, {on['system']}"
    yield f"* Flush instructions: {', '.join(on['cpu'].get('flushes', [])) or 'unknown'}"
    yield f"* Python {on['python']}; pmemstore {on['pmemstore']} at {on['commit']}; {on['when']}"
    yield f"* Size `{result['size']}`; load average when it began: {load:.1f}"
    if result["size"] == "tiny":
        yield "* **Size `tiny` shows that everything runs; its figures and verdicts mean nothing.**"
    if load > 0.5 * (on["cpu"].get("cpus") or 1):
        yield "* **The machine was busy: take these figures for a sign that everything runs.**"
    versions = [f"{name} {version}" for name, version in result["versions"].items()]
    yield f"* Versions: {', '.join(versions)}"
    yield ""


def one_medium(
    result: dict[str, Any], medium: str, pictures: list[tuple[str, str]]
) -> Iterator[str]:
    rows = [row for row in result["rows"] if row["medium"] == medium]
    words = result["contenders"][medium]
    yield f"## On {medium}"
    yield ""
    for title, file in pictures:
        yield f"![{title}]({file})"
        yield ""
    yield "What a commit is worth, for each contender:"
    yield ""
    for key in CLASSES:
        for name, about in words.items():
            if about["class"] == key:
                yield f"* **{name}**, {key}: {about['words']}"
    yield ""
    for question in dict.fromkeys(row["question"] for row in rows):
        yield f"### {question.capitalize()}"
        yield ""
        for key in CLASSES:
            of_class = [row for row in rows if row["question"] == question and row["class"] == key]
            if not of_class:
                continue
            present = {row["contender"] for row in of_class}
            names = [name for name in words if name in present]
            yield f"Class: {key}."
            yield ""
            yield from one_class(of_class, names)
            if question in WITH_TAILS and key == DURABLE_ATOMIC:
                yield from tails(
                    [row for row in of_class if row["contender"] in (*OURS, *best(of_class))]
                )
    yield from missing(result, medium)


def best(rows: list[dict[str, Any]]) -> set[str]:
    """Peers that are the quickest of some workload."""
    quickest: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row["contender"] not in OURS:
            entry = (row["median"], row["contender"])
            quickest[row["workload"]] = min(quickest.get(row["workload"], entry), entry)
    return {name for _, name in quickest.values()}


def page(result: dict[str, Any], pictures: dict[str, list[tuple[str, str]]] | None = None) -> str:
    """The whole report.

    Args:
        result: What ``run.py`` has written.
        pictures: Titles and files of each medium, relative to the page.
    """
    lines = [*head(result), *goals(result)]
    for medium in result["contenders"]:
        lines += one_medium(result, medium, (pictures or {}).get(medium, []))
    lines += quoted(result)
    return "\n".join(lines) + "\n"
