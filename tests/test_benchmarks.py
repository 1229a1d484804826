"""The benchmarks run: small, to see that every contender does the work.  No time is asserted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("contenders", "harness", "goals", "report", "questions", "machine")
QUESTIONS = ("operations", "scattered", "mixes", "values", "threads", "growth", "opening")
#: They need nothing that the tests do not have anyway.
ALWAYS = {"pmemstore", "pmemstore sorted", "sqlite3", "dict", "dict+log", "shelve", "bare write"}


@pytest.fixture(scope="module")
def suite() -> Iterator[dict[str, ModuleType]]:
    """The modules of the suite, which is no package: its programs are started by path."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in list(sys.modules):
            if name.partition(".")[0] in MODULES:
                del sys.modules[name]


def run(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "run.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


# ---- every workload, with every contender that is installed ----


@pytest.mark.parametrize("question", QUESTIONS)
def test_contenders_that_need_nothing_answer(question: str, tmp_path: Path) -> None:
    """The suite itself compares what each contender holds at the end with what it was given."""
    ask(question, tmp_path, *(f"--contender={name}" for name in ALWAYS))


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_contender_answers_or_says_why_not(question: str, tmp_path: Path) -> None:
    """As many as are installed: ``make bench-check`` installs them all."""
    ask(question, tmp_path)


def ask(question: str, folder: Path, *options: str) -> None:
    """Run one question, and look whether anything is missing without a reason."""
    result_file = folder / "result.json"
    only = ["--size", "tiny", "--only", question, *options]
    done = run(*only, "--dir", folder, "--json", result_file)
    result = json.loads(result_file.read_text())
    (medium,) = result["contenders"]
    present, missing = set(result["versions"]), set(result["missing"])
    assert present >= ALWAYS
    for name in missing:
        assert f"missing: {name}: not installed" in done.stderr
        assert f"{name} is missing altogether" in done.stdout
    assert result["rows"]
    told = {(entry["workload"], entry["contender"]) for entry in result["absent"][medium]}
    for row in result["rows"]:
        assert row["median"] >= 0
        assert row["contender"] in present
        assert row["class"] == result["contenders"][medium][row["contender"]]["class"]
    if question in ("operations", "scattered"):
        workloads = {row["workload"] for row in result["rows"]} | {workload for workload, _ in told}
        measured = {(row["workload"], row["contender"]) for row in result["rows"]}
        for workload in workloads:
            if " per item, " in workload:  # of a load, which volatile ones do not take part in
                continue
            assert {name for name in present if (workload, name) not in measured | told} == set()
    assert result["goals"]
    timed = ("put", "counter", "put, scattered keys")
    assert all(row["median"] > 0 for row in result["rows"] if row["workload"] in timed)


def test_a_run_of_some_contenders_on_two_media(tmp_path: Path, tmpfs: Path) -> None:
    """Media are kept apart; what was not asked for is not there."""
    result_file = tmp_path / "result.json"
    names = ["--contender", "pmemstore", "--contender", "dict"]
    places = ["--dir", tmpfs, "--dir", tmp_path]
    run("--size", "tiny", "--only", "mixes", *names, *places, "--json", result_file)
    result = json.loads(result_file.read_text())
    assert {row["contender"] for row in result["rows"]} == {"pmemstore", "dict"}
    media = {row["medium"] for row in result["rows"]}
    assert "tmpfs" in media
    again = run("--report", result_file)
    assert all(f"## On {medium}" in again.stdout for medium in media)


def test_plots_and_page_are_written(tmp_path: Path) -> None:
    """Bars of one class of durability each, as SVG beside the page."""
    pytest.importorskip("matplotlib", reason="plots need the extra 'bench'")
    result_file, docs = tmp_path / "result.json", tmp_path / "docs"
    docs.mkdir()
    only = ["--only", "mixes", "--only", "growth", "--contender", "pmemstore"]
    run("--size", "tiny", *only, "--contender", "sqlite3", "--dir", tmp_path, "--json", result_file)
    alone = tmp_path / "alone.md"
    run("--report", result_file, "--docs", docs, "--page", alone)
    page = (docs / "benchmarks.md").read_text()
    pictures = list(docs.glob("*.svg"))
    assert len(pictures) == 3
    assert all(f"]({picture.name})" in page for picture in pictures)
    lines = [line for line in page.splitlines() if line and not line.startswith("![")]
    assert [line for line in alone.read_text().splitlines() if line] == lines


# ---- what the suite must not let pass ----


def test_a_contender_that_loses_a_put_has_no_figures(
    suite: dict[str, ModuleType], tmp_path: Path
) -> None:
    """No contents, no times."""
    contenders, harness, questions = (suite[n] for n in ("contenders", "harness", "questions"))

    class Forgetful(contenders.CONTENDERS["dict"]):  # type: ignore[name-defined, misc] # no package
        name = "forgetful"
        statements = contenders.CONTENDERS["dict"].statements | {"block": "pass"}

    sizes = {"items": 50, "count": 10, "rounds": 1}
    bench = harness.Bench(tmp_path, "here", sizes, [Forgetful], said=lambda text: None)
    with pytest.raises(AssertionError, match="forgetful holds"):
        questions.QUESTIONS["operations"].ask(bench)
    assert bench.rows == []


def test_unequal_durability_never_shares_a_table(suite: dict[str, ModuleType]) -> None:
    """Each class has its own; a dict in memory is beside no store."""

    def row(name: str, durability: str) -> dict[str, Any]:
        workload = {"question": "operations", "medium": "m", "workload": "put", "unit": "ns"}
        return workload | {"contender": name, "class": durability, "median": 1000.0}

    rows = [row("pmemstore", "durable+atomic"), row("lmdb", "durable+atomic")]
    rows.append(row("dict", "volatile"))
    names = {r["contender"]: {"class": r["class"], "words": "words"} for r in rows}
    cpu = {"model": "x", "cpus": 1}
    machine = {"cpu": cpu, "memory_bytes": 1, "load_average_at_start": [0.0], "system": "s"}
    machine |= {"python": "p", "pmemstore": "0", "commit": "c", "when": "w"}
    result = {"machine": machine, "size": "tiny", "versions": {}, "missing": {}, "goals": []}
    result |= {"absent": {}, "rows": rows, "contenders": {"m": names}}
    result["quoted"] = suite["contenders"].quoted()
    page = suite["report"].page(result)
    heads = [line for line in page.splitlines() if line.startswith("| median")]
    assert len(heads) == 2
    assert not any("dict" in head and "lmdb" in head for head in heads)
    assert "1.00x" in page
    assert "pynvm" not in page.split("## Quoted")[0]


def test_goals_are_met_missed_or_not_measured(suite: dict[str, ModuleType]) -> None:
    """What a run has no figures for is never met."""

    def row(name: str, durability: str, workload: str, median: float) -> dict[str, Any]:
        found = {"medium": "tmpfs", "workload": workload, "median": median, "unit": "ns"}
        return found | {"contender": name, "class": durability}

    rows = [
        row("pmemstore", "durable+atomic", "put", 1000.0),
        row("lmdb", "durable+atomic", "put", 5000.0),
        row("rocksdict", "durable+atomic", "put", 3100.0),
        row("dict+log", "durable+atomic, in RAM", "put", 2900.0),
        row("dict", "volatile", "put", 1.0),
    ]
    verdicts = {goal["goal"]: goal for goal in suite["goals"].judge(rows)}
    assert verdicts["put: best store"]["verdict"] == "met"
    assert verdicts["put: best store"]["found"] == pytest.approx(3.1)
    assert verdicts["put: best store"]["note"] == "best: rocksdict"
    assert verdicts["put: dict + log (RAM)"]["verdict"] == "missed"
    assert verdicts["put"]["verdict"] == "met"
    assert verdicts["counter"]["verdict"] == "not measured"
    assert verdicts["sorted scan of 100: lmdb"]["verdict"] == "not measured"


def test_loops_time_the_statement_and_nothing_else(suite: dict[str, ModuleType]) -> None:
    """A clock that ticks at each reading shows where it is read."""
    harness = suite["harness"]
    ticks = iter(range(1000))
    seen: list[int] = []
    names = {"seen": seen}
    mean = harness.compile_loop(harness.MEAN, "seen.append(number)", "number", names)
    assert mean([1, 2, 3], lambda: next(ticks), None) == 1
    out = [0, 0, 0]
    single = harness.compile_loop(harness.SINGLE, "seen.append(number)", "number", names)
    single([4, 5, 6], lambda: next(ticks), out)
    assert out == [1, 1, 1]
    assert seen == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="hide those of the loop"):
        harness.compile_loop(harness.MEAN, "pass", "number", {"clock": None})


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.001, 1)]
)
def test_percentiles_are_samples(share: float, expected: int, suite: dict[str, ModuleType]) -> None:
    """The smallest sample that the share of them does not exceed."""
    assert suite["harness"].percentile(range(1, 101), share) == expected


def test_zipfian_draws_are_skewed_and_in_range(suite: dict[str, ModuleType]) -> None:
    """The most frequent key of 1000 is drawn about once in seven or eight times."""
    import random

    source, zipf = random.Random(1), suite["harness"].Zipf(1000)
    drawn = [zipf.draw(source) for _ in range(5000)]
    assert all(0 <= number < 1000 for number in drawn)
    most = max(drawn.count(number) for number in set(drawn))
    assert 0.09 < most / len(drawn) < 0.18


def test_the_microbenchmarks_run(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--benchmark-disable",
        "--import-mode=importlib",
    ]
    command += ["-p", "no:cacheprovider", str(BENCHMARKS / "test_micro.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
