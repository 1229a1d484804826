"""``python -m pmemstore.testing IMAGE``: open the image of a violation, and judge it again."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from pmemstore.testing.subject import MEDIA, MappingSubject, PoolSubject, medium


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge an image.

    Args:
        arguments: As in ``sys.argv[1:]``.

    Returns:
        0: it is sound and the invariant holds; 1: it is not, or does not.
    """
    parser = argparse.ArgumentParser(
        prog="python -m pmemstore.testing",
        description="Open a copy of the image that a crash leaves, and judge it again.",
    )
    parser.add_argument("image", type=Path, help="as a report names it")
    parser.add_argument("--invariant", metavar="FILE:NAME", help="function to call with it")
    parser.add_argument("--medium", choices=MEDIA, help="default: as it was found")
    options = parser.parse_args(arguments)
    if not options.image.is_file():
        parser.error(f"no such image: {options.image}")
    notes = options.image.with_suffix(".json")
    facts: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {}
    invariant = _load(options.invariant, parser) if options.invariant else None
    if facts.get("kind") == "mapping" and invariant is None:
        parser.error("the image is of a raw mapping: only its --invariant can judge it")
    told = tuple(_value(text) for text in facts.get("acknowledged", ()))
    for line in [*facts.get("lines", ()), *facts.get("missing", ())]:
        print(line)
    if facts:
        print(f"when it was found: {facts['problem']}")
    if told:
        print(f"acknowledged: {', '.join(map(repr, told))}")
    with (
        tempfile.TemporaryDirectory(prefix="pmemstore-replay-") as folder,
        medium(options.medium or facts.get("medium", "direct")),
    ):
        copy = shutil.copy(options.image, Path(folder) / "image")
        subject: PoolSubject | MappingSubject = PoolSubject(
            invariant, cycles=bool(facts.get("cycles"))
        )
        if facts.get("kind") == "mapping" and invariant is not None:
            subject = MappingSubject(invariant)
        outcome = subject.judge(str(copy), told)
        if found := subject.describe(str(copy)):
            print(f"contents: {found}")
    if outcome.problem:
        print(f"now: {outcome.problem}")
        return 1
    given = "the invariant holds" if invariant else "no invariant was given"
    print(f"now: the image is sound by itself, and {given}")
    return 0


def _load(place: str, parser: argparse.ArgumentParser) -> Callable[..., object]:
    path, _, name = place.rpartition(":")
    spec = importlib.util.spec_from_file_location("pmemstore_replay", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        parser.error(f"--invariant takes FILE:NAME, and {path!r} is no file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    sys.path.insert(0, str(Path(path).parent))
    spec.loader.exec_module(module)
    if not callable(found := getattr(module, name, None)):
        parser.error(f"--invariant takes FILE:NAME, and {path} has no function {name!r}")
    return cast("Callable[..., object]", found)


def _value(text: str) -> object:
    """What was acknowledged, from its repr; the repr itself where it is no literal."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    sys.exit(main())
