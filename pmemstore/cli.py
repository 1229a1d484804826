"""The commands of ``python -m pmemstore``.

All but ``doctor`` open the pool with flag ``r``: nothing is written, not even to recover after a
crash.  ``doctor`` needs no pool; in a directory it makes a file and removes it.
Exit status: 0 all is well, 1 the check found problems, 2 the pool cannot be opened or read.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pmemstore import doctor
from pmemstore import opening as pools
from pmemstore.containers import Deque, Dict, List, Set, SortedDict, SortedSet
from pmemstore.errors import PmemstoreError
from pmemstore.pool import Pool

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: As in ``sys.argv[1:]``.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.name == "doctor":
            return _doctor(options)
        with pools.open(options.path, "r") as pool:
            return int(options.command(pool, options))
    except BrokenPipeError:
        # The reader, like "head", has seen enough; keep the interpreter from flushing into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (PmemstoreError, OSError, ValueError) as error:
        print(f"pmemstore: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pmemstore",
        description="Look at a pool, or at the medium under it; nothing is written to a pool.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("info", _info, "what the pool is: size, format, durability"),
        ("check", _check, "check every byte of the structure; exit status 1 if there are problems"),
        ("stats", _stats, "how the heap is used, by size of block"),
        ("dump", _dump, "print the objects"),
        ("doctor", _doctor, "tier of a file or directory, why, and what would raise it"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        what = "any file, or a directory" if name == "doctor" else "file of the pool"
        sub.add_argument("path", metavar="PATH", help=what)
        sub.add_argument("--json", action="store_true", help="print JSON")
        sub.set_defaults(name=name, command=command)
        if name == "dump":
            sub.add_argument(
                "--depth", type=int, default=3, help="levels of containers (default: 3)"
            )
            sub.add_argument(
                "--items", type=int, default=20, help="items of each container (default: 20)"
            )
    return parser


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")


def _doctor(options: argparse.Namespace) -> int:
    """Needs no pool."""
    report = doctor.examine(options.path)
    print(json.dumps(report.as_json(), indent=2) if options.json else report)
    return 0


def _info(pool: Pool, options: argparse.Namespace) -> int:
    stats, durability, health = pool.stats(), pool.durability, pool.health()
    facts = {
        "path": pool.path,
        "uuid": str(pool.uuid),
        "format": pool.format_version,
        "size": stats.size,
        "limit": stats.limit,
        "log_size": pool.log_size,
        "used_bytes": stats.used_bytes,
        "free_bytes": stats.free_bytes,
        "root_items": len(pool.root),
        "recovered_units": stats.recovered_units,
        "tier": durability.tier,
        "reason": durability.reason,
        "problems": list(health.problems),
        "unknown": list(health.unknown),
    }
    if not options.json:
        facts["problems"] = "; ".join(health.problems) or "none known"
        facts["unknown"] = f"{len(health.unknown)} (--json lists them)"
    _print_facts(facts, options.json)
    return 0


def _check(pool: Pool, options: argparse.Namespace) -> int:
    result = pool.check()
    facts = dataclasses.asdict(result)
    problems = facts.pop("problems")
    if options.json:
        _print_facts({"ok": result.ok, "problems": list(problems), **facts}, True)
    else:
        for problem in problems:
            print(f"problem: {problem}")
        _print_facts({"ok": "yes" if result.ok else "NO", **facts}, False)
    return 0 if result.ok else 1


def _stats(pool: Pool, options: argparse.Namespace) -> int:
    usage = pool.heap()
    facts = dataclasses.asdict(usage)
    facts["fragmentation"] = round(usage.fragmentation, 4)
    if options.json:
        _print_facts(facts, True)
        return 0
    facts.pop("classes")
    _print_facts(facts, False)
    if usage.classes:
        print(f"\n{'block size':>10} {'spans':>8} {'used':>12} {'free':>12}")
    for cls in usage.classes:
        print(f"{cls.size:>10} {cls.spans:>8} {cls.used_blocks:>12} {cls.free_blocks:>12}")
    return 0


_MAPPINGS = (Dict, SortedDict)
_CONTAINERS = (*_MAPPINGS, List, Set, Deque, SortedSet)


def _dump(pool: Pool, options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(_plain(pool.root, options), indent=2, ensure_ascii=False, default=repr))
    else:
        for line in _lines(pool.root, "root", 0, options):
            print(line.encode("utf-8", "backslashreplace").decode())
    return 0


def _items(value: Any, limit: int) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, _MAPPINGS) else enumerate(value)
    return itertools.islice(items, max(limit, 0))


def _rest(value: Any, limit: int) -> int:
    return max(len(value) - max(limit, 0), 0)


def _lines(value: Any, label: str, level: int, options: argparse.Namespace) -> Iterator[str]:
    indent = "    " * level
    if not isinstance(value, _CONTAINERS):
        yield f"{indent}{label}: {_short(value)}"
        return
    kind = type(value).__name__
    yield f"{indent}{label}: {kind} of {len(value)}"
    if level >= options.depth:
        return
    for key, item in _items(value, options.items):
        yield from _lines(item, _short(key), level + 1, options)
    rest = _rest(value, options.items)
    if rest:
        yield f"{indent}    ... and {rest} more"


def _short(value: Any, width: int = 100) -> str:
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _plain(value: Any, options: argparse.Namespace, level: int = 0) -> Any:
    """Return what json can print; keys become text, and what is left out is counted."""
    if not isinstance(value, _CONTAINERS):
        return value
    if level >= options.depth:
        return f"{type(value).__name__} of {len(value)}"
    items = [(k, _plain(v, options, level + 1)) for k, v in _items(value, options.items)]
    rest = _rest(value, options.items)
    if not isinstance(value, _MAPPINGS):
        return [v for _, v in items] + ([f"... and {rest} more"] if rest else [])
    plain = {k if isinstance(k, str) else repr(k): v for k, v in items}
    if rest:
        plain["..."] = f"and {rest} more"
    return plain
