"""A word index of the Python standard library that may be killed at any time.

    python examples/01_wordindex.py                      index, verify, query a few words
    python examples/01_wordindex.py --query lambda       the same, with a query of your own
    kill -9 it, start it again                           it goes on where it was

What is in the pool:

    root["words"]   word -> {file number -> how often}      one persistent dict for each word
    root["files"]   path -> what is known of the file       size, time, digest, its words
    root["paths"]   file number -> path

One transaction for each file: its entry and all its postings are there, or none of them.  That
is all that resuming takes: a file that has its entry, and is unchanged on the disk, is done.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import pmemstore

WORD = re.compile(r"[^\W\d]\w+")  # a letter or underscore, then at least one more
NOT_THE_LIBRARY = {"site-packages", "dist-packages"}
TESTS = {"test", "tests", "idle_test"}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False)
    tree = options.root.resolve()
    if not tree.is_dir():
        console.print(f"{tree} is not a directory", style="red")
        return 2
    paths = sorted(python_files(tree, tests=options.tests))
    try:
        with pmemstore.open(options.pool, "c", require=options.require) as pool:
            console.print(f"{pool.path}: {pool.durability}")
            start = time.perf_counter()
            done = update(pool, paths, console, bar=options.bar)
            report(pool, done, time.perf_counter() - start, console)
            if options.verify and not verify(pool, paths, console):
                return 1
            for word in options.query or ["lambda", "asyncio", "persistent"]:
                query(pool, word, options.top, console)
    except KeyboardInterrupt:
        console.print("interrupted: what is indexed is safe; start it again to go on")
        return 130
    except pmemstore.PmemstoreError as error:
        console.print(f"{type(error).__name__}: {error}", style="red")
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description="Index the words of all Python files of a tree in a pool; may be killed and "
        "started again at any time.",
    )
    made.add_argument(
        "--pool", type=Path, default=Path("wordindex.pool"), help="file (default: %(default)s)"
    )
    made.add_argument(
        "--root",
        type=Path,
        default=Path(sysconfig.get_path("stdlib")),
        help="tree to index (default: this Python's standard library, %(default)s)",
    )
    made.add_argument(
        "--tests",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="index directories of tests too",
    )
    made.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare all of it with an index made in memory, and check the pool",
    )
    made.add_argument("--query", metavar="WORD", action="append", help="look up; can be repeated")
    made.add_argument("--top", type=int, default=5, help="files to show (default: %(default)s)")
    made.add_argument("--require", metavar="TIER", help="refuse a medium that is weaker, e.g. sync")
    made.add_argument(
        "--bar", action=argparse.BooleanOptionalAction, default=True, help="show the progress"
    )
    return made


# ---- the tree ---------------------------------------------------------------------------


def python_files(tree: Path, *, tests: bool) -> Iterator[str]:
    skipped = NOT_THE_LIBRARY if tests else NOT_THE_LIBRARY | TESTS
    for folder, folders, names in os.walk(tree):
        folders[:] = [name for name in folders if name not in skipped]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def count_words(data: bytes) -> Counter[str]:
    # Some files of the test suite are no UTF-8, on purpose.
    return Counter(WORD.findall(data.decode("utf-8", "replace").lower()))


def digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


# ---- the index --------------------------------------------------------------------------


def update(
    pool: pmemstore.Pool, paths: Iterable[str], console: Console, *, bar: bool
) -> Counter[str]:
    """Make the index that of these files; return how many were indexed, skipped and so on."""
    root = pool.root
    with pool.transaction():
        for name in ("words", "files", "paths"):
            root.setdefault(name, {})
        root.setdefault("next number", 0)

    done: Counter[str] = Counter()
    wanted = list(paths)
    gone = sorted(set(root["files"]) - set(wanted))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("files"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not bar) as progress:
        for path in progress.track(wanted, description="indexing"):
            done[index_file(pool, path)] += 1
    for path in gone:
        with pool.transaction():
            remove_file(pool, path)
        done["removed"] += 1
    return done


def index_file(pool: pmemstore.Pool, path: str) -> str:
    """Bring one file up to date; return what there was to do."""
    root = pool.root
    known = root["files"].get(path)
    try:
        status = os.stat(path)
        if known is not None and is_unchanged(known, status):
            return "unchanged"
        data = Path(path).read_bytes()
    except OSError:  # deleted since the walk, or not ours to read
        with pool.transaction():
            remove_file(pool, path)
        return "unreadable"

    counts = count_words(data)
    with pool.transaction():
        remove_file(pool, path)
        number = root["next number"]
        root["next number"] = number + 1
        root["paths"][number] = path
        root["files"][path] = {
            "number": number,
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "digest": digest_of(data),
            "total": counts.total(),
            "terms": " ".join(counts),  # one value: needed only to take the file out again
            "indexed": datetime.now(UTC),
        }
        words = root["words"]
        for word, count in counts.items():
            postings = words.get(word)
            if postings is None:
                words[word] = {number: count}
            else:
                postings[number] = count
    return "indexed" if known is None else "indexed again"


def is_unchanged(known: Any, status: os.stat_result) -> bool:
    return bool(known["size"] == status.st_size and known["mtime_ns"] == status.st_mtime_ns)


def remove_file(pool: pmemstore.Pool, path: str) -> None:
    """Take a file and all its postings out; nothing if it is not in.  Inside a transaction."""
    root = pool.root
    known = root["files"].pop(path, None)
    if known is None:
        return
    number, words = known["number"], root["words"]
    del root["paths"][number]
    for word in known["terms"].split():
        postings = words[word]
        del postings[number]
        if not postings:
            del words[word]


def report(pool: pmemstore.Pool, done: Counter[str], seconds: float, console: Console) -> None:
    root, stats = pool.root, pool.stats()
    postings = sum(len(files) for files in root["words"].values())
    todo = ", ".join(f"{count} {what}" for what, count in sorted(done.items())) or "nothing to do"
    console.print(f"this run: {todo}: {seconds:.1f} s, {done.total() / seconds:.0f} files/s")
    console.print(
        f"index:    {len(root['files'])} files, {len(root['words'])} words, {postings} postings, "
        f"{stats.used_bytes / max(postings, 1):.0f} bytes per posting, "
        f"{stats.size / 2**20:.1f} MiB of file"
    )
    console.print(
        f"costs:    {stats.commits} commits, {stats.syncs} syncs, {stats.fences} fences, "
        f"{stats.checkpoints} checkpoints, {stats.log_bytes / 2**20:.1f} MiB of log"
    )


# ---- is it right? -----------------------------------------------------------------------


def verify(pool: pmemstore.Pool, paths: Iterable[str], console: Console) -> bool:
    """Compare the whole index with one made in memory, without the pool, and check the pool."""
    start = time.perf_counter()
    words: dict[str, dict[str, int]] = {}
    files: dict[str, tuple[int, bytes, int]] = {}
    for path in paths:
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue
        counts = count_words(data)
        files[path] = (len(data), digest_of(data), counts.total())
        for word, count in counts.items():
            words.setdefault(word, {})[path] = count

    root = pool.root
    stored = {path: (f["size"], f["digest"], f["total"]) for path, f in root["files"].items()}
    wrong = [f"file {path}" for path in differences(stored, files)]
    names = dict(root["paths"].items())
    index = {
        word: {names.get(number, f"number {number}"): count for number, count in found.items()}
        for word, found in root["words"].items()
    }
    wrong += [f"word {word!r}" for word in differences(index, words)]
    wrong += pool.check().problems
    if wrong:
        console.print(f"NOT VERIFIED: {len(wrong)} differences", style="red", markup=False)
        for line in wrong[:10]:
            console.print(f"  {line}", markup=False)
        return False
    console.print(
        f"verified: equal to an index in memory, pool checked: {time.perf_counter() - start:.1f} s"
    )
    return True


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))


def query(pool: pmemstore.Pool, word: str, top: int, console: Console) -> None:
    root = pool.root
    found = root["words"].get(word.lower())
    if found is None:
        console.print(f"{word}: nowhere", markup=False)
        return
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:top]
    console.print(f"{word}: {sum(found.values())} times in {len(found)} files", markup=False)
    for number, count in best:
        console.print(f"  {count:6}  {root['paths'][number]}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
