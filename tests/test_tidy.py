"""The architecture, held by tests: who may include, import and call what, and what no file says.

Each rule is a function from a file's name and text to its violations, so that it can be shown to
fail on a bad snippet before it is run on the tree.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NATIVE = "pmemstore/_native/"

# A C file includes only modules of columns left of its own, and its own module.  The module of
# table_iter.c is table.
C_LAYERS: list[set[str]] = [
    {"status"},
    {"layout", "hash"},
    {"persist"},
    {"machine"},
    {"trace"},
    {"map"},
    {"watch"},
    {"mapping"},
    {"log"},
    {"recover", "wset"},
    {"heap"},
    {"tx"},
    {"pool"},
    {"value"},
    {"object"},
    {"array", "open", "sorted", "table", "vec"},
    {"record"},
    {"kinds"},
    {"check"},
    {"collect"},
    {"bind"},
    {"slots"},
]
# Files whose name does not say whose part they are.
C_PARTS = {"extents": "map", "prepare": "map", "probe": "map", "sigbus": "map"}
# Pairs (file's module, included module) of one column that are fine all the same.
C_SAME_COLUMN: set[tuple[str, str]] = set()

# The same for Python; modules of one column may import each other.
PY_LAYERS: list[set[str]] = [
    {"errors"},
    {"layout", "host"},
    {"_native"},
    {"recorder", "watch"},
    {"mapping"},
    {"alloc", "health", "sizes", "status"},
    {"tx"},
    {"containers", "records", "values"},
    {"pool"},
    {"opening"},
    {"__init__"},
    {"testing", "doctor"},
    {"cli"},
    {"__main__"},
]

# The one door to the medium (persist.h says why).
# machine writes files that are images of a pool, not pools.
DOOR_MODULES = {"persist", "map", "machine"}
DOOR_CALLS_C = re.compile(
    r"\b(?P<call>msync|pwrite(?:64|v2?)?|fdatasync|fsync|sync_file_range|fallocate"
    r"|posix_fallocate|ftruncate|_mm_(?:clwb|clflush(?:opt)?|sfence)|_mm_stream_\w+"
    r"|__builtin_ia32_(?:clwb|clflush(?:opt)?|sfence)|__asm__|asm)\s*(?:volatile\s*)?\("
    r"|\b(?P<copy>mem(?:cpy|move|set))\s*\([^,;]*\bbase\s*\+"
)
DOOR_CALLS_PY = re.compile(
    r"\bos\.(?P<call>pwritev?|fdatasync|fsync|posix_fallocate|f?truncate)\s*\("
)

LINES_MAX = 700
# Spelled so that this file does not contain what it looks for.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
BUILD_PLACES = re.compile(
    r"(?<![\w.])/(?:" + "|".join(["wo" + "rk", "fa" + "rm", "ro" + "ot", "ho" + "me"]) + r")/\w"
    "|" + r"\.py" + r"env\b"
    "|"
    + "|".join(
        re.escape(host)
        for host in [
            "python" + "hosted.org",
            "pypi" + ".org",
            "deb." + "debian.org",
            "registry." + "npmjs",
        ]
    )
)
SOURCE_SUFFIXES = {".c", ".h", ".py", ".pyi", ".toml"}
SOURCE_NAMES = {"CMakeLists.txt", "Makefile", "core.cdef.txt", "run"}


# ---- the rules ----


def c_module(path: str) -> str:
    """Module of a C file: its name up to the first underscore; all of slots/ is one."""
    if path.startswith(NATIVE + "slots/"):
        return "slots"
    stem = Path(path).stem.split("_")[0]
    return C_PARTS.get(stem, stem)


def column(layers: list[set[str]], module: str) -> int | None:
    return next((i for i, names in enumerate(layers) if module in names), None)


def include_violations(path: str, text: str) -> Iterator[str]:
    own = c_module(path)
    own_column = column(C_LAYERS, own)
    if own_column is None:
        yield f"{path}: module {own} has no place in C_LAYERS"
        return
    for included in re.findall(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', text, re.MULTILINE):
        other = c_module(NATIVE + included.removeprefix("../"))
        if own == "slots" and "/" not in included and other not in set().union(*C_LAYERS):
            other = "slots"
        other_column = column(C_LAYERS, other)
        if other_column is None:
            yield f"{path}: includes {included}, whose module {other} has no place in C_LAYERS"
        elif other != own and other_column >= own_column and (own, other) not in C_SAME_COLUMN:
            yield f"{path}: {own} must not include {included}"


def py_module(path: str) -> str:
    return Path(path).relative_to("pmemstore").parts[0].removesuffix(".py").removesuffix(".pyi")


def imported_modules(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of what a file of the package imports, type hints aside."""
    package = list(Path(path).parts[:-1])
    known = set().union(*PY_LAYERS)
    waiting: list[ast.AST] = [ast.parse(text)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            parts = base + (node.module or "").split(".") if node.module else base
            source = ".".join(parts)
            for alias in node.names:
                submodule = source == "pmemstore" and alias.name in known
                private = source == "pmemstore._native" and alias.name in ("_core", "_slots")
                yield node.lineno, f"{source}.{alias.name}" if submodule or private else source


def import_violations(path: str, text: str) -> Iterator[str]:
    own = py_module(path)
    own_column = column(PY_LAYERS, own)
    if own_column is None:
        yield f"{path}: module {own} has no place in PY_LAYERS"
        return
    for line, name in imported_modules(path, text):
        parts = name.split(".")
        if parts[0] != "pmemstore":
            continue
        other = parts[1] if len(parts) > 1 else "__init__"
        other_column = column(PY_LAYERS, other)
        if other_column is None:
            yield f"{path}:{line}: imports {name}, which has no place in PY_LAYERS"
        elif other_column > own_column:
            yield f"{path}:{line}: {own} must not import {name}"
        elif own != "_native" and parts[1:2] == ["_native"] and len(parts) > 2:
            yield f"{path}:{line}: {name} is private to pmemstore._native"


def without_c_comments(text: str) -> str:
    """Blank out comments and the inside of strings; line numbers stay."""
    tokens = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return tokens.sub(lambda match: '""' + "\n" * match.group().count("\n"), text)


def door_violations(path: str, text: str) -> Iterator[str]:
    if path.startswith("pmemstore/testing/"):
        return  # crash images are files of its own, not pools
    if is_core(path) and c_module(path) in DOOR_MODULES:
        return
    calls = DOOR_CALLS_PY if path.endswith(".py") else DOOR_CALLS_C
    text = text if path.endswith(".py") else without_c_comments(text)
    for match in calls.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        found = next(name for name in match.groups() if name)
        yield f"{path}:{line}: {found} reaches the medium past persist.h"


def unfinished_violations(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := UNFINISHED.search(line):
            yield f"{path}:{number}: {match.group()}: finish it, or file an issue"


def length_violations(path: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > LINES_MAX:
        yield f"{path}: {lines} lines, more than {LINES_MAX}: split it by purpose"


def place_violations(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if match := BUILD_PLACES.search(line):
            yield f"{path}:{number}: {match.group()} means something on one machine only"


# ---- the tree ----


def tree_files() -> list[str]:
    """Files that git has or would take; in an unpacked sdist, all but hidden ones."""
    git = ["git", "-C", str(ROOT), "ls-files", "-coz", "--exclude-standard"]
    try:
        names = subprocess.run(git, check=True, capture_output=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
        names = [name for name in names if not name.startswith((".", "build/"))]
    return sorted(name for name in names if name and (ROOT / name).is_file())


def is_core(path: str) -> bool:
    return path.startswith(NATIVE) and path.endswith((".c", ".h")) and "core.csrc" not in path


def is_package(path: str) -> bool:
    return path.startswith("pmemstore/") and path.endswith(".py")


def is_source(path: str) -> bool:
    return Path(path).suffix in SOURCE_SUFFIXES or Path(path).name in SOURCE_NAMES


def is_any(path: str) -> bool:
    return True


Rule = Callable[[str, str], Iterator[str]]
RULES: list[tuple[Rule, Callable[[str], bool]]] = [
    (include_violations, is_core),
    (import_violations, is_package),
    (door_violations, lambda path: is_core(path) or is_package(path)),
    (unfinished_violations, is_source),
    (length_violations, is_source),
    (place_violations, is_any),
]


@pytest.mark.parametrize(("rule", "applies"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_tree_keeps_the_rule(rule: Rule, applies: Callable[[str], bool]) -> None:
    paths = [path for path in tree_files() if applies(path)]
    assert paths, "the rule looks at nothing"
    found: list[str] = []
    for path in paths:
        data = (ROOT / path).read_bytes()
        if b"\0" not in data:  # pictures and golden pools say nothing
            found += rule(path, data.decode())
    assert not found, "\n".join(found)


# ---- each rule can fail, and lets the good case pass ----

BAD: list[tuple[Rule, str, str]] = [
    (include_violations, "pmemstore/_native/log.c", '#include "heap.h"\n'),
    (include_violations, "pmemstore/_native/layout.h", '#  include "hash.h"\n'),
    (include_violations, "pmemstore/_native/table_iter.c", '#include "vec.h"\n'),
    (include_violations, "pmemstore/_native/pool.c", '#include "slots/slots.h"\n'),
    (include_violations, "pmemstore/_native/novel.c", "\n"),
    (include_violations, "pmemstore/_native/pool.c", '#include "novel.h"\n'),
    (import_violations, "pmemstore/errors.py", "from pmemstore import pool\n"),
    (import_violations, "pmemstore/tx.py", "def f():\n    from .containers.dict import Dict\n"),
    (import_violations, "pmemstore/containers/dict.py", "from ..pool import Pool\n"),
    (import_violations, "pmemstore/pool.py", "import pmemstore\n"),
    (import_violations, "pmemstore/pool.py", "from pmemstore import open\n"),
    (import_violations, "pmemstore/pool.py", "from pmemstore._native import _core\n"),
    (import_violations, "pmemstore/pool.py", "from pmemstore.novel import f\n"),
    (import_violations, "pmemstore/novel.py", "\n"),
    (door_violations, "pmemstore/_native/tx.c", "if (fdatasync (fd))\n"),
    (door_violations, "pmemstore/_native/pool.c", "_mm_sfence();\n"),
    (door_violations, "pmemstore/_native/heap.c", "memcpy(ws->medium->base + off, p, 8);\n"),
    (door_violations, "pmemstore/_native/slots/dict.c", '__asm__ volatile("sfence");\n'),
    (door_violations, "pmemstore/pool.py", "os.fsync(fd)\n"),
    (unfinished_violations, "pmemstore/tx.py", "# TO" + "DO: later\n"),
    (unfinished_violations, "pmemstore/_native/tx.c", "/* X" + "XX locking! */\n"),
    (length_violations, "pmemstore/tx.py", "\n" * (LINES_MAX + 1)),
    (place_violations, "docs/x.md", "see /wo" + "rk/main\n"),
    (place_violations, "Makefile", "pip install -i https://pypi" + ".org/simple x\n"),
]
GOOD: list[tuple[Rule, str, str]] = [
    (include_violations, "pmemstore/_native/persist_cpu.c", '#include "persist.h"\n'),
    (include_violations, "pmemstore/_native/check.c", '#include "table.h"\n#include <x.h>\n'),
    (include_violations, "pmemstore/_native/slots/a.c", '#include "../pool.h"\n#include "b.h"\n'),
    (import_violations, "pmemstore/containers/dict.py", "from .list import List\nimport os\n"),
    (import_violations, "pmemstore/pool.py", "from pmemstore import errors, tx\n"),
    (
        import_violations,
        "pmemstore/tx.py",
        "if TYPE_CHECKING:\n    from pmemstore.pool import Pool\n",
    ),
    (import_violations, "pmemstore/_native/__init__.py", "from pmemstore._native import _core\n"),
    (door_violations, "pmemstore/_native/persist.c", "fdatasync(fd);\n"),
    (door_violations, "pmemstore/_native/tx.c", "/* no fsync() here */ memcpy(w, base + 8, 8);\n"),
    (door_violations, "pmemstore/_native/tx.c", 'return PMS_FAIL(1, "msync()", 0, 0, 0);\n'),
    (unfinished_violations, "pmemstore/_native/pool.c", 'mkstemp("pool.XXXXXX");\n'),
    (length_violations, "pmemstore/tx.py", "\n" * LINES_MAX),
    (place_violations, "docs/x.md", "mounted at /mnt/pmem/work/x, see docs/work/y\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_bad_snippet_is_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, text))


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_good_snippet_passes(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(path, text))


@pytest.mark.parametrize(("language", "layers"), [("C", C_LAYERS), ("Python", PY_LAYERS)])
def test_the_page_on_the_design_shows_the_layers(language: str, layers: list[set[str]]) -> None:
    """It lacked records, and nine modules more, when it was written by hand."""
    text = (ROOT / "docs" / "design.md").read_text()
    (line,) = re.findall(rf"^{language} +(.* \| .*)$", text, re.MULTILINE)
    assert [set(column.split(", ")) for column in line.split(" | ")] == layers


def test_every_rule_has_a_bad_snippet() -> None:
    assert {rule for rule, _ in RULES} == {rule for rule, _, _ in BAD}
