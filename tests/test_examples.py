"""The examples run, and do what they say."""

from __future__ import annotations

import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import pmemstore

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PACKAGES = ("asyncio", "concurrent", "email", "http", "json", "unittest", "xml")


def run(name: str, *arguments: object, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Give a hundred files or more of the standard library."""
    library = Path(sysconfig.get_path("stdlib"))
    for package in PACKAGES:
        shutil.copytree(
            library / package,
            tmp_path / "tree" / package,
            ignore=lambda folder, names: [
                name
                for name in names
                if not name.endswith(".py") and not os.path.isdir(os.path.join(folder, name))
            ],
        )
    return tmp_path / "tree"


def test_hello_counts_its_visits(tmp_path: Path) -> None:
    """The second run finds what the first one left."""
    path = tmp_path / "hello.pool"
    assert "visits: 1, stock: {'apples': 6}" in run("00_hello.py", path)
    text = run("00_hello.py", path)
    assert "visits: 2, stock: {'apples': 7}, last: ['visit 1', 'visit 2']" in text
    with pmemstore.open(path, "r") as pool:
        assert f"durability: {pool.durability}" in text
        assert pool.check().ok


def test_crash_test_finds_the_bug_and_passes_what_is_repaired() -> None:
    text = run("02_crash_test.py")
    bug, fixed = text.split("the same in one transaction:")
    assert "after a crash the invariant books_balance raised AssertionError: 1 sold, 0 paid" in bug
    assert re.search(r"has: .* committed by .*02_crash_test.py:\d+ in sell_wrong", bug)
    assert "has not: the unit of work committed by" in bug
    assert "'till': 0" in bug
    assert "direct: no violation in" in fixed
    assert "file: no violation in" in fixed


def test_word_index_indexes_verifies_and_answers(tree: Path, tmp_path: Path) -> None:
    """Every file once; the second run has nothing to do."""
    arguments = ("--pool", tmp_path / "w.pool", "--root", tree, "--query", "Lambda")
    files = len(list(tree.rglob("*.py")))
    text = run("01_wordindex.py", *arguments, "--query", "no_such_word_anywhere")
    assert f"this run: {files} indexed:" in text
    assert "verified: equal to an index in memory" in text
    assert "Lambda: " in text
    assert "no_such_word_anywhere: nowhere" in text
    text = run("01_wordindex.py", *arguments)
    assert f"this run: {files} unchanged:" in text
    assert "costs:    0 commits" in text
    assert "verified" in text


def test_word_index_follows_the_tree(tree: Path, tmp_path: Path) -> None:
    """Changed files are indexed again, removed ones taken out, new ones added."""
    arguments = ("--pool", tmp_path / "w.pool", "--root", tree)
    files = len(list(tree.rglob("*.py")))
    run("01_wordindex.py", *arguments)
    with pmemstore.open(tmp_path / "w.pool", "r") as pool:
        assert "runner" in pool.root["words"]
    (tree / "json" / "decoder.py").write_text("only_here = 1\n")
    (tree / "new.py").write_text("only_new = 2\n")
    shutil.rmtree(tree / "unittest")
    text = run("01_wordindex.py", *arguments, "--query", "only_here")
    removed = files + 1 - len(list(tree.rglob("*.py")))
    assert f"1 indexed, 1 indexed again, {removed} removed, {files - removed - 1} unchanged" in text
    assert "verified" in text
    assert "only_here: 1 times in 1 files" in text


@pytest.mark.parametrize("place", ["tmpfs", "file"])
def test_word_index_may_be_killed_at_any_time(
    place: str, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """After some kill -9 it goes on where it was and ends with the same index."""
    folder = tmp_path if place == "file" else request.getfixturevalue("tmpfs")
    pool_path = folder / "w.pool"
    command = [sys.executable, str(EXAMPLES / "01_wordindex.py"), "--no-bar", "--no-verify"]
    command += ["--pool", str(pool_path), "--root", str(tree)]
    rng = random.Random(11)
    files, indexed = len(list(tree.rglob("*.py"))), [0]
    for _ in range(6):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # the pool is open
        time.sleep(rng.uniform(0, 0.06))
        process.kill()
        process.communicate()
        with pmemstore.open(pool_path, "r") as pool:  # writes nothing: the next run recovers
            assert pool.check().ok
            indexed.append(len(pool.root.get("files", {})))
    assert indexed == sorted(indexed), "an indexed file was lost"
    text = run("01_wordindex.py", "--no-bar", "--pool", pool_path, "--root", tree)
    print(f"{place}: {files} files; indexed after each kill: {indexed[1:]}")
    assert "verified: equal to an index in memory" in text
    with pmemstore.open(pool_path, "w") as pool:
        assert len(pool.root["files"]) == files
        assert pool.check().leaked_bytes == 0


def test_word_index_notices_a_wrong_index(tree: Path, tmp_path: Path) -> None:
    """The verification bites: one wrong count is found and named."""
    run("01_wordindex.py", "--pool", tmp_path / "w.pool", "--root", tree)
    with pmemstore.open(tmp_path / "w.pool", "w") as pool:
        postings = pool.root["words"]["lambda"]
        postings[next(iter(postings))] += 1
    text = run("01_wordindex.py", "--pool", tmp_path / "w.pool", "--root", tree, status=1)
    assert "NOT VERIFIED: 1 differences" in text
    assert "word 'lambda'" in text


def test_word_index_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    """Exit status 2 and a reason: no such tree, a medium weaker than demanded, no pool."""
    pool = tmp_path / "w.pool"
    assert "not a directory" in run("01_wordindex.py", "--root", tmp_path / "no", status=2)
    text = run("01_wordindex.py", "--pool", pool, "--root", tmp_path, "--require", "eadr", status=2)
    assert "DurabilityError" in text
    pool.write_text("something else, and not empty")
    text = run("01_wordindex.py", "--pool", pool, "--root", tmp_path, status=2)
    assert "PoolFormatError" in text
    assert pool.read_text() == "something else, and not empty"
    assert "--query WORD" in run("01_wordindex.py", "--help")


def test_time_series_appends_corrects_and_plots(tmp_path: Path) -> None:
    """Two days of readings; each run corrects its own day alone."""
    import numpy as np

    path, plot = tmp_path / "r.pool", tmp_path / "r.png"
    arguments = ("--pool", path, "--plot", plot, "--readings", 3000)
    assert "3000 readings" in run("05_time_series.py", *arguments)
    with pmemstore.open(path, "r") as pool:
        before = np.array(pool.root["value"])
    text = run("05_time_series.py", *arguments)
    assert "6000 readings" in text
    assert "corrected: 2700 readings" in text
    assert plot.read_bytes().startswith(b"\x89PNG")
    with pmemstore.open(path, "r") as pool:
        times, values = np.asarray(pool.root["time"]), np.asarray(pool.root["value"])
        assert len(times) == len(values) == 6000
        assert (values[:3000] == before).all()
        assert (np.diff(times) == np.timedelta64(1, "s")).all()
        assert pool.check().ok


def test_job_queue_loses_no_job_to_a_kill(tmp_path: Path) -> None:
    """It kills itself in its middle; the next run does what is left, and nothing twice."""
    root = tmp_path / "files"
    root.mkdir()
    for n in range(40):
        (root / f"{n}.py").write_bytes(b"%d\n" % n * n)
    arguments = ("--pool", tmp_path / "q.pool", "--root", root)
    text = run("04_job_queue.py", *arguments, "--die-after", 10, status=-signal.SIGKILL)
    assert text == "0 done before, 0 given back, 40 new\n"
    with pmemstore.open(tmp_path / "q.pool", "w") as pool:
        waiting, running, results = (pool.root[n] for n in ("waiting", "running", "results"))
        assert 10 <= len(results) < 40
        assert 1 <= len(running) <= 4
        jobs = [*waiting, *running, *results]
        assert sorted(jobs) == sorted(str(path) for path in root.glob("*.py"))
        done, lost = len(results), len(running)
    text = run("04_job_queue.py", *arguments)
    assert f"{done} done before, {lost} given back, 0 new" in text
    size = sum(path.stat().st_size for path in root.glob("*.py"))
    assert f"40 jobs done, {size} bytes; 0 waiting" in text


def test_cache_remembers_across_runs(tmp_path: Path) -> None:
    first = run("06_cache.py", tmp_path / "c.pool")
    assert re.search(r"^[1-9]\d+ computed, ", first, re.MULTILINE)
    assert "session: {'user': 'Ada'}\nlater: None, 1 expired\nruns: 1" in first
    second = run("06_cache.py", tmp_path / "c.pool")
    assert re.search(r"^0 computed, ", second, re.MULTILINE)
    assert "runs: 2" in second


def test_cache_evicts_expires_and_survives_crashes(tmp_path: Path) -> None:
    """The methods one by one, with a clock of the test's own; and any crash in them."""
    module = runpy.run_path(str(EXAMPLES / "06_cache.py"))
    now = [1000.0]
    with module["Cache"](tmp_path / "c.pool", most=3, clock=lambda: now[0]) as cache:
        cache.set("a", 1, expire=10)
        cache.set("b", [1, 2])
        assert cache.add("c", 3)
        assert not cache.add("c", 4)
        assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, [1, 2], 3, 3)
        now[0] += 11
        assert cache.get("a", "gone") == "gone"
        cache.set("d", 4)  # makes room by forgetting what has expired
        assert list(cache) == ["b", "c", "d"]
        cache.set("e", 5)
        assert list(cache) == ["c", "d", "e"]
        assert cache.incr("e", 2) == 7
        assert cache.delete("e")
        assert not cache.delete("e")
        cache.clear()
        assert len(cache) == 0
        assert cache.pool.check().ok


def test_bank_balances_after_every_kill(tmp_path: Path) -> None:
    text = run("03_bank.py", tmp_path / "b.pool")
    assert (
        len(re.findall(r"^kill \d: [1-9]\d* transfers, the books balance$", text, re.MULTILINE))
        == 5
    )
    assert "direct: no violation in" in text
    assert "file: no violation in" in text
