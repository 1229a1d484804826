"""Plots of a run, as SVG: bars of one class of durability each, lines against size and threads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from contenders import CLASSES, FLOOR, OURS
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

# Text stays text: a third of the bytes, and a picture that differs where its figures differ.
mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "pmemstore"}

US = OURS[0]
Pictures = dict[str, list[tuple[str, str]]]


def save(figure: Any, folder: Path, medium: str, title: str) -> tuple[str, str]:
    name = "bench_" + re.sub(r"\W+", "_", f"{medium} {title}").strip("_").lower() + ".svg"
    figure.tight_layout()
    figure.savefig(folder / name, metadata={"Date": None})
    plt.close(figure)
    return f"{title}, on {medium}", name


def bars(axes: Axes, rows: list[dict[str, Any]], title: str) -> None:
    """One workload: the contenders of one class, quickest first."""
    rows = sorted(rows, key=lambda row: -float(row["median"]))
    figures = [row["median"] / 1e3 for row in rows]
    colours = ["tab:blue" if row["contender"] in OURS else "tab:gray" for row in rows]
    drawn = axes.barh([row["contender"] for row in rows], figures, color=colours)
    axes.bar_label(drawn, fmt="%.3g", padding=2, fontsize=7)
    axes.margins(x=0.15)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("us per operation", fontsize=7)
    axes.tick_params(labelsize=7)


def operations(rows: list[dict[str, Any]], medium: str, folder: Path) -> list[tuple[str, str]]:
    """A grid of bars for each class: no bars of unequal durability in one picture."""
    pictures = []
    for key in CLASSES:
        mine = [row for row in rows if row["class"] == key and key != FLOOR]
        mine = [row for row in mine if row["question"] in ("operations", "scattered", "mixes")]
        workloads = list(dict.fromkeys(row["workload"] for row in mine))
        if len({row["contender"] for row in mine}) < 2:
            continue
        across = 4
        down = -(-len(workloads) // across)
        figure, grid = plt.subplots(down, across, figsize=(13, 1.9 * down), squeeze=False)
        for place, workload in enumerate(workloads):
            axes = grid[place // across][place % across]
            bars(axes, [row for row in mine if row["workload"] == workload], workload)
        for place in range(len(workloads), down * across):
            grid[place // across][place % across].set_visible(False)
        figure.suptitle(f"{key}, on {medium}: median, less is better", fontsize=11)
        pictures.append(save(figure, folder, medium, f"operations {key}"))
    return pictures


def lines(rows: list[dict[str, Any]], medium: str, folder: Path) -> list[tuple[str, str]]:
    """Cost against the size of a value, the number of threads, the number of items."""
    pictures = []
    labels = {"values": "bytes of a value", "threads": "threads", "opening": "items"}
    for question, label in labels.items():
        mine = [row for row in rows if row["question"] == question and row["unit"] == "ns"]
        for series in dict.fromkeys(row["series"] for row in mine):
            for key in CLASSES:
                by_name: dict[str, list[tuple[float, float]]] = {}
                for row in mine:
                    if row["series"] == series and row["class"] == key:
                        point = (row["x"], row["median"] / 1e3)
                        by_name.setdefault(row["contender"], []).append(point)
                if len(by_name) < 2:
                    continue
                figure, axes = plt.subplots(figsize=(7, 4))
                for name, points in by_name.items():
                    xs, ys = zip(*sorted(points), strict=True)
                    axes.plot(xs, ys, marker="o", label=name, linewidth=2.5 if name in OURS else 1)
                axes.set(xscale="log", yscale="log", xlabel=label, ylabel="us")
                axes.set_title(f"{question}: {series} ({key})", fontsize=10)
                axes.legend(fontsize=7)
                pictures.append(save(figure, folder, medium, f"{question} {series} {key}"))
    return pictures


def growing(rows: list[dict[str, Any]], medium: str, folder: Path) -> list[tuple[str, str]]:
    """Percentiles of puts while the table grows."""
    mine = [row for row in rows if row["question"] == "growth" and row["contender"] == US]
    if not mine:
        return []
    figure, grid = plt.subplots(
        1, len(mine), figsize=(5 * len(mine), 4), squeeze=False, sharey=True
    )
    for axes, row in zip(grid[0], mine, strict=True):
        for key in ("p50", "p99", "p999", "max"):
            xs = [part["items"] for part in row["parts"]]
            axes.plot(xs, [part[key] / 1e3 for part in row["parts"]], marker=".", label=key)
        axes.set(yscale="log", xlabel="items", ylabel="us per put")
        axes.set_title(row["workload"], fontsize=7)
        axes.legend(fontsize=7)
    return [save(figure, folder, medium, "put while the table grows")]


def growing_peers(rows: list[dict[str, Any]], medium: str, folder: Path) -> list[tuple[str, str]]:
    """Median of a put against the number of items, for the stores of one class each."""
    pictures = []
    for key in CLASSES:
        mine = [row for row in rows if row["question"] == "growth" and row["class"] == key]
        mine = [row for row in mine if "checkpoints" not in row["workload"]]
        if len(mine) < 2:
            continue
        figure, axes = plt.subplots(figsize=(7, 4))
        for row in mine:
            xs = [part["items"] for part in row["parts"]]
            ys = [part["p50"] / 1e3 for part in row["parts"]]
            width = 2.5 if row["contender"] in OURS else 1
            axes.plot(xs, ys, marker=".", label=row["contender"], linewidth=width)
        axes.set(yscale="log", xlabel="items", ylabel="us per put, median")
        axes.set_title(f"put against the number of items ({key})", fontsize=10)
        axes.legend(fontsize=7)
        pictures.append(save(figure, folder, medium, f"put against items {key}"))
    return pictures


def draw(result: dict[str, Any], folder: Path) -> Pictures:
    """Draw all of a run; return titles and file names by medium."""
    mpl.rcParams["svg.hashsalt"] = "pmemstore"
    pictures: Pictures = {}
    for medium in result["contenders"]:
        rows = [row for row in result["rows"] if row["medium"] == medium]
        pictures[medium] = operations(rows, medium, folder)
        pictures[medium] += lines(rows, medium, folder) + growing(rows, medium, folder)
        pictures[medium] += growing_peers(rows, medium, folder)
    return pictures
