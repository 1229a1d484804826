"""What README.md and docs/ say is so: their code runs, their links and names lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pmemstore
from pmemstore import cli, errors, status

if TYPE_CHECKING:
    from conftest import Medium, Opener

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    plain = re.sub(r"[`*]", "", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE)


# ---- README ----


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_readme_code_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block by itself, as a program that somebody pastes."""
    monkeypatch.chdir(tmp_path)
    code = compile(blocks("python")[number], f"README.md, block {number}", "exec")
    exec(code, {"__name__": "__main__"})


def test_readme_commands_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """make knows its targets, pip the extras; the pool commands run."""
    makefile = (ROOT / "Makefile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    monkeypatch.chdir(tmp_path)
    pmemstore.open("shop.pool").close()
    lines = [line for text in blocks("console") for line in text.splitlines()]
    commands = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    assert ["make", "run"] in commands
    assert ["make", "test"] in commands
    for command in commands:
        if command[0] == "make":
            assert re.search(rf"^{command[1]}:", makefile, re.MULTILINE)
        elif command[1:2] == ["install"]:
            extra = re.fullmatch(r"\.\[(\w+)\]", command[2])
            assert extra is not None
            assert extra[1] in project["optional-dependencies"]
        elif command[:3] == ["python", "-m", "pmemstore"]:
            done = subprocess.run(
                [sys.executable, *command[1:]], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_readme_knows_all_commands_and_errors() -> None:
    listed = set(re.findall(r"python -m pmemstore (\w+)", README))
    parser = cli._parser()
    (actions,) = (a.choices for a in parser._actions if a.dest != "help" and a.choices)
    assert listed == set(actions)
    for name in errors.__all__:
        if name != "SchemaMismatchError":  # of records, which are not there yet
            assert f"`{name}`" in README


def test_tiers_are_those_of_the_library() -> None:
    """In README.md from the strongest to the weakest, and as columns in guarantees.md."""
    table = README[README.index("| tier |") :].split("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(status.TIERS)
    columns = (ROOT / "docs/guarantees.md").read_text().split("\n| | ")[1].splitlines()[0]
    assert re.findall(r"`([\w-]+)`", columns) == list(status.TIERS)


def test_readme_is_the_long_description() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["readme"] == "README.md"


# ---- costs ----


def put_many(pool: pmemstore.Pool, count: int) -> None:
    with pool.transaction():
        for i in range(count):
            pool.root["d"][f"{count} {i}"] = b"v" * 100


def put_and_roll_back(pool: pmemstore.Pool) -> None:
    try:
        with pool.transaction():
            put_many(pool, 1000)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


def only_read(pool: pmemstore.Pool) -> None:
    with pool.transaction():
        pool.root.get("d")
    with pool.transaction():
        pass


COSTS: dict[str, list[Callable[[pmemstore.Pool], Any]]] = {
    "put, update, delete, append, insert, pop": [
        lambda pool: pool.root["d"].__setitem__("new", b"v" * 100),
        lambda pool: pool.root["d"].__setitem__("new", b"w" * 100),
        lambda pool: pool.root["d"].__delitem__("new"),
        lambda pool: pool.root["l"].append("text"),
        lambda pool: pool.root["l"].insert(0, 1),
        lambda pool: pool.root["l"].pop(),
    ],
    "transaction of 10 puts": [lambda pool: put_many(pool, 10)],
    "transaction of 1000 puts": [lambda pool: put_many(pool, 1000)],
    "transaction of 10000 puts": [lambda pool: put_many(pool, 10_000)],
    "transaction that only reads": [only_read],
    "transaction of 1000 puts that is rolled back": [put_and_roll_back],
    "put of a value of 2 MiB": [lambda pool: pool.root.__setitem__("large", bytes(2 << 20))],
    "checkpoint": [lambda pool: pool.checkpoint()],
}


def readme_costs() -> Iterator[tuple[str, int, int]]:
    table = README[README.index("| operation |") :].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        what, fences, syncs = (cell.strip() for cell in row.strip("|").split("|"))
        yield what, int(fences), int(syncs)


def test_costs_are_those_of_the_readme(medium: Medium, open_pool: Opener) -> None:
    """Each row of its table, counted."""
    pool = open_pool(medium.folder / "costs.pool", "n", size="64M")
    pool.root.update(d={}, l=[])
    rows = list(readme_costs())
    assert len(rows) == len(COSTS)
    for what, fences, syncs in rows:
        (actions,) = (COSTS[name] for name in COSTS if re.match(rf"{name}(?: \(|, |$)", what))
        for action in actions:
            before = pool.stats()
            action(pool)
            after = pool.stats()
            cost = (after.fences - before.fences, after.syncs - before.syncs)
            assert cost == ((fences, 0) if medium.is_direct else (0, syncs)), what


# ---- links and names ----


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in map(slug, headings(path)), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_tests_that_are_named_exist(page: Path) -> None:
    """`tests/x.py::test_y`, `tests/native/test_x.c::test_y`, and files of the tree alone."""
    named = re.findall(
        r"`((?:tests|pmemstore|docs|examples|benchmarks)/[\w./-]+)(?:::([\w:]+))?`",
        page.read_text(),
    )
    for name, test in named:
        path = ROOT / name
        assert path.exists(), name
        for part in test.split("::") if test else ():
            prefix = r"^\s*(?:def|class) " if path.suffix == ".py" else r"^static void "
            found = re.search(rf"{prefix}{part}\b", path.read_text(), re.MULTILINE)
            assert found, f"{name}::{part}"


def references() -> Iterator[tuple[str, str, str]]:
    """Yield file, page and heading of each `docs/page.md, "Heading"` in the sources and tests."""
    for folder in ("pmemstore", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".c", ".h", ".py", ".pyi", ".txt") or path == Path(__file__):
                continue
            # A reference may run over the end of a line of a comment.
            text = re.sub(r"\s*\n[ \t]*(?:\*|#)?[ \t]*", " ", path.read_text())
            for page, heading in re.findall(r'docs/([\w-]+\.md)(?:`*,\s+"([^"]+)")?', text):
                yield str(path.relative_to(ROOT)), page, heading


def test_references_of_the_sources_resolve() -> None:
    found = list(references())
    assert len(found) >= 8
    for source, page, heading in found:
        path = ROOT / "docs" / page
        if source == "tests/test_tidy.py":
            continue  # its bad snippets name a page that is none
        assert path.exists(), f"{source}: docs/{page}"
        if heading:
            assert heading in headings(path), f'{source}: docs/{page}, "{heading}"'
